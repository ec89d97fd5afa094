/*
 * One relayed connection.
 *
 * Theory of operation. The wall has redirected a guest's connection here; SO_ORIGINAL_DST says
 * where it was going. Nothing is sent anywhere before the guest has said a name (TLS: SNI; HTTP:
 * Host), the rules allow it at that port, and it was resolved to that address for this guest. Then
 * the relay resolves the name by itself and dials what it got, so that the guest's address decides
 * nothing. Where a rule opens a port to any protocol (/tcp) nobody looks for a name: by a name that
 * was resolved to that address the relay dials what it resolves, by a network that very address.
 *
 *   HELLO --name--> LOOKUP --addresses--> DIAL --connected--> OPEN --both ends--> closed
 *     |'-- a name with /tcp --'             |
 *     |'-- a network with /tcp -------------'
 *     '-- no or wrong name --> PAGE (HTTP: why, and what would allow it) or closed
 *
 *   guest ==up (64 KiB, HTTP: only what was checked)==> server
 *   guest <==down (64 KiB)============================= server
 *
 * Whatever is freed is freed by the loop, when all handles are closed.
 */
#include "conn.h"
#include "dial.h"
#include "flow.h"
#include "http_check.h"
#include "sni.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum conn_state { CONN_HELLO, CONN_LOOKUP, CONN_DIAL, CONN_OPEN, CONN_PAGE, CONN_CLOSED };
enum conn_kind { CONN_UNKNOWN, CONN_TLS, CONN_HTTP, CONN_TCP };

/* Owned by the loop; its relay lists it. */
struct conn {
	struct conn *next;
	struct conn_owner *owner;
	enum conn_state state;
	enum conn_kind kind;
	uv_tcp_t guest;
	struct dial dial; /* with the server's stream */
	struct flow up, down;
	struct sni *sni;
	struct http_check http;
	struct lookup_wait lookup;
	struct lookup_result found; /* what is to be reached */
	char name[256], rule[RULE_TEXT_MAX];
	bool allowed, learnt; /* and not told yet; because the policy learns */
	const char *failure;  /* why an allowed connection came to nothing */
	uint32_t addr;        /* where the guest wanted to go, network byte order */
	uint16_t port;
	uint64_t began, moved; /* now_ms */
	int handles;
	uv_write_t page_write;
	uv_shutdown_t page_end;
	char page[1024];
};

static const char *const kind_names[] = {"tcp", "tls", "http", "tcp"};

struct conn **conn_next(struct conn *c)
{
	return &c->next;
}

static void release(struct conn *c)
{
	if (--c->handles > 0)
		return;
	c->owner->closed(c->owner, c);
	flow_done(&c->up);
	flow_done(&c->down);
	http_check_done(&c->http);
	sni_free(c->sni);
	free(c);
}

static void on_guest_closed(uv_handle_t *handle)
{
	release(CONTAINER_OF((uv_tcp_t *)handle, struct conn, guest));
}

static void on_dial_closed(struct dial *d)
{
	release(CONTAINER_OF(d, struct conn, dial));
}

static void report(struct conn *c, bool allow, const char *reason)
{
	struct egress entry = {.name = c->name,
		.protocol = kind_names[c->kind],
		.rule = c->rule,
		.reason = reason,
		.addr = c->addr,
		.port = c->port,
		.allow = allow,
		.learnt = allow && c->learnt,
		.bytes_up = c->up.total,
		.bytes_down = c->down.total,
		.duration_ms = now_ms() - c->began};

	events_egress(c->owner->parts->events, &entry);
}

/* rude: the guest sees a reset, so that it does not take what it got for the whole. */
static void conn_close(struct conn *c, bool rude)
{
	if (c->state == CONN_CLOSED)
		return;
	if (c->allowed)
		report(c, true,
			c->failure  ? c->failure
			: c->learnt ? "no rule allows this name and port"
				    : "");
	c->state = CONN_CLOSED;
	flow_end(&c->up);
	flow_end(&c->down);
	lookup_cancel(&c->lookup);
	if (dial_cancel(&c->dial))
		c->handles++;
	if (!rude || uv_tcp_close_reset(&c->guest, on_guest_closed) < 0)
		uv_close((uv_handle_t *)&c->guest, on_guest_closed);
}

static void on_page_end(uv_shutdown_t *req, int status)
{
}

