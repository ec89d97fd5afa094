/* What happened: numbered, kept, and told to those who watch. */
#ifndef BERTH_EVENTS_H
#define BERTH_EVENTS_H

#include <uv.h>

#include "store.h"

struct events;

/* One thing that happened. NULL members are empty. */
struct event_note {
	const char *type, *agent, *agent_id, *by, *detail;
	cJSON *data; /* taken; an object */
	bool bulk;   /* may wait a moment and be written together with others */
};

/* Somebody who wants to know that there is something new. Embedded in its owner; linked by
 * events_watch. */
struct events_watch {
	struct events_watch *next, **link; /* link NULL: not linked */
	void (*wake)(void *data);          /* may unlink itself, not others */
	void *data;
};

/* Goes on with the number after the last one in the store. */
int events_new(struct events **ret, uv_loop_t *loop, struct store *store, struct err *err);
/* Writes what waits. Must be freed before the loop is closed; the loop runs its close callback. */
void events_free(struct events *e);
/* Never fails for the caller: an event that cannot be written is logged and lost. */
__attribute__((nonnull)) void events_emit(struct events *e, const struct event_note *note);
/* Writes what waits now. */
void events_flush(struct events *e);
/* The number of the last event that is in the store. */
int64_t events_last(const struct events *e);
void events_watch(struct events *e, struct events_watch *w);
void events_unwatch(struct events_watch *w);
/* An event as the API shows it. */
cJSON *event_json(const struct event_record *r);

#endif
