/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of daemon/install.c and daemon/generation.c: another configuration under the body, on
 * one thread, without processes. The test plays the reload, the gateway and the supervisor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/memory.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/loop.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

#define MB (UINT64_C(1) << 20)

static struct daemon pool;
static struct loop loops[1];

/* ---- generations from texts ---- */

#define MODEL(id, more) \
	"[[model]]\nid = \"" id "\"\nfile = \"f\"\ncapability = \"text_to_text\"\n" \
	"est_memory_allocation_mb = 10\n" more "\n"

static struct generation *make(const char *settings, const char *models)
{
	struct generation *generation = NULL;
	struct pc_catalog *catalog = NULL;
	struct pc_config *config = NULL;
	struct pc_error err = PC_ERROR_INIT;

	write_file("catalog.toml", models);
	if (pc_config_load(write_file("pool.toml", settings), NULL, 0, &config, &err) ||
	    pc_catalog_load(config, &catalog, &err) ||
	    generation_create(config, catalog, &generation, &err))
		fail_msg("%s", err.message);
	return generation;
}

static int install_it(struct generation *next, struct pc_error *err)
{
	const uint64_t budgets[PC_DEVICE_MAX] = { 80 * MB };

	return body_install(&pool, next, budgets, err);
}

/* Makes one and puts it in force; the body has the only reference. */
static void install(const char *settings, const char *models)
{
	struct generation *next = make(settings, models);

	assert_int_equal(install_it(next, NULL), 0);
	generation_unref(next);
}

static int enter_folder(void **state)
{
	char template[] = "/tmp/poolcore-install-XXXXXX";

	(void)state;
	clearenv();
	return mkdtemp(template) && realpath(template, folder) ? 0 : -1;
}

static int leave_folder(void **state)
{
	(void)state;
	unlink(in_folder("pool.toml"));
	unlink(in_folder("catalog.toml"));
	return rmdir(folder);
}

static void ignore_wake(uv_async_t *wake)
{
	(void)wake;
}

