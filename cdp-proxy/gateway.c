/* The gateway's parts put together: its sockets, its loop, what berthd's events mean to it, its
 * end. */
#include "gateway.h"
#include "access.h"
#include "action_log.h"
#include "confine.h"
#include "daemon_link.h"
#include "entry.h"
#include "events_hub.h"
#include "executor.h"
#include "gateway_config.h"
#include "gateway_run.h"
#include "gateway_state.h"
#include "json.h"
#include "log.h"
#include "paths.h"
#include "ports.h"
#include "sock.h"
#include "start_page.h"
#include "tie.h"
#include "util.h"
#include "ws_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define CLOSING_MS 1500
#define POLICY_GID 3
#define FDS_WANTED 16384
#define TURNS_TO_END 10

uv_loop_t *gateway_loop(struct gateway *gw)
{
	return &gw->loop;
}

const char *gateway_state_dir(struct gateway *gw)
{
	return gw->state_dir;
}

/* ---- Sockets ---- */

/* STATE/run/NAME with this owner and mode. */
static int make_run_dir(
	const struct gateway *gw, const char *name, uid_t uid, gid_t gid, int mode, struct err *err)
{
	AUTOFREE char *run = path_in(gw->state_dir, "run");
	AUTOFREE char *path = path_in(gw->state_dir, "run/%s", name);

	if (make_dir(run, 0700, err) < 0 || make_dir(path, mode, err) < 0)
		return err->code;
	if (!confine_has_own_uid())
		return 0;
	if (chown(path, uid, gid) < 0 || chmod(path, (mode_t)mode) < 0)
		return err_sys(err, "cannot give %s its owner", path);
	return 0;
}

static int open_unix(struct gateway *gw, const char *path, enum listener_kind kind, int mode,
	uid_t uid, gid_t gid, struct err *err)
{
	AUTOFREE char *full = path_in(gw->state_dir, "run/%s", path);
	int fd = sock_listen_unix(full, mode, err);

	if (fd < 0)
		return fd;
	if (confine_has_own_uid() && chown(full, uid, gid) < 0) {
		close(fd);
		return err_sys(err, "cannot give %s its owner", full);
	}
	entry_open(gw, fd, kind, NULL);
	return 0;
}

/* Port 0 was asked for: what it became is what the log, and URLs told by the unix socket, say. */
static void note_port(struct gateway *gw, uint16_t port)
{
	char *colon = strrchr(gw->listen, ':');
	size_t room = sizeof(gw->listen) - (size_t)(colon - gw->listen);

	snprintf(colon, room, ":%u", port);
}

