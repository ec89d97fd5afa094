/*
 * The parser's end of the channel to the wall. Requests wait in one queue; at most
 * WALL_IN_FLIGHT_MAX of them are with the wall, whose answers come in the same order.
 */
#include "wall_client.h"
#include "sock.h"
#include "util.h"

#include <errno.h>
#include <sys/socket.h>

struct ask {
	struct ask *next;
	struct wall_request request;
	wall_done_fn *done;
	void *data;
};

/* Lives as long as the process. Owns its asks. */
struct wall_client {
	uv_poll_t poll;
	int fd;
	struct ask *first, **last; /* sent and waiting for the answer, then not sent yet */
	struct ask *unsent;
	size_t queued, in_flight;
	uint32_t seq;
	void (*lost)(void *data);
	void *data;
};

static void send_some(struct wall_client *w)
{
	while (w->unsent && w->in_flight < WALL_IN_FLIGHT_MAX) {
		struct ask *a = w->unsent;
		ssize_t n = send(w->fd, &a->request, sizeof(a->request), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && w->in_flight > 0)
			return;
		if (n < 0) {
			w->lost(w->data);
			return;
		}
		w->in_flight++;
		w->unsent = a->next;
	}
}

static void take_answer(struct wall_client *w, const struct wall_answer *answer)
{
	struct ask *a = w->first;

	if (w->in_flight == 0 || a->request.seq != answer->seq) {
		w->lost(w->data);
		return;
	}
	w->first = a->next;
	if (!w->first)
		w->last = &w->first;
	w->in_flight--;
	w->queued--;
	a->done(a->data, answer);
	free(a);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct wall_client *w = poll->data;

	for (;;) {
		struct wall_answer answer;
		ssize_t n = recv(w->fd, &answer, sizeof(answer), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n != sizeof(answer)) {
			uv_poll_stop(&w->poll);
			w->lost(w->data);
			return;
		}
		take_answer(w, &answer);
	}
	send_some(w);
}

struct wall_client *wall_client_new(uv_loop_t *loop, int fd, void (*lost)(void *data), void *data)
{
	struct wall_client *w = xcalloc(1, sizeof(*w));

	w->fd = fd;
	w->last = &w->first;
	w->lost = lost;
	w->data = data;
	sock_set_nonblocking(fd);
	uv_poll_init(loop, &w->poll, fd);
	w->poll.data = w;
	uv_poll_start(&w->poll, UV_READABLE, on_readable);
	return w;
}

int wall_ask(struct wall_client *w, const struct wall_request *r, wall_done_fn *done, void *data)
{
	struct ask *a;

	if (w->queued == WALL_QUEUE_MAX)
		return -ENOBUFS;
	a = xcalloc(1, sizeof(*a));
	a->request = *r;
	a->request.seq = ++w->seq;
	a->done = done;
	a->data = data;
	*w->last = a;
	w->last = &a->next;
	w->queued++;
	if (!w->unsent)
		w->unsent = a;
	send_some(w);
	return 0;
}
