/* The CDP filter: reads the deciding members of a message, finds its row, and acts on it. */
#include "filter.h"

#include <errno.h>
#include <string.h>

#include "util.h"

#define NESTED_MAX 4
#define URL_MAX_LEN 8192

/* ---- the head of a message ---- */

/* id: Chromium takes 32-bit integers; anything else it answers with an error, and so do we. */
static void take_id(struct filter_head *h, const struct json_found *m)
{
	size_t n = m->raw ? m->raw_len : 0;

	h->has_id = true;
	h->id_bad = m->kind != JSON_KIND_NUMBER || n == 0 || n > 11 || memchr(m->raw, '.', n) ||
		    memchr(m->raw, 'e', n) || memchr(m->raw, 'E', n);
	if (h->id_bad)
		return;
	memcpy(h->id, m->raw, n);
	h->id[n] = '\0';
	h->id_bad = strtoll(h->id, NULL, 10) != (int)strtoll(h->id, NULL, 10);
}

static void take_method(struct filter_head *h, const struct json_found *m)
{
	h->has_method = true;
	h->method_bad = m->kind != JSON_KIND_STRING || !m->raw ||
			json_scan_string(m->raw, m->raw_len, h->method, sizeof(h->method)) < 0;
}

static int take_member(void *data, const struct json_found *m)
{
	struct filter_head *h = data;

	if (!m->key)
		return 0;
	if (streq(m->key, "id")) {
		if (h->has_id)
			return -EEXIST;
		take_id(h, m);
	} else if (streq(m->key, "method")) {
		if (h->has_method)
			return -EEXIST;
		take_method(h, m);
	} else if (streq(m->key, "sessionId")) {
		if (h->has_session || m->kind != JSON_KIND_STRING || !m->raw ||
			m->raw_len >= sizeof(h->session))
			return -EEXIST;
		h->has_session = true;
		memcpy(h->session, m->raw, m->raw_len);
	} else if (streq(m->key, "params")) {
		if (h->has_params)
			return -EEXIST;
		h->has_params = true;
		h->params_kind = m->kind;
		h->params_start = m->start;
		h->params_end = m->end;
	}
	return 0;
}

/* NULL when the message has what a command needs, else what Chromium would say, and its code. */
static const char *head_wrong(const struct filter_head *h, int *ret_code)
{
	*ret_code = -32600;
	if (!h->has_id || h->id_bad)
		return "Message must have integer 'id' property";
	if (!h->has_method || h->method_bad)
		return "Message must have string 'method' property";
	return NULL;
}

/* ---- answers ---- */

static void add_session(const struct filter_head *h, struct buf *out)
{
	if (h->has_session) {
		buf_add_str(out, ",\"sessionId\":");
		buf_add_str(out, h->session);
	}
	buf_add_str(out, "}");
}

/* msg is ours: nothing in it needs escaping. */
static enum filter_verdict answer_error(
	const struct filter_head *h, int code, const char *msg, struct buf *out)
{
	buf_add_str(out, "{");
	if (h->has_id && !h->id_bad)
		buf_addf(out, "\"id\":%s,", h->id);
	buf_addf(out, "\"error\":{\"code\":%d,\"message\":\"%s\"}", code, msg);
	add_session(h, out);
	return FILTER_REFUSE;
}

static enum filter_verdict answer_empty(const struct filter_head *h, struct buf *out)
{
	buf_addf(out, "{\"id\":%s,\"result\":{}", h->id);
	add_session(h, out);
	return FILTER_DETACH;
}

/* ---- actions on params ---- */

/* A member of params as a decoded string: 1, 0 when absent, negative when it is anything else. */
static int find_string(
	const char *params, size_t n, const char *key, char *out, size_t size, struct json_found *m)
{
	int r = json_scan_find(params, n, key, m);

	if (r <= 0)
		return r;
	if (m->kind != JSON_KIND_STRING)
		return -EINVAL;
	r = json_scan_string(m->raw, m->raw_len, out, size);
	return r < 0 ? r : 1;
}

#define INVALID_PARAMS "Invalid parameters: berth reads this command strictly"

/* Addresses may be longer than what is decoded here; what decides is at their start. */
static bool is_long_and_allowed(const struct json_found *m)
{
	static const char *const starts[] = {"\"data:", "\"http:", "\"https:"};

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		size_t n = strlen(starts[i]);

		if (m->raw_len > n && memcmp(m->raw, starts[i], n) == 0)
			return true;
	}
	return false;
}

