/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of examples/paint/words.c: what becomes of a model file, and what is said of a bad
 * one. Arguments: as in paint_fixture.h; the first is not needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "examples/paint/paint.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

#define SHAPE "shape dot = ellipse 1 1\n"
#define COLOUR "colour red = #ff0000\n"

static const char *words_path;

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/paint-words-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(in_folder("words"));
	return rmdir(folder);
}

static struct vocabulary read_good(const char *path)
{
	struct vocabulary vocabulary;
	struct pc_error err = PC_ERROR_INIT;

	if (vocabulary_read(path, &vocabulary, &err))
		fail_msg("%s", err.message);
	return vocabulary;
}

static void words_get_their_meanings(void **state)
{
	(void)state;
	struct vocabulary vocabulary = read_good(
		write_file("words", "# a comment\n\n  \t\r\n"
				    "shape Kite DRAGONS = polygon 0,-1 .5,0 0,1 -0.5,-.25\r\n"
				    "shape egg = ellipse 0.75 1\n"
				    "colour red ros\xc3\xa9 = #D0287f\n"
				    "size tiny = 0.25\ncount dozen = 12\nplace atop = above\n"
				    "ground desk = #102030"));
	const struct word *kite = vocabulary_find(&vocabulary, "kite");

	assert_int_equal(vocabulary.word_count, 9);
	assert_non_null(kite);
	assert_int_equal(kite->line, 4);
	assert_int_equal(kite->shape.point_count, 4);
	assert_float_equal(kite->shape.points[1].x, 0.5, 0);
	assert_float_equal(kite->shape.points[3].x, -0.5, 0);
	assert_float_equal(kite->shape.points[3].y, -0.25, 0);
	assert_int_equal(vocabulary_find(&vocabulary, "dragons")->line, 4);
	assert_int_equal(vocabulary_find(&vocabulary, "egg")->shape.point_count, 0);
	assert_float_equal(vocabulary_find(&vocabulary, "egg")->shape.points[0].x, 0.75, 0);
	assert_int_equal(vocabulary_find(&vocabulary, "ros\xc3\xa9")->colour.red, 0xd0);
	assert_int_equal(vocabulary_find(&vocabulary, "red")->colour.blue, 0x7f);
	assert_float_equal(vocabulary_find(&vocabulary, "tiny")->factor, 0.25, 0);
	assert_int_equal(vocabulary_find(&vocabulary, "dozen")->count, 12);
	assert_int_equal(vocabulary_find(&vocabulary, "atop")->place, PLACE_ABOVE);
	assert_int_equal(vocabulary_find(&vocabulary, "desk")->kind, WORD_GROUND);
	assert_null(vocabulary_find(&vocabulary, "polygon"));
	vocabulary_fini(&vocabulary);
}

static void the_shipped_file_is_good(void **state)
{
	static const char *const some[] = { "circle", "squares", "red",	   "small",
					    "two",    "above",	 "inside", "background" };

	(void)state;
	struct vocabulary vocabulary = read_good(words_path);

	for (size_t i = 0; i < PC_ARRAY_LEN(some); i++)
		assert_non_null(vocabulary_find(&vocabulary, some[i]));
	vocabulary_fini(&vocabulary);
}

static void texts_fall_into_words(void **state)
{
	static const char *const wanted[] = { "two", "t-shirts", "caf\xc3\xa9", "3" };
	const char *text = "  Two T-shirts, caf\xc3\xa9; (3)! ";
	char word[WORD_MAX_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(wanted); i++) {
		assert_true(next_word(&text, word));
		assert_string_equal(word, wanted[i]);
	}
	assert_false(next_word(&text, word));

	text = "this-word-is-longer-than-thirty-one-bytes next";
	assert_true(next_word(&text, word));
	assert_string_equal(word, "this-word-is-longer-than-thirty");
	assert_true(next_word(&text, word));
	assert_string_equal(word, "next");
}

static struct pc_error refused(const char *path)
{
	struct vocabulary vocabulary = { .word_count = 77 };
	struct pc_error err = PC_ERROR_INIT;
	int rc = vocabulary_read(path, &vocabulary, &err);

	assert_int_not_equal(rc, 0);
	assert_int_equal(rc, err.code);
	assert_int_equal(vocabulary.word_count, 77);
	return err;
}

