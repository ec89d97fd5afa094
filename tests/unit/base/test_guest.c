/* The guest channel's encoding: what is put is got, and nothing that is almost right is taken. */
#include "guest.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void hello(void **state)
{
	uint8_t wire[GUEST_HELLO_LEN], version, value;

	guest_put_hello(wire, GUEST_EXEC);
	assert_memory_equal(wire, "BRTH\1\2\0\0", 8);
	assert_true(guest_get_hello(wire, &version, &value));
	assert_int_equal(version, GUEST_VERSION);
	assert_int_equal(value, GUEST_EXEC);
	for (int i = 0; i < 8; i++) {
		uint8_t bad[GUEST_HELLO_LEN];

		memcpy(bad, wire, 8);
		bad[i] ^= 0x40;
		assert_int_equal(guest_get_hello(bad, &version, &value), i == 4 || i == 5);
	}
}

static void header(void **state)
{
	uint8_t wire[GUEST_HEADER_LEN], type;
	uint32_t len;

	guest_put_header(wire, GUEST_STDOUT, GUEST_FRAME_MAX);
	assert_memory_equal(wire, "\0\0\1\0\x92\0\0\0", 8);
	assert_true(guest_get_header(wire, &type, &len));
	assert_int_equal(type, GUEST_STDOUT);
	assert_int_equal(len, GUEST_FRAME_MAX);
	guest_put_header(wire, GUEST_STDOUT, GUEST_FRAME_MAX + 1);
	assert_false(guest_get_header(wire, &type, &len));
	guest_put_header(wire, GUEST_STDOUT, 1);
	wire[7] = 1;
	assert_false(guest_get_header(wire, &type, &len));
}

/* Every length but the right one is refused. */
#define ONLY_WHOLE(get, b, v)                                  \
	do {                                                   \
		assert_true(get((b)->data, (b)->len, (v)));    \
		for (size_t n_ = 0; n_ < (b)->len; n_++)       \
			assert_false(get((b)->data, n_, (v))); \
		buf_add_u8((b), 0);                            \
		assert_false(get((b)->data, (b)->len, (v)));   \
		(b)->len--;                                    \
	} while (0)

static void config(void **state)
{
	struct guest_config v = {.realtime_ns = -5,
				    .flags = GUEST_CONFIG_BROWSER,
				    .view_width = 1280,
				    .view_height = 800},
			    w;
	struct buf b;

	memset(v.entropy, 0xa5, sizeof(v.entropy));
	memset(v.machine_id, 0x5a, sizeof(v.machine_id));
	strcpy(v.hostname, "demo");
	buf_init(&b, GUEST_FRAME_MAX);
	assert_true(guest_put_config(&b, &v));
	assert_int_equal(b.len, GUEST_CONFIG_LEN);
	ONLY_WHOLE(guest_get_config, &b, &w);
	assert_true(guest_get_config(b.data, b.len, &w));
	assert_true(w.realtime_ns == -5);
	assert_string_equal(w.hostname, "demo");
	assert_int_equal(w.flags, GUEST_CONFIG_BROWSER);
	assert_int_equal(w.view_height, 800);
	assert_memory_equal(w.entropy, v.entropy, sizeof(v.entropy));
	assert_memory_equal(w.machine_id, v.machine_id, sizeof(v.machine_id));
	memset(b.data + 88, 'x', 64); /* a host name without an end */
	assert_false(guest_get_config(b.data, b.len, &w));
	buf_done(&b);
}

static void ready_pong_browser(void **state)
{
	struct guest_ready ready = {.init_version = 1,
				   .kernel_ms = 1200,
				   .init_ms = 40,
				   .fresh = 1,
				   .kernel = "6.12"},
			   r2;
	struct guest_pong pong = {.cookie = ~0ull,
				  .uptime_ms = 3,
				  .disk_total_kib = 8,
				  .browser_state = GUEST_BROWSER_GAVE_UP},
			  p2;
	struct guest_browser browser = {.state = GUEST_BROWSER_DOWN, .restarts = 9, .signal = 11},
			     b2;
	struct buf b;

	buf_init(&b, 4096);
	assert_true(guest_put_ready(&b, &ready));
	assert_int_equal(b.len, GUEST_READY_LEN);
	ONLY_WHOLE(guest_get_ready, &b, &r2);
	b.len = 0;
	assert_true(guest_put_pong(&b, &pong));
	assert_int_equal(b.len, GUEST_PONG_LEN);
	ONLY_WHOLE(guest_get_pong, &b, &p2);
	assert_true(guest_get_pong(b.data, b.len, &p2));
	assert_true(p2.cookie == ~0ull && p2.disk_total_kib == 8);
	b.data[40] = GUEST_BROWSER_GAVE_UP + 1;
	assert_false(guest_get_pong(b.data, b.len, &p2));
	b.len = 0;
	assert_true(guest_put_browser(&b, &browser));
	assert_int_equal(b.len, GUEST_BROWSER_LEN);
	ONLY_WHOLE(guest_get_browser, &b, &b2);
	b.data[0] = GUEST_BROWSER_GAVE_UP + 1;
	assert_false(guest_get_browser(b.data, b.len, &b2));
	buf_done(&b);
}

static void exec(void **state)
{
	struct guest_exec v = {.flags = GUEST_EXEC_TTY,
				  .rows = 24,
				  .columns = 80,
				  .argc = 2,
				  .envc = 1,
				  .user = "",
				  .cwd = "/tmp"},
			  w;
	struct buf b;

	v.argv[0] = "echo";
	v.argv[1] = "";
	v.env[0] = "A=b=c";
	buf_init(&b, GUEST_FRAME_MAX);
	assert_true(guest_put_exec(&b, &v));
	ONLY_WHOLE(guest_get_exec, &b, &w);
	assert_true(guest_get_exec(b.data, b.len, &w));
	assert_int_equal(w.argc, 2);
	assert_string_equal(w.argv[0], "echo");
	assert_string_equal(w.argv[1], "");
	assert_null(w.argv[2]);
	assert_string_equal(w.env[0], "A=b=c");
	assert_null(w.env[1]);
	assert_string_equal(w.cwd, "/tmp");
	buf_done(&b);
}

static void exec_limits(void **state)
{
	struct guest_exec v = {.argc = 1, .envc = 1, .user = "agent", .cwd = ""}, w;
	struct buf b;

	v.argv[0] = "x";
	v.env[0] = "novalue";
	buf_init(&b, GUEST_FRAME_MAX);
	assert_true(guest_put_exec(&b, &v));
	assert_false(guest_get_exec(b.data, b.len, &w)); /* an environment entry without '=' */
	b.data[8] = b.data[9] = 0;
	assert_false(guest_get_exec(b.data, b.len, &w)); /* no command */
	b.data[8] = 0xff, b.data[9] = 0xff;
	assert_false(guest_get_exec(b.data, b.len, &w)); /* more arguments than the table holds */
	buf_done(&b);
	buf_init(&b, 8);
	assert_false(guest_put_exec(&b, &v)); /* does not fit: said, not cut */
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello),
		cmocka_unit_test(header),
		cmocka_unit_test(config),
		cmocka_unit_test(ready_pong_browser),
		cmocka_unit_test(exec),
		cmocka_unit_test(exec_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
