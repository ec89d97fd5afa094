/*
 * berthd as a process of its own behind its control socket, with stand-ins for QEMU, namespaces and
 * berth-policy: the operations, the life cycle, and what is left when it is killed anywhere.
 */
#include "scratch.h"

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

static pid_t daemon_pid;
static struct ctl *client;
static unsigned last_id;

/* A new daemon process on the scratch folder, with what `fake` says. */
static void daemon_start(void)
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
static bool connect_to(void)
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

static void daemon_up(void)
{
	daemon_start();
	assert_true(connect_to());
}

static int daemon_wait(void)
{
	int status;

	if (!daemon_pid)
		return 0;
	assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
	daemon_pid = 0;
	return status;
}

static void daemon_kill(void)
{
	if (daemon_pid)
		kill(daemon_pid, SIGKILL);
	daemon_wait();
}

static void ask(const char *op, const char *args)
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
static cJSON *receive(void)
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
static cJSON *call(const char *op, const char *args)
{
	ask(op, args);
	return receive();
}

static void want_ok(const char *op, const char *args)
{
	cJSON *msg = call(op, args);

	if (!json_get(msg, "ok"))
		fail_msg("%s %s: %s", op, args,
			msg ? json_str(json_get(msg, "error"), "detail", "?") : "gone");
	cJSON_Delete(msg);
}

static void want_error(const char *op, const char *args, const char *type)
{
	cJSON *msg = call(op, args);
	const char *got = json_str(json_get(msg, "error"), "type", "none");

	if (!streq(got, type))
		fail_msg("%s %s: %s, not %s (%s)", op, args, got, type,
			json_str(json_get(msg, "error"), "detail", ""));
	cJSON_Delete(msg);
}

/* A member of the agent as text ("" if it is not there). */
static const char *shown(const char *name, const char *member)
{
	static char out[700];
	AUTOFREE char *args = xasprintf("{\"agent\":\"%s\"}", name);
	cJSON *msg = call("agent.get", args);

	snprintf(out, sizeof(out), "%s", json_str(json_get(msg, "ok"), member, ""));
	cJSON_Delete(msg);
	return out;
}

static int64_t shown_number(const char *name, const char *member)
{
	AUTOFREE char *args = xasprintf("{\"agent\":\"%s\"}", name);
	cJSON *msg = call("agent.get", args);
	int64_t n = json_int(json_get(msg, "ok"), member, -1);

	cJSON_Delete(msg);
	return n;
}

static void wait_shown(const char *name, const char *member, const char *value)
{
	for (int i = 0; i < 4000; i++) {
		if (streq(shown(name, member), value))
			return;
		usleep(5000);
	}
	fail_msg("%s of %s is '%s', not '%s'", member, name, shown(name, member), value);
}

static unsigned count_files(const char *folder)
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

static void reap(void)
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

static bool world_is(unsigned all, unsigned running)
{
	reap();
	return fake_qemus(scratch_path) == running && living_policies() == running &&
	       count_files("run/ns") == running && count_files("run/agents") == running &&
	       count_files("agents") == all;
}

/* What is there on the host is what `running` agents of `all` need, no more; what was killed may
 * take a moment to end. */
static void assert_world(unsigned all, unsigned running)
{
	for (int i = 0; i < 250 && !world_is(all, running); i++)
		;
	assert_int_equal(fake_qemus(scratch_path), running);
	assert_int_equal(living_policies(), running);
	assert_int_equal(count_files("run/ns"), running);
	assert_int_equal(count_files("run/agents"), running);
	assert_int_equal(count_files("agents"), all);
}

static int each(void **state)
{
	scratch_new();
	fake = (struct fake_world){0};
	daemon_pid = 0;
	return 0;
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

static int after(void **state)
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

static void test_life(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"labels\":{\"k\":\"v\"},\"allow\":[\"Example.COM."
				"\",\"example.com\"]}");
	assert_string_equal(shown("a", "state"), "running");
	assert_string_equal(shown("a", "browser"), "up");
	assert_string_equal(shown("a", "state_detail"), "");
	assert_true(shown_number("a", "pid") > 1);
	assert_world(1, 1);
	want_ok("agent.start", "{\"agent\":\"a\"}"); /* it is so already */
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "stopped");
	assert_world(1, 0);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	want_ok("agent.start", "{\"agent\":\"a\"}");
	want_ok("agent.restart", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
	assert_world(1, 1);
	want_ok("agent.stop", "{\"agent\":\"a\",\"force\":true}");
	want_ok("agent.remove", "{\"agent\":\"a\"}");
	want_error("agent.get", "{\"agent\":\"a\"}", "agent-not-found");
	assert_world(0, 0);
}

