/* The control channel to berthd: hello, policy.set, stats; events the other way. */
#ifndef BERTH_POLICY_CONTROL_H
#define BERTH_POLICY_CONTROL_H

#include <cjson/cJSON.h>
#include <uv.h>

#include "err.h"

struct control;
struct control_request; /* one that waits for its answer; whoever got it answers it exactly once */

/* What the ops do. Each answers its request, at once or later. */
struct control_ops {
	/* policy: checked for shape only, valid during the call. */
	void (*policy_set)(void *data, const cJSON *policy, struct control_request *r);
	void (*upstream_set)(void *data, const cJSON *args, struct control_request *r);
	/* bytes of this process's life, UINT64_MAX: no budget. */
	void (*budget_set)(
		void *data, uint64_t bytes, const char *limit, struct control_request *r);
	void (*stats)(void *data, struct control_request *r);
	void *data;
};

/* Serves the listening socket (taken). */
struct control *control_new(uv_loop_t *loop, int listener, const struct control_ops *ops);
/* Takes ok and the request. */
void control_answer(struct control_request *r, cJSON *ok);
void control_refuse(struct control_request *r, const struct err *err);
/* Sends an event to whoever is connected; nobody is fine. */
void control_event(struct control *c, const cJSON *event);

#endif
