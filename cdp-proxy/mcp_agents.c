/* MCP tools over all agents: those of their life, made of the API's own routes, and the browser's
 * with the agent's name. */
#include "mcp_agents.h"

#include <errno.h>
#include <string.h>

#include "json.h"
#include "mcp_tools.h"
#include "util.h"

/*
 * A tool of an agent's life is a route that is one op of berthd: what it takes, in which bounds,
 * and who may call it stands there once. Only the words for the model are added here.
 */
static const struct life {
	const char *name;
	enum { READS, CHANGES, DESTROYS } does; /* DESTROYS: what cannot be undone */
	const char *method, *pattern, *about;
} lives[] = {
	{"agents_list", READS, "GET", "/v1/agents",
		"The agents: each is a computer with a browser"},
	{"agent_show", READS, "GET", "/v1/agents/{a}", "One agent in full"},
	{"agent_create", CHANGES, "POST", "/v1/agents",
		"Create an agent. Its network reaches only the names in `allow`"},
	{"agent_start", CHANGES, "POST", "/v1/agents/{a}/start", "Start an agent that is stopped"},
	{"agent_stop", DESTROYS, "POST", "/v1/agents/{a}/stop",
		"Stop an agent; its disk stays, what is in its memory does not"},
	{"agent_restart", DESTROYS, "POST", "/v1/agents/{a}/restart", "Stop and start an agent"},
	{"agent_suspend", CHANGES, "POST", "/v1/agents/{a}/suspend",
		"Put an agent to sleep as it is; any use wakes it"},
	{"agent_resume", CHANGES, "POST", "/v1/agents/{a}/resume", "Wake an agent"},
	{"agent_snapshot", CHANGES, "POST", "/v1/agents/{a}/snapshots",
		"Keep an agent's state, memory and open pages included, to return to or to fork"},
	{"agent_snapshots", READS, "GET", "/v1/agents/{a}/snapshots", "An agent's snapshots"},
	{"agent_restore", DESTROYS, "POST", "/v1/agents/{a}/restore",
		"Put an agent back to a snapshot; what came after it is lost"},
	{"agent_fork", CHANGES, "POST", "/v1/agents/{a}/fork",
		"New agents that go on from where this one, or its snapshot, is"},
	{"agent_remove", DESTROYS, "DELETE", "/v1/agents/{a}", "Remove an agent and its disk"},
	{"policy_show", READS, "GET", "/v1/agents/{a}/policy", "What an agent's network may reach"},
	{"policy_change", CHANGES, "PATCH", "/v1/agents/{a}/policy",
		"Change it: rules to allow, to deny, to remove"},
};

static const struct life *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(lives); i++)
		if (streq(lives[i].name, name))
			return &lives[i];
	return NULL;
}

static const struct route *find_route(const char *method, const char *pattern)
{
	size_t n;
	const struct route *routes = api_routes(&n);

	for (size_t i = 0; i < n; i++)
		if (streq(routes[i].method, method) && streq(routes[i].pattern, pattern))
			return &routes[i];
	return NULL;
}

/* What the browser's tools stand for. */
static const struct route *browser_route(void)
{
	return find_route("POST", "/v1/agents/{a}/mcp");
}

const struct route *agents_tool_route(const char *name)
{
	const struct life *l = find(name);

	return l ? find_route(l->method, l->pattern) : NULL;
}

bool agents_tools_has(const char *name)
{
	return find(name) || tools_has(name);
}

/* ---- The list ---- */

static cJSON *bounded(
	const char *type, const char *least, const char *most, const struct json_member *m)
{
	cJSON *o = tools_schema(type);

	cJSON_AddNumberToObject(o, least, (double)m->min);
	cJSON_AddNumberToObject(o, most, (double)m->max);
	return o;
}

static cJSON *schema_of(const struct json_member *m)
{
	cJSON *o;

	switch (m->type) {
	case JSON_STRING:
		return bounded("string", "minLength", "maxLength", m);
	case JSON_INTEGER:
		return bounded("integer", "minimum", "maximum", m);
	case JSON_BOOL:
		return tools_schema("boolean");
	case JSON_STRINGS:
		o = bounded("array", "minItems", "maxItems", m);
		cJSON_AddItemToObject(o, "items", tools_schema("string"));
		return o;
	case JSON_STRING_MAP:
		o = tools_schema("object");
		cJSON_AddItemToObject(o, "additionalProperties", tools_schema("string"));
		return o;
	case JSON_OBJECT:
	case JSON_ARRAY:
		break;
	}
	return tools_schema(m->type == JSON_ARRAY ? "array" : "object");
}

