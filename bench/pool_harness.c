/* SPDX-License-Identifier: MIT */
/*
 * pool_harness.c - the stop-watch of bench_pool: lanes take turns, in batches that one caller makes
 * or in windows during which many call at once. Nothing here knows what is measured.
 *
 * The clock is read at the ends of batches and windows only. How long single calls take is asked in
 * rounds of its own, because two readings cost more than the cheapest calls do.
 */
#include "bench/pool_bench.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A window is opened when its callers have run for this long: they are all there, and warm. */
#define WARM_UP_NS UINT64_C(100000000)
enum { TIMED_ROUNDS = 2, CALLERS_MAX = 64 };

void bench_die(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("bench_pool: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *bench_alloc(size_t size)
{
	void *ptr = aligned_alloc(128, (size + 127) / 128 * 128);

	if (!ptr)
		bench_die("out of memory");
	return memset(ptr, 0, size);
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC_RAW);
}

/* ---- work ---- */

void bench_work(uint64_t steps)
{
	uint64_t x = steps;

	for (uint64_t i = 0; i < steps; i++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		__asm__ volatile("" : "+r"(x));
	}
}

double bench_ns_per_step(uint64_t steps)
{
	uint64_t before_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);

	bench_work(steps);
	return (double)(read_clock(CLOCK_THREAD_CPUTIME_ID) - before_ns) / (double)steps;
}

uint64_t bench_steps_of_ns(uint64_t ns)
{
	double least = 1e9;

	for (int i = 0; i < 50; i++) {
		double found = bench_ns_per_step(1000000);

		if (found < least)
			least = found;
	}
	return (uint64_t)((double)ns / least);
}

/* ---- one caller ---- */

static uint64_t time_batch(const struct lane *lane, uint64_t calls)
{
	uint64_t before_ns = bench_now_ns();

	if (lane->batch) {
		lane->batch(lane->state, calls);
	} else {
		for (uint64_t i = 0; i < calls; i++)
			lane->call(lane->state);
	}
	return bench_now_ns() - before_ns;
}

/* How many calls take about that long. Warms the lane up on the way. */
static uint64_t size_batch(const struct lane *lane, uint64_t batch_ns)
{
	uint64_t calls = 16, taken_ns;

	while ((taken_ns = time_batch(lane, calls)) < batch_ns / 4)
		calls *= 2;
	return calls * batch_ns / taken_ns + 1;
}

void bench_alone(const struct lane *lanes, unsigned count, unsigned rounds, uint64_t batch_ns,
		 struct figures *ret_figures)
{
	uint64_t calls[BENCH_LANES_MAX];

	for (unsigned i = 0; i < count; i++) {
		calls[i] = size_batch(&lanes[i], batch_ns);
		ret_figures[i] = (struct figures){ .rounds = rounds };
	}
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned i = 0; i < count; i++) {
			double taken_ns = (double)time_batch(&lanes[i], calls[i]);

			ret_figures[i].ns_per_call[round] = taken_ns / (double)calls[i];
			ret_figures[i].calls += calls[i];
		}
}

/* ---- many callers ---- */

struct caller {
	_Alignas(128) _Atomic uint64_t calls; /* [written by its thread, read by the stop-watch] */
	uint64_t most_ns;		      /* [its thread's until that is joined] */
	pthread_t thread;
	struct crowd *crowd;
};

struct crowd {
	const struct lane *lane;
	bool timed;	     /* [const after create] */
	_Atomic bool opened; /* the window; from now on calls count */
	_Atomic bool closed; /* callers go home */
	struct caller callers[CALLERS_MAX];
};

static void *run_caller(void *arg)
{
	struct caller *caller = arg;
	struct crowd *crowd = caller->crowd;
	const struct lane *lane = crowd->lane;
	uint64_t calls = 0;

	while (!atomic_load_explicit(&crowd->closed, memory_order_relaxed)) {
		if (!crowd->timed) {
			lane->call(lane->state);
		} else {
			bool counts = atomic_load_explicit(&crowd->opened, memory_order_relaxed);
			uint64_t before_ns = bench_now_ns();

			lane->call(lane->state);

			uint64_t taken_ns = bench_now_ns() - before_ns;

			if (counts && taken_ns > caller->most_ns)
				caller->most_ns = taken_ns;
		}
		atomic_store_explicit(&caller->calls, ++calls, memory_order_relaxed);
	}
	return NULL;
}

