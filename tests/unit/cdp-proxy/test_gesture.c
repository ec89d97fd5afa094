/* Actions as events of hands: golden scripts, scaling, and what is held afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "gesture.h"
#include "util.h"

static const struct view view = {1280, 800, 1, 1280, 800};

static void show_step(struct buf *b, const struct script *s, const struct step *t)
{
	static const char *const mouse[] = {"to", "press", "release", "wheel"};
	static const char *const key[] = {"down", "again", "up"};
	struct key k;

	if (t->kind == STEP_MOUSE)
		buf_addf(b, "%s %g,%g b%d B%d c%d m%d", mouse[t->type], t->mouse.at.x,
			t->mouse.at.y, t->button, t->buttons, t->clicks, t->modifiers);
	if (t->kind == STEP_MOUSE && t->type == MOUSE_WHEEL)
		buf_addf(b, " %d,%d", t->mouse.dx, t->mouse.dy);
	if (t->kind == STEP_KEY)
		buf_addf(b, "%s %s m%d", key[t->type - KEY_GOES_DOWN], s->keys[t->key].key,
			t->modifiers);
	if (t->kind == STEP_CHAR && keys_of_char(t->c, &k))
		buf_addf(b, "%s %c m%d", key[t->type - KEY_GOES_DOWN], (int)t->c, t->modifiers);
	if (t->kind == STEP_INSERT)
		buf_addf(b, "insert %.*s", (int)t->text.n, s->text + t->text.start);
	if (t->kind == STEP_SYNC)
		buf_addf(b, "sync");
	if (t->kind == STEP_WAIT)
		buf_addf(b, "wait %d", (int)t->ms);
	if (t->kind == STEP_DRAGS)
		buf_addf(b, "drags %d", t->on);
}

static char *script_of(const struct action *a, struct hands *h)
{
	struct script s = {0};
	struct err err;
	struct buf b;
	char *ret;

	buf_init(&b, 1 << 20);
	if (gesture_make(a, &view, h, &s, &err) < 0)
		buf_addf(&b, "%s", err.msg);
	for (size_t i = 0; i < s.n; i++) {
		buf_addf(&b, "%s", i ? ";" : "");
		show_step(&b, &s, &s.steps[i]);
	}
	ret = xstrdup(buf_str(&b));
	buf_done(&b);
	script_done(&s);
	return ret;
}

#define SCRIPT(hands, want, ...)                               \
	do {                                                   \
		struct action a_ = {.repeat = 1, __VA_ARGS__}; \
		AUTOFREE char *got_ = script_of(&a_, hands);   \
		assert_string_equal(got_, want);               \
	} while (0)

static void clicks(void **state)
{
	struct hands h = {0};
	struct action a = {.kind = ACTION_CLICK, .clicks = 1, .has_at = true, .at = {7, 8}};
	struct err err;
	AUTOFREE char *got = NULL;

	SCRIPT(&h,
		"to 3,4 b0 B0 c0 m0;press 3,4 b1 B1 c1 m0;release 3,4 b1 B0 c1 m0;press 3,4 b1 B1 "
		"c2 m0;release 3,4 b1 B0 c2 m0",
		.kind = ACTION_CLICK, .clicks = 2, .has_at = true, .at = {3, 4});
	SCRIPT(&h, "to 3,4 b0 B0 c0 m0;press 3,4 b2 B2 c1 m0;release 3,4 b2 B0 c1 m0",
		.kind = ACTION_CLICK, .clicks = 1, .button = BUTTON_RIGHT);
	keys_chord("ctrl", &a.modifiers, &err);
	got = script_of(&a, &h);
	assert_string_equal(got, "down Control m2;to 7,8 b0 B0 c0 m2;press 7,8 b1 B1 c1 m2;release "
				 "7,8 b1 B0 c1 m2;up Control m0");
	assert_int_equal(h.held.n, 0);
}

static void places(void **state)
{
	struct hands h = {0};
	struct view small = {1280, 800, 2, 640, 400};
	struct script s = {0};
	struct err err;
	struct action a = {.kind = ACTION_MOVE, .has_at = true, .at = {639, 399}};

	SCRIPT(&h,
		"coordinate [1280, 0] lies outside of the screenshot, which has 1280 x 800 pixels: "
		"x must be from 0 to 1279, y from 0 to 799",
		.kind = ACTION_MOVE, .has_at = true, .at = {1280, 0});
	SCRIPT(&h, "to 640,400 b0 B0 c0 m0", .kind = ACTION_MOVE, .has_at = true, .at = {500, 500},
		.thousandths = true);
	SCRIPT(&h, "to 1279,799 b0 B0 c0 m0", .kind = ACTION_MOVE, .has_at = true,
		.at = {1000, 1000}, .thousandths = true);
	/* A picture of half the size. */
	assert_int_equal(gesture_make(&a, &small, &h, &s, &err), 0);
	assert_true(s.steps[0].mouse.at.x == 1278 && s.steps[0].mouse.at.y == 798);
	assert_int_equal(gesture_cursor(&small, &h).x, 639);
	script_done(&s);
}

