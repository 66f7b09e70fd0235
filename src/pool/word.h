/* SPDX-License-Identifier: MIT */
/*
 * word.h - the slot word: which slots of a model are free, in the 64 bits that everybody competes
 * for. Nothing else of the pool is known here. tests/formal/slot.pml proves the protocol, S1 to
 * S9, and says which of its steps is which function.
 *
 *    63         62        61     60  59 ............................. 0
 *   ┌──────────┬─────────┬───────┬──┬──────────────────────────────────┐
 *   │ATTENTION │DRAINING │ WOKEN │  │ FREE: a bit per seat, 1 is free  │
 *   └──────────┴─────────┴───────┴──┴──────────────────────────────────┘
 *
 * A *seat* is one slot of one worker. Whoever clears its bit has leased it, and alone may set the
 * bit again. The flags are set and cleared under the pool's lock only:
 *   ATTENTION  whoever returns a seat must look further (station.c): somebody waits, a worker
 *              drains, or the brain wants to know when a worker is idle
 *   DRAINING   ... and under the lock, even if a waiter is on his way: a worker drains, or the
 *              brain wants to know
 *   WOKEN      a waiter is on its way to compete for a seat; one at a time is enough
 *
 * Orders: taking a seat acquires what the one before released by returning it. That is all that
 * passes through the word; the queue behind it is under the lock.
 */
#ifndef POOL_WORD_H
#define POOL_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SEATS_MAX = 60 };

#define WORD_FREE ((UINT64_C(1) << SEATS_MAX) - 1)
#define WORD_WOKEN (UINT64_C(1) << 61)
#define WORD_DRAINING (UINT64_C(1) << 62)
#define WORD_ATTENTION (UINT64_C(1) << 63)

static inline uint64_t word_seat(unsigned seat)
{
	return UINT64_C(1) << seat;
}

/*
 * Takes the lowest free seat; -1 when there is none. Low seats are used first, so that high ones go
 * cold (rule 7). `and_not`: flags that are cleared in the same step.
 */
static inline int word_take_clearing(_Atomic uint64_t *word, uint64_t and_not)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while (w & WORD_FREE) {
		/* The lowest bit that is set is a seat's: the flags stand above. */
		if (atomic_compare_exchange_weak_explicit(word, &w, (w & (w - 1)) & ~and_not,
							  memory_order_acquire,
							  memory_order_relaxed))
			return __builtin_ctzll(w);
	}
	return -1;
}

static inline int word_take(_Atomic uint64_t *word)
{
	return word_take_clearing(word, 0);
}

/* Returns a seat; false, and it is not returned, when somebody must look further. */
static inline bool word_put(_Atomic uint64_t *word, unsigned seat)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while (!(w & WORD_ATTENTION)) {
		if (atomic_compare_exchange_weak_explicit(word, &w, w | word_seat(seat),
							  memory_order_release,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/* The same while a woken waiter is on its way, who will find it. */
static inline bool word_put_for_woken(_Atomic uint64_t *word, unsigned seat)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while ((w & WORD_WOKEN) && !(w & WORD_DRAINING)) {
		if (atomic_compare_exchange_weak_explicit(word, &w, w | word_seat(seat),
							  memory_order_release,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/*
 * Sets a flag unless a seat is free: true when it is set and none was. One step, so that no seat
 * can be returned unseen in between.
 */
static inline bool word_set_unless_free(_Atomic uint64_t *word, uint64_t flag)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while (!(w & WORD_FREE)) {
		if (atomic_compare_exchange_weak_explicit(word, &w, w | flag, memory_order_acq_rel,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/* The same the other way round: sets it only if a seat is free and the flag is clear. */
static inline bool word_set_if_free(_Atomic uint64_t *word, uint64_t flag)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while ((w & WORD_FREE) && !(w & flag)) {
		if (atomic_compare_exchange_weak_explicit(word, &w, w | flag, memory_order_acq_rel,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/* Takes these seats out if all of them are free, in one step. */
static inline bool word_take_all(_Atomic uint64_t *word, uint64_t seats)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while ((w & seats) == seats) {
		if (atomic_compare_exchange_weak_explicit(
			    word, &w, w & ~seats, memory_order_acquire, memory_order_relaxed))
			return true;
	}
	return false;
}

/* Takes the lowest free one of these seats, or -1. */
static inline int word_take_one_of(_Atomic uint64_t *word, uint64_t seats)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while (w & seats) {
		unsigned seat = (unsigned)__builtin_ctzll(w & seats);

		if (atomic_compare_exchange_weak_explicit(word, &w, w & ~word_seat(seat),
							  memory_order_acquire,
							  memory_order_relaxed))
			return (int)seat;
	}
	return -1;
}

/*
 * Takes out those of the seats that are free, and returns them; from the same step on, the others
 * come back only past DRAINING.
 */
static inline uint64_t word_drain(_Atomic uint64_t *word, uint64_t seats)
{
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(word, &w,
						      (w & ~seats) | WORD_DRAINING | WORD_ATTENTION,
						      memory_order_acq_rel, memory_order_relaxed))
		;
	return w & seats;
}

static inline void word_set(_Atomic uint64_t *word, uint64_t bits)
{
	atomic_fetch_or_explicit(word, bits, memory_order_acq_rel);
}

static inline void word_clear(_Atomic uint64_t *word, uint64_t bits)
{
	atomic_fetch_and_explicit(word, ~bits, memory_order_acq_rel);
}

#endif
