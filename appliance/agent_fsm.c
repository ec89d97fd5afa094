/* The life of an agent as a table: phase and input give the next phase and what is to be done.
 * Pure. */
#include "agent_fsm.h"
#include "util.h"

#include <string.h>

/* A cell that is not named refuses: an ask is answered with wrong-state, a report comes too late.
 */
static const struct agent_step table[N_PHASES][N_INPUTS] =
	{
		[PHASE_STOPPED] =
			{
				[INPUT_START] = {PHASE_PREPARE, ACTION_PREPARE},
				[INPUT_STOP] = {PHASE_STOPPED, ACTION_DONE},
				[INPUT_KILL] = {PHASE_STOPPED, ACTION_DONE},
				[INPUT_RESTART] = {PHASE_PREPARE, ACTION_PREPARE},
				[INPUT_REMOVE] = {PHASE_REMOVED, ACTION_DELETE},
			},
		[PHASE_FAILED] =
			{
				[INPUT_START] = {PHASE_PREPARE, ACTION_PREPARE},
				[INPUT_STOP] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_KILL] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_RESTART] = {PHASE_PREPARE, ACTION_PREPARE},
				[INPUT_REMOVE] = {PHASE_REMOVED, ACTION_DELETE},
			},
		[PHASE_PREPARE] =
			{
				[INPUT_START] = {PHASE_PREPARE, ACTION_JOIN},
				[INPUT_STOP] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_KILL] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_REMOVE] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_PREPARED] = {PHASE_POLICY, ACTION_POLICY},
				[INPUT_ERROR] = {PHASE_FAILED, ACTION_FAIL},
				[INPUT_ERROR_NEW] = {PHASE_REMOVED, ACTION_DELETE},
			},
		[PHASE_POLICY] =
			{
				[INPUT_START] = {PHASE_POLICY, ACTION_JOIN},
				[INPUT_STOP] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_KILL] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_REMOVE] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_POLICY_READY] = {PHASE_BOOT, ACTION_VM},
				[INPUT_ERROR] = {PHASE_FAILED, ACTION_FAIL},
				[INPUT_ERROR_NEW] = {PHASE_REMOVED, ACTION_DELETE},
			},
		[PHASE_BOOT] =
			{
				[INPUT_START] = {PHASE_BOOT, ACTION_JOIN},
				[INPUT_STOP] = {PHASE_STOPPING, ACTION_SHUTDOWN},
				[INPUT_KILL] = {PHASE_STOPPING, ACTION_KILL},
				[INPUT_REMOVE] = {PHASE_REMOVING, ACTION_KILL},
				[INPUT_READY] = {PHASE_BROWSER, ACTION_READY},
				[INPUT_ERROR] = {PHASE_FAILED, ACTION_FAIL},
				[INPUT_ERROR_NEW] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_ENDED_OFF] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_ENDED_RETRY] = {PHASE_BACKOFF, ACTION_BACKOFF},
				[INPUT_ENDED_STAY] = {PHASE_STOPPED, ACTION_CLEAN_CRASH},
				[INPUT_ENDED_GIVE_UP] = {PHASE_FAILED, ACTION_FAIL},
			},
		[PHASE_BROWSER] =
			{
				[INPUT_START] = {PHASE_BROWSER, ACTION_JOIN},
				[INPUT_STOP] = {PHASE_STOPPING, ACTION_SHUTDOWN},
				[INPUT_KILL] = {PHASE_STOPPING, ACTION_KILL},
				[INPUT_RESTART] = {PHASE_RESTARTING, ACTION_SHUTDOWN},
				[INPUT_REMOVE] = {PHASE_REMOVING, ACTION_KILL},
				[INPUT_BROWSER_UP] = {PHASE_RUNNING, ACTION_UP},
				[INPUT_BROWSER_LATE] = {PHASE_RUNNING, ACTION_UP_LATE},
				[INPUT_ENDED_OFF] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_ENDED_RETRY] = {PHASE_BACKOFF, ACTION_BACKOFF},
				[INPUT_ENDED_STAY] = {PHASE_STOPPED, ACTION_CLEAN_CRASH},
				[INPUT_ENDED_GIVE_UP] = {PHASE_FAILED, ACTION_FAIL},
			},
		[PHASE_RUNNING] =
			{
				[INPUT_START] = {PHASE_RUNNING, ACTION_DONE},
				[INPUT_STOP] = {PHASE_STOPPING, ACTION_SHUTDOWN},
				[INPUT_KILL] = {PHASE_STOPPING, ACTION_KILL},
				[INPUT_RESTART] = {PHASE_RESTARTING, ACTION_SHUTDOWN},
				[INPUT_REMOVE] = {PHASE_REMOVING, ACTION_KILL},
				[INPUT_ENDED_OFF] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_ENDED_RETRY] = {PHASE_BACKOFF, ACTION_BACKOFF},
				[INPUT_ENDED_STAY] = {PHASE_STOPPED, ACTION_CLEAN_CRASH},
				[INPUT_ENDED_GIVE_UP] = {PHASE_FAILED, ACTION_FAIL},
			},
		[PHASE_STOPPING] =
			{
				[INPUT_STOP] = {PHASE_STOPPING, ACTION_JOIN},
				[INPUT_KILL] = {PHASE_STOPPING, ACTION_KILL},
				[INPUT_REMOVE] = {PHASE_REMOVING, ACTION_KILL},
				[INPUT_ENDED_OFF] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_ENDED_RETRY] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_ENDED_STAY] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_ENDED_GIVE_UP] = {PHASE_STOPPED, ACTION_CLEAN},
			},
		[PHASE_RESTARTING] =
			{
				[INPUT_STOP] = {PHASE_STOPPING, ACTION_JOIN},
				[INPUT_KILL] = {PHASE_STOPPING, ACTION_KILL},
				[INPUT_RESTART] = {PHASE_RESTARTING, ACTION_JOIN},
				[INPUT_REMOVE] = {PHASE_REMOVING, ACTION_KILL},
				[INPUT_ENDED_OFF] = {PHASE_PREPARE, ACTION_AGAIN},
				[INPUT_ENDED_RETRY] = {PHASE_PREPARE, ACTION_AGAIN},
				[INPUT_ENDED_STAY] = {PHASE_PREPARE, ACTION_AGAIN},
				[INPUT_ENDED_GIVE_UP] = {PHASE_PREPARE, ACTION_AGAIN},
			},
		[PHASE_REMOVING] =
			{
				[INPUT_REMOVE] = {PHASE_REMOVING, ACTION_JOIN},
				[INPUT_ENDED_OFF] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_ENDED_RETRY] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_ENDED_STAY] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_ENDED_GIVE_UP] = {PHASE_REMOVED, ACTION_DELETE},
			},
		[PHASE_BACKOFF] =
			{
				[INPUT_START] = {PHASE_PREPARE, ACTION_PREPARE},
				[INPUT_STOP] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_KILL] = {PHASE_STOPPED, ACTION_CLEAN},
				[INPUT_RESTART] = {PHASE_PREPARE, ACTION_PREPARE},
				[INPUT_REMOVE] = {PHASE_REMOVED, ACTION_DELETE},
				[INPUT_TIMER] = {PHASE_PREPARE, ACTION_PREPARE},
			},
};

