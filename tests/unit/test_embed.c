/* SPDX-License-Identifier: MIT */
/* Unit tests of text and image embedding: pieces, prefixes, vectors, copies, and engines that
 * misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/unit/capability_fixture.h"

/* ---- text embedding ---- */

/* The puppet's vector of a text of `length` bytes, brought to length 1. */
static void assert_vector(const struct pc_vectors *vectors, size_t row, size_t length)
{
	const float *vector = pc_vectors_row(vectors, row);
	double norm = sqrt((double)length * (double)length + 1);

	assert_true(fabs((double)vector[0] - (double)length / norm) < 1e-6);
	assert_true(fabs((double)vector[1] - 1 / norm) < 1e-6);
	assert_true(fpclassify(vector[2]) == FP_ZERO && fpclassify(vector[3]) == FP_ZERO);
}

static void one_text(void **state)
{
	struct pc_vectors vectors;

	(void)state;
	assert_int_equal(pc_embed_text(embedder, "7 bytes", NULL, NULL, &vectors, NULL), 0);
	assert_int_equal(vectors.rows, 1);
	assert_int_equal(vectors.dim, 4);
	assert_int_equal(vectors.tokens, 10);
	assert_vector(&vectors, 0, 7);
	pc_vectors_fini(&vectors);
	assert_null(vectors.data);
	assert_int_equal(vectors.rows, 0);
	pc_vectors_fini(&vectors);
	pc_vectors_fini(NULL);
}

static void a_task_puts_its_prefix_in_front(void **state)
{
	static const char *const texts[] = { "a", "bcd" };
	struct pc_text_batch batch = { texts, 2, "document" };
	struct pc_vectors vectors;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_embed_texts(embedder, &batch, NULL, &vectors, NULL), 0);
	assert_vector(&vectors, 0, strlen("document: a"));
	assert_vector(&vectors, 1, strlen("document: bcd"));
	pc_vectors_fini(&vectors);
	assert_int_equal(pc_embed_text(embedder, "a", "query", NULL, &vectors, NULL), 0);
	assert_vector(&vectors, 0, strlen("q: a"));
	pc_vectors_fini(&vectors);

	int rc = pc_embed_text(embedder, "a", "quary", NULL, &vectors, &err);

	assert_failed(rc, &err, PC_E_INVALID_ARGUMENT, "query");
	assert_contains(err.message, "document");
	assert_contains(err.message, "org/embed");
}

/* Text i is i + 1 bytes long. */
static void make_texts(char storage[100][128], const char *texts[100])
{
	for (size_t i = 0; i < 100; i++) {
		memset(storage[i], 'x', i + 1);
		storage[i][i + 1] = '\0';
		texts[i] = storage[i];
	}
}

static void a_long_batch_goes_in_pieces_and_keeps_its_order(void **state)
{
	static char storage[100][128];
	const char *texts[100];
	struct pc_text_batch batch = { texts, 100, NULL };
	struct pc_vectors vectors;

	(void)state;
	make_texts(storage, texts);
	assert_int_equal(pc_embed_texts(embedder, &batch, NULL, &vectors, NULL), 0);
	assert_int_equal(vectors.rows, 100);
	assert_int_equal(vectors.tokens, 1000);
	for (size_t i = 0; i < 100; i++)
		assert_vector(&vectors, i, i + 1);
	pc_vectors_fini(&vectors);
	assert_int_equal(puppet.calls, 4);
	assert_int_equal(puppet.largest, 32);
}

