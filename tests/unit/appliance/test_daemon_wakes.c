/* What wakes, and what cannot: berthd killed in it, helpers and QEMU that end, forks half made. */
#include "scratch.h"

#include "daemon_harness.h"
#include "fake_world.h"
#include "json.h"
#include "vm.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>

/* No guest had a way out before it knew who it is. */
static void no_leak(void)
{
	DIR *d = opendir(scratch_path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (starts_with(e->d_name, "leak-"))
			fail_msg("%s", e->d_name);
	if (d)
		closedir(d);
}

/* The answer to an operation that is asked again while the agent is only being adopted; NULL when
 * the daemon ends before. */
static cJSON *call_once_adopted(const char *op, const char *args)
{
	cJSON *msg = call(op, args);

	while (streq(json_str(json_get(msg, "error"), "type", ""), "wrong-state")) {
		cJSON_Delete(msg);
		usleep(5000);
		msg = call(op, args);
	}
	return msg;
}

/* Does what is asked with a daemon that ends at its n-th step; true if it did. */
static bool killed_at(unsigned n, const char *op, const char *args)
{
	cJSON *msg;
	bool died;

	daemon_kill();
	fake.die_at = n;
	daemon_start();
	msg = connect_to() ? call_once_adopted(op, args) : NULL;
	died = !msg;
	if (msg && !json_get(msg, "ok"))
		fail_msg("%s: %s", op, json_str(json_get(msg, "error"), "detail", "?"));
	cJSON_Delete(msg);
	if (died)
		daemon_wait();
	else
		daemon_kill();
	fake.die_at = 0;
	return died;
}

static void test_woken_halfway(void **state)
{
	unsigned deaths = 0;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"shop.test\"]}");
	for (bool died = true; died; deaths += died) {
		want_ok("agent.suspend", "{\"agent\":\"a\"}");
		died = killed_at(deaths + 1, "agent.resume", "{\"agent\":\"a\"}");
		daemon_up();
		want_ok("agent.start", "{\"agent\":\"a\"}");
		wait_shown("a", "state", "running");
		wait_shown("a", "browser", "up");
		no_leak();
		assert_true(deaths < 60);
	}
	print_message("killed %u times\n", deaths);
	assert_true(deaths > 5);
	assert_world(1, 1);
}

static void test_fork_killed_anywhere(void **state)
{
	unsigned deaths = 0, agents = 1;
	bool died;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"allow\":[\"shop.test\"]}");
	do {
		died = killed_at(
			deaths + 1, "agent.fork", "{\"agent\":\"a\",\"names\":[\"b\",\"c\"]}");
		daemon_up();
		for (const char *const *name = (const char *const[]){"a", "b", "c", NULL}; *name;
			name++)
			if (shown(*name, "id")[0]) {
				wait_shown(*name, "browser", "up");
				agents += !streq(*name, "a");
			}
		assert_world(agents, agents);
		assert_int_equal(count_files("snapshots"), 0);
		no_leak();
		if (shown("b", "id")[0])
			want_ok("agent.remove", "{\"agent\":\"b\"}");
		if (shown("c", "id")[0])
			want_ok("agent.remove", "{\"agent\":\"c\"}");
		agents = 1;
		deaths += died;
		assert_true(deaths < 120);
	} while (died);
	print_message("killed %u times\n", deaths);
	assert_true(deaths > 15);
}

/* A daemon with other luck. */
static void anew(void)
{
	daemon_kill();
	daemon_up();
}

static void sleeps_on(const char *why)
{
	cJSON *msg = call("agent.resume", "{\"agent\":\"a\"}");

	assert_non_null(strstr(json_str(json_get(msg, "error"), "detail", ""), why));
	cJSON_Delete(msg);
	assert_string_equal(shown("a", "state"), "suspended");
	assert_non_null(strstr(shown("a", "state_detail"), why));
	assert_world_asleep(1, 0, 1);
}

/* Nothing of that is in its memory, which is there when all is well again. */
static void test_not_woken(void **state)
{
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\",\"on_crash\":\"stop\"}");
	want_ok("agent.suspend", "{\"agent\":\"a\"}");
	want_ok("agent.snapshot", "{\"agent\":\"a\",\"tag\":\"t\"}");

	fake.no_helper = true;
	anew();
	sleeps_on("helper");
	want_error("agent.create", "{\"name\":\"b\",\"from\":\"t\"}", "internal");
	assert_world_asleep(1, 0, 1);
	fake.no_helper = false;
	fake.wake_ends = VM_END_NOT_WOKEN;
	anew();
	sleeps_on("not woken");
	fake.wake_ends = VM_END_CRASH;
	anew();
	sleeps_on("crashed");
	/* Not even a memory that is damaged is thrown away unasked. */
	fake.wake_ends = VM_END_UNWAKEABLE;
	anew();
	want_error("agent.resume", "{\"agent\":\"a\"}", "snapshot-damaged");
	assert_string_equal(shown("a", "state"), "suspended");
	fake.wake_ends = 0;
	anew();
	want_ok("agent.resume", "{\"agent\":\"a\"}");
	want_ok("agent.create", "{\"name\":\"b\",\"from\":\"t\"}");
	assert_world(2, 2);
}

/* Who asked for its sleep is told when it ends in another way. */
static void test_not_asleep(void **state)
{
	static const struct {
		const char *op, *args;
	} ends[] = {
		{"agent.restore", "{\"agent\":\"a\",\"snapshot\":\"t\"}"},
		{"agent.remove", "{\"agent\":\"a\"}"},
	};

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.snapshot", "{\"agent\":\"a\",\"tag\":\"t\"}");
	fake.save_ends = true;
	anew();
	wait_shown("a", "browser", "up");
	want_error("agent.suspend", "{\"agent\":\"a\"}", "internal");
	wait_shown("a", "browser", "up");
	fake.save_ends = false;
	fake.save_hangs = true;
	anew();
	wait_shown("a", "browser", "up");
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		cJSON *asleep, *ended;

		ask("agent.suspend", "{\"agent\":\"a\"}");
		ask(ends[i].op, ends[i].args);
		asleep = receive();
		ended = receive();
		assert_string_equal(json_str(json_get(asleep, "error"), "type", ""), "wrong-state");
		assert_non_null(json_get(ended, "ok"));
		cJSON_Delete(asleep);
		cJSON_Delete(ended);
	}
	assert_int_equal(count_files("agents"), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, each, after)
	const struct CMUnitTest tests[] = {
		T(test_woken_halfway),
		T(test_fork_killed_anywhere),
		T(test_not_woken),
		T(test_not_asleep),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
