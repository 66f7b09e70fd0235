/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/registry: what models were measured to take, in every backend.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry_fixture.h"

/* Measurements of m1, m2, ... with engine "e" on "cpu", made in this order. */
static void fill_memory(struct pc_registry *registry)
{
	for (int i = 1; i <= PC_MEASURED_ROWS_MAX; i++) {
		char key[16];

		snprintf(key, sizeof(key), "m%d", i);
		assert_int_equal(pc_registry_remember_memory(registry, key, "e", "cpu", 7, NULL),
				 0);
	}
}

/* The same at once: each call would wait for the disk. */
static void fill_sqlite(struct pc_registry *registry)
{
	char sql[400];
	sqlite3 *db;

	(void)registry;
	snprintf(sql, sizeof(sql),
		 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		 "INSERT INTO measured_memory SELECT 'm' || i, 'e', 'cpu', 7, 7, 1, -i, i FROM n",
		 PC_MEASURED_ROWS_MAX);
	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* By the backend's place in `backends`. */
static void (*const fill[])(struct pc_registry *registry) = { fill_memory, fill_sqlite };

/* ---- measured memory ---- */

static uint64_t stopped_clock(void *ctx)
{
	return *(const uint64_t *)ctx;
}

static void expect_never_measured(struct pc_registry *registry, const char *key, const char *engine,
				  const char *device)
{
	struct pc_measured_memory measured = { .count = 77 };
	struct pc_error err = PC_ERROR_INIT;
	char message[640];

	snprintf(message, sizeof(message),
		 "the memory of model '%s' was never measured with engine '%s' on %s", key, engine,
		 device);
	assert_int_equal(pc_registry_recall_memory(registry, key, engine, device, &measured, &err),
			 PC_E_NOT_FOUND);
	assert_string_equal(err.message, message);
	assert_string_equal(pc_error_detail_get(&err, "key"), key);
	assert_string_equal(pc_error_detail_get(&err, "engine"), engine);
	assert_string_equal(pc_error_detail_get(&err, "device"), device);
	assert_true(measured.count == 77);
}

static void memory_is_remembered(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_measured_memory measured;
	uint64_t now = 1000 * PC_NS_PER_SEC;
	int64_t first, last;

	pc_clock_set_source(stopped_clock, &now);
	expect_never_measured(registry, "org/tiny", "llama", "cpu");
	first = pc_clock_wall_ms();
	remember(registry, "org/tiny", "llama", "cpu", 300);
	expect_measured(registry, "org/tiny", "llama", "cpu", 300, 300, 1);
	assert_int_equal(
		pc_registry_recall_memory(registry, "org/tiny", "llama", "cpu", &measured, NULL),
		0);
	assert_true(measured.last_wall_ms == first);

	remember(registry, "org/tiny", "llama", "cpu", 500);
	now += 60 * PC_NS_PER_SEC;
	last = pc_clock_wall_ms();
	assert_true(last == first + 60000);
	remember(registry, "org/tiny", "llama", "cpu", 400);
	expect_measured(registry, "org/tiny", "llama", "cpu", 500, 400, 3);
	assert_int_equal(
		pc_registry_recall_memory(registry, "org/tiny", "llama", "cpu", &measured, NULL),
		0);
	assert_true(measured.last_wall_ms == last);

	/* Unsigned, and to the end. */
	remember(registry, "org/tiny", "llama", "cpu", UINT64_MAX);
	remember(registry, "org/tiny", "llama", "cpu", 1);
	expect_measured(registry, "org/tiny", "llama", "cpu", UINT64_MAX, 1, 5);
	pc_registry_close(registry);
}

static void measured_models_are_told_apart(void **state)
{
	/* In pairs whose parts run together, differ in one part, or would be patterns. */
	static const char *const keys[][3] = {
		{ "ab", "c", "cpu" },	  { "a", "bc", "cpu" },	     { "A", "bc", "cpu" },
		{ "a", "bc", "gpu0" },	  { "a", "bcc", "pu" },	     { "a", "b", "ccpu" },
		{ "%", "_", "*" },	  { "a'b\"--", "';", "\"" }, { "a ", "bc", "cpu" },
		{ "\xc3\xa4", "e", "d" }, { "a\xcc\x88", "e", "d" }, { "1", "2", "3" },
		{ "01", "2", "3" },	  { "1.0", "2", "3" },
	};
	struct pc_registry *registry = open_or_fail(*state);
	char key[PC_MEASURED_KEY_MAX], engine[PC_MEASURED_ENGINE_MAX];
	char device[PC_MEASURED_DEVICE_MAX];

	for (size_t i = 0; i < PC_ARRAY_LEN(keys); i++) {
		expect_never_measured(registry, keys[i][0], keys[i][1], keys[i][2]);
		remember(registry, keys[i][0], keys[i][1], keys[i][2], 100 + i);
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(keys); i++)
		expect_measured(registry, keys[i][0], keys[i][1], keys[i][2], 100 + i, 100 + i, 1);

	/* As long as they may be. */
	memset(key, 'k', sizeof(key));
	memset(engine, 'e', sizeof(engine));
	memset(device, 'd', sizeof(device));
	key[sizeof(key) - 1] = engine[sizeof(engine) - 1] = device[sizeof(device) - 1] = '\0';
	remember(registry, key, engine, device, 5);
	expect_measured(registry, key, engine, device, 5, 5, 1);
	pc_registry_close(registry);
}

static void bad_measurements(void **state)
{
	static char long_key[PC_MEASURED_KEY_MAX + 1], long_engine[PC_MEASURED_ENGINE_MAX + 1];
	static char long_device[PC_MEASURED_DEVICE_MAX + 1];
	static const struct {
		const char *key, *engine, *device;
		uint64_t bytes;
		const char *message;
	} rows[] = {
		{ NULL, "e", "cpu", 1, "the model key is empty" },
		{ "", "e", "cpu", 1, "the model key is empty" },
		{ "m", NULL, "cpu", 1, "the engine is empty" },
		{ "m", "", "cpu", 1, "the engine is empty" },
		{ "m", "e", NULL, 1, "the device is empty" },
		{ "m", "e", "", 1, "the device is empty" },
		{ long_key, "e", "cpu", 1, "the model key is longer than 159 bytes" },
		{ "m", long_engine, "cpu", 1, "the engine is longer than 63 bytes" },
		{ "m", "e", long_device, 1, "the device is longer than 15 bytes" },
		{ "m\xff", "e", "cpu", 1, "the model key is not valid UTF-8 from its byte 2 on" },
		{ "m", "\xc0\x80", "cpu", 1, "the engine is not valid UTF-8 from its byte 1 on" },
		{ "m", "e", "cp\xe2\x82", 1, "the device is not valid UTF-8 from its byte 3 on" },
		{ "m", "e", "cpu", 0, "0 bytes is no measurement of model 'm'" },
	};
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_measured_memory measured = { .count = 77 };

	memset(long_key, 'k', PC_MEASURED_KEY_MAX);
	memset(long_engine, 'e', PC_MEASURED_ENGINE_MAX);
	memset(long_device, 'd', PC_MEASURED_DEVICE_MAX);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(pc_registry_remember_memory(registry, rows[i].key, rows[i].engine,
							     rows[i].device, rows[i].bytes, &err),
				 PC_E_INVALID_ARGUMENT);
		assert_string_equal(err.message, rows[i].message);
		if (rows[i].bytes == 0)
			continue;
		pc_error_clear(&err);
		assert_int_equal(pc_registry_recall_memory(registry, rows[i].key, rows[i].engine,
							   rows[i].device, &measured, &err),
				 PC_E_INVALID_ARGUMENT);
		assert_string_equal(err.message, rows[i].message);
	}
	expect_never_measured(registry, "m", "e", "cpu");
	assert_int_equal(pc_registry_remember_memory(NULL, "m", "e", "cpu", 1, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_recall_memory(NULL, "m", "e", "cpu", &measured, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_recall_memory(registry, "m", "e", "cpu", NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_true(measured.count == 77);
	pc_registry_close(registry);
}

/* With a clock that is set back, which must not matter. */
static void the_oldest_measurement_goes(void **state)
{
	const struct backend *backend = *state;
	struct pc_registry *registry = open_or_fail(backend);
	uint64_t now = 1000 * PC_NS_PER_SEC;
	char key[16];

	fill[backend - backends](registry);
	pc_clock_set_source(stopped_clock, &now);
	expect_measured(registry, "m1", "e", "cpu", 7, 7, 1);

	/* Measured again, the first is the newest; a new one takes the place of the second. */
	remember(registry, "m1", "e", "cpu", 8);
	now -= 900 * PC_NS_PER_SEC;
	remember(registry, "new", "e", "cpu", 9);
	expect_never_measured(registry, "m2", "e", "cpu");
	expect_measured(registry, "m1", "e", "cpu", 8, 8, 2);
	expect_measured(registry, "new", "e", "cpu", 9, 9, 1);
	for (int i = 3; i <= PC_MEASURED_ROWS_MAX; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		expect_measured(registry, key, "e", "cpu", 7, 7, 1);
	}

	/* Forgotten is forgotten: it begins anew, and now the third goes. */
	remember(registry, "m2", "e", "cpu", 5);
	expect_measured(registry, "m2", "e", "cpu", 5, 5, 1);
	expect_never_measured(registry, "m3", "e", "cpu");
	expect_measured(registry, "m4", "e", "cpu", 7, 7, 1);
	expect_measured(registry, "m1", "e", "cpu", 8, 8, 2);
	pc_registry_close(registry);
}

/* Workers come and go without touching them. */
static void measurements_outlive_workers(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info worker = worker_make("w-1-1", 1000);

	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	remember(registry, worker.model_id, worker.backend, worker.device, 5);
	assert_int_equal(pc_registry_unregister(registry, "w-1-1", NULL), 0);
	expect_measured(registry, worker.model_id, worker.backend, worker.device, 5, 5, 1);
	pc_registry_close(registry);
}

/* ---- SQLite ---- */

static void sqlite_measurements_persist(void **state)
{
	struct pc_registry *registry = open_sqlite_or_fail();

	(void)state;
	remember(registry, "tiny", "llama", "cpu", 500);
	remember(registry, "tiny", "llama", "cpu", 400);
	pc_registry_close(registry);
	registry = open_sqlite_or_fail();
	expect_measured(registry, "tiny", "llama", "cpu", 500, 400, 2);
	pc_registry_close(registry);
}

/* Of a table that has grown too large (a limit that was lowered) the oldest go together. */
static void sqlite_too_many_measurements(void **state)
{
	struct pc_registry *registry = open_sqlite_or_fail();

	(void)state;
	fill_sqlite(registry);
	raw_run("INSERT INTO measured_memory SELECT model, engine, 'gpu0', 7, 7, 1, 0, "
		"turn - 10000 FROM measured_memory");
	remember(registry, "new", "e", "cpu", 9);

	sqlite3 *db = raw_open();

	assert_int_equal(raw_number(db, "SELECT count(*) FROM measured_memory"),
			 PC_MEASURED_ROWS_MAX);
	assert_int_equal(
		raw_number(db, "SELECT count(*) FROM measured_memory WHERE device = 'gpu0'"), 0);
	sqlite3_close(db);
	expect_never_measured(registry, "m1", "e", "cpu");
	expect_measured(registry, "m2", "e", "cpu", 7, 7, 1);
	pc_registry_close(registry);
}

static void sqlite_edited_measurements(void **state)
{
	static const char *const edits[] = {
		"UPDATE measured_memory SET highest_bytes = 'much'",
		"UPDATE measured_memory SET highest_bytes = 1",
		"UPDATE measured_memory SET last_bytes = 0",
		"UPDATE measured_memory SET last_bytes = x'00ff'",
		"UPDATE measured_memory SET measurements = 0",
		"UPDATE measured_memory SET measurements = 1.5",
		"UPDATE measured_memory SET last_wall_ms = 'noon'",
	};
	struct pc_registry *registry = open_sqlite_or_fail();

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(edits); i++) {
		struct pc_measured_memory measured = { .count = 77 };
		struct pc_error err = PC_ERROR_INIT;

		remember(registry, "tiny", "llama", "cpu", 500);
		remember(registry, "tiny", "llama", "cpu", 400);
		raw_run(edits[i]);
		assert_int_equal(pc_registry_recall_memory(registry, "tiny", "llama", "cpu",
							   &measured, &err),
				 PC_E_IO);
		assert_string_equal(err.message,
				    "the registry's row of model 'tiny' with engine 'llama' on cpu "
				    "holds no valid measurement");
		assert_true(measured.count == 77);
		/* It begins anew. */
		remember(registry, "tiny", "llama", "cpu", 3);
		expect_measured(registry, "tiny", "llama", "cpu", 3, 3, 1);
	}
	/* A turn that cannot be is only an odd place in the order. */
	raw_run("UPDATE measured_memory SET turn = 9223372036854775807");
	remember(registry, "tiny", "llama", "cpu", 4);
	remember(registry, "small", "llama", "cpu", 5);
	expect_measured(registry, "tiny", "llama", "cpu", 4, 4, 2);
	pc_registry_close(registry);
}

static void sqlite_failed_measurements(void **state)
{
	struct pc_registry *registry = open_sqlite_or_fail();
	struct pc_measured_memory measured;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	remember(registry, "tiny", "llama", "cpu", 500);
	raw_run("CREATE TRIGGER full BEFORE INSERT ON measured_memory "
		"BEGIN SELECT raise(ABORT, 'no room'); END");
	assert_int_equal(pc_registry_remember_memory(registry, "tiny", "llama", "cpu", 900, &err),
			 PC_E_IO);
	assert_string_equal(err.message, "cannot remember the memory of model 'tiny': no room");
	expect_measured(registry, "tiny", "llama", "cpu", 500, 500, 1);
	/* No transaction was left open. */
	raw_run("DROP TRIGGER full");
	remember(registry, "tiny", "llama", "cpu", 600);
	expect_measured(registry, "tiny", "llama", "cpu", 600, 600, 2);

	raw_run("DROP TABLE measured_memory");
	pc_error_clear(&err);
	assert_int_equal(
		pc_registry_recall_memory(registry, "tiny", "llama", "cpu", &measured, &err),
		PC_E_IO);
	assert_string_equal(err.message, "cannot read the memory of model 'tiny': "
					 "no such table: measured_memory");
	pc_registry_close(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_BACKEND(memory_is_remembered),
		EVERY_BACKEND(measured_models_are_told_apart),
		EVERY_BACKEND(bad_measurements),
		EVERY_BACKEND(the_oldest_measurement_goes),
		EVERY_BACKEND(measurements_outlive_workers),
		SQLITE(sqlite_measurements_persist),
		SQLITE(sqlite_too_many_measurements),
		SQLITE(sqlite_edited_measurements),
		SQLITE(sqlite_failed_measurements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
