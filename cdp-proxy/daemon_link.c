/* The control channel to berthd: requests with call-backs, events, and patience while berthd
 * restarts. */
#include "daemon_link.h"
#include "ctl.h"
#include "gateway_state.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "sock.h"
#include "util.h"

#include <errno.h>
#include <string.h>

/*
 * Theory of operation. One connection carries every request; each waits in a list until its answer
 * comes. While berthd is away (it restarts within a second or two, and what runs goes on without
 * it) the link tries again with backoff. Requests that were not sent yet wait up to AWAY_MS; so do
 * those sent that only read, which are sent again. A request that changes something and was sent is
 * answered 503 at once when the connection breaks: nobody knows whether it was done.
 *
 * All call-backs come from the loop: a request that cannot be queued fails at the next tick.
 *
 *   gateway_ask --> list (unsent) --> ctl_send --> list (sent) --answer--> call-back, freed
 */
#define WAITING_MAX 1024
#define AWAY_MS 5000
#define ANSWER_MS 45000 /* for requests that only read; agent.connect may take 30 s */
#define RETRY_FIRST_MS 50
#define RETRY_LAST_MS 2000
#define TICK_MS 100

/* Owned by its link's list. */
struct daemon_request {
	struct daemon_request *next;
	struct daemon_link *link;
	uint64_t id;
	cJSON *msg;
	bool sent, safe;
	uint64_t unsent_since, sent_at;
	gateway_answer_fn *answer;
	gateway_connect_fn *connect;
	void (*progress)(void *data, const cJSON *msg);
	void *data;
	bool cancelled;
};

struct daemon_link {
	struct gateway *gw;
	int dir;
	struct ctl *ctl; /* NULL while berthd is away */
	uv_poll_t *poll; /* lives as long as ctl */
	uv_timer_t retry, tick;
	uint64_t backoff_ms, next_id, events_id, last_seq;
	struct daemon_request *first, **last;
	size_t n_waiting;
	void (*on_event)(void *data, const cJSON *event);
	void (*on_up)(void *data);
	void *data;
	bool broken, closing;
};

static void on_poll(uv_poll_t *poll, int status, int events);
static void try_connect(struct daemon_link *l);

static void request_free(struct daemon_request *r)
{
	cJSON_Delete(r->msg);
	free(r);
}

/* Takes r out of the list; it is the caller's then. */
static void unlink_request(struct daemon_link *l, struct daemon_request *r)
{
	struct daemon_request **p = &l->first;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	if (l->last == &r->next)
		l->last = p;
	l->n_waiting--;
}

static void fail_request(struct daemon_request *r, const struct err *err)
{
	if (r->cancelled)
		return;
	if (r->connect)
		r->connect(r->data, -1, 0, err);
	else
		r->answer(r->data, NULL, err);
}

static void finish(struct daemon_link *l, struct daemon_request *r, const cJSON *ok,
	const struct err *err, int fd)
{
	struct err none;

	unlink_request(l, r);
	if (!err && r->connect && fd < 0) {
		problem(&none, 500, "internal", "berthd sent no socket");
		err = &none;
	}
	if (err) {
		fail_request(r, err);
	} else if (!r->cancelled && r->connect) {
		r->connect(r->data, steal_fd(&fd), (uint64_t)json_int(ok, "generation", 0), NULL);
	} else if (!r->cancelled) {
		r->answer(r->data, ok, NULL);
	}
	if (fd >= 0)
		close(fd);
	request_free(r);
}

/* ---- Messages ---- */

static void handle_event(struct daemon_link *l, const cJSON *event)
{
	l->last_seq = MAX(l->last_seq, (uint64_t)json_int(event, "seq", 0));
	l->on_event(l->data, event);
}

static void on_message(void *data, cJSON *msg, int fd)
{
	struct daemon_link *l = data;
	uint64_t id = (uint64_t)json_int(msg, "id", 0);
	struct daemon_request *r = l->first;
	struct err err;

	if (id == l->events_id && json_get(msg, "event")) {
		handle_event(l, json_get(msg, "event"));
		r = NULL;
	}
	while (r && !(r->sent && r->id == id))
		r = r->next;
	if (!r) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (json_get(msg, "progress")) {
		if (r->progress && !r->cancelled)
			r->progress(r->data, json_get(msg, "progress"));
		if (fd >= 0)
			close(fd);
		return;
	}
	if (json_get(msg, "ok")) {
		finish(l, r, json_get(msg, "ok"), NULL, fd);
		return;
	}
	json_to_err(json_get(msg, "error"), &err);
	finish(l, r, NULL, &err, fd);
}

