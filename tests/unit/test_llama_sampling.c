/* SPDX-License-Identifier: MIT */
/* Unit tests of engines/llama/sample.c and grammar.c: what each wish does to an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/llama_model.h"
#include "worker/json_grammar.h"

/* ---- tokens of the demonstration model ---- */

/* Its words begin here, the most frequent first. */
enum { THE = 12, TO, A, OF, IS };

static struct pc_text_request biased(const struct pc_logit_bias *biases, size_t count)
{
	struct pc_text_request request = ask("The");

	request.temperature = 0;
	request.max_tokens = 3;
	request.logit_biases = biases;
	request.logit_bias_count = count;
	return request;
}

static void refused(const struct pc_text_request *request, const char *says)
{
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;

	memset(&heard, 0, sizeof(heard));
	assert_int_equal(run(0, request, &heard, &result, &err), PC_E_INVALID_REQUEST);
	if (!strstr(err.message, says))
		fail_msg("%s", err.message);
	assert_int_equal(heard.chunks, 0);
}

/* ---- ranges ---- */

static void numbers_have_ranges(void **state)
{
	const struct {
		size_t offset;
		float value;
		const char *says;
	} rows[] = {
#define ROW(member, value, says) { offsetof(struct pc_text_request, member), value, #member says }
		ROW(temperature, -0.1f, " is -0.1; it is from 0 to 100"),
		ROW(temperature, INFINITY, " is inf; it is from 0 to 100"),
		ROW(top_p, 1.5f, " is 1.5; it is more than 0 and at most 1"),
		ROW(top_p, 0, " is 0; it is more than 0"),
		ROW(min_p, -0.5f, " is -0.5; it is from 0 to 1"),
		ROW(min_p, 1.5f, " is 1.5; it is from 0 to 1"),
		ROW(min_p, NAN, " is nan; it is from 0 to 1"),
		ROW(repeat_penalty, 0.05f, " is 0.05; it is from 0.1 to 10, or 0"),
		ROW(repeat_penalty, -1, " is -1; it is from 0.1 to 10, or 0"),
		ROW(repeat_penalty, 11, " is 11; it is from 0.1 to 10, or 0"),
		ROW(presence_penalty, 2.5f, " is 2.5; it is from -2 to 2"),
		ROW(presence_penalty, NAN, " is nan; it is from -2 to 2"),
		ROW(frequency_penalty, -2.5f, " is -2.5; it is from -2 to 2"),
#undef ROW
	};
	struct pc_text_request request;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		request = ask("The");
		memcpy((char *)&request + rows[i].offset, &rows[i].value, sizeof(float));
		refused(&request, rows[i].says);
	}
	request = ask("The");
	request.top_k = UINT32_MAX;
	refused(&request, "top_k is 4294967295; it is from 0 to 2147483647");
}

static void biases_have_ranges(void **state)
{
	static struct pc_logit_bias many[PC_TEXT_MAX_BIASES + 1];
	const struct {
		struct pc_logit_bias bias;
		const char *says;
	} rows[] = {
		{ { 2048, 1 }, "logit_bias has the token 2048; the model's are 0 to 2047" },
		{ { -1, 1 }, "logit_bias has the token -1; the model's are 0 to 2047" },
		{ { 5, 100.5f }, "logit_bias of token 5 is 100.5; it is from -100 to 100" },
		{ { 5, NAN }, "logit_bias of token 5 is nan; it is from -100 to 100" },
	};
	struct pc_text_request request;
	struct pc_text_result result = { .size = sizeof(result) };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		request = biased(&rows[i].bias, 1);
		refused(&request, rows[i].says);
	}
	request = biased(many, PC_TEXT_MAX_BIASES + 1);
	refused(&request, "logit_bias has 1025 tokens; 1024 are possible");
	request.logit_bias_count--;
	answer(&request, &heard);
	request = biased(NULL, 1);
	assert_int_equal(run(0, &request, &heard, &result, NULL), PC_E_INVALID_ARGUMENT);
}

/* ---- cuts ---- */

