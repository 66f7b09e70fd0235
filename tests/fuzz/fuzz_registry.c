/* SPDX-License-Identifier: MIT */
/*
 * fuzz_registry.c - what a stranger or a broken disk may have put where the registry is read. An
 * input that begins with SQLite's name is the file itself, byte for byte; any other one is the
 * values of rows behind a schema that is in order, each of whatever type. What the registry then
 * hands out must be a record that it would take, and what it does not hand out must be reported.
 */
#include <poolcore/log.h>
#include <poolcore/registry.h>

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/fuzz/fuzz.h"

static char folder[64], path[96]; /* of the file that an input is */
static unsigned reported;

/* The rows' registry stays open, and so does a look past it: opening takes most of the time. */
static char rows_path[64];
static struct pc_registry *rows;
static sqlite3 *rows_db;

static void log_hook(void *ctx, const struct pc_log_record *record)
{
	(void)ctx;
	for (size_t i = 0; i < record->field_count; i++) {
		const char *value = record->fields[i].value;

		check(pc__utf8_valid_prefix(value, strlen(value)) == strlen(value));
	}
	reported++;
}

/* In memory, where waiting for the disk costs nothing. */
static void make_folder(const char *parent)
{
	snprintf(folder, sizeof(folder), "%s/fuzz-registry-XXXXXX", parent);
	if (!mkdtemp(folder))
		folder[0] = '\0';
	snprintf(path, sizeof(path), "%s/registry.db", folder);
	snprintf(rows_path, sizeof(rows_path), "%.40s.db", folder);
}

/* The number of files that were in it. */
static unsigned empty_folder(void)
{
	DIR *dir = opendir(folder);
	unsigned count = 0;

	check(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] != '.')
			count += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
	}
	closedir(dir);
	return count;
}

static void clean_up(void)
{
	empty_folder();
	rmdir(folder);
	sqlite3_close(rows_db);
	pc_registry_close(rows);
	unlink(rows_path);
}

