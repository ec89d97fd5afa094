/* POST …/open {url, new_tab, timeout}: navigates a page, waits for its load, answers {url, title,
 * status, target}. */
#include "open.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "browser.h"
#include "discovery.h"
#include "filter.h"
#include "json.h"
#include "json_scan.h"
#include "util.h"

/*
 * Theory of operation. Page.enable, Network.enable and lifecycle events, then Page.navigate. Its
 * answer names the loader; documents' statuses and "load" events carry loaders too and may come
 * before that answer, so the last few are remembered. After "load", or when the time for it is
 * over, the history names address and title.
 */
#define SEEN_MAX 16
#define ID_MAX 80
#define GRACE_MS 10000 /* beyond the page's own time, for the browser itself */

struct document {
	char loader[ID_MAX];
	int status;
	bool loaded;
};

/* One opening; freed when its connection closes. */
struct opening {
	struct http_conn *c;
	struct browser *browser;
	uv_timer_t timer; /* for the load */
	char *url, agent[64], target[65], loader[ID_MAX], host[256];
	uint64_t timeout_ms;
	bool answered, navigated, waiting, closed;
	int step;
	struct document seen[SEEN_MAX];
	size_t next_seen;
};

static void next_step(struct opening *o);

static void timer_closed(uv_handle_t *h)
{
	struct opening *o = h->data;

	free(o->url);
	free(o);
}

static void on_close(void *data)
{
	struct opening *o = data;

	o->closed = true;
	browser_free(o->browser);
	uv_close((uv_handle_t *)&o->timer, timer_closed);
}

static void problem_out(struct opening *o, const struct err *err)
{
	if (o->answered)
		return;
	o->answered = true;
	uv_timer_stop(&o->timer);
	http_reply_problem(o->c, err);
}

/* ---- documents, by loader ---- */

static struct document *document_of(struct opening *o, const char *loader)
{
	struct document *d;

	for (size_t i = 0; i < SEEN_MAX; i++)
		if (streq(o->seen[i].loader, loader))
			return &o->seen[i];
	d = &o->seen[o->next_seen++ % SEEN_MAX];
	*d = (struct document){0};
	snprintf(d->loader, sizeof(d->loader), "%s", loader);
	return d;
}

static bool get_text(const char *obj, size_t n, const char *name, char *out, size_t size)
{
	struct json_found m;

	return json_scan_find(obj, n, name, &m) == 1 && m.kind == JSON_KIND_STRING &&
	       json_scan_string(m.raw, m.raw_len, out, size) >= 0;
}

/* Network.responseReceived of a document: its request is named like its loader. */
static void saw_response(struct opening *o, const char *params, size_t n)
{
	char loader[ID_MAX], request[ID_MAX], status[16];
	struct json_found r, m;
	uint64_t v;

	if (!get_text(params, n, "loaderId", loader, sizeof(loader)) || !loader[0] ||
		!get_text(params, n, "requestId", request, sizeof(request)) ||
		!streq(loader, request) || json_scan_find(params, n, "response", &r) != 1 ||
		r.kind != JSON_KIND_OBJECT || json_scan_find(r.raw, r.raw_len, "status", &m) != 1 ||
		m.raw_len >= sizeof(status))
		return;
	memcpy(status, m.raw, m.raw_len);
	status[m.raw_len] = '\0';
	if (parse_u64(status, 0, 999, &v))
		document_of(o, loader)->status = (int)v;
}

static void look_up(struct opening *o);

static void saw_lifecycle(struct opening *o, const char *params, size_t n)
{
	char loader[ID_MAX], name[32];

	if (!get_text(params, n, "loaderId", loader, sizeof(loader)) || !loader[0] ||
		!get_text(params, n, "name", name, sizeof(name)) || !streq(name, "load"))
		return;
	document_of(o, loader)->loaded = true;
	if (o->waiting && streq(loader, o->loader))
		look_up(o);
}

static void on_event(void *data, const char *method, const char *params, size_t n)
{
	if (streq(method, "Network.responseReceived"))
		saw_response(data, params, n);
	else if (streq(method, "Page.lifecycleEvent"))
		saw_lifecycle(data, params, n);
}

/* ---- the end ---- */

static void reply(struct opening *o, const cJSON *entry)
{
	const struct document *d = document_of(o, o->loader);
	cJSON *out = cJSON_CreateObject();

	cJSON_AddStringToObject(out, "url", json_str(entry, "url", ""));
	cJSON_AddStringToObject(out, "title", json_str(entry, "title", ""));
	if (d->status)
		cJSON_AddNumberToObject(out, "status", d->status);
	else
		cJSON_AddNullToObject(out, "status");
	cJSON_AddStringToObject(out, "target", o->target);
	cJSON_AddBoolToObject(out, "loaded", d->loaded || !o->loader[0]);
	o->answered = true;
	http_reply_json(o->c, 200, out);
	cJSON_Delete(out);
}

static void on_history(void *data, const char *result, size_t n, const struct err *err)
{
	struct opening *o = data;
	cJSON *h = err ? NULL : discovery_parse(result, n, CDP_OBJECT);
	const cJSON *entry;
	struct err e;

	entry = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(h, "entries"),
		(int)json_int(h, "currentIndex", 0));
	if (entry && !o->answered) {
		reply(o, entry);
	} else {
		if (!err) {
			err_set(&e, -EPROTO, "agent %s: the browser does not say where it is",
				o->agent);
			err_type(&e, 502, "browser-unavailable");
		}
		problem_out(o, err ? err : &e);
	}
	cJSON_Delete(h);
}

