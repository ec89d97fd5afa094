/*
 * Memory and disk of agents kept: suspended, taken as a snapshot.
 *
 * Theory of operation. A snapshot is one operation at a time per agent (struct agent_save):
 *
 *   running    a new disk file is made -> the guest stands still, its memory is captured (vm_save)
 *              -> it goes on writing to the new file; the pause is over -> pages and digests are
 *              written -> published
 *   at rest    the same without a guest; the memory of a sleeping one is linked
 *
 * The record moves to the new disk file while nobody writes: whatever is killed before, the old
 * file is the agent's disk; whatever is killed after, the new one, which holds nothing yet, on top
 * of the old one. The snapshot itself exists when its folder has its name.
 */
#include "agent_save.h"
#include "agent_priv.h"
#include "disk.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "snapshot.h"
#include "util.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

struct agent_save {
	struct agent *a;
	char id[64], tag[SNAPSHOT_TAG_MAX], disk[64]; /* disk: what the guest writes from now on */
	char *part;
	bool passing;           /* not to be kept */
	bool memory, switched;  /* switched: disk is what it writes */
	bool saving, switching; /* vm_save or vm_switch_disk has not answered yet */
	struct err err;         /* the first thing that went wrong */
	bool same;              /* the disk has nothing that is not in its layers: no new one */
	bool waits;             /* for layers to be merged; nothing has been done yet */
	cJSON *saved;           /* the manifest's memory */
	uint64_t began, pause_ms;
	struct verify *verifying;
	agent_saved_fn *done;
	void *data;
};

cJSON *agent_manifest(const struct agent *a, const char *kind)
{
	cJSON *m = cJSON_CreateObject();
	unsigned memory_mib, cpus;

	agent_size(a, &memory_mib, &cpus);
	cJSON_AddNumberToObject(m, "format", SNAPSHOT_FORMAT);
	cJSON_AddStringToObject(m, "kind", kind);
	cJSON_AddStringToObject(m, "agent", a->rec.id);
	cJSON_AddStringToObject(m, "agent_name", a->rec.name);
	cJSON_AddStringToObject(m, "parent", a->rec.head);
	cJSON_AddNumberToObject(m, "created_ms", (double)(realtime_ns() / 1000000));
	cJSON_AddStringToObject(m, "image", a->rec.image);
	cJSON_AddNumberToObject(m, "memory_mib", memory_mib);
	cJSON_AddNumberToObject(m, "cpus", cpus);
	cJSON_AddNumberToObject(m, "disk_gib", a->rec.disk_gib);
	cJSON_AddItemToObject(m, "policy", cJSON_Duplicate(a->policy, true));
	return m;
}

/* The digest of a file of holes: of nothing (pages_main.c). */
static void zero_digest(char out[65])
{
	uint8_t digest[32];

	crypto_generichash(digest, sizeof(digest), NULL, 0, NULL, 0);
	hex_encode(digest, sizeof(digest), out);
}

static cJSON *memory_json(const struct agent *a, const struct vm_saved *saved)
{
	cJSON *m = cJSON_CreateObject();
	char digest[68];

	if (a->rec.base_digest[0])
		memcpy(digest, a->rec.base_digest, sizeof(a->rec.base_digest));
	else
		zero_digest(digest);
	cJSON_AddStringToObject(m, "base", a->rec.base);
	cJSON_AddStringToObject(m, "base_digest", digest);
	cJSON_AddBoolToObject(m, "pages", true);
	cJSON_AddStringToObject(m, "pages_digest", saved->pages_digest);
	cJSON_AddStringToObject(m, "device_digest", saved->device_digest);
	cJSON_AddStringToObject(m, "machine", saved->machine);
	cJSON_AddNumberToObject(m, "bytes", (double)saved->bytes);
	cJSON_AddNumberToObject(m, "page_count", (double)saved->pages);
	cJSON_AddNumberToObject(m, "zero_pages", (double)saved->zero_pages);
	return m;
}

static void not_suspended(struct agent *a)
{
	AUTOFREE char *folder = agent_sleep_folder(a), *part = xasprintf("%s.part", folder);

	remove_tree(part, NULL);
	if (a->err.code == -ENOSPC)
		err_type(&a->err, 507, "disk-full");
	err_context(&a->err, "agent '%s' cannot be suspended", a->rec.name);
	if (a->vm)
		vm_continue(a->vm);
	agent_feed(a, INPUT_ERROR);
}

