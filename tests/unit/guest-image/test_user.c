/* Users and groups as the guest's own files name them. */
#include "user.h"
#include "util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char folder[] = "/tmp/berth-user-XXXXXX";

static void put(const char *name, const char *text)
{
	AUTOFREE char *path = xasprintf("%s/%s", folder, name);
	struct err err;

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, &err), 0);
}

static void found(void **state)
{
	struct user u;
	struct err err;

	put("passwd", "root:x:0:0:root:/root:/bin/bash\nbroken "
		      "line\nagent:x:1000:1001:berth:/home/agent:/bin/sh\n"
		      "agents:x:7:7::/x:/y\n");
	put("group", "root:x:0:\nagent:x:1001:agent\nvideo:x:44:other,agent\naudio:x:29:"
		     "agents\nsudo:x:27:agent\n");
	assert_int_equal(user_find(folder, "agent", &u, &err), 0);
	assert_int_equal(u.uid, 1000);
	assert_int_equal(u.gid, 1001);
	assert_string_equal(u.home, "/home/agent");
	assert_string_equal(u.shell, "/bin/sh");
	assert_int_equal(u.n_groups, 3);
	assert_int_equal(u.groups[0], 1001);
	assert_int_equal(u.groups[1], 44);
	assert_int_equal(u.groups[2], 27);
	assert_int_equal(user_find(folder, "root", &u, &err), 0);
	assert_int_equal(u.n_groups, 1);
}

static void not_found(void **state)
{
	struct user u;
	struct err err;

	assert_int_equal(user_find(folder, "nobody", &u, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "'nobody'"));
	assert_int_equal(user_find(folder, "", &u, &err), -ENOENT);
	assert_true(user_find("/no/such/folder", "root", &u, &err) < 0);
}

static void too_long(void **state)
{
	char line[600];
	struct user u;
	struct err err;

	memset(line, 'h', sizeof(line));
	memcpy(line, "long:x:1:1::/", 13);
	memcpy(line + sizeof(line) - 10, ":/bin/sh\n", 10);
	put("passwd", line);
	assert_int_equal(user_find(folder, "long", &u, &err), -ENAMETOOLONG);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
	return remove_tree(folder, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found), cmocka_unit_test(not_found), cmocka_unit_test(too_long)};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
