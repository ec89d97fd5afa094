/* The end: Chromium gently, then everybody, then the disk, then the power. */
#ifndef BERTH_INIT_HALT_H
#define BERTH_INIT_HALT_H

#include <uv.h>

#define HALT_TERM_MS                                                                \
	2000 /* for other processes between SIGTERM and SIGKILL, and again after it \
	      */

/* Starts it; a second call does nothing. Only for PID 1: it signals every process. */
void halt_start(uv_loop_t *loop);
/* Disk and power, at once. */
__attribute__((noreturn)) void halt_now(void);

#endif
