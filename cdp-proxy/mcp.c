/* POST …/mcp: an agent's browser, or all agents, as an MCP server, over Streamable HTTP. */
#include "mcp.h"

#include <string.h>

#include "api.h"
#include "bytes.h"
#include "executor.h"
#include "mcp_agents.h"
#include "mcp_proto.h"
#include "mcp_tools.h"
#include "util.h"

/*
 * Every request stands for itself: there are no sessions, and an answer is one JSON body. What is
 * between requests (tabs, refs, the cursor) is the agent's, in its executor. The messages of a list
 * are served one after another. A client that goes ends its call.
 */
struct mcp_request {
	struct http_conn *c;
	struct gateway *gw;
	const struct principal *who; /* the connection's */
	char agent[64];              /* over all: that of the call being served */
	struct mcp_scope scope;
	struct mcp_headers headers;
	struct buf body;
	cJSON *message, *answers; /* answers: NULL when one object came */
	int at;                   /* in a list */
	struct mcp_reply reply;   /* of the message that is served */
	struct plan plan;
	struct run *run;
	struct daemon_request *request;
};

static void on_close(void *data)
{
	struct mcp_request *q = data;

	if (q->run)
		run_cancel(q->run);
	/* What was begun goes on without its client. */
	if (q->request)
		gateway_cancel(q->request);
	plan_done(&q->plan);
	buf_done(&q->body);
	cJSON_Delete(q->message);
	cJSON_Delete(q->answers);
	free(q);
}

/* ---- Answers ---- */

static void send_json(struct mcp_request *q, int status, cJSON *o)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(o);

	cJSON_Delete(o);
	http_reply(q->c, status, "application/json", NULL, text, strlen(text));
}

static void next_message(struct mcp_request *q);

/* answer is consumed. */
static void answered(struct mcp_request *q, int status, cJSON *answer)
{
	if (!q->answers) {
		send_json(q, status, answer);
		return;
	}
	cJSON_AddItemToArray(q->answers, answer);
	q->at++;
	next_message(q);
}

static void accepted(struct mcp_request *q)
{
	if (q->answers) {
		q->at++;
		next_message(q);
	} else {
		http_reply(q->c, 202, "application/json", NULL, "", 0);
	}
}

/* ---- Calls ---- */

static void on_done(void *data, const struct action_result *results, const struct err *failure)
{
	struct mcp_request *q = data;
	cJSON *result = tools_result(q->reply.tool, &q->plan, results);

	(void)failure; /* told as the result of the action that it was */
	q->run = NULL;
	plan_done(&q->plan);
	answered(q, 200, mcp_result(&q->reply, result));
}

static void call_browser(struct mcp_request *q, const cJSON *arguments)
{
	struct action_source from;
	struct err err;

	snprintf(from.name, sizeof(from.name), "mcp/%s", q->reply.tool);
	snprintf(from.by, sizeof(from.by), "%s", q->who->token_id);
	if (tools_plan(q->reply.tool, arguments, &q->plan, &err) == 0)
		q->run = run_new(q->gw, q->agent, &from, q->plan.actions, q->plan.n_actions,
			on_done, q, &err);
	if (q->run)
		return;
	plan_done(&q->plan);
	answered(q, 200, mcp_result(&q->reply, tools_text(err.msg, true)));
}

static void on_op_done(void *data, const cJSON *ok, const struct err *err)
{
	struct mcp_request *q = data;

	q->request = NULL;
	answered(q, 200, mcp_result(&q->reply, agents_tool_result(ok, err, q->who)));
}

/* One of an agent's life; arguments are consumed. */
static void call_op(struct mcp_request *q, const struct route *r, cJSON *arguments)
{
	if (q->agent[0])
		cJSON_AddStringToObject(arguments, "agent", q->agent);
	q->request = gateway_ask(q->gw, r->op, arguments, q->who, on_op_done, q);
}

