/* The tools that MCP clients get: one table, from arguments to actions and from results to content.
 */
#include "mcp_tools.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "bytes.h"
#include "json.h"
#include "util.h"

/*
 * Names, arguments and their meaning are those of the Playwright MCP server, which prompts and
 * models know; `computer` takes what the executor's other front end takes in Anthropic's single
 * form. A row gives the schema, the check of the arguments and the actions.
 */
#define RESULT_MAX (2u << 20) /* bytes of text of one result */

enum argument_kind {
	ARG_TEXT,   /* min to max bytes */
	ARG_REF,    /* "e12" */
	ARG_NUMBER, /* min to max */
	ARG_INTEGER,
	ARG_BOOL,
	ARG_WORD,  /* one of words */
	ARG_WORDS, /* some of words */
	ARG_TEXTS, /* max of them */
	ARG_FIELDS,
	ARG_POINT,  /* numbers, checked by whoever reads them */
	ARG_SCALAR, /* a text, a number or a boolean, as text */
};

struct argument {
	const char *name;
	enum argument_kind kind;
	bool required;
	double min, max;
	const char *words; /* separated by spaces */
	const char *about;
};

struct tool {
	const char *name, *title, *about;
	const struct argument *arguments;
	bool reads, destroys; /* annotations: only looks; what it does may not be undone */
	int (*plan)(const cJSON *a, struct plan *p, struct err *err);
	bool looks_after; /* a snapshot of what it did comes with it */
};

#define END       \
	{         \
		0 \
	}
#define ELEMENT                                                       \
	{                                                             \
		"element", ARG_TEXT, false, 0, 1000, NULL,            \
			"What the element is, for people who look on" \
	}
#define REF(name, required, about)                         \
	{                                                  \
		name, ARG_REF, required, 0, 0, NULL, about \
	}
#define EXACT_REF "Ref of the element, from the page's snapshot"

static const char buttons[] = "left right middle";
static const char modifiers[] = "Alt Control ControlOrMeta Meta Shift";
static const char field_types[] = "textbox checkbox radio combobox slider";

static const struct argument no_arguments[] = {END};
static const struct argument a_navigate[] = {
	{"url", ARG_TEXT, true, 1, ACTION_URL_MAX, NULL, "The address to open"}, END};
static const struct argument a_click[] = {ELEMENT, REF("ref", true, EXACT_REF),
	{"doubleClick", ARG_BOOL, false, 0, 0, NULL, "Click twice"},
	{"button", ARG_WORD, false, 0, 0, buttons, "The mouse button, left by default"},
	{"modifiers", ARG_WORDS, false, 0, 0, modifiers, "Keys held meanwhile"}, END};
static const struct argument a_type[] = {ELEMENT, REF("ref", true, EXACT_REF),
	{"text", ARG_TEXT, true, 0, ACTION_TEXT_MAX, NULL, "The text; it replaces what is there"},
	{"submit", ARG_BOOL, false, 0, 0, NULL, "Press Enter after it"},
	{"slowly", ARG_BOOL, false, 0, 0, NULL, "Add to what is there, key by key"}, END};
static const struct argument a_fill[] = {
	{"fields", ARG_FIELDS, true, 1, TOOL_FIELDS_MAX, NULL, "The fields, filled in order"}, END};
static const struct argument a_field[] = {
	{"name", ARG_TEXT, false, 0, 1000, NULL, "What the field is, for people"},
	{"element", ARG_TEXT, false, 0, 1000, NULL, "The same"},
	{"type", ARG_WORD, true, 0, 0, field_types, "What kind of field"},
	REF("ref", true, "Ref of the field, from the page's snapshot"),
	{"value", ARG_SCALAR, true, 0, ACTION_TEXT_MAX, NULL,
		"Its value; `true` or `false` for checkbox and radio, the option's text for "
		"combobox"},
	END};
static const struct argument a_key[] = {{"key", ARG_TEXT, true, 1, 200, NULL,
						"Name of the key, or the character: `ArrowLeft`, "
						"`a`, `Control+a`"},
	END};
