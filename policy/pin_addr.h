/* Which IPv4 addresses may be pinned and dialled at all, and which only if the operator names their
 * network. */
#ifndef BERTH_POLICY_PIN_ADDR_H
#define BERTH_POLICY_PIN_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "ruleset.h"

#define PIN_NETWORKS_MAX 64
/* What the resolver answers for the appliance's own services (docs/internals.md). */
#define PIN_SERVICE_ADDR "198.18.0.1"

struct pin_networks {
	struct {
		uint32_t net, mask; /* host byte order */
	} list[PIN_NETWORKS_MAX];
	size_t n;
};

/* "cidr[,cidr…]", IPv4 only; NULL and "" are no network. */
int pin_networks_parse(const char *text, struct pin_networks *ret, struct err *err);
/* addr (network byte order) is in one of them. */
bool pin_networks_have(const struct pin_networks *networks, uint32_t addr);
/*
 * addr is in network byte order everywhere. Possible: an address the guest can send to and a server
 * can have: not this network, loopback, multicast, broadcast, the guest's own link.
 */
bool pin_addr_possible(uint32_t addr);
/*
 * Possible, not denied at that port, and public or in one of the networks, or in one that a rule
 * allows at that port. RULESET_ANY_PORT: not denied at every port, and allowed at any.
 */
bool pin_addr_allowed(const struct pin_networks *private_networks, const struct ruleset *rules,
	uint32_t addr, uint16_t port);

#endif
