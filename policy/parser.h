/* The parser: the process that reads what guests send, and holds no right at all. */
#ifndef BERTH_POLICY_PARSER_H
#define BERTH_POLICY_PARSER_H

#include "err.h"
#include "pin_addr.h"

struct parser_config {
	const char *agent;                    /* its name */
	int control;                          /* listening unix socket, taken */
	int wall;                             /* the channel to the wall, taken */
	struct pin_networks private_networks; /* that the operator allows */
};

/* Gives up all rights, waits for the wall and serves until it ends. Returns only with an error. */
int parser_run(const struct parser_config *config, struct err *err);

#endif
