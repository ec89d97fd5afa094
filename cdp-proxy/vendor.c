/* What all vendors' tables share: rows to actions, plans, and which vendor a body is of. */
#include "vendor.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "bytes.h"
#include "json.h"
#include "problem.h"
#include "util.h"

static const struct vendor *const vendors[] = {&vendor_anthropic, &vendor_openai, &vendor_gemini};

const char plan_skipped[] = "Not executed: an earlier computer action in this turn failed.";

/* ---- Members ---- */

const cJSON *plan_get(const cJSON *o, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);

	return v && !cJSON_IsNull(v) ? v : NULL;
}

const char *plan_text(const cJSON *o, const char *name)
{
	return json_str(o, name, NULL);
}

static int wrong(struct err *err, const struct vendor_field *f, const char *wanted)
{
	return err_set(err, -EINVAL, "%s must be %s", f->name, wanted);
}

static int read_number(
	const cJSON *v, const struct vendor_field *f, bool whole, double *ret, struct err *err)
{
	double d = cJSON_IsNumber(v) ? v->valuedouble : NAN;

	if (!isfinite(d))
		return wrong(err, f, whole ? "a whole number" : "a number");
	if (d < (double)f->min || d > (double)f->max)
		return err_set(err, -ERANGE, "%s is %.15g; it must be from %lld to %lld", f->name,
			d, (long long)f->min, (long long)f->max);
	if (whole && d != (double)(int64_t)d)
		return wrong(err, f, "a whole number");
	*ret = d;
	return 0;
}

static int read_int(const cJSON *v, const struct vendor_field *f, int *ret, struct err *err)
{
	double d = 0;
	int r = read_number(v, f, true, &d, err);

	*ret = (int)d;
	return r;
}

/* n whole numbers. */
static int read_ints(const cJSON *v, const struct vendor_field *f, int *ret, int n,
	const char *wanted, struct err *err)
{
	struct vendor_field one = *f;
	char name[48];

	if (!cJSON_IsArray(v) || cJSON_GetArraySize(v) != n)
		return wrong(err, f, wanted);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s[%d]", f->name, i);
		one.name = name;
		if (read_int(cJSON_GetArrayItem(v, i), &one, &ret[i], err) < 0)
			return err->code;
	}
	return 0;
}

static int read_point(
	const cJSON *v, const struct vendor_field *f, struct point *ret, struct err *err)
{
	int xy[2] = {0};
	int r = read_ints(v, f, xy, 2, "[x, y], two whole numbers", err);

	*ret = (struct point){xy[0], xy[1]};
	return r;
}

static int read_path(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	int n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 0;
	struct vendor_field one = *f;
	const cJSON *p;
	char name[48];

	if (n < 2 || n > ACTION_PATH_MAX)
		return err_set(err, -EINVAL, "%s must be a list of 2 to %d points {x, y}", f->name,
			ACTION_PATH_MAX);
	a->path = xcalloc((size_t)n, sizeof(*a->path));
	one.name = name;
	cJSON_ArrayForEach (p, v) {
		struct point *to = &a->path[a->n_path];

		snprintf(name, sizeof(name), "%s[%zu].x", f->name, a->n_path);
		if (read_int(plan_get(p, "x"), &one, &to->x, err) < 0)
			return err->code;
		snprintf(name, sizeof(name), "%s[%zu].y", f->name, a->n_path);
		if (read_int(plan_get(p, "y"), &one, &to->y, err) < 0)
			return err->code;
		a->n_path++;
	}
	return 0;
}

static int read_region(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char rule[] = "[x0, y0, x1, y1], four whole numbers with x0 < x1 and y0 < y1";

	if (read_ints(v, f, a->region, 4, rule, err) < 0)
		return err->code;
	if (a->region[0] >= a->region[2] || a->region[1] >= a->region[3])
		return wrong(err, f, rule);
	return 0;
}

