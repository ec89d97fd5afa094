/* Dialling a browser: berthd's socket, /json/version for the browser's address, again while it
 * starts. */
#include "cdp_dial.h"

#include <errno.h>
#include <string.h>

#include "json_scan.h"
#include "util.h"

/*
 * Theory of operation. A dial is a small chain, begun again every RETRY_MS until CDP_DIAL_MS are
 * over:
 *
 *   CONNECT --fd--> [HTTP --answer-->] CONNECT --fd--> done      (looking up the browser's end)
 *   CONNECT --fd--> HTTP --answer--> done                        (one request)
 *   CONNECT --fd--> done                                         (a path that is known)
 *
 * What berthd says is final (it has waited for the browser by itself); what the guest fails to say
 * is not, as its relay may accept before Chromium listens.
 */
#define RETRY_MS 200

struct cdp_dial {
	struct gateway *gw;
	uv_timer_t timer;
	char agent[64], path[160];
	char *method, *target; /* of the one request; NULL: a dial for a WebSocket */
	uint64_t deadline;
	struct daemon_request *asking;
	struct upstream_http *http;
	cdp_dial_fn *fn;
	upstream_http_fn *http_fn;
	void *data;
};

static void begin(struct cdp_dial *d);

bool cdp_id_valid(const char *id)
{
	size_t n = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");

	return n >= 1 && n <= 64 && !id[n];
}

static void timer_closed(uv_handle_t *h)
{
	struct cdp_dial *d = h->data;

	free(d->method);
	free(d->target);
	free(d);
}

void cdp_dial_cancel(struct cdp_dial *d)
{
	if (!d || uv_is_closing((uv_handle_t *)&d->timer))
		return;
	if (d->asking)
		gateway_cancel(d->asking);
	upstream_http_cancel(d->http);
	d->asking = NULL;
	d->http = NULL;
	uv_close((uv_handle_t *)&d->timer, timer_closed);
}

static void fail(struct cdp_dial *d, const struct err *err)
{
	cdp_dial_cancel(d);
	if (d->fn)
		d->fn(d->data, -1, NULL, 0, err);
	else
		d->http_fn(d->data, 0, NULL, 0, err);
}

static void on_retry(uv_timer_t *t)
{
	begin(t->data);
}

/* The browser is not there yet: again, unless the time is over. */
static void later(struct cdp_dial *d, const struct err *err)
{
	struct err e = *err;

	if (now_ms() + RETRY_MS < d->deadline) {
		uv_timer_start(&d->timer, on_retry, RETRY_MS, 0);
		return;
	}
	err_hint(&e, "`berth show %s` says how the browser is; `berth restart %s` starts it anew",
		d->agent, d->agent);
	fail(d, &e);
}

/* "/devtools/browser/ID" out of /json/version's answer; false if there is none. */
static bool read_version(const char *body, size_t n, char path[160])
{
	static const char prefix[] = "/devtools/browser/";
	struct json_found m;
	char url[160];
	const char *at;

	if (json_scan_find(body, n, "webSocketDebuggerUrl", &m) != 1 ||
		m.kind != JSON_KIND_STRING ||
		json_scan_string(m.raw, m.raw_len, url, sizeof(url)) < 0)
		return false;
	at = strstr(url, prefix);
	if (!at || !cdp_id_valid(at + strlen(prefix)))
		return false;
	snprintf(path, 160, "%s", at);
	return true;
}

static void on_version(void *data, int status, const char *body, size_t n, const struct err *err)
{
	struct cdp_dial *d = data;
	struct err e;

	d->http = NULL;
	if (!err && status == 200 && read_version(body, n, d->path)) {
		begin(d);
		return;
	}
	if (!err) {
		err_set(&e, -EPROTO, "the agent's browser does not say where it listens");
		err_type(&e, 503, "browser-unavailable");
	}
	later(d, err ? err : &e);
}

static void on_answer(void *data, int status, const char *body, size_t n, const struct err *err)
{
	struct cdp_dial *d = data;

	d->http = NULL;
	if (err) {
		later(d, err);
		return;
	}
	cdp_dial_cancel(d);
	d->http_fn(d->data, status, body, n, NULL);
}

static void on_connected(void *data, int fd, uint64_t generation, const struct err *err)
{
	struct cdp_dial *d = data;
	uv_loop_t *loop = gateway_loop(d->gw);

	d->asking = NULL;
	if (fd < 0) {
		fail(d, err);
		return;
	}
	if (d->method) {
		d->http = upstream_http_new(loop, fd, d->method, d->target, on_answer, d);
	} else if (!d->path[0]) {
		d->http = upstream_http_new(loop, fd, "GET", "/json/version", on_version, d);
	} else {
		cdp_dial_cancel(d);
		d->fn(d->data, fd, d->path, generation, NULL);
		return;
	}
	upstream_http_tie(d->http, d->gw, d->agent, generation);
}

static void begin(struct cdp_dial *d)
{
	d->asking = gateway_connect(d->gw, d->agent, "cdp", on_connected, d);
}

static struct cdp_dial *dial(struct gateway *gw, const char *agent, void *data)
{
	struct cdp_dial *d = xcalloc(1, sizeof(*d));

	d->gw = gw;
	d->data = data;
	d->deadline = now_ms() + CDP_DIAL_MS;
	snprintf(d->agent, sizeof(d->agent), "%s", agent);
	uv_timer_init(gateway_loop(gw), &d->timer);
	d->timer.data = d;
	return d;
}

struct cdp_dial *cdp_dial_new(
	struct gateway *gw, const char *agent, const char *path, cdp_dial_fn *fn, void *data)
{
	struct cdp_dial *d = dial(gw, agent, data);

	d->fn = fn;
	snprintf(d->path, sizeof(d->path), "%s", path ? path : "");
	begin(d);
	return d;
}

struct cdp_dial *cdp_dial_http(struct gateway *gw, const char *agent, const char *method,
	const char *target, upstream_http_fn *fn, void *data)
{
	struct cdp_dial *d = dial(gw, agent, data);

	d->http_fn = fn;
	d->method = xstrdup(method);
	d->target = xstrdup(target);
	begin(d);
	return d;
}
