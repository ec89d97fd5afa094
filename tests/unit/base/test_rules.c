/* Egress rules: what is accepted, what is refused and why, and that the normal form is one. */
#include "rules.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text, *normal;
} good[] = {
	{"example.com", "example.com"},
	{"EXAMPLE.Com.", "example.com"},
	{"*.example.com", "*.example.com"},
	{"example.com:443", "example.com:443"},
	{"example.com:443,80", "example.com"},
	{"example.com:80,443,80", "example.com"},
	{"example.com.:8443,22,8443", "example.com:22,8443"},
	{"*.a.b.example.com:1,65535", "*.a.b.example.com:1,65535"},
	{"xn--bcher-kva.example", "xn--bcher-kva.example"},
	{"3com.com", "3com.com"},
	{"1.2.3.4.example", "1.2.3.4.example"},
	{RULE_SERVICE_START, RULE_SERVICE_START},
	{"github.io", "github.io"},
	{"*.example.github.io", "*.example.github.io"},
	{"*.bbc.co.uk", "*.bbc.co.uk"},
	{"*.com", "*.com"}, /* who asks for it is asked back by berthd */
	{"git.example.com:22/tcp", "git.example.com:22/tcp"},
	{"*.Example.com:443,80/tcp", "*.example.com:80,443/tcp"},
	{"203.0.113.0/24:5432,22/tcp", "203.0.113.0/24:22,5432/tcp"},
	{"203.0.113.7:22/tcp", "203.0.113.7:22/tcp"},
	{"203.0.113.7/32:22/tcp", "203.0.113.7:22/tcp"},
	{"10.0.0.0/8:22/tcp", "10.0.0.0/8:22/tcp"},
	{"0.0.0.0/0:22/tcp", "0.0.0.0/0:22/tcp"},
	{"deny Ads.example.com.", "deny ads.example.com"},
	{"deny *.example.com", "deny *.example.com"},
	{"deny *.com", "deny *.com"},
	{"deny example.com:443,80", "deny example.com:80,443"},
	{"deny example.com:22/tcp", "deny example.com:22"},
	{"deny 203.0.113.0/24", "deny 203.0.113.0/24"},
	{"deny 203.0.113.7:25", "deny 203.0.113.7:25"},
	{"deny 203.0.113.7/tcp", "deny 203.0.113.7"},
	{"preset:debian", "preset:debian"},
	{"example.com:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
		"example.com:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"},
};

