/* util, err and paths: numbers, names, files whole or not at all, errors that say what, why and the
 * way out. */
#include "err.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void decimal_numbers(void **state)
{
	static const char *const wrong[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3",
		"18446744073709551616", "99999999999999999999999", "101", "9"};
	uint64_t v = 7;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(parse_u64(wrong[i], 10, 100, &v));
	assert_false(parse_u64(NULL, 0, 1, &v));
	assert_int_equal(v, 7);
	assert_true(parse_u64("0010", 10, 100, &v));
	assert_int_equal(v, 10);
	assert_true(parse_u64("18446744073709551615", 0, UINT64_MAX, &v));
	assert_true(v == UINT64_MAX);
}

static void hexadecimal(void **state)
{
	uint8_t raw[4] = {0x00, 0x7f, 0xa5, 0xff}, back[4];
	char text[9];

	hex_encode(raw, sizeof(raw), text);
	assert_string_equal(text, "007fa5ff");
	assert_true(hex_decode("007FA5fF", back, sizeof(back)));
	assert_memory_equal(raw, back, sizeof(raw));
	assert_false(hex_decode("007fa5f", back, sizeof(back)));
	assert_false(hex_decode("007fa5fff0", back, sizeof(back)));
	assert_false(hex_decode("007fa5fg", back, sizeof(back)));
	assert_false(hex_decode("007fa5f@", back, sizeof(back)));
}

static void agent_names(void **state)
{
	static const char *const good[] = {"a", "0", "demo", "a-", "a--b", "9z"};
	static const char *const wrong[] = {
		"", "-a", "A", "a_b", "a.b", "a/b", "..", "a b", "ä", "a\n"};
	char longest[65];
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(agent_name_check(good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(agent_name_valid(wrong[i]));
	memset(longest, 'a', 64);
	longest[64] = 0;
	assert_false(agent_name_valid(longest));
	assert_true(agent_name_valid(longest + 1));
	assert_true(agent_name_check("No", &err) < 0);
	assert_string_equal(err.type, "invalid-name");
	assert_int_equal(err.status, 400);
	assert_true(err.hint[0] != 0);
}

static void identifiers_differ(void **state)
{
	char a[64], b[64];

	make_id("ag_", a);
	make_id("ag_", b);
	assert_int_equal(strlen(a), 19);
	assert_true(starts_with(a, "ag_"));
	assert_string_not_equal(a, b);
	assert_int_equal(strspn(a + 3, "abcdefghijklmnopqrstuvwxyz234567"), 16);
}

static void times(void **state)
{
	char text[32];

	format_time(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	format_time(1791892799987654321, text);
	assert_string_equal(text, "2026-10-13T11:59:59.987Z");
}

static void errors_carry_everything(void **state)
{
	struct err err;

	errno = ENOSPC;
	assert_int_equal(err_sys(&err, "cannot write %s", "x"), -ENOSPC);
	assert_string_equal(err.msg, "cannot write x: No space left on device");
	assert_string_equal(err.type, "internal");
	assert_int_equal(err.status, 500);
	assert_int_equal(err_type(&err, 507, "disk-full"), -ENOSPC);
	assert_int_equal(err_hint(&err, "free %d GiB", 3), -ENOSPC);
	assert_int_equal(err_context(&err, "agent '%s'", "demo"), -ENOSPC);
	assert_string_equal(err.msg, "agent 'demo': cannot write x: No space left on device");
	assert_string_equal(err.type, "disk-full");
	assert_string_equal(err.hint, "free 3 GiB");
}

static void errors_are_bounded(void **state)
{
	struct err err;
	char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(err_set(&err, EINVAL, "%s", text), -EINVAL);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	err_context(&err, "%s", text);
	assert_true(strlen(err.msg) < sizeof(err.msg));
	err_hint(&err, "%s", text);
	err_type(&err, 400, text);
	assert_true(strlen(err.hint) < sizeof(err.hint));
	assert_true(strlen(err.type) < sizeof(err.type));
	/* nobody who does not care is hurt, and nobody can return success by mistake */
	assert_true(err_set(NULL, 0, "%s", text) < 0);
	errno = 0;
	assert_true(err_sys(NULL, "x") < 0);
	assert_true(err_context(NULL, "x") < 0);
	assert_true(err_type(NULL, 400, "x") < 0);
}

/* A scratch folder of one test; removed at its end. */
static int scratch(void **state)
{
	char *dir = xasprintf("%s/berth-unit.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");

	*state = dir;
	return mkdtemp(dir) ? 0 : -1;
}

static int scrap(void **state)
{
	int r = remove_tree(*state, NULL);

	free(*state);
	return r;
}

static void files_whole_or_not_at_all(void **state)
{
	AUTOFREE char *path = path_in(*state, "%s", "file"),
		      *deep = path_in(*state, "no/such/file");
	AUTOFREE char *data = NULL, *left = xasprintf("%s.tmp%d", path, (int)getpid());
	struct err err;
	struct stat st;
	size_t n;

	assert_int_equal(file_write_atomic(path, "a\0b", 3, 0600, &err), 0);
	assert_int_equal(file_write_atomic(path, "hello", 5, 0640, &err), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 5, &data, &n, &err), 0);
	assert_int_equal(n, 5);
	assert_string_equal(data, "hello");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(file_write_atomic(deep, "x", 1, 0600, &err), -ENOENT);
}

static void reading_is_bounded(void **state)
{
	AUTOFREE char *path = path_in(*state, "file");
	AUTOFREE char *data = NULL;
	AUTOFREE char *big = xcalloc(1, 20000);
	struct err err;
	size_t n;

	assert_int_equal(file_write_atomic(path, big, 20000, 0600, &err), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 19999, &data, &n, &err), -EFBIG);
	assert_null(data);
	assert_int_equal(file_read(AT_FDCWD, path, 20000, &data, &n, &err), 0);
	assert_int_equal(n, 20000);
	/* a file that never ends is refused too */
	assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 100000, &big, &n, &err), -EFBIG);
}

