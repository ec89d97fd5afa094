/* A helper process of ours: started, its lines of JSON read, its end told. */
#ifndef BERTH_JOB_H
#define BERTH_JOB_H

#include <cjson/cJSON.h>
#include <uv.h>

#include "err.h"

struct job;

struct job_callbacks {
	/* A line that it printed; may be NULL. */
	void (*line)(void *data, const cJSON *line);
	/*
	 * The end: last is the last line and err NULL, or err says why it failed (its own
	 * {"code","error"}). The job is freed by then; neither callback comes from within
	 * job_start.
	 */
	void (*done)(void *data, const cJSON *last, const struct err *err);
	void *data;
};

/* Starts argv[0], an absolute path. Its stderr is ours. */
int job_start(struct job **ret, uv_loop_t *loop, const char *const *argv,
	const struct job_callbacks *cb, struct err *err);
/* Kills it; no callback comes after this. NULL is fine. */
void job_cancel(struct job *j);

#endif
