/* WebSockets: the one file that knows libwebsockets. */
#include "ws_conn.h"
#include "conn.h"
#include "gateway_state.h"
#include "log.h"
#include "util.h"
#include "ws.h"
#include "ws_watch.h"

#include <errno.h>
#include <libwebsockets.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Theory of operation. A WebSocket begins as an http_conn whose head the entry has judged. Its
 * handler asks for what it needs and then accepts. At the loop's next turn (CONN_ACCEPT)
 * libwebsockets gets the socket together with a handshake written here: of the client's own head
 * only the checked key, the subprotocol and the Host go into it, so that no byte of a client
 * reaches libwebsockets' HTTP parser. What came behind the head follows.
 *
 * Sending: pieces wait in an outq with LWS_PRE bytes of room before each; one is written per
 * WRITEABLE call-back. A piece with room before it (ws_send_in_place) is written at once when
 * nothing waits; what the socket does not take of it libwebsockets keeps, and until that is out
 * (`stuck`) everything else waits here. Reading is stopped through lws_rx_flow_control(), and what
 * is read is looked at before libwebsockets sees it (ws_watch.c).
 *
 * Libwebsockets tells of the end in CLOSED (after ESTABLISHED) or WSI_DESTROY; the first of them
 * ends the http_conn, and its owner hears of it once.
 */
#define PIECE 8u /* marks a chunk as a piece of its own */
#define CLOSE_MS 5000
#define CUT_MS 2000
#define SEND_AT_ONCE (1 << 20)

_Static_assert(WS_HEADROOM >= LWS_PRE, "libwebsockets writes its header into the headroom");
#define MAX_FDS 8192

struct ws_conn {
	struct http_conn *c;
	struct lws *wsi; /* NULL until the handshake is done and after the end */
	const struct ws_owner *owner;
	void *owner_data;
	uint32_t utf8;
	int fd; /* libwebsockets closes it */
	struct ws_watch watch;
	uint64_t taken; /* bytes of payload and control frames' that libwebsockets gave us */
	bool high, stuck, paused, closing, close_begun;
	int close_code;
	char close_reason[120];
};

struct lws_side {
	struct gateway *gw;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct http_conn *adopting; /* during the call that hands a socket over */
	int adopting_fd;
};

static int on_lws(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

/* tx_packet_size: what one write hands to the kernel at once; above it libwebsockets copies the
 * rest aside. */
static const struct lws_protocols protocols[] = {
	{.name = "berth",
		.callback = on_lws,
		.rx_buffer_size = WS_PIECE_MAX,
		.tx_packet_size = SEND_AT_ONCE},
	{.name = "berth.exec.v1",
		.callback = on_lws,
		.rx_buffer_size = WS_PIECE_MAX,
		.tx_packet_size = SEND_AT_ONCE},
	{.name = NULL},
};

/* ---- What libwebsockets says ---- */

static struct http_conn *conn_of(struct lws_side *s, struct lws *wsi)
{
	struct http_conn *c = lws_get_opaque_user_data(wsi);

	if (c || !s->adopting || lws_get_socket_fd(wsi) != s->adopting_fd)
		return c;
	lws_set_opaque_user_data(wsi, s->adopting);
	return s->adopting;
}

static void gone(struct http_conn *c)
{
	if (c->ws && c->ws->fd >= 0)
		ws_watch_fd(c->ws->fd, NULL);
	if (c->ws) {
		c->ws->wsi = NULL;
		c->ws->fd = -1;
	}
	if (c->state != CONN_WS)
		return;
	c->state = CONN_ACCEPT;
	conn_close(c);
}

/* What waits for this client is dropped: it broke the rules. */
static int protocol_error(struct ws_conn *ws, int code, const char *why)
{
	outq_done(&ws->c->out);
	outq_init(&ws->c->out, LWS_PRE);
	ws_close(ws, code, why);
	return 0;
}

static void frames_wrong(void *data)
{
	struct ws_conn *ws = data;

	if (ws->wsi)
		protocol_error(ws, 1002, ws->watch.wrong);
}

static int established(struct http_conn *c, struct lws *wsi)
{
	struct ws_conn *ws = c->ws;

	ws->wsi = wsi;
	metric_add(METRIC_WS_OPENED, 1);
	if (ws->owner && ws->owner->on_open)
		ws->owner->on_open(ws->owner_data);
	if (ws->watch.wrong)
		frames_wrong(ws);
	return 0;
}

/*
 * The polite end: a close frame, the client's own within 5 s, the end. (Returning -1 from here
 * instead would lose the frame in builds that close twice to test themselves, as Debian's do; of
 * the time-outs this one alone is polite.)
 */
static int begin_close(struct ws_conn *ws, struct lws *wsi)
{
	if (ws->close_begun)
		return 0;
	ws->close_begun = true;
	lws_rx_flow_control(wsi, 1);
	lws_close_reason(wsi, (enum lws_close_status)ws->close_code,
		(unsigned char *)ws->close_reason, strlen(ws->close_reason));
	lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_KEEPALIVE_IDLE, LWS_TO_KILL_ASYNC);
	return 0;
}

