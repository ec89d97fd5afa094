/* A page as text: its accessibility tree, a line for each thing on it. Pure. */
#ifndef BERTH_SNAPSHOT_H
#define BERTH_SNAPSHOT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "inview.h"

#define SNAPSHOT_MAX 50000     /* bytes of one snapshot */
#define SNAPSHOT_DEPTH_MAX 100 /* things inside of things */
#define SNAPSHOT_NAME_MAX 1000 /* bytes of one name or text */
#define SNAPSHOT_FRAMES_MAX 20 /* of one page, the main one included */

/* A frame inside of the one that is printed, printed already. */
struct snapshot_frame {
	uint64_t owner; /* backendNodeId of its element; 0: not known */
	const char *text;
};

/* The number that stands for a node (its backendDOMNodeId). */
typedef unsigned int snapshot_ref_fn(void *data, uint64_t node);

/* What of a page is wanted, and how; zeroes: all of it, refs as "[ref=e7]". */
struct snapshot_wish {
	bool browser;              /* refs as "[ref_7]" */
	bool interactive;          /* only what a person uses: no text, nothing around it */
	int depth;                 /* levels; 0: SNAPSHOT_DEPTH_MAX */
	uint64_t root;             /* the node that alone is wanted, with what is in it; 0: all */
	const struct inview *view; /* only what is in view; NULL: wherever it is */
};

/* The role under the name that people know (32 bytes), "" when the thing itself is not printed. */
void snapshot_role(const cJSON *node, char out[32]);
/* `role "name"` and its attributes, without a ref. */
void snapshot_head(const cJSON *node, const char *role, struct buf *out);
/* White space in a row is one space, as it is on the page. Cut at SNAPSHOT_NAME_MAX. */
void snapshot_clean(struct buf *out, const char *text);
uint64_t snapshot_node(const cJSON *node);

/*
 * Writes Accessibility.getFullAXTree's `nodes`, anything a browser may send, as lines
 * `- role "name" [attribute] [ref=eN]: text`, two spaces for each thing around it. out->full tells
 * that it was cut.
 */
void snapshot_print(const cJSON *nodes, const struct snapshot_frame *frames, size_t n_frames,
	const struct snapshot_wish *wish, snapshot_ref_fn *fn, void *data, struct buf *out);

#endif
