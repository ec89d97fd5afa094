/*
 * All the rules of one policy: what they say of a name or of an address.
 *
 * Theory of operation. A rule of names stands in a hash table under its name, one of networks under
 * its address and length; those with the same key are a chain in the order they were given. To
 * decide about a name, its suffixes are looked up, from the last label to the whole: one hash is
 * carried along from the end of the name to its front, so the work grows with the name and not with
 * the number of rules. An address is looked up once for each length that any network has. A denying
 * rule that fits decides; else the allowing one with the longest name or the narrowest network.
 */
#include "ruleset.h"
#include "json.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define HASH_START 0xcbf29ce484222325u

struct ruleset_rule {
	char *text;         /* of the rule itself, in its normal form */
	const char *source; /* what the operator wrote: text, or the preset's (its last rule's) */
	const char *name;   /* in text; "" of a network */
	size_t len;         /* of name */
	struct ipv4_network net;
	enum rule_kind kind;
	bool deny, tcp;
	uint8_t n_ports;
	uint32_t next; /* 1 + the next with the same key, 0 none */
	uint16_t ports[RULE_PORTS_MAX];
};

/* FNV-1a, over the bytes of a name from its end. */
static uint64_t hash_byte(uint64_t h, char c)
{
	return (h ^ (uint8_t)c) * 0x100000001b3u;
}

static uint64_t hash_network(uint32_t net, unsigned bits)
{
	return ((uint64_t)net << 8 | bits) * 0x9e3779b97f4a7c15u;
}

static size_t slot_of(const struct ruleset *rs, uint64_t hash)
{
	return (size_t)(hash ^ hash >> 29) & (rs->n_slots - 1);
}

static unsigned bits_of(const struct ipv4_network *n)
{
	return (unsigned)__builtin_popcount(n->mask);
}

static const struct ruleset_rule *at(const struct ruleset *rs, uint32_t place)
{
	return place ? &rs->list[place - 1] : NULL;
}

/* The first rule with that name, or NULL. */
static const struct ruleset_rule *find_name(
	const struct ruleset *rs, uint64_t hash, const char *name, size_t len)
{
	for (size_t i = slot_of(rs, hash); rs->slots[i]; i = (i + 1) & (rs->n_slots - 1)) {
		const struct ruleset_rule *r = at(rs, rs->slots[i]);

		if (r->kind != RULE_NETWORK && r->len == len && memcmp(r->name, name, len) == 0)
			return r;
	}
	return NULL;
}

static const struct ruleset_rule *find_network(
	const struct ruleset *rs, uint32_t net, unsigned bits)
{
	for (size_t i = slot_of(rs, hash_network(net, bits)); rs->slots[i];
		i = (i + 1) & (rs->n_slots - 1)) {
		const struct ruleset_rule *r = at(rs, rs->slots[i]);

		if (r->kind == RULE_NETWORK && r->net.net == net && bits_of(&r->net) == bits)
			return r;
	}
	return NULL;
}

static void put_in_slot(struct ruleset *rs, size_t place)
{
	struct ruleset_rule *r = &rs->list[place];
	const struct ruleset_rule *same;
	uint64_t hash = HASH_START;
	size_t i;

	for (size_t k = r->len; k > 0; k--)
		hash = hash_byte(hash, r->name[k - 1]);
	if (r->kind == RULE_NETWORK) {
		hash = hash_network(r->net.net, bits_of(&r->net));
		rs->widths |= UINT64_C(1) << bits_of(&r->net);
	}
	same = r->kind == RULE_NETWORK ? find_network(rs, r->net.net, bits_of(&r->net))
				       : find_name(rs, hash, r->name, r->len);
	if (same) { /* second in the chain: no walk to its end, which could be long */
		struct ruleset_rule *first = &rs->list[same - rs->list];

		r->next = first->next;
		first->next = (uint32_t)place + 1;
		return;
	}
	for (i = slot_of(rs, hash); rs->slots[i]; i = (i + 1) & (rs->n_slots - 1))
		;
	rs->slots[i] = (uint32_t)place + 1;
}

