/* SPDX-License-Identifier: MIT */
/*
 * Tests of the promise in poolcore/pool.h that a call that finds a free slot allocates nothing and
 * makes no system call: a million of each kind, in a child that a seccomp filter ends at the first
 * system call, with every malloc counted. The first tests prove the counters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/pool.h>

#include "tests/lib/syscall_trap.h"

enum { CALLS = 1000000 };

/* The sanitizers bring a malloc of their own; ThreadSanitizer also makes system calls of its
 * own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HAS_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define HAS_TSAN 1
#endif

/* ---- counters, of the calling thread alone ---- */

static _Thread_local uint64_t allocations;

#if defined(__GLIBC__) && !defined(HAS_ASAN) && !defined(HAS_TSAN)
/* The C library lets a program define these in its stead; underneath are its own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
	allocations++;
	return __libc_realloc(ptr, size);
}
#else
static void *counting_alloc(void *ctx, size_t size)
{
	(void)ctx;
	allocations++;
	return malloc(size);
}

static void *counting_resize(void *ctx, void *ptr, size_t size)
{
	(void)ctx;
	allocations++;
	return realloc(ptr, size);
}

static void counting_release(void *ctx, void *ptr)
{
	(void)ctx;
	free(ptr);
}

/* Then at least what passes the library's door. */
__attribute__((constructor)) static void count_at_the_door(void)
{
	static const struct pc_allocator counting = { counting_alloc, counting_resize,
						      counting_release, NULL };

	pc_allocator_set(&counting);
}
#endif

/* ---- an engine that does nothing ---- */

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
	(void)instance, (void)slot, (void)texts, (void)text_count, (void)vectors, (void)ret_tokens;
	return pc_error_set(err, PC_E_UNSUPPORTED, "an idle engine embeds nothing");
}

static const struct pc_engine idle_engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(idle_engine),
	.name = "idle",
	.version = "1",
	.capabilities = 1u << PC_CAPABILITY_TEXT_EMBEDDING,
	.load = idle_load,
	.unload = idle_unload,
	.describe = idle_describe,
	.embed_text = idle_embed_text,
};

/* ---- one experiment ---- */

/* Shared by the test and its child. */
struct experiment {
	/* One call; false: it went wrong. */
	bool (*call)(struct experiment *experiment);
	/* Found out in the child, where the pool is. */
	struct pc_pool *pool;
	struct pc_model *model;
	uint64_t calls, allocations;
};

#define KEY "organisation/model"

/* A pool whose only model is loaded; in the child. */
static void prepare(void *ctx)
{
	struct experiment *experiment = ctx;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_lease leases[2];
	const struct pc_model_spec spec = {
		.key = KEY,
		.capability = PC_CAPABILITY_TEXT_EMBEDDING,
		.est_memory_allocation_mb = 1,
		.engine = &idle_engine,
		.min_workers = 2,
		.max_workers = 2,
		.cold_start_workers = 2,
		.keep_idle_secs = PC_KEEP_FOREVER,
	};

	/* Both workers are there once both are leased. */
	if (pc_pool_create(NULL, &experiment->pool, &err) ||
	    pc_pool_add_model(experiment->pool, &spec, &experiment->model, &err) ||
	    pc_lease_acquire(experiment->model, NULL, &leases[0], &err) ||
	    pc_lease_acquire(experiment->model, NULL, &leases[1], &err)) {
		fprintf(stderr, "cannot prepare: %s\n", err.message);
		_exit(1);
	}
	pc_lease_release(&leases[0]);
	pc_lease_release(&leases[1]);
	for (unsigned i = 0; i < 1000; i++)
		if (!experiment->call(experiment))
			_exit(1);
}

static void prepare_nothing(void *ctx)
{
	(void)ctx;
}

static void make_calls(void *ctx)
{
	struct experiment *experiment = ctx;
	uint64_t before = allocations;

	while (experiment->calls < CALLS && experiment->call(experiment))
		experiment->calls++;
	experiment->allocations = allocations - before;
}

