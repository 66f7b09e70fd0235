/* SPDX-License-Identifier: MIT */
/* Unit tests of src/lifecycle/life_file.c: the text of the status file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lifecycle/life_file.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

static const struct pc__life_status an_end = {
	.boot_id = "2b1e0a5c-1111-2222-3333-444455556666",
	.token = TOKEN,
	.stub_pid = 1234,
	.stub_start_ticks = 567890,
	.stub_pidfd_inode = 4711,
	.worker_pid = 1235,
	.worker_start_ticks = 567891,
	.ended = 1,
	.code = -1,
	.signal = 9,
	.wall_ms = 1700000000000,
	.oom_killed = 1,
	.reason = "killed by SIGKILL, out of memory",
	.tail_length = 12,
	.tail = "line\nend\n\0xy",
};

static void a_status_is_read_as_it_was_written(void **state)
{
	char text[PC__LIFE_STATUS_MAX], again[PC__LIFE_STATUS_MAX], why[160];
	struct pc__life_status status;
	size_t length = pc__life_format(&an_end, text);

	(void)state;
	assert_int_equal(pc__life_parse(text, length, &status, why), 0);
	assert_int_equal(pc__life_format(&status, again), length);
	assert_memory_equal(again, text, length);
	assert_string_equal(status.token, TOKEN);
	assert_int_equal(status.stub_pidfd_inode, 4711);
	assert_int_equal(status.signal, 9);
	assert_int_equal(status.code, -1);
	assert_string_equal(status.reason, an_end.reason);
	assert_memory_equal(status.tail, an_end.tail, 12);
}

/* The longest of everything fits. */
static void the_longest_status(void **state)
{
	char text[PC__LIFE_STATUS_MAX], why[160];
	struct pc__life_status status = an_end, read;

	(void)state;
	memset(status.boot_id, 'b', sizeof(status.boot_id) - 1);
	memset(status.token, 't', sizeof(status.token) - 1);
	memset(status.reason, '\n', sizeof(status.reason) - 1);
	memset(status.tail, 'x', sizeof(status.tail));
	status.tail_length = sizeof(status.tail);
	status.stub_pid = status.worker_pid = INT32_MAX;
	status.stub_start_ticks = status.worker_start_ticks = status.stub_pidfd_inode =
		status.wall_ms = INT64_MAX;
	status.spawn_errno = 4095;

	size_t length = pc__life_format(&status, text);

	assert_true(length < PC__LIFE_STATUS_MAX);
	assert_int_equal(pc__life_parse(text, length, &read, why), 0);
	assert_int_equal(read.reason[0], '?');
}

/* A full disk leaves a beginning; a hand changes a byte. */
static void a_status_that_was_cut_or_changed(void **state)
{
	char text[PC__LIFE_STATUS_MAX + 1], again[PC__LIFE_STATUS_MAX], why[160];
	struct pc__life_status status;
	size_t length = pc__life_format(&an_end, text);
	unsigned refused = 0;

	(void)state;
	for (size_t cut = 0; cut < length; cut++) {
		why[0] = '\0';
		assert_int_equal(pc__life_parse(text, cut, &status, why), -1);
		assert_true(why[0]);
	}
	text[length] = '\n';
	assert_int_equal(pc__life_parse(text, length + 1, &status, why), -1);
	for (size_t i = 0; i < length; i++) {
		char kept = text[i];

		for (int c = 0; c < 256; c++) {
			text[i] = (char)c;
			if (pc__life_parse(text, length, &status, why)) {
				refused++;
			} else {
				assert_int_equal(pc__life_format(&status, again), length);
				assert_memory_equal(again, text, length);
			}
		}
		text[i] = kept;
	}
	assert_true(refused > length * 100);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *from, *to, *why;
	} cases[] = {
		{ "pool-stub 1", "pool-stub 2", "it does not begin with \"pool-stub 1\"" },
		{ "stub_pid=1234", "stub_pid=1", "line 4 should be stub_pid=a number" },
		{ "stub_pid=1234", "stub_pid=01234", "line 4 should be stub_pid=a number" },
		{ "stub_pid=1234", "stub_pid=", "line 4 should be stub_pid=a number" },
		{ "stub_pid=1234", "stub_pid=-3", "line 4 should be stub_pid=a number" },
		{ "stub_pid=1234", "stub_pid=99999999999999999999",
		  "line 4 should be stub_pid=a number" },
		{ "token=" TOKEN, "token=", "line 3 should be token=a text" },
		{ "signal=9", "signal=200", "line 11 should be signal=a number" },
		{ "signal=9", "signal=0", "an exit status and a signal exclude each other" },
		{ "ended=1", "ended=0", "it says how the worker ended, and that it has not" },
		{ "reason=killed by SIGKILL, out of memory",
		  "reason=", "it says that the worker ended, and not how" },
		{ "tail_length=12", "tail_length=13",
		  "the log's end, of 13 bytes, and the word \"end\" are not all of the rest" },
	};
	char text[PC__LIFE_STATUS_MAX], changed[2 * PC__LIFE_STATUS_MAX], why[160];
	struct pc__life_status status;
	size_t length = pc__life_format(&an_end, text);

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		size_t from = strlen(cases[i].from), to = strlen(cases[i].to);
		char *at = memmem(text, length, cases[i].from, from);
		size_t before = (size_t)(at - text);

		assert_non_null(at);
		memcpy(changed, text, before);
		memcpy(changed + before, cases[i].to, to);
		memcpy(changed + before + to, at + from, length - before - from);
		assert_int_equal(pc__life_parse(changed, length - from + to, &status, why), -1);
		assert_string_equal(why, cases[i].why);
	}
	assert_int_equal(pc__life_parse(text, 40, &status, why), -1);
	assert_string_equal(why, "line 2 should be boot_id=a text, and is cut off");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_is_read_as_it_was_written),
		cmocka_unit_test(the_longest_status),
		cmocka_unit_test(a_status_that_was_cut_or_changed),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
