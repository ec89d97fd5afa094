/* Which addresses may be pinned: the special ranges of IANA's registry and their borders. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pin_addr.h"
#include "util.h"

static const char *const open_addrs[] = {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255",
	"100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
	"172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
	"198.20.0.0", "223.255.255.255", "203.0.113.1"};
static const char *const special_addrs[] = {"10.0.0.0", "10.255.255.255", "10.0.1.255", "10.0.3.0",
	"100.64.0.0", "100.127.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
	"192.168.255.255", "192.0.0.170", "192.88.99.1", "198.18.0.1", "198.19.255.255"};
static const char *const never_addrs[] = {"0.0.0.0", "0.255.255.255", "127.0.0.1",
	"127.255.255.255", "10.0.2.0", "10.0.2.2", "10.0.2.15", "10.0.2.255", "224.0.0.0",
	"239.255.255.255", "240.0.0.0", "255.255.255.255", "169.254.0.0", "169.254.169.254",
	"169.254.255.255", "168.63.129.16", "100.100.100.200", "192.0.0.192"};

static bool allowed(const struct pin_networks *networks, uint32_t addr)
{
	static const struct ruleset nothing;

	return pin_addr_allowed(networks, &nothing, addr, 443);
}

/* A network in a rule opens its ports, and its addresses are given as answers. */
static void by_rules(void **state)
{
	struct pin_networks none = {0};
	struct ruleset rs = {0};
	cJSON *policy =
		cJSON_Parse("{\"rules\":[\"10.1.0.0/16:22/tcp\",\"deny 203.0.113.7\",\"deny "
			    "203.0.113.8:22\"]}");

	assert_int_equal(ruleset_set(&rs, policy, NULL), 0);
	assert_true(pin_addr_allowed(&none, &rs, inet_addr("10.1.2.3"), 22));
	assert_false(pin_addr_allowed(&none, &rs, inet_addr("10.1.2.3"), 443));
	assert_true(pin_addr_allowed(&none, &rs, inet_addr("10.1.2.3"), RULESET_ANY_PORT));
	assert_false(pin_addr_allowed(&none, &rs, inet_addr("10.2.2.3"), RULESET_ANY_PORT));
	assert_false(pin_addr_allowed(&none, &rs, inet_addr("203.0.113.7"), 443));
	assert_false(pin_addr_allowed(&none, &rs, inet_addr("203.0.113.8"), 22));
	assert_true(pin_addr_allowed(&none, &rs, inet_addr("203.0.113.8"), 443));
	cJSON_Delete(policy);
	ruleset_done(&rs);
}

static void ranges(void **state)
{
	struct pin_networks none, all;

	assert_int_equal(pin_networks_parse(NULL, &none, NULL), 0);
	assert_int_equal(pin_networks_parse("0.0.0.0/0", &all, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(open_addrs); i++)
		assert_true(allowed(&none, inet_addr(open_addrs[i])));
	for (size_t i = 0; i < ARRAY_SIZE(special_addrs); i++) {
		assert_true(pin_addr_possible(inet_addr(special_addrs[i])));
		assert_false(allowed(&none, inet_addr(special_addrs[i])));
		assert_true(allowed(&all, inet_addr(special_addrs[i])));
	}
	for (size_t i = 0; i < ARRAY_SIZE(never_addrs); i++) {
		assert_false(pin_addr_possible(inet_addr(never_addrs[i])));
		assert_false(allowed(&all, inet_addr(never_addrs[i])));
	}
}

static void networks(void **state)
{
	static const char *const wrong[] = {"10.0.0.0/33", "10.0.0", "x", "10.0.0.0/8,", ",",
		"10.0.0.0/8;10.1.0.0/16", "fd00::/8", "10.0.0.0/", "10.0.0.0/-1",
		"10.0.0.0/8 10.1.0.0/16"};
	struct pin_networks n;

	assert_int_equal(pin_networks_parse("10.1.2.3/16, 192.168.7.7", &n, NULL), 0);
	assert_int_equal(n.n, 2);
	assert_true(allowed(&n, inet_addr("10.1.255.255")));
	assert_false(allowed(&n, inet_addr("10.2.0.0")));
	assert_true(allowed(&n, inet_addr("192.168.7.7")));
	assert_false(allowed(&n, inet_addr("192.168.7.8")));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (pin_networks_parse(wrong[i], &n, NULL) == 0)
			fail_msg("'%s' was accepted", wrong[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges), cmocka_unit_test(by_rules), cmocka_unit_test(networks)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
