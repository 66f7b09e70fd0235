/* SPDX-License-Identifier: MIT */
/* Tests of the in-process pool: configuration, registration, loading, leases and calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

/* ---- configuration ---- */

static void zeroes_are_defaults(void **state)
{
	(void)state;
	const struct pc_pool_config zeroes = { .budget_bytes = 64 << 20 };
	struct pc_pool *pool;

	assert_int_equal(pc_pool_create(&zeroes, &pool, NULL), 0);

	const struct pc_pool_config *config = pc_pool_get_config(pool);

	assert_int_equal(config->request_timeout_secs, 30);
	assert_int_equal(config->shutdown_timeout_secs, 5);
	assert_int_equal(config->maintenance_interval_secs, 60);
	assert_int_equal(config->cooldown_idle_minutes, 1);
	assert_int_equal(config->budget_percent, 80);
	assert_int_equal(config->capabilities, 31);
	assert_int_equal(pc_pool_budget_mb(pool), 64);
	pc_pool_destroy(pool);
}

static void no_config_is_the_defaults(void **state)
{
	(void)state;
	struct pc_memory_facts facts;
	struct pc_pool *pool;

	assert_int_equal(pc_memory_facts_read(NULL, &facts, NULL), 0);
	assert_int_equal(pc_pool_create(NULL, &pool, NULL), 0);
	assert_int_equal(pc_pool_budget_mb(pool), facts.total_bytes / 100 * 80 >> 20);
	assert_int_equal(pc_pool_total_memory_mb(pool), 0);
	pc_pool_destroy(pool);
	pc_pool_destroy(NULL);
}

static void a_budget_beyond_the_machine_is_the_machine(void **state)
{
	(void)state;
	struct pc_pool_config config;
	struct pc_memory_facts facts;
	struct pc_pool *pool;

	pc_pool_config_init(&config);
	config.budget_bytes = UINT64_MAX;
	assert_int_equal(pc_memory_facts_read(NULL, &facts, NULL), 0);
	assert_int_equal(pc_pool_create(&config, &pool, NULL), 0);
	assert_int_equal(pc_pool_budget_mb(pool), facts.total_bytes >> 20);
	pc_pool_destroy(pool);
}

static void a_config_out_of_range_is_refused(void **state)
{
	(void)state;
	struct pc_ledger *empty;
	const uint64_t year = UINT64_C(365) * 24 * 3600;

	assert_int_equal(pc_ledger_create(&empty, NULL), 0);

	const struct {
		struct pc_pool_config config;
		const char *message;
	} wrong[] = {
		{ { .request_timeout_secs = year + 1 },
		  "request_timeout_secs is 31536001; it may be at most 31536000" },
		{ { .shutdown_timeout_secs = UINT64_MAX },
		  "shutdown_timeout_secs is 18446744073709551615; it may be at most 31536000" },
		{ { .maintenance_interval_secs = year + 1 },
		  "maintenance_interval_secs is 31536001; it may be at most 31536000" },
		{ { .cooldown_idle_minutes = year },
		  "cooldown_idle_minutes is 31536000; it may be at most 525600" },
		{ { .budget_percent = 101 }, "budget_percent is 101; it may be at most 100" },
		{ { .capabilities = 32 }, "capabilities is 32; it may be at most 31" },
		{ { .ledger = empty }, "ledger: it has no device 'cpu', which a pool needs" },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(wrong); i++) {
		struct pc_pool *pool = NULL;
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(pc_pool_create(&wrong[i].config, &pool, &err),
				 PC_E_INVALID_ARGUMENT);
		assert_string_equal(err.message, wrong[i].message);
		assert_null(pool);
	}
	assert_int_equal(pc_pool_create(NULL, NULL, NULL), PC_E_INVALID_ARGUMENT);
	pc_ledger_destroy(empty);
}

/* ---- registration ---- */

#define KEY_OF_255 \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"8901234567890123456789012345678901234567890123456789012345678901234567890123456789012345" \
	"6789012345678901234567890123456789012345678901234567890123456789012345678901234"

