/* The disk is full, or fails, at each of the calls that change it: nothing is lost, nothing is left
 * over, and whoever asked is told. */
#include "scratch.h"

#include "daemon_harness.h"
#include "disk_world.h"
#include "faults.h"
#include "json.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define EVERY 20

static const struct fault {
	const char *name;
	int error;
	bool sticky, half;
} faults_tried[] = {
	{"EIO", EIO, false, false},
	{"ENOSPC", ENOSPC, true, true},
};

/* The thing, the cause, the way out. */
static void check_error(const cJSON *error, const struct fault *f)
{
	const char *detail = json_str(error, "detail", ""), *hint = json_str(error, "hint", "");
	bool full = streq(json_str(error, "type", ""), "disk-full");
	AUTOFREE char *text = cJSON_PrintUnformatted(error);

	/* SQLite does not say why an fsync failed */
	if (f->error == ENOSPC && !full && !strstr(detail, "disk I/O error"))
		world_fail("%s: a full disk is said to be %s", faults->hit, text);
	if (!strstr(detail, strerror(f->error)) && !strstr(detail, "I/O error") &&
		!strstr(detail, "full") && !strstr(detail, "no room"))
		world_fail("%s: no cause in %s", faults->hit, text);
	if (!strstr(detail, "'a'") && !strstr(detail, "'b'") && !strstr(detail, scratch_path))
		world_fail("%s: no thing in %s", faults->hit, text);
	if (!hint[0])
		world_fail("%s: no way out of %s", faults->hit, text);
}

static unsigned every; /* only each of so many calls, to be quick; 1: all */
static bool hit;

static void fail_at(const struct deed *d, const struct fault *f, unsigned n)
{
	enum deed_end end;
	unsigned on = 0;
	cJSON *msg;

	world_new(d);
	world_at("%s, %s at %u", d->name, f->name, n);
	faults_arm(n, f->error, f->sticky, f->half, every == 1);
	msg = call(d->op, d->args);
	world_settle();
	faults_disarm();
	hit = faults->hit[0];
	end = json_get(msg, "ok") ? DEED_DONE : DEED_FAILED;
	world_at("%s, %s at %u of %u (%s): %s", d->name, f->name, n, faults->calls, faults->hit,
		json_str(json_get(msg, "error"), "detail", "done"));
	if (end == DEED_FAILED)
		check_error(json_get(msg, "error"), f);
	cJSON_Delete(msg);
	/* What was not done must leave nothing that takes it back later. */
	if (end == DEED_FAILED && streq(shown("a", "state"), "running"))
		world_live("a", on = 7);
	daemon_kill();
	daemon_up();
	world_settle();
	world_check(d, end, false, on);
	world_check_leftovers();
}

/* False: there is no such call any more. */
static bool failed_at(const struct deed *d, const struct fault *f, unsigned n)
{
	hit = true;
	if (setjmp(world_escape) == 0)
		fail_at(d, f, n);
	world_end();
	return hit;
}

static void test_failed_anywhere(void **state)
{
	const char *only = getenv("BERTH_TEST_ONLY");
	unsigned n_failed = 0;

	every = getenv("BERTH_TEST_EVERY") ? (unsigned)atoi(getenv("BERTH_TEST_EVERY")) : EVERY;
	for (unsigned i = 0; i < n_deeds; i++) {
		if (only && !streq(only, deeds[i].name))
			continue;
		for (size_t f = 0; f < ARRAY_SIZE(faults_tried); f++)
			for (unsigned n = 1 + (i + (unsigned)f) % every;
				failed_at(&deeds[i], &faults_tried[f], n); n += every)
				n_failed++;
	}
	print_message("failed %u times\n", n_failed);
	assert_int_equal(world_failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failed_anywhere),
	};

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
