/* SPDX-License-Identifier: MIT */
/* Scenarios of the brain's rule 9: workers that fail to load or die, back-off and breaker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

static void a_failed_load_backs_off_and_then_tries_again(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	struct pc_sched_model_view view;

	(void)state;
	submit(0, a);
	failed(1, PC_E_SPAWN_FAILED, "exit code 1");
	gone(1);
	expect("spawn 1 'a' on 0\nstop 1 failed\nreject t0 SPAWN_FAILED\n");
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 1);
	assert_in_range(view.backoff_until_ns - body.now_ns, SEC * 3 / 4, SEC);
	submit(1, a);
	expect("");
	pass(SEC);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	release(1);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 0);
}

static void a_request_that_ends_in_back_off_is_told_the_cause(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	failed(1, PC_E_SPAWN_FAILED, "exit code 1");
	gone(1);
	body.log[0] = '\0';
	submit_with(1, a, PC_PRIORITY_INTERACTIVE, SEC / 2, 0);
	pass(SEC / 2);
	expect("reject t1 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 500 ms acquiring a worker for 'a': in back-off "
			    "after: exit code 1");
}

/* Makes the next load fail, waiting out the back-off before it. */
static void fail_once(struct pc_sched_model *model, uint64_t worker)
{
	submit_with(0, model, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	pass(60 * SEC);
	failed(worker, PC_E_SPAWN_FAILED, "exit code 1");
	gone(worker);
	body.log[0] = '\0';
}

static void five_failures_open_the_breaker_and_a_probe_closes_it(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	struct pc_sched_model_view view;

	(void)state;
	for (uint64_t worker = 1; worker <= 5; worker++)
		fail_once(a, worker);
	submit(0, a);
	expect("reject t0 MODEL_BACKOFF\n");
	assert_memory_equal(body.last_error.message,
			    "model 'a' failed 5 times in a row and is tried again in 1", 56);
	assert_non_null(strstr(body.last_error.message, "; last: exit code 1"));
	assert_string_equal(pc_error_detail_get(&body.last_error, "cause"), "SPAWN_FAILED");
	pass(16 * SEC);
	submit(0, a); /* the probe; a second request waits for the same one */
	submit(1, a);
	expect("spawn 6 'a' on 0\n");
	ready(6);
	release(0);
	release(1);
	expect("grant t0 6\ngrant t1 6\n");
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 0);
}

/* Makes the next load of two workers fail. */
static void fail_two(struct pc_sched_model *model, uint64_t worker)
{
	submit_with(0, model, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	pass(60 * SEC);
	failed(worker, PC_E_SPAWN_FAILED, "exit code 1");
	failed(worker + 1, PC_E_SPAWN_FAILED, "exit code 1");
	gone(worker);
	gone(worker + 1);
	body.log[0] = '\0';
}

static void the_probe_is_one_worker_however_many_a_cold_start_has(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.cold_start_workers = spec.max_workers = 2;

	struct pc_sched_model *a = add(&spec);

	for (uint64_t worker = 1; worker <= 5; worker += 2)
		fail_two(a, worker);
	pass(60 * SEC);
	submit(0, a);
	expect("spawn 7 'a' on 0\n");
	ready(7);
	submit(1, a); /* growth is a probe too until somebody was answered */
	expect("grant t0 7\nspawn 8 'a' on 0\n");
	release(0);
	release(1);
	expect("grant t1 7\n");
}

static void growth_that_fails_backs_off_though_another_worker_answers(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model_view view;

	(void)state;
	spec.max_workers = 2;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	pass(SEC);
	for (uint64_t worker = 2; worker <= 4; worker++) {
		submit_with(1, a, PC_PRIORITY_INTERACTIVE, 600 * SEC, 0);
		pass(60 * SEC - 1);
		failed(worker, PC_E_SPAWN_FAILED, "exit code 1");
		gone(worker);
		release(0); /* worker 1 is well, and says nothing about the next load */
		release(1);
		submit(0, a);
		pc_sched_get_model(a, &view);
		assert_int_equal(view.failures_in_row, worker - 1);
	}
	assert_in_range(view.backoff_until_ns - body.now_ns, 3 * SEC, 4 * SEC);
	submit_with(1, a, PC_PRIORITY_INTERACTIVE, 600 * SEC, 0);
	pass(4 * SEC);
	ready(5);
	release(1);
	release(0);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 0); /* worker 5 has loaded since, and answered */
}

