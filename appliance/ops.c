/* The operations of the control channel: one table of names, arguments and functions. */
#include "ops.h"
#include "log.h"
#include "tokens.h"
#include "util.h"

#include <errno.h>

#define AGENT                                     \
	{                                         \
		"agent", JSON_STRING, true, 1, 64 \
	}
#define AGENT_OR_ALL                               \
	{                                          \
		"agent", JSON_STRING, false, 1, 64 \
	}
#define IDLE_MAX (30 * 86400) /* s */
#define ACTIONS_BATCH_MAX 200
#define ACTIONS_LIST_MAX 500 /* what a frame of the control channel holds in any case */
#define NO_BOUNDS 0, 0       /* base/json.h: neither length nor value is looked at */

static const struct json_member args_agent_only[] = {AGENT};
static const struct json_member args_agent_create[] = {
	{"name", JSON_STRING, true, 0, 1000},
	{"image", JSON_STRING, false, 1, 64},
	{"memory_mib", JSON_INTEGER, false, 256, 65536},
	{"cpus", JSON_INTEGER, false, 1, 16},
	{"disk_gib", JSON_INTEGER, false, 1, 1024},
	{"allow", JSON_STRINGS, false, 0,
		2 * RULES_MAX}, /* their number is checked when doubles are gone */
	{"force", JSON_BOOL, false, NO_BOUNDS},
	{"labels", JSON_STRING_MAP, false, 0, 1000},
	{"on_crash", JSON_STRING, false, 0, 100},
	{"start", JSON_BOOL, false, NO_BOUNDS},
	{"from", JSON_STRING, false, 1, 79},
	{"limits", JSON_OBJECT, false, NO_BOUNDS},
	{"idle_suspend", JSON_INTEGER, false, 0, IDLE_MAX},
};
static const struct json_member args_agent_snapshot[] = {
	AGENT,
	{"tag", JSON_STRING, false, 0, 79},
	{"memory", JSON_BOOL, false, NO_BOUNDS},
};
static const struct json_member args_agent_restore[] = {
	AGENT, {"snapshot", JSON_STRING, true, 1, 79}};
static const struct json_member args_agent_fork[] = {
	AGENT,
	{"names", JSON_STRINGS, false, 1, 100},
	{"count", JSON_INTEGER, false, 1, 100},
	{"snapshot", JSON_STRING, false, 1, 79},
};
static const struct json_member args_snapshot[] = {{"snapshot", JSON_STRING, true, 1, 79}};
static const struct json_member args_snapshot_list[] = {AGENT_OR_ALL};
static const struct json_member args_agent_list[] = {{"label", JSON_STRING, false, 1, 400}};
static const struct json_member args_agent_update[] = {
	AGENT,
	{"labels", JSON_STRING_MAP, false, 0, 1000},
	{"on_crash", JSON_STRING, false, 0, 100},
	{"memory_mib", JSON_INTEGER, false, 256, 65536},
	{"cpus", JSON_INTEGER, false, 1, 16},
	{"port", JSON_INTEGER, false, 0, 65535}, /* 0: none any more */
	{"idle_suspend", JSON_INTEGER, false, 0, IDLE_MAX},
};
static const struct json_member args_agent_stop[] = {AGENT, {"force", JSON_BOOL, false, NO_BOUNDS}};
static const struct json_member args_agent_touch[] = {AGENT, {"wake", JSON_BOOL, false, NO_BOUNDS}};
static const struct json_member args_agent_connect[] = {AGENT, {"port", JSON_STRING, true, 3, 5}};
static const struct json_member args_policy_set[] = {
	AGENT,
	{"rules", JSON_STRINGS, true, 0, 2 * RULES_MAX},
	{"mode", JSON_STRING, false, 1, 16},
	{"force", JSON_BOOL, false, NO_BOUNDS},
	{"limits", JSON_OBJECT, false, NO_BOUNDS},
};
static const struct json_member args_policy_change[] = {
	AGENT,
	{"allow", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"deny", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"remove", JSON_STRINGS, false, 0, 2 * RULES_MAX},
	{"mode", JSON_STRING, false, 1, 16},
	{"force", JSON_BOOL, false, NO_BOUNDS},
	{"limits", JSON_OBJECT, false, NO_BOUNDS},
};
static const struct json_member args_policy_log[] = {
	AGENT,
	{"limit", JSON_INTEGER, false, 1, STORE_EGRESS_MAX},
	{"verdict", JSON_STRING, false, 4, 5},
	{"after", JSON_INTEGER, false, 0, INT64_C(1) << 52},
};
static const struct json_member args_policy_why[] = {AGENT, {"host", JSON_STRING, true, 1, 300}};
static const struct json_member args_policy_preset[] = {{"preset", JSON_STRING, true, 1, 64}};
static const struct json_member args_token_check[] = {
	{"hash", JSON_STRING, true, TOKEN_HEX_LEN, TOKEN_HEX_LEN}};
