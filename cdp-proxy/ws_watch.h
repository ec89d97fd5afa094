/* Reads the frames' headers of what a client sends before libwebsockets sees them. */
#ifndef BERTH_WS_WATCH_H
#define BERTH_WS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws.h"

/* One client's stream of frames; starts as zeroes. Embedded by its owner, who ends the watch before
 * the socket is closed. */
struct ws_watch {
	uint8_t head[WS_HEADER_MAX]; /* the part of a header that was there at the end of a read */
	size_t head_len;
	struct ws_header frame;
	uint64_t left;   /* of this frame's payload */
	uint64_t handed; /* bytes of payload given on so far */
	const char
		*wrong; /* NULL, or why this client must be closed with 1002; nothing comes after */
	void (*on_wrong)(void *data);
	void *data;
};

/*
 * Looks at the next n bytes of the stream, unmasked in place, each frame's key made zero. How many
 * of them may be given on: a header that is not whole is kept in w, to be put before the next
 * bytes; from the first frame on that is not masked or otherwise wrong nothing is given on.
 */
size_t ws_watch_bytes(struct ws_watch *w, uint8_t *p, size_t n);

/* From now on what is received from fd passes through w; NULL: no longer. */
void ws_watch_fd(int fd, struct ws_watch *w);

#endif
