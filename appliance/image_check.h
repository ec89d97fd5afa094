/* Is an image whole? Asked without waiting: reading hundreds of MB is another thread's work. */
#ifndef BERTH_IMAGE_CHECK_H
#define BERTH_IMAGE_CHECK_H

#include <uv.h>

#include "err.h"

struct image_checks; /* all of them; owned by the daemon */
struct image_wait;   /* somebody who waits; owned by its check */

struct image_checks *image_checks_new(uv_loop_t *loop, const char *state);
/*
 * 1: it is whole, as a kept verdict says. 0: it is being read; done is called from the loop with
 * NULL or the error, unless image_wait_cancel comes first. Those who ask for the same image
 * meanwhile share one reading. Negative: err as of image_verify.
 */
typedef void image_done_fn(void *data, const struct err *err);
int image_check(struct image_checks *all, const char *id, image_done_fn *done, void *data,
	struct image_wait **ret, struct err *err);
/* NULL is fine. The reading goes on, and its verdict is kept. */
void image_wait_cancel(struct image_wait *wait);
/* Runs the loop until no reading goes on (seconds): nobody may wait any more, everything else on
 * the loop is closed. */
void image_checks_free(struct image_checks *all);

#endif
