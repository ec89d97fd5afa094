/* Any number of snapshots: layers that become one while the agent runs, and berthd and QEMU killed
 * in that. What a disk holds is what was written to it, and snapshots never change. */
#include "scratch.h"

#include "daemon_harness.h"
#include "disk.h"
#include "fake_world.h"
#include "json.h"
#include "snapshot.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MANY 75
#define LAYERS_BOUND 57 /* beyond that a snapshot would not have waited */

static struct {
	char id[64];
	char *text; /* what its disk holds */
} taken[200];
static size_t n_taken;

static char *held_by(const char *snapshot)
{
	AUTOFREE char *folder = xasprintf("%s/snapshots/%s", scratch_path, snapshot), *file = NULL;
	cJSON *m = snapshot_read(folder, NULL);
	const cJSON *layers = json_get(m, "layers");
	char *text;

	assert_non_null(m);
	file = xasprintf("%s.qcow2",
		json_str(cJSON_GetArrayItem(layers, cJSON_GetArraySize(layers) - 1), "name", ""));
	text = fake_disk(folder, file);
	cJSON_Delete(m);
	assert_non_null(text); /* its chain is whole */
	return text;
}

/* Takes one; the number of its layers. The disk holds what it held at the last one, and more. */
static int take(void)
{
	cJSON *msg;
	int layers;

	for (;;) {
		msg = call("agent.snapshot", "{\"agent\":\"a\",\"memory\":false}");
		if (!streq(json_str(json_get(msg, "error"), "type", ""), "wrong-state"))
			break;
		cJSON_Delete(msg); /* it is just being adopted */
		usleep(5000);
	}
	if (!json_get(msg, "ok"))
		fail_msg("%s", json_str(json_get(msg, "error"), "detail", "gone"));
	snprintf(taken[n_taken].id, sizeof(taken[0].id), "%s",
		json_str(json_get(msg, "ok"), "id", ""));
	taken[n_taken].text = held_by(taken[n_taken].id);
	if (n_taken > 0)
		assert_memory_equal(taken[n_taken].text, taken[n_taken - 1].text,
			strlen(taken[n_taken - 1].text));
	n_taken++;
	assert_true(n_taken < ARRAY_SIZE(taken));
	layers = (int)json_int(json_get(msg, "ok"), "layers", 0);
	cJSON_Delete(msg);
	return layers;
}

static void look_at_all(void)
{
	for (size_t i = 0; i < n_taken; i++) {
		AUTOFREE char *text = held_by(taken[i].id);

		assert_string_equal(text, taken[i].text);
	}
}

static int end(void **state)
{
	while (n_taken > 0)
		free(taken[--n_taken].text);
	return after(state);
}

/* Files of the agent's folder: layers, the disk, what its memory stands on. */
static unsigned files(void)
{
	AUTOFREE char *agents = xasprintf("%s/agents", scratch_path), *folder = NULL;
	DIR *d = opendir(agents);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] == 'a')
			folder = xasprintf("agents/%s", e->d_name);
	if (d)
		closedir(d);
	assert_non_null(folder);
	return count_files(folder);
}

static void wait_for_merge(unsigned most)
{
	for (int i = 0; i < 4000 && files() > most; i++)
		usleep(5000);
	assert_true(files() <= most);
}

static void test_many_snapshots(void **state)
{
	int layers = 0, most = 0;

	/* One after the other they leave no time for it, until they have to wait. */
	fake.merge_from = LAYERS_BOUND - 1;
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	for (int i = 0; i < MANY; i++) {
		if (i % 10 == 9) {
			daemon_kill();
			daemon_up();
		}
		layers = take();
		most = MAX(most, layers);
		assert_true(layers < LAYERS_BOUND);
	}
	assert_int_equal(most, LAYERS_BOUND - 1);
	daemon_kill();
	fake.merge_from = 0;
	daemon_up();
	while (take() < 16)
		;
	wait_for_merge(14);
	assert_true(take() < 14);
	want_ok("agent.suspend", "{\"agent\":\"a\"}");
	want_ok("agent.resume", "{\"agent\":\"a\"}");
	want_ok("agent.restart", "{\"agent\":\"a\"}");
	take();
	look_at_all();
}

