/* The way through an upstream proxy: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS5 (RFC 1928, 1929). */
#ifndef BERTH_POLICY_PROXY_H
#define BERTH_POLICY_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

#define PROXY_ANSWER_MAX 8192 /* largest head of an HTTP proxy's answer */
#define PROXY_WORD_MAX 256    /* user and password, with the NUL: SOCKS5 has one byte for each */

enum proxy_kind { PROXY_NONE, PROXY_HTTP, PROXY_SOCKS5 };

/* What the operator has set. */
struct proxy {
	enum proxy_kind kind;
	char host[256]; /* an IPv4 address or a name in normal form */
	uint16_t port;
	bool names; /* it is given the name and resolves it by itself, not the address */
	char user[PROXY_WORD_MAX], password[PROXY_WORD_MAX]; /* both "": it wants none */
};

enum proxy_state { PROXY_GREETED, PROXY_ASKED_IN, PROXY_ASKED };

/* One connection's conversation until it is through. Embedded; zeroed is fine to be done. */
struct proxy_talk {
	const struct proxy *proxy;
	enum proxy_state state;
	char host[256]; /* the target */
	uint16_t port;
	struct buf in;
};

/* Begins to ask for host (an address or a name) and port; what to send is added to out. */
void proxy_begin(struct proxy_talk *t, const struct proxy *p, const char *host, uint16_t port,
	struct buf *out);
/*
 * What the proxy said. 1: the connection stands; 0: go on, perhaps there is something to send in
 * out. Negative, and err says what in words that name the proxy: -ECONNREFUSED it refuses this
 * target; -EACCES it refuses us; -EPROTO it speaks nonsense.
 */
int proxy_feed(struct proxy_talk *t, const void *data, size_t n, struct buf *out, struct err *err);
void proxy_done(struct proxy_talk *t);

#endif
