/* SPDX-License-Identifier: MIT */
/*
 * Each of the five capabilities, through the pool and a real engine: llama.cpp writes and embeds
 * text, ONNX Runtime reads and embeds images, paint paints. All live in one pool whose budget holds
 * two of the five at a time, so that they also make room for each other.
 *
 *   test_real_engines ENGINES EXAMPLES DEMO_MODEL OCR_MODELS WORDS
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/capability.h>

#include "draw.h"

enum { MODEL_MB = 300, BUDGET_MB = 2 * MODEL_MB + 100 };

static struct {
	char text_reader[512], image_embedder[512];
	const char *demo_model, *words;
	struct pc_pool *pool;
	struct pc_model *writer, *embedder, *reader, *looker, *painter;
} world;

#define assert_ok(call, err) \
	do { \
		int assert_ok_rc = (call); \
		if (assert_ok_rc) \
			fail_msg("%s: %s", pc_error_name(assert_ok_rc), (err)->message); \
	} while (0)

static struct pc_model *add(const char *key, enum pc_capability capability, const char *engine,
			    const char *path)
{
	const struct pc_model_spec spec = { .key = key,
					    .capability = capability,
					    .est_memory_allocation_mb = MODEL_MB,
					    .engine_name = engine,
					    .model_path = path,
					    .max_workers = 1,
					    .context_tokens = 256,
					    /* ThreadSanitizer does not see how the threads of
					     * libraries that it did not build wait for each
					     * other. */
					    .threads = 1 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model *model = NULL;

	assert_ok(pc_pool_add_model(world.pool, &spec, &model, &err), &err);
	return model;
}

static int set_up(void **state)
{
	const struct pc_pool_config config = { .budget_bytes = (uint64_t)BUDGET_MB << 20,
					       .min_residency_ms = 1,
					       .request_timeout_secs = 120 };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_ok(pc_pool_create(&config, &world.pool, &err), &err);
	world.writer = add("writer", PC_CAPABILITY_TEXT_TO_TEXT, "llama", world.demo_model);
	world.embedder = add("embedder", PC_CAPABILITY_TEXT_EMBEDDING, "llama", world.demo_model);
	world.reader = add("reader", PC_CAPABILITY_VISION, "onnx", world.text_reader);
	world.looker = add("looker", PC_CAPABILITY_IMAGE_EMBEDDING, "onnx", world.image_embedder);
	world.painter = add("painter", PC_CAPABILITY_TEXT_TO_IMAGE, "paint", world.words);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pc_pool_destroy(world.pool);
	world.pool = NULL;
	return 0;
}

/* ---- one each ---- */