static void call_any(struct mcp_request *q)
{
	const struct route *r = agents_tool_route(q->reply.tool);
	const char *agent;
	struct err err;
	cJSON *rest;

	if (agents_tool_split(q->reply.tool, q->reply.arguments, q->who, &agent, &rest, &err) < 0) {
		answered(q, 200, mcp_result(&q->reply, tools_text(err.msg, true)));
		return;
	}
	snprintf(q->agent, sizeof(q->agent), "%s", agent);
	if (r) {
		call_op(q, r, rest);
	} else {
		call_browser(q, rest);
		cJSON_Delete(rest);
	}
}

static void serve(struct mcp_request *q, const cJSON *message)
{
	mcp_read(&q->headers, q->scope, message, &q->reply);
	if (q->reply.outcome == MCP_CALL && q->scope.all)
		call_any(q);
	else if (q->reply.outcome == MCP_CALL)
		call_browser(q, q->reply.arguments);
	else if (q->reply.outcome == MCP_NOTHING)
		accepted(q);
	else
		answered(q, q->reply.status, q->reply.answer);
}

static void next_message(struct mcp_request *q)
{
	const cJSON *m = cJSON_GetArrayItem(q->message, q->at);

	if (m)
		serve(q, m);
	else if (cJSON_GetArraySize(q->answers))
		send_json(q, 200, steal(&q->answers));
	else
		http_reply(q->c, 202, "application/json", NULL, "", 0);
}

/* ---- The request ---- */

static void refuse(struct mcp_request *q, enum mcp_error code, const char *why)
{
	send_json(q, 400, mcp_error(NULL, code, NULL, "%s", why));
}

static void begin_list(struct mcp_request *q)
{
	int n = cJSON_GetArraySize(q->message);

	if (!mcp_may_batch(&q->headers)) {
		refuse(q, MCP_INVALID_REQUEST, "this revision takes one message at a time");
	} else if (n < 1 || n > MCP_BATCH_MAX) {
		refuse(q, MCP_INVALID_REQUEST, "a list may have 1 to 16 messages");
	} else {
		q->answers = cJSON_CreateArray();
		next_message(q);
	}
}

static void on_body(void *data, const uint8_t *p, size_t n)
{
	struct mcp_request *q = data;

	if (!buf_add(&q->body, p, n))
		q->body.full = true;
}

static void on_body_end(void *data, const struct err *err)
{
	struct mcp_request *q = data;
	struct err e;

	if (err)
		http_reply_problem(q->c, err);
	else if (q->body.full)
		send_json(q, 413,
			mcp_error(
				NULL, MCP_INVALID_REQUEST, NULL, "a body may have 1 MiB at most"));
	else if (!api_parse_json_list(q->body.data ? (const char *)q->body.data : "", q->body.len,
			 &q->message, &e))
		refuse(q, MCP_PARSE_ERROR, e.msg);
	else if (cJSON_IsArray(q->message))
		begin_list(q);
	else
		serve(q, q->message);
}

static void read_header(const struct http_head *h, const char *name, char out[MCP_HEADER_MAX])
{
	const struct http_text *t = http_header(h, name, NULL);

	/* One that is too long is none that we know. */
	if (t)
		snprintf(out, MCP_HEADER_MAX, "%.*s", (int)MIN(t->n, MCP_HEADER_MAX - 1), t->s);
}

static const struct http_owner owner = {
	.on_close = on_close, .on_body = on_body, .on_body_end = on_body_end};

void mcp_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct mcp_request *q = xcalloc(1, sizeof(*q));

	q->c = c;
	q->gw = gw;
	q->who = &m->who;
	q->scope = (struct mcp_scope){.all = !m->agent[0], .role = m->who.role};
	snprintf(q->agent, sizeof(q->agent), "%s", m->agent);
	buf_init(&q->body, GATEWAY_JSON_MAX);
	read_header(m->head, "MCP-Protocol-Version", q->headers.version);
	read_header(m->head, "Mcp-Method", q->headers.method);
	read_header(m->head, "Mcp-Name", q->headers.name);
	http_set_owner(c, &owner, q);
	http_body_start(c);
}
