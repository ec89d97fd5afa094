/* What is painted on a picture: covers, and the mouse's arrow. */
#include "raster.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "util.h"

#define COVER 0x70 /* the grey of a covered place */

void raster_init(struct raster *r, unsigned int width, unsigned int height, unsigned int channels)
{
	*r = (struct raster){.width = width, .height = height, .channels = channels};
	r->pixels = xcalloc(1, raster_size(r));
}

void raster_done(struct raster *r)
{
	free(r->pixels);
	*r = (struct raster){0};
}

static bool is_opaque(const struct raster *r)
{
	for (size_t i = 3; i < raster_size(r); i += 4) {
		if (r->pixels[i] != 255)
			return false;
	}
	return true;
}

void raster_drop_alpha(struct raster *r)
{
	size_t n = (size_t)r->width * r->height;

	if (r->channels != 4 || !is_opaque(r))
		return;
	for (size_t i = 0; i < n; i++) {
		r->pixels[i * 3] = r->pixels[i * 4];
		r->pixels[i * 3 + 1] = r->pixels[i * 4 + 1];
		r->pixels[i * 3 + 2] = r->pixels[i * 4 + 2];
	}
	r->channels = 3;
}

static void put(struct raster *r, long long x, long long y, uint8_t grey)
{
	uint8_t *p;

	if (x < 0 || y < 0 || x >= r->width || y >= r->height)
		return;
	p = r->pixels + (size_t)y * raster_stride(r) + (size_t)x * r->channels;
	memset(p, grey, 3);
	if (r->channels == 4)
		p[3] = 255;
}

/* A border within the picture. */
static long long within(double v, unsigned int max)
{
	return v > 0 ? (long long)MIN(v, max) : 0;
}

void raster_mask(struct raster *r, const struct raster_rect *rect)
{
	long long x0 = within(floor(rect->x0), r->width), x1 = within(ceil(rect->x1), r->width);
	long long y0 = within(floor(rect->y0), r->height), y1 = within(ceil(rect->y1), r->height);

	for (long long y = y0; y < y1; y++) {
		for (long long x = x0; x < x1; x++)
			put(r, x, y, COVER);
	}
}

/* # black, o white, anything else the page. Its first character is the tip. */
static const char *const arrow[] = {
	"#",
	"##",
	"#o#",
	"#oo#",
	"#ooo#",
	"#oooo#",
	"#ooooo#",
	"#oooooo#",
	"#ooooooo#",
	"#oooooooo#",
	"#ooooooooo#",
	"#oooooo#####",
	"#ooo#oo#",
	"#oo# #oo#",
	"#o#  #oo#",
	"##    #oo#",
	"#     #oo#",
	"       ##",
};

void raster_cursor(struct raster *r, long long x, long long y)
{
	for (size_t row = 0; row < ARRAY_SIZE(arrow); row++) {
		for (size_t i = 0; arrow[row][i]; i++) {
			if (arrow[row][i] == ' ')
				continue;
			put(r, x + (long long)i, y + (long long)row,
				arrow[row][i] == 'o' ? 255 : 0);
		}
	}
}
