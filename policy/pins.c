/*
 * Which name was pinned at which address and port: the parser's picture of the wall's set.
 *
 * Theory of operation. One `struct pin` is one element of the wall's set; the names for which it
 * was made hang on it, because many names share an address and the relay asks for the one it has
 * read. `until` is set when the wall is asked and only ever earlier than the kernel's own end (the
 * kernel starts counting later), so a pin that is here and not pending is there. A pin that is
 * pending is asked for once more by whoever needs it: answers come in order. What has run out is
 * swept every SWEEP_MS.
 */
#include "pins.h"
#include "pin_addr.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define BUCKETS 4096u
#define SWEEP_MS 5000
#define SLACK_S 2u /* of the wall's time over ours */

struct pin_name {
	struct pin_name *next;
	uint64_t until; /* now_ms */
	char name[];
};

/* Owned by its bucket. */
struct pin {
	struct pin *next;
	struct pin_name *names;
	size_t n_names;
	uint64_t until;
	uint64_t asked; /* number of the newest request for it */
	bool pending;   /* that one has no answer yet */
	uint32_t addr;
	uint16_t port;
};

/* Lives as long as the process. */
struct pins {
	struct wall_client *wall;
	const struct pin_networks *private_networks;
	struct pin *buckets[BUCKETS];
	size_t n;
	uint64_t asked;
	uv_timer_t sweep;
};

/* One request to the wall on behalf of a waiter; frees itself. */
struct pin_ask {
	struct pins *pins;
	struct pins_wait *wait;
	uint64_t number;
	uint32_t addr;
	uint16_t port;
};

static size_t bucket_of(uint32_t addr, uint16_t port)
{
	uint64_t h = ((uint64_t)addr << 16 | port) * 0x9e3779b97f4a7c15u;

	return (size_t)(h >> 48) % BUCKETS;
}

static struct pin *find_pin(const struct pins *p, uint32_t addr, uint16_t port)
{
	struct pin *pin = p->buckets[bucket_of(addr, port)];

	while (pin && (pin->addr != addr || pin->port != port))
		pin = pin->next;
	return pin;
}

static void free_pin(struct pins *p, struct pin **at)
{
	struct pin *pin = *at;

	*at = pin->next;
	while (pin->names) {
		struct pin_name *n = pin->names;

		pin->names = n->next;
		free(n);
	}
	free(pin);
	p->n--;
}

/* Whether the pin may stay for that name; rs NULL: no rule has changed. */
static bool still_allowed(const struct pin *pin, const char *name, const struct ruleset *rs)
{
	struct ruleset_decision d;

	if (!rs)
		return true;
	d = ruleset_name(rs, name, pin->port);
	return ruleset_allows(&d) && (pin->port != RULESET_ANY_PORT || rs->learn);
}

static void drop_names(struct pin *pin, const struct ruleset *rs, uint64_t now)
{
	for (struct pin_name **at = &pin->names; *at;) {
		struct pin_name *n = *at;

		if (n->until > now && still_allowed(pin, n->name, rs)) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		pin->n_names--;
		free(n);
	}
}

static void on_sweep(uv_timer_t *timer)
{
	struct pins *p = timer->data;
	uint64_t now = now_ms();

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct pin **at = &p->buckets[i]; *at;) {
			drop_names(*at, NULL, now);
			if (!(*at)->pending && (*at)->until <= now)
				free_pin(p, at);
			else
				at = &(*at)->next;
		}
	}
}

