/*
 * Rules for what an agent asked for.
 *
 * Entries of the log become wishes, one for each name and protocol, with the ports they were for. A
 * question that no connection followed stands for the web's ports. Wishes of the same ports whose
 * names lie below one parent become a wildcard when there are MANY of them and the parent belongs
 * to one owner (suffix.h).
 */
#include "suggest.h"
#include "ruleset.h"
#include "suffix.h"
#include "util.h"

#include <stdlib.h>
#include <string.h>

#define MANY 4       /* names below one parent that a wildcard stands for */
#define NAMES_MAX 20 /* listed with a suggestion */
#define WISHES_MAX 2000

struct wish {
	char name[256];
	bool tcp;
	uint16_t ports[RULE_PORTS_MAX];
	size_t n_ports;
	int64_t count;
	bool taken; /* a wildcard stands for it */
};

struct suggest {
	struct ruleset rules;
	struct wish *wishes;
	size_t n;
};

struct suggest *suggest_new(const cJSON *policy)
{
	struct suggest *s = xcalloc(1, sizeof(*s));
	cJSON *enforced = cJSON_Duplicate(policy, true);

	cJSON_DeleteItemFromObjectCaseSensitive(enforced, "mode");
	ruleset_set(&s->rules, enforced, NULL);
	cJSON_Delete(enforced);
	s->wishes = xcalloc(WISHES_MAX, sizeof(*s->wishes));
	return s;
}

void suggest_free(struct suggest *s)
{
	if (!s)
		return;
	ruleset_done(&s->rules);
	free(s->wishes);
	free(s);
}

static void add_port(struct wish *w, uint16_t port)
{
	size_t i = 0;

	while (i < w->n_ports && w->ports[i] < port)
		i++;
	if ((i < w->n_ports && w->ports[i] == port) || w->n_ports == RULE_PORTS_MAX)
		return;
	memmove(&w->ports[i + 1], &w->ports[i], (w->n_ports - i) * sizeof(w->ports[0]));
	w->ports[i] = port;
	w->n_ports++;
}

/* Nothing is suggested for what a rule says already, nor for what is wrong in another way than that
 * no rule is there. */
static bool is_wish(const struct suggest *s, const struct egress_record *e)
{
	struct ruleset_decision d;
	bool learnt = streq(e->verdict, "learn");

	if (!e->name[0] || !strchr(e->name, '.') || (!learnt && !starts_with(e->reason, "no rule")))
		return false;
	d = ruleset_name(&s->rules, e->name, (uint16_t)e->port);
	if (d.verdict == RULESET_DENY)
		return false;
	return d.verdict != RULESET_ALLOW || (streq(e->protocol, "tcp") && !d.tcp);
}

void suggest_add(struct suggest *s, const struct egress_record *e)
{
	bool tcp = streq(e->protocol, "tcp");
	size_t i = 0;

	if (!is_wish(s, e))
		return;
	while (i < s->n && (s->wishes[i].tcp != tcp || !streq(s->wishes[i].name, e->name)))
		i++;
	if (i == WISHES_MAX)
		return;
	if (i == s->n) {
		snprintf(s->wishes[i].name, sizeof(s->wishes[i].name), "%s", e->name);
		s->wishes[i].tcp = tcp;
		s->n++;
	}
	s->wishes[i].count += e->count;
	if (e->port)
		add_port(&s->wishes[i], (uint16_t)e->port);
}

/* A name that was also spoken of by connections needs no web ports for its questions alone. */
static void settle_ports(struct suggest *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct wish *w = &s->wishes[i];

		for (size_t k = 0; k < s->n && w->n_ports == 0; k++)
			if (s->wishes[k].tcp && streq(s->wishes[k].name, w->name))
				w->taken = true;
		if (w->n_ports == 1 && (w->ports[0] == 80 || w->ports[0] == 443) && !w->tcp)
			w->n_ports = 0;
		if (w->n_ports == 0) {
			w->ports[0] = 80;
			w->ports[1] = 443;
			w->n_ports = 2;
		}
	}
}

static const char *parent_of(const char *name)
{
	const char *dot = strchr(name, '.');

	return dot ? dot + 1 : NULL;
}

static bool same_ports(const struct wish *a, const struct wish *b)
{
	return a->tcp == b->tcp && a->n_ports == b->n_ports &&
	       memcmp(a->ports, b->ports, a->n_ports * sizeof(a->ports[0])) == 0;
}

static bool is_below(const char *name, const char *parent)
{
	size_t n = strlen(name), tail = strlen(parent);

	return n > tail + 1 && name[n - tail - 1] == '.' && streq(name + n - tail, parent);
}

static size_t count_below(const struct suggest *s, const struct wish *like, const char *parent)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += !s->wishes[i].taken && same_ports(&s->wishes[i], like) &&
		     is_below(s->wishes[i].name, parent);
	return n;
}

/* The nearest parent of w, of one owner, with MANY wishes below; or NULL. */
static const char *wildcard_for(const struct suggest *s, const struct wish *w)
{
	const char *registered = suffix_registered(w->name), *parent = parent_of(w->name);

	if (w->tcp || !registered)
		return NULL;
	for (; parent && parent <= registered; parent = parent_of(parent))
		if (count_below(s, w, parent) >= MANY)
			return parent;
	return NULL;
}

static void add_name(cJSON *suggestion, struct wish *w, int64_t *count)
{
	cJSON *names = cJSON_GetObjectItem(suggestion, "names");

	w->taken = true;
	*count += w->count;
	if (cJSON_GetArraySize(names) < NAMES_MAX)
		cJSON_AddItemToArray(names, cJSON_CreateString(w->name));
}

/* The rule for w, and for all that its wildcard stands for. */
static cJSON *suggest_one(struct suggest *s, struct wish *w)
{
	const char *parent = wildcard_for(s, w);
	struct rule rule = {
		.kind = parent ? RULE_BELOW : RULE_NAME, .tcp = w->tcp, .n_ports = w->n_ports};
	cJSON *o = cJSON_CreateObject();
	char text[RULE_TEXT_MAX];
	int64_t count = 0;

	snprintf(rule.name, sizeof(rule.name), "%s", parent ? parent : w->name);
	memcpy(rule.ports, w->ports, sizeof(rule.ports));
	rule_format(&rule, text);
	cJSON_AddStringToObject(o, "rule", text);
	cJSON_AddArrayToObject(o, "names");
	for (size_t i = 0; parent && i < s->n; i++)
		if (!s->wishes[i].taken && same_ports(&s->wishes[i], w) &&
			is_below(s->wishes[i].name, rule.name))
			add_name(o, &s->wishes[i], &count);
	if (!w->taken)
		add_name(o, w, &count);
	cJSON_AddNumberToObject(o, "count", (double)count);
	return o;
}

static int most_first(const void *a, const void *b)
{
	const struct wish *one = a, *other = b;

	if (one->count != other->count)
		return one->count < other->count ? 1 : -1;
	return strcmp(one->name, other->name);
}

cJSON *suggest_rules(struct suggest *s)
{
	cJSON *list = cJSON_CreateArray();

	settle_ports(s);
	qsort(s->wishes, s->n, sizeof(*s->wishes), most_first);
	for (size_t i = 0; i < s->n; i++)
		if (!s->wishes[i].taken)
			cJSON_AddItemToArray(list, suggest_one(s, &s->wishes[i]));
	return list;
}
