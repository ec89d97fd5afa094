/* The policy as an object: what is refused and why, what stays, presets, and what goes out. */
#include "policy.h"
#include "json.h"
#include "presets.h"
#include "suffix.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Of a policy in which nobody said anything of them. */
#define LIMITS                                                                          \
	"{\"bandwidth_up\":null,\"bandwidth_down\":null,\"connections\":512,"           \
	"\"connections_per_second\":100,\"dns_per_second\":100,\"bytes_per_run\":null," \
	"\"bytes_per_day\":null,\"on_limit\":\"refuse\"}"

static cJSON *with_rules(const cJSON *rules, struct err *err)
{
	cJSON *wish = cJSON_CreateObject(), *policy;

	cJSON_AddItemToObject(wish, "rules", cJSON_Duplicate(rules, true));
	policy = policy_make(wish, NULL, err);
	cJSON_Delete(wish);
	return policy;
}

static cJSON *now;

static int before(void **state)
{
	presets_folder(PRESETS);
	now = policy_nothing();
	return 0;
}

static int after(void **state)
{
	cJSON_Delete(now);
	return 0;
}

/* The change becomes the present policy; or, with `why`, it is refused with these words. */
static void change(const char *text, const char *why)
{
	AUTOFREE char *json = xasprintf("{%s}", text);
	cJSON *args = cJSON_Parse(json), *next;
	struct err err = {0};

	assert_non_null(args);
	next = policy_changed(now, args, "demo", &err);
	cJSON_Delete(args);
	if (!why != !!next)
		fail_msg("%s: %s", text, next ? "was taken" : err.msg);
	if (why && !strstr(err.msg, why))
		fail_msg("%s: the message says: %s", text, err.msg);
	if (!next)
		return;
	cJSON_Delete(now);
	now = next;
}

static void want(const char *text)
{
	char *is = cJSON_PrintUnformatted(now);

	assert_string_equal(is, text);
	free(is);
}

static void what_does_nothing(void **state)
{
	change("\"allow\":[\"*.shop.example\"]", NULL);
	change("\"allow\":[\"*.shop.example\",\"*.SHOP.example.\"]", NULL); /* again is as good */
	change("\"allow\":[\"a.shop.example\"]", "'*.shop.example' has it already");
	change("\"allow\":[\"a.shop.example:8443\"]", NULL);
	change("\"allow\":[\"a.shop.example:22/tcp\"]", NULL);
	change("\"allow\":[\"a.shop.example:22\"]", "has it already");
	change("\"deny\":[\"bad.shop.example\",\"deny worse.shop.example\"]", NULL);
	change("\"allow\":[\"bad.shop.example:22\"]", "'deny bad.shop.example' stands above it");
	change("\"deny\":[\"*.other.example\",\"x.other.example\"]", "has it already");
	change("\"allow\":[\"10.0.0.0/8:22/tcp\"]", NULL);
	change("\"allow\":[\"10.1.0.0/16:22/tcp\"]", "'10.0.0.0/8:22/tcp' has it already");
	change("\"deny\":[\"10.1.0.0/16\"]", NULL);
	change("\"allow\":[\"10.1.2.3:80/tcp\"]", "'deny 10.1.0.0/16' stands above it");
	want("{\"mode\":\"enforce\",\"rules\":[\"*.shop.example\",\"a.shop.example:8443\",\"a.shop."
	     "example:"
	     "22/tcp\",\"deny bad.shop.example\",\"deny "
	     "worse.shop.example\",\"10.0.0.0/8:22/tcp\",\"deny "
	     "10.1.0.0/16\"],\"limits\":" LIMITS "}");
}

static void what_opens_more(void **state)
{
	change("\"allow\":[\"*.com\"]", "anybody can register");
	change("\"allow\":[\"*.co.uk\"]", "anybody can register");
	change("\"allow\":[\"*.github.io\"]", "anybody can register");
	change("\"allow\":[\"*.workers.dev:8443\"]", "anybody can register");
	change("\"allow\":[\"*.internal\"]", "anybody can register");
	change("\"allow\":[\"github.io\",\"*.bbc.co.uk\",\"*.example.github.io\"]", NULL);
	change("\"deny\":[\"*.com\"]", NULL);
	change("\"remove\":[\"*.com\"]", NULL);
	change("\"allow\":[\"git.example:443/tcp\"]", "every site at that server's address");
	change("\"allow\":[\"0.0.0.0/0:22/tcp\"]", "wider than a /8");
	change("\"allow\":[\"*.co.uk\",\"git.example:443/tcp\",\"0.0.0.0/0:22/"
	       "tcp\"],\"force\":true",
		NULL);
	change("\"allow\":[\"b.example\"]", NULL); /* what was forced stays, and asks for nothing */
}

static void taking_away(void **state)
{
	change("\"allow\":[\"a.example\",\"b.example\"],\"deny\":[\"c.example\"]", NULL);
	change("\"remove\":[\"A.example.\"]", NULL);
	change("\"remove\":[\"a.example\"]", "has no rule 'a.example'");
	change("\"remove\":[\"c.example\"]", NULL);
	change("\"remove\":[\"b.example\"],\"allow\":[\"*.b.example\"]", NULL);
	want("{\"mode\":\"enforce\",\"rules\":[\"*.b.example\"],\"limits\":" LIMITS "}");
}

