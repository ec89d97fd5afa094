/* A picture as bytes in memory, and what is painted on it. Pure; for any thread. */
#ifndef BERTH_RASTER_H
#define BERTH_RASTER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Rows from the top, without gaps: red, green, blue, and with four channels alpha (not
 * premultiplied), 8 bits each, in sRGB's encoding.
 */
struct raster {
	unsigned int width, height, channels; /* 3 or 4 */
	uint8_t *pixels;                      /* owned */
};

/* A rectangle in a picture's pixels; it may reach beyond the picture. */
struct raster_rect {
	double x0, y0, x1, y1;
};

/* Bytes of a row, and of all. */
static inline size_t raster_stride(const struct raster *r)
{
	return (size_t)r->width * r->channels;
}
static inline size_t raster_size(const struct raster *r)
{
	return raster_stride(r) * r->height;
}

void raster_init(struct raster *r, unsigned int width, unsigned int height, unsigned int channels);
void raster_done(struct raster *r);
/* Three channels from four when nothing is transparent, else as it was. */
void raster_drop_alpha(struct raster *r);
/* Paints every pixel that the rectangle touches, also in part, with one grey. */
void raster_mask(struct raster *r, const struct raster_rect *rect);
/* An arrow whose tip, the hot spot, is the pixel (x, y). What lies outside is not drawn. */
void raster_cursor(struct raster *r, long long x, long long y);

#endif
