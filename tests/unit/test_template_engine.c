/* SPDX-License-Identifier: MIT */
/*
 * The engine plug-in that people copy, as a host sees it: it must keep every promise that it
 * explains. Arguments: the folder of the plug-in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <poolcore/engine.h>

#include "tests/unit/folder.h"

/* Every word of it has one successor, but for "the" and the last. */
#define TEXT "the cat saw the d\xc3\xb6g and the d\xc3\xb6g ran\nhome. the end!"

static const struct pc_engine *engine;
static struct pc_engine_instance *model; /* two slots, a context of 12 tokens */

static struct pc_engine_spec spec_of(const char *path)
{
	return (struct pc_engine_spec){
		.size = sizeof(struct pc_engine_spec),
		.capability = PC_CAPABILITY_TEXT_TO_TEXT,
		.model_path = path,
		.slots = 2,
		.context_tokens = 12,
	};
}

static int load_model(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	strcpy(folder, "/tmp/template-engine-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	struct pc_engine_spec spec = spec_of(write_file("text", TEXT));

	if (pc_engine_open("template", &engine, &err) || engine->load(&spec, &model, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	return 0;
}

static int unload_model(void **state)
{
	(void)state;
	engine->unload(model);
	engine->unload(NULL);
	unlink(in_folder("text"));
	unlink(in_folder("other"));
	return rmdir(folder);
}

struct heard {
	char text[1024];
	size_t length;
	unsigned chunks, asked;
	unsigned stop_after; /* questions; 0: never */
	bool broken;	     /* a chunk was empty or cut a character */
};

static void hear(void *ctx, const char *text, size_t length)
{
	struct heard *heard = ctx;

	heard->broken |= length == 0 || ((unsigned char)text[0] & 0xc0) == 0x80 ||
			 (unsigned char)text[length - 1] >= 0xc0;
	assert_true(length < sizeof(heard->text) - heard->length);
	memcpy(heard->text + heard->length, text, length);
	heard->length += length;
	heard->text[heard->length] = '\0';
	heard->chunks++;
}

static bool has_enough(void *ctx)
{
	struct heard *heard = ctx;

	return ++heard->asked == heard->stop_after;
}

static struct pc_text_request ask(const char *prompt)
{
	return (struct pc_text_request){
		.size = sizeof(struct pc_text_request),
		.prompt = prompt,
		.top_p = 1,
	};
}

static int run(uint32_t slot, const struct pc_text_request *request, struct heard *heard,
	       struct pc_text_result *result, struct pc_error *err)
{
	struct pc_text_sink sink = { sizeof(sink), hear, has_enough, heard };

	result->size = sizeof(*result);
	return engine->generate(model, slot, request, &sink, result, err);
}

static struct pc_text_result answer(const struct pc_text_request *request, struct heard *heard)
{
	struct pc_text_result result;
	struct pc_error err = PC_ERROR_INIT;

	if (run(0, request, heard, &result, &err))
		fail_msg("%s", err.message);
	assert_false(heard->broken);
	return result;
}

static void it_goes_on_until_a_sentence_ends(void **state)
{
	struct pc_text_request request = ask("I and my d\xc3\xb6g ran");
	struct heard heard = { .length = 0 };
	struct pc_text_result result = answer(&request, &heard);

	(void)state;
	assert_string_equal(heard.text, " home.");
	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	assert_int_equal(result.prompt_tokens, 5);
	assert_int_equal(result.completion_tokens, 1);

	/* Greedy: "d\xc3\xb6g" is first followed by "and", "the" by "cat", and so on for ever. */
	heard = (struct heard){ .length = 0 };
	request = ask("a cat");
	result = answer(&request, &heard);
	assert_string_equal(heard.text, " saw the cat saw the cat saw the cat saw");
	assert_int_equal(result.finish_reason, PC_FINISH_LENGTH); /* the context is full */
	assert_int_equal(result.completion_tokens, 10);
	assert_int_equal(heard.chunks, 10); /* no stop string, nothing is held back */
	assert_int_equal(heard.asked, 10);

	heard = (struct heard){ .length = 0 };
	request.max_tokens = 2;
	result = answer(&request, &heard);
	assert_string_equal(heard.text, " saw the");
	assert_int_equal(result.finish_reason, PC_FINISH_LENGTH);
}

static void the_last_message_is_answered(void **state)
{
	static const struct pc_chat_message messages[] = { { "system", "the" },
							   { "user", "d\xc3\xb6g ran" } };
	struct pc_text_request request = ask(NULL);
	struct heard heard = { .length = 0 };

	(void)state;
	request.messages = messages;
	request.message_count = 2;
	answer(&request, &heard);
	assert_string_equal(heard.text, "home.");
}

static void the_seed_decides(void **state)
{
	bool differs = false;
	struct heard first = { .length = 0 };

	(void)state;
	for (uint32_t seed = 0; seed < 8; seed++) {
		struct pc_text_request request = ask("the");
		struct heard heard = { .length = 0 }, again = { .length = 0 };
		struct pc_text_result result;

		request.temperature = 1;
		request.seed = seed;
		answer(&request, &heard);
		assert_int_equal(run(1, &request, &again, &result, NULL), 0);
		assert_string_equal(heard.text, again.text);
		if (seed == 0)
			first = heard;
		differs |= strcmp(first.text, heard.text) != 0;
		/* A word that the text does not have is followed by one that it has. */
		request = ask("xyzzy");
		request.seed = seed;
		request.max_tokens = 1;
		heard = (struct heard){ .length = 0 };
		answer(&request, &heard);
		assert_true(heard.length > 1);
		assert_non_null(strstr(TEXT, heard.text + 1));
	}
	assert_true(differs);
}

static void stop_strings_are_never_seen(void **state)
{
	static const struct {
		const char *stops[2];
		const char *wanted; /* of " and the cat saw the cat saw the cat saw the" */
		unsigned finish;
	} rows[] = {
		{ { "saw", "never" }, " and the cat ", PC_FINISH_STOP },
		{ { "cat saw", "and a" }, " and the ", PC_FINISH_STOP },
		{ { "t saw the", "cat s" }, " and the ", PC_FINISH_STOP },
		{ { " and", "" }, "", PC_FINISH_STOP },
		{ { "saw a", "cat the" }, " and the cat saw the", PC_FINISH_LENGTH },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_text_request request = ask("d\xc3\xb6g");
		struct heard heard = { .length = 0 };

		request.stops = rows[i].stops;
		request.stop_count = 2;
		request.max_tokens = 5;
		struct pc_text_result result = answer(&request, &heard);

		assert_string_equal(heard.text, rows[i].wanted);
		assert_int_equal(result.finish_reason, rows[i].finish);
	}
}

static void held_text_is_cut_between_characters(void **state)
{
	static const char *const stops[] = { "zz" }; /* one byte is held: the half of an umlaut */
	struct pc_engine_spec spec = spec_of(write_file("other", "\xc3\xa4\xc3\xb6 \xc3\xbc!"));
	struct pc_engine_instance *other = NULL;
	struct pc_text_request request = ask("\xc3\xbc!");
	struct heard heard = { .length = 0 };
	struct pc_text_sink sink = { sizeof(sink), hear, has_enough, &heard };
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	assert_int_equal(engine->load(&spec, &other, NULL), 0);
	request.stops = stops;
	request.stop_count = 1;
	assert_int_equal(engine->generate(other, 0, &request, &sink, &result, NULL), 0);
	engine->unload(other);
	assert_false(heard.broken);
	assert_string_equal(heard.text, " \xc3\xa4\xc3\xb6 \xc3\xbc!");
	assert_true(heard.chunks >= 2);
}

static void the_host_may_stop_it(void **state)
{
	struct pc_text_request request = ask("a cat");
	struct heard heard = { .stop_after = 3 };
	struct pc_text_result result = answer(&request, &heard);

	(void)state;
	assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
	assert_int_equal(result.completion_tokens, 2);
	assert_string_equal(heard.text, " saw the");
}

static void bad_requests_are_refused(void **state)
{
	static char long_stop[258];
	static const char *const stops[] = { long_stop };
	static const struct {
		struct pc_text_request request;
		int code;
		const char *says;
	} rows[] = {
		{ { .prompt = NULL }, PC_E_INVALID_ARGUMENT, "incomplete" },
		{ { .prompt = "\xff" }, PC_E_INVALID_REQUEST, "not UTF-8" },
		{ { .prompt = "x", .temperature = 2.5f },
		  PC_E_INVALID_REQUEST,
		  "temperature is 2.5" },
		{ { .prompt = "x", .temperature = -1 }, PC_E_INVALID_REQUEST, "temperature is -1" },
		{ { .prompt = "x", .stop_count = 17 }, PC_E_INVALID_REQUEST, "17 stop strings" },
		{ { .prompt = "x", .stops = stops, .stop_count = 1 },
		  PC_E_INVALID_REQUEST,
		  "stop string 1 has 257 bytes; 256 are possible" },
		{ { .prompt = "a b c d e f g h i j k l" },
		  PC_E_CONTEXT_EXCEEDED,
		  "the prompt has 12 tokens and the context holds 12" },
	};
	struct pc_text_result result = { .completion_tokens = 77 };
	struct heard heard = { .length = 0 };
	struct pc_error err;

	(void)state;
	memset(long_stop, 'x', sizeof(long_stop) - 1);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_text_request request = rows[i].request;

		request.size = sizeof(request);
		pc_error_clear(&err);
		assert_int_equal(run(0, &request, &heard, &result, &err), rows[i].code);
		assert_contains(err.message, rows[i].says);
		assert_int_equal(result.completion_tokens, 77);
	}
	assert_string_equal(pc_error_detail_get(&err, "prompt_tokens"), "12");
	assert_string_equal(pc_error_detail_get(&err, "context_tokens"), "12");

	struct pc_text_request request = ask("x");

	pc_error_clear(&err);
	assert_int_equal(run(2, &request, &heard, &result, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "slot 2 of 2");
	request.size--;
	assert_int_equal(run(0, &request, &heard, &result, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(heard.chunks, 0);
}

static bool refuse(void *ctx, float fraction)
{
	(void)ctx;
	return fraction > 1;
}

static struct pc_error refused(const struct pc_engine_spec *spec)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_engine_instance *instance = (struct pc_engine_instance *)&err;

	assert_int_not_equal(engine->load(spec, &instance, &err), 0);
	assert_ptr_equal(instance, &err);
	return err;
}

static void bad_models_are_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "has no word in it" },
		{ " \n\t", "has no word in it" },
		{ "fine \xff", "is not a plain text in UTF-8" },
		{ "a aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg",
		  "word 2 has 65 bytes; 64 are the most" },
	};
	struct pc_engine_spec spec = spec_of(in_folder("none"));
	struct pc_error err = refused(&spec);

	(void)state;
	assert_int_equal(err.code, PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "No such file");
	spec = spec_of(folder);
	err = refused(&spec);
	assert_int_equal(err.code, PC_E_MODEL_FILE_MISSING);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		spec = spec_of(write_file("other", rows[i].text));
		err = refused(&spec);
		assert_int_equal(err.code, PC_E_MODEL_ERROR);
		assert_contains(err.message, rows[i].says);
		assert_contains(err.message, "other");
	}
	/* Zeros, which take no room on the disk. */
	assert_int_equal(truncate(write_file("other", "x"), 1 << 20), 0);
	err = refused(&spec);
	assert_contains(err.message, "is not a plain text");
	assert_int_equal(truncate(in_folder("other"), (1 << 20) + 1), 0);
	err = refused(&spec);
	assert_contains(err.message, "is longer than the 1048576 bytes");
}

