/*
 * How fast all connections of an agent together may go in one direction.
 *
 * Theory of operation. What is read from sockets is taken out of one token bucket; who finds it
 * empty stops reading and waits in a queue, so that the kernel's window holds the sender back and
 * nothing is dropped. While somebody waits, a timer fires when there is something to hand out: the
 * first in the queue get equal shares, of at least PACE_SHARE_MIN bytes, and go to its end when
 * theirs is used. Without a rate nobody ever waits and no timer runs.
 */
#include "pace.h"
#include "util.h"

static void on_timer(uv_timer_t *timer);

static uint64_t tick_bytes(const struct pace *pace)
{
	return MAX(pace->bucket.rate * PACE_TICK_MS / 1000, (uint64_t)PACE_SHARE_MIN);
}

static void run_timer(struct pace *pace)
{
	uint64_t wait = bucket_wait(&pace->bucket, tick_bytes(pace), now_ms());

	/* now_ms has moved on since the loop's time. */
	uv_update_time(pace->timer.loop);
	uv_timer_start(&pace->timer, on_timer, MAX(wait, (uint64_t)1), 0);
}

static struct pacer *take_first(struct pace *pace)
{
	struct pacer *p = pace->first;

	pacer_leave(p);
	return p;
}

static void on_timer(uv_timer_t *timer)
{
	struct pace *pace = timer->data;
	bool paced = pace->bucket.rate > 0;
	int64_t level = bucket_level(&pace->bucket, now_ms());
	size_t turns = pace->waiting, share = SIZE_MAX;

	if (paced) {
		turns = MIN(turns, (size_t)(MAX(level, (int64_t)0) / PACE_SHARE_MIN));
		share = turns ? (size_t)level / turns : 0;
	}
	for (; turns > 0 && pace->first; turns--) {
		struct pacer *p = take_first(pace);

		p->grant = share;
		p->turn(p);
	}
	if (pace->first)
		run_timer(pace);
}

void pace_init(struct pace *pace, uv_loop_t *loop, void (*passed)(void *data), void *data)
{
	*pace = (struct pace){.passed = passed, .data = data, .piece = SIZE_MAX};
	pace->end = &pace->first;
	uv_timer_init(loop, &pace->timer);
	pace->timer.data = pace;
}

void pace_set(struct pace *pace, uint64_t rate)
{
	bucket_set(&pace->bucket, rate, MAX(rate / 4, (uint64_t)4 * PACE_SHARE_MIN), now_ms());
	if (pace->first)
		uv_timer_start(&pace->timer, on_timer, 0, 0);
}

void pacer_init(struct pacer *p, struct pace *pace, void (*turn)(struct pacer *p))
{
	*p = (struct pacer){.pace = pace, .grant = SIZE_MAX, .turn = turn};
}

size_t pacer_room(struct pacer *p)
{
	int64_t level;

	if (p->pace->closed)
		return 0;
	if (p->pace->bucket.rate == 0)
		return p->pace->piece;
	/* Also who never had to wait gets in line. */
	if (p->waits || (p->grant == SIZE_MAX && p->pace->first))
		return 0;
	level = bucket_level(&p->pace->bucket, now_ms());
	return level <= 0 ? 0 : MIN(MIN((size_t)level, p->grant), p->pace->piece);
}

void pacer_took(struct pacer *p, size_t n)
{
	if (p->pace->bucket.rate == 0)
		return;
	bucket_spend(&p->pace->bucket, n);
	if (p->grant != SIZE_MAX)
		p->grant -= MIN(n, p->grant);
}

void pacer_wait(struct pacer *p)
{
	struct pace *pace = p->pace;

	if (p->waits)
		return;
	p->waits = true;
	p->next = NULL;
	*pace->end = p;
	pace->end = &p->next;
	pace->waiting++;
	if (!uv_is_active((uv_handle_t *)&pace->timer))
		run_timer(pace);
}

void pacer_leave(struct pacer *p)
{
	struct pacer **at = &p->pace->first;

	if (!p->waits)
		return;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (p->pace->end == &p->next)
		p->pace->end = at;
	p->waits = false;
	p->pace->waiting--;
}

void pacer_passed(struct pacer *p, size_t n)
{
	p->pace->bytes += n;
	p->pace->passed(p->pace->data);
}
