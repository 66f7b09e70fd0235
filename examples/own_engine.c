/* SPDX-License-Identifier: MIT */
/*
 * own_engine.c - an engine inside the program, and calls of one's own through a lease: no plug-in,
 * no facade. The "model" is a table of squares, which takes its time to load and none to ask.
 *
 *   cc own_engine.c $(pkg-config --cflags --libs poolcore) -o own_engine && ./own_engine
 */
#include <stdio.h>

#include <poolcore/pool.h>

enum { SQUARES = 1000 };

struct pc_engine_instance {
	unsigned squares[SQUARES];
};

static int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		struct pc_error *err)
{
	struct pc_engine_instance *instance = pc_malloc(sizeof(*instance));

	(void)spec;
	if (!instance)
		return pc_error_oom(err);
	for (unsigned i = 0; i < SQUARES; i++)
		instance->squares[i] = i * i;
	*ret_instance = instance;
	return 0;
}

static void unload(struct pc_engine_instance *instance)
{
	pc_free(instance);
}

static void describe(const struct pc_engine_instance *instance,
		     struct pc_engine_description *description)
{
	description->memory_bytes = sizeof(*instance);
}

static const struct pc_engine squares = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(squares),
	.name = "squares",
	.version = "1",
	.capabilities = 1u << PC_CAPABILITY_TEXT_EMBEDDING, /* whatever the pool shall call it */
	.load = load,
	.unload = unload,
	.describe = describe,
};

/* What a call does on a worker, on this thread or another. */
static int look_up(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	unsigned *number = ctx;

	if (*number >= SQUARES)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "%u is not in the table", *number);
	*number = run->lease.instance->squares[*number];
	return 0;
}

int main(void)
{
	const struct pc_model_spec spec = { .key = "squares",
					    .capability = PC_CAPABILITY_TEXT_EMBEDDING,
					    .est_memory_allocation_mb = 1,
					    .engine = &squares };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model *model;
	struct pc_pool *pool;
	struct pc_lease lease;
	unsigned number = 12;

	if (pc_pool_create(NULL, &pool, &err) || pc_pool_add_model(pool, &spec, &model, &err))
		return fprintf(stderr, "own_engine: %s\n", err.message), 1;

	/* The first request loads. */
	if (pc_pool_call(model, NULL, look_up, &number, &err))
		return fprintf(stderr, "own_engine: %s\n", err.message), 1;
	printf("12 squared is %u\n", number);

	/* From now on a lease costs a compare-and-swap. */
	if (pc_lease_acquire(model, NULL, &lease, &err))
		return fprintf(stderr, "own_engine: %s\n", err.message), 1;
	printf("31 squared is %u\n", lease.instance->squares[31]);
	pc_lease_release(&lease);

	number = SQUARES;
	if (pc_pool_call(model, NULL, look_up, &number, &err))
		printf("and %s: %s\n", pc_pool_error_kind(err.code), err.message);
	pc_pool_destroy(pool);
	return 0;
}
