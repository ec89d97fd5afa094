/* One command on one connection: started as a user, its streams carried both ways. */
#ifndef BERTH_INIT_EXEC_H
#define BERTH_INIT_EXEC_H

#include "conn.h"

#define EXEC_MAX 64      /* at once */
#define EXEC_BLOCK 32768 /* bytes of output in one frame */
#define EXEC_STDIN_HIGH \
	(256u << 10) /* input that waits for the command; then the peer is not read */
#define EXEC_STDIN_LOW (32u << 10)
#define EXEC_DRAIN_MS \
	500 /* after the command has ended, for output of what it left in the background */

/* Takes the connection over: it waits for GUEST_EXEC_START and ends after GUEST_EXIT or
 * GUEST_FAILED. */
void exec_new(uv_loop_t *loop, struct conn *conn);
unsigned exec_count(void);

/* Where passwd and group are, and a descriptor on berth-init itself (-1: look for it in PATH).
 * Before the loop starts. */
void exec_init(const char *etc, int self);

#endif
