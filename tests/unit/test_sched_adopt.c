/* SPDX-License-Identifier: MIT */
/* Scenarios of workers that are there before the brain, and of what it is told that models need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/sched_body.h"

static int adopt(struct pc_sched_model *model, unsigned device, uint64_t bytes, uint64_t *ret_id)
{
	pc_error_clear(&body.last_error);
	return pc_sched_adopt(body.sched, body.now_ns, model, device, bytes, true, ret_id,
			      &body.last_error);
}

static void a_worker_that_is_there_is_adopted_and_serves(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_next_worker_id(body.sched), 1);
	assert_int_equal(adopt(a, 0, 3 * GIB, &id), 0);
	assert_int_equal(id, 1);
	assert_int_equal(pc_sched_next_worker_id(body.sched), 2);
	assert_int_equal(reserved(0), 3 * GIB);
	submit(0, a);
	expect("grant t0 1\n");
	release(0);
}

static void a_worker_that_is_taken_in_is_ready_when_its_body_says_so(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model_view view;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	spec.max_workers = 8;
	spec.self_service = true;

	struct pc_sched_model *a = add(&spec);

	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, true, &id, &err),
			 PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, false, &id, &err), 0);
	assert_int_equal(id, 1);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.spawning, 1);
	submit(0, a); /* waits for it, instead of for another */
	expect("");
	ready(1);
	served(0);
	expect("");
}

/* What a daemon finds that was killed while a worker loaded. */
static void a_worker_that_is_taken_in_while_it_loads_is_waited_for(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, false, &id, NULL), 0);
	assert_int_equal(reserved(0), GIB);
	submit(0, a);
	expect("");
	ready(1);
	expect("grant t0 1\n");
	release(0);
}

static void an_adoption_that_cannot_be_is_refused_with_the_reason(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 77;

	(void)state;
	assert_int_equal(pc_sched_adopt(body.sched, 0, NULL, 0, GIB, true, &id, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt(a, 0, GIB, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt(a, 1, GIB, &id), PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt(a, 0, 0, &id), PC_E_INVALID_ARGUMENT);
	for (unsigned nth = 1; nth <= 2; nth++) { /* the model's cause, the worker */
		fail_alloc_begin_once(nth);
		assert_int_equal(adopt(a, 0, GIB, &id), PC_E_OUT_OF_MEMORY);
		fail_alloc_end();
	}
	assert_int_equal(adopt(a, 0, 9 * GIB, &id), PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(body.last_error.message,
			    "model 'a' needs 9 GiB on cpu: 8 GiB of 8 GiB budget free");
	assert_int_equal(id, 77);
	assert_int_equal(reserved(0), 0);
	assert_int_equal(adopt(a, 0, GIB, &id), 0);
	assert_int_equal(adopt(a, 0, GIB, &id), PC_E_NO_WORKERS);
	assert_string_equal(body.last_error.message,
			    "'a' has all of the 1 workers that it may have");
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + SEC);
	assert_int_equal(adopt(a, 0, GIB, &id), PC_E_SHUTTING_DOWN);
	expect("stop 1 shutdown\n");
}

static void an_estimate_is_what_the_next_worker_needs(void **state)
{
	struct pc_sched_model *a = add_simple("a", 9 * GIB);

	(void)state;
	pc_sched_set_estimate(a, 2 * GIB);
	pc_sched_set_estimate(a, 0); /* says nothing */
	submit(0, a);
	expect("spawn 1 'a' on 0\n");
	assert_int_equal(reserved(0), 2 * GIB);
	cancel(0);
}

/* The first of two would else be joined by a fresh one, and the second be one too many. */
static void all_that_are_there_are_adopted_before_anything_follows(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	uint64_t id = 0;

	(void)state;
	spec.min_workers = spec.max_workers = 3;

	struct pc_sched_model *a = add(&spec);

	assert_int_equal(adopt(a, 0, GIB, &id), 0);
	assert_int_equal(pc_sched_next_deadline(body.sched), body.now_ns);
	assert_int_equal(adopt(a, 0, GIB, &id), 0);
	expect("");
	body.next_ns = pc_sched_tick(body.sched, body.now_ns);
	expect("spawn 3 'a' on 0\n");
}

static int adopt_leaving(struct pc_sched_model *model, unsigned device, uint64_t bytes,
			 uint64_t *ret_id)
{
	pc_error_clear(&body.last_error);
	return pc_sched_adopt_leaving(body.sched, body.now_ns, model, device, bytes,
				      PC_STOP_REPLACED, ret_id, &body.last_error);
}

static void a_worker_that_is_to_go_is_on_the_books_until_it_has_gone(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB);
	struct pc_sched_worker_view view;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	assert_int_equal(adopt_leaving(a, 0, 4 * GIB, &id), 0);
	assert_int_equal(id, 1);
	assert_int_equal(reserved(0), 4 * GIB);
	assert_true(pc_sched_get_worker(body.sched, 1, &view));
	assert_int_equal(view.status, PC_WORKER_STOPPING);
	submit(0, a); /* not by that one; and for another one its memory has to come back */
	expect("");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, false, &err), 0);
	expect("");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, &err), 0);
	expect("stop 1 replaced: its model's settings changed, by force\n");
	gone(1);
	expect("spawn 2 'a' on 0\n");
	assert_int_equal(reserved(0), 5 * GIB);
	cancel(0);
}

