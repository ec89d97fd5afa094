/* Loopback ports that speak plain CDP for one agent (`berth port`). */
#ifndef BERTH_PORTS_H
#define BERTH_PORTS_H

#include "gateway.h"

struct ports;

struct ports *ports_new(struct gateway *gw);
void ports_free(struct ports *p);
/* berthd is there (again): opens what its records say and is not open. */
void ports_restore(struct ports *p);
/* An agent has gone. */
void ports_forget(struct ports *p, const char *agent);

void port_open_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void port_close_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
