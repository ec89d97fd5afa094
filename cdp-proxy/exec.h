/* Commands in agents, by one request or over a WebSocket. */
#ifndef BERTH_EXEC_H
#define BERTH_EXEC_H

#include "gateway.h"
#include "guest.h"

void exec_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void exec_serve_ws(struct gateway *gw, struct ws_conn *ws, const struct route_match *m);

/* What both have in common: cmd, env, cwd, user of a checked object. The strings point into obj and
 * *ret_env. */
int exec_read(const cJSON *obj, struct guest_exec *ret, char **ret_env, struct err *err);

#endif
