/* IPv4 networks as people write them. */
#ifndef BERTH_BASE_IPV4_H
#define BERTH_BASE_IPV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Host byte order; an address is in the network when (address & mask) == net. */
struct ipv4_network {
	uint32_t net, mask;
};

/* n bytes of "10.1.0.0/16" or "10.1.2.3" (a network of one). -EINVAL when they are anything else.
 * Bits beyond the prefix are cut: whoever minds compares. */
int ipv4_network_parse(const char *text, size_t n, struct ipv4_network *ret, struct err *err);

/*
 * No agent ever reaches any of its addresses, whatever its policy says: this network, loopback, the
 * agent's own link, link-local, multicast, reserved, and where clouds keep their metadata.
 */
bool ipv4_never_reached(const struct ipv4_network *n);

#endif
