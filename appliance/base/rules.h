/* Egress rules: what an operator writes, checked, normalised, and matched. */
#ifndef BERTH_BASE_RULES_H
#define BERTH_BASE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "ipv4.h"

#define RULES_MAX 10000
#define RULE_PORTS_MAX 16
#define RULE_TEXT_MAX 360
#define RULE_DENY "deny " /* in front of a rule's text */
/* Names the appliance itself answers: the start page (docs/internals.md, "Services"). */
#define RULE_SERVICE_START "start.berth.internal"

enum rule_kind {
	RULE_NAME,    /* name */
	RULE_BELOW,   /* *.name: any name below, not name itself */
	RULE_NETWORK, /* 10.1.0.0/16, or one address */
	RULE_PRESET,  /* preset:name: the rules of a file */
};

/*
 * One rule: `name`, `*.name`, each with optional `:port[,port…]` (without: 80 and 443) and optional
 * `/tcp` (then with ports; any protocol, no name is looked for); `network:port[,port…]/tcp`; or
 * `preset:name`. With `deny ` in front it refuses what it names, above every rule that allows, and
 * without ports at every port. Names are ASCII, compared label by label, lower case, without the
 * trailing dot.
 */
struct rule {
	enum rule_kind kind;
	bool deny, tcp;
	char name[256]; /* without "*.", "preset:"; "" of a network */
	struct ipv4_network net;
	uint16_t ports[RULE_PORTS_MAX];
	size_t n_ports; /* 0: every port (deny), or a preset */
};

/* 0, or 400 invalid-rule saying which part is wrong and what would be right. */
int rule_parse(const char *text, struct rule *ret, struct err *err);
/* The normal form, in which equal rules are equal texts. out has RULE_TEXT_MAX bytes. */
void rule_format(const struct rule *r, char *out);
/* A host name as it came from outside (n bytes) into its normal form; false if it is not a name. */
bool rule_normalise_name(const char *s, size_t n, char out[256]);
/* All that b names, a names too, whatever each says about it. Presets cover nothing but themselves.
 */
bool rule_covers(const struct rule *a, const struct rule *b);

#endif
