/* libnftables, and nothing else of the program sees it. Belongs to the wall process. */
#ifndef BERTH_POLICY_NFT_H
#define BERTH_POLICY_NFT_H

#include <stdint.h>

#include "err.h"
#include "wall_msg.h"

struct nft;

/* Opens its netlink socket in the network namespace that the process is in. NULL and err on
 * failure. */
struct nft *nft_new(struct err *err);
void nft_free(struct nft *n);
/* Runs the text as one transaction; returns when netlink has acknowledged. */
int nft_run(struct nft *n, const char *text, struct err *err);
/* The packets of the table's counters. */
int nft_count(struct nft *n, uint64_t ret[WALL_COUNTS], struct err *err);
/* What was refused since the last call, into ret's refusals, which are empty. Packets that come
 * during the call may be missing. */
int nft_refused(struct nft *n, struct wall_answer *ret, struct err *err);

#endif
