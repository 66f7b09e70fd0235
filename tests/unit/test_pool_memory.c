/* SPDX-License-Identifier: MIT */
/* Tests of the in-process pool: reservations, who makes room for whom, and what models take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

#define MIB (UINT64_C(1) << 20)

static struct work well;

static int call(struct pc_model *model)
{
	return pc_pool_call(model, NULL, work_run, &well, NULL);
}

static struct pc_model *model_of_size(struct pc_pool *pool, const char *key, unsigned plan,
				      uint64_t mb)
{
	char path[2] = { (char)('0' + plan), '\0' };

	return model_make(pool, key,
			  &(struct pc_model_spec){ .model_path = path,
						   .est_memory_allocation_mb = mb,
						   .cold_start_workers = 1 });
}

/* ---- the program's own reservations ---- */

static void memory_is_added_within_the_budget(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_pool_budget_mb(pool), 1000);
	assert_int_equal(pc_pool_add_memory_mb(pool, 600, NULL), 0);
	assert_int_equal(pc_pool_total_memory_mb(pool), 600);
	assert_int_equal(pc_pool_add_memory_mb(pool, 401, &err), PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(err.message,
			    "401 MiB are not to be had on cpu: 400 MiB of 1000 MiB budget free");
	assert_int_equal(pc_pool_add_memory_mb(pool, UINT64_MAX, NULL), PC_E_INSUFFICIENT_MEMORY);
	assert_int_equal(pc_pool_add_memory_mb(pool, UINT64_MAX / MIB, NULL),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_int_equal(pc_pool_add_memory_mb(pool, 400, NULL), 0);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_remove_memory_mb(pool, 1001, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "1001 MiB are more than the 1000 MiB that were added");
	assert_int_equal(pc_pool_remove_memory_mb(pool, 1000, NULL), 0);
	assert_int_equal(pc_pool_total_memory_mb(pool), 0);
	assert_int_equal(pc_pool_remove_memory_mb(pool, 1, NULL), PC_E_INVALID_ARGUMENT);
	pc_pool_destroy(pool);
}

static void *add_and_remove(void *arg)
{
	struct pc_pool *pool = arg;

	for (unsigned i = 0; i < 2000; i++) {
		if (pc_pool_add_memory_mb(pool, 300, NULL))
			continue;
		if (pc_pool_total_memory_mb(pool) > 1000)
			fault("the budget is overcommitted");
		if (pc_pool_remove_memory_mb(pool, 300, NULL))
			fault("what was added cannot be removed");
	}
	return NULL;
}

static void threads_cannot_overcommit(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	pthread_t threads[8];

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_and_remove, pool), 0);
	for (unsigned i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(pc_pool_total_memory_mb(pool), 0);
	pc_pool_destroy(pool);
}

static void removed_memory_goes_to_who_waits(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_size(pool, "m", 0, 600);
	struct caller caller = { 0 };

	assert_int_equal(pc_pool_add_memory_mb(pool, 600, NULL), 0);
	caller_start(&caller, model);
	AWAIT(metrics_of(pool).waiting == 1);
	assert_int_equal(metrics_of(pool).workers_spawned, 0);
	/* At once: the time of this test stands still. */
	assert_int_equal(pc_pool_remove_memory_mb(pool, 600, NULL), 0);
	assert_int_equal(caller_join(&caller), 0);
	pc_pool_destroy(pool);
}

/* Given back with the pool. */
static void memory_that_was_not_removed_comes_back(void **state)
{
	(void)state;
	struct pc_ledger *ledger;
	struct pc_device_account account;

	assert_int_equal(pc_ledger_create(&ledger, NULL), 0);
	assert_int_equal(pc_ledger_add_device(ledger, "cpu", 1000 * MIB, 1000 * MIB, NULL), 0);

	struct pc_pool *pool = pool_make(0, &(struct pc_pool_config){ .ledger = ledger });

	assert_int_equal(pc_pool_add_memory_mb(pool, 600, NULL), 0);
	assert_int_equal(call(model_of_size(pool, "m", 0, 400)), 0);
	pc_pool_destroy(pool);
	pc_ledger_account(ledger, 0, &account);
	assert_int_equal(account.reserved_bytes, 0);
	pc_ledger_destroy(ledger);
}