static void test_create_stopped(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	assert_string_equal(shown("a", "state"), "stopped");
	assert_world(1, 0);
	want_error("agent.create", "{\"name\":\"a\",\"start\":false}", "agent-exists");
	want_error("agent.connect", "{\"agent\":\"a\",\"port\":\"cdp\"}", "wrong-state");
	assert_world(1, 0);
}

/* What cannot be made leaves nothing behind and says why. */
static void refused_create(const char *type)
{
	daemon_up();
	want_error("agent.create", "{\"name\":\"a\"}", type);
	want_error("agent.get", "{\"agent\":\"a\"}", "agent-not-found");
	assert_world(0, 0);
	daemon_kill();
}

static void test_refused_creates(void **state)
{
	fake = (struct fake_world){.no_image = true};
	refused_create("no-image");
	fake = (struct fake_world){.image_damaged = true};
	refused_create("image-damaged");
	fake = (struct fake_world){.qemu_missing = true};
	refused_create("qemu-missing");
	fake = (struct fake_world){.disk_full = true};
	refused_create("disk-full");
}

static void test_start_that_fails(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	daemon_kill();
	fake.qemu_missing = true;
	daemon_up();
	want_error("agent.start", "{\"agent\":\"a\"}", "qemu-missing");
	assert_string_equal(shown("a", "state"), "failed");
	assert_non_null(strstr(shown("a", "state_detail"), "qemu-system"));
	assert_world(1, 0);
	daemon_kill();
	fake.qemu_missing = false;
	daemon_up();
	assert_string_equal(shown("a", "state"), "failed");
	want_ok("agent.start", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
}

static void test_browser_late(void **state)
{
	AUTOFREE char *conf = xasprintf("%s/berth.conf", scratch_path);

	assert_int_equal(
		file_write_atomic(conf, "[agent]\nbrowser_timeout = 1\n", 28, 0644, NULL), 0);
	fake.no_browser = true;
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
	assert_string_equal(shown("a", "browser"), "down");
	assert_non_null(strstr(shown("a", "state_detail"), "within 1 s"));
}

static void test_crashes(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.create", "{\"name\":\"b\",\"on_crash\":\"stop\"}");
	kill((pid_t)shown_number("b", "pid"), SIGKILL);
	wait_shown("b", "state", "stopped");
	assert_non_null(strstr(shown("b", "state_detail"), "crashed"));
	kill((pid_t)shown_number("a", "pid"), SIGKILL);
	wait_shown("a", "state", "stopped");
	wait_shown("a", "browser", "up"); /* after a second */
	assert_int_equal(shown_number("a", "restarts"), 1);
	assert_world(2, 1);
}

/* A guest that dies at each boot is tried again a few times, then left alone; a start by somebody
 * tries anew. */
static void test_gives_up(void **state)
{
	fake.crash_at_boot = true;
	daemon_up();
	want_error("agent.create", "{\"name\":\"a\"}", "internal");
	wait_shown("a", "state", "failed"); /* 1 + 2 + 4 + 8 s */
	assert_int_equal(shown_number("a", "restarts"), 4);
	assert_world(1, 0);
	want_error("agent.start", "{\"agent\":\"a\"}", "internal");
	assert_int_equal(shown_number("a", "restarts"), 1);
	want_ok("agent.remove", "{\"agent\":\"a\"}");
	assert_world(0, 0);
}

/* The daemon is killed; agents go on and are the same ones for the next. */
static void test_adoption(void **state)
{
	int64_t pid;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"a.example\"]}");
	want_ok("agent.create", "{\"name\":\"dead\"}");
	want_ok("agent.create", "{\"name\":\"stays\",\"on_crash\":\"stop\"}");
	pid = shown_number("a", "pid");
	{
		pid_t dead = (pid_t)shown_number("dead", "pid"),
		      stays = (pid_t)shown_number("stays", "pid");

		daemon_kill();
		kill(dead, SIGKILL);
		kill(stays, SIGKILL);
		reap();
	}
	daemon_up();
	wait_shown("a", "browser", "up");
	assert_int_equal(shown_number("a", "pid"), pid);
	assert_int_equal(shown_number("a", "restarts"), 0);
	assert_string_equal(shown("stays", "state"), "stopped");
	wait_shown("dead", "browser", "up");
	assert_int_equal(shown_number("dead", "restarts"), 1);
	assert_world(3, 2);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	assert_world(3, 1);
}

