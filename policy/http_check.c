/*
 * A plain HTTP/1 connection as the relay sees it: every request names the host the connection is
 * for.
 *
 * Theory of operation. Bytes pass only when it is known what they are: a whole head that was
 * checked, or a part of the body that this head announced. Framing follows RFC 9112 in its strict
 * reading, because a server that saw other message borders than we do would see requests that we
 * did not. The name of the first request is the connection's; any other name ends it. An upgrade is
 * taken only in the first request: then nothing passes until the server has answered, and 101 opens
 * the stream for a WebSocket and ends it for the rest.
 *
 *   HEAD -> BODY -> HEAD            HEAD -> CHUNK_SIZE -> CHUNK_DATA -> CHUNK_END -> … -> TRAILER
 * -> HEAD HEAD -> UPGRADE -> RAW or HEAD
 */
#include "http_check.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define CHUNK_DIGITS_MAX 15

void http_check_init(struct http_check *c, uint16_t port)
{
	*c = (struct http_check){.port = port};
	buf_init(&c->answer, 4 * HTTP_HEAD_MAX);
}

void http_check_done(struct http_check *c)
{
	buf_done(&c->answer);
}

static int deny(const char **ret_reason, const char *reason)
{
	*ret_reason = reason;
	return -EACCES;
}

/* Host: name[:port]. The port, if any, is the connection's. */
static bool split_host(const struct http_text *host, uint16_t port, char name[256])
{
	const char *colon = memchr(host->s, ':', host->n);
	char digits[8];
	uint64_t named;
	size_t n;

	if (!colon)
		return rule_normalise_name(host->s, host->n, name);
	n = host->n - (size_t)(colon + 1 - host->s);
	if (n >= sizeof(digits))
		return false;
	memcpy(digits, colon + 1, n);
	digits[n] = 0;
	return parse_u64(digits, 1, 65535, &named) && named == port &&
	       rule_normalise_name(host->s, (size_t)(colon - host->s), name);
}

static int check_host(struct http_check *c, const struct http_head *h, const char **ret_reason)
{
	const struct http_text *host = http_header(h, "Host", NULL);
	char name[256];

	if (!host)
		return deny(ret_reason, "a request without one Host");
	if (!split_host(host, c->port, name))
		return deny(ret_reason, "a Host that is not a name at this port");
	if (!c->requests)
		strcpy(c->name, name);
	else if (!streq(c->name, name))
		return deny(ret_reason, "another Host on the same connection");
	return 0;
}

static int start_upgrade(struct http_check *c, const struct http_head *h, const char **ret_reason)
{
	const struct http_text *upgrade = http_header(h, "Upgrade", NULL);
	long long length = http_content_length(h);
	size_t encodings;

	http_header(h, "Transfer-Encoding", &encodings);
	if (c->requests)
		return deny(ret_reason, "an upgrade on a connection that was used before");
	if (encodings || (length != -1 && length != 0))
		return deny(ret_reason, "an upgrade with a body");
	c->websocket = upgrade && http_text_is_nocase(upgrade, "websocket");
	c->state = HTTP_UPGRADE;
	return 0;
}

static int start_body(struct http_check *c, const struct http_head *h, const char **ret_reason)
{
	long long length = http_content_length(h);
	size_t encodings = 0;
	const struct http_text *encoding = http_header(h, "Transfer-Encoding", &encodings);

	if (length == -2)
		return deny(ret_reason, "a request whose length is not clear");
	if (encodings) {
		if (!encoding || h->minor == 0 || length != -1 ||
			!http_text_is_nocase(encoding, "chunked"))
			return deny(ret_reason, "a transfer encoding other than chunked");
		c->state = HTTP_CHUNK_SIZE;
		return 0;
	}
	c->left = length > 0 ? (uint64_t)length : 0;
	c->state = c->left ? HTTP_BODY : HTTP_HEAD;
	return 0;
}

static bool is_origin_form(const struct http_head *h)
{
	return h->target.n > 0 && (h->target.s[0] == '/' || http_text_is(&h->target, "*")) &&
	       !http_text_is(&h->method, "CONNECT");
}

static int take_head(struct http_check *c, const struct http_head *h, const char **ret_reason)
{
	size_t upgrades = 0;
	int r;

	r = check_host(c, h, ret_reason);
	if (r == 0 && !is_origin_form(h))
		r = deny(ret_reason, "a request to a proxy");
	if (r < 0)
		return r;
	http_header(h, "Upgrade", &upgrades);
	r = upgrades ? start_upgrade(c, h, ret_reason) : start_body(c, h, ret_reason);
	c->requests += r == 0;
	return r;
}

/* Each returns the bytes that pass, 0 when more is needed, or -EACCES. */
static ssize_t feed_head(struct http_check *c, const char *data, size_t n, const char **ret_reason)
{
	struct http_head h;
	int r;

	if (c->seen < n && !memchr(data + c->seen, '\n', n - c->seen) && n < HTTP_HEAD_MAX) {
		c->seen = n;
		return 0;
	}
	r = http_read_request(data, n, &h);
	if (r < 0)
		return deny(ret_reason, "not an HTTP/1.1 request");
	c->seen = r == 0 ? n : 0;
	if (r > 0 && take_head(c, &h, ret_reason) < 0)
		return -EACCES;
	return r;
}

