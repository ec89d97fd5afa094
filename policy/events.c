/*
 * Decisions and failures as events for berthd, at a bounded rate.
 *
 * The first decision of a kind (name, port, protocol, verdict, reason) goes out at once and opens a
 * window; what comes within it is summed into one entry with a count, sent at the window's end.
 * Kinds over EVENTS_SLOTS at a time are only counted.
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

static void on_tick(uv_timer_t *timer)
{
	struct events *e = timer->data;
	uint64_t now = now_ms(), lost = e->lost;

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
	uv_timer_stop(timer);
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
	if (!uv_is_active((uv_handle_t *)&e->tick))
		uv_timer_start(&e->tick, on_tick, TICK_MS, TICK_MS);
}

static void count_denied(struct events *e, const char *reason)
{
	size_t i = 0;

	while (i < EVENTS_REASONS - 1 && e->denied[i].reason && !streq(e->denied[i].reason, reason))
		i++;
	e->denied[i].reason = reason;
	e->denied[i].n++;
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
	bool first;

	if (!g->allow)
		count_denied(e, g->reason);
	if (!s) {
		e->lost++;
		return;
	}
	first = !s->used;
	if (first)
		open_slot(e, s, g);
	s->addr = g->addr;
	s->count++;
	s->bytes_up += g->bytes_up;
	s->bytes_down += g->bytes_down;
	s->duration_ms += g->duration_ms;
	if (first)
		send_slot(e, s);
}

void events_error(struct events *e, const char *fmt, ...)
{
	cJSON *o = cJSON_CreateObject();
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warning("%s", text);
	cJSON_AddStringToObject(o, "type", "error");
	cJSON_AddStringToObject(o, "detail", text);
	send_event(e, o);
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
