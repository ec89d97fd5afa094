/* The table of routes, and finding the right one. */
#include "api.h"
#include "api_ops.h"
#include "computer.h"
#include "events_hub.h"
#include "exec.h"
#include "files.h"
#include "mcp.h"
#include "metrics.h"
#include "ports.h"
#include "problem.h"
#include "request.h"
#include "rules.h"
#include "start_page.h"
#include "util.h"
#include "ws.h"

#include <errno.h>
#include <string.h>

#define AGENTS "/v1/agents"
#define AGENT AGENTS "/{a}"
#define IDLE_MAX (30 * 86400) /* s */
#define MEMBERS(m) .members = (m), .n_members = ARRAY_SIZE(m)

static const struct json_member create_members[] = {
	{"name", JSON_STRING, true, 1, 63},
	{"image", JSON_STRING, false, 1, 64},
	{"memory_mib", JSON_INTEGER, false, 256, 65536},
	{"cpus", JSON_INTEGER, false, 1, 16},
	{"disk_gib", JSON_INTEGER, false, 1, 1024},
	{"allow", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"force", JSON_BOOL, false, 0, 0},
	{"labels", JSON_STRING_MAP, false, 0, 64},
	{"on_crash", JSON_STRING, false, 1, 16},
	{"start", JSON_BOOL, false, 0, 0},
	{"from", JSON_STRING, false, 1, 79},
	{"idle_suspend", JSON_INTEGER, false, 0, IDLE_MAX},
	{"limits", JSON_OBJECT, false, 0, 0},
};
static const struct json_member update_members[] = {
	{"labels", JSON_STRING_MAP, false, 0, 64},
	{"on_crash", JSON_STRING, false, 1, 16},
	{"memory_mib", JSON_INTEGER, false, 256, 65536},
	{"cpus", JSON_INTEGER, false, 1, 16},
	{"idle_suspend", JSON_INTEGER, false, 0, IDLE_MAX},
};
static const struct json_member snapshot_members[] = {
	{"tag", JSON_STRING, false, 0, 79},
	{"memory", JSON_BOOL, false, 0, 0},
};
static const struct json_member restore_members[] = {{"snapshot", JSON_STRING, true, 1, 79}};
static const struct json_member fork_members[] = {
	{"names", JSON_STRINGS, false, 1, 100},
	{"count", JSON_INTEGER, false, 1, 100},
	{"snapshot", JSON_STRING, false, 1, 79},
};
static const struct json_member stop_members[] = {{"force", JSON_BOOL, false, 0, 0}};
static const struct json_member policy_set_members[] = {
	{"rules", JSON_STRINGS, true, 0, 2 * RULES_MAX},
	{"mode", JSON_STRING, false, 1, 16},
	{"limits", JSON_OBJECT, false, 0, 0},
	{"force", JSON_BOOL, false, 0, 0},
};
static const struct json_member policy_change_members[] = {
	{"allow", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"deny", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"remove", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"mode", JSON_STRING, false, 1, 16},
	{"limits", JSON_OBJECT, false, 0, 0},
	{"force", JSON_BOOL, false, 0, 0},
};
static const struct json_member token_members[] = {
	{"role", JSON_STRING, true, 1, 16},
	{"agent", JSON_STRING, false, 1, 64},
	{"ttl", JSON_INTEGER, false, 1, 315360000},
	{"label", JSON_STRING, false, 0, 200},
	{"replace", JSON_BOOL, false, 0, 0},
};

