/* MCP's messages: JSON-RPC, the revisions and what differs between them. */
#include "mcp_proto.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "mcp_agents.h"
#include "mcp_tools.h"
#include "util.h"

/*
 * Sources: modelcontextprotocol.io, the specification of each revision, "Streamable HTTP". Up to
 * 2025-11-25 a client begins with initialize, and may send the revision in a header from then on;
 * nothing of that is kept here, each request stands for itself. 2026-07-28 knows no beginning: the
 * revision is in the header and in the body of each request, and they must agree.
 */
#define META "io.modelcontextprotocol/"
#define NEWEST_WITH_INITIALIZE MCP_2025_11_25

static const char *const revisions[MCP_REVISIONS] = {
	[MCP_2025_03_26] = "2025-03-26",
	[MCP_2025_06_18] = "2025-06-18",
	[MCP_2025_11_25] = "2025-11-25",
	[MCP_2026_07_28] = "2026-07-28",
};

static const char instructions[] =
	"A computer of its own with a web browser. browser_snapshot tells what is on the page; its "
	"refs "
	"name elements for the other tools. `computer` works by pictures and coordinates instead.";

static const char instructions_all[] =
	"Agents: each is a computer of its own with a web browser. agents_list has their names; "
	"every "
	"tool that acts on one takes its name as `agent`. One that sleeps wakes when it is used.";

static const char *instructions_of(const struct mcp_reply *r)
{
	return r->scope.all ? instructions_all : instructions;
}

static bool find_revision(const char *text, enum mcp_revision *ret)
{
	for (size_t i = 0; i < MCP_REVISIONS; i++) {
		if (!streq(text, revisions[i]))
			continue;
		*ret = (enum mcp_revision)i;
		return true;
	}
	return false;
}

static cJSON *revision_list(void)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = MCP_REVISIONS; i-- > 0;)
		cJSON_AddItemToArray(list, cJSON_CreateString(revisions[i]));
	return list;
}

/* ---- Answers ---- */

static cJSON *envelope(const cJSON *id)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "jsonrpc", "2.0");
	cJSON_AddItemToObject(o, "id", id ? cJSON_Duplicate(id, false) : cJSON_CreateNull());
	return o;
}

cJSON *mcp_error(const cJSON *id, enum mcp_error code, cJSON *data, const char *fmt, ...)
{
	cJSON *o = envelope(id), *e = cJSON_AddObjectToObject(o, "error");
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cJSON_AddNumberToObject(e, "code", code);
	cJSON_AddStringToObject(e, "message", text);
	if (data)
		cJSON_AddItemToObject(e, "data", data);
	return o;
}

static void add_server(cJSON *to, const char *name)
{
	cJSON *o = cJSON_AddObjectToObject(to, name);

	cJSON_AddStringToObject(o, "name", "berth");
	cJSON_AddStringToObject(o, "title", "berth");
	cJSON_AddStringToObject(o, "version", BERTH_VERSION);
}

cJSON *mcp_result(const struct mcp_reply *r, cJSON *result)
{
	cJSON *o = envelope(r->id);

	if (r->revision >= MCP_2026_07_28) {
		cJSON_AddStringToObject(result, "resultType", "complete");
		add_server(cJSON_AddObjectToObject(result, "_meta"), META "serverInfo");
	}
	cJSON_AddItemToObject(o, "result", result);
	return o;
}

static void answer(struct mcp_reply *r, cJSON *result)
{
	r->outcome = MCP_ANSWER;
	r->status = 200;
	r->answer = mcp_result(r, result);
}

static void refuse(struct mcp_reply *r, int status, cJSON *error)
{
	r->outcome = MCP_ANSWER;
	r->status = status;
	r->answer = error;
}

/* ---- Methods ---- */

static void add_capabilities(cJSON *to)
{
	cJSON_AddObjectToObject(cJSON_AddObjectToObject(to, "capabilities"), "tools");
}

