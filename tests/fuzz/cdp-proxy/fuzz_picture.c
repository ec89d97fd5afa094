/* A picture that a guest sent: whatever the bytes are, what comes out is a picture of the size that
 * was asked for, or an error. */
#include <string.h>
#include <zlib.h>

#include "base64.h"
#include "bytes.h"
#include "picture.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define OUT_MAX (1u << 20)

#define ENSURE(c)                \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

/* Right checksums, so that more than the first chunk is reached. */
static void mend(uint8_t *p, size_t n)
{
	for (size_t at = 8; at + 12 <= n;) {
		size_t len = (size_t)p[at] << 24 | p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3];
		uint32_t sum;

		if (len > n - at - 12)
			return;
		sum = (uint32_t)crc32(0, p + at + 4, (uInt)len + 4);
		for (int i = 0; i < 4; i++)
			p[at + 8 + len + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
		at += 12 + len;
	}
}

static struct picture_want want_of(const uint8_t c[4])
{
	struct picture_want w = {.quality = c[3] % 101,
		.format = (enum picture_format)(c[0] % PICTURE_FORMATS),
		.max_edge = c[0] & 8 ? c[1] : 0,
		.has_cursor = c[0] & 16};

	if (c[0] & 32) {
		w.width = c[1] + 1u;
		w.height = c[2] + 1u;
	}
	if (c[0] & 64) {
		w.n_masks = 1;
		w.masks[0] = (struct raster_rect){-1, c[1], c[2], 1e9};
	}
	w.cursor_x = c[1] * 1e3 - 9;
	w.cursor_y = c[2];
	return w;
}

static void check(const struct picture_want *w, const struct buf *out, const struct picture *p)
{
	struct picture_size size;

	ENSURE(picture_size_of(out->data, out->len, &size));
	ENSURE(size.format == w->format && size.width == p->width && size.height == p->height);
	if (w->width)
		ENSURE(p->width == w->width && p->height == w->height);
	else if (w->max_edge)
		ENSURE(p->width <= w->max_edge && p->height <= w->max_edge);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct picture_want w;
	struct picture p;
	struct err err;
	struct buf out;
	uint8_t *file;

	if (n < 5)
		return 0;
	w = want_of(data);
	file = xmalloc(n - 4); /* exactly as large: a read too far is seen */
	memcpy(file, data + 4, n - 4);
	if (data[0] & 128)
		mend(file, n - 4);
	buf_init(&out, OUT_MAX);
	if (picture_make(file, n - 4, &w, NULL, &out, &p, &err) == 0)
		check(&w, &out, &p);
	buf_done(&out);
	base64_decode((const char *)data + 4, n - 4, file);
	free(file);
	return 0;
}
