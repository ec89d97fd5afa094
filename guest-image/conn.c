/* One connection of the guest channel: the greeting, then whole frames both ways, with
 * back-pressure. */
/*
 * Theory of operation. Bytes are collected in one buffer that holds at most one frame of the
 * largest size; whole frames are handed to the owner one after the other, until it pauses. States:
 * greeting (8 bytes, a deadline) -> owned -> closing. Everything the owner calls only marks and
 * starts uv_close; the memory goes in the close callback, so any of the calls is safe inside a
 * handler.
 *
 *   peer --> in[] --frames--> owner --conn_send--> libuv's write queue --> peer
 *             ^ conn_pause                           ^ conn_queued
 */
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

#define PEER_CHECK_MS 2000
#define FINISH_MS 60000 /* for a slow peer to take what is queued at the end … */
#define LINGER_MS 5000  /* … and then to close */

struct conn {
	uv_tcp_t tcp;
	uv_timer_t timer; /* the greeting's deadline; later: is the peer of a paused connection
			     still there */
	uint8_t in[GUEST_HEADER_LEN + GUEST_FRAME_MAX];
	size_t n_in;
	bool greeted, paused, parsing, closing, finishing;
	int open_handles;
	conn_hello_fn *hello;
	void (*freed)(void *data);
	void *server;
	const struct conn_handlers *handlers;
	void *owner;
};

struct sending {
	uv_write_t req;
	uint8_t bytes[];
};

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (--c->open_handles > 0)
		return;
	if (c->freed)
		c->freed(c->server);
	free(c);
}

void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	c->handlers = NULL;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

/* The connection ends by itself: its owner hears of it. */
static void end(struct conn *c)
{
	const struct conn_handlers *handlers = c->handlers;

	if (c->closing)
		return;
	conn_close(c);
	if (handlers)
		handlers->closed(c->owner);
}

void conn_peer(const struct conn *c, char out[16])
{
	struct sockaddr_in in;
	int n = sizeof(in);

	out[0] = 0;
	if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&in, &n) == 0 &&
		in.sin_family == AF_INET)
		inet_ntop(AF_INET, &in.sin_addr, out, 16);
}

void conn_own(struct conn *c, const struct conn_handlers *handlers, void *data)
{
	c->handlers = handlers;
	c->owner = data;
}

