/* Asking DNS servers for the addresses of one name. */
#ifndef BERTH_POLICY_UPSTREAM_H
#define BERTH_POLICY_UPSTREAM_H

#include <uv.h>

#include "dns_packet.h"
#include "resolv_conf.h"

#define UPSTREAM_ROUNDS 2 /* every server is asked that often */
#define UPSTREAM_UDP_MS 2000
#define UPSTREAM_TCP_MS 4000
#define UPSTREAM_TOTAL_MS 8000 /* over all servers: the guest has its answer by then */
/* Packets that fit no question, after which a server is asked by TCP, where nobody can guess. */
#define UPSTREAM_LIES_MAX 16

struct upstream;

/*
 * health is told when no server answers any more, and when one does again; detail says it in words.
 * It may be called from within upstream_ask's answers only.
 */
typedef void upstream_health_fn(void *data, bool up, const char *detail);
struct upstream *upstream_new(uv_loop_t *loop, upstream_health_fn *health, void *data);
/* The servers to ask from now on; n is 0 for those of the host's resolv.conf. */
void upstream_use(struct upstream *u, const struct sockaddr_storage *servers, size_t n);

/*
 * Asks for A records. done is called once, never from within: answer is NULL when no server gave
 * one, else only valid during the call.
 */
typedef void upstream_done_fn(void *data, const struct dns_answer *answer);
void upstream_ask(struct upstream *u, const char *name, upstream_done_fn *done, void *data);

#endif
