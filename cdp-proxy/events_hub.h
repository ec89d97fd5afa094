/* Events of berthd, to every client that follows them. */
#ifndef BERTH_EVENTS_HUB_H
#define BERTH_EVENTS_HUB_H

#include "gateway.h"

struct events_hub;

struct events_hub *events_hub_new(struct gateway *gw);
void events_hub_close(struct events_hub *h);
/* An event has come. */
void events_hub_send(struct events_hub *h, const cJSON *event);
void events_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
