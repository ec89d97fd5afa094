/*
 * The life of one agent: inputs are fed to the table, its actions are done here.
 *
 * Theory of operation. Whatever happens (somebody asks, a step ends, QEMU ends, a timer) is an
 * input. agent_feed looks it up in agent_fsm.c, changes the phase and does the action, which may
 * feed further inputs; those wait in a small queue until the present one is done. What is wanted of
 * an agent is in its record before the first step, and every step can be done twice, so that a
 * daemon killed anywhere goes on from the record (agent_recover.c).
 *
 *     prepare (disk, namespace) -> policy (rules in force) -> boot (QEMU) -> browser -> running
 *
 * An agent that is removed is freed when the queue is empty, never inside an action.
 */
#include "agent_priv.h"
#include "cgroup.h"
#include "house.h"
#include "json.h"
#include "log.h"
#include "netns.h"
#include "paths.h"
#include "policy.h"
#include "snapshot.h"
#include "template.h"
#include "util.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MASK_START (1u << INPUT_START | 1u << INPUT_RESTART | 1u << INPUT_REWIND)
#define MASK_STOP (1u << INPUT_STOP | 1u << INPUT_KILL)
#define MASK_REMOVE (1u << INPUT_REMOVE)
#define MASK_SUSPEND (1u << INPUT_SUSPEND)

void agent_tell_askers(struct agent *a, const char *step, const char *detail)
{
	for (struct agent_asker *one = a->askers; one; one = one->next)
		if (one->asker.progress)
			one->asker.progress(one->asker.data, step, detail);
}

static void progress(struct agent *a)
{
	const char *step = agent_phase_step(a->phase);

	if (step)
		agent_tell_askers(a, step, agent_phase_name(a->phase));
}

void agent_set_state(struct agent *a, const char *state, const char *detail)
{
	snprintf(a->rec.state, sizeof(a->rec.state), "%s", state);
	snprintf(a->rec.detail, sizeof(a->rec.detail), "%s", detail);
	agent_save(a);
}

/* A step failed: a->err says why; a new agent is rolled back. */
void agent_failed(struct agent *a)
{
	if (a->err.code == -ENOSPC && streq(a->err.type, "internal"))
		err_type(&a->err, 507, "disk-full");
	agent_feed(a, streq(a->rec.state, "creating") ? INPUT_ERROR_NEW : INPUT_ERROR);
}

/* Disk, folders, network; the image is whole. */
static int prepare(struct agent *a, struct err *err)
{
	AUTOFREE char *run = path_in(a->all->state, "run/agents/%s", a->rec.id);
	int r = agent_folder_make(a, err);

	if (r == 0)
		r = make_dir(run, 0711, err);
	if (r == 0)
		r = netns_create(a->all->state, a->rec.id, HOUSE_UID_AGENT + a->rec.slot, err);
	return r;
}

/* Its memory stays as it is: people decide. */
void agent_unwakeable(struct agent *a)
{
	if (a->warm && agent_unwarm(a, &a->err) == 0) {
		/* It stands with no rule, as for a wake: a boot has its rules from the start. */
		policy_link_end(a->link);
		a->link = NULL;
		policy_kill_left(a->all->state, a->rec.id);
		agent_feed(a, INPUT_UNWARM);
		return;
	}
	err_set(&a->err, EBADMSG, "agent '%s' cannot be %s: %s", a->rec.name,
		agent_sleeps(a) ? "woken" : "started", a->end_detail);
	if (!agent_sleeps(a))
		err_hint(&a->err, "go back to a snapshot of it (berth snapshots %s), or remove it",
			a->rec.name);
	else
		err_hint(&a->err,
			"without its memory it boots from its disk: berth stop --force %s && berth "
			"start "
			"%s",
			a->rec.name, a->rec.name);
	err_type(&a->err, 409, "snapshot-damaged");
	agent_failed(a);
}

void agent_not_woken(struct agent *a, int code)
{
	err_set(&a->err, code, "agent '%s' was not woken: %s", a->rec.name, a->end_detail);
	err_hint(&a->err, "its memory is as it was; try again");
	agent_failed(a);
}

static void prepared(struct agent *a, int result)
{
	if (result < 0 || prepare(a, &a->err) < 0)
		agent_failed(a);
	else
		agent_feed(a, INPUT_PREPARED);
}