static double cosine(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

static void write_text(void)
{
	const struct pc_text_request request = {
		.prompt = "The sea", .max_tokens = 12, .temperature = 0.9f, .seed = 7
	};
	struct pc_error err = PC_ERROR_INIT;
	struct pc_text_answer answer, again;

	assert_ok(pc_generate_text(world.writer, &request, NULL, &answer, &err), &err);
	assert_in_range(answer.completion_tokens, 1, 12);
	assert_true(answer.length > 0);
	assert_ok(pc_generate_text(world.writer, &request, NULL, &again, &err), &err);
	assert_string_equal(again.text, answer.text);
	pc_text_answer_fini(&answer);
	pc_text_answer_fini(&again);
}

static void embed_texts(void)
{
	static const char *const texts[] = { "the sea", "the sea", "a law of nature" };
	const struct pc_text_batch batch = { .texts = texts, .count = PC_ARRAY_LEN(texts) };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_vectors vectors;

	assert_ok(pc_embed_texts(world.embedder, &batch, NULL, &vectors, &err), &err);
	assert_int_equal(vectors.rows, 3);
	assert_true(cosine(pc_vectors_row(&vectors, 0), pc_vectors_row(&vectors, 1), vectors.dim) >
		    0.9999);
	assert_true(cosine(pc_vectors_row(&vectors, 0), pc_vectors_row(&vectors, 2), vectors.dim) <
		    0.999);
	pc_vectors_fini(&vectors);
}

/* A page that says WARM in black on white. */
static struct pc_image draw_page(const char *word)
{
	struct canvas canvas = canvas_create(420, 120, 0xffffff);

	canvas_write(&canvas, 40, 32, 8, 0x000000, word);

	struct pc_image page = canvas_png(&canvas);

	canvas_destroy(&canvas);
	return page;
}

static void read_image(void)
{
	struct pc_image page = draw_page("WARM");
	const struct pc_vision_question question = {
		.image = pc_image_from_bytes(page.data, page.length),
	};
	struct pc_error err = PC_ERROR_INIT;
	struct pc_text_answer answer;

	assert_ok(pc_describe_image(world.reader, &question, NULL, &answer, &err), &err);
	assert_string_equal(answer.text, "WARM");
	pc_text_answer_fini(&answer);
	file_destroy(&page);
}

static void embed_images(void)
{
	struct pc_image warm = draw_page("WARM"), cold = draw_page("COLD MODELS");
	const struct pc_image_source images[] = {
		pc_image_from_bytes(warm.data, warm.length),
		pc_image_from_bytes(cold.data, cold.length),
	};
	const struct pc_image_batch batch = { .images = images, .count = PC_ARRAY_LEN(images) };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_vectors vectors;

	assert_ok(pc_embed_images(world.looker, &batch, NULL, &vectors, &err), &err);
	assert_int_equal(vectors.rows, 2);

	const float *first = pc_vectors_row(&vectors, 0), *second = pc_vectors_row(&vectors, 1);

	assert_true(fabs(cosine(first, first, vectors.dim) - 1) < 1e-4);
	assert_true(cosine(first, second, vectors.dim) < 0.9999);
	pc_vectors_fini(&vectors);
	file_destroy(&warm);
	file_destroy(&cold);
}

static void paint(void)
{
	const struct pc_image_request request = { .prompt = "a red circle on a yellow background",
						  .width = 64,
						  .height = 64,
						  .steps = 4,
						  .seed = 3 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_painting painting;

	assert_ok(pc_generate_image(world.painter, &request, NULL, NULL, &painting, &err), &err);
	assert_string_equal(painting.media_type, "image/png");
	assert_int_equal(painting.steps, 4);
	assert_memory_equal(painting.data, "\x89PNG", 4);
	pc_painting_fini(&painting);
}

static void (*const capabilities[])(void) = { write_text, embed_texts, read_image, embed_images,
					      paint };

/* ---- tests ---- */

static void each_capability_has_a_real_engine(void **state)
{
	struct pc_pool_metrics metrics;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(capabilities); i++)
		capabilities[i]();
	pc_pool_get_metrics(world.pool, &metrics);
	assert_int_equal(metrics.workers_spawned, 5);
	assert_int_equal(metrics.workers_evicted, 3); /* two of five fit */
	assert_int_equal(metrics.total_errors, 0);
}

static void *run_all(void *arg)
{
	size_t first = (size_t)(uintptr_t)arg;

	for (size_t i = 0; i < PC_ARRAY_LEN(capabilities); i++)
		capabilities[(first + i) % PC_ARRAY_LEN(capabilities)]();
	return NULL;
}

static void all_of_them_at_once_take_turns(void **state)
{
	pthread_t threads[PC_ARRAY_LEN(capabilities)];
	struct pc_pool_metrics metrics;

	(void)state;
	for (uintptr_t i = 0; i < PC_ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_all, (void *)i), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	pc_pool_get_metrics(world.pool, &metrics);
	assert_int_equal(metrics.total_errors, 0);
	assert_int_equal(metrics.total_timeouts, 0);
	assert_true(pc_pool_total_memory_mb(world.pool) <= BUDGET_MB);
}

/* Reads a piece and cancels; what the next read says. */
static int cancel_a_stream(void)
{
	const struct pc_text_request request = { .prompt = "The sea", .temperature = 1, .seed = 1 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_text_stream *stream;
	const char *chunk;
	size_t length;

	assert_ok(pc_text_stream_open(world.writer, &request, NULL, &stream, &err), &err);
	assert_int_equal(pc_text_stream_next(stream, &chunk, &length, &err), PC_STREAM_CHUNK);
	pc_text_stream_cancel(stream);

	int rc = pc_text_stream_next(stream, &chunk, &length, &err);

	pc_text_stream_close(stream);
	return rc;
}

static void a_stream_of_a_real_model_ends_where_it_is_cancelled(void **state)
{
	int rc;

	(void)state;
	/* On a busy machine an answer may be complete before it is cancelled. */
	for (int tries = 0; tries < 100; tries++) {
		rc = cancel_a_stream();
		if (rc != PC_STREAM_END)
			break;
	}
	assert_int_equal(rc, PC_E_CANCELLED);
	write_text(); /* the slot is free again, and as it was */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_capability_has_a_real_engine, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(all_of_them_at_once_take_turns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stream_of_a_real_model_ends_where_it_is_cancelled,
						set_up, tear_down),
	};
	char folders[1024];

	if (argc != 6) {
		fprintf(stderr, "usage: test_real_engines ENGINES EXAMPLES DEMO_MODEL OCR_MODELS "
				"WORDS\n");
		return 2;
	}
	snprintf(folders, sizeof(folders), "%s:%s", argv[1], argv[2]);
	setenv("POOLCORE_ENGINE_PATH", folders, 1);
	snprintf(world.text_reader, sizeof(world.text_reader), "%s/text-reader", argv[4]);
	snprintf(world.image_embedder, sizeof(world.image_embedder), "%s/image-embedder", argv[4]);
	world.demo_model = argv[3];
	world.words = argv[5];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
