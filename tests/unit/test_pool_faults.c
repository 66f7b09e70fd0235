/* SPDX-License-Identifier: MIT */
/*
 * Tests of the in-process pool: what becomes of requests when memory, threads, loads, runs or
 * workers fail. Linked with --wrap=pthread_create.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"
#include "tests/unit/fail_alloc.h"

static struct gate gate;
static _Atomic unsigned told;
static _Atomic int threads_before_failure; /* 0: none fails; 1: the next one does, and only that */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg)
{
	if (threads_before_failure > 0 && atomic_fetch_sub(&threads_before_failure, 1) == 1)
		return EAGAIN;
	return __real_pthread_create(thread, attr, start, arg);
}

static int setup(void **state)
{
	gate_close(&gate);
	threads_before_failure = 0;
	return fixture_setup(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

static struct work well;

static struct pc_model *single(struct pc_pool *pool, uint32_t slots)
{
	return model_make(pool, "m", &(struct pc_model_spec){ .slots = slots, .max_workers = 1 });
}

/* Calls, and expects this. */
static void assert_call(struct pc_model *model, int rc, const char *message)
{
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_pool_call(model, NULL, work_run, &well, &err), rc);
	if (message)
		assert_string_equal(err.message, message);
}

static void await_memory_back(struct pc_pool *pool)
{
	AWAIT(pc_pool_total_memory_mb(pool) == 0);
	assert_int_equal(metrics_of(pool).workers, 0);
}

/* ---- memory ---- */

/* Nobody loads for those who wait: it is for the clock to bring what comes next. */
static void help_on(struct pc_pool *pool)
{
	struct pc_pool_metrics metrics = metrics_of(pool);

	if (metrics.waiting > 0 && metrics.workers == 0)
		pass_time(pool, 250);
	else
		sched_yield();
}

static int call_under_fire(struct pc_pool *pool, struct pc_model *model, struct pc_cancel *cancel,
			   enum run_order order)
{
	struct caller caller = { .options = { .timeout_ms = 60000, .cancel = cancel },
				 .work.order = order };

	caller_start(&caller, model);
	while (!caller.ended)
		help_on(pool);
	return caller_join(&caller);
}

static void use_under_fire(struct pc_pool *pool)
{
	const struct pc_model_spec spec = { .key = "m",
					    .capability = PC_CAPABILITY_TEXT_TO_TEXT,
					    .est_memory_allocation_mb = 100,
					    .engine = &free_engine,
					    .slots = 2,
					    .model_path = "0" };
	struct pc_model *model = NULL;
	struct pc_cancel *cancel = NULL;
	struct work work = { .order = RUN_WELL };
	struct pc_error err = PC_ERROR_INIT;

	if (pc_pool_add_model(pool, &spec, &model, &err)) {
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		return;
	}
	if (pc_cancel_create(&cancel, NULL))
		cancel = NULL;

	int rc = call_under_fire(pool, model, cancel, RUN_WELL);

	assert_true(rc == 0 || rc == PC_E_OUT_OF_MEMORY || rc == PC_E_TIMEOUT);
	rc = pc_pool_submit(model, NULL, work_run, work_done, &work, NULL);
	while (rc == 0 && work.dones == 0)
		help_on(pool);
	assert_int_equal(work.dones, rc == 0);
	pc_pool_unload(model);
	rc = call_under_fire(pool, model, cancel, RUN_FAILS);
	assert_true(rc == PC_E_MODEL_ERROR || rc == PC_E_OUT_OF_MEMORY || rc == PC_E_TIMEOUT);
	pc_cancel_fire(cancel);
	pc_cancel_destroy(cancel);
}

static void live_under_fire(void)
{
	const struct pc_pool_config config = { .budget_bytes = 1000 << 20 };
	struct pc_pool *pool = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_pool_create(&config, &pool, &err)) {
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		assert_null(pool);
		return;
	}
	pool->watch.root = "/nowhere";
	use_under_fire(pool);
	pc_pool_destroy(pool);
}

