/* SPDX-License-Identifier: MIT */
/* Unit tests of src/catalog/gguf*.c: what is read, every refusal with its byte, damage,
 * estimates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/gguf.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/gguf_file.h"

static struct gguf_file file;

/* Reads the first `length` bytes of the file; a failure must leave what it was given alone. */
static int read_bytes(size_t length, struct pc_gguf_info *info, struct pc_error *err)
{
	struct pc_gguf_info before;
	int fd = gguf_open_bytes(&file, length), rc;

	memset(info, 0x5a, sizeof(*info));
	before = *info;
	pc_error_clear(err);
	rc = pc_gguf_read(fd, info, err);
	assert_int_equal(err->code, rc);
	if (rc)
		assert_memory_equal(info, &before, sizeof(before));
	close(fd);
	return rc;
}

static struct pc_gguf_info read_whole(void)
{
	struct pc_gguf_info info;
	struct pc_error err;

	if (read_bytes(file.length, &info, &err))
		fail_msg("%s", err.message);
	return info;
}

/* ---- what is read ---- */

static void assert_is_small(const struct pc_gguf_info *info)
{
	assert_string_equal(info->architecture, "llama");
	assert_string_equal(info->name, "Small One");
	assert_string_equal(info->file_type, "Q4_K_M");
	assert_string_equal(info->most_type, "q4_K");
	assert_int_equal(info->most_percent, 78);
	assert_int_equal(info->split_count, 0);
	assert_int_equal(info->parameters, 64 * 3 + 256 * 4 + 64 + 32);
	assert_int_equal(info->tensor_count, 4);
	assert_int_equal(info->tensor_bytes, 384 + 576 + 256 + 34);
	assert_int_equal(info->metadata_count, 14);
	assert_int_equal(info->data_offset, file.length - 1250);
	assert_int_equal(info->context_tokens, 1000);
	assert_int_equal(info->layers, 2);
	assert_int_equal(info->embedding_length, 64);
	assert_int_equal(info->feed_forward_length, 128);
	assert_int_equal(info->heads, 4);
	assert_int_equal(info->kv_heads, 2);
	assert_int_equal(info->kv_heads_total, 4);
	assert_int_equal(info->key_length, 16);
	assert_int_equal(info->value_length, 16);
	assert_int_equal(info->vocabulary, 3);
	assert_int_equal(info->sliding_window, 0);
	assert_false(info->recurrent);
}

static void reads_both_versions(void **state)
{
	(void)state;
	for (uint32_t version = 2; version <= 3; version++) {
		struct pc_gguf_info info;

		gguf_small(&file, version);
		info = read_whole();
		assert_int_equal(info.version, version);
		assert_is_small(&info);
	}
}

static void allocates_nothing(void **state)
{
	struct pc_gguf_info info;
	struct pc_error err;
	int rc;

	(void)state;
	gguf_small(&file, 3);
	fail_alloc_begin(1);
	rc = read_bytes(file.length, &info, &err);
	assert_true(fail_alloc_end());
	assert_int_equal(rc, 0);
}

