/* Accepts connections, judges the first head, and hands what may go on to its route. */
#include "entry.h"
#include "access.h"
#include "api.h"
#include "auth.h"
#include "gateway_state.h"
#include "log.h"
#include "problem.h"
#include "start_page.h"
#include "util.h"
#include "ws_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Theory of operation. In this order, each step refusing on its own: the head's form, Host, Origin,
 * framing, Upgrade (request.c); the route, its method (api.c); who it is (the socket's kind, or a
 * token: auth.c); the role, the agent; the agent's real name when an id was used; how many clients
 * that agent has. Only then a handler runs. A step that has to ask berthd leaves the connection in
 * CONN_DECIDING and goes on from the answer.
 */
#define ACCEPT_AT_ONCE 32
#define HEADS_MAX 512
#define NO_FDS_MS 200

/* Owned by the gateway's list. */
struct listener {
	struct listener *prev, *next;
	struct gateway *gw;
	uv_poll_t poll;
	uv_timer_t rest;
	int fd, handles;
	enum listener_kind kind;
	char agent[64];
};

/* ---- Deciding ---- */

static void refuse(struct http_conn *c, const struct err *err)
{
	c->state = CONN_SERVING;
	free(c->token_text);
	c->token_text = NULL;
	http_reply_problem(c, err);
}

static void serve(struct http_conn *c)
{
	const struct route *r = c->match.route;

	c->state = CONN_SERVING;
	c->match.body = c->body;
	if (r->flags & ROUTE_WS) {
		c->ws = ws_conn_new(c);
		r->serve_ws(c->gw, c->ws, &c->match);
	} else {
		r->serve(c->gw, c, &c->match);
	}
	conn_update(c);
}

static void json_here(struct http_conn *c)
{
	bool (*parse)(const void *, size_t, cJSON **, struct err *) =
		c->match.route->flags & ROUTE_LIST ? api_parse_json_list : api_parse_json;
	struct err err;

	c->state = CONN_SERVING;
	if (c->json.len > 0 && !parse(c->json.data, c->json.len, &c->body, &err)) {
		refuse(c, &err);
		return;
	}
	buf_done(&c->json);
	serve(c);
}

static void read_body_and_serve(struct http_conn *c)
{
	bool has_body = c->req.chunked || c->req.length > 0;
	struct err err;

	if (c->match.route->flags & ROUTE_JSON && has_body) {
		c->decided = json_here;
		conn_collect_json(c);
		return;
	}
	if (has_body && !(c->match.route->flags & ROUTE_STREAM)) {
		problem(&err, 400, "invalid-request", "this request takes no body");
		refuse(c, &err);
		return;
	}
	serve(c);
}

static size_t clients_of(const struct gateway *gw, const char *agent)
{
	size_t n = 0;

	for (const struct http_conn *c = gw->conns; c; c = c->next)
		n += c->state >= CONN_BODY && c->state <= CONN_WS && streq(c->match.agent, agent);
	return n;
}

static void agent_known(struct http_conn *c)
{
	struct route_match *m = &c->match;
	struct err err;

	if (api_may_use(&m->who, m->agent, &err) < 0) {
		refuse(c, &err);
		return;
	}
	if (m->agent[0] && !c->match.who.local &&
		clients_of(c->gw, m->agent) >= GATEWAY_CLIENTS_PER_AGENT) {
		problem(&err, 429, "too-many-requests", "the agent %s has %d clients already",
			m->agent, GATEWAY_CLIENTS_PER_AGENT);
		refuse(c, &err);
		return;
	}
	snprintf(m->base, sizeof(m->base), "%s%s",
		m->plain_port || !m->agent[0] ? "" : "/v1/agents/", m->plain_port ? "" : m->agent);
	read_body_and_serve(c);
}

static void on_agent(void *data, const cJSON *ok, const struct err *err)
{
	struct http_conn *c = data;
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(ok, "name");
	struct err none;

	c->pending = NULL;
	if (!err && (!cJSON_IsString(name) || !agent_name_valid(name->valuestring))) {
		problem(&none, 500, "internal", "berthd named no agent");
		err = &none;
	}
	if (err) {
		refuse(c, err);
		return;
	}
	snprintf(c->match.agent, sizeof(c->match.agent), "%s", name->valuestring);
	agent_known(c);
}

/* The {a} of the path is a name or an id; from here on it is the name. */
static void resolve_agent(struct http_conn *c)
{
	cJSON *args;
	struct err err;

	if (!c->match.agent[0] || agent_name_valid(c->match.agent)) {
		agent_known(c);
		return;
	}
	if (!starts_with(c->match.agent, "ag_")) {
		problem(&err, 404, "agent-not-found", "there is no agent of that name");
		refuse(c, &err);
		return;
	}
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "agent", c->match.agent);
	c->pending = gateway_ask(c->gw, "agent.get", args, NULL, on_agent, c);
}

static void check_role(struct http_conn *c)
{
	struct err err;

	if (api_may_ask(c->match.route, &c->match.who, &err) < 0)
		refuse(c, &err);
	else
		resolve_agent(c);
}

