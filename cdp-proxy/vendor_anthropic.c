/* Anthropic's computer use: the single tools, computer_toolset_20260801 and
 * browser_toolset_20260801. */
#include "vendor.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "problem.h"
#include "util.h"

/*
 * The toolsets share names. A block that names its toolset is that one's, and so is every block
 * when the request names the version; else the input tells (in_browser()). What is done for the
 * browser's is followed by a report of the tabs, which each of its results must carry.
 */
enum { V2024 = 1, V2025 = 2, V2025B = 4, TOOLSET = 8, BROWSER = 16 };
enum { SINGLE = 7, LATER = 14, COMPUTER = 15 };

static const char *const version_names[] = {"computer_20241022", "computer_20250124",
	"computer_20251124", "computer_toolset_20260801", "browser_toolset_20260801", NULL};
static const char computer_set[] = "computer", browser_set[] = "browser";
/* Members that are off unless the request enables them: bits of plan.enabled. */
static const char *const off_names[] = {
	"javascript_exec", "file_upload", "read_console", "read_network"};

#define XY_MAX ACTION_COORDINATE_MAX
#define AT(required)                                        \
	{                                                   \
		"coordinate", FIELD_AT, required, 0, XY_MAX \
	}
/* Both names are in use for the modifiers of a click. */
#define MODIFIERS                                   \
	{"text", FIELD_MODIFIERS, false, 0, 0},     \
	{                                           \
		"key", FIELD_MODIFIERS, false, 0, 0 \
	}
#define END          \
	{            \
		NULL \
	}

static const struct vendor_field f_key[] = {{"text", FIELD_CHORD, true, 0, 0},
	{"repeat", FIELD_REPEAT, false, 1, ACTION_REPEAT_MAX}, END};
static const struct vendor_field f_hold_single[] = {{"text", FIELD_CHORD, true, 0, 0},
	{"duration", FIELD_SECONDS, true, 0, ACTION_WAIT_MAX_S}, END};
static const struct vendor_field f_hold[] = {{"text", FIELD_CHORD, true, 0, 0},
	{"duration", FIELD_WHOLE_SECONDS, true, 0, ACTION_WAIT_MAX_S}, END};
static const struct vendor_field f_type[] = {{"text", FIELD_TEXT, true, 0, ACTION_TEXT_MAX}, END};
static const struct vendor_field f_at[] = {AT(true), END};
static const struct vendor_field f_click[] = {AT(false), MODIFIERS, END};
static const struct vendor_field f_click_2024[] = {{"coordinate", FIELD_ABSENT, false, 0, 0}, END};
static const struct vendor_field f_drag[] = {
	{"start_coordinate", FIELD_FROM, true, 0, XY_MAX}, AT(true), MODIFIERS, END};
static const struct vendor_field f_drag_single[] = {
	{"start_coordinate", FIELD_FROM, false, 0, XY_MAX}, AT(true), MODIFIERS, END};
static const struct vendor_field f_scroll[] = {{"scroll_direction", FIELD_DIRECTION, true, 0, 0},
	{"scroll_amount", FIELD_AMOUNT, true, 0, ACTION_SCROLL_CLICKS_MAX}, AT(false), MODIFIERS,
	END};
static const struct vendor_field f_wait_single[] = {
	{"duration", FIELD_SECONDS, true, 0, ACTION_WAIT_MAX_S}, END};
static const struct vendor_field f_wait[] = {
	{"duration", FIELD_SECONDS, true, 0, ACTION_WAIT_MAX_S}, END};
static const struct vendor_field f_zoom[] = {{"region", FIELD_REGION, true, 0, XY_MAX}, END};

#define BROWSER_WAIT_MAX_S 30
#define BROWSER_SCROLL_MAX 10
#define BROWSER_DEPTH 15
#define BROWSER_FILES_MAX 50
#define BROWSER_ACTIONS_MAX 2000 /* of a request, presses of keys and reports counted */
#define TAB                                                   \
	{                                                     \
		"tab_id", FIELD_TAB, false, 1, ACTION_TAB_MAX \
	}
#define TARGET(type)                            \
	{                                       \
		"target", type, true, 0, XY_MAX \
	}

static const struct vendor_field b_navigate[] = {
	{"url", FIELD_URL, true, 1, ACTION_URL_MAX}, TAB, END};
