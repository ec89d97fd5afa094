/* Rules for what an agent asked for and was not allowed, or was only because its policy learns. */
#ifndef BERTH_SUGGEST_H
#define BERTH_SUGGEST_H

#include <cjson/cJSON.h>

#include "store.h"

struct suggest; /* owned by the caller */

/* policy: as it is sent (policy.h); what it allows or denies by a rule is not suggested. */
struct suggest *suggest_new(const cJSON *policy);
void suggest_free(struct suggest *s);
/* One entry of the log. */
void suggest_add(struct suggest *s, const struct egress_record *e);
/*
 * An array of `{rule, names:[text], count}`, the most asked for first: one rule for a name, with
 * the ports it was asked at; a wildcard where many names of one owner were. The caller's.
 */
cJSON *suggest_rules(struct suggest *s);

#endif