/* A line that ends with CRLF: its length with it, 0 when it is not whole, -EACCES when it is none.
 */
static ssize_t whole_line(const char *data, size_t n, const char **ret_reason)
{
	const char *end = memchr(data, '\n', MIN(n, (size_t)HTTP_LINE_MAX));
	size_t len = end ? (size_t)(end - data) + 1 : 0;

	if (!end)
		return n < HTTP_LINE_MAX ? 0
					 : deny(ret_reason, "a chunk or trailer that is too long");
	if (len < 2 || data[len - 2] != '\r' || memchr(data, '\r', len - 2) || memchr(data, 0, len))
		return deny(ret_reason, "a chunk or trailer that is malformed");
	return (ssize_t)len;
}

static ssize_t feed_chunk_size(
	struct http_check *c, const char *data, size_t n, const char **ret_reason)
{
	ssize_t len = whole_line(data, n, ret_reason);
	size_t digits = 0;
	uint64_t size = 0;

	if (len <= 0)
		return len;
	for (; digits < (size_t)len && strchr("0123456789abcdefABCDEF", data[digits]); digits++)
		size = size << 4 | (uint64_t)(data[digits] <= '9' ? data[digits] - '0'
								  : (data[digits] | 32) - 'a' + 10);
	if (digits == 0 || digits > CHUNK_DIGITS_MAX ||
		(data[digits] != '\r' && data[digits] != ';'))
		return deny(ret_reason, "a chunk whose size is malformed");
	c->left = size ? size : HTTP_TRAILER_MAX;
	c->state = size ? HTTP_CHUNK_DATA : HTTP_TRAILER;
	return len;
}

static ssize_t feed_counted(struct http_check *c, size_t n)
{
	size_t pass = (size_t)MIN((uint64_t)n, c->left);

	c->left -= pass;
	if (c->left == 0)
		c->state = c->state == HTTP_BODY ? HTTP_HEAD : HTTP_CHUNK_END;
	return (ssize_t)pass;
}

static ssize_t feed_chunk_end(
	struct http_check *c, const char *data, size_t n, const char **ret_reason)
{
	if (n < 2 && data[0] == '\r')
		return 0;
	if (n < 2 || data[0] != '\r' || data[1] != '\n')
		return deny(ret_reason, "a chunk that is longer than its size");
	c->state = HTTP_CHUNK_SIZE;
	return 2;
}

static ssize_t feed_trailer(
	struct http_check *c, const char *data, size_t n, const char **ret_reason)
{
	ssize_t len = whole_line(data, n, ret_reason);

	if (len <= 0)
		return len;
	if (len == 2)
		c->state = HTTP_HEAD;
	else if ((uint64_t)len > c->left)
		return deny(ret_reason, "trailers that are too long");
	c->left -= (uint64_t)MIN((uint64_t)len, c->left);
	return len;
}

static ssize_t feed_some(struct http_check *c, const char *data, size_t n, const char **ret_reason)
{
	switch (c->state) {
	case HTTP_HEAD:
		return feed_head(c, data, n, ret_reason);
	case HTTP_BODY:
	case HTTP_CHUNK_DATA:
		return feed_counted(c, n);
	case HTTP_CHUNK_SIZE:
		return feed_chunk_size(c, data, n, ret_reason);
	case HTTP_CHUNK_END:
		return feed_chunk_end(c, data, n, ret_reason);
	case HTTP_TRAILER:
		return feed_trailer(c, data, n, ret_reason);
	case HTTP_UPGRADE:
		return 0;
	case HTTP_RAW:
		return (ssize_t)n;
	}
	return -EACCES;
}

int http_check_feed(
	struct http_check *c, const char *data, size_t n, size_t *ret_pass, const char **ret_reason)
{
	*ret_pass = 0;
	while (*ret_pass < n) {
		ssize_t r = feed_some(c, data + *ret_pass, n - *ret_pass, ret_reason);

		if (r < 0)
			return -EACCES;
		if (r == 0)
			return 0;
		*ret_pass += (size_t)r;
	}
	return 0;
}

int http_check_answer(struct http_check *c, const char *data, size_t n, const char **ret_reason)
{
	while (c->state == HTTP_UPGRADE) {
		struct http_head h;
		int r;

		if (n > 0 && !buf_add(&c->answer, data, n))
			return deny(ret_reason, "an answer to an upgrade that is too long");
		n = 0;
		r = http_read_response((const char *)c->answer.data, c->answer.len, &h);
		if (r < 0)
			return deny(ret_reason, "an answer to an upgrade that is not HTTP/1.1");
		if (r == 0)
			return 0;
		if (h.status == 101 && !c->websocket)
			return deny(ret_reason, "an upgrade to something else than a WebSocket");
		if (h.status == 101 || h.status >= 200)
			c->state = h.status == 101 ? HTTP_RAW : HTTP_HEAD;
		buf_consume(&c->answer, (size_t)r);
	}
	buf_done(&c->answer);
	return 0;
}
