/* SPDX-License-Identifier: MIT */
/*
 * futex.h - sleeping on a 32-bit word. Linux only; this is the pool's one door to it.
 *
 * A wake names an address and touches no memory: the word may be gone by the time of the call, and
 * whoever then happens to sleep at that address wakes for nothing. Every wait here is in a loop
 * that looks again.
 */
#ifndef POOL_FUTEX_H
#define POOL_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <poolcore/clock.h>

/* Sleeps while *word is `value`, until woken or until the monotonic clock says `deadline_ns`. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
	struct timespec until = { .tv_sec = (time_t)(deadline_ns / PC_NS_PER_SEC),
				  .tv_nsec = (long)(deadline_ns % PC_NS_PER_SEC) };

	/* FUTEX_WAIT_BITSET takes an absolute time, futex(2). */
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
		deadline_ns == PC_TIME_NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static inline void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
