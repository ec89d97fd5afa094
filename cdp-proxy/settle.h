/* Is a page quiet? Asked over CDP by whoever holds the connection to it. */
#ifndef BERTH_SETTLE_H
#define BERTH_SETTLE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <uv.h>

#include "err.h"

#define SETTLE_MAX_MS 30000     /* the longest wait that may be asked for */
#define SETTLE_QUIET_MS 200     /* without network */
#define SETTLE_REQUESTS_MAX 256 /* followed one by one; more of them only count as they come */

struct settle;

struct settle_owner {
	/* A command for the page; its answer goes to settle_answer. One at a time. params is the
	 * callee's (may be NULL). */
	void (*call)(void *data, const char *method, cJSON *params);
	/* Once: it was quiet, or the time was up. settle_free may be called in it. */
	void (*done)(void *data, bool idle);
};

/* frame: the page's main frame, which has its target's id. Calls nobody back. */
struct settle *settle_new(uv_loop_t *loop, const char *frame, unsigned int max_ms,
	const struct settle_owner *owner, void *data);
/* Waits max_ms at most, from now. Leaves Network enabled. Calls back from inside, as do
 * settle_answer and settle_event. */
void settle_start(struct settle *s);
void settle_free(struct settle *s);
/* An answer's result (NULL with err: refused), and every event of the page, as text. */
void settle_answer(struct settle *s, const char *result, size_t n, const struct err *err);
void settle_event(struct settle *s, const char *method, const char *params, size_t n);

#endif
