/* Tokens: made, kept as hashes, checked. */
#ifndef BERTH_TOKENS_H
#define BERTH_TOKENS_H

#include "store.h"

#define TOKEN_TEXT_MAX 64 /* `berth_` and 52 characters of base32: 256 bits */
#define TOKEN_HEX_LEN 64  /* the hash as hex digits */
#define TOKEN_TTL_MAX (INT64_C(10) * 365 * 86400)

/* BLAKE2b-256 of the token's text. */
void token_hash(const char *text, uint8_t out[STORE_HASH_LEN]);
/*
 * Makes a token. role and label are set in t, agent (an id) too where it is for one; ttl_s 0:
 * without an end. Fills the rest of t and text, which is nowhere kept.
 */
int token_create(struct store *s, struct token_record *t, int64_t ttl_s, char text[TOKEN_TEXT_MAX],
	struct err *err);
/* Who has the token with this hash (hex). 401 token-unknown, token-expired. Notes its use, to the
 * minute. */
int token_check(struct store *s, const char *hash_hex, struct token_record *ret, struct err *err);
/*
 * At the very first start: makes the admin token and puts its text into STATE/run/first-token
 * (0600). Killed at any point, it is made again, or is there already. *ret_made: this was the first
 * start.
 */
int token_first(struct store *s, const char *state, bool *ret_made, struct err *err);

#endif
