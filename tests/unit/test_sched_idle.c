/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the brain's rule 8, that idle workers go in the end (src/sched/idle.c), and of
 * workers that are recycled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

/* ---- cooldown ---- */

static void idle_workers_go_one_per_interval_down_to_the_minimum(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = 3;
	spec.cold_start_workers = 3;
	spec.min_workers = 1;
	submit(0, add(&spec));
	for (uint64_t id = 1; id <= 3; id++)
		ready(id);
	release(0);
	body.log[0] = '\0';
	pass(60 * SEC);
	expect("stop 2 idle\n"); /* never used, so before 1 */
	gone(2);
	pass(60 * SEC);
	expect("stop 3 idle\n");
	gone(3);
	pass(600 * SEC);
	expect("");
	assert_int_equal(reserved(0), GIB);
}

static void a_model_in_use_does_not_cool_down(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	ready(1);
	body.log[0] = '\0';
	pass(600 * SEC);
	expect("");
	release(0);
	pass(59 * SEC);
	submit(0, a);
	release(0);
	body.log[0] = '\0';
	pass(59 * SEC);
	expect("");
	pass(61 * SEC);
	expect("stop 1 idle\n");
	gone(1);
	pass(600 * SEC);
	assert_int_equal(body.next_ns, PC_TIME_NEVER);
}

static void a_ttl_of_zero_stops_after_the_last_lease(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.idle_ttl_ns = 0;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	submit(1, a);
	ready(1);
	release(0);
	release(1);
	expect("spawn 1 'a' on 0\ngrant t0 1\ngrant t1 1\nstop 1 idle\n");
}

/* ---- recycling, growth ---- */

static void a_worker_is_recycled_after_its_requests_one_at_a_time(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_counters counters;

	(void)state;
	spec.max_workers = spec.cold_start_workers = 2;
	spec.recycle_requests = 1;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	submit(1, a);
	ready(1);
	ready(2);
	body.log[0] = '\0';
	release(0);
	expect("stop 1 recycled\n");
	release(1);
	expect(""); /* it is due, and serves as long as the other one is leaving */
	submit(2, a);
	expect("grant t2 2\n");
	gone(1);
	expect(""); /* it goes when its lease is over */
	release(2);
	expect("stop 2 recycled\n");
	pc_sched_get_counters(body.sched, &counters);
	assert_int_equal(counters.recycled, 2);
}

static void a_worker_that_grew_is_recycled_and_the_next_begins_small(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.recycle_bytes = 2 * GIB;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	changed(1, 2 * GIB);
	assert_int_equal(reserved(0), 2 * GIB);
	changed(1, GIB); /* it never shrinks */
	assert_int_equal(reserved(0), 2 * GIB);
	expect("spawn 1 'a' on 0\ngrant t0 1\n");
	changed(1, 3 * GIB);
	expect("");
	release(0);
	expect("stop 1 recycled\n");
	gone(1);
	submit(0, a);
	expect("spawn 2 'a' on 0\n");
	assert_int_equal(reserved(0), GIB);
	cancel(0);
}

static void the_growth_of_an_idle_worker_counts_when_room_is_made(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB), *b = add_simple("b", 6 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	changed(1, 3 * GIB);
	pass(10 * SEC);
	body.log[0] = '\0';
	submit(1, b);
	expect("stop 1 evicted to make room\n");
	cancel(1);
	changed(99, GIB); /* nobody has ever heard of it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(idle_workers_go_one_per_interval_down_to_the_minimum),
		scenario(a_model_in_use_does_not_cool_down),
		scenario(a_ttl_of_zero_stops_after_the_last_lease),
		scenario(a_worker_is_recycled_after_its_requests_one_at_a_time),
		scenario(a_worker_that_grew_is_recycled_and_the_next_begins_small),
		scenario(the_growth_of_an_idle_worker_counts_when_room_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
