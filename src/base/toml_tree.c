/* SPDX-License-Identifier: MIT */
/*
 * toml_tree.c - the tree that a TOML document becomes: its memory, its tables and arrays, and the
 * accessors of toml.h. It knows nothing of the syntax. A finished tree is read by any thread.
 */
#include "base/toml_tree.h"

#include <stdio.h>
#include <string.h>

/* ---- memory ---- */

/*
 * Values are small, many and freed together, so they are cut from chunks. Vectors that grow leave
 * their old halves behind; that at most doubles what they take.
 */
struct toml_chunk {
	struct toml_chunk *next;
	size_t used;
	size_t size;
	_Alignas(max_align_t) char data[];
};

#define FIRST_CHUNK_BYTES ((size_t)2 << 10)
#define CHUNK_BYTES_MAX ((size_t)64 << 10)

void *pc__toml_alloc(struct pc__toml_doc *doc, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	struct toml_chunk *chunk = doc->chunks;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + align - 1) / align * align;
	if (!chunk || chunk->size - chunk->used < size) {
		size_t bytes = chunk ? chunk->size * 2 : FIRST_CHUNK_BYTES;

		if (bytes > CHUNK_BYTES_MAX)
			bytes = CHUNK_BYTES_MAX;
		if (bytes < size)
			bytes = size;
		chunk = pc_malloc(sizeof(*chunk) + bytes);
		if (!chunk)
			return NULL;
		*chunk = (struct toml_chunk){ .next = doc->chunks, .size = bytes };
		doc->chunks = chunk;
	}

	void *memory = chunk->data + chunk->used;

	chunk->used += size;
	return memory;
}

char *pc__toml_copy(struct pc__toml_doc *doc, const char *text, size_t length)
{
	char *copy = pc__toml_alloc(doc, length + 1);

	if (!copy)
		return NULL;
	if (length)
		memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

struct pc__toml_value *pc__toml_new(struct pc__toml_doc *doc, enum pc__toml_kind kind,
				    struct pc__toml_pos pos, unsigned depth)
{
	struct pc__toml_value *value = pc__toml_alloc(doc, sizeof(*value));

	if (value)
		*value = (struct pc__toml_value){ .kind = kind, .depth = depth, .pos = pos };
	return value;
}

struct pc__toml_doc *pc__toml_create(const char *name)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = pc_calloc(1, sizeof(*doc));

	if (!doc)
		return NULL;
	doc->name = pc_strdup(name);
	doc->root = pc__toml_new(doc, PC__TOML_TABLE, (struct pc__toml_pos){ 1, 1 }, 0);
	if (!doc->name || !doc->root)
		return NULL;
	doc->root->table.origin = TOML_HEADER;
	return pc_steal(&doc);
}

void pc__toml_destroy(struct pc__toml_doc *doc)
{
	if (!doc)
		return;
	while (doc->chunks) {
		struct toml_chunk *next = doc->chunks->next;

		pc_free(doc->chunks);
		doc->chunks = next;
	}
	pc_free(doc->name);
	pc_free(doc);
}

/* Makes room for one more item of `size` bytes; false when memory runs out. */
static bool grow(struct pc__toml_doc *doc, void *items, size_t size, size_t used, size_t *capacity)
{
	void **vector = items;

	if (used < *capacity)
		return true;

	size_t wanted = *capacity ? *capacity * 2 : 4;
	void *bigger = pc__toml_alloc(doc, wanted * size);

	if (!bigger)
		return false;
	if (used)
		memcpy(bigger, *vector, used * size);
	*vector = bigger;
	*capacity = wanted;
	return true;
}

int pc__toml_array_add(struct pc__toml_doc *doc, struct pc__toml_value *array,
		       struct pc__toml_value *item)
{
	struct toml_array *a = &array->array;

	if (!grow(doc, &a->items, sizeof(*a->items), a->length, &a->capacity))
		return -1;
	a->items[a->length++] = item;
	return 0;
}

/* ---- tables ---- */

/* Up to this many entries are compared one by one, which is quicker than hashing there. */
#define LINEAR_ENTRIES 8

/* FNV-1a, 64 bits, folded (http://www.isthe.com/chongo/tech/comp/fnv/). Who writes the document
 * runs the program, so nobody gains by choosing keys that collide. */
static size_t hash_key(const char *key, size_t length)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)key[i]) * UINT64_C(1099511628211);
	return (size_t)(hash ^ hash >> 32);
}

static bool same_key(const struct pc__toml_entry *entry, const char *key, size_t length)
{
	return entry->key_length == length && memcmp(entry->key, key, length) == 0;
}

/* The slot that holds the key, or the empty one where it would go. */
static uint32_t *slot_of(const struct toml_table *t, const char *key, size_t length)
{
	size_t at = hash_key(key, length) & (t->slot_count - 1);

	while (t->slots[at] && !same_key(&t->entries[t->slots[at] - 1], key, length))
		at = (at + 1) & (t->slot_count - 1);
	return &t->slots[at];
}

static int index_build(struct pc__toml_doc *doc, struct toml_table *t)
{
	size_t count = t->slot_count ? t->slot_count * 2 : (size_t)LINEAR_ENTRIES * 4;
	uint32_t *slots = pc__toml_alloc(doc, count * sizeof(*slots));

	if (!slots)
		return -1;
	memset(slots, 0, count * sizeof(*slots));
	t->slots = slots;
	t->slot_count = count;
	for (size_t i = 0; i < t->size; i++)
		*slot_of(t, t->entries[i].key, t->entries[i].key_length) = (uint32_t)i + 1;
	return 0;
}