struct agent_step agent_fsm(enum agent_phase phase, enum agent_input input)
{
	struct agent_step step = table[phase][input];

	if (step.action == ACTION_REFUSE)
		step.next = phase;
	return step;
}

static const struct {
	const char *name, *step;
	bool vm;
} phases[N_PHASES] = {
	[PHASE_STOPPED] = {"stopped", NULL, false},
	[PHASE_FAILED] = {"failed", NULL, false},
	[PHASE_PREPARE] = {"making its disk and network", "prepare", false},
	[PHASE_POLICY] = {"starting its network policy", "policy", false},
	[PHASE_BOOT] = {"booting", "boot", true},
	[PHASE_BROWSER] = {"starting its browser", "browser", true},
	[PHASE_RUNNING] = {"running", NULL, true},
	[PHASE_STOPPING] = {"stopping", "stop", true},
	[PHASE_RESTARTING] = {"restarting", "stop", true},
	[PHASE_REMOVING] = {"being removed", "remove", true},
	[PHASE_BACKOFF] = {"waiting to be started", NULL, false},
	[PHASE_REMOVED] = {"removed", NULL, false},
};

const char *agent_phase_name(enum agent_phase phase)
{
	return phases[phase].name;
}

const char *agent_phase_step(enum agent_phase phase)
{
	return phases[phase].step;
}

bool agent_phase_has_vm(enum agent_phase phase)
{
	return phases[phase].vm;
}

int crash_count_add(struct crash_count *c, unsigned long long now)
{
	unsigned kept = 0;
	int wait = BACKOFF_FIRST_MS;

	for (unsigned i = 0; i < c->n; i++)
		if (now - c->at[i] < CRASH_WINDOW_MS)
			c->at[kept++] = c->at[i];
	c->n = kept;
	if (c->n + 1 >= CRASHES_MAX)
		return -1;
	for (unsigned i = 0; i < c->n && wait < BACKOFF_MAX_MS; i++)
		wait *= 2;
	c->at[c->n++] = now;
	return MIN(wait, BACKOFF_MAX_MS);
}
