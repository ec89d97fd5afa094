/* Computer-use requests of every vendor: from a body to a plan of actions, from results to the
 * vendor's own answer. Pure. */
#ifndef BERTH_VENDOR_H
#define BERTH_VENDOR_H

#include <cjson/cJSON.h>

#include "action.h"
#include "err.h"

#define PLAN_ACTIONS_MAX 200 /* of one request */
#define PLAN_ID_MAX 512

/* ---- Tables ---- */

/* What a member of an action is, and with that where it goes in struct action. */
enum field_type {
	FIELD_END,
	FIELD_AT,   /* [x, y] */
	FIELD_FROM, /* [x, y] */
	FIELD_AT_X, /* a number */
	FIELD_AT_Y,
	FIELD_FROM_X,
	FIELD_FROM_Y,
	FIELD_PATH,   /* [{x, y}, …], two at least */
	FIELD_REGION, /* [x0, y0, x1, y1] */
	FIELD_TEXT,
	FIELD_URL,
	FIELD_CHORD,     /* "ctrl+s" */
	FIELD_KEYS,      /* ["CTRL", "S"] */
	FIELD_MODIFIERS, /* "ctrl+shift" */
	FIELD_HELD,      /* ["CTRL", "SHIFT"]; null or [] is none */
	FIELD_BUTTON,
	FIELD_DIRECTION,
	FIELD_AMOUNT,
	FIELD_DX,
	FIELD_DY,
	FIELD_SECONDS, /* fractions too */
	FIELD_WHOLE_SECONDS,
	FIELD_REPEAT,
	FIELD_CLEAR, /* true or false */
	FIELD_ENTER,
	FIELD_TARGET,      /* {type: coordinate, x, y} or {type: ref, ref} */
	FIELD_TARGET_AT,   /* the first of them */
	FIELD_TARGET_FROM, /* the same, where a drag begins */
	FIELD_TARGET_REF,  /* the second */
	FIELD_REF,         /* "ref_7" */
	FIELD_TAB,         /* a tab's id; "" is none where it is not required */
	FIELD_VALUE,       /* a string, a number or a boolean */
	FIELD_PART,        /* interactive or all */
	FIELD_DEPTH,
	FIELD_FILES,  /* a list of paths */
	FIELD_ABSENT, /* a member of a later version */
};

/* min and max bound a number, the length of a text in bytes or that of a list. */
struct vendor_field {
	const char *name;
	enum field_type type;
	bool required;
	int64_t min, max;
};

/* One action of a vendor. The first row with the name and one of the wanted versions counts. */
struct vendor_row {
	const char *name;
	unsigned int versions; /* bits, by the order of the vendor's version names */
	enum action_kind kind;
	const struct vendor_field *fields; /* ended by FIELD_END; NULL: none */
	const char *answer; /* what the model is told; {text}, {ref}, {n} and {dir} are filled in */
	/* what no field says */
	enum action_button button;
	int clicks, amount;
	int64_t ms;
	bool clear_first;
	const char *text;
};

#define ANY_VERSION (~0u)

/* ---- Plans ---- */

struct vendor;

/* One thing that wants an answer of its own: a tool_use, a computer_call, a functionCall. */
struct plan_call {
	char *id;            /* NULL: it has none */
	char *name;          /* Gemini's function; else NULL */
	cJSON *safety;       /* OpenAI's pending checks; owned */
	bool confirmed;      /* Gemini: it asked for a confirmation */
	const char *toolset; /* Anthropic: static; what the block named, and so must its result */
	bool browser;        /* Anthropic: a member of the browser toolset */
	size_t first, n;     /* its actions */
};

enum plan_shape {
	PLAN_ONE,     /* an object came, an object goes back */
	PLAN_LIST,    /* a list, a list */
	PLAN_MESSAGE, /* the vendor's message around a list */
};

enum plan_pictures { PICTURES_AUTO, PICTURES_ALWAYS, PICTURES_NEVER };

