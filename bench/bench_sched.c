/* SPDX-License-Identifier: MIT */
/*
 * bench_sched.c - how many events per second the brain decides with 1,000 workers and 100,000
 * waiting tickets. Every lease that ends lets a waiting ticket in and its client submits anew, so
 * that the load stays as it is: one round is a release, a grant and a submit.
 *
 *   bench_sched [ROUNDS]     default 500,000; prints one line per shape, median of five
 *
 * With one timeout for all, tickets come in the order in which they are due, as they usually do.
 * With deadlines at random each one goes to a place of its own: that is the worst there is, and
 * mostly a measurement of cache and TLB misses. Where there is no room to grow, every model stands
 * in line for memory all the while. With self-service the body hands out the slots, and a round is
 * that it serves the first who waits, whose client submits anew; one such model has at most 64
 * workers, so there is no shape of it with a single model.
 *
 * The time is that of the processor, so that others on the machine disturb less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <poolcore/memory.h>
#include <poolcore/sched.h>

enum { WORKERS = 1000, WAITING = 100000, REPEATS = 5 };

static struct pc_ticket tickets[WORKERS + WAITING];
static struct pc_ticket *leased[WORKERS];
static unsigned leased_count;
static uint64_t now_ns = PC_NS_PER_SEC, chance = 1;

static const struct shape {
	const char *name;
	bool random_deadlines, wants_growth, self_service;
} shapes[] = {
	{ .name = "one timeout" },
	{ .name = "random deadlines", .random_deadlines = true },
	{ .name = "no room to grow", .wants_growth = true },
	{ .name = "self-service", .random_deadlines = true, .self_service = true },
};
static const struct shape *shape;
static struct pc_sched_model *handles[WORKERS];

static uint64_t random_below(uint64_t end)
{
	chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (chance >> 33) % end;
}

static void on_spawn(void *ctx, const struct pc_spawn_order *order)
{
	(void)ctx;
	(void)order;
}

static void on_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	(void)ctx;
	(void)worker_id;
	(void)why;
	(void)force;
}

static void on_grant(void *ctx, struct pc_ticket *ticket, uint64_t worker_id)
{
	(void)ctx;
	(void)worker_id;
	leased[leased_count++] = ticket;
}

static void on_reject(void *ctx, struct pc_ticket *ticket, const struct pc_error *err)
{
	(void)ctx;
	(void)ticket;
	fprintf(stderr, "bench_sched: a ticket was rejected: %s\n", err->message);
	exit(1);
}

static void on_look(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use)
{
	(void)ctx;
	(void)worker_id;
	(void)wanted;
	*ret_use = (struct pc_worker_use){ .leases = 1 };
}

static bool on_recall(void *ctx, uint64_t worker_id)
{
	(void)ctx;
	(void)worker_id;
	return false;
}

static void on_resume(void *ctx, uint64_t worker_id)
{
	(void)ctx;
	(void)worker_id;
}

static const struct pc_sched_driver driver = {
	.spawn = on_spawn,
	.stop = on_stop,
	.grant = on_grant,
	.reject = on_reject,
	.look = on_look,
	.recall = on_recall,
	.resume = on_resume,
};

static void check(int rc, const struct pc_error *err)
{
	if (rc < 0) {
		fprintf(stderr, "bench_sched: %s\n", err->message);
		exit(1);
	}
}

static void submit(struct pc_sched *sched, struct pc_ticket *ticket)
{
	/* Hours away: nothing expires. */
	ticket->deadline_ns = shape->random_deadlines ? now_ns + 3600 * PC_NS_PER_SEC +
								random_below(600 * PC_NS_PER_SEC)
						      : 0;
	ticket->priority = random_below(4) ? PC_PRIORITY_INTERACTIVE : PC_PRIORITY_BATCH;
	now_ns += 1000;
	pc_sched_submit(sched, now_ns, ticket);
}

static struct pc_sched_model *add_model(struct pc_sched *sched, unsigned number, unsigned workers)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_sched_model *model = NULL;
	char key[32];

	snprintf(key, sizeof(key), "model-%u", number);

	const struct pc_sched_model_spec spec = {
		.key = key,
		.device_mask = 1,
		.memory_bytes = 1,
		.slots = 1,
		.max_workers = shape->wants_growth ? 0 : workers,
		.cold_start_workers = workers,
		.queue_capacity = WORKERS + WAITING,
		.idle_ttl_ns = PC_TIME_NEVER,
		.start_timeout_ns = 3600 * PC_NS_PER_SEC,
		.self_service = shape->self_service,
	};

	check(pc_sched_add_model(sched, &spec, &model, &err), &err);
	return model;
}

