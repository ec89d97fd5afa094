/* What an agent may reach, as one JSON object: made, checked and changed. */
#include "policy.h"
#include "json.h"
#include "limit.h"
#include "log.h"
#include "presets.h"
#include "ruleset.h"
#include "suffix.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define WIDE_NETWORK 8     /* bits: a shorter prefix is asked back about */
#define DIFFERENCE_MAX 100 /* rules listed in an event */

/* A list of texts without doubles, in order, that tells quickly what it holds. */
struct texts {
	char **sorted; /* borrowed */
	size_t n;
};

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void texts_init(struct texts *t, const cJSON *list)
{
	const cJSON *one;

	*t = (struct texts){
		.sorted = xcalloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*t->sorted))};
	cJSON_ArrayForEach (one, list)
		t->sorted[t->n++] = one->valuestring;
	qsort(t->sorted, t->n, sizeof(*t->sorted), compare_texts);
}

static bool texts_hold(const struct texts *t, const char *text)
{
	return bsearch(&text, t->sorted, t->n, sizeof(*t->sorted), compare_texts) != NULL;
}

static void texts_done(struct texts *t)
{
	free(t->sorted);
}

static int refuse(struct err *err, const char *type)
{
	return err_type(err, 400, type);
}

/* The limits of what an agent may use of the network, in their normal form: `now` (NULL: the
 * defaults) with the change. NULL and err. */
static cJSON *normal_limits(const cJSON *now, const cJSON *change, struct err *err)
{
	struct limits l = limit_default();
	int r = limit_change(&l, now, err);

	if (r == 0)
		r = limit_change(&l, change, err);
	return r < 0 ? NULL : limit_json(&l);
}

int policy_complete(cJSON *policy, struct err *err)
{
	cJSON *limits = normal_limits(json_get(policy, "limits"), NULL, err);

	if (!limits)
		return -EINVAL;
	cJSON_DeleteItemFromObjectCaseSensitive(policy, "limits");
	cJSON_AddItemToObject(policy, "limits", limits);
	return 0;
}

static bool opens_the_web(const struct rule *r)
{
	for (size_t i = 0; i < r->n_ports; i++)
		if (r->ports[i] == 80 || r->ports[i] == 443)
			return true;
	return false;
}

/* Opens it more than it seems to? */
static int check_breadth(const struct rule *r, const char *text, struct err *err)
{
	if (r->deny)
		return 0;
	if (r->kind == RULE_BELOW && suffix_is_public(r->name)) {
		err_set(err, EINVAL,
			"'%.200s' would allow names that anybody can register, not those of one "
			"owner",
			text);
		err_hint(err,
			"name the site itself, for example *.example.%.150s; --force allows all",
			r->name);
		return refuse(err, "invalid-rule");
	}
	if (r->kind != RULE_NETWORK && r->tcp && opens_the_web(r)) {
		err_set(err, EINVAL,
			"'%.200s' would open every site at that server's address: with /tcp nobody "
			"looks at names",
			text);
		err_hint(err,
			"leave /tcp away for TLS and HTTP; --force opens the port all the same");
		return refuse(err, "invalid-rule");
	}
	if (r->kind == RULE_NETWORK && __builtin_popcount(r->net.mask) < WIDE_NETWORK) {
		err_set(err, EINVAL, "'%.100s' is a network wider than a /%d", text, WIDE_NETWORK);
		err_hint(err, "name the networks that are meant; --force opens all of it");
		return refuse(err, "invalid-rule");
	}
	return 0;
}

/* Does it do anything beside the others? */
static int check_use(
	const struct ruleset *all, const struct rule *r, const char *text, struct err *err)
{
	bool denies;
	const char *cover = ruleset_cover(all, r, &denies);

	if (!*cover)
		return 0;
	if (denies && !r->deny) {
		err_set(err, EINVAL, "'%.200s' would do nothing: '%.200s' stands above it", text,
			cover);
		err_hint(err, "take that one away first, if this is meant");
	} else {
		err_set(err, EINVAL, "'%.200s' would add nothing: '%.200s' has it already", text,
			cover);
		err_hint(err, "leave it out; or remove the other one first, if less is meant");
	}
	return refuse(err, "invalid-rule");
}

