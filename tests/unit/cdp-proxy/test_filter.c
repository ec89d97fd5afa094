/* The CDP filter: one golden line for each kind of row, and what must never change. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "filter.h"
#include "util.h"

static const char *const names[] = {"pass", "rewrite", "answer", "refuse", "detach"};

/* The verdict's name; what goes out is in `out`. */
static const char *run(enum role role, const char *text, char *out, size_t size)
{
	struct buf b;
	enum filter_verdict v;

	buf_init(&b, strlen(text) + 4096);
	v = filter_message(role, text, strlen(text), &b);
	snprintf(out, size, "%s", buf_str(&b));
	buf_done(&b);
	return names[v];
}

struct golden {
	const char *text, *agent, *admin;
	const char *out; /* of the agent, its start; NULL: not looked at */
};

#define CMD(method, params) "{\"id\":7,\"method\":\"" method "\",\"params\":" params "}"
#define NO "{\"id\":7,\"error\":{\"code\":-32000,\"message\":\"berth: "

static const struct golden rows[] = {
	{CMD("Runtime.evaluate", "{\"expression\":\"1\"}"), "pass", "pass", ""},
	{CMD("Page.enable", "{}"), "pass", "pass", ""},
	{CMD("Target.setAutoAttach", "{\"flatten\":true}"), "pass", "pass", ""},
	{"{\"id\":1,\"method\":\"Browser.close\"}", "detach", "detach", "{\"id\":1,\"result\":{}}"},
	{"{\"method\":\"Browser.close\",\"sessionId\":\"A\\u0042\",\"id\":2}", "detach", "detach",
		"{\"id\":2,\"result\":{},\"sessionId\":\"A\\u0042\"}"},
	{"{\"id\":1,\"meth\\u006fd\":\"Browser.c\\u006cose\"}", "detach", "detach", NULL},
	{CMD("Browser.crash", "{}"), "refuse", "pass", NO "not allowed: this would end"},
	{CMD("Browser.crashGpuProcess", "{}"), "refuse", "pass", NO},
	{CMD("Page.crash", "{}"), "refuse", "pass", NO},
	{"{\"id\":3,\"method\":\"Page.crash\",\"sessionId\":\"S\"}", "refuse", "pass", NULL},
	{CMD("Memory.simulatePressureNotification", "{}"), "refuse", "pass", NO},
	{CMD("Memory.getDOMCounters", "{}"), "pass", "pass", ""},
	{CMD("Tracing.start", "{}"), "refuse", "pass", NO "not allowed: tracing"},
	{CMD("SystemInfo.getInfo", "{}"), "refuse", "pass", NO},
	{CMD("HeadlessExperimental.beginFrame", "{}"), "refuse", "pass", NO},
	{CMD("Browser.getBrowserCommandLine", "{}"), "refuse", "pass", NO},
	{CMD("Extensions.loadUnpacked", "{\"path\":\"/\"}"), "refuse", "pass", NO},
	{CMD("Target.exposeDevToolsProtocol", "{}"), "refuse", "pass", NO},
	{CMD("Target.setRemoteLocations", "{}"), "refuse", "pass", NO},
	{CMD("Tethering.bind", "{}"), "refuse", "pass", NO},
	{CMD("Tomorrow.something", "{}"), "refuse", "pass", NO},
	{CMD("nodot", "{}"), "refuse", "pass", NO},
	{CMD("browser.close", "{}"), "refuse", "pass", NO},
	{CMD("IO.read", "{}"), "pass", "pass", ""},

	{CMD("Page.navigate", "{\"url\":\"https://a.test/\"}"), "pass", "pass", ""},
	{CMD("Page.navigate", "{\"url\":\"about:blank\"}"), "pass", "pass", ""},
	{CMD("Page.navigate", "{}"), "pass", "pass", ""},
	{CMD("Page.navigate", "{\"url\":\"file:///etc/passwd\"}"), "refuse", "pass",
		NO "agents open"},
	{CMD("Page.navigate", "{\"url\":\" \\tFi\\nle:///etc\"}"), "refuse", "pass", NO},
	{CMD("Page.navigate", "{\"\\u0075rl\":\"file:///\"}"), "refuse", "pass", NO},
	{CMD("Page.navigate", "{\"url\":\"a\",\"url\":\"http://a\"}"), "refuse", "pass", NULL},
	{CMD("Page.navigate", "{\"url\":[\"http://a\"]}"), "refuse", "pass", NULL},
	{CMD("Page.navigate", "[]"), "refuse", "pass", NULL},
	{CMD("Page.navigate", "{\"url\":\"chrome://version\"}"), "refuse", "pass", NO},
	{CMD("Page.navigate", "{\"url\":\"devtools://devtools/\"}"), "refuse", "pass", NO},
	{CMD("Page.navigate", "{\"url\":\"view-source:http://a/\"}"), "refuse", "pass", NO},
	{CMD("Target.createTarget", "{\"url\":\"\"}"), "pass", "pass", ""},
	{CMD("Target.createTarget", "{\"url\":\"chrome://newtab/\"}"), "pass", "pass", ""},
	{CMD("Target.createTarget", "{\"url\":\"CHROME://inspect\"}"), "refuse", "pass", NO},
	{CMD("Network.loadNetworkResource", "{\"url\":\"file:///x\"}"), "refuse", "pass", NO},

	{CMD("Browser.setDownloadBehavior", "{\"behavior\":\"deny\"}"), "pass", "pass", ""},
	{CMD("Browser.setDownloadBehavior", "{\"behavior\":\"allowAndName\", \"downloadPath\" : "
					    "\"/tmp/x\\\"y\",\"eventsEnabled\":true}"),
		"rewrite", "rewrite",
		CMD("Browser.setDownloadBehavior", "{\"behavior\":\"allowAndName\", "
						   "\"downloadPath\" : \"/home/agent/Downloads\","
						   "\"eventsEnabled\":true}")},
	{CMD("Page.setDownloadBehavior", "{\"behavior\":\"allow\",\"downloadPath\":\"C:\\\\x\"}"),
		"rewrite", "rewrite",
		CMD("Page.setDownloadBehavior",
			"{\"behavior\":\"allow\",\"downloadPath\":\"/home/agent/Downloads\"}")},
	{CMD("Browser.setDownloadBehavior", "{\"downloadPath\":\"/a\",\"downloadPath\":\"/b\"}"),
		"refuse", "refuse", NULL},
	{CMD("Browser.setDownloadBehavior", "{\"downloadPath\":7}"), "refuse", "refuse", NULL},

	{CMD("DOM.setFileInputFiles", "{\"files\":[]}"), "pass", "pass", ""},
	{CMD("DOM.setFileInputFiles", "{\"files\":[\"/home/agent/Uploads/a.txt\"]}"), "pass",
		"pass", ""},
	{CMD("DOM.setFileInputFiles", "{\"files\":[\"/home/agent/Uploads/a\",\"/etc/passwd\"]}"),
		"refuse", "pass", NO "the browser sees the agent's files, not yours"},
	{CMD("DOM.setFileInputFiles", "{\"files\":[\"/home/agent/Uploads/../x\"]}"), "refuse",
		"pass", NO},
	{CMD("DOM.setFileInputFiles", "{\"files\":[\"/home/agent/Uploadsx\"]}"), "refuse", "pass",
		NO},
	{CMD("DOM.setFileInputFiles", "{\"files\":\"/etc/passwd\"}"), "refuse", "pass", NULL},
	{CMD("DOM.setFileInputFiles", "{\"files\":[[\"/etc/passwd\"]]}"), "refuse", "pass", NULL},
	{CMD("Input.dispatchDragEvent", "{\"data\":{\"items\":[]}}"), "pass", "pass", ""},
	{CMD("Input.dispatchDragEvent", "{\"data\":{\"files\":[\"/etc/passwd\"]}}"), "refuse",
		"pass", NO},

	{CMD("Target.sendMessageToTarget",
		 "{\"message\":\"{\\\"id\\\":1,\\\"method\\\":\\\"Page.enable\\\"}\"}"),
		"pass", "pass", ""},
	{CMD("Target.sendMessageToTarget",
		 "{\"message\":\"{\\\"id\\\":1,\\\"method\\\":\\\"Page.crash\\\"}\"}"),
		"refuse", "pass", NO "the message inside"},
	{CMD("Target.sendMessageToTarget",
		 "{\"message\":\"{\\\"id\\\":1,\\\"method\\\":\\\"Browser.close\\\"}\"}"),
		"refuse", "refuse", NULL},
	{CMD("Target.sendMessageToTarget", "{\"message\":\"not json\"}"), "refuse", "refuse", NULL},

	{"{\"id\":1,\"method\":\"Page.enable\",\"method\":\"Browser.crash\"}", "refuse", "refuse",
		"{\"error\":{\"code\":-32700"},
	{"{\"id\":1,\"id\":2,\"method\":\"Page.enable\"}", "refuse", "refuse", NULL},
	{"{\"id\":1,\"method\":\"Page.enable\",\"params\":{},\"params\":{}}", "refuse", "refuse",
		NULL},
	{"{\"id\":1,\"method\":\"Page.enable\"} ", "pass", "pass", ""},
	{"{\"id\":1,\"method\":\"Page.enable\"}x", "refuse", "refuse",
		"{\"error\":{\"code\":-32700"},
	{"{\"id\":1,/* */\"method\":\"Page.enable\"}", "refuse", "refuse",
		"{\"error\":{\"code\":-32700"},
	{"[]", "refuse", "refuse", "{\"error\":{\"code\":-32600"},
	{"", "refuse", "refuse", "{\"error\":{\"code\":-32700"},
	{"{\"method\":\"Page.enable\"}", "refuse", "refuse", "{\"error\":{\"code\":-32600"},
	{"{\"id\":1}", "refuse", "refuse", "{\"id\":1,\"error\":{\"code\":-32600"},
	{"{\"id\":\"1\",\"method\":\"Page.enable\"}", "refuse", "refuse",
		"{\"error\":{\"code\":-32600"},
	{"{\"id\":1.5,\"method\":\"Page.enable\"}", "refuse", "refuse", NULL},
	{"{\"id\":9999999999,\"method\":\"Page.enable\"}", "refuse", "refuse", NULL},
	{"{\"id\":1,\"method\":\"Page.cr\\u0000ash\"}", "refuse", "refuse", NULL},
};