static const struct vendor_field b_none[] = {TAB, END};
static const struct vendor_field b_tab[] = {{"tab_id", FIELD_TAB, true, 1, ACTION_TAB_MAX}, END};
static const struct vendor_field b_read[] = {{"filter", FIELD_PART, false, 0, 0},
	{"depth", FIELD_DEPTH, false, 1, 100}, {"ref", FIELD_REF, false, 0, 0}, TAB, END};
static const struct vendor_field b_find[] = {{"query", FIELD_TEXT, true, 1, 1000}, TAB, END};
static const struct vendor_field b_set[] = {
	TARGET(FIELD_TARGET_REF), {"value", FIELD_VALUE, true, 0, ACTION_TEXT_MAX}, TAB, END};
static const struct vendor_field b_ref[] = {TARGET(FIELD_TARGET_REF), TAB, END};
static const struct vendor_field b_zoom[] = {{"region", FIELD_REGION, true, 0, XY_MAX}, TAB, END};
static const struct vendor_field b_click[] = {
	TARGET(FIELD_TARGET), {"modifiers", FIELD_MODIFIERS, false, 0, 0}, TAB, END};
static const struct vendor_field b_hover[] = {TARGET(FIELD_TARGET), TAB, END};
static const struct vendor_field b_at[] = {TARGET(FIELD_TARGET_AT), TAB, END};
static const struct vendor_field b_drag[] = {
	{"from", FIELD_TARGET_FROM, true, 0, XY_MAX}, TARGET(FIELD_TARGET_AT), TAB, END};
static const struct vendor_field b_scroll[] = {TARGET(FIELD_TARGET_AT),
	{"scroll_direction", FIELD_DIRECTION, true, 0, 0},
	{"scroll_amount", FIELD_AMOUNT, false, 1, BROWSER_SCROLL_MAX}, TAB, END};
static const struct vendor_field b_type[] = {
	{"text", FIELD_TEXT, true, 0, ACTION_TEXT_MAX}, TAB, END};
static const struct vendor_field b_key[] = {{"text", FIELD_TEXT, true, 1, 1000},
	{"repeat", FIELD_REPEAT, false, 1, ACTION_REPEAT_MAX}, TAB, END};
static const struct vendor_field b_hold[] = {{"text", FIELD_CHORD, true, 0, 0},
	{"duration", FIELD_SECONDS, true, 0, BROWSER_WAIT_MAX_S}, TAB, END};
static const struct vendor_field b_wait[] = {
	{"duration", FIELD_SECONDS, true, 0, BROWSER_WAIT_MAX_S}, TAB, END};
static const struct vendor_field b_upload[] = {
	TARGET(FIELD_TARGET_REF), {"paths", FIELD_FILES, false, 0, BROWSER_FILES_MAX}, TAB, END};

