/* Asking the host's DNS servers for the addresses of one name. */
#ifndef BERTH_POLICY_UPSTREAM_H
#define BERTH_POLICY_UPSTREAM_H

#include <uv.h>

#include "dns_packet.h"

#define UPSTREAM_ROUNDS 2 /* every server is asked that often */
#define UPSTREAM_UDP_MS 2000
#define UPSTREAM_TCP_MS 4000

/*
 * Asks for A records. done is called once, never from within: answer is NULL when no server gave
 * one, else only valid during the call.
 */
typedef void upstream_done_fn(void *data, const struct dns_answer *answer);
void upstream_ask(uv_loop_t *loop, const char *name, upstream_done_fn *done, void *data);

#endif