static void on_files_checked(
	void *data, const struct verify_file *files, size_t n, const struct err *err)
{
	struct agent *a = data;

	a->verifying = NULL;
	if (!err) {
		prepared(a, 0);
		return;
	}
	snprintf(a->end_detail, sizeof(a->end_detail), "%s", err->msg);
	if (streq(err->type, "snapshot-damaged"))
		agent_unwakeable(a);
	else
		agent_not_woken(a, err->code);
}

static void image_checked(struct agent *a, int result)
{
	if (result >= 0 && agent_is_fresh(a))
		agent_begin_fresh(a);
	else
		agent_files_ready(a, result);
}

/* What it stands on and sleeps with is checked as well. */
void agent_files_ready(struct agent *a, int result)
{
	struct err err = {0};
	cJSON *asleep = result < 0 ? NULL : agent_sleep(a, &err);

	if (result >= 0 && (!err.code || err.code == -ENOENT))
		a->verifying = agent_verify(a, asleep, on_files_checked);
	if (err.code && err.code != -ENOENT) {
		snprintf(a->end_detail, sizeof(a->end_detail), "%s", err.msg);
		agent_unwakeable(a);
	} else if (!a->verifying) {
		prepared(a, result);
	}
	cJSON_Delete(asleep);
}

static void on_image(void *data, const struct err *err)
{
	struct agent *a = data;

	a->image_wait = NULL;
	if (err)
		a->err = *err;
	image_checked(a, err ? err->code : 0);
}

/* Once the host has room for it. */
static void begin_prepare(struct agent *a)
{
	int r = agent_admit(a, &a->err);

	if (r < 0 && now_ms() - a->waits_since < ADMIT_MAX_MS) {
		agent_tell_askers(a, "memory", "waiting for memory of the host");
		watch_timer_start(a->timer, ADMIT_LOOK_MS);
		return;
	}
	if (r < 0) {
		agent_failed(a);
		return;
	}
	a->err = (struct err){0};
	r = image_check(a->all->o.images, a->rec.image, on_image, a, &a->image_wait, &a->err);
	if (r == 0)
		agent_tell_askers(a, "image", "checking the image");
	else
		image_checked(a, r);
}

static void do_prepare(struct agent *a)
{
	if (!streq(a->rec.state, "creating") && !streq(a->rec.state, "suspended"))
		agent_set_state(a, "stopped", "");
	agent_event(a, "agent.starting", NULL, "%s", "");
	a->waits_since = now_ms();
	a->woke = false; /* what could not be woken may boot now */
	begin_prepare(a);
}

static void on_policy_up(void *data)
{
	struct agent *a = data;
	bool was_down = a->policy_down;

	a->policy_down = false;
	if (a->phase == PHASE_POLICY)
		agent_feed(a, INPUT_POLICY_READY);
	else if (was_down)
		agent_event(a, "policy.up", NULL, "%s", "");
}

/* Trying again does not help where the disk is full. */
static void on_policy_down(void *data, const char *detail, int code)
{
	struct agent *a = data;

	if (a->phase == PHASE_POLICY)
		snprintf(a->end_detail, sizeof(a->end_detail), "%s", detail);
	else
		a->policy_down = true;
	agent_event(a, "policy.down", NULL, "berth-policy %s", detail);
	if (a->phase == PHASE_POLICY && (code == -ENOSPC || code == -EDQUOT || code == -EIO)) {
		err_set(&a->err, code, "the network policy of '%s' cannot be started: %s",
			a->rec.name, detail);
		agent_failed(a);
	}
}

static void on_policy_egress(void *data, const cJSON *entry)
{
	agent_egress_add(data, entry);
}

static void on_policy_told(void *data, const char *type, const cJSON *event)
{
	agent_policy_told(data, type, event);
}

static void on_policy_error(void *data, const char *detail)
{
	agent_event(data, "policy.error", NULL, "%.400s", detail);
}

static cJSON *on_policy_hello(void *data, const char *instance)
{
	return agent_budget(data, instance);
}

