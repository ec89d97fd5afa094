/* Processes of others: named by pid and start time, so that a number used again is not taken for
 * the old process. */
#include "process.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>

#define STAT_MAX 4096
#define CMDLINE_MAX 65536

uint64_t process_start_time(pid_t pid)
{
	AUTOFREE char *stat = NULL;
	char path[64], state;
	const char *rest;
	uint64_t start;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || file_read(AT_FDCWD, path, STAT_MAX, &stat, NULL, NULL) < 0)
		return 0;
	/* The name (field 2) may hold anything, ')' included. */
	rest = strrchr(stat, ')');
	if (!rest || sscanf(rest + 1,
			     " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			     "%*d %*d %" SCNu64,
			     &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

int process_write_file(const char *path, pid_t pid, struct err *err)
{
	char text[64];
	uint64_t start = process_start_time(pid);

	if (!start)
		return err_set(err, ESRCH, "process %d has already ended", (int)pid);
	snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)pid, start);
	return file_write_atomic(path, text, strlen(text), 0644, err);
}

pid_t process_read_file(const char *path)
{
	AUTOFREE char *text = NULL;
	uint64_t start;
	int pid;

	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return 0;
	if (sscanf(text, "%d %" SCNu64, &pid, &start) != 2 || pid <= 1 || !start)
		return 0;
	return process_start_time(pid) == start ? pid : 0;
}

int process_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int process_open_file(const char *path, pid_t *ret_pid)
{
	pid_t pid = process_read_file(path);
	AUTOFD int fd = pid ? process_pidfd(pid) : -ESRCH;

	/* Looked at again with the descriptor open: now it cannot become another process. */
	if (fd < 0 || process_read_file(path) != pid)
		return -ESRCH;
	*ret_pid = pid;
	return steal_fd(&fd);
}

int process_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

uint64_t process_memory(pid_t pid)
{
	AUTOFREE char *text = NULL;
	char path[64];
	const char *line;
	uint64_t kib;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	if (file_read(AT_FDCWD, path, STAT_MAX, &text, NULL, NULL) < 0)
		return 0;
	line = strstr(text, "\nPss:");
	return line && sscanf(line, "\nPss: %" SCNu64, &kib) == 1 ? kib * 1024 : 0;
}

static bool thread_wants_cpu(int tasks, const char *tid)
{
	AUTOFREE char *text = NULL, *path = xasprintf("%s/stat", tid);
	const char *after;

	if (file_read(tasks, path, STAT_MAX, &text, NULL, NULL) < 0)
		return false;
	after = strrchr(text, ')'); /* the name may hold anything; field 3 (proc(5)) */
	return after && starts_with(after, ") R");
}

bool process_wants_cpu(pid_t pid)
{
	char path[64];
	struct dirent *e;
	bool wants = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && !wants && (e = readdir(dir)))
		wants = e->d_name[0] != '.' && thread_wants_cpu(dirfd(dir), e->d_name);
	if (dir)
		closedir(dir);
	return wants;
}

/* What follows the argument `option` (at the end an empty text), or NULL; *ret_text is the caller's
 * to free, and holds it. */
static const char *find_arg(pid_t pid, const char *option, char **ret_text)
{
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (file_read(AT_FDCWD, path, CMDLINE_MAX, ret_text, &len, NULL) < 0)
		return NULL;
	for (const char *p = *ret_text; p < *ret_text + len; p += strlen(p) + 1)
		if (streq(p, option))
			return p + strlen(p) + 1;
	return NULL;
}

bool process_has_arg(pid_t pid, const char *arg)
{
	AUTOFREE char *text = NULL;

	return find_arg(pid, arg, &text);
}

unsigned process_arg_number(pid_t pid, const char *option, unsigned otherwise)
{
	AUTOFREE char *text = NULL;
	const char *value = find_arg(pid, option, &text);
	uint64_t n;

	return value && parse_u64(value, 1, 1 << 20, &n) ? (unsigned)n : otherwise;
}
