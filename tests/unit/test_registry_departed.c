/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/registry: workers that are gone and how they ended, in every backend.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/registry_fixture.h"

static uint64_t stopped_clock(void *ctx)
{
	return *(const uint64_t *)ctx;
}

static const struct pc_worker_exit killed = {
	.known = true, .code = -1, .signal = SIGKILL, .wall_ms = -5, .reason = "killed by SIGKILL"
};

static void begin(struct pc_registry *registry, const char *worker_id, const char *model_id)
{
	struct pc_worker_info worker = worker_make(worker_id, 1000);
	struct pc_error err = PC_ERROR_INIT;

	snprintf(worker.model_id, sizeof(worker.model_id), "%s", model_id);
	if (pc_registry_register(registry, &worker, &err))
		fail_msg("%s", err.message);
}

static void end(struct pc_registry *registry, const char *worker_id,
		const struct pc_worker_exit *exit)
{
	struct pc_error err = PC_ERROR_INIT;

	if (pc_registry_end(registry, worker_id, exit, &err))
		fail_msg("%s", err.message);
}

/* Their ids, newest first, with a space behind each. */
static void expect_departed(struct pc_registry *registry, const char *model_id,
			    const char *expected)
{
	struct pc_departed_worker *departed;
	struct pc_error err = PC_ERROR_INIT;
	char ids[256] = "";
	size_t count;

	if (pc_registry_list_departed(registry, model_id, &departed, &count, &err))
		fail_msg("%s", err.message);
	assert_true((departed == NULL) == (count == 0));
	for (size_t i = 0; i < count; i++) {
		strcat(ids, departed[i].worker_id);
		strcat(ids, " ");
	}
	pc_free(departed);
	assert_string_equal(ids, expected);
}

