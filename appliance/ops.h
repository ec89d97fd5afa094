/* The operations of the control channel: one table. */
#ifndef BERTH_OPS_H
#define BERTH_OPS_H

#include "daemon.h"
#include "json.h"

struct op {
	const char *name;
	bool changes;                      /* something: who asked is logged */
	const struct json_member *members; /* of args; anything else is refused */
	size_t n_members;
	void (*run)(struct daemon *d, struct request *r); /* answers r, now or later */
};

const struct op *ops_table(size_t *ret_n);
/* Finds the operation, checks args, runs it. data is the daemon. */
void ops_ask(void *data, struct request *r);

/* ops_agent.c */
void op_agent_create(struct daemon *d, struct request *r);
void op_agent_list(struct daemon *d, struct request *r);
void op_agent_get(struct daemon *d, struct request *r);
void op_agent_update(struct daemon *d, struct request *r);
void op_agent_start(struct daemon *d, struct request *r);
void op_agent_stop(struct daemon *d, struct request *r);
void op_agent_restart(struct daemon *d, struct request *r);
void op_agent_remove(struct daemon *d, struct request *r);
void op_agent_connect(struct daemon *d, struct request *r);
void op_agent_ask(struct daemon *d, struct request *r, enum agent_input what);
/* ops_snapshot.c */
void op_agent_suspend(struct daemon *d, struct request *r);
void op_agent_resume(struct daemon *d, struct request *r);
void op_agent_touch(struct daemon *d, struct request *r);
void op_agent_snapshot(struct daemon *d, struct request *r);
void op_agent_restore(struct daemon *d, struct request *r);
void op_agent_fork(struct daemon *d, struct request *r);
void op_snapshot_list(struct daemon *d, struct request *r);
void op_snapshot_get(struct daemon *d, struct request *r);
void op_snapshot_remove(struct daemon *d, struct request *r);
/* ops_policy.c */
void op_policy_get(struct daemon *d, struct request *r);
void op_policy_set(struct daemon *d, struct request *r);
void op_policy_change(struct daemon *d, struct request *r);
void op_policy_log(struct daemon *d, struct request *r);
void op_policy_why(struct daemon *d, struct request *r);
void op_policy_suggest(struct daemon *d, struct request *r);
void op_policy_presets(struct daemon *d, struct request *r);
void op_policy_preset(struct daemon *d, struct request *r);
/* ops_action.c */
void op_actions_add(struct daemon *d, struct request *r);
void op_actions_list(struct daemon *d, struct request *r);
void op_actions_picture(struct daemon *d, struct request *r);
/* ops_token.c */
void op_token_check(struct daemon *d, struct request *r);
void op_token_create(struct daemon *d, struct request *r);
void op_token_list(struct daemon *d, struct request *r);
void op_token_revoke(struct daemon *d, struct request *r);
/* ops_image.c */
void op_image_list(struct daemon *d, struct request *r);
void op_image_remove(struct daemon *d, struct request *r);
void op_image_template(struct daemon *d, struct request *r);
/* ops_events.c */
void op_events_list(struct daemon *d, struct request *r);
void op_events_subscribe(struct daemon *d, struct request *r);
void op_events_unsubscribe(struct daemon *d, struct request *r);
/* ops_daemon.c */
void op_leftovers(struct daemon *d, struct request *r);
void op_status(struct daemon *d, struct request *r);
void op_shutdown(struct daemon *d, struct request *r);

/* For the ops: the agent that args name, or NULL and r has been answered. */
struct agent *op_agent(struct daemon *d, struct request *r);

#endif