/* The keys may come in any order, the counts in any type of integer, and heads by layer. */
static void reads_what_is_written_differently(void **state)
{
	static const char name[] =
		"a name of more than 127 bytes, whose cut falls into a character: "
		"................................................"
		"..............\303\244\303\244\303\244";
	struct pc_gguf_info info;

	(void)state;
	gguf_begin(&file, 3, 0, 12);
	gguf_key(&file, "mamba.block_count", V_U64);
	gguf_number(&file, 3, 8);
	gguf_key_array(&file, "mamba.attention.head_count_kv", V_I32, 3);
	gguf_number(&file, 2, 4);
	gguf_number(&file, 0, 4);
	gguf_number(&file, 5, 4);
	gguf_key_array(&file, "mamba.feed_forward_length", V_U16, 2);
	gguf_number(&file, 700, 2);
	gguf_number(&file, 300, 2);
	gguf_key(&file, "mamba.attention.key_length", V_U8);
	gguf_number(&file, 192, 1);
	gguf_key(&file, "mamba.attention.value_length", V_I64);
	gguf_number(&file, 128, 8);
	gguf_key_u32(&file, "mamba.vocab_size", 77);
	gguf_key_u32(&file, "mamba.ssm.state_size", 16);
	gguf_key_array(&file, "nested", V_ARRAY, 2);
	gguf_number(&file, V_STRING, 4);
	gguf_number(&file, 1, 8);
	gguf_text(&file, "x");
	gguf_number(&file, V_F64, 4);
	gguf_number(&file, 2, 8);
	gguf_number(&file, 0, 16);
	gguf_key_text(&file, "general.name", name);
	gguf_key(&file, "split.count", V_U16);
	gguf_number(&file, 4, 2);
	gguf_key_u32(&file, "general.alignment", 64);
	gguf_key_text(&file, "general.architecture", "mamba");
	info = read_whole();
	assert_string_equal(info.architecture, "mamba");
	assert_int_equal(strlen(info.name), 127);
	assert_memory_equal(info.name, name, 127);
	assert_string_equal(info.file_type, "");
	assert_string_equal(info.most_type, "");
	assert_int_equal(info.most_percent, 0);
	assert_int_equal(info.split_count, 4);
	assert_int_equal(info.layers, 3);
	assert_int_equal(info.kv_heads, 5);
	assert_int_equal(info.kv_heads_total, 7);
	assert_int_equal(info.feed_forward_length, 700);
	assert_int_equal(info.key_length, 192);
	assert_int_equal(info.value_length, 128);
	assert_int_equal(info.vocabulary, 77);
	assert_true(info.recurrent);
	assert_int_equal(info.data_offset % 64, 0);
}

/* As Qwen3-Next and its kin: every fourth layer has keys and values, and the one behind them that
 * predicts further tokens. */
static void layers_without_attention_are_not_counted(void **state)
{
	struct pc_gguf_info info;

	(void)state;
	gguf_begin(&file, 3, 0, 6);
	gguf_key_text(&file, "general.architecture", "qwen35");
	gguf_key_u32(&file, "qwen35.block_count", 33);
	gguf_key_u32(&file, "qwen35.attention.head_count", 16);
	gguf_key_u32(&file, "qwen35.attention.head_count_kv", 2);
	gguf_key_u32(&file, "qwen35.full_attention_interval", 4);
	gguf_key_u32(&file, "qwen35.ssm.state_size", 128);
	info = read_whole();
	assert_int_equal(info.kv_heads, 2);
	assert_int_equal(info.kv_heads_total, 2 * 9);
	assert_true(info.recurrent);
}

/* ---- refusals ---- */

static void assert_refused(int code, uint64_t byte, const char *sentence)
{
	char message[PC_ERROR_MESSAGE_MAX], number[32];
	struct pc_gguf_info info;
	struct pc_error err;

	assert_int_equal(read_bytes(file.length, &info, &err), code);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)byte);
	snprintf(message, sizeof(message), "byte %s: %s", number, sentence);
	assert_string_equal(err.message, message);
	assert_string_equal(pc_error_detail_get(&err, "byte"), number);
}

static void refuses_other_files(void **state)
{
	(void)state;
	file.length = 0;
	assert_refused(PC_E_MODEL_FILE_INVALID, 0,
		       "the magic takes 4 bytes and the file ends after 0; it is damaged, or was "
		       "not copied whole");
	gguf_put(&file, "\177ELF", 4);
	assert_refused(PC_E_MODEL_FILE_INVALID, 0,
		       "this is no GGUF file: it begins with 7f454c46, and one with 47475546");
	gguf_begin(&file, 1, 0, 0);
	assert_refused(PC_E_UNSUPPORTED, 4,
		       "the file has version 1; versions 2 and 3 in little endian are read: "
		       "convert the file with llama.cpp's tools");
	gguf_begin(&file, 3u << 24, 0, 0);
	assert_refused(PC_E_UNSUPPORTED, 4,
		       "the file is in big endian; versions 2 and 3 in little endian are read: "
		       "convert the file with llama.cpp's tools");
}

