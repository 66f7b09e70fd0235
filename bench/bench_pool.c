/* SPDX-License-Identifier: MIT */
/*
 * bench_pool.c - what the in-process pool costs, next to others that do the same. Every figure is a
 * ratio of lanes that take turns in this process: the median of the rounds, and the least and the
 * most of them in brackets. Targets are printed with the verdict and never asserted.
 *
 *	bench_pool [SECTION...]		all of them, or those of the table at the end, by name
 *
 * The lookups, the counts and the memory need nobody to compare with; the lookups have GLib beside
 * them all the same.
 */
#include "bench/pool_bench.h"

#include "tests/lib/syscall_trap.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)

/*
 * Batches of one caller are shorter than a time slice and many, so that most of them are
 * undisturbed on a machine that others use; windows of a crowd are long, so that everybody has his
 * turn.
 */
#define BATCH_NS (2 * MS)
enum { ROUNDS_ALONE = 101, ROUNDS_CROWD = 7, WORKERS = 2, UNCONTENDED_CALLS = 1000000 };

/* ---- how it is printed ---- */

enum bound { AT_MOST, AT_LEAST, NO_BOUND };

static void print_verdict(const char *what, struct spread value, const char *unit, enum bound bound,
			  double target)
{
	printf("  %-66s %9.3g%s (%.3g..%.3g)", what, value.median, unit, value.least, value.most);
	if (bound == NO_BOUND)
		printf("\n");
	else
		printf("  target %s %g: %s\n", bound == AT_MOST ? "<=" : ">=", target,
		       (bound == AT_MOST ? value.median <= target : value.median >= target)
			       ? "reached"
			       : "MISSED");
}

static void print_count(const char *what, double value, const char *unit, enum bound bound,
			double target)
{
	print_verdict(what, (struct spread){ value, value, value }, unit, bound, target);
}

/* "A: times as fast as B", in ratios of time. */
static void print_faster(const struct lane *lanes, const struct figures *figures, unsigned ours,
			 unsigned other, enum bound bound, double target)
{
	char what[80];

	snprintf(what, sizeof(what), "%s, times as fast as %s", lanes[ours].name,
		 lanes[other].name);
	print_verdict(what, bench_ratio(&figures[other], &figures[ours]), "x", bound, target);
}

static void print_cost(const struct lane *lanes, const struct figures *figures, unsigned ours,
		       unsigned base, double target)
{
	char what[80];

	snprintf(what, sizeof(what), "%s, times the cost of %s", lanes[ours].name,
		 lanes[base].name);
	print_verdict(what, bench_ratio(&figures[ours], &figures[base]), "x", AT_MOST, target);
}

static void print_alone(const struct lane *lanes, const struct figures *figures, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct spread ns = bench_spread(figures[i].ns_per_call, figures[i].rounds);

		printf("  %-26s %9.1f ns a call (%.1f..%.1f), %llu calls\n", lanes[i].name,
		       ns.median, ns.least, ns.most, (unsigned long long)figures[i].calls);
	}
}

static void print_crowd(const struct lane *lanes, const struct figures *figures, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct spread ns = bench_spread(figures[i].ns_per_call, figures[i].rounds);
		struct spread jain = bench_spread(figures[i].jain, figures[i].rounds);

		struct spread cpu = bench_spread(figures[i].cpu_ns_per_call, figures[i].rounds);

		printf("  %-26s %9.3g calls/s, %.4g ns of processor each, Jain %.3f (%.3f..%.3f), "
		       "longest call %.2f ms, %llu calls\n",
		       lanes[i].name, 1e9 / ns.median, cpu.median, jain.median, jain.least,
		       jain.most, (double)figures[i].most_ns / 1e6,
		       (unsigned long long)figures[i].calls);
	}
}

/* ---- one caller ---- */

