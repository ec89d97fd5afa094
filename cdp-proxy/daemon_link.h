/* The gateway's end of berthd's control channel. */
#ifndef BERTH_DAEMON_LINK_H
#define BERTH_DAEMON_LINK_H

#include "gateway.h"

struct daemon_link;

/* dir: STATE/run/control; the link's to close. on_event: each event; on_up: after every
 * (re)connection. */
struct daemon_link *daemon_link_new(struct gateway *gw, int dir,
	void (*on_event)(void *data, const cJSON *event), void (*on_up)(void *data), void *data);
/* Answers what waits with 503, closes. Freed by the loop. */
void daemon_link_close(struct daemon_link *l);
bool daemon_link_up(const struct daemon_link *l);

#endif
