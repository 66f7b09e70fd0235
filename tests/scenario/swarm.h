/* SPDX-License-Identifier: MIT */
/*
 * swarm.h - many HTTP clients on one thread that do what clients should not do: leave in the
 * middle, read slowly or not at all, ask many things at once, send what is no HTTP. Every answer
 * that comes is judged. What happens is decided by one random sequence, so that a seed names a run;
 * only the daemon's timing is its own.
 */
#ifndef TESTS_SCENARIO_SWARM_H
#define TESTS_SCENARIO_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swarm;

struct swarm_stats {
	unsigned long answers; /* whole ones */
	unsigned long ok;      /* of these, status 200 */
	unsigned long refused; /* of these, with an error's body */
	unsigned long broken;  /* begun, and cut off by the server */
	unsigned long left;    /* the client left before its answers */
	unsigned long events;  /* of event streams */
};

/* xorshift64*: the whole run's randomness. */
uint64_t chance_next(uint64_t *seed);
/* True once in `n` times. */
bool chance(uint64_t *seed, unsigned n);

/* `models` are the ids that requests name; borrowed, like the address and the seed. */
struct swarm *swarm_create(const char *address, size_t clients, const char *const models[],
			   size_t model_count, uint64_t *seed);
void swarm_destroy(struct swarm *swarm);

/*
 * One client does something: an idle one sends, a busy one may stop reading, go on or leave; then
 * whatever has come is read and judged. Waits a little for that when nobody is idle.
 */
void swarm_step(struct swarm *swarm);
/* From now on the server may close connections and refuse new ones. */
void swarm_expect_end(struct swarm *swarm);
/* All go on reading until every answer is there, and close. */
void swarm_finish(struct swarm *swarm);

const struct swarm_stats *swarm_stats(const struct swarm *swarm);

#endif
