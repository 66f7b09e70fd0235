/* SPDX-License-Identifier: MIT */
/*
 * heap.c - the memory of a play: what a brain holds when a check fails is given back all the same,
 * though the brain may be in any state, so that a failing script can be played as often as
 * shrinking it takes. After a play that passed, nothing may be left.
 */
#include <stddef.h>
#include <stdlib.h>

#include "sim.h"

struct block {
	struct block *next, **link;
	_Alignas(max_align_t) char bytes[];
};

static struct block *blocks;

static void enlist(struct block *block)
{
	block->next = blocks;
	block->link = &blocks;
	if (blocks)
		blocks->link = &block->next;
	blocks = block;
}

static void *on_alloc(void *ctx, size_t size)
{
	struct block *block = malloc(sizeof(*block) + size);

	(void)ctx;
	if (!block)
		return NULL;
	enlist(block);
	return block->bytes;
}

static struct block *block_of(void *ptr)
{
	return (struct block *)((char *)ptr - offsetof(struct block, bytes));
}

static void delist(struct block *block)
{
	*block->link = block->next;
	if (block->next)
		block->next->link = block->link;
}

static void *on_resize(void *ctx, void *ptr, size_t size)
{
	struct block *block, *moved;

	if (!ptr)
		return on_alloc(ctx, size);
	block = block_of(ptr);
	delist(block);
	moved = realloc(block, sizeof(*moved) + size);
	enlist(moved ? moved : block);
	return moved ? moved->bytes : NULL;
}

static void on_release(void *ctx, void *ptr)
{
	(void)ctx;
	if (!ptr)
		return;
	delist(block_of(ptr));
	free(block_of(ptr));
}

void sim_heap_open(void)
{
	static const struct pc_allocator allocator = {
		.alloc = on_alloc,
		.resize = on_resize,
		.release = on_release,
	};

	pc_allocator_set(&allocator);
}

unsigned sim_heap_clear(void)
{
	unsigned cleared = 0;

	for (; blocks; cleared++)
		on_release(NULL, blocks->bytes);
	return cleared;
}
