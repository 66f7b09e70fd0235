/* SPDX-License-Identifier: MIT */
/*
 * pool_ours.c - our side of bench_pool: pools of an engine in this program that does nothing,
 * called in each of the ways in which poolcore/pool.h offers it. Workers are loaded before a lane
 * is ready.
 */
#include "bench/pool_bench.h"

#include <poolcore/pool.h>

#include <linux/futex.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEY "organisation/model"

/* ---- allocations ---- */

/* The C library keeps this much before each block. */
enum { BLOCK_HEADER = 8 };

static struct {
	_Atomic uint64_t requests, live_bytes;
} counted;

static void count_block(void *ptr, int sign)
{
	if (ptr)
		atomic_fetch_add_explicit(&counted.live_bytes,
					  (uint64_t)sign * (malloc_usable_size(ptr) + BLOCK_HEADER),
					  memory_order_relaxed);
}

static void *counting_alloc(void *ctx, size_t size)
{
	void *ptr = malloc(size);

	(void)ctx;
	atomic_fetch_add_explicit(&counted.requests, 1, memory_order_relaxed);
	count_block(ptr, 1);
	return ptr;
}

static void *counting_resize(void *ctx, void *ptr, size_t size)
{
	(void)ctx;
	atomic_fetch_add_explicit(&counted.requests, 1, memory_order_relaxed);

	size_t before = ptr ? malloc_usable_size(ptr) + BLOCK_HEADER : 0;
	void *resized = realloc(ptr, size);

	if (resized) {
		atomic_fetch_sub_explicit(&counted.live_bytes, before, memory_order_relaxed);
		count_block(resized, 1);
	}
	return resized;
}

static void counting_release(void *ctx, void *ptr)
{
	(void)ctx;
	count_block(ptr, -1);
	free(ptr);
}

void ours_count_allocations(void)
{
	static const struct pc_allocator counting = { counting_alloc, counting_resize,
						      counting_release, NULL };

	pc_allocator_set(&counting);
}

uint64_t ours_allocations(void)
{
	return atomic_load_explicit(&counted.requests, memory_order_relaxed);
}

uint64_t ours_live_bytes(void)
{
	return atomic_load_explicit(&counted.live_bytes, memory_order_relaxed);
}

/* ---- an engine ---- */

static int idle_load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		     struct pc_error *err)
{
	static char instance;

	(void)spec, (void)err;
	*ret_instance = (struct pc_engine_instance *)&instance;
	return 0;
}

static void idle_unload(struct pc_engine_instance *instance)
{
	(void)instance;
}

static void idle_describe(const struct pc_engine_instance *instance,
			  struct pc_engine_description *description)
{
	(void)instance;
	description->embedding_dim = 1;
	description->memory_bytes = 1;
}

static int idle_embed_text(struct pc_engine_instance *instance, uint32_t slot,
			   const char *const *texts, size_t text_count, float *vectors,
			   uint32_t *ret_tokens, struct pc_error *err)
{
	(void)instance, (void)slot, (void)texts, (void)err;
	for (size_t i = 0; i < text_count; i++)
		vectors[i] = 1;
	*ret_tokens = 0;
	return 0;
}

#define IDLE_ENGINE(its_flags) \
	{ \
		.abi = PC_ENGINE_ABI, .size = sizeof(struct pc_engine), .name = "idle", \
		.version = "1", .capabilities = 1u << PC_CAPABILITY_TEXT_EMBEDDING, \
		.flags = (its_flags), .load = idle_load, .unload = idle_unload, \
		.describe = idle_describe, .embed_text = idle_embed_text, \
	}

static const struct pc_engine idle_engine = IDLE_ENGINE(0);
static const struct pc_engine idle_bound_engine = IDLE_ENGINE(PC_ENGINE_THREAD_BOUND);

/* ---- a pool with one loaded model ---- */

struct ours {
	struct pc_pool *pool;
	struct pc_model *model;
	const char *key;
	uint64_t steps;
	const char *const *order; /* of lookups */
};

static void check(int rc, const struct pc_error *err)
{
	if (rc < 0)
		bench_die("%s", err->message);
}

static struct ours *create_pool(void)
{
	struct ours *ours = bench_alloc(sizeof(*ours));
	struct pc_error err = PC_ERROR_INIT;

	check(pc_pool_create(NULL, &ours->pool, &err), &err);
	return ours;
}

static struct pc_model *add_model(struct ours *ours, const char *key,
				  const struct pc_engine *engine, unsigned workers)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model *model = NULL;
	const struct pc_model_spec spec = {
		.key = key,
		.capability = PC_CAPABILITY_TEXT_EMBEDDING,
		.est_memory_allocation_mb = 1,
		.engine = engine,
		.min_workers = workers,
		.max_workers = workers,
		.cold_start_workers = workers,
		.keep_idle_secs = PC_KEEP_FOREVER,
	};

	check(pc_pool_add_model(ours->pool, &spec, &model, &err), &err);
	return model;
}

static int run_work(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	const struct ours *ours = ctx;

	(void)run, (void)err;
	bench_work(ours->steps);
	return 0;
}

