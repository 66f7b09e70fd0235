/* SPDX-License-Identifier: MIT */
/*
 * Stress of the in-process pool: threads that lease, call, submit, cancel, time out, load and
 * unload over models that do not fit together; then quiet, in which nothing may be missing: every
 * request has had exactly one outcome, every seat is back in its word, every byte in the ledger.
 * All counts are bounded; what happens between is chance. POOL_STRESS_ROUNDS in the environment:
 * more of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

enum { THREADS = 16, ROUNDS = 300, MODELS = 4 };

static struct pc_pool *pool;
static struct pc_model *models[MODELS];
static unsigned rounds;
static bool time_flies;

static _Atomic uint64_t requests; /* that the pool has to count */
static _Atomic uint64_t outcomes[5];
enum outcome { SERVED, FAILED, TIMED_OUT, CANCELLED, REFUSED };

static void note(int rc)
{
	enum outcome outcome = rc == 0						    ? SERVED
			       : rc == PC_E_MODEL_ERROR || rc == PC_E_WORKER_FAILED ? FAILED
			       : rc == PC_E_TIMEOUT				    ? TIMED_OUT
			       : rc == PC_E_CANCELLED				    ? CANCELLED
										    : REFUSED;

	outcomes[outcome]++;
	requests++;
	if (outcome == REFUSED && rc != PC_E_QUEUE_FULL && rc != PC_E_SHUTTING_DOWN &&
	    rc != PC_E_SPAWN_FAILED && rc != PC_E_MODEL_BACKOFF) {
		fprintf(stderr, "%s\n", pc_error_name(rc));
		fault("an outcome that nothing here can have");
	}
}

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random >> 11;
}

/* ---- what a thread does ---- */

static void lease(struct pc_model *model, const struct pc_request_options *options)
{
	struct pc_lease lease;
	struct pc_error err = PC_ERROR_INIT;
	int rc = pc_lease_acquire(model, options, &lease, &err);

	if (rc == PC_E_UNSUPPORTED)
		return; /* bound to its thread: no request */
	if (rc == 0) {
		sched_yield();
		pc_lease_release(&lease);
	}
	note(rc);
}

static void call(struct pc_model *model, const struct pc_request_options *options,
		 enum run_order order)
{
	struct work work = { .order = order };
	int rc = pc_pool_call(model, options, work_run, &work, NULL);

	if (work.runs > 1 || (rc == 0 && work.runs != 1))
		fault("a call ran more or less than once");
	note(rc);
}

struct submitted {
	struct work work;
	_Atomic unsigned *left;
};

static int run_submitted(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	return work_run(&((struct submitted *)ctx)->work, run, err);
}

static void on_done(void *ctx, const struct pc_error *err)
{
	struct submitted *submitted = ctx;

	if (submitted->work.dones++ > 0)
		fault("done was called twice");
	note(err->code);
	(*submitted->left)--;
}

/* A few at once, some of which are cancelled by somebody or by ourselves. */
static void submit(struct pc_model *model, const struct pc_request_options *options, bool cancels,
		   enum run_order first)
{
	struct submitted submitted[4] = { { .work.order = first } };
	_Atomic unsigned left = 4;

	for (unsigned i = 0; i < 4; i++) {
		submitted[i].left = &left;

		int rc = pc_pool_submit(model, options, run_submitted, on_done, &submitted[i],
					NULL);

		if (rc) {
			note(rc);
			left--;
		}
	}
	if (cancels)
		pc_cancel_fire(options->cancel);
	AWAIT(left == 0);
}

/* Loads an instance outside of the pool and hands it over, if the pool will have it. */
static void hand_over(unsigned number)
{
	static const uint32_t slots[MODELS] = { 1, 4, 0, 2 };
	struct pc_engine_instance *instance;

	if (slots[number] == 0)
		return; /* bound to its thread */
	instance = instance_make(number, slots[number]);
	if (pc_pool_register_worker(models[number], instance, NULL, NULL))
		free_engine.unload(instance);
}

static void see(void *ctx, const struct pc_pool_worker *worker)
{
	(void)ctx;
	if (worker->pending_requests > worker->slots)
		fault("more requests run than there are slots");
}

static void look_around(struct pc_model *model)
{
	struct pc_explanation explanation;

	pc_pool_explain(model, &explanation);
	pc_pool_each_worker(pool, see, NULL);
	if (pc_pool_total_memory_mb(pool) > pc_pool_budget_mb(pool))
		fault("the budget is overcommitted");
	if (pc_pool_add_memory_mb(pool, 150, NULL) == 0) {
		sched_yield();
		if (pc_pool_remove_memory_mb(pool, 150, NULL))
			fault("what was added cannot be removed");
	}
}

