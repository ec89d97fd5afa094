/* Rules and names: what is accepted has one normal form, says the same again, and matches only
 * whole labels. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void name_rule(const struct rule *r, const struct ruleset *rs)
{
	enum ruleset_verdict fits = r->deny ? RULESET_DENY : RULESET_ALLOW;
	uint16_t port = r->n_ports ? r->ports[0] : 443;
	char other[300];

	check(strchr(r->name, '.') || r->kind == RULE_BELOW);
	check((ruleset_name(rs, r->name, port).verdict == fits) == (r->kind == RULE_NAME));
	snprintf(other, sizeof(other), "a.%s", r->name);
	check((ruleset_name(rs, other, port).verdict == fits) == (r->kind == RULE_BELOW));
	snprintf(other, sizeof(other), "a%s", r->name);
	check(ruleset_name(rs, other, port).verdict == RULESET_NONE);
}

/* A policy of the one rule says what the rule says. */
static void in_force(const struct rule *r, const char *text)
{
	cJSON *policy = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(policy, "rules");
	struct ruleset rs = {0};

	cJSON_AddItemToArray(list, cJSON_CreateString(text));
	check(ruleset_set(&rs, policy, NULL) == 0);
	if (r->kind == RULE_NETWORK)
		check(ruleset_addr(&rs, htonl(r->net.net), r->n_ports ? r->ports[0] : 443)
				.verdict == (r->deny ? RULESET_DENY : RULESET_ALLOW));
	else if (r->kind != RULE_PRESET)
		name_rule(r, &rs);
	ruleset_done(&rs);
	cJSON_Delete(policy);
}

static void rule(const char *text)
{
	char one[RULE_TEXT_MAX], two[RULE_TEXT_MAX];
	struct rule r, again;
	struct err err = {0};

	if (rule_parse(text, &r, &err) < 0) {
		check(err.msg[0] && err.status == 400);
		return;
	}
	rule_format(&r, one);
	check(rule_parse(one, &again, NULL) == 0);
	rule_format(&again, two);
	check(streq(one, two) && (r.n_ports > 0 || r.deny || r.kind == RULE_PRESET));
	check(rule_covers(&r, &again) && rule_covers(&again, &r));
	in_force(&r, one);
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