static void build_index(struct ruleset *rs)
{
	rs->n_slots = 16;
	while (rs->n_slots < 2 * rs->n)
		rs->n_slots *= 2;
	rs->slots = xcalloc(rs->n_slots, sizeof(*rs->slots));
	for (size_t i = 0; i < rs->n; i++)
		put_in_slot(rs, i);
}

static void free_list(struct ruleset_rule *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].text);
	free(list);
}

void ruleset_done(struct ruleset *rs)
{
	free_list(rs->list, rs->n);
	free(rs->slots);
	rs->list = NULL;
	rs->slots = NULL;
	rs->n = rs->n_slots = 0;
}

static void keep(struct ruleset *rs, const struct rule *r)
{
	struct ruleset_rule *out = &rs->list[rs->n++];
	char text[RULE_TEXT_MAX];
	const char *name = "";

	rule_format(r, text);
	*out = (struct ruleset_rule){.text = xstrdup(text),
		.net = r->net,
		.kind = r->kind,
		.deny = r->deny,
		.tcp = r->tcp,
		.n_ports = (uint8_t)r->n_ports};
	if (r->kind != RULE_NETWORK)
		name = strstr(out->text, r->name);
	out->source = out->text;
	out->name = name;
	out->len = strlen(r->name);
	memcpy(out->ports, r->ports, sizeof(out->ports));
}

static int too_many(struct err *err)
{
	err_set(err, E2BIG, "a policy has at most %d rules, those of its presets among them",
		RULES_MAX);
	return err_type(err, 409, "limit-reached");
}

/* The rules of a preset, each with the preset's own text as its source; that one stands behind
 * them and decides nothing by itself. */
static int add_preset(
	struct ruleset *rs, const struct rule *preset, const cJSON *texts, struct err *err)
{
	size_t first = rs->n;
	const cJSON *text;

	cJSON_ArrayForEach (text, texts) {
		struct rule r;

		if (!cJSON_IsString(text) || rule_parse(text->valuestring, &r, err) < 0 ||
			r.kind == RULE_PRESET || r.deny) {
			err_set(err, EINVAL, "preset '%.64s' has a rule that is none",
				preset->name);
			return err_type(err, 400, "invalid-rule");
		}
		if (rs->n + 1 >= RULES_MAX)
			return too_many(err);
		keep(rs, &r);
	}
	keep(rs, preset);
	for (size_t i = first; i < rs->n; i++)
		rs->list[i].source = rs->list[rs->n - 1].text;
	return 0;
}

static int read_rules(struct ruleset *rs, const cJSON *policy, struct err *err)
{
	const cJSON *text, *presets = json_get(policy, "presets");

	cJSON_ArrayForEach (text, json_get(policy, "rules")) {
		struct rule r;
		int code = rule_parse(cJSON_IsString(text) ? text->valuestring : "", &r, err);

		if (code == 0 && rs->n >= RULES_MAX)
			code = too_many(err);
		if (code == 0 && r.kind == RULE_PRESET)
			code = add_preset(rs, &r, json_get(presets, r.name), err);
		else if (code == 0)
			keep(rs, &r);
		if (code < 0)
			return code;
	}
	return 0;
}

static int check_networks(const struct ruleset *rs, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < rs->n; i++)
		if (rs->list[i].kind == RULE_NETWORK)
			n += MAX(rs->list[i].n_ports, (uint8_t)1);
	if (n <= RULESET_NETWORKS_MAX)
		return 0;
	err_set(err, E2BIG, "the networks of a policy have at most %d ports together",
		RULESET_NETWORKS_MAX);
	return err_type(err, 409, "limit-reached");
}

static int read_mode(struct ruleset *rs, const char *mode, struct err *err)
{
	rs->learn = streq(mode, "learn");
	if (rs->learn || streq(mode, "enforce"))
		return 0;
	err_set(err, EINVAL, "'mode' must be enforce or learn, not '%.16s'", mode);
	return err_type(err, 400, "invalid-request");
}

