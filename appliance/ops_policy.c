/* Operations on agents' egress rules and their log. */
#include "ops.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static cJSON *rules_json(const struct agent *a)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "mode", agent_record(a)->mode);
	cJSON_AddItemToObject(o, "rules", cJSON_Duplicate(agent_rules(a), true));
	return o;
}

void op_policy_get(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);

	if (a)
		request_ok(r, rules_json(a), -1);
}

/* The answer is made when the rules are kept; it goes out when they are in force. */
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

/* rules: normal, taken. */
static void put_in_force(struct request *r, struct agent *a, cJSON *rules)
{
	struct change *c = xcalloc(1, sizeof(*c));
	struct err err;

	c->request = r;
	c->answer = cJSON_CreateObject();
	cJSON_AddStringToObject(c->answer, "mode", agent_record(a)->mode);
	cJSON_AddItemToObject(c->answer, "rules", rules);
	if (agent_rules_set(a, rules, request_by(r), on_in_force, c, &err) < 0)
		on_in_force(c, &err);
}

static bool mode_known(struct request *r)
{
	struct err err;

	if (streq(json_str(request_args(r), "mode", "enforce"), "enforce"))
		return true;
	err_set(&err, EINVAL, "'mode' must be enforce");
	err_type(&err, 400, "invalid-request");
	request_fail(r, &err);
	return false;
}

void op_policy_set(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;
	cJSON *rules;

	if (!a || !mode_known(r))
		return;
	rules = agent_rules_normal(json_get(request_args(r), "rules"), &err);
	if (rules)
		put_in_force(r, a, rules);
	else
		request_fail(r, &err);
}

/* Takes the rule out of the list; 400 invalid-rule if it is not in there. */
static int take_out(cJSON *rules, const char *text, const char *agent, struct err *err)
{
	struct rule rule;
	char normal[RULE_TEXT_MAX];
	int r = rule_parse(text, &rule, err), at = 0;
	const cJSON *one;

	if (r < 0)
		return r;
	rule_format(&rule, normal);
	cJSON_ArrayForEach (one, rules) {
		if (streq(one->valuestring, normal)) {
			cJSON_DeleteItemFromArray(rules, at);
			return 0;
		}
		at++;
	}
	err_set(err, ENOENT, "agent '%s' has no rule '%s'", agent, normal);
	err_hint(err, "list its rules with: berth policy %s", agent);
	return err_type(err, 400, "invalid-rule");
}

/* The rules as they are, with `allow` added and `remove` taken out; NULL and err. */
static cJSON *changed(const struct agent *a, const cJSON *args, struct err *err)
{
	cJSON *all = cJSON_Duplicate(agent_rules(a), true), *normal;
	const cJSON *one;
	int r = 0;

	cJSON_ArrayForEach (one, json_get(args, "remove")) {
		if (r == 0)
			r = take_out(all, one->valuestring, agent_record(a)->name, err);
	}
	cJSON_ArrayForEach (one, json_get(args, "allow")) {
		cJSON_AddItemToArray(all, cJSON_CreateString(one->valuestring));
	}
	normal = r == 0 ? agent_rules_normal(all, err) : NULL;
	cJSON_Delete(all);
	return normal;
}

void op_policy_change(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;
	cJSON *rules;

	if (!a)
		return;
	rules = changed(a, request_args(r), &err);
	if (!rules)
		request_fail(r, &err);
	else
		put_in_force(r, a, rules);
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
	if (verdict && !streq(verdict, "allow") && !streq(verdict, "deny")) {
		err_set(&err, EINVAL, "'verdict' must be allow or deny");
		err_type(&err, 400, "invalid-request");
		request_fail(r, &err);
		return;
	}
	agents_egress_flush(d->agents);
	o = cJSON_CreateObject();
	entries = cJSON_AddArrayToObject(o, "entries");
	code = store_egress(d->store, agent_record(a)->id, verdict,
		(unsigned)json_int(args, "limit", 100), add_entry, entries, &err);
	if (code == 0) {
		request_ok(r, o, -1);
		return;
	}
	cJSON_Delete(o);
	request_fail(r, &err);
}
