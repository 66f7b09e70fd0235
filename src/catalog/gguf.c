/* SPDX-License-Identifier: MIT */
/*
 * gguf.c - what the keys and the tensors of a GGUF header mean. Bytes are gguf_scan.c's; the memory
 * that follows from it is gguf_memory.c's. It allocates nothing. Runs on the caller's thread.
 *
 * The file, in its order: magic, version, the numbers of tensors and of keys; keys and values;
 * name, dimensions, type and offset of each tensor; padding; the tensors. Keys of an architecture
 * begin with its name, which stands behind another key; so the keys are walked through twice.
 */
#include <poolcore/gguf.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "catalog/gguf_part.h"
#include "catalog/gguf_scan.h"
#include "catalog/gguf_types.h"

#define MAGIC 0x46554747u /* "GGUF" */
#define ALIGNMENT_DEFAULT 32
/* Of the specification. */
#define TENSOR_NAME_MAX 64
#define DIMENSIONS_MAX 4
/* What one takes at least: a key's length, type and one byte; a tensor's name, number of
 * dimensions, type and offset. */
#define KEY_LEAST_BYTES 13
#define TENSOR_LEAST_BYTES 24

/* How the value of a key that is read goes into its member. */
enum reading {
	READ_TEXT,     /* a string, into char[size] */
	READ_NUMBER,   /* an integer */
	READ_LARGEST,  /* an integer, or the largest of an array */
	READ_LENGTH,   /* the number of an array's items */
	READ_PRESENCE, /* the member becomes 1 */
};

/* The members behind the rows below; struct pc_gguf_info is made of them. */
struct facts {
	char architecture[64];
	char name[128];
	char type[32];
	uint32_t file_type, alignment, split_count, split_number;
	uint32_t context_tokens, layers, embedding_length, feed_forward_length;
	uint32_t heads, kv_heads, key_length, value_length;
	uint32_t vocabulary, tokens, sliding_window, attention_interval, recurrent;
};

struct key_row {
	const char *key;
	bool of_architecture; /* "ARCHITECTURE." stands in front of it */
	enum reading reading;
	size_t offset, size;
};

#define AT(member) offsetof(struct facts, member), sizeof(((struct facts *)0)->member)

/* clang-format off */
static const struct key_row rows[] = {
	{ "general.architecture",     false, READ_TEXT,     AT(architecture) },
	{ "general.name",             false, READ_TEXT,     AT(name) },
	{ "general.type",             false, READ_TEXT,     AT(type) },
	{ "general.file_type",        false, READ_NUMBER,   AT(file_type) },
	{ "general.alignment",        false, READ_NUMBER,   AT(alignment) },
	{ "split.count",              false, READ_NUMBER,   AT(split_count) },
	{ "split.no",                 false, READ_NUMBER,   AT(split_number) },
	{ "tokenizer.ggml.tokens",    false, READ_LENGTH,   AT(tokens) },
	{ "context_length",           true,  READ_NUMBER,   AT(context_tokens) },
	{ "block_count",              true,  READ_NUMBER,   AT(layers) },
	{ "embedding_length",         true,  READ_NUMBER,   AT(embedding_length) },
	{ "feed_forward_length",      true,  READ_LARGEST,  AT(feed_forward_length) },
	{ "attention.head_count",     true,  READ_LARGEST,  AT(heads) },
	{ "attention.head_count_kv",  true,  READ_LARGEST,  AT(kv_heads) },
	{ "attention.key_length",     true,  READ_NUMBER,   AT(key_length) },
	{ "attention.value_length",   true,  READ_NUMBER,   AT(value_length) },
	{ "attention.sliding_window", true,  READ_LARGEST,  AT(sliding_window) },
	{ "full_attention_interval",  true,  READ_NUMBER,   AT(attention_interval) },
	{ "vocab_size",               true,  READ_NUMBER,   AT(vocabulary) },
	{ "ssm.state_size",           true,  READ_PRESENCE, AT(recurrent) },
	{ "wkv.head_size",            true,  READ_PRESENCE, AT(recurrent) },
};
/* clang-format on */

#define ROW_COUNT PC_ARRAY_LEN(rows)

/* The file while it is read. */
struct header {
	struct gguf_scan scan;
	struct facts facts;
	uint64_t seen[ROW_COUNT]; /* where the value of each row is, or 0 */
	uint64_t kv_items;	  /* of kv_heads, when it is an array: how many, and their sum */
	uint64_t kv_sum;
	uint64_t key_count, tensor_count;
	uint64_t keys_at;
	/* Of the tensors: the end that is furthest from where the data begin, and whose it is. */
	uint64_t data_bytes, furthest_at;
	uint64_t parameters, tensor_bytes;
	uint64_t parameters_of[PC__GGUF_TYPES];
};

