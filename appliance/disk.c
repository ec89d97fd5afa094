/*
 * An agent's disk: qcow2 files, each standing on the one before.
 *
 * A file refers to the one below it by its bare name, so a chain works in any folder that has hard
 * links to all of its files, and a file lives as long as somebody's folder names it.
 */
#include "disk.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "house.h"
#include "util.h"

#define QEMU_IMG "/usr/bin/qemu-img"
/* A new file has its header, two clusters of reference counts and a table that fits in one more. */
#define BLANK_MAX (4 * 65536)

/*
 * Runs qemu-img, quickly over: it writes a header. Its output goes to fd. What it is told to stand
 * on is not opened (-u): a guest wrote that.
 */
static int run_qemu_img(
	const char *path, const char *on, const char *size, int out, struct err *err)
{
	const char *const plain[] = {QEMU_IMG, "create", "-q", "-f", "qcow2", path, size, NULL},
			  *const over[] = {QEMU_IMG, "create", "-q", "-f", "qcow2", "-u", "-F",
				  "qcow2", "-b", on, path, size, NULL};
	char *const *argv = (char *const *)(on ? over : plain);
	char *env[] = {(char *)"LC_ALL=C", NULL};
	posix_spawn_file_actions_t actions;
	int status, r;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, out, 2);
	r = posix_spawn(&pid, QEMU_IMG, &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	if (r == ENOENT) {
		err_set(err, r, "%s is not there", QEMU_IMG);
		err_hint(err, "install QEMU (apt-get install qemu-utils; on Debian 12 from "
			      "bookworm-backports)");
		return err_type(err, 503, "qemu-missing");
	}
	if (r != 0)
		return err_set(err, r, "cannot run %s: %s", QEMU_IMG, strerror(r));
	if (waitpid(pid, &status, 0) < 0)
		return err_sys(err, "cannot wait for %s", QEMU_IMG);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* qemu-img's complaint as an error, a full disk named as such. */
static int disk_error(const char *path, int out, struct err *err)
{
	char text[300] = "";
	ssize_t n = pread(out, text, sizeof(text) - 1, 0);

	if (n > 0)
		text[strcspn(text, "\n")] = 0;
	if (strstr(text, strerror(ENOSPC))) {
		err_set(err, ENOSPC, "no room for the disk %s", path);
		err_hint(err, "free some space where the state folder is, or remove an agent");
		return err_type(err, 507, "disk-full");
	}
	return err_set(err, EIO, "cannot make the disk %s: %s", path, text);
}

/* What a guest will have synced is of no use without its file's name. */
static int named(const char *path, struct err *err)
{
	int r = sync_parent(path);

	if (r < 0)
		unlink(path);
	return r < 0 ? err_set(err, r, "cannot make the disk %s: %s", path, strerror(-r)) : 0;
}

int disk_make(const char *path, const char *on, unsigned gib, unsigned slot, struct err *err)
{
	AUTOFREE char *tmp = xasprintf("%s.new", path);
	AUTOFREE char *size = xasprintf("%uG", gib);
	AUTOFD int out = -1;
	AUTOFD int fd = -1;
	int r;

	if (access(path, F_OK) == 0)
		return err_set(err, EEXIST, "%s is there already", path);
	out = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (out < 0)
		out = open("/dev/null", O_RDWR | O_CLOEXEC);
	r = run_qemu_img(tmp, on, size, out, err);
	if (r == -EIO)
		r = disk_error(path, out, err);
	if (r == 0)
		r = house_chown(tmp, HOUSE_UID_AGENT + slot, HOUSE_UID_AGENT + slot, err);
	if (r == 0 && chmod(tmp, 0600) < 0)
		r = err_sys(err, "cannot set the mode of %s", tmp);
	fd = r < 0 ? -1 : open(tmp, O_RDONLY | O_CLOEXEC);
	if (r == 0 && (fd < 0 || fsync(fd) < 0 || rename(tmp, path) < 0))
		r = err_sys(err, "cannot make the disk %s", path);
	else if (r == 0)
		r = named(path, err);
	if (r < 0)
		unlink(tmp);
	return r;
}

bool disk_name_valid(const char *name)
{
	size_t n = strlen(name);

	return n >= 3 && n <= DISK_NAME_MAX && starts_with(name, "d_") &&
	       strspn(name + 2, "abcdefghijklmnopqrstuvwxyz0123456789") == n - 2;
}

int disk_freeze(const char *path, struct err *err)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, 0444) < 0)
		return err_sys(err, "cannot freeze the disk %s", path);
	return 0;
}

bool disk_is_blank(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size <= BLANK_MAX;
}

/* The head of a qcow2 file (QEMU's docs/interop/qcow2.txt). */
struct qcow2_head {
	uint32_t magic, version;
	uint64_t backing_at;
	uint32_t backing_len;
} __attribute__((packed));

int disk_stands_on(const char *path, char ret[DISK_NAME_MAX + 1], struct err *err)
{
	static const char ending[] = ".qcow2";
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char name[DISK_NAME_MAX + sizeof(ending)] = "";
	struct qcow2_head head;
	size_t n;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return err_sys(err, "cannot read %s", path);
	n = be32toh(head.backing_len);
	ret[0] = 0;
	if (be32toh(head.magic) != 0x514649fb || n >= sizeof(name) ||
		be64toh(head.backing_at) > 65536)
		return err_set(err, EBADMSG, "%s is not a disk of ours", path);
	if (n == 0)
		return 0;
	if (pread(fd, name, n, (off_t)be64toh(head.backing_at)) != (ssize_t)n)
		return err_sys(err, "cannot read %s", path);
	if (n < sizeof(ending) || !streq(name + n - strlen(ending), ending))
		return err_set(err, EBADMSG, "%s stands on no disk of ours", path);
	name[n - strlen(ending)] = 0;
	if (!disk_name_valid(name))
		return err_set(err, EBADMSG, "%s stands on no disk of ours", path);
	snprintf(ret, DISK_NAME_MAX + 1, "%s", name);
	return 0;
}
