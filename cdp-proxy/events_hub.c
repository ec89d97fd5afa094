/* One subscription to berthd's events, any number of clients that follow. */
#include "events_hub.h"
#include "api.h"
#include "gateway_state.h"
#include "json.h"
#include "problem.h"
#include "sse.h"
#include "util.h"

#include <inttypes.h>
#include <string.h>

/*
 * A client that follows is put into the hub's list first, then what it asks for from before
 * (after=SEQ, Last-Event-ID, or limit=N) is fetched with events.list; events that arrive meanwhile
 * wait in `early`. Each event is sent once, in the order of seq. A client that does not read is cut
 * at CONN_HIGH_WATER: it comes back with Last-Event-ID and misses nothing.
 */
#define PING_MS 15000
#define PAGE 1000 /* what berthd gives at once; the most that a list has */
#define EVENTS_MAX 20000
#define EARLY_MAX 1000

/* Owned by its connection; in the hub's list until on_close. */
struct follower {
	struct follower *prev, *next;
	struct events_hub *hub;
	struct http_conn *c;
	char agent[64];
	uint64_t seq; /* the last one sent */
	bool replaying, follow, limited;
	cJSON *early; /* events that came while replaying */
	struct daemon_request *request;
	const struct route_match *m;
};

struct events_hub {
	struct gateway *gw;
	struct follower *first;
	uv_timer_t ping;
};

static void on_ping(uv_timer_t *timer)
{
	struct events_hub *h = timer->data;

	for (struct follower *f = h->first; f; f = f->next)
		sse_ping(f->c);
}

struct events_hub *events_hub_new(struct gateway *gw)
{
	struct events_hub *h = xcalloc(1, sizeof(*h));

	h->gw = gw;
	uv_timer_init(&gw->loop, &h->ping);
	h->ping.data = h;
	uv_timer_start(&h->ping, on_ping, PING_MS, PING_MS);
	return h;
}

static void on_hub_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void events_hub_close(struct events_hub *h)
{
	uv_close((uv_handle_t *)&h->ping, on_hub_closed);
}

static void send_event(struct follower *f, const cJSON *event)
{
	uint64_t seq = (uint64_t)json_int(event, "seq", 0);
	char id[24];

	if (seq <= f->seq)
		return;
	f->seq = seq;
	snprintf(id, sizeof(id), "%" PRIu64, seq);
	if (sse_send(f->c, json_str(event, "type", NULL), id, event) >= CONN_HIGH_WATER)
		http_stream_abort(f->c);
}

static bool concerns(const struct follower *f, const cJSON *event)
{
	return !f->agent[0] || streq(json_str(event, "agent", ""), f->agent);
}

void events_hub_send(struct events_hub *h, const cJSON *event)
{
	for (struct follower *f = h->first; f; f = f->next) {
		if (!concerns(f, event))
			continue;
		if (!f->replaying)
			send_event(f, event);
		else if (cJSON_GetArraySize(f->early) < EARLY_MAX)
			cJSON_AddItemToArray(f->early, cJSON_Duplicate(event, true));
		else
			http_stream_abort(f->c);
	}
}

static void on_close(void *data)
{
	struct follower *f = data;

	if (f->request)
		gateway_cancel(f->request);
	if (f->follow) {
		if (f->prev)
			f->prev->next = f->next;
		else
			f->hub->first = f->next;
		if (f->next)
			f->next->prev = f->prev;
	}
	cJSON_Delete(f->early);
	free(f);
}

static const struct http_owner owner = {.on_close = on_close};

static void go_live(struct follower *f)
{
	cJSON *event;

	f->replaying = false;
	cJSON_ArrayForEach (event, f->early)
		send_event(f, event);
	cJSON_Delete(f->early);
	f->early = NULL;
}

static void fetch(struct follower *f, uint64_t limit);

static void on_page(void *data, const cJSON *ok, const struct err *err)
{
	struct follower *f = data;
	const cJSON *events = json_get(ok, "events"), *event;
	int n = cJSON_GetArraySize(events);

	f->request = NULL;
	if (err) {
		http_stream_abort(f->c);
		return;
	}
	cJSON_ArrayForEach (event, events)
		send_event(f, event);
	if (n < PAGE || f->limited)
		go_live(f);
	else
		fetch(f, PAGE);
}

static cJSON *list_args(const struct follower *f, uint64_t limit)
{
	cJSON *args = cJSON_CreateObject();

	if (f->agent[0])
		cJSON_AddStringToObject(args, "agent", f->agent);
	if (limit)
		cJSON_AddNumberToObject(args, "limit", (double)MIN(limit, PAGE));
	if (f->seq)
		cJSON_AddNumberToObject(args, "after", (double)f->seq);
	return args;
}

static void fetch(struct follower *f, uint64_t limit)
{
	f->request =
		gateway_ask(f->hub->gw, "events.list", list_args(f, limit), &f->m->who, on_page, f);
}

static void on_list(void *data, const cJSON *ok, const struct err *err)
{
	struct follower *f = data;

	f->request = NULL;
	if (err)
		http_reply_problem(f->c, err);
	else
		http_reply_json(f->c, 200, ok);
}

static void follow(struct follower *f, uint64_t limit, bool from_before)
{
	f->follow = true;
	f->next = f->hub->first;
	if (f->next)
		f->next->prev = f;
	f->hub->first = f;
	sse_begin(f->c);
	sse_ping(f->c);
	f->replaying = from_before;
	if (!from_before)
		return;
	f->early = cJSON_CreateArray();
	f->limited = limit > 0 && f->seq == 0;
	fetch(f, f->limited ? limit : PAGE);
}

/* Where to begin: ?after=, or what a browser's EventSource sends when it comes back. */
static int read_after(const struct route_match *m, uint64_t *ret, struct err *err)
{
	const struct http_text *last = http_header(m->head, "Last-Event-ID", NULL);
	char text[24];

	*ret = 0;
	if (last && last->n < sizeof(text)) {
		snprintf(text, sizeof(text), "%.*s", (int)last->n, last->s);
		if (parse_u64(text, 0, 1ull << 53, ret))
			return 1;
	}
	return api_query_number(m, "after", 0, 1ull << 53, ret, err);
}

void events_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	uint64_t after, limit = 0, follows = 1;
	struct follower *f;
	struct err err;
	int from = read_after(m, &after, &err);

	if (from < 0 || api_query_number(m, "limit", 1, EVENTS_MAX, &limit, &err) < 0 ||
		api_query_number(m, "follow", 0, 1, &follows, &err) < 0) {
		http_reply_problem(c, &err);
		return;
	}
	f = xcalloc(1, sizeof(*f));
	*f = (struct follower){.hub = gw->events, .c = c, .m = m, .seq = after};
	snprintf(f->agent, sizeof(f->agent), "%s", m->agent);
	http_set_owner(c, &owner, f);
	if (follows)
		follow(f, limit, from > 0 || limit > 0);
	else
		f->request =
			gateway_ask(gw, "events.list", list_args(f, limit), &m->who, on_list, f);
}
