/* The agent's way out: accepts what the wall redirected, and keeps the list of connections
 * (conn.c). */
#include "relay.h"
#include "conn.h"
#include "util.h"

#include <errno.h>
#include <sys/resource.h>

#define TICK_MS 1000

/* Lives as long as the process. */
struct relay {
	struct conn_owner owner;
	struct relay_parts parts;
	uv_tcp_t listener;
	uv_timer_t tick;
	struct conn *conns;
	size_t n;
};

static void on_closed(struct conn_owner *owner, struct conn *c)
{
	struct relay *r = CONTAINER_OF(owner, struct relay, owner);
	struct conn **at = &r->conns;

	while (*at != c)
		at = conn_next(*at);
	*at = *conn_next(c);
	if (--r->n == 0)
		uv_timer_stop(&r->tick);
}

static void on_tick(uv_timer_t *timer)
{
	struct relay *r = timer->data;
	uint64_t now = now_ms();

	for (struct conn *c = r->conns; c; c = *conn_next(c))
		conn_tick(c, now);
}

/* A connection takes two. */
static bool files_run_out(const struct relay *r)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	       2 * r->n + RELAY_FILES_LEFT > limit.rlim_cur;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct relay *r = listener->data;
	const char *reason;
	struct conn *c;

	if (status < 0) {
		events_error(r->parts.events, "the agent's connections cannot be taken: %s",
			uv_strerror(status));
		return;
	}
	c = conn_accept(&r->owner, listener);
	*conn_next(c) = r->conns;
	r->conns = c;
	if (r->n++ == 0)
		uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
	reason = meter_connection(r->parts.meter, r->n);
	if (r->n > RELAY_CONNS_MAX)
		reason = "too many connections at a time";
	if (files_run_out(r)) {
		events_error(
			r->parts.events, "no descriptors are left for the agent's connections");
		conn_cut(c, "no descriptors are left");
	} else if (reason) {
		r->parts.stats->limited++;
		conn_cut(c, reason);
	}
}

struct relay *relay_new(const struct relay_parts *parts, int listener, struct err *err)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	int result;

	r->parts = *parts;
	r->owner = (struct conn_owner){.parts = &r->parts, .closed = on_closed};
	uv_tcp_init(parts->loop, &r->listener);
	uv_timer_init(parts->loop, &r->tick);
	r->listener.data = r->tick.data = r;
	result = uv_tcp_open(&r->listener, listener);
	if (result == 0)
		result = uv_listen((uv_stream_t *)&r->listener, 256, on_connection);
	if (result == 0)
		return r;
	err_set(err, result, "cannot serve connections: %s", uv_strerror(result));
	free(r);
	return NULL;
}

void relay_recheck(struct relay *r)
{
	for (struct conn *c = r->conns; c; c = *conn_next(c))
		conn_recheck(c);
}

void relay_cut(struct relay *r, const char *reason)
{
	for (struct conn *c = r->conns; c; c = *conn_next(c))
		conn_cut(c, reason);
}
