/*
 * The parser's end of the channel to the wall. Requests wait in one queue; at most
 * WALL_IN_FLIGHT_MAX of them are with the wall, whose answers come in the same order. A wall that
 * owes answers and gives none for two ticks is lost: it may hang in netlink, and then nothing but
 * its end helps. Two, because after a time in which the whole machine stood still the first comes
 * before the wall had its turn.
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
	uv_timer_t patience;
	int fd;
	bool silent;               /* no answer since the last tick */
	struct ask *first, **last; /* sent and waiting for the answer, then not sent yet */
	struct ask *unsent;
	size_t queued, in_flight;
	uint32_t seq;
	void (*lost)(void *data, const char *why);
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
			w->lost(w->data, "has ended");
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
		w->lost(w->data, "gave an answer to no question");
		return;
	}
	w->silent = false;
	w->first = a->next;
	if (!w->first)
		w->last = &w->first;
	w->in_flight--;
	w->queued--;
	a->done(a->data, answer);
	free(a);
}

static void on_patience(uv_timer_t *timer);

/* Ticks while answers are owed. */
static void watch_patience(struct wall_client *w)
{
	if (w->in_flight == 0)
		uv_timer_stop(&w->patience);
	else if (!uv_is_active((uv_handle_t *)&w->patience))
		uv_timer_start(&w->patience, on_patience, WALL_PATIENCE_MS, WALL_PATIENCE_MS);
	else
		return;
	w->silent = false;
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
			w->lost(w->data, "has ended");
			return;
		}
		take_answer(w, &answer);
	}
	send_some(w);
	watch_patience(w);
}

static void on_patience(uv_timer_t *timer)
{
	struct wall_client *w = timer->data;
	bool silent = w->silent;

	w->silent = true;
	if (silent && w->in_flight > 0)
		w->lost(w->data, "does not answer");
}

struct wall_client *wall_client_new(
	uv_loop_t *loop, int fd, void (*lost)(void *data, const char *why), void *data)
{
	struct wall_client *w = xcalloc(1, sizeof(*w));

	w->fd = fd;
	w->last = &w->first;
	w->lost = lost;
	w->data = data;
	sock_set_nonblocking(fd);
	uv_timer_init(loop, &w->patience);
	w->patience.data = w;
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
	watch_patience(w);
	return 0;
}
