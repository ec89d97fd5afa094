/* The way to Chromium: each connection to GUEST_CDP_PORT becomes one to its DevTools port on
 * loopback. */
/*
 * Theory of operation. A pair of sockets; what is read from one is written to the other as it is.
 * While more than RELAY_QUEUE_HIGH bytes wait for one side, the other side is not read. The end of
 * one side's stream is passed on as a half-close; when both have ended, or one fails, the pair
 * goes.
 */
#include "relay.h"

#include <stdbool.h>
#include <stdlib.h>

#include "util.h"

#define BLOCK 65536

struct side {
	uv_tcp_t tcp;
	struct pair *pair;
	struct side *other;
	bool paused; /* not read because the other side is slow */
	bool ended;  /* its stream has ended */
};

struct pair {
	struct side client, browser;
	uv_connect_t connecting;
	bool closing;
	int open_handles;
};

struct block {
	uv_write_t req;
	char bytes[];
};

static unsigned n_pairs;

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	struct block *b = xmalloc(sizeof(*b) + BLOCK);

	*buf = uv_buf_init(b->bytes, BLOCK);
}

static void free_block(const uv_buf_t *buf)
{
	if (buf->base)
		free(CONTAINER_OF(buf->base, struct block, bytes));
}

static void on_closed(uv_handle_t *handle)
{
	struct side *s = handle->data;

	if (--s->pair->open_handles > 0)
		return;
	n_pairs--;
	free(s->pair);
}

static void pair_close(struct pair *p)
{
	if (p->closing)
		return;
	p->closing = true;
	uv_close((uv_handle_t *)&p->client.tcp, on_closed);
	uv_close((uv_handle_t *)&p->browser.tcp, on_closed);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_written(uv_write_t *req, int status)
{
	struct side *to = req->handle->data;

	free(CONTAINER_OF(req, struct block, req));
	if (to->pair->closing)
		return;
	if (status < 0) {
		pair_close(to->pair);
		return;
	}
	if (!to->other->paused || to->other->ended ||
		uv_stream_get_write_queue_size((uv_stream_t *)&to->tcp) > RELAY_QUEUE_LOW)
		return;
	to->other->paused = false;
	if (uv_read_start((uv_stream_t *)&to->other->tcp, on_alloc, on_read) < 0)
		pair_close(to->pair);
}

static void on_shut(uv_shutdown_t *req, int status)
{
	struct side *s = req->handle->data;

	free(req);
	if (status < 0 || (s->ended && s->other->ended))
		pair_close(s->pair);
}

/* A side's stream has ended: the other is told so once it has everything. */
static void pass_end(struct side *from)
{
	uv_shutdown_t *req = xmalloc(sizeof(*req));

	from->ended = true;
	uv_read_stop((uv_stream_t *)&from->tcp);
	if (uv_shutdown(req, (uv_stream_t *)&from->other->tcp, on_shut) < 0) {
		free(req);
		pair_close(from->pair);
	}
}

static void pass(struct side *from, const uv_buf_t *buf, size_t n)
{
	struct block *b = CONTAINER_OF(buf->base, struct block, bytes);
	uv_stream_t *to = (uv_stream_t *)&from->other->tcp;
	uv_buf_t out = uv_buf_init(b->bytes, (unsigned)n);

	if (uv_write(&b->req, to, &out, 1, on_written) < 0) {
		free(b);
		pair_close(from->pair);
	} else if (uv_stream_get_write_queue_size(to) > RELAY_QUEUE_HIGH) {
		from->paused = true;
		uv_read_stop((uv_stream_t *)&from->tcp);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct side *from = stream->data;

	if (n > 0) {
		pass(from, buf, (size_t)n);
		return;
	}
	free_block(buf);
	if (n == UV_EOF)
		pass_end(from);
	else if (n < 0)
		pair_close(from->pair);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct pair *p = CONTAINER_OF(req, struct pair, connecting);

	if (p->closing)
		return;
	if (status < 0 || uv_read_start((uv_stream_t *)&p->client.tcp, on_alloc, on_read) < 0 ||
		uv_read_start((uv_stream_t *)&p->browser.tcp, on_alloc, on_read) < 0)
		pair_close(p);
}

static void side_init(struct side *s, struct side *other, struct pair *p, uv_loop_t *loop)
{
	uv_tcp_init(loop, &s->tcp);
	s->tcp.data = s;
	s->pair = p;
	s->other = other;
	p->open_handles++;
}

void relay_accept(uv_stream_t *listener, uint16_t port, bool (*allowed)(int fd))
{
	struct pair *p = xcalloc(1, sizeof(*p));
	struct sockaddr_in to;
	uv_os_fd_t fd;

	n_pairs++;
	side_init(&p->client, &p->browser, p, listener->loop);
	side_init(&p->browser, &p->client, p, listener->loop);
	uv_ip4_addr("127.0.0.1", port, &to);
	if (uv_accept(listener, (uv_stream_t *)&p->client.tcp) < 0 ||
		uv_fileno((uv_handle_t *)&p->client.tcp, &fd) < 0 || !allowed(fd) ||
		uv_tcp_connect(&p->connecting, &p->browser.tcp, (struct sockaddr *)&to,
			on_connected) < 0) {
		pair_close(p);
		return;
	}
	uv_tcp_nodelay(&p->client.tcp, 1);
	uv_tcp_nodelay(&p->browser.tcp, 1);
	uv_tcp_keepalive(&p->client.tcp, 1, 60);
}

static void on_refused(uv_handle_t *handle)
{
	free(handle);
}

void relay_refuse(uv_stream_t *listener)
{
	uv_tcp_t *tcp = xmalloc(sizeof(*tcp));

	uv_tcp_init(listener->loop, tcp);
	(void)uv_accept(listener, (uv_stream_t *)tcp);
	uv_close((uv_handle_t *)tcp, on_refused);
}

unsigned relay_count(void)
{
	return n_pairs;
}
