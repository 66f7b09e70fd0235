/* SPDX-License-Identifier: MIT */
/*
 * Dictionaries, and probabilities to text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "engines/onnx/alphabet.h"
#include "fail_alloc.h"
#include "folder.h"

static struct alphabet alphabet;

static void read_good(const char *text, bool space)
{
	struct pc_error err = PC_ERROR_INIT;

	if (alphabet_read(write_file("d", text), space, &alphabet, &err))
		fail_msg("%s", err.message);
}

static void a_line_is_a_class(void **state)
{
	static const char *const texts[] = { "a\n\n\xc3\xa9\nxyz\n", "a\n\n\xc3\xa9\nxyz",
					     "a\r\n\r\n\xc3\xa9\r\nxyz\r\n" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(texts); i++) {
		read_good(texts[i], false);
		assert_int_equal(alphabet.count, 5);
		assert_string_equal(alphabet.words[0], "");
		assert_string_equal(alphabet.words[1], "a");
		assert_string_equal(alphabet.words[2], "");
		assert_string_equal(alphabet.words[3], "\xc3\xa9");
		assert_string_equal(alphabet.words[4], "xyz");
		alphabet_fini(&alphabet);
	}
	read_good("a\nb", true);
	assert_int_equal(alphabet.count, 4);
	assert_string_equal(alphabet.words[3], " ");
	alphabet_fini(&alphabet);
}

static void bad_dictionaries_are_refused(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(alphabet_read(write_file("d", ""), true, &alphabet, &err),
			 PC_E_MODEL_ERROR);
	assert_contains(err.message, "is empty");
	pc_error_clear(&err);
	assert_int_equal(alphabet_read(write_file("d", "a\nb\n\xc3\n"), true, &alphabet, &err),
			 PC_E_MODEL_ERROR);
	assert_contains(err.message, "line 3: this is not text in UTF-8");
	pc_error_clear(&err);
	/* What truncate adds is NUL. */
	assert_int_equal(truncate(write_file("d", "a\n"), 5), 0);
	assert_int_equal(alphabet_read(in_folder("d"), true, &alphabet, &err), PC_E_MODEL_ERROR);
	assert_contains(err.message, "line 2: this is not text in UTF-8");
	pc_error_clear(&err);
	assert_int_equal(alphabet_read(in_folder("none"), true, &alphabet, &err),
			 PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "No such file");
}

/* Steps of the classes "", "a", "b", "c"; what each says is the likeliest with `chance`. */
static void check_steps(const char *classes, float chance, const char *wanted)
{
	size_t steps = strlen(classes);
	float *rows = calloc(steps * alphabet.count + 1, sizeof(*rows));
	struct text text = { .data = NULL };
	float confidence = -1;

	assert_non_null(rows);
	for (size_t i = 0; i < steps * alphabet.count; i++)
		rows[i] = (float)(i % alphabet.count) / 1000;
	for (size_t i = 0; i < steps; i++)
		rows[i * alphabet.count + (size_t)(classes[i] - '0')] = chance;
	assert_int_equal(alphabet_decode(&alphabet, rows, steps, &text, &confidence, NULL), 0);
	assert_string_equal(text.data ? text.data : "", wanted);
	assert_float_equal(confidence, *wanted ? chance : 0, 1e-6);
	pc_free(text.data);
	free(rows);
}

static void repetitions_count_once_and_gaps_part(void **state)
{
	(void)state;
	read_good("a\nb\nc\n", false);
	check_steps("", 1, "");
	check_steps("0000", 0.9f, "");
	check_steps("1", 0.9f, "a");
	check_steps("0110220", 0.8f, "ab");
	check_steps("1101", 0.7f, "aa");
	check_steps("12321", 0.7f, "abcba");
	alphabet_fini(&alphabet);
}

static void what_is_no_number_says_nothing(void **state)
{
	float rows[] = { NAN, NAN, NAN, NAN };
	struct text text = { .data = NULL };
	float confidence = -1;

	(void)state;
	read_good("a\nb\nc\n", false);
	assert_int_equal(alphabet_decode(&alphabet, rows, 1, &text, &confidence, NULL), 0);
	assert_int_equal(text.length, 0);
	assert_float_equal(confidence, 0, 0);
	alphabet_fini(&alphabet);
}

static int read_and_decode(const char *path, struct pc_error *err)
{
	static const float rows[] = { 0, 1, 0, 0 };
	struct text text = { .data = NULL };
	float confidence;
	int rc = alphabet_read(path, true, &alphabet, err);

	if (!rc)
		rc = alphabet_decode(&alphabet, rows, 1, &text, &confidence, err);
	pc_free(text.data);
	alphabet_fini(&alphabet);
	return rc;
}

static void a_failing_allocation_is_reported(void **state)
{
	const char *path = write_file("d", "a\nb\n");
	unsigned n = 1;

	(void)state;
	for (;; n++) {
		fail_alloc_begin(n);
		int rc = read_and_decode(path, NULL);

		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
	}
	assert_true(n > 3);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test-onnx-alphabet-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(in_folder("d"));
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_a_class),
		cmocka_unit_test(bad_dictionaries_are_refused),
		cmocka_unit_test(repetitions_count_once_and_gaps_part),
		cmocka_unit_test(what_is_no_number_says_nothing),
		cmocka_unit_test(a_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
