/* SPDX-License-Identifier: MIT */
/*
 * gguf_file.h - writes small GGUF files into memory, right ones and wrong ones: nothing here checks
 * what it is given. Include cmocka first.
 */
#ifndef TESTS_UNIT_GGUF_FILE_H
#define TESTS_UNIT_GGUF_FILE_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The numbers of the format's types. */
enum {
	V_U8,
	V_I8,
	V_U16,
	V_I16,
	V_U32,
	V_I32,
	V_F32,
	V_BOOL,
	V_STRING,
	V_ARRAY,
	V_U64,
	V_I64,
	V_F64,
};

/* A file of at most this size; `bytes` is all of it. */
struct gguf_file {
	unsigned char bytes[8192];
	size_t length;
};

static inline void gguf_put(struct gguf_file *file, const void *data, size_t length)
{
	assert_true(length <= sizeof(file->bytes) - file->length);
	memcpy(file->bytes + file->length, data, length);
	file->length += length;
}

/* A little-endian number; what is longer than 8 bytes has zeros behind. */
static inline void gguf_number(struct gguf_file *file, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		unsigned char byte = i < 8 ? (unsigned char)(value >> (8 * i)) : 0;

		gguf_put(file, &byte, 1);
	}
}

static inline void gguf_text(struct gguf_file *file, const char *text)
{
	gguf_number(file, strlen(text), 8);
	gguf_put(file, text, strlen(text));
}

static inline void gguf_begin(struct gguf_file *file, uint32_t version, uint64_t tensors,
			      uint64_t keys)
{
	file->length = 0;
	gguf_put(file, "GGUF", 4);
	gguf_number(file, version, 4);
	gguf_number(file, tensors, 8);
	gguf_number(file, keys, 8);
}

/* A key; its value is to follow. */
static inline void gguf_key(struct gguf_file *file, const char *key, uint32_t type)
{
	gguf_text(file, key);
	gguf_number(file, type, 4);
}

static inline void gguf_key_u32(struct gguf_file *file, const char *key, uint32_t value)
{
	gguf_key(file, key, V_U32);
	gguf_number(file, value, 4);
}

static inline void gguf_key_text(struct gguf_file *file, const char *key, const char *value)
{
	gguf_key(file, key, V_STRING);
	gguf_text(file, value);
}

/* An array's head; its items are to follow. */
static inline void gguf_key_array(struct gguf_file *file, const char *key, uint32_t type,
				  uint64_t count)
{
	gguf_key(file, key, V_ARRAY);
	gguf_number(file, type, 4);
	gguf_number(file, count, 8);
}

/* A tensor of one or two dimensions (b 0: one). */
static inline void gguf_tensor(struct gguf_file *file, const char *name, uint64_t a, uint64_t b,
			       uint32_t type, uint64_t offset)
{
	gguf_text(file, name);
	gguf_number(file, b ? 2 : 1, 4);
	gguf_number(file, a, 8);
	if (b)
		gguf_number(file, b, 8);
	gguf_number(file, type, 4);
	gguf_number(file, offset, 8);
}

static inline void gguf_align(struct gguf_file *file, size_t alignment)
{
	while (file->length % alignment)
		gguf_number(file, 0, 1);
}

/* Zeros for the data of tensors. */
static inline void gguf_data(struct gguf_file *file, size_t bytes)
{
	while (bytes-- > 0)
		gguf_number(file, 0, 1);
}

/* An open file of the first `length` bytes; close it. */
static inline int gguf_open_bytes(const struct gguf_file *file, size_t length)
{
	int fd = memfd_create("gguf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, file->bytes, length), length);
	return fd;
}

/*
 * A whole small model: 2 layers of 64 elements, 4 heads of which 2 hold keys and values, 3 words.
 * 64 x 3 in F16, 256 x 4 in Q4_K, 64 in F32, 32 in Q8_0.
 */
static inline void gguf_small(struct gguf_file *file, uint32_t version)
{
	gguf_begin(file, version, 4, 14);
	gguf_key_text(file, "general.architecture", "llama");
	gguf_key_text(file, "general.name", "Small One");
	gguf_key_u32(file, "general.file_type", 15);
	gguf_key_u32(file, "llama.context_length", 1000);
	gguf_key_u32(file, "llama.block_count", 2);
	gguf_key_u32(file, "llama.embedding_length", 64);
	gguf_key_u32(file, "llama.feed_forward_length", 128);
	gguf_key_u32(file, "llama.attention.head_count", 4);
	gguf_key_u32(file, "llama.attention.head_count_kv", 2);
	gguf_key_u32(file, "qwen2.context_length", 9); /* another architecture's */
	gguf_key(file, "llama.rope.freq_base", V_F32);
	gguf_number(file, 0x461c4000, 4);
	gguf_key(file, "tokenizer.ggml.add_bos_token", V_BOOL);
	gguf_number(file, 1, 1);
	gguf_key_array(file, "tokenizer.ggml.scores", V_F32, 3);
	gguf_number(file, 0, 12);
	gguf_key_array(file, "tokenizer.ggml.tokens", V_STRING, 3);
	gguf_text(file, "<s>");
	gguf_text(file, "");
	gguf_text(file, "word");
	gguf_tensor(file, "token_embd.weight", 64, 3, 1, 0);
	gguf_tensor(file, "blk.0.ffn_up.weight", 256, 4, 12, 384);
	gguf_tensor(file, "output_norm.weight", 64, 0, 0, 960);
	gguf_tensor(file, "blk.0.attn_q.weight", 32, 0, 8, 1216);
	gguf_align(file, 32);
	gguf_data(file, 1250);
}

#endif
