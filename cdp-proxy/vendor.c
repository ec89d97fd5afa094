/* What all vendors' tables share: rows to actions, plans, and which vendor a body is of. */
#include "vendor.h"

#include <errno.h>
#include <string.h>

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
	free(steal(&a->tab));
	a->n_path = 0;
}

struct action *plan_refuse(struct action *a, const char *why)
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
	return plan_refuse(plan_action(p), why);
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

struct action *plan_add_report(struct plan *p, bool quiet, bool opened)
{
	struct action *a = plan_action(p);

	a->kind = ACTION_REPORT;
	a->browser = true;
	a->quiet = quiet;
	a->opened = opened;
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
		return plan_refuse(a, "the action's members must be an object");
	if (fields_read(row, args, a, &err) < 0) {
		err_context(&err, "%s", name);
		return plan_refuse(a, err.msg);
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
			plan_refuse(&p->actions[i], "");
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

/* {text}, {ref}, {n} (seconds) and {dir} of a row's answer. */
static char *fill_in(const struct action *a)
{
	static const char *const directions[] = {"", "up", "down", "left", "right"};
	const char *at = a->answer ? a->answer : "";
	struct buf b;
	char *ret;

	buf_init(&b, 1024);
	while (*at) {
		if (starts_with(at, "{text}") || starts_with(at, "{ref}"))
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
