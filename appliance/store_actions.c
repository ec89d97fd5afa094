/* The action log in the database, bounded per agent by entries and by bytes. */
#include "store_sql.h"
#include "util.h"

#include <errno.h>
#include <string.h>

#define ROW_BYTES 64 /* of a row, about, beside its texts */

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
		"duration_ms, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
		" ON CONFLICT (agent, time) DO NOTHING",
		"sissssssii", agent, a->time, a->source, a->by, a->action, a->params, a->error,
		a->url, a->duration_ms, bytes_of(a));
}

int store_actions_trim(struct store *s, const char *agent, struct err *err)
{
	int r = sql_run(s, err,
		"DELETE FROM actions WHERE agent = ?1 AND seq <= (SELECT MAX(seq) FROM"
		" (SELECT seq, SUM(bytes) OVER newer AS total, ROW_NUMBER() OVER newer AS n"
		" FROM actions WHERE agent = ?1 WINDOW newer AS (ORDER BY seq DESC))"
		" WHERE total > ?2 OR n > ?3)",
		"sii", agent, (int64_t)STORE_ACTIONS_BYTES, (int64_t)STORE_ACTIONS_MAX);

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
	};

	fn(data, &a);
}

#define COLUMNS "seq, time, source, by, action, params, error, url, duration_ms"

int store_actions(struct store *s, const struct action_query *q,
	void (*fn)(void *data, const struct action_record *a), void *data, struct err *err)
{
	const char *sql = q->after ? "SELECT " COLUMNS " FROM actions WHERE agent = ?1 AND seq > ?2"
				     " ORDER BY seq LIMIT ?3"
				   : "SELECT * FROM (SELECT " COLUMNS
				     " FROM actions WHERE agent = ?1"
				     " AND seq > ?2 ORDER BY seq DESC LIMIT ?3) ORDER BY seq";
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, sql, "siu", q->agent, q->after, q->limit);
	int r = st ? 1 : -EIO;

	while (r == 1 && (r = sql_step(s, st, err)) == 1)
		give_action(st, fn, data);
	return r;
}
