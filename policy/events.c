/*
 * Decisions and failures as events for berthd, at a bounded rate.
 *
 * The first decision of a kind (name, port, protocol, verdict, reason) goes out at once and opens a
 * window; what comes within it is summed into one entry with a count, sent at the window's end.
 * Kinds over EVENTS_SLOTS at a time are only counted. Failures go the same way, by the kind of
 * text: a guest can cause some of them at will.
 */
#include "events.h"
#include "json.h"
#include "log.h"
#include "util.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <string.h>

#define TICK_MS 250

/* The texts of one kind, and what has come since the last entry of it was sent. */
struct slot {
	bool used, allow, learnt;
	char name[256], protocol[8], rule[320], reason[96];
	uint32_t addr;
	uint16_t port;
	uint64_t ends, count, bytes_up, bytes_down, duration_ms;
};

struct failure {
	const char *fmt; /* NULL: unused */
	uint64_t ends, more;
	char text[400]; /* of the latest that was not told */
};

/* Lives as long as the process. */
struct events {
	void (*send)(void *data, const cJSON *event);
	void *data;
	uv_timer_t tick;
	struct slot slots[EVENTS_SLOTS];
	size_t used;
	uint64_t lost;
	bool down[HEALTH_N];
	struct {
		const char *reason; /* a literal */
		uint64_t n;
	} denied[EVENTS_REASONS];
	struct failure failures[EVENTS_FAILURES];
};

static void send_event(struct events *e, cJSON *event)
{
	cJSON *msg = cJSON_CreateObject();

	cJSON_AddItemToObject(msg, "event", event);
	e->send(e->data, msg);
	cJSON_Delete(msg);
}

static void send_slot(struct events *e, struct slot *s)
{
	cJSON *o = cJSON_CreateObject();
	char addr[INET_ADDRSTRLEN] = "";

	if (s->addr)
		inet_ntop(AF_INET, &s->addr, addr, sizeof(addr));
	cJSON_AddStringToObject(o, "type", "egress");
	json_add_time(o, "time", realtime_ns());
	cJSON_AddStringToObject(o, "name", s->name);
	cJSON_AddStringToObject(o, "address", addr);
	cJSON_AddNumberToObject(o, "port", s->port);
	cJSON_AddStringToObject(o, "protocol", s->protocol);
	cJSON_AddStringToObject(o, "rule", s->rule);
	cJSON_AddStringToObject(o, "verdict", s->learnt ? "learn" : s->allow ? "allow" : "deny");
	cJSON_AddStringToObject(o, "reason", s->reason);
	cJSON_AddNumberToObject(o, "bytes_up", (double)s->bytes_up);
	cJSON_AddNumberToObject(o, "bytes_down", (double)s->bytes_down);
	cJSON_AddNumberToObject(o, "duration_ms", (double)s->duration_ms);
	cJSON_AddNumberToObject(o, "count", (double)s->count);
	send_event(e, o);
	s->count = s->bytes_up = s->bytes_down = s->duration_ms = 0;
}

static void send_failure(struct events *e, const char *text)
{
	cJSON *o = cJSON_CreateObject();

	log_warning("%s", text);
	cJSON_AddStringToObject(o, "type", "error");
	cJSON_AddStringToObject(o, "detail", text);
	send_event(e, o);
}

/* False when no window is open any more. */
static bool end_failures(struct events *e, uint64_t now)
{
	bool open = false;

	for (size_t i = 0; i < EVENTS_FAILURES; i++) {
		struct failure *f = &e->failures[i];
		char text[500];

		if (f->fmt && f->ends <= now && f->more == 0)
			f->fmt = NULL;
		open = open || f->fmt;
		if (!f->fmt || f->ends > now)
			continue;
		snprintf(text, sizeof(text), "%s%s", f->text,
			f->more > 1 ? " (and others like it)" : "");
		f->ends = now + EVENTS_FAILURE_MS;
		f->more = 0;
		send_failure(e, text);
	}
	return open;
}

static void on_tick(uv_timer_t *timer)
{
	struct events *e = timer->data;
	uint64_t now = now_ms(), lost = e->lost;
	bool open = end_failures(e, now);

	for (size_t i = 0; i < EVENTS_SLOTS; i++) {
		struct slot *s = &e->slots[i];

		if (!s->used || s->ends > now)
			continue;
		s->ends = now + EVENTS_WINDOW_MS;
		s->used = s->count > 0;
		e->used -= !s->used;
		if (s->used)
			send_slot(e, s);
	}
	if (e->used > 0)
		return;
	e->lost = 0;
	if (lost)
		events_error(e, "%llu decisions were not listed: too many different ones at a time",
			(unsigned long long)lost);
	else if (!open)
		uv_timer_stop(timer);
}