int ruleset_set(struct ruleset *rs, const cJSON *policy, struct err *err)
{
	struct ruleset next = {.generation = rs->generation + 1};
	int r = read_mode(&next, json_str(policy, "mode", "enforce"), err);

	if (r < 0)
		return r;
	next.list = xcalloc(RULES_MAX, sizeof(*next.list));
	r = read_rules(&next, policy, err);
	if (r == 0)
		r = check_networks(&next, err);
	if (r < 0) {
		ruleset_done(&next);
		return r;
	}
	next.list = xrealloc(next.list, MAX(next.n, (size_t)1) * sizeof(*next.list));
	build_index(&next);
	ruleset_done(rs);
	*rs = next;
	return 0;
}

static bool fits_port(const struct ruleset_rule *r, uint16_t port)
{
	if (port == RULESET_ANY_PORT)
		return !r->deny || r->n_ports == 0;
	if (r->n_ports == 0)
		return r->deny;
	for (size_t i = 0; i < r->n_ports; i++)
		if (r->ports[i] == port)
			return true;
	return false;
}

/*
 * Goes through a chain whose rules say more than those before. Allowing rules add up: what one of
 * them opens to any protocol, another does not close.
 */
static void weigh(const struct ruleset *rs, const struct ruleset_rule *r, enum rule_kind kind,
	uint16_t port, struct ruleset_decision *d)
{
	bool more = true;

	for (; r && d->verdict != RULESET_DENY; r = at(rs, r->next)) {
		if (r->kind != kind || !fits_port(r, port))
			continue;
		if (r->deny) {
			*d = (struct ruleset_decision){
				RULESET_DENY, r->source, false, kind == RULE_BELOW};
		} else if (r->tcp > d->tcp || (more && r->tcp == d->tcp)) {
			*d = (struct ruleset_decision){
				RULESET_ALLOW, r->source, r->tcp, kind == RULE_BELOW};
			more = false;
		}
	}
}

struct ruleset_decision ruleset_name(const struct ruleset *rs, const char *name, uint16_t port)
{
	struct ruleset_decision d = {RULESET_NONE, "", false, true};
	size_t len = strlen(name);
	uint64_t hash = HASH_START;

	for (size_t i = len; i > 0 && rs->n > 0; i--) {
		hash = hash_byte(hash, name[i - 1]);
		if (i == 1)
			weigh(rs, find_name(rs, hash, name, len), RULE_NAME, port, &d);
		else if (name[i - 2] == '.')
			weigh(rs, find_name(rs, hash, name + i - 1, len - i + 1), RULE_BELOW, port,
				&d);
	}
	if (d.verdict == RULESET_NONE && rs->learn && strchr(name, '.'))
		d.verdict = RULESET_LEARN;
	return d;
}

struct ruleset_decision ruleset_addr(const struct ruleset *rs, uint32_t addr, uint16_t port)
{
	struct ruleset_decision d = {RULESET_NONE, "", false, false};

