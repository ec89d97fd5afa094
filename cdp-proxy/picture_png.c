/* PNG (ISO/IEC 15948) by libpng, whose one owner this is. */
#include "picture_png.h"

#include <errno.h>
#include <png.h>
#include <string.h>

#include "util.h"

#define CHUNK_MAX (64u << 10) /* of one that is not picture data */
#define IDAT_SIZE 65536

/*
 * Theory of operation. libpng reports errors by longjmp. Both directions have one function that
 * calls setjmp, keeps everything that must survive it in a struct of its caller, and has nothing
 * to release. A call-back never jumps: it returns a code, and the function that called it does.
 */
struct reading {
	const struct picture_png_reader *reader;
	void *arg;
	struct reader in;
	struct err *err;
	int code; /* of what went wrong; err is set then */
	png_structp png;
	png_infop info;
	uint8_t *row;
};

struct writing {
	const struct raster *raster;
	const struct picture_png_effort *effort;
	struct buf *out;
	struct err *err;
	int code;
	png_structp png;
	png_infop info;
};

static void quiet(png_structp png, png_const_charp text)
{
	(void)png;
	(void)text;
}

/* ---- reading ---- */

static void read_failed(png_structp png, png_const_charp text)
{
	struct reading *r = png_get_error_ptr(png);

	if (!r->code)
		r->code = err_set(r->err, -EPROTO, "the picture is no PNG of a browser: %s", text);
	png_longjmp(png, 1);
}

static void feed(png_structp png, png_bytep out, size_t n)
{
	struct reading *r = png_get_io_ptr(png);
	const uint8_t *p = read_bytes(&r->in, n);

	if (!p)
		png_error(png, "it ends too early");
	memcpy(out, p, n);
}

static void check_form(struct reading *r)
{
	int type = png_get_color_type(r->png, r->info);
	uint64_t pixels = (uint64_t)png_get_image_width(r->png, r->info) *
			  png_get_image_height(r->png, r->info);

	if (png_get_bit_depth(r->png, r->info) != 8 ||
		(type != PNG_COLOR_TYPE_RGB && type != PNG_COLOR_TYPE_RGBA) ||
		png_get_interlace_type(r->png, r->info) != PNG_INTERLACE_NONE)
		png_error(r->png, "not 8 bits of RGB or RGBA in one pass");
	if (pixels > PICTURE_PNG_PIXELS_MAX) {
		r->code = err_set(r->err, -EFBIG, "the picture has more than %u pixels",
			PICTURE_PNG_PIXELS_MAX);
		png_error(r->png, "too large");
	}
}

static void fail_with(struct reading *r, int code)
{
	r->code = code;
	if (code < 0)
		png_error(r->png, "stopped");
}

static void read_rows(struct reading *r)
{
	unsigned int width, height, channels;

	png_read_info(r->png, r->info);
	check_form(r);
	width = png_get_image_width(r->png, r->info);
	height = png_get_image_height(r->png, r->info);
	channels = png_get_channels(r->png, r->info);
	fail_with(r, r->reader->on_size(r->arg, width, height, channels, r->err));
	r->row = xmalloc(png_get_rowbytes(r->png, r->info));
	for (unsigned int y = 0; y < height; y++) {
		png_read_row(r->png, r->row, NULL);
		fail_with(r, r->reader->on_row(r->arg, r->row, r->err));
	}
	png_read_end(r->png, NULL);
}

static void guarded_read(struct reading *r)
{
	if (setjmp(png_jmpbuf(r->png)))
		return;
	png_set_user_limits(r->png, PICTURE_PNG_EDGE_MAX, PICTURE_PNG_EDGE_MAX);
	png_set_chunk_malloc_max(r->png, CHUNK_MAX);
	png_set_chunk_cache_max(r->png, 4);
	/* Nothing but the pixels is looked at: no profiles, texts, times. */
	png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
	png_set_read_fn(r->png, r, feed);
	read_rows(r);
}

int picture_png_read(const uint8_t *data, size_t n, const struct picture_png_reader *reader,
	void *arg, struct err *err)
{
	struct reading r = {.reader = reader, .arg = arg, .in = reader_of(data, n), .err = err};

	r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, read_failed, quiet);
	r.info = r.png ? png_create_info_struct(r.png) : NULL;
	if (r.info)
		guarded_read(&r);
	else
		r.code = err_set(err, -ENOMEM, "libpng cannot start");
	png_destroy_read_struct(&r.png, &r.info, NULL);
	free(r.row);
	return r.code;
}

/* ---- writing ---- */

const struct picture_png_effort picture_png_default = {
	.level = 2, .filters = PNG_FILTER_SUB, .strategy = -1};

static void write_failed(png_structp png, png_const_charp text)
{
	struct writing *w = png_get_error_ptr(png);

	w->code = err_set(w->err, -EFBIG, "the picture cannot be written: %s", text);
	png_longjmp(png, 1);
}

static void take(png_structp png, png_bytep data, size_t n)
{
	struct writing *w = png_get_io_ptr(png);

	if (!buf_add(w->out, data, n))
		png_error(png, "too large");
}

static void flushed(png_structp png)
{
	(void)png;
}

static void set_effort(struct writing *w)
{
	png_set_compression_level(w->png, w->effort->level);
	png_set_filter(w->png, PNG_FILTER_TYPE_BASE, w->effort->filters);
	if (w->effort->strategy >= 0)
		png_set_compression_strategy(w->png, w->effort->strategy);
	png_set_compression_buffer_size(w->png, IDAT_SIZE);
}

static void guarded_write(struct writing *w)
{
	const struct raster *r = w->raster;

	if (setjmp(png_jmpbuf(w->png)))
		return;
	png_set_write_fn(w->png, w, take, flushed);
	png_set_user_limits(w->png, r->width, r->height);
	set_effort(w);
	png_set_IHDR(w->png, w->info, r->width, r->height, 8,
		r->channels == 4 ? PNG_COLOR_TYPE_RGBA : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
		PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_write_info(w->png, w->info);
	for (unsigned int y = 0; y < r->height; y++)
		png_write_row(w->png, r->pixels + y * raster_stride(r));
	png_write_end(w->png, NULL);
}

int picture_png_write(const struct raster *r, const struct picture_png_effort *effort,
	struct buf *out, struct err *err)
{
	struct writing w = {.raster = r, .effort = effort, .out = out, .err = err};

	w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, write_failed, quiet);
	w.info = w.png ? png_create_info_struct(w.png) : NULL;
	if (w.info)
		guarded_write(&w);
	else
		w.code = err_set(err, -ENOMEM, "libpng cannot start");
	png_destroy_write_struct(&w.png, &w.info);
	return w.code;
}