static const struct vendor_row rows[] = {
	{"key", COMPUTER, ACTION_KEY, f_key, "Pressed {text}."},
	{"hold_key", TOOLSET, ACTION_HOLD_KEY, f_hold, "Held {text} for {n}s."},
	{"hold_key", V2025 | V2025B, ACTION_HOLD_KEY, f_hold_single, "Held {text} for {n}s."},
	{"type", COMPUTER, ACTION_TYPE, f_type, "Typed."},
	{"cursor_position", COMPUTER, ACTION_CURSOR, NULL, ""},
	{"mouse_move", COMPUTER, ACTION_MOVE, f_at, "Moved the mouse."},
	{"left_mouse_down", LATER, ACTION_PRESS, NULL, "Left mouse button pressed.", .clicks = 1},
	{"left_mouse_up", LATER, ACTION_RELEASE, NULL, "Left mouse button released.", .clicks = 1},
	{"left_click", LATER, ACTION_CLICK, f_click, "Clicked.", BUTTON_LEFT, 1},
	{"right_click", LATER, ACTION_CLICK, f_click, "Right-clicked.", BUTTON_RIGHT, 1},
	{"middle_click", LATER, ACTION_CLICK, f_click, "Middle-clicked.", BUTTON_MIDDLE, 1},
	{"double_click", LATER, ACTION_CLICK, f_click, "Double-clicked.", BUTTON_LEFT, 2},
	{"triple_click", LATER, ACTION_CLICK, f_click, "Triple-clicked.", BUTTON_LEFT, 3},
	{"left_click", V2024, ACTION_CLICK, f_click_2024, "Clicked.", BUTTON_LEFT, 1},
	{"right_click", V2024, ACTION_CLICK, f_click_2024, "Right-clicked.", BUTTON_RIGHT, 1},
	{"middle_click", V2024, ACTION_CLICK, f_click_2024, "Middle-clicked.", BUTTON_MIDDLE, 1},
	{"double_click", V2024, ACTION_CLICK, f_click_2024, "Double-clicked.", BUTTON_LEFT, 2},
	{"left_click_drag", TOOLSET, ACTION_DRAG, f_drag, "Dragged."},
	{"left_click_drag", SINGLE, ACTION_DRAG, f_drag_single, "Dragged."},
	{"scroll", LATER, ACTION_SCROLL, f_scroll, "Scrolled {dir}."},
	{"wait", TOOLSET, ACTION_WAIT, f_wait, "Waited {n}s."},
	{"wait", V2025 | V2025B, ACTION_WAIT, f_wait_single, "Waited {n}s."},
	{"screenshot", COMPUTER, ACTION_SCREENSHOT, NULL, ""},
	{"zoom", V2025B | TOOLSET, ACTION_ZOOM, f_zoom, ""},
	{"navigate", BROWSER, ACTION_NAVIGATE, b_navigate, "The navigation has begun."},
	{"list_tabs", BROWSER, ACTION_TABS, NULL, "", .text = "list"},
	{"new_tab", BROWSER, ACTION_TABS, NULL, "", .text = "new"},
	{"switch_tab", BROWSER, ACTION_TABS, b_tab, "", .text = "select"},
	{"close_tab", BROWSER, ACTION_TABS, b_tab, "", .text = "close"},
	{"read_page", BROWSER, ACTION_SNAPSHOT, b_read, ""},
	{"get_page_text", BROWSER, ACTION_TEXT, b_none, ""},
	{"find", BROWSER, ACTION_FIND, b_find, ""},
	{"form_input", BROWSER, ACTION_SET, b_set, "Set the value of {ref}."},
	{"scroll_to", BROWSER, ACTION_SCROLL_TO, b_ref, "Scrolled to {ref}."},
	{"screenshot", BROWSER, ACTION_SCREENSHOT, b_none, ""},
	{"zoom", BROWSER, ACTION_ZOOM, b_zoom, ""},
	{"left_click", BROWSER, ACTION_CLICK, b_click, "Clicked.", BUTTON_LEFT, 1},
	{"right_click", BROWSER, ACTION_CLICK, b_click, "Right-clicked.", BUTTON_RIGHT, 1},
	{"middle_click", BROWSER, ACTION_CLICK, b_click, "Middle-clicked.", BUTTON_MIDDLE, 1},
	{"double_click", BROWSER, ACTION_CLICK, b_click, "Double-clicked.", BUTTON_LEFT, 2},
	{"triple_click", BROWSER, ACTION_CLICK, b_click, "Triple-clicked.", BUTTON_LEFT, 3},
	{"hover", BROWSER, ACTION_MOVE, b_hover, "Hovered."},
	{"left_click_drag", BROWSER, ACTION_DRAG, b_drag, "Dragged."},
	{"left_mouse_down", BROWSER, ACTION_PRESS, b_at, "Mouse button pressed.", .clicks = 1},
	{"left_mouse_up", BROWSER, ACTION_RELEASE, b_at, "Mouse button released.", .clicks = 1},
	{"mouse_move", BROWSER, ACTION_MOVE, b_at, "Moved the mouse."},
	{"scroll", BROWSER, ACTION_SCROLL, b_scroll, "Scrolled {dir}.", .amount = 3},
	{"type", BROWSER, ACTION_TYPE, b_type, "Typed."},
	{"key", BROWSER, ACTION_KEY, b_key, "Pressed {text}."},
	{"hold_key", BROWSER, ACTION_HOLD_KEY, b_hold, "Held {text} for {n}s."},
	{"wait", BROWSER, ACTION_WAIT, b_wait, "Waited {n}s."},
	{"javascript_exec", BROWSER, ACTION_EVALUATE, b_type, ""},
	{"file_upload", BROWSER, ACTION_UPLOAD, b_upload, "Uploaded."},
	{"read_console", BROWSER, ACTION_NOTHING, b_none, ""},
	{"read_network", BROWSER, ACTION_NOTHING, b_none, ""},
};

/* ---- Requests ---- */

static bool is_block(const cJSON *o)
{
	return plan_get(o, "input") && plan_text(o, "name") &&
	       (!plan_get(o, "type") ||
		       streq(plan_text(o, "type") ? plan_text(o, "type") : "", "tool_use"));
}

static bool is_message(const cJSON *o)
{
	const cJSON *b;

	cJSON_ArrayForEach (b, cJSON_GetObjectItemCaseSensitive(o, "content")) {
		if (cJSON_IsObject(b) && is_block(b))
			return true;
	}
	return false;
}

