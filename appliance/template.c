/*
 * Warm templates.
 *
 * Theory of operation. For each shape in the making there is a hidden agent (its name begins with a
 * dot) and those who wait:
 *
 *   the agent is made and boots -> its machine has had little to do for a while -> suspended ->
 *   berth-pages merge makes its memory one file -> its disk is frozen and read for its digest ->
 *   linked into a folder of its own, published -> the agent is removed
 *
 * Whatever fails removes what was made and tells those who wait, who then boot.
 */
#include "template.h"
#include "agent_priv.h"
#include "agent_save.h"
#include "disk.h"
#include "job.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "process.h"
#include "snapshot.h"
#include "util.h"
#include "verify.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

/*
 * At rest: of the last LOOKS looks at most BUSY_LOOKS saw a thread that ran or waited for a
 * processor. What CPU time it used would tell nothing on a busy host, where a browser in the middle
 * of its start gets little. Its children end when they do not find it within 15 s, which they then
 * did in every fork.
 */
#define LOOK_MS 100
#define LOOKS 16
#define BUSY_LOOKS 3
#define SETTLE_MAX_MS 120000
#define ROOM_LEFT_MIB 512         /* for everybody else */
#define FAILED_MS (5 * 60 * 1000) /* after one could not be made, others are not tried */

struct template_wait {
	struct template_wait *next;
	struct making *m;
	template_done_fn *done;
	void *data;
};

struct making {
	struct making *next;
	struct templates *t;
	struct template_shape shape;
	char agent[64], base[64];
	char *part, *folder;
	struct watch_timer *timer;
	struct job *job;
	struct verify *verifying;
	struct template_wait *waits;
	cJSON *manifest;
	struct err why; /* its machine did not come up */
	uint64_t began;
	uint32_t busy; /* a bit for each look, the last is the lowest */
};

struct templates {
	struct agents *all;
	struct making *first;
	uint64_t failed_at; /* ms, 0 never */
};

static char *folder_of(struct agents *all, const struct template_shape *s, const char *prefix)
{
	return path_in(all->state, "templates/%s%s-%u-%u-%u", prefix, s->image, s->memory_mib,
		s->cpus, s->disk_gib);
}

struct templates *templates_new(struct agents *all)
{
	struct templates *t = xcalloc(1, sizeof(*t));

	t->all = all;
	return t;
}

static void making_free(struct making *m)
{
	struct making **link = &m->t->first;

	while (*link != m)
		link = &(*link)->next;
	*link = m->next;
	watch_timer_free(m->timer);
	job_cancel(m->job);
	verify_cancel(m->verifying);
	cJSON_Delete(m->manifest);
	free(m->part);
	free(m->folder);
	free(m);
}

void templates_free(struct templates *t)
{
	while (t && t->first)
		making_free(t->first);
	free(t);
}

void templates_sweep(struct agents *all)
{
	AUTOFREE char *folder = path_in(all->state, "templates");

	snapshot_sweep(folder);
}

bool template_get(struct agents *all, const struct template_shape *shape, char **ret_folder,
	cJSON **ret_manifest)
{
	AUTOFREE char *folder = folder_of(all, shape, "");
	struct err err;

	*ret_manifest = snapshot_read(folder, &err);
	if (*ret_manifest)
		*ret_folder = steal(&folder);
	else if (err.code != -ENOENT)
		template_discard(all, shape);
	return *ret_manifest;
}

void template_discard(struct agents *all, const struct template_shape *shape)
{
	AUTOFREE char *folder = folder_of(all, shape, "");
	struct err err;

	log_warning("the warm template %s is of no use any more", strrchr(folder, '/') + 1);
	if (snapshot_remove(folder, &err) < 0)
		log_warning("%s", err.msg);
}

void templates_forget_image(struct agents *all, const char *image)
{
	AUTOFREE char *folder = path_in(all->state, "templates");
	DIR *dir = opendir(folder);
	struct dirent *e;
	struct err err;

	while (dir && (e = readdir(dir))) {
		AUTOFREE char *path = xasprintf("%s/%s", folder, e->d_name);

		if (starts_with(e->d_name, image) && snapshot_remove(path, &err) < 0)
			log_warning("%s", err.msg);
	}
	if (dir)
		closedir(dir);
}

static struct agent *maker(const struct making *m)
{
	return agents_find(m->t->all, m->agent, NULL);
}

static void removed(void *data, struct agent *a, const struct err *err)
{
}

