/* Descriptors and timers on the loop that may be let go of at any time, also inside their own
 * callbacks. */
#include "watch.h"
#include "util.h"

/* Owned by whoever made it until watch_fd_free, then by the loop until its close callback. */
struct watch_fd {
	uv_poll_t poll;
	int events;
	void (*fn)(void *data, int events);
	void *data;
};

struct watch_timer {
	uv_timer_t timer;
	void (*fn)(void *data);
	void *data;
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch_fd *w = poll->data;

	w->fn(w->data, status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

struct watch_fd *watch_fd_new(
	uv_loop_t *loop, int fd, int events, void (*fn)(void *data, int events), void *data)
{
	struct watch_fd *w = xcalloc(1, sizeof(*w));

	w->fn = fn;
	w->data = data;
	w->poll.data = w;
	if (uv_poll_init(loop, &w->poll, fd) < 0)
		abort(); /* a descriptor that cannot be polled is a mistake in the program */
	watch_fd_events(w, events);
	return w;
}

void watch_fd_events(struct watch_fd *w, int events)
{
	if (events == w->events)
		return;
	w->events = events;
	if (events)
		uv_poll_start(&w->poll, events, on_poll);
	else
		uv_poll_stop(&w->poll);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void watch_fd_free(struct watch_fd *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->poll, on_closed);
}

static void on_timer(uv_timer_t *timer)
{
	struct watch_timer *t = timer->data;

	t->fn(t->data);
}

struct watch_timer *watch_timer_new(uv_loop_t *loop, void (*fn)(void *data), void *data)
{
	struct watch_timer *t = xcalloc(1, sizeof(*t));

	t->fn = fn;
	t->data = data;
	uv_timer_init(loop, &t->timer);
	t->timer.data = t;
	return t;
}

void watch_timer_start(struct watch_timer *t, uint64_t ms)
{
	uv_update_time(t->timer.loop);
	uv_timer_start(&t->timer, on_timer, ms, 0);
}

void watch_timer_stop(struct watch_timer *t)
{
	uv_timer_stop(&t->timer);
}

void watch_timer_free(struct watch_timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->timer, on_closed);
}
