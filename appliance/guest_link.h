/* berthd's end of the guest's control channel (base/guest.h). */
#ifndef BERTH_GUEST_LINK_H
#define BERTH_GUEST_LINK_H

#include <uv.h>

#include "err.h"
#include "guest.h"

struct guest_link; /* owned by the vm */

enum guest_link_end {
	GUEST_LINK_NO_START, /* the guest never answered */
	GUEST_LINK_HANG,     /* it stopped answering */
};

/* None is called from within a guest_link_ function. The link may be freed from within any of them.
 */
struct guest_link_callbacks {
	void (*ready)(void *data, const struct guest_ready *ready);
	void (*browser)(void *data, const struct guest_browser *browser);
	void (*pong)(void *data, const struct guest_pong *pong);
	void (*log)(void *data, unsigned source,
		const char *line); /* printable, at most GUEST_LOG_MAX */
	void (*ended)(void *data, enum guest_link_end how);
};

/*
 * Connects to the guest of agent `id` as soon as it accepts (a new attempt every 50 ms, at most 120
 * s), sends config (its time and entropy are filled in anew for each connection), and then pings
 * every 5 s. A connection that breaks is made again. 30 s without any answer, while this host
 * itself was awake, is a hang.
 */
struct guest_link *guest_link_new(uv_loop_t *loop, const char *state, const char *id,
	const struct guest_config *config, const struct guest_link_callbacks *cb, void *data);
/* Sends an empty frame: GUEST_SHUTDOWN or GUEST_BROWSER_RESTART. Kept until there is a connection.
 */
void guest_link_send(struct guest_link *l, enum guest_type type);
/* It is known why the guest does not answer just now: its silence so far is no hang. */
void guest_link_excuse(struct guest_link *l);
/* No callback comes after this. NULL is fine. */
void guest_link_free(struct guest_link *l);

#endif
