/* POST …/exec: a command with its whole input, answered with its whole (bounded) output. */
#include "exec.h"
#include "bytes.h"
#include "guest_conn.h"
#include "json.h"
#include "problem.h"
#include "util.h"
#include "ws.h"

#include <signal.h>
#include <sodium.h>
#include <string.h>

#define OUTPUT_MAX (10 << 20)
#define TIMEOUT_DEFAULT 600
#define TIMEOUT_MAX 86400
#define KILL_MS 3000

/* Owned by its connection; freed when its timer is closed. */
struct exec {
	struct http_conn *c;
	struct guest_run *run;
	struct buf out, err;
	size_t left; /* of max_output, both streams together */
	bool truncated, timed_out;
	uv_timer_t timer;
};

static const struct json_member members[] = {
	{"cmd", JSON_STRINGS, true, 1, GUEST_ARGS_MAX},
	{"env", JSON_STRING_MAP, false, 0, GUEST_ARGS_MAX},
	{"cwd", JSON_STRING, false, 0, 4096},
	{"user", JSON_STRING, false, 0, 64},
	{"stdin", JSON_STRING, false, 0, 1 << 20},
	{"stdin_base64", JSON_STRING, false, 0, 1 << 20},
	{"timeout", JSON_INTEGER, false, 1, TIMEOUT_MAX},
	{"max_output", JSON_INTEGER, false, 0, OUTPUT_MAX},
};

static int read_env(const cJSON *obj, struct guest_exec *ret, char **ret_env, struct err *err)
{
	const cJSON *v;
	struct buf b;
	char *p;

	buf_init(&b, GUEST_FRAME_MAX);
	cJSON_ArrayForEach (v, obj) {
		if (!v->string[0] || strchr(v->string, '=')) {
			buf_done(&b);
			return problem(err, 400, "invalid-request",
				"'%.80s' is no name of a variable", v->string);
		}
		buf_addf(&b, "%s=%s", v->string, v->valuestring);
		buf_add_u8(&b, 0);
	}
	if (b.full) {
		buf_done(&b);
		return problem(err, 400, "invalid-request", "the environment is over 64 KiB");
	}
	p = *ret_env = (char *)b.data;
	for (int n = cJSON_GetArraySize(obj); n > 0; n--, p += strlen(p) + 1)
		ret->env[ret->envc++] = p;
	return 0;
}

int exec_read(const cJSON *obj, struct guest_exec *ret, char **ret_env, struct err *err)
{
	const cJSON *v;

	*ret = (struct guest_exec){
		.user = json_str(obj, "user", ""), .cwd = json_str(obj, "cwd", "")};
	*ret_env = NULL;
	cJSON_ArrayForEach (v, json_get(obj, "cmd"))
		ret->argv[ret->argc++] = v->valuestring;
	if (!ret->argv[0][0])
		return problem(err, 400, "invalid-request", "'cmd' begins with an empty string");
	return read_env(json_get(obj, "env"), ret, ret_env, err);
}

/* ---- The answer ---- */

static bool is_utf8(const struct buf *b)
{
	uint32_t state = 0;

	return ws_utf8(&state, b->data, b->len) && state == 0 &&
	       !memchr(b->data ? b->data : (uint8_t *)"", 0, b->len);
}

static void add_output(cJSON *o, const char *name, const char *name_base64, struct buf *b)
{
	size_t room = sodium_base64_ENCODED_LEN(b->len, sodium_base64_VARIANT_ORIGINAL);
	AUTOFREE char *text = NULL;

	if (is_utf8(b)) {
		cJSON_AddStringToObject(o, name, buf_str(b));
		return;
	}
	text = xmalloc(room);
	sodium_bin2base64(text, room, b->data, b->len, sodium_base64_VARIANT_ORIGINAL);
	cJSON_AddStringToObject(o, name_base64, text);
}

static void answer(struct exec *e, const struct guest_end *end)
{
	cJSON *o;

	if (end->err && !e->timed_out) {
		http_reply_problem(e->c, end->err);
		return;
	}
	o = cJSON_CreateObject();
	if (end->err || end->signal)
		cJSON_AddNullToObject(o, "exit_status");
	else
		cJSON_AddNumberToObject(o, "exit_status", end->exit_status);
	if (end->signal || end->err)
		cJSON_AddNumberToObject(o, "signal", end->err ? SIGKILL : (double)end->signal);
	else
		cJSON_AddNullToObject(o, "signal");
	add_output(o, "stdout", "stdout_base64", &e->out);
	add_output(o, "stderr", "stderr_base64", &e->err);
	cJSON_AddBoolToObject(o, "truncated", e->truncated);
	cJSON_AddBoolToObject(o, "timed_out", e->timed_out);
	http_reply_json(e->c, 200, o);
	cJSON_Delete(o);
}

