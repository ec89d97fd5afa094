/* A page as text: its accessibility tree, a line for each thing on it. Pure. */
#ifndef BERTH_SNAPSHOT_H
#define BERTH_SNAPSHOT_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "bytes.h"

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

/*
 * Writes Accessibility.getFullAXTree's `nodes`, anything a browser may send, as lines
 * `- role "name" [attribute] [ref=eN]: text`, two spaces for each thing around it. out->full tells
 * that it was cut.
 */
void snapshot_print(const cJSON *nodes, const struct snapshot_frame *frames, size_t n_frames,
	snapshot_ref_fn *fn, void *data, struct buf *out);

#endif
