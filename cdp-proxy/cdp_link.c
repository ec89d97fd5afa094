/* A CDP client of the gateway's own, to a whole browser: many calls at a time, flat sessions. */
#include "cdp_link.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "cdp_dial.h"
#include "json_scan.h"
#include "upstream.h"
#include "util.h"

/*
 * Theory of operation. One WebSocket to the browser's own end; every message is held whole (at most
 * CDP_LINK_MESSAGE_MAX), checked by the strict reader and handed on as text. Calls are found by
 * their id in a ring: an id's place is its remainder, so a call that is CDP_LINK_CALLS_MAX behind
 * and unanswered keeps new ones out. The browser is not believed: an answer to nothing is dropped,
 * what is not JSON ends the link.
 */
struct call {
	uint32_t id; /* 0: free */
	cdp_link_answer_fn *fn;
	uint64_t tag;
};

struct cdp_link {
	struct gateway *gw;
	const struct cdp_link_owner *owner;
	void *data;
	char agent[64];
	struct cdp_dial *dial;
	struct upstream *up;
	struct buf message;
	bool ended, freed, hurries;
	uint32_t id;
	size_t queued;
	unsigned int inside; /* call-backs that are under way */
	struct call calls[CDP_LINK_CALLS_MAX];
};

static void drop(struct cdp_link *l)
{
	cdp_dial_cancel(l->dial);
	upstream_free(l->up);
	l->dial = NULL;
	l->up = NULL;
	buf_done(&l->message);
}

static void leave(struct cdp_link *l)
{
	if (--l->inside == 0 && l->freed)
		free(l);
}

void cdp_link_free(struct cdp_link *l)
{
	if (!l || l->freed)
		return;
	l->freed = l->ended = true;
	drop(l);
	if (l->inside == 0)
		free(l);
}

static void fail(struct cdp_link *l, const struct err *err)
{
	if (l->ended)
		return;
	l->ended = true;
	drop(l);
	l->inside++;
	l->owner->on_closed(l->data, err);
	leave(l);
}

static void fail_odd(struct cdp_link *l, const char *what)
{
	struct err err;

	metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	err_set(&err, -EPROTO, "agent %s: the browser %s", l->agent, what);
	err_type(&err, 502, "browser-unavailable");
	fail(l, &err);
}

/* ---- Messages ---- */

static bool get_text(const char *obj, size_t n, const char *name, char *out, size_t size)
{
	struct json_found m;

	return json_scan_find(obj, n, name, &m) == 1 && m.kind == JSON_KIND_STRING && m.raw &&
	       json_scan_string(m.raw, m.raw_len, out, size) >= 0;
}

/* The browser's own words for why it refused. */
static void refusal(const struct json_found *e, struct err *err)
{
	char text[300] = "no reason given";

	if (e->kind == JSON_KIND_OBJECT && e->raw)
		get_text(e->raw, e->raw_len, "message", text, sizeof(text));
	err_set(err, -EIO, "the browser says: %s", text);
	err_type(err, 502, "browser-refused");
}

static void take_answer(struct cdp_link *l, uint32_t id, const char *text, size_t n)
{
	struct call *c = &l->calls[id % CDP_LINK_CALLS_MAX], was = *c;
	struct json_found m;
	struct err err;

	if (was.id != id)
		return;
	c->id = 0;
	if (!was.fn)
		return;
	if (json_scan_find(text, n, "result", &m) == 1 && m.kind == JSON_KIND_OBJECT) {
		was.fn(l->data, was.tag, m.raw, m.raw_len, NULL);
	} else if (json_scan_find(text, n, "error", &m) == 1) {
		refusal(&m, &err);
		was.fn(l->data, was.tag, NULL, 0, &err);
	} else {
		fail_odd(l, "answered neither result nor error");
	}
}

static void take_event(struct cdp_link *l, const char *text, size_t n)
{
	struct json_found m;
	char method[128], session[CDP_SESSION_MAX] = "";

	if (n > CDP_LINK_EVENT_MAX || !get_text(text, n, "method", method, sizeof(method)))
		return;
	get_text(text, n, "sessionId", session, sizeof(session));
	if (json_scan_find(text, n, "params", &m) == 1 && m.kind == JSON_KIND_OBJECT)
		l->owner->on_event(l->data, session, method, m.raw, m.raw_len);
}

