/* A blocking WebSocket client that measures: round trips, throughput, many connections, slow
 * reading. */
#include "bytes.h"
#include "http.h"
#include "util.h"
#include "ws.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/*
 *   ws-client PORT PATH rtt COUNT          median and 99th percentile of small messages, in
 * microseconds ws-client PORT PATH down BYTES COUNT   MiB/s of messages of that size from the
 * browser ws-client PORT PATH up BYTES COUNT     MiB/s of messages of that size to the browser
 *   ws-client PORT PATH many CONNECTIONS   opens them all, one round trip each, then waits for the
 * end of stdin ws-client PORT PATH slow BYTES         asks for one message, then reads 1 MiB per
 * line of stdin
 *
 * Prints one line of JSON.
 */
struct ws {
	int fd;
	uint8_t buf[65536];
	size_t at, len;
};

static uint16_t port;
static const char *path;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fill(struct ws *w)
{
	ssize_t n = recv(w->fd, w->buf, sizeof(w->buf), 0);

	if (n <= 0)
		die("the connection ended");
	w->at = 0;
	w->len = (size_t)n;
}

static uint8_t byte(struct ws *w)
{
	if (w->at == w->len)
		fill(w);
	return w->buf[w->at++];
}

static void send_all(struct ws *w, const void *data, size_t n)
{
	if (write_all(w->fd, data, n) < 0)
		die("the connection ended");
}

/*
 * A text message: text, and before its last brace, if n is larger, a string that makes it n bytes
 * long. The mask is a random one for each message, as every real client's: the filler is masked
 * once, as its pieces are a multiple of 4 bytes.
 */
static void send_message(struct ws *w, const char *text, uint64_t n)
{
	static const char key[] = ",\"fill\":\"";
	static uint8_t filler[65536];
	size_t len = strlen(text), start = len - 1 + sizeof(key) - 1;
	bool large = n > len + sizeof(key) + 2;
	struct ws_header h = {.op = WS_TEXT, .fin = true, .masked = true, .len = large ? n : len};
	uint8_t head[WS_HEADER_MAX + 256], end[] = "\"}";
	uint64_t left = n - start - 2;
	size_t k;

	random_bytes(h.mask, sizeof(h.mask));
	k = ws_write_header(head, &h);
	memcpy(head + k, text, len);
	if (large)
		memcpy(head + k + len - 1, key, sizeof(key) - 1);
	ws_mask(head + k, large ? start : len, h.mask, 0);
	send_all(w, head, k + (large ? start : len));
	if (!large)
		return;
	memset(filler, 'x', sizeof(filler));
	ws_mask(filler, sizeof(filler), h.mask, start);
	for (; left; left -= MIN(left, sizeof(filler)))
		send_all(w, filler, MIN(left, sizeof(filler)));
	ws_mask(end, 2, h.mask, n - 2);
	send_all(w, end, 2);
}

static struct ws_header read_header(struct ws *w)
{
	uint8_t head[WS_HEADER_MAX];
	struct ws_header h;
	size_t n = 0;
	int r = 0;

	while (r == 0) {
		head[n++] = byte(w);
		r = ws_read_header(head, n, &h);
	}
	if (r < 0 || h.op == WS_CLOSE)
		die("the other side closed");
	return h;
}

static void skip(struct ws *w, uint64_t n)
{
	while (n) {
		size_t take;

		if (w->at == w->len)
			fill(w);
		take = MIN(n, w->len - w->at);
		w->at += take;
		n -= take;
	}
}

/* Reads one message; its bytes. */
static uint64_t read_message(struct ws *w)
{
	uint64_t total = 0;
	struct ws_header h;

	do {
		h = read_header(w);
		skip(w, h.len);
		total += h.len;
	} while (!h.fin);
	return total;
}

