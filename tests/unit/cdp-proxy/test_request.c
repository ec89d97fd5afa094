/* Judging heads, decoding chunked bodies, queues of bytes, lists of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

#include "chunked.h"
#include "files.h"
#include "json.h"
#include "outq.h"
#include "request.h"
#include "util.h"

static char *const hosts[] = {(char[]){"berth.example"}, NULL};
static char *const origins[] = {(char[]){"https://ui.example"}, NULL};

/* 0, or the status of the refusal. */
static int judge(const char *lines, const struct request_rules *rules)
{
	AUTOFREE char *text = xasprintf("GET /p HTTP/1.1\r\n%s\r\n", lines);
	struct request r;
	struct http_head h;
	struct err err;
	int status = 0;

	assert_true(http_read_request(text, strlen(text), &h) > 0);
	if (request_check(&h, rules, &r, &err) < 0)
		status = err.status;
	free(r.path);
	return status;
}

static void judges_hosts_and_origins(void **state)
{
	const struct request_rules rules = {.hosts = hosts, .origins = origins},
				   port = {.loopback_only = true};

	assert_int_equal(judge("Host: 10.0.0.1:80\r\n", &rules), 0);
	assert_int_equal(judge("Host: BERTH.example\r\n", &rules), 0);
	assert_int_equal(judge("Host: xberth.example\r\n", &rules), 403);
	assert_int_equal(judge("Host: [::1]x\r\n", &rules), 403);
	assert_int_equal(judge("Host: 1.2.3.4.5\r\n", &rules), 403);
	assert_int_equal(judge("Host: 010.0.0.1\r\n", &rules), 403);
	assert_int_equal(judge("Host: localhost\r\nOrigin: http://localhost\r\n", &rules), 0);
	assert_int_equal(judge("Host: localhost:1\r\nOrigin: http://localhost\r\n", &rules), 403);
	assert_int_equal(judge("Host: localhost\r\nOrigin: https://ui.example\r\n", &rules), 0);
	assert_int_equal(
		judge("Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\n",
			&rules),
		403);
	assert_int_equal(judge("Host: [::1]:9\r\n", &port), 0);
	assert_int_equal(judge("Host: 127.1.2.3\r\n", &port), 0);
	assert_int_equal(judge("Host: 10.0.0.1\r\n", &port), 403);
	assert_int_equal(judge("Host: localhost\r\nOrigin: http://localhost\r\n", &port), 403);
}

static void judges_upgrades_and_bodies(void **state)
{
	const struct request_rules r = {.hosts = hosts};
#define WS                                                                  \
	"Host: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Version: " \
	"13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

	assert_int_equal(judge(WS "Upgrade: websocket\r\n", &r), 0);
	assert_int_equal(judge(WS "Upgrade: WebSocket\r\n", &r), 0);
	assert_int_equal(judge(WS "Upgrade: h2c\r\n", &r), 400);
	assert_int_equal(judge(WS "Upgrade: websocket, h2c\r\n", &r), 400);
	assert_int_equal(judge(WS "Upgrade: \r\n", &r), 400);
	assert_int_equal(judge(WS "Upgrade: websocket\r\nContent-Length: 1\r\n", &r), 400);
	assert_int_equal(judge("Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n", &r), 501);
	assert_int_equal(judge("Host: localhost\r\nTransfer-Encoding: "
			       "chunked\r\nTransfer-Encoding: chunked\r\n",
				 &r),
		501);
	assert_int_equal(judge("Host: localhost\r\nExpect: 200-ok\r\n", &r), 417);
}

static int token(const char *target, const char *lines, char *out)
{
	AUTOFREE char *text = xasprintf("GET %s HTTP/1.1\r\n%s\r\n", target, lines);
	const char *name;
	struct http_head h;

	assert_true(http_read_request(text, strlen(text), &h) > 0);
	return request_token(&h, out, &name);
}

static void finds_tokens(void **state)
{
	char t[REQUEST_TOKEN_MAX + 1];
	AUTOFREE char *large = xasprintf("Authorization: Bearer %0300d\r\n", 0);
	AUTOFREE char *basic = xasprintf("Authorization: Basic %0400d\r\n", 0);

	assert_int_equal(token("/", "", t), 0);
	assert_int_equal(token("/", "Authorization: bearer abc\r\n", t), 1);
	assert_string_equal(t, "abc");
	assert_int_equal(token("/?token=x", "Authorization: Bearer abc\r\n", t), 1);
	assert_string_equal(t, "abc");
	assert_int_equal(token("/", "Authorization: Basic dTpwOnc=\r\n", t), 1);
	assert_string_equal(t, "p:w");
	assert_int_equal(token("/?api_key=a%2Bb", "", t), 1);
	assert_string_equal(t, "a+b");
	assert_true(token("/", "Authorization: Bearer a b\r\n", t) < 0);
	assert_true(token("/", "Authorization: Bearer\r\n", t) < 0);
	assert_true(token("/", "Authorization: Basic !\r\n", t) < 0);
	assert_true(token("/", "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n", t) < 0);
	assert_true(token("/?token=", "", t) < 0);
	assert_true(token("/", large, t) < 0);
	assert_true(token("/", basic, t) < 0);
}

