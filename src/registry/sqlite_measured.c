/* SPDX-License-Identifier: MIT */
/*
 * sqlite_measured.c - the table of measurements in the registry's SQLite file. Its schema is
 * sqlite_file.c's; lock and connection are sqlite.c's. Runs on the thread that calls the registry.
 *
 * `turn` counts measurements over the whole table; the row with the smallest is the one whose last
 * measurement was made first.
 */
#include "registry/sqlite_measured.h"

#include "registry/sqlite_file.h"
#include "registry/sqlite_row.h"

/* ?1 to ?3 are the key, as bind_key puts it. */
static const char *const texts[PC__MEASURED_STATEMENTS] = {
	[PC__MEASURED_GET] =
		"SELECT highest_bytes, last_bytes, measurements, last_wall_ms FROM measured_memory "
		"WHERE model = ?1 AND engine = ?2 AND device = ?3",
	[PC__MEASURED_PUT] =
		"INSERT OR REPLACE INTO measured_memory (model, engine, device, highest_bytes, "
		"last_bytes, measurements, last_wall_ms, turn) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
		"(SELECT coalesce(max(turn), 0) + 1 FROM measured_memory))",
	/* Leaves ?1 rows. */
	[PC__MEASURED_TRIM] =
		"DELETE FROM measured_memory WHERE (model, engine, device) IN (SELECT model, "
		"engine, device FROM measured_memory ORDER BY turn LIMIT "
		"max((SELECT count(*) FROM measured_memory) - ?1, 0))",
};

static int bind_key(sqlite3_stmt *statement, const struct pc__measured_key *key)
{
	int rc = sqlite3_bind_text(statement, 1, key->model, -1, SQLITE_STATIC);

	if (!rc)
		rc = sqlite3_bind_text(statement, 2, key->engine, -1, SQLITE_STATIC);
	if (!rc)
		rc = sqlite3_bind_text(statement, 3, key->device, -1, SQLITE_STATIC);
	return rc;
}

/* ---- reading ---- */

enum found { FOUND_NONE, FOUND_ROW, FOUND_RUBBISH };

/* Unsigned numbers are stored bit for bit. False when the row cannot be one of ours. */
static bool read_row(sqlite3_stmt *statement, struct pc_measured_memory *ret_row)
{
	for (int i = 0; i < 4; i++) {
		if (sqlite3_column_type(statement, i) != SQLITE_INTEGER)
			return false;
	}
	ret_row->highest_bytes = (uint64_t)sqlite3_column_int64(statement, 0);
	ret_row->last_bytes = (uint64_t)sqlite3_column_int64(statement, 1);
	ret_row->count = (uint64_t)sqlite3_column_int64(statement, 2);
	ret_row->last_wall_ms = sqlite3_column_int64(statement, 3);
	return ret_row->count > 0 && ret_row->last_bytes > 0 &&
	       ret_row->highest_bytes >= ret_row->last_bytes;
}

static int look_up(struct pc__sqlite_measured *measured, const struct pc__measured_key *key,
		   enum found *ret_found, struct pc_measured_memory *ret_row, struct pc_error *err)
{
	sqlite3_stmt *statement = measured->statements[PC__MEASURED_GET];
	int rc = bind_key(statement, key);

	if (!rc)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		*ret_found = read_row(statement, ret_row) ? FOUND_ROW : FOUND_RUBBISH;
		rc = 0;
	} else if (rc == SQLITE_DONE) {
		*ret_found = FOUND_NONE;
		rc = 0;
	} else {
		rc = pc__sqlite_error(err, measured->db, "cannot read the memory of model '%s'",
				      key->model);
	}
	pc__statement_rest(statement);
	return rc;
}

int pc__sqlite_measured_recall(struct pc__sqlite_measured *measured,
			       const struct pc__measured_key *key,
			       struct pc_measured_memory *ret_measured, struct pc_error *err)
{
	struct pc_measured_memory row = { .count = 0 };
	enum found found = FOUND_NONE;
	int rc = look_up(measured, key, &found, &row, err);

	if (rc)
		return rc;
	if (found == FOUND_NONE)
		return pc__measured_not_found(err, key);
	if (found == FOUND_RUBBISH)
		return pc_error_set(err, PC_E_IO,
				    "the registry's row of model '%s' with engine '%s' on %s holds "
				    "no valid measurement",
				    key->model, key->engine, key->device);
	*ret_measured = row;
	return 0;
}

/* ---- writing ---- */

/* Makes room for one row more. SQLite's code. */
static int trim(struct pc__sqlite_measured *measured)
{
	sqlite3_stmt *statement = measured->statements[PC__MEASURED_TRIM];
	int rc = sqlite3_bind_int(statement, 1, PC_MEASURED_ROWS_MAX - 1);

	if (!rc)
		rc = sqlite3_step(statement);
	pc__statement_rest(statement);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* SQLite's code. */
static int put(struct pc__sqlite_measured *measured, const struct pc__measured_key *key,
	       const struct pc_measured_memory *row)
{
	sqlite3_stmt *statement = measured->statements[PC__MEASURED_PUT];
	const sqlite3_int64 numbers[] = {
		(sqlite3_int64)row->highest_bytes,
		(sqlite3_int64)row->last_bytes,
		(sqlite3_int64)row->count,
		row->last_wall_ms,
	};
	int rc = bind_key(statement, key);

	for (size_t i = 0; !rc && i < PC_ARRAY_LEN(numbers); i++)
		rc = sqlite3_bind_int64(statement, (int)i + 4, numbers[i]);
	if (!rc)
		rc = sqlite3_step(statement);
	pc__statement_rest(statement);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int remember(struct pc__sqlite_measured *measured, const struct pc__measured_key *key,
		    uint64_t bytes, int64_t wall_ms, struct pc_error *err)
{
	struct pc_measured_memory row;
	enum found found = FOUND_NONE;
	int rc = look_up(measured, key, &found, &row, err);

	if (rc)
		return rc;
	if (found != FOUND_ROW)
		row = (struct pc_measured_memory){ .count = 0 };
	pc__measured_add(&row, bytes, wall_ms);
	if ((found == FOUND_NONE && trim(measured)) || put(measured, key, &row))
		return pc__sqlite_error(err, measured->db,
					"cannot remember the memory of model '%s'", key->model);
	return 0;
}

int pc__sqlite_measured_remember(struct pc__sqlite_measured *measured,
				 const struct pc__measured_key *key, uint64_t bytes,
				 int64_t wall_ms, struct pc_error *err)
{
	int rc = pc__sqlite_begin(measured->db, "remember the memory of model", key->model, err);

	if (rc)
		return rc;
	rc = remember(measured, key, bytes, wall_ms, err);
	return pc__sqlite_finish(measured->db, rc, "remember the memory of model", key->model, err);
}

/* ---- opening ---- */

int pc__sqlite_measured_open(struct pc__sqlite_measured *measured, sqlite3 *db,
			     struct pc_error *err)
{
	measured->db = db;
	for (size_t i = 0; i < PC__MEASURED_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &measured->statements[i], NULL))
			return pc__sqlite_error(err, db,
						"cannot prepare the registry's statements");
	}
	return 0;
}

void pc__sqlite_measured_close(struct pc__sqlite_measured *measured)
{
	for (size_t i = 0; i < PC__MEASURED_STATEMENTS; i++)
		sqlite3_finalize(measured->statements[i]);
}
