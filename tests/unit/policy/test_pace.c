/* Token buckets, and flows that share one: what is handed out, to whom, and when nobody waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pace.h"
#include "util.h"

static void bucket(void **state)
{
	struct bucket b = {0};

	assert_int_equal(bucket_level(&b, 5), 0);
	bucket_set(&b, 10, 100, 1000);
	assert_int_equal(bucket_level(&b, 1000), 100);
	assert_true(bucket_take(&b, 100, 1000));
	assert_false(bucket_take(&b, 1, 1000));
	assert_false(bucket_take(&b, 1, 1099));
	assert_true(bucket_take(&b, 1, 1100));
	assert_int_equal(bucket_wait(&b, 10, 1100), 1000);
	assert_int_equal(bucket_wait(&b, 1000000, 1100), 10000); /* its size is all there will be */
	bucket_spend(&b, 5);
	assert_int_equal(bucket_wait(&b, 10, 1100), 1500);
	assert_int_equal(bucket_level(&b, 2100), 5);
	assert_int_equal(bucket_level(&b, 1000), 5); /* a clock that goes back gives nothing */
	assert_int_equal(bucket_level(&b, 1000000), 100);
	bucket_set(&b, 20, 50, 1000000);
	assert_int_equal(bucket_level(&b, 1000000), 50);
	bucket_set(&b, 0, 0, 1000000);
	bucket_set(&b, 20, 50, 1000000); /* a new limit begins full */
	assert_int_equal(bucket_level(&b, 1000000), 50);
}

/* Sums over any steps in time are the same. */
static void bucket_in_steps(void **state)
{
	struct bucket a = {0}, b = {0};
	uint64_t now = 0;

	bucket_set(&a, 7, UINT64_C(1) << 48, 0);
	bucket_set(&b, 7, UINT64_C(1) << 48, 0);
	bucket_spend(&a, UINT64_C(1) << 48);
	bucket_spend(&b, UINT64_C(1) << 48);
	for (int i = 0; i < 10000; i++) {
		now += (uint64_t)i % 37;
		bucket_level(&a, now);
	}
	assert_int_equal(bucket_level(&a, now), bucket_level(&b, now));
	assert_int_equal(bucket_level(&a, now), (int64_t)(7 * now / 1000));
	assert_int_equal(bucket_level(&a, UINT64_MAX / 2), INT64_C(1) << 48);
}

static uv_loop_t loop;
static struct pace pace;

struct reader {
	struct pacer pacer;
	unsigned turns;
	size_t got;
};

/* Always has something to read. */
static void on_turn(struct pacer *p)
{
	struct reader *r = CONTAINER_OF(p, struct reader, pacer);
	size_t n;

	r->turns++;
	while ((n = MIN(pacer_room(p), (size_t)4096)) > 0) {
		pacer_took(p, n);
		pacer_passed(p, n);
		r->got += n;
		if (r->got > 100000000)
			return;
	}
	pacer_wait(p);
}

static void on_passed(void *data)
{
}

static int set_up(void **state)
{
	uv_loop_init(&loop);
	pace_init(&pace, &loop, on_passed, NULL);
	return 0;
}

static int tear_down(void **state)
{
	uv_close((uv_handle_t *)&pace.timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return 0;
}

static void no_limit_no_wait(void **state)
{
	struct reader r = {0};

	pacer_init(&r.pacer, &pace, on_turn);
	assert_true(pacer_room(&r.pacer) == SIZE_MAX);
	pacer_took(&r.pacer, 1 << 30);
	assert_true(pacer_room(&r.pacer) == SIZE_MAX);
	assert_false(uv_loop_alive(&loop));
}

/* No more than the rate and the burst, whatever the time; and what one gets, all get. */
static void shares(void **state)
{
	struct reader readers[20] = {0};
	const uint64_t rate = 400000;
	uint64_t began = now_ms(), total = 0, most = 0, least = UINT64_MAX;

	pace_set(&pace, rate);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		pacer_init(&readers[i].pacer, &pace, on_turn);
		on_turn(&readers[i].pacer);
	}
	assert_int_equal(pace.waiting, ARRAY_SIZE(readers));
	while (pace.bytes < 400000)
		uv_run(&loop, UV_RUN_ONCE);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		uint64_t later = i == 0 ? 0 : readers[i].got; /* the first has had the burst */

		total += readers[i].got;
		most = MAX(most, later);
		least = i == 0 ? least : MIN(least, later);
	}
	assert_int_equal(total, pace.bytes);
	assert_true(total <= rate / 4 + rate * (now_ms() - began + 1) / 1000);
	assert_true(least > 0);
	assert_true(most - least <= 4 * PACE_SHARE_MIN + rate / 4);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		pacer_leave(&readers[i].pacer);
	assert_int_equal(pace.waiting, 0);
}

/* Out of the middle, the end and the front of the queue. */
static void leaving(void **state)
{
	struct reader readers[5] = {0};
	static const size_t order[] = {2, 4, 0, 3, 1};

	pace_set(&pace, 1024);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		pacer_init(&readers[i].pacer, &pace, on_turn);
		pacer_wait(&readers[i].pacer);
		pacer_wait(&readers[i].pacer);
	}
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		pacer_leave(&readers[order[i]].pacer);
		pacer_leave(&readers[order[i]].pacer);
		assert_int_equal(pace.waiting, ARRAY_SIZE(order) - 1 - i);
	}
	assert_null(pace.first);
	pacer_wait(&readers[0].pacer);
	assert_ptr_equal(pace.first, &readers[0].pacer);
	pace_set(&pace,
		0); /* without a limit the one who waits goes on at once, as fast as it can */
	while (readers[0].got == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(readers[0].got > 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket),
		cmocka_unit_test(bucket_in_steps),
		cmocka_unit_test_setup_teardown(no_limit_no_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shares, set_up, tear_down),
		cmocka_unit_test_setup_teardown(leaving, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
