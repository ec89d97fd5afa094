/* /json, /json/version and their like: asked of the browser, read strictly, rebuilt, and addressed
 * to us. */
#include "discovery.h"

#include <errno.h>
#include <string.h>

#include "cdp_dial.h"
#include "filter.h"
#include "json.h"
#include "json_scan.h"
#include "util.h"

#define TARGETS_MAX 1000
#define MEMBER_MAX 65536

/* ---- reading what the browser said ---- */

cJSON *discovery_parse(const char *body, size_t n, enum cdp_kind kind)
{
	enum json_kind want = kind == CDP_ARRAY ? JSON_KIND_ARRAY : JSON_KIND_OBJECT;
	enum json_kind found = JSON_KIND_WORD;
	struct json_scan s;

	json_scan_init(&s, NULL, NULL);
	if (n > UPSTREAM_BODY_MAX || json_scan_feed(&s, body, n) < 0 ||
		json_scan_end(&s, &found) < 0 || found != want)
		return NULL;
	return cJSON_ParseWithLength(body, n);
}

const char *discovery_front(const cJSON *list)
{
	const cJSON *t;

	cJSON_ArrayForEach (t, list) {
		const char *id = json_str(t, "id", "");

		if (streq(json_str(t, "type", ""), "page") && cdp_id_valid(id))
			return id;
	}
	return NULL;
}

static const char *text_of(const cJSON *o, const char *name)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));

	return s && strlen(s) <= MEMBER_MAX ? s : NULL;
}

/* Copies the members that are texts. */
static void copy_texts(cJSON *to, const cJSON *from, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *s = text_of(from, names[i]);

		if (s)
			cJSON_AddStringToObject(to, names[i], s);
	}
}

/* The id behind prefix in an address, or NULL when it cannot be one. */
static const char *id_behind(const char *url, const char *prefix)
{
	const char *at = url ? strstr(url, prefix) : NULL;

	if (!at || !cdp_id_valid(at + strlen(prefix)))
		return NULL;
	return at + strlen(prefix);
}

/* ---- our addresses ---- */

static char *ws_url(const struct discovery_base *b, const char *kind, const char *id)
{
	return xasprintf("%s://%s%s/devtools/%s/%s%s%s", b->scheme, b->host, b->base, kind, id,
		b->token_query[0] ? "?" : "", b->token_query);
}

/* The part of Chromium's front end address that may be shown: its own site or its own path, before
 * "ws=". */
static size_t frontend_prefix(const char *url)
{
	static const char site[] = "https://chrome-devtools-frontend.appspot.com/serve_rev/@";
	const char *at = strstr(url, "?ws="), *end;

	if (!at || (!starts_with(url, site) && !starts_with(url, "/devtools/")))
		return 0;
	end = url +
	      strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/@._-");
	return end == at ? (size_t)(at - url) : 0;
}

static void add_frontend(
	cJSON *o, const cJSON *target, const struct discovery_base *b, const char *id)
{
	const char *url = text_of(target, "devtoolsFrontendUrl");
	size_t n = url ? frontend_prefix(url) : 0;
	AUTOFREE char *ours = NULL, *token = NULL;

	if (!n)
		return;
	/* Inside a query of its own the token's "?" and "=" are escaped. */
	if (b->token_query[0]) {
		const char *eq = strchr(b->token_query, '=');

		token = eq ? xasprintf("%%3F%.*s%%3D%s", (int)(eq - b->token_query), b->token_query,
				     eq + 1)
			   : xstrdup("");
	}
	ours = xasprintf("%.*s?%s=%s%s/devtools/page/%s%s", (int)n, url, b->scheme, b->host,
		b->base, id, token ? token : "");
	cJSON_AddStringToObject(o, "devtoolsFrontendUrl", ours);
}