static int received(struct http_conn *c, struct lws *wsi, const uint8_t *p, size_t n)
{
	struct ws_conn *ws = c->ws;
	bool first = lws_is_first_fragment(wsi), final = lws_is_final_fragment(wsi),
	     text = !lws_frame_is_binary(wsi);

	ws->taken += n;
	if (ws->taken > ws->watch.handed) {
		log_error("libwebsockets reads a client by a way that is not watched");
		return -1;
	}
	if (ws->closing)
		return 0;
	if (first)
		ws->utf8 = 0;
	if (text && (!ws_utf8(&ws->utf8, p, n) || (final && ws->utf8 != 0)))
		return protocol_error(ws, 1007, "text that is not UTF-8");
	if (ws->owner && ws->owner->on_piece)
		ws->owner->on_piece(ws->owner_data, p, n, first, final, text);
	return 0;
}

static enum lws_write_protocol write_mode(unsigned int flags)
{
	int mode = LWS_WRITE_CONTINUATION;

	if (flags & WS_FIRST)
		mode = flags & WS_IS_TEXT ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
	return (enum lws_write_protocol)(flags & WS_FINAL ? mode : mode | LWS_WRITE_NO_FIN);
}

static int writable(struct http_conn *c, struct lws *wsi)
{
	struct ws_conn *ws = c->ws;
	struct outq_chunk *chunk = c->out.first;

	ws->stuck = false;
	if (chunk) {
		if (lws_write(wsi, chunk->data, chunk->len, write_mode(chunk->flags)) <
			(int)chunk->len)
			return -1;
		outq_pop(&c->out);
	} else if (ws->closing) {
		return begin_close(ws, wsi);
	}
	if (c->out.first || (ws->closing && !ws->close_begun))
		lws_callback_on_writable(wsi);
	if (ws->high && c->out.queued <= CONN_LOW_WATER) {
		ws->high = false;
		if (ws->owner && ws->owner->on_writable)
			ws->owner->on_writable(ws->owner_data);
	}
	return 0;
}

static int on_conn(struct http_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in,
	size_t len)
{
	if (reason == LWS_CALLBACK_CLOSED || reason == LWS_CALLBACK_WSI_DESTROY) {
		lws_set_opaque_user_data(wsi, NULL);
		gone(c);
		return 0;
	}
	if (!c->ws)
		return -1;
	if (reason == LWS_CALLBACK_ESTABLISHED)
		return established(c, wsi);
	if (reason == LWS_CALLBACK_RECEIVE)
		return received(c, wsi, in, len);
	if (reason == LWS_CALLBACK_SERVER_WRITEABLE)
		return writable(c, wsi);
	return 0;
}

static int on_lws(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct lws_side *s = lws_context_user(lws_get_context(wsi));
	struct http_conn *c;

	(void)user;
	/* Plain HTTP never comes here on purpose. */
	if (reason == LWS_CALLBACK_HTTP)
		return -1;
	if (reason != LWS_CALLBACK_ESTABLISHED && reason != LWS_CALLBACK_RECEIVE &&
		reason != LWS_CALLBACK_SERVER_WRITEABLE && reason != LWS_CALLBACK_CLOSED &&
		reason != LWS_CALLBACK_WSI_DESTROY)
		return 0;
	c = conn_of(s, wsi);
	return c ? on_conn(c, wsi, reason, in, len) : 0;
}

