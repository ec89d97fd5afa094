/* What is said to an upstream proxy, and what is made of its answers, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "proxy.h"
#include "util.h"

static const struct proxy http = {.kind = PROXY_HTTP, .host = "proxy.test", .port = 3128},
			  http_auth = {.kind = PROXY_HTTP,
				  .host = "proxy.test",
				  .port = 3128,
				  .user = "Aladdin",
				  .password = "open sesame"},
			  socks = {.kind = PROXY_SOCKS5, .host = "192.0.2.9", .port = 1080},
			  socks_auth = {.kind = PROXY_SOCKS5,
				  .host = "192.0.2.9",
				  .port = 1080,
				  .user = "u",
				  .password = "pw"};

/* What proxy_feed makes of an answer in pieces of `step`; what is to be sent is gathered in out. */
static int feed(struct proxy_talk *t, const char *data, size_t n, size_t step, struct buf *out,
	struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i += step)
		r = proxy_feed(t, data + i, MIN(step, n - i), out, err);
	return r;
}

struct talk_case {
	const struct proxy *proxy;
	const char *host;
	const char *answer;
	size_t n;
	int result;
	const char *said;
};
#define ANSWER(s) s, sizeof(s) - 1

static const struct talk_case cases[] = {
	{&http, "203.0.113.1", ANSWER("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n"), 1,
		""},
	{&http, "a.test", ANSWER("HTTP/1.0 200 OK\r\n\r\n"), 1, ""},
	{&http, "a.test", ANSWER("HTTP/1.1 200 OK\r\n"), 0, ""},
	{&http, "a.test", ANSWER("HTTP/1.1 200 OK\r\n\r\nx"), -EPROTO, "HTTP proxies"},
	{&http, "a.test", ANSWER("HTTP/1.1 407 No\r\n\r\n"), -EACCES, "wants credentials"},
	{&http_auth, "a.test", ANSWER("HTTP/1.1 407 No\r\n\r\n"), -EACCES, "does not take"},
	{&http, "a.test", ANSWER("HTTP/1.1 403 No\r\n\r\n"), -ECONNREFUSED,
		"proxy.test:3128 does not connect to a.test:443 (403)"},
	{&http, "a.test", ANSWER("HTTP/1.1 502 Bad\r\n\r\nhello"), -ECONNREFUSED, "(502)"},
	{&http, "a.test", ANSWER("SSH-2.0-x\r\n\r\n"), -EPROTO, "HTTP proxies"},
	{&socks, "203.0.113.1", ANSWER("\5\0\5\0\0\1\0\0\0\0\0\0"), -EPROTO, "SOCKS5 proxies"},
	{&socks, "a.test", ANSWER("\5\xff"), -EACCES, "wants credentials"},
	{&socks_auth, "a.test", ANSWER("\5\xff"), -EACCES, "takes no user"},
	{&socks, "a.test", ANSWER("\5\2"), -EPROTO, "SOCKS5 proxies"},
	{&socks, "a.test", ANSWER("\4\0"), -EPROTO, "SOCKS5 proxies"},
};

static void answers(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct talk_case *c = &cases[i];
		struct err err = {0};
		struct proxy_talk t;
		struct buf out;

		buf_init(&out, 2000);
		proxy_begin(&t, c->proxy, c->host, 443, &out);
		assert_int_equal(proxy_feed(&t, c->answer, c->n, &out, &err), c->result);
		if (c->result < 0)
			assert_non_null(strstr(err.msg, c->said));
		proxy_done(&t);
		buf_done(&out);
	}
}

