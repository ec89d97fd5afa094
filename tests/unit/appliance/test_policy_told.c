/* What the policy tells people: why something would happen, and rules for what was asked for. */
#include "json.h"
#include "suggest.h"
#include "util.h"
#include "why.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char policy_text[] =
	"{\"mode\":\"enforce\",\"rules\":[\"example.com\",\"*.shop.example\",\"deny "
	"bad.shop.example\",\"deny "
	"x.shop.example:443\",\"git.example:22/tcp\",\"203.0.113.0/24:5432/tcp\",\"deny "
	"203.0.113.9\",\"preset:p\"],\"presets\":{\"p\":[\"p.example\"]}}";

static const struct {
	const char *target, *verdict, *rule, *last_step, *says, *command;
} cases[] = {
	{"example.com", "allow", "example.com", "dial", "dials what it gets", NULL},
	{"EXAMPLE.com.:80", "allow", "example.com", "dial", "", NULL},
	{"example.com:8443", "deny", "", "port", "only at: 80, 443",
		"berth policy demo allow example.com:8443"},
	{"a.shop.example", "allow", "*.shop.example", "dial", "", NULL},
	{"bad.shop.example", "deny", "deny bad.shop.example", "dns", "denies this name",
		"berth policy demo remove 'deny bad.shop.example'"},
	{"x.shop.example", "deny", "deny x.shop.example:443", "port", "denies port 443",
		"berth policy demo remove 'deny x.shop.example:443'"},
	{"x.shop.example:80", "allow", "*.shop.example", "dial", "", NULL},
	{"other.example", "deny", "", "dns", "not asked upstream",
		"berth policy demo allow other.example"},
	{"git.example:22", "allow", "git.example:22/tcp", "dial", "", NULL},
	{"203.0.113.1:5432", "allow", "203.0.113.0/24:5432/tcp", "address", "any protocol", NULL},
	{"203.0.113.9:5432", "deny", "deny 203.0.113.9", "address", "denies it",
		"berth policy demo remove 'deny 203.0.113.9'"},
	{"203.0.113.1", "deny", "", "address", "only by a name",
		"berth policy demo allow 203.0.113.1:443/tcp"},
	{"169.254.169.254:80", "deny", "", "address", "no agent ever", NULL},
	{"p.example", "allow", "preset:p", "dial", "", NULL},
};

static void why(void **state)
{
	cJSON *policy = cJSON_Parse(policy_text);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		cJSON *v = why_explain(policy, "demo", "", cases[i].target, &err);
		const cJSON *steps = json_get(v, "steps"),
			    *last = cJSON_GetArrayItem(steps, cJSON_GetArraySize(steps) - 1);

		if (!v)
			fail_msg("%s: %s", cases[i].target, err.msg);
		if (!streq(json_str(v, "verdict", ""), cases[i].verdict) ||
			!streq(json_str(v, "rule", ""), cases[i].rule) ||
			!streq(json_str(last, "step", ""), cases[i].last_step) ||
			!strstr(json_str(last, "detail", ""), cases[i].says) ||
			!streq(json_str(v, "command", ""),
				cases[i].command ? cases[i].command : ""))
			fail_msg("%s: %s", cases[i].target, cJSON_Print(v));
		cJSON_Delete(v);
	}
	cJSON_Delete(policy);
}

static void why_refuses_nonsense(void **state)
{
	static const char *const bad[] = {"", ":80", "a b", "https://example.com/",
		"example.com:", "example.com:0", "example.com:x", "::1", "1.2.3",
		"example.com:80:81"};
	cJSON *policy = cJSON_Parse(policy_text);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		assert_null(why_explain(policy, "demo", "", bad[i], &err));
		assert_string_equal(err.type, "invalid-request");
	}
	cJSON_Delete(policy);
}

static void why_when_bytes_are_used_up(void **state)
{
	cJSON *policy = cJSON_Parse(policy_text);
	cJSON *v = why_explain(policy, "demo", "bytes_per_day", "p.example", NULL);
	const cJSON *steps = json_get(v, "steps");

	assert_string_equal(json_str(v, "verdict", ""), "deny");
	assert_string_equal(json_str(v, "rule", ""), "preset:p");
	assert_string_equal(
		json_str(v, "command", ""), "berth policy demo limit bytes_per_day=none");
	assert_string_equal(
		json_str(cJSON_GetArrayItem(steps, cJSON_GetArraySize(steps) - 1), "detail", ""),
		"bytes_per_day is used up: nothing goes out");
	cJSON_Delete(v);
	/* What a rule denies stays so when the limit is lifted. */
	v = why_explain(policy, "demo", "bytes_per_day", "other.invalid", NULL);
	assert_string_equal(json_str(v, "command", ""), "berth policy demo allow other.invalid");
	cJSON_Delete(v);
	cJSON_Delete(policy);
}

