/* Operations on the action log: the gateway reports, people read (docs/action-log.md). */
#include "log.h"
#include "ops.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define PARAMS_MAX 2048

/* An entry of actions.add. The gateway reads what guests and clients say: believe no more than the
 * shape. */
static const struct json_member members[] = {
	{"agent", JSON_STRING, true, 1, 64},
	{"time", JSON_INTEGER, true, 1, INT64_C(1) << 52}, /* Unix us */
	{"source", JSON_STRING, true, 1, 64},
	{"by", JSON_STRING, false, 0, CONTROL_BY_MAX},
	{"action", JSON_STRING, true, 1, 32},
	{"params", JSON_OBJECT, true, 0, 0},
	{"error", JSON_STRING, false, 0, 300},
	{"url", JSON_STRING, false, 0, 1024},
	{"duration_ms", JSON_INTEGER, true, 0, INT64_C(1) << 52},
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

static int add_all(struct adding *g, const cJSON *entries, struct err *err)
{
	struct err wrong;
	const cJSON *e;
	int r = store_begin(g->d->store, err);

	if (r < 0)
		return r;
	cJSON_ArrayForEach (e, entries) {
		if (!cJSON_IsObject(e) || json_check(e, members, ARRAY_SIZE(members), &wrong) < 0)
			log_warning("an action of the gateway is refused: %s",
				cJSON_IsObject(e) ? wrong.msg : "it is no object");
		else if (r == 0)
			r = add_entry(g, e, err);
	}
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
	if (add_all(&g, json_get(request_args(r), "entries"), &err) < 0) {
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
	cJSON *o = cJSON_CreateObject(), *params = cJSON_Parse(a->params);

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
