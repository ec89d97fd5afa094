/* The link to berth-policy: starts, adopts, replaces, sets rules again; with a stand-in at the
 * other end. */
#include "scratch.h"

#include "fake_world.h"
#include "json.h"
#include "policy_link.h"
#include "process.h"
#include "watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static uv_loop_t loop;
static unsigned ups, downs, entries, errors, dones, told;
static char down_detail[200];
static struct err done_err;
static cJSON *policy, *rules;       /* rules: of the policy */
static struct policy_link *current; /* ended by `after` where a test fails */

static void on_up(void *data)
{
	ups++;
}

static void on_down(void *data, const char *detail, int code)
{
	downs++;
	snprintf(down_detail, sizeof(down_detail), "%s", detail);
}

static void on_egress(void *data, const cJSON *entry)
{
	entries++;
}

static void on_told(void *data, const char *type, const cJSON *event)
{
	told += streq(type, "upstream") && streq(json_str(event, "part", ""), "proxy");
}

static void on_error(void *data, const char *detail)
{
	assert_string_equal(detail, "no pin");
	errors++;
}

static cJSON *on_hello(void *data, const char *instance)
{
	assert_true(atoi(instance) > 1);
	return cJSON_CreateObject();
}

static void on_done(void *data, const struct err *err)
{
	dones++;
	done_err = err ? *err : (struct err){0};
}

static void expired(void *data)
{
	*(bool *)data = true;
}

/* Runs the loop until *n reaches want; false after ms. */
static bool wait_for(const unsigned *n, unsigned want, unsigned ms)
{
	bool over = false;
	struct watch_timer *t = watch_timer_new(&loop, expired, &over);

	watch_timer_start(t, ms);
	while (*n < want && !over)
		uv_run(&loop, UV_RUN_ONCE);
	watch_timer_free(t);
	return *n >= want;
}

static struct policy_link *link_new(void)
{
	static const struct policy_callbacks cb = {
		on_up, on_down, on_egress, on_told, on_error, on_hello};
	const struct policy_spec spec = {scratch_path, "ag_x", "x", FAKE_POLICY};

	current = policy_link_new(&loop, &spec, policy, &cb, NULL);
	return current;
}

static void end(struct policy_link *l)
{
	current = NULL;
	policy_link_end(l);
}

/* Living processes of that kind ("parser", "wall"), and the pid of the last one. */
static unsigned living(const char *kind, pid_t *ret_pid)
{
	AUTOFREE char *folder = xasprintf("%s/policies", scratch_path);
	DIR *d = opendir(folder);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d))) {
		AUTOFREE char *path = xasprintf("%s/%s", folder, e->d_name);
		pid_t pid = starts_with(e->d_name, kind) ? process_read_file(path) : 0;

		n += pid > 0;
		if (pid && ret_pid)
			*ret_pid = pid;
	}
	if (d)
		closedir(d);
	return n;
}

static void set_mode(const char *mode)
{
	AUTOFREE char *path = xasprintf("%s/policy-mode", scratch_path);

	assert_int_equal(file_write_atomic(path, mode, strlen(mode), 0600, NULL), 0);
}

static void assert_rules(const char *want)
{
	AUTOFREE char *path = xasprintf("%s/rules-ag_x", scratch_path), *text = NULL;

	assert_int_equal(file_read(AT_FDCWD, path, 10000, &text, NULL, NULL), 0);
	assert_string_equal(text, want);
	unlink(path);
}