static void bad_lines_are_named(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ SHAPE "colour red\n", "line 2: there is no '='" },
		{ "= #ffffff\n", "line 1: nothing before the '='" },
		{ "colour = #ffffff\n", "line 1: no word before the '='" },
		{ "color red = #ffffff\n", "line 1: unknown kind 'color'; did you mean 'colour'?" },
		{ "animal cat = 1\n", "one of shape, colour, size, count, place, ground" },
		{ SHAPE COLOUR "colour red = #ffffff\n",
		  "line 3: 'red' has a meaning already, in line 2" },
		{ "colour a,b = #ffffff\n", "line 1: 'a,b' is not a word" },
		{ "colour this-word-is-longer-than-thirty-two = #ffffff\n",
		  "has 35 bytes; a word has up to 31" },
		{ "colour red = ff0000\n", "'ff0000' is not a value for colour: it is '#'" },
		{ "colour red = #ff000\n", "'#ff000' is not" },
		{ "colour red = #ff00000\n", "'#ff00000' is not" },
		{ "ground wall =\n", "'' is not a value for ground" },
		{ "size big = 1.31\n", "'1.31' is not a value for size: it is a number from 0.1" },
		{ "size big = 0\n", "'0' is not" },
		{ "size big = 1 2\n", "'1 2' is not" },
		{ "size big = nan\n", "'nan' is not" },
		{ "count two = 2.5\n", "'2.5' is not a value for count: it is a whole number" },
		{ "count none = 0\n", "'0' is not" },
		{ "count many = 65\n", "'65' is not" },
		{ "place there = behind\n",
		  "one of above, below, left, right, beside, inside, centre" },
		{ "place there = above all\n", "'above all' is not" },
		{ "shape x = blob 1 1\n", "'blob 1 1' is not a value for shape" },
		{ "shape x = ellipse 1\n", "'ellipse 1' is not" },
		{ "shape x = ellipse 1 0\n", "'ellipse 1 0' is not" },
		{ "shape x = ellipse 1 1 1\n", "'ellipse 1 1 1' is not" },
		{ "shape x = polygon 0,0 1,1\n", "3 to 16 corners" },
		{ "shape x = polygon 0,0 1,1 2,0\n", "between -1 and 1" },
		{ "shape x = polygon 0,0 1,1 1\n", "'polygon 0,0 1,1 1' is not" },
		{ "shape x = polygon 0,0 1,1 1,0-1,0\n", "is not a value for shape" },
		{ "shape x = polygon 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 0,0 "
		  "0,0 0,0\n",
		  "3 to 16 corners" },
		{ "", "no line that begins with 'shape'" },
		{ SHAPE, "no line that begins with 'colour'" },
		{ "\xff\xfe", "not a text in UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_error err = refused(write_file("words", rows[i].text));

		assert_int_equal(err.code, PC_E_MODEL_ERROR);
		assert_contains(err.message, in_folder("words"));
		assert_contains(err.message, rows[i].says);
	}
}

static void bad_files_are_named(void **state)
{
	struct pc_error err = refused(in_folder("none"));

	(void)state;
	assert_int_equal(err.code, PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "No such file");

	err = refused(folder);
	assert_int_equal(err.code, PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "not a regular file");

	assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
	err = refused(in_folder("pipe"));
	assert_int_equal(unlink(in_folder("pipe")), 0);
	assert_contains(err.message, "not a regular file");

	/* Zeros, which take no room on the disk. */
	assert_int_equal(truncate(write_file("words", ""), 1 << 20), 0);
	err = refused(in_folder("words"));
	assert_int_equal(err.code, PC_E_MODEL_ERROR);
	assert_contains(err.message, "not a text in UTF-8");

	assert_int_equal(truncate(in_folder("words"), (1 << 20) + 1), 0);
	err = refused(in_folder("words"));
	assert_int_equal(err.code, PC_E_MODEL_ERROR);
	assert_contains(err.message, "has 1048577 bytes; 1048576 are the most");
}

static void too_many_words_are_refused(void **state)
{
	FILE *file = fopen(in_folder("words"), "w");

	(void)state;
	assert_non_null(file);
	fputs("colour", file);
	for (int i = 0; i <= 10000; i++)
		fprintf(file, " w%d", i);
	fputs(" = #ffffff\n", file);
	assert_int_equal(fclose(file), 0);
	struct pc_error err = refused(in_folder("words"));

	assert_contains(err.message, "line 1: one word more than the 10000");
}

static void every_allocation_may_fail(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (;; failures++) {
		struct vocabulary vocabulary = { .words = NULL };
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin(failures + 1);
		int rc = vocabulary_read(words_path, &vocabulary, &err);

		vocabulary_fini(&vocabulary);
		bool passed = fail_alloc_end();

		assert_int_equal(fail_alloc_live(), 0);
		if (passed) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
	}
	assert_true(failures >= 2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_get_their_meanings),
		cmocka_unit_test(the_shipped_file_is_good),
		cmocka_unit_test(texts_fall_into_words),
		cmocka_unit_test(bad_lines_are_named),
		cmocka_unit_test(bad_files_are_named),
		cmocka_unit_test(too_many_words_are_refused),
		cmocka_unit_test(every_allocation_may_fail),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: %s ENGINES WORDS\n", argv[0]);
		return 2;
	}
	words_path = argv[2];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
