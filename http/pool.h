/* SPDX-License-Identifier: MIT */
/*
 * pool.h - which kept-alive connections wait for their next request, and which targets are kept
 * none. It knows nothing of sockets: whoever removes a connection closes it. Inside http/ only; one
 * loop's thread.
 */
#ifndef HTTP_POOL_H
#define HTTP_POOL_H

#include "http/http.h"
#include "http/list.h"

#define HTTP__POOL_BUCKETS 64
/* Few workers are so broken; the oldest makes room, and is caught again. A guess. */
#define HTTP__DISTRUSTED_MAX 16

/* A connection's part in it. */
struct http__pooled {
	struct http_target target; /* its owner's to set */
	struct http__link bucket;
	struct http__link age;
	uint64_t until_ms;
};

struct http__pool {
	size_t max; /* 0: none is kept */
	uint64_t idle_ms;
	struct http__link buckets[HTTP__POOL_BUCKETS]; /* by target, the most recently used first */
	struct http__link ages;			       /* all, by the time when they are given up */
	size_t count;
	struct http_target distrusted[HTTP__DISTRUSTED_MAX]; /* a ring */
	size_t distrusted_count;			     /* ever */
};

void http__pool_init(struct http__pool *pool, size_t max, uint64_t idle_ms);
void http__pooled_init(struct http__pooled *pooled, const struct http_target *target);

/* Whether a connection to the target is worth keeping. */
bool http__pool_keeps(const struct http__pool *pool, const struct http_target *target);
bool http__pool_is_full(const struct http__pool *pool);
/* From now on it waits; the pool is not full. */
void http__pool_add(struct http__pool *pool, struct http__pooled *pooled, uint64_t now_ms);
void http__pool_remove(struct http__pool *pool, struct http__pooled *pooled);
/* The last one used that leads there, or NULL. */
struct http__pooled *http__pool_find(struct http__pool *pool, const struct http_target *target);
/* The one that is given up first, or NULL. */
struct http__pooled *http__pool_oldest(struct http__pool *pool);

/* No connection to the target is kept any more. False: it was known. */
bool http__pool_distrust(struct http__pool *pool, const struct http_target *target);

#endif
