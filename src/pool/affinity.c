/* SPDX-License-Identifier: MIT */
/*
 * affinity.c - which seat a conversation had last: a cache of hints, direct-mapped, where a wrong
 * entry does no harm. It is asked when seats are free; who waits takes what comes (rule 6). Any
 * thread, relaxed throughout.
 */
#include "pool/inner.h"

/* A hint: the high bits of the key's hash, and the seat in the low six. */
#define SEAT_BITS UINT64_C(63)

_Static_assert(SEATS_MAX <= 64, "a hint has six bits for the seat");

int seat_take(struct station *station, uint64_t affinity)
{
	/* Fibonacci hashing (Knuth, volume 3, 6.4). */
	uint64_t hash = affinity * UINT64_C(0x9e3779b97f4a7c15);
	_Atomic uint64_t *hint = &station->affinity[hash >> 58];
	uint64_t last = atomic_load_explicit(hint, memory_order_relaxed);
	int seat = -1;

	if (affinity == 0)
		return word_take(&station->word);
	if (((last ^ hash) & ~SEAT_BITS) == 0) {
		unsigned known = (unsigned)(last & SEAT_BITS);

		/* The same slot, whose cache knows the prefix; else the same worker. */
		seat = word_take_one_of(&station->word, word_seat(known));
		if (seat < 0)
			seat = word_take_one_of(
				&station->word,
				seats_of_place(station, known % station->worker_places));
	}
	if (seat < 0)
		seat = word_take(&station->word);
	if (seat >= 0)
		atomic_store_explicit(hint, (hash & ~SEAT_BITS) | (unsigned)seat,
				      memory_order_relaxed);
	return seat;
}
