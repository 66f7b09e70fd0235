/* SPDX-License-Identifier: MIT */
/* Unit tests of engines/llama/abi.c: hosts that are older or newer than the plug-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/llama_model.h"

/* A request of `size` bytes, as a host of that size would have it: what follows is not the
 * host's. */
static struct pc_text_request cut(struct pc_text_request request, size_t size)
{
	request.size = (uint32_t)size;
	memset((char *)&request + size, 0xff, sizeof(request) - size);
	return request;
}

static void an_older_request_asks_for_defaults(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_request old = cut(request, offsetof(struct pc_text_request, top_k));

	(void)state;
	answer(&request, &heard);
	answer(&old, &again);
	assert_string_equal(heard.text, again.text);

	/* Of two members the host knows the first. */
	request.top_k = 1;
	answer(&request, &heard);
	assert_string_not_equal(heard.text, again.text);
	old = cut(request, offsetof(struct pc_text_request, min_p));
	answer(&old, &again);
	assert_string_equal(heard.text, again.text);
}

static void a_newer_request_says_more(void **state)
{
	struct {
		struct pc_text_request request;
		char unknown[64];
	} newer = { .request = ask("The") };

	(void)state;
	answer(&newer.request, &heard);
	newer.request.size = sizeof(newer);
	memset(newer.unknown, 0xff, sizeof(newer.unknown));
	answer(&newer.request, &again);
	assert_string_equal(heard.text, again.text);
}

static void results_are_filled_to_their_size(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_sink sink = sink_to(&heard);
	struct {
		struct pc_text_result result;
		uint32_t unknown;
	} r;

	(void)state;
	memset(&r, 0x55, sizeof(r));
	memset(&heard, 0, sizeof(heard));
	r.result.size = offsetof(struct pc_text_result, cached_tokens);
	assert_int_equal(engine->generate(model, 0, &request, &sink, &r.result, NULL), 0);
	assert_int_equal(r.result.prompt_tokens, 2);
	assert_int_equal(r.result.cached_tokens, 0x55555555);
	assert_int_equal(r.result.size, offsetof(struct pc_text_result, cached_tokens));

	r.result.size = sizeof(r);
	assert_int_equal(engine->generate(model, 0, &request, &sink, &r.result, NULL), 0);
	assert_int_equal(r.result.cached_tokens, 0);
	assert_int_equal(r.unknown, 0x55555555);
	assert_int_equal(r.result.size, sizeof(r));
}

static void newer_sinks_and_specs_are_taken(void **state)
{
	struct {
		struct pc_text_sink sink;
		char unknown[32];
	} sink = { .sink = sink_to(&heard) };
	struct {
		struct pc_engine_spec spec;
		char unknown[32];
	} spec = { .spec = spec_of(model_path) };
	struct pc_engine_instance *instance = NULL;
	struct pc_text_request request = ask("The");
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	memset(sink.unknown, 0xff, sizeof(sink.unknown));
	memset(spec.unknown, 0xff, sizeof(spec.unknown));
	sink.sink.size = sizeof(sink);
	spec.spec.size = sizeof(spec);
	answer(&request, &again);
	memset(&heard, 0, sizeof(heard));
	assert_int_equal(engine->load(&spec.spec, &instance, NULL), 0);
	assert_int_equal(engine->generate(instance, 0, &request, &sink.sink, &result, NULL), 0);
	assert_string_equal(heard.text, again.text);
	engine->unload(instance);
}

static int generate_with(uint32_t request_size, uint32_t sink_size, uint32_t result_size,
			 struct pc_error *err)
{
	struct pc_text_request request = ask("The");
	struct pc_text_sink sink = sink_to(&heard);
	struct pc_text_result result = { .size = result_size };

	request.size = request_size;
	sink.size = sink_size;
	return engine->generate(model, 0, &request, &sink, &result, err);
}

static void what_is_shorter_than_the_first_is_refused(void **state)
{
	const uint32_t request = offsetof(struct pc_text_request, top_k);
	const uint32_t sink = sizeof(struct pc_text_sink);
	const uint32_t result = offsetof(struct pc_text_result, cached_tokens);
	const struct {
		uint32_t request, sink, result;
		const char *says;
	} rows[] = {
		{ request - 1, sink, result, "the request has a size of " },
		{ 0, sink, result, "the request has a size of 0 bytes" },
		{ request, sink - 1, result, "the sink has a size of " },
		{ request, sink, result - 1, "the result has a size of 15 bytes; it has had 16" },
	};
	struct pc_engine_spec spec = spec_of(model_path);
	struct pc_engine_instance *instance = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(&heard, 0, sizeof(heard));
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		pc_error_clear(&err);
		assert_int_equal(generate_with(rows[i].request, rows[i].sink, rows[i].result, &err),
				 PC_E_INVALID_ARGUMENT);
		if (!strstr(err.message, rows[i].says))
			fail_msg("%s", err.message);
	}
	assert_int_equal(heard.chunks, 0);
	assert_int_equal(generate_with(request, sink, result, NULL), 0);

	spec.size--;
	pc_error_clear(&err);
	assert_int_equal(engine->load(&spec, &instance, &err), PC_E_INVALID_ARGUMENT);
	assert_non_null(strstr(err.message, "the spec has a size of "));
}

static void a_sink_without_chunk_is_refused(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_sink sink = sink_to(&heard);
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	sink.chunk = NULL;
	assert_int_equal(engine->generate(model, 0, &request, &sink, &result, NULL),
			 PC_E_INVALID_ARGUMENT);
	/* The other one may be missing. */
	sink = sink_to(&heard);
	sink.stopped = NULL;
	assert_int_equal(engine->generate(model, 0, &request, &sink, &result, NULL), 0);
}

static void descriptions_keep_their_size(void **state)
{
	struct {
		struct pc_engine_description description;
		char unknown[16];
	} newer;

	(void)state;
	memset(&newer, 0x55, sizeof(newer));
	newer.description.size = sizeof(newer);
	engine->describe(model, &newer.description);
	assert_int_equal(newer.description.size, sizeof(newer));
	assert_int_equal(newer.description.context_tokens, 2048);
	assert_int_equal(newer.unknown[0], 0x55);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_older_request_asks_for_defaults),
		cmocka_unit_test(a_newer_request_says_more),
		cmocka_unit_test(results_are_filled_to_their_size),
		cmocka_unit_test(newer_sinks_and_specs_are_taken),
		cmocka_unit_test(what_is_shorter_than_the_first_is_refused),
		cmocka_unit_test(a_sink_without_chunk_is_refused),
		cmocka_unit_test(descriptions_keep_their_size),
	};

	return with_model(argc, argv) ? 2 : cmocka_run_group_tests(tests, load_model, unload_model);
}
