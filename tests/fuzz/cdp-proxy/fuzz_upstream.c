/* What a guest's browser may send: over a real socket, from the handshake on; and its discovery
 * answers. */
#include "discovery.h"
#include "http.h"
#include "upstream.h"
#include "util.h"
#include "ws.h"

#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENSURE(c)                \
	do {                     \
		if (!(c))        \
			abort(); \
	} while (0)

struct seen {
	struct upstream *up;
	bool open, closed, in_message;
	uint64_t bytes;
};

static void on_open(void *data)
{
	struct seen *s = data;

	ENSURE(!s->open && !s->closed);
	s->open = true;
}

static void on_piece(void *data, uint8_t *p, size_t n, bool first, bool final)
{
	struct seen *s = data;

	ENSURE(s->open && !s->closed && n <= UPSTREAM_READ);
	ENSURE(first != s->in_message);
	s->in_message = !final;
	memset(p - WS_HEADROOM, 0, WS_HEADROOM);
	for (size_t i = 0; i < n; i++)
		s->bytes += p[i] & 1;
}

static void on_writable(void *data)
{
	(void)data;
}

static void on_close(void *data, const char *reason, bool fault)
{
	struct seen *s = data;

	ENSURE(!s->closed && reason[0]);
	s->closed = true;
	upstream_free(s->up);
	s->up = NULL;
}

static const struct upstream_owner owner = {
	.on_open = on_open, .on_piece = on_piece, .on_writable = on_writable, .on_close = on_close};

/* The answer to the handshake that is waiting in fd. */
static void shake_hands(int fd)
{
	char text[1024], accept[29], key[25], answer[256];
	ssize_t n = recv(fd, text, sizeof(text), 0);
	struct http_head h;
	const struct http_text *k;

	ENSURE(n > 0 && http_read_request(text, (size_t)n, &h) > 0);
	k = http_header(&h, "Sec-WebSocket-Key", NULL);
	ENSURE(k && k->n == 24);
	snprintf(key, sizeof(key), "%.24s", k->s);
	ws_accept_key(key, accept);
	n = snprintf(answer, sizeof(answer),
		"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\n\r\n",
		accept);
	ENSURE(write_all(fd, answer, (size_t)n) == 0);
}

static void run_socket(const uint8_t *data, size_t n, bool shake)
{
	struct seen s = {0};
	uv_loop_t loop;
	int pair[2];

	uv_loop_init(&loop);
	ENSURE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	s.up = upstream_new(&loop, pair[0], "/devtools/browser/x", &owner, &s);
	if (shake)
		shake_hands(pair[1]);
	if (n)
		send(pair[1], data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(pair[1], SHUT_WR);
	uv_run(&loop, UV_RUN_DEFAULT);
	ENSURE(s.closed);
	ENSURE(uv_loop_close(&loop) == 0);
	close(pair[1]);
}

static void run_discovery(const char *body, size_t n)
{
	static const struct discovery_base b = {
		"ws", "127.0.0.1:7900", "/v1/agents/demo", "token=T", true};
	cJSON *(*const read[])(const char *, size_t, const struct discovery_base *) = {
		discovery_version, discovery_targets, discovery_target};

	for (size_t i = 0; i < ARRAY_SIZE(read); i++) {
		cJSON *o = read[i](body, n, &b);
		const char *url = cJSON_GetStringValue(
			cJSON_GetObjectItemCaseSensitive(o, "webSocketDebuggerUrl"));

		ENSURE(!url || starts_with(url, "ws://127.0.0.1:7900/v1/agents/demo/devtools/"));
		ENSURE(!url || streq(strrchr(url, '?'), "?token=T"));
		cJSON_Delete(o);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0 || n > 65536)
		return 0;
	if (data[0] % 3 == 2)
		run_discovery((const char *)data + 1, n - 1);
	else
		run_socket(data + 1, n - 1, data[0] % 3 == 0);
	return 0;
}
