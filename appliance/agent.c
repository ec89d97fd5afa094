/* Agents: found, shown, made and changed. What they do while they live is in agent_run.c. */
#include "agent_priv.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "policy.h"
#include "template.h"
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define LABELS_MAX 32
#define LABEL_KEY_MAX 63
#define LABEL_VALUE_MAX 255
#define MEMORY_LOOK_MS 5000

static void load_agent(void *data, struct agent_record *rec)
{
	agent_new(data, rec);
}

static void on_egress_timer(void *data)
{
	agents_egress_flush(data);
}

static int load_use(struct agent *a, struct err *err)
{
	struct store *s = a->all->o.store;
	int r = store_policy_get(s, a->rec.id, &a->policy, err);

	if (r == 0)
		r = policy_complete(a->policy, err);
	return r < 0 ? err_context(err, "agent %s", a->rec.id)
		     : store_usage_get(s, a->rec.id, &a->usage, err);
}

int agents_new(struct agents **ret, const struct agents_options *o, struct err *err)
{
	struct agents *all = xcalloc(1, sizeof(*all));
	int r;

	all->o = *o;
	all->state = xstrdup(o->state);
	all->verifier = verifier_new(o->loop);
	all->templates = templates_new(all);
	all->idle_timer = watch_timer_new(o->loop, agents_look_for_idle, all);
	all->egress_timer = watch_timer_new(o->loop, on_egress_timer, all);
	r = store_agents(o->store, load_agent, all, err);
	for (struct agent *a = all->first; a && r == 0; a = a->next)
		r = load_use(a, err);
	if (r < 0) {
		agents_free(all);
		return r;
	}
	*ret = all;
	return 0;
}

void agents_free(struct agents *all)
{
	if (!all)
		return;
	agents_egress_flush(all);
	agents_usage_save(all);
	agents_connect_cancel(all);
	while (all->first)
		agent_free(all->first);
	watch_timer_free(all->egress_timer);
	watch_timer_free(all->idle_timer);
	templates_free(all->templates);
	verifier_free(all->verifier);
	watch_timer_free(all->shutdown_timer);
	free(all->state);
	free(all);
}

struct agent *agents_find(struct agents *all, const char *name_or_id, struct err *err)
{
	for (struct agent *a = all->first; a; a = a->next)
		if (streq(a->rec.name, name_or_id) || streq(a->rec.id, name_or_id))
			return a;
	err_set(err, ENOENT, "there is no agent '%.80s'", name_or_id);
	err_hint(err, "list them with: berth ls");
	err_type(err, 404, "agent-not-found");
	return NULL;
}

struct agent *agents_next(struct agents *all, struct agent *prev)
{
	return prev ? prev->next : all->first;
}

const struct agent_record *agent_record(const struct agent *a)
{
	return &a->rec;
}

enum agent_phase agent_phase(const struct agent *a)
{
	return a->phase;
}

const cJSON *agent_policy(const struct agent *a)
{
	return a->policy;
}

void agent_save(struct agent *a)
{
	struct err err;

	if (store_agent_save(a->all->o.store, &a->rec, &err) < 0)
		log_error("%s: %s", a->rec.name, err.msg);
}

/* Nobody asked for these, whoever asked for something last. */
static bool by_itself(const char *type)
{
	static const char *const types[] = {"agent.crashed", "agent.hung", "agent.paused",
		"agent.resumed", "policy.up", "policy.down", "policy.error"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(type, types[i]))
			return true;
	return starts_with(type, "guest.") || starts_with(type, "browser.") ||
	       starts_with(type, "egress.");
}

