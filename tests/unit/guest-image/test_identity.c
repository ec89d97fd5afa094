/* /etc/hosts keeps the agent's own lines, and has exactly one of ours. */
#include "identity.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *old, const char *name, const char *want)
{
	AUTOFREE char *got = identity_hosts(old, name);

	assert_string_equal(got, want);
}

static void hosts(void **state)
{
	check("", "one", "127.0.1.1 one\n");
	check("127.0.0.1 localhost\n", "one", "127.0.0.1 localhost\n127.0.1.1 one\n");
	check("127.0.0.1 localhost\n127.0.1.1 old\n10.1.2.3 mine\n", "new",
		"127.0.0.1 localhost\n10.1.2.3 mine\n127.0.1.1 new\n");
	check("127.0.1.1\told\n127.0.1.10 other\n", "new", "127.0.1.10 other\n127.0.1.1 new\n");
	check("1.2.3.4 no-newline", "new", "1.2.3.4 no-newline\n127.0.1.1 new\n");
	check("\n\n# text\n", "", "# text\n");
	check("127.0.0.1 localhost\n127.0.1.1 one\n", "one",
		"127.0.0.1 localhost\n127.0.1.1 one\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(hosts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