static void bad_specs_are_refused(void **state)
{
	struct pc_engine_spec spec = spec_of(in_folder("text"));
	struct pc_error err;

	(void)state;
	spec.progress = refuse;
	err = refused(&spec);
	assert_int_equal(err.code, PC_E_CANCELLED);
	spec = spec_of(in_folder("text"));
	spec.slots = 0;
	err = refused(&spec);
	assert_string_equal(err.message, "0 slots: 1 to 64 are possible");
	spec.slots = 1;
	spec.capability = PC_CAPABILITY_TEXT_EMBEDDING;
	err = refused(&spec);
	assert_int_equal(err.code, PC_E_UNSUPPORTED);
	assert_contains(err.message, "serves text_to_text, not text_embedding");
	spec = spec_of(NULL);
	err = refused(&spec);
	assert_int_equal(err.code, PC_E_INVALID_ARGUMENT);
}

static void it_says_what_it_is(void **state)
{
	struct pc_engine_description description = { .size = sizeof(description) };

	(void)state;
	engine->describe(model, &description);
	assert_int_equal(description.context_tokens, 12);
	assert_true(description.memory_bytes > 1 << 20);
	assert_int_equal(description.parameter_count, 12);
	assert_string_equal(description.text, "template, 12 words");

	/* An older host has no room for more. */
	memset(&description, 0xaa, sizeof(description));
	description.size = offsetof(struct pc_engine_description, memory_bytes);
	engine->describe(model, &description);
	assert_int_equal(description.context_tokens, 12);
	assert_int_equal(description.memory_bytes, UINT64_C(0xaaaaaaaaaaaaaaaa));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_goes_on_until_a_sentence_ends),
		cmocka_unit_test(the_last_message_is_answered),
		cmocka_unit_test(the_seed_decides),
		cmocka_unit_test(stop_strings_are_never_seen),
		cmocka_unit_test(held_text_is_cut_between_characters),
		cmocka_unit_test(the_host_may_stop_it),
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(bad_models_are_refused),
		cmocka_unit_test(bad_specs_are_refused),
		cmocka_unit_test(it_says_what_it_is),
	};

	if (argc != 2 || setenv("POOLCORE_ENGINE_PATH", argv[1], 1) != 0) {
		fprintf(stderr, "usage: %s ENGINES\n", argv[0]);
		return 2;
	}
	return cmocka_run_group_tests(tests, load_model, unload_model);
}
