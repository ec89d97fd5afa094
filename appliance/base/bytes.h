/* Bounds-checked reading and writing of bytes that somebody else wrote. Little endian unless named
 * _be. */
#ifndef BERTH_BASE_BYTES_H
#define BERTH_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A view of bytes with a position. A read past the end gives zeroes and sets `bad`, for good: read
 * a whole structure, then look at `bad` once.
 */
struct reader {
	const uint8_t *data;
	size_t len, pos;
	bool bad;
};

struct reader reader_of(const void *data, size_t len);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
uint16_t read_u16be(struct reader *r);
uint32_t read_u32be(struct reader *r);
uint64_t read_u64be(struct reader *r);
/* Pointer to n bytes inside the view, or NULL. */
const uint8_t *read_bytes(struct reader *r, size_t n);
/* A NUL-terminated string inside the view, or NULL (then bad). */
const char *read_str(struct reader *r);
size_t reader_left(const struct reader *r);

/* A growing buffer with a maximum; over it, `full` is set for good and nothing more is added. */
struct buf {
	uint8_t *data;
	size_t len, room, max;
	bool full;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
bool buf_add(struct buf *b, const void *data, size_t n);
bool buf_add_str(struct buf *b, const char *s); /* without its NUL */
__attribute__((format(printf, 2, 3))) bool buf_addf(struct buf *b, const char *fmt, ...);
bool buf_add_u8(struct buf *b, uint8_t v);
bool buf_add_u16(struct buf *b, uint16_t v);
bool buf_add_u32(struct buf *b, uint32_t v);
bool buf_add_u64(struct buf *b, uint64_t v);
/* Room for n more bytes to be written at the end, or NULL when that would pass max; then
 * buf_grew(n). */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);
/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* The content as a C string (a NUL is kept behind it, not counted). Never NULL. */
const char *buf_str(struct buf *b);

#endif
