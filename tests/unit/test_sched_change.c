/* SPDX-License-Identifier: MIT */
/* Scenarios of models and settings that change while they are served (src/sched/change.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/sched_body.h"

#define REPLACED " replaced: its model's settings changed\n"
#define RETIRED " its model was removed\n"

/* ---- updates ---- */

static void a_change_that_is_no_launch_leaves_workers_alone(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);

	(void)state;
	spec.queue_capacity = 1;
	spec.max_workers = 2;
	spec.idle_ttl_ns = 5 * SEC;
	spec.memory_bytes = 2 * GIB;
	update(a, &spec, false);
	expect("");
	submit(1, a);
	expect("grant t1 1\n");
	/* What is new counts: room for a second worker, which takes more. */
	submit(2, a);
	expect("spawn 2 'a' on 0\n");
	assert_int_equal(reserved(0), 3 * GIB);
	submit(3, a);
	expect("reject t3 QUEUE_FULL\n");
	ready(2);
	expect("grant t2 2\n");
	for (int i = 0; i < 3; i++)
		release(i);
	expect("");
}

static void an_idle_worker_of_another_launch_stops_at_once(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, false);

	(void)state;
	spec.owner = "second";
	update(a, &spec, true);
	expect("stop 1" REPLACED);
	/* Nothing is loaded before a request, and it need not wait until the old one has gone. */
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	assert_string_equal(body.order_owner, "second");
	gone(1);
	ready(2);
	expect("grant t1 2\n");
	release(1);
}

static void a_leased_worker_of_another_launch_is_drained(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);

	(void)state;
	update(a, &spec, true);
	expect("");
	/* Its second slot is free, and is granted no more. */
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	expect("grant t1 2\n");
	release(0);
	expect("stop 1" REPLACED);
	gone(1);
	release(1);
	expect("");
}

static void a_worker_that_loads_is_not_waited_for(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = add(&spec);

	(void)state;
	submit(0, a);
	expect("spawn 1 'a' on 0\n");
	update(a, &spec, true);
	expect("stop 1" REPLACED "spawn 2 'a' on 0\n");
	ready(1); /* too late */
	expect("");
	gone(1);
	ready(2);
	expect("grant t0 2\n");
	release(0);
}

static void other_slots_or_devices_replace_of_themselves(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);
	struct pc_sched_worker_view view;

	(void)state;
	spec.slots = 1;
	update(a, &spec, false);
	expect("");
	assert_true(pc_sched_get_worker(body.sched, 1, &view));
	assert_true(view.draining);
	assert_int_equal(view.slots, 2); /* what it was launched with */
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	assert_int_equal(body.order_slots, 1);
	ready(2);
	expect("grant t1 2\n");
	spec.device_mask = 3; /* one more */
	update(a, &spec, false);
	expect("");
	spec.device_mask = 2;
	update(a, &spec, false);
	release(0);
	release(1);
	expect("stop 1" REPLACED "stop 2" REPLACED);
}