/* ---- making room ---- */

static void models_that_do_not_fit_together_take_turns(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 600),
			*b = model_of_size(pool, "b", 1, 600);

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(call(a), 0);
		assert_int_equal(plans[1].live, 0);
		pass_time(pool, 6000);
		assert_int_equal(call(b), 0);
		assert_int_equal(plans[0].live, 0);
		assert_int_equal(pc_pool_total_memory_mb(pool), 600);
		pass_time(pool, 6000);
	}
	assert_int_equal(metrics_of(pool).workers_evicted, 9);
	assert_int_equal(metrics_of(pool).workers_spawned, 10);
	pc_pool_destroy(pool);
}

/* The one that was used last stays, however long ago the governor last looked at its clock. */
static void the_least_recently_used_goes(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 400),
			*b = model_of_size(pool, "b", 1, 400);
	struct pc_model *c = model_of_size(pool, "c", 2, 400);

	assert_int_equal(call(a), 0);
	pass_time(pool, 1000);
	assert_int_equal(call(b), 0);
	pass_time(pool, 10000);
	assert_int_equal(call(a), 0);
	pass_time(pool, 10000);
	assert_int_equal(call(c), 0);
	assert_int_equal(plans[0].live, 1);
	assert_int_equal(plans[1].live, 0);
	pc_pool_destroy(pool);
}

static void a_use_is_dated_although_the_governor_slept(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 400);
	struct pc_lease lease;
	uint64_t first = pc_clock_now_ns();

	/* An hour passes, of which the governor learns nothing: nothing was loaded. */
	pthread_mutex_lock(&pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pass_time(pool, 3600000);
	assert_int_equal(pc_lease_acquire(a, NULL, &lease, NULL), 0);
	pc_lease_release(&lease);

	struct worker *worker = pc__container_of(pool->workers.first, struct worker, by_id);
	uint32_t used = atomic_load(&worker->seats[0].last_used);

	assert_true(used >= (first + 3600 * PC_NS_PER_SEC) / PC_NS_PER_SEC);
	pc_pool_destroy(pool);
}

static void a_clock_that_goes_back_does_no_harm(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 600),
			*b = model_of_size(pool, "b", 1, 600);
	struct caller caller = { 0 };

	pass_time(pool, 100000);
	assert_int_equal(call(a), 0);
	caller_start(&caller, b);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, -UINT64_C(50000));
	assert_int_equal(call(a), 0);
	assert_int_equal(metrics_of(pool).waiting, 1);
	assert_int_equal(plans[0].live, 1); /* not idle for centuries */
	pass_time(pool, 56000);
	assert_int_equal(caller_join(&caller), 0);
	assert_int_equal(call(b), 0);

	struct pc_pool_metrics metrics = metrics_of(pool);

	assert_true(metrics.queue_wait.max_us < 100000000);
	assert_true(metrics.load_time.max_us < 100000000);
	assert_true(metrics.run_time.max_us < 100000000);
	pc_pool_destroy(pool);
}

static void a_young_worker_is_not_evicted(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 600),
			*b = model_of_size(pool, "b", 1, 600);
	struct caller caller = { 0 };

	assert_int_equal(call(a), 0);
	caller_start(&caller, b);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, 1000);
	assert_int_equal(plans[0].live, 1);
	assert_int_equal(metrics_of(pool).waiting, 1);
	pass_time(pool, 4500);
	assert_int_equal(caller_join(&caller), 0);
	assert_int_equal(plans[0].live, 0);
	pc_pool_destroy(pool);
}

static void a_leased_worker_goes_when_it_is_returned(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_make(pool, "a",
					&(struct pc_model_spec){ .slots = 2,
								 .max_workers = 1,
								 .est_memory_allocation_mb = 600 });
	struct pc_model *b = model_of_size(pool, "b", 1, 600);
	struct caller caller = { 0 };
	struct pc_lease first, second;

	assert_int_equal(pc_lease_acquire(a, NULL, &first, NULL), 0);
	assert_int_equal(pc_lease_acquire(a, NULL, &second, NULL), 0);
	pass_time(pool, 6000);
	caller_start(&caller, b);
	AWAIT(metrics_of(pool).waiting == 1);
	pc_lease_release(&first);
	assert_int_equal(plans[0].unloads, 0);
	pc_lease_release(&second);
	/* No tick is needed: whoever returned the last seat has told the brain. */
	assert_int_equal(caller_join(&caller), 0);
	assert_int_equal(plans[0].unloads, 1);
	pc_pool_destroy(pool);
}

