/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the brain's rule 5: who waits for memory, who is evicted for it, who is not, and
 * what is kept for whom (src/sched/room.c, line.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

static void nobody_measures_more_than_the_device_has(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	pc_sched_worker_ready(body.sched, body.now_ns, 1, UINT64_MAX);
	assert_int_equal(reserved(0), 10 * GIB);
	release(0);
	expect("spawn 1 'a' on 0\ngrant t0 1\nstop 1 memory pressure\n");
	gone(1);
	assert_int_equal(reserved(0), 0);
}

static void a_model_that_can_never_fit_is_refused_at_once(void **state)
{
	(void)state;
	submit(0, add_simple("giant", 9 * GIB));
	expect("reject t0 INSUFFICIENT_MEMORY\n");
	assert_string_equal(body.last_error.message,
			    "model 'giant' needs 9 GiB on cpu: 8 GiB of 8 GiB budget free");
	assert_string_equal(pc_error_detail_get(&body.last_error, "needed_bytes"), "9663676416");
	assert_string_equal(pc_error_detail_get(&body.last_error, "free_bytes"), "8589934592");
	assert_string_equal(pc_error_detail_get(&body.last_error, "budget_bytes"), "8589934592");
	assert_string_equal(pc_error_detail_get(&body.last_error, "device"), "cpu");
}

static void what_does_not_fit_now_waits_and_says_who_holds_the_rest(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 2 * GIB);
	struct pc_sched_model *c = add_simple("c", 3 * GIB / 2);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	submit(2, c);
	expect("spawn 1 'a' on 0\nspawn 2 'b' on 0\ngrant t0 1\ngrant t1 2\n");
	pass(30 * SEC);
	expect("reject t2 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'c': no worker fits: "
			    "needs 1.5 GiB on cpu: 1 GiB of 8 GiB budget free; held by "
			    "'a' (1 worker, 5 GiB), 'b' (1 worker, 2 GiB)");
	assert_string_equal(pc_error_detail_get(&body.last_error, "holders"),
			    "'a' (1 worker, 5 GiB), 'b' (1 worker, 2 GiB)");
	release(0);
	release(1);
}