static struct pc_sched *set_up(struct pc_ledger *ledger, unsigned models)
{
	struct pc_sched_settings settings;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_sched *sched = NULL;

	pc_sched_settings_init(&settings);
	settings.request_timeout_ns = 7200 * PC_NS_PER_SEC;
	check(pc_sched_create(&settings, &driver, NULL, ledger, &sched, &err), &err);
	leased_count = 0;
	for (unsigned m = 0; m < models; m++) {
		struct pc_sched_model *model = add_model(sched, m, WORKERS / models);

		handles[m] = model;
		for (unsigned i = m; i < WORKERS + WAITING; i += models) {
			tickets[i] = (struct pc_ticket){ .model = model };
			submit(sched, &tickets[i]);
		}
	}
	for (uint64_t id = 1; id <= WORKERS; id++)
		pc_sched_worker_ready(sched, now_ns, id, 0);
	if (leased_count != (shape->self_service ? 0 : WORKERS)) {
		fprintf(stderr, "bench_sched: %u of %d workers are leased\n", leased_count,
			WORKERS);
		exit(1);
	}
	return sched;
}

/* Each as its kind of model has it; both submit anew. */
static void end_a_lease(struct pc_sched *sched)
{
	unsigned nth = (unsigned)random_below(leased_count);
	struct pc_ticket *ticket = leased[nth];

	leased[nth] = leased[--leased_count];
	now_ns += 1000;
	pc_sched_release(sched, now_ns, ticket, PC_OUTCOME_OK);
	submit(sched, ticket);
}

static void serve_one(struct pc_sched *sched, unsigned models)
{
	struct pc_ticket *ticket = pc_sched_first_waiting(handles[random_below(models)]);

	now_ns += 1000;
	pc_sched_served(sched, now_ns, ticket);
	submit(sched, ticket);
}

static double cpu_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double run(struct pc_sched *sched, unsigned models, uint64_t rounds)
{
	double start = cpu_seconds();

	for (uint64_t i = 0; i < rounds; i++) {
		if (shape->self_service)
			serve_one(sched, models);
		else
			end_a_lease(sched);
	}
	/* Two events each; a grant in between is part of the first. */
	return (double)(2 * rounds) / (cpu_seconds() - start);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void take_down(struct pc_sched *sched)
{
	while (leased_count > 0)
		pc_sched_release(sched, now_ns, leased[--leased_count], PC_OUTCOME_OK);
	for (unsigned i = 0; shape->self_service && i < WORKERS + WAITING; i++)
		pc_sched_cancel(sched, now_ns, &tickets[i]);
	pc_sched_destroy(sched);
}

static void measure(unsigned models, uint64_t rounds)
{
	struct pc_ledger *ledger = NULL;
	struct pc_error err = PC_ERROR_INIT;
	double figures[REPEATS];

	check(pc_ledger_create(&ledger, &err), &err);
	check(pc_ledger_add_device(ledger, "cpu", WORKERS, WORKERS, &err), &err);

	struct pc_sched *sched = set_up(ledger, models);

	for (int i = 0; i < REPEATS; i++)
		figures[i] = run(sched, models, rounds);
	qsort(figures, REPEATS, sizeof(figures[0]), by_size);
	printf("sched: %4u models, %d workers, %d waiting, %s: %.2f million events/s (%.2f to "
	       "%.2f)\n",
	       models, WORKERS, WAITING, shape->name, figures[REPEATS / 2] / 1e6, figures[0] / 1e6,
	       figures[REPEATS - 1] / 1e6);
	take_down(sched);
	pc_ledger_destroy(ledger);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 500000;

	if (rounds == 0) {
		fprintf(stderr, "usage: bench_sched [ROUNDS]\n");
		return 2;
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(shapes); i++) {
		shape = &shapes[i];
		if (!shape->self_service)
			measure(1, rounds);
		measure(100, rounds);
		measure(1000, rounds);
	}
	return 0;
}