/* Texts in their normal form, without doubles; NULL and err. */
static cJSON *normal_rules(const cJSON *rules, struct err *err)
{
	cJSON *all = cJSON_CreateArray(), *out;
	const cJSON *one, *before = NULL;
	struct texts sorted;
	size_t doubles = 0;

	cJSON_ArrayForEach (one, rules) {
		char text[RULE_TEXT_MAX];
		struct rule rule;

		if (rule_parse(one->valuestring, &rule, err) < 0) {
			cJSON_Delete(all);
			return NULL;
		}
		rule_format(&rule, text);
		cJSON_AddItemToArray(all, cJSON_CreateString(text));
	}
	texts_init(&sorted, all);
	for (size_t i = 1; i < sorted.n; i++)
		doubles += streq(sorted.sorted[i], sorted.sorted[i - 1]);
	texts_done(&sorted);
	if (doubles == 0)
		return all;
	out = cJSON_CreateArray();
	cJSON_ArrayForEach (one, all) {
		for (before = all->child; before != one; before = before->next)
			if (streq(before->valuestring, one->valuestring))
				break;
		if (before == one)
			cJSON_AddItemToArray(out, cJSON_CreateString(one->valuestring));
	}
	cJSON_Delete(all);
	return out;
}

/* The presets that it names can be read. */
static int check_presets(const cJSON *rules, struct err *err)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, rules) {
		cJSON *preset;

		if (!starts_with(one->valuestring, "preset:"))
			continue;
		preset = preset_read(one->valuestring + 7, err);
		if (!preset)
			return err ? err->code : -ENOENT;
		cJSON_Delete(preset);
	}
	return 0;
}

/* The rules that were not there before. */
static int check_new(const cJSON *policy, const cJSON *before, bool force, struct err *err)
{
	cJSON *send = policy_to_send(policy);
	struct ruleset all = {0};
	struct texts known;
	const cJSON *one;
	int r = ruleset_set(&all, send, err);

	texts_init(&known, before);
	cJSON_ArrayForEach (one, json_get(policy, "rules")) {
		struct rule rule;

		if (r < 0 || texts_hold(&known, one->valuestring))
			continue;
		r = rule_parse(one->valuestring, &rule, err);
		if (r == 0 && !force)
			r = check_breadth(&rule, one->valuestring, err);
		if (r == 0)
			r = check_use(&all, &rule, one->valuestring, err);
	}
	texts_done(&known);
	ruleset_done(&all);
	cJSON_Delete(send);
	return r;
}

/* limits: normal, taken; NULL: err says why there are none. before: rules that were there, or NULL:
 * they need no look. */
static cJSON *make(const char *mode, const cJSON *rules, cJSON *limits, const cJSON *before,
	bool force, struct err *err)
{
	cJSON *o, *normal = limits ? normal_rules(rules, err) : NULL;

	if (!normal) {
		cJSON_Delete(limits);
		return NULL;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "mode", mode);
	cJSON_AddItemToObject(o, "rules", normal);
	cJSON_AddItemToObject(o, "limits", limits);
	if (check_presets(normal, err) == 0 && check_new(o, before, force, err) == 0)
		return o;
	cJSON_Delete(o);
	return NULL;
}

cJSON *policy_nothing(void)
{
	return make("enforce", NULL, normal_limits(NULL, NULL, NULL), NULL, false, NULL);
}

cJSON *policy_make(const cJSON *wish, const cJSON *now, struct err *err)
{
	return make(json_str(wish, "mode", "enforce"), json_get(wish, "rules"),
		normal_limits(NULL, json_get(wish, "limits"), err), json_get(now, "rules"),
		json_bool(wish, "force", false), err);
}

static int index_of(const cJSON *rules, const char *text)
{
	const cJSON *one;
	int at = 0;

	cJSON_ArrayForEach (one, rules) {
		if (streq(one->valuestring, text))
			return at;
		at++;
	}
	return -1;
}

