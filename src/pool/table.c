/* SPDX-License-Identifier: MIT */
/*
 * table.c - from a key to its model. Readers take no lock and may come at any time: slots are only
 * ever filled, and when the table grows the smaller one stays until the pool ends (all of them
 * together are smaller than the last). Open addressing, linear probing, at most three quarters
 * full.
 */
#include <string.h>

#include "pool/inner.h"

enum { FIRST_SLOTS = 64 };

/* Loads of a fixed size, which compile to one instruction each: a call of memcpy or memcmp would
 * cost more than all the rest of a lookup. */
static uint64_t load8(const char *text)
{
	uint64_t word;

	memcpy(&word, text, sizeof(word));
	return word;
}

static uint64_t load4(const char *text)
{
	uint32_t word;

	memcpy(&word, text, sizeof(word));
	return word;
}

/* The last 0 to 8 bytes of a text of `length` bytes, each in it; longer ones overlap what was
 * read. */
static uint64_t load_end(const char *text, size_t length)
{
	if (length >= 8)
		return load8(text + length - 8);
	if (length >= 4)
		return load4(text) << 32 | load4(text + length - 4);
	if (length == 0)
		return 0;
	return (uint64_t)(unsigned char)text[0] << 16 |
	       (uint64_t)(unsigned char)text[length / 2] << 8 | (unsigned char)text[length - 1];
}

static bool is_same(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i + 8 < length; i += 8) {
		if (load8(a + i) != load8(b + i))
			return false;
	}
	return load_end(a, length) == load_end(b, length);
}

/* Folded multiplication: both halves of a 128-bit product, so that every bit of the input reaches
 * every bit of the result. The constants are digits of the golden ratio and the square root of
 * two. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * Eight bytes a step. For keys of the program's own choice: it spreads them well, and does not
 * resist an attacker.
 */
uint64_t table_hash(const char *key, size_t length)
{
	uint64_t hash = length ^ UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i + 8 < length; i += 8)
		hash = fold(hash ^ load8(key + i), UINT64_C(0x6a09e667f3bcc909));
	return fold(hash ^ load_end(key, length), UINT64_C(0x9e3779b97f4a7c15));
}

struct pc_model *table_find(const struct table *table, const char *key)
{
	const struct table_part *part = atomic_load_explicit(&table->current, memory_order_acquire);
	size_t length = strlen(key);
	uint64_t hash = table_hash(key, length);

	for (uint64_t i = hash; part; i++) {
		const struct table_slot *slot = &part->slots[i & part->mask];
		struct pc_model *model = atomic_load_explicit(&slot->model, memory_order_acquire);

		if (!model)
			return NULL;
		if (slot->hash == hash && model->key_length == length &&
		    is_same(model->text, key, length))
			return model;
	}
	return NULL;
}

/* [models_lock] */
static void put(struct table_part *part, struct pc_model *model)
{
	for (uint64_t i = model->hash;; i++) {
		struct table_slot *slot = &part->slots[i & part->mask];

		if (atomic_load_explicit(&slot->model, memory_order_relaxed))
			continue;
		slot->hash = model->hash;
		/* release: publishes the model and its hash to table_find. */
		atomic_store_explicit(&slot->model, model, memory_order_release);
		return;
	}
}

static struct table_part *grown(struct table_part *older, struct pc_error *err)
{
	uint64_t count = older ? 2 * (older->mask + 1) : FIRST_SLOTS;
	struct table_part *part = pc_calloc(1, sizeof(*part) + count * sizeof(part->slots[0]));

	if (!part) {
		pc_error_oom(err);
		return NULL;
	}
	part->mask = count - 1;
	part->older = older;
	for (uint64_t i = 0; older && i <= older->mask; i++) {
		struct pc_model *model = atomic_load_explicit(&older->slots[i].model,
							      memory_order_relaxed);

		if (model)
			put(part, model);
	}
	return part;
}

int table_add(struct table *table, struct pc_model *model, struct pc_error *err)
{
	struct table_part *part = atomic_load_explicit(&table->current, memory_order_relaxed);

	if (!part || (table->count + 1) * 4 > (part->mask + 1) * 3) {
		part = grown(part, err);
		if (!part)
			return PC_E_OUT_OF_MEMORY;
		atomic_store_explicit(&table->current, part, memory_order_release);
	}
	put(part, model);
	table->count++;
	return 0;
}

void table_each(const struct table *table, void (*visit)(void *ctx, struct pc_model *model),
		void *ctx)
{
	const struct table_part *part = atomic_load_explicit(&table->current, memory_order_acquire);

	for (uint64_t i = 0; part && i <= part->mask; i++) {
		struct pc_model *model = atomic_load_explicit(&part->slots[i].model,
							      memory_order_acquire);

		if (model)
			visit(ctx, model);
	}
}

void table_fini(struct table *table)
{
	struct table_part *part = atomic_load_explicit(&table->current, memory_order_relaxed);

	while (part) {
		struct table_part *older = part->older;

		pc_free(part);
		part = older;
	}
	atomic_store_explicit(&table->current, NULL, memory_order_relaxed);
}