static const struct argument a_select[] = {ELEMENT, REF("ref", true, EXACT_REF),
	{"values", ARG_TEXTS, true, 0, TOOL_CHOICES_MAX, NULL, "Values or texts of the options"},
	END};
static const struct argument a_hover[] = {ELEMENT, REF("ref", true, EXACT_REF), END};
static const struct argument a_drag[] = {
	{"startElement", ARG_TEXT, false, 0, 1000, NULL, "What is dragged, for people"},
	REF("startRef", true, "Ref of what is dragged"),
	{"endElement", ARG_TEXT, false, 0, 1000, NULL, "Where to, for people"},
	REF("endRef", true, "Ref of where it is dropped"), END};
static const struct argument a_upload[] = {
	{"paths", ARG_TEXTS, false, 1, TOOL_PATHS_MAX, NULL,
		"Files in the agent's /home/agent/Uploads; without them the chooser is closed"},
	END};
static const struct argument a_dialog[] = {
	{"accept", ARG_BOOL, true, 0, 0, NULL, "Whether to accept the dialog"},
	{"promptText", ARG_TEXT, false, 0, 4000, NULL, "The answer to a prompt"}, END};
static const struct argument a_shot[] = {
	{"type", ARG_WORD, false, 0, 0, "png jpeg", "The format, png by default"}, ELEMENT,
	REF("ref", false, "Ref of an element that alone is shown"),
	{"fullPage", ARG_BOOL, false, 0, 0, NULL, "The whole page, not only what is in view"}, END};
static const struct argument a_tabs[] = {
	{"action", ARG_WORD, true, 0, 0, "list new close select", "What to do"},
	{"index", ARG_INTEGER, false, 0, 1000, NULL,
		"The tab to close or select; without it the one in front is closed"},
	END};
static const struct argument a_wait[] = {
	{"time", ARG_NUMBER, false, 0, ACTION_WAIT_MAX_S, NULL, "Seconds to wait"},
	{"text", ARG_TEXT, false, 1, 10000, NULL, "Text to wait for"},
	{"textGone", ARG_TEXT, false, 1, 10000, NULL, "Text to wait for to go"}, END};
static const struct argument a_evaluate[] = {
	{"function", ARG_TEXT, true, 1, TOOL_FUNCTION_MAX, NULL,
		"() => { … }, or (element) => { … } with a ref"},
	ELEMENT, REF("ref", false, EXACT_REF), END};
static const struct argument a_resize[] = {
	{"width", ARG_INTEGER, true, 100, TOOL_EDGE_MAX, NULL, "Width of the view in pixels"},
	{"height", ARG_INTEGER, true, 100, TOOL_EDGE_MAX, NULL, "Its height"}, END};
static const struct argument a_computer[] = {
	{"action", ARG_WORD, true, 0, 0,
		"key hold_key type cursor_position mouse_move left_mouse_down left_mouse_up "
		"left_click "
		"right_click middle_click double_click triple_click left_click_drag scroll wait "
		"screenshot zoom",
		"What to do"},
	{"coordinate", ARG_POINT, false, 2, 2, NULL, "[x, y] in pixels of the screenshot"},
	{"start_coordinate", ARG_POINT, false, 2, 2, NULL, "[x, y] where a drag begins"},
	{"text", ARG_TEXT, false, 0, ACTION_TEXT_MAX, NULL,
		"The text to type, the keys (`ctrl+s`), or the modifiers of a click"},
	{"duration", ARG_NUMBER, false, 0, ACTION_WAIT_MAX_S, NULL, "Seconds of wait, hold_key"},
	{"scroll_direction", ARG_WORD, false, 0, 0, "up down left right", "Of scroll"},
	{"scroll_amount", ARG_INTEGER, false, 0, ACTION_SCROLL_CLICKS_MAX, NULL,
		"Clicks of the wheel"},
	{"region", ARG_POINT, false, 4, 4, NULL, "[x0, y0, x1, y1] of zoom"},
	{"repeat", ARG_INTEGER, false, 1, ACTION_REPEAT_MAX, NULL, "Times to press a key"}, END};