static void one_candidate_is_greedy(void **state)
{
	struct pc_text_request greedy = ask("The"), request = greedy;

	(void)state;
	greedy.temperature = 0;
	answer(&greedy, &heard);
	request.temperature = 2;
	request.top_p = 1;
	answer(&request, &again);
	assert_string_not_equal(heard.text, again.text);
	request.top_k = 1;
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
	request.top_k = 0;
	request.min_p = 1;
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
}

/* The words that follow "The" in 200 draws: how many differ. */
static unsigned variety(struct pc_text_request request)
{
	static char known[200][32];
	unsigned count = 0;

	request.max_tokens = 1;
	for (request.seed = 0; request.seed < 200; request.seed++) {
		unsigned i = 0;

		answer(&request, &heard);
		while (i < count && strcmp(known[i], heard.text) != 0)
			i++;
		if (i == count)
			snprintf(known[count++], sizeof(known[0]), "%.31s", heard.text);
	}
	return count;
}

static void cuts_leave_as_many_as_they_say(void **state)
{
	struct pc_text_request request = ask("The");

	(void)state;
	request.temperature = 100; /* all that is left is as likely */
	request.top_p = 1;
	assert_true(variety(request) > 100);
	request.top_k = 5;
	assert_int_equal(variety(request), 5);
	request.top_k = INT32_MAX;
	assert_true(variety(request) > 100);
	request.top_k = 0;
	request.min_p = 0.5f;
	unsigned likely = variety(request);

	assert_true(likely >= 1 && likely < 20);
}

/* ---- biases and penalties ---- */

static void a_bias_forces_and_bans(void **state)
{
	const struct pc_logit_bias force[] = { { THE, 100 } }, ban[] = { { THE, -100 } };
	const struct pc_logit_bias both[] = { { THE, 100 }, { OF, 100 }, { THE, -100 } };
	struct pc_text_request request = biased(force, 1);

	(void)state;
	answer(&request, &heard);
	assert_string_equal(heard.text, " the the the");

	/* "of" is followed by "the" more often than by anything. */
	request = ask("of");
	request.temperature = 0;
	request.max_tokens = 1;
	answer(&request, &heard);
	assert_string_equal(heard.text, " the");
	request.logit_biases = ban;
	request.logit_bias_count = 1;
	answer(&request, &heard);
	assert_string_not_equal(heard.text, " the");

	/* The last of a token's counts, and alone. */
	request = biased(both, 3);
	answer(&request, &heard);
	assert_string_equal(heard.text, " of of of");
}

static unsigned times(const char *text, const char *word)
{
	unsigned count = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		count++;
	return count;
}

/* Two words are possible, one of them far likelier, until it has been said too often. */
static void frequency_counts_what_was_said(void **state)
{
	const struct pc_logit_bias two[] = { { THE, 100 }, { OF, 60 } };
	struct pc_text_request request = biased(two, 2);

	(void)state;
	request.max_tokens = 60;
	answer(&request, &heard);
	assert_int_equal(times(heard.text, " the"), 60);
	/* A presence is taken off once, which is not enough here. */
	request.presence_penalty = 2;
	answer(&request, &heard);
	assert_int_equal(times(heard.text, " the"), 60);
	request.presence_penalty = 0;
	request.frequency_penalty = 2;
	answer(&request, &heard);
	unsigned the = times(heard.text, " the"), of = times(heard.text, " of");

	assert_int_equal(the + of, 60);
	assert_true(the >= 20 && of >= 10);
	/* A negative one keeps to what was said. */
	request.frequency_penalty = -2;
	answer(&request, &heard);
	assert_int_equal(times(heard.text, " the"), 60);
}

/* "the" is ahead of "of" by less than the penalty, so that it is said once and not again. */
static void presence_counts_what_was_said(void **state)
{
	struct pc_logit_bias close[] = { { THE, 75 }, { OF, 40 } };
	struct pc_text_request request = biased(close, 2);

	(void)state;
	request.prompt = "the";
	request.max_tokens = 2;
	do {
		close[1].bias += 0.5f;
		answer(&request, &heard);
	} while (strcmp(heard.text, " the the") == 0 && close[1].bias < 100);
	close[1].bias -= 0.5f;
	answer(&request, &heard);
	assert_string_equal(heard.text, " the the");
	/* The "the" of the prompt does not count. */
	request.presence_penalty = 2;
	answer(&request, &heard);
	assert_string_equal(heard.text, " the of");
	request.presence_penalty = -2;
	answer(&request, &heard);
	assert_string_equal(heard.text, " the the");
}

