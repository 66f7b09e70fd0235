/* SPDX-License-Identifier: MIT */
/*
 * registry_fixture.h - what the tests of src/registry share: a folder for each test, a record with
 * something in every field, the backends, and a look into the file past the registry. A test of
 * every backend finds its row of `backends` in *state.
 */
#ifndef TESTS_UNIT_REGISTRY_FIXTURE_H
#define TESTS_UNIT_REGISTRY_FIXTURE_H

#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a folder for each test ---- */

static char folder[256];
static char db_path[300];

static inline int folder_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/poolcore-registry-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		return -1;
	snprintf(db_path, sizeof(db_path), "%s/registry.db", folder);
	return 0;
}

static inline int folder_teardown(void **state)
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
static inline struct pc_worker_info worker_make(const char *worker_id, int64_t spawned_wall_ms)
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
	worker.slots = UINT32_MAX;
	memset(worker.definition, 'f', sizeof(worker.definition) - 1);
	worker.pid = INT32_MAX;
	worker.stub_pid = INT32_MAX - 1;
	worker.start_ticks = UINT64_MAX - 7;
	worker.pidfd_inode = UINT64_MAX - 8;
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

static inline void assert_same_worker(const struct pc_worker_info *a,
				      const struct pc_worker_info *b)
{
	assert_string_equal(a->worker_id, b->worker_id);
	assert_string_equal(a->backend, b->backend);
	assert_string_equal(a->model_ref, b->model_ref);
	assert_string_equal(a->model_id, b->model_id);
	assert_string_equal(a->device, b->device);
	assert_int_equal(a->gpu_id, b->gpu_id);
	assert_int_equal(a->port, b->port);
	assert_string_equal(a->socket, b->socket);
	assert_true(a->slots == b->slots);
	assert_string_equal(a->definition, b->definition);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->pid, b->pid);
	assert_int_equal(a->stub_pid, b->stub_pid);
	assert_true(a->start_ticks == b->start_ticks);
	assert_true(a->pidfd_inode == b->pidfd_inode);
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

static inline int open_sqlite(struct pc_registry **ret_registry, struct pc_error *err)
{
	return pc_registry_open_sqlite(db_path, ret_registry, err);
}

static const struct backend {
	const char *name;
	int (*open)(struct pc_registry **ret_registry, struct pc_error *err);
} backends[] = {
	{ "memory", pc_registry_open_memory },
	{ "sqlite", open_sqlite },
};

static inline struct pc_registry *open_or_fail(const struct backend *backend)
{
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (backend->open(&registry, &err))
		fail_msg("%s: %s", backend->name, err.message);
	return registry;
}

static inline struct pc_registry *open_sqlite_or_fail(void)
{
	return open_or_fail(&backends[1]);
}

/* ---- measurements ---- */

static inline void remember(struct pc_registry *registry, const char *key, const char *engine,
			    const char *device, uint64_t bytes)
{
	struct pc_error err = PC_ERROR_INIT;

	if (pc_registry_remember_memory(registry, key, engine, device, bytes, &err))
		fail_msg("%s", err.message);
}

static inline void expect_measured(struct pc_registry *registry, const char *key,
				   const char *engine, const char *device, uint64_t highest,
				   uint64_t last, uint64_t count)
{
	struct pc_measured_memory measured;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_registry_recall_memory(registry, key, engine, device, &measured, &err))
		fail_msg("%s", err.message);
	assert_true(measured.highest_bytes == highest);
	assert_true(measured.last_bytes == last);
	assert_true(measured.count == count);
}

#define CASE(test, backend) \
	{ \
#test, test, folder_setup, folder_teardown, (void *)(backend) \
	}

#define EVERY_BACKEND(test) CASE(test, &backends[0]), CASE(test, &backends[1])
#define SQLITE(test) CASE(test, &backends[1])

/* ---- the file, past the registry ---- */

static inline sqlite3 *raw_open(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	return db;
}

static inline void raw_exec(sqlite3 *db, const char *sql)
{
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static inline int raw_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);

	int number = sqlite3_column_int(statement, 0);

	sqlite3_finalize(statement);
	return number;
}

static inline void raw_run(const char *sql)
{
	sqlite3 *db = raw_open();

	raw_exec(db, sql);
	sqlite3_close(db);
}

static inline size_t read_whole(const char *path, char *bytes, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);

	ssize_t length = read(fd, bytes, size);

	close(fd);
	assert_true(length >= 0);
	return (size_t)length;
}

static inline void write_whole(const char *path, const void *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

/* A registry with a few workers, closed. */
static inline void make_registry(int workers)
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

static inline size_t count_workers(struct pc_registry *registry)
{
	struct pc_worker_info *workers;
	size_t count;

	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	pc_free(workers);
	return count;
}

/* ---- what is reported ---- */

/* What the log hook saw last. */
static struct {
	unsigned count;
	enum pc_log_level level;
	char subject[32], message[256], path[320], kept_as[400], reason[256];
} logged;

static inline void log_hook(void *ctx, const struct pc_log_record *record)
{
	(void)ctx;
	logged.count++;
	logged.level = record->level;
	snprintf(logged.subject, sizeof(logged.subject), "%s", record->subject);
	snprintf(logged.message, sizeof(logged.message), "%s", record->message);
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

#endif
