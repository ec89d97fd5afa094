/* Gemini's computer use: both sets of function names. */
#include "vendor.h"

#include <errno.h>
#include <string.h>

#include "util.h"

enum { OLD = 1, NEW = 2, BOTH = 3 };

static const char *const version_names[] = {"gemini-2.5", "gemini-3", NULL};

/* Coordinates are thousandths of the picture: the one place that says so. */
#define PER 1000
#define SEARCH_PAGE "https://www.google.com/"
#define XY                                    \
	{"x", FIELD_AT_X, true, 0, PER},      \
	{                                     \
		"y", FIELD_AT_Y, true, 0, PER \
	}
#define END          \
	{            \
		NULL \
	}

static const struct vendor_field f_at[] = {XY, END};
static const struct vendor_field f_at_or_not[] = {
	{"x", FIELD_AT_X, false, 0, PER}, {"y", FIELD_AT_Y, false, 0, PER}, END};
static const struct vendor_field f_type_at[] = {XY, {"text", FIELD_TEXT, true, 0, ACTION_TEXT_MAX},
	{"press_enter", FIELD_ENTER, false, 0, 0},
	{"clear_before_typing", FIELD_CLEAR, false, 0, 0}, END};
static const struct vendor_field f_type[] = {{"text", FIELD_TEXT, true, 0, ACTION_TEXT_MAX},
	{"press_enter", FIELD_ENTER, false, 0, 0},
	{"clear_before_typing", FIELD_CLEAR, false, 0, 0}, END};
static const struct vendor_field f_document[] = {{"direction", FIELD_DIRECTION, true, 0, 0}, END};
static const struct vendor_field f_scroll[] = {XY, {"direction", FIELD_DIRECTION, true, 0, 0},
	{"magnitude", FIELD_AMOUNT, false, 0, PER}, END};
static const struct vendor_field f_url[] = {{"url", FIELD_URL, true, 1, ACTION_URL_MAX}, END};
static const struct vendor_field f_combination[] = {{"keys", FIELD_CHORD, true, 0, 0}, END};
static const struct vendor_field f_key[] = {{"key", FIELD_CHORD, true, 0, 0}, END};
static const struct vendor_field f_hotkey[] = {{"keys", FIELD_KEYS, true, 0, 0}, END};
static const struct vendor_field f_wait[] = {
	{"seconds", FIELD_SECONDS, false, 0, ACTION_WAIT_MAX_S}, END};
static const struct vendor_field f_drag[] = {{"x", FIELD_FROM_X, true, 0, PER},
	{"y", FIELD_FROM_Y, true, 0, PER}, {"destination_x", FIELD_AT_X, true, 0, PER},
	{"destination_y", FIELD_AT_Y, true, 0, PER}, END};

static const struct vendor_row rows[] = {
	{"open_web_browser", BOTH, ACTION_NOTHING, NULL, ""},
	{"click_at", OLD, ACTION_CLICK, f_at, "", BUTTON_LEFT, 1},
	{"hover_at", OLD, ACTION_MOVE, f_at, ""},
	{"type_text_at", OLD, ACTION_TYPE, f_type_at, "", .clear_first = true},
	{"scroll_document", OLD, ACTION_SCROLL, f_document, "", .amount = 800},
	{"scroll_at", OLD, ACTION_SCROLL, f_scroll, "", .amount = 800},
	{"wait_5_seconds", OLD, ACTION_WAIT, NULL, "", .ms = 5000},
	{"search", OLD, ACTION_NAVIGATE, NULL, "", .text = SEARCH_PAGE},
	{"key_combination", OLD, ACTION_KEY, f_combination, ""},
	{"go_back", BOTH, ACTION_BACK, NULL, ""},
	{"go_forward", BOTH, ACTION_FORWARD, NULL, ""},
	{"navigate", BOTH, ACTION_NAVIGATE, f_url, ""},
	{"drag_and_drop", BOTH, ACTION_DRAG, f_drag, ""},
	{"click", NEW, ACTION_CLICK, f_at, "", BUTTON_LEFT, 1},
	{"double_click", NEW, ACTION_CLICK, f_at, "", BUTTON_LEFT, 2},
	{"triple_click", NEW, ACTION_CLICK, f_at, "", BUTTON_LEFT, 3},
	{"middle_click", NEW, ACTION_CLICK, f_at, "", BUTTON_MIDDLE, 1},
	{"right_click", NEW, ACTION_CLICK, f_at, "", BUTTON_RIGHT, 1},
	{"mouse_down", NEW, ACTION_PRESS, f_at_or_not, "", .clicks = 1},
	{"mouse_up", NEW, ACTION_RELEASE, f_at_or_not, "", .clicks = 1},
	{"move", NEW, ACTION_MOVE, f_at, ""},
	{"type", NEW, ACTION_TYPE, f_type, ""},
	{"scroll", NEW, ACTION_SCROLL, f_scroll, "", .amount = 800},
	{"wait", NEW, ACTION_WAIT, f_wait, "", .ms = 1000},
	{"press_key", NEW, ACTION_KEY, f_key, ""},
	{"key_down", NEW, ACTION_KEY_DOWN, f_key, ""},
	{"key_up", NEW, ACTION_KEY_UP, f_key, ""},
	{"hotkey", NEW, ACTION_KEY, f_hotkey, ""},
	{"take_screenshot", NEW, ACTION_NOTHING, NULL, ""},
};

/* ---- Requests ---- */

/* The function call in a part, or the object itself when it is one. */
static const cJSON *call_of(const cJSON *o, bool *ret_snake)
{
	const cJSON *c = plan_get(o, "functionCall");

	if (c)
		return c;
	c = plan_get(o, "function_call");
	if (c) {
		*ret_snake = true;
		return c;
	}
	return plan_text(o, "name") && !plan_get(o, "type") && !plan_get(o, "input") ? o : NULL;
}

