/* Routes that are one op of berthd: arguments checked and gathered, the answer as JSON or as
 * events. */
#include "api_ops.h"
#include "action_log.h"
#include "api.h"
#include "base64.h"
#include "json.h"
#include "problem.h"
#include "sse.h"
#include "util.h"

#include <string.h>

#define PING_MS 15000
#define FOLLOW_MS 500   /* between two looks at a log that somebody follows */
#define LOG_MAX 2000    /* entries of an agent's log */
#define ACTIONS_MAX 500 /* entries of the action log at once */
#define SEQ_MAX (1ull << 52)

/* Owned by its connection: freed by on_close (with events, once its timer is closed too). */
struct op {
	struct http_conn *c;
	const struct route_match *m;
	struct daemon_request *request;
	bool events;
	uv_timer_t ping;
};

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_close(void *data)
{
	struct op *op = data;

	/* A long op goes on without its client: nothing that was begun is left half done. */
	if (op->request)
		gateway_cancel(op->request);
	if (op->events)
		uv_close((uv_handle_t *)&op->ping, on_timer_closed);
	else
		free(op);
}

static const struct http_owner owner = {.on_close = on_close};

static void add_all_urls(const struct op *op, cJSON *answer)
{
	cJSON *agent;

	if (op->m->route->flags & ROUTE_AGENT)
		api_add_urls(answer, op->m);
	cJSON_ArrayForEach (agent, cJSON_GetObjectItemCaseSensitive(answer, "agents")) {
		if (streq(op->m->route->op, "agent.list") || streq(op->m->route->op, "agent.fork"))
			api_add_urls(agent, op->m);
	}
}

static void answer_plain(struct op *op, const cJSON *answer)
{
	unsigned int flags = op->m->route->flags;

	if (flags & ROUTE_EMPTY)
		http_reply(op->c, 204, NULL, NULL, NULL, 0);
	else
		http_reply_json(op->c, flags & ROUTE_CREATED ? 201 : 200, answer);
}

static void on_answer(void *data, const cJSON *ok, const struct err *err)
{
	struct op *op = data;
	cJSON *answer = err ? json_from_err(err) : cJSON_Duplicate(ok, true);

	op->request = NULL;
	if (!err) {
		api_keep_own(answer, &op->m->who);
		add_all_urls(op, answer);
	}
	if (op->events) {
		sse_send(op->c, err ? "error" : "result", NULL, answer);
		http_stream_end(op->c);
	} else if (err) {
		http_reply_problem(op->c, err);
	} else {
		answer_plain(op, answer);
	}
	cJSON_Delete(answer);
}

static void on_progress(void *data, const cJSON *msg)
{
	struct op *op = data;

	if (op->events)
		sse_send(op->c, "progress", NULL, msg);
}

static void on_ping(uv_timer_t *timer)
{
	struct op *op = timer->data;

	sse_ping(op->c);
}

static void begin_events(struct gateway *gw, struct op *op)
{
	op->events = true;
	sse_begin(op->c);
	uv_timer_init(gateway_loop(gw), &op->ping);
	op->ping.data = op;
	uv_timer_start(&op->ping, on_ping, PING_MS, PING_MS);
}

/* args is consumed. */
static void ask(struct gateway *gw, struct http_conn *c, const struct route_match *m, cJSON *args)
{
	struct op *op = xcalloc(1, sizeof(*op));

	op->c = c;
	op->m = m;
	http_set_owner(c, &owner, op);
	if (m->route->flags & ROUTE_LONG && api_wants_events(m))
		begin_events(gw, op);
	op->request =
		gateway_ask_progress(gw, m->route->op, args, &m->who, on_answer, on_progress, op);
}

static cJSON *arguments(const struct route_match *m)
{
	cJSON *args = m->body ? cJSON_Duplicate(m->body, true) : cJSON_CreateObject();

	if (m->agent[0])
		cJSON_AddStringToObject(args, "agent", m->agent);
	if (m->route->id_arg)
		cJSON_AddStringToObject(args, m->route->id_arg, m->rest);
	return args;
}

