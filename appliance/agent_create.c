/* New agents: made anew, or from a snapshot. One that could not be made leaves nothing behind. */
#include "agent_priv.h"
#include "agent_save.h"
#include "json.h"
#include "limit.h"
#include "paths.h"
#include "policy.h"
#include "snapshot.h"
#include "snapshots.h"
#include "template.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static int choose_image(
	struct agents *all, const char *wish, struct agent_record *rec, struct err *err)
{
	struct image image;
	int r = agents_image(all, wish, &image, err);

	if (r == 0)
		snprintf(rec->image, sizeof(rec->image), "%s", image.id);
	return r;
}

/* What of a new record does not come from what was asked for. */
static void fill_new(struct agent_record *rec, bool run)
{
	rec->created_at = realtime_ns();
	make_id("ag_", rec->id);
	make_id("d_", rec->disk);
	random_bytes(rec->machine_id, sizeof(rec->machine_id));
	memcpy(rec->state, "creating", sizeof("creating"));
	snprintf(rec->wanted, sizeof(rec->wanted), "%s", run ? "run" : "stop");
}

static int fill_record(
	struct agents *all, const cJSON *args, struct agent_record *rec, struct err *err)
{
	const struct config *c = all->o.config;
	const cJSON *labels = json_get(args, "labels");
	const char *name = json_str(args, "name", ""),
		   *on_crash = json_str(args, "on_crash", c->on_crash);
	int r = agent_name_check(name, err);

	if (r == 0)
		r = agent_check_on_crash(on_crash, err);
	if (r == 0)
		r = agent_check_labels(labels, err);
	if (r == 0)
		r = agent_check_idle(args, err);
	if (r == 0)
		r = choose_image(all, json_str(args, "image", NULL), rec, err);
	if (r < 0)
		return r;
	snprintf(rec->name, sizeof(rec->name), "%s", name);
	snprintf(rec->on_crash, sizeof(rec->on_crash), "%s", on_crash);
	rec->memory_mib = (unsigned)json_int(args, "memory_mib", c->memory_mib);
	rec->cpus = (unsigned)json_int(args, "cpus", c->cpus);
	rec->disk_gib = (unsigned)json_int(args, "disk_gib", c->disk_gib);
	rec->labels = labels ? cJSON_PrintUnformatted(labels) : xstrdup("{}");
	rec->idle_suspend = (unsigned)json_int(args, "idle_suspend", c->idle_suspend_s);
	snprintf(rec->base, sizeof(rec->base), "%s", SNAPSHOT_ZERO_BASE);
	fill_new(rec, json_bool(args, "start", true));
	return 0;
}

static int keep(struct agents *all, struct agent_record *rec, const cJSON *policy, struct err *err)
{
	int r = store_begin(all->o.store, err);

	if (r == 0)
		r = store_agent_add(all->o.store, rec, err);
	if (r == 0)
		r = store_policy_set(all->o.store, rec->id, policy, err);
	if (r == 0)
		r = store_commit(all->o.store, err);
	if (r < 0)
		store_rollback(all->o.store);
	return r;
}

/* It could not be made. Where not even that can be written down, it says so until it can. */
static int undo(struct agent *a, const struct err *why, struct err *ret_err)
{
	int code = why->code;

	if (ret_err)
		*ret_err = *why;
	if (agent_ask(a, INPUT_REMOVE, NULL, NULL, NULL) < 0) {
		a->phase = PHASE_FAILED;
		agent_set_state(a, "failed", why->msg);
	}
	return code;
}

/* An agent that is not to be started: only its disk is made. */
static int create_stopped(struct agent *a, const struct asker *asker, struct err *err)
{
	struct err why;

	if (agent_folder_make(a, &why) < 0)
		return undo(a, &why, err);
	memcpy(a->rec.state, "stopped", sizeof("stopped"));
	agent_save(a);
	asker->done(asker->data, a, NULL);
	return 0;
}

static int not_shutting(struct agents *all, struct err *err)
{
	if (!all->shutting)
		return 0;
	err_set(err, EBUSY, "the appliance is being shut down");
	return err_type(err, 503, "daemon-unavailable");
}

/* Takes rec and policy; the agent, in the store, or NULL. */
static struct agent *make(struct agents *all, struct agent_record *rec, cJSON *policy,
	const char *by, struct err *err)
{
	struct agent *a;

	if (keep(all, rec, policy, err) < 0) {
		agent_record_done(rec);
		cJSON_Delete(policy);
		return NULL;
	}
	a = agent_new(all, rec);
	a->policy = policy;
	snprintf(a->by, sizeof(a->by), "%s", by ? by : "");
	agent_event(a, "agent.created", NULL, "%s", "");
	return a;
}

/* Its files are those of its origin; then it wakes, or boots if that has no memory. */
static int begin_from(struct agent *a, const struct agent_origin *o, const char *by,
	const struct asker *asker, struct err *err)
{
	struct err why;

	if (agent_take_origin(a, o, &why) < 0)
		return undo(a, &why, err);
	if (streq(a->rec.wanted, "run"))
		return agent_ask(a, INPUT_START, by, asker, err);
	agent_set_state(a, json_get(o->manifest, "memory") ? "suspended" : "stopped", "");
	a->phase = json_get(o->manifest, "memory") ? PHASE_SUSPENDED : PHASE_STOPPED;
	asker->done(asker->data, a, NULL);
	return 0;
}

struct agent *agent_create_hidden(
	struct agents *all, const struct template_shape *shape, struct err *err)
{
	struct agent_record rec = {
		.memory_mib = shape->memory_mib, .cpus = shape->cpus, .disk_gib = shape->disk_gib};