static int set_up(void **state)
{
	(void)state;
	memset(loops, 0, sizeof(loops));
	pool = (struct daemon){ .loops = loops, .loop_count = 1 };
	pool.generation = make("", MODEL("a", "") MODEL("b", ""));
	assert_int_equal(pc_ledger_create(&pool.ledger, NULL), 0);
	assert_int_equal(pc_ledger_add_device(pool.ledger, "cpu", 100 * MB, 80 * MB, NULL), 0);
	assert_int_equal(uv_loop_init(&loops[0].uv), 0);
	assert_int_equal(uv_async_init(&loops[0].uv, &loops[0].wake, ignore_wake), 0);
	loops[0].daemon = &pool;
	assert_int_equal(body_create(&pool, &pool.body, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	body_destroy(pool.body);
	generation_unref(pool.generation);
	pc_ledger_destroy(pool.ledger);
	uv_close((uv_handle_t *)&loops[0].wake, NULL);
	uv_run(&loops[0].uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loops[0].uv), 0);
	assert_int_equal(generation_count(), 0);
	return 0;
}

/* ---- the gateway's part ---- */

struct asker {
	struct lease lease;
	struct generation *generation;
	enum lease_state heard;
};

static void hear(struct lease *lease)
{
	((struct asker *)lease)->heard = lease->state;
}

/* As gateway.c does: the reference lasts until done(). False when the catalog has no such model. */
static bool ask(struct asker *asker, const char *id)
{
	struct model *model;

	*asker = (struct asker){ .lease = { .loop = &loops[0], .on_outcome = hear } };
	asker->generation = body_generation(&pool);
	model = generation_find(asker->generation, id);
	if (model)
		body_submit(&pool, &asker->lease, model);
	loop_deliver(&loops[0]);
	return model;
}

static void done(struct asker *asker)
{
	loop_deliver(&loops[0]);
	if (asker->heard == LEASE_GRANTED)
		body_release(&pool, &asker->lease, PC_OUTCOME_OK);
	generation_unref(asker->generation);
}

/* ---- the supervisor's part ---- */

static struct worker *take_order(struct worker_orders *ret_orders)
{
	struct worker *worker = body_next_order(&pool, ret_orders);

	assert_non_null(worker);
	return worker;
}

static struct worker *take_spawn(void)
{
	struct worker_orders orders;
	struct worker *worker = take_order(&orders);

	assert_true(orders.spawn);
	return worker;
}

static struct worker *take_stop(enum pc_stop_reason reason)
{
	struct worker_orders orders;
	struct worker *worker = take_order(&orders);

	assert_true(orders.stop);
	assert_false(orders.force);
	assert_int_equal(orders.reason, reason);
	return worker;
}

static void assert_no_order(void)
{
	struct worker_orders orders;

	assert_null(body_next_order(&pool, &orders));
}

static void gone(struct worker *worker)
{
	body_worker_gone(&pool, worker, NULL, NULL);
}

/* A ready worker of the model, with a lease of `asker` on it. */
static struct worker *serve(struct asker *asker, const char *id)
{
	struct worker *worker;

	assert_true(ask(asker, id));
	worker = take_spawn();
	body_worker_ready(&pool, worker, 0);
	loop_deliver(&loops[0]);
	assert_int_equal(asker->heard, LEASE_GRANTED);
	return worker;
}

static void stop(struct worker *worker)
{
	struct worker_orders orders;

	body_stop_worker(&pool, worker->info.worker_id, true, NULL);
	assert_ptr_equal(take_order(&orders), worker);
	gone(worker);
}

/* ---- what changes, and what does not ---- */

static void what_is_the_same_is_left_alone(void **state)
{
	struct asker asker, other;
	struct worker *worker = serve(&asker, "a");

	(void)state;
	install("# other lines\n", MODEL("b", "") MODEL("a", "name = \"A\""));
	assert_no_order();
	/* The same worker serves, though the entry is another. */
	done(&asker);
	assert_true(ask(&other, "a"));
	assert_int_equal(other.heard, LEASE_GRANTED);
	assert_string_equal(generation_find(other.generation, "a")->entry->name, "A");
	done(&other);
	/* It keeps what it was launched with, for as long as it is there. */
	assert_string_equal(worker->model->entry->name, "");
	assert_int_equal(generation_count(), 2);
	stop(worker);
	assert_int_equal(generation_count(), 1);
	/* The next one belongs to the new generation. */
	worker = serve(&asker, "a");
	assert_string_equal(worker->model->entry->name, "A");
	done(&asker);
	stop(worker);
}

static void an_added_model_is_served(void **state)
{
	struct asker asker;
	struct worker *worker;

	(void)state;
	assert_false(ask(&asker, "c"));
	done(&asker);
	install("", MODEL("a", "") MODEL("b", "") MODEL("c", ""));
	worker = serve(&asker, "c");
	done(&asker);
	stop(worker);
}

static void a_removed_model_finishes_what_it_took(void **state)
{
	struct asker running, waiting, late;
	struct generation *old;
	struct worker *worker = serve(&running, "a");

	(void)state;
	assert_true(ask(&waiting, "a"));
	old = body_generation(&pool);
	install("", MODEL("b", ""));
	assert_no_order();
	assert_false(ask(&late, "a"));
	done(&late);
	/* Whoever looked it up before and comes only now is refused. */
	late = (struct asker){ .lease = { .loop = &loops[0], .on_outcome = hear } };
	body_submit(&pool, &late.lease, generation_find(old, "a"));
	loop_deliver(&loops[0]);
	assert_int_equal(late.heard, LEASE_REJECTED);
	assert_int_equal(late.lease.error.code, PC_E_MODEL_NOT_FOUND);
	generation_unref(old);
	/* Whoever waited is served, and then the worker goes. */
	done(&running);
	loop_deliver(&loops[0]);
	assert_int_equal(waiting.heard, LEASE_GRANTED);
	assert_no_order();
	assert_int_equal(generation_count(), 2);
	done(&waiting);
	gone(take_stop(PC_STOP_RETIRED));
	assert_int_equal(generation_count(), 1);
	(void)worker;
}

static void a_worker_may_be_spawned_for_a_removed_model(void **state)
{
	struct asker large, waiting;
	struct worker *worker;

	(void)state;
	install("", MODEL("a", "") "[[model]]\nid = \"large\"\nfile = \"f\"\n"
				   "capability = \"text_to_text\"\n"
				   "est_memory_allocation_mb = 75\n");
	worker = serve(&large, "large");
	assert_true(ask(&waiting, "a")); /* no room */
	assert_no_order();
	install("", MODEL("b", ""));
	assert_no_order();
	/* Its request alone may have an older one. */
	install("", MODEL("b", "name = \"B\""));
	done(&large);
	assert_ptr_equal(take_stop(PC_STOP_RETIRED), worker);
	gone(worker);
	worker = take_spawn();
	assert_string_equal(worker->info.model_id, "a");
	assert_string_equal(worker->model->entry->id, "a");
	body_worker_ready(&pool, worker, 0);
	done(&waiting);
	gone(take_stop(PC_STOP_RETIRED));
	assert_int_equal(generation_count(), 1);
}

static void nobody_waits_and_nothing_is_kept(void **state)
{
	struct asker waiting;

	(void)state;
	assert_true(ask(&waiting, "a"));
	install("", MODEL("b", ""));
	assert_int_equal(generation_count(), 2);
	body_withdraw(&pool, &waiting.lease);
	generation_unref(waiting.generation);
	gone(take_stop(PC_STOP_RETIRED)); /* it was loading for it */
	assert_int_equal(generation_count(), 1);
}

static void a_model_comes_back(void **state)
{
	struct asker asker;
	struct worker *worker;

	(void)state;
	install("", MODEL("b", ""));
	install("", MODEL("b", "") MODEL("a", "slots = 3"));
	worker = serve(&asker, "a");
	assert_int_equal(worker->slots, 3);
	done(&asker);
	stop(worker);
}

/* Before all who waited for what it was are served: its worker is not for those who come now. */
/* An earlier daemon's worker was taken in to go, of a model that this one does not have until
 * now. */
static void a_model_comes_back_whose_worker_is_there_yet(void **state)
{
	const struct pc_worker_info info = { .worker_id = "w-old-1",
					     .model_id = "c",
					     .device = "cpu",
					     .gpu_id = -1,
					     .reserved_bytes = 75 * MB };
	struct worker *old, *worker;
	struct asker asker;

	(void)state;
	assert_int_equal(body_adopt_leaving(&pool, &info, PC_STOP_RETIRED, true, &old, NULL), 0);
	assert_ptr_equal(take_stop(PC_STOP_RETIRED), old);
	assert_false(ask(&asker, "c"));
	done(&asker);
	install("", MODEL("a", "") MODEL("c", ""));
	assert_no_order();
	assert_true(ask(&asker, "c"));
	assert_no_order(); /* there is no room beside it */
	gone(old);
	worker = take_spawn();
	assert_string_equal(worker->model->entry->id, "c");
	body_worker_ready(&pool, worker, 0);
	done(&asker);
	assert_int_equal(asker.heard, LEASE_GRANTED);
	stop(worker);
}

static void a_model_comes_back_as_another(void **state)
{
	struct asker running, waiting, late;
	struct worker *worker = serve(&running, "a"), *other;

	(void)state;
	assert_true(ask(&waiting, "a"));
	install("", MODEL("b", ""));
	install("", MODEL("b", "") MODEL("a", "context_tokens = 7"));
	assert_true(ask(&late, "a"));
	other = take_spawn();
	assert_int_equal(other->model->entry->context_tokens, 7);
	done(&running);
	gone(take_stop(PC_STOP_REPLACED));
	body_worker_ready(&pool, other, 0);
	loop_deliver(&loops[0]);
	assert_int_equal(waiting.heard, LEASE_GRANTED);
	assert_int_equal(waiting.lease.worker_id, other->id);
	done(&waiting);
	done(&late);
	stop(other);
	assert_int_equal(generation_count(), 1);
	(void)worker;
}

static void another_launch_replaces_the_workers(void **state)
{
	static const char server[] = "[backends.server]\ncommand = [\"s\", \"{port}\"]\n";
	static const struct {
		const char *settings, *models;
		bool replaced;
	} rows[] = {
		{ "", MODEL("a", "context_tokens = 5"), true },
		{ "", MODEL("a", "context_tokens = 5\nmax_workers = 4\nttl = 60"), false },
		{ "[pool]\nqueue_capacity = 5\ncooldown_idle_minutes = 9\n",
		  MODEL("a", "context_tokens = 5"), false },
		{ "[backends.pool-worker]\nstop_grace_secs = 1\n", MODEL("a", "context_tokens = 5"),
		  false },
		{ "[backends.pool-worker]\nenv = { POOL_WORKER_SPAWN_TOKEN = \"{spawn_token}\", "
		  "A = \"1\" }\n",
		  MODEL("a", "context_tokens = 5"), true },
		{ server, MODEL("a", "backend = \"server\"\ndevice = \"cpu\""), true },
	};
	struct asker asker;
	struct worker *worker = serve(&asker, "a");

	(void)state;
	done(&asker);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		install(rows[i].settings, rows[i].models);
		if (rows[i].replaced) {
			assert_ptr_equal(take_stop(PC_STOP_REPLACED), worker);
			gone(worker);
			worker = serve(&asker, "a");
			done(&asker);
		}
		assert_no_order();
		assert_true(ask(&asker, "a"));
		assert_int_equal(asker.heard, LEASE_GRANTED);
		done(&asker);
	}
	stop(worker);
}