struct pins *pins_new(
	uv_loop_t *loop, struct wall_client *wall, const struct pin_networks *private_networks)
{
	struct pins *p = xcalloc(1, sizeof(*p));

	p->wall = wall;
	p->private_networks = private_networks;
	uv_timer_init(loop, &p->sweep);
	p->sweep.data = p;
	uv_timer_start(&p->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	uv_unref((uv_handle_t *)&p->sweep);
	return p;
}

static void finish_one(struct pins_wait *w, int result)
{
	if (result < 0 && w->result == 0)
		w->result = result;
	if (--w->outstanding == 0)
		w->done(w, w->result);
}

static void on_wall_done(void *data, const struct wall_answer *answer)
{
	struct pin_ask *a = data;
	struct pin *pin = find_pin(a->pins, a->addr, a->port);

	if (pin && pin->asked == a->number) {
		pin->pending = false;
		if (answer->result < 0)
			pin->until = 0;
	}
	finish_one(a->wait, answer->result);
	free(a);
}

static int ask_wall(struct pins *p, const struct wall_request *r, struct pins_wait *w)
{
	struct pin_ask *a = xcalloc(1, sizeof(*a));
	int result;

	*a = (struct pin_ask){
		.pins = p, .wait = w, .number = ++p->asked, .addr = r->addr, .port = r->port};
	result = wall_ask(p->wall, r, on_wall_done, a);
	if (result == 0) {
		w->outstanding++;
		return 0;
	}
	free(a);
	return w->result = result;
}

static void ask_pin(
	struct pins *p, struct pin *pin, uint64_t now, uint64_t until, struct pins_wait *w)
{
	uint32_t ttl = (uint32_t)((until - now) / 1000) + SLACK_S;
	struct wall_request r = {.op = WALL_PIN, .addr = pin->addr, .port = pin->port, .ttl = ttl};

	pin->until = ask_wall(p, &r, w) == 0 ? until : 0;
	pin->asked = p->asked;
	pin->pending = pin->until > 0;
}

static void name_pin(struct pin *pin, const char *name, uint64_t until)
{
	struct pin_name **last = NULL, *n;

	for (struct pin_name **at = &pin->names; *at; at = &(*at)->next) {
		if (streq((*at)->name, name)) {
			(*at)->until = MAX((*at)->until, until);
			return;
		}
		if (!last || (*at)->until < (*last)->until)
			last = at;
	}
	if (pin->n_names == PIN_NAMES_MAX) {
		n = *last;
		*last = n->next;
		free(n);
		pin->n_names--;
	}
	n = xmalloc(sizeof(*n) + strlen(name) + 1);
	n->until = until;
	strcpy(n->name, name);
	n->next = pin->names;
	pin->names = n;
	pin->n_names++;
}

static struct pin *get_pin(struct pins *p, uint32_t addr, uint16_t port)
{
	struct pin *pin = find_pin(p, addr, port), **bucket = &p->buckets[bucket_of(addr, port)];

	if (pin || p->n == WALL_PINS_MAX)
		return pin;
	pin = xcalloc(1, sizeof(*pin));
	pin->addr = addr;
	pin->port = port;
	pin->next = *bucket;
	*bucket = pin;
	p->n++;
	return pin;
}

static void need_one(struct pins *p, const char *name, uint32_t addr, uint16_t port, uint32_t ttl,
	struct pins_wait *w)
{
	uint64_t now = now_ms(), until = now + (ttl + PIN_GRACE) * 1000u;
	struct pin *pin = pin_addr_possible(addr) ? get_pin(p, addr, port) : NULL;

	if (!pin) {
		w->result = -ENOSPC;
		return;
	}
	if (pin->pending || pin->until < until)
		ask_pin(p, pin, now, MAX(pin->until, until + PIN_AHEAD * 1000u), w);
	name_pin(pin, name, pin->until);
}

static void free_timer(uv_handle_t *timer)
{
	free(timer);
}

/* A failure that nobody is going to report is reported by the loop. */
static void on_late(uv_timer_t *timer)
{
	struct pins_wait *w = timer->data;

	uv_close((uv_handle_t *)timer, free_timer);
	w->timer = NULL;
	finish_one(w, 0);
}

static bool nothing_to_wait_for(struct pins *p, struct pins_wait *w)
{
	if (w->outstanding > 0)
		return false;
	if (w->result == 0)
		return true;
	w->timer = xcalloc(1, sizeof(*w->timer));
	w->outstanding = 1;
	uv_timer_init(p->sweep.loop, w->timer);
	w->timer->data = w;
	uv_timer_start(w->timer, on_late, 0, 0);
	return false;
}

bool pins_need(struct pins *p, const char *name, const struct ruleset *rs, const uint32_t *addrs,
	size_t n, const uint16_t *ports, size_t n_ports, uint32_t ttl, struct pins_wait *w)
{
	w->outstanding = 0;
	w->result = 0;
	ttl = MIN(MAX(ttl, PIN_TTL_MIN), PIN_TTL_MAX);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n_ports && w->result == 0; k++)
			if (pin_addr_allowed(p->private_networks, rs, addrs[i], ports[k]) ||
				streq(name, RULE_SERVICE_START))
				need_one(p, name, addrs[i], ports[k], ttl, w);
	return nothing_to_wait_for(p, w);
}

static bool has_name(const struct pin *pin, const char *name)
{
	for (const struct pin_name *n = pin ? pin->names : NULL; n; n = n->next)
		if (streq(n->name, name))
			return true;
	return false;
}

bool pins_has(const struct pins *p, const char *name, uint32_t addr, uint16_t port)
{
	return has_name(find_pin(p, addr, port), name) ||
	       has_name(find_pin(p, addr, RULESET_ANY_PORT), name);
}

const char *pins_find(const struct pins *p, uint32_t addr, uint16_t port,
	bool (*fits)(void *data, const char *name), void *data)
{
	const uint16_t ports[] = {port, RULESET_ANY_PORT};

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		const struct pin *pin = find_pin(p, addr, ports[i]);

		for (const struct pin_name *n = pin ? pin->names : NULL; n; n = n->next)
			if (fits(data, n->name))
				return n->name;
	}
	return NULL;
}

/* Whoever has learnt the addresses of a name is let through at the ports that it has now. */
static void follow_names(
	struct pins *p, const struct pin *pin, const struct ruleset *rs, struct pins_wait *w)
{
	uint64_t now = now_ms();

	for (const struct pin_name *n = pin->names; n; n = n->next) {
		uint16_t ports[RULESET_PORTS_MAX];
		size_t n_ports = n->until > now ? ruleset_ports(rs, n->name, ports) : 0;

		for (size_t i = 0; i < n_ports; i++)
			if (p->n < WALL_PINS_MAX &&
				!has_name(find_pin(p, pin->addr, ports[i]), n->name) &&
				pin_addr_allowed(p->private_networks, rs, pin->addr, ports[i]))
				need_one(p, n->name, pin->addr, ports[i],
					MIN((uint32_t)((n->until - now) / 1000), PIN_TTL_MAX), w);
	}
}

bool pins_follow(struct pins *p, const struct ruleset *rs, struct pins_wait *w)
{
	w->outstanding = 0;
	w->result = 0;
	for (size_t i = 0; i < BUCKETS; i++) /* new ones go to the front of their bucket */
		for (struct pin *pin = p->buckets[i]; pin; pin = pin->next)
			follow_names(p, pin, rs, w);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct pin **at = &p->buckets[i]; *at;) {
			struct pin *pin = *at;
			struct wall_request r = {
				.op = WALL_UNPIN, .addr = pin->addr, .port = pin->port};

			drop_names(pin, rs, 0);
			if (pin->names) {
				at = &pin->next;
				continue;
			}
			ask_wall(p, &r, w);
			free_pin(p, at);
		}
	}
	return nothing_to_wait_for(p, w);
}

size_t pins_count(const struct pins *p)
{
	return p->n;
}
