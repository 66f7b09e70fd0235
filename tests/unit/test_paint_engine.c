/* SPDX-License-Identifier: MIT */
/*
 * The paint plug-in as a host sees it: requests, sinks, steps, slots, errors. Two tests look
 * inside, with the plug-in's own files linked: how far the sheet is from its target, and what
 * happens when there is no memory. Arguments: the folder of the plug-in and its file of words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "examples/paint/paint.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/paint_fixture.h"

#define PROMPT "a red circle above two small blue squares on a yellow background"

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host);

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

/* ---- loading ---- */

static void it_says_what_it_is(void **state)
{
	struct pc_engine_description description;

	(void)state;
	assert_int_equal(engine->abi, PC_ENGINE_ABI);
	assert_string_equal(engine->name, "paint");
	assert_int_equal(engine->capabilities, 1u << PC_CAPABILITY_TEXT_TO_IMAGE);
	assert_int_equal(engine->flags, 0);

	memset(&description, 0xaa, sizeof(description));
	description.size = sizeof(description);
	engine->describe(model, &description);
	assert_int_equal(description.size, sizeof(description));
	assert_int_equal(description.embedding_dim, 0);
	assert_true(description.memory_bytes > 1000 && description.memory_bytes < 1 << 20);
	assert_true(description.parameter_count > 50);
	assert_contains(description.text, "paint, ");

	/* An older host has no room for more. */
	memset(&description, 0xaa, sizeof(description));
	description.size = offsetof(struct pc_engine_description, memory_bytes);
	engine->describe(model, &description);
	assert_int_equal(description.context_tokens, 0);
	assert_int_equal(description.memory_bytes, UINT64_C(0xaaaaaaaaaaaaaaaa));
}

static void strange_hosts_are_refused(void **state)
{
	struct pc_engine_host host = { .size = sizeof(host) };

	(void)state;
	assert_non_null(pc_engine_entry(PC_ENGINE_ABI, &host));
	assert_null(pc_engine_entry(PC_ENGINE_ABI + 1, &host));
	host.size = offsetof(struct pc_engine_host, log);
	assert_null(pc_engine_entry(PC_ENGINE_ABI, &host));
}

static bool refuse_at(void *ctx, float fraction)
{
	return fraction < *(const float *)ctx;
}

static int load_with(const struct pc_engine_spec *spec, struct pc_error *err)
{
	struct pc_engine_instance *instance = (struct pc_engine_instance *)err;

	pc_error_clear(err);
	int rc = engine->load(spec, &instance, err);

	if (rc)
		assert_ptr_equal(instance, err); /* outputs are written on success only */
	else
		engine->unload(instance);
	return rc;
}

