/* The egress policy of an agent: shown, changed, its log, its presets. */
#include "cli.h"
#include "http_client.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static void print_policy(const char *name, const cJSON *v)
{
	const cJSON *rule, *rules = json_get(v, "rules");
	bool learns = streq(json_str(v, "mode", ""), "learn");

	if (learns)
		cli_print("# mode learn: every public name is allowed, and logged; end it with: "
			  "berth policy %s mode enforce",
			name);
	cJSON_ArrayForEach (rule, rules) {
		cli_print("%s", cJSON_IsString(rule) ? rule->valuestring : "?");
	}
	cli_print_limits(v, false);
	if (cJSON_GetArraySize(rules) == 0 && !learns)
		fprintf(stderr, "%s reaches nothing; `berth policy %s allow RULE` changes that\n",
			name, name);
}

static int show(struct cli *c, const cJSON *v)
{
	if (c->json)
		cli_print_json(v);
	else
		print_policy(c->args[0], v);
	return 0;
}

/* Sends the change (taken) and shows what the policy is now. */
static int patch(struct cli *c, const char *path, cJSON *body, struct err *err)
{
	AUTOJSON *v = NULL;
	int r;

	if (cli_flag(c, "force"))
		cJSON_AddBoolToObject(body, "force", true);
	r = cli_call(c, "PATCH", path, body, NULL, &v, err);
	return r < 0 ? r : show(c, v);
}

/* Is the text one that the action could mean? The appliance looks at the rest. */
static int check_rule(const char *action, const char *text, struct err *err)
{
	AUTOFREE char *denying = xasprintf(RULE_DENY "%s", text);
	struct rule rule;

	if (!streq(action, "deny") || starts_with(text, RULE_DENY))
		return rule_parse(text, &rule, err);
	return rule_parse(denying, &rule, err);
}

static int change_rules(struct cli *c, const char *path, const char *action, struct err *err)
{
	cJSON *body, *list;

	if (c->n_args < 3) {
		cli_usage_error(err, "`berth policy %s %s` needs a rule", c->args[0], action);
		return err_hint(
			err, "a rule looks like example.com, '*.example.com' or example.com:8443");
	}
	for (size_t i = 2; i < c->n_args; i++)
		if (check_rule(action, c->args[i], err) < 0)
			return err->code;
	body = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(body, action);
	for (size_t i = 2; i < c->n_args; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(c->args[i]));
	return patch(c, path, body, err);
}

static int change_mode(struct cli *c, const char *path, struct err *err)
{
	const char *mode = c->n_args == 3 ? c->args[2] : "";
	cJSON *body;

	if (!streq(mode, "enforce") && !streq(mode, "learn"))
		return cli_usage_error(
			err, "`berth policy %s mode` needs enforce or learn", c->args[0]);
	body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "mode", mode);
	return patch(c, path, body, err);
}

static const char *const log_titles[] = {"TIME", "VERDICT", "NAME", "PROTOCOL", "COUNT", "WHY"};

struct log_cells {
	char target[320], count[32];
	const char *cells[ARRAY_SIZE(log_titles)];
};

static void fill_cells(struct log_cells *l, const cJSON *e)
{
	const char *name = json_str(e, "name", json_str(e, "address", "?"));

	if (json_int(e, "port", 0))
		snprintf(l->target, sizeof(l->target), "%s:%lld", name,
			(long long)json_int(e, "port", 0));
	else
		snprintf(l->target, sizeof(l->target), "%s", name);
	snprintf(l->count, sizeof(l->count), "%lld", (long long)json_int(e, "count", 1));
	l->cells[0] = json_str(e, "time", "?");
	l->cells[1] = json_str(e, "verdict", "?");
	l->cells[2] = l->target;
	l->cells[3] = json_str(e, "protocol", "-");
	l->cells[4] = l->count;
	l->cells[5] = json_str(e, "reason", json_str(e, "rule", ""));
}

