/* SPDX-License-Identifier: MIT */
/* Unit tests of src/catalog/gguf_parts.c: a split model as one, and every way that it is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/gguf.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/folder.h"
#include "tests/unit/gguf_file.h"

static struct gguf_file file;

static void put_file(const char *name)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, file.bytes, file.length), file.length);
	close(fd);
}

/* The first part as gguf-split --no-tensor-first-split writes it: all keys, no tensor. */
static void put_first(const char *name, uint32_t count)
{
	gguf_begin(&file, 3, 0, 8);
	gguf_key_text(&file, "general.architecture", "llama");
	gguf_key_u32(&file, "llama.context_length", 256);
	gguf_key_u32(&file, "llama.block_count", 2);
	gguf_key_u32(&file, "llama.embedding_length", 64);
	gguf_key_u32(&file, "llama.attention.head_count", 4);
	gguf_key(&file, "split.no", V_U16);
	gguf_number(&file, 0, 2);
	gguf_key(&file, "split.count", V_U16);
	gguf_number(&file, count, 2);
	gguf_key(&file, "split.tensors.count", V_I32);
	gguf_number(&file, 2, 4);
	put_file(name);
}

/* Another part: it says which it is, and has a tensor of `elements` of a type. */
static void put_part(const char *name, uint32_t number, uint32_t count, uint64_t elements,
		     uint32_t type, size_t bytes)
{
	gguf_begin(&file, 3, 1, 2);
	gguf_key(&file, "split.no", V_U16);
	gguf_number(&file, number, 2);
	gguf_key(&file, "split.count", V_U16);
	gguf_number(&file, count, 2);
	gguf_tensor(&file, "a.weight", elements, 0, type, 0);
	gguf_align(&file, 32);
	gguf_data(&file, bytes);
	put_file(name);
}

static void put_model(void)
{
	put_first("m-00001-of-00003.gguf", 3);
	put_part("m-00002-of-00003.gguf", 1, 3, 512, 12, 288); /* Q4_K */
	put_part("m-00003-of-00003.gguf", 2, 3, 64, 1, 128);   /* F16 */
}

static int read_model(const char *name, struct pc_gguf_info *info, struct pc_error *err)
{
	const char *path = in_folder(name);
	struct pc_gguf_info before;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	assert_true(fd >= 0);
	memset(info, 0x5a, sizeof(*info));
	before = *info;
	pc_error_clear(err);
	rc = pc_gguf_read_model(fd, path, info, err);
	assert_int_equal(err->code, rc);
	if (rc)
		assert_memory_equal(info, &before, sizeof(before));
	close(fd);
	return rc;
}

static void all_parts_are_counted(void **state)
{
	const struct pc_gguf_use use = { .slots = 1 };
	struct pc_gguf_memory memory;
	struct pc_gguf_info info;
	struct pc_error err;

	(void)state;
	put_model();
	if (read_model("m-00001-of-00003.gguf", &info, &err))
		fail_msg("%s", err.message);
	assert_string_equal(info.architecture, "llama");
	assert_int_equal(info.split_count, 3);
	assert_int_equal(info.split_number, 0);
	assert_int_equal(info.tensor_count, 2);
	assert_int_equal(info.parameters, 512 + 64);
	assert_int_equal(info.tensor_bytes, 288 + 128);
	assert_string_equal(info.most_type, "q4_K");
	assert_int_equal(info.most_percent, 88);
	assert_int_equal(pc_gguf_estimate(&info, &use, &memory, &err), 0);
	assert_int_equal(memory.weights_bytes, 288 + 128);
}

static void a_whole_model_is_itself(void **state)
{
	struct pc_gguf_info info, alone;
	struct pc_error err;
	int fd;

	(void)state;
	gguf_small(&file, 3);
	put_file("whole.gguf");
	assert_int_equal(read_model("whole.gguf", &info, &err), 0);
	fd = open(in_folder("whole.gguf"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(pc_gguf_read(fd, &alone, &err), 0);
	close(fd);
	assert_memory_equal(&info, &alone, sizeof(info));
}

static void assert_refused(const char *name, int code, const char *part)
{
	struct pc_gguf_info info;
	struct pc_error err;

	assert_int_equal(read_model(name, &info, &err), code);
	assert_contains(err.message, part);
}

static void parts_that_are_none_are_refused(void **state)
{
	struct pc_gguf_info info;

	(void)state;
	put_model();
	assert_refused("m-00002-of-00003.gguf", PC_E_MODEL_FILE_INVALID,
		       "it is part 2 of 3 of a model; name the first part, whose name ends in "
		       "-00001-of-00003.gguf");
	put_first("other.gguf", 3);
	assert_refused("other.gguf", PC_E_MODEL_FILE_INVALID,
		       "its own has to end in -00001-of-00003.gguf");
	put_part("m-00003-of-00003.gguf", 1, 3, 64, 1, 128);
	assert_refused("m-00001-of-00003.gguf", PC_E_MODEL_FILE_INVALID,
		       "m-00003-of-00003.gguf: it says that it is part 2 of 3, and by its name it "
		       "is part 3 of 3");
	put_part("m-00003-of-00003.gguf", 2, 3, 64, 1, 100);
	assert_refused("m-00001-of-00003.gguf", PC_E_MODEL_FILE_INVALID,
		       "m-00003-of-00003.gguf: byte ");
	assert_int_equal(unlink(in_folder("m-00003-of-00003.gguf")), 0);
	assert_refused("m-00001-of-00003.gguf", PC_E_MODEL_FILE_MISSING,
		       "m-00003-of-00003.gguf: part 3 of 3 of the model cannot be opened");
	assert_int_equal(pc_gguf_read_model(0, NULL, &info, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_gguf_read_model(0, "x", NULL, NULL), PC_E_INVALID_ARGUMENT);
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/pc-parts-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
					     "m-00003-of-00003.gguf", "other.gguf", "whole.gguf" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_folder(names[i]));
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_parts_are_counted),
		cmocka_unit_test(a_whole_model_is_itself),
		cmocka_unit_test(parts_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
