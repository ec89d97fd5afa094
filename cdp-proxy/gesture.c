/* Actions of the mouse and the keyboard as the events that a person's hands would cause. */
#include "gesture.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "util.h"

/*
 * Theory of operation. A script is a list of small steps, made at once and sent later: a mouse goes
 * to its place before it presses, a drag has moves in between, each of which the page sees (the
 * browser joins moves that come within one frame, so each is waited for), Shift is held for
 * capitals, modifiers are down before and up after.
 */
#define TYPED_MAX 2000 /* bytes of a text that are typed key by key; more is inserted */
#define MOVE_PX 25     /* length of a drag's moves */
#define MOVES_MAX 12   /* of one leg of a drag */
#define REPEAT_AFTER_MS 500
#define REPEAT_EVERY_MS 40
#define DRAG_BEGINS_MS 30 /* for the browser to tell that a drag began */

static const unsigned int masks[] = {1, 2, 4, 8, 16};

void script_done(struct script *s)
{
	free(s->steps);
	*s = (struct script){0};
}

static struct step *add(struct script *s, enum step_kind kind, enum step_type type)
{
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 16;
		s->steps = xrealloc(s->steps, s->room * sizeof(*s->steps));
	}
	s->steps[s->n] = (struct step){.kind = (uint8_t)kind, .type = (uint8_t)type};
	return &s->steps[s->n++];
}

static void add_wait(struct script *s, uint64_t ms)
{
	add(s, STEP_WAIT, 0)->ms = ms;
}

/* ---- Points ---- */

static int outside(const struct view *v, const char *what, int x, int y, struct err *err)
{
	return err_set(err, -ERANGE,
		"%s [%d, %d] lies outside of the screenshot, which has %d x %d pixels: x must be "
		"from 0 to %d, y from 0 to %d",
		what, x, y, v->shot_width, v->shot_height, v->shot_width - 1, v->shot_height - 1);
}

/* Thousandths: 1000 is the last pixel, as the picture has none behind it. */
static int to_pixel(int per_mille, int size)
{
	return MIN((int)((int64_t)per_mille * size / 1000), size - 1);
}

static int to_spot(const struct action *a, const struct view *v, struct point p, const char *what,
	struct spot *ret, struct err *err)
{
	if (a->thousandths)
		p = (struct point){to_pixel(p.x, v->shot_width), to_pixel(p.y, v->shot_height)};
	if (p.x < 0 || p.y < 0 || p.x >= v->shot_width || p.y >= v->shot_height)
		return outside(v, what, p.x, p.y, err);
	*ret = (struct spot){p.x * v->width / v->shot_width, p.y * v->height / v->shot_height};
	return 0;
}

int gesture_region(const struct action *a, const struct view *v, double ret[4], struct err *err)
{
	double fx = v->width / v->shot_width, fy = v->height / v->shot_height;

	if (a->region[2] > v->shot_width || a->region[3] > v->shot_height)
		return err_set(err, -ERANGE,
			"region [%d, %d, %d, %d] lies outside of the screenshot, which has %d x %d "
			"pixels",
			a->region[0], a->region[1], a->region[2], a->region[3], v->shot_width,
			v->shot_height);
	ret[0] = a->region[0] * fx;
	ret[1] = a->region[1] * fy;
	ret[2] = (a->region[2] - a->region[0]) * fx;
	ret[3] = (a->region[3] - a->region[1]) * fy;
	return 0;
}

struct point gesture_cursor(const struct view *v, const struct hands *h)
{
	return (struct point){(int)(h->at.x * v->shot_width / v->width + 0.5),
		(int)(h->at.y * v->shot_height / v->height + 0.5)};
}

/* ---- Keys ---- */

static size_t keep_key(struct script *s, const struct key *k)
{
	for (size_t i = 0; i < s->n_keys; i++)
		if (streq(s->keys[i].key, k->key) && streq(s->keys[i].code, k->code) &&
			s->keys[i].needs_shift == k->needs_shift)
			return i;
	if (s->n_keys == SCRIPT_KEYS_MAX)
		return SCRIPT_KEYS_MAX - 1;
	s->keys[s->n_keys] = *k;
	return s->n_keys++;
}

static void key_step(struct script *s, const struct key *k, enum step_type type, unsigned int mods)
{
	struct step *t = add(s, STEP_KEY, type);

	t->key = keep_key(s, k);
	t->modifiers = (uint8_t)mods;
}