static const struct {
	const char *text, *why;
} bad[] = {
	{"", "empty"},
	{"*", "every name"},
	{"*.", "every name"},
	{"*:443", "every name"},
	{"deny *", "every name"},
	{"deny", "single label"},
	{"deny ", "empty"},
	{"deny  example.com", "white space"},
	{"deny deny example.com", "white space"},
	{"allow example.com", "white space"},
	{"preset:", "not the name of a preset"},
	{"preset:De bian", "white space"},
	{"preset:../x", "not the name of a preset"},
	{"deny preset:debian", "cannot be denied"},
	{"git.example.com/tcp", "needs the ports"},
	{"git.example.com:22/udp", "UDP"},
	{"git.example.com:22/sctp", "URL"},
	{"203.0.113.0/24", "needs the ports"},
	{"203.0.113.0/24:22", "needs the ports"},
	{"203.0.113.7/tcp", "needs the ports"},
	{"203.0.113.7/24:22/tcp", "beyond the length"},
	{"203.0.113.0/33:22/tcp", "not an IPv4 network"},
	{"203.0.113/24:22/tcp", "not an IPv4 network"},
	{"203.0.113.0/24:53/tcp", "DNS"},
	{"127.0.0.1:22/tcp", "does nothing"},
	{"127.0.0.0/8:22/tcp", "does nothing"},
	{"10.0.2.0/25:22/tcp", "does nothing"},
	{"169.254.169.254:80/tcp", "does nothing"},
	{"168.63.129.16:80/tcp", "does nothing"},
	{"100.100.100.200:80/tcp", "does nothing"},
	{"192.0.0.192:80/tcp", "does nothing"},
	{"deny 224.0.0.1", "does nothing"},
	{"localhost", "single label"},
	{"com", "single label"},
	{"a.*.com", "'*'"},
	{"*.*.example.com", "'*'"},
	{"*example.com", "'*'"},
	{"**.example.com", "'*'"},
	{"1.2.3.4", "address"},
	{"1.2.3.4:443", "address"},
	{"0x7f.1", "address"},
	{"2130706433", "address"},
	{"10.0.0.0/8", "network"},
	{"::1", "IPv6"},
	{"[::1]:443", "address"},
	{"fe80::1", "address"},
	{"b\xc3\xbc"
	 "cher.example",
		"ASCII"},
	{"http://example.com", "URL"},
	{"https://example.com/a", "URL"},
	{"example.com/a", "URL"},
	{"user@example.com", "user name"},
	{"https://u:p@example.com", "user name"},
	{"a..example.com", "empty label"},
	{".example.com", "empty label"},
	{"*..example.com", "empty label"},
	{"_dmarc.example.com", "'_'"},
	{"a%b.example.com", "'%'"},
	{"a b.example.com", "white space"},
	{"a\nb.example.com", "white space"},
	{" example.com", "white space"},
	{"-a.example.com", "not a host name"},
	{"a-.example.com", "not a host name"},
	{"example.com..", "empty label"},
	{"example.123", "not a host name"},
	{"example.com:", "port"},
	{"example.com:0", "port"},
	{"example.com:65536", "port"},
	{"example.com:443,", "port"},
	{"example.com:-1", "port"},
	{"example.com:99999999999", "port"},
	{"example.com:https", "port"},
	{"example.com:53", "DNS"},
	{"example.com:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16"},
	{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com",
		"not a host name"},
};

static void test_good(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = {0};
		char out[RULE_TEXT_MAX];
		struct rule r;

		if (rule_parse(good[i].text, &r, &err) < 0)
			fail_msg("%s: %s", good[i].text, err.msg);
		rule_format(&r, out);
		assert_string_equal(out, good[i].normal);
	}
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};
		struct rule r;

		if (rule_parse(bad[i].text, &r, &err) == 0)
			fail_msg("'%s' was accepted", bad[i].text);
		if (!strstr(err.msg, bad[i].why))
			fail_msg("'%s': the message says: %s", bad[i].text, err.msg);
		assert_int_equal(err.status, 400);
		assert_string_equal(err.type, "invalid-rule");
	}
}

static void test_too_long(void **state)
{
	char text[2000];
	struct rule r;

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = 0;
	assert_true(rule_parse(text, &r, NULL) < 0);
	for (size_t i = 10; i < sizeof(text) - 1; i += 10)
		text[i] = '.';
	text[300] = 0;
	assert_true(rule_parse(text, &r, NULL) < 0);
	text[253] = 0;
	assert_int_equal(rule_parse(text, &r, NULL), 0);
	text[253] = 'a';
	text[254] = 0;
	assert_true(rule_parse(text, &r, NULL) < 0);
}

static bool covers(const char *one, const char *other)
{
	struct rule a, b;

	assert_int_equal(rule_parse(one, &a, NULL), 0);
	assert_int_equal(rule_parse(other, &b, NULL), 0);
	return rule_covers(&a, &b);
}

