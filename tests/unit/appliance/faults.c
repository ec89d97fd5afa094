/* libc's calls that change files, counted, failed and recorded (faults.h). */
#undef _FILE_OFFSET_BITS /* both names of a call are defined here */
#undef _FORTIFY_SOURCE

#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#define ENV "BERTH_TEST_FAULTS"
#define PUBLIC __attribute__((visibility("default")))

PUBLIC struct faults *faults;

/* The next definition of NAME: libc's. */
#define REAL(ret, name, ...)             \
	static ret (*real)(__VA_ARGS__); \
	if (!real)                       \
	real = (ret(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void map(const char *path)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED
			 : mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		faults = p;
	if (fd >= 0)
		syscall(SYS_close, fd);
}

__attribute__((constructor)) static void of_a_helper(void)
{
	const char *path = getenv(ENV);

	if (path && path[0])
		map(path);
	if (faults && faults->only[0] && strcmp(program_invocation_short_name, faults->only) != 0)
		faults = NULL;
}

PUBLIC void faults_begin(const char *root)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s.faults", root);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof(*faults)) < 0)
		abort();
	syscall(SYS_close, fd);
	map(path);
	if (!faults)
		abort();
	memset(faults, 0, sizeof(*faults));
	faults->stand_ins = true;
	snprintf(faults->root, sizeof(faults->root), "%s", root);
	setenv(ENV, path, 1);
}

PUBLIC void faults_end(void)
{
	const char *path = getenv(ENV);

	if (faults)
		munmap(faults, sizeof(*faults));
	faults = NULL;
	if (path)
		syscall(SYS_unlink, path);
	unsetenv(ENV);
}

PUBLIC void faults_arm(unsigned n, int error, bool sticky, bool half, bool every)
{
	faults->every = every;
	faults->before[0] = 0;
	faults->calls = 0;
	faults->fail_at = n;
	faults->error = error;
	faults->sticky = sticky;
	faults->half = half;
	faults->hit[0] = 0;
	faults->lock = 0;
	faults->armed = 1;
}

PUBLIC void faults_disarm(void)
{
	faults->armed = 0;
}

/* Where it is below the root, or NULL: it is none of ours, or a stand-in's own. */
static const char *below(const char *path)
{
	static const char *const own[] = {"log", "qemus", "policies", "policy-", "rules-",
		"networks-", "upstream-", "budget-", "verified-", "run/ns/", "run/control"};
	size_t n = strlen(faults->root);

	if (strncmp(path, faults->root, n) != 0 || (path[n] != '/' && path[n] != 0))
		return NULL;
	path += n + (path[n] == '/');
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strncmp(path, own[i], strlen(own[i])) == 0)
			return NULL;
	return path;
}

static const char *path_of(int fd, char out[PATH_MAX])
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX - 1);
	out[n < 0 ? 0 : n] = 0;
	return below(out);
}

static int saved_errno; /* a call that works leaves errno alone, and so do we */

static void lock(void)
{
	int none = 0;

	saved_errno = errno;
	while (!__atomic_compare_exchange_n(
		&faults->lock, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		none = 0;
		sched_yield();
	}
}

static void unlock(bool worked)
{
	if (worked)
		errno = saved_errno;
	__atomic_store_n(&faults->lock, 0, __ATOMIC_RELEASE);
}

enum verdict { GO, HALF, FAIL };

/* Whether this call fails; errno says how then. */
static enum verdict count(const char *what, const char *path)
{
	enum verdict v = GO;
	char call[400];
	unsigned n;
	bool again;

	if (!faults->armed)
		return GO;
	snprintf(call, sizeof(call), "%s %s", what, path);
	again = !faults->every && strcmp(call, faults->before) == 0;
	memcpy(faults->before, call, sizeof(call));
	n = again ? faults->calls : ++faults->calls;
	if (n == faults->fail_at && !again) {
		memcpy(faults->hit, call, sizeof(call));
		if (faults->victim) {
			kill(faults->victim < 0 ? getpid() : faults->victim, SIGKILL);
			return GO;
		}
		v = faults->half && strcmp(what, "write") == 0 ? HALF : FAIL;
	} else if (faults->sticky && faults->hit[0]) {
		v = FAIL;
	}
	if (v == FAIL)
		errno = faults->error;
	return v;
}

static bool recorded(const char *path)
{
	return faults->log[0] && strcmp(path, "run") != 0 && strncmp(path, "run/", 4) != 0 &&
	       strcmp(path, "berth.db-shm") != 0;
}

static void record(const char *fmt, ...)
{
	char path[160], line[2 * PATH_MAX];
	int n = snprintf(line, sizeof(line), "%u ", faults->seq++), fd;
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/log", faults->log);
	fd = (int)syscall(
		SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_write, fd, line, n) != n)
		abort();
	syscall(SYS_close, fd);
}

