/* The control channel between berth's own programs: JSON objects in frames, descriptors alongside.
 */
#ifndef BERTH_BASE_CTL_H
#define BERTH_BASE_CTL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

/*
 * A unix stream socket; each frame is a 32-bit little-endian length and that many bytes of one JSON
 * object. A descriptor travels attached to the first byte of the frame it belongs to.
 * docs/internals.md names the messages. Nothing here blocks and nothing here owns a loop: the
 * program polls ctl_fd() and calls ctl_readable() and ctl_flush().
 */
#define CTL_VERSION 1
#define CTL_FRAME_MAX (4u << 20)
#define CTL_QUEUE_MAX (16u << 20)

struct ctl;

/* Takes over a connected socket (made non-blocking). */
struct ctl *ctl_new(int fd);
void ctl_free(struct ctl *c);
int ctl_fd(const struct ctl *c);

/*
 * Called for each whole message; msg is the callee's only during the call (cJSON_Duplicate or
 * detach what is kept); fd is -1 or the callee's to close. The callee must not free the ctl: it
 * sets a mark and does so later.
 */
typedef void ctl_message_fn(void *data, cJSON *msg, int fd);

/* Reads what is there and calls back. 0; -EPIPE when the peer has gone; -EPROTO on a bad frame. */
int ctl_readable(struct ctl *c, ctl_message_fn *fn, void *data);
/* Queues a message (not consumed) and tries to send. fd (or -1) is duplicated, not taken. -ENOBUFS:
 * queue full. */
int ctl_send(struct ctl *c, const cJSON *msg, int fd);
/* Sends what is queued. 0, or a negative errno when the connection is dead. */
int ctl_flush(struct ctl *c);
/* True while something waits for the socket to become writable. */
bool ctl_wants_write(const struct ctl *c);

/* Blocking use (CLI, tests): waits at most timeout_ms for one message. NULL and err at the end or
 * on time-out. */
cJSON *ctl_receive(struct ctl *c, int timeout_ms, int *ret_fd, struct err *err);

#endif
