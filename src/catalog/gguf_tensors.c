/* SPDX-License-Identifier: MIT */
/*
 * gguf_tensors.c - the descriptions of a GGUF file's tensors: name, dimensions, type and offset of
 * each. The tensors themselves are not read. It allocates nothing. Runs on the caller's thread.
 */
#include "catalog/gguf_tensors.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

/* Of the specification. */
#define NAME_MAX_BYTES 64
#define DIMENSIONS_MAX 4

/* The tensors while they are read. */
struct reader {
	struct gguf_scan *scan;
	uint32_t alignment;
	struct gguf_tensors *sums;
	/* The end that is furthest from where the data begin, and whose it is. */
	uint64_t data_bytes, furthest_at;
};

static int count_elements(struct reader *reader, const char *name, uint64_t *ret_first,
			  uint64_t *ret_elements)
{
	struct gguf_scan *scan = reader->scan;
	uint64_t at = scan->at, elements = 1, size = 1;
	uint32_t dimensions;
	int rc = pc__gguf_u32(scan, "a tensor's number of dimensions", &dimensions);

	if (rc)
		return rc;
	if (dimensions > DIMENSIONS_MAX)
		return pc__gguf_fail(scan, at,
				     "the tensor \"%s\" has %u dimensions; at most %d are allowed",
				     name, dimensions, DIMENSIONS_MAX);
	*ret_first = 1;
	for (uint32_t i = 0; i < dimensions; i++) {
		at = scan->at;
		rc = pc__gguf_u64(scan, "a tensor's dimension", &size);
		if (rc)
			return rc;
		if (__builtin_mul_overflow(elements, size, &elements) || elements > INT64_MAX)
			return pc__gguf_fail(scan, at,
					     "the tensor \"%s\" has more than 2^63 elements; its "
					     "dimension %u is %" PRIu64,
					     name, i, size);
		if (i == 0)
			*ret_first = size;
	}
	*ret_elements = elements;
	return 0;
}

static int read_type(struct reader *reader, const char *name, uint32_t *ret_number)
{
	struct gguf_scan *scan = reader->scan;
	uint64_t at = scan->at;
	int rc = pc__gguf_u32(scan, "a tensor's type", ret_number);

	if (rc || pc__gguf_type(*ret_number))
		return rc;
	pc_error_set(scan->err, PC_E_UNSUPPORTED,
		     "byte %" PRIu64
		     ": the tensor \"%s\" has the type %u, which is not known here; "
		     "the last known one is %d",
		     at, name, *ret_number, PC__GGUF_TYPES - 1);
	pc_error_detail(scan->err, "byte", "%" PRIu64, at);
	return PC_E_UNSUPPORTED;
}

/* How many bytes a tensor takes, which must be no more than the file has left for it. */
static int tensor_bytes(struct reader *reader, uint64_t at, const char *name,
			const struct pc__gguf_type *type, uint64_t first, uint64_t elements,
			uint64_t *ret_bytes)
{
	struct gguf_scan *scan = reader->scan;
	uint64_t left = scan->file_bytes - reader->sums->bytes, bytes;

	if (first % type->block_elements)
		return pc__gguf_fail(scan, at,
				     "the tensor \"%s\" has rows of %" PRIu64
				     " elements; the type %s takes multiples of %u",
				     name, first, type->name, type->block_elements);
	if (__builtin_mul_overflow(elements / type->block_elements, (uint64_t)type->block_bytes,
				   &bytes) ||
	    bytes > left)
		return pc__gguf_fail(scan, at,
				     "the tensor \"%s\" has %" PRIu64 " elements of the type %s, "
				     "more than the file has bytes for: it has %" PRIu64,
				     name, elements, type->name, scan->file_bytes);
	*ret_bytes = bytes;
	return 0;
}

static int read_offset(struct reader *reader, const char *name, uint64_t bytes)
{
	uint32_t alignment = reader->alignment;
	struct gguf_scan *scan = reader->scan;
	uint64_t at = scan->at, offset;
	int rc = pc__gguf_u64(scan, "a tensor's offset", &offset);

	if (rc)
		return rc;
	if (offset % alignment)
		return pc__gguf_fail(scan, at,
				     "the tensor \"%s\" begins at %" PRIu64
				     " of the data; multiples of %u are allowed",
				     name, offset, alignment);
	if (offset > scan->file_bytes)
		return pc__gguf_fail(scan, at,
				     "the tensor \"%s\" begins at %" PRIu64
				     " of the data and the file has %" PRIu64 " bytes",
				     name, offset, scan->file_bytes);
	/* Both are at most the file's size, which is an off_t: no overflow. */
	if (offset + bytes > reader->data_bytes) {
		reader->data_bytes = offset + bytes;
		reader->furthest_at = at;
	}
	return 0;
}

static int read_tensor(struct reader *reader)
{
	uint64_t at = reader->scan->at, first = 1, elements = 0, bytes = 0;
	char name[NAME_MAX_BYTES + 1];
	uint32_t type = 0;
	int rc = pc__gguf_string(reader->scan, "a tensor's name", NAME_MAX_BYTES, name,
				 sizeof(name), NULL);

	if (rc)
		return rc;
	name[pc__utf8_valid_prefix(name, strlen(name))] = '\0';
	rc = count_elements(reader, name, &first, &elements);
	if (rc == 0)
		rc = read_type(reader, name, &type);
	if (rc == 0)
		rc = tensor_bytes(reader, at, name, pc__gguf_type(type), first, elements, &bytes);
	if (rc == 0)
		rc = read_offset(reader, name, bytes);
	if (rc)
		return rc;
	/* Bounded by the bytes, of which each holds eight elements at most. */
	reader->sums->parameters += elements;
	reader->sums->parameters_of[type] += elements;
	reader->sums->bytes += bytes;
	return 0;
}

int pc__gguf_tensors_read(struct gguf_scan *scan, uint64_t count, uint32_t alignment,
			  struct gguf_tensors *sums)
{
	struct reader reader = { .scan = scan, .alignment = alignment, .sums = sums };
	uint64_t data;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < count; i++)
		rc = read_tensor(&reader);
	if (rc)
		return rc;
	data = (scan->at + alignment - 1) / alignment * alignment;
	if (reader.data_bytes &&
	    (data > scan->file_bytes || reader.data_bytes > scan->file_bytes - data))
		return pc__gguf_fail(scan, reader.furthest_at,
				     "a tensor ends at byte %" PRIu64 " and the file has %" PRIu64
				     "; it is damaged, or was not copied whole",
				     data + reader.data_bytes, scan->file_bytes);
	sums->data_offset = data;
	return 0;
}
