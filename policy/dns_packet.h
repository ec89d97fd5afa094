/* DNS packets (RFC 1035, 6891, 8914) by ldns, which the rest of the program does not see. */
#ifndef BERTH_POLICY_DNS_PACKET_H
#define BERTH_POLICY_DNS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

#define DNS_PACKET_MAX 4096 /* largest packet read from a guest or from an upstream server */
#define DNS_UDP_SIZE 1232   /* what we offer and at most send by UDP (DNS flag day 2020) */
#define DNS_ADDRS_MAX 16
#define DNS_CHAIN_MAX 16 /* CNAMEs followed within one answer */

/* Codes of RFC 1035 and of the IANA registries, as far as the program speaks of them. */
enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_SVCB = 64,
	DNS_TYPE_HTTPS = 65
};
enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5
};
enum dns_ede {
	DNS_EDE_NONE = -1,
	DNS_EDE_OTHER = 0,
	DNS_EDE_BLOCKED = 15,
	DNS_EDE_FILTERED = 17,
	DNS_EDE_PROHIBITED = 18,
	DNS_EDE_NO_REACHABLE = 22
};

/* One question of a guest. */
struct dns_question {
	uint16_t id, type, udp_size; /* udp_size: 512 without EDNS */
	bool recursion, edns;
	uint8_t wire[256]; /* the name as it was asked, for the echo */
	size_t wire_len;
	char name[256]; /* normal form, "" when it is no host name */
};

/*
 * Reads a question. 0: ask[0] is filled; positive: an enum dns_rcode to answer with (id and name
 * are filled as far as they were read); -EPROTO: not answered at all.
 */
int dns_read_question(const uint8_t *data, size_t n, struct dns_question *ret);
/* Writes the answer to it: addrs (network byte order) with that ttl. max: 0 for TCP. False if it
 * cannot be made. */
bool dns_write_answer(struct buf *out, const struct dns_question *q, enum dns_rcode rcode,
	enum dns_ede ede, const uint32_t *addrs, size_t n, uint32_t ttl, size_t max);

/* A question of ours for an upstream server: type A, recursion desired. */
bool dns_write_question(struct buf *out, uint16_t id, const char *name);

/* What an upstream server said. */
struct dns_answer {
	enum dns_rcode rcode; /* NOERROR without addresses: the name has none */
	bool truncated;
	uint32_t addrs[DNS_ADDRS_MAX]; /* network byte order */
	size_t n;
	uint32_t ttl; /* seconds: the least on the way from the name to the addresses, or of the
			 negative answer */
};

/* 0; -EPROTO when it is not an answer to this question (then go on waiting: it may be forged). */
int dns_read_answer(
	const uint8_t *data, size_t n, uint16_t id, const char *name, struct dns_answer *ret);

#endif
