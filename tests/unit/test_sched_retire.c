/* SPDX-License-Identifier: MIT */
/* Scenarios of models that are taken out of service (src/sched/change.c), and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

#define REPLACED " replaced: its model's settings changed\n"
#define RETIRED " its model was removed\n"

static void a_retired_model_takes_nothing_new(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_forecast forecast;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id;

	(void)state;
	spec.pinned = true;
	spec.min_workers = 1;

	struct pc_sched_model *a = serve_one(&spec, false);

	retire(a);
	expect("stop 1" RETIRED);
	assert_true(view_of(a).retired);
	assert_ptr_equal(pc_sched_find_model(body.sched, "a"), a);
	submit(1, a);
	expect("reject t1 MODEL_NOT_FOUND\n");
	assert_string_equal(body.last_error.message, "the model 'a' is not served any more");
	assert_string_equal(pc_error_detail_get(&body.last_error, "model"), "a");
	pc_sched_explain(body.sched, body.now_ns, &body.tickets[1], &forecast);
	assert_int_equal(forecast.err.code, PC_E_MODEL_NOT_FOUND);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, a, &id, &err),
			 PC_E_MODEL_NOT_FOUND);
	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, true, &id, NULL),
			 PC_E_MODEL_NOT_FOUND);
	gone(1);
	pc_sched_tick(body.sched, body.now_ns + 3600 * SEC);
	expect("");
	assert_int_equal(reserved(0), 0);
}

static void requests_that_were_taken_are_finished(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);

	(void)state;
	for (int i = 1; i < 4; i++)
		submit(i, a);
	expect("grant t1 1\n");
	retire(a);
	submit(4, a);
	expect("reject t4 MODEL_NOT_FOUND\n");
	release(0);
	expect("grant t2 1\n");
	release(1);
	expect("grant t3 1\n");
	release(2);
	expect("");
	release(3);
	expect("stop 1" RETIRED);
}

static void a_worker_is_loaded_for_those_who_wait(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a;

	(void)state;
	a = serve_one(&spec, true);
	for (int i = 1; i < 5; i++)
		submit(i, a);
	expect("grant t1 1\n");
	retire(a);
	gone(1); /* the only one dies */
	expect("");
	release(0);
	release(1);
	body.now_ns += 2 * SEC; /* past the back-off */
	pc_sched_tick(body.sched, body.now_ns);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	expect("grant t2 2\ngrant t3 2\n");
	release(2);
	expect("grant t4 2\n");
	release(3);
	release(4);
	expect("stop 2" RETIRED);
}

static void a_leased_worker_of_a_retired_model_is_drained(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);
	struct pc_sched_worker_view view;

	(void)state;
	retire(a);
	expect("");
	assert_true(pc_sched_get_worker(body.sched, 1, &view));
	assert_true(view.draining);
	release(0);
	expect("stop 1" RETIRED);
}

static void a_cancelled_wait_lets_a_loading_worker_go(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = add(&spec);

	(void)state;
	submit(0, a);
	retire(a);
	expect("spawn 1 'a' on 0\n");
	cancel(0);
	expect("stop 1" RETIRED);
}

static void a_retired_model_comes_back(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);

	(void)state;
	retire(a);
	spec.owner = "second";
	update(a, &spec, false);
	assert_false(view_of(a).retired);
	/* What began to leave leaves. */
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	assert_string_equal(body.order_owner, "second");
	release(0);
	expect("stop 1" RETIRED);
	ready(2);
	expect("grant t1 2\n");
	pc_sched_set_owner(a, "third");
	release(1);
	gone(1);
	update(a, &spec, true);
	submit(2, a);
	assert_string_equal(body.order_owner, "second");
	cancel(2);
}

static void the_owner_alone_can_change(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = add(&spec);

	(void)state;
	pc_sched_set_owner(a, "other");
	submit(0, a);
	assert_string_equal(body.order_owner, "other");
	cancel(0);
}

static void self_service_workers_leave_when_their_leases_are_over(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a;

	(void)state;
	spec.self_service = true;
	a = add(&spec);
	submit(0, a);
	ready(1);
	pc_sched_served(body.sched, body.now_ns, &body.tickets[0]);
	body.log[0] = '\0';
	body.uses[1] = (struct pc_worker_use){ .leases = 1 };
	update(a, &spec, true);
	expect("stop 1" REPLACED); /* the body lets the lease end */
	retire(a);
	gone(1);
	expect("");
}

static void a_drain_ends_with_husks(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, false);

	(void)state;
	retire(a);
	gone(1);
	pc_sched_drain(body.sched, body.now_ns, body.now_ns + SEC);
	assert_true(pc_sched_is_drained(body.sched));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_retired_model_takes_nothing_new),
		scenario(requests_that_were_taken_are_finished),
		scenario(a_worker_is_loaded_for_those_who_wait),
		scenario(a_leased_worker_of_a_retired_model_is_drained),
		scenario(a_cancelled_wait_lets_a_loading_worker_go),
		scenario(a_retired_model_comes_back),
		scenario(the_owner_alone_can_change),
		scenario(self_service_workers_leave_when_their_leases_are_over),
		scenario(a_drain_ends_with_husks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
