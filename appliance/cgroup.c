/* Limits of agents: cgroup v2, or v1's memory, cpu and pids, behind one interface. */
#include "cgroup.h"
#include "log.h"
#include "paths.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CPU_PERIOD_US 100000u
#define REMOVE_TRIES 100
#define REMOVE_PAUSE_MS 10

struct folder {
	char controller[16]; /* v1's, or "" for v2 */
	char path[400];
};

/* The delegated folders; how many. */
static size_t load(const char *state, struct folder out[CGROUP_FOLDERS])
{
	AUTOFREE char *path = path_in(state, "run/cgroups"), *text = NULL;
	char *save = NULL;
	size_t n = 0;

	if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line && n < CGROUP_FOLDERS;
		line = strtok_r(NULL, "\n", &save)) {
		struct folder *f = &out[n];

		*f = (struct folder){0};
		if (sscanf(line, "v2 %399[^\n]", f->path) == 1 ||
			sscanf(line, "v1 %15s %399[^\n]", f->controller, f->path) == 2)
			n++;
	}
	return n;
}

bool cgroup_available(const char *state)
{
	struct folder folders[CGROUP_FOLDERS];

	return load(state, folders) > 0;
}

static int put(const char *dir, const char *file, const char *value, struct err *err)
{
	AUTOFREE char *path = xasprintf("%s/%s", dir, file);
	AUTOFD int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_sys(err, "cannot write %s to %s", value, path);
	return 0;
}

/* Swap counts as memory: 0 more on v2; on v1 the sum, where the kernel keeps one. */
static int set_memory(const char *dir, bool v1, uint64_t bytes, struct err *err)
{
	char value[32];
	int r;

	snprintf(value, sizeof(value), "%" PRIu64, bytes);
	if (v1) {
		/* Whichever order: the sum must not be below the limit. */
		put(dir, "memory.memsw.limit_in_bytes", "-1", NULL);
		r = put(dir, "memory.limit_in_bytes", value, err);
		put(dir, "memory.memsw.limit_in_bytes", value, NULL);
		return r;
	}
	r = put(dir, "memory.max", value, err);
	put(dir, "memory.swap.max", "0", NULL);
	if (r == 0)
		put(dir, "memory.oom.group", "1", NULL);
	return r;
}

static int set_cpu(const char *dir, bool v1, unsigned cpus, struct err *err)
{
	char value[48];

	if (v1) {
		snprintf(value, sizeof(value), "%u", cpus * CPU_PERIOD_US);
		return put(dir, "cpu.cfs_quota_us", value, err);
	}
	snprintf(value, sizeof(value), "%u %u", cpus * CPU_PERIOD_US, CPU_PERIOD_US);
	return put(dir, "cpu.max", value, err);
}

static int set_pids(const char *dir, unsigned pids, struct err *err)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", pids);
	return put(dir, "pids.max", value, err);
}

static int set_limits(
	const struct folder *f, const char *dir, const struct cgroup_limits *l, struct err *err)
{
	bool v1 = f->controller[0] != 0;
	int r = 0;

	if (!v1 || streq(f->controller, "memory"))
		r = set_memory(dir, v1, l->memory_bytes, err);
	if (r == 0 && (!v1 || streq(f->controller, "cpu")))
		r = set_cpu(dir, v1, l->cpus, err);
	if (r == 0 && (!v1 || streq(f->controller, "pids")))
		r = set_pids(dir, l->pids, err);
	return r;
}

int cgroup_create(
	const char *state, const char *id, const struct cgroup_limits *limits, struct err *err)
{
	struct folder folders[CGROUP_FOLDERS];
	size_t n = load(state, folders);
	static bool warned;

	if (n == 0 && !warned) {
		warned = true;
		log_warning("no cgroups were delegated: agents run without limits on memory, CPU "
			    "and processes");
	}
	for (size_t i = 0; i < n; i++) {
		AUTOFREE char *dir = xasprintf("%s/%s", folders[i].path, id);
		int r = make_dir(dir, 0755, err);

		if (r == 0)
			r = set_limits(&folders[i], dir, limits, err);
		if (r < 0) {
			cgroup_remove(state, id, NULL);
			return r;
		}
	}
	return 0;
}

