/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/registry: one suite of cases that every backend passes, and what SQLite alone
 * promises (files, damage, schema, death of a writer).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "registry/sqlite_file.h"
#include "tests/unit/fail_alloc.h"

/* ---- a folder for each test ---- */

static char folder[256];
static char db_path[300];

static int folder_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/poolcore-registry-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		return -1;
	snprintf(db_path, sizeof(db_path), "%s/registry.db", folder);
	return 0;
}

static int folder_teardown(void **state)
{
	char pattern[300];
	glob_t found;

	(void)state;
	pc_log_set(NULL, NULL, PC_LOG_DEBUG);
	pc_clock_set_source(NULL, NULL);
	snprintf(pattern, sizeof(pattern), "%s/*", folder);
	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			unlink(found.gl_pathv[i]);
		globfree(&found);
	}
	return rmdir(folder);
}

/* ---- workers ---- */

/* A record with something in every field. */
static struct pc_worker_info worker_make(const char *worker_id, int64_t spawned_wall_ms)
{
	struct pc_worker_info worker;

	/* Padding too, so that records can be compared as memory where they never left it. */
	memset(&worker, 0, sizeof(worker));
	snprintf(worker.worker_id, sizeof(worker.worker_id), "%s", worker_id);
	snprintf(worker.backend, sizeof(worker.backend), "llama-server");
	snprintf(worker.model_ref, sizeof(worker.model_ref),
		 "file:/models/it's \"one\"; -- \xff.gguf");
	snprintf(worker.model_id, sizeof(worker.model_id), "tiny");
	snprintf(worker.device, sizeof(worker.device), "gpu1");
	worker.gpu_id = 1;
	worker.port = 65535;
	snprintf(worker.socket, sizeof(worker.socket), "/run/w.sock");
	worker.status = PC_WORKER_SPAWNING;
	worker.pid = INT32_MAX;
	worker.start_ticks = UINT64_MAX - 7;
	snprintf(worker.boot_id, sizeof(worker.boot_id), "00000000-0000-4000-8000-000000000000");
	snprintf(worker.spawn_token, sizeof(worker.spawn_token),
		 "00112233445566778899aabbccddeeff");
	worker.spawned_wall_ms = spawned_wall_ms;
	worker.updated_wall_ms = spawned_wall_ms + 1;
	worker.reserved_bytes = UINT64_C(1) << 63;
	worker.measured_bytes = 3;
	worker.last_exit.known = true;
	worker.last_exit.code = -1;
	worker.last_exit.signal = SIGKILL;
	worker.last_exit.wall_ms = -5;
	snprintf(worker.last_exit.reason, sizeof(worker.last_exit.reason), "killed by SIGKILL");
	return worker;
}

static void assert_same_worker(const struct pc_worker_info *a, const struct pc_worker_info *b)
{
	assert_string_equal(a->worker_id, b->worker_id);
	assert_string_equal(a->backend, b->backend);
	assert_string_equal(a->model_ref, b->model_ref);
	assert_string_equal(a->model_id, b->model_id);
	assert_string_equal(a->device, b->device);
	assert_int_equal(a->gpu_id, b->gpu_id);
	assert_int_equal(a->port, b->port);
	assert_string_equal(a->socket, b->socket);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->pid, b->pid);
	assert_true(a->start_ticks == b->start_ticks);
	assert_string_equal(a->boot_id, b->boot_id);
	assert_string_equal(a->spawn_token, b->spawn_token);
	assert_true(a->spawned_wall_ms == b->spawned_wall_ms);
	assert_true(a->updated_wall_ms == b->updated_wall_ms);
	assert_true(a->reserved_bytes == b->reserved_bytes);
	assert_true(a->measured_bytes == b->measured_bytes);
	assert_int_equal(a->last_exit.known, b->last_exit.known);
	assert_int_equal(a->last_exit.code, b->last_exit.code);
	assert_int_equal(a->last_exit.signal, b->last_exit.signal);
	assert_true(a->last_exit.wall_ms == b->last_exit.wall_ms);
	assert_string_equal(a->last_exit.reason, b->last_exit.reason);
}

/* ---- backends ---- */

static int open_sqlite(struct pc_registry **ret_registry, struct pc_error *err)
{
	return pc_registry_open_sqlite(db_path, ret_registry, err);
}

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

static const struct backend {
	const char *name;
	int (*open)(struct pc_registry **ret_registry, struct pc_error *err);
	void (*fill)(struct pc_registry *registry);
} backends[] = {
	{ "memory", pc_registry_open_memory, fill_memory },
	{ "sqlite", open_sqlite, fill_sqlite },
};

static struct pc_registry *open_or_fail(const struct backend *backend)
{
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (backend->open(&registry, &err))
		fail_msg("%s: %s", backend->name, err.message);
	return registry;
}

