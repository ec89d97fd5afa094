/* One HTTP request to a guest's browser: written whole, answered within bounds, read strictly. */
#include "upstream_http.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bytes.h"
#include "gateway.h"
#include "http.h"
#include "tie.h"
#include "util.h"

/* Lives from upstream_http_new until its two handles are closed; `fn` is NULL once it was called or
 * cancelled. */
struct upstream_http {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd, handles, status;
	upstream_http_fn *fn;
	void *data;
	struct tie tie;
	struct buf out, in;
	size_t head_len, body_len; /* head_len 0: the head is not whole yet */
};

static void handle_closed(uv_handle_t *h)
{
	struct upstream_http *r = h->data;

	if (--r->handles > 0)
		return;
	close(r->fd);
	buf_done(&r->in);
	buf_done(&r->out);
	free(r);
}

void upstream_http_cancel(struct upstream_http *r)
{
	if (!r || uv_is_closing((uv_handle_t *)&r->poll))
		return;
	r->fn = NULL;
	tie_close(&r->tie);
	uv_poll_stop(&r->poll);
	uv_close((uv_handle_t *)&r->poll, handle_closed);
	uv_close((uv_handle_t *)&r->timer, handle_closed);
}

static void finish(struct upstream_http *r, const struct err *err)
{
	upstream_http_fn *fn = r->fn;
	const char *body = buf_str(&r->in);

	if (!fn)
		return;
	upstream_http_cancel(r);
	if (err)
		fn(r->data, 0, NULL, 0, err);
	else
		fn(r->data, r->status, body + r->head_len, r->body_len, NULL);
}

static void fail(struct upstream_http *r, const char *why)
{
	struct err err;

	err_set(&err, -EIO, "the agent's browser: %s", why);
	err_type(&err, 503, "browser-unavailable");
	finish(r, &err);
}

/* Reads the head; false when it was wrong and the request has ended. */
static bool take_head(struct upstream_http *r)
{
	struct http_head h;
	int len = http_read_response((const char *)r->in.data, r->in.len, &h);
	long long body;

	if (len == 0 && r->in.len < HTTP_HEAD_MAX)
		return true;
	body = len > 0 ? http_content_length(&h) : -1;
	if (len <= 0 || body < 0 || body > UPSTREAM_BODY_MAX) {
		metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
		fail(r, "its answer is not HTTP of a bounded length");
		return false;
	}
	r->head_len = (size_t)len;
	r->body_len = (size_t)body;
	r->status = h.status;
	return true;
}

static void read_some(struct upstream_http *r)
{
	uint8_t chunk[16384];
	ssize_t n = recv(r->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n <= 0) {
		fail(r, "it closed the connection");
		return;
	}
	tie_heard(&r->tie);
	if (!buf_add(&r->in, chunk, (size_t)n)) {
		fail(r, "its answer is too long");
		return;
	}
	if (!r->head_len && !take_head(r))
		return;
	if (r->head_len && r->in.len >= r->head_len + r->body_len)
		finish(r, NULL);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct upstream_http *r = h->data;

	if (status < 0) {
		fail(r, "its connection broke");
		return;
	}
	if (r->out.len) {
		ssize_t n = send(r->fd, r->out.data, r->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			fail(r, "its connection broke");
			return;
		}
		buf_consume(&r->out, n > 0 ? (size_t)n : 0);
		if (!r->out.len)
			uv_poll_start(&r->poll, UV_READABLE, on_poll);
	}
	if (events & UV_READABLE)
		read_some(r);
}

static void on_timer(uv_timer_t *t)
{
	fail(t->data, "it did not answer in 10 s");
}

/* What is sent while it sleeps, the guest has after the wake: TCP repeats it. */
static void on_hold(void *data, bool hold)
{
	struct upstream_http *r = data;

	if (hold) {
		uv_timer_stop(&r->timer);
		tie_used(&r->tie);
	} else {
		uv_timer_start(&r->timer, on_timer, UPSTREAM_HTTP_MS, 0);
	}
}

static void on_gone(void *data, int code, const char *why)
{
	(void)code;
	fail(data, why);
}

void upstream_http_tie(
	struct upstream_http *r, struct gateway *gw, const char *agent, uint64_t generation)
{
	static const struct tie_owner owner = {.on_hold = on_hold, .on_gone = on_gone};

	tie_open(&r->tie, gw, agent, generation, r->fd, &owner, r);
	tie_used(&r->tie);
}

struct upstream_http *upstream_http_new(uv_loop_t *loop, int fd, const char *method,
	const char *target, upstream_http_fn *fn, void *data)
{
	struct upstream_http *r = xcalloc(1, sizeof(*r));

	r->fd = fd;
	r->fn = fn;
	r->data = data;
	r->handles = 2;
	buf_init(&r->in, HTTP_HEAD_MAX + UPSTREAM_BODY_MAX + 16384);
	buf_init(&r->out, HTTP_HEAD_MAX * 2);
	buf_addf(&r->out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:9222\r\nConnection: close\r\n\r\n",
		method, target);
	uv_poll_init(loop, &r->poll, fd);
	uv_timer_init(loop, &r->timer);
	r->poll.data = r->timer.data = r;
	uv_timer_start(&r->timer, on_timer, UPSTREAM_HTTP_MS, 0);
	uv_poll_start(&r->poll, UV_READABLE | UV_WRITABLE, on_poll);
	return r;
}