static const struct pc_model_spec good = {
	.key = "good",
	.capability = PC_CAPABILITY_TEXT_TO_TEXT,
	.est_memory_allocation_mb = 100,
	.engine = &free_engine,
};

struct wrong_spec {
	struct pc_model_spec spec;
	int rc;
	const char *message;
};

static void assert_refused(struct pc_pool *pool, const struct wrong_spec *wrong)
{
	struct pc_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_pool_add_model(pool, &wrong->spec, &model, &err), wrong->rc);
	assert_string_equal(err.message, wrong->message);
	assert_null(model);
}

#define WITH(...) \
	{ \
		.key = "m", .capability = PC_CAPABILITY_TEXT_TO_TEXT, \
		.est_memory_allocation_mb = 100, .engine = &free_engine, __VA_ARGS__ \
	}

static void a_wrong_key_is_refused(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	const int invalid = PC_E_INVALID_ARGUMENT;
	const struct wrong_spec wrong[] = {
		{ WITH(), 0, NULL }, /* in front of what is wrong: it is right */
		{ { .key = NULL },
		  invalid,
		  "key: a model's key has 1 to 255 bytes, this one has none" },
		{ { .key = "" },
		  invalid,
		  "key: a model's key has 1 to 255 bytes, this one has none" },
		{ { .key = KEY_OF_255 "5" },
		  invalid,
		  "key: a model's key has 1 to 255 bytes, this one has more" },
		{ { .key = "ab\xff" },
		  invalid,
		  "key: a model's key is UTF-8, byte 3 of this one is not" },
	};

	assert_int_equal(pc_pool_add_model(pool, &wrong[0].spec, NULL, NULL), 0);
	for (size_t i = 1; i < PC_ARRAY_LEN(wrong); i++)
		assert_refused(pool, &wrong[i]);
	pc_pool_destroy(pool);
}