static enum filter_verdict act_url(
	const struct filter_head *h, const char *params, size_t n, struct buf *out)
{
	char url[URL_MAX_LEN];
	struct json_found m;
	int r = find_string(params, n, "url", url, sizeof(url), &m);

	if (r == -E2BIG && is_long_and_allowed(&m))
		return FILTER_PASS;
	if (r < 0)
		return answer_error(h, -32602, INVALID_PARAMS, out);
	if (r == 0 || !url[0] || filter_url_allowed(url))
		return FILTER_PASS;
	return answer_error(h, -32000,
		"berth: agents open http, https, about:blank, data and blob addresses only", out);
}

static enum filter_verdict act_download(const struct filter_head *h, const char *text, size_t n,
	const char *params, size_t params_n, struct buf *out)
{
	struct json_found m;
	char path[4096];
	int r = find_string(params, params_n, "downloadPath", path, sizeof(path), &m);
	size_t start, end;

	if (r < 0)
		return answer_error(h, -32602, INVALID_PARAMS, out);
	if (r == 0 || streq(path, FILTER_DOWNLOADS))
		return FILTER_PASS;
	start = (size_t)(params - text) + m.start;
	end = (size_t)(params - text) + m.end;
	buf_add(out, text, start);
	buf_add_str(out, "\"" FILTER_DOWNLOADS "\"");
	buf_add(out, text + end, n - end);
	return FILTER_REWRITE;
}

static int check_file(void *data, const struct json_found *m)
{
	char path[JSON_SCAN_RAW];

	if (m->kind != JSON_KIND_STRING || !m->raw ||
		json_scan_string(m->raw, m->raw_len, path, sizeof(path)) < 0 ||
		!filter_path_below(path, FILTER_UPLOADS))
		return -EPERM;
	return 0;
}

/* 0 when every element of the array at text is a file for upload. */
static int check_files(const char *text, size_t n)
{
	struct json_scan s;
	enum json_kind kind = JSON_KIND_WORD;
	int r;

	json_scan_init(&s, check_file, NULL);
	r = json_scan_feed(&s, text, n);
	if (r < 0)
		return r;
	r = json_scan_end(&s, &kind);
	return r < 0 || kind != JSON_KIND_ARRAY ? -EINVAL : 0;
}

static enum filter_verdict act_upload(
	const struct filter_head *h, const char *params, size_t n, struct buf *out)
{
	struct json_found m;
	int r = json_scan_find(params, n, "files", &m);

	if (r == 0)
		return FILTER_PASS;
	if (r > 0)
		r = check_files(m.raw, m.raw_len);
	if (r == 0)
		return FILTER_PASS;
	if (r != -EPERM)
		return answer_error(h, -32602, INVALID_PARAMS, out);
	return answer_error(h, -32000,
		"berth: the browser sees the agent's files, not yours. Put the file there first "
		"(PUT /v1/agents/NAME/files/Uploads/FILE, or `berth cp FILE NAME:Uploads/`) and "
		"name it "
		"as " FILTER_UPLOADS "/FILE, or send its content as a buffer",
		out);
}

static enum filter_verdict act_drag(
	const struct filter_head *h, const char *params, size_t n, struct buf *out)
{
	struct json_found m;
	int r = json_scan_find(params, n, "data", &m);

	if (r < 0 || (r > 0 && m.kind != JSON_KIND_OBJECT))
		return answer_error(h, -32602, INVALID_PARAMS, out);
	return r == 0 ? FILTER_PASS : act_upload(h, m.raw, m.raw_len, out);
}

static enum filter_verdict look(
	enum role role, const char *text, size_t n, int nested, struct buf *out);

static enum filter_verdict act_nested(enum role role, const struct filter_head *h,
	const char *params, size_t n, int nested, struct buf *out)
{
	AUTOFREE char *inner = xmalloc(n + 1);
	struct json_found m;
	struct buf scrap;
	enum filter_verdict v;
	int r = find_string(params, n, "message", inner, n + 1, &m);

	if (r <= 0 || nested >= NESTED_MAX)
		return answer_error(h, -32602, INVALID_PARAMS, out);
	buf_init(&scrap, strlen(inner) + 4096);
	v = look(role, inner, strlen(inner), nested + 1, &scrap);
	buf_done(&scrap);
	if (v == FILTER_PASS)
		return v;
	return answer_error(h, -32000,
		"berth: the message inside is not allowed; use flat sessions (sessionId)", out);
}