static void test_shutdown(void **state)
{
	AUTOFREE char *bak = xasprintf("%s/berth.db.bak", scratch_path);

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.create", "{\"name\":\"b\"}");
	want_ok("agent.stop", "{\"agent\":\"b\"}");
	want_ok("shutdown", NULL);
	assert_int_equal(daemon_wait(), 0);
	assert_int_equal(access(bak, F_OK), 0);
	assert_world(2, 0);
	/* what ran runs again, what had been stopped does not */
	daemon_up();
	wait_shown("a", "state", "running");
	assert_int_equal(shown_number("a", "restarts"), 0);
	assert_string_equal(shown("b", "state"), "stopped");
}

static void make_left(const char *path)
{
	AUTOFREE char *full = xasprintf("%s/%s", scratch_path, path);

	assert_int_equal(make_dir(full, 0700, NULL), 0);
}

static void test_leftovers(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	daemon_kill();
	make_left("agents/ag_nobody");
	make_left("run/agents/ag_nobody");
	make_left("agents/ag_nobody/sub");
	{
		AUTOFREE char *ns = xasprintf("%s/run/ns/ag_nobody", scratch_path);

		close(open(ns, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	daemon_up();
	wait_shown("a", "browser", "up");
	assert_world(1, 1);
	assert_int_equal(count_files("lost/ag_nobody"), 1); /* a disk is not thrown away */
}

static void test_second_daemon(void **state)
{
	pid_t first;

	daemon_up();
	want_ok("status", NULL);
	first = daemon_pid;
	daemon_start();
	assert_int_equal(WEXITSTATUS(daemon_wait()), 1);
	daemon_pid = first;
	want_ok("status", NULL);
}

static void test_corrupt_database(void **state)
{
	AUTOFREE char *db = xasprintf("%s/berth.db", scratch_path),
		      *log = xasprintf("%s/log", scratch_path), *text = NULL;

	assert_int_equal(
		file_write_atomic(db, "not a database, but long enough", 31, 0600, NULL), 0);
	daemon_start();
	assert_int_equal(WEXITSTATUS(daemon_wait()), 1);
	assert_int_equal(file_read(AT_FDCWD, log, 1 << 20, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "damaged"));
}

static void test_policy(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"b.example\",\"A.example:443\"]}");
	want_ok("policy.change", "{\"agent\":\"a\",\"allow\":[\"b.example\",\"event.example\"],"
				 "\"remove\":[\"a.example:443\"]}");
	{
		cJSON *msg = call("policy.get", "{\"agent\":\"a\"}"), *rules;

		rules = cJSON_GetObjectItem(cJSON_GetObjectItem(msg, "ok"), "rules");
		assert_int_equal(cJSON_GetArraySize(rules), 2);
		assert_string_equal(cJSON_GetArrayItem(rules, 1)->valuestring, "event.example");
		cJSON_Delete(msg);
	}
	{
		cJSON *msg = call("policy.log", "{\"agent\":\"a\",\"verdict\":\"deny\"}"), *list;
		const cJSON *e;

		list = cJSON_GetObjectItem(cJSON_GetObjectItem(msg, "ok"), "entries");
		e = cJSON_GetArrayItem(list, 0);
		assert_int_equal(cJSON_GetArraySize(list), 1);
		assert_string_equal(json_str(e, "name", ""), "no.example");
		assert_int_equal(json_int(e, "count", 0), 2);
		cJSON_Delete(msg);
	}
	want_ok("policy.set",
		"{\"agent\":\"a\",\"rules\":[\"bad.example\"]}"); /* it then sends nonsense: refused
								   */
	want_error("policy.change", "{\"agent\":\"a\",\"remove\":[\"b.example\"]}", "invalid-rule");
	want_error("policy.set", "{\"agent\":\"a\",\"rules\":[\"http://x\"]}", "invalid-rule");
	want_error(
		"policy.set", "{\"agent\":\"a\",\"rules\":[],\"mode\":\"off\"}", "invalid-request");
	want_error("policy.log", "{\"agent\":\"a\",\"verdict\":\"both\"}", "invalid-request");
	{
		cJSON *rules = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(rules, "rules");
		char *text;

		cJSON_AddStringToObject(rules, "agent", "a");
		for (int i = 0; i <= RULES_MAX; i++) {
			AUTOFREE char *rule = xasprintf("n%d.example", i);

			cJSON_AddItemToArray(list, cJSON_CreateString(rule));
		}
		text = cJSON_PrintUnformatted(rules);
		want_error("policy.set", text, "limit-reached");
		free(text);
		cJSON_Delete(rules);
	}
	want_ok("policy.set", "{\"agent\":\"a\",\"rules\":[]}");
}

static void test_tokens_and_images(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	want_error("token.create", "{\"role\":\"agent\"}", "invalid-request");
	want_error("token.create", "{\"role\":\"admin\",\"agent\":\"a\"}", "invalid-request");
	want_error("token.create", "{\"role\":\"root\"}", "invalid-request");
	want_error("token.create", "{\"role\":\"agent\",\"agent\":\"x\"}", "agent-not-found");
	want_ok("token.create", "{\"role\":\"agent\",\"agent\":\"a\",\"ttl\":60,\"label\":\"x\"}");
	want_error("token.revoke", "{\"id\":\"tok_none\"}", "token-not-found");
	want_error("token.check", "{\"hash\":\"00\"}", "invalid-request");
	want_error("image.remove", "{\"image\":\"" FAKE_IMAGE "\"}", "image-in-use");
	want_error("image.remove", "{\"image\":\"ffffffffffffffff\"}", "image-not-found");
	want_error("agent.create", "{\"name\":\"b\",\"image\":\"ffffffffffffffff\"}",
		"image-not-found");
	want_ok("image.list", NULL);
}

static void test_update(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"start\":false}");
	want_ok("agent.update", "{\"agent\":\"a\",\"memory_mib\":512,\"port\":9222,\"on_crash\":"
				"\"stop\",\"labels\":{\"x\":\"y\"}}");
	daemon_kill();
	daemon_up();
	assert_int_equal(shown_number("a", "memory_mib"), 512);
	assert_int_equal(shown_number("a", "port"), 9222);
	assert_string_equal(shown("a", "on_crash"), "stop");
	want_ok("agent.update", "{\"agent\":\"a\",\"port\":0}");
	assert_int_equal(shown_number("a", "port"), -1); /* null */
	want_error("agent.update", "{\"agent\":\"a\",\"on_crash\":\"dance\"}", "invalid-request");
	{
		cJSON *msg = call("agent.list", "{\"label\":\"x=y\"}");

		assert_int_equal(cJSON_GetArraySize(json_get(json_get(msg, "ok"), "agents")), 1);
		cJSON_Delete(msg);
		msg = call("agent.list", "{\"label\":\"x=z\"}");
		assert_int_equal(cJSON_GetArraySize(json_get(json_get(msg, "ok"), "agents")), 0);
		cJSON_Delete(msg);
	}
}

/* Of every operation: no argument more, none missing, each of its type and within its bounds. */
static void wrong_members(const struct op *op)
{
	AUTOFREE char *unknown = xasprintf("{\"no_such_member\":1}");

	want_error(op->name, unknown, "invalid-request");
	for (size_t i = 0; i < op->n_members; i++) {
		const struct json_member *m = &op->members[i];
		AUTOFREE char *type = xasprintf("{\"%s\":null}", m->name), *bounds = NULL;

		if (m->required)
			want_error(op->name, "{}", "invalid-request");
		want_error(op->name, type, "invalid-request");
		if (m->type == JSON_INTEGER) {
			bounds = xasprintf("{\"%s\":%lld}", m->name, (long long)m->min - 1);
			want_error(op->name, bounds, "invalid-request");
			free(bounds);
			bounds = xasprintf("{\"%s\":%lld}", m->name, (long long)m->max + 1);
			want_error(op->name, bounds, "invalid-request");
			free(bounds);
			bounds = xasprintf("{\"%s\":1.5}", m->name);
			want_error(op->name, bounds, "invalid-request");
		} else if (m->type == JSON_STRING) {
			bounds = xasprintf("{\"%s\":\"%0*d\"}", m->name, (int)m->max + 1, 0);
			want_error(op->name, bounds, "invalid-request");
		}
	}
}

static void test_every_op_refuses_nonsense(void **state)
{
	const struct op *table;
	size_t n;

	daemon_up();
	table = ops_table(&n);
	assert_int_equal(n, 24);
	for (size_t i = 0; i < n; i++)
		wrong_members(&table[i]);
	want_error("no.such.op", NULL, "not-found");
	want_error("agent.connect", "{\"agent\":\"a\",\"port\":\"ssh\"}", "invalid-request");
	want_error("agent.create", "{\"name\":\"A\"}", "invalid-name");
	want_error("agent.create", "{\"name\":\"\"}", "invalid-name");
	want_error("agent.create", "{\"name\":\"a\",\"allow\":[\"*\"]}", "invalid-rule");
	want_error("agent.create", "{\"name\":\"a\",\"labels\":{\"\":\"x\"}}", "invalid-request");
	want_error("agent.create", "{\"name\":\"a\",\"on_crash\":\"x\"}", "invalid-request");
	want_ok("status", NULL);
	assert_world(0, 0);
}

/* Messages that are no requests: answered where they have an id, and the connection lives unless
 * the frame is wrong. */
static void test_bad_messages(void **state)
{
	static const char *const bad[] = {"{}", "{\"id\":\"x\",\"op\":\"status\"}", "{\"id\":1}",
		"{\"id\":1,\"op\":7}", "{\"id\":1,\"op\":\"status\",\"args\":[]}",
		"{\"id\":1,\"op\":\"status\",\"more\":1}", "{\"id\":-1,\"op\":\"status\"}"};

	daemon_up();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cJSON *msg = cJSON_Parse(bad[i]), *answer;

		ctl_send(client, msg, -1);
		cJSON_Delete(msg);
		answer = receive();
		assert_string_equal(
			json_str(json_get(answer, "error"), "type", "none"), "invalid-request");
		cJSON_Delete(answer);
	}
	want_ok("status", NULL);
	assert_int_equal(write(ctl_fd(client), "\xff\xff\xff\xff{}", 6), 6);
	assert_null(receive()); /* a frame over the limit: closed */
	assert_true(connect_to());
	assert_int_equal(write(ctl_fd(client), "\x02\x00\x00\x00[]", 6), 6);
	assert_null(receive());
	assert_true(connect_to());
	want_ok("status", NULL);
}

