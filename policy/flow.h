/* One direction of a relayed connection: a bounded buffer between two streams. */
#ifndef BERTH_POLICY_FLOW_H
#define BERTH_POLICY_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "pace.h"

/*
 * Bytes read are `held` until the owner says how many of them may `pass`. Reading stops while the
 * buffer is full and goes on when room is made; the end of the input is passed on after the last
 * byte. Embedded; the data of the stream it reads from is the flow.
 *
 * Once `through` is set the owner wants to see no more of it: after the first FLOW_SPLICE_FROM
 * bytes the rest goes through a pipe, from one socket into the other without a copy (splice(2)), if
 * one of the FLOW_PIPES_MAX pipes is free.
 */
#define FLOW_SPLICE_FROM (256u << 10)
#define FLOW_PIPES_MAX 32 /* of all flows; two descriptors and at most 1 MiB each */

struct flow {
	uint8_t *data;
	size_t size, len, pass,
		writing; /* writing: bytes at the front that a write under way covers */
	bool eof, shut, reading, through, ended;
	int pipe[2];            /* -1: none */
	size_t piped;           /* bytes in it */
	uint64_t total;         /* bytes passed on */
	struct pacer pacer;     /* how fast it may read */
	uv_stream_t *from, *to; /* to: NULL until there is somebody */
	uv_write_t write;
	uv_shutdown_t shutdown;
	/* New bytes, or the end of the input (eof). The owner may raise pass. */
	void (*arrived)(struct flow *f);
	/* Reading or writing failed. */
	void (*failed)(struct flow *f);
	/* Something moved; for idle timers and for the end (flow_finished). */
	void (*moved)(struct flow *f);
	void *owner;
};

/* pace: of all flows of this direction. */
void flow_init(struct flow *f, size_t size, uv_stream_t *from, struct pace *pace);
/* When its streams are about to be closed. */
void flow_end(struct flow *f);
/* After the streams are closed. */
void flow_done(struct flow *f);
int flow_start(struct flow *f);
/* Sends what may pass, reads on if there is room, ends the output when all is through. */
void flow_push(struct flow *f);
/* The end of the input has been passed on. */
bool flow_finished(const struct flow *f);

#endif
