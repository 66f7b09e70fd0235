/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/registry: the suite of cases that every backend passes. What SQLite alone
 * promises is in test_registry_sqlite.c, the measurements are in test_registry_measured.c, the
 * departed in test_registry_departed.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/registry_fixture.h"

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

	/* kill(-1) is for everybody. */
	pc_error_clear(&err);
	worker = worker_make("w-1-1", 1000);
	worker.pid = -1;
	assert_int_equal(pc_registry_register(registry, &worker, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "worker 'w-1-1': -1 is no pid; the least is 0");
	worker.pid = 0;
	worker.stub_pid = -2;
	assert_int_equal(pc_registry_update(registry, &worker, NULL), PC_E_INVALID_ARGUMENT);
	worker.stub_pid = 0;
	worker.gpu_id = -2;
	assert_int_equal(pc_registry_register(registry, &worker, NULL), PC_E_INVALID_ARGUMENT);

	worker.gpu_id = -1;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_BACKEND(stores_every_field),   EVERY_BACKEND(ids_are_unique),
		EVERY_BACKEND(unknown_ids),	     EVERY_BACKEND(unregistering),
		EVERY_BACKEND(lists_by_spawn_time),  EVERY_BACKEND(status_follows_the_rules),
		EVERY_BACKEND(bad_arguments),	     EVERY_BACKEND(many_threads),
		EVERY_BACKEND(allocations_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
