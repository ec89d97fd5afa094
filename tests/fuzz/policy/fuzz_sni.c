/* ClientHellos in pieces: the first byte says how long they are; the name does not depend on it. */
#include <stdlib.h>
#include <string.h>

#include "rules.h"
#include "sni.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed(const uint8_t *data, size_t size, size_t step, char name[256])
{
	struct sni *s = sni_new();
	int r = 0;

	for (size_t i = 0; i < size && r == 0; i += step)
		r = sni_feed(s, data + i, MIN(step, size - i), name);
	sni_free(s);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char whole[256] = "", cut[256] = "", normal[256];
	int r;

	if (size < 2)
		return 0;
	r = feed(data + 1, size - 1, size, whole);
	if (r == 1 && (!rule_normalise_name(whole, strlen(whole), normal) || !streq(whole, normal)))
		abort();
	if (feed(data + 1, size - 1, 1u + data[0], cut) == 1 && r == 1 && !streq(whole, cut))
		abort();
	return 0;
}
