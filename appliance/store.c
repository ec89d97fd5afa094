/*
 * The database: opened, checked, migrated, backed up.
 *
 * Theory of operation. One connection does all writes and all checkpoints (SQLite before 3.51.3 can
 * lose pages when two do). WAL with synchronous=FULL: what a function here reports as done survives
 * a power cut. The version of the schema is user_version; each migration runs in a transaction with
 * the change of that number, so a daemon killed in between starts it again. What does not pass
 * quick_check is never written to: the operator decides, with berth.db.bak (made at each clean
 * shutdown and before each migration) at hand.
 */
#include "store_sql.h"
#include "paths.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

static const char *const migrations[] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE agents ("
	" id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	" slot INTEGER NOT NULL UNIQUE CHECK (slot BETWEEN 0 AND 499),"
	" image TEXT NOT NULL, memory_mib INTEGER NOT NULL, cpus INTEGER NOT NULL, disk_gib "
	"INTEGER NOT NULL,"
	" labels TEXT NOT NULL, on_crash TEXT NOT NULL CHECK (on_crash IN ('restart', 'stop')),"
	" state TEXT NOT NULL CHECK (state IN ('creating', 'running', 'suspended', 'stopped', "
	"'failed')),"
	" wanted TEXT NOT NULL CHECK (wanted IN ('run', 'stop', 'remove')),"
	" detail TEXT NOT NULL, mode TEXT NOT NULL, machine_id BLOB NOT NULL CHECK "
	"(length(machine_id) = 16),"
	" created_at INTEGER NOT NULL, started_at INTEGER NOT NULL, parent TEXT NOT NULL,"
	" port INTEGER NOT NULL CHECK (port BETWEEN 0 AND 65535), restarts INTEGER NOT NULL,"
	" boots INTEGER NOT NULL) STRICT;"
	"CREATE TABLE rules (agent TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (agent, rule)) STRICT;"
	"CREATE TABLE tokens (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE CHECK (length(hash) = "
	"32),"
	" role TEXT NOT NULL CHECK (role IN ('admin', 'agent', 'viewer')),"
	" agent TEXT REFERENCES agents(id) ON DELETE CASCADE, label TEXT NOT NULL,"
	" created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, last_used_at INTEGER NOT NULL) "
	"STRICT;"
	"CREATE INDEX tokens_agent ON tokens (agent);"
	"CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, type "
	"TEXT NOT NULL,"
	" agent TEXT NOT NULL, agent_id TEXT NOT NULL, by TEXT NOT NULL, detail TEXT NOT NULL,"
	" data TEXT NOT NULL) STRICT;"
	"CREATE INDEX events_agent ON events (agent_id, seq);"
	"CREATE TABLE egress (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" agent TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, time INTEGER NOT NULL,"
	" name TEXT NOT NULL, address TEXT NOT NULL, port INTEGER NOT NULL, protocol TEXT NOT NULL,"
	" rule TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL, bytes_up INTEGER NOT "
	"NULL,"
	" bytes_down INTEGER NOT NULL, duration_ms INTEGER NOT NULL, count INTEGER NOT NULL) "
	"STRICT;"
	"CREATE INDEX egress_agent ON egress (agent, seq);",
	"ALTER TABLE agents ADD COLUMN disk TEXT NOT NULL DEFAULT 'disk';"
	"ALTER TABLE agents ADD COLUMN layers TEXT NOT NULL DEFAULT '[]';"
	"ALTER TABLE agents ADD COLUMN base TEXT NOT NULL DEFAULT 'm_zero';"
	"ALTER TABLE agents ADD COLUMN base_digest TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE agents ADD COLUMN head TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE agents ADD COLUMN idle_suspend INTEGER NOT NULL DEFAULT 0;",
	"CREATE TABLE policies (agent TEXT PRIMARY KEY REFERENCES agents(id) ON DELETE CASCADE,"
	" policy TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"INSERT INTO policies SELECT id, json_object('mode', mode, 'rules', json((SELECT "
	"json_group_array(rule) FROM (SELECT rule FROM rules WHERE agent = id ORDER BY "
	"position))),"
	" 'limits', json('{}')) FROM agents;"
	"DROP TABLE rules; ALTER TABLE agents DROP COLUMN mode;",
	"ALTER TABLE agents ADD COLUMN next_layers TEXT NOT NULL DEFAULT '';",
	"CREATE TABLE usage (agent TEXT PRIMARY KEY REFERENCES agents(id) ON DELETE CASCADE,"
	" instance TEXT NOT NULL, counted INTEGER NOT NULL, life INTEGER NOT NULL,"
	" run INTEGER NOT NULL, date INTEGER NOT NULL, day INTEGER NOT NULL,"
	" limited TEXT NOT NULL, put_to_sleep INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
	"CREATE TABLE actions (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" agent TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, time INTEGER NOT NULL,"
	" source TEXT NOT NULL, by TEXT NOT NULL, action TEXT NOT NULL, params TEXT NOT NULL,"
	" error TEXT NOT NULL, url TEXT NOT NULL, duration_ms INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, UNIQUE (agent, time)) STRICT;"
	"CREATE INDEX actions_agent ON actions (agent, seq, bytes);",
	"ALTER TABLE actions ADD COLUMN before INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE actions ADD COLUMN after INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE pictures (agent TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
	" id INTEGER NOT NULL, bytes INTEGER NOT NULL, jpeg TEXT NOT NULL,"
	" PRIMARY KEY (agent, id)) STRICT;"
	"CREATE INDEX pictures_agent ON pictures (agent, id, bytes);",
};

int sql_error(struct store *s, struct err *err, const char *what)
{
	int code = sqlite3_errcode(s->db), os = sqlite3_system_errno(s->db);

	if (code == SQLITE_FULL || (code == SQLITE_IOERR && (os == ENOSPC || os == EDQUOT))) {
		err_set(err, ENOSPC, "cannot %s: the disk of %s is full", what, s->path);
		err_hint(err, "free some space; nothing has been changed");
		return err_type(err, 507, "disk-full");
	}
	return err_set(err, EIO, "cannot %s: %s (%s)", what, sqlite3_errmsg(s->db), s->path);
}

static int bind(sqlite3_stmt *st, const char *types, va_list ap)
{
	int r = SQLITE_OK;

	for (int i = 1; types[i - 1] && r == SQLITE_OK; i++) {
		const char *text;

		switch (types[i - 1]) {
		case 'i':
			r = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
			break;
		case 'u':
			r = sqlite3_bind_int64(st, i, va_arg(ap, unsigned));
			break;
		case 's':
			text = va_arg(ap, const char *);
			r = text ? sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC)
				 : sqlite3_bind_null(st, i);
			break;
		case 'h':
			r = sqlite3_bind_blob(
				st, i, va_arg(ap, const void *), STORE_HASH_LEN, SQLITE_STATIC);
			break;
		case 'm':
			r = sqlite3_bind_blob(st, i, va_arg(ap, const void *), 16, SQLITE_STATIC);
			break;
		default:
			abort();
		}
	}
	return r;
}

static sqlite3_stmt *prepare(
	struct store *s, struct err *err, const char *sql, const char *types, va_list ap)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK &&
		bind(st, types, ap) == SQLITE_OK)
		return st;
	sql_error(s, err, "use the database");
	sqlite3_finalize(st);
	return NULL;
}

