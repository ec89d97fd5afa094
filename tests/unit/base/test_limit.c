/* Limits as people and as JSON say them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "limit.h"
#include "util.h"

static int change(struct limits *l, const char *text)
{
	cJSON *wish = cJSON_Parse(text);
	int r = limit_change(l, wish, NULL);

	cJSON_Delete(wish);
	return r;
}

static void changes(void **state)
{
	static const char *const wrong[] = {"{\"bandwidth_up\":1023}", "{\"connections\":0}",
		"{\"connections\":513}", "{\"connections\":1.5}", "{\"dns_per_second\":\"1\"}",
		"{\"colour\":1}", "{\"on_limit\":\"explode\"}", "{\"on_limit\":null}",
		"{\"bytes_per_day\":1e300}", "{\"bytes_per_run\":-1}", "[]",
		"{\"connections\":5,\"bandwidth_down\":true}"};
	struct limits l = limit_default();

	assert_int_equal(l.values[LIMIT_CONNECTIONS], 512);
	assert_int_equal(l.values[LIMIT_BYTES_PER_DAY], 0);
	assert_int_equal(limit_change(&l, NULL, NULL), 0);
	assert_int_equal(change(&l, "{\"bytes_per_day\":2048,\"on_limit\":\"suspend\"}"), 0);
	assert_int_equal(l.values[LIMIT_BYTES_PER_DAY], 2048);
	assert_true(l.suspend);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct limits was = l;

		assert_true(change(&l, wrong[i]) < 0);
		assert_memory_equal(&was, &l, sizeof(l));
	}
	assert_int_equal(change(&l, "{\"bytes_per_day\":null}"), 0);
	assert_int_equal(l.values[LIMIT_BYTES_PER_DAY], 0);
}

/* What is written is read back as the same. */
static void round_trip(void **state)
{
	struct limits l = limit_default(), back = {.values = {1, 2, 3}};
	cJSON *o;

	l.values[LIMIT_BYTES_PER_RUN] = UINT64_C(1) << 50;
	l.values[LIMIT_CONNECTION_RATE] = 0;
	o = limit_json(&l);
	assert_int_equal(cJSON_GetArraySize(o), LIMITS_N + 1);
	assert_int_equal(limit_change(&back, o, NULL), 0);
	assert_memory_equal(&l, &back, sizeof(l));
	cJSON_Delete(o);
}

static void words(void **state)
{
	static const char *const wrong[] = {"connections", "connections=", "connections=0",
		"connections=1K", "connections=1x", "bandwidth_up=1", "bandwidth_up=1KK",
		"bandwidth_up=K", "bytes_per_day=99999999999999T", "bytes_per_day=2048T",
		"bytes_per_day=-1", "=5", "colour=red", "on_limit=suspend"};
	cJSON *wish = cJSON_CreateObject();
	struct limits l = limit_default();

	assert_int_equal(limit_add_word(wish, "bandwidth_down=1M", NULL), 0);
	assert_int_equal(limit_add_word(wish, "bytes_per_day=1024T", NULL), 0);
	assert_int_equal(limit_add_word(wish, "dns_per_second=none", NULL), 0);
	assert_int_equal(limit_add_word(wish, "on_limit=suspend", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_true(limit_add_word(wish, wrong[i], NULL) < 0);
	assert_int_equal(limit_change(&l, wish, NULL), 0);
	assert_int_equal(l.values[LIMIT_BANDWIDTH_DOWN], 1 << 20);
	assert_int_equal(l.values[LIMIT_BYTES_PER_DAY], UINT64_C(1) << 50);
	assert_int_equal(l.values[LIMIT_DNS_RATE], 0);
	assert_true(l.suspend);
	cJSON_Delete(wish);
}

static void format(void **state)
{
	static const struct {
		uint64_t value;
		enum limit limit;
		const char *text;
	} cases[] = {{0, LIMIT_BANDWIDTH_UP, "none"}, {1024, LIMIT_BANDWIDTH_UP, "1K"},
		{1536 << 10, LIMIT_BANDWIDTH_DOWN, "1536K"}, {5000, LIMIT_BYTES_PER_RUN, "5000"},
		{UINT64_C(3) << 40, LIMIT_BYTES_PER_DAY, "3T"},
		{UINT64_C(1) << 50, LIMIT_BYTES_PER_DAY, "1024T"}, {512, LIMIT_CONNECTIONS, "512"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct limits l = {0};
		char text[32];

		l.values[cases[i].limit] = cases[i].value;
		limit_format(&l, cases[i].limit, text);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(changes), cmocka_unit_test(round_trip),
		cmocka_unit_test(words), cmocka_unit_test(format)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
