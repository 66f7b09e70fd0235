/* SPDX-License-Identifier: MIT */
/*
 * pool_peers.c - what bench_pool measures ours against: the least that a processor can do for a
 * lease, what a C programmer writes by hand, and GLib. Each is used the way its manual suggests.
 */
#include "bench/pool_bench.h"

#include <glib.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- a bare word: one bit per free slot ---- */

static void bare_batch(void *state, uint64_t calls)
{
	_Atomic uint64_t *word = state;

	for (uint64_t i = 0; i < calls; i++) {
		uint64_t free_slots = atomic_load_explicit(word, memory_order_relaxed);

		while (!atomic_compare_exchange_weak_explicit(
			word, &free_slots, free_slots & (free_slots - 1), memory_order_acquire,
			memory_order_relaxed))
			;
		atomic_fetch_or_explicit(word, free_slots & -free_slots, memory_order_release);
	}
}

struct lane peer_bare(void)
{
	_Atomic uint64_t *word = bench_alloc(128);

	atomic_init(word, 3);
	return (struct lane){
		.name = "bare CAS + fetch_or", .state = word, .batch = bare_batch, .destroy = free
	};
}

/* ---- nothing but the work ---- */

static void work_call(void *state)
{
	bench_work(*(uint64_t *)state);
}

struct lane peer_work(uint64_t steps)
{
	uint64_t *state = bench_alloc(sizeof(*state));

	*state = steps;
	return (struct lane){
		.name = "two bare threads", .state = state, .call = work_call, .destroy = free
	};
}

/* ---- two threads that wake each other ---- */

struct futex_pair {
	_Alignas(128) _Atomic uint32_t asked;	 /* [released by call, acquired by the answerer] */
	_Alignas(128) _Atomic uint32_t answered; /* [the other way round] */
	pthread_t answerer;
};

#define ASKED_TO_STOP UINT32_MAX

