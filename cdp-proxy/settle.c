/* When the page is quiet: nothing loads, nothing comes over the network, and what changed is
 * painted. */
#include "settle.h"

#include <string.h>

#include "json_scan.h"
#include "util.h"

/*
 * Theory of operation. Network is enabled on this connection; from then on every event of it that
 * starts, moves or ends a request is `activity`. Without activity and requests under way for
 * SETTLE_QUIET_MS the page itself is asked, in a world of our own where its scripts have replaced
 * nothing, to let two frames pass and say its readyState. If that is "complete" and there was no
 * activity in the meantime it is quiet; else it begins again.
 *
 *   enable Network -> wait for quiet -> world -> two frames -> idle
 *                          ^---- activity, not complete, refused ----'
 *
 * Page is not enabled: a client that has it enabled holds up every alert() until it answers it.
 * Requests that began before us are seen only as they move. WebSockets and event streams, which
 * never end, are not waited for. A page that never rests is taken as it is when the time is up.
 */
enum settle_state { SETTLE_NETWORK, SETTLE_WAIT, SETTLE_WORLD, SETTLE_FRAMES, SETTLE_OVER };

struct settle {
	uv_timer_t deadline, quiet;
	unsigned int open; /* of the two timers */
	const struct settle_owner *owner;
	void *data;
	char frame[65];
	unsigned int max_ms;
	enum settle_state state;
	uint64_t last; /* activity, by the loop's clock */
	bool moved;    /* since the page was asked */
	uint64_t requests[SETTLE_REQUESTS_MAX];
	size_t n_requests;
};

static void timer_closed(uv_handle_t *h)
{
	struct settle *s = h->data;

	if (--s->open == 0)
		free(s);
}

void settle_free(struct settle *s)
{
	if (!s)
		return;
	s->state = SETTLE_OVER;
	uv_close((uv_handle_t *)&s->deadline, timer_closed);
	uv_close((uv_handle_t *)&s->quiet, timer_closed);
}

static void finish(struct settle *s, bool idle)
{
	if (s->state == SETTLE_OVER)
		return;
	s->state = SETTLE_OVER;
	uv_timer_stop(&s->deadline);
	uv_timer_stop(&s->quiet);
	s->owner->done(s->data, idle);
}

static void on_deadline(uv_timer_t *t)
{
	finish(t->data, false);
}

/* ---- asking the page ---- */

static void ask_world(struct settle *s)
{
	cJSON *p = cJSON_CreateObject();

	s->state = SETTLE_WORLD;
	s->moved = false;
	cJSON_AddStringToObject(p, "frameId", s->frame);
	cJSON_AddStringToObject(p, "worldName", "berth-settle");
	s->owner->call(s->data, "Page.createIsolatedWorld", p);
}

/* world: 0 is the page's own, where there is no other. */
static void ask_frames(struct settle *s, double world)
{
	static const char expression[] =
		"new Promise((done) => requestAnimationFrame(() => requestAnimationFrame("
		"() => done(document.readyState))))";
	cJSON *p = cJSON_CreateObject();

	s->state = SETTLE_FRAMES;
	if (world > 0)
		cJSON_AddNumberToObject(p, "contextId", world);
	cJSON_AddStringToObject(p, "expression", expression);
	cJSON_AddBoolToObject(p, "awaitPromise", true);
	cJSON_AddBoolToObject(p, "returnByValue", true);
	s->owner->call(s->data, "Runtime.evaluate", p);
}

static void on_quiet(uv_timer_t *t);

/* Looks again when it may be quiet. */
static void wait_on(struct settle *s)
{
	uint64_t since = uv_now(s->quiet.loop) - s->last;

	s->state = SETTLE_WAIT;
	uv_timer_start(
		&s->quiet, on_quiet, since < SETTLE_QUIET_MS ? SETTLE_QUIET_MS - since : 0, 0);
}

static void on_quiet(uv_timer_t *t)
{
	struct settle *s = t->data;

	/* What ends a request is activity: it starts the timer again. */
	if (s->n_requests == 0)
		ask_world(s);
}

static void activity(struct settle *s)
{
	s->last = uv_now(s->quiet.loop);
	s->moved = true;
	if (s->state == SETTLE_WAIT)
		wait_on(s);
}

/* ---- answers ---- */

static void take_world(struct settle *s, const char *result, size_t n)
{
	struct json_found m;
	char text[24] = "";
	uint64_t id = 0;

	if (result && json_scan_find(result, n, "executionContextId", &m) == 1 &&
		m.raw_len < sizeof(text)) {
		memcpy(text, m.raw, m.raw_len);
		parse_u64(text, 0, INT32_MAX, &id);
	}
	ask_frames(s, (double)id);
}