sqlite3_stmt *sql_prepare(struct store *s, struct err *err, const char *sql, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;

	va_start(ap, types);
	st = prepare(s, err, sql, types, ap);
	va_end(ap);
	return st;
}

int sql_step(struct store *s, sqlite3_stmt *st, struct err *err)
{
	int r = sqlite3_step(st);

	if (r == SQLITE_ROW)
		return 1;
	return r == SQLITE_DONE ? 0 : sql_error(s, err, "use the database");
}

int sql_run(struct store *s, struct err *err, const char *sql, const char *types, ...)
{
	AUTOSTMT sqlite3_stmt *st = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	st = prepare(s, err, sql, types, ap);
	va_end(ap);
	if (!st)
		return -EIO;
	r = sqlite3_step(st);
	if (r == SQLITE_DONE)
		return sqlite3_changes(s->db);
	return sql_error(s, err, "write the database");
}

const char *sql_text(sqlite3_stmt *st, int column)
{
	const char *text = (const char *)sqlite3_column_text(st, column);

	return text ? text : "";
}

void sql_copy(sqlite3_stmt *st, int column, char *out, size_t n)
{
	snprintf(out, n, "%s", sql_text(st, column));
}

/* The single integer that a statement yields. */
static int sql_number(struct store *s, const char *sql, int64_t *ret, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = sql_prepare(s, err, sql, "");
	int r = st ? sql_step(s, st, err) : -EIO;

	if (r == 1)
		*ret = sqlite3_column_int64(st, 0);
	return r < 0    ? r
	       : r == 1 ? 0
			: err_set(err, EIO, "the database gives no answer to '%s'", sql);
}

static int damaged(struct store *s, struct err *err, const char *how)
{
	err_set(err, EIO, "the database %s is damaged (%s) and has not been touched", s->path, how);
	return err_hint(err,
		"move it away together with its -wal and -shm files, and copy %s.bak (made at the "
		"last clean "
		"shutdown) to its place if there is one",
		s->path);
}

