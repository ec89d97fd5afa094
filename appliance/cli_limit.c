/* How much of the network an agent may use: shown and changed. */
#include "cli.h"
#include "limit.h"
#include "util.h"

#include <string.h>

void cli_print_limits(const cJSON *policy, bool all)
{
	struct limits l = limit_default(), otherwise = limit_default();
	const cJSON *usage = json_get(policy, "usage");
	const char *mark = all ? "" : "# ";
	char text[32];

	limit_change(&l, json_get(policy, "limits"), NULL);
	for (enum limit i = 0; i < LIMITS_N; i++) {
		long long used = (long long)json_int(usage, limit_name(i), -1);

		if (!all && l.values[i] == otherwise.values[i])
			continue;
		limit_format(&l, i, text);
		if (used >= 0 && !all)
			cli_print("# %s=%s (%lld bytes used)", limit_name(i), text, used);
		else
			cli_print("%s%s=%s", mark, limit_name(i), text);
	}
	if (all || l.suspend)
		cli_print("%son_limit=%s", mark, l.suspend ? "suspend" : "refuse");
	if (json_str(usage, "limited", "")[0])
		fprintf(stderr, "%s is used up\n", json_str(usage, "limited", ""));
}

void cli_show_limits(const cJSON *limits)
{
	struct limits l = limit_default(), otherwise = limit_default();
	const char *label = "limits";
	char text[32];

	limit_change(&l, limits, NULL);
	for (enum limit i = 0; i < LIMITS_N; i++) {
		if (l.values[i] == otherwise.values[i])
			continue;
		limit_format(&l, i, text);
		cli_print("%-13s %s=%s", label, limit_name(i), text);
		label = "";
	}
	if (l.suspend)
		cli_print("%-13s on_limit=suspend", label);
}

int cli_add_limit(cJSON *body, const char *word, struct err *err)
{
	cJSON *limits = cJSON_GetObjectItemCaseSensitive(body, "limits");

	return limit_add_word(limits ? limits : cJSON_AddObjectToObject(body, "limits"), word, err);
}

int cli_policy_limit(struct cli *c, const char *path, struct err *err)
{
	cJSON *body = c->n_args > 2 ? cJSON_CreateObject() : NULL;
	AUTOJSON *v = NULL;
	int r = 0;

	for (size_t i = 2; i < c->n_args && r == 0; i++)
		r = cli_add_limit(body, c->args[i], err);
	if (r < 0) {
		cJSON_Delete(body);
		return r;
	}
	r = cli_call(c, body ? "PATCH" : "GET", path, body, NULL, &v, err);
	if (r < 0)
		return r;
	if (c->json)
		cli_print_json(v);
	else
		cli_print_limits(v, true);
	return 0;
}