static void bad_specs_are_refused(void **state)
{
	struct pc_engine_spec spec = spec_of(words_path);
	struct pc_error err;
	float limit = 0;

	(void)state;
	spec.progress = refuse_at;
	spec.progress_ctx = &limit;
	assert_int_equal(load_with(&spec, &err), PC_E_CANCELLED);
	limit = 1;
	assert_int_equal(load_with(&spec, &err), PC_E_CANCELLED);
	assert_contains(err.message, words_path);
	limit = 2;
	assert_int_equal(load_with(&spec, &err), 0);

	spec = spec_of(words_path);
	spec.slots = 0;
	assert_int_equal(load_with(&spec, &err), PC_E_INVALID_ARGUMENT);
	spec.slots = 65;
	assert_int_equal(load_with(&spec, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "65 slots: 1 to 64 are possible");

	spec = spec_of(words_path);
	spec.capability = PC_CAPABILITY_VISION;
	assert_int_equal(load_with(&spec, &err), PC_E_UNSUPPORTED);
	assert_contains(err.message, "serves text_to_image, not vision");

	spec = spec_of(NULL);
	assert_int_equal(load_with(&spec, &err), PC_E_INVALID_ARGUMENT);
	spec = spec_of("/nowhere/words.paint");
	assert_int_equal(load_with(&spec, &err), PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "/nowhere/words.paint");
}

/* ---- requests ---- */

static void the_chunks_are_one_png(void **state)
{
	static const unsigned char signature[] = { 137, 'P', 'N', 'G', 13, 10, 26, 10 };
	static const unsigned char end[] = {
		0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82
	};
	struct pc_image_request request = ask(PROMPT, 1);
	struct file *file = make_file(-1);

	(void)state;
	request.width = 300;
	request.height = 200;
	struct pc_image_result result = paint_file(&request, file);
	struct picture picture = decode(file);

	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	assert_string_equal(result.media_type, "image/png");
	assert_int_equal(result.size, sizeof(result));
	assert_int_equal(result.width, 300);
	assert_int_equal(result.height, 200);
	assert_int_equal(picture.width, 300);
	assert_int_equal(picture.height, 200);
	assert_true(file->chunks > 1);
	assert_int_equal(file->empty_chunks, 0);
	assert_memory_equal(file->bytes, signature, sizeof(signature));
	assert_memory_equal(file->bytes + file->length - sizeof(end), end, sizeof(end));
	free(picture.pixels);
	free(file);
}

static void zeros_are_the_engines_own(void **state)
{
	struct pc_image_request request = ask("a red circle", 1), same = request;
	struct file *file = make_file(-1), *other = make_file(-1);

	(void)state;
	request.width = request.height = request.steps = 0;
	same.width = same.height = 256;
	same.steps = 20;
	same.guidance = 0.9f;
	struct pc_image_result result = paint_file(&request, file);

	assert_int_equal(result.width, 256);
	assert_int_equal(result.height, 256);
	assert_int_equal(result.steps, 20);
	paint_file(&same, other);
	assert_int_equal(file->length, other->length);
	assert_memory_equal(file->bytes, other->bytes, file->length);
	free(file);
	free(other);
}

static void the_smallest_and_the_longest_are_painted(void **state)
{
	static const uint32_t sizes[][2] = {
		{ 1, 1 }, { 1, 64 }, { 64, 1 }, { 2048, 3 }, { 3, 2048 }
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(sizes); i++) {
		struct pc_image_request request = ask(PROMPT, 1);

		request.width = sizes[i][0];
		request.height = sizes[i][1];
		request.steps = 1 + (i % 2) * 12;
		struct picture picture = paint_request(&request);

		assert_int_equal(picture.width, sizes[i][0]);
		assert_int_equal(picture.height, sizes[i][1]);
		free(picture.pixels);
	}
}

static void the_seed_and_the_request_decide_all(void **state)
{
	struct pc_image_request request = ask(PROMPT, 5);
	struct file *first = make_file(-1);
	struct pc_image_result result;

	(void)state;
	paint_file(&request, first);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		struct file *again = make_file(-1);

		assert_int_equal(run(slot, &request, again, &result, NULL), 0);
		assert_int_equal(again->length, first->length);
		assert_memory_equal(again->bytes, first->bytes, first->length);
		free(again);
	}
	struct file *other = make_file(-1);

	request.seed = 6;
	paint_file(&request, other);
	assert_true(other->length != first->length ||
		    memcmp(other->bytes, first->bytes, first->length) != 0);
	free(other);
	free(first);
}

