/* SPDX-License-Identifier: MIT */
/* Unit tests of text to image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/unit/capability_fixture.h"

/* ---- text to image ---- */

struct watcher {
	uint32_t stop_at; /* this step; 0: none */
	uint32_t steps, of;
	size_t bytes;
	bool refuses_bytes;
	unsigned pieces;
};

static bool watch_step(void *ctx, uint32_t step, uint32_t steps)
{
	struct watcher *watcher = ctx;

	assert_int_equal(step, watcher->steps + 1);
	watcher->steps = step;
	watcher->of = steps;
	return step != watcher->stop_at;
}

static bool watch_bytes(void *ctx, const void *bytes, size_t length)
{
	struct watcher *watcher = ctx;

	assert_non_null(bytes);
	watcher->bytes += length;
	watcher->pieces++;
	return !watcher->refuses_bytes;
}

static void a_painting(void **state)
{
	struct pc_image_request request = {
		.prompt = "a cat", .width = 64, .height = 32, .steps = 5
	};
	struct watcher watcher = { .stop_at = 0 };
	struct pc_painting_watch steps = { watch_step, NULL, &watcher };
	struct pc_painting_watch bytes = { NULL, watch_bytes, &watcher };
	struct pc_painting painting;

	(void)state;
	assert_int_equal(pc_generate_image(painter, &request, NULL, NULL, &painting, NULL), 0);
	assert_int_equal(painting.length, 8);
	assert_memory_equal(painting.data, "P5 a cat", 8);
	assert_string_equal(painting.media_type, "image/x-test");
	assert_int_equal(painting.finish_reason, PC_FINISH_STOP);
	assert_int_equal(painting.width, 64);
	assert_int_equal(painting.height, 32);
	assert_int_equal(painting.steps, 5);
	pc_painting_fini(&painting);
	assert_null(painting.data);
	pc_painting_fini(&painting);
	pc_painting_fini(NULL);

	assert_int_equal(pc_generate_image(painter, &request, NULL, &steps, &painting, NULL), 0);
	assert_int_equal(watcher.steps, 5);
	assert_int_equal(watcher.of, 5);
	assert_int_equal(painting.length, 8);
	pc_painting_fini(&painting);

	assert_int_equal(pc_generate_image(painter, &request, NULL, &bytes, &painting, NULL), 0);
	assert_int_equal(watcher.bytes, 8);
	assert_int_equal(watcher.pieces, 2);
	assert_int_equal(painting.length, 8);
	assert_null(painting.data);

	/* An engine that does not terminate its word has it cut. */
	request.prompt = "unterminated";
	assert_int_equal(pc_generate_image(painter, &request, NULL, NULL, &painting, NULL), 0);
	assert_int_equal(strlen(painting.media_type), sizeof(painting.media_type) - 1);
	pc_painting_fini(&painting);
}

static void a_watcher_stops_a_painting(void **state)
{
	struct pc_image_request request = { .prompt = "a cat", .steps = 5 };
	struct watcher watcher = { .stop_at = 3 };
	struct pc_painting_watch watch = { watch_step, watch_bytes, &watcher };
	struct pc_painting painting;

	(void)state;
	assert_int_equal(pc_generate_image(painter, &request, NULL, &watch, &painting, NULL), 0);
	assert_int_equal(watcher.steps, 3);
	assert_int_equal(watcher.pieces, 0);
	assert_int_equal(painting.finish_reason, PC_FINISH_CANCELLED);
	assert_int_equal(painting.steps, 3);
	pc_painting_fini(&painting);

	watcher = (struct watcher){ .refuses_bytes = true };
	assert_int_equal(pc_generate_image(painter, &request, NULL, &watch, &painting, NULL), 0);
	assert_int_equal(watcher.steps, 5);
	assert_int_equal(watcher.pieces, 1);
	assert_int_equal(painting.length, 3);
	assert_int_equal(painting.finish_reason, PC_FINISH_CANCELLED);
	pc_painting_fini(&painting);
}

