/* A CDP client of the gateway's own, to a whole browser: sessions to its targets over one
 * connection. */
#ifndef BERTH_CDP_LINK_H
#define BERTH_CDP_LINK_H

#include "gateway.h"

#define CDP_LINK_CALLS_MAX 2048 /* not answered yet */
#define CDP_LINK_MESSAGE_MAX (64u << 20)
#define CDP_LINK_EVENT_MAX (16u << 20)
#define CDP_SESSION_MAX 65 /* of a session's or a target's id, with its NUL */

struct cdp_link;

struct cdp_link_owner {
	void (*on_open)(void *data);
	/* session: "" for the browser's own. params: the text of an object. */
	void (*on_event)(
		void *data, const char *session, const char *method, const char *params, size_t n);
	/* It is over; cdp_link_free is still the owner's to call. */
	void (*on_closed)(void *data, const struct err *err);
};

/* Connects to the browser's own end. Never calls back from inside. */
struct cdp_link *cdp_link_new(
	struct gateway *gw, const char *agent, const struct cdp_link_owner *owner, void *data);
void cdp_link_free(struct cdp_link *l);
/* Somebody waits: the agent is woken if it falls asleep. Else it may sleep with this open. */
void cdp_link_hurries(struct cdp_link *l, bool hurries);

/* result: the text of the answer's `result`; NULL with err when the browser refused. */
typedef void cdp_link_answer_fn(
	void *data, uint64_t tag, const char *result, size_t n, const struct err *err);
/*
 * Sends a command; params is consumed (may be NULL). fn may be NULL. A call that is never answered
 * is forgotten with the link. False when too many are waiting: then nothing was sent.
 */
bool cdp_link_call(struct cdp_link *l, const char *session, const char *method, cJSON *params,
	cdp_link_answer_fn *fn, uint64_t tag);
/* Bytes that wait for the browser to read them. */
size_t cdp_link_queued(const struct cdp_link *l);

#endif
