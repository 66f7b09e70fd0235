/* SPDX-License-Identifier: MIT */
/*
 * The onnx plug-in through pc_engine_open, with ONNX Runtime and PaddleOCR's models: arguments are
 * the folder of the plug-in and the folder of the models. What it looks at is drawn here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <poolcore/text.h>

#include "draw.h"

#define SLOTS 2
#define DIM 384 /* channels of the last layer of the detector's trunk */

/* Letters of 28 pixels; from 21 to 56 the reader took none of them for another. */
#define LETTER_SCALE 4

static const char *models;
static const struct pc_engine *engine;
static struct pc_engine_instance *reader, *embedder; /* SLOTS slots each */
static struct pc_image page;			     /* three lines, see draw_page */

static const char *model_path(const char *name, const char *file)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s%s%s", models, name, *file ? "/" : "", file);
	return path;
}

static struct pc_engine_instance *load_one(enum pc_capability capability, const char *name)
{
	struct pc_engine_spec spec = {
		.size = sizeof(spec),
		.capability = capability,
		.model_path = model_path(name, ""),
		.slots = SLOTS,
		.threads = 1,
	};
	struct pc_engine_instance *instance = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (engine->load(&spec, &instance, &err))
		fprintf(stderr, "%s\n", err.message);
	return instance;
}

static struct pc_image draw(const char *first, const char *second, const char *third)
{
	struct canvas canvas = canvas_create(290, 160, 0xffffff);

	canvas_write(&canvas, 20, 15, LETTER_SCALE, 0, first);
	canvas_write(&canvas, 20, 65, LETTER_SCALE, 0xaa1010, second);
	canvas_write(&canvas, 20, 115, LETTER_SCALE, 0x1010aa, third);
	struct pc_image file = canvas_png(&canvas);

	canvas_destroy(&canvas);
	return file;
}

