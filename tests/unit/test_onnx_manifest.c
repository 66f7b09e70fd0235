/* SPDX-License-Identifier: MIT */
/*
 * Manifests of model folders: what is read, and what each mistake is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/onnx/manifest.h"
#include "fail_alloc.h"
#include "folder.h"

#define READER \
	"kind = text_reader\n" \
	"detector_file = d.onnx\n" \
	"recognizer_file = r.onnx\n" \
	"recognizer_dictionary = words.txt\n"
#define EMBEDDER \
	"kind = embedder\n" \
	"embedder_file = e.onnx\n" \
	"embedder_width = 224\n" \
	"embedder_height = 192\n"

static struct manifest manifest;

static void read_good(const char *text)
{
	struct pc_error err = PC_ERROR_INIT;

	if (manifest_read(write_file("m", text), &manifest, &err))
		fail_msg("%s", err.message);
}

static void read_bad(const char *text, const char *part)
{
	struct pc_error err = PC_ERROR_INIT;

	memset(&manifest, 0x55, sizeof(manifest));
	assert_int_equal(manifest_read(write_file("m", text), &manifest, &err), PC_E_MODEL_ERROR);
	assert_contains(err.message, part);
	assert_contains(err.message, in_folder("m"));
	assert_int_equal(manifest.detector.longest_side, 0x55555555); /* nothing was written */
}

static void what_is_left_out_has_its_default(void **state)
{
	(void)state;
	read_good(READER);
	assert_int_equal(manifest.kind, MANIFEST_TEXT_READER);
	assert_string_equal(manifest.name, "");
	assert_string_equal(manifest.detector.file, "d.onnx");
	assert_string_equal(manifest.recognizer.dictionary, "words.txt");
	assert_int_equal(manifest.detector.longest_side, 960);
	assert_int_equal(manifest.detector.multiple_of, 32);
	assert_float_equal(manifest.detector.rules.box_threshold, 0.6f, 0);
	assert_float_equal(manifest.detector.pixels.mean[1], 0, 0);
	assert_float_equal(manifest.detector.pixels.std[2], 1, 0);
	assert_false(manifest.detector.pixels.bgr);
	assert_int_equal(manifest.recognizer.height, 48);
	assert_false(manifest.recognizer.space);
}

static void every_key_is_read(void **state)
{
	(void)state;
	read_good("# a comment\r\n\n \t\n  # another = comment\n" READER "name = Lines = words\n"
		  "\tdetector_channels=bgr\n"
		  "detector_mean = 0.25 -1e-1\t3 \n"
		  "detector_std = 1 2 -4\n"
		  "detector_longest_side = 1280\n"
		  "detector_multiple_of = 16\n"
		  "detector_threshold = 0\n"
		  "detector_box_threshold = 1\n"
		  "detector_unclip = 2.5\n"
		  "recognizer_channels = rgb\n"
		  "recognizer_mean = 1 2 3\n"
		  "recognizer_std = 4 5 6\n"
		  "recognizer_height = 32\n"
		  "recognizer_max_width = 640\n"
		  "recognizer_min_confidence = 0.75\n"
		  "recognizer_space = yes");
	assert_string_equal(manifest.name, "Lines = words");
	assert_true(manifest.detector.pixels.bgr);
	assert_float_equal(manifest.detector.pixels.mean[0], 0.25f, 0);
	assert_float_equal(manifest.detector.pixels.mean[1], -0.1f, 0);
	assert_float_equal(manifest.detector.pixels.mean[2], 3, 0);
	assert_float_equal(manifest.detector.pixels.std[2], -4, 0);
	assert_int_equal(manifest.detector.longest_side, 1280);
	assert_int_equal(manifest.detector.multiple_of, 16);
	assert_float_equal(manifest.detector.rules.threshold, 0, 0);
	assert_float_equal(manifest.detector.rules.box_threshold, 1, 0);
	assert_float_equal(manifest.detector.rules.unclip, 2.5f, 0);
	assert_false(manifest.recognizer.pixels.bgr);
	assert_float_equal(manifest.recognizer.pixels.mean[2], 3, 0);
	assert_float_equal(manifest.recognizer.pixels.std[0], 4, 0);
	assert_int_equal(manifest.recognizer.height, 32);
	assert_int_equal(manifest.recognizer.max_width, 640);
	assert_float_equal(manifest.recognizer.min_confidence, 0.75f, 0);
	assert_true(manifest.recognizer.space);

	read_good(EMBEDDER "embedder_output = f # 1\nembedder_channels = bgr\n"
			   "embedder_mean = 0 0 1\nembedder_std = 1 1 3\n");
	assert_int_equal(manifest.kind, MANIFEST_EMBEDDER);
	assert_string_equal(manifest.embedder.output, "f # 1");
	assert_int_equal(manifest.embedder.width, 224);
	assert_int_equal(manifest.embedder.height, 192);
	assert_true(manifest.embedder.pixels.bgr);
	assert_float_equal(manifest.embedder.pixels.std[2], 3, 0);
}

