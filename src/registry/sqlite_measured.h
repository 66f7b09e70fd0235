/* SPDX-License-Identifier: MIT */
/*
 * sqlite_measured.h - what models were measured to take, in the registry's SQLite file. Inside this
 * room only.
 */
#ifndef REGISTRY_SQLITE_MEASURED_H
#define REGISTRY_SQLITE_MEASURED_H

#include "registry/backend.h"

#include <sqlite3.h>

enum { PC__MEASURED_GET, PC__MEASURED_PUT, PC__MEASURED_TRIM, PC__MEASURED_STATEMENTS };

/* All zero is a closed one. Its owner serialises and owns the connection. */
struct pc__sqlite_measured {
	sqlite3 *db;
	sqlite3_stmt *statements[PC__MEASURED_STATEMENTS];
};

/* Prepares the statements; close it also after an error. */
int pc__sqlite_measured_open(struct pc__sqlite_measured *measured, sqlite3 *db,
			     struct pc_error *err);
void pc__sqlite_measured_close(struct pc__sqlite_measured *measured);
/* One transaction, also against other processes. */
int pc__sqlite_measured_remember(struct pc__sqlite_measured *measured,
				 const struct pc__measured_key *key, uint64_t bytes,
				 int64_t wall_ms, struct pc_error *err);
int pc__sqlite_measured_recall(struct pc__sqlite_measured *measured,
			       const struct pc__measured_key *key,
			       struct pc_measured_memory *ret_measured, struct pc_error *err);

#endif
