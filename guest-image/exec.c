/* One command on one connection: started as a user, its streams carried both ways. */
/*
 * Theory of operation. States: waiting for GUEST_EXEC_START -> starting (until exec has succeeded)
 * -> running -> the command has ended and its output is drained -> done. Everything hangs on one
 * struct that is freed when its last handle is closed.
 *
 *   peer --STDIN--> input pipe   (over EXEC_STDIN_HIGH waiting: conn_pause)
 *   peer <--STDOUT, STDERR-- output pipes   (over CONN_QUEUE_HIGH waiting: they are not read)
 *
 * With a terminal there is one descriptor for both. A connection that closes takes the command's
 * process group along. A command that ended while something it left in the background still holds
 * its output is over EXEC_DRAIN_MS after the last byte.
 */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "child.h"
#include "note.h"
#include "user.h"
#include "util.h"

#define SELF_NAME "berth-init"

struct stream {
	uv_pipe_t pipe;
	struct exec *exec;
	enum guest_type type;
	bool open, reading;
};

struct exec {
	struct conn *conn; /* NULL once it has gone or was finished */
	uv_loop_t *loop;
	struct stream in, out, err, status;
	uv_timer_t drain;
	pid_t pid; /* 0 before the start and after the end */
	bool tty, asked, started, ended, done;
	int wait_status;
	uint32_t number; /* the pid, for GUEST_STARTED */
	int open_handles;
};

struct input {
	uv_write_t req;
	char bytes[];
};

static const char *etc_folder = "/etc";
static int self_fd = -1;
static unsigned n_execs;
static char read_block[EXEC_BLOCK];

void exec_init(const char *etc, int self)
{
	etc_folder = etc;
	self_fd = self;
}

unsigned exec_count(void)
{
	return n_execs;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct exec *e = handle->data;

	if (--e->open_handles > 0)
		return;
	n_execs--;
	free(e);
}

static void stream_close(struct stream *s)
{
	if (!s->open)
		return;
	s->open = s->reading = false;
	uv_close((uv_handle_t *)&s->pipe, on_handle_closed);
}

/* Lets go of everything; the memory follows when the loop has closed the handles. */
static void finish(struct exec *e)
{
	if (e->done)
		return;
	e->done = true;
	if (e->pid) {
		child_forget(e->pid);
		kill(-e->pid, SIGKILL);
		kill(e->pid, SIGKILL);
	}
	stream_close(&e->in);
	stream_close(&e->out);
	stream_close(&e->err);
	stream_close(&e->status);
	uv_close((uv_handle_t *)&e->drain, on_handle_closed);
	if (e->conn)
		conn_finish(e->conn);
	e->conn = NULL;
}

static void fail(struct exec *e, int code, const char *text)
{
	struct buf b;

	buf_init(&b, 1024);
	buf_add_u32(&b, (uint32_t)(code < 0 ? -code : code));
	buf_add_str(&b, text);
	conn_send(e->conn, GUEST_FAILED, b.data, b.len);
	buf_done(&b);
	finish(e);
}

static void send_exit(struct exec *e)
{
	struct buf b;
	int status = e->wait_status;

	buf_init(&b, 8);
	buf_add_u32(&b, WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0);
	buf_add_u32(&b, WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0);
	conn_send(e->conn, GUEST_EXIT, b.data, b.len);
	buf_done(&b);
	finish(e);
}

/* Looks whether everything has been said. */
static void settle(struct exec *e)
{
	if (!e->done && e->ended && e->started && !e->out.open && !e->err.open)
		send_exit(e);
}

static void on_drain_over(uv_timer_t *timer)
{
	struct exec *e = timer->data;

	/* Output that waits for a slow peer is not the end of the output. */
	if ((e->out.open && !e->out.reading) || (e->err.open && !e->err.reading))
		return;
	stream_close(&e->out);
	stream_close(&e->err);
	settle(e);
}

static void start_drain(struct exec *e)
{
	if (e->ended && !e->done)
		uv_timer_start(&e->drain, on_drain_over, EXEC_DRAIN_MS, EXEC_DRAIN_MS);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	*buf = uv_buf_init(read_block, sizeof(read_block));
}

static void stream_pause(struct stream *s)
{
	if (s->open && s->reading)
		uv_read_stop((uv_stream_t *)&s->pipe);
	s->reading = false;
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = CONTAINER_OF(stream, struct stream, pipe);
	struct exec *e = s->exec;

	if (e->done || n == 0)
		return;
	if (n < 0) { /* a terminal's end is EIO */
		stream_close(s);
		settle(e);
		return;
	}
	start_drain(e);
	if (!conn_send(e->conn, s->type, buf->base, (size_t)n))
		return;
	if (conn_queued(e->conn) > CONN_QUEUE_HIGH) {
		stream_pause(&e->out);
		stream_pause(&e->err);
	}
}

static void stream_read(struct stream *s)
{
	if (!s->open || s->reading)
		return;
	s->reading = uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_output) == 0;
	if (!s->reading)
		stream_close(s);
}

