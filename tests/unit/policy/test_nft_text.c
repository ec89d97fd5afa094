/* The text for nftables: golden, and nothing but numbers ever comes into it. */
#include <arpa/inet.h>
#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nft_text.h"
#include "util.h"

static const char golden[] =
	"add table inet berth\n"
	"delete table inet berth\n"
	"table inet berth {\n"
	"	set pins {\n"
	"		type ipv4_addr . inet_service\n"
	"		flags timeout\n"
	"		size 8192\n"
	"	}\n"
	"	set hosts {\n"
	"		type ipv4_addr\n"
	"		flags timeout\n"
	"		size 8192\n"
	"	}\n"
	"	set networks {\n"
	"		type ipv4_addr . inet_service\n"
	"		flags interval\n"
	"		size 4096\n"
	"	}\n"
	"	set refused {\n"
	"		type ipv4_addr . inet_proto . inet_service\n"
	"		flags dynamic,timeout\n"
	"		size 256\n"
	"		timeout 1m\n"
	"	}\n"
	"	set refused_others {\n"
	"		type ipv4_addr . inet_proto\n"
	"		flags dynamic,timeout\n"
	"		size 256\n"
	"		timeout 1m\n"
	"	}\n"
	"	counter refused_spoofed {}\n"
	"	counter refused_ipv6 {}\n"
	"	counter refused_invalid {}\n"
	"	counter refused_host {}\n"
	"	counter refused_tcp {}\n"
	"	counter refused_udp {}\n"
	"	counter refused_other {}\n"
	"	counter taken_dns {}\n"
	"	counter taken_names {}\n"
	"	counter taken_learnt {}\n"
	"	counter taken_networks {}\n"
	"	chain steer {\n"
	"		type nat hook prerouting priority dstnat; policy accept;\n"
	"		iifname != \"tap0\" return\n"
	"		ip saddr != 10.0.2.15 return\n"
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
	"		ip saddr != 10.0.2.15 counter name refused_spoofed drop\n"
	"		ct state invalid counter name refused_invalid drop\n"
	"		ip daddr 10.0.2.2 tcp dport 1 ct status dnat accept\n"
	"		ip daddr 10.0.2.2 meta l4proto { tcp, udp } th dport 53 accept\n"
	"		ct direction reply ct state established tcp sport { 700, 701 } accept\n"
	"		ip daddr 10.0.2.2 meta l4proto { tcp, udp } update @refused { ip daddr . "
	"meta l4proto . th dport counter }\n"
	"		ip daddr 10.0.2.2 meta l4proto tcp counter name refused_host reject with "
	"tcp reset\n"
	"		ip daddr 10.0.2.2 counter name refused_host reject with icmpx "
	"admin-prohibited\n"
	"		meta l4proto vmap { tcp : goto refuse_tcp, udp : goto refuse_udp }\n"
	"		update @refused_others { ip daddr . meta l4proto counter }\n"
	"		counter name refused_other reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain refuse_tcp {\n"
	"		update @refused { ip daddr . meta l4proto . th dport counter }\n"
	"		counter name refused_tcp reject with tcp reset\n"
	"	}\n"
	"	chain refuse_udp {\n"
	"		update @refused { ip daddr . meta l4proto . th dport counter }\n"
	"		counter name refused_udp reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy drop;\n"
	"	}\n"
	"}\n";

static void base_is_golden(void **state)
{
	struct buf b;

	buf_init(&b, NFT_TEXT_MAX);
	nft_text_base(&b);
	assert_string_equal(buf_str(&b), golden);
	buf_done(&b);
}

static void requests_are_golden(void **state)
{
	struct wall_request r = {
		.op = WALL_PIN, .addr = inet_addr("203.0.113.7"), .port = 443, .ttl = 300};
	struct buf b;

	buf_init(&b, NFT_TEXT_MAX);
	assert_int_equal(nft_text_request(&b, &r), 0);
	assert_string_equal(buf_str(&b),
		"add element inet berth pins { 203.0.113.7 . 443 timeout 300s }\n"
		"delete element inet berth pins { 203.0.113.7 . 443 }\n"
		"add element inet berth pins { 203.0.113.7 . 443 timeout 300s }\n");
	buf_consume(&b, b.len);
	r.op = WALL_UNPIN;
	assert_int_equal(nft_text_request(&b, &r), 0);
	assert_string_equal(buf_str(&b),
		"add element inet berth pins { 203.0.113.7 . 443 timeout 60s }\n"
		"delete element inet berth pins { 203.0.113.7 . 443 }\n");
	buf_consume(&b, b.len);
	r.op = WALL_FLUSH;
	assert_int_equal(nft_text_request(&b, &r), 0);
	assert_string_equal(buf_str(&b), "flush set inet berth pins\nflush set inet berth hosts\n");
	buf_consume(&b, b.len);
	r = (struct wall_request){.op = WALL_PIN, .addr = inet_addr("203.0.113.7"), .ttl = 300};
	assert_int_equal(nft_text_request(&b, &r), 0);
	assert_string_equal(buf_str(&b),
		"add element inet berth hosts { 203.0.113.7 timeout 300s }\n"
		"delete element inet berth hosts { 203.0.113.7 }\n"
		"add element inet berth hosts { 203.0.113.7 timeout 300s }\n");
	buf_done(&b);
}

