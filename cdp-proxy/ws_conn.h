/* The owner of libwebsockets. */
#ifndef BERTH_WS_CONN_H
#define BERTH_WS_CONN_H

#include "err.h"

struct gateway;
struct lws_side;

/* Runs on the gateway's loop. NULL and err if libwebsockets or its libuv part cannot start. */
struct lws_side *lws_side_new(struct gateway *gw, struct err *err);
/* Ends in two steps: end, some turns of the loop in which its handles close, free. NULL is fine. */
void lws_side_end(struct lws_side *s);
void lws_side_free(struct lws_side *s);

#endif
