/* SPDX-License-Identifier: MIT */
/* Unit tests of src/base/names.c: the nearest known name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/text.h>

static const char *const names[] = { "temperature", NULL, "top_p", "stop", "stream" };

static const char *nearest(const char *word)
{
	return pc_nearest_name(word, names, PC_ARRAY_LEN(names));
}

static void near_names_are_found(void **state)
{
	(void)state;
	assert_string_equal(nearest("temprature"), "temperature");
	assert_string_equal(nearest("tempreature"), "temperature");
	assert_string_equal(nearest("topp"), "top_p");
	assert_string_equal(nearest("steam"), "stream");
	assert_string_equal(nearest("stop"), "stop");
}

static void far_names_are_not(void **state)
{
	(void)state;
	assert_null(nearest("logit_bias"));
	assert_null(nearest(""));
	assert_null(pc_nearest_name("stop", names, 0));
}

static void utf8_prefix(void **state)
{
	(void)state;
	assert_int_equal(pc_utf8_valid_prefix("a\xc3\xa9", 3), 3);
	assert_int_equal(pc_utf8_valid_prefix("a\xc3", 2), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(near_names_are_found),
		cmocka_unit_test(far_names_are_not),
		cmocka_unit_test(utf8_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