static void test_events(void **state)
{
	double seq = 0;
	bool created = false, running = false, done = false, gone = false;

	daemon_up();
	want_ok("token.create", "{\"role\":\"viewer\"}"); /* before: not in the stream */
	ask("events.subscribe", "{}");
	ask("agent.create", "{\"name\":\"a\"}");
	for (int i = 0; i < 100 && !(running && done); i++) {
		cJSON *msg = receive();
		const cJSON *e = json_get(msg, "event");

		done |= json_get(msg, "ok") != NULL;
		if (e) {
			assert_true(json_get(e, "seq")->valuedouble > seq);
			seq = json_get(e, "seq")->valuedouble;
			assert_string_not_equal(json_str(e, "type", ""), "token.created");
			created |= streq(json_str(e, "type", ""), "agent.created");
			running |= streq(json_str(e, "type", ""), "agent.running");
			assert_string_equal(json_str(e, "agent", ""), "a");
			assert_string_equal(json_str(e, "by", ""), "local");
		}
		cJSON_Delete(msg);
	}
	assert_true(created && running && done);
	/* the stream is the one asked for before the last request */
	{
		AUTOFREE char *args = xasprintf("{\"id\":%u}", last_id - 1);

		ask("events.unsubscribe", args);
	}
	for (int i = 0; i < 100 && !gone; i++) {
		cJSON *msg = receive();

		gone = json_int(msg, "id", 0) == last_id && json_get(msg, "ok");
		cJSON_Delete(msg);
	}
	assert_true(gone);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	{
		cJSON *msg = call("events.list", "{\"agent\":\"a\",\"limit\":1}");
		const cJSON *list = json_get(json_get(msg, "ok"), "events");

		assert_int_equal(cJSON_GetArraySize(list), 1);
		assert_string_equal(
			json_str(cJSON_GetArrayItem(list, 0), "type", ""), "agent.stopped");
		cJSON_Delete(msg);
	}
}

