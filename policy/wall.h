/* The wall: the process that owns the agent's nftables rules, and does nothing else. */
#ifndef BERTH_POLICY_WALL_H
#define BERTH_POLICY_WALL_H

#include "err.h"

/*
 * Enters the network namespace, puts the rules in force, opens the listeners, gives up every right
 * but CAP_NET_ADMIN, hands the listeners over and answers the parser until it ends. Returns only
 * with an error (the parser's end is -EPIPE). Both descriptors are taken.
 */
int wall_run(int netns, int parser, struct err *err);

#endif