static const struct route routes[] = {
	{"GET", "/", ROLE_NONE, 0, index_serve, .summary = "What this is"},
	{"GET", "/healthz", ROLE_NONE, 0, health_serve,
		.summary = "Whether the gateway and berthd answer"},
	{"GET", "/openapi.json", ROLE_NONE, 0, openapi_serve, .summary = "This API, described"},
	{"GET", "/metrics", ROLE_VIEWER, ROUTE_ALL_AGENTS, metrics_serve,
		.summary = "Counters for Prometheus"},
	{"GET", "/v1/status", ROLE_VIEWER, 0, op_serve, .op = "status",
		.summary = "The appliance's state"},
	{"POST", "/v1/shutdown", ROLE_ADMIN, ROUTE_LOCAL | ROUTE_LONG, op_serve, .op = "shutdown",
		.summary = "Stop every agent and end berth"},
	{"GET", AGENTS, ROLE_VIEWER, 0, agents_serve, .op = "agent.list", .summary = "The agents"},
	{"POST", AGENTS, ROLE_ADMIN,
		ROUTE_JSON | ROUTE_LONG | ROUTE_AGENT | ROUTE_CREATED | ROUTE_ALL_AGENTS, op_serve,
		.op = "agent.create", MEMBERS(create_members), .summary = "Create an agent"},
	{"GET", AGENT, ROLE_VIEWER, ROUTE_AGENT, op_serve, .op = "agent.get",
		.summary = "One agent"},
	{"PATCH", AGENT, ROLE_ADMIN, ROUTE_JSON | ROUTE_AGENT, op_serve, .op = "agent.update",
		MEMBERS(update_members), .summary = "Change an agent"},
	{"DELETE", AGENT, ROLE_ADMIN, ROUTE_LONG | ROUTE_EMPTY, op_serve, .op = "agent.remove",
		.summary = "Remove an agent and its disk"},
	{"POST", AGENT "/start", ROLE_AGENT, ROUTE_LONG | ROUTE_AGENT | ROUTE_JSON, op_serve,
		.op = "agent.start", .summary = "Start an agent"},
	{"POST", AGENT "/stop", ROLE_AGENT, ROUTE_LONG | ROUTE_AGENT | ROUTE_JSON, op_serve,
		.op = "agent.stop", MEMBERS(stop_members),
		.summary = "Stop an agent; its disk stays"},
	{"POST", AGENT "/restart", ROLE_AGENT, ROUTE_LONG | ROUTE_AGENT | ROUTE_JSON, op_serve,
		.op = "agent.restart", .summary = "Stop and start an agent"},
	{"POST", AGENT "/suspend", ROLE_AGENT, ROUTE_LONG | ROUTE_AGENT | ROUTE_JSON, op_serve,
		.op = "agent.suspend",
		.summary = "Put an agent to sleep; its memory goes to its disk"},
	{"POST", AGENT "/resume", ROLE_AGENT, ROUTE_LONG | ROUTE_AGENT | ROUTE_JSON, op_serve,
		.op = "agent.resume", .summary = "Wake an agent"},
	{"POST", AGENT "/snapshots", ROLE_ADMIN, ROUTE_LONG | ROUTE_JSON | ROUTE_CREATED, op_serve,
		.op = "agent.snapshot", MEMBERS(snapshot_members),
		.summary = "Take a snapshot of an agent"},
	{"GET", AGENT "/snapshots", ROLE_VIEWER, 0, op_serve, .op = "snapshot.list",
		.summary = "An agent's snapshots"},
	{"POST", AGENT "/restore", ROLE_ADMIN, ROUTE_LONG | ROUTE_AGENT | ROUTE_JSON, op_serve,
		.op = "agent.restore", MEMBERS(restore_members),
		.summary = "Put an agent back to one of its snapshots"},
	{"POST", AGENT "/fork", ROLE_ADMIN,
		ROUTE_LONG | ROUTE_JSON | ROUTE_CREATED | ROUTE_ALL_AGENTS, op_serve,
		.op = "agent.fork", MEMBERS(fork_members),
		.summary = "New agents that begin where this one is"},
	{"POST", AGENT "/open", ROLE_AGENT, ROUTE_JSON, open_serve, .summary = "Open a URL"},
	{"GET", AGENT "/screenshot", ROLE_VIEWER, 0, screenshot_serve,
		.summary = "A picture of the page"},
	{"POST", AGENT "/computer", ROLE_AGENT, ROUTE_JSON | ROUTE_LIST, computer_serve,
		.summary = "Do what a computer-use model asks for"},
	{"POST", AGENT "/mcp", ROLE_AGENT, ROUTE_STREAM, mcp_serve,
		.summary = "MCP: the browser's tools for a model, over Streamable HTTP"},
	{"GET", AGENT "/log", ROLE_VIEWER, 0, actions_serve, .op = "actions.list",
		.summary = "What models did in an agent's browser"},
	{"GET", AGENT "/log/{id}/picture", ROLE_VIEWER, 0, action_picture_serve,
		.op = "actions.picture", .summary = "What it looked like before or after that"},
	{"POST", "/v1/mcp", ROLE_VIEWER, ROUTE_STREAM, mcp_serve,
		.summary = "MCP over all agents: their life, and the browser of each"},
	{"POST", AGENT "/port", ROLE_ADMIN, ROUTE_JSON, port_open_serve,
		.summary = "Open a loopback port with plain CDP"},
	{"DELETE", AGENT "/port", ROLE_ADMIN, 0, port_close_serve, .summary = "Close that port"},
	{"POST", AGENT "/exec", ROLE_AGENT, ROUTE_JSON, exec_serve, .summary = "Run a command"},
	{"GET", AGENT "/exec", ROLE_AGENT, ROUTE_WS, .serve_ws = exec_serve_ws,
		.summary = "Run a command, streams over a WebSocket"},
	{"GET", AGENT "/files/{path}", ROLE_AGENT, 0, files_serve,
		.summary = "Fetch a file, a folder's list, or a folder as tar"},
	{"PUT", AGENT "/files/{path}", ROLE_AGENT, ROUTE_STREAM, files_serve,
		.summary = "Store a file, or unpack a tar"},
	{"DELETE", AGENT "/files/{path}", ROLE_AGENT, 0, files_serve,
		.summary = "Remove a file or a folder"},
	{"GET", AGENT "/policy", ROLE_VIEWER, 0, op_serve, .op = "policy.get",
		.summary = "The egress policy"},
	{"PUT", AGENT "/policy", ROLE_ADMIN, ROUTE_JSON, op_serve, .op = "policy.set",
		MEMBERS(policy_set_members), .summary = "Replace the egress policy"},
	{"PATCH", AGENT "/policy", ROLE_ADMIN, ROUTE_JSON, op_serve, .op = "policy.change",
		MEMBERS(policy_change_members),
		.summary = "Allow, deny or remove single rules, change single settings"},
	{"GET", AGENT "/policy/log", ROLE_VIEWER, 0, policy_log_serve, .op = "policy.log",
		.summary = "What left, and what was denied"},
	{"GET", AGENT "/policy/why", ROLE_VIEWER, 0, policy_why_serve, .op = "policy.why",
		.summary = "What would become of a connection, and why"},
	{"GET", AGENT "/policy/suggest", ROLE_VIEWER, 0, op_serve, .op = "policy.suggest",
		.summary = "Rules for what was asked for"},
	{"GET", "/v1/policy/presets", ROLE_VIEWER, 0, op_serve, .op = "policy.presets",
		.summary = "Lists of rules kept as files"},
	{"GET", "/v1/policy/presets/{id}", ROLE_VIEWER, 0, op_serve, .op = "policy.preset",
		.id_arg = "preset", .summary = "One of them"},
	{"GET", AGENT "/events", ROLE_VIEWER, 0, events_serve, .op = "events.list",
		.summary = "An agent's events"},
	{"GET", "/v1/events", ROLE_ADMIN, ROUTE_ALL_AGENTS, events_serve, .op = "events.list",
		.summary = "All events"},
	{"GET", "/v1/snapshots", ROLE_VIEWER, ROUTE_ALL_AGENTS, op_serve, .op = "snapshot.list",
		.summary = "All snapshots"},
	{"GET", "/v1/snapshots/{id}", ROLE_VIEWER, ROUTE_ALL_AGENTS, op_serve, .op = "snapshot.get",
		.id_arg = "snapshot", .summary = "One snapshot"},
	{"DELETE", "/v1/snapshots/{id}", ROLE_ADMIN, ROUTE_EMPTY | ROUTE_ALL_AGENTS, op_serve,
		.op = "snapshot.remove", .id_arg = "snapshot", .summary = "Remove a snapshot"},
	{"GET", "/v1/images", ROLE_VIEWER, 0, op_serve, .op = "image.list",
		.summary = "Guest images"},
	{"POST", "/v1/images/{id}/template", ROLE_ADMIN, ROUTE_LONG | ROUTE_JSON | ROUTE_ALL_AGENTS,
		op_serve, .op = "image.template", .id_arg = "image",
		.summary = "Make an image's warm template, for new agents of the usual size"},
	{"DELETE", "/v1/images/{id}", ROLE_ADMIN, ROUTE_LONG | ROUTE_EMPTY | ROUTE_ALL_AGENTS,
		op_serve, .op = "image.remove", .id_arg = "image",
		.summary = "Remove a guest image"},
	{"GET", "/v1/tokens", ROLE_ADMIN, ROUTE_ALL_AGENTS, op_serve, .op = "token.list",
		.summary = "Tokens, without their secrets"},
	{"POST", "/v1/tokens", ROLE_ADMIN, ROUTE_JSON | ROUTE_CREATED | ROUTE_ALL_AGENTS, op_serve,
		.op = "token.create", MEMBERS(token_members),
		.summary = "Create a token; the only answer that shows it"},
	{"DELETE", "/v1/tokens/{id}", ROLE_ADMIN, ROUTE_EMPTY | ROUTE_ALL_AGENTS, op_serve,
		.op = "token.revoke", .id_arg = "id", .summary = "Revoke a token"},
	{"GET", AGENT "/json", ROLE_VIEWER, ROUTE_PLAIN, discovery_serve,
		.summary = "Chromium's list of targets"},
	{"GET", AGENT "/json/list", ROLE_VIEWER, ROUTE_PLAIN, discovery_serve,
		.summary = "Chromium's list of targets"},
	{"GET", AGENT "/json/version", ROLE_VIEWER, ROUTE_PLAIN, discovery_serve,
		.summary = "Chromium's version and WebSocket URL"},
	{"GET", AGENT "/json/protocol", ROLE_VIEWER, ROUTE_PLAIN, discovery_serve,
		.summary = "The DevTools protocol, described"},
	{"PUT", AGENT "/json/new", ROLE_AGENT, ROUTE_PLAIN, discovery_serve,
		.summary = "Open a page"},
	{"GET", AGENT "/json/activate/{id}", ROLE_AGENT, ROUTE_PLAIN, discovery_serve,
		.summary = "Bring a page to the front"},
	{"GET", AGENT "/json/close/{id}", ROLE_AGENT, ROUTE_PLAIN, discovery_serve,
		.summary = "Close a page"},
	{"GET", AGENT "/cdp", ROLE_AGENT, ROUTE_WS | ROUTE_PLAIN, .serve_ws = cdp_serve_ws,
		.summary = "CDP; this address stays valid over browser restarts"},
	{"GET", AGENT "/devtools/browser/{id}", ROLE_AGENT, ROUTE_WS | ROUTE_PLAIN,
		.serve_ws = cdp_serve_ws, .summary = "CDP of the browser"},
	{"GET", AGENT "/devtools/page/{id}", ROLE_AGENT, ROUTE_WS | ROUTE_PLAIN,
		.serve_ws = cdp_serve_ws, .summary = "CDP of one page"},
};

