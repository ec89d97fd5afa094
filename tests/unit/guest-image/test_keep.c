/* The address of Chromium's own endpoint, found in what it says of itself. */
#include "keep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static int find(const char *answer, char *ret, size_t room)
{
	return keep_find_path(answer, strlen(answer), ret, room);
}

static void test_found(void **state)
{
	char path[64];

	assert_int_equal(find("HTTP/1.1 200 OK\r\n\r\n{\n \"webSocketDebuggerUrl\": "
			      "\"ws://127.0.0.1/devtools/browser/12-ab\"\n}",
				 path, sizeof(path)),
		0);
	assert_string_equal(path, "/devtools/browser/12-ab");
}

static void test_not_whole(void **state)
{
	char path[64], tight[20];

	assert_int_equal(find("", path, sizeof(path)), -1);
	assert_int_equal(find("{\"Browser\": \"x\"}", path, sizeof(path)), -1);
	assert_int_equal(find("ws://127.0.0.1/devtools/browser/12", path, sizeof(path)), -1);
	assert_int_equal(find("/devtools/browser/12-ab\"", tight, sizeof(tight)), -1);
}

static void test_nothing_gets_into_the_request(void **state)
{
	char path[64];

	assert_int_equal(find("/devtools/browser/1\r\nX: y\"", path, sizeof(path)), -1);
	assert_int_equal(find("/devtools/browser/1 HTTP/1.0\"", path, sizeof(path)), -1);
	assert_int_equal(find("/devtools/browser/\x80\"", path, sizeof(path)), -1);
}

static void test_usage(void **state)
{
	char x[] = "x", above[] = "65536";
	char *none[] = {NULL}, *word[] = {x, NULL}, *large[] = {above, NULL};

	assert_int_equal(keep_main(0, none), 2);
	assert_int_equal(keep_main(1, word), 2);
	assert_int_equal(keep_main(1, large), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_not_whole),
		cmocka_unit_test(test_nothing_gets_into_the_request),
		cmocka_unit_test(test_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