static void a_device_that_is_no_more_takes_the_model_out(void **state)
{
	struct asker asker;
	struct worker *worker = serve(&asker, "a");

	(void)state;
	done(&asker);
	install("", MODEL("a", "device = \"gpu7\""));
	assert_ptr_equal(take_stop(PC_STOP_RETIRED), worker);
	gone(worker);
	assert_true(ask(&asker, "a"));
	assert_int_equal(asker.heard, LEASE_REJECTED);
	assert_int_equal(asker.lease.error.code, PC_E_NO_WORKERS);
	done(&asker);
	install("", MODEL("a", ""));
	worker = serve(&asker, "a");
	done(&asker);
	stop(worker);
}

static void budgets_change(void **state)
{
	const uint64_t budgets[PC_DEVICE_MAX] = { 5 * MB };
	struct generation *next = make("", MODEL("a", ""));
	struct pc_device_account account;
	struct asker asker;
	struct worker *worker = serve(&asker, "a");

	(void)state;
	done(&asker);
	assert_int_equal(body_install(&pool, next, budgets, NULL), 0);
	generation_unref(next);
	pc_ledger_account(pool.ledger, 0, &account);
	assert_int_equal(account.budget_bytes, 5 * MB);
	assert_ptr_equal(take_stop(PC_STOP_PRESSURE), worker);
	gone(worker);
	assert_true(ask(&asker, "a"));
	assert_int_equal(asker.lease.error.code, PC_E_INSUFFICIENT_MEMORY);
	done(&asker);
}