static int read_text(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);
	size_t n = s ? strlen(s) : 0;

	if (!s)
		return wrong(err, f, "a string");
	if ((int64_t)n < f->min || (int64_t)n > f->max)
		return err_set(err, -E2BIG, "%s has %zu bytes; it may have %lld to %lld", f->name,
			n, (long long)f->min, (long long)f->max);
	free(a->text);
	a->text = xstrdup(s);
	return 0;
}

static int read_chord(
	const cJSON *v, const struct vendor_field *f, struct chord *ret, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);

	if (!s)
		return wrong(err, f, "a string with keys, as \"ctrl+s\"");
	return keys_chord(s, ret, err) < 0 ? err_context(err, "%s", f->name) : 0;
}

static int read_keys(
	const cJSON *v, const struct vendor_field *f, struct chord *ret, struct err *err)
{
	const cJSON *k;

	if (!cJSON_IsArray(v))
		return wrong(err, f, "a list of keys");
	cJSON_ArrayForEach (k, v) {
		if (!cJSON_IsString(k))
			return wrong(err, f, "a list of keys");
		if (keys_add(ret, k->valuestring, err) < 0)
			return err_context(err, "%s", f->name);
	}
	return f->required && !ret->n ? wrong(err, f, "a list of one key or more") : 0;
}

/* One word of a list, in any case. */
static int read_word(const cJSON *v, const struct vendor_field *f, const char *const *words,
	const char *wanted, unsigned int *ret, struct err *err)
{
	const char *s = cJSON_GetStringValue(v);

	for (unsigned int i = 0; s && words[i]; i++) {
		if (strcasecmp(words[i], s) == 0) {
			*ret = i;
			return 0;
		}
	}
	return wrong(err, f, wanted);
}

static int read_button(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char *const words[] = {
		"left", "right", "wheel", "back", "forward", "middle", NULL};
	unsigned int i = 0;
	int r = read_word(v, f, words, "left, right, wheel, back or forward", &i, err);

	a->button = i == 5 ? BUTTON_MIDDLE : (enum action_button)i;
	return r;
}

static int read_direction(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	static const char *const words[] = {"up", "down", "left", "right", NULL};
	unsigned int i = 0;
	int r = read_word(v, f, words, "up, down, left or right", &i, err);

	a->direction = (enum action_direction)(i + SCROLL_UP);
	return r;
}

static int read_bool(const cJSON *v, const struct vendor_field *f, bool *ret, struct err *err)
{
	*ret = cJSON_IsTrue(v);
	return cJSON_IsBool(v) ? 0 : wrong(err, f, "true or false");
}

static int read_seconds(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	double s = 0;
	int r = read_number(v, f, f->type == FIELD_WHOLE_SECONDS, &s, err);

	a->ms = (int64_t)(s * 1000);
	return r;
}

static int read_field(
	const cJSON *v, const struct vendor_field *f, struct action *a, struct err *err)
{
	switch (f->type) {
	case FIELD_AT:
		a->has_at = true;
		return read_point(v, f, &a->at, err);
	case FIELD_FROM:
		a->has_from = true;
		return read_point(v, f, &a->from, err);
	case FIELD_AT_X:
		a->has_at = true;
		return read_int(v, f, &a->at.x, err);
	case FIELD_AT_Y:
		a->has_at = true;
		return read_int(v, f, &a->at.y, err);
	case FIELD_FROM_X:
		a->has_from = true;
		return read_int(v, f, &a->from.x, err);
	case FIELD_FROM_Y:
		a->has_from = true;
		return read_int(v, f, &a->from.y, err);
	case FIELD_PATH:
		return read_path(v, f, a, err);
	case FIELD_REGION:
		return read_region(v, f, a, err);
	case FIELD_TEXT:
	case FIELD_URL:
		return read_text(v, f, a, err);
	case FIELD_CHORD:
		return read_chord(v, f, &a->keys, err);
	case FIELD_KEYS:
		return read_keys(v, f, &a->keys, err);
	case FIELD_MODIFIERS:
		if (read_chord(v, f, &a->modifiers, err) < 0 ||
			keys_only_modifiers(&a->modifiers, err) < 0)
			return err->code;
		return 0;
	case FIELD_HELD:
		return read_keys(v, f, &a->modifiers, err);
	case FIELD_BUTTON:
		return read_button(v, f, a, err);
	case FIELD_DIRECTION:
		return read_direction(v, f, a, err);
	case FIELD_AMOUNT:
		return read_int(v, f, &a->amount, err);
	case FIELD_DX:
		return read_int(v, f, &a->dx, err);
	case FIELD_DY:
		return read_int(v, f, &a->dy, err);
	case FIELD_SECONDS:
	case FIELD_WHOLE_SECONDS:
		return read_seconds(v, f, a, err);
	case FIELD_REPEAT:
		return read_int(v, f, &a->repeat, err);
	case FIELD_CLEAR:
		return read_bool(v, f, &a->clear_first, err);
	case FIELD_ENTER:
		return read_bool(v, f, &a->press_enter, err);
	case FIELD_ABSENT:
		return err_set(err, -EINVAL, "%s is no member of it in this version", f->name);
	case FIELD_END:
		break;
	}
	return 0;
}