/* The client's revision if it is one that begins so, else the newest of those. */
static void on_initialize(struct mcp_reply *r, const cJSON *params)
{
	const char *wanted = json_str(params, "protocolVersion", "");
	enum mcp_revision revision;
	cJSON *o;

	if (!*wanted) {
		refuse(r, 200,
			mcp_error(r->id, MCP_INVALID_PARAMS, NULL, "protocolVersion is missing"));
		return;
	}
	if (!find_revision(wanted, &revision) || revision > NEWEST_WITH_INITIALIZE)
		revision = NEWEST_WITH_INITIALIZE;
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "protocolVersion", revisions[revision]);
	add_capabilities(o);
	add_server(o, "serverInfo");
	cJSON_AddStringToObject(o, "instructions", instructions_of(r));
	answer(r, o);
}

static void add_lifetime(const struct mcp_reply *r, cJSON *o)
{
	if (r->revision < MCP_2026_07_28)
		return;
	cJSON_AddNumberToObject(o, "ttlMs", MCP_TTL_MS);
	cJSON_AddStringToObject(o, "cacheScope", r->scope.all ? "private" : "public");
}

static void on_discover(struct mcp_reply *r, const cJSON *params)
{
	cJSON *o = cJSON_CreateObject();

	(void)params;
	cJSON_AddItemToObject(o, "supportedVersions", revision_list());
	add_capabilities(o);
	cJSON_AddStringToObject(o, "instructions", instructions_of(r));
	add_lifetime(r, o);
	answer(r, o);
}

static void on_ping(struct mcp_reply *r, const cJSON *params)
{
	(void)params;
	answer(r, cJSON_CreateObject());
}

