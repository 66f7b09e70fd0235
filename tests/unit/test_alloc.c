/* SPDX-License-Identifier: MIT */
/* Unit tests of the allocation door: poolcore/base.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <poolcore/base.h>

#include "tests/unit/fail_alloc.h"

static void memory_is_handed_out_and_taken_back(void **state)
{
	(void)state;
	fail_alloc_begin_once(0);

	char *a = pc_malloc(16);
	char *b = pc_calloc(4, 4);
	char *c = pc_strdup("warm");
	char *d = pc_strndup("warmth", 4);

	memset(a, 1, 16);
	assert_memory_equal(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_string_equal(c, "warm");
	assert_string_equal(d, "warm");
	a = pc_realloc(a, 4096);
	assert_int_equal(a[15], 1);
	assert_int_equal(fail_alloc_live(), 4);
	pc_free(a);
	pc_free(b);
	pc_free(c);
	pc_free(d);
	pc_free(NULL);
	fail_alloc_end();
	assert_int_equal(fail_alloc_live(), 0);
}

static void nothing_asked_is_not_a_failure(void **state)
{
	(void)state;

	void *a = pc_malloc(0), *b = pc_calloc(0, 8), *c = pc_realloc(NULL, 0);

	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	assert_ptr_not_equal(a, b);
	c = pc_realloc(c, 0);
	assert_non_null(c);
	pc_free(a);
	pc_free(b);
	pc_free(c);
}

static void products_that_overflow_are_refused(void **state)
{
	(void)state;
	fail_alloc_begin_once(0);
	assert_null(pc_calloc(SIZE_MAX / 2 + 2, 2));
	assert_null(pc_calloc(SIZE_MAX, SIZE_MAX));
	assert_int_equal(fail_alloc.requests, 0); /* the allocator was not even asked */
	fail_alloc_end();
}

static void refusals_come_through(void **state)
{
	(void)state;
	fail_alloc_begin_once(1);
	assert_null(pc_malloc(8));
	fail_alloc_end();
	fail_alloc_begin_once(1);
	assert_null(pc_calloc(2, 8));
	fail_alloc_end();
	fail_alloc_begin_once(1);
	assert_null(pc_strdup("x"));
	fail_alloc_end();
	fail_alloc_begin_once(2);

	char *kept = pc_strdup("kept");

	assert_null(pc_realloc(kept, 100));
	assert_string_equal(kept, "kept"); /* as it was */
	pc_free(kept);
	fail_alloc_end();
	assert_int_equal(fail_alloc_live(), 0);
}

static void strndup_reads_no_further(void **state)
{
	static const char unterminated[3] = { 'a', 'b', 'c' };
	char *copy = pc_strndup(unterminated, 3);

	(void)state;
	assert_string_equal(copy, "abc");
	pc_free(copy);
	copy = pc_strndup("abc", 0);
	assert_string_equal(copy, "");
	pc_free(copy);
}

static char *hand_over(bool keep)
{
	pc_auto(pc_free) char *text = pc_strdup("text");

	return keep ? pc_steal(&text) : NULL;
}

static void locals_are_freed_or_handed_over(void **state)
{
	(void)state;
	fail_alloc_begin_once(0);
	assert_null(hand_over(false));
	assert_int_equal(fail_alloc_live(), 0);

	char *text = hand_over(true);

	assert_string_equal(text, "text");
	assert_int_equal(fail_alloc_live(), 1);
	pc_free(text);
	fail_alloc_end();
	assert_int_equal(fail_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_handed_out_and_taken_back),
		cmocka_unit_test(nothing_asked_is_not_a_failure),
		cmocka_unit_test(products_that_overflow_are_refused),
		cmocka_unit_test(refusals_come_through),
		cmocka_unit_test(strndup_reads_no_further),
		cmocka_unit_test(locals_are_freed_or_handed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