/* ---- Small things ---- */

static unsigned int ref_of(const cJSON *a, const char *name)
{
	const char *s = json_str(a, name, "e0");
	uint64_t n = 0;

	return *s == 'e' && parse_u64(s + 1, 0, UINT32_MAX, &n) ? (unsigned int)n : 0;
}

static struct action *add(struct plan *p, enum action_kind kind, unsigned int ref)
{
	struct action *a = plan_action(p);

	a->kind = kind;
	a->ref = ref;
	a->clicks = 1;
	return a;
}

/* The place of a word in a list of them; -1. */
static int word_at(const char *words, const char *word)
{
	size_t n = strlen(word);
	int i = 0;

	for (; n && *words; i++) {
		size_t k = strcspn(words, " ");

		if (k == n && strncmp(words, word, n) == 0)
			return i;
		words += k + (words[k] == ' ');
	}
	return -1;
}

/* Playwright's own name of the key that commands are given with. */
static const char *key_name(const char *name)
{
	return streq(name, "ControlOrMeta") ? "Control" : name;
}

/* ---- Plans ---- */

static int plan_navigate(const cJSON *a, struct plan *p, struct err *err)
{
	(void)err;
	add(p, ACTION_NAVIGATE, 0)->text = xstrdup(json_str(a, "url", ""));
	return 0;
}

static int plan_back(const cJSON *a, struct plan *p, struct err *err)
{
	(void)a;
	(void)err;
	add(p, ACTION_BACK, 0);
	return 0;
}

static int plan_snapshot(const cJSON *a, struct plan *p, struct err *err)
{
	(void)a;
	(void)err;
	add(p, ACTION_SNAPSHOT, 0);
	return 0;
}

static int plan_click(const cJSON *a, struct plan *p, struct err *err)
{
	static const enum action_button by_word[] = {BUTTON_LEFT, BUTTON_RIGHT, BUTTON_MIDDLE};
	struct action *c = add(p, ACTION_CLICK, ref_of(a, "ref"));
	int button = word_at(buttons, json_str(a, "button", "left"));
	const cJSON *m;

	c->button = by_word[button];
	c->clicks = json_bool(a, "doubleClick", false) ? 2 : 1;
	cJSON_ArrayForEach (m, json_get(a, "modifiers")) {
		if (keys_add(&c->modifiers, key_name(m->valuestring), err) < 0)
			return err->code;
	}
	return 0;
}

static int plan_type(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *t = add(p, ACTION_TYPE, ref_of(a, "ref"));

	(void)err;
	t->text = xstrdup(json_str(a, "text", ""));
	t->press_enter = json_bool(a, "submit", false);
	t->clear_first = !json_bool(a, "slowly", false);
	return 0;
}

/* The texts of a list as JSON. */
static char *choices_of(const cJSON *list)
{
	return cJSON_PrintUnformatted(list);
}

static char *scalar_text(const cJSON *v)
{
	return cJSON_IsString(v) ? xstrdup(v->valuestring) : cJSON_PrintUnformatted(v);
}

static void choose_one(struct action *c, const char *text)
{
	cJSON *list = cJSON_CreateArray();

	cJSON_AddItemToArray(list, cJSON_CreateString(text));
	c->kind = ACTION_CHOOSE;
	c->choices = choices_of(list);
	cJSON_Delete(list);
}

static int plan_field(const cJSON *f, struct plan *p, struct err *err)
{
	AUTOFREE char *text = scalar_text(json_get(f, "value"));
	const char *type = json_str(f, "type", "");
	struct action *a = add(p, ACTION_TYPE, ref_of(f, "ref"));

	if (streq(type, "combobox")) {
		choose_one(a, text);
	} else if (streq(type, "textbox") || streq(type, "slider")) {
		a->text = steal(&text);
		a->clear_first = true;
	} else {
		if (!streq(text, "true") && !streq(text, "false"))
			return err_set(err, -EINVAL, "value of a %s must be true or false", type);
		a->kind = ACTION_CLICK;
		a->state = streq(text, "true") ? STATE_ON : STATE_OFF;
	}
	return 0;
}

