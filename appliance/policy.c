/* What an agent may reach, as one JSON object: made, checked and changed. */
#include "policy.h"
#include "json.h"
#include "rules.h"
#include "util.h"

#include <errno.h>

static int refuse(struct err *err)
{
	return err_type(err, 400, "invalid-request");
}

static int check_mode(const char *mode, struct err *err)
{
	if (streq(mode, "enforce"))
		return 0;
	err_set(err, EINVAL, "'mode' must be enforce");
	return refuse(err);
}

/* The limits of what an agent may use of the network, in their normal form; NULL and err. */
static cJSON *normal_limits(const cJSON *limits, struct err *err)
{
	if (limits && limits->child) {
		err_set(err, EINVAL, "there is no limit '%.40s'", limits->child->string);
		refuse(err);
		return NULL;
	}
	return cJSON_CreateObject();
}

static bool holds(const cJSON *list, const char *text)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, list) {
		if (streq(one->valuestring, text))
			return true;
	}
	return false;
}

static cJSON *normal_rules(const cJSON *rules, struct err *err)
{
	cJSON *out = cJSON_CreateArray();
	const cJSON *one;
	int r = 0;

	cJSON_ArrayForEach (one, rules) {
		char text[RULE_TEXT_MAX];
		struct rule rule;

		r = rule_parse(one->valuestring, &rule, err);
		if (r < 0)
			break;
		rule_format(&rule, text);
		if (!holds(out, text))
			cJSON_AddItemToArray(out, cJSON_CreateString(text));
	}
	if (r == 0 && cJSON_GetArraySize(out) > RULES_MAX) {
		err_set(err, ENOSPC, "an agent has at most %d rules", RULES_MAX);
		r = err_type(err, 409, "limit-reached");
	}
	if (r == 0)
		return out;
	cJSON_Delete(out);
	return NULL;
}

static cJSON *make(const char *mode, const cJSON *rules, const cJSON *limits, struct err *err)
{
	cJSON *o, *normal = check_mode(mode, err) < 0 ? NULL : normal_rules(rules, err),
		  *limited = normal ? normal_limits(limits, err) : NULL;

	if (!limited) {
		cJSON_Delete(normal);
		return NULL;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "mode", mode);
	cJSON_AddItemToObject(o, "rules", normal);
	cJSON_AddItemToObject(o, "limits", limited);
	return o;
}

cJSON *policy_nothing(void)
{
	return make("enforce", NULL, NULL, NULL);
}

cJSON *policy_with_rules(const cJSON *rules, struct err *err)
{
	return make("enforce", rules, NULL, err);
}

cJSON *policy_make(const cJSON *wish, struct err *err)
{
	return make(json_str(wish, "mode", "enforce"), json_get(wish, "rules"),
		json_get(wish, "limits"), err);
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

cJSON *policy_changed(const cJSON *now, const cJSON *change, const char *agent, struct err *err)
{
	cJSON *rules = cJSON_Duplicate(json_get(now, "rules"), true), *changed = NULL;
	const cJSON *one, *limits = json_get(change, "limits");
	int r = 0;

	cJSON_ArrayForEach (one, json_get(change, "remove")) {
		if (r == 0)
			r = take_out(rules, one->valuestring, agent, err);
	}
	cJSON_ArrayForEach (one, json_get(change, "allow")) {
		cJSON_AddItemToArray(rules, cJSON_CreateString(one->valuestring));
	}
	if (r == 0)
		changed = make(json_str(change, "mode", json_str(now, "mode", "enforce")), rules,
			limits ? limits : json_get(now, "limits"), err);
	cJSON_Delete(rules);
	return changed;
}
