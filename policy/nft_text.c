/* The text that libnftables gets: made from numbers only, by pure functions. */
#include "nft_text.h"
#include "guest.h"
#include "pin_addr.h"

#include <arpa/inet.h>
#include <errno.h>

/*
 * Everything comes in by tap0. The nat chain sends DNS, wherever it was addressed, to the resolver
 * and what is pinned to the relay; the chain right behind it lets through what was sent there, the
 * guest's answers on connections that the host began, and nothing else. Both hang on prerouting:
 * there is nothing to forward. A connection that was let in stays known to conntrack as `dnat`, so
 * it outlives its pin.
 */
static const char base_text[] =
	"add table inet berth\n"
	"delete table inet berth\n"
	"table inet berth {\n"
	"	set pins {\n"
	"		type ipv4_addr . inet_service\n"
	"		flags timeout\n"
	"		size %d\n"
	"	}\n"
	"	counter refused_spoofed {}\n"
	"	counter refused_ipv6 {}\n"
	"	counter refused_invalid {}\n"
	"	counter refused_host {}\n"
	"	counter refused_tcp {}\n"
	"	counter refused_udp {}\n"
	"	counter refused_other {}\n"
	"	chain steer {\n"
	"		type nat hook prerouting priority dstnat; policy accept;\n"
	"		iifname != \"tap0\" return\n"
	"		ip saddr != %s return\n"
	"		meta l4proto { tcp, udp } th dport 53 redirect to :53\n"
	"		ip daddr . tcp dport @pins redirect to :1\n"
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
	"		ip daddr %s meta l4proto tcp counter name refused_host reject with tcp "
	"reset\n"
	"		ip daddr %s counter name refused_host reject with icmpx admin-prohibited\n"
	"		meta l4proto tcp counter name refused_tcp reject with tcp reset\n"
	"		meta l4proto udp counter name refused_udp reject with icmpx "
	"admin-prohibited\n"
	"		counter name refused_other reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy drop;\n"
	"	}\n"
	"}\n";

void nft_text_base(struct buf *out)
{
	buf_addf(out, base_text, WALL_PINS_MAX, GUEST_ADDR, GUEST_ADDR, GUEST_HOST_ADDR,
		GUEST_HOST_ADDR, GUEST_PORT, GUEST_CDP_PORT, GUEST_HOST_ADDR, GUEST_HOST_ADDR);
}

static void add_element(struct buf *out, const char *verb, const struct wall_request *r)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &r->addr, addr, sizeof(addr));
	buf_addf(out, "%s element inet berth pins { %s . %u", verb, addr, (unsigned)r->port);
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
		buf_add_str(out, "flush set inet berth pins\n");
		return 0;
	}
	if ((r->op != WALL_PIN && r->op != WALL_UNPIN) || r->port == 0 ||
		!pin_addr_possible(r->addr))
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

void nft_text_counters(struct buf *out)
{
	buf_add_str(out, "list counters table inet berth\n");
}
