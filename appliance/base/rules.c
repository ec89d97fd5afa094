/* Egress rules: what an operator writes, checked, normalised, and matched. */
#include "rules.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define LABEL_MAX 63
#define NAME_MAX_LEN 253

static int refuse(struct err *err)
{
	return err_type(err, 400, "invalid-rule");
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* As browsers read it (WHATWG URL, "ends in a number"): then the whole is an IPv4 address or
 * nothing. */
static bool ends_in_number(const char *name)
{
	const char *last = strrchr(name, '.');

	last = last ? last + 1 : name;
	if (last[0] == '0' && last[1] == 'x')
		return strspn(last + 2, "0123456789abcdef") == strlen(last + 2);
	return strspn(last, "0123456789") == strlen(last);
}

static bool labels_valid(const char *name)
{
	for (const char *p = name;;) {
		size_t n = strcspn(p, ".");

		if (n == 0 || n > LABEL_MAX || p[0] == '-' || p[n - 1] == '-')
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

bool rule_normalise_name(const char *s, size_t n, char out[256])
{
	if (n > 0 && s[n - 1] == '.')
		n--;
	if (n == 0 || n > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < n; i++) {
		out[i] = lower(s[i]);
		if (!name_char(out[i]) && out[i] != '.')
			return false;
	}
	out[n] = 0;
	return labels_valid(out) && !ends_in_number(out);
}

static int bad_pasted_url(const char *text, struct err *err)
{
	const char *scheme = strstr(text, "://");
	const char *host = scheme ? scheme + 3 : text;
	int n = (int)strcspn(host, "/?#");

	if (!scheme && !strpbrk(text, "/?#@"))
		return 0;
	if (strchr(text, '@'))
		err_set(err, EINVAL, "'%.100s' has a user name in it: write only the host", text);
	else
		err_set(err, EINVAL, "'%.100s' is a URL: write only the host", text);
	if (scheme || !strchr(text, '@'))
		err_hint(err, "for example: %.*s", MIN(n, 200), host);
	return refuse(err);
}

/* Addresses in other ways of writing than four numbers. */
static int bad_address(const char *text, struct err *err)
{
	const char *colon = strchr(text, ':');
	struct in_addr a;
	char host[64];

	snprintf(host, sizeof(host), "%.*s", (int)(colon ? MIN(colon - text, 60) : 60), text);
	if (text[0] == '[' || (colon && strchr(colon + 1, ':'))) {
		err_set(err, EINVAL,
			"'%.100s' is an IPv6 address, and agents have no IPv6: only IPv4 leaves "
			"them",
			text);
		return refuse(err);
	}
	if (inet_aton(host, &a) == 0)
		return 0;
	err_set(err, EINVAL, "'%.100s' is an address, and is not written as four numbers", text);
	err_hint(err, "write %s:443/tcp, with the port that is meant", inet_ntoa(a));
	return refuse(err);
}

/* What is wrong with the characters of the whole text, before anything is taken apart. */
static int bad_characters(const char *text, struct err *err)
{
	if (!*text) {
		err_set(err, EINVAL, "the rule is empty");
		err_hint(
			err, "write a host such as example.com, *.example.com or example.com:8443");
		return refuse(err);
	}
	if (strlen(text) >= RULE_TEXT_MAX - strlen(RULE_DENY)) {
		err_set(err, EINVAL, "the rule is longer than %d characters",
			RULE_TEXT_MAX - 1 - (int)strlen(RULE_DENY));
		return refuse(err);
	}
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p >= 128) {
			err_set(err, EINVAL, "'%.100s' has characters outside ASCII", text);
			err_hint(err, "write it in punycode (xn--…); `idn2 NAME` prints it");
			return refuse(err);
		}
		if (*p <= 32 || *p == 127) {
			err_set(err, EINVAL,
				"the rule has white space or control characters in it");
			err_hint(err, "one rule, one host; give several rules one by one");
			return refuse(err);
		}
	}
	return 0;
}

static int bad_wildcard(const char *text, struct err *err)
{
	const char *star = strchr(text, '*');

	if (!star)
		return 0;
	if (star == text && (text[1] == 0 || text[1] == ':' || streq(text, "*."))) {
		err_set(err, EINVAL, "'%.40s' is every name there is", text);
		err_hint(err, "name the sites: example.com, *.example.com; what a task needs is "
			      "seen in mode "
			      "learn");
		return refuse(err);
	}
	if (star == text && text[1] == '.' && !strchr(text + 1, '*'))
		return 0;
	err_set(err, EINVAL,
		"'%.100s': '*' can only stand for whole labels in front, as in *.example.com",
		text);
	return refuse(err);
}

static int parse_port(const char *s, size_t n, struct rule *ret, struct err *err)
{
	char digits[8];
	uint64_t port;

	snprintf(digits, sizeof(digits), "%.*s", (int)MIN(n, sizeof(digits) - 1), s);
	if (n >= sizeof(digits) || !parse_u64(digits, 1, 65535, &port)) {
		err_set(err, EINVAL, "'%.*s' is not a port between 1 and 65535",
			(int)MIN(n, (size_t)40), s);
		err_hint(err, "write ports as example.com:443 or example.com:80,443");
		return refuse(err);
	}
	if (port == 53) {
		err_set(err, EINVAL,
			"port 53 cannot be allowed: all DNS goes to the agent's own resolver");
		return refuse(err);
	}
	for (size_t i = 0; i < ret->n_ports; i++)
		if (ret->ports[i] == port)
			return 0;
	if (ret->n_ports == RULE_PORTS_MAX) {
		err_set(err, EINVAL, "more than %d ports in one rule", RULE_PORTS_MAX);
		err_hint(err, "write a second rule for the others");
		return refuse(err);
	}
	ret->ports[ret->n_ports++] = (uint16_t)port;
	return 0;
}

static int compare_ports(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* s: what stands behind the colon, or NULL. */
static int parse_ports(const char *s, struct rule *ret, struct err *err)
{
	int r = 0;

	while (s && r == 0) {
		size_t n = strcspn(s, ",");

		r = parse_port(s, n, ret, err);
		s = s[n] ? s + n + 1 : NULL;
	}
	qsort(ret->ports, ret->n_ports, sizeof(ret->ports[0]), compare_ports);
	return r;
}

/* Why a text that is no name is none. */
static int explain_name(const char *s, struct err *err)
{
	size_t n = strlen(s),
	       odd = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");

	if (n == 0)
		err_set(err, EINVAL, "the rule has no host name");
	else if (s[odd] == '_')
		err_set(err, EINVAL, "'%.100s' has a '_' in it, which no host name has", s);
	else if (s[odd])
		err_set(err, EINVAL, "'%.100s' has a '%c' in it, which no host name has", s,
			s[odd]);
	else if (s[0] == '.' || strstr(s, ".."))
		err_set(err, EINVAL, "'%.100s' has an empty label between its dots", s);
	else if (n > NAME_MAX_LEN + 1)
		err_set(err, EINVAL, "the name is longer than %d characters", NAME_MAX_LEN);
	else
		err_set(err, EINVAL,
			"'%.100s' is not a host name: labels have 1 to %d letters, digits and '-', "
			"no '-' at their "
			"ends, and the last one is no number",
			s, LABEL_MAX);
	err_hint(err, "write a host such as example.com, *.example.com or example.com:8443");
	return refuse(err);
}

static int parse_preset(const char *text, const char *name, struct rule *ret, struct err *err)
{
	size_t n = strlen(name), good = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	ret->kind = RULE_PRESET;
	if (ret->deny || n == 0 || n > LABEL_MAX || good != n) {
		err_set(err, EINVAL,
			ret->deny ? "'%.100s': a preset allows, it cannot be denied"
				  : "'%.100s' is not the name of a preset",
			text);
		err_hint(err, "list them with: berth policy presets");
		return refuse(err);
	}
	memcpy(ret->name, name, n + 1);
	return 0;
}

/* "10.1.0.0/16" or "10.1.2.3", in front of a colon or the end: not a name that begins with digits.
 */
static bool is_network(const char *host)
{
	size_t n = strspn(host, "0123456789.");

	return n > 0 && (host[n] == '/' || (!host[n] && strchr(host, '.') && ends_in_number(host)));
}

/* An address alone, in four numbers. The other ways of writing one say that they are none. */
static int parse_network(const char *text, const char *host, struct rule *ret, struct err *err)
{
	struct ipv4_network address;

	ret->kind = RULE_NETWORK;
	if (ipv4_network_parse(host, strlen(host), &ret->net, err) < 0 ||
		ipv4_network_parse(host, strcspn(host, "/"), &address, err) < 0)
		return refuse(err);
	if (address.net != ret->net.net) {
		struct in_addr a = {htonl(ret->net.net)};

		err_set(err, EINVAL, "'%.100s' has bits beyond the length of its prefix", text);
		err_hint(err, "write %s/%d for the network, or the address alone", inet_ntoa(a),
			__builtin_popcount(ret->net.mask));
		return refuse(err);
	}
	if (ipv4_never_reached(&ret->net)) {
		err_set(err, EINVAL, "'%.100s' does nothing: no agent ever reaches that address",
			text);
		return refuse(err);
	}
	if (ret->deny || (ret->n_ports && ret->tcp))
		return 0;
	err_set(err, EINVAL, "'%.100s' is %s: it needs the ports that it opens, and '/tcp'", text,
		strchr(host, '/') ? "a network" : "an address");
	err_hint(err,
		"write %.40s:443/tcp, which opens that port without a look at names; or the name "
		"that "
		"this server has in DNS",
		host);
	return refuse(err);
}

static int parse_name(const char *host, struct rule *ret, struct err *err)
{
	const char *name;

	ret->kind = starts_with(host, "*.") ? RULE_BELOW : RULE_NAME;
	name = host + (ret->kind == RULE_BELOW ? 2 : 0);
	if (strchr(name, '_') || !rule_normalise_name(name, strlen(name), ret->name))
		return explain_name(name, err);
	if (ret->kind == RULE_NAME && !strchr(ret->name, '.')) {
		err_set(err, EINVAL,
			"'%.64s' is a single label, which no server outside has for a name",
			ret->name);
		err_hint(err, "write the full name, for example %.64s.example.com", ret->name);
		return refuse(err);
	}
	if (ret->tcp && !ret->deny && ret->n_ports == 0) {
		err_set(err, EINVAL, "'%.100s/tcp' needs the ports that it opens", host);
		err_hint(err, "for example: %.200s:22/tcp", host);
		return refuse(err);
	}
	if (ret->n_ports == 0 && !ret->deny) {
		ret->ports[0] = 80;
		ret->ports[1] = 443;
		ret->n_ports = 2;
	}
	return 0;
}

/* Takes "/tcp" off the end of text. */
static int take_protocol(char *text, struct rule *ret, struct err *err)
{
	char *slash = strrchr(text, '/');

	if (!slash || (!streq(slash, "/tcp") && !streq(slash, "/udp")))
		return 0;
	if (streq(slash, "/udp")) {
		err_set(err, EINVAL, "'%.100s': UDP never leaves an agent", text);
		return refuse(err);
	}
	ret->tcp = true;
	*slash = 0;
	return 0;
}

/* What an allowing or denying text says behind its verdict. */
static int parse_target(const char *text, struct rule *ret, struct err *err)
{
	char host[RULE_TEXT_MAX], *colon;
	int r = bad_characters(text, err);

	if (r < 0)
		return r;
	if (starts_with(text, "preset:"))
		return parse_preset(text, text + 7, ret, err);
	snprintf(host, sizeof(host), "%s", text);
	r = take_protocol(host, ret, err);
	if (r < 0)
		return r;
	colon = strchr(host, ':');
	if (colon && !strchr(colon + 1, ':'))
		*colon = 0;
	if (is_network(host)) {
		r = parse_ports(colon ? colon + 1 : NULL, ret, err);
		return r < 0 ? r : parse_network(text, host, ret, err);
	}
	if (colon)
		*colon = ':';
	if ((r = bad_pasted_url(host, err)) < 0 || (r = bad_address(host, err)) < 0 ||
		(r = bad_wildcard(host, err)) < 0)
		return r;
	if (colon)
		*colon = 0;
	r = parse_ports(colon ? colon + 1 : NULL, ret, err);
	return r < 0 ? r : parse_name(host, ret, err);
}

int rule_parse(const char *text, struct rule *ret, struct err *err)
{
	int r;

	*ret = (struct rule){.deny = starts_with(text, RULE_DENY)};
	r = parse_target(text + (ret->deny ? strlen(RULE_DENY) : 0), ret, err);
	/* What is denied is denied in every protocol. */
	ret->tcp = ret->tcp && !ret->deny;
	return r;
}

static bool is_web(const struct rule *r)
{
	return !r->deny && !r->tcp && r->n_ports == 2 && r->ports[0] == 80 && r->ports[1] == 443;
}

void rule_format(const struct rule *r, char *out)
{
	static const char *const front[] = {[RULE_NAME] = "",
		[RULE_BELOW] = "*.",
		[RULE_NETWORK] = "",
		[RULE_PRESET] = "preset:"};
	struct in_addr a = {htonl(r->net.net)};
	int n = snprintf(out, RULE_TEXT_MAX, "%s%s%s", r->deny ? RULE_DENY : "", front[r->kind],
		r->kind == RULE_NETWORK ? inet_ntoa(a) : r->name);

	if (r->kind == RULE_NETWORK && r->net.mask != ~0u)
		n += snprintf(out + n, (size_t)(RULE_TEXT_MAX - n), "/%d",
			__builtin_popcount(r->net.mask));
	for (size_t i = 0; i < r->n_ports && !is_web(r) && n < RULE_TEXT_MAX; i++)
		n += snprintf(out + n, (size_t)(RULE_TEXT_MAX - n), "%c%u", i ? ',' : ':',
			(unsigned)r->ports[i]);
	if (r->tcp && n < RULE_TEXT_MAX)
		snprintf(out + n, (size_t)(RULE_TEXT_MAX - n), "/tcp");
}

static bool has_port(const struct rule *r, uint16_t port)
{
	for (size_t i = 0; i < r->n_ports; i++)
		if (r->ports[i] == port)
			return true;
	return false;
}

static bool covers_ports(const struct rule *a, const struct rule *b)
{
	if (a->n_ports == 0 || b->n_ports == 0)
		return a->n_ports == 0;
	for (size_t i = 0; i < b->n_ports; i++)
		if (!has_port(a, b->ports[i]))
			return false;
	return true;
}

static bool is_below(const char *name, const char *of)
{
	size_t n = strlen(name), tail = strlen(of);

	return n > tail + 1 && name[n - tail - 1] == '.' && streq(name + n - tail, of);
}

static bool covers_target(const struct rule *a, const struct rule *b)
{
	if (a->kind == RULE_NETWORK || b->kind == RULE_NETWORK)
		return a->kind == b->kind && (a->net.mask & b->net.mask) == a->net.mask &&
		       (b->net.net & a->net.mask) == a->net.net;
	if (a->kind == RULE_BELOW && b->kind != RULE_PRESET && is_below(b->name, a->name))
		return true;
	return a->kind == b->kind && streq(a->name, b->name);
}

bool rule_covers(const struct rule *a, const struct rule *b)
{
	return covers_target(a, b) && covers_ports(a, b) && (a->deny || a->tcp || !b->tcp);
}
