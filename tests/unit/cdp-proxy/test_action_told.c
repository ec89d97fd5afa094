/* What the action log gets to know of an action: enough to follow it, and nothing secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "action_told.h"
#include "util.h"
#include "vendor.h"

static void told(const struct action *a, const char *want)
{
	cJSON *o = action_told_params(a);
	char *text = cJSON_PrintUnformatted(o);

	assert_string_equal(text, want);
	cJSON_free(text);
	cJSON_Delete(o);
}

/* The only action that a vendor's request asks for. */
static void asked(const char *vendor, const char *body, const char *name, const char *want)
{
	cJSON *o = cJSON_Parse(body);
	struct plan p = {0};
	struct err err;

	assert_non_null(o);
	if (plan_read(&p, o, vendor, NULL, &err) < 0)
		fail_msg("%s: %s", body, err.msg);
	assert_string_equal(action_told_name(&p.actions[0]), name);
	told(&p.actions[0], want);
	plan_done(&p);
	cJSON_Delete(o);
}

static void parameters(void **state)
{
	static const char a[] = "anthropic", o[] = "openai", g[] = "gemini";

	asked(a, "{\"action\":\"left_click\",\"coordinate\":[640,400],\"text\":\"shift\"}", "click",
		"{\"at\":[640,400],\"modifiers\":\"Shift\",\"button\":\"left\"}");
	asked(a, "{\"action\":\"triple_click\",\"coordinate\":[1,2]}", "click",
		"{\"at\":[1,2],\"button\":\"left\",\"clicks\":3}");
	asked(a,
		"{\"action\":\"scroll\",\"coordinate\":[1,2],\"scroll_direction\":\"down\","
		"\"scroll_amount\":3}",
		"scroll", "{\"at\":[1,2],\"direction\":\"down\",\"amount\":3}");
	asked(a, "{\"action\":\"wait\",\"duration\":1.5}", "wait", "{\"ms\":1500}");
	asked(a, "{\"action\":\"screenshot\"}", "screenshot", "{}");
	asked(a, "{\"action\":\"fly\"}", "invalid", "{}");
	asked(o,
		"{\"type\":\"drag\",\"path\":[{\"x\":1,\"y\":2},{\"x\":3,\"y\":4},{\"x\":5,\"y\":6}"
		"]"
		"}",
		"drag", "{\"from\":[1,2],\"to\":[5,6],\"points\":3}");
	asked(g, "{\"name\":\"click_at\",\"args\":{\"x\":500,\"y\":250}}", "click",
		"{\"at\":[500,250],\"unit\":\"thousandths\",\"button\":\"left\"}");
	asked(g, "{\"name\":\"navigate\",\"args\":{\"url\":\"https://u:p@a.example/b?t=1#x\"}}",
		"navigate", "{\"url\":\"https://a.example/b\"}");
}