int cgroup_open(const char *state, const char *id, int ret_fds[CGROUP_FOLDERS], struct err *err)
{
	struct folder folders[CGROUP_FOLDERS];
	size_t n = load(state, folders);

	for (size_t i = 0; i < CGROUP_FOLDERS; i++)
		ret_fds[i] = -1;
	for (size_t i = 0; i < n; i++) {
		AUTOFREE char *path = xasprintf("%s/%s/cgroup.procs", folders[i].path, id);

		ret_fds[i] = open(path, O_WRONLY | O_CLOEXEC);
		if (ret_fds[i] < 0) {
			int r = err_sys(err, "cannot open %s", path);

			while (i-- > 0)
				close(steal_fd(&ret_fds[i]));
			return r;
		}
	}
	return 0;
}

int cgroup_enter(const int fds[CGROUP_FOLDERS])
{
	for (size_t i = 0; i < CGROUP_FOLDERS; i++)
		if (fds[i] >= 0 && write(fds[i], "0", 1) != 1)
			return -errno;
	return 0;
}

uint64_t cgroup_memory(const char *state, const char *id)
{
	struct folder folders[CGROUP_FOLDERS];
	size_t n = load(state, folders);

	for (size_t i = 0; i < n; i++) {
		const struct folder *f = &folders[i];
		AUTOFREE char *path = xasprintf("%s/%s/%s", f->path, id,
			f->controller[0] ? "memory.usage_in_bytes" : "memory.current");
		AUTOFREE char *text = NULL;

		if (f->controller[0] && !streq(f->controller, "memory"))
			continue;
		if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) == 0)
			return strtoull(text, NULL, 10);
	}
	return 0;
}

static void kill_members(const char *dir)
{
	AUTOFREE char *path = xasprintf("%s/cgroup.procs", dir), *text = NULL;
	char *save = NULL;

	if (put(dir, "cgroup.kill", "1", NULL) == 0)
		return;
	if (file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);

		if (pid > 1)
			kill(pid, SIGKILL);
	}
}

void cgroup_kill(const char *state, const char *id)
{
	struct folder folders[CGROUP_FOLDERS];
	size_t n = load(state, folders);

	for (size_t i = 0; i < n; i++) {
		AUTOFREE char *dir = xasprintf("%s/%s", folders[i].path, id);

		kill_members(dir);
	}
}

static int remove_folder(const char *dir, struct err *err)
{
	for (int i = 0; rmdir(dir) < 0; i++) {
		struct timespec pause = {.tv_nsec = REMOVE_PAUSE_MS * 1000000};

		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || i == REMOVE_TRIES)
			return err_sys(err, "cannot remove the cgroup %s", dir);
		kill_members(dir);
		nanosleep(&pause, NULL);
	}
	return 0;
}

int cgroup_remove(const char *state, const char *id, struct err *err)
{
	struct folder folders[CGROUP_FOLDERS];
	size_t n = load(state, folders);
	int result = 0;

	for (size_t i = 0; i < n; i++) {
		AUTOFREE char *dir = xasprintf("%s/%s", folders[i].path, id);
		int r = remove_folder(dir, err);

		if (r < 0)
			result = r;
	}
	return result;
}

void cgroup_each(const char *state, void (*fn)(void *data, const char *name), void *data)
{
	struct folder folders[CGROUP_FOLDERS];
	size_t n = load(state, folders);

	for (size_t i = 0; i < n; i++) {
		DIR *dir = opendir(folders[i].path);
		struct dirent *e;

		while (dir && (e = readdir(dir)))
			if (e->d_type == DT_DIR && e->d_name[0] != '.')
				fn(data, e->d_name);
		if (dir)
			closedir(dir);
	}
}
