/*
 * After a start of the daemon, and at the end of the appliance.
 *
 * Theory of operation. The records say what is wanted; the state folder shows what is there. Each
 * agent is brought from the one to the other:
 *
 *     wanted   QEMU lives                      QEMU is gone
 *     run      adopt it                        state running: a crash; otherwise start it (or
 * finish its making) stop     adopt it, power it off          clean up; a new agent that was not to
 * be started gets its disk remove   adopt it, kill it, remove it    remove it
 *
 * Then everything in STATE/run/ns and STATE/run/agents that belongs to no agent goes; a disk in
 * STATE/agents without a record is laid aside in STATE/lost.
 */
#include "agent_priv.h"
#include "cgroup.h"
#include "log.h"
#include "netns.h"
#include "paths.h"
#include "process.h"
#include "snapshots.h"
#include "template.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

static void adopted(struct agent *a)
{
	agent_start_policy(a);
	log_info("%s: adopted, QEMU is process %d", a->rec.name, vm_pid(a->vm));
	if (streq(a->rec.wanted, "stop"))
		agent_feed(a, INPUT_STOP);
	else if (streq(a->rec.wanted, "remove"))
		agent_feed(a, INPUT_REMOVE);
}

/* It ran when the last daemon saw it. */
static void found_dead(struct agent *a)
{
	agent_event(a, "agent.crashed", NULL, "QEMU was gone when berthd came back");
	agent_clean(a);
	if (!streq(a->rec.on_crash, "restart")) {
		memcpy(a->rec.wanted, "stop", sizeof("stop"));
		memcpy(a->rec.state, "stopped", sizeof("stopped"));
		snprintf(a->rec.detail, sizeof(a->rec.detail),
			"QEMU was gone when berthd came back");
		agent_save(a);
		return;
	}
	a->rec.restarts++;
	memcpy(a->rec.state, "stopped", sizeof("stopped"));
	agent_save(a);
	a->phase = PHASE_BACKOFF;
	a->after_crash = true;
	watch_timer_start(a->timer, (uint64_t)crash_count_add(&a->crashes, now_ms()));
}

static void found_stopped(struct agent *a)
{
	struct err err;
	bool is_new = streq(a->rec.state, "creating");

	agent_clean(a);
	if (is_new && agent_folder_make(a, &err) < 0) {
		log_error("%s: it could not be made: %s", a->rec.name, err.msg);
		agent_ask(a, INPUT_REMOVE, NULL, NULL, NULL);
		return;
	}
	if (streq(a->rec.state, "stopped") || streq(a->rec.state, "failed"))
		return;
	memcpy(a->rec.state, "stopped", sizeof("stopped"));
	agent_save(a);
}