static void compare_one_caller(void)
{
	enum { BARE, HANDLE, KEY, CALL, MUTEX, GLIB, TBB, COUNT };
	const struct lane lanes[] = {
		[BARE] = peer_bare(),
		[HANDLE] = ours_by_handle(),
		[KEY] = ours_by_key(),
		[CALL] = ours_call(WORKERS, 0),
		[MUTEX] = peer_mutex(WORKERS, 0),
		[GLIB] = peer_glib(WORKERS, 0),
#ifdef BENCH_HAS_TBB
		[TBB] = peer_tbb(WORKERS, 0),
#endif
	};
	const unsigned count = PC_ARRAY_LEN(lanes);
	struct figures figures[COUNT];

	bench_alone(lanes, count, ROUNDS_ALONE, BATCH_NS, figures);
	print_alone(lanes, figures, count);
	print_cost(lanes, figures, HANDLE, BARE, 2);
	print_cost(lanes, figures, KEY, BARE, 3);
	print_faster(lanes, figures, HANDLE, GLIB, AT_LEAST, 50);
	print_faster(lanes, figures, HANDLE, MUTEX, AT_LEAST, 1.5);
	print_faster(lanes, figures, KEY, MUTEX, NO_BOUND, 0);
	bench_destroy(lanes, count);
}

/* ---- what an uncontended call asks of others ---- */

struct uncontended {
	struct lane lane; /* made in the child, which alone has its threads */
	struct lane (*make)(void);
	uint64_t allocations;
};

static void prepare_uncontended(void *ctx)
{
	struct uncontended *uncontended = ctx;

	uncontended->lane = uncontended->make();
	if (uncontended->lane.batch)
		uncontended->lane.batch(uncontended->lane.state, 1000);
}

static void call_uncontended(void *ctx)
{
	struct uncontended *uncontended = ctx;
	const struct lane *lane = &uncontended->lane;
	uint64_t before = ours_allocations();

	if (lane->batch)
		lane->batch(lane->state, UNCONTENDED_CALLS);
	else
		for (unsigned i = 0; i < UNCONTENDED_CALLS; i++)
			lane->call(lane->state);
	uncontended->allocations = ours_allocations() - before;
}

static struct lane ours_call_idle(void)
{
	return ours_call(WORKERS, 0);
}

static void count_uncontended(void)
{
	struct {
		const char *name;
		struct lane (*make)(void);
	} const ways[] = {
		{ "lease by handle", ours_by_handle },
		{ "lease by key", ours_by_key },
		{ "pc_pool_call", ours_call_idle },
	};
	struct uncontended *shared = syscall_trap_share(sizeof(*shared));

	if (!shared)
		bench_die("no memory to share with a child");
	for (unsigned i = 0; i < PC_ARRAY_LEN(ways); i++) {
		*shared = (struct uncontended){ .make = ways[i].make };

		int first = syscall_trap_run(prepare_uncontended, call_uncontended, shared);

		printf("  %-26s", ways[i].name);
		if (first == SYSCALL_TRAP_NONE)
			printf(" %d calls: no system call, %llu allocations  target 0 and 0: %s\n",
			       UNCONTENDED_CALLS, (unsigned long long)shared->allocations,
			       shared->allocations == 0 ? "reached" : "MISSED");
		else if (first >= 0)
			printf(" system call %d  target none: MISSED\n", first);
		else
			printf(" cannot be counted here (%d)\n", first);
	}
	munmap(shared, sizeof(*shared));
}

/* ---- there and back: a thread of the worker's runs it ---- */

/*
 * All threads that are created from now on, and this one, share one processor. GLib is not compared
 * here: it creates its threads on one that was there before.
 */
static cpu_set_t pin_to_one(void)
{
	cpu_set_t before, one;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof(before), &before))
		bench_die("the processors cannot be counted");
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		bench_die("cannot stay on processor %d", cpu);
	return before;
}

