/*
 * How much of the network agents use, over all of their berth-policies, and what happens at a
 * total's limit.
 *
 * Theory of operation. A berth-policy says how many bytes went through in its life; the record
 * keeps how many of them are counted already and of which process (its `instance`), so that nothing
 * is counted twice or lost when berthd or berth-policy is another one. What an agent may still use
 * goes to its berth-policy as a budget: a number of that same count, at which it closes by itself,
 * whether berthd is there or not. Everything else follows from looking at the record, once a second
 * and when something changes: a limit that is reached is told, the agent suspended if it should be,
 * and it all goes on when the limit was raised or the next day has come.
 */
#include "agent_priv.h"
#include "json.h"
#include "limit.h"
#include "log.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define DAY_NS (INT64_C(86400) * 1000000000)

static const enum limit totals[] = {LIMIT_BYTES_PER_RUN, LIMIT_BYTES_PER_DAY};

static const struct json_member usage_members[] = {
	{"type", JSON_STRING, true, 1, 16},
	{"bytes_up", JSON_INTEGER, true, 0, INT64_C(1) << 51},
	{"bytes_down", JSON_INTEGER, true, 0, INT64_C(1) << 51},
};

static struct limits limits_of(const struct agent *a)
{
	struct limits l = limit_default();

	limit_change(&l, json_get(a->policy, "limits"), NULL);
	return l;
}

static uint64_t used_of(const struct agent *a, enum limit total)
{
	return total == LIMIT_BYTES_PER_RUN ? a->usage.run : a->usage.day;
}

/* A new life or a new day begins at nothing. */
static void roll(struct agent *a)
{
	struct usage_record *u = &a->usage;
	int64_t date = realtime_ns() / DAY_NS;

	if (u->life == a->rec.boots && u->date == date)
		return;
	if (u->life != a->rec.boots)
		u->run = 0;
	if (u->date != date)
		u->day = 0;
	u->life = a->rec.boots;
	u->date = date;
	a->usage_changed = true;
}

/* The total that is used up, or LIMITS_N. */
static enum limit reached(const struct agent *a, const struct limits *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		if (l->values[totals[i]] && used_of(a, totals[i]) >= l->values[totals[i]])
			return totals[i];
	return LIMITS_N;
}

/* What is left, in the count of the berth-policy that runs. */
static cJSON *budget(const struct agent *a, const struct limits *l)
{
	uint64_t least = UINT64_MAX;
	enum limit which = LIMITS_N;
	cJSON *o = cJSON_CreateObject();

	for (size_t i = 0; i < ARRAY_SIZE(totals); i++) {
		uint64_t most = l->values[totals[i]], used = used_of(a, totals[i]);
		uint64_t left = most > used ? most - used : 0;

		if (!most || left >= least)
			continue;
		least = left;
		which = totals[i];
	}
	if (which == LIMITS_N)
		return o;
	cJSON_AddNumberToObject(o, "bytes", (double)(a->usage.counted + least));
	cJSON_AddStringToObject(o, "limit", limit_name(which));
	return o;
}

cJSON *agent_budget(struct agent *a, const char *instance)
{
	struct limits l = limits_of(a);

	roll(a);
	if (!streq(a->usage.instance, instance)) {
		snprintf(a->usage.instance, sizeof(a->usage.instance), "%s", instance);
		a->usage.counted = 0;
		a->usage_changed = true;
	}
	cJSON_Delete(a->budget);
	a->budget = budget(a, &l);
	return cJSON_Duplicate(a->budget, true);
}

static void send_budget(struct agent *a, const struct limits *l)
{
	cJSON *now = budget(a, l);

	if (cJSON_Compare(now, a->budget, true)) {
		cJSON_Delete(now);
		return;
	}
	cJSON_Delete(a->budget);
	a->budget = now;
	policy_link_budget(a->link, now);
}

static void tell_reached(struct agent *a, const struct limits *l, enum limit which)
{
	uint64_t used = used_of(a, which), most = l->values[which];
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "limit", limit_name(which));
	cJSON_AddNumberToObject(o, "used", (double)used);
	cJSON_AddNumberToObject(o, "maximum", (double)most);
	cJSON_AddStringToObject(o, "on_limit", l->suspend ? "suspend" : "refuse");
	agent_event(a, "egress.limit", o, "%s is used up: %llu of %llu bytes", limit_name(which),
		(unsigned long long)used, (unsigned long long)most);
}