	for (unsigned bits = 0; bits <= 32; bits++) {
		uint32_t mask = bits ? ~0u << (32 - bits) : 0;

		if (rs->widths >> bits & 1)
			weigh(rs, find_network(rs, ntohl(addr) & mask, bits), RULE_NETWORK, port,
				&d);
	}
	return d;
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

static size_t add_chain(const struct ruleset *rs, const struct ruleset_rule *r, enum rule_kind kind,
	const char *name, uint16_t *ret, size_t n)
{
	for (; r; r = at(rs, r->next)) {
		for (size_t k = 0; k < r->n_ports && r->kind == kind && !r->deny; k++) {
			struct ruleset_decision d = ruleset_name(rs, name, r->ports[k]);

			if (ruleset_allows(&d))
				n = add_port(ret, n, r->ports[k]);
		}
	}
	return n;
}

size_t ruleset_ports(const struct ruleset *rs, const char *name, uint16_t ret[RULESET_PORTS_MAX])
{
	size_t len = strlen(name), n = 0;
	struct ruleset_decision any = ruleset_name(rs, name, RULESET_ANY_PORT);
	uint64_t hash = HASH_START;

	if (!ruleset_allows(&any))
		return 0;
	if (rs->learn) {
		ret[0] = RULESET_ANY_PORT;
		return 1;
	}
	for (size_t i = len; i > 0; i--) {
		hash = hash_byte(hash, name[i - 1]);
		if (i == 1)
			n = add_chain(rs, find_name(rs, hash, name, len), RULE_NAME, name, ret, n);
		else if (name[i - 2] == '.')
			n = add_chain(rs, find_name(rs, hash, name + i - 1, len - i + 1),
				RULE_BELOW, name, ret, n);
	}
	return n;
}

/* A wider network that is allowed, or an earlier one like it, has the port too. */
static bool is_covered(const struct ruleset *rs, const struct ruleset_rule *r, uint16_t port)
{
	for (unsigned bits = 0; bits <= bits_of(&r->net); bits++) {
		uint32_t mask = bits ? ~0u << (32 - bits) : 0;
		const struct ruleset_rule *o;

		if (!(rs->widths >> bits & 1))
			continue;
		for (o = find_network(rs, r->net.net & mask, bits); o; o = at(rs, o->next))
			if (!o->deny && fits_port(o, port) && (bits < bits_of(&r->net) || o < r))
				return true;
	}
	return false;
}

void ruleset_networks(const struct ruleset *rs,
	void (*fn)(void *data, const struct ipv4_network *net, uint16_t port), void *data)
{
	for (size_t i = 0; i < rs->n; i++) {
		const struct ruleset_rule *r = &rs->list[i];

		for (size_t k = 0; k < r->n_ports && r->kind == RULE_NETWORK && !r->deny; k++)
			if (!is_covered(rs, r, r->ports[k]))
				fn(data, &r->net, r->ports[k]);
	}
}

/* The first of a chain that covers r and is not r itself. */
static const struct ruleset_rule *cover_in(const struct ruleset *rs, const struct ruleset_rule *at_,
	const struct rule *r, const char *text, bool deny)
{
	for (; at_; at_ = at(rs, at_->next)) {
		struct rule one;

		if (at_->deny == deny && (at_->source != at_->text || !streq(at_->text, text)) &&
			rule_parse(at_->text, &one, NULL) == 0 && rule_covers(&one, r))
			return at_;
	}
	return NULL;
}

static const struct ruleset_rule *find_cover(
	const struct ruleset *rs, const struct rule *r, const char *text, bool deny)
{
	size_t len = strlen(r->name);
	const struct ruleset_rule *found = NULL;
	uint64_t hash = HASH_START;

	for (unsigned bits = 0; bits <= bits_of(&r->net) && r->kind == RULE_NETWORK && !found;
		bits++)
		if (rs->widths >> bits & 1)
			found = cover_in(rs,
				find_network(
					rs, r->net.net & (bits ? ~0u << (32 - bits) : 0), bits),
				r, text, deny);
	for (size_t i = len; i > 0 && !found; i--) {
		hash = hash_byte(hash, r->name[i - 1]);
		if (i == 1 || r->name[i - 2] == '.')
			found = cover_in(rs, find_name(rs, hash, r->name + i - 1, len - i + 1), r,
				text, deny);
	}
	return found;
}

const char *ruleset_cover(const struct ruleset *rs, const struct rule *r, bool *ret_denies)
{
	char text[RULE_TEXT_MAX];
	const struct ruleset_rule *found;

	if (rs->n == 0 || r->kind == RULE_PRESET)
		return "";
	rule_format(r, text);
	found = find_cover(rs, r, text, true);
	*ret_denies = found != NULL;
	if (!found && !r->deny)
		found = find_cover(rs, r, text, false);
	return found ? found->source : "";
}

const char *ruleset_odd_name(const char *name)
{
	unsigned labels = 1;

	for (const char *p = name; *p; p++)
		labels += *p == '.';
	if (strlen(name) > RULESET_BELOW_LEN_MAX)
		return "a name that is too long";
	if (labels > RULESET_BELOW_LABELS_MAX)
		return "a name of too many labels";
	return NULL;
}
