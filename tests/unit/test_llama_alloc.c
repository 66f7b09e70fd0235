/* SPDX-License-Identifier: MIT */
/*
 * The llama plug-in without memory. A plug-in has its own copy of the allocation door, which a test
 * could not hold shut, so its files are linked into this program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <poolcore/engine.h>

#include "tests/unit/fail_alloc.h"

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host);

static const struct pc_engine *engine;
static const char *model_path;

static void log_nothing(enum pc_log_level level, const char *subject, const char *line)
{
	(void)level, (void)subject, (void)line;
}

static struct pc_engine_spec spec_of(enum pc_capability capability)
{
	return (struct pc_engine_spec){
		.size = sizeof(struct pc_engine_spec),
		.capability = capability,
		.model_path = model_path,
		.slots = 2,
		.threads = 1,
	};
}

static struct pc_engine_instance *load_model(enum pc_capability capability)
{
	const struct pc_engine_spec spec = spec_of(capability);
	struct pc_engine_instance *instance = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (engine->load(&spec, &instance, &err))
		fail_msg("%s", err.message);
	return instance;
}

static void loading(void **state)
{
	const struct pc_engine_spec spec = spec_of(PC_CAPABILITY_TEXT_TO_TEXT);
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		struct pc_engine_instance *instance = NULL;

		fail_alloc_begin_once(n);
		int rc = engine->load(&spec, &instance, NULL);

		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			engine->unload(instance);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_null(instance);
		assert_int_equal(fail_alloc_live(), 0);
	}
	assert_true(n > 1);
}

static char heard[4096];

static void hear(void *ctx, const char *text, size_t length)
{
	(void)ctx;
	strncat(heard, text, length);
}

/* Everything that takes memory. */
static struct pc_text_request demanding(const struct pc_chat_message *messages,
					const char *const *stops)
{
	static const struct pc_logit_bias bias = { 12, 1 };

	return (struct pc_text_request){
		.size = sizeof(struct pc_text_request),
		.messages = messages,
		.message_count = 1,
		.max_tokens = 5,
		.top_p = 1,
		.stops = stops,
		.stop_count = 1,
		.repeat_penalty = 2,
		.presence_penalty = 1,
		.logit_biases = &bias,
		.logit_bias_count = 1,
		.grammar = "root ::= [a-z ]+",
	};
}

static void generating(void **state)
{
	struct pc_engine_instance *instance = load_model(PC_CAPABILITY_TEXT_TO_TEXT);
	const struct pc_chat_message messages[] = { { "user", "The" } };
	const char *const stops[] = { "never said" };
	const struct pc_text_request request = demanding(messages, stops);
	const struct pc_text_sink sink = { .size = sizeof(sink), .chunk = hear };
	char first[sizeof(heard)];
	unsigned n;

	(void)state;
	for (n = 0;; n++) { /* nothing is refused in the first round */
		struct pc_text_result result = { .size = sizeof(result) };
		struct pc_error err = PC_ERROR_INIT;

		heard[0] = '\0';
		fail_alloc_begin_once(n);
		int rc = engine->generate(instance, 0, &request, &sink, &result, &err);
		bool refused = !fail_alloc_end();

		/* The slot gives up the prompt that it had, or keeps it. */
		assert_true(fail_alloc_live() <= (n == 0));
		if (n == 0)
			strcpy(first, heard);
		else if (!refused)
			break;
		assert_int_equal(rc, refused ? PC_E_OUT_OF_MEMORY : 0);
		assert_int_equal(err.code, rc);
		assert_true(refused ? !heard[0] : heard[0] != 0);
	}
	assert_true(n > 8);
	assert_string_equal(first, heard);
	engine->unload(instance);
}

static void embedding(void **state)
{
	struct pc_engine_instance *instance = load_model(PC_CAPABILITY_TEXT_EMBEDDING);
	static const char *const texts[] = { "the love", "of money" };
	static float vectors[2][2048];
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		struct pc_error err = PC_ERROR_INIT;
		uint32_t tokens = 77;

		fail_alloc_begin_once(n);
		int rc = engine->embed_text(instance, 0, texts, 2, vectors[0], &tokens, &err);

		assert_int_equal(fail_alloc_live(), 0);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(tokens, 77);
	}
	assert_true(n > 2);
	engine->unload(instance);
}

int main(int argc, char **argv)
{
	static const struct pc_engine_host host = { .size = sizeof(host), .log = log_nothing };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loading),
		cmocka_unit_test(generating),
		cmocka_unit_test(embedding),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s MODEL\n", argv[0]);
		return 2;
	}
	model_path = argv[1];
	engine = pc_engine_entry(PC_ENGINE_ABI, &host);
	return engine ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
