/* SPDX-License-Identifier: MIT */
/*
 * gguf_keys.c - what the keys of a GGUF header mean, one table. Keys of an architecture begin with
 * its name, which stands behind another key; so they are walked through twice. It allocates
 * nothing. Runs on the caller's thread.
 */
#include "catalog/gguf_keys.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

#define ALIGNMENT_DEFAULT 32

/* How the value of a key that is read goes into its member. */
enum reading {
	READ_TEXT,     /* a string, into char[size] */
	READ_NUMBER,   /* an integer */
	READ_LARGEST,  /* an integer, or the largest of an array */
	READ_LENGTH,   /* the number of an array's items */
	READ_PRESENCE, /* the member becomes 1 */
};

struct key_row {
	const char *key;
	bool of_architecture; /* "ARCHITECTURE." stands in front of it */
	enum reading reading;
	size_t offset, size;
};

#define AT(member) offsetof(struct gguf_facts, member), sizeof(((struct gguf_facts *)0)->member)

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

/* The keys while they are read. */
struct reader {
	struct gguf_scan *scan;
	struct gguf_facts *facts;
	uint64_t count, begin;
	uint64_t seen[ROW_COUNT]; /* where the value of each row is, or 0 */
	uint64_t kv_items;	  /* of kv_heads, when it is an array: how many, and their sum */
	uint64_t kv_sum;
};

/* The row of a key, or NULL. Before the architecture is known only the general ones are found. */
static const struct key_row *row_of(const struct reader *reader, const char *key)
{
	size_t length = strlen(reader->facts->architecture);
	const char *rest = NULL;

	if (length && strncmp(key, reader->facts->architecture, length) == 0 && key[length] == '.')
		rest = key + length + 1;
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const char *name = rows[i].of_architecture ? rest : key;

		if (name && strcmp(name, rows[i].key) == 0)
			return &rows[i];
	}
	return NULL;
}

/* A text's longest part that is UTF-8 and fits; what was cut may have cut a character. */
static int read_text(struct reader *reader, const struct key_row *row, enum gguf_kind kind)
{
	struct gguf_scan *scan = reader->scan;
	char *out = (char *)reader->facts + row->offset;
	int rc;

	if (kind != GGUF_STRING)
		return pc__gguf_fail(scan, scan->at, "%s is %s; a string belongs there", row->key,
				     pc__gguf_kind_name(kind));
	rc = pc__gguf_string(scan, row->key, UINT64_MAX, out, row->size, NULL);
	if (rc == 0)
		out[pc__utf8_valid_prefix(out, strlen(out))] = '\0';
	return rc;
}

static int read_largest(struct reader *reader, const struct key_row *row, uint32_t *ret_largest)
{
	struct gguf_scan *scan = reader->scan;
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
	if (row->offset == offsetof(struct gguf_facts, kv_heads)) {
		reader->kv_items = count;
		reader->kv_sum = sum;
	}
	*ret_largest = largest;
	return 0;
}

static int read_length(struct reader *reader, const struct key_row *row, enum gguf_kind kind,
		       uint32_t *ret_length)
{
	struct gguf_scan *scan = reader->scan;
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

static int read_value(struct reader *reader, const struct key_row *row, enum gguf_kind kind)
{
	void *member = (char *)reader->facts + row->offset;
	struct gguf_scan *scan = reader->scan;
	uint64_t *seen = &reader->seen[row - rows];

	if (*seen)
		return pc__gguf_fail(scan, scan->at,
				     "%s is there twice, first at byte %" PRIu64
				     "; every key is there once",
				     row->key, *seen);
	*seen = scan->at;
	switch (row->reading) {
	case READ_TEXT:
		return read_text(reader, row, kind);
	case READ_LENGTH:
		return read_length(reader, row, kind, member);
	case READ_PRESENCE:
		*(uint32_t *)member = 1;
		return pc__gguf_skip_value(scan, kind);
	case READ_LARGEST:
		if (kind == GGUF_ARRAY)
			return read_largest(reader, row, member);
		break;
	case READ_NUMBER:
		break;
	}
	return pc__gguf_integer(scan, kind, row->key, member);
}

/* Stands behind one key and its value. `only` NULL: reads every known key, else that one. */
static int read_key(struct reader *reader, const struct key_row *only)
{
	/* Longer than any key that is known, with its architecture. */
	char key[128];
	const struct key_row *row;
	enum gguf_kind kind;
	uint64_t length;
	int rc = pc__gguf_string(reader->scan, "a key", PC__GGUF_KEY_MAX, key, sizeof(key),
				 &length);

	if (rc == 0)
		rc = pc__gguf_kind(reader->scan, &kind);
	if (rc)
		return rc;
	/* A key that was cut, or has a NUL in it, is none of ours. */
	row = length == strlen(key) ? row_of(reader, key) : NULL;
	if (!row || (only && row != only))
		return pc__gguf_skip_value(reader->scan, kind);
	return read_value(reader, row, kind);
}

static int find_architecture(struct reader *reader)
{
	const struct key_row *row = &rows[0];
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < reader->count && !reader->seen[0]; i++)
		rc = read_key(reader, row);
	if (rc)
		return rc;
	if (reader->seen[0] && !reader->facts->architecture[0])
		return pc__gguf_fail(reader->scan, reader->seen[0],
				     "%s is empty; a name such as \"llama\" belongs there",
				     row->key);
	return 0;
}