const struct route *api_routes(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(routes);
	return routes;
}

/* ---- Matching ---- */

struct found {
	const char *agent, *rest; /* inside the path, percent-encoded */
	size_t agent_len, rest_len;
};

static bool is_param(const char *pattern, const char *name)
{
	return strncmp(pattern, name, strlen(name)) == 0;
}

/* Segment by segment. A slash at the end of the path is one too many only where {path} takes it. */
static bool matches(const char *pattern, const char *path, struct found *f)
{
	while (*pattern) {
		size_t n = strcspn(path, "/");

		if (is_param(pattern, "{path}")) {
			f->rest = path;
			f->rest_len = strlen(path);
			return true;
		}
		if (*pattern != '{') {
			if (*pattern != *path &&
				!(*pattern == '/' && !*path && is_param(pattern + 1, "{path}")))
				return false;
			path += *path ? 1 : 0;
			pattern++;
			continue;
		}
		if (n == 0)
			return false;
		if (is_param(pattern, "{a}")) {
			f->agent = path;
			f->agent_len = n;
		} else {
			f->rest = path;
			f->rest_len = n;
		}
		path += n;
		pattern = strchr(pattern, '}') + 1;
	}
	return *path == '\0' || streq(path, "/");
}

/* Ports of `berth port` know the routes below an agent, without its prefix. */
static bool route_matches(const struct route *r, const char *path, bool plain_port, struct found *f)
{
	*f = (struct found){0};
	if (!plain_port)
		return matches(r->pattern, path, f);
	return r->flags & ROUTE_PLAIN && matches(r->pattern + strlen(AGENT), path, f);
}

