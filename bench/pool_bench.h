/* SPDX-License-Identifier: MIT */
/*
 * pool_bench.h - what the files of bench_pool share: lanes that take turns, and what is made of
 * their figures. bench_pool.c has the comparisons, pool_harness.c the stop-watch, pool_ours.c our
 * side, pool_peers.c and pool_peer_tbb.cc the others.
 */
#ifndef BENCH_POOL_BENCH_H
#define BENCH_POOL_BENCH_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

/* One side of a comparison, ready to run. The functions that make one end the program when they
 * cannot. */
struct lane {
	const char *name;
	void *state;
	/* One call on this thread, to its end. */
	void (*call)(void *state);
	/* Many, one after the other; where a call is as cheap as the pointer it is called by. NULL:
	 * `call`, in a loop. */
	void (*batch)(void *state, uint64_t calls);
	void (*destroy)(void *state); /* NULL: nothing to do */
	unsigned callers;	      /* threads that call at once, in bench_crowd */
};

/* ---- pool_harness.c: the stop-watch ---- */

enum { BENCH_LANES_MAX = 8, BENCH_ROUNDS_MAX = 128 };

/* Of the rounds of a figure. */
struct spread {
	double least, median, most;
};

/* What one lane did. Ratios are formed round by round, between neighbours in time. */
struct figures {
	unsigned rounds;
	double ns_per_call[BENCH_ROUNDS_MAX]; /* of the wall clock, all callers together */
	/* bench_crowd only: */
	double jain[BENCH_ROUNDS_MAX];
	double cpu_ns_per_call[BENCH_ROUNDS_MAX]; /* processor time of the whole process */
	uint64_t calls;				  /* all rounds */
	uint64_t most_ns; /* the longest call of the rounds in which each is timed */
};

/* Prints what went wrong, as printf does, and ends the program. */
void bench_die(const char *fmt, ...) PC_PRINTF(1, 2) __attribute__((noreturn));
void *bench_alloc(size_t size); /* zeroed, or the end */

/* CLOCK_MONOTONIC_RAW: no daemon trims it. */
uint64_t bench_now_ns(void);
/* Work that no compiler shortens and that touches no memory. */
void bench_work(uint64_t steps);
/* How many steps take that long here and now, undisturbed. */
uint64_t bench_steps_of_ns(uint64_t ns);
/* Processor time of the calling thread for so many steps, per step. */
double bench_ns_per_step(uint64_t steps);

/* One caller per lane, batches of about `batch_ns`, by turns. The first turn of each is not
 * counted. */
void bench_alone(const struct lane *lanes, unsigned count, unsigned rounds, uint64_t batch_ns,
		 struct figures *ret_figures);
/* lane->callers at once for `window_ns`, by turns; then two more rounds, in which every call is
 * timed. */
void bench_crowd(const struct lane *lanes, unsigned count, unsigned rounds, uint64_t window_ns,
		 struct figures *ret_figures);
void bench_destroy(const struct lane *lanes, unsigned count);

struct spread bench_spread(const double *values, unsigned count);
/* ns per call of `a` over that of `b`: how many times faster b is. */
struct spread bench_ratio(const struct figures *a, const struct figures *b);
/* The same of processor time, which is less disturbed by what else the machine does. */
struct spread bench_cpu_ratio(const struct figures *a, const struct figures *b);

/* ---- pool_ours.c ---- */

/* Counts what passes the allocation door. Before anything else. */
void ours_count_allocations(void);
uint64_t ours_allocations(void);
uint64_t ours_live_bytes(void); /* the C library's headers included */

struct lane ours_by_handle(void);
struct lane ours_by_key(void);
/* pc_pool_call, on the caller's thread while a slot is free. */
struct lane ours_call(unsigned workers, uint64_t steps);
/* pc_pool_call of an engine that is bound to its worker's thread. */
struct lane ours_bound_call(void);
/* pc_pool_submit, and a futex to wait on. */
struct lane ours_submit(void);
/* pc_pool_find_model; see lookup_keys. */
struct lane ours_lookup(bool hot);

/* ---- pool_peers.c ---- */

/* The keys of the lookups, and the order in which they are asked for; one of them when hot. */
enum { LOOKUP_MODELS = 10000, LOOKUP_ORDER = 1 << 16 };
const char *const *lookup_order(bool hot);
const char *lookup_key(unsigned model);

struct lane peer_bare(void);				  /* compare-and-swap, and fetch_or */
struct lane peer_work(uint64_t steps);			  /* nothing but the work */
struct lane peer_futex_pair(void);			  /* two threads that wake each other */
struct lane peer_mutex(unsigned workers, uint64_t steps); /* checkout with mutex and condvar */
struct lane peer_glib(unsigned workers, uint64_t steps);  /* GThreadPool, GAsyncQueue for answers */
struct lane peer_glib_lookup(bool hot);			  /* GHashTable under a GRWLock */

/* ---- pool_peer_tbb.cc; where there is TBB ---- */

struct lane peer_tbb(unsigned workers, uint64_t steps); /* concurrent_bounded_queue both ways */

PC_END_DECLS

#endif
