/* berthd killed at each step, at any time and at random: what the next one makes of what is left.
 */
#include "scratch.h"

#include "control.h"
#include "daemon_harness.h"
#include "fake_world.h"
#include "json.h"
#include "ops.h"
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* What an operation left behind after the daemon was killed in it, and what it has to be. */
struct scenario {
	const char *before, *before_args, *op, *args;
	bool removed, stopped; /* afterwards, if the operation was accepted; otherwise it runs */
	bool suspended;
	const char *then, *then_args; /* after `before`, and before it is killed */
};

/* Its phase is in state_detail while it is on the way to another. */
static bool settled(const cJSON *a)
{
	const char *state = json_str(a, "state", "");

	if (streq(state, "failed"))
		return true;
	if (json_str(a, "state_detail", "")[0])
		return false;
	return streq(state, "stopped") || streq(state, "suspended") ||
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
		if (s->then)
			want_ok(s->then, s->then_args);
		daemon_kill();
	}
	fake.die_at = n;
	daemon_start();
	if (connect_to()) {
		cJSON *msg = NULL;

		/* an agent that is just being adopted cannot be asked for everything yet */
		do {
			cJSON_Delete(msg);
			usleep(msg ? 5000 : 0);
			ask(s->op, s->args);
			if (n == 0) {
				usleep(us);
				kill(daemon_pid, SIGKILL);
			}
			msg = receive();
		} while (msg && streq(json_str(json_get(msg, "error"), "type", ""), "wrong-state"));
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
				if (!died && s->suspended)
					assert_string_equal(state, "suspended");
				if (!died && !s->removed && !s->stopped && !s->suspended)
					assert_string_equal(state, "running");
				assert_world_asleep(a ? 1 : 0, streq(state, "running"),
					streq(state, "suspended"));
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
	{"agent.create", "{\"name\":\"a\"}", "agent.suspend", "{\"agent\":\"a\"}",
		.suspended = true},
	{"agent.create", "{\"name\":\"a\"}", "agent.resume", "{\"agent\":\"a\"}",
		.then = "agent.suspend", .then_args = "{\"agent\":\"a\"}"},
	{"agent.create", "{\"name\":\"a\"}", "agent.stop", "{\"agent\":\"a\"}", .stopped = true,
		.then = "agent.suspend", .then_args = "{\"agent\":\"a\"}"},
	{"agent.create", "{\"name\":\"a\"}", "agent.remove", "{\"agent\":\"a\"}", .removed = true,
		.then = "agent.suspend", .then_args = "{\"agent\":\"a\"}"},
	{"agent.create", "{\"name\":\"a\"}", "agent.snapshot", "{\"agent\":\"a\"}"},
	{"agent.create", "{\"name\":\"a\"}", "agent.snapshot", "{\"agent\":\"a\"}",
		.suspended = true, .then = "agent.suspend", .then_args = "{\"agent\":\"a\"}"},
	{"agent.create", "{\"name\":\"a\",\"start\":false}", "agent.snapshot", "{\"agent\":\"a\"}",
		.stopped = true},
	{"agent.create", "{\"name\":\"a\"}", "agent.restore",
		"{\"agent\":\"a\",\"snapshot\":\"t\"}", .then = "agent.snapshot",
		.then_args = "{\"agent\":\"a\",\"tag\":\"t\"}"},
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

static int leftovers(const char *path)
{
	cJSON *msg = call("leftovers", "{}"), *one;
	const cJSON *list = json_get(json_get(msg, "ok"), "leftovers");
	int n = cJSON_GetArraySize(list), found = 0;

	assert_non_null(list);
	cJSON_ArrayForEach (one, list)
		found += path && streq(json_str(one, "path", ""), path);
	if (path)
		assert_int_equal(found, 1);
	cJSON_Delete(msg);
	return n;
}

/* What belongs to nobody is named while the daemon runs, and gone after its next start. */
static void test_leftovers(void **state)
{
	static const char *const planted[] = {"agents/%s/sleep.old", "agents/ag_aaaaaaaaaaaaaaaa",
		"run/agents/%s", "snapshots/.rm-sn_x", "templates/.new-x"};
	char id[64];

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	assert_int_equal(leftovers(NULL), 0);
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	assert_int_equal(leftovers(NULL), 0);
	snprintf(id, sizeof(id), "%s", shown("a", "id"));
	for (size_t i = 0; i < ARRAY_SIZE(planted); i++) {
		AUTOFREE char *name = xasprintf(planted[i], id),
			      *path = xasprintf("%s/%s", scratch_path, name), *up = xstrdup(path);

		*strrchr(up, '/') = 0;
		assert_int_equal(make_dir(up, 0700, NULL), 0);
		assert_int_equal(make_dir(path, 0700, NULL), 0);
		assert_int_equal(leftovers(name), (int)i + 1);
	}
	daemon_kill();
	daemon_up();
	want_ok("agent.start", "{\"agent\":\"a\"}");
	assert_int_equal(leftovers(NULL), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, each, after)
	const struct CMUnitTest tests[] = {
		T(test_killed_anywhere),
		T(test_killed_anytime),
		T(test_random_life),
		T(test_leftovers),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
