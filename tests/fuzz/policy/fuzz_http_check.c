/*
 * The relay's HTTP stream: the first byte cuts it into pieces. What passes must not depend on the
 * cut, and a strict reader of what has passed must find no other Host in it.
 */
#include <stdlib.h>
#include <string.h>

#include "http_check.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t feed(const char *data, size_t size, size_t step, char name[256], int *ret_state)
{
	struct http_check c;
	size_t have = 0, passed = 0;
	int r = 0;

	http_check_init(&c, 80);
	while (r == 0 && have < size) {
		const char *reason = NULL;
		size_t pass = 0;

		have = MIN(size, have + step);
		r = http_check_feed(&c, data + passed, have - passed, &pass, &reason);
		if (pass > have - passed || (r < 0 && !reason))
			abort();
		passed += pass;
		if (r == 0 && c.state == HTTP_UPGRADE)
			r = http_check_answer(&c, data, MIN(size, (size_t)64), &reason);
	}
	strcpy(name, c.name);
	*ret_state = r < 0 ? -1 : (int)c.state;
	if (passed > 0 && !c.name[0])
		abort();
	http_check_done(&c);
	return passed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char a[256], b[256];
	int one, two;
	size_t n;

	if (size < 2)
		return 0;
	n = feed((const char *)data + 1, size - 1, size, a, &one);
	/* A denial may come with fewer bytes passed when the stream is seen whole: never with other
	 * ones. */
	if (feed((const char *)data + 1, size - 1, 1u + data[0], b, &two) > 0 && n > 0 &&
		!streq(a, b))
		abort();
	if (one == HTTP_BODY && two == HTTP_HEAD)
		abort();
	return 0;
}
