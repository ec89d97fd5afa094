/* The agent's way out: TCP that the wall redirected, by name. */
#ifndef BERTH_POLICY_RELAY_H
#define BERTH_POLICY_RELAY_H

#include <uv.h>

#include "events.h"
#include "lookup.h"
#include "meter.h"
#include "pin_addr.h"
#include "pins.h"
#include "proxy.h"
#include "ruleset.h"
#include "stats.h"

#define RELAY_CONNS_MAX 512
#define RELAY_FILES_LEFT 64 /* descriptors that connections leave for questions and berthd */
#define RELAY_BUFFER \
	65536u /* each way; also the largest ClientHello and what is held while dialling */
#define RELAY_HELLO_MS 10000 /* to say a name */
#define RELAY_LEARN_MS 1000  /* without a byte: then the server is taken to speak first */
#define RELAY_DIAL_MS 10000  /* over all addresses */
#define RELAY_TRY_MS 4000    /* one address, if there is another */
#define RELAY_IDLE_MS 600000
#define RELAY_LINGER_MS 2000 /* for the blocked page to be read */
/* Unix socket of the start page, in the folder the process is in. */
#define RELAY_START_SOCKET "start.sock"

struct relay;

/* What it stands on; everything outlives it. */
struct relay_parts {
	uv_loop_t *loop;
	const char *agent; /* its name, for the blocked page */
	const struct ruleset *rules;
	const struct pin_networks *private_networks;
	struct lookup *lookup;
	const struct proxy *proxy;   /* by which it dials; of kind PROXY_NONE: straight */
	struct lookup *proxy_lookup; /* of its name, whose address may be any */
	struct pins *pins;
	struct events *events;
	struct meter *meter;
	struct stats *stats;
};

/* Serves the listener (taken). NULL and err when the loop does not take it. */
struct relay *relay_new(const struct relay_parts *parts, int listener, struct err *err);
/* Cuts the connections that the rules no longer allow. */
void relay_recheck(struct relay *r);
/* Cuts all of them. */
void relay_cut(struct relay *r, const char *reason);

#endif
