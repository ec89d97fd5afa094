/* A small berthd for the gateway's tests and benchmarks: the real control channel, made-up answers.
 */
#include "ctl.h"
#include "err.h"
#include "json.h"
#include "sock.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

/*
 *   fake-daemon SOCKET CDP_PORT GUEST_PORT [TOKEN]
 *
 * Agents: demo and other. Tokens: admin-token, agent-token (demo), viewer-token (demo),
 * all-viewer-token, brief-token (demo, until 3 s after it is first asked for); one more argument is
 * a token that is not known. Any op without an answer of its own is answered by {"op","args","by"},
 * so that a test sees what arrived. agent.start reports progress twice. A line on stdin is an
 * event's type; it goes to whoever subscribed, with `data.id` the word behind it and agent demo.
 *
 * demo sleeps between agent.suspending and agent.resumed or agent.awake (as `data.life` the number
 * behind it): agent.resume is not answered then, or refused after a line "refuse" until "relent".
 * Each agent.touch and agent.resume is told on stdout: "OP AGENT WAKE"; such lines come back.
 */
#define CLIENTS_MAX 16
#define EVENTS_MAX 4096

struct client {
	struct ctl *ctl;
	double events_id;
	bool dead;
};

/* For benchmarks: agents beyond the two, in no list. */
static const char *const crowd[] = {"bench-1", "bench-2", "bench-3", "bench-4"};
static struct client clients[CLIENTS_MAX];
static uint16_t cdp_port, guest_port;
static int demo_port;
static cJSON *events, *actions, *pictures;
static int generation = 1;
static bool asleep, refusing;
static const char *unknown_token = "";

static void reply(struct client *c, double id, const char *key, cJSON *value, int fd)
{
	cJSON *msg = cJSON_CreateObject();

	cJSON_AddNumberToObject(msg, "id", id);
	cJSON_AddItemToObject(msg, key, value);
	if (ctl_send(c->ctl, msg, fd) < 0)
		c->dead = true;
	cJSON_Delete(msg);
}

static void fail(struct client *c, double id, int status, const char *type, const char *detail)
{
	struct err err;

	err_set(&err, EINVAL, "%s", detail);
	err_type(&err, status, type);
	reply(c, id, "error", json_from_err(&err), -1);
}

static cJSON *agent(const char *name)
{
	cJSON *a = cJSON_CreateObject();

	cJSON_AddStringToObject(
		a, "id", streq(name, "demo") ? "ag_aaaaaaaaaaaaaaaa" : "ag_bbbbbbbbbbbbbbbb");
	cJSON_AddStringToObject(a, "name", name);
	cJSON_AddStringToObject(
		a, "state", streq(name, "demo") && asleep ? "suspended" : "running");
	if (streq(name, "demo") && demo_port)
		cJSON_AddNumberToObject(a, "port", demo_port);
	else
		cJSON_AddNullToObject(a, "port");
	return a;
}

/* The name of the agent that args means, or NULL (answered). */
static const char *named(struct client *c, double id, const cJSON *args)
{
	const char *name = json_str(args, "agent", "");

	if (streq(name, "demo") || streq(name, "ag_aaaaaaaaaaaaaaaa"))
		return "demo";
	if (streq(name, "other") || streq(name, "ag_bbbbbbbbbbbbbbbb"))
		return "other";
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++)
		if (streq(name, crowd[i]))
			return crowd[i];
	fail(c, id, 404, "agent-not-found", "there is no such agent");
	return NULL;
}

/* False, and answered, once the brief token has expired. */
static bool is_brief(struct client *c, double id, int64_t *ret)
{
	static int64_t until;

	if (!until)
		until = realtime_ns() + 3000000000;
	*ret = until;
	if (realtime_ns() < until)
		return true;
	fail(c, id, 401, "token-expired", "this token has expired");
	return false;
}

