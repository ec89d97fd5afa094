/* Anthropic's computer use: the single tools and computer_toolset_20260801. */
#include "vendor.h"

#include <errno.h>
#include <string.h>

#include "util.h"

enum { V2024 = 1, V2025 = 2, V2025B = 4, TOOLSET = 8, SINGLE = 7, LATER = 14 };

static const char *const version_names[] = {"computer_20241022", "computer_20250124",
	"computer_20251124", "computer_toolset_20260801", NULL};

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

static const struct vendor_row rows[] = {
	{"key", ANY_VERSION, ACTION_KEY, f_key, "Pressed {text}."},
	{"hold_key", TOOLSET, ACTION_HOLD_KEY, f_hold, "Held {text} for {n}s."},
	{"hold_key", V2025 | V2025B, ACTION_HOLD_KEY, f_hold_single, "Held {text} for {n}s."},
	{"type", ANY_VERSION, ACTION_TYPE, f_type, "Typed."},
	{"cursor_position", ANY_VERSION, ACTION_CURSOR, NULL, ""},
	{"mouse_move", ANY_VERSION, ACTION_MOVE, f_at, "Moved the mouse."},
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
	{"screenshot", ANY_VERSION, ACTION_SCREENSHOT, NULL, ""},
	{"zoom", V2025B | TOOLSET, ACTION_ZOOM, f_zoom, ""},
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

/* A turn may hold calls of tools that are the client's own: those are not answered here. */
static bool is_ours(const struct plan *p, const cJSON *block)
{
	const char *set = plan_text(block, "toolset_name");

	if (set)
		return streq(set, "computer");
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

static int read_one(struct plan *p, const cJSON *o, struct err *err)
{
	const char *id = plan_text(o, is_block(o) ? "id" : "tool_use_id"), *name;
	const cJSON *input = is_block(o) ? plan_get(o, "input") : o;

	if (id && strlen(id) > PLAN_ID_MAX)
		return err_set(err, -EINVAL, "an id has over %d bytes", PLAN_ID_MAX);
	plan_call(p, id)->in_toolset = plan_text(o, "toolset_name") != NULL;
	name = plan_text(input, "action");
	if (name)
		read_action(p, name, input, SINGLE, true);
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

/* What is done is told before the picture of it. */
static cJSON *answer_call(
	const struct plan *p, const struct plan_call *c, const struct action_result *results)
{
	cJSON *o = cJSON_CreateObject(), *content;
	bool failed = false;

	cJSON_AddStringToObject(o, "type", "tool_result");
	if (c->id)
		cJSON_AddStringToObject(o, "tool_use_id", c->id);
	if (c->in_toolset)
		cJSON_AddStringToObject(o, "toolset_name", "computer");
	content = cJSON_AddArrayToObject(o, "content");
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
