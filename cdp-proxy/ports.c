/* Loopback ports that speak plain CDP for one agent. */
#include "ports.h"
#include "entry.h"
#include "gateway_state.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "util.h"

#include <errno.h>
#include <string.h>

/*
 * The agent's record is the truth (field `port`); a listener here follows it: opened before the
 * record is written (so that a port in use is refused), closed again if writing fails, reopened
 * when berthd is reached.
 */
struct port {
	struct port *next;
	char agent[64];
	uint16_t number;
	struct listener *listener;
};

/* Owned by the gateway. */
struct ports {
	struct gateway *gw;
	struct port *first;
	struct daemon_request *listing;
};

/* One request under way; owned by its connection. */
struct change {
	struct http_conn *c;
	const struct route_match *m;
	struct daemon_request *request;
	struct gateway *gw;
	uint16_t number; /* 0: closing */
	bool opened;     /* by this request: to be undone if the record cannot be written */
};

struct ports *ports_new(struct gateway *gw)
{
	struct ports *p = xcalloc(1, sizeof(*p));

	p->gw = gw;
	return p;
}

void ports_free(struct ports *p)
{
	if (!p)
		return;
	while (p->first) {
		struct port *port = p->first;

		p->first = port->next;
		free(port);
	}
	free(p);
}

static struct port *find(struct ports *p, const char *agent)
{
	struct port *port = p->first;

	while (port && !streq(port->agent, agent))
		port = port->next;
	return port;
}

static void shut(struct ports *p, const char *agent)
{
	for (struct port **link = &p->first; *link; link = &(*link)->next) {
		struct port *port = *link;

		if (!streq(port->agent, agent))
			continue;
		*link = port->next;
		entry_close(port->listener);
		entry_cut_port(p->gw, agent);
		free(port);
		return;
	}
}

/* number 0: any. The port's number, or negative. */
static int open_port(struct ports *p, const char *agent, uint16_t number, struct err *err)
{
	char address[32];
	struct port *port;
	int fd;

	snprintf(address, sizeof(address), "127.0.0.1:%u", number);
	fd = entry_listen_tcp(address, &number, err);
	if (fd < 0) {
		err_type(err, 409, "wrong-state");
		if (err->code == -EADDRINUSE)
			err_hint(err, "another program has this port; name another one, or none");
		if (err->code == -EACCES)
			err_hint(err,
				"ports below 1024 are the system's; name a higher one, or none");
		return err->code;
	}
	port = xcalloc(1, sizeof(*port));
	*port = (struct port){.next = p->first, .number = number};
	snprintf(port->agent, sizeof(port->agent), "%s", agent);
	port->listener = entry_open(p->gw, fd, LISTEN_PORT, agent);
	p->first = port;
	return number;
}

static void restore_one(struct ports *p, const cJSON *agent)
{
	const char *name = json_str(agent, "name", "");
	int64_t number = json_int(agent, "port", 0);
	struct err err;

	if (number < 1 || number > 65535 || !agent_name_valid(name) || find(p, name))
		return;
	if (open_port(p, name, (uint16_t)number, &err) < 0)
		log_warning("the CDP port of agent %s: %s", name, err.msg);
}

static void on_agents(void *data, const cJSON *ok, const struct err *err)
{
	struct ports *p = data;
	const cJSON *agent;

	p->listing = NULL;
	if (err) {
		log_warning("cannot reopen the agents' CDP ports: %s", err->msg);
		return;
	}
	cJSON_ArrayForEach (agent, json_get(ok, "agents"))
		restore_one(p, agent);
}

void ports_restore(struct ports *p)
{
	if (!p->listing)
		p->listing = gateway_ask(p->gw, "agent.list", NULL, NULL, on_agents, p);
}

void ports_forget(struct ports *p, const char *agent)
{
	shut(p, agent);
}

/* ---- Routes ---- */

static void on_updated(void *data, const cJSON *ok, const struct err *err)
{
	struct change *ch = data;
	cJSON *answer;

	(void)ok;
	ch->request = NULL;
	if (err) {
		if (ch->opened)
			shut(ch->gw->ports, ch->m->agent);
		ch->opened = false;
		http_reply_problem(ch->c, err);
		return;
	}
	ch->opened = false;
	if (ch->number == 0) {
		shut(ch->gw->ports, ch->m->agent);
		http_reply(ch->c, 204, NULL, NULL, NULL, 0);
		return;
	}
	answer = cJSON_CreateObject();
	cJSON_AddNumberToObject(answer, "port", ch->number);
	http_reply_json(ch->c, 200, answer);
	cJSON_Delete(answer);
}

/* The client left before berthd answered: the record may say either; the listener is opened again
 * by ports_restore. */
static void on_close(void *data)
{
	struct change *ch = data;

	if (ch->request) {
		gateway_cancel(ch->request);
		ports_restore(ch->gw->ports);
	}
	free(ch);
}

static const struct http_owner owner = {.on_close = on_close};

static void update(struct gateway *gw, struct http_conn *c, const struct route_match *m,
	uint16_t number, bool opened)
{
	struct change *ch = xcalloc(1, sizeof(*ch));
	cJSON *args = cJSON_CreateObject();

	*ch = (struct change){.c = c, .m = m, .gw = gw, .number = number, .opened = opened};
	cJSON_AddStringToObject(args, "agent", m->agent);
	cJSON_AddNumberToObject(args, "port", number); /* 0: none any more */
	http_set_owner(c, &owner, ch);
	ch->request = gateway_ask(gw, "agent.update", args, &m->who, on_updated, ch);
}

void port_open_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	static const struct json_member members[] = {{"port", JSON_INTEGER, false, 0, 65535}};
	struct port *port = find(gw->ports, m->agent);
	struct err err;
	int wanted, r;

	if (json_check(m->body, members, ARRAY_SIZE(members), &err) < 0) {
		http_reply_problem(c, &err);
		return;
	}
	wanted = (int)json_int(m->body, "port", 0);
	if (port && (wanted == 0 || wanted == port->number)) {
		update(gw, c, m, port->number, false);
		return;
	}
	if (port)
		shut(gw->ports, m->agent);
	r = open_port(gw->ports, m->agent, (uint16_t)wanted, &err);
	if (r < 0)
		http_reply_problem(c, &err);
	else
		update(gw, c, m, (uint16_t)r, true);
}

void port_close_serve(struct gateway *gw, struct http_conn *c, const struct route_match *m)
{
	update(gw, c, m, 0, false);
}
