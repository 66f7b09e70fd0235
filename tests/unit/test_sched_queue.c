/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the brain's rules 6, 7 and 10: in which order requests are served, by which worker,
 * and what they are told when their time is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

/* ---- rule 6: the queue ---- */

static void the_earliest_deadline_goes_first_and_interactive_before_batch(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	submit_with(1, a, PC_PRIORITY_BATCH, 0, 0);
	submit_with(2, a, PC_PRIORITY_INTERACTIVE, 20 * SEC, 0);
	submit_with(3, a, PC_PRIORITY_INTERACTIVE, 5 * SEC, 0);
	submit_with(4, a, PC_PRIORITY_INTERACTIVE, 20 * SEC, 0);
	ready(1);
	for (int i = 0; i < 5; i++) {
		static const int order[] = { 3, 2, 4, 0, 1 };

		release(order[i]);
	}
	expect("spawn 1 'a' on 0\ngrant t3 1\ngrant t2 1\ngrant t4 1\ngrant t0 1\ngrant t1 1\n");
}

static void an_aged_batch_request_goes_before_a_new_interactive_one(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	ready(1);
	submit_with(1, a, PC_PRIORITY_BATCH, 600 * SEC, 0);
	pass(59 * SEC);
	submit(2, a);
	pass(2 * SEC);
	submit(3, a);
	release(0);
	release(2);
	release(1);
	release(3);
	expect("spawn 1 'a' on 0\ngrant t0 1\ngrant t2 1\ngrant t1 1\ngrant t3 1\n");
}

static void a_full_queue_refuses_and_says_when_to_come_back(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.queue_capacity = 2;

	struct pc_sched_model *a = add(&spec);

	for (int i = 0; i < 3; i++)
		submit(i, a);
	expect("spawn 1 'a' on 0\nreject t2 QUEUE_FULL\n");
	assert_string_equal(body.last_error.message,
			    "the queue of 'a' is full: 2 of 2 requests wait for 1 worker");
	assert_string_equal(pc_error_detail_get(&body.last_error, "retry_after_secs"), "1");
	cancel(0);
	cancel(1);
}

static void a_cancelled_request_leaves_its_place_to_the_next(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	submit(1, a);
	cancel(0);
	ready(1);
	expect("spawn 1 'a' on 0\ngrant t1 1\n");
	submit(0, a); /* a ticket may be used again */
	release(1);
	release(0);
	expect("grant t0 1\n");
}

/* ---- rule 7: choice ---- */

static void the_most_recently_used_of_the_least_loaded_is_chosen(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.slots = 2;
	spec.max_workers = 2;
	spec.cold_start_workers = 2;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	ready(2);
	submit(1, a); /* 2 has fewer leases */
	release(0);
	release(1); /* 2 was used last */
	submit(2, a);
	submit(3, a); /* 1 has fewer leases */
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\ngrant t0 1\ngrant t1 2\ngrant t2 2\n"
	       "grant t3 1\n");
	release(2);
	release(3);
}

static void a_conversation_returns_to_its_worker(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = 2;
	spec.cold_start_workers = 2;

	struct pc_sched_model *a = add(&spec);

	submit_with(0, a, PC_PRIORITY_INTERACTIVE, 0, 77);
	ready(1);
	ready(2);
	submit(1, a);
	release(0);
	release(1); /* 2 was used last */
	submit_with(2, a, PC_PRIORITY_INTERACTIVE, 0, 77);
	submit_with(3, a, PC_PRIORITY_INTERACTIVE, 0, 77); /* 1 is full */
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\ngrant t0 1\ngrant t1 2\ngrant t2 1\n"
	       "grant t3 2\n");
	release(2);
	release(3);
}

/* ---- rule 10: deadlines ---- */

static void a_timeout_says_how_many_are_busy_and_ahead(void **state)
{
	struct pc_sched_model_spec spec = spec_of("x", GIB);

	(void)state;
	spec.max_workers = 2;
	spec.cold_start_workers = 2;

	struct pc_sched_model *x = add(&spec);

	submit(0, x);
	submit(1, x);
	ready(1);
	ready(2);
	for (int i = 2; i < 16; i++)
		submit_with(i, x, PC_PRIORITY_INTERACTIVE, 40 * SEC, 0);
	submit_with(16, x, PC_PRIORITY_BATCH, 30 * SEC, 0);
	body.log[0] = '\0';
	pass(30 * SEC);
	expect("reject t16 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'x': 2 of 2 workers "
			    "busy, 14 requests ahead");
	assert_string_equal(pc_error_detail_get(&body.last_error, "requests_ahead"), "14");
	for (int i = 0; i < 16; i++)
		release(i);
}

static void a_timeout_while_loading_says_so(void **state)
{
	(void)state;
	submit(0, add_simple("x", GIB));
	pass(30 * SEC);
	expect("spawn 1 'x' on 0\nreject t0 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'x': worker 1 has been "
			    "loading for 30 s");
}

static void a_deadline_that_has_passed_is_refused(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	memset(&body.tickets[0], 0, sizeof(body.tickets[0]));
	body.tickets[0].model = a;
	body.tickets[0].deadline_ns = body.now_ns - 1;
	pc_sched_submit(body.sched, body.now_ns, &body.tickets[0]);
	expect("reject t0 TIMEOUT\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(the_earliest_deadline_goes_first_and_interactive_before_batch),
		scenario(an_aged_batch_request_goes_before_a_new_interactive_one),
		scenario(a_full_queue_refuses_and_says_when_to_come_back),
		scenario(a_cancelled_request_leaves_its_place_to_the_next),
		scenario(the_most_recently_used_of_the_least_loaded_is_chosen),
		scenario(a_conversation_returns_to_its_worker),
		scenario(a_timeout_says_how_many_are_busy_and_ahead),
		scenario(a_timeout_while_loading_says_so),
		scenario(a_deadline_that_has_passed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