static void bad_requests_name_the_member(void **state)
{
	static char long_prompt[4098];
	static const struct {
		struct pc_image_request request;
		const char *says;
	} rows[] = {
		{ { .prompt = NULL }, "prompt is empty" },
		{ { .prompt = "" }, "prompt is empty" },
		{ { .prompt = "a \xff circle" }, "prompt is not UTF-8 at byte 2" },
		{ { .prompt = long_prompt }, "prompt is longer than 4096 bytes" },
		{ { .prompt = "x", .negative_prompt = "\x80" }, "negative_prompt is not UTF-8" },
		{ { .prompt = "x", .negative_prompt = long_prompt },
		  "negative_prompt is longer than 4096 bytes" },
		{ { .prompt = "x", .width = 2049 },
		  "width is 2049; it is 1 to 2048, or 0 for 256" },
		{ { .prompt = "x", .height = UINT32_MAX },
		  "height is 4294967295; it is 1 to 2048" },
		{ { .prompt = "x", .steps = 1001 }, "steps is 1001; it is 1 to 1000, or 0 for 20" },
		{ { .prompt = "x", .guidance = 1.5f }, "guidance is 1.5; it is more than 0" },
		{ { .prompt = "x", .guidance = -0.1f }, "guidance is -0.1;" },
		{ { .prompt = "x", .guidance = NAN }, "guidance is " },
		{ { .prompt = "65 circles" }, "asks for 65 of a thing; 1 to 64 are possible" },
		{ { .prompt = "0 circles" }, "asks for 0 of a thing" },
		{ { .prompt = "99999999999999999999 circles" }, "1 to 64 are possible" },
		{ { .prompt = "64 dots 64 dots 64 dots 64 dots dot" },
		  "asks for 257 things; 256 are the most" },
		{ { .prompt = "dot dot dot dot dot dot dot dot dot dot dot dot dot dot dot dot dot "
			      "dot dot dot dot dot dot dot dot dot dot dot dot dot dot dot dot" },
		  "more than the 32 groups of shapes" },
	};

	(void)state;
	memset(long_prompt, 'x', sizeof(long_prompt) - 1);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_image_request request = rows[i].request;
		struct pc_image_result result = { .steps = 77 };
		struct pc_error err = PC_ERROR_INIT;
		struct file *file = make_file(-1);

		request.size = sizeof(request);
		assert_int_equal(run(0, &request, file, &result, &err), PC_E_INVALID_REQUEST);
		assert_int_equal(err.code, PC_E_INVALID_REQUEST);
		assert_contains(err.message, rows[i].says);
		assert_int_equal(file->chunks, 0);
		assert_int_equal(result.steps, 77); /* outputs are written on success only */
		free(file);
	}
}