static void an_update_is_refused_whole(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB), other;
	struct pc_sched_model *a = serve_one(&spec, false);
	const struct {
		const char *names;
		struct pc_sched_model_spec spec;
	} rows[] = {
		{ "slots", { .slots = 65 } },
		{ "self_service", { .self_service = true } },
		{ "max_workers", { .min_workers = 3 } },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_error err = PC_ERROR_INIT, checked = PC_ERROR_INIT;

		other = spec;
		other.slots = rows[i].spec.slots ? rows[i].spec.slots : spec.slots;
		other.self_service = rows[i].spec.self_service;
		other.min_workers = rows[i].spec.min_workers;
		assert_int_equal(
			pc_sched_update_model(body.sched, body.now_ns, a, &other, true, &err),
			PC_E_INVALID_ARGUMENT);
		assert_non_null(strstr(err.message, rows[i].names));
		assert_int_equal(pc_sched_check_model(body.sched, &other, &checked),
				 PC_E_INVALID_ARGUMENT);
		assert_string_equal(checked.message, err.message);
	}
	other = spec;
	other.key = "b";
	assert_int_equal(pc_sched_update_model(body.sched, body.now_ns, a, &other, true, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_sched_check_model(body.sched, &other, NULL), 0); /* as a new one */
	assert_int_equal(pc_sched_check_model(body.sched, NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_sched_update_model(body.sched, body.now_ns, NULL, &spec, true, NULL),
			 PC_E_INVALID_ARGUMENT);
	submit(1, a);
	expect("grant t1 1\n");
	release(1);
}

static void another_launch_forgets_the_failures(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = add(&spec);

	(void)state;
	submit(0, a);
	gone(1);
	expect("spawn 1 'a' on 0\nreject t0 SPAWN_FAILED\n");
	submit(1, a);
	expect(""); /* backs off */
	spec.max_workers = 2;
	update(a, &spec, false);
	expect("");
	assert_int_equal(view_of(a).failures_in_row, 1);
	update(a, &spec, true);
	expect("spawn 2 'a' on 0\n");
	assert_int_equal(view_of(a).failures_in_row, 0);
	assert_int_equal(view_of(a).backoff_until_ns, 0);
	cancel(1);
}

static void what_was_measured_counts_until_the_launch_differs(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = add(&spec);

	(void)state;
	submit(0, a);
	pc_sched_worker_ready(body.sched, body.now_ns, 1, 3 * GIB);
	release(0);
	assert_int_equal(view_of(a).memory_bytes, 3 * GIB);
	spec.idle_ttl_ns = 7 * SEC;
	update(a, &spec, false);
	assert_int_equal(view_of(a).memory_bytes, 3 * GIB);
	spec.memory_bytes = 2 * GIB;
	update(a, &spec, false);
	assert_int_equal(view_of(a).memory_bytes, 2 * GIB);
	pc_sched_set_estimate(a, 5 * GIB);
	update(a, &spec, true);
	assert_int_equal(view_of(a).memory_bytes, 2 * GIB);
}

static void who_can_never_fit_any_more_is_told(void **state)
{
	struct pc_sched_model_spec small = owned_spec_of("b", 7 * GIB),
				   spec = owned_spec_of("a", 2 * GIB);
	struct pc_sched_model *b = serve_one(&small, true), *a = add(&spec);

	(void)state;
	submit(1, a);
	expect(""); /* no room yet */
	spec.memory_bytes = 9 * GIB;
	update(a, &spec, false);
	expect("reject t1 INSUFFICIENT_MEMORY\n");
	submit(1, a);
	expect("reject t1 INSUFFICIENT_MEMORY\n");
	spec.memory_bytes = GIB;
	update(a, &spec, false);
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	cancel(1);
	release(0);
	(void)b;
}

static void unpinned_a_worker_can_be_evicted(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", 5 * GIB),
				   large = owned_spec_of("b", 5 * GIB);

	(void)state;
	spec.pinned = true;

	struct pc_sched_model *a = serve_one(&spec, false), *b = add(&large);

	body.now_ns += 6 * SEC; /* past its minimum residency */
	submit(1, b);
	expect("");
	spec.pinned = false;
	update(a, &spec, false);
	expect("stop 1 evicted to make room\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void what_recycles_is_looked_at_again(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, false);

	(void)state;
	spec.recycle_requests = 1; /* it has served one */
	update(a, &spec, false);
	expect("stop 1 recycled\n");
}

static void a_raised_minimum_is_filled(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, false);

	(void)state;
	spec.max_workers = 3;
	spec.min_workers = 2;
	update(a, &spec, false);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	update(a, &spec, true); /* and kept, by new ones */
	expect("stop 1" REPLACED "stop 2" REPLACED "spawn 3 'a' on 0\nspawn 4 'a' on 0\n");
}

static void a_minimum_that_is_lowered_lets_a_worker_go(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", 5 * GIB),
				   large = owned_spec_of("b", 5 * GIB);

	(void)state;
	spec.min_workers = 1;

	struct pc_sched_model *a = serve_one(&spec, false), *b = add(&large);

	body.now_ns += 6 * SEC; /* past its minimum residency */
	submit(1, b);
	expect("");
	spec.min_workers = 0;
	update(a, &spec, false);
	expect("stop 1 evicted to make room\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void a_minimum_that_is_raised_keeps_a_worker(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", 5 * GIB),
				   large = owned_spec_of("b", 5 * GIB);
	struct pc_sched_model *a = serve_one(&spec, false), *b = add(&large);

	(void)state;
	body.now_ns += 6 * SEC;
	spec.min_workers = 1;
	update(a, &spec, false);
	submit(1, b);
	expect("");
	retire(a);
	expect("stop 1" RETIRED);
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void who_stands_in_line_stands_there_for_its_new_devices(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", 6 * GIB),
				   other = owned_spec_of("b", 3 * GIB);
	struct pc_sched_model *a = serve_one(&spec, true), *b = add(&other);

	(void)state;
	(void)a;
	submit(1, b);
	expect("");
	other.device_mask = 3;
	update(b, &other, false);
	expect("spawn 2 'b' on 1\n");
	ready(2);
	release(0);
	release(1);
	expect("grant t1 2\n");
}

static void a_device_that_is_allowed_no_more_is_not_waited_for(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", 3 * GIB),
				   other = owned_spec_of("b", 3 * GIB);
	struct pc_sched_model *b;
	uint64_t id = 99;

	(void)state;
	spec.device_mask = 2;
	other.device_mask = 3;
	serve_one(&spec, false);
	b = add(&other);
	body.now_ns += 6 * SEC;
	assert_int_equal(pc_sched_load_on(body.sched, body.now_ns, b, 2, &id, NULL), 0);
	assert_int_equal(id, 0); /* as soon as there is room */
	expect("stop 1 evicted to make room\n");
	other.device_mask = 1;
	update(b, &other, false);
	gone(1);
	expect("");
	submit(1, b);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void another_time_to_live_counts_for_who_idles_already(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);

	(void)state;
	spec.idle_ttl_ns = 1000 * SEC;

	struct pc_sched_model *a = serve_one(&spec, false);

	spec.idle_ttl_ns = 50 * SEC;
	update(a, &spec, false);
	pc_sched_tick(body.sched, body.now_ns + 60 * SEC);
	expect("stop 1 idle\n");
}

/* ---- the settings that can change ---- */

static void maintenance_can_come_more_often(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, false);
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	(void)a;
	assert_int_equal(pc_sched_next_deadline(body.sched), body.now_ns + 60 * SEC);
	assert_int_equal(pc_sched_set_maintenance(body.sched, body.now_ns, 0, 0, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_sched_set_maintenance(body.sched, body.now_ns, 5 * SEC, 8 * SEC, NULL),
			 0);
	assert_int_equal(pc_sched_next_deadline(body.sched), body.now_ns + 5 * SEC);
	assert_int_equal(pc_sched_tick(body.sched, body.now_ns + 5 * SEC), body.now_ns + 10 * SEC);
	expect(""); /* its cooldown is not over */
	pc_sched_tick(body.sched, body.now_ns + 10 * SEC);
	expect("stop 1 idle\n");
	/* Nor does a longer one put off what was to come. */
	assert_int_equal(pc_sched_set_maintenance(body.sched, body.now_ns, 90 * SEC, SEC, NULL), 0);
	assert_int_equal(pc_sched_next_deadline(body.sched), body.now_ns + 15 * SEC);
}

/* ---- memory ---- */

static void nothing_is_allocated(void **state)
{
	struct pc_sched_model_spec spec = owned_spec_of("a", GIB);
	struct pc_sched_model *a = serve_one(&spec, true);

	(void)state;
	fail_alloc_begin(1);
	update(a, &spec, true);
	retire(a);
	update(a, &spec, false);
	release(0);
	assert_true(fail_alloc_end());
	expect("stop 1" REPLACED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_change_that_is_no_launch_leaves_workers_alone),
		scenario(an_idle_worker_of_another_launch_stops_at_once),
		scenario(a_leased_worker_of_another_launch_is_drained),
		scenario(a_worker_that_loads_is_not_waited_for),
		scenario(other_slots_or_devices_replace_of_themselves),
		scenario(an_update_is_refused_whole),
		scenario(another_launch_forgets_the_failures),
		scenario(what_was_measured_counts_until_the_launch_differs),
		scenario(who_can_never_fit_any_more_is_told),
		scenario(unpinned_a_worker_can_be_evicted),
		scenario(what_recycles_is_looked_at_again),
		scenario(a_raised_minimum_is_filled),
		scenario(a_minimum_that_is_lowered_lets_a_worker_go),
		scenario(a_minimum_that_is_raised_keeps_a_worker),
		scenario(who_stands_in_line_stands_there_for_its_new_devices),
		scenario(a_device_that_is_allowed_no_more_is_not_waited_for),
		scenario(another_time_to_live_counts_for_who_idles_already),
		scenario(maintenance_can_come_more_often),
		scenario(nothing_is_allocated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
