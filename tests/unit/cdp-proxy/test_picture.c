/* A browser's file to the one that is asked for: sizes, formats, paint, and files that are wrong.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include <zlib.h>

#include "bytes.h"
#include "picture.h"
#include "picture_lossy.h"
#include "picture_png.h"
#include "util.h"

static void add_be32(struct buf *b, uint32_t v)
{
	uint8_t p[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	buf_add(b, p, 4);
}

static void add_chunk(struct buf *b, const char *type, const void *data, size_t n)
{
	size_t at = b->len + 4;

	add_be32(b, (uint32_t)n);
	buf_add(b, type, 4);
	buf_add(b, data, n);
	add_be32(b, (uint32_t)crc32(0, b->data + at, (uInt)(n + 4)));
}

/* A file as somebody else would write it: the head may lie about the rows that follow. */
struct made {
	uint32_t width, height;
	uint8_t depth, type, interlace;
	size_t raw; /* bytes of rows, filter bytes included, all `value` */
	uint8_t value;
};

static void png_make(struct buf *b, const struct made *m)
{
	uint8_t head[5] = {m->depth, m->type, 0, 0, m->interlace};
	AUTOFREE uint8_t *raw = xcalloc(1, m->raw + 1);
	uLongf n = compressBound(m->raw);
	AUTOFREE uint8_t *packed = xmalloc(n);
	struct buf ihdr;

	memset(raw, m->value, m->raw);
	compress(packed, &n, raw, m->raw);
	buf_init(b, 1 << 20);
	buf_init(&ihdr, 64);
	add_be32(&ihdr, m->width);
	add_be32(&ihdr, m->height);
	buf_add(&ihdr, head, 5);
	buf_add(b, "\x89PNG\r\n\x1a\n", 8);
	add_chunk(b, "IHDR", ihdr.data, ihdr.len);
	if (m->type == 3)
		add_chunk(b, "PLTE", "\1\2\3\4\5\6", 6);
	add_chunk(b, "IDAT", packed, n);
	add_chunk(b, "IEND", "", 0);
	buf_done(&ihdr);
}

static int make(
	const struct buf *file, const struct picture_want *want, struct buf *out, struct picture *p)
{
	struct err err = {0};
	int r;

	buf_init(out, 1 << 24);
	r = picture_make(file->data, file->len, want, NULL, out, p, &err);
	assert_int_equal(err.code, r);
	return r;
}

static const struct picture_want smaller = {.quality = -1, .max_edge = 2};