/* One of the others' tokens: it may be fired by any of them at any moment. */
static struct pc_cancel *_Atomic tokens[THREADS];

static void act(uint64_t *random, unsigned self)
{
	unsigned number = (unsigned)(next_random(random) % MODELS);
	struct pc_model *model = models[number];
	struct pc_request_options options = {
		.priority = next_random(random) % 2 ? PC_PRIORITY_BATCH : PC_PRIORITY_INTERACTIVE,
		.cancel = tokens[self],
		.affinity = next_random(random) % 8,
	};
	unsigned choice = (unsigned)(next_random(random) % 20);

	if (next_random(random) % 4 == 0)
		options.timeout_ms = 1 + next_random(random) % 3;
	if (next_random(random) % 3 == 0)
		options.cancel = NULL;
	switch (choice) {
	case 0:
		call(model, &options, RUN_FAILS);
		break;
	case 1:
		if (options.timeout_ms)
			call(model, &options, RUN_ASKS);
		break;
	case 2:
		submit(model, &options, options.cancel != NULL, RUN_WELL);
		break;
	case 3:
		submit(model, &options, false, RUN_WELL);
		break;
	case 4:
		pc_pool_unload(model);
		break;
	case 5:
		pc_pool_load(model, NULL);
		break;
	case 6:
		pc_cancel_fire(tokens[(self + 1) % THREADS]);
		break;
	case 7:
		look_around(model);
		break;
	case 8:
		hand_over(number);
		break;
	case 9:
	case 10:
		lease(model, &options);
		break;
	case 11:
		/* Rarely, or everybody waits for the end of a back-off. */
		if (next_random(random) % 16 == 0)
			submit(model, &options, false, RUN_ENDS_THREAD);
		break;
	case 12:
		if (next_random(random) % (time_flies ? 8 : 16) == 0)
			call(model, &options, RUN_BREAKS); /* a back-off follows */
		break;
	default:
		call(model, &options, RUN_WELL);
	}
}

/* Tokens are never destroyed before the end: another thread may be about to fire one. */
static struct pc_cancel *spent[THREADS][8192];

static void *act_all(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg, count = 0;
	uint64_t random = UINT64_C(0x9e3779b97f4a7c15) * (self + 1);

	for (unsigned round = 0; round < rounds; round++) {
		if (pc_cancel_is_fired(tokens[self]) && count < 8192) {
			spent[self][count++] = tokens[self];

			struct pc_cancel *fresh;

			if (pc_cancel_create(&fresh, NULL))
				abort();
			tokens[self] = fresh;
		}
		act(&random, self);
	}
	return NULL;
}

/* ---- the machine around them ---- */

static _Atomic bool over;

/* Runs of one model after the other are taken for long, or for short: who waits for it waits in the
 * one way, then in the other, and both at once. */
static void change_minds(unsigned round)
{
	struct station *station = atomic_load(&models[round % MODELS]->station);

	if (station)
		atomic_store(&station->usual_run_ns, round / MODELS % 2 ? 0 : PC_NS_PER_SEC);
}

/* Time passes faster than it does, so that residency, back-off and cooldown have their say. */
static void *hurry(void *arg)
{
	(void)arg;
	for (unsigned round = 0; !over; round++) {
		pass_time(pool, 100);
		change_minds(round);
		for (unsigned i = 0; i < 20; i++)
			sched_yield();
	}
	return NULL;
}

static struct pc_model *stress_model(const char *key, const struct pc_model_spec *spec)
{
	struct pc_model_spec own = *spec;

	own.queue_capacity = 64;
	own.est_memory_allocation_mb = 400;
	return model_make(pool, key, &own);
}

static void make_models(void)
{
	models[0] = stress_model("one", &(struct pc_model_spec){ .model_path = "0" });
	models[1] = stress_model(
		"four",
		&(struct pc_model_spec){ .model_path = "1", .slots = 4, .recycle_requests = 50 });
	models[2] = stress_model(
		"bound", &(struct pc_model_spec){ .model_path = "2", .engine = &bound_engine });
	models[3] = stress_model(
		"fleeting", &(struct pc_model_spec){
				    .model_path = "3", .slots = 2, .keep_idle_secs = PC_KEEP_NOT });
}

