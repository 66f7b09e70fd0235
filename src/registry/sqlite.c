/* SPDX-License-Identifier: MIT */
/*
 * sqlite.c - the registry in an SQLite file: rows in and out through statements that are prepared
 * once. Opening and the schema are sqlite_file.c's, the table of measurements is
 * sqlite_measured.c's. One connection, one mutex: callers are few, and SQLite has one writer
 * anyway. The mutex is held while the disk writes, so none of these calls belongs on an event loop.
 * SQLite allocates for itself, not through our door.
 */
#include "registry/backend.h"

#include <pthread.h>
#include <string.h>

#include "base/text.h"
#include "registry/sqlite_file.h"
#include "registry/sqlite_measured.h"

enum column_type {
	COLUMN_TEXT,
	COLUMN_BOOL,
	COLUMN_UINT16,
	COLUMN_INT32,
	COLUMN_INT64, /* unsigned ones too, bit for bit */
	COLUMN_STATUS,
};

struct column {
	const char *name;
	enum column_type type;
	size_t offset, size; /* in struct pc_worker_info */
};

/* The first is the key. */
static const struct column columns[] = {
#define X(name, type, member) \
	{ \
#name, type, offsetof(struct pc_worker_info, member), \
			sizeof(((struct pc_worker_info *)NULL)->member) \
	}
	X(worker_id, COLUMN_TEXT, worker_id),
	X(backend, COLUMN_TEXT, backend),
	X(model_ref, COLUMN_TEXT, model_ref),
	X(model_id, COLUMN_TEXT, model_id),
	X(device, COLUMN_TEXT, device),
	X(gpu_id, COLUMN_INT32, gpu_id),
	X(port, COLUMN_UINT16, port),
	X(socket, COLUMN_TEXT, socket),
	X(status, COLUMN_STATUS, status),
	X(pid, COLUMN_INT32, pid),
	X(start_ticks, COLUMN_INT64, start_ticks),
	X(boot_id, COLUMN_TEXT, boot_id),
	X(spawn_token, COLUMN_TEXT, spawn_token),
	X(spawned_wall_ms, COLUMN_INT64, spawned_wall_ms),
	X(updated_wall_ms, COLUMN_INT64, updated_wall_ms),
	X(reserved_bytes, COLUMN_INT64, reserved_bytes),
	X(measured_bytes, COLUMN_INT64, measured_bytes),
	X(exit_known, COLUMN_BOOL, last_exit.known),
	X(exit_code, COLUMN_INT32, last_exit.code),
	X(exit_signal, COLUMN_INT32, last_exit.signal),
	X(exit_wall_ms, COLUMN_INT64, last_exit.wall_ms),
	X(exit_reason, COLUMN_TEXT, last_exit.reason),
#undef X
};

enum statement { INSERT, UPDATE, DELETE, GET, LIST, STATEMENT_COUNT };

struct sqlite_registry {
	struct pc_registry base;
	pthread_mutex_t lock;
	sqlite3 *db;				   /* [lock] */
	sqlite3_stmt *statements[STATEMENT_COUNT]; /* [lock] reset whenever nobody holds it */
	struct pc__sqlite_measured measured;	   /* [lock] */
};

static struct sqlite_registry *sqlite_of(struct pc_registry *registry)
{
	return (struct sqlite_registry *)registry;
}

/* ---- rows ---- */

static int bind_column(sqlite3_stmt *statement, int at, const struct column *column,
		       const struct pc_worker_info *worker)
{
	const char *field = (const char *)worker + column->offset;
	sqlite3_int64 wide;
	uint16_t narrow;
	int number;

	switch (column->type) {
	case COLUMN_TEXT:
		return sqlite3_bind_text(statement, at, field, -1, SQLITE_STATIC);
	case COLUMN_STATUS:
		return sqlite3_bind_text(statement, at, pc_worker_status_name(worker->status), -1,
					 SQLITE_STATIC);
	case COLUMN_BOOL:
		return sqlite3_bind_int(statement, at, *(const bool *)field);
	case COLUMN_UINT16:
		memcpy(&narrow, field, sizeof(narrow));
		return sqlite3_bind_int(statement, at, narrow);
	case COLUMN_INT32:
		memcpy(&number, field, sizeof(number));
		return sqlite3_bind_int(statement, at, number);
	case COLUMN_INT64:
		memcpy(&wide, field, sizeof(wide));
		return sqlite3_bind_int64(statement, at, wide);
	}
	return SQLITE_MISUSE;
}

