/* What the parser may ask of the wall, and nothing else: fixed records over a SOCK_SEQPACKET pair.
 */
#ifndef BERTH_POLICY_WALL_MSG_H
#define BERTH_POLICY_WALL_MSG_H

#include <stdint.h>

#define WALL_PINS_MAX 8192    /* elements of the set: full means that a name is refused */
#define WALL_NETS_MAX 4096    /* networks times ports */
#define WALL_TTL_MAX 4000u    /* seconds */
#define WALL_REFUSED_MAX 256  /* kinds of refused packets that are told apart between two looks */
#define WALL_REFUSED_TOLD 32  /* of them in one answer */
#define WALL_IN_FLIGHT_MAX 64 /* messages without an answer yet, and the wall's largest batch */

enum wall_op {
	/* addr:port for ttl seconds, from now on; an older pin's time is replaced. Port 0: every
	 * port. */
	WALL_PIN = 1,
	WALL_UNPIN = 2,    /* a missing pin is fine */
	WALL_FLUSH = 3,    /* no pin at all */
	WALL_COUNTERS = 4, /* answered with counts */
	/* What is open by network: a list begun anew, grown one by one (addr/bits, port), and put
	 * in force in one transaction in place of the last. */
	WALL_NETS_BEGIN = 5,
	WALL_NET = 6,
	WALL_NETS_COMMIT = 7,
	WALL_REFUSALS = 8, /* answered with what was refused since the last time */
};

struct wall_request {
	uint32_t seq;
	uint32_t op;   /* enum wall_op */
	uint32_t addr; /* network byte order */
	uint32_t ttl;
	uint16_t port; /* host byte order */
	uint16_t bits; /* of WALL_NET: 0 to 32 */
};

/* Packets so far: refused of each kind, then connections and questions that were let in by each
 * class of rules. */
enum wall_count {
	WALL_REFUSED_SPOOFED,
	WALL_REFUSED_IPV6,
	WALL_REFUSED_INVALID,
	WALL_REFUSED_HOST,
	WALL_REFUSED_TCP,
	WALL_REFUSED_UDP,
	WALL_REFUSED_OTHER,
	WALL_REFUSED_COUNT, /* those before are refusals */
	WALL_TAKEN_DNS = WALL_REFUSED_COUNT,
	WALL_TAKEN_NAMES,
	WALL_TAKEN_LEARNT,
	WALL_TAKEN_NETWORKS,
	WALL_COUNTS,
};

/* Packets of one kind that were refused. */
struct wall_refusal {
	uint32_t addr;     /* where to; network byte order */
	uint16_t port;     /* host byte order; 0 but with TCP and UDP */
	uint16_t protocol; /* IPPROTO_… */
	uint32_t packets;
};

/* Sent after netlink has acknowledged the change, in the order of the requests. */
struct wall_answer {
	uint32_t seq;
	int32_t result; /* 0 or a negative errno */
	union {
		uint64_t counts[WALL_COUNTS]; /* of WALL_COUNTERS */
		struct {
			uint32_t n, more; /* more: kinds beyond these */
			struct wall_refusal list[WALL_REFUSED_TOLD];
		} refusals; /* of WALL_REFUSALS */
	};
};

/* The first record from the wall, with the listeners attached one by one in this order. */
enum wall_listener { WALL_DNS_UDP, WALL_DNS_TCP, WALL_RELAY, WALL_LISTENERS };

#endif