static void on_child_ended(void *data, int status)
{
	struct exec *e = data;

	e->pid = 0;
	e->ended = true;
	e->wait_status = status;
	stream_close(&e->in);
	start_drain(e);
	settle(e);
}

static void on_status(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct exec *e = stream->data;
	uint8_t pid[4];
	int code;

	if (e->done || n == 0)
		return;
	if (n == (ssize_t)sizeof(code)) {
		memcpy(&code, buf->base, sizeof(code));
		fail(e, code, strerror(code));
		return;
	}
	stream_close(&e->status);
	e->started = true;
	for (int i = 0; i < 4; i++)
		pid[i] = (uint8_t)(e->number >> (8 * i));
	conn_send(e->conn, GUEST_STARTED, pid, sizeof(pid));
	stream_read(&e->out);
	stream_read(&e->err);
	settle(e);
}

/* Takes fd over. */
static void stream_open(struct stream *s, struct exec *e, enum guest_type type, int fd)
{
	s->exec = e;
	s->type = type;
	uv_pipe_init(e->loop, &s->pipe, 0);
	s->pipe.data = e;
	s->open = true;
	e->open_handles++;
	if (uv_pipe_open(&s->pipe, fd) < 0) {
		close(fd);
		stream_close(s);
	}
}

struct ends {
	int in, out, err; /* the command's */
	int to, from,
		from_err; /* ours; with a terminal `from` is its master and the others are -1 */
};

static void ends_done(struct ends *p)
{
	int *const fds[] = {&p->in, &p->out, &p->err, &p->to, &p->from, &p->from_err};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
}

static int open_pipes(struct ends *p)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	p->in = fds[0];
	p->to = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	p->from = fds[0];
	p->out = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	p->from_err = fds[0];
	p->err = fds[1];
	return 0;
}

static void set_size(int fd, uint16_t rows, uint16_t columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};

	if (rows && columns)
		(void)ioctl(fd, TIOCSWINSZ, &size);
}

static int open_terminal(struct ends *p, const struct guest_exec *x, const struct user *u)
{
	char name[64];

	p->from = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->from < 0 || grantpt(p->from) < 0 || unlockpt(p->from) < 0)
		return -errno;
	if (ptsname_r(p->from, name, sizeof(name)) != 0)
		return -errno;
	p->in = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->in < 0 || fchown(p->in, u->uid, (gid_t)-1) < 0)
		return -errno;
	set_size(p->in, x->rows, x->columns);
	p->out = fcntl(p->in, F_DUPFD_CLOEXEC, 0);
	p->err = fcntl(p->in, F_DUPFD_CLOEXEC, 0);
	return p->out < 0 || p->err < 0 ? -errno : 0;
}

static bool given(const struct guest_exec *x, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < x->envc; i++)
		if (strncmp(x->env[i], name, n) == 0 && x->env[i][n] == '=')
			return true;
	return false;
}

/* The environment: what is asked for over what every command has. Both lists are the caller's to
 * free. */
struct environment {
	char *ours[8];
	const char *list[GUEST_ARGS_MAX + 9];
};