/* Decodes text given in pieces of `step` bytes. The body in out, or -1. */
static int dechunk(const char *text, size_t n, size_t step, char *out)
{
	struct chunked c = {0};
	size_t pos = 0, len = 0;

	while (pos < n && c.state != CHUNKED_DONE) {
		const uint8_t *p;
		size_t got;
		long used =
			chunked_take(&c, (const uint8_t *)text + pos, MIN(step, n - pos), &p, &got);

		if (used < 0)
			return -1;
		memcpy(out + len, p, got);
		len += got;
		pos += (size_t)used;
	}
	out[len] = '\0';
	return c.state == CHUNKED_DONE ? (int)pos : -2;
}

static void decodes_chunks(void **state)
{
	static const char good[] = "3;a=\"b\"\r\nabc\r\n0a\r\n0123456789\r\n0\r\nA: b\r\n\r\nREST";
	static const char *const wrong[] = {"\r\n", "g\r\n", "-1\r\n", "1\nx\r\n", "1\r\nxy\r\n",
		"1 \r\nx\r\n", "0000000000000001\r\nx", "ffffffffffffffff\r\n", "1;\x01\r\n",
		"0\r\n\rX", "0x1\r\n"};
	char out[64];

	for (size_t step = 1; step < sizeof(good); step++) {
		assert_int_equal(dechunk(good, sizeof(good) - 1, step, out), sizeof(good) - 1 - 4);
		assert_string_equal(out, "abc0123456789");
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(dechunk(wrong[i], strlen(wrong[i]), 1, out), -1);
	assert_int_equal(dechunk("5\r\nab", 5, 5, out), -2);
}

static void queues_bytes_in_order(void **state)
{
	AUTOFREE char *block = xcalloc(1, 100000);
	struct outq q;
	char got[16];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	outq_init(&q, 16);
	outq_add(&q, "ab", 2, 0);
	outq_add(&q, "cd", 2, 0);
	outq_add(&q, "", 0, 5);
	outq_add(&q, "e", 1, 5);
	outq_add(&q, "f", 1, 0);
	assert_int_equal(q.queued, 6);
	assert_int_equal(outq_send(&q, fds[0]), 0);
	assert_int_equal(q.queued, 0);
	assert_int_equal(read(fds[1], got, sizeof(got)), 6);
	assert_memory_equal(got, "abcdef", 6);
	for (int i = 0; i < 20; i++)
		outq_add(&q, block, 100000, 0);
	assert_int_equal(outq_send(&q, fds[0]), 0);
	assert_true(q.queued > 0 && q.queued < 2000000);
	close(fds[1]);
	assert_int_equal(outq_send(&q, fds[0]), -EPIPE);
	outq_done(&q);
	close(fds[0]);
}

static void reads_lists_of_files(void **state)
{
	static const char good[] = "f 0644 5 1700000000.25 a b\0d 0755 0 0 \xff";
	cJSON *o = files_parse_list((const uint8_t *)good, sizeof(good));
	const cJSON *list = json_get(o, "entries");

	assert_int_equal(cJSON_GetArraySize(list), 2);
	assert_string_equal(json_str(cJSON_GetArrayItem(list, 0), "name", ""), "a b");
	assert_true(cJSON_IsNull(json_get(cJSON_GetArrayItem(list, 1), "name")));
	cJSON_Delete(o);
	assert_null(files_parse_list((const uint8_t *)good, sizeof(good) - 1));
	assert_null(files_parse_list((const uint8_t *)"f 0644 5", 9));
	assert_null(files_parse_list((const uint8_t *)"", 1));
}

static void decodes_paths(void **state)
{
	char out[16];

	assert_true(request_decode("a%2Fb%20", 8, out));
	assert_string_equal(out, "a/b ");
	assert_false(request_decode("%00", 3, out));
	assert_false(request_decode("%4", 2, out));
	assert_false(request_decode("%", 1, out));
	assert_false(request_decode("%g0", 3, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(judges_hosts_and_origins),
		cmocka_unit_test(judges_upgrades_and_bodies), cmocka_unit_test(finds_tokens),
		cmocka_unit_test(decodes_chunks), cmocka_unit_test(queues_bytes_in_order),
		cmocka_unit_test(reads_lists_of_files), cmocka_unit_test(decodes_paths)};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
