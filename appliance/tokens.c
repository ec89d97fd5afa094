/* Tokens: made, kept as hashes, checked. The owner of libsodium in berthd. */
#include "tokens.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)
#define USED_NS (60 * SECOND_NS) /* how coarse last_used_at is */

void token_hash(const char *text, uint8_t out[STORE_HASH_LEN])
{
	crypto_generichash(out, STORE_HASH_LEN, (const unsigned char *)text, strlen(text), NULL, 0);
}

/* 256 random bits, 5 to a character; the last character carries one. */
static void make_text(char text[TOKEN_TEXT_MAX])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t raw[33] = {0};
	char *p = text + strlen(strcpy(text, "berth_"));

	random_bytes(raw, 32);
	for (size_t bit = 0; bit < 256; bit += 5)
		*p++ = digits[((raw[bit / 8] << 8 | raw[bit / 8 + 1]) >> (11 - bit % 8)) & 31];
	*p = 0;
	sodium_memzero(raw, sizeof(raw));
}

int token_create(struct store *s, struct token_record *t, int64_t ttl_s, char text[TOKEN_TEXT_MAX],
	struct err *err)
{
	make_text(text);
	token_hash(text, t->hash);
	make_id("tok_", t->id);
	t->created_at = realtime_ns();
	t->expires_at = ttl_s > 0 ? t->created_at + ttl_s * SECOND_NS : 0;
	t->last_used_at = 0;
	return store_token_add(s, t, err);
}

int token_check(struct store *s, const char *hash_hex, struct token_record *ret, struct err *err)
{
	uint8_t hash[STORE_HASH_LEN];
	int64_t now = realtime_ns();
	int r;

	if (!hex_decode(hash_hex, hash, sizeof(hash))) {
		err_set(err, EINVAL, "'hash' must be %d hex digits", TOKEN_HEX_LEN);
		return err_type(err, 400, "invalid-request");
	}
	r = store_token_find(s, hash, ret, err);
	if (r < 0)
		return r;
	if (r == 0) {
		err_set(err, EACCES, "this token is not known");
		err_hint(err, "it may have been revoked; berth token create makes a new one");
		return err_type(err, 401, "token-unknown");
	}
	if (ret->expires_at > 0 && ret->expires_at <= now) {
		err_set(err, EACCES, "this token has expired");
		err_hint(err, "berth token create makes a new one");
		return err_type(err, 401, "token-expired");
	}
	/* A full disk must not lock anybody out: the note of the use is worth less than the use. */
	if (now - ret->last_used_at >= USED_NS && store_token_used(s, ret->id, now, NULL) == 0)
		ret->last_used_at = now;
	return 0;
}

/* Both or neither; the file is there before the record is committed, so the text cannot be lost in
 * between. */
static int make_first(struct store *s, const char *state, struct err *err)
{
	struct token_record t = {.role = "admin", .label = "made at the first start"};
	AUTOFREE char *path = path_in(state, "run/first-token");
	char text[TOKEN_TEXT_MAX];
	int r = token_create(s, &t, 0, text, err);

	if (r == 0)
		r = store_meta_set(s, "first_token", t.id, err);
	if (r == 0) {
		text[strlen(text)] = '\n';
		r = file_write_atomic(path, text, strlen("berth_") + 53, 0600, err);
	}
	sodium_memzero(text, sizeof(text));
	return r;
}

int token_first(struct store *s, const char *state, bool *ret_made, struct err *err)
{
	AUTOFREE char *made = NULL;
	int r = store_meta_get(s, "first_token", &made, err);

	*ret_made = false;
	if (r < 0 || made)
		return r;
	r = store_begin(s, err);
	if (r == 0)
		r = make_first(s, state, err);
	if (r == 0)
		r = store_commit(s, err);
	if (r < 0)
		store_rollback(s);
	*ret_made = r == 0;
	return r;
}
