/* The table of routes: dispatch, 405, roles, and the check against openapi.json all come from it.
 */
#ifndef BERTH_API_H
#define BERTH_API_H

#include "gateway.h"
#include "json.h"

#define ROUTE_WS 1u          /* a WebSocket */
#define ROUTE_JSON 2u        /* may have a JSON body */
#define ROUTE_STREAM 4u      /* may have a body of any size */
#define ROUTE_LOCAL 8u       /* by the unix socket only */
#define ROUTE_LONG 16u       /* may be asked for as server-sent events with progress */
#define ROUTE_AGENT 32u      /* the answer is an agent object */
#define ROUTE_ALL_AGENTS 64u /* not for tokens that name one agent */
#define ROUTE_PLAIN 128u     /* also on ports of `berth port` */
#define ROUTE_CREATED 256u   /* 201 */
#define ROUTE_EMPTY 512u     /* 204 */
#define ROUTE_LIST 1024u     /* a JSON body may be an array too */

struct route {
	const char *method;
	const char *pattern; /* {a}, {id}: one segment; {path}: all the rest */
	enum role role;
	unsigned int flags;
	void (*serve)(struct gateway *gw, struct http_conn *c, const struct route_match *m);
	void (*serve_ws)(struct gateway *gw, struct ws_conn *ws, const struct route_match *m);
	/* routes that are one control op */
	const char *op;
	const struct json_member *members; /* of the body */
	size_t n_members;
	const char *id_arg; /* the argument that {id} becomes */
	const char *summary;
};

const struct route *api_routes(size_t *ret_n);
/*
 * The route of a path (percent-encoded, no query); m->method and m->plain_port are set by the
 * caller, agent, rest and below by this. 0; or 404, 405 (*ret_allow is the Allow list then, the
 * caller's to free), 400, 426.
 */
int api_find(
	const char *path, bool upgrade, struct route_match *m, char **ret_allow, struct err *err);
/* A JSON object: UTF-8, nothing behind it. */
bool api_parse_json(const void *text, size_t n, cJSON **ret, struct err *err);
/* The same, or an array. */
bool api_parse_json_list(const void *text, size_t n, cJSON **ret, struct err *err);
/* "text/event-stream" is what the client wants. */
bool api_wants_events(const struct route_match *m);
/* 0 when who may ask for the route, whatever the agent; else 403. */
int api_may_ask(const struct route *r, const struct principal *who, struct err *err);
/* The same for the agent of that name; "" is none. */
int api_may_use(const struct principal *who, const char *agent, struct err *err);
/* A token that names an agent is told of that one only: takes the others out of `agents`. */
void api_keep_own(cJSON *answer, const struct principal *who);
/* Adds `urls` to an agent object. */
void api_add_urls(cJSON *agent, const struct route_match *m);
/* A whole number from the query within bounds: 1, 0 absent, negative with err. */
int api_query_number(const struct route_match *m, const char *name, uint64_t min, uint64_t max,
	uint64_t *ret, struct err *err);

#endif
