/* MCP's messages: JSON-RPC, the revisions and what differs between them. Pure. */
#ifndef BERTH_MCP_PROTO_H
#define BERTH_MCP_PROTO_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway.h"

#define MCP_BATCH_MAX 16   /* messages of one body, revision 2025-03-26 */
#define MCP_HEADER_MAX 128 /* bytes of a header that is looked at, with its NUL */
#define MCP_ID_MAX 512     /* bytes of an id that is a text */
#define MCP_TTL_MS 3600000 /* how long a list of tools may be kept */

enum mcp_revision { MCP_2025_03_26, MCP_2025_06_18, MCP_2025_11_25, MCP_2026_07_28, MCP_REVISIONS };

/* JSON-RPC's errors, and MCP's own. */
enum mcp_error {
	MCP_PARSE_ERROR = -32700,
	MCP_INVALID_REQUEST = -32600,
	MCP_METHOD_NOT_FOUND = -32601,
	MCP_INVALID_PARAMS = -32602,
	MCP_INTERNAL_ERROR = -32603,
	MCP_HEADER_MISMATCH = -32020,
	MCP_MISSING_CAPABILITY = -32021,
	MCP_UNSUPPORTED_VERSION = -32022,
};

/* Headers of the request; "" when absent. */
struct mcp_headers {
	char version[MCP_HEADER_MAX], method[MCP_HEADER_MAX], name[MCP_HEADER_MAX];
};

/* Whose tools are meant. */
struct mcp_scope {
	bool all;       /* of all agents; else the browser's of one */
	enum role role; /* of all: what the client may */
};

enum mcp_outcome {
	MCP_ANSWER,  /* `answer` goes back with `status` */
	MCP_NOTHING, /* a notification or a response: 202 and no body */
	MCP_CALL,    /* the tool `tool` is to be called */
};

struct mcp_reply {
	enum mcp_outcome outcome;
	enum mcp_revision revision;
	struct mcp_scope scope;
	int status;
	cJSON *answer;          /* the caller's to delete */
	const char *tool;       /* points into the message, as do the next two */
	const cJSON *arguments; /* an object or NULL */
	const cJSON *id;
};

/* One message, anything that JSON can say. in_batch: its header does not have to tell its method.
 */
void mcp_read(const struct mcp_headers *h, struct mcp_scope scope, const cJSON *message,
	struct mcp_reply *ret);
/* True when this client may send several in a list. */
bool mcp_may_batch(const struct mcp_headers *h);

/* The answer to a call: result is consumed. */
cJSON *mcp_result(const struct mcp_reply *r, cJSON *result);
/* id may be NULL: null. data is consumed, and may be NULL. */
__attribute__((format(printf, 4, 5))) cJSON *mcp_error(
	const cJSON *id, enum mcp_error code, cJSON *data, const char *fmt, ...);

#endif
