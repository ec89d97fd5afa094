/* Bytes on their way out. */
#include "outq.h"
#include "util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define IOV_AT_ONCE 16
#define SMALL_CHUNK 4096u

void outq_init(struct outq *q, size_t headroom)
{
	*q = (struct outq){.headroom = headroom};
	q->last = &q->first;
}

void outq_done(struct outq *q)
{
	while (q->first)
		outq_pop(q);
}

void outq_pop(struct outq *q)
{
	struct outq_chunk *c = q->first;

	q->first = c->next;
	q->queued -= c->len - c->sent;
	if (!q->first) {
		q->last = &q->first;
		q->tail = NULL;
		q->tail_room = 0;
	}
	free(c);
}

static struct outq_chunk *new_chunk(struct outq *q, size_t room, unsigned int flags)
{
	struct outq_chunk *c = xmalloc(sizeof(*c) + q->headroom + room);

	*c = (struct outq_chunk){.flags = flags, .data = c->room + q->headroom};
	*q->last = c;
	q->last = &c->next;
	q->tail = c;
	q->tail_room = flags ? 0 : room;
	return c;
}

void outq_add(struct outq *q, const void *data, size_t n, unsigned int flags)
{
	const uint8_t *p = data;
	size_t part = flags ? 0 : MIN(n, q->tail_room);
	struct outq_chunk *c;

	if (part > 0) {
		memcpy(q->tail->data + q->tail->len, p, part);
		q->tail->len += part;
		q->tail_room -= part;
	}
	q->queued += n;
	p += part;
	n -= part;
	if (n == 0 && !flags)
		return;
	c = new_chunk(q, flags ? n : MAX(n, SMALL_CHUNK), flags);
	if (n > 0)
		memcpy(c->data, p, n);
	c->len = n;
	if (!flags)
		q->tail_room -= n;
}

static void advance(struct outq *q, size_t n)
{
	while (n > 0) {
		struct outq_chunk *c = q->first;
		size_t part = MIN(n, c->len - c->sent);

		c->sent += part;
		q->queued -= part;
		n -= part;
		if (c->sent == c->len)
			outq_pop(q);
	}
}

int outq_send(struct outq *q, int fd)
{
	while (q->first) {
		struct iovec iov[IOV_AT_ONCE];
		struct msghdr msg = {.msg_iov = iov};
		ssize_t n;

		for (struct outq_chunk *c = q->first; c && msg.msg_iovlen < IOV_AT_ONCE;
			c = c->next)
			iov[msg.msg_iovlen++] = (struct iovec){c->data + c->sent, c->len - c->sent};
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		advance(q, (size_t)n);
	}
	return 0;
}
