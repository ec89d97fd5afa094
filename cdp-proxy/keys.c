/* The table of keys, names to what DOM events and CDP say, and chords. */
#include "keys.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "util.h"

/* Keys that do not print. names: divided by spaces, xdotool's and the DOM's first. */
struct named {
	const char *names, *key, *code, *text;
	int vk, location;
	unsigned int modifier;
};

static const struct named named[] = {
	{"Control_L ctrl control ctl ControlLeft controlleft left_ctrl", "Control", "ControlLeft",
		"", 17, 1, KEY_CTRL},
	{"Control_R ControlRight right_ctrl", "Control", "ControlRight", "", 17, 2, KEY_CTRL},
	{"Shift_L shift ShiftLeft left_shift", "Shift", "ShiftLeft", "", 16, 1, KEY_SHIFT},
	{"Shift_R ShiftRight right_shift", "Shift", "ShiftRight", "", 16, 2, KEY_SHIFT},
	{"Alt_L alt AltLeft option opt left_alt", "Alt", "AltLeft", "", 18, 1, KEY_ALT},
	{"Alt_R AltRight right_alt ISO_Level3_Shift AltGraph", "Alt", "AltRight", "", 18, 2,
		KEY_ALT},
	{"Super_L super meta cmd command win windows Meta_L MetaLeft OSLeft left_meta super_key",
		"Meta", "MetaLeft", "", 91, 1, KEY_META},
	{"Super_R Meta_R MetaRight OSRight right_meta", "Meta", "MetaRight", "", 92, 2, KEY_META},
	{"Return Enter linefeed newline", "Enter", "Enter", "\r", 13, 0, 0},
	{"KP_Enter NumpadEnter", "Enter", "NumpadEnter", "\r", 13, 3, 0},
	{"Tab", "Tab", "Tab", "", 9, 0, 0},
	{"BackSpace back_space", "Backspace", "Backspace", "", 8, 0, 0},
	{"Escape Esc", "Escape", "Escape", "", 27, 0, 0},
	{"Delete Del", "Delete", "Delete", "", 46, 0, 0},
	{"Insert Ins", "Insert", "Insert", "", 45, 0, 0},
	{"Home", "Home", "Home", "", 36, 0, 0},
	{"End", "End", "End", "", 35, 0, 0},
	{"Page_Up PageUp Prior pgup", "PageUp", "PageUp", "", 33, 0, 0},
	{"Page_Down PageDown Next pgdn pgdown", "PageDown", "PageDown", "", 34, 0, 0},
	{"Left ArrowLeft left_arrow arrow_left", "ArrowLeft", "ArrowLeft", "", 37, 0, 0},
	{"Up ArrowUp up_arrow arrow_up", "ArrowUp", "ArrowUp", "", 38, 0, 0},
	{"Right ArrowRight right_arrow arrow_right", "ArrowRight", "ArrowRight", "", 39, 0, 0},
	{"Down ArrowDown down_arrow arrow_down", "ArrowDown", "ArrowDown", "", 40, 0, 0},
	{"Caps_Lock CapsLock caps", "CapsLock", "CapsLock", "", 20, 0, 0},
	{"Num_Lock NumLock", "NumLock", "NumLock", "", 144, 0, 0},
	{"Scroll_Lock ScrollLock", "ScrollLock", "ScrollLock", "", 145, 0, 0},
	{"Print PrintScreen print_screen prtsc Sys_Req", "PrintScreen", "PrintScreen", "", 44, 0,
		0},
	{"Pause Break", "Pause", "Pause", "", 19, 0, 0},
	{"Menu ContextMenu context_menu apps", "ContextMenu", "ContextMenu", "", 93, 0, 0},
	{"Help", "Help", "Help", "", 47, 0, 0},
	{"KP_Delete", "Delete", "NumpadDecimal", "", 46, 3, 0},
	{"KP_Insert", "Insert", "Numpad0", "", 45, 3, 0},
	{"KP_Home", "Home", "Numpad7", "", 36, 3, 0},
	{"KP_End", "End", "Numpad1", "", 35, 3, 0},
	{"KP_Page_Up KP_Prior", "PageUp", "Numpad9", "", 33, 3, 0},
	{"KP_Page_Down KP_Next", "PageDown", "Numpad3", "", 34, 3, 0},
	{"KP_Left", "ArrowLeft", "Numpad4", "", 37, 3, 0},
	{"KP_Up", "ArrowUp", "Numpad8", "", 38, 3, 0},
	{"KP_Right", "ArrowRight", "Numpad6", "", 39, 3, 0},
	{"KP_Down", "ArrowDown", "Numpad2", "", 40, 3, 0},
	{"KP_Add NumpadAdd", "+", "NumpadAdd", "+", 107, 3, 0},
	{"KP_Subtract NumpadSubtract", "-", "NumpadSubtract", "-", 109, 3, 0},
	{"KP_Multiply NumpadMultiply", "*", "NumpadMultiply", "*", 106, 3, 0},
	{"KP_Divide NumpadDivide", "/", "NumpadDivide", "/", 111, 3, 0},
	{"KP_Decimal NumpadDecimal", ".", "NumpadDecimal", ".", 110, 3, 0},
	{"KP_Equal NumpadEqual", "=", "NumpadEqual", "=", 187, 3, 0},
	{"XF86Back BrowserBack", "BrowserBack", "BrowserBack", "", 166, 0, 0},
	{"XF86Forward BrowserForward", "BrowserForward", "BrowserForward", "", 167, 0, 0},
	{"XF86Reload XF86Refresh BrowserRefresh", "BrowserRefresh", "BrowserRefresh", "", 168, 0,
		0},
};

