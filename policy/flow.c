/* One direction of a relayed connection: a bounded buffer between two streams. */
#include "flow.h"
#include "util.h"

#include <string.h>

static void on_turn(struct pacer *p)
{
	struct flow *f = CONTAINER_OF(p, struct flow, pacer);

	if (flow_start(f) < 0)
		f->failed(f);
}

void flow_init(struct flow *f, size_t size, uv_stream_t *from, struct pace *pace)
{
	*f = (struct flow){.size = size, .from = from};
	pacer_init(&f->pacer, pace, on_turn);
	f->data = xmalloc(size);
	f->write.data = f;
	f->shutdown.data = f;
}

void flow_end(struct flow *f)
{
	pacer_leave(&f->pacer);
}

void flow_done(struct flow *f)
{
	free(f->data);
	f->data = NULL;
}

bool flow_finished(const struct flow *f)
{
	return f->shut;
}

static struct flow *flow_of(uv_stream_t *stream)
{
	return stream->data;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	struct flow *f = flow_of((uv_stream_t *)handle);

	/* Nothing makes libuv say UV_ENOBUFS. */
	*ret = uv_buf_init(
		(char *)f->data + f->len, (unsigned)MIN(f->size - f->len, pacer_room(&f->pacer)));
}

static void stop_reading(struct flow *f)
{
	uv_read_stop(f->from);
	f->reading = false;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct flow *f = flow_of(stream);

	if (n == 0)
		return;
	if (n == UV_ENOBUFS) {
		stop_reading(f);
		pacer_wait(&f->pacer);
		return;
	}
	if (n < 0) {
		stop_reading(f);
		f->eof = n == UV_EOF;
		if (!f->eof) {
			f->failed(f);
			return;
		}
	} else {
		f->len += (size_t)n;
		pacer_took(&f->pacer, (size_t)n);
	}
	if (f->len == f->size && f->reading)
		stop_reading(f);
	f->moved(f);
	f->arrived(f);
}

int flow_start(struct flow *f)
{
	int r = 0;

	if (f->reading || f->eof || f->len == f->size)
		return 0;
	if (pacer_room(&f->pacer) == 0) {
		pacer_wait(&f->pacer);
		return 0;
	}
	r = uv_read_start(f->from, on_alloc, on_read);
	f->reading = r == 0;
	return r;
}

static void consume(struct flow *f, size_t n)
{
	f->total += n;
	pacer_passed(&f->pacer, n);
	f->len -= n;
	f->pass -= n;
	if (f->len > 0)
		memmove(f->data, f->data + n, f->len);
}

static void on_written(uv_write_t *req, int status)
{
	struct flow *f = req->data;

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		f->failed(f);
		return;
	}
	consume(f, f->writing);
	f->writing = 0;
	f->moved(f);
	f->arrived(f);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct flow *f = req->data;

	if (status == UV_ECANCELED)
		return;
	f->shut = true;
	f->moved(f);
}

static int write_rest(struct flow *f)
{
	uv_buf_t buf = uv_buf_init((char *)f->data, (unsigned)f->pass);
	int n = uv_try_write(f->to, &buf, 1);

	if (n < 0 && n != UV_EAGAIN)
		return n;
	if (n > 0)
		consume(f, (size_t)n);
	if (f->pass == 0)
		return 0;
	buf = uv_buf_init((char *)f->data, (unsigned)f->pass);
	f->writing = f->pass;
	return uv_write(&f->write, f->to, &buf, 1, on_written);
}

void flow_push(struct flow *f)
{
	int r = 0;

	if (f->to && !f->writing && f->pass > 0)
		r = write_rest(f);
	if (r == 0)
		r = flow_start(f);
	if (r == 0 && f->to && f->eof && f->len == 0 && !f->shutdown.handle)
		r = uv_shutdown(&f->shutdown, f->to, on_shutdown);
	if (r < 0)
		f->failed(f);
}
