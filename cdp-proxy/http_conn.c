/* One HTTP/1.1 request and its answer on a socket of our own. */
#include "conn.h"
#include "gateway_state.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Theory of operation. A connection carries one request: every answer says `Connection: close`, so
 * that no second request can pass without the entry having judged it. The socket is polled for
 * exactly what the state can use: reading while a head or a body is wanted (a handler that pauses
 * stops the client by TCP itself), writing while something is queued, hanging up otherwise. `kick`
 * asks for one more turn of the loop: a socket with nothing queued is writable at once, so no
 * further handle is needed for it.
 *
 *   client --> in (head) --> entry --> handler --> out --> client
 *                 body --> on_body / json
 *
 * An answer that is out ends with shutdown(), then what the client still sends is read away for a
 * moment (LINGER_MS, LINGER_BYTES): closing on unread bytes would reset the connection and lose the
 * answer.
 */
#define HEAD_MS 10000
#define STALL_MS 60000
#define LINGER_MS 2000
#define LINGER_BYTES (16u << 20)
#define READ_ONCE 65536

static void on_poll(uv_poll_t *handle, int status, int events);

/* ---- Life ---- */

struct http_conn *conn_new(struct gateway *gw, int fd, enum listener_kind from)
{
	struct http_conn *c = xcalloc(1, sizeof(*c));

	*c = (struct http_conn){.gw = gw, .fd = fd, .from = from, .state = CONN_HEAD};
	outq_init(&c->out, 0);
	buf_init(&c->json, GATEWAY_JSON_MAX);
	if (uv_poll_init(&gw->loop, &c->poll, fd) < 0) {
		close(fd);
		free(c);
		return NULL;
	}
	uv_timer_init(&gw->loop, &c->timer);
	c->poll.data = c->timer.data = c;
	c->poll_open = c->timer_open = true;
	c->next = gw->conns;
	if (c->next)
		c->next->prev = c;
	gw->conns = c;
	gw->n_conns++;
	conn_timeout(c, HEAD_MS);
	conn_update(c);
	return c;
}

static void conn_free(struct http_conn *c)
{
	free(c->in);
	free(c->kept);
	free(c->head);
	free(c->req.path);
	free(c->match.rest);
	free(c->match.below);
	free(c->token_text);
	cJSON_Delete(c->body);
	outq_done(&c->out);
	buf_done(&c->json);
	free(c);
}

static void unlink_conn(struct http_conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		c->gw->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->gw->n_conns--;
}

void conn_handle_closed(struct http_conn *c, uv_handle_t *handle)
{
	if (handle == (uv_handle_t *)&c->poll)
		c->poll_open = false;
	else
		c->timer_open = false;
	if (c->state == CONN_CLOSED && !c->poll_open && !c->timer_open)
		conn_free(c);
}

static void on_handle_closed(uv_handle_t *handle)
{
	conn_handle_closed(handle->data, handle);
}

static void close_handle(void *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_handle_closed);
}

static void tell_owner(struct http_conn *c)
{
	const struct http_owner *owner = c->owner;

	c->owner = NULL;
	if (owner && owner->on_close)
		owner->on_close(c->owner_data);
	if (c->ws)
		ws_conn_closed(c);
}

void conn_close(struct http_conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	if (c->state == CONN_WS) {
		ws_conn_kill(c);
		return;
	}
	c->state = CONN_CLOSED;
	if (c->checking)
		auth_cancel(c->checking);
	if (c->pending)
		gateway_cancel(c->pending);
	c->checking = NULL;
	c->pending = NULL;
	tell_owner(c);
	unlink_conn(c);
	if (c->poll_open)
		close_handle(&c->poll);
	close_handle(&c->timer);
	if (c->fd >= 0)
		close(steal_fd(&c->fd));
}

void conn_close_soon(struct http_conn *c)
{
	c->cut = true;
	conn_timeout(c, 1);
}

static void on_timer(uv_timer_t *timer)
{
	conn_close(timer->data);
}

void conn_timeout(struct http_conn *c, uint64_t ms)
{
	if (c->cut && c->state != CONN_CLOSED)
		ms = 1;
	if (ms)
		uv_timer_start(&c->timer, on_timer, ms, 0);
	else
		uv_timer_stop(&c->timer);
}

static bool wants_body(const struct http_conn *c)
{
	if (c->state == CONN_BODY)
		return !c->body_done;
	return c->state == CONN_SERVING && c->body_started && !c->body_paused && !c->body_done &&
	       !c->answered;
}

