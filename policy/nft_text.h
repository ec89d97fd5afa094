/* The text that libnftables gets: made from numbers only, by pure functions. */
#ifndef BERTH_POLICY_NFT_TEXT_H
#define BERTH_POLICY_NFT_TEXT_H

#include "bytes.h"
#include "wall_msg.h"

#define NFT_TEXT_MAX (1u << 18) /* the longest: WALL_NETS_MAX networks */

/* The whole table, replacing one that is there, in one transaction; no pin is in it. */
void nft_text_base(struct buf *out);
/* One request (WALL_PIN, WALL_UNPIN, WALL_FLUSH) as commands; -EINVAL for anything a wall must not
 * do. */
int nft_text_request(struct buf *out, const struct wall_request *r);
/* Is it a WALL_NET that a wall may open? */
bool nft_text_network_valid(const struct wall_request *r);
/* The networks (valid, none within another at the same port) in place of the last, in one
 * transaction. */
void nft_text_networks(struct buf *out, const struct wall_request *list, size_t n);
/* The counter of that name (enum wall_count), or -1; and the name of one. */
int nft_text_count(const char *name);
const char *nft_text_count_name(int count);
/* What may be listed, and its command. */
enum nft_list { NFT_COUNTERS, NFT_REFUSED, NFT_REFUSED_OTHERS };
extern const char *const nft_text_lists[];
/* Empties the sets of what was refused. */
extern const char nft_text_forget_refused[];

#endif
