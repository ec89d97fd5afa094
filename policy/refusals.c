/* Tells of the packets that the wall refused, as decisions. */
#include "refusals.h"
#include "guest.h"
#include "util.h"

#include <arpa/inet.h>

/*
 * The wall notes in sets of its table what it refuses, and is asked for them every two seconds. A
 * guest can fill the sets; what finds no room there is refused all the same, and counted.
 */
struct refusals {
	uv_timer_t timer;
	struct wall_client *wall;
	struct events *events;
	bool asked; /* and not answered yet */
};

static const char *protocol_name(unsigned int protocol, char room[16])
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	default:
		snprintf(room, 16, "ip %u", protocol);
		return room;
	}
}

static const char *reason_of(const struct wall_refusal *r)
{
	if (r->addr == inet_addr(GUEST_HOST_ADDR))
		return "the host serves nothing there";
	if (r->protocol == IPPROTO_TCP)
		return "no name that is allowed was asked for at this address and port";
	return r->protocol == IPPROTO_UDP ? "UDP never leaves" : "only TCP leaves";
}

struct egress refusals_decision(const struct wall_refusal *r, char room[16])
{
	return (struct egress){.name = "",
		.rule = "",
		.protocol = protocol_name(r->protocol, room),
		.reason = reason_of(r),
		.addr = r->addr,
		.port = r->port,
		.times = r->packets};
}

static void on_refused(void *data, const struct wall_answer *a)
{
	struct refusals *f = data;

	f->asked = false;
	for (size_t i = 0; a->result == 0 && i < MIN(a->refusals.n, WALL_REFUSED_TOLD); i++) {
		char room[16];
		struct egress g = refusals_decision(&a->refusals.list[i], room);

		events_egress(f->events, &g);
	}
	if (a->result == 0 && a->refusals.more)
		events_error(f->events,
			"packets to %u more addresses and ports were refused and not listed: too "
			"many "
			"different ones at a time",
			a->refusals.more);
}

static void on_timer(uv_timer_t *timer)
{
	struct refusals *f = timer->data;
	const struct wall_request r = {.op = WALL_REFUSALS};

	if (!f->asked)
		f->asked = wall_ask(f->wall, &r, on_refused, f) == 0;
}

void refusals_watch(uv_loop_t *loop, struct wall_client *wall, struct events *events)
{
	struct refusals *f = xcalloc(1, sizeof(*f));

	f->wall = wall;
	f->events = events;
	uv_timer_init(loop, &f->timer);
	f->timer.data = f;
	uv_timer_start(&f->timer, on_timer, REFUSALS_MS, REFUSALS_MS);
}
