/*
 * How much of the network the agent uses, and what it may not use any more.
 *
 * Bandwidth is paced (pace.c), rates are refused, and a total is a budget that berthd computes,
 * because it knows what was used by processes before this one and when a day begins: a number of
 * bytes of this process's life after which nothing gets through until another budget comes.
 */
#include "meter.h"
#include "util.h"

static uint64_t used(const struct meter *m)
{
	return m->up.bytes + m->down.bytes;
}

static void on_report(uv_timer_t *timer)
{
	struct meter *m = timer->data;

	m->cb.usage(m->cb.data, m->up.bytes, m->down.bytes);
}

static void on_cut(uv_timer_t *timer)
{
	struct meter *m = timer->data;

	on_report(timer);
	if (m->over)
		m->cb.over(m->cb.data);
}

static void check(struct meter *m)
{
	bool over = used(m) >= m->budget;

	if (over && !m->over)
		uv_timer_start(&m->cut, on_cut, 0, 0);
	/* At once: much may be read before the loop gets to the cut. */
	m->over = m->up.closed = m->down.closed = over;
}

static void on_passed(void *data)
{
	struct meter *m = data;

	if (!uv_is_active((uv_handle_t *)&m->report))
		uv_timer_start(&m->report, on_report, METER_REPORT_MS, 0);
	if (!m->over)
		check(m);
}

void meter_init(struct meter *m, uv_loop_t *loop, const struct meter_callbacks *cb)
{
	*m = (struct meter){.cb = *cb, .budget = UINT64_MAX};
	pace_init(&m->up, loop, on_passed, m);
	pace_init(&m->down, loop, on_passed, m);
	uv_timer_init(loop, &m->report);
	uv_timer_init(loop, &m->cut);
	m->report.data = m->cut.data = m;
}

static void set_rate(struct bucket *b, uint64_t rate)
{
	bucket_set(b, rate, rate * METER_BURST_S, now_ms());
}

void meter_set(struct meter *m, const struct limits *l)
{
	m->limits = *l;
	pace_set(&m->up, l->values[LIMIT_BANDWIDTH_UP]);
	pace_set(&m->down, l->values[LIMIT_BANDWIDTH_DOWN]);
	set_rate(&m->connections, l->values[LIMIT_CONNECTION_RATE]);
	set_rate(&m->questions, l->values[LIMIT_DNS_RATE]);
	/* Two names a minute for each question a second, counted in sixtieths: 200 by default. */
	bucket_set(
		&m->wild, 2 * l->values[LIMIT_DNS_RATE], 120 * l->values[LIMIT_DNS_RATE], now_ms());
}

void meter_budget(struct meter *m, uint64_t bytes, const char *name)
{
	m->budget = bytes;
	m->up.piece = m->down.piece = bytes == UINT64_MAX ? SIZE_MAX : METER_PIECE;
	snprintf(m->reason, sizeof(m->reason), "%.40s is used up", name);
	check(m);
}

static const char *take(struct meter *m, struct bucket *b, uint64_t n, const char *reason)
{
	if (m->over)
		return m->reason;
	return b->rate == 0 || bucket_take(b, n, now_ms()) ? NULL : reason;
}

const char *meter_connection(struct meter *m, size_t open)
{
	uint64_t most = m->limits.values[LIMIT_CONNECTIONS];

	if (!m->over && most && open > most)
		return "too many connections at a time";
	return take(m, &m->connections, 1, "too many new connections a second");
}

const char *meter_question(struct meter *m)
{
	return take(m, &m->questions, 1, "too many questions a second");
}

const char *meter_wild_name(struct meter *m)
{
	return take(m, &m->wild, 60, "too many names below wildcards a minute");
}
