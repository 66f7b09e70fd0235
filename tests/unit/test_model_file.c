/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/catalog/model_file.c: what is refused, and what happens to a file between the
 * check and its use. The steps in between are made by the test itself; nothing waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/model_file.h>

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/sha256.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/model_folder.h"

#define BYTES "GGUF and more"

static const struct pc_verify_options no_records;

static int enter_folder(void **state)
{
	(void)state;
	return model_folder_enter("model-file");
}

static int leave_folder(void **state)
{
	(void)state;
	return model_folder_leave();
}

static int empty_folder(void **state)
{
	(void)state;
	model_folder_empty();
	return 0;
}

/* model.gguf with these bytes, and a catalog that says its size and SHA-256. */
static const struct pc_model_entry *write_model(const char *bytes)
{
	char sum[PC__SHA256_TEXT], more[256];

	assert_int_equal(pc__sha256_of(bytes, strlen(bytes), sum, NULL), 0);
	snprintf(more, sizeof(more), "size = %zu\nsha256 = \"%s\"\n", strlen(bytes), sum);
	settle(write_file("model.gguf", bytes));
	return model("model.gguf", "", more);
}

static struct pc_model_file open_file(const struct pc_model_entry *entry,
				      const struct pc_verify_options *options)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model_file file;

	if (pc_model_file_open(entry, options, &file, &err))
		fail_msg("%s", err.message);
	return file;
}