static int check(struct store *s, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st = NULL;
	int r;

	if (sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK)
		return damaged(s, err, sqlite3_errmsg(s->db));
	r = sqlite3_step(st);
	if (r != SQLITE_ROW)
		return damaged(s, err, sqlite3_errmsg(s->db));
	return streq(sql_text(st, 0), "ok") ? 0 : damaged(s, err, sql_text(st, 0));
}

static int migrate_one(struct store *s, size_t version, struct err *err)
{
	AUTOFREE char *number = xasprintf("PRAGMA user_version = %zu", version + 1);
	int r = store_begin(s, err);

	if (r < 0)
		return r;
	if (sqlite3_exec(s->db, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
		sqlite3_exec(s->db, number, NULL, NULL, NULL) != SQLITE_OK)
		r = sql_error(s, err, "bring the database to the present version");
	if (r == 0)
		r = store_commit(s, err);
	if (r < 0)
		store_rollback(s);
	return r;
}

static int migrate(struct store *s, struct err *err)
{
	int64_t version = 0;
	int r = sql_number(s, "PRAGMA user_version", &version, err);

	if (r < 0)
		return r;
	if (version < 0 || (size_t)version > ARRAY_SIZE(migrations)) {
		err_set(err, EPROTO,
			"the database %s was made by a newer berth (version %lld, this one knows "
			"%zu)",
			s->path, (long long)version, ARRAY_SIZE(migrations));
		return err_hint(err, "install that newer berth again");
	}
	if (version > 0 && (size_t)version < ARRAY_SIZE(migrations))
		r = store_backup(s, err);
	for (; r == 0 && (size_t)version < ARRAY_SIZE(migrations); version++)
		r = migrate_one(s, (size_t)version, err);
	return r;
}

static int configure(struct store *s, struct err *err)
{
	static const char sql[] =
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		"PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON;";

	sqlite3_busy_timeout(s->db, 2000);
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	if (sqlite3_errcode(s->db) == SQLITE_NOTADB || sqlite3_errcode(s->db) == SQLITE_CORRUPT)
		return damaged(s, err, sqlite3_errmsg(s->db));
	return sql_error(s, err, "open the database");
}

/* The file exists with mode 0600 before SQLite sees it; its -wal and -shm take the same mode. */
static int make_file(const char *path, struct err *err)
{
	AUTOFD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchmod(fd, 0600) < 0) {
		int r = err_sys(err, "cannot open the database %s", path);

		return r == -ENOSPC ? err_type(err, 507, "disk-full") : r;
	}
	return 0;
}

int store_open(struct store **ret, const char *state, struct err *err)
{
	struct store *s = xcalloc(1, sizeof(*s));
	int r;

	s->path = path_in(state, "berth.db");
	r = make_file(s->path, err);
	if (r == 0 && sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		r = sql_error(s, err, "open the database");
	if (r == 0)
		r = check(s, err);
	if (r == 0)
		r = configure(s, err);
	if (r == 0)
		r = migrate(s, err);
	if (r < 0) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	sqlite3_close(s->db);
	free(s->path);
	free(s);
}

int store_backup(struct store *s, struct err *err)
{
	AUTOFREE char *part = xasprintf("%s.bak.part", s->path),
		      *whole = xasprintf("%s.bak", s->path);
	AUTOFD int fd = -1;
	int r;

	if (unlink(part) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove %s", part);
	r = make_file(part, err);
	if (r == 0)
		r = sql_run(s, err, "VACUUM INTO ?", "s", part);
	if (r >= 0) {
		fd = open(part, O_RDONLY | O_CLOEXEC);
		r = fd < 0 || fsync(fd) < 0 || rename(part, whole) < 0
			    ? err_sys(err, "cannot write %s", whole)
			    : 0;
	}
	if (r < 0)
		unlink(part);
	return r;
}

int store_begin(struct store *s, struct err *err)
{
	return sql_run(s, err, "BEGIN IMMEDIATE", "") < 0 ? -EIO : 0;
}

int store_commit(struct store *s, struct err *err)
{
	return sql_run(s, err, "COMMIT", "") < 0 ? -EIO : 0;
}

void store_rollback(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

int store_meta_get(struct store *s, const char *key, char **ret, struct err *err)
{
	AUTOSTMT sqlite3_stmt *st =
		sql_prepare(s, err, "SELECT value FROM meta WHERE key = ?", "s", key);
	int r = st ? sql_step(s, st, err) : -EIO;

	*ret = r == 1 ? xstrdup(sql_text(st, 0)) : NULL;
	return r < 0 ? r : 0;
}

int store_meta_set(struct store *s, const char *key, const char *value, struct err *err)
{
	int r = sql_run(s, err,
		"INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value "
		"= excluded.value",
		"ss", key, value);

	return r < 0 ? r : 0;
}