static void on_slept(void *data, const struct vm_saved *saved, const struct err *err)
{
	struct agent *a = data;
	AUTOFREE char *folder = agent_sleep_folder(a), *part = xasprintf("%s.part", folder);
	cJSON *m;
	int r;

	if (err) {
		a->err = *err;
		not_suspended(a);
		return;
	}
	m = agent_manifest(a, "sleep");
	cJSON_AddItemToObject(m, "memory", memory_json(a, saved));
	r = snapshot_publish(part, folder, m, &a->err);
	cJSON_Delete(m);
	if (r < 0)
		not_suspended(a);
	else
		vm_end_saved(a->vm);
}

static void on_sleep_captured(void *data)
{
}

void agent_suspend(struct agent *a)
{
	AUTOFREE char *folder = agent_sleep_folder(a), *part = xasprintf("%s.part", folder);
	const struct vm_save_callbacks cb = {on_sleep_captured, on_slept, a};

	a->err = (struct err){0};
	agent_merge_stop(a);
	if (snapshot_make_part(part, &a->err) < 0 || vm_save(a->vm, part, &cb, &a->err) < 0)
		not_suspended(a);
}

int agent_push_disk(struct agent *a, const char *disk, bool written, struct err *ret_err)
{
	struct agent_record was = a->rec;
	cJSON *layers = agent_layers(a), *one = cJSON_CreateObject();
	int r;

	cJSON_AddStringToObject(one, "name", a->rec.disk);
	cJSON_AddStringToObject(one, "digest", "");
	cJSON_AddItemToArray(layers, one);
	a->rec.layers = cJSON_PrintUnformatted(layers);
	cJSON_Delete(layers);
	snprintf(a->rec.disk, sizeof(a->rec.disk), "%s", disk);
	r = store_agent_save(a->all->o.store, &a->rec, ret_err);
	if (r < 0)
		log_error("%s: %s", a->rec.name, ret_err->msg);
	if (r < 0 && !written) {
		free(a->rec.layers);
		a->rec = was;
		return r;
	}
	free(was.layers);
	return r;
}

/* Ends the operation: with a manifest, or why not. */
static void finish(struct agent_save *s, const cJSON *manifest, const struct err *err)
{
	struct agent *a = s->a;
	struct err why;

	a->save = NULL;
	verify_cancel(s->verifying);
	if (err) {
		why = *err;
		err_context(&why, "no snapshot of '%s' was made", a->rec.name);
		remove_tree(s->part, NULL);
	}
	if (err && !s->switched)
		agent_folder_sweep(a);
	s->done(s->data, a, manifest, err ? &why : NULL);
	cJSON_Delete(s->saved);
	free(s->part);
	free(s);
	agent_merge_look(a);
}

void agent_save_abort(struct agent *a, const struct err *why)
{
	if (a->save)
		finish(a->save, NULL, why);
}

/* The digests that were not known, into the record and the manifest. */
static void take_digests(struct agent *a, const struct verify_file *files, size_t n)
{
	cJSON *layers = cJSON_Parse(a->rec.layers), *one;
	size_t i = 0;

	cJSON_ArrayForEach (one, layers) {
		if (i < n)
			cJSON_ReplaceItemInObject(
				one, "digest", cJSON_CreateString(files[i++].digest));
	}
	free(a->rec.layers);
	a->rec.layers = cJSON_PrintUnformatted(layers);
	cJSON_Delete(layers);
}

static int publish(struct agent_save *s, cJSON *m, struct err *err)
{
	struct agent *a = s->a;
	AUTOFREE char *own = agent_folder(a),
		      *folder = path_in(a->all->state, "snapshots/%s", s->id);
	int r;

	cJSON_AddStringToObject(m, "id", s->id);
	cJSON_AddStringToObject(m, "tag", s->tag);
	if (s->passing)
		cJSON_AddBoolToObject(m, "passing", true);
	cJSON_AddNumberToObject(m, "pause_ms", (double)s->pause_ms);
	cJSON_AddItemToObject(m, "layers", cJSON_Parse(a->rec.layers));
	if (s->saved)
		cJSON_AddItemToObject(m, "memory", steal(&s->saved));
	r = snapshot_link_base(own, s->part, m, err);
	if (r == 0)
		r = snapshot_publish(s->part, folder, m, err);
	if (r < 0)
		return r;
	snprintf(a->rec.head, sizeof(a->rec.head), "%s", s->id);
	agent_save(a);
	return 0;
}

static void on_digests(void *data, const struct verify_file *files, size_t n, const struct err *err)
{
	struct agent_save *s = data;
	cJSON *m = agent_manifest(s->a, "snapshot");
	struct err why;

	s->verifying = NULL;
	if (!err)
		take_digests(s->a, files, n);
	if (!err && publish(s, m, &why) < 0)
		err = &why;
	finish(s, err ? NULL : m, err);
	cJSON_Delete(m);
}

