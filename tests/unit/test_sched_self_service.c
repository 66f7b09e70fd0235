/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of a body that hands out the slots itself (self_service): the brain keeps the queue,
 * looks at how workers are used, and recalls them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

static struct pc_sched_model *add_self(const char *key, uint64_t memory_bytes, uint32_t max_workers)
{
	struct pc_sched_model_spec spec = spec_of(key, memory_bytes);

	spec.self_service = true;
	spec.max_workers = max_workers;
	return add(&spec);
}

/* A client's lease of its worker begins, or ends with an answer. */
static void lend(uint64_t worker)
{
	body.uses[worker].leases++;
	body.uses[worker].last_used_ns = body.now_ns;
}

static void give_back(uint64_t worker)
{
	body.uses[worker].leases--;
	body.uses[worker].served++;
	body.uses[worker].last_used_ns = body.now_ns;
}

static void a_body_that_hands_out_slots_needs_all_three_questions(void **state)
{
	struct pc_sched_driver blind = driver;
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_settings settings;
	struct pc_sched *sched = NULL;
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	blind.resume = NULL;
	pc_sched_settings_init(&settings);
	assert_int_equal(pc_sched_create(&settings, &blind, NULL, body.ledger, &sched, &err), 0);
	assert_int_equal(pc_sched_add_model(sched, &spec, &model, &err), 0);
	spec.key = "b";
	spec.self_service = true;
	assert_int_equal(pc_sched_add_model(sched, &spec, &model, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "self_service of 'b': the driver lacks look, recall or resume");
	pc_error_clear(&err);
	spec.max_workers = PC_SELF_SERVICE_WORKERS_MAX + 1;
	assert_int_equal(pc_sched_add_model(body.sched, &spec, &model, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "max_workers of 'b' must be 1 to 64, not 65, for self_service");
	pc_sched_destroy(sched);
}

static void the_brain_keeps_the_queue_and_the_body_the_slots(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 1);
	struct pc_sched_model_view view;
	struct pc_sched_counters counters;

	(void)state;
	assert_null(pc_sched_first_waiting(a));
	submit_with(0, a, PC_PRIORITY_BATCH, 0, 0);
	submit(1, a);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect(""); /* nothing is granted */
	assert_ptr_equal(pc_sched_first_waiting(a), &body.tickets[1]);
	lend(1);
	served(1);
	assert_ptr_equal(pc_sched_first_waiting(a), &body.tickets[0]);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.leases, 1);
	assert_int_equal(view.waiting, 1);
	cancel(0);
	assert_null(pc_sched_first_waiting(a));
	pc_sched_get_counters(body.sched, &counters);
	assert_int_equal(counters.granted, 1);
	expect("");
}

static void a_model_grows_only_by_what_its_body_cannot_serve(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 2);

	(void)state;
	submit(0, a);
	ready(1);
	expect("spawn 1 'a' on 0\n"); /* and no second one for the request on its way */
	lend(1);
	served(0);
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	gone(2); /* it dies; the model backs off */
	cancel(1);
}

static void who_was_about_to_be_served_and_was_not_is_looked_at_again(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 2);

	(void)state;
	submit(0, a);
	ready(1);
	expect("spawn 1 'a' on 0\n");
	lend(1); /* by somebody else */
	pass(SEC / 4);
	expect("spawn 2 'a' on 0\n");
	cancel(0);
}

static void a_leased_worker_is_wanted_and_told_about_when_it_idles(void **state)
{
	struct pc_sched_model *a = add_self("a", 6 * GIB, 1), *b = add_simple("b", 6 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	lend(1);
	served(0);
	pass(10 * SEC);
	expect("spawn 1 'a' on 0\n");
	submit(1, b);
	expect("want 1\n");
	give_back(1);
	changed(1, 0);
	expect("recall 1\nstop 1 evicted to make room\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void what_is_recalled_in_vain_is_resumed(void **state)
{
	struct pc_sched_model *a = add_self("a", 3 * GIB, 1), *b = add_self("b", 3 * GIB, 1);
	struct pc_sched_model *c = add_simple("c", 8 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	served(0);
	served(1);
	pass(10 * SEC);
	expect("spawn 1 'a' on 0\nspawn 2 'b' on 0\n");
	body.taken = 1; /* between the look and the recall; the later one is recalled first */
	submit(2, c);
	expect("recall 2\nrecall 1, no\nresume 2\n");
	cancel(2);
}

static void nobody_is_evicted_whom_somebody_is_about_to_lease(void **state)
{
	struct pc_sched_model *a = add_self("a", 6 * GIB, 1), *b = add_simple("b", 6 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	pass(10 * SEC);
	submit(1, b);
	expect("spawn 1 'a' on 0\n");
	cancel(0); /* and now nobody is */
	expect("recall 1\nstop 1 evicted to make room\n");
	cancel(1);
}

static void a_time_after_the_event_is_no_long_idleness(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 1);

	(void)state;
	submit(0, a);
	ready(1);
	served(0);
	pass(60 * SEC - 1);
	body.uses[1].served = 1;
	body.uses[1].last_used_ns = body.now_ns + 5 * SEC;
	expect("spawn 1 'a' on 0\n");
	pass(2 * 60 * SEC); /* two maintenances: none, and 55 s after that use */
	expect("");
	pass(60 * SEC);
	expect("recall 1\nstop 1 idle\n");
}

static void a_leased_worker_that_is_stopped_is_not_waited_for(void **state)
{
	struct pc_sched_model *a = add_self("a", 4 * GIB, 1), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model *c = add_simple("c", 6 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	lend(1);
	served(0);
	release(1);
	pass(10 * SEC);
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, false, NULL), 0);
	body.log[0] = '\0';
	submit(2, c); /* 4 GiB idle are not enough, and when the others come back nobody knows */
	expect("");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, NULL), 0);
	expect("stop 1 requested, by force\nstop 2 evicted to make room\n"); /* now they are on their way */
	cancel(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_body_that_hands_out_slots_needs_all_three_questions),
		scenario(the_brain_keeps_the_queue_and_the_body_the_slots),
		scenario(a_model_grows_only_by_what_its_body_cannot_serve),
		scenario(who_was_about_to_be_served_and_was_not_is_looked_at_again),
		scenario(a_leased_worker_is_wanted_and_told_about_when_it_idles),
		scenario(what_is_recalled_in_vain_is_resumed),
		scenario(nobody_is_evicted_whom_somebody_is_about_to_lease),
		scenario(a_time_after_the_event_is_no_long_idleness),
		scenario(a_leased_worker_that_is_stopped_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