/* Connections into its namespace live on. It is woken by the next, or now if it was about to be. */
static void found_asleep(struct agent *a)
{
	struct err err;

	a->phase = PHASE_SUSPENDED;
	agent_folder_sweep(a);
	agent_set_state(a, "suspended", "");
	if (streq(a->rec.wanted, "run") && agent_ask(a, INPUT_START, NULL, NULL, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
}

static void kill_left(struct agents *all, const char *id)
{
	AUTOFREE char *path = path_in(all->state, "run/agents/%s/qemu.pid", id);
	pid_t pid = process_read_file(path);

	if (pid > 1)
		kill(pid, SIGKILL);
	policy_kill_left(all->state, id);
	cgroup_kill(all->state, id);
}

/* A fork whose files were not all there yet: nobody has been told of it. */
static bool half_made(const struct agent *a)
{
	AUTOFREE char *disk = path_in(a->all->state, "agents/%s/%s.qcow2", a->rec.id, a->rec.disk),
		      *lower = agent_lower_disk(a);

	return streq(a->rec.state, "creating") && lower && access(disk, F_OK) < 0;
}

/* `delay` (ms) is what a start waits, so that not all start at once. It may free a. */
static void recover(struct agent *a, uint64_t *delay)
{
	bool asleep = agent_sleeps(a);
	struct err err;
	/* With its memory whole in its folder, what is left of QEMU has nothing to add. */
	int r = asleep || agent_is_hidden(a) ? -ESRCH : agent_adopt_vm(a, &err);

	if (r == 0) {
		adopted(a);
		return;
	}
	if (r != -ESRCH)
		log_warning("%s: its QEMU cannot be adopted: %s", a->rec.name, err.msg);
	kill_left(a->all, a->rec.id);
	agent_layers_settle(a);
	/* Whoever wanted the template, or the fork, asks again. */
	if (agent_is_hidden(a) || (!asleep && half_made(a))) {
		memcpy(a->rec.wanted, "remove", sizeof("remove"));
		agent_feed(a, INPUT_REMOVE);
	} else if (streq(a->rec.wanted, "remove")) {
		agent_feed(a, INPUT_REMOVE);
	} else if (asleep) {
		found_asleep(a);
	} else if (streq(a->rec.wanted, "stop")) {
		found_stopped(a);
	} else if (streq(a->rec.state, "running")) {
		found_dead(a);
	} else {
		agent_clean(a);
		a->phase = PHASE_BACKOFF;
		watch_timer_start(a->timer, *delay);
		*delay += START_STAGGER_MS;
	}
}

/*
 * No crash of berthd leaves a disk without a record (the record comes first and goes last): the
 * database was lost or an older one put in its place. The disk may be all that is left of an agent,
 * so it is laid aside.
 */
static void lay_aside(struct agents *all, const char *id)
{
	AUTOFREE char *disk = path_in(all->state, "agents/%s", id);
	AUTOFREE char *lost = path_in(all->state, "lost"),
		      *there = path_in(all->state, "lost/%s", id);
	struct err err = {0};

	if (access(disk, F_OK) < 0)
		return;
	if (make_dir(lost, 0700, &err) < 0)
		log_warning("%s", err.msg);
	else if (rename(disk, there) < 0)
		log_warning("cannot move %s to %s: %s", disk, there, strerror(errno));
	else
		log_warning("there is no record of agent %s; its disk is in %s now", id, there);
}

/* Ends and removes what runs for the agent that has no record; every part may be missing. */
static void remove_left(struct agents *all, const char *id)
{
	AUTOFREE char *run = path_in(all->state, "run/agents/%s", id);
	struct err err = {0};

	log_warning("%s belongs to no agent", id);
	kill_left(all, id);
	if (netns_remove(all->state, id, &err) < 0 || cgroup_remove(all->state, id, &err) < 0 ||
		remove_tree(run, &err) < 0)
		log_warning("%s: %s", id, err.msg);
	lay_aside(all, id);
}

static void sweep(struct agents *all, const char *folder)
{
	AUTOFREE char *path = path_in(all->state, "%s", folder);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (starts_with(entry->d_name, "ag_") && !agents_find(all, entry->d_name, NULL))
			remove_left(all, entry->d_name);
	if (dir)
		closedir(dir);
}

void agents_recover(struct agents *all)
{
	uint64_t delay = 0;
	struct agent *next;

	snapshots_sweep(all);
	templates_sweep(all);
	for (struct agent *a = all->first; a; a = next) {
		next = a->next;
		recover(a, &delay);
	}
	sweep(all, "run/ns");
	sweep(all, "run/agents");
	sweep(all, "agents");
	agents_look_for_idle(all);
}

static unsigned count_left(struct agents *all)
{
	unsigned n = 0;

	for (struct agent *a = all->first; a; a = a->next)
		n += !agent_rests(a);
	return n;
}

static void stop_one(struct agents *all, struct agent *a);

/* What could not be stopped at once: it was being saved, or about to run. */
static void stop_late(struct agents *all)
{
	struct agent *next;

	for (struct agent *a = all->first; a; a = next) {
		enum agent_action action = agent_fsm(a->phase, INPUT_STOP).action;

		next = a->next;
		if (!agent_rests(a) && (action == ACTION_SHUTDOWN || action == ACTION_CLEAN))
			stop_one(all, a);
	}
}

static void shutdown_over(void *data)
{
	struct agents *all = data;

	stop_late(all);
	if (count_left(all) == 0)
		all->shutdown_done(all->shutdown_data);
	else
		watch_timer_start(all->shutdown_timer, 50);
}

struct stopping {
	struct agents *all;
	char name[64];
};

static void on_stopped(void *data, struct agent *a, const struct err *err)
{
	struct stopping *s = data;

	s->all->shutdown_progress(s->all->shutdown_data, s->name, count_left(s->all));
	free(s);
}

static void stop_one(struct agents *all, struct agent *a)
{
	struct stopping *s = xcalloc(1, sizeof(*s));
	struct asker asker = {.done = on_stopped, .data = s};

	s->all = all;
	memcpy(s->name, a->rec.name, sizeof(s->name));
	agent_add_asker(a, INPUT_STOP, &asker);
	agent_feed(a, INPUT_STOP);
}

void agents_shutdown(struct agents *all,
	void (*progress)(void *data, const char *agent, unsigned left), void (*done)(void *data),
	void *data)
{
	struct agent *next;

	all->shutting = true;
	all->shutdown_progress = progress;
	all->shutdown_done = done;
	all->shutdown_data = data;
	all->shutdown_timer = watch_timer_new(all->o.loop, shutdown_over, all);
	for (struct agent *a = all->first; a; a = next) {
		next = a->next;
		if (!agent_rests(a))
			stop_one(all, a);
	}
	watch_timer_start(all->shutdown_timer, 0);
}