static struct pc_registry *open_sqlite_or_fail(void)
{
	return open_or_fail(&backends[1]);
}

/* ---- what every backend does; *state is its row ---- */

static void stores_every_field(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info worker = worker_make("w-1-1", 1000), stored;

	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
	assert_same_worker(&worker, &stored);

	/* What is inside does not change with what was handed in or out. */
	stored.pid = 1;
	worker.pid = 2;
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
	assert_int_equal(stored.pid, INT32_MAX);

	/* Empty and extreme values. */
	memset(&worker, 0, sizeof(worker));
	snprintf(worker.worker_id, sizeof(worker.worker_id), "w-1-2");
	worker.gpu_id = -1;
	worker.spawned_wall_ms = INT64_MIN;
	memset(worker.model_ref, 'm', sizeof(worker.model_ref) - 1);
	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	assert_int_equal(pc_registry_get(registry, "w-1-2", &stored, NULL), 0);
	assert_same_worker(&worker, &stored);
	pc_registry_close(registry);
}

static void ids_are_unique(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info worker = worker_make("w-1-1", 1000), stored;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	worker.pid = 5;
	assert_int_equal(pc_registry_register(registry, &worker, &err), PC_E_ALREADY_EXISTS);
	assert_string_equal(err.message, "worker 'w-1-1' is registered already");
	assert_string_equal(pc_error_detail_get(&err, "worker_id"), "w-1-1");
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
	assert_int_equal(stored.pid, INT32_MAX);
	pc_registry_close(registry);
}

static void unknown_ids(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info worker = worker_make("w-9-9", 1000), stored = { .pid = -77 };
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_registry_get(registry, "w-9-9", &stored, &err), PC_E_WORKER_NOT_FOUND);
	assert_string_equal(err.message, "no worker 'w-9-9' is registered");
	assert_string_equal(pc_error_detail_get(&err, "worker_id"), "w-9-9");
	assert_int_equal(stored.pid, -77);
	assert_int_equal(pc_registry_update(registry, &worker, NULL), PC_E_WORKER_NOT_FOUND);
	assert_int_equal(pc_registry_unregister(registry, "w-9-9", NULL), PC_E_WORKER_NOT_FOUND);
	/* A failed update leaves nothing half done behind. */
	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	pc_registry_close(registry);
}

static void unregistering(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info stored, *workers;
	size_t count;

	for (int i = 0; i < 40; i++) {
		char id[16];

		snprintf(id, sizeof(id), "w-1-%d", i);

		struct pc_worker_info worker = worker_make(id, 1000 + i);

		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	}
	for (int i = 0; i < 40; i += 2) {
		char id[16];

		snprintf(id, sizeof(id), "w-1-%d", i);
		assert_int_equal(pc_registry_unregister(registry, id, NULL), 0);
		assert_int_equal(pc_registry_unregister(registry, id, NULL), PC_E_WORKER_NOT_FOUND);
		assert_int_equal(pc_registry_get(registry, id, &stored, NULL),
				 PC_E_WORKER_NOT_FOUND);
	}
	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	assert_int_equal(count, 20);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(workers[i].spawned_wall_ms, 1001 + 2 * (int)i);
	pc_free(workers);
	pc_registry_close(registry);
}

static void lists_by_spawn_time(void **state)
{
	static const struct {
		const char *id;
		int64_t spawned;
	} rows[] = { { "w-c", 300 }, { "w-a", 200 }, { "w-d", 100 }, { "w-b", 200 } };
	static const char *const expected[] = { "w-d", "w-a", "w-b", "w-c" };
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info *workers = (void *)&rows;
	size_t count = 99;

	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	assert_int_equal(count, 0);
	pc_free(workers);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_worker_info worker = worker_make(rows[i].id, rows[i].spawned);

		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	}
	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(workers[i].worker_id, expected[i]);
	pc_free(workers);
	pc_registry_close(registry);
}