static void hostile(void **state)
{
	static const struct {
		struct made made;
		int code;
	} rows[] = {
		{{4, 4, 8, 2, 0, 52, 0}, 0},
		{{4, 4, 8, 6, 0, 68, 0}, 0},
		{{4, 4, 8, 2, 0, 51, 0}, -EPROTO},
		{{4, 4, 8, 2, 0, 0, 0}, -EPROTO},
		{{4, 4, 8, 2, 0, 52, 9}, -EPROTO}, /* a filter that there is not */
		{{4, 4, 16, 2, 0, 100, 0}, -EPROTO},
		{{4, 4, 8, 3, 0, 20, 0}, -EPROTO},
		{{4, 4, 8, 0, 0, 20, 0}, -EPROTO},
		{{4, 4, 8, 4, 0, 36, 0}, -EPROTO},
		{{4, 4, 1, 0, 0, 8, 0}, -EPROTO},
		{{4, 4, 8, 2, 1, 60, 0}, -EPROTO},
		{{4, 4, 8, 2, 7, 52, 0}, -EPROTO},
		{{4, 4, 3, 2, 0, 52, 0}, -EPROTO},
		{{4, 4, 8, 5, 0, 52, 0}, -EPROTO},
		{{0, 4, 8, 2, 0, 52, 0}, -EPROTO},
		{{4, 0, 8, 2, 0, 52, 0}, -EPROTO},
		{{65535, 65535, 8, 2, 0, 52, 0}, -EPROTO},
		{{0xffffffff, 0xffffffff, 8, 2, 0, 52, 0}, -EPROTO},
		{{32768, 32768, 8, 2, 0, 52, 0}, -EFBIG},
		{{32768, 4096, 8, 2, 0, 52, 0}, -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf file, out;
		struct picture p;

		png_make(&file, &rows[i].made);
		assert_int_equal(make(&file, &smaller, &out, &p), rows[i].code);
		buf_done(&out);
		buf_done(&file);
	}
}

/* Every place to cut it, every bit turned: refused, or a picture of the size asked for. */
static void cut_and_bent(void **state)
{
	static const struct made good = {4, 4, 8, 2, 0, 52, 0};
	struct buf file, out;
	struct picture p;

	png_make(&file, &good);
	for (size_t n = 0; n < file.len; n++) {
		struct buf part = {.data = xmalloc(n + 1), .len = n};

		memcpy(part.data, file.data, n);
		part.data = xrealloc(part.data, n ? n : 1);
		assert_int_equal(make(&part, &smaller, &out, &p), -EPROTO);
		buf_done(&out);
		free(part.data);
	}
	for (size_t bit = 0; bit < file.len * 8; bit++) {
		file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (make(&file, &smaller, &out, &p) == 0)
			assert_true(p.width <= 2 && p.height <= 2);
		file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		buf_done(&out);
	}
	buf_done(&file);
}

/* A picture whose pixels all differ. */
static struct buf sample(unsigned int width, unsigned int height, unsigned int channels)
{
	struct raster r;
	struct buf file;
	struct err err;

	raster_init(&r, width, height, channels);
	for (size_t i = 0; i < raster_size(&r); i++)
		r.pixels[i] = channels == 4 && i % 4 == 3 ? 255 : (uint8_t)(i * 7 + i / 256);
	buf_init(&file, 1 << 24);
	assert_int_equal(picture_png_write(&r, &picture_png_default, &file, &err), 0);
	raster_done(&r);
	return file;
}

static void sizes(void **state)
{
	static const struct {
		unsigned int from[2], max_edge, exact[2], to[2];
	} rows[] = {
		{{100, 50}, 0, {0, 0}, {100, 50}},
		{{100, 50}, 100, {0, 0}, {100, 50}},
		{{100, 50}, 99, {0, 0}, {99, 50}}, /* 49.5 */
		{{100, 50}, 16, {0, 0}, {16, 8}},
		{{50, 100}, 33, {0, 0}, {17, 33}}, /* 16.5 */
		{{300, 1}, 16, {0, 0}, {16, 1}},
		{{1, 300}, 16, {0, 0}, {1, 16}},
		{{100, 50}, 16, {64, 48}, {64, 48}},
		{{10, 10}, 0, {31, 17}, {31, 17}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct picture_want want = {.quality = -1,
			.max_edge = rows[i].max_edge,
			.width = rows[i].exact[0],
			.height = rows[i].exact[1]};
		struct buf file = sample(rows[i].from[0], rows[i].from[1], 3), out;
		bool same = rows[i].from[0] == rows[i].to[0] && rows[i].from[1] == rows[i].to[1];
		struct picture_size size;
		struct picture p;

		assert_int_equal(make(&file, &want, &out, &p), 0);
		assert_int_equal(p.width, rows[i].to[0]);
		assert_int_equal(p.height, rows[i].to[1]);
		assert_int_equal(p.from_width, rows[i].from[0]);
		assert_true(picture_size_of(out.data, out.len, &size));
		assert_int_equal(size.width, p.width);
		assert_int_equal(size.height, p.height);
		assert_int_equal(
			same, out.len == file.len && memcmp(out.data, file.data, out.len) == 0);
		assert_int_equal(same, picture_unchanged(&want, p.from_width, p.from_height));
		buf_done(&out);
		buf_done(&file);
	}
}

static int keep(void *data, const uint8_t *row, struct err *err)
{
	struct buf *b = data;

	buf_add(b, row, b->max / 16);
	return 0;
}

static int keep_size(
	void *data, unsigned int width, unsigned int height, unsigned int channels, struct err *err)
{
	buf_init(data, (size_t)width * channels * 16);
	return height == 16 ? 0 : err_set(err, -ERANGE, "not 16 rows");
}

static const struct picture_png_reader keeper = {.on_size = keep_size, .on_row = keep};

/* Written and read again it is the same; RGBA that is opaque is written as RGB. */
static void round_trip(void **state)
{
	struct picture_want want = {.quality = -1, .has_cursor = true, .cursor_x = -1000};
	struct buf file = sample(16, 16, 4), out, a, b;
	struct picture p;
	struct err err;

	assert_int_equal(make(&file, &want, &out, &p), 0);
	assert_int_equal(out.data[25], 2);
	assert_int_equal(picture_png_read(file.data, file.len, &keeper, &a, &err), 0);
	assert_int_equal(picture_png_read(out.data, out.len, &keeper, &b, &err), 0);
	for (size_t i = 0; i < 256; i++)
		assert_memory_equal(a.data + i * 4, b.data + i * 3, 3);
	buf_done(&a);
	buf_done(&b);
	buf_done(&out);
	buf_done(&file);
}

/* What a call-back says ends the reading, whatever it is. */
static void stopped(void **state)
{
	struct buf file = sample(8, 8, 3), b;
	struct picture_want want = {.quality = -1, .max_edge = 4};
	struct picture p;
	struct err err;
	int stop = 1;

	assert_int_equal(picture_png_read(file.data, file.len, &keeper, &b, &err), -ERANGE);
	assert_string_equal(err.msg, "not 16 rows");
	buf_done(&b);
	buf_init(&b, 1 << 20);
	assert_int_equal(picture_make(file.data, file.len, &want, &stop, &b, &p, &err), -ECANCELED);
	buf_done(&b);
	buf_init(&b, 10); /* no room for the answer */
	assert_int_equal(picture_make(file.data, file.len, &want, NULL, &b, &p, &err), -EFBIG);
	want.format = PICTURE_JPEG;
	assert_int_equal(picture_make(file.data, file.len, &want, NULL, &b, &p, &err), -EFBIG);
	want.format = PICTURE_WEBP;
	assert_int_equal(picture_make(file.data, file.len, &want, NULL, &b, &p, &err), -EFBIG);
	buf_done(&b);
	buf_done(&file);
}

static void formats(void **state)
{
	for (int f = PICTURE_PNG; f < PICTURE_FORMATS; f++) {
		for (unsigned int channels = 3; channels <= 4; channels++) {
			struct picture_want want = {
				.format = (enum picture_format)f, .quality = 0, .max_edge = 20};
			struct buf file = sample(40, 30, channels), out, again;
			struct picture_size size;
			struct picture p;

			assert_int_equal(make(&file, &want, &out, &p), 0);
			assert_true(picture_size_of(out.data, out.len, &size));
			assert_int_equal(size.format, f);
			assert_int_equal(size.width, 20);
			assert_int_equal(size.height, 15);
			/* As it is, it is passed on; to be changed it would have to be a PNG. */
			assert_int_equal(make(&out, &want, &again, &p), 0);
			assert_int_equal(again.len, out.len);
			buf_done(&again);
			want.max_edge = 16;
			assert_int_equal(
				make(&out, &want, &again, &p), f == PICTURE_PNG ? 0 : -EMSGSIZE);
			buf_done(&again);
			buf_done(&out);
			buf_done(&file);
		}
	}
}

static void too_large(void **state)
{
	struct picture_want want = {.quality = -1, .width = 65535, .height = 65535};
	struct buf file = sample(16, 16, 3), out;
	struct raster wide;
	struct picture p;
	struct err err;

	assert_int_equal(make(&file, &want, &out, &p), -EFBIG);
	buf_done(&out);
	raster_init(&wide, WEBP_EDGE_MAX + 1, 1, 3);
	buf_init(&out, 1 << 20);
	assert_int_equal(picture_lossy_webp(&wide, 80, 2, &out, &err), -EFBIG);
	raster_done(&wide);
	raster_init(&wide, JPEG_EDGE_MAX + 1, 1, 3);
	assert_int_equal(picture_lossy_jpeg(&wide, 80, &out, &err), -EFBIG);
	raster_done(&wide);
	buf_done(&out);
	buf_done(&file);
}

/* Covers and cursor are placed in the old picture's pixels, and painted on the new one. */
static void paint(void **state)
{
	struct picture_want want = {.quality = -1,
		.max_edge = 16,
		.has_cursor = true,
		.cursor_x = 20,
		.cursor_y = 8,
		.n_masks = 1,
		.masks = {{.x0 = 0, .y0 = 0, .x1 = 5, .y1 = 3}}};
	static const struct made black = {32, 32, 8, 6, 0, 32 * 129, 0};
	struct buf file, out, rows;
	struct picture p;
	struct err err;

	png_make(&file, &black); /* transparent too */
	assert_int_equal(make(&file, &want, &out, &p), 0);
	assert_int_equal(picture_png_read(out.data, out.len, &keeper, &rows, &err), 0);
	assert_memory_equal(rows.data, "\x70\x70\x70\xff", 4);
	assert_memory_equal(rows.data + (16 + 2) * 4, "\x70\x70\x70\xff", 4);
	assert_memory_equal(rows.data + 3 * 4, "\0\0\0\0", 4);
	assert_memory_equal(rows.data + 2 * 16 * 4, "\0\0\0\0", 4);
	assert_memory_equal(rows.data + (4 * 16 + 10) * 4, "\0\0\0\xff", 4);
	assert_memory_equal(rows.data + (4 * 16 + 9) * 4, "\0\0\0\0", 4);
	assert_memory_equal(rows.data + (6 * 16 + 11) * 4, "\xff\xff\xff\xff", 4);
	buf_done(&rows);
	buf_done(&out);
	buf_done(&file);
}

static void size_of(void **state)
{
#define BYTES(s) (s), sizeof(s) - 1
	static const struct {
		const char *bytes;
		size_t n;
		unsigned int width, height; /* 0: none */
	} rows[] = {
		{BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\0\2"), 256, 2},
		{BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\0\0"), 0, 0},
		{BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\0"), 0, 0},
		{BYTES("\x89PNG\r\n\x1a\n\0\0\0\rTEXT\0\0\1\0\0\0\0\2"), 0, 0},
		{BYTES("\xff\xd8\xff\xe0\0\4ab\xff\xc2\0\x0b\x08\0\3\1\0"), 256, 3},
		{BYTES("\xff\xd8\xff\xc4\0\2\xff\xc0\0\x0b\x08\0\3\0\1"), 1, 3},
		{BYTES("\xff\xd8\xff\xe0\0\1ab"), 0, 0},
		{BYTES("\xff\xd8\xff\xe0\xff\xff"), 0, 0},
		{BYTES("\xff\xd8\xff\xc0\0\x0b\x08\0\3\0"), 0, 0},
		{BYTES("\xff\xd8"), 0, 0},
		{BYTES("RIFF....WEBPVP8 ....123\x9d\x01\x2a\1\x40\2\0"), 1, 2},
		{BYTES("RIFF....WEBPVP8 ....123\x9d\x01\x2b\1\x40\2\0"), 0, 0},
		{BYTES("RIFF....WEBPVP8L....\x2f\xff\xc0\0\0"), 256, 4},
		{BYTES("RIFF....WEBPVP8X........\x0f\0\0\x07\0\0"), 16, 8},
		{BYTES("RIFF....WEBPVP8X........\x0f\0\0\x07\0"), 0, 0},
		{BYTES("RIFF....WEBPVP8"), 0, 0},
		{BYTES(""), 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct picture_size size;
		bool is = picture_size_of((const uint8_t *)rows[i].bytes, rows[i].n, &size);

		assert_int_equal(is, rows[i].width > 0);
		if (!is)
			continue;
		assert_int_equal(size.width, rows[i].width);
		assert_int_equal(size.height, rows[i].height);
	}
}

/* ---- the line of jobs ---- */

struct heard {
	int done, failed;
};

static void count(void *data, const struct picture *p, const struct err *err)
{
	struct heard *h = data;

	h->done += p && p->width == 20;
	h->failed += err && err->code == -EPROTO && err->status == 502;
}

static void jobs(void **state)
{
	struct picture_want want = {.quality = -1, .max_edge = 20};
	struct buf file = sample(40, 30, 3);
	AUTOFREE char *text = xmalloc(BASE64_SIZE(file.len));
	struct picture_job *all[PICTURE_JOBS_MAX];
	struct heard h = {0};
	struct err err;
	uv_loop_t loop;

	base64_encode(file.data, file.len, text);
	uv_loop_init(&loop);
	for (int round = 0; round < 2; round++) {
		h = (struct heard){0};
		for (size_t i = 0; i < PICTURE_JOBS_MAX; i++)
			all[i] = picture_job_new(&loop, i == 3 ? "AAAA" : text,
				i == 3 ? 4 : strlen(text), &want, count, &h, &err);
		assert_null(picture_job_new(&loop, text, strlen(text), &want, count, &h, &err));
		assert_int_equal(err.status, 429);
		assert_int_equal(h.done, 0);
		/* One that runs, one that waits, the last in line. */
		picture_job_cancel(all[0]);
		picture_job_cancel(all[10]);
		picture_job_cancel(all[PICTURE_JOBS_MAX - 1]);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(h.done, PICTURE_JOBS_MAX - 4);
		assert_int_equal(h.failed, 1);
	}
	assert_int_equal(uv_loop_close(&loop), 0);
	buf_done(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(hostile),
		cmocka_unit_test(cut_and_bent), cmocka_unit_test(sizes),
		cmocka_unit_test(round_trip), cmocka_unit_test(stopped), cmocka_unit_test(formats),
		cmocka_unit_test(too_large), cmocka_unit_test(paint), cmocka_unit_test(size_of),
		cmocka_unit_test(jobs)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
