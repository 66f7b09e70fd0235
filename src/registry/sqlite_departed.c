/* SPDX-License-Identifier: MIT */
/*
 * sqlite_departed.c - the table of departed workers in the registry's SQLite file. Its schema is
 * sqlite_file.c's; lock, connection and transaction are sqlite.c's. Runs on the thread that calls
 * the registry.
 *
 * `turn` is SQLite's row number: it grows with each worker that goes.
 */
#include "registry/sqlite_departed.h"

#include "registry/sqlite_file.h"

#define X(column, kind, member, ...) \
	PC__COLUMN(struct pc_departed_worker, column, kind, member, __VA_ARGS__)
#define TEXT(member) X(member, PC__COLUMN_TEXT, member, 0, 0)
#define EXIT(name, kind, ...) X(exit_##name, kind, exit.name, __VA_ARGS__)

static const struct pc__column columns[] = {
	X(worker_id, PC__COLUMN_TEXT, worker_id, 1, 0),
	TEXT(model_id),
	TEXT(backend),
	TEXT(device),
	EXIT(known, PC__COLUMN_NUMBER, 0, 1),
	EXIT(code, PC__COLUMN_NUMBER, INT32_MIN, INT32_MAX),
	EXIT(signal, PC__COLUMN_NUMBER, INT32_MIN, INT32_MAX),
	EXIT(wall_ms, PC__COLUMN_NUMBER, PC__COLUMN_ANY),
	EXIT(reason, PC__COLUMN_TEXT, 0, 0),
	X(wall_ms, PC__COLUMN_NUMBER, wall_ms, PC__COLUMN_ANY),
};

static const struct pc__table table = {
	.subject = "departed worker",
	.columns = columns,
	.column_count = PC_ARRAY_LEN(columns),
	.record_bytes = sizeof(struct pc_departed_worker),
};

#define COLUMNS \
	"worker_id, model_id, backend, device, exit_known, exit_code, exit_signal, exit_wall_ms, " \
	"exit_reason, wall_ms"

static const char *const texts[PC__DEPARTED_STATEMENTS] = {
	/* Parameters as the columns are numbered; ?2 to ?4 come out of the record instead. */
	[PC__DEPARTED_ADD] = "INSERT INTO departed (" COLUMNS ") "
			     "SELECT worker_id, model_id, backend, device, ?5, ?6, ?7, ?8, ?9, ?10 "
			     "FROM worker WHERE worker_id = ?1",
	/* Leaves ?1 rows. */
	[PC__DEPARTED_TRIM] = "DELETE FROM departed WHERE turn NOT IN "
			      "(SELECT turn FROM departed ORDER BY turn DESC LIMIT ?1)",
	[PC__DEPARTED_LIST] = "SELECT " COLUMNS " FROM departed "
			      "WHERE ?1 IS NULL OR model_id = ?1 ORDER BY turn DESC",
};

int pc__sqlite_departed_add(struct pc__sqlite_departed *departed,
			    const struct pc_departed_worker *worker, struct pc_error *err)
{
	sqlite3_stmt *add = departed->statements[PC__DEPARTED_ADD];
	sqlite3_stmt *trim = departed->statements[PC__DEPARTED_TRIM];

	if (pc__row_bind(add, &table, worker) || pc__statement_run(add))
		return pc__sqlite_error(err, departed->db, "cannot end worker '%s'",
					worker->worker_id);
	if (sqlite3_changes(departed->db) == 0)
		return pc__registry_not_found(err, worker->worker_id);
	if (sqlite3_bind_int(trim, 1, PC_DEPARTED_MAX) || pc__statement_run(trim))
		return pc__sqlite_error(err, departed->db, "cannot end worker '%s'",
					worker->worker_id);
	return 0;
}

int pc__sqlite_departed_read(struct pc__sqlite_departed *departed, const char *model_id,
			     struct pc__rows *rows, struct pc_error *err)
{
	sqlite3_stmt *statement = departed->statements[PC__DEPARTED_LIST];
	int rc;

	if (model_id && sqlite3_bind_text(statement, 1, model_id, -1, SQLITE_STATIC))
		rc = pc__sqlite_error(err, departed->db, "cannot list the departed workers");
	else
		rc = pc__rows_read(statement, &table, rows, err);
	pc__statement_rest(statement);
	return rc;
}

int pc__sqlite_departed_open(struct pc__sqlite_departed *departed, sqlite3 *db,
			     struct pc_error *err)
{
	departed->db = db;
	for (size_t i = 0; i < PC__DEPARTED_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &departed->statements[i], NULL))
			return pc__sqlite_error(err, db,
						"cannot prepare the registry's statements");
	}
	return 0;
}

void pc__sqlite_departed_close(struct pc__sqlite_departed *departed)
{
	for (size_t i = 0; i < PC__DEPARTED_STATEMENTS; i++)
		sqlite3_finalize(departed->statements[i]);
}
