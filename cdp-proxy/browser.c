/* The gateway's own CDP client: find the page in front, connect, call, hear events, within a
 * deadline. */
#include "browser.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "cdp_dial.h"
#include "discovery.h"
#include "json.h"
#include "json_scan.h"
#include "upstream.h"
#include "util.h"

/*
 * Theory of operation. /json/list names the pages, the one used last first; a WebSocket to that
 * page then needs no sessions at all. Calls go one at a time. A message is held whole (at most
 * BROWSER_ANSWER_MAX), checked by the strict reader, and its result handed on as text, so that a
 * picture is never built up as a tree.
 */
struct browser {
	struct gateway *gw;
	uv_timer_t deadline;
	const struct browser_owner *owner;
	void *data;
	char agent[64], target[65];
	struct cdp_dial *dial;
	struct upstream *up;
	struct buf message;
	bool ended, freed;
	int id; /* of the last call */
	browser_answer_fn *answer;
};

static size_t under_way;

static void deadline_closed(uv_handle_t *h)
{
	struct browser *b = h->data;

	under_way--;
	free(b);
}

static void drop(struct browser *b)
{
	cdp_dial_cancel(b->dial);
	upstream_free(b->up);
	b->dial = NULL;
	b->up = NULL;
	buf_done(&b->message);
}

void browser_free(struct browser *b)
{
	if (!b || b->freed)
		return;
	b->freed = b->ended = true;
	drop(b);
	uv_close((uv_handle_t *)&b->deadline, deadline_closed);
}

static void fail(struct browser *b, const struct err *err)
{
	if (b->ended)
		return;
	b->ended = true;
	uv_timer_stop(&b->deadline);
	drop(b);
	b->owner->on_failed(b->data, err);
}

static void on_deadline(uv_timer_t *t)
{
	struct browser *b = t->data;
	struct err err;

	err_set(&err, -ETIMEDOUT, "agent %s: the browser did not answer in time", b->agent);
	err_type(&err, 504, "timeout");
	fail(b, &err);
}

static void fail_odd(struct browser *b, const char *what)
{
	struct err err;

	metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	err_set(&err, -EPROTO, "agent %s: the browser %s", b->agent, what);
	err_type(&err, 502, "browser-unavailable");
	fail(b, &err);
}

/* ---- messages ---- */

/* The browser's own words for why it refused. */
static void refusal(struct browser *b, const struct json_found *e, struct err *err)
{
	struct json_found m;
	char text[300] = "no reason given";

	if (e->kind == JSON_KIND_OBJECT && json_scan_find(e->raw, e->raw_len, "message", &m) == 1 &&
		m.kind == JSON_KIND_STRING)
		json_scan_string(m.raw, m.raw_len, text, sizeof(text));
	err_set(err, -EIO, "agent %s: the browser says: %s", b->agent, text);
	err_type(err, 502, "browser-refused");
}

static void take_answer(struct browser *b, const char *text, size_t n)
{
	browser_answer_fn *fn = b->answer;
	struct json_found m;
	struct err err;

	b->answer = NULL;
	if (!fn)
		return;
	if (json_scan_find(text, n, "result", &m) == 1 && m.kind == JSON_KIND_OBJECT) {
		fn(b->data, m.raw, m.raw_len, NULL);
	} else if (json_scan_find(text, n, "error", &m) == 1) {
		refusal(b, &m, &err);
		fn(b->data, NULL, 0, &err);
	} else {
		fail_odd(b, "answered neither result nor error");
	}
}

static void take_event(struct browser *b, const char *text, size_t n)
{
	struct json_found m;
	char method[128];

	if (!b->owner->on_event || n > (1u << 20) || json_scan_find(text, n, "method", &m) != 1 ||
		m.kind != JSON_KIND_STRING || json_scan_string(m.raw, m.raw_len, method, 128) < 0)
		return;
	if (json_scan_find(text, n, "params", &m) != 1 || m.kind != JSON_KIND_OBJECT)
		return;
	b->owner->on_event(b->data, method, m.raw, m.raw_len);
}

static void take_message(struct browser *b, const char *text, size_t n)
{
	struct json_found m;
	int r = json_scan_find(text, n, "id", &m);
	char want[16];

	if (r < 0) {
		fail_odd(b, "sent what is not JSON");
		return;
	}
	if (r == 0) {
		take_event(b, text, n);
		return;
	}
	snprintf(want, sizeof(want), "%d", b->id);
	if (m.raw_len == strlen(want) && memcmp(m.raw, want, m.raw_len) == 0)
		take_answer(b, text, n);
}

