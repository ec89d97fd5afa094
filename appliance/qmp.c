/*
 * QEMU's monitor (QMP): commands and events over its unix socket, without waiting.
 *
 * QEMU has read what the guest wrote, so its lines are bounded and parsed like a stranger's. A line
 * is one JSON object: the greeting, an event, or the answer to the command whose id it repeats.
 * Commands are written as they come; a command without an answer in time is answered here, and its
 * late answer is passed over.
 */
#include "qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bytes.h"
#include "json.h"
#include "sock.h"
#include "util.h"
#include "watch.h"

#define QMP_LINE_MAX (1u << 20)
#define QMP_OUT_MAX (1u << 20)

struct command {
	struct command *next;
	struct qmp *q;
	int64_t id;
	struct watch_timer *timer;
	qmp_answer_fn *fn;
	void *data;
};

struct qmp {
	uv_loop_t *loop;
	struct qmp_callbacks cb;
	void *data;
	int fd;
	struct watch_fd *watch;
	struct buf in, out;
	struct command *commands; /* without an answer yet */
	int64_t next_id;
	unsigned busy; /* frames of ours below a callback: qmp_free leaves the memory to the last of
			  them */
	bool dead;
};

static void command_free(struct command *c)
{
	watch_timer_free(c->timer);
	free(c);
}

static void enter(struct qmp *q)
{
	q->busy++;
}

static void leave(struct qmp *q)
{
	if (--q->busy == 0 && q->dead)
		free(q);
}

void qmp_free(struct qmp *q)
{
	if (!q || q->dead)
		return;
	while (q->commands) {
		struct command *c = q->commands;

		q->commands = c->next;
		command_free(c);
	}
	watch_fd_free(q->watch);
	close(q->fd);
	buf_done(&q->in);
	buf_done(&q->out);
	q->dead = true;
	if (q->busy == 0)
		free(q);
}

/* Takes a command off the list and answers it. */
static void answer(struct command *c, const cJSON *ret, const struct err *err)
{
	struct command **at = &c->q->commands;
	qmp_answer_fn *fn = c->fn;
	void *data = c->data;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	command_free(c);
	if (fn)
		fn(data, ret, err);
}

static void gone(struct qmp *q, const char *why)
{
	struct err err;

	err_set(&err, EPIPE, "QEMU's monitor is gone: %s", why);
	watch_fd_events(q->watch, 0);
	enter(q);
	while (!q->dead && q->commands)
		answer(q->commands, NULL, &err);
	if (!q->dead)
		q->cb.closed(q->data, why);
	leave(q);
}

static void flush(struct qmp *q)
{
	while (q->out.len > 0) {
		ssize_t n = send(q->fd, q->out.data, q->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			break; /* not now, or for good: then reading says so */
		buf_consume(&q->out, (size_t)n);
	}
	watch_fd_events(q->watch, UV_READABLE | (q->out.len > 0 ? UV_WRITABLE : 0));
}

static void timed_out(void *data)
{
	struct command *c = data;
	struct err err;

	err_set(&err, ETIMEDOUT, "QEMU did not answer in time");
	answer(c, NULL, &err);
}

void qmp_command(struct qmp *q, const char *command, cJSON *args, unsigned timeout_ms,
	qmp_answer_fn *fn, void *data)
{
	struct command *c = xcalloc(1, sizeof(*c));
	cJSON *msg = cJSON_CreateObject();
	AUTOFREE char *text = NULL;

	*c = (struct command){
		.next = q->commands, .q = q, .id = ++q->next_id, .fn = fn, .data = data};
	q->commands = c;
	c->timer = watch_timer_new(q->loop, timed_out, c);
	watch_timer_start(c->timer, timeout_ms);
	cJSON_AddStringToObject(msg, "execute", command);
	cJSON_AddNumberToObject(msg, "id", (double)c->id);
	if (args)
		cJSON_AddItemToObject(msg, "arguments", args);
	text = cJSON_PrintUnformatted(msg);
	cJSON_Delete(msg);
	if (text && buf_addf(&q->out, "%s\n", text))
		flush(q);
}

static void on_answer(struct qmp *q, const cJSON *msg)
{
	const cJSON *error = json_get(msg, "error");
	int64_t id = json_int(msg, "id", 0);
	struct command *c = q->commands;
	struct err err;

	while (c && c->id != id)
		c = c->next;
	if (!c)
		return;
	if (error)
		err_set(&err, EREMOTEIO, "QEMU: %.300s", json_str(error, "desc", "refused"));
	answer(c, error ? NULL : json_get(msg, "return"), error ? &err : NULL);
}

/* One line. False if it is not what QEMU may say. */
static bool on_line(struct qmp *q, const char *line, size_t n)
{
	cJSON *msg = cJSON_ParseWithLength(line, n);
	bool good = cJSON_IsObject(msg);

	if (good && json_str(msg, "event", NULL))
		q->cb.event(q->data, json_str(msg, "event", ""), json_get(msg, "data"));
	else if (good && (json_get(msg, "return") || json_get(msg, "error")))
		on_answer(q, msg);
	cJSON_Delete(msg);
	return good;
}

/* Every whole line in the buffer; declares the connection gone on a wrong one. */
static bool on_lines(struct qmp *q)
{
	while (!q->dead) {
		const uint8_t *end = q->in.len ? memchr(q->in.data, '\n', q->in.len) : NULL;
		AUTOFREE char *line = NULL;
		size_t n;

		if (!end)
			return true;
		n = (size_t)(end - q->in.data);
		line = xmalloc(n + 1);
		memcpy(line, q->in.data, n);
		line[n] = 0;
		buf_consume(&q->in, n + 1);
		if (!on_line(q, line, n) && !q->dead) {
			gone(q, "a line that is not QMP");
			return false;
		}
	}
	return false;
}

static void read_all(struct qmp *q)
{
	uint8_t piece[16384];

	while (!q->dead) {
		ssize_t n = recv(q->fd, piece, sizeof(piece), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			gone(q, n == 0 ? "closed" : strerror(errno));
			return;
		}
		if (!buf_add(&q->in, piece, (size_t)n)) {
			gone(q, "a line over 1 MiB");
			return;
		}
		if (!on_lines(q))
			return;
	}
}

static void on_events(void *data, int events)
{
	struct qmp *q = data;

	enter(q);
	if (events & UV_WRITABLE)
		flush(q);
	if (events & UV_READABLE)
		read_all(q);
	leave(q);
}

int qmp_connect(struct qmp **ret, uv_loop_t *loop, const char *path, const struct qmp_callbacks *cb,
	void *data, struct err *err)
{
	int fd = sock_connect_unix(path, err);
	struct qmp *q;

	if (fd < 0)
		return fd;
	sock_set_nonblocking(fd);
	q = xcalloc(1, sizeof(*q));
	*q = (struct qmp){.loop = loop, .cb = *cb, .data = data, .fd = fd};
	buf_init(&q->in, QMP_LINE_MAX);
	buf_init(&q->out, QMP_OUT_MAX);
	q->watch = watch_fd_new(loop, fd, UV_READABLE, on_events, q);
	qmp_command(q, "qmp_capabilities", NULL, 30000, NULL, NULL);
	*ret = q;
	return 0;
}