/* Printing keys of a US keyboard: the character, the one with Shift, the key. */
static const struct {
	char plain, shifted;
	const char *code;
	int vk;
} printing[] = {
	{'`', '~', "Backquote", 192},
	{'-', '_', "Minus", 189},
	{'=', '+', "Equal", 187},
	{'[', '{', "BracketLeft", 219},
	{']', '}', "BracketRight", 221},
	{'\\', '|', "Backslash", 220},
	{';', ':', "Semicolon", 186},
	{'\'', '"', "Quote", 222},
	{',', '<', "Comma", 188},
	{'.', '>', "Period", 190},
	{'/', '?', "Slash", 191},
	{' ', ' ', "Space", 32},
};
static const char digits_shifted[] = ")!@#$%^&*(";

/* X's and the vendors' words for one character. */
static const struct {
	const char *name, *text;
} words[] = {
	{"space", " "},
	{"spacebar", " "},
	{"plus", "+"},
	{"minus", "-"},
	{"hyphen", "-"},
	{"equal", "="},
	{"equals", "="},
	{"underscore", "_"},
	{"comma", ","},
	{"period", "."},
	{"dot", "."},
	{"slash", "/"},
	{"backslash", "\\"},
	{"semicolon", ";"},
	{"colon", ":"},
	{"apostrophe", "'"},
	{"quote", "'"},
	{"quotedbl", "\""},
	{"grave", "`"},
	{"backquote", "`"},
	{"asciitilde", "~"},
	{"bracketleft", "["},
	{"bracketright", "]"},
	{"braceleft", "{"},
	{"braceright", "}"},
	{"parenleft", "("},
	{"parenright", ")"},
	{"less", "<"},
	{"greater", ">"},
	{"question", "?"},
	{"exclam", "!"},
	{"at", "@"},
	{"numbersign", "#"},
	{"dollar", "$"},
	{"percent", "%"},
	{"asciicircum", "^"},
	{"ampersand", "&"},
	{"asterisk", "*"},
	{"bar", "|"},
};

uint32_t keys_next_char(const char **s)
{
	const unsigned char *p = (const unsigned char *)*s;
	int more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
	uint32_t c = more == 0 ? *p : *p & (0x3fu >> more);

	p++;
	while (more-- > 0 && (*p & 0xc0) == 0x80)
		c = c << 6 | (*p++ & 0x3f);
	*s = (const char *)p;
	return c;
}

static void fill_printing(struct key *k, char plain, char shifted, const char *code, int vk)
{
	*k = (struct key){.vk = vk};
	snprintf(k->key, sizeof(k->key), "%c", plain);
	snprintf(k->shifted, sizeof(k->shifted), "%c", shifted);
	snprintf(k->text, sizeof(k->text), "%c", plain);
	snprintf(k->code, sizeof(k->code), "%s", code);
}

bool keys_of_char(uint32_t c, struct key *ret)
{
	const char *digit = c && c < 0x80 ? strchr(digits_shifted, (int)c) : NULL;
	char code[8];

	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
		char lower = (char)(c | 0x20), upper = (char)(c & ~0x20u);

		snprintf(code, sizeof(code), "Key%c", upper);
		fill_printing(ret, lower, upper, code, upper);
		ret->needs_shift = c == (uint32_t)upper;
		return true;
	}
	if ((c >= '0' && c <= '9') || digit) {
		int i = digit ? (int)(digit - digits_shifted) : (int)c - '0';

		snprintf(code, sizeof(code), "Digit%d", i);
		fill_printing(ret, (char)('0' + i), digits_shifted[i], code, '0' + i);
		ret->needs_shift = digit;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(printing); i++) {
		if (c != (uint32_t)printing[i].plain && c != (uint32_t)printing[i].shifted)
			continue;
		fill_printing(ret, printing[i].plain, printing[i].shifted, printing[i].code,
			printing[i].vk);
		ret->needs_shift = c != (uint32_t)printing[i].plain;
		return true;
	}
	return false;
}

static bool in_list(const char *list, const char *name)
{
	size_t n = strlen(name), part;

	for (; *list; list += part + (list[part] == ' ')) {
		part = strcspn(list, " ");
		if (part == n && strncasecmp(list, name, n) == 0)
			return true;
	}
	return false;
}

