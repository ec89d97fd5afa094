/* The area filter, against its definition; and what is painted on a picture. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "area.h"
#include "util.h"

static struct raster scaled(const struct raster *from, unsigned int width, unsigned int height)
{
	struct raster to;
	struct area *a;

	raster_init(&to, width, height, from->channels);
	a = area_new(from->width, from->height, &to);
	for (unsigned int y = 0; y < from->height; y++)
		area_row(a, from->pixels + y * raster_stride(from));
	area_free(a);
	return to;
}

/* The same every time. */
static struct raster noise(unsigned int width, unsigned int height, unsigned int channels)
{
	struct raster r;
	uint32_t v = 12345;

	raster_init(&r, width, height, channels);
	for (size_t i = 0; i < raster_size(&r); i++) {
		v = v * 1664525 + 1013904223;
		r.pixels[i] = (uint8_t)(v >> 24);
	}
	return r;
}

/* Whole numbers only: what pixel i of `of` shares with pixel j of `to`, both over of * to units. */
static uint64_t shared(uint64_t i, uint64_t of, uint64_t j, uint64_t to)
{
	uint64_t from = MAX(i * to, j * of), end = MIN((i + 1) * to, (j + 1) * of);

	return end > from ? end - from : 0;
}

static void same_as_definition(const struct raster *a, const struct raster *b)
{
	for (unsigned int y = 0; y < b->height; y++) {
		for (size_t x = 0; x < raster_stride(b); x++) {
			unsigned int c = x % b->channels;
			uint64_t sum = 0, all = (uint64_t)a->width * a->height;

			for (unsigned int j = 0; j < a->height; j++) {
				uint64_t down = shared(j, a->height, y, b->height);

				for (unsigned int i = 0; down && i < a->width; i++)
					sum += down *
					       shared(i, a->width, x / b->channels, b->width) *
					       a->pixels[j * raster_stride(a) + i * a->channels +
							 c];
			}
			assert_int_equal(
				b->pixels[y * raster_stride(b) + x], (sum + all / 2) / all);
		}
	}
}

static void by_definition(void **state)
{
	static const unsigned int sizes[][4] = {{1, 1, 1, 1}, {2, 2, 1, 1}, {6, 4, 3, 2},
		{12, 9, 4, 3}, {7, 5, 3, 2}, {7, 5, 6, 4}, {1, 40, 1, 7}, {40, 1, 7, 1},
		{40, 1, 1, 1}, {3, 2, 6, 4}, {1, 1, 5, 5}, {5, 3, 7, 4}, {33, 31, 32, 30},
		{33, 31, 1, 30}, {64, 48, 63, 47}};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct raster a = noise(sizes[i][0], sizes[i][1], 3);
		struct raster b = scaled(&a, sizes[i][2], sizes[i][3]);

		same_as_definition(&a, &b);
		raster_done(&a);
		raster_done(&b);
	}
}

static void exact_values(void **state)
{
	/* 0 and 255 in equal parts are 127.5: 128. */
	uint8_t four[] = {0, 10, 255, 255, 11, 255, 0, 12, 255, 255, 13, 254};
	struct raster a = {.width = 2, .height = 2, .channels = 3, .pixels = four};
	struct raster b = scaled(&a, 1, 1);

	assert_int_equal(b.pixels[0], 128);
	assert_int_equal(b.pixels[1], 12);  /* 46 / 4 = 11.5 */
	assert_int_equal(b.pixels[2], 255); /* 1019 / 4 = 254.75 */
	raster_done(&b);
	b = scaled(&a, 2, 2);
	assert_memory_equal(b.pixels, four, sizeof(four));
	raster_done(&b);
}

/* One colour stays it, at any factor; and the mean of all stays within the rounding of each. */
static void energy(void **state)
{
	for (unsigned int width = 1; width < 40; width += 3) {
		struct raster a, b;
		long long before = 0, after = 0;

		raster_init(&a, 97, 41, 3);
		memset(a.pixels, 211, raster_size(&a));
		b = scaled(&a, width, 40 - width);
		for (size_t i = 0; i < raster_size(&b); i++)
			assert_int_equal(b.pixels[i], 211);
		raster_done(&a);
		raster_done(&b);

		a = noise(97, 41, 3);
		b = scaled(&a, width, 40 - width);
		for (size_t i = 0; i < raster_size(&a); i++)
			before += a.pixels[i];
		for (size_t i = 0; i < raster_size(&b); i++)
			after += b.pixels[i];
		assert_true(llabs(before * (long long)raster_size(&b) -
				    after * (long long)raster_size(&a)) *
				    2 <=
			    (long long)(raster_size(&a) * raster_size(&b)));
		raster_done(&a);
		raster_done(&b);
	}
}

