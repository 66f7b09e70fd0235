/* SPDX-License-Identifier: MIT */
/* Unit tests of poolcore/error.h: codes, messages and details. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <poolcore/error.h>

#include "base/text.h"

static void the_first_error_wins(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_error_set(&err, PC_E_TIMEOUT, "waited %d ms", 30), PC_E_TIMEOUT);
	assert_int_equal(pc_error_set(&err, PC_E_IO, "second"), PC_E_IO);
	assert_int_equal(pc_error_sys(&err, PC_E_IO, ENOENT, "third"), PC_E_IO);
	assert_int_equal(pc_error_oom(&err), PC_E_OUT_OF_MEMORY);
	assert_int_equal(err.code, PC_E_TIMEOUT);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.message, "waited 30 ms");
	pc_error_clear(&err);
	assert_int_equal(err.code, PC_OK);
	assert_int_equal(pc_error_oom(&err), PC_E_OUT_OF_MEMORY);
	assert_string_equal(err.message, "the process could not allocate memory");
}

static void nobody_has_to_care(void **state)
{
	(void)state;
	assert_int_equal(pc_error_set(NULL, PC_E_IO, "x"), PC_E_IO);
	assert_int_equal(pc_error_sys(NULL, PC_E_IO, EIO, "x"), PC_E_IO);
	assert_int_equal(pc_error_oom(NULL), PC_E_OUT_OF_MEMORY);
	pc_error_prefix(NULL, "x");
	pc_error_detail(NULL, "k", "v");
	pc_error_clear(NULL);
	assert_null(pc_error_detail_get(NULL, "k"));
}

static void system_errors_keep_their_number(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	pc_error_sys(&err, PC_E_IO, ENOENT, "cannot open '%s'", "a.toml");
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(err.message, "cannot open 'a.toml': No such file or directory");
}

static void context_goes_in_front(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	pc_error_prefix(&err, "nothing is set");
	assert_string_equal(err.message, "");
	pc_error_set(&err, PC_E_SPAWN_FAILED, "no such file");
	pc_error_prefix(&err, "starting '%s'", "llama-server");
	pc_error_prefix(&err, "loading 'tiny'");
	assert_string_equal(err.message, "loading 'tiny': starting 'llama-server': no such file");
	assert_int_equal(err.code, PC_E_SPAWN_FAILED);
}

/* Cut where they must be, and never within a character. */
static void long_messages_are_cut(void **state)
{
	char text[PC_ERROR_MESSAGE_MAX * 2];

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		struct pc_error err = PC_ERROR_INIT;
		size_t length = shift;

		memset(text, 'x', shift);
		for (; length + 4 < sizeof(text); length += 3)
			memcpy(text + length, "\xe2\x82\xac", 4);
		pc_error_set(&err, PC_E_IO, "%s", text);
		length = strlen(err.message);
		assert_true(length >= PC_ERROR_MESSAGE_MAX - 4 && length < PC_ERROR_MESSAGE_MAX);
		assert_int_equal(pc__utf8_valid_prefix(err.message, length), length);
		pc_error_prefix(&err, "p");
		assert_memory_equal(err.message, "p: ", 3);
		length = strlen(err.message);
		assert_int_equal(pc__utf8_valid_prefix(err.message, length), length);
		pc_error_detail(&err, "k", "%s", text);

		const char *value = pc_error_detail_get(&err, "k");

		assert_int_equal(pc__utf8_valid_prefix(value, strlen(value)), strlen(value));
	}
}

static void details_are_replaced_and_bounded(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char key[16];

	(void)state;
	pc_error_detail(&err, "early", "x"); /* no error yet: nothing to add to */
	assert_null(pc_error_detail_get(&err, "early"));
	pc_error_set(&err, PC_E_INSUFFICIENT_MEMORY, "too small");
	pc_error_detail(&err, "needed_bytes", "%d", 1);
	pc_error_detail(&err, "free_bytes", "%d", 2);
	pc_error_detail(&err, "needed_bytes", "%d", 3);
	assert_int_equal(err.detail_count, 2);
	assert_string_equal(pc_error_detail_get(&err, "needed_bytes"), "3");
	assert_string_equal(pc_error_detail_get(&err, "free_bytes"), "2");
	assert_null(pc_error_detail_get(&err, "device"));
	for (int i = 0; i < PC_ERROR_DETAILS_MAX * 2; i++) {
		snprintf(key, sizeof(key), "key_%d", i);
		pc_error_detail(&err, key, "v");
	}
	assert_int_equal(err.detail_count, PC_ERROR_DETAILS_MAX);
	assert_string_equal(pc_error_detail_get(&err, "needed_bytes"), "3");
	pc_error_set(&err, PC_E_IO, "second"); /* leaves the first one's details alone */
	assert_int_equal(err.detail_count, PC_ERROR_DETAILS_MAX);
	pc_error_clear(&err);
	assert_int_equal(err.detail_count, 0);
}

/* Numbers cross the ABI and names the wire: each once, and each findable by the other. */
static void codes_and_names_agree(void **state)
{
	static const int codes[] = {
#define X(name, number, status, retriable, text) PC_E_##name,
		PC_ERROR_LIST(X)
#undef X
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(codes); i++) {
		int status = pc_error_http_status(codes[i]);

		assert_int_equal(codes[i], -(int)(i + 1));
		assert_int_equal(pc_error_from_name(pc_error_name(codes[i])), codes[i]);
		assert_true(status >= 400 && status < 600);
		assert_true(strlen(pc_error_text(codes[i])) > 0);
	}
	assert_string_equal(pc_error_name(PC_E_QUEUE_FULL), "QUEUE_FULL");
	assert_int_equal(pc_error_http_status(PC_E_QUEUE_FULL), 503);
	assert_true(pc_error_retriable(PC_E_QUEUE_FULL));
	assert_false(pc_error_retriable(PC_E_MODEL_NOT_FOUND));
}

static void codes_outside_the_list(void **state)
{
	(void)state;
	assert_string_equal(pc_error_name(PC_OK), "OK");
	assert_int_equal(pc_error_http_status(PC_OK), 200);
	assert_false(pc_error_retriable(PC_OK));
	assert_int_equal(pc_error_from_name("OK"), PC_OK);
	assert_string_equal(pc_error_name(-9999), "INTERNAL");
	assert_int_equal(pc_error_http_status(77), 500);
	assert_int_equal(pc_error_from_name("NO_SUCH_CODE"), PC_E_INTERNAL);
	assert_int_equal(pc_error_from_name(NULL), PC_E_INTERNAL);
}

/* pc_error_clear makes an error out of any bytes, without zeroing all of them. */
static void clearing_initialises(void **state)
{
	struct pc_error err;

	(void)state;
	memset(&err, 0xa5, sizeof(err));
	pc_error_clear(&err);
	assert_int_equal(err.code, 0);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.message, "");
	assert_null(pc_error_detail_get(&err, "a"));
	pc_error_set(&err, PC_E_IO, "x");
	pc_error_detail(&err, "a", "%d", 1);
	assert_string_equal(err.message, "x");
	assert_string_equal(pc_error_detail_get(&err, "a"), "1");
	assert_int_equal(err.detail_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_error_wins),
		cmocka_unit_test(nobody_has_to_care),
		cmocka_unit_test(system_errors_keep_their_number),
		cmocka_unit_test(context_goes_in_front),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(details_are_replaced_and_bounded),
		cmocka_unit_test(codes_and_names_agree),
		cmocka_unit_test(codes_outside_the_list),
		cmocka_unit_test(clearing_initialises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
