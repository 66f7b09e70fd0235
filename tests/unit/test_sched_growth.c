/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the brain's rules 1 to 4: nothing is loaded before a request, one cold start, growth
 * one worker at a time, and a reservation before each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

/* ---- lazy, cold start ---- */

static void nothing_is_loaded_before_a_request(void **state)
{
	(void)state;
	add_simple("a", GIB);
	pass(3600 * SEC);
	expect("");
	assert_int_equal(pc_sched_next_deadline(body.sched), PC_TIME_NEVER);
}

static void one_request_loads_waits_and_is_granted(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	expect("spawn 1 'a' on 0\n");
	assert_int_equal(reserved(0), GIB);
	ready(1);
	expect("grant t0 1\n");
	submit(1, a);
	expect("");
	release(0);
	expect("grant t1 1\n");
	release(1);
	submit(2, a);
	expect("grant t2 1\n");
	release(2);
}

static void thirty_two_first_requests_make_one_cold_start(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_counters counters;

	(void)state;
	spec.slots = 4;

	struct pc_sched_model *a = add(&spec);

	for (int i = 0; i < 32; i++)
		submit(i, a);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect("grant t0 1\ngrant t1 1\ngrant t2 1\ngrant t3 1\n");
	for (int i = 0; i < 32; i++)
		release(i);
	pc_sched_get_counters(body.sched, &counters);
	assert_int_equal(counters.cold_starts, 1);
	assert_int_equal(counters.spawned, 1);
	assert_int_equal(counters.granted, 32);
	assert_int_equal(counters.rejected, 0);
}

/* ---- growth and reservations ---- */

static void a_waiting_request_grows_the_model_one_at_a_time(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = 3;

	struct pc_sched_model *a = add(&spec);

	for (int i = 0; i < 5; i++)
		submit(i, a);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect("grant t0 1\nspawn 2 'a' on 0\n");
	ready(2);
	expect("grant t1 2\nspawn 3 'a' on 0\n");
	ready(3);
	expect("grant t2 3\n");
	for (int i = 0; i < 5; i++)
		release(i);
	expect("grant t3 1\ngrant t4 2\n");
}

static void further_warm_workers_start_where_they_fit(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);

	(void)state;
	spec.max_workers = 0;
	spec.cold_start_workers = 4;
	submit(0, add(&spec));
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\n");
	assert_int_equal(reserved(0), 6 * GIB);
	cancel(0);
}

static void the_emptiest_device_that_fits_is_chosen(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 2 * GIB);

	(void)state;
	spec.device_mask = 3;
	spec.max_workers = 0;
	spec.cold_start_workers = 6;
	submit(0, add(&spec));
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\nspawn 3 'a' on 0\nspawn 4 'a' on 1\n"
	       "spawn 5 'a' on 0\nspawn 6 'a' on 1\n");
	cancel(0);
}

static void a_reservation_returns_when_the_worker_is_gone_and_not_before(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	failed(1, PC_E_MODEL_FILE_MISSING, "there is no file /models/a.gguf");
	expect("spawn 1 'a' on 0\nstop 1 failed\nreject t0 MODEL_FILE_MISSING\n");
	assert_string_equal(body.last_error.message,
			    "loading 'a': there is no file /models/a.gguf");
	assert_int_equal(reserved(0), GIB);
	gone(1);
	assert_int_equal(reserved(0), 0);
	gone(1); /* a repeated report is ignored */
	ready(1);
	expect("");
}

static void what_a_worker_measures_replaces_its_reservation(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	body.next_ns = pc_sched_worker_ready(body.sched, body.now_ns, 1, 3 * GIB);
	assert_int_equal(reserved(0), 3 * GIB);
	release(0);
	gone(1);
	assert_int_equal(reserved(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(nothing_is_loaded_before_a_request),
		scenario(one_request_loads_waits_and_is_granted),
		scenario(thirty_two_first_requests_make_one_cold_start),
		scenario(a_waiting_request_grows_the_model_one_at_a_time),
		scenario(further_warm_workers_start_where_they_fit),
		scenario(the_emptiest_device_that_fits_is_chosen),
		scenario(a_reservation_returns_when_the_worker_is_gone_and_not_before),
		scenario(what_a_worker_measures_replaces_its_reservation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