static bool is_id(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n > 0 && n <= 128 && s[n] == '\0';
}

static int fill_match(const struct route *r, const char *path, const struct found *f,
	struct route_match *m, struct err *err)
{
	const char *below = f->agent ? f->agent + f->agent_len : path;
	size_t n = strlen(below);

	m->route = r;
	m->rest = xmalloc(f->rest_len + 1);
	if (!request_decode(f->rest ? f->rest : "", f->rest_len, m->rest))
		return problem(err, 400, "invalid-request", "the path has a wrong percent escape");
	if (f->rest && !strstr(r->pattern, "{path}") && !is_id(m->rest))
		return problem(err, 404, "not-found", "there is nothing of that name");
	if (f->agent && (f->agent_len >= sizeof(m->agent) || memchr(f->agent, '%', f->agent_len)))
		return problem(err, 404, "agent-not-found", "there is no agent of that name");
	if (f->agent)
		snprintf(m->agent, sizeof(m->agent), "%.*s", (int)f->agent_len, f->agent);
	while (n > 1 && below[n - 1] == '/')
		n--;
	m->below = xasprintf("%.*s", (int)n, below);
	return 0;
}

static void add_method(char **list, const char *method)
{
	char *longer;

	if (*list && strstr(*list, method))
		return;
	longer = *list ? xasprintf("%s, %s", *list, method) : xstrdup(method);
	free(*list);
	*list = longer;
}