static const struct key *shift_key(void)
{
	static struct key k;

	if (!k.vk)
		keys_find("shift", &k);
	return &k;
}

/* A real keyboard says of a modifier's own keydown that it is held, and of its keyup that not. */
static void press(struct script *s, struct hands *h, const struct key *k)
{
	if (h->held.n == KEYS_CHORD_MAX)
		return;
	h->held.keys[h->held.n++] = *k;
	key_step(s, k, KEY_GOES_DOWN, keys_modifiers(&h->held));
}

static void release_last(struct script *s, struct hands *h)
{
	struct key k = h->held.keys[--h->held.n];

	key_step(s, &k, KEY_GOES_UP, keys_modifiers(&h->held));
}

static void press_chord(struct script *s, struct hands *h, const struct chord *c)
{
	if (keys_modifiers(c) & KEY_SHIFT && !(keys_modifiers(&h->held) & KEY_SHIFT)) {
		bool named = false;

		for (size_t i = 0; i < c->n; i++)
			named |= c->keys[i].modifier == KEY_SHIFT;
		if (!named)
			press(s, h, shift_key());
	}
	for (size_t i = 0; i < c->n; i++)
		press(s, h, &c->keys[i]);
}

static void release_to(struct script *s, struct hands *h, size_t n)
{
	while (h->held.n > n)
		release_last(s, h);
}

static int check_room(const struct hands *h, const struct chord *c, struct err *err)
{
	if (h->held.n + c->n + 1 > KEYS_CHORD_MAX)
		return err_set(err, -E2BIG, "more than %d keys would be held", KEYS_CHORD_MAX - 1);
	return 0;
}

static void make_key(const struct action *a, struct hands *h, struct script *s)
{
	size_t held = h->held.n;

	for (int i = 0; i < a->repeat; i++) {
		press_chord(s, h, &a->keys);
		release_to(s, h, held);
	}
}

/* Keys that are held repeat themselves, the last one of them. */
static void make_hold(const struct action *a, struct hands *h, struct script *s)
{
	const struct key *last = &a->keys.keys[a->keys.n - 1];
	size_t held = h->held.n;
	int64_t left = a->ms;

	press_chord(s, h, &a->keys);
	if (left > REPEAT_AFTER_MS && !last->modifier) {
		add_wait(s, REPEAT_AFTER_MS);
		for (left -= REPEAT_AFTER_MS; left >= REPEAT_EVERY_MS; left -= REPEAT_EVERY_MS) {
			key_step(s, last, KEY_REPEATS, keys_modifiers(&h->held));
			add_wait(s, REPEAT_EVERY_MS);
		}
	}
	add_wait(s, (uint64_t)left);
	release_to(s, h, held);
}

static void make_key_up(const struct action *a, struct hands *h, struct script *s)
{
	for (size_t i = a->keys.n; i-- > 0;) {
		const struct key *k = &a->keys.keys[i];
		size_t at = h->held.n;

		while (at > 0 && !streq(h->held.keys[at - 1].code, k->code))
			at--;
		if (at > 0) {
			memmove(&h->held.keys[at - 1], &h->held.keys[at],
				(h->held.n - at) * sizeof(*k));
			h->held.n--;
		}
		key_step(s, k, KEY_GOES_UP, keys_modifiers(&h->held));
	}
}

/* ---- Text ---- */

static int check_text(const char *text, struct err *err)
{
	while (*text) {
		uint32_t c = keys_next_char(&text);

		if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f)
			return err_set(err, -EINVAL,
				"text holds the control character U+%04X, which no key types",
				(unsigned int)c);
	}
	return 0;
}

static void tap(struct script *s, struct hands *h, const char *name)
{
	struct key k;

	keys_find(name, &k);
	press(s, h, &k);
	release_last(s, h);
}

static void char_steps(struct script *s, const struct hands *h, uint32_t c)
{
	for (int up = 0; up < 2; up++) {
		struct step *t = add(s, STEP_CHAR, up ? KEY_GOES_UP : KEY_GOES_DOWN);

		t->c = c;
		t->modifiers = (uint8_t)keys_modifiers(&h->held);
	}
}

/* Characters without a key on a US keyboard, up to the next one with a key; all: in any case up to
 * the end of the line. */
