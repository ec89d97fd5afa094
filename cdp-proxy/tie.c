/* Connections into guests: whose guest sleeps, what waits for it, and when they end with it. */
#include "tie.h"
#include "gateway_state.h"
#include "json.h"
#include "log.h"
#include "util.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/*
 * Theory of operation. An agent that sleeps keeps its network namespace, and its guest's memory
 * holds the other end of each connection: after the wake both ends go on where they were. So a
 * connection outlives sleep if nothing is sent meanwhile (a TCP that repeats itself in vain gives
 * up after a quarter of an hour, and waits long between its tries before that). Per agent that has
 * connections:
 *
 *   AWAKE --agent.suspending, suspended--> ASLEEP --agent.resumed, or agent.resume is answered-->
 * AWAKE
 *
 *   asleep   owners hold what their clients send (bounded by their queues' marks); the first thing
 *            that waits asks berthd for agent.resume, once. Bytes that were sent and never
 *            acknowledged (SIOCOUTQ, looked at when QEMU is gone) count as waiting. A refusal is
 *            asked again every RETRY_MS, for REFUSED_MS; then the connections end.
 *   awake    what clients send is told to berthd (agent.touch) every TOUCH_MS at most, a running
 *            command every TOUCH_MS; with wake false, as it may cross agent.suspending.
 *
 * A guest that is not the same any more (stopped, crashed, put back to a snapshot) says nothing on
 * its old connections, and nor does its namespace. berthd's events end them; which connections are
 * old tells the life, the part of the generation that a wake leaves as it is.
 *
 * Events and answers come on one channel in the order in which things happened: a connection that
 * berthd handed out after a wake is tied after agent.resumed was read, or is let go by it at once.
 */
#define TOUCH_MS 5000
#define RETRY_MS 1000
#define REFUSED_MS 20000
#define GENERATIONS_PER_LIFE 1000000
#define NO_LIFE UINT64_MAX
#ifndef TCP_THIN_LINEAR_TIMEOUTS
#define TCP_THIN_LINEAR_TIMEOUTS 16
#endif

/* An agent with connections. In the gateway's list; freed when the last of them is closed. */
struct tied_agent {
	struct tied_agent *next, **prev;
	struct gateway *gw;
	char name[64];
	struct tie *ties;
	uv_timer_t timer;
	bool asleep, wanted, measured; /* measured: the first byte after a wake is waited for */
	struct daemon_request *waking, *looking;
	uint64_t touched, wanted_at, refused_at; /* ms; refused_at 0: it was not */
};

static void on_timer(uv_timer_t *timer);
static void want(struct tied_agent *a);

static struct tied_agent *find(struct gateway *gw, const char *name)
{
	struct tied_agent *a = gw->tied;

	while (a && !streq(a->name, name))
		a = a->next;
	return a;
}

static bool is_busy(const struct tied_agent *a)
{
	const struct tie *t = a->ties;

	while (t && !t->busy)
		t = t->next;
	return t;
}

/* ---- To berthd ---- */

static cJSON *name_args(const struct tied_agent *a)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddStringToObject(args, "agent", a->name);
	return args;
}

static void on_touched(void *data, const cJSON *ok, const struct err *err)
{
	(void)data;
	(void)ok;
	if (err && err->status != 404 && err->status != 503)
		log_warning("berthd does not take that an agent is in use: %s", err->msg);
}

static void touch(struct tied_agent *a)
{
	uint64_t now = uv_now(&a->gw->loop);
	cJSON *args;

	if (now - a->touched < TOUCH_MS || a->gw->stopping)
		return;
	a->touched = now;
	args = name_args(a);
	cJSON_AddBoolToObject(args, "wake", false);
	gateway_ask(a->gw, "agent.touch", args, NULL, on_touched, NULL);
}

/* Until the next touch of a busy one is due, or the next try of a wake. */
static void arm(struct tied_agent *a)
{
	if (a->wanted && a->refused_at && !a->waking)
		uv_timer_start(&a->timer, on_timer, RETRY_MS, 0);
	else if (a->asleep || !is_busy(a))
		uv_timer_stop(&a->timer);
	else if (!uv_is_active((uv_handle_t *)&a->timer))
		uv_timer_start(&a->timer, on_timer, TOUCH_MS, 0);
}

