/* SPDX-License-Identifier: MIT */
/* Tests of the in-process pool: shutdown, its report, and the end with requests in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

static struct gate gate;

static int close_gate(void **state)
{
	gate_close(&gate);
	return fixture_setup(state);
}

#define GATE_TEST(test) cmocka_unit_test_setup_teardown(test, close_gate, fixture_teardown)

/* A shutdown on a thread of its own. */
struct ending {
	struct pc_pool *pool;
	bool destroys;
	pthread_t thread;
	struct pc_shutdown_report report;
	_Atomic bool ended;
};

static void *end(void *arg)
{
	struct ending *ending = arg;

	if (ending->destroys)
		pc_pool_destroy(ending->pool);
	else
		pc_pool_shutdown(ending->pool, &ending->report);
	ending->ended = true;
	return NULL;
}

/* Returns when it has begun. */
static void ending_start(struct ending *ending)
{
	assert_int_equal(pthread_create(&ending->thread, NULL, end, ending), 0);
	AWAIT(pc_pool_is_shutting_down(ending->pool));
}

static void ending_join(struct ending *ending)
{
	assert_int_equal(pthread_join(ending->thread, NULL), 0);
}

static void a_pool_that_shuts_down_refuses(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 2);
	struct pc_shutdown_report report;
	struct pc_error err = PC_ERROR_INIT;
	struct work work = { .order = RUN_WELL };
	struct pc_explanation explanation;
	struct pc_lease lease;

	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
	assert_false(pc_pool_is_shutting_down(pool));
	pc_pool_shutdown(pool, &report);
	assert_true(pc_pool_is_shutting_down(pool));
	assert_int_equal(report.finished + report.dropped + report.stuck_workers, 0);
	assert_int_equal(plans[0].live, 0);
	assert_int_equal(pc_pool_total_memory_mb(pool), 0);

	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, &err), PC_E_SHUTTING_DOWN);
	assert_string_equal(err.message, "the pool is shutting down and takes no request for 'm'");
	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), PC_E_SHUTTING_DOWN);
	assert_false(pc_lease_try_acquire(model, &lease));
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &work, NULL), 0);
	AWAIT(work.dones == 1);
	assert_int_equal(work.err.code, PC_E_SHUTTING_DOWN);
	assert_int_equal(pc_pool_load(model, NULL), PC_E_SHUTTING_DOWN);
	pc_pool_explain(model, &explanation);
	assert_int_equal(explanation.verdict, PC_VERDICT_REFUSED);
	assert_int_equal(explanation.err.code, PC_E_SHUTTING_DOWN);
	assert_int_equal(pc_pool_add_model(pool,
					   &(struct pc_model_spec){ .key = "n",
								    .engine = &free_engine,
								    .est_memory_allocation_mb = 1 },
					   NULL, NULL),
			 PC_E_SHUTTING_DOWN);
	pc_pool_shutdown(pool, NULL); /* again: nothing is left to do */
	assert_int_equal(work.runs, 1);
	pc_pool_destroy(pool);
}

static void what_runs_and_waits_goes_on(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(pool, "m", &(struct pc_model_spec){ .max_workers = 1 });
	struct caller runs = { .work.gate = &gate }, waits[3] = { 0 };
	struct ending ending = { .pool = pool };
	struct work work = { .order = RUN_WELL };

	caller_start(&runs, model);
	AWAIT(runs.work.runs == 1);
	for (unsigned i = 0; i < 3; i++)
		caller_start(&waits[i], model);
	AWAIT(metrics_of(pool).waiting == 3);
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &work, NULL), 0);
	ending_start(&ending);
	assert_false(ending.ended);
	gate_open(&gate);
	ending_join(&ending);
	assert_int_equal(caller_join(&runs), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(caller_join(&waits[i]), 0);
	AWAIT(work.dones == 1);
	assert_int_equal(work.err.code, 0);
	assert_int_equal(ending.report.finished, 5);
	assert_int_equal(ending.report.dropped, 0);
	assert_int_equal(ending.report.stuck_workers, 0);
	pc_pool_destroy(pool);
}

static void free_slots_of_a_busy_worker_are_not_given_any_more(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 4);
	struct pc_lease lease, other;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	pc_pool_begin_shutdown(pool);
	assert_false(pc_lease_try_acquire(model, &other));
	assert_int_equal(pc_lease_acquire(model, NULL, &other, NULL), PC_E_SHUTTING_DOWN);
	pc_lease_release(&lease);
	AWAIT(plans[0].unloads == 1);
	pc_pool_destroy(pool);
}