static void sleep_until(uint64_t when_ns)
{
	const struct timespec when = { .tv_sec = (time_t)(when_ns / 1000000000),
				       .tv_nsec = (long)(when_ns % 1000000000) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) != 0)
		;
}

/* Writes down what each caller has done so far, and returns the time. */
static uint64_t read_calls(const struct crowd *crowd, uint64_t *ret_calls)
{
	for (unsigned i = 0; i < crowd->lane->callers; i++)
		ret_calls[i] = atomic_load_explicit(&crowd->callers[i].calls, memory_order_relaxed);
	return bench_now_ns();
}

/* Jain's index of fairness, (sum x)^2 / (n * sum x^2): 1 when all get the same, 1/n when one gets
 * all. */
static double jain(const uint64_t *shares, unsigned count)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < count; i++) {
		sum += (double)shares[i];
		squares += (double)shares[i] * (double)shares[i];
	}
	return squares > 0 ? sum * sum / (count * squares) : 0;
}

/* One window of one lane. */
static void run_window(const struct lane *lane, bool timed, uint64_t window_ns,
		       struct figures *figures, unsigned round)
{
	struct crowd *crowd = bench_alloc(sizeof(*crowd));
	uint64_t before[CALLERS_MAX] = { 0 }, shares[CALLERS_MAX] = { 0 }, calls = 0;

	crowd->lane = lane;
	crowd->timed = timed;
	for (unsigned i = 0; i < lane->callers; i++) {
		crowd->callers[i].crowd = crowd;
		if (pthread_create(&crowd->callers[i].thread, NULL, run_caller, &crowd->callers[i]))
			bench_die("no thread for caller %u", i);
	}

	uint64_t start_ns = read_clock(CLOCK_MONOTONIC) + WARM_UP_NS;

	sleep_until(start_ns);
	atomic_store_explicit(&crowd->opened, true, memory_order_relaxed);

	uint64_t opened_cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t opened_ns = read_calls(crowd, before);

	sleep_until(start_ns + window_ns);

	uint64_t closed_ns = read_calls(crowd, shares);
	uint64_t cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID) - opened_cpu_ns;

	atomic_store_explicit(&crowd->closed, true, memory_order_relaxed);
	for (unsigned i = 0; i < lane->callers; i++) {
		pthread_join(crowd->callers[i].thread, NULL);
		shares[i] -= before[i];
		calls += shares[i];
		if (crowd->callers[i].most_ns > figures->most_ns)
			figures->most_ns = crowd->callers[i].most_ns;
	}
	if (!timed) {
		/* A window without a call is a figure as well. */
		double divisor = (double)(calls ? calls : 1);

		figures->ns_per_call[round] = (double)(closed_ns - opened_ns) / divisor;
		figures->cpu_ns_per_call[round] = (double)cpu_ns / divisor;
		figures->jain[round] = jain(shares, lane->callers);
		figures->calls += calls;
	}
	free(crowd);
}

void bench_crowd(const struct lane *lanes, unsigned count, unsigned rounds, uint64_t window_ns,
		 struct figures *ret_figures)
{
	for (unsigned i = 0; i < count; i++)
		ret_figures[i] = (struct figures){ .rounds = rounds };
	for (unsigned round = 0; round < rounds + TIMED_ROUNDS; round++)
		for (unsigned i = 0; i < count; i++)
			run_window(&lanes[i], round >= rounds, window_ns, &ret_figures[i], round);
}

void bench_destroy(const struct lane *lanes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (lanes[i].destroy)
			lanes[i].destroy(lanes[i].state);
}

/* ---- what is made of it ---- */

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct spread bench_spread(const double *values, unsigned count)
{
	double sorted[BENCH_ROUNDS_MAX] = { 0 };

	for (unsigned i = 0; i < count; i++)
		sorted[i] = values[i];
	qsort(sorted, count, sizeof(sorted[0]), by_size);
	return (struct spread){ sorted[0], sorted[count / 2], sorted[count - 1] };
}

static struct spread ratio(const double *values, const double *others, unsigned count)
{
	double ratios[BENCH_ROUNDS_MAX] = { 0 };

	for (unsigned i = 0; i < count; i++)
		ratios[i] = values[i] / others[i];
	return bench_spread(ratios, count);
}

struct spread bench_ratio(const struct figures *a, const struct figures *b)
{
	return ratio(a->ns_per_call, b->ns_per_call, a->rounds);
}

struct spread bench_cpu_ratio(const struct figures *a, const struct figures *b)
{
	return ratio(a->cpu_ns_per_call, b->cpu_ns_per_call, a->rounds);
}
