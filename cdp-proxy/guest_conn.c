/* One command in a guest. */
#include "guest_conn.h"
#include "outq.h"
#include "problem.h"
#include "tie.h"
#include "util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Theory of operation. States: waiting for berthd's socket -> hello -> starting -> running ->
 * ended. What may be sent before the socket is there (the start frame, stdin) waits in `out`.
 * Frames from the guest are read into one buffer of a frame's maximal size, so that a guest can
 * make us hold no more than that; the owner's own limits stop reading (pause), and TCP stops the
 * guest.
 *
 * Everything that breaks a rule (a type that does not belong here, a wrong length, output before
 * STARTED, an end without EXIT, silence at the start) ends the run with `guest-failed` 502 and a
 * counter.
 */
#define START_MS 30000
#define IN_MAX (GUEST_HEADER_LEN + GUEST_FRAME_MAX)

enum state { RUN_CONNECTING, RUN_HELLO, RUN_STARTING, RUN_RUNNING, RUN_ENDED };

/* The owner's until guest_run_free; freed when both handles are closed. */
struct guest_run {
	struct gateway *gw;
	const struct guest_run_owner *owner; /* NULL after the end or guest_run_free */
	void *data;
	char agent[64];
	enum state state;
	int fd, handles;
	bool high, paused, kick, freed, hurries;
	struct tie tie;
	uv_poll_t poll;
	uv_timer_t timer;
	struct daemon_request *request;
	struct outq out;
	uint8_t *in;
	size_t in_len, in_used;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void update(struct guest_run *r)
{
	int events = r->paused ? 0 : UV_READABLE;

	if (r->fd < 0)
		return;
	if ((r->out.first && !tie_held(&r->tie)) || r->kick)
		events |= UV_WRITABLE;
	if (events)
		uv_poll_start(&r->poll, events, on_poll);
	else
		uv_poll_stop(&r->poll);
}

static void on_closed(uv_handle_t *handle)
{
	struct guest_run *r = handle->data;

	if (--r->handles > 0 || !r->freed)
		return;
	outq_done(&r->out);
	free(r->in);
	free(r);
}

static void disconnect(struct guest_run *r)
{
	if (r->fd < 0)
		return;
	tie_close(&r->tie);
	uv_poll_stop(&r->poll);
	uv_close((uv_handle_t *)&r->poll, on_closed);
	close(steal_fd(&r->fd));
}

static void end(struct guest_run *r, const struct guest_end *how)
{
	const struct guest_run_owner *owner = r->owner;

	if (r->state == RUN_ENDED)
		return;
	r->state = RUN_ENDED;
	r->owner = NULL;
	uv_timer_stop(&r->timer);
	disconnect(r);
	if (owner)
		owner->on_end(r->data, how);
}

static void lied(struct guest_run *r, const char *what)
{
	struct err err;

	metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	problem(&err, 502, "guest-failed", "the guest of agent %s broke the channel's rules: %s",
		r->agent, what);
	end(r, &(struct guest_end){.err = &err});
}

static void lost(struct guest_run *r, const char *how)
{
	struct err err;

	problem(&err, 502, "guest-failed", "%s before the command in agent %s ended", how,
		r->agent);
	end(r, &(struct guest_end){.err = &err});
}

/* ---- Frames from the guest ---- */

/* u32 errno, text. The text is the guest's: shown as one line, cut to size. */
static void take_failed(struct guest_run *r, const uint8_t *p, size_t n)
{
	struct reader in = reader_of(p, n);
	uint32_t code = read_u32(&in);
	char text[200];
	size_t len = MIN(reader_left(&in), sizeof(text) - 1);
	struct err err;

	if (in.bad || code == 0 || code > 4095) {
		lied(r, "FAILED without a reason");
		return;
	}
	memcpy(text, p + 4, len);
	text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		text[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	/* The guest's text often is the error's own, or ends with it. */
	if (len > 0 && strstr(text, strerror((int)code)))
		problem(&err, 422, "exec-failed", "the command could not be started: %s", text);
	else
		problem(&err, 422, "exec-failed", "the command could not be started: %s%s%s",
			strerror((int)code), len ? ": " : "", text);
	end(r, &(struct guest_end){.err = &err});
}

static void take_exit(struct guest_run *r, const uint8_t *p, size_t n)
{
	struct reader in = reader_of(p, n);
	struct guest_end how = {.exit_status = read_u32(&in)};

	how.signal = read_u32(&in);
	if (in.bad || in.pos != n || how.exit_status > 255 || how.signal > 127)
		lied(r, "a malformed EXIT");
	else
		end(r, &how);
}

static void take_running(struct guest_run *r, uint8_t type, const uint8_t *p, size_t n)
{
	if (type == GUEST_EXIT) {
		take_exit(r, p, n);
	} else if (type != GUEST_STDOUT && type != GUEST_STDERR) {
		lied(r, "a frame that does not belong here");
	} else if (n > 0) {
		r->owner->on_output(r->data, type == GUEST_STDOUT ? 1 : 2, p, n);
	}
}

static void take_starting(struct guest_run *r, uint8_t type, const uint8_t *p, size_t n)
{
	if (type == GUEST_FAILED) {
		take_failed(r, p, n);
	} else if (type != GUEST_STARTED || n != 4) {
		lied(r, "neither STARTED nor FAILED came first");
	} else {
		r->state = RUN_RUNNING;
		uv_timer_stop(&r->timer);
		tie_busy(&r->tie, true);
		metric_add(METRIC_EXECS, 1);
		if (r->owner->on_started)
			r->owner->on_started(r->data);
	}
}

static void take_hello(struct guest_run *r, const uint8_t *p)
{
	uint8_t version, status;
	struct err err;

	if (!guest_get_hello(p, &version, &status)) {
		lied(r, "a hello that is none");
	} else if (status != GUEST_OK) {
		problem(&err, 502, "guest-failed", "the guest of agent %s refused the command (%s)",
			r->agent,
			status == GUEST_BUSY ? "too many at once"
					     : "its image speaks another version");
		end(r, &(struct guest_end){.err = &err});
	} else {
		r->state = RUN_STARTING;
	}
}

/* Takes one hello or frame out of the buffer; false when none is whole, or reading must stop. */
static bool take_one(struct guest_run *r)
{
	const uint8_t *p = r->in + r->in_used;
	size_t left = r->in_len - r->in_used;
	uint8_t type;
	uint32_t len;

	if (r->state == RUN_ENDED || r->paused || left < GUEST_HEADER_LEN)
		return false;
	if (r->state == RUN_HELLO) {
		r->in_used += GUEST_HELLO_LEN;
		take_hello(r, p);
		return true;
	}
	if (!guest_get_header(p, &type, &len)) {
		lied(r, "a malformed frame");
		return false;
	}
	if (left - GUEST_HEADER_LEN < len)
		return false;
	r->in_used += GUEST_HEADER_LEN + len;
	if (r->state == RUN_STARTING)
		take_starting(r, type, p + GUEST_HEADER_LEN, len);
	else
		take_running(r, type, p + GUEST_HEADER_LEN, len);
	return true;
}

static void take_all(struct guest_run *r)
{
	while (take_one(r))
		;
	if (r->in_used == 0 || r->state == RUN_ENDED)
		return;
	memmove(r->in, r->in + r->in_used, r->in_len - r->in_used);
	r->in_len -= r->in_used;
	r->in_used = 0;
}

/* False when nothing was there. */
static bool readable(struct guest_run *r)
{
	ssize_t n;

	if (r->in_len == IN_MAX)
		return false;
	n = recv(r->fd, r->in + r->in_len, IN_MAX - r->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		lost(r, "the connection broke");
		return true;
	}
	tie_heard(&r->tie);
	r->in_len += (size_t)n;
	take_all(r);
	return true;
}

static void drop_output(struct guest_run *r)
{
	outq_done(&r->out);
	outq_init(&r->out, 0);
}

/* A guest that closes on input it did not read resets the connection: what it said before that (why
 * the command did not start, its EXIT) is still there. */
static void broken(struct guest_run *r)
{
	drop_output(r);
	while (r->state != RUN_ENDED && !r->paused) {
		if (!readable(r))
			lost(r, "the connection broke");
	}
}

static void writable(struct guest_run *r)
{
	if (outq_send(&r->out, r->fd) < 0)
		drop_output(r); /* what the guest said before it closed is still to be read */
	if (!r->high || r->out.queued > CONN_LOW_WATER)
		return;
	r->high = false;
	if (r->owner && r->owner->on_writable)
		r->owner->on_writable(r->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct guest_run *r = poll->data;

	if (status < 0) {
		events = 0;
		broken(r);
	}
	if (r->kick) {
		r->kick = false;
		take_all(r);
	}
	if (r->state != RUN_ENDED && events & UV_READABLE && !r->paused)
		readable(r);
	if (r->state != RUN_ENDED && r->out.first && !tie_held(&r->tie))
		writable(r);
	if (r->state != RUN_ENDED)
		update(r);
}

/* ---- Sleep ---- */

static void on_late(uv_timer_t *timer);

static void on_hold(void *data, bool hold)
{
	struct guest_run *r = data;
	bool starting = r->state < RUN_RUNNING;

	update(r);
	if (starting && hold)
		uv_timer_stop(&r->timer);
	else if (starting)
		uv_timer_start(&r->timer, on_late, START_MS, 0);
	if (hold && (starting || r->hurries || r->out.first))
		tie_used(&r->tie);
}

static void on_gone(void *data, int code, const char *why)
{
	char what[120];

	(void)code;
	snprintf(what, sizeof(what), "%.*s", (int)strcspn(why, ";"), why);
	lost(data, what);
}

static const struct tie_owner tie_owner = {.on_hold = on_hold, .on_gone = on_gone};

/* ---- Starting ---- */

static void on_connected(void *data, int fd, uint64_t generation, const struct err *err)
{
	struct guest_run *r = data;
	int one = 1;

	r->request = NULL;
	if (err) {
		end(r, &(struct guest_end){.err = err});
		return;
	}
	if (uv_poll_init(gateway_loop(r->gw), &r->poll, fd) < 0) {
		close(fd);
		lost(r, "the socket cannot be used");
		return;
	}
	setsockopt(fd, 6, 1, &one, sizeof(one)); /* TCP_NODELAY */
	r->poll.data = r;
	r->handles++;
	r->fd = fd;
	r->state = RUN_HELLO;
	tie_open(&r->tie, r->gw, r->agent, generation, fd, &tie_owner, r);
	tie_used(&r->tie);
	update(r);
}

static void on_late(uv_timer_t *timer)
{
	lost(timer->data, "the guest did not answer in time,");
}

static void send_frame(struct guest_run *r, enum guest_type type, const void *data, size_t n)
{
	uint8_t header[GUEST_HEADER_LEN];

	if (r->state == RUN_ENDED)
		return;
	guest_put_header(header, type, (uint32_t)n);
	outq_add(&r->out, header, sizeof(header), 0);
	if (n > 0)
		outq_add(&r->out, data, n, 0);
	if (r->out.queued >= CONN_HIGH_WATER)
		r->high = true;
	tie_used(&r->tie);
	update(r);
}

struct guest_run *guest_run_new(struct gateway *gw, const char *agent, const struct guest_exec *x,
	const struct guest_run_owner *owner, void *data, struct err *err)
{
	struct guest_run *r = xcalloc(1, sizeof(*r));
	uint8_t hello[GUEST_HELLO_LEN];
	struct buf start;

	*r = (struct guest_run){.gw = gw, .owner = owner, .data = data, .fd = -1, .handles = 1};
	snprintf(r->agent, sizeof(r->agent), "%s", agent);
	outq_init(&r->out, 0);
	buf_init(&start, GUEST_FRAME_MAX);
	if (!guest_put_exec(&start, x)) {
		problem(err, 400, "invalid-request",
			"the command, its environment and folder are over 64 KiB");
		buf_done(&start);
		free(r);
		return NULL;
	}
	r->in = xmalloc(IN_MAX);
	guest_put_hello(hello, GUEST_EXEC);
	outq_add(&r->out, hello, sizeof(hello), 0);
	send_frame(r, GUEST_EXEC_START, start.data, start.len);
	buf_done(&start);
	uv_timer_init(gateway_loop(gw), &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_late, START_MS * 2, 0);
	r->request = gateway_connect(gw, agent, "guest", on_connected, r);
	return r;
}

/* ---- Going on ---- */

size_t guest_run_stdin(struct guest_run *r, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n > 0) {
		size_t part = MIN(n, GUEST_FRAME_MAX);

		send_frame(r, GUEST_STDIN, p, part);
		p += part;
		n -= part;
	}
	return r->out.queued;
}

void guest_run_stdin_end(struct guest_run *r)
{
	send_frame(r, GUEST_STDIN, NULL, 0);
}

void guest_run_signal(struct guest_run *r, uint32_t signal)
{
	uint8_t p[4] = {(uint8_t)signal, (uint8_t)(signal >> 8), (uint8_t)(signal >> 16),
		(uint8_t)(signal >> 24)};

	send_frame(r, GUEST_SIGNAL, p, sizeof(p));
}

void guest_run_window(struct guest_run *r, uint16_t rows, uint16_t columns)
{
	uint8_t p[4] = {
		(uint8_t)rows, (uint8_t)(rows >> 8), (uint8_t)columns, (uint8_t)(columns >> 8)};

	send_frame(r, GUEST_WINSIZE, p, sizeof(p));
}

void guest_run_hurries(struct guest_run *r)
{
	r->hurries = true;
}

void guest_run_pause(struct guest_run *r, bool pause)
{
	if (r->paused == pause || r->state == RUN_ENDED)
		return;
	r->paused = pause;
	r->kick = !pause && r->in_len > r->in_used;
	update(r);
}

void guest_run_free(struct guest_run *r)
{
	if (!r)
		return;
	r->owner = NULL;
	r->state = RUN_ENDED;
	r->freed = true;
	if (r->request)
		gateway_cancel(r->request);
	disconnect(r);
	uv_close((uv_handle_t *)&r->timer, on_closed);
}