/* Body bytes already read: first those behind the head, then those kept. */
static bool has_unread(const struct http_conn *c)
{
	return c->in_used < c->in_len || c->kept_used < c->kept_len;
}

void conn_update(struct http_conn *c)
{
	int events = UV_DISCONNECT;

	if (!c->poll_open || c->state == CONN_CLOSED)
		return;
	if (c->state == CONN_HEAD || c->state == CONN_LINGER)
		events = UV_READABLE;
	else if (wants_body(c) && !has_unread(c))
		events = UV_READABLE;
	else if (c->ending)
		events = 0;
	if (c->out.first || c->kick)
		events |= UV_WRITABLE;
	if (events == c->events)
		return;
	c->events = events;
	if (events)
		uv_poll_start(&c->poll, events, on_poll);
	else
		uv_poll_stop(&c->poll);
}

static void kick(struct http_conn *c)
{
	c->kick = true;
	conn_update(c);
}

/* ---- Writing ---- */

static void linger(struct http_conn *c)
{
	tell_owner(c);
	if (c->state == CONN_CLOSED)
		return;
	if (c->cut) {
		conn_close(c);
		return;
	}
	c->state = CONN_LINGER;
	shutdown(c->fd, SHUT_WR);
	conn_timeout(c, LINGER_MS);
}

static void flush(struct http_conn *c)
{
	size_t before = c->out.queued;

	if (outq_send(&c->out, c->fd) < 0) {
		conn_close(c);
		return;
	}
	if (before != c->out.queued || !c->out.first)
		conn_timeout(c, c->out.first ? STALL_MS : 0);
	if (c->ending && !c->out.first) {
		linger(c);
		return;
	}
	if (!c->out_high || c->out.queued > CONN_LOW_WATER)
		return;
	c->out_high = 0;
	if (c->owner && c->owner->on_drain)
		c->owner->on_drain(c->owner_data);
}