static bool knows(const cJSON *o)
{
	return cJSON_IsString(plan_get(o, "action")) || is_block(o) || is_message(o);
}

static bool may(const struct plan *p, unsigned int versions)
{
	return !p->versions || p->versions & versions;
}

/* A turn may hold calls of tools that are the client's own: those are not answered here. */
static bool is_ours(const struct plan *p, const cJSON *block)
{
	const char *set = plan_text(block, "toolset_name");

	if (set && streq(set, browser_set))
		return may(p, BROWSER);
	if (set)
		return streq(set, computer_set) && may(p, COMPUTER);
	return plan_text(plan_get(block, "input"), "action") ||
	       plan_row(p->vendor, plan_text(block, "name"), ANY_VERSION);
}

/* The pictures that the single tool's loop expects after what may change the screen. */
static bool shows_after(enum action_kind kind)
{
	return kind != ACTION_BAD && kind != ACTION_SCREENSHOT && kind != ACTION_ZOOM &&
	       kind != ACTION_CURSOR;
}

static void read_action(
	struct plan *p, const char *name, const cJSON *input, unsigned int versions, bool single)
{
	const struct action *a = plan_add(p, name, input, p->versions ? p->versions : versions);
	bool wanted = p->pictures == PICTURES_ALWAYS || (p->pictures == PICTURES_AUTO && single);

	if (wanted && shows_after(a->kind))
		plan_add_picture(p, false);
}

/* Whether a member called by its name is the browser toolset's: as it says, as the request says, or
 * by what only one of the two has. */
static bool in_browser(const struct plan *p, const cJSON *o)
{
	static const char *const members[] = {"target", "from", "modifiers", "tab_id"};
	const char *set = plan_text(o, "toolset_name"), *name = plan_text(o, "name");

	if (p->versions)
		return p->versions & BROWSER;
	if (set)
		return streq(set, browser_set);
	if (!plan_row(p->vendor, name, BROWSER))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (plan_get(plan_get(o, "input"), members[i]))
			return true;
	return !plan_row(p->vendor, name, COMPUTER);
}

/* ---- The browser toolset ---- */

int plan_enable(struct plan *p, const char *names, struct err *err)
{
	while (*names) {
		size_t n = strcspn(names, ","), i = 0;

		while (i < ARRAY_SIZE(off_names) &&
			(strlen(off_names[i]) != n || strncmp(off_names[i], names, n) != 0))
			i++;
		if (i == ARRAY_SIZE(off_names))
			return problem(err, 400, "invalid-request",
				"'enable': there are javascript_exec, file_upload, read_console "
				"and read_network, separated by commas");
		p->enabled |= 1u << i;
		names += n + (names[n] == ',');
	}
	return 0;
}

/* Why the member cannot be used here; NULL when it can. The caller's to free. */
static char *refusal(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(off_names); i++) {
		if (!streq(name, off_names[i]))
			continue;
		if (!(p->enabled & 1u << i))
			return xasprintf("%s is not enabled.", name);
		if (starts_with(name, "read_"))
			return xasprintf("%s is not available in this browser.", name);
	}
	return NULL;
}

/* The next of the keys that text names one after another. False at the end. */
static bool next_chord(const char **text, char out[64])
{
	const char *from = *text + strspn(*text, " ");
	size_t n = strcspn(from, " ");

	snprintf(out, 64, "%.*s", (int)n, from);
	*text = from + n;
	return n > 0;
}

static int count_chords(const char *text, struct err *err)
{
	struct chord c;
	char one[64];
	int n = 0;

	while (next_chord(&text, one)) {
		if (keys_chord(one, &c, err) < 0)
			return err->code;
		n++;
	}
	return n;
}

