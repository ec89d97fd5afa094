/* All the rules of one policy: what they say of a name or of an address. */
#ifndef BERTH_BASE_RULESET_H
#define BERTH_BASE_RULESET_H

#include <cjson/cJSON.h>

#include "rules.h"

#define RULESET_PORTS_MAX 64 /* ports of one name over all its rules; more are not opened */
#define RULESET_ANY_PORT 0
#define RULESET_NETWORKS_MAX 4096 /* networks times their ports, of allowing and denying rules */
/* What a name below a wildcard may have at most: longer ones carry data to whoever answers them. */
#define RULESET_BELOW_LEN_MAX 180
#define RULESET_BELOW_LABELS_MAX 16

struct ruleset_rule; /* one that is in force; owned by its ruleset */

/* Embedded; empty (nothing allowed) when zeroed. Its own members are ruleset.c's business. */
struct ruleset {
	struct ruleset_rule *list;
	size_t n;
	uint32_t *slots; /* hash of names and networks: 1 + the place in list, 0 free */
	size_t n_slots;
	uint64_t widths;     /* bit b: there is a network of b bits */
	bool learn;          /* what no rule denies is allowed by name, and told from the rest */
	uint32_t generation; /* goes up with every change */
};

enum ruleset_verdict {
	RULESET_NONE,  /* no rule allows it */
	RULESET_DENY,  /* a rule denies it */
	RULESET_ALLOW, /* a rule allows it */
	RULESET_LEARN, /* no rule allows it, and it is allowed because the policy learns */
};

struct ruleset_decision {
	enum ruleset_verdict verdict;
	const char *rule; /* as the operator wrote it; "" when no rule decides. Valid until set. */
	bool tcp;         /* any protocol, without a look at names */
	bool below;       /* the name stands in no rule: a wildcard or nothing decides */
};

/* Allowed, by a rule or because the policy learns. */
static inline bool ruleset_allows(const struct ruleset_decision *d)
{
	return d->verdict == RULESET_ALLOW || d->verdict == RULESET_LEARN;
}

/*
 * policy: an object of which mode, rules and presets (name: array of texts) are read. All or
 * nothing: on an error (400 invalid-rule, invalid-request, 409 limit-reached) nothing has changed.
 */
int ruleset_set(struct ruleset *rs, const cJSON *policy, struct err *err);
void ruleset_done(struct ruleset *rs);

/* name is normal. RULESET_ANY_PORT: is there any port at which it may be reached? */
struct ruleset_decision ruleset_name(const struct ruleset *rs, const char *name, uint16_t port);
/*
 * What the rules of networks say of an address (network byte order) at a port. RULESET_ANY_PORT:
 * denied at every port, or allowed at any.
 */
struct ruleset_decision ruleset_addr(const struct ruleset *rs, uint32_t addr, uint16_t port);
/*
 * The ports at which the name may be reached; their number. With RULESET_ANY_PORT among them every
 * port, for a policy that learns.
 */
size_t ruleset_ports(const struct ruleset *rs, const char *name, uint16_t ret[RULESET_PORTS_MAX]);

/* Each network and port that a rule allows, without those that another rule covers. */
void ruleset_networks(const struct ruleset *rs,
	void (*fn)(void *data, const struct ipv4_network *net, uint16_t port), void *data);

/*
 * Another rule that is in force and names all that r names, so that r adds nothing: a denying one
 * first, then one of the same verdict; "" when there is none. Valid until set.
 */
const char *ruleset_cover(const struct ruleset *rs, const struct rule *r, bool *ret_denies);

/* Why a name that a wildcard allows is not asked for all the same, or NULL. */
const char *ruleset_odd_name(const char *name);

#endif
