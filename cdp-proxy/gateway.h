/* The gateway's inner seam: what a route's handler gets, and what it may ask of its connection. */
#ifndef BERTH_GATEWAY_H
#define BERTH_GATEWAY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "http.h"

/*
 * One event loop, one thread. entry.c accepts, reads the first head, and decides who is asking
 * (auth.c) for what (api.c's table). It then calls the route's handler with either
 *
 *   struct http_conn  one HTTP/1.1 request and its answer, after which the connection closes, or
 *   struct ws_conn    a WebSocket handshake not yet answered, and after ws_accept() the open
 * WebSocket.
 *
 * A handler gives its connection an owner (callbacks and a pointer). on_close comes exactly once,
 * through the loop, whatever ends the connection: the answer is out, the client has gone, the
 * gateway shuts down. After it neither side may touch the other. Nothing here ever calls an owner
 * back from inside a call the owner made, except where said.
 */

#define GATEWAY_CONNECTIONS_MAX 4096
#define GATEWAY_CLIENTS_PER_AGENT 64
#define GATEWAY_JSON_MAX (1u << 20)
#define CONN_HIGH_WATER (1u << 20)  /* queued bytes from which a producer must stop */
#define CONN_LOW_WATER (256u << 10) /* queued bytes at which it is called again */
#define WS_PIECE_MAX 524288u /* largest piece given to on_piece; ws_send_piece takes any size */
#define WS_HEADROOM 32u      /* what ws_send_in_place may overwrite before a piece */

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_AGENT, ROLE_ADMIN };

/* Who is asking. */
struct principal {
	enum role role;
	char agent[64];    /* the one agent (its name) a token is for; "" when it is for all */
	char token_id[64]; /* "tok_…", "local" for the unix socket, "port" for a loopback CDP port,
			      or "" */
	bool local;        /* came by the unix socket */
	int64_t expires_ms;     /* since 1970; 0: never */
	uint8_t token_hash[32]; /* all zero without a token */
};

struct gateway;
struct http_conn;
struct ws_conn;
struct route;

/*
 * A request whose route, role and agent are decided. Lives as long as its connection. Strings are
 * decoded and NUL-terminated; `target` is as the client sent it (for http_query()).
 */
struct route_match {
	const struct route *route;
	struct principal who;
	char method[16];
	char agent[64]; /* {a}: always the agent's name; "" for routes without one */
	char *rest;     /* what {id} or {path} of the pattern matched, percent-decoded; "" if none.
			   {id} is [A-Za-z0-9._-]{1,128}; {path} has no NUL and nothing else is promised
			 */
	char *below; /* the path below `base`, without a slash at its end: "/json/version", "/cdp"
		      */
	struct http_text target;
	const struct http_head *head; /* NULL once a WebSocket is accepted */
	const cJSON *body; /* routes with a JSON body: the object, checked to be one (of ROUTE_LIST
			      perhaps an array); else NULL */
	/* How this client reached us, for URLs in answers. */
	char host[280]; /* Host header, checked; "127.0.0.1:7900" style listen address on the unix
			   socket */
	char base[96];  /* "/v1/agents/NAME", or "" on a port opened by `berth port` */
	char token_query[300]; /* "token=T" if the client sent its token in the query, else "" */
	bool plain_port;       /* came by a port of `berth port` */
};

/* ---- HTTP: one answer ---- */

struct http_owner {
	void (*on_close)(void *data); /* always */
	void (*on_drain)(void *data); /* streams: queue is below the low-water mark */
	void (*on_body)(void *data, const uint8_t *p, size_t n); /* after http_body_start */
	void (*on_body_end)(void *data, const struct err *err);  /* whole (NULL), or broken off */
};

struct gateway *http_gateway(struct http_conn *c);
void http_set_owner(struct http_conn *c, const struct http_owner *owner, void *data);
/* A whole answer; body is copied. extra_headers: NULL or whole lines, each with its CRLF. */
void http_reply(struct http_conn *c, int status, const char *content_type,
	const char *extra_headers, const void *body, size_t len);
void http_reply_json(struct http_conn *c, int status, const cJSON *obj);
void http_reply_problem(struct http_conn *c, const struct err *err);
/*
 * A streamed answer (chunked, or until close for HTTP/1.0). write copies and returns the bytes now
 * queued: at CONN_HIGH_WATER and above stop until on_drain. end: it is whole. abort: cut, so that
 * the client sees that it is not.
 */
void http_stream_begin(
	struct http_conn *c, int status, const char *content_type, const char *extra_headers);
size_t http_stream_write(struct http_conn *c, const void *data, size_t n);
void http_stream_end(struct http_conn *c);
void http_stream_abort(struct http_conn *c);
/* Bodies of any size (routes with a streamed body): starts on_body calls; pause stops reading the
 * client. */
void http_body_start(struct http_conn *c);
void http_body_pause(struct http_conn *c, bool pause);
/* Content-Length of the request, -1 when it is chunked. */
long long http_body_length(const struct http_conn *c);

