/* Events and egress decisions in the database, both bounded. */
#include "store_sql.h"
#include "util.h"

#include <errno.h>

int store_event_add(struct store *s, const struct event_record *e, struct err *err)
{
	int r = sql_run(s, err,
		"INSERT INTO events (seq, time, type, agent, agent_id, by, detail, data) VALUES "
		"(?, ?, ?, ?, ?, ?, ?, ?)",
		"iissssss", e->seq, e->time, e->type, e->agent, e->agent_id, e->by, e->detail,
		e->data);

	if (r >= 0)
		r = sql_run(s, err, "DELETE FROM events WHERE seq <= ?", "i",
			e->seq - STORE_EVENTS_MAX);
	return r < 0 ? r : 0;
}

int store_event_last(struct store *s, int64_t *ret, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err,
		"SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)", "");
	int r = st ? sql_step(s, st, err) : -EIO;

	if (r == 1)
		*ret = sqlite3_column_int64(st, 0);
	return r < 0 ? r : 0;
}

static void give_event(
	sqlite3_stmt *st, void (*fn)(void *data, const struct event_record *e), void *data)
{
	const struct event_record e = {
		.seq = sqlite3_column_int64(st, 0),
		.time = sqlite3_column_int64(st, 1),
		.type = sql_text(st, 2),
		.agent = sql_text(st, 3),
		.agent_id = sql_text(st, 4),
		.by = sql_text(st, 5),
		.detail = sql_text(st, 6),
		.data = sql_text(st, 7),
	};

	fn(data, &e);
}

#define EVENT_COLUMNS "seq, time, type, agent, agent_id, by, detail, data"

int store_events(struct store *s, const struct event_query *q,
	void (*fn)(void *data, const struct event_record *e), void *data, struct err *err)
{
	const char *sql = q->newest
				  ? "SELECT * FROM (SELECT " EVENT_COLUMNS
				    " FROM events WHERE seq > ?1 AND (?2 IS NULL OR agent_id = ?2)"
				    " ORDER BY seq DESC LIMIT ?3) ORDER BY seq"
				  : "SELECT " EVENT_COLUMNS " FROM events WHERE seq > ?1 AND"
				    " (?2 IS NULL OR agent_id = ?2) ORDER BY seq LIMIT ?3";
	AUTOSTMT sqlite3_stmt *st =
		sql_prepare(s, err, sql, "isu", q->after, q->agent_id, q->limit);
	int r = st ? 1 : -EIO;

	while (r == 1 && (r = sql_step(s, st, err)) == 1)
		give_event(st, fn, data);
	return r;
}

static int count_repeat(
	struct store *s, const char *agent, const struct egress_record *e, struct err *err)
{
	return sql_run(s, err,
		"UPDATE egress SET count = count + ?1, time = ?2, seq = (SELECT MAX(seq) FROM "
		"egress) + 1 WHERE seq = (SELECT seq FROM egress WHERE agent = ?3"
		" AND name = ?4 AND address = ?5 AND port = ?6 AND protocol = ?7 AND reason = ?8 "
		"AND verdict = 'deny'"
		" AND time > ?9 ORDER BY seq DESC LIMIT 1)",
		"iisssussi", e->count, e->time, agent, e->name, e->address, e->port, e->protocol,
		e->reason, e->time - EGRESS_REPEAT_NS);
}

int store_egress_add(struct store *s, const char *agent, const struct egress_record *e,
	bool *ret_repeated, struct err *err)
{
	int r = streq(e->verdict, "deny") ? count_repeat(s, agent, e, err) : 0;

	*ret_repeated = r > 0;
	if (r != 0)
		return r < 0 ? r : 0;
	r = sql_run(s, err,
		"INSERT INTO egress (agent, time, name, address, port, protocol, rule, verdict, "
		"reason, bytes_up, bytes_down,"
		" duration_ms, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		"sissussssiiii", agent, e->time, e->name, e->address, e->port, e->protocol, e->rule,
		e->verdict, e->reason, e->bytes_up, e->bytes_down, e->duration_ms, e->count);
	if (r >= 0)
		r = sql_run(s, err,
			"DELETE FROM egress WHERE agent = ?1 AND seq <= (SELECT seq FROM egress "
			"WHERE agent = ?1"
			" ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
			"su", agent, (unsigned)STORE_EGRESS_MAX);
	return r < 0 ? r : 0;
}

static void give_egress(
	sqlite3_stmt *st, void (*fn)(void *data, const struct egress_record *e), void *data)
{
	const struct egress_record e = {
		.seq = sqlite3_column_int64(st, 12),
		.time = sqlite3_column_int64(st, 0),
		.name = sql_text(st, 1),
		.address = sql_text(st, 2),
		.port = (unsigned)sqlite3_column_int64(st, 3),
		.protocol = sql_text(st, 4),
		.rule = sql_text(st, 5),
		.verdict = sql_text(st, 6),
		.reason = sql_text(st, 7),
		.bytes_up = sqlite3_column_int64(st, 8),
		.bytes_down = sqlite3_column_int64(st, 9),
		.duration_ms = sqlite3_column_int64(st, 10),
		.count = sqlite3_column_int64(st, 11),
	};

	fn(data, &e);
}

int store_egress(struct store *s, const struct egress_query *q,
	void (*fn)(void *data, const struct egress_record *e), void *data, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err,
		"SELECT time, name, address, port, protocol, rule, verdict, reason, bytes_up, "
		"bytes_down, duration_ms, count, seq"
		" FROM (SELECT * FROM egress WHERE agent = ?1 AND (?2 IS NULL OR verdict = ?2) "
		"AND seq > ?3 ORDER BY seq DESC LIMIT ?4) ORDER BY seq",
		"ssiu", q->agent, q->verdict, q->after, q->limit);
	int r = st ? 1 : -EIO;

	while (r == 1 && (r = sql_step(s, st, err)) == 1)
		give_egress(st, fn, data);
	return r;
}
