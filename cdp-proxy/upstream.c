/* The WebSocket to a guest's browser: handshake, frames both ways, nothing held but what the socket
 * refuses. */
#include "upstream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bytes.h"
#include "gateway.h"
#include "http.h"
#include "tie.h"
#include "util.h"
#include "ws.h"

/*
 * Theory of operation. The peer is a guest, so every byte is an attacker's. Bytes are read into one
 * buffer that all upstreams share (there is one thread), cut at frame borders by a small state
 * machine, and handed on at once:
 *
 *   HANDSHAKE --101--> OPEN --any error, close frame, end of stream--> CLOSED
 *
 *   socket -> scratch -> header | control payload | data pieces -> owner
 *   owner -> mask into scratch -> send(); what does not fit waits in `out`
 *
 * Only what may be cut by the end of a read is kept: the handshake's head, a frame's header, a
 * control frame's payload. The owner stops the reading (upstream_pause) when its client is slow and
 * stops sending when upstream_send says so. An error found while sending is told from the loop.
 */
#define HANDSHAKE_MS 10000
#define READS_PER_TURN 2
#define MASK_CHUNK 524288u

enum up_state { UP_HANDSHAKE, UP_OPEN, UP_CLOSED };

struct upstream {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd, handles; /* handles: not yet closed */
	enum up_state state;
	const struct upstream_owner *owner;
	void *data;
	struct tie tie;
	bool paused, was_high, failed, freed;
	char key[25];
	struct buf in;  /* of the handshake */
	struct buf out; /* what waits for the socket, from out_at on */
	size_t out_at;
	/* the frame being read */
	uint8_t head[WS_HEADER_MAX];
	size_t head_len;
	struct ws_header frame;
	bool in_frame, in_message;
	uint64_t left, message_len;
	uint8_t control[125];
	size_t control_len;
};

/* Shared by all: nothing is kept in them between two turns of the loop. */
static uint8_t read_room[WS_HEADROOM + UPSTREAM_READ], mask_scratch[MASK_CHUNK + WS_HEADER_MAX];
static uint8_t *const read_scratch = read_room + WS_HEADROOM;

/* ---- end ---- */

static void handle_closed(uv_handle_t *h)
{
	struct upstream *u = h->data;

	if (--u->handles > 0)
		return;
	close(u->fd);
	buf_done(&u->in);
	buf_done(&u->out);
	free(u);
}

void upstream_free(struct upstream *u)
{
	if (!u || u->freed)
		return;
	u->freed = true;
	u->state = UP_CLOSED;
	tie_close(&u->tie);
	uv_poll_stop(&u->poll);
	uv_close((uv_handle_t *)&u->poll, handle_closed);
	uv_close((uv_handle_t *)&u->timer, handle_closed);
}

static void stop(struct upstream *u)
{
	u->state = UP_CLOSED;
	tie_close(&u->tie);
	uv_poll_stop(&u->poll);
	uv_timer_stop(&u->timer);
}

static void end(struct upstream *u, const char *reason, bool fault)
{
	if (u->state == UP_CLOSED)
		return;
	stop(u);
	u->owner->on_close(u->data, reason, fault);
}

static void finish(struct upstream *u, const char *reason)
{
	end(u, reason, false);
}

static void guest_is_wrong(struct upstream *u, const char *reason)
{
	if (u->state != UP_CLOSED)
		metric_add(METRIC_GUEST_PROTOCOL_ERRORS, 1);
	end(u, reason, true);
}

/* ---- sending ---- */

static void on_poll(uv_poll_t *h, int status, int events);

static void watch(struct upstream *u)
{
	int events = u->paused && !u->failed ? 0 : UV_READABLE;

	if (u->state == UP_CLOSED)
		return;
	if ((u->out.len > u->out_at && !tie_held(&u->tie)) || u->failed)
		events |= UV_WRITABLE;
	if (events)
		uv_poll_start(&u->poll, events, on_poll);
	else
		uv_poll_stop(&u->poll);
}

