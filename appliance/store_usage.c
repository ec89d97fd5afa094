/* What agents have used of the network, in the database. */
#include "store_sql.h"
#include "util.h"

#include <errno.h>

int store_usage_set(
	struct store *s, const char *agent, const struct usage_record *u, struct err *err)
{
	int r = sql_run(s, err,
		"INSERT INTO usage (agent, instance, counted, life, run, date, day, limited, "
		"put_to_sleep) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent) DO UPDATE SET"
		" instance = excluded.instance, counted = excluded.counted, life = excluded.life,"
		" run = excluded.run, date = excluded.date, day = excluded.day,"
		" limited = excluded.limited, put_to_sleep = excluded.put_to_sleep",
		"ssiuiiisu", agent, u->instance, (int64_t)u->counted, u->life, (int64_t)u->run,
		u->date, (int64_t)u->day, u->limited, (unsigned)u->put_to_sleep);

	return r < 0 ? r : 0;
}

int store_usage_get(struct store *s, const char *agent, struct usage_record *ret, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err,
		"SELECT instance, counted, life, run, date, day, limited, put_to_sleep FROM usage "
		"WHERE agent = ?",
		"s", agent);
	int r = st ? sql_step(s, st, err) : -EIO;

	*ret = (struct usage_record){0};
	if (r <= 0)
		return r;
	sql_copy(st, 0, ret->instance, sizeof(ret->instance));
	ret->counted = (uint64_t)sqlite3_column_int64(st, 1);
	ret->life = (unsigned)sqlite3_column_int64(st, 2);
	ret->run = (uint64_t)sqlite3_column_int64(st, 3);
	ret->date = sqlite3_column_int64(st, 4);
	ret->day = (uint64_t)sqlite3_column_int64(st, 5);
	sql_copy(st, 6, ret->limited, sizeof(ret->limited));
	ret->put_to_sleep = sqlite3_column_int64(st, 7) != 0;
	return 0;
}
