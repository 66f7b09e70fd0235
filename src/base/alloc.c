/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - the allocation door: every allocation of the library and its programs passes here.
 * It does not count, pool or align; a test's allocator does what the test needs. Any thread.
 */
#include <poolcore/base.h>

#include <stdlib.h>
#include <string.h>

static void *system_alloc(void *ctx, size_t size)
{
	(void)ctx;
	return malloc(size);
}

static void *system_resize(void *ctx, void *ptr, size_t size)
{
	(void)ctx;
	return realloc(ptr, size);
}

static void system_release(void *ctx, void *ptr)
{
	(void)ctx;
	free(ptr);
}

static const struct pc_allocator system_allocator = { system_alloc, system_resize, system_release,
						      NULL };

/* [set before threads start] */
static struct pc_allocator door = { system_alloc, system_resize, system_release, NULL };

void pc_allocator_set(const struct pc_allocator *allocator)
{
	door = allocator ? *allocator : system_allocator;
}

void *pc_malloc(size_t size)
{
	/* One byte at least, so that NULL always means failure. */
	return door.alloc(door.ctx, size ? size : 1);
}

void *pc_calloc(size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;

	void *ptr = pc_malloc(total);

	return ptr ? memset(ptr, 0, total) : NULL;
}

void *pc_realloc(void *ptr, size_t size)
{
	return ptr ? door.resize(door.ctx, ptr, size ? size : 1) : pc_malloc(size);
}

char *pc_strndup(const char *text, size_t max)
{
	size_t length = strnlen(text, max);
	char *copy = pc_malloc(length + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *pc_strdup(const char *text)
{
	return pc_strndup(text, SIZE_MAX - 1);
}

void pc_free(void *ptr)
{
	if (ptr)
		door.release(door.ctx, ptr);
}