void agent_start_policy(struct agent *a)
{
	static const struct policy_callbacks cb = {on_policy_up, on_policy_down, on_policy_egress,
		on_policy_told, on_policy_error, on_policy_hello};
	char networks[CONFIG_LIST_MAX * 20];
	const struct policy_spec spec = {.state = a->all->state,
		.id = a->rec.id,
		.name = agent_is_hidden(a) ? "template" : a->rec.name,
		.program = a->all->o.policy_program,
		.private_networks = networks,
		.upstream = a->all->o.upstream};
	cJSON *policy;

	if (a->link)
		return;
	config_private_networks(a->all->o.config, networks);
	/* One that wakes reaches nothing until it knows who it is and what time it is. */
	policy = agent_sleeps(a) || a->woke ? policy_nothing() : policy_to_send(a->policy);
	a->link = policy_link_new(a->all->o.loop, &spec, policy, &cb, a);
	cJSON_Delete(policy);
}

static void do_policy(struct agent *a)
{
	a->end_detail[0] = 0;
	agent_start_policy(a);
	if (policy_link_is_up(a->link))
		agent_feed(a, INPUT_POLICY_READY);
	else
		watch_timer_start(a->timer, POLICY_TIMEOUT_MS);
}

static void tell_running(struct agent *a)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "kernel_ms", a->ready.kernel_ms);
	cJSON_AddNumberToObject(o, "init_ms", a->ready.init_ms);
	cJSON_AddBoolToObject(o, "fresh", a->ready.fresh != 0);
	cJSON_AddNumberToObject(o, "life", a->rec.boots);
	agent_event(a, "agent.running", o, "%s", "");
}

static void tell_resumed(struct agent *a)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "life", a->rec.boots);
	agent_event(a, "agent.resumed", o, "%s", "");
}

/* A boot's memory stands on nothing. */
static int take_zero_base(struct agent *a, struct err *err)
{
	if (streq(a->rec.base, SNAPSHOT_ZERO_BASE))
		return 0;
	snprintf(a->rec.base, sizeof(a->rec.base), "%s", SNAPSHOT_ZERO_BASE);
	a->rec.base_digest[0] = 0;
	return agent_folder_make(a, err);
}

static void do_vm(struct agent *a)
{
	cJSON *asleep = agent_sleep(a, &a->err);

	watch_timer_start(a->timer, BOOT_TIMEOUT_MS);
	if (!asleep && (a->err.code != -ENOENT || take_zero_base(a, &a->err) < 0)) {
		agent_failed(a);
		return;
	}
	a->err = (struct err){0};
	if (!asleep) {
		agent_sleep_forget(a);
		a->rec.boots++;
		agent_save(a);
	}
	if (agent_start_vm(a, asleep, &a->err) < 0)
		agent_failed(a);
	cJSON_Delete(asleep);
}

/* A daemon that ended in the middle of a snapshot may have left the guest writing to the next disk.
 */
static void take_disk(struct agent *a)
{
	AUTOFREE char *path =
		path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, vm_disk(a->vm));
	struct err err;

	if (streq(vm_disk(a->vm), a->rec.disk) || access(path, F_OK) < 0)
		return;
	log_info("%s: it writes %s, not %s", a->rec.name, vm_disk(a->vm), a->rec.disk);
	agent_push_disk(a, vm_disk(a->vm), true, &err);
}

static void do_ready(struct agent *a)
{
	enum agent_input then = a->after_wake;

	if (!a->adopted && !a->woke)
		a->rec.started_at = realtime_ns();
	if (a->adopted) {
		take_disk(a);
		agent_layers_settle(a);
	}
	a->after_crash = false;
	agent_set_state(a, "running", "");
	if (a->woke && !a->warm)
		tell_resumed(a);
	else if (!a->adopted)
		tell_running(a);
	if (a->warm)
		a->rec.started_at = realtime_ns();
	a->adopted = a->woke = a->warm = a->cold = false;
	a->active_at = now_ms();
	agent_folder_sweep(a);
	a->after_wake = INPUT_START;
	if (then == INPUT_STOP || then == INPUT_RESTART) {
		agent_feed(a, then);
		return;
	}
	watch_timer_start(a->timer, a->all->o.config->browser_timeout_s * UINT64_C(1000));
	if (a->browser == GUEST_BROWSER_UP)
		agent_feed(a, INPUT_BROWSER_UP);
}

static void do_up(struct agent *a, bool late)
{
	char detail[120] = "";

	watch_timer_stop(a->timer);
	if (late) {
		snprintf(detail, sizeof(detail), "the browser did not come up within %u s",
			a->all->o.config->browser_timeout_s);
		if (a->browser == GUEST_BROWSER_STARTING)
			a->browser = GUEST_BROWSER_DOWN;
		agent_event(a, "browser.down", NULL, "%s", detail);
		agent_set_state(a, "running", detail);
	}
	a->by[0] = 0; /* what happens from now on is nobody's doing */
	agent_answer(a, MASK_START, a, NULL);
}

