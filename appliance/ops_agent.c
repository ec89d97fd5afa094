/* Operations on agents. */
#include "ops.h"
#include "util.h"

#include <errno.h>
#include <string.h>

static void on_progress(void *data, const char *step, const char *detail)
{
	request_progress(data, step, detail);
}

static void on_done(void *data, struct agent *a, const struct err *err)
{
	if (err)
		request_fail(data, err);
	else
		request_ok(data, a ? agent_json(a) : NULL, -1);
}

void op_agent_ask(struct daemon *d, struct request *r, enum agent_input what)
{
	const struct asker asker = {on_progress, on_done, r};
	struct agent *a = op_agent(d, r);
	struct err err;

	if (a && agent_ask(a, what, request_by(r), &asker, &err) < 0)
		request_fail(r, &err);
}

void op_agent_create(struct daemon *d, struct request *r)
{
	const struct asker asker = {on_progress, on_done, r};
	struct err err;

	if (agent_create(d->agents, request_args(r), request_by(r), &asker, &err) < 0)
		request_fail(r, &err);
}

/* filter: "K" (has that label) or "K=V". */
static bool label_fits(const struct agent_record *rec, const char *filter)
{
	const char *equals = strchr(filter, '=');
	AUTOFREE char *key = equals ? strndup(filter, (size_t)(equals - filter)) : xstrdup(filter);
	cJSON *labels = cJSON_Parse(rec->labels ? rec->labels : "{}");
	const char *value = json_str(labels, key, NULL);
	bool fits = value && (!equals || streq(value, equals + 1));

	cJSON_Delete(labels);
	return fits;
}

void op_agent_list(struct daemon *d, struct request *r)
{
	const char *filter = json_str(request_args(r), "label", NULL);
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "agents");

	for (struct agent *a = agents_next(d->agents, NULL); a; a = agents_next(d->agents, a))
		if (agent_record(a)->name[0] != '.' && /* one of our own */
			(!filter || label_fits(agent_record(a), filter)))
			cJSON_AddItemToArray(list, agent_json(a));
	request_ok(r, o, -1);
}

void op_agent_get(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);

	if (a)
		request_ok(r, agent_json(a), -1);
}

void op_agent_update(struct daemon *d, struct request *r)
{
	struct agent *a = op_agent(d, r);
	struct err err;

	if (!a)
		return;
	if (agent_update(a, request_args(r), &err) < 0)
		request_fail(r, &err);
	else
		request_ok(r, agent_json(a), -1);
}

void op_agent_start(struct daemon *d, struct request *r)
{
	op_agent_ask(d, r, INPUT_START);
}

void op_agent_stop(struct daemon *d, struct request *r)
{
	op_agent_ask(d, r, json_bool(request_args(r), "force", false) ? INPUT_KILL : INPUT_STOP);
}

void op_agent_restart(struct daemon *d, struct request *r)
{
	op_agent_ask(d, r, INPUT_RESTART);
}

void op_agent_remove(struct daemon *d, struct request *r)
{
	op_agent_ask(d, r, INPUT_REMOVE);
}

static void on_connected(void *data, const struct agent_connection *c, const struct err *err)
{
	cJSON *o;

	if (err) {
		request_fail(data, err);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "generation", (double)c->generation);
	cJSON_AddStringToObject(o, "state", c->state);
	request_ok(data, o, c->fd);
	close(c->fd);
}

void op_agent_connect(struct daemon *d, struct request *r)
{
	const char *port = json_str(request_args(r), "port", "");
	struct agent *a;
	struct err err;

	if (!streq(port, "cdp") && !streq(port, "guest")) {
		err_set(&err, EINVAL, "'port' must be cdp or guest");
		err_type(&err, 400, "invalid-request");
		request_fail(r, &err);
		return;
	}
	a = op_agent(d, r);
	if (a)
		agent_connect(d->agents, a, streq(port, "cdp"), on_connected, r);
}