static void token_check(struct client *c, double id, const cJSON *args)
{
	static const struct {
		const char *token, *role, *agent;
	} tokens[] = {{"admin-token", "admin", NULL}, {"agent-token", "agent", "demo"},
		{"viewer-token", "viewer", "demo"}, {"all-viewer-token", "viewer", NULL},
		{"brief-token", "agent", "demo"}, {"pa%ss word", "agent", "demo"}};

	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
		unsigned char hash[32];
		char hex[65], token_id[64];
		int64_t expires = 0;
		cJSON *ok;

		crypto_generichash(hash, sizeof(hash), (const unsigned char *)tokens[i].token,
			strlen(tokens[i].token), NULL, 0);
		hex_encode(hash, sizeof(hash), hex);
		if (!streq(hex, json_str(args, "hash", "")))
			continue;
		if (streq(tokens[i].token, unknown_token))
			break;
		if (streq(tokens[i].token, "brief-token") && !is_brief(c, id, &expires))
			return;
		ok = cJSON_CreateObject();
		if (expires)
			json_add_time(ok, "expires_at", expires);
		snprintf(token_id, sizeof(token_id), "tok_%s", tokens[i].token);
		cJSON_AddStringToObject(ok, "id", token_id);
		cJSON_AddStringToObject(ok, "role", tokens[i].role);
		cJSON_AddItemToObject(ok, "agent",
			tokens[i].agent ? cJSON_CreateString(tokens[i].agent) : cJSON_CreateNull());
		reply(c, id, "ok", ok, -1);
		return;
	}
	fail(c, id, 401, "token-unknown", "this token is not known");
}

static void agent_list(struct client *c, double id)
{
	cJSON *ok = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(ok, "agents");

	cJSON_AddItemToArray(list, agent("demo"));
	cJSON_AddItemToArray(list, agent("other"));
	reply(c, id, "ok", ok, -1);
}

static void agent_connect(struct client *c, double id, const cJSON *args)
{
	uint16_t port = streq(json_str(args, "port", ""), "cdp") ? cdp_port : guest_port;
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	AUTOFD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	cJSON *ok;

	if (!named(c, id, args))
		return;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		fail(c, id, 503, "browser-unavailable", "nobody listens there");
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sock_set_nonblocking(fd);
	ok = cJSON_CreateObject();
	cJSON_AddNumberToObject(ok, "generation", generation);
	cJSON_AddStringToObject(ok, "state", "running");
	reply(c, id, "ok", ok, fd);
}

static void agent_update(struct client *c, double id, const cJSON *args)
{
	const char *name = named(c, id, args);

	if (!name)
		return;
	if (streq(name, "demo") && json_get(args, "port"))
		demo_port = (int)json_int(args, "port", 0);
	reply(c, id, "ok", agent(name), -1);
}

static void agent_start(struct client *c, double id, const cJSON *args)
{
	const char *name = named(c, id, args);

	for (int i = 0; name && i < 2; i++) {
		cJSON *p = cJSON_CreateObject();

		cJSON_AddStringToObject(p, "step", i ? "browser" : "boot");
		cJSON_AddStringToObject(p, "detail", "under way");
		reply(c, id, "progress", p, -1);
	}
	if (name)
		reply(c, id, "ok", agent(name), -1);
}

static void events_list(struct client *c, double id, const cJSON *args)
{
	cJSON *ok = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(ok, "events");
	int64_t after = json_int(args, "after", 0), limit = json_int(args, "limit", 1000);
	int n = cJSON_GetArraySize(events), first = 0;

	if (!after && n > limit)
		first = n - (int)limit;
	for (int i = first; i < n && cJSON_GetArraySize(list) < limit; i++) {
		const cJSON *e = cJSON_GetArrayItem(events, i);

		if (json_int(e, "seq", 0) > after)
			cJSON_AddItemToArray(list, cJSON_Duplicate(e, true));
	}
	reply(c, id, "ok", ok, -1);
}

/* Entries are kept as they came, each once, and listed with a seq of their own. */
static void actions_add(struct client *c, double id, const cJSON *args)
{
	const cJSON *e, *old;

	cJSON_ArrayForEach (e, json_get(args, "entries")) {
		cJSON *copy;
		bool again = false;

		cJSON_ArrayForEach (old, actions)
			again |= json_int(old, "time", 0) == json_int(e, "time", -1);
		if (again)
			continue;
		copy = cJSON_Duplicate(e, true);
		cJSON_AddNumberToObject(copy, "seq", cJSON_GetArraySize(actions) + 1);
		cJSON_AddItemToArray(actions, copy);
	}
	cJSON_ArrayForEach (e, json_get(args, "pictures")) {
		cJSON_AddItemToArray(pictures, cJSON_Duplicate(e, true));
	}
	reply(c, id, "ok", cJSON_CreateObject(), -1);
}