static void environment_init(
	struct environment *env, const struct guest_exec *x, const struct user *u, bool tty)
{
	const char *const defaults[][2] = {{"HOME", u->home}, {"USER", u->name},
		{"LOGNAME", u->name}, {"SHELL", *u->shell ? u->shell : "/bin/sh"},
		{"LANG", "C.UTF-8"},
		{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		{"TERM", tty ? "xterm-256color" : "dumb"}};
	size_t n = 0;

	*env = (struct environment){0};
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (!given(x, defaults[i][0]))
			env->list[n++] = env->ours[i] =
				xasprintf("%s=%s", defaults[i][0], defaults[i][1]);
	for (size_t i = 0; i < x->envc; i++)
		env->list[n++] = x->env[i];
}

static void environment_done(struct environment *env)
{
	for (size_t i = 0; i < ARRAY_SIZE(env->ours); i++)
		free(env->ours[i]);
}

static void attach(struct exec *e, struct ends *p)
{
	if (p->to >= 0)
		stream_open(&e->in, e, GUEST_STDIN, steal_fd(&p->to));
	stream_open(&e->out, e, GUEST_STDOUT, steal_fd(&p->from));
	if (p->from_err >= 0)
		stream_open(&e->err, e, GUEST_STDERR, steal_fd(&p->from_err));
}

static void launch(struct exec *e, const struct guest_exec *x, const struct user *u, struct ends *p)
{
	bool self = self_fd >= 0 && streq(x->argv[0], SELF_NAME);
	struct environment env;
	struct err err;
	int status;

	environment_init(&env, x, u, e->tty);
	e->pid = child_start(&(struct child_spec){.user = u,
				     .cwd = *x->cwd ? x->cwd : NULL,
				     .argv = x->argv,
				     .env = env.list,
				     .in = p->in,
				     .out = p->out,
				     .err = p->err,
				     .tty = e->tty,
				     .self = self ? self_fd : -1},
		&status, &err);
	environment_done(&env);
	if (e->pid < 0) {
		e->pid = 0;
		fail(e, err.code, err.msg);
		return;
	}
	e->number = (uint32_t)e->pid;
	attach(e, p);
	stream_open(&e->status, e, 0, status);
	if (child_watch(e->pid, on_child_ended, e) < 0)
		fail(e, EAGAIN, "too many processes are watched");
	else if (uv_read_start((uv_stream_t *)&e->status.pipe, on_alloc, on_status) < 0)
		fail(e, EIO, "cannot watch the start");
}

static bool start(struct exec *e, const uint8_t *p, size_t n)
{
	struct ends ends = {-1, -1, -1, -1, -1, -1};
	struct guest_exec x;
	struct user u;
	struct err err;
	int r;

	if (e->asked || !guest_get_exec(p, n, &x) || !*x.argv[0])
		return false;
	e->asked = true;
	e->tty = x.flags & GUEST_EXEC_TTY;
	if (user_find(etc_folder, *x.user ? x.user : "agent", &u, &err) < 0) {
		fail(e, err.code, err.msg);
		return true;
	}
	r = e->tty ? open_terminal(&ends, &x, &u) : open_pipes(&ends);
	if (r < 0)
		fail(e, r, "cannot open the command's streams");
	else
		launch(e, &x, &u, &ends);
	ends_done(&ends);
	return true;
}

static struct stream *input_of(struct exec *e)
{
	return e->tty ? &e->out : &e->in;
}

static void on_input_written(uv_write_t *req, int status)
{
	uv_stream_t *stream = req->handle;
	struct exec *e = stream->data;

	free(CONTAINER_OF(req, struct input, req));
	if (e->done)
		return;
	if (status < 0 && !e->tty)
		stream_close(&e->in); /* it does not read any more: the rest is dropped */
	if (status < 0 || uv_stream_get_write_queue_size(stream) <= EXEC_STDIN_LOW)
		conn_resume(e->conn);
}

static void on_input_end(uv_shutdown_t *req, int status)
{
	struct exec *e = req->handle->data;

	free(req);
	if (!e->done)
		stream_close(&e->in);
}

static void end_input(struct exec *e)
{
	uv_shutdown_t *req;

	if (!e->in.open)
		return;
	req = xmalloc(sizeof(*req));
	if (uv_shutdown(req, (uv_stream_t *)&e->in.pipe, on_input_end) < 0) {
		free(req);
		stream_close(&e->in);
	}
}

static void feed(struct exec *e, const void *p, size_t n)
{
	struct stream *s = input_of(e);
	struct input *in;
	uv_buf_t buf;

	if (!s->open)
		return;
	in = xmalloc(sizeof(*in) + n);
	memcpy(in->bytes, p, n);
	buf = uv_buf_init(in->bytes, (unsigned)n);
	if (uv_write(&in->req, (uv_stream_t *)&s->pipe, &buf, 1, on_input_written) < 0)
		free(in);
	else if (uv_stream_get_write_queue_size((uv_stream_t *)&s->pipe) > EXEC_STDIN_HIGH)
		conn_pause(e->conn);
}

static bool take_signal(struct exec *e, const uint8_t *p, size_t n)
{
	struct reader r = reader_of(p, n);
	uint32_t number = read_u32(&r);

	if (r.bad || r.pos != n || number < 1 || number >= NSIG)
		return false;
	if (e->pid)
		kill(-e->pid, (int)number);
	return true;
}

static bool take_size(struct exec *e, const uint8_t *p, size_t n)
{
	struct reader r = reader_of(p, n);
	uint16_t rows = read_u16(&r), columns = read_u16(&r);
	uv_os_fd_t fd;

	if (r.bad || r.pos != n)
		return false;
	if (e->tty && e->out.open && uv_fileno((uv_handle_t *)&e->out.pipe, &fd) == 0)
		set_size(fd, rows, columns);
	return true;
}

static bool on_frame(void *data, uint8_t type, const uint8_t *p, size_t n)
{
	struct exec *e = data;

	if (type == GUEST_EXEC_START)
		return start(e, p, n);
	if (!e->asked)
		return false;
	switch (type) {
	case GUEST_STDIN:
		if (n > 0)
			feed(e, p, n);
		else if (e->tty)
			feed(e, "\4", 1); /* what a person types for the end of the input */
		else
			end_input(e);
		return true;
	case GUEST_SIGNAL:
		return take_signal(e, p, n);
	case GUEST_WINSIZE:
		return take_size(e, p, n);
	default:
		return false;
	}
}

static void on_drained(void *data)
{
	struct exec *e = data;

	if (!e->started)
		return;
	stream_read(&e->out);
	stream_read(&e->err);
}

static void on_conn_closed(void *data)
{
	struct exec *e = data;

	e->conn = NULL;
	finish(e);
}

static const struct conn_handlers handlers = {
	.frame = on_frame, .drained = on_drained, .closed = on_conn_closed};

void exec_new(uv_loop_t *loop, struct conn *conn)
{
	struct exec *e = xcalloc(1, sizeof(*e));

	n_execs++;
	e->conn = conn;
	e->loop = loop;
	uv_timer_init(loop, &e->drain);
	e->drain.data = e;
	e->open_handles = 1;
	conn_own(conn, &handlers, e);
}
