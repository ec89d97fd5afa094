/* Addresses with ports as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "addr.h"
#include "util.h"

static void split(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {{"a.test", "a.test", 9}, {"a.test:80", "a.test", 80},
		{"10.0.0.1:65535", "10.0.0.1", 65535}, {"::1", "::1", 9},
		{"[2001:db8::1]:53", "2001:db8::1", 53}, {"[::1]", "::1", 9}};
	static const char *const bad[] = {
		"", ":80", "a:", "a:0", "a:65536", "a:8 0", "[::1", "[::1]x", "[]:1", "a:-1"};
	char host[256];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint16_t port = 9;

		assert_int_equal(addr_split(good[i].text, host, &port, NULL), 0);
		assert_string_equal(host, good[i].host);
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint16_t port = 9;

		assert_true(addr_split(bad[i], host, &port, NULL) < 0);
	}
}

static void parse(void **state)
{
	struct sockaddr_storage a;
	struct err err;

	assert_int_equal(addr_parse("192.0.2.1", 53, &a, NULL), 0);
	assert_int_equal(a.ss_family, AF_INET);
	assert_int_equal(ntohs(((struct sockaddr_in *)&a)->sin_port), 53);
	assert_int_equal(addr_parse("[2001:db8::1]:5353", 53, &a, NULL), 0);
	assert_int_equal(a.ss_family, AF_INET6);
	assert_int_equal(ntohs(((struct sockaddr_in6 *)&a)->sin6_port), 5353);
	assert_true(addr_parse("dns.test", 53, &a, &err) < 0);
	assert_string_equal(err.msg, "'dns.test' is not an address with or without :PORT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(split), cmocka_unit_test(parse)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
