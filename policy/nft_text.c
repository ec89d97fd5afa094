/* The text that libnftables gets: made from numbers only, by pure functions. */
#include "nft_text.h"
#include "guest.h"
#include "ipv4.h"
#include "pin_addr.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>

static const char *const count_names[WALL_COUNTS] = {
	[WALL_REFUSED_SPOOFED] = "refused_spoofed",
	[WALL_REFUSED_IPV6] = "refused_ipv6",
	[WALL_REFUSED_INVALID] = "refused_invalid",
	[WALL_REFUSED_HOST] = "refused_host",
	[WALL_REFUSED_TCP] = "refused_tcp",
	[WALL_REFUSED_UDP] = "refused_udp",
	[WALL_REFUSED_OTHER] = "refused_other",
	[WALL_TAKEN_DNS] = "taken_dns",
	[WALL_TAKEN_NAMES] = "taken_names",
	[WALL_TAKEN_LEARNT] = "taken_learnt",
	[WALL_TAKEN_NETWORKS] = "taken_networks",
};

/*
 * Everything comes in by tap0. The nat chain sends DNS, wherever it was addressed, to the resolver,
 * and to the relay what is pinned (an address and port, or while a policy learns an address) or in
 * an open network; the chain right behind it lets through what was sent there, the guest's answers
 * on connections that the host began, and nothing else. Both hang on prerouting: there is nothing
 * to forward. A connection that was let in stays known to conntrack as `dnat`, so it outlives its
 * pin.
 *
 * What is refused is noted in a set on the way, in a rule of its own: where the set is full, that
 * rule ends and the next one refuses all the same.
 */
static const char sets_text[] = "	set pins {\n"
				"		type ipv4_addr . inet_service\n"
				"		flags timeout\n"
				"		size %d\n"
				"	}\n"
				"	set hosts {\n"
				"		type ipv4_addr\n"
				"		flags timeout\n"
				"		size %d\n"
				"	}\n"
				"	set networks {\n"
				"		type ipv4_addr . inet_service\n"
				"		flags interval\n"
				"		size %d\n"
				"	}\n"
				"	set refused {\n"
				"		type ipv4_addr . inet_proto . inet_service\n"
				"		flags dynamic,timeout\n"
				"		size %d\n"
				"		timeout 1m\n"
				"	}\n"
				"	set refused_others {\n"
				"		type ipv4_addr . inet_proto\n"
				"		flags dynamic,timeout\n"
				"		size %d\n"
				"		timeout 1m\n"
				"	}\n";

#define NOTE "update @refused { ip daddr . meta l4proto . th dport counter }\n"

static const char chains_text[] =
	"	chain steer {\n"
	"		type nat hook prerouting priority dstnat; policy accept;\n"
	"		iifname != \"tap0\" return\n"
	"		ip saddr != %s return\n"
	"		meta l4proto { tcp, udp } th dport 53 counter name taken_dns redirect to "
	":53\n"
	"		ip daddr . tcp dport @pins counter name taken_names redirect to :1\n"
	"		ip daddr . tcp dport @networks counter name taken_networks redirect to :1\n"
	"		meta l4proto tcp ip daddr @hosts counter name taken_learnt redirect to :1\n"
	"	}\n"
	"	chain wall {\n"
	"		type filter hook prerouting priority dstnat + 10; policy drop;\n"
	"		iifname != \"tap0\" drop\n"
	"		meta nfproto ipv6 counter name refused_ipv6 drop\n"
	"		ip saddr != %s counter name refused_spoofed drop\n"
	"		ct state invalid counter name refused_invalid drop\n"
	"		ip daddr %s tcp dport 1 ct status dnat accept\n"
	"		ip daddr %s meta l4proto { tcp, udp } th dport 53 accept\n"
	"		ct direction reply ct state established tcp sport { %d, %d } accept\n"
	"		ip daddr %s meta l4proto { tcp, udp } " NOTE
	"		ip daddr %s meta l4proto tcp counter name refused_host reject with tcp "
	"reset\n"
	"		ip daddr %s counter name refused_host reject with icmpx admin-prohibited\n"
	"		meta l4proto vmap { tcp : goto refuse_tcp, udp : goto refuse_udp }\n"
	"		update @refused_others { ip daddr . meta l4proto counter }\n"
	"		counter name refused_other reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain refuse_tcp {\n"
	"		" NOTE "		counter name refused_tcp reject with tcp reset\n"
	"	}\n"
	"	chain refuse_udp {\n"
	"		" NOTE
	"		counter name refused_udp reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy drop;\n"
	"	}\n"
	"}\n";

