/* SPDX-License-Identifier: MIT */
/* Tests of the in-process pool: thousands of registered models, looked up while others come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

enum { MODELS = 10000, READERS = 3, WRITERS = 2 };

static struct pc_pool *pool;
static _Atomic unsigned registered[WRITERS]; /* of each writer's models, all below are there */

static void name(char key[32], unsigned writer, unsigned i)
{
	/* Lengths around the hash's step of eight bytes. */
	snprintf(key, 32, "%.*s%u/%u", (int)(i % 17), "organisation-with", writer, i);
}

static void *register_all(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg;
	struct pc_model_spec spec = { .key = NULL,
				      .capability = PC_CAPABILITY_TEXT_TO_TEXT,
				      .est_memory_allocation_mb = 1,
				      .engine = &free_engine };
	char key[32];

	spec.key = key;
	for (unsigned i = 0; i < MODELS / WRITERS; i++) {
		name(key, writer, i);
		if (pc_pool_add_model(pool, &spec, NULL, NULL))
			fault("a new key was refused");
		if (pc_pool_add_model(pool, &spec, NULL, NULL) != PC_E_ALREADY_EXISTS)
			fault("a key was registered twice");
		/* release: whoever sees it finds the model. */
		atomic_store_explicit(&registered[writer], i + 1, memory_order_release);
	}
	return NULL;
}

static void look_up(unsigned writer, unsigned i)
{
	char key[32];

	name(key, writer, i);

	struct pc_model *model = pc_pool_find_model(pool, key);

	if (!model || strcmp(pc_model_key(model), key) != 0)
		fault("a registered model is not found");
}

static void *look_up_all(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg % WRITERS, count = 0;
	uint64_t random = 88172645463325252;

	while (count < MODELS / WRITERS) {
		count = atomic_load_explicit(&registered[writer], memory_order_acquire);
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		if (count > 0)
			look_up(writer, (unsigned)(random % count));
		if (pc_pool_find_model(pool, "nobody"))
			fault("what was never registered is found");
	}
	for (unsigned i = 0; i < MODELS / WRITERS; i++)
		look_up(writer, i);
	return NULL;
}

static void models_are_found_while_others_come(void **state)
{
	(void)state;
	pthread_t threads[READERS + WRITERS];

	pool = pool_make(100, NULL);
	for (unsigned i = 0; i < WRITERS; i++)
		registered[i] = 0;
	for (unsigned i = 0; i < READERS + WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						i < WRITERS ? register_all : look_up_all,
						(void *)(uintptr_t)i),
				 0);
	for (unsigned i = 0; i < READERS + WRITERS; i++)
		pthread_join(threads[i], NULL);

	/* Registered models are metadata: the brain has not heard of them. */
	assert_null(pool->stations);
	assert_int_equal(pool->table.count, MODELS);
	pc_pool_destroy(pool);
}

static void the_nearest_of_thousands_is_named(void **state)
{
	(void)state;
	struct pc_model *model;
	struct pc_error err = PC_ERROR_INIT;
	char key[32];

	pool = pool_make(100, NULL);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "org/model-%03u", i);
		model_make(pool, key, NULL);
	}
	model_make(pool, "mistral/7b-instruct", NULL);
	assert_int_equal(pc_pool_get_model(pool, "mistral/7b-instrukt", &model, &err),
			 PC_E_MODEL_NOT_FOUND);
	assert_string_equal(err.message, "there is no model 'mistral/7b-instrukt'; did you mean "
					 "'mistral/7b-instruct'?");
	pc_error_clear(&err);
	assert_int_equal(pc_pool_get_model(pool, "something else entirely", &model, &err),
			 PC_E_MODEL_NOT_FOUND);
	assert_string_equal(err.message, "there is no model 'something else entirely'");
	pc_pool_destroy(pool);
}

/* Beginnings and continuations are different keys, whatever the hash makes of them. */
static void keys_are_compared_whole(void **state)
{
	(void)state;
	char key[40] = "";
	struct pc_model *models[32];

	pool = pool_make(100, NULL);
	for (unsigned i = 0; i < 32; i++) {
		key[i] = 'a';
		models[i] = model_make(pool, key, NULL);
	}
	for (unsigned i = 32; i-- > 0;) {
		assert_ptr_equal(pc_pool_find_model(pool, key), models[i]);
		key[i] = '\0';
	}
	assert_null(pc_pool_find_model(pool, ""));
	pc_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(models_are_found_while_others_come),
		POOL_TEST(the_nearest_of_thousands_is_named),
		POOL_TEST(keys_are_compared_whole),
	};

	return cmocka_run_group_tests_name("pool_table", tests, NULL, NULL);
}
