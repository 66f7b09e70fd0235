/* SPDX-License-Identifier: MIT */
/*
 * gguf.c - reads a GGUF header as a whole. Bytes are gguf_scan.c's, what they mean that of
 * gguf_keys.c and gguf_tensors.c; the memory that follows from it is gguf_memory.c's. It allocates
 * nothing. Runs on the caller's thread.
 *
 * The file, in its order: magic, version, the numbers of tensors and of keys; keys and values;
 * name, dimensions, type and offset of each tensor; padding; the tensors.
 */
#include <poolcore/gguf.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "catalog/gguf_keys.h"
#include "catalog/gguf_part.h"
#include "catalog/gguf_tensors.h"

#define MAGIC 0x46554747u /* "GGUF" */

struct beginning {
	uint32_t version;
	uint64_t tensors, keys; /* how many */
};

static int unsupported(struct gguf_scan *scan, const char *what)
{
	pc_error_set(
		scan->err, PC_E_UNSUPPORTED,
		"byte 4: %s; versions 2 and 3 in little endian are read: convert the file with "
		"llama.cpp's tools",
		what);
	pc_error_detail(scan->err, "byte", "4");
	return PC_E_UNSUPPORTED;
}

static int read_beginning(struct gguf_scan *scan, struct beginning *ret_beginning)
{
	struct beginning beginning;
	uint32_t magic;
	char what[64];
	int rc = pc__gguf_u32(scan, "the magic", &magic);

	if (rc)
		return rc;
	if (magic != MAGIC)
		return pc__gguf_fail(
			scan, 0, "this is no GGUF file: it begins with %08x, and one with 47475546",
			__builtin_bswap32(magic));
	rc = pc__gguf_u32(scan, "the version", &beginning.version);
	if (rc)
		return rc;
	if (beginning.version == 2u << 24 || beginning.version == 3u << 24)
		return unsupported(scan, "the file is in big endian");
	snprintf(what, sizeof(what), "the file has version %u", beginning.version);
	if (beginning.version != 2 && beginning.version != 3)
		return unsupported(scan, what);
	rc = pc__gguf_count(scan, "the number of tensors", PC__GGUF_TENSOR_LEAST_BYTES,
			    &beginning.tensors);
	if (rc == 0)
		rc = pc__gguf_count(scan, "the number of keys", PC__GGUF_KEY_LEAST_BYTES,
				    &beginning.keys);
	if (rc == 0)
		*ret_beginning = beginning;
	return rc;
}

void pc__gguf_weigh(struct pc_gguf_info *info, const uint64_t parameters_of[PC__GGUF_TYPES])
{
	uint32_t most = 0;

	for (uint32_t i = 1; i < PC__GGUF_TYPES; i++) {
		if (parameters_of[i] > parameters_of[most])
			most = i;
	}
	info->most_type = info->parameters ? pc__gguf_type(most)->name : "";
	info->most_percent = info->parameters ? (uint32_t)((double)parameters_of[most] * 100 /
							   (double)info->parameters)
					      : 0;
}

static void publish(const struct gguf_facts *facts, const struct gguf_tensors *tensors,
		    struct pc_gguf_info *info)
{
	memcpy(info->architecture, facts->architecture, sizeof(info->architecture));
	memcpy(info->name, facts->name, sizeof(info->name));
	memcpy(info->type, facts->type, sizeof(info->type));
	info->file_type = facts->has_file_type ? pc__gguf_file_type(facts->file_type) : "";
	info->split_count = facts->split_count;
	info->split_number = facts->split_number;
	info->parameters = tensors->parameters;
	info->tensor_bytes = tensors->bytes;
	info->data_offset = tensors->data_offset;
	info->context_tokens = facts->context_tokens;
	info->layers = facts->layers;
	info->embedding_length = facts->embedding_length;
	info->feed_forward_length = facts->feed_forward_length;
	info->heads = facts->heads;
	info->kv_heads = facts->kv_heads;
	info->kv_heads_total = facts->kv_heads_total;
	info->key_length = facts->key_length;
	info->value_length = facts->value_length;
	info->vocabulary = facts->vocabulary;
	info->sliding_window = facts->sliding_window;
	info->recurrent = facts->recurrent;
	pc__gguf_weigh(info, tensors->parameters_of);
}

static int open_scan(int fd, struct gguf_scan *scan, struct pc_error *err)
{
	struct stat facts;

	if (fstat(fd, &facts))
		return pc_error_sys(err, PC_E_IO, errno, "cannot examine the file");
	if (!S_ISREG(facts.st_mode))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "it is not a regular file; a GGUF file is needed");
	scan->fd = fd;
	scan->file_bytes = (uint64_t)facts.st_size;
	scan->err = err;
	return 0;
}

int pc__gguf_read_part(int fd, struct pc_gguf_info *ret_info,
		       uint64_t ret_parameters_of[PC__GGUF_TYPES], struct pc_error *err)
{
	struct gguf_scan scan = { .at = 0 };
	struct beginning beginning = { .version = 0 };
	struct gguf_facts facts = { .alignment = 0 };
	struct gguf_tensors tensors = { .bytes = 0 };
	int rc = open_scan(fd, &scan, err);

	if (rc == 0)
		rc = read_beginning(&scan, &beginning);
	if (rc == 0)
		rc = pc__gguf_keys_read(&scan, beginning.keys, &facts);
	if (rc == 0)
		rc = pc__gguf_tensors_read(&scan, beginning.tensors, facts.alignment, &tensors);
	if (rc)
		return rc;
	*ret_info = (struct pc_gguf_info){
		.version = beginning.version,
		.metadata_count = beginning.keys,
		.tensor_count = beginning.tensors,
	};
	publish(&facts, &tensors, ret_info);
	memcpy(ret_parameters_of, tensors.parameters_of, sizeof(tensors.parameters_of));
	return 0;
}

int pc_gguf_read(int fd, struct pc_gguf_info *ret_info, struct pc_error *err)
{
	uint64_t ignored[PC__GGUF_TYPES];

	if (!ret_info)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a place for what the file says is needed");
	return pc__gguf_read_part(fd, ret_info, ignored, err);
}
