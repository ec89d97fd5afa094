/* Which nodes of a page are in view. Pure. */
#ifndef BERTH_INVIEW_H
#define BERTH_INVIEW_H

#include <cjson/cJSON.h>
#include <stdint.h>

enum inview_state {
	INVIEW_UNKNOWN, /* it has no box of its own */
	INVIEW_OUT,
	INVIEW_IN,
};

struct inview; /* opaque; NULL is one that knows nothing */

/*
 * Reads DOMSnapshot.captureSnapshot's answer, anything a browser may send. width and height: the
 * view in CSS pixels; device_scale: device pixels in one of them, which boxes may be told in.
 * Frames count as far as their element is in view. NULL when it says nothing.
 */
struct inview *inview_new(const cJSON *snapshot, double width, double height, double device_scale);
void inview_free(struct inview *v);
enum inview_state inview_of(const struct inview *v, uint64_t node);

#endif