/* It is refused, nothing is left open, and nothing was written. */
static void expect_refusal(const struct pc_model_entry *entry,
			   const struct pc_verify_options *options, int code, const char *part)
{
	struct pc_model_file file = { .fd = -7 };
	struct pc_error err = PC_ERROR_INIT;
	int before = dup(0), after;

	close(before);
	assert_int_equal(pc_model_file_open(entry, options, &file, &err), code);
	assert_int_equal(err.code, code);
	assert_contains(err.message, part);
	assert_int_equal(file.fd, -7);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

/* ---- opening ---- */

static void hands_over_what_it_checked(void **state)
{
	const struct pc_model_entry *entry = write_model(BYTES);
	struct pc_model_file file = open_file(entry, &no_records);
	char text[sizeof(BYTES)] = "";

	(void)state;
	assert_string_equal(file.path, entry->path);
	assert_string_equal(file.model_id, "m");
	assert_string_equal(file.sha256, entry->sha256);
	assert_false(file.from_record);
	assert_true(file.is_whole);
	assert_int_equal(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
	/* From its beginning: neither the magic nor the hashing have moved it. */
	assert_int_equal(read(file.fd, text, sizeof(text)), strlen(BYTES));
	assert_string_equal(text, BYTES);
	assert_int_equal(pc_model_file_check(&file, NULL), 0);
	pc_model_file_close(&file);
	pc_model_file_close(&file);
	pc_model_file_close(NULL);
	assert_int_equal(pc_model_file_check(&file, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_model_file_check(NULL, NULL), PC_E_INVALID_ARGUMENT);
}

static bool never(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	(void)ctx;
	fail_msg("hashed %ju of %ju bytes", (uintmax_t)done_bytes, (uintmax_t)total_bytes);
	return false;
}

static void hashes_only_what_it_must(void **state)
{
	struct pc_verify_options options = { .record_dir = records };
	const struct pc_model_entry *entry = write_model(BYTES);
	struct pc_model_file file = open_file(entry, &options);

	(void)state;
	assert_false(file.from_record);
	pc_model_file_close(&file);
	options.progress = never;
	file = open_file(entry, &options);
	assert_true(file.from_record);
	pc_model_file_close(&file);
	/* Nothing to compare with. */
	options.record_dir = NULL;
	file = open_file(model("model.gguf", "", ""), &options);
	assert_string_equal(file.sha256, "");
	pc_model_file_close(&file);
}

/* A part says by its name that there are others beside it. */
static void knows_what_is_all_of_a_model(void **state)
{
	static const struct {
		const char *name;
		bool is_whole;
	} cases[] = {
		{ "a.gguf", true },
		{ "a-00001-of-00002.gguf", false },
		{ "-00001-of-00002.gguf", false },
		{ "a-0001-of-0002.gguf", true },
		{ "a-00001-of-0000x.gguf", true },
		{ "00001-of-00002.gguf", true },
		{ "a.onnx", false },
		{ "gguf", false },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_model_file file;

		write_file(cases[i].name, BYTES);
		file = open_file(model(cases[i].name, "", ""), &no_records);
		assert_int_equal(file.is_whole, cases[i].is_whole);
		pc_model_file_close(&file);
		unlink(in_folder(cases[i].name));
	}
}

static bool cancel(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	(void)ctx;
	(void)done_bytes;
	(void)total_bytes;
	return false;
}

static void refuses_what_is_no_model(void **state)
{
	struct pc_verify_options options = { .progress = cancel };
	const struct pc_model_entry *entry = model("model.gguf", "", "");

	(void)state;
	expect_refusal(entry, &no_records, PC_E_MODEL_FILE_MISSING, "does not exist; put it there");
	write_file("model.gguf", "");
	expect_refusal(entry, &no_records, PC_E_MODEL_FILE_INVALID, "is empty; put the right one");
	write_file("model.gguf", "GG");
	expect_refusal(entry, &no_records, PC_E_MODEL_FILE_INVALID,
		       "begins with the bytes 47470000, and one with 47475546; put the right one "
		       "there, or correct \"file\" at ");
	write_file("model.gguf", "<html>404");
	expect_refusal(entry, &no_records, PC_E_MODEL_FILE_INVALID,
		       "begins with the bytes 3c68746d");
	entry = write_model(BYTES);
	write_file("model.gguf", BYTES "!");
	expect_refusal(entry, &no_records, PC_E_MODEL_FILE_INVALID,
		       "has 14 bytes and the catalog says 13; put the right one there, or correct "
		       "\"size\" at ");
	write_file("model.gguf", "GGUF and mOre");
	expect_refusal(entry, &no_records, PC_E_MODEL_FILE_INVALID, "and the catalog says ");
	entry = write_model(BYTES);
	expect_refusal(entry, &options, PC_E_CANCELLED, "cancelled after 13 of 13 bytes");
	expect_refusal(NULL, &no_records, PC_E_INVALID_ARGUMENT, "a model");
	expect_refusal(entry, NULL, PC_E_INVALID_ARGUMENT, "options");
}

static void out_of_memory_leaves_nothing(void **state)
{
	const struct pc_model_entry *entry = write_model(BYTES);

	(void)state;
	for (unsigned n = 1;; n++) {
		struct pc_model_file file = { .fd = -1 };
		int rc;

		fail_alloc_begin(n);
		rc = pc_model_file_open(entry, &no_records, &file, NULL);
		pc_model_file_close(&file);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
	}
}

/* ---- between the check and the use ---- */

static void overwrite(int flags, const char *bytes, off_t at)
{
	int fd = open(in_folder("model.gguf"), O_WRONLY | O_CLOEXEC | flags);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
	close(fd);
}

static void set_times_back(const struct stat *facts)
{
	const struct timespec times[2] = { facts->st_atim, facts->st_mtim };

	assert_int_equal(utimensat(AT_FDCWD, in_folder("model.gguf"), times, 0), 0);
}

static void delete_it(const struct stat *facts)
{
	(void)facts;
	assert_int_equal(unlink(in_folder("model.gguf")), 0);
}

static void replace_it(const struct stat *facts)
{
	char other[PATH_MAX];

	(void)facts;
	snprintf(other, sizeof(other), "%.4000s", write_file("other", BYTES));
	assert_int_equal(rename(other, in_folder("model.gguf")), 0);
}

static void truncate_it(const struct stat *facts)
{
	(void)facts;
	assert_int_equal(truncate(in_folder("model.gguf"), 5), 0);
}

static void append_to_it(const struct stat *facts)
{
	overwrite(0, "!", facts->st_size);
}

static void write_it(const struct stat *facts)
{
	(void)facts;
	overwrite(0, "f", 3);
}

static void flip_it_secretly(const struct stat *facts)
{
	overwrite(0, "f", 3);
	set_times_back(facts);
}

/* Its folder is another one, with the same file name in it: the old file itself has not changed. */
static void move_its_folder(const struct stat *facts)
{
	char link[PATH_MAX];

	(void)facts;
	snprintf(link, sizeof(link), "%.4000s", in_folder("current"));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("v2", link), 0);
}

static const struct fault {
	const char *name;
	void (*happens)(const struct stat *facts);
	const char *sentence;
} faults[] = {
	{ "deleted", delete_it, "was deleted or moved away after it was checked; check it again" },
	{ "replaced", replace_it, "was replaced by another one after" },
	{ "truncated", truncate_it, "was truncated from 13 to 5 bytes after" },
	{ "grown", append_to_it, "has grown from 13 to 14 bytes after" },
	{ "written", write_it, "was written to after" },
	{ "touched", flip_it_secretly, "was changed (its mode, its links, or its bytes with" },
};

static void expect_change(const struct pc_model_file *file, const struct fault *fault)
{
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_model_file_check(file, &err), PC_E_MODEL_FILE_INVALID);
	assert_contains(err.message, fault->sentence);
	assert_string_equal(pc_error_detail_get(&err, "change"), fault->name);
	assert_string_equal(pc_error_detail_get(&err, "path"), file->path);
	assert_string_equal(pc_error_detail_get(&err, "model"), "m");
}

static void tells_what_happened_since(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(faults); i++) {
		struct pc_verify_options options = { .record_dir = records };
		struct pc_model_file file = open_file(write_model(BYTES), &options);
		struct stat facts;

		assert_int_equal(fstat(file.fd, &facts), 0);
		assert_int_equal(pc_model_file_check(&file, NULL), 0);
		faults[i].happens(&facts);
		expect_change(&file, &faults[i]);
		pc_model_file_close(&file);
	}
}

