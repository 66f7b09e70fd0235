/* SPDX-License-Identifier: MIT */
/* Unit tests of src/lifecycle/hand_over.c: what a worker is given of its model's file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/lifecycle.h>

#include <unistd.h>

#include "tests/unit/model_folder.h"

static int enter_folder(void **state)
{
	(void)state;
	return model_folder_enter("hand-over");
}

static int leave_folder(void **state)
{
	(void)state;
	return model_folder_leave();
}

static struct pc_model_file open_file(const char *name)
{
	static const struct pc_verify_options no_records;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model_file file;

	settle(write_file(name, "GGUF"));
	if (pc_model_file_open(model(name, "", ""), &no_records, &file, &err))
		fail_msg("%s", err.message);
	return file;
}

#define WHOLE "a.gguf"
#define PART "a-00001-of-00002.gguf"
#define OTHER "a.bin"

static void each_way_and_each_file(void **state)
{
	static const struct {
		const char *model_by, *file;
		bool by_descriptor;
	} cases[] = {
		{ NULL, WHOLE, false },	       { "path", WHOLE, false },
		{ "path", PART, false },       { "path", OTHER, false },
		{ "auto", WHOLE, true },       { "auto", PART, false },
		{ "auto", OTHER, false },      { "descriptor", WHOLE, true },
		{ "descriptor", OTHER, true },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		const struct pc_backend_config backend = { .name = "b",
							   .model_by = (char *)cases[i].model_by };
		struct pc_model_file file = open_file(cases[i].file);
		struct pc_hand_over over;
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(pc_model_hand_over(&backend, &file, &over, &err), 0);
		assert_int_equal(over.fd, cases[i].by_descriptor ? file.fd : -1);
		assert_string_equal(over.model_path,
				    cases[i].by_descriptor ? "/proc/self/fd/3" : file.path);
		pc_model_file_close(&file);
	}
}

static void a_part_needs_its_name(void **state)
{
	const struct pc_backend_config backend = { .name = "b", .model_by = (char *)"descriptor" };
	struct pc_model_file file = open_file(PART);
	struct pc_hand_over over = { .fd = -7 };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_model_hand_over(&backend, &file, &over, &err), PC_E_INVALID_CONFIG);
	assert_contains(err.message, "backends.b.model_by is \"descriptor\" and the file of model "
				     "\"m\", ");
	assert_contains(err.message, "use \"auto\" or \"path\"");
	assert_int_equal(over.fd, -7);
	pc_model_file_close(&file);
}

/* By whichever way: what was checked is not there any more. */
static void a_changed_file_is_not_handed_over(void **state)
{
	static const char *const ways[] = { "path", "descriptor", "auto" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(ways); i++) {
		const struct pc_backend_config backend = { .name = "b",
							   .model_by = (char *)ways[i] };
		struct pc_model_file file = open_file(WHOLE);
		struct pc_hand_over over = { .fd = -7 };
		struct pc_error err = PC_ERROR_INIT;

		write_file("other", "GGUF");
		assert_int_equal(rename(in_folder("other"), file.path), 0);
		assert_int_equal(pc_model_hand_over(&backend, &file, &over, &err),
				 PC_E_MODEL_FILE_INVALID);
		assert_string_equal(pc_error_detail_get(&err, "change"), "replaced");
		assert_int_equal(over.fd, -7);
		pc_model_file_close(&file);
		assert_int_equal(pc_model_hand_over(&backend, &file, &over, NULL),
				 PC_E_INVALID_ARGUMENT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_way_and_each_file),
		cmocka_unit_test(a_part_needs_its_name),
		cmocka_unit_test(a_changed_file_is_not_handed_over),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
