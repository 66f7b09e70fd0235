/* SPDX-License-Identifier: MIT */
/*
 * Tests of the in-process pool: the machine's memory, measured memory, forecasts, and what an
 * operator sees and does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"
#include "tests/unit/tree.h"

#define MIB (UINT64_C(1) << 20)

static struct work well;
static struct gate gate;

static int setup(void **state)
{
	gate_close(&gate);
	return fixture_setup(state) || make_tree(state);
}

static int teardown(void **state)
{
	return remove_tree(state) || fixture_teardown(state);
}

#define VIEW_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int call(struct pc_model *model)
{
	return pc_pool_call(model, NULL, work_run, &well, NULL);
}

static struct pc_model *model_of_size(struct pc_pool *pool, const char *key, unsigned plan,
				      uint64_t mb)
{
	char path[2] = { (char)('0' + plan), '\0' };

	return model_make(pool, key,
			  &(struct pc_model_spec){ .model_path = path,
						   .est_memory_allocation_mb = mb,
						   .max_workers = 1 });
}

/* ---- the machine's memory ---- */

static void put_machine(unsigned total_mb, unsigned available_mb, const char *some)
{
	char text[256];

	snprintf(text, sizeof(text), "MemTotal: %u kB\nMemAvailable: %u kB\n", total_mb * 1024,
		 available_mb * 1024);
	put("/proc/meminfo", text);
	put("/proc/self/cgroup", "");
	put("/proc/self/mountinfo", "");
	snprintf(text, sizeof(text),
		 "some avg10=%s avg60=0.00 avg300=0.00 total=5\n"
		 "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
		 some);
	put("/proc/pressure/memory", text);
}

struct heard {
	_Atomic unsigned tight, calm;
	char why[PC_MEMORY_WHY_MAX];
};

static void on_pressure(void *ctx, bool tight, const char *why)
{
	struct heard *heard = ctx;

	snprintf(heard->why, sizeof(heard->why), "%s", why);
	(*(tight ? &heard->tight : &heard->calm))++;
}

static void tight_memory_sends_idle_workers_away(void **state)
{
	(void)state;
	struct heard heard = { .tight = 0 };
	struct pc_pool_config config;

	pc_pool_config_init(&config);
	config.on_pressure = on_pressure;
	config.on_pressure_ctx = &heard;
	config.reserve_bytes = 100 * MIB;

	struct pc_pool *pool = pool_make(1000, &config);
	struct pc_model *a = model_of_size(pool, "a", 0, 100),
			*b = model_of_size(pool, "b", 1, 100);
	struct pc_model *grows = model_make(
		pool, "grows",
		&(struct pc_model_spec){ .model_path = "2", .cold_start_workers = 1 });
	struct caller caller = { .options = { .timeout_ms = 1000 } };
	struct pc_lease lease, more;

	put_machine(1000, 500, "0.00");
	pool->watch.root = tree;
	assert_int_equal(call(a), 0);
	pass_time(pool, 1000);
	assert_int_equal(call(b), 0);
	assert_int_equal(pc_lease_acquire(grows, NULL, &lease, NULL), 0);
	pass_time(pool, 1000);
	assert_int_equal(heard.tight, 0);

	put_machine(1000, 99, "0.00");
	pass_time(pool, 1000);
	assert_int_equal(heard.tight, 1);
	assert_string_equal(heard.why, "available 99 MiB is under the reserve of 100 MiB");
	AWAIT(plans[0].unloads == 1); /* one a look, the least recently used first */
	assert_int_equal(plans[1].unloads, 0);
	pass_time(pool, 1000);
	AWAIT(plans[1].unloads == 1);
	pass_time(pool, 1000);
	assert_int_equal(plans[2].unloads, 0); /* it is in use */
	assert_int_equal(heard.tight, 1);      /* said once */
	assert_int_equal(metrics_of(pool).workers_evicted, 2);
	/* Nothing grows, and yet what is not loaded at all may be. */
	caller_start(&caller, grows);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, 1000);
	assert_int_equal(caller_join(&caller), PC_E_TIMEOUT);
	assert_int_equal(plans[2].loads, 1);
	assert_int_equal(call(a), 0);

	put_machine(1000, 500, "0.00");
	pass_time(pool, 1000);
	assert_int_equal(heard.calm, 1);
	assert_int_equal(pc_lease_acquire(grows, NULL, &more, NULL), 0);
	assert_int_equal(plans[2].loads, 2);
	pc_lease_release(&lease);
	pc_lease_release(&more);

	put_machine(1000, 500, "20.01");
	pass_time(pool, 1000);
	assert_int_equal(heard.tight, 2);
	pc_pool_destroy(pool);
}

