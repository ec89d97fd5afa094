/* The agent's disk: is it blank, ours, damaged; made or repaired before it is mounted. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "bytes.h"
#include "note.h"
#include "util.h"

/* Linux, Documentation/filesystems/ext4/super.rst: at 1024; s_magic at 0x38, s_state at 0x3A. */
#define SUPER_AT 1024
#define SUPER_MAGIC 0xEF53
#define STATE_ERRORS 0x0002

/* Exit status of e2fsck(8), bits. */
#define FSCK_REBOOT 2
#define FSCK_UNCORRECTED 4

enum disk_state disk_state_of(const uint8_t head[DISK_HEAD])
{
	struct reader r = reader_of(head + SUPER_AT + 0x38, 4);
	uint16_t magic = read_u16(&r), state = read_u16(&r);

	if (magic == SUPER_MAGIC)
		return state & STATE_ERRORS ? DISK_DAMAGED : DISK_CLEAN;
	/* mkfs writes the superblock last: what it left half-made still counts as blank. */
	for (size_t i = 0; i < DISK_HEAD; i++)
		if (head[i])
			return DISK_FOREIGN;
	return DISK_BLANK;
}

/* Runs a program of the root file system `tools`; its exit status, or a negative errno. */
static int run_tool(const char *tools, const char *const argv[])
{
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin", "LC_ALL=C", NULL};
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (chroot(tools) < 0 || chdir("/") < 0)
			_exit(127);
		execve(argv[0], (char *const *)argv, (char *const *)env);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int make(const char *device, const char *tools, struct err *err)
{
	const char *const argv[] = {"/usr/sbin/mkfs.ext4", "-q", "-F", "-L", "berth", "-m", "0",
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", device, NULL};
	int status = run_tool(tools, argv);

	if (status == 0)
		return 0;
	return err_set(err, EIO, "cannot make a file system on %s: mkfs.ext4 ended with %d", device,
		status);
}

static int check(const char *device, const char *tools, struct err *err)
{
	const char *preen[] = {"/usr/sbin/e2fsck", "-p", device, NULL};
	const char *repair[] = {"/usr/sbin/e2fsck", "-f", "-y", device, NULL};
	int status = run_tool(tools, preen);

	note("the agent's disk had errors; e2fsck -p ended with %d", status);
	if (status >= 0 && !(status & ~(1 | FSCK_REBOOT)))
		return 0;
	status = run_tool(tools, repair);
	note("e2fsck -y ended with %d", status);
	if (status < 0 || status & ~(1 | FSCK_REBOOT))
		return err_set(err, EIO, "the file system on %s cannot be repaired (e2fsck: %d)",
			device, status);
	return 0;
}

int disk_prepare(const char *device, const char *tools, int *ret_fresh, struct err *err)
{
	uint8_t head[DISK_HEAD];
	AUTOFD int fd = open(device, O_RDONLY | O_CLOEXEC);

	*ret_fresh = 0;
	if (fd < 0)
		return err_sys(err, "cannot open %s", device);
	if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return err_set(err, EIO, "cannot read the first %d bytes of %s", DISK_HEAD, device);
	switch (disk_state_of(head)) {
	case DISK_CLEAN:
		return 0;
	case DISK_DAMAGED:
		return check(device, tools, err);
	case DISK_BLANK:
		*ret_fresh = 1;
		return make(device, tools, err);
	case DISK_FOREIGN:
		break;
	}
	return err_set(
		err, EINVAL, "%s holds something that is no ext4 file system; left alone", device);
}
