/* The way to Chromium: each connection to GUEST_CDP_PORT becomes one to its DevTools port on
 * loopback. */
#ifndef BERTH_INIT_RELAY_H
#define BERTH_INIT_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define RELAY_MAX 128 /* connections at once */
#define RELAY_QUEUE_HIGH \
	(512u << 10) /* bytes that wait for a slow side; then the other is not read */
#define RELAY_QUEUE_LOW (128u << 10)

/* Accepts from a listener and, if the peer of fd is `allowed`, relays to 127.0.0.1:port until
 * either side has gone. */
void relay_accept(uv_stream_t *listener, uint16_t port, bool (*allowed)(int fd));
/* Accepts and closes at once (a stranger, or too many). */
void relay_refuse(uv_stream_t *listener);
unsigned relay_count(void);

#endif