/* Everything is written but the digests. */
static void seal(struct agent_save *s)
{
	struct agent *a = s->a;
	struct verify_file files[VERIFY_FILES_MAX];
	cJSON *layers = cJSON_Parse(a->rec.layers), *one;
	size_t n = 0;

	cJSON_ArrayForEach (one, layers) {
		files[n].path = path_in(
			a->all->state, "agents/%s/%s.qcow2", a->rec.id, json_str(one, "name", ""));
		snprintf(files[n].digest, sizeof(files[n].digest), "%s",
			json_str(one, "digest", ""));
		n++;
	}
	cJSON_Delete(layers);
	s->verifying = verify_files(a->all->verifier, files, n, on_digests, s);
	while (n > 0)
		free(files[--n].path);
}

/* The record and the old file: from now on it is a layer. */
static int leave_disk(struct agent_save *s, bool written, struct err *err)
{
	struct agent *a = s->a;
	AUTOFREE char *old = path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, a->rec.disk);
	int r = agent_push_disk(a, s->disk, written, err);

	s->switched = r == 0 || written;
	return r == 0 ? disk_freeze(old, err) : r;
}

static void failed(struct agent_save *s, const struct err *err)
{
	if (!s->err.code)
		s->err = *err;
}

/* vm_save or vm_switch_disk has answered: both must have, before s may go. */
static void answered(struct agent_save *s)
{
	struct agent *a = s->a;

	/* It goes on as soon as it writes to the new file, or will not. */
	if (!s->switching && a->phase == PHASE_SAVING && (s->switched || s->err.code)) {
		s->pause_ms = now_ms() - s->began;
		vm_continue(a->vm);
		agent_feed(a, INPUT_SAVED);
	}
	if (s->switching || s->saving)
		return;
	if (s->err.code) {
		struct err why = s->err;

		finish(s, NULL, &why);
	} else {
		seal(s);
	}
}

static void on_disk_switched(void *data, const struct err *err)
{
	struct agent_save *s = data;
	struct err why;

	s->switching = false;
	if (err)
		failed(s, err);
	else if (leave_disk(s, true, &why) < 0)
		failed(s, &why);
	answered(s);
}

static void on_captured(void *data)
{
	struct agent_save *s = data;

	s->switching = true;
	vm_switch_disk(s->a->vm, s->disk, on_disk_switched, s);
}

static void on_saved(void *data, const struct vm_saved *saved, const struct err *err)
{
	struct agent_save *s = data;

	s->saving = false;
	if (err)
		failed(s, err);
	else
		s->saved = memory_json(s->a, saved);
	answered(s);
}

static int save_running(struct agent_save *s, struct err *err)
{
	const struct vm_save_callbacks cb = {on_captured, on_saved, s};
	int r = 0;

	if (s->memory)
		r = vm_save(s->a->vm, s->part, &cb, err);
	if (r < 0)
		return r;
	s->saving = s->memory;
	agent_feed(s->a, INPUT_SAVE);
	if (!s->memory)
		on_captured(s);
	return 0;
}

/* The memory of a sleeping agent, for the snapshot and for the agent with its new disk. */
static int share_sleep(struct agent_save *s, struct err *err)
{
	struct agent *a = s->a;
	AUTOFREE char *from = agent_sleep_folder(a),
		      *to = path_in(a->all->state, "agents/%s/sleep.%s", a->rec.id, s->disk),
		      *part = xasprintf("%s.part", to);
	cJSON *m = snapshot_read(from, err);
	int r = m ? 0 : -EBADMSG;

	if (r == 0 && !s->same)
		r = snapshot_make_part(part, err);
	if (r == 0 && !s->same)
		r = snapshot_link_memory(from, part, m, err);
	if (r == 0 && !s->same)
		r = snapshot_publish(part, to, m, err);
	if (r == 0 && s->memory)
		r = snapshot_link_memory(from, s->part, m, err);
	if (r == 0 && s->memory)
		s->saved = cJSON_Duplicate(json_get(m, "memory"), true);
	cJSON_Delete(m);
	return r;
}

static int save_at_rest(struct agent_save *s, struct err *err)
{
	bool asleep = s->a->phase == PHASE_SUSPENDED;
	int r = asleep ? share_sleep(s, err) : 0;

	if (r == 0 && !s->same)
		r = leave_disk(s, false, err);
	if (r < 0)
		return r;
	agent_folder_sweep(s->a);
	seal(s);
	return 0;
}

