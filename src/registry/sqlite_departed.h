/* SPDX-License-Identifier: MIT */
/*
 * sqlite_departed.h - the workers that are gone, in the registry's SQLite file. Inside this room
 * only.
 */
#ifndef REGISTRY_SQLITE_DEPARTED_H
#define REGISTRY_SQLITE_DEPARTED_H

#include "registry/backend.h"
#include "registry/sqlite_row.h"

enum { PC__DEPARTED_ADD, PC__DEPARTED_TRIM, PC__DEPARTED_LIST, PC__DEPARTED_STATEMENTS };

/* All zero is a closed one. Its owner serialises and owns the connection. */
struct pc__sqlite_departed {
	sqlite3 *db;
	sqlite3_stmt *statements[PC__DEPARTED_STATEMENTS];
};

/* Prepares the statements; close it also after an error. */
int pc__sqlite_departed_open(struct pc__sqlite_departed *departed, sqlite3 *db,
			     struct pc_error *err);
void pc__sqlite_departed_close(struct pc__sqlite_departed *departed);
/*
 * Adds a row, and lets the oldest ones go. What it was (model, backend, device) is taken from its
 * record; the rest is `worker`'s. Part of the caller's transaction, which removes the record.
 * Errors: WORKER_NOT_FOUND, IO.
 */
int pc__sqlite_departed_add(struct pc__sqlite_departed *departed,
			    const struct pc_departed_worker *worker, struct pc_error *err);
/* Newest first; model_id NULL: of all models. */
int pc__sqlite_departed_read(struct pc__sqlite_departed *departed, const char *model_id,
			     struct pc__rows *rows, struct pc_error *err);

#endif