/* Sends at once what the socket takes; the bytes taken. */
static size_t send_now(struct upstream *u, const uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = send(u->fd, p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			u->failed |= errno != EAGAIN && errno != EWOULDBLOCK;
			break;
		}
		done += (size_t)r;
	}
	return done;
}

static void queue(struct upstream *u, const uint8_t *p, size_t n)
{
	size_t done = 0;

	if (u->failed)
		return;
	if (u->out_at == u->out.len && !tie_held(&u->tie))
		done = send_now(u, p, n);
	if (done < n && !buf_add(&u->out, p + done, n - done))
		u->failed = true;
}

/* Sends from the queue; what is out is given back once it is worth the move. */
static void flush(struct upstream *u)
{
	size_t waiting = u->out.len - u->out_at;

	u->out_at += send_now(u, u->out.data + u->out_at, waiting);
	if (u->out_at == u->out.len) {
		buf_done(&u->out);
		buf_init(&u->out, UPSTREAM_QUEUE_MAX);
		u->out_at = 0;
	} else if (u->out_at > u->out.len / 2) {
		buf_consume(&u->out, u->out_at);
		u->out_at = 0;
	}
}

/* Random bytes for masks, fetched many at a time. */
static void new_mask(uint8_t mask[4])
{
	static uint8_t pool[4096];
	static size_t left;

	if (!left) {
		random_bytes(pool, sizeof(pool));
		left = sizeof(pool);
	}
	left -= 4;
	memcpy(mask, pool + left, 4);
}

static void send_frame(struct upstream *u, uint8_t op, const uint8_t *p, size_t n, bool fin)
{
	struct ws_header h = {.len = n, .op = op, .fin = fin, .masked = true};
	size_t head, take;

	new_mask(h.mask);
	head = ws_write_header(mask_scratch, &h);
	for (size_t at = 0; at < n || head; at += take, head = 0) {
		take = MIN(n - at, (size_t)MASK_CHUNK);
		ws_mask_copy(mask_scratch + head, p + at, take, h.mask, at);
		queue(u, mask_scratch, head + take);
	}
}

size_t upstream_send(struct upstream *u, const void *data, size_t n, bool first, bool final)
{
	size_t waiting;

	if (u->state != UP_OPEN)
		return 0;
	tie_used(&u->tie);
	send_frame(u, first ? WS_TEXT : WS_CONT, data, n, final);
	waiting = u->out.len - u->out_at;
	u->was_high |= waiting >= UPSTREAM_HIGH_WATER;
	if (waiting || u->failed)
		watch(u);
	return waiting;
}

void upstream_pause(struct upstream *u, bool pause)
{
	if (u->paused == pause)
		return;
	u->paused = pause;
	watch(u);
}

/* ---- frames from the guest ---- */

static void control_done(struct upstream *u)
{
	if (u->frame.op == WS_CLOSE) {
		finish(u, "the browser closed the connection");
		return;
	}
	/* A guest that pings faster than it reads is not answered every time. */
	if (u->frame.op == WS_PING && u->out.len - u->out_at < UPSTREAM_LOW_WATER) {
		send_frame(u, WS_PONG, u->control, u->control_len, true);
		watch(u);
	}
}

static void control_bytes(struct upstream *u, const uint8_t *p, size_t n)
{
	memcpy(u->control + u->control_len, p, n);
	u->control_len += n;
}

/* NULL, or what is wrong with the frame whose header was just read. */
static const char *frame_wrong(struct upstream *u)
{
	const struct ws_header *f = &u->frame;

	if (f->masked)
		return "the browser sent a masked frame";
	if (f->op >= WS_CLOSE)
		return NULL;
	if (f->op == WS_BINARY)
		return "the browser sent a message that is not text";
	if ((f->op == WS_CONT) != u->in_message)
		return "the browser sent fragments out of order";
	if (f->len > UPSTREAM_MESSAGE_MAX - u->message_len)
		return "the browser sent a message over 256 MiB";
	return NULL;
}