/* A subscriber that reads nothing holds up nobody, and gets all of it when it reads. */
static void test_slow_subscriber(void **state)
{
	struct ctl *slow;
	int64_t seq = 0;

	daemon_up();
	ask("events.subscribe", "{\"after\":0}");
	slow = client;
	client = NULL;
	assert_true(connect_to());
	for (int i = 0; i < 700; i++) {
		cJSON *args = cJSON_CreateObject(), *msg;
		char label[250];
		char *text;

		memset(label, 'x', sizeof(label) - 1);
		label[sizeof(label) - 1] = 0;
		cJSON_AddStringToObject(args, "role", "viewer");
		cJSON_AddStringToObject(args, "label", label);
		text = cJSON_PrintUnformatted(args);
		msg = call("token.create", text);
		assert_non_null(json_get(msg, "ok"));
		cJSON_Delete(msg);
		cJSON_Delete(args);
		free(text);
	}
	while (seq < 701) { /* daemon.started and each token */
		cJSON *msg = ctl_receive(slow, 20000, NULL, NULL);

		assert_non_null(msg);
		assert_int_equal(json_int(json_get(msg, "event"), "seq", 0), seq + 1);
		seq++;
		cJSON_Delete(msg);
	}
	ctl_free(slow);
}

static void test_many_clients(void **state)
{
	struct ctl *clients[CONTROL_CLIENTS_MAX];
	struct err err;

	daemon_up();
	clients[0] = steal(&client);
	for (int i = 1; i < CONTROL_CLIENTS_MAX; i++) {
		assert_true(connect_to());
		want_ok("status", NULL);
		clients[i] = steal(&client);
	}
	{
		AUTOFREE char *path = xasprintf("%s/run/control/control.sock", scratch_path);
		struct ctl *more = ctl_new(sock_connect_unix(path, NULL));

		assert_null(ctl_receive(more, 5000, NULL, &err)); /* turned away */
		assert_int_not_equal(err.code, -ETIMEDOUT);
		ctl_free(more);
	}
	ctl_free(clients[5]);
	clients[5] = NULL;
	usleep(50000);
	assert_true(connect_to());
	want_ok("status", NULL);
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		ctl_free(clients[i]);
}

