/* Requests: each member typed and bounded, unknown ones refused; errors as JSON and back. */
#include "json.h"
#include "util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct json_member members[] = {
	{"name", JSON_STRING, true, 1, 5},
	{"memory", JSON_INTEGER, false, 256, 65536},
	{"force", JSON_BOOL, false, 0, 0},
	{"allow", JSON_STRINGS, false, 0, 2},
	{"labels", JSON_STRING_MAP, false, 0, 2},
	{"any", JSON_INTEGER, false, 0, 0},
};

static int check(const char *text, struct err *err)
{
	cJSON *obj = cJSON_Parse(text);
	int r;

	assert_non_null(obj);
	*err = (struct err){0};
	r = json_check(obj, members, ARRAY_SIZE(members), err);
	cJSON_Delete(obj);
	return r;
}

static void good_requests(void **state)
{
	static const char *const good[] = {"{\"name\":\"a\"}",
		"{\"name\":\"abcde\",\"memory\":256,\"force\":false}",
		"{\"allow\":[\"a\",\"\"],\"name\":\"a\",\"labels\":{\"a\":\"b\"},\"memory\":65536}",
		"{\"name\":\"a\",\"any\":-9007199254740991}"};
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(check(good[i], &err), 0);
}

static void refused_requests(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"{}", "'name' is missing"},
		{"[]", "must be a JSON object"},
		{"{\"name\":\"\"}", "'name' must have a length between 1 and 5"},
		{"{\"name\":\"abcdef\"}", "'name' must have a length"},
		{"{\"name\":null}", "'name' must be a string"},
		{"{\"name\":\"a\",\"memory\":255}",
			"'memory' must be between 256 and 65536, not 255"},
		{"{\"name\":\"a\",\"memory\":65537}", "'memory' must be between"},
		{"{\"name\":\"a\",\"memory\":300.5}", "'memory' must be an integer"},
		{"{\"name\":\"a\",\"memory\":\"300\"}", "'memory' must be an integer"},
		{"{\"name\":\"a\",\"any\":1e300}", "'any' must be an integer"},
		{"{\"name\":\"a\",\"force\":1}", "'force' must be true or false"},
		{"{\"name\":\"a\",\"allow\":[1]}", "'allow' must be a list of strings"},
		{"{\"name\":\"a\",\"allow\":[\"a\",\"b\",\"c\"]}", "'allow' must have a length"},
		{"{\"name\":\"a\",\"labels\":[\"a\"]}", "'labels' must be an object of strings"},
		{"{\"name\":\"a\",\"labels\":{\"a\":null}}",
			"'labels' must be an object of strings"},
		{"{\"name\":\"a\",\"Memory\":300}", "'Memory' is not a member"},
		{"{\"name\":\"a\",\"name\":\"b\"}", "'name' is given twice"},
		{"{\"name\":\"a\",\"colour\":\"red\"}", "'colour' is not a member"},
	};
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(check(bad[i].text, &err) < 0);
		if (!strstr(err.msg, bad[i].why))
			fail_msg("%s: %s", bad[i].text, err.msg);
		assert_string_equal(err.type, "invalid-request");
		assert_int_equal(err.status, 400);
	}
}

static void no_object_is_an_empty_one(void **state)
{
	struct err err;

	assert_true(json_check(NULL, members, ARRAY_SIZE(members), &err) < 0);
	assert_int_equal(json_check(NULL, members + 1, ARRAY_SIZE(members) - 1, &err), 0);
	assert_string_equal(json_str(NULL, "x", "d"), "d");
	assert_int_equal(json_int(NULL, "x", 3), 3);
}

static void errors_travel(void **state)
{
	struct err err, back;
	cJSON *o;

	err_set(&err, ENOENT, "no agent '%s'", "x");
	err_type(&err, 404, "agent-not-found");
	err_hint(&err, "berth ls");
	o = json_from_err(&err);
	json_to_err(o, &back);
	cJSON_Delete(o);
	assert_string_equal(back.msg, err.msg);
	assert_string_equal(back.type, err.type);
	assert_string_equal(back.hint, err.hint);
	assert_int_equal(back.status, 404);
	assert_true(back.code < 0);
	json_to_err(NULL, &back);
	assert_int_equal(back.status, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests),
		cmocka_unit_test(refused_requests),
		cmocka_unit_test(no_object_is_an_empty_one),
		cmocka_unit_test(errors_travel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
