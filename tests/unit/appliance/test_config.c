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
	assert_int_equal(c.log_pictures, 1);
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
		{"[policy]\nresolvers = dns.example\n", "'resolvers': 'dns.example' is not"},
		{"[policy]\nresolvers = 9.9.9.9 8.8.8.8 1.1.1.1 8.8.4.4\n", "at most 3"},
		{"[policy]\nupstream_proxy = proxy.example:3128\n", "http://HOST:PORT"},
		{"[policy]\nupstream_proxy = https://proxy.example:3128\n", "http://HOST:PORT"},
		{"[policy]\nupstream_proxy = http://proxy.example\n", "http://HOST:PORT"},
		{"[policy]\nupstream_proxy = http://proxy.example:3128/\n", "http://HOST:PORT"},
		{"[policy]\nupstream_proxy = http://joe:pw@proxy.example:1\n", "auth_file"},
		{"[policy]\nupstream_proxy = http://a..b:1\n", "neither"},
		{"[policy]\nupstream_proxy = socks5://[::1]:1080\n", "neither"},
		{"[policy]\nprivate_networks = inner\n", "'private_networks': 'inner' is not"},
		{"[policy]\nprivate_networks = 10.1.0.0/33\n", "'private_networks'"},
		{"[policy]\nprivate_networks = 10.1.0.0/16 fd00::/8\n", "'private_networks'"},
		{"[policy]\nprivate_networks = 10.1.2.3/16\n",
			"'private_networks': 10.1.2.3/16 has bits beyond its prefix"},
		{"[policy]\nprivate_networks = 10.1.0.0/16\n  10.2.0.0/16\n", "given twice"},
		{"[agent]\ncpus = 1\ncpus = 2\n", "'cpus' is given twice"},
		{"[policy]\nprivate_networks = 0.0.0.0/0\n", "'private_networks'"},
		{"[policy]\nprivate_networks = 8.0.0.0/5\n", "wider than a /8"},
		{"[policy]\nprivate_networks = 127.0.0.1\n", "no agent can reach 127.0.0.1"},
		{"[policy]\nprivate_networks = 224.0.0.0/8\n", "'private_networks'"},
		{"[policy]\nprivate_networks = 10.0.0.0/8000000000000000\n", "'private_networks'"},
		{"[policy]\nprivate_networks = 10.0.0.0/\n", "'private_networks'"},
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

static void test_private_networks(void **state)
{
	char text[CONFIG_LIST_MAX * 20];
	struct config c;

	config_init(&c);
	config_private_networks(&c, text);
	assert_string_equal(text, "");
	write_conf("[policy]\nprivate_networks = 10.1.0.0/16, 192.168.7.7  172.16.0.0/12\n");
	assert_int_equal(config_load(scratch_path, &c, NULL), 0);
	config_private_networks(&c, text);
	assert_string_equal(text, "10.1.0.0/16,192.168.7.7,172.16.0.0/12");
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
		cmocka_unit_test(test_private_networks),
		cmocka_unit_test(test_help_is_a_config),
	};
	int failed;

	scratch_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_end();
	return failed;
}