static void any_allocation_may_fail(void **state)
{
	(void)state;
	bool done = false;

	for (unsigned n = 1; !done; n++) {
		fail_alloc_begin_once(n);
		live_under_fire();
		done = fail_alloc_end();
		assert_int_equal(fail_alloc_live(), 0);
		assert_int_equal(plans[0].live, 0);
	}
}

static void all_allocations_may_fail_from_some_moment(void **state)
{
	(void)state;
	bool done = false;

	for (unsigned n = 1; !done; n++) {
		fail_alloc_begin(n);
		live_under_fire();
		done = fail_alloc_end();
		assert_int_equal(fail_alloc_live(), 0);
		assert_int_equal(plans[0].live, 0);
	}
}

/* ---- threads ---- */

static void a_pool_needs_its_thread(void **state)
{
	(void)state;
	struct pc_pool *pool = NULL;
	struct pc_error err = PC_ERROR_INIT;

	threads_before_failure = 1;
	assert_int_equal(pc_pool_create(NULL, &pool, &err), PC_E_SPAWN_FAILED);
	assert_string_equal(err.message, "the pool's own thread: Resource temporarily unavailable");
	assert_null(pool);
}

static void a_worker_needs_its_threads(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 3);

	threads_before_failure = 1;
	assert_call(model, PC_E_SPAWN_FAILED,
		    "loading 'm': a thread for a worker of 'm': Resource temporarily unavailable");
	await_memory_back(pool);
	assert_int_equal(plans[0].loads, 0);
	for (int nth = 2; nth <= 3; nth++) {
		char message[96];

		snprintf(message, sizeof(message),
			 "loading 'm': a thread for slot %d of 3: Resource temporarily unavailable",
			 nth - 1);
		pass_time(pool, 60000);
		threads_before_failure = nth;
		assert_call(model, PC_E_SPAWN_FAILED, message);
		await_memory_back(pool);
		assert_int_equal(plans[0].live, 0);
	}
	assert_int_equal(metrics_of(pool).workers_failed, 3);
	pass_time(pool, 60000);
	assert_call(model, 0, NULL);
	pc_pool_destroy(pool);
}

static void a_worker_that_cannot_be_taken_over_stays_the_programs(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct pc_engine_instance *instance = instance_make(0, 1);
	struct pc_error err = PC_ERROR_INIT;

	threads_before_failure = 1;
	assert_int_equal(pc_pool_register_worker(model, instance, NULL, &err), PC_E_SPAWN_FAILED);
	assert_string_equal(err.message,
			    "a thread for a worker of 'm': Resource temporarily unavailable");
	await_memory_back(pool);
	assert_int_equal(metrics_of(pool).workers_failed, 0);
	assert_int_equal(pc_pool_register_worker(model, instance, NULL, NULL), 0);
	assert_call(model, 0, NULL);
	pc_pool_destroy(pool);
}

/* What one token's firing makes room for fails, and that is told to others: not by who fires, who
 * holds the token's lock and may be asked to fire it again. */
static void on_late_failure(void *ctx, const struct pc_error *err)
{
	pthread_t *teller = ctx;

	if (err->code != PC_E_SPAWN_FAILED)
		fault("no thread, and another error");
	*teller = pthread_self();
	atomic_fetch_add(&told, 1);
}

