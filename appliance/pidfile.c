/* "PID STARTTIME\n": a process named so that another one with the same number is not mistaken for it. */
#include "pidfile.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* Field 22 of /proc/PID/stat (proc(5)), 0 when there is no such process or it is dead. */
static uint64_t start_time(pid_t pid)
{
	AUTOFREE char *path = xasprintf("/proc/%d/stat", (int)pid), *text = NULL;
	uint64_t start;
	char *p, state;

	if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return 0;
	p = strrchr(text, ')'); /* the name before it may contain anything */
	if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
			  &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

int pidfile_write(const char *path, pid_t pid, struct err *err)
{
	AUTOFREE char *text = xasprintf("%d %" PRIu64 "\n", (int)pid, start_time(pid));

	return file_write_atomic(path, text, strlen(text), 0600, err);
}

pid_t pidfile_read(const char *path)
{
	AUTOFREE char *text = NULL;
	uint64_t start;
	int pid;

	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return 0;
	if (sscanf(text, "%d %" SCNu64, &pid, &start) != 2 || pid <= 1 || start == 0)
		return 0;
	return start_time(pid) == start ? pid : 0;
}