static void a_wrong_spec_is_refused(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	const int invalid = PC_E_INVALID_ARGUMENT;
	const struct pc_task_prefix nameless = { "", "x" }, bare = { "query", NULL };
	struct pc_engine alien = free_engine, hollow = free_engine, cut_short = free_engine;

	alien.abi = 9;
	hollow.describe = NULL;
	cut_short.size = offsetof(struct pc_engine, describe);
	/* A second designator replaces the macro's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
	const struct wrong_spec wrong[] = {
		{ WITH(.capability = (enum pc_capability)9), invalid,
		  "capability of 'm': there is no 9" },
		{ WITH(.est_memory_allocation_mb = 0), invalid,
		  "est_memory_allocation_mb of 'm' is missing: what a worker takes must be said, "
		  "it is not guessed" },
		{ WITH(.est_memory_allocation_mb = UINT64_C(1) << 44), invalid,
		  "est_memory_allocation_mb of 'm' is 17592186044416; it may be 1 to "
		  "17592186044415" },
		{ WITH(.engine = NULL), invalid,
		  "'m' needs an engine: exactly one of engine and engine_name" },
		{ WITH(.engine_name = "llama"), invalid,
		  "'m' needs an engine: exactly one of engine and engine_name" },
		{ WITH(.device = "gpu7"), invalid,
		  "device of 'm': there is no 'gpu7' in the ledger" },
		{ WITH(.slots = 33), invalid, "slots of 'm' is 33; it may be 0 to 32" },
		{ WITH(.min_workers = 3, .max_workers = 2), invalid,
		  "min_workers of 'm' is 3; it may be 0 to 2" },
		{ WITH(.start_timeout_secs = UINT64_MAX), invalid,
		  "start_timeout_secs of 'm' is 18446744073709551615; it may be 0 to 31536000" },
		{ WITH(.recycle_mb = UINT64_MAX), invalid,
		  "recycle_mb of 'm' is 18446744073709551615; it may be 0 to 17592186044415" },
		{ WITH(.recycle_mb = 99), invalid,
		  "recycle_mb of 'm' is 99; it may be 0 or 100 (est_memory_allocation_mb) to "
		  "17592186044415" },
		{ WITH(.engine = &alien), PC_E_UNSUPPORTED,
		  "the engine of 'm' speaks ABI 9, this library speaks 1" },
		{ WITH(.engine = &hollow), invalid,
		  "the engine of 'm' needs a name, load, unload and describe" },
		{ WITH(.engine = &cut_short), invalid,
		  "the engine of 'm' needs a name, load, unload and describe" },
		{ WITH(.keep_idle_secs = -3), invalid,
		  "keep_idle_secs of 'm' is -3; it may be 0, PC_KEEP_FOREVER, PC_KEEP_NOT, or at "
		  "most a year" },
		{ WITH(.keep_idle_secs = INT64_MAX), invalid,
		  "keep_idle_secs of 'm' is 9223372036854775807; it may be 0, PC_KEEP_FOREVER, "
		  "PC_KEEP_NOT, or at most a year" },
		{ WITH(.tasks = &bare, .task_count = 65), invalid,
		  "task_count of 'm' is 65; it may be 0 to 64" },
		{ WITH(.task_count = 1), invalid, "tasks of 'm' is NULL, and task_count 1" },
		{ WITH(.tasks = &nameless, .task_count = 1), invalid,
		  "tasks[0] of 'm' needs a task and a prefix" },
		{ WITH(.tasks = &bare, .task_count = 1), invalid,
		  "tasks[0] of 'm' needs a task and a prefix" },
	};
#pragma GCC diagnostic pop

	for (size_t i = 0; i < PC_ARRAY_LEN(wrong); i++)
		assert_refused(pool, &wrong[i]);
	assert_null(pc_pool_find_model(pool, "m"));
	assert_int_equal(pc_pool_add_model(pool, NULL, NULL, NULL), invalid);
	assert_int_equal(pc_pool_add_model(NULL, &good, NULL, NULL), invalid);
	pc_pool_destroy(pool);
}

static void a_capability_that_is_not_served_is_refused(void **state)
{
	(void)state;
	struct pc_pool_config config;

	pc_pool_config_init(&config);
	config.capabilities = 1u << PC_CAPABILITY_VISION;

	struct pc_pool *pool = pool_make(1000, &config);

	assert_refused(pool, &(struct wrong_spec){
				     good,
				     PC_E_UNSUPPORTED,
				     "'good' is for text_to_text, which this pool does not serve",
			     });
	pc_pool_destroy(pool);
}

static void a_key_is_registered_once(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);

	assert_int_equal(pc_pool_add_model(pool, &good, NULL, NULL), 0);
	assert_refused(pool, &(struct wrong_spec){
				     good,
				     PC_E_ALREADY_EXISTS,
				     "the model 'good' is registered already",
			     });
	pc_pool_destroy(pool);
}

static void what_was_registered_is_found(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	char key[] = "org/name";
	struct pc_model *model = model_make(pool, key, NULL), *found = NULL;
	struct pc_model *longest = model_make(pool, KEY_OF_255, NULL);
	struct pc_error err = PC_ERROR_INIT;

	memset(key, 'x', sizeof(key) - 1); /* it was copied */
	assert_ptr_equal(pc_pool_find_model(pool, "org/name"), model);
	assert_ptr_equal(pc_pool_find_model(pool, KEY_OF_255), longest);
	assert_null(pc_pool_find_model(pool, key));
	assert_null(pc_pool_find_model(pool, NULL));
	assert_int_equal(pc_pool_get_model(pool, "org/name", &found, NULL), 0);
	assert_ptr_equal(found, model);
	assert_string_equal(pc_model_key(model), "org/name");
	assert_int_equal(pc_model_capability(model), PC_CAPABILITY_TEXT_TO_TEXT);

	assert_int_equal(pc_pool_get_model(pool, "org/nane", &found, &err), PC_E_MODEL_NOT_FOUND);
	assert_string_equal(err.message, "there is no model 'org/nane'; did you mean 'org/name'?");
	pc_error_clear(&err);
	assert_int_equal(pc_pool_get_model(pool, NULL, &found, &err), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_get_model(pool, "\xff", &found, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "key: a model's key is UTF-8, byte 1 of this one is not");
	assert_ptr_equal(found, model);
	pc_pool_destroy(pool);
}

static void nothing_is_asked_of_nobody(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(pool, "m", NULL), *found = NULL;
	const int invalid = PC_E_INVALID_ARGUMENT;
	struct pc_error err = PC_ERROR_INIT;
	const char *prefix;

	assert_null(pc_pool_find_model(NULL, "m"));
	assert_int_equal(pc_pool_get_model(NULL, "m", &found, &err), invalid);
	assert_string_equal(err.message, "a model is looked for in a pool, and needs a place");
	assert_int_equal(pc_pool_get_model(pool, "m", NULL, NULL), invalid);
	assert_int_equal(pc_model_task_prefix(NULL, "query", &prefix, NULL), invalid);
	assert_int_equal(pc_model_task_prefix(model, "query", NULL, NULL), invalid);
	assert_int_equal(pc_pool_add_memory_mb(NULL, 1, NULL), invalid);
	assert_int_equal(pc_pool_remove_memory_mb(NULL, 1, NULL), invalid);
	pc_pool_begin_shutdown(NULL);
	pc_pool_shutdown(NULL, NULL);
	pc_lease_release(NULL);
	pc_lease_release_broken(NULL, NULL);
	pc_pool_destroy(pool);
}

static void tasks_have_their_prefixes(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	const struct pc_task_prefix tasks[] = { { "query", "search_query: " }, { "plain", "" } };
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .tasks = tasks, .task_count = 2 });
	struct pc_model *bare = model_make(pool, "bare", NULL);
	const char *prefix = NULL;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_model_task_prefix(model, "query", &prefix, NULL), 0);
	assert_string_equal(prefix, "search_query: ");
	assert_int_equal(pc_model_task_prefix(model, "plain", &prefix, NULL), 0);
	assert_string_equal(prefix, "");
	assert_int_equal(pc_model_task_prefix(model, "quary", &prefix, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "'m' has no task 'quary'; known are 'query', 'plain'");
	pc_error_clear(&err);
	assert_int_equal(pc_model_task_prefix(bare, NULL, &prefix, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "'bare' has no task ''; it was registered with none");
	pc_pool_destroy(pool);
}

static void an_engine_is_found_out_by_the_first_request(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model_spec spec = good;
	struct pc_model *missing, *other, *bound;
	struct pc_error err = PC_ERROR_INIT;
	struct work work = { .order = RUN_WELL };

	spec.key = "missing";
	spec.engine = NULL;
	spec.engine_name = "no-such-engine";
	assert_int_equal(pc_pool_add_model(pool, &spec, &missing, NULL), 0);
	assert_int_equal(pc_pool_call(missing, NULL, work_run, &work, &err), PC_E_NOT_FOUND);
	assert_memory_equal(err.message, "loading 'missing': ", 19);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_submit(missing, NULL, work_run, work_done, &work, &err),
			 PC_E_NOT_FOUND);
	/* They were requests, and who looks at figures must see that they failed. */
	assert_int_equal(metrics_of(pool).total_requests, 2);
	assert_int_equal(metrics_of(pool).total_errors, 2);

	spec = good;
	spec.key = "other";
	spec.capability = PC_CAPABILITY_VISION;
	assert_int_equal(pc_pool_add_model(pool, &spec, &other, NULL), 0);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_load(other, &err), PC_E_UNSUPPORTED);
	assert_string_equal(err.message, "loading 'other': engine 'free' does not serve vision");

	spec = good;
	spec.key = "bound";
	spec.engine = &bound_engine;
	spec.slots = 2;
	assert_int_equal(pc_pool_add_model(pool, &spec, &bound, NULL), 0);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_load(bound, &err), PC_E_UNSUPPORTED);
	assert_string_equal(err.message, "loading 'bound': engine 'bound' is bound to its thread, "
					 "which has one slot, not 2");
	assert_int_equal(work.runs + work.dones, 0);
	pc_pool_destroy(pool);
}

