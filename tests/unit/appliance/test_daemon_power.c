/* Power is cut at any moment: of every agent and snapshot the old or the new state is there, whole,
 * and what berthd had said is done is done. */
#include "scratch.h"

#include "daemon_harness.h"
#include "disk_world.h"
#include "faults.h"
#include "json.h"
#include "power.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static const char *const variants[N_POWER_VARIANTS] = {
	"nothing else", "names", "names and zeros", "the last name"};

#define EVERY 16
#define ON 3 /* the moment that "a" lives on to */

static unsigned every; /* only after each of so many calls, to be quick; 1: all */

/* How many calls had been made when the deed was answered, and before and after "a" lived on. */
struct calls {
	unsigned answered, settled, lived;
};

/* The deed is done on a folder that is watched. */
static struct power *do_it(const struct deed *d, const char *log, struct calls *ret)
{
	struct power *p;
	cJSON *msg;

	world_new(d);
	make_dir(log, 0700, NULL);
	p = power_new(scratch_path, log);
	faults_record(log);
	msg = call(d->op, d->args);
	ret->answered = faults->seq;
	if (!json_get(msg, "ok"))
		world_fail("%s", json_str(json_get(msg, "error"), "detail", "gone"));
	cJSON_Delete(msg);
	world_settle();
	ret->settled = ret->lived = faults->seq;
	if (streq(shown("a", "state"), "running")) {
		world_live("a", ON);
		ret->lived = faults->seq;
	}
	faults_record_end();
	return p;
}

/* Power is back. */
static void look(const struct deed *d, enum deed_end end, unsigned on)
{
	AUTOFREE char *run = xasprintf("%s/run", scratch_path);

	make_dir(run, 0711, NULL);
	faults_begin(scratch_path);
	daemon_start();
	if (!connect_to())
		world_fail("berthd does not start");
	world_settle();
	world_check(d, end, true, on);
	world_check_leftovers();
}

static void look_safely(const struct deed *d, enum deed_end end, unsigned on)
{
	if (setjmp(world_escape) == 0)
		look(d, end, on);
	world_end();
}

/* All that can be left when it happens after what p has taken so far; how many that were. */
static unsigned cut(struct power *p, const struct deed *d, const struct calls *calls)
{
	enum deed_end end = power_calls(p) >= calls->answered ? DEED_DONE : DEED_OPEN;
	bool lived = calls->lived > calls->settled && power_calls(p) >= calls->lived;
	unsigned n = 0;

	for (unsigned v = 0; v < N_POWER_VARIANTS; v++) {
		if (!power_cut(p, (enum power_variant)v, end * 2u + lived, scratch_path))
			continue;
		n++;
		world_at("%s, cut after %s; %s", d->name, power_last(p), variants[v]);
		look_safely(d, end, lived ? ON : 0);
	}
	return n;
}

static void cut_anywhere(const struct deed *d)
{
	char real[sizeof(scratch_path)], log[90];
	struct calls calls;
	unsigned n = 0, lines = (unsigned)(d - deeds);
	struct power *p;

	snprintf(log, sizeof(log), "/tmp/berth-test-log-%d", (int)getpid());
	p = do_it(d, log, &calls);
	memcpy(real, scratch_path, sizeof(real));
	daemon_kill();
	snprintf(scratch_path, sizeof(scratch_path), "%.40s-cut", real);
	while (power_next(p)) {
		if (getenv("BERTH_TEST_SAY"))
			print_message("%s\n", power_last(p));
		/* what a guest has not synced is its own business */
		if (power_calls(p) > calls.settled && power_calls(p) < calls.lived)
			continue;
		if (++lines % every == 0)
			n += cut(p, d, &calls);
	}
	memcpy(scratch_path, real, sizeof(real));
	print_message("%s: cut %u times in %u calls\n", d->name, n, power_calls(p));
	world_end();
	power_free(p);
	remove_tree(log, NULL);
}

static void test_cut_anywhere(void **state)
{
	const char *only = getenv("BERTH_TEST_ONLY");

	every = getenv("BERTH_TEST_EVERY") ? (unsigned)atoi(getenv("BERTH_TEST_EVERY")) : EVERY;
	for (unsigned i = 0; i < n_deeds; i++)
		if (!only || streq(only, deeds[i].name))
			cut_anywhere(&deeds[i]);
	assert_int_equal(world_failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_anywhere),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
