/* IPv4 networks as people write them. */
#include "ipv4.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int ipv4_network_parse(const char *text, size_t n, struct ipv4_network *ret, struct err *err)
{
	char copy[32], *slash;
	struct in_addr a;
	uint64_t bits = 32;

	snprintf(copy, sizeof(copy), "%.*s", (int)MIN(n, sizeof(copy) - 1), text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = 0;
	if (n >= sizeof(copy) || inet_pton(AF_INET, copy, &a) != 1 ||
		(slash && !parse_u64(slash + 1, 0, 32, &bits)))
		return err_set(err, EINVAL, "'%.*s' is not an IPv4 network such as 10.1.0.0/16",
			(int)MIN(n, (size_t)60), text);
	ret->mask = bits ? ~0u << (32 - bits) : 0;
	ret->net = ntohl(a.s_addr) & ret->mask;
	return 0;
}

static const struct {
	uint32_t net;
	unsigned bits;
} never[] = {
	{0x00000000, 8},  /* 0.0.0.0/8: this network (RFC 791) */
	{0x0a000200, 24}, /* 10.0.2.0/24: the agent's own link */
	{0x646464c8, 32}, /* 100.100.100.200: Alibaba Cloud's metadata */
	{0x7f000000, 8},  /* 127.0.0.0/8: loopback */
	{0xa83f8110, 32}, /* 168.63.129.16: Azure's host */
	{0xa9fe0000, 16}, /* 169.254.0.0/16: link-local, and most clouds' metadata */
	{0xc00000c0, 32}, /* 192.0.0.192: Oracle Cloud's metadata */
	{0xe0000000, 3},  /* 224.0.0.0/3: multicast, reserved, broadcast */
};

bool ipv4_never_reached(const struct ipv4_network *n)
{
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		uint32_t mask = ~0u << (32 - never[i].bits);

		if ((n->mask & mask) == mask && (n->net & mask) == never[i].net)
			return true;
	}
	return false;
}
