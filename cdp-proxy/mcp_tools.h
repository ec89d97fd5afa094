/* The tools that MCP clients get: one table, from arguments to actions and from results to content.
 * Pure. */
#ifndef BERTH_MCP_TOOLS_H
#define BERTH_MCP_TOOLS_H

#include <cjson/cJSON.h>

#include "vendor.h"

#define TOOL_FIELDS_MAX 50       /* of one form */
#define TOOL_CHOICES_MAX 100     /* of one list */
#define TOOL_FUNCTION_MAX 100000 /* bytes */
#define TOOL_PATHS_MAX 50
#define TOOL_EDGE_MAX 4096 /* pixels of a view's side */

bool tools_has(const char *name);
/* The `tools` of tools/list, always in the same order. */
cJSON *tools_list(void);
/* Plans a call of a tool that there is. 0; negative with a message for the model. */
int tools_plan(const char *name, const cJSON *arguments, struct plan *ret, struct err *err);
/* A tool's result ({content, isError}) from those of its plan. */
cJSON *tools_result(const char *name, const struct plan *p, const struct action_result *results);
/* A result that is words alone. */
cJSON *tools_text(const char *text, bool failed);

/* For other tables of tools. */
struct tool_words {
	const char *name, *title, *about;
	/* Annotations: it only looks; what it does may not be undone; it acts on the world outside.
	 */
	bool reads, destroys, outside;
};
/* An entry of tools/list; schema (of the arguments) is consumed. */
cJSON *tools_describe(const struct tool_words *w, cJSON *schema);
/* {"type": type} */
cJSON *tools_schema(const char *type);

#endif
