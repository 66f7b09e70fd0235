/* SPDX-License-Identifier: MIT */
/* Edges of src/base that were wrong once: lines at the log's limit,
 * control characters, roundings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/error.h>
#include <poolcore/log.h>

#include "base/text.h"

enum { LINE_LIMIT = 4096 };

/* What a sink writes for one record. The caller frees it. */
static char *written_by(pc_log_hook sink, const char *message, const struct pc_log_field *fields,
			size_t count)
{
	const struct pc_log_record record = { .level = PC_LOG_INFO,
					      .wall_ms = 1000,
					      .subject = "test",
					      .message = message,
					      .fields = fields,
					      .field_count = count };
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	assert_non_null(file);
	sink(file, &record);
	fclose(file);
	assert_true(size > 0 && size <= LINE_LIMIT);
	assert_int_equal(strlen(text), size);
	assert_ptr_equal(strchr(text, '\n'), text + size - 1);
	return text;
}

/* A member is in the line whole, or it is not there; and what follows one that is not, may be. */
static void a_json_line_at_its_limit_stays_true(void **state)
{
	static const char *const ends[] = {
		"x", "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"
	};
	static char value[LINE_LIMIT + 64];

	(void)state;
	for (size_t end = 0; end < PC_ARRAY_LEN(ends); end++) {
		bool seen_whole = false, seen_dropped = false;

		for (size_t length = LINE_LIMIT - 180; length < LINE_LIMIT; length++) {
			const struct pc_log_field fields[] = { { "big", value }, { "k", "v" } };

			memset(value, 'a', length);
			strcpy(value + length, ends[end]);

			char *text = written_by(pc_log_sink_json, "m", fields, 2);
			json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

			if (!line)
				fail_msg("not JSON: %s", text);

			const char *big = json_string_value(json_object_get(line, "big"));

			if (big)
				assert_string_equal(big, value);
			else
				assert_non_null(json_object_get(line, "k"));
			*(big ? &seen_whole : &seen_dropped) = true;
			json_decref(line);
			free(text);
		}
		assert_true(seen_whole && seen_dropped);
	}
}

static void a_human_line_ends_where_it_is_full(void **state)
{
	static char value[LINE_LIMIT + 64];

	(void)state;
	for (size_t length = LINE_LIMIT - 120; length < LINE_LIMIT; length++) {
		const struct pc_log_field fields[] = { { "big", value }, { "k", "v" } };

		memset(value, 'a', length);
		strcpy(value + length, "\xe2\x82\xac"
				       "b");

		char *text = written_by(pc_log_sink_human, "m", fields, 2);

		/* Nothing comes after a place where something was left out. */
		if (strstr(text, "k=v"))
			assert_non_null(strstr(text, "a\xe2\x82\xac"
						     "b k=v\n"));
		if (strstr(text, "ab"))
			fail_msg("a character was dropped from the middle");
		free(text);
	}
}

/* U+009B is CSI, the beginning of a terminal's command sequence, as much as ESC [ is. */
static void no_control_character_reaches_a_terminal(void **state)
{
	const struct pc_log_field fields[] = { { "model", "x\xc2\x9b"
							  "31m\xc2\x80\xc2\x9f\xc2\xa0y" } };
	char *text = written_by(pc_log_sink_human, "a\xc2\x9b\x1b[0m\x7f\r", fields, 1);

	(void)state;
	assert_string_equal(text,
			    "1970-01-01T00:00:01.000Z info  test a\\u009b\\u001b[0m\\u007f\\u000d "
			    "model=x\\u009b31m\\u0080\\u009f\xc2\xa0y\n");
	free(text);
}

static void levels_outside_the_table_are_named(void **state)
{
	(void)state;
	assert_string_equal(pc_log_level_name((enum pc_log_level)4), "unknown");
	assert_string_equal(pc_log_level_name((enum pc_log_level) - 1), "unknown");
	assert_int_equal(pc_log_level_from_name(NULL), -1);
	assert_int_equal(pc_log_level_from_name("warn"), PC_LOG_WARN);
}