static void huge(void **state)
{
	struct raster a, b;

	raster_init(&a, AREA_EDGE_MAX, 1, 4);
	memset(a.pixels, 255, raster_size(&a));
	b = scaled(&a, 1, 1);
	assert_memory_equal(b.pixels, "\xff\xff\xff\xff", 4);
	raster_done(&b);
	a.width = 1;
	a.height = AREA_EDGE_MAX;
	b = scaled(&a, 1, 1);
	assert_memory_equal(b.pixels, "\xff\xff\xff\xff", 4);
	raster_done(&b);
	raster_done(&a);
	raster_init(&a, 8000, 8000, 3);
	memset(a.pixels, 255, raster_size(&a) / 2);
	b = scaled(&a, 3, 2);
	assert_memory_equal(b.pixels, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0", 18);
	raster_done(&a);
	raster_done(&b);
}

/* What is transparent has no colour. */
static void alpha(void **state)
{
	uint8_t two[] = {200, 100, 50, 255, 255, 255, 255, 0};
	uint8_t none[] = {9, 9, 9, 0, 7, 7, 7, 0};
	uint8_t half[] = {255, 0, 0, 255, 0, 0, 255, 85};
	struct raster a = {.width = 2, .height = 1, .channels = 4, .pixels = two};
	struct raster b = scaled(&a, 1, 1);

	assert_memory_equal(b.pixels, ((uint8_t[]){200, 100, 50, 128}), 4);
	raster_done(&b);
	a.pixels = none;
	b = scaled(&a, 1, 1);
	assert_memory_equal(b.pixels, ((uint8_t[]){0, 0, 0, 0}), 4);
	raster_done(&b);
	a.pixels = half;
	b = scaled(&a, 1, 1);
	assert_memory_equal(b.pixels, ((uint8_t[]){191, 0, 64, 170}), 4);
	raster_done(&b);
}

static void drops_alpha(void **state)
{
	struct raster r;

	raster_init(&r, 2, 1, 4);
	memcpy(r.pixels,
		"abc\xff"
		"def\xfe",
		8);
	raster_drop_alpha(&r);
	assert_int_equal(r.channels, 4);
	r.pixels[7] = 255;
	raster_drop_alpha(&r);
	assert_int_equal(r.channels, 3);
	assert_memory_equal(r.pixels, "abcdef", 6);
	raster_done(&r);
}

/* Pixels that are not the grey it began with. */
static unsigned int painted(const struct raster *r)
{
	unsigned int n = 0;

	for (size_t i = 0; i < raster_size(r); i += r->channels)
		n += r->pixels[i] != 50;
	return n;
}

static struct raster grey(unsigned int width, unsigned int height, unsigned int channels)
{
	struct raster r;

	raster_init(&r, width, height, channels);
	memset(r.pixels, 50, raster_size(&r));
	return r;
}

static void cursor_whole(void **state)
{
	for (unsigned int channels = 3; channels <= 4; channels++) {
		struct raster r = grey(40, 40, channels);
		unsigned int all;

		raster_cursor(&r, 10, 12);
		all = painted(&r);
		assert_true(all > 80);
		for (unsigned int y = 0; y < 40; y++)
			for (unsigned int x = 0; x < 40; x++)
				if (x < 10 || y < 12)
					assert_int_equal(r.pixels[(y * 40 + x) * channels], 50);
		/* The tip is black, and so is its left edge down from there. */
		assert_int_equal(r.pixels[(12 * 40 + 10) * channels], 0);
		assert_int_equal(r.pixels[(13 * 40 + 10) * channels], 0);
		assert_int_equal(r.pixels[(14 * 40 + 11) * channels], 255);
		raster_done(&r);
	}
}

static void cursor_at_edges(void **state)
{
	static const struct {
		long long x, y;
		unsigned int least, most;
	} rows[] = {{39, 39, 1, 1}, {39, 0, 2, 40}, {0, 39, 1, 1}, {0, 0, 80, 200},
		{-3, -3, 20, 190}, {-100, 5, 0, 0}, {5, -100, 0, 0}, {40, 5, 0, 0}, {5, 40, 0, 0},
		{1000000000000, -1000000000000, 0, 0}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct raster r = grey(40, 40, 3);

		raster_cursor(&r, rows[i].x, rows[i].y);
		assert_in_range(painted(&r), rows[i].least, rows[i].most);
		raster_done(&r);
	}
}

static void masks(void **state)
{
	static const struct {
		struct raster_rect rect;
		unsigned int painted;
	} rows[] = {{{2, 3, 5, 7}, 12}, {{2.9, 3.9, 4.1, 6.1}, 12}, {{-5, -5, 2, 2}, 4},
		{{8, 8, 50, 50}, 4}, {{-1e300, -1e300, 1e300, 1e300}, 100}, {{5, 5, 5, 5}, 0},
		{{7, 7, 3, 3}, 0}, {{20, 20, 30, 30}, 0}, {{0. / 1, 0, 0.1, 0.1}, 1}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct raster r = grey(10, 10, 3);

		raster_mask(&r, &rows[i].rect);
		assert_int_equal(painted(&r), rows[i].painted);
		raster_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(by_definition),
		cmocka_unit_test(exact_values), cmocka_unit_test(energy), cmocka_unit_test(huge),
		cmocka_unit_test(alpha), cmocka_unit_test(drops_alpha),
		cmocka_unit_test(cursor_whole), cmocka_unit_test(cursor_at_edges),
		cmocka_unit_test(masks)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
