/* The text that libnftables gets: made from numbers only, by pure functions. */
#ifndef BERTH_POLICY_NFT_TEXT_H
#define BERTH_POLICY_NFT_TEXT_H

#include "bytes.h"
#include "wall_msg.h"

#define NFT_TEXT_MAX 65536

/* The whole table, replacing one that is there, in one transaction; no pin is in it. */
void nft_text_base(struct buf *out);
/* One request (WALL_PIN, WALL_UNPIN, WALL_FLUSH) as commands; -EINVAL for anything a wall must not
 * do. */
int nft_text_request(struct buf *out, const struct wall_request *r);
/* Lists the counters of refused packets, as JSON. */
void nft_text_counters(struct buf *out);

#endif