/* ---- loading ---- */

static void nothing_is_loaded_before_it_is_asked_for(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct work work = { .order = RUN_WELL };

	assert_false(pc_pool_has_workers(model));
	assert_false(pc_pool_has_workers(NULL));
	assert_int_equal(pc_pool_next_worker_id(pool), 1);
	assert_int_equal(plans[0].loads, 0);
	assert_int_equal(pc_pool_total_memory_mb(pool), 0);
	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
	assert_int_equal(work.runs, 1);
	assert_true(pc_pool_has_workers(model));
	assert_int_equal(pc_pool_next_worker_id(pool), 2);
	assert_int_equal(plans[0].loads, 1);
	assert_int_equal(pc_pool_total_memory_mb(pool), 100);
	pc_pool_destroy(pool);
}

static void many_first_calls_are_one_cold_start(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .max_workers = 1, .model_path = "0" });
	struct caller callers[32] = { 0 };

	gate_close(&plans[0].load_gate);
	for (unsigned i = 0; i < 32; i++)
		caller_start(&callers[i], model);
	AWAIT(metrics_of(pool).waiting == 32);
	assert_int_equal(metrics_of(pool).workers_spawned, 1);
	gate_open(&plans[0].load_gate);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(caller_join(&callers[i]), 0);
	assert_int_equal(plans[0].loads, 1);

	struct pc_pool_metrics metrics = metrics_of(pool);

	assert_int_equal(metrics.total_requests, 32);
	assert_int_equal(metrics.queue_wait.count, 32);
	assert_int_equal(metrics.load_time.count, 1);
	assert_int_equal(metrics.waiting, 0);
	pc_pool_destroy(pool);
}

