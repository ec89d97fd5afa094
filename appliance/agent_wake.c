/*
 * Agents made from memory and disk that were kept: woken, put back to a snapshot, forked.
 *
 * Before anything is used, what it stands on is checked against the digests of its manifest. All
 * files of the new state are linked in before the record names them; what the record does not name
 * is swept later.
 */
#include "agent_priv.h"
#include "agent_save.h"
#include "disk.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "snapshot.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static void add_file(struct agent *a, struct verify_file *f, const char *name, const char *ending,
	const char *digest)
{
	f->path = path_in(a->all->state, "agents/%s/%s%s", a->rec.id, name, ending);
	snprintf(f->digest, sizeof(f->digest), "%s", digest);
}

struct verify *agent_verify(struct agent *a, const cJSON *manifest, verify_done_fn *done)
{
	const cJSON *memory = json_get(manifest, "memory"), *one;
	cJSON *layers = agent_layers(a);
	struct verify_file files[VERIFY_FILES_MAX];
	struct verify *q;
	size_t n = 0;

	if (memory)
		add_file(a, &files[n++], json_str(memory, "base", ""), "",
			json_str(memory, "base_digest", ""));
	cJSON_ArrayForEach (one, layers) {
		if (n < VERIFY_FILES_MAX && json_str(one, "digest", "")[0])
			add_file(a, &files[n++], json_str(one, "name", ""), ".qcow2",
				json_str(one, "digest", ""));
	}
	q = n > 0 ? verify_files(a->all->verifier, files, n, done, a) : NULL;
	while (n > 0)
		free(files[--n].path);
	cJSON_Delete(layers);
	return q;
}

struct verify *snapshot_verify(
	struct agents *all, const cJSON *manifest, verify_done_fn *done, void *data)
{
	AUTOFREE char *folder = path_in(all->state, "snapshots/%s", json_str(manifest, "id", ""));
	const cJSON *memory = json_get(manifest, "memory"), *one;
	struct verify_file files[VERIFY_FILES_MAX];
	struct verify *q;
	size_t n = 0;

	for (size_t i = 0; memory && i < 3; i++) {
		static const char *const digests[] = {
			"base_digest", "device_digest", "pages_digest"};
		const char *names[] = {json_str(memory, "base", ""), "device", "pages"};

		if (i == 2 && !json_bool(memory, "pages", false))
			break;
		files[n].path = xasprintf("%s/%s", folder, names[i]);
		snprintf(files[n++].digest, sizeof(files[0].digest), "%s",
			json_str(memory, digests[i], ""));
	}
	cJSON_ArrayForEach (one, json_get(manifest, "layers")) {
		files[n].path = xasprintf("%s/%s.qcow2", folder, json_str(one, "name", ""));
		snprintf(files[n++].digest, sizeof(files[0].digest), "%s",
			json_str(one, "digest", ""));
	}
	q = verify_files(all->verifier, files, n, done, data);
	while (n > 0)
		free(files[--n].path);
	return q;
}

/* The memory of the folder `from` becomes what the agent wakes from with `disk`. */
static int link_sleep(
	struct agent *a, const char *from, const cJSON *manifest, const char *disk, struct err *err)
{
	AUTOFREE char *to = path_in(a->all->state, "agents/%s/sleep.%s", a->rec.id, disk),
		      *part = xasprintf("%s.part", to);
	cJSON *m = cJSON_Duplicate(manifest, true);
	int r = snapshot_make_part(part, err);

	cJSON_ReplaceItemInObject(m, "kind", cJSON_CreateString("sleep"));
	if (r == 0)
		r = snapshot_link_memory(from, part, m, err);
	if (r == 0)
		r = snapshot_publish(part, to, m, err);
	cJSON_Delete(m);
	return r;
}

/* Files of the origin, and a disk of its own on top of them. */
static int take_files(
	struct agent *a, const char *from, const cJSON *manifest, const char *disk, struct err *err)
{
	AUTOFREE char *folder = agent_folder(a), *path = xasprintf("%s/%s.qcow2", folder, disk),
		      *on = NULL;
	const cJSON *layers = json_get(manifest, "layers");
	int n = cJSON_GetArraySize(layers), r = make_dir_synced(folder, 0711, err);

	if (n > 0)
		on = xasprintf("%s.qcow2", json_str(cJSON_GetArrayItem(layers, n - 1), "name", ""));
	if (r == 0)
		r = snapshot_link_base(from, folder, manifest, err);
	if (r == 0 && json_get(manifest, "memory"))
		r = link_sleep(a, from, manifest, disk, err);
	if (r == 0)
		r = disk_make(
			path, on, (unsigned)json_int(manifest, "disk_gib", 1), a->rec.slot, err);
	if (r == -ENOSPC)
		err_type(err, 507, "disk-full");
	return r;
}