static void repetition_looks_back_over_its_window(void **state)
{
	/* In all three "of the" comes last; the word that follows is in the second prompt. */
	struct pc_text_request request = ask("of the");
	char prompt[64], word[32];

	(void)state;
	request.temperature = 0;
	request.max_tokens = 1;
	answer(&request, &heard);
	snprintf(word, sizeof(word), "%.31s", heard.text);
	request.repeat_penalty = 5;
	answer(&request, &heard);
	assert_string_equal(heard.text, word);

	snprintf(prompt, sizeof(prompt), "%s of the", word + 1);
	request.prompt = prompt;
	answer(&request, &heard);
	assert_string_not_equal(heard.text, word);
	request.repeat_window = 3;
	answer(&request, &heard);
	assert_string_not_equal(heard.text, word);
	/* It is the third from the end. */
	request.repeat_window = 2;
	answer(&request, &heard);
	assert_string_equal(heard.text, word);
	request.repeat_window = UINT32_MAX;
	answer(&request, &heard);
	assert_string_not_equal(heard.text, word);
	/* Both mean none. */
	request.repeat_penalty = 1;
	answer(&request, &heard);
	assert_string_equal(heard.text, word);
	request.repeat_penalty = 0;
	answer(&request, &heard);
	assert_string_equal(heard.text, word);
}

static void repetition_counts_the_answer(void **state)
{
	const struct pc_logit_bias two[] = { { THE, 100 }, { OF, 60 } };
	struct pc_text_request request = biased(two, 2);

	(void)state;
	request.max_tokens = 20;
	answer(&request, &heard);
	assert_int_equal(times(heard.text, " the"), 20);
	/* The last word alone is never said again; of the last two, both have lost the same. */
	request.repeat_penalty = 10;
	request.repeat_window = 1;
	answer(&request, &heard);
	assert_int_equal(times(heard.text, " the of"), 10);
	request.repeat_window = 2;
	answer(&request, &again);
	assert_string_not_equal(heard.text, again.text);
}

/* ---- grammars ---- */

static void an_answer_is_a_sentence_of_the_grammar(void **state)
{
	struct pc_text_request request = ask("The");
	struct pc_text_result result;
	unsigned hates = 0;

	(void)state;
	request.grammar = "root ::= (\" love\" | \" hate\"){2,4} end\nend ::= \"!\" # shouted";
	for (request.seed = 0; request.seed < 30; request.seed++) {
		result = answer(&request, &heard);
		assert_int_equal(result.finish_reason, PC_FINISH_STOP);
		assert_int_equal(result.completion_tokens, heard.chunks);
		unsigned love = times(heard.text, " love"), hate = times(heard.text, " hate");

		assert_true(love + hate >= 2 && love + hate <= 4);
		assert_int_equal(heard.length, 5 * (love + hate) + 1);
		assert_int_equal(heard.text[heard.length - 1], '!');
		hates += hate;
	}
	assert_true(hates > 0);
	request.temperature = 0;
	answer(&request, &heard);
	answer(&request, &again);
	assert_string_equal(heard.text, again.text);
	request.max_tokens = 1;
	assert_int_equal(answer(&request, &heard).finish_reason, PC_FINISH_LENGTH);
	assert_int_equal(heard.length, 5);
}

static void an_empty_sentence_is_an_empty_answer(void **state)
{
	struct pc_text_request request = ask("The");

	(void)state;
	request.grammar = "root ::= \"\"";
	assert_int_equal(answer(&request, &heard).completion_tokens, 0);
	assert_int_equal(heard.length, 0);
}