static void compare_round_trips(void)
{
	enum { PAIR, BOUND, SUBMIT, COUNT };
	cpu_set_t before = pin_to_one();
	const struct lane lanes[COUNT] = {
		[PAIR] = peer_futex_pair(),
		[BOUND] = ours_bound_call(),
		[SUBMIT] = ours_submit(),
	};
	struct figures figures[COUNT];

	bench_alone(lanes, COUNT, ROUNDS_ALONE, BATCH_NS, figures);
	print_alone(lanes, figures, COUNT);
	print_cost(lanes, figures, BOUND, PAIR, 1.1);
	print_cost(lanes, figures, SUBMIT, PAIR, 1.1);
	bench_destroy(lanes, COUNT);
	if (sched_setaffinity(0, sizeof(before), &before))
		bench_die("cannot leave the processor again");
}

/* ---- many callers ---- */

/* Ours first, then the peers. Returns how many there are. */
enum { OURS, GLIB, MUTEX, TBB, CROWD_MAX };

static unsigned run_crowd(struct lane *lanes, unsigned callers, uint64_t work_ns,
			  uint64_t window_ns, struct figures *figures)
{
	uint64_t steps = work_ns ? bench_steps_of_ns(work_ns) : 0;
	unsigned count = TBB;

	lanes[OURS] = ours_call(WORKERS, steps);
	lanes[GLIB] = peer_glib(WORKERS, steps);
	lanes[MUTEX] = peer_mutex(WORKERS, steps);
#ifdef BENCH_HAS_TBB
	lanes[count++] = peer_tbb(WORKERS, steps);
#endif
	for (unsigned i = 0; i < count; i++)
		lanes[i].callers = callers;
	bench_crowd(lanes, count, ROUNDS_CROWD, window_ns, figures);
	print_crowd(lanes, figures, count);
	return count;
}

static void compare_crowd_of_noops(void)
{
	struct lane lanes[CROWD_MAX];
	struct figures figures[CROWD_MAX];
	unsigned count = run_crowd(lanes, 64, 0, 300 * MS, figures);

	print_faster(lanes, figures, OURS, GLIB, AT_LEAST, 100);
	print_verdict("... in processor time", bench_cpu_ratio(&figures[GLIB], &figures[OURS]), "x",
		      NO_BOUND, 0);
	print_faster(lanes, figures, OURS, MUTEX, NO_BOUND, 0);
	bench_destroy(lanes, count);
}

/*
 * The work is in both, which bounds the ratio. On a machine that others use, whoever has more
 * threads awake gets more of it: processor time says more there than the wall clock.
 */
static void compare_crowd_of_short_work(void)
{
	enum { WORK_NS = 2000 };
	struct lane lanes[CROWD_MAX];
	struct figures figures[CROWD_MAX];
	unsigned count = run_crowd(lanes, 64, WORK_NS, 500 * MS, figures);

	print_faster(lanes, figures, OURS, GLIB, AT_LEAST, 6);
	print_verdict("... in processor time", bench_cpu_ratio(&figures[GLIB], &figures[OURS]), "x",
		      NO_BOUND, 0);
	print_count("... if ours were nothing but the work",
		    bench_spread(figures[GLIB].cpu_ns_per_call, figures[GLIB].rounds).median /
			    WORK_NS,
		    "x", NO_BOUND, 0);
	print_verdict("Jain's index, 64 callers in 500 ms",
		      bench_spread(figures[OURS].jain, figures[OURS].rounds), "", AT_LEAST, 0.95);
	print_count("longest call", (double)figures[OURS].most_ns / 1e6, " ms", AT_MOST, 20);
	bench_destroy(lanes, count);
}

/*
 * How much of two cores is work, in three ways. Two bare threads that do nothing but the same work,
 * by turns with the callers, get done what the machine has to give at that moment. The share of all
 * time is calls x processor time of one / (2 x wall clock); on a machine that others use it cannot
 * be reached. The share of the processor time that this process took is calls x processor time of
 * one / processor time.
 */