/* F1 to F24, and the keypad's digits. */
static bool find_numbered(const char *name, struct key *ret)
{
	static const char *const pads[] = {"KP_", "Numpad"};
	uint64_t v;

	*ret = (struct key){0};
	if ((name[0] == 'f' || name[0] == 'F') && parse_u64(name + 1, 1, 24, &v)) {
		snprintf(ret->key, sizeof(ret->key), "F%d", (int)v);
		snprintf(ret->code, sizeof(ret->code), "F%d", (int)v);
		ret->vk = 111 + (int)v;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(pads); i++) {
		size_t n = strlen(pads[i]);

		if (strncasecmp(name, pads[i], n) != 0 || !parse_u64(name + n, 0, 9, &v) ||
			strlen(name) != n + 1)
			continue;
		snprintf(ret->key, sizeof(ret->key), "%d", (int)v);
		snprintf(ret->text, sizeof(ret->text), "%d", (int)v);
		snprintf(ret->code, sizeof(ret->code), "Numpad%d", (int)v);
		ret->vk = 96 + (int)v;
		ret->location = 3;
		return true;
	}
	return false;
}

static void fill_named(struct key *k, const struct named *n)
{
	*k = (struct key){.vk = n->vk, .location = n->location, .modifier = n->modifier};
	snprintf(k->key, sizeof(k->key), "%s", n->key);
	snprintf(k->code, sizeof(k->code), "%s", n->code);
	snprintf(k->text, sizeof(k->text), "%s", n->text);
}

/* One character, or a word for one. */
static bool find_char(const char *name, struct key *ret)
{
	const char *at = name;
	uint32_t c;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(name, words[i].name) == 0)
			at = name = words[i].text;
	c = keys_next_char(&at);
	if (*at || c < 0x20 || c == 0x7f)
		return false;
	if (keys_of_char(c, ret))
		return true;
	*ret = (struct key){0};
	snprintf(ret->key, sizeof(ret->key), "%s", name);
	snprintf(ret->text, sizeof(ret->text), "%s", name);
	return true;
}

int keys_find(const char *name, struct key *ret)
{
	if (!*name)
		return -EINVAL;
	if (find_numbered(name, ret) || find_char(name, ret))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		if (in_list(named[i].names, name)) {
			fill_named(ret, &named[i]);
			return 0;
		}
	}
	/* The DOM's codes: KeyA, Digit1. */
	if (strncasecmp(name, "Key", 3) == 0 && name[3] && !name[4])
		return keys_of_char((uint32_t)name[3] | 0x20, ret) ? 0 : -EINVAL;
	if (strncasecmp(name, "Digit", 5) == 0 && name[5] >= '0' && name[5] <= '9' && !name[6])
		return keys_of_char((uint32_t)name[5], ret) ? 0 : -EINVAL;
	return -EINVAL;
}

static int add(struct chord *c, const char *name, struct err *err)
{
	if (c->n == KEYS_CHORD_MAX)
		return err_set(err, -E2BIG, "more than %d keys at once", KEYS_CHORD_MAX);
	if (keys_find(name, &c->keys[c->n]) < 0)
		return err_set(err, -EINVAL, "\"%.40s\" is no key", name);
	c->n++;
	return 0;
}

static bool is_letter(const struct key *k)
{
	return k->key[0] >= 'a' && k->key[0] <= 'z' && !k->key[1];
}

int keys_add(struct chord *c, const char *name, struct err *err)
{
	if (add(c, name, err) < 0)
		return err->code;
	if (is_letter(&c->keys[c->n - 1]))
		c->keys[c->n - 1].needs_shift = false;
	return 0;
}

int keys_chord(const char *text, struct chord *ret, struct err *err)
{
	char part[40];
	size_t n;

	*ret = (struct chord){0};
	if (!*text)
		return err_set(err, -EINVAL, "no key is named");
	while (*text) {
		n = *text == '+' ? 1 : strcspn(text, "+");
		snprintf(part, sizeof(part), "%.*s", (int)MIN(n, sizeof(part) - 1), text);
		if (n >= sizeof(part))
			return err_set(err, -EINVAL, "\"%s...\" is no key", part);
		if (add(ret, part, err) < 0)
			return err->code;
		text += n;
		if (*text == '+' && !*++text)
			return err_set(err, -EINVAL, "a key is missing behind the last \"+\"");
	}
	if (keys_modifiers(ret) & (KEY_CTRL | KEY_ALT | KEY_META))
		for (size_t i = 0; i < ret->n; i++)
			ret->keys[i].needs_shift &= !is_letter(&ret->keys[i]);
	return 0;
}

int keys_only_modifiers(const struct chord *c, struct err *err)
{
	for (size_t i = 0; i < c->n; i++)
		if (!c->keys[i].modifier)
			return err_set(err, -EINVAL,
				"\"%s\" is no modifier; these are ctrl, shift, alt, meta",
				c->keys[i].key);
	return 0;
}

unsigned int keys_modifiers(const struct chord *c)
{
	unsigned int all = 0;

	for (size_t i = 0; i < c->n; i++)
		all |= c->keys[i].modifier | (c->keys[i].needs_shift ? KEY_SHIFT : 0);
	return all;
}
