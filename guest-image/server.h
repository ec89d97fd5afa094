/* The two listeners of the guest: its channel, and the way to Chromium. */
#ifndef BERTH_INIT_SERVER_H
#define BERTH_INIT_SERVER_H

#include <stdint.h>
#include <uv.h>

#include "err.h"

#define SERVER_CONNS_MAX 96 /* of the guest channel at once, greetings and goodbyes included */

struct server_options {
	const char *address; /* to listen on */
	const char *device;  /* the only interface to accept from; NULL: any */
	const char *peer;    /* the only address to accept from */
	uint16_t port, cdp_port, browser_port;
};

/* The options are the caller's and must outlive the loop. */
int server_start(uv_loop_t *loop, const struct server_options *options, struct err *err);

#endif
