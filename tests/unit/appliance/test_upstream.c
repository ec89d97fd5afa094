/* What berth-policy is told of the way out, and the file with the proxy's credentials. */
#include "scratch.h"

#include "json.h"
#include "upstream.h"

#include <sys/stat.h>

static struct config config_of(const char *text)
{
	AUTOFREE char *path = xasprintf("%s/berth.conf", scratch_path);
	struct config c;

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
	assert_int_equal(config_load(scratch_path, &c, NULL), 0);
	return c;
}

static void put_secret(const char *text, mode_t mode)
{
	AUTOFREE char *path = xasprintf("%s/secret", scratch_path);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_nothing(void **state)
{
	struct config c = config_of("");
	cJSON *o = upstream_settings(&c, scratch_path, NULL);

	assert_int_equal(cJSON_GetArraySize(json_get(o, "resolvers")), 0);
	assert_null(json_get(o, "proxy"));
	cJSON_Delete(o);
}

#define PROXY                                                                 \
	"[policy]\nresolvers = 9.9.9.9 [2001:db8::1]:5353\nupstream_proxy = " \
	"socks5://Proxy.Example:1080\nupstream_proxy_auth_file = secret\n"

static void test_proxy(void **state)
{
	struct config c = config_of(PROXY);
	const cJSON *proxy;
	cJSON *o;

	put_secret("joe:a:b c\n", 0600);
	o = upstream_settings(&c, scratch_path, NULL);
	proxy = json_get(o, "proxy");
	assert_int_equal(cJSON_GetArraySize(json_get(o, "resolvers")), 2);
	assert_string_equal(json_str(proxy, "kind", ""), "socks5");
	assert_string_equal(json_str(proxy, "host", ""), "proxy.example");
	assert_int_equal(json_int(proxy, "port", 0), 1080);
	assert_false(json_bool(proxy, "names", true));
	assert_string_equal(json_str(proxy, "user", ""), "joe");
	assert_string_equal(json_str(proxy, "password", ""), "a:b c");
	cJSON_Delete(o);
}

static void refused(const char *said)
{
	struct config c = config_of(PROXY);
	struct err err;

	assert_null(upstream_settings(&c, scratch_path, &err));
	if (!strstr(err.msg, said) || strstr(err.msg, "joe"))
		fail_msg("%s", err.msg);
}

static void test_secret_refused(void **state)
{
	AUTOFREE char *path = xasprintf("%s/secret", scratch_path);
	AUTOFREE char *far = xasprintf("%s/far", scratch_path);
	char too_long[700];

	unlink(path);
	refused("cannot open");
	put_secret("joe:pw", 0640);
	refused("may be read by others (mode 0640)");
	put_secret("joe:pw", 0604);
	refused("may be read by others");
	put_secret("joe", 0600);
	refused("user:password");
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = 0;
	too_long[3] = ':';
	put_secret(too_long, 0600);
	refused("too long");
	too_long[300] = 0;
	put_secret(too_long, 0600);
	refused("at most 255 bytes");
	assert_int_equal(rename(path, far), 0);
	assert_int_equal(symlink("far", path), 0);
	refused("cannot open");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_secret_refused),
	};
	int failed;

	scratch_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_end();
	return failed;
}