void agent_event(struct agent *a, const char *type, cJSON *data, const char *fmt, ...)
{
	struct event_note note = {.type = type,
		.agent = a->rec.name,
		.agent_id = a->rec.id,
		.by = by_itself(type) ? "" : a->by,
		.data = data};
	char detail[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	note.detail = detail;
	/* What a guest can cause at will shares its fsync with others. */
	note.bulk = starts_with(type, "guest.") || starts_with(type, "browser.") ||
		    starts_with(type, "egress.");
	if (agent_is_hidden(a)) {
		cJSON_Delete(data);
		return;
	}
	if (!note.bulk)
		log_info("%s: %s%s%s", a->rec.name, type, detail[0] ? ": " : "", detail);
	events_emit(a->all->o.events, &note);
}

static void add_or_null(cJSON *o, const char *name, const char *text)
{
	if (text && text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

static uint64_t memory_in_use(struct agent *a)
{
	if (!a->vm)
		return 0;
	if (a->memory_at == 0 || now_ms() - a->memory_at > MEMORY_LOOK_MS) {
		a->memory = vm_memory(a->vm);
		a->memory_at = now_ms();
	}
	return a->memory;
}

/* Its machine is not there yet, and will be if all goes well. */
static bool is_made(const struct agent *a)
{
	return !streq(a->rec.state, "suspended") &&
	       (a->phase == PHASE_PREPARE || a->phase == PHASE_POLICY ||
		       (a->phase == PHASE_BOOT && !a->adopted) || a->phase == PHASE_BACKOFF);
}

const char *agent_state(const struct agent *a)
{
	return is_made(a) ? "creating" : a->rec.state;
}

static void add_detail(cJSON *o, const struct agent *a)
{
	bool rests = a->phase == PHASE_STOPPED || a->phase == PHASE_FAILED ||
		     a->phase == PHASE_RUNNING || a->phase == PHASE_SUSPENDED;
	char detail[sizeof(a->rec.detail) + 64] = "";

	if (a->rec.detail[0])
		snprintf(detail, sizeof(detail), "%s", a->rec.detail);
	else if (a->phase == PHASE_BACKOFF)
		snprintf(detail, sizeof(detail), "waiting to be %sstarted",
			a->after_crash ? "re" : "");
	else if (!rests)
		snprintf(detail, sizeof(detail), "%s%s",
			a->after_crash && is_made(a) ? "restarting after a crash: " : "",
			agent_phase_name(a->phase));
	cJSON_AddStringToObject(o, "state_detail", detail);
}

/* What changes while it lives. */
static void add_life(cJSON *o, struct agent *a)
{
	static const char *const browser[] = {"starting", "up", "down", "gave-up"};

	cJSON_AddStringToObject(o, "state", agent_state(a));
	add_detail(o, a);
	cJSON_AddStringToObject(o, "browser", browser[a->vm ? a->browser : GUEST_BROWSER_DOWN]);
	add_or_null(o, "accel", a->vm ? vm_accel(a->vm) : NULL);
	if (a->vm)
		cJSON_AddNumberToObject(o, "pid", vm_pid(a->vm));
	else
		cJSON_AddNullToObject(o, "pid");
	cJSON_AddNumberToObject(o, "restarts", a->rec.restarts);
	if (a->rec.started_at)
		json_add_time(o, "started_at", a->rec.started_at);
	else
		cJSON_AddNullToObject(o, "started_at");
	cJSON_AddNumberToObject(o, "memory_bytes", (double)memory_in_use(a));
	cJSON_AddNumberToObject(o, "disk_bytes", (double)agent_folder_bytes(a));
}

cJSON *agent_json(struct agent *a)
{
	cJSON *o = cJSON_CreateObject(),
	      *labels = cJSON_Parse(a->rec.labels ? a->rec.labels : "{}");

	cJSON_AddStringToObject(o, "id", a->rec.id);
	cJSON_AddStringToObject(o, "name", a->rec.name);
	add_life(o, a);
	cJSON_AddStringToObject(o, "image", a->rec.image);
	cJSON_AddNumberToObject(o, "memory_mib", a->rec.memory_mib);
	cJSON_AddNumberToObject(o, "cpus", a->rec.cpus);
	cJSON_AddNumberToObject(o, "disk_gib", a->rec.disk_gib);
	cJSON_AddItemToObject(o, "labels", labels ? labels : cJSON_CreateObject());
	json_add_time(o, "created_at", a->rec.created_at);
	add_or_null(o, "parent", a->rec.parent);
	add_or_null(o, "snapshot", a->rec.head);
	add_or_null(o, "cold_start", a->cold_why);
	cJSON_AddNumberToObject(o, "idle_suspend", a->rec.idle_suspend);
	cJSON_AddStringToObject(o, "on_crash", a->rec.on_crash);
	if (a->rec.port)
		cJSON_AddNumberToObject(o, "port", a->rec.port);
	else
		cJSON_AddNullToObject(o, "port");
	cJSON_AddItemToObject(o, "policy", cJSON_Duplicate(json_get(a->policy, "rules"), true));
	cJSON_AddStringToObject(o, "policy_mode", json_str(a->policy, "mode", ""));
	cJSON_AddItemToObject(o, "limits", cJSON_Duplicate(json_get(a->policy, "limits"), true));
	cJSON_AddItemToObject(o, "usage", agent_usage(a));
	if (a->link && policy_link_stats(a->link))
		cJSON_AddItemToObject(
			o, "policy_stats", cJSON_Duplicate(policy_link_stats(a->link), true));
	return o;
}

static int refuse(struct err *err, const char *type, const char *what)
{
	err_set(err, EINVAL, "%s", what);
	return err_type(err, 400, type);
}

int agent_check_labels(const cJSON *labels, struct err *err)
{
	const cJSON *one;

	if (cJSON_GetArraySize(labels) > LABELS_MAX)
		return refuse(err, "invalid-request", "an agent has at most 32 labels");
	cJSON_ArrayForEach (one, labels) {
		size_t n = strlen(one->string);

		if (n < 1 || n > LABEL_KEY_MAX || strlen(one->valuestring) > LABEL_VALUE_MAX)
			return refuse(err, "invalid-request",
				"a label's name has 1 to 63 bytes and its value at most 255");
	}
	return 0;
}

int agent_check_on_crash(const char *text, struct err *err)
{
	if (streq(text, "restart") || streq(text, "stop"))
		return 0;
	return refuse(err, "invalid-request", "'on_crash' must be restart or stop");
}

/* The gateway says every 5 s that an agent is in use: less would suspend one in the middle of it.
 */
int agent_check_idle(const cJSON *args, struct err *err)
{
	int64_t idle = json_int(args, "idle_suspend", 0);

	if (idle == 0 || idle >= CONFIG_IDLE_MIN)
		return 0;
	return refuse(err, "invalid-request", "'idle_suspend' must be 0 (never) or at least 8 s");
}

struct policy_asker {
	void (*done)(void *data, const struct err *err);
	void *data;
};

static void on_policy_in_force(void *data, const struct err *err)
{
	struct policy_asker *one = data;

	one->done(one->data, err);
	free(one);
}

int agent_policy_set(struct agent *a, const cJSON *policy, const char *by,
	void (*done)(void *data, const struct err *err), void *data, struct err *err)
{
	int r = store_policy_set(a->all->o.store, a->rec.id, policy, err);
	struct policy_asker *one;
	cJSON *said, *send;

	if (r < 0)
		return r;
	said = policy_difference(a->policy, policy);
	cJSON_Delete(a->policy);
	a->policy = cJSON_Duplicate(policy, true);
	snprintf(a->by, sizeof(a->by), "%s", by ? by : "");
	agent_event(a, "policy.changed", said, "%d rules%s",
		cJSON_GetArraySize(json_get(policy, "rules")),
		streq(json_str(policy, "mode", ""), "learn")
			? "; it learns: every public name is allowed"
			: "");
	agent_limits_look(a);
	/* One that is being woken has a berth-policy with no rule until it is ready. */
	if (!a->link || a->woke || agent_sleeps(a)) {
		done(data, NULL);
		return 0;
	}
	one = xmalloc(sizeof(*one));
	*one = (struct policy_asker){done, data};
	send = policy_to_send(a->policy);
	policy_link_set(a->link, send, on_policy_in_force, one);
	cJSON_Delete(send);
	return 0;
}

int agents_image(struct agents *all, const char *wish, struct image *ret, struct err *err)
{
	if (!wish && all->o.config->image[0])
		wish = all->o.config->image;
	return wish ? image_get(all->state, wish, ret, err) : image_newest(all->state, ret, err);
}

int agent_update(struct agent *a, const cJSON *args, struct err *err)
{
	const cJSON *labels = json_get(args, "labels");
	struct agent_record next = a->rec;
	int r = agent_check_labels(labels, err);

	if (r == 0)
		r = agent_check_on_crash(json_str(args, "on_crash", a->rec.on_crash), err);
	if (r < 0)
		return r;
	r = agent_check_idle(args, err);
	if (r < 0)
		return r;
	next.labels = labels ? cJSON_PrintUnformatted(labels) : xstrdup(a->rec.labels);
	snprintf(next.on_crash, sizeof(next.on_crash), "%s",
		json_str(args, "on_crash", a->rec.on_crash));
	next.memory_mib = (unsigned)json_int(args, "memory_mib", a->rec.memory_mib);
	next.cpus = (unsigned)json_int(args, "cpus", a->rec.cpus);
	next.port = (unsigned)json_int(args, "port", a->rec.port);
	next.idle_suspend = (unsigned)json_int(args, "idle_suspend", a->rec.idle_suspend);
	r = store_agent_save(a->all->o.store, &next, err);
	if (r < 0) {
		free(next.labels);
		return r;
	}
	free(a->rec.labels);
	a->rec = next;
	return 0;
}
