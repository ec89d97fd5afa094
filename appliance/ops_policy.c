/* Operations on agents' egress policies and their log. */
#include "ops.h"
#include "policy.h"
#include "presets.h"
#include "suggest.h"
#include "util.h"
#include "why.h"

#include <errno.h>
#include <string.h>

void op_policy_get(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);

	cJSON *o;

	if (!a)
		return;
	o = cJSON_Duplicate(agent_policy(a), true);
	cJSON_AddItemToObject(o, "usage", agent_usage(a));
	request_ok(r, o, -1);
}

/* The answer is made when the policy is kept; it goes out when it is in force. */
struct change {
	struct request *request;
	cJSON *answer;
};

static void on_in_force(void *data, const struct err *err)
{
	struct change *c = data;

	if (err)
		request_fail(c->request, err);
	else
		request_ok(c->request, steal(&c->answer), -1);
	cJSON_Delete(c->answer);
	free(c);
}

/* policy: taken; NULL: err says why there is none. */
static void put_in_force(struct request *r, struct agent *a, cJSON *policy, struct err *err)
{
	struct change *c;

	if (!policy) {
		request_fail(r, err);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->request = r;
	c->answer = policy;
	if (agent_policy_set(a, policy, request_by(r), on_in_force, c, err) < 0)
		on_in_force(c, err);
}

void op_policy_set(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;

	if (a)
		put_in_force(r, a, policy_make(request_args(r), agent_policy(a), &err), &err);
}

void op_policy_change(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;

	if (a)
		put_in_force(r, a,
			policy_changed(
				agent_policy(a), request_args(r), agent_record(a)->name, &err),
			&err);
}

static void add_text_or_null(cJSON *o, const char *name, const char *text)
{
	if (text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

static void add_entry(void *data, const struct egress_record *e)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "seq", (double)e->seq);
	json_add_time(o, "time", e->time);
	add_text_or_null(o, "name", e->name);
	add_text_or_null(o, "address", e->address);
	cJSON_AddNumberToObject(o, "port", e->port);
	cJSON_AddStringToObject(o, "protocol", e->protocol);
	add_text_or_null(o, "rule", e->rule);
	cJSON_AddStringToObject(o, "verdict", e->verdict);
	add_text_or_null(o, "reason", e->reason);
	cJSON_AddNumberToObject(o, "bytes_up", (double)e->bytes_up);
	cJSON_AddNumberToObject(o, "bytes_down", (double)e->bytes_down);
	cJSON_AddNumberToObject(o, "duration_ms", (double)e->duration_ms);
	cJSON_AddNumberToObject(o, "count", (double)e->count);
	cJSON_AddItemToArray(data, o);
}

void op_policy_log(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r);
	const char *verdict = json_str(args, "verdict", NULL);
	struct agent *a = op_agent(d, r);
	struct err err;
	cJSON *o, *entries;
	int code = 0;

	if (!a)
		return;
	if (verdict && !streq(verdict, "allow") && !streq(verdict, "deny") &&
		!streq(verdict, "learn")) {
		err_set(&err, EINVAL, "'verdict' must be allow, deny or learn");
		err_type(&err, 400, "invalid-request");
		request_fail(r, &err);
		return;
	}
	agents_egress_flush(d->agents);
	o = cJSON_CreateObject();
	entries = cJSON_AddArrayToObject(o, "entries");
	code = store_egress(d->store,
		&(struct egress_query){.agent = agent_record(a)->id,
			.verdict = verdict,
			.after = json_int(args, "after", 0),
			.limit = (unsigned)json_int(args, "limit", 100)},
		add_entry, entries, &err);
	if (code == 0) {
		request_ok(r, o, -1);
		return;
	}
	cJSON_Delete(o);
	request_fail(r, &err);
}

void op_policy_why(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;
	cJSON *policy, *usage, *answer;

	if (!a)
		return;
	policy = policy_to_send(agent_policy(a));
	usage = agent_usage(a);
	answer = why_explain(policy, agent_record(a)->name, json_str(usage, "limited", ""),
		json_str(request_args(r), "host", ""), &err);
	cJSON_Delete(usage);
	cJSON_Delete(policy);
	if (answer)
		request_ok(r, answer, -1);
	else
		request_fail(r, &err);
}

static void add_wish(void *data, const struct egress_record *e)
{
	suggest_add(data, e);
}

void op_policy_suggest(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct suggest *s;
	struct err err;
	cJSON *policy, *o;
	int code;

	if (!a)
		return;
	policy = policy_to_send(agent_policy(a));
	s = suggest_new(policy);
	cJSON_Delete(policy);
	agents_egress_flush(d->agents);
	code = store_egress(d->store,
		&(struct egress_query){.agent = agent_record(a)->id, .limit = STORE_EGRESS_MAX},
		add_wish, s, &err);
	o = cJSON_CreateObject();
	cJSON_AddItemToObject(o, "suggestions", suggest_rules(s));
	suggest_free(s);
	if (code == 0) {
		request_ok(r, o, -1);
		return;
	}
	cJSON_Delete(o);
	request_fail(r, &err);
}

void op_policy_presets(struct daemon *d, struct request *r)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "presets", presets_list());
	request_ok(r, o, -1);
}

void op_policy_preset(struct daemon *d, struct request *r)
{
	struct err err;
	cJSON *preset = preset_read(json_str(request_args(r), "preset", ""), &err);

	if (preset)
		request_ok(r, preset, -1);
	else
		request_fail(r, &err);
}
