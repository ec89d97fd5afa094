/* Operations on memory that is kept: suspend, snapshots, restore, forks. */
#include "agent_save.h"
#include "ops.h"
#include "paths.h"
#include "snapshot.h"
#include "snapshots.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define FORKS_MAX 100

void op_agent_suspend(struct daemon *d, struct request *r)
{
	op_agent_ask(d, r, INPUT_SUSPEND);
}

void op_agent_resume(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;

	if (!a)
		return;
	if (agent_phase(a) != PHASE_STOPPED && agent_phase(a) != PHASE_FAILED) {
		op_agent_ask(d, r, INPUT_START);
		return;
	}
	err_set(&err, EINVAL, "agent '%s' is not suspended", agent_record(a)->name);
	err_hint(&err, "start it with: berth start %s", agent_record(a)->name);
	err_type(&err, 409, "wrong-state");
	request_fail(r, &err);
}

void op_agent_touch(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);

	if (!a)
		return;
	if (json_bool(request_args(r), "wake", true))
		agent_touch(a);
	else
		agent_seen(a);
	request_ok(r, NULL, -1);
}

/* A request about snapshots, and what it needs until it is answered. */
struct asked {
	struct daemon *d;
	struct request *r;
};

static void on_snapshot(void *data, struct agent *a, const cJSON *manifest, const struct err *err)
{
	struct asked *one = data;
	struct event_note note = {.type = "snapshot.created",
		.agent = agent_record(a)->name,
		.agent_id = agent_record(a)->id,
		.by = request_by(one->r)};

	if (err) {
		request_fail(one->r, err);
	} else {
		note.detail = json_str(manifest, "id", "");
		events_emit(one->d->events, &note);
		request_ok(one->r, snapshot_json(one->d->agents, manifest), -1);
	}
	free(one);
}

void op_agent_snapshot(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r);
	struct agent *a = op_agent(d, r);
	struct asked *one;
	struct err err;

	if (!a)
		return;
	one = xmalloc(sizeof(*one));
	*one = (struct asked){d, r};
	if (agent_snapshot(a, json_str(args, "tag", ""), json_bool(args, "memory", true),
		    on_snapshot, one, &err) < 0) {
		request_fail(r, &err);
		free(one);
	}
}

void op_snapshot_list(struct daemon *d, struct request *r)
{
	const char *name = json_str(request_args(r), "agent", NULL);
	struct agent *a = name ? op_agent(d, r) : NULL;
	cJSON *o;

	if (name && !a)
		return;
	o = cJSON_CreateObject();
	cJSON_AddItemToObject(
		o, "snapshots", snapshots_list(d->agents, a ? agent_record(a)->id : NULL));
	request_ok(r, o, -1);
}

/* The manifest of the snapshot that args name, or NULL and r has been answered. */
static cJSON *named(struct daemon *d, struct request *r)
{
	struct err err;
	cJSON *m = snapshots_get(d->agents, json_str(request_args(r), "snapshot", ""), &err);

	if (!m)
		request_fail(r, &err);
	return m;
}

void op_snapshot_get(struct daemon *d, struct request *r)
{
	cJSON *m = named(d, r);

	if (m)
		request_ok(r, snapshot_json(d->agents, m), -1);
	cJSON_Delete(m);
}

void op_snapshot_remove(struct daemon *d, struct request *r)
{
	cJSON *m = named(d, r);
	struct event_note note = {.type = "snapshot.removed", .by = request_by(r)};
	struct err err;

	if (!m)
		return;
	note.detail = json_str(m, "id", "");
	if (snapshots_remove(d->agents, note.detail, &err) < 0) {
		request_fail(r, &err);
	} else {
		events_emit(d->events, &note);
		request_ok(r, NULL, -1);
	}
	cJSON_Delete(m);
}

static void on_progress(void *data, const char *step, const char *detail)
{
	request_progress(data, step, detail);
}

static void on_restored(void *data, struct agent *a, const struct err *err)
{
	if (err)
		request_fail(data, err);
	else
		request_ok(data, a ? agent_json(a) : NULL, -1);
}

static int same_agent(const struct agent *a, const cJSON *m, struct err *err)
{
	if (streq(json_str(m, "agent", ""), agent_record(a)->id))
		return 0;
	err_set(err, EINVAL, "the snapshot %s is of agent '%s', not of '%s'", json_str(m, "id", ""),
		json_str(m, "agent_name", ""), agent_record(a)->name);
	err_hint(err, "make a new agent from it: berth create NAME --from %s",
		json_str(m, "id", ""));
	return err_type(err, 409, "wrong-state");
}

/* A restore whose snapshot is being looked at. */
struct restoring {
	struct daemon *d;
	struct request *r;
	char snapshot[64];
};

static void on_verified(
	void *data, const struct verify_file *files, size_t n, const struct err *damage)
{
	struct restoring *one = data;
	const struct asker asker = {on_progress, on_restored, one->r};
	struct agent *a = damage ? NULL : op_agent(one->d, one->r);
	struct err err;

	if (damage)
		request_fail(one->r, damage);
	else if (a && agent_restore(a, one->snapshot, request_by(one->r), &asker, &err) < 0)
		request_fail(one->r, &err);
	free(one);
}