static size_t queue(struct http_conn *c, const void *data, size_t n)
{
	bool idle = !c->out.first;

	if (n > 0)
		outq_add(&c->out, data, n, 0);
	if (c->out.queued >= CONN_HIGH_WATER)
		c->out_high = 1;
	if (idle && c->out.first)
		conn_timeout(c, STALL_MS);
	conn_update(c);
	return c->out.queued;
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {{200, "OK"}, {201, "Created"}, {204, "No Content"}, {400, "Bad Request"},
		{401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
		{413, "Content Too Large"}, {414, "URI Too Long"}, {417, "Expectation Failed"},
		{422, "Unprocessable Content"}, {426, "Upgrade Required"},
		{429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"},
		{503, "Service Unavailable"}, {504, "Gateway Timeout"},
		{507, "Insufficient Storage"}};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Status";
}

/* An allowed Origin of another site may read the answer. */
static void add_cors(struct http_conn *c, struct buf *b)
{
	if (!c->req.origin)
		return;
	buf_add_str(b, "Access-Control-Allow-Origin: ");
	buf_add(b, c->req.origin->s, c->req.origin->n);
	buf_add_str(b, "\r\nVary: Origin\r\n");
}

static void put_head(struct http_conn *c, int status, const char *content_type, const char *extra,
	long long length)
{
	struct buf b;

	buf_init(&b, 65536);
	buf_addf(&b, "HTTP/1.1 %d %s\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n",
		status, reason(status));
	buf_addf(&b, "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n");
	if (content_type)
		buf_addf(&b, "Content-Type: %s\r\n", content_type);
	if (length >= 0 && status != 204)
		buf_addf(&b, "Content-Length: %lld\r\n", length);
	if (c->chunked_answer)
		buf_add_str(&b, "Transfer-Encoding: chunked\r\n");
	add_cors(c, &b);
	if (extra)
		buf_add_str(&b, extra);
	buf_add_str(&b, "\r\n");
	queue(c, b.data, b.len);
	buf_done(&b);
}

void http_reply(struct http_conn *c, int status, const char *content_type,
	const char *extra_headers, const void *body, size_t len)
{
	if (c->answered || c->state == CONN_CLOSED)
		return;
	c->answered = c->ending = true;
	if (status >= 400)
		metric_add(METRIC_REFUSED, 1);
	put_head(c, status, content_type, extra_headers, (long long)len);
	queue(c, body, c->headless ? 0 : len);
}

void http_reply_json(struct http_conn *c, int status, const cJSON *obj)
{
	AUTOFREE char *text = cJSON_PrintUnformatted(obj);

	http_reply(c, status, "application/json", NULL, text, text ? strlen(text) : 0);
}

void http_reply_problem(struct http_conn *c, const struct err *err)
{
	AUTOFREE char *text = problem_text(err);
	const char *extra = NULL;

	if (err->status == 401)
		extra = "WWW-Authenticate: Bearer realm=\"berth\"\r\n";
	if (err->status == 426)
		extra = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
	http_reply(c, err->status, PROBLEM_TYPE, extra, text, strlen(text));
}

void http_stream_begin(
	struct http_conn *c, int status, const char *content_type, const char *extra_headers)
{
	if (c->answered || c->state == CONN_CLOSED)
		return;
	c->answered = c->streaming = true;
	c->chunked_answer = c->head && c->head->minor == 1;
	put_head(c, status, content_type, extra_headers, -1);
	if (c->headless)
		c->ending = true;
}

size_t http_stream_write(struct http_conn *c, const void *data, size_t n)
{
	char size[24];

	if (!c->streaming || c->ending || n == 0)
		return c->out.queued;
	if (!c->chunked_answer)
		return queue(c, data, n);
	snprintf(size, sizeof(size), "%zx\r\n", n);
	queue(c, size, strlen(size));
	queue(c, data, n);
	return queue(c, "\r\n", 2);
}

void http_stream_end(struct http_conn *c)
{
	if (!c->streaming || c->ending)
		return;
	if (c->chunked_answer)
		queue(c, "0\r\n\r\n", 5);
	c->ending = true;
	if (!c->out.first)
		kick(c);
}

/* Without the last chunk; for HTTP/1.0 a reset is the only sign there is. */
void http_stream_abort(struct http_conn *c)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (c->state == CONN_CLOSED || c->fd < 0)
		return;
	if (!c->chunked_answer)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	c->ending = c->cut = true;
	kick(c);
}

struct gateway *http_gateway(struct http_conn *c)
{
	return c->gw;
}

void http_set_owner(struct http_conn *c, const struct http_owner *owner, void *data)
{
	c->owner = owner;
	c->owner_data = data;
}

/* ---- Body ---- */

static void body_failed(struct http_conn *c, int status, const char *why)
{
	struct err err;

	err_set(&err, EPROTO, "%s", why);
	err_type(&err, status, status == 413 ? "too-large" : "invalid-request");
	c->body_done = true;
	if (c->state == CONN_BODY) {
		c->state = CONN_SERVING;
		http_reply_problem(c, &err);
	} else if (c->owner && c->owner->on_body_end) {
		c->owner->on_body_end(c->owner_data, &err);
	}
}

static void body_whole(struct http_conn *c)
{
	c->body_done = true;
	conn_timeout(c, 0);
	if (c->state == CONN_BODY) {
		c->decided(c);
	} else if (c->owner && c->owner->on_body_end) {
		c->owner->on_body_end(c->owner_data, NULL);
	}
}

static void body_bytes(struct http_conn *c, const uint8_t *p, size_t n)
{
	if (n == 0)
		return;
	if (c->state != CONN_BODY) {
		if (c->owner && c->owner->on_body)
			c->owner->on_body(c->owner_data, p, n);
		return;
	}
	if (!buf_add(&c->json, p, n))
		body_failed(c, 413, "a JSON body may have 1 MiB at most");
}

static size_t take_counted(struct http_conn *c, const uint8_t *p, size_t n)
{
	size_t part = (size_t)MIN((unsigned long long)c->body_left, n);

	c->body_left -= (long long)part;
	body_bytes(c, p, part);
	if (c->body_left == 0 && !c->body_done && c->state != CONN_CLOSED)
		body_whole(c);
	return part;
}

static size_t take_chunked(struct http_conn *c, const uint8_t *p, size_t n)
{
	const uint8_t *data;
	size_t len;
	long used = chunked_take(&c->chunked, p, n, &data, &len);

	if (used < 0) {
		body_failed(c, 400, "the chunked body is malformed");
		return n;
	}
	body_bytes(c, data, len);
	if (c->chunked.state == CHUNKED_DONE && !c->body_done && c->state != CONN_CLOSED)
		body_whole(c);
	return (size_t)used;
}

/* Gives the body's bytes on while they are wanted. Returns how many were used. */
static size_t take_body(struct http_conn *c, const uint8_t *p, size_t n)
{
	size_t used = 0;

	while (used < n && wants_body(c))
		used += c->req.chunked ? take_chunked(c, p + used, n - used)
				       : take_counted(c, p + used, n - used);
	return used;
}

/* Bytes read but not taken (paused in the middle) wait here until they are wanted. */
static void keep_rest(struct http_conn *c, const uint8_t *p, size_t n)
{
	if (n == 0 || c->body_done)
		return;
	c->kept = xrealloc(c->kept, READ_ONCE);
	memcpy(c->kept, p, n);
	c->kept_len = n;
	c->kept_used = 0;
}

static void start_body(struct http_conn *c)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	c->body_left = c->req.length;
	if (c->req.expect_continue && !has_unread(c))
		queue(c, go_on, sizeof(go_on) - 1);
	conn_timeout(c, STALL_MS);
	kick(c);
}

