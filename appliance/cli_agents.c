/* Agents: create, list, show, the life cycle. */
#include "cli.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static int add_number(const struct cli *c, const char *option, const char *member, long long min,
	long long max, cJSON *body, struct err *err)
{
	long long v = -1;
	int r = cli_number(c, option, min, max, &v, err);

	if (r == 0 && v >= 0)
		cJSON_AddNumberToObject(body, member, (double)v);
	return r;
}

static int add_rules(const struct cli *c, cJSON *body, struct err *err)
{
	cJSON *list = cJSON_AddArrayToObject(body, "allow");
	struct rule rule;
	const char *text;

	for (size_t i = 0; (text = cli_nth(c, "allow", i)); i++) {
		if (rule_parse(text, &rule, err) < 0)
			return err_context(err, "--allow %.60s", text);
		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
	if (cli_flag(c, "force"))
		cJSON_AddBoolToObject(body, "force", true);
	return 0;
}

static int add_labels(const struct cli *c, cJSON *body, struct err *err)
{
	cJSON *labels = cJSON_AddObjectToObject(body, "labels");
	const char *text;

	for (size_t i = 0; (text = cli_nth(c, "label", i)); i++) {
		AUTOFREE char *key = xstrdup(text);
		char *value = strchr(key, '=');

		if (!value || value == key)
			return cli_usage_error(
				err, "--label must look like KEY=VALUE, not '%.60s'", text);
		*value++ = 0;
		cJSON_DeleteItemFromObjectCaseSensitive(labels, key);
		cJSON_AddStringToObject(labels, key, value);
	}
	return 0;
}

static int fill_create(const struct cli *c, cJSON *body, struct err *err)
{
	const char *text;
	int r;

	cJSON_AddStringToObject(body, "name", c->args[0]);
	if ((text = cli_option(c, "image")))
		cJSON_AddStringToObject(body, "image", text);
	if ((text = cli_option(c, "on-crash")))
		cJSON_AddStringToObject(body, "on_crash", text);
	if ((text = cli_option(c, "from")))
		cJSON_AddStringToObject(body, "from", text);
	if (cli_flag(c, "no-start"))
		cJSON_AddBoolToObject(body, "start", false);
	r = add_number(c, "memory", "memory_mib", 256, 65536, body, err);
	r = r < 0 ? r : add_number(c, "cpus", "cpus", 1, 16, body, err);
	r = r < 0 ? r : add_number(c, "disk", "disk_gib", 1, 1024, body, err);
	r = r < 0 ? r : add_number(c, "idle-suspend", "idle_suspend", 0, CLI_IDLE_MAX, body, err);
	/* Without a rule of its own it has those of its snapshot. */
	if (!cli_option(c, "from") || cli_option(c, "allow"))
		r = r < 0 ? r : add_rules(c, body, err);
	for (size_t i = 0; r == 0 && (text = cli_nth(c, "limit", i)); i++)
		r = cli_add_limit(body, text, err);
	return r < 0 ? r : add_labels(c, body, err);
}

static void print_urls(const cJSON *agent)
{
	const cJSON *urls = json_get(agent, "urls"), *url;

	cJSON_ArrayForEach (url, urls) {
		if (cJSON_IsString(url))
			cli_print("%-13s %s", url->string, url->valuestring);
	}
}

int cli_create(struct cli *c, struct err *err)
{
	AUTOFREE char *doing = xasprintf("creating %s", c->args[0]);
	AUTOJSON *agent = NULL;
	cJSON *body;
	int r = agent_name_check(c->args[0], err);

	if (r < 0)
		return r;
	body = cJSON_CreateObject();
	r = fill_create(c, body, err);
	if (r < 0) {
		cJSON_Delete(body);
		return r;
	}
	r = cli_call(c, "POST", "/v1/agents", body, doing, &agent, err);
	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(agent);
		return 0;
	}
	cli_print(
		"%s is %s", json_str(agent, "name", c->args[0]), json_str(agent, "state", "made"));
	if (json_str(agent, "cold_start", NULL))
		cli_print("It booted, which takes longer: %s", json_str(agent, "cold_start", ""));
	print_urls(agent);
	printf("`berth cdp %s` prints the address with a token inside.\n", c->args[0]);
	return 0;
}

int cli_update(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "", err);
	AUTOJSON *body = cJSON_CreateObject(), *agent = NULL;
	const char *on_crash = cli_option(c, "on-crash");
	int r = path ? 0 : err->code;

	if (on_crash)
		cJSON_AddStringToObject(body, "on_crash", on_crash);
	r = r < 0 ? r : add_number(c, "memory", "memory_mib", 256, 65536, body, err);
	r = r < 0 ? r : add_number(c, "cpus", "cpus", 1, 16, body, err);
	r = r < 0 ? r : add_number(c, "idle-suspend", "idle_suspend", 0, CLI_IDLE_MAX, body, err);
	if (r < 0)
		return r;
	if (!body->child) {
		cli_usage_error(err, "`berth update` needs an option that says what to change");
		return err_hint(err, "`berth help update` lists them");
	}
	r = cli_call(c, "PATCH", path, steal(&body), NULL, &agent, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(agent);
	else
		cli_print("%s updated", c->args[0]);
	return 0;
}

static void agent_row(struct cli_table *t, const cJSON *a)
{
	bool asleep = streq(json_str(a, "state", ""), "suspended"),
	     learns = streq(json_str(a, "policy_mode", ""), "learn");
	const char *detail = json_str(a, "state_detail", "");
	char memory[32] = "", disk[32] = "";

	if (json_int(a, "memory_bytes", 0) > 0)
		cli_format_size((double)json_int(a, "memory_bytes", 0), memory);
	if (json_int(a, "disk_bytes", 0) > 0)
		cli_format_size((double)json_int(a, "disk_bytes", 0), disk);
	cli_table_row(
		t, (const char *[]){json_str(a, "name", "?"), json_str(a, "state", "?"),
			   asleep ? NULL : json_str(a, "browser", NULL), memory, disk,
			   json_str(a, "created_at", NULL),
			   learns && !detail[0] ? "its network policy learns: all names are open"
						: detail});
}

