/* A client's connection from accept to close: what entry.c, http_conn.c and ws_conn.c share. */
#ifndef BERTH_CONN_H
#define BERTH_CONN_H

#include "bytes.h"
#include "chunked.h"
#include "gateway.h"
#include "outq.h"
#include "request.h"

enum listener_kind { LISTEN_TCP, LISTEN_LOCAL, LISTEN_START, LISTEN_PORT };

enum conn_state {
	CONN_HEAD,     /* reading the request's head */
	CONN_DECIDING, /* asking who it is */
	CONN_BODY,     /* collecting a JSON body */
	CONN_SERVING,  /* a handler has it */
	CONN_ACCEPT,   /* a WebSocket to be handed over at the next turn of the loop */
	CONN_WS,       /* libwebsockets has the socket */
	CONN_LINGER,   /* answered; reading away what the client still sends, so that it sees the
			  answer */
	CONN_CLOSED,   /* its handles are closing */
};

/*
 * Owned by the list in struct gateway; freed by its last handle's close callback. A WebSocket is
 * the same object with `ws` set: it counts, is found and is ended like any other connection.
 */
struct http_conn {
	struct http_conn *prev, *next;
	struct gateway *gw;
	enum listener_kind from;
	char port_agent[64]; /* LISTEN_PORT: the one agent */
	enum conn_state state;
	int fd; /* -1 once libwebsockets has it, or closed */
	uv_poll_t poll;
	uv_timer_t timer;
	bool poll_open, timer_open, kick;
	int events;

	char *in; /* the head, and what came behind it */
	size_t in_len, in_room, in_used;
	uint8_t *kept; /* body bytes read while the handler paused */
	size_t kept_len, kept_used;
	struct http_head *head;
	struct request req;
	struct route_match match;
	char *token_text; /* only while deciding */
	struct auth_check *checking;
	struct daemon_request *pending;
	void (*decided)(struct http_conn *c);
	cJSON *body;

	/* serving */
	const struct http_owner *owner;
	void *owner_data;
	struct outq out;
	size_t out_high; /* was at the high-water mark */
	bool answered, ending, streaming, chunked_answer, headless, cut;
	bool body_started, body_paused, body_done;
	struct chunked chunked;
	long long body_left;
	struct buf json;
	uint64_t lingered;

	struct ws_conn *ws;
};

/* Takes over fd (also on failure, when NULL comes back). */
struct http_conn *conn_new(struct gateway *gw, int fd, enum listener_kind from);
/* Ends it now: the owner hears of it, handles close, memory goes with the loop. Never from an
 * owner's call. */
void conn_close(struct http_conn *c);
/* As conn_close, but at the loop's next turn. */
void conn_close_soon(struct http_conn *c);
/* One of its two handles is closed; the last one frees it once it has ended. */
void conn_handle_closed(struct http_conn *c, uv_handle_t *handle);
void conn_update(struct http_conn *c);
/* (Re)starts its one timer; 0 stops it. */
void conn_timeout(struct http_conn *c, uint64_t ms);
/* Reads the body before the handler is called; then c->decided. */
void conn_collect_json(struct http_conn *c);

/* entry.c: the head is here / a refusal before there is a handler. */
void entry_head(struct http_conn *c);
/* ws_conn.c */
struct ws_conn *ws_conn_new(struct http_conn *c);
void ws_conn_adopt(struct http_conn *c);  /* CONN_ACCEPT: hands the socket over */
void ws_conn_closed(struct http_conn *c); /* tells the owner once; frees c->ws */
void ws_conn_kill(struct http_conn *c);   /* CONN_WS: ends it at once */
/* CONN_WS: drops what waits for the client; 1008 with why. */
void ws_conn_cut(struct http_conn *c, const char *why);

#endif