void http_body_start(struct http_conn *c)
{
	if (c->body_started)
		return;
	c->body_started = true;
	start_body(c);
}

void http_body_pause(struct http_conn *c, bool pause)
{
	if (c->body_paused == pause || c->body_done)
		return;
	c->body_paused = pause;
	conn_timeout(c, pause ? 0 : STALL_MS);
	if (pause)
		conn_update(c);
	else
		kick(c);
}

long long http_body_length(const struct http_conn *c)
{
	return c->req.length;
}

void conn_collect_json(struct http_conn *c)
{
	c->state = CONN_BODY;
	if (c->req.length > (long long)GATEWAY_JSON_MAX)
		body_failed(c, 413, "a JSON body may have 1 MiB at most");
	else
		start_body(c);
}

/* ---- Reading ---- */

static bool grow_in(struct http_conn *c)
{
	size_t room = c->in_room ? c->in_room * 2 : 2048;

	if (c->in_len < c->in_room)
		return true;
	if (c->in_room >= HTTP_HEAD_MAX)
		return false;
	c->in = xrealloc(c->in, room);
	c->in_room = room;
	return true;
}

static void read_head(struct http_conn *c)
{
	ssize_t n;
	bool whole_line;

	if (!grow_in(c))
		return;
	n = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c);
		return;
	}
	/* A line that is not whole is judged once only, when its first bytes come. */
	whole_line = c->in_len == 0 || memchr(c->in + c->in_len, '\n', (size_t)n) ||
		     c->in_len + (size_t)n >= HTTP_HEAD_MAX;
	c->in_len += (size_t)n;
	if (whole_line)
		entry_head(c);
}

static uint8_t scratch[READ_ONCE];

static void read_body(struct http_conn *c)
{
	ssize_t n = recv(c->fd, scratch, sizeof(scratch), 0);
	size_t used;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c);
		return;
	}
	conn_timeout(c, STALL_MS);
	used = take_body(c, scratch, (size_t)n);
	keep_rest(c, scratch + used, (size_t)n - used);
}

static void read_away(struct http_conn *c)
{
	ssize_t n = recv(c->fd, scratch, sizeof(scratch), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	c->lingered += n > 0 ? (uint64_t)n : 0;
	if (n <= 0 || c->lingered > LINGER_BYTES)
		conn_close(c);
}

/* What a kick was for: the rest of c->in, an end without bytes, a WebSocket to hand over. */
static void kicked(struct http_conn *c)
{
	c->kick = false;
	if (c->state == CONN_ACCEPT) {
		ws_conn_adopt(c);
		return;
	}
	if (wants_body(c) && !c->req.chunked && c->body_left == 0)
		body_whole(c);
	if (wants_body(c) && c->in_used < c->in_len)
		c->in_used += take_body(c, (uint8_t *)c->in + c->in_used, c->in_len - c->in_used);
	if (wants_body(c) && c->kept_used < c->kept_len)
		c->kept_used += take_body(c, c->kept + c->kept_used, c->kept_len - c->kept_used);
}

static void readable(struct http_conn *c)
{
	if (c->state == CONN_HEAD)
		read_head(c);
	else if (c->state == CONN_LINGER)
		read_away(c);
	else if (wants_body(c) && !has_unread(c))
		read_body(c);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct http_conn *c = handle->data;

	if (status < 0 || (events & UV_DISCONNECT && !(events & UV_READABLE) && !c->ending)) {
		conn_close(c);
		return;
	}
	if (c->kick)
		kicked(c);
	if (events & UV_READABLE && c->state < CONN_CLOSED)
		readable(c);
	if (c->state != CONN_CLOSED && c->state != CONN_WS && (c->out.first || c->ending) &&
		c->state != CONN_LINGER)
		flush(c);
	if (c->state != CONN_WS)
		conn_update(c);
}
