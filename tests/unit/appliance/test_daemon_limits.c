/* What berthd counts of what agents use, over every berth-policy there was, and what it does at a
 * limit. */
#include "scratch.h"

#include "daemon_harness.h"
#include "fake_world.h"
#include "json.h"
#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>

static int64_t used(const char *total)
{
	cJSON *msg = call("policy.get", "{\"agent\":\"a\"}");
	int64_t n = json_int(json_get(json_get(msg, "ok"), "usage"), total, -1);

	cJSON_Delete(msg);
	return n;
}

static void wait_used(int64_t want)
{
	for (int i = 0; i < 1000 && used("bytes_per_day") != want; i++)
		usleep(10000);
	assert_int_equal(used("bytes_per_day"), want);
}

static void assert_limited(const char *want)
{
	cJSON *msg = call("policy.get", "{\"agent\":\"a\"}");

	assert_string_equal(
		json_str(json_get(json_get(msg, "ok"), "usage"), "limited", "nothing"), want);
	cJSON_Delete(msg);
}

static void assert_budget(const char *want)
{
	AUTOFREE char *path = xasprintf("%s/budget-%s", scratch_path, shown("a", "id"));
	AUTOFREE char *text = NULL;

	for (int i = 0; i < 1000 && (!text || !streq(text, want)); i++) {
		free(steal(&text));
		assert_int_equal(file_read(AT_FDCWD, path, 1000, &text, NULL, NULL), 0);
		usleep(10000);
	}
	assert_string_equal(text, want);
}

static void allow_only(const char *rule)
{
	AUTOFREE char *args = xasprintf("{\"agent\":\"a\",\"rules\":[\"%s\"],"
					"\"limits\":{\"bytes_per_day\":20000}}",
		rule);

	want_ok("policy.set", args);
}

/* What went through is counted over every berth-policy there was, and each knows what it may let
 * through. */
static void test_totals(void **state)
{
	AUTOFREE char *path = NULL;
	pid_t pid;
	AUTOFREE char *conf = xasprintf("%s/berth.conf", scratch_path);
	static const char text[] = "[policy]\nlimits = bytes_per_day=10000 connections=7\n";

	assert_int_equal(file_write_atomic(conf, text, sizeof(text) - 1, 0644, NULL), 0);
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("policy.change", "{\"agent\":\"a\",\"allow\":[\"used-4000.example\"]}");
	assert_int_equal(used("bytes_per_day"), 4000);
	assert_int_equal(used("bytes_per_run"), 4000);
	assert_limited("nothing");
	assert_budget("{\"bytes\":10000,\"limit\":\"bytes_per_day\"}");
	want_ok("policy.change", "{\"agent\":\"a\",\"allow\":[\"b.example\"],"
				 "\"limits\":{\"bytes_per_day\":4000}}");
	assert_limited("bytes_per_day");
	assert_int_equal(count_events("egress.limit"), 1);
	assert_string_equal(shown("a", "state"), "running");
	allow_only("used-12000.example");
	assert_int_equal(count_events("egress.limit-lifted"), 1);
	assert_limited("nothing");
	assert_budget("{\"bytes\":20000,\"limit\":\"bytes_per_day\"}");
	/* The same process, told again: nothing is counted twice. */
	daemon_kill();
	daemon_up();
	wait_shown("a", "browser", "up");
	wait_used(12000);
	/* Another one begins at nothing. */
	path = xasprintf("%s/run/agents/%s/policy.pid", scratch_path, shown("a", "id"));
	pid = process_read_file(path);
	assert_true(pid > 1);
	kill(pid, SIGKILL);
	wait_used(24000);
	assert_limited("bytes_per_day");
	assert_budget("{\"bytes\":12000,\"limit\":\"bytes_per_day\"}");
	want_error(
		"policy.change", "{\"agent\":\"a\",\"limits\":{\"colour\":1}}", "invalid-request");
	want_error("agent.create", "{\"name\":\"b\",\"limits\":{\"connections\":0}}",
		"invalid-request");
}

/* Makes an agent that sleeps because 5000 bytes of that limit are used up. */
static void put_to_sleep_by(const char *limit)
{
	AUTOFREE char *args = xasprintf(
		"{\"name\":\"a\",\"limits\":{\"%s\":5000,\"on_limit\":\"suspend\"}}", limit);

	want_ok("agent.create", args);
	want_ok("policy.change", "{\"agent\":\"a\",\"allow\":[\"used-6000.example\"]}");
	wait_shown("a", "state", "suspended");
	want_error("agent.resume", "{\"agent\":\"a\"}", "limit-reached");
}

static void test_suspended_at_the_limit(void **state)
{
	daemon_up();
	put_to_sleep_by("bytes_per_run");
	assert_string_equal(shown("a", "state"), "suspended");
	daemon_kill();
	daemon_up();
	want_error("agent.start", "{\"agent\":\"a\"}", "limit-reached");
	want_ok("policy.change", "{\"agent\":\"a\",\"limits\":{\"bytes_per_run\":null}}");
	wait_shown("a", "state", "running");
	assert_limited("nothing");
}

/* The database of an appliance that is down: what was counted was counted yesterday. */
static void turn_the_page(void)
{
	AUTOFREE char *path = xasprintf("%s/berth.db", scratch_path);
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db, "UPDATE usage SET date = date - 1", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A day's bytes are open again on the next, and what was put to sleep over them wakes. */
static void test_next_day(void **state)
{
	daemon_up();
	put_to_sleep_by("bytes_per_day");
	/* the stand-in would say again that they are used */
	want_ok("policy.change", "{\"agent\":\"a\",\"remove\":[\"used-6000.example\"]}");
	daemon_kill();
	turn_the_page();
	daemon_up();
	wait_shown("a", "state", "running");
	assert_limited("nothing");
	assert_int_equal(used("bytes_per_day"), 0);
	assert_int_equal(count_events("egress.limit-lifted"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_totals, each, after),
		cmocka_unit_test_setup_teardown(test_suspended_at_the_limit, each, after),
		cmocka_unit_test_setup_teardown(test_next_day, each, after),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
