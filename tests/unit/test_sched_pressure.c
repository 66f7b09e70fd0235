/* SPDX-License-Identifier: MIT */
/* Scenarios of the brain's rule 11: limits that change, and memory that gets tight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

/* ---- limits and estimates ---- */

static void a_lowered_limit_stops_idle_workers(void **state)
{
	struct pc_sched_model *a = add_simple("a", 3 * GIB), *b = add_simple("b", 3 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	release(0);
	body.log[0] = '\0';
	pc_sched_limit_changed(body.sched, body.now_ns, 0, 2 * GIB);
	expect("stop 1 memory pressure\n");
	gone(1);
	release(1); /* leased ones follow when they are idle */
	expect("stop 2 memory pressure\n");
	gone(2);
	submit(0, a);
	expect("reject t0 INSUFFICIENT_MEMORY\n");
	pc_sched_limit_changed(body.sched, body.now_ns, 99, GIB); /* no such device: ignored */
}

static void a_limit_that_becomes_too_low_refuses_who_waits_for_it(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model_spec spec = spec_of("c", 4 * GIB);
	struct pc_sched_model *c;

	(void)state;
	spec.device_mask = 3;
	c = add(&spec);
	submit(0, a);
	ready(1);
	submit(1, c);
	ready(2);
	expect("spawn 1 'a' on 0\ngrant t0 1\nspawn 2 'c' on 1\ngrant t1 2\n");
	submit(2, b);
	expect("");
	pc_sched_limit_changed(body.sched, body.now_ns, 0, 3 * GIB);
	expect("reject t2 INSUFFICIENT_MEMORY\n");
	release(0);
	expect("stop 1 memory pressure\n");
	gone(1);
	release(1);
}

static void an_estimate_that_changes_takes_back_what_was_promised(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model *c = add_simple("c", 3 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	pass(6 * SEC);
	body.log[0] = '\0';
	submit(1, b);
	expect("stop 1 evicted to make room\n");
	pc_sched_set_estimate(b, 9 * GIB); /* more than there is */
	submit(2, c);
	expect("reject t1 INSUFFICIENT_MEMORY\nspawn 2 'c' on 0\n");
	gone(1);
	cancel(2);
}

static void what_grows_does_not_become_impatient_while_all_is_tight(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 4 * GIB);
	struct pc_sched_model *a, *b = add_simple("b", 4 * GIB);

	(void)state;
	spec.max_workers = 2;
	a = add(&spec);
	submit(0, a);
	ready(1);
	submit(1, b);
	ready(2);
	release(1);
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	expect("spawn 1 'a' on 0\ngrant t0 1\nspawn 2 'b' on 0\ngrant t1 2\nstop 2 memory pressure\n");
	gone(2);
	submit(3, b);
	ready(3);
	release(3);
	expect("spawn 3 'b' on 0\ngrant t3 3\n");
	submit_with(2, a, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	pass(20 * SEC);
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, false);
	pass(9 * SEC);
	expect("");
	pass(2 * SEC);
	expect("stop 3 evicted to make room\n");
	gone(3);
	expect("spawn 4 'a' on 0\n");
	cancel(2);
	release(0);
}

/* ---- pressure ---- */

static void a_tight_device_loses_one_idle_worker_a_call_and_nothing_grows(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = spec.cold_start_workers = 3;

	struct pc_sched_model *a = add(&spec), *b = add_simple("b", GIB);

	submit(0, a);
	ready(1);
	ready(2);
	ready(3);
	body.log[0] = '\0';
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	expect("stop 2 memory pressure\n");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	expect("stop 3 memory pressure\n");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	submit(1, a); /* has a worker, which is busy */
	expect("");
	submit(2, b); /* has none */
	expect("spawn 4 'b' on 0\n");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 7, true); /* no such device */
	expect("");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, false);
	expect("spawn 5 'a' on 0\n");
	cancel(1);
	cancel(2);
	release(0);
}

static void a_first_worker_rather_goes_where_memory_is_not_tight(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.device_mask = 3;
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	submit(0, add(&spec)); /* 8 GiB are free on 0, 4 on 1 */
	expect("spawn 1 'a' on 1\n");
	cancel(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_lowered_limit_stops_idle_workers),
		scenario(a_limit_that_becomes_too_low_refuses_who_waits_for_it),
		scenario(an_estimate_that_changes_takes_back_what_was_promised),
		scenario(what_grows_does_not_become_impatient_while_all_is_tight),
		scenario(a_tight_device_loses_one_idle_worker_a_call_and_nothing_grows),
		scenario(a_first_worker_rather_goes_where_memory_is_not_tight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
