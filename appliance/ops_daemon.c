/* Operations on the appliance itself: status, shutdown. */
#include "kvm_probe.h"
#include "leftovers.h"
#include "ops.h"
#include "paths.h"
#include "process.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static void add_pid(cJSON *o, const char *name, const struct daemon *d, const char *file)
{
	AUTOFREE char *path = path_in(d->state, "run/%s", file);
	pid_t pid = process_read_file(path);

	if (pid > 0)
		cJSON_AddNumberToObject(o, name, pid);
	else
		cJSON_AddNullToObject(o, name);
}

static cJSON *count_agents(struct daemon *d)
{
	static const char *const states[] = {
		"creating", "running", "suspended", "stopped", "failed"};
	unsigned n[ARRAY_SIZE(states)] = {0}, total = 0;
	cJSON *o = cJSON_CreateObject();

	for (struct agent *a = agents_next(d->agents, NULL); a; a = agents_next(d->agents, a)) {
		for (size_t i = 0; i < ARRAY_SIZE(states); i++)
			n[i] += streq(states[i], agent_state(a));
		total++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		cJSON_AddNumberToObject(o, states[i], n[i]);
	cJSON_AddNumberToObject(o, "total", total);
	return o;
}

void op_status(struct daemon *d, struct request *r)
{
	const char *listen = getenv("BERTH_LISTEN");
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "version", BERTH_VERSION);
	cJSON_AddNumberToObject(o, "pid", getpid());
	json_add_time(o, "started_at", d->started_at);
	cJSON_AddStringToObject(o, "accel", kvm_proven(d->state) ? "kvm" : "tcg");
	cJSON_AddItemToObject(o, "agents", count_agents(d));
	cJSON_AddStringToObject(o, "state", d->state);
	cJSON_AddStringToObject(o, "listen", listen && listen[0] ? listen : d->config.listen);
	add_pid(o, "supervisor_pid", d, "up.pid");
	add_pid(o, "gateway_pid", d, "gateway.pid");
	request_ok(r, o, -1);
}

void op_leftovers(struct daemon *d, struct request *r)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToObject(o, "leftovers", leftovers_find(d->agents));
	request_ok(r, o, -1);
}

static void on_progress(void *data, const char *agent, unsigned left)
{
	struct daemon *d = data;
	char detail[160];

	snprintf(detail, sizeof(detail), "%s has stopped, %u to go", agent, left);
	if (d->shutdown)
		request_progress(d->shutdown, "stop", detail);
}

static void on_all_stopped(void *data)
{
	struct daemon *d = data;

	request_ok(d->shutdown, NULL, -1);
	d->shutdown = NULL;
	daemon_end(d);
}

void op_shutdown(struct daemon *d, struct request *r)
{
	struct err err;

	if (d->shutdown || d->ending) {
		err_set(&err, EALREADY, "the appliance is being shut down already");
		err_type(&err, 409, "wrong-state");
		request_fail(r, &err);
		return;
	}
	d->shutdown = r;
	agents_shutdown(d->agents, on_progress, on_all_stopped, d);
}