static void skip_without(int caught)
{
	if (caught == SYSCALL_TRAP_NO_LOCK) {
		print_message("this machine has no seccomp\n");
		skip();
	}
#ifdef HAS_TSAN
	print_message("ThreadSanitizer makes system calls\n");
	skip();
#endif
}

/* A million calls, and what they asked of others: nothing. */
static void expect_nothing_asked(bool (*call)(struct experiment *experiment))
{
	struct experiment *experiment = syscall_trap_share(sizeof(*experiment));

	assert_non_null(experiment);
	experiment->call = call;

	int caught = syscall_trap_run(prepare, make_calls, experiment);

	skip_without(caught);
	if (caught != SYSCALL_TRAP_NONE)
		fail_msg("call %llu made system call %d (below 0: see syscall_trap.h)",
			 (unsigned long long)experiment->calls + 1, caught);
	assert_int_equal(experiment->calls, CALLS);
	assert_int_equal(experiment->allocations, 0);
	munmap(experiment, sizeof(*experiment));
}

/* ---- the counters ---- */

static bool ask_for_the_parent(struct experiment *experiment)
{
	/* The tenth alone. */
	return experiment->calls != 9 || getppid() > 0;
}

static void a_system_call_is_caught(void **state)
{
	struct experiment *experiment = syscall_trap_share(sizeof(*experiment));

	(void)state;
	assert_non_null(experiment);
	experiment->call = ask_for_the_parent;

	int caught = syscall_trap_run(prepare_nothing, make_calls, experiment);

	skip_without(caught);
	assert_int_equal(caught, SYS_getppid);
	assert_int_equal(experiment->calls, 9);
	munmap(experiment, sizeof(*experiment));
}

static void an_allocation_is_counted(void **state)
{
	uint64_t before = allocations;
	void *block = pc_malloc(1);

	(void)state;
	assert_int_equal(allocations, before + 1);
	block = pc_realloc(block, 100);
	assert_int_equal(allocations, before + 2);
	pc_free(block);
}

/* ---- the calls ---- */

static bool lease_by_handle(struct experiment *experiment)
{
	struct pc_lease lease;

	if (pc_lease_acquire(experiment->model, NULL, &lease, NULL))
		return false;
	pc_lease_release(&lease);
	return true;
}

static bool lease_by_key(struct experiment *experiment)
{
	struct pc_lease lease;
	struct pc_model *model = pc_pool_find_model(experiment->pool, KEY);

	if (!model || pc_lease_acquire(model, NULL, &lease, NULL))
		return false;
	pc_lease_release(&lease);
	return true;
}

static bool try_lease(struct experiment *experiment)
{
	struct pc_lease lease;

	if (!pc_lease_try_acquire(experiment->model, &lease))
		return false;
	pc_lease_release(&lease);
	return true;
}

static int run(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	(void)err;
	*(bool *)ctx = !pc_run_should_stop(run);
	return 0;
}

static bool call_a_function(struct experiment *experiment)
{
	bool ran = false;

	return pc_pool_call(experiment->model, NULL, run, &ran, NULL) == 0 && ran;
}

static void leases_by_handle_ask_for_nothing(void **state)
{
	(void)state;
	expect_nothing_asked(lease_by_handle);
}

static void leases_by_key_ask_for_nothing(void **state)
{
	(void)state;
	expect_nothing_asked(lease_by_key);
}

static void tried_leases_ask_for_nothing(void **state)
{
	(void)state;
	expect_nothing_asked(try_lease);
}

static void calls_ask_for_nothing(void **state)
{
	(void)state;
	expect_nothing_asked(call_a_function);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_system_call_is_caught),
		cmocka_unit_test(an_allocation_is_counted),
		cmocka_unit_test(leases_by_handle_ask_for_nothing),
		cmocka_unit_test(leases_by_key_ask_for_nothing),
		cmocka_unit_test(tried_leases_ask_for_nothing),
		cmocka_unit_test(calls_ask_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