static int plan_fill(const cJSON *a, struct plan *p, struct err *err)
{
	const cJSON *f;

	cJSON_ArrayForEach (f, json_get(a, "fields")) {
		if (plan_field(f, p, err) < 0)
			return err->code;
	}
	return 0;
}

static int plan_key(const cJSON *a, struct plan *p, struct err *err)
{
	const char *key = json_str(a, "key", ""), *rest = key + strlen("ControlOrMeta");
	struct action *k = add(p, ACTION_KEY, 0);
	AUTOFREE char *text =
		starts_with(key, "ControlOrMeta+") ? xasprintf("Control%s", rest) : xstrdup(key);

	return keys_chord(text, &k->keys, err);
}

static int plan_select(const cJSON *a, struct plan *p, struct err *err)
{
	(void)err;
	add(p, ACTION_CHOOSE, ref_of(a, "ref"))->choices = choices_of(json_get(a, "values"));
	return 0;
}

static int plan_hover(const cJSON *a, struct plan *p, struct err *err)
{
	(void)err;
	add(p, ACTION_MOVE, ref_of(a, "ref"));
	return 0;
}

static int plan_drag(const cJSON *a, struct plan *p, struct err *err)
{
	(void)err;
	add(p, ACTION_DRAG, ref_of(a, "startRef"))->ref_to = ref_of(a, "endRef");
	return 0;
}

static int plan_upload(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *f = add(p, ACTION_FILES, 0);
	const cJSON *path;
	struct buf b;

	if (!json_get(a, "paths"))
		return 0;
	buf_init(&b, 65536);
	cJSON_ArrayForEach (path, json_get(a, "paths"))
		buf_addf(&b, "%s%s", b.len ? "\n" : "", path->valuestring);
	f->text = xstrdup(buf_str(&b));
	buf_done(&b);
	(void)err;
	return 0;
}

static int plan_dialog(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *d = add(p, ACTION_DIALOG, 0);
	const char *text = json_str(a, "promptText", NULL);

	(void)err;
	d->accept = json_bool(a, "accept", false);
	d->text = text ? xstrdup(text) : NULL;
	return 0;
}

static int plan_shot(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *s = add(p, ACTION_SCREENSHOT, ref_of(a, "ref"));

	s->jpeg = streq(json_str(a, "type", "png"), "jpeg");
	s->full_page = json_bool(a, "fullPage", false);
	if (s->ref && s->full_page)
		return err_set(err, -EINVAL, "fullPage and ref do not go together");
	return 0;
}

static int plan_tabs(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *t = add(p, ACTION_TABS, 0);

	t->text = xstrdup(json_str(a, "action", ""));
	t->index = (int)json_int(a, "index", -1);
	if (t->index < 0 && streq(t->text, "select"))
		return err_set(err, -EINVAL, "index is missing");
	return 0;
}

static int plan_close(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *t = add(p, ACTION_TABS, 0);

	(void)a;
	(void)err;
	t->text = xstrdup("close");
	t->index = -1;
	return 0;
}

static int plan_wait(const cJSON *a, struct plan *p, struct err *err)
{
	static const char *const names[] = {"textGone", "text"};
	const cJSON *time = json_get(a, "time");

	if (time)
		add(p, ACTION_WAIT, 0)->ms = (int64_t)(time->valuedouble * 1000);
	for (int i = 0; i < 2; i++) {
		const char *text = json_str(a, names[i], NULL);
		struct action *w = text ? add(p, ACTION_AWAIT, 0) : NULL;

		if (!w)
			continue;
		w->gone = i == 0;
		w->text = xstrdup(text);
	}
	return p->n_actions ? 0 : err_set(err, -EINVAL, "time, text or textGone is wanted");
}

static int plan_evaluate(const cJSON *a, struct plan *p, struct err *err)
{
	(void)err;
	add(p, ACTION_EVALUATE, ref_of(a, "ref"))->text = xstrdup(json_str(a, "function", ""));
	return 0;
}