static void test_too_many_waiting(void **state)
{
	unsigned refused = 0;

	daemon_up();
	for (int i = 0; i < CONTROL_WAITING_MAX + 10; i++)
		ask("events.subscribe", "{}");
	for (int i = 0; i < 10; i++) {
		cJSON *msg = receive();

		refused += streq(json_str(json_get(msg, "error"), "type", ""), "too-many-requests");
		cJSON_Delete(msg);
	}
	assert_int_equal(refused, 10);
	assert_true(connect_to()); /* the streams go with their connection */
	want_ok("status", NULL);
}

/* A client that leaves in the middle of what it asked: it is done all the same. */
static void test_client_leaves(void **state)
{
	daemon_up();
	ask("agent.create", "{\"name\":\"a\"}");
	assert_true(connect_to());
	wait_shown("a", "browser", "up");
	ask("agent.remove", "{\"agent\":\"a\"}");
	assert_true(connect_to());
	for (int i = 0; i < 400 && shown_number("a", "memory_mib") > 0; i++)
		usleep(5000);
	want_error("agent.get", "{\"agent\":\"a\"}", "agent-not-found");
	assert_world(0, 0);
}

/* Stop and remove cut a start short; whoever started is told. */
static void test_cut_short(void **state)
{
	unsigned ids[2];

	fake.no_browser = true;
	daemon_up();
	ask("agent.create", "{\"name\":\"a\"}");
	ids[0] = last_id;
	ask("agent.stop", "{\"agent\":\"a\"}");
	ids[1] = last_id;
	for (int i = 0; i < 2; i++) {
		cJSON *msg = receive();

		if (json_int(msg, "id", 0) == ids[0])
			assert_string_equal(
				json_str(json_get(msg, "error"), "type", ""), "wrong-state");
		else
			assert_string_equal(json_str(json_get(msg, "ok"), "state", ""), "stopped");
		assert_true(json_int(msg, "id", 0) == ids[0] || json_int(msg, "id", 0) == ids[1]);
		cJSON_Delete(msg);
	}
	assert_world(1, 0);
}