static void on_page_written(uv_write_t *req, int status)
{
	struct conn *c = req->data;

	if (status < 0 || uv_shutdown(&c->page_end, (uv_stream_t *)&c->guest, on_page_end) < 0)
		conn_close(c, false);
}

/* Answers the first request by ourselves; what the guest still sends is read and forgotten. */
static void send_page(struct conn *c, const char *status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void send_page(struct conn *c, const char *status, const char *fmt, ...)
{
	char text[700];
	uv_buf_t buf;
	va_list ap;
	int n;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = snprintf(c->page, sizeof(c->page),
		"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: "
		"close\r\n\r\n%s",
		status, strlen(text), text);
	buf = uv_buf_init(c->page, (unsigned)MIN(n, (int)sizeof(c->page) - 1));
	c->state = CONN_PAGE;
	c->moved = now_ms();
	c->page_write.data = c;
	c->up.len = c->up.pass = 0;
	if (flow_start(&c->up) < 0 ||
		uv_write(&c->page_write, (uv_stream_t *)&c->guest, &buf, 1, on_page_written) < 0)
		conn_close(c, false);
}

static void blocked_page(struct conn *c, const char *reason)
{
	const char *agent = c->owner->parts->agent;
	char port[8] = "";

	if (c->port != 80 && c->port != 443)
		snprintf(port, sizeof(port), ":%u", c->port);
	if (c->name[0])
		send_page(c, "403 Forbidden",
			"berth blocked %s (port %u): %s.\n\nTo allow it:  berth policy %s allow "
			"%s%s\n",
			c->name, c->port, reason, agent, c->name, port);
	else
		send_page(c, "403 Forbidden", "berth blocked this request: %s.\n", reason);
}

/* The end of a connection that is not allowed. */
static void conn_deny(struct conn *c, const char *reason)
{
	c->owner->parts->stats->denied++;
	report(c, false, reason);
	c->allowed = false;
	if (c->state == CONN_HELLO && c->kind == CONN_HTTP)
		blocked_page(c, reason);
	else
		conn_close(c, c->state != CONN_HELLO);
}

/* The end of one that is allowed and yet not possible. Which proxy there is, the guest need not
 * know. */
static void conn_fail(struct conn *c, const char *failure)
{
	const char *told = c->dial.proxy ? "the proxy on the way does not get there" : failure;

	c->failure = failure;
	if (c->kind != CONN_HTTP) {
		conn_close(c, true);
		return;
	}
	report(c, true, failure);
	c->allowed = false;
	send_page(c, "502 Bad Gateway", "berth could not reach %s (port %u): %s.\n", c->name,
		c->port, told);
}

/* After the way by a proxy. */
static void judge_proxy(struct conn *c, bool works)
{
	if (c->dial.proxy && (works || c->dial.proxy_failed))
		events_health(c->owner->parts->events, HEALTH_PROXY, works,
			works ? "it connects again" : dial_failure(&c->dial));
}

static void go_on(struct conn *c);

static void on_dialled(struct dial *d, int result)
{
	struct conn *c = CONTAINER_OF(d, struct conn, dial);

	if (c->state != CONN_DIAL)
		return;
	judge_proxy(c, result == 0);
	if (result < 0) {
		conn_fail(c, dial_failure(d));
		return;
	}
	c->state = CONN_OPEN;
	c->moved = now_ms();
	c->down.from = &d->sock.stream;
	c->down.to = (uv_stream_t *)&c->guest;
	c->up.to = &d->sock.stream;
	d->sock.stream.data = &c->down;
	c->up.through = c->down.through = c->kind != CONN_HTTP;
	flow_push(&c->down);
	go_on(c);
}

static void on_proxy_looked_up(struct lookup_wait *w, const struct lookup_result *r)
{
	struct conn *c = CONTAINER_OF(w, struct conn, lookup);
	const struct proxy *proxy = c->owner->parts->proxy;

	c->state = CONN_DIAL;
	if (r->n > 0) {
		dial_by_proxy(&c->dial, proxy, r->addrs, r->n, c->name, c->found.addrs, c->found.n,
			c->port);
		return;
	}
	events_health(c->owner->parts->events, HEALTH_PROXY, false, "its name has no address");
	conn_fail(c, "the proxy's name has no address");
}

static void find_proxy(struct conn *c)
{
	const struct relay_parts *parts = c->owner->parts;
	struct lookup_result literal = {.n = 1};

	c->lookup.done = on_proxy_looked_up;
	if (inet_pton(AF_INET, parts->proxy->host, literal.addrs) == 1)
		on_proxy_looked_up(&c->lookup, &literal);
	else
		lookup_start(parts->proxy_lookup, parts->proxy->host, &c->lookup);
}

/* On to the addresses found, straight or by the proxy. */
static void reach(struct conn *c)
{
	if (c->found.n == 0) {
		conn_fail(c, "its name has no usable address");
	} else if (c->owner->parts->proxy->kind != PROXY_NONE) {
		find_proxy(c);
	} else {
		c->state = CONN_DIAL;
		dial_tcp(&c->dial, c->found.addrs, c->found.n, c->addr, c->port);
	}
}

static void on_looked_up(struct lookup_wait *w, const struct lookup_result *r)
{
	struct conn *c = CONTAINER_OF(w, struct conn, lookup);
	const struct relay_parts *parts = c->owner->parts;

	c->found.n = 0;
	for (size_t i = 0; i < r->n; i++)
		if (pin_addr_allowed(parts->private_networks, parts->rules, r->addrs[i], c->port))
			c->found.addrs[c->found.n++] = r->addrs[i];
	reach(c);
}

/* From here on it is allowed, if it stays so until its end. */
static void allow(struct conn *c, const struct ruleset_decision *d)
{
	snprintf(c->rule, sizeof(c->rule), "%s", d->rule);
	c->allowed = true;
	c->learnt = d->verdict == RULESET_LEARN || (c->kind == CONN_TCP && !d->tcp);
	c->moved = now_ms();
}

static void refuse_name(struct conn *c, const struct ruleset_decision *d)
{
	snprintf(c->rule, sizeof(c->rule), "%s", d->rule);
	conn_deny(c, d->verdict == RULESET_DENY    ? "a rule denies this name"
		     : d->verdict == RULESET_ALLOW ? "this name was not resolved to this address"
						   : "no rule allows this name and port");
}

static void take_name(struct conn *c, const char *name)
{
	const struct relay_parts *parts = c->owner->parts;
	struct ruleset_decision d = ruleset_name(parts->rules, name, c->port);

	snprintf(c->name, sizeof(c->name), "%s", name);
	sni_free(c->sni);
	c->sni = NULL;
	if (!ruleset_allows(&d) || !pins_has(parts->pins, name, c->addr, c->port)) {
		refuse_name(c, &d);
		return;
	}
	allow(c, &d);
	if (streq(name, RULE_SERVICE_START)) {
		c->state = CONN_DIAL;
		dial_unix(&c->dial, RELAY_START_SOCKET);
		return;
	}
	c->state = CONN_LOOKUP;
	lookup_start(parts->lookup, name, &c->lookup);
}

static bool is_open_to_all(void *data, const char *name)
{
	struct conn *c = data;
	struct ruleset_decision d = ruleset_name(c->owner->parts->rules, name, c->port);

	return ruleset_allows(&d) && d.tcp;
}

static bool is_allowed_name(void *data, const char *name)
{
	struct conn *c = data;
	struct ruleset_decision d = ruleset_name(c->owner->parts->rules, name, c->port);

	return ruleset_allows(&d);
}

/* Any protocol: by a name that was resolved to this address and may be used so, if there is one. */
static bool take_any_protocol(struct conn *c, bool (*fits)(void *data, const char *name))
{
	const struct relay_parts *parts = c->owner->parts;
	const char *found = pins_find(parts->pins, c->addr, c->port, fits, c);
	char name[256];

	if (!found)
		return false;
	snprintf(name, sizeof(name), "%s", found);
	c->kind = CONN_TCP;
	take_name(c, name);
	return true;
}

/* What can be said of it before the guest has said anything. */
static void settle(struct conn *c)
{
	struct ruleset_decision d = ruleset_addr(c->owner->parts->rules, c->addr, c->port);

	if (d.verdict == RULESET_DENY) {
		snprintf(c->rule, sizeof(c->rule), "%s", d.rule);
		conn_deny(c, "a rule denies this address");
	} else if (d.verdict == RULESET_ALLOW) {
		c->kind = CONN_TCP;
		allow(c, &d);
		c->state = CONN_LOOKUP;
		c->dial.own = NULL;
		c->found = (struct lookup_result){.n = 1, .addrs = {c->addr}};
		reach(c);
	} else {
		take_any_protocol(c, is_open_to_all);
	}
}

static void read_tls_name(struct conn *c)
{
	char name[256];
	int r;

	if (!c->sni)
		c->sni = sni_new();
	r = sni_feed(c->sni, c->up.data + c->up.pass, c->up.len - c->up.pass, name);
	c->up.pass = c->up.len;
	if (r == 1)
		take_name(c, name);
	else if (r < 0)
		conn_deny(c, r == -ENOENT ? "TLS without a server name"
					  : "not a TLS ClientHello with a valid name");
	else if (c->up.len == c->up.size)
		conn_deny(c, "a TLS ClientHello that is too long");
}

/* What may go on of what the guest has sent; false when the connection has ended over it. */
static bool check_http(struct conn *c)
{
	const char *reason = NULL;
	size_t pass = 0;
	int r = http_check_feed(&c->http, (const char *)c->up.data + c->up.pass,
		c->up.len - c->up.pass, &pass, &reason);

	c->up.pass += pass;
	if (r == 0)
		return true;
	if (c->state == CONN_HELLO)
		snprintf(c->name, sizeof(c->name), "%s", c->http.name);
	conn_deny(c, reason);
	return false;
}

/* A policy that learns lets other protocols through, by what the guest has resolved. */
static bool learn_protocol(struct conn *c)
{
	return c->owner->parts->rules->learn && take_any_protocol(c, is_allowed_name);
}

static void read_name(struct conn *c)
{
	if (c->up.eof) {
		conn_close(c, false);
		return;
	}
	if (c->kind == CONN_UNKNOWN) {
		c->kind = c->up.data[0] == 0x16 ? CONN_TLS : CONN_HTTP;
		if (c->kind == CONN_HTTP && (c->up.data[0] < 'A' || c->up.data[0] > 'Z')) {
			c->kind = CONN_UNKNOWN;
			if (!learn_protocol(c))
				conn_deny(c, "neither TLS nor HTTP");
			return;
		}
	}
	if (c->kind == CONN_TLS)
		read_tls_name(c);
	else if (check_http(c) && c->http.name[0])
		take_name(c, c->http.name);
}

/* Passes on what may, now that the server is there. */
static void go_on(struct conn *c)
{
	if (c->kind != CONN_HTTP)
		c->up.pass = c->up.len;
	else if (!check_http(c))
		return;
	flow_push(&c->up);
	if (c->state == CONN_OPEN && c->up.eof && c->up.len > c->up.pass &&
		c->http.state != HTTP_UPGRADE)
		conn_deny(c, "an unfinished request");
}

static void on_guest_data(struct flow *f)
{
	struct conn *c = f->owner;

	if (c->state == CONN_HELLO) {
		read_name(c);
	} else if (c->state == CONN_OPEN) {
		go_on(c);
	} else if (c->state == CONN_PAGE) {
		f->len = f->pass = 0;
		if (f->eof || flow_start(f) < 0)
			conn_close(c, false);
	}
}

static void on_server_data(struct flow *f)
{
	struct conn *c = f->owner;
	const char *reason = NULL;
	bool waited = c->http.state == HTTP_UPGRADE;

	if (c->state != CONN_OPEN)
		return;
	if (c->kind == CONN_HTTP && http_check_answer(&c->http, (const char *)f->data + f->pass,
					    f->len - f->pass, &reason) < 0) {
		conn_deny(c, reason);
		return;
	}
	f->pass = f->len;
	flow_push(f);
	if (waited && c->state == CONN_OPEN)
		go_on(c);
}

static void on_flow_failed(struct flow *f)
{
	conn_close(f->owner, true);
}

static void on_flow_moved(struct flow *f)
{
	struct conn *c = f->owner;

	c->moved = now_ms();
	if (c->state == CONN_OPEN && flow_finished(&c->up) && flow_finished(&c->down))
		conn_close(c, false);
}

void conn_tick(struct conn *c, uint64_t now)
{
	uint64_t still = now - MIN(c->moved, now);

	switch (c->state) {
	case CONN_HELLO:
		if (now - c->began > RELAY_LEARN_MS && c->up.len == 0 && learn_protocol(c))
			break; /* the server is to speak first */
		if (now - c->began > RELAY_HELLO_MS && c->up.len == 0)
			conn_close(c, false);
		else if (now - c->began > RELAY_HELLO_MS)
			conn_deny(c, "no name within 10 s");
		break;
	case CONN_LOOKUP:
		break; /* bounded by the lookup itself */
	case CONN_DIAL:
		dial_tick(&c->dial, now, RELAY_TRY_MS);
		if (still > RELAY_DIAL_MS && dial_cancel(&c->dial)) {
			c->handles++;
			judge_proxy(c, false);
			conn_fail(c, dial_failure(&c->dial));
		}
		break;
	case CONN_OPEN:
		if (still > RELAY_IDLE_MS)
			conn_close(c, true);
		break;
	case CONN_PAGE:
		if (still > RELAY_LINGER_MS)
			conn_close(c, false);
		break;
	case CONN_CLOSED:
		break;
	}
}

/* By a name; or by a network, whose connections have none. */
static bool still_allowed(const struct conn *c, struct ruleset_decision *ret)
{
	const struct relay_parts *parts = c->owner->parts;
	uint32_t reached = c->dial.open ? dial_addr(&c->dial) : 0;

	if (!c->name[0]) {
		*ret = ruleset_addr(parts->rules, c->addr, c->port);
		return ret->verdict == RULESET_ALLOW;
	}
	*ret = ruleset_name(parts->rules, c->name, c->port);
	if (!ruleset_allows(ret) || (c->kind == CONN_TCP && !ret->tcp && !parts->rules->learn))
		return false;
	if (ruleset_addr(parts->rules, c->addr, c->port).verdict == RULESET_DENY)
		return false;
	return !reached ||
	       pin_addr_allowed(parts->private_networks, parts->rules, reached, c->port);
}

void conn_recheck(struct conn *c)
{
	struct ruleset_decision d;

	if (!c->allowed || c->state == CONN_CLOSED)
		return;
	if (still_allowed(c, &d)) {
		uint64_t moved = c->moved;

		allow(c, &d);
		c->moved = moved;
	} else {
		conn_deny(c, "the rules have changed");
	}
}

/* Where the wall took the connection from. */
static int original_destination(struct conn *c)
{
	struct sockaddr_in to;
	socklen_t n = sizeof(to);
	int fd;

	if (uv_fileno((uv_handle_t *)&c->guest, &fd) < 0 ||
		getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &to, &n) < 0 || to.sin_family != AF_INET)
		return -EIO;
	c->addr = to.sin_addr.s_addr;
	c->port = ntohs(to.sin_port);
	return pin_addr_possible(c->addr) ? 0 : -EIO;
}

