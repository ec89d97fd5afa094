/* Routes that are one op of berthd, and the few that answer by themselves. */
#ifndef BERTH_API_OPS_H
#define BERTH_API_OPS_H

#include "gateway.h"

void op_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void agents_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void policy_why_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void policy_log_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void actions_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void action_picture_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
