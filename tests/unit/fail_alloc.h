/* SPDX-License-Identifier: MIT */
/*
 * fail_alloc.h - an allocator that refuses the nth request and counts what is not given back.
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
 * One thread only.
 */
#ifndef TESTS_UNIT_FAIL_ALLOC_H
#define TESTS_UNIT_FAIL_ALLOC_H

#include <poolcore/base.h>

#include <stdlib.h>

static struct {
	unsigned countdown; /* requests until the one that is refused; 0: it was */
	long live;
} fail_alloc;

static bool fail_alloc_refuses(void)
{
	return fail_alloc.countdown == 0 || --fail_alloc.countdown == 0;
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

/* From now on the nth request is refused, and every one after it. Counts live blocks from 0. */
static inline void fail_alloc_begin(unsigned nth)
{
	static const struct pc_allocator refusing = { fail_alloc_alloc, fail_alloc_resize,
						      fail_alloc_release, NULL };

	fail_alloc.countdown = nth;
	fail_alloc.live = 0;
	pc_allocator_set(&refusing);
}

/* Back to the usual allocator; whether none was refused. */
static inline bool fail_alloc_end(void)
{
	pc_allocator_set(NULL);
	return fail_alloc.countdown > 0;
}

/* Blocks that were allocated since fail_alloc_begin and not given back. */
static inline long fail_alloc_live(void)
{
	return fail_alloc.live;
}

#endif
