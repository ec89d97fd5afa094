/* Judging a request's head. */
#include "request.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

static int refuse(struct err *err, int status, const char *type, const char *why)
{
	err_set(err, EPROTO, "%s", why);
	return err_type(err, status, type);
}

/* ---- Host ---- */

/* Splits "name[:port]" or "[v6][:port]"; false when it is neither. name has 256 bytes and loses the
 * brackets. */
static bool split_host(const char *host, char name[256])
{
	const char *end, *port;
	size_t n;

	if (host[0] == '[') {
		end = strchr(host, ']');
		port = end ? end + 1 : NULL;
		host++;
	} else {
		end = port = host + strcspn(host, ":");
	}
	if (!end || (*port && *port != ':'))
		return false;
	if (*port == ':' &&
		(strlen(port + 1) > 5 || strspn(port + 1, "0123456789") != strlen(port + 1)))
		return false;
	n = (size_t)(end - host);
	if (n == 0 || n > 255)
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	return true;
}

static bool is_address(const char *name)
{
	unsigned char a[16];

	return inet_pton(AF_INET, name, a) == 1 || inet_pton(AF_INET6, name, a) == 1;
}

static bool is_loopback(const char *name)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcasecmp(name, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, name, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool request_host_is_loopback(const char *host)
{
	char name[256];

	return split_host(host, name) && is_loopback(name);
}

static bool listed(char *const *list, const char *what)
{
	for (; list && *list; list++) {
		if (strcasecmp(*list, what) == 0)
			return true;
	}
	return false;
}

static bool host_allowed(const char *host, const struct request_rules *rules)
{
	char name[256];

	if (!split_host(host, name))
		return false;
	if (rules->any_host)
		return true;
	if (rules->loopback_only)
		return is_loopback(name);
	return is_address(name) || strcasecmp(name, "localhost") == 0 || listed(rules->hosts, name);
}

static int check_host(const struct http_head *h, const struct request_rules *rules,
	struct request *ret, struct err *err)
{
	size_t count;
	const struct http_text *host = http_header(h, "Host", &count);

	if (!host || host->n >= sizeof(ret->host))
		return refuse(
			err, 400, "invalid-request", "the request needs exactly one Host header");
	memcpy(ret->host, host->s, host->n);
	ret->host[host->n] = '\0';
	if (strlen(ret->host) == host->n && host_allowed(ret->host, rules))
		return 0;
	refuse(err, 403, "forbidden", "this Host is neither an address, localhost, nor configured");
	err_hint(err, "add the name to hosts in the [gateway] section of berth.conf");
	return err->code;
}

/* ---- Origin ---- */

static int check_origin(const struct http_head *h, const struct request_rules *rules,
	struct request *ret, struct err *err)
{
	size_t count;
	const struct http_text *origin = http_header(h, "Origin", &count);
	char text[300], own[300];

	if (count == 0)
		return 0;
	if (origin && origin->n < sizeof(text) && !rules->loopback_only) {
		memcpy(text, origin->s, origin->n);
		text[origin->n] = '\0';
		ret->origin = origin;
		snprintf(own, sizeof(own), "http://%s", ret->host);
		if (strcasecmp(text, own) == 0)
			return 0;
		snprintf(own, sizeof(own), "https://%s", ret->host);
		if (strcasecmp(text, own) == 0 || listed(rules->origins, text))
			return 0;
	}
	refuse(err, 403, "forbidden", "pages of this Origin may not use the gateway");
	err_hint(err, "add it to origins in the [gateway] section of berth.conf if it should");
	return err->code;
}

/* ---- Target ---- */

/* The path of an absolute-form target behind its authority, which must be the Host's. NULL if it is
 * not. */
static const char *strip_authority(const struct http_text *t, const char *host, size_t *ret_n)
{
	const char *authority = (const char *)memchr(t->s, ':', t->n) + 3, *end = t->s + t->n, *p;
	size_t n = strlen(host);

	for (p = authority; p < end && *p != '/' && *p != '?';)
		p++;
	if ((size_t)(p - authority) != n || strncasecmp(authority, host, n) != 0 || p == end ||
		*p != '/')
		return NULL;
	*ret_n = (size_t)(end - p);
	return p;
}

static int check_target(const struct http_head *h, struct request *ret, struct err *err)
{
	const char *path = h->target.s, *mark;
	size_t n = h->target.n;

	if (path[0] != '/') {
		if (http_text_is(&h->target, "*") || http_text_is(&h->method, "CONNECT"))
			return refuse(
				err, 405, "method-not-allowed", "only paths can be asked for here");
		path = strip_authority(&h->target, ret->host, &n);
		if (!path)
			return refuse(err, 400, "invalid-request",
				"the target's host is not the Host header's");
	}
	mark = memchr(path, '?', n);
	n = mark ? (size_t)(mark - path) : n;
	if (n > REQUEST_PATH_MAX)
		return refuse(err, 414, "too-large", "the path is too long");
	ret->path = xasprintf("%.*s", (int)n, path);
	return 0;
}

/* ---- Body and upgrade ---- */

static int check_body(const struct http_head *h, struct request *ret, struct err *err)
{
	size_t encodings;
	const struct http_text *encoding = http_header(h, "Transfer-Encoding", &encodings);

	ret->length = http_content_length(h);
	if (ret->length == -2)
		return refuse(err, 400, "invalid-request",
			"Content-Length is wrong, doubled or beside Transfer-Encoding");
	if (ret->length < 0)
		ret->length = 0;
	if (encodings > 0) {
		if (!encoding || !http_text_is_nocase(encoding, "chunked") || h->minor == 0)
			return refuse(err, 501, "invalid-request",
				"the only transfer coding known here is chunked");
		ret->chunked = true;
		ret->length = -1;
	}
	http_header(h, "Expect", &encodings);
	ret->expect_continue = http_has_token(h, "Expect", "100-continue") && h->minor == 1;
	if (encodings > 0 && !ret->expect_continue)
		return refuse(err, 417, "invalid-request",
			"the only expectation known here is 100-continue");
	return 0;
}

static bool key_fits(const struct http_text *key)
{
	unsigned char raw[24];
	size_t len;

	return key && key->n == 24 &&
	       sodium_base642bin(raw, sizeof(raw), key->s, key->n, NULL, &len, NULL,
		       sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       len == 16;
}

static int check_upgrade(const struct http_head *h, struct request *ret, struct err *err)
{
	size_t count, version_count;
	const struct http_text *upgrade = http_header(h, "Upgrade", &count);
	const struct http_text *version = http_header(h, "Sec-WebSocket-Version", &version_count);

	if (count == 0)
		return 0;
	if (!upgrade || !http_text_is_nocase(upgrade, "websocket"))
		return refuse(
			err, 400, "invalid-request", "the only upgrade known here is websocket");
	if (!http_has_token(h, "Connection", "upgrade") || !http_text_is(&h->method, "GET") ||
		h->minor == 0 || ret->length != 0)
		return refuse(err, 400, "invalid-request",
			"a WebSocket begins with GET, HTTP/1.1, Connection: Upgrade and no body");
	if (!key_fits(http_header(h, "Sec-WebSocket-Key", NULL)))
		return refuse(err, 400, "invalid-request",
			"Sec-WebSocket-Key must be 16 bytes in base64");
	if (!version || !http_text_is(version, "13"))
		return refuse(err, 426, "invalid-request",
			"only version 13 of the WebSocket protocol is spoken here");
	ret->upgrade = true;
	return 0;
}

int request_check(const struct http_head *h, const struct request_rules *rules, struct request *ret,
	struct err *err)
{
	memset(ret, 0, sizeof(*ret));
	if (check_host(h, rules, ret, err) < 0 || check_origin(h, rules, ret, err) < 0 ||
		check_body(h, ret, err) < 0 || check_upgrade(h, ret, err) < 0)
		return err->code;
	return check_target(h, ret, err);
}

/* ---- Token ---- */

static bool token_fits(const char *t)
{
	size_t n = strlen(t);

	for (size_t i = 0; i < n; i++) {
		if (t[i] <= 0x20 || t[i] >= 0x7f)
			return false;
	}
	return n > 0 && n <= REQUEST_TOKEN_MAX;
}

static bool starts_nocase(const struct http_text *t, const char *prefix)
{
	return t->n > strlen(prefix) && strncasecmp(t->s, prefix, strlen(prefix)) == 0;
}

/* The password of "user:password" in base64. */
static int basic_token(const struct http_text *t, char token[REQUEST_TOKEN_MAX + 1])
{
	char plain[REQUEST_TOKEN_MAX * 2];
	const char *colon;
	size_t len;

	if (sodium_base642bin((unsigned char *)plain, sizeof(plain) - 1, t->s + 6, t->n - 6, NULL,
		    &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return -EPROTO;
	plain[len] = '\0';
	colon = strchr(plain, ':');
	if (strlen(plain) != len || !colon || strlen(colon + 1) > REQUEST_TOKEN_MAX)
		return -EPROTO;
	memcpy(token, colon + 1, strlen(colon + 1) + 1);
	sodium_memzero(plain, sizeof(plain));
	return 1;
}

static int header_token(const struct http_head *h, char token[REQUEST_TOKEN_MAX + 1])
{
	size_t count;
	const struct http_text *t = http_header(h, "Authorization", &count);

	if (count == 0)
		return 0;
	if (!t)
		return -EPROTO;
	if (starts_nocase(t, "Basic "))
		return basic_token(t, token);
	if (!starts_nocase(t, "Bearer ") || t->n - 7 > REQUEST_TOKEN_MAX)
		return -EPROTO;
	memcpy(token, t->s + 7, t->n - 7);
	token[t->n - 7] = '\0';
	return 1;
}

int request_token(
	const struct http_head *h, char token[REQUEST_TOKEN_MAX + 1], const char **ret_query_name)
{
	static const char *const names[] = {"token", "apiKey", "api_key"};
	int r = header_token(h, token);

	*ret_query_name = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++) {
		r = http_query(&h->target, names[i], token, REQUEST_TOKEN_MAX + 1);
		if (r > 0)
			*ret_query_name = names[i];
	}
	if (r > 0 && !token_fits(token))
		return -EPROTO;
	return r;
}

bool request_decode(const char *s, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '%') {
			char hex[3] = {i + 2 < n ? s[i + 1] : 0, i + 2 < n ? s[i + 2] : 0, 0};

			if (!hex_decode(hex, &c, 1))
				return false;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return false;
		*out++ = (char)c;
	}
	*out = '\0';
	return true;
}