size_t conn_queued(const struct conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

static void on_too_late(uv_timer_t *timer)
{
	conn_close(timer->data);
}

static void on_finished(uv_shutdown_t *req, int status)
{
	struct conn *c = req->handle->data;

	free(req);
	if (status < 0)
		conn_close(c);
	else if (!c->closing)
		uv_timer_start(&c->timer, on_too_late, LINGER_MS, 0);
}

static void on_sent(uv_write_t *req, int status)
{
	struct conn *c = req->handle->data;

	free(CONTAINER_OF(req, struct sending, req));
	if (c->closing)
		return;
	if (status < 0)
		end(c);
	else if (c->handlers && c->handlers->drained && conn_queued(c) <= CONN_QUEUE_LOW)
		c->handlers->drained(c->owner);
}

static bool write_bytes(struct conn *c, const void *a, size_t na, const void *b, size_t nb)
{
	struct sending *s;
	uv_buf_t buf;

	if (c->closing || c->finishing || conn_queued(c) > CONN_QUEUE_MAX)
		return false;
	s = xmalloc(sizeof(*s) + na + nb);
	memcpy(s->bytes, a, na);
	if (nb)
		memcpy(s->bytes + na, b, nb);
	buf = uv_buf_init((char *)s->bytes, (unsigned)(na + nb));
	if (uv_write(&s->req, (uv_stream_t *)&c->tcp, &buf, 1, on_sent) == 0)
		return true;
	free(s);
	return false;
}

bool conn_send(struct conn *c, enum guest_type type, const void *p, size_t n)
{
	uint8_t head[GUEST_HEADER_LEN];
	uv_os_fd_t fd;

	if (n > GUEST_FRAME_MAX)
		return false;
	guest_put_header(head, type, (uint32_t)n);
	if (write_bytes(c, head, sizeof(head), p, n))
		return true;
	/* Not now: the caller may be in the middle of something. The read side ends it. */
	if (!c->closing && !c->finishing && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
		shutdown(fd, SHUT_RDWR);
	return false;
}

/* The 8 bytes at the start. Their length, 0 if not whole yet, or -1. */
static int greet(struct conn *c)
{
	uint8_t version, kind, out[GUEST_HELLO_LEN];
	enum guest_status status = GUEST_BAD_VERSION;

	if (c->n_in < GUEST_HELLO_LEN)
		return 0;
	if (!guest_get_hello(c->in, &version, &kind))
		return -1;
	c->greeted = true;
	uv_timer_stop(&c->timer);
	if (version == GUEST_VERSION)
		status = c->hello(c->server, c, kind);
	guest_put_hello(out, (uint8_t)status);
	write_bytes(c, out, sizeof(out), NULL, 0);
	if (status != GUEST_OK)
		conn_finish(c);
	return GUEST_HELLO_LEN;
}

/* One frame at `at`. Its length, 0 if not whole yet, or -1. */
static int take_frame(struct conn *c, size_t at)
{
	uint8_t type;
	uint32_t len;

	if (c->n_in - at < GUEST_HEADER_LEN)
		return 0;
	if (!guest_get_header(c->in + at, &type, &len))
		return -1;
	if (c->n_in - at - GUEST_HEADER_LEN < len)
		return 0;
	if (c->handlers && !c->handlers->frame(c->owner, type, c->in + at + GUEST_HEADER_LEN, len))
		return -1;
	return (int)(GUEST_HEADER_LEN + len);
}

static void parse(struct conn *c)
{
	size_t at = 0;
	int n = 1;

	if (c->parsing)
		return;
	c->parsing = true;
	while (n > 0 && !c->closing && !c->finishing && !c->paused) {
		n = c->greeted ? take_frame(c, at) : greet(c);
		if (n > 0)
			at += (size_t)n;
	}
	c->parsing = false;
	if (c->finishing)
		at = c->n_in;
	memmove(c->in, c->in + at, c->n_in - at);
	c->n_in -= at;
	if (n < 0)
		end(c);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	struct conn *c = handle->data;

	*buf = uv_buf_init((char *)c->in + c->n_in, (unsigned)(sizeof(c->in) - c->n_in));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (n < 0) {
		end(c);
		return;
	}
	c->n_in += (size_t)n;
	if (c->finishing)
		c->n_in = 0;
	else
		parse(c);
}

/*
 * What the peer still sends is read and dropped until it closes: a socket closed with unread bytes
 * is reset, and the peer would lose the last frames.
 */
void conn_finish(struct conn *c)
{
	uv_shutdown_t *req;

	if (c->closing || c->finishing)
		return;
	c->finishing = true;
	c->handlers = NULL;
	uv_timer_start(&c->timer, on_too_late, FINISH_MS, 0);
	req = xmalloc(sizeof(*req));
	if (uv_shutdown(req, (uv_stream_t *)&c->tcp, on_finished) < 0) {
		free(req);
		conn_close(c);
	} else if (c->paused && uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0) {
		conn_close(c);
	}
}

/* A paused connection is not read and would not see its peer go: ask the kernel. */
static void on_peer_check(uv_timer_t *timer)
{
	struct conn *c = timer->data;
	struct tcp_info info;
	socklen_t n = sizeof(info);
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0 &&
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
		info.tcpi_state != TCP_ESTABLISHED)
		end(c);
}

void conn_pause(struct conn *c)
{
	if (c->paused || c->closing || c->finishing)
		return;
	c->paused = true;
	uv_read_stop((uv_stream_t *)&c->tcp);
	uv_timer_start(&c->timer, on_peer_check, PEER_CHECK_MS, PEER_CHECK_MS);
}

void conn_resume(struct conn *c)
{
	if (!c->paused || c->closing || c->finishing)
		return;
	c->paused = false;
	uv_timer_stop(&c->timer);
	parse(c);
	if (!c->paused && !c->closing && !c->finishing &&
		uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		end(c);
}

static void on_hello_late(uv_timer_t *timer)
{
	end(timer->data);
}

struct conn *conn_accept(
	uv_stream_t *listener, conn_hello_fn *hello, void (*freed)(void *data), void *data)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->hello = hello;
	c->server = data;
	c->tcp.data = c->timer.data = c;
	c->open_handles = 2;
	uv_timer_init(listener->loop, &c->timer);
	uv_tcp_init(listener->loop, &c->tcp);
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 ||
		uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0) {
		conn_close(c);
		return NULL;
	}
	c->freed = freed;
	uv_tcp_nodelay(&c->tcp, 1);
	uv_tcp_keepalive(&c->tcp, 1, 30);
	uv_timer_start(&c->timer, on_hello_late, CONN_HELLO_MS, 0);
	return c;
}