void op_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct err err;

	if (json_check(m->body, m->route->members, m->route->n_members, &err) < 0) {
		http_reply_problem(c, &err);
		return;
	}
	ask(gw, c, m, arguments(m));
}

/* Adds a text parameter of the query, if it is there. False (answered) when it is malformed. */
static bool add_query(
	struct http_conn *c, const struct route_match *m, const char *name, cJSON *args)
{
	char text[300];
	struct err err;
	int r = http_query(&m->target, name, text, sizeof(text));

	if (r > 0)
		cJSON_AddStringToObject(args, name, text);
	if (r >= 0)
		return true;
	problem(&err, 400, "invalid-request", "'%s' in the query is malformed", name);
	http_reply_problem(c, &err);
	return false;
}

void agents_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	cJSON *args = arguments(m);

	if (add_query(c, m, "label", args))
		ask(gw, c, m, args);
	else
		cJSON_Delete(args);
}

void policy_why_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	cJSON *args = arguments(m);

	if (add_query(c, m, "host", args))
		ask(gw, c, m, args);
	else
		cJSON_Delete(args);
}

/* The log as it grows: berthd is asked again and again for what is newer. Owned by its connection.
 */
struct log_follower {
	struct gateway *gw;
	struct http_conn *c;
	const struct route_match *m;
	struct daemon_request *request;
	uv_timer_t timer;
	const char *event; /* what an entry is called */
	unsigned int max;  /* entries at once */
	cJSON *args;       /* owned: of the next question */
	uint64_t asked;
};

static void on_follower_timer_closed(uv_handle_t *handle)
{
	struct log_follower *f = handle->data;

	cJSON_Delete(f->args);
	free(f);
}

static void on_follower_close(void *data)
{
	struct log_follower *f = data;

	if (f->request)
		gateway_cancel(f->request);
	f->request = NULL;
	uv_close((uv_handle_t *)&f->timer, on_follower_timer_closed);
}

static void on_follow_timer(uv_timer_t *timer);

static void on_log(void *data, const cJSON *ok, const struct err *err)
{
	struct log_follower *f = data;
	const cJSON *e;
	size_t queued = 0;

	f->request = NULL;
	if (err) {
		cJSON *problem = json_from_err(err);

		sse_send(f->c, "error", NULL, problem);
		cJSON_Delete(problem);
		http_stream_end(f->c);
		return;
	}
	cJSON_ArrayForEach (e, json_get(ok, "entries")) {
		queued = sse_send(f->c, f->event, NULL, e);
		cJSON_ReplaceItemInObject(
			f->args, "after", cJSON_CreateNumber((double)json_int(e, "seq", 0)));
	}
	cJSON_ReplaceItemInObject(f->args, "limit", cJSON_CreateNumber(f->max));
	if (f->asked++ % (PING_MS / FOLLOW_MS) == 0)
		sse_ping(f->c);
	if (queued >= CONN_HIGH_WATER)
		http_stream_abort(f->c);
	else
		uv_timer_start(&f->timer, on_follow_timer, FOLLOW_MS, 0);
}

static void on_follow_timer(uv_timer_t *timer)
{
	struct log_follower *f = timer->data;

	action_log_flush(f->gw);
	f->request = gateway_ask(
		f->gw, f->m->route->op, cJSON_Duplicate(f->args, true), &f->m->who, on_log, f);
}

static const struct http_owner follower_owner = {.on_close = on_follower_close};

/* args is taken. event: static, what an entry is called; max: of them at once. */
static void follow_log(struct gateway *gw, struct http_conn *c, const struct route_match *m,
	cJSON *args, const char *event, unsigned int max)
{
	struct log_follower *f = xcalloc(1, sizeof(*f));

	*f = (struct log_follower){
		.gw = gw, .c = c, .m = m, .event = event, .max = max, .args = args};
	if (!json_get(args, "limit"))
		cJSON_AddNumberToObject(args, "limit", json_get(args, "after") ? max : 1);
	if (!json_get(args, "after"))
		cJSON_AddNumberToObject(args, "after", 0);
	uv_timer_init(gateway_loop(gw), &f->timer);
	f->timer.data = f;
	http_set_owner(c, &follower_owner, f);
	sse_begin(c);
	uv_timer_start(&f->timer, on_follow_timer, 0, 0);
}

