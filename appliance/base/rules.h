/* Egress rules: what an operator writes, checked, normalised, and matched. */
#ifndef BERTH_BASE_RULES_H
#define BERTH_BASE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define RULES_MAX 256
#define RULE_PORTS_MAX 16
#define RULE_TEXT_MAX 320
/* Names the appliance itself answers: the start page (docs/internals.md, "Services"). */
#define RULE_SERVICE_START "start.berth.internal"

/*
 * One rule: `name`, `*.name` (any name below, not name itself), each with optional `:port[,port…]`;
 * without ports, 80 and 443. Names are ASCII, compared label by label, lower case, without the
 * trailing dot.
 */
struct rule {
	char name[256]; /* without "*." */
	bool wildcard;
	uint16_t ports[RULE_PORTS_MAX];
	size_t n_ports;
};

/* 0, or 400 invalid-rule saying which part is wrong and what would be right. */
int rule_parse(const char *text, struct rule *ret, struct err *err);
/* The normal form, in which equal rules are equal texts. out has RULE_TEXT_MAX bytes. */
void rule_format(const struct rule *r, char *out);
/* A host name as it came from outside (n bytes) into its normal form; false if it is not a name. */
bool rule_normalise_name(const char *s, size_t n, char out[256]);
/* name is normal; port 0 matches any port of the rule. */
bool rule_matches(const struct rule *r, const char *name, uint16_t port);

#endif