static void a_fire_tells_nobody_that_a_thread_failed(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *large = model_make(
		pool, "large", &(struct pc_model_spec){ .est_memory_allocation_mb = 800 });
	struct pc_model *small = model_make(
		pool, "small",
		&(struct pc_model_spec){
			.est_memory_allocation_mb = 400, .model_path = "1", .max_workers = 1 });
	struct pc_request_options options = { .timeout_ms = 60000 };
	struct pc_request_options patient = { .timeout_ms = 60000 };
	struct work waits = { .order = RUN_WELL };
	pthread_t teller = pthread_self();

	told = 0;
	assert_int_equal(pc_cancel_create(&options.cancel, NULL), 0);
	assert_int_equal(pc_pool_add_memory_mb(pool, 500, NULL), 0);
	assert_int_equal(pc_pool_submit(large, &options, work_run, work_done, &waits, NULL), 0);
	pass_time(pool, 10001); /* from now on what is free is kept for it */
	assert_int_equal(pc_pool_submit(small, &patient, work_run, on_late_failure, &teller, NULL),
			 0);
	assert_int_equal(metrics_of(pool).waiting, 2);
	threads_before_failure = 1;
	pc_cancel_fire(options.cancel);
	AWAIT(told == 1 && waits.dones == 1);
	assert_int_equal(waits.err.code, PC_E_CANCELLED);
	assert_false(pthread_equal(teller, pthread_self()));
	assert_int_equal(pc_pool_remove_memory_mb(pool, 500, NULL), 0);
	pc_pool_destroy(pool);
	pc_cancel_destroy(options.cancel);
}

/* ---- loads ---- */

static void a_load_may_fail_in_any_way(void **state)
{
	(void)state;
	const struct {
		enum load_order order;
		int rc;
		const char *message;
	} ways[] = {
		{ LOAD_FAILS, PC_E_MODEL_ERROR, "loading 'm': the weights are torn" },
		{ LOAD_SAYS_NOTHING, PC_E_MODEL_FILE_MISSING,
		  "loading 'm': engine 'free' says no more than MODEL_FILE_MISSING" },
		{ LOAD_NO_INSTANCE, PC_E_MODEL_ERROR,
		  "loading 'm': engine 'free' said that it had loaded, and gave no instance" },
		{ LOAD_FAILS_WITH_IT, PC_E_MODEL_ERROR, "loading 'm': the weights are torn" },
		{ LOAD_ENDS_THREAD, PC_E_SPAWN_FAILED,
		  "loading 'm': engine 'free' ended the thread that loaded" },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(ways); i++) {
		struct pc_pool *pool = pool_make(1000, NULL);
		struct pc_model *model = single(pool, 2);
		struct caller others[24] = { 0 };

		plans[0].load = ways[i].order;
		gate_close(&plans[0].load_gate);
		for (unsigned c = 0; c < 24; c++)
			caller_start(&others[c], model);
		AWAIT(metrics_of(pool).waiting == 24);
		gate_open(&plans[0].load_gate);
		for (unsigned c = 0; c < 24; c++) {
			assert_int_equal(caller_join(&others[c]), ways[i].rc);
			assert_string_equal(others[c].err.message, ways[i].message);
		}
		await_memory_back(pool);
		assert_int_equal(metrics_of(pool).workers_failed, 1);
		/* The next load is measured as if nothing had been. */
		plans[0].load = LOAD_WELL;
		pass_time(pool, 60000);
		assert_call(model, 0, NULL);
		assert_int_equal(atomic_load(&pool->loads_begun), atomic_load(&pool->loads_ended));
		pc_pool_destroy(pool);
	}
}

static void a_load_may_never_end(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .start_timeout_secs = 10, .max_workers = 1 });
	struct caller caller = { 0 };

	gate_close(&plans[0].load_gate);
	caller_start(&caller, model);
	AWAIT(plans[0].loading == 1 && metrics_of(pool).waiting == 1);
	pass_time(pool, 10000);
	assert_int_equal(caller_join(&caller), PC_E_SPAWN_FAILED);
	assert_string_equal(caller.err.message, "loading 'm': worker 1 was not ready within 10 s");
	/* It has the memory until it is gone. */
	assert_int_equal(pc_pool_total_memory_mb(pool), 100);
	gate_open(&plans[0].load_gate);
	AWAIT(plans[0].unloads == 1);
	await_memory_back(pool);
	pc_pool_destroy(pool);
}

