/* What would become of a connection, step by step, and which rule or command decides it. */
#ifndef BERTH_WHY_H
#define BERTH_WHY_H

#include <cjson/cJSON.h>

#include "err.h"

/*
 * target: HOST[:PORT], the port 443 without one. policy: as it is sent (policy.h).
 * used_up: the limit that ends everything now, or "". The answer is
 * `{host, port, verdict:"allow|deny|learn", rule (text or null), steps:[{step, ok, detail}],
 * command (what would allow it, or null)}`; the caller's. NULL and 400 invalid-request when target
 * is none.
 */
cJSON *why_explain(const cJSON *policy, const char *agent, const char *used_up, const char *target,
	struct err *err);

#endif