static void a_long_batch_is_ended_between_its_pieces(void **state)
{
	static char storage[100][128];
	const char *texts[100];
	struct pc_text_batch batch = { texts, 100, NULL };
	struct pc_request_options options = { .timeout_ms = 0 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_vectors vectors = { .rows = 77 };

	(void)state;
	make_texts(storage, texts);
	texts[40] = "fire";
	assert_int_equal(pc_cancel_create(&options.cancel, NULL), 0);
	puppet.fires = options.cancel;

	int rc = pc_embed_texts(embedder, &batch, &options, &vectors, &err);

	assert_failed(rc, &err, PC_E_CANCELLED, "org/embed");
	assert_int_equal(puppet.calls, 2);
	assert_int_equal(vectors.rows, 77);
	pc_cancel_destroy(options.cancel);
}

/* The engine counts within its piece of 32, the caller in the batch. */
static void a_text_that_is_refused_is_named(void **state)
{
	static char storage[100][128];
	const char *texts[100];
	struct pc_text_batch batch = { texts, 100, NULL };
	struct pc_vectors vectors;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	make_texts(storage, texts);
	texts[70] = "lengthy";
	assert_failed(pc_embed_texts(embedder, &batch, NULL, &vectors, &err), &err,
		      PC_E_CONTEXT_EXCEEDED, "'org/embed': the puppet holds less");
	assert_string_equal(pc_error_detail_get(&err, "text_index"), "70");
}

static void no_texts_are_no_rows(void **state)
{
	struct pc_text_batch batch = { NULL, 0, NULL };
	struct pc_vectors vectors = { .rows = 77 };
	struct ended ended;

	(void)state;
	assert_int_equal(pc_embed_texts(embedder, &batch, NULL, &vectors, NULL), 0);
	assert_int_equal(vectors.rows, 0);
	assert_int_equal(vectors.dim, 0);
	assert_null(vectors.data);
	pc_vectors_fini(&vectors);
	begin_async(&ended);
	assert_int_equal(pc_embed_texts_async(embedder, &batch, NULL, &ended.vectors,
					      pc_completion_post, &ended, NULL),
			 0);
	assert_int_equal(await(&ended)->code, 0);
	assert_int_equal(ended.vectors.rows, 0);
	assert_int_equal(puppet.loads, 0);
	/* A task that is not there is still a mistake. */
	batch.task = "quary";
	assert_int_equal(pc_embed_texts(embedder, &batch, NULL, &vectors, NULL),
			 PC_E_INVALID_ARGUMENT);
}

static void texts_are_copied_for_later(void **state)
{
	char first[] = "gate", second[] = "hello";
	const char *texts[] = { first, second };
	struct pc_text_batch batch = { texts, 2, NULL };
	struct ended ended;

	(void)state;
	begin_async(&ended);
	assert_int_equal(pc_embed_texts_async(embedder, &batch, NULL, &ended.vectors,
					      pc_completion_post, &ended, NULL),
			 0);
	puppet_await_gate(1);
	memset(second, '\0', sizeof(second));
	texts[0] = texts[1] = NULL;
	puppet_open_gate(1);
	assert_int_equal(await(&ended)->code, 0);
	assert_int_equal(ended.vectors.rows, 2);
	assert_vector(&ended.vectors, 1, 5);
	pc_vectors_fini(&ended.vectors);
}

static void what_an_engine_did_wrong_with_texts(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *says;
	} cases[] = {
		{ "fail", PC_E_MODEL_ERROR, "'org/embed': the puppet was told to fail" },
		{ "silent", PC_E_MODEL_ERROR, "'org/embed': the model failed on this request" },
		{ "cannot", PC_E_UNSUPPORTED, "'org/embed': the puppet cannot do this" },
		{ "seven", PC_E_MODEL_ERROR, "the engine returned 7" },
		{ "desert", PC_E_MODEL_ERROR, "broke off without being asked" },
		{ "nowhere", PC_E_MODEL_ERROR, "vector 1 has no direction: it is all zeros" },
		{ "nan", PC_E_MODEL_ERROR, "vector 1 has no direction: it is not of numbers" },
	};
	struct pc_model *flat = puppet_model(pool, "org/flat", PC_CAPABILITY_TEXT_EMBEDDING,
					     "flat");
	struct pc_vectors vectors;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		const char *texts[] = { "good", cases[i].text };
		struct pc_text_batch batch = { texts, 2, NULL };
		struct ended ended;

		pc_error_clear(&err);
		int rc = pc_embed_texts(embedder, &batch, NULL, &vectors, &err);

		assert_failed(rc, &err, cases[i].code, cases[i].says);
		if (i == 0)
			assert_string_equal(pc_error_detail_get(&err, "strings"), "4");
		/* The worker is fine, and nobody has to want to know. */
		assert_int_equal(pc_embed_texts(embedder, &batch, NULL, &vectors, NULL),
				 cases[i].code);
		begin_async(&ended);
		assert_int_equal(pc_embed_texts_async(embedder, &batch, NULL, &ended.vectors,
						      pc_completion_post, &ended, NULL),
				 0);
		assert_int_equal(await(&ended)->code, cases[i].code);
		assert_null(ended.vectors.data);
	}
	pc_error_clear(&err);
	assert_failed(pc_embed_text(flat, "a", NULL, NULL, &vectors, &err), &err, PC_E_MODEL_ERROR,
		      "'org/flat': the engine says that its vectors have no dimensions");
}

