/*
 * What happened: numbered, kept, and told to those who watch.
 *
 * Theory of operation. An event gets its number when it is emitted. Most are written at once, those
 * that a guest can cause in numbers (log lines, refused connections) wait up to FLUSH_MS and share
 * one transaction, because each costs an fsync. The store is the only queue: a watcher is woken,
 * and reads from the store what is newer than what it has seen, at its own pace.
 */
#include "events.h"
#include "json.h"
#include "log.h"
#include "util.h"

#include <string.h>

#define FLUSH_MS 200
#define PENDING_MAX 512

struct pending {
	int64_t seq, time;
	char *type, *agent, *agent_id, *by, *detail, *data;
};

/* Owned by the daemon. */
struct events {
	uv_loop_t *loop;
	struct store *store;
	uv_timer_t timer;
	struct events_watch *watchers;
	int64_t last, written; /* numbers given; those in the store */
	struct pending pending[PENDING_MAX];
	size_t n_pending;
};

static void wake_all(struct events *e)
{
	struct events_watch *next;

	for (struct events_watch *w = e->watchers; w; w = next) {
		next = w->next;
		w->wake(w->data);
	}
}

static void pending_done(struct pending *p)
{
	free(p->type);
	free(p->agent);
	free(p->agent_id);
	free(p->by);
	free(p->detail);
	free(p->data);
}

static int write_pending(struct events *e, struct err *err)
{
	int r = store_begin(e->store, err);

	for (size_t i = 0; i < e->n_pending && r == 0; i++) {
		const struct pending *p = &e->pending[i];
		const struct event_record record = {
			.seq = p->seq,
			.time = p->time,
			.type = p->type,
			.agent = p->agent,
			.agent_id = p->agent_id,
			.by = p->by,
			.detail = p->detail,
			.data = p->data,
		};

		r = store_event_add(e->store, &record, err);
	}
	if (r == 0)
		r = store_commit(e->store, err);
	if (r < 0)
		store_rollback(e->store);
	return r;
}

void events_flush(struct events *e)
{
	struct err err;

	uv_timer_stop(&e->timer);
	if (e->n_pending == 0)
		return;
	if (write_pending(e, &err) < 0)
		log_error("%zu events are lost: %s", e->n_pending, err.msg);
	for (size_t i = 0; i < e->n_pending; i++)
		pending_done(&e->pending[i]);
	e->n_pending = 0;
	e->written = e->last;
	wake_all(e);
}

static void on_timer(uv_timer_t *timer)
{
	events_flush(timer->data);
}

int events_new(struct events **ret, uv_loop_t *loop, struct store *store, struct err *err)
{
	struct events *e;
	int64_t last;
	int r = store_event_last(store, &last, err);

	if (r < 0)
		return r;
	e = xcalloc(1, sizeof(*e));
	e->loop = loop;
	e->store = store;
	e->last = e->written = last;
	uv_timer_init(loop, &e->timer);
	e->timer.data = e;
	*ret = e;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void events_free(struct events *e)
{
	if (!e)
		return;
	events_flush(e);
	while (e->watchers)
		events_unwatch(e->watchers);
	uv_close((uv_handle_t *)&e->timer, on_closed);
}

static char *text_or_empty(const char *s)
{
	return xstrdup(s ? s : "");
}

void events_emit(struct events *e, const struct event_note *note)
{
	struct pending *p;

	if (e->n_pending == PENDING_MAX)
		events_flush(e);
	p = &e->pending[e->n_pending++];
	*p = (struct pending){
		.seq = ++e->last,
		.time = realtime_ns(),
		.type = text_or_empty(note->type),
		.agent = text_or_empty(note->agent),
		.agent_id = text_or_empty(note->agent_id),
		.by = text_or_empty(note->by),
		.detail = text_or_empty(note->detail),
		.data = note->data ? cJSON_PrintUnformatted(note->data) : xstrdup("{}"),
	};
	cJSON_Delete(note->data);
	if (!note->bulk)
		events_flush(e);
	else if (!uv_is_active((uv_handle_t *)&e->timer))
		uv_timer_start(&e->timer, on_timer, FLUSH_MS, 0);
}

int64_t events_last(const struct events *e)
{
	return e->written;
}

void events_watch(struct events *e, struct events_watch *w)
{
	w->next = e->watchers;
	w->link = &e->watchers;
	if (w->next)
		w->next->link = &w->next;
	e->watchers = w;
}

void events_unwatch(struct events_watch *w)
{
	if (!w->link)
		return;
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->link = NULL;
	w->next = NULL;
}

static void add_text_or_null(cJSON *o, const char *name, const char *text)
{
	if (text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

cJSON *event_json(const struct event_record *r)
{
	cJSON *o = cJSON_CreateObject(), *data = cJSON_Parse(r->data);

	cJSON_AddNumberToObject(o, "seq", (double)r->seq);
	json_add_time(o, "time", r->time);
	cJSON_AddStringToObject(o, "type", r->type);
	add_text_or_null(o, "agent", r->agent);
	add_text_or_null(o, "agent_id", r->agent_id);
	add_text_or_null(o, "by", r->by);
	cJSON_AddStringToObject(o, "detail", r->detail);
	cJSON_AddItemToObject(o, "data", data ? data : cJSON_CreateObject());
	return o;
}
