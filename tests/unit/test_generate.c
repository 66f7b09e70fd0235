/* SPDX-License-Identifier: MIT */
/* Unit tests of text to text and of vision: collected, by callback, later. Streams have
 * test_text_stream.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/unit/capability_fixture.h"

/* ---- text to text ---- */

static void a_whole_answer(void **state)
{
	struct pc_text_request request = { .prompt = "count 3" };
	struct pc_text_answer answer;

	(void)state;
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "0 1 2 ");
	assert_int_equal(answer.length, 6);
	assert_int_equal(answer.finish_reason, PC_FINISH_STOP);
	assert_int_equal(answer.prompt_tokens, 3);
	assert_int_equal(answer.completion_tokens, 3);
	assert_int_equal(answer.cached_tokens, 2);
	pc_text_answer_fini(&answer);
	assert_null(answer.text);
	pc_text_answer_fini(&answer);
	pc_text_answer_fini(NULL);

	request.prompt = "nothing";
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "");
	assert_int_equal(answer.length, 0);
	pc_text_answer_fini(&answer);
}

static void a_chat_and_its_stops(void **state)
{
	static const struct pc_chat_message messages[] = {
		{ "system", "be brief" },
		{ "user", "" },
	};
	static const char *const stops[] = { "<a>", "<b>" };
	struct pc_text_request request = {
		.messages = messages, .message_count = 2, .stops = stops, .stop_count = 2
	};
	struct pc_text_answer answer;

	(void)state;
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "system:be brief;user:;<a><b>");
	pc_text_answer_fini(&answer);
}

static void how_a_request_is_read(void **state)
{
	struct pc_text_request request = { .prompt = "sampling" };
	struct pc_text_answer answer;

	(void)state;
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "size ok max 0 temperature 0 top_p 1 seed 0");
	pc_text_answer_fini(&answer);
	request.max_tokens = 9;
	request.temperature = 1.5f;
	request.top_p = 0.25f;
	request.seed = 4;
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "size ok max 9 temperature 1.5 top_p 0.25 seed 4");
	pc_text_answer_fini(&answer);
	/* A caller who knows fewer members: what stands behind them is not his. */
	request.size = offsetof(struct pc_text_request, top_p);
	request.top_p = 99;
	request.stop_count = 99;
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "size ok max 9 temperature 1.5 top_p 1 seed 0");
	pc_text_answer_fini(&answer);
}

/* Counts chunks, and wants no more after `wanted`. */
struct listener {
	unsigned wanted;
	unsigned heard;
	char text[64];
};

static bool listen(void *ctx, const char *text, size_t length)
{
	struct listener *listener = ctx;
	size_t used = strlen(listener->text);

	assert_true(used + length < sizeof(listener->text));
	memcpy(listener->text + used, text, length);
	return ++listener->heard < listener->wanted;
}

static void a_callback_hears_the_answer_and_may_stop_it(void **state)
{
	struct pc_text_request request = { .prompt = "count 3" };
	struct listener all = { .wanted = 100 }, some = { .wanted = 2 }, one = { .wanted = 1 };
	struct pc_text_result result;

	(void)state;
	assert_int_equal(pc_generate(talker, &request, NULL, listen, &all, &result, NULL), 0);
	assert_int_equal(all.heard, 3);
	assert_string_equal(all.text, "0 1 2 ");
	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	assert_int_equal(result.completion_tokens, 3);

	request.prompt = "endless";
	assert_int_equal(pc_generate(talker, &request, NULL, listen, &some, &result, NULL), 0);
	assert_int_equal(some.heard, 2);
	assert_string_equal(some.text, "0 1 ");
	assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);

	/* An engine that does not ask whether it should stop is not listened to any more. */
	request.prompt = "deaf 10";
	assert_int_equal(pc_generate(talker, &request, NULL, listen, &one, &result, NULL), 0);
	assert_int_equal(one.heard, 1);
	assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
	one = (struct listener){ .wanted = 100 };
	request.prompt = "echo";
	assert_int_equal(pc_generate(talker, &request, NULL, listen, &one, NULL, NULL), 0);
	assert_string_equal(one.text, "echo");
}