static const char *insert_run(struct script *s, const char *at, const char *text, bool all)
{
	const char *end = at, *next = at;
	struct key k;
	struct step *t;

	while (*next) {
		uint32_t c = keys_next_char(&next);

		if (c < 0x20 || (!all && keys_of_char(c, &k)))
			break;
		end = next;
	}
	t = add(s, STEP_INSERT, 0);
	t->text.start = (size_t)(at - text);
	t->text.n = (size_t)(end - at);
	return end;
}

static void type_text(struct script *s, struct hands *h, const char *text)
{
	bool shifted = false;
	size_t held = h->held.n;
	const char *at = text, *next;
	struct key k;

	while (*at) {
		uint32_t c = (next = at, keys_next_char(&next));
		bool has_key = at - text < TYPED_MAX && keys_of_char(c, &k);

		if (has_key ? k.needs_shift != shifted && c != ' ' : shifted) {
			if (!shifted)
				press(s, h, shift_key());
			else
				release_to(s, h, held);
			shifted = !shifted;
		}
		if (has_key) {
			char_steps(s, h, c);
		} else if (c == '\n' || c == '\r') {
			tap(s, h, "Return");
			next += c == '\r' && *next == '\n';
		} else if (c == '\t') {
			tap(s, h, "Tab");
		} else {
			next = insert_run(s, at, text, at - text >= TYPED_MAX);
		}
		at = next;
	}
	release_to(s, h, held);
}

/* ---- Mouse ---- */

static struct step *mouse_step(struct script *s, const struct hands *h, enum step_type type)
{
	struct step *t = add(s, STEP_MOUSE, type);

	t->mouse.at = h->at;
	t->buttons = (uint8_t)h->buttons;
	t->modifiers = (uint8_t)keys_modifiers(&h->held);
	return t;
}

static void go(struct script *s, struct hands *h, struct spot to)
{
	h->at = to;
	/* A move with a button held names it, as a person's does. */
	struct step *t = mouse_step(s, h, MOUSE_MOVED);

	for (uint8_t i = 0; i < ARRAY_SIZE(masks) && !t->button; i++)
		if (h->buttons & masks[i])
			t->button = (uint8_t)(i + 1);
}

/* To a place with moves in between, each seen by the page. */
static void drag_to(struct script *s, struct hands *h, struct spot to, int moves_max)
{
	struct spot from = h->at;
	double length = MAX(fabs(to.x - from.x), fabs(to.y - from.y));
	int n = MAX(1, MIN(moves_max, (int)(length / MOVE_PX) + 1));

	for (int i = 1; i <= n; i++) {
		go(s, h,
			(struct spot){from.x + (to.x - from.x) * i / n,
				from.y + (to.y - from.y) * i / n});
		add(s, STEP_SYNC, 0);
	}
}

static void button_step(struct script *s, struct hands *h, enum step_type type,
	enum action_button button, int clicks)
{
	struct step *t;

	if (type == MOUSE_PRESSED)
		h->buttons |= masks[button];
	else
		h->buttons &= ~masks[button];
	t = mouse_step(s, h, type);
	t->button = (uint8_t)(button + 1);
	t->clicks = (uint8_t)clicks;
}

static void make_click(const struct action *a, struct hands *h, struct script *s, struct spot to)
{
	size_t held = h->held.n;

	press_chord(s, h, &a->modifiers);
	go(s, h, to);
	for (int i = 1; i <= a->clicks; i++) {
		button_step(s, h, MOUSE_PRESSED, a->button, i);
		button_step(s, h, MOUSE_RELEASED, a->button, i);
	}
	release_to(s, h, held);
}

static void begin_drags(struct script *s, bool on)
{
	add(s, STEP_DRAGS, 0)->on = on;
}

static void press_for_drag(struct script *s, struct hands *h)
{
	begin_drags(s, true);
	button_step(s, h, MOUSE_PRESSED, BUTTON_LEFT, 1);
	add(s, STEP_SYNC, 0);
}

static void release_after_drag(struct script *s, struct hands *h)
{
	add_wait(s, DRAG_BEGINS_MS);
	button_step(s, h, MOUSE_RELEASED, BUTTON_LEFT, 1);
	add(s, STEP_SYNC, 0);
	begin_drags(s, false);
}

static int make_path(const struct action *a, const struct view *v, struct hands *h,
	struct script *s, struct err *err)
{
	size_t held = h->held.n;
	struct spot to;