static void refuses_numbers_that_cannot_be(void **state)
{
	(void)state;
	gguf_begin(&file, 3, UINT64_C(1) << 63, 0);
	assert_refused(PC_E_MODEL_FILE_INVALID, 8,
		       "the number of tensors is 9223372036854775808 and at most 0 fit into what "
		       "is left of the file; it is damaged");
	gguf_begin(&file, 3, 0, 3);
	gguf_data(&file, 26);
	assert_refused(PC_E_MODEL_FILE_INVALID, 16,
		       "the number of keys is 3 and at most 2 fit into what is left of the file; "
		       "it is damaged");
	gguf_begin(&file, 3, 0, 1);
	gguf_number(&file, 65536, 8);
	gguf_data(&file, 5);
	assert_refused(PC_E_MODEL_FILE_INVALID, 24,
		       "a key has 65536 bytes; at most 65535 are allowed");
	gguf_begin(&file, 3, 0, 1);
	gguf_key(&file, "k", V_STRING);
	gguf_number(&file, UINT64_MAX, 8);
	assert_refused(PC_E_MODEL_FILE_INVALID, 45,
		       "a string takes 18446744073709551615 bytes and the file ends after 0; it is "
		       "damaged, or was not copied whole");
	gguf_begin(&file, 3, 0, 1);
	gguf_key_array(&file, "k", V_U64, UINT64_C(1) << 61);
	gguf_data(&file, 8);
	assert_refused(PC_E_MODEL_FILE_INVALID, 41,
		       "the number of an array's items is 2305843009213693952 and at most 1 fit "
		       "into what is left of the file; it is damaged");
	gguf_begin(&file, 3, 0, 1);
	gguf_key(&file, "k", 13);
	gguf_data(&file, 8);
	assert_refused(PC_E_MODEL_FILE_INVALID, 33,
		       "13 is no type of a value; the known ones are 0 to 12");
}

static void refuses_arrays_nested_deeply(void **state)
{
	(void)state;
	gguf_begin(&file, 3, 0, 1);
	gguf_key_array(&file, "k", V_ARRAY, 1);
	for (int i = 0; i < 5; i++) {
		gguf_number(&file, V_ARRAY, 4);
		gguf_number(&file, 1, 8);
	}
	gguf_data(&file, 12);
	assert_refused(PC_E_MODEL_FILE_INVALID, 85, "arrays are nested more than 4 deep");
}

/* A header with the architecture and one more key; its value is to follow at byte 73. */
static void begin_key(const char *key, uint32_t type, uint64_t tensors)
{
	gguf_begin(&file, 3, tensors, 2);
	gguf_key_text(&file, "general.architecture", "x");
	gguf_key(&file, key, type);
}

static void refuses_keys_that_make_no_sense(void **state)
{
	(void)state;
	gguf_begin(&file, 3, 0, 1);
	gguf_key_u32(&file, "general.file_type", 1);
	assert_refused(PC_E_MODEL_FILE_INVALID, 24,
		       "there is no key general.architecture; a model has one");
	gguf_begin(&file, 3, 0, 1);
	gguf_key_text(&file, "general.architecture", "");
	assert_refused(PC_E_MODEL_FILE_INVALID, 56,
		       "general.architecture is empty; a name such as \"llama\" belongs there");
	gguf_begin(&file, 3, 0, 1);
	gguf_key_u32(&file, "general.architecture", 1);
	assert_refused(PC_E_MODEL_FILE_INVALID, 56,
		       "general.architecture is a u32; a string belongs there");
	begin_key("x.block_count", V_F32, 0);
	gguf_number(&file, 0, 4);
	assert_refused(PC_E_MODEL_FILE_INVALID, 90,
		       "block_count is an f32; an integer belongs there");
	begin_key("x.block_count", V_I8, 0);
	gguf_number(&file, 0x80, 1);
	assert_refused(PC_E_MODEL_FILE_INVALID, 90, "block_count is negative; it counts something");
	begin_key("x.block_count", V_U64, 0);
	gguf_number(&file, UINT64_C(1) << 32, 8);
	assert_refused(PC_E_MODEL_FILE_INVALID, 90,
		       "block_count is 4294967296; at most 4294967295 is plausible");
	begin_key("tokenizer.ggml.tokens", V_U32, 0);
	gguf_number(&file, 1, 4);
	assert_refused(PC_E_MODEL_FILE_INVALID, 98,
		       "tokenizer.ggml.tokens is a u32; an array belongs there");
	begin_key("general.architecture", V_STRING, 0);
	gguf_text(&file, "y");
	assert_refused(PC_E_MODEL_FILE_INVALID, 97,
		       "general.architecture is there twice, first at byte 56; every key is there "
		       "once");
	begin_key("general.alignment", V_U32, 0);
	gguf_number(&file, 24, 4);
	assert_refused(PC_E_MODEL_FILE_INVALID, 94,
		       "general.alignment is 24; a power of two belongs there");
	begin_key("x.attention.head_count_kv", V_ARRAY, 0);
	gguf_number(&file, V_U32, 4);
	gguf_number(&file, 2, 8);
	gguf_number(&file, 0, 8);
	assert_refused(PC_E_MODEL_FILE_INVALID, 102,
		       "attention.head_count_kv has 2 numbers; there are 0 layers");
}