/* ---- WebSocket ---- */

struct ws_owner {
	void (*on_open)(
		void *data); /* after ws_accept: the handshake is done, sending is possible */
	/* n <= WS_PIECE_MAX; an empty message is one piece with n 0, first and final. Text is
	 * checked UTF-8. */
	void (*on_piece)(
		void *data, const uint8_t *p, size_t n, bool first, bool final, bool is_text);
	void (*on_writable)(
		void *data);          /* was at the high-water mark, is below the low-water mark */
	void (*on_close)(void *data); /* always, once */
};

#define WS_FIRST 1u
#define WS_FINAL 2u
#define WS_IS_TEXT 4u

struct gateway *ws_gateway(struct ws_conn *ws);
/* Set before accepting; on_close comes also when the client leaves while the handshake waits. */
void ws_set_owner(struct ws_conn *ws, const struct ws_owner *owner, void *data);
/* Answers the handshake: 101. Then on_open, or on_close. */
void ws_accept(struct ws_conn *ws);
/* Answers the handshake with an HTTP error instead; on_close follows. */
void ws_refuse(struct ws_conn *ws, const struct err *err);
/*
 * Queues one piece of a message (copied); first and final say where it stands in it, text what it
 * is (look only at the first piece). Returns the bytes now queued: at CONN_HIGH_WATER and above
 * stop until on_writable.
 */
size_t ws_send_piece(struct ws_conn *ws, const void *data, size_t n, unsigned int flags);
/* The same; when nothing waits the piece is not copied. WS_HEADROOM bytes before it are
 * overwritten. */
size_t ws_send_in_place(struct ws_conn *ws, uint8_t *p, size_t n, unsigned int flags);
size_t ws_queued(const struct ws_conn *ws);
/* Stops or goes on with reading this client (pieces already read by then may still come: at most
 * WS_PIECE_MAX). */
void ws_pause_reading(struct ws_conn *ws, bool pause);
/* Sends what is queued, then a close frame; no more on_piece; on_close follows. code 1000, 1001,
 * 1003, 1007… */
void ws_close(struct ws_conn *ws, int code, const char *reason);

/* ---- The daemon ---- */

struct daemon_request;
/* fd is the callee's; -1 with err set. generation counts the agent's starts. */
typedef void gateway_connect_fn(void *data, int fd, uint64_t generation, const struct err *err);
/* Asks berthd for a connected, non-blocking socket into the guest; port "cdp" or "guest". Never
 * calls back from inside. */
struct daemon_request *gateway_connect(struct gateway *gw, const char *agent, const char *port,
	gateway_connect_fn *fn, void *data);
/* ok and err: one is NULL. ok is the callee's only during the call. */
typedef void gateway_answer_fn(void *data, const cJSON *ok, const struct err *err);
/* Any other op. args is consumed (may be NULL). by: who asks, for the audit (NULL: nobody). */
struct daemon_request *gateway_ask(struct gateway *gw, const char *op, cJSON *args,
	const struct principal *by, gateway_answer_fn *fn, void *data);
/* No call-back after this; a descriptor that still comes is closed. Not after the call-back. */
void gateway_cancel(struct daemon_request *r);
/* As gateway_ask; progress messages ({"step","detail"}) come first. */
struct daemon_request *gateway_ask_progress(struct gateway *gw, const char *op, cJSON *args,
	const struct principal *by, gateway_answer_fn *fn,
	void (*progress)(void *data, const cJSON *msg), void *data);

uv_loop_t *gateway_loop(struct gateway *gw);
const char *gateway_state_dir(struct gateway *gw);

/* ---- Counters for /metrics ---- */

enum metric {
	METRIC_REQUESTS,
	METRIC_REFUSED,
	METRIC_WS_OPENED,
	METRIC_CDP_BLOCKED,
	METRIC_CDP_CLIENT_BYTES,  /* from clients */
	METRIC_CDP_BROWSER_BYTES, /* from browsers */
	METRIC_CDP_MESSAGES,
	METRIC_GUEST_PROTOCOL_ERRORS, /* a guest that broke a rule */
	METRIC_EXECS,
	METRIC_FILE_BYTES,
	METRIC_WAKES,        /* agents woken for what waits on an open connection */
	METRIC_WAKES_FAILED, /* given up: the connections were ended */
	METRIC_WAKE_ANSWERS, /* first bytes from guests after that */
	METRIC_WAKE_MS,      /* from the first thing that waits to that byte */
	METRIC_ACTIONS,
	METRIC_ACTIONS_LOST, /* that the action log does not have */
	METRIC_COUNT
};
void metric_add(enum metric m, uint64_t n);

/* ---- Handlers of the CDP side (cdp.c, discovery.c, browser.c, screenshot.c) ---- */

void cdp_serve_ws(struct gateway *gw, struct ws_conn *ws, const struct route_match *m);
void discovery_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void screenshot_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);
void open_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m);

#endif
