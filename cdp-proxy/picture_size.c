/* The sizes that PNG, JPEG and WebP files say they have. */
#include "picture_size.h"

#include <string.h>

#include "bytes.h"

const char *const picture_format_names[PICTURE_FORMATS] = {
	[PICTURE_PNG] = "png", [PICTURE_JPEG] = "jpeg", [PICTURE_WEBP] = "webp"};

static bool eat(struct reader *r, const char *magic, size_t n)
{
	const uint8_t *p = read_bytes(r, n);

	return p && memcmp(p, magic, n) == 0;
}

/* ISO/IEC 15948, 11.2.2: IHDR comes first. */
static bool png_size(struct reader r, struct picture_size *ret)
{
	if (!eat(&r, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16))
		return false;
	ret->width = read_u32be(&r);
	ret->height = read_u32be(&r);
	return !r.bad;
}

/* A marker that starts a frame (ITU T.81, B.1.1.3): all of C0..CF but DHT, JPG and DAC. */
static bool starts_frame(uint8_t marker)
{
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
	       marker != 0xcc;
}

/* ITU T.81, B.2.2: segments, each with its length, until the frame's. */
static bool jpeg_size(struct reader r, struct picture_size *ret)
{
	if (!eat(&r, "\xff\xd8", 2))
		return false;
	while (!r.bad && read_u8(&r) == 0xff) {
		uint8_t marker = read_u8(&r);
		uint16_t len = read_u16be(&r);

		if (len < 2)
			return false;
		if (!starts_frame(marker)) {
			read_bytes(&r, len - 2u);
			continue;
		}
		read_u8(&r);
		ret->height = read_u16be(&r);
		ret->width = read_u16be(&r);
		return !r.bad;
	}
	return false;
}

static uint32_t read_u24(struct reader *r)
{
	uint32_t low = read_u16(r);

	return low | (uint32_t)read_u8(r) << 16;
}

/* RFC 9649: a lossy, a lossless or an extended first chunk. */
static bool webp_size(struct reader r, struct picture_size *ret)
{
	const uint8_t *kind;
	uint32_t v;

	if (!eat(&r, "RIFF", 4) || !read_bytes(&r, 4) || !eat(&r, "WEBPVP8", 7))
		return false;
	kind = read_bytes(&r, 1);
	read_u32(&r);
	if (kind && *kind == ' ') {
		read_u24(&r);
		if (!eat(&r, "\x9d\x01\x2a", 3))
			return false;
		ret->width = read_u16(&r) & 0x3fff;
		ret->height = read_u16(&r) & 0x3fff;
	} else if (kind && *kind == 'L') {
		if (read_u8(&r) != 0x2f)
			return false;
		v = read_u32(&r);
		ret->width = (v & 0x3fff) + 1;
		ret->height = (v >> 14 & 0x3fff) + 1;
	} else if (kind && *kind == 'X') {
		read_u32(&r);
		ret->width = read_u24(&r) + 1;
		ret->height = read_u24(&r) + 1;
	} else {
		return false;
	}
	return !r.bad;
}

bool picture_size_of(const uint8_t *data, size_t n, struct picture_size *ret)
{
	struct reader r = reader_of(data, n);

	*ret = (struct picture_size){.format = PICTURE_PNG};
	if (!png_size(r, ret)) {
		ret->format = PICTURE_JPEG;
		if (!jpeg_size(r, ret)) {
			ret->format = PICTURE_WEBP;
			if (!webp_size(r, ret))
				return false;
		}
	}
	return ret->width > 0 && ret->height > 0;
}