static int each(void **state)
{
	static const char *const folders[] = {"run/ns", "run/agents", "run/agents/ag_x"};
	AUTOFREE char *ns = NULL;

	scratch_new();
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		AUTOFREE char *path = xasprintf("%s/%s", scratch_path, folders[i]);

		make_dir(path, 0700, NULL);
	}
	ns = xasprintf("%s/run/ns/ag_x", scratch_path);
	close(open(ns, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	uv_loop_init(&loop);
	ups = downs = entries = errors = dones = told = 0;
	policy = cJSON_Parse("{\"rules\":[\"a.example\"]}");
	rules = cJSON_GetObjectItem(policy, "rules");
	return 0;
}

static int after(void **state)
{
	policy_link_end(steal(&current));
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	policy_kill_left(scratch_path, "ag_x");
	while (waitpid(-1, NULL, 0) > 0)
		;
	cJSON_Delete(policy);
	scratch_end();
	return 0;
}

static void test_start_and_end(void **state)
{
	struct policy_link *l = link_new();

	assert_false(policy_link_is_up(l));
	assert_true(wait_for(&ups, 1, 5000));
	assert_true(policy_link_is_up(l));
	assert_rules("[\"a.example\"]");
	assert_int_equal(living("parser", NULL), 1);
	assert_int_equal(living("wall", NULL), 1);
	end(l);
	uv_run(&loop, UV_RUN_DEFAULT);
	while (waitpid(-1, NULL, 0) > 0)
		;
	assert_int_equal(living("parser", NULL), 0);
	assert_int_equal(living("wall", NULL), 0);
}

static void test_other_rules(void **state)
{
	struct policy_link *l = link_new();

	/* before it is up there is nothing to wait for */
	cJSON_AddItemToArray(rules, cJSON_CreateString("b.example"));
	policy_link_set(l, policy, on_done, NULL);
	assert_int_equal(dones, 1);
	assert_true(wait_for(&ups, 1, 5000));
	assert_rules("[\"a.example\",\"b.example\"]");
	cJSON_AddItemToArray(rules, cJSON_CreateString("event.example"));
	policy_link_set(l, policy, on_done, NULL);
	assert_int_equal(dones, 1);
	assert_true(wait_for(&dones, 2, 5000));
	assert_int_equal(done_err.code, 0);
	assert_rules("[\"a.example\",\"b.example\",\"event.example\"]");
	assert_true(wait_for(&entries, 1, 5000));
	assert_int_equal(told, 0);
	cJSON_AddItemToArray(rules, cJSON_CreateString("upstream.example"));
	policy_link_set(l, policy, NULL, NULL);
	assert_true(wait_for(&told, 1, 5000));
	end(l);
}

static void test_killed(void **state)
{
	struct policy_link *l = link_new();
	pid_t pid = 0, later = 0, wall = 0, later_wall = 0;
	unsigned walls = 0;

	assert_true(wait_for(&ups, 1, 5000));
	assert_int_equal(living("parser", &pid), 1);
	for (int i = 0; i < 500 && !living("wall", &wall); i++)
		usleep(10000);
	kill(pid, SIGKILL);
	assert_true(wait_for(&downs, 1, 5000));
	assert_false(policy_link_is_up(l));
	assert_true(wait_for(&ups, 2, 5000));
	assert_int_equal(downs, 1);
	assert_int_equal(living("parser", &later), 1);
	assert_int_not_equal(pid, later);
	/* The old wall goes with its parser; the new one takes a moment to say that it lives. */
	for (int i = 0; i < 500 && !(later_wall && later_wall != wall && walls == 1); i++) {
		usleep(10000);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		walls = living("wall", &later_wall);
	}
	assert_int_equal(walls, 1);
	assert_int_not_equal(wall, later_wall);
	assert_rules("[\"a.example\"]");
	end(l);
}

/* A daemon that ends leaves the process; the next one finds it and sets the rules that are in the
 * record now. */
static void test_adopted(void **state)
{
	struct policy_link *l = link_new();
	pid_t pid = 0, later = 0;

	assert_true(wait_for(&ups, 1, 5000));
	assert_int_equal(living("parser", &pid), 1);
	current = NULL;
	policy_link_free(l);
	assert_int_equal(living("parser", NULL), 1);
	cJSON_AddItemToArray(rules, cJSON_CreateString("c.example"));
	l = link_new();
	assert_true(wait_for(&ups, 2, 5000));
	assert_int_equal(living("parser", &later), 1);
	assert_int_equal(pid, later);
	assert_rules("[\"a.example\",\"c.example\"]");
	end(l);
}

/* One that was taken over by its guest cannot fill the events of all. */
static void test_failures_are_told_and_bounded(void **state)
{
	struct policy_link *l;

	cJSON_AddItemToArray(rules, cJSON_CreateString("error.example"));
	l = link_new();
	assert_true(wait_for(&ups, 1, 5000)); /* the failures came before */
	assert_int_equal(errors, 16);
	end(l);
}

static void test_dies_at_once(void **state)
{
	struct policy_link *l;

	set_mode("die");
	l = link_new();
	assert_true(wait_for(&downs, 1, 5000));
	assert_non_null(strstr(down_detail, "status 3"));
	set_mode("well");
	assert_true(wait_for(&ups, 1, 10000));
	assert_int_equal(downs, 1); /* told once until it is up again */
	end(l);
}

static void test_does_not_answer(void **state)
{
	struct policy_link *l = link_new();

	assert_true(wait_for(&ups, 1, 5000));
	set_mode("mute");
	policy_link_set(l, policy, on_done, NULL);
	assert_true(wait_for(&dones, 1, 15000)); /* after ANSWER_MS */
	assert_int_equal(done_err.status, 503);
	set_mode("well");
	assert_true(wait_for(&ups, 2, 15000));
	end(l);
}

static void test_program_is_missing(void **state)
{
	static const struct policy_callbacks cb = {on_up, on_down, on_egress, on_told};
	const struct policy_spec spec = {scratch_path, "ag_x", "x", "/nonexistent/berth-policy"};
	struct policy_link *l = policy_link_new(&loop, &spec, policy, &cb, NULL);

	assert_true(wait_for(&downs, 1, 5000));
	assert_non_null(strstr(down_detail, "/nonexistent/berth-policy"));
	end(l);
}

/* Those who wait when it is ended are told. */
static void test_ended_while_waiting(void **state)
{
	struct policy_link *l = link_new();

	assert_true(wait_for(&ups, 1, 5000));
	set_mode("mute");
	policy_link_set(l, policy, on_done, NULL);
	assert_int_equal(dones, 0);
	end(l);
	assert_int_equal(dones, 1);
	assert_true(done_err.code < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_start_and_end, each, after),
		cmocka_unit_test_setup_teardown(test_other_rules, each, after),
		cmocka_unit_test_setup_teardown(test_killed, each, after),
		cmocka_unit_test_setup_teardown(test_adopted, each, after),
		cmocka_unit_test_setup_teardown(test_dies_at_once, each, after),
		cmocka_unit_test_setup_teardown(test_failures_are_told_and_bounded, each, after),
		cmocka_unit_test_setup_teardown(test_does_not_answer, each, after),
		cmocka_unit_test_setup_teardown(test_program_is_missing, each, after),
		cmocka_unit_test_setup_teardown(test_ended_while_waiting, each, after),
	};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