	if (not_shutting(all, err) < 0)
		return NULL;
	fill_new(&rec, true);
	snprintf(rec.name, sizeof(rec.name), ".%.24s-%u-%u-%u", shape->image, shape->memory_mib,
		shape->cpus, shape->disk_gib);
	memcpy(rec.image, shape->image, sizeof(rec.image));
	memcpy(rec.on_crash, "stop", sizeof("stop"));
	memcpy(rec.base, SNAPSHOT_ZERO_BASE, sizeof(SNAPSHOT_ZERO_BASE));
	rec.labels = xstrdup("{}");
	return make(all, &rec, policy_nothing(), NULL, err);
}

static int check_origin(struct agents *all, const struct agent_origin *o, struct err *err)
{
	struct image image;
	int r = image_get(all->state, json_str(o->manifest, "image", ""), &image, err);

	return r < 0 ? err_context(err, "what the snapshot was made with") : 0;
}

/*
 * What a new agent may reach: what its origin (a snapshot's policy, or NULL) might, with the rules
 * and limits that args give. It enforces, whatever its origin did. Snapshots of earlier versions
 * have only the rules.
 */
static cJSON *first_policy(
	const struct agents *all, const cJSON *args, const cJSON *origin, struct err *err)
{
	const cJSON *allow = json_get(args, "allow"),
		    *rules = cJSON_IsArray(origin) ? origin : json_get(origin, "rules");
	struct limits limits = all->o.config->limits;
	cJSON *wish, *made;
	int r = limit_change(&limits, json_get(origin, "limits"), err);

	if (r == 0)
		r = limit_change(&limits, json_get(args, "limits"), err);
	if (r < 0)
		return NULL;
	wish = cJSON_CreateObject();
	cJSON_AddItemToObject(wish, "rules", cJSON_Duplicate(allow ? allow : rules, true));
	cJSON_AddItemToObject(wish, "limits", limit_json(&limits));
	cJSON_AddBoolToObject(wish, "force", !allow || json_bool(args, "force", false));
	made = policy_make(wish, allow ? NULL : origin, err);
	cJSON_Delete(wish);
	return made;
}

int agent_fork(struct agents *all, const struct agent_origin *o, const cJSON *args, const char *by,
	const struct asker *asker, struct err *err)
{
	const cJSON *labels = json_get(args, "labels");
	const char *name = json_str(args, "name", ""),
		   *on_crash = json_str(args, "on_crash", all->o.config->on_crash);
	struct agent_record rec = {0};
	cJSON *policy;
	struct agent *a;
	int r = not_shutting(all, err);

	if (r == 0)
		r = agent_name_check(name, err);
	if (r == 0)
		r = agent_check_on_crash(on_crash, err);
	if (r == 0)
		r = agent_check_labels(labels, err);
	if (r == 0)
		r = agent_check_idle(args, err);
	if (r == 0)
		r = check_origin(all, o, err);
	policy = r < 0 ? NULL : first_policy(all, args, json_get(o->manifest, "policy"), err);
	if (!policy)
		return r < 0 ? r : -EINVAL;
	fill_new(&rec, json_bool(args, "start", true));
	snprintf(rec.name, sizeof(rec.name), "%s", name);
	snprintf(rec.on_crash, sizeof(rec.on_crash), "%s", on_crash);
	rec.labels = labels ? cJSON_PrintUnformatted(labels) : xstrdup("{}");
	rec.idle_suspend = (unsigned)json_int(args, "idle_suspend", all->o.config->idle_suspend_s);
	snprintf(rec.parent, sizeof(rec.parent), "%s", json_str(o->manifest, "agent", ""));
	agent_origin_record(&rec, o->manifest);
	a = make(all, &rec, policy, by, err);
	return a ? begin_from(a, o, by, asker, err) : -EIO;
}

static int create_from(struct agents *all, const cJSON *args, const char *by,
	const struct asker *asker, struct err *err)
{
	static const char *const fixed[] = {"image", "memory_mib", "cpus", "disk_gib"};
	const char *from = json_str(args, "from", "");
	AUTOFREE char *folder = NULL;
	struct agent_origin o = {0};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		if (!json_get(args, fixed[i]))
			continue;
		err_set(err, EINVAL, "'%s' comes from the snapshot and cannot be chosen", fixed[i]);
		return err_type(err, 400, "invalid-request");
	}
	o.manifest = snapshots_get(all, from, err);
	o.folder = folder = path_in(all->state, "snapshots/%s", json_str(o.manifest, "id", ""));
	r = o.manifest ? agent_fork(all, &o, args, by, asker, err) : -ENOENT;
	cJSON_Delete((cJSON *)o.manifest);
	return r;
}

int agent_create(struct agents *all, const cJSON *args, const char *by, const struct asker *asker,
	struct err *err)
{
	struct agent_record rec = {0};
	struct agent *a;
	cJSON *policy;
	int r = not_shutting(all, err);

	if (r == 0 && json_get(args, "from"))
		return create_from(all, args, by, asker, err);
	policy = r < 0 ? NULL : first_policy(all, args, NULL, err);
	if (!policy)
		return r < 0 ? r : -EINVAL;
	r = fill_record(all, args, &rec, err);
	if (r < 0) {
		agent_record_done(&rec);
		cJSON_Delete(policy);
		return r;
	}
	a = make(all, &rec, policy, by, err);
	if (!a)
		return -EIO;
	if (streq(a->rec.wanted, "stop"))
		return create_stopped(a, asker, err);
	return agent_ask(a, INPUT_START, by, asker, err);
}