PUBLIC void faults_copy(const char *from, const char *to)
{
	int in = (int)syscall(SYS_openat, AT_FDCWD, from, O_RDONLY | O_CLOEXEC),
	    out = (int)syscall(
		    SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t at = 0, end = in < 0 ? -1 : lseek(in, 0, SEEK_END);

	if (in < 0 || out < 0 || syscall(SYS_ftruncate, out, end) < 0)
		abort();
	while ((at = lseek(in, at, SEEK_DATA)) >= 0) {
		off_t hole = lseek(in, at, SEEK_HOLE);

		while (at < hole) {
			char piece[65536];
			size_t n = (size_t)(hole - at) < sizeof(piece) ? (size_t)(hole - at)
								       : sizeof(piece);
			long got = syscall(SYS_pread64, in, piece, n, at);

			if (got <= 0 || syscall(SYS_pwrite64, out, piece, got, at) != got)
				abort();
			at += got;
		}
	}
	syscall(SYS_close, in);
	syscall(SYS_close, out);
}

PUBLIC void faults_record(const char *log)
{
	faults->seq = 0;
	faults->lock = 0;
	snprintf(faults->log, sizeof(faults->log), "%s", log);
}

PUBLIC void faults_record_end(void)
{
	faults->log[0] = 0;
}

/* ---- calls that have a path ---- */

static int open_counted(int dir, const char *path, int flags, mode_t mode)
{
	const char *p =
		faults && (flags & (O_CREAT | O_TRUNC)) && dir == AT_FDCWD ? below(path) : NULL;
	struct stat st;
	bool is_new;
	int fd;

	if (!p)
		return (int)syscall(SYS_openat, dir, path, flags, mode);
	lock();
	is_new = lstat(path, &st) < 0;
	if (is_new && count("create", p) != GO) {
		unlock(false);
		return -1;
	}
	fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	if (fd >= 0 && recorded(p) && fstat(fd, &st) == 0) {
		if (is_new)
			record("create %lu %s\n", (unsigned long)st.st_ino, p);
		else if (flags & O_TRUNC)
			record("size %lu 0\n", (unsigned long)st.st_ino);
	}
	unlock(fd >= 0);
	return fd;
}

#define OPEN(name)                                                             \
	PUBLIC int name(const char *path, int flags, ...)                      \
	{                                                                      \
		va_list ap;                                                    \
		mode_t mode;                                                   \
		va_start(ap, flags);                                           \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0; \
		va_end(ap);                                                    \
		return open_counted(AT_FDCWD, path, flags, mode);              \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                           \
	PUBLIC int name(int dir, const char *path, int flags, ...)             \
	{                                                                      \
		va_list ap;                                                    \
		mode_t mode;                                                   \
		va_start(ap, flags);                                           \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0; \
		va_end(ap);                                                    \
		return open_counted(dir, path, flags, mode);                   \
	}
OPENAT(openat)
OPENAT(openat64)

PUBLIC int mkdir(const char *path, mode_t mode)
{
	const char *p = faults ? below(path) : NULL;
	struct stat st;
	int r;

	if (!p || lstat(path, &st) == 0)
		return (int)syscall(SYS_mkdir, path, mode);
	lock();
	r = count("mkdir", p) == GO ? (int)syscall(SYS_mkdir, path, mode) : -1;
	if (r == 0 && recorded(p) && lstat(path, &st) == 0)
		record("mkdir %lu %s\n", (unsigned long)st.st_ino, p);
	unlock(r >= 0);
	return r;
}

static int two(long call, const char *what, const char *from, const char *to)
{
	const char *a = faults ? below(from) : NULL, *b = faults ? below(to) : NULL;
	int r;

	if (!a || !b)
		return (int)syscall(call, from, to);
	lock();
	/* a name that is taken back needs no room: its place is still there */
	r = strcmp(b, faults->left) == 0 || count(what, b) == GO ? (int)syscall(call, from, to)
								 : -1;
	if (r == 0 && recorded(b))
		record("%s %s %s\n", what, a, b);
	if (r == 0 && call == SYS_rename)
		snprintf(faults->left, sizeof(faults->left), "%s", a);
	unlock(r >= 0);
	return r;
}

PUBLIC int rename(const char *from, const char *to)
{
	return two(SYS_rename, "rename", from, to);
}

PUBLIC int link(const char *from, const char *to)
{
	return two(SYS_link, "link", from, to);
}

/* Removing takes no room, and a disk that cannot do that any more is mounted read-only: it is
 * recorded, never failed. */
static int take_away(long call, const char *path)
{
	const char *p = faults ? below(path) : NULL;
	int r;

	if (!p)
		return (int)syscall(call, path);
	lock();
	r = (int)syscall(call, path);
	if (r == 0 && recorded(p))
		record("unlink %s\n", p);
	unlock(r >= 0);
	return r;
}

PUBLIC int unlink(const char *path)
{
	return take_away(SYS_unlink, path);
}

PUBLIC int rmdir(const char *path)
{
	return take_away(SYS_rmdir, path);
}

PUBLIC int remove(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path);
}

/* ---- calls that have a descriptor ---- */

static const char *counted_fd(int fd, char path[PATH_MAX])
{
	struct stat st;

	return faults && faults->root[0] && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
		       ? path_of(fd, path)
		       : NULL;
}

static void record_size(int fd, const char *p)
{
	struct stat st;

	if (recorded(p) && fstat(fd, &st) == 0)
		record("size %lu %lld\n", (unsigned long)st.st_ino, (long long)st.st_size);
}

/* at -1: where the descriptor stands. */
static ssize_t write_counted(int fd, const void *data, size_t n, off_t at)
{
	char path[PATH_MAX];
	const char *p = counted_fd(fd, path);
	enum verdict v = GO;
	ssize_t r = -1;

	if (p) {
		lock();
		v = count("write", p);
	}
	if (v == HALF)
		n = n / 2 + 1;
	if (v != FAIL)
		r = at < 0 ? syscall(SYS_write, fd, data, n)
			   : syscall(SYS_pwrite64, fd, data, n, at);
	if (p && r > 0)
		record_size(fd, p);
	if (p)
		unlock(r >= 0);
	return r;
}

PUBLIC ssize_t write(int fd, const void *data, size_t n)
{
	return write_counted(fd, data, n, -1);
}

PUBLIC ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	return write_counted(fd, data, n, at);
}

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
{
	return write_counted(fd, data, n, at);
}

