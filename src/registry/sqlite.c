/* SPDX-License-Identifier: MIT */
/*
 * sqlite.c - the registry in an SQLite file: the workers' rows in and out through statements that
 * are prepared once. Opening and the schema are sqlite_file.c's, the other tables are those of
 * sqlite_measured.c and sqlite_departed.c. One connection, one mutex: callers are few, and SQLite
 * has one writer anyway. The mutex is held while the disk writes, so none of these calls belongs on
 * an event loop. SQLite allocates for itself, not through our door.
 */
#include "registry/backend.h"

#include <pthread.h>
#include <string.h>

#include "base/text.h"
#include "registry/sqlite_departed.h"
#include "registry/sqlite_file.h"
#include "registry/sqlite_measured.h"
#include "registry/sqlite_row.h"

#define X(column, kind, member, ...) \
	PC__COLUMN(struct pc_worker_info, column, kind, member, __VA_ARGS__)
#define TEXT(member) X(member, PC__COLUMN_TEXT, member, 0, 0)
#define NUMBER(member, ...) X(member, PC__COLUMN_NUMBER, member, __VA_ARGS__)
#define EXIT(name, kind, ...) X(exit_##name, kind, last_exit.name, __VA_ARGS__)

/* The first is the key. */
static const struct pc__column columns[] = {
	X(worker_id, PC__COLUMN_TEXT, worker_id, 1, 0),
	TEXT(backend),
	TEXT(model_ref),
	TEXT(model_id),
	TEXT(device),
	NUMBER(gpu_id, -1, INT32_MAX),
	NUMBER(port, 0, UINT16_MAX),
	TEXT(socket),
	NUMBER(slots, 0, UINT32_MAX),
	TEXT(definition),
	X(status, PC__COLUMN_STATUS, status, 0, 0),
	NUMBER(pid, 0, INT32_MAX),
	NUMBER(stub_pid, 0, INT32_MAX),
	NUMBER(start_ticks, PC__COLUMN_ANY),
	NUMBER(pidfd_inode, PC__COLUMN_ANY),
	TEXT(boot_id),
	TEXT(spawn_token),
	NUMBER(spawned_wall_ms, PC__COLUMN_ANY),
	NUMBER(updated_wall_ms, PC__COLUMN_ANY),
	NUMBER(reserved_bytes, PC__COLUMN_ANY),
	NUMBER(measured_bytes, PC__COLUMN_ANY),
	EXIT(known, PC__COLUMN_NUMBER, 0, 1),
	EXIT(code, PC__COLUMN_NUMBER, INT32_MIN, INT32_MAX),
	EXIT(signal, PC__COLUMN_NUMBER, INT32_MIN, INT32_MAX),
	EXIT(wall_ms, PC__COLUMN_NUMBER, PC__COLUMN_ANY),
	EXIT(reason, PC__COLUMN_TEXT, 0, 0),
};

static const struct pc__table workers = {
	.subject = "worker",
	.columns = columns,
	.column_count = PC_ARRAY_LEN(columns),
	.record_bytes = sizeof(struct pc_worker_info),
};

enum statement { INSERT, UPDATE, DELETE, GET, LIST, STATEMENT_COUNT };

struct sqlite_registry {
	struct pc_registry base;
	pthread_mutex_t lock;
	sqlite3 *db;				   /* [lock] */
	sqlite3_stmt *statements[STATEMENT_COUNT]; /* [lock] reset whenever nobody holds it */
	struct pc__sqlite_measured measured;	   /* [lock] */
	struct pc__sqlite_departed departed;	   /* [lock] */
};

static struct sqlite_registry *sqlite_of(struct pc_registry *registry)
{
	return (struct sqlite_registry *)registry;
}

/* ---- statements ---- */

static int get_locked(struct sqlite_registry *sqlite, const char *worker_id,
		      struct pc_worker_info *ret_worker, struct pc_error *err)
{
	sqlite3_stmt *statement = sqlite->statements[GET];
	struct pc_worker_info worker = { .pid = 0 };
	int rc = sqlite3_bind_text(statement, 1, worker_id, -1, SQLITE_STATIC);

	if (!rc)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		rc = pc__row_read(statement, &workers, &worker, err);
	else if (rc == SQLITE_DONE)
		rc = pc__registry_not_found(err, worker_id);
	else
		rc = pc__sqlite_error(err, sqlite->db, "cannot read worker '%s'", worker_id);
	pc__statement_rest(statement);
	if (!rc)
		*ret_worker = worker;
	return rc;
}

/* Binds the record and runs the statement. SQLite's code. */
static int write_locked(struct sqlite_registry *sqlite, enum statement which,
			const struct pc_worker_info *worker)
{
	sqlite3_stmt *statement = sqlite->statements[which];
	int rc = pc__row_bind(statement, &workers, worker);

	if (!rc)
		return pc__statement_run(statement);
	pc__statement_rest(statement);
	return rc;
}

static int replace_locked(struct sqlite_registry *sqlite, const struct pc_worker_info *worker,
			  struct pc_error *err)
{
	struct pc_worker_info stored;
	int rc = get_locked(sqlite, worker->worker_id, &stored, err);

	if (!rc)
		rc = pc__registry_check_change(err, stored.status, worker);
	if (!rc && write_locked(sqlite, UPDATE, worker))
		rc = pc__sqlite_error(err, sqlite->db, "cannot update worker '%s'",
				      worker->worker_id);
	return rc;
}

