/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of engines/llama/answer.c and utf8.c, compiled into this program: whatever the tokens
 * are cut into, what comes out is what a plain search of the whole text would give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engines/llama/llama_engine.h"
#include "tests/unit/fail_alloc.h"

struct heard {
	char text[512];
	size_t length;
};

static void hear(void *ctx, const char *text, size_t length)
{
	struct heard *heard = ctx;

	assert_true(length > 0 && heard->length + length < sizeof(heard->text));
	memcpy(heard->text + heard->length, text, length);
	heard->length += length;
	heard->text[heard->length] = '\0';
}

/* Feeds `bytes` in pieces of `step` (0: of 1 to 4, by `seed`) and compares what comes out. */
static void check(const char *bytes, const char *const *stops, size_t stop_count, size_t step,
		  unsigned seed, const char *expected)
{
	struct heard heard = { .length = 0 };
	const struct pc_text_sink sink = { .size = sizeof(sink), .chunk = hear, .ctx = &heard };
	struct answer answer = { .sink = &sink, .stops = stops, .stop_count = stop_count };
	size_t left = strlen(bytes);

	while (left > 0 && !answer.stopped) {
		seed = seed * 1103515245u + 12345u;
		size_t size = step ? step : 1 + (seed >> 16) % 4;

		size = size < left ? size : left;
		assert_int_equal(answer_add(&answer, bytes, size, NULL), 0);
		bytes += size;
		left -= size;
	}
	assert_int_equal(answer_end(&answer, NULL), 0);
	answer_fini(&answer);
	assert_string_equal(heard.text, expected);
}

static void check_all_cuts(const char *bytes, const char *const *stops, size_t stop_count,
			   const char *expected)
{
	for (size_t step = 1; step <= 9; step++)
		check(bytes, stops, stop_count, step, 0, expected);
	for (unsigned seed = 0; seed < 50; seed++)
		check(bytes, stops, stop_count, 0, seed, expected);
}

static void clean_text_passes(void **state)
{
	(void)state;
	check_all_cuts("plain", NULL, 0, "plain");
	check_all_cuts("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80!", NULL, 0,
		       "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80!");
}

/* The table of section 3.9 of Unicode 15, on U+FFFD for each maximal subpart. */
static void what_is_not_utf8_is_replaced(void **state)
{
#define R "\xef\xbf\xbd"
	(void)state;
	check_all_cuts("a\xff"
		       "b",
		       NULL, 0, "a" R "b");
	check_all_cuts("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82"
		       "A",
		       NULL, 0, R R R R R R R R "A");
	check_all_cuts("\xed\xa0\x80\xed\xbf\xbf\xed\xaf"
		       "A",
		       NULL, 0, R R R R R R R R "A");
	check_all_cuts("\xf4\x91\x92\x93\xff"
		       "A\x80\xbf"
		       "B",
		       NULL, 0, R R R R R "A" R R "B");
	check_all_cuts("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
		       "A",
		       NULL, 0, R R R R "A");
	check_all_cuts("cut \xf0\x9f\x98", NULL, 0, "cut " R);
	check_all_cuts("\xe2\x82", NULL, 0, R);
#undef R
}

static void stops_are_found_wherever_they_are_cut(void **state)
{
	static const char *const stops[] = { "END", "aab", "\xe2\x82\xac" };

	(void)state;
	check_all_cuts("one END two", stops, 3, "one ");
	check_all_cuts("END", stops, 3, "");
	check_all_cuts("aaab", stops, 3, "a");
	check_all_cuts("aaaaaa", stops, 3, "aaaaaa");
	check_all_cuts("ENENEN", stops, 3, "ENENEN");
	check_all_cuts("ENENEND", stops, 3, "ENEN");
	check_all_cuts("5 \xe2\x82\xac or 6", stops, 3, "5 ");
	check_all_cuts("5 \xe2\x82\xad", stops, 3, "5 \xe2\x82\xad");
}

static void overlapping_stops_and_empty_ones(void **state)
{
	static const char *const nested[] = { "abcd", "bc" };
	static const char *const empty[] = { "", "x" };
	static const char *const replaced[] = { "\xef\xbf\xbd" };

	(void)state;
	/* Token by token the shorter one is complete first; in one piece the longer begins first.
	 * Either way nothing of a stop string is said. */
	check("zabcd", nested, 2, 1, 0, "za");
	check("zabcd", nested, 2, 5, 0, "z");
	check_all_cuts("abx", nested, 2, "abx");
	check_all_cuts("a x", empty, 2, "a ");
	check_all_cuts("a \xe2", replaced, 1, "a ");
}

static void running_out_of_memory_is_said(void **state)
{
	static const char *const stops[] = { "0123456789012345678901234567890123456789"
					     "0123456789012345678901234567890123456789!" };
	unsigned refusals = 0;
	int rc = -1;

	(void)state;
	for (unsigned n = 1; rc; n++) {
		struct heard heard = { .length = 0 };
		const struct pc_text_sink sink = { .size = sizeof(sink),
						   .chunk = hear,
						   .ctx = &heard };
		struct answer answer = { .sink = &sink, .stops = stops, .stop_count = 1 };
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin(n);
		rc = 0;
		for (int i = 0; i < 80 && !rc; i++)
			rc = answer_add(&answer, &"0123456789"[i % 10], 1, &err);
		if (!rc)
			rc = answer_add(&answer, "\xc3", 1, &err);
		if (!rc)
			rc = answer_end(&answer, &err);
		answer_fini(&answer);
		fail_alloc_end();
		assert_int_equal(fail_alloc_live(), 0);
		assert_int_equal(err.code, rc);
		assert_true(rc == 0 || rc == PC_E_OUT_OF_MEMORY);
		refusals += rc != 0;
		assert_int_equal(heard.length, rc ? 0 : 83);
	}
	assert_true(refusals >= 2);
}

static void texts_are_checked(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(check_utf8("", "x", &err), 0);
	assert_int_equal(check_utf8("\xf4\x8f\xbf\xbf\x7f", "x", &err), 0);
	assert_int_equal(check_utf8("ab\xc3", "the text", &err), PC_E_INVALID_REQUEST);
	assert_string_equal(err.message, "the text is not UTF-8 at byte 2");
	assert_int_equal(check_utf8("\xed\xa0\x80", "x", NULL), PC_E_INVALID_REQUEST);
	assert_int_equal(check_utf8(NULL, "x", NULL), PC_E_INVALID_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_text_passes),
		cmocka_unit_test(what_is_not_utf8_is_replaced),
		cmocka_unit_test(stops_are_found_wherever_they_are_cut),
		cmocka_unit_test(overlapping_stops_and_empty_ones),
		cmocka_unit_test(running_out_of_memory_is_said),
		cmocka_unit_test(texts_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