static void start_tick(struct events *e)
{
	if (!uv_is_active((uv_handle_t *)&e->tick))
		uv_timer_start(&e->tick, on_tick, TICK_MS, TICK_MS);
}

struct events *events_new(uv_loop_t *loop, void (*send)(void *data, const cJSON *event), void *data)
{
	struct events *e = xcalloc(1, sizeof(*e));

	e->send = send;
	e->data = data;
	uv_timer_init(loop, &e->tick);
	e->tick.data = e;
	return e;
}

static bool same_kind(const struct slot *s, const struct egress *g)
{
	return s->used && s->port == g->port && s->allow == g->allow && s->learnt == g->learnt &&
	       streq(s->name, g->name) && (g->name[0] || s->addr == g->addr) &&
	       streq(s->protocol, g->protocol) && streq(s->reason, g->reason);
}

static struct slot *find_slot(struct events *e, const struct egress *g)
{
	struct slot *unused = NULL;

	for (size_t i = 0; i < EVENTS_SLOTS; i++) {
		if (same_kind(&e->slots[i], g))
			return &e->slots[i];
		if (!e->slots[i].used)
			unused = &e->slots[i];
	}
	return unused;
}

static void open_slot(struct events *e, struct slot *s, const struct egress *g)
{
	*s = (struct slot){.used = true,
		.allow = g->allow,
		.learnt = g->learnt,
		.addr = g->addr,
		.port = g->port,
		.ends = now_ms() + EVENTS_WINDOW_MS};
	snprintf(s->name, sizeof(s->name), "%s", g->name);
	snprintf(s->protocol, sizeof(s->protocol), "%s", g->protocol);
	snprintf(s->rule, sizeof(s->rule), "%s", g->rule);
	snprintf(s->reason, sizeof(s->reason), "%s", g->reason);
	e->used++;
	start_tick(e);
}

static void count_denied(struct events *e, const char *reason, uint64_t times)
{
	size_t i = 0;

	while (i < EVENTS_REASONS - 1 && e->denied[i].reason && !streq(e->denied[i].reason, reason))
		i++;
	e->denied[i].reason = reason;
	e->denied[i].n += times;
}

cJSON *events_denied_by(const struct events *e)
{
	cJSON *o = cJSON_CreateObject();

	for (size_t i = 0; i < EVENTS_REASONS && e->denied[i].reason; i++)
		cJSON_AddNumberToObject(o, e->denied[i].reason, (double)e->denied[i].n);
	return o;
}

void events_egress(struct events *e, const struct egress *g)
{
	struct slot *s = find_slot(e, g);
	uint64_t times = MAX(g->times, (uint64_t)1);
	bool first;

	if (!g->allow)
		count_denied(e, g->reason, times);
	if (!s) {
		e->lost++;
		return;
	}
	first = !s->used;
	if (first)
		open_slot(e, s, g);
	s->addr = g->addr;
	s->count += times;
	s->bytes_up += g->bytes_up;
	s->bytes_down += g->bytes_down;
	s->duration_ms += g->duration_ms;
	if (first)
		send_slot(e, s);
}

static struct failure *find_failure(struct events *e, const char *fmt)
{
	struct failure *unused = NULL;

	for (size_t i = 0; i < EVENTS_FAILURES; i++) {
		if (e->failures[i].fmt == fmt)
			return &e->failures[i];
		if (!e->failures[i].fmt)
			unused = &e->failures[i];
	}
	return unused;
}

void events_error(struct events *e, const char *fmt, ...)
{
	struct failure *f = find_failure(e, fmt);
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	if (f->fmt) {
		f->more++;
		return;
	}
	f->fmt = fmt;
	f->ends = now_ms() + EVENTS_FAILURE_MS;
	f->more = 0;
	start_tick(e);
	send_failure(e, f->text);
}

void events_health(struct events *e, enum health part, bool up, const char *detail)
{
	static const char *const names[HEALTH_N] = {"resolvers", "proxy"};
	cJSON *o;

	if (e->down[part] == !up)
		return;
	e->down[part] = !up;
	log_warning("%s: %s", names[part], detail);
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "type", "upstream");
	cJSON_AddStringToObject(o, "part", names[part]);
	cJSON_AddBoolToObject(o, "up", up);
	cJSON_AddStringToObject(o, "detail", detail);
	send_event(e, o);
}

void events_usage(struct events *e, uint64_t up, uint64_t down)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "type", "usage");
	cJSON_AddNumberToObject(o, "bytes_up", (double)up);
	cJSON_AddNumberToObject(o, "bytes_down", (double)down);
	send_event(e, o);
}
