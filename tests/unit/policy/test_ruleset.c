/* The rules in force: all or none, matching, ports of a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ruleset.h"
#include "util.h"

static int set(struct ruleset *rs, const char *const *texts, int n)
{
	cJSON *list = cJSON_CreateStringArray(texts, n);
	int r = ruleset_set(rs, list, NULL);

	cJSON_Delete(list);
	return r;
}

static void all_or_none(void **state)
{
	static struct ruleset rs;
	const char *good[] = {"example.com", "*.example.org:8443"}, *bad[] = {"fine.example", "*"};
	uint32_t generation;

	assert_null(ruleset_match(&rs, "example.com", 0));
	assert_int_equal(set(&rs, good, 2), 0);
	generation = rs.generation;
	assert_true(set(&rs, bad, 2) < 0);
	assert_int_equal(rs.generation, generation);
	assert_non_null(ruleset_match(&rs, "example.com", 443));
	assert_null(ruleset_match(&rs, "fine.example", 443));
	assert_null(ruleset_match(&rs, "a.example.org", 443));
	assert_string_equal(ruleset_match(&rs, "a.example.org", 8443)->name, "example.org");
	assert_int_equal(set(&rs, good, 0), 0);
	assert_null(ruleset_match(&rs, "example.com", 0));
}

static void ports(void **state)
{
	static struct ruleset rs;
	const char *texts[] = {"a.example.com:22,443", "*.example.com", "b.example.com:1"};
	uint16_t ret[RULESET_PORTS_MAX];

	assert_int_equal(set(&rs, texts, 3), 0);
	assert_int_equal(ruleset_ports(&rs, "a.example.com", ret), 3);
	assert_int_equal(ruleset_ports(&rs, "b.example.com", ret), 3);
	assert_int_equal(ruleset_ports(&rs, "c.example.com", ret), 2);
	assert_int_equal(ruleset_ports(&rs, "example.com", ret), 0);
}

static void too_many(void **state)
{
	static struct ruleset rs;
	static char text[RULES_MAX + 1][32];
	static const char *texts[RULES_MAX + 1];
	uint16_t ret[RULESET_PORTS_MAX];

	for (int i = 0; i <= RULES_MAX; i++) {
		snprintf(text[i], sizeof(text[i]), "example.com:%d", 1000 + i);
		texts[i] = text[i];
	}
	assert_true(set(&rs, texts, RULES_MAX + 1) < 0);
	assert_int_equal(set(&rs, texts, RULES_MAX), 0);
	assert_int_equal(ruleset_ports(&rs, "example.com", ret), RULESET_PORTS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_or_none), cmocka_unit_test(ports), cmocka_unit_test(too_many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
