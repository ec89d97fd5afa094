/* One connection of the guest channel: the greeting, then whole frames both ways, with
 * back-pressure. */
#ifndef BERTH_INIT_CONN_H
#define BERTH_INIT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "guest.h"

#define CONN_QUEUE_HIGH (256u << 10) /* the owner stops producing above it … */
#define CONN_QUEUE_LOW (64u << 10)   /* … and goes on below it */
#define CONN_QUEUE_MAX (4u << 20)    /* above it the connection is given up */
#define CONN_HELLO_MS 10000

struct conn;

/* The owner's side. After `closed` the conn is gone; an owner that closes by itself hears nothing
 * more. */
struct conn_handlers {
	/* One whole frame; p is valid during the call. False: it breaks a rule, the connection
	 * ends. */
	bool (*frame)(void *data, uint8_t type, const uint8_t *p, size_t n);
	void (*drained)(void *data); /* the queue has fallen to CONN_QUEUE_LOW; may be NULL */
	void (*closed)(void *data);
};

/* The greeting has come: answers with a status, and on GUEST_OK calls conn_own. */
typedef enum guest_status conn_hello_fn(void *data, struct conn *c, uint8_t kind);

/*
 * Accepts from a listener. It belongs to the loop until it is closed. NULL when that fails.
 * closed_fn (may be NULL) is called with the data at the very end of each.
 */
struct conn *conn_accept(
	uv_stream_t *listener, conn_hello_fn *hello, void (*freed)(void *data), void *data);
/* The peer's IPv4 address in text, "" if unknown. */
void conn_peer(const struct conn *c, char out[16]);
void conn_own(struct conn *c, const struct conn_handlers *handlers, void *data);

/* Queues one frame. False: the connection is closing or its queue is full, and `closed` follows
 * from the loop. */
bool conn_send(struct conn *c, enum guest_type type, const void *p, size_t n);
size_t conn_queued(const struct conn *c);
/* Frames wait in the kernel until conn_resume. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* Closes when what is queued has been sent. `closed` is not called. */
void conn_finish(struct conn *c);
/* Closes now. `closed` is not called. */
void conn_close(struct conn *c);

#endif
