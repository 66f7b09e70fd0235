/* SPDX-License-Identifier: MIT */
/*
 * campaign.h - how long a fault campaign is and what decides about its course.
 *
 * A campaign is a number of rounds, each decided by one random sequence, so that a seed names a
 * run; only the timing of processes is their own. `make check` plays the usual few rounds from seed
 * 1. FAULTS=n in the environment plays n, from a seed of the time, and FAULTS_SEED names one. Both
 * are printed at the beginning, so that a failure shows what to type to see it again.
 */
#ifndef TESTS_FAULTS_CAMPAIGN_H
#define TESTS_FAULTS_CAMPAIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct campaign {
	const char *name;
	uint64_t seed;
	unsigned rounds;
};

/* `usual_rounds` are those of `make check`; FAULTS=1000 stands for `all_rounds`. */
struct campaign campaign_begin(const char *name, unsigned usual_rounds, unsigned all_rounds);

/* xorshift64*: the whole run's randomness. */
uint64_t campaign_next(struct campaign *campaign);
/* A number below `n`. */
size_t campaign_below(struct campaign *campaign, size_t n);

/* ---- figures: printed at the end, never asserted ---- */

#define FIGURES_MAX 4096

struct figures {
	const char *name;
	size_t count;
	double ms[FIGURES_MAX];
};

double campaign_now_ms(void); /* CLOCK_MONOTONIC */
void figures_add(struct figures *figures, double ms);
/* "name: median 1.2 ms, 99 % 3.4 ms, worst 5.6 ms (n = 12)" */
void figures_print(struct figures *figures);

#endif
