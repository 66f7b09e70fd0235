/* SPDX-License-Identifier: MIT */
/*
 * bench_spawn.c - what starting a worker process costs a small parent and one that holds 4 GiB, as
 * a ratio. posix_spawn shares the parent's memory until exec, so that the ratio should stay near 1;
 * fork, measured beside it, copies the page tables. pc_stub_spawn starts the stub, and the stub the
 * worker, which costs the parent nothing.
 *
 *	bench_spawn [MiB [rounds]]
 *
 * The time is that of the call alone; the child (/bin/true) is waited for and reaped outside of it,
 * and so is the claim, which a helper thread makes. The ways take turns in each round, so that what
 * else the machine does meets all of them. Compare along the rows: posix_spawn returns after the
 * child's exec and fork before it.
 */
#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>
#include <poolcore/stub.h>

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
static char life_dir[] = "/tmp/poolcore-bench-XXXXXX";
static char *stub_program;

/* There is nothing to measure. */
static _Noreturn void give_up(const char *why)
{
	fprintf(stderr, "bench_spawn: %s\n", why);
	rmdir(life_dir);
	exit(1);
}

static void await(int pidfd)
{
	struct pollfd watch = { .fd = pidfd, .events = POLLIN };

	while (poll(&watch, 1, -1) != 1)
		;
}

/* Each of the following: the nanoseconds of one call. */

static uint64_t stub_once(void)
{
	const struct pc_stub_spec spec = {
		.life_dir = life_dir,
		.worker_id = "w",
		.spawn_token = "0123456789abcdef0123456789abcdef",
		.stub_program = stub_program,
		.program = "/bin/true",
		.argv = argv_true,
		.env = no_env,
		.model_fd = -1,
	};
	struct pc_stub stub;
	struct pc_stub_end end;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_stub_claim(life_dir, spec.worker_id, &err))
		give_up(err.message);

	uint64_t before = pc_clock_now_ns();
	int rc = pc_stub_spawn(&spec, &stub, &err);
	uint64_t taken = pc_clock_now_ns() - before;

	if (!rc) {
		await(stub.pidfd);
		rc = pc_stub_settle(&stub, life_dir, spec.worker_id, spec.spawn_token, &end, &err);
		pc_stub_close(&stub);
	}
	if (!rc && end.exit.code != 0)
		rc = pc_error_set(&err, PC_E_INTERNAL, "the worker %s", end.exit.reason);
	pc_stub_forget(life_dir, spec.worker_id, NULL);
	if (rc)
		give_up(err.message);
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

	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		give_up("fork failed");
	return taken;
}

/* The median is what a caller sees; the best tenth, what it costs on a machine that has time. */
struct times {
	double median_us, tenth_us;
};

static struct way {
	const char *name;
	uint64_t (*once)(void);
	struct times small, large;
	uint64_t taken[ROUNDS_MAX];
} ways[] = {
	{ .name = "pc_stub_spawn", .once = stub_once },
	{ .name = "fork and exec", .once = fork_once },
};

static int by_value(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

/* Fills the times of each way at `offset`. */
static void measure(size_t rounds, size_t offset)
{
	const size_t middle = rounds / 2, tenth = rounds / 10;

	for (size_t i = 0; i < rounds; i++) {
		for (size_t way = 0; way < PC_ARRAY_LEN(ways); way++)
			ways[way].taken[i] = ways[way].once();
	}
	for (size_t way = 0; way < PC_ARRAY_LEN(ways); way++) {
		struct times *times = (struct times *)(void *)((char *)&ways[way] + offset);

		qsort(ways[way].taken, rounds, sizeof(ways[way].taken[0]), by_value);
		times->median_us = (double)ways[way].taken[middle] / 1e3;
		times->tenth_us = (double)ways[way].taken[tenth] / 1e3;
	}
}

static void print_row(const char *name, double small_us, double large_us)
{
	printf("%-18s %9.0f us %9.0f us %8.2f\n", name, small_us, large_us, large_us / small_us);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 4096;
	size_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
	struct pc_error err = PC_ERROR_INIT;

	if (mib == 0 || mib > 1 << 20 || rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_spawn [MiB (1 to 1048576) [rounds (1 to %d)]]\n",
			ROUNDS_MAX);
		return 2;
	}
	if (!mkdtemp(life_dir))
		give_up("cannot make a directory in /tmp");
	if (pc_program_find("pool-stub", &stub_program, &err))
		give_up(err.message);
	measure(rounds, offsetof(struct way, small));

	size_t bytes = mib << 20;
	char *held = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (held == MAP_FAILED)
		give_up("no memory to hold");
	/* Small pages, as a heap that grew has them; huge ones would flatter fork. */
	madvise(held, bytes, MADV_NOHUGEPAGE);
	memset(held, 1, bytes);
	measure(rounds, offsetof(struct way, large));
	munmap(held, bytes);

	printf("%-18s %12s %12s %8s\n", "median of the call", "small", "large", "ratio");
	for (size_t way = 0; way < PC_ARRAY_LEN(ways); way++)
		print_row(ways[way].name, ways[way].small.median_us, ways[way].large.median_us);
	printf("%-18s\n", "best tenth");
	for (size_t way = 0; way < PC_ARRAY_LEN(ways); way++)
		print_row(ways[way].name, ways[way].small.tenth_us, ways[way].large.tenth_us);
	printf("large: %zu MiB held by the parent, %zu rounds each\n", mib, rounds);
	rmdir(life_dir);
	pc_free(stub_program);
	return 0;
}