/* ---- Connection ---- */

static void update_poll(struct daemon_link *l)
{
	if (l->ctl)
		uv_poll_start(l->poll, UV_READABLE | (ctl_wants_write(l->ctl) ? UV_WRITABLE : 0),
			on_poll);
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void fail_unsafe(struct daemon_link *l)
{
	struct daemon_request *r, *next;
	struct err err;

	for (r = l->first; r; r = next) {
		next = r->next;
		if (r->cancelled || (r->sent && !r->safe)) {
			problem(&err, 503, "daemon-unavailable",
				"berthd went away before it answered");
			err_hint(&err, "look whether it was done, then try again");
			finish(l, r, NULL, &err, -1);
			next = l->first; /* the call-back may have changed the list */
			continue;
		}
		r->unsent_since = r->sent ? now_ms() : r->unsent_since;
		r->sent = false;
	}
}

static void drop(struct daemon_link *l)
{
	if (!l->ctl)
		return;
	log_warning("berthd has gone; trying to reach it again");
	uv_poll_stop(l->poll);
	uv_close((uv_handle_t *)l->poll, free_handle);
	ctl_free(l->ctl);
	l->poll = NULL;
	l->ctl = NULL;
	l->broken = false;
	l->events_id = 0;
	fail_unsafe(l);
}

static void on_retry(uv_timer_t *timer)
{
	try_connect(timer->data);
}

static void retry_later(struct daemon_link *l)
{
	if (l->closing)
		return;
	uv_timer_start(&l->retry, on_retry, l->backoff_ms, 0);
	l->backoff_ms = MIN(l->backoff_ms * 2, RETRY_LAST_MS);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct daemon_link *l = poll->data;
	int r = status < 0 ? -EPIPE : 0;

	if (r == 0 && events & UV_READABLE)
		r = ctl_readable(l->ctl, on_message, l);
	if (r == 0 && events & UV_WRITABLE)
		r = ctl_flush(l->ctl);
	if (r < 0 || l->broken) {
		drop(l);
		retry_later(l);
		return;
	}
	update_poll(l);
}

static void send_one(struct daemon_link *l, struct daemon_request *r)
{
	int n = ctl_send(l->ctl, r->msg, -1);

	if (n == -ENOBUFS)
		return; /* stays unsent; the tick tries again */
	if (n < 0)
		l->broken = true;
	else
		r->sent = true;
	r->sent_at = now_ms();
}

static void send_waiting(struct daemon_link *l)
{
	for (struct daemon_request *r = l->first; r && l->ctl && !l->broken; r = r->next) {
		if (!r->sent && !r->cancelled)
			send_one(l, r);
	}
	update_poll(l);
}

static void subscribe(struct daemon_link *l)
{
	cJSON *msg = cJSON_CreateObject(), *args;

	l->events_id = ++l->next_id;
	cJSON_AddNumberToObject(msg, "id", (double)l->events_id);
	cJSON_AddStringToObject(msg, "op", "events.subscribe");
	args = cJSON_AddObjectToObject(msg, "args");
	if (l->last_seq)
		cJSON_AddNumberToObject(args, "after", (double)l->last_seq);
	if (ctl_send(l->ctl, msg, -1) < 0)
		l->broken = true;
	cJSON_Delete(msg);
}

static void try_connect(struct daemon_link *l)
{
	char path[64];
	int fd;

	if (l->ctl || l->closing)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/control.sock", l->dir);
	fd = sock_connect_unix(path, NULL);
	if (fd < 0) {
		retry_later(l);
		return;
	}
	l->ctl = ctl_new(fd);
	l->poll = xcalloc(1, sizeof(*l->poll));
	uv_poll_init(&l->gw->loop, l->poll, fd);
	l->poll->data = l;
	l->backoff_ms = RETRY_FIRST_MS;
	subscribe(l);
	send_waiting(l);
	l->on_up(l->data);
}

/* ---- Waiting ---- */

static bool too_old(const struct daemon_request *r)
{
	if (r->sent)
		return r->safe && now_ms() - r->sent_at >= ANSWER_MS;
	return r->cancelled || now_ms() - r->unsent_since >= AWAY_MS;
}

static void on_tick(uv_timer_t *timer)
{
	struct daemon_link *l = timer->data;
	struct daemon_request *r = l->first;
	struct err err;

	if (l->broken) {
		drop(l);
		retry_later(l);
	}
	if (l->ctl)
		send_waiting(l);
	while (r) {
		if (!too_old(r)) {
			r = r->next;
			continue;
		}
		problem(&err, 503, "daemon-unavailable", "berthd does not answer");
		err_hint(&err, "berth status says whether it runs; it is started again by itself");
		finish(l, r, NULL, &err, -1);
		r = l->first;
	}
	if (!l->first)
		uv_timer_stop(&l->tick);
}

static bool is_safe(const char *op)
{
	static const char *const ops[] = {"status", "token.check", "token.list", "agent.list",
		"agent.get", "agent.connect", "policy.get", "policy.log", "image.list",
		"events.list", "snapshot.list", "snapshot.get", "actions.list", "actions.picture",
		"actions.add" /* what comes twice is added once */};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (streq(ops[i], op))
			return true;
	}
	return false;
}