static void a_link_on_the_way_may_not_be_turned(void **state)
{
	const struct fault turned = { "replaced", move_its_folder, "was replaced by another one" };
	struct pc_model_file file;

	(void)state;
	mkdir(in_folder("v1"), 0700);
	mkdir(in_folder("v2"), 0700);
	write_file("v1/model.gguf", BYTES);
	write_file("v2/model.gguf", BYTES);
	assert_int_equal(symlink("v1", in_folder("current")), 0);
	file = open_file(model("current/model.gguf", "", ""), &no_records);
	assert_int_equal(pc_model_file_check(&file, NULL), 0);
	turned.happens(NULL);
	expect_change(&file, &turned);
	pc_model_file_close(&file);
}

/* A file that was changed is refused by its SHA-256 the next time, record or no record. */
static void what_was_changed_is_not_verified_again(void **state)
{
	struct pc_verify_options options = { .record_dir = records };
	const struct pc_model_entry *entry = write_model(BYTES);
	struct pc_model_file file = open_file(entry, &options);
	struct stat facts;

	(void)state;
	assert_int_equal(fstat(file.fd, &facts), 0);
	pc_model_file_close(&file);
	overwrite(0, "R", 11);
	set_times_back(&facts);
	expect_refusal(entry, &options, PC_E_MODEL_FILE_INVALID, "and the catalog says ");
}

/* Who has the descriptor has the file that was checked, whatever the path names by then. */
static void the_descriptor_keeps_its_file(void **state)
{
	struct pc_model_file file = open_file(write_model(BYTES), &no_records);
	char text[sizeof(BYTES)] = "", path[64];
	int fd;

	(void)state;
	write_file("evil", "GGUF and evil");
	assert_int_equal(rename(in_folder("evil"), file.path), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file.fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), strlen(BYTES));
	assert_string_equal(text, BYTES);
	close(fd);
	pc_model_file_close(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(hands_over_what_it_checked, empty_folder),
		cmocka_unit_test_teardown(hashes_only_what_it_must, empty_folder),
		cmocka_unit_test_teardown(knows_what_is_all_of_a_model, empty_folder),
		cmocka_unit_test_teardown(refuses_what_is_no_model, empty_folder),
		cmocka_unit_test_teardown(out_of_memory_leaves_nothing, empty_folder),
		cmocka_unit_test_teardown(tells_what_happened_since, empty_folder),
		cmocka_unit_test_teardown(a_link_on_the_way_may_not_be_turned, empty_folder),
		cmocka_unit_test_teardown(what_was_changed_is_not_verified_again, empty_folder),
		cmocka_unit_test_teardown(the_descriptor_keeps_its_file, empty_folder),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
