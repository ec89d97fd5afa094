/* berthd as a process of its own behind its control socket (daemon_harness.h). */
#include "scratch.h"

#include "daemon_harness.h"

#include "ctl.h"
#include "daemon.h"
#include "fake_world.h"
#include "json.h"
#include "log.h"
#include "ops.h"
#include "process.h"
#include "sock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

pid_t daemon_pid;
struct ctl *client;
unsigned last_id;

/* A new daemon process on the scratch folder, with what `fake` says. */
void daemon_start(void)
{
	daemon_pid = fork();
	assert_true(daemon_pid >= 0);
	if (daemon_pid == 0) {
		AUTOFREE char *log = xasprintf("%s/log", scratch_path);
		struct err err = {0};
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, 2);
		log_init("berthd", LOG_DEBUG);
		fake.points = 0;
		if (daemon_run(scratch_path, FAKE_POLICY, &err) < 0)
			log_error("%s", err.msg);
		_exit(err.code < 0 ? 1 : 0);
	}
}

/*
 * Does the daemon of that pid answer? For a moment after a kill its socket may still be open in a
 * child of it that has not reached exec.
 */
static bool answers(void)
{
	cJSON *msg = cJSON_Parse("{\"id\":0,\"op\":\"status\"}"), *answer;
	bool is_it;

	ctl_send(client, msg, -1);
	cJSON_Delete(msg);
	answer = ctl_receive(client, 60000, NULL, NULL);
	is_it = json_int(json_get(answer, "ok"), "pid", 0) == daemon_pid;
	cJSON_Delete(answer);
	return is_it;
}

/* Connects as soon as it listens; false when the daemon has ended before. */
bool connect_to(void)
{
	AUTOFREE char *path = xasprintf("%s/run/control/control.sock", scratch_path);

	ctl_free(client);
	client = NULL;
	for (int i = 0; i < 1000; i++) {
		int fd = sock_connect_unix(path, NULL);

		if (fd >= 0) {
			client = ctl_new(fd);
			if (answers())
				return true;
			ctl_free(steal(&client));
		}
		if (waitpid(daemon_pid, NULL, WNOHANG) == daemon_pid) {
			daemon_pid = 0;
			return false;
		}
		usleep(5000);
	}
	fail_msg("berthd does not listen");
	return false;
}

void daemon_up(void)
{
	daemon_start();
	assert_true(connect_to());
}

int daemon_wait(void)
{
	int status;

	if (!daemon_pid)
		return 0;
	assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
	daemon_pid = 0;
	return status;
}

void daemon_kill(void)
{
	if (daemon_pid)
		kill(daemon_pid, SIGKILL);
	daemon_wait();
}

void ask(const char *op, const char *args)
{
	cJSON *msg = cJSON_CreateObject();

	cJSON_AddNumberToObject(msg, "id", ++last_id);
	cJSON_AddStringToObject(msg, "op", op);
	cJSON_AddStringToObject(msg, "by", "local");
	if (args)
		cJSON_AddItemToObject(msg, "args", cJSON_Parse(args));
	ctl_send(client, msg, -1);
	cJSON_Delete(msg);
}

/* The next message that is no progress; NULL when the daemon has gone. */
cJSON *receive(void)
{
	for (;;) {
		struct err err;
		cJSON *msg = ctl_receive(client, 60000, NULL, &err);

		if (!msg && err.code == -ETIMEDOUT)
			fail_msg("no answer");
		if (!msg || !json_get(msg, "progress"))
			return msg;
		cJSON_Delete(msg);
	}
}

/* Asks and gives the whole answer, or NULL. */
cJSON *call(const char *op, const char *args)
{
	ask(op, args);
	return receive();
}

void want_ok(const char *op, const char *args)
{
	cJSON *msg = call(op, args);

	if (!json_get(msg, "ok"))
		fail_msg("%s %s: %s", op, args,
			msg ? json_str(json_get(msg, "error"), "detail", "?") : "gone");
	cJSON_Delete(msg);
}

void want_error(const char *op, const char *args, const char *type)
{
	cJSON *msg = call(op, args);
	const char *got = json_str(json_get(msg, "error"), "type", "none");

	if (!streq(got, type))
		fail_msg("%s %s: %s, not %s (%s)", op, args, got, type,
			json_str(json_get(msg, "error"), "detail", ""));
	cJSON_Delete(msg);
}