static void pinned_and_minimum_workers_stay(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *pinned = model_make(
		pool, "pinned",
		&(struct pc_model_spec){
			.pinned = true, .est_memory_allocation_mb = 300, .cold_start_workers = 1 });
	struct pc_model *floor = model_make(
		pool, "floor",
		&(struct pc_model_spec){ .min_workers = 1,
					 .model_path = "1",
					 .est_memory_allocation_mb = 300,
					 .cold_start_workers = 1 });
	struct pc_model *other = model_of_size(pool, "other", 2, 600);
	const struct pc_request_options options = { .timeout_ms = 60000 };
	struct caller caller = { .options = options };

	assert_int_equal(call(pinned), 0);
	assert_int_equal(call(floor), 0);
	pass_time(pool, 300000);
	pass_time(pool, 300000);
	assert_int_equal(plans[0].live, 1);
	assert_int_equal(plans[1].live, 1);
	caller_start(&caller, other);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, 60000);
	assert_int_equal(caller_join(&caller), PC_E_TIMEOUT);
	assert_string_equal(caller.err.message,
			    "timed out after 60 s acquiring a worker for 'other': no worker fits: "
			    "needs 600 MiB on cpu: 400 MiB of 1000 MiB budget free; held by "
			    "'pinned' (1 worker, 300 MiB), 'floor' (1 worker, 300 MiB)");
	assert_int_equal(metrics_of(pool).workers_evicted, 0);
	pc_pool_destroy(pool);
}

static void what_can_never_fit_is_refused_at_once(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_size(pool, "m", 0, 1001);
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_pool_call(model, NULL, work_run, &well, &err),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(err.message, "model 'm' needs 1001 MiB on cpu: 1000 MiB of 1000 MiB "
					 "budget free");
	assert_int_equal(pc_pool_load(model, NULL), PC_E_INSUFFICIENT_MEMORY);
	assert_int_equal(metrics_of(pool).total_errors, 1);
	pc_pool_destroy(pool);
}

static void pools_share_a_ledger(void **state)
{
	(void)state;
	struct pc_ledger *ledger;

	assert_int_equal(pc_ledger_create(&ledger, NULL), 0);
	assert_int_equal(pc_ledger_add_device(ledger, "cpu", 1000 * MIB, 1000 * MIB, NULL), 0);

	const struct pc_pool_config config = { .ledger = ledger };
	struct pc_pool *first = pool_make(0, &config), *second = pool_make(0, &config);
	struct pc_model *a = model_of_size(first, "a", 0, 600);
	struct pc_model *b = model_of_size(second, "b", 1, 600);
	struct caller caller = { 0 };

	assert_int_equal(call(a), 0);
	assert_int_equal(pc_pool_total_memory_mb(second), 600);
	caller_start(&caller, b);
	AWAIT(metrics_of(second).waiting == 1);
	pass_time(second, 300);
	assert_int_equal(plans[1].loads, 0);
	pc_pool_unload(a);
	AWAIT(pc_pool_total_memory_mb(first) == 0);
	pass_time(second, 300);
	assert_int_equal(caller_join(&caller), 0);
	pc_pool_destroy(first);
	pc_pool_destroy(second);
	pc_ledger_destroy(ledger);
}

/* ---- idling ---- */

