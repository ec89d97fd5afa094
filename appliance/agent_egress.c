/* What agents' policies decided: checked, gathered for a moment, written together. */
#include "agent_priv.h"
#include "json.h"
#include "log.h"
#include "util.h"

#include <errno.h>
#include <string.h>

/* An egress event of berth-policy (docs/internals.md). It parsed what a guest sent: believe
 * nothing. */
static const struct json_member members[] = {
	{"type", JSON_STRING, true, 1, 16},
	{"time", JSON_STRING, false, 0, 40},
	{"name", JSON_STRING, false, 0, 255},
	{"address", JSON_STRING, false, 0, 64},
	{"port", JSON_INTEGER, false, 0, 65535},
	{"protocol", JSON_STRING, false, 0, 16},
	{"rule", JSON_STRING, false, 0, RULE_TEXT_MAX},
	{"verdict", JSON_STRING, true, 4, 5},
	{"reason", JSON_STRING, false, 0, 200},
	{"bytes_up", JSON_INTEGER, false, 0, INT64_C(1) << 52},
	{"bytes_down", JSON_INTEGER, false, 0, INT64_C(1) << 52},
	{"duration_ms", JSON_INTEGER, false, 0, INT64_C(1) << 52},
	{"count", JSON_INTEGER, false, 1, 1000000},
};

/* Members without a value (null) are as good as absent. */
static void drop_nulls(cJSON *o)
{
	cJSON *next;

	for (cJSON *v = o->child; v; v = next) {
		next = v->next;
		if (cJSON_IsNull(v))
			cJSON_Delete(cJSON_DetachItemViaPointer(o, v));
	}
}

void agent_egress_add(struct agent *a, const cJSON *entry)
{
	struct agents *all = a->all;
	cJSON *copy = cJSON_Duplicate(entry, true);
	struct err err;
	const char *verdict;

	drop_nulls(copy);
	verdict = json_str(copy, "verdict", "");
	if (json_check(copy, members, ARRAY_SIZE(members), &err) < 0 ||
		(!streq(verdict, "allow") && !streq(verdict, "deny") && !streq(verdict, "learn"))) {
		log_warning("%s: an entry of berth-policy is refused: %s", a->rec.name, err.msg);
		cJSON_Delete(copy);
		return;
	}
	if (all->n_egress == EGRESS_QUEUE_MAX) {
		all->egress_dropped++;
		cJSON_Delete(copy);
		return;
	}
	if (all->n_egress == 0)
		watch_timer_start(all->egress_timer, EGRESS_FLUSH_MS);
	all->egress[all->n_egress] = (struct egress_waiting){.time = realtime_ns(), .entry = copy};
	memcpy(all->egress[all->n_egress++].agent, a->rec.id, sizeof(a->rec.id));
}

static const struct json_member upstream_members[] = {
	{"type", JSON_STRING, true, 1, 16},
	{"part", JSON_STRING, true, 1, 16},
	{"up", JSON_BOOL, true, 0, 0},
	{"detail", JSON_STRING, true, 0, 400},
};

/* What the way out stands on has failed, or works again. */
static void told_upstream(struct agent *a, const cJSON *event)
{
	const char *part = json_str(event, "part", "");
	bool up = json_bool(event, "up", false);
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "part", part);
	agent_event(a, up ? "upstream.up" : "upstream.down", o, "%s: %s", part,
		json_str(event, "detail", ""));
}

void agent_policy_told(struct agent *a, const char *type, const cJSON *event)
{
	if (streq(type, "usage"))
		agent_usage_told(a, event);
	else if (streq(type, "upstream") &&
		 json_check(event, upstream_members, ARRAY_SIZE(upstream_members), NULL) == 0)
		told_upstream(a, event);
	else
		log_warning("%s: an event of berth-policy is refused", a->rec.name);
}

static void told_denied(struct agent *a, const struct egress_record *e)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "name", e->name);
	cJSON_AddStringToObject(o, "address", e->address);
	cJSON_AddNumberToObject(o, "port", e->port);
	cJSON_AddStringToObject(o, "protocol", e->protocol);
	cJSON_AddStringToObject(o, "reason", e->reason);
	agent_event(a, "egress.denied", o, "%s port %u: %s", e->name[0] ? e->name : e->address,
		e->port, e->reason);
}

static int write_one(struct agents *all, const struct egress_waiting *w, struct err *err)
{
	struct agent *a = agents_find(all, w->agent, NULL);
	const struct egress_record e = {
		.time = w->time,
		.bytes_up = json_int(w->entry, "bytes_up", 0),
		.bytes_down = json_int(w->entry, "bytes_down", 0),
		.duration_ms = json_int(w->entry, "duration_ms", 0),
		.count = json_int(w->entry, "count", 1),
		.port = (unsigned)json_int(w->entry, "port", 0),
		.name = json_str(w->entry, "name", ""),
		.address = json_str(w->entry, "address", ""),
		.protocol = json_str(w->entry, "protocol", ""),
		.rule = json_str(w->entry, "rule", ""),
		.verdict = json_str(w->entry, "verdict", ""),
		.reason = json_str(w->entry, "reason", ""),
	};
	bool repeated;
	int r = a ? store_egress_add(all->o.store, w->agent, &e, &repeated, err) : 0;

	if (a && r == 0 && !repeated && streq(e.verdict, "deny"))
		told_denied(a, &e);
	return r;
}

void agents_egress_flush(struct agents *all)
{
	struct err err;
	int r;

	watch_timer_stop(all->egress_timer);
	if (all->n_egress == 0)
		return;
	events_flush(all->o.events); /* it writes in a transaction of its own */
	r = store_begin(all->o.store, &err);
	for (size_t i = 0; i < all->n_egress; i++) {
		if (r == 0)
			r = write_one(all, &all->egress[i], &err);
		cJSON_Delete(all->egress[i].entry);
	}
	if (r == 0)
		r = store_commit(all->o.store, &err);
	if (r < 0) {
		store_rollback(all->o.store);
		log_error("%zu egress decisions are lost: %s", all->n_egress, err.msg);
	}
	if (all->egress_dropped)
		log_warning("%llu egress decisions came too fast to be kept",
			(unsigned long long)all->egress_dropped);
	all->n_egress = 0;
	all->egress_dropped = 0;
}
