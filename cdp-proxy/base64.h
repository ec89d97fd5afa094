/* Base64 (RFC 4648) that somebody else wrote; util.h has the other way. */
#ifndef BERTH_BASE64_H
#define BERTH_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Base64 (with padding, nothing else between) of n characters into out (n / 4 * 3 bytes of room;
 * may be the same memory). The bytes, or -1. For any thread.
 */
long long base64_decode(const char *text, size_t n, uint8_t *out);
/* Would that be read? */
bool base64_valid(const char *text, size_t n);

#endif