static void actions_picture(struct client *c, double id, const cJSON *args)
{
	const cJSON *e = cJSON_GetArrayItem(actions, (int)json_int(args, "seq", 0) - 1), *p;
	bool before = streq(json_str(args, "which", ""), "before");
	int64_t want = json_int(e, before ? "before" : "time", -1);
	cJSON *ok = NULL;

	cJSON_ArrayForEach (p, pictures) {
		if (ok || json_int(p, before ? "id" : "of", 0) != want)
			continue;
		ok = cJSON_CreateObject();
		cJSON_AddStringToObject(ok, "jpeg", json_str(p, "jpeg", ""));
	}
	if (ok)
		reply(c, id, "ok", ok, -1);
	else
		fail(c, id, 404, "not-found", "there is no such picture");
}

static void actions_list(struct client *c, double id, const cJSON *args)
{
	cJSON *ok = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(ok, "entries");
	int64_t after = json_int(args, "after", 0), limit = json_int(args, "limit", 100);
	int n = cJSON_GetArraySize(actions), first = after ? 0 : MAX(0, n - (int)limit);

	for (int i = first; i < n && cJSON_GetArraySize(list) < limit; i++) {
		const cJSON *e = cJSON_GetArrayItem(actions, i);

		if (json_int(e, "seq", 0) > after)
			cJSON_AddItemToArray(list, cJSON_Duplicate(e, true));
	}
	cJSON_AddItemToObject(ok, "args", cJSON_Duplicate(args, true));
	reply(c, id, "ok", ok, -1);
}

static void any_other(struct client *c, double id, const char *op, const cJSON *msg)
{
	cJSON *ok = cJSON_CreateObject();

	cJSON_AddStringToObject(ok, "op", op);
	cJSON_AddItemToObject(ok, "args", cJSON_Duplicate(json_get(msg, "args"), true));
	cJSON_AddStringToObject(ok, "by", json_str(msg, "by", ""));
	reply(c, id, "ok", ok, -1);
}

/* agent.touch and agent.resume. */
static void sleep_op(struct client *c, double id, const char *op, const cJSON *msg)
{
	const cJSON *args = json_get(msg, "args");

	printf("%s %s %s\n", op, json_str(args, "agent", ""),
		json_bool(args, "wake", true) ? "wake" : "sleep");
	fflush(stdout);
	if (streq(op, "agent.touch") || !asleep)
		any_other(c, id, op, msg);
	else if (refusing)
		fail(c, id, 409, "limit-reached", "the host has no memory for it");
}

static void on_message(void *data, cJSON *msg, int fd)
{
	struct client *c = data;
	const char *op = json_str(msg, "op", "");
	const cJSON *args = json_get(msg, "args");
	double id = (double)json_int(msg, "id", 0);
	const char *name;

	if (fd >= 0)
		close(fd);
	if (streq(op, "token.check")) {
		token_check(c, id, args);
	} else if (streq(op, "agent.list")) {
		agent_list(c, id);
	} else if (streq(op, "agent.get")) {
		name = named(c, id, args);
		if (name)
			reply(c, id, "ok", agent(name), -1);
	} else if (streq(op, "agent.connect")) {
		agent_connect(c, id, args);
	} else if (streq(op, "agent.update")) {
		agent_update(c, id, args);
	} else if (streq(op, "agent.touch") || streq(op, "agent.resume")) {
		sleep_op(c, id, op, msg);
	} else if (streq(op, "agent.start")) {
		agent_start(c, id, args);
	} else if (streq(op, "events.list")) {
		events_list(c, id, args);
	} else if (streq(op, "actions.add")) {
		actions_add(c, id, args);
	} else if (streq(op, "actions.list")) {
		actions_list(c, id, args);
	} else if (streq(op, "actions.picture")) {
		actions_picture(c, id, args);
	} else if (streq(op, "events.subscribe")) {
		c->events_id = id;
	} else if (!streq(op, "agent.stop")) { /* agent.stop is never answered */
		any_other(c, id, op, msg);
	}
}