/* At the end of its patience: what waits is rejected, what runs is asked to stop. */
static void patience_ends(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(pool, "m", &(struct pc_model_spec){ .max_workers = 1 });
	struct caller asks = { .work.order = RUN_ASKS }, waits = { .work.order = RUN_WELL };
	struct ending ending = { .pool = pool };
	struct work work = { .order = RUN_WELL };

	caller_start(&asks, model);
	AWAIT(asks.work.runs == 1);
	caller_start(&waits, model);
	AWAIT(metrics_of(pool).waiting == 1);
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &work, NULL), 0);
	ending_start(&ending);
	pass_time(pool, 5000);
	assert_int_equal(caller_join(&asks), PC_E_SHUTTING_DOWN);
	assert_string_equal(asks.err.message,
			    "the worker of 'm' was stopped while the request ran");
	assert_int_equal(caller_join(&waits), PC_E_SHUTTING_DOWN);
	AWAIT(work.dones == 1);
	assert_int_equal(work.err.code, PC_E_SHUTTING_DOWN);
	ending_join(&ending);
	assert_int_equal(ending.report.finished, 0);
	assert_int_equal(ending.report.dropped, 3);
	assert_int_equal(ending.report.stuck_workers, 0);
	assert_true(plans[0].cancels >= 1); /* for engines that do not ask */
	pc_pool_destroy(pool);
}

/* Nothing is loaded, and nothing ends by itself: requests alone hold a shutdown up. */
static void who_waits_for_memory_is_waited_for(void **state)
{
	(void)state;
	for (unsigned callers = 0; callers < 2; callers++) {
		struct pc_pool *pool = pool_make(1000, NULL);
		struct pc_model *model = model_of_plan(pool, "m", 0, 1);
		struct ending ending = { .pool = pool, .destroys = true };
		struct work work = { .order = RUN_WELL };
		struct caller caller = { 0 };

		assert_int_equal(pc_pool_add_memory_mb(pool, 950, NULL), 0);
		assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &work, NULL), 0);
		if (callers)
			caller_start(&caller, model);
		AWAIT(metrics_of(pool).waiting == 1 + callers);
		ending_start(&ending);
		assert_false(ending.ended);
		send_time(pool, 5000);
		ending_join(&ending);
		assert_int_equal(work.dones, 1); /* by the time the pool is gone */
		assert_int_equal(work.err.code, PC_E_SHUTTING_DOWN);
		if (callers)
			assert_int_equal(caller_join(&caller), PC_E_SHUTTING_DOWN);
	}
}

static void a_report_counts_who_waited_for_memory(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct ending ending = { .pool = pool };
	struct work served = { 0 }, dropped = { 0 };

	assert_int_equal(pc_pool_add_memory_mb(pool, 950, NULL), 0);
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &served, NULL), 0);
	ending_start(&ending);
	assert_int_equal(pc_pool_remove_memory_mb(pool, 950, NULL), 0);
	pass_time(pool, 250);
	ending_join(&ending);
	AWAIT(served.dones == 1);
	assert_int_equal(served.err.code, 0); /* it came before, and was loaded for */
	assert_int_equal(ending.report.finished, 1);
	assert_int_equal(ending.report.dropped, 0);
	pc_pool_destroy(pool);

	pool = pool_make(50, NULL);
	model = model_make(pool, "m", &(struct pc_model_spec){ .est_memory_allocation_mb = 40 });
	ending = (struct ending){ .pool = pool };
	assert_int_equal(pc_pool_add_memory_mb(pool, 20, NULL), 0);
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &dropped, NULL), 0);
	ending_start(&ending);
	pass_time(pool, 5000);
	ending_join(&ending);
	assert_int_equal(dropped.err.code, PC_E_SHUTTING_DOWN);
	assert_int_equal(ending.report.finished, 0);
	assert_int_equal(ending.report.dropped, 1);
	pc_pool_destroy(pool);
}

static void a_load_is_asked_to_give_up(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct ending ending = { .pool = pool };

	gate_close(&plans[0].load_gate);
	plans[0].asks_progress = true;
	assert_int_equal(pc_pool_load(model, NULL), 0);
	AWAIT(plans[0].loading == 1);
	ending_start(&ending);
	ending_join(&ending);
	assert_int_equal(plans[0].loads, 0);
	assert_int_equal(ending.report.stuck_workers, 0);
	pc_pool_destroy(pool);
}

/* The governor measures a worker beside its slots; that is no request. */
static void measuring_is_no_request(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct pc_shutdown_report report;
	struct work work = { .order = RUN_WELL };

	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
	gate_close(&plans[0].describe_gate);
	send_time(pool, 11000);
	AWAIT(plans[0].describe_gate.waiting == 1);
	assert_true(is_quiet(model));
	pc_pool_begin_shutdown(pool);
	gate_open(&plans[0].describe_gate);
	pc_pool_shutdown(pool, &report);
	assert_int_equal(report.finished, 0);
	assert_int_equal(report.dropped, 0);
	assert_int_equal(report.stuck_workers, 0);
	pc_pool_destroy(pool);
}

/* An engine that does not let go: the shutdown ends all the same, and says so. */
static void a_stuck_worker_is_reported(void **state)
{
	(void)state;
	struct pc_pool_config config;

	pc_pool_config_init(&config);
	config.shutdown_timeout_secs = 1; /* its end is the event; twice that is waited */

	struct pc_pool *pool = pool_make(1000, &config);
	struct pc_model *model = model_of_plan(pool, "m", 0, 2);
	struct caller stuck = { .work.gate = &gate };
	struct pc_shutdown_report report;
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	caller_start(&stuck, model);
	AWAIT(stuck.work.runs == 1);
	pc_pool_shutdown(pool, &report);
	assert_int_equal(report.stuck_workers, 1);
	assert_int_equal(report.dropped, 2);
	assert_int_equal(report.finished, 0);
	gate_open(&gate);
	assert_int_equal(caller_join(&stuck), 0);
	pc_lease_release(&lease);
	AWAIT(plans[0].unloads == 1);
	pc_pool_destroy(pool); /* there is nothing stuck any more */
}

