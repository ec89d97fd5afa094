/*
 * The addresses of a name: cache, one upstream question per name at a time, forbidden addresses
 * removed.
 *
 * An entry is one name, either being asked (with those who wait) or known until `until`. The
 * resolver and the relay share the cache, so what the relay dials is what the guest was told,
 * unless it has run out in between.
 */
#include "lookup.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define BUCKETS 1024u
#define FAILURE_TTL 2u /* seconds: after a failure of all servers */

/* Owned by its bucket; never freed while it is being asked. */
struct entry {
	struct entry *next;
	struct lookup *lookup;
	struct lookup_wait *waits;
	struct dns_answer answer; /* as upstream said */
	uint64_t until;           /* now_ms */
	bool asking, busy;        /* busy: its waiters are being called */
	char name[];
};

/* Lives as long as the process. */
struct lookup {
	struct upstream *upstream;
	const struct pin_networks *private_networks;
	const struct ruleset *rules;
	struct entry *buckets[BUCKETS];
	size_t n, asking, hand; /* hand: the bucket where the next eviction begins */
};

static size_t bucket_of(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h % BUCKETS;
}

struct lookup *lookup_new(struct upstream *upstream, const struct pin_networks *private_networks,
	const struct ruleset *rules)
{
	struct lookup *l = xcalloc(1, sizeof(*l));

	l->upstream = upstream;
	l->private_networks = private_networks;
	l->rules = rules;
	return l;
}

static struct entry *find(const struct lookup *l, const char *name)
{
	struct entry *e = l->buckets[bucket_of(name)];

	while (e && !streq(e->name, name))
		e = e->next;
	return e;
}

/* Frees one entry that nobody waits for; at most LOOKUP_QUERIES_MAX are being asked, so there is
 * one. */
static void evict(struct lookup *l)
{
	for (size_t i = 0; i < BUCKETS; i++, l->hand++) {
		for (struct entry **at = &l->buckets[l->hand % BUCKETS]; *at; at = &(*at)->next) {
			struct entry *e = *at;

			if (e->asking || e->busy)
				continue;
			*at = e->next;
			free(e);
			l->n--;
			l->hand++;
			return;
		}
	}
}

static struct entry *add(struct lookup *l, const char *name)
{
	struct entry *e = xcalloc(1, sizeof(*e) + strlen(name) + 1);
	struct entry **bucket = &l->buckets[bucket_of(name)];

	if (l->n == LOOKUP_CACHE_MAX)
		evict(l);
	strcpy(e->name, name);
	e->lookup = l;
	e->next = *bucket;
	*bucket = e;
	l->n++;
	return e;
}

/* The answer as it may be used now. */
static struct lookup_result usable(const struct entry *e, uint64_t now)
{
	struct lookup_result r = {
		.rcode = e->answer.rcode, .ttl = (uint32_t)((e->until - now) / 1000)};

	for (size_t i = 0; i < e->answer.n; i++) {
		if (pin_addr_allowed(e->lookup->private_networks, e->lookup->rules,
			    e->answer.addrs[i], RULESET_ANY_PORT))
			r.addrs[r.n++] = e->answer.addrs[i];
		else
			r.removed++;
	}
	return r;
}

static void on_answer(void *data, const struct dns_answer *answer)
{
	struct entry *e = data;
	struct lookup_wait *w = e->waits;
	struct lookup_result result;
	uint64_t now = now_ms();

	e->answer =
		answer ? *answer : (struct dns_answer){.rcode = DNS_SERVFAIL, .ttl = FAILURE_TTL};
	e->until = now + (uint64_t)e->answer.ttl * 1000;
	e->waits = NULL;
	e->asking = false;
	e->lookup->asking--;
	if (w)
		w->at = &w;
	result = usable(e, now);
	e->busy = true;
	while (w) {
		struct lookup_wait *one = w;

		lookup_cancel(one);
		one->done(one, &result);
	}
	e->busy = false;
}

static void answer_from(const struct entry *e, uint64_t now, struct lookup_wait *w)
{
	struct lookup_result result = usable(e, now);

	w->at = NULL;
	w->done(w, &result);
}

void lookup_start(struct lookup *l, const char *name, struct lookup_wait *w)
{
	struct entry *e = find(l, name);
	uint64_t now = now_ms();

	if (e && !e->asking && e->until > now) {
		answer_from(e, now, w);
		return;
	}
	if ((!e || !e->asking) && l->asking == LOOKUP_QUERIES_MAX) {
		struct lookup_result busy = {.rcode = DNS_SERVFAIL};

		w->at = NULL;
		w->done(w, &busy);
		return;
	}
	if (!e)
		e = add(l, name);
	w->next = e->waits;
	w->at = &e->waits;
	if (w->next)
		w->next->at = &w->next;
	e->waits = w;
	if (e->asking)
		return;
	e->asking = true;
	l->asking++;
	upstream_ask(l->upstream, name, on_answer, e);
}

bool lookup_knows(const struct lookup *l, const char *name)
{
	const struct entry *e = find(l, name);

	return e && (e->asking || e->until > now_ms());
}

void lookup_forget(struct lookup *l)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct entry *e = l->buckets[i]; e; e = e->next)
			e->until = 0;
}

void lookup_cancel(struct lookup_wait *w)
{
	if (!w->at)
		return;
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	w->at = NULL;
	w->next = NULL;
}