static int plan_resize(const cJSON *a, struct plan *p, struct err *err)
{
	struct action *r = add(p, ACTION_RESIZE, 0);

	(void)err;
	r->dx = (int)json_int(a, "width", 0);
	r->dy = (int)json_int(a, "height", 0);
	return 0;
}

static int plan_computer(const cJSON *a, struct plan *p, struct err *err)
{
	return plan_read(p, a, "anthropic", NULL, err);
}

/* ---- The table ---- */

static const struct tool tools[] = {
	{"browser_navigate", "Open an address", "Open an address", a_navigate, .destroys = true,
		plan_navigate, true},
	{"browser_navigate_back", "Go back", "Go back to the page before", no_arguments,
		.destroys = true, plan_back, true},
	{"browser_snapshot", "Read the page",
		"Tell what is on the page as text, with refs for the other tools; better than a "
		"screenshot to act on",
		no_arguments, .reads = true, .plan = plan_snapshot},
	{"browser_click", "Click", "Click an element", a_click, .destroys = true, plan_click, true},
	{"browser_type", "Type", "Type text into a field", a_type, .destroys = true, plan_type,
		true},
	{"browser_fill_form", "Fill a form", "Fill several fields", a_fill, .destroys = true,
		plan_fill, true},
	{"browser_press_key", "Press a key", "Press a key", a_key, .destroys = true, plan_key,
		true},
	{"browser_select_option", "Choose from a list", "Choose options of a list", a_select,
		.destroys = true, plan_select, true},
	{"browser_hover", "Point at", "Move the mouse over an element", a_hover, .destroys = true,
		plan_hover, true},
	{"browser_drag", "Drag", "Drag one element to another", a_drag, .destroys = true, plan_drag,
		true},
	{"browser_file_upload", "Upload files", "Choose files in the file chooser that is open",
		a_upload, .destroys = true, plan_upload, true},
	{"browser_handle_dialog", "Answer a dialog", "Answer the dialog that is open", a_dialog,
		.destroys = true, plan_dialog, true},
	{"browser_take_screenshot", "Take a screenshot",
		"Take a picture of the page. To act on elements use browser_snapshot", a_shot,
		.reads = true, .plan = plan_shot},
	{"browser_tabs", "Tabs", "List, open, close or select tabs", a_tabs, .destroys = true,
		.plan = plan_tabs},
	{"browser_wait_for", "Wait", "Wait for text to come or go, or for some time", a_wait,
		.reads = true, .plan = plan_wait, .looks_after = true},
	{"browser_evaluate", "Run JavaScript",
		"Run a JavaScript function on the page or an element", a_evaluate, .destroys = true,
		plan_evaluate},
	{"browser_resize", "Resize", "Set the size of the view", a_resize, .reads = true,
		.plan = plan_resize},
	{"browser_close", "Close the page", "Close the tab in front", no_arguments,
		.destroys = true, plan_close},
	{"computer", "Mouse, keyboard and screen",
		"Use the screen by pictures and coordinates; begin with action=screenshot",
		a_computer, .destroys = true, plan_computer},
};

static const struct tool *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (streq(tools[i].name, name))
			return &tools[i];
	return NULL;
}

bool tools_has(const char *name)
{
	return find(name) != NULL;
}

/* ---- Schemas ---- */

static cJSON *schema_of_words(const char *words)
{
	cJSON *o = cJSON_CreateObject(), *list;

	cJSON_AddStringToObject(o, "type", "string");
	list = cJSON_AddArrayToObject(o, "enum");
	while (*words) {
		size_t n = strcspn(words, " ");
		AUTOFREE char *one = xasprintf("%.*s", (int)n, words);

		cJSON_AddItemToArray(list, cJSON_CreateString(one));
		words += n + (words[n] == ' ');
	}
	return o;
}

cJSON *tools_schema(const char *type)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "type", type);
	return o;
}

