/* A connection of our own, out of the host's network namespace: several addresses in turn, or a
 * service. */
#ifndef BERTH_POLICY_DIAL_H
#define BERTH_POLICY_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "dns_packet.h"
#include "pin_addr.h"
#include "proxy.h"

#define DIAL_VIA_MAX 4 /* tries by a proxy */

/* Embedded in its owner, which closes `stream` itself once it is connected. */
struct dial {
	uv_loop_t *loop;
	const struct pin_networks
		*own; /* networks in which this host's own addresses may be dialled; NULL: none */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} sock;
	uv_connect_t connect;
	uint32_t addrs[DNS_ADDRS_MAX];
	size_t n, at, tries;
	uint16_t port;
	const struct proxy *proxy; /* NULL: straight */
	uint32_t via[DIAL_VIA_MAX];
	size_t n_via;
	const char *name; /* the target's, for a proxy that takes names */
	struct proxy_talk talk;
	char why[200];     /* the last try came to nothing; "" is silence */
	bool proxy_failed; /* the proxy itself, whatever the target */
	bool open, connecting, cancelled;
	uint64_t began; /* the try under way, now_ms */
	/* 0: stream is connected. Negative errno: none of them answered. Never called after
	 * dial_cancel. */
	void (*done)(struct dial *d, int result);
	/* After dial_cancel or a failure: the handle is closed, the owner may go. */
	void (*closed)(struct dial *d);
};

/* addrs in network byte order; prefer is tried first if it is one of them. */
void dial_tcp(struct dial *d, const uint32_t *addrs, size_t n, uint32_t prefer, uint16_t port);
/* The same by a proxy, which has the addresses via (at least one) and is kept by the caller. */
void dial_by_proxy(struct dial *d, const struct proxy *proxy, const uint32_t *via, size_t n_via,
	const char *name, const uint32_t *addrs, size_t n, uint16_t port);
void dial_unix(struct dial *d, const char *path);
/* The address that is being tried or was reached; 0 of a service. After dial_tcp or dial_unix. */
uint32_t dial_addr(const struct dial *d);
/* Gives up on the address that has been tried for longer than ms if there is another one. */
void dial_tick(struct dial *d, uint64_t now, uint64_t ms);
/* Why it came to nothing, for people; names the proxy. */
const char *dial_failure(const struct dial *d);
/* Closes whatever is open; closed follows. False: nothing is open, or it was called before. */
bool dial_cancel(struct dial *d);

#endif
