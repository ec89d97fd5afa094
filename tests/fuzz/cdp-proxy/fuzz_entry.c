/* The HTTP entry: a head, what is judged of it, its route, its token, its body. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "chunked.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_body(const uint8_t *data, size_t n)
{
	struct chunked c = {0};
	size_t pos = 0;

	while (pos < n && c.state != CHUNKED_DONE) {
		const uint8_t *p;
		size_t len;
		long used = chunked_take(&c, data + pos, n - pos, &p, &len);

		if (used < 0)
			return;
		if (used == 0 || (len > 0 && (p < data + pos || p + len > data + n)))
			abort();
		pos += (size_t)used;
	}
}

static void route(const struct http_head *h, const struct request *r, bool plain)
{
	struct route_match m = {.target = h->target, .plain_port = plain};
	char *allow = NULL;
	struct err err;
	uint64_t number;

	memcpy(m.method, h->method.s,
		h->method.n < sizeof(m.method) ? h->method.n : sizeof(m.method) - 1);
	m.head = h;
	if (api_find(r->path, r->upgrade, &m, &allow, &err) == 0) {
		api_wants_events(&m);
		api_query_number(&m, "limit", 1, 100, &number, &err);
	}
	free(allow);
	free(m.rest);
	free(m.below);
}

static void judge(const struct http_head *h, bool plain)
{
	static char *const none[] = {NULL};
	const struct request_rules rules = {.hosts = none, .origins = none, .loopback_only = plain};
	char token[REQUEST_TOKEN_MAX + 1];
	const char *name;
	struct request r;
	struct err err;

	if (request_check(h, &rules, &r, &err) == 0)
		route(h, &r, plain);
	free(r.path);
	if (request_token(h, token, &name) > 0 &&
		(strlen(token) == 0 || strlen(token) > REQUEST_TOKEN_MAX))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of its exact size, so that a read behind the end is seen. */
	char *text = malloc(size ? size : 1);
	struct http_head h;
	int n;

	memcpy(text, data, size);
	n = http_read_request(text, size, &h);
	if (n > 0) {
		if ((size_t)n > size || (size_t)n != h.len)
			abort();
		judge(&h, false);
		judge(&h, true);
		take_body((uint8_t *)text + n, size - (size_t)n);
	}
	http_read_response(text, size, &h);
	free(text);
	return 0;
}
