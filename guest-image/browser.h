/* Chromium: started, watched, started again. */
#ifndef BERTH_INIT_BROWSER_H
#define BERTH_INIT_BROWSER_H

#include <uv.h>

#include "err.h"
#include "guest.h"

#define BROWSER_PORT 9222
#define BROWSER_PROBE_MS 50     /* while it starts */
#define BROWSER_START_MS 120000 /* no answer by then: it is ended and counted */
#define BROWSER_BACKOFF_MS 200  /* before the first restart; doubles … */
#define BROWSER_BACKOFF_MAX_MS 10000
#define BROWSER_ENDS_MAX 8     /* so many ends … */
#define BROWSER_ENDS_MS 60000  /* … within this, and it is given up */
#define BROWSER_KEEPER_MS 5000 /* before that helper is started again */
#define BROWSER_STOP_MS 15000  /* to write its profile and end, before SIGKILL */

struct browser_options {
	const char *etc;            /* folder with passwd and group */
	const char *const *command; /* NULL: what the image has, with berth's flags */
	uint16_t port;
	int self; /* open on berth-init itself, for its helper that watches the cookies */
	void (*changed)(void *data); /* the state, called from the loop */
	void *data;
};

void browser_init(uv_loop_t *loop, const struct browser_options *options);
/* Starts it unless it was started before. 0 for a size: the default. */
void browser_start(uint32_t width, uint32_t height);
/* Ends it if it runs, forgets earlier ends, and starts it. */
void browser_restart(void);
/* Ends it for good, gently, then not; `stopped` is called from the loop when it has gone. */
void browser_stop(void (*stopped)(void *data), void *data);
void browser_get(struct guest_browser *ret);

#endif