static void drags(void **state)
{
	struct hands h = {.at = {5, 5}};

	SCRIPT(&h,
		"to 10,10 b0 B0 c0 m0;drags 1;press 10,10 b1 B1 c1 m0;sync;to 25,10 b1 B1 c0 "
		"m0;sync;to 40,10 b1 B1 c0 m0;sync;"
		"wait 30;release 40,10 b1 B0 c1 m0;sync;drags 0",
		.kind = ACTION_DRAG, .has_from = true, .from = {10, 10}, .has_at = true,
		.at = {40, 10});
	SCRIPT(&h,
		"the start [-1, 0] lies outside of the screenshot, which has 1280 x 800 pixels: x "
		"must be from 0 to 1279, y from 0 to 799",
		.kind = ACTION_DRAG, .has_from = true, .from = {-1, 0}, .has_at = true);
	SCRIPT(&h, "drags 1;press 40,10 b1 B1 c1 m0;sync", .kind = ACTION_PRESS);
	assert_int_equal(h.buttons, 1);
	SCRIPT(&h, "to 45,10 b1 B1 c0 m0;sync", .kind = ACTION_MOVE, .has_at = true,
		.at = {45, 10});
	SCRIPT(&h, "wait 30;release 45,10 b1 B0 c1 m0;sync;drags 0", .kind = ACTION_RELEASE);
	assert_int_equal(h.buttons, 0);
}

static void scrolls(void **state)
{
	struct hands h = {0};

	SCRIPT(&h,
		"to 1,1 b0 B0 c0 m0;sync;wheel 1,1 b0 B0 c0 m0 0,-100;sync;wheel 1,1 b0 B0 c0 m0 "
		"0,-100",
		.kind = ACTION_SCROLL, .has_at = true, .at = {1, 1}, .direction = SCROLL_UP,
		.amount = 2);
	SCRIPT(&h, "to 1,1 b0 B0 c0 m0;wheel 1,1 b0 B0 c0 m0 -7,9", .kind = ACTION_SCROLL, .dx = -7,
		.dy = 9);
	SCRIPT(&h, "to 640,400 b0 B0 c0 m0;sync;wheel 640,400 b0 B0 c0 m0 640,0",
		.kind = ACTION_SCROLL, .thousandths = true, .direction = SCROLL_RIGHT,
		.amount = 500);
}

