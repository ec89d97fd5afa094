/*
 * The room QEMU runs in.
 *
 * Everything happens in the child, between fork and exec, while it is still uid 0 of the
 * appliance's namespace:
 *
 *   process namespace -> cgroup -> network namespace -> mount namespace -> a tmpfs with read-only
 * binds -> pivot_root -> limits -> no rights -> exec
 *
 * The old root is gone before a byte of the guest is read. The first step that fails is told to the
 * parent through a pipe that a successful exec closes.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "house.h"
#include "netns.h"
#include "process.h"
#include "qemu_args.h"
#include "util.h"

#define PIPE_FD 6 /* in the child, beside the SANDBOX_…_FDs */

/* What a failing child tells. */
struct report {
	int error;
	char step[80];
};

/* What of the host is there: QEMU, what it loads, and the devices it opens. */
static const struct {
	const char *path;
	enum { DIR_RO, FILE_RO, DEVICE } kind;
} shared[] = {
	{QEMU_BINARY, FILE_RO},
	{"/usr/lib", DIR_RO},
	{"/usr/lib64", DIR_RO},
	{"/usr/share/qemu", DIR_RO},
	{"/usr/share/seabios", DIR_RO},
	{"/etc/ld.so.cache", FILE_RO},
	{"/dev/null", DEVICE},
	{"/dev/zero", DEVICE},
	{"/dev/urandom", DEVICE},
};

__attribute__((noreturn)) static void fail(const char *step, int error)
{
	struct report report = {.error = error < 0 ? -error : error};

	snprintf(report.step, sizeof(report.step), "%s", step);
	(void)!write(PIPE_FD, &report, sizeof(report));
	_exit(126);
}

static void must(int r, const char *step)
{
	if (r < 0)
		fail(step, r == -1 ? errno : r);
}

/* mkdir -p for the folders above path, and an empty file or folder at path, all below the new root
 * (the cwd). */
static void make_target(const char *path, bool folder)
{
	char part[256];

	snprintf(part, sizeof(part), "%s", path);
	for (char *p = strchr(part, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			fail(path, errno);
		*p = '/';
	}
	if (folder) {
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			fail(path, errno);
	} else {
		int fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);

		must(fd, path);
		close(fd);
	}
}

/* Flags that the source's mount has and that a user namespace may not take away. */
static unsigned long locked_flags(const char *path)
{
	static const struct {
		unsigned long st, ms;
	} map[] = {{ST_NOSUID, MS_NOSUID}, {ST_NODEV, MS_NODEV}, {ST_NOEXEC, MS_NOEXEC},
		{ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME},
		{ST_RELATIME, MS_RELATIME}};
	struct statvfs st;
	unsigned long flags = 0;

	if (statvfs(path, &st) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (st.f_flag & map[i].st)
			flags |= map[i].ms;
	return flags;
}

/* Shows `from` of the old root at `to` (relative to the new root). */
static void bind(const char *from, const char *to, unsigned long extra)
{
	unsigned long flags = locked_flags(from) | extra | MS_NOSUID;

	must(mount(from, to, NULL, MS_BIND, NULL), from);
	must(mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | flags, NULL), from);
}

static void bind_shared(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		const char *path = shared[i].path;
		struct stat st;

		if (stat(path, &st) < 0)
			continue;
		make_target(path + 1, shared[i].kind == DIR_RO);
		bind(path, path + 1, shared[i].kind == DEVICE ? MS_NOEXEC : MS_RDONLY | MS_NODEV);
	}
	must(symlink("usr/lib", "lib"), "lib");
	must(symlink("usr/lib64", "lib64"), "lib64");
}

/* Shows a file of the host at `to`, to be read. */
static void bind_file(const char *from, const char *to)
{
	make_target(to + 1, false);
	bind(from, to + 1, MS_RDONLY | MS_NODEV | MS_NOEXEC);
}

/* Makes the new root on the agent's run folder (seen by this process alone) and goes there for
 * good. */
static void enter_root(const struct sandbox *s, const char *room)
{
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
	must(mount("tmpfs", room, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k"),
		"an empty root");
	must(chdir(room), room);
	bind_shared();
	make_target("image", true);
	bind(s->image_dir, "image", MS_RDONLY | MS_NODEV | MS_NOEXEC);
	make_target("agent", true);
	bind(s->agent_dir, "agent", MS_NODEV | MS_NOEXEC);
	bind_file(s->memory, SANDBOX_MEMORY);
	if (s->device)
		bind_file(s->device, SANDBOX_DEVICE);
	must((int)syscall(SYS_pivot_root, ".", "."), "the new root");
	must(umount2(".", MNT_DETACH), "leaving the old root");
	must(chdir("/"), "/");
	must(mount(NULL, "/", NULL,
		     MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
		"a read-only root");
}

static void set_limits(void)
{
	const struct rlimit none = {0, 0}, files = {512, 512};

	must(setrlimit(RLIMIT_CORE, &none), "limits");
	must(setrlimit(RLIMIT_NOFILE, &files), "limits");
	must((int)syscall(SYS_close_range, PIPE_FD + 1, ~0u, CLOSE_RANGE_UNSHARE),
		"closing descriptors");
}

/* Puts the descriptors where QEMU expects them. Moved up first, so that none is overwritten. */
static void place_fds(const struct sandbox *s, int pipe_fd)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int from[] = {s->log_fd, s->log_fd, s->tap_fd, s->qmp_fd,
		s->kvm_fd < 0 ? null : s->kvm_fd, pipe_fd};
	int high[ARRAY_SIZE(from)];

	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 64);
	dup2(null, 0);
	for (size_t i = 0; i < ARRAY_SIZE(from); i++)
		if (dup2(high[i], (int)i + 1) < 0)
			_exit(125);
	fcntl(PIPE_FD, F_SETFD, FD_CLOEXEC);
}