static void an_unload_may_end_its_thread(void **state)
{
	(void)state;
	for (uint32_t slots = 1; slots <= 3; slots += 2) {
		struct pc_pool *pool = pool_make(1000, NULL);
		struct pc_model *model = single(pool, slots);
		struct pc_shutdown_report report;

		plans[0].unload_ends_thread = true;
		assert_call(model, 0, NULL);
		pc_pool_unload(model);
		await_memory_back(pool);
		plans[0].unload_ends_thread = false;
		assert_call(model, 0, NULL);
		pc_pool_shutdown(pool, &report);
		assert_int_equal(report.stuck_workers, 0);
		pc_pool_destroy(pool);
	}
}

static void failures_in_a_row_open_the_breaker(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct pc_error err = PC_ERROR_INIT;
	struct caller caller = { 0 };

	plans[0].load = LOAD_FAILS;
	for (unsigned i = 0; i < 5; i++) {
		assert_call(model, PC_E_MODEL_ERROR, "loading 'm': the weights are torn");
		if (i < 4)
			pass_time(pool, 60000);
	}
	assert_int_equal(pc_pool_call(model, NULL, work_run, &well, &err), PC_E_MODEL_BACKOFF);
	assert_memory_equal(err.message, "model 'm' failed 5 times in a row and is tried again in ",
			    56);
	assert_int_equal(pc_pool_load(model, NULL), PC_E_MODEL_BACKOFF);
	plans[0].load = LOAD_WELL;
	pass_time(pool, 60000);
	gate_close(&plans[0].load_gate);
	caller_start(&caller, model);
	AWAIT(plans[0].loading == 1);
	gate_open(&plans[0].load_gate);
	assert_int_equal(caller_join(&caller), 0);
	assert_call(model, 0, NULL);
	pc_pool_destroy(pool);
}

static void who_comes_during_a_back_off_waits_for_its_end(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct caller caller = { 0 };
	struct pc_explanation explanation;

	plans[0].load = LOAD_FAILS;
	assert_call(model, PC_E_MODEL_ERROR, NULL);
	plans[0].load = LOAD_WELL;
	pc_pool_explain(model, &explanation);
	assert_int_equal(explanation.verdict, PC_VERDICT_WAITS);
	caller_start(&caller, model);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, 1000);
	assert_int_equal(caller_join(&caller), 0);
	pc_pool_destroy(pool);
}

/* ---- runs ---- */

static void a_run_may_break_its_worker(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 2);
	struct caller goes_on = { .work.gate = &gate }, waits[2] = { 0 };
	struct work breaks = { .order = RUN_BREAKS };
	struct pc_error err = PC_ERROR_INIT;

	caller_start(&goes_on, model);
	AWAIT(goes_on.work.runs == 1);
	assert_int_equal(pc_pool_call(model, NULL, work_run, &breaks, &err), PC_E_WORKER_FAILED);
	assert_string_equal(err.message, "the card fell off the bus");
	assert_int_equal(plans[0].unloads, 0); /* the other slot still runs */
	for (unsigned i = 0; i < 2; i++)
		caller_start(&waits[i], model);
	AWAIT(metrics_of(pool).waiting == 2);
	gate_open(&gate);
	assert_int_equal(caller_join(&goes_on), 0);
	AWAIT(plans[0].unloads == 1);
	assert_int_equal(metrics_of(pool).waiting, 2);
	pass_time(pool, 1000); /* the back-off */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(caller_join(&waits[i]), 0);
	assert_int_equal(metrics_of(pool).workers_failed, 1);
	pc_pool_destroy(pool);
}

static void a_lease_may_be_returned_broken(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 2);
	struct pc_error cause = PC_ERROR_INIT;
	struct pc_lease lease, other;

	pc_error_set(&cause, PC_E_WORKER_FAILED, "it smells");
	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	assert_int_equal(pc_lease_acquire(model, NULL, &other, NULL), 0);
	pc_lease_release_broken(&lease, &cause);
	assert_false(pc_lease_try_acquire(model, &lease));
	assert_int_equal(plans[0].unloads, 0);
	pc_lease_release(&other);
	AWAIT(plans[0].unloads == 1);
	await_memory_back(pool);
	assert_int_equal(metrics_of(pool).workers_failed, 1);
	assert_int_equal(metrics_of(pool).total_errors, 1);
	assert_int_equal(metrics_of(pool).total_requests, 2);
	pc_pool_destroy(pool);
}

