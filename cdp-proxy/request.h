/* What a request's head says, judged without looking at anything else: pure, so that it can be
 * fuzzed. */
#ifndef BERTH_REQUEST_H
#define BERTH_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "http.h"

#define REQUEST_TOKEN_MAX 256
#define REQUEST_PATH_MAX 8192

/* Host names and origins an operator allowed; NULL-terminated lists, lower case. */
struct request_rules {
	char *const *hosts, *const *origins;
	bool loopback_only; /* a plain port: Host must be loopback, no Origin at all */
	bool any_host;      /* the start page */
};

struct request {
	char host[280]; /* as sent: name or address, perhaps with a port */
	char *path; /* of the target, still percent-encoded, without the query; the caller's to free
		     */
	bool upgrade; /* asks for a WebSocket */
	bool chunked, expect_continue;
	long long length;               /* of the body: 0 when there is none, -1 when chunked */
	const struct http_text *origin; /* allowed; NULL when none was sent */
};

/* Checks everything that needs no table and no token. 0, or a problem in err and nothing to free.
 */
int request_check(const struct http_head *h, const struct request_rules *rules, struct request *ret,
	struct err *err);

/*
 * The token the client presents: Bearer, Basic (the password), or the query's token, apiKey or
 * api_key. 1, 0 when there is none, negative when what is there is malformed. from_query is set
 * when it came by the query; name is that parameter's name.
 */
int request_token(
	const struct http_head *h, char token[REQUEST_TOKEN_MAX + 1], const char **ret_query_name);

/* Percent-decodes n bytes into out (room for n + 1). False on a bad escape, NUL, or control
 * characters. */
bool request_decode(const char *s, size_t n, char *out);
/* `127.0.0.1`, `[::1]`, `localhost`, each with or without a port. */
bool request_host_is_loopback(const char *host);

#endif