/* ---- keys ---- */

/* The row of a key, or NULL. Before the architecture is known only the general ones are found. */
static const struct key_row *row_of(const struct header *header, const char *key)
{
	size_t length = strlen(header->facts.architecture);
	const char *rest = NULL;

	if (length && strncmp(key, header->facts.architecture, length) == 0 && key[length] == '.')
		rest = key + length + 1;
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const char *name = rows[i].of_architecture ? rest : key;

		if (name && strcmp(name, rows[i].key) == 0)
			return &rows[i];
	}
	return NULL;
}

/* A text's longest part that is UTF-8 and fits; what was cut may have cut a character. */
static int read_text(struct header *header, const struct key_row *row, enum gguf_kind kind)
{
	struct gguf_scan *scan = &header->scan;
	char *out = (char *)&header->facts + row->offset;
	int rc;

	if (kind != GGUF_STRING)
		return pc__gguf_fail(scan, scan->at, "%s is %s; a string belongs there", row->key,
				     pc__gguf_kind_name(kind));
	rc = pc__gguf_string(scan, row->key, UINT64_MAX, out, row->size, NULL);
	if (rc == 0)
		out[pc__utf8_valid_prefix(out, strlen(out))] = '\0';
	return rc;
}

static int read_largest(struct header *header, const struct key_row *row, uint32_t *ret_largest)
{
	struct gguf_scan *scan = &header->scan;
	uint32_t item = 0, largest = 0;
	uint64_t count, sum = 0;
	enum gguf_kind kind;
	int rc = pc__gguf_array(scan, &kind, &count);

	/* Items of 32 bits, fewer than 2^32 of them: no overflow. */
	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		rc = pc__gguf_integer(scan, kind, row->key, &item);
		largest = item > largest ? item : largest;
		sum += item;
	}
	if (rc)
		return rc;
	if (row->offset == offsetof(struct facts, kv_heads)) {
		header->kv_items = count;
		header->kv_sum = sum;
	}
	*ret_largest = largest;
	return 0;
}

static int read_length(struct header *header, const struct key_row *row, enum gguf_kind kind,
		       uint32_t *ret_length)
{
	struct gguf_scan *scan = &header->scan;
	uint64_t begin = scan->at, count;
	enum gguf_kind inner;
	int rc;

	if (kind != GGUF_ARRAY)
		return pc__gguf_fail(scan, begin, "%s is %s; an array belongs there", row->key,
				     pc__gguf_kind_name(kind));
	rc = pc__gguf_array(scan, &inner, &count);
	if (rc)
		return rc;
	/* Every item takes a byte of the header at least, whose size is bounded. */
	*ret_length = (uint32_t)count;
	scan->at = begin;
	return pc__gguf_skip_value(scan, GGUF_ARRAY);
}

static int read_value(struct header *header, const struct key_row *row, enum gguf_kind kind)
{
	void *member = (char *)&header->facts + row->offset;
	struct gguf_scan *scan = &header->scan;
	uint64_t *seen = &header->seen[row - rows];

	if (*seen)
		return pc__gguf_fail(scan, scan->at,
				     "%s is there twice, first at byte %" PRIu64
				     "; every key is there once",
				     row->key, *seen);
	*seen = scan->at;
	switch (row->reading) {
	case READ_TEXT:
		return read_text(header, row, kind);
	case READ_LENGTH:
		return read_length(header, row, kind, member);
	case READ_PRESENCE:
		*(uint32_t *)member = 1;
		return pc__gguf_skip_value(scan, kind);
	case READ_LARGEST:
		if (kind == GGUF_ARRAY)
			return read_largest(header, row, member);
		break;
	case READ_NUMBER:
		break;
	}
	return pc__gguf_integer(scan, kind, row->key, member);
}

/* Stands behind one key and its value. `only` NULL: reads every known key, else that one. */
static int read_key(struct header *header, const struct key_row *only)
{
	/* Longer than any key that is known, with its architecture. */
	char key[128];
	const struct key_row *row;
	enum gguf_kind kind;
	uint64_t length;
	int rc = pc__gguf_string(&header->scan, "a key", PC__GGUF_KEY_MAX, key, sizeof(key),
				 &length);

	if (rc == 0)
		rc = pc__gguf_kind(&header->scan, &kind);
	if (rc)
		return rc;
	/* A key that was cut, or has a NUL in it, is none of ours. */
	row = length == strlen(key) ? row_of(header, key) : NULL;
	if (!row || (only && row != only))
		return pc__gguf_skip_value(&header->scan, kind);
	return read_value(header, row, kind);
}

