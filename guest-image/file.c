/* `berth-init file VERB PATH [ARG]`: one file operation with the rights of the user it runs as
 * (docs/internals.md). */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "util.h"

#define HOME "/home/agent/"
#define TAR "/usr/bin/tar"
#define BLOCK 65536
#define FEW_BYTES (1u << 20) /* less room than that explains why tar has failed */

static int status_of(int code)
{
	static const struct {
		int code, status;
	} rows[] = {{ENOENT, FILE_NOT_FOUND}, {EACCES, FILE_NOT_PERMITTED},
		{EPERM, FILE_NOT_PERMITTED}, {EROFS, FILE_NOT_PERMITTED}, {EISDIR, FILE_IS_FOLDER},
		{ENOTDIR, FILE_NO_FOLDER}, {ENOSPC, FILE_NO_SPACE}, {EDQUOT, FILE_NO_SPACE},
		{EEXIST, FILE_EXISTS}, {ENOTEMPTY, FILE_EXISTS}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].code == code)
			return rows[i].status;
	return FILE_FAILED;
}

/* One line on stderr; the exit status for that errno. */
static int say(const char *path, int code)
{
	AUTOFREE char *line = xasprintf("%s: %s", path, strerror(code));

	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			*p = '?';
	fprintf(stderr, "%s\n", line);
	return status_of(code);
}

static int pump(int from, int to)
{
	static char block[BLOCK];
	ssize_t n;
	int r;

	while ((n = read(from, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = write_all(to, block, (size_t)n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int do_get(const char *path, const char *arg)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return say(path, errno);
	if (S_ISDIR(st.st_mode))
		return say(path, EISDIR);
	if (!S_ISREG(st.st_mode))
		return say(path, EINVAL);
	r = pump(fd, 1);
	return r < 0 ? say(path, -r) : FILE_DONE;
}

/* Makes the folders above path. 0 or a negative errno. */
static int make_parents(const char *path)
{
	AUTOFREE char *copy = xstrdup(path);

	for (char *p = copy + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST && access(copy, F_OK) < 0)
			return -errno;
		*p = '/';
	}
	return 0;
}

/* Opens a new file beside path: without a name where the file system can do that, else with
 * *temporary. */
static int open_beside(const char *path, char **temporary)
{
	AUTOFREE char *folder = xstrdup(path);
	int fd;

	strrchr(folder, '/')[1] = 0;
	*temporary = xasprintf("%s.berth-put-%d", folder, (int)getpid());
	fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	return open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int publish(int fd, const char *temporary, const char *path)
{
	AUTOFREE char *self = xasprintf("/proc/self/fd/%d", fd);
	struct stat st;

	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0 && linkat(AT_FDCWD, self, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return rename(temporary, path) < 0 ? -errno : 0;
}

static bool mode_of(const char *arg, const char *path, mode_t *ret)
{
	struct stat st;
	char *end;
	unsigned long v;

	*ret = stat(path, &st) == 0 ? st.st_mode & 07777 : 0644;
	if (!arg || !*arg)
		return true;
	v = strtoul(arg, &end, 8);
	*ret = (mode_t)v;
	return !*end && v <= 07777;
}

static int do_put(const char *path, const char *arg)
{
	AUTOFREE char *temporary = NULL;
	AUTOFD int fd = -1;
	struct stat st;
	mode_t mode;
	int r;

	if (path[strlen(path) - 1] == '/' || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return say(path, EISDIR);
	if (!mode_of(arg, path, &mode))
		return say(arg, EINVAL);
	r = make_parents(path);
	if (r == 0) {
		fd = open_beside(path, &temporary);
		r = fd < 0 ? -errno : pump(0, fd);
	}
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0)
		r = publish(fd, temporary, path);
	if (r < 0 && fd >= 0)
		(void)unlink(temporary);
	return r < 0 ? say(path, -r) : FILE_DONE;
}

static int run_tar(const char *path, const char *const argv[])
{
	struct statvfs room;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execv(TAR, (char *const *)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return say(path, errno);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return FILE_DONE;
	if (statvfs(path, &room) == 0 && room.f_bavail * room.f_frsize < FEW_BYTES)
		return FILE_NO_SPACE;
	return FILE_FAILED; /* tar has said why */
}

static int need_folder(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return say(path, errno);
	return S_ISDIR(st.st_mode) ? FILE_DONE : say(path, ENOTDIR);
}

static int do_tar(const char *path, const char *arg)
{
	const char *const argv[] = {
		"tar", "-c", "-f", "-", "--sparse", "--format=posix", "-C", path, ".", NULL};
	int r = need_folder(path);

	return r == FILE_DONE ? run_tar(path, argv) : r;
}

static int do_untar(const char *path, const char *arg)
{
	/* tar itself refuses members that would leave the folder, by name or by link. */
	const char *const argv[] = {"tar", "-x", "-f", "-", "--no-same-owner", "--no-overwrite-dir",
		"--delay-directory-restore", "-C", path, NULL};
	AUTOFREE char *folder = xasprintf("%s/", path);
	int r = make_parents(folder);

	if (r < 0)
		return say(path, -r);
	r = need_folder(path);
	return r == FILE_DONE ? run_tar(path, argv) : r;
}

static char type_of(mode_t mode)
{
	return S_ISREG(mode) ? 'f' : S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : 'o';
}

/* "type mode size mtime name\0": f, d, l or o (other); octal; bytes; seconds since 1970. */
static int do_list(const char *path, const char *arg)
{
	struct dirent **entries;
	struct stat st;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n < 0)
		return say(path, errno);
	for (int i = 0; i < n; i++) {
		AUTOFREE char *full = xasprintf("%s/%s", path, entries[i]->d_name);

		if (!streq(entries[i]->d_name, ".") && !streq(entries[i]->d_name, "..") &&
			lstat(full, &st) == 0)
			printf("%c %04o %lld %lld %s%c", type_of(st.st_mode), st.st_mode & 07777u,
				(long long)st.st_size, (long long)MAX(st.st_mtime, 0),
				entries[i]->d_name, 0);
		free(entries[i]);
	}
	free(entries);
	return fflush(stdout) == 0 ? FILE_DONE : say(path, errno);
}

static int do_rm(const char *path, const char *arg)
{
	struct stat st;
	struct err err;

	if (lstat(path, &st) < 0)
		return say(path, errno);
	if (streq(path, "/"))
		return say(path, EPERM);
	if (remove_tree(path, &err) < 0)
		return say(path, -err.code);
	return FILE_DONE;
}

static const struct {
	const char *name;
	int (*run)(const char *path, const char *arg);
} verbs[] = {{"get", do_get}, {"put", do_put}, {"tar", do_tar}, {"untar", do_untar},
	{"list", do_list}, {"rm", do_rm}};

int file_main(int argc, char **argv)
{
	AUTOFREE char *path = NULL;

	for (size_t i = 0; argc >= 2 && argc <= 3 && *argv[1] && i < ARRAY_SIZE(verbs); i++) {
		if (!streq(argv[0], verbs[i].name))
			continue;
		path = xasprintf("%s%s", argv[1][0] == '/' ? "" : HOME, argv[1]);
		return verbs[i].run(path, argc == 3 ? argv[2] : NULL);
	}
	fputs("usage: berth-init file get|put|tar|untar|list|rm PATH [MODE]\n", stderr);
	return FILE_FAILED;
}