static void durations_carry_into_the_next_unit(void **state)
{
	char out[32];

	(void)state;
	assert_string_equal(pc_format_duration(999949, out), "999.9 us");
	assert_string_equal(pc_format_duration(999950, out), "1 ms");
	assert_string_equal(pc_format_duration(999999, out), "1 ms");
	assert_string_equal(pc_format_duration(999950000, out), "1 s");
	assert_string_equal(pc_format_duration(UINT64_MAX, out), "307445734.6 min");
}

static void sizes_at_the_ends_of_the_range(void **state)
{
	uint64_t bytes = 7;
	int64_t ms = 7;

	(void)state;
	assert_int_equal(pc__parse_size("9223372036854775807", &bytes), 0);
	assert_true(bytes == INT64_MAX);
	bytes = 7;
	assert_int_equal(pc__parse_size("9223372036854775808", &bytes), -1);
	assert_int_equal(pc__parse_size("99999999999999999999TiB", &bytes), -1);
	assert_int_equal(pc__parse_size("8388608TiB", &bytes), -1);
	assert_int_equal(pc__parse_size("1.00000000000000000000", &bytes), -1); /* 21 digits */
	assert_true(bytes == 7);
	assert_int_equal(pc__parse_size("8388607.5TiB", &bytes), 0);
	assert_true(bytes == (UINT64_C(1) << 63) - (UINT64_C(1) << 39));
	assert_int_equal(pc__parse_duration("-106751991167d", &ms), 0);
	assert_true(ms == -INT64_C(106751991167) * 86400000);
	assert_int_equal(pc__parse_duration("106751991168d", &ms), -1);
	assert_int_equal(pc__parse_duration("--5", &ms), -1);
	assert_int_equal(pc__parse_duration("-", &ms), -1);
}

static void a_cut_never_splits_and_never_grows(void **state)
{
	static const char *const texts[] = { "",
					     "a",
					     "\xc3\xa9",
					     "\xe2\x82\xac",
					     "\xf0\x9f\x98\x80",
					     "a\x80\x80\x80\x80",
					     "\xff\xfe",
					     "\x80",
					     "\xe2\x82\xac\x80",
					     "a\xf0\x9f\x98" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(texts); i++) {
		for (size_t length = 0; length <= strlen(texts[i]); length++) {
			size_t cut = pc__utf8_cut(texts[i], length);

			assert_true(cut <= length && length - cut < 4);
			/* What was valid as a whole stays valid when it is cut. */
			if (pc__utf8_valid_prefix(texts[i], strlen(texts[i])) == strlen(texts[i]))
				assert_int_equal(pc__utf8_valid_prefix(texts[i], cut), cut);
		}
	}
}

/* A prefix as long as the message leaves no room for the cause, and breaks nothing. */
static void a_long_prefix_is_cut_between_characters(void **state)
{
	char prefix[PC_ERROR_MESSAGE_MAX + 8];

	(void)state;
	for (size_t length = PC_ERROR_MESSAGE_MAX - 8; length < sizeof(prefix); length++) {
		struct pc_error err = PC_ERROR_INIT;

		memset(prefix, 'p', length);
		prefix[length] = '\0';
		pc_error_set(&err, PC_E_IO, "\xe2\x82\xac\xe2\x82\xac");
		pc_error_prefix(&err, "%s", prefix);

		size_t size = strlen(err.message);

		assert_true(size < PC_ERROR_MESSAGE_MAX && size >= PC_ERROR_MESSAGE_MAX - 4);
		assert_int_equal(pc__utf8_valid_prefix(err.message, size), size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_json_line_at_its_limit_stays_true),
		cmocka_unit_test(a_human_line_ends_where_it_is_full),
		cmocka_unit_test(no_control_character_reaches_a_terminal),
		cmocka_unit_test(levels_outside_the_table_are_named),
		cmocka_unit_test(durations_carry_into_the_next_unit),
		cmocka_unit_test(sizes_at_the_ends_of_the_range),
		cmocka_unit_test(a_cut_never_splits_and_never_grows),
		cmocka_unit_test(a_long_prefix_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