static void take_message(struct cdp_link *l, const char *text, size_t n)
{
	struct json_found m;
	int r = json_scan_find(text, n, "id", &m);
	char id[16];
	uint64_t v;

	if (r < 0) {
		fail_odd(l, "sent what is not JSON");
		return;
	}
	if (r == 0) {
		take_event(l, text, n);
		return;
	}
	if (m.kind != JSON_KIND_NUMBER || m.raw_len >= sizeof(id))
		return;
	memcpy(id, m.raw, m.raw_len);
	id[m.raw_len] = '\0';
	if (parse_u64(id, 1, UINT32_MAX, &v))
		take_answer(l, (uint32_t)v, text, n);
}

static void on_piece(void *data, uint8_t *p, size_t n, bool first, bool final)
{
	struct cdp_link *l = data;
	struct buf whole;

	(void)first;
	if (!buf_add(&l->message, p, n)) {
		fail_odd(l, "sent a message over 64 MiB");
		return;
	}
	if (!final)
		return;
	whole = l->message;
	buf_init(&l->message, CDP_LINK_MESSAGE_MAX);
	l->inside++;
	take_message(l, buf_str(&whole), whole.len);
	leave(l);
	buf_done(&whole);
}

bool cdp_link_call(struct cdp_link *l, const char *session, const char *method, cJSON *params,
	cdp_link_answer_fn *fn, uint64_t tag)
{
	struct call *c = &l->calls[(l->id + 1) % CDP_LINK_CALLS_MAX];
	AUTOFREE char *text = NULL;
	cJSON *o;

	if (!l->up || (c->id && c->fn)) {
		cJSON_Delete(params);
		return false;
	}
	*c = (struct call){++l->id, fn, tag};
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "id", l->id);
	cJSON_AddStringToObject(o, "method", method);
	if (session && *session)
		cJSON_AddStringToObject(o, "sessionId", session);
	if (params)
		cJSON_AddItemToObject(o, "params", params);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	l->queued = upstream_send(l->up, text, strlen(text), true, true);
	return true;
}

size_t cdp_link_queued(const struct cdp_link *l)
{
	return l->queued;
}

void cdp_link_hurries(struct cdp_link *l, bool hurries)
{
	l->hurries = hurries;
	if (hurries && l->up)
		upstream_wake(l->up);
}

/* ---- Connecting ---- */

static void on_open(void *data)
{
	struct cdp_link *l = data;

	l->inside++;
	l->owner->on_open(l->data);
	leave(l);
}

static void on_writable(void *data)
{
	struct cdp_link *l = data;

	l->queued = 0;
}

static void on_up_close(void *data, const char *reason, bool fault)
{
	struct cdp_link *l = data;
	struct err err;

	err_set(&err, -EIO, "agent %s: %s", l->agent, reason);
	err_type(&err, fault ? 502 : 503, "browser-unavailable");
	fail(l, &err);
}

static void on_sleep(void *data)
{
	struct cdp_link *l = data;

	if (l->hurries)
		upstream_wake(l->up);
}

static void on_gone(void *data, int code, const char *reason)
{
	struct cdp_link *l = data;
	struct err err;

	(void)code;
	err_set(&err, -EIO, "agent %s: %s", l->agent, reason);
	err_type(&err, 503, "browser-unavailable");
	fail(l, &err);
}

static const struct upstream_owner up_owner = {
	.on_open = on_open,
	.on_piece = on_piece,
	.on_writable = on_writable,
	.on_close = on_up_close,
	.on_sleep = on_sleep,
	.on_gone = on_gone,
};

static void on_dialled(
	void *data, int fd, const char *path, uint64_t generation, const struct err *err)
{
	struct cdp_link *l = data;

	l->dial = NULL;
	if (fd < 0) {
		fail(l, err);
		return;
	}
	l->up = upstream_new(gateway_loop(l->gw), fd, path, &up_owner, l);
	upstream_tie(l->up, l->gw, l->agent, generation);
}

struct cdp_link *cdp_link_new(
	struct gateway *gw, const char *agent, const struct cdp_link_owner *owner, void *data)
{
	struct cdp_link *l = xcalloc(1, sizeof(*l));

	l->gw = gw;
	l->owner = owner;
	l->data = data;
	snprintf(l->agent, sizeof(l->agent), "%s", agent);
	buf_init(&l->message, CDP_LINK_MESSAGE_MAX);
	l->dial = cdp_dial_new(gw, agent, NULL, on_dialled, l);
	return l;
}
