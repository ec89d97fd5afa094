/* Files of an agent: bytes and tar streams of any size, never held whole. */
#include "files.h"
#include "guest_conn.h"
#include "json.h"
#include "problem.h"
#include "util.h"
#include "ws.h"

#include <string.h>

/*
 * `berth-init file VERB PATH [ARG]` runs in the guest as the user `agent`; whose file it is, links
 * and races are the guest kernel's business. The status line is sent with the first byte of output,
 * or at the end of an empty one: before that an error is an HTTP error, after it the answer is cut,
 * so that nobody takes half a file for the whole. A guest that sends more after that is only the
 * client's to bound: it chose what to ask.
 */
#define STDERR_MAX 512
#define LIST_MAX (8u << 20)
#define ENTRIES_MAX 20000

enum helper_exit {
	HELPER_DONE = 0,
	HELPER_NOT_FOUND = 2,
	HELPER_FORBIDDEN = 3,
	HELPER_IS_FOLDER = 4,
	HELPER_NO_FOLDER = 5,
	HELPER_NO_SPACE = 6,
	HELPER_EXISTS = 7,
};

enum kind { KIND_GET, KIND_TAR, KIND_LIST, KIND_PUT, KIND_UNTAR, KIND_RM };

/* Owned by its connection. */
struct transfer {
	struct http_conn *c;
	const struct route_match *m;
	enum kind kind;
	struct guest_run *run;
	struct buf err_text, list;
	bool begun, body_whole;
};

static const char *const verbs[] = {"get", "tar", "list", "put", "untar", "rm"};

/* ---- Lists ---- */

static bool type_known(const char *s)
{
	static const char *const types[] = {"file", "folder", "dir", "directory", "link", "other",
		"f", "d", "l", "o", "socket", "fifo", "char", "block"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (streq(types[i], s))
			return true;
	}
	return false;
}

/* The next word of a line, ended in place. */
static char *word(char **p)
{
	return strsep(p, " ");
}

/* "type mode size mtime name": name may hold anything but NUL. */
static cJSON *parse_entry(char *line)
{
	char *type = word(&line), *mode = word(&line), *size = word(&line), *mtime = word(&line),
	     *dot;
	uint64_t bytes, seconds;
	uint32_t state = 0;
	cJSON *o;

	if (!line || !line[0] || !type_known(type) || strlen(mode) > 6 ||
		strspn(mode, "01234567") != strlen(mode))
		return NULL;
	dot = strchr(mtime, '.');
	if (dot)
		*dot = '\0';
	if (!parse_u64(size, 0, 1ull << 62, &bytes) || !parse_u64(mtime, 0, 1ull << 33, &seconds))
		return NULL;
	o = cJSON_CreateObject();
	if (ws_utf8(&state, (const uint8_t *)line, strlen(line)) && state == 0) {
		cJSON_AddStringToObject(o, "name", line);
	} else {
		cJSON_AddNullToObject(o, "name");
	}
	cJSON_AddStringToObject(o, "type", type);
	cJSON_AddStringToObject(o, "mode", mode);
	cJSON_AddNumberToObject(o, "size", (double)bytes);
	json_add_time(o, "modified", (int64_t)seconds * 1000000000);
	return o;
}

cJSON *files_parse_list(const uint8_t *data, size_t n)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "entries"), *entry;
	size_t pos = 0, count = 0;

	while (pos < n) {
		const uint8_t *end = memchr(data + pos, 0, n - pos);
		AUTOFREE char *line = end ? xstrdup((const char *)data + pos) : NULL;

		entry = line && count++ < ENTRIES_MAX ? parse_entry(line) : NULL;
		if (!entry) {
			cJSON_Delete(o);
			return NULL;
		}
		cJSON_AddItemToArray(list, entry);
		pos = (size_t)(end - data) + 1;
	}
	return o;
}

/* ---- Answers ---- */

static int helper_error(struct transfer *t, uint32_t status, struct err *err)
{
	const char *path = t->m->rest[0] ? t->m->rest : ".";

	switch (status) {
	case HELPER_NOT_FOUND:
		return problem(err, 404, "file-not-found", "there is no %.300s in agent %s", path,
			t->m->agent);
	case HELPER_FORBIDDEN:
		return problem(err, 403, "forbidden",
			"the user agent in %s may not do that with %.300s", t->m->agent, path);
	case HELPER_IS_FOLDER:
		problem(err, 409, "wrong-state", "%.300s is a folder", path);
		return err_hint(err, "?list=1 lists it, ?format=tar sends it whole");
	case HELPER_NO_FOLDER:
		return problem(err, 409, "wrong-state", "%.300s is not a folder", path);
	case HELPER_NO_SPACE:
		return problem(err, 507, "disk-full", "the disk of agent %s is full", t->m->agent);
	case HELPER_EXISTS:
		return problem(err, 409, "wrong-state", "%.300s exists already", path);
	default:
		return problem(err, 502, "guest-failed", "the file helper of agent %s failed: %s",
			t->m->agent, t->err_text.len ? buf_str(&t->err_text) : "it said nothing");
	}
}

static const char *content_type(const struct transfer *t)
{
	return t->kind == KIND_TAR ? "application/x-tar" : "application/octet-stream";
}

static void begin(struct transfer *t)
{
	if (t->begun)
		return;
	t->begun = true;
	http_stream_begin(t->c, 200, content_type(t), "Content-Disposition: attachment\r\n");
}

static void answer_list(struct transfer *t)
{
	cJSON *o = t->list.full ? NULL : files_parse_list(t->list.data, t->list.len);
	struct err err;

	if (o) {
		http_reply_json(t->c, 200, o);
	} else {
		metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
		problem(&err, 502, "guest-failed",
			"the list from agent %s is malformed or too long", t->m->agent);
		http_reply_problem(t->c, &err);
	}
	cJSON_Delete(o);
}

