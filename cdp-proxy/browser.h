/* A CDP client of the gateway's own, to one page of an agent: for the picture and for `open`. */
#ifndef BERTH_BROWSER_H
#define BERTH_BROWSER_H

#include "gateway.h"

#define BROWSER_ANSWER_MAX (64u << 20)
#define BROWSERS_MAX 16 /* at once in this gateway: each may hold one answer */

struct browser;

struct browser_owner {
	void (*on_ready)(void *data, const char *target);
	/* An event's method and the text of its params; small ones only (1 MiB). May be NULL. */
	void (*on_event)(void *data, const char *method, const char *params, size_t n);
	/* The one end that is not the owner's doing; browser_free is still the owner's to call. */
	void (*on_failed)(void *data, const struct err *err);
};

/*
 * Connects to the page in front, or to a new one (about:blank). Everything must be over in
 * timeout_ms, else on_failed with 504. NULL with err when too many are under way. Never calls back
 * from inside.
 */
struct browser *browser_new(struct gateway *gw, const char *agent, bool new_page,
	uint64_t timeout_ms, const struct browser_owner *owner, void *data, struct err *err);
void browser_free(struct browser *b);

/* result: the text of the answer's `result`; NULL with err when the browser refused (its message)
 * or answered oddly. */
typedef void browser_answer_fn(void *data, const char *result, size_t n, const struct err *err);
/* One call at a time. params is consumed (may be NULL). */
void browser_call(struct browser *b, const char *method, cJSON *params, browser_answer_fn *fn);

#endif
