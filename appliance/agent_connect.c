/*
 * Connections into guests, handed to the gateway.
 *
 * Theory of operation. Each one tries at once and then every TRY_MS until it is through or its time
 * is over: the agent (looked up by id, it may go meanwhile) must run, its browser be up, and the
 * guest accept. The socket is made inside the agent's namespace and connected without blocking.
 */
#include "agent_priv.h"
#include "log.h"
#include "netns.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define TRY_MS 50
#define CONNECT_MS 3000 /* for one try; the guest is one hop away */

struct connecting {
	struct connecting *next;
	struct agents *all;
	char id[64], name[64];
	bool browser;
	int fd;
	struct watch_fd *watch;
	struct watch_timer *timer;
	uint64_t deadline;
	void (*done)(void *data, const struct agent_connection *c, const struct err *err);
	void *data;
};

/* True when the guest can be connected to now. */
static bool reachable(const struct connecting *c, const struct agent *a)
{
	if (a->phase != PHASE_RUNNING && a->phase != PHASE_BROWSER && a->phase != PHASE_SAVING)
		return false;
	if (!a->vm || vm_stalled(a->vm))
		return false;
	return !c->browser || a->browser == GUEST_BROWSER_UP;
}

static void drop_socket(struct connecting *c)
{
	watch_fd_free(c->watch);
	c->watch = NULL;
	if (c->fd >= 0)
		close(steal_fd(&c->fd));
}

/* Tells and frees. */
static void finish(
	struct connecting *c, const struct agent_connection *connection, const struct err *err)
{
	struct connecting **link = &c->all->connecting;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	c->all->n_connecting--;
	drop_socket(c);
	watch_timer_free(c->timer);
	c->done(c->data, connection, err);
	free(c);
}

static void fail(
	struct connecting *c, int status, const char *type, const char *why, const char *hint)
{
	struct err err;

	err_set(&err, EAGAIN, "agent '%s' %s", c->name, why);
	err_type(&err, status, type);
	if (hint)
		err_hint(&err, hint, c->name);
	finish(c, NULL, &err);
}

static void connected(struct connecting *c, struct agent *a)
{
	struct agent_connection connection = {
		.generation = a->rec.boots * 1000000ull + a->browser_restarts,
		.state = agent_state(a),
	};

	watch_fd_free(c->watch);
	c->watch = NULL;
	connection.fd = steal_fd(&c->fd);
	setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	finish(c, &connection, NULL);
}

static void again(struct connecting *c)
{
	drop_socket(c);
	watch_timer_start(c->timer, TRY_MS);
}

static void on_socket(void *data, int events)
{
	struct connecting *c = data;
	struct agent *a = agents_find(c->all, c->id, NULL);
	int failure = 0;
	socklen_t n = sizeof(failure);

	if (!a || (a->vm && vm_stalled(a->vm)) ||
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &n) < 0 || failure)
		again(c);
	else
		connected(c, a);
}

static void try_socket(struct connecting *c, struct agent *a)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(c->browser ? GUEST_CDP_PORT : GUEST_PORT),
		.sin_addr.s_addr = inet_addr(GUEST_ADDR),
	};

	c->fd = netns_socket(c->all->state, c->id, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, NULL);
	if (c->fd < 0) {
		again(c);
		return;
	}
	if (connect(c->fd, (struct sockaddr *)&sin, sizeof(sin)) == 0) {
		connected(c, a);
		return;
	}
	if (errno != EINPROGRESS) {
		again(c);
		return;
	}
	c->watch = watch_fd_new(c->all->o.loop, c->fd, UV_WRITABLE, on_socket, c);
	watch_timer_start(c->timer, CONNECT_MS);
}

static void told(void *data, struct agent *a, const struct err *err)
{
}
static const struct asker nobody = {.done = told};

static void attempt(void *data)
{
	struct connecting *c = data;
	struct agent *a = agents_find(c->all, c->id, NULL);

	drop_socket(c);
	if (a)
		agent_touch(a);
	if (!a)
		fail(c, 404, "agent-not-found", "was removed", NULL);
	else if (a->phase == PHASE_STOPPED || a->phase == PHASE_FAILED ||
		 a->phase == PHASE_REMOVING)
		fail(c, 409, "wrong-state", "does not run", "start it with: berth start %s");
	else if (c->browser && a->browser == GUEST_BROWSER_GAVE_UP && a->phase == PHASE_RUNNING)
		fail(c, 503, "browser-unavailable", "has a browser that ended too often",
			"restart it with: berth restart %s");
	else if (now_ms() >= c->deadline && a->vm && vm_stalled(a->vm))
		fail(c, 507, "disk-full", "waits: the host's disk is full",
			"make room there; it goes on by itself");
	else if (now_ms() >= c->deadline && reachable(c, a))
		fail(c, 504, "timeout", "does not answer", "see what it says with: berth log %s");
	else if (now_ms() >= c->deadline && c->browser && agent_phase_has_vm(a->phase))
		fail(c, 503, "browser-unavailable", "has no browser that answers",
			"see what it says with: berth log %s");
	else if (now_ms() >= c->deadline)
		fail(c, 504, "timeout", "does not run yet", "see its state with: berth show %s");
	else if (reachable(c, a))
		try_socket(c, a);
	else
		watch_timer_start(c->timer, TRY_MS);
}

void agent_seen(struct agent *a)
{
	a->active_at = now_ms();
}

void agent_touch(struct agent *a)
{
	struct err err;

	agent_seen(a);
	if ((a->phase == PHASE_SUSPENDED || a->phase == PHASE_SUSPENDING) &&
		agent_ask(a, INPUT_START, "a request", &nobody, &err) < 0)
		log_warning("%s: it cannot be woken: %s", a->rec.name, err.msg);
}

void agent_connect(struct agents *all, struct agent *a, bool browser,
	void (*done)(void *data, const struct agent_connection *c, const struct err *err),
	void *data)
{
	struct connecting *c;
	struct err err;

	if (all->n_connecting >= CONNECTING_MAX) {
		err_set(&err, EAGAIN, "too many connections into agents are being made");
		err_type(&err, 429, "too-many-requests");
		done(data, NULL, &err);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->all = all;
	memcpy(c->id, a->rec.id, sizeof(c->id));
	memcpy(c->name, a->rec.name, sizeof(c->name));
	c->browser = browser;
	c->fd = -1;
	c->deadline = now_ms() + AGENT_CONNECT_MS;
	c->done = done;
	c->data = data;
	c->timer = watch_timer_new(all->o.loop, attempt, c);
	c->next = all->connecting;
	all->connecting = c;
	all->n_connecting++;
	attempt(c);
}

void agents_connect_cancel(struct agents *all)
{
	while (all->connecting)
		fail(all->connecting, 503, "daemon-unavailable",
			"cannot be reached: berthd is ending", NULL);
}
