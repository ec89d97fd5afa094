/* The control channel between berth's own programs: JSON objects in frames, descriptors alongside.
 */
#include "ctl.h"
#include "sock.h"
#include "util.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define CTL_FDS_MAX 64

struct out {
	struct out *next;
	size_t len, sent;
	int fd; /* owned; -1 once sent */
	uint8_t data[];
};

/* Owned by whoever called ctl_new. */
struct ctl {
	int fd;
	struct buf in;
	int fds[CTL_FDS_MAX]; /* descriptors whose frame is not whole yet, in order */
	size_t n_fds;
	size_t fd_at[CTL_FDS_MAX]; /* offset in `in` of the byte each came with */
	struct out *first, **last;
	size_t queued;
};

struct ctl *ctl_new(int fd)
{
	struct ctl *c = xcalloc(1, sizeof(*c));

	c->fd = fd;
	sock_set_nonblocking(fd);
	buf_init(&c->in, CTL_FRAME_MAX + 4 + 65536);
	c->last = &c->first;
	return c;
}

static void out_free(struct out *o)
{
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

void ctl_free(struct ctl *c)
{
	if (!c)
		return;
	while (c->first) {
		struct out *o = c->first;

		c->first = o->next;
		out_free(o);
	}
	for (size_t i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	buf_done(&c->in);
	close(c->fd);
	free(c);
}

int ctl_fd(const struct ctl *c)
{
	return c->fd;
}

bool ctl_wants_write(const struct ctl *c)
{
	return c->first != NULL;
}

int ctl_flush(struct ctl *c)
{
	while (c->first) {
		struct out *o = c->first;
		ssize_t n = sock_send_fd(c->fd, o->data + o->sent, o->len - o->sent, o->fd);

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		if (o->fd >= 0)
			close(steal_fd(&o->fd));
		o->sent += (size_t)n;
		if (o->sent < o->len)
			continue;
		c->queued -= o->len;
		c->first = o->next;
		if (!c->first)
			c->last = &c->first;
		out_free(o);
	}
	return 0;
}

int ctl_send(struct ctl *c, const cJSON *msg, int fd)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(msg);
	size_t len = text ? strlen(text) : 0;
	struct out *o;

	if (!text)
		return -ENOMEM;
	if (len > CTL_FRAME_MAX)
		return -EMSGSIZE;
	if (c->queued + len > CTL_QUEUE_MAX)
		return -ENOBUFS;
	o = xmalloc(sizeof(*o) + len + 4);
	*o = (struct out){.len = len + 4, .fd = -1};
	for (int i = 0; i < 4; i++)
		o->data[i] = (uint8_t)(len >> (8 * i));
	memcpy(o->data + 4, text, len);
	if (fd >= 0) {
		o->fd = dup(fd);
		if (o->fd < 0) {
			free(o);
			return -errno;
		}
	}
	c->queued += o->len;
	*c->last = o;
	c->last = &o->next;
	return ctl_flush(c);
}

/*
 * Reads once into the buffer. Bytes, 0 when nothing is there now, or a negative errno. One recvmsg
 * may give the bytes of earlier messages without a descriptor and then those of the one with it,
 * where it stops (unix(7)): the descriptor belongs to the frame of the last byte.
 */
static int fill(struct ctl *c)
{
	uint8_t *room = buf_reserve(&c->in, 65536);
	ssize_t n;
	int fd;

	if (!room)
		return -EPROTO;
	n = sock_recv_fd(c->fd, room, 65536, &fd);
	if (fd >= 0) {
		if (c->n_fds == CTL_FDS_MAX || n <= 0) {
			close(fd);
			return -EPROTO;
		}
		c->fd_at[c->n_fds] = c->in.len + (size_t)n - 1;
		c->fds[c->n_fds++] = fd;
	}
	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n == 0 || n == -ECONNRESET ? -EPIPE : (int)n;
	buf_grew(&c->in, (size_t)n);
	return (int)n;
}

static size_t frame_len(const struct ctl *c)
{
	struct reader r = reader_of(c->in.data, c->in.len);

	return read_u32(&r);
}

/* The descriptor that came with the frame of `size` bytes at the front of the buffer, or -1. */
static int take_fd(struct ctl *c, size_t size)
{
	int fd = -1;
	size_t kept = 0;

	for (size_t i = 0; i < c->n_fds; i++) {
		if (c->fd_at[i] < size) {
			if (fd >= 0)
				close(fd);
			fd = c->fds[i];
			continue;
		}
		c->fds[kept] = c->fds[i];
		c->fd_at[kept++] = c->fd_at[i] - size;
	}
	c->n_fds = kept;
	return fd;
}

/* Takes one whole message out of the buffer. 1 with *ret, 0 when there is none yet, -EPROTO. */
static int take(struct ctl *c, cJSON **ret, int *ret_fd)
{
	size_t len;

	if (c->in.len < 4)
		return 0;
	len = frame_len(c);
	if (len > CTL_FRAME_MAX)
		return -EPROTO;
	if (c->in.len < 4 + len)
		return 0;
	*ret = cJSON_ParseWithLength((const char *)c->in.data + 4, len);
	*ret_fd = take_fd(c, 4 + len);
	buf_consume(&c->in, 4 + len);
	if (cJSON_IsObject(*ret))
		return 1;
	cJSON_Delete(*ret);
	if (*ret_fd >= 0)
		close(*ret_fd);
	return -EPROTO;
}

int ctl_readable(struct ctl *c, ctl_message_fn *fn, void *data)
{
	int got;

	do {
		cJSON *msg;
		int fd, r;

		got = fill(c);
		while ((r = take(c, &msg, &fd)) > 0) {
			fn(data, msg, fd);
			cJSON_Delete(msg);
		}
		if (r < 0)
			return r;
	} while (got > 0);
	return got;
}

cJSON *ctl_receive(struct ctl *c, int timeout_ms, int *ret_fd, struct err *err)
{
	uint64_t deadline = now_ms() + (uint64_t)timeout_ms;

	for (;;) {
		struct pollfd p = {
			.fd = c->fd, .events = (short)(POLLIN | (c->first ? POLLOUT : 0))};
		uint64_t now = now_ms();
		cJSON *msg;
		int fd, r = take(c, &msg, &fd);

		if (r > 0) {
			if (ret_fd)
				*ret_fd = fd;
			else if (fd >= 0)
				close(fd);
			return msg;
		}
		if (r < 0 || (now < deadline && poll(&p, 1, (int)(deadline - now)) < 0 &&
				     errno != EINTR)) {
			err_set(err, EPROTO, "the control channel broke");
			return NULL;
		}
		if (now >= deadline) {
			err_set(err, ETIMEDOUT, "no answer within %d s", timeout_ms / 1000);
			return NULL;
		}
		ctl_flush(c);
		r = p.revents & (POLLIN | POLLHUP | POLLERR) ? fill(c) : 0;
		if (r < 0) {
			err_set(err, r, "the other side closed the control channel");
			return NULL;
		}
	}
}
