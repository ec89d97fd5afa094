/* The addresses of a name: cache, one upstream question per name at a time, forbidden addresses
 * removed. */
#ifndef BERTH_POLICY_LOOKUP_H
#define BERTH_POLICY_LOOKUP_H

#include "dns_packet.h"
#include "pin_addr.h"
#include "upstream.h"

#define LOOKUP_CACHE_MAX 4096
#define LOOKUP_QUERIES_MAX 256 /* names asked upstream at once */

struct lookup;

struct lookup_result {
	enum dns_rcode rcode; /* SERVFAIL also when no server answered or too much is being asked */
	uint32_t addrs[DNS_ADDRS_MAX];
	size_t n, removed; /* removed: addresses that may not be used */
	uint32_t ttl;      /* seconds left */
};

/* The caller's, embedded. */
struct lookup_wait {
	void (*done)(struct lookup_wait *w, const struct lookup_result *r);
	struct lookup_wait *next, **at;
};

/* Addresses are judged by rules and networks when they are given, not when they are kept. */
struct lookup *lookup_new(struct upstream *upstream, const struct pin_networks *private_networks,
	const struct ruleset *rules);
/* It would be answered without asking anybody. */
bool lookup_knows(const struct lookup *l, const char *name);
/* What is known came from other servers than will be asked now. */
void lookup_forget(struct lookup *l);
/* name: normal form. done is called once, perhaps before this returns. */
void lookup_start(struct lookup *l, const char *name, struct lookup_wait *w);
/* After it, done is not called. A wait that is over or never began is fine, if it was zeroed. */
void lookup_cancel(struct lookup_wait *w);

#endif