/* `slot`: which slot's thread is lost. */
static void lose_a_thread(uint32_t slots, uint32_t slot, const struct pc_engine *engine)
{
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m",
		&(struct pc_model_spec){ .slots = slots, .max_workers = 1, .engine = engine });
	struct work ends = { .order = RUN_ENDS_THREAD }, waits = { .order = RUN_WELL };
	struct pc_request_options options = { .timeout_ms = 0 };
	struct pc_lease leases[4];
	unsigned held = 0, unloads = plans[0].unloads;

	assert_int_equal(pc_cancel_create(&options.cancel, NULL), 0);
	for (; held < slot; held++)
		assert_int_equal(pc_lease_acquire(model, NULL, &leases[held], NULL), 0);
	assert_int_equal(pc_pool_submit(model, &options, work_run, work_done, &ends, NULL), 0);
	AWAIT(ends.dones == 1);
	assert_int_equal(ends.err.code, PC_E_WORKER_FAILED);
	assert_string_equal(ends.err.message, "the call to 'm' ended the worker's thread");
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &waits, NULL), 0);
	while (held > 0)
		pc_lease_release(&leases[--held]);
	AWAIT(plans[0].unloads == unloads + 1);
	while (waits.dones == 0)
		help_on(pool);
	assert_int_equal(waits.err.code, 0);
	assert_int_equal(metrics_of(pool).workers_failed, 1);
	assert_int_equal(metrics_of(pool).total_errors, 1);
	pc_pool_destroy(pool);
	pc_cancel_destroy(options.cancel);
}

static void a_run_may_end_its_thread(void **state)
{
	(void)state;
	lose_a_thread(1, 0, &free_engine);
	lose_a_thread(1, 0, &bound_engine);
	lose_a_thread(3, 0, &free_engine);
	lose_a_thread(3, 1, &free_engine);
	lose_a_thread(3, 2, &free_engine);
}

/* Engines that are bound to their thread are measured between two runs. */
static void measuring_may_end_a_workers_thread(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .max_workers = 1, .engine = &bound_engine });
	struct caller caller = { 0 };

	assert_int_equal(pc_pool_load(model, NULL), 0);
	AWAIT(metrics_of(pool).load_time.count == 1);
	plans[0].describe_ends_thread = true;
	caller_start(&caller, model);
	AWAIT(caller.ended);
	assert_int_equal(caller_join(&caller), PC_E_WORKER_FAILED);
	await_memory_back(pool);
	pc_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(any_allocation_may_fail),
		FAULT_TEST(all_allocations_may_fail_from_some_moment),
		FAULT_TEST(a_pool_needs_its_thread),
		FAULT_TEST(a_worker_needs_its_threads),
		FAULT_TEST(a_worker_that_cannot_be_taken_over_stays_the_programs),
		FAULT_TEST(a_fire_tells_nobody_that_a_thread_failed),
		FAULT_TEST(a_load_may_fail_in_any_way),
		FAULT_TEST(an_unload_may_end_its_thread),
		FAULT_TEST(a_load_may_never_end),
		FAULT_TEST(failures_in_a_row_open_the_breaker),
		FAULT_TEST(who_comes_during_a_back_off_waits_for_its_end),
		FAULT_TEST(a_run_may_break_its_worker),
		FAULT_TEST(a_lease_may_be_returned_broken),
		FAULT_TEST(a_run_may_end_its_thread),
		FAULT_TEST(measuring_may_end_a_workers_thread),
	};

	return cmocka_run_group_tests_name("pool_faults", tests, NULL, NULL);
}