static int read_keys(struct reader *reader)
{
	int rc = find_architecture(reader);

	/* Found again by the second walk, which also tells whether it is there twice. */
	reader->seen[0] = 0;
	reader->scan->at = reader->begin;
	for (uint64_t i = 0; rc == 0 && i < reader->count; i++)
		rc = read_key(reader, NULL);
	/* Of a split model only the first part says what it is. */
	if (rc == 0 && !reader->seen[0] && reader->facts->split_number == 0)
		rc = pc__gguf_fail(reader->scan, reader->begin,
				   "there is no key %s; a model has one", rows[0].key);
	return rc;
}

/* Where the value of a member is; 0: the file does not say it. */
static uint64_t place_of(const struct reader *reader, size_t offset)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (rows[i].offset == offset && reader->seen[i])
			return reader->seen[i];
	}
	return 0;
}

#define PLACE_OF(reader, member) place_of((reader), offsetof(struct gguf_facts, member))

/* In some architectures only every nth layer has keys and values, and one head count stands for all
 * of those (qwen3next in llama.cpp's llama-model.cpp). Those that predict further tokens come
 * behind the others and have some, so a rest counts as one more. */
static uint64_t attention_layers(const struct gguf_facts *facts)
{
	uint64_t interval = facts->attention_interval ? facts->attention_interval : 1;

	return (facts->layers + interval - 1) / interval;
}

/* What a key means that is not there, and what keys must be among themselves. */
static int complete(struct reader *reader)
{
	struct gguf_facts *facts = reader->facts;

	if (!PLACE_OF(reader, alignment))
		facts->alignment = ALIGNMENT_DEFAULT;
	if (facts->alignment == 0 || (facts->alignment & (facts->alignment - 1)) != 0)
		return pc__gguf_fail(reader->scan, PLACE_OF(reader, alignment),
				     "general.alignment is %u; a power of two belongs there",
				     facts->alignment);
	if (reader->kv_items && reader->kv_items != facts->layers)
		return pc__gguf_fail(reader->scan, PLACE_OF(reader, kv_heads),
				     "attention.head_count_kv has %" PRIu64
				     " numbers; there are %u layers",
				     reader->kv_items, facts->layers);
	if (!PLACE_OF(reader, kv_heads))
		facts->kv_heads = facts->heads;
	facts->kv_heads_total = reader->kv_items ? reader->kv_sum
						 : facts->kv_heads * attention_layers(facts);
	if (!PLACE_OF(reader, key_length) && facts->heads)
		facts->key_length = facts->embedding_length / facts->heads;
	if (!PLACE_OF(reader, value_length) && facts->heads)
		facts->value_length = facts->embedding_length / facts->heads;
	facts->has_file_type = PLACE_OF(reader, file_type);
	if (facts->tokens)
		facts->vocabulary = facts->tokens;
	return 0;
}

int pc__gguf_keys_read(struct gguf_scan *scan, uint64_t count, struct gguf_facts *facts)
{
	struct reader reader = { .scan = scan, .facts = facts, .count = count, .begin = scan->at };
	int rc = read_keys(&reader);

	return rc ? rc : complete(&reader);
}