/* `text` is a chord, or several with spaces between: an action each, the first one at `at`. */
static void read_presses(struct plan *p, size_t at)
{
	AUTOFREE char *text = steal(&p->actions[at].text);
	int repeat = p->actions[at].repeat, n;
	struct chord c;
	struct err err;

	snprintf(p->actions[at].shown, sizeof(p->actions[at].shown), "%s", text);
	if (keys_chord(text, &p->actions[at].keys, &err) == 0)
		return;
	n = count_chords(text, &err);
	if (n < 1 || n * repeat > ACTION_REPEAT_MAX ||
		p->n_actions + (size_t)(n * repeat) > BROWSER_ACTIONS_MAX) {
		if (n >= 0)
			err_set(&err, -EINVAL, "it names %s",
				n ? "too many presses of keys" : "no key");
		err_context(&err, "key: text");
		plan_refuse(&p->actions[at], err.msg);
		return;
	}
	p->actions[at].repeat = 1;
	for (int i = 0; i < repeat; i++) {
		const char *rest = text;
		char one[64];

		for (int k = 0; next_chord(&rest, one) && keys_chord(one, &c, &err) == 0; k++) {
			struct action *a = i || k ? plan_action(p) : &p->actions[at];

			a->kind = ACTION_KEY;
			a->answer = i || k ? "" : a->answer;
			a->keys = c;
		}
	}
}

/* "back", "forward" and "reload" are no addresses. */
static void read_navigation(struct action *a)
{
	static const struct {
		const char *word;
		enum action_kind kind;
	} words[] = {{"back", ACTION_BACK}, {"forward", ACTION_FORWARD}, {"reload", ACTION_RELOAD}};
	size_t start = strspn(a->text, " "), n = strcspn(a->text + start, " ");

	a->told = true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].word) == n &&
			!a->text[start + n + strspn(a->text + start + n, " ")] &&
			strncasecmp(a->text + start, words[i].word, n) == 0)
			a->kind = words[i].kind;
}

/* What the table does not say of a member. */
static void complete(struct plan *p, size_t at, const char *name, const cJSON *input)
{
	struct action *a = &p->actions[at];

	if (a->kind == ACTION_BAD)
		return;
	a->script = a->kind == ACTION_EVALUATE;
	a->quiet = a->kind == ACTION_TABS;
	if (streq(name, "navigate")) {
		read_navigation(a);
	} else if (streq(name, "key")) {
		read_presses(p, at);
	} else if (streq(name, "read_page")) {
		a->depth = a->depth ? a->depth : BROWSER_DEPTH;
		a->part = plan_get(input, "filter") ? a->part : PART_VISIBLE;
	} else if (streq(name, "file_upload") && !a->text) {
		plan_refuse(a, plan_get(input, "document_ids")
				       ? "file_upload: there are no staged documents here; name "
					 "files in paths"
				       : "file_upload: paths is missing");
	}
}

/* The action, a picture if the request wants one, and the report. */
static void read_browser(struct plan *p, const char *name, const cJSON *input)
{
	size_t at = p->n_actions;
	bool quiet = plan_row(p->vendor, name, BROWSER) &&
		     plan_row(p->vendor, name, BROWSER)->kind == ACTION_TABS;
	AUTOFREE char *why = refusal(p, name ? name : "");
	const char *tab = NULL;

	p->calls[p->n_calls - 1].browser = true;
	if (why)
		plan_add_bad(p, "%s", why);
	else
		plan_add(p, name, input, BROWSER);
	complete(p, at, name ? name : "", input);
	if (p->pictures == PICTURES_ALWAYS && !quiet && p->actions[at].kind != ACTION_SCREENSHOT &&
		p->actions[at].kind != ACTION_ZOOM)
		plan_add_picture(p, false);
	tab = p->actions[at].tab;
	for (size_t i = at; i < p->n_actions; i++) {
		p->actions[i].browser = true;
		if (tab && i > at)
			p->actions[i].tab = xstrdup(tab);
	}
	plan_add_report(p, quiet, name && streq(name, "new_tab"));
}

/* ---- Blocks ---- */

static int read_one(struct plan *p, const cJSON *o, struct err *err)
{
	const char *id = plan_text(o, is_block(o) ? "id" : "tool_use_id"), *name, *set;
	const cJSON *input = is_block(o) ? plan_get(o, "input") : o;

	if (id && strlen(id) > PLAN_ID_MAX)
		return err_set(err, -EINVAL, "an id has over %d bytes", PLAN_ID_MAX);
	set = plan_text(o, "toolset_name");
	if (set)
		set = streq(set, browser_set) ? browser_set : computer_set;
	plan_call(p, id)->toolset = set;
	name = plan_text(input, "action");
	if (name)
		read_action(p, name, input, SINGLE, true);
	else if (in_browser(p, o))
		read_browser(p, plan_text(o, "name"), input);
	else
		read_action(p, plan_text(o, "name"), input, TOOLSET, false);
	return 0;
}