static struct daemon_request *ask(
	struct gateway *gw, const char *op, cJSON *args, const struct principal *by)
{
	struct daemon_link *l = gw->daemon;
	struct daemon_request *r = xcalloc(1, sizeof(*r));

	*r = (struct daemon_request){
		.link = l, .id = ++l->next_id, .safe = is_safe(op), .unsent_since = now_ms()};
	r->msg = cJSON_CreateObject();
	cJSON_AddNumberToObject(r->msg, "id", (double)r->id);
	cJSON_AddStringToObject(r->msg, "op", op);
	cJSON_AddItemToObject(r->msg, "args", args ? args : cJSON_CreateObject());
	if (by && by->token_id[0])
		cJSON_AddStringToObject(r->msg, "by", by->token_id);
	if (l->n_waiting >= WAITING_MAX)
		r->unsent_since = 0; /* not sent; fails at the next tick */
	*l->last = r;
	l->last = &r->next;
	l->n_waiting++;
	if (l->ctl && !l->broken && r->unsent_since) {
		send_one(l, r);
		update_poll(l);
	}
	if (!uv_is_active((uv_handle_t *)&l->tick))
		uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
	return r;
}

struct daemon_request *gateway_ask_progress(struct gateway *gw, const char *op, cJSON *args,
	const struct principal *by, gateway_answer_fn *fn,
	void (*progress)(void *data, const cJSON *msg), void *data)
{
	struct daemon_request *r = ask(gw, op, args, by);

	r->answer = fn;
	r->progress = progress;
	r->data = data;
	return r;
}

struct daemon_request *gateway_ask(struct gateway *gw, const char *op, cJSON *args,
	const struct principal *by, gateway_answer_fn *fn, void *data)
{
	return gateway_ask_progress(gw, op, args, by, fn, NULL, data);
}

struct daemon_request *gateway_connect(
	struct gateway *gw, const char *agent, const char *port, gateway_connect_fn *fn, void *data)
{
	cJSON *args = cJSON_CreateObject();
	struct daemon_request *r;

	cJSON_AddStringToObject(args, "agent", agent);
	cJSON_AddStringToObject(args, "port", port);
	r = ask(gw, "agent.connect", args, NULL);
	r->connect = fn;
	r->data = data;
	return r;
}

/* It stays in the list so that its answer (and descriptor) is still recognised. */
void gateway_cancel(struct daemon_request *r)
{
	r->cancelled = true;
}

/* ---- Life ---- */

struct daemon_link *daemon_link_new(struct gateway *gw, int dir,
	void (*on_event)(void *data, const cJSON *event), void (*on_up)(void *data), void *data)
{
	struct daemon_link *l = xcalloc(1, sizeof(*l));

	*l = (struct daemon_link){.gw = gw,
		.dir = dir,
		.backoff_ms = RETRY_FIRST_MS,
		.on_event = on_event,
		.on_up = on_up,
		.data = data};
	l->last = &l->first;
	uv_timer_init(&gw->loop, &l->retry);
	uv_timer_init(&gw->loop, &l->tick);
	l->retry.data = l->tick.data = l;
	uv_timer_start(&l->retry, on_retry, 0, 0);
	return l;
}

static void on_closed(uv_handle_t *handle)
{
	struct daemon_link *l = handle->data;

	close(l->dir);
	free(l);
}

static void on_retry_closed(uv_handle_t *handle)
{
	struct daemon_link *l = handle->data;

	uv_close((uv_handle_t *)&l->tick, on_closed);
}

void daemon_link_close(struct daemon_link *l)
{
	struct err err;

	l->closing = true;
	drop(l);
	problem(&err, 503, "daemon-unavailable", "the gateway is shutting down");
	while (l->first)
		finish(l, l->first, NULL, &err, -1);
	uv_close((uv_handle_t *)&l->retry, on_retry_closed);
}

bool daemon_link_up(const struct daemon_link *l)
{
	return l->ctl != NULL;
}