int pc__toml_table_add(struct pc__toml_doc *doc, struct pc__toml_value *table,
		       const struct pc__toml_entry *entry)
{
	struct toml_table *t = &table->table;

	if (!grow(doc, &t->entries, sizeof(*t->entries), t->size, &t->capacity))
		return -1;
	if (t->size >= LINEAR_ENTRIES && (t->size + 1) * 2 > t->slot_count && index_build(doc, t))
		return -1;
	if (t->slots)
		*slot_of(t, entry->key, entry->key_length) = (uint32_t)t->size + 1;
	t->entries[t->size++] = *entry;
	return 0;
}

const struct pc__toml_entry *pc__toml_find(const struct pc__toml_value *table, const char *key,
					   size_t key_length)
{
	if (!table || table->kind != PC__TOML_TABLE)
		return NULL;

	const struct toml_table *t = &table->table;

	if (t->slots) {
		uint32_t number = *slot_of(t, key, key_length);

		return number ? &t->entries[number - 1] : NULL;
	}
	for (size_t i = 0; i < t->size; i++) {
		if (same_key(&t->entries[i], key, key_length))
			return &t->entries[i];
	}
	return NULL;
}

const struct pc__toml_value *pc__toml_get(const struct pc__toml_value *table, const char *key)
{
	const struct pc__toml_entry *entry = pc__toml_find(table, key, strlen(key));

	return entry ? entry->value : NULL;
}

size_t pc__toml_table_size(const struct pc__toml_value *table)
{
	return table && table->kind == PC__TOML_TABLE ? table->table.size : 0;
}

const struct pc__toml_entry *pc__toml_table_entry(const struct pc__toml_value *table, size_t index)
{
	return index < pc__toml_table_size(table) ? &table->table.entries[index] : NULL;
}

/* ---- the other accessors ---- */

const char *pc__toml_name(const struct pc__toml_doc *doc)
{
	return doc->name;
}

const struct pc__toml_value *pc__toml_root(const struct pc__toml_doc *doc)
{
	return doc->root;
}

enum pc__toml_kind pc__toml_kind(const struct pc__toml_value *value)
{
	return value->kind;
}

const char *pc__toml_kind_name(enum pc__toml_kind kind)
{
	static const char *const names[] = {
		[PC__TOML_STRING] = "string",
		[PC__TOML_INTEGER] = "integer",
		[PC__TOML_FLOAT] = "float",
		[PC__TOML_BOOLEAN] = "boolean",
		[PC__TOML_OFFSET_DATETIME] = "offset date-time",
		[PC__TOML_LOCAL_DATETIME] = "local date-time",
		[PC__TOML_LOCAL_DATE] = "local date",
		[PC__TOML_LOCAL_TIME] = "local time",
		[PC__TOML_ARRAY] = "array",
		[PC__TOML_TABLE] = "table",
	};

	return names[kind];
}

struct pc__toml_pos pc__toml_pos(const struct pc__toml_value *value)
{
	return value ? value->pos : (struct pc__toml_pos){ 0, 0 };
}

struct pc__toml_span pc__toml_span(const struct pc__toml_value *value)
{
	return value ? value->span : (struct pc__toml_span){ 0, 0 };
}

size_t pc__toml_array_length(const struct pc__toml_value *array)
{
	return array && array->kind == PC__TOML_ARRAY ? array->array.length : 0;
}

const struct pc__toml_value *pc__toml_array_item(const struct pc__toml_value *array, size_t index)
{
	return index < pc__toml_array_length(array) ? array->array.items[index] : NULL;
}

const char *pc__toml_string(const struct pc__toml_value *value, size_t *ret_length)
{
	if (!value || value->kind != PC__TOML_STRING)
		return NULL;
	if (ret_length)
		*ret_length = value->string.length;
	return value->string.text;
}

int pc__toml_integer(const struct pc__toml_value *value, int64_t *ret_integer)
{
	if (!value || value->kind != PC__TOML_INTEGER)
		return -1;
	*ret_integer = value->integer;
	return 0;
}

int pc__toml_float(const struct pc__toml_value *value, double *ret_float)
{
	if (!value || value->kind != PC__TOML_FLOAT)
		return -1;
	*ret_float = value->real;
	return 0;
}

int pc__toml_boolean(const struct pc__toml_value *value, bool *ret_boolean)
{
	if (!value || value->kind != PC__TOML_BOOLEAN)
		return -1;
	*ret_boolean = value->boolean;
	return 0;
}

int pc__toml_datetime(const struct pc__toml_value *value, struct pc__toml_datetime *ret_datetime)
{
	if (!value || value->kind < PC__TOML_OFFSET_DATETIME || value->kind > PC__TOML_LOCAL_TIME)
		return -1;
	*ret_datetime = value->datetime;
	return 0;
}

/* ---- errors ---- */

int pc__toml_verror(struct pc_error *err, const struct pc__toml_doc *doc, struct pc__toml_pos pos,
		    const char *fmt, va_list args)
{
	char sentence[PC_ERROR_MESSAGE_MAX];

	if (!err || err->code)
		return PC_E_INVALID_CONFIG;
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	pc_error_set(err, PC_E_INVALID_CONFIG, "%s:%u:%u: %s", doc->name, pos.line, pos.column,
		     sentence);
	pc_error_detail(err, "file", "%s", doc->name);
	pc_error_detail(err, "line", "%u", pos.line);
	pc_error_detail(err, "column", "%u", pos.column);
	return PC_E_INVALID_CONFIG;
}

int pc__toml_error(struct pc_error *err, const struct pc__toml_doc *doc, struct pc__toml_pos pos,
		   const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pc__toml_verror(err, doc, pos, fmt, args);
	va_end(args);
	return PC_E_INVALID_CONFIG;
}
