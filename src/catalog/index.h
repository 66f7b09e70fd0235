/* SPDX-License-Identifier: MIT */
/*
 * index.h - finds a number by a name: the catalog's hash table. It borrows its keys. Inside the
 * catalog only.
 */
#ifndef CATALOG_INDEX_H
#define CATALOG_INDEX_H

#include <poolcore/error.h>

struct pc__index_slot {
	const char *key; /* NULL: free */
	size_t value;
};

/* Zero is an empty index. */
struct pc__index {
	struct pc__index_slot *slots;
	size_t capacity; /* a power of two, at least twice the count; or 0 */
	size_t count;
};

/*
 * Adds a key unless it is there; then *ret_value is the value it has, and `value` where it was
 * added. Amortised constant time. Errors: OUT_OF_MEMORY.
 */
int pc__index_add(struct pc__index *index, const char *key, size_t value, size_t *ret_value,
		  struct pc_error *err);
bool pc__index_find(const struct pc__index *index, const char *key, size_t *ret_value);
void pc__index_fini(struct pc__index *index);

#endif
