/* SPDX-License-Identifier: MIT */
/*
 * sqlite_row.c - records to and from rows of the registry's SQLite file. A file may hold anything:
 * a column of SQLite takes values of every type, and people edit them. What is read is therefore
 * checked by type, length and range, and nothing is converted. No lock of its own.
 */
#include "registry/sqlite_row.h"

#include <poolcore/log.h>
#include <poolcore/types.h>

#include <stdio.h>
#include <string.h>

#include "registry/sqlite_file.h"

void pc__table_put_columns(const struct pc__table *table, struct pc__buf *sql, bool names,
			   bool numbers)
{
	for (size_t i = 0; i < table->column_count; i++) {
		pc__buf_puts(sql, i ? ", " : "");
		if (names)
			pc__buf_puts(sql, table->columns[i].name);
		if (names && numbers)
			pc__buf_puts(sql, " = ");
		if (numbers)
			pc__buf_printf(sql, "?%zu", i + 1);
	}
}

/* ---- numbers ---- */

static sqlite3_int64 load_number(const struct pc__column *column, const char *field)
{
	sqlite3_int64 wide;
	uint32_t number;
	uint16_t narrow;

	switch (column->size) {
	case sizeof(bool):
		return *(const bool *)field;
	case sizeof(narrow):
		memcpy(&narrow, field, sizeof(narrow));
		return narrow;
	case sizeof(number):
		memcpy(&number, field, sizeof(number));
		return column->min < 0 ? (sqlite3_int64)(int32_t)number : number;
	default:
		memcpy(&wide, field, sizeof(wide));
		return wide;
	}
}

static void store_number(const struct pc__column *column, char *field, sqlite3_int64 wide)
{
	uint32_t number = (uint32_t)wide;
	uint16_t narrow = (uint16_t)wide;

	switch (column->size) {
	case sizeof(bool):
		*(bool *)field = wide != 0;
		break;
	case sizeof(narrow):
		memcpy(field, &narrow, sizeof(narrow));
		break;
	case sizeof(number):
		memcpy(field, &number, sizeof(number));
		break;
	default:
		memcpy(field, &wide, sizeof(wide));
		break;
	}
}

/* ---- one row ---- */

