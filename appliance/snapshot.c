/* Snapshots as folders of files. */
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "disk.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "util.h"

#define MANIFEST_MAX (1u << 20)
#define ALNUM "abcdefghijklmnopqrstuvwxyz0123456789"

static bool named(const char *text, const char *prefix, size_t max)
{
	size_t n = strlen(prefix), len = strlen(text);

	return len > n && len <= max && starts_with(text, prefix) &&
	       strspn(text + n, ALNUM) == len - n;
}

bool snapshot_id_valid(const char *id)
{
	return named(id, SNAPSHOT_ID_PREFIX, 32);
}

bool snapshot_base_valid(const char *name)
{
	return named(name, "m_", 32);
}

static bool digest_valid(const char *hex)
{
	return strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

static bool memory_valid(const cJSON *m)
{
	return snapshot_base_valid(json_str(m, "base", "")) &&
	       digest_valid(json_str(m, "base_digest", "")) &&
	       digest_valid(json_str(m, "device_digest", "")) &&
	       (!json_bool(m, "pages", false) || digest_valid(json_str(m, "pages_digest", "")));
}

static bool layers_valid(const cJSON *layers)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, layers) {
		if (!disk_name_valid(json_str(one, "name", "")) ||
			!digest_valid(json_str(one, "digest", "")))
			return false;
	}
	return cJSON_GetArraySize(layers) <= SNAPSHOT_LAYERS_MAX;
}

/* Of all other members, as they are printed. */
static void sum_of(const cJSON *m, char out[65])
{
	AUTOFREE char *text = cJSON_PrintUnformatted(m);
	uint8_t digest[32];

	crypto_generichash(digest, sizeof(digest), (const uint8_t *)text, strlen(text), NULL, 0);
	hex_encode(digest, sizeof(digest), out);
}

/* Takes the sum out and says whether it was right. Format 1 had none. */
static bool sum_valid(cJSON *m)
{
	cJSON *sum = cJSON_DetachItemFromObjectCaseSensitive(m, "sum");
	bool valid = !sum && json_int(m, "format", 0) == 1;
	char wanted[65];

	sum_of(m, wanted);
	valid |= sum && cJSON_IsString(sum) && streq(sum->valuestring, wanted);
	cJSON_Delete(sum);
	return valid;
}

static bool shape_valid(const cJSON *m)
{
	const cJSON *memory = json_get(m, "memory");
	int64_t format = json_int(m, "format", 0);

	return cJSON_IsObject(m) && (format == 1 || format == SNAPSHOT_FORMAT) &&
	       json_int(m, "memory_mib", 0) > 0 && json_int(m, "cpus", 0) > 0 &&
	       json_int(m, "disk_gib", 0) > 0 && layers_valid(json_get(m, "layers")) &&
	       (!memory || memory_valid(memory));
}

cJSON *snapshot_read(const char *folder, struct err *err)
{
	AUTOFREE char *path = xasprintf("%s/manifest.json", folder), *text = NULL;
	cJSON *m;

	if (file_read(AT_FDCWD, path, MANIFEST_MAX, &text, NULL, err) < 0)
		return NULL;
	m = cJSON_Parse(text);
	if (shape_valid(m) && sum_valid(m))
		return m;
	cJSON_Delete(m);
	err_set(err, EBADMSG, "%s is damaged", path);
	err_type(err, 409, "snapshot-damaged");
	return NULL;
}

int snapshot_rewrite(const char *folder, const cJSON *manifest, struct err *err)
{
	AUTOFREE char *path = xasprintf("%s/manifest.json", folder), *text = NULL;
	cJSON *m = cJSON_Duplicate(manifest, true);
	char sum[65];

	cJSON_DeleteItemFromObjectCaseSensitive(m, "sum");
	cJSON_DeleteItemFromObjectCaseSensitive(m, "format");
	cJSON_AddNumberToObject(m, "format", SNAPSHOT_FORMAT);
	sum_of(m, sum);
	cJSON_AddStringToObject(m, "sum", sum);
	text = cJSON_Print(m);
	cJSON_Delete(m);
	return file_write_atomic(path, text, strlen(text), 0444, err);
}

