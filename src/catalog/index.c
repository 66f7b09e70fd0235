/* SPDX-License-Identifier: MIT */
/*
 * index.c - a hash table with open addressing and linear probing that only grows. Its keys come
 * from the administrator's files, so the hash need not resist an attacker. Many readers, one
 * writer before them.
 */
#include "catalog/index.h"

#include <string.h>

#include "base/text.h"

/* The slot of the key, or the free one where it belongs. */
static struct pc__index_slot *slot_of(struct pc__index_slot *slots, size_t capacity,
				      const char *key)
{
	size_t i = (size_t)pc__hash_text(key) & (capacity - 1);

	while (slots[i].key && strcmp(slots[i].key, key) != 0)
		i = (i + 1) & (capacity - 1);
	return &slots[i];
}

static int grow(struct pc__index *index, struct pc_error *err)
{
	size_t capacity = index->capacity ? index->capacity * 2 : 64;
	struct pc__index_slot *slots = pc_calloc(capacity, sizeof(*slots));

	if (!slots)
		return pc_error_oom(err);
	for (size_t i = 0; i < index->capacity; i++) {
		if (index->slots[i].key)
			*slot_of(slots, capacity, index->slots[i].key) = index->slots[i];
	}
	pc_free(index->slots);
	index->slots = slots;
	index->capacity = capacity;
	return 0;
}

int pc__index_add(struct pc__index *index, const char *key, size_t value, size_t *ret_value,
		  struct pc_error *err)
{
	struct pc__index_slot *slot;
	int rc = (index->count + 1) * 2 > index->capacity ? grow(index, err) : 0;

	if (rc)
		return rc;
	slot = slot_of(index->slots, index->capacity, key);
	if (!slot->key) {
		*slot = (struct pc__index_slot){ .key = key, .value = value };
		index->count++;
	}
	*ret_value = slot->value;
	return 0;
}

bool pc__index_find(const struct pc__index *index, const char *key, size_t *ret_value)
{
	const struct pc__index_slot *slot;

	if (index->capacity == 0)
		return false;
	slot = slot_of(index->slots, index->capacity, key);
	if (!slot->key)
		return false;
	*ret_value = slot->value;
	return true;
}

void pc__index_fini(struct pc__index *index)
{
	pc_free(index->slots);
	*index = (struct pc__index){ .count = 0 };
}