static void a_cold_start_warms_two(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(pool, "m", NULL);
	struct work work = { .order = RUN_WELL };

	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
	AWAIT(plans[0].loads == 2);
	assert_int_equal(metrics_of(pool).workers, 2);
	pc_pool_destroy(pool);
}

/* ---- leases ---- */

static void a_lease_is_one_slot(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .slots = 2, .max_workers = 1 });
	const struct pc_request_options soon = { .timeout_ms = 20 };
	struct pc_lease a, b, c;

	assert_false(pc_lease_try_acquire(model, &a)); /* loads nothing */
	assert_false(pc_lease_try_acquire(NULL, &a));
	assert_int_equal(plans[0].loads, 0);
	assert_int_equal(pc_lease_acquire(model, NULL, &a, NULL), 0);
	assert_true(pc_lease_try_acquire(model, &b));
	assert_ptr_equal(a.instance, b.instance);
	assert_int_not_equal(a.slot, b.slot);
	assert_ptr_equal(a.engine, &free_engine);
	assert_ptr_equal(a.model, model);
	assert_false(pc_lease_try_acquire(model, &c));
	assert_int_equal(pc_lease_acquire(model, &soon, &c, NULL), PC_E_TIMEOUT);
	pc_lease_release(&a);
	assert_false(pc_lease_try_acquire(model, NULL));
	assert_int_equal(pc_lease_acquire(model, &soon, &c, NULL), 0);
	assert_int_equal(c.slot, a.slot);
	pc_lease_release(&b);
	pc_lease_release(&c);
	assert_true(is_quiet(model));
	assert_int_equal(metrics_of(pool).total_requests, 4);
	assert_int_equal(metrics_of(pool).total_timeouts, 1);
	pc_pool_destroy(pool);
}

static void a_lease_needs_its_arguments(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct pc_model *bound = model_make(pool, "bound",
					    &(struct pc_model_spec){ .engine = &bound_engine });
	const struct pc_request_options odd = { .priority = (enum pc_priority)5 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(NULL, NULL, &lease, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_lease_acquire(model, NULL, NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_lease_acquire(model, &odd, &lease, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "priority 5: interactive (0) and batch (1) are known");
	pc_error_clear(&err);
	assert_int_equal(pc_lease_acquire(bound, NULL, &lease, &err), PC_E_UNSUPPORTED);
	assert_string_equal(err.message, "engine 'bound' of 'bound' is bound to its own threads: "
					 "call it through pc_pool_call");
	assert_false(pc_lease_try_acquire(bound, &lease));
	pc_pool_destroy(pool);
}

/* ---- calls ---- */

static void a_free_seat_is_used_on_the_callers_thread(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct work work = { .order = RUN_WELL };

	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
		assert_true(pthread_equal(work.thread, pthread_self()));
	}

	struct pc_pool_metrics metrics = metrics_of(pool);

	assert_int_equal(metrics.total_requests, 200);
	/* The first had to wait; of the others one in 64 is timed. */
	assert_int_equal(metrics.run_time.count, 1 + 200 / 64);
	pc_pool_destroy(pool);
}

static void a_bound_engine_runs_on_its_own_thread(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m",
		&(struct pc_model_spec){ .engine = &bound_engine, .cold_start_workers = 1 });
	struct work work = { .order = RUN_WELL };

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
	assert_false(pthread_equal(work.thread, pthread_self()));
	assert_int_equal(work.runs, 20);
	/* Measuring is a call too, and comes on its thread or not at all. */
	plans[0].memory_bytes = UINT64_C(130) << 20;
	pass_time(pool, 11000);
	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, NULL), 0);
	AWAIT(pc_pool_total_memory_mb(pool) == 130);
	pc_pool_destroy(pool);
}

