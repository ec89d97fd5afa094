/* Heads of HTTP/1.1 messages, read strictly (RFC 9112): requests of clients and guests, answers of
 * Chromium. */
#ifndef BERTH_BASE_HTTP_H
#define BERTH_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 16384
#define HTTP_HEADERS_MAX 64

/* Points into the bytes it was read from; not NUL-terminated. */
struct http_text {
	const char *s;
	size_t n;
};

struct http_header {
	struct http_text name, value; /* value without the white space around it */
};

struct http_head {
	struct http_text method, target; /* requests */
	int status;                      /* answers */
	int minor;                       /* HTTP/1.minor: 0 or 1 */
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t n_headers;
	size_t len; /* of the whole head, the empty line included */
};

/*
 * Reads a head at the start of data. The length of the head; 0 when it is not whole yet; negative
 * when it is wrong or over a limit: -E2BIG (431), -EPROTO (400). Strict: CRLF only, no folded
 * lines, tokens as names, no NUL or control characters, an absolute path, `*` or an absolute URI as
 * target.
 */
int http_read_request(const char *data, size_t n, struct http_head *ret);
int http_read_response(const char *data, size_t n, struct http_head *ret);

/* The one header of that name (any case), or NULL when there is none or more than one (*ret_count
 * says). */
const struct http_text *http_header(const struct http_head *h, const char *name, size_t *ret_count);
/* True when a comma-separated header has the token (any case): `Connection: keep-alive, Upgrade`.
 */
bool http_has_token(const struct http_head *h, const char *name, const char *token);
bool http_text_is(const struct http_text *t, const char *s); /* exactly */
bool http_text_is_nocase(const struct http_text *t, const char *s);
/* Content-Length as a number; -1 when absent, -2 when wrong, doubled or beside Transfer-Encoding.
 */
long long http_content_length(const struct http_head *h);
/*
 * The value of a parameter in the query of a target, percent-decoded into out (n bytes,
 * terminated). 1 found, 0 absent, negative when it is malformed, doubled or does not fit.
 */
int http_query(const struct http_text *target, const char *name, char *out, size_t n);

#endif
