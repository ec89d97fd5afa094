/* A policy's rules together: all or none, what they say of names and addresses, against a model. */
#include "ruleset.h"
#include "util.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct ruleset rs;

static int set_policy(const char *json, struct err *err)
{
	cJSON *policy = cJSON_Parse(json);
	int r;

	assert_non_null(policy);
	r = ruleset_set(&rs, policy, err);
	cJSON_Delete(policy);
	return r;
}

/* rules: texts separated by commas and single quotes around each. */
static void set(const char *rules)
{
	AUTOFREE char *json = xasprintf("{\"rules\":[%s]}", rules);
	struct err err = {0};

	for (char *p = json + 10; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (set_policy(json, &err) < 0)
		fail_msg("%s: %s", rules, err.msg);
}

static int after(void **state)
{
	ruleset_done(&rs);
	return 0;
}

static void want(const char *name, uint16_t port, enum ruleset_verdict verdict, const char *rule)
{
	struct ruleset_decision d = ruleset_name(&rs, name, port);

	if (d.verdict != verdict || !streq(d.rule, rule))
		fail_msg("%s:%u is %d by '%s', not %d by '%s'", name, port, (int)d.verdict, d.rule,
			(int)verdict, rule);
}

static void want_addr(
	const char *addr, uint16_t port, enum ruleset_verdict verdict, const char *rule)
{
	struct ruleset_decision d = ruleset_addr(&rs, inet_addr(addr), port);

	if (d.verdict != verdict || !streq(d.rule, rule))
		fail_msg("%s:%u is %d by '%s', not %d by '%s'", addr, port, (int)d.verdict, d.rule,
			(int)verdict, rule);
}

static void all_or_none(void **state)
{
	uint32_t generation;

	want("example.com", 0, RULESET_NONE, "");
	want_addr("203.0.113.1", 22, RULESET_NONE, "");
	set("'example.com','*.example.org:8443'");
	generation = rs.generation;
	assert_true(set_policy("{\"rules\":[\"fine.example\",\"*\"]}", NULL) < 0);
	assert_true(set_policy("{\"rules\":[],\"mode\":\"open\"}", NULL) < 0);
	assert_int_equal(rs.generation, generation);
	want("example.com", 443, RULESET_ALLOW, "example.com");
	want("fine.example", 443, RULESET_NONE, "");
	want("a.example.org", 443, RULESET_NONE, "");
	want("a.example.org", 8443, RULESET_ALLOW, "*.example.org:8443");
	set("");
	want("example.com", 0, RULESET_NONE, "");
}

static void names(void **state)
{
	set("'example.com','*.example.com:443','*.b.example.com','c.b.example.com:22/tcp'");
	want("example.com", 80, RULESET_ALLOW, "example.com");
	want("example.com", 8080, RULESET_NONE, "");
	want("a.example.com", 443, RULESET_ALLOW, "*.example.com:443");
	want("a.example.com", 80, RULESET_NONE, "");
	want("a.b.example.com", 443, RULESET_ALLOW, "*.b.example.com");
	want("b.example.com", 443, RULESET_ALLOW, "*.example.com:443");
	want("evilexample.com", 443, RULESET_NONE, "");
	want("example.com.evil.org", 443, RULESET_NONE, "");
	want("c.b.example.com", 22, RULESET_ALLOW, "c.b.example.com:22/tcp");
	assert_true(ruleset_name(&rs, "c.b.example.com", 22).tcp);
	assert_false(ruleset_name(&rs, "c.b.example.com", 443).tcp);
	assert_true(ruleset_name(&rs, "a.example.com", 443).below);
	assert_false(ruleset_name(&rs, "example.com", 443).below);
	want("", 443, RULESET_NONE, "");
	want("com", 443, RULESET_NONE, "");
}

/* What one rule opens to any protocol, a narrower one does not close. */
static void rules_add_up(void **state)
{
	set("'*.example.com:22/tcp','a.example.com:22,443'");
	assert_true(ruleset_name(&rs, "a.example.com", 22).tcp);
	assert_false(ruleset_name(&rs, "a.example.com", 443).tcp);
	set("'a.example.com:22,443','a.example.com:22/tcp','a.example.com:80'");
	assert_true(ruleset_name(&rs, "a.example.com", 22).tcp);
	want("a.example.com", 80, RULESET_ALLOW, "a.example.com:80");
}

static void denied(void **state)
{
	set("'*.example.com','deny ads.example.com','deny *.t.example.com','deny "
	    "x.example.com:80'");
	want("a.example.com", 443, RULESET_ALLOW, "*.example.com");
	want("ads.example.com", 443, RULESET_DENY, "deny ads.example.com");
	want("ads.example.com", RULESET_ANY_PORT, RULESET_DENY, "deny ads.example.com");
	want("a.ads.example.com", 443, RULESET_ALLOW, "*.example.com");
	want("t.example.com", 443, RULESET_ALLOW, "*.example.com");
	want("1.t.example.com", 443, RULESET_DENY, "deny *.t.example.com");
	want("x.example.com", 80, RULESET_DENY, "deny x.example.com:80");
	want("x.example.com", RULESET_ANY_PORT, RULESET_ALLOW, "*.example.com");
	set("'a.b.example.com','deny *.example.com'"); /* the wider one denies the narrower */
	want("a.b.example.com", 443, RULESET_DENY, "deny *.example.com");
}

static void networks(void **state)
{
	set("'203.0.113.0/24:22,25/tcp','203.0.113.7:5432/tcp','deny 203.0.113.128/25:25','deny "
	    "203.0.113.9'");
	want_addr("203.0.113.1", 22, RULESET_ALLOW, "203.0.113.0/24:22,25/tcp");
	want_addr("203.0.113.1", 23, RULESET_NONE, "");
	want_addr("203.0.114.1", 22, RULESET_NONE, "");
	want_addr("203.0.113.7", 5432, RULESET_ALLOW, "203.0.113.7:5432/tcp");
	want_addr("203.0.113.7", 22, RULESET_ALLOW, "203.0.113.0/24:22,25/tcp");
	want_addr("203.0.113.200", 25, RULESET_DENY, "deny 203.0.113.128/25:25");
	want_addr("203.0.113.200", 22, RULESET_ALLOW, "203.0.113.0/24:22,25/tcp");
	want_addr("203.0.113.9", 22, RULESET_DENY, "deny 203.0.113.9");
	want_addr("203.0.113.9", RULESET_ANY_PORT, RULESET_DENY, "deny 203.0.113.9");
	want_addr("203.0.113.200", RULESET_ANY_PORT, RULESET_ALLOW, "203.0.113.0/24:22,25/tcp");
	want("203.0.113.7", 22, RULESET_NONE, "");
	set("'0.0.0.0/0:22/tcp'");
	want_addr("203.0.113.200", 22, RULESET_ALLOW, "0.0.0.0/0:22/tcp");
}

static void add_network(void *data, const struct ipv4_network *net, uint16_t port)
{
	struct in_addr a = {htonl(net->net)};
	char *text = data;

	snprintf(text + strlen(text), 400 - strlen(text), " %s/%d:%u", inet_ntoa(a),
		__builtin_popcount(net->mask), port);
}

/* Nested ones would not go into one set of nftables. */
static void networks_without_doubles(void **state)
{
	char text[400] = "";

	set("'10.1.0.0/16:22,80/tcp','10.0.0.0/8:22/tcp','10.1.2.3:22,443/tcp','10.1.2.3:443/tcp',"
	    "'deny 10.0.0.0/8:443'");
	ruleset_networks(&rs, add_network, text);
	assert_string_equal(text, " 10.1.0.0/16:80 10.0.0.0/8:22 10.1.2.3/32:443");
}

static void learns(void **state)
{
	uint16_t ports[RULESET_PORTS_MAX];

	assert_int_equal(set_policy("{\"mode\":\"learn\",\"rules\":[\"example.com\",\"deny "
				    "ads.example.com\"]}",
				 NULL),
		0);
	want("example.com", 443, RULESET_ALLOW, "example.com");
	want("example.com", 8080, RULESET_LEARN, "");
	want("other.example", 443, RULESET_LEARN, "");
	want("ads.example.com", 443, RULESET_DENY, "deny ads.example.com");
	want("localhost", 443, RULESET_NONE, "");
	want_addr("203.0.113.1", 22, RULESET_NONE, "");
	assert_int_equal(ruleset_ports(&rs, "other.example", ports), 1);
	assert_int_equal(ports[0], RULESET_ANY_PORT);
	assert_int_equal(ruleset_ports(&rs, "ads.example.com", ports), 0);
	set("'example.com'");
	want("other.example", 443, RULESET_NONE, "");
}

static void presets(void **state)
{
	assert_int_equal(set_policy("{\"rules\":[\"a.example\",\"preset:p\",\"preset:none\"],"
				    "\"presets\":{\"p\":[\"b.example\",\"*.c.example:8443\"]}}",
				 NULL),
		0);
	want("a.example", 443, RULESET_ALLOW, "a.example");
	want("b.example", 443, RULESET_ALLOW, "preset:p");
	want("x.c.example", 8443, RULESET_ALLOW, "preset:p");
	want("p", 443, RULESET_NONE, "");
	want("none", 443, RULESET_NONE, "");
	assert_true(set_policy("{\"rules\":[\"preset:p\"],\"presets\":{\"p\":[\"preset:p\"]}}",
			    NULL) < 0);
	assert_true(set_policy("{\"rules\":[\"preset:p\"],\"presets\":{\"p\":[\"deny a.b\"]}}",
			    NULL) < 0);
	want("b.example", 443, RULESET_ALLOW, "preset:p");
}

static void ports(void **state)
{
	uint16_t ret[RULESET_PORTS_MAX];

	set("'a.example.com:22,443','*.example.com','b.example.com:1','deny c.example.com:80'");
	assert_int_equal(ruleset_ports(&rs, "a.example.com", ret), 3);
	assert_int_equal(ruleset_ports(&rs, "b.example.com", ret), 3);
	assert_int_equal(ruleset_ports(&rs, "c.example.com", ret), 1);
	assert_int_equal(ret[0], 443);
	assert_int_equal(ruleset_ports(&rs, "example.com", ret), 0);
}

static void set_many(int n, const char *format)
{
	cJSON *policy = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(policy, "rules");

	for (int i = 0; i < n; i++) {
		AUTOFREE char *text = xasprintf(format, i);

		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
	assert_true((ruleset_set(&rs, policy, NULL) < 0) == (n > RULES_MAX));
	cJSON_Delete(policy);
}

static void many(void **state)
{
	uint16_t ret[RULESET_PORTS_MAX];

	set_many(RULES_MAX + 1, "a%d.example.com");
	assert_int_equal(rs.n, 0);
	set_many(RULES_MAX, "a%d.example.com");
	want("a0.example.com", 443, RULESET_ALLOW, "a0.example.com");
	want("a9999.example.com", 443, RULESET_ALLOW, "a9999.example.com");
	want("a10000.example.com", 443, RULESET_NONE, "");
	set_many(500, "example.com:1%d");
	assert_int_equal(ruleset_ports(&rs, "example.com", ret), RULESET_PORTS_MAX);
}

static void too_many_networks(void **state)
{
	cJSON *policy = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(policy, "rules");
	struct err err = {0};

	for (int i = 0; i <= RULESET_NETWORKS_MAX; i++) {
		AUTOFREE char *text = xasprintf("203.0.%d.%d:22/tcp", i / 256, i % 256);

		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
	assert_true(ruleset_set(&rs, policy, &err) < 0);
	assert_string_equal(err.type, "limit-reached");
	cJSON_DeleteItemFromArray(list, 0);
	assert_int_equal(ruleset_set(&rs, policy, NULL), 0);
	cJSON_Delete(policy);
}

static void odd_names(void **state)
{
	char long_name[256] = "";

	assert_null(ruleset_odd_name("a.b.c.d.e.f.g.example.com"));
	assert_non_null(ruleset_odd_name("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.example.com"));
	for (int i = 0; i < 5; i++)
		strcat(long_name, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.");
	strcat(long_name, "com");
	assert_non_null(ruleset_odd_name(long_name));
}

static uint32_t seed = 4711;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static void random_name(char *out, size_t n)
{
	static const char *const labels[] = {"a", "b", "ab", "c"};
	size_t k = 1 + next_random(4);

	out[0] = 0;
	while (k-- > 0)
		snprintf(out + strlen(out), n - strlen(out), "%s.", labels[next_random(4)]);
	snprintf(out + strlen(out), n - strlen(out), "%s", next_random(2) ? "d" : "example");
}

/* The same by going through all rules one by one. */
static enum ruleset_verdict model(const struct rule *list, size_t n, const struct rule *asked)
{
	enum ruleset_verdict v = RULESET_NONE;

	for (size_t i = 0; i < n; i++) {
		struct rule both = *asked;

		both.tcp = list[i].tcp;
		if (!rule_covers(&list[i], &both))
			continue;
		if (list[i].deny)
			return RULESET_DENY;
		v = RULESET_ALLOW;
	}
	return v;
}

static void against_a_model(void **state)
{
	for (int round = 0; round < 300; round++) {
		cJSON *policy = cJSON_CreateObject(),
		      *texts = cJSON_AddArrayToObject(policy, "rules");
		struct rule list[24];
		size_t n = next_random(24);

		for (size_t i = 0; i < n; i++) {
			char name[128], text[RULE_TEXT_MAX];

			random_name(name, sizeof(name));
			snprintf(text, sizeof(text), "%s%s%s:%u%s", next_random(4) ? "" : "deny ",
				next_random(2) ? "*." : "", name, 1 + next_random(3),
				next_random(3) ? "" : "/tcp");
			assert_int_equal(rule_parse(text, &list[i], NULL), 0);
			cJSON_AddItemToArray(texts, cJSON_CreateString(text));
		}
		assert_int_equal(ruleset_set(&rs, policy, NULL), 0);
		cJSON_Delete(policy);
		for (int i = 0; i < 200; i++) {
			struct rule asked = {.kind = RULE_NAME, .n_ports = 1};
			uint16_t port = (uint16_t)(1 + next_random(3));

			random_name(asked.name, sizeof(asked.name));
			asked.ports[0] = port;
			assert_int_equal(ruleset_name(&rs, asked.name, port).verdict,
				model(list, n, &asked));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(all_or_none, after),
		cmocka_unit_test_teardown(names, after),
		cmocka_unit_test_teardown(rules_add_up, after),
		cmocka_unit_test_teardown(denied, after),
		cmocka_unit_test_teardown(networks, after),
		cmocka_unit_test_teardown(networks_without_doubles, after),
		cmocka_unit_test_teardown(learns, after),
		cmocka_unit_test_teardown(presets, after),
		cmocka_unit_test_teardown(ports, after),
		cmocka_unit_test_teardown(many, after),
		cmocka_unit_test_teardown(too_many_networks, after),
		cmocka_unit_test_teardown(odd_names, after),
		cmocka_unit_test_teardown(against_a_model, after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
