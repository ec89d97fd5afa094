/* The strict JSON reader: what RFC 8259 allows and forbids, in any pieces. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "json_scan.h"
#include "util.h"

static bool whole(const char *text, size_t n, size_t piece)
{
	struct json_scan s;

	json_scan_init(&s, NULL, NULL);
	for (size_t i = 0; i < n; i += piece)
		if (json_scan_feed(&s, text + i, MIN(piece, n - i)) < 0)
			return false;
	return json_scan_end(&s, NULL) == 0;
}

static void grammar(void **state)
{
	static const char *const good[] = {"{}", "[]", " [ ] ", "0", "-0", "12", "1.5", "-1e5",
		"1E+2", "1.0e-10", "true", "false", "null", "\"\"", "\"a\\u00e9\\n\\\\ \\\" \\/\"",
		"{\"a\":{\"b\":[1,2,{}]},\"c\":null}", "[[],[[]],{}]",
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\\ud800\"", "[1 , 2]",
		"{\"a\" : 1 , \"b\":2}", "\t\r\n 1 \n", "\"\x7f\"",
		"\"a long string that is run through by words, \\t with an escape inside it\""};
	static const char *const bad[] = {"", " ", "{", "}", "[", "]", "{]", "[}", "[1,]", "{,}",
		"{\"a\":1,}", "{\"a\"}", "{\"a\":}", "{a:1}", "{'a':1}", "01", "-", "+1", ".5",
		"1.", "1e", "1e+", "1.e1", "0x1", "tru", "truex", "nul", "nulL", "NaN", "\"",
		"\"\\x\"", "\"\\u12g4\"", "\"\\u12\"", "\"\n\"", "\"\x01\"", "\"\xff\"", "\"\xc3\"",
		"\"\xed\xa0\x80\"", "\"\xc0\x80\"", "1 2", "{}{}", "[1 2]", "/**/1", "1//",
		"[1,,2]", "\xef\xbb\xbf{}", "{\"a\":1 \"b\":2}", "-a", "00", "--1", "1-", "1+1",
		"\"\xe2\x82\\u0041\"", "tr\"ue", "[true,fals]"};

	for (size_t piece = 1; piece < 12; piece++) {
		for (size_t i = 0; i < ARRAY_SIZE(good); i++)
			if (!whole(good[i], strlen(good[i]), piece))
				fail_msg("refused in pieces of %zu: %s", piece, good[i]);
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			if (whole(bad[i], strlen(bad[i]), piece))
				fail_msg("taken in pieces of %zu: %s", piece, bad[i]);
	}
	assert_false(whole("{}\0", 3, 3));
	assert_false(whole("\"\0\"", 3, 3));
}

static void depth_has_a_limit(void **state)
{
	char text[2 * JSON_SCAN_DEPTH + 2];

	memset(text, '[', JSON_SCAN_DEPTH);
	memset(text + JSON_SCAN_DEPTH, ']', JSON_SCAN_DEPTH);
	assert_true(whole(text, 2 * JSON_SCAN_DEPTH, 1000));
	memset(text, '[', JSON_SCAN_DEPTH + 1);
	memset(text + JSON_SCAN_DEPTH + 1, ']', JSON_SCAN_DEPTH + 1);
	assert_false(whole(text, 2 * JSON_SCAN_DEPTH + 2, 1000));
}

struct log {
	char text[1000];
};

static int note(void *data, const struct json_found *m)
{
	struct log *l = data;
	size_t n = strlen(l->text);

	snprintf(l->text + n, sizeof(l->text) - n, "%s %d %d-%d %.*s|", m->key ? m->key : "?",
		m->kind, (int)m->start, (int)m->end, m->raw ? (int)m->raw_len : 4,
		m->raw ? m->raw : "none");
	return 0;
}

static void members_are_reported(void **state)
{
	static const char text[] = " {\"a\" : -12 ,\"\\u0062\":\"x\\\"y\", "
				   "\"c\":{\"a\":[1]},\"d\":[2], \"e\":true,\"\":null}";

	for (size_t piece = 1; piece < 80; piece++) {
		struct log l = {""};
		struct json_scan s;

		json_scan_init(&s, note, &l);
		for (size_t i = 0; i < strlen(text); i += piece)
			assert_int_equal(
				json_scan_feed(&s, text + i, MIN(piece, strlen(text) - i)), 0);
		assert_int_equal(json_scan_end(&s, NULL), 0);
		assert_string_equal(l.text, "a 3 8-11 -12|b 2 22-28 \"x\\\"y\"|c 0 34-43 none|"
					    "d 1 48-51 none|e 4 57-61 true| 4 65-69 null|");
	}
}

static void strings_are_decoded(void **state)
{
	char out[32];

#define DECODE(s) json_scan_string(s, sizeof(s) - 1, out, sizeof(out))
	assert_int_equal(DECODE("\"a\\n\\u20ac\\ud83d\\ude00\\/\""), 10);
	assert_string_equal(out, "a\n\xe2\x82\xac\xf0\x9f\x98\x80/");
	assert_int_equal(DECODE("\"\\ud800x\\udc00\""), 7);
	assert_string_equal(out, "\xef\xbf\xbdx\xef\xbf\xbd");
	assert_int_equal(DECODE("\"\\u0000\""), -EINVAL);
	assert_int_equal(DECODE("\"1234567890123456789012345678901\""), 31);
	assert_int_equal(DECODE("\"12345678901234567890123456789012\""), -E2BIG);
	assert_int_equal(DECODE("\"\\ud83d\""), 3);
}

static void one_member_is_found(void **state)
{
	struct json_found m;
	static const char text[] = "{\"x\":[1,{\"url\":3}],\"u\\u0072l\":\"here\",\"y\":1}";

	assert_int_equal(json_scan_find(text, strlen(text), "url", &m), 1);
	assert_memory_equal(m.raw, "\"here\"", 6);
	assert_int_equal(m.raw_len, 6);
	assert_int_equal(json_scan_find(text, strlen(text), "z", &m), 0);
	assert_int_equal(json_scan_find("{\"a\":1,\"\\u0061\":2}", 18, "a", &m), -EEXIST);
	assert_int_equal(json_scan_find("[1]", 3, "a", &m), -EINVAL);
	assert_int_equal(json_scan_find("{\"a\":1", 6, "a", &m), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grammar),
		cmocka_unit_test(depth_has_a_limit),
		cmocka_unit_test(members_are_reported),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(one_member_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
