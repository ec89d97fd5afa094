/* The file helper, as a process of its own with its streams on files. */
#include "file.h"
#include "util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char folder[] = "/tmp/berth-file-XXXXXX";
static char *output;
static size_t output_len;

static char *in(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

/* Runs one verb with `input`; its output is in `output`. The exit status. */
static int run(const char *verb, const char *name, const char *arg, const char *input, size_t n)
{
	AUTOFREE char *path = in(name), *ifile = in(".in"), *ofile = in(".out");
	char *argv[] = {(char *)verb, path, (char *)arg, NULL};
	int status;
	pid_t pid;

	assert_int_equal(file_write_atomic(ifile, input, n, 0600, NULL), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int i = open(ifile, O_RDONLY), o = open(ofile, O_WRONLY | O_CREAT | O_TRUNC, 0600),
		    e = open("/dev/null", O_WRONLY);

		dup2(i, 0);
		dup2(o, 1);
		dup2(e, 2);
		exit(file_main(arg ? 3 : 2, argv));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	free(output);
	output = NULL;
	assert_int_equal(file_read(AT_FDCWD, ofile, 1 << 20, &output, &output_len, NULL), 0);
	return WEXITSTATUS(status);
}

static void put_and_get(void **state)
{
	AUTOFREE char *path = in("a/b/file");
	struct stat st;

	assert_int_equal(run("put", "a/b/file", "640", "a\0b", 3), FILE_DONE);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(run("get", "a/b/file", NULL, "", 0), FILE_DONE);
	assert_int_equal(output_len, 3);
	assert_memory_equal(output, "a\0b", 3);
	/* Again, with another content: the mode stays, and nothing is left beside it. */
	assert_int_equal(run("put", "a/b/file", NULL, "", 0), FILE_DONE);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(run("list", "a/b", NULL, "", 0), FILE_DONE);
	assert_true(starts_with(output, "f 0640 0 "));
	assert_string_equal(output + strlen(output) - 5, " file");
	assert_int_equal(output_len, strlen(output) + 1);
}

static void refusals(void **state)
{
	AUTOFREE char *fifo = in("fifo"), *link = in("link");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink("link", link), 0);
	assert_int_equal(run("get", "none", NULL, "", 0), FILE_NOT_FOUND);
	assert_int_equal(run("get", "a", NULL, "", 0), FILE_IS_FOLDER);
	assert_int_equal(run("put", "a", NULL, "x", 1), FILE_IS_FOLDER);
	assert_int_equal(run("put", "a/", NULL, "x", 1), FILE_IS_FOLDER);
	assert_int_equal(run("put", "a/b/file/c", NULL, "x", 1), FILE_NO_FOLDER);
	assert_int_equal(run("get", "a/b/file/c", NULL, "", 0), FILE_NO_FOLDER);
	assert_int_equal(run("list", "a/b/file", NULL, "", 0), FILE_NO_FOLDER);
	assert_int_equal(run("tar", "a/b/file", NULL, "", 0), FILE_NO_FOLDER);
	assert_int_equal(run("untar", "a/b/file", NULL, "", 0), FILE_NO_FOLDER);
	assert_int_equal(run("rm", "none", NULL, "", 0), FILE_NOT_FOUND);
	assert_int_equal(
		run("get", "fifo", NULL, "", 0), FILE_FAILED); /* and does not wait for a writer */
	assert_int_equal(run("get", "link", NULL, "", 0), FILE_FAILED);
	assert_int_equal(run("put", "x", "999", "x", 1), FILE_FAILED);
	assert_int_equal(run("put", "x", "77777", "x", 1), FILE_FAILED);
	assert_int_equal(run("nonsense", "x", NULL, "", 0), FILE_FAILED);
}

static void put_over_a_link_replaces_it(void **state)
{
	AUTOFREE char *link = in("pointer"), *target = in("target");
	struct stat st;

	assert_int_equal(run("put", "target", NULL, "old", 3), FILE_DONE);
	assert_int_equal(symlink(target, link), 0);
	assert_int_equal(run("put", "pointer", NULL, "new", 3), FILE_DONE);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(run("get", "target", NULL, "", 0), FILE_DONE);
	assert_string_equal(output, "old");
}

static void folders_as_tar(void **state)
{
	AUTOFREE char *tar = NULL;
	size_t n;

	assert_int_equal(run("put", "t/sub/one", "755", "1", 1), FILE_DONE);
	assert_int_equal(run("tar", "t", NULL, "", 0), FILE_DONE);
	tar = steal(&output);
	n = output_len;
	assert_int_equal(run("untar", "u/v", NULL, tar, n), FILE_DONE);
	assert_int_equal(run("get", "u/v/sub/one", NULL, "", 0), FILE_DONE);
	assert_string_equal(output, "1");
	assert_int_equal(run("untar", "u/v", NULL, "rubbish", 7), FILE_FAILED);
	assert_int_equal(run("rm", "t", NULL, "", 0), FILE_DONE);
	assert_int_equal(run("list", "t", NULL, "", 0), FILE_NOT_FOUND);
}

static void full(void **state)
{
	/* The kernel's own full disk. */
	AUTOFREE char *path = in("big");
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *argv[] = {(char *)"get", path, NULL};
		int o = open("/dev/full", O_WRONLY), e = open("/dev/null", O_WRONLY);

		file_write_atomic(path, "x", 1, 0600, NULL);
		dup2(o, 1);
		dup2(e, 2);
		_exit(file_main(2, argv));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), FILE_NO_SPACE);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
	free(output);
	return remove_tree(folder, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(put_and_get),
		cmocka_unit_test(refusals), cmocka_unit_test(put_over_a_link_replaces_it),
		cmocka_unit_test(folders_as_tar), cmocka_unit_test(full)};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
