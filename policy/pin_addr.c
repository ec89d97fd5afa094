/* Which IPv4 addresses may be pinned and dialled at all, and which only if the operator names their
 * network. */
#include "pin_addr.h"
#include "ipv4.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

struct range {
	uint32_t net;
	unsigned bits;
};

/* Not of the public Internet (IANA's special-purpose registry, RFC 6890), so only by the operator's
 * word. */
static const struct range special[] = {
	{0x0a000000, 8},  /* 10.0.0.0/8: private (RFC 1918) */
	{0x64400000, 10}, /* 100.64.0.0/10: carriers' NAT (RFC 6598) */
	{0xac100000, 12}, /* 172.16.0.0/12: private */
	{0xc0000000, 24}, /* 192.0.0.0/24: protocol assignments, NAT64 discovery */
	{0xc01fc400, 24}, /* 192.31.196.0/24: AS112 */
	{0xc034c100, 24}, /* 192.52.193.0/24: AMT */
	{0xc0586300, 24}, /* 192.88.99.0/24: 6to4 relays */
	{0xc0a80000, 16}, /* 192.168.0.0/16: private */
	{0xc0af3000, 24}, /* 192.175.48.0/24: AS112 */
	{0xc6120000, 15}, /* 198.18.0.0/15: benchmarks, and the appliance's services */
};

static uint32_t mask_of(unsigned bits)
{
	return bits ? ~0u << (32 - bits) : 0;
}

bool pin_addr_possible(uint32_t addr)
{
	const struct ipv4_network one = {ntohl(addr), ~0u};

	return !ipv4_never_reached(&one);
}

bool pin_networks_have(const struct pin_networks *networks, uint32_t addr)
{
	for (size_t i = 0; i < networks->n; i++)
		if ((ntohl(addr) & networks->list[i].mask) == networks->list[i].net)
			return true;
	return false;
}

static bool is_public(uint32_t addr)
{
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if ((ntohl(addr) & mask_of(special[i].bits)) == special[i].net)
			return false;
	return true;
}

bool pin_addr_allowed(const struct pin_networks *private_networks, const struct ruleset *rules,
	uint32_t addr, uint16_t port)
{
	struct ruleset_decision d = ruleset_addr(rules, addr, port);

	if (!pin_addr_possible(addr) || d.verdict == RULESET_DENY)
		return false;
	return is_public(addr) || pin_networks_have(private_networks, addr) ||
	       d.verdict == RULESET_ALLOW;
}

static int parse_one(const char *s, size_t n, struct pin_networks *ret, struct err *err)
{
	struct ipv4_network one;
	int r = ipv4_network_parse(s, n, &one, err);

	if (r < 0)
		return r;
	if (ret->n == PIN_NETWORKS_MAX)
		return err_set(err, E2BIG, "more than %d private networks", PIN_NETWORKS_MAX);
	ret->list[ret->n].mask = one.mask;
	ret->list[ret->n++].net = one.net;
	return 0;
}

int pin_networks_parse(const char *text, struct pin_networks *ret, struct err *err)
{
	*ret = (struct pin_networks){0};
	if (!text || !*text)
		return 0;
	for (;;) {
		size_t n;
		int r;

		text += strspn(text, " ");
		n = strcspn(text, ", ");
		r = parse_one(text, n, ret, err);
		if (r < 0)
			return r;
		text += n;
		text += strspn(text, " ");
		if (!*text)
			return 0;
		if (*text != ',')
			return err_set(err, EINVAL, "private networks are separated by commas");
		text++;
	}
}
