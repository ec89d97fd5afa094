/* Pages the appliance serves itself. */
#include "start_page.h"
#include "gateway_state.h"
#include "paths.h"
#include "problem.h"
#include "util.h"

#include <fcntl.h>
#include <string.h>

#define FILE_MAX (4u << 20)
#define HTML "text/html; charset=utf-8"
/* Nothing from elsewhere; the start page's own style and script are in the page. */
#define CSP                                                                                   \
	"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src " \
	"'unsafe-inline'; "                                                                   \
	"img-src data:; frame-ancestors 'none'\r\n"

static const char index_page[] =
	"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
	"content=\"width=device-width\">"
	"<title>berth</title><style>body{font:16px/1.5 "
	"system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;"
	"color-scheme:light dark}code{background:#8882;padding:.1em .3em;border-radius:4px}</style>"
	"<h1>berth</h1><p>One computer with a browser for every agent. This is its gateway, "
	"version " BERTH_VERSION ".</p>"
	"<ul><li><a href=\"/openapi.json\">The API, described</a> (OpenAPI 3.1)<li><a "
	"href=\"/healthz\">Health</a>"
	"<li><code>berth ls</code> lists the agents, <code>berth cdp NAME</code> prints the URL "
	"for Playwright or Puppeteer."
	"</ul></html>";

/* BERTH_SHARE names the folder where the programs run from their build folder. */
static int load(const char *name, char **ret, struct err *err)
{
	const char *share = getenv("BERTH_SHARE");
	AUTOFREE char *path =
		share && share[0] ? xasprintf("%s/%s", share, name) : path_share(name);
	size_t len;

	return file_read(AT_FDCWD, path, FILE_MAX, ret, &len, err);
}

int start_page_load(struct gateway *gw, struct err *err)
{
	int r = load("start.html", &gw->start_page, err);

	return r < 0 ? r : load("openapi.json", &gw->openapi, err);
}

void start_page_serve(struct gateway *gw, struct http_conn *c)
{
	struct err err;

	if (!http_text_is(&c->head->method, "GET") && !http_text_is(&c->head->method, "HEAD")) {
		problem(&err, 405, "method-not-allowed", "this page can only be fetched");
		http_reply_problem(c, &err);
	} else if (!streq(c->req.path, "/")) {
		problem(&err, 404, "not-found", "there is nothing at this path");
		http_reply_problem(c, &err);
	} else {
		c->headless = http_text_is(&c->head->method, "HEAD");
		http_reply(c, 200, HTML, CSP, gw->start_page, strlen(gw->start_page));
	}
}

void index_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	http_reply(c, 200, HTML, CSP, index_page, sizeof(index_page) - 1);
}

void health_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	bool up = daemon_link_up(gw->daemon);
	const char *text = up ? "{\"status\":\"ok\",\"daemon\":\"up\"}"
			      : "{\"status\":\"ok\",\"daemon\":\"down\"}";

	http_reply(c, 200, "application/json", NULL, text, strlen(text));
}

void openapi_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	http_reply(c, 200, "application/json", NULL, gw->openapi, strlen(gw->openapi));
}