/* A program that was told to hold back is told when that is over, whatever is loaded by then. */
static void memory_is_enough_again_when_nothing_is_loaded(void **state)
{
	(void)state;
	struct heard heard = { .tight = 0 };
	struct pc_pool_config config;

	pc_pool_config_init(&config);
	config.on_pressure = on_pressure;
	config.on_pressure_ctx = &heard;
	config.reserve_bytes = 100 * MIB;

	struct pc_pool *pool = pool_make(1000, &config);
	struct pc_model *model = model_of_size(pool, "m", 0, 100);

	put_machine(1000, 99, "0.00");
	pool->watch.root = tree;
	assert_int_equal(call(model), 0);
	pass_time(pool, 1000);
	AWAIT(heard.tight == 1);
	AWAIT(metrics_of(pool).workers == 0 && plans[0].unloads == 1);
	beat(pool);
	put_machine(1000, 500, "0.00");
	pass_time(pool, 1000);
	assert_int_equal(heard.calm, 1);
	beat(pool);
	assert_true(pool->governor_until_ns == PC_TIME_NEVER); /* and it sleeps */
	pc_pool_destroy(pool);
}

static void a_reading_that_fails_changes_nothing(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 100);

	put("/proc/meminfo", "no such thing\n");
	pool->watch.root = tree;
	assert_int_equal(call(a), 0);
	pass_time(pool, 1000);
	pass_time(pool, 1000);
	assert_int_equal(plans[0].unloads, 0);
	assert_int_equal(pc_pool_budget_mb(pool), 1000);
	pc_pool_destroy(pool);
}

static void a_lowered_limit_is_followed(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 300),
			*b = model_of_size(pool, "b", 1, 300);
	struct pc_lease lease;

	put_machine(4000, 3000, "0.00");
	pool->watch.root = tree;
	assert_int_equal(call(a), 0);
	assert_int_equal(pc_lease_acquire(b, NULL, &lease, NULL), 0);
	pass_time(pool, 1000);
	assert_int_equal(pc_pool_budget_mb(pool), 1000);
	put_machine(400, 300, "0.00");
	pass_time(pool, 1000);
	assert_int_equal(pc_pool_budget_mb(pool), 400);
	AWAIT(plans[0].unloads == 1); /* it idles; the other is in use */
	put_machine(200, 100, "0.00");
	pass_time(pool, 1000);
	assert_int_equal(pc_pool_budget_mb(pool), 200);
	assert_int_equal(plans[1].unloads, 0);
	pc_lease_release(&lease); /* until it idles */
	AWAIT(plans[1].unloads == 1);
	assert_int_equal(call(b), PC_E_INSUFFICIENT_MEMORY);
	put_machine(4000, 3000, "0.00");
	pc_pool_destroy(pool);
}

/* ---- what models take ---- */

static void measured_memory_is_reserved_and_remembered(void **state)
{
	(void)state;
	struct pc_registry *registry;
	struct pc_pool_config config;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_registry_open_memory(&registry, NULL), 0);
	pc_pool_config_init(&config);
	config.registry = registry;

	struct pc_pool *pool = pool_make(1000, &config);
	struct pc_model *model = model_of_size(pool, "m", 0, 200);

	plans[0].memory_bytes = 300 * MIB;
	assert_int_equal(call(model), 0);
	assert_int_equal(pc_pool_total_memory_mb(pool), 300);
	plans[0].memory_bytes = 320 * MIB; /* buffers come with requests */
	pass_time(pool, 11000);
	assert_int_equal(pc_pool_total_memory_mb(pool), 320);
	plans[0].memory_bytes = 50 * MIB; /* reservations only grow */
	pass_time(pool, 11000);
	assert_int_equal(pc_pool_total_memory_mb(pool), 320);
	plans[0].memory_bytes = 310 * MIB;
	pc_pool_destroy(pool);

	/* The highest that was ever measured around a load or an unload. */
	pool = pool_make(309, &config);
	model = model_of_size(pool, "m", 0, 200);
	assert_int_equal(pc_pool_call(model, NULL, work_run, &well, &err),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_non_null(strstr(err.message, "model 'm' needs 310 MiB"));
	pc_pool_destroy(pool);
	pool = pool_make(310, &config);
	assert_int_equal(call(model_of_size(pool, "m", 0, 200)), 0);
	pc_pool_destroy(pool);
	pc_registry_close(registry);
}

