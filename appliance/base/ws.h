/* WebSocket frames (RFC 6455, section 5): headers and masks, for streams that are never held whole.
 */
#ifndef BERTH_BASE_WS_H
#define BERTH_BASE_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_op { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
#define WS_HEADER_MAX 14

struct ws_header {
	uint64_t len; /* of the payload */
	uint8_t op;   /* enum ws_op */
	bool fin, masked;
	uint8_t mask[4];
};

/*
 * Reads a frame's header. Its length in bytes; 0 when it is not whole yet; -EPROTO: reserved bits
 * or operation, a control frame that is fragmented or over 125 bytes, a length that is not minimal
 * or over 2^63 - 1.
 */
int ws_read_header(const uint8_t *data, size_t n, struct ws_header *ret);
/* Writes a header into out; its length. */
size_t ws_write_header(uint8_t out[WS_HEADER_MAX], const struct ws_header *h);
/* XORs n bytes at `offset` within the payload with the mask, on their way to out, which may be
 * data. */
void ws_mask_copy(
	uint8_t *out, const uint8_t *data, size_t n, const uint8_t mask[4], uint64_t offset);
/* The same, in place. */
void ws_mask(uint8_t *data, size_t n, const uint8_t mask[4], uint64_t offset);
/* Sec-WebSocket-Accept for a key (base64 of SHA-1 of the key and the RFC's GUID); out has 29 bytes.
 */
void ws_accept_key(const char *key, char out[29]);
/* A new random Sec-WebSocket-Key; out has 25 bytes. */
void ws_new_key(char out[25]);

/* UTF-8 checked over any number of pieces: start with state 0; false at the first wrong byte; whole
 * if state is 0. */
bool ws_utf8(uint32_t *state, const uint8_t *data, size_t n);

#endif
