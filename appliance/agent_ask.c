/* What people ask of an agent: taken if it may be, kept in the record, answered when it is done. */
#include "agent_priv.h"
#include "util.h"

#include <errno.h>
#include <string.h>

/* Answers those whose ask is in the mask (1 << input). err NULL: done. a NULL: it has been removed.
 */
void agent_answer(struct agent *a, unsigned mask, struct agent *shown, const struct err *err)
{
	struct agent_asker **link = &a->askers, *taken = NULL, **end = &taken;

	while (*link) {
		struct agent_asker *one = *link;

		if (!(mask & 1u << one->ask)) {
			link = &one->next;
			continue;
		}
		*link = one->next;
		one->next = NULL;
		*end = one;
		end = &one->next;
	}
	while (taken) {
		struct agent_asker *one = taken;

		taken = one->next;
		one->asker.done(one->asker.data, shown, err);
		free(one);
	}
}

static void reset_crashes(struct agent *a)
{
	a->crashes = (struct crash_count){0};
	a->rec.restarts = 0;
}

static int want(struct agent *a, enum agent_input ask, struct err *err)
{
	static const char *const wanted[N_ASKS] = {
		[INPUT_START] = "run",
		[INPUT_STOP] = "stop",
		[INPUT_KILL] = "stop",
		[INPUT_RESTART] = "run",
		[INPUT_REMOVE] = "remove",
		[INPUT_REWIND] = "run",
	};
	char was[sizeof(a->rec.wanted)];
	int r;

	if (!wanted[ask] || streq(a->rec.wanted, wanted[ask]))
		return 0;
	memcpy(was, a->rec.wanted, sizeof(was));
	snprintf(a->rec.wanted, sizeof(a->rec.wanted), "%s", wanted[ask]);
	r = store_agent_save(a->all->o.store, &a->rec, err);
	if (r < 0)
		memcpy(a->rec.wanted, was, sizeof(was));
	return r;
}

static int may_ask(struct agent *a, enum agent_input ask, struct err *err)
{
	if (a->all->shutting && (ask == INPUT_START || ask == INPUT_RESTART)) {
		err_set(err, EBUSY, "the appliance is being shut down");
		return err_type(err, 503, "daemon-unavailable");
	}
	if (agent_fsm(a->phase, ask).action != ACTION_REFUSE)
		return 0;
	err_set(err, EBUSY, "agent '%s' is %s", a->rec.name, agent_phase_name(a->phase));
	err_hint(err, "wait until that is done");
	return err_type(err, 409, "wrong-state");
}

void agent_add_asker(struct agent *a, enum agent_input ask, const struct asker *asker)
{
	struct agent_asker *one = xcalloc(1, sizeof(*one)), **end = &a->askers;

	one->ask = ask;
	one->asker = *asker;
	while (*end)
		end = &(*end)->next;
	*end = one;
}

int agent_ask(struct agent *a, enum agent_input ask, const char *by, const struct asker *asker,
	struct err *err)
{
	enum agent_action action = agent_fsm(a->phase, ask).action;
	bool asleep = a->phase == PHASE_SUSPENDED;
	int r = may_ask(a, ask, err);

	if (r == 0 && ask == INPUT_START)
		r = agent_limits_let_wake(a, err);
	if (r == 0)
		r = want(a, ask, err);
	if (r < 0)
		return r;
	if (action == ACTION_PREPARE) {
		reset_crashes(a);
		a->after_wake = asleep ? ask : INPUT_START;
		a->after_crash = false;
		a->err = (struct err){0};
		a->end_detail[0] = 0;
		watch_timer_stop(a->timer);
	}
	if (action != ACTION_JOIN && action != ACTION_DONE)
		snprintf(a->by, sizeof(a->by), "%s", by ? by : "");
	if (asker)
		agent_add_asker(a, ask, asker);
	agent_feed(a, ask);
	return 0;
}
