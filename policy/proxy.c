/*
 * The way through an upstream proxy: what is said to it and what it answers, without any socket.
 *
 *   HTTP:    CONNECT --> ASKED --2xx--> through
 *   SOCKS5:  greeting --> GREETED [--user, password--> ASKED_IN] --request--> ASKED --0--> through
 *
 * Neither TLS nor HTTP servers speak first, so bytes behind the proxy's answer are nonsense.
 */
#include "proxy.h"
#include "http.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static bool has_credentials(const struct proxy *p)
{
	return p->user[0] || p->password[0];
}

static void ask_http(const struct proxy_talk *t, struct buf *out)
{
	const struct proxy *p = t->proxy;
	char pair[2 * PROXY_WORD_MAX], text[BASE64_SIZE(sizeof(pair))];

	buf_addf(out, "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n", t->host, t->port, t->host,
		t->port);
	if (has_credentials(p)) {
		snprintf(pair, sizeof(pair), "%s:%s", p->user, p->password);
		base64_encode(pair, strlen(pair), text);
		buf_addf(out, "Proxy-Authorization: Basic %s\r\n", text);
		explicit_bzero(text, sizeof(text));
		explicit_bzero(pair, sizeof(pair));
	}
	buf_add_str(out, "\r\n");
}

static void ask_socks(struct proxy_talk *t, struct buf *out)
{
	struct in_addr addr;
	size_t n = strlen(t->host);

	buf_add(out, "\5\1\0", 3);
	if (inet_pton(AF_INET, t->host, &addr) == 1) {
		buf_add_u8(out, 1);
		buf_add(out, &addr, 4);
	} else {
		buf_add_u8(out, 3);
		buf_add_u8(out, (uint8_t)n);
		buf_add(out, t->host, n);
	}
	buf_add_u8(out, (uint8_t)(t->port >> 8));
	buf_add_u8(out, (uint8_t)t->port);
	t->state = PROXY_ASKED;
}

static void add_word(struct buf *out, const char *word)
{
	buf_add_u8(out, (uint8_t)strlen(word));
	buf_add_str(out, word);
}

void proxy_begin(struct proxy_talk *t, const struct proxy *p, const char *host, uint16_t port,
	struct buf *out)
{
	*t = (struct proxy_talk){.proxy = p, .port = port};
	snprintf(t->host, sizeof(t->host), "%s", host);
	buf_init(&t->in, PROXY_ANSWER_MAX);
	if (p->kind == PROXY_HTTP) {
		ask_http(t, out);
		t->state = PROXY_ASKED;
	} else {
		if (has_credentials(p))
			buf_add(out, "\5\2\0\2", 4);
		else
			buf_add(out, "\5\1\0", 3);
		t->state = PROXY_GREETED;
	}
}

__attribute__((format(printf, 4, 5))) static int fail(
	const struct proxy_talk *t, int code, struct err *err, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, code, "the proxy %.100s:%u %s", t->proxy->host, t->proxy->port, text);
}

static int nonsense(const struct proxy_talk *t, struct err *err)
{
	return fail(t, EPROTO, err, "does not answer as %s proxies do",
		t->proxy->kind == PROXY_HTTP ? "HTTP" : "SOCKS5");
}

static int read_http(struct proxy_talk *t, struct err *err)
{
	struct http_head head;
	int n = http_read_response((const char *)t->in.data, t->in.len, &head);

	if (n == 0)
		return 0;
	if (n < 0)
		return nonsense(t, err);
	if (head.status == 407)
		return fail(t, EACCES, err, "%s (407)",
			has_credentials(t->proxy) ? "does not take the credentials"
						  : "wants credentials");
	if (head.status / 100 != 2)
		return fail(t, ECONNREFUSED, err, "does not connect to %.60s:%u (%d)", t->host,
			t->port, head.status);
	return t->in.len == (size_t)n ? 1 : nonsense(t, err);
}

static int read_method(struct proxy_talk *t, struct buf *out, struct err *err)
{
	const uint8_t *d = t->in.data;
	const struct proxy *p = t->proxy;

	if (t->in.len < 2)
		return 0;
	if (d[0] != 5 || t->in.len > 2)
		return nonsense(t, err);
	if (d[1] == 0) {
		ask_socks(t, out);
	} else if (d[1] == 2 && has_credentials(p)) {
		buf_add_u8(out, 1);
		add_word(out, p->user);
		add_word(out, p->password);
		t->state = PROXY_ASKED_IN;
	} else if (d[1] == 0xff) {
		return fail(t, EACCES, err, "%s",
			has_credentials(p) ? "takes no user and password" : "wants credentials");
	} else {
		return nonsense(t, err);
	}
	buf_consume(&t->in, 2);
	return 0;
}

static int read_login(struct proxy_talk *t, struct buf *out, struct err *err)
{
	if (t->in.len < 2)
		return 0;
	if (t->in.data[0] != 1 || t->in.len > 2)
		return nonsense(t, err);
	if (t->in.data[1] != 0)
		return fail(t, EACCES, err, "does not take the credentials");
	buf_consume(&t->in, 2);
	ask_socks(t, out);
	return 0;
}

static const char *const socks_replies[] = {NULL, "has failed", "does not allow it",
	"finds its network unreachable", "finds it unreachable", "says that it refuses",
	"says that it does not answer", "does not know how to connect",
	"does not know this kind of address"};

static int read_reply(struct proxy_talk *t, struct err *err)
{
	const uint8_t *d = t->in.data;
	size_t want;

	if (t->in.len < 5)
		return t->in.len > 0 && d[0] != 5 ? nonsense(t, err) : 0;
	want = d[3] == 1 ? 10 : d[3] == 3 ? 7u + d[4] : d[3] == 4 ? 22 : 0;
	if (d[0] != 5 || d[2] != 0 || want == 0 || t->in.len > want)
		return nonsense(t, err);
	if (d[1] >= ARRAY_SIZE(socks_replies))
		return nonsense(t, err);
	if (d[1] != 0)
		return fail(t, d[1] == 1 ? EPROTO : ECONNREFUSED, err, "%s (SOCKS5 reply %u)",
			socks_replies[d[1]], d[1]);
	return t->in.len == want;
}

int proxy_feed(struct proxy_talk *t, const void *data, size_t n, struct buf *out, struct err *err)
{
	if (!buf_add(&t->in, data, n))
		return nonsense(t, err);
	if (t->proxy->kind == PROXY_HTTP)
		return read_http(t, err);
	switch (t->state) {
	case PROXY_GREETED:
		return read_method(t, out, err);
	case PROXY_ASKED_IN:
		return read_login(t, out, err);
	case PROXY_ASKED:
		break;
	}
	return read_reply(t, err);
}

void proxy_done(struct proxy_talk *t)
{
	buf_done(&t->in);
}