/* ---- The run ---- */

static void on_output(void *data, int stream, const uint8_t *p, size_t n)
{
	struct exec *e = data;
	size_t part = MIN(n, e->left);

	buf_add(stream == 1 ? &e->out : &e->err, p, part);
	e->left -= part;
	if (part < n)
		e->truncated = true;
}

static void on_end(void *data, const struct guest_end *end)
{
	struct exec *e = data;

	uv_timer_stop(&e->timer);
	answer(e, end);
}

static const struct guest_run_owner run_owner = {.on_output = on_output, .on_end = on_end};

/* Killed, and it still does not end: the guest is left behind. */
static void on_still_there(uv_timer_t *timer)
{
	struct exec *e = timer->data;
	struct err err;

	guest_run_free(e->run);
	e->run = NULL;
	problem(&err, 504, "timeout", "the command did not end when it was killed");
	answer(e, &(struct guest_end){.err = &err});
}

static void on_timeout(uv_timer_t *timer)
{
	struct exec *e = timer->data;

	e->timed_out = true;
	guest_run_signal(e->run, SIGKILL);
	uv_timer_start(timer, on_still_there, KILL_MS, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct exec *e = handle->data;

	buf_done(&e->out);
	buf_done(&e->err);
	free(e);
}

static void on_close(void *data)
{
	struct exec *e = data;

	guest_run_free(e->run);
	e->run = NULL;
	uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

static const struct http_owner owner = {.on_close = on_close};

/* The bytes for stdin (the caller's to free), NULL when there are none. */
static int read_stdin(const cJSON *obj, unsigned char **ret, size_t *ret_len, struct err *err)
{
	const char *text = json_str(obj, "stdin", NULL),
		   *base64 = json_str(obj, "stdin_base64", NULL);
	size_t room = base64 ? strlen(base64) : 0;

	*ret = NULL;
	*ret_len = 0;
	if (text && base64)
		return problem(err, 400, "invalid-request",
			"'stdin' and 'stdin_base64' exclude each other");
	if (text) {
		*ret = (unsigned char *)xstrdup(text);
		*ret_len = strlen(text);
	}
	if (!base64)
		return 0;
	*ret = xmalloc(room + 1);
	if (sodium_base642bin(*ret, room + 1, base64, room, NULL, ret_len, NULL,
		    sodium_base64_VARIANT_ORIGINAL) == 0)
		return 0;
	free(steal(ret));
	return problem(err, 400, "invalid-request", "'stdin_base64' is not base64");
}

static int start(
	struct gateway *gw, struct http_conn *c, const struct route_match *m, struct err *err)
{
	AUTOFREE char *env = NULL;
	AUTOFREE unsigned char *input = NULL;
	struct guest_exec x;
	struct exec *e;
	size_t n;

	if (json_check(m->body, members, ARRAY_SIZE(members), err) < 0 ||
		exec_read(m->body, &x, &env, err) < 0 || read_stdin(m->body, &input, &n, err) < 0)
		return err->code;
	e = xcalloc(1, sizeof(*e));
	e->c = c;
	e->left = (size_t)json_int(m->body, "max_output", OUTPUT_MAX);
	buf_init(&e->out, OUTPUT_MAX + 1);
	buf_init(&e->err, OUTPUT_MAX + 1);
	e->run = guest_run_new(gw, m->agent, &x, &run_owner, e, err);
	if (!e->run) {
		free(e);
		return err->code;
	}
	guest_run_hurries(e->run);
	guest_run_stdin(e->run, input, n);
	guest_run_stdin_end(e->run);
	uv_timer_init(gateway_loop(gw), &e->timer);
	e->timer.data = e;
	uv_timer_start(&e->timer, on_timeout,
		(uint64_t)json_int(m->body, "timeout", TIMEOUT_DEFAULT) * 1000, 0);
	http_set_owner(c, &owner, e);
	return 0;
}

void exec_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct err err;

	if (start(gw, c, m, &err) < 0)
		http_reply_problem(c, &err);
}
