/* The hands and eyes of computer use: one executor per agent in use, runs one after another. */
#ifndef BERTH_EXECUTOR_H
#define BERTH_EXECUTOR_H

#include "action.h"
#include "action_log.h"
#include "gateway.h"

#define EXECUTORS_MAX 128                /* agents in use at once */
#define EXECUTOR_RUNS_MAX 16             /* of one agent, waiting */
#define EXECUTOR_IDLE_MS 300000          /* how long one is kept after its last run */
#define EXECUTOR_IMAGES_MAX (128u << 20) /* bytes of pictures, in base64, of one run */
#define EXECUTOR_RUN_MS 900000           /* a run ends with a failure after that */

struct run;

/* Everything is the callee's only during the call. failure: what kept the last picture from being
 * taken, NULL when nothing did. */
typedef void run_done_fn(
	void *data, const struct action_result *results, const struct err *failure);

/*
 * Executes actions in order, up to the first that fails; those marked `always` come in any case.
 * actions must outlive the run. NULL with err when too many are waiting. Never calls back from
 * inside. Each action that is over goes to the action log, as from `from` (copied).
 */
struct run *run_new(struct gateway *gw, const char *agent, const struct action_source *from,
	const struct action *actions, size_t n, run_done_fn *fn, void *data, struct err *err);
/* No call-back after this; what is held is let go. Not after the call-back. */
void run_cancel(struct run *r);

/* Ends all of them: before the loop's end. */
void executors_close(void);

#endif