/* ---- forecasts ---- */

static void note_pending(void *ctx, const struct pc_pool_worker *worker)
{
	*(uint32_t *)ctx += worker->pending_requests;
}

/* A seat that were taken for it would be missed: the next request would wait, or load once more. */
static void measuring_takes_no_slot(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	uint32_t pending = 0;
	struct pc_lease lease;

	assert_int_equal(call(model), 0);
	pass_time(pool, 10000);
	gate_close(&plans[0].describe_gate);
	send_time(pool, 10000);
	AWAIT(plans[0].describing == 1);
	pc_pool_each_worker(pool, note_pending, &pending);
	assert_int_equal(pending, 0);
	assert_true(pc_lease_try_acquire(model, &lease));
	pc_lease_release(&lease);

	/* And yet it stays loaded until the engine has answered. */
	pc_pool_unload(model);
	assert_false(pc_lease_try_acquire(model, &lease));
	gate_open(&plans[0].describe_gate);
	AWAIT(plans[0].unloads == 1);
	pc_pool_destroy(pool);
}

static void a_busy_worker_is_measured_too(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	plans[0].memory_bytes = 300 * MIB;
	pass_time(pool, 10000);
	assert_int_equal(pc_pool_total_memory_mb(pool), 300);
	/* It goes when both have let go of it, in whatever order. */
	gate_close(&plans[0].describe_gate);
	send_time(pool, 10000);
	AWAIT(plans[0].describing == 1);
	pc_pool_unload(model);
	pc_lease_release(&lease);
	gate_open(&plans[0].describe_gate);
	AWAIT(plans[0].unloads == 1);
	pc_pool_destroy(pool);
}

static void assert_foreseen(struct pc_model *model, enum pc_verdict verdict, const char *text)
{
	struct pc_explanation explanation;

	pc_pool_explain(model, &explanation);
	assert_string_equal(explanation.text, text);
	assert_int_equal(explanation.verdict, verdict);
}

static void what_is_foreseen_comes(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_size(pool, "a", 0, 600),
			*b = model_of_size(pool, "b", 1, 600);
	struct pc_model *huge = model_of_size(pool, "huge", 2, 2000);
	struct caller first = { 0 }, second = { 0 };
	struct pc_explanation explanation;
	struct pc_lease lease;

	pc_pool_explain(NULL, &explanation);
	assert_int_equal(explanation.verdict, PC_VERDICT_REFUSED);
	assert_foreseen(huge, PC_VERDICT_REFUSED,
			"refused: model 'huge' needs 2 GiB on cpu: 1000 MiB of 1000 MiB budget "
			"free");
	assert_int_equal(call(huge), PC_E_INSUFFICIENT_MEMORY);

	gate_close(&plans[0].load_gate);
	assert_foreseen(a, PC_VERDICT_LOADED, "'a' is loaded into 600 MiB of free memory");
	assert_int_equal(metrics_of(pool).workers_spawned, 0); /* it changed nothing */
	caller_start(&first, a);
	AWAIT(metrics_of(pool).workers_spawned == 1);
	assert_foreseen(a, PC_VERDICT_QUEUED,
			"waits behind 1 request for a worker of 'a': 0 ready, 1 loading");
	gate_open(&plans[0].load_gate);
	assert_int_equal(caller_join(&first), 0);

	assert_foreseen(a, PC_VERDICT_GRANTED, "gets a free slot of 'a' at once");
	assert_true(pc_lease_try_acquire(a, &lease));
	pass_time(pool, 6000);
	assert_foreseen(b, PC_VERDICT_WAITS,
			"waits for memory: model 'b' needs 600 MiB on cpu: 400 MiB of 1000 MiB "
			"budget free; held by 'a' (1 worker, 600 MiB)");
	caller_start(&second, b);
	AWAIT(metrics_of(pool).waiting == 1);
	assert_int_equal(plans[1].loading + plans[1].loads, 0);
	pc_lease_release(&lease);
	assert_int_equal(caller_join(&second), 0);

	pass_time(pool, 6000);
	pc_pool_explain(a, &explanation);
	assert_int_equal(explanation.verdict, PC_VERDICT_LOADED);
	assert_int_equal(explanation.evicted, 1);
	assert_string_equal(explanation.text, "'a' is loaded after 1 idle worker has gone: 'b'");
	assert_int_equal(plans[1].live, 1);
	assert_int_equal(call(a), 0);
	assert_int_equal(plans[1].live, 0);
	pc_pool_destroy(pool);
}

