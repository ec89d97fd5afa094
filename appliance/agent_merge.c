/*
 * Long chains of layers made shorter while the agent runs.
 *
 * Theory of operation. Every snapshot leaves a layer behind, and each layer makes a wake and a boot
 * a little longer. From MERGE_FROM layers on, the upper ones are copied into one new file beside
 * the running guest, and its disk is put on that:
 *
 *   a new file -> filled (vm_merge) -> frozen, read for its digest -> the record names both chains
 *   -> the disk's header changes (vm_rest_disk) -> the record names the new chain, the files of the
 *   old one that no snapshot names are gone
 *
 * No layer is ever changed: snapshots keep theirs. Both chains hold the same, so whatever is killed
 * leaves a whole disk; its header says which chain it is, and agent_layers_settle believes that. A
 * snapshot that comes meanwhile ends it, unless the disk is just being moved or has come near the
 * most layers that it may have: then it waits.
 *
 * Which: at least MERGE_LEAST, and down to the first that is larger than all above it, so that a
 * byte is copied a number of times that grows with the logarithm of what is written. The lowest,
 * which is shared with other agents, is never among them.
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
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MERGE_FROM 16
#define MERGE_LEAST 8
#define MERGE_WAIT (SNAPSHOT_LAYERS_MAX - 8) /* from here on a snapshot waits for it */
#define AGAIN_MS 60000                       /* after one that failed */

struct agent_merge {
	struct agent *a;
	char into[64];
	cJSON *layers; /* the chain it is to become; the last is `into`, not there yet */
	struct verify *verifying;
	bool moving; /* the record names both chains */
};

static char *layer_path(const struct agent *a, const char *name)
{
	return path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, name);
}

static const char *layer_name(const cJSON *layers, int i)
{
	return json_str(cJSON_GetArrayItem(layers, i), "name", "");
}

