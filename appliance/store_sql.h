/* SQLite for the store's own files: statements prepared, bound and run. Nobody else includes this.
 */
#ifndef BERTH_STORE_SQL_H
#define BERTH_STORE_SQL_H

#include <sqlite3.h>

#include "store.h"

struct store {
	sqlite3 *db;
	char *path;
};

/*
 * A statement with its parameters bound in order; `types` has a letter for each: i int64_t, u
 * unsigned, s const char *, h 32 bytes, m 16 bytes. Strings must live until it has run. NULL and
 * err on failure.
 */
sqlite3_stmt *sql_prepare(
	struct store *s, struct err *err, const char *sql, const char *types, ...);
/* 1 there is a row, 0 the end, or a negative errno. */
int sql_step(struct store *s, sqlite3_stmt *st, struct err *err);
/* Runs a statement without rows. The number of rows it changed or a negative errno. */
int sql_run(struct store *s, struct err *err, const char *sql, const char *types, ...);
/* The error of the last call as an err: disk-full 507 where the disk is full. */
int sql_error(struct store *s, struct err *err, const char *what);
/* The text of a column, never NULL, valid until the next step. */
const char *sql_text(sqlite3_stmt *st, int column);
/* Copies the text of a column into out, cut at n - 1 bytes. */
void sql_copy(sqlite3_stmt *st, int column, char *out, size_t n);

static inline void cleanup_stmt_(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
}
#define AUTOSTMT __attribute__((cleanup(cleanup_stmt_)))

#endif
