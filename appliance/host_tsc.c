/*
 * How fast this host's time stamp counter runs.
 *
 * Under TCG a guest reads the host's counter. Its kernel would find out the frequency with the PIT,
 * which fails when the host is busy; on microvm nothing else ticks that early, and the kernel then
 * waits for jiffies for ever ("tsc: Marking TSC unstable due to could not calculate TSC khz" is its
 * last line). So it is told.
 */
#include "host_tsc.h"

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

#define MEASURE_NS 20000000

static int64_t raw_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A counter value and the time it was read at, as close together as of a few tries. */
static int64_t pair(uint64_t *ret_ticks)
{
	int64_t best = INT64_MAX, at = 0;

	for (int i = 0; i < 5; i++) {
		int64_t before = raw_ns(), after;
		uint64_t ticks = __rdtsc();

		after = raw_ns();
		if (after - before >= best)
			continue;
		best = after - before;
		at = before + best / 2;
		*ret_ticks = ticks;
	}
	return at;
}

static unsigned long measure(void)
{
	const struct timespec wait = {.tv_nsec = MEASURE_NS};
	uint64_t from = 0, to = 0;
	int64_t start = pair(&from), end;

	nanosleep(&wait, NULL);
	end = pair(&to);
	return end > start ? (unsigned long)((double)(to - from) * 1e6 / (double)(end - start)) : 0;
}
#else
static unsigned long measure(void)
{
	return 0;
}
#endif

unsigned long host_tsc_khz(void)
{
	static unsigned long khz;

	if (khz == 0)
		khz = measure();
	return khz;
}
