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
 */
struct flow {
	uint8_t *data;
	size_t size, len, pass,
		writing; /* writing: bytes at the front that a write under way covers */
	bool eof, shut, reading;
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