/* The caller's; zeroed, then plan_read, then plan_done. */
struct plan {
	const struct vendor *vendor;
	unsigned int versions; /* of the vendor's, that rows may be of; 0: by the shape */
	enum plan_pictures pictures;
	unsigned int enabled; /* Anthropic's members that are off by default: bits */
	enum plan_shape shape;
	bool bare;  /* OpenAI: actions without a call around them */
	bool snake; /* Gemini: function_call, inline_data */
	struct action *actions;
	size_t n_actions, room_actions;
	size_t n_asked; /* actions without the pictures that were added */
	struct plan_call *calls;
	size_t n_calls, room_calls;
};

struct vendor {
	const char *name;
	const char *const *versions; /* NULL-terminated */
	/* What these bits are called in messages. */
	const struct vendor_row *rows;
	size_t n_rows;
	bool (*knows)(const cJSON *item); /* an object is (or holds) one of its requests */
	int (*read)(struct plan *p, const cJSON *body, struct err *err);
	/* The caller's to delete. results: one for each action. */
	cJSON *(*answer)(const struct plan *p, const struct action_result *results);
	bool text_fails; /* its answers can say that something failed; else only pictures go back */
};

/*
 * Reads any JSON object or array. vendor and version: their names, or NULL to know them by the
 * shape. 0; negative with a problem when it is nobody's request. What is wrong with one action is
 * an ACTION_BAD in its place.
 */
int plan_read(struct plan *p, const cJSON *body, const char *vendor, const char *version,
	struct err *err);
/* Before plan_read: members that are off by default, separated by commas. 0, or a problem. */
int plan_enable(struct plan *p, const char *names, struct err *err);
void plan_done(struct plan *p);
cJSON *plan_answer(const struct plan *p, const struct action_result *results);
/* All notes and failures in one line each, for answers that have no place for them; the caller's
 * to free, NULL when there is nothing to say. */
char *plan_remarks(const struct plan *p, const struct action_result *results);

/* ---- For the vendors' files ---- */

extern const struct vendor vendor_anthropic, vendor_openai, vendor_gemini;
extern const char plan_skipped[]; /* what an action is answered that was not executed */

/* A new call; its actions are those added until the next one. */
struct plan_call *plan_call(struct plan *p, const char *id);
/* A new action that does nothing yet. */
struct action *plan_action(struct plan *p);
/* Adds the action `name` with its members in `args` (may be NULL). */
struct action *plan_add(struct plan *p, const char *name, const cJSON *args, unsigned int versions);
struct action *plan_add_bad(struct plan *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
struct action *plan_add_picture(struct plan *p, bool always);
/* Of the tabs, after what was done for a member of the browser toolset. */
struct action *plan_add_report(struct plan *p, bool quiet, bool opened);
/* Makes an action one that fails, and says why. */
struct action *plan_refuse(struct action *a, const char *why);
/* fields.c: the members that the row names, from args (NULL: none) into a. 0, or why not. */
int fields_read(const struct vendor_row *row, const cJSON *args, struct action *a, struct err *err);
/* The row of that name; NULL. */
const struct vendor_row *plan_row(const struct vendor *v, const char *name, unsigned int versions);
/* A member that is a string; NULL. */
const char *plan_text(const cJSON *o, const char *name);
/* A member that is there and not null. */
const cJSON *plan_get(const cJSON *o, const char *name);
/* An answer for each call in the shape that the request had; member: what the vendor calls the list
 * in a message of the user's. The caller's to delete. */
typedef cJSON *plan_answer_fn(
	const struct plan *p, const struct plan_call *c, const struct action_result *results);
cJSON *plan_answers(const struct plan *p, const struct action_result *results, plan_answer_fn *fn,
	const char *member);
/* What the model is told of action i: what it did, or why not, and the notes. The caller's to free.
 */
char *plan_told(const struct plan *p, size_t i, const struct action_result *results);

#endif
