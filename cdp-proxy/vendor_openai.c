/* OpenAI's computer use: computer_call with `action` or `actions`. */
#include "vendor.h"

#include <errno.h>
#include <string.h>

#include "util.h"

static const char *const version_names[] = {"computer-use-preview", "computer", NULL};

#define XY_MAX ACTION_COORDINATE_MAX
#define XY                                       \
	{"x", FIELD_AT_X, true, 0, XY_MAX},      \
	{                                        \
		"y", FIELD_AT_Y, true, 0, XY_MAX \
	}
#define HELD                                    \
	{                                       \
		"keys", FIELD_HELD, false, 0, 0 \
	}
#define END          \
	{            \
		NULL \
	}

static const struct vendor_field f_click[] = {{"button", FIELD_BUTTON, false, 0, 0}, XY, HELD, END};
static const struct vendor_field f_at[] = {XY, HELD, END};
static const struct vendor_field f_drag[] = {{"path", FIELD_PATH, true, 0, XY_MAX}, HELD, END};
static const struct vendor_field f_keypress[] = {{"keys", FIELD_KEYS, true, 0, 0}, END};
static const struct vendor_field f_scroll[] = {XY,
	{"scroll_x", FIELD_DX, false, -ACTION_SCROLL_PX_MAX, ACTION_SCROLL_PX_MAX},
	{"scroll_y", FIELD_DY, false, -ACTION_SCROLL_PX_MAX, ACTION_SCROLL_PX_MAX}, HELD, END};
static const struct vendor_field f_type[] = {{"text", FIELD_TEXT, true, 0, ACTION_TEXT_MAX}, END};

static const struct vendor_row rows[] = {
	{"click", ANY_VERSION, ACTION_CLICK, f_click, "", BUTTON_LEFT, 1},
	{"double_click", ANY_VERSION, ACTION_CLICK, f_at, "", BUTTON_LEFT, 2},
	{"drag", ANY_VERSION, ACTION_DRAG, f_drag, ""},
	{"keypress", ANY_VERSION, ACTION_KEY, f_keypress, ""},
	{"move", ANY_VERSION, ACTION_MOVE, f_at, ""},
	{"screenshot", ANY_VERSION, ACTION_NOTHING, NULL, ""}, /* the answer has one anyway */
	{"scroll", ANY_VERSION, ACTION_SCROLL, f_scroll, ""},
	{"type", ANY_VERSION, ACTION_TYPE, f_type, ""},
	{"wait", ANY_VERSION, ACTION_WAIT, NULL, "", .ms = 1000},
};

/* ---- Requests ---- */

static bool is_call(const cJSON *o)
{
	const char *type = plan_text(o, "type");

	if (type)
		return streq(type, "computer_call");
	return cJSON_IsObject(plan_get(o, "action")) || cJSON_IsArray(plan_get(o, "actions"));
}

static bool is_action(const cJSON *o)
{
	return plan_row(&vendor_openai, plan_text(o, "type"), ANY_VERSION);
}

/* A whole response: its `output` holds messages and reasoning too. */
static bool is_response(const cJSON *o)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(o, "output")) {
		if (cJSON_IsObject(item) && is_call(item))
			return true;
	}
	return false;
}

static bool knows(const cJSON *o)
{
	return is_call(o) || is_action(o) || is_response(o);
}

static void read_action(struct plan *p, const cJSON *a)
{
	unsigned int versions_wanted = p->versions ? p->versions : ANY_VERSION;

	if (cJSON_IsObject(a))
		plan_add(p, plan_text(a, "type"), a, versions_wanted);
	else
		plan_add_bad(p, "an action must be an object");
}

static int read_call(struct plan *p, const cJSON *o, struct err *err)
{
	const char *id = plan_text(o, "call_id");
	const cJSON *list = plan_get(o, "actions"), *one = plan_get(o, "action"), *a;
	struct plan_call *c;

	if (id && strlen(id) > PLAN_ID_MAX)
		return err_set(err, -EINVAL, "call_id has over %d bytes", PLAN_ID_MAX);
	c = plan_call(p, id);
	if (cJSON_IsArray(plan_get(o, "pending_safety_checks")))
		c->safety = cJSON_Duplicate(plan_get(o, "pending_safety_checks"), true);
	if (cJSON_IsArray(list)) {
		cJSON_ArrayForEach (a, list)
			read_action(p, a);
	} else if (one) {
		read_action(p, one);
	} else {
		plan_add_bad(p, "a computer_call needs action or actions");
	}
	plan_add_picture(p, true);
	return 0;
}