static void a_pool_that_ends_takes_nothing_new(void **state)
{
	struct generation *next = make("", MODEL("c", ""));
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	body_drain(&pool, UINT64_MAX / 2);
	assert_int_equal(install_it(next, &err), PC_E_SHUTTING_DOWN);
	generation_unref(next);
	assert_int_equal(generation_count(), 1);
	assert_non_null(generation_find(pool.generation, "a"));
}

static void records_are_found_by_id_only(void **state)
{
	struct generation *generation = make("", MODEL("x", "aliases = [\"y\"]") MODEL("z", ""));

	(void)state;
	assert_ptr_equal(generation_find(generation, "x"),
			 generation_model(generation, pc_catalog_find(generation->catalog, "y")));
	assert_null(generation_find(generation, "y"));
	assert_null(generation_find(generation, "w"));
	generation_unref(generation);
	generation_unref(NULL);
}

/* ---- without memory ---- */

static void without_memory_nothing_changes(void **state)
{
	struct asker asker;
	struct worker *worker = serve(&asker, "a");
	unsigned nth = 1;

	(void)state;
	for (bool all_tried = false; !all_tried; nth++) {
		struct generation *next = make("", MODEL("b", "slots = 2") MODEL("c", "")
							   MODEL("d", ""));
		int rc;

		fail_alloc_begin_once(nth);
		rc = install_it(next, NULL);
		all_tried = fail_alloc_end();
		generation_unref(next);
		if (all_tried) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(generation_count(), 1);
		assert_no_order();
		assert_non_null(generation_find(pool.generation, "a"));
	}
	assert_true(nth > 4);
	done(&asker);
	assert_ptr_equal(take_stop(PC_STOP_RETIRED), worker);
	gone(worker);
	worker = serve(&asker, "d");
	done(&asker);
	stop(worker);
}

#define scenario(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(what_is_the_same_is_left_alone),
		scenario(an_added_model_is_served),
		scenario(a_removed_model_finishes_what_it_took),
		scenario(a_worker_may_be_spawned_for_a_removed_model),
		scenario(nobody_waits_and_nothing_is_kept),
		scenario(a_model_comes_back),
		scenario(a_model_comes_back_whose_worker_is_there_yet),
		scenario(a_model_comes_back_as_another),
		scenario(another_launch_replaces_the_workers),
		scenario(a_device_that_is_no_more_takes_the_model_out),
		scenario(budgets_change),
		scenario(a_pool_that_ends_takes_nothing_new),
		scenario(records_are_found_by_id_only),
		scenario(without_memory_nothing_changes),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
