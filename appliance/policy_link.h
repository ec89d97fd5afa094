/* One agent's berth-policy: started or adopted, spoken to, started again when it dies. */
#ifndef BERTH_POLICY_LINK_H
#define BERTH_POLICY_LINK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <uv.h>

#include "err.h"

struct policy_link; /* owned by its agent */

struct policy_spec {
	const char *state, *id, *name; /* copied */
	const char *program;           /* NULL: the installed berth-policy */
	/* "cidr[,cidr…]" that agents may reach by name though they are not public; NULL: none */
	const char *private_networks;
	const cJSON *upstream; /* arguments of upstream.set; outlives the link; NULL: none */
};

/* None is called from within a policy_link_ function. The link may be ended or freed in `up` and
 * `down` only. */
struct policy_callbacks {
	/* The policy is in force: after the start, and after each death. */
	void (*up)(void *data);
	/*
	 * It died or does not answer (code 0), or could not be started (a negative errno); another
	 * start is under way. Nothing gets out meanwhile.
	 */
	void (*down)(void *data, const char *detail, int code);
	/* An entry of the policy's log, as sent: not checked. */
	void (*egress)(void *data, const cJSON *entry);
	/* Any other event: not checked. */
	void (*told)(void *data, const char *type, const cJSON *event);
	/* It cannot do something: at a bounded rate. detail: from it, not checked. */
	void (*error)(void *data, const char *detail);
	/* A process of that instance is there: the arguments of its first budget.set, which are
	 * taken. */
	cJSON *(*hello)(void *data, const char *instance);
};

/* policy: the object (policy.h), copied. Adopts the process that policy.pid names, or starts one in
 * the namespace STATE/run/ns/ID. */
struct policy_link *policy_link_new(uv_loop_t *loop, const struct policy_spec *spec,
	const cJSON *policy, const struct policy_callbacks *cb, void *data);
/*
 * Sets another policy; done (may be NULL) is told when it is in force, or why that will take until
 * the next `up`; at once (NULL) while no process runs, as nothing gets out then. It must not end
 * the link.
 */
typedef void policy_done_fn(void *data, const struct err *err);
void policy_link_set(struct policy_link *l, const cJSON *policy, policy_done_fn *done, void *data);
/* Tells another budget (copied). */
void policy_link_budget(struct policy_link *l, const cJSON *budget);
bool policy_link_is_up(const struct policy_link *l);
/* The last answer to `stats`, or NULL. */
const cJSON *policy_link_stats(const struct policy_link *l);
/* Lets go of it, the process goes on. Those who wait are told that it was cut short. */
void policy_link_free(struct policy_link *l);
/* Ends the process (and its wall) and frees. */
void policy_link_end(struct policy_link *l);
/* The loop ends: killed processes that have not ended yet are waited for no more. */
void policy_links_forget_killed(void);
/* Ends the process that STATE/run/agents/ID/policy.pid names, if it runs. */
void policy_kill_left(const char *state, const char *id);

#endif
