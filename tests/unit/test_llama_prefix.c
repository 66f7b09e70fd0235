/* SPDX-License-Identifier: MIT */
/* Unit tests of engines/llama/prefix.c: what a slot keeps changes no answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/llama_model.h"

#define GRAIN 128 /* prefix.c keeps whole batches of so many tokens */

/* ---- a model that looks back ---- */

/*
 * The demonstration model looks at one token only, and no mistake with the others could show. This
 * one is it with noise for attention: every token before has its say in the next.
 */
static struct pc_engine_instance *load_attentive(void)
{
	enum { VOCAB = 2048, MATRIX = 2048 * 64 };
	static uint16_t noise[4 * MATRIX]; /* query, key, value, output */
	/* Behind them: the norms of the block and of the end, feed-forward, output. */
	const long after = 2 * VOCAB * 4 + 3 * MATRIX * 2 + VOCAB * VOCAB * 2;
	uint32_t random = 1;

	for (size_t i = 0; i < PC_ARRAY_LEN(noise); i++) {
		/* F16 from 2^-5, in the last matrix from 2^-8, up to its double; either sign. */
		uint16_t exponent = i < 3 * MATRIX ? 10 : 7;

		random = random * 1664525 + 1013904223;
		noise[i] = (uint16_t)(random >> 16 & 0x8000) | (uint16_t)(exponent << 10) |
			   (uint16_t)(random >> 12 & 0x3ff);
	}
	return load_changed(NULL, -after - (long)sizeof(noise), (const char *)noise, sizeof(noise));
}

/* `count` common words, of which the first `shared` are the same for every seed. */
static char *words(size_t shared, size_t count, uint32_t seed)
{
	static const char *const common[] = { " the", " of",  " and", " to",   " is",  " that",
					      " it",  " for", " you", " with", " was", " not" };
	char *text = calloc(count, 8);
	uint32_t random = 77;

	assert_non_null(text);
	for (size_t i = 0; i < count; i++) {
		if (i == shared)
			random = seed;
		random = random * 1664525 + 1013904223;
		strcat(text, common[(random >> 16) % PC_ARRAY_LEN(common)]);
	}
	/* A blank before the first word would be a token of its own. */
	memmove(text, text + 1, strlen(text));
	return text;
}

static struct pc_text_result generate_on(struct pc_engine_instance *instance,
					 const struct pc_text_request *request, struct heard *to)
{
	struct pc_text_sink sink = sink_to(to);
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;

	memset(to, 0, sizeof(*to));
	if (engine->generate(instance, 0, request, &sink, &result, &err))
		fail_msg("%s", err.message);
	return result;
}

/* Runs on the instance, which must have kept `cached` tokens, and on a fresh one: one answer. */
static void check_same(struct pc_engine_instance *instance, const struct pc_text_request *request,
		       uint32_t cached)
{
	struct pc_engine_instance *fresh = load_attentive();
	struct pc_text_result kept = generate_on(instance, request, &heard);
	struct pc_text_result first = generate_on(fresh, request, &again);

	assert_string_equal(heard.text, again.text);
	assert_int_equal(kept.completion_tokens, first.completion_tokens);
	assert_int_equal(kept.prompt_tokens, first.prompt_tokens);
	assert_int_equal(first.cached_tokens, 0);
	assert_int_equal(kept.cached_tokens, cached);
	engine->unload(fresh);
}

/* ---- the same answers ---- */

static void the_model_looks_back(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	char *one = words(0, 40, 1), *other = words(0, 40, 1);
	struct pc_text_request request = ask(one);

	(void)state;
	/* Other words long before the end. */
	memcpy(other + strcspn(other, " "), " your ", 6);
	request.temperature = 0;
	generate_on(attentive, &request, &heard);
	request.prompt = other;
	generate_on(attentive, &request, &again);
	assert_string_not_equal(heard.text, again.text);
	free(one);
	free(other);
	engine->unload(attentive);
}

