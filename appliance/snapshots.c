/*
 * All snapshots: the folders STATE/snapshots/ID, and nothing else. A folder whose name begins with
 * a dot is half made or half removed.
 */
#include "snapshots.h"
#include "agent_priv.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "snapshot.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

/* Calls back with each manifest, which is the callee's. */
static void each(struct agents *all, void (*fn)(void *data, cJSON *manifest), void *data)
{
	AUTOFREE char *folder = path_in(all->state, "snapshots");
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *one = xasprintf("%s/%s", folder, e->d_name);
		struct err err;
		cJSON *m = snapshot_id_valid(e->d_name) ? snapshot_read(one, &err) : NULL;

		if (m)
			fn(data, m);
		else if (snapshot_id_valid(e->d_name))
			log_warning("snapshot %s: %s", e->d_name, err.msg);
	}
	if (dir)
		closedir(dir);
}

struct tagged {
	const char *tag;
	cJSON *found;
	unsigned n;
};

static void match_tag(void *data, cJSON *m)
{
	struct tagged *t = data;

	if (!streq(json_str(m, "tag", ""), t->tag)) {
		cJSON_Delete(m);
		return;
	}
	cJSON_Delete(t->found);
	t->found = m;
	t->n++;
}

cJSON *snapshots_get(struct agents *all, const char *id_or_tag, struct err *err)
{
	AUTOFREE char *folder = path_in(all->state, "snapshots/%s", id_or_tag);
	struct tagged t = {.tag = id_or_tag};
	struct err why = {0};
	cJSON *m = snapshot_id_valid(id_or_tag) ? snapshot_read(folder, &why) : NULL;

	if (m)
		return m;
	if (why.code && why.code != -ENOENT) {
		if (err)
			*err = why;
		return NULL;
	}
	if (id_or_tag[0])
		each(all, match_tag, &t);
	if (t.n == 1)
		return t.found;
	cJSON_Delete(t.found);
	if (t.n > 1)
		err_set(err, EINVAL, "%u snapshots have the tag '%.80s': name one by its id", t.n,
			id_or_tag);
	else
		err_set(err, ENOENT, "there is no snapshot '%.80s'", id_or_tag);
	err_hint(err, "list them with: berth snapshots");
	err_type(err, t.n > 1 ? 409 : 404, t.n > 1 ? "snapshot-ambiguous" : "snapshot-not-found");
	return NULL;
}

static void add_text(cJSON *o, const char *name, const cJSON *m)
{
	const char *text = json_str(m, name, "");

	if (text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

cJSON *snapshot_json(struct agents *all, const cJSON *m)
{
	static const char *const numbers[] = {"memory_mib", "cpus", "disk_gib", "pause_ms"};
	AUTOFREE char *folder = path_in(all->state, "snapshots/%s", json_str(m, "id", ""));
	const cJSON *memory = json_get(m, "memory");
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "id", json_str(m, "id", ""));
	add_text(o, "tag", m);
	cJSON_AddStringToObject(o, "agent", json_str(m, "agent_name", ""));
	cJSON_AddStringToObject(o, "agent_id", json_str(m, "agent", ""));
	add_text(o, "parent", m);
	json_add_time(o, "created_at", json_int(m, "created_ms", 0) * 1000000);
	cJSON_AddBoolToObject(o, "memory", memory != NULL);
	cJSON_AddStringToObject(o, "image", json_str(m, "image", ""));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		cJSON_AddNumberToObject(o, numbers[i], (double)json_int(m, numbers[i], 0));
	cJSON_AddNumberToObject(o, "memory_bytes", (double)json_int(memory, "bytes", 0));
	cJSON_AddNumberToObject(o, "layers", cJSON_GetArraySize(json_get(m, "layers")));
	cJSON_AddNumberToObject(o, "own_bytes", (double)snapshot_own_bytes(folder));
	return o;
}

struct listing {
	struct agents *all;
	const char *agent_id;
	cJSON **items; /* owned, and so are they */
	size_t n;
};

static void list_one(void *data, cJSON *m)
{
	struct listing *l = data;

	if (json_bool(m, "passing", false)) {
		cJSON_Delete(m);
		return;
	}
	if (!l->agent_id || streq(json_str(m, "agent", ""), l->agent_id)) {
		l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
		l->items[l->n++] = snapshot_json(l->all, m);
	}
	cJSON_Delete(m);
}

static int by_time(const void *a, const void *b)
{
	const cJSON *x = *(cJSON *const *)a, *y = *(cJSON *const *)b;
	int order = strcmp(json_str(x, "created_at", ""), json_str(y, "created_at", ""));

	return order ? order : strcmp(json_str(x, "id", ""), json_str(y, "id", ""));
}

/* Sorted before they are in an array: cJSON 1.7.15 loses some where one is inserted. */
cJSON *snapshots_list(struct agents *all, const char *agent_id)
{
	struct listing l = {all, agent_id, NULL, 0};
	cJSON *list = cJSON_CreateArray();

	each(all, list_one, &l);
	if (l.n > 0)
		qsort(l.items, l.n, sizeof(*l.items), by_time);
	for (size_t i = 0; i < l.n; i++)
		cJSON_AddItemToArray(list, l.items[i]);
	free(l.items);
	return list;
}

struct image_use {
	const char *image;
	unsigned n;
};

static void count_image(void *data, cJSON *m)
{
	struct image_use *use = data;

	use->n += streq(json_str(m, "image", ""), use->image);
	cJSON_Delete(m);
}

unsigned snapshots_of_image(struct agents *all, const char *image)
{
	struct image_use use = {.image = image};

	each(all, count_image, &use);
	return use.n;
}

struct adoption {
	struct agents *all;
	const char *gone, *parent;
};

static void give_parent(void *data, cJSON *m)
{
	struct adoption *d = data;
	struct err err;

	if (streq(json_str(m, "parent", ""), d->gone)) {
		AUTOFREE char *folder =
			path_in(d->all->state, "snapshots/%s", json_str(m, "id", ""));

		cJSON_ReplaceItemInObject(m, "parent", cJSON_CreateString(d->parent));
		if (snapshot_rewrite(folder, m, &err) < 0)
			log_warning("%s", err.msg);
	}
	cJSON_Delete(m);
}

int snapshots_remove(struct agents *all, const char *id, struct err *err)
{
	AUTOFREE char *folder = path_in(all->state, "snapshots/%s", id);
	cJSON *m = snapshot_read(folder, NULL);
	struct adoption d = {all, id, json_str(m, "parent", "")};
	int r;

	each(all, give_parent, &d);
	for (struct agent *a = all->first; a; a = a->next) {
		if (!streq(a->rec.head, id))
			continue;
		snprintf(a->rec.head, sizeof(a->rec.head), "%s", d.parent);
		agent_save(a);
	}
	r = snapshot_remove(folder, err);
	cJSON_Delete(m);
	return r;
}

/* Whoever it was taken for is gone. */
static void remove_passing(void *data, cJSON *m)
{
	struct err err;

	if (json_bool(m, "passing", false) &&
		snapshots_remove(data, json_str(m, "id", ""), &err) < 0)
		log_warning("%s", err.msg);
	cJSON_Delete(m);
}

void snapshots_sweep(struct agents *all)
{
	AUTOFREE char *folder = path_in(all->state, "snapshots");
	struct err err;

	if (make_dir_synced(folder, 0700, &err) < 0)
		log_warning("%s", err.msg);
	snapshot_sweep(folder);
	each(all, remove_passing, all);
}