static int find_architecture(struct header *header)
{
	const struct key_row *row = &rows[0];
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < header->key_count && !header->seen[0]; i++)
		rc = read_key(header, row);
	if (rc)
		return rc;
	if (header->seen[0] && !header->facts.architecture[0])
		return pc__gguf_fail(&header->scan, header->seen[0],
				     "%s is empty; a name such as \"llama\" belongs there",
				     row->key);
	return 0;
}

static int read_keys(struct header *header)
{
	int rc = find_architecture(header);

	/* Found again by the second walk, which also tells whether it is there twice. */
	header->seen[0] = 0;
	header->scan.at = header->keys_at;
	for (uint64_t i = 0; rc == 0 && i < header->key_count; i++)
		rc = read_key(header, NULL);
	/* Of a split model only the first part says what it is. */
	if (rc == 0 && !header->seen[0] && header->facts.split_number == 0)
		rc = pc__gguf_fail(&header->scan, header->keys_at,
				   "there is no key %s; a model has one", rows[0].key);
	return rc;
}

/* ---- tensors ---- */

static int count_elements(struct header *header, const char *name, uint64_t *ret_first,
			  uint64_t *ret_elements)
{
	struct gguf_scan *scan = &header->scan;
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

static int read_type(struct header *header, const char *name, uint32_t *ret_number)
{
	struct gguf_scan *scan = &header->scan;
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
static int tensor_bytes(struct header *header, uint64_t at, const char *name,
			const struct pc__gguf_type *type, uint64_t first, uint64_t elements,
			uint64_t *ret_bytes)
{
	struct gguf_scan *scan = &header->scan;
	uint64_t left = scan->file_bytes - header->tensor_bytes, bytes;

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

static int read_offset(struct header *header, const char *name, uint64_t bytes)
{
	uint32_t alignment = header->facts.alignment;
	struct gguf_scan *scan = &header->scan;
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
	if (offset + bytes > header->data_bytes) {
		header->data_bytes = offset + bytes;
		header->furthest_at = at;
	}
	return 0;
}

static int read_tensor(struct header *header)
{
	uint64_t at = header->scan.at, first = 1, elements = 0, bytes = 0;
	char name[TENSOR_NAME_MAX + 1];
	uint32_t type = 0;
	int rc = pc__gguf_string(&header->scan, "a tensor's name", TENSOR_NAME_MAX, name,
				 sizeof(name), NULL);

	if (rc)
		return rc;
	name[pc__utf8_valid_prefix(name, strlen(name))] = '\0';
	rc = count_elements(header, name, &first, &elements);
	if (rc == 0)
		rc = read_type(header, name, &type);
	if (rc == 0)
		rc = tensor_bytes(header, at, name, pc__gguf_type(type), first, elements, &bytes);
	if (rc == 0)
		rc = read_offset(header, name, bytes);
	if (rc)
		return rc;
	/* Bounded by the bytes, of which each holds eight elements at most. */
	header->parameters += elements;
	header->parameters_of[type] += elements;
	header->tensor_bytes += bytes;
	return 0;
}

static int read_tensors(struct header *header, uint64_t *ret_data_offset)
{
	uint32_t alignment = header->facts.alignment;
	struct gguf_scan *scan = &header->scan;
	uint64_t data;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < header->tensor_count; i++)
		rc = read_tensor(header);
	if (rc)
		return rc;
	data = (scan->at + alignment - 1) / alignment * alignment;
	if (header->data_bytes &&
	    (data > scan->file_bytes || header->data_bytes > scan->file_bytes - data))
		return pc__gguf_fail(scan, header->furthest_at,
				     "a tensor ends at byte %" PRIu64 " and the file has %" PRIu64
				     "; it is damaged, or was not copied whole",
				     data + header->data_bytes, scan->file_bytes);
	*ret_data_offset = data;
	return 0;
}

/* ---- the whole ---- */

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

static int read_beginning(struct header *header, uint32_t *ret_version)
{
	struct gguf_scan *scan = &header->scan;
	uint32_t magic, version;
	char what[64];
	int rc = pc__gguf_u32(scan, "the magic", &magic);

	if (rc)
		return rc;
	if (magic != MAGIC)
		return pc__gguf_fail(
			scan, 0, "this is no GGUF file: it begins with %08x, and one with 47475546",
			__builtin_bswap32(magic));
	rc = pc__gguf_u32(scan, "the version", &version);
	if (rc)
		return rc;
	if (version == 2u << 24 || version == 3u << 24)
		return unsupported(scan, "the file is in big endian");
	snprintf(what, sizeof(what), "the file has version %u", version);
	if (version != 2 && version != 3)
		return unsupported(scan, what);
	rc = pc__gguf_count(scan, "the number of tensors", TENSOR_LEAST_BYTES,
			    &header->tensor_count);
	if (rc == 0)
		rc = pc__gguf_count(scan, "the number of keys", KEY_LEAST_BYTES,
				    &header->key_count);
	if (rc)
		return rc;
	header->keys_at = scan->at;
	*ret_version = version;
	return 0;
}

/* Where the value of a member is; 0: the file does not say it. */
static uint64_t place_of(const struct header *header, size_t offset)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].offset == offset && header->seen[i])
			return header->seen[i];
	}
	return 0;
}

