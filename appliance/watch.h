/* Descriptors and timers on the loop that may be let go of at any time, also inside their own
 * callbacks. */
#ifndef BERTH_WATCH_H
#define BERTH_WATCH_H

#include <uv.h>

struct watch_fd;
struct watch_timer;

/* events: UV_READABLE | UV_WRITABLE; fn gets those that happened (both on an error). The descriptor
 * stays the caller's. */
struct watch_fd *watch_fd_new(
	uv_loop_t *loop, int fd, int events, void (*fn)(void *data, int events), void *data);
/* 0 pauses it. */
void watch_fd_events(struct watch_fd *w, int events);
/* No callback comes after this; the descriptor may be closed right away. NULL is fine. */
void watch_fd_free(struct watch_fd *w);

struct watch_timer *watch_timer_new(uv_loop_t *loop, void (*fn)(void *data), void *data);
/* Once, in ms; a running one is set anew. */
void watch_timer_start(struct watch_timer *t, uint64_t ms);
void watch_timer_stop(struct watch_timer *t);
void watch_timer_free(struct watch_timer *t);

#endif
