/* SPDX-License-Identifier: MIT */
/*
 * refusing.h - an allocator for tests that refuses the nth request, counted from 1, and counts the
 * blocks that have not come back. One thread.
 *
 *	struct refusing refusing;
 *
 *	refusing_begin(&refusing, n);
 *	rc = the_function_under_test(...);
 *	assert_int_equal(refusing_end(&refusing), 0);     nothing leaked
 *	...until !refusing.refused: the nth request was never made, so all of them have been tried
 */
#ifndef TESTS_UNIT_REFUSING_H
#define TESTS_UNIT_REFUSING_H

#include <poolcore/base.h>

#include <stdlib.h>

struct refusing {
	unsigned nth; /* 0: none */
	unsigned requests;
	long blocks;
	bool refused;
};

static inline bool refusing_now(struct refusing *r)
{
	bool now = ++r->requests == r->nth;

	r->refused |= now;
	return now;
}

static inline void *refusing_alloc(void *ctx, size_t size)
{
	struct refusing *r = ctx;
	void *ptr = refusing_now(r) ? NULL : malloc(size);

	r->blocks += ptr != NULL;
	return ptr;
}

static inline void *refusing_resize(void *ctx, void *ptr, size_t size)
{
	return refusing_now(ctx) ? NULL : realloc(ptr, size);
}

static inline void refusing_release(void *ctx, void *ptr)
{
	struct refusing *r = ctx;

	r->blocks--;
	free(ptr);
}

/* From here on the nth request is refused. */
static inline void refusing_begin(struct refusing *r, unsigned nth)
{
	const struct pc_allocator allocator = { refusing_alloc, refusing_resize, refusing_release,
						r };

	*r = (struct refusing){ .nth = nth };
	pc_allocator_set(&allocator);
}

/* Back to the C library's allocator; the number of blocks that were not given back. */
static inline long refusing_end(struct refusing *r)
{
	pc_allocator_set(NULL);
	return r->blocks;
}

#endif
