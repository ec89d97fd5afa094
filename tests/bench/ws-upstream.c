/* A made-up DevTools server for benchmarks: discovery, and a WebSocket that echoes or makes
 * messages. */
#include "bytes.h"
#include "http.h"
#include "util.h"
#include "ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

/*
 *   ws-upstream PORT         (0: any; prints "ready PORT")
 *
 * One thread on libuv; every connection is one of
 *   GET /json/version        where the WebSocket is
 *   a WebSocket              text in: {"id":N,"method":"Bench.echo…"} is answered by
 * {"id":N,"result":{}}; with "make":BYTES in it, by a message of that many bytes; a message over 64
 * KiB is counted and answered when it ends
 */
#define CHUNK (256u << 10)

struct conn {
	uv_poll_t poll;
	int fd;
	struct buf in, out;
	size_t out_at;
	bool open;
	uint8_t head[WS_HEADER_MAX];
	size_t head_len;
	struct ws_header frame;
	bool in_frame;
	uint64_t left, message_len;
	struct buf text; /* the first 64 KiB of a message */
	uint64_t make;   /* bytes of a message still to be made */
};

static uint16_t port;
static uint8_t scratch[CHUNK], filler[CHUNK];

static void on_poll(uv_poll_t *h, int status, int events);

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	close(c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	buf_done(&c->text);
	free(c);
}

static void end(struct conn *c)
{
	if (uv_is_closing((uv_handle_t *)&c->poll))
		return;
	uv_poll_stop(&c->poll);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* Sends what waits, and goes on making the message under way while the socket takes it. */
static void flush(struct conn *c)
{
	for (;;) {
		bool making = c->out_at == c->out.len && c->make;
		const uint8_t *p = making ? filler : c->out.data + c->out_at;
		size_t n = making ? MIN(c->make, (uint64_t)CHUNK) : c->out.len - c->out_at;
		ssize_t r;

		if (n == 0)
			break;
		r = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0 && errno != EAGAIN) {
			end(c);
			return;
		}
		if (r < 0)
			break;
		if (making)
			c->make -= (uint64_t)r;
		else
			c->out_at += (size_t)r;
	}
	if (c->out_at == c->out.len) {
		c->out.len = 0;
		c->out_at = 0;
	}
	uv_poll_start(&c->poll, UV_READABLE | (c->out.len || c->make ? UV_WRITABLE : 0), on_poll);
}

static void send_text(struct conn *c, const char *text)
{
	struct ws_header h = {.op = WS_TEXT, .fin = true, .len = strlen(text)};
	uint8_t head[WS_HEADER_MAX];

	buf_add(&c->out, head, ws_write_header(head, &h));
	buf_add_str(&c->out, text);
	flush(c);
}

/* {"id":N,"result":{}} and spaces: the frame's head and the beginning; flush() makes the rest. */
static void make_message(struct conn *c, unsigned long long id, uint64_t bytes)
{
	AUTOFREE char *start = xasprintf("{\"id\":%llu,\"result\":{}}", id);
	struct ws_header h = {.op = WS_TEXT, .fin = true, .len = strlen(start) + bytes};
	uint8_t head[WS_HEADER_MAX];

	buf_add(&c->out, head, ws_write_header(head, &h));
	buf_add_str(&c->out, start);
	c->make = bytes;
	flush(c);
}

static void message_done(struct conn *c)
{
	const char *text = buf_str(&c->text), *id = strstr(text, "\"id\":"),
		   *make = strstr(text, "\"make\":");
	unsigned long long n = id ? strtoull(id + 5, NULL, 10) : 0;
	AUTOFREE char *answer = xasprintf(
		"{\"id\":%llu,\"result\":{\"bytes\":%llu}}", n, (unsigned long long)c->message_len);

	if (make)
		make_message(c, n, strtoull(make + 7, NULL, 10));
	else
		send_text(c, answer);
	buf_done(&c->text);
	c->message_len = 0;
}