static void on_piece(void *data, uint8_t *p, size_t n, bool first, bool final)
{
	struct browser *b = data;
	struct buf whole;

	if (!buf_add(&b->message, p, n)) {
		fail_odd(b, "sent an answer over 64 MiB");
		return;
	}
	if (!final)
		return;
	whole = b->message;
	buf_init(&b->message, BROWSER_ANSWER_MAX);
	take_message(b, buf_str(&whole), whole.len);
	buf_done(&whole);
}

void browser_call(struct browser *b, const char *method, cJSON *params, browser_answer_fn *fn)
{
	cJSON *o = cJSON_CreateObject();
	AUTOFREE char *text = NULL;

	cJSON_AddNumberToObject(o, "id", ++b->id);
	cJSON_AddStringToObject(o, "method", method);
	if (params)
		cJSON_AddItemToObject(o, "params", params);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	b->answer = fn;
	if (b->up)
		upstream_send(b->up, text, strlen(text), true, true);
}

/* ---- connecting ---- */

static void on_open(void *data)
{
	struct browser *b = data;

	b->owner->on_ready(b->data, b->target);
}

static void on_writable(void *data)
{
	(void)data;
}

static void on_up_close(void *data, const char *reason, bool fault)
{
	struct browser *b = data;
	struct err err;

	err_set(&err, -EIO, "agent %s: %s", b->agent, reason);
	err_type(&err, fault ? 502 : 503, "browser-unavailable");
	fail(b, &err);
}

static const struct upstream_owner up_owner = {
	.on_open = on_open,
	.on_piece = on_piece,
	.on_writable = on_writable,
	.on_close = on_up_close,
};

static void on_dialled(
	void *data, int fd, const char *path, uint64_t generation, const struct err *err)
{
	struct browser *b = data;

	b->dial = NULL;
	if (fd < 0) {
		fail(b, err);
		return;
	}
	b->up = upstream_new(gateway_loop(b->gw), fd, path, &up_owner, b);
	upstream_tie(b->up, b->gw, b->agent, generation);
}

static void connect_page(struct browser *b, const char *id)
{
	char path[160];

	snprintf(b->target, sizeof(b->target), "%s", id);
	snprintf(path, sizeof(path), "/devtools/page/%s", id);
	b->dial = cdp_dial_new(b->gw, b->agent, path, on_dialled, b);
}

static void on_new_page(void *data, int status, const char *body, size_t n, const struct err *err)
{
	struct browser *b = data;
	cJSON *page = !err && status == 200 ? discovery_parse(body, n, CDP_OBJECT) : NULL;

	b->dial = NULL;
	if (err)
		fail(b, err);
	else if (!page || !cdp_id_valid(json_str(page, "id", "")))
		fail_odd(b, "did not open a page");
	else
		connect_page(b, json_str(page, "id", ""));
	cJSON_Delete(page);
}

static void open_page(struct browser *b)
{
	b->dial = cdp_dial_http(b->gw, b->agent, "PUT", "/json/new?about:blank", on_new_page, b);
}

static void on_list(void *data, int status, const char *body, size_t n, const struct err *err)
{
	struct browser *b = data;
	cJSON *list = !err && status == 200 ? discovery_parse(body, n, CDP_ARRAY) : NULL;
	const char *front = discovery_front(list);

	b->dial = NULL;
	if (err)
		fail(b, err);
	else if (!list)
		fail_odd(b, "did not list its pages");
	else if (front)
		connect_page(b, front);
	else
		open_page(b);
	cJSON_Delete(list);
}

struct browser *browser_new(struct gateway *gw, const char *agent, bool new_page,
	uint64_t timeout_ms, const struct browser_owner *owner, void *data, struct err *err)
{
	struct browser *b;

	if (under_way >= BROWSERS_MAX) {
		err_set(err, -EBUSY, "%d pictures and openings are under way", BROWSERS_MAX);
		err_hint(err, "ask again when one is done");
		err_type(err, 429, "too-many-requests");
		return NULL;
	}
	under_way++;
	b = xcalloc(1, sizeof(*b));
	b->gw = gw;
	b->owner = owner;
	b->data = data;
	snprintf(b->agent, sizeof(b->agent), "%s", agent);
	buf_init(&b->message, BROWSER_ANSWER_MAX);
	uv_timer_init(gateway_loop(gw), &b->deadline);
	b->deadline.data = b;
	uv_timer_start(&b->deadline, on_deadline, timeout_ms, 0);
	if (new_page)
		open_page(b);
	else
		b->dial = cdp_dial_http(gw, b->agent, "GET", "/json/list", on_list, b);
	return b;
}