static void bad_grammars_are_refused(void **state)
{
	static char deep[1000], longest[PC_TEXT_GRAMMAR_MAX_BYTES + 2];
	const struct {
		const char *grammar, *says;
	} rows[] = {
		{ "", "grammar is empty" },
		{ "nonsense", "grammar is not GBNF with a rule for \"root\"" },
		{ "x ::= \"a\"", "grammar is not GBNF with a rule for \"root\"" },
		{ "root ::= \"abc", "grammar is not GBNF" },
		{ "root ::= [^x", "grammar is not GBNF" },
		{ "root ::= missing", "grammar is not GBNF" },
		{ "root ::= root \" the\"", "left recursion" },
		{ "root ::= \"\xff\"", "grammar is not UTF-8 at byte 10" },
		{ "root ::= \" the\"{2001}", "repetitions for more than 2000 items" },
		{ "root ::= \" a\"{0,1001} \" b\"{0,1000}",
		  "repetitions for more than 2000 items" },
		{ "root ::= \" a\"{99999999999999999999}", "repetitions for more than 2000" },
		{ "root ::= \" a\"{2000,18446744073709551615}", "repetitions for more than" },
		{ deep, "more than 256 brackets inside each other" },
		{ longest, "grammar has 16385 bytes; 16384 are possible" },
		{ "root ::= \"{\"", "leaves nothing to go on with that this model has a token" },
	};
	struct pc_text_request request = ask("The");

	(void)state;
	memset(deep, '(', sizeof(deep) - 1);
	memcpy(deep, "root ::= ", 9);
	memset(longest, '#', sizeof(longest) - 1);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		request.grammar = rows[i].grammar;
		refused(&request, rows[i].says);
	}
}

/*
 * The demonstration model writes neither braces nor quotes. This one has them in the place of its
 * three marks, which stand side by side in the file, each behind its length.
 */
static struct pc_engine_instance *load_json_writer(void)
{
	static const char names[] = "<0x7B>\6\0\0\0\0\0\0\0<0x7D>\6\0\0\0\0\0\0\0<0x22>";

	return load_changed("<0x2E>", 0, names, sizeof(names) - 1);
}

/* What the worker sends for OpenAI's "json_object". */
static void json_is_written(void **state)
{
	struct pc_engine_instance *writer = load_json_writer();
	struct pc_text_request request = ask("The");
	struct pc_text_sink sink = sink_to(&heard);
	unsigned ended = 0, filled = 0;

	(void)state;
	request.grammar = json_grammar;
	request.max_tokens = 150;
	request.temperature = 3;
	request.top_p = 1;
	for (request.seed = 0; request.seed < 15; request.seed++) {
		struct pc_text_result result = { .size = sizeof(result) };
		struct pc_error err = PC_ERROR_INIT;

		memset(&heard, 0, sizeof(heard));
		if (engine->generate(writer, 0, &request, &sink, &result, &err))
			fail_msg("%s after '%s'", err.message, heard.text);
		assert_int_equal(heard.text[0], '{');
		if (result.finish_reason != PC_FINISH_STOP)
			continue;
		json_t *object = json_loads(heard.text, 0, NULL);

		if (!json_is_object(object))
			fail_msg("'%s' is no object", heard.text);
		filled += json_object_size(object) > 0;
		ended++;
		json_decref(object);
	}
	assert_true(ended > 3);
	assert_true(filled > 0);
	engine->unload(writer);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_ranges),
		cmocka_unit_test(biases_have_ranges),
		cmocka_unit_test(one_candidate_is_greedy),
		cmocka_unit_test(cuts_leave_as_many_as_they_say),
		cmocka_unit_test(a_bias_forces_and_bans),
		cmocka_unit_test(frequency_counts_what_was_said),
		cmocka_unit_test(presence_counts_what_was_said),
		cmocka_unit_test(repetition_looks_back_over_its_window),
		cmocka_unit_test(repetition_counts_the_answer),
		cmocka_unit_test(an_answer_is_a_sentence_of_the_grammar),
		cmocka_unit_test(an_empty_sentence_is_an_empty_answer),
		cmocka_unit_test(bad_grammars_are_refused),
		cmocka_unit_test(json_is_written),
	};

	return with_model(argc, argv) ? 2 : cmocka_run_group_tests(tests, load_model, unload_model);
}
