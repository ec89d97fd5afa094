/* ws …/exec: a command whose streams are carried both ways (docs/internals.md, "Exec over
 * WebSocket"). */
#include "exec.h"
#include "api.h"
#include "bytes.h"
#include "guest_conn.h"
#include "json.h"
#include "problem.h"
#include "util.h"

#include <string.h>

/*
 * Back-pressure: while the client's queue is at the high-water mark the guest's output is not read;
 * while the guest's input queue is, the client is not read.
 */
#define FIRST_MAX 65536
#define CONTROL_MAX 256
#define FIRST_MS 10000

enum channel { CHANNEL_STDIN = 0, CHANNEL_STDOUT = 1, CHANNEL_STDERR = 2, CHANNEL_CONTROL = 3 };

/* Owned by its WebSocket; freed when its timer is closed. */
struct exec {
	struct gateway *gw;
	struct ws_conn *ws; /* NULL once closed */
	const struct route_match *m;
	struct guest_run *run;
	struct buf text;   /* the first message, or a control message */
	int channel;       /* of the message being read; -1 at its start */
	bool ended, empty; /* empty: no byte of this stdin message came yet */
	uv_timer_t timer;
};

static const struct json_member members[] = {
	{"cmd", JSON_STRINGS, true, 1, GUEST_ARGS_MAX},
	{"env", JSON_STRING_MAP, false, 0, GUEST_ARGS_MAX},
	{"cwd", JSON_STRING, false, 0, 4096},
	{"user", JSON_STRING, false, 0, 64},
	{"tty", JSON_BOOL, false, 0, 0},
	{"rows", JSON_INTEGER, false, 0, 65535},
	{"columns", JSON_INTEGER, false, 0, 65535},
};
static const struct json_member control_members[] = {
	{"signal", JSON_INTEGER, false, 1, 64},
	{"rows", JSON_INTEGER, false, 1, 65535},
	{"columns", JSON_INTEGER, false, 1, 65535},
};

/* The last message: obj is consumed. */
static void finish(struct exec *e, cJSON *obj)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(obj);

	cJSON_Delete(obj);
	if (e->ended || !e->ws)
		return;
	e->ended = true;
	ws_send_piece(e->ws, text, strlen(text), WS_FIRST | WS_FINAL | WS_IS_TEXT);
	ws_close(e->ws, 1000, "done");
}

static void finish_error(struct exec *e, const struct err *err)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "error", json_from_err(err));
	finish(e, o);
}

static void on_output(void *data, int stream, const uint8_t *p, size_t n)
{
	struct exec *e = data;
	uint8_t piece[1 + GUEST_FRAME_MAX];

	piece[0] = (uint8_t)stream;
	memcpy(piece + 1, p, n);
	if (e->ws && ws_send_piece(e->ws, piece, n + 1, WS_FIRST | WS_FINAL) >= CONN_HIGH_WATER)
		guest_run_pause(e->run, true);
}

static void on_end(void *data, const struct guest_end *end)
{
	struct exec *e = data;
	cJSON *o;

	if (end->err) {
		finish_error(e, end->err);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "exit_status", end->exit_status);
	cJSON_AddNumberToObject(o, "signal", end->signal);
	finish(e, o);
}

static void on_guest_writable(void *data)
{
	struct exec *e = data;

	if (e->ws)
		ws_pause_reading(e->ws, false);
}

static const struct guest_run_owner run_owner = {
	.on_output = on_output, .on_writable = on_guest_writable, .on_end = on_end};

/* ---- From the client ---- */

static int start(struct exec *e, struct err *err)
{
	AUTOFREE char *env = NULL;
	struct guest_exec x;
	cJSON *obj = NULL;

	if (!api_parse_json(e->text.data, e->text.len, &obj, err))
		return err->code;
	if (json_check(obj, members, ARRAY_SIZE(members), err) == 0 &&
		exec_read(obj, &x, &env, err) == 0) {
		x.flags = json_bool(obj, "tty", false) ? GUEST_EXEC_TTY : 0;
		x.rows = (uint16_t)json_int(obj, "rows", 0);
		x.columns = (uint16_t)json_int(obj, "columns", 0);
		e->run = guest_run_new(e->gw, e->m->agent, &x, &run_owner, e, err);
	}
	cJSON_Delete(obj);
	return e->run ? 0 : err->code;
}

