/* SPDX-License-Identifier: MIT */
/*
 * sqlite_row.h - records to and from rows of the registry's SQLite file, by a table of columns.
 * Inside this room only.
 */
#ifndef REGISTRY_SQLITE_ROW_H
#define REGISTRY_SQLITE_ROW_H

#include <poolcore/error.h>

#include <sqlite3.h>

#include "base/text.h"

enum pc__column_type {
	PC__COLUMN_TEXT,   /* char[size]; min is the shortest length */
	PC__COLUMN_NUMBER, /* of 1, 2, 4 or 8 bytes, from min to max; signed when min is negative */
	PC__COLUMN_STATUS, /* enum pc_worker_status, stored by name */
};

struct pc__column {
	const char *name;
	enum pc__column_type type;
	size_t offset, size; /* in the record */
	sqlite3_int64 min, max;
};

/* Unsigned numbers of 64 bits are stored bit for bit. */
#define PC__COLUMN(record, column, kind, member, least, most) \
	{ \
		.name = #column, .type = (kind), .offset = offsetof(record, member), \
		.size = sizeof(((record *)NULL)->member), .min = (least), .max = (most) \
	}
#define PC__COLUMN_ANY INT64_MIN, INT64_MAX

/* The first column is a text that tells rows apart for people. */
struct pc__table {
	const char *subject; /* what a row is about, for messages */
	const struct pc__column *columns;
	size_t column_count;
	size_t record_bytes;
};

/* Appends "a, b, c", with numbers "?1, ?2, ?3", with both "a = ?1, b = ?2, c = ?3". */
void pc__table_put_columns(const struct pc__table *table, struct pc__buf *sql, bool names,
			   bool numbers);

/* Binds the record to ?1 and on; it has to live until the statement rests. SQLite's code. */
int pc__row_bind(sqlite3_stmt *statement, const struct pc__table *table, const void *record);
/* The current row of a statement that selects the table's columns. Errors: IO when it cannot be one
 * of ours (somebody edited it); OUT_OF_MEMORY. The record is written in any case. */
int pc__row_read(sqlite3_stmt *statement, const struct pc__table *table, void *record,
		 struct pc_error *err);

/* A person reads them; those of a file that is rubbish all through are enough. */
#define PC__ROWS_REASONS 8

/*
 * All rows of a statement. Those that cannot be ours are left out and counted, so that one of them
 * does not hide the others; pc__rows_report logs it when no lock is held any more. All zero is an
 * empty one.
 */
struct pc__rows {
	struct pc__buf records;
	size_t refused;
	char reasons[PC__ROWS_REASONS][PC_ERROR_MESSAGE_MAX]; /* of the first that were refused */
};

int pc__rows_read(sqlite3_stmt *statement, const struct pc__table *table, struct pc__rows *rows,
		  struct pc_error *err);
void pc__rows_report(const struct pc__rows *rows);
void pc__rows_fini(struct pc__rows *rows);

/* Ends a statement, so that it holds neither a lock nor the caller's strings. */
void pc__statement_rest(sqlite3_stmt *statement);
/* Runs a statement that returns no row, and ends it. SQLite's code. */
int pc__statement_run(sqlite3_stmt *statement);

#endif
