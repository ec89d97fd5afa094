/* Operations on the action log: the gateway reports, people read (docs/action-log.md). */
#include "log.h"
#include "ops.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define PARAMS_MAX 2048
#define PICTURE_MAX 65536 /* in base64 */

/* An entry of actions.add. The gateway reads what guests and clients say: believe no more than the
 * shape. */
static const struct json_member members[] = {
	{"agent", JSON_STRING, true, 1, 64},
	{"time", JSON_INTEGER, true, 1, INT64_C(1) << 52}, /* Unix us */
	{"source", JSON_STRING, true, 1, 64}, {"by", JSON_STRING, false, 0, CONTROL_BY_MAX},
	{"action", JSON_STRING, true, 1, 32}, {"params", JSON_OBJECT, true, 0, 0},
	{"error", JSON_STRING, false, 0, 300}, {"url", JSON_STRING, false, 0, 1024},
	{"duration_ms", JSON_INTEGER, true, 0, INT64_C(1) << 52},
	{"before", JSON_INTEGER, false, 0, INT64_C(1) << 52}, /* a picture's id */
};

static const struct json_member picture_members[] = {
	{"agent", JSON_STRING, true, 1, 64},
	{"id", JSON_INTEGER, true, 1, INT64_C(1) << 52},  /* Unix us, when it was taken */
	{"of", JSON_INTEGER, false, 0, INT64_C(1) << 52}, /* `time` of the action before it */
	{"jpeg", JSON_STRING, true, 4, PICTURE_MAX},
};

struct adding {
	struct daemon *d;
	const char *touched[STORE_AGENTS_MAX]; /* ids of agents that got some */
	size_t n_touched, n;
};

static void note_touched(struct adding *g, const char *id)
{
	for (size_t i = 0; i < g->n_touched; i++)
		if (streq(g->touched[i], id))
			return;
	if (g->n_touched < STORE_AGENTS_MAX)
		g->touched[g->n_touched++] = id;
}

/* The agent may be gone meanwhile, and another one have its name. */
static int add_entry(struct adding *g, const cJSON *e, struct err *err)
{
	struct agent *a = agents_find(g->d->agents, json_str(e, "agent", ""), NULL);
	char *params = cJSON_PrintUnformatted(json_get(e, "params"));
	const struct action_record record = {
		.time = json_int(e, "time", 0) * 1000,
		.duration_ms = json_int(e, "duration_ms", 0),
		.source = json_str(e, "source", ""),
		.by = json_str(e, "by", ""),
		.action = json_str(e, "action", ""),
		.params = params && strlen(params) <= PARAMS_MAX ? params : "{}",
		.error = json_str(e, "error", ""),
		.url = json_str(e, "url", ""),
		.before = json_int(e, "before", 0),
	};
	int r = 0;

	if (a && record.time >= agent_record(a)->created_at) {
		r = store_action_add(g->d->store, agent_record(a)->id, &record, err);
		g->n += r > 0;
		note_touched(g, agent_record(a)->id);
	}
	cJSON_free(params);
	return r < 0 ? r : 0;
}

static int add_picture(struct adding *g, const cJSON *e, struct err *err)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789+/=";
	struct agent *a = agents_find(g->d->agents, json_str(e, "agent", ""), NULL);
	const char *jpeg = json_str(e, "jpeg", "");
	int64_t id = json_int(e, "id", 0);

	if (!a || id * 1000 < agent_record(a)->created_at || jpeg[strspn(jpeg, letters)] ||
		!g->d->config.log_pictures)
		return 0;
	note_touched(g, agent_record(a)->id);
	return store_action_picture(
		g->d->store, agent_record(a)->id, id, json_int(e, "of", 0) * 1000, jpeg, err);
}