static void data_bytes(struct upstream *u, uint8_t *p, size_t n)
{
	bool first = u->message_len == 0 && u->frame.op == WS_TEXT && u->left == u->frame.len;
	bool final = u->frame.fin && n == u->left;

	u->left -= n;
	u->message_len += n;
	u->in_message = !final;
	if (final)
		u->message_len = 0;
	if (n || first || final)
		u->owner->on_piece(u->data, p, n, first, final);
}

/* Reads a frame's header; the bytes taken. */
static size_t header_bytes(struct upstream *u, const uint8_t *p, size_t n)
{
	size_t before = u->head_len, take = MIN(n, sizeof(u->head) - before);
	const char *wrong;
	int len;

	memcpy(u->head + before, p, take);
	len = ws_read_header(u->head, before + take, &u->frame);
	if (len == 0) {
		u->head_len = before + take;
		return take;
	}
	if (len < 0) {
		guest_is_wrong(u, "the browser sent a broken frame");
		return n;
	}
	wrong = frame_wrong(u);
	if (wrong) {
		guest_is_wrong(u, wrong);
		return n;
	}
	u->head_len = 0;
	u->control_len = 0;
	u->in_frame = true;
	u->left = u->frame.len;
	return (size_t)len - before;
}

/* Takes bytes of the payload; how many. */
static size_t payload_bytes(struct upstream *u, uint8_t *p, size_t n)
{
	size_t take = (size_t)MIN((uint64_t)n, u->left);

	if (u->frame.op < WS_CLOSE) {
		u->in_frame = take < u->left;
		data_bytes(u, p, take);
		return take;
	}
	control_bytes(u, p, take);
	u->left -= take;
	u->in_frame = u->left > 0;
	if (!u->in_frame)
		control_done(u);
	return take;
}

static void frame_bytes(struct upstream *u, uint8_t *p, size_t n)
{
	size_t at = 0;

	while (u->state == UP_OPEN && (at < n || (u->in_frame && u->left == 0))) {
		if (u->in_frame)
			at += payload_bytes(u, p + at, n - at);
		else
			at += header_bytes(u, p + at, n - at);
	}
}

/* ---- handshake ---- */

static bool answer_is_right(struct upstream *u, const struct http_head *h)
{
	const struct http_text *accept = http_header(h, "Sec-WebSocket-Accept", NULL);
	char want[29];
	size_t n;

	ws_accept_key(u->key, want);
	if (h->status != 101 || h->minor != 1 || !accept || !http_text_is(accept, want))
		return false;
	/* None were asked for. */
	http_header(h, "Sec-WebSocket-Extensions", &n);
	if (n)
		return false;
	return http_has_token(h, "Upgrade", "websocket") &&
	       http_has_token(h, "Connection", "upgrade");
}

/* The answer's head is whole: what is behind it is still in the socket. */
static void handshake_done(struct upstream *u, const struct http_head *h)
{
	if (!answer_is_right(u, h)) {
		finish(u, h->status == 404 || h->status == 500
				  ? "no such target"
				  : "the browser refused the connection");
		return;
	}
	buf_done(&u->in);
	uv_timer_stop(&u->timer);
	u->state = UP_OPEN;
	u->owner->on_open(u->data);
}

/*
 * Reads the answer's head and not one byte more, so that an owner who pauses in on_open has nothing
 * yet. n bytes were looked at in p.
 */
static void handshake_bytes(struct upstream *u, uint8_t *p, size_t n)
{
	size_t before = u->in.len, take = MIN(n, HTTP_HEAD_MAX - before);
	struct http_head h;
	int len;

	buf_add(&u->in, p, take);
	len = http_read_response((const char *)u->in.data, u->in.len, &h);
	if (len > 0)
		take = (size_t)len - before;
	if (recv(u->fd, p, take, MSG_DONTWAIT) != (ssize_t)take)
		finish(u, "the browser's connection ended");
	else if (len > 0)
		handshake_done(u, &h);
	else if (len < 0 || u->in.len >= HTTP_HEAD_MAX)
		guest_is_wrong(u, "the browser's answer to the handshake is not HTTP");
}

