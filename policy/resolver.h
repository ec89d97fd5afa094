/* The agent's DNS server: what a guest may ask, and the pins that must be there before it is
 * answered. */
#ifndef BERTH_POLICY_RESOLVER_H
#define BERTH_POLICY_RESOLVER_H

#include <uv.h>

#include "events.h"
#include "lookup.h"
#include "meter.h"
#include "pins.h"
#include "ruleset.h"
#include "stats.h"

#define RESOLVER_ASKS_MAX 256   /* questions at work; more are answered SERVFAIL at once */
#define RESOLVER_CLIENTS_MAX 16 /* by TCP */
#define RESOLVER_CLIENT_MS 10000

struct resolver;

/* What it stands on; everything outlives it. */
struct resolver_parts {
	uv_loop_t *loop;
	const struct ruleset *rules;
	struct lookup *lookup;
	struct pins *pins;
	struct events *events;
	struct meter *meter;
	struct stats *stats;
};

/* Serves both listeners (taken). NULL and err when the loop does not take them. */
struct resolver *resolver_new(
	const struct resolver_parts *parts, int udp, int tcp, struct err *err);

#endif
