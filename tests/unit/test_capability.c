/* SPDX-License-Identifier: MIT */
/* Unit tests of what the five faces of the pool have in common: whose model, which engine, no
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/capability_fixture.h"
#include "tests/unit/fail_alloc.h"

/* ---- pools of one capability ---- */

static void a_pool_of_one_capability_refuses_the_others(void **state)
{
	static int (*const create[])(const struct pc_pool_config *, struct pc_pool **,
				     struct pc_error *) = {
		[PC_CAPABILITY_TEXT_EMBEDDING] = pc_text_embedding_pool_create,
		[PC_CAPABILITY_IMAGE_EMBEDDING] = pc_image_embedding_pool_create,
		[PC_CAPABILITY_TEXT_TO_TEXT] = pc_text_to_text_pool_create,
		[PC_CAPABILITY_VISION] = pc_vision_pool_create,
		[PC_CAPABILITY_TEXT_TO_IMAGE] = pc_text_to_image_pool_create,
	};
	struct pc_pool_config config;

	(void)state;
	pc_pool_config_init(&config);
	config.capabilities = 31;
	for (unsigned own = 0; own < PC_ARRAY_LEN(create); own++) {
		struct pc_pool *narrow;

		assert_int_equal(create[own](own % 2 ? &config : NULL, &narrow, NULL), 0);
		for (unsigned other = 0; other < PC_ARRAY_LEN(create); other++) {
			struct pc_model_spec spec = { .key = "m",
						      .capability = (enum pc_capability)other,
						      .est_memory_allocation_mb = 1,
						      .engine = &puppet_engine };

			assert_int_equal(pc_pool_add_model(narrow, &spec, NULL, NULL),
					 other == own ? 0 : PC_E_UNSUPPORTED);
		}
		pc_pool_destroy(narrow);
	}
	assert_int_equal(config.capabilities, 31);
}

/* ---- all of them ---- */

static void a_model_of_another_capability(void **state)
{
	struct pc_image_source source = pc_image_from_bytes("a", 1);
	struct pc_text_request text = { .prompt = "a" };
	struct pc_vision_question question = { .image = source };
	struct pc_image_request image = { .prompt = "a" };
	struct pc_text_stream *stream;
	struct pc_text_answer answer;
	struct pc_painting painting;
	struct pc_vectors vectors;
	struct pc_error err[6];

	(void)state;
	memset(err, 0, sizeof(err));
	assert_failed(pc_embed_text(talker, "a", NULL, NULL, &vectors, &err[0]), &err[0],
		      PC_E_INVALID_ARGUMENT,
		      "'org/talk': it is a model for text_to_text, and this call is for "
		      "text_embedding");
	assert_failed(pc_embed_image(embedder, &source, NULL, &vectors, &err[1]), &err[1],
		      PC_E_INVALID_ARGUMENT,
		      "text_embedding, and this call is for image_embedding");
	assert_failed(pc_generate_text(painter, &text, NULL, &answer, &err[2]), &err[2],
		      PC_E_INVALID_ARGUMENT, "text_to_image, and this call is for text_to_text");
	assert_failed(pc_describe_image(eye, &question, NULL, &answer, &err[3]), &err[3],
		      PC_E_INVALID_ARGUMENT, "image_embedding, and this call is for vision");
	assert_failed(pc_generate_image(seer, &image, NULL, NULL, &painting, &err[4]), &err[4],
		      PC_E_INVALID_ARGUMENT, "vision, and this call is for text_to_image");
	assert_failed(pc_vision_stream_open(talker, &question, NULL, &stream, &err[5]), &err[5],
		      PC_E_INVALID_ARGUMENT, "text_to_text, and this call is for vision");
}