/* False when the stored value cannot be one of ours: somebody edited it. */
static bool read_column(sqlite3_stmt *statement, int at, const struct column *column,
			struct pc_worker_info *worker)
{
	char *field = (char *)worker + column->offset;
	sqlite3_int64 wide = sqlite3_column_int64(statement, at);
	const char *text;
	uint16_t narrow = (uint16_t)wide;
	int number = (int)wide, status;

	switch (column->type) {
	case COLUMN_TEXT:
		text = (const char *)sqlite3_column_text(statement, at);
		if (!text || strlen(text) >= column->size)
			return false;
		memcpy(field, text, strlen(text) + 1);
		return true;
	case COLUMN_STATUS:
		text = (const char *)sqlite3_column_text(statement, at);
		status = text ? pc_worker_status_from_name(text) : -1;
		worker->status = (enum pc_worker_status)status;
		return status >= 0;
	case COLUMN_BOOL:
		*(bool *)field = wide != 0;
		return true;
	case COLUMN_UINT16:
		memcpy(field, &narrow, sizeof(narrow));
		return narrow == wide;
	case COLUMN_INT32:
		memcpy(field, &number, sizeof(number));
		return number == wide;
	case COLUMN_INT64:
		memcpy(field, &wide, sizeof(wide));
		return true;
	}
	return false;
}

static int read_row(struct sqlite_registry *sqlite, sqlite3_stmt *statement,
		    struct pc_worker_info *worker, struct pc_error *err)
{
	*worker = (struct pc_worker_info){ .pid = 0 };
	for (size_t i = 0; i < PC_ARRAY_LEN(columns); i++) {
		if (read_column(statement, (int)i, &columns[i], worker))
			continue;
		if (sqlite3_errcode(sqlite->db) == SQLITE_NOMEM)
			return pc_error_oom(err);
		return pc_error_set(err, PC_E_IO,
				    "the registry's row of worker '%s' holds no valid %s",
				    worker->worker_id, columns[i].name);
	}
	return 0;
}

/* ---- statements ---- */

/* Runs a statement that returns no row. SQLite's code. */
static int run_locked(struct sqlite_registry *sqlite, enum statement which)
{
	int rc = sqlite3_step(sqlite->statements[which]);

	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Ends a statement, so that it holds neither a lock nor the caller's strings. */
static void rest_locked(struct sqlite_registry *sqlite, enum statement which)
{
	sqlite3_reset(sqlite->statements[which]);
	sqlite3_clear_bindings(sqlite->statements[which]);
}

static int bind_worker_locked(struct sqlite_registry *sqlite, enum statement which,
			      const struct pc_worker_info *worker)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; !rc && i < PC_ARRAY_LEN(columns); i++)
		rc = bind_column(sqlite->statements[which], (int)i + 1, &columns[i], worker);
	return rc;
}

static int get_locked(struct sqlite_registry *sqlite, const char *worker_id,
		      struct pc_worker_info *ret_worker, struct pc_error *err)
{
	sqlite3_stmt *statement = sqlite->statements[GET];
	struct pc_worker_info worker = { .pid = 0 };
	int rc = sqlite3_bind_text(statement, 1, worker_id, -1, SQLITE_STATIC);

	if (!rc)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		rc = read_row(sqlite, statement, &worker, err);
	else if (rc == SQLITE_DONE)
		rc = pc__registry_not_found(err, worker_id);
	else
		rc = pc__sqlite_error(err, sqlite->db, "cannot read worker '%s'", worker_id);
	rest_locked(sqlite, GET);
	if (!rc)
		*ret_worker = worker;
	return rc;
}

static int replace_locked(struct sqlite_registry *sqlite, const struct pc_worker_info *worker,
			  struct pc_error *err)
{
	struct pc_worker_info stored;
	int rc = get_locked(sqlite, worker->worker_id, &stored, err);

