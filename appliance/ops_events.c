/*
 * Operations on events: a list, and streams.
 *
 * Theory of operation. A stream is a cursor into the store. It is pumped when there is something
 * new and when its client has taken what was sent; while the client does not, nothing is read for
 * it and nothing is queued. One that falls behind by more than the store keeps is told so by an
 * event `lagged` and goes on with what is there.
 */
#include "ops.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define BATCH 64

/* Owned by its request, which ends it. */
struct subscription {
	struct daemon *d;
	struct request *request;
	struct events_watch watch;
	int64_t cursor;
	char agent[64]; /* id, "" for all */
};

/* The id of the agent that args name, "" for all; an id of one that is gone is fine. False: r has
 * been answered. */
static bool take_agent(struct daemon *d, struct request *r, char out[64])
{
	const char *name = json_str(request_args(r), "agent", NULL);
	struct agent *a;
	struct err err;

	out[0] = 0;
	if (!name)
		return true;
	a = agents_find(d->agents, name, &err);
	if (!a && !starts_with(name, "ag_")) {
		request_fail(r, &err);
		return false;
	}
	snprintf(out, 64, "%s", a ? agent_record(a)->id : name);
	return true;
}

static void add_event(void *data, const struct event_record *e)
{
	cJSON_AddItemToArray(data, event_json(e));
}

void op_events_list(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r);
	char agent[64];
	struct event_query q = {
		.after = json_int(args, "after", 0),
		.limit = (unsigned)json_int(args, "limit", 100),
		.newest = !json_get(args, "after"),
	};
	struct err err;
	cJSON *o;

	if (!take_agent(d, r, agent))
		return;
	q.agent_id = agent[0] ? agent : NULL;
	events_flush(d->events);
	o = cJSON_CreateObject();
	if (store_events(d->store, &q, add_event, cJSON_AddArrayToObject(o, "events"), &err) == 0) {
		request_ok(r, o, -1);
		return;
	}
	cJSON_Delete(o);
	request_fail(r, &err);
}

/* Says how many are lost for good, if any are. */
static void tell_lag(struct subscription *s)
{
	int64_t oldest = events_last(s->d->events) - STORE_EVENTS_MAX;
	cJSON *e, *data;

	if (s->cursor >= oldest)
		return;
	e = cJSON_CreateObject();
	cJSON_AddStringToObject(e, "type", "lagged");
	cJSON_AddStringToObject(
		e, "detail", "events were lost because they were not taken in time");
	data = cJSON_AddObjectToObject(e, "data");
	cJSON_AddNumberToObject(data, "missed", (double)(oldest - s->cursor));
	s->cursor = oldest;
	request_event(s->request, e);
}

/* Sends what is newer than the cursor as long as the client takes it. */
static void pump(void *data)
{
	struct subscription *s = data;
	struct event_query q = {.agent_id = s->agent[0] ? s->agent : NULL, .limit = BATCH};

	while (!request_busy(s->request)) {
		cJSON *batch = cJSON_CreateArray(), *e;
		int64_t last = events_last(s->d->events);
		int n;

		tell_lag(s);
		q.after = s->cursor;
		n = store_events(s->d->store, &q, add_event, batch, NULL) == 0
			    ? cJSON_GetArraySize(batch)
			    : 0;
		while ((e = cJSON_DetachItemFromArray(batch, 0))) {
			s->cursor = json_int(e, "seq", s->cursor);
			request_event(s->request, e);
		}
		cJSON_Delete(batch);
		if (n == BATCH)
			continue;
		s->cursor = MAX(s->cursor, last);
		return;
	}
}

static void on_closed(void *data)
{
	struct subscription *s = data;

	events_unwatch(&s->watch);
	request_ok(s->request, NULL, -1);
	free(s);
}

static const struct request_stream stream = {.writable = pump, .closed = on_closed};

void op_events_subscribe(struct daemon *d, struct request *r)
{
	struct subscription *s;
	char agent[64];

	if (!take_agent(d, r, agent))
		return;
	s = xcalloc(1, sizeof(*s));
	s->d = d;
	s->request = r;
	s->cursor = json_int(request_args(r), "after", events_last(d->events));
	memcpy(s->agent, agent, sizeof(s->agent));
	s->watch.wake = pump;
	s->watch.data = s;
	events_watch(d->events, &s->watch);
	request_stream(r, &stream, s);
	events_flush(d->events);
	pump(s);
}

void op_events_unsubscribe(struct daemon *d, struct request *r)
{
	struct err err;

	if (request_cancel(r, (double)json_int(request_args(r), "id", -1))) {
		request_ok(r, NULL, -1);
		return;
	}
	err_set(&err, ENOENT, "there is no stream with this id on this connection");
	err_type(&err, 404, "not-found");
	request_fail(r, &err);
}
