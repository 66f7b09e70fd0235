/* SPDX-License-Identifier: MIT */
/* Unit tests of poolcore/log.h: the hook, the human line and the JSON line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/clock.h>
#include <poolcore/error.h>
#include <poolcore/log.h>

/* A log that writes to memory, at a time that stands still: 2026-11-22T03:10:11.042Z. */
struct capture {
	FILE *file;
	char *text;
	size_t size;
};

static void capture_begin(struct capture *capture, pc_log_hook sink, enum pc_log_level lowest)
{
	*capture = (struct capture){ NULL, NULL, 0 };
	capture->file = open_memstream(&capture->text, &capture->size);
	assert_non_null(capture->file);
	pc_log_set(sink, capture->file, lowest);
}

/* The caller frees the text. */
static char *capture_end(struct capture *capture)
{
	pc_log_set(NULL, NULL, PC_LOG_DEBUG);
	fclose(capture->file);
	return capture->text;
}

static char *sink_record(pc_log_hook sink, enum pc_log_level level, const char *message,
			 const struct pc_log_field *fields, size_t count)
{
	const struct pc_log_record record = { .level = level,
					      .wall_ms = INT64_C(1795317011042),
					      .subject = "worker",
					      .message = message,
					      .fields = fields,
					      .field_count = count };
	struct capture capture;

	capture_begin(&capture, sink, PC_LOG_DEBUG);
	sink(capture.file, &record);
	return capture_end(&capture);
}

static void human_lines(void **state)
{
	char *line = sink_record(pc_log_sink_human, PC_LOG_INFO, "ready",
				 PC_FIELDS({ "id", "w3" }, { "load_ms", "412" }));

	(void)state;
	assert_string_equal(line,
			    "2026-11-22T03:10:11.042Z info  worker ready id=w3 load_ms=412\n");
	free(line);
	line = sink_record(pc_log_sink_human, PC_LOG_ERROR, "died", PC_NO_FIELDS);
	assert_string_equal(line, "2026-11-22T03:10:11.042Z error worker died\n");
	free(line);
}

/* Values are quoted when they could be taken for something else; nothing breaks the line. */
static void human_values_are_quoted(void **state)
{
	static const struct {
		const char *value, *shown;
	} cases[] = {
		{ "plain", "plain" },
		{ "", "\"\"" },
		{ NULL, "\"\"" },
		{ "two words", "\"two words\"" },
		{ "a=b", "\"a=b\"" },
		{ "say \"hi\"", "\"say \\\"hi\\\"\"" },
		{ "C:\\x", "\"C:\\\\x\"" },
		{ "one\ntwo", "\"one\\ntwo\"" },
		{ "bell\x07", "bell\\u0007" },
		{ "\x1b[31mred", "\\u001b[31mred" },
		{ "\x7f", "\\u007f" },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "\xff!", "\xef\xbf\xbd!" },
		{ "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		char *line = sink_record(pc_log_sink_human, PC_LOG_WARN, "m",
					 PC_FIELDS({ "k", cases[i].value }));
		char expected[128];

		snprintf(expected, sizeof(expected),
			 "2026-11-22T03:10:11.042Z warn  worker m k=%s\n", cases[i].shown);
		assert_string_equal(line, expected);
		free(line);
	}
}

static void json_lines(void **state)
{
	char *line = sink_record(pc_log_sink_json, PC_LOG_DEBUG, "ready \"now\"",
				 PC_FIELDS({ "id", "w3" }, { "none", NULL }));

	(void)state;
	assert_string_equal(line, "{\"ts\":\"2026-11-22T03:10:11.042Z\",\"level\":\"debug\","
				  "\"subject\":\"worker\",\"message\":\"ready \\\"now\\\"\","
				  "\"id\":\"w3\",\"none\":\"\"}\n");
	free(line);
}

/* Whatever the bytes, the line is one line and one JSON object. */
static void json_lines_of_any_bytes(void **state)
{
	char bytes[257];

	(void)state;
	for (int i = 0; i < 255; i++)
		bytes[i] = (char)(i + 1);
	bytes[255] = '\0';

	char *line = sink_record(pc_log_sink_json, PC_LOG_INFO, bytes, PC_FIELDS({ bytes, bytes }));
	json_t *json = json_loads(line, 0, NULL);

	assert_non_null(json);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);

	const char *message = json_string_value(json_object_get(json, "message"));

	/* What is ASCII came through as it was. */
	assert_memory_equal(message, bytes, 127);
	json_decref(json);
	free(line);
}

