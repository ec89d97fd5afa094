/* The table of routes: dispatch, 405, and that docs/openapi.json says the same. OPENAPI names that
 * file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "api.h"
#include "util.h"

static int find(const char *method, const char *path, bool upgrade, bool plain,
	struct route_match *m, char **allow)
{
	struct err err = {0};

	*m = (struct route_match){.plain_port = plain};
	snprintf(m->method, sizeof(m->method), "%s", method);
	*allow = NULL;
	return api_find(path, upgrade, m, allow, &err) == 0 ? 0 : err.status;
}

/* 0 or the status; the pieces as "agent|rest|below" in out. */
static int find_text(const char *method, const char *path, bool upgrade, bool plain, char out[256])
{
	struct route_match m;
	AUTOFREE char *allow = NULL;
	int status = find(method, path, upgrade, plain, &m, &allow);

	snprintf(out, 256, "%s|%s|%s", m.agent, m.rest ? m.rest : "",
		m.below ? m.below
		: allow ? allow
			: "");
	free(m.rest);
	free(m.below);
	return status;
}

#define FOUND(method, path, ws, plain, wanted)                                 \
	do {                                                                   \
		char out_[256];                                                \
		assert_int_equal(find_text(method, path, ws, plain, out_), 0); \
		assert_string_equal(out_, wanted);                             \
	} while (0)
#define REFUSED(status, method, path, ws, plain)                                    \
	do {                                                                        \
		char out_[256];                                                     \
		assert_int_equal(find_text(method, path, ws, plain, out_), status); \
	} while (0)

static void finds_routes(void **state)
{
	char out[256];

	FOUND("GET", "/", false, false, "||/");
	FOUND("GET", "/v1/agents", false, false, "||/v1/agents");
	FOUND("GET", "/v1/agents/", false, false, "||/v1/agents");
	FOUND("GET", "/v1/agents/demo", false, false, "demo||");
	FOUND("GET", "/v1/agents/demo/json/version/", false, false, "demo||/json/version");
	FOUND("GET", "/v1/agents/demo/devtools/page/A-1", true, false,
		"demo|A-1|/devtools/page/A-1");
	FOUND("GET", "/v1/agents/demo/files/a//b%20c/", false, false,
		"demo|a//b c/|/files/a//b%20c");
	FOUND("GET", "/v1/agents/demo/files//etc/x", false, false, "demo|/etc/x|/files//etc/x");
	FOUND("GET", "/v1/agents/demo/files", false, false, "demo||/files");
	FOUND("GET", "/v1/agents/demo/files/", false, false, "demo||/files");
	FOUND("GET", "/json", false, true, "||/json");
	FOUND("GET", "/devtools/browser/x", true, true, "|x|/devtools/browser/x");
	REFUSED(404, "GET", "", false, false);
	REFUSED(404, "GET", "/v1", false, false);
	REFUSED(404, "GET", "/v1/agents//json", false, false);
	REFUSED(404, "GET", "/v1/agents/demo/json/version//", false, false);
	REFUSED(404, "GET", "/v1/agents/demo/filesx", false, false);
	REFUSED(404, "GET", "/v1/agents/%64emo", false, false);
	REFUSED(404, "DELETE", "/v1/tokens/a%2Fb", false, false);
	REFUSED(404, "GET", "/v1/agents/demo", false, true);
	REFUSED(404, "GET", "/healthz", false, true);
	REFUSED(426, "GET", "/v1/agents/demo/cdp", false, false);
	REFUSED(400, "GET", "/v1/agents/demo", true, false);
	assert_int_equal(find_text("TRACE", "/v1/agents/demo", false, false, out), 405);
	assert_string_equal(out, "||GET, PATCH, DELETE");
}

/* ---- the description ---- */

static cJSON *load(void)
{
	AUTOFREE char *text = NULL;
	size_t len;
	struct err err;
	cJSON *doc;

	if (file_read(AT_FDCWD, getenv("OPENAPI"), 1 << 20, &text, &len, &err) < 0)
		fail_msg("%s", err.msg);
	doc = cJSON_Parse(text);
	assert_non_null(doc);
	return doc;
}

static const cJSON *described(const cJSON *doc, const struct route *r)
{
	char method[16];
	size_t n = strlen(r->method);

	for (size_t i = 0; i <= n; i++)
		method[i] = (char)tolower((unsigned char)r->method[i]);
	return json_get(json_get(json_get(doc, "paths"), r->pattern), method);
}

static void same_members(const struct route *r, const cJSON *operation)
{
	const cJSON *content = json_get(json_get(operation, "requestBody"), "content");
	const cJSON *schema = json_get(json_get(content, "application/json"), "schema"),
		    *properties = json_get(schema, "properties");

	if (!r->op || !(r->flags & ROUTE_JSON))
		return;
	assert_non_null(schema);
	assert_true(cJSON_IsFalse(json_get(schema, "additionalProperties")));
	assert_int_equal(cJSON_GetArraySize(properties), r->n_members);
	for (size_t i = 0; i < r->n_members; i++) {
		const cJSON *p = json_get(properties, r->members[i].name);

		if (!p)
			fail_msg("%s %s: %s is not described", r->method, r->pattern,
				r->members[i].name);
		if (r->members[i].type == JSON_INTEGER) {
			assert_int_equal(json_int(p, "minimum", -1), r->members[i].min);
			assert_int_equal(json_int(p, "maximum", -1), r->members[i].max);
		}
	}
}

static void description_has_every_route(void **state)
{
	static const char *const roles[] = {"none", "viewer", "agent", "admin"};
	cJSON *doc = load(), *path;
	size_t n, count = 0;
	const struct route *r = api_routes(&n);

	for (size_t i = 0; i < n; i++) {
		const cJSON *operation = described(doc, &r[i]);

		if (!operation)
			fail_msg("%s %s is not described", r[i].method, r[i].pattern);
		assert_string_equal(json_str(operation, "x-berth-role", ""), roles[r[i].role]);
		assert_string_equal(json_str(operation, "summary", ""), r[i].summary);
		assert_int_equal(cJSON_GetArraySize(json_get(operation, "security")) == 0,
			r[i].role == ROLE_NONE);
		if (r[i].flags & ROUTE_WS)
			assert_non_null(json_get(json_get(operation, "responses"), "101"));
		same_members(&r[i], operation);
	}
	cJSON_ArrayForEach (path, json_get(doc, "paths"))
		count += (size_t)cJSON_GetArraySize(path);
	assert_int_equal(count, n);
	cJSON_Delete(doc);
}

static void table_is_sound(void **state)
{
	size_t n;
	const struct route *r = api_routes(&n);

	for (size_t i = 0; i < n; i++) {
		assert_true(!!(r[i].flags & ROUTE_WS) == !!r[i].serve_ws);
		assert_true(!(r[i].flags & ROUTE_WS) == !!r[i].serve);
		/* Each of its tools asks for what its route does (mcp_agents.c). */
		if (strcmp(r[i].pattern, "/v1/mcp") == 0)
			continue;
		assert_true(r[i].role == ROLE_NONE || strstr(r[i].pattern, "{a}") ||
			    r[i].flags & (ROUTE_ALL_AGENTS | ROUTE_LOCAL) ||
			    strcmp(r[i].method, "GET") == 0);
		/* What changes something is nobody's who only looks. */
		assert_true(strcmp(r[i].method, "GET") == 0 || r[i].role >= ROLE_AGENT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(finds_routes),
		cmocka_unit_test(description_has_every_route), cmocka_unit_test(table_is_sound)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
