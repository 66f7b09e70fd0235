/* SPDX-License-Identifier: MIT */
/*
 * The catalog's GGUF reader beside ggml's own: the table of tensor types, and the header of the
 * demonstration model (the only argument).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/gguf.h>

#include <fcntl.h>
#include <ggml.h>
#include <gguf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "catalog/gguf_types.h"

static const char *model_path;

/* Types that this ggml does not have yet, or no more, are not compared. */
static void types_are_ggmls(void **state)
{
	unsigned compared = 0;

	(void)state;
	for (uint32_t i = 0; i < PC__GGUF_TYPES && i < GGML_TYPE_COUNT; i++) {
		const struct pc__gguf_type *type = pc__gguf_type(i);
		enum ggml_type theirs = (enum ggml_type)i;

		if (!type) {
			assert_int_equal(ggml_blck_size(theirs), 0);
			continue;
		}
		assert_string_equal(type->name, ggml_type_name(theirs));
		assert_int_equal(type->block_elements, ggml_blck_size(theirs));
		assert_int_equal(type->block_bytes, ggml_type_size(theirs));
		assert_ptr_equal(pc__gguf_type_of_name(type->name), type);
		compared++;
	}
	assert_true(compared > 25);
}

static void the_header_is_read_as_ggml_reads_it(void **state)
{
	struct gguf_init_params params = { .no_alloc = true };
	struct gguf_context *theirs = gguf_init_from_file(model_path, params);
	int fd = open(model_path, O_RDONLY | O_CLOEXEC);
	struct pc_error err = PC_ERROR_INIT;
	struct pc_gguf_info info;
	uint64_t bytes = 0;

	(void)state;
	assert_non_null(theirs);
	if (pc_gguf_read(fd, &info, &err))
		fail_msg("%s", err.message);
	for (int64_t i = 0; i < gguf_get_n_tensors(theirs); i++)
		bytes += gguf_get_tensor_size(theirs, i);
	assert_int_equal(info.version, gguf_get_version(theirs));
	assert_int_equal(info.metadata_count, gguf_get_n_kv(theirs));
	assert_int_equal(info.tensor_count, gguf_get_n_tensors(theirs));
	assert_int_equal(info.tensor_bytes, bytes);
	assert_int_equal(info.data_offset, gguf_get_data_offset(theirs));
	assert_int_equal(info.vocabulary,
			 gguf_get_arr_n(theirs, gguf_find_key(theirs, "tokenizer.ggml.tokens")));
	assert_int_equal(info.context_tokens,
			 gguf_get_val_u32(theirs, gguf_find_key(theirs, "llama.context_length")));
	assert_string_equal(info.architecture, "llama");
	gguf_free(theirs);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_are_ggmls),
		cmocka_unit_test(the_header_is_read_as_ggml_reads_it),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s MODEL\n", argv[0]);
		return 2;
	}
	model_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
