/* How fast all connections of an agent together may go in one direction. */
#ifndef BERTH_POLICY_PACE_H
#define BERTH_POLICY_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "bucket.h"

#define PACE_SHARE_MIN 1460u /* bytes that a flow gets when it is its turn */
#define PACE_TICK_MS 50u

struct pacer;

/* One direction. Lives as long as the process. */
struct pace {
	struct bucket bucket; /* without a rate: as fast as it goes */
	uv_timer_t timer;     /* runs while somebody waits */
	struct pacer *first, **end;
	size_t waiting;
	uint64_t bytes; /* passed on so far */
	size_t piece;   /* most that is read at once: as far as a budget may be overdrawn */
	bool closed;    /* nobody may read any more */
	void (*passed)(void *data);
	void *data;
};

/* One who reads at that pace; embedded. */
struct pacer {
	struct pace *pace;
	struct pacer *next;
	bool waits;
	size_t grant;
	void (*turn)(struct pacer *p); /* it may read again */
};

/* passed is told whenever bytes went on; it must not end connections. */
void pace_init(struct pace *pace, uv_loop_t *loop, void (*passed)(void *data), void *data);
/* Bytes a second; 0: no limit. Those who wait go on at the new rate. */
void pace_set(struct pace *pace, uint64_t rate);

void pacer_init(struct pacer *p, struct pace *pace, void (*turn)(struct pacer *p));
/* Bytes it may read now; 0: it has to wait. */
size_t pacer_room(struct pacer *p);
/* It has read n bytes. */
void pacer_took(struct pacer *p, size_t n);
/* turn is called once there is room. */
void pacer_wait(struct pacer *p);
/* It does not wait any more. */
void pacer_leave(struct pacer *p);
/* n bytes went on to the other side. */
void pacer_passed(struct pacer *p, size_t n);

#endif
