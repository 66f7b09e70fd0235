/* SPDX-License-Identifier: MIT */
/* Unit tests of src/base: errors, text, clock, log, allocation door. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/error.h>

static void first_error_wins(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_error_set(&err, PC_E_TIMEOUT, "first"), PC_E_TIMEOUT);
	assert_int_equal(pc_error_set(&err, PC_E_IO, "second"), PC_E_IO);
	assert_int_equal(err.code, PC_E_TIMEOUT);
	assert_string_equal(err.message, "first");
	pc_error_prefix(&err, "loading '%s'", "x");
	assert_string_equal(err.message, "loading 'x': first");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_error_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
