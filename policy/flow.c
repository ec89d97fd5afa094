/* One direction of a relayed connection: a bounded buffer between two streams. */
#include "flow.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PIPE_SIZE (1 << 20)
#define PIPE_LEAST 65536 /* with less, copies are quicker: its user has many pipes */
#define PULLS_MAX 16     /* from one connection, before the others have their turn */
#define NUDGE_SIZE 4096  /* what is written by way of libuv, to hear when there is room again */

static unsigned pipes;

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
	f->pipe[0] = f->pipe[1] = -1;
	f->write.data = f;
	f->shutdown.data = f;
}

void flow_end(struct flow *f)
{
	f->ended = true;
	pacer_leave(&f->pacer);
}

static void end_pipe(struct flow *f)
{
	close(f->pipe[0]);
	close(f->pipe[1]);
	f->pipe[0] = -1;
	pipes--;
}

void flow_done(struct flow *f)
{
	if (f->pipe[0] >= 0)
		end_pipe(f);
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

/* From here on it goes through a pipe. */
static bool splices(struct flow *f)
{
	if (f->pipe[0] >= 0)
		return true;
	if (!f->through || f->total < FLOW_SPLICE_FROM || f->len > 0 || f->writing ||
		pipes == FLOW_PIPES_MAX || pipe2(f->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	pipes++;
	if (fcntl(f->pipe[1], F_SETPIPE_SZ, PIPE_SIZE) < 0 &&
		fcntl(f->pipe[1], F_GETPIPE_SZ) < PIPE_LEAST) {
		end_pipe(f);
		f->through = false;
	}
	return f->through;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
	struct flow *f = flow_of((uv_stream_t *)handle);

	/* Nothing makes libuv say UV_ENOBUFS: on_read then reads by itself, or waits. */
	if (splices(f))
		*ret = uv_buf_init(NULL, 0);
	else
		*ret = uv_buf_init((char *)f->data + f->len,
			(unsigned)MIN(f->size - f->len, pacer_room(&f->pacer)));
}

static void stop_reading(struct flow *f)
{
	uv_read_stop(f->from);
	f->reading = false;
}

static int fd_of(const uv_stream_t *stream)
{
	uv_os_fd_t fd = -1;

	return uv_fileno((const uv_handle_t *)stream, &fd) < 0 ? -1 : fd;
}

/* Fills the pipe; false when the socket has no more, or reading has stopped. */
static bool pull(struct flow *f)
{
	size_t room = MIN((size_t)PIPE_SIZE, pacer_room(&f->pacer));
	ssize_t n;

	if (room == 0) {
		stop_reading(f);
		pacer_wait(&f->pacer);
		return false;
	}
	n = splice(fd_of(f->from), NULL, f->pipe[1], NULL, room, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		stop_reading(f);
	if (n < 0) {
		f->failed(f);
		return false;
	}
	f->eof = n == 0;
	f->piped += (size_t)n;
	pacer_took(&f->pacer, (size_t)n);
	f->moved(f);
	f->arrived(f);
	return f->reading && !f->ended;
}

static void pull_all(struct flow *f)
{
	for (int i = 0; i < PULLS_MAX && pull(f); i++)
		;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct flow *f = flow_of(stream);

	if (n == 0)
		return;
	if (n == UV_ENOBUFS && f->pipe[0] >= 0) {
		pull_all(f);
		return;
	}
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
	/* Then the pipe would fill, and go on all at once. */
	bool nudging = f->pipe[0] >= 0 && f->writing;
	int r = 0;

	if (f->reading || f->eof || f->len == f->size || f->piped > 0 || nudging)
		return 0;
	if (pacer_room(&f->pacer) == 0) {
		pacer_wait(&f->pacer);
		return 0;
	}
	r = uv_read_start(f->from, on_alloc, on_read);
	f->reading = r == 0;
	return r;
}

static void passed(struct flow *f, size_t n)
{
	f->total += n;
	pacer_passed(&f->pacer, n);
}

static void consume(struct flow *f, size_t n)
{
	passed(f, n);
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

/* The receiver has no room: reading waits, and a little of it is written by libuv, which tells when
 * there is some again. */
static int nudge(struct flow *f)
{
	ssize_t n;

	if (f->reading)
		stop_reading(f);
	n = read(f->pipe[0], f->data, MIN(f->piped, (size_t)NUDGE_SIZE));
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	f->piped -= (size_t)n;
	f->len = f->pass = (size_t)n;
	return write_rest(f);
}

static int write_piped(struct flow *f)
{
	int r = 0;

	while (r == 0 && f->piped > 0 && !f->writing) {
		ssize_t n = splice(f->pipe[0], NULL, fd_of(f->to), NULL, f->piped,
			SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n > 0) {
			f->piped -= (size_t)n;
			passed(f, (size_t)n);
		} else {
			r = n < 0 && errno == EAGAIN ? nudge(f) : n < 0 ? -errno : -EIO;
		}
	}
	return r;
}

void flow_push(struct flow *f)
{
	int r = 0;

	if (f->to && !f->writing && f->pass > 0)
		r = write_rest(f);
	if (r == 0 && f->to)
		r = write_piped(f);
	if (r == 0)
		r = flow_start(f);
	if (r == 0 && f->to && f->eof && f->len == 0 && f->piped == 0 && !f->shutdown.handle)
		r = uv_shutdown(&f->shutdown, f->to, on_shutdown);
	if (r < 0)
		f->failed(f);
}