/* Leases every slot at once, so that every worker is there afterwards. */
static void load_all(struct pc_model *model, unsigned workers)
{
	struct pc_lease leases[8];
	struct pc_error err = PC_ERROR_INIT;

	for (unsigned i = 0; i < workers; i++)
		check(pc_lease_acquire(model, NULL, &leases[i], &err), &err);
	for (unsigned i = 0; i < workers; i++)
		pc_lease_release(&leases[i]);
}

static void ours_destroy(void *state)
{
	struct ours *ours = state;

	pc_pool_destroy(ours->pool);
	free(ours);
}

static struct ours *create_loaded(unsigned workers, uint64_t steps)
{
	struct ours *ours = create_pool();

	ours->steps = steps;
	ours->key = KEY;
	ours->model = add_model(ours, KEY, &idle_engine, workers);
	load_all(ours->model, workers);
	return ours;
}

/* ---- leases ---- */

/* The optimiser shall not know that it is always the same model. */
#define HIDE(variable) __asm__ volatile("" : "+r"(variable))

static void by_handle_batch(void *state, uint64_t calls)
{
	const struct ours *ours = state;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_lease lease;

	for (uint64_t i = 0; i < calls; i++) {
		struct pc_model *model = ours->model;

		HIDE(model);
		check(pc_lease_acquire(model, NULL, &lease, &err), &err);
		pc_lease_release(&lease);
	}
}

static void by_key_batch(void *state, uint64_t calls)
{
	const struct ours *ours = state;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_lease lease;

	for (uint64_t i = 0; i < calls; i++) {
		const char *key = ours->key;

		HIDE(key);
		check(pc_lease_acquire(pc_pool_find_model(ours->pool, key), NULL, &lease, &err),
		      &err);
		pc_lease_release(&lease);
	}
}

struct lane ours_by_handle(void)
{
	return (struct lane){ .name = "pool, lease by handle",
			      .state = create_loaded(2, 0),
			      .batch = by_handle_batch,
			      .destroy = ours_destroy };
}

struct lane ours_by_key(void)
{
	return (struct lane){ .name = "pool, lease by key",
			      .state = create_loaded(2, 0),
			      .batch = by_key_batch,
			      .destroy = ours_destroy };
}

/* ---- calls ---- */

static void call_once(void *state)
{
	struct ours *ours = state;
	struct pc_error err;

	/* Not PC_ERROR_INIT: see pc_error_clear. */
	pc_error_clear(&err);
	check(pc_pool_call(ours->model, NULL, run_work, ours, &err), &err);
}

struct lane ours_call(unsigned workers, uint64_t steps)
{
	return (struct lane){ .name = "pool, pc_pool_call",
			      .state = create_loaded(workers, steps),
			      .call = call_once,
			      .destroy = ours_destroy };
}

struct lane ours_bound_call(void)
{
	struct ours *ours = create_pool();

	ours->model = add_model(ours, KEY, &idle_bound_engine, 1);
	call_once(ours);
	return (struct lane){ .name = "pool, thread-bound call",
			      .state = ours,
			      .call = call_once,
			      .destroy = ours_destroy };
}

/* ---- submissions ---- */

struct submission {
	const struct ours *ours;
	_Atomic uint32_t ended; /* [released by `done`, acquired by the waiter] */
	int code;
};

static int run_submission(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	const struct submission *submission = ctx;

	(void)run, (void)err;
	bench_work(submission->ours->steps);
	return 0;
}

static void submission_done(void *ctx, const struct pc_error *err)
{
	struct submission *submission = ctx;

	submission->code = err->code;
	atomic_store_explicit(&submission->ended, 1, memory_order_release);
	/* The waiter's stack may be gone by now; then nobody sleeps at that address. */
	syscall(SYS_futex, &submission->ended, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void submit_once(void *state)
{
	struct ours *ours = state;
	struct submission submission = { .ours = ours };
	struct pc_error err;

	pc_error_clear(&err);
	check(pc_pool_submit(ours->model, NULL, run_submission, submission_done, &submission, &err),
	      &err);
	while (!atomic_load_explicit(&submission.ended, memory_order_acquire))
		syscall(SYS_futex, &submission.ended, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	if (submission.code)
		bench_die("a submission ended with %d", submission.code);
}

struct lane ours_submit(void)
{
	return (struct lane){ .name = "pool, submit and wait",
			      .state = create_loaded(1, 0),
			      .call = submit_once,
			      .destroy = ours_destroy };
}

/* ---- lookups ---- */

static void lookup_batch(void *state, uint64_t calls)
{
	const struct ours *ours = state;

	for (uint64_t i = 0; i < calls; i++)
		if (!pc_pool_find_model(ours->pool, ours->order[i % LOOKUP_ORDER]))
			bench_die("the pool lost a key");
}

struct lane ours_lookup(bool hot)
{
	struct ours *ours = create_pool();

	ours->order = lookup_order(hot);
	for (unsigned i = 0; i < LOOKUP_MODELS; i++)
		add_model(ours, lookup_key(i), &idle_engine, 2);
	return (struct lane){ .name = hot ? "pool, find_model, hot" : "pool, find_model, random",
			      .state = ours,
			      .batch = lookup_batch,
			      .destroy = ours_destroy };
}
