/* MCP: messages of every revision, tools' arguments and results, snapshots of hostile trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "json.h"
#include "mcp_proto.h"
#include "match.h"
#include "mcp_tools.h"
#include "snapshot.h"
#include "util.h"

#define META                                                                     \
	"\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"," \
	"\"io.modelcontextprotocol/clientCapabilities\":{}}"

/* "outcome status code-or-tool". */
static const char *say(const struct mcp_headers *h, const char *text)
{
	static char out[200];
	cJSON *m = cJSON_Parse(text);
	struct mcp_reply r;
	int code;

	assert_non_null(m);
	mcp_read(h, (struct mcp_scope){0}, m, &r);
	code = (int)json_int(json_get(r.answer, "error"), "code", 0);
	if (r.outcome == MCP_CALL)
		snprintf(out, sizeof(out), "call %s", r.tool);
	else if (r.outcome == MCP_NOTHING)
		snprintf(out, sizeof(out), "nothing");
	else
		snprintf(out, sizeof(out), "%d %d", r.status, code);
	cJSON_Delete(r.answer);
	cJSON_Delete(m);
	return out;
}

static void test_messages(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", "200 0"},
		{"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/list\"}", "200 0"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/"
		 "list\",\"params\":{\"cursor\":\"x\"}}",
			"200 -32602"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{}}",
			"200 -32602"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server/discover\"}", "200 -32601"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/"
		 "call\",\"params\":{\"name\":\"x\"}}",
			"200 -32602"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
		 "\"computer\",\"arguments\":[]}}",
			"200 -32602"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
		 "\"computer\"}}",
			"call computer"},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}", "nothing"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", "nothing"},
		{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", "400 -32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", "400 -32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1e300,\"method\":\"ping\"}", "400 -32600"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}", "400 -32600"},
		{"[]", "400 -32600"},
		{"5", "400 -32600"},
		/* the body says the new revision, the header does not */
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{" META "}}",
			"400 -32020"},
	};
	struct mcp_headers none = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(say(&none, cases[i].text), cases[i].want);
}

