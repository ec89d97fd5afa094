/* What making a picture costs: reading, scaling and writing it, each writer at many settings.
 * Processor time of this program alone, the best of some turns, the settings in turn. usage:
 * picture-bench FILE.png MAX_EDGE TURNS Prints a JSON object a line: {"what", "ms", "bytes"}. */
#include <fcntl.h>
#include <png.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "area.h"
#include "bytes.h"
#include "picture_lossy.h"
#include "picture_png.h"
#include "util.h"

#define FILE_MAX (64u << 20)

struct setting {
	char name[64];
	enum { READ, SCALE, PNG, JPEG, WEBP } kind;
	struct picture_png_effort effort;
	int arg; /* WebP's method */
	double best_ms;
	size_t bytes;
};

struct bench {
	char *file;
	size_t n;
	struct raster from, to; /* as read, and scaled */
	size_t y;
};

static int on_size(
	void *data, unsigned int width, unsigned int height, unsigned int channels, struct err *err)
{
	struct bench *b = data;

	raster_done(&b->from);
	raster_init(&b->from, width, height, channels);
	b->y = 0;
	return 0;
}

static int on_row(void *data, const uint8_t *row, struct err *err)
{
	struct bench *b = data;

	memcpy(b->from.pixels + b->y++ * raster_stride(&b->from), row, raster_stride(&b->from));
	return 0;
}

static const struct picture_png_reader reader = {.on_size = on_size, .on_row = on_row};

static void scale(struct bench *b)
{
	struct area *a = area_new(b->from.width, b->from.height, &b->to);

	for (unsigned int y = 0; y < b->from.height; y++)
		area_row(a, b->from.pixels + y * raster_stride(&b->from));
	area_free(a);
}

static size_t run(struct bench *b, const struct setting *s)
{
	struct err err = {0};
	struct buf out;
	size_t n;
	int r = 0;

	buf_init(&out, FILE_MAX);
	if (s->kind == READ)
		r = picture_png_read((uint8_t *)b->file, b->n, &reader, b, &err);
	else if (s->kind == SCALE)
		scale(b);
	else if (s->kind == PNG)
		r = picture_png_write(&b->to, &s->effort, &out, &err);
	else if (s->kind == JPEG)
		r = picture_lossy_jpeg(&b->to, 80, &out, &err);
	else
		r = picture_lossy_webp(&b->to, 80, s->arg, &out, &err);
	if (r < 0)
		die("%s: %s", s->name, err.msg);
	n = out.len;
	buf_done(&out);
	return n;
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void turn(struct bench *b, struct setting *s)
{
	double begin = cpu_ms(), ms;

	s->bytes = run(b, s);
	ms = cpu_ms() - begin;
	if (s->best_ms == 0 || ms < s->best_ms)
		s->best_ms = ms;
}

static struct setting *next(struct setting *all, size_t *n, int kind, const char *fmt, ...)
{
	struct setting *s = &all[(*n)++];
	va_list ap;

	*s = (struct setting){.kind = kind};
	va_start(ap, fmt);
	vsnprintf(s->name, sizeof(s->name), fmt, ap);
	va_end(ap);
	return s;
}

static size_t settings(struct setting *all)
{
	static const struct {
		const char *name;
		int bits;
	} filters[] = {{"none", PNG_FILTER_NONE}, {"sub", PNG_FILTER_SUB}, {"up", PNG_FILTER_UP},
		{"paeth", PNG_FILTER_PAETH}, {"all", PNG_ALL_FILTERS}};
	static const int levels[] = {1, 2, 3, 6, 9};
	size_t n = 0;

	next(all, &n, READ, "read");
	next(all, &n, SCALE, "scale");
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(filters); j++)
			next(all, &n, PNG, "png %d %s", levels[i], filters[j].name)->effort =
				(struct picture_png_effort){levels[i], filters[j].bits, -1};
	}
	for (int level = 2; level <= 6; level++)
		next(all, &n, PNG, "png %d sub, not as filtered", level)->effort =
			(struct picture_png_effort){level, PNG_FILTER_SUB, Z_DEFAULT_STRATEGY};
	next(all, &n, PNG, "png rle sub")->effort =
		(struct picture_png_effort){1, PNG_FILTER_SUB, Z_RLE};
	next(all, &n, PNG, "png rle up")->effort =
		(struct picture_png_effort){1, PNG_FILTER_UP, Z_RLE};
	next(all, &n, PNG, "png default")->effort = picture_png_default;
	next(all, &n, JPEG, "jpeg");
	for (int m = 0; m <= 6; m++)
		next(all, &n, WEBP, "webp %d", m)->arg = m;
	return n;
}

int main(int argc, char **argv)
{
	static struct setting all[64];
	struct bench b = {0};
	struct err err;
	unsigned int edge, max;
	size_t n = settings(all);

	if (argc != 4)
		die("usage: picture-bench FILE.png MAX_EDGE TURNS");
	if (file_read(AT_FDCWD, argv[1], FILE_MAX, &b.file, &b.n, &err) < 0)
		die("%s", err.msg);
	if (picture_png_read((uint8_t *)b.file, b.n, &reader, &b, &err) < 0)
		die("%s", err.msg);
	edge = MAX(b.from.width, b.from.height);
	max = MIN((unsigned int)atoi(argv[2]), edge);
	raster_init(&b.to, b.from.width * max / edge, b.from.height * max / edge, b.from.channels);
	scale(&b);
	for (int i = 0; i < atoi(argv[3]); i++) {
		for (size_t j = 0; j < n; j++)
			turn(&b, &all[j]);
	}
	for (size_t j = 0; j < n; j++)
		printf("{\"what\":\"%s\",\"ms\":%.3f,\"bytes\":%zu}\n", all[j].name, all[j].best_ms,
			all[j].bytes);
	raster_done(&b.from);
	raster_done(&b.to);
	free(b.file);
	return 0;
}