static cJSON *schema_of_list(cJSON *items, double min, double max)
{
	cJSON *o = tools_schema("array");

	cJSON_AddItemToObject(o, "items", items);
	if (min > 0)
		cJSON_AddNumberToObject(o, "minItems", min);
	if (max > 0)
		cJSON_AddNumberToObject(o, "maxItems", max);
	return o;
}

static cJSON *schema_of_number(const char *type, const struct argument *a)
{
	cJSON *o = tools_schema(type);

	cJSON_AddNumberToObject(o, "minimum", a->min);
	cJSON_AddNumberToObject(o, "maximum", a->max);
	return o;
}

static cJSON *schema_of(const struct argument *list);

static cJSON *schema_of_argument(const struct argument *a)
{
	switch (a->kind) {
	case ARG_NUMBER:
		return schema_of_number("number", a);
	case ARG_INTEGER:
		return schema_of_number("integer", a);
	case ARG_BOOL:
		return tools_schema("boolean");
	case ARG_WORD:
		return schema_of_words(a->words);
	case ARG_WORDS:
		return schema_of_list(schema_of_words(a->words), 0, 0);
	case ARG_TEXTS:
		return schema_of_list(tools_schema("string"), a->min, a->max);
	case ARG_FIELDS:
		return schema_of_list(schema_of(a_field), a->min, a->max);
	case ARG_POINT:
		return schema_of_list(tools_schema("integer"), a->min, a->max);
	case ARG_TEXT:
	case ARG_REF:
	case ARG_SCALAR:
		break;
	}
	return tools_schema("string");
}

static cJSON *schema_of(const struct argument *list)
{
	cJSON *o = tools_schema("object"), *members = cJSON_AddObjectToObject(o, "properties"),
	      *required = cJSON_CreateArray();

	for (; list->name; list++) {
		cJSON *one = schema_of_argument(list);

		cJSON_AddStringToObject(one, "description", list->about);
		cJSON_AddItemToObject(members, list->name, one);
		if (list->required)
			cJSON_AddItemToArray(required, cJSON_CreateString(list->name));
	}
	if (cJSON_GetArraySize(required))
		cJSON_AddItemToObject(o, "required", required);
	else
		cJSON_Delete(required);
	cJSON_AddBoolToObject(o, "additionalProperties", false);
	return o;
}

cJSON *tools_describe(const struct tool_words *w, cJSON *schema)
{
	cJSON *o = cJSON_CreateObject(), *notes;

	cJSON_AddStringToObject(o, "name", w->name);
	cJSON_AddStringToObject(o, "title", w->title);
	cJSON_AddStringToObject(o, "description", w->about);
	cJSON_AddItemToObject(o, "inputSchema", schema);
	notes = cJSON_AddObjectToObject(o, "annotations");
	cJSON_AddStringToObject(notes, "title", w->title);
	cJSON_AddBoolToObject(notes, "readOnlyHint", w->reads);
	cJSON_AddBoolToObject(notes, "destructiveHint", w->destroys);
	cJSON_AddBoolToObject(notes, "openWorldHint", w->outside);
	return o;
}

static cJSON *describe(const struct tool *t)
{
	const struct tool_words words = {.name = t->name,
		.title = t->title,
		.about = t->about,
		.reads = t->reads,
		.destroys = t->destroys,
		.outside = true};

	return tools_describe(&words, schema_of(t->arguments));
}

cJSON *tools_list(void)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		cJSON_AddItemToArray(list, describe(&tools[i]));
	return list;
}

/* ---- Arguments ---- */

static int wrong(struct err *err, const struct argument *a, const char *wanted)
{
	return err_set(err, -EINVAL, "%s must be %s", a->name, wanted);
}

static int check_texts(const cJSON *v, const struct argument *a, struct err *err)
{
	const cJSON *one;
	int n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : -1;

	if (n < (int)a->min || (a->max > 0 && n > (int)a->max))
		return err_set(err, -EINVAL, "%s must be a list of %d to %d texts", a->name,
			(int)a->min, (int)a->max);
	cJSON_ArrayForEach (one, v) {
		if (!cJSON_IsString(one) || (a->words && word_at(a->words, one->valuestring) < 0))
			return wrong(err, a, a->words ? a->words : "a list of texts");
	}
	return 0;
}