static cJSON *rebuild_target(const cJSON *target, const struct discovery_base *b)
{
	static const char *const before[] = {"description"};
	static const char *const after[] = {"faviconUrl", "id", "parentId", "title", "type", "url"};
	const char *id = text_of(target, "id");
	AUTOFREE char *url = NULL;
	cJSON *o;

	if (!id || !cdp_id_valid(id))
		return NULL;
	o = cJSON_CreateObject();
	copy_texts(o, target, before, ARRAY_SIZE(before));
	if (b->drives)
		add_frontend(o, target, b, id);
	copy_texts(o, target, after, ARRAY_SIZE(after));
	if (b->drives) {
		url = ws_url(b, "page", id);
		cJSON_AddStringToObject(o, "webSocketDebuggerUrl", url);
	}
	return o;
}

cJSON *discovery_target(const char *body, size_t n, const struct discovery_base *b)
{
	cJSON *in = discovery_parse(body, n, CDP_OBJECT), *out;

	out = in ? rebuild_target(in, b) : NULL;
	cJSON_Delete(in);
	return out;
}

cJSON *discovery_targets(const char *body, size_t n, const struct discovery_base *b)
{
	cJSON *in = discovery_parse(body, n, CDP_ARRAY), *out = NULL;
	const cJSON *t;
	int count = 0;

	if (!in)
		return NULL;
	out = cJSON_CreateArray();
	cJSON_ArrayForEach (t, in) {
		cJSON *o = ++count <= TARGETS_MAX ? rebuild_target(t, b) : NULL;

		if (o)
			cJSON_AddItemToArray(out, o);
	}
	cJSON_Delete(in);
	return out;
}

cJSON *discovery_version(const char *body, size_t n, const struct discovery_base *b)
{
	static const char *const names[] = {"Browser", "File-Path-Style", "Protocol-Version",
		"User-Agent", "V8-Version", "WebKit-Version"};
	cJSON *in = discovery_parse(body, n, CDP_OBJECT), *out = NULL;
	AUTOFREE char *url = NULL;
	const char *id;

	if (!in)
		return NULL;
	id = id_behind(text_of(in, "webSocketDebuggerUrl"), "/devtools/browser/");
	if (id) {
		out = cJSON_CreateObject();
		copy_texts(out, in, names, ARRAY_SIZE(names));
		url = ws_url(b, "browser", id);
		if (b->drives)
			cJSON_AddStringToObject(out, "webSocketDebuggerUrl", url);
	}
	cJSON_Delete(in);
	return out;
}

/* ---- serving ---- */

/* A request under way; freed when its connection closes. */
struct ask {
	struct http_conn *c;
	const struct route_match *m;
	struct cdp_dial *dial;
};

static void on_close(void *data)
{
	struct ask *a = data;

	cdp_dial_cancel(a->dial);
	free(a);
}

static void reply_wrong(struct ask *a)
{
	struct err err;

	metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	err_set(&err, -EPROTO, "agent %s: the browser's answer is not what a browser says",
		a->m->agent);
	err_type(&err, 502, "browser-unavailable");
	http_reply_problem(a->c, &err);
}

static void reply_missing(struct ask *a)
{
	struct err err;

	err_set(&err, -ENOENT, "agent %s has no such page", a->m->agent);
	err_type(&err, 404, "not-found");
	http_reply_problem(a->c, &err);
}

static void reply_json(struct ask *a, cJSON *o)
{
	AUTOFREE char *text = o ? cJSON_Print(o) : NULL;

	cJSON_Delete(o);
	if (text)
		http_reply(a->c, 200, "application/json; charset=UTF-8", NULL, text, strlen(text));
	else
		reply_wrong(a);
}

static void reply_text(struct ask *a, const char *text)
{
	http_reply(a->c, 200, "text/html; charset=UTF-8", NULL, text, strlen(text));
}