/* A load that neither ends nor asks whether it should: who waited for it is not kept waiting. */
static void a_load_that_hangs_is_reported(void **state)
{
	(void)state;
	struct pc_pool_config config;

	pc_pool_config_init(&config);
	config.shutdown_timeout_secs = 1; /* its end is the event; twice that is waited */

	struct pc_pool *pool = pool_make(1000, &config);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct caller waits = { .work.order = RUN_WELL };
	struct work work = { .order = RUN_WELL };
	struct pc_shutdown_report report;

	gate_close(&plans[0].load_gate);
	caller_start(&waits, model);
	AWAIT(plans[0].loading == 1 && metrics_of(pool).waiting == 1);
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &work, NULL), 0);
	pc_pool_shutdown(pool, &report);
	assert_int_equal(caller_join(&waits), PC_E_SHUTTING_DOWN);
	assert_int_equal(work.dones, 1);
	assert_int_equal(work.err.code, PC_E_SHUTTING_DOWN);
	assert_int_equal(report.finished, 0);
	assert_int_equal(report.dropped, 2);
	assert_int_equal(report.stuck_workers, 1);
	assert_int_equal(pc_pool_total_memory_mb(pool), 100); /* it has it still */
	gate_open(&plans[0].load_gate);
	AWAIT(plans[0].unloads == 1 && pc_pool_total_memory_mb(pool) == 0);
	pc_pool_destroy(pool);
}

static void the_end_waits_for_requests_in_flight(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .slots = 2, .max_workers = 1 });
	struct caller callers[8] = { 0 };
	struct work works[8] = { 0 };
	struct ending ending = { .pool = pool, .destroys = true };
	struct pc_cancel *cancel;

	assert_int_equal(pc_cancel_create(&cancel, NULL), 0);
	for (unsigned i = 0; i < 8; i++) {
		callers[i].options.cancel = cancel;
		callers[i].work.gate = &gate;
		caller_start(&callers[i], model);
	}
	AWAIT(callers[0].work.runs + callers[1].work.runs + callers[2].work.runs +
		      callers[3].work.runs + callers[4].work.runs + callers[5].work.runs +
		      callers[6].work.runs + callers[7].work.runs ==
	      2);
	AWAIT(metrics_of(pool).waiting == 6);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pc_pool_submit(model, &callers[i].options, work_run, work_done,
						&works[i], NULL),
				 0);
	ending_start(&ending);
	pc_cancel_fire(cancel);
	gate_open(&gate);
	ending_join(&ending);
	for (unsigned i = 0; i < 8; i++) {
		caller_join(&callers[i]);
		assert_int_equal(works[i].dones, 1);
		assert_int_equal(works[i].err.code, PC_E_CANCELLED);
	}
	pc_cancel_destroy(cancel);
}

/* Refused at once, and again, and again: who answers a refusal with another request gets no
 * deeper. */
struct insisting {
	struct pc_model *model;
	unsigned left;
	_Atomic bool ended;
};

static void insist(void *ctx, const struct pc_error *err)
{
	struct insisting *insisting = ctx;

	if (err->code != PC_E_SHUTTING_DOWN)
		fault("a request was not refused by a pool that shuts down");
	if (insisting->left-- == 0)
		insisting->ended = true;
	else if (pc_pool_submit(insisting->model, NULL, work_run, insist, insisting, NULL))
		fault("a request of a callback was not accepted");
}

static void who_insists_is_refused_without_end(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	/* A stack of 8 MB holds far fewer. */
	struct insisting insisting = { .model = model_of_plan(pool, "m", 0, 1), .left = 50000 };

	pc_pool_begin_shutdown(pool);
	assert_int_equal(pc_pool_submit(insisting.model, NULL, work_run, insist, &insisting, NULL),
			 0);
	AWAIT(insisting.ended);
	pc_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GATE_TEST(a_pool_that_shuts_down_refuses),
		GATE_TEST(what_runs_and_waits_goes_on),
		GATE_TEST(free_slots_of_a_busy_worker_are_not_given_any_more),
		GATE_TEST(patience_ends),
		GATE_TEST(who_waits_for_memory_is_waited_for),
		GATE_TEST(a_report_counts_who_waited_for_memory),
		GATE_TEST(a_load_is_asked_to_give_up),
		GATE_TEST(measuring_is_no_request),
		GATE_TEST(a_stuck_worker_is_reported),
		GATE_TEST(a_load_that_hangs_is_reported),
		GATE_TEST(the_end_waits_for_requests_in_flight),
		GATE_TEST(who_insists_is_refused_without_end),
	};

	return cmocka_run_group_tests_name("pool_end", tests, NULL, NULL);
}