/* A plug-in's table may be shorter than ours, and one in the program may have holes. */
static void an_engine_without_the_function(void **state)
{
	static struct pc_engine old;
	struct pc_image_source source = pc_image_from_bytes("a", 1);
	struct pc_text_request text = { .prompt = "a" };
	struct pc_vision_question question = { .image = source };
	struct pc_image_request image = { .prompt = "a" };
	struct pc_text_answer answer;
	struct pc_painting painting;
	struct pc_vectors vectors;
	struct pc_model *models[5];
	char key[16];

	(void)state;
	old = puppet_engine;
	old.size = offsetof(struct pc_engine, embed_image);
	old.generate = NULL;
	old.embed_text = NULL;
	for (unsigned i = 0; i < PC_ARRAY_LEN(models); i++) {
		snprintf(key, sizeof(key), "old/%u", i);
		models[i] = puppet_model_of(pool, key, (enum pc_capability)i, NULL, &old);
	}
	assert_int_equal(pc_embed_text(models[PC_CAPABILITY_TEXT_EMBEDDING], "a", NULL, NULL,
				       &vectors, NULL),
			 PC_E_UNSUPPORTED);
	assert_int_equal(pc_embed_image(models[PC_CAPABILITY_IMAGE_EMBEDDING], &source, NULL,
					&vectors, NULL),
			 PC_E_UNSUPPORTED);
	assert_int_equal(
		pc_generate_text(models[PC_CAPABILITY_TEXT_TO_TEXT], &text, NULL, &answer, NULL),
		PC_E_UNSUPPORTED);
	assert_int_equal(
		pc_describe_image(models[PC_CAPABILITY_VISION], &question, NULL, &answer, NULL),
		PC_E_UNSUPPORTED);
	assert_int_equal(pc_generate_image(models[PC_CAPABILITY_TEXT_TO_IMAGE], &image, NULL, NULL,
					   &painting, NULL),
			 PC_E_UNSUPPORTED);
}

static bool count_down(void *ctx, const char *text, size_t length)
{
	unsigned *wanted = ctx;

	assert_non_null(text);
	assert_int_equal(length, 2);
	return --*wanted > 0;
}

static void an_engine_that_is_bound_to_its_thread(void **state)
{
	static struct pc_engine bound;
	struct pc_text_request request = { .prompt = "endless" };
	struct pc_text_result result;
	unsigned wanted = 3;
	struct pc_model *model;

	(void)state;
	bound = puppet_engine;
	bound.flags = PC_ENGINE_THREAD_BOUND;
	model = puppet_model_of(pool, "org/bound", PC_CAPABILITY_TEXT_TO_TEXT, NULL, &bound);
	assert_int_equal(pc_generate(model, &request, NULL, count_down, &wanted, &result, NULL), 0);
	assert_int_equal(wanted, 0);
	assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
}

/* ---- when memory runs out ---- */

static int embed_with_a_task(void)
{
	static const char *const texts[] = { "a", "b" };
	struct pc_text_batch batch = { texts, 2, "query" };
	struct pc_vectors vectors;
	int rc = pc_embed_texts(embedder, &batch, NULL, &vectors, NULL);

	if (!rc)
		pc_vectors_fini(&vectors);
	return rc;
}

static int embed_an_image(void)
{
	struct pc_image_source source = pc_image_from_base64("cGl4ZWxz");
	struct pc_vectors vectors;
	int rc = pc_embed_image(eye, &source, NULL, &vectors, NULL);

	if (!rc)
		pc_vectors_fini(&vectors);
	return rc;
}

static int talk(void)
{
	struct pc_text_request request = { .prompt = "count 100" };
	struct pc_text_answer answer;
	int rc = pc_generate_text(talker, &request, NULL, &answer, NULL);

	if (!rc)
		pc_text_answer_fini(&answer);
	return rc;
}

static int describe(void)
{
	struct pc_vision_question question = { .image = pc_image_from_base64("cGl4ZWxz") };
	struct pc_text_answer answer;
	int rc = pc_describe_image(seer, &question, NULL, &answer, NULL);

	if (!rc)
		pc_text_answer_fini(&answer);
	return rc;
}

static int paint(void)
{
	struct pc_image_request request = { .prompt = "a cat" };
	struct pc_painting painting;
	int rc = pc_generate_image(painter, &request, NULL, NULL, &painting, NULL);

	if (!rc)
		pc_painting_fini(&painting);
	return rc;
}

