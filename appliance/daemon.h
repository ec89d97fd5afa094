/* berthd: what all of its operations share. */
#ifndef BERTH_DAEMON_H
#define BERTH_DAEMON_H

#include <uv.h>

#include "agent.h"
#include "config.h"
#include "control.h"
#include "events.h"
#include "store.h"

/* The one of a process; owned by daemon_run. */
struct daemon {
	uv_loop_t *loop;
	const char *state; /* absolute */
	struct config config;
	cJSON *upstream; /* upstream.h */
	struct store *store;
	struct events *events;
	struct image_checks *images;
	struct agents *agents;
	struct control *control;
	int lock; /* STATE/run/berthd.lock, held while it lives */
	int64_t started_at;
	struct request *shutdown; /* who asked for the end, NULL until then */
	bool ending;
	uint64_t end_deadline;
	uv_timer_t end_timer;
	const char *policy_program; /* for tests; NULL: the installed one */
};

/*
 * Runs until somebody asks for `shutdown` and every agent has stopped: 0. An error means that it
 * could not start, and nothing has been changed.
 */
int daemon_run(const char *state, const char *policy_program, struct err *err);
/* Ends the loop as soon as what was said is out. */
void daemon_end(struct daemon *d);

#endif
