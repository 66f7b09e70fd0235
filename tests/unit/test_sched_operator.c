/* SPDX-License-Identifier: MIT */
/* Scenarios of the brain's operator, who loads models and stops workers without a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

static void an_operator_loads_and_stops(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, a, &id, &err), 0);
	assert_int_equal(id, 1);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, a, &id, &err), 0);
	assert_int_equal(id, 1);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	submit(0, a);
	expect("grant t0 1\n");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, false, &err), 0);
	expect(""); /* it drains */
	release(0);
	expect("stop 1 requested\n");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, &err), 0);
	expect("stop 1 requested, by force\n");
	gone(1);
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, &err),
			 PC_E_WORKER_NOT_FOUND);
	assert_string_equal(err.message, "there is no worker 1");
}

static void a_load_that_does_not_fit_says_so(void **state)
{
	struct pc_sched_model *a = add_simple("a", 6 * GIB), *b = add_simple("b", 6 * GIB);
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	submit(0, a);
	ready(1);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, b, &id, &err),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(err.message, "model 'b' needs 6 GiB on cpu: 2 GiB of 8 GiB budget "
					 "free; held by 'a' (1 worker, 6 GiB)");
	release(0);
	pass(6 * SEC);
	body.log[0] = '\0';
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, b, &id, &err), 0);
	assert_int_equal(id, 0); /* room is being made */
	expect("stop 1 evicted to make room\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
}

static int load_on(struct pc_sched_model *model, uint32_t mask, uint64_t *ret_id,
		   struct pc_error *ret_err)
{
	pc_error_clear(ret_err);
	*ret_id = 99;
	return pc_sched_load_on(body.sched, body.now_ns, model, mask, ret_id, ret_err);
}

/* Device 0 has 8 GiB and is the emptiest; device 1 has 4. */
static void a_load_is_where_it_was_wanted_or_refused(void **state)
{
	struct pc_sched_model *cpu_only = add_simple("c", GIB), *a, *big;
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);
	struct pc_error err;
	uint64_t id;

	(void)state;
	spec.device_mask = 3;
	a = add(&spec);
	spec = spec_of("big", 5 * GIB);
	spec.device_mask = 3;
	big = add(&spec);
	assert_int_equal(load_on(cpu_only, 2, &id, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "device_mask 0x2 names no device that 'c' may live on");
	assert_int_equal(load_on(a, 2, &id, &err), 0);
	assert_int_equal(id, 1);
	expect("spawn 1 'a' on 1\n");
	assert_int_equal(load_on(a, 3, &id, &err), 0);
	assert_int_equal(id, 1);
	assert_int_equal(load_on(a, 1, &id, &err), PC_E_ALREADY_EXISTS);
	assert_string_equal(err.message, "'a' has a worker already, on another device");
	assert_int_equal(id, 99);
	/* It would fit on the other one. */
	assert_int_equal(load_on(big, 2, &id, &err), PC_E_INSUFFICIENT_MEMORY);
	assert_non_null(strstr(err.message, "'big' needs 5 GiB on gpu0"));
	expect("");
	/* The choice is over with its load. */
	submit(0, big);
	expect("spawn 2 'big' on 0\n");
	cancel(0);
}

/* Loads "b" onto device 1, where an idle worker of "a" is in its way; returns what the load said. */
static uint64_t load_in_the_way(struct pc_sched_model **ret_b)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);
	struct pc_sched_model *a;
	struct pc_error err;
	uint64_t id;

	spec.device_mask = 3;
	a = add(&spec);
	spec.key = "b";
	*ret_b = add(&spec);
	assert_int_equal(load_on(a, 2, &id, &err), 0);
	ready(1);
	pass(6 * SEC);
	body.log[0] = '\0';
	assert_int_equal(load_on(*ret_b, 2, &id, &err), 0);
	return id;
}

static void room_is_made_where_it_was_wanted(void **state)
{
	struct pc_sched_model *b;

	(void)state;
	assert_int_equal(load_in_the_way(&b), 0);
	expect("stop 1 evicted to make room\n");
	gone(1);
	expect("spawn 2 'b' on 1\n");
}

/* Whoever waits is not kept from the room that there is. */
static void a_request_frees_a_load_from_its_device(void **state)
{
	struct pc_sched_model *b;

	(void)state;
	load_in_the_way(&b);
	submit(0, b);
	pass(SEC / 4); /* when the line is looked at again */
	expect("stop 1 evicted to make room\nspawn 2 'b' on 0\n");
	ready(2);
	expect("grant t0 2\n");
	release(0);
}

static void a_load_does_not_choose_for_those_who_wait(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 7 * GIB);
	struct pc_sched_model *a, *b;
	struct pc_error err;
	uint64_t id;

	(void)state;
	a = add(&spec);
	spec = spec_of("b", 4 * GIB);
	spec.device_mask = 3;
	b = add(&spec);
	submit(0, a);
	ready(1);
	assert_int_equal(load_on(b, 2, &id, &err), 0);
	ready(2);
	submit(1, b);
	body.log[0] = '\0';
	spec.key = "d";
	a = add(&spec);
	submit(2, a);
	expect("");
	assert_int_equal(load_on(a, 2, &id, &err), PC_E_CONFLICT);
	assert_string_equal(err.message, "requests wait for 'd' already, and get a worker on the "
					 "first device with room");
	assert_int_equal(load_on(a, 3, &id, &err), PC_E_INSUFFICIENT_MEMORY);
	cancel(2);
	release(1);
	release(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(an_operator_loads_and_stops),
		scenario(a_load_that_does_not_fit_says_so),
		scenario(a_load_is_where_it_was_wanted_or_refused),
		scenario(room_is_made_where_it_was_wanted),
		scenario(a_request_frees_a_load_from_its_device),
		scenario(a_load_does_not_choose_for_those_who_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