static void modes_and_limits(void **state)
{
	cJSON *again, *wish;

	change("\"mode\":\"open\"", "must be enforce or learn");
	change("\"mode\":\"learn\",\"allow\":[\"a.example\"]", NULL);
	change("\"allow\":[\"b.example\"]", NULL);
	want("{\"mode\":\"learn\",\"rules\":[\"a.example\",\"b.example\"],\"limits\":" LIMITS "}");
	change("\"limits\":{\"no-such\":1}", "no limit 'no-such'");
	again = policy_make(now, now, NULL); /* what it is can be given back */
	assert_true(cJSON_Compare(again, now, true));
	cJSON_Delete(again);
	wish = cJSON_Parse("{\"rules\":[]}"); /* another one never learns by itself */
	again = policy_make(wish, now, NULL);
	assert_string_equal(json_str(again, "mode", ""), "enforce");
	cJSON_Delete(again);
	cJSON_Delete(wish);
}

static void presets(void **state)
{
	cJSON *list = presets_list(), *one, *sent;
	const cJSON *p;

	assert_int_equal(cJSON_GetArraySize(list), 4);
	cJSON_ArrayForEach (p, list) {
		assert_true(json_str(p, "description", "")[0] != 0);
		assert_true(cJSON_GetArraySize(json_get(p, "rules")) > 1);
	}
	cJSON_Delete(list);
	change("\"allow\":[\"preset:nosuch\"]", "no preset 'nosuch'");
	change("\"allow\":[\"preset:debian\"]", NULL);
	change("\"allow\":[\"deb.debian.org\"]", "'preset:debian' has it already");
	one = preset_read("debian", NULL);
	sent = policy_to_send(now);
	assert_true(cJSON_Compare(
		json_get(json_get(sent, "presets"), "debian"), json_get(one, "rules"), true));
	assert_null(json_get(now, "presets"));
	cJSON_Delete(one);
	cJSON_Delete(sent);
	presets_folder(
		"/nonexistent"); /* gone since: it opens nothing, and the rest is as it was */
	sent = policy_to_send(now);
	assert_null(json_get(sent, "presets"));
	assert_true(cJSON_Compare(json_get(sent, "rules"), json_get(now, "rules"), true));
	cJSON_Delete(sent);
	assert_null(preset_read("../presets/debian", NULL));
}

/* Each shipped rule is one that could be given by itself. */
static void presets_can_be_given(void **state)
{
	cJSON *list = presets_list();
	const cJSON *p;

	cJSON_ArrayForEach (p, list) {
		struct err err = {0};
		cJSON *policy = with_rules(json_get(p, "rules"), &err);

		if (!policy)
			fail_msg("%s: %s", json_str(p, "name", ""), err.msg);
		cJSON_Delete(policy);
	}
	cJSON_Delete(list);
}

static void differences(void **state)
{
	cJSON *old = cJSON_Parse("{\"mode\":\"learn\",\"rules\":[\"a\",\"b\"]}"),
	      *new = cJSON_Parse("{\"mode\":\"enforce\",\"rules\":[\"b\",\"c\"]}"),
	      *d = policy_difference(old, new);
	char *text = cJSON_PrintUnformatted(d);

	assert_string_equal(
		text, "{\"mode\":\"enforce\",\"rules\":2,\"added\":[\"c\"],\"removed\":[\"a\"]}");
	free(text);
	cJSON_Delete(d);
	cJSON_Delete(old);
	cJSON_Delete(new);
}

static void ten_thousand(void **state)
{
	cJSON *rules = cJSON_CreateArray(), *policy;
	struct err err = {0};

	for (int i = 0; i <= 10000; i++) {
		AUTOFREE char *text = xasprintf("n%d.example", i);

		cJSON_AddItemToArray(rules, cJSON_CreateString(text));
	}
	assert_null(with_rules(rules, &err));
	assert_string_equal(err.type, "limit-reached");
	cJSON_DeleteItemFromArray(rules, 0);
	policy = with_rules(rules, &err);
	assert_int_equal(cJSON_GetArraySize(json_get(policy, "rules")), 10000);
	cJSON_Delete(policy);
	cJSON_Delete(rules);
}

static void suffixes(void **state)
{
	assert_true(suffix_is_public("com") && suffix_is_public("co.uk"));
	assert_true(suffix_is_public("xn--55qx5d.cn"));
	assert_false(suffix_is_public("example.com"));
	assert_string_equal(suffix_registered("a.b.example.co.uk"), "example.co.uk");
	assert_string_equal(suffix_registered("x.example.github.io"), "example.github.io");
	assert_null(suffix_registered("co.uk"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_does_nothing, before, after),
		cmocka_unit_test_setup_teardown(what_opens_more, before, after),
		cmocka_unit_test_setup_teardown(taking_away, before, after),
		cmocka_unit_test_setup_teardown(modes_and_limits, before, after),
		cmocka_unit_test_setup_teardown(presets, before, after),
		cmocka_unit_test_setup_teardown(presets_can_be_given, before, after),
		cmocka_unit_test_setup_teardown(differences, before, after),
		cmocka_unit_test_setup_teardown(ten_thousand, before, after),
		cmocka_unit_test_setup_teardown(suffixes, before, after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
