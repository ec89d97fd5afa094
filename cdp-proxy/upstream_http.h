/* One HTTP/1.1 request to a guest's browser over a socket that berthd gave, and its bounded answer.
 */
#ifndef BERTH_UPSTREAM_HTTP_H
#define BERTH_UPSTREAM_HTTP_H

#include <stddef.h>
#include <uv.h>

#include "err.h"

#define UPSTREAM_BODY_MAX (4u << 20)
#define UPSTREAM_HTTP_MS 10000

struct gateway;
struct upstream_http;

/*
 * err is NULL when a whole answer came, of any status. body (NUL-terminated) is the callee's only
 * during the call. The request is gone when it returns.
 */
typedef void upstream_http_fn(
	void *data, int status, const char *body, size_t n, const struct err *err);

/* Takes fd over. target: printable ASCII without spaces, already checked. Never calls back from
 * inside. */
struct upstream_http *upstream_http_new(uv_loop_t *loop, int fd, const char *method,
	const char *target, upstream_http_fn *fn, void *data);
/* Its agent is woken if it falls asleep meanwhile. */
void upstream_http_tie(
	struct upstream_http *r, struct gateway *gw, const char *agent, uint64_t generation);
/* No call-back after this. Not after the call-back. NULL is fine. */
void upstream_http_cancel(struct upstream_http *r);

#endif
