/* What an agent may reach, as one JSON object: `{mode, rules:[text], limits:{}}`. */
#ifndef BERTH_POLICY_H
#define BERTH_POLICY_H

#include <cjson/cJSON.h>

#include "err.h"

/*
 * The same object is kept in the store, sent to berth-policy, and shown by the API. All its members
 * are always there and in their normal form. What is returned is the caller's to delete; NULL and
 * err (400 invalid-rule, invalid-request, 409 limit-reached) on a wish that is refused.
 */

/* Nothing is allowed. */
cJSON *policy_nothing(void);
/* wish: any of `rules`, `mode`, `limits`; what is absent is as in policy_nothing. */
cJSON *policy_make(const cJSON *wish, struct err *err);
/* With these rules (an array of texts, or NULL) and everything else as in policy_nothing. */
cJSON *policy_with_rules(const cJSON *rules, struct err *err);
/*
 * now with a change: `remove` takes rules out, `allow` adds some, `mode` and `limits` replace
 * theirs. agent is its name, for errors.
 */
cJSON *policy_changed(const cJSON *now, const cJSON *change, const char *agent, struct err *err);

#endif
