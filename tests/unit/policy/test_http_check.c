/* The relay's reading of plain HTTP: what passes is what was checked, however it is cut into
 * pieces. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http_check.h"
#include "util.h"

#define GET "GET / HTTP/1.1\r\nHost: a.example\r\n"
#define OTHER "GET /x HTTP/1.1\r\nHost: b.example\r\n\r\n"
#define CHUNKED GET "Transfer-Encoding: chunked\r\n\r\n"

/* Feeds the text in pieces of at most `step` bytes; the number of bytes that passed, *ret_result
 * the last result. */
static size_t feed(const char *text, size_t n, size_t step, int *ret_result, struct http_check *c)
{
	size_t have = 0, passed = 0, pass;
	const char *reason = "";

	http_check_init(c, 80);
	do {
		have = MIN(n, have + step);
		*ret_result = http_check_feed(c, text + passed, have - passed, &pass, &reason);
		passed += pass;
	} while (*ret_result == 0 && have < n);
	if (*ret_result < 0)
		assert_true(strlen(reason) > 0);
	return passed;
}

static void passes(const char *text)
{
	for (size_t step = 1; step <= strlen(text); step++) {
		struct http_check c;
		int r;

		assert_int_equal(feed(text, strlen(text), step, &r, &c), strlen(text));
		assert_int_equal(r, 0);
		assert_string_equal(c.name, "a.example");
		http_check_done(&c);
	}
}

/* The first `good` bytes pass, nothing behind them ever does. */
static void stops(const char *text, size_t good)
{
	for (size_t step = 1; step <= strlen(text); step++) {
		struct http_check c;
		size_t n;
		int r;

		n = feed(text, strlen(text), step, &r, &c);
		if (r != -EACCES || n > good)
			fail_msg("%s\nstep %zu: result %d, %zu bytes passed", text, step, r, n);
		http_check_done(&c);
	}
}

static void good_streams(void **state)
{
	passes(GET "\r\n");
	passes(GET "\r\n" GET "\r\n" GET "\r\n");
	passes("GET / HTTP/1.1\r\nhOST:\tA.Example.:80 \r\n\r\n");
	passes("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n");
	passes(GET "Content-Length: 5\r\n\r\nhello" GET "\r\n");
	passes(GET "Content-Length: 36\r\n\r\n" OTHER GET "\r\n");
	passes(CHUNKED "0\r\n\r\n" GET "\r\n");
	passes(CHUNKED "5\r\nhello\r\n00A;x=y\r\n0123456789\r\n0\r\nX: y\r\nZ: 1\r\n\r\n" GET
		       "\r\n");
	passes(CHUNKED "24\r\n" OTHER "\r\n0\r\n\r\n" GET "\r\n");
}

static void bad_first_requests(void **state)
{
	static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: 1.2.3.4\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example:080x\r\n\r\n", GET "Host: a.example\r\n\r\n",
		"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", "GET / HTTP/1.1\nHost: a.example\n\n",
		GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		GET "Content-Length: -1\r\n\r\n", GET "Content-Length: 0x1\r\n\r\n",
		GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		GET "Transfer-Encoding: gzip\r\n\r\n",
		GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		GET "Transfer-Encoding: chunked, identity\r\n\r\n",
		"GET / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n",
		GET "Upgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
		GET "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
		"\r\n\r\n" GET "\r\n", "\x16\x03\x01 "};

	for (size_t i = 0; i < ARRAY_SIZE(bad) - 1; i++)
		stops(bad[i], 0);
}

static void bad_later_requests(void **state)
{
	static const char *const before[] = {
		GET "\r\n", GET "Content-Length: 5\r\n\r\nhello", CHUNKED "1\r\nx\r\n0\r\n\r\n"};
	static const char *const after[] = {OTHER, "GET / HTTP/1.1\r\n\r\n", "hello\r\n\r\n",
		GET "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"};

	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(after); k++) {
			AUTOFREE char *text = xasprintf("%s%s", before[i], after[k]);

			stops(text, strlen(before[i]));
		}
	}
}

static void bad_chunks(void **state)
{
	static const char *const bad[] = {"5\r\nhelloX\r\n", "5\nhello\r\n", "\r\n", "x\r\n",
		"-1\r\n", "0x1\r\n", " 1\r\nx\r\n", "1 \r\nx\r\n", "1000000000000000\r\n",
		"1;a\nb\r\nx\r\n", "0\r\nbad\n\r\n"};
	struct http_check c;
	struct buf b;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTOFREE char *text = xasprintf("%s%s%s", CHUNKED, bad[i], OTHER);

		stops(text, strlen(CHUNKED) + 8);
	}
	buf_init(&b, 100000);
	buf_add_str(&b, CHUNKED "0\r\n");
	for (int i = 0; i < 2000; i++)
		buf_add_str(&b, "a: b\r\n");
	feed(buf_str(&b), b.len, b.len, &r, &c);
	assert_int_equal(r, -EACCES);
	http_check_done(&c);
	buf_done(&b);
}

static int answer_with(struct http_check *c, const char *upgrade, const char *answer, size_t step)
{
	AUTOFREE char *head = xasprintf(GET "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgrade);
	const char *reason;
	size_t pass;
	int r = 0;

	http_check_init(c, 80);
	assert_int_equal(http_check_feed(c, head, strlen(head), &pass, &reason), 0);
	assert_int_equal(pass, strlen(head));
	assert_int_equal(http_check_feed(c, OTHER, strlen(OTHER), &pass, &reason), 0);
	assert_int_equal(pass, 0);
	for (size_t i = 0; i < strlen(answer) && r == 0; i += step)
		r = http_check_answer(c, answer + i, MIN(step, strlen(answer) - i), &reason);
	return r;
}

static void upgrades(void **state)
{
	static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw";
	static const char hints[] =
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

	for (size_t step = 1; step < 60; step++) {
		struct http_check c;
		const char *reason;
		size_t pass;

		assert_int_equal(answer_with(&c, "WebSocket", switching, step), 0);
		assert_int_equal(http_check_feed(&c, OTHER, strlen(OTHER), &pass, &reason), 0);
		assert_int_equal(pass, strlen(OTHER));
		http_check_done(&c);
		assert_int_equal(answer_with(&c, "h2c", switching, step), -EACCES);
		http_check_done(&c);
		assert_int_equal(answer_with(&c, "websocket, h2c", switching, step), -EACCES);
		http_check_done(&c);
		assert_int_equal(answer_with(&c, "websocket", hints, step), 0);
		assert_int_equal(
			http_check_feed(&c, OTHER, strlen(OTHER), &pass, &reason), -EACCES);
		http_check_done(&c);
		assert_int_equal(answer_with(&c, "websocket", "rubbish\r\n\r\n", step), -EACCES);
		http_check_done(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(good_streams),
		cmocka_unit_test(bad_first_requests), cmocka_unit_test(bad_later_requests),
		cmocka_unit_test(bad_chunks), cmocka_unit_test(upgrades)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