/* For {text}, {n} and {dir} of the row's answer. */
static void note_shown(struct action *a, const cJSON *v, const struct vendor_field *f)
{
	if (f->type == FIELD_CHORD)
		snprintf(a->shown, sizeof(a->shown), "%s", cJSON_GetStringValue(v));
}

static int read_fields(
	const struct vendor_row *row, const cJSON *args, struct action *a, struct err *err)
{
	for (const struct vendor_field *f = row->fields; f && f->type != FIELD_END; f++) {
		const cJSON *v = plan_get(args, f->name);

		if (!v && f->required)
			return err_set(err, -EINVAL, "%s is missing", f->name);
		if (!v)
			continue;
		if (read_field(v, f, a, err) < 0)
			return err->code;
		note_shown(a, v, f);
	}
	return 0;
}

/* ---- Plans ---- */

struct action *plan_action(struct plan *p)
{
	if (p->n_actions == p->room_actions) {
		p->room_actions = p->room_actions ? 2 * p->room_actions : 8;
		p->actions = xrealloc(p->actions, p->room_actions * sizeof(*p->actions));
	}
	p->actions[p->n_actions] = (struct action){.repeat = 1};
	if (p->n_calls)
		p->calls[p->n_calls - 1].n++;
	return &p->actions[p->n_actions++];
}

struct plan_call *plan_call(struct plan *p, const char *id)
{
	if (p->n_calls == p->room_calls) {
		p->room_calls = p->room_calls ? 2 * p->room_calls : 4;
		p->calls = xrealloc(p->calls, p->room_calls * sizeof(*p->calls));
	}
	p->calls[p->n_calls] = (struct plan_call){.first = p->n_actions};
	if (id)
		p->calls[p->n_calls].id = xstrdup(id);
	return &p->calls[p->n_calls++];
}

static void action_done(struct action *a)
{
	free(steal(&a->text));
	free(steal(&a->path));
	free(steal(&a->choices));
	a->n_path = 0;
}

static struct action *make_bad(struct action *a, const char *why)
{
	bool always = a->always;

	action_done(a);
	*a = (struct action){.kind = ACTION_BAD, .always = always, .text = xstrdup(why)};
	return a;
}

struct action *plan_add_bad(struct plan *p, const char *fmt, ...)
{
	char why[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	p->n_asked++;
	return make_bad(plan_action(p), why);
}

struct action *plan_add_picture(struct plan *p, bool always)
{
	struct action *a = plan_action(p);