	for (size_t i = 0; i < a->n_path; i++)
		if (to_spot(a, v, a->path[i], "path", &to, err) < 0)
			return err->code;
	press_chord(s, h, &a->modifiers);
	for (size_t i = 0; i < a->n_path; i++) {
		to_spot(a, v, a->path[i], "path", &to, err);
		if (i == 0) {
			go(s, h, to);
			press_for_drag(s, h);
		} else {
			drag_to(s, h, to, a->n_path > 50 ? 1 : MOVES_MAX);
		}
	}
	release_after_drag(s, h);
	release_to(s, h, held);
	return 0;
}

static int make_drag(const struct action *a, const struct view *v, struct hands *h,
	struct script *s, struct err *err)
{
	size_t held = h->held.n;
	struct spot from = h->at, to;

	if (a->path)
		return make_path(a, v, h, s, err);
	if ((a->has_from && to_spot(a, v, a->from, "the start", &from, err) < 0) ||
		to_spot(a, v, a->at, "coordinate", &to, err) < 0)
		return err->code;
	press_chord(s, h, &a->modifiers);
	go(s, h, from);
	press_for_drag(s, h);
	drag_to(s, h, to, MOVES_MAX);
	release_after_drag(s, h);
	release_to(s, h, held);
	return 0;
}

static void wheel(struct script *s, const struct hands *h, int dx, int dy)
{
	struct step *t = mouse_step(s, h, MOUSE_WHEEL);

	t->mouse.dx = dx;
	t->mouse.dy = dy;
}

/* Clicks of a wheel come one by one; a number of pixels is one turn. */
static void make_scroll(const struct action *a, const struct view *v, struct hands *h,
	struct script *s, struct spot to)
{
	bool down = a->direction == SCROLL_UP || a->direction == SCROLL_DOWN;
	int sign = a->direction == SCROLL_UP || a->direction == SCROLL_LEFT ? -1 : 1;
	size_t held = h->held.n;
	int px = ACTION_CLICK_PX, n = a->amount;

	if (a->thousandths) {
		px = (int)(a->amount * (down ? v->height : v->width) / 1000);
		n = 1;
	}
	press_chord(s, h, &a->modifiers);
	go(s, h, to);
	if (a->direction == SCROLL_NONE)
		wheel(s, h, a->dx, a->dy);
	for (int i = 0; i < n && a->direction != SCROLL_NONE; i++) {
		/* The browser would join those that come at once. */
		add(s, STEP_SYNC, 0);
		wheel(s, h, down ? 0 : sign * px, down ? sign * px : 0);
	}
	release_to(s, h, held);
}

/* ---- All ---- */

static int make_type(
	const struct action *a, struct hands *h, struct script *s, struct spot to, struct err *err)
{
	struct key k, ctrl;

	if (check_text(a->text, err) < 0)
		return err->code;
	s->text = a->text;
	if (a->has_at) {
		struct action click = {.clicks = 1};

		make_click(&click, h, s, to);
	}
	if (a->clear_first) {
		keys_find("ctrl", &ctrl);
		keys_find("a", &k);
		press(s, h, &ctrl);
		press(s, h, &k);
		release_last(s, h);
		release_last(s, h);
		tap(s, h, "BackSpace");
	}
	type_text(s, h, a->text);
	if (a->press_enter)
		tap(s, h, "Return");
	return 0;
}

static void make_pointing(const struct action *a, const struct view *v, struct hands *h,
	struct script *s, struct spot to)
{
	if (a->kind == ACTION_CLICK) {
		make_click(a, h, s, to);
	} else if (a->kind == ACTION_MOVE) {
		if (h->buttons)
			drag_to(s, h, to, MOVES_MAX);
		else
			go(s, h, to);
	} else if (a->kind == ACTION_PRESS) {
		if (a->has_at)
			go(s, h, to);
		press_for_drag(s, h);
	} else if (a->kind == ACTION_RELEASE) {
		if (a->has_at)
			drag_to(s, h, to, MOVES_MAX);
		release_after_drag(s, h);
	} else {
		make_scroll(a, v, h, s, to);
	}
}

int gesture_make(const struct action *a, const struct view *v, struct hands *h, struct script *s,
	struct err *err)
{
	struct spot to = h->at;