static int open_sockets(struct gateway *gw, struct err *err)
{
	AUTOFREE char *control = path_in(gw->state_dir, "run/control");
	uint16_t port;
	int fd = entry_listen_tcp(gw->listen, &port, err);

	if (fd < 0) {
		if (err->code == -EADDRINUSE)
			err_hint(err, "another program has this port; choose one with --listen or "
				      "in berth.conf");
		return fd;
	}
	note_port(gw, port);
	entry_open(gw, fd, LISTEN_TCP, NULL);
	if (make_run_dir(gw, "api", GATEWAY_UID, GATEWAY_UID, 0700, err) < 0 ||
		make_run_dir(gw, "service", 0, POLICY_GID, 0750, err) < 0 ||
		make_run_dir(gw, "control", 0, GATEWAY_UID, 0750, err) < 0)
		return err->code;
	/* The folder says who may open it: its owner is uid 0 of the appliance, who is not us but
	 * is the caller. */
	if (open_unix(gw, "api/api.sock", LISTEN_LOCAL, 0666, GATEWAY_UID, GATEWAY_UID, err) < 0 ||
		open_unix(gw, "service/start.sock", LISTEN_START, 0660, GATEWAY_UID, POLICY_GID,
			err) < 0)
		return err->code;
	/* Reached through this descriptor later: the folder above it is closed to us then. */
	gw->control_dir = open(control, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return gw->control_dir < 0 ? err_sys(err, "cannot open %s", control) : 0;
}

static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = MAX(limit.rlim_cur, MIN(limit.rlim_max, (rlim_t)FDS_WANTED));
	limit.rlim_cur = MIN(limit.rlim_cur, (rlim_t)FDS_WANTED);
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- Events ---- */

static void on_event(void *data, const cJSON *event)
{
	struct gateway *gw = data;
	const char *type = json_str(event, "type", "");

	if (streq(type, "token.revoked")) {
		const char *id = json_str(event, "detail", NULL);

		auth_forget(gw->auth);
		if (id)
			access_cut(gw, id, NULL);
	}
	if (streq(type, "agent.removed")) {
		auth_forget(gw->auth);
		access_cut(gw, NULL, json_str(event, "agent", ""));
		ports_forget(gw->ports, json_str(event, "agent", ""));
	}
	ties_event(gw, event);
	events_hub_send(gw->events, event);
}

static void on_daemon_up(void *data)
{
	struct gateway *gw = data;

	log_info("connected to berthd");
	/* A revocation may have been missed. */
	auth_forget(gw->auth);
	access_recheck(gw);
	ties_daemon_up(gw);
	ports_restore(gw->ports);
	action_log_flush(gw);
}

/* ---- End ---- */

static void close_everything(struct gateway *gw)
{
	struct http_conn *c, *next;

	for (c = gw->conns; c; c = next) {
		next = c->next;
		conn_close(c);
	}
}

static void on_closing_over(uv_timer_t *timer)
{
	struct gateway *gw = timer->data;

	close_everything(gw);
	uv_stop(&gw->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct gateway *gw = handle->data;

	(void)number;
	if (gw->stopping)
		return;
	gw->stopping = true;
	log_info("ending");
	entry_close_all(gw);
	for (struct http_conn *c = gw->conns; c; c = c->next) {
		if (c->ws && c->state == CONN_WS)
			ws_close(c->ws, 1001, "the gateway is shutting down");
		else if (c->state == CONN_HEAD)
			conn_close_soon(c);
	}
	uv_timer_start(&gw->closing, on_closing_over, gw->n_conns ? CLOSING_MS : 1, 0);
}

static void watch_signals(struct gateway *gw)
{
	signal(SIGPIPE, SIG_IGN);
	uv_signal_init(&gw->loop, &gw->on_term);
	uv_signal_init(&gw->loop, &gw->on_int);
	uv_timer_init(&gw->loop, &gw->closing);
	gw->on_term.data = gw->on_int.data = gw->closing.data = gw;
	uv_signal_start(&gw->on_term, on_signal, SIGTERM);
	uv_signal_start(&gw->on_int, on_signal, SIGINT);
}

/* ---- Life ---- */

static int set_up(struct gateway *gw, const char *listen, struct err *err)
{
	AUTOFREE char *conf = path_in(gw->state_dir, "berth.conf");
	struct gateway_config config;
	int r = gateway_config_read(conf, &config, err);

	gw->hosts = steal(&config.hosts);
	gw->origins = steal(&config.origins);
	if (r < 0)
		return r;
	snprintf(gw->listen, sizeof(gw->listen), "%s", listen ? listen : config.listen);
	raise_fd_limit();
	if (start_page_load(gw, err) < 0 || open_sockets(gw, err) < 0 || confine(err) < 0)
		return err->code;
	gw->lws = lws_side_new(gw, err);
	if (!gw->lws)
		return err->code;
	gw->auth = auth_new(gw);
	gw->access = access_new(gw);
	gw->ports = ports_new(gw);
	gw->events = events_hub_new(gw);
	gw->actions = action_log_new(gw);
	gw->daemon = daemon_link_new(gw, steal_fd(&gw->control_dir), on_event, on_daemon_up, gw);
	return 0;
}

static void close_rest(uv_handle_t *handle, void *data)
{
	(void)data;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void free_lists(struct gateway *gw)
{
	struct gateway_config lists = {.hosts = gw->hosts, .origins = gw->origins};

	gateway_config_done(&lists);
	free(gw->state_dir);
	free(gw->openapi);
	free(gw->start_page);
}

static void tear_down(struct gateway *gw)
{
	entry_close_all(gw);
	action_log_close(gw);
	if (gw->daemon)
		daemon_link_close(gw->daemon);
	if (gw->events)
		events_hub_close(gw->events);
	access_close(gw->access);
	executors_close();
	lws_side_end(gw->lws);
	for (int i = 0; i < TURNS_TO_END; i++)
		uv_run(&gw->loop, UV_RUN_NOWAIT);
	lws_side_free(gw->lws);
	uv_walk(&gw->loop, close_rest, NULL);
	uv_run(&gw->loop, UV_RUN_DEFAULT);
	auth_free(gw->auth);
	ports_free(gw->ports);
	uv_loop_close(&gw->loop);
	free_lists(gw);
}

int gateway_run(const char *state, const char *listen, struct err *err)
{
	struct gateway gw = {.control_dir = -1, .state_dir = xstrdup(state)};
	int r;

	uv_loop_init(&gw.loop);
	watch_signals(&gw);
	r = set_up(&gw, listen, err);
	if (r == 0) {
		log_info("listening on %s", gw.listen);
		uv_run(&gw.loop, UV_RUN_DEFAULT);
	}
	tear_down(&gw);
	return r;
}