/* What an operation left behind after the daemon was killed in it, and what it has to be. */
struct scenario {
	const char *before, *before_args, *op, *args;
	bool removed, stopped; /* afterwards, if the operation was accepted; otherwise it runs */
};

/* Its phase is in state_detail while it is on the way to another. */
static bool settled(const cJSON *a)
{
	const char *state = json_str(a, "state", "");

	if (streq(state, "failed"))
		return true;
	if (json_str(a, "state_detail", "")[0])
		return false;
	return streq(state, "stopped") ||
	       (streq(state, "running") && streq(json_str(a, "browser", ""), "up"));
}

/*
 * Starts with the agent there (or not), kills the daemon at its n-th step (or, n 0, after us
 * microseconds), and looks at what the next one makes of it.
 */
static bool killed_at(const struct scenario *s, unsigned n, unsigned us)
{
	bool died;

	each(NULL);
	if (s->before) {
		daemon_up();
		want_ok(s->before, s->before_args);
		daemon_kill();
	}
	fake.die_at = n;
	daemon_start();
	if (connect_to()) {
		cJSON *msg;

		ask(s->op, s->args);
		if (n == 0) {
			usleep(us);
			kill(daemon_pid, SIGKILL);
		}
		msg = receive();
		died = !msg;
		cJSON_Delete(msg);
	} else {
		died = true;
	}
	if (!died)
		daemon_kill();
	else
		daemon_wait();
	fake.die_at = 0;
	daemon_up();
	{
		cJSON *list;
		const cJSON *a;
		bool moving = true;

		/* until it has settled */
		for (int i = 0; i < 1000 && moving; i++) {
			list = call("agent.list", "{}");
			a = cJSON_GetArrayItem(json_get(json_get(list, "ok"), "agents"), 0);
			moving = a && !settled(a);
			if (!moving) {
				const char *state = json_str(a, "state", "none");

				assert_string_not_equal(state, "failed");
				if (!died && s->removed)
					assert_string_equal(state, "none");
				if (!died && s->stopped)
					assert_string_equal(state, "stopped");
				if (!died && !s->removed && !s->stopped)
					assert_string_equal(state, "running");
				assert_world(a ? 1 : 0, streq(state, "running"));
			}
			cJSON_Delete(list);
			usleep(5000);
		}
		assert_false(moving);
	}
	/* and it can be used */
	want_error("agent.start", "{\"agent\":\"nobody\"}", "agent-not-found");
	{
		cJSON *msg = call("agent.start", "{\"agent\":\"a\"}");

		if (json_get(msg, "ok"))
			assert_world(1, 1);
		cJSON_Delete(msg);
	}
	after(NULL);
	return died;
}

static const struct scenario scenarios[] = {
	{NULL, NULL, "agent.create", "{\"name\":\"a\"}", false, false},
	{NULL, NULL, "agent.create", "{\"name\":\"a\",\"start\":false}", false, true},
	{"agent.create", "{\"name\":\"a\",\"start\":false}", "agent.start", "{\"agent\":\"a\"}",
		false, false},
	{"agent.create", "{\"name\":\"a\"}", "agent.stop", "{\"agent\":\"a\"}", false, true},
	{"agent.create", "{\"name\":\"a\"}", "agent.remove", "{\"agent\":\"a\"}", true, false},
	{"agent.create", "{\"name\":\"a\"}", "agent.restart", "{\"agent\":\"a\"}", false, false},
	{"agent.create", "{\"name\":\"a\"}", "shutdown", NULL, false, false},
};