/* A member of the agent as text ("" if it is not there). */
const char *shown(const char *name, const char *member)
{
	static char out[700];
	AUTOFREE char *args = xasprintf("{\"agent\":\"%s\"}", name);
	cJSON *msg = call("agent.get", args);

	snprintf(out, sizeof(out), "%s", json_str(json_get(msg, "ok"), member, ""));
	cJSON_Delete(msg);
	return out;
}

int64_t shown_number(const char *name, const char *member)
{
	AUTOFREE char *args = xasprintf("{\"agent\":\"%s\"}", name);
	cJSON *msg = call("agent.get", args);
	int64_t n = json_int(json_get(msg, "ok"), member, -1);

	cJSON_Delete(msg);
	return n;
}

void wait_shown(const char *name, const char *member, const char *value)
{
	for (int i = 0; i < 4000; i++) {
		if (streq(shown(name, member), value))
			return;
		usleep(5000);
	}
	fail_msg("%s of %s is '%s', not '%s'", member, name, shown(name, member), value);
}

unsigned count_files(const char *folder)
{
	AUTOFREE char *path = xasprintf("%s/%s", scratch_path, folder);
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static unsigned living_policies(void)
{
	AUTOFREE char *folder = xasprintf("%s/policies", scratch_path);
	DIR *d = opendir(folder);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d))) {
		AUTOFREE char *path = xasprintf("%s/%s", folder, e->d_name);

		n += starts_with(e->d_name, "parser") && process_read_file(path) > 0;
	}
	if (d)
		closedir(d);
	return n;
}

void reap(void)
{
	usleep(20000);
	/* not the daemon: daemon_wait wants its status */
	for (pid_t pid = 1; pid > 0;) {
		siginfo_t info = {0};

		pid = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
		if (pid > 0 && pid == daemon_pid)
			break;
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

static bool world_is(unsigned all, unsigned running, unsigned asleep)
{
	reap();
	return fake_qemus(scratch_path) == running && living_policies() == running &&
	       count_files("run/ns") == running + asleep &&
	       count_files("run/agents") == running + asleep && count_files("agents") == all;
}

/* What is there on the host is what `running` agents of `all` need, no more; what was killed may
 * take a moment to end. */
void assert_world(unsigned all, unsigned running)
{
	assert_world_asleep(all, running, 0);
}

void assert_world_asleep(unsigned all, unsigned running, unsigned asleep)
{
	for (int i = 0; i < 250 && !world_is(all, running, asleep); i++)
		;
	assert_int_equal(fake_qemus(scratch_path), running);
	assert_int_equal(living_policies(), running);
	assert_int_equal(count_files("run/ns"), running + asleep);
	assert_int_equal(count_files("run/agents"), running + asleep);
	assert_int_equal(count_files("agents"), all);
}

int each(void **state)
{
	static const char text[] = "[agent]\nwarm_templates = 0\n";
	AUTOFREE char *conf = NULL;

	scratch_new();
	fake = (struct fake_world){0};
	daemon_pid = 0;
	/* what a template is made with is not among the stand-ins */
	conf = xasprintf("%s/berth.conf", scratch_path);
	return file_write_atomic(conf, text, sizeof(text) - 1, 0600, NULL);
}

static void kill_all(const char *folder)
{
	AUTOFREE char *path = xasprintf("%s/%s", scratch_path, folder);
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		AUTOFREE char *file = xasprintf("%s/%s", path, e->d_name);
		pid_t pid = e->d_name[0] == '.' ? 0 : process_read_file(file);

		if (pid > 1) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
		}
	}
	if (d)
		closedir(d);
}

void kill_qemus(void)
{
	kill_all("qemus");
	reap();
}

int after(void **state)
{
	ctl_free(client);
	client = NULL;
	daemon_kill();
	kill_all("qemus");
	kill_all("policies");
	reap();
	scratch_end();
	return 0;
}

unsigned count_events(const char *type)
{
	cJSON *msg = call("events.list", "{\"limit\":1000}");
	const cJSON *e;
	unsigned n = 0;

	cJSON_ArrayForEach (e, json_get(json_get(msg, "ok"), "events")) {
		n += streq(json_str(e, "type", ""), type);
	}
	cJSON_Delete(msg);
	return n;
}