static void assert_quiet(void)
{
	struct pc_pool_metrics metrics = metrics_of(pool);

	assert_int_equal(metrics.waiting, 0);
	assert_int_equal(metrics.total_requests, requests);
	assert_int_equal(metrics.total_timeouts, outcomes[TIMED_OUT]);
	assert_int_equal(metrics.total_cancelled, outcomes[CANCELLED]);
	assert_int_equal(metrics.total_errors, outcomes[FAILED] + outcomes[REFUSED]);
	for (unsigned i = 0; i < MODELS; i++) {
		struct station *station = atomic_load(&models[i]->station);

		AWAIT(is_quiet(models[i])); /* no seat is lost */
		assert_int_equal(atomic_load(&station->word) & WORD_WOKEN, 0);
	}
	for (unsigned i = 0; i < MODELS; i++)
		pc_pool_unload(models[i]);
	AWAIT(pc_pool_total_memory_mb(pool) == 0);
	for (unsigned i = 0; i < MODELS; i++) {
		assert_int_equal(plans[i].live, 0);
		assert_int_equal(atomic_load(&atomic_load(&models[i]->station)->word) & WORD_FREE,
				 0);
	}
}

static void begin(uint64_t budget_mb)
{
	const char *wish = getenv("POOL_STRESS_ROUNDS");

	rounds = wish ? (unsigned)strtoul(wish, NULL, 10) : ROUNDS;
	over = time_flies = false;
	requests = 0;
	for (unsigned i = 0; i < PC_ARRAY_LEN(outcomes); i++)
		outcomes[i] = 0;
	memset(spent, 0, sizeof(spent));
	for (unsigned i = 0; i < THREADS; i++) {
		struct pc_cancel *token;

		assert_int_equal(pc_cancel_create(&token, NULL), 0);
		tokens[i] = token;
	}
	pool = pool_make(budget_mb, NULL);
	make_models();
}

static void end(void)
{
	pc_pool_destroy(pool);
	for (unsigned i = 0; i < THREADS; i++) {
		pc_cancel_destroy(tokens[i]);
		for (unsigned k = 0; spent[i][k]; k++)
			pc_cancel_destroy(spent[i][k]);
	}
}

static void run_all(void)
{
	pthread_t threads[THREADS], clock;

	time_flies = true;
	assert_int_equal(pthread_create(&clock, NULL, hurry, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, act_all, (void *)(uintptr_t)i),
				 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	over = true;
	pthread_join(clock, NULL);
}

static void nothing_is_lost_where_models_compete(void **state)
{
	(void)state;
	begin(1000); /* two workers at a time, for four models */
	run_all();
	assert_quiet();
	end();
}

static void nothing_is_lost_where_there_is_room(void **state)
{
	(void)state;
	begin(8000);
	run_all();
	assert_quiet();
	end();
}

/* Leases alone, in the fast way: the seats are few, and everybody wants one. */
static void *lease_all(void *arg)
{
	struct pc_lease lease;

	(void)arg;
	for (unsigned i = 0; i < 20 * rounds; i++) {
		int rc = pc_lease_acquire(models[1], NULL, &lease, NULL);

		if (rc == 0)
			pc_lease_release(&lease);
		note(rc);
	}
	return NULL;
}

static void leases_change_hands(void **state)
{
	(void)state;
	pthread_t threads[THREADS];

	begin(400);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, lease_all, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(outcomes[SERVED], (uint64_t)THREADS * 20 * rounds);
	assert_int_equal(metrics_of(pool).total_requests, requests);
	AWAIT(is_quiet(models[1]));
	end();
}

/* A pool that is shut down under load: every request still has its one outcome. */
static void a_shutdown_under_load_loses_nothing(void **state)
{
	(void)state;
	pthread_t threads[THREADS];
	struct pc_shutdown_report report;

	begin(8000); /* nobody waits for time to pass */
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, act_all, (void *)(uintptr_t)i),
				 0);
	AWAIT(requests > rounds);
	pc_pool_shutdown(pool, &report);
	assert_int_equal(report.stuck_workers, 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(metrics_of(pool).total_requests, requests);
	assert_int_equal(metrics_of(pool).workers, 0);
	assert_int_equal(pc_pool_total_memory_mb(pool), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(nothing_is_lost_where_models_compete),
		POOL_TEST(nothing_is_lost_where_there_is_room),
		POOL_TEST(leases_change_hands),
		POOL_TEST(a_shutdown_under_load_loses_nothing),
	};

	return cmocka_run_group_tests_name("pool_stress", tests, NULL, NULL);
}
