/* One command in a guest, over the guest channel (base/guest.h). The guest is not believed. */
#ifndef BERTH_GUEST_CONN_H
#define BERTH_GUEST_CONN_H

#include "gateway.h"
#include "guest.h"

struct guest_run;

/* How it ended: err (not started, lost, a lie), or the command's own end. */
struct guest_end {
	const struct err *err;
	uint32_t exit_status, signal;
};

struct guest_run_owner {
	void (*on_started)(void *data);
	void (*on_output)(
		void *data, int stream, const uint8_t *p, size_t n); /* stream 1 or 2, n > 0 */
	void (*on_writable)(void *data); /* stdin was at CONN_HIGH_WATER, is below CONN_LOW_WATER */
	void (*on_end)(void *data, const struct guest_end *end); /* once; nothing after it */
};

/* Starts x (copied). NULL and err (400) when it does not fit into a frame. All call-backs come from
 * the loop. */
struct guest_run *guest_run_new(struct gateway *gw, const char *agent, const struct guest_exec *x,
	const struct guest_run_owner *owner, void *data, struct err *err);
/* Its client can only wait: should the agent fall asleep, it is woken. Else that a command runs
 * keeps its agent in use, and one that falls asleep nevertheless wakes for what is sent to it. */
void guest_run_hurries(struct guest_run *r);
/* Bytes for stdin, also before it has started; returns the bytes queued. */
size_t guest_run_stdin(struct guest_run *r, const void *data, size_t n);
void guest_run_stdin_end(struct guest_run *r);
void guest_run_signal(struct guest_run *r, uint32_t signal);
void guest_run_window(struct guest_run *r, uint16_t rows, uint16_t columns);
/* Stops or goes on with reading output; up to one frame may still come. */
void guest_run_pause(struct guest_run *r, bool pause);
/* Cuts the connection (the guest ends the command). No call-back after this. Also from call-backs;
 * NULL is fine. */
void guest_run_free(struct guest_run *r);

#endif