static void idle_workers_go_after_their_time(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	const int64_t keep[] = { 0, 200, PC_KEEP_FOREVER, PC_KEEP_NOT };
	struct pc_model *models[4];

	for (unsigned i = 0; i < 4; i++) {
		char path[2] = { (char)('0' + i), '\0' };

		models[i] = model_make(pool, path,
				       &(struct pc_model_spec){ .model_path = path,
								.keep_idle_secs = keep[i],
								.cold_start_workers = 1 });
		assert_int_equal(call(models[i]), 0);
	}
	AWAIT(plans[3].unloads == 1); /* with its last lease */
	pass_time(pool, 59000);
	assert_int_equal(plans[0].unloads, 0);
	pass_time(pool, 2000);
	pass_time(pool, 60000);
	AWAIT(plans[0].unloads == 1);
	assert_int_equal(plans[1].unloads, 0);
	pass_time(pool, 61000);
	pass_time(pool, 61000);
	AWAIT(plans[1].unloads == 1);
	pass_time(pool, 100000000);
	assert_int_equal(plans[2].unloads, 0);
	assert_int_equal(metrics_of(pool).workers, 1);
	pc_pool_destroy(pool);
}

/* A run that failed is a use as well. */
static void who_may_not_idle_goes_after_an_error_too(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m",
		&(struct pc_model_spec){ .keep_idle_secs = PC_KEEP_NOT, .max_workers = 1 });
	struct work fails = { .order = RUN_FAILS };
	struct pc_lease first;

	assert_int_equal(pc_pool_call(model, NULL, work_run, &fails, NULL), PC_E_MODEL_ERROR);
	AWAIT(plans[0].unloads == 1);
	/* And it does not go while somebody has it. */
	assert_int_equal(pc_lease_acquire(model, NULL, &first, NULL), 0);
	pass_time(pool, 61000);
	assert_int_equal(plans[0].unloads, 1);
	pc_lease_release(&first);
	AWAIT(plans[0].unloads == 2);
	pc_pool_destroy(pool);
}

static void one_worker_an_interval_cools_down(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(pool, "m",
					    &(struct pc_model_spec){ .cold_start_workers = 3 });

	assert_int_equal(call(model), 0);
	/* Ready, and not only on their way, or their start's time would be up. */
	AWAIT(metrics_of(pool).load_time.count == 3);
	for (unsigned left = 3; left > 0; left--) {
		assert_int_equal(metrics_of(pool).workers, left);
		pass_time(pool, 120000);
	}
	assert_int_equal(metrics_of(pool).workers, 0);
	AWAIT(plans[0].unloads == 3);
	assert_false(pc_pool_has_workers(model));
	pc_pool_destroy(pool);
}

static void a_worker_is_recycled(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *by_count = model_make(
		pool, "count",
		&(struct pc_model_spec){ .recycle_requests = 10, .slots = 2, .max_workers = 1 });
	struct pc_model *by_size = model_make(
		pool, "size",
		&(struct pc_model_spec){ .recycle_mb = 150, .max_workers = 1, .model_path = "1" });

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(call(by_count), 0);
	AWAIT(plans[0].unloads == 1);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(call(by_count), 0);
	assert_int_equal(plans[0].unloads, 1);
	assert_int_equal(metrics_of(pool).workers_recycled, 1);

	assert_int_equal(call(by_size), 0);
	plans[1].memory_bytes = 151 * MIB;
	pass_time(pool, 11000);
	AWAIT(plans[1].unloads == 1);
	assert_int_equal(metrics_of(pool).workers_recycled, 2);
	pc_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(memory_is_added_within_the_budget),
		POOL_TEST(threads_cannot_overcommit),
		POOL_TEST(removed_memory_goes_to_who_waits),
		POOL_TEST(memory_that_was_not_removed_comes_back),
		POOL_TEST(models_that_do_not_fit_together_take_turns),
		POOL_TEST(the_least_recently_used_goes),
		POOL_TEST(a_use_is_dated_although_the_governor_slept),
		POOL_TEST(a_clock_that_goes_back_does_no_harm),
		POOL_TEST(a_young_worker_is_not_evicted),
		POOL_TEST(a_leased_worker_goes_when_it_is_returned),
		POOL_TEST(pinned_and_minimum_workers_stay),
		POOL_TEST(what_can_never_fit_is_refused_at_once),
		POOL_TEST(pools_share_a_ledger),
		POOL_TEST(idle_workers_go_after_their_time),
		POOL_TEST(who_may_not_idle_goes_after_an_error_too),
		POOL_TEST(one_worker_an_interval_cools_down),
		POOL_TEST(a_worker_is_recycled),
	};

	return cmocka_run_group_tests_name("pool_memory", tests, NULL, NULL);
}