static void what_an_engine_did_wrong_with_a_prompt(void **state)
{
	static const struct {
		const char *prompt;
		int code;
		const char *says;
	} cases[] = {
		{ "fail", PC_E_MODEL_ERROR, "'org/talk': the puppet was told to fail" },
		{ "silent", PC_E_MODEL_ERROR, "'org/talk': the model failed on this request" },
		{ "cannot", PC_E_UNSUPPORTED, "'org/talk': the puppet cannot do this" },
		{ "seven", PC_E_MODEL_ERROR, "the engine returned 7" },
		{ "desert", PC_E_MODEL_ERROR, "broke off without being asked" },
		{ "leave", PC_E_MODEL_ERROR, "broke off without being asked" },
		{ "break 2", PC_E_MODEL_ERROR, "'org/talk': the puppet broke at 2" },
		{ "flood 70", PC_E_MODEL_ERROR, "'org/talk': the answer has no end" },
	};
	struct pc_text_answer answer = { .length = 77 };
	struct pc_error err = PC_ERROR_INIT;
	struct ended ended;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_text_request request = { .prompt = cases[i].prompt };

		pc_error_clear(&err);
		assert_failed(pc_generate_text(talker, &request, NULL, &answer, &err), &err,
			      cases[i].code, cases[i].says);
		assert_int_equal(answer.length, 77);
		begin_async(&ended);
		assert_int_equal(pc_generate_text_async(talker, &request, NULL, &ended.answer,
							pc_completion_post, &ended, NULL),
				 0);
		pc_error_clear(&err);
		err = *await(&ended);
		assert_failed(err.code, &err, cases[i].code, cases[i].says);
		assert_null(ended.answer.text);
	}
}

struct caller {
	pthread_t thread;
	const char *prompt;
	struct pc_request_options options;
	int rc;
	struct pc_error err;
};

static void *call(void *arg)
{
	struct caller *caller = arg;
	struct pc_text_request request = { .prompt = caller->prompt };
	struct pc_text_answer answer;

	pc_error_clear(&caller->err);
	caller->rc = pc_generate_text(talker, &request, &caller->options, &answer, &caller->err);
	if (!caller->rc)
		pc_text_answer_fini(&answer);
	return NULL;
}

static void a_call_is_cancelled_from_another_thread(void **state)
{
	struct caller caller = { .prompt = "gate 1000" };

	(void)state;
	assert_int_equal(pc_cancel_create(&caller.options.cancel, NULL), 0);
	assert_int_equal(pthread_create(&caller.thread, NULL, call, &caller), 0);
	puppet_await_gate(1);
	pc_cancel_fire(caller.options.cancel);
	puppet_open_gate(1);
	pthread_join(caller.thread, NULL);
	assert_failed(caller.rc, &caller.err, PC_E_CANCELLED, "org/talk");
	pc_cancel_destroy(caller.options.cancel);
}

static void a_call_ends_at_its_deadline(void **state)
{
	struct caller caller = { .prompt = "endless", .options = { .timeout_ms = 20 } };

	(void)state;
	call(&caller);
	assert_failed(caller.rc, &caller.err, PC_E_TIMEOUT, "org/talk");
}

static void a_prompt_is_copied_for_later(void **state)
{
	char prompt[] = "gate 2";
	struct pc_text_request request = { .prompt = prompt };
	struct ended ended;

	(void)state;
	begin_async(&ended);
	assert_int_equal(pc_generate_text_async(talker, &request, NULL, &ended.answer,
						pc_completion_post, &ended, NULL),
			 0);
	memset(prompt, 'x', sizeof(prompt) - 1);
	puppet_await_gate(1);
	puppet_open_gate(1);
	assert_int_equal(await(&ended)->code, 0);
	assert_string_equal(ended.answer.text, "0 1 ");
	pc_text_answer_fini(&ended.answer);
}

