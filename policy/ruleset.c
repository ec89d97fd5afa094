/* The rules in force. */
#include "ruleset.h"
#include "util.h"

#include <errno.h>
#include <string.h>

int ruleset_set(struct ruleset *rs, const cJSON *texts, struct err *err)
{
	AUTOFREE struct rule *list = xcalloc(RULES_MAX, sizeof(*list));
	const cJSON *text;
	size_t n = 0;

	if (cJSON_GetArraySize(texts) > RULES_MAX) {
		err_set(err, E2BIG, "more than %d rules", RULES_MAX);
		return err_type(err, 400, "invalid-rule");
	}
	cJSON_ArrayForEach (text, texts) {
		int r = rule_parse(text->valuestring, &list[n++], err);

		if (r < 0)
			return r;
	}
	memcpy(rs->list, list, n * sizeof(*list));
	rs->n = n;
	rs->generation++;
	return 0;
}

const struct rule *ruleset_match(const struct ruleset *rs, const char *name, uint16_t port)
{
	for (size_t i = 0; i < rs->n; i++)
		if (rule_matches(&rs->list[i], name, port))
			return &rs->list[i];
	return NULL;
}

static size_t add_port(uint16_t *ports, size_t n, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i] == port)
			return n;
	if (n < RULESET_PORTS_MAX)
		ports[n++] = port;
	return n;
}

size_t ruleset_ports(const struct ruleset *rs, const char *name, uint16_t ret[RULESET_PORTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < rs->n; i++) {
		const struct rule *r = &rs->list[i];

		if (!rule_matches(r, name, 0))
			continue;
		for (size_t k = 0; k < r->n_ports; k++)
			n = add_port(ret, n, r->ports[k]);
	}
	return n;
}