static int bind_column(sqlite3_stmt *statement, int at, const struct pc__column *column,
		       const char *field)
{
	enum pc_worker_status status;

	switch (column->type) {
	case PC__COLUMN_TEXT:
		return sqlite3_bind_text(statement, at, field, -1, SQLITE_STATIC);
	case PC__COLUMN_NUMBER:
		return sqlite3_bind_int64(statement, at, load_number(column, field));
	case PC__COLUMN_STATUS:
		memcpy(&status, field, sizeof(status));
		return sqlite3_bind_text(statement, at, pc_worker_status_name(status), -1,
					 SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

int pc__row_bind(sqlite3_stmt *statement, const struct pc__table *table, const void *record)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; !rc && i < table->column_count; i++)
		rc = bind_column(statement, (int)i + 1, &table->columns[i],
				 (const char *)record + table->columns[i].offset);
	return rc;
}

/* NULL when the value is no text, has a NUL in it, or SQLite is out of memory. */
static const char *text_of(sqlite3_stmt *statement, int at, size_t *ret_length)
{
	const char *text;

	if (sqlite3_column_type(statement, at) != SQLITE_TEXT)
		return NULL;
	text = (const char *)sqlite3_column_text(statement, at);
	if (!text)
		return NULL;
	*ret_length = (size_t)sqlite3_column_bytes(statement, at);
	return memchr(text, '\0', *ret_length) ? NULL : text;
}

/* False when the stored value cannot be one of ours. */
static bool read_column(sqlite3_stmt *statement, int at, const struct pc__column *column,
			char *field)
{
	sqlite3_int64 wide;
	const char *text;
	size_t length;
	int status;

	switch (column->type) {
	case PC__COLUMN_TEXT:
		text = text_of(statement, at, &length);
		if (!text || length >= column->size || length < (size_t)column->min)
			return false;
		memcpy(field, text, length + 1);
		return true;
	case PC__COLUMN_NUMBER:
		/* Before any conversion, after which SQLite's answer means nothing. */
		if (sqlite3_column_type(statement, at) != SQLITE_INTEGER)
			return false;
		wide = sqlite3_column_int64(statement, at);
		store_number(column, field, wide);
		return wide >= column->min && wide <= column->max;
	case PC__COLUMN_STATUS:
		text = text_of(statement, at, &length);
		status = text ? pc_worker_status_from_name(text) : -1;
		if (status >= 0)
			memcpy(field, &(enum pc_worker_status){ status },
			       sizeof(enum pc_worker_status));
		return status >= 0;
	}
	return false;
}

/* Whatever stands in the first column, as far as a message may carry it. */
static void name_row(sqlite3_stmt *statement, char *out, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(statement, 0);

	snprintf(out, size, "%s", text ? text : "");
	pc__utf8_repair(out);
}

int pc__row_read(sqlite3_stmt *statement, const struct pc__table *table, void *record,
		 struct pc_error *err)
{
	memset(record, 0, table->record_bytes);
	for (size_t i = 0; i < table->column_count; i++) {
		const struct pc__column *column = &table->columns[i];
		char name[128];

		if (read_column(statement, (int)i, column, (char *)record + column->offset))
			continue;
		if (sqlite3_errcode(sqlite3_db_handle(statement)) == SQLITE_NOMEM)
			return pc_error_oom(err);
		name_row(statement, name, sizeof(name));
		return pc_error_set(err, PC_E_IO, "the registry's row of %s '%s' holds no valid %s",
				    table->subject, name, column->name);
	}
	return 0;
}

/* ---- all rows ---- */

static int add_row(sqlite3_stmt *statement, const struct pc__table *table, struct pc__rows *rows,
		   void *record, struct pc_error *err)
{
	struct pc_error why = PC_ERROR_INIT;
	int rc = pc__row_read(statement, table, record, &why);

	if (rc == PC_E_OUT_OF_MEMORY)
		return pc_error_oom(err);
	if (rc) {
		if (rows->refused < PC__ROWS_REASONS)
			snprintf(rows->reasons[rows->refused], sizeof(rows->reasons[0]), "%s",
				 why.message);
		rows->refused++;
		return 0;
	}
	pc__buf_append(&rows->records, record, table->record_bytes);
	return rows->records.failed ? pc_error_oom(err) : 0;
}

int pc__rows_read(sqlite3_stmt *statement, const struct pc__table *table, struct pc__rows *rows,
		  struct pc_error *err)
{
	pc_auto(pc_free) void *record = pc_malloc(table->record_bytes);
	int rc = record ? 0 : pc_error_oom(err), step = SQLITE_DONE;

	while (!rc && (step = sqlite3_step(statement)) == SQLITE_ROW)
		rc = add_row(statement, table, rows, record, err);
	if (!rc && step != SQLITE_DONE)
		rc = pc__sqlite_error(err, sqlite3_db_handle(statement), "cannot list the %ss",
				      table->subject);
	return rc;
}

void pc__rows_report(const struct pc__rows *rows)
{
	for (size_t i = 0; i < rows->refused && i < PC__ROWS_REASONS; i++)
		pc_log(PC_LOG_ERROR, "registry", PC_FIELDS({ "reason", rows->reasons[i] }),
		       "row is not valid: left out, and kept in the file for a person to look at");
	if (rows->refused > PC__ROWS_REASONS)
		pc_log(PC_LOG_ERROR, "registry", PC_NO_FIELDS,
		       "rows are not valid: %zu more left out, and kept in the file",
		       rows->refused - PC__ROWS_REASONS);
}

void pc__rows_fini(struct pc__rows *rows)
{
	pc__buf_fini(&rows->records);
}

/* ---- statements ---- */

void pc__statement_rest(sqlite3_stmt *statement)
{
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
}

int pc__statement_run(sqlite3_stmt *statement)
{
	int rc = sqlite3_step(statement);

	pc__statement_rest(statement);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}