void nft_text_base(struct buf *out)
{
	buf_add_str(out, "add table inet berth\ndelete table inet berth\ntable inet berth {\n");
	buf_addf(out, sets_text, WALL_PINS_MAX, WALL_PINS_MAX, WALL_NETS_MAX, WALL_REFUSED_MAX,
		WALL_REFUSED_MAX);
	for (size_t i = 0; i < WALL_COUNTS; i++)
		buf_addf(out, "	counter %s {}\n", count_names[i]);
	buf_addf(out, chains_text, GUEST_ADDR, GUEST_ADDR, GUEST_HOST_ADDR, GUEST_HOST_ADDR,
		GUEST_PORT, GUEST_CDP_PORT, GUEST_HOST_ADDR, GUEST_HOST_ADDR, GUEST_HOST_ADDR);
}

int nft_text_count(const char *name)
{
	for (int i = 0; i < WALL_COUNTS; i++)
		if (streq(count_names[i], name))
			return i;
	return -1;
}

static void add_element(struct buf *out, const char *verb, const struct wall_request *r)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &r->addr, addr, sizeof(addr));
	if (r->port)
		buf_addf(out, "%s element inet berth pins { %s . %u", verb, addr, r->port);
	else
		buf_addf(out, "%s element inet berth hosts { %s", verb, addr);
	if (r->op == WALL_PIN)
		buf_addf(out, " timeout %us", r->ttl);
	buf_add_str(out, " }\n");
}

/*
 * Adding an element that is there leaves its timeout alone, and removing one that is not there
 * fails. So both begin with an `add`, after which it is there.
 */
int nft_text_request(struct buf *out, const struct wall_request *r)
{
	struct wall_request there = *r;

	if (r->op == WALL_FLUSH) {
		buf_add_str(out, "flush set inet berth pins\nflush set inet berth hosts\n");
		return 0;
	}
	if ((r->op != WALL_PIN && r->op != WALL_UNPIN) || !pin_addr_possible(r->addr))
		return -EINVAL;
	if (r->op == WALL_PIN && (r->ttl == 0 || r->ttl > WALL_TTL_MAX))
		return -EINVAL;
	there.op = WALL_PIN;
	there.ttl = r->op == WALL_PIN ? r->ttl : 60;
	add_element(out, "add", &there);
	there.op = WALL_UNPIN;
	add_element(out, "delete", &there);
	if (r->op == WALL_PIN)
		add_element(out, "add", r);
	return 0;
}

const char *nft_text_count_name(int count)
{
	return count_names[count];
}

bool nft_text_network_valid(const struct wall_request *r)
{
	struct ipv4_network n = {ntohl(r->addr), r->bits ? ~0u << (32 - MIN(r->bits, 32)) : 0};

	return r->op == WALL_NET && r->bits <= 32 && r->port && r->port != 53 &&
	       (n.net & n.mask) == n.net && !ipv4_never_reached(&n);
}

void nft_text_networks(struct buf *out, const struct wall_request *list, size_t n)
{
	char addr[INET_ADDRSTRLEN];

	buf_add_str(out, "flush set inet berth networks\n");
	for (size_t i = 0; i < n; i++) {
		inet_ntop(AF_INET, &list[i].addr, addr, sizeof(addr));
		buf_addf(out, "%s%s/%u . %u", i ? ", " : "add element inet berth networks { ", addr,
			list[i].bits, list[i].port);
	}
	if (n)
		buf_add_str(out, " }\n");
}

const char *const nft_text_lists[] = {
	[NFT_COUNTERS] = "list counters table inet berth\n",
	[NFT_REFUSED] = "list set inet berth refused\n",
	[NFT_REFUSED_OTHERS] = "list set inet berth refused_others\n",
};

const char nft_text_forget_refused[] =
	"flush set inet berth refused\nflush set inet berth refused_others\n";
