/* SPDX-License-Identifier: MIT */
/* pool_fixture.c - see pool_fixture.h. Any thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

/* How long a test waits for what must come, seconds. Only a broken pool ever needs all of it. */
enum { PATIENCE_SECS = 60 };

struct plan plans[PLANS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER; /* a gate opens, a cancel comes */
static _Atomic unsigned faults;
static _Atomic uint64_t added_ns;

void fault(const char *what)
{
	fprintf(stderr, "fault: %s\n", what);
	faults++;
}

/* ---- time ---- */

static uint64_t machine_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * PC_NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t test_clock(void *ctx)
{
	(void)ctx;
	return machine_ns() + added_ns;
}

uint64_t await_limit(void)
{
	return machine_ns() + PATIENCE_SECS * PC_NS_PER_SEC;
}

void await_again(uint64_t until, const char *condition, const char *file, int line)
{
	if (machine_ns() > until) {
		/* Threads of the test still run: there is nothing to go back to. */
		fprintf(stderr, "%s:%d: it never came that %s\n", file, line, condition);
		abort();
	}
	sched_yield();
}

/* ---- gates ---- */

void gate_close(struct gate *gate)
{
	pthread_mutex_lock(&lock);
	gate->closed = true;
	pthread_mutex_unlock(&lock);
}

void gate_open(struct gate *gate)
{
	pthread_mutex_lock(&lock);
	gate->closed = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void gate_pass(struct gate *gate)
{
	pthread_mutex_lock(&lock);
	gate->waiting++;
	while (gate->closed)
		pthread_cond_wait(&changed, &lock);
	gate->waiting--;
	pthread_mutex_unlock(&lock);
}

/* ---- the engine ---- */

enum { LIVE = 0x11fe, DEAD = 0xdead };

struct pc_engine_instance {
	_Atomic unsigned state;
	struct plan *plan;
	bool bound;
	pthread_t loader;
	uint32_t slots;
	_Atomic unsigned busy[32]; /* calls that run */
	bool cancel_asked[32];	   /* [lock] of the call that runs */
	_Atomic unsigned describing;
};

static void check(const struct pc_engine_instance *instance, const char *what)
{
	if (instance->state != LIVE)
		fault(what);
	if (instance->bound && !pthread_equal(instance->loader, pthread_self()))
		fault("a thread-bound instance is used on another thread");
}

static struct pc_engine_instance *make(struct plan *plan, uint32_t slots, bool bound)
{
	struct pc_engine_instance *instance = calloc(1, sizeof(*instance));

	if (!instance)
		abort();
	instance->state = LIVE;
	instance->plan = plan;
	instance->bound = bound;
	instance->loader = pthread_self();
	instance->slots = slots;
	plan->live++;
	return instance;
}

struct pc_engine_instance *instance_make(unsigned plan, uint32_t slots)
{
	plans[plan].loads++;
	return make(&plans[plan], slots, false);
}

/* At its gate, if it may be asked to give up there. */
static bool goes_on(struct plan *plan, const struct pc_engine_spec *spec)
{
	if (!plan->asks_progress) {
		gate_pass(&plan->load_gate);
		return true;
	}
	for (;;) {
		pthread_mutex_lock(&lock);
		bool closed = plan->load_gate.closed;
		pthread_mutex_unlock(&lock);
		if (!closed)
			return true;
		if (!spec->progress(spec->progress_ctx, 0.5F))
			return false;
		sched_yield();
	}
}

static int load_as_ordered(struct plan *plan, const struct pc_engine_spec *spec, bool bound,
			   struct pc_engine_instance **ret_instance, struct pc_error *err)
{
	/* So that a call beside it has the wrong pointer too. */
	static struct pc_engine_instance never_loaded;

	if (!goes_on(plan, spec))
		return pc_error_set(err, PC_E_CANCELLED, "gave up");
	switch ((enum load_order)plan->load) {
	case LOAD_FAILS:
		return pc_error_set(err, PC_E_MODEL_ERROR, "the weights are torn");
	case LOAD_SAYS_NOTHING:
		return PC_E_MODEL_FILE_MISSING;
	case LOAD_NO_INSTANCE:
		return 0;
	case LOAD_FAILS_WITH_IT:
		*ret_instance = &never_loaded;
		return pc_error_set(err, PC_E_MODEL_ERROR, "the weights are torn");
	case LOAD_ENDS_THREAD:
		pthread_exit(NULL);
	default:
		*ret_instance = make(plan, spec->slots, bound);
		return 0;
	}
}

static void count_down(void *loading)
{
	(*(_Atomic unsigned *)loading)--;
}

static int load(const struct pc_engine_spec *spec, bool bound,
		struct pc_engine_instance **ret_instance, struct pc_error *err)
{
	struct plan *plan = &plans[spec->model_path[0] - '0'];
	int rc;

	plan->loading++;
	pthread_cleanup_push(count_down, &plan->loading);
	rc = load_as_ordered(plan, spec, bound, ret_instance, err);
	pthread_cleanup_pop(1);
	plan->loads += rc == 0 && *ret_instance;
	return rc;
}

static int load_free(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		     struct pc_error *err)
{
	return load(spec, false, ret_instance, err);
}

static int load_bound(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		      struct pc_error *err)
{
	return load(spec, true, ret_instance, err);
}

static void unload(struct pc_engine_instance *instance)
{
	check(instance, "unload of what is not loaded");
	for (uint32_t i = 0; i < instance->slots; i++) {
		if (instance->busy[i])
			fault("unload while a slot runs");
	}
	if (instance->describing)
		fault("unload while it is described");
	struct plan *plan = instance->plan;

	instance->state = DEAD;
	plan->live--;
	plan->unloads++;
	free(instance);
	if (plan->unload_ends_thread)
		pthread_exit(NULL);
}

static void describe(const struct pc_engine_instance *instance,
		     struct pc_engine_description *description)
{
	_Atomic unsigned *describing = &((struct pc_engine_instance *)instance)->describing;

	(*describing)++;
	check(instance, "describe of what is not loaded");
	instance->plan->describing++;
	gate_pass(&instance->plan->describe_gate);
	instance->plan->describing--;
	if (atomic_exchange(&instance->plan->describe_ends_thread, false)) {
		(*describing)--;
		pthread_exit(NULL);
	}
	description->memory_bytes = instance->plan->memory_bytes;
	(*describing)--;
}

static void cancel(struct pc_engine_instance *instance, uint32_t slot)
{
	if (instance->state != LIVE)
		fault("cancel of what is not loaded");
	instance->plan->cancels++;
	pthread_mutex_lock(&lock);
	instance->cancel_asked[slot] = instance->busy[slot] > 0;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static int generate(struct pc_engine_instance *instance, uint32_t slot,
		    const struct pc_text_request *request, const struct pc_text_sink *sink,
		    struct pc_text_result *ret_result, struct pc_error *err)
{
	(void)instance, (void)slot, (void)request, (void)sink, (void)ret_result;
	return pc_error_set(err, PC_E_UNSUPPORTED, "the fixture says nothing");
}

#define ENGINE(its_name, its_flags, its_load) \
	{ \
		.abi = PC_ENGINE_ABI, .size = sizeof(struct pc_engine), .name = (its_name), \
		.version = "1", .capabilities = 1u << PC_CAPABILITY_TEXT_TO_TEXT, \
		.flags = (its_flags), .load = (its_load), .unload = unload, .describe = describe, \
		.generate = generate, .cancel = cancel, \
	}

const struct pc_engine free_engine = ENGINE("free", 0, load_free);
const struct pc_engine bound_engine = ENGINE("bound", PC_ENGINE_THREAD_BOUND, load_bound);

/* ---- runs ---- */

static int wait_for_cancel(const struct pc_run *run, struct pc_error *err)
{
	const bool *asked = &run->lease.instance->cancel_asked[run->lease.slot];

	pthread_mutex_lock(&lock);
	while (!*asked)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return pc_error_set(err, PC_E_CANCELLED, "the engine was asked to end it");
}

static int run_as_ordered(struct work *work, const struct pc_run *run, struct pc_error *err)
{
	switch (work->order) {
	case RUN_FAILS:
		return pc_error_set(err, PC_E_MODEL_ERROR, "no such token");
	case RUN_SAYS_NOTHING:
		return PC_E_CONTEXT_EXCEEDED;
	case RUN_BREAKS:
		return pc_error_set(err, PC_E_WORKER_FAILED, "the card fell off the bus");
	case RUN_ASKS:
		while (!pc_run_should_stop(run))
			sched_yield();
		return pc_run_stop_error(run, err);
	case RUN_WAITS:
		return wait_for_cancel(run, err);
	case RUN_ENDS_THREAD:
		pthread_exit(NULL);
	default:
		return 0;
	}
}

static void leave_slot(void *busy)
{
	(*(_Atomic unsigned *)busy)--;
}

int work_run(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	struct work *work = ctx;
	struct pc_engine_instance *instance = run->lease.instance;
	_Atomic unsigned *busy = &instance->busy[run->lease.slot];
	int rc;

	if (run->lease.slot >= instance->slots)
		fault("a slot that the instance does not have");
	if (atomic_fetch_add(busy, 1) != 0)
		fault("a slot runs two calls at once");
	check(instance, "a run on what is not loaded");
	pthread_mutex_lock(&lock);
	instance->cancel_asked[run->lease.slot] = false;
	pthread_mutex_unlock(&lock);
	work->thread = pthread_self();
	if (work->turn)
		work->number = atomic_fetch_add(work->turn, 1);
	work->runs++;
	pthread_cleanup_push(leave_slot, busy);
	if (work->gate)
		gate_pass(work->gate);
	rc = run_as_ordered(work, run, err);
	pthread_cleanup_pop(1);
	return rc;
}

void work_done(void *ctx, const struct pc_error *err)
{
	struct work *work = ctx;

	work->err = *err;
	work->dones++;
}

static void *call(void *arg)
{
	struct caller *caller = arg;

	caller->rc = pc_pool_call(caller->model, &caller->options, work_run, &caller->work,
				  &caller->err);
	caller->ended = true;
	return NULL;
}

void caller_start(struct caller *caller, struct pc_model *model)
{
	caller->model = model;
	pc_error_clear(&caller->err);
	assert_int_equal(pthread_create(&caller->thread, NULL, call, caller), 0);
}

int caller_join(struct caller *caller)
{
	assert_int_equal(pthread_join(caller->thread, NULL), 0);
	assert_int_equal(caller->rc, caller->err.code);
	return caller->rc;
}

/* ---- pools ---- */

struct pc_pool *pool_make(uint64_t budget_mb, const struct pc_pool_config *config)
{
	struct pc_pool_config own;
	struct pc_pool *pool = NULL;
	struct pc_error err = PC_ERROR_INIT;

	pc_pool_config_init(&own);
	if (config)
		own = *config;
	if (!own.ledger)
		own.budget_bytes = budget_mb << 20;
	assert_int_equal(pc_pool_create(&own, &pool, &err), 0);
	/* Before the first worker, and so before the governor looks. */
	pool->watch.root = "/nowhere";
	return pool;
}

struct pc_model *model_make(struct pc_pool *pool, const char *key, const struct pc_model_spec *spec)
{
	struct pc_model_spec own = spec ? *spec : (struct pc_model_spec){ .slots = 1 };
	struct pc_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	own.key = key;
	own.capability = PC_CAPABILITY_TEXT_TO_TEXT;
	own.est_memory_allocation_mb = own.est_memory_allocation_mb ? own.est_memory_allocation_mb
								    : 100;
	own.engine = own.engine ? own.engine : &free_engine;
	own.model_path = own.model_path ? own.model_path : "0";
	assert_int_equal(pc_pool_add_model(pool, &own, &model, &err), 0);
	return model;
}

struct pc_model *model_of_plan(struct pc_pool *pool, const char *key, unsigned plan, uint32_t slots)
{
	char path[2] = { (char)('0' + plan), '\0' };

	return model_make(pool, key,
			  &(struct pc_model_spec){
				  .model_path = path, .slots = slots, .cold_start_workers = 1 });
}

struct pc_pool_metrics metrics_of(struct pc_pool *pool)
{
	struct pc_pool_metrics metrics;

	pc_pool_get_metrics(pool, &metrics);
	return metrics;
}

static bool is_asleep(struct pc_pool *pool)
{
	pthread_mutex_lock(&pool->lock);

	bool asleep = !pool->governor_called && pool->governor_until_ns != 0;

	pthread_mutex_unlock(&pool->lock);
	return asleep;
}

void beat(struct pc_pool *pool)
{
	pass_time(pool, 0);
}

void pass_time(struct pc_pool *pool, uint64_t ms)
{
	send_time(pool, ms);
	AWAIT(is_asleep(pool));
}

void send_time(struct pc_pool *pool, uint64_t ms)
{
	pthread_mutex_lock(&pool->lock);
	added_ns += ms * PC_NS_PER_MS;
	governor_call(pool);
	pthread_mutex_unlock(&pool->lock);
}

bool is_quiet(struct pc_model *model)
{
	struct station *station = atomic_load(&model->station);
	uint64_t seats = 0;

	if (!station)
		return true;
	pthread_mutex_lock(&station->pool->lock);
	for (struct pc_link *link = station->pool->workers.first; link; link = pc__set_next(link)) {
		const struct worker *worker = pc__container_of(link, struct worker, by_id);

		if (worker->station == station)
			seats |= worker->stage == STAGE_CLOSED ? worker->held : worker->bits;
	}

	bool quiet = (atomic_load(&station->word) & WORD_FREE) == seats;

	pthread_mutex_unlock(&station->pool->lock);
	return quiet;
}

/* ---- around each test ---- */

int fixture_setup(void **state)
{
	(void)state;
	memset(plans, 0, sizeof(plans));
	faults = 0;
	added_ns = 0;
	pc_clock_set_source(test_clock, NULL);
	return 0;
}

int fixture_teardown(void **state)
{
	(void)state;
	pc_clock_set_source(NULL, NULL);
	for (unsigned i = 0; i < PLANS; i++) {
		if (plans[i].live || plans[i].loading || plans[i].loads != plans[i].unloads)
			fault("not everything that was loaded is unloaded");
	}
	return faults ? -1 : 0;
}
