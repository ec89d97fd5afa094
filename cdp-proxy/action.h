/* What a model wants done, whoever made the model. */
#ifndef BERTH_ACTION_H
#define BERTH_ACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys.h"

#define ACTION_TEXT_MAX 50000 /* bytes typed by one action */
#define ACTION_URL_MAX 65536
#define ACTION_PATH_MAX 1000 /* points of one drag */
#define ACTION_REPEAT_MAX 100
#define ACTION_WAIT_MAX_S 300
#define ACTION_SCROLL_CLICKS_MAX 100
#define ACTION_SCROLL_PX_MAX 100000
#define ACTION_CLICK_PX 100 /* one click of a wheel */
#define ACTION_COORDINATE_MAX 1000000
#define ACTION_TAB_MAX 64

enum action_kind {
	ACTION_BAD, /* it could not be read; text says why */
	ACTION_CLICK,
	ACTION_PRESS,
	ACTION_RELEASE,
	ACTION_MOVE,
	ACTION_DRAG,
	ACTION_SCROLL,
	ACTION_KEY, /* pressed and released, `repeat` times */
	ACTION_KEY_DOWN,
	ACTION_KEY_UP,
	ACTION_HOLD_KEY,
	ACTION_TYPE,
	ACTION_WAIT,
	ACTION_SCREENSHOT,
	ACTION_ZOOM,
	ACTION_CURSOR,
	ACTION_NAVIGATE,
	ACTION_BACK,
	ACTION_FORWARD,
	ACTION_NOTHING, /* open_web_browser: it is open */
	/* what only tools of MCP and the browser toolset ask for */
	ACTION_SNAPSHOT,
	ACTION_CHOOSE,   /* of a list: choices */
	ACTION_EVALUATE, /* a page's JavaScript */
	ACTION_AWAIT,    /* text to come, or (gone) to go */
	ACTION_DIALOG,   /* answered: accept, text */
	ACTION_FILES,    /* chosen: text, a path in each line; NULL: the chooser is closed */
	ACTION_RESIZE,   /* dx, dy: width and height */
	ACTION_TABS,     /* text: list, new, close or select; index, -1: the one in front */
	/* what only the browser toolset asks for */
	ACTION_RELOAD,
	ACTION_FIND,      /* elements, by words: text */
	ACTION_TEXT,      /* of the page */
	ACTION_SET,       /* a form's element to a value: choices in JSON, text as text */
	ACTION_SCROLL_TO, /* an element into view */
	ACTION_UPLOAD,    /* to an element: text, a path in each line */
	ACTION_REPORT,    /* of tabs and what changed */
	ACTION_COUNT
};

enum action_button { BUTTON_LEFT, BUTTON_RIGHT, BUTTON_MIDDLE, BUTTON_BACK, BUTTON_FORWARD };

enum action_direction { SCROLL_NONE, SCROLL_UP, SCROLL_DOWN, SCROLL_LEFT, SCROLL_RIGHT };

enum action_state { STATE_ANY, STATE_OFF, STATE_ON };

/* Of a page: ACTION_SNAPSHOT. */
enum action_part { PART_ALL, PART_VISIBLE, PART_INTERACTIVE };

/* In units of the action: pixels of the screenshot, or thousandths of its width and height. */
struct point {
	int x, y;
};

/* Owned by its plan; text, path, choices and tab are its own. */
struct action {
	enum action_kind kind;
	enum action_button button;
	int clicks, repeat;
	bool thousandths; /* points and amount; else pixels and clicks of the wheel */
	bool has_at, has_from;
	struct point at, from;
	struct point *path; /* ACTION_DRAG: NULL means from and at */
	size_t n_path;
	struct chord keys, modifiers;
	char *text; /* typed, or the address */
	bool clear_first, press_enter;
	enum action_direction direction; /* with `amount`; SCROLL_NONE: dx and dy, in pixels */
	int amount, dx, dy;
	int64_t ms;
	int region[4];
	/* An element, by its number in a snapshot; 0: none. It takes the place of at (ref_to: of
	 * the end of a drag). */
	unsigned int ref, ref_to;
	enum action_state state; /* ACTION_CLICK: what a check box is to be, clicked only then */
	char *choices;           /* ACTION_CHOOSE: the text of a list of texts */
	char *tab;               /* the id of the tab it is for; NULL: the one in front */
	enum action_part part;
	int depth;    /* ACTION_SNAPSHOT: levels; 0: all */
	bool browser; /* of the browser toolset: refs are written "ref_7" */
	bool told;    /* of a navigation: where it led is the result */
	bool script;  /* ACTION_EVALUATE: text is a script, not a function */
	bool quiet;   /* what happens besides is told with the next action */
	bool opened;  /* ACTION_REPORT: of the tab in front as a new one, and of no other */
	bool accept, gone, jpeg, full_page;
	bool after; /* a snapshot or picture of what another action did: nobody asked for it */
	int index;
	/* Wanted even when an action before it failed: the picture that an answer must have. */
	bool always;
	const char
		*answer; /* static: what the model is told; {text} {ref} {n} {dir} are filled in */
	char shown[64];  /* for {text} and {ref} */
};

/* What became of one. Owned by the run. */
struct action_result {
	bool done, failed; /* neither: skipped */
	char *text;        /* for the model; NULL: none */
	char *notes;       /* what happened besides: dialogs, tabs, downloads; NULL: nothing */
	char *image;       /* in base64; NULL: none. PNG where not asked for as JPEG */
	size_t image_len;
	char *url, *title; /* of the page in front */
	char *dialog;      /* that is open then; NULL: none */
	char *state;       /* ACTION_REPORT: a JSON object with `tabs` and `state_changes` */
};

#endif
