/* The control connection: berthd's, one at a time. */
#ifndef BERTH_INIT_CONTROL_H
#define BERTH_INIT_CONTROL_H

#include "conn.h"

struct control_options {
	uint32_t kernel_ms, init_ms, fresh; /* for GUEST_READY */
	bool identity;                      /* apply what CONFIG says to this machine */
	void (*shutdown)(void *data);       /* GUEST_SHUTDOWN has come */
	void *data;
};

void control_init(const struct control_options *options);
/* Takes the connection over; one that was there before is closed. */
void control_new(struct conn *conn);
/* The browser's state has changed. */
void control_browser(void);
/* True after the first CONFIG. */
bool control_configured(void);

#endif