void agent_origin_record(struct agent_record *rec, const cJSON *manifest)
{
	const cJSON *memory = json_get(manifest, "memory");

	snprintf(rec->image, sizeof(rec->image), "%s", json_str(manifest, "image", ""));
	rec->memory_mib = (unsigned)json_int(manifest, "memory_mib", 0);
	rec->cpus = (unsigned)json_int(manifest, "cpus", 0);
	rec->disk_gib = (unsigned)json_int(manifest, "disk_gib", 0);
	free(rec->layers);
	rec->layers = cJSON_PrintUnformatted(json_get(manifest, "layers"));
	snprintf(rec->base, sizeof(rec->base), "%s", json_str(memory, "base", SNAPSHOT_ZERO_BASE));
	snprintf(rec->base_digest, sizeof(rec->base_digest), "%s",
		json_str(memory, "base_digest", ""));
	snprintf(rec->head, sizeof(rec->head), "%s", json_str(manifest, "id", ""));
}

int agent_take_origin(struct agent *a, const struct agent_origin *o, struct err *err)
{
	return take_files(a, o->folder, o->manifest, a->rec.disk, err);
}

/* Away with what take_files made for a disk that the record will not name; links cost nothing. */
static void drop_files(struct agent *a, const char *disk)
{
	AUTOFREE char *file = path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, disk),
		      *asleep = path_in(a->all->state, "agents/%s/sleep.%s", a->rec.id, disk),
		      *part = xasprintf("%s.part", asleep);

	unlink(file);
	remove_tree(asleep, NULL);
	remove_tree(part, NULL);
}

/* Whether what take_files made is still all there; the links are given again. */
static bool has_files(struct agent *a, const char *from, const cJSON *m, const char *disk)
{
	AUTOFREE char *folder = agent_folder(a), *file = xasprintf("%s/%s.qcow2", folder, disk),
		      *asleep = xasprintf("%s/sleep.%s/manifest.json", folder, disk);

	return access(file, F_OK) == 0 && (!json_get(m, "memory") || access(asleep, F_OK) == 0) &&
	       snapshot_link_base(from, folder, m, NULL) == 0;
}

int agent_rewind(struct agent *a, struct err *err)
{
	AUTOFREE char *from = path_in(a->all->state, "snapshots/%s", a->rewind);
	struct agent_record was = a->rec;
	cJSON *m = snapshot_read(from, err);
	int r = m ? 0 : -EBADMSG;
	char disk[64];

	memcpy(disk, a->rewind_disk, sizeof(disk));
	if (r == 0 && !has_files(a, from, m, disk)) {
		make_id("d_", disk);
		r = take_files(a, from, m, disk, err);
	}
	if (r == 0) {
		a->rec.layers = NULL;
		agent_origin_record(&a->rec, m);
		snprintf(a->rec.disk, sizeof(a->rec.disk), "%s", disk);
		a->rec.boots++; /* connections of before are not of this life */
		r = store_agent_save(a->all->o.store, &a->rec, err);
		free(r < 0 ? a->rec.layers : was.layers);
		if (r < 0)
			a->rec = was;
	}
	agent_folder_sweep(a);
	cJSON_Delete(m);
	return r < 0 ? err_context(err, "agent '%s' is as it was", a->rec.name) : 0;
}

int agent_restore(struct agent *a, const char *snapshot, const char *by, const struct asker *asker,
	struct err *err)
{
	AUTOFREE char *from = path_in(a->all->state, "snapshots/%s", snapshot);
	cJSON *m;
	int r;

	if (a->save) {
		err_set(err, EBUSY, "a snapshot of '%s' is being made", a->rec.name);
		return err_type(err, 409, "wrong-state");
	}
	m = snapshot_read(from, err);
	if (!m)
		return -EBADMSG;
	/* Where there is no room for it, it goes on as it is. */
	make_id("d_", a->rewind_disk);
	r = take_files(a, from, m, a->rewind_disk, err);
	if (r < 0)
		err_context(err, "agent '%s' is as it was", a->rec.name);
	if (r == 0)
		snprintf(a->rewind, sizeof(a->rewind), "%s", snapshot);
	cJSON_Delete(m);
	if (r == 0)
		r = agent_ask(a, INPUT_REWIND, by, asker, err);
	if (r < 0)
		drop_files(a, a->rewind_disk);
	return r;
}