/* Each of a list that has the right shape. */
static int add_each(struct adding *g, const cJSON *list, const struct json_member *m, size_t n,
	int (*add)(struct adding *g, const cJSON *e, struct err *err), struct err *err)
{
	struct err wrong;
	const cJSON *e;
	int r = 0;

	cJSON_ArrayForEach (e, list) {
		if (!cJSON_IsObject(e) || json_check(e, m, n, &wrong) < 0)
			log_warning("an action of the gateway is refused: %s",
				cJSON_IsObject(e) ? wrong.msg : "it is no object");
		else if (r == 0)
			r = add(g, e, err);
	}
	return r;
}

static int add_all(struct adding *g, const cJSON *args, struct err *err)
{
	int r = store_begin(g->d->store, err);

	if (r < 0)
		return r;
	r = add_each(g, json_get(args, "entries"), members, ARRAY_SIZE(members), add_entry, err);
	if (r == 0)
		r = add_each(g, json_get(args, "pictures"), picture_members,
			ARRAY_SIZE(picture_members), add_picture, err);
	for (size_t i = 0; i < g->n_touched && r == 0; i++)
		r = store_actions_trim(g->d->store, g->touched[i], err);
	if (r == 0)
		r = store_commit(g->d->store, err);
	if (r < 0)
		store_rollback(g->d->store);
	return r;
}

void op_actions_add(struct daemon *d, struct request *r)
{
	struct adding g = {.d = d};
	struct err err;
	cJSON *o;

	events_flush(d->events); /* it writes in a transaction of its own */
	if (add_all(&g, request_args(r), &err) < 0) {
		request_fail(r, &err);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "added", (double)g.n);
	request_ok(r, o, -1);
}

static void add_text_or_null(cJSON *o, const char *name, const char *text)
{
	if (text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

static void list_entry(void *data, const struct action_record *a)
{
	cJSON *o = cJSON_CreateObject(), *params = cJSON_Parse(a->params), *pictures;

	cJSON_AddNumberToObject(o, "seq", (double)a->seq);
	json_add_time(o, "time", a->time);
	cJSON_AddStringToObject(o, "source", a->source);
	add_text_or_null(o, "by", a->by);
	cJSON_AddStringToObject(o, "action", a->action);
	cJSON_AddItemToObject(o, "params", params ? params : cJSON_CreateObject());
	cJSON_AddBoolToObject(o, "ok", !a->error[0]);
	add_text_or_null(o, "error", a->error);
	cJSON_AddNumberToObject(o, "duration_ms", (double)a->duration_ms);
	add_text_or_null(o, "url", a->url);
	pictures = cJSON_AddArrayToObject(o, "pictures");
	if (a->before)
		cJSON_AddItemToArray(pictures, cJSON_CreateString("before"));
	if (a->after)
		cJSON_AddItemToArray(pictures, cJSON_CreateString("after"));
	cJSON_AddItemToArray(data, o);
}

void op_actions_list(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r);
	struct agent *a = op_agent(d, r);
	struct err err;
	cJSON *o, *entries;

	if (!a)
		return;
	o = cJSON_CreateObject();
	entries = cJSON_AddArrayToObject(o, "entries");
	if (store_actions(d->store,
		    &(struct action_query){.agent = agent_record(a)->id,
			    .after = json_int(args, "after", 0),
			    .limit = (unsigned)json_int(args, "limit", 100)},
		    list_entry, entries, &err) == 0) {
		request_ok(r, o, -1);
		return;
	}
	cJSON_Delete(o);
	request_fail(r, &err);
}

void op_actions_picture(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r);
	const char *which = json_str(args, "which", "");
	struct agent *a = op_agent(d, r);
	AUTOFREE char *jpeg = NULL;
	struct err err;
	cJSON *o;
	int code;

	if (!a)
		return;
	code = store_action_picture_get(d->store, agent_record(a)->id, json_int(args, "seq", 0),
		streq(which, "before"), &jpeg, &err);
	if (code == 0 && (!jpeg || (!streq(which, "before") && !streq(which, "after")))) {
		code = err_set(&err, ENOENT, "there is no such picture");
		err_type(&err, 404, "not-found");
	}
	if (code < 0) {
		request_fail(r, &err);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "jpeg", jpeg);
	request_ok(r, o, -1);
}