static void incomplete_calls_are_refused(void **state)
{
	struct pc_image_request request = ask("x", 1);
	struct pc_image_result result = { .size = sizeof(result) };
	struct file *file = make_file(-1);
	struct pc_image_sink sink = sink_to(file);
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(run(SLOTS, &request, file, &result, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "slot 2 of 2");
	result.size--;
	assert_int_equal(engine->generate_image(model, 0, &request, &sink, &result, &err),
			 PC_E_INVALID_ARGUMENT);
	result.size++;
	request.size--;
	assert_int_equal(engine->generate_image(model, 0, &request, &sink, &result, &err),
			 PC_E_INVALID_ARGUMENT);
	request.size++;
	sink.chunk = NULL;
	assert_int_equal(engine->generate_image(model, 0, &request, &sink, &result, &err),
			 PC_E_INVALID_ARGUMENT);
	/* The other two are for hosts that want them. */
	sink = sink_to(file);
	sink.progress = NULL;
	sink.stopped = NULL;
	assert_int_equal(engine->generate_image(model, 0, &request, &sink, &result, &err), 0);
	assert_true(file->length > 0);
	free(file);
}

/* ---- steps ---- */

static uint64_t distance(const unsigned char *a, const unsigned char *b, size_t bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum += (uint64_t)((a[i] - b[i]) * (a[i] - b[i]));
	return sum;
}

/* What the request's picture should look like; free. */
static struct rgb *make_target(const struct pc_image_request *request)
{
	struct vocabulary vocabulary;
	struct scene scene;
	struct rgb *target = calloc((size_t)request->width * request->height, sizeof(*target));

	assert_non_null(target);
	assert_int_equal(vocabulary_read(words_path, &vocabulary, NULL), 0);
	assert_int_equal(
		scene_compose(&vocabulary, request, request->width, request->height, &scene, NULL),
		0);
	target_fill(&scene, target);
	vocabulary_fini(&vocabulary);
	return target;
}

/* How far the picture is from its target after this many of the request's steps. */
static uint64_t distance_after(const struct pc_image_request *request, int steps,
			       const struct rgb *target)
{
	struct file *file = make_file(steps);
	struct pc_image_result result = paint_file(request, file);
	struct picture picture = decode(file);
	size_t bytes = (size_t)picture.width * (size_t)picture.height * 3;
	uint64_t sum = distance(picture.pixels, (const unsigned char *)target, bytes);

	assert_int_equal(result.steps, steps);
	free(picture.pixels);
	free(file);
	return sum;
}

static void every_step_makes_it_better(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 3; seed++) {
		struct pc_image_request request = ask(PROMPT, seed);
		struct rgb *target = make_target(&request);
		uint64_t first = distance_after(&request, 0, target), last = first;

		for (int steps = 1; steps <= 10; steps++) {
			uint64_t now = distance_after(&request, steps, target);

			assert_true(now < last);
			last = now;
		}
		assert_true(last * 25 < first);
		free(target);
	}
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void the_error_never_rises(void **state)
{
	static const float guidances[] = { 0.05f, 0.5f, 1 };
	struct rgb sheet[48 * 40];
	struct pc_image_request request = ask(PROMPT, 9);
	uint64_t ends[PC_ARRAY_LEN(guidances)];

	(void)state;
	request.width = 48;
	request.height = 40;
	struct rgb *target = make_target(&request);

	for (size_t i = 0; i < PC_ARRAY_LEN(guidances); i++) {
		struct easel easel = { .width = 48,
				       .height = 40,
				       .steps = 60,
				       .guidance = guidances[i],
				       .target = target,
				       .sheet = sheet };

		easel_begin(&easel);
		for (uint32_t step = 1; step <= easel.steps; step++) {
			uint64_t before = easel.error;

			assert_true(easel_step(&easel, step, never, NULL));
			assert_true(easel.error <= before);
			/* What it counts on the way is what there is. */
			assert_int_equal(easel.error,
					 distance((unsigned char *)sheet, (unsigned char *)target,
						  sizeof(sheet)));
		}
		ends[i] = easel.error;
	}
	assert_true(ends[0] > ends[1] && ends[1] > ends[2]);
	free(target);
}

static void progress_is_told_and_stop_asked_every_step(void **state)
{
	static const unsigned steps[] = { 1, 7, 1000 };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(steps); i++) {
		struct pc_image_request request = ask("a red circle", 1);
		struct file *file = make_file(-1);

		request.width = request.height = 16;
		request.steps = steps[i];
		struct pc_image_result result = paint_file(&request, file);

		assert_int_equal(result.steps, steps[i]);
		assert_int_equal(file->steps, steps[i]);
		assert_false(file->steps_jumped);
		assert_true(file->asked >= steps[i]);
		free(file);
	}
}

static void a_cancelled_picture_is_as_far_as_it_came(void **state)
{
	static const int stops[] = { 0, 1, 5, 9 };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(stops); i++) {
		struct pc_image_request request = ask(PROMPT, 1);
		struct file *file = make_file(stops[i]);
		struct pc_image_result result = paint_file(&request, file);
		struct picture picture = decode(file);
		bool blank = true;

		assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
		assert_int_equal(result.steps, stops[i]);
		assert_int_equal(file->steps, stops[i]);
		assert_int_equal(file->asked_again, 0);
		assert_int_equal(picture.width, 96);
		for (int at = 0; at < 96 * 96 * 3; at++)
			blank &= picture.pixels[at] == 255;
		assert_int_equal(blank, stops[i] == 0);
		free(picture.pixels);
		free(file);
	}
}

/* ---- slots, memory ---- */

