/* How much of the network the agent uses, and what it may not use any more. */
#ifndef BERTH_POLICY_METER_H
#define BERTH_POLICY_METER_H

#include "limit.h"
#include "pace.h"

#define METER_BURST_S 10u /* of a rate's worth may come at once: a page that loads */
#define METER_REPORT_MS 2000
#define METER_PIECE 65536u /* read at once where a number of bytes is all there is */

/* None may end connections from within meter_ functions but over. */
struct meter_callbacks {
	/* Bytes so far, from time to time while they move. */
	void (*usage)(void *data, uint64_t up, uint64_t down);
	/* The budget is used up: nothing gets through from now on. By the loop. */
	void (*over)(void *data);
	void *data;
};

/* Lives as long as the process. */
struct meter {
	struct limits limits;
	struct pace up, down;
	struct bucket connections, questions, wild;
	uint64_t budget; /* bytes both ways, of this process's life */
	char reason[64]; /* why nothing gets through when it is used up */
	bool over;
	uv_timer_t report, cut;
	struct meter_callbacks cb;
};

void meter_init(struct meter *m, uv_loop_t *loop, const struct meter_callbacks *cb);
void meter_set(struct meter *m, const struct limits *l);
/* bytes: of this process's life, both ways, UINT64_MAX: no budget; name: of the limit it comes
 * from. */
void meter_budget(struct meter *m, uint64_t bytes, const char *name);
/* One more connection, one more question; NULL, or why not. */
const char *meter_connection(struct meter *m, size_t open);
const char *meter_question(struct meter *m);
/* A name below a wildcard is about to be asked upstream, where each such name carries something
 * out. */
const char *meter_wild_name(struct meter *m);

#endif
