/* What an agent may reach, as one JSON object: `{mode, rules:[text], limits:{}}`. */
#ifndef BERTH_POLICY_H
#define BERTH_POLICY_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "err.h"

/*
 * The same object is kept in the store, sent to berth-policy (policy_to_send), and shown by the
 * API. All its members are always there and in their normal form. What is returned is the caller's
 * to delete; NULL and err (400 invalid-rule, invalid-request, 409 limit-reached) on a wish that is
 * refused.
 *
 * A rule that was not there before is refused when it would do nothing (a rule that denies stands
 * above it, or another names all that it names), and without `force` when it opens more than it
 * seems to: all names below a public suffix, any protocol at the ports of the web, a network wider
 * than a /8. One that is there already is taken as it is.
 */

/* Nothing is allowed. */
cJSON *policy_nothing(void);
/* wish: any of `rules`, `mode`, `limits`, `force`; what is absent is as in policy_nothing. now: the
 * policy that it replaces, or NULL. */
cJSON *policy_make(const cJSON *wish, const cJSON *now, struct err *err);
/*
 * now with a change: `remove` takes rules out, `allow` and `deny` add some, `mode` replaces its
 * own, `limits` those that it names; `force`. agent is its name, for errors.
 */
cJSON *policy_changed(const cJSON *now, const cJSON *change, const char *agent, struct err *err);
/* Adds what one that an earlier version kept lacks. */
int policy_complete(cJSON *policy, struct err *err);

/* The object with the rules of its presets. One that cannot be read has none, which is logged. */
cJSON *policy_to_send(const cJSON *policy);
/* What a change did, for its event: `{mode, rules (their number), added:[], removed:[]}`. */
cJSON *policy_difference(const cJSON *old, const cJSON *now);

#endif
