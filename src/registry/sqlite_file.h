/* SPDX-License-Identifier: MIT */
/* sqlite_file.h - opens the registry's SQLite file in good order. Inside the library only. */
#ifndef REGISTRY_SQLITE_FILE_H
#define REGISTRY_SQLITE_FILE_H

#include <poolcore/error.h>

#include <sqlite3.h>

/* "POOL": tells our files from those of others (PRAGMA application_id). */
#define PC__SQLITE_APPLICATION_ID 0x504f4f4c

/* Creates, checks, if need be sets aside, and migrates the file at `path`. For
 * pc_registry_open_sqlite, which names the errors. The connection is for one thread at a time. */
int pc__sqlite_open(const char *path, sqlite3 **ret_db, struct pc_error *err);

/*
 * Brings the file from its schema version (PRAGMA user_version, 0 when it is new) to `step_count`:
 * steps[n] leads from version n to n + 1. All of them in one transaction, or none.
 */
int pc__sqlite_migrate(sqlite3 *db, const char *const steps[], int step_count,
		       struct pc_error *err);

/* Sets the error for a failed call on `db`, with SQLite's own text behind the sentence. */
int pc__sqlite_error(struct pc_error *err, sqlite3 *db, const char *fmt, ...) PC_PRINTF(3, 4);

/*
 * A transaction that writes, also against other processes; reading in it sees what it will change.
 * A failure to begin has begun nothing. finish commits when `rc` is 0, and undoes it all when it is
 * not or when that fails; its result is that of the whole. Both say "cannot <task> '<subject>'".
 */
int pc__sqlite_begin(sqlite3 *db, const char *task, const char *subject, struct pc_error *err);
int pc__sqlite_finish(sqlite3 *db, int rc, const char *task, const char *subject,
		      struct pc_error *err);

#endif