/* A tag stands where an id does, in paths too, and is never taken for one. */
static int check_tag(const char *tag, struct err *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (strlen(tag) < SNAPSHOT_TAG_MAX && tag[strspn(tag, allowed)] == 0 &&
		!starts_with(tag, SNAPSHOT_ID_PREFIX))
		return 0;
	err_set(err, EINVAL, "'%.80s' is not a tag for a snapshot", tag);
	err_hint(err, "a tag is 1 to %d of a-z, A-Z, 0-9, '.', '_' and '-', not starting with %s",
		SNAPSHOT_TAG_MAX - 1, SNAPSHOT_ID_PREFIX);
	return err_type(err, 400, "invalid-request");
}

static int check(const struct agent *a, const char *tag, struct err *err)
{
	if (a->phase != PHASE_RUNNING && a->phase != PHASE_SUSPENDED && a->phase != PHASE_STOPPED) {
		err_set(err, EBUSY, "agent '%s' is %s", a->rec.name, agent_phase_name(a->phase));
		err_hint(err, "wait until that is done");
		return err_type(err, 409, "wrong-state");
	}
	if (a->save) {
		err_set(err, EBUSY, "a snapshot of '%s' is being made already", a->rec.name);
		return err_type(err, 409, "wrong-state");
	}
	return tag ? check_tag(tag, err) : 0;
}

/* Is there room for one more layer? They are merged while the agent runs (agent_merge.c). */
static int check_layers(const struct agent *a, struct err *err)
{
	cJSON *layers = agent_layers(a);
	int n = cJSON_GetArraySize(layers);

	cJSON_Delete(layers);
	if (n < SNAPSHOT_LAYERS_MAX - 1)
		return 0;
	err_set(err, EMFILE, "the disk of '%s' stands on %d layers, which is the most", a->rec.name,
		n);
	err_hint(err, "they are merged while it runs: berth start %s, and try again", a->rec.name);
	return err_type(err, 409, "limit-reached");
}

/* Nobody has written to it since it was made: what it stands on is all there is. */
static bool adds_nothing(const struct agent *a)
{
	AUTOFREE char *disk = path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, a->rec.disk),
		      *lower = agent_lower_disk(a);

	return a->phase != PHASE_RUNNING && lower && disk_is_blank(disk);
}

static int begin(struct agent_save *s, struct err *err)
{
	struct agent *a = s->a;
	AUTOFREE char *disk = path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, s->disk),
		      *on = xasprintf("%s.qcow2", a->rec.disk);
	int r = snapshot_make_part(s->part, err);

	s->same = adds_nothing(a);
	if (r == 0 && !s->same)
		r = check_layers(a, err);
	if (r == 0 && !s->same)
		r = disk_make(disk, on, a->rec.disk_gib, a->rec.slot, err);
	s->began = now_ms();
	if (r == 0)
		r = a->phase == PHASE_RUNNING ? save_running(s, err) : save_at_rest(s, err);
	if (r == -ENOSPC)
		err_type(err, 507, "disk-full");
	return r;
}

int agent_snapshot(struct agent *a, const char *tag, bool memory, agent_saved_fn *done, void *data,
	struct err *err)
{
	struct agent_save *s;
	int r = check(a, tag, err);

	if (r < 0)
		return r;
	s = a->save = xcalloc(1, sizeof(*s));
	s->a = a;
	s->memory = memory && a->phase != PHASE_STOPPED;
	s->done = done;
	s->data = data;
	make_id(SNAPSHOT_ID_PREFIX, s->id);
	make_id("d_", s->disk);
	s->passing = !tag;
	snprintf(s->tag, sizeof(s->tag), "%s", tag ? tag : "");
	s->part = path_in(a->all->state, "snapshots/.new-%s", s->id);
	s->waits = agent_merge_first(a);
	r = s->waits ? 0 : begin(s, err);
	if (r < 0) {
		err_context(err, "no snapshot of '%s' was made", a->rec.name);
		a->save = NULL;
		remove_tree(s->part, NULL);
		agent_folder_sweep(a);
		cJSON_Delete(s->saved);
		free(s->part);
		free(s);
	}
	return r;
}

void agent_save_merged(struct agent *a)
{
	struct agent_save *s = a->save;
	struct err err;
	int r = 0;

	if (!s || !s->waits)
		return;
	s->waits = false;
	if (a->phase != PHASE_RUNNING) {
		r = err_set(
			&err, EBUSY, "agent '%s' is %s", a->rec.name, agent_phase_name(a->phase));
		err_type(&err, 409, "wrong-state");
	}
	if (r < 0 || begin(s, &err) < 0)
		finish(s, NULL, &err);
}