#define PLACE_OF(header, member) place_of((header), offsetof(struct facts, member))

/* In some architectures only every nth layer has keys and values, and one head count stands for all
 * of those (qwen3next in llama.cpp's llama-model.cpp). Those that predict further tokens come behind
 * the others and have some, so a rest counts as one more. */
static uint64_t attention_layers(const struct facts *facts)
{
	uint64_t interval = facts->attention_interval ? facts->attention_interval : 1;

	return (facts->layers + interval - 1) / interval;
}

/* What a key means that is not there, and what keys must be among themselves. */
static int complete(struct header *header)
{
	struct facts *facts = &header->facts;

	if (!PLACE_OF(header, alignment))
		facts->alignment = ALIGNMENT_DEFAULT;
	if (facts->alignment == 0 || (facts->alignment & (facts->alignment - 1)) != 0)
		return pc__gguf_fail(&header->scan, PLACE_OF(header, alignment),
				     "general.alignment is %u; a power of two belongs there",
				     facts->alignment);
	if (header->kv_items && header->kv_items != facts->layers)
		return pc__gguf_fail(&header->scan, PLACE_OF(header, kv_heads),
				     "attention.head_count_kv has %" PRIu64
				     " numbers; there are %u layers",
				     header->kv_items, facts->layers);
	if (!PLACE_OF(header, kv_heads))
		facts->kv_heads = facts->heads;
	if (!header->kv_items)
		header->kv_sum = facts->kv_heads * attention_layers(facts);
	if (!PLACE_OF(header, key_length) && facts->heads)
		facts->key_length = facts->embedding_length / facts->heads;
	if (!PLACE_OF(header, value_length) && facts->heads)
		facts->value_length = facts->embedding_length / facts->heads;
	if (facts->tokens)
		facts->vocabulary = facts->tokens;
	return 0;
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

static void publish(const struct header *header, struct pc_gguf_info *info)
{
	const struct facts *facts = &header->facts;

	memcpy(info->architecture, facts->architecture, sizeof(info->architecture));
	memcpy(info->name, facts->name, sizeof(info->name));
	memcpy(info->type, facts->type, sizeof(info->type));
	info->file_type = PLACE_OF(header, file_type) ? pc__gguf_file_type(facts->file_type) : "";
	info->split_count = facts->split_count;
	info->split_number = facts->split_number;
	info->parameters = header->parameters;
	info->tensor_count = header->tensor_count;
	info->tensor_bytes = header->tensor_bytes;
	info->metadata_count = header->key_count;
	info->context_tokens = facts->context_tokens;
	info->layers = facts->layers;
	info->embedding_length = facts->embedding_length;
	info->feed_forward_length = facts->feed_forward_length;
	info->heads = facts->heads;
	info->kv_heads = facts->kv_heads;
	info->kv_heads_total = header->kv_sum;
	info->key_length = facts->key_length;
	info->value_length = facts->value_length;
	info->vocabulary = facts->vocabulary;
	info->sliding_window = facts->sliding_window;
	info->recurrent = facts->recurrent;
	pc__gguf_weigh(info, header->parameters_of);
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
	struct header header = { .key_count = 0 };
	struct pc_gguf_info info = { .version = 0 };
	int rc = open_scan(fd, &header.scan, err);

	if (rc == 0)
		rc = read_beginning(&header, &info.version);
	if (rc == 0)
		rc = read_keys(&header);
	if (rc == 0)
		rc = complete(&header);
	if (rc == 0)
		rc = read_tensors(&header, &info.data_offset);
	if (rc)
		return rc;
	publish(&header, &info);
	*ret_info = info;
	memcpy(ret_parameters_of, header.parameters_of, sizeof(header.parameters_of));
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