int api_find(
	const char *path, bool upgrade, struct route_match *m, char **ret_allow, struct err *err)
{
	bool only_ws = false, only_http = false;
	AUTOFREE char *allow = NULL;
	struct found f;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const struct route *r = &routes[i];
		bool ws = r->flags & ROUTE_WS;

		if (!route_matches(r, path, m->plain_port, &f))
			continue;
		add_method(&allow, r->method);
		if (!streq(r->method, m->method))
			continue;
		if (ws == upgrade)
			return fill_match(r, path, &f, m, err);
		only_ws |= ws;
		only_http |= !ws;
	}
	if (!allow)
		return problem(err, 404, "not-found", "there is nothing at this path");
	if (only_ws)
		return problem(err, 426, "invalid-request", "this path speaks WebSocket only");
	if (only_http)
		return problem(err, 400, "invalid-request", "this path is not a WebSocket");
	*ret_allow = steal(&allow);
	return problem(err, 405, "method-not-allowed", "this path knows %s", *ret_allow);
}

/* ---- Things handlers share ---- */

static bool parse_json(const void *text, size_t n, bool list, cJSON **ret, struct err *err)
{
	const char *end = NULL;
	uint32_t state = 0;
	cJSON *obj = NULL;
	AUTOFREE char *copy = xmalloc(n + 1);

	memcpy(copy, text, n);
	copy[n] = '\0';
	if (ws_utf8(&state, text, n) && state == 0 && !memchr(text, 0, n))
		obj = cJSON_ParseWithOpts(copy, &end, true);
	if (cJSON_IsObject(obj) || (list && cJSON_IsArray(obj))) {
		*ret = obj;
		return true;
	}
	cJSON_Delete(obj);
	problem(err, 400, "invalid-request", "the body is not a JSON object%s in UTF-8",
		list ? " or array" : "");
	return false;
}