int cli_ls(struct cli *c, struct err *err)
{
	const char *label = cli_option(c, "label");
	AUTOFREE char *encoded = label ? cli_encode(label, false) : NULL;
	AUTOFREE char *path =
		xasprintf("/v1/agents%s%s", label ? "?label=" : "", label ? encoded : "");
	struct cli_table t = {.columns = 7};
	AUTOJSON *v = NULL;
	const cJSON *a;
	int r = cli_call(c, "GET", path, NULL, NULL, &v, err);

	if (r < 0)
		return r;
	if (c->json) {
		cli_print_json(v);
		return 0;
	}
	if (cli_flag(c, "quiet")) {
		cJSON_ArrayForEach (a, json_get(v, "agents")) {
			cli_print("%s", json_str(a, "name", "?"));
		}
		return 0;
	}
	cli_table_row(&t, (const char *[]){"NAME", "STATE", "BROWSER", "MEMORY", "DISK", "CREATED",
				  "DETAIL"});
	cJSON_ArrayForEach (a, json_get(v, "agents")) {
		agent_row(&t, a);
	}
	cli_table_print(&t);
	return 0;
}

/* "key value" lines; objects and lists one level down on one line. */
static void print_member(const cJSON *m)
{
	AUTOFREE char *text = NULL;

	if (cJSON_IsNull(m))
		return;
	if (cJSON_IsString(m) && !m->valuestring[0])
		return;
	if (cJSON_IsString(m)) {
		cli_print("%-13s %s", m->string, m->valuestring);
		return;
	}
	text = cJSON_PrintUnformatted(m);
	cli_print("%-13s %s", m->string, text);
}

static void print_list(const cJSON *m)
{
	const cJSON *item;
	bool first = true;

	cJSON_ArrayForEach (item, m) {
		cli_print("%-13s %s", first ? m->string : "",
			cJSON_IsString(item) ? item->valuestring : "?");
		first = false;
	}
	if (first)
		cli_print("%-13s (none)", m->string);
}

static void print_agent(const cJSON *agent)
{
	char size[32];
	const cJSON *m;

	cJSON_ArrayForEach (m, agent) {
		if (cJSON_IsArray(m)) {
			print_list(m);
		} else if (streq(m->string, "limits")) {
			cli_show_limits(m);
		} else if (streq(m->string, "urls")) {
			print_urls(agent);
		} else if (streq(m->string, "memory_bytes") || streq(m->string, "disk_bytes")) {
			cli_format_size(m->valuedouble, size);
			cli_print("%-13s %s", m->string[0] == 'm' ? "memory_used" : "disk_used",
				size);
		} else {
			print_member(m);
		}
	}
}

int cli_show(struct cli *c, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(c->args[0], "", err);
	AUTOJSON *agent = NULL;
	int r = path ? cli_call(c, "GET", path, NULL, NULL, &agent, err) : err->code;

	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(agent);
	else
		print_agent(agent);
	return 0;
}

struct verb {
	const char *method, *rest, *doing, *done;
};

static int act_on(struct cli *c, const char *name, const struct verb *verb, cJSON *body,
	cJSON **ret, struct err *err)
{
	AUTOFREE char *path = cli_agent_path(name, verb->rest, err);
	AUTOFREE char *doing = xasprintf("%s %s", verb->doing, name);

	if (!path) {
		cJSON_Delete(body);
		return err->code;
	}
	return cli_call(c, verb->method, path, body, doing, ret, err);
}

/* One verb on each of the agents named; the first failure ends it, saying which one. */
static int act(struct cli *c, const struct verb *verb, struct err *err)
{
	AUTOJSON *all = cJSON_CreateArray();

	for (size_t i = 0; i < c->n_args; i++) {
		cJSON *body = cli_flag(c, "force") ? cJSON_CreateObject() : NULL, *agent = NULL;
		int r;

		if (body)
			cJSON_AddBoolToObject(body, "force", true);
		r = act_on(c, c->args[i], verb, body, &agent, err);
		if (r < 0)
			return r;
		if (!c->json)
			cli_print("%s %s", c->args[i], json_str(agent, "state", verb->done));
		cJSON_AddItemToArray(all, agent ? agent : cJSON_CreateObject());
	}
	if (c->json)
		cli_print_json(c->n_args == 1 ? cJSON_GetArrayItem(all, 0) : all);
	return 0;
}

int cli_start(struct cli *c, struct err *err)
{
	return act(c, &(struct verb){"POST", "/start", "starting", "running"}, err);
}

int cli_stop(struct cli *c, struct err *err)
{
	return act(c, &(struct verb){"POST", "/stop", "stopping", "stopped"}, err);
}

int cli_restart(struct cli *c, struct err *err)
{
	return act(c, &(struct verb){"POST", "/restart", "restarting", "running"}, err);
}

int cli_suspend(struct cli *c, struct err *err)
{
	return act(c, &(struct verb){"POST", "/suspend", "suspending", "suspended"}, err);
}

int cli_resume(struct cli *c, struct err *err)
{
	return act(c, &(struct verb){"POST", "/resume", "waking", "running"}, err);
}

int cli_rm(struct cli *c, struct err *err)
{
	return act(c, &(struct verb){"DELETE", "", "removing", "removed"}, err);
}
