/* HTTP heads: what is read, what is refused, what asks for more bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http.h"
#include "util.h"

#define HEAD "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"

static int request(const char *text, struct http_head *h)
{
	return http_read_request(text, strlen(text), h);
}

static void reads_a_request(void **state)
{
	struct http_head h;

	assert_int_equal(
		request("PUT /a%20b?c HTTP/1.0\r\nHost:x\r\nA-b: \t v w \t\r\nE:\r\n\r\nrest", &h),
		51);
	assert_true(http_text_is(&h.method, "PUT"));
	assert_true(http_text_is(&h.target, "/a%20b?c"));
	assert_int_equal(h.minor, 0);
	assert_int_equal(h.n_headers, 3);
	assert_true(http_text_is(http_header(&h, "a-B", NULL), "v w"));
	assert_true(http_text_is(http_header(&h, "e", NULL), ""));
}

/* Every prefix of a right head wants more, and none is taken for a whole one. */
static void waits_for_the_rest(void **state)
{
	struct http_head h;

	for (size_t i = 0; i < strlen(HEAD); i++)
		assert_int_equal(http_read_request(HEAD, i, &h), 0);
	assert_int_equal(request(HEAD, &h), strlen(HEAD));
}

static void refuses(void **state)
{
	static const char *const wrong[] = {"\r\n" HEAD, " " HEAD, "GET  / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1 \r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.2\r\n\r\n",
		"GET / HTTP/2.0\r\n\r\n", "GET / http/1.1\r\n\r\n", "GET / HTTP/1.10\r\n\r\n",
		"G(T / HTTP/1.1\r\n\r\n", "GET x HTTP/1.1\r\n\r\n", "GET * HTTP/1.1\r\n\r\n",
		"GET ftp://x/ HTTP/1.1\r\n\r\n", "GET /#f HTTP/1.1\r\n\r\n",
		"GET /\xc3\xa4 HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\n\n",
		"GET / HTTP/1.1\r\nA: b\n\r\n", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "GET / HTTP/1.1\r\nA : b\r\n\r\n",
		"GET / HTTP/1.1\r\n: b\r\n\r\n", "GET / HTTP/1.1\r\nA\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", "GET / HTTP/1.1\r\nA: \x7f\r\n\r\n",
		"\x16\x03\x01", "GET / HTTP/1.1\r\nA\tB: c\r\n\r\n",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n\r\n"};
	struct http_head h;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (request(wrong[i], &h) != -EPROTO)
			fail_msg("taken: %s", wrong[i]);
	}
	assert_int_equal(http_read_request("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 26, &h), -EPROTO);
}

static void takes_what_is_rare(void **state)
{
	static const char *const right[] = {"OPTIONS * HTTP/1.1\r\n\r\n",
		"GET http://x/y HTTP/1.1\r\n\r\n", "GET HTTPS://x/ HTTP/1.1\r\n\r\n",
		"CONNECT [::1]:1 HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \xff\xfe\r\n\r\n",
		"M-SEARCH /a HTTP/1.1\r\n!#$%&'*+-.^_`|~: b\r\n\r\n"};
	struct http_head h;

	for (size_t i = 0; i < ARRAY_SIZE(right); i++)
		assert_int_equal(request(right[i], &h), strlen(right[i]));
}

/* size bytes of a head that ends exactly there (or never, when whole is false) */
static int sized(size_t size, bool whole)
{
	static char text[HTTP_HEAD_MAX + 64];
	struct http_head h;
	size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nA: ");

	memset(text + n, 'x', size - n);
	if (whole)
		memcpy(text + size - 4, "\r\n\r\n", 4);
	return http_read_request(text, size, &h);
}

static void keeps_its_limits(void **state)
{
	char text[HTTP_HEADERS_MAX * 8 + 64];
	struct http_head h;
	size_t n;

	assert_int_equal(sized(HTTP_HEAD_MAX, true), HTTP_HEAD_MAX);
	assert_int_equal(sized(HTTP_HEAD_MAX + 1, true), -E2BIG);
	assert_int_equal(sized(HTTP_HEAD_MAX - 1, false), 0);
	assert_int_equal(sized(HTTP_HEAD_MAX, false), -E2BIG);
	for (int extra = 0; extra < 2; extra++) {
		n = (size_t)sprintf(text, "GET / HTTP/1.1\r\n");
		for (int i = 0; i < HTTP_HEADERS_MAX + extra; i++)
			n += (size_t)sprintf(text + n, "A: b\r\n");
		sprintf(text + n, "\r\n");
		if (extra)
			assert_int_equal(request(text, &h), -E2BIG);
		else
			assert_int_equal(request(text, &h), n + 2);
	}
}

static int response(const char *text, struct http_head *h)
{
	return http_read_response(text, strlen(text), h);
}

static void reads_an_answer(void **state)
{
	struct http_head h;

	assert_int_equal(response("HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n", &h), 42);
	assert_int_equal(h.status, 101);
	assert_true(response("HTTP/1.0 404\r\n\r\n", &h) > 0);
	assert_int_equal(h.status, 404);
	assert_int_equal(response("HTTP/1.1 20 OK\r\n\r\n", &h), -EPROTO);
	assert_int_equal(response("HTTP/1.1 2000\r\n\r\n", &h), -EPROTO);
	assert_int_equal(response("HTTP/1.1 099 A\r\n\r\n", &h), -EPROTO);
	assert_int_equal(response("HTTP/1.1  200 OK\r\n\r\n", &h), -EPROTO);
	assert_int_equal(response("ICY 200 OK\r\n\r\n", &h), -EPROTO);
}

static void finds_headers_and_tokens(void **state)
{
	struct http_head h;
	size_t count;

	request("GET / HTTP/1.1\r\nConnection: keep-alive ,\tUpgrade\r\nA: 1\r\na: 2\r\nB: "
		"xupgrade\r\nConnection: Z\r\n\r\n",
		&h);
	assert_null(http_header(&h, "A", &count));
	assert_int_equal(count, 2);
	assert_null(http_header(&h, "None", &count));
	assert_int_equal(count, 0);
	assert_true(http_has_token(&h, "connection", "upgrade"));
	assert_true(http_has_token(&h, "connection", "KEEP-ALIVE"));
	assert_true(http_has_token(&h, "connection", "z"));
	assert_false(http_has_token(&h, "connection", "keep"));
	assert_false(http_has_token(&h, "b", "upgrade"));
}

static long long length_of(const char *lines)
{
	AUTOFREE char *text = xasprintf("POST / HTTP/1.1\r\n%s\r\n", lines);
	struct http_head h;

	assert_true(request(text, &h) > 0);
	return http_content_length(&h);
}

static void reads_lengths(void **state)
{
	assert_int_equal(length_of(""), -1);
	assert_int_equal(length_of("Content-Length: 0\r\n"), 0);
	assert_int_equal(length_of("Content-Length: 123456789012345678\r\n"), 123456789012345678LL);
	assert_int_equal(length_of("Content-Length: 1234567890123456789\r\n"), -2);
	assert_int_equal(length_of("Content-Length: \r\n"), -2);
	assert_int_equal(length_of("Content-Length: +1\r\n"), -2);
	assert_int_equal(length_of("Content-Length: 1 1\r\n"), -2);
	assert_int_equal(length_of("Content-Length: 0x1\r\n"), -2);
	assert_int_equal(length_of("Content-Length: 1\r\nContent-Length: 1\r\n"), -2);
	assert_int_equal(length_of("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), -2);
	assert_int_equal(length_of("Transfer-Encoding: chunked\r\n"), -1);
}

static int query(const char *target, char out[8])
{
	struct http_text t = {target, strlen(target)};

	strcpy(out, "unset");
	return http_query(&t, "a", out, 8);
}

static void reads_queries(void **state)
{
	char v[8];

	assert_int_equal(query("/x", v), 0);
	assert_int_equal(query("/a=1", v), 0);
	assert_int_equal(query("/x?", v), 0);
	assert_int_equal(query("/x?aa=1&b=a=2", v), 0);
	assert_int_equal(query("/x?b=1&a=%41+%2b", v), 1);
	assert_string_equal(v, "A +");
	assert_int_equal(query("/x?a", v), 1);
	assert_string_equal(v, "");
	assert_int_equal(query("/x?a=&b", v), 1);
	assert_int_equal(query("/x?a=1234567", v), 1);
	assert_true(query("/x?a=12345678", v) < 0);
	assert_true(query("/x?a=1&a=1", v) < 0);
	assert_true(query("/x?a=%4", v) < 0);
	assert_true(query("/x?a=%", v) < 0);
	assert_true(query("/x?a=%zz", v) < 0);
	assert_true(query("/x?a=%00", v) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(reads_a_request),
		cmocka_unit_test(waits_for_the_rest), cmocka_unit_test(refuses),
		cmocka_unit_test(takes_what_is_rare), cmocka_unit_test(keeps_its_limits),
		cmocka_unit_test(reads_an_answer), cmocka_unit_test(finds_headers_and_tokens),
		cmocka_unit_test(reads_lengths), cmocka_unit_test(reads_queries)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