static void look_up(struct opening *o)
{
	o->waiting = false;
	uv_timer_stop(&o->timer);
	browser_call(o->browser, "Page.getNavigationHistory", NULL, on_history);
}

static void on_timer(uv_timer_t *t)
{
	struct opening *o = t->data;
	struct err err;

	if (o->waiting) {
		look_up(o);
		return;
	}
	err_set(&err, -ETIMEDOUT, "agent %s: %s did not answer in %llu s", o->agent, o->url,
		(unsigned long long)(o->timeout_ms / 1000));
	err_type(&err, 504, "timeout");
	problem_out(o, &err);
}

/* ---- navigating ---- */

/* net::ERR_…: the page is not there, and most often because the policy does not let it be. */
static void failed_navigation(struct opening *o, const char *text)
{
	struct err err;

	err_set(&err, -EHOSTUNREACH, "agent %s: %s: %s", o->agent, o->url, text);
	if (o->host[0])
		err_hint(&err,
			"`berth policy %s why %s` says whether the policy refused it; then `berth "
			"policy %s allow %s` lets the agent reach it",
			o->agent, o->host, o->agent, o->host);
	err_type(&err, 502, "navigation-failed");
	problem_out(o, &err);
}

static void on_navigated(void *data, const char *result, size_t n, const struct err *err)
{
	struct opening *o = data;
	char text[200];

	if (err) {
		problem_out(o, err);
		return;
	}
	if (get_text(result, n, "errorText", text, sizeof(text)) && text[0]) {
		failed_navigation(o, text);
		return;
	}
	/* No loader: the same document, which is there already. */
	if (!get_text(result, n, "loaderId", o->loader, sizeof(o->loader)))
		o->loader[0] = '\0';
	o->waiting = true;
	if (!o->loader[0] || document_of(o, o->loader)->loaded)
		look_up(o);
}

static void on_step(void *data, const char *result, size_t n, const struct err *err)
{
	struct opening *o = data;

	if (err)
		problem_out(o, err);
	else
		next_step(o);
}

static void next_step(struct opening *o)
{
	cJSON *p = cJSON_CreateObject();

	switch (o->step++) {
	case 0:
		browser_call(o->browser, "Page.enable", p, on_step);
		break;
	case 1:
		browser_call(o->browser, "Network.enable", p, on_step);
		break;
	case 2:
		cJSON_AddBoolToObject(p, "enabled", true);
		browser_call(o->browser, "Page.setLifecycleEventsEnabled", p, on_step);
		break;
	case 3:
		browser_call(o->browser, "Page.bringToFront", p, on_step);
		break;
	default:
		uv_timer_start(&o->timer, on_timer, o->timeout_ms, 0);
		cJSON_AddStringToObject(p, "url", o->url);
		browser_call(o->browser, "Page.navigate", p, on_navigated);
	}
}

static void on_ready(void *data, const char *target)
{
	struct opening *o = data;

	snprintf(o->target, sizeof(o->target), "%s", target);
	next_step(o);
}

static void on_failed(void *data, const struct err *err)
{
	problem_out(data, err);
}

/* ---- the request ---- */

static const struct json_member members[] = {
	{"url", JSON_STRING, true, 1, 1 << 20},
	{"new_tab", JSON_BOOL, false, 0, 0},
	{"timeout", JSON_INTEGER, false, 1, OPEN_TIMEOUT_MAX_S},
};

/* The host of an http address for the hint, "" when it is not plain. */
static void read_host(const char *url, char host[256])
{
	const char *at = strstr(url, "://");
	size_t n;

	host[0] = '\0';
	if (!at || strncasecmp(url, "http", 4) != 0)
		return;
	n = strspn(at + 3, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:");
	if (n > 0 && n < 256 && (!at[3 + n] || strchr("/?#", at[3 + n])))
		snprintf(host, 256, "%.*s", (int)n, at + 3);
}

static int check_body(const struct route_match *m, struct err *err)
{
	int r = json_check(m->body, members, ARRAY_SIZE(members), err);

	if (r < 0)
		return r;
	if (filter_url_opens(json_str(m->body, "url", "")))
		return 0;
	err_set(err, -EINVAL, "url: http, https, data and about:blank addresses can be opened");
	err_hint(err, "write it out: https://example.com/");
	return err_type(err, 400, "invalid-request");
}

static const struct http_owner http_owner = {.on_close = on_close};
static const struct browser_owner browser_owner = {
	.on_ready = on_ready, .on_event = on_event, .on_failed = on_failed};

void open_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	struct opening *o;
	struct err err;

	if (check_body(m, &err) < 0) {
		http_reply_problem(c, &err);
		return;
	}
	o = xcalloc(1, sizeof(*o));
	o->c = c;
	o->url = xstrdup(json_str(m->body, "url", ""));
	o->timeout_ms = (uint64_t)json_int(m->body, "timeout", OPEN_TIMEOUT_S) * 1000;
	snprintf(o->agent, sizeof(o->agent), "%s", m->agent);
	read_host(o->url, o->host);
	uv_timer_init(gateway_loop(gw), &o->timer);
	o->timer.data = o;
	http_set_owner(c, &http_owner, o);
	o->browser = browser_new(gw, m->agent, json_bool(m->body, "new_tab", false),
		o->timeout_ms + 30000 + GRACE_MS, &browser_owner, o, &err);
	if (!o->browser)
		problem_out(o, &err);
}