/* At rest nothing is written, and no layer is added. */
static void test_at_rest(void **state)
{
	int layers;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	want_ok("agent.suspend", "{\"agent\":\"a\"}");
	layers = take();
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(), layers);
	want_ok("agent.stop", "{\"agent\":\"a\",\"force\":true}");
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(), layers);
	want_ok("agent.start", "{\"agent\":\"a\"}");
	want_ok("agent.stop", "{\"agent\":\"a\"}");
	assert_int_equal(take(), layers + 1);
	want_ok("agent.start", "{\"agent\":\"a\"}");
	assert_string_equal(shown("a", "state"), "running");
	look_at_all();
}

static void fill_up(void)
{
	while (take() < 15)
		;
}

/* Begins to merge, with a daemon that ends at its n-th step. True if it died before all was done.
 */
static bool merge_killed_at(unsigned n, bool qemu)
{
	bool died;

	fill_up();
	daemon_kill();
	fake.die_at = n;
	daemon_start();
	died = !connect_to();
	if (!died) {
		cJSON *msg;

		do {
			msg = call("agent.snapshot", "{\"agent\":\"a\",\"memory\":false}");
			died = !msg;
			usleep(5000);
		} while (streq(json_str(json_get(msg, "error"), "type", ""), "wrong-state") &&
			 (cJSON_Delete(msg), true));
		cJSON_Delete(msg);
	}
	for (int i = 0; i < 4000 && !died && files() > 14; i++) {
		died = waitpid(daemon_pid, NULL, WNOHANG) == daemon_pid;
		if (died)
			daemon_pid = 0;
		usleep(5000);
	}
	if (daemon_pid && !died)
		daemon_kill();
	else
		daemon_wait();
	return died;
}

static void after_a_kill(bool qemu)
{
	if (qemu)
		kill_qemus();
	fake.die_at = 0;
	daemon_up();
	/* Refused where the daemon has yet to see that QEMU has gone: then it starts it by itself.
	 */
	if (qemu)
		cJSON_Delete(call("agent.start", "{\"agent\":\"a\"}"));
	wait_shown("a", "browser", "up");
	take();
	look_at_all();
	assert_world(1, 1);
}

static void killed_while_merging(bool qemu)
{
	unsigned deaths = 0;

	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	while (merge_killed_at(deaths + 1, qemu)) {
		after_a_kill(qemu);
		assert_true(++deaths < 40);
		for (; n_taken > 40; n_taken--) /* the oldest are looked at; the rest are many */
			free(taken[n_taken - 1].text);
	}
	after_a_kill(qemu);
	print_message("killed %u times\n", deaths);
	assert_true(deaths > 6);
}

static void test_killed_while_merging(void **state)
{
	killed_while_merging(false);
}

static void test_qemu_killed_while_merging(void **state)
{
	killed_while_merging(true);
}

/* What needs the disk for itself does not wait for it, and it does not come back to harm. */
static void test_cut_short(void **state)
{
	static const char *const ops[] = {"agent.suspend", "agent.stop", "agent.restart"};

	fake.merge_from = 1000;
	daemon_up();
	want_ok("agent.create", "{\"name\":\"a\"}");
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		while (take() < 16)
			;
		want_ok(ops[i], "{\"agent\":\"a\"}");
		want_ok("agent.start", "{\"agent\":\"a\"}");
		take();
	}
	while (take() < 16)
		;
	daemon_kill();
	fake.merge_from = 0;
	daemon_up();
	wait_shown("a", "browser", "up");
	wait_for_merge(14);
	take();
	look_at_all();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, each, end)
	const struct CMUnitTest tests[] = {
		T(test_many_snapshots),
		T(test_at_rest),
		T(test_cut_short),
		T(test_killed_while_merging),
		T(test_qemu_killed_while_merging),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
