/* SPDX-License-Identifier: MIT */
/*
 * main.c - runs seeds through the simulator.
 *
 *   sim                     20,000 seeds
 *   sim --seeds N --start S  N seeds from S on
 *   sim --seed S             one seed, told step by step
 *   sim --steps N            this many lines per script instead of a random number
 *   sim --expect-failure     succeeds when a seed fails: for brains with a planted bug
 *
 * On a failure it prints the seed, the last steps, and the shortest script that still fails.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static struct world world;
static struct script script;
static struct coverage coverage;

/*
 * The brain's own assertions end a run like a check of ours does, so that planted bugs that they
 * catch count as caught and can be shrunk. This takes the C library's place.
 */
_Noreturn void __assert_fail(const char *expression, const char *file, unsigned line,
			     const char *function);

_Noreturn void __assert_fail(const char *expression, const char *file, unsigned line,
			     const char *function)
{
	struct world *playing = sim_playing;

	playing->failed_check = expression;
	snprintf(playing->failure, sizeof(playing->failure), "assertion in %s (%s:%u): %s",
		 function, file, line, expression);
	longjmp(*playing->on_failure, 1);
}

static int explain_failure(uint64_t seed)
{
	printf("seed %" PRIu64 " failed: %s\n\nthe last steps:\n", seed, world.failure);
	sim_print_trace(&world, stdout);
	sim_shrink(&script);
	printf("\nthe shortest script that fails:\n");
	sim_print_script(&script, stdout);
	printf("\nas it plays:\n");
	if (!sim_play(&script, &coverage, stdout, &world))
		printf("it fails: %s\n", world.failure);
	printf("\nreplay with: sim --seed %" PRIu64 "\n", seed);
	return 1;
}

static int play_one(uint64_t seed, unsigned lines)
{
	sim_write_script(seed, lines, &script);
	sim_print_script(&script, stdout);
	if (!sim_play(&script, &coverage, stdout, &world))
		return explain_failure(seed);
	printf("seed %" PRIu64 " passed, %" PRIu64 " steps\n", seed, world.step);
	return 0;
}

/* A simulation that never met a situation says nothing about it. */
static int check_coverage(uint64_t seeds)
{
	int missing = 0;

#define X(name) \
	printf("  %-20s %" PRIu64 "\n", #name, coverage.name); \
	missing += coverage.name == 0;
	COVERAGE_LIST(X)
#undef X
	if (missing && seeds >= 1000) {
		printf("%d situations never came up\n", missing);
		return 1;
	}
	return 0;
}

static int play_many(uint64_t start, uint64_t seeds, unsigned lines, bool expect_failure)
{
	uint64_t steps = 0;

	for (uint64_t seed = start; seed < start + seeds; seed++) {
		sim_write_script(seed, lines, &script);
		if (!sim_play(&script, &coverage, NULL, &world)) {
			if (!expect_failure)
				return explain_failure(seed);
			printf("caught at seed %" PRIu64 ": %s\n", seed, world.failure);
			return 0;
		}
		steps += world.step;
	}
	printf("%" PRIu64 " seeds passed, %" PRIu64 " steps\n", seeds, steps);
	if (expect_failure) {
		printf("but one was expected to fail\n");
		return 1;
	}
	return check_coverage(seeds);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = text ? strtoull(text, &end, 10) : 0;

	if (!text || *end || end == text) {
		fprintf(stderr, "sim: a number is missing after an option\n");
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	uint64_t start = 1, seeds = 20000, seed = 0;
	bool expect_failure = false, one = false;
	unsigned lines = 0;

	sim_heap_open();
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--expect-failure") == 0) {
			expect_failure = true;
		} else if (strcmp(argv[i], "--seeds") == 0) {
			seeds = number(argv[++i]);
		} else if (strcmp(argv[i], "--start") == 0) {
			start = number(argv[++i]);
		} else if (strcmp(argv[i], "--steps") == 0) {
			lines = (unsigned)number(argv[++i]);
		} else if (strcmp(argv[i], "--seed") == 0) {
			seed = number(argv[++i]);
			one = true;
		} else {
			fprintf(stderr, "usage: sim [--seeds N] [--start S] [--steps N] [--seed S] "
					"[--expect-failure]\n");
			return 2;
		}
	}
	return one ? play_one(seed, lines) : play_many(start, seeds, lines, expect_failure);
}
