/* How much of the network an agent may use: the vocabulary of limits, as people and as JSON say
 * them. */
#ifndef BERTH_BASE_LIMIT_H
#define BERTH_BASE_LIMIT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* What is limited; the table in limit.c has name, bounds and default of each. */
enum limit {
	LIMIT_BANDWIDTH_UP,   /* bytes a second */
	LIMIT_BANDWIDTH_DOWN, /* bytes a second */
	LIMIT_CONNECTIONS,    /* at a time */
	LIMIT_CONNECTION_RATE,
	LIMIT_DNS_RATE,
	LIMIT_BYTES_PER_RUN, /* both ways together, since the machine's boot or restore */
	LIMIT_BYTES_PER_DAY, /* both ways together, days in UTC */
	LIMITS_N
};

struct limits {
	uint64_t values[LIMITS_N]; /* 0: none */
	bool suspend;              /* at the limit of a total; else what comes is refused */
};

const char *limit_name(enum limit limit);
/* Those of an agent for which nobody said anything. */
struct limits limit_default(void);
/* Puts wish's members over l: numbers, null for no limit. All or, with 400 invalid-request, none.
 */
int limit_change(struct limits *l, const cJSON *wish, struct err *err);
/* Every limit with its value or null, and `on_limit`: what limit_change takes. */
cJSON *limit_json(const struct limits *l);
/*
 * Adds "KEY=VALUE" to wish. VALUE is a number, with K, M, G or T behind it (powers of 1024) where
 * bytes are meant, or `none`; of on_limit, `refuse` or `suspend`. 400 invalid-request.
 */
int limit_add_word(cJSON *wish, const char *word, struct err *err);
/* The value as limit_add_word takes it, "1536K" or "none"; out has 32 bytes. */
void limit_format(const struct limits *l, enum limit limit, char out[32]);

#endif