static void over_long_messages_are_cut(void **state)
{
	struct capture capture;
	char message[5000];

	(void)state;
	memset(message, 'm', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	memcpy(message + 1022, "\xe2\x82\xac", 3); /* the limit of 1023 bytes falls within */
	capture_begin(&capture, pc_log_sink_json, PC_LOG_DEBUG);
	pc_log(PC_LOG_INFO, "test", PC_FIELDS({ "k", "v" }), "%s", message);

	char *line = capture_end(&capture);
	json_t *json = json_loads(line, 0, NULL);

	assert_non_null(json);
	message[1022] = '\0';
	assert_string_equal(json_string_value(json_object_get(json, "message")), message);
	assert_string_equal(json_string_value(json_object_get(json, "k")), "v");
	json_decref(json);
	free(line);
}

/* A field that does not fit is left out whole; the ones behind it that fit are there. */
static void over_long_fields_are_left_out(void **state)
{
	static char huge[10000];

	(void)state;
	memset(huge, '\x01', sizeof(huge) - 1);

	char *line = sink_record(pc_log_sink_json, PC_LOG_INFO, "m",
				 PC_FIELDS({ "a", "1" }, { "huge", huge }, { "b", "2" }));
	json_t *json = json_loads(line, 0, NULL);

	assert_non_null(json);
	assert_true(strlen(line) <= 4096);
	assert_string_equal(json_string_value(json_object_get(json, "a")), "1");
	assert_null(json_object_get(json, "huge"));
	assert_string_equal(json_string_value(json_object_get(json, "b")), "2");
	json_decref(json);
	free(line);
}

static void count_records(void *ctx, const struct pc_log_record *record)
{
	(void)record;
	++*(int *)ctx;
}

static void levels_filter(void **state)
{
	int count = 0;

	(void)state;
	assert_false(pc_log_enabled(PC_LOG_ERROR)); /* no hook: silent */
	pc_log(PC_LOG_ERROR, "test", PC_NO_FIELDS, "nobody hears");
	pc_log_set(count_records, &count, PC_LOG_WARN);
	assert_false(pc_log_enabled(PC_LOG_INFO));
	assert_true(pc_log_enabled(PC_LOG_WARN));
	pc_log(PC_LOG_INFO, "test", PC_NO_FIELDS, "no");
	assert_int_equal(count, 0);
	pc_log_set_level(PC_LOG_INFO);
	pc_log(PC_LOG_INFO, "test", PC_NO_FIELDS, "now it is");
	assert_int_equal(count, 1);
	pc_log_set_level(PC_LOG_WARN);
	count = 0;
	pc_log(PC_LOG_WARN, "test", PC_NO_FIELDS, "yes");
	pc_log(PC_LOG_ERROR, "test", PC_NO_FIELDS, "yes");
	assert_int_equal(count, 2);
	pc_log_set(NULL, NULL, PC_LOG_DEBUG);
}

static uint64_t noon(void *ctx)
{
	(void)ctx;
	return 0;
}

static void records_carry_the_clock(void **state)
{
	struct capture capture;

	(void)state;
	pc_clock_set_source(noon, NULL);

	int64_t wall_ms = pc_clock_wall_ms();

	capture_begin(&capture, pc_log_sink_human, PC_LOG_DEBUG);
	pc_log(PC_LOG_INFO, "test", PC_NO_FIELDS, "x");

	char *line = capture_end(&capture);
	char milliseconds[8];

	pc_clock_set_source(NULL, NULL);
	snprintf(milliseconds, sizeof(milliseconds), ".%03dZ", (int)(wall_ms % 1000));
	assert_memory_equal(line + 19, milliseconds, 5);
	free(line);
}

static void errors_bring_code_and_details(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct capture capture;

	(void)state;
	pc_error_set(&err, PC_E_INSUFFICIENT_MEMORY, "the model needs 2 GiB, 1 GiB is free");
	pc_error_detail(&err, "device", "gpu0");
	capture_begin(&capture, pc_log_sink_human, PC_LOG_DEBUG);
	pc_log_error(PC_LOG_WARN, "sched", &err);

	char *line = capture_end(&capture);

	assert_string_equal(line + strlen("2026-11-22T03:10:11.042Z"),
			    " warn  sched the model needs 2 GiB, 1 GiB is free "
			    "code=INSUFFICIENT_MEMORY device=gpu0\n");
	free(line);
}

static void level_names(void **state)
{
	(void)state;
	for (int level = PC_LOG_DEBUG; level <= PC_LOG_ERROR; level++)
		assert_int_equal(
			pc_log_level_from_name(pc_log_level_name((enum pc_log_level)level)), level);
	assert_int_equal(pc_log_level_from_name("INFO"), -1);
	assert_int_equal(pc_log_level_from_name(""), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(human_lines),
		cmocka_unit_test(human_values_are_quoted),
		cmocka_unit_test(json_lines),
		cmocka_unit_test(json_lines_of_any_bytes),
		cmocka_unit_test(over_long_messages_are_cut),
		cmocka_unit_test(over_long_fields_are_left_out),
		cmocka_unit_test(levels_filter),
		cmocka_unit_test(records_carry_the_clock),
		cmocka_unit_test(errors_bring_code_and_details),
		cmocka_unit_test(level_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
