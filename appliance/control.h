/* The control server: who is connected, what they asked, what they are told. */
#ifndef BERTH_CONTROL_H
#define BERTH_CONTROL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <uv.h>

#include "err.h"

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_WAITING_MAX 1024 /* requests that are not answered yet, streams included */
#define CONTROL_OP_MAX 64
#define CONTROL_BY_MAX 79

struct control; /* owned by the daemon */
/* One thing asked. It lives until request_ok or request_fail, also when its client has gone. */
struct request;

/* Listens on STATE/run/control/control.sock; `ask` is called for each request that is well formed.
 */
int control_new(struct control **ret, uv_loop_t *loop, const char *state,
	void (*ask)(void *data, struct request *r), void *data, struct err *err);
/* Closes everything. Requests that wait must still be answered; nobody hears it. */
void control_free(struct control *c);
/* True when nothing waits to be sent. */
bool control_flushed(const struct control *c);

const char *request_op(const struct request *r);
/* Who asked: a token's id, "local", or "". */
const char *request_by(const struct request *r);
const cJSON *request_args(const struct request *r);
/* The end: ok (taken; NULL is {}), perhaps with a descriptor (duplicated, not taken). Frees the
 * request. */
void request_ok(struct request *r, cJSON *ok, int fd);
void request_fail(struct request *r, const struct err *err);
void request_progress(struct request *r, const char *step, const char *detail);

/* A request that is a stream of events until its client goes, it is cancelled, or the op ends it.
 */
struct request_stream {
	void (*writable)(void *data); /* what was sent before is out */
	void (*closed)(void *data);   /* the client has gone; the callee answers (request_ok) */
};
void request_stream(struct request *r, const struct request_stream *s, void *data);
/* event is taken. */
void request_event(struct request *r, cJSON *event);
/* True while the client has not taken what was sent, or has gone. */
bool request_busy(const struct request *r);
/* Ends the stream with this id on the connection of r; false if there is none. */
bool request_cancel(struct request *r, double id);

#endif