static void on_auth(void *data, const struct principal *who, const struct err *err)
{
	struct http_conn *c = data;

	c->checking = NULL;
	if (err) {
		refuse(c, err);
		return;
	}
	c->match.who = *who;
	access_watch(c->gw->access, c);
	check_role(c);
}

static void keep_query_token(struct http_conn *c, const char *name, const char *token)
{
	char *out = c->match.token_query;
	size_t room = sizeof(c->match.token_query), n = (size_t)snprintf(out, room, "%s=", name);

	for (; *token && n + 4 < room; token++) {
		if ((*token >= '0' && *token <= '9') || (*token >= 'A' && *token <= 'Z') ||
			(*token >= 'a' && *token <= 'z') || strchr("-._~", *token))
			out[n++] = *token;
		else
			n += (size_t)snprintf(out + n, room - n, "%%%02X", (unsigned char)*token);
	}
	out[n] = '\0';
	if (*token)
		out[0] = '\0';
}

static void ask_token(struct http_conn *c)
{
	char token[REQUEST_TOKEN_MAX + 1];
	const char *query_name;
	struct err err;
	int r = request_token(c->head, token, &query_name);

	if (r <= 0) {
		problem(&err, 401, "unauthorized",
			r == 0 ? "this needs a token" : "the token is malformed");
		err_hint(&err, "send Authorization: Bearer TOKEN; berth token create makes one");
		refuse(c, &err);
		return;
	}
	if (query_name)
		keep_query_token(c, query_name, token);
	c->checking = auth_check(c->gw->auth, token, on_auth, c);
	explicit_bzero(token, sizeof(token));
}

static void authenticate(struct http_conn *c)
{
	struct principal *who = &c->match.who;

	c->state = CONN_DECIDING;
	if (c->from == LISTEN_LOCAL) {
		*who = (struct principal){.role = ROLE_ADMIN, .token_id = "local", .local = true};
	} else if (c->from == LISTEN_PORT) {
		*who = (struct principal){.role = ROLE_AGENT, .token_id = "port"};
		snprintf(who->agent, sizeof(who->agent), "%s", c->port_agent);
	} else if (c->match.route->role != ROLE_NONE) {
		ask_token(c);
		return;
	}
	check_role(c);
}

/* ---- Form and route ---- */

static struct request_rules rules_for(const struct http_conn *c)
{
	return (struct request_rules){.hosts = c->gw->hosts,
		.origins = c->gw->origins,
		.loopback_only = c->from == LISTEN_PORT,
		.any_host = c->from == LISTEN_START || c->from == LISTEN_LOCAL};
}

static int find_route(struct http_conn *c, struct err *err)
{
	struct route_match *m = &c->match;
	const struct http_text *method = &c->head->method;
	char *allow = NULL;
	int r;

	if (method->n >= sizeof(m->method))
		return problem(err, 405, "method-not-allowed", "this method is not known here");
	memcpy(m->method, method->s, method->n);
	c->headless = streq(m->method, "HEAD");
	if (c->headless)
		snprintf(m->method, sizeof(m->method), "GET");
	m->plain_port = c->from == LISTEN_PORT;
	snprintf(m->host, sizeof(m->host), "%s",
		c->from == LISTEN_LOCAL ? c->gw->listen : c->req.host);
	if (c->from == LISTEN_PORT)
		snprintf(m->agent, sizeof(m->agent), "%s", c->port_agent);
	r = api_find(c->req.path, c->req.upgrade, m, &allow, err);
	if (allow) {
		AUTOFREE char *extra = xasprintf("Allow: %s\r\n", allow);
		AUTOFREE char *text = problem_text(err);

		c->state = CONN_SERVING;
		http_reply(c, err->status, PROBLEM_TYPE, extra, text, strlen(text));
		free(allow);
	}
	return r;
}

/* A browser asks beforehand whether a page of an allowed Origin may send its request. */
static bool preflight(struct http_conn *c)
{
	static const char extra[] =
		"Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE\r\n"
		"Access-Control-Allow-Headers: Authorization, Content-Type\r\n";

	if (!c->req.origin || !http_text_is(&c->head->method, "OPTIONS") ||
		!http_header(c->head, "Access-Control-Request-Method", NULL))
		return false;
	c->state = CONN_SERVING;
	http_reply(c, 204, NULL, extra, NULL, 0);
	return true;
}

static void head_wrong(struct http_conn *c, int r)
{
	struct err err;

	if (r == -E2BIG)
		problem(&err, 431, "too-large",
			"the request's head is over 16 KiB or has over %d fields",
			HTTP_HEADERS_MAX);
	else
		problem(&err, 400, "invalid-request", "this is not an HTTP/1.1 request");
	c->head->minor = 0;
	refuse(c, &err);
}