/* What the agent is now is given up only for a snapshot that is whole. */
void op_agent_restore(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	cJSON *m = a ? named(d, r) : NULL;
	struct restoring *one;
	struct err err;

	if (!m)
		return;
	if (same_agent(a, m, &err) < 0) {
		request_fail(r, &err);
	} else {
		one = xcalloc(1, sizeof(*one));
		one->d = d;
		one->r = r;
		snprintf(one->snapshot, sizeof(one->snapshot), "%s", json_str(m, "id", ""));
		request_progress(r, "check", "checking the snapshot");
		snapshot_verify(d->agents, m, on_verified, one);
	}
	cJSON_Delete(m);
}

/*
 * Forks: the source's snapshot is taken (unless one was named), the new agents are made from it one
 * after the other, and a snapshot that was only taken for them goes again; they keep its files.
 */
struct forking {
	struct daemon *d;
	struct request *r;
	cJSON *names, *made, *manifest;
	bool own;       /* the snapshot is only for this */
	unsigned left;  /* agents that do not run yet, and one while they are begun */
	struct err err; /* the first that could not be made */
};

static void forking_free(struct forking *f)
{
	struct err err;

	if (f->own && f->manifest)
		snapshots_remove(f->d->agents, json_str(f->manifest, "id", ""), &err);
	cJSON_Delete(f->names);
	cJSON_Delete(f->made);
	cJSON_Delete(f->manifest);
	free(f);
}

static void fork_done(struct forking *f)
{
	cJSON *o;

	if (--f->left > 0)
		return;
	if (f->err.code) {
		request_fail(f->r, &f->err);
	} else {
		o = cJSON_CreateObject();
		cJSON_AddItemToObject(o, "agents", f->made);
		f->made = NULL;
		request_ok(f->r, o, -1);
	}
	forking_free(f);
}

static void on_forked(void *data, struct agent *a, const struct err *err)
{
	struct forking *f = data;

	if (err && !f->err.code)
		f->err = *err;
	else if (!err && a)
		cJSON_AddItemToArray(f->made, agent_json(a));
	fork_done(f);
}

static void fork_all(struct forking *f)
{
	AUTOFREE char *folder =
		path_in(f->d->state, "snapshots/%s", json_str(f->manifest, "id", ""));
	const struct agent_origin o = {folder, f->manifest};
	const struct asker asker = {.done = on_forked, .data = f};
	const cJSON *name;

	cJSON_ArrayForEach (name, f->names) {
		cJSON *args = cJSON_CreateObject();
		struct err err;

		cJSON_AddStringToObject(args, "name", name->valuestring);
		f->left++;
		if (agent_fork(f->d->agents, &o, args, request_by(f->r), &asker, &err) < 0)
			on_forked(f, NULL, &err);
		cJSON_Delete(args);
	}
	fork_done(f);
}

static void on_source(void *data, struct agent *a, const cJSON *manifest, const struct err *err)
{
	struct forking *f = data;

	if (err) {
		request_fail(f->r, err);
		forking_free(f);
		return;
	}
	f->manifest = cJSON_Duplicate(manifest, true);
	fork_all(f);
}

static int free_names(struct forking *f, const char *base, int64_t count, struct err *err)
{
	for (unsigned i = 1; cJSON_GetArraySize(f->names) < count && i < 10000; i++) {
		char name[80];

		snprintf(name, sizeof(name), "%.58s-%u", base, i);
		if (!agents_find(f->d->agents, name, NULL))
			cJSON_AddItemToArray(f->names, cJSON_CreateString(name));
	}
	return 0;
}

static int check_names(struct forking *f, struct err *err)
{
	const cJSON *name, *other;
	int n = cJSON_GetArraySize(f->names), r = 0;

	if (n < 1 || n > FORKS_MAX) {
		err_set(err, EINVAL, "1 to %d agents can be forked at once", FORKS_MAX);
		return err_type(err, 400, "invalid-request");
	}
	cJSON_ArrayForEach (name, f->names) {
		r = r == 0 ? agent_name_check(name->valuestring, err) : r;
		for (other = name->next; other && r == 0; other = other->next)
			if (streq(other->valuestring, name->valuestring)) {
				r = err_set(err, EINVAL, "'%s' is named twice", name->valuestring);
				err_type(err, 400, "invalid-request");
			}
		if (r == 0 && agents_find(f->d->agents, name->valuestring, NULL)) {
			r = err_set(
				err, EEXIST, "there is an agent '%s' already", name->valuestring);
			err_type(err, 409, "agent-exists");
		}
	}
	return r;
}

void op_agent_fork(struct daemon *d, struct request *r)
{
	const cJSON *args = request_args(r), *names = json_get(args, "names");
	const char *snapshot = json_str(args, "snapshot", NULL);
	struct agent *a = op_agent(d, r);
	struct forking *f;
	struct err err;
	int code;

	if (!a)
		return;
	f = xcalloc(1, sizeof(*f));
	*f = (struct forking){.d = d, .r = r, .left = 1, .own = !snapshot};
	f->made = cJSON_CreateArray();
	f->names = names ? cJSON_Duplicate(names, true) : cJSON_CreateArray();
	code = names ? 0 : free_names(f, agent_record(a)->name, json_int(args, "count", 1), &err);
	if (code == 0)
		code = check_names(f, &err);
	if (code == 0 && snapshot) {
		f->manifest = snapshots_get(d->agents, snapshot, &err);
		code = f->manifest ? same_agent(a, f->manifest, &err) : -ENOENT;
	}
	if (code == 0 && !snapshot)
		code = agent_snapshot(a, NULL, true, on_source, f, &err);
	if (code < 0) {
		request_fail(r, &err);
		f->own = false;
		forking_free(f);
	} else if (snapshot) {
		fork_all(f);
	}
}
