/*
 * An agent's folder, STATE/agents/ID: what its disk and memory stand on, and its memory while it
 * sleeps.
 *
 *   d_….qcow2   the file that the guest writes (record: disk), owned by the agent's uid
 *   d_….qcow2   the layers that one stands on (record: layers, next_layers), nobody's to write
 *   m_…         what its memory is a view of (record: base)
 *   sleep.d_…/  its memory (snapshot.h), while it is suspended, named for the disk that it goes
 *               with: with it the guest wakes, and it is renamed to sleep.old just before the guest
 *               runs again, which goes once the guest has been told who and when it is
 *
 * The folder is root's: QEMU reads in it and writes the one file. What the record does not name is
 * a leftover of something cut short, and goes.
 */
#include "agent_priv.h"
#include "disk.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "snapshot.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

char *agent_folder(const struct agent *a)
{
	return path_in(a->all->state, "agents/%s", a->rec.id);
}

char *agent_sleep_folder(const struct agent *a)
{
	return path_in(a->all->state, "agents/%s/sleep.%s", a->rec.id, a->rec.disk);
}

cJSON *agent_layers(const struct agent *a)
{
	return cJSON_Parse(a->rec.layers ? a->rec.layers : "[]");
}

/* The name of the layer right below the disk, or NULL. The caller's to free. */
char *agent_lower_disk(const struct agent *a)
{
	cJSON *layers = agent_layers(a);
	int n = cJSON_GetArraySize(layers);
	const char *name = n ? json_str(cJSON_GetArrayItem(layers, n - 1), "name", "") : NULL;
	char *file = name ? xasprintf("%s.qcow2", name) : NULL;

	cJSON_Delete(layers);
	return file;
}

/* A file of holes as large as the memory: what a boot's memory stands on. */
static int make_zero_base(const struct agent *a, struct err *err)
{
	AUTOFREE char *path = path_in(a->all->state, "agents/%s/%s", a->rec.id, SNAPSHOT_ZERO_BASE),
		      *part = xasprintf("%s.part", path);
	AUTOFD int fd = -1;
	unsigned mib, cpus;
	struct stat st;
	off_t size;

	agent_size(a, &mib, &cpus);
	size = (off_t)mib << 20;
	if (stat(path, &st) == 0 && st.st_size == size)
		return 0;
	unlink(part);
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0 || ftruncate(fd, size) < 0 || rename(part, path) < 0)
		return err_sys(err, "cannot make %s", path);
	return 0;
}

int agent_folder_make(struct agent *a, struct err *err)
{
	AUTOFREE char *folder = agent_folder(a), *lower = agent_lower_disk(a), *disk = NULL;
	int r = make_dir_synced(folder, 0711, err);

	if (r == 0 && !a->rec.disk[0]) {
		make_id("d_", a->rec.disk);
		snprintf(a->rec.base, sizeof(a->rec.base), "%s", SNAPSHOT_ZERO_BASE);
		r = store_agent_save(a->all->o.store, &a->rec, err);
	}
	disk = xasprintf("%s/%s.qcow2", folder, a->rec.disk);
	if (r == 0 && access(disk, F_OK) < 0)
		r = disk_make(disk, lower, a->rec.disk_gib, a->rec.slot, err);
	if (r == 0 && streq(a->rec.base, SNAPSHOT_ZERO_BASE))
		r = make_zero_base(a, err);
	if (r == -ENOSPC)
		err_type(err, 507, "disk-full");
	return r;
}

bool agent_folder_names(const struct agent *a, const char *file)
{
	AUTOFREE char *disk = xasprintf("%s.qcow2", a->rec.disk),
		      *asleep = xasprintf("sleep.%s", a->rec.disk), *quoted = NULL;
	size_t n = strlen(file);

	if (streq(file, disk) || streq(file, a->rec.base) || streq(file, asleep))
		return true;
	if (n < 7 || !streq(file + n - 6, ".qcow2"))
		return false;
	quoted = xasprintf("\"%.*s\"", (int)(n - 6), file);
	return strstr(a->rec.layers ? a->rec.layers : "", quoted) ||
	       strstr(a->rec.next_layers ? a->rec.next_layers : "", quoted);
}

void agent_folder_sweep(struct agent *a)
{
	AUTOFREE char *folder = agent_folder(a);
	DIR *dir = opendir(folder);
	struct dirent *e;
	struct err err;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *path = NULL;

		if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
			agent_folder_names(a, e->d_name))
			continue;
		path = xasprintf("%s/%s", folder, e->d_name);
		if (remove_tree(path, &err) < 0)
			log_warning("%s: %s", a->rec.name, err.msg);
	}
	if (dir)
		closedir(dir);
}

cJSON *agent_sleep(const struct agent *a, struct err *err)
{
	AUTOFREE char *folder = agent_sleep_folder(a);
	cJSON *m = snapshot_read(folder, err);

	if (!m || json_get(m, "memory"))
		return m;
	cJSON_Delete(m);
	err_set(err, EBADMSG, "%s is damaged: no memory is in it", folder);
	err_type(err, 409, "snapshot-damaged");
	return NULL;
}

void agent_size(const struct agent *a, unsigned *ret_memory_mib, unsigned *ret_cpus)
{
	cJSON *m = a->vm ? NULL : agent_sleep(a, NULL);

	*ret_memory_mib = a->vm ? a->vm_memory_mib : a->rec.memory_mib;
	*ret_cpus = a->vm ? a->vm_cpus : a->rec.cpus;
	*ret_memory_mib = (unsigned)json_int(m, "memory_mib", *ret_memory_mib);
	*ret_cpus = (unsigned)json_int(m, "cpus", *ret_cpus);
	cJSON_Delete(m);
}

bool agent_sleeps(const struct agent *a)
{
	struct err err;
	cJSON *m = agent_sleep(a, &err);
	bool there = m || err.code != -ENOENT;

	cJSON_Delete(m);
	return there;
}

int agent_sleep_consume(struct agent *a, struct err *err)
{
	AUTOFREE char *folder = agent_folder(a), *from = agent_sleep_folder(a),
		      *to = xasprintf("%s/sleep.old", folder);
	int r = remove_tree(to, err);

	if (r == 0 && rename(from, to) < 0)
		return err_sys(err, "cannot use up %s", from);
	r = r == 0 ? snapshot_sync_folder(folder, err) : r;
	if (r < 0 && rename(to, from) < 0)
		log_warning("%s: what it slept with is used up: %s", a->rec.name, err->msg);
	return r;
}

bool agent_half_awake(const struct agent *a)
{
	AUTOFREE char *old = path_in(a->all->state, "agents/%s/sleep.old", a->rec.id);

	return access(old, F_OK) == 0;
}

void agent_sleep_forget(struct agent *a)
{
	AUTOFREE char *old = path_in(a->all->state, "agents/%s/sleep.old", a->rec.id);
	struct err err;

	if (agent_sleeps(a) && agent_sleep_consume(a, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
	if (remove_tree(old, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
}

static uint64_t blocks_below(const char *path)
{
	DIR *dir = opendir(path);
	uint64_t total = 0;
	struct dirent *e;
	struct stat st;

	while (dir && (e = readdir(dir)))
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			total += (uint64_t)st.st_blocks * 512 / (st.st_nlink ? st.st_nlink : 1);
	if (dir)
		closedir(dir);
	return total;
}

/* Files that others name as well count in part. */
uint64_t agent_folder_bytes(const struct agent *a)
{
	AUTOFREE char *folder = agent_folder(a), *asleep = agent_sleep_folder(a);

	return blocks_below(folder) + blocks_below(asleep);
}
