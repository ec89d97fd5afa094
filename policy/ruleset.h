/* The rules in force. */
#ifndef BERTH_POLICY_RULESET_H
#define BERTH_POLICY_RULESET_H

#include <cjson/cJSON.h>

#include "rules.h"

#define RULESET_PORTS_MAX 64 /* ports of one name over all its rules; more are not opened */

/* Embedded; empty (nothing allowed) when zeroed. */
struct ruleset {
	struct rule list[RULES_MAX];
	size_t n;
	uint32_t generation; /* goes up with every change */
};

/* texts: an array of strings. All or none: on an error nothing has changed. */
int ruleset_set(struct ruleset *rs, const cJSON *texts, struct err *err);
/* The first rule that allows it (port 0: any port), or NULL. */
const struct rule *ruleset_match(const struct ruleset *rs, const char *name, uint16_t port);
/* The ports at which the name may be reached; their number. */
size_t ruleset_ports(const struct ruleset *rs, const char *name, uint16_t ret[RULESET_PORTS_MAX]);

#endif
