/* The chunked transfer coding. */
#include "chunked.h"
#include "util.h"

#include <errno.h>

#define DIGITS_MAX 15
/* Extensions and trailers are read over; one chunk's, and the trailer as a whole, stay below this.
 */
#define OVERHEAD_MAX 4096

static int hex_value(uint8_t b)
{
	if (b >= '0' && b <= '9')
		return b - '0';
	if (b >= 'a' && b <= 'f')
		return b - 'a' + 10;
	return b >= 'A' && b <= 'F' ? b - 'A' + 10 : -1;
}

static int take_size(struct chunked *c, uint8_t b)
{
	int v = hex_value(b);

	if (v >= 0) {
		c->left = c->left * 16 + (uint64_t)v;
		return ++c->digits > DIGITS_MAX ? -EPROTO : 0;
	}
	if (c->digits == 0 || (b != ';' && b != '\r'))
		return -EPROTO;
	c->overhead = 0;
	c->state = b == ';' ? CHUNKED_EXTENSION : CHUNKED_SIZE_LF;
	return 0;
}

/* In text that is read over: a CR leads to `next`, control characters are wrong. */
static int skip(struct chunked *c, uint8_t b, enum chunked_state next)
{
	if (++c->overhead > OVERHEAD_MAX)
		return -EPROTO;
	if (b == '\r')
		c->state = next;
	else if ((b < 0x20 && b != '\t') || b == 0x7f)
		return -EPROTO;
	return 0;
}

static int expect(struct chunked *c, uint8_t b, uint8_t wanted, enum chunked_state next)
{
	if (b != wanted)
		return -EPROTO;
	c->state = next;
	return 0;
}

static int after_size(struct chunked *c, uint8_t b)
{
	bool end = c->left == 0;

	c->digits = 0;
	c->overhead = 0;
	return expect(c, b, '\n', end ? CHUNKED_TRAILER : CHUNKED_DATA);
}

static int take_byte(struct chunked *c, uint8_t b)
{
	switch (c->state) {
	case CHUNKED_SIZE:
		return take_size(c, b);
	case CHUNKED_EXTENSION:
		return skip(c, b, CHUNKED_SIZE_LF);
	case CHUNKED_SIZE_LF:
		return after_size(c, b);
	case CHUNKED_DATA_CR:
		return expect(c, b, '\r', CHUNKED_DATA_LF);
	case CHUNKED_DATA_LF:
		return expect(c, b, '\n', CHUNKED_SIZE);
	case CHUNKED_TRAILER:
		c->state = CHUNKED_TRAILER_LINE;
		return skip(c, b, CHUNKED_END_LF);
	case CHUNKED_TRAILER_LINE:
		return skip(c, b, CHUNKED_TRAILER_LF);
	case CHUNKED_TRAILER_LF:
		return expect(c, b, '\n', CHUNKED_TRAILER);
	case CHUNKED_END_LF:
		return expect(c, b, '\n', CHUNKED_DONE);
	case CHUNKED_DATA:
	case CHUNKED_DONE:
		break;
	}
	return -EPROTO;
}

long chunked_take(
	struct chunked *c, const uint8_t *data, size_t n, const uint8_t **ret_data, size_t *ret_len)
{
	size_t used = 0;

	*ret_data = data;
	*ret_len = 0;
	while (used < n && c->state != CHUNKED_DATA && c->state != CHUNKED_DONE) {
		int r = take_byte(c, data[used++]);

		if (r < 0)
			return r;
	}
	if (c->state == CHUNKED_DATA && used < n) {
		*ret_data = data + used;
		*ret_len = MIN(c->left, n - used);
		c->left -= *ret_len;
		used += *ret_len;
		if (c->left == 0)
			c->state = CHUNKED_DATA_CR;
	}
	return (long)used;
}
