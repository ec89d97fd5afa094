/*
 * The control server: who is connected, what they asked, what they are told.
 *
 * Theory of operation. A client is a connection with its frames (base/ctl.h) and a list of requests
 * that wait. A request and its client may end in any order: a client that goes leaves its requests
 * behind without a client, and their answers go nowhere. A client that does not take its answers is
 * not read any more; one that breaks a rule of the channel is closed. A client is freed outside of
 * reading only (`dead` marks it until then).
 */
#include "control.h"
#include "ctl.h"
#include "json.h"
#include "house.h"
#include "log.h"
#include "paths.h"
#include "sock.h"
#include "util.h"
#include "watch.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct client {
	struct control *control;
	struct client *next;
	struct ctl *ctl;
	struct watch_fd *watch;
	struct request *requests;
	bool dead;
};

struct request {
	struct control *control;
	struct client *client; /* NULL: it has gone */
	struct request *next, **link;
	double id;
	char op[CONTROL_OP_MAX + 1], by[CONTROL_BY_MAX + 1];
	cJSON *args;
	const struct request_stream *stream;
	void *stream_data;
};

struct control {
	uv_loop_t *loop;
	int fd;
	struct watch_fd *watch;
	struct client *clients;
	unsigned n_clients, n_waiting;
	void (*ask)(void *data, struct request *r);
	void *data;
};

static void unlink_request(struct request *r)
{
	if (!r->link)
		return;
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	r->link = NULL;
	r->next = NULL;
}

static void request_free(struct request *r)
{
	unlink_request(r);
	r->control->n_waiting--;
	cJSON_Delete(r->args);
	free(r);
}

/* Frees a client that is marked. Its streams are told, other requests go on without it. */
static void client_free(struct client *client)
{
	struct client **link = &client->control->clients;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	client->control->n_clients--;
	while (client->requests) {
		struct request *r = client->requests;

		unlink_request(r);
		r->client = NULL;
		if (r->stream)
			r->stream->closed(r->stream_data);
	}
	watch_fd_free(client->watch);
	ctl_free(client->ctl);
	free(client);
}

/* Reads only from a client that takes what it is sent. */
static void interest(struct client *client)
{
	watch_fd_events(client->watch, ctl_wants_write(client->ctl) ? UV_WRITABLE : UV_READABLE);
}

static void send_message(struct client *client, const cJSON *msg, int fd)
{
	int r = client->dead ? 0 : ctl_send(client->ctl, msg, fd);

	if (r < 0) {
		/* Freed later, from the loop: whoever sends may stand in the middle of a list. */
		client->dead = true;
		log_debug("a client of the control channel is closed: %s", strerror(-r));
		shutdown(ctl_fd(client->ctl), SHUT_RDWR);
		watch_fd_events(client->watch, UV_READABLE);
	} else if (!client->dead) {
		interest(client);
	}
}

static void request_send(struct request *r, const char *what, cJSON *content, int fd)
{
	cJSON *msg = cJSON_CreateObject();

	cJSON_AddNumberToObject(msg, "id", r->id);
	cJSON_AddItemToObject(msg, what, content);
	if (r->client)
		send_message(r->client, msg, fd);
	cJSON_Delete(msg);
}

const char *request_op(const struct request *r)
{
	return r->op;
}

const char *request_by(const struct request *r)
{
	return r->by;
}

const cJSON *request_args(const struct request *r)
{
	return r->args;
}

void request_ok(struct request *r, cJSON *ok, int fd)
{
	request_send(r, "ok", ok ? ok : cJSON_CreateObject(), fd);
	request_free(r);
}

/* What the host's disk does is the same to whoever meets it. */
static void explain_disk(struct err *err)
{
	if (err->code == -EDQUOT || err->code == -ENOSPC) {
		err_type(err, 507, "disk-full");
		if (!err->hint[0])
			err_hint(err, "free some space where the state folder is, or remove an "
				      "agent or a snapshot");
	} else if (err->code == -EIO && !err->hint[0]) {
		err_hint(err, "see what is wrong in the host's log (journalctl -k) and in "
			      "log/berthd.log of the state folder, then try again");
	}
}

void request_fail(struct request *r, const struct err *err)
{
	struct err told = *err;

	explain_disk(&told);
	if (told.status >= 500)
		log_warning("%s: %s", r->op, told.msg);
	request_send(r, "error", json_from_err(&told), -1);
	request_free(r);
}

void request_progress(struct request *r, const char *step, const char *detail)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "step", step);
	cJSON_AddStringToObject(o, "detail", detail);
	request_send(r, "progress", o, -1);
}

void request_stream(struct request *r, const struct request_stream *s, void *data)
{
	r->stream = s;
	r->stream_data = data;
}

void request_event(struct request *r, cJSON *event)
{
	request_send(r, "event", event, -1);
}

bool request_busy(const struct request *r)
{
	return !r->client || r->client->dead || ctl_wants_write(r->client->ctl);
}

