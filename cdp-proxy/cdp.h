/* CDP connections: a client's WebSocket and the browser's, with the filter between them. */
#ifndef BERTH_CDP_H
#define BERTH_CDP_H

#include "gateway.h"

/* cdp_serve_ws() is in gateway.h. */
#define CDP_MESSAGE_MAX (256u << 20) /* of a client */
#define CDP_REPLIES_MAX \
	(256u << 10) /* our own answers waiting for the end of a browser's message */
/* A command not older than that and not answered yet wakes its agent. */
#define CDP_UNDER_WAY_MS 5000

#endif
