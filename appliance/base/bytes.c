/* Bounds-checked reading and writing of bytes that somebody else wrote. */
#include "bytes.h"
#include "util.h"

#include <stdarg.h>
#include <string.h>

struct reader reader_of(const void *data, size_t len)
{
	return (struct reader){.data = data, .len = len};
}

size_t reader_left(const struct reader *r)
{
	return r->bad ? 0 : r->len - r->pos;
}

const uint8_t *read_bytes(struct reader *r, size_t n)
{
	const uint8_t *p;

	if (r->bad || n > r->len - r->pos) {
		r->bad = true;
		return NULL;
	}
	p = r->data + r->pos;
	r->pos += n;
	return p;
}

static uint64_t read_le(struct reader *r, size_t n)
{
	const uint8_t *p = read_bytes(r, n);
	uint64_t v = 0;

	for (size_t i = n; p && i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static uint64_t read_be(struct reader *r, size_t n)
{
	const uint8_t *p = read_bytes(r, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

uint8_t read_u8(struct reader *r)
{
	return (uint8_t)read_le(r, 1);
}

uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_le(r, 2);
}

uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_le(r, 4);
}

uint64_t read_u64(struct reader *r)
{
	return read_le(r, 8);
}

uint16_t read_u16be(struct reader *r)
{
	return (uint16_t)read_be(r, 2);
}

uint32_t read_u32be(struct reader *r)
{
	return (uint32_t)read_be(r, 4);
}

uint64_t read_u64be(struct reader *r)
{
	return read_be(r, 8);
}

const char *read_str(struct reader *r)
{
	const char *s = (const char *)r->data + r->pos;
	const void *end = reader_left(r) ? memchr(s, 0, r->len - r->pos) : NULL;

	if (!end) {
		r->bad = true;
		return NULL;
	}
	r->pos += strlen(s) + 1;
	return s;
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.max = b->max};
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t need = b->len + n + 1;

	if (b->full || n > b->max || b->len > b->max - n) {
		b->full = true;
		return NULL;
	}
	if (need > b->room) {
		b->room = MAX(need, MIN(b->room * 2, b->max + 1));
		b->room = MAX(b->room, (size_t)64);
		b->data = xrealloc(b->data, b->room);
	}
	return b->data + b->len;
}

void buf_grew(struct buf *b, size_t n)
{
	b->len += n;
	b->data[b->len] = 0;
}

bool buf_add(struct buf *b, const void *data, size_t n)
{
	uint8_t *p = buf_reserve(b, n);

	if (!p)
		return false;
	if (n > 0)
		memcpy(p, data, n);
	buf_grew(b, n);
	return true;
}

bool buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

bool buf_addf(struct buf *b, const char *fmt, ...)
{
	AUTOFREE char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0) {
		s = NULL;
		b->full = true;
		return false;
	}
	return buf_add(b, s, (size_t)n);
}

static bool add_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t raw[8];

	for (size_t i = 0; i < n; i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return buf_add(b, raw, n);
}

bool buf_add_u8(struct buf *b, uint8_t v)
{
	return add_le(b, v, 1);
}

bool buf_add_u16(struct buf *b, uint16_t v)
{
	return add_le(b, v, 2);
}

bool buf_add_u32(struct buf *b, uint32_t v)
{
	return add_le(b, v, 4);
}

bool buf_add_u64(struct buf *b, uint64_t v)
{
	return add_le(b, v, 8);
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
	} else {
		memmove(b->data, b->data + n, b->len - n);
		b->len -= n;
	}
	if (b->data)
		b->data[b->len] = 0;
}

const char *buf_str(struct buf *b)
{
	return b->data ? (const char *)b->data : "";
}