static const struct json_member args_token_create[] = {
	{"role", JSON_STRING, true, 1, 16},
	AGENT_OR_ALL,
	{"ttl", JSON_INTEGER, false, 1, TOKEN_TTL_MAX},
	{"label", JSON_STRING, false, 0, 255},
	{"replace", JSON_BOOL, false, NO_BOUNDS},
};
static const struct json_member args_token_revoke[] = {{"id", JSON_STRING, true, 1, 64}};
static const struct json_member args_image_remove[] = {{"image", JSON_STRING, true, 1, 64}};
static const struct json_member args_events_list[] = {
	AGENT_OR_ALL,
	{"limit", JSON_INTEGER, false, 1, 1000},
	{"after", JSON_INTEGER, false, 0, INT64_C(1) << 52},
};
static const struct json_member args_events_subscribe[] = {
	AGENT_OR_ALL,
	{"after", JSON_INTEGER, false, 0, INT64_C(1) << 52},
};
static const struct json_member args_events_unsubscribe[] = {
	{"id", JSON_INTEGER, true, 0, INT64_C(1) << 52}};

static const struct json_member args_actions_add[] = {
	{"entries", JSON_ARRAY, true, 0, ACTIONS_BATCH_MAX},
	{"pictures", JSON_ARRAY, false, 0, ACTIONS_BATCH_MAX},
};
static const struct json_member args_actions_picture[] = {
	AGENT,
	{"seq", JSON_INTEGER, true, 1, INT64_C(1) << 52},
	{"which", JSON_STRING, true, 5, 6},
};
static const struct json_member args_actions_list[] = {
	AGENT,
	{"limit", JSON_INTEGER, false, 1, ACTIONS_LIST_MAX},
	{"after", JSON_INTEGER, false, 0, INT64_C(1) << 52},
};

#define WITH(members) members, ARRAY_SIZE(members)
static const struct op table[] = {
	{"status", false, NULL, 0, op_status},
	{"leftovers", false, NULL, 0, op_leftovers},
	{"shutdown", true, NULL, 0, op_shutdown},
	{"token.check", false, WITH(args_token_check), op_token_check},
	{"token.create", true, WITH(args_token_create), op_token_create},
	{"token.list", false, NULL, 0, op_token_list},
	{"token.revoke", true, WITH(args_token_revoke), op_token_revoke},
	{"agent.create", true, WITH(args_agent_create), op_agent_create},
	{"agent.list", false, WITH(args_agent_list), op_agent_list},
	{"agent.get", false, WITH(args_agent_only), op_agent_get},
	{"agent.update", true, WITH(args_agent_update), op_agent_update},
	{"agent.start", true, WITH(args_agent_only), op_agent_start},
	{"agent.stop", true, WITH(args_agent_stop), op_agent_stop},
	{"agent.restart", true, WITH(args_agent_only), op_agent_restart},
	{"agent.remove", true, WITH(args_agent_only), op_agent_remove},
	{"agent.connect", false, WITH(args_agent_connect), op_agent_connect},
	{"agent.suspend", true, WITH(args_agent_only), op_agent_suspend},
	{"agent.resume", true, WITH(args_agent_only), op_agent_resume},
	{"agent.touch", false, WITH(args_agent_touch), op_agent_touch},
	{"agent.snapshot", true, WITH(args_agent_snapshot), op_agent_snapshot},
	{"agent.restore", true, WITH(args_agent_restore), op_agent_restore},
	{"agent.fork", true, WITH(args_agent_fork), op_agent_fork},
	{"snapshot.list", false, WITH(args_snapshot_list), op_snapshot_list},
	{"snapshot.get", false, WITH(args_snapshot), op_snapshot_get},
	{"snapshot.remove", true, WITH(args_snapshot), op_snapshot_remove},
	{"policy.get", false, WITH(args_agent_only), op_policy_get},
	{"policy.set", true, WITH(args_policy_set), op_policy_set},
	{"policy.change", true, WITH(args_policy_change), op_policy_change},
	{"policy.log", false, WITH(args_policy_log), op_policy_log},
	{"policy.why", false, WITH(args_policy_why), op_policy_why},
	{"policy.suggest", false, WITH(args_agent_only), op_policy_suggest},
	{"policy.presets", false, NULL, 0, op_policy_presets},
	{"policy.preset", false, WITH(args_policy_preset), op_policy_preset},
	{"image.list", false, NULL, 0, op_image_list},
	{"image.remove", true, WITH(args_image_remove), op_image_remove},
	{"image.template", true, WITH(args_image_remove), op_image_template},
	{"events.list", false, WITH(args_events_list), op_events_list},
	{"events.subscribe", false, WITH(args_events_subscribe), op_events_subscribe},
	{"events.unsubscribe", false, WITH(args_events_unsubscribe), op_events_unsubscribe},
	{"actions.add", false, WITH(args_actions_add), op_actions_add},
	{"actions.list", false, WITH(args_actions_list), op_actions_list},
	{"actions.picture", false, WITH(args_actions_picture), op_actions_picture},
};

const struct op *ops_table(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(table);
	return table;
}

void ops_ask(void *data, struct request *r)
{
	const struct op *op = NULL;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(table) && !op; i++)
		if (streq(table[i].name, request_op(r)))
			op = &table[i];
	if (!op) {
		err_set(&err, ENOENT, "there is no operation '%.64s'", request_op(r));
		err_type(&err, 404, "not-found");
		request_fail(r, &err);
		return;
	}
	if (json_check(request_args(r), op->members, op->n_members, &err) < 0) {
		request_fail(r, &err);
		return;
	}
	if (op->changes && request_by(r)[0])
		log_info("%s, asked by %s", op->name, request_by(r));
	op->run(data, r);
}

struct agent *op_agent(struct daemon *d, struct request *r)
{
	struct err err;
	struct agent *a = agents_find(d->agents, json_str(request_args(r), "agent", ""), &err);

	if (!a)
		request_fail(r, &err);
	return a;
}