static void http_request(void **state)
{
	struct proxy_talk t;
	struct buf out;

	buf_init(&out, 2000);
	proxy_begin(&t, &http_auth, "203.0.113.1", 8443, &out);
	assert_string_equal(buf_str(&out),
		"CONNECT 203.0.113.1:8443 HTTP/1.1\r\nHost: 203.0.113.1:8443\r\n"
		"Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
	proxy_done(&t);
	buf_done(&out);
}

/* The whole of a SOCKS5 conversation, answers in pieces of every size. */
static void socks_talk(
	const struct proxy *p, const char *host, const char *login, const char *want, size_t n_want)
{
	static const char reply[] = "\5\0\0\3\4name\0\1";

	for (size_t step = 1; step < 12; step++) {
		struct proxy_talk t;
		struct err err;
		struct buf out;

		buf_init(&out, 2000);
		proxy_begin(&t, p, host, 443, &out);
		assert_int_equal(feed(&t, login ? "\5\2" : "\5\0", 2, step, &out, &err), 0);
		if (login)
			assert_int_equal(feed(&t, login, 2, step, &out, &err), 0);
		assert_int_equal(out.len, n_want);
		assert_memory_equal(out.data, want, n_want);
		assert_int_equal(feed(&t, reply, sizeof(reply) - 1, step, &out, &err), 1);
		proxy_done(&t);
		buf_done(&out);
	}
}

static void socks_conversations(void **state)
{
	static const char straight[] = "\5\1\0"
				       "\5\1\0\1\xcb\0\x71\1\1\xbb",
			  named[] = "\5\2\0\2"
				    "\1\1u\2pw"
				    "\5\1\0\3\6a.test\1\xbb";

	socks_talk(&socks, "203.0.113.1", NULL, straight, sizeof(straight) - 1);
	socks_talk(&socks_auth, "a.test", "\1\0", named, sizeof(named) - 1);
}

static int socks_reply(const char *reply, size_t n, struct err *err)
{
	struct proxy_talk t;
	struct buf out;
	int r;

	buf_init(&out, 2000);
	proxy_begin(&t, &socks, "a.test", 443, &out);
	assert_int_equal(proxy_feed(&t, "\5\0", 2, &out, err), 0);
	r = proxy_feed(&t, reply, n, &out, err);
	proxy_done(&t);
	buf_done(&out);
	return r;
}

static void socks_replies(void **state)
{
	struct err err;

	assert_int_equal(socks_reply(ANSWER("\5\0\0\1\0\0\0\0\0\0"), &err), 1);
	assert_int_equal(
		socks_reply(ANSWER("\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), &err), 1);
	assert_int_equal(socks_reply(ANSWER("\5\0\0\1\0\0\0\0\0"), &err), 0);
	assert_int_equal(socks_reply(ANSWER("\5\0\0\1\0\0\0\0\0\0x"), &err), -EPROTO);
	assert_int_equal(socks_reply(ANSWER("\5\0\0\2\0\0\0\0\0\0"), &err), -EPROTO);
	assert_int_equal(socks_reply(ANSWER("\5\2\0\1\0\0\0\0\0\0"), &err), -ECONNREFUSED);
	assert_non_null(strstr(err.msg, "192.0.2.9:1080 does not allow it"));
	assert_int_equal(socks_reply(ANSWER("\5\1\0\1\0\0\0\0\0\0"), &err), -EPROTO);
	assert_int_equal(socks_reply(ANSWER("\5\x2a\0\1\0\0\0\0\0\0"), &err), -EPROTO);
}

static void endless_answers_end(void **state)
{
	static char long_line[PROXY_ANSWER_MAX + 1];
	struct proxy_talk t;
	struct err err;
	struct buf out;

	memset(long_line, 'x', sizeof(long_line));
	buf_init(&out, 2000);
	proxy_begin(&t, &http, "a.test", 443, &out);
	assert_int_equal(proxy_feed(&t, "HTTP/1.1 200 OK\r\nX: ", 20, &out, &err), 0);
	assert_int_equal(feed(&t, long_line, sizeof(long_line), 100, &out, &err), -EPROTO);
	proxy_done(&t);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(http_request),
		cmocka_unit_test(socks_conversations),
		cmocka_unit_test(socks_replies),
		cmocka_unit_test(endless_answers_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
