/* PNG, read from strangers and written. For any thread. */
#ifndef BERTH_PICTURE_PNG_H
#define BERTH_PICTURE_PNG_H

#include "bytes.h"
#include "err.h"
#include "raster.h"

#define PICTURE_PNG_EDGE_MAX 32768u         /* of a picture that is read */
#define PICTURE_PNG_PIXELS_MAX (128u << 20) /* a row at a time: it costs time, not memory */

/* Each may end the reading with a negative errno, err set. */
struct picture_png_reader {
	int (*on_size)(void *data, unsigned int width, unsigned int height, unsigned int channels,
		struct err *err);
	int (*on_row)(void *data, const uint8_t *row, struct err *err); /* height times */
};

/*
 * What Chromium writes, and no more: 8 bits, RGB or RGBA, not interlaced, checksums right. 0;
 * -EPROTO for what is no such picture, -EFBIG for one over the maxima, or what a call-back
 * returned.
 */
int picture_png_read(const uint8_t *data, size_t n, const struct picture_png_reader *reader,
	void *arg, struct err *err);

/* How hard the writer tries; docs/pictures.md has what each costs. */
struct picture_png_effort {
	int level;    /* of zlib, 0 to 9 */
	int filters;  /* libpng's PNG_FILTER_ bits */
	int strategy; /* zlib's; -1: libpng's own choice */
};
extern const struct picture_png_effort picture_png_default;

/* Adds the file to out. 0, or -EFBIG when out is full. */
int picture_png_write(const struct raster *r, const struct picture_png_effort *effort,
	struct buf *out, struct err *err);

#endif