bool api_parse_json(const void *text, size_t n, cJSON **ret, struct err *err)
{
	return parse_json(text, n, false, ret, err);
}

bool api_parse_json_list(const void *text, size_t n, cJSON **ret, struct err *err)
{
	return parse_json(text, n, true, ret, err);
}

bool api_wants_events(const struct route_match *m)
{
	const struct http_text *accept = http_header(m->head, "Accept", NULL);

	return accept && memmem(accept->s, accept->n, "text/event-stream", 17);
}

void api_add_urls(cJSON *agent, const struct route_match *m)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(agent, "name");
	AUTOFREE char *base = NULL;
	AUTOFREE char *cdp = NULL;
	AUTOFREE char *http = NULL;
	AUTOFREE char *computer = NULL;
	AUTOFREE char *mcp = NULL;
	cJSON *urls;

	if (!cJSON_IsString(name))
		return;
	base = xasprintf("%s" AGENTS "/%s", m->host, name->valuestring);
	cdp = xasprintf("ws://%s/cdp", base);
	http = xasprintf("http://%s", base);
	mcp = xasprintf("http://%s/mcp", base);
	computer = xasprintf("http://%s/computer", base);
	cJSON_DeleteItemFromObjectCaseSensitive(agent, "urls");
	urls = cJSON_AddObjectToObject(agent, "urls");
	cJSON_AddStringToObject(urls, "cdp", cdp);
	cJSON_AddStringToObject(urls, "cdp_http", http);
	cJSON_AddNullToObject(urls, "live");
	cJSON_AddNullToObject(urls, "rfb");
	cJSON_AddStringToObject(urls, "computer", computer);
	cJSON_AddStringToObject(urls, "mcp", mcp);
}

int api_may_ask(const struct route *r, const struct principal *who, struct err *err)
{
	static const char *const roles[] = {"none", "viewer", "agent", "admin"};
	bool one_only = who->agent[0] && r->flags & ROUTE_ALL_AGENTS;

	if (r->flags & ROUTE_LOCAL && !who->local)
		return problem(
			err, 403, "forbidden", "only the appliance's own socket may ask for this");
	if (who->role >= r->role && !one_only)
		return 0;
	return problem(err, 403, "forbidden", "this needs a token of the role %s%s", roles[r->role],
		one_only ? " that names no agent" : "");
}

int api_may_use(const struct principal *who, const char *agent, struct err *err)
{
	if (!who->agent[0] || !agent[0] || streq(who->agent, agent))
		return 0;
	return problem(err, 403, "forbidden", "this token is for the agent %s only", who->agent);
}

void api_keep_own(cJSON *answer, const struct principal *who)
{
	cJSON *list = cJSON_GetObjectItemCaseSensitive(answer, "agents");

	for (int i = cJSON_GetArraySize(list) - 1; i >= 0 && who->agent[0]; i--) {
		if (!streq(json_str(cJSON_GetArrayItem(list, i), "name", ""), who->agent))
			cJSON_DeleteItemFromArray(list, i);
	}
}

int api_query_number(const struct route_match *m, const char *name, uint64_t min, uint64_t max,
	uint64_t *ret, struct err *err)
{
	char text[32];
	int r = http_query(&m->target, name, text, sizeof(text));

	if (r == 0)
		return 0;
	if (r > 0 && parse_u64(text, min, max, ret))
		return 1;
	return problem(err, 400, "invalid-request", "'%s' must be a number from %llu to %llu", name,
		(unsigned long long)min, (unsigned long long)max);
}
