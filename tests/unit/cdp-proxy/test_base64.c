/* Pictures come as base64 from a guest: the RFC's vectors, and everything that is none. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base64.h"
#include "util.h"

static void vectors(void **state)
{
	static const char *const rows[][2] = {{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"},
		{"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"Zm9vYmE=", "fooba"},
		{"Zm9vYmFy", "foobar"}, {"/+8=", "\xff\xef"}};
	static const char *const bad[] = {"A", "AA", "AAA", "A===", "====", "AA=A", "AA==AAAA",
		"A-AA", "A_AA", "AAA\n", "AA A",
		"\xff"
		"AAA",
		"AAAA="};
	uint8_t out[16];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		long long n = base64_decode(rows[i][0], strlen(rows[i][0]), out);

		assert_int_equal(n, strlen(rows[i][1]));
		assert_memory_equal(out, rows[i][1], (size_t)n);
		assert_true(base64_valid(rows[i][0], strlen(rows[i][0])));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), out), -1);
		assert_false(base64_valid(bad[i], strlen(bad[i])));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(vectors)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