static void networks_are_golden(void **state)
{
	const struct wall_request list[] = {
		{.op = WALL_NET, .addr = inet_addr("203.0.113.0"), .bits = 24, .port = 22},
		{.op = WALL_NET, .addr = inet_addr("10.1.2.3"), .bits = 32, .port = 5432},
		{.op = WALL_NET, .addr = 0, .bits = 0, .port = 80}};
	struct wall_request bad[] = {
		list[0], list[0], list[0], list[0], list[0], list[0], list[0], list[0]};
	struct buf b;

	buf_init(&b, NFT_TEXT_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		assert_true(nft_text_network_valid(&list[i]));
	nft_text_networks(&b, list, 0);
	assert_string_equal(buf_str(&b), "flush set inet berth networks\n");
	buf_consume(&b, b.len);
	nft_text_networks(&b, list, ARRAY_SIZE(list));
	assert_string_equal(buf_str(&b),
		"flush set inet berth networks\n"
		"add element inet berth networks { 203.0.113.0/24 . 22, 10.1.2.3/32 . 5432, "
		"0.0.0.0/0 . 80 }\n");
	buf_done(&b);
	bad[0].op = WALL_PIN;
	bad[1].bits = 33;
	bad[2].bits = 23;
	bad[3].port = 0;
	bad[4].port = 53;
	bad[5].addr = inet_addr("127.0.0.1");
	bad[6].addr = inet_addr("10.0.2.0");
	bad[7].addr = inet_addr("203.0.113.1");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(nft_text_network_valid(&bad[i]));
}

static void the_longest_list_of_networks_fits(void **state)
{
	struct wall_request *list = xcalloc(WALL_NETS_MAX, sizeof(*list));
	struct buf b;

	for (size_t i = 0; i < WALL_NETS_MAX; i++)
		list[i] = (struct wall_request){.op = WALL_NET,
			.addr = inet_addr("203.100.113.117"),
			.bits = 32,
			.port = 65535};
	buf_init(&b, NFT_TEXT_MAX);
	nft_text_networks(&b, list, WALL_NETS_MAX);
	assert_false(b.full);
	buf_done(&b);
	free(list);
}

static void wrong_requests_are_refused(void **state)
{
	const struct wall_request good = {
		.op = WALL_PIN, .addr = inet_addr("203.0.113.7"), .port = 443, .ttl = 300};
	static const char *const never[] = {"0.0.0.0", "127.0.0.1", "10.0.2.2", "10.0.2.15",
		"224.0.0.1", "255.255.255.255", "240.1.1.1"};
	struct wall_request bad[] = {good, good, good, good, good};
	struct buf b;

	bad[0].op = 0;
	bad[1].op = 99;
	bad[2].op = WALL_COUNTERS;
	bad[3].ttl = 0;
	bad[4].ttl = WALL_TTL_MAX + 1;
	buf_init(&b, NFT_TEXT_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(nft_text_request(&b, &bad[i]), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		struct wall_request r = good;

		r.addr = inet_addr(never[i]);
		assert_int_equal(nft_text_request(&b, &r), -EINVAL);
	}
	assert_int_equal(b.len, 0);
	buf_done(&b);
}

/* Any bytes for a request: refused, or lines of exactly this form. */
static void nothing_escapes(void **state)
{
	regex_t form;
	uint32_t seed = 1;
	int taken = 0;

	assert_int_equal(regcomp(&form,
				 "^((add|delete) element inet berth (pins|hosts) \\{ "
				 "[0-9]{1,3}(\\.[0-9]{1,3}){3}( \\. [0-9]{1,5})?"
				 "( timeout [0-9]{1,4}s)? \\}\n){2,3}$|^(flush set inet berth "
				 "(pins|hosts)\n){2}$",
				 REG_EXTENDED | REG_NOSUB),
		0);
	for (int i = 0; i < 100000; i++) {
		struct wall_request r;
		uint8_t *p = (uint8_t *)&r;
		struct buf b;

		for (size_t k = 0; k < sizeof(r); k++) {
			seed = seed * 1664525 + 1013904223;
			p[k] = (uint8_t)(seed >> 24);
		}
		r.op %= 6;
		r.ttl %= 8000;
		buf_init(&b, NFT_TEXT_MAX);
		if (nft_text_request(&b, &r) == 0) {
			taken++;
			assert_int_equal(regexec(&form, buf_str(&b), 0, NULL, 0), 0);
		} else {
			assert_int_equal(b.len, 0);
		}
		buf_done(&b);
	}
	assert_true(taken > 10000);
	regfree(&form);
}

static void a_whole_batch_fits(void **state)
{
	struct wall_request r = {
		.op = WALL_PIN, .addr = inet_addr("203.100.113.117"), .port = 65535, .ttl = 3999};
	struct buf b;

	buf_init(&b, NFT_TEXT_MAX);
	for (int i = 0; i < WALL_IN_FLIGHT_MAX; i++)
		assert_int_equal(nft_text_request(&b, &r), 0);
	assert_false(b.full);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(base_is_golden),
		cmocka_unit_test(requests_are_golden), cmocka_unit_test(wrong_requests_are_refused),
		cmocka_unit_test(networks_are_golden),
		cmocka_unit_test(the_longest_list_of_networks_fits),
		cmocka_unit_test(nothing_escapes), cmocka_unit_test(a_whole_batch_fits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
