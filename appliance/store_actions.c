/* The action log in the database, bounded per agent by entries and by bytes. */
#include "store_sql.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define ROW_BYTES 64 /* of a row, about, beside its texts */
#define LESS(bound) ((int64_t)(bound) / 20 * 19)

static int64_t bytes_of(const struct action_record *a)
{
	return (int64_t)(ROW_BYTES + strlen(a->source) + strlen(a->by) + strlen(a->action) +
			 strlen(a->params) + strlen(a->error) + strlen(a->url));
}

int store_action_add(
	struct store *s, const char *agent, const struct action_record *a, struct err *err)
{
	return sql_run(s, err,
		"INSERT INTO actions (agent, time, source, by, action, params, error, url, "
		"duration_ms, bytes, before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
		" ON CONFLICT (agent, time) DO NOTHING",
		"sissssssiii", agent, a->time, a->source, a->by, a->action, a->params, a->error,
		a->url, a->duration_ms, bytes_of(a), a->before);
}

int store_action_picture(struct store *s, const char *agent, int64_t id, int64_t of,
	const char *jpeg, struct err *err)
{
	int r = sql_run(s, err,
		"INSERT INTO pictures (agent, id, bytes, jpeg) VALUES (?, ?, ?, ?)"
		" ON CONFLICT (agent, id) DO NOTHING",
		"siis", agent, id, (int64_t)strlen(jpeg), jpeg);

	if (r > 0 && of)
		r = sql_run(s, err, "UPDATE actions SET after = ? WHERE agent = ? AND time = ?",
			"isi", id, agent, of);
	return r < 0 ? r : 0;
}

int store_action_picture_get(
	struct store *s, const char *agent, int64_t seq, bool before, char **ret, struct err *err)
{
	const char *sql = before ? "SELECT jpeg FROM pictures WHERE agent = ?1 AND id ="
				   " (SELECT before FROM actions WHERE agent = ?1 AND seq = ?2)"
				 : "SELECT jpeg FROM pictures WHERE agent = ?1 AND id ="
				   " (SELECT after FROM actions WHERE agent = ?1 AND seq = ?2)";
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, sql, "si", agent, seq);
	int r = st ? sql_step(s, st, err) : -EIO;

	*ret = r == 1 ? xstrdup(sql_text(st, 0)) : NULL;
	return r < 0 ? r : 0;
}

/* 1: the rows of an agent, or their bytes, are over the bounds. */
static int is_over(struct store *s, const char *sql, const char *agent, int64_t bytes, int64_t rows,
	struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, sql, "s", agent);
	int r = st ? sql_step(s, st, err) : -EIO;

	return r == 1 ? sqlite3_column_int64(st, 0) > bytes || sqlite3_column_int64(st, 1) > rows
		      : r;
}

/* Some more than must go, so that the costly part is rare. */
int store_actions_trim(struct store *s, const char *agent, struct err *err)
{
	int r = is_over(s, "SELECT SUM(bytes), COUNT(*) FROM actions WHERE agent = ?", agent,
		STORE_ACTIONS_BYTES, STORE_ACTIONS_MAX, err);

	if (r > 0)
		r = sql_run(s, err,
			"DELETE FROM actions WHERE agent = ?1 AND seq <= (SELECT MAX(seq) FROM"
			" (SELECT seq, SUM(bytes) OVER newer AS total, ROW_NUMBER() OVER newer AS n"
			" FROM actions WHERE agent = ?1 WINDOW newer AS (ORDER BY seq DESC))"
			" WHERE total > ?2 OR n > ?3)",
			"sii", agent, LESS(STORE_ACTIONS_BYTES), LESS(STORE_ACTIONS_MAX));
	if (r >= 0)
		r = is_over(s, "SELECT SUM(bytes), 0 FROM pictures WHERE agent = ?", agent,
			STORE_PICTURES_BYTES, 0, err);
	if (r > 0)
		r = sql_run(s, err,
			"DELETE FROM pictures WHERE agent = ?1 AND id <= (SELECT MAX(id) FROM"
			" (SELECT id, SUM(bytes) OVER (ORDER BY id DESC) AS total"
			" FROM pictures WHERE agent = ?1) WHERE total > ?2)",
			"si", agent, LESS(STORE_PICTURES_BYTES));
	return r < 0 ? r : 0;
}

static void give_action(
	sqlite3_stmt *st, void (*fn)(void *data, const struct action_record *a), void *data)
{
	const struct action_record a = {
		.seq = sqlite3_column_int64(st, 0),
		.time = sqlite3_column_int64(st, 1),
		.source = sql_text(st, 2),
		.by = sql_text(st, 3),
		.action = sql_text(st, 4),
		.params = sql_text(st, 5),
		.error = sql_text(st, 6),
		.url = sql_text(st, 7),
		.duration_ms = sqlite3_column_int64(st, 8),
		.before = sqlite3_column_int64(st, 9),
		.after = sqlite3_column_int64(st, 10),
	};

	fn(data, &a);
}

/* Pictures may be gone before their actions. */
#define PICTURE(which) \
	"COALESCE((SELECT id FROM pictures p WHERE p.agent = ?1 AND p.id = a." which "), 0)"
#define COLUMNS                                                              \
	"a.seq, a.time, a.source, a.by, a.action, a.params, a.error, a.url," \
	" a.duration_ms, " PICTURE("before") ", " PICTURE("after")

int store_actions(struct store *s, const struct action_query *q,
	void (*fn)(void *data, const struct action_record *a), void *data, struct err *err)
{
	const char *sql = q->after ? "SELECT " COLUMNS " FROM actions a WHERE a.agent = ?1"
				     " AND a.seq > ?2 ORDER BY a.seq LIMIT ?3"
				   : "SELECT * FROM (SELECT " COLUMNS
				     " FROM actions a WHERE a.agent = ?1 AND a.seq > ?2"
				     " ORDER BY a.seq DESC LIMIT ?3) ORDER BY 1";
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, sql, "siu", q->agent, q->after, q->limit);
	int r = st ? 1 : -EIO;

	while (r == 1 && (r = sql_step(s, st, err)) == 1)
		give_action(st, fn, data);
	return r;
}