/* The protocol's description has no addresses in it: it is passed on if it is JSON. */
static void reply_protocol(struct ask *a, const char *body, size_t n)
{
	struct json_scan s;

	json_scan_init(&s, NULL, NULL);
	if (json_scan_feed(&s, body, n) < 0 || json_scan_end(&s, NULL) < 0)
		reply_wrong(a);
	else
		http_reply(a->c, 200, "application/json; charset=UTF-8", NULL, body, n);
}

static void on_answer(void *data, int status, const char *body, size_t n, const struct err *err)
{
	struct ask *a = data;
	const char *below = a->m->below;
	struct discovery_base b = {
		"ws", a->m->host, a->m->base, a->m->token_query, a->m->who.role >= ROLE_AGENT};

	a->dial = NULL;
	if (err)
		http_reply_problem(a->c, err);
	else if (status == 404)
		reply_missing(a);
	else if (status != 200)
		reply_wrong(a);
	else if (streq(below, "/json/version"))
		reply_json(a, discovery_version(body, n, &b));
	else if (streq(below, "/json") || streq(below, "/json/list"))
		reply_json(a, discovery_targets(body, n, &b));
	else if (streq(below, "/json/new"))
		reply_json(a, discovery_target(body, n, &b));
	else if (streq(below, "/json/protocol"))
		reply_protocol(a, body, n);
	else
		reply_text(a, starts_with(below, "/json/close") ? "Target is closing"
								: "Target activated");
}

/* Percent-decodes n bytes into out; false on a bad escape or a NUL. */
static bool unescape(const char *s, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)s[i];

		if (s[i] == '%') {
			char hex[3] = {i + 1 < n ? s[i + 1] : 0, i + 2 < n ? s[i + 2] : 0, 0};

			if (!hex_decode(hex, &byte, 1))
				return false;
			i += 2;
		}
		if (!byte)
			return false;
		*out++ = (char)byte;
	}
	*out = '\0';
	return true;
}

/* The client's query without its token: from first to n. */
static struct http_text page_query(const struct route_match *m)
{
	const char *q = memchr(m->target.s, '?', m->target.n), *token = m->token_query;
	size_t n = q ? m->target.n - (size_t)(q + 1 - m->target.s) : 0, t = strlen(token);

	q = q ? q + 1 : "";
	if (t && n == t && memcmp(q, token, t) == 0)
		return (struct http_text){q, 0};
	if (t && n > t && memcmp(q, token, t) == 0 && q[t] == '&')
		return (struct http_text){q + t + 1, n - t - 1};
	if (t && n > t && q[n - t - 1] == '&' && memcmp(q + n - t, token, t) == 0)
		return (struct http_text){q, n - t - 1};
	return (struct http_text){q, n};
}

/* What to ask the browser for; NULL with err. */
static char *upstream_target(const struct route_match *m, struct err *err)
{
	struct http_text q;
	AUTOFREE char *url = NULL;

	if (!streq(m->below, "/json/new")) {
		if (m->rest && m->rest[0] && !cdp_id_valid(m->rest)) {
			err_set(err, -ENOENT, "no page can have this id");
			err_type(err, 404, "not-found");
			return NULL;
		}
		return xstrdup(m->below);
	}
	q = page_query(m);
	url = xmalloc(q.n + 1);
	if (!unescape(q.s, q.n, url) ||
		(url[0] && m->who.role != ROLE_ADMIN && !filter_url_allowed(url))) {
		err_set(err, -EPERM,
			"agents open http, https, about:blank, data and blob addresses only");
		err_type(err, 403, "forbidden");
		return NULL;
	}
	return xasprintf("/json/new?%.*s", (int)q.n, q.s);
}

static const struct http_owner owner = {.on_close = on_close};

void discovery_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct err err;
	AUTOFREE char *target = upstream_target(m, &err);
	struct ask *a;

	if (!target) {
		http_reply_problem(c, &err);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->c = c;
	a->m = m;
	http_set_owner(c, &owner, a);
	a->dial = cdp_dial_http(
		gw, m->agent, streq(m->below, "/json/new") ? "PUT" : "GET", target, on_answer, a);
}