static void compare_long_work(void)
{
	enum { BARE, CALL, OTHER, COUNT };
	uint64_t steps = bench_steps_of_ns(MS);
	struct lane lanes[COUNT] = {
		[BARE] = peer_work(steps),
		[CALL] = ours_call(WORKERS, steps),
		[OTHER] = peer_glib(WORKERS, steps),
	};
	struct figures figures[COUNT];
	double shares[ROUNDS_CROWD], useful[ROUNDS_CROWD];

	for (unsigned i = 0; i < COUNT; i++)
		lanes[i].callers = i == BARE ? WORKERS : 16;

	double unit_ns = bench_ns_per_step(100 * steps) * (double)steps;

	bench_crowd(lanes, COUNT, ROUNDS_CROWD, 500 * MS, figures);
	unit_ns = (unit_ns + bench_ns_per_step(100 * steps) * (double)steps) / 2;
	print_crowd(lanes, figures, COUNT);
	print_verdict("work done, of what two bare threads do",
		      bench_ratio(&figures[BARE], &figures[CALL]), "", AT_LEAST, 0.95);
	for (unsigned i = 0; i < ROUNDS_CROWD; i++) {
		shares[i] = unit_ns / (WORKERS * figures[CALL].ns_per_call[i]);
		useful[i] = unit_ns / figures[CALL].cpu_ns_per_call[i];
	}
	print_verdict("work done, of two cores", bench_spread(shares, ROUNDS_CROWD), "", AT_LEAST,
		      0.95);
	print_verdict("work done, of the processor time taken", bench_spread(useful, ROUNDS_CROWD),
		      "", NO_BOUND, 0);
	bench_destroy(lanes, COUNT);
}

/* ---- many models ---- */

static void measure_models(void)
{
	enum { HOT, RANDOM, GLIB_HOT, GLIB_RANDOM, COUNT };
	uint64_t before = ours_live_bytes();
	struct lane lanes[COUNT];
	struct figures figures[COUNT];

	lanes[HOT] = ours_lookup(true);

	uint64_t taken = ours_live_bytes() - before;

	lanes[RANDOM] = ours_lookup(false);
	lanes[GLIB_HOT] = peer_glib_lookup(true);
	lanes[GLIB_RANDOM] = peer_glib_lookup(false);
	bench_alone(lanes, COUNT, ROUNDS_ALONE, BATCH_NS, figures);
	print_alone(lanes, figures, COUNT);
	print_verdict("a hot key", bench_spread(figures[HOT].ns_per_call, ROUNDS_ALONE), " ns",
		      AT_MOST, 10);
	print_faster(lanes, figures, HOT, GLIB_HOT, NO_BOUND, 0);
	print_faster(lanes, figures, RANDOM, GLIB_RANDOM, NO_BOUND, 0);
	print_count("a pool with all models, none of them used", (double)taken / (1 << 20), " MiB",
		    AT_MOST, 4);
	bench_destroy(lanes, COUNT);
}

static const struct {
	const char *name, *title;
	void (*run)(void);
} sections[] = {
	/* First: it forks, which wants no other threads. */
	{ "uncontended", "an uncontended call, 2 workers", count_uncontended },
	{ "one", "one caller, 2 workers, no work", compare_one_caller },
	{ "trip", "there and back over a worker's thread, all on one core", compare_round_trips },
	{ "noop", "64 callers, 2 workers, no work", compare_crowd_of_noops },
	{ "short", "64 callers, 2 workers, 2 us of work", compare_crowd_of_short_work },
	{ "long", "16 callers, 2 workers, 1 ms of work", compare_long_work },
	{ "models", "10,000 models", measure_models },
};

static bool is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc <= 1;
}

int main(int argc, char **argv)
{
	unsigned wanted = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ours_count_allocations();
	for (unsigned i = 0; i < PC_ARRAY_LEN(sections); i++)
		if (is_wanted(sections[i].name, argc, argv)) {
			printf("%s\n", sections[i].title);
			sections[i].run();
			wanted++;
		}
	if (wanted == 0) {
		fprintf(stderr, "usage: bench_pool [SECTION...]; known are:");
		for (unsigned i = 0; i < PC_ARRAY_LEN(sections); i++)
			fprintf(stderr, " %s", sections[i].name);
		fputc('\n', stderr);
		return 2;
	}
	return 0;
}