static void golden_rows(void **state)
{
	char out[8192];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct golden *g = &rows[i];
		const char *v = run(ROLE_ADMIN, g->text, out, sizeof(out));

		if (!streq(v, g->admin))
			fail_msg("admin %s: %s, not %s", g->text, v, g->admin);
		v = run(ROLE_AGENT, g->text, out, sizeof(out));
		if (!streq(v, g->agent))
			fail_msg("agent %s: %s, not %s", g->text, v, g->agent);
		if (g->out && strncmp(out, g->out, MAX(strlen(g->out), 1)) != 0)
			fail_msg("%s: %s, not %s", g->text, out, g->out);
	}
}

/* Every answer of ours is JSON, and viewers pass nothing at all. */
static void answers_are_json(void **state)
{
	char out[8192];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cJSON *o;

		assert_string_not_equal(run(ROLE_VIEWER, rows[i].text, out, sizeof(out)), "pass");
		run(ROLE_AGENT, rows[i].text, out, sizeof(out));
		o = out[0] ? cJSON_Parse(out) : NULL;
		assert_true(!out[0] || o);
		cJSON_Delete(o);
	}
}

/* The table has no row twice, and each method's row is the one that is found. */
static void table_is_sound(void **state)
{
	for (size_t i = 0; i < filter_rows_count; i++) {
		for (size_t k = i + 1; k < filter_rows_count; k++)
			assert_string_not_equal(filter_rows[i].method, filter_rows[k].method);
		assert_ptr_equal(filter_row_for(filter_rows[i].method), &filter_rows[i]);
		assert_true(filter_rows[i].agent != ACT_REFUSE || filter_rows[i].why);
	}
}