static void no_memory(void **state)
{
	static int (*const calls[])(void) = { embed_with_a_task, embed_an_image, talk, describe,
					      paint };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(calls); i++) {
		/* The model is loaded first, so that the calls run on this thread alone. */
		assert_int_equal(calls[i](), 0);
		for (unsigned n = 1;; n++) {
			fail_alloc_begin(n);

			int rc = calls[i]();
			bool tried_all = fail_alloc_end();

			assert_int_equal(fail_alloc_live(), 0);
			if (tried_all) {
				assert_int_equal(rc, 0);
				assert_true(n > 1);
				break;
			}
			assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		}
		assert_int_equal(calls[i](), 0);
	}
}

static int embed_texts_later(struct ended *ended)
{
	static const char *const texts[] = { "gate", "b" };
	struct pc_text_batch batch = { texts, 2, NULL };

	return pc_embed_texts_async(embedder, &batch, NULL, &ended->vectors, pc_completion_post,
				    ended, NULL);
}

static int talk_later(struct ended *ended)
{
	static const struct pc_chat_message message = { "user", "gate" };
	struct pc_text_request request = { .messages = &message, .message_count = 1 };

	return pc_generate_text_async(talker, &request, NULL, &ended->answer, pc_completion_post,
				      ended, NULL);
}

static int describe_later(struct ended *ended)
{
	struct pc_vision_question question = { .image = pc_image_from_bytes("a", 1),
					       .prompt = "gate" };

	return pc_describe_image_async(seer, &question, NULL, &ended->answer, pc_completion_post,
				       ended, NULL);
}

static int paint_later(struct ended *ended)
{
	struct pc_image_request request = { .prompt = "gate" };

	return pc_generate_image_async(painter, &request, NULL, &ended->painting,
				       pc_completion_post, ended, NULL);
}

/*
 * What a call allocates before it waits. The one slot is taken meanwhile, by a call at the gate,
 * so that no worker's thread allocates at the same time.
 */
static void no_memory_for_later(void **state)
{
	static int (*const calls[])(struct ended *) = { embed_texts_later, talk_later,
							describe_later, paint_later };
	struct ended first, second;

	for (size_t i = 0; i < PC_ARRAY_LEN(calls); i++) {
		unsigned n = 1;

		/* A pool for each: the threads of the last one are gone, and free nothing more. */
		tear_down(state);
		set_up(state);
		begin_async(&first);
		second = first;
		assert_int_equal(calls[i](&first), 0);
		puppet_await_gate(1);
		for (;; n++) {
			fail_alloc_begin(n);

			int rc = calls[i](&second);
			bool tried_all = fail_alloc_end();

			if (tried_all) {
				assert_int_equal(rc, 0);
				break;
			}
			assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
			assert_int_equal(fail_alloc_live(), 0);
		}
		/* The copy, the work, the pool's job. */
		assert_true(n > 3);
		puppet_open_gate(2);

		struct pollfd pfd = { .fd = pc_completions_fd(queue), .events = POLLIN };

		for (unsigned ends = 0; ends < 2;) {
			struct pc_completion *end;

			assert_int_equal(poll(&pfd, 1, -1), 1);
			while ((end = pc_completions_next(queue))) {
				assert_int_equal(end->err.code, 0);
				ends++;
			}
		}
		pc_completions_destroy(queue);
		pc_vectors_fini(&first.vectors);
		pc_vectors_fini(&second.vectors);
		pc_text_answer_fini(&first.answer);
		pc_text_answer_fini(&second.answer);
		pc_painting_fini(&first.painting);
		pc_painting_fini(&second.painting);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(a_pool_of_one_capability_refuses_the_others),
		TEST(a_model_of_another_capability),
		TEST(an_engine_without_the_function),
		TEST(an_engine_that_is_bound_to_its_thread),
		TEST(no_memory),
		TEST(no_memory_for_later),
	};

	return cmocka_run_group_tests_name("capability", tests, NULL, NULL);
}
