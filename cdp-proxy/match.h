/* Elements of a page by the words that somebody uses for them. Pure. */
#ifndef BERTH_MATCH_H
#define BERTH_MATCH_H

#include <cjson/cJSON.h>

#include "snapshot.h"

#define MATCH_MAX 20 /* elements that are found */

struct match {
	int words; /* of the query that say something of it besides its role */
	int score;
	char *line; /* owned */
};

/* Zeroed, then match_add for each frame, then match_print, then match_done. */
struct matches {
	struct match list[MATCH_MAX]; /* the best first */
	size_t n;
};

/* Looks through Accessibility.getFullAXTree's `nodes`, anything a browser may send. */
void match_add(
	struct matches *m, const cJSON *nodes, const char *query, snapshot_ref_fn *fn, void *data);
/* A line for each, as in a snapshot. */
void match_print(const struct matches *m, struct buf *out);
void match_done(struct matches *m);

#endif
