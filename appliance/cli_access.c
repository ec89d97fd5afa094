/* Tokens. */
#include "cli.h"
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
	if (cli_flag(c, "replace"))
		cJSON_AddBoolToObject(body, "replace", true);
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