/* Reading the old status and writing the new row are one transaction, also
 * against other processes. */
static int update_locked(struct sqlite_registry *sqlite, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	int rc = pc__sqlite_begin(sqlite->db, "update worker", worker->worker_id, err);

	if (rc)
		return rc;
	rc = replace_locked(sqlite, worker, err);
	return pc__sqlite_finish(sqlite->db, rc, "update worker", worker->worker_id, err);
}

static int remove_locked(struct sqlite_registry *sqlite, const char *worker_id,
			 struct pc_error *err)
{
	sqlite3_stmt *statement = sqlite->statements[DELETE];

	if (sqlite3_bind_text(statement, 1, worker_id, -1, SQLITE_STATIC) ||
	    pc__statement_run(statement))
		return pc__sqlite_error(err, sqlite->db, "cannot unregister worker '%s'",
					worker_id);
	return sqlite3_changes(sqlite->db) ? 0 : pc__registry_not_found(err, worker_id);
}

/* One transaction: a death is counted, or the record is still there. */
static int end_locked(struct sqlite_registry *sqlite, const struct pc_departed_worker *departed,
		      struct pc_error *err)
{
	int rc = pc__sqlite_begin(sqlite->db, "end worker", departed->worker_id, err);

	if (rc)
		return rc;
	rc = pc__sqlite_departed_add(&sqlite->departed, departed, err);
	if (!rc)
		rc = remove_locked(sqlite, departed->worker_id, err);
	return pc__sqlite_finish(sqlite->db, rc, "end worker", departed->worker_id, err);
}

/* ---- the backend ---- */

static int sqlite_insert(struct pc_registry *registry, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);

	int rc = write_locked(sqlite, INSERT, worker);

	if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE)
		rc = pc__registry_exists(err, worker->worker_id);
	else if (rc)
		rc = pc__sqlite_error(err, sqlite->db, "cannot register worker '%s'",
				      worker->worker_id);
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
	int rc = remove_locked(sqlite, worker_id, err);
	pthread_mutex_unlock(&sqlite->lock);
	return rc;
}

static int sqlite_end(struct pc_registry *registry, const struct pc_departed_worker *departed,
		      struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);

	pthread_mutex_lock(&sqlite->lock);
	int rc = end_locked(sqlite, departed, err);
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

/* What was read becomes the caller's, who holds no lock any more, so that it may be logged. */
static int hand_over(struct pc__rows *rows, size_t record_bytes, int rc, void **ret_records,
		     size_t *ret_count)
{
	if (!rc) {
		pc__rows_report(rows);
		*ret_count = rows->records.length / record_bytes;
		*ret_records = pc_steal(&rows->records.data);
	}
	pc__rows_fini(rows);
	return rc;
}

static int sqlite_list(struct pc_registry *registry, struct pc_worker_info **ret_workers,
		       size_t *ret_count, struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);
	struct pc__rows rows = { .refused = 0 };
	void *records = NULL;

	pthread_mutex_lock(&sqlite->lock);
	int rc = pc__rows_read(sqlite->statements[LIST], &workers, &rows, err);
	pthread_mutex_unlock(&sqlite->lock);
	rc = hand_over(&rows, sizeof(struct pc_worker_info), rc, &records, ret_count);
	if (!rc)
		*ret_workers = records;
	return rc;
}

static int sqlite_list_departed(struct pc_registry *registry, const char *model_id,
				struct pc_departed_worker **ret_departed, size_t *ret_count,
				struct pc_error *err)
{
	struct sqlite_registry *sqlite = sqlite_of(registry);
	struct pc__rows rows = { .refused = 0 };
	void *records = NULL;

	pthread_mutex_lock(&sqlite->lock);
	int rc = pc__sqlite_departed_read(&sqlite->departed, model_id, &rows, err);
	pthread_mutex_unlock(&sqlite->lock);
	rc = hand_over(&rows, sizeof(struct pc_departed_worker), rc, &records, ret_count);
	if (!rc)
		*ret_departed = records;
	return rc;
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
	pc__sqlite_departed_close(&sqlite->departed);
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
	.end = sqlite_end,
	.list_departed = sqlite_list_departed,
	.remember = sqlite_remember,
	.recall = sqlite_recall,
};

/* ---- opening ---- */

static void put_statement(struct pc__buf *sql, enum statement which)
{
	switch (which) {
	case INSERT:
		pc__buf_puts(sql, "INSERT INTO worker (");
		pc__table_put_columns(&workers, sql, true, false);
		pc__buf_puts(sql, ") VALUES (");
		pc__table_put_columns(&workers, sql, false, true);
		pc__buf_puts(sql, ")");
		break;
	case UPDATE:
		pc__buf_puts(sql, "UPDATE worker SET ");
		pc__table_put_columns(&workers, sql, true, true);
		pc__buf_puts(sql, " WHERE worker_id = ?1");
		break;
	case DELETE:
		pc__buf_puts(sql, "DELETE FROM worker WHERE worker_id = ?1");
		break;
	case GET:
	case LIST:
		pc__buf_puts(sql, "SELECT ");
		pc__table_put_columns(&workers, sql, true, false);
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
	if (!rc)
		rc = pc__sqlite_departed_open(&sqlite->departed, sqlite->db, err);
	if (rc) {
		sqlite_close(&sqlite->base);
		return rc;
	}
	*ret_registry = &sqlite->base;
	return 0;
}