static const cJSON *parts_of(const cJSON *o)
{
	const cJSON *first = cJSON_GetArrayItem(plan_get(o, "candidates"), 0);
	const cJSON *content = plan_get(first, "content");

	return plan_get(content ? content : o, "parts");
}

static bool is_ours(const cJSON *call, const struct plan *p)
{
	const struct vendor *v = &vendor_gemini;

	return plan_row(v, plan_text(call, "name"), p && p->versions ? p->versions : BOTH);
}

static bool knows(const cJSON *o)
{
	bool snake = false;
	const cJSON *part, *call = call_of(o, &snake);

	if (call && (call != o || plan_get(o, "args") || is_ours(call, NULL)))
		return true;
	cJSON_ArrayForEach (part, parts_of(o)) {
		if (cJSON_IsObject(part) && call_of(part, &snake))
			return true;
	}
	return false;
}

static int read_call(struct plan *p, const cJSON *o, struct err *err)
{
	const char *id = plan_text(o, "id"), *name = plan_text(o, "name");
	const cJSON *args = plan_get(o, "args"), *safety = plan_get(args, "safety_decision");
	const char *decision = plan_text(safety, "decision");
	struct plan_call *c;

	if ((id && strlen(id) > PLAN_ID_MAX) || (name && strlen(name) > PLAN_ID_MAX))
		return err_set(err, -EINVAL, "an id or a name has over %d bytes", PLAN_ID_MAX);
	c = plan_call(p, id);
	c->name = xstrdup(name ? name : "");
	c->confirmed = decision && streq(decision, "require_confirmation");
	plan_add(p, name, args, p->versions ? p->versions : BOTH)->thousandths = true;
	if (p->pictures != PICTURES_NEVER)
		plan_add_picture(p, false);
	return 0;
}

/* Functions of the client's own are not answered here. */
static int read_parts(struct plan *p, const cJSON *parts, struct err *err)
{
	const cJSON *part, *call;

	cJSON_ArrayForEach (part, parts) {
		call = cJSON_IsObject(part) ? call_of(part, &p->snake) : NULL;
		if (call && (is_ours(call, p) || cJSON_GetArraySize(parts) == 1) &&
			read_call(p, call, err) < 0)
			return err_type(err, 400, "invalid-request");
	}
	return 0;
}

static int read_body(struct plan *p, const cJSON *body, struct err *err)
{
	const cJSON *parts = parts_of(body), *call = NULL;
	int r = 0;

	if (cJSON_IsArray(body)) {
		p->shape = PLAN_LIST;
		r = read_parts(p, body, err);
	} else if (cJSON_IsArray(parts)) {
		p->shape = PLAN_MESSAGE;
		r = read_parts(p, parts, err);
	} else {
		call = call_of(body, &p->snake);
		r = call && read_call(p, call, err) < 0 ? err_type(err, 400, "invalid-request") : 0;
	}
	/* The last picture is wanted in any case. */
	if (p->n_actions && p->actions[p->n_actions - 1].kind == ACTION_SCREENSHOT)
		p->actions[p->n_actions - 1].always = true;
	return r;
}

/* ---- Answers ---- */

static void add_image(const struct plan *p, cJSON *o, const char *data)
{
	cJSON *parts = cJSON_AddArrayToObject(o, "parts"), *part = cJSON_CreateObject();
	cJSON *inline_data = cJSON_AddObjectToObject(part, p->snake ? "inline_data" : "inlineData");

	cJSON_AddStringToObject(inline_data, p->snake ? "mime_type" : "mimeType", "image/png");
	cJSON_AddItemToObject(inline_data, "data", cJSON_CreateStringReference(data));
	cJSON_AddItemToArray(parts, part);
}

static void fill_response(cJSON *response, const struct plan *p, const struct plan_call *c,
	const struct action_result *results)
{
	const struct action_result *r = &results[c->first], *last = r + c->n - 1;
	AUTOFREE char *text = plan_told(p, c->first, results);
	const char *url = last->url ? last->url : r->url;

	cJSON_AddStringToObject(response, "url", url ? url : "");
	if (c->confirmed)
		cJSON_AddStringToObject(response, "safety_acknowledgement", "true");
	if (!r->done || r->failed)
		cJSON_AddStringToObject(response, "error", text);
	else if (*text)
		cJSON_AddStringToObject(response, "message", text);
	if (last != r && last->notes)
		cJSON_AddStringToObject(response, "notes", last->notes);
	if (last != r && last->failed && !r->failed && r->done)
		cJSON_AddStringToObject(response, "error", last->text ? last->text : "");
}

static cJSON *answer_call(
	const struct plan *p, const struct plan_call *c, const struct action_result *results)
{
	const struct action_result *last = &results[c->first + c->n - 1];
	cJSON *part = cJSON_CreateObject(), *o;

	o = cJSON_AddObjectToObject(part, p->snake ? "function_response" : "functionResponse");
	if (c->id)
		cJSON_AddStringToObject(o, "id", c->id);
	cJSON_AddStringToObject(o, "name", c->name);
	fill_response(cJSON_AddObjectToObject(o, "response"), p, c, results);
	if (last->image)
		add_image(p, o, last->image);
	return part;
}

static cJSON *answer(const struct plan *p, const struct action_result *results)
{
	return plan_answers(p, results, answer_call, "parts");
}

const struct vendor vendor_gemini = {
	.name = "gemini",
	.versions = version_names,
	.rows = rows,
	.n_rows = ARRAY_SIZE(rows),
	.knows = knows,
	.read = read_body,
	.answer = answer,
	.text_fails = true,
};
