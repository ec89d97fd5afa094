/* What policies count, in Prometheus' text format; a berth-policy that lies about words adds no
 * line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "metrics.h"
#include "util.h"

static void policies(void **state)
{
	static const char *const want[] = {"# TYPE berth_policy_connections_total counter\n"
					   "berth_policy_connections_total{agent=\"a\"} 7\n",
		"berth_policy_bytes_up_total{agent=\"a\"} 9007199254740000\n",
		"berth_policy_denied_total{agent=\"a\",reason=\"no rule allows this name\"} 3\n",
		"berth_policy_denied_total{agent=\"a\",reason=\"x} 1evil 2\"} 0\n",
		"berth_policy_learning{agent=\"a\"} 1\n", "berth_policy_learning{agent=\"b\"} 0\n"};
	cJSON *agents = cJSON_Parse(
		"[{\"name\":\"a\",\"policy_mode\":\"learn\",\"policy_stats\":{\"connections\":7,"
		"\"bytes_"
		"up\":9007199254740000,\"denied_by\":{\"no rule allows this name\":3,\"x\\\"} "
		"1\\nevil 2\\\\\":\"4\"}}},{\"name\":\"b\",\"policy_mode\":\"enforce\"}]");
	struct buf b;

	assert_non_null(agents);
	buf_init(&b, 65536);
	metrics_add_policies(&b, agents);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		if (!strstr(buf_str(&b), want[i]))
			fail_msg("missing: %s in %s", want[i], buf_str(&b));
	assert_null(strstr(buf_str(&b), "\nevil"));
	assert_null(strstr(buf_str(&b), "connections_total{agent=\"b\"}"));
	buf_done(&b);
	cJSON_Delete(agents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(policies)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