void entry_head(struct http_conn *c)
{
	struct request_rules rules = rules_for(c);
	struct err err;
	int r;

	if (!c->head)
		c->head = xcalloc(1, sizeof(*c->head));
	r = http_read_request(c->in, c->in_len, c->head);
	if (r == 0)
		return;
	conn_timeout(c, 0);
	metric_add(METRIC_REQUESTS, 1);
	c->state = CONN_DECIDING;
	c->in_used = r > 0 ? (size_t)r : c->in_len;
	if (r < 0) {
		head_wrong(c, r);
		return;
	}
	c->match.head = c->head;
	c->match.target = c->head->target;
	if (request_check(c->head, &rules, &c->req, &err) < 0) {
		refuse(c, &err);
		return;
	}
	if (c->from == LISTEN_START) {
		c->state = CONN_SERVING;
		start_page_serve(c->gw, c);
		return;
	}
	if (preflight(c))
		return;
	if (find_route(c, &err) == 0)
		authenticate(c);
	else if (c->state != CONN_SERVING)
		refuse(c, &err);
}

/* ---- Accepting ---- */

/* Too many connections that have said nothing yet: the oldest of them makes room. */
static void drop_oldest_head(struct gateway *gw)
{
	struct http_conn *oldest = NULL;
	size_t n = 0;

	for (struct http_conn *c = gw->conns; c; c = c->next) {
		if (c->state != CONN_HEAD)
			continue;
		oldest = c;
		n++;
	}
	if (n > HEADS_MAX || (oldest && gw->n_conns >= GATEWAY_CONNECTIONS_MAX))
		conn_close(oldest);
}

static void tune(int fd, enum listener_kind kind)
{
	int one = 1, idle = 60;

	if (kind != LISTEN_TCP && kind != LISTEN_PORT)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

static void accepted(struct listener *l, int fd)
{
	struct gateway *gw = l->gw;
	struct http_conn *c;

	if (gw->n_conns + 1 >= HEADS_MAX)
		drop_oldest_head(gw);
	if (gw->n_conns >= GATEWAY_CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	tune(fd, l->kind);
	c = conn_new(gw, fd, l->kind);
	if (c)
		snprintf(c->port_agent, sizeof(c->port_agent), "%s", l->agent);
}

static void on_listener(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *timer)
{
	struct listener *l = timer->data;

	uv_poll_start(&l->poll, UV_READABLE, on_listener);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accepted(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warning("cannot accept a connection: %s", strerror(errno));
			uv_poll_stop(&l->poll);
			uv_timer_start(&l->rest, on_rested, NO_FDS_MS, 0);
		}
		return;
	}
}

static int parse_address(
	const char *address, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *err)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;
	char host[64];
	uint64_t port;

	memset(ret, 0, sizeof(*ret));
	if (!colon || n >= sizeof(host) || !parse_u64(colon + 1, 0, 65535, &port))
		return err_set(err, EINVAL, "'%s' is not ADDRESS:PORT", address);
	snprintf(host, sizeof(host), "%.*s", (int)n, address);
	if (streq(host, "localhost"))
		snprintf(host, sizeof(host), "127.0.0.1");
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*ret_len = sizeof(*v4);
		return 0;
	}
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
			v6->sin6_family = AF_INET6;
			v6->sin6_port = htons((uint16_t)port);
			*ret_len = sizeof(*v6);
			return 0;
		}
	}
	return err_set(err, EINVAL, "'%s' is not an IP address with a port", address);
}

int entry_listen_tcp(const char *address, uint16_t *ret_port, struct err *err)
{
	AUTOFD int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len;
	int one = 1;

	if (parse_address(address, &sa, &len, err) < 0)
		return err->code;
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 1024) < 0)
		return err_sys(err, "cannot listen on %s", address);
	if (ret_port && getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		*ret_port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	return steal_fd(&fd);
}

struct listener *entry_open(struct gateway *gw, int fd, enum listener_kind kind, const char *agent)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	*l = (struct listener){
		.gw = gw, .fd = fd, .kind = kind, .handles = 2, .next = gw->listeners};
	snprintf(l->agent, sizeof(l->agent), "%s", agent ? agent : "");
	if (l->next)
		l->next->prev = l;
	gw->listeners = l;
	uv_poll_init(&gw->loop, &l->poll, fd);
	uv_timer_init(&gw->loop, &l->rest);
	l->poll.data = l->rest.data = l;
	uv_poll_start(&l->poll, UV_READABLE, on_listener);
	return l;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	if (--l->handles == 0)
		free(l);
}

void entry_close(struct listener *l)
{
	if (l->prev)
		l->prev->next = l->next;
	else
		l->gw->listeners = l->next;
	if (l->next)
		l->next->prev = l->prev;
	uv_poll_stop(&l->poll);
	uv_close((uv_handle_t *)&l->poll, on_listener_closed);
	uv_close((uv_handle_t *)&l->rest, on_listener_closed);
	close(l->fd);
}

void entry_close_all(struct gateway *gw)
{
	while (gw->listeners)
		entry_close(gw->listeners);
}

void entry_cut_port(struct gateway *gw, const char *agent)
{
	for (struct http_conn *c = gw->conns; c; c = c->next) {
		if (c->from == LISTEN_PORT && streq(c->port_agent, agent))
			conn_close_soon(c);
	}
}