static bool says_complete(const char *result, size_t n)
{
	static const char complete[] = "\"complete\"";
	struct json_found o, m;

	return result && json_scan_find(result, n, "result", &o) == 1 &&
	       o.kind == JSON_KIND_OBJECT && json_scan_find(o.raw, o.raw_len, "value", &m) == 1 &&
	       m.raw_len == strlen(complete) && memcmp(m.raw, complete, m.raw_len) == 0;
}

static void take_frames(struct settle *s, const char *result, size_t n)
{
	bool complete = says_complete(result, n);

	if (complete && !s->moved) {
		finish(s, true);
		return;
	}
	if (!complete)
		activity(s);
	wait_on(s);
}

void settle_answer(struct settle *s, const char *result, size_t n, const struct err *err)
{
	if (err)
		result = NULL;
	switch (s->state) {
	case SETTLE_NETWORK:
		activity(s);
		wait_on(s);
		break;
	case SETTLE_WORLD:
		take_world(s, result, n);
		break;
	case SETTLE_FRAMES:
		take_frames(s, result, n);
		break;
	case SETTLE_WAIT:
	case SETTLE_OVER:
		break;
	}
}

/* ---- events ---- */

/* FNV-1a of the member's text; 0 when it is not there. Two ids alike only shorten or lengthen a
 * wait. */
static uint64_t id_of(const char *params, size_t n, const char *key)
{
	struct json_found m;
	uint64_t h = 14695981039346656037u;

	if (json_scan_find(params, n, key, &m) != 1 || !m.raw)
		return 0;
	for (size_t i = 0; i < m.raw_len; i++)
		h = (h ^ (uint8_t)m.raw[i]) * 1099511628211u;
	return h ? h : 1;
}

static void request_begins(struct settle *s, uint64_t id)
{
	for (size_t i = 0; i < s->n_requests; i++) {
		if (s->requests[i] == id)
			return;
	}
	if (id && s->n_requests < SETTLE_REQUESTS_MAX)
		s->requests[s->n_requests++] = id;
}

static void request_ends(struct settle *s, uint64_t id)
{
	for (size_t i = 0; i < s->n_requests; i++) {
		if (s->requests[i] == id) {
			s->requests[i] = s->requests[--s->n_requests];
			return;
		}
	}
}

/* Does the request last as long as the page? */
static bool lasts(const char *params, size_t n)
{
	struct json_found m;

	return json_scan_find(params, n, "type", &m) == 1 && m.raw &&
	       m.raw_len == strlen("\"EventSource\"") &&
	       memcmp(m.raw, "\"EventSource\"", m.raw_len) == 0;
}

enum settle_effect { EFFECT_NONE, EFFECT_MOVES, EFFECT_BEGINS, EFFECT_ENDS };

static const struct {
	const char *method;
	enum settle_effect effect;
} effects[] = {
	{"Network.requestWillBeSent", EFFECT_BEGINS},
	{"Network.responseReceived", EFFECT_MOVES},
	{"Network.dataReceived", EFFECT_MOVES},
	{"Network.loadingFinished", EFFECT_ENDS},
	{"Network.loadingFailed", EFFECT_ENDS},
};

static enum settle_effect effect_of(const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(effects); i++) {
		if (streq(effects[i].method, method))
			return effects[i].effect;
	}
	return EFFECT_NONE;
}

void settle_event(struct settle *s, const char *method, const char *params, size_t n)
{
	enum settle_effect effect = effect_of(method);

	if (effect == EFFECT_NONE || s->state == SETTLE_OVER)
		return;
	if (effect == EFFECT_BEGINS && !lasts(params, n))
		request_begins(s, id_of(params, n, "requestId"));
	else if (effect == EFFECT_ENDS)
		request_ends(s, id_of(params, n, "requestId"));
	activity(s);
}

/* ---- life ---- */

struct settle *settle_new(uv_loop_t *loop, const char *frame, unsigned int max_ms,
	const struct settle_owner *owner, void *data)
{
	struct settle *s = xcalloc(1, sizeof(*s));

	s->owner = owner;
	s->data = data;
	s->max_ms = max_ms;
	snprintf(s->frame, sizeof(s->frame), "%s", frame);
	uv_timer_init(loop, &s->deadline);
	uv_timer_init(loop, &s->quiet);
	s->deadline.data = s->quiet.data = s;
	s->open = 2;
	return s;
}

void settle_start(struct settle *s)
{
	uv_timer_start(&s->deadline, on_deadline, s->max_ms, 0);
	s->owner->call(s->data, "Network.enable", NULL);
}