/* Whatever would keep one from being adopted that is to go on. */
static void a_worker_that_is_to_go_is_refused_by_nothing(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model *a = add(&spec);
	uint64_t id = 77;

	(void)state;
	assert_int_equal(
		pc_sched_adopt_leaving(body.sched, 0, NULL, 0, GIB, PC_STOP_REPLACED, &id, NULL),
		PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt_leaving(a, 0, GIB, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt_leaving(a, 7, GIB, &id), PC_E_INVALID_ARGUMENT);
	for (unsigned nth = 1; nth <= 2; nth++) { /* the model's cause, the worker */
		fail_alloc_begin_once(nth);
		assert_int_equal(adopt_leaving(a, 0, GIB, &id), PC_E_OUT_OF_MEMORY);
		fail_alloc_end();
	}
	assert_int_equal(id, 77);
	assert_int_equal(reserved(0), 0);
	assert_int_equal(adopt(a, 0, GIB, &id), 0);		/* as many as it may have */
	assert_int_equal(adopt_leaving(a, 1, GIB, &id), 0);	/* where it may not live */
	assert_int_equal(adopt_leaving(a, 0, 9 * GIB, &id), 0); /* more than the budget */
	assert_int_equal(adopt_leaving(a, 0, 0, &id), 0);
	assert_int_equal(reserved(0), 10 * GIB);
	body.next_ns = pc_sched_tick(body.sched, body.now_ns);
	expect(""); /* what goes makes room enough */
	retire(a);
	expect("stop 1 its model was removed\n");
	assert_int_equal(adopt_leaving(a, 0, GIB, &id), 0);
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + SEC);
	assert_int_equal(adopt_leaving(a, 0, GIB, &id), 0);
	for (uint64_t worker = 1; worker <= id; worker++)
		gone(worker);
	assert_int_equal(reserved(0), 0);
	assert_true(pc_sched_is_drained(body.sched));
}

/* Nobody waits for the memory of a worker that does not die. */
static void a_stuck_worker_is_not_waited_for(void **state)
{
	struct pc_sched_model *a = add_simple("a", 4 * GIB), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model *c = add_simple("c", 4 * GIB);
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	assert_int_equal(adopt_leaving(a, 0, 4 * GIB, &id), 0);
	assert_int_equal(adopt(b, 0, 4 * GIB, &id), 0);
	body.now_ns += 100 * SEC;
	submit(0, c);
	expect(""); /* the first one is about to leave */
	body.next_ns = pc_sched_worker_stuck(body.sched, body.now_ns, 1);
	expect("stop 2 evicted to make room\n");
	body.next_ns = pc_sched_worker_stuck(body.sched, body.now_ns, 1);
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, &err), 0);
	expect("stop 1 replaced: its model's settings changed, by force\n");
	assert_int_equal(reserved(0), 8 * GIB);
	gone(2);
	expect("spawn 3 'c' on 0\n");
	gone(1);
	assert_int_equal(reserved(0), 4 * GIB);
	body.next_ns = pc_sched_worker_stuck(body.sched, body.now_ns, 1); /* there is none */
	body.next_ns = pc_sched_worker_stuck(body.sched, body.now_ns, 3); /* it is not stopping */
	ready(3);
	expect("grant t0 3\n");
	release(0);
}

static void a_stuck_worker_does_not_hold_up_a_drain(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 0;

	(void)state;
	assert_int_equal(adopt_leaving(a, 0, GIB, &id), 0);
	assert_int_equal(adopt_leaving(a, 0, GIB, &id), 0);
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + SEC);
	body.next_ns = pc_sched_worker_stuck(body.sched, body.now_ns, 1);
	assert_false(pc_sched_is_drained(body.sched));
	gone(2);
	assert_true(pc_sched_is_drained(body.sched));
	assert_int_equal(reserved(0), GIB);
	gone(1);
	assert_true(pc_sched_is_drained(body.sched));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_worker_that_is_there_is_adopted_and_serves),
		scenario(a_worker_that_is_taken_in_while_it_loads_is_waited_for),
		scenario(a_worker_that_is_taken_in_is_ready_when_its_body_says_so),
		scenario(an_adoption_that_cannot_be_is_refused_with_the_reason),
		scenario(all_that_are_there_are_adopted_before_anything_follows),
		scenario(a_worker_that_is_to_go_is_on_the_books_until_it_has_gone),
		scenario(a_worker_that_is_to_go_is_refused_by_nothing),
		scenario(a_stuck_worker_is_not_waited_for),
		scenario(a_stuck_worker_does_not_hold_up_a_drain),
		scenario(an_estimate_is_what_the_next_worker_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