static void futex_post(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Waits until it is no longer `value`, and returns what it is instead. */
static uint32_t futex_await_change(_Atomic uint32_t *word, uint32_t value)
{
	uint32_t seen;

	while ((seen = atomic_load_explicit(word, memory_order_acquire)) == value)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
	return seen;
}

static void *futex_pair_answer(void *arg)
{
	struct futex_pair *pair = arg;
	uint32_t seen = 0;

	while ((seen = futex_await_change(&pair->asked, seen)) != ASKED_TO_STOP)
		futex_post(&pair->answered, seen);
	return NULL;
}

static void futex_pair_call(void *state)
{
	struct futex_pair *pair = state;
	uint32_t last = atomic_load_explicit(&pair->answered, memory_order_relaxed);

	futex_post(&pair->asked, (last + 1) % ASKED_TO_STOP);
	futex_await_change(&pair->answered, last);
}

static void futex_pair_destroy(void *state)
{
	struct futex_pair *pair = state;

	futex_post(&pair->asked, ASKED_TO_STOP);
	pthread_join(pair->answerer, NULL);
	free(pair);
}

struct lane peer_futex_pair(void)
{
	struct futex_pair *pair = bench_alloc(sizeof(*pair));

	if (pthread_create(&pair->answerer, NULL, futex_pair_answer, pair))
		bench_die("no thread for the futex pair");
	return (struct lane){ .name = "bare futex pair",
			      .state = pair,
			      .call = futex_pair_call,
			      .destroy = futex_pair_destroy };
}

/* ---- checkout with a mutex and a condition variable ---- */

struct checkout {
	pthread_mutex_t mutex;
	pthread_cond_t freed;
	unsigned free_count;	 /* [mutex] */
	unsigned free_slots[64]; /* [mutex] a stack: the most recently used goes first */
	uint64_t steps;		 /* [const after create] */
};

static inline void checkout_once(struct checkout *checkout)
{
	pthread_mutex_lock(&checkout->mutex);
	while (checkout->free_count == 0)
		pthread_cond_wait(&checkout->freed, &checkout->mutex);

	unsigned slot = checkout->free_slots[--checkout->free_count];

	pthread_mutex_unlock(&checkout->mutex);
	bench_work(checkout->steps);
	pthread_mutex_lock(&checkout->mutex);
	checkout->free_slots[checkout->free_count++] = slot;
	pthread_mutex_unlock(&checkout->mutex);
	pthread_cond_signal(&checkout->freed);
}

static void checkout_call(void *state)
{
	checkout_once(state);
}

static void checkout_batch(void *state, uint64_t calls)
{
	for (uint64_t i = 0; i < calls; i++)
		checkout_once(state);
}

static void checkout_destroy(void *state)
{
	struct checkout *checkout = state;

	pthread_cond_destroy(&checkout->freed);
	pthread_mutex_destroy(&checkout->mutex);
	free(checkout);
}

struct lane peer_mutex(unsigned workers, uint64_t steps)
{
	struct checkout *checkout = bench_alloc(sizeof(*checkout));

	pthread_mutex_init(&checkout->mutex, NULL);
	pthread_cond_init(&checkout->freed, NULL);
	checkout->steps = steps;
	for (unsigned i = 0; i < workers; i++)
		checkout->free_slots[checkout->free_count++] = i;
	return (struct lane){ .name = "mutex + condvar checkout",
			      .state = checkout,
			      .call = checkout_call,
			      .batch = checkout_batch,
			      .destroy = checkout_destroy };
}

/* ---- GThreadPool ---- */

struct glib_pool {
	GThreadPool *threads;
	uint64_t steps;
};

/* Each caller keeps the queue in which its answers arrive. */
static GPrivate glib_answers = G_PRIVATE_INIT((GDestroyNotify)g_async_queue_unref);

static void glib_run(void *answers, void *user)
{
	const struct glib_pool *pool = user;

	bench_work(pool->steps);
	g_async_queue_push(answers, answers);
}

static void glib_call(void *state)
{
	struct glib_pool *pool = state;
	GAsyncQueue *answers = g_private_get(&glib_answers);

	if (!answers) {
		answers = g_async_queue_new();
		g_private_set(&glib_answers, answers);
	}
	g_thread_pool_push(pool->threads, answers, NULL);
	g_async_queue_pop(answers);
}

static void glib_destroy(void *state)
{
	struct glib_pool *pool = state;

	g_thread_pool_free(pool->threads, FALSE, TRUE);
	free(pool);
}

struct lane peer_glib(unsigned workers, uint64_t steps)
{
	struct glib_pool *pool = bench_alloc(sizeof(*pool));

	pool->steps = steps;
	pool->threads = g_thread_pool_new(glib_run, pool, (int)workers, TRUE, NULL);
	if (!pool->threads)
		bench_die("GLib makes no threads");
	return (struct lane){ .name = "GLib GThreadPool",
			      .state = pool,
			      .call = glib_call,
			      .destroy = glib_destroy };
}

/* ---- lookups ---- */

const char *lookup_key(unsigned model)
{
	static char keys[LOOKUP_MODELS][32];

	if (!keys[0][0])
		for (unsigned i = 0; i < LOOKUP_MODELS; i++)
			snprintf(keys[i], sizeof(keys[i]), "organisation/model-%05u", i);
	return keys[model];
}

const char *const *lookup_order(bool hot)
{
	static const char *order[2][LOOKUP_ORDER];
	uint64_t chance = 1;

	for (unsigned i = 0; i < LOOKUP_ORDER; i++) {
		chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		order[hot][i] = lookup_key(hot ? LOOKUP_MODELS / 2
					       : (unsigned)((chance >> 33) % LOOKUP_MODELS));
	}
	return order[hot];
}

struct glib_table {
	GRWLock lock;
	GHashTable *table;
	const char *const *order;
};

static void glib_lookup_batch(void *state, uint64_t calls)
{
	struct glib_table *models = state;

	for (uint64_t i = 0; i < calls; i++) {
		g_rw_lock_reader_lock(&models->lock);
		if (!g_hash_table_lookup(models->table, models->order[i % LOOKUP_ORDER]))
			bench_die("GLib lost a key");
		g_rw_lock_reader_unlock(&models->lock);
	}
}

static void glib_lookup_destroy(void *state)
{
	struct glib_table *models = state;

	g_hash_table_destroy(models->table);
	g_rw_lock_clear(&models->lock);
	free(models);
}

struct lane peer_glib_lookup(bool hot)
{
	struct glib_table *models = bench_alloc(sizeof(*models));

	models->order = lookup_order(hot);
	g_rw_lock_init(&models->lock);
	models->table = g_hash_table_new(g_str_hash, g_str_equal);
	for (unsigned i = 0; i < LOOKUP_MODELS; i++)
		g_hash_table_insert(models->table, (char *)lookup_key(i), models);
	return (struct lane){ .name = hot ? "GHashTable, GRWLock, hot"
					  : "GHashTable, GRWLock, random",
			      .state = models,
			      .batch = glib_lookup_batch,
			      .destroy = glib_lookup_destroy };
}
