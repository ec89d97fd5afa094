/*
 * The control channel to berthd. One connection at a time: a new one replaces the old. What was
 * asked on a connection that has gone is done and not answered.
 */
#include "control.h"
#include "ctl.h"
#include "json.h"
#include "log.h"
#include "rules.h"
#include "util.h"

#include <errno.h>
#include <sys/socket.h>

/* Owned by control until it is replaced; then closes by the loop. */
struct link {
	struct control *control;
	struct ctl *ctl;
	uv_poll_t poll;
	bool broken;
};

/* Lives as long as the process. */
struct control {
	uv_loop_t *loop;
	uv_poll_t listener;
	int fd;
	struct control_ops ops;
	struct link *link; /* NULL: nobody is connected */
	uint64_t number;   /* of the link */
	char instance[64]; /* tells this process's count of bytes from any other's */
};

struct control_request {
	struct control *control;
	uint64_t number; /* of the link it came by */
	double id;
};

static void on_link_closed(uv_handle_t *handle)
{
	struct link *l = CONTAINER_OF((uv_poll_t *)handle, struct link, poll);

	ctl_free(l->ctl);
	free(l);
}

static void drop_link(struct control *c)
{
	struct link *l = c->link;

	if (!l)
		return;
	c->link = NULL;
	uv_poll_stop(&l->poll);
	uv_close((uv_handle_t *)&l->poll, on_link_closed);
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct link *l)
{
	uv_poll_start(
		&l->poll, UV_READABLE | (ctl_wants_write(l->ctl) ? UV_WRITABLE : 0), on_ready);
}

static void send_message(struct control *c, const cJSON *msg)
{
	struct link *l = c->link;

	if (!l || l->broken)
		return;
	if (ctl_send(l->ctl, msg, -1) < 0)
		l->broken = true; /* dropped by the loop, not under somebody's feet */
	watch(l);
}

static void answer(struct control_request *r, const char *what, cJSON *value)
{
	cJSON *msg = cJSON_CreateObject();

	cJSON_AddNumberToObject(msg, "id", r->id);
	cJSON_AddItemToObject(msg, what, value);
	if (r->number == r->control->number)
		send_message(r->control, msg);
	cJSON_Delete(msg);
	free(r);
}

void control_answer(struct control_request *r, cJSON *ok)
{
	answer(r, "ok", ok);
}

void control_refuse(struct control_request *r, const struct err *err)
{
	answer(r, "error", json_from_err(err));
}

void control_event(struct control *c, const cJSON *event)
{
	send_message(c, event);
}

static void op_hello(struct control *c, struct control_request *r)
{
	cJSON *ok = cJSON_CreateObject();

	cJSON_AddNumberToObject(ok, "version", CTL_VERSION);
	cJSON_AddNumberToObject(ok, "pid", getppid());
	cJSON_AddStringToObject(ok, "instance", c->instance);
	control_answer(r, ok);
}

/* A policy. What its limits hold is checked by those who keep them. */
static const struct json_member policy_members[] = {
	{"rules", JSON_STRINGS, true, 0, RULES_MAX},
	{"mode", JSON_STRING, false, 1, 16},
	{"limits", JSON_OBJECT, false, 0, 0},
	{"presets", JSON_OBJECT, false, 0, 0},
};

static void op_policy_set(struct control *c, struct control_request *r, const cJSON *args)
{
	struct err err;

	if (json_check(args, policy_members, ARRAY_SIZE(policy_members), &err) < 0)
		control_refuse(r, &err);
	else
		c->ops.policy_set(c->ops.data, args, r);
}

static const struct json_member budget_members[] = {
	{"bytes", JSON_INTEGER, false, 0, INT64_C(1) << 52},
	{"limit", JSON_STRING, false, 1, 40},
};

static void op_budget_set(struct control *c, struct control_request *r, const cJSON *args)
{
	int64_t bytes = json_int(args, "bytes", -1);
	struct err err;

	if (json_check(args, budget_members, ARRAY_SIZE(budget_members), &err) < 0)
		control_refuse(r, &err);
	else
		c->ops.budget_set(c->ops.data, bytes < 0 ? UINT64_MAX : (uint64_t)bytes,
			json_str(args, "limit", ""), r);
}

static void on_message(void *data, cJSON *msg, int fd)
{
	struct link *l = data;
	struct control *c = l->control;
	const char *op = json_str(msg, "op", "");
	struct control_request *r;
	struct err err;

	if (fd >= 0)
		close(fd);
	if (c->link != l)
		return;
	r = xcalloc(1, sizeof(*r));
	*r = (struct control_request){
		.control = c, .number = c->number, .id = (double)json_int(msg, "id", 0)};
	if (streq(op, "hello")) {
		op_hello(c, r);
	} else if (streq(op, "policy.set")) {
		op_policy_set(c, r, json_get(msg, "args"));
	} else if (streq(op, "upstream.set")) {
		c->ops.upstream_set(c->ops.data, json_get(msg, "args"), r);
	} else if (streq(op, "budget.set")) {
		op_budget_set(c, r, json_get(msg, "args"));
	} else if (streq(op, "stats")) {
		c->ops.stats(c->ops.data, r);
	} else {
		err_set(&err, EINVAL, "berth-policy has no op '%.40s'", op);
		err_type(&err, 400, "invalid-request");
		control_refuse(r, &err);
	}
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct link *l = CONTAINER_OF(poll, struct link, poll);
	struct control *c = l->control;
	int r = status < 0 || l->broken ? -EPIPE : 0;

	if (r == 0 && events & UV_READABLE)
		r = ctl_readable(l->ctl, on_message, l);
	if (r == 0)
		r = ctl_flush(l->ctl);
	if (c->link != l)
		return;
	if (r < 0)
		drop_link(c);
	else
		watch(l);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct control *c = CONTAINER_OF(poll, struct control, listener);
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct link *l;

	if (fd < 0)
		return;
	drop_link(c);
	l = xcalloc(1, sizeof(*l));
	l->control = c;
	l->ctl = ctl_new(fd);
	uv_poll_init(c->loop, &l->poll, fd);
	c->link = l;
	c->number++;
	watch(l);
}

struct control *control_new(uv_loop_t *loop, int listener, const struct control_ops *ops)
{
	struct control *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->fd = listener;
	c->ops = *ops;
	make_id("", c->instance);
	uv_poll_init(loop, &c->listener, listener);
	uv_poll_start(&c->listener, UV_READABLE, on_connection);
	return c;
}
