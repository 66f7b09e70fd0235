/* SPDX-License-Identifier: MIT */
/*
 * The llama plug-in through pc_engine_open, with the demonstration model: arguments are the folder
 * of the plug-in and the model's file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/llama_model.h"

/* ---- describing ---- */

static void it_describes_itself(void **state)
{
	struct pc_engine_description d = { .size = sizeof(d) };
	struct stat st;

	(void)state;
	assert_string_equal(engine->name, "llama");
	assert_true(strlen(engine->version) > 0);
	engine->describe(model, &d);
	assert_int_equal(d.context_tokens, 2048);
	assert_int_equal(d.embedding_dim, 2048);
	assert_true(d.parameter_count > 8000000 && d.parameter_count < 10000000);
	assert_int_equal(stat(model_path, &st), 0);
	/* The file holds the weights and some text; two contexts come on top, each of half a MiB
	 * for keys and values and some more to compute in. */
	assert_true(d.memory_bytes > (uint64_t)st.st_size + (1 << 20));
	assert_true(d.memory_bytes < (uint64_t)st.st_size + (48 << 20));
	assert_string_equal(d.text, "llama 9.3M F16");
}

static void a_smaller_description_is_filled_to_its_size(void **state)
{
	struct pc_engine_description d;

	(void)state;
	memset(&d, 0x55, sizeof(d));
	d.size = offsetof(struct pc_engine_description, embedding_dim);
	engine->describe(model, &d);
	assert_int_equal(d.context_tokens, 2048);
	assert_int_equal(d.embedding_dim, 0x55555555);
	assert_int_equal(d.size, offsetof(struct pc_engine_description, embedding_dim));
}

/* ---- answers ---- */

static void greedy_is_the_same_every_time(void **state)
{
	struct pc_text_request request = ask("The");

	(void)state;
	request.temperature = 0;
	struct pc_text_result first = answer(&request, &heard);

	request.seed = 12345; /* plays no part */
	struct pc_text_result second = answer(&request, &again);

	assert_string_equal(heard.text, again.text);
	assert_int_equal(first.completion_tokens, second.completion_tokens);
	assert_int_equal(first.prompt_tokens, 2); /* <s> and the word */
	assert_true(heard.length > 0);
	/* One chunk for each token: nothing is held back without stop strings. */
	assert_int_equal(heard.chunks, first.completion_tokens);
}

/* Scores divided by next to nothing are past what a float holds, and the answer was noise. */
static void next_to_no_temperature_is_none(void **state)
{
	static const float small[] = { 1e-6f, 1e-30f, 1e-38f, 1e-40f, 1e-45f };
	struct pc_text_request request = ask("The");

	(void)state;
	request.temperature = 0;
	answer(&request, &heard);
	for (size_t i = 0; i < PC_ARRAY_LEN(small); i++) {
		request.temperature = small[i];
		answer(&request, &again);
		assert_string_equal(heard.text, again.text);
	}
}

static void a_seed_repeats_and_others_differ(void **state)
{
	struct pc_text_request request = ask("I think that");
	unsigned different = 0;

	(void)state;
	answer(&request, &heard);
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
	for (uint32_t seed = 100; seed < 110; seed++) {
		request.seed = seed;
		answer(&request, &again);
		different += strcmp(heard.text, again.text) != 0;
	}
	assert_true(different >= 8);

	/* The number that llama.cpp takes for "any". */
	request.seed = UINT32_MAX;
	request.temperature = 1.5f;
	answer(&request, &heard);
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
}

static void a_request_leaves_nothing_to_the_next(void **state)
{
	struct pc_text_request request = ask("A man");
	struct pc_text_request other = ask("computers are");

	(void)state;
	answer(&request, &heard);
	answer(&other, &again);
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
}

static void max_tokens_is_kept(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_result result;

	(void)state;
	request.max_tokens = 1;
	result = answer(&request, &heard);
	assert_int_equal(result.completion_tokens, 1);
	assert_int_equal(result.finish_reason, PC_FINISH_LENGTH);

	request.max_tokens = 5;
	request.temperature = 0;
	result = answer(&request, &heard);
	assert_int_equal(result.completion_tokens, 5);
	assert_int_equal(result.finish_reason, PC_FINISH_LENGTH);
}

