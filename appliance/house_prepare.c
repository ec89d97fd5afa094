/* The parts of entering the house: ids, the state folder, device nodes. */
#include "house_prepare.h"
#include "paths.h"
#include "process.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEPTH_MAX 16

int house_pick_ids(struct house_ids *ret, struct err *err)
{
	AUTOFREE char *map = NULL;
	unsigned long inside, outside, count, most = 0, start = 0;
	int used, r;

	r = file_read(AT_FDCWD, "/proc/self/uid_map", 65536, &map, NULL, err);
	if (r < 0)
		return r;
	for (const char *p = map; sscanf(p, "%lu %lu %lu%n", &inside, &outside, &count, &used) == 3;
		p += used) {
		if (inside <= HOUSE_HOST_BASE &&
			inside + count >= (unsigned long)HOUSE_HOST_BASE + HOUSE_IDS) {
			*ret = (struct house_ids){HOUSE_HOST_BASE, HOUSE_IDS};
			return 0;
		}
		if (count > most) {
			most = count;
			start = inside;
		}
	}
	/* In a namespace already (a container): the upper half of the largest piece. */
	if (most < 4096)
		return err_set(err, EPERM,
			"this user namespace has only %lu ids; the appliance needs 4096", most);
	ret->count = (unsigned)MIN(most / 2, (unsigned long)HOUSE_IDS);
	ret->base = (unsigned)(start + most - ret->count);
	return 0;
}

static int give_one(int dir, const char *name, const struct stat *st, const struct house_ids *ids)
{
	unsigned base = ids->base, end = base + ids->count;
	uid_t uid = st->st_uid >= base && st->st_uid < end ? (uid_t)-1 : base;
	gid_t gid = st->st_gid >= base && st->st_gid < end ? (gid_t)-1 : base;

	if (uid == (uid_t)-1 && gid == (gid_t)-1)
		return 0;
	return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT ? -errno
											 : 0;
}

/* Everything below dir (taken over), on the same file system. 0 or a negative errno. */
static int give_below(int dir, const struct house_ids *ids, dev_t dev, int depth)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d) {
		close(dir);
		return -ENOMEM;
	}
	while (r == 0 && (e = readdir(d))) {
		struct stat st;
		int sub;

		if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
			fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			st.st_dev != dev)
			continue;
		r = give_one(dirfd(d), e->d_name, &st, ids);
		if (r < 0 || !S_ISDIR(st.st_mode) || depth == 0)
			continue;
		sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			r = give_below(sub, ids, dev, depth - 1);
	}
	closedir(d);
	return r;
}

static int make_parents(const char *path, struct err *err)
{
	AUTOFREE char *copy = xstrdup(path);

	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int r;

		*slash = 0;
		r = make_dir(copy, 0755, err);
		if (r < 0)
			return r;
		*slash = '/';
	}
	return make_dir(path, 0711, err);
}

int house_prepare_state(const char *state, const struct house_ids *ids, struct err *err)
{
	int r = make_parents(state, err);
	AUTOFD int dir = r < 0 ? -1 : open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (r < 0)
		return r;
	if (dir < 0 || fstat(dir, &st) < 0)
		return err_sys(err, "cannot open the state folder %s", state);
	if (geteuid() != 0)
		return 0;
	/* A typing error must not give away somebody's home or system. */
	if (st.st_uid != 0 && (st.st_uid < ids->base || st.st_uid >= ids->base + ids->count)) {
		err_set(err, EPERM, "the state folder %s belongs to uid %u", state,
			(unsigned)st.st_uid);
		return err_hint(
			err, "name a folder of its own with --state, or run berth up as that user");
	}
	if (fchown(dir, ids->base, ids->base) < 0)
		return err_sys(err, "cannot give %s to the appliance", state);
	r = give_below(steal_fd(&dir), ids, st.st_dev, DEPTH_MAX);
	return r < 0 ? err_set(err, r, "cannot give %s to the appliance: %s", state, strerror(-r))
		     : 0;
}

/* A device node of our own that belongs to uid 0 inside. */
static void make_node(int dir, const char *name, dev_t dev, const struct house_ids *ids)
{
	if (dir < 0 || mknodat(dir, name, S_IFCHR | 0600, dev) < 0)
		return;
	if (fchownat(dir, name, ids->base, ids->base, AT_SYMLINK_NOFOLLOW) < 0)
		unlinkat(dir, name, 0);
}

void house_prepare_nodes(const char *state, const struct house_ids *ids)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	AUTOFD int top = open(state, flags);
	AUTOFD int run = top < 0 ? -1 : openat(top, "run", flags);
	AUTOFD int dev = run < 0 ? -1 : openat(run, "dev", flags);

	if (geteuid() != 0)
		return;
	make_node(run, "tun", makedev(10, 200), ids);
	if (access("/dev/kvm", F_OK) == 0)
		make_node(dev, "kvm", makedev(10, 232), ids);
}

/* The fixed folders (docs/internals.md). setgid: sockets made there belong to the folder's group.
 */
static const struct {
	const char *name;
	mode_t mode;
	uid_t uid;
	gid_t gid;
} folders[] = {
	{"images", 0755, 0, 0},
	{"agents", 0711, 0, 0},
	{"log", 0700, 0, 0},
	{"run", 0711, 0, 0},
	{"run/dev", 0700, 0, 0},
	{"run/ns", 0700, 0, 0},
	{"run/agents", 0711, 0, 0},
	{"run/api", 02770, 0, HOUSE_UID_GATEWAY},
	{"run/control", 02750, 0, HOUSE_UID_GATEWAY},
	{"run/service", 02750, HOUSE_UID_GATEWAY, HOUSE_UID_POLICY},
};

void house_unpin(const char *state)
{
	AUTOFREE char *path = path_in(state, "run/ns");
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		AUTOFREE char *pin = xasprintf("%s/%s", path, e->d_name);

		if (e->d_name[0] != '.')
			umount2(pin, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	if (d)
		closedir(d);
}

void house_repin(const char *state)
{
	AUTOFREE char *agents = path_in(state, "run/agents");
	DIR *d = opendir(agents);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		AUTOFREE char *pid_file = xasprintf("%s/%s/qemu.pid", agents, e->d_name);
		AUTOFREE char *pin = path_in(state, "run/ns/%s", e->d_name);
		pid_t pid = e->d_name[0] == '.' ? 0 : process_read_file(pid_file);
		AUTOFREE char *ns = xasprintf("/proc/%d/ns/net", (int)pid);

		if (pid && mount(ns, pin, NULL, MS_BIND, NULL) < 0)
			fprintf(stderr, "berth: cannot pin the network of %s again: %s\n",
				e->d_name, strerror(errno));
	}
	if (d)
		closedir(d);
}

int house_furnish(const char *state, struct err *err)
{
	AUTOFREE char *run = path_in(state, "run");
	int r = remove_tree(run, err);

	if (r == 0 && chmod(state, 0711) < 0)
		r = err_sys(err, "cannot set the mode of %s", state);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++) {
		AUTOFREE char *path = path_in(state, "%s", folders[i].name);

		r = make_dir(path, (int)folders[i].mode, err);
		if (r == 0)
			r = house_chown(path, folders[i].uid, folders[i].gid, err);
		if (r == 0 && chmod(path, folders[i].mode) < 0)
			r = err_sys(err, "cannot set the mode of %s", path);
	}
	return r;
}