bool request_cancel(struct request *r, double id)
{
	for (struct request *other = r->client ? r->client->requests : NULL; other;
		other = other->next) {
		if (!other->stream || other->id != id)
			continue;
		other->stream->closed(other->stream_data);
		return true;
	}
	return false;
}

/* A text member of at most max bytes into out, "" when absent; false when it is something else. */
static bool take_text(const cJSON *msg, const char *name, char *out, size_t max)
{
	const cJSON *v = json_get(msg, name);

	out[0] = 0;
	if (!v)
		return true;
	if (!cJSON_IsString(v) || strlen(v->valuestring) > max)
		return false;
	memcpy(out, v->valuestring, strlen(v->valuestring) + 1);
	return true;
}

static const struct json_member envelope[] = {
	{"id", JSON_INTEGER, true, 0, INT64_C(1) << 52},
	{"op", JSON_STRING, true, 1, CONTROL_OP_MAX},
	{"args", JSON_OBJECT, false, 0, 0},
	{"by", JSON_STRING, false, 0, CONTROL_BY_MAX},
};

static void refuse_waiting(struct request *r)
{
	struct err err;

	err_set(&err, EBUSY, "%d requests wait already", CONTROL_WAITING_MAX);
	err_type(&err, 429, "too-many-requests");
	request_fail(r, &err);
}

static void on_message(void *data, cJSON *msg, int fd)
{
	struct client *client = data;
	struct control *c = client->control;
	struct request *r;
	struct err err;

	if (fd >= 0)
		close(fd);
	if (client->dead)
		return;
	r = xcalloc(1, sizeof(*r));
	r->control = c;
	r->client = client;
	r->id = (double)json_int(msg, "id", -1);
	r->link = &client->requests;
	r->next = client->requests;
	if (r->next)
		r->next->link = &r->next;
	client->requests = r;
	c->n_waiting++;
	if (json_check(msg, envelope, ARRAY_SIZE(envelope), &err) < 0) {
		request_fail(r, &err);
		return;
	}
	take_text(msg, "op", r->op, CONTROL_OP_MAX);
	take_text(msg, "by", r->by, CONTROL_BY_MAX);
	r->args = cJSON_DetachItemFromObjectCaseSensitive(msg, "args");
	if (c->n_waiting > CONTROL_WAITING_MAX)
		refuse_waiting(r);
	else
		c->ask(c->data, r);
}

static void tell_writable(struct client *client)
{
	struct request *next;

	for (struct request *r = client->requests; r && !client->dead; r = next) {
		next = r->next;
		if (r->stream)
			r->stream->writable(r->stream_data);
	}
}

static void on_client(void *data, int events)
{
	struct client *client = data;
	int r = client->dead ? -EPIPE : 0;

	if (r == 0 && (events & UV_WRITABLE)) {
		r = ctl_flush(client->ctl);
		if (r == 0 && !ctl_wants_write(client->ctl))
			tell_writable(client);
	}
	if (r == 0 && (events & UV_READABLE) && !ctl_wants_write(client->ctl))
		r = ctl_readable(client->ctl, on_message, client);
	if (r < 0 || client->dead)
		client_free(client);
	else
		interest(client);
}

static void on_listening(void *data, int events)
{
	struct control *c = data;
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *client;

	if (fd < 0)
		return;
	if (c->n_clients >= CONTROL_CLIENTS_MAX) {
		log_warning(
			"the control channel has %d clients already; another one is turned away",
			CONTROL_CLIENTS_MAX);
		close(fd);
		return;
	}
	client = xcalloc(1, sizeof(*client));
	client->control = c;
	client->ctl = ctl_new(fd);
	client->watch = watch_fd_new(c->loop, fd, UV_READABLE, on_client, client);
	client->next = c->clients;
	c->clients = client;
	c->n_clients++;
}

int control_new(struct control **ret, uv_loop_t *loop, const char *state,
	void (*ask)(void *data, struct request *r), void *data, struct err *err)
{
	AUTOFREE char *folder = path_in(state, "run/control"),
		      *path = path_in(state, "run/control/control.sock");
	struct control *c;
	int fd, r = make_dir(folder, 0750, err);

	if (r == 0 && chmod(folder, 0750) < 0)
		r = err_sys(err, "cannot set the mode of %s", folder);
	if (r == 0)
		r = house_chown(folder, 0, HOUSE_UID_GATEWAY, err);
	if (r < 0)
		return r;
	fd = sock_listen_unix(path, 0660, err);
	if (fd < 0)
		return fd;
	r = house_chown(path, 0, HOUSE_UID_GATEWAY, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	c = xcalloc(1, sizeof(*c));
	c->loop = loop;
	c->fd = fd;
	c->ask = ask;
	c->data = data;
	c->watch = watch_fd_new(loop, fd, UV_READABLE, on_listening, c);
	*ret = c;
	return 0;
}

bool control_flushed(const struct control *c)
{
	for (const struct client *client = c->clients; client; client = client->next)
		if (!client->dead && ctl_wants_write(client->ctl))
			return false;
	return true;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	while (c->clients)
		client_free(c->clients);
	watch_fd_free(c->watch);
	close(c->fd);
	free(c);
}