static void keyboard(void **state)
{
	struct hands h = {0};
	struct action a = {.kind = ACTION_KEY, .repeat = 1},
		      hold = {.kind = ACTION_HOLD_KEY, .ms = 600, .repeat = 1};
	struct err err;
	AUTOFREE char *got = NULL;
	AUTOFREE char *held = NULL;
	char text[] = "aB\xc3\xa9!\n", bad[] = "a\x01";

	keys_chord("ctrl+T", &a.keys, &err);
	got = script_of(&a, &h);
	assert_string_equal(got, "down Control m2;down t m2;up t m2;up Control m0");
	SCRIPT(&h,
		"down a m0;up a m0;down Shift m8;down B m8;up B m8;up Shift m0;insert "
		"\xc3\xa9;down Shift m8;down ! m8;up ! m8;up Shift m0;down Enter m0;up Enter m0",
		.kind = ACTION_TYPE, .text = text);
	SCRIPT(&h, "text holds the control character U+0001, which no key types",
		.kind = ACTION_TYPE, .text = bad);
	keys_chord("x", &hold.keys, &err);
	held = script_of(&hold, &h);
	assert_string_equal(
		held, "down x m0;wait 500;again x m0;wait 40;again x m0;wait 40;wait 20;up x m0");
}

/* Long texts are inserted from some length on; all of it arrives. */
static void long_text(void **state)
{
	char text[50001];
	struct action a = {.kind = ACTION_TYPE, .repeat = 1, .text = text};
	struct hands h = {0};
	struct script s = {0};
	struct err err;
	size_t n = 0;

	memset(text, 'x', 50000);
	text[50000] = '\0';
	text[40000] = '\n';
	assert_int_equal(gesture_make(&a, &view, &h, &s, &err), 0);
	assert_true(s.n < 5000);
	for (size_t i = 0; i < s.n; i++)
		n += s.steps[i].kind == STEP_INSERT ? s.steps[i].text.n
						    : s.steps[i].type == KEY_GOES_UP;
	assert_int_equal(n, 50000);
	script_done(&s);
}

static void lets_go(void **state)
{
	struct hands h = {0};
	struct action down = {.kind = ACTION_KEY_DOWN, .repeat = 1},
		      up = {.kind = ACTION_KEY_UP, .repeat = 1};
	struct script s = {0};
	struct err err;
	AUTOFREE char *a = NULL;
	AUTOFREE char *b = NULL;

	keys_chord("shift", &down.keys, &err);
	up.keys = down.keys;
	a = script_of(&down, &h);
	b = script_of(&up, &h);
	assert_string_equal(b, "up Shift m0");
	free(steal(&a));
	a = script_of(&down, &h);
	h.buttons = 1;
	gesture_release(&h, &s);
	assert_int_equal(s.n, 2);
	assert_int_equal(h.buttons, 0);
	assert_int_equal(h.held.n, 0);
	script_done(&s);
}

/* What goes to the browser. */
static void commands(void **state)
{
	struct hands h = {0};
	struct script s = {0};
	struct action a = {.kind = ACTION_KEY, .repeat = 1};
	struct err err;
	cJSON *p = NULL;
	AUTOFREE char *text = NULL;

	keys_chord("KP_Add", &a.keys, &err);
	assert_int_equal(gesture_make(&a, &view, &h, &s, &err), 0);
	assert_string_equal(gesture_command(&s, &s.steps[0], &p), "Input.dispatchKeyEvent");
	text = cJSON_PrintUnformatted(p);
	assert_string_equal(text, "{\"type\":\"keyDown\",\"key\":\"+\",\"code\":\"NumpadAdd\","
				  "\"windowsVirtualKeyCode\":107,\"nativeVirtualKeyCode\":107,"
				  "\"modifiers\":0,\"location\":0,\"isKeypad\":true,\"text\":\"+\","
				  "\"unmodifiedText\":\"+\"}");
	cJSON_Delete(p);
	script_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clicks),
		cmocka_unit_test(places),
		cmocka_unit_test(drags),
		cmocka_unit_test(scrolls),
		cmocka_unit_test(keyboard),
		cmocka_unit_test(long_text),
		cmocka_unit_test(lets_go),
		cmocka_unit_test(commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