/* ---- the message ---- */

const struct filter_row *filter_row_for(const char *method)
{
	static const struct filter_row unknown = {"", ACT_REFUSE, ACT_PASS,
		"this domain is not known to berth; new ones are for admins first"};
	const char *dot = strchr(method, '.');
	const struct filter_row *domain = &unknown;
	size_t n = dot ? (size_t)(dot - method) + 1 : 0;

	for (size_t i = 0; n && i < filter_rows_count; i++) {
		const struct filter_row *r = &filter_rows[i];

		if (strncmp(r->method, method, n) != 0)
			continue;
		if (streq(r->method + n, method + n))
			return r;
		if (streq(r->method + n, "*"))
			domain = r;
	}
	return domain;
}

static enum filter_action action_for(enum role role, const struct filter_row *row)
{
	if (role == ROLE_ADMIN)
		return row->admin;
	return role == ROLE_AGENT ? row->agent : ACT_REFUSE;
}

static enum filter_verdict act(enum role role, const struct filter_head *h, const char *text,
	size_t n, int nested, struct buf *out)
{
	const struct filter_row *row = filter_row_for(h->method);
	const char *params = h->has_params ? text + h->params_start : "{}";
	size_t params_n = h->has_params ? h->params_end - h->params_start : 2;
	char why[200];

	switch (action_for(role, row)) {
	case ACT_PASS:
		return FILTER_PASS;
	case ACT_DETACH:
		return answer_empty(h, out);
	case ACT_URL:
		return act_url(h, params, params_n, out);
	case ACT_DOWNLOAD:
		return act_download(h, text, n, params, params_n, out);
	case ACT_UPLOAD:
		return act_upload(h, params, params_n, out);
	case ACT_DRAG:
		return act_drag(h, params, params_n, out);
	case ACT_NESTED:
		return act_nested(role, h, params, params_n, nested, out);
	case ACT_REFUSE:
		break;
	}
	snprintf(why, sizeof(why), "berth: not allowed: %s", row->why ? row->why : "your role");
	return answer_error(h, -32000, why, out);
}

static enum filter_verdict look(
	enum role role, const char *text, size_t n, int nested, struct buf *out)
{
	struct filter_head h = {0};
	struct json_scan s;
	enum json_kind kind = JSON_KIND_WORD;
	const char *wrong;
	int code;

	json_scan_init(&s, take_member, &h);
	if (json_scan_feed(&s, text, n) < 0 || json_scan_end(&s, &kind) < 0) {
		h = (struct filter_head){0};
		return answer_error(
			&h, -32700, "JSON: the message is not one strict JSON value", out);
	}
	if (kind != JSON_KIND_OBJECT)
		return answer_error(&h, -32600, "Message must be an object", out);
	wrong = head_wrong(&h, &code);
	if (wrong)
		return answer_error(&h, code, wrong, out);
	return act(role, &h, text, n, nested, out);
}

enum filter_verdict filter_message(enum role role, const char *text, size_t n, struct buf *out)
{
	return look(role, text, n, 0, out);
}

void filter_stream_init(struct filter_stream *s, enum role role)
{
	memset(&s->head, 0, sizeof(s->head));
	s->role = role;
	json_scan_init(&s->scan, take_member, &s->head);
}

int filter_stream_feed(struct filter_stream *s, const void *data, size_t n)
{
	s->scan.data = &s->head;
	return json_scan_feed(&s->scan, data, n);
}

int filter_stream_end(struct filter_stream *s, char why[124])
{
	enum json_kind kind = JSON_KIND_WORD;
	const char *wrong;
	int code;

	if (json_scan_end(&s->scan, &kind) < 0 || kind != JSON_KIND_OBJECT) {
		snprintf(why, 124, "the message is not one strict JSON object");
		return -EINVAL;
	}
	wrong = head_wrong(&s->head, &code);
	if (wrong) {
		snprintf(why, 124, "%s", wrong);
		return -EINVAL;
	}
	if (action_for(s->role, filter_row_for(s->head.method)) == ACT_PASS)
		return 0;
	snprintf(why, 124, "%.60s is not allowed in a message over 1 MiB", s->head.method);
	return -EPERM;
}
