/* The CDP filter: what passes is JSON whose command may pass; what we say is JSON; large messages
 * get no more than small ones. */
#include "filter.h"
#include "util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENSURE(c)                \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

static bool row_passes(enum role role, const char *method)
{
	const struct filter_row *r = filter_row_for(method);

	return (role == ROLE_ADMIN ? r->admin : r->agent) != ACT_REFUSE;
}

/* cJSON is a second opinion, laxer than ours: what passed must be a command to it too, and the same
 * one. */
static void check_passed(enum role role, const char *text, size_t n)
{
	cJSON *o = cJSON_ParseWithLength(text, n);
	const char *method = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "method"));

	/* Halves of surrogate pairs are JSON (RFC 8259, 8.2), but not cJSON's. */
	if (!o && memmem(text, n, "\\u", 2))
		return;
	ENSURE(cJSON_IsObject(o) && method);
	ENSURE(role != ROLE_VIEWER && row_passes(role, method));
	ENSURE(strcmp(method, "Browser.close") != 0);
	cJSON_Delete(o);
}

static void check_rewritten(const char *text, size_t n)
{
	cJSON *o = cJSON_ParseWithLength(text, n);
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(o, "params");
	const char *path =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(params, "downloadPath"));

	if (!o && memmem(text, n, "\\u", 2))
		return;
	ENSURE(path && strcmp(path, FILTER_DOWNLOADS) == 0);
	cJSON_Delete(o);
}

static void check_answer(const char *text, size_t n)
{
	cJSON *o = cJSON_ParseWithLength(text, n);

	if (!o && memmem(text, n, "\\u", 2)) /* a sessionId comes back as it was */
		return;
	ENSURE(cJSON_IsObject(o));
	cJSON_Delete(o);
}

static bool stream_passes(enum role role, const char *text, size_t n, size_t piece)
{
	struct filter_stream s;
	char why[124];

	filter_stream_init(&s, role);
	for (size_t i = 0; i < n; i += piece)
		if (filter_stream_feed(&s, text + i, MIN(piece, n - i)) < 0)
			return false;
	return filter_stream_end(&s, why) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum role roles[] = {ROLE_VIEWER, ROLE_AGENT, ROLE_ADMIN};
	enum filter_verdict v;
	enum role role;
	char *text;
	size_t piece;
	struct buf out;

	if (n < 2)
		return 0;
	role = roles[data[0] % 3];
	piece = data[1] % 64 + 1;
	n -= 2;
	text = xmalloc(n ? n : 1); /* exactly as large: a read too far is seen */
	memcpy(text, data + 2, n);
	buf_init(&out, n + 4096);
	v = filter_message(role, text, n, &out);
	if (v == FILTER_PASS)
		check_passed(role, text, n);
	else if (v == FILTER_REWRITE)
		check_rewritten((char *)out.data, out.len);
	else
		check_answer((char *)out.data, out.len);
	if (stream_passes(role, text, n, piece))
		ENSURE(v == FILTER_PASS);
	buf_done(&out);
	free(text);
	return 0;
}