static void why_when_it_learns(void **state)
{
	cJSON *policy = cJSON_Parse("{\"mode\":\"learn\",\"rules\":[]}"),
	      *v = why_explain(policy, "demo", "", "any.example:8443", NULL);

	assert_string_equal(json_str(v, "verdict", ""), "learn");
	cJSON_Delete(v);
	v = why_explain(policy, "demo", "", "203.0.113.1:22", NULL);
	assert_string_equal(json_str(v, "verdict", ""), "deny");
	cJSON_Delete(v);
	cJSON_Delete(policy);
}

static struct suggest *begin(const char *text)
{
	cJSON *policy = cJSON_Parse(text);
	struct suggest *s = suggest_new(policy);

	cJSON_Delete(policy);
	return s;
}

static void add(struct suggest *s, const char *name, unsigned port, const char *protocol,
	const char *verdict, const char *reason)
{
	suggest_add(s, &(struct egress_record){.name = name,
			       .port = port,
			       .protocol = protocol,
			       .verdict = verdict,
			       .reason = reason,
			       .rule = "",
			       .count = 1});
}

/* The rules, separated by spaces; s is freed. */
static void want(struct suggest *s, const char *rules)
{
	cJSON *list = suggest_rules(s);
	const cJSON *one;
	char text[1000] = "";

	cJSON_ArrayForEach (one, list)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			text[0] ? " " : "", json_str(one, "rule", "?"));
	assert_string_equal(text, rules);
	cJSON_Delete(list);
	suggest_free(s);
}

static void suggestions(void **state)
{
	struct suggest *s = begin(policy_text);

	add(s, "b.example", 0, "dns", "deny", "no rule allows this name");
	add(s, "b.example", 0, "dns", "deny", "no rule allows this name");
	add(s, "c.example", 0, "dns", "learn", "no rule allows this name");
	add(s, "c.example", 8443, "tls", "learn", "");
	add(s, "c.example", 80, "http", "learn", "");
	add(s, "ssh.example", 0, "dns", "learn", "no rule allows this name");
	add(s, "ssh.example", 22, "tcp", "learn", "");
	add(s, "example.com", 8443, "tls", "deny", "no rule allows this name and port");
	/* no wishes: allowed, denied by a rule, no name, another trouble than a missing rule */
	add(s, "a.shop.example", 443, "tls", "deny", "no rule allows this name and port");
	add(s, "bad.shop.example", 443, "tls", "deny", "a rule denies this name");
	add(s, "bad.shop.example", 443, "tls", "learn", "");
	add(s, "", 443, "tcp", "deny", "no rule allows this name and port");
	add(s, "d.example", 443, "tls", "deny", "this name was not resolved to this address");
	want(s, "c.example:80,8443 b.example example.com:8443 ssh.example:22/tcp");
}

static void wildcards(void **state)
{
	static const char *const names[] = {"a.cdn.site.example", "b.cdn.site.example",
		"c.cdn.site.example", "d.cdn.site.example", "one.co.uk", "two.co.uk", "three.co.uk",
		"four.co.uk", "x.github.io", "y.github.io", "z.github.io", "w.github.io"};
	struct suggest *s = begin("{\"rules\":[]}");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		add(s, names[i], 443, "tls", "learn", "");
	want(s, "*.cdn.site.example four.co.uk one.co.uk three.co.uk two.co.uk w.github.io "
		"x.github.io y.github.io z.github.io");
	s = begin("{\"rules\":[]}");
	for (int i = 0; i < 3; i++)
		add(s, names[i], 443, "tls", "learn", "");
	want(s, "a.cdn.site.example b.cdn.site.example c.cdn.site.example");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(why),
		cmocka_unit_test(why_refuses_nonsense),
		cmocka_unit_test(why_when_bytes_are_used_up), cmocka_unit_test(why_when_it_learns),
		cmocka_unit_test(suggestions), cmocka_unit_test(wildcards)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
