/* SPDX-License-Identifier: MIT */
/*
 * bench_spawn.c - what starting a worker process costs a small parent and one that holds 2 GiB, as
 * a ratio. posix_spawn shares the parent's memory until exec, so that the ratio should stay near 1;
 * fork, measured beside it, copies the page tables.
 *
 *	bench_spawn [MiB [rounds]]
 *
 * The time is that of the call alone; the child (/bin/true) is waited for and reaped outside of it.
 * Compare along the rows: posix_spawn returns after the child's exec and fork before it.
 */
#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 10000

static char *const argv_true[] = { "true", NULL };
static char *const no_env[] = { NULL };

/* Nanoseconds of one call. Ends the program when it fails: there is nothing to measure. */
static uint64_t spawn_once(void)
{
	struct pc_process process;
	struct pc_worker_exit how;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t before = pc_clock_now_ns();

	if (pc_process_spawn("/bin/true", argv_true, no_env, &process, &err)) {
		fprintf(stderr, "bench_spawn: %s\n", err.message);
		exit(1);
	}

	uint64_t taken = pc_clock_now_ns() - before;
	struct pollfd watch = { .fd = process.pidfd, .events = POLLIN };

	while (!pc_process_reap(&process, &how))
		poll(&watch, 1, -1);
	pc_process_close(&process);
	return taken;
}

static uint64_t fork_once(void)
{
	uint64_t before = pc_clock_now_ns();
	pid_t pid = fork();

	if (pid == 0) {
		execve("/bin/true", argv_true, no_env);
		_exit(127);
	}

	uint64_t taken = pc_clock_now_ns() - before;

	if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
		perror("bench_spawn: fork");
		exit(1);
	}
	return taken;
}

static int by_value(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

static double median_us(uint64_t (*once)(void), size_t rounds)
{
	static uint64_t taken[ROUNDS_MAX];

	for (size_t i = 0; i < rounds; i++)
		taken[i] = once();
	qsort(taken, rounds, sizeof(taken[0]), by_value);

	size_t middle = rounds / 2;

	return (double)taken[middle] / 1e3;
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 2048;
	size_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;

	if (mib == 0 || mib > 1 << 20 || rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_spawn [MiB (1 to 1048576) [rounds (1 to %d)]]\n",
			ROUNDS_MAX);
		return 2;
	}

	double spawn_small = median_us(spawn_once, rounds);
	double fork_small = median_us(fork_once, rounds);
	size_t bytes = mib << 20;
	char *held = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (held == MAP_FAILED) {
		perror("bench_spawn: mmap");
		return 1;
	}
	/* Small pages, as a heap that grew has them; huge ones would flatter fork. */
	madvise(held, bytes, MADV_NOHUGEPAGE);
	memset(held, 1, bytes);

	double spawn_large = median_us(spawn_once, rounds);
	double fork_large = median_us(fork_once, rounds);

	munmap(held, bytes);
	printf("%-18s %12s %12s %8s\n", "median of the call", "small", "large", "ratio");
	printf("%-18s %9.0f us %9.0f us %8.2f\n", "pc_process_spawn", spawn_small, spawn_large,
	       spawn_large / spawn_small);
	printf("%-18s %9.0f us %9.0f us %8.2f\n", "fork", fork_small, fork_large,
	       fork_large / fork_small);
	printf("large: %zu MiB held by the parent, %zu rounds each\n", mib, rounds);
	return 0;
}