static int control(struct exec *e, struct err *err)
{
	cJSON *obj = NULL;
	int r;

	if (!api_parse_json(e->text.data, e->text.len, &obj, err))
		return err->code;
	r = json_check(obj, control_members, ARRAY_SIZE(control_members), err);
	if (r == 0 && json_get(obj, "signal"))
		guest_run_signal(e->run, (uint32_t)json_int(obj, "signal", 0));
	if (r == 0 && json_get(obj, "rows"))
		guest_run_window(e->run, (uint16_t)json_int(obj, "rows", 0),
			(uint16_t)json_int(obj, "columns", 80));
	cJSON_Delete(obj);
	return r;
}

static int collect(struct exec *e, const uint8_t *p, size_t n, size_t max, struct err *err)
{
	if (e->text.len + n > max)
		return problem(err, 413, "too-large", "the message is too long");
	buf_add(&e->text, p, n);
	return 0;
}

static int take_first(
	struct exec *e, const uint8_t *p, size_t n, bool final, bool is_text, struct err *err)
{
	int r;

	if (!is_text)
		return problem(err, 400, "invalid-request", "the first message must be text");
	r = collect(e, p, n, FIRST_MAX, err);
	if (r < 0 || !final)
		return r;
	uv_timer_stop(&e->timer);
	r = start(e, err);
	buf_consume(&e->text, e->text.len);
	return r;
}

static void take_stdin(struct exec *e, const uint8_t *p, size_t n, bool final)
{
	if (n > 0) {
		e->empty = false;
		if (guest_run_stdin(e->run, p, n) >= CONN_HIGH_WATER)
			ws_pause_reading(e->ws, true);
	}
	if (final && e->empty)
		guest_run_stdin_end(e->run);
}

static int take_binary(
	struct exec *e, const uint8_t *p, size_t n, bool first, bool final, struct err *err)
{
	int r;

	if (first) {
		e->channel = -1;
		e->empty = true;
	}
	if (e->channel < 0 && n > 0) {
		e->channel = *p++;
		n--;
	}
	if (e->channel == CHANNEL_STDIN) {
		take_stdin(e, p, n, final);
		return 0;
	}
	if (e->channel < 0 && !final)
		return 0;
	if (e->channel != CHANNEL_CONTROL)
		return problem(err, 400, "invalid-request",
			"messages begin with the channel: 0 stdin, 3 control");
	r = collect(e, p, n, CONTROL_MAX, err);
	if (r < 0 || !final)
		return r;
	r = control(e, err);
	buf_consume(&e->text, e->text.len);
	return r;
}

static void on_piece(void *data, const uint8_t *p, size_t n, bool first, bool final, bool is_text)
{
	struct exec *e = data;
	struct err err;
	int r;

	if (e->ended)
		return;
	if (!e->run)
		r = take_first(e, p, n, final, is_text, &err);
	else if (is_text)
		r = problem(&err, 400, "invalid-request", "only the first message is text");
	else
		r = take_binary(e, p, n, first, final, &err);
	if (r >= 0)
		return;
	finish_error(e, &err);
	guest_run_free(e->run);
	e->run = NULL;
}

static void on_client_writable(void *data)
{
	struct exec *e = data;

	if (e->run)
		guest_run_pause(e->run, false);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct exec *e = handle->data;

	buf_done(&e->text);
	free(e);
}

static void on_close(void *data)
{
	struct exec *e = data;

	e->ws = NULL;
	guest_run_free(e->run);
	e->run = NULL;
	uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

static const struct ws_owner owner = {
	.on_piece = on_piece, .on_writable = on_client_writable, .on_close = on_close};

static void on_late(uv_timer_t *timer)
{
	struct exec *e = timer->data;
	struct err err;

	problem(&err, 408, "timeout", "no first message came");
	finish_error(e, &err);
}

void exec_serve_ws(struct gateway *gw, struct ws_conn *ws, const struct route_match *m)
{
	struct exec *e = xcalloc(1, sizeof(*e));

	*e = (struct exec){.gw = gw, .ws = ws, .m = m, .channel = -1};
	buf_init(&e->text, FIRST_MAX);
	uv_timer_init(gateway_loop(gw), &e->timer);
	e->timer.data = e;
	uv_timer_start(&e->timer, on_late, FIRST_MS, 0);
	ws_set_owner(ws, &owner, e);
	ws_accept(ws);
}
