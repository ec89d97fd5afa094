/* What would become of a connection: the way of policy/resolver.c and policy/conn.c, told. */
#include "why.h"
#include "ruleset.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define PORT_DEFAULT 443

/* The question and the answer as it grows. */
struct why {
	struct ruleset rules;
	const char *agent, *used_up;
	char host[256];
	bool is_addr;
	uint32_t addr; /* network byte order */
	uint16_t port;
	cJSON *answer, *steps;
};

__attribute__((format(printf, 4, 5))) static void step(
	struct why *w, const char *name, bool ok, const char *fmt, ...)
{
	cJSON *o = cJSON_CreateObject();
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cJSON_AddStringToObject(o, "step", name);
	cJSON_AddBoolToObject(o, "ok", ok);
	cJSON_AddStringToObject(o, "detail", text);
	cJSON_AddItemToArray(w->steps, o);
}

static void add_or_null(cJSON *o, const char *name, const char *text)
{
	if (text && text[0])
		cJSON_AddStringToObject(o, name, text);
	else
		cJSON_AddNullToObject(o, name);
}

/* The end: what becomes of it, by which rule, and what would change that. Whatever the rules let
 * through, nothing goes out when a number of bytes is used up. */
static void conclude(
	struct why *w, const char *verdict, const struct ruleset_decision *d, const char *command)
{
	char lift[160];

	if (w->used_up[0] && !streq(verdict, "deny")) {
		step(w, "limit", false, "%s is used up: nothing goes out", w->used_up);
		snprintf(lift, sizeof(lift), "berth policy %s limit %s=none", w->agent, w->used_up);
		verdict = "deny";
		command = lift;
	}
	cJSON_AddStringToObject(w->answer, "verdict", verdict);
	add_or_null(w->answer, "rule", d->rule);
	cJSON_AddItemToObject(w->answer, "steps", w->steps);
	add_or_null(w->answer, "command", command);
}

static void deny(struct why *w, const struct ruleset_decision *d)
{
	char command[700], port[8] = "";

	if (w->is_addr || (w->port != 80 && w->port != 443))
		snprintf(port, sizeof(port), ":%u", (unsigned)w->port);
	if (d->verdict == RULESET_DENY)
		snprintf(
			command, sizeof(command), "berth policy %s remove '%s'", w->agent, d->rule);
	else
		snprintf(command, sizeof(command), "berth policy %s allow %s%s%s", w->agent,
			w->host, port, w->is_addr ? "/tcp" : "");
	conclude(w, "deny", d, command);
}

static void explain_addr(struct why *w)
{
	const struct ipv4_network one = {ntohl(w->addr), ~0u};
	struct ruleset_decision d = ruleset_addr(&w->rules, w->addr, w->port);

	if (ipv4_never_reached(&one)) {
		step(w, "address", false, "no agent ever reaches it, whatever its rules say");
		conclude(w, "deny", &(struct ruleset_decision){.rule = ""}, NULL);
	} else if (d.verdict == RULESET_DENY) {
		step(w, "address", false, "'%s' denies it", d.rule);
		deny(w, &d);
	} else if (d.verdict == RULESET_ALLOW) {
		step(w, "address", true,
			"'%s' opens it: any protocol passes, and the relay dials this very "
			"address, "
			"unless it is the host's own",
			d.rule);
		conclude(w, "allow", &d, NULL);
	} else {
		step(w, "address", false,
			"no rule opens a network that it is in: it is reached only by a name that "
			"a "
			"rule allows, and that was resolved to it");
		deny(w, &d);
	}
}

