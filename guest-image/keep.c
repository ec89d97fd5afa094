/* Has Chromium write its cookies to its disk soon after they changed. */
/*
 * Theory of operation. Chromium holds changed cookies back for 30 s, and neither a flag nor a CDP
 * method changes that: whoever pulls the plug soon after a log-in has lost it. But it writes as
 * soon as 512 changes have gathered (net/extras/sqlite/sqlite_persistent_cookie_store.cc,
 * kCommitAfterBatchSize), and these may all be of one cookie. So:
 *
 *      every 2 s: did anything arrive on the network?  no: nothing can have changed
 *      Storage.getCookies; is the answer's digest another one?  no: the same
 *      Storage.setCookies, one cookie of a name that cannot exist, set over and over, then expired
 *
 * Setting a cookie again counts twice (away with the old one, in with the new). The daemon's pings
 * arrive every 5 s, so a page that sets a cookie without any traffic is noticed as well.
 *
 * This is a process of its own with the agent's rights: what Chromium answers never reaches PID 1.
 * It blocks, keeps nothing of an answer but its digest, and ends with its connection.
 */
#include "keep.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bytes.h"
#include "util.h"

#define TRAFFIC "/sys/class/net/eth0/statistics/rx_bytes"
#define BROWSER "/devtools/browser/"
#define HEAD_MAX 4096
#define BLOCK 16384
#define COMMAND_MAX (64u << 10)
#define SETS 264              /* twice that is more than 512 */
#define SET_LIFE_S 60         /* should the plug be pulled between setting and expiring it */
#define ANSWER_MAX (1u << 30) /* bytes of one answer: far above what Chromium keeps of cookies */

/* RFC 6455, 5.2. */
#define WS_FIN_TEXT 0x81
#define WS_OPCODE 0x0f
#define WS_FIN 0x80
#define WS_MASK 0x80
#define WS_CLOSE 8
#define WS_PING 9

#define FNV_START 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

/* An answer: its digest and how it begins. */
struct answer {
	uint64_t digest, size;
	char head[64];
};

int keep_find_path(const char *answer, size_t n, char *ret, size_t room)
{
	const char *at = memmem(answer, n, BROWSER, strlen(BROWSER)), *end;

	if (!at)
		return -1;
	end = memchr(at, '"', n - (size_t)(at - answer));
	if (!end || (size_t)(end - at) >= room)
		return -1;
	for (const char *c = at; c < end; c++)
		if (*c <= ' ' || *c > '~')
			return -1;
	memcpy(ret, at, (size_t)(end - at));
	ret[end - at] = '\0';
	return 0;
}

static int dial(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval wait = {.tv_sec = KEEP_WAIT_S};
	AUTOFD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
		connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	return steal_fd(&fd);
}

static bool send_text(int fd, const char *text)
{
	return write_all(fd, text, strlen(text)) == 0;
}

