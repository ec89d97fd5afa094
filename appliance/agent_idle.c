/*
 * Agents that nobody uses are suspended, if their record says so; what can be done for those that
 * run (agent_merge.c) is begun.
 *
 * One timer looks at all of them, and at their limits (agent_limits.c). Somebody uses an agent by
 * asking for it (agent_touch: the gateway says so while clients send, and while a command runs).
 * What the guest does by itself is not use.
 */
#include "agent_priv.h"
#include "log.h"
#include "util.h"

#define LOOK_MS 1000

static void told(void *data, struct agent *a, const struct err *err)
{
}

static void look(struct agent *a, uint64_t now)
{
	const struct asker nobody = {.done = told};
	struct err err;

	if (!a->rec.idle_suspend || a->phase != PHASE_RUNNING || a->save || agent_is_hidden(a) ||
		now < a->active_at + a->rec.idle_suspend * UINT64_C(1000))
		return;
	a->active_at = now; /* if it cannot be: not at once again */
	if (agent_ask(a, INPUT_SUSPEND, "idle", &nobody, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
}

void agents_look_for_idle(void *data)
{
	struct agents *all = data;
	uint64_t now = now_ms();
	struct agent *next;

	for (struct agent *a = all->first; a && !all->shutting; a = next) {
		next = a->next;
		look(a, now);
		agent_merge_look(a);
		agent_limits_look(a);
	}
	agents_usage_save(all);
	watch_timer_start(all->idle_timer, LOOK_MS);
}