static void answers_come_to_an_end(void **state)
{
	struct pc_text_request request = ask("What is love?");
	unsigned ended = 0;

	(void)state;
	request.max_tokens = 0;
	for (request.seed = 0; request.seed < 10; request.seed++) {
		struct pc_text_result result = answer(&request, &heard);

		ended += result.finish_reason == PC_FINISH_STOP;
		assert_true(result.completion_tokens > 0); /* none is empty */
		assert_true(strchr(".!?", heard.text[heard.length - 1]) != NULL ||
			    result.finish_reason == PC_FINISH_LENGTH);
	}
	assert_true(ended >= 9);
}

static void chats_go_through_the_template(void **state)
{
	const struct pc_chat_message messages[] = { { "system", "You chatter." },
						    { "user", "Tell me about the" } };
	struct pc_text_request request = ask(NULL);
	struct pc_text_request plain = ask("You chatter. Tell me about the");

	(void)state;
	request.messages = messages;
	request.message_count = 2;
	request.temperature = plain.temperature = 0;
	answer(&request, &heard);
	answer(&plain, &again);
	/* The same last word gives the same answer; a chat's begins without the blank. */
	assert_int_equal(again.text[0], ' ');
	assert_string_equal(heard.text, again.text + 1);
}

static void stop_strings_never_leak(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_result result;
	static char full[65536];

	(void)state;
	request.seed = 3;
	answer(&request, &heard);
	assert_true(heard.length > 20);
	strcpy(full, heard.text);

	/* Every piece of the answer as its stop string: inside words,
	 * across tokens, at the ends. */
	for (size_t at = 0; at + 7 <= strlen(full); at += 3) {
		for (size_t length = 1; length <= 7; length += 3) {
			char stop[8] = "";
			const char *stops[] = { "never said", stop, "" };

			memcpy(stop, full + at, length);
			request.stops = stops;
			request.stop_count = PC_ARRAY_LEN(stops);
			result = answer(&request, &heard);
			assert_int_equal(result.finish_reason, PC_FINISH_STOP);
			assert_null(strstr(heard.text, stop));
			assert_int_equal(heard.length, strstr(full, stop) - full);
			assert_memory_equal(heard.text, full, heard.length);
		}
	}

	/* What only looks like a stop string comes out in the end. */
	char almost[64];
	const char *stops[] = { almost };

	snprintf(almost, sizeof(almost), "%sX", full + strlen(full) - 6);
	request.stops = stops;
	request.stop_count = 1;
	answer(&request, &heard);
	assert_string_equal(heard.text, full);
}

static void long_stop_strings_are_refused(void **state)
{
	static char stop[1026];
	const char *stops[] = { stop };
	struct pc_text_request request = ask("The");
	struct pc_text_result result;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(stop, 'x', 1025);
	request.stops = stops;
	request.stop_count = 1;
	assert_int_equal(run(0, &request, &heard, &result, &err), PC_E_INVALID_REQUEST);
	assert_string_equal(err.message, "a stop string has 1025 bytes; 1024 are possible");
	stop[1024] = '\0';
	answer(&request, &heard);
}

static void bad_requests_are_refused(void **state)
{
	const struct pc_chat_message message = { "user", NULL };
	const char *const bad_stop[] = { "\xff" };
	struct pc_text_request rows[] = { ask(NULL), ask("\xc3("), ask("x"), ask("x"),
					  ask("x"),  ask("x"),	   ask("x"), ask(NULL) };
	static const char *const reasons[] = {
		"a prompt or messages",
		"the prompt is not UTF-8 at byte 0",
		"temperature is nan",
		"temperature is -1",
		"top_p is 0",
		"17 stop strings",
		"a stop string is not ",
		"messages[0].content is missing",
	};

	(void)state;
	rows[2].temperature = NAN;
	rows[3].temperature = -1;
	rows[4].top_p = 0;
	rows[5].stop_count = 17;
	rows[6].stops = bad_stop;
	rows[6].stop_count = 1;
	rows[7].messages = &message;
	rows[7].message_count = 1;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_text_result result;
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(run(0, &rows[i], &heard, &result, &err), PC_E_INVALID_REQUEST);
		if (!strstr(err.message, reasons[i]))
			fail_msg("%s", err.message);
	}
	struct pc_text_request request = ask("x");
	struct pc_text_result result;

	assert_int_equal(run(SLOTS, &request, &heard, &result, NULL), PC_E_INVALID_ARGUMENT);
}