/* The end: those who wait are told, and what it was made with goes. */
static void finish(struct making *m, const struct err *err)
{
	const struct asker nobody = {.done = removed};
	struct template_wait *waits = m->waits;
	struct agent *a = maker(m);
	struct err why;

	if (err) {
		log_warning("no warm template: %s", err->msg);
		remove_tree(m->part, NULL);
		m->t->failed_at = now_ms();
	}
	if (a && agent_ask(a, INPUT_REMOVE, NULL, &nobody, &why) < 0)
		log_warning("%s: %s", a->rec.name, why.msg);
	making_free(m);
	while (waits) {
		struct template_wait *w = waits;

		waits = w->next;
		w->done(w->data, err);
		free(w);
	}
}

static void on_digest(void *data, const struct verify_file *files, size_t n, const struct err *err)
{
	struct making *m = data;
	cJSON *layers, *one;
	struct err why;

	m->verifying = NULL;
	if (!err) {
		layers = cJSON_AddArrayToObject(m->manifest, "layers");
		one = cJSON_CreateObject();
		cJSON_AddStringToObject(one, "name", maker(m)->rec.disk);
		cJSON_AddStringToObject(one, "digest", files[0].digest);
		cJSON_AddItemToArray(layers, one);
		if (snapshot_publish(m->part, m->folder, m->manifest, &why) < 0)
			err = &why;
	}
	if (!err)
		log_info("the warm template %s is there", strrchr(m->folder, '/') + 1);
	finish(m, err);
}

/* Its memory is one file now: that takes the place of base and pages in what it slept with. */
static void on_merged(void *data, const cJSON *last, const struct err *err)
{
	struct making *m = data;
	struct agent *a = maker(m);
	cJSON *memory = (cJSON *)json_get(m->manifest, "memory");
	AUTOFREE char *asleep = agent_sleep_folder(a), *own = agent_folder(a),
		      *file = xasprintf("%s.qcow2", a->rec.disk),
		      *disk = xasprintf("%s/%s", own, file);
	struct verify_file one = {.path = disk};
	struct err why;

	m->job = NULL;
	if (!err) {
		cJSON_ReplaceItemInObject(memory, "base", cJSON_CreateString(m->base));
		cJSON_ReplaceItemInObject(
			memory, "base_digest", cJSON_CreateString(json_str(last, "digest", "")));
		cJSON_ReplaceItemInObject(memory, "pages", cJSON_CreateBool(false));
		cJSON_ReplaceItemInObject(m->manifest, "kind", cJSON_CreateString("template"));
	}
	if (!err &&
		(snapshot_link(asleep, m->part, "device", &why) < 0 ||
			disk_freeze(disk, &why) < 0 || snapshot_link(own, m->part, file, &why) < 0))
		err = &why;
	if (err)
		finish(m, err);
	else
		m->verifying = verify_files(m->t->all->verifier, &one, 1, on_digest, m);
}

static int merge(struct making *m, struct err *err)
{
	struct agent *a = maker(m);
	AUTOFREE char *program = path_libexec("berth-pages"), *asleep = agent_sleep_folder(a),
		      *pages = xasprintf("%s/pages", asleep), *base = NULL, *out = NULL;
	const struct job_callbacks cb = {.done = on_merged, .data = m};
	const char *argv[] = {program, "merge", NULL, pages, NULL, NULL};

	m->manifest = agent_sleep(a, err);
	if (!m->manifest)
		return -EIO;
	make_id("m_", m->base);
	argv[2] = base = path_in(m->t->all->state, "agents/%s/%s", a->rec.id, a->rec.base);
	argv[4] = out = xasprintf("%s/%s", m->part, m->base);
	return job_start(&m->job, m->t->all->o.loop, argv, &cb, err);
}

/* The making whose agent that is, or NULL: it may be over. */
static struct making *find(struct templates *t, const char *agent)
{
	struct making *m = t->first;

	while (m && !streq(m->agent, agent))
		m = m->next;
	return m;
}

struct step {
	struct templates *t;
	char agent[64];
};

static struct step *step_of(const struct making *m)
{
	struct step *s = xmalloc(sizeof(*s));

	s->t = m->t;
	memcpy(s->agent, m->agent, sizeof(s->agent));
	return s;
}

static void on_asleep(void *data, struct agent *a, const struct err *err)
{
	struct step *s = data;
	struct making *m = find(s->t, s->agent);
	struct err why;

	free(s);
	if (!m)
		return;
	if (err || snapshot_make_part(m->part, &why) < 0 || merge(m, &why) < 0)
		finish(m, err ? err : &why);
}