static void send_event(char *line)
{
	char *type = strsep(&line, " ");
	cJSON *e = cJSON_CreateObject(), *data;

	if (streq(type, "agent.restart-generation") || streq(type, "refuse") ||
		streq(type, "relent")) {
		generation += streq(type, "agent.restart-generation");
		refusing = streq(type, "refuse");
		puts(type);
		fflush(stdout);
		cJSON_Delete(e);
		return;
	}
	asleep = starts_with(type, "agent.suspend") ||
		 (asleep && !streq(type, "agent.resumed") && !streq(type, "agent.awake"));
	cJSON_AddNumberToObject(e, "seq", cJSON_GetArraySize(events) + 1);
	json_add_time(e, "time", realtime_ns());
	cJSON_AddStringToObject(e, "type", type);
	cJSON_AddStringToObject(e, "agent", "demo");
	data = cJSON_AddObjectToObject(e, "data");
	cJSON_AddStringToObject(data, "id", line ? line : "");
	if (line && *line >= '0' && *line <= '9')
		cJSON_AddNumberToObject(data, "life", atoi(line));
	cJSON_AddStringToObject(e, "detail", line ? line : "");
	cJSON_AddItemToArray(events, e);
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (clients[i].ctl && clients[i].events_id > 0)
			reply(&clients[i], clients[i].events_id, "event", cJSON_Duplicate(e, true),
				-1);
	}
}

static void read_commands(void)
{
	static char line[4096];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, line + len, sizeof(line) - 1 - len);
	char *end;

	if (n <= 0)
		exit(0);
	len += (size_t)n;
	while ((end = memchr(line, '\n', len))) {
		size_t used = (size_t)(end - line) + 1;

		*end = '\0';
		send_event(line);
		memmove(line, line + used, len - used);
		len -= used;
	}
}

static void accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	for (size_t i = 0; i < CLIENTS_MAX && fd >= 0; i++) {
		if (clients[i].ctl)
			continue;
		clients[i] = (struct client){.ctl = ctl_new(fd)};
		return;
	}
	close(fd);
}

static void serve(struct client *c, short revents)
{
	if (revents & POLLOUT && ctl_flush(c->ctl) < 0)
		c->dead = true;
	if (revents & (POLLIN | POLLHUP | POLLERR) && ctl_readable(c->ctl, on_message, c) < 0)
		c->dead = true;
	if (!c->dead)
		return;
	ctl_free(c->ctl);
	*c = (struct client){0};
}

static void loop(int listener)
{
	struct pollfd fds[CLIENTS_MAX + 2];

	for (;;) {
		fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
		for (size_t i = 0; i < CLIENTS_MAX; i++) {
			const struct ctl *c = clients[i].ctl;

			fds[i + 2] = (struct pollfd){.fd = c ? ctl_fd(c) : -1,
				.events =
					(short)(POLLIN | (c && ctl_wants_write(c) ? POLLOUT : 0))};
		}
		if (poll(fds, CLIENTS_MAX + 2, -1) < 0)
			continue;
		for (size_t i = 0; i < CLIENTS_MAX; i++) {
			if (fds[i + 2].revents && clients[i].ctl)
				serve(&clients[i], fds[i + 2].revents);
		}
		if (fds[1].revents)
			read_commands();
		if (fds[0].revents)
			accept_one(listener);
	}
}

int main(int argc, char **argv)
{
	uint64_t cdp, guest;
	struct err err;
	int listener;

	if (argc < 4 || argc > 5 || !parse_u64(argv[2], 0, 65535, &cdp) ||
		!parse_u64(argv[3], 0, 65535, &guest))
		die("usage: fake-daemon SOCKET CDP_PORT GUEST_PORT [TOKEN]");
	unknown_token = argc == 5 ? argv[4] : "";
	cdp_port = (uint16_t)cdp;
	guest_port = (uint16_t)guest;
	signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0)
		die("libsodium cannot start");
	events = cJSON_CreateArray();
	actions = cJSON_CreateArray();
	pictures = cJSON_CreateArray();
	listener = sock_listen_unix(argv[1], 0666, &err);
	if (listener < 0)
		die("%s", err.msg);
	puts("ready");
	fflush(stdout);
	loop(listener);
}