/* A host's mistakes, not a client's. */
static void missing_lists_are_refused(void **state)
{
	static const char *const texts[] = { "x" };
	struct pc_text_request request = ask("x");
	struct pc_text_result result;
	float vector[2048];
	uint32_t tokens = 77;

	(void)state;
	request.stop_count = 1;
	assert_int_equal(run(0, &request, &heard, &result, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(engine->embed_text(model, 0, NULL, 1, vector, &tokens, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(engine->embed_text(model, 0, texts, 1, NULL, &tokens, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(engine->embed_text(model, 0, texts, 1, vector, NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(engine->embed_text(model, SLOTS, texts, 1, vector, &tokens, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(tokens, 77);
	/* No texts at all are none to embed. */
	assert_int_equal(engine->embed_text(model, 0, NULL, 0, NULL, &tokens, NULL), 0);
	assert_int_equal(tokens, 0);
}

static void any_text_is_a_prompt(void **state)
{
	static const char *const prompts[] = { "",	  " ",
					       "\n\n\t",  "\xf0\x9f\x98\x80",
					       "ünïcödé", "<s></s><unk>",
					       "<0x2E>",  "\x01\x02\x7f" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(prompts); i++) {
		struct pc_text_request request = ask(prompts[i]);

		request.max_tokens = 3;
		assert_true(answer(&request, &heard).completion_tokens > 0);
	}
}

static void a_beginning_is_not_doubled(void **state)
{
	struct pc_text_request request = ask("The"), marked = ask("<s>The");

	(void)state;
	assert_int_equal(answer(&request, &heard).prompt_tokens, 2);
	assert_int_equal(answer(&marked, &again).prompt_tokens, 2);
	assert_string_equal(heard.text, again.text);
	/* It is the one at the front only; a second one was asked for. */
	marked.prompt = "<s><s>The";
	assert_int_equal(answer(&marked, &again).prompt_tokens, 3);
}

/* ---- the context's end ---- */

static void a_prompt_that_does_not_fit_is_refused(void **state)
{
	struct pc_text_result result;

	(void)state;
	/* With <s>: 2047 fit, and leave room for one token; 2048 do not. */
	char *text = repeat(" the", 2046);
	struct pc_text_request request = ask(text + 1);

	request.max_tokens = 0;
	result = answer(&request, &heard);
	assert_int_equal(result.prompt_tokens, 2047);
	assert_int_equal(result.completion_tokens, 1);
	assert_int_equal(result.finish_reason, PC_FINISH_LENGTH);
	free(text);

	static const size_t counts[] = { 2047, 5000, 1000000 };

	for (size_t i = 0; i < PC_ARRAY_LEN(counts); i++) {
		struct pc_error err = PC_ERROR_INIT;

		text = repeat(" the", counts[i]);
		request.prompt = text + 1;
		assert_int_equal(run(0, &request, &heard, &result, &err), PC_E_CONTEXT_EXCEEDED);
		assert_string_equal(pc_error_detail_get(&err, "context_tokens"), "2048");
		long tokens = strtol(pc_error_detail_get(&err, "prompt_tokens"), NULL, 10);

		assert_true(tokens > 2047 && tokens <= (long)counts[i] + 1);
		free(text);
	}
}

/* ---- cancelling ---- */

static void a_run_can_be_cancelled(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(&heard, 0, sizeof(heard));
	heard.stop_after = 3;
	request.temperature = 0;
	assert_int_equal(run(0, &request, &heard, &result, &err), 0);
	assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
	assert_int_equal(heard.chunks, 3);

	/* And the slot is as good as new. */
	answer(&request, &heard);
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
}

static bool at_once(void *ctx)
{
	return ++*(unsigned *)ctx > 1; /* the second question: inside the first batch */
}

static void never_heard(void *ctx, const char *text, size_t length)
{
	(void)ctx, (void)text, (void)length;
	fail_msg("text after a cancel");
}

static void a_long_prompt_can_be_cancelled(void **state)
{
	unsigned asked = 0;
	const struct pc_text_sink sink = { sizeof(sink), never_heard, at_once, &asked };
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;
	char *text = repeat(" the", 2000);
	struct pc_text_request request = ask(text);

	(void)state;
	assert_int_equal(engine->generate(model, 0, &request, &sink, &result, &err), 0);
	assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
	assert_int_equal(result.completion_tokens, 0);
	assert_int_equal(asked, 2);
	free(text);
}

/* ---- slots ---- */

struct caller {
	uint32_t slot;
	struct heard heard;
	int failures;
};

static void *call_often(void *ctx)
{
	struct caller *caller = ctx;
	struct pc_text_request request = ask("What is the");

	for (int i = 0; i < 5; i++) {
		struct pc_text_result result;

		memset(&caller->heard, 0, sizeof(caller->heard));
		caller->failures += run(caller->slot, &request, &caller->heard, &result, NULL) != 0;
		caller->failures += strcmp(caller->heard.text, heard.text) != 0;
	}
	return NULL;
}

static void slots_are_independent(void **state)
{
	static struct caller callers[SLOTS];
	pthread_t threads[SLOTS];
	struct pc_text_request request = ask("What is the");

	(void)state;
	answer(&request, &heard);
	for (uint32_t i = 0; i < SLOTS; i++) {
		callers[i].slot = i;
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(callers[i].failures, 0);
	}
}

/* ---- embeddings ---- */

static double dot(const float *a, const float *b, uint32_t dim)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

static void check_vectors(struct pc_engine_instance *instance)
{
	static const char *const texts[] = { "the love of money", "money and the love of it",
					     "computers are bad", "the love of money" };
	static float vectors[4][2048];
	uint32_t tokens = 0;
	struct pc_error err = PC_ERROR_INIT;

	if (engine->embed_text(instance, 1, texts, 4, vectors[0], &tokens, &err))
		fail_msg("%s", err.message);
	assert_int_equal(tokens, 5 + 7 + 4 + 5);
	for (int i = 0; i < 4; i++)
		assert_true(fabs(dot(vectors[i], vectors[i], 2048) - 1) < 1e-5);
	assert_memory_equal(vectors[0], vectors[3], sizeof(vectors[0]));
	assert_true(dot(vectors[0], vectors[1], 2048) > dot(vectors[0], vectors[2], 2048) + 0.1);
}

static void texts_become_vectors(void **state)
{
	struct pc_engine_description before = { .size = sizeof(before) }, after = before;
	struct pc_text_request request = ask("The");

	(void)state;
	answer(&request, &heard);
	engine->describe(model, &before);
	check_vectors(model); /* makes its context now */
	engine->describe(model, &after);
	assert_true(after.memory_bytes > before.memory_bytes);
	check_vectors(model);
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
}

static void bad_texts_are_named(void **state)
{
	static char huge[2 << 20];
	const struct {
		const char *text;
		int code;
		const char *says;
	} rows[] = {
		{ NULL, PC_E_INVALID_REQUEST, "text 2 of 3: the text is missing" },
		{ "ab\xff", PC_E_INVALID_REQUEST, "text 2 of 3: the text is not UTF-8 at byte 2" },
		{ huge, PC_E_CONTEXT_EXCEEDED,
		  "text 2 of 3: the text has 2097151 bytes; the 512 tokens of the model's context" },
	};
	float vectors[3 * 2048];
	uint32_t tokens = 77;

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		const char *const texts[] = { "good", rows[i].text, "good" };
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(engine->embed_text(model, 0, texts, 3, vectors, &tokens, &err),
				 rows[i].code);
		if (!strstr(err.message, rows[i].says))
			fail_msg("%s", err.message);
		assert_string_equal(pc_error_detail_get(&err, "text_index"), "1");
		assert_int_equal(tokens, 77);
	}
}

static void a_model_can_be_loaded_to_embed(void **state)
{
	struct pc_engine_spec spec = spec_of(model_path);
	struct pc_engine_instance *embedder = NULL;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_text_request request = ask("x");
	struct pc_text_sink sink = sink_to(&heard);

	(void)state;
	spec.capability = PC_CAPABILITY_TEXT_EMBEDDING;
	spec.context_tokens = 64;
	assert_int_equal(engine->load(&spec, &embedder, &err), 0);
	check_vectors(embedder);

	char *text = repeat(" the", 64);
	const char *const texts[] = { "short", text + 1 };
	float vectors[2 * 2048];
	uint32_t tokens = 77;

	assert_int_equal(engine->embed_text(embedder, 0, texts, 2, vectors, &tokens, &err),
			 PC_E_CONTEXT_EXCEEDED);
	assert_non_null(strstr(err.message, "text 2 of 2: the text has 65 tokens, 1 too many"));
	assert_string_equal(pc_error_detail_get(&err, "prompt_tokens"), "65");
	assert_string_equal(pc_error_detail_get(&err, "context_tokens"), "64");
	assert_string_equal(pc_error_detail_get(&err, "text_index"), "1");
	assert_int_equal(tokens, 77);
	free(text);

	pc_error_clear(&err);
	assert_int_equal(engine->generate(embedder, 0, &request, &sink, &result, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_non_null(strstr(err.message, "was loaded to embed"));
	engine->unload(embedder);
}

/* ---- loading what cannot be loaded ---- */

static struct pc_error load_fails(const struct pc_engine_spec *spec, int code)
{
	struct pc_engine_instance *instance = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (engine->load(spec, &instance, &err) != code)
		fail_msg("%s: %s", pc_error_name(err.code), err.message);
	assert_null(instance);
	return err;
}

static void missing_files_are_named(void **state)
{
	struct pc_engine_spec spec = spec_of("/nonexistent/x.gguf");
	struct pc_error err = load_fails(&spec, PC_E_MODEL_FILE_MISSING);

	(void)state;
	assert_string_equal(err.message,
			    "model file '/nonexistent/x.gguf': No such file or directory");
	spec.model_path = "/tmp";
	err = load_fails(&spec, PC_E_MODEL_FILE_MISSING);
	assert_string_equal(err.message, "model file '/tmp' is not a regular file");
	spec.model_path = NULL;
	load_fails(&spec, PC_E_INVALID_ARGUMENT);
	spec = spec_of(model_path);
	spec.slots = 0;
	load_fails(&spec, PC_E_INVALID_ARGUMENT);
	spec.slots = 65;
	load_fails(&spec, PC_E_INVALID_ARGUMENT);
	spec = spec_of(model_path);
	spec.capability = PC_CAPABILITY_VISION;
	load_fails(&spec, PC_E_UNSUPPORTED);
}

/* A file in the build's folder with the first `length` bytes of the model, one byte changed. */
static void write_broken(const char *path, size_t length, size_t change_at, char change)
{
	char *data = malloc(length + 1);
	FILE *from = fopen(model_path, "r"), *to = fopen(path, "w");

	assert_true(data && from && to);
	length = fread(data, 1, length, from);
	if (change_at < length)
		data[change_at] = change;
	assert_int_equal(fwrite(data, 1, length, to), length);
	fclose(from);
	fclose(to);
	free(data);
}

static void broken_files_are_refused(void **state)
{
	char path[4096];
	/* Where a download may have broken off: in the magic, the keys, the tensors' list, the
	 * weights; and a version from the future. */
	static const struct {
		size_t length, change_at;
		char change;
	} rows[] = { { 0, 0, 0 },	  { 3, 9, 0 },		{ 4, 9, 0 },
		     { 20, 99, 0 },	  { 1000, 9999, 0 },	{ 40000, 99999, 0 },
		     { 1000000, ~0u, 0 }, { 18000000, ~0u, 0 }, { 1000, 0, 'X' },
		     { 1000000, 4, 99 } };

	(void)state;
	snprintf(path, sizeof(path), "%s.broken", model_path);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_engine_spec spec = spec_of(path);

		write_broken(path, rows[i].length, rows[i].change_at, rows[i].change);
		struct pc_error err = load_fails(&spec, PC_E_MODEL_ERROR);

		assert_non_null(strstr(err.message, path));
		if (rows[i].length < 4 || rows[i].change == 'X')
			assert_non_null(strstr(err.message, "is not a GGUF file"));
		else
			assert_non_null(strstr(err.message, "llama.cpp cannot load"));
	}
	unlink(path);
}

static void damaged_weights_are_an_error(void **state)
{
	/* The last weight of all becomes F16's NaN; it is a factor of the last word's logit. */
	struct pc_engine_instance *damaged = load_changed(NULL, -2, "\x00\x7e", 2);
	struct pc_text_request request = ask("The");
	struct pc_text_sink sink = sink_to(&heard);
	struct pc_text_result result = { .size = sizeof(result), .prompt_tokens = 55 };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(engine->generate(damaged, 0, &request, &sink, &result, &err),
			 PC_E_MODEL_ERROR);
	assert_non_null(strstr(err.message, "not a number"));
	assert_int_equal(result.prompt_tokens, 55);
	engine->unload(damaged);
}

/* Loads the model with another chat template and expects the prompt that it should give. */
static void check_template(const char *template, const char *expected)
{
	static const char own[] = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
	const struct pc_chat_message messages[] = { { "system", "Be good." }, { "user", "The" } };
	char padded[sizeof(own)];
	struct pc_text_request chat = ask(NULL), plain = ask(expected);
	struct pc_text_result results[2] = { { .size = sizeof(results[0]) },
					     { .size = sizeof(results[0]) } };
	struct pc_text_sink sink = sink_to(&heard);

	snprintf(padded, sizeof(padded), "%-*s", (int)sizeof(own) - 1, template);
	struct pc_engine_instance *changed = load_changed(own, 0, padded, sizeof(own) - 1);

	chat.messages = messages;
	chat.message_count = 2;
	memset(&heard, 0, sizeof(heard));
	assert_int_equal(engine->generate(changed, 0, &chat, &sink, &results[0], NULL), 0);
	again = heard;
	memset(&heard, 0, sizeof(heard));
	assert_int_equal(engine->generate(changed, 0, &plain, &sink, &results[1], NULL), 0);
	assert_int_equal(results[0].prompt_tokens, results[1].prompt_tokens);
	assert_string_equal(again.text, heard.text + (heard.text[0] == ' '));
	engine->unload(changed);
}

static void templates_are_known_or_plain(void **state)
{
	(void)state;
	check_template("{{ '<|im_start|>' }}", "<|im_start|>system\nBe good.<|im_end|>\n"
					       "<|im_start|>user\nThe<|im_end|>\n"
					       "<|im_start|>assistant\n");
	check_template("{{ m.role }} unheard of", "system: Be good.\nuser: The\nassistant:");
	check_template("{{ m.content }}", "Be good.\nThe");
}

static bool give_up(void *ctx, float fraction)
{
	unsigned *asked = ctx;

	assert_true(fraction >= 0 && fraction <= 1);
	return ++*asked < 2;
}

static bool carry_on(void *ctx, float fraction)
{
	*(float *)ctx = fraction;
	return true;
}

static void loading_reports_and_can_be_cancelled(void **state)
{
	struct pc_engine_spec spec = spec_of(model_path);
	struct pc_engine_instance *instance = NULL;
	unsigned asked = 0;
	float fraction = -1;

	(void)state;
	spec.progress = give_up;
	spec.progress_ctx = &asked;
	load_fails(&spec, PC_E_CANCELLED);
	assert_int_equal(asked, 2);

	spec.progress = carry_on;
	spec.progress_ctx = &fraction;
	assert_int_equal(engine->load(&spec, &instance, NULL), 0);
	assert_true(fraction == 1);
	engine->unload(instance);
}

/* Asked once before the file, by llama.cpp until 1, and once before each context. */
static bool give_up_at(void *ctx, float fraction)
{
	int *left = ctx;

	assert_true(fraction >= 0 && fraction <= 1);
	return --*left > 0;
}

static void loading_can_be_cancelled_at_every_question(void **state)
{
	struct pc_engine_spec spec = spec_of(model_path);
	int questions;

	(void)state;
	spec.progress = give_up_at;
	spec.progress_ctx = &questions;
	for (int n = 1;; n++) {
		struct pc_engine_instance *instance = NULL;
		struct pc_error err = PC_ERROR_INIT;

		questions = n;
		if (engine->load(&spec, &instance, &err) == 0) {
			/* One more was allowed than there were. */
			assert_int_equal(questions, 1);
			assert_true(n > SLOTS + 2);
			engine->unload(instance);
			break;
		}
		assert_int_equal(err.code, PC_E_CANCELLED);
		assert_int_equal(questions, 0);
		assert_null(instance);
	}
}

/* RssAnon and VmSwap of this process. */
static uint64_t anonymous_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long long kib, sum = 0;
	char text[256];

	assert_non_null(file);
	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "RssAnon: %llu", &kib) == 1 ||
		    sscanf(text, "VmSwap: %llu", &kib) == 1)
			sum += kib;
	}
	fclose(file);
	return sum * 1024;
}

/*
 * The contexts' buffers are anonymous memory, the weights a mapped file. To embed a text of full
 * length touches most of the buffers, which are several times the weights; without them the figure
 * would be too small by far.
 */
static void memory_is_what_the_kernel_counts(void **state)
{
	struct pc_engine_spec spec = spec_of(model_path);
	struct pc_engine_instance *embedder = NULL;
	struct pc_engine_description d = { .size = sizeof(d) };
	char *text = repeat(" the", 2000);
	const char *const texts[] = { text };
	static float vector[2048];
	uint32_t tokens;
	struct stat st;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip(); /* ThreadSanitizer shadows every byte with several of its own. */
#endif
	spec.capability = PC_CAPABILITY_TEXT_EMBEDDING;
	spec.slots = 1;
	uint64_t before = anonymous_bytes();

	assert_int_equal(engine->load(&spec, &embedder, NULL), 0);
	assert_int_equal(engine->embed_text(embedder, 0, texts, 1, vector, &tokens, NULL), 0);
	uint64_t grown = anonymous_bytes() - before;

	engine->describe(embedder, &d);
	assert_int_equal(stat(model_path, &st), 0);
	uint64_t buffers = d.memory_bytes - (uint64_t)st.st_size;

	/* 110 MB against 99 MB in November 2026. A sanitizer's own memory is counted too. */
	assert_true(grown < buffers + buffers / 2);
	assert_true(grown > buffers / 2);
	free(text);
	engine->unload(embedder);
}

static void a_context_is_as_long_as_asked(void **state)
{
	struct pc_engine_spec spec = spec_of(model_path);
	struct pc_engine_instance *instance = NULL;
	struct pc_engine_description d = { .size = sizeof(d) };

	(void)state;
	spec.slots = 1;
	spec.context_tokens = 4;
	assert_int_equal(engine->load(&spec, &instance, NULL), 0);
	engine->describe(instance, &d);
	assert_int_equal(d.context_tokens, 4);

	struct pc_text_request request = ask("the the");
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_text_sink sink = sink_to(&heard);

	memset(&heard, 0, sizeof(heard));
	request.temperature = 0;
	request.max_tokens = 0;
	assert_int_equal(engine->generate(instance, 0, &request, &sink, &result, NULL), 0);
	assert_int_equal(result.prompt_tokens + result.completion_tokens, 4);
	assert_int_equal(result.finish_reason, PC_FINISH_LENGTH);
	engine->unload(instance);

	spec.context_tokens = UINT32_MAX; /* gets what the model was trained on */
	assert_int_equal(engine->load(&spec, &instance, NULL), 0);
	engine->describe(instance, &d);
	assert_int_equal(d.context_tokens, 2048);
	engine->unload(instance);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_describes_itself),
		cmocka_unit_test(a_smaller_description_is_filled_to_its_size),
		cmocka_unit_test(greedy_is_the_same_every_time),
		cmocka_unit_test(next_to_no_temperature_is_none),
		cmocka_unit_test(a_seed_repeats_and_others_differ),
		cmocka_unit_test(a_request_leaves_nothing_to_the_next),
		cmocka_unit_test(max_tokens_is_kept),
		cmocka_unit_test(answers_come_to_an_end),
		cmocka_unit_test(chats_go_through_the_template),
		cmocka_unit_test(stop_strings_never_leak),
		cmocka_unit_test(long_stop_strings_are_refused),
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(missing_lists_are_refused),
		cmocka_unit_test(any_text_is_a_prompt),
		cmocka_unit_test(a_beginning_is_not_doubled),
		cmocka_unit_test(a_prompt_that_does_not_fit_is_refused),
		cmocka_unit_test(a_run_can_be_cancelled),
		cmocka_unit_test(a_long_prompt_can_be_cancelled),
		cmocka_unit_test(slots_are_independent),
		cmocka_unit_test(texts_become_vectors),
		cmocka_unit_test(bad_texts_are_named),
		cmocka_unit_test(a_model_can_be_loaded_to_embed),
		cmocka_unit_test(missing_files_are_named),
		cmocka_unit_test(broken_files_are_refused),
		cmocka_unit_test(damaged_weights_are_an_error),
		cmocka_unit_test(templates_are_known_or_plain),
		cmocka_unit_test(loading_reports_and_can_be_cancelled),
		cmocka_unit_test(loading_can_be_cancelled_at_every_question),
		cmocka_unit_test(memory_is_what_the_kernel_counts),
		cmocka_unit_test(a_context_is_as_long_as_asked),
	};

	return with_model(argc, argv) ? 2 : cmocka_run_group_tests(tests, load_model, unload_model);
}