/* In pieces of any size, a large message meets the same table; only what passes unseen is let
 * through. */
static void streams_agree(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *t = rows[i].text;
		size_t n = strlen(t);

		for (size_t piece = 1; piece < 200; piece += 7) {
			struct filter_stream s;
			char why[124], out[8192];
			int r = 0;

			filter_stream_init(&s, ROLE_AGENT);
			for (size_t at = 0; at < n && r == 0; at += piece)
				r = filter_stream_feed(&s, t + at, MIN(piece, n - at));
			r = r ? r : filter_stream_end(&s, why);
			if (r == 0)
				assert_string_equal(run(ROLE_AGENT, t, out, sizeof(out)), "pass");
			else if (streq(rows[i].agent, "pass"))
				assert_true(filter_row_for(s.head.method)->agent != ACT_PASS);
		}
	}
}

/* A rewriting changes the path and not one byte more. */
static void rewriting_keeps_the_rest(void **state)
{
	static const char *const before[] = {
		"{\"id\":1,\"method\":\"Browser.setDownloadBehavior\",\"params\":{",
		"\t{ \"params\" :\n {\"x\":[1,2.50,\"\\u00e9\"], ",
		"{\"sessionId\":\"S\",\"id\":-3,\"params\":{\"behavior\":\"allow\",\"\\u0000k\":{}"
		","};
	static const char *const after[] = {"}}",
		" ,\"eventsEnabled\" : true },\"method\":\"Page."
		"setDownloadBehavior\",\"id\": 5 }\r\n",
		"},\"method\":\"Browser.setDownloadBehavior\"}"};
	static const char *const paths[] = {
		"/tmp/a", "\\u002ftmp", "", "C:\\\\Users\\\\x", "\xe2\x82\xac"};

	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(paths); k++) {
			char text[1000], want[1000], out[1000];

			snprintf(text, sizeof(text), "%s\"downloadPath\":\"%s\"%s", before[i],
				paths[k], after[i]);
			snprintf(want, sizeof(want),
				"%s\"downloadPath\":\"" FILTER_DOWNLOADS "\"%s", before[i],
				after[i]);
			assert_string_equal(run(ROLE_AGENT, text, out, sizeof(out)), "rewrite");
			assert_string_equal(out, want);
		}
	}
}