/* Asks for the address of the browser's own endpoint. */
static bool find_browser(uint16_t port, char *ret, size_t room)
{
	AUTOFD int fd = dial(port);
	char answer[HEAD_MAX];
	size_t n = 0;
	ssize_t got;

	if (fd < 0 || !send_text(fd, "GET /json/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
		return false;
	while (n < sizeof(answer) && (got = read(fd, answer + n, sizeof(answer) - n)) > 0) {
		n += (size_t)got;
		if (keep_find_path(answer, n, ret, room) == 0)
			return true;
	}
	return false;
}

/* Reads up to the end of the answer's head and no further. */
static bool upgraded(int fd)
{
	static const char ok[] = "HTTP/1.1 101 ";
	char head[HEAD_MAX];
	size_t n = 0;

	while (n < sizeof(head) && read(fd, head + n, 1) == 1) {
		n++;
		if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
			return n > sizeof(ok) && memcmp(head, ok, sizeof(ok) - 1) == 0;
	}
	return false;
}

static int open_session(uint16_t port)
{
	char path[256];
	AUTOFD int fd = -1;
	AUTOFREE char *request = NULL;

	if (!find_browser(port, path, sizeof(path)))
		return -1;
	fd = dial(port);
	/* The key proves nothing to a server that we trust no more than to answer. */
	request = xasprintf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
			    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			    "Sec-WebSocket-Key: YmVydGgtaW5pdCBrZWVwcw==\r\n\r\n",
		path);
	if (fd < 0 || !send_text(fd, request) || !upgraded(fd))
		return -1;
	return steal_fd(&fd);
}

/* One text message; a client's must be masked, and a mask of zeroes changes nothing. */
static bool put_message(int fd, const void *text, size_t n)
{
	uint8_t head[14] = {WS_FIN_TEXT, WS_MASK | 127};
	uint64_t length = htobe64(n);

	memcpy(head + 2, &length, sizeof(length));
	return write_all(fd, head, sizeof(head)) == 0 && write_all(fd, text, n) == 0;
}

static bool read_whole(int fd, void *to, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = read(fd, (uint8_t *)to + at, n - at);

		if (got <= 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

static void take(struct answer *a, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a->size + i < sizeof(a->head) - 1)
			a->head[a->size + i] = (char)p[i];
		a->digest = (a->digest ^ p[i]) * FNV_PRIME;
	}
	a->size += n;
}

/* The rest of a frame, n bytes; into the answer unless that is NULL. */
static bool read_payload(int fd, uint64_t n, struct answer *a)
{
	uint8_t block[BLOCK];

	while (n > 0) {
		size_t part = (size_t)MIN(n, (uint64_t)sizeof(block));

		if (!read_whole(fd, block, part))
			return false;
		if (a)
			take(a, block, part);
		n -= part;
	}
	return true;
}

/* The head of a frame: its first byte and its length. */
static bool read_head(int fd, uint8_t *ret_first, uint64_t *ret_n)
{
	uint8_t head[8];
	struct reader r;

	if (!read_whole(fd, head, 2) || head[1] & WS_MASK)
		return false;
	*ret_first = head[0];
	*ret_n = head[1];
	if (head[1] < 126)
		return true;
	r = reader_of(head, sizeof(head));
	if (!read_whole(fd, head, *ret_n == 126 ? 2 : 8))
		return false;
	*ret_n = *ret_n == 126 ? read_u16be(&r) : read_u64be(&r);
	return true;
}

static bool get_message(int fd, struct answer *a)
{
	uint8_t first;
	uint64_t n;

	*a = (struct answer){.digest = FNV_START};
	do {
		if (!read_head(fd, &first, &n) || n > ANSWER_MAX - a->size ||
			(first & WS_OPCODE) == WS_CLOSE)
			return false;
		if (!read_payload(fd, n, (first & WS_OPCODE) >= WS_CLOSE ? NULL : a))
			return false;
	} while (!(first & WS_FIN) || (first & WS_OPCODE) >= WS_PING);
	return true;
}

/* Sends a command and reads its answer; no event is ever asked for. False: end the connection. */
static bool call(int fd, const void *command, size_t n, struct answer *a)
{
	return put_message(fd, command, n) && get_message(fd, a) &&
	       strstr(a->head, "\"result\"") != NULL;
}

static bool cookies(int fd, struct answer *a)
{
	static const char get[] = "{\"id\":1,\"method\":\"Storage.getCookies\"}";

	return call(fd, get, sizeof(get) - 1, a);
}

/* Makes Chromium write what it holds back. */
static bool push(int fd)
{
	static const char cookie[] =
		"{\"name\":\"berth-flush\",\"url\":\"http://flush.berth.invalid/\","
		"\"value\":\"%d\",\"expires\":%lld}%s";
	long long end = (long long)time(NULL) + SET_LIFE_S;
	struct answer a;
	struct buf b;
	bool ok;

	buf_init(&b, COMMAND_MAX);
	buf_add_str(&b, "{\"id\":1,\"method\":\"Storage.setCookies\",\"params\":{\"cookies\":[");
	for (int i = 0; i < SETS; i++)
		buf_addf(&b, cookie, i, end, ",");
	buf_addf(&b, cookie, SETS, 1LL, "]}}");
	ok = !b.full && call(fd, b.data, b.len, &a);
	buf_done(&b);
	return ok;
}

static uint64_t traffic(void)
{
	AUTOFREE char *text = NULL;
	size_t len;

	/* Without the file every look counts. */
	if (file_read(AT_FDCWD, TRAFFIC, 64, &text, &len, NULL) < 0)
		return now_ms();
	return strtoull(text, NULL, 10);
}

/* Until the connection ends. */
static void stay(int fd)
{
	static const char none[] = "{\"id\":1,\"result\":{\"cookies\":[]}}";
	struct answer before = {.digest = FNV_START}, now;
	uint64_t seen = 0, arrived;

	take(&before, (const uint8_t *)none, sizeof(none) - 1);
	/* Nothing was asked: what can be read is the end. */
	while (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, KEEP_PERIOD_MS) == 0) {
		arrived = traffic();
		if (arrived == seen)
			continue;
		seen = arrived;
		if (!cookies(fd, &now))
			return;
		if (now.digest != before.digest && !push(fd))
			return;
		before = now;
	}
}

int keep_main(int argc, char **argv)
{
	unsigned long port = argc == 1 ? strtoul(argv[0], NULL, 10) : 0;
	int fd;

	if (port == 0 || port > UINT16_MAX) {
		fputs("usage: berth-init keep PORT\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	fd = open_session((uint16_t)port);
	if (fd < 0)
		return 1;
	stay(fd);
	close(fd);
	return 0;
}