static int check_all(const cJSON *args, const struct argument *list, struct err *err);

static int check_fields(const cJSON *v, const struct argument *a, struct err *err)
{
	const cJSON *one;
	int n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 0;

	if (n < (int)a->min || n > (int)a->max)
		return err_set(err, -EINVAL, "%s must be a list of %d to %d fields", a->name,
			(int)a->min, (int)a->max);
	cJSON_ArrayForEach (one, v) {
		if (!cJSON_IsObject(one))
			return wrong(err, a, "a list of objects");
		if (check_all(one, a_field, err) < 0)
			return err_context(err, "%s", a->name);
	}
	return 0;
}

static int check_number(const cJSON *v, const struct argument *a, struct err *err)
{
	double d = cJSON_IsNumber(v) ? v->valuedouble : NAN;

	if (isnan(d) || d < a->min || d > a->max || (a->kind == ARG_INTEGER && d != floor(d)))
		return err_set(err, -EINVAL, "%s must be a%s number from %g to %g", a->name,
			a->kind == ARG_INTEGER ? " whole" : "", a->min, a->max);
	return 0;
}

static int check_text(const cJSON *v, const struct argument *a, struct err *err)
{
	size_t n = cJSON_IsString(v) ? strlen(v->valuestring) : 0;

	if (!cJSON_IsString(v))
		return wrong(err, a, "a text");
	if (n < (size_t)a->min || n > (size_t)a->max)
		return err_set(err, -EINVAL, "%s has %zu bytes; it may have %g to %g", a->name, n,
			a->min, a->max);
	return 0;
}

static int check(const cJSON *v, const struct argument *a, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);
	uint64_t n;

	switch (a->kind) {
	case ARG_TEXT:
		return check_text(v, a, err);
	case ARG_REF:
		if (!s || *s != 'e' || !parse_u64(s + 1, 1, UINT32_MAX, &n))
			return wrong(err, a, "a ref of the snapshot, as \"e12\"");
		return 0;
	case ARG_NUMBER:
	case ARG_INTEGER:
		return check_number(v, a, err);
	case ARG_BOOL:
		return cJSON_IsBool(v) ? 0 : wrong(err, a, "true or false");
	case ARG_WORD:
		return s && word_at(a->words, s) >= 0
			       ? 0
			       : err_set(err, -EINVAL, "%s must be one of: %s", a->name, a->words);
	case ARG_WORDS:
	case ARG_TEXTS:
		return check_texts(v, a, err);
	case ARG_FIELDS:
		return check_fields(v, a, err);
	case ARG_SCALAR:
		if (cJSON_IsBool(v) || cJSON_IsNumber(v))
			return 0;
		return check_text(v, a, err);
	case ARG_POINT:
		break;
	}
	return cJSON_IsArray(v) ? 0 : wrong(err, a, "a list of whole numbers");
}

static bool knows(const struct argument *list, const char *name)
{
	for (; list->name; list++)
		if (name && streq(list->name, name))
			return true;
	return false;
}

static int check_all(const cJSON *args, const struct argument *list, struct err *err)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, args) {
		if (!knows(list, one->string))
			return err_set(err, -EINVAL, "\"%.40s\" is no argument of it", one->string);
	}
	for (; list->name; list++) {
		const cJSON *v = json_get(args, list->name);

		if (!v && list->required)
			return err_set(err, -EINVAL, "%s is missing", list->name);
		if (v && check(v, list, err) < 0)
			return err->code;
	}
	return 0;
}

int tools_plan(const char *name, const cJSON *arguments, struct plan *p, struct err *err)
{
	const struct tool *t = find(name);
	struct action *look;

	if (check_all(arguments, t->arguments, err) < 0)
		return err->code;
	if (t->plan(arguments, p, err) < 0)
		return err->code;
	if (!t->looks_after)
		return 0;
	look = add(p, ACTION_SNAPSHOT, 0);
	look->after = true;
	return 0;
}

