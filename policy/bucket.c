/* A token bucket: what may be used fills at a rate up to a maximum. */
#include "bucket.h"
#include "util.h"

static void fill(struct bucket *b, uint64_t now)
{
	int64_t full = (int64_t)(b->size * 1000);
	uint64_t passed = now > b->at ? now - b->at : 0;

	b->at = MAX(now, b->at);
	if (b->level >= full || b->rate == 0)
		return;
	/* Milliseconds times a rate a second are thousandths. */
	if (passed > (uint64_t)(full - b->level) / b->rate)
		b->level = full;
	else
		b->level += (int64_t)(passed * b->rate);
}

void bucket_set(struct bucket *b, uint64_t rate, uint64_t size, uint64_t now)
{
	bool fresh = b->rate == 0;

	fill(b, now);
	b->rate = rate;
	b->size = size;
	b->at = now;
	b->level = fresh ? (int64_t)(size * 1000) : MIN(b->level, (int64_t)(size * 1000));
}

int64_t bucket_level(struct bucket *b, uint64_t now)
{
	fill(b, now);
	return b->level / 1000;
}

bool bucket_take(struct bucket *b, uint64_t n, uint64_t now)
{
	if (bucket_level(b, now) < (int64_t)n)
		return false;
	bucket_spend(b, n);
	return true;
}

void bucket_spend(struct bucket *b, uint64_t n)
{
	b->level -= (int64_t)(n * 1000);
}

uint64_t bucket_wait(struct bucket *b, uint64_t n, uint64_t now)
{
	int64_t missing = (int64_t)(MIN(n, b->size) * 1000);

	fill(b, now);
	missing -= b->level;
	return missing <= 0 || b->rate == 0 ? 0 : ((uint64_t)missing + b->rate - 1) / b->rate;
}