/* A header with the architecture and one tensor, which is to follow at byte 65. */
static void begin_tensor(void)
{
	gguf_begin(&file, 3, 1, 1);
	gguf_key_text(&file, "general.architecture", "x");
}

static void refuses_tensors_that_cannot_be(void **state)
{
	char name[66];

	(void)state;
	begin_tensor();
	gguf_tensor(&file, "t", 33, 0, 8, 0);
	assert_refused(PC_E_MODEL_FILE_INVALID, 65,
		       "the tensor \"t\" has rows of 33 elements; the type q8_0 takes multiples of "
		       "32");
	begin_tensor();
	gguf_tensor(&file, "t", UINT64_C(1) << 32, UINT64_C(1) << 31, 0, 0);
	assert_refused(PC_E_MODEL_FILE_INVALID, 86,
		       "the tensor \"t\" has more than 2^63 elements; its dimension 1 is "
		       "2147483648");
	begin_tensor();
	gguf_tensor(&file, "t", UINT64_C(1) << 62, 0, 0, 0);
	assert_refused(PC_E_MODEL_FILE_INVALID, 65,
		       "the tensor \"t\" has 4611686018427387904 elements of the type f32, more "
		       "than the file has bytes for: it has 98");
	begin_tensor();
	gguf_tensor(&file, "t", 1, 0, 4, 0);
	assert_refused(PC_E_UNSUPPORTED, 86,
		       "the tensor \"t\" has the type 4, which is not known here; the last known "
		       "one is 42");
	begin_tensor();
	gguf_tensor(&file, "t", 1, 0, 0, 8);
	assert_refused(PC_E_MODEL_FILE_INVALID, 90,
		       "the tensor \"t\" begins at 8 of the data; multiples of 32 are allowed");
	begin_tensor();
	gguf_tensor(&file, "t", 1, 0, 0, UINT64_MAX - 31);
	assert_refused(PC_E_MODEL_FILE_INVALID, 90,
		       "the tensor \"t\" begins at 18446744073709551584 of the data and the file "
		       "has 98 bytes");
	begin_tensor();
	gguf_tensor(&file, "t", 8, 0, 0, 0);
	gguf_align(&file, 32);
	gguf_data(&file, 31);
	assert_refused(PC_E_MODEL_FILE_INVALID, 90,
		       "a tensor ends at byte 160 and the file has 159; it is damaged, or was not "
		       "copied whole");
	begin_tensor();
	gguf_text(&file, "t");
	gguf_number(&file, 5, 4);
	gguf_data(&file, 64);
	assert_refused(PC_E_MODEL_FILE_INVALID, 74,
		       "the tensor \"t\" has 5 dimensions; at most 4 are allowed");
	memset(name, 'n', 65);
	name[65] = '\0';
	begin_tensor();
	gguf_tensor(&file, name, 1, 0, 0, 0);
	assert_refused(PC_E_MODEL_FILE_INVALID, 65,
		       "a tensor's name has 65 bytes; at most 64 are allowed");
}

static void refuses_what_is_no_file(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_gguf_info info;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pc_gguf_read(ends[0], &info, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "it is not a regular file; a GGUF file is needed");
	pc_error_clear(&err);
	assert_int_equal(pc_gguf_read(-1, &info, &err), PC_E_IO);
	assert_int_equal(pc_gguf_read(ends[0], NULL, NULL), PC_E_INVALID_ARGUMENT);
	close(ends[0]);
	close(ends[1]);
}