static void test_covers(void **state)
{
	assert_true(covers("example.com", "example.com"));
	assert_true(covers("example.com", "example.com:443"));
	assert_false(covers("example.com:443", "example.com"));
	assert_true(covers("*.example.com", "www.example.com"));
	assert_true(covers("*.example.com", "*.www.example.com:80"));
	assert_false(covers("*.example.com", "example.com"));
	assert_false(covers("*.example.com", "evilexample.com"));
	assert_false(covers("example.com", "*.example.com"));
	assert_true(covers("example.com:22/tcp", "example.com:22"));
	assert_false(covers("example.com:22", "example.com:22/tcp"));
	assert_true(covers("deny example.com", "example.com:22/tcp"));
	assert_true(covers("deny *.com", "*.example.com"));
	assert_false(covers("deny example.com:22", "example.com"));
	assert_false(covers("example.com", "deny example.com"));
	assert_true(covers("10.0.0.0/8:22,80/tcp", "10.1.0.0/16:22/tcp"));
	assert_true(covers("0.0.0.0/0:22/tcp", "203.0.113.7:22/tcp"));
	assert_false(covers("10.1.0.0/16:22/tcp", "10.0.0.0/8:22/tcp"));
	assert_false(covers("10.1.0.0/16:22/tcp", "10.2.0.0/16:22/tcp"));
	assert_true(covers("deny 203.0.113.0/24", "203.0.113.7:22/tcp"));
	assert_false(covers("deny 203.0.113.0/24", "example.com"));
	assert_true(covers("preset:npm", "preset:npm"));
	assert_false(covers("preset:npm", "preset:pypi"));
	assert_false(covers("*.npm", "preset:npm"));
}

static void test_normalise(void **state)
{
	static const char *const wrong[] = {"", ".", "..", "a..b", ".a.b", "a.b..", "1.2.3.4",
		"a.b.0x1f", "a b.c", "a.b:80", "a.b/c", "-a.b", "a-.b", "[::1]", "\xc3\xbc.de",
		"a.b%00"};
	char out[256];

	assert_true(rule_normalise_name("WwW.Example.COM.", 16, out));
	assert_string_equal(out, "www.example.com");
	assert_true(rule_normalise_name("a_b.example.com", 15, out));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (rule_normalise_name(wrong[i], strlen(wrong[i]), out))
			fail_msg("'%s' was taken for a name", wrong[i]);
	assert_false(rule_normalise_name("a.b\0c", 5, out));
}

static uint32_t seed = 12345;

static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Random texts of the alphabet that matters: whatever is accepted has one normal form, which says
 * the same. */
static void test_properties(void **state)
{
	static const char alphabet[] = "aab.:,*-_/15804AZ3.com@";
	static const char *const fronts[] = {"", "", "", "deny ", "10.1."};
	static const char *const ends[] = {"", "", ":22/tcp", "/tcp"};
	int accepted = 0;

	for (int i = 0; i < 300000; i++) {
		char core[24], text[64], one[RULE_TEXT_MAX], two[RULE_TEXT_MAX];
		struct rule r, again;
		size_t n = 1 + next_random() % (sizeof(core) - 1);

		for (size_t k = 0; k < n; k++)
			core[k] = alphabet[next_random() % (sizeof(alphabet) - 1)];
		core[n] = 0;
		snprintf(text, sizeof(text), "%s%s%s", fronts[next_random() % 5], core,
			ends[next_random() % 4]);
		if (rule_parse(text, &r, NULL) < 0)
			continue;
		accepted++;
		rule_format(&r, one);
		assert_int_equal(rule_parse(one, &again, NULL), 0);
		rule_format(&again, two);
		assert_string_equal(one, two);
		assert_string_equal(r.name, again.name);
		assert_true(r.kind == again.kind && r.n_ports == again.n_ports);
		assert_true(r.deny == again.deny && r.tcp == again.tcp);
		assert_true(r.kind != RULE_NAME || strchr(r.name, '.') != NULL);
		for (size_t k = 0; k < r.n_ports; k++)
			assert_true(r.ports[k] == again.ports[k] &&
				    (!k || r.ports[k] > r.ports[k - 1]));
		assert_true(rule_covers(&r, &again) && rule_covers(&again, &r));
	}
	assert_true(accepted > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_covers),
		cmocka_unit_test(test_normalise), cmocka_unit_test(test_properties)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