static void status_follows_the_rules(void **state)
{
	enum { COUNT = PC_WORKER_STOPPED + 1 };
	struct pc_registry *registry = open_or_fail(*state);

	/* Every pair, from a record that is registered in the first of them. */
	for (int from = 0; from < COUNT; from++) {
		for (int to = 0; to < COUNT; to++) {
			struct pc_worker_info worker = worker_make("w-1-1", 1000), stored;
			struct pc_error err = PC_ERROR_INIT;
			bool allowed = from == to || pc_worker_status_may_become(from, to);

			worker.status = from;
			assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
			worker.status = to;
			worker.measured_bytes = 77;
			assert_int_equal(pc_registry_update(registry, &worker, &err),
					 allowed ? 0 : PC_E_INVALID_ARGUMENT);
			assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
			assert_int_equal(stored.status, allowed ? to : from);
			assert_int_equal(stored.measured_bytes, allowed ? 77 : 3);
			assert_int_equal(pc_registry_unregister(registry, "w-1-1", NULL), 0);
		}
	}

	struct pc_worker_info worker = worker_make("w-1-1", 1000);
	struct pc_error err = PC_ERROR_INIT;

	worker.status = PC_WORKER_STOPPED;
	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	worker.status = PC_WORKER_READY;
	assert_int_equal(pc_registry_update(registry, &worker, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "worker 'w-1-1' is stopped and cannot become ready");
	pc_registry_close(registry);
}

static void bad_arguments(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_info worker = worker_make("w-1-1", 1000), stored, *workers;
	struct pc_error err = PC_ERROR_INIT;
	size_t count;

	memset(worker.model_id, 'x', sizeof(worker.model_id));
	assert_int_equal(pc_registry_register(registry, &worker, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "model_id is longer than 159 bytes");

	pc_error_clear(&err);
	worker = worker_make("w-1-1", 1000);
	memset(worker.last_exit.reason, 'x', sizeof(worker.last_exit.reason));
	assert_int_equal(pc_registry_update(registry, &worker, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "last_exit.reason is longer than 191 bytes");

	pc_error_clear(&err);
	worker = worker_make("", 1000);
	assert_int_equal(pc_registry_register(registry, &worker, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "worker_id is empty");

	pc_error_clear(&err);
	worker = worker_make("w-1-1", 1000);
	worker.status = (enum pc_worker_status)99;
	assert_int_equal(pc_registry_register(registry, &worker, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "worker 'w-1-1': 99 is no status");

	assert_int_equal(pc_registry_register(NULL, &worker, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_register(registry, NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_get(registry, NULL, &stored, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_unregister(registry, "", NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_list(NULL, &workers, &count, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	assert_int_equal(count, 0);
	pc_free(workers);
	pc_registry_close(registry);
	pc_registry_close(NULL);
}

/* ---- measured memory ---- */

static uint64_t stopped_clock(void *ctx)
{
	return *(const uint64_t *)ctx;
}

static void remember(struct pc_registry *registry, const char *key, const char *engine,
		     const char *device, uint64_t bytes)
{
	struct pc_error err = PC_ERROR_INIT;

	if (pc_registry_remember_memory(registry, key, engine, device, bytes, &err))
		fail_msg("%s", err.message);
}

static void expect_measured(struct pc_registry *registry, const char *key, const char *engine,
			    const char *device, uint64_t highest, uint64_t last, uint64_t count)
{
	struct pc_measured_memory measured;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_registry_recall_memory(registry, key, engine, device, &measured, &err))
		fail_msg("%s", err.message);
	assert_true(measured.highest_bytes == highest);
	assert_true(measured.last_bytes == last);
	assert_true(measured.count == count);
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

	backend->fill(registry);
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

enum { THREADS = 6, ROUNDS = 12 };

struct thread_job {
	struct pc_registry *registry;
	int number;
	int failures;
};

/* cmocka's assertions belong to the main thread, so that this one counts. */
static void *thread_main(void *arg)
{
	struct thread_job *job = arg;

	for (int round = 0; round < ROUNDS; round++) {
		struct pc_worker_info stored, *workers = NULL;
		size_t count = 0;
		char id[32];

		snprintf(id, sizeof(id), "w-%d-%d", job->number, round);

		struct pc_worker_info worker = worker_make(id, round);

		job->failures += pc_registry_register(job->registry, &worker, NULL) != 0;
		worker.status = PC_WORKER_READY;
		job->failures += pc_registry_update(job->registry, &worker, NULL) != 0;
		job->failures += pc_registry_get(job->registry, id, &stored, NULL) != 0 ||
				 stored.status != PC_WORKER_READY;
		job->failures += pc_registry_list(job->registry, &workers, &count, NULL) != 0 ||
				 count < 1;
		pc_free(workers);
		job->failures += pc_registry_remember_memory(job->registry, "shared", "e", "cpu",
							     (uint64_t)round + 1, NULL) != 0;
		if (round % 2)
			job->failures += pc_registry_unregister(job->registry, id, NULL) != 0;
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct thread_job jobs[THREADS];
	pthread_t threads[THREADS];
	struct pc_measured_memory measured;
	struct pc_worker_info *workers;
	size_t count;

	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct thread_job){ .registry = registry, .number = i };
		assert_int_equal(pthread_create(&threads[i], NULL, thread_main, &jobs[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(jobs[i].failures, 0);
	}
	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	assert_int_equal(count, THREADS * ROUNDS / 2);
	pc_free(workers);
	assert_int_equal(pc_registry_recall_memory(registry, "shared", "e", "cpu", &measured, NULL),
			 0);
	assert_int_equal(measured.count, THREADS * ROUNDS);
	assert_int_equal(measured.highest_bytes, ROUNDS);
	pc_registry_close(registry);
}

/* Each call with each allocation refused: OUT_OF_MEMORY, nothing leaked, nothing half done. */
static void allocations_may_fail(void **state)
{
	const struct backend *backend = *state;
	const struct pc_worker_info one = worker_make("w-1-1", 1), two = worker_make("w-1-2", 2);
	unsigned refused = 0;

	for (unsigned n = 1;; n++) {
		struct pc_registry *registry = NULL;
		struct pc_worker_info *workers = NULL;
		struct pc_measured_memory measured = { .count = 0 };
		size_t count = 0;
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin(n);

		int rc = backend->open(&registry, &err);

		if (!rc)
			rc = pc_registry_register(registry, &one, &err);
		if (!rc)
			rc = pc_registry_register(registry, &two, &err);
		if (!rc)
			rc = pc_registry_update(registry, &two, &err);
		if (!rc)
			rc = pc_registry_list(registry, &workers, &count, &err);
		if (!rc)
			rc = pc_registry_remember_memory(registry, "tiny", "e", "cpu", 7, &err);
		if (!rc)
			rc = pc_registry_recall_memory(registry, "tiny", "e", "cpu", &measured,
						       &err);
		pc_free(workers);
		pc_registry_close(registry);
		assert_int_equal(fail_alloc_live(), 0);

		bool all = fail_alloc_end();

		assert_int_equal(rc, all ? 0 : PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, rc);
		if (all) {
			assert_int_equal(count, 2);
			assert_int_equal(measured.count, 1);
			break;
		}
		refused++;
		unlink(db_path);
	}
	assert_in_range(refused, 4, 1000);
}

/* ---- SQLite ---- */

static sqlite3 *raw_open(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	return db;
}

static void raw_exec(sqlite3 *db, const char *sql)
{
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int raw_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);

	int number = sqlite3_column_int(statement, 0);

	sqlite3_finalize(statement);
	return number;
}

static void raw_run(const char *sql)
{
	sqlite3 *db = raw_open();

	raw_exec(db, sql);
	sqlite3_close(db);
}

static size_t read_whole(const char *path, char *bytes, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);

	ssize_t length = read(fd, bytes, size);

	close(fd);
	assert_true(length >= 0);
	return (size_t)length;
}

static void write_whole(const char *path, const void *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

/* A registry with a few workers, closed. */
static void make_registry(int workers)
{
	struct pc_registry *registry = open_sqlite_or_fail();

	for (int i = 0; i < workers; i++) {
		char id[16];

		snprintf(id, sizeof(id), "w-1-%d", i);

		struct pc_worker_info worker = worker_make(id, i);

		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	}
	pc_registry_close(registry);
}

static size_t count_workers(struct pc_registry *registry)
{
	struct pc_worker_info *workers;
	size_t count;

	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	pc_free(workers);
	return count;
}

static void sqlite_persists(void **state)
{
	struct pc_worker_info expected = worker_make("w-1-1", 1), stored;

	(void)state;
	make_registry(3);

	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(count_workers(registry), 3);
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
	assert_same_worker(&expected, &stored);
	pc_registry_close(registry);
}

static void assert_mode_0600(const char *suffix)
{
	char path[320];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", db_path, suffix);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void sqlite_is_private(void **state)
{
	static const mode_t umasks[] = { 0, 022, 0777 };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(umasks); i++) {
		mode_t before = umask(umasks[i]);
		struct pc_registry *registry = open_sqlite_or_fail();
		struct pc_worker_info worker = worker_make("w-1-1", 1);

		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
		umask(before);
		assert_mode_0600("");
		assert_mode_0600("-wal");
		assert_mode_0600("-shm");
		pc_registry_close(registry);
		unlink(db_path);
	}

	make_registry(1);
	chmod(db_path, 0644);
	pc_registry_close(open_sqlite_or_fail());
	assert_mode_0600("");
}

static void sqlite_is_durable(void **state)
{
	struct pc_registry *registry;
	sqlite3 *db;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	registry = open_sqlite_or_fail();
	pc_registry_close(registry);
	assert_int_equal(pc__sqlite_open(db_path, &db, &err), 0);
	assert_int_equal(raw_number(db, "PRAGMA synchronous"), 2);
	assert_int_equal(raw_number(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
	assert_int_equal(raw_number(db, "PRAGMA application_id"), PC__SQLITE_APPLICATION_ID);
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 2);
	sqlite3_close(db);
}

/* What the log hook saw last. */
static struct {
	unsigned count;
	enum pc_log_level level;
	char subject[32], path[320], kept_as[400], reason[256];
} logged;

static void log_hook(void *ctx, const struct pc_log_record *record)
{
	(void)ctx;
	logged.count++;
	logged.level = record->level;
	snprintf(logged.subject, sizeof(logged.subject), "%s", record->subject);
	for (size_t i = 0; i < record->field_count; i++) {
		const struct pc_log_field *field = &record->fields[i];

		if (strcmp(field->key, "path") == 0)
			snprintf(logged.path, sizeof(logged.path), "%s", field->value);
		if (strcmp(field->key, "kept_as") == 0)
			snprintf(logged.kept_as, sizeof(logged.kept_as), "%s", field->value);
		if (strcmp(field->key, "reason") == 0)
			snprintf(logged.reason, sizeof(logged.reason), "%s", field->value);
	}
}

/* Opens a damaged file: it is kept byte for byte under another name and a usable one is there. */
static void expect_set_aside(const char *bytes, size_t length)
{
	static char kept[1 << 17];
	struct pc_worker_info worker = worker_make("w-2-1", 1);

	write_whole(db_path, bytes, length);
	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);

	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(logged.count, 1);
	assert_int_equal(logged.level, PC_LOG_ERROR);
	assert_string_equal(logged.subject, "registry");
	assert_string_equal(logged.path, db_path);
	assert_non_null(strstr(logged.kept_as, "/registry.db.corrupt-2"));
	assert_true(logged.reason[0] != '\0');
	assert_int_equal(read_whole(logged.kept_as, kept, sizeof(kept)), length);
	assert_memory_equal(kept, bytes, length);
	assert_int_equal(count_workers(registry), 0);
	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	pc_registry_close(registry);

	/* And it stays in use. */
	registry = open_sqlite_or_fail();
	assert_int_equal(logged.count, 1);
	assert_int_equal(count_workers(registry), 1);
	pc_registry_close(registry);
	unlink(db_path);
}

static void sqlite_damaged_files(void **state)
{
	static char good[1 << 17], bad[1 << 17];
	size_t length;

	(void)state;
	make_registry(40);
	length = read_whole(db_path, good, sizeof(good));
	assert_in_range(length, 3 * 4096, sizeof(good) - 1);
	unlink(db_path);

	/* No database at all. */
	memset(bad, 'x', 140);
	expect_set_aside(bad, 140);
	/* Truncated: in the header, in the first page, between pages, in the last page. */
	expect_set_aside(good, 50);
	expect_set_aside(good, 1000);
	expect_set_aside(good, 4096);
	expect_set_aside(good, length - 4096);
	expect_set_aside(good, length - 100);
	/* A page of rubbish in the middle, and the schema's own page. */
	memcpy(bad, good, length);
	memset(bad + 4096, 0x5a, 4096);
	expect_set_aside(bad, length);
	memcpy(bad, good, length);
	memset(bad + 100, 0x5a, 3000);
	expect_set_aside(bad, length);
}

/* The log of a damaged file must not be played into the new one. */
static void sqlite_damaged_with_log(void **state)
{
	static char file[1 << 17], log[1 << 17], kept[1 << 17];
	struct pc_worker_info worker = worker_make("w-2-1", 1);
	size_t file_length, log_length;
	char wal_path[320], kept_path[440];

	(void)state;
	snprintf(wal_path, sizeof(wal_path), "%s-wal", db_path);
	make_registry(40);

	/* As the machine's death leaves them: a file, and a log with good pages in it. */
	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	file_length = read_whole(db_path, file, sizeof(file));
	log_length = read_whole(wal_path, log, sizeof(log));
	assert_true(log_length > 4096);
	pc_registry_close(registry);
	memset(file + 4096, 0x5a, file_length - 4096);
	write_whole(db_path, file, file_length);
	write_whole(wal_path, log, log_length);

	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	registry = open_sqlite_or_fail();
	assert_int_equal(logged.count, 1);
	assert_int_equal(count_workers(registry), 0);
	pc_registry_close(registry);
	snprintf(kept_path, sizeof(kept_path), "%s-wal", logged.kept_as);
	assert_int_equal(read_whole(kept_path, kept, sizeof(kept)), log_length);
	assert_memory_equal(kept, log, log_length);
}

/* Opening must fail with UNSUPPORTED and leave the file as it is. */
static void expect_refused(const char *message)
{
	static char before[1 << 17], after[1 << 17];
	size_t length = read_whole(db_path, before, sizeof(before));
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	struct stat one, other;

	assert_int_equal(stat(db_path, &one), 0);
	assert_int_equal(open_sqlite(&registry, &err), PC_E_UNSUPPORTED);
	assert_int_equal(open_sqlite(&registry, NULL), PC_E_UNSUPPORTED);
	assert_null(registry);
	assert_string_equal(err.message, message);
	assert_int_equal(read_whole(db_path, after, sizeof(after)), length);
	assert_memory_equal(before, after, length);
	assert_int_equal(stat(db_path, &other), 0);
	assert_int_equal(one.st_mode, other.st_mode);
	assert_int_equal(one.st_ino, other.st_ino);
}

static void sqlite_newer_schema(void **state)
{
	char message[640];

	(void)state;
	make_registry(2);
	raw_run("PRAGMA user_version = 3");
	snprintf(message, sizeof(message),
		 "the registry '%s' has schema 3, of a newer version; this one knows up to 2",
		 db_path);
	expect_refused(message);
}

static void sqlite_foreign_files(void **state)
{
	char message[640];

	(void)state;
	raw_run("CREATE TABLE diary (day TEXT, entry TEXT)");
	chmod(db_path, 0644);
	snprintf(message, sizeof(message),
		 "'%s' is a database of another program (application id 0x00000000); give the "
		 "registry a file of its own",
		 db_path);
	expect_refused(message);
	raw_run("PRAGMA application_id = 0x47504b47");
	snprintf(message, sizeof(message),
		 "'%s' is a database of another program (application id 0x47504b47); give the "
		 "registry a file of its own",
		 db_path);
	expect_refused(message);
}

/* A file from before the first schema, the empty one of a crash at birth, is a new registry. */
static void sqlite_empty_file(void **state)
{
	(void)state;
	write_whole(db_path, "", 0);
	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	make_registry(1);
	assert_int_equal(logged.count, 0);
}

static void sqlite_migrations(void **state)
{
	/* The first three are good; the fourth goes with the fifth, which is not. */
	static const char *const steps[] = {
		"CREATE TABLE worker (worker_id TEXT PRIMARY KEY NOT NULL)",
		"ALTER TABLE worker ADD COLUMN note TEXT NOT NULL DEFAULT 'old'",
		"CREATE TABLE fleet (pool_id TEXT); INSERT INTO fleet VALUES ('here')",
		"CREATE TABLE more (x)",
		"CREATE TABLE fleet (again)",
	};
	struct pc_error err = PC_ERROR_INIT;
	sqlite3 *db = raw_open();

	(void)state;
	/* The first version, with data, as an older program left it. */
	assert_int_equal(pc__sqlite_migrate(db, steps, 1, &err), 0);
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 1);
	raw_exec(db, "INSERT INTO worker VALUES ('w-1-1')");

	assert_int_equal(pc__sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 3);
	assert_int_equal(raw_number(db, "PRAGMA application_id"), PC__SQLITE_APPLICATION_ID);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM worker WHERE note = 'old'"), 1);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM fleet"), 1);

	/* Nothing to do is done silently. */
	assert_int_equal(pc__sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM fleet"), 1);

	/* All steps or none. */
	assert_int_equal(pc__sqlite_migrate(db, steps, 5, &err), PC_E_IO);
	assert_string_equal(err.message, "migrating the schema from 4 to 5: 'CREATE TABLE fleet "
					 "(again)': table fleet already exists");
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 3);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'more'"),
			 0);
	sqlite3_close(db);
}

/* The first schema as it was released. It is not derived from the code: that is the point. */
static const char first_schema[] =
	"CREATE TABLE worker ("
	"  worker_id TEXT PRIMARY KEY NOT NULL, backend TEXT NOT NULL, model_ref TEXT NOT NULL,"
	"  model_id TEXT NOT NULL, device TEXT NOT NULL, gpu_id INTEGER NOT NULL,"
	"  port INTEGER NOT NULL, socket TEXT NOT NULL, status TEXT NOT NULL,"
	"  pid INTEGER NOT NULL, start_ticks INTEGER NOT NULL, boot_id TEXT NOT NULL,"
	"  spawn_token TEXT NOT NULL, spawned_wall_ms INTEGER NOT NULL,"
	"  updated_wall_ms INTEGER NOT NULL, reserved_bytes INTEGER NOT NULL,"
	"  measured_bytes INTEGER NOT NULL, exit_known INTEGER NOT NULL,"
	"  exit_code INTEGER NOT NULL, exit_signal INTEGER NOT NULL,"
	"  exit_wall_ms INTEGER NOT NULL, exit_reason TEXT NOT NULL"
	") WITHOUT ROWID;"
	"INSERT INTO worker VALUES ('w-1-1', 'llama-server', 'file:/m.gguf', 'tiny', 'gpu0', 0,"
	"  8080, '', 'ready', 42, 4711, 'boot', 'token', 1000, 2000, 300, 200, 0, 0, 0, 0, '');"
	"PRAGMA user_version = 1; PRAGMA application_id = 1347374924;";

static void sqlite_first_schema_is_migrated(void **state)
{
	struct pc_worker_info stored;

	(void)state;
	raw_run(first_schema);
	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	/* Twice: migrated, and found migrated. */
	for (uint64_t round = 1; round <= 2; round++) {
		struct pc_registry *registry = open_sqlite_or_fail();

		assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
		assert_string_equal(stored.backend, "llama-server");
		assert_string_equal(stored.spawn_token, "token");
		assert_int_equal(stored.status, PC_WORKER_READY);
		assert_int_equal(stored.pid, 42);
		assert_int_equal(stored.measured_bytes, 200);
		remember(registry, "tiny", "llama-server", "gpu0", 200);
		expect_measured(registry, "tiny", "llama-server", "gpu0", 200, 200, round);
		pc_registry_close(registry);
	}
	assert_int_equal(logged.count, 0);

	sqlite3 *db = raw_open();

	assert_int_equal(raw_number(db, "PRAGMA user_version"), 2);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM measured_memory"), 1);
	sqlite3_close(db);
}

/* An old file that cannot be migrated stays the old file. */
static void sqlite_failed_migration_changes_nothing(void **state)
{
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	raw_run(first_schema);
	raw_run("CREATE INDEX measured_memory_turn ON worker (pid)");
	assert_int_equal(open_sqlite(&registry, &err), PC_E_IO);
	assert_null(registry);
	assert_non_null(strstr(err.message, "migrating the schema from 1 to 2: "));
	assert_non_null(strstr(err.message, "index measured_memory_turn already exists"));

	sqlite3 *db = raw_open();

	assert_int_equal(raw_number(db, "PRAGMA user_version"), 1);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = "
					"'measured_memory'"),
			 0);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM worker"), 1);
	sqlite3_close(db);
}

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

static void sqlite_edited_rows(void **state)
{
	struct pc_worker_info stored = { .pid = -77 }, *workers = NULL;
	struct pc_error err = PC_ERROR_INIT;
	size_t count = 99;

	(void)state;
	make_registry(1);
	raw_run("UPDATE worker SET status = 'asleep'");

	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(pc_registry_get(registry, "w-1-0", &stored, &err), PC_E_IO);
	assert_string_equal(err.message,
			    "the registry's row of worker 'w-1-0' holds no valid status");
	assert_int_equal(stored.pid, -77);
	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), PC_E_IO);
	assert_int_equal(count, 99);
	raw_run("UPDATE worker SET status = 'ready', port = 65536");
	assert_int_equal(pc_registry_get(registry, "w-1-0", &stored, NULL), PC_E_IO);
	raw_run("UPDATE worker SET port = 1, device = 'a name that is too long for it'");
	assert_int_equal(pc_registry_get(registry, "w-1-0", &stored, NULL), PC_E_IO);
	/* It can still be thrown away. */
	assert_int_equal(pc_registry_unregister(registry, "w-1-0", NULL), 0);
	pc_registry_close(registry);
}

/* In a child without rights, because root may write everywhere. */
static void sqlite_unwritable_folder(void **state)
{
	(void)state;
	assert_int_equal(chmod(folder, 0555), 0);

	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct pc_registry *registry;
		struct pc_error err = PC_ERROR_INIT;
		char expected[640];

		if (getuid() == 0 && setuid(65534))
			_exit(1);
		snprintf(expected, sizeof(expected),
			 "cannot create the registry '%s': Permission denied", db_path);
		if (open_sqlite(&registry, &err) != PC_E_IO)
			_exit(2);
		if (strcmp(err.message, expected) != 0 || err.sys_errno != EACCES)
			_exit(3);
		_exit(0);
	}

	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(folder, 0755), 0);
}

static void sqlite_bad_paths(void **state)
{
	struct pc_registry *registry;
	struct pc_error err = PC_ERROR_INIT;
	static char longest[5000];
	char path[400], expected[640];

	(void)state;
	snprintf(path, sizeof(path), "%s/nowhere/registry.db", folder);
	snprintf(expected, sizeof(expected),
		 "cannot create the registry '%s': No such file or directory", path);
	assert_int_equal(pc_registry_open_sqlite(path, &registry, &err), PC_E_IO);
	assert_string_equal(err.message, expected);

	pc_error_clear(&err);
	snprintf(expected, sizeof(expected), "the registry '%s' is not a regular file", folder);
	assert_int_equal(pc_registry_open_sqlite(folder, &registry, &err), PC_E_IO);
	assert_string_equal(err.message, expected);

	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(pc_registry_open_sqlite(longest, &registry, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_open_sqlite("", &registry, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_open_sqlite(NULL, &registry, NULL), PC_E_INVALID_ARGUMENT);
}

/* Names that SQLite gives a meaning are only names here. */
static void sqlite_odd_names(void **state)
{
	static const char *const names[] = { ":memory:", "file:x?mode=memory" };
	char *before = getcwd(NULL, 0);

	(void)state;
	assert_int_equal(chdir(folder), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++) {
		struct pc_registry *registry;
		struct stat st;

		assert_int_equal(pc_registry_open_sqlite(names[i], &registry, NULL), 0);
		pc_registry_close(registry);
		assert_int_equal(stat(names[i], &st), 0);
		assert_true(st.st_size > 0);
	}
	assert_int_equal(chdir(before), 0);
	free(before);
}

/* ---- death of a writer ---- */

enum { KILLS = 50 };

struct ack {
	int generation, number;
	bool updated; /* or registered */
};

static void write_until_killed(int generation, int acks)
{
	struct pc_registry *registry;

	if (open_sqlite(&registry, NULL))
		_exit(1);
	for (int number = 0;; number++) {
		struct ack ack = { .generation = generation, .number = number };
		char id[32];

		snprintf(id, sizeof(id), "w-%d-%d", generation, number);

		struct pc_worker_info worker = worker_make(id, number);

		if (pc_registry_register(registry, &worker, NULL) ||
		    write(acks, &ack, sizeof(ack)) != sizeof(ack))
			_exit(2);
		worker.status = PC_WORKER_READY;
		ack.updated = true;
		if (pc_registry_update(registry, &worker, NULL) ||
		    write(acks, &ack, sizeof(ack)) != sizeof(ack))
			_exit(3);
	}
}

/*
 * A child writes and says what was acknowledged; it is killed in whatever it does after a number of
 * acknowledgements that varies. Each of them must be found afterwards.
 */
static void sqlite_survives_kill(void **state)
{
	unsigned random = 12345, checked = 0;

	(void)state;
	for (int generation = 0; generation < KILLS; generation++) {
		int acks[2], status;
		struct ack ack, last = { .number = -1 };

		assert_int_equal(pipe2(acks, O_CLOEXEC), 0);

		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			close(acks[0]);
			write_until_killed(generation, acks[1]);
		}
		close(acks[1]);
		random = random * 1103515245 + 12345;
		/* None: it may die while it opens the file. */
		for (unsigned left = random >> 16 & 15; left > 0; left--) {
			assert_int_equal(read(acks[0], &ack, sizeof(ack)), sizeof(ack));
			last = ack;
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while (read(acks[0], &ack, sizeof(ack)) == sizeof(ack))
			last = ack;
		close(acks[0]);

		struct pc_registry *registry = open_sqlite_or_fail();

		for (int number = 0; number <= last.number; number++) {
			struct pc_worker_info stored;
			char id[32];

			snprintf(id, sizeof(id), "w-%d-%d", generation, number);
			assert_int_equal(pc_registry_get(registry, id, &stored, NULL), 0);
			if (number < last.number || last.updated)
				assert_int_equal(stored.status, PC_WORKER_READY);
			checked++;
		}
		pc_registry_close(registry);
	}
	assert_in_range(checked, KILLS, 100000);

	/* No file was ever taken for a damaged one. */
	char pattern[400];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s.corrupt-*", db_path);
	assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

#define CASE(test, backend) \
	{ \
#test, test, folder_setup, folder_teardown, (void *)(backend) \
	}

#define EVERY_BACKEND(test) CASE(test, &backends[0]), CASE(test, &backends[1])
#define SQLITE(test) CASE(test, &backends[1])

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_BACKEND(stores_every_field),
		EVERY_BACKEND(ids_are_unique),
		EVERY_BACKEND(unknown_ids),
		EVERY_BACKEND(unregistering),
		EVERY_BACKEND(lists_by_spawn_time),
		EVERY_BACKEND(status_follows_the_rules),
		EVERY_BACKEND(bad_arguments),
		EVERY_BACKEND(memory_is_remembered),
		EVERY_BACKEND(measured_models_are_told_apart),
		EVERY_BACKEND(bad_measurements),
		EVERY_BACKEND(the_oldest_measurement_goes),
		EVERY_BACKEND(measurements_outlive_workers),
		EVERY_BACKEND(many_threads),
		EVERY_BACKEND(allocations_may_fail),
		SQLITE(sqlite_persists),
		SQLITE(sqlite_is_private),
		SQLITE(sqlite_is_durable),
		SQLITE(sqlite_damaged_files),
		SQLITE(sqlite_damaged_with_log),
		SQLITE(sqlite_newer_schema),
		SQLITE(sqlite_foreign_files),
		SQLITE(sqlite_empty_file),
		SQLITE(sqlite_migrations),
		SQLITE(sqlite_first_schema_is_migrated),
		SQLITE(sqlite_failed_migration_changes_nothing),
		SQLITE(sqlite_measurements_persist),
		SQLITE(sqlite_too_many_measurements),
		SQLITE(sqlite_edited_measurements),
		SQLITE(sqlite_failed_measurements),
		SQLITE(sqlite_edited_rows),
		SQLITE(sqlite_unwritable_folder),
		SQLITE(sqlite_bad_paths),
		SQLITE(sqlite_odd_names),
		SQLITE(sqlite_survives_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