/* Takes the rule out of the list, or the one that denies the same; 400 invalid-rule if neither is
 * in there. */
static int take_out(cJSON *rules, const char *text, const char *agent, struct err *err)
{
	char normal[RULE_TEXT_MAX], denied[RULE_TEXT_MAX + 8];
	struct rule rule;
	int r = rule_parse(text, &rule, err), at;

	if (r < 0)
		return r;
	rule_format(&rule, normal);
	at = index_of(rules, normal);
	if (at < 0) {
		snprintf(denied, sizeof(denied), RULE_DENY "%s", text);
		if (!rule.deny && rule_parse(denied, &rule, NULL) == 0) {
			rule_format(&rule, denied);
			at = index_of(rules, denied);
		}
	}
	if (at >= 0) {
		cJSON_DeleteItemFromArray(rules, at);
		return 0;
	}
	err_set(err, ENOENT, "agent '%s' has no rule '%s'", agent, normal);
	err_hint(err, "list its rules with: berth policy %s", agent);
	return refuse(err, "invalid-rule");
}

cJSON *policy_changed(const cJSON *now, const cJSON *change, const char *agent, struct err *err)
{
	cJSON *rules = cJSON_Duplicate(json_get(now, "rules"), true), *changed = NULL;
	const cJSON *one;
	int r = 0;

	cJSON_ArrayForEach (one, json_get(change, "remove")) {
		if (r == 0)
			r = take_out(rules, one->valuestring, agent, err);
	}
	cJSON_ArrayForEach (one, json_get(change, "allow")) {
		cJSON_AddItemToArray(rules, cJSON_CreateString(one->valuestring));
	}
	cJSON_ArrayForEach (one, json_get(change, "deny")) {
		AUTOFREE char *text =
			xasprintf("%s%s", starts_with(one->valuestring, RULE_DENY) ? "" : RULE_DENY,
				one->valuestring);

		cJSON_AddItemToArray(rules, cJSON_CreateString(text));
	}
	if (r == 0)
		changed = make(json_str(change, "mode", json_str(now, "mode", "enforce")), rules,
			normal_limits(json_get(now, "limits"), json_get(change, "limits"), err),
			json_get(now, "rules"), json_bool(change, "force", false), err);
	cJSON_Delete(rules);
	return changed;
}

cJSON *policy_to_send(const cJSON *policy)
{
	cJSON *o = cJSON_Duplicate(policy, true), *presets = NULL;
	const cJSON *one;

	cJSON_ArrayForEach (one, json_get(policy, "rules")) {
		const char *name = one->valuestring + strlen("preset:");
		struct err err = {0};
		cJSON *preset;

		if (!starts_with(one->valuestring, "preset:"))
			continue;
		preset = preset_read(name, &err);
		if (!preset) {
			log_error("a policy's preset opens nothing: %s", err.msg);
			continue;
		}
		if (!presets)
			presets = cJSON_AddObjectToObject(o, "presets");
		cJSON_AddItemToObject(
			presets, name, cJSON_DetachItemFromObjectCaseSensitive(preset, "rules"));
		cJSON_Delete(preset);
	}
	return o;
}

/* Those of list that the others do not hold. */
static cJSON *missing(const cJSON *list, const cJSON *others)
{
	cJSON *out = cJSON_CreateArray();
	struct texts held;
	const cJSON *one;
	int n = 0;

	texts_init(&held, others);
	cJSON_ArrayForEach (one, list) {
		if (!texts_hold(&held, one->valuestring) && n++ < DIFFERENCE_MAX)
			cJSON_AddItemToArray(out, cJSON_CreateString(one->valuestring));
	}
	texts_done(&held);
	return out;
}

cJSON *policy_difference(const cJSON *old, const cJSON *now)
{
	const cJSON *before = json_get(old, "rules"), *after = json_get(now, "rules");
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "mode", json_str(now, "mode", ""));
	cJSON_AddNumberToObject(o, "rules", cJSON_GetArraySize(after));
	cJSON_AddItemToObject(o, "added", missing(after, before));
	cJSON_AddItemToObject(o, "removed", missing(before, after));
	return o;
}