static void addresses(void **state)
{
	static const char *const good[] = {"http://a", "HTTPS://a", "about:blank", "about:blank#x",
		"about:srcdoc", "data:text/html,x", "blob:https://a/1", " \thttp://a", "ht\ntp://a",
		"javascript:1", "chrome://newtab/"};
	static const char *const bad[] = {"", "a", "//a", "/etc/passwd", "file:", "FILE:///x",
		"chrome://gpu", "chrome-untrusted://x", "chrome-extension://x", "devtools://x",
		"about:version", "about:", "about:blankx", "view-source:http://a", "blob:file:///x",
		"filesystem:http://a", "ftp://a", "intent:x", "1http://a", "\xef\xbd\x88ttp://a",
		"http", "aaaaaaaaaaaaaaaaaaaaaaaaaaa:", "chrome://newtab/../gpu",
		"isolated-app://x"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!filter_url_allowed(good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (filter_url_allowed(bad[i]))
			fail_msg("allowed: %s", bad[i]);
}

static void a_long_address_is_read_by_its_start(void **state)
{
	static const char *const starts[] = {
		"https://a/", "data:,", "file:///", "\\u0068ttps://a/"};
	char *text = xmalloc(40000), out[8192];

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		snprintf(text, 40000,
			"{\"id\":1,\"method\":\"Page.navigate\",\"params\":{\"url\":\"%s%020000d\"}"
			"}",
			starts[i], 0);
		assert_string_equal(
			run(ROLE_AGENT, text, out, sizeof(out)), i < 2 ? "pass" : "refuse");
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_rows),
		cmocka_unit_test(answers_are_json),
		cmocka_unit_test(table_is_sound),
		cmocka_unit_test(streams_agree),
		cmocka_unit_test(rewriting_keeps_the_rest),
		cmocka_unit_test(addresses),
		cmocka_unit_test(a_long_address_is_read_by_its_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
