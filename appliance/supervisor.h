/* The supervisor: the process behind `berth up`, parent of berthd and berth-gateway. */
#ifndef BERTH_SUPERVISOR_H
#define BERTH_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

struct supervisor_options {
	const char *state;  /* absolute; house_enter has been called on it */
	const char *listen; /* "ADDR:PORT" for the gateway */
	bool foreground;
	/* One line of progress for the person who waits ("starting berthd"); may be NULL. */
	void (*progress)(void *data, const char *step);
	/* Foreground only: everything answers. May be NULL. */
	void (*up)(void *data);
	void *data;
};

/*
 * Starts both programs and waits until berthd answers `status` and the gateway's API socket answers
 * /healthz. Daemonised (not foreground): returns 0 in the caller once all is up, while a child in
 * its own session goes on; or the error of whatever could not start (the last lines of its log in
 * it), with nothing left running. Foreground: returns when the appliance has ended, 0 if it was
 * asked to. -EALREADY: an appliance runs on this state folder.
 */
int supervisor_run(const struct supervisor_options *o, struct err *err);

/* The pid of the supervisor that runs on STATE, or 0. */
pid_t supervisor_pid(const char *state);
/*
 * Waits until the supervisor on STATE has ended (for `berth down`, after the control channel's
 * `shutdown` was answered). 0, or -ETIMEDOUT.
 */
int supervisor_wait_gone(const char *state, int timeout_ms, struct err *err);

#endif
