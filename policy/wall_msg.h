/* What the parser may ask of the wall, and nothing else: fixed records over a SOCK_SEQPACKET pair.
 */
#ifndef BERTH_POLICY_WALL_MSG_H
#define BERTH_POLICY_WALL_MSG_H

#include <stdint.h>

#define WALL_PINS_MAX 8192    /* elements of the set: full means that a name is refused */
#define WALL_TTL_MAX 4000u    /* seconds */
#define WALL_IN_FLIGHT_MAX 64 /* messages without an answer yet, and the wall's largest batch */

enum wall_op {
	WALL_PIN = 1, /* addr:port for ttl seconds, from now on; an older pin's time is replaced */
	WALL_UNPIN = 2,    /* a missing pin is fine */
	WALL_FLUSH = 3,    /* no pin at all */
	WALL_COUNTERS = 4, /* answered with the number of packets refused so far */
};

struct wall_request {
	uint32_t seq;
	uint32_t op;   /* enum wall_op */
	uint32_t addr; /* network byte order */
	uint32_t ttl;
	uint16_t port; /* host byte order */
	uint16_t zero;
};

/* Sent after netlink has acknowledged the change, in the order of the requests. */
struct wall_answer {
	uint32_t seq;
	int32_t result; /* 0 or a negative errno */
	uint64_t packets;
};

/* The first record from the wall, with the listeners attached one by one in this order. */
enum wall_listener { WALL_DNS_UDP, WALL_DNS_TCP, WALL_RELAY, WALL_LISTENERS };

#endif
