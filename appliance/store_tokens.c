/* Tokens in the database: never the token, only its hash. */
#include "store_sql.h"
#include "util.h"

#include <errno.h>

static int room_for_token(struct store *s, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, "SELECT COUNT(*) FROM tokens", "");
	int r = st ? sql_step(s, st, err) : -EIO;

	if (r < 0 || sqlite3_column_int64(st, 0) < STORE_TOKENS_MAX)
		return r < 0 ? r : 0;
	err_set(err, ENOSPC, "there are %d tokens already, which is the most", STORE_TOKENS_MAX);
	err_hint(err, "revoke some of them");
	return err_type(err, 409, "limit-reached");
}

int store_token_add(struct store *s, const struct token_record *t, struct err *err)
{
	int r = sql_run(s, err, "DELETE FROM tokens WHERE expires_at > 0 AND expires_at < ?", "i",
		t->created_at - 86400 * INT64_C(1000000000));

	if (r >= 0)
		r = room_for_token(s, err);
	if (r == 0)
		r = sql_run(s, err,
			"INSERT INTO tokens (id, hash, role, agent, label, created_at, expires_at, "
			"last_used_at)"
			" VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			"shsssiii", t->id, t->hash, t->role, t->agent[0] ? t->agent : NULL,
			t->label, t->created_at, t->expires_at, t->last_used_at);
	return r < 0 ? r : 0;
}

#define TOKEN_QUERY                                                                   \
	"SELECT t.id, t.role, t.agent, a.name, t.label, t.created_at, t.expires_at, " \
	"t.last_used_at FROM tokens t"                                                \
	" LEFT JOIN agents a ON a.id = t.agent"

static void read_token(sqlite3_stmt *st, struct token_record *t)
{
	sql_copy(st, 0, t->id, sizeof(t->id));
	sql_copy(st, 1, t->role, sizeof(t->role));
	sql_copy(st, 2, t->agent, sizeof(t->agent));
	sql_copy(st, 3, t->agent_name, sizeof(t->agent_name));
	sql_copy(st, 4, t->label, sizeof(t->label));
	t->created_at = sqlite3_column_int64(st, 5);
	t->expires_at = sqlite3_column_int64(st, 6);
	t->last_used_at = sqlite3_column_int64(st, 7);
}

int store_token_find(struct store *s, const uint8_t hash[STORE_HASH_LEN], struct token_record *ret,
	struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, TOKEN_QUERY " WHERE t.hash = ?", "h", hash);
	int r = st ? sql_step(s, st, err) : -EIO;

	*ret = (struct token_record){0};
	if (r == 1)
		read_token(st, ret);
	return r;
}

int store_token_used(struct store *s, const char *id, int64_t when, struct err *err)
{
	int r = sql_run(s, err, "UPDATE tokens SET last_used_at = ? WHERE id = ?", "is", when, id);

	return r < 0 ? r : 0;
}

int store_token_remove(struct store *s, const char *id, struct err *err)
{
	int r = sql_run(s, err, "DELETE FROM tokens WHERE id = ?", "s", id);

	if (r != 0)
		return r < 0 ? r : 0;
	err_set(err, ENOENT, "there is no token '%.80s'", id);
	err_hint(err, "list them with: berth token ls");
	return err_type(err, 404, "token-not-found");
}

int store_tokens(struct store *s, void (*fn)(void *data, const struct token_record *t), void *data,
	struct err *err)
{
	AUTOSTMT sqlite3_stmt *st =
		sql_prepare(s, err, TOKEN_QUERY " ORDER BY t.created_at, t.id", "");
	int r = st ? 1 : -EIO;

	while (r == 1 && (r = sql_step(s, st, err)) == 1) {
		struct token_record t = {0};

		read_token(st, &t);
		fn(data, &t);
	}
	return r;
}