	if (a->has_at && to_spot(a, v, a->at, "coordinate", &to, err) < 0)
		return err->code;
	if (a->kind == ACTION_SCROLL && a->thousandths && !a->has_at)
		to = (struct spot){v->shot_width / 2, v->shot_height / 2};
	if (check_room(h, &a->keys, err) < 0 || check_room(h, &a->modifiers, err) < 0)
		return err->code;
	switch ((int)a->kind) {
	case ACTION_KEY:
		make_key(a, h, s);
		return 0;
	case ACTION_KEY_DOWN:
		press_chord(s, h, &a->keys);
		return 0;
	case ACTION_KEY_UP:
		make_key_up(a, h, s);
		return 0;
	case ACTION_HOLD_KEY:
		make_hold(a, h, s);
		return 0;
	case ACTION_TYPE:
		return make_type(a, h, s, to, err);
	case ACTION_DRAG:
		return make_drag(a, v, h, s, err);
	default:
		make_pointing(a, v, h, s, to);
		return 0;
	}
}

void gesture_release(struct hands *h, struct script *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
		if (h->buttons & masks[i])
			button_step(s, h, MOUSE_RELEASED, (enum action_button)i, 1);
	release_to(s, h, 0);
}

/* ---- CDP ---- */

static cJSON *mouse_params(const struct step *t)
{
	static const char *const types[] = {
		"mouseMoved", "mousePressed", "mouseReleased", "mouseWheel"};
	static const char *const buttons[] = {"none", "left", "right", "middle", "back", "forward"};
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "type", types[t->type]);
	cJSON_AddNumberToObject(p, "x", t->mouse.at.x);
	cJSON_AddNumberToObject(p, "y", t->mouse.at.y);
	cJSON_AddStringToObject(p, "button", buttons[t->button]);
	cJSON_AddNumberToObject(p, "buttons", t->buttons);
	cJSON_AddNumberToObject(p, "modifiers", t->modifiers);
	if (t->clicks)
		cJSON_AddNumberToObject(p, "clickCount", t->clicks);
	if (t->type == MOUSE_WHEEL) {
		cJSON_AddNumberToObject(p, "deltaX", t->mouse.dx);
		cJSON_AddNumberToObject(p, "deltaY", t->mouse.dy);
	}
	return p;
}

/* Ctrl, Alt and Meta keep a key from typing. */
static cJSON *key_params(const struct step *t, const struct key *k)
{
	bool shift = t->modifiers & KEY_SHIFT;
	const char *key = shift && k->shifted[0] ? k->shifted : k->key;
	const char *text = shift && k->shifted[0] ? k->shifted : k->text;
	bool types = text[0] && !(t->modifiers & (KEY_CTRL | KEY_ALT | KEY_META)) &&
		     t->type != KEY_GOES_UP;
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "type",
		t->type == KEY_GOES_UP ? "keyUp"
		: types                ? "keyDown"
				       : "rawKeyDown");
	cJSON_AddStringToObject(p, "key", key);
	cJSON_AddStringToObject(p, "code", k->code);
	cJSON_AddNumberToObject(p, "windowsVirtualKeyCode", k->vk);
	cJSON_AddNumberToObject(p, "nativeVirtualKeyCode", k->vk);
	cJSON_AddNumberToObject(p, "modifiers", t->modifiers);
	cJSON_AddNumberToObject(p, "location", k->location == 3 ? 0 : k->location);
	if (k->location == 3)
		cJSON_AddBoolToObject(p, "isKeypad", true);
	if (t->type == KEY_REPEATS)
		cJSON_AddBoolToObject(p, "autoRepeat", true);
	if (types) {
		cJSON_AddStringToObject(p, "text", text);
		cJSON_AddStringToObject(p, "unmodifiedText", k->text);
	}
	return p;
}

static cJSON *insert_params(const struct script *s, const struct step *t)
{
	AUTOFREE char *text = xasprintf("%.*s", (int)t->text.n, s->text + t->text.start);
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "text", text);
	return p;
}

const char *gesture_command(const struct script *s, const struct step *t, cJSON **ret_params)
{
	struct key k;

	switch (t->kind) {
	case STEP_MOUSE:
		*ret_params = mouse_params(t);
		return "Input.dispatchMouseEvent";
	case STEP_KEY:
		*ret_params = key_params(t, &s->keys[t->key]);
		return "Input.dispatchKeyEvent";
	case STEP_CHAR:
		keys_of_char(t->c, &k);
		*ret_params = key_params(t, &k);
		return "Input.dispatchKeyEvent";
	case STEP_INSERT:
		*ret_params = insert_params(s, t);
		return "Input.insertText";
	default:
		return NULL;
	}
}