static void on_list(struct mcp_reply *r, const cJSON *params)
{
	cJSON *o;

	if (json_get(params, "cursor")) {
		refuse(r, 200,
			mcp_error(r->id, MCP_INVALID_PARAMS, NULL, "the list has one page only"));
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddItemToObject(
		o, "tools", r->scope.all ? agents_tools_list(r->scope.role) : tools_list());
	add_lifetime(r, o);
	answer(r, o);
}

static void on_call(struct mcp_reply *r, const cJSON *params)
{
	const cJSON *arguments = json_get(params, "arguments");

	r->tool = json_str(params, "name", NULL);
	r->arguments = arguments;
	if (!r->tool || !(r->scope.all ? agents_tools_has(r->tool) : tools_has(r->tool)))
		refuse(r, 200,
			mcp_error(r->id, MCP_INVALID_PARAMS, NULL, "there is no tool \"%.60s\"",
				r->tool ? r->tool : ""));
	else if (arguments && !cJSON_IsObject(arguments))
		refuse(r, 200,
			mcp_error(r->id, MCP_INVALID_PARAMS, NULL, "arguments must be an object"));
	else
		r->outcome = MCP_CALL;
}

static const struct {
	const char *name;
	enum mcp_revision first, last;
	void (*serve)(struct mcp_reply *r, const cJSON *params);
} methods[] = {
	{"initialize", MCP_2025_03_26, NEWEST_WITH_INITIALIZE, on_initialize},
	{"ping", MCP_2025_03_26, NEWEST_WITH_INITIALIZE, on_ping},
	{"server/discover", MCP_2026_07_28, MCP_2026_07_28, on_discover},
	{"tools/list", MCP_2025_03_26, MCP_2026_07_28, on_list},
	{"tools/call", MCP_2025_03_26, MCP_2026_07_28, on_call},
};

/* ---- Which revision ---- */

static cJSON *unsupported(const cJSON *id, const char *wanted)
{
	cJSON *data = cJSON_CreateObject();

	cJSON_AddItemToObject(data, "supported", revision_list());
	cJSON_AddStringToObject(data, "requested", wanted);
	return mcp_error(
		id, MCP_UNSUPPORTED_VERSION, data, "revision \"%.40s\" is not supported", wanted);
}

/* Of 2026-07-28: what the headers say is what the body says. The body's word is only compared. */
static cJSON *compare(
	const struct mcp_headers *h, const cJSON *id, const char *method, const cJSON *params)
{
	const cJSON *meta = json_get(params, "_meta");
	const char *name = json_str(params, "name", json_str(params, "uri", ""));
	bool named = streq(method, "tools/call") || streq(method, "resources/read") ||
		     streq(method, "prompts/get");

	if (!streq(h->version, json_str(meta, META "protocolVersion", "")))
		return mcp_error(id, MCP_HEADER_MISMATCH, NULL,
			"MCP-Protocol-Version and _meta[\"" META "protocolVersion\"] differ");
	if (!streq(h->method, method))
		return mcp_error(
			id, MCP_HEADER_MISMATCH, NULL, "Mcp-Method and the body's method differ");
	if (named && !streq(h->name, name))
		return mcp_error(
			id, MCP_HEADER_MISMATCH, NULL, "Mcp-Name and the body's name differ");
	if (id && !cJSON_IsObject(json_get(meta, META "clientCapabilities")))
		return mcp_error(id, MCP_INVALID_PARAMS, NULL,
			"_meta[\"" META "clientCapabilities\"] is missing");
	return NULL;
}

/* 0, or r holds the refusal. Without a header it is the one before there was one. */
static int judge_revision(
	const struct mcp_headers *h, const char *method, const cJSON *params, struct mcp_reply *r)
{
	const char *told = json_str(json_get(params, "_meta"), META "protocolVersion", NULL);
	cJSON *error;

	r->revision = MCP_2025_03_26;
	if (*h->version && !find_revision(h->version, &r->revision)) {
		refuse(r, 400, unsupported(r->id, h->version));
		return -1;
	}
	if (r->revision < MCP_2026_07_28 && !(told && !streq(told, h->version)))
		return 0;
	error = compare(h, r->id, method, params);
	if (error)
		refuse(r, 400, error);
	return error ? -1 : 0;
}

/* ---- Messages ---- */

static bool id_valid(const cJSON *id)
{
	if (cJSON_IsString(id))
		return strlen(id->valuestring) <= MCP_ID_MAX;
	return cJSON_IsNumber(id) && id->valuedouble > -9007199254740992.0 &&
	       id->valuedouble < 9007199254740992.0;
}

static int check_form(const cJSON *m, struct mcp_reply *r)
{
	const cJSON *params = json_get(m, "params");
	const char *why = NULL;

	if (!cJSON_IsObject(m))
		why = "a message must be an object";
	else if (!streq(json_str(m, "jsonrpc", ""), "2.0"))
		why = "jsonrpc must be \"2.0\"";
	else if (!json_str(m, "method", NULL))
		why = "method is missing";
	else if (json_get(m, "id") && !id_valid(json_get(m, "id")))
		why = "id must be a string or a number";
	else if (params && !cJSON_IsObject(params))
		why = "params must be an object";
	if (why)
		refuse(r, 400, mcp_error(NULL, MCP_INVALID_REQUEST, NULL, "%s", why));
	return why ? -1 : 0;
}

static void dispatch(struct mcp_reply *r, const char *method, const cJSON *params)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (!streq(methods[i].name, method) || r->revision < methods[i].first ||
			r->revision > methods[i].last)
			continue;
		methods[i].serve(r, params);
		return;
	}
	refuse(r, r->revision >= MCP_2026_07_28 ? 404 : 200,
		mcp_error(
			r->id, MCP_METHOD_NOT_FOUND, NULL, "there is no method \"%.60s\"", method));
}

void mcp_read(const struct mcp_headers *h, struct mcp_scope scope, const cJSON *message,
	struct mcp_reply *r)
{
	const cJSON *params = json_get(message, "params");
	const char *method;

	*r = (struct mcp_reply){.scope = scope};
	/* A response: nothing was asked. */
	if (cJSON_IsObject(message) && !json_get(message, "method") &&
		(json_get(message, "result") || json_get(message, "error"))) {
		r->outcome = MCP_NOTHING;
		return;
	}
	if (check_form(message, r) < 0)
		return;
	method = json_str(message, "method", "");
	r->id = json_get(message, "id");
	if (judge_revision(h, method, params, r) < 0)
		return;
	if (r->id)
		dispatch(r, method, params);
	else
		r->outcome = MCP_NOTHING;
}

bool mcp_may_batch(const struct mcp_headers *h)
{
	return !*h->version || streq(h->version, revisions[MCP_2025_03_26]);
}
