/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the brain's edges: arguments that are refused, views, and memory that runs out. Its
 * rules each have a file of their own: test_sched_*.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/sched_body.h"

/* ---- arguments ---- */

static void refused(const struct pc_sched_model_spec *spec, int code, const char *message)
{
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_sched_add_model(body.sched, spec, &model, &err), code);
	assert_int_equal(err.code, code);
	assert_string_equal(err.message, message);
	assert_null(model);
}

static void a_wrong_spec_is_refused_by_field(void **state)
{
	struct pc_sched_model_spec spec;
	char long_key[300];

	(void)state;
	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = '\0';
	spec = spec_of(NULL, GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key has 1 to 255 bytes, this one has 0");
	spec = spec_of("", GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key has 1 to 255 bytes, this one has 0");
	spec = spec_of(long_key, GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key has 1 to 255 bytes, this one has 299");
	spec = spec_of("a\xff", GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key is UTF-8, byte 2 of this one is not");
	spec = spec_of("a", 0);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"memory_bytes of 'a' is 0: what a worker needs must be said, it is not guessed");
	spec = spec_of("a", GIB);
	spec.device_mask = 4;
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"device_mask of 'a': 0x4 must name some of the 2 devices, and no others");
	spec = spec_of("a", GIB);
	spec.slots = 65;
	refused(&spec, PC_E_INVALID_ARGUMENT, "slots of 'a' must be 1 to 64, not 65");
	spec = spec_of("a", GIB);
	spec.min_workers = 2;
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"max_workers of 'a' is 1, less than its min_workers of 2");
	spec = spec_of("a", GIB);
	spec.cold_start_workers = 0;
	refused(&spec, PC_E_INVALID_ARGUMENT, "cold_start_workers of 'a' must be at least 1");
	spec = spec_of("a", GIB);
	spec.queue_capacity = 0;
	refused(&spec, PC_E_INVALID_ARGUMENT, "queue_capacity of 'a' must be at least 1");
	spec = spec_of("a", GIB);
	spec.start_timeout_ns = 0;
	refused(&spec, PC_E_INVALID_ARGUMENT, "start_timeout_ns of 'a' must be more than 0");
	spec = spec_of("a", 2048);
	spec.recycle_bytes = 1024;
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"recycle_bytes of 'a' is 1024, less than the 2048 of its memory_bytes: no worker "
		"would last");
	spec = spec_of("a", GIB);
	add(&spec);
	refused(&spec, PC_E_ALREADY_EXISTS, "the model 'a' is registered already");
}

