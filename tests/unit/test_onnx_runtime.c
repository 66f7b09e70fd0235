/* SPDX-License-Identifier: MIT */
/*
 * What the onnx plug-in says on a machine without ONNX Runtime, with one that is too old, and with
 * something else in its place; and that it works once there is a right one. Its sources are linked
 * here. Arguments: a library that is too old, one that is none, the right one ("" when the system
 * has it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/onnx/runtime.h"

static const char *old, *other, *right;
static unsigned logged;

static void take_line(enum pc_log_level level, const char *subject, const char *line)
{
	(void)level;
	logged += strcmp(subject, "onnx") == 0 && *line != '\0';
}

/* Wants UNSUPPORTED, with each of the parts in its sentence. */
static void refuse(const char *path, const char *part, const char *other_part)
{
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(setenv("POOLCORE_ONNXRUNTIME", path, 1), 0);
	assert_int_equal(runtime_need(&err), PC_E_UNSUPPORTED);
	if (!strstr(err.message, part) || !strstr(err.message, other_part))
		fail_msg("'%s' lacks '%s' or '%s'", err.message, part, other_part);
	assert_string_equal(runtime_version(), "not found");
}

static void a_path_that_leads_nowhere_is_named(void **state)
{
	(void)state;
	refuse("/nowhere/libonnxruntime.so",
	       "$POOLCORE_ONNXRUNTIME names '/nowhere/libonnxruntime.so', which cannot be opened: ",
	       "No such file");
}

static void an_old_one_is_told_its_version(void **state)
{
	(void)state;
	refuse(old, "is ONNX Runtime 1.5.2, without the interface of 1.12 that is needed", old);
}

static void another_library_is_told_apart(void **state)
{
	(void)state;
	refuse(other, "is no ONNX Runtime: it has no OrtGetApiBase", other);
}

/* Nothing is beside this program, so that only the system can have one. */
static void where_it_was_looked_for_is_said(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	if (!*right)
		skip();
	/* An empty variable is none. */
	assert_int_equal(setenv("POOLCORE_ONNXRUNTIME", "", 1), 0);
	assert_int_equal(runtime_need(&err), PC_E_UNSUPPORTED);
	assert_non_null(strstr(err.message, "the system's loader finds no libonnxruntime.so"));
	assert_non_null(strstr(err.message, "tests/unit/onnx'"));
	assert_non_null(strstr(err.message, "$POOLCORE_ONNXRUNTIME"));
}

static void a_right_one_is_found_after_all(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(setenv("POOLCORE_ONNXRUNTIME", right, 1), 0);
	if (runtime_need(&err))
		fail_msg("%s", err.message);
	assert_non_null(ort_env);
	assert_int_equal(strncmp(runtime_version(), "1.", 2), 0);

	/* And kept, wherever the next one may be. */
	assert_int_equal(setenv("POOLCORE_ONNXRUNTIME", "/nowhere", 1), 0);
	assert_int_equal(runtime_need(&err), 0);
}

static void its_errors_become_ours(void **state)
{
	struct ort_session_options *options = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(ort_check(NULL, PC_E_MODEL_ERROR, "it", &err), 0);
	assert_int_equal(ort_check(ort.CreateSessionOptions(&options), PC_E_INTERNAL, "it", &err),
			 0);
	/* Only the function that is meant to be behind slot 130 has this to say. */
	assert_int_equal(ort_check(ort.AddSessionConfigEntry(options, "", "1"), PC_E_MODEL_ERROR,
				   "a setting", &err),
			 PC_E_MODEL_ERROR);
	assert_int_equal(strncmp(err.message, "a setting: ", 11), 0);
	assert_non_null(strstr(err.message, "key is empty"));
	ort.ReleaseSessionOptions(options);
}

int main(int argc, char **argv)
{
	static const struct pc_engine_host host = { sizeof(host), take_line };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_that_leads_nowhere_is_named),
		cmocka_unit_test(an_old_one_is_told_its_version),
		cmocka_unit_test(another_library_is_told_apart),
		cmocka_unit_test(where_it_was_looked_for_is_said),
		cmocka_unit_test(a_right_one_is_found_after_all),
		cmocka_unit_test(its_errors_become_ours),
	};

	if (argc != 4) {
		fprintf(stderr, "usage: %s OLD OTHER RIGHT\n", argv[0]);
		return 2;
	}
	old = argv[1];
	other = argv[2];
	right = argv[3];
	runtime_init(&host);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