/* ---- Results ---- */

static void add_text(cJSON *content, const char *text)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "type", "text");
	cJSON_AddStringToObject(o, "text", text);
	cJSON_AddItemToArray(content, o);
}

static void add_image(cJSON *content, const char *data, bool jpeg)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "type", "image");
	cJSON_AddItemToObject(o, "data", cJSON_CreateStringReference(data));
	cJSON_AddStringToObject(o, "mimeType", jpeg ? "image/jpeg" : "image/png");
	cJSON_AddItemToArray(content, o);
}

static void add_page(struct buf *b, const struct action_result *last)
{
	if (!last || !last->url)
		return;
	buf_addf(b, "### Page\n- Page URL: %s\n- Page Title: %s\n", last->url,
		last->title ? last->title : "");
	if (last->dialog)
		buf_addf(b, "### Modal state\n- [%s]\n", last->dialog);
}

static void add_snapshot(struct buf *b, const struct action *a, const struct action_result *r)
{
	if (r->text && *r->text)
		buf_addf(b, "### Snapshot\n```yaml\n%s```\n", r->text);
	else if (a->after && !r->dialog)
		buf_add_str(b, "### Snapshot\nAs it was before.\n");
}

/* Words of one action: what it returned, why it failed, what happened besides. */
static void add_words(struct buf *b, const struct action *a, const struct action_result *r)
{
	if (r->text && r->failed)
		buf_addf(b, "### Error\n%s\n", r->text);
	else if (r->text && *r->text && a->kind != ACTION_SNAPSHOT)
		buf_addf(b, "### Result\n%s\n", r->text);
	if (r->notes)
		buf_addf(b, "### Events\n%s\n", r->notes);
}

static bool add_results(
	struct buf *b, cJSON *content, const struct plan *p, const struct action_result *results)
{
	const struct action_result *last = NULL;
	bool failed = false;

	for (size_t i = 0; i < p->n_actions; i++) {
		if (!results[i].done)
			continue;
		last = &results[i];
		failed |= last->failed;
		add_words(b, &p->actions[i], last);
		if (last->image)
			add_image(content, last->image, p->actions[i].jpeg);
	}
	add_page(b, last);
	for (size_t i = 0; i < p->n_actions; i++)
		if (results[i].done && !results[i].failed && p->actions[i].kind == ACTION_SNAPSHOT)
			add_snapshot(b, &p->actions[i], &results[i]);
	return failed;
}

static bool add_computer(
	struct buf *b, cJSON *content, const struct plan *p, const struct action_result *results)
{
	bool failed = false;

	for (size_t i = 0; i < p->n_actions; i++) {
		const struct action_result *r = &results[i];
		AUTOFREE char *text = NULL;

		if (!r->done)
			continue;
		text = plan_told(p, i, results);
		failed |= r->failed;
		if (*text)
			buf_addf(b, "%s%s", b->len ? "\n" : "", text);
		if (r->image)
			add_image(content, r->image, false);
	}
	return failed;
}

cJSON *tools_result(const char *name, const struct plan *p, const struct action_result *results)
{
	cJSON *o = cJSON_CreateObject(), *content = cJSON_AddArrayToObject(o, "content"),
	      *images = cJSON_CreateArray(), *one;
	struct buf b;
	bool failed;

	buf_init(&b, RESULT_MAX);
	failed = streq(name, "computer") ? add_computer(&b, images, p, results)
					 : add_results(&b, images, p, results);
	if (b.len)
		add_text(content, buf_str(&b));
	while ((one = cJSON_DetachItemFromArray(images, 0)))
		cJSON_AddItemToArray(content, one);
	cJSON_AddBoolToObject(o, "isError", failed);
	cJSON_Delete(images);
	buf_done(&b);
	return o;
}

cJSON *tools_text(const char *text, bool failed)
{
	cJSON *o = cJSON_CreateObject();

	add_text(cJSON_AddArrayToObject(o, "content"), text);
	cJSON_AddBoolToObject(o, "isError", failed);
	return o;
}
