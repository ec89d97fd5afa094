/* Computer use over HTTP. */
#ifndef BERTH_COMPUTER_H
#define BERTH_COMPUTER_H

#include "gateway.h"

/* POST …/computer: a model's actions in its vendor's own form, and the answer in the same. */
void computer_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