static void no_secrets(void **state)
{
	static const char a[] = "anthropic";
	struct action any = {.kind = ACTION_EVALUATE, .text = (char[]){"() => 'hunter2'"}};

	asked(a, "{\"action\":\"type\",\"text\":\"hunter2\"}", "type", "{\"text_length\":7}");
	/* keys that spell it */
	asked(a, "{\"action\":\"key\",\"text\":\"h\"}", "key", "{\"keys\":\"(a character)\"}");
	asked(a, "{\"action\":\"key\",\"text\":\"shift+h\"}", "key",
		"{\"keys\":\"(a character)\"}");
	asked(a, "{\"action\":\"key\",\"text\":\"KP_5\"}", "key", "{\"keys\":\"(a character)\"}");
	asked(a, "{\"action\":\"key\",\"text\":\"ctrl+a\"}", "key", "{\"keys\":\"Control+a\"}");
	asked(a, "{\"action\":\"key\",\"text\":\"Return\"}", "key", "{\"keys\":\"Enter\"}");
	asked("gemini",
		"{\"name\":\"type_text_at\",\"args\":{\"x\":1,\"y\":2,\"text\":\"hunter2\"}}",
		"type",
		"{\"at\":[1,2],\"unit\":\"thousandths\",\"text_length\":7,\"clear_first\":true}");
	told(&any, "{\"function_length\":15}");
	any = (struct action){.kind = ACTION_DIALOG, .text = any.text, .accept = true};
	told(&any, "{\"text_length\":15,\"accept\":true}");
	any = (struct action){
		.kind = ACTION_CHOOSE, .ref = 7, .choices = (char[]){"[\"a\",\"b\"]"}};
	told(&any, "{\"ref\":\"e7\",\"choices\":2}");
	any = (struct action){.kind = ACTION_FILES, .text = (char[]){"/a\n/b"}};
	told(&any, "{\"files\":2,\"paths\":\"/a\\n/b\"}");
	/* one that the table does not know yet */
	any = (struct action){.kind = ACTION_COUNT, .text = (char[]){"hunter2"}, .ref = 3};
	assert_string_equal(action_told_name(&any), "action");
	told(&any, "{\"ref\":\"e3\"}");
}

static void addresses(void **state)
{
	static const char *const pairs[][2] = {
		{"https://a.example/b/c?token=x#y", "https://a.example/b/c"},
		{"https://a.example:8443", "https://a.example:8443"},
		{"https://user:secret@a.example/b", "https://a.example/b"},
		{"https://a@b@c.example/x@y", "https://c.example/x@y"},
		{"https://a.example#secret", "https://a.example"},
		{"user:secret@a.example/b?c", "a.example/b"},
		{"a.example/b?c", "a.example/b"},
		{"localhost:8080/x", "localhost:8080/x"},
		{"  https://a.example/?q", "https://a.example/"},
		{"about:blank", "about:blank"},
		{"chrome-error://chromewebdata/", "chrome-error://chromewebdata/"},
		{"data:text/html,secret@x", "data:"},
		{"DATA:text/html,secret", "DATA:"},
		{"javascript:alert('secret')", "javascript:"},
		{"blob:https://a.example/id", "blob:"},
		{"", ""},
		{"?x", ""},
	};
	AUTOFREE char *large = xmalloc(5000);
	char out[TOLD_URL_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		action_told_url(pairs[i][0], out);
		assert_string_equal(out, pairs[i][1]);
	}
	memset(large, 'a', 4999);
	large[4999] = '\0';
	memcpy(large + TOLD_URL_MAX - 2, "\xc3\xa9", 2); /* no character is cut in two */
	action_told_url(large, out);
	assert_int_equal(strlen(out), TOLD_URL_MAX - 2);
}

static void errors(void **state)
{
	static const struct {
		enum action_kind kind;
		const char *text, *want;
	} cases[] = {
		{ACTION_BAD, "key: \"hunter2\" is no key", "key: \"…\" is no key"},
		{ACTION_BAD, "\"hunter2", "\"…\""},
		{ACTION_CLICK, "it is covered\nby a veil", "it is covered"},
		{ACTION_CLICK, "a \"b\" and \"c\" \xff\t.", "a \"…\" and \"…\" ??."},
		{ACTION_EVALUATE, "The function failed: hunter2", "The function failed"},
	};
	char out[TOLD_ERROR_MAX], large[1000];
	struct action a = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		a.kind = cases[i].kind;
		action_told_error(&a, cases[i].text, out);
		assert_string_equal(out, cases[i].want);
	}
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	action_told_error(&a, large, out);
	assert_int_equal(strlen(out), TOLD_ERROR_MAX - 1);
	memset(large, '"', sizeof(large) - 1);
	action_told_error(&a, large, out);
	assert_true(strlen(out) < TOLD_ERROR_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(parameters),
		cmocka_unit_test(no_secrets), cmocka_unit_test(addresses),
		cmocka_unit_test(errors)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