static void what_an_engine_did_wrong_with_a_painting(void **state)
{
	static const struct {
		const char *prompt;
		int code;
		const char *says;
	} cases[] = {
		{ "fail", PC_E_MODEL_ERROR, "'org/paint': the puppet was told to fail" },
		{ "cannot", PC_E_UNSUPPORTED, "'org/paint': the puppet cannot do this" },
		{ "seven", PC_E_MODEL_ERROR, "the engine returned 7" },
		{ "desert", PC_E_MODEL_ERROR, "broke off without being asked" },
		{ "leave", PC_E_MODEL_ERROR, "broke off without being asked" },
		{ "nothing", PC_E_MODEL_ERROR, "'org/paint': the engine painted nothing" },
		{ "mural 65", PC_E_MODEL_ERROR,
		  "'org/paint': the engine's image is larger than 64 MiB" },
	};
	struct pc_painting painting = { .length = 77 };
	struct pc_error err = PC_ERROR_INIT;
	struct ended ended;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_image_request request = { .prompt = cases[i].prompt };

		pc_error_clear(&err);
		assert_failed(pc_generate_image(painter, &request, NULL, NULL, &painting, &err),
			      &err, cases[i].code, cases[i].says);
		assert_int_equal(painting.length, 77);
		begin_async(&ended);
		assert_int_equal(pc_generate_image_async(painter, &request, NULL, &ended.painting,
							 pc_completion_post, &ended, NULL),
				 0);
		err = *await(&ended);
		assert_failed(err.code, &err, cases[i].code, cases[i].says);
		assert_null(ended.painting.data);
	}
}

static void a_painting_later(void **state)
{
	char prompt[] = "gate", negative[] = "dog";
	struct pc_image_request request = { .prompt = prompt, .negative_prompt = negative };
	struct ended ended;

	(void)state;
	begin_async(&ended);
	assert_int_equal(pc_generate_image_async(painter, &request, NULL, &ended.painting,
						 pc_completion_post, &ended, NULL),
			 0);
	puppet_await_gate(1);
	memset(prompt, 'x', sizeof(prompt));
	memset(negative, 'x', sizeof(negative));
	puppet_open_gate(1);
	assert_int_equal(await(&ended)->code, 0);
	assert_int_equal(ended.painting.length, 10);
	assert_memory_equal(ended.painting.data, "P5 gatedog", 10);
	pc_painting_fini(&ended.painting);
}

static void paintings_that_are_refused(void **state)
{
	static const struct {
		struct pc_image_request request;
		const char *says;
	} cases[] = {
		{ { .prompt = NULL }, "the prompt is NULL" },
		{ { .prompt = "" }, "the prompt is empty" },
		{ { .prompt = "a", .negative_prompt = "\xff" },
		  "the negative prompt is not UTF-8" },
		{ { .prompt = "a", .guidance = -1 }, "the guidance is -1" },
		{ { .prompt = "a", .guidance = NAN }, "the guidance is nan" },
		{ { .prompt = "a", .guidance = INFINITY }, "the guidance is inf" },
	};
	struct pc_image_request fine = { .prompt = "a" };
	struct pc_painting painting;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		pc_error_clear(&err);
		assert_failed(
			pc_generate_image(painter, &cases[i].request, NULL, NULL, &painting, &err),
			&err, PC_E_INVALID_ARGUMENT, cases[i].says);
		assert_contains(err.message, "'org/paint': ");
	}
	assert_int_equal(pc_generate_image(painter, NULL, NULL, NULL, &painting, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_generate_image(painter, &fine, NULL, NULL, NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_generate_image_async(painter, &fine, NULL, &painting, NULL, NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(a_painting),
		TEST(a_watcher_stops_a_painting),
		TEST(what_an_engine_did_wrong_with_a_painting),
		TEST(a_painting_later),
		TEST(paintings_that_are_refused),
	};

	return cmocka_run_group_tests_name("generate_image", tests, NULL, NULL);
}
