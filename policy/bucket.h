/* A token bucket: what may be used fills at a rate up to a maximum. */
#ifndef BERTH_POLICY_BUCKET_H
#define BERTH_POLICY_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed, it has no rate and holds nothing. Times are now_ms. */
struct bucket {
	uint64_t rate, size; /* a second; at most */
	int64_t level;       /* thousandths; below 0 when more was spent than was there */
	uint64_t at;         /* when level was right */
};

/* Another rate and size; it is full when it had no rate before, else keeps what it holds. */
void bucket_set(struct bucket *b, uint64_t rate, uint64_t size, uint64_t now);
/* What it holds, whole ones. */
int64_t bucket_level(struct bucket *b, uint64_t now);
/* Takes n if it holds as many. */
bool bucket_take(struct bucket *b, uint64_t n, uint64_t now);
/* Takes n whatever it holds. */
void bucket_spend(struct bucket *b, uint64_t n);
/* Milliseconds until it holds n (at most its size), 0 when it does. */
uint64_t bucket_wait(struct bucket *b, uint64_t n, uint64_t now);

#endif
