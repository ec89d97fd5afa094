/*
 * A stand-in for berth-policy: speaks its control channel and does nothing else. STATE/policy-mode
 * steers it: "die" ends at hello, "mute" never answers. What rules are in force is in
 * STATE/rules-ID; a rule "event.example" makes it report a refused connection, "upstream.example" a
 * dead proxy, "error.example" a hundred failures; what it was told of the way out is in
 * STATE/upstream-ID. A child of its own stands for the wall.
 */
#include "ctl.h"
#include "json.h"
#include "process.h"
#include "util.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static const char *state, *id;

static void leave_pid(const char *kind)
{
	AUTOFREE char *folder = xasprintf("%s/policies", state), *path = NULL;

	make_dir(folder, 0700, NULL);
	path = xasprintf("%s/%s-%d", folder, kind, (int)getpid());
	process_write_file(path, getpid(), NULL);
}

/* What it was told of private networks, for the test: STATE/networks-ID. */
static void leave_networks(void)
{
	AUTOFREE char *path = xasprintf("%s/networks-%s", state, id);
	const char *networks = getenv("BERTH_POLICY_ALLOW_PRIVATE");

	if (networks)
		file_write_atomic(path, networks, strlen(networks), 0600, NULL);
}

static void answer(struct ctl *c, const cJSON *msg, const char *what, cJSON *content)
{
	cJSON *o = cJSON_CreateObject();

	if (msg)
		cJSON_AddNumberToObject(o, "id", (double)json_int(msg, "id", 0));
	cJSON_AddItemToObject(o, what, content);
	ctl_send(c, o, -1);
	cJSON_Delete(o);
}

/* A rule "used-4000.example": so many bytes went through so far. */
static void tell_usage(struct ctl *c, const char *rules)
{
	const char *used = strstr(rules, "\"used-");
	cJSON *o;

	if (!used)
		return;
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "type", "usage");
	cJSON_AddNumberToObject(o, "bytes_up", 1000);
	cJSON_AddNumberToObject(o, "bytes_down", atoi(used + 6) - 1000);
	answer(c, NULL, "event", o);
}

static void set_rules(struct ctl *c, const cJSON *args)
{
	AUTOFREE char *path = xasprintf("%s/rules-%s", state, id);
	char *text = cJSON_PrintUnformatted(json_get(args, "rules"));

	if (strstr(text, "event.example"))
		answer(c, NULL, "event",
			cJSON_Parse("{\"type\":\"egress\",\"name\":\"no.example\",\"address\":null,"
				    "\"port\":443,"
				    "\"protocol\":\"tcp\",\"verdict\":\"deny\",\"reason\":\"no "
				    "rule\",\"count\":2}"));
	if (strstr(text, "upstream.example"))
		answer(c, NULL, "event",
			cJSON_Parse("{\"type\":\"upstream\",\"part\":\"proxy\",\"up\":false,"
				    "\"detail\":\"gone\"}"));
	if (strstr(text, "bad.example"))
		answer(c, NULL, "event",
			cJSON_Parse("{\"type\":\"egress\",\"verdict\":\"maybe\",\"port\":-1}"));
	for (int i = 0; i < 100 && strstr(text, "error.example"); i++)
		answer(c, NULL, "event", cJSON_Parse("{\"type\":\"error\",\"detail\":\"no pin\"}"));
	tell_usage(c, text);
	file_write_atomic(path, text, strlen(text), 0600, NULL);
	free(text);
}

/* What it was told, for the test: STATE/NAME-ID. */
static void leave_args(const char *name, const cJSON *args)
{
	AUTOFREE char *path = xasprintf("%s/%s-%s", state, name, id);
	AUTOFREE char *text = cJSON_PrintUnformatted(args);

	file_write_atomic(path, text, strlen(text), 0600, NULL);
}

static cJSON *hello(void)
{
	AUTOFREE char *instance = xasprintf("%d", (int)getpid());
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "instance", instance);
	return o;
}

static void on_message(void *data, cJSON *msg, int fd)
{
	AUTOFREE char *path = xasprintf("%s/policy-mode", state), *mode = NULL;
	const char *op = json_str(msg, "op", "");

	file_read(AT_FDCWD, path, 100, &mode, NULL, NULL);
	if (mode && streq(mode, "die"))
		exit(3);
	if (mode && streq(mode, "mute"))
		return;
	if (streq(op, "upstream.set"))
		leave_args("upstream", json_get(msg, "args"));
	if (streq(op, "budget.set"))
		leave_args("budget", json_get(msg, "args"));
	if (streq(op, "policy.set"))
		set_rules(data, json_get(msg, "args"));
	answer(data, msg, "ok",
		streq(op, "stats")   ? cJSON_Parse("{\"connections\":7}")
		: streq(op, "hello") ? hello()
				     : cJSON_CreateObject());
}

int main(int argc, char **argv)
{
	struct ctl *c = NULL;

	state = getenv("BERTH_STATE");
	if (argc != 5 || !streq(argv[1], "--agent") || !streq(argv[3], "--name") || !state ||
		fcntl(4, F_GETFD) < 0)
		return 2;
	id = argv[2];
	if (fork() == 0) {
		leave_pid("wall");
		for (;;)
			pause();
	}
	leave_pid("parser");
	leave_networks();
	for (;;) {
		struct pollfd p[2] = {{3, POLLIN, 0}, {c ? ctl_fd(c) : -1, POLLIN, 0}};

		poll(p, 2, -1);
		if (p[0].revents) {
			ctl_free(c);
			c = ctl_new(accept(3, NULL, NULL));
		} else if (p[1].revents && ctl_readable(c, on_message, c) < 0) {
			ctl_free(c);
			c = NULL;
		}
	}
}