/*
 * Waits until the parent has written this process down: if the parent dies before, nobody would
 * ever find it.
 */
static void wait_until_known(const int go[2])
{
	char byte;

	close(go[1]);
	if (read(go[0], &byte, 1) != 1)
		_exit(125);
}

__attribute__((noreturn)) static void child(const struct sandbox *s, const char *room, int ns,
	const int *cgroup, int pipe_fd, const int go[2])
{
	sigset_t none;
	int ns_high = fcntl(ns, F_DUPFD_CLOEXEC, 70), groups[CGROUP_FOLDERS];

	wait_until_known(go);
	for (int i = 0; i < CGROUP_FOLDERS; i++)
		groups[i] = cgroup[i] < 0 ? -1 : fcntl(cgroup[i], F_DUPFD_CLOEXEC, 70);
	place_fds(s, pipe_fd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	setsid();
	must(cgroup_enter(groups), "the cgroup");
	must(setns(ns_high, CLONE_NEWNET), "the agent's network namespace");
	must(unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS), "namespaces of its own");
	enter_root(s, room);
	set_limits();
	must(house_drop(s->uid), "dropping rights");
	execve(s->argv[0], s->argv, (char *const[]){NULL});
	fail(s->argv[0], errno);
}

/* What the child told: 0 if it became QEMU. */
static int outcome(int pipe_fd, pid_t pid, struct err *err)
{
	struct report report;
	ssize_t n;

	do
		n = read(pipe_fd, &report, sizeof(report));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	waitpid(pid, NULL, 0);
	if (n != sizeof(report))
		return err_set(err, EIO, "the process that should become QEMU died");
	report.step[sizeof(report.step) - 1] = 0;
	err_set(err, report.error, "cannot start QEMU: %s: %s", report.step,
		strerror(report.error));
	if ((report.error == ENOENT || report.error == EACCES) &&
		starts_with(report.step, QEMU_BINARY)) {
		err_hint(err, "install QEMU (apt-get install qemu-system-x86; on Debian 12 from "
			      "bookworm-backports)");
		return err_type(err, 503, "qemu-missing");
	}
	return err->code;
}

/*
 * fork() into a process namespace of its own. glibc's handlers around fork do not run, so the child
 * may not allocate. What comes back is the pid here.
 */
static pid_t fork_alone(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
}

/* Writes the child down, then lets it go on. */
static int make_known(const struct sandbox *s, pid_t pid, int let_go, struct err *err)
{
	int r = s->pid_file ? process_write_file(s->pid_file, pid, err) : 0;

	if (r == 0 && write_all(let_go, "", 1) < 0)
		r = err_set(err, EPIPE, "the process that should become QEMU died");
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return r;
}

int sandbox_spawn(const struct sandbox *s, pid_t *ret, struct err *err)
{
	AUTOFREE char *room = xasprintf("%s/run/agents/%s", s->state, s->id);
	AUTOFD int ns = netns_open(s->state, s->id, err);
	AUTOFD int told = -1, let_go = -1;
	int cgroup[CGROUP_FOLDERS], ends[2], go[2], r;
	pid_t pid;

	if (ns < 0)
		return ns;
	r = cgroup_open(s->state, s->id, cgroup, err);
	if (r < 0)
		return r;
	r = pipe2(ends, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0
		    ? err_sys(err, "cannot make a pipe")
		    : 0;
	house_has_ids(); /* looked up here, not after the fork */
	pid = r < 0 ? -1 : fork_alone();
	if (pid == 0)
		child(s, room, ns, cgroup, ends[1], go);
	if (r == 0) {
		close(ends[1]);
		told = ends[0];
		close(go[0]);
		let_go = go[1];
		r = pid < 0 ? err_sys(err, "cannot fork") : make_known(s, pid, let_go, err);
	}
	for (int i = 0; i < CGROUP_FOLDERS; i++)
		if (cgroup[i] >= 0)
			close(cgroup[i]);
	if (r < 0)
		return r;
	r = outcome(told, pid, err);
	if (r == 0)
		*ret = pid;
	return r;
}