static int run_that_looks_at_its_signals(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	(void)run, (void)err;
	pthread_sigmask(SIG_BLOCK, NULL, ctx);
	return 0;
}

/* They are the program's, and its threads'. */
static void the_pools_threads_take_no_signals(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(pool, "m",
					    &(struct pc_model_spec){ .engine = &bound_engine });
	sigset_t here, there;

	assert_int_equal(pc_pool_call(model, NULL, run_that_looks_at_its_signals, &there, NULL), 0);
	assert_true(sigismember(&there, SIGINT) && sigismember(&there, SIGUSR1));
	pthread_sigmask(SIG_BLOCK, NULL, &here);
	assert_false(sigismember(&here, SIGINT));
	pc_pool_destroy(pool);
}

static void what_a_run_returns_comes_back(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct pc_error err = PC_ERROR_INIT;
	struct work fails = { .order = RUN_FAILS }, silent = { .order = RUN_SAYS_NOTHING };

	assert_int_equal(pc_pool_call(model, NULL, work_run, &fails, &err), PC_E_MODEL_ERROR);
	assert_string_equal(err.message, "no such token");
	/* And what was in `err` before is not mistaken for it. */
	assert_int_equal(pc_pool_call(model, NULL, work_run, &silent, &err), PC_E_CONTEXT_EXCEEDED);
	assert_string_equal(err.message, "the call to 'm' ended with CONTEXT_EXCEEDED");
	assert_int_equal(pc_pool_call(model, NULL, work_run, &silent, NULL), PC_E_CONTEXT_EXCEEDED);
	assert_int_equal(metrics_of(pool).total_errors, 3);
	assert_int_equal(metrics_of(pool).total_requests, 3);
	assert_int_equal(pc_pool_call(NULL, NULL, work_run, &fails, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_pool_call(model, NULL, NULL, &fails, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_pool_submit(model, NULL, work_run, NULL, &fails, NULL),
			 PC_E_INVALID_ARGUMENT);
	pc_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(zeroes_are_defaults),
		POOL_TEST(no_config_is_the_defaults),
		POOL_TEST(a_budget_beyond_the_machine_is_the_machine),
		POOL_TEST(a_config_out_of_range_is_refused),
		POOL_TEST(a_wrong_key_is_refused),
		POOL_TEST(a_wrong_spec_is_refused),
		POOL_TEST(a_capability_that_is_not_served_is_refused),
		POOL_TEST(a_key_is_registered_once),
		POOL_TEST(what_was_registered_is_found),
		POOL_TEST(nothing_is_asked_of_nobody),
		POOL_TEST(tasks_have_their_prefixes),
		POOL_TEST(an_engine_is_found_out_by_the_first_request),
		POOL_TEST(nothing_is_loaded_before_it_is_asked_for),
		POOL_TEST(many_first_calls_are_one_cold_start),
		POOL_TEST(a_cold_start_warms_two),
		POOL_TEST(a_lease_is_one_slot),
		POOL_TEST(a_lease_needs_its_arguments),
		POOL_TEST(a_free_seat_is_used_on_the_callers_thread),
		POOL_TEST(a_bound_engine_runs_on_its_own_thread),
		POOL_TEST(the_pools_threads_take_no_signals),
		POOL_TEST(what_a_run_returns_comes_back),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