static void test_headers(void **state)
{
	static const char list[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{" META "}}";
	static const char call[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{"
		"\"name\":\"computer\"," META "}}";
	struct mcp_headers h = {.version = "2026-07-28", .method = "tools/list"};

	(void)state;
	assert_string_equal(say(&h, list), "200 0");
	assert_string_equal(say(&h, call), "400 -32020");
	strcpy(h.method, "tools/call");
	assert_string_equal(say(&h, call), "400 -32020");
	strcpy(h.name, "computer");
	assert_string_equal(say(&h, call), "call computer");
	strcpy(h.version, "2026-07-29");
	assert_string_equal(say(&h, call), "400 -32022");
	strcpy(h.version, "2025-11-25");
	assert_string_equal(say(&h, call), "400 -32020");
	assert_false(mcp_may_batch(&h));
	strcpy(h.version, "2025-03-26");
	assert_true(mcp_may_batch(&h));
}

/* The kinds of the actions, or what is wrong. */
static const char *plan_of(const char *tool, const char *text)
{
	static char out[400];
	cJSON *a = cJSON_Parse(text);
	struct plan p = {0};
	struct err err;

	out[0] = '\0';
	if (tools_plan(tool, a, &p, &err) < 0)
		snprintf(out, sizeof(out), "%s", err.msg);
	else
		for (size_t i = 0; i < p.n_actions; i++)
			snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%d:%u",
				i ? " " : "", (int)p.actions[i].kind, p.actions[i].ref);
	plan_done(&p);
	cJSON_Delete(a);
	return out;
}

static void test_arguments(void **state)
{
	char want[64];

	(void)state;
	snprintf(want, sizeof(want), "%d:12 %d:0", ACTION_CLICK, ACTION_SNAPSHOT);
	assert_string_equal(plan_of("browser_click", "{\"ref\":\"e12\"}"), want);
	assert_string_equal(plan_of("browser_click", "{}"), "ref is missing");
	assert_string_equal(plan_of("browser_click", "{\"ref\":\"e0\"}"),
		"ref must be a ref of the snapshot, as \"e12\"");
	assert_string_equal(plan_of("browser_click", "{\"ref\":\"e99999999999\"}"),
		"ref must be a ref of the snapshot, as \"e12\"");
	assert_string_equal(plan_of("browser_tabs", "{\"action\":\"select\"}"), "index is missing");
	assert_string_equal(plan_of("browser_press_key", "{\"key\":\"Nope\"}"),
		plan_of("browser_press_key", "{\"key\":\"Nope\"}"));
	assert_non_null(strstr(plan_of("browser_fill_form", "{\"fields\":[5]}"), "fields must be"));
}

static unsigned int ref_of(void *data, uint64_t node)
{
	(void)data;
	return (unsigned int)node;
}

static const char *print_part(const char *text, size_t max, const struct snapshot_wish *wish)
{
	static const struct snapshot_wish all;
	static char out[4096];
	cJSON *nodes = cJSON_Parse(text);
	struct snapshot_frame frame = {9, "- button \"In\" [ref=e90]\n"};
	struct buf b;

	buf_init(&b, max);
	snapshot_print(nodes, &frame, 1, wish ? wish : &all, ref_of, NULL, &b);
	snprintf(out, sizeof(out), "%s", buf_str(&b));
	buf_done(&b);
	cJSON_Delete(nodes);
	return out;
}

static const char *print(const char *text, size_t max)
{
	return print_part(text, max, NULL);
}

#define NODE(id, role, name, kids)                                                                \
	"{\"nodeId\":\"" #id "\",\"backendDOMNodeId\":" #id ",\"role\":{\"value\":\"" role "\"}," \
	"\"name\":{\"value\":\"" name "\"},\"childIds\":[" kids "]}"

static void test_snapshot(void **state)
{
	(void)state;
	assert_string_equal(
		print("[" NODE(1, "RootWebArea", "T", "\"2\",\"4\",\"9\",\"6\"") "," NODE(
			      2, "paragraph", "", "\"3\"") "," NODE(3, "StaticText",
			      "a: \\\"b\\\"\\n  c", "") "," NODE(4, "generic", "",
			      "\"5\"") "," NODE(5, "link", "Go", "") "," NODE(9, "Iframe", "f",
			      "") "," NODE(6, "StaticText", "loose", "") "]",
			4000),
		"- paragraph [ref=e2]: \"a: \\\"b\\\" c\"\n- link \"Go\" [ref=e5]\n- iframe \"f\" "
		"[ref=e9]:\n  - button \"In\" [ref=e90]\n- text [ref=e6]: loose\n");
	/* circles, itself, nobody */
	assert_string_equal(print("[" NODE(1, "list", "", "\"2\",\"1\",\"7\"") "," NODE(
					  2, "listitem", "x", "\"1\",\"2\"") "]",
				    4000),
		"- list [ref=e1]:\n  - listitem \"x\" [ref=e2]\n");
	assert_string_equal(print("[]", 100), "");
	assert_string_equal(print("[5,{},{\"nodeId\":7}]", 100), "");
	assert_true(strlen(print("[" NODE(1, "list", "aaaaaaaaaaaaaaaaaaaaaaaaaaa", "") "]", 10)) <=
		    10);
}

/* A document of 800 x 600 with a paragraph in view, a link below it and a frame's document. */
static const char boxes[] =
	"{\"documents\":[{\"nodes\":{\"backendNodeId\":[90,2,5,9],\"contentDocumentIndex\":{"
	"\"index\":[3],\"value\":[1]}},\"layout\":{\"nodeIndex\":[0,1,2,3],\"bounds\":["
	"[0,0,800,600],[0,10,100,20],[0,700,100,20],[0,100,50,50]]}},{\"nodes\":{"
	"\"backendNodeId\":[91,92,93]},\"layout\":{\"nodeIndex\":[0,1,2],\"bounds\":["
	"[0,0,50,50],[0,10,5,5],[0,60,5,5]]}}]}";

static void test_view(void **state)
{
	cJSON *o = cJSON_Parse(boxes);
	struct inview *v = inview_new(o, 800, 600, 2);

	(void)state;
	assert_non_null(v);
	assert_int_equal(inview_of(v, 2), INVIEW_IN);
	assert_int_equal(inview_of(v, 5), INVIEW_OUT);
	assert_int_equal(inview_of(v, 92), INVIEW_IN);
	assert_int_equal(inview_of(v, 93), INVIEW_OUT);
	assert_int_equal(inview_of(v, 77), INVIEW_UNKNOWN);
	assert_int_equal(inview_of(NULL, 2), INVIEW_UNKNOWN);
	inview_free(v);
	cJSON_Delete(o);
	assert_null(inview_new(NULL, 800, 600, 2));
}

static void test_parts(void **state)
{
	static const char page[] = "[" NODE(1, "RootWebArea", "T", "\"2\",\"4\"") "," NODE(
		2, "paragraph", "", "\"3\"") "," NODE(3, "StaticText", "words", "") "," NODE(4,
		"list", "L",
		"\"5\",\"9\"") "," NODE(5, "link", "Go", "") "," NODE(9, "Iframe", "f", "") "]";
	cJSON *o = cJSON_Parse(boxes);
	struct inview *v = inview_new(o, 800, 600, 2);

	(void)state;
	assert_string_equal(print_part(page, 4000, &(struct snapshot_wish){.browser = true}),
		"- paragraph [ref_2]: words\n- list \"L\" [ref_4]:\n  - link \"Go\" [ref_5]\n"
		"  - iframe \"f\" [ref_9]:\n    - button \"In\" [ref=e90]\n");
	assert_string_equal(print_part(page, 4000,
				    &(struct snapshot_wish){.browser = true, .interactive = true}),
		"- link \"Go\" [ref_5]\n- button \"In\" [ref=e90]\n");
	assert_string_equal(
		print_part(page, 4000, &(struct snapshot_wish){.browser = true, .depth = 1}),
		"- paragraph [ref_2]: words\n- list \"L\" [ref_4]\n");
	assert_string_equal(
		print_part(page, 4000, &(struct snapshot_wish){.browser = true, .root = 5}),
		"- link \"Go\" [ref_5]\n");
	assert_string_equal(
		print_part(page, 4000, &(struct snapshot_wish){.browser = true, .root = 77}), "");
	assert_string_equal(
		print_part(page, 4000, &(struct snapshot_wish){.browser = true, .view = v}),
		"- paragraph [ref_2]: words\n- list \"L\" [ref_4]:\n"
		"  - iframe \"f\" [ref_9]:\n    - button \"In\" [ref=e90]\n");
	inview_free(v);
	cJSON_Delete(o);
}

static const char *found(const char *nodes, const char *query)
{
	static char out[4096];
	cJSON *o = cJSON_Parse(nodes);
	struct matches m = {0};
	struct buf b;

	buf_init(&b, 4000);
	match_add(&m, o, query, ref_of, NULL);
	match_print(&m, &b);
	snprintf(out, sizeof(out), "%s", buf_str(&b));
	match_done(&m);
	buf_done(&b);
	cJSON_Delete(o);
	return out;
}

static void test_find(void **state)
{
	static const char page[] = "[" NODE(1, "RootWebArea", "Shop", "") "," NODE(
		2, "button", "Add to cart", "") "," NODE(3, "StaticText", "Add to cart",
		"") "," NODE(4, "searchbox", "Search the shop", "") "," NODE(5, "link", "Your cart",
		"") "," NODE(6, "button", "Close", "") "," NODE(7, "image", "Shoes", "") "]";

	(void)state;
	assert_string_equal(found(page, "add to cart button"),
		"- button \"Add to cart\" [ref_2]\n- link \"Your cart\" [ref_5]\n");
	assert_string_equal(found(page, "Search bar"), "- searchbox \"Search the shop\" [ref_4]\n");
	assert_string_equal(found(page, "all the buttons"),
		"- button \"Add to cart\" [ref_2]\n- button \"Close\" [ref_6]\n");
	assert_string_equal(found(page, "picture of shoes"), "- img \"Shoes\" [ref_7]\n");
	assert_string_equal(found(page, "unicorn"), "");
	assert_string_equal(found("[5,{},[]]", "unicorn"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_view),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
