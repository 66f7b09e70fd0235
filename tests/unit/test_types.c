/* SPDX-License-Identifier: MIT */
/* Unit tests of src/api/types.c: wire names there and back, and the table of transitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/types.h>

static void capabilities_have_their_wire_names(void **state)
{
	static const char *const names[] = { "text_embedding", "image_embedding", "text_to_text",
					     "vision", "text_to_image" };

	(void)state;
	for (int i = 0; i < (int)PC_ARRAY_LEN(names); i++) {
		assert_string_equal(pc_capability_name((enum pc_capability)i), names[i]);
		assert_int_equal(pc_capability_from_name(names[i]), i);
	}
	assert_string_equal(pc_capability_name((enum pc_capability)5), "unknown");
	assert_string_equal(pc_capability_name((enum pc_capability) - 1), "unknown");
}

static void statuses_have_their_wire_names(void **state)
{
	static const char *const names[] = { "spawning", "ready",    "busy",
					     "idle",	 "stopping", "stopped" };

	(void)state;
	for (int i = 0; i < (int)PC_ARRAY_LEN(names); i++) {
		assert_string_equal(pc_worker_status_name((enum pc_worker_status)i), names[i]);
		assert_int_equal(pc_worker_status_from_name(names[i]), i);
	}
	assert_string_equal(pc_worker_status_name((enum pc_worker_status)6), "unknown");
	assert_string_equal(pc_worker_status_name((enum pc_worker_status) - 1), "unknown");
}

static void other_words_are_refused(void **state)
{
	static const char *const words[] = { "", "unknown", "Ready", "ready ", "read", "readyy" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(words); i++) {
		assert_int_equal(pc_capability_from_name(words[i]), -1);
		assert_int_equal(pc_worker_status_from_name(words[i]), -1);
	}
	assert_int_equal(pc_capability_from_name(NULL), -1);
	assert_int_equal(pc_worker_status_from_name(NULL), -1);
}

/* Rows are `from`, columns `to`, both in the order spawning ready busy idle stopping stopped. */
static void transitions_are_these_and_no_others(void **state)
{
	static const char *const expected[] = {
		".x..xx", /* spawning */
		"..x.xx", /* ready */
		"...xxx", /* busy */
		"..x.xx", /* idle */
		".....x", /* stopping */
		"......", /* stopped */
	};

	(void)state;
	for (int from = 0; from < 6; from++) {
		for (int to = 0; to < 6; to++) {
			bool may = pc_worker_status_may_become((enum pc_worker_status)from,
							       (enum pc_worker_status)to);

			if (may != (expected[from][to] == 'x'))
				fail_msg("%s -> %s is %s",
					 pc_worker_status_name((enum pc_worker_status)from),
					 pc_worker_status_name((enum pc_worker_status)to),
					 may ? "allowed" : "refused");
		}
	}
}

static void numbers_outside_the_table_go_nowhere(void **state)
{
	static const int numbers[] = { -1, 6, 31, 32, 64, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(numbers); i++) {
		enum pc_worker_status odd = (enum pc_worker_status)numbers[i];

		assert_false(pc_worker_status_may_become(odd, PC_WORKER_STOPPED));
		assert_false(pc_worker_status_may_become(PC_WORKER_SPAWNING, odd));
		assert_false(pc_worker_status_may_become(odd, odd));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capabilities_have_their_wire_names),
		cmocka_unit_test(statuses_have_their_wire_names),
		cmocka_unit_test(other_words_are_refused),
		cmocka_unit_test(transitions_are_these_and_no_others),
		cmocka_unit_test(numbers_outside_the_table_go_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