/* ---- the operator ---- */

static void a_worker_may_be_handed_over(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(250, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 2);
	struct pc_model *single = model_of_size(pool, "single", 1, 100);
	struct pc_model *bound = model_make(pool, "bound",
					    &(struct pc_model_spec){ .engine = &bound_engine });
	struct pc_engine_instance *instance = instance_make(0, 2), *more;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;
	struct pc_lease lease;

	assert_int_equal(pc_pool_register_worker(NULL, instance, &id, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_pool_register_worker(model, NULL, &id, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_pool_register_worker(bound, instance, &id, &err), PC_E_UNSUPPORTED);
	assert_int_equal(pc_pool_register_worker(model, instance, &id, NULL), 0);
	assert_int_equal(id, 1);
	assert_true(pc_pool_has_workers(model));
	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	assert_ptr_equal(lease.instance, instance);
	pc_lease_release(&lease);
	assert_int_equal(plans[0].loads, 1); /* by us */

	more = instance_make(1, 1);
	assert_int_equal(pc_pool_register_worker(single, more, NULL, NULL), 0);
	more = instance_make(1, 1);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_register_worker(single, more, &id, &err), PC_E_NO_WORKERS);
	assert_string_equal(err.message, "'single' has all of the 1 workers that it may have");
	pc_error_clear(&err);
	assert_int_equal(pc_pool_register_worker(model, more, &id, &err), PC_E_INSUFFICIENT_MEMORY);
	assert_int_equal(id, 1);
	free_engine.unload(more); /* still ours */
	pc_pool_unload(model);
	AWAIT(plans[0].unloads == 1);
	pc_pool_destroy(pool);
}

static void a_handed_over_worker_may_be_evicted_at_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct pc_pool *pool = pool_make(1000, NULL);
		struct pc_model *model = model_of_plan(pool, "m", 0, 4);
		struct pc_engine_instance *instance = instance_make(0, 4);

		assert_int_equal(pc_pool_register_worker(model, instance, NULL, NULL), 0);
		pc_pool_unload(model);
		AWAIT(plans[0].unloads == i + 1);
		AWAIT(pc_pool_total_memory_mb(pool) == 0);
		pc_pool_destroy(pool);
	}
}

static void loading_and_unloading_by_hand(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_plan(pool, "m", 0, 1);
	struct pc_lease lease;

	assert_int_equal(pc_pool_load(NULL, NULL), PC_E_INVALID_ARGUMENT);
	pc_pool_unload(NULL);
	pc_pool_unload(model);
	assert_int_equal(pc_pool_load(model, NULL), 0);
	assert_int_equal(pc_pool_load(model, NULL), 0);
	AWAIT(plans[0].loads == 1);
	AWAIT(pc_lease_try_acquire(model, &lease));
	pc_pool_unload(model);
	assert_false(pc_pool_has_workers(model));
	assert_int_equal(plans[0].unloads, 0); /* not before the lease is over */
	pc_lease_release(&lease);
	AWAIT(plans[0].unloads == 1);
	AWAIT(pc_pool_total_memory_mb(pool) == 0);
	assert_int_equal(call(model), 0); /* it comes back */
	assert_int_equal(plans[0].loads, 2);
	pc_pool_destroy(pool);
}

/* Who waits is loaded for anew, and that worker is not unloaded too. */
static void unloading_stops_those_that_are_there(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_of_size(pool, "m", 0, 100);
	struct caller runs = { .work.gate = &gate }, waits = { 0 };

	caller_start(&runs, model);
	AWAIT(runs.work.runs == 1);
	caller_start(&waits, model);
	AWAIT(metrics_of(pool).waiting == 1);
	pc_pool_unload(model);
	assert_int_equal(caller_join(&waits), 0);
	assert_int_equal(metrics_of(pool).workers_spawned, 2);
	gate_open(&gate);
	assert_int_equal(caller_join(&runs), 0);
	AWAIT(plans[0].unloads == 1);
	pc_pool_destroy(pool);
}

/* ---- what is seen ---- */

struct seen {
	unsigned count;
	struct pc_pool_worker workers[4];
};

