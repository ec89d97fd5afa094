/* The picture of the page in front; screenshot_serve() is in gateway.h. */
#ifndef BERTH_SCREENSHOT_H
#define BERTH_SCREENSHOT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Base64 (RFC 4648, with padding, nothing else between) of n characters into out (n / 4 * 3 bytes
 * of room; may be the same memory). The bytes, or -1.
 */
long long screenshot_base64(const char *text, size_t n, uint8_t *out);

#endif
