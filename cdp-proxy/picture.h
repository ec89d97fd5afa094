/* A browser's picture made into the one that was asked for, off the loop. */
#ifndef BERTH_PICTURE_H
#define BERTH_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "picture_size.h"
#include "raster.h"

#define PICTURE_BYTES_MAX (64u << 20)  /* of a picture's file, read or written */
#define PICTURE_PIXELS_MAX (32u << 20) /* of one that is painted on or encoded here */
#define PICTURE_JOBS_MAX 64            /* at once in this gateway, those that wait included */
#define PICTURE_JOBS_RUNNING 2         /* of them, each on a thread of libuv's pool */
#define PICTURE_MASKS_MAX 64
#define PICTURE_QUALITY 80 /* where none is asked for: what Chromium takes too */

/* Start from {.quality = -1}. Places are in pixels of the picture that the browser sent. */
struct picture_want {
	enum picture_format format;
	int quality;           /* 0 to 100 of JPEG and WebP, -1: PICTURE_QUALITY */
	unsigned int max_edge; /* 0: any; a longer side is scaled down to it, none is scaled up */
	unsigned int width, height; /* 0: as max_edge says; else exactly so, also larger */
	bool has_cursor;
	double cursor_x, cursor_y; /* the tip of the arrow, which is not scaled itself */
	size_t n_masks;
	struct raster_rect masks[PICTURE_MASKS_MAX];
};

/* What came of it. */
struct picture {
	const uint8_t *data;
	size_t n;
	enum picture_format format;
	unsigned int width, height;           /* of the picture */
	unsigned int from_width, from_height; /* of the one that the browser sent */
};

struct picture_job;

/*
 * Once, from the loop. picture is valid during the call; NULL with err: -EPROTO (the guest's doing:
 * no picture; 502 browser-unavailable), -EFBIG (over a maximum; 413 too-large), -EMSGSIZE (must be
 * changed, but is no PNG: capture it as PNG and come again).
 */
typedef void picture_done_fn(void *data, const struct picture *picture, const struct err *err);

/*
 * base64: `data` of Page.captureScreenshot's answer, n characters, copied. Where nothing is scaled,
 * painted or of another format the bytes are the browser's own. NULL with err (429) when too many
 * are under way.
 */
struct picture_job *picture_job_new(uv_loop_t *loop, const char *base64, size_t n,
	const struct picture_want *want, picture_done_fn *fn, void *data, struct err *err);
/* No call-back after this; not after the call-back. NULL is fine. */
void picture_job_cancel(struct picture_job *job);

/* Would a picture of this size come out as it is? (Its format aside.) */
bool picture_unchanged(const struct picture_want *want, unsigned int width, unsigned int height);

/*
 * The job's work, for its tests and the fuzzer: a file of the browser's to `out`, whose max bounds
 * it. Any thread. stop: looked at between rows, may be NULL. picture->data is not set.
 */
struct buf;
int picture_make(const uint8_t *data, size_t n, const struct picture_want *want, const int *stop,
	struct buf *out, struct picture *ret, struct err *err);

#endif