static void test_killed_anywhere(void **state)
{
	unsigned deaths = 0;

	after(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		for (unsigned n = 1; killed_at(&scenarios[i], n, 0); n++) {
			assert_true(n < 60);
			deaths++;
		}
	}
	print_message("killed %u times\n", deaths);
	assert_true(deaths > 20);
	each(NULL);
}

/* The steps above are those of the stand-ins; this hits everything between them, the database's
 * writes too. */
static void test_killed_anytime(void **state)
{
	srand(3);
	after(NULL);
	for (int i = 0; i < 60; i++)
		killed_at(&scenarios[(size_t)i % ARRAY_SIZE(scenarios)], 0,
			(unsigned)(rand() % 25000));
	each(NULL);
}

/* Random asking and killing, then rest: what is there is what was last accepted. */
static void test_random_life(void **state)
{
	static const char *const ops[] = {
		"create", "start", "stop", "restart", "remove", "kill-daemon", "kill-qemu"};
	enum { NONE, STOPPED, RUNNING } want[3] = {NONE, NONE, NONE};
	unsigned crashes[3] = {0}, running = 0, there = 0;

	srand(7);
	daemon_up();
	for (int i = 0; i < 150; i++) {
		const char *op = ops[(size_t)rand() % ARRAY_SIZE(ops)];
		int who = rand() % 3;
		AUTOFREE char *verb = xasprintf("agent.%s", op);
		AUTOFREE char *args = xasprintf(
			streq(op, "create") ? "{\"name\":\"n%d\"}" : "{\"agent\":\"n%d\"}", who);
		AUTOFREE char *name = xasprintf("n%d", who);
		cJSON *msg;
		bool ok;

		if (streq(op, "kill-daemon")) {
			if (rand() % 3)
				continue;
			daemon_kill();
			daemon_up();
			continue;
		}
		if (streq(op, "kill-qemu")) {
			int64_t pid = want[who] == RUNNING && crashes[who] < 2
					      ? shown_number(name, "pid")
					      : 0;

			if (pid > 1) {
				kill((pid_t)pid, SIGKILL);
				crashes[who]++;
			}
			continue;
		}
		msg = call(verb, args);
		ok = json_get(msg, "ok") != NULL;
		if (!ok) {
			const char *type = json_str(json_get(msg, "error"), "type", "");

			/* a start that was hit by kill-qemu goes on by itself; anything else is
			 * about who is there */
			if (want[who] == NONE)
				assert_string_equal(type, "agent-not-found");
			else if (streq(op, "create"))
				assert_string_equal(type, "agent-exists");
			else if (!streq(type, "wrong-state") && !strstr(type, "internal"))
				fail_msg("%s: %s", verb, type);
		} else if (streq(op, "remove")) {
			want[who] = NONE;
		} else {
			want[who] = streq(op, "stop") ? STOPPED : RUNNING;
		}
		if (ok)
			crashes[who] =
				streq(op, "start") || streq(op, "restart") ? crashes[who] : 0;
		cJSON_Delete(msg);
	}
	for (int who = 0; who < 3; who++) {
		AUTOFREE char *name = xasprintf("n%d", who);

		if (want[who] == RUNNING)
			wait_shown(name, "browser", "up");
		else
			assert_string_equal(
				shown(name, "state"), want[who] == STOPPED ? "stopped" : "");
		running += want[who] == RUNNING;
		there += want[who] != NONE;
	}
	assert_world(there, running);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, each, after)
	const struct CMUnitTest tests[] = {
		T(test_life),
		T(test_create_stopped),
		T(test_refused_creates),
		T(test_start_that_fails),
		T(test_browser_late),
		T(test_crashes),
		T(test_gives_up),
		T(test_adoption),
		T(test_shutdown),
		T(test_leftovers),
		T(test_second_daemon),
		T(test_corrupt_database),
		T(test_policy),
		T(test_tokens_and_images),
		T(test_update),
		T(test_every_op_refuses_nonsense),
		T(test_bad_messages),
		T(test_events),
		T(test_slow_subscriber),
		T(test_many_clients),
		T(test_too_many_waiting),
		T(test_client_leaves),
		T(test_cut_short),
		T(test_killed_anywhere),
		T(test_killed_anytime),
		T(test_random_life),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