/* ---- The ends ---- */

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void agent_free(struct tied_agent *a)
{
	if (a->waking)
		gateway_cancel(a->waking);
	if (a->looking)
		gateway_cancel(a->looking);
	*a->prev = a->next;
	if (a->next)
		a->next->prev = a->prev;
	uv_close((uv_handle_t *)&a->timer, on_closed);
}

void tie_close(struct tie *t)
{
	struct tied_agent *a = t->agent;

	if (!a)
		return;
	t->agent = NULL;
	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	if (!a->ties)
		agent_free(a);
	else
		arm(a);
}

/* Ends all connections that are not of this life. The last one takes the agent with it. */
static void cut(struct gateway *gw, const char *name, uint64_t life, int code, const char *why)
{
	struct tied_agent *a;
	struct tie *t;

	/* From the start each time: an owner that ends may close other ties. */
	while ((a = find(gw, name))) {
		t = a->ties;
		while (t && t->life == life)
			t = t->next;
		if (!t)
			return;
		tie_close(t);
		t->owner->on_gone(t->data, code, why);
	}
}

/* ---- Sleep ---- */

static void hold_all(struct tied_agent *a, bool hold)
{
	for (struct tie *t = a->ties; t; t = t->next)
		t->owner->on_hold(t->data, hold);
}

static void fall_asleep(struct tied_agent *a)
{
	if (a->asleep)
		return;
	a->asleep = true;
	a->measured = false;
	arm(a);
	hold_all(a, true);
}

static void awake(struct tied_agent *a)
{
	if (!a->asleep)
		return;
	if (a->waking)
		gateway_cancel(a->waking);
	a->waking = NULL;
	a->asleep = a->wanted = false;
	a->refused_at = 0;
	a->touched = uv_now(&a->gw->loop);
	arm(a);
	hold_all(a, false);
}

/* What was sent too late for the guest to see it. */
static bool has_unseen(const struct tied_agent *a)
{
	for (const struct tie *t = a->ties; t; t = t->next) {
		int n = 0;

		if (ioctl(t->fd, SIOCOUTQ, &n) == 0 && n > 0)
			return true;
	}
	return false;
}

/* QEMU is gone. */
static void asleep(struct tied_agent *a)
{
	fall_asleep(a);
	if (has_unseen(a))
		want(a);
}

static void refused(struct tied_agent *a, const struct err *err)
{
	uint64_t now = uv_now(&a->gw->loop);
	char name[sizeof(a->name)], why[120];

	if (!a->refused_at) {
		a->refused_at = now;
		log_warning("agent %s has clients that wait, and cannot be woken: %s", a->name,
			err->msg);
	}
	if (now - a->refused_at < REFUSED_MS) {
		arm(a);
		return;
	}
	metric_add(METRIC_WAKES_FAILED, 1);
	a->wanted = false;
	memcpy(name, a->name, sizeof(name));
	snprintf(why, sizeof(why), "%s", err->msg);
	cut(a->gw, name, NO_LIFE, 1013, why);
}

static void on_woken(void *data, const cJSON *ok, const struct err *err)
{
	struct tied_agent *a = data;

	(void)ok;
	a->waking = NULL;
	if (err)
		refused(a, err);
	else
		awake(a);
}

static void ask_wake(struct tied_agent *a)
{
	const struct principal who = {.token_id = "connection"};

	if (!a->waking && !a->gw->stopping)
		a->waking = gateway_ask(a->gw, "agent.resume", name_args(a), &who, on_woken, a);
}

/* Something waits for it. */
static void want(struct tied_agent *a)
{
	if (!a->asleep || a->wanted)
		return;
	a->wanted = a->measured = true;
	a->wanted_at = uv_now(&a->gw->loop);
	metric_add(METRIC_WAKES, 1);
	ask_wake(a);
}

static void on_timer(uv_timer_t *timer)
{
	struct tied_agent *a = timer->data;

	if (a->wanted && a->refused_at)
		ask_wake(a);
	else if (!a->asleep && is_busy(a))
		touch(a);
	arm(a);
}

/* ---- What owners say ---- */

static struct tied_agent *agent_new(struct gateway *gw, const char *name)
{
	struct tied_agent *a = xcalloc(1, sizeof(*a));

	a->gw = gw;
	a->touched = uv_now(&gw->loop); /* by agent.connect */
	snprintf(a->name, sizeof(a->name), "%s", name);
	uv_timer_init(&gw->loop, &a->timer);
	a->timer.data = a;
	a->next = gw->tied;
	a->prev = &gw->tied;
	if (a->next)
		a->next->prev = &a->next;
	gw->tied = a;
	return a;
}

