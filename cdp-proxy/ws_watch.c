/* Reads the frames' headers of what a client sends before libwebsockets sees them. */
#undef _FORTIFY_SOURCE /* its headers have a recv() of their own */
#include "ws_watch.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway.h"
#include "util.h"

/*
 * Theory of operation. RFC 6455 5.1: a server must close on a frame that is not masked. Debian 12's
 * libwebsockets 4.1.6 takes such frames, tells nobody, and has no hook below its parser. So the
 * function by which it reads is defined here: the dynamic linker takes this program's recv() before
 * libc's, for libwebsockets too. A socket that is not watched is read as ever.
 *
 *   socket -> recv() -> [header held back] -> ws_watch_bytes -> libwebsockets -> ws_conn.c
 *
 * As the headers are read here anyway, the payload is unmasked here by words, and the key that
 * libwebsockets gets is zero: it then leaves the bytes as they are, where it would take one at a
 * time. ws_conn.c compares what it is given with `handed`: if libwebsockets should ever read by
 * another way, no connection works, rather than all of them unwatched.
 */

/* By descriptor; grows to the largest one seen. */
static struct ws_watch **watched;
static size_t watched_len;

static const char *header_wrong(const struct ws_header *h)
{
	return h->masked ? NULL : "a client's frames must be masked";
}

/* Takes a header at p. Its length; 0 when it is not whole or wrong. */
static size_t take_header(struct ws_watch *w, uint8_t *p, size_t n)
{
	int len = ws_read_header(p, MIN(n, (size_t)WS_HEADER_MAX), &w->frame);

	if (len < 0)
		w->wrong = "a malformed frame";
	else if (len > 0)
		w->wrong = header_wrong(&w->frame);
	/* Its second byte shows a missing mask; the rest is not waited for. */
	else if (n >= 2 && !(p[1] & 0x80))
		w->wrong = "a client's frames must be masked";
	if (len <= 0 || w->wrong)
		return 0;
	memset(p + len - 4, 0, 4);
	w->left = w->frame.len;
	return (size_t)len;
}

size_t ws_watch_bytes(struct ws_watch *w, uint8_t *p, size_t n)
{
	size_t at = 0, len;

	while (at < n && !w->wrong) {
		if (w->left) {
			len = (size_t)MIN((uint64_t)(n - at), w->left);
			ws_mask(p + at, len, w->frame.mask, w->frame.len - w->left);
			w->left -= len;
			w->handed += len;
		} else {
			len = take_header(w, p + at, n - at);
			if (len == 0)
				break;
		}
		at += len;
	}
	if (!w->wrong) {
		w->head_len = n - at;
		memcpy(w->head, p + at, w->head_len);
	}
	return at;
}

void ws_watch_fd(int fd, struct ws_watch *w)
{
	size_t n = (size_t)fd + 1;

	if (n > watched_len) {
		watched = xrealloc(watched, n * sizeof(*watched));
		memset(watched + watched_len, 0, (n - watched_len) * sizeof(*watched));
		watched_len = n;
	}
	watched[fd] = w;
}

static ssize_t watched_recv(struct ws_watch *w, int fd, uint8_t *p, size_t n, int flags)
{
	size_t held = w->head_len, good;
	ssize_t r;

	if (n <= sizeof(w->head)) {
		errno = EINVAL;
		return -1;
	}
	/* Libwebsockets reads a few bytes more than it gives on at once: they would go on alone, in
	 * a packet of their own, and that took a third of the throughput. */
	r = recvfrom(fd, p + held, MIN(n, (size_t)WS_PIECE_MAX) - held, flags, NULL, NULL);
	if (r <= 0)
		return r;
	if (!w->wrong) {
		memcpy(p, w->head, held);
		w->head_len = 0;
		good = ws_watch_bytes(w, p, held + (size_t)r);
		if (w->wrong)
			w->on_wrong(w->data);
		if (good > 0)
			return (ssize_t)good;
	}
	errno = EAGAIN;
	return -1;
}

ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct ws_watch *w = fd >= 0 && (size_t)fd < watched_len ? watched[fd] : NULL;

	if (!w || flags & MSG_PEEK)
		return recvfrom(fd, buf, n, flags, NULL, NULL);
	return watched_recv(w, fd, buf, n, flags);
}