int snapshot_sync_folder(const char *folder, struct err *err)
{
	AUTOFD int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_sys(err, "cannot sync %s", folder) : 0;
}

static char *parent_of(const char *path)
{
	char *parent = xstrdup(path), *slash = strrchr(parent, '/');

	if (slash)
		*slash = 0;
	return parent;
}

/* Whoever is told that it was not published must not find it there, now or later. */
static int published(const char *folder, const char *parent, struct err *err)
{
	AUTOFREE char *manifest = xasprintf("%s/manifest.json", folder);
	int r = snapshot_sync_folder(parent, err);

	if (r < 0) {
		unlink(manifest);
		remove_tree(folder, NULL);
	}
	return r;
}

int snapshot_publish(const char *part, const char *folder, const cJSON *manifest, struct err *err)
{
	AUTOFREE char *parent = parent_of(folder);
	int r = snapshot_rewrite(part, manifest, err);

	if (r == 0)
		r = snapshot_sync_folder(part, err);
	if (r == 0 && rename(part, folder) < 0)
		r = err_sys(err, "cannot publish %s", folder);
	else if (r == 0)
		r = published(folder, parent, err);
	return r;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_ino == y.st_ino &&
	       x.st_dev == y.st_dev;
}

int snapshot_link(const char *from, const char *to, const char *name, struct err *err)
{
	AUTOFREE char *source = xasprintf("%s/%s", from, name),
		      *target = xasprintf("%s/%s", to, name);

	if (link(source, target) == 0 || (errno == EEXIST && same_file(source, target)))
		return 0;
	if (errno == ENOENT) {
		err_set(err, ENOENT, "%s is not there", source);
		return err_type(err, 409, "snapshot-damaged");
	}
	return err_sys(err, "cannot link %s to %s", source, target);
}

int snapshot_link_base(const char *from, const char *to, const cJSON *manifest, struct err *err)
{
	const cJSON *memory = json_get(manifest, "memory"), *one;
	int r = memory ? snapshot_link(from, to, json_str(memory, "base", ""), err) : 0;

	cJSON_ArrayForEach (one, json_get(manifest, "layers")) {
		AUTOFREE char *file = xasprintf("%s.qcow2", json_str(one, "name", ""));

		if (r == 0)
			r = snapshot_link(from, to, file, err);
	}
	return r;
}

int snapshot_link_memory(const char *from, const char *to, const cJSON *manifest, struct err *err)
{
	bool pages = json_bool(json_get(manifest, "memory"), "pages", false);
	int r = snapshot_link(from, to, "device", err);

	return r == 0 && pages ? snapshot_link(from, to, "pages", err) : r;
}

int snapshot_make_part(const char *part, struct err *err)
{
	int r = remove_tree(part, err);

	return r == 0 ? make_dir(part, 0700, err) : r;
}

int snapshot_remove(const char *folder, struct err *err)
{
	AUTOFREE char *parent = parent_of(folder),
		      *going = xasprintf("%s/.rm-%s", parent, strrchr(folder, '/') + 1);
	int r = remove_tree(going, err);

	if (r == 0 && rename(folder, going) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "cannot remove %s", folder);
	if (r == 0)
		r = snapshot_sync_folder(parent, err);
	return r == 0 ? remove_tree(going, err) : r;
}

uint64_t snapshot_own_bytes(const char *folder)
{
	DIR *dir = opendir(folder);
	uint64_t total = 0;
	struct dirent *e;
	struct stat st;

	while (dir && (e = readdir(dir)))
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode) && st.st_nlink == 1)
			total += (uint64_t)st.st_blocks * 512;
	if (dir)
		closedir(dir);
	return total;
}

void snapshot_sweep(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	struct err err;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *path = NULL;

		if (e->d_name[0] != '.' || streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		path = xasprintf("%s/%s", folder, e->d_name);
		if (remove_tree(path, &err) < 0)
			log_warning("%s", err.msg);
	}
	if (dir)
		closedir(dir);
}