static void add_agent(cJSON *schema)
{
	cJSON *agent = tools_schema("string"), *required;

	cJSON_AddStringToObject(agent, "description", "The agent's name");
	cJSON_AddItemToObject(
		cJSON_GetObjectItemCaseSensitive(schema, "properties"), "agent", agent);
	required = cJSON_GetObjectItemCaseSensitive(schema, "required");
	if (!required)
		required = cJSON_AddArrayToObject(schema, "required");
	cJSON_AddItemToArray(required, cJSON_CreateString("agent"));
}

static cJSON *schema_of_route(const struct route *r)
{
	cJSON *o = tools_schema("object"), *properties = cJSON_AddObjectToObject(o, "properties"),
	      *required = cJSON_AddArrayToObject(o, "required");

	for (size_t i = 0; i < r->n_members; i++) {
		cJSON_AddItemToObject(properties, r->members[i].name, schema_of(&r->members[i]));
		if (r->members[i].required)
			cJSON_AddItemToArray(required, cJSON_CreateString(r->members[i].name));
	}
	cJSON_AddBoolToObject(o, "additionalProperties", false);
	if (strstr(r->pattern, "{a}"))
		add_agent(o);
	return o;
}

static cJSON *describe(const struct life *l, const struct route *r)
{
	const struct tool_words words = {.name = l->name,
		.title = r->summary,
		.about = l->about,
		.reads = l->does == READS,
		.destroys = l->does == DESTROYS};

	return tools_describe(&words, schema_of_route(r));
}

cJSON *agents_tools_list(enum role role)
{
	cJSON *list = cJSON_CreateArray(), *tools, *one;

	for (size_t i = 0; i < ARRAY_SIZE(lives); i++) {
		const struct route *r = find_route(lives[i].method, lives[i].pattern);

		if (r && r->role <= role)
			cJSON_AddItemToArray(list, describe(&lives[i], r));
	}
	if (role < browser_route()->role)
		return list;
	tools = tools_list();
	while ((one = cJSON_DetachItemFromArray(tools, 0))) {
		add_agent(cJSON_GetObjectItemCaseSensitive(one, "inputSchema"));
		cJSON_AddItemToArray(list, one);
	}
	cJSON_Delete(tools);
	return list;
}

/* ---- Calls ---- */

int agents_tool_split(const char *name, const cJSON *arguments, const struct principal *who,
	const char **ret_agent, cJSON **ret_rest, struct err *err)
{
	const struct route *life = agents_tool_route(name), *r = life ? life : browser_route();
	bool has_agent = strstr(r->pattern, "{a}") != NULL;
	const char *agent = has_agent ? json_str(arguments, "agent", "") : "";

	*ret_agent = agent;
	*ret_rest = NULL;
	if (api_may_ask(r, who, err) < 0)
		return err->code;
	/* No id: an agent's executor goes by its name. */
	if (has_agent && !agent_name_valid(agent))
		return err_set(err, -EINVAL, "agent must be an agent's name; agents_list has them");
	if (api_may_use(who, agent, err) < 0)
		return err->code;
	*ret_rest = arguments ? cJSON_Duplicate(arguments, true) : cJSON_CreateObject();
	if (has_agent)
		cJSON_DeleteItemFromObjectCaseSensitive(*ret_rest, "agent");
	if (!life || json_check(*ret_rest, r->members, r->n_members, err) == 0)
		return 0;
	cJSON_Delete(steal(ret_rest));
	return err->code;
}

cJSON *agents_tool_result(const cJSON *ok, const struct err *failed, const struct principal *who)
{
	AUTOFREE char *text = NULL;
	cJSON *copy;

	if (failed) {
		text = failed->hint[0] ? xasprintf("%s (%s)", failed->msg, failed->hint)
				       : xstrdup(failed->msg);
		return tools_text(text, true);
	}
	copy = cJSON_Duplicate(ok, true);
	api_keep_own(copy, who);
	text = cJSON_GetArraySize(copy) ? cJSON_Print(copy) : xstrdup("done");
	cJSON_Delete(copy);
	return tools_text(text, false);
}
