/* An action as the events that a person's hands would cause: pure, from an action to steps. */
#ifndef BERTH_GESTURE_H
#define BERTH_GESTURE_H

#include <cjson/cJSON.h>

#include "action.h"

/*
 * The one place for scaling: points of the model are pixels of the screenshots it gets, or
 * thousandths of them; CDP wants CSS pixels of the view.
 */
struct view {
	double width, height;        /* in CSS pixels */
	double device_scale;         /* device pixels in one of them */
	int shot_width, shot_height; /* of the pictures that are given out */
};

struct spot {
	double x, y; /* CSS pixels */
};

/* What the mouse and the keyboard are like between actions. Zeroed at first. */
struct hands {
	struct spot at;
	unsigned int buttons; /* held, as CDP's `buttons` */
	struct chord held;
};

enum step_kind {
	STEP_MOUSE,
	STEP_KEY,    /* of the script's keys */
	STEP_CHAR,   /* the key that types a character */
	STEP_INSERT, /* a piece of the text that no key types */
	STEP_SYNC,   /* all before it must be answered */
	STEP_WAIT,   /* the same, then some time */
	STEP_DRAGS,  /* on: the browser tells of drags instead of beginning them */
};

enum step_type {
	MOUSE_MOVED,
	MOUSE_PRESSED,
	MOUSE_RELEASED,
	MOUSE_WHEEL,
	KEY_GOES_DOWN,
	KEY_REPEATS,
	KEY_GOES_UP,
};

struct step {
	uint8_t kind, type;
	uint8_t button, clicks, buttons, modifiers; /* button: 0 none, else 1 + action_button */
	union {
		struct {
			struct spot at;
			int dx, dy;
		} mouse;
		size_t key;
		uint32_t c;
		struct {
			size_t start, n;
		} text;
		uint64_t ms;
		bool on;
	};
};

#define SCRIPT_KEYS_MAX 64

/* The caller's; zeroed, then script_done. text is the action's, which must outlive it. */
struct script {
	struct step *steps;
	size_t n, room;
	struct key keys[SCRIPT_KEYS_MAX];
	size_t n_keys;
	const char *text;
};

/*
 * Adds the steps of an action of the mouse or the keyboard, and moves the hands. -ERANGE for a
 * point outside of the view, -EINVAL for text that nobody can type; then nothing was added.
 */
int gesture_make(const struct action *a, const struct view *v, struct hands *h, struct script *s,
	struct err *err);
/* Lets go of all that is held. */
void gesture_release(struct hands *h, struct script *s);
/* The region of a zoom in CSS pixels of the view: x, y, width, height. */
int gesture_region(const struct action *a, const struct view *v, double ret[4], struct err *err);
/* Where the cursor is, in pixels of the screenshot. */
struct point gesture_cursor(const struct view *v, const struct hands *h);
void script_done(struct script *s);

/* CDP's command for a step of the first four kinds; params are the caller's. NULL for the others.
 */
const char *gesture_command(const struct script *s, const struct step *step, cJSON **ret_params);

#endif