static void room_is_made_by_the_least_recently_used_idle_worker(void **state)
{
	struct pc_sched_model *a = add_simple("a", 3 * GIB), *b = add_simple("b", 3 * GIB);
	struct pc_sched_model *c = add_simple("c", 4 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	pass(6 * SEC);
	release(1);
	pass(SEC);
	release(0);
	body.log[0] = '\0';
	submit(2, c);
	expect("stop 2 evicted to make room\n");
	assert_int_equal(reserved(0), 6 * GIB);
	gone(2);
	expect("spawn 3 'c' on 0\n");
	ready(3);
	release(2);
}

static void a_young_worker_is_spared_until_somebody_waited_long(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 5 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	body.log[0] = '\0';
	submit(1, b);
	expect("");
	pass(4 * SEC);
	expect("");
	pass(2 * SEC);
	expect("stop 1 evicted to make room\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void a_leased_or_pinned_worker_is_never_evicted(void **state)
{
	struct pc_sched_model_spec pinned = spec_of("pinned", 4 * GIB);

	(void)state;
	pinned.pinned = true;

	struct pc_sched_model *p = add(&pinned), *a = add_simple("a", 4 * GIB);
	struct pc_sched_model *b = add_simple("b", 4 * GIB);

	submit(0, p);
	submit(1, a);
	ready(1);
	ready(2);
	release(0);
	pass(20 * SEC);
	body.log[0] = '\0';
	submit(2, b);
	pass(30 * SEC);
	expect("reject t2 TIMEOUT\n");
	release(1);
}

static void no_more_is_evicted_than_is_needed(void **state)
{
	struct pc_sched_model *small = add_simple("small", GIB), *mid = add_simple("mid", 2 * GIB);
	struct pc_sched_model *large = add_simple("large", 4 * GIB);
	struct pc_sched_model *next = add_simple("next", 5 * GIB);

	(void)state;
	submit(0, small);
	submit(1, mid);
	submit(2, large);
	for (int i = 0; i < 3; i++) {
		ready((uint64_t)i + 1);
		release(i);
	}
	pass(6 * SEC);
	body.log[0] = '\0';
	submit(3, next); /* 1 GiB is free: large alone makes room, the older two may stay */
	expect("stop 3 evicted to make room\n");
	cancel(3);
}

static void what_an_idle_worker_has_grown_by_is_room_too(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB), *b = add_simple("b", 8 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	body.next_ns = pc_sched_worker_changed(body.sched, body.now_ns, 1, 3 * GIB);
	pass(6 * SEC);
	body.log[0] = '\0';
	submit(1, b); /* 5 GiB are free */
	expect("stop 1 evicted to make room\n");
	cancel(1);
}

static void a_floor_keeps_the_most_recently_used(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model *a, *b = add_simple("b", 7 * GIB), *c = add_simple("c", 8 * GIB);

	(void)state;
	spec.min_workers = 1;
	spec.max_workers = 2;
	spec.idle_ttl_ns = PC_TIME_NEVER;
	a = add(&spec);
	submit(0, a);
	submit(1, a);
	ready(1);
	ready(2);
	pass(6 * SEC);
	release(1);
	pass(SEC);
	release(0);
	body.log[0] = '\0';
	submit(2, c); /* both would have to go */
	expect("");
	cancel(2);
	submit(3, b);
	expect("stop 2 evicted to make room\n");
	cancel(3);
	gone(2);
	expect("");
}

static void room_made_for_one_is_not_taken_by_another(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);

	(void)state;
	spec.max_workers = 2;

	struct pc_sched_model *a = add(&spec), *b = add_simple("b", 3 * GIB);
	struct pc_sched_model *c = add_simple("c", 4 * GIB);

	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	release(1);
	pass(6 * SEC);
	submit(2, a); /* wants a second worker, and came before c */
	body.log[0] = '\0';
	submit(3, c);
	expect("stop 2 evicted to make room\n");
	gone(2);
	expect("spawn 3 'c' on 0\n");
	cancel(3);
	release(0);
	release(2);
}

static void the_small_overtake_the_large_for_a_while_only(void **state)
{
	struct pc_sched_model *busy = add_simple("busy", 5 * GIB);
	struct pc_sched_model *large = add_simple("large", 4 * GIB);
	struct pc_sched_model *small = add_simple("small", GIB), *tiny = add_simple("tiny", GIB);

	(void)state;
	submit(0, busy);
	ready(1);
	submit_with(1, large, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	submit_with(2, small, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	expect("spawn 1 'busy' on 0\ngrant t0 1\nspawn 2 'small' on 0\n");
	pass(10 * SEC);
	submit_with(3, tiny, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	expect(""); /* what is free is kept for the large one */
	pass(11 * SEC);
	expect("spawn 3 'tiny' on 0\n"); /* which did not help */
	release(0);
	expect("stop 1 evicted to make room\n");
	gone(1);
	expect("spawn 4 'large' on 0\n");
	for (int i = 1; i <= 3; i++)
		cancel(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(nobody_measures_more_than_the_device_has),
		scenario(a_model_that_can_never_fit_is_refused_at_once),
		scenario(what_does_not_fit_now_waits_and_says_who_holds_the_rest),
		scenario(room_is_made_by_the_least_recently_used_idle_worker),
		scenario(a_young_worker_is_spared_until_somebody_waited_long),
		scenario(a_leased_or_pinned_worker_is_never_evicted),
		scenario(no_more_is_evicted_than_is_needed),
		scenario(what_an_idle_worker_has_grown_by_is_room_too),
		scenario(a_floor_keeps_the_most_recently_used),
		scenario(room_made_for_one_is_not_taken_by_another),
		scenario(the_small_overtake_the_large_for_a_while_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