	a->kind = ACTION_SCREENSHOT;
	a->after = true;
	a->always = always;
	a->answer = "";
	return a;
}

const struct vendor_row *plan_row(const struct vendor *v, const char *name, unsigned int versions)
{
	for (size_t i = 0; name && i < v->n_rows; i++)
		if (streq(v->rows[i].name, name) && v->rows[i].versions & versions)
			return &v->rows[i];
	return NULL;
}

/* The names of all rows of these versions, each once. */
static void list_names(const struct vendor *v, unsigned int versions, struct buf *b)
{
	for (size_t i = 0; i < v->n_rows; i++) {
		const struct vendor_row *row = &v->rows[i];

		if (row->versions & versions && plan_row(v, row->name, versions) == row)
			buf_addf(b, "%s%s", b->len ? ", " : "", row->name);
	}
}

static struct action *add_unknown(struct plan *p, const char *name, unsigned int versions)
{
	struct action *a;
	struct buf names;

	buf_init(&names, 4096);
	list_names(p->vendor, versions, &names);
	a = plan_add_bad(
		p, "\"%.40s\" is no action here; there are %s", name ? name : "", buf_str(&names));
	buf_done(&names);
	return a;
}

struct action *plan_add(struct plan *p, const char *name, const cJSON *args, unsigned int versions)
{
	const struct vendor_row *row = plan_row(p->vendor, name, versions);
	struct action *a;
	struct err err;

	if (!row)
		return add_unknown(p, name, versions);
	p->n_asked++;
	a = plan_action(p);
	a->kind = row->kind;
	a->button = row->button;
	a->clicks = row->clicks;
	a->amount = row->amount;
	a->ms = row->ms;
	a->clear_first = row->clear_first;
	a->answer = row->answer;
	if (row->text)
		a->text = xstrdup(row->text);
	if (args && !cJSON_IsObject(args))
		return make_bad(a, "the action's members must be an object");
	if (read_fields(row, args, a, &err) < 0) {
		err_context(&err, "%s", name);
		return make_bad(a, err.msg);
	}
	return a;
}

void plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->n_actions; i++)
		action_done(&p->actions[i]);
	for (size_t i = 0; i < p->n_calls; i++) {
		free(p->calls[i].id);
		free(p->calls[i].name);
		cJSON_Delete(p->calls[i].safety);
	}
	free(p->actions);
	free(p->calls);
	*p = (struct plan){0};
}

/* ---- Which vendor ---- */

static int find_version(struct plan *p, const char *version, struct err *err)
{
	for (unsigned int i = 0; version && p->vendor->versions[i]; i++) {
		if (streq(p->vendor->versions[i], version)) {
			p->versions = 1u << i;
			return 0;
		}
	}
	return version ? problem(err, 400, "invalid-request", "'version': %s has no \"%.60s\"",
				 p->vendor->name, version)
		       : 0;
}

/* By the first element of a list that somebody knows, or the object itself. */
static const struct vendor *recognise(const cJSON *body)
{
	const cJSON *item;

	for (size_t i = 0; cJSON_IsObject(body) && i < ARRAY_SIZE(vendors); i++)
		if (vendors[i]->knows(body))
			return vendors[i];
	if (cJSON_IsArray(body)) {
		cJSON_ArrayForEach (item, body) {
			const struct vendor *v = cJSON_IsObject(item) ? recognise(item) : NULL;

			if (v)
				return v;
		}
	}
	return NULL;
}

static int find_vendor(
	struct plan *p, const cJSON *body, const char *name, const char *version, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++) {
		if (name && streq(name, vendors[i]->name))
			p->vendor = vendors[i];
		for (size_t k = 0; !name && version && vendors[i]->versions[k]; k++)
			if (streq(version, vendors[i]->versions[k]))
				p->vendor = vendors[i];
	}
	if (!p->vendor && name)
		return problem(err, 400, "invalid-request",
			"'vendor' must be anthropic, openai or gemini");
	if (!p->vendor && version)
		return problem(
			err, 400, "invalid-request", "'version': nobody has \"%.60s\"", version);
	if (!p->vendor)
		p->vendor = recognise(body);
	if (p->vendor)
		return 0;
	problem(err, 400, "invalid-request", "the body holds no computer action of a known form");
	return err_hint(err,
		"send a tool_use block, a computer_call, a functionCall, one action or a list");
}

