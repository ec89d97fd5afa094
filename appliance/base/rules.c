/* Egress rules: what an operator writes, checked, normalised, and matched. */
#include "rules.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define LABEL_MAX 63
#define NAME_MAX_LEN 253

/*
 * Names below which anybody can have a name of his own: `*.` in front of one would open more than
 * it says. Not the public suffix list, only its best-known private entries; country codes' second
 * levels are found by second_level_words.
 */
static const char *const shared_suffixes[] = {"amazonaws.com", "appspot.com", "azurewebsites.net",
	"blob.core.windows.net", "blogspot.com", "cloudfront.net", "duckdns.org", "firebaseapp.com",
	"fly.dev", "github.io", "gitlab.io", "herokuapp.com", "netlify.app", "ngrok.io",
	"ngrok-free.app", "onrender.com", "pages.dev", "s3.amazonaws.com", "surge.sh",
	"trycloudflare.com", "vercel.app", "web.app", "workers.dev"};
static const char *const second_level_words[] = {"ac", "co", "com", "edu", "gob", "gov", "govt",
	"go", "gouv", "gub", "ltd", "mil", "ne", "net", "nom", "or", "org", "plc", "sch"};

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
	if (!scheme && strspn(text, "0123456789./") == strlen(text))
		err_set(err, EINVAL, "'%.100s' is a network: a rule allows names, not addresses",
			text);
	else if (strchr(text, '@'))
		err_set(err, EINVAL, "'%.100s' has a user name in it: write only the host", text);
	else
		err_set(err, EINVAL, "'%.100s' is a URL: write only the host", text);
	if (scheme || !strchr(text, '@'))
		err_hint(err, "for example: %.*s", MIN(n, 200), host);
	return refuse(err);
}

static bool is_ipv4(const char *s)
{
	struct in_addr a;

	return inet_aton(s, &a) != 0;
}

static int bad_address(const char *text, struct err *err)
{
	const char *colon = strchr(text, ':');
	char host[64];

	snprintf(host, sizeof(host), "%.*s", (int)(colon ? MIN(colon - text, 60) : 60), text);
	if (text[0] != '[' && !(colon && strchr(colon + 1, ':')) && !is_ipv4(host))
		return 0;
	err_set(err, EINVAL,
		"'%.100s' is an address: only names can be allowed, because the name is what is "
		"checked on every "
		"connection",
		text);
	err_hint(err, "write the name that this server has in DNS");
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
	if (strlen(text) >= RULE_TEXT_MAX) {
		err_set(err, EINVAL, "the rule is longer than %d characters", RULE_TEXT_MAX - 1);
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
		err_set(err, EINVAL, "'%.40s' would allow every name there is", text);
		err_hint(err, "name the sites: example.com, *.example.com");
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

	if (!s) {
		ret->ports[0] = 80;
		ret->ports[1] = 443;
		ret->n_ports = 2;
		return 0;
	}
	for (;;) {
		size_t n = strcspn(s, ",");

		r = parse_port(s, n, ret, err);
		if (r < 0 || !s[n])
			break;
		s += n + 1;
	}
	qsort(ret->ports, ret->n_ports, sizeof(ret->ports[0]), compare_ports);
	return r;
}

static bool is_shared_suffix(const char *name)
{
	const char *dot = strchr(name, '.');

	for (size_t i = 0; i < ARRAY_SIZE(shared_suffixes); i++)
		if (streq(name, shared_suffixes[i]))
			return true;
	if (!dot || strchr(dot + 1, '.') || strlen(dot + 1) != 2)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(second_level_words); i++)
		if (strlen(second_level_words[i]) == (size_t)(dot - name) &&
			strncmp(name, second_level_words[i], (size_t)(dot - name)) == 0)
			return true;
	return false;
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

static int check_breadth(const struct rule *r, struct err *err)
{
	if (!strchr(r->name, '.')) {
		if (r->wildcard)
			err_set(err, EINVAL, "'*.%.64s' would allow a whole top-level domain",
				r->name);
		else
			err_set(err, EINVAL,
				"'%.64s' is a single label, which no server outside has for a name",
				r->name);
		err_hint(err, "write the full name, for example %.64s.example.com or example.%.64s",
			r->name, r->name);
		return refuse(err);
	}
	if (r->wildcard && is_shared_suffix(r->name)) {
		err_set(err, EINVAL,
			"'*.%.200s' would allow names that anybody can register, not those of one "
			"owner",
			r->name);
		err_hint(err, "name the site itself, for example example.%.200s", r->name);
		return refuse(err);
	}
	return 0;
}

int rule_parse(const char *text, struct rule *ret, struct err *err)
{
	char host[RULE_TEXT_MAX];
	const char *colon, *name;
	int r;

	*ret = (struct rule){0};
	if ((r = bad_characters(text, err)) < 0 || (r = bad_pasted_url(text, err)) < 0 ||
		(r = bad_address(text, err)) < 0 || (r = bad_wildcard(text, err)) < 0)
		return r;
	colon = strchr(text, ':');
	snprintf(host, sizeof(host), "%.*s", (int)(colon ? colon - text : (int)strlen(text)), text);
	ret->wildcard = starts_with(host, "*.");
	name = host + (ret->wildcard ? 2 : 0);
	if (strchr(name, '_') || !rule_normalise_name(name, strlen(name), ret->name))
		return explain_name(name, err);
	r = parse_ports(colon ? colon + 1 : NULL, ret, err);
	return r < 0 ? r : check_breadth(ret, err);
}

void rule_format(const struct rule *r, char *out)
{
	int n = snprintf(out, RULE_TEXT_MAX, "%s%s", r->wildcard ? "*." : "", r->name);

	if (r->n_ports == 2 && r->ports[0] == 80 && r->ports[1] == 443)
		return;
	for (size_t i = 0; i < r->n_ports && n < RULE_TEXT_MAX; i++)
		n += snprintf(out + n, (size_t)(RULE_TEXT_MAX - n), "%c%u", i ? ',' : ':',
			(unsigned)r->ports[i]);
}

static bool name_matches(const struct rule *r, const char *name)
{
	size_t n = strlen(name), tail = strlen(r->name);

	if (!r->wildcard)
		return streq(name, r->name);
	return n > tail + 1 && name[n - tail - 1] == '.' && streq(name + n - tail, r->name);
}

bool rule_matches(const struct rule *r, const char *name, uint16_t port)
{
	if (!name_matches(r, name))
		return false;
	for (size_t i = 0; i < r->n_ports; i++)
		if (port == 0 || r->ports[i] == port)
			return true;
	return false;
}