/* ---- damage ---- */

static void every_truncation_is_refused(void **state)
{
	struct pc_gguf_info info;
	struct pc_error err;

	(void)state;
	gguf_small(&file, 3);
	for (size_t length = 0; length < file.length; length++) {
		if (read_bytes(length, &info, &err) != PC_E_MODEL_FILE_INVALID)
			fail_msg("%zu of %zu bytes were taken for a file", length, file.length);
		assert_non_null(pc_error_detail_get(&err, "byte"));
	}
	assert_int_equal(read_bytes(file.length, &info, &err), 0);
}

/* A byte of the header that is another one may be refused; it never does harm. */
static void every_other_byte_is_survived(void **state)
{
	static const unsigned char changes[] = { 0x01, 0x02, 0x04, 0x08, 0x10,
						 0x20, 0x40, 0x80, 0xff };
	unsigned refused = 0, taken = 0;
	struct pc_gguf_info info;
	struct pc_error err;

	(void)state;
	gguf_small(&file, 3);
	for (size_t at = 0; at < file.length - 1250; at++) {
		for (size_t i = 0; i < PC_ARRAY_LEN(changes); i++) {
			int rc;

			file.bytes[at] ^= changes[i];
			rc = read_bytes(file.length, &info, &err);
			file.bytes[at] ^= changes[i];
			if (rc == 0) {
				struct pc_gguf_use use = { .slots = 4 };
				struct pc_gguf_memory memory;

				pc_gguf_estimate(&info, &use, &memory, NULL);
				taken++;
				continue;
			}
			assert_true(rc == PC_E_MODEL_FILE_INVALID || rc == PC_E_UNSUPPORTED);
			assert_non_null(pc_error_detail_get(&err, "byte"));
			refused++;
		}
	}
	/* Names may be anything; lengths may not. */
	assert_true(taken > 100 && refused > 100);
}

/* The header is longer than the reader's window, and strings lie across its edge. */
static void a_long_header_is_read_through(void **state)
{
	int fd = memfd_create("gguf", MFD_CLOEXEC);
	struct pc_error err = PC_ERROR_INIT;
	struct pc_gguf_info info;
	uint64_t words = 20000;

	(void)state;
	gguf_begin(&file, 3, 0, 2);
	gguf_key_array(&file, "tokenizer.ggml.tokens", V_STRING, words);
	assert_int_equal(write(fd, file.bytes, file.length), file.length);
	for (uint64_t i = 0; i < words; i++) {
		file.length = 0;
		gguf_text(&file, i % 3 ? "a word" : "another word");
		assert_int_equal(write(fd, file.bytes, file.length), file.length);
	}
	file.length = 0;
	gguf_key_text(&file, "general.architecture", "llama");
	assert_int_equal(write(fd, file.bytes, file.length), file.length);
	if (pc_gguf_read(fd, &info, &err))
		fail_msg("%s", err.message);
	assert_int_equal(info.vocabulary, words);
	assert_string_equal(info.architecture, "llama");
	/* One that would go on for ever is not read to its end: the file is sparse. */
	assert_int_equal(ftruncate(fd, INT64_C(1) << 40), 0);
	gguf_begin(&file, 3, 0, 2);
	gguf_key(&file, "k", V_STRING);
	gguf_number(&file, UINT64_C(1) << 30, 8);
	assert_int_equal(pwrite(fd, file.bytes, file.length, 0), file.length);
	assert_int_equal(pc_gguf_read(fd, &info, &err), PC_E_MODEL_FILE_INVALID);
	assert_string_equal(err.message,
			    "byte 45: a string leads the header past 256 MiB, the most "
			    "that is read");
	close(fd);
}

/* ---- estimates ---- */

