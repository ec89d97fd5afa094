/* Cgroups for the appliance, made and given away with the caller's rights on the host. */
#include "bytes.h"
#include "cgroup.h"
#include "house_prepare.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * v2: one subtree PLACE/berth-HASH with the controllers on, the appliance's own processes in its
 * leaf `daemon` (a group with controllers on may not hold processes), agents beside it. Root's
 * PLACE is the top, an ordinary user's the group that systemd delegated. v1: one folder for each
 * controller at the top of its hierarchy; only root.
 */
static const char *const controllers[CGROUP_FOLDERS] = {"memory", "cpu", "pids"};

/* FNV-1a of the state folder's path: several appliances may run side by side. */
static char *group_name(const char *state)
{
	uint64_t h = 14695981039346656037u;

	for (const char *p = state; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return xasprintf("berth-%012" PRIx64, h & 0xffffffffffffu);
}

/* Where a hierarchy is mounted: v1's with that controller, or v2's when controller is NULL. NULL if
 * nowhere. */
static char *find_mount(const char *controller)
{
	AUTOFREE char *text = NULL;
	char *save = NULL;

	if (file_read(AT_FDCWD, "/proc/self/mountinfo", 4u << 20, &text, NULL, NULL) < 0)
		return NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char where[256], type[32], options[256], *sep = strstr(line, " - ");

		if (!sep || sscanf(line, "%*d %*d %*s %*s %255s", where) != 1 ||
			sscanf(sep, " - %31s %*s %255s", type, options) != 2)
			continue;
		if (!controller && streq(type, "cgroup2"))
			return xstrdup(where);
		if (controller && streq(type, "cgroup")) {
			char *inner = NULL;

			for (char *o = strtok_r(options, ",", &inner); o;
				o = strtok_r(NULL, ",", &inner))
				if (streq(o, controller))
					return xstrdup(where);
		}
	}
	return NULL;
}

static bool put(const char *dir, const char *file, const char *value)
{
	AUTOFREE char *path = xasprintf("%s/%s", dir, file);
	AUTOFD int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

static bool has_words(const char *dir, const char *file)
{
	AUTOFREE char *path = xasprintf("%s/%s", dir, file), *text = NULL;

	if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return false;
	return strstr(text, "memory") && strstr(text, "cpu") && strstr(text, "pids");
}

static bool give(const char *dir, const struct house_ids *ids)
{
	static const char *const files[] = {
		"", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"};

	if (geteuid() != 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTOFREE char *path = xasprintf("%s%s", dir, files[i]);

		if (lchown(path, ids->base, ids->base) < 0 && errno != ENOENT)
			return false;
	}
	return true;
}

/* The v2 group this process is in, below the mount. */
static char *own_group(const char *mount)
{
	AUTOFREE char *text = NULL;
	const char *p;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL, NULL) < 0)
		return NULL;
	p = strstr(text, "0::/");
	return p ? xasprintf("%s%.*s", mount, (int)strcspn(p + 3, "\n"), p + 3) : NULL;
}

/* The line for run/cgroups, or NULL. */
static char *prepare_v2(const char *name, const struct house_ids *ids, pid_t pid)
{
	char who[16];
	AUTOFREE char *mount = find_mount(NULL), *own = mount ? own_group(mount) : NULL;
	AUTOFREE char *group = NULL, *daemon = NULL;
	const char *place = geteuid() == 0 ? mount : own;

	snprintf(who, sizeof(who), "%d", (int)pid);
	if (!place || !has_words(place, "cgroup.controllers"))
		return NULL;
	if (geteuid() == 0 && !has_words(place, "cgroup.subtree_control") &&
		!put(place, "cgroup.subtree_control", "+memory +cpu +pids"))
		return NULL;
	group = xasprintf("%s/%s", place, name);
	daemon = xasprintf("%s/daemon", group);
	if (make_dir(group, 0755, NULL) < 0 || make_dir(daemon, 0755, NULL) < 0 ||
		!put(daemon, "cgroup.procs", who))
		goto no;
	/* An ordinary user's group must be empty before it can hand on its controllers. */
	if (geteuid() != 0 && (!put(daemon, "cgroup.procs", "0") ||
				      !put(place, "cgroup.subtree_control", "+memory +cpu +pids")))
		goto no;
	if (!put(group, "cgroup.subtree_control", "+memory +cpu +pids") || !give(group, ids) ||
		!give(daemon, ids))
		goto no;
	return xasprintf("v2 %s\n", group);
no:
	put(place, "cgroup.procs", who);
	put(place, "cgroup.procs", "0");
	rmdir(daemon);
	rmdir(group);
	return NULL;
}

static char *prepare_v1(const char *name, const struct house_ids *ids)
{
	struct buf lines;
	char *text;
	bool good = geteuid() == 0;

	buf_init(&lines, 4096);
	for (size_t i = 0; good && i < ARRAY_SIZE(controllers); i++) {
		AUTOFREE char *mount = find_mount(controllers[i]);
		AUTOFREE char *dir = xasprintf("%s/%s", mount ? mount : "", name);

		good = mount && make_dir(dir, 0755, NULL) == 0 && give(dir, ids) &&
		       buf_addf(&lines, "v1 %s %s\n", controllers[i], dir);
	}
	text = good ? xstrdup(buf_str(&lines)) : NULL;
	buf_done(&lines);
	return text;
}

char *house_prepare_cgroups(const char *state, const struct house_ids *ids, pid_t pid)
{
	AUTOFREE char *name = group_name(state);
	char *lines = prepare_v2(name, ids, pid);

	return lines ? lines : prepare_v1(name, ids);
}

static int remove_group(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)ftw;
	if (type == FTW_DP)
		rmdir(path);
	return 0;
}

/* v2: whoever is still in the leaf (the supervisor itself) goes back to the top. */
static void empty_daemon(const char *mount, const char *group)
{
	AUTOFREE char *procs = xasprintf("%s/daemon/cgroup.procs", group), *text = NULL;
	char *save = NULL;

	if (file_read(AT_FDCWD, procs, 65536, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		put(mount, "cgroup.procs", line);
}

/* An ordinary user's helper sits in the leaf itself: its group is the leaf's parent's parent. */
static void remove_v2(const char *mount, const char *name)
{
	AUTOFREE char *own = own_group(mount), *place = NULL, *dir = NULL;
	const char *found = own ? strstr(own, name) : NULL;

	if (geteuid() != 0 && !found)
		return;
	place = geteuid() == 0 ? xstrdup(mount) : xasprintf("%.*s", (int)(found - own - 1), own);
	dir = xasprintf("%s/%s", place, name);
	if (geteuid() !=
		0) /* controllers off first: a group that has them may not hold processes */
		put(place, "cgroup.subtree_control", "-memory -cpu -pids");
	empty_daemon(place, dir);
	nftw(dir, remove_group, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void house_remove_cgroups(const char *state)
{
	AUTOFREE char *name = group_name(state), *v2 = find_mount(NULL);

	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
		AUTOFREE char *mount = find_mount(controllers[i]);
		AUTOFREE char *dir = xasprintf("%s/%s", mount ? mount : "", name);

		if (mount)
			nftw(dir, remove_group, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	}
	if (v2)
		remove_v2(v2, name);
}