static void texts_that_are_refused(void **state)
{
	static char long_text[PC_TEXT_MAX_BYTES + 2];
	struct pc_text_batch batch = { NULL, 1, NULL };
	struct pc_vectors vectors;
	struct pc_error err = PC_ERROR_INIT;
	const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{ NULL, "is NULL" },
		{ "", "is empty" },
		{ long_text, "is longer than 16 MiB" },
		{ "abc\xff", "is not UTF-8 at byte 3" },
	};

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		const char *texts[] = { "good", cases[i].text };
		struct pc_text_batch two = { texts, 2, NULL };
		char says[64];

		pc_error_clear(&err);
		snprintf(says, sizeof(says), "'org/embed': the text %s", cases[i].says);
		assert_failed(pc_embed_text(embedder, cases[i].text, NULL, NULL, &vectors, &err),
			      &err, PC_E_INVALID_ARGUMENT, says);
		pc_error_clear(&err);
		snprintf(says, sizeof(says), "'org/embed': text 1 %s", cases[i].says);
		assert_failed(pc_embed_texts(embedder, &two, NULL, &vectors, &err), &err,
			      PC_E_INVALID_ARGUMENT, says);
	}
	/* One byte less is a text. */
	long_text[PC_TEXT_MAX_BYTES] = '\0';
	assert_int_equal(pc_embed_text(embedder, long_text, NULL, NULL, &vectors, NULL), 0);
	pc_vectors_fini(&vectors);

	pc_error_clear(&err);
	assert_failed(pc_embed_texts(embedder, &batch, NULL, &vectors, &err), &err,
		      PC_E_INVALID_ARGUMENT, "no text was given");
	assert_int_equal(pc_embed_texts(embedder, NULL, NULL, &vectors, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_embed_text(embedder, "a", NULL, NULL, NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_embed_text(NULL, "a", NULL, NULL, &vectors, NULL),
			 PC_E_INVALID_ARGUMENT);
	batch.count = 0;
	assert_int_equal(pc_embed_texts_async(embedder, &batch, NULL, &vectors, NULL, NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(
		pc_embed_texts_async(embedder, &batch, NULL, NULL, pc_completion_post, NULL, NULL),
		PC_E_INVALID_ARGUMENT);
}

/* ---- image embedding ---- */

static void images(void **state)
{
	struct pc_image_source source = pc_image_from_base64("cGl4ZWxz");
	struct pc_image_source sources[20];
	struct pc_image_batch batch = { sources, 20 };
	struct pc_vectors vectors;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_embed_image(eye, &source, NULL, &vectors, NULL), 0);
	assert_int_equal(vectors.rows, 1);
	assert_int_equal(vectors.dim, 4);
	assert_int_equal(vectors.tokens, 0);
	assert_vector(&vectors, 0, 6);
	pc_vectors_fini(&vectors);

	for (size_t i = 0; i < 20; i++)
		sources[i] = pc_image_from_bytes("pixels and more pixels", i + 1);
	puppet_reset();
	assert_int_equal(pc_embed_images(eye, &batch, NULL, &vectors, NULL), 0);
	for (size_t i = 0; i < 20; i++)
		assert_vector(&vectors, i, i + 1);
	pc_vectors_fini(&vectors);
	assert_int_equal(puppet.largest, 8);
	assert_int_equal(puppet.calls, 3);

	/* The engine counts within its piece of eight, the caller in the batch. */
	sources[13] = pc_image_from_bytes("bad", 3);
	assert_failed(pc_embed_images(eye, &batch, NULL, &vectors, &err), &err,
		      PC_E_INVALID_REQUEST, "'org/eye': not an image of a known kind");
	assert_string_equal(pc_error_detail_get(&err, "image_index"), "13");
	sources[2] = pc_image_from_bytes("", 0);
	pc_error_clear(&err);
	assert_failed(pc_embed_images(eye, &batch, NULL, &vectors, &err), &err,
		      PC_E_INVALID_ARGUMENT, "'org/eye': image 2: it is empty");

	batch.count = 0;
	assert_int_equal(pc_embed_images(eye, &batch, NULL, &vectors, NULL), 0);
	assert_int_equal(vectors.rows, 0);
	batch = (struct pc_image_batch){ NULL, 1 };
	assert_int_equal(pc_embed_images(eye, &batch, NULL, &vectors, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_embed_images(eye, NULL, NULL, &vectors, NULL), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_failed(pc_embed_image(eye, NULL, NULL, &vectors, &err), &err, PC_E_INVALID_ARGUMENT,
		      "no image was given");
}

static void images_are_copied_for_later(void **state)
{
	char bytes[] = "pixels";
	struct pc_image_source source = pc_image_from_bytes(bytes, 3);
	struct pc_image_batch batch = { &source, 1 };
	struct ended ended;

	(void)state;
	memcpy(bytes, "bad", 3);
	begin_async(&ended);
	assert_int_equal(pc_embed_images_async(eye, &batch, NULL, &ended.vectors,
					       pc_completion_post, &ended, NULL),
			 0);
	memcpy(bytes, "pix", 3);
	assert_int_equal(await(&ended)->code, PC_E_INVALID_REQUEST);
	assert_string_equal(pc_error_detail_get(&ended.completion.err, "image_index"), "0");
	begin_async(&ended);
	assert_int_equal(pc_embed_images_async(eye, &batch, NULL, &ended.vectors,
					       pc_completion_post, &ended, NULL),
			 0);
	assert_int_equal(await(&ended)->code, 0);
	assert_vector(&ended.vectors, 0, 3);
	pc_vectors_fini(&ended.vectors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(one_text),
		TEST(a_task_puts_its_prefix_in_front),
		TEST(a_long_batch_goes_in_pieces_and_keeps_its_order),
		TEST(a_long_batch_is_ended_between_its_pieces),
		TEST(a_text_that_is_refused_is_named),
		TEST(no_texts_are_no_rows),
		TEST(texts_are_copied_for_later),
		TEST(what_an_engine_did_wrong_with_texts),
		TEST(texts_that_are_refused),
		TEST(images),
		TEST(images_are_copied_for_later),
	};

	return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