static int change_counted(int fd, const char *what, long call, long a, long b, long c)
{
	char path[PATH_MAX];
	const char *p = counted_fd(fd, path);
	int r;

	if (!p)
		return (int)syscall(call, fd, a, b, c);
	lock();
	r = count(what, p) == GO ? (int)syscall(call, fd, a, b, c) : -1;
	if (r == 0)
		record_size(fd, p);
	unlock(r >= 0);
	return r;
}

PUBLIC int ftruncate(int fd, off_t size)
{
	return change_counted(fd, "truncate", SYS_ftruncate, size, 0, 0);
}

PUBLIC int ftruncate64(int fd, off_t size)
{
	return change_counted(fd, "truncate", SYS_ftruncate, size, 0, 0);
}

PUBLIC int fallocate(int fd, int mode, off_t at, off_t n)
{
	return change_counted(fd, "allocate", SYS_fallocate, mode, at, n);
}

PUBLIC int fallocate64(int fd, int mode, off_t at, off_t n)
{
	return change_counted(fd, "allocate", SYS_fallocate, mode, at, n);
}

/* It takes place in the log only. */
static int sync_counted(int fd, long call)
{
	char path[PATH_MAX], copy[160];
	const char *p;
	struct stat st;
	int r = 0;

	if (!faults || fstat(fd, &st) < 0 || !(p = path_of(fd, path)))
		return (int)syscall(call, fd);
	lock();
	if (count("sync", p[0] ? p : ".") != GO) {
		r = -1;
	} else if (!faults->stand_ins) {
		r = (int)syscall(call, fd);
	} else if (recorded(p) && S_ISDIR(st.st_mode)) {
		record("syncdir %s\n", p);
	} else if (recorded(p)) {
		snprintf(copy, sizeof(copy), "%s/%u", faults->log, faults->seq);
		faults_copy(path, copy);
		record("sync %lu\n", (unsigned long)st.st_ino);
	}
	unlock(r >= 0);
	return r;
}

PUBLIC int fsync(int fd)
{
	return sync_counted(fd, SYS_fsync);
}

PUBLIC int fdatasync(int fd)
{
	return sync_counted(fd, SYS_fdatasync);
}

/* ---- what the world of such a test has besides ---- */

/* Helpers are those that this library is linked into. */
PUBLIC int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	const char *name = strrchr(path, '/');

	REAL(int, "posix_spawn", pid_t *, const char *, const posix_spawn_file_actions_t *,
		const posix_spawnattr_t *, char *const[], char *const[]);
	if (!faults || !faults->stand_ins)
		return real(pid, path, actions, attr, argv, env);
	if (name && strcmp(name, "/berth-pages") == 0)
		return real(pid, FAULTY_PAGES, actions, attr, argv, environ);
	if (name && strcmp(name, "/qemu-img") == 0)
		return real(pid, FAULTY_IMG, actions, attr, argv, environ);
	return real(pid, path, actions, attr, argv, env);
}

/* Waits of a moment that are there for people's machines, not for a test: shorter. */
PUBLIC int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	REAL(int, "uv_timer_start", uv_timer_t *, uv_timer_cb, uint64_t, uint64_t);
	if (faults && faults->stand_ins && timeout >= 200 && timeout <= 2000)
		timeout /= 50;
	return real(timer, cb, timeout, repeat);
}