struct painter {
	uint32_t slot;
	struct file *files[4];
};

static void *paint_on(void *ctx)
{
	struct painter *painter = ctx;

	for (uint32_t i = 0; i < PC_ARRAY_LEN(painter->files); i++) {
		struct pc_image_request request = ask(PROMPT, i);
		struct pc_image_result result;

		if (run(painter->slot, &request, painter->files[i], &result, NULL) != 0)
			return NULL;
	}
	return painter;
}

static void slots_paint_at_once(void **state)
{
	pthread_t threads[SLOTS];
	struct painter painters[SLOTS];
	struct pc_engine_description before = { .size = sizeof(before) }, after = before;

	(void)state;
	engine->describe(model, &before);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		painters[slot].slot = slot;
		for (size_t i = 0; i < PC_ARRAY_LEN(painters[slot].files); i++)
			painters[slot].files[i] = make_file(-1);
		assert_int_equal(pthread_create(&threads[slot], NULL, paint_on, &painters[slot]),
				 0);
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		void *done = NULL;

		pthread_join(threads[slot], &done);
		assert_ptr_equal(done, &painters[slot]);
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(painters[0].files); i++) {
		struct file *one = painters[0].files[i], *other = painters[1].files[i];

		assert_true(one->length > 0);
		assert_int_equal(one->length, other->length);
		assert_memory_equal(one->bytes, other->bytes, one->length);
		free(one);
		free(other);
	}
	/* The pixels' memory has gone with the calls. */
	engine->describe(model, &after);
	assert_int_equal(after.memory_bytes, before.memory_bytes);
}

static void every_allocation_may_fail(void **state)
{
	static const struct pc_engine_host host = { .size = sizeof(host) };
	const struct pc_engine *linked = pc_engine_entry(PC_ENGINE_ABI, &host);
	struct pc_engine_spec spec = spec_of(words_path);
	struct pc_image_request request = ask(PROMPT, 1);
	struct file *file = make_file(-1);
	struct pc_image_sink sink = sink_to(file);
	unsigned failures = 0;

	(void)state;
	assert_non_null(linked);
	request.steps = 1;
	for (;; failures++) {
		struct pc_engine_instance *instance = NULL;
		struct pc_image_result result = { .size = sizeof(result), .steps = 77 };
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin_once(failures + 1);
		int rc = linked->load(&spec, &instance, &err);

		if (!rc)
			rc = linked->generate_image(instance, 0, &request, &sink, &result, &err);
		linked->unload(instance);
		bool passed = fail_alloc_end();

		assert_int_equal(fail_alloc_live(), 0);
		if (passed) {
			assert_int_equal(rc, 0);
			assert_int_equal(result.steps, 1);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		assert_int_equal(result.steps, 77);
	}
	assert_true(failures > 8); /* libpng's and zlib's are among them */
	free(file);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_what_it_is),
		cmocka_unit_test(strange_hosts_are_refused),
		cmocka_unit_test(bad_specs_are_refused),
		cmocka_unit_test(the_chunks_are_one_png),
		cmocka_unit_test(zeros_are_the_engines_own),
		cmocka_unit_test(the_smallest_and_the_longest_are_painted),
		cmocka_unit_test(the_seed_and_the_request_decide_all),
		cmocka_unit_test(bad_requests_name_the_member),
		cmocka_unit_test(incomplete_calls_are_refused),
		cmocka_unit_test(every_step_makes_it_better),
		cmocka_unit_test(the_error_never_rises),
		cmocka_unit_test(progress_is_told_and_stop_asked_every_step),
		cmocka_unit_test(a_cancelled_picture_is_as_far_as_it_came),
		cmocka_unit_test(slots_paint_at_once),
		cmocka_unit_test(every_allocation_may_fail),
	};

	if (!read_arguments(argc, argv))
		return 2;
	return cmocka_run_group_tests(tests, load_paint, unload_paint);
}
