/* SPDX-License-Identifier: MIT */
/* Scenarios of the brain's rule 12: what a drain finishes, refuses and ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

static void a_drain_finishes_what_it_has_and_refuses_the_rest(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB), *b = add_simple("b", GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	submit(2, a);
	release(1);
	body.log[0] = '\0';
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + 5 * SEC);
	expect("stop 2 shutdown\n");
	submit(3, a);
	expect("reject t3 SHUTTING_DOWN\n");
	release(0);
	expect("grant t2 1\n");
	assert_false(pc_sched_is_drained(body.sched));
	release(2);
	expect("stop 1 shutdown\n");
	gone(1);
	gone(2);
	assert_true(pc_sched_is_drained(body.sched));
}

static void a_drain_stops_what_loads_for_a_request_that_gave_up(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit_with(0, a, PC_PRIORITY_INTERACTIVE, 2 * SEC, 0);
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + 5 * SEC);
	expect("spawn 1 'a' on 0\n");
	pass(2 * SEC);
	expect("reject t0 TIMEOUT\nstop 1 shutdown\n");
	gone(1);
	assert_true(pc_sched_is_drained(body.sched));
}

static void a_drain_that_is_over_rejects_and_forces(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	ready(1);
	submit(1, a);
	body.log[0] = '\0';
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + 5 * SEC);
	expect("");
	pass(5 * SEC);
	expect("reject t1 SHUTTING_DOWN\nstop 1 shutdown, by force\n");
	gone(1);
	assert_false(pc_sched_is_drained(body.sched)); /* t0 is still out */
	body.next_ns = pc_sched_release(body.sched, body.now_ns, &body.tickets[0], PC_OUTCOME_LOST);
	assert_true(pc_sched_is_drained(body.sched));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_drain_finishes_what_it_has_and_refuses_the_rest),
		scenario(a_drain_stops_what_loads_for_a_request_that_gave_up),
		scenario(a_drain_that_is_over_rejects_and_forces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