/* One line, or with --json one object on a line. */
static int on_entry(void *data, const char *event, const cJSON *json, struct err *err)
{
	const struct cli *c = data;
	struct log_cells l;
	char *line;

	if (streq(event, "error")) {
		json_to_err(json, err);
		return err->code;
	}
	if (c->json) {
		line = cJSON_PrintUnformatted(json);
		puts(line);
		cJSON_free(line);
	} else {
		fill_cells(&l, json);
		cli_print("%s  %-5s  %-32s  %-4s  %s  %s", l.cells[0], l.cells[1], l.cells[2],
			l.cells[3], l.cells[4], l.cells[5]);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}

static int show_log(struct cli *c, struct err *err)
{
	AUTOFREE char *rest = NULL, *path = NULL;
	struct cli_table t = {.columns = ARRAY_SIZE(log_titles)};
	bool follow = cli_flag(c, "follow");
	AUTOJSON *v = NULL;
	const cJSON *e;
	long long limit = 100;
	int r = cli_number(c, "limit", 1, 2000, &limit, err);

	if (r < 0)
		return r;
	rest = xasprintf("/policy/log?limit=%lld%s%s", limit,
		cli_flag(c, "denied") ? "&verdict=deny" : "", follow ? "&follow=1" : "");
	path = cli_agent_path(c->args[0], rest, err);
	if (path && follow)
		return cli_follow(c, path, on_entry, err);
	r = path ? cli_call(c, "GET", path, NULL, NULL, &v, err) : err->code;
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_table_row(&t, log_titles);
	cJSON_ArrayForEach (e, json_get(v, "entries")) {
		struct log_cells l;

		fill_cells(&l, e);
		cli_table_row(&t, l.cells);
	}
	cli_table_print(&t);
	return 0;
}

static int why(struct cli *c, struct err *err)
{
	AUTOFREE char *host = NULL, *rest = NULL, *path = NULL;
	AUTOJSON *v = NULL;
	const cJSON *s;
	int r;

	if (c->n_args != 3)
		return cli_usage_error(
			err, "`berth policy %s why` needs HOST or HOST:PORT", c->args[0]);
	host = cli_encode(c->args[2], false);
	rest = xasprintf("/policy/why?host=%s", host);
	path = cli_agent_path(c->args[0], rest, err);
	r = path ? cli_call(c, "GET", path, NULL, NULL, &v, err) : err->code;
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_print("%s  %s:%lld%s%s", json_str(v, "verdict", "?"), json_str(v, "host", "?"),
		(long long)json_int(v, "port", 0), json_str(v, "rule", "")[0] ? "  by " : "",
		json_str(v, "rule", ""));
	cJSON_ArrayForEach (s, json_get(v, "steps")) {
		cli_print("  %-8s %-4s %s", json_str(s, "step", "?"),
			json_bool(s, "ok", false) ? "ok" : "stop", json_str(s, "detail", ""));
	}
	if (json_str(v, "command", NULL))
		cli_print("to allow it: %s", json_str(v, "command", ""));
	return 0;
}

static void print_suggestions(const char *name, const cJSON *list)
{
	struct cli_table t = {.columns = 3};
	const cJSON *s;

	cli_table_row(&t, (const char *[]){"RULE", "ASKED", "FOR"});
	cJSON_ArrayForEach (s, list) {
		const cJSON *names = json_get(s, "names"), *first = cJSON_GetArrayItem(names, 0);
		char count[32], which[300];
		int n = cJSON_GetArraySize(names);

		snprintf(count, sizeof(count), "%lld", (long long)json_int(s, "count", 0));
		if (n > 1)
			snprintf(which, sizeof(which), "%.200s and %d more",
				cJSON_IsString(first) ? first->valuestring : "?", n - 1);
		else
			snprintf(which, sizeof(which), "%.200s",
				cJSON_IsString(first) ? first->valuestring : "?");
		cli_table_row(&t, (const char *[]){json_str(s, "rule", "?"), count, which});
	}
	cli_table_print(&t);
	cli_print("to allow what is meant: berth policy %s allow RULE...", name);
}

static int suggest(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "/policy/suggest", err);
	AUTOJSON *v = NULL;
	int r = path ? cli_call(c, "GET", path, NULL, NULL, &v, err) : err->code;

	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else if (cJSON_GetArraySize(json_get(v, "suggestions")) > 0)
		print_suggestions(c->args[0], json_get(v, "suggestions"));
	else
		fprintf(stderr, "%s asked for nothing that its rules do not say already\n",
			c->args[0]);
	return 0;
}

static int show_preset(struct cli *c, const char *name, struct err *err)
{
	AUTOFREE char *encoded = cli_encode(name, false),
		      *path = xasprintf("/v1/policy/presets/%s", encoded);
	AUTOJSON *v = NULL;
	const cJSON *rule;
	int r = cli_call(c, "GET", path, NULL, NULL, &v, err);

	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_print("# %s", json_str(v, "description", ""));
	cJSON_ArrayForEach (rule, json_get(v, "rules")) {
		cli_print("%s", cJSON_IsString(rule) ? rule->valuestring : "?");
	}
	return 0;
}

static int list_presets(struct cli *c, struct err *err)
{
	struct cli_table t = {.columns = 3};
	AUTOJSON *v = NULL;
	const cJSON *p;
	int r = cli_call(c, "GET", "/v1/policy/presets", NULL, NULL, &v, err);

	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_table_row(&t, (const char *[]){"PRESET", "RULES", "WHAT FOR"});
	cJSON_ArrayForEach (p, json_get(v, "presets")) {
		char n[16];

		snprintf(n, sizeof(n), "%d", cJSON_GetArraySize(json_get(p, "rules")));
		cli_table_row(&t, (const char *[]){json_str(p, "name", "?"), n,
					  json_str(p, "description", "")});
	}
	cli_table_print(&t);
	return 0;
}

static int presets(struct cli *c, struct err *err)
{
	if (c->n_args > 2)
		return cli_usage_error(err, "`berth policy presets` takes one name at most");
	return c->n_args == 2 ? show_preset(c, c->args[1], err) : list_presets(c, err);
}

int cli_policy(struct cli *c, struct err *err)
{
	const char *action = c->n_args > 1 ? c->args[1] : "show";
	AUTOFREE char *path = NULL;
	AUTOJSON *v = NULL;
	int r;

	if (streq(c->args[0], "presets"))
		return presets(c, err);
	path = cli_agent_path(c->args[0], "/policy", err);
	if (!path)
		return err->code;
	if (streq(action, "allow") || streq(action, "deny") || streq(action, "remove"))
		return change_rules(c, path, action, err);
	if (streq(action, "mode"))
		return change_mode(c, path, err);
	if (streq(action, "why"))
		return why(c, err);
	if (streq(action, "limit"))
		return cli_policy_limit(c, path, err);
	if (c->n_args > 2)
		return cli_usage_error(
			err, "`berth policy %s %s` takes no rules", c->args[0], action);
	if (streq(action, "log"))
		return show_log(c, err);
	if (streq(action, "suggest"))
		return suggest(c, err);
	r = cli_call(c, "GET", path, NULL, NULL, &v, err);
	return r < 0 ? r : show(c, v);
}
