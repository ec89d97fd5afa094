/* MCP over Streamable HTTP. */
#ifndef BERTH_MCP_H
#define BERTH_MCP_H

#include "gateway.h"

/* POST …/mcp: one message of an MCP client, and its answer. */
void mcp_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
