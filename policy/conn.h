/* One relayed connection. */
#ifndef BERTH_POLICY_CONN_H
#define BERTH_POLICY_CONN_H

#include "relay.h"

struct conn;

/* What a connection needs of its relay; closed is called once, when it is gone. */
struct conn_owner {
	const struct relay_parts *parts;
	void (*closed)(struct conn_owner *owner, struct conn *c);
};

/* Accepts from the listener. Never NULL: a failure closes it. Frees itself after owner->closed. */
struct conn *conn_accept(struct conn_owner *owner, uv_stream_t *listener);
/* Closes what has waited too long. */
void conn_tick(struct conn *c, uint64_t now);
/* Cuts it if the rules do not allow it any more. */
void conn_recheck(struct conn *c);
/* Ends it with a reset, whatever it is doing. */
void conn_cut(struct conn *c, const char *reason);
/* The relay's list. */
struct conn **conn_next(struct conn *c);

#endif
