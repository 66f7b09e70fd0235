/* SPDX-License-Identifier: MIT */
/* pool.c - see pool.h: two lists of the same connections, and a ring of targets. */
#include "http/pool.h"

#include <string.h>

static struct http__link *bucket_of(struct http__pool *pool, const struct http_target *target)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *p = target->socket; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	hash = (hash ^ target->port) * 16777619u;
	return &pool->buckets[(hash ^ hash >> 16) % HTTP__POOL_BUCKETS];
}

static bool same_target(const struct http_target *a, const struct http_target *b)
{
	if (a->socket[0] || b->socket[0])
		return strcmp(a->socket, b->socket) == 0;
	return a->port == b->port;
}

void http__pool_init(struct http__pool *pool, size_t max, uint64_t idle_ms)
{
	*pool = (struct http__pool){ .max = max, .idle_ms = idle_ms };
	for (int i = 0; i < HTTP__POOL_BUCKETS; i++)
		http__link_init(&pool->buckets[i]);
	http__link_init(&pool->ages);
}

void http__pooled_init(struct http__pooled *pooled, const struct http_target *target)
{
	pooled->target = *target;
	http__link_init(&pooled->bucket);
	http__link_init(&pooled->age);
}

static bool is_distrusted(const struct http__pool *pool, const struct http_target *target)
{
	for (size_t i = 0; i < pool->distrusted_count && i < HTTP__DISTRUSTED_MAX; i++) {
		if (same_target(&pool->distrusted[i], target))
			return true;
	}
	return false;
}

bool http__pool_keeps(const struct http__pool *pool, const struct http_target *target)
{
	return pool->max > 0 && !is_distrusted(pool, target);
}

bool http__pool_is_full(const struct http__pool *pool)
{
	return pool->count >= pool->max;
}

void http__pool_add(struct http__pool *pool, struct http__pooled *pooled, uint64_t now_ms)
{
	pooled->until_ms = now_ms + pool->idle_ms;
	http__link_prepend(bucket_of(pool, &pooled->target), &pooled->bucket);
	http__link_append(&pool->ages, &pooled->age);
	pool->count++;
}

void http__pool_remove(struct http__pool *pool, struct http__pooled *pooled)
{
	http__link_remove(&pooled->bucket);
	http__link_remove(&pooled->age);
	pool->count--;
}

struct http__pooled *http__pool_find(struct http__pool *pool, const struct http_target *target)
{
	struct http__link *bucket = bucket_of(pool, target);

	for (struct http__link *at = bucket->next; at != bucket; at = at->next) {
		struct http__pooled *pooled = http__container(at, struct http__pooled, bucket);

		if (same_target(&pooled->target, target))
			return pooled;
	}
	return NULL;
}

struct http__pooled *http__pool_oldest(struct http__pool *pool)
{
	return http__link_alone(&pool->ages)
		       ? NULL
		       : http__container(pool->ages.next, struct http__pooled, age);
}

bool http__pool_distrust(struct http__pool *pool, const struct http_target *target)
{
	if (is_distrusted(pool, target))
		return false;
	pool->distrusted[pool->distrusted_count++ % HTTP__DISTRUSTED_MAX] = *target;
	return true;
}