static void removing_follows_no_links(void **state)
{
	AUTOFREE char *outside = path_in(*state, "outside"), *tree = path_in(*state, "tree");
	AUTOFREE char *sub = path_in(*state, "tree/sub"), *link = path_in(*state, "tree/sub/link");
	AUTOFREE char *kept = path_in(*state, "outside/kept");
	struct err err;

	assert_int_equal(make_dir(outside, 0700, &err), 0);
	assert_int_equal(file_write_atomic(kept, "x", 1, 0600, &err), 0);
	assert_int_equal(make_dir(tree, 0700, &err), 0);
	assert_int_equal(make_dir(tree, 0700, &err), 0);
	assert_int_equal(make_dir(sub, 0700, &err), 0);
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(remove_tree(tree, &err), 0);
	assert_int_equal(access(tree, F_OK), -1);
	assert_int_equal(access(kept, F_OK), 0);
	assert_int_equal(remove_tree(tree, &err), 0);
}

static void state_folder(void **state)
{
	AUTOFREE char *cwd = getcwd(NULL, 0);
	AUTOFREE char *wanted = xasprintf("%s/here", cwd);
	char *s;

	setenv("BERTH_STATE", "/srv/berth", 1);
	s = paths_default_state();
	assert_string_equal(s, "/srv/berth");
	free(s);
	setenv("BERTH_STATE", "here", 1);
	s = paths_default_state();
	assert_string_equal(s, wanted);
	free(s);
	s = path_in("/state", "agents/%s", "ag_1");
	assert_string_equal(s, "/state/agents/ag_1");
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decimal_numbers),
		cmocka_unit_test(hexadecimal),
		cmocka_unit_test(agent_names),
		cmocka_unit_test(identifiers_differ),
		cmocka_unit_test(times),
		cmocka_unit_test(errors_carry_everything),
		cmocka_unit_test(errors_are_bounded),
		cmocka_unit_test_setup_teardown(files_whole_or_not_at_all, scratch, scrap),
		cmocka_unit_test_setup_teardown(reading_is_bounded, scratch, scrap),
		cmocka_unit_test_setup_teardown(removing_follows_no_links, scratch, scrap),
		cmocka_unit_test(state_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