	if (!rc)
		rc = pc__registry_check_change(err, stored.status, worker);
	if (rc)
		return rc;
	if (bind_worker_locked(sqlite, UPDATE, worker) || run_locked(sqlite, UPDATE))
		rc = pc__sqlite_error(err, sqlite->db, "cannot update worker '%s'",
				      worker->worker_id);
	rest_locked(sqlite, UPDATE);
	return rc;
}

/* Reading the old status and writing the new row are one transaction, also
 * against other processes. */
static int update_locked(struct sqlite_registry *sqlite, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	if (sqlite3_exec(sqlite->db, "BEGIN IMMEDIATE", NULL, NULL, NULL))
		return pc__sqlite_error(err, sqlite->db, "cannot update worker '%s'",
					worker->worker_id);

	int rc = replace_locked(sqlite, worker, err);

	if (!rc && sqlite3_exec(sqlite->db, "COMMIT", NULL, NULL, NULL))
		rc = pc__sqlite_error(err, sqlite->db, "cannot update worker '%s'",
				      worker->worker_id);
	if (rc)
		sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* ---- the backend ---- */

static int sqlite_insert(struct pc_registry *registry, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);

	int rc = bind_worker_locked(sqlite, INSERT, worker);

	if (!rc)
		rc = run_locked(sqlite, INSERT);
	if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE)
		rc = pc__registry_exists(err, worker->worker_id);
	else if (rc)
		rc = pc__sqlite_error(err, sqlite->db, "cannot register worker '%s'",
				      worker->worker_id);
	rest_locked(sqlite, INSERT);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

static int sqlite_update(struct pc_registry *registry, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);
	int rc = update_locked(sqlite, worker, err);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

static int sqlite_remove(struct pc_registry *registry, const char *worker_id, struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);

	int rc = sqlite3_bind_text(sqlite->statements[DELETE], 1, worker_id, -1, SQLITE_STATIC);

	if (rc || run_locked(sqlite, DELETE))
		rc = pc__sqlite_error(err, sqlite->db, "cannot unregister worker '%s'", worker_id);
	else if (sqlite3_changes(sqlite->db) == 0)
		rc = pc__registry_not_found(err, worker_id);
	rest_locked(sqlite, DELETE);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

static int sqlite_get(struct pc_registry *registry, const char *worker_id,
		      struct pc_worker_info *ret_worker, struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);
	int rc = get_locked(sqlite, worker_id, ret_worker, err);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

/* Adds the current row to a growing array. */
static int list_add_locked(struct sqlite_registry *sqlite, struct pc__buf *rows,
			   struct pc_error *err)
{
	struct pc_worker_info worker;
	int rc = read_row(sqlite, sqlite->statements[LIST], &worker, err);

	if (rc)
		return rc;
	pc__buf_append(rows, &worker, sizeof(worker));
	return rows->failed ? pc_error_oom(err) : 0;
}

static int sqlite_list(struct pc_registry *registry, struct pc_worker_info **ret_workers,
		       size_t *ret_count, struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);
	struct pc__buf rows = PC__BUF_INIT;
	int rc = 0, step;

	pthread_mutex_lock(&sqlite->lock);
	while ((step = sqlite3_step(sqlite->statements[LIST])) == SQLITE_ROW && !rc)
		rc = list_add_locked(sqlite, &rows, err);
	if (!rc && step != SQLITE_DONE)
		rc = pc__sqlite_error(err, sqlite->db, "cannot list the workers");
	rest_locked(sqlite, LIST);
	pthread_mutex_unlock(&sqlite->lock);
	if (rc) {
		pc__buf_fini(&rows);
		return rc;
	}
	*ret_count = rows.length / sizeof(struct pc_worker_info);
	*ret_workers = (struct pc_worker_info *)(void *)rows.data;
	return 0;
}

static int sqlite_remember(struct pc_registry *registry, const struct pc__measured_key *key,
			   uint64_t bytes, int64_t wall_ms, struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);
	int rc = pc__sqlite_measured_remember(&sqlite->measured, key, bytes, wall_ms, err);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

static int sqlite_recall(struct pc_registry *registry, const struct pc__measured_key *key,
			 struct pc_measured_memory *ret_measured, struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);
	int rc = pc__sqlite_measured_recall(&sqlite->measured, key, ret_measured, err);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

