/* Which name was pinned at which address and port: the parser's picture of the wall's set. */
#ifndef BERTH_POLICY_PINS_H
#define BERTH_POLICY_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "pin_addr.h"
#include "ruleset.h"
#include "wall_client.h"

#define PIN_TTL_MIN 60u /* browsers keep an address for a minute, whatever its TTL */
#define PIN_TTL_MAX 3600u
#define PIN_GRACE 10u /* on top: for whoever connects at the end of that time */
#define PIN_AHEAD 5u  /* and on top of that, so that the next answers need nothing from the wall */
#define PIN_NAMES_MAX 64 /* names at one address and port; the one that ends first makes room */

struct pins;

/* The caller's, embedded; done is called once, never from within the call that was given it. */
struct pins_wait {
	void (*done)(struct pins_wait *w, int result);
	size_t outstanding;
	int result;
	uv_timer_t *timer; /* NULL; pins.c's own */
};

struct pins *pins_new(
	uv_loop_t *loop, struct wall_client *wall, const struct pin_networks *private_networks);
/*
 * Has every address (network byte order) with every port (0: all of them) at which the rules allow
 * it pinned for the name, from now on for ttl
 * seconds (PIN_TTL_MIN to PIN_TTL_MAX) and PIN_GRACE. True: it is so already, and w is not used.
 * False: w->done follows, with 0 once the wall has acknowledged all, or a negative errno: then
 * nothing of it may be relied on.
 */
bool pins_need(struct pins *p, const char *name, const struct ruleset *rs, const uint32_t *addrs,
	size_t n, const uint16_t *ports, size_t n_ports, uint32_t ttl, struct pins_wait *w);
bool pins_has(const struct pins *p, const char *name, uint32_t addr, uint16_t port);
/* The first name pinned there that fits, or NULL. Valid until the loop goes on. */
const char *pins_find(const struct pins *p, uint32_t addr, uint16_t port,
	bool (*fits)(void *data, const char *name), void *data);
/*
 * Drops what the rules no longer allow, and pins what they now allow of names that the guest knows.
 * True: it is so already; false: w->done follows.
 */
bool pins_follow(struct pins *p, const struct ruleset *rs, struct pins_wait *w);
size_t pins_count(const struct pins *p);

#endif