static void do_shutdown(struct agent *a)
{
	agent_event(a, "agent.stopping", NULL, "%s", "");
	watch_timer_stop(a->timer);
	vm_shutdown(a->vm, a->all->o.config->stop_timeout_s * 1000);
}

static void do_kill(struct agent *a)
{
	watch_timer_stop(a->timer);
	vm_kill(a->vm);
}

static void end_policy(struct agent *a)
{
	policy_link_end(a->link);
	a->link = NULL;
	policy_kill_left(a->all->state, a->rec.id);
}

void agent_clean(struct agent *a)
{
	AUTOFREE char *run = path_in(a->all->state, "run/agents/%s", a->rec.id);
	struct err err;

	watch_timer_stop(a->timer);
	image_wait_cancel(steal(&a->image_wait));
	policy_link_end(a->link);
	a->link = NULL;
	policy_kill_left(a->all->state, a->rec.id);
	if (netns_remove(a->all->state, a->rec.id, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
	if (cgroup_remove(a->all->state, a->rec.id, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
	if (remove_tree(run, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
}

/* The error for those who wait for a start that something else ended. */
static void cut_short(struct agent *a, struct err *err)
{
	if (streq(a->rec.wanted, "run") && a->end_detail[0])
		err_set(err, ECANCELED, "agent '%s' did not start: %s", a->rec.name, a->end_detail);
	else
		err_set(err, ECANCELED, "agent '%s' was stopped while it started", a->rec.name);
	err_type(err, 409, "wrong-state");
}

static void crashed_error(struct agent *a, struct err *err, const char *then)
{
	err_set(err, EIO, "the guest of '%s' crashed: %s%s", a->rec.name, a->end_detail, then);
	err_hint(err, "berth log %s shows what it said", a->rec.name);
}

static void do_clean(struct agent *a)
{
	/* Ended by itself: nobody wants it to run until somebody says so. */
	bool itself = streq(a->rec.wanted, "run") && !a->all->shutting;
	struct err err;

	agent_clean(a);
	cut_short(a, &err);
	if (itself)
		snprintf(a->rec.wanted, sizeof(a->rec.wanted), "stop");
	if (agent_sleeps(a)) { /* stopped before it woke */
		a->phase = PHASE_SUSPENDED;
		agent_set_state(a, "suspended", "");
	} else {
		agent_set_state(a, "stopped", itself ? "the guest powered itself off" : "");
	}
	agent_event(a, "agent.stopped", NULL, "%s", a->rec.detail);
	agent_answer(a, MASK_START | MASK_SUSPEND, a, &err);
	agent_answer(a, MASK_STOP, a, NULL);
}

/* It could not be woken, and may be another time. Connections into its namespace live on. */
static void do_stay_asleep(struct agent *a)
{
	end_policy(a);
	watch_timer_stop(a->timer);
	a->phase = PHASE_SUSPENDED;
	snprintf(a->rec.wanted, sizeof(a->rec.wanted), "stop");
	agent_set_state(a, "suspended", a->err.msg);
	agent_event(a, "agent.suspended", NULL, "it was not woken: %s", a->err.msg);
	agent_answer(a, MASK_START | MASK_STOP | MASK_SUSPEND, a, &a->err);
}

static void do_clean_crash(struct agent *a)
{
	struct err err;

	crashed_error(a, &err, "");
	if (agent_sleeps(a)) {
		a->err = err;
		do_stay_asleep(a);
		return;
	}
	agent_clean(a);
	snprintf(a->rec.wanted, sizeof(a->rec.wanted), "stop");
	agent_set_state(a, "stopped", err.msg);
	agent_event(a, "agent.stopped", NULL, "%s", err.msg);
	agent_answer(a, MASK_START | MASK_SUSPEND, a, &err);
}

static void do_backoff(struct agent *a)
{
	struct err err;

	crashed_error(a, &err, "; it is being restarted");
	a->by[0] = 0;
	a->after_crash = true;
	a->rec.restarts++;
	agent_set_state(a, "stopped", err.msg);
	agent_answer(a, MASK_START | MASK_SUSPEND, a, &err);
}

static void do_fail(struct agent *a, enum agent_input input)
{
	if (input == INPUT_ENDED_GIVE_UP)
		crashed_error(a, &a->err, "; it crashed too often and is not restarted");
	else if (a->err.code == 0)
		err_set(&a->err, EIO, "agent '%s' could not be started", a->rec.name);
	if (agent_sleeps(a) && !streq(a->rec.state, "creating")) {
		do_stay_asleep(a);
		return;
	}
	agent_clean(a);
	snprintf(a->rec.wanted, sizeof(a->rec.wanted), "stop");
	agent_set_state(a, "failed", a->err.msg);
	agent_event(a, "agent.failed", NULL, "%s", a->err.msg);
	agent_answer(a, MASK_START | MASK_STOP | MASK_SUSPEND, a, &a->err);
}

static void do_asleep(struct agent *a)
{
	struct agent_asker *one = a->askers;

	watch_timer_stop(a->timer);
	end_policy(a);
	while (one && !(MASK_START & 1u << one->ask))
		one = one->next;
	memcpy(a->rec.wanted, one ? "run" : "stop", one ? sizeof("run") : sizeof("stop"));
	agent_set_state(a, "suspended", "");
	agent_event(a, "agent.suspended", NULL, "%s", "");
	agent_answer(a, MASK_SUSPEND, a, NULL);
	agent_answer(a, MASK_STOP, a, NULL);
	/* Somebody wanted it while it fell asleep. */
	if (one)
		agent_feed(a, INPUT_START);
}

static void do_awake(struct agent *a)
{
	agent_event(a, "agent.awake", NULL, "it was not suspended: %s", a->err.msg);
	agent_answer(a, MASK_SUSPEND, a, &a->err);
	agent_answer(a, MASK_START, a, NULL);
}

static void do_forget(struct agent *a)
{
	agent_sleep_forget(a);
	do_clean(a);
}

static void do_rewind(struct agent *a)
{
	struct err cut;

	agent_clean(a);
	err_set(&cut, ECANCELED, "agent '%s' was put back to a snapshot", a->rec.name);
	err_type(&cut, 409, "wrong-state");
	agent_answer(a, MASK_SUSPEND, a, &cut);
	if (agent_rewind(a, &a->err) < 0) {
		agent_failed(a);
	} else {
		agent_event(a, "agent.restored", NULL, "%s", a->rec.head);
		do_prepare(a);
	}
}

/* Gone for good: one without a record would be taken for lost (agent_recover.c). */
static int remove_folder(const char *folder, struct err *err)
{
	int r = remove_tree(folder, err);

	if (r < 0)
		return r;
	r = sync_parent(folder);
	return r < 0 ? err_set(err, r, "cannot remove %s: %s", folder, strerror(-r)) : 0;
}

/* The record goes last: until then a daemon that starts anew goes on here. */
static void do_delete(struct agent *a, enum agent_input input)
{
	AUTOFREE char *folder = path_in(a->all->state, "agents/%s", a->rec.id);
	struct err err, cut;

	agent_clean(a);
	if (remove_folder(folder, &err) < 0 ||
		store_agent_remove(a->all->o.store, a->rec.id, &err) < 0) {
		a->phase = PHASE_FAILED;
		a->err = err;
		agent_set_state(a, "failed", err.msg);
		agent_answer(a, ~0u, a, &err);
		return;
	}
	if (input == INPUT_ERROR_NEW) {
		agent_event(a, "agent.failed", NULL, "%s", a->err.msg);
		agent_answer(a, MASK_START, NULL, &a->err);
	} else {
		agent_event(a, "agent.removed", NULL, "%s", "");
	}
	err_set(&cut, ECANCELED, "agent '%s' was removed", a->rec.name);
	err_type(&cut, 409, "wrong-state");
	agent_answer(a, MASK_START | MASK_SUSPEND, NULL, &cut);
	agent_answer(a, MASK_STOP, a, NULL);
	agent_answer(a, MASK_REMOVE, NULL, NULL);
}

static void act(struct agent *a, enum agent_action action, enum agent_input input)
{
	switch (action) {
	case ACTION_REFUSE:
	case ACTION_JOIN:
		return;
	case ACTION_DONE:
		agent_answer(a, 1u << input, a, NULL);
		return;
	case ACTION_PREPARE:
	case ACTION_AGAIN:
		do_prepare(a);
		return;
	case ACTION_POLICY:
		do_policy(a);
		return;
	case ACTION_VM:
		do_vm(a);
		return;
	case ACTION_READY:
		do_ready(a);
		return;
	case ACTION_UP:
	case ACTION_UP_LATE:
		do_up(a, action == ACTION_UP_LATE);
		return;
	case ACTION_SHUTDOWN:
		do_shutdown(a);
		return;
	case ACTION_KILL:
		do_kill(a);
		return;
	case ACTION_CLEAN:
		do_clean(a);
		return;
	case ACTION_CLEAN_CRASH:
		do_clean_crash(a);
		return;
	case ACTION_FAIL:
		do_fail(a, input);
		return;
	case ACTION_BACKOFF:
		do_backoff(a);
		return;
	case ACTION_DELETE:
		do_delete(a, input);
		return;
	case ACTION_SUSPEND:
		agent_event(a, "agent.suspending", NULL, "%s", "");
		agent_suspend(a);
		return;
	case ACTION_ASLEEP:
		do_asleep(a);
		return;
	case ACTION_AWAKE:
		do_awake(a);
		return;
	case ACTION_FORGET:
		do_forget(a);
		return;
	case ACTION_REWIND:
		do_rewind(a);
		return;
	case ACTION_NOTHING:
		return;
	}
}

void agent_feed(struct agent *a, enum agent_input input)
{
	if (a->n_inputs == INPUTS_MAX)
		abort(); /* an action feeds one input at most */
	a->inputs[a->n_inputs++] = input;
	if (a->feeding)
		return;
	a->feeding = true;
	while (a->n_inputs > 0) {
		enum agent_input now = a->inputs[0];
		struct agent_step step = agent_fsm(a->phase, now);
		bool moved = step.next != a->phase;

		memmove(a->inputs, a->inputs + 1, --a->n_inputs * sizeof(a->inputs[0]));
		log_debug("%s: %s, input %d, then %s", a->rec.name, agent_phase_name(a->phase), now,
			agent_phase_name(step.next));
		a->phase = step.next;
		if (moved)
			progress(a);
		act(a, step.action, now);
	}
	a->feeding = false;
	if (a->phase == PHASE_REMOVED)
		agent_free(a);
}

static void on_timer(void *data)
{
	struct agent *a = data;

	switch ((int)a->phase) {
	case PHASE_BACKOFF:
		agent_feed(a, INPUT_TIMER);
		return;
	case PHASE_PREPARE:
		begin_prepare(a);
		return;
	case PHASE_BROWSER:
		agent_feed(a, INPUT_BROWSER_LATE);
		return;
	case PHASE_POLICY:
		err_set(&a->err, ETIMEDOUT, "berth-policy did not get ready within %d s%s%s",
			POLICY_TIMEOUT_MS / 1000, a->end_detail[0] ? ": it " : "", a->end_detail);
		agent_failed(a);
		return;
	case PHASE_BOOT:
		log_error("%s: the guest was not ready within %d s", a->rec.name,
			BOOT_TIMEOUT_MS / 1000);
		vm_kill(a->vm);
		return;
	default:
		return;
	}
}

struct agent *agent_new(struct agents *all, struct agent_record *rec)
{
	struct agent *a = xcalloc(1, sizeof(*a)), **end = &all->first;

	a->all = all;
	a->rec = *rec;
	a->browser = GUEST_BROWSER_DOWN;
	a->log_tokens = LOG_BURST;
	a->log_at = now_ms();
	a->phase = streq(rec->state, "failed")      ? PHASE_FAILED
		   : streq(rec->state, "suspended") ? PHASE_SUSPENDED
						    : PHASE_STOPPED;
	a->after_wake = INPUT_START;
	a->timer = watch_timer_new(all->o.loop, on_timer, a);
	while (*end)
		end = &(*end)->next;
	*end = a;
	return a;
}

void agent_free(struct agent *a)
{
	struct agent **link = &a->all->first;
	struct err err;

	while (*link != a)
		link = &(*link)->next;
	*link = a->next;
	err_set(&err, ECANCELED, "berthd is ending");
	err_type(&err, 503, "daemon-unavailable");
	agent_answer(a, ~0u, NULL, &err);
	image_wait_cancel(a->image_wait);
	vm_free(a->vm);
	policy_link_free(a->link);
	watch_timer_free(a->timer);
	cJSON_Delete(a->policy);
	cJSON_Delete(a->budget);
	agent_record_done(&a->rec);
	free(a);
}