static uint64_t layer_bytes(const struct agent *a, const cJSON *layers, int i)
{
	AUTOFREE char *path = layer_path(a, layer_name(layers, i));
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* The lowest of those that become one. */
static int first_to_merge(const struct agent *a, const cJSON *layers)
{
	int i = cJSON_GetArraySize(layers);
	uint64_t above = 0;

	for (int least = MERGE_LEAST; i > 1; i--, least--) {
		uint64_t bytes = layer_bytes(a, layers, i - 1);

		if (least <= 0 && bytes > above)
			break;
		above += bytes;
	}
	return i;
}

/* The disk stands on one of the two chains that the record names. */
void agent_layers_settle(struct agent *a)
{
	AUTOFREE char *disk = layer_path(a, a->rec.disk);
	AUTOFD int fd = -1;
	char below[DISK_NAME_MAX + 1] = "";
	cJSON *next;
	struct err err;

	if (!a->rec.next_layers || !a->rec.next_layers[0])
		return;
	next = cJSON_Parse(a->rec.next_layers);
	fd = open(disk, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	/* What the record gives up is removed: what the header says must be there to stay. */
	if (disk_stands_on(disk, below, &err) < 0) {
		log_warning("%s: %s", a->rec.name, err.msg);
	} else if (fd >= 0 && fsync(fd) == 0) {
		char **gone = streq(below, layer_name(next, cJSON_GetArraySize(next) - 1))
				      ? &a->rec.layers
				      : &a->rec.next_layers;

		free(*gone);
		*gone = NULL;
		if (!a->rec.layers)
			a->rec.layers = steal(&a->rec.next_layers);
		agent_save(a);
	}
	cJSON_Delete(next);
}

static void merge_free(struct agent_merge *m)
{
	m->a->merge = NULL;
	verify_cancel(m->verifying);
	cJSON_Delete(m->layers);
	free(m);
}

static void finish(struct agent_merge *m, const struct err *err)
{
	struct agent *a = m->a;

	if (err)
		log_warning("%s: its layers stay as they are: %s", a->rec.name, err->msg);
	a->merge_after = err ? now_ms() + AGAIN_MS : 0;
	merge_free(m);
	agent_layers_settle(a);
	agent_folder_sweep(a);
	agent_save_merged(a);
}

static void on_moved(void *data, const struct err *err)
{
	struct agent_merge *m = data;

	if (!err)
		log_info("%s: its disk stands on %d layers now", m->a->rec.name,
			cJSON_GetArraySize(m->layers));
	finish(m, err);
}

static int name_both(struct agent_merge *m, const char *digest, struct err *err)
{
	AUTOFREE char *folder = agent_folder(m->a);
	cJSON *one = cJSON_CreateObject();
	int r = snapshot_sync_folder(folder, err);

	cJSON_AddStringToObject(one, "name", m->into);
	cJSON_AddStringToObject(one, "digest", digest);
	cJSON_AddItemToArray(m->layers, one);
	if (r < 0)
		return r;
	free(m->a->rec.next_layers);
	m->a->rec.next_layers = cJSON_PrintUnformatted(m->layers);
	r = store_agent_save(m->a->all->o.store, &m->a->rec, err);
	if (r < 0)
		free(steal(&m->a->rec.next_layers));
	return r;
}

static void on_digest(void *data, const struct verify_file *files, size_t n, const struct err *err)
{
	struct agent_merge *m = data;
	struct err why;

	m->verifying = NULL;
	if (err || name_both(m, files[0].digest, &why) < 0) {
		finish(m, err ? err : &why);
		return;
	}
	m->moving = true;
	vm_rest_disk(m->a->vm, m->into, on_moved, m);
}

static void on_filled(void *data, const struct err *err)
{
	struct agent_merge *m = data;
	AUTOFREE char *path = layer_path(m->a, m->into);
	struct verify_file one = {.path = path};
	struct err why;

	if (err || disk_freeze(path, &why) < 0)
		finish(m, err ? err : &why);
	else
		m->verifying = verify_files(m->a->all->verifier, &one, 1, on_digest, m);
}

int agent_merge_begin(struct agent *a, struct err *err)
{
	struct agent_merge *m = xcalloc(1, sizeof(*m));
	AUTOFREE char *path = NULL, *lower = agent_lower_disk(a);
	int from, r;

	m->a = a;
	m->layers = agent_layers(a);
	from = first_to_merge(a, m->layers);
	while (cJSON_GetArraySize(m->layers) > from)
		cJSON_DeleteItemFromArray(m->layers, from);
	make_id("d_", m->into);
	path = layer_path(a, m->into);
	r = disk_make(path, lower, a->rec.disk_gib, a->rec.slot, err);
	if (r == 0)
		r = vm_merge(a->vm, m->into, layer_name(m->layers, from - 1), on_filled, m, err);
	a->merge = m;
	if (r < 0) {
		unlink(path);
		merge_free(m);
	}
	return r;
}

static int layer_count(const struct agent *a)
{
	cJSON *layers = agent_layers(a);
	int n = cJSON_GetArraySize(layers);

	cJSON_Delete(layers);
	return n;
}

void agent_merge_look(struct agent *a)
{
	struct err err;

	if (a->phase != PHASE_RUNNING || a->save || a->merge || !a->vm || a->all->shutting ||
		now_ms() < a->merge_after || agent_is_hidden(a) || layer_count(a) < MERGE_FROM ||
		(a->rec.next_layers && a->rec.next_layers[0]))
		return;
	if (agent_merge_begin(a, &err) < 0) {
		log_warning("%s: its layers cannot be merged: %s", a->rec.name, err.msg);
		a->merge_after = now_ms() + AGAIN_MS;
	}
}

bool agent_merge_first(struct agent *a)
{
	bool many = layer_count(a) >= MERGE_WAIT;
	struct err err;

	if (a->merge && !a->merge->moving && !many)
		agent_merge_stop(a);
	if (!a->merge && many && a->phase == PHASE_RUNNING && agent_merge_begin(a, &err) < 0)
		log_warning("%s: its layers cannot be merged: %s", a->rec.name, err.msg);
	return a->merge;
}

void agent_merge_stop(struct agent *a)
{
	if (!a->merge || a->merge->moving)
		return;
	if (a->vm)
		vm_merge_cancel(a->vm);
	merge_free(a->merge);
	agent_folder_sweep(a);
}

void agent_merge_drop(struct agent *a)
{
	if (a->merge)
		merge_free(a->merge);
	agent_layers_settle(a);
}