static void wishes_are_copied_for_later(void **state)
{
	char grammar[] = "root";
	struct pc_logit_bias bias = { 7, -2.5f };
	struct pc_text_request request = { .prompt = "wishes",
					   .top_k = 5,
					   .logit_biases = &bias,
					   .logit_bias_count = 1,
					   .grammar = grammar };
	struct pc_text_answer answer;
	struct ended ended;

	(void)state;
	begin_async(&ended);
	assert_int_equal(pc_generate_text_async(talker, &request, NULL, &ended.answer,
						pc_completion_post, &ended, NULL),
			 0);
	puppet_await_gate(1);
	bias = (struct pc_logit_bias){ 1, 1 };
	memset(grammar, 'x', sizeof(grammar) - 1);
	puppet_open_gate(2);
	assert_int_equal(await(&ended)->code, 0);
	assert_string_equal(ended.answer.text, "top_k 5 bias 7:-2.5 of 1 grammar root");
	pc_text_answer_fini(&ended.answer);
	assert_int_equal(pc_generate_text(talker, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "top_k 5 bias 1:1 of 1 grammar xxxx");
	pc_text_answer_fini(&answer);
}

/* An engine that was built before a wish could be made would leave it out without a word. */
static void a_wish_that_the_engine_does_not_know(void **state)
{
	static struct pc_engine old;
	struct pc_text_request request = { .prompt = "echo", .top_k = 5 };
	struct pc_text_answer answer;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model *model;

	(void)state;
	old = puppet_engine;
	old.text_request_size = 0;
	model = puppet_model_of(pool, "org/old", PC_CAPABILITY_TEXT_TO_TEXT, NULL, &old);
	assert_failed(pc_generate_text(model, &request, NULL, &answer, &err), &err,
		      PC_E_INVALID_REQUEST, "'org/old': the engine 'puppet' chooses tokens by");
	assert_int_equal(puppet.calls, 0);
	request.top_k = 0;
	assert_int_equal(pc_generate_text(model, &request, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "echo");
	pc_text_answer_fini(&answer);
}

static void requests_that_are_refused(void **state)
{
	static char long_text[PC_TEXT_MAX_BYTES];
	static const char *const many[PC_TEXT_MAX_STOPS + 1];
	static const struct pc_logit_bias biases[PC_TEXT_MAX_BIASES + 1];
	static const char *const bad_stops[] = { "a", "" };
	struct pc_chat_message messages[2] = { { "user", "hi" }, { "user", "hi" } };
	const struct {
		struct pc_text_request request;
		struct pc_chat_message second; /* role NULL: as above */
		const char *says;
	} cases[] = {
		{ { .prompt = NULL }, { 0 }, "the prompt is NULL" },
		{ { .prompt = "" }, { 0 }, "the prompt is empty" },
		{ { .prompt = "\xc3" }, { 0 }, "the prompt is not UTF-8 at byte 0" },
		{ { .prompt = "a", .messages = messages, .message_count = 2 },
		  { 0 },
		  "a prompt and messages" },
		{ { .message_count = 2 }, { 0 }, "no message was given" },
		{ { .messages = messages, .message_count = 2 },
		  { "", "a" },
		  "the role of message 1 is empty" },
		{ { .messages = messages, .message_count = 2 },
		  { "user", NULL },
		  "message 1 is NULL" },
		{ { .messages = messages, .message_count = 2 },
		  { "user", "\xff" },
		  "message 1 is not UTF-8" },
		{ { .messages = messages, .message_count = 2 },
		  { "user", long_text },
		  "the chat is longer than 16 MiB at message 1" },
		{ { .prompt = "a", .stops = many, .stop_count = PC_TEXT_MAX_STOPS + 1 },
		  { 0 },
		  "17 stop strings; there may be 16" },
		{ { .prompt = "a", .stop_count = 1 }, { 0 }, "no stop string was given" },
		{ { .prompt = "a", .stops = bad_stops, .stop_count = 2 },
		  { 0 },
		  "stop string 1 is empty" },
		{ { .prompt = "a", .temperature = 2.5f },
		  { 0 },
		  "temperature is 2.5; it may be 0 to 2" },
		{ { .prompt = "a", .temperature = -1 }, { 0 }, "temperature is -1" },
		{ { .prompt = "a", .temperature = NAN }, { 0 }, "temperature is nan" },
		{ { .prompt = "a", .top_p = 1.5f }, { 0 }, "top_p is 1.5" },
		{ { .prompt = "a", .top_p = -1 }, { 0 }, "top_p is -1" },
		{ { .prompt = "a", .logit_bias_count = 1 }, { 0 }, "no logit bias was given" },
		{ { .prompt = "a",
		    .logit_biases = biases,
		    .logit_bias_count = PC_TEXT_MAX_BIASES + 1 },
		  { 0 },
		  "1025 logit biases; there may be 1024" },
		{ { .prompt = "a", .grammar = "" }, { 0 }, "the grammar is empty" },
		{ { .prompt = "a", .grammar = long_text },
		  { 0 },
		  "the grammar is longer than 16 KiB" },
	};
	struct pc_text_answer answer;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		if (cases[i].second.role)
			messages[1] = cases[i].second;
		else
			messages[1] = (struct pc_chat_message){ "user", "hi" };
		pc_error_clear(&err);
		assert_failed(pc_generate_text(talker, &cases[i].request, NULL, &answer, &err),
			      &err, PC_E_INVALID_ARGUMENT, cases[i].says);
		assert_contains(err.message, "'org/talk': ");
	}
	assert_int_equal(puppet.loads, 0);
}

static void calls_without_what_they_need(void **state)
{
	struct pc_text_request request = { .prompt = "a" };
	struct pc_text_answer answer;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_failed(pc_generate_text(NULL, &request, NULL, &answer, &err), &err,
		      PC_E_INVALID_ARGUMENT, "no model was given, and text_to_text needs one");
	pc_error_clear(&err);
	assert_failed(pc_generate_text(talker, NULL, NULL, &answer, &err), &err,
		      PC_E_INVALID_ARGUMENT, "'org/talk': no request was given");
	pc_error_clear(&err);
	assert_failed(pc_generate_text(talker, &request, NULL, NULL, &err), &err,
		      PC_E_INVALID_ARGUMENT, "'org/talk': no place for the answer was given");
	pc_error_clear(&err);
	assert_failed(pc_generate(talker, &request, NULL, NULL, NULL, NULL, &err), &err,
		      PC_E_INVALID_ARGUMENT, "'org/talk': no callback for the text was given");
	pc_error_clear(&err);
	assert_failed(pc_generate_text_async(talker, &request, NULL, NULL, pc_completion_post, NULL,
					     &err),
		      &err, PC_E_INVALID_ARGUMENT, "no place for the answer");
	pc_error_clear(&err);
	assert_failed(pc_generate_text_async(talker, &request, NULL, &answer, NULL, NULL, &err),
		      &err, PC_E_INVALID_ARGUMENT, "no done callback");
}

/* ---- vision ---- */

static void a_description(void **state)
{
	struct pc_vision_question question = { .image = pc_image_from_base64("cGl4ZWxz") };
	struct pc_text_answer answer;
	struct listener listener = { .wanted = 100 };
	struct pc_text_result result;

	(void)state;
	assert_int_equal(pc_describe_image(seer, &question, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "pixels: ");
	pc_text_answer_fini(&answer);
	question.prompt = "count 2";
	assert_int_equal(pc_describe_image(seer, &question, NULL, &answer, NULL), 0);
	assert_string_equal(answer.text, "pixels: 0 1 ");
	assert_int_equal(answer.completion_tokens, 2);
	pc_text_answer_fini(&answer);
	assert_int_equal(pc_describe(seer, &question, NULL, listen, &listener, &result, NULL), 0);
	assert_string_equal(listener.text, "pixels: 0 1 ");
	assert_int_equal(listener.heard, 4);
	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
}

static void a_description_later_and_in_a_stream(void **state)
{
	char bytes[] = "pixels", prompt[] = "gate";
	struct pc_vision_question question = { .image = pc_image_from_bytes(bytes, 6),
					       .prompt = prompt };
	struct pc_text_stream *stream;
	struct ended ended;
	const char *chunk;
	size_t length;
	char text[64] = "";
	int rc;

	(void)state;
	begin_async(&ended);
	assert_int_equal(pc_describe_image_async(seer, &question, NULL, &ended.answer,
						 pc_completion_post, &ended, NULL),
			 0);
	assert_int_equal(pc_vision_stream_open(seer, &question, NULL, &stream, NULL), 0);
	memset(bytes, 'x', sizeof(bytes));
	memset(prompt, 'x', sizeof(prompt));
	puppet_open_gate(2);
	assert_int_equal(await(&ended)->code, 0);
	assert_string_equal(ended.answer.text, "pixels: 0 ");
	pc_text_answer_fini(&ended.answer);
	while ((rc = pc_text_stream_next(stream, &chunk, &length, NULL)) == PC_STREAM_CHUNK)
		strncat(text, chunk, length);
	assert_int_equal(rc, PC_STREAM_END);
	assert_string_equal(text, "pixels: 0 ");
	pc_text_stream_close(stream);
}

static void questions_that_are_refused(void **state)
{
	const struct {
		struct pc_vision_question question;
		int code;
		const char *says;
	} cases[] = {
		{ { .prompt = "a" }, PC_E_INVALID_ARGUMENT, "the image: its source is of no kind" },
		{ { .image = pc_image_from_path("/nonexistent/a.png") },
		  PC_E_NOT_FOUND,
		  "the image: cannot open '/nonexistent/a.png'" },
		{ { .image = pc_image_from_bytes("a", 1), .prompt = "\xff" },
		  PC_E_INVALID_ARGUMENT,
		  "the prompt is not UTF-8" },
		{ { .image = pc_image_from_bytes("a", 1), .temperature = 3 },
		  PC_E_INVALID_ARGUMENT,
		  "the temperature is 3" },
		{ { .image = pc_image_from_bytes("a", 1), .prompt = "fail" },
		  PC_E_MODEL_ERROR,
		  "the puppet was told to fail" },
	};
	struct pc_text_answer answer;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		pc_error_clear(&err);
		assert_failed(pc_describe_image(seer, &cases[i].question, NULL, &answer, &err),
			      &err, cases[i].code, cases[i].says);
		assert_contains(err.message, "'org/see': ");
	}
	assert_int_equal(pc_describe_image(seer, NULL, NULL, &answer, NULL), PC_E_INVALID_ARGUMENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(a_whole_answer),
		TEST(a_chat_and_its_stops),
		TEST(how_a_request_is_read),
		TEST(a_callback_hears_the_answer_and_may_stop_it),
		TEST(what_an_engine_did_wrong_with_a_prompt),
		TEST(a_call_is_cancelled_from_another_thread),
		TEST(a_call_ends_at_its_deadline),
		TEST(a_prompt_is_copied_for_later),
		TEST(wishes_are_copied_for_later),
		TEST(a_wish_that_the_engine_does_not_know),
		TEST(requests_that_are_refused),
		TEST(calls_without_what_they_need),
		TEST(a_description),
		TEST(a_description_later_and_in_a_stream),
		TEST(questions_that_are_refused),
	};

	return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
