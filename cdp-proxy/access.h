/* Open connections whose token no longer counts: expired, revoked, or gone while berthd was away.
 */
#ifndef BERTH_ACCESS_H
#define BERTH_ACCESS_H

#include "conn.h"

struct access;

struct access *access_new(struct gateway *gw);
/* Before the loop's end; its memory goes with the loop. */
void access_close(struct access *a);
/* c has got its principal: it ends when the token does. */
void access_watch(struct access *a, const struct http_conn *c);
/* Ends what was opened with this token, or (the other NULL) with any token for this agent. */
void access_cut(struct gateway *gw, const char *token_id, const char *agent);
/* Asks berthd about the token of every open connection again. */
void access_recheck(struct gateway *gw);

#endif
