/* Rules and names: what is accepted has one normal form, says the same again, and matches only
 * whole labels. */
#include <stdlib.h>
#include <string.h>

#include "rules.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void rule(const char *text)
{
	char one[RULE_TEXT_MAX], two[RULE_TEXT_MAX], below[300];
	struct rule r, again;
	struct err err = {0};

	if (rule_parse(text, &r, &err) < 0) {
		check(err.msg[0] && err.status == 400);
		return;
	}
	rule_format(&r, one);
	check(rule_parse(one, &again, NULL) == 0);
	rule_format(&again, two);
	check(streq(one, two) && r.n_ports > 0 && strchr(r.name, '.'));
	check(rule_matches(&r, r.name, 0) == !r.wildcard);
	snprintf(below, sizeof(below), "a.%s", r.name);
	check(rule_matches(&r, below, 0) == r.wildcard);
	snprintf(below, sizeof(below), "a%s", r.name);
	check(!rule_matches(&r, below, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[256], again[256];
	char *text = xmalloc(size + 1);

	memcpy(text, data, size);
	text[size] = 0;
	rule(text);
	if (rule_normalise_name(text, size, name))
		check(rule_normalise_name(name, strlen(name), again) && streq(name, again));
	free(text);
	return 0;
}