void tie_open(struct tie *t, struct gateway *gw, const char *agent, uint64_t generation, int fd,
	const struct tie_owner *owner, void *data)
{
	struct tied_agent *a = find(gw, agent);
	int one = 1;

	if (!a)
		a = agent_new(gw, agent);
	/* What a guest did not see before it slept is repeated at an even pace, not ever later. */
	setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &one, sizeof(one));
	*t = (struct tie){.agent = a,
		.life = generation / GENERATIONS_PER_LIFE,
		.fd = fd,
		.owner = owner,
		.data = data};
	t->next = a->ties;
	t->prev = &a->ties;
	if (t->next)
		t->next->prev = &t->next;
	a->ties = t;
}

bool tie_held(const struct tie *t)
{
	return t->agent && t->agent->asleep;
}

void tie_used(struct tie *t)
{
	if (tie_held(t))
		want(t->agent);
	else if (t->agent)
		touch(t->agent);
}

void tie_busy(struct tie *t, bool busy)
{
	if (!t->agent || t->busy == busy)
		return;
	t->busy = busy;
	arm(t->agent);
}

void tie_heard(struct tie *t)
{
	struct tied_agent *a = t->agent;

	if (!a || !a->measured || a->asleep)
		return;
	a->measured = false;
	metric_add(METRIC_WAKE_ANSWERS, 1);
	metric_add(METRIC_WAKE_MS, uv_now(&a->gw->loop) - a->wanted_at);
}

/* ---- What berthd says ---- */

static const struct {
	const char *event;
	int code;
	const char *why;
} ends[] = {
	{"agent.stopped", 1001, "the agent was stopped"},
	{"agent.failed", 1001, "the agent failed"},
	{"agent.removed", 1001, "the agent was removed"},
	{"agent.crashed", 1012, "the agent crashed; connect again to the same address"},
	{"agent.hung", 1012, "the agent hung and was ended; connect again to the same address"},
	{"agent.restored", 1012,
		"the agent was put back to a snapshot; connect again to the same address"},
};
static const char restarted[] = "the agent was restarted; connect again to the same address";

/* An end of all connections; false if the event is none. */
static bool is_end(struct gateway *gw, const char *name, const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (!streq(type, ends[i].event))
			continue;
		cut(gw, name, NO_LIFE, ends[i].code, ends[i].why);
		return true;
	}
	return false;
}

void ties_event(struct gateway *gw, const cJSON *event)
{
	const char *type = json_str(event, "type", ""), *name = json_str(event, "agent", "");
	int64_t life = json_int(json_get(event, "data"), "life", -1);
	struct tied_agent *a = find(gw, name);

	if (!a || is_end(gw, name, type))
		return;
	if (streq(type, "agent.suspending"))
		fall_asleep(a);
	else if (streq(type, "agent.suspended"))
		asleep(a);
	else if (streq(type, "agent.awake"))
		awake(a);
	else if (streq(type, "agent.starting") && !a->asleep)
		cut(gw, name, NO_LIFE, 1012, restarted);
	else if ((streq(type, "agent.running") || streq(type, "agent.resumed")) && life >= 0)
		cut(gw, name, (uint64_t)life, 1012, restarted);
	a = find(gw, name);
	if (a && streq(type, "agent.resumed"))
		awake(a);
}

static void on_looked(void *data, const cJSON *ok, const struct err *err)
{
	struct tied_agent *a = data;
	struct gateway *gw = a->gw;
	char name[sizeof(a->name)];
	const char *state = json_str(ok, "state", "");

	a->looking = NULL;
	memcpy(name, a->name, sizeof(name));
	if (err && err->status == 404)
		is_end(gw, name, "agent.removed");
	else if (streq(state, "stopped") || streq(state, "failed"))
		is_end(gw, name, "agent.stopped");
	else if (streq(state, "suspended"))
		asleep(a);
	else if (streq(state, "running"))
		awake(a);
}

void ties_daemon_up(struct gateway *gw)
{
	for (struct tied_agent *a = gw->tied; a; a = a->next) {
		if (!a->looking)
			a->looking = gateway_ask(gw, "agent.get", name_args(a), NULL, on_looked, a);
	}
}