/* ---- Handing a socket over ---- */

struct ws_conn *ws_conn_new(struct http_conn *c)
{
	struct ws_conn *ws = xcalloc(1, sizeof(*ws));

	ws->c = c;
	ws->fd = -1;
	ws->watch.on_wrong = frames_wrong;
	ws->watch.data = ws;
	return ws;
}

void ws_conn_closed(struct http_conn *c)
{
	struct ws_conn *ws = c->ws;

	c->ws = NULL;
	if (ws->owner && ws->owner->on_close)
		ws->owner->on_close(ws->owner_data);
	free(ws);
}

/* The handshake for libwebsockets. Every part was checked: no part can hold a CR. */
static void put_handshake(struct http_conn *c, struct buf *b)
{
	const struct http_text *key = http_header(c->head, "Sec-WebSocket-Key", NULL);
	uint8_t *behind = (uint8_t *)c->in + c->in_used;

	buf_addf(b, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
		c->match.host);
	buf_add_str(b, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
	buf_add(b, key->s, key->n);
	if (http_has_token(c->head, "Sec-WebSocket-Protocol", "berth.exec.v1"))
		buf_add_str(b, "\r\nSec-WebSocket-Protocol: berth.exec.v1");
	buf_add_str(b, "\r\n\r\n");
	buf_add(b, behind, ws_watch_bytes(&c->ws->watch, behind, c->in_len - c->in_used));
}

/* Drops what only the handshake needed. */
static void slim(struct http_conn *c)
{
	free(c->in);
	free(c->head);
	c->in = NULL;
	c->head = NULL;
	c->req.origin = NULL;
	c->in_len = c->in_used = c->in_room = 0;
	c->match.head = NULL;
	c->match.target = (struct http_text){"", 0};
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct http_conn *c = handle->data;

	conn_handle_closed(c, handle);
}

void ws_conn_adopt(struct http_conn *c)
{
	struct lws_side *s = c->gw->lws;
	struct buf head;
	struct lws *wsi;

	buf_init(&head, 2 * HTTP_HEAD_MAX);
	put_handshake(c, &head);
	slim(c);
	outq_done(&c->out);
	outq_init(&c->out, LWS_PRE);
	uv_poll_stop(&c->poll);
	uv_close((uv_handle_t *)&c->poll, on_poll_closed);
	conn_timeout(c, 0);
	c->state = CONN_WS;
	s->adopting = c;
	s->adopting_fd = c->ws->fd = steal_fd(&c->fd);
	ws_watch_fd(c->ws->fd, &c->ws->watch);
	wsi = lws_adopt_socket_vhost_readbuf(
		s->vhost, s->adopting_fd, (const char *)head.data, head.len);
	s->adopting = NULL;
	buf_done(&head);
	if (!wsi)
		gone(c);
}

void ws_conn_kill(struct http_conn *c)
{
	if (!c->ws || !c->ws->wsi)
		return;
	/* Else libwebsockets waits 5 s more for what it could not write. */
	shutdown(c->ws->fd, SHUT_RDWR);
	lws_set_timeout(c->ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void ws_conn_cut(struct http_conn *c, const char *why)
{
	if (!c->ws->wsi) {
		conn_close_soon(c);
		return;
	}
	protocol_error(c->ws, 1008, why);
	conn_timeout(c, CUT_MS);
}

/* ---- What handlers ask ---- */

struct gateway *ws_gateway(struct ws_conn *ws)
{
	return ws->c->gw;
}

void ws_set_owner(struct ws_conn *ws, const struct ws_owner *owner, void *data)
{
	ws->owner = owner;
	ws->owner_data = data;
}

void ws_accept(struct ws_conn *ws)
{
	if (ws->c->state != CONN_SERVING || ws->c->answered)
		return;
	ws->c->state = CONN_ACCEPT;
	ws->c->kick = true;
	conn_update(ws->c);
}

void ws_refuse(struct ws_conn *ws, const struct err *err)
{
	http_reply_problem(ws->c, err);
}

size_t ws_send_piece(struct ws_conn *ws, const void *data, size_t n, unsigned int flags)
{
	if (!ws->wsi || ws->closing)
		return 0;
	if (!ws->c->out.first)
		lws_callback_on_writable(ws->wsi);
	outq_add(&ws->c->out, data, n, flags | PIECE);
	if (ws->c->out.queued >= CONN_HIGH_WATER)
		ws->high = true;
	return ws->c->out.queued;
}

static size_t send_now(struct ws_conn *ws, uint8_t *p, size_t n, unsigned int flags)
{
	if (lws_write(ws->wsi, p, n, write_mode(flags)) < (int)n) {
		lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
		return 0;
	}
	if (!lws_partial_buffered(ws->wsi))
		return 0;
	ws->stuck = ws->high = true;
	lws_callback_on_writable(ws->wsi);
	return CONN_HIGH_WATER;
}

size_t ws_send_in_place(struct ws_conn *ws, uint8_t *p, size_t n, unsigned int flags)
{
	if (!ws->wsi || ws->closing)
		return 0;
	if (n > SEND_AT_ONCE || ws->stuck || ws->c->out.first || lws_partial_buffered(ws->wsi))
		return ws_send_piece(ws, p, n, flags);
	return send_now(ws, p, n, flags);
}

size_t ws_queued(const struct ws_conn *ws)
{
	return ws->c->out.queued;
}

void ws_pause_reading(struct ws_conn *ws, bool pause)
{
	if (!ws->wsi || ws->paused == pause)
		return;
	ws->paused = pause;
	lws_rx_flow_control(ws->wsi, pause ? 0 : 1);
}

void ws_close(struct ws_conn *ws, int code, const char *reason)
{
	if (!ws->wsi) {
		conn_close_soon(ws->c);
		return;
	}
	if (ws->closing)
		return;
	ws->closing = true;
	ws->close_code = code;
	snprintf(ws->close_reason, sizeof(ws->close_reason), "%s", reason ? reason : "");
	lws_callback_on_writable(ws->wsi);
	conn_timeout(ws->c, CLOSE_MS);
}

/* ---- Life ---- */

/* 4.1.6 says of each handshake that it serves what came with it, and calls that an error. */
static void on_log(int level, const char *line)
{
	if (level == LLL_ERR && !strstr(line, "adopt_socket_readbuf: calling service"))
		log_warning("libwebsockets: %s", line);
	else
		log_debug("libwebsockets: %s", line);
}

struct lws_side *lws_side_new(struct gateway *gw, struct err *err)
{
	struct lws_side *s = xcalloc(1, sizeof(*s));
	void *loops[] = {&gw->loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.foreign_loops = loops,
		.options = LWS_SERVER_OPTION_LIBUV,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.pt_serv_buf_size = WS_PIECE_MAX + 1024,
		.max_http_header_data = 4096,
		.fd_limit_per_thread = MAX_FDS,
		.user = s,
		.pcontext = &s->context, /* set to NULL once it is freed */
		.vhost_name = "berth",
		.server_string = "berth",
	};

	s->gw = gw;
	lws_set_log_level(LLL_ERR, on_log);
	info.options |= LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
	s->context = lws_create_context(&info);
	s->vhost = s->context ? lws_create_vhost(s->context, &info) : NULL;
	if (s->vhost)
		return s;
	err_set(err, EIO, "libwebsockets cannot start on libuv");
	err_hint(err, "is libwebsockets-evlib-uv installed?");
	lws_side_free(s);
	return NULL;
}

void lws_side_end(struct lws_side *s)
{
	if (s && s->context)
		lws_context_destroy(s->context);
}

void lws_side_free(struct lws_side *s)
{
	if (!s)
		return;
	/* On a loop of somebody else's it may take a second call to free the context. */
	if (s->context)
		lws_context_destroy(s->context);
	free(s);
}