/* Looks once more; whether the looks so far say so. */
static bool at_rest(struct making *m, const struct agent *a)
{
	m->busy = m->busy << 1 | (a->vm && process_wants_cpu(vm_pid(a->vm)));
	return __builtin_popcount(m->busy & ((1u << LOOKS) - 1)) <= BUSY_LOOKS;
}

static void look(void *data)
{
	struct making *m = data;
	struct agent *a = maker(m);
	struct asker asker = {.done = on_asleep};
	struct err err = m->why;

	if (!a || a->phase != PHASE_RUNNING) {
		if (!err.code)
			err_set(&err, EIO, "the machine for it has ended");
		finish(m, &err);
		return;
	}
	if (!at_rest(m, a)) {
		if (now_ms() - m->began < SETTLE_MAX_MS) {
			watch_timer_start(m->timer, LOOK_MS);
			return;
		}
		err_set(&err, ETIMEDOUT, "its browser did not come to rest in %d s",
			SETTLE_MAX_MS / 1000);
		finish(m, &err);
		return;
	}
	asker.data = step_of(m);
	if (agent_ask(a, INPUT_SUSPEND, NULL, &asker, &err) < 0) {
		free(asker.data);
		finish(m, &err);
	}
}

/* It may be called before template_make has returned: what is made of a failure, look does. */
static void on_up(void *data, struct agent *a, const struct err *err)
{
	struct step *s = data;
	struct making *m = find(s->t, s->agent);

	free(s);
	if (!m)
		return;
	if (err)
		m->why = *err;
	m->began = now_ms();
	m->busy = UINT32_MAX;
	watch_timer_start(m->timer, err ? 0 : LOOK_MS);
}

/* Its memory is there twice while it is merged. What fills the disk would take the agents along. */
static int check_room(const struct making *m, const char *folder, struct err *err)
{
	uint64_t needed = (2ull * m->shape.memory_mib + ROOM_LEFT_MIB) << 20;
	struct statvfs fs;

	if (statvfs(folder, &fs) < 0)
		return err_sys(err, "cannot look at %s", folder);
	if ((uint64_t)fs.f_bavail * fs.f_frsize >= needed)
		return 0;
	return err_set(err, ENOSPC, "no room for it: %llu MiB free, %llu wanted",
		(unsigned long long)fs.f_bavail * fs.f_frsize >> 20,
		(unsigned long long)needed >> 20);
}

static int begin(struct making *m, struct err *err)
{
	AUTOFREE char *folder = path_in(m->t->all->state, "templates");
	struct asker asker = {.done = on_up};
	struct agent *a;
	int r = make_dir_synced(folder, 0700, err);

	if (r == 0)
		r = check_room(m, folder, err);
	if (r < 0)
		return r;
	a = agent_create_hidden(m->t->all, &m->shape, err);
	if (!a)
		return -EIO;
	memcpy(m->agent, a->rec.id, sizeof(m->agent));
	asker.data = step_of(m);
	r = agent_ask(a, INPUT_START, NULL, &asker, err);
	if (r < 0)
		free(asker.data);
	return r;
}

static struct making *in_the_making(struct templates *t, const struct template_shape *s)
{
	struct making *m = t->first;

	while (m && !(streq(m->shape.image, s->image) && m->shape.memory_mib == s->memory_mib &&
			    m->shape.cpus == s->cpus && m->shape.disk_gib == s->disk_gib))
		m = m->next;
	return m;
}

struct template_wait *template_make(struct templates *t, const struct template_shape *shape,
	template_done_fn *done, void *data, struct err *err)
{
	struct making *m = in_the_making(t, shape);
	struct template_wait *w;

	if (!m && t->failed_at && now_ms() - t->failed_at < FAILED_MS) {
		err_set(err, EAGAIN, "a warm template could not be made a moment ago");
		return NULL;
	}
	if (!m) {
		m = xcalloc(1, sizeof(*m));
		m->t = t;
		m->shape = *shape;
		m->part = folder_of(t->all, shape, ".new-");
		m->folder = folder_of(t->all, shape, "");
		m->timer = watch_timer_new(t->all->o.loop, look, m);
		m->next = t->first;
		t->first = m;
		if (begin(m, err) < 0) {
			making_free(m);
			return NULL;
		}
	}
	w = xcalloc(1, sizeof(*w));
	*w = (struct template_wait){m->waits, m, done, data};
	m->waits = w;
	return w;
}

void template_wait_cancel(struct template_wait *w)
{
	struct template_wait **link;

	if (!w)
		return;
	for (link = &w->m->waits; *link != w;)
		link = &(*link)->next;
	*link = w->next;
	free(w);
}