/* Too many: none is executed, and each call is told. */
static void refuse_all(struct plan *p)
{
	for (size_t i = 0; i < p->n_actions; i++) {
		if (!p->actions[i].always)
			make_bad(&p->actions[i], "");
		free(p->actions[i].text);
		p->actions[i].text = p->actions[i].kind == ACTION_BAD
					     ? xasprintf("Not executed: one request may have %d "
							 "actions, and this has "
							 "%zu. Nothing was done.",
						       PLAN_ACTIONS_MAX, p->n_asked)
					     : NULL;
	}
}

int plan_read(
	struct plan *p, const cJSON *body, const char *vendor, const char *version, struct err *err)
{
	if (find_vendor(p, body, vendor, version, err) < 0 || find_version(p, version, err) < 0)
		return err->code;
	if (p->vendor->read(p, body, err) < 0)
		return err->code;
	if (!p->n_calls)
		return problem(err, 400, "invalid-request", "the body holds no computer action");
	if (p->n_calls > PLAN_ACTIONS_MAX && !p->vendor->text_fails)
		return problem(
			err, 413, "too-large", "one request may have %d calls", PLAN_ACTIONS_MAX);
	if (p->n_asked > PLAN_ACTIONS_MAX)
		refuse_all(p);
	return 0;
}

/* ---- Answers ---- */

cJSON *plan_answer(const struct plan *p, const struct action_result *results)
{
	return p->vendor->answer(p, results);
}

/* {text}, {n} (seconds) and {dir} of a row's answer. */
static char *fill_in(const struct action *a)
{
	static const char *const directions[] = {"", "up", "down", "left", "right"};
	const char *at = a->answer ? a->answer : "";
	struct buf b;
	char *ret;

	buf_init(&b, 1024);
	while (*at) {
		if (starts_with(at, "{text}"))
			buf_add_str(&b, a->shown);
		else if (starts_with(at, "{n}"))
			buf_addf(&b, "%.6g", (double)a->ms / 1000);
		else if (starts_with(at, "{dir}"))
			buf_add_str(&b, directions[a->direction]);
		else
			buf_add_u8(&b, (uint8_t)*at);
		at += *at == '{' ? strcspn(at, "}") + 1 : 1;
	}
	ret = xstrdup(buf_str(&b));
	buf_done(&b);
	return ret;
}

char *plan_told(const struct plan *p, size_t i, const struct action_result *results)
{
	const struct action_result *r = &results[i];
	AUTOFREE char *text = NULL;

	if (!r->done)
		text = xstrdup(plan_skipped);
	else
		text = r->text ? xstrdup(r->text) : fill_in(&p->actions[i]);
	if (!r->notes)
		return steal(&text);
	return *text ? xasprintf("%s\n%s", text, r->notes) : xstrdup(r->notes);
}

cJSON *plan_answers(const struct plan *p, const struct action_result *results, plan_answer_fn *fn,
	const char *member)
{
	cJSON *list, *message;

	if (p->shape == PLAN_ONE)
		return fn(p, &p->calls[0], results);
	list = cJSON_CreateArray();
	for (size_t i = 0; i < p->n_calls; i++)
		cJSON_AddItemToArray(list, fn(p, &p->calls[i], results));
	if (p->shape == PLAN_LIST)
		return list;
	message = cJSON_CreateObject();
	cJSON_AddStringToObject(message, "role", "user");
	cJSON_AddItemToObject(message, member, list);
	return message;
}

char *plan_remarks(const struct plan *p, const struct action_result *results)
{
	struct buf b;
	char *ret = NULL;

	buf_init(&b, 65536);
	for (size_t i = 0; i < p->n_actions; i++) {
		const struct action_result *r = &results[i];

		if (r->failed && r->text)
			buf_addf(&b, "%s%s", b.len ? "\n" : "", r->text);
		if (r->notes)
			buf_addf(&b, "%s%s", b.len ? "\n" : "", r->notes);
	}
	if (b.len)
		ret = xstrdup(buf_str(&b));
	buf_done(&b);
	return ret;
}
