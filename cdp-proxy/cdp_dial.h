/* The way to an agent's browser: a socket from berthd, and the address of the browser's own end. */
#ifndef BERTH_CDP_DIAL_H
#define BERTH_CDP_DIAL_H

#include <stddef.h>

#include "gateway.h"
#include "upstream_http.h"

#define CDP_DIAL_MS 30000 /* how long a browser that is starting is waited for */

struct cdp_dial;

/* fd is the callee's; path is what to ask for there. -1 with err set when there is none.
 * generation: as of agent.connect. */
typedef void cdp_dial_fn(
	void *data, int fd, const char *path, uint64_t generation, const struct err *err);
/*
 * A connected socket for a WebSocket to `path`; NULL means the browser's own end, which is looked
 * up. Waits for a browser that is starting. Never calls back from inside; once.
 */
struct cdp_dial *cdp_dial_new(
	struct gateway *gw, const char *agent, const char *path, cdp_dial_fn *fn, void *data);
/* One HTTP request to the browser, waited for likewise. The answer's status may be any. */
struct cdp_dial *cdp_dial_http(struct gateway *gw, const char *agent, const char *method,
	const char *target, upstream_http_fn *fn, void *data);
/* No call-back after this. Not after the call-back. NULL is fine. */
void cdp_dial_cancel(struct cdp_dial *d);

/* `[A-Za-z0-9-]{1,64}`: targets and browsers are named so. */
bool cdp_id_valid(const char *id);

#endif