static int read_list(struct plan *p, const cJSON *list, struct err *err)
{
	const cJSON *o;

	cJSON_ArrayForEach (o, list) {
		if (cJSON_IsObject(o) && is_call(o) && read_call(p, o, err) < 0)
			return err_type(err, 400, "invalid-request");
	}
	return 0;
}

/* Bare actions: one picture at the end. */
static void read_bare(struct plan *p, const cJSON *body)
{
	const cJSON *a;

	p->bare = true;
	p->shape = PLAN_ONE;
	plan_call(p, NULL);
	if (cJSON_IsArray(body)) {
		cJSON_ArrayForEach (a, body)
			read_action(p, a);
	} else {
		read_action(p, body);
	}
	plan_add_picture(p, true);
}

static int read_body(struct plan *p, const cJSON *body, struct err *err)
{
	const cJSON *output = cJSON_GetObjectItemCaseSensitive(body, "output");
	const cJSON *list = cJSON_IsArray(body) ? body : NULL, *o;

	p->shape = PLAN_LIST;
	if (cJSON_IsArray(output))
		return read_list(p, output, err);
	cJSON_ArrayForEach (o, list) {
		if (cJSON_IsObject(o) && is_call(o))
			return read_list(p, body, err);
	}
	p->shape = PLAN_ONE;
	if (cJSON_IsObject(body) && is_call(body))
		return read_call(p, body, err) < 0 ? err_type(err, 400, "invalid-request") : 0;
	if (cJSON_IsArray(body) ? cJSON_GetArraySize(body) > 0 : plan_text(body, "type") != NULL)
		read_bare(p, body);
	return 0;
}

/* ---- Answers ---- */

static cJSON *picture(const struct action_result *r)
{
	cJSON *o = cJSON_CreateObject();
	AUTOFREE char *url = xasprintf("data:image/png;base64,%s", r->image ? r->image : "");

	cJSON_AddStringToObject(o, "type", "computer_screenshot");
	cJSON_AddStringToObject(o, "image_url", url);
	return o;
}

static cJSON *answer_call(
	const struct plan *p, const struct plan_call *c, const struct action_result *results)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "type", "computer_call_output");
	if (c->id)
		cJSON_AddStringToObject(o, "call_id", c->id);
	cJSON_AddItemToObject(o, "output", picture(&results[c->first + c->n - 1]));
	if (c->safety && cJSON_GetArraySize(c->safety))
		cJSON_AddItemToObject(
			o, "acknowledged_safety_checks", cJSON_Duplicate(c->safety, true));
	return o;
}

/* An output has no place for words: what must be said is a message behind it. */
static void add_remarks(const struct plan *p, cJSON *list, const struct action_result *results)
{
	AUTOFREE char *text = plan_remarks(p, results);
	cJSON *o, *content, *part;

	if (!text)
		return;
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "type", "message");
	cJSON_AddStringToObject(o, "role", "user");
	content = cJSON_AddArrayToObject(o, "content");
	part = cJSON_CreateObject();
	cJSON_AddStringToObject(part, "type", "input_text");
	cJSON_AddStringToObject(part, "text", text);
	cJSON_AddItemToArray(content, part);
	cJSON_AddItemToArray(list, o);
}

static cJSON *answer(const struct plan *p, const struct action_result *results)
{
	const struct plan_call *c = &p->calls[0];
	cJSON *o;

	if (p->bare)
		return picture(&results[c->first + c->n - 1]);
	o = plan_answers(p, results, answer_call, "");
	if (p->shape == PLAN_LIST)
		add_remarks(p, o, results);
	return o;
}

const struct vendor vendor_openai = {
	.name = "openai",
	.versions = version_names,
	.rows = rows,
	.n_rows = ARRAY_SIZE(rows),
	.knows = knows,
	.read = read_body,
	.answer = answer,
};