static void a_prompt_shares_whole_batches_only(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	/* One token more than words: the first is <s>. */
	char *one = words(300, 700, 1), *other = words(300, 500, 2), *third = words(127, 200, 3);
	struct pc_text_request request = ask(one);

	(void)state;
	for (int greedy = 0; greedy < 2; greedy++) {
		request.temperature = greedy ? 0 : 1.5f;
		request.prompt = one;
		check_same(attentive, &request, greedy ? 2 * GRAIN : 0);
		check_same(attentive, &request, 5 * GRAIN); /* of 701 */
		request.prompt = other;
		check_same(attentive, &request, 2 * GRAIN);
		request.prompt = one;
		check_same(attentive, &request, 2 * GRAIN);
		request.prompt = third;
		check_same(attentive, &request, GRAIN);
		request.prompt = other;
		check_same(attentive, &request, GRAIN);
	}
	free(one);
	free(other);
	free(third);
	engine->unload(attentive);
}

static void a_prompt_of_whole_batches_computes_its_last(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	char *text = words(0, 2 * GRAIN - 1, 5);
	struct pc_text_request request = ask(text);

	(void)state;
	assert_int_equal(generate_on(attentive, &request, &heard).prompt_tokens, 2 * GRAIN);
	check_same(attentive, &request, GRAIN);
	check_same(attentive, &request, GRAIN);
	free(text);
	engine->unload(attentive);
}

/* A conversation goes on: the next prompt holds the last one and its answer. */
static void an_answer_is_read_again(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	char *text = words(0, 200, 9);
	struct pc_text_request request = ask(text);
	static char longer[70000];

	(void)state;
	request.max_tokens = 200;
	generate_on(attentive, &request, &heard);
	assert_true(heard.length > 0);
	snprintf(longer, sizeof(longer), "%s%s the end of it", text, heard.text);
	request.prompt = longer;
	check_same(attentive, &request, GRAIN);
	free(text);
	engine->unload(attentive);
}

/* ---- what ends a run early ---- */

static bool stop_in_second_batch(void *ctx)
{
	return ++*(unsigned *)ctx > 40;
}

static void a_cancelled_prompt_keeps_what_it_read(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	char *text = words(0, 1500, 4);
	struct pc_text_request request = ask(text);
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	/* Wherever it is cut off, also inside a batch. */
	for (unsigned asked = 0; asked < 40; asked += 7) {
		unsigned count = asked;
		struct pc_text_sink sink = sink_to(&heard);

		sink.stopped = stop_in_second_batch;
		sink.ctx = &count;
		assert_int_equal(engine->generate(attentive, 0, &request, &sink, &result, NULL), 0);
		assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
	}
	struct pc_text_result whole = generate_on(attentive, &request, &heard);

	assert_int_equal(whole.cached_tokens % GRAIN, 0);
	assert_true(whole.cached_tokens < 1500);
	check_same(attentive, &request, 11 * GRAIN); /* of 1501 */
	free(text);
	engine->unload(attentive);
}

static void a_refused_prompt_takes_nothing_away(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	char *text = words(0, 400, 6), *long_text = words(0, 3000, 6);
	struct pc_text_request request = ask(text), too_long = ask(long_text);
	struct pc_text_sink sink = sink_to(&again);
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	generate_on(attentive, &request, &heard);
	assert_int_equal(engine->generate(attentive, 0, &too_long, &sink, &result, NULL),
			 PC_E_CONTEXT_EXCEEDED);
	check_same(attentive, &request, 3 * GRAIN);
	free(text);
	free(long_text);
	engine->unload(attentive);
}

static void slots_keep_their_own(void **state)
{
	struct pc_engine_instance *attentive = load_attentive();
	char *text = words(0, 400, 8);
	struct pc_text_request request = ask(text);
	struct pc_text_sink sink = sink_to(&again);
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	generate_on(attentive, &request, &heard);
	memset(&again, 0, sizeof(again));
	assert_int_equal(engine->generate(attentive, 1, &request, &sink, &result, NULL), 0);
	assert_int_equal(result.cached_tokens, 0);
	assert_string_equal(heard.text, again.text);
	free(text);
	engine->unload(attentive);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_model_looks_back),
		cmocka_unit_test(a_prompt_shares_whole_batches_only),
		cmocka_unit_test(a_prompt_of_whole_batches_computes_its_last),
		cmocka_unit_test(an_answer_is_read_again),
		cmocka_unit_test(a_cancelled_prompt_keeps_what_it_read),
		cmocka_unit_test(a_refused_prompt_takes_nothing_away),
		cmocka_unit_test(slots_keep_their_own),
	};

	return with_model(argc, argv) ? 2 : cmocka_run_group_tests(tests, load_model, unload_model);
}