static void payload(struct conn *c, uint8_t *p, size_t n)
{
	ws_mask(p, n, c->frame.mask, c->frame.len - c->left);
	c->left -= n;
	c->in_frame = c->left > 0;
	if (c->frame.op >= WS_CLOSE) {
		if (c->frame.op == WS_CLOSE)
			end(c);
		return;
	}
	c->message_len += n;
	if (c->text.len < 65536)
		buf_add(&c->text, p, MIN(n, 65536 - c->text.len));
	if (!c->in_frame && c->frame.fin)
		message_done(c);
}

static void frames(struct conn *c, uint8_t *p, size_t n)
{
	size_t at = 0;

	while (at < n && !uv_is_closing((uv_handle_t *)&c->poll)) {
		size_t before = c->head_len, take = MIN(n - at, sizeof(c->head) - before);
		int len;

		if (c->in_frame) {
			take = (size_t)MIN((uint64_t)(n - at), c->left);
			payload(c, p + at, take);
			at += take;
			continue;
		}
		memcpy(c->head + before, p + at, take);
		len = ws_read_header(c->head, before + take, &c->frame);
		if (len < 0) {
			end(c);
			return;
		}
		c->head_len = len ? 0 : before + take;
		at += len ? (size_t)len - before : take;
		c->left = c->frame.len;
		c->in_frame = len > 0;
		if (len && !c->left)
			payload(c, p, 0);
	}
}

static void version(struct conn *c)
{
	AUTOFREE char *body = xasprintf("{\"Browser\":\"bench\",\"webSocketDebuggerUrl\":"
					"\"ws://127.0.0.1:%u/devtools/browser/bench\"}",
		port);

	buf_addf(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	flush(c);
}

static void request(struct conn *c)
{
	struct http_head h;
	int len = http_read_request((const char *)c->in.data, c->in.len, &h);
	const struct http_text *key = len > 0 ? http_header(&h, "Sec-WebSocket-Key", NULL) : NULL;
	char accept[29];
	AUTOFREE char *text = NULL;

	if (len == 0)
		return;
	if (len < 0) {
		end(c);
		return;
	}
	if (!key) {
		version(c);
		c->in.len = 0;
		return;
	}
	text = xasprintf("%.*s", (int)key->n, key->s);
	ws_accept_key(text, accept);
	buf_addf(&c->out,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\n\r\n",
		accept);
	c->open = true;
	flush(c);
	frames(c, c->in.data + len, c->in.len - (size_t)len);
	buf_done(&c->in);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct conn *c = h->data;
	ssize_t n;

	if (events & UV_WRITABLE)
		flush(c);
	if (uv_is_closing((uv_handle_t *)h) || !(events & UV_READABLE))
		return;
	n = recv(c->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		end(c);
		return;
	}
	if (c->open) {
		frames(c, scratch, (size_t)n);
		return;
	}
	buf_add(&c->in, scratch, (size_t)n);
	request(c);
}

static void on_accept(uv_poll_t *h, int status, int events)
{
	int fd = accept4((int)(intptr_t)h->data, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
	struct conn *c;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = xcalloc(1, sizeof(*c));
	c->fd = fd;
	buf_init(&c->in, 1 << 20);
	buf_init(&c->out, 16 << 20);
	buf_init(&c->text, 1 << 20);
	uv_poll_init(h->loop, &c->poll, fd);
	c->poll.data = c;
	uv_poll_start(&c->poll, UV_READABLE, on_poll);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	uv_poll_t poll;

	signal(SIGPIPE, SIG_IGN);
	memset(filler, ' ', sizeof(filler));
	sa.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1024) < 0)
		die("cannot listen");
	getsockname(fd, (struct sockaddr *)&sa, &len);
	port = ntohs(sa.sin_port);
	printf("ready %u\n", port);
	fflush(stdout);
	uv_poll_init(uv_default_loop(), &poll, fd);
	poll.data = (void *)(intptr_t)fd;
	uv_poll_start(&poll, UV_READABLE, on_accept);
	return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