/* ---- A picture of the action log ---- */

/* Owned by its connection. */
struct fetching {
	struct http_conn *c;
	struct daemon_request *request;
};

static void on_fetching_close(void *data)
{
	struct fetching *f = data;

	if (f->request)
		gateway_cancel(f->request);
	free(f);
}

static void on_jpeg(void *data, const cJSON *ok, const struct err *err)
{
	struct fetching *f = data;
	const char *text = json_str(ok, "jpeg", "");
	AUTOFREE uint8_t *bytes = xmalloc(strlen(text) + 1);
	long long n = base64_decode(text, strlen(text), bytes);
	struct err odd;

	f->request = NULL;
	if (!err && n <= 0) {
		problem(&odd, 500, "internal", "what the log holds is no picture");
		err = &odd;
	}
	if (err)
		http_reply_problem(f->c, err);
	else
		http_reply(f->c, 200, "image/jpeg", NULL, bytes, (size_t)n);
}

static const struct http_owner fetching_owner = {.on_close = on_fetching_close};

void action_picture_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct fetching *f;
	struct err err;
	char which[8];
	uint64_t seq;
	cJSON *args;

	if (http_query(&m->target, "which", which, sizeof(which)) <= 0 ||
		(!streq(which, "before") && !streq(which, "after"))) {
		problem(&err, 400, "invalid-request", "'which' must be before or after");
		http_reply_problem(c, &err);
		return;
	}
	if (!parse_u64(m->rest, 1, SEQ_MAX, &seq)) {
		problem(&err, 404, "not-found", "there is no such action");
		http_reply_problem(c, &err);
		return;
	}
	f = xcalloc(1, sizeof(*f));
	f->c = c;
	http_set_owner(c, &fetching_owner, f);
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "agent", m->agent);
	cJSON_AddNumberToObject(args, "seq", (double)seq);
	cJSON_AddStringToObject(args, "which", which);
	action_log_flush(gw);
	f->request = gateway_ask(gw, m->route->op, args, &m->who, on_jpeg, f);
}

/* ---- Logs that may be followed ---- */

void policy_log_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	cJSON *args = arguments(m);
	uint64_t limit, follow = 0;
	struct err err;
	int r = api_query_number(m, "limit", 1, LOG_MAX, &limit, &err);

	if (r > 0)
		cJSON_AddNumberToObject(args, "limit", (double)limit);
	if (r < 0 || api_query_number(m, "follow", 0, 1, &follow, &err) < 0) {
		http_reply_problem(c, &err);
	} else if (add_query(c, m, "verdict", args)) {
		if (follow)
			follow_log(gw, c, m, args, "egress", LOG_MAX);
		else
			ask(gw, c, m, args);
		return;
	}
	cJSON_Delete(args);
}

void actions_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	uint64_t limit, after, follow = 0;
	struct err err;
	int limited = api_query_number(m, "limit", 1, ACTIONS_MAX, &limit, &err),
	    from = limited < 0 ? limited : api_query_number(m, "after", 0, SEQ_MAX, &after, &err);
	cJSON *args;

	if (from < 0 || api_query_number(m, "follow", 0, 1, &follow, &err) < 0) {
		http_reply_problem(c, &err);
		return;
	}
	args = arguments(m);
	if (limited)
		cJSON_AddNumberToObject(args, "limit", (double)limit);
	if (from)
		cJSON_AddNumberToObject(args, "after", (double)after);
	action_log_flush(gw);
	if (follow)
		follow_log(gw, c, m, args, "action", ACTIONS_MAX);
	else
		ask(gw, c, m, args);
}
