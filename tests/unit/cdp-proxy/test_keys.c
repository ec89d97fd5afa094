/* The table of keys: names in every spelling, what they type, and chords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "keys.h"
#include "util.h"

static const struct {
	const char *name, *key, *code, *text;
	int vk, location;
	bool shift;
} rows[] = {
	{"Return", "Enter", "Enter", "\r", 13, 0, false},
	{"ENTER", "Enter", "Enter", "\r", 13, 0, false},
	{"KP_Enter", "Enter", "NumpadEnter", "\r", 13, 3, false},
	{"esc", "Escape", "Escape", "", 27, 0, false},
	{"Page_Down", "PageDown", "PageDown", "", 34, 0, false},
	{"ARROWLEFT", "ArrowLeft", "ArrowLeft", "", 37, 0, false},
	{"ctrl", "Control", "ControlLeft", "", 17, 1, false},
	{"Control_R", "Control", "ControlRight", "", 17, 2, false},
	{"CMD", "Meta", "MetaLeft", "", 91, 1, false},
	{"super", "Meta", "MetaLeft", "", 91, 1, false},
	{"F12", "F12", "F12", "", 123, 0, false},
	{"f1", "F1", "F1", "", 112, 0, false},
	{"KP_7", "7", "Numpad7", "7", 103, 3, false},
	{"KP_Add", "+", "NumpadAdd", "+", 107, 3, false},
	{"a", "a", "KeyA", "a", 65, 0, false},
	{"A", "a", "KeyA", "a", 65, 0, true},
	{"KeyZ", "z", "KeyZ", "z", 90, 0, false},
	{"Digit4", "4", "Digit4", "4", 52, 0, false},
	{"%", "5", "Digit5", "5", 53, 0, true},
	{"?", "/", "Slash", "/", 191, 0, true},
	{"+", "=", "Equal", "=", 187, 0, true},
	{"plus", "=", "Equal", "=", 187, 0, true},
	{"space", " ", "Space", " ", 32, 0, false},
	{" ", " ", "Space", " ", 32, 0, false},
	{"\xc3\xa9", "\xc3\xa9", "", "\xc3\xa9", 0, 0, false},
	{"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "", "\xf0\x9f\x98\x80", 0, 0, false},
};

static void names_are_keys(void **state)
{
	struct key k;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(keys_find(rows[i].name, &k), 0);
		assert_string_equal(k.key, rows[i].key);
		assert_string_equal(k.code, rows[i].code);
		assert_string_equal(k.text, rows[i].text);
		assert_int_equal(k.vk, rows[i].vk);
		assert_int_equal(k.location, rows[i].location);
		assert_int_equal(k.needs_shift, rows[i].shift);
	}
}

static void others_are_none(void **state)
{
	static const char *const none[] = {"", "Retur", "Returns", "F0", "F25", "F1x", "KP_",
		"KP_10", "Keyab", "Digit", "Digit42", "ab", "\n", "\x7f", "Left Right"};
	struct key k;

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(keys_find(none[i], &k), -EINVAL);
}

/* All of ASCII that prints has a key, and the key says the character back. */
static void characters_have_keys(void **state)
{
	struct key k;

	for (uint32_t c = 0x20; c < 0x7f; c++) {
		assert_true(keys_of_char(c, &k));
		assert_int_equal((k.needs_shift ? k.shifted : k.key)[0], (int)c);
		assert_true(k.code[0] && k.vk);
	}
	assert_false(keys_of_char(0, &k));
	assert_false(keys_of_char(0x7f, &k));
	assert_false(keys_of_char(0xe9, &k));
	assert_false(keys_of_char(0x1f600, &k));
}

/* "key key|modifiers", S behind a key that needs Shift; or the error. */
static void show(const char *text, char out[256])
{
	struct chord c;
	struct err err;
	size_t n = 0;

	if (keys_chord(text, &c, &err) < 0) {
		snprintf(out, 256, "%s", err.msg);
		return;
	}
	for (size_t i = 0; i < c.n; i++)
		n += (size_t)snprintf(out + n, 256 - n, "%s%s%s", i ? " " : "", c.keys[i].key,
			c.keys[i].needs_shift ? "S" : "");
	snprintf(out + n, 256 - n, "|%u", keys_modifiers(&c));
}

static void chords(void **state)
{
	static const struct {
		const char *text, *want;
	} all[] = {
		{"ctrl+shift+t", "Control Shift t|10"},
		{"Ctrl+A", "Control a|2"},
		{"A", "aS|8"},
		{"shift+A", "Shift aS|8"},
		{"ctrl++", "Control =S|10"},
		{"+", "=S|8"},
		{"alt+F4", "Alt F4|1"},
		{"ctrl+plus", "Control =S|10"},
		{"", "no key is named"},
		{"ctrl+", "a key is missing behind the last \"+\""},
		{"ctrl+nope", "\"nope\" is no key"},
		{"a+a+a+a+a+a+a+a+a", "more than 8 keys at once"},
	};
	char out[256];

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		show(all[i].text, out);
		assert_string_equal(out, all[i].want);
	}
}

static void modifiers_alone(void **state)
{
	struct chord c;
	struct err err;

	assert_int_equal(keys_chord("ctrl+shift", &c, &err), 0);
	assert_int_equal(keys_only_modifiers(&c, &err), 0);
	assert_int_equal(keys_chord("ctrl+x", &c, &err), 0);
	assert_int_equal(keys_only_modifiers(&c, &err), -EINVAL);
	c.n = 0;
	assert_int_equal(keys_add(&c, "A", &err), 0);
	assert_false(c.keys[0].needs_shift);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_keys),
		cmocka_unit_test(others_are_none),
		cmocka_unit_test(characters_have_keys),
		cmocka_unit_test(chords),
		cmocka_unit_test(modifiers_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