static void the_end_is_remembered(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_departed_worker *departed;
	struct pc_worker_info stored;
	uint64_t now = 1000 * PC_NS_PER_SEC;
	size_t count;

	expect_departed(registry, NULL, "");
	pc_clock_set_source(stopped_clock, &now);
	begin(registry, "w-1-1", "tiny");
	end(registry, "w-1-1", &killed);
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), PC_E_WORKER_NOT_FOUND);

	assert_int_equal(pc_registry_list_departed(registry, NULL, &departed, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(departed->worker_id, "w-1-1");
	assert_string_equal(departed->model_id, "tiny");
	assert_string_equal(departed->backend, "llama-server");
	assert_string_equal(departed->device, "gpu1");
	assert_true(departed->exit.known);
	assert_int_equal(departed->exit.code, -1);
	assert_int_equal(departed->exit.signal, SIGKILL);
	assert_int_equal(departed->exit.wall_ms, -5);
	assert_string_equal(departed->exit.reason, "killed by SIGKILL");
	assert_true(departed->wall_ms == pc_clock_wall_ms());
	pc_free(departed);
	pc_registry_close(registry);
}

static void departed_are_listed_by_model(void **state)
{
	static const struct pc_worker_exit unknown = { .known = false, .code = -1 };
	struct pc_registry *registry = open_or_fail(*state);
	uint64_t now = 1000 * PC_NS_PER_SEC;

	/* The order is that of the calls, whatever the clock says. */
	pc_clock_set_source(stopped_clock, &now);
	begin(registry, "w-1-1", "tiny");
	begin(registry, "w-1-2", "large");
	begin(registry, "w-1-3", "tiny");
	begin(registry, "w-1-4", "");
	end(registry, "w-1-3", &killed);
	now -= 900 * PC_NS_PER_SEC;
	end(registry, "w-1-2", &unknown);
	end(registry, "w-1-1", &killed);
	end(registry, "w-1-4", &killed);
	expect_departed(registry, NULL, "w-1-4 w-1-1 w-1-2 w-1-3 ");
	expect_departed(registry, "tiny", "w-1-1 w-1-3 ");
	expect_departed(registry, "large", "w-1-2 ");
	expect_departed(registry, "", "w-1-4 ");
	expect_departed(registry, "TINY", "");
	expect_departed(registry, "%", "");

	/* Unregistering leaves no trace. */
	begin(registry, "w-1-5", "tiny");
	assert_int_equal(pc_registry_unregister(registry, "w-1-5", NULL), 0);
	expect_departed(registry, "tiny", "w-1-1 w-1-3 ");
	pc_registry_close(registry);
}

static void the_first_departed_is_forgotten(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_departed_worker *departed;
	size_t count;

	for (int i = 0; i < PC_DEPARTED_MAX + 3; i++) {
		char id[16];

		snprintf(id, sizeof(id), "w-1-%d", i);
		begin(registry, id, i == 2 || i == 3 ? "tiny" : "large");
		end(registry, id, &killed);
	}
	assert_int_equal(pc_registry_list_departed(registry, NULL, &departed, &count, NULL), 0);
	assert_int_equal(count, PC_DEPARTED_MAX);
	for (size_t i = 0; i < count; i++) {
		char id[16];

		snprintf(id, sizeof(id), "w-1-%zu", PC_DEPARTED_MAX + 2 - i);
		assert_string_equal(departed[i].worker_id, id);
	}
	pc_free(departed);
	expect_departed(registry, "tiny", "w-1-3 ");
	pc_registry_close(registry);
}

static void wrong_ends(void **state)
{
	struct pc_registry *registry = open_or_fail(*state);
	struct pc_worker_exit cut = killed;
	struct pc_departed_worker *departed;
	struct pc_worker_info stored;
	struct pc_error err = PC_ERROR_INIT;
	char long_id[200];
	size_t count;

	begin(registry, "w-1-1", "tiny");
	assert_int_equal(pc_registry_end(registry, "w-9-9", &killed, &err), PC_E_WORKER_NOT_FOUND);
	assert_string_equal(err.message, "no worker 'w-9-9' is registered");
	memset(long_id, 'w', sizeof(long_id) - 1);
	long_id[sizeof(long_id) - 1] = '\0';
	assert_int_equal(pc_registry_end(registry, long_id, &killed, NULL), PC_E_WORKER_NOT_FOUND);

	pc_error_clear(&err);
	memset(cut.reason, 'x', sizeof(cut.reason));
	assert_int_equal(pc_registry_end(registry, "w-1-1", &cut, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "exit.reason is longer than 191 bytes");
	pc_error_clear(&err);
	assert_int_equal(pc_registry_end(registry, "w-1-1", NULL, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "how worker 'w-1-1' ended is needed");
	assert_int_equal(pc_registry_end(registry, "", &killed, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_end(NULL, "w-1-1", &killed, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_list_departed(NULL, NULL, &departed, &count, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_list_departed(registry, NULL, NULL, &count, NULL),
			 PC_E_INVALID_ARGUMENT);

	/* None of them did a half of it. */
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
	expect_departed(registry, NULL, "");
	end(registry, "w-1-1", &killed);
	assert_int_equal(pc_registry_end(registry, "w-1-1", &killed, NULL), PC_E_WORKER_NOT_FOUND);
	expect_departed(registry, NULL, "w-1-1 ");
	pc_registry_close(registry);
}

static void allocations_may_fail(void **state)
{
	const struct backend *backend = *state;
	unsigned refused = 0;

	for (unsigned n = 1;; n++) {
		struct pc_registry *registry = open_or_fail(backend);
		struct pc_departed_worker *departed = NULL;
		struct pc_worker_info stored;
		struct pc_error err = PC_ERROR_INIT;
		size_t count = 0;

		begin(registry, "w-1-1", "tiny");
		fail_alloc_begin(n);

		int ended = pc_registry_end(registry, "w-1-1", &killed, &err), rc = ended;

		if (!rc)
			rc = pc_registry_list_departed(registry, NULL, &departed, &count, &err);
		pc_free(departed);

		bool all = fail_alloc_end();

		assert_int_equal(rc, all ? 0 : PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, rc);
		assert_int_equal(count, all);
		assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL),
				 ended ? 0 : PC_E_WORKER_NOT_FOUND);
		expect_departed(registry, NULL, ended ? "" : "w-1-1 ");
		pc_registry_close(registry);
		unlink(db_path);
		if (all)
			break;
		refused++;
	}
	assert_in_range(refused, 2, 100);
}

/* ---- SQLite ---- */

static void sqlite_departed_persist(void **state)
{
	struct pc_registry *registry = open_sqlite_or_fail();

	(void)state;
	begin(registry, "w-1-1", "tiny");
	begin(registry, "w-1-2", "tiny");
	end(registry, "w-1-2", &killed);
	end(registry, "w-1-1", &killed);
	pc_registry_close(registry);
	registry = open_sqlite_or_fail();
	expect_departed(registry, "tiny", "w-1-1 w-1-2 ");
	pc_registry_close(registry);
}

/* Of two steps that the disk has to take, either may be the one that fails. */
static void sqlite_both_steps_or_none(void **state)
{
	static const char *const triggers[] = {
		"CREATE TRIGGER full BEFORE INSERT ON departed "
		"BEGIN SELECT raise(ABORT, 'no room'); END",
		"CREATE TRIGGER full BEFORE DELETE ON worker "
		"BEGIN SELECT raise(ABORT, 'no room'); END",
	};
	struct pc_registry *registry = open_sqlite_or_fail();
	struct pc_worker_info stored;

	(void)state;
	begin(registry, "w-1-1", "tiny");
	for (size_t i = 0; i < PC_ARRAY_LEN(triggers); i++) {
		struct pc_error err = PC_ERROR_INIT;

		raw_run(triggers[i]);
		assert_int_equal(pc_registry_end(registry, "w-1-1", &killed, &err), PC_E_IO);
		assert_non_null(strstr(err.message, "worker 'w-1-1': no room"));
		assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
		expect_departed(registry, NULL, "");
		raw_run("DROP TRIGGER full");
	}
	/* No transaction was left open. */
	end(registry, "w-1-1", &killed);
	expect_departed(registry, NULL, "w-1-1 ");
	pc_registry_close(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_BACKEND(the_end_is_remembered),
		EVERY_BACKEND(departed_are_listed_by_model),
		EVERY_BACKEND(the_first_departed_is_forgotten),
		EVERY_BACKEND(wrong_ends),
		EVERY_BACKEND(allocations_may_fail),
		SQLITE(sqlite_departed_persist),
		SQLITE(sqlite_both_steps_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