static int load_models(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	if (pc_engine_open("onnx", &engine, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	reader = load_one(PC_CAPABILITY_VISION, "text-reader");
	embedder = load_one(PC_CAPABILITY_IMAGE_EMBEDDING, "image-embedder");
	page = draw("HELLO POOL", "1987", "RIGHT");
	return reader && embedder ? 0 : -1;
}

static int unload_models(void **state)
{
	(void)state;
	file_destroy(&page);
	engine->unload(reader);
	engine->unload(embedder);
	engine->unload(NULL);
	return 0;
}

/* ---- a sink that keeps what it gets ---- */

struct heard {
	char text[4096];
	size_t length;
	unsigned chunks;
	unsigned asked;
	unsigned stop_after; /* chunks, and then stopped() says so; UINT_MAX: never */
	/* What stopped() does by the way, and at which of its calls. */
	unsigned cancel_at;
	uint32_t cancel_slot;
};

static void hear(void *ctx, const char *text, size_t length)
{
	struct heard *heard = ctx;

	assert_true(length > 0 && heard->length + length < sizeof(heard->text));
	assert_int_equal(pc_utf8_valid_prefix(text, length), length);
	memcpy(heard->text + heard->length, text, length);
	heard->length += length;
	heard->text[heard->length] = '\0';
	heard->chunks++;
}

static bool has_enough(void *ctx)
{
	struct heard *heard = ctx;

	if (++heard->asked == heard->cancel_at)
		engine->cancel(reader, heard->cancel_slot);
	return heard->chunks >= heard->stop_after;
}

static int read_by(struct pc_engine_instance *instance, uint32_t slot, struct pc_image file,
		   uint32_t max_tokens, struct heard *heard, struct pc_text_result *result,
		   struct pc_error *err)
{
	struct pc_vision_request request = { .size = sizeof(request),
					     .image = file,
					     .prompt = "What does it say?",
					     .max_tokens = max_tokens };
	struct pc_text_sink sink = {
		.size = sizeof(sink), .chunk = hear, .stopped = has_enough, .ctx = heard
	};

	result->size = sizeof(*result);
	return engine->describe_image(instance, slot, &request, &sink, result, err);
}

/* Reads an image that can be read. */
static struct pc_text_result read_text(struct pc_image file, uint32_t max_tokens,
				       struct heard *heard)
{
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;

	if (read_by(reader, 0, file, max_tokens, heard, &result, &err))
		fail_msg("%s", err.message);
	return result;
}

#define LISTENING \
	{ \
		.stop_after = UINT_MAX \
	}

/* ---- describing ---- */

static uint64_t file_bytes(const char *name, const char *file)
{
	struct stat st;

	assert_int_equal(stat(model_path(name, file), &st), 0);
	return (uint64_t)st.st_size;
}

static void it_describes_itself(void **state)
{
	struct pc_engine_description d = { .size = sizeof(d) };

	(void)state;
	assert_string_equal(engine->name, "onnx");
	assert_true(engine->version[0] >= '1' && engine->version[0] <= '9');
	engine->describe(reader, &d);
	assert_int_equal(d.embedding_dim, 0);
	assert_int_equal(d.context_tokens, 0);
	assert_int_equal(d.memory_bytes, file_bytes("text-reader", "detector.onnx") +
						 file_bytes("text-reader", "recognizer.onnx"));
	assert_non_null(strstr(d.text, "PP-OCRv4 mobile, text reader on ONNX Runtime "));
	assert_non_null(strstr(d.text, engine->version));
	engine->describe(embedder, &d);
	assert_int_equal(d.embedding_dim, DIM);
	assert_int_equal(d.memory_bytes, file_bytes("image-embedder", "features.onnx"));
}

static void a_smaller_description_is_filled_to_its_size(void **state)
{
	struct pc_engine_description d;

	(void)state;
	memset(&d, 0x55, sizeof(d));
	d.size = offsetof(struct pc_engine_description, memory_bytes);
	engine->describe(embedder, &d);
	assert_int_equal(d.embedding_dim, DIM);
	assert_int_equal(d.memory_bytes, 0x5555555555555555);
	assert_int_equal(d.size, offsetof(struct pc_engine_description, memory_bytes));
}

/* ---- reading ---- */

static void text_is_read_line_by_line(void **state)
{
	struct heard heard = LISTENING;
	struct pc_text_result result = read_text(page, 0, &heard);

	(void)state;
	assert_string_equal(heard.text, "HELLO POOL\n1987\nRIGHT");
	assert_int_equal(heard.chunks, 3);
	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	assert_int_equal(result.prompt_tokens, 0);
	assert_int_equal(result.completion_tokens, heard.length);
	assert_true(heard.asked >= 3);
}

static void what_stands_side_by_side_is_one_line(void **state)
{
	struct canvas canvas = canvas_create(420, 170, 0x203040);
	struct heard heard = LISTENING;

	(void)state;
	/* Drawn from the last to the first. */
	canvas_write(&canvas, 30, 110, LETTER_SCALE, 0xffffff, "WARM");
	canvas_write(&canvas, 260, 33, LETTER_SCALE, 0xffff80, "RIGHT");
	canvas_write(&canvas, 30, 30, LETTER_SCALE, 0xffffff, "POOL");
	struct pc_image file = canvas_jpeg(&canvas, JPEG_PROGRESSIVE);

	read_text(file, 0, &heard);
	assert_string_equal(heard.text, "POOL RIGHT\nWARM");
	assert_int_equal(heard.chunks, 2);
	file_destroy(&file);
	canvas_destroy(&canvas);
}

/* Larger than what the detector takes: it is shrunk to find the text, not to read it. */
static void a_large_image_is_read(void **state)
{
	struct canvas canvas = canvas_create(2000, 1200, 0xffffff);
	struct heard heard = LISTENING;

	(void)state;
	canvas_write(&canvas, 1100, 900, 12, 0, "HELLO POOL");
	struct pc_image file = canvas_png(&canvas);

	read_text(file, 0, &heard);
	assert_string_equal(heard.text, "HELLO POOL");
	file_destroy(&file);
	canvas_destroy(&canvas);
}

static void an_image_without_text_has_an_empty_answer(void **state)
{
	static const uint32_t sizes[][2] = { { 400, 300 }, { 1, 1 }, { 5, 3000 }, { 3000, 5 } };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(sizes); i++) {
		struct canvas canvas = canvas_create(sizes[i][0], sizes[i][1], 0x80a0c0);
		struct pc_image file = canvas_png(&canvas);
		struct heard heard = LISTENING;
		struct pc_text_result result = read_text(file, 0, &heard);

		assert_int_equal(heard.chunks, 0);
		assert_int_equal(result.completion_tokens, 0);
		assert_int_equal(result.finish_reason, PC_FINISH_STOP);
		file_destroy(&file);
		canvas_destroy(&canvas);
	}
}

static void max_tokens_bounds_the_characters(void **state)
{
	static const struct {
		uint32_t most;
		const char *text;
		enum pc_finish_reason reason;
	} cases[] = {
		{ 1, "H", PC_FINISH_LENGTH },
		{ 5, "HELLO", PC_FINISH_LENGTH },
		{ 10, "HELLO POOL", PC_FINISH_LENGTH },
		{ 11, "HELLO POOL\n", PC_FINISH_LENGTH },
		{ 20, "HELLO POOL\n1987\nRIGH", PC_FINISH_LENGTH },
		{ 21, "HELLO POOL\n1987\nRIGHT", PC_FINISH_STOP },
		{ UINT32_MAX, "HELLO POOL\n1987\nRIGHT", PC_FINISH_STOP },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct heard heard = LISTENING;
		struct pc_text_result result = read_text(page, cases[i].most, &heard);

		assert_string_equal(heard.text, cases[i].text);
		assert_int_equal(result.finish_reason, cases[i].reason);
		assert_int_equal(result.completion_tokens, strlen(cases[i].text));
	}
}

/* ---- ending early ---- */

static void a_host_that_has_enough_is_obeyed_between_lines(void **state)
{
	static const char *const texts[] = { "", "HELLO POOL", "HELLO POOL\n1987" };

	(void)state;
	for (unsigned lines = 0; lines < PC_ARRAY_LEN(texts); lines++) {
		struct heard heard = { .stop_after = lines };
		struct pc_text_result result = read_text(page, 0, &heard);

		assert_string_equal(heard.text, texts[lines]);
		assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
	}
}

/*
 * stopped() is asked before the detector runs and before each line: to cancel there is to cancel
 * with a run ahead, which ONNX Runtime has to give up.
 */
static void a_cancelled_call_ends_and_the_next_does_not(void **state)
{
	static const char *const texts[] = { "", "", "HELLO POOL", "HELLO POOL\n1987" };

	(void)state;
	for (unsigned i = 0; i < PC_ARRAY_LEN(texts); i++) {
		struct heard heard = { .stop_after = UINT_MAX, .cancel_at = i + 1 };
		struct heard again = LISTENING;
		struct pc_text_result result = read_text(page, 0, &heard);

		assert_string_equal(heard.text, texts[i]);
		assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
		engine->cancel(reader, 0); /* nothing runs there */
		result = read_text(page, 0, &again);
		assert_string_equal(again.text, "HELLO POOL\n1987\nRIGHT");
		assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	}
}

static void cancelling_another_slot_ends_nothing_here(void **state)
{
	struct heard heard = { .stop_after = UINT_MAX, .cancel_at = 1, .cancel_slot = 1 };
	struct pc_text_result result = read_text(page, 0, &heard);

	(void)state;
	assert_string_equal(heard.text, "HELLO POOL\n1987\nRIGHT");
	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	engine->cancel(reader, SLOTS); /* there is no such slot */
	engine->cancel(reader, UINT32_MAX);
}

struct batch {
	struct pc_image *images;
	size_t count;
	float *vectors;
	struct pc_error err;
	int rc;
	_Atomic bool done; /* [release by the thread, acquire by the test] */
};

static void *embed_batch(void *ctx)
{
	struct batch *batch = ctx;

	batch->rc = engine->embed_image(embedder, 1, batch->images, batch->count, batch->vectors,
					&batch->err);
	atomic_store_explicit(&batch->done, true, memory_order_release);
	return NULL;
}

/* A batch of minutes, which can only end by being cancelled; and cancelled it is from the start. */
static void a_batch_can_be_cancelled_from_another_thread(void **state)
{
	enum { COUNT = 20000 };
	struct batch batch = { .count = COUNT, .err = PC_ERROR_INIT };
	pthread_t thread;

	(void)state;
	batch.images = calloc(COUNT, sizeof(*batch.images));
	batch.vectors = calloc((size_t)COUNT * DIM, sizeof(*batch.vectors));
	assert_non_null(batch.images);
	assert_non_null(batch.vectors);
	for (size_t i = 0; i < COUNT; i++)
		batch.images[i] = page;
	assert_int_equal(pthread_create(&thread, NULL, embed_batch, &batch), 0);
	while (!atomic_load_explicit(&batch.done, memory_order_acquire)) {
		engine->cancel(embedder, 1);
		sched_yield();
	}
	pthread_join(thread, NULL);
	assert_int_equal(batch.rc, PC_E_CANCELLED);
	assert_non_null(strstr(batch.err.message, "of 20000"));

	/* The slot is as good as new. */
	batch.count = 1;
	batch.err = (struct pc_error)PC_ERROR_INIT;
	embed_batch(&batch);
	assert_int_equal(batch.rc, 0);
	free(batch.images);
	free(batch.vectors);
}

/* ---- embedding ---- */

static double dot(const float *a, const float *b)
{
	double sum = 0;

	for (size_t i = 0; i < DIM; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static void embed(const struct pc_image *images, size_t count, float *vectors)
{
	struct pc_error err = PC_ERROR_INIT;

	if (engine->embed_image(embedder, 0, images, count, vectors, &err))
		fail_msg("%s", err.message);
}

static void images_become_vectors(void **state)
{
	static float batch[4][DIM], single[4][DIM];
	struct canvas red = canvas_create(300, 200, 0xd02020);
	struct canvas bars = canvas_create(300, 200, 0xffffff);
	struct pc_image files[4] = { draw("HELLO POOL", "1987", "RIGHT") };

	(void)state;
	for (uint32_t x = 0; x < 300; x += 20)
		canvas_fill(&bars, x, 0, 10, 200, 0x008040);
	files[1] = canvas_png(&red);
	files[2] = canvas_png(&bars);
	files[3] = canvas_jpeg(&bars, JPEG_BASELINE);
	embed(files, 4, batch[0]);
	for (size_t i = 0; i < 4; i++) {
		embed(&files[i], 1, single[i]);
		assert_float_equal(dot(batch[i], batch[i]), 1, 1e-5);
		/* A neighbour makes no difference, not even to the last bit. */
		assert_memory_equal(batch[i], single[i], sizeof(single[i]));
	}
	assert_true(dot(batch[0], batch[1]) < 0.95);
	assert_true(dot(batch[0], batch[2]) < 0.95);
	assert_true(dot(batch[1], batch[2]) < 0.95);
	/* Another file of the same image is nearer than another image. */
	assert_true(dot(batch[2], batch[3]) > 0.99);
	embed(NULL, 0, NULL); /* no image, no vector */
	for (size_t i = 0; i < 4; i++)
		file_destroy(&files[i]);
	canvas_destroy(&red);
	canvas_destroy(&bars);
}

/* ---- what is wrong ---- */

static void a_bad_image_is_refused(void **state)
{
	struct pc_image cut = { page.data, page.length / 2 }, none = { NULL, 0 };
	struct pc_image text = { "no image", 8 };
	struct pc_image batch[] = { page, page, text };
	static float vectors[3 * DIM];
	struct heard heard = LISTENING;
	struct pc_text_result result = { .size = sizeof(result), .completion_tokens = 77 };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(read_by(reader, 0, cut, 0, &heard, &result, &err), PC_E_INVALID_REQUEST);
	assert_non_null(strstr(err.message, "the PNG image cannot be read"));
	pc_error_clear(&err);
	assert_int_equal(read_by(reader, 0, none, 0, &heard, &result, &err), PC_E_INVALID_REQUEST);
	assert_string_equal(err.message, "the image is empty");
	assert_int_equal(heard.chunks, 0);
	assert_int_equal(result.completion_tokens, 77);

	pc_error_clear(&err);
	assert_int_equal(engine->embed_image(embedder, 0, batch, 3, vectors, &err),
			 PC_E_INVALID_REQUEST);
	assert_non_null(strstr(err.message, "image 3 of 3: the image of 8 bytes is neither PNG"));
	assert_string_equal(pc_error_detail_get(&err, "image_index"), "2");
}

static void a_bad_call_is_refused(void **state)
{
	struct heard heard = LISTENING;
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;
	float vector[DIM];

	(void)state;
	assert_int_equal(read_by(reader, SLOTS, page, 0, &heard, &result, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "slot 2 of 2");
	pc_error_clear(&err);
	assert_int_equal(read_by(embedder, 0, page, 0, &heard, &result, &err), PC_E_UNSUPPORTED);
	assert_string_equal(err.message, "the model embeds images and has no words for them");
	pc_error_clear(&err);
	assert_int_equal(engine->embed_image(reader, 0, &page, 1, vector, &err), PC_E_UNSUPPORTED);
	assert_string_equal(err.message, "the model reads text and has no embeddings");
	pc_error_clear(&err);
	assert_int_equal(engine->embed_image(embedder, SLOTS, &page, 1, vector, &err),
			 PC_E_INVALID_ARGUMENT);

	struct pc_vision_request request = { .size = sizeof(request) - 1, .image = page };
	struct pc_text_sink sink = { .size = sizeof(sink), .chunk = hear, .ctx = &heard };

	assert_int_equal(engine->describe_image(reader, 0, &request, &sink, &result, NULL),
			 PC_E_INVALID_ARGUMENT);
	request.size = sizeof(request);
	sink.chunk = NULL;
	assert_int_equal(engine->describe_image(reader, 0, &request, &sink, &result, NULL),
			 PC_E_INVALID_ARGUMENT);
	/* A sink need not be able to stop. */
	sink.chunk = hear;
	assert_int_equal(engine->describe_image(reader, 0, &request, &sink, &result, NULL), 0);
	assert_string_equal(heard.text, "HELLO POOL\n1987\nRIGHT");
}

/* ---- two at once ---- */

struct caller {
	uint32_t slot;
	struct pc_image file;
	const char *text;
	const float *vector;
	bool wrong;
};

static void *call_often(void *ctx)
{
	struct caller *caller = ctx;
	float vector[DIM];

	for (int i = 0; i < 3; i++) {
		struct heard heard = LISTENING;
		struct pc_text_result result;

		caller->wrong |= read_by(reader, caller->slot, caller->file, 0, &heard, &result,
					 NULL) != 0 ||
				 strcmp(heard.text, caller->text) != 0;
		caller->wrong |= engine->embed_image(embedder, caller->slot, &caller->file, 1,
						     vector, NULL) != 0 ||
				 memcmp(vector, caller->vector, sizeof(vector)) != 0;
	}
	return NULL;
}

static void slots_are_independent(void **state)
{
	static float vectors[SLOTS][DIM];
	struct pc_image other = draw("WARM", "POOL", "HELLO");
	struct caller callers[SLOTS] = {
		{ 0, page, "HELLO POOL\n1987\nRIGHT", vectors[0], false },
		{ 1, other, "WARM\nPOOL\nHELLO", vectors[1], false },
	};
	pthread_t threads[SLOTS];

	(void)state;
	for (size_t i = 0; i < SLOTS; i++)
		embed(&callers[i].file, 1, vectors[i]);
	for (size_t i = 0; i < SLOTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
	for (size_t i = 0; i < SLOTS; i++) {
		pthread_join(threads[i], NULL);
		assert_false(callers[i].wrong);
	}
	file_destroy(&other);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_describes_itself),
		cmocka_unit_test(a_smaller_description_is_filled_to_its_size),
		cmocka_unit_test(text_is_read_line_by_line),
		cmocka_unit_test(what_stands_side_by_side_is_one_line),
		cmocka_unit_test(a_large_image_is_read),
		cmocka_unit_test(an_image_without_text_has_an_empty_answer),
		cmocka_unit_test(max_tokens_bounds_the_characters),
		cmocka_unit_test(a_host_that_has_enough_is_obeyed_between_lines),
		cmocka_unit_test(a_cancelled_call_ends_and_the_next_does_not),
		cmocka_unit_test(cancelling_another_slot_ends_nothing_here),
		cmocka_unit_test(a_batch_can_be_cancelled_from_another_thread),
		cmocka_unit_test(images_become_vectors),
		cmocka_unit_test(a_bad_image_is_refused),
		cmocka_unit_test(a_bad_call_is_refused),
		cmocka_unit_test(slots_are_independent),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: %s ENGINE_FOLDER MODELS_FOLDER\n", argv[0]);
		return 2;
	}
	setenv("POOLCORE_ENGINE_PATH", argv[1], 1);
	models = argv[2];
	return cmocka_run_group_tests(tests, load_models, unload_models);
}
