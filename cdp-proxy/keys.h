/* Keys by the names that models use, and what a US keyboard says about each. Pure. */
#ifndef BERTH_KEYS_H
#define BERTH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define KEYS_CHORD_MAX 8

/* As CDP's Input domain counts them. */
enum key_modifier { KEY_ALT = 1, KEY_CTRL = 2, KEY_META = 4, KEY_SHIFT = 8 };

/*
 * One key as DOM events tell it (UI Events KeyboardEvent key and code Values). key and text are
 * what it gives without Shift, shifted what it gives with it ("" for keys that do not print).
 */
struct key {
	char key[20], shifted[8];
	char code[20];         /* "" when a US keyboard has no such key */
	char text[8];          /* what it types, "\r" for Enter; "" when nothing */
	int vk;                /* Windows' virtual key code; 0: none */
	int location;          /* 0 standard, 1 left, 2 right, 3 keypad */
	unsigned int modifier; /* of key_modifier: it is one */
	bool needs_shift;      /* the name meant the shifted character: "A", "?" */
};

struct chord {
	struct key keys[KEYS_CHORD_MAX];
	size_t n;
};

/*
 * Names are xdotool's, the DOM's and the vendors', in any case; one character stands for itself.
 * 0; -EINVAL when it names nothing.
 */
int keys_find(const char *name, struct key *ret);
/* The key that types this code point; false when a US keyboard has none. */
bool keys_of_char(uint32_t c, struct key *ret);
/*
 * "ctrl+shift+t"; "+" itself is the last part of "ctrl++", or "plus". A letter beside Ctrl, Alt or
 * Meta is the key without Shift, however it is written. Errors name the part that is no key.
 */
int keys_chord(const char *text, struct chord *ret, struct err *err);
/* One more key to a chord: OpenAI's lists. Letters are folded to the key without Shift. */
int keys_add(struct chord *c, const char *name, struct err *err);
/* All of it must be modifiers. */
int keys_only_modifiers(const struct chord *c, struct err *err);
/* The modifiers in it, of key_modifier; needs_shift counts. */
unsigned int keys_modifiers(const struct chord *c);

/* The next code point of UTF-8 that is known to be well formed; *s is moved behind it. */
uint32_t keys_next_char(const char **s);

#endif