static void see(void *ctx, const struct pc_pool_worker *worker)
{
	struct seen *seen = ctx;

	if (seen->count < 4)
		seen->workers[seen->count] = *worker;
	seen->count++;
}

static void workers_are_seen(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *a = model_of_plan(pool, "a", 0, 2), *b = model_of_plan(pool, "b", 1, 1);
	struct work work = { .order = RUN_WELL };
	struct seen seen = { .count = 0 };
	struct pc_lease lease;

	plans[1].memory_bytes = 7;
	assert_int_equal(pc_pool_call(a, NULL, work_run, &work, NULL), 0);
	assert_int_equal(pc_lease_acquire(b, NULL, &lease, NULL), 0);
	pc_pool_each_worker(pool, see, &seen);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.workers[0].worker_id, 1);
	assert_string_equal(seen.workers[0].model_key, "a");
	assert_int_equal(seen.workers[0].slots, 2);
	assert_int_equal(seen.workers[0].served, 1);
	assert_int_equal(seen.workers[0].pending_requests, 0);
	assert_int_equal(seen.workers[0].reserved_bytes, 100 << 20);
	assert_int_equal(seen.workers[1].worker_id, 2);
	assert_string_equal(seen.workers[1].model_key, "b");
	assert_int_equal(seen.workers[1].pending_requests, 1);
	assert_true(seen.workers[1].last_used_ns > 0);
	assert_true(seen.workers[1].measured_bytes >= 7);
	pc_lease_release(&lease);
	pc_pool_destroy(pool);
}

static void quantiles_are_the_ends_of_buckets(void **state)
{
	(void)state;
	struct pc_histogram histogram = { .count = 0 };

	assert_int_equal(pc_histogram_quantile_us(&histogram, 0.5), 0);
	histogram.count = 4;
	histogram.buckets[0] = 2;
	histogram.buckets[5] = 2;
	assert_int_equal(pc_histogram_quantile_us(&histogram, 0), 1);
	assert_int_equal(pc_histogram_quantile_us(&histogram, 0.5), 1);
	assert_int_equal(pc_histogram_quantile_us(&histogram, 0.51), 32);
	assert_int_equal(pc_histogram_quantile_us(&histogram, 1), 32);
}

static void errors_have_the_specifications_names(void **state)
{
	(void)state;
	assert_string_equal(pc_pool_error_kind(PC_E_MODEL_FILE_MISSING), "SpawnFailed");
	assert_string_equal(pc_pool_error_kind(PC_E_MODEL_FILE_INVALID), "SpawnFailed");
	assert_string_equal(pc_pool_error_kind(PC_E_NO_WORKERS), "NoWorkers");
	assert_string_equal(pc_pool_error_kind(PC_E_TIMEOUT), "Timeout");
	assert_string_equal(pc_pool_error_kind(PC_E_INSUFFICIENT_MEMORY), "MemoryExhausted");
	assert_string_equal(pc_pool_error_kind(PC_E_CONTEXT_EXCEEDED), "ModelError");
	assert_string_equal(pc_pool_error_kind(PC_E_WORKER_FAILED), "RecvError");
	assert_string_equal(pc_pool_error_kind(PC_E_QUEUE_FULL), "QueueFull");
	assert_string_equal(pc_pool_error_kind(PC_E_IO), "IO");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VIEW_TEST(tight_memory_sends_idle_workers_away),
		VIEW_TEST(memory_is_enough_again_when_nothing_is_loaded),
		VIEW_TEST(a_reading_that_fails_changes_nothing),
		VIEW_TEST(a_lowered_limit_is_followed),
		VIEW_TEST(measured_memory_is_reserved_and_remembered),
		VIEW_TEST(measuring_takes_no_slot),
		VIEW_TEST(a_busy_worker_is_measured_too),
		VIEW_TEST(what_is_foreseen_comes),
		VIEW_TEST(a_worker_may_be_handed_over),
		VIEW_TEST(a_handed_over_worker_may_be_evicted_at_once),
		VIEW_TEST(loading_and_unloading_by_hand),
		VIEW_TEST(unloading_stops_those_that_are_there),
		VIEW_TEST(workers_are_seen),
		VIEW_TEST(quantiles_are_the_ends_of_buckets),
		VIEW_TEST(errors_have_the_specifications_names),
	};

	return cmocka_run_group_tests_name("pool_view", tests, NULL, NULL);
}
