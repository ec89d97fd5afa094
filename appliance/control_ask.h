/* Asking berthd from outside its loop, over its control channel: for the supervisor and the CLI. */
#ifndef BERTH_CONTROL_ASK_H
#define BERTH_CONTROL_ASK_H

#include <cjson/cJSON.h>

#include "err.h"

/*
 * Asks for an op without arguments, as `local`, and waits at most timeout_ms for each message. The
 * answer's `ok`, the caller's; NULL and err when there is no berthd, when it does not answer, or
 * with the error that it answers. progress may be NULL; its detail may be.
 */
cJSON *control_ask(const char *state, const char *op, int timeout_ms,
	void (*progress)(void *data, const char *step, const char *detail), void *data,
	struct err *err);

#endif