static void mistakes_are_told_with_their_line(void **state)
{
	static const struct {
		const char *text, *part;
	} mistakes[] = {
		{ "", ": the line 'kind = text_reader' or 'kind = embedder' is missing" },
		{ "name = x\n", ": the line 'kind = text_reader' or 'kind = embedder' is missing" },
		{ "kind = oracle\n", ":1: kind is 'oracle'; it is 'text_reader' or 'embedder'" },
		{ "\n\nkind\n", ":3: 'kind' has no '='; a line is 'key = value'" },
		{ "kind =\n", ":1: kind has no value" },
		{ "= x\n", ":1: unknown key ''" },
		{ READER "detector_fiel = x\n",
		  ":5: unknown key 'detector_fiel'; did you mean 'detector_file'?" },
		{ READER "temperature = 1\n", ":5: unknown key 'temperature'" },
		{ READER "\ndetector_file = y\n", ":6: detector_file stands in line 2 already" },
		{ READER "embedder_file = y\n",
		  ":5: a model of the kind 'text_reader' has no embedder_file" },
		{ EMBEDDER "detector_unclip = 1\n",
		  ":5: a model of the kind 'embedder' has no detector_unclip" },
		{ "kind = embedder\nembedder_file = e\nembedder_width = 8\n",
		  ": embedder_height is missing; a model of the kind 'embedder' needs it" },
		{ "kind = text_reader\ndetector_file = e\nrecognizer_file = 8\n",
		  ": recognizer_dictionary is missing" },
		{ "detector_file = ../d.onnx\n", ":1: detector_file is '../d.onnx'; it is the name "
						 "of a file in the folder of the manifest" },
		{ "detector_file = ..\n", ":1: detector_file is '..'" },
		{ "detector_longest_side = 31\n",
		  ":1: detector_longest_side is '31'; it is a whole number from 32 to 4096" },
		{ "detector_longest_side = 4097\n", "whole number from 32 to 4096" },
		{ "detector_longest_side = 99.5\n", "whole number from 32 to 4096" },
		{ "detector_longest_side = 99 9\n", "whole number from 32 to 4096" },
		{ "detector_longest_side = many\n", "whole number from 32 to 4096" },
		{ "detector_threshold = 1.5\n", "detector_threshold is '1.5'; it is a number from "
						"0 to 1" },
		{ "detector_threshold = nan\n", "a number from 0 to 1" },
		{ "detector_mean = 1 2\n", "detector_mean is '1 2'; it is three numbers, separated "
					   "by blanks, from -1000 to 1000" },
		{ "detector_mean = 1 2 3 4\n", "three numbers" },
		{ "detector_std = 1 0 1\n", "from -1000 to 1000, but not 0" },
		{ "detector_std = 1 1e-300 1\n", "from -1000 to 1000, but not 0" },
		{ "detector_channels = grb\n", "detector_channels is 'grb'; it is 'rgb' or 'bgr'" },
		{ "recognizer_space = 1\n", "recognizer_space is '1'; it is 'no' or 'yes'" },
		{ "kind = embedder\nname = \xff\n", ":2: this is not text in UTF-8" },
		{ "name = 0123456789012345678901234567890123456789012345678901234567890123\n",
		  ":1: name has 64 bytes; 63 are the most" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(mistakes); i++)
		read_bad(mistakes[i].text, mistakes[i].part);
}

static void what_is_no_text_file_is_refused(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	FILE *file = fopen(in_folder("m"), "w");

	(void)state;
	assert_int_equal(manifest_read(in_folder("none"), &manifest, &err),
			 PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "No such file");
	pc_error_clear(&err);
	assert_int_equal(manifest_read(folder, &manifest, &err), PC_E_MODEL_FILE_MISSING);
	assert_contains(err.message, "is not a regular file");

	assert_int_equal(fwrite("kind = embedder\nname = \0\n", 1, 25, file), 25);
	fclose(file);
	pc_error_clear(&err);
	assert_int_equal(manifest_read(in_folder("m"), &manifest, &err), PC_E_MODEL_ERROR);
	assert_contains(err.message, ":2: this is not text in UTF-8");

	assert_int_equal(truncate(in_folder("m"), 65537), 0);
	pc_error_clear(&err);
	assert_int_equal(manifest_read(in_folder("m"), &manifest, &err), PC_E_MODEL_ERROR);
	assert_contains(err.message, "has 65537 bytes; 65536 are the most");
}

static void a_failing_allocation_is_reported(void **state)
{
	const char *path = write_file("m", READER);

	(void)state;
	for (unsigned n = 1;; n++) {
		fail_alloc_begin(n);
		int rc = manifest_read(path, &manifest, NULL);

		if (fail_alloc_end()) {
			assert_true(n > 1);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
	}
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test-onnx-manifest-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(in_folder("m"));
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(mistakes_are_told_with_their_line),
		cmocka_unit_test(what_is_no_text_file_is_refused),
		cmocka_unit_test(a_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
