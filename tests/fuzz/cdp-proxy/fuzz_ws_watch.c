/* A client's frames (base/ws.c's reader, ws_watch.c): cut anywhere they are read alike, and what is
 * handed on is what a plain reading of the whole says. */
#include "util.h"
#include "ws_watch.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENSURE(c)                \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

/* What libwebsockets may see of data: its length; out has n bytes. *ret_wrong: it ends in a frame
 * that must not be. */
static size_t plain_reading(const uint8_t *data, size_t n, uint8_t *out, bool *ret_wrong)
{
	size_t at = 0;

	*ret_wrong = false;
	while (at < n) {
		struct ws_header h;
		int len = ws_read_header(data + at, n - at, &h);

		if (len < 0 || (n - at >= 2 && !(data[at + 1] & 0x80)))
			*ret_wrong = true;
		if (len <= 0 || *ret_wrong)
			break;
		memcpy(out + at, data + at, (size_t)len);
		memset(out + at + len - 4, 0, 4);
		at += (size_t)len;
		for (uint64_t i = 0; i < h.len && at < n; i++, at++)
			out[at] = data[at] ^ h.mask[i & 3];
	}
	return at;
}

/* As recv() does it: what was held back goes before each piece. */
static size_t in_pieces(
	struct ws_watch *w, const uint8_t *data, size_t n, size_t step, uint8_t *out)
{
	size_t len = 0;

	for (size_t at = 0; at < n && !w->wrong; at += step) {
		size_t take = MIN(step, n - at), held = w->head_len;
		uint8_t *p = xmalloc(held + take);

		memcpy(p, w->head, held);
		memcpy(p + held, data + at, take);
		w->head_len = 0;
		take = ws_watch_bytes(w, p, held + take);
		memcpy(out + len, p, take);
		len += take;
		free(p);
	}
	return len;
}

static void headers_are_written_as_read(const uint8_t *data, size_t n)
{
	uint8_t out[WS_HEADER_MAX];
	struct ws_header h;
	int len = ws_read_header(data, n, &h);

	if (len <= 0)
		return;
	ENSURE(ws_write_header(out, &h) == (size_t)len && memcmp(out, data, (size_t)len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *want, *got;
	struct ws_watch w = {0};
	size_t want_n, got_n;
	bool wrong;

	if (n < 1 || n > 65536)
		return 0;
	headers_are_written_as_read(data + 1, n - 1);
	want = xmalloc(n);
	got = xmalloc(n);
	want_n = plain_reading(data + 1, n - 1, want, &wrong);
	got_n = in_pieces(&w, data + 1, n - 1, 1 + data[0], got);
	ENSURE(want_n == got_n && memcmp(want, got, got_n) == 0);
	ENSURE(wrong == (w.wrong != NULL));
	ENSURE(wrong || w.head_len == n - 1 - got_n);
	free(want);
	free(got);
	return 0;
}
