/* Blocking questions to berthd and the gateway, asked from short-lived children. Private to the
 * supervisor. */
#ifndef BERTH_SUPERVISOR_ASK_H
#define BERTH_SUPERVISOR_ASK_H

#include "err.h"

/* Until berthd answers `status` and the gateway /healthz, or the time is over. */
int ask_until_up(const char *state, int timeout_ms, struct err *err);
/* Tells berthd to stop every agent and end; waits for its answer. */
int ask_shutdown(const char *state, int timeout_ms, struct err *err);

#endif
