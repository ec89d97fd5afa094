/* MCP: any body is answered, any call becomes a plan within its bounds, any tree is printed. */
#include "api.h"
#include "match.h"
#include "mcp_proto.h"
#include "mcp_tools.h"
#include "snapshot.h"
#include "util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENSURE(c)                \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

static void call(const struct mcp_reply *r)
{
	struct plan p = {0};
	struct err err;
	struct action_result *results;
	cJSON *o;

	if (tools_plan(r->tool, r->arguments, &p, &err) == 0) {
		results = xcalloc(p.n_actions + 1, sizeof(*results));
		for (size_t i = 0; i < p.n_actions; i++) {
			ENSURE(p.actions[i].kind < ACTION_COUNT);
			results[i].done = true;
		}
		o = mcp_result(r, tools_result(r->tool, &p, results));
		ENSURE(cJSON_IsObject(o));
		cJSON_Delete(o);
		free(results);
	}
	plan_done(&p);
}

static unsigned int ref_of(void *data, uint64_t node)
{
	(void)data;
	return (unsigned int)node;
}

static void print(const cJSON *nodes, unsigned int how)
{
	struct snapshot_frame frame = {2, "- text: in it\n  - more"};
	struct inview *view = inview_new(cJSON_GetArrayItem(nodes, 0), 800, 600, 2);
	struct snapshot_wish wish = {.browser = how & 1,
		.interactive = how & 2,
		.depth = how & 4 ? 2 : 0,
		.root = how & 8 ? 3 : 0,
		.view = view};
	struct matches m = {0};
	struct buf b;

	buf_init(&b, 2000);
	snapshot_print(nodes, &frame, 1, &wish, ref_of, NULL, &b);
	ENSURE(b.len <= 2000);
	match_add(&m, nodes, "the search button", ref_of, NULL);
	ENSURE(m.n <= MATCH_MAX);
	match_print(&m, &b);
	match_done(&m);
	buf_done(&b);
	inview_free(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const versions[] = {"", "2025-11-25", "2026-07-28", "x"};
	struct mcp_headers h = {0};
	struct mcp_reply r;
	struct err err;
	cJSON *body = NULL;
	const cJSON *name;

	if (n < 1 || !api_parse_json_list(data + 1, n - 1, &body, &err))
		return 0;
	snprintf(h.version, sizeof(h.version), "%s", versions[data[0] % 4]);
	snprintf(h.method, sizeof(h.method), "%s", data[0] & 4 ? "tools/call" : "server/discover");
	name = cJSON_GetObjectItemCaseSensitive(
		cJSON_GetObjectItemCaseSensitive(body, "params"), "name");
	if (cJSON_IsString(name))
		snprintf(h.name, sizeof(h.name), "%s", name->valuestring);
	if (cJSON_IsArray(body)) {
		print(body, data[0] >> 3);
	} else {
		mcp_read(&h, (struct mcp_scope){.all = data[0] & 8, .role = data[0] >> 4 & 3}, body,
			&r);
		ENSURE((r.outcome == MCP_ANSWER) == (r.answer != NULL));
		if (r.outcome == MCP_CALL)
			call(&r);
		cJSON_Delete(r.answer);
	}
	cJSON_Delete(body);
	return 0;
}