static void a_worker_that_dies_is_not_granted_again(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.slots = 2;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	gone(1);
	assert_int_equal(reserved(0), 0);
	submit(1, a);
	expect("spawn 1 'a' on 0\ngrant t0 1\n");
	body.next_ns = pc_sched_release(body.sched, body.now_ns, &body.tickets[0], PC_OUTCOME_LOST);
	pass(SEC);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	expect("grant t1 2\n");
	release(1);
}

static void a_worker_that_never_gets_ready_is_given_up(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit_with(0, a, PC_PRIORITY_INTERACTIVE, 500 * SEC, 0);
	pass(120 * SEC);
	expect("spawn 1 'a' on 0\nstop 1 not ready in time\nreject t0 SPAWN_FAILED\n");
	assert_string_equal(body.last_error.message,
			    "loading 'a': worker 1 was not ready within 2 min");
	ready(1); /* too late */
	expect("");
	gone(1);
	assert_int_equal(reserved(0), 0);
}

/* A body that verifies a file first says when the load begins. */
static struct pc_sched_model *add_prepared(void)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	spec.prepare_timeout_ns = 3600 * SEC;
	return add(&spec);
}

static void a_start_is_timed_from_the_launch(void **state)
{
	(void)state;
	submit_with(0, add_prepared(), PC_PRIORITY_INTERACTIVE, 5000 * SEC, 0);
	pass(3000 * SEC);
	expect("spawn 1 'a' on 0\n");
	assert_int_equal(reserved(0), GIB);
	launched(1);
	pass(60 * SEC);
	launched(1); /* no second time */
	pass(59 * SEC);
	expect("");
	pass(SEC);
	expect("stop 1 not ready in time\nreject t0 SPAWN_FAILED\n");
	assert_string_equal(body.last_error.message,
			    "loading 'a': worker 1 was not ready within 2 min");
	gone(1);
	launched(1); /* whoever that was */
	assert_int_equal(reserved(0), 0);
}

static void a_worker_that_is_never_launched_is_given_up(void **state)
{
	(void)state;
	submit_with(0, add_prepared(), PC_PRIORITY_INTERACTIVE, 5000 * SEC, 0);
	pass(3599 * SEC);
	expect("spawn 1 'a' on 0\n");
	pass(SEC);
	expect("stop 1 not ready in time\nreject t0 SPAWN_FAILED\n");
	assert_string_equal(body.last_error.message,
			    "loading 'a': worker 1 was not launched within 60 min");
	launched(1); /* too late */
	gone(1);
	assert_int_equal(reserved(0), 0);
}

static void a_wait_for_the_preparation_says_so(void **state)
{
	(void)state;
	submit(0, add_prepared());
	pass(30 * SEC);
	expect("spawn 1 'a' on 0\nreject t0 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'a': worker 1 has been in "
			    "preparation for 30 s");
}

/* It was launched by an earlier daemon; and one without preparation is launched when spawned. */
static void what_needs_no_preparation_is_timed_from_the_start(void **state)
{
	struct pc_sched_model *b = add_simple("b", GIB);
	uint64_t id;

	(void)state;
	assert_int_equal(
		pc_sched_adopt(body.sched, body.now_ns, add_prepared(), 0, GIB, false, &id, NULL),
		0);
	submit_with(0, b, PC_PRIORITY_INTERACTIVE, 500 * SEC, 0);
	body.next_ns = pc_sched_tick(body.sched, body.now_ns);
	pass(60 * SEC);
	launched(1);
	launched(2);
	pass(59 * SEC);
	expect("spawn 2 'b' on 0\n");
	pass(SEC);
	expect("stop 1 not ready in time\nstop 2 not ready in time\nreject t0 SPAWN_FAILED\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_failed_load_backs_off_and_then_tries_again),
		scenario(a_request_that_ends_in_back_off_is_told_the_cause),
		scenario(five_failures_open_the_breaker_and_a_probe_closes_it),
		scenario(the_probe_is_one_worker_however_many_a_cold_start_has),
		scenario(growth_that_fails_backs_off_though_another_worker_answers),
		scenario(a_worker_that_dies_is_not_granted_again),
		scenario(a_worker_that_never_gets_ready_is_given_up),
		scenario(a_start_is_timed_from_the_launch),
		scenario(a_worker_that_is_never_launched_is_given_up),
		scenario(a_wait_for_the_preparation_says_so),
		scenario(what_needs_no_preparation_is_timed_from_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