static void estimates_each_addend(void **state)
{
	struct pc_gguf_use use = { .slots = 0 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_gguf_memory memory;
	struct pc_gguf_info info;

	(void)state;
	gguf_small(&file, 3);
	info = read_whole();
	assert_int_equal(pc_gguf_estimate(&info, &use, &memory, &err), 0);
	assert_int_equal(memory.weights_bytes, 1250);
	/* 1000 tokens are 1024; 4 heads in all of 16 + 16 elements of 2 bytes. */
	assert_int_equal(memory.cache_bytes, 1024 * 4 * 32 * 2);
	/* 512 rows of 3 logits, 4 x 64 + 2 x 128 activations, 4 x 1024 scores, of 4 bytes. */
	assert_int_equal(memory.compute_bytes, 512 * (3 + 512 + 4096) * 4);
	assert_int_equal(memory.total_bytes,
			 memory.weights_bytes + memory.cache_bytes + memory.compute_bytes);
	assert_string_equal(memory.sentence,
			    "1.2 KiB of weights (all 4 tensors) + 256 KiB of keys and values (1 "
			    "slot of 1024 tokens, 4 heads over 2 layers, 16 + 16 elements of f16 "
			    "each) + about 9 MiB to compute in (a guess: logits, activations and "
			    "attention scores)");

	use = (struct pc_gguf_use){
		.context_tokens = 256, .slots = 8, .cache_type = "q8_0", .flash_attention = true
	};
	info.recurrent = true;
	assert_int_equal(pc_gguf_estimate(&info, &use, &memory, &err), 0);
	/* 16 elements of a block of 32 take the whole block. */
	assert_int_equal(memory.cache_bytes, 8 * 256 * 4 * (34 + 34));
	assert_int_equal(memory.compute_bytes, 8 * 128 * (3 + 512) * 4);
	assert_non_null(strstr(memory.sentence, "logits, activations); its recurrent state is not "
						"counted"));
}

/* Llama 2 7B with its own context: llama.cpp's log says "KV self size = 2048.00 MiB". */
static void estimates_a_known_model(void **state)
{
	const struct pc_gguf_info llama2 = {
		.context_tokens = 4096,
		.layers = 32,
		.embedding_length = 4096,
		.feed_forward_length = 11008,
		.heads = 32,
		.kv_heads = 32,
		.kv_heads_total = 1024,
		.key_length = 128,
		.value_length = 128,
		.vocabulary = 32000,
		.tensor_bytes = UINT64_C(4080263168),
	};
	const struct pc_gguf_use use = { .slots = 1 };
	struct pc_gguf_memory memory;

	(void)state;
	assert_int_equal(pc_gguf_estimate(&llama2, &use, &memory, NULL), 0);
	assert_int_equal(memory.cache_bytes, UINT64_C(2) << 30);
}

static void refuses_estimates_that_make_no_sense(void **state)
{
	struct pc_gguf_info info = { .kv_heads_total = UINT64_MAX / 2,
				     .key_length = UINT32_MAX,
				     .context_tokens = UINT32_MAX };
	struct pc_gguf_use use = { .cache_type = "f17" };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_gguf_memory memory;

	(void)state;
	assert_int_equal(pc_gguf_estimate(&info, &use, &memory, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "there is no type \"f17\" for keys and values; \"f16\" and "
			    "\"q8_0\" are usual");
	use.cache_type = NULL;
	pc_error_clear(&err);
	assert_int_equal(pc_gguf_estimate(&info, &use, &memory, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a context of 4294967296 tokens in 1 slot takes more "
					 "memory than can be addressed");
	assert_int_equal(pc_gguf_estimate(NULL, &use, &memory, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_gguf_estimate(&info, NULL, &memory, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_gguf_estimate(&info, &use, NULL, NULL), PC_E_INVALID_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_both_versions),
		cmocka_unit_test(allocates_nothing),
		cmocka_unit_test(reads_what_is_written_differently),
		cmocka_unit_test(layers_without_attention_are_not_counted),
		cmocka_unit_test(refuses_other_files),
		cmocka_unit_test(refuses_numbers_that_cannot_be),
		cmocka_unit_test(refuses_arrays_nested_deeply),
		cmocka_unit_test(refuses_keys_that_make_no_sense),
		cmocka_unit_test(refuses_tensors_that_cannot_be),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_other_byte_is_survived),
		cmocka_unit_test(a_long_header_is_read_through),
		cmocka_unit_test(estimates_each_addend),
		cmocka_unit_test(estimates_a_known_model),
		cmocka_unit_test(refuses_estimates_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