static void send_request(struct upstream *u, const char *path)
{
	AUTOFREE char *text = NULL;

	ws_new_key(u->key);
	text = xasprintf(
		"GET %s HTTP/1.1\r\nHost: 127.0.0.1:9222\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
		path, u->key);
	queue(u, (const uint8_t *)text, strlen(text));
}

/* ---- loop ---- */

static void read_some(struct upstream *u)
{
	for (int i = 0; i < READS_PER_TURN && u->state != UP_CLOSED && !u->paused; i++) {
		int look = u->state == UP_HANDSHAKE ? MSG_PEEK : 0;
		ssize_t n = recv(u->fd, read_scratch, UPSTREAM_READ, MSG_DONTWAIT | look);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return;
		if (n <= 0) {
			finish(u, "the browser's connection ended");
			return;
		}
		tie_heard(&u->tie);
		if (u->state == UP_HANDSHAKE)
			handshake_bytes(u, read_scratch, (size_t)n);
		else
			frame_bytes(u, read_scratch, (size_t)n);
		if ((size_t)n < UPSTREAM_READ / 2)
			return;
	}
}

static void tell_writable(struct upstream *u)
{
	if (!u->was_high || u->out.len - u->out_at >= UPSTREAM_LOW_WATER)
		return;
	u->was_high = false;
	u->owner->on_writable(u->data);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct upstream *u = h->data;

	if (u->failed || status < 0) {
		finish(u, "the browser's connection ended");
		return;
	}
	if ((events & UV_WRITABLE) && u->out.len > u->out_at && !tie_held(&u->tie)) {
		flush(u);
		tell_writable(u);
	}
	if ((events & UV_READABLE) && u->state != UP_CLOSED)
		read_some(u);
	if (u->state != UP_CLOSED)
		watch(u);
}

static void on_timer(uv_timer_t *t)
{
	finish(t->data, "the browser did not answer the handshake in 10 s");
}

/* ---- sleep ---- */

static void on_hold(void *data, bool hold)
{
	struct upstream *u = data;
	bool shaking = u->state == UP_HANDSHAKE;

	watch(u);
	if (shaking)
		uv_timer_start(&u->timer, on_timer, HANDSHAKE_MS, 0);
	if (!hold)
		return;
	if (shaking)
		uv_timer_stop(&u->timer);
	if (shaking || u->out.len > u->out_at || !u->owner->on_sleep)
		tie_used(&u->tie);
	else
		u->owner->on_sleep(u->data);
}

static void on_gone(void *data, int code, const char *why)
{
	struct upstream *u = data;

	if (!u->owner->on_gone) {
		finish(u, why);
	} else if (u->state != UP_CLOSED) {
		stop(u);
		u->owner->on_gone(u->data, code, why);
	}
}

void upstream_tie(struct upstream *u, struct gateway *gw, const char *agent, uint64_t generation)
{
	static const struct tie_owner owner = {.on_hold = on_hold, .on_gone = on_gone};

	tie_open(&u->tie, gw, agent, generation, u->fd, &owner, u);
	tie_used(&u->tie);
	watch(u);
}

void upstream_wake(struct upstream *u)
{
	tie_used(&u->tie);
}

struct upstream *upstream_new(
	uv_loop_t *loop, int fd, const char *path, const struct upstream_owner *owner, void *data)
{
	struct upstream *u = xcalloc(1, sizeof(*u));

	u->fd = fd;
	u->owner = owner;
	u->data = data;
	u->handles = 2;
	buf_init(&u->in, HTTP_HEAD_MAX);
	buf_init(&u->out, UPSTREAM_QUEUE_MAX);
	uv_poll_init(loop, &u->poll, fd);
	uv_timer_init(loop, &u->timer);
	u->poll.data = u->timer.data = u;
	uv_timer_start(&u->timer, on_timer, HANDSHAKE_MS, 0);
	send_request(u, path);
	watch(u);
	return u;
}