static void sqlite_close(struct pc_registry *registry)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(sqlite->statements[i]);
	pc__sqlite_measured_close(&sqlite->measured);
	sqlite3_close(sqlite->db);
	pthread_mutex_destroy(&sqlite->lock);
	pc_free(sqlite);
}

static const struct pc__registry_ops sqlite_ops = {
	.close = sqlite_close,
	.insert = sqlite_insert,
	.update = sqlite_update,
	.remove = sqlite_remove,
	.get = sqlite_get,
	.list = sqlite_list,
	.remember = sqlite_remember,
	.recall = sqlite_recall,
};

/* ---- opening ---- */

/* "a, b, c" or, with a pattern for the number, "?1, ?2, ?3" or "a = ?1, b = ?2, c = ?3". */
static void put_columns(struct pc__buf *sql, bool names, bool numbers)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(columns); i++) {
		pc__buf_puts(sql, i ? ", " : "");
		if (names)
			pc__buf_puts(sql, columns[i].name);
		if (names && numbers)
			pc__buf_puts(sql, " = ");
		if (numbers)
			pc__buf_printf(sql, "?%zu", i + 1);
	}
}

static void put_statement(struct pc__buf *sql, enum statement which)
{
	switch (which) {
	case INSERT:
		pc__buf_puts(sql, "INSERT INTO worker (");
		put_columns(sql, true, false);
		pc__buf_puts(sql, ") VALUES (");
		put_columns(sql, false, true);
		pc__buf_puts(sql, ")");
		break;
	case UPDATE:
		pc__buf_puts(sql, "UPDATE worker SET ");
		put_columns(sql, true, true);
		pc__buf_puts(sql, " WHERE worker_id = ?1");
		break;
	case DELETE:
		pc__buf_puts(sql, "DELETE FROM worker WHERE worker_id = ?1");
		break;
	case GET:
	case LIST:
		pc__buf_puts(sql, "SELECT ");
		put_columns(sql, true, false);
		pc__buf_puts(sql, which == GET
					  ? " FROM worker WHERE worker_id = ?1"
					  : " FROM worker ORDER BY spawned_wall_ms, worker_id");
		break;
	case STATEMENT_COUNT:
		break;
	}
}

static int prepare(struct sqlite_registry *sqlite, enum statement which, struct pc_error *err)
{
	struct pc__buf sql = PC__BUF_INIT;
	int rc = 0;

	put_statement(&sql, which);
	if (sql.failed)
		rc = pc_error_oom(err);
	else if (sqlite3_prepare_v3(sqlite->db, sql.data, -1, SQLITE_PREPARE_PERSISTENT,
				    &sqlite->statements[which], NULL))
		rc = pc__sqlite_error(err, sqlite->db, "cannot prepare the registry's statements");
	pc__buf_fini(&sql);
	return rc;
}

/* SQLite gives some names a meaning (":memory:", "file:..."); a path with a slash in front is only
 * a path. */
static char *plain_path(const char *path)
{
	struct pc__buf plain = PC__BUF_INIT;

	pc__buf_puts(&plain, path[0] == '/' ? "" : "./");
	pc__buf_puts(&plain, path);
	return pc__buf_steal(&plain);
}

int pc_registry_open_sqlite(const char *path, struct pc_registry **ret_registry,
			    struct pc_error *err)
{
	if (!path || !path[0] || !ret_registry)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the registry needs a path");

	pc_auto(pc_free) char *plain = plain_path(path);
	struct sqlite_registry *sqlite = pc_calloc(1, sizeof(*sqlite));

	if (!plain || !sqlite) {
		pc_free(sqlite);
		return pc_error_oom(err);
	}
	sqlite->base.ops = &sqlite_ops;
	pthread_mutex_init(&sqlite->lock, NULL);

	int rc = pc__sqlite_open(plain, &sqlite->db, err);

	for (int which = 0; !rc && which < STATEMENT_COUNT; which++)
		rc = prepare(sqlite, (enum statement)which, err);
	if (!rc)
		rc = pc__sqlite_measured_open(&sqlite->measured, sqlite->db, err);
	if (rc) {
		sqlite_close(&sqlite->base);
		return rc;
	}
	*ret_registry = &sqlite->base;
	return 0;
}
