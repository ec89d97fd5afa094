/* Bodies in the chunked transfer coding (RFC 9112, section 7.1), decoded in place, piece by piece.
 */
#ifndef BERTH_CHUNKED_H
#define BERTH_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

enum chunked_state {
	CHUNKED_SIZE,
	CHUNKED_EXTENSION,
	CHUNKED_SIZE_LF,
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER,
	CHUNKED_TRAILER_LINE,
	CHUNKED_TRAILER_LF,
	CHUNKED_END_LF,
	CHUNKED_DONE,
};

/* Zeroes are the start. */
struct chunked {
	enum chunked_state state;
	uint64_t left; /* bytes of this chunk still to come */
	unsigned int digits, overhead;
};

/*
 * Takes bytes from data; *ret_data and *ret_len are the body bytes found (inside data, at most one
 * run; none: length 0). Returns how many bytes were used, or -EPROTO. Call again with the rest
 * until all is used or the state is CHUNKED_DONE.
 */
long chunked_take(struct chunked *c, const uint8_t *data, size_t n, const uint8_t **ret_data,
	size_t *ret_len);

#endif
