/* Asks once whether Chromium answers on its DevTools port. */
#include "probe.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

struct probe {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connecting;
	uv_write_t writing;
	probe_fn *fn; /* NULL once called */
	void *data;
	int open_handles;
	char answer[64];
};

static void on_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;

	if (--p->open_handles == 0)
		free(p);
}

static void end(struct probe *p, bool answers)
{
	probe_fn *fn = p->fn;

	if (!fn)
		return;
	p->fn = NULL;
	uv_close((uv_handle_t *)&p->tcp, on_closed);
	uv_close((uv_handle_t *)&p->timer, on_closed);
	fn(p->data, answers);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	struct probe *p = handle->data;

	*buf = uv_buf_init(p->answer, sizeof(p->answer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n != 0)
		end(stream->data, n >= 12 && memcmp(buf->base, "HTTP/1.1 200", 12) == 0);
}

static void on_written(uv_write_t *req, int status)
{
	if (status < 0)
		end(req->handle->data, false);
}

static void on_connected(uv_connect_t *req, int status)
{
	static char text[] = "GET /json/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);
	struct probe *p = req->handle->data;

	if (!p->fn)
		return;
	if (status < 0 || uv_write(&p->writing, req->handle, &buf, 1, on_written) < 0 ||
		uv_read_start(req->handle, on_alloc, on_read) < 0)
		end(p, false);
}

static void on_late(uv_timer_t *timer)
{
	end(timer->data, false);
}

void probe(uv_loop_t *loop, uint16_t port, probe_fn *fn, void *data)
{
	struct probe *p = xcalloc(1, sizeof(*p));
	struct sockaddr_in to;

	p->fn = fn;
	p->data = data;
	p->open_handles = 2;
	p->tcp.data = p->timer.data = p;
	uv_tcp_init(loop, &p->tcp);
	uv_timer_init(loop, &p->timer);
	uv_ip4_addr("127.0.0.1", port, &to);
	uv_timer_start(&p->timer, on_late, PROBE_MS, 0);
	if (uv_tcp_connect(&p->connecting, &p->tcp, (struct sockaddr *)&to, on_connected) < 0)
		uv_timer_start(&p->timer, on_late, 0, 0);
}
