/* SPDX-License-Identifier: MIT */
/*
 * fail_alloc.h - an allocator that refuses the nth request, counted from 1, and counts what is not
 * given back.
 *
 *	for (unsigned n = 1;; n++) {
 *		fail_alloc_begin(n);
 *		int rc = function_under_test(...);
 *		if (fail_alloc_end())	// nothing was refused: every n has been tried
 *			break;
 *		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
 *		assert_int_equal(fail_alloc_live(), 0);
 *	}
 *
 * Memory is the C library's throughout, so that blocks may outlive begin and end. Any thread may
 * allocate; begin and end are for a moment when none does. With more than one thread it is chance
 * whose request is the nth.
 */
#ifndef TESTS_UNIT_FAIL_ALLOC_H
#define TESTS_UNIT_FAIL_ALLOC_H

#include <poolcore/base.h>

#include <stdlib.h>

static struct {
	unsigned first, last; /* of the requests that are refused */
	_Atomic unsigned requests;
	_Atomic long live;
	_Atomic bool refused;
} fail_alloc;

static bool fail_alloc_refuses(void)
{
	unsigned number = ++fail_alloc.requests;
	bool refuses = number >= fail_alloc.first && number <= fail_alloc.last;

	if (refuses)
		fail_alloc.refused = true;
	return refuses;
}

static void *fail_alloc_alloc(void *ctx, size_t size)
{
	(void)ctx;

	void *ptr = fail_alloc_refuses() ? NULL : malloc(size);

	fail_alloc.live += ptr != NULL;
	return ptr;
}

static void *fail_alloc_resize(void *ctx, void *ptr, size_t size)
{
	(void)ctx;
	return fail_alloc_refuses() ? NULL : realloc(ptr, size);
}

static void fail_alloc_release(void *ctx, void *ptr)
{
	(void)ctx;
	fail_alloc.live--;
	free(ptr);
}

static inline void fail_alloc_between(unsigned first, unsigned last)
{
	static const struct pc_allocator refusing = { fail_alloc_alloc, fail_alloc_resize,
						      fail_alloc_release, NULL };

	fail_alloc.first = first;
	fail_alloc.last = last;
	fail_alloc.requests = 0;
	fail_alloc.live = 0;
	fail_alloc.refused = false;
	pc_allocator_set(&refusing);
}

/* From now on the nth request is refused, and every one after it. Counts anew. */
static inline void fail_alloc_begin(unsigned nth)
{
	fail_alloc_between(nth, ~0u);
}

/* The nth alone is refused; 0: none is, they are only counted. */
static inline void fail_alloc_begin_once(unsigned nth)
{
	fail_alloc_between(nth, nth);
}

/* Back to the usual allocator; whether none was refused. */
static inline bool fail_alloc_end(void)
{
	pc_allocator_set(NULL);
	return !fail_alloc.refused;
}

/* Blocks that were allocated since it began and not given back. */
static inline long fail_alloc_live(void)
{
	return fail_alloc.live;
}

#endif