/* What the resolver does. False: it ends there. */
static bool explain_dns(struct why *w)
{
	struct ruleset_decision d = ruleset_name(&w->rules, w->host, RULESET_ANY_PORT);
	const char *odd = d.below ? ruleset_odd_name(w->host) : NULL;

	if (d.verdict == RULESET_DENY) {
		step(w, "dns", false, "the question is answered NXDOMAIN: '%s' denies this name",
			d.rule);
	} else if (d.verdict == RULESET_NONE) {
		step(w, "dns", false,
			"the question is answered NXDOMAIN and not asked upstream: no rule allows "
			"this "
			"name");
	} else if (odd) {
		step(w, "dns", false, "the question is answered NXDOMAIN: %s for a wildcard", odd);
		d.verdict = RULESET_NONE;
	} else {
		step(w, "dns", true,
			"the name is asked of the name servers (%s%s%s); private and special "
			"addresses are removed from the answer",
			d.verdict == RULESET_LEARN ? "mode learn" : "'", d.rule,
			d.verdict == RULESET_LEARN ? "" : "' allows it");
		return true;
	}
	deny(w, &d);
	return false;
}

static void list_ports(const struct why *w, char *out, size_t n)
{
	uint16_t ports[RULESET_PORTS_MAX];
	size_t n_ports = ruleset_ports(&w->rules, w->host, ports), len = 0;

	out[0] = 0;
	for (size_t i = 0; i < n_ports && len + 8 < n; i++)
		len += (size_t)snprintf(out + len, n - len, "%s%u", i ? ", " : "", ports[i]);
}

static void explain_name(struct why *w)
{
	struct ruleset_decision d;
	char ports[200];

	if (!explain_dns(w))
		return;
	d = ruleset_name(&w->rules, w->host, w->port);
	if (!ruleset_allows(&d)) {
		list_ports(w, ports, sizeof(ports));
		if (d.verdict == RULESET_DENY)
			step(w, "port", false, "'%s' denies port %u", d.rule, w->port);
		else
			step(w, "port", false,
				"its addresses are not opened at port %u, only at: %s", w->port,
				ports[0] ? ports : "none");
		deny(w, &d);
		return;
	}
	step(w, "port", true,
		"its addresses are opened at port %u for as long as the answer is good", w->port);
	if (d.tcp)
		step(w, "name", true, "nobody looks for a name: '%s' lets any protocol pass",
			d.rule);
	else if (d.verdict == RULESET_LEARN)
		step(w, "name", true,
			"TLS and HTTP must say this name; what is neither passes, because the "
			"policy "
			"learns");
	else
		step(w, "name", true,
			"the guest must say this name, in the SNI of TLS or the Host of each HTTP "
			"request; any other protocol is closed");
	step(w, "dial", true, "the relay resolves the name by itself and dials what it gets");
	conclude(w, d.verdict == RULESET_LEARN ? "learn" : "allow", &d, NULL);
}

static int read_target(struct why *w, const char *target, struct err *err)
{
	const char *colon = strchr(target, ':');
	char host[300];
	uint64_t port = PORT_DEFAULT;
	struct in_addr a;

	snprintf(host, sizeof(host), "%.*s", (int)(colon ? colon - target : 290), target);
	if (colon && !parse_u64(colon + 1, 1, 65535, &port))
		goto wrong;
	w->port = (uint16_t)port;
	if (inet_pton(AF_INET, host, &a) == 1) {
		w->is_addr = true;
		w->addr = a.s_addr;
		snprintf(w->host, sizeof(w->host), "%.200s", host);
		return 0;
	}
	if (rule_normalise_name(host, strlen(host), w->host))
		return 0;
wrong:
	err_set(err, EINVAL, "'%.100s' is not a host, or a host and a port", target);
	err_hint(err, "write it as example.com, example.com:8443 or 203.0.113.7:22");
	return err_type(err, 400, "invalid-request");
}

cJSON *why_explain(const cJSON *policy, const char *agent, const char *used_up, const char *target,
	struct err *err)
{
	struct why w = {.agent = agent, .used_up = used_up};

	if (read_target(&w, target, err) < 0 || ruleset_set(&w.rules, policy, err) < 0)
		return NULL;
	w.answer = cJSON_CreateObject();
	w.steps = cJSON_CreateArray();
	cJSON_AddStringToObject(w.answer, "host", w.host);
	cJSON_AddNumberToObject(w.answer, "port", w.port);
	if (w.is_addr)
		explain_addr(&w);
	else
		explain_name(&w);
	ruleset_done(&w.rules);
	return w.answer;
}