static int read_list(struct plan *p, const cJSON *list, struct err *err)
{
	const cJSON *o;

	cJSON_ArrayForEach (o, list) {
		bool ours = is_block(o) ? is_ours(p, o) : plan_text(o, "action") != NULL;

		if (cJSON_IsObject(o) && ours && read_one(p, o, err) < 0)
			return err_type(err, 400, "invalid-request");
	}
	return 0;
}

static int read_body(struct plan *p, const cJSON *body, struct err *err)
{
	const cJSON *content = cJSON_GetObjectItemCaseSensitive(body, "content");

	if (cJSON_IsArray(body)) {
		p->shape = PLAN_LIST;
		return read_list(p, body, err);
	}
	if (cJSON_IsArray(content) && !is_block(body)) {
		p->shape = PLAN_MESSAGE;
		return read_list(p, content, err);
	}
	if (!is_block(body) && !plan_text(body, "action"))
		return 0;
	return read_one(p, body, err) < 0 ? err_type(err, 400, "invalid-request") : 0;
}

/* ---- Answers ---- */

static void add_text(cJSON *content, const char *text)
{
	cJSON *b = cJSON_CreateObject();

	cJSON_AddStringToObject(b, "type", "text");
	cJSON_AddStringToObject(b, "text", text);
	cJSON_AddItemToArray(content, b);
}

static void add_image(cJSON *content, const char *data)
{
	cJSON *b = cJSON_CreateObject(), *source;

	cJSON_AddStringToObject(b, "type", "image");
	source = cJSON_AddObjectToObject(b, "source");
	cJSON_AddStringToObject(source, "type", "base64");
	cJSON_AddStringToObject(source, "media_type", "image/png");
	cJSON_AddItemToObject(source, "data", cJSON_CreateStringReference(data));
	cJSON_AddItemToArray(content, b);
}

static void add_state(cJSON *content, const char *state)
{
	cJSON *b = state ? cJSON_Parse(state) : NULL;

	if (!b) {
		b = cJSON_CreateObject();
		cJSON_AddArrayToObject(b, "tabs");
	}
	cJSON_AddStringToObject(b, "type", "browser_state");
	cJSON_AddItemToArray(content, b);
}

/* Words, pictures and the report, and of the members for tabs the report alone. A failure is told
 * in words alone: true when there was none. */
static bool answer_browser(const struct plan *p, const struct plan_call *c,
	const struct action_result *results, cJSON *content)
{
	const struct action_result *last = &results[c->first + c->n - 1];
	const struct action *report = &p->actions[c->first + c->n - 1];
	bool fine = last->done && !last->failed;

	for (size_t i = c->first; i < c->first + c->n; i++) {
		AUTOFREE char *text = NULL;

		if ((!results[i].done && i > c->first) || (fine && report->quiet))
			continue;
		text = plan_told(p, i, results);
		if (*text)
			add_text(content, text);
	}
	for (size_t i = c->first; i < c->first + c->n && fine; i++)
		if (results[i].image)
			add_image(content, results[i].image);
	if (fine)
		add_state(content, last->state);
	return fine;
}

/* What is done is told before the picture of it. */
static cJSON *answer_call(
	const struct plan *p, const struct plan_call *c, const struct action_result *results)
{
	cJSON *o = cJSON_CreateObject(), *content;
	bool failed = false;

	cJSON_AddStringToObject(o, "type", "tool_result");
	if (c->id)
		cJSON_AddStringToObject(o, "tool_use_id", c->id);
	if (c->toolset)
		cJSON_AddStringToObject(o, "toolset_name", c->toolset);
	content = cJSON_AddArrayToObject(o, "content");
	if (c->browser) {
		cJSON_AddBoolToObject(o, "is_error", !answer_browser(p, c, results, content));
		return o;
	}
	for (size_t i = c->first; i < c->first + c->n; i++) {
		const struct action_result *r = &results[i];
		AUTOFREE char *text = NULL;

		/* The picture after an action that failed. */
		if (!r->done && i > c->first)
			continue;
		text = plan_told(p, i, results);
		failed |= r->failed || !r->done;
		if (*text)
			add_text(content, text);
		if (r->image)
			add_image(content, r->image);
	}
	cJSON_AddBoolToObject(o, "is_error", failed);
	return o;
}

static cJSON *answer(const struct plan *p, const struct action_result *results)
{
	return plan_answers(p, results, answer_call, "content");
}

const struct vendor vendor_anthropic = {
	.name = "anthropic",
	.versions = version_names,
	.rows = rows,
	.n_rows = ARRAY_SIZE(rows),
	.knows = knows,
	.read = read_body,
	.answer = answer,
	.text_fails = true,
};