static void connect_ws(struct ws *w)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	char key[25], head[4096];
	AUTOFREE char *text = NULL;
	size_t n = 0;
	int one = 1;

	w->fd = socket(AF_INET, SOCK_STREAM, 0);
	w->at = w->len = 0;
	if (connect(w->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die("cannot connect");
	setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ws_new_key(key);
	text = xasprintf("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: "
			 "websocket\r\nConnection: Upgrade\r\n"
			 "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
		path, port, key);
	send_all(w, text, strlen(text));
	while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
		if (n == sizeof(head))
			die("a long answer to the handshake");
		head[n++] = (char)byte(w);
	}
	if (n < 12 || memcmp(head, "HTTP/1.1 101", 12) != 0)
		die("refused: %.60s", head);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define SMALL "{\"id\":1,\"method\":\"Runtime.evaluate\",\"params\":{\"expression\":\"1\"}}"

static void rtt(struct ws *w, size_t count)
{
	double *t = xcalloc(count, sizeof(*t));

	for (size_t i = 0; i < count / 10 + 1; i++) {
		send_message(w, SMALL, 0);
		read_message(w);
	}
	for (size_t i = 0; i < count; i++) {
		double start = now_us();

		send_message(w, SMALL, 0);
		read_message(w);
		t[i] = now_us() - start;
	}
	qsort(t, count, sizeof(*t), compare);
	printf("{\"p50\":%.1f,\"p99\":%.1f}\n", t[count / 2], t[count * 99 / 100]);
	free(t);
}

static void down(struct ws *w, uint64_t bytes, size_t count)
{
	AUTOFREE char *ask = xasprintf("{\"id\":1,\"method\":\"Runtime.evaluate\",\"make\":%llu}",
		(unsigned long long)bytes);
	double start = 0;

	/* The first one warms up. */
	for (size_t i = 0; i <= count; i++) {
		if (i == 1)
			start = now_us();
		send_message(w, ask, 0);
		if (read_message(w) < bytes)
			die("a short message");
	}
	printf("{\"mib_s\":%.0f}\n",
		(double)bytes * (double)count / 1048576 / ((now_us() - start) / 1e6));
}

static void up(struct ws *w, uint64_t bytes, size_t count)
{
	double start = 0;

	for (size_t i = 0; i <= count; i++) {
		if (i == 1)
			start = now_us();
		send_message(w, SMALL, bytes);
		read_message(w);
	}
	printf("{\"mib_s\":%.0f}\n",
		(double)bytes * (double)count / 1048576 / ((now_us() - start) / 1e6));
}

static void many(size_t count)
{
	struct ws *w = xcalloc(count, sizeof(*w));
	double start = now_us(), opened;

	for (size_t i = 0; i < count; i++)
		connect_ws(&w[i]);
	opened = now_us();
	for (size_t i = 0; i < count; i++)
		send_message(&w[i], SMALL, 0);
	for (size_t i = 0; i < count; i++)
		read_message(&w[i]);
	printf("{\"open_ms\":%.1f,\"answer_ms\":%.1f}\n", (opened - start) / 1e3,
		(now_us() - opened) / 1e3);
	fflush(stdout);
	while (getchar() != EOF)
		;
	free(w);
}

static void slow(struct ws *w, uint64_t bytes)
{
	AUTOFREE char *ask = xasprintf("{\"id\":1,\"method\":\"Runtime.evaluate\",\"make\":%llu}",
		(unsigned long long)bytes);
	int c;

	send_message(w, ask, 0);
	read_header(w);
	while ((c = getchar()) != EOF) {
		if (c != '\n')
			continue;
		for (size_t got = 0; got < (1u << 20); got += w->len)
			fill(w);
		puts("{\"read\":1}");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct ws *w = xcalloc(1, sizeof(*w));
	const char *mode = argc > 4 ? argv[3] : "";
	uint64_t n = argc > 4 ? strtoull(argv[4], NULL, 10) : 0,
		 count = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;

	if (argc < 5)
		die("usage: ws-client PORT PATH rtt|down|up|many|slow N [COUNT]");
	port = (uint16_t)atoi(argv[1]);
	path = argv[2];
	if (streq(mode, "many")) {
		many(n);
		return 0;
	}
	connect_ws(w);
	if (streq(mode, "rtt"))
		rtt(w, n);
	else if (streq(mode, "down"))
		down(w, n, count);
	else if (streq(mode, "up"))
		up(w, n, count);
	else if (streq(mode, "slow"))
		slow(w, n);
	close(w->fd);
	free(w);
	return 0;
}