static void prepare(void)
{
	make_folder("/dev/shm");
	if (!folder[0])
		make_folder("/tmp");
	check(folder[0]);
	check(pc_registry_open_sqlite(rows_path, &rows, NULL) == 0);
	check(sqlite3_open(rows_path, &rows_db) == 0);
	sqlite3_exec(rows_db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	atexit(clean_up);
}

/* ---- what is handed out ---- */

static void check_error(const struct pc_error *err, int rc)
{
	check(err->code == rc);
	check(rc == 0 || err->message[0]);
	check(pc__utf8_valid_prefix(err->message, strlen(err->message)) == strlen(err->message));
}

/* A record that was read is one that could have been written. */
static void check_worker(struct pc_registry *registry, const struct pc_worker_info *worker)
{
	struct pc_registry *other;
	struct pc_worker_info again;
	struct pc_error err = PC_ERROR_INIT;
	int rc;

	check(pc_registry_open_memory(&other, NULL) == 0);
	check(pc_registry_register(other, worker, NULL) == 0);
	pc_registry_close(other);
	rc = pc_registry_get(registry, worker->worker_id, &again, &err);
	check_error(&err, rc);
	/* An index that contradicts its table finds nothing; quick_check does not look for that. */
	check(rc == 0 || rc == PC_E_WORKER_NOT_FOUND || rc == PC_E_IO);
}

static size_t read_workers(struct pc_registry *registry)
{
	struct pc_worker_info *workers = NULL;
	struct pc_error err = PC_ERROR_INIT;
	size_t count = 0;
	int rc = pc_registry_list(registry, &workers, &count, &err);

	check_error(&err, rc);
	for (size_t i = 0; i < count; i++)
		check_worker(registry, &workers[i]);
	if (count) {
		struct pc_measured_memory measured = { .count = 1, .last_bytes = 1 };
		struct pc_worker_exit exit = { .known = true };

		pc_error_clear(&err);
		rc = pc_registry_recall_memory(registry, "tiny", "llama-server", "gpu0", &measured,
					       &err);
		check_error(&err, rc);
		check(measured.count > 0 && measured.last_bytes > 0);
		pc_error_clear(&err);
		rc = pc_registry_end(registry, workers[0].worker_id, &exit, &err);
		check_error(&err, rc);
	}
	pc_free(workers);
	return count;
}

static size_t read_departed(struct pc_registry *registry, const char *model_id)
{
	struct pc_departed_worker *departed = NULL;
	struct pc_error err = PC_ERROR_INIT;
	size_t count = 0;
	int rc = pc_registry_list_departed(registry, model_id, &departed, &count, &err);

	check_error(&err, rc);
	for (size_t i = 0; i < count; i++) {
		const struct pc_departed_worker *one = &departed[i];

		check(one->worker_id[0]);
		check(memchr(one->worker_id, '\0', sizeof(one->worker_id)));
		check(memchr(one->backend, '\0', sizeof(one->backend)));
		check(memchr(one->device, '\0', sizeof(one->device)));
		check(memchr(one->exit.reason, '\0', sizeof(one->exit.reason)));
		check(!model_id || strcmp(one->model_id, model_id) == 0);
	}
	pc_free(departed);
	return count;
}

/* ---- a file ---- */

static void try_file(const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	int rc;

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
	reported = 0;
	rc = pc_registry_open_sqlite(path, &registry, &err);
	check_error(&err, rc);
	check(rc == 0 || rc == PC_E_IO || rc == PC_E_UNSUPPORTED);
	check((registry != NULL) == (rc == 0));
	if (registry) {
		read_workers(registry);
		read_departed(registry, NULL);
		read_departed(registry, "tiny");
	}
	pc_registry_close(registry);
	/* Nothing is ever lost: there is a file, and a second one if it was set aside. */
	check(empty_folder() >= 1);
}

/* ---- rows ---- */

struct input {
	const uint8_t *data;
	size_t size;
};

static uint8_t take_byte(struct input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

static int64_t take_number(struct input *input, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes; i++)
		number = number << 8 | take_byte(input);
	return (int64_t)number;
}

static void bind_value(sqlite3_stmt *statement, int at, struct input *input)
{
	uint8_t what = take_byte(input);
	size_t length = what >> 3;
	uint64_t bits;
	double number;

	switch (what & 7) {
	case 0:
		sqlite3_bind_int64(statement, at, what >> 3);
		break;
	case 1:
		sqlite3_bind_int64(statement, at, take_number(input, 8));
		break;
	case 2:
		bits = (uint64_t)take_number(input, 8);
		memcpy(&number, &bits, sizeof(number));
		sqlite3_bind_double(statement, at, number);
		break;
	case 3: /* longer than any member */
		sqlite3_bind_zeroblob(statement, at, (int)length * 64);
		break;
	case 4:
	case 5:
		length = length < input->size ? length : input->size;
		sqlite3_bind_text(statement, at, (const char *)input->data, (int)length,
				  SQLITE_TRANSIENT);
		input->data += length;
		input->size -= length;
		break;
	case 6:
		length = length < input->size ? length : input->size;
		sqlite3_bind_blob(statement, at, input->data, (int)length, SQLITE_TRANSIENT);
		input->data += length;
		input->size -= length;
		break;
	default: /* what is right in most columns that have a rule */
		sqlite3_bind_text(statement, at, pc_worker_status_name(what >> 3 & 7), -1,
				  SQLITE_STATIC);
		break;
	}
}

static int count_columns(const char *table)
{
	char sql[64];
	sqlite3_stmt *statement;
	int columns;

	snprintf(sql, sizeof(sql), "SELECT * FROM %s", table);
	check(sqlite3_prepare_v2(rows_db, sql, -1, &statement, NULL) == 0);
	columns = sqlite3_column_count(statement);
	sqlite3_finalize(statement);
	return columns;
}

/* Returns how many rows the schema took. */
static size_t insert_rows(const char *table, struct input *input, unsigned most)
{
	int columns = count_columns(table);
	char sql[160];
	sqlite3_stmt *statement;
	size_t inserted = 0;

	snprintf(sql, sizeof(sql), "INSERT INTO %s VALUES (?%.*s)", table, 2 * (columns - 1),
		 ",?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?");
	check(sqlite3_prepare_v2(rows_db, sql, -1, &statement, NULL) == 0);
	check(sqlite3_bind_parameter_count(statement) == columns);
	for (unsigned row = 0; row < most && input->size > 0; row++) {
		for (int i = 1; i <= columns; i++)
			bind_value(statement, i, input);
		inserted += sqlite3_step(statement) == SQLITE_DONE;
		sqlite3_reset(statement);
	}
	sqlite3_finalize(statement);
	return inserted;
}

static void try_rows(const uint8_t *data, size_t size)
{
	/* As many as are reported one by one. */
	enum { MOST = 4 };
	struct input input = { data, size };
	size_t workers, departed;

	check(sqlite3_exec(rows_db,
			   "BEGIN; DELETE FROM worker; DELETE FROM departed; "
			   "DELETE FROM measured_memory",
			   NULL, NULL, NULL) == 0);
	workers = insert_rows("worker", &input, MOST);
	departed = insert_rows("departed", &input, MOST);
	insert_rows("measured_memory", &input, MOST);
	check(sqlite3_exec(rows_db, "COMMIT", NULL, NULL, NULL) == 0);

	reported = 0;
	check(read_departed(rows, NULL) + reported == departed);
	reported = 0;
	check(read_workers(rows) + reported == workers);
	read_departed(rows, "tiny");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char name[] = "SQLite format 3";

	if (!folder[0])
		prepare();
	if (size >= sizeof(name) && memcmp(data, name, sizeof(name)) == 0)
		try_file(data, size);
	else
		try_rows(data, size);
	return 0;
}