static void a_wrong_driver_or_setting_is_refused(void **state)
{
	struct pc_sched_driver lame = driver;
	struct pc_sched_settings settings;
	struct pc_sched *sched = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	pc_sched_settings_init(&settings);
	lame.stop = NULL;
	assert_int_equal(pc_sched_create(&settings, &lame, NULL, body.ledger, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a brain needs a driver with all four actions");
	pc_error_clear(&err);
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, NULL, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a brain needs a ledger");
	pc_error_clear(&err);
	assert_int_equal(pc_sched_create(NULL, &driver, NULL, body.ledger, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a brain needs settings and a place for the result");
	pc_error_clear(&err);
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, body.ledger, NULL, &err),
			 PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	settings.backoff_min_ns = 61 * SEC;
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, body.ledger, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "backoff_min_ns must be more than 0 and at most backoff_max_ns");
	assert_null(sched);
	pc_sched_destroy(NULL);
}

static void a_request_without_a_model_is_rejected(void **state)
{
	(void)state;
	submit(0, NULL);
	expect("reject t0 INVALID_ARGUMENT\n");
}

static void models_are_found_by_key(void **state)
{
	static const char *const keys[] = { "a", "b", "org/name", "\xc3\xa4" };
	struct pc_sched_model *models[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		models[i] = add_simple(keys[i], GIB);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(pc_sched_find_model(body.sched, keys[i]), models[i]);
	assert_null(pc_sched_find_model(body.sched, "A"));
	assert_null(pc_sched_find_model(body.sched, ""));
}

static void no_function_takes_nothing_for_a_model(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_add_model(body.sched, NULL, &model, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a model needs a spec and a place for its handle");
	assert_int_equal(pc_sched_add_model(body.sched, &spec, NULL, NULL), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, NULL, &id, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a load needs a model and a place for the worker's id");
	assert_null(pc_sched_find_model(body.sched, NULL));
	expect("");
}

/* ---- views ---- */

static void see_worker(void *ctx, const struct pc_sched_worker_view *view)
{
	(void)ctx;
	note("%llu %s %s %u/%u%s\n", (unsigned long long)view->worker_id, view->model_key,
	     pc_worker_status_name(view->status), view->leases, view->slots,
	     view->draining ? " draining" : "");
}

static void views_show_the_state_of_every_worker(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_worker_view view;

	(void)state;
	spec.max_workers = 5;
	spec.cold_start_workers = 5;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	for (uint64_t id = 1; id <= 4; id++)
		ready(id);
	submit(1, a);
	submit(2, a);
	release(2);
	pc_sched_stop_worker(body.sched, body.now_ns, 1, false, NULL);
	failed(2, PC_E_WORKER_FAILED, "it broke");
	body.log[0] = '\0';
	pc_sched_each_worker(body.sched, see_worker, NULL);
	expect("1 a busy 1/1 draining\n2 a stopping 0/1\n3 a idle 0/1\n4 a busy 1/1\n"
	       "5 a spawning 0/1\n");
	assert_true(pc_sched_get_worker(body.sched, 3, &view));
	assert_int_equal(view.served, 1);
	assert_int_equal(view.last_used_ns, body.now_ns);
	assert_false(pc_sched_get_worker(body.sched, 6, &view));
	release(0);
	release(1);
}

static void see_model(void *ctx, const struct pc_sched_model_view *view)
{
	(void)ctx;
	note("%s %u workers %u spawning %u waiting\n", view->key, view->workers, view->spawning,
	     view->waiting);
}

static void models_are_shown_in_the_order_of_registration(void **state)
{
	struct pc_sched_model *b = add_simple("b", GIB);

	(void)state;
	add_simple("a", GIB);
	submit(0, b);
	body.log[0] = '\0';
	pc_sched_each_model(body.sched, see_model, NULL);
	expect("b 1 workers 1 spawning 1 waiting\na 0 workers 0 spawning 0 waiting\n");
	cancel(0);
}

/* ---- allocation ---- */

static void create_and_add(unsigned nth, bool *ret_done)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_settings settings;
	struct pc_sched *sched = NULL;
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	pc_sched_settings_init(&settings);
	fail_alloc_begin_once(nth);

	int rc = pc_sched_create(&settings, &driver, NULL, body.ledger, &sched, &err);

	if (rc == 0)
		rc = pc_sched_add_model(sched, &spec, &model, &err);
	*ret_done = rc == 0;
	assert_true(rc == 0 || (rc == PC_E_OUT_OF_MEMORY && err.code == PC_E_OUT_OF_MEMORY));
	assert_true(rc == 0 || !sched || !pc_sched_find_model(sched, "a"));
	pc_sched_destroy(sched);
	fail_alloc_end();
	assert_int_equal(fail_alloc_live(), 0);
}

static void every_allocation_may_fail_at_birth(void **state)
{
	bool done = false;
	unsigned nth = 0;

	(void)state;
	while (!done)
		create_and_add(++nth, &done);
	assert_int_equal(nth, 6); /* brain, affinities, key, model, its places in line */
}

static void a_spawn_that_cannot_be_recorded_is_made_up_for(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	for (unsigned nth = 1; nth <= 2; nth++) { /* the model's cause, the worker */
		fail_alloc_begin_once(nth);
		submit(0, a);
		fail_alloc_end();
		expect("");
		assert_int_equal(reserved(0), 0);
		cancel(0);
	}
	fail_alloc_begin_once(1);
	submit(0, a);
	fail_alloc_end();
	expect("");
	pass(SEC / 4);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect("grant t0 1\n");
	release(0);
}

static void two_brains_share_a_ledger(void **state)
{
	struct pc_sched_model_spec spec = spec_of("other", 6 * GIB);
	struct pc_sched_settings settings;
	struct pc_sched *other = NULL;
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	pc_sched_settings_init(&settings);
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, body.ledger, &other, &err), 0);
	assert_int_equal(pc_sched_add_model(other, &spec, &model, &err), 0);
	assert_int_equal(pc_sched_load(other, body.now_ns, model, &id, &err), 0);
	expect("spawn 1 'other' on 0\n");
	submit(0, add_simple("a", 3 * GIB));
	expect("");
	pc_sched_destroy(other); /* its reservation comes back without an event here */
	pass(SEC);
	expect("spawn 1 'a' on 0\n");
	cancel(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_wrong_spec_is_refused_by_field),
		scenario(a_wrong_driver_or_setting_is_refused),
		scenario(a_request_without_a_model_is_rejected),
		scenario(models_are_found_by_key),
		scenario(no_function_takes_nothing_for_a_model),
		scenario(views_show_the_state_of_every_worker),
		scenario(models_are_shown_in_the_order_of_registration),
		scenario(every_allocation_may_fail_at_birth),
		scenario(a_spawn_that_cannot_be_recorded_is_made_up_for),
		scenario(two_brains_share_a_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
