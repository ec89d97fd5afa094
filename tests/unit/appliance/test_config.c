/* berth.conf: defaults, values, and what is refused. */
#include "scratch.h"

#include "config.h"

#include <fcntl.h>

static void write_conf(const char *text)
{
	AUTOFREE char *path = xasprintf("%s/berth.conf", scratch_path);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void test_defaults(void **state)
{
	struct config c;

	assert_int_equal(config_load(scratch_path, &c, NULL), 0);
	assert_string_equal(c.listen, "127.0.0.1:7900");
	assert_int_equal(c.memory_mib, 1024);
	assert_int_equal(c.cpus, 2);
	assert_int_equal(c.disk_gib, 8);
	assert_string_equal(c.on_crash, "restart");
	assert_string_equal(c.hosts[0], "");
}

static void test_values(void **state)
{
	struct config c;

	write_conf("[gateway]\nlisten = [::1]:8000\nhosts = a.example, "
		   "b.example\n[agent]\nmemory=2048\non_crash = stop\n");
	assert_int_equal(config_load(scratch_path, &c, NULL), 0);
	assert_string_equal(c.listen, "[::1]:8000");
	assert_string_equal(c.hosts[0], "a.example");
	assert_string_equal(c.hosts[1], "b.example");
	assert_string_equal(c.hosts[2], "");
	assert_int_equal(c.memory_mib, 2048);
	assert_string_equal(c.on_crash, "stop");
}

static void test_refused(void **state)
{
	static const char *const wrong[][2] = {
		{"[agent]\nmemory = 255\n", "line 2"},
		{"[agent]\nmemory = 65537\n", "65536"},
		{"[agent]\nmemory = many\n", "number"},
		{"\n[agent]\ncolour = red\n", "line 3"},
		{"[gateway]\nlisten = 7900\n", "ADDRESS:PORT"},
		{"[gateway]\nlisten = 127.0.0.1:70000\n", "ADDRESS:PORT"},
		{"[agent]\non_crash = explode\n", "restart or stop"},
		{"[agent]\nimage = ../../etc\n", "16 hex digits"},
		{"[agent]\nimage = 0123456789abcdeg\n", "16 hex digits"},
	};
	struct config c;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		write_conf(wrong[i][0]);
		assert_true(config_load(scratch_path, &c, &err) < 0);
		assert_non_null(strstr(err.msg, wrong[i][1]));
		assert_non_null(strstr(err.msg, "berth.conf"));
	}
}

/* What config_help prints is a berth.conf that means the defaults. */
static void test_help_is_a_config(void **state)
{
	AUTOFREE char *path = xasprintf("%s/berth.conf", scratch_path);
	struct config by_help, plain;
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	config_help(f);
	fclose(f);
	config_init(&plain);
	assert_int_equal(config_load(scratch_path, &by_help, NULL), 0);
	assert_memory_equal(&plain, &by_help, sizeof(plain));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_help_is_a_config),
	};
	int failed;

	scratch_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_end();
	return failed;
}
