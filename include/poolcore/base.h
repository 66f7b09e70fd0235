/* SPDX-License-Identifier: MIT */
/*
 * base.h - what every other public header leans on: symbol visibility, compiler attributes, the
 * allocation door and the cleanup helpers. No types of the domain live here.
 */
#ifndef POOLCORE_BASE_H
#define POOLCORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define PC_BEGIN_DECLS extern "C" {
#define PC_END_DECLS }
#else
#define PC_BEGIN_DECLS
#define PC_END_DECLS
#endif

/* The library is compiled with -fvisibility=hidden; PC_API marks what src/poolcore.map exports. */
#define PC_API __attribute__((visibility("default")))
#define PC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PC_NODISCARD __attribute__((warn_unused_result))

#define PC_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

PC_BEGIN_DECLS

/*
 * The allocation door. Everything the library and the programs allocate for themselves passes
 * here, so that a test can refuse the nth request. Any thread.
 *
 * pc_calloc checks the multiplication; pc_malloc(0) returns a unique pointer, as malloc may.
 * Memory that an API hands to its caller is returned with pc_free (NULL is allowed).
 */
PC_API void *pc_malloc(size_t size) PC_NODISCARD;
PC_API void *pc_calloc(size_t count, size_t size) PC_NODISCARD;
PC_API void *pc_realloc(void *ptr, size_t size) PC_NODISCARD;
PC_API char *pc_strdup(const char *text) PC_NODISCARD;
PC_API char *pc_strndup(const char *text, size_t max) PC_NODISCARD;
PC_API void pc_free(void *ptr);

/*
 * Replaces the allocator behind the door; NULL restores the C library's. Call it before the first
 * allocation, from one thread: memory must go back to the allocator that it came from.
 */
struct pc_allocator {
	void *(*alloc)(void *ctx, size_t size);
	void *(*resize)(void *ctx, void *ptr, size_t size);
	void (*release)(void *ctx, void *ptr);
	void *ctx;
};
PC_API void pc_allocator_set(const struct pc_allocator *allocator);

/* Runs a destructor on a local variable's value when it goes out of scope: pc_auto(pc_free). */
#define pc_auto(type_destructor) __attribute__((cleanup(pc__auto_##type_destructor)))

/* Gives the value of *slot away and leaves NULL behind, so that pc_auto does not free it. */
#define pc_steal(slot) \
	(__extension__({ \
		__auto_type pc__slot = (slot); \
		__auto_type pc__value = *pc__slot; \
		*pc__slot = NULL; \
		pc__value; \
	}))

/* Makes `destructor` usable in pc_auto for variables of type `type *`. */
#define PC_DEFINE_AUTO(type, destructor) \
	static inline void pc__auto_##destructor(type **slot) \
	{ \
		if (*slot) \
			destructor(*slot); \
	}

static inline void pc__auto_pc_free(void *slot)
{
	pc_free(*(void **)slot);
}

PC_END_DECLS

#endif