/* True when it is limited now and was not, or the other way round. */
static bool compare(struct agent *a, const struct limits *l)
{
	struct usage_record *u = &a->usage;
	enum limit which = reached(a, l);
	const char *name = which == LIMITS_N ? "" : limit_name(which);

	if (streq(u->limited, name))
		return false;
	if (which != LIMITS_N)
		tell_reached(a, l, which);
	else
		agent_event(
			a, "egress.limit-lifted", NULL, "%s is not used up any more", u->limited);
	snprintf(u->limited, sizeof(u->limited), "%s", name);
	a->usage_changed = true;
	return true;
}

static void told(void *data, struct agent *a, const struct err *err)
{
}

static void ask(struct agent *a, enum agent_input what)
{
	const struct asker nobody = {.done = told};
	struct err err;

	if (agent_ask(a, what, "limit", &nobody, &err) < 0)
		log_warning("%s: %s", a->rec.name, err.msg);
}

/* Asleep while a limit says so, awake again when it was only that. */
static void follow(struct agent *a, const struct limits *l)
{
	struct usage_record *u = &a->usage;
	bool should_sleep = u->limited[0] && l->suspend;

	if (should_sleep && a->phase == PHASE_RUNNING && !a->save) {
		u->put_to_sleep = a->usage_changed = true;
		ask(a, INPUT_SUSPEND);
	} else if (!should_sleep && u->put_to_sleep && a->phase != PHASE_SUSPENDING) {
		u->put_to_sleep = false;
		a->usage_changed = true;
		if (a->phase == PHASE_SUSPENDED)
			ask(a, INPUT_START);
	}
}

void agent_limits_look(struct agent *a)
{
	struct limits l = limits_of(a);
	bool changed;

	if (agent_is_hidden(a) || a->all->shutting)
		return;
	roll(a);
	changed = compare(a, &l);
	if (a->link && policy_link_is_up(a->link))
		send_budget(a, &l);
	follow(a, &l);
	if (changed)
		agents_usage_save(a->all);
}

void agent_usage_told(struct agent *a, const cJSON *event)
{
	uint64_t count;

	if (json_check(event, usage_members, ARRAY_SIZE(usage_members), NULL) < 0) {
		log_warning("%s: an account of berth-policy is refused", a->rec.name);
		return;
	}
	count = (uint64_t)(json_int(event, "bytes_up", 0) + json_int(event, "bytes_down", 0));
	if (count <= a->usage.counted)
		return;
	roll(a);
	a->usage.run += count - a->usage.counted;
	a->usage.day += count - a->usage.counted;
	a->usage.counted = count;
	a->usage_changed = true;
	agent_limits_look(a);
}

int agent_limits_let_wake(const struct agent *a, struct err *err)
{
	struct limits l = limits_of(a);
	enum limit which = reached(a, &l);

	if (a->phase != PHASE_SUSPENDED || !l.suspend || which == LIMITS_N)
		return 0;
	err_set(err, EBUSY, "agent '%s' sleeps because its %s is used up", a->rec.name,
		limit_name(which));
	err_hint(err, "raise it, and it goes on by itself: berth policy %s limit %s=VALUE",
		a->rec.name, limit_name(which));
	return err_type(err, 409, "limit-reached");
}

cJSON *agent_usage(struct agent *a)
{
	cJSON *o = cJSON_CreateObject();

	roll(a);
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		cJSON_AddNumberToObject(o, limit_name(totals[i]), (double)used_of(a, totals[i]));
	if (a->usage.limited[0])
		cJSON_AddStringToObject(o, "limited", a->usage.limited);
	else
		cJSON_AddNullToObject(o, "limited");
	return o;
}

static int save_changed(struct agents *all, struct err *err)
{
	int r = store_begin(all->o.store, err);

	for (struct agent *a = all->first; a && r == 0; a = a->next) {
		if (a->usage_changed && a->phase != PHASE_REMOVED)
			r = store_usage_set(all->o.store, a->rec.id, &a->usage, err);
	}
	return r == 0 ? store_commit(all->o.store, err) : r;
}

void agents_usage_save(struct agents *all)
{
	bool changed = false;
	struct err err;

	for (struct agent *a = all->first; a; a = a->next)
		changed |= a->usage_changed;
	if (!changed)
		return;
	events_flush(all->o.events); /* it writes in a transaction of its own */
	if (save_changed(all, &err) < 0) {
		store_rollback(all->o.store);
		log_error("what agents have used is not written down: %s", err.msg);
		return;
	}
	for (struct agent *a = all->first; a; a = a->next)
		a->usage_changed = false;
}