static void done(struct transfer *t)
{
	struct err err;

	if (t->kind == KIND_GET || t->kind == KIND_TAR) {
		begin(t);
		http_stream_end(t->c);
	} else if (t->kind == KIND_LIST) {
		answer_list(t);
	} else if (t->kind != KIND_RM && !t->body_whole) {
		problem(&err, 502, "guest-failed",
			"the file helper of agent %s ended before the file did", t->m->agent);
		http_reply_problem(t->c, &err);
	} else {
		http_reply(t->c, 204, NULL, NULL, NULL, 0);
	}
}

static void on_end(void *data, const struct guest_end *end)
{
	struct transfer *t = data;
	struct err err;

	if (!end->err && end->signal == 0 && end->exit_status == HELPER_DONE) {
		done(t);
		return;
	}
	if (t->begun) {
		http_stream_abort(t->c);
		return;
	}
	if (end->err)
		err = *end->err;
	else
		helper_error(t, end->signal ? 1 : end->exit_status, &err);
	http_reply_problem(t->c, &err);
}

/* ---- Bytes ---- */

static void keep_error(struct transfer *t, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n && t->err_text.len < STDERR_MAX; i++) {
		if (p[i] != '\n')
			buf_add_u8(&t->err_text, p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?');
	}
}

static void on_output(void *data, int stream, const uint8_t *p, size_t n)
{
	struct transfer *t = data;

	if (stream == 2) {
		keep_error(t, p, n);
	} else if (t->kind == KIND_LIST) {
		buf_add(&t->list, p, n);
	} else if (t->kind == KIND_GET || t->kind == KIND_TAR) {
		begin(t);
		metric_add(METRIC_FILE_BYTES, n);
		if (http_stream_write(t->c, p, n) >= CONN_HIGH_WATER)
			guest_run_pause(t->run, true);
	}
}

static void on_guest_writable(void *data)
{
	struct transfer *t = data;

	http_body_pause(t->c, false);
}

static const struct guest_run_owner run_owner = {
	.on_output = on_output, .on_writable = on_guest_writable, .on_end = on_end};

static void on_drain(void *data)
{
	struct transfer *t = data;

	guest_run_pause(t->run, false);
}

static void on_body(void *data, const uint8_t *p, size_t n)
{
	struct transfer *t = data;

	metric_add(METRIC_FILE_BYTES, n);
	if (guest_run_stdin(t->run, p, n) >= CONN_HIGH_WATER)
		http_body_pause(t->c, true);
}

static void on_body_end(void *data, const struct err *err)
{
	struct transfer *t = data;

	if (err) {
		guest_run_free(t->run);
		t->run = NULL;
		http_reply_problem(t->c, err);
		return;
	}
	t->body_whole = true;
	guest_run_stdin_end(t->run);
}

static void on_close(void *data)
{
	struct transfer *t = data;

	guest_run_free(t->run);
	buf_done(&t->err_text);
	buf_done(&t->list);
	free(t);
}

static const struct http_owner owner = {
	.on_close = on_close, .on_drain = on_drain, .on_body = on_body, .on_body_end = on_body_end};

/* ---- Starting ---- */

static int read_kind(const struct route_match *m, enum kind *ret, struct err *err)
{
	char format[16] = "", list[4] = "";
	bool tar;

	if (http_query(&m->target, "format", format, sizeof(format)) < 0 ||
		http_query(&m->target, "list", list, sizeof(list)) < 0 ||
		(format[0] && !streq(format, "tar")) ||
		(list[0] && !streq(list, "1") && !streq(list, "0")))
		return problem(
			err, 400, "invalid-request", "the query may say format=tar or list=1");
	tar = format[0];
	if (streq(m->method, "GET"))
		*ret = streq(list, "1") ? KIND_LIST : tar ? KIND_TAR : KIND_GET;
	else if (streq(m->method, "PUT"))
		*ret = tar ? KIND_UNTAR : KIND_PUT;
	else
		*ret = KIND_RM;
	return 0;
}

static int read_mode(const struct route_match *m, char mode[8], struct err *err)
{
	int r = http_query(&m->target, "mode", mode, 8);

	if (r == 0 ||
		(r > 0 && mode[0] && strlen(mode) <= 4 && strspn(mode, "01234567") == strlen(mode)))
		return r;
	return problem(err, 400, "invalid-request", "mode must be octal, as 0644");
}

void files_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	char mode[8] = "";
	struct transfer *t = xcalloc(1, sizeof(*t));
	struct guest_exec x = {.user = "", .cwd = "", .argc = 4, .argv = {"berth-init", "file"}};
	struct err err;
	int r;

	*t = (struct transfer){.c = c, .m = m};
	buf_init(&t->err_text, STDERR_MAX + 8);
	buf_init(&t->list, LIST_MAX);
	r = read_kind(m, &t->kind, &err);
	if (r == 0)
		r = read_mode(m, mode, &err);
	if (r >= 0) {
		x.argv[2] = verbs[t->kind];
		x.argv[3] = m->rest[0] ? m->rest : ".";
		if (t->kind == KIND_PUT && r > 0)
			x.argv[x.argc++] = mode;
		t->run = guest_run_new(gw, m->agent, &x, &run_owner, t, &err);
	}
	if (!t->run) {
		http_reply_problem(c, &err);
		free(t);
		return;
	}
	guest_run_hurries(t->run);
	http_set_owner(c, &owner, t);
	if (t->kind == KIND_PUT || t->kind == KIND_UNTAR)
		http_body_start(c);
	else
		guest_run_stdin_end(t->run);
}
