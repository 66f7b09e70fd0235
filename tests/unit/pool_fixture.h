/* SPDX-License-Identifier: MIT */
/*
 * pool_fixture.h - an engine inside the test program, for tests of the in-process pool: its loads
 * and runs wait at gates, it counts what it is asked, and it notices when the pool breaks a promise
 * (a slot that runs two calls at once, anything outside of load..unload, a thread-bound instance on
 * another thread). Time is the system's plus what the test adds to it, so that nobody sleeps.
 *
 * A test orders what happens by plan: a model's path is the number of its plan, "0" to "7".
 * Include cmocka first.
 */
#ifndef TESTS_UNIT_POOL_FIXTURE_H
#define TESTS_UNIT_POOL_FIXTURE_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <poolcore/pool.h>

#include "pool/inner.h"

enum { PLANS = 8 };

/* ---- gates: what is held up until the test lets it go ---- */

struct gate {
	bool closed; /* [fixture's lock] */
	_Atomic unsigned waiting;
};
void gate_close(struct gate *gate);
void gate_open(struct gate *gate);
/* Returns when it is open. */
void gate_pass(struct gate *gate);

/* ---- what the engine shall do, and what it did ---- */

enum load_order {
	LOAD_WELL,
	LOAD_FAILS,	    /* MODEL_ERROR, "the weights are torn" */
	LOAD_SAYS_NOTHING,  /* an error without a sentence */
	LOAD_NO_INSTANCE,   /* 0, and yet no instance */
	LOAD_FAILS_WITH_IT, /* an error, and an instance all the same */
	LOAD_ENDS_THREAD,   /* pthread_exit */
};

struct plan {
	/* Set by the test. */
	struct gate load_gate, describe_gate;
	_Atomic enum load_order load;
	_Atomic uint64_t memory_bytes;	   /* for describe */
	_Atomic bool asks_progress;	   /* a load that waits at its gate gives up when told to */
	_Atomic bool unload_ends_thread;   /* pthread_exit, when all else is done */
	_Atomic bool describe_ends_thread; /* once */

	_Atomic unsigned loads, loading, unloads, live, cancels, describing;
};

extern struct plan plans[PLANS];
extern const struct pc_engine free_engine;  /* any thread */
extern const struct pc_engine bound_engine; /* bound to the thread that loads */

/* An instance as the engine's load makes it, for pc_pool_register_worker. */
struct pc_engine_instance *instance_make(unsigned plan, uint32_t slots);

/* ---- runs ---- */

enum run_order {
	RUN_WELL,
	RUN_FAILS,	  /* MODEL_ERROR, "no such token" */
	RUN_SAYS_NOTHING, /* an error without a sentence */
	RUN_BREAKS,	  /* WORKER_FAILED, "the card fell off the bus" */
	RUN_ASKS,	  /* until pc_run_should_stop, then pc_run_stop_error */
	RUN_WAITS,	  /* until the engine's cancel comes for its slot, then CANCELLED */
	RUN_ENDS_THREAD,  /* pthread_exit */
};

/* The context of a run; zeroed: it does well. */
struct work {
	struct gate *gate; /* it passes this; may be NULL */
	enum run_order order;
	_Atomic unsigned *turn; /* counts up, may be NULL: which one it was goes to `number` */

	unsigned number;
	pthread_t thread; /* that ran it */
	_Atomic unsigned runs;
	/* How it ended, for work_done. */
	_Atomic unsigned dones;
	struct pc_error err;
};
int work_run(void *ctx, const struct pc_run *run, struct pc_error *err);
void work_done(void *ctx, const struct pc_error *err);

/* A call on a thread of its own. */
struct caller {
	struct pc_model *model;
	struct pc_request_options options;
	struct work work;
	pthread_t thread;
	int rc;
	struct pc_error err;
	_Atomic bool ended;
};
void caller_start(struct caller *caller, struct pc_model *model);
/* Waits for its end; returns what the call returned. */
int caller_join(struct caller *caller);

/* ---- pools ---- */

/* A pool with this budget; it does not look at the machine's memory. */
struct pc_pool *pool_make(uint64_t budget_mb, const struct pc_pool_config *config);
/* 100 MiB a worker unless the spec says otherwise, and plan 0. */
struct pc_model *model_make(struct pc_pool *pool, const char *key,
			    const struct pc_model_spec *spec);
/* The same with a few words. */
struct pc_model *model_of_plan(struct pc_pool *pool, const char *key, unsigned plan,
			       uint32_t slots);

struct pc_pool_metrics metrics_of(struct pc_pool *pool);
/* One round of the governor, whole. */
void beat(struct pc_pool *pool);
/* So much time passes, and the governor notices. */
void pass_time(struct pc_pool *pool, uint64_t ms);
/* The same without waiting for it: the pool may be gone when this returns. */
void send_time(struct pc_pool *pool, uint64_t ms);
/* No seat of the model is leased. */
bool is_quiet(struct pc_model *model);

/* Waits for what must come; the test fails when it does not, long after anybody could call it
 * slow. */
#define AWAIT(condition) \
	do { \
		uint64_t await_until = await_limit(); \
		while (!(condition)) \
			await_again(await_until, #condition, __FILE__, __LINE__); \
	} while (0)
uint64_t await_limit(void);
void await_again(uint64_t until, const char *condition, const char *file, int line);

/* A thread has seen something that must not be; the test fails at its end. */
void fault(const char *what);

/* Of each test. The teardown holds loads against unloads, and fails after a fault. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
#define POOL_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

#endif
