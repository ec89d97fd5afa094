/* The client's side of a WebSocket (RFC 6455) to the gateway, on http_client's raw connection. */
#include "cli_ws.h"
#include "cli.h"
#include "http.h"
#include "util.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define QUEUE_MAX (1u << 20)
#define READ_PIECE 65536
#define HANDSHAKE_MS 60000 /* an agent that is starting may need this long */
#define BODY_MAX 65536

/*
 * Frames from the server are given on as they come in: `left` bytes of the present frame's payload
 * are still expected, `message` is the op of the message it belongs to (0: none is open).
 */
struct ws_client {
	struct http_raw *raw;
	struct buf in, out;
	struct ws_header frame;
	uint64_t left;
	enum ws_op message;
	bool in_frame, fresh; /* fresh: nothing of the message has been given yet */
	bool ended;
};

int ws_client_fd(const struct ws_client *w)
{
	return http_raw_fd(w->raw);
}

size_t ws_client_queued(const struct ws_client *w)
{
	return w->out.len;
}

void ws_client_free(struct ws_client *w)
{
	if (!w)
		return;
	http_raw_close(w->raw);
	buf_done(&w->in);
	buf_done(&w->out);
	free(w);
}

static int flush(struct ws_client *w)
{
	while (w->out.len > 0) {
		ssize_t n = http_raw_send(w->raw, w->out.data, w->out.len);

		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return -EPIPE;
		buf_consume(&w->out, (size_t)n);
	}
	return 0;
}

/* One frame, masked as a client must (section 5.3). */
void ws_client_send(struct ws_client *w, enum ws_op op, const void *data, size_t n)
{
	struct ws_header h = {.len = n, .op = (uint8_t)op, .fin = true, .masked = true};
	uint8_t head[WS_HEADER_MAX], *p;

	random_bytes(h.mask, sizeof(h.mask));
	buf_add(&w->out, head, ws_write_header(head, &h));
	p = buf_reserve(&w->out, n);
	if (!p)
		return;
	memcpy(p, data, n);
	ws_mask(p, n, h.mask, 0);
	buf_grew(&w->out, n);
}

/* Reads once; bytes read, 0 when nothing is there, -EPIPE at the end. */
static ssize_t fill(struct ws_client *w)
{
	uint8_t *p = buf_reserve(&w->in, READ_PIECE);
	ssize_t n;

	if (!p)
		return 0;
	n = http_raw_recv(w->raw, p, READ_PIECE);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -EPIPE;
	buf_grew(&w->in, (size_t)n);
	return n;
}

/* A control frame, whole in the buffer. */
static void take_control(struct ws_client *w, const uint8_t *p, size_t n)
{
	if (w->frame.op == WS_PING)
		ws_client_send(w, WS_PONG, p, n);
	if (w->frame.op == WS_CLOSE && !w->ended) {
		ws_client_send(w, WS_CLOSE, p, MIN(n, (size_t)2));
		w->ended = true;
	}
}

/* Starts the frame at the front of the buffer. 1: done; 0: not whole yet; negative: wrong. */
static int begin_frame(struct ws_client *w)
{
	int n = ws_read_header(w->in.data, w->in.len, &w->frame);
	bool control = w->frame.op >= WS_CLOSE;

	if (n <= 0)
		return n;
	if (w->frame.masked || (!control && (w->frame.op == WS_CONT) != (w->message != WS_CONT)))
		return -EPROTO;
	if (control && w->in.len < (size_t)n + w->frame.len)
		return 0;
	buf_consume(&w->in, (size_t)n);
	if (control) {
		take_control(w, w->in.data, (size_t)w->frame.len);
		buf_consume(&w->in, (size_t)w->frame.len);
		return 1;
	}
	if (w->frame.op != WS_CONT) {
		w->message = w->frame.op;
		w->fresh = true;
	}
	w->left = w->frame.len;
	w->in_frame = true;
	return 1;
}

static void give_piece(struct ws_client *w, ws_client_fn *fn, void *data)
{
	size_t n = (size_t)MIN(w->left, (uint64_t)w->in.len);
	enum ws_op op = w->message;
	bool last = n == w->left && w->frame.fin;

	fn(data, op, w->in.data, n, w->fresh, last);
	w->fresh = w->fresh && n == 0;
	buf_consume(&w->in, n);
	w->left -= n;
	w->in_frame = w->left > 0;
	if (last)
		w->message = WS_CONT;
}

