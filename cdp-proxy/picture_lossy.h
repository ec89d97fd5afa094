/* JPEG and WebP, written. For any thread. */
#ifndef BERTH_PICTURE_LOSSY_H
#define BERTH_PICTURE_LOSSY_H

#include "bytes.h"
#include "err.h"
#include "raster.h"

#define JPEG_EDGE_MAX 65535u
#define WEBP_EDGE_MAX 16383u
#define PICTURE_WEBP_METHOD 2 /* of 0, quick, to 6, small; docs/pictures.md has what they cost */

/* quality 0 to 100. Adds the file to out. 0; -EFBIG when a side or the file is too large. */
int picture_lossy_jpeg(const struct raster *r, int quality, struct buf *out, struct err *err);
int picture_lossy_webp(
	const struct raster *r, int quality, int method, struct buf *out, struct err *err);

#endif
