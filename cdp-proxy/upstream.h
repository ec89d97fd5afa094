/* A WebSocket to a guest's browser, over a connected socket that berthd gave: the client's end of
 * RFC 6455. */
#ifndef BERTH_UPSTREAM_H
#define BERTH_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct gateway;

#define UPSTREAM_MESSAGE_MAX (256u << 20)
#define UPSTREAM_READ (1u << 20)         /* read at once; the largest piece */
#define UPSTREAM_HIGH_WATER (512u << 10) /* queued bytes from which the sender must stop */
#define UPSTREAM_LOW_WATER (128u << 10)
#define UPSTREAM_QUEUE_MAX (4u << 20)

struct upstream;

/*
 * Called from the loop, never from inside upstream_…(). on_close comes at most once, and not after
 * upstream_free(), which may be called at any time, inside these too.
 */
struct upstream_owner {
	void (*on_open)(void *data);
	/* A piece of a text message, n <= UPSTREAM_READ; valid during the call. UTF-8 is not
	 * checked. The WS_HEADROOM bytes before it may be overwritten. */
	void (*on_piece)(void *data, uint8_t *p, size_t n, bool first, bool final);
	void (*on_writable)(
		void *data); /* was at the high-water mark, is below the low-water mark */
	/* fault: the guest broke a rule; else the connection just ended. */
	void (*on_close)(void *data, const char *reason, bool fault);
	/* Tied ones; may be NULL, see upstream_tie. The agent falls asleep; call nothing but
	 * upstream_wake. */
	void (*on_sleep)(void *data);
	/* Tied ones; NULL: on_close comes instead. The guest is no more (codes: tie.h). Instead of
	 * on_close. */
	void (*on_gone)(void *data, int code, const char *reason);
};

/* Takes fd over. path: of the request, already checked ("/devtools/browser/…"). */
struct upstream *upstream_new(
	uv_loop_t *loop, int fd, const char *path, const struct upstream_owner *owner, void *data);
void upstream_free(struct upstream *u);
/*
 * It outlives the sleep of its agent: while that sleeps nothing is sent, and what is to be sent
 * wakes it. So does, without on_sleep, that it is open. generation: of agent.connect.
 */
void upstream_tie(struct upstream *u, struct gateway *gw, const char *agent, uint64_t generation);
/* Its client waits for something: the agent is woken if it sleeps. */
void upstream_wake(struct upstream *u);
/* Queues one piece of a text message as a frame (copied, masked); returns the bytes now queued. */
size_t upstream_send(struct upstream *u, const void *data, size_t n, bool first, bool final);
/* Stops or goes on with reading; at most UPSTREAM_READ bytes already read still come. */
void upstream_pause(struct upstream *u, bool pause);

#endif
