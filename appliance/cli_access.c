/* Tokens and the egress policy. */
#include "cli.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <string.h>

int cli_token_create(struct cli *c, struct err *err)
{
	const char *role = cli_option(c, "role"), *agent = cli_option(c, "agent");
	const char *label = cli_option(c, "label");
	AUTOJSON *v = NULL;
	cJSON *body;
	long long ttl = 0;
	int r = cli_number(c, "ttl", 1, CLI_TTL_MAX, &ttl, err);

	if (r < 0)
		return r;
	if (!role) {
		cli_usage_error(err, "`berth token create` needs --role");
		return err_hint(err, "--role admin, --role agent --agent NAME, or --role viewer");
	}
	if (agent && agent_name_check(agent, err) < 0)
		return err->code;
	body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "role", role);
	if (agent)
		cJSON_AddStringToObject(body, "agent", agent);
	if (ttl)
		cJSON_AddNumberToObject(body, "ttl", (double)ttl);
	if (label)
		cJSON_AddStringToObject(body, "label", label);
	r = cli_call(c, "POST", "/v1/tokens", body, NULL, &v, err);
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	if (isatty(STDOUT_FILENO))
		cli_print("%s, role %s; it is not shown again:", json_str(v, "id", "?"), role);
	cli_print("%s", json_str(v, "token", ""));
	return 0;
}

int cli_token_ls(struct cli *c, struct err *err)
{
	struct cli_table t = {.columns = 7};
	AUTOJSON *v = NULL;
	const cJSON *o;
	int r = cli_call(c, "GET", "/v1/tokens", NULL, NULL, &v, err);

	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_table_row(&t, (const char *[]){"ID", "ROLE", "AGENT", "LABEL", "CREATED", "EXPIRES",
				  "LAST USED"});
	cJSON_ArrayForEach (o, json_get(v, "tokens")) {
		cli_table_row(&t,
			(const char *[]){json_str(o, "id", "?"), json_str(o, "role", "?"),
				json_str(o, "agent", NULL), json_str(o, "label", NULL),
				json_str(o, "created_at", NULL), json_str(o, "expires_at", "never"),
				json_str(o, "last_used_at", "never")});
	}
	cli_table_print(&t);
	return 0;
}

int cli_token_revoke(struct cli *c, struct err *err)
{
	for (size_t i = 0; i < c->n_args; i++) {
		AUTOFREE char *id = cli_encode(c->args[i], false);
		AUTOFREE char *path = xasprintf("/v1/tokens/%s", id);
		int r = cli_call(c, "DELETE", path, NULL, NULL, NULL, err);

		if (r < 0)
			return r;
		if (!c->json)
			cli_print("%s revoked", c->args[i]);
	}
	if (c->json)
		puts("{}");
	return 0;
}

static void print_rules(const char *name, const cJSON *v)
{
	const cJSON *rule, *rules = json_get(v, "rules");

	if (!streq(json_str(v, "mode", "enforce"), "enforce"))
		cli_print("# mode: %s", json_str(v, "mode", "?"));
	cJSON_ArrayForEach (rule, rules) {
		cli_print("%s", cJSON_IsString(rule) ? rule->valuestring : "?");
	}
	if (cJSON_GetArraySize(rules) == 0)
		fprintf(stderr, "%s reaches nothing; `berth policy %s allow RULE` changes that\n",
			name, name);
}

static int policy_change(struct cli *c, const char *path, const char *member, struct err *err)
{
	AUTOJSON *v = NULL;
	struct rule rule;
	cJSON *body, *list;
	int r;

	if (c->n_args < 3) {
		cli_usage_error(err, "`berth policy %s %s` needs a rule", c->args[0], c->args[1]);
		return err_hint(
			err, "a rule looks like example.com, '*.example.com' or example.com:8443");
	}
	for (size_t i = 2; i < c->n_args; i++)
		if (rule_parse(c->args[i], &rule, err) < 0)
			return err->code;
	body = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(body, member);
	for (size_t i = 2; i < c->n_args; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(c->args[i]));
	r = cli_call(c, "PATCH", path, body, NULL, &v, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else
		print_rules(c->args[0], v);
	return 0;
}

static void log_row(struct cli_table *t, const cJSON *e)
{
	char target[320], count[32];

	snprintf(target, sizeof(target), "%s:%lld",
		json_str(e, "name", json_str(e, "address", "?")),
		(long long)json_int(e, "port", 0));
	snprintf(count, sizeof(count), "%lld", (long long)json_int(e, "count", 1));
	cli_table_row(t, (const char *[]){json_str(e, "time", "?"), json_str(e, "verdict", "?"),
				 json_int(e, "port", 0) ? target : json_str(e, "name", "?"),
				 json_str(e, "protocol", NULL), count,
				 json_str(e, "reason", json_str(e, "rule", ""))});
}

static int policy_log(struct cli *c, struct err *err)
{
	AUTOFREE char *rest = NULL, *path = NULL;
	struct cli_table t = {.columns = 6};
	AUTOJSON *v = NULL;
	const cJSON *e;
	long long limit = 100;
	int r = cli_number(c, "limit", 1, 2000, &limit, err);

	if (r < 0)
		return r;
	rest = xasprintf(
		"/policy/log?limit=%lld%s", limit, cli_flag(c, "denied") ? "&verdict=deny" : "");
	path = cli_agent_path(c->args[0], rest, err);
	r = path ? cli_call(c, "GET", path, NULL, NULL, &v, err) : err->code;
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	cli_table_row(&t, (const char *[]){"TIME", "VERDICT", "NAME", "PROTOCOL", "COUNT", "WHY"});
	cJSON_ArrayForEach (e, json_get(v, "entries")) {
		log_row(&t, e);
	}
	cli_table_print(&t);
	return 0;
}

int cli_policy(struct cli *c, struct err *err)
{
	const char *action = c->n_args > 1 ? c->args[1] : "show";
	AUTOFREE char *path = cli_agent_path(c->args[0], "/policy", err);
	AUTOJSON *v = NULL;
	int r;

	if (!path)
		return err->code;
	if (streq(action, "allow") || streq(action, "remove"))
		return policy_change(c, path, action, err);
	if (c->n_args > 2)
		return cli_usage_error(
			err, "`berth policy %s %s` takes no rules", c->args[0], action);
	if (streq(action, "log"))
		return policy_log(c, err);
	r = cli_call(c, "GET", path, NULL, NULL, &v, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else
		print_rules(c->args[0], v);
	return 0;
}
