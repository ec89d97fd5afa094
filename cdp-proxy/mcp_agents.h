/* MCP tools over all agents: those of their life, made of the API's own routes, and the browser's
 * with the agent's name. Pure. */
#ifndef BERTH_MCP_AGENTS_H
#define BERTH_MCP_AGENTS_H

#include <cjson/cJSON.h>

#include "api.h"
#include "gateway.h"

/* The tools of the endpoint over all agents that a role may call; ROLE_VIEWER only looks. */
cJSON *agents_tools_list(enum role role);
/* The route that a tool of this name stands for; NULL when it is none of an agent's life. */
const struct route *agents_tool_route(const char *name);
bool agents_tools_has(const char *name);
/*
 * Splits a call's arguments (NULL is none): the agent that is meant (within arguments; "" for a
 * route without one), and a copy without it, the caller's to delete. 0; negative with a message for
 * the model when it is missing or when who may not.
 */
int agents_tool_split(const char *name, const cJSON *arguments, const struct principal *who,
	const char **ret_agent, cJSON **ret_rest, struct err *err);
/* The result of a route's op ({content, isError}); a token for one agent is told of no other. */
cJSON *agents_tool_result(const cJSON *ok, const struct err *failed, const struct principal *who);

#endif