static void set_up_flow(struct conn *c, struct flow *f, uv_stream_t *from, struct pace *pace,
	void (*arrived)(struct flow *f))
{
	flow_init(f, RELAY_BUFFER, from, pace);
	f->arrived = arrived;
	f->failed = on_flow_failed;
	f->moved = on_flow_moved;
	f->owner = c;
}

struct conn *conn_accept(struct conn_owner *owner, uv_stream_t *listener)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	const struct relay_parts *parts = owner->parts;

	c->owner = owner;
	c->handles = 1;
	c->began = c->moved = now_ms();
	c->lookup.done = on_looked_up;
	c->dial.loop = parts->loop;
	c->dial.own = parts->private_networks;
	c->dial.done = on_dialled;
	c->dial.closed = on_dial_closed;
	uv_tcp_init(parts->loop, &c->guest);
	set_up_flow(c, &c->up, (uv_stream_t *)&c->guest, &parts->meter->up, on_guest_data);
	set_up_flow(c, &c->down, NULL, &parts->meter->down, on_server_data);
	c->guest.data = &c->up;
	parts->stats->connections++;
	if (uv_accept(listener, (uv_stream_t *)&c->guest) < 0 || original_destination(c) < 0) {
		conn_close(c, true);
		return c;
	}
	http_check_init(&c->http, c->port);
	uv_tcp_nodelay(&c->guest, 1);
	if (flow_start(&c->up) < 0)
		conn_close(c, true);
	else
		settle(c);
	return c;
}

void conn_cut(struct conn *c, const char *reason)
{
	if (c->state == CONN_CLOSED)
		return;
	c->owner->parts->stats->denied++;
	report(c, false, reason);
	c->rule[0] = 0;
	conn_close(c, true);
}