static int take_frames(struct ws_client *w, ws_client_fn *fn, void *data)
{
	int r = 1;

	while (r > 0 && !w->ended) {
		if (!w->in_frame)
			r = w->in.len ? begin_frame(w) : 0;
		else if (w->left == 0 || w->in.len > 0)
			give_piece(w, fn, data);
		else
			r = 0;
	}
	return r;
}

int ws_client_work(struct ws_client *w, ws_client_fn *fn, void *data, struct err *err)
{
	ssize_t n = 0;
	int r;

	if (flush(w) < 0)
		n = -EPIPE; /* what it said last may still be there */
	do {
		ssize_t got = fill(w);

		r = take_frames(w, fn, data);
		n = got < 0 ? got : n;
		if (got <= 0)
			break;
	} while (r == 0 && !w->ended);
	if (r < 0)
		return err_set(err, EPROTO, "the gateway broke the WebSocket protocol");
	flush(w);
	if (n == 0 && !w->ended)
		return 0;
	err_set(err, EPIPE, "the connection ended before the command did");
	return err_hint(err, "`berth status` and `berth ls` tell what is still there");
}

static int wait_for(struct ws_client *w, short events, uint64_t until, struct err *err)
{
	struct pollfd p = {ws_client_fd(w), events, 0};
	uint64_t now = now_ms();

	if (now >= until || (poll(&p, 1, (int)(until - now)) < 0 && errno != EINTR))
		return err_set(err, ETIMEDOUT, "the gateway does not answer");
	return 0;
}

/* An answer that is not 101: what its body says. */
static int refused(
	struct ws_client *w, const struct http_head *head, uint64_t until, struct err *err)
{
	int status = head->status;
	size_t skip = head->len;
	cJSON *v;

	while (fill(w) >= 0 && w->in.len < BODY_MAX && wait_for(w, POLLIN, until, err) == 0)
		;
	v = cJSON_ParseWithLength((const char *)w->in.data + skip, w->in.len - skip);
	if (json_get(v, "detail"))
		json_to_err(v, err);
	else
		err_set(err, EREMOTEIO, "the gateway answered %d", status);
	cJSON_Delete(v);
	err->status = status;
	return err->code;
}

static int check_answer(
	struct ws_client *w, const struct http_head *head, const char *key, struct err *err)
{
	const struct http_text *accept = http_header(head, "Sec-WebSocket-Accept", NULL);
	char expected[29];

	ws_accept_key(key, expected);
	if (!accept || !http_text_is(accept, expected))
		return err_set(err, EPROTO, "the gateway's handshake is not that of a WebSocket");
	buf_consume(&w->in, head->len);
	return 0;
}

static int read_answer(struct ws_client *w, const char *key, struct err *err)
{
	uint64_t until = now_ms() + HANDSHAKE_MS;
	struct http_head head;
	int n;

	for (;;) {
		ssize_t got;

		if (flush(w) < 0 || (got = fill(w)) < 0)
			return err_set(err, EPIPE, "the gateway ended the connection");
		n = http_read_response((const char *)w->in.data, w->in.len, &head);
		if (n < 0)
			return err_set(err, EPROTO, "the gateway's answer is not HTTP");
		if (n > 0)
			break;
		if (got == 0 && wait_for(w, w->out.len ? POLLIN | POLLOUT : POLLIN, until, err) < 0)
			return err->code;
	}
	return head.status == 101 ? check_answer(w, &head, key, err)
				  : refused(w, &head, until, err);
}

int ws_client_open(struct ws_client **ret, struct http_client *c, const char *path,
	const char *protocol, struct err *err)
{
	struct ws_client *w = xcalloc(1, sizeof(*w));
	const char *token = http_client_token(c);
	char key[25];
	int r;

	buf_init(&w->in, 2 * READ_PIECE);
	buf_init(&w->out, QUEUE_MAX);
	ws_new_key(key);
	r = http_raw_open(&w->raw, c, err);
	if (r == 0) {
		buf_addf(&w->out,
			"GET %s%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: "
			"websocket\r\n"
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
			"%s\r\nSec-WebSocket-Protocol: %s\r\n",
			http_client_base(c), path, http_client_host(c), key, protocol);
		if (token)
			buf_addf(&w->out, "Authorization: Bearer %s\r\n", token);
		buf_add_str(&w->out, "\r\n");
		r = read_answer(w, key, err);
	}
	if (r < 0)
		ws_client_free(w);
	else
		*ret = w;
	return r;
}
