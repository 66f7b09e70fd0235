/* SPDX-License-Identifier: MIT */
/*
 * body.c - hands out the slots of self-service models, as a pool does that leases with one
 * compare-and-swap: a client takes any free slot without asking the brain, also before those who
 * wait; only who finds none submits a ticket. When a slot is free, the ticket whose turn it is is
 * woken, one at a time, and finds after a moment that the slot is still free, or is not.
 */
#include <inttypes.h>

#include "sim.h"

static uint32_t slots_of(const struct world *world, const struct fake_worker *worker)
{
	return sim_spec(world, worker->model)->slots;
}

/* The first one; nobody promises an order here. */
static struct fake_worker *free_worker(struct world *world, unsigned model)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct fake_worker *worker = &world->workers[i];

		if (worker->state == W_READY && worker->model == model && !worker->recalled &&
		    !worker->failed && worker->leases < slots_of(world, worker))
			return worker;
	}
	return NULL;
}

static void lease(struct world *world, struct fake_ticket *ticket, struct fake_worker *worker)
{
	sim_trace(world, "lease submission, worker", ticket->number, worker->id, 0);
	if (worker->leases++ == 0)
		worker->busy_since_ns = world->now_ns;
	worker->last_used_ns = world->now_ns;
	ticket->state = T_LEASED;
	ticket->worker = (unsigned)(worker - world->workers);
	ticket->next_ns = world->now_ns + ticket->lease_ns;
	ticket->wake_ns = PC_TIME_NEVER;
}

bool sim_take_slot(struct world *world, struct fake_ticket *ticket)
{
	struct fake_worker *worker = free_worker(world, ticket->model);

	if (!worker)
		return false;
	world->coverage->barged += world->models[ticket->model].waiting > 0;
	lease(world, ticket, worker);
	return true;
}

/* What worker_changed says: see the contract. */
static bool is_news(struct world *world, struct fake_worker *worker, bool answered)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

	if (worker->state != W_READY)
		return false;
	if (worker->wanted && worker->leases == 0) {
		worker->wanted = false;
		world->coverage->wanted_told++;
		return true;
	}
	return (answered && worker->served == 1) ||
	       (spec->recycle_requests && worker->served >= spec->recycle_requests) ||
	       (spec->idle_ttl_ns == 0 && worker->leases == 0);
}

void sim_return_slot(struct world *world, struct fake_ticket *ticket)
{
	struct fake_worker *worker = &world->workers[ticket->worker];
	bool answered = worker->state != W_DEAD && ticket->number % 16 != 0;

	sim_trace(world, "RETURN submission, worker", ticket->number, worker->id, answered);
	ticket->state = T_NONE;
	ticket->next_ns = PC_TIME_NEVER;
	worker->last_used_ns = world->now_ns;
	worker->served += answered;
	if (--worker->leases == 0)
		worker->busy_since_ns = PC_TIME_NEVER;
	if (worker->state == W_DEAD && worker->leases == 0)
		worker->state = W_NONE;
	/* It was told to stop, and was only waiting for this. */
	if (worker->state == W_STOPPING && worker->leases == 0 && worker->next_ns == PC_TIME_NEVER)
		worker->next_ns = world->now_ns + world->script->stop_max_ns / 2;
	if (is_news(world, worker, answered)) {
		sim_note_recycling(world, worker);
		world->tick_ns = pc_sched_worker_changed(world->sched, sim_told_now(world),
							 worker->id, 0);
	}
}

/* ---- waiting ---- */

void sim_wakes(struct world *world, struct fake_ticket *ticket)
{
	ticket->wake_ns = PC_TIME_NEVER;
	if (!sim_take_slot(world, ticket)) {
		world->coverage->woken_in_vain++;
		return;
	}
	world->coverage->served++;
	world->models[ticket->model].waiting--;
	world->tick_ns = pc_sched_served(world->sched, sim_told_now(world), &ticket->ticket);
}

static bool is_anybody_awake(const struct world *world, unsigned model)
{
	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		const struct fake_ticket *ticket = &world->tickets[i];

		if (ticket->state == T_WAITING && ticket->model == model &&
		    ticket->wake_ns != PC_TIME_NEVER)
			return true;
	}
	return false;
}

void sim_wake_waiting(struct world *world)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		struct fake_ticket *next = (struct fake_ticket *)pc_sched_first_waiting(
			world->models[m].handle);

		sim_check(world, !next == (world->models[m].waiting == 0),
			  "first_waiting of %s is wrong", sim_spec(world, m)->key);
		if (!next || !sim_spec(world, m)->self_service || !free_worker(world, m) ||
		    is_anybody_awake(world, m) || next->deadline_ns <= world->now_ns)
			continue;
		sim_check_order(world, next);
		uint64_t chance = sim_hash(world->step, next->number);

		/* Soon, and now and then when others have come long since. */
		next->wake_ns = world->now_ns + chance / 2 % (chance % 2 ? 2 * MSEC : 2 * SEC);
	}
}

/* ---- what the brain asks ---- */

void sim_note_answers(struct world *world, struct fake_worker *worker)
{
	struct fake_model *model = &world->models[worker->model];

	if (worker->served > worker->seen_served && worker->ready_ns >= model->failed_ns)
		model->failures_in_row = 0;
	worker->seen_served = worker->served;
}

static struct fake_worker *asked_about(struct world *world, uint64_t worker_id)
{
	struct fake_worker *worker = sim_find_worker(world, worker_id);

	sim_check(world, worker && worker->state == W_READY,
		  "the brain asks about worker %" PRIu64 ", which is not ready", worker_id);
	sim_check(world, sim_spec(world, worker->model)->self_service,
		  "the brain asks about worker %" PRIu64 ", whose slots are its own", worker_id);
	return worker;
}

void sim_on_look(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use)
{
	struct world *world = ctx;
	struct fake_worker *worker = asked_about(world, worker_id);

	if (wanted && worker->leases > 0) {
		worker->wanted = true;
		world->coverage->looks_wanted++;
	}
	sim_note_answers(world, worker);
	*ret_use = (struct pc_worker_use){
		.leases = worker->leases,
		.served = worker->served,
		.last_used_ns = worker->last_used_ns,
	};
	/* By another thread, whose clock was read later than the brain's time. */
	if (ret_use->last_used_ns && worker_id % 3 == 0)
		ret_use->last_used_ns += 3 * SEC;
}

/* In the moment between two questions of the brain somebody comes who is quicker. */
static void barge(struct world *world, struct fake_worker *worker)
{
	uint64_t fate = sim_hash(world->script->seed, 4000000 + world->step + worker->id);
	struct fake_ticket *ticket;

	if (worker->leases == slots_of(world, worker) || world->no_barging || world->quiet ||
	    world->draining || fate % 100 >= world->script->barges)
		return;
	ticket = sim_new_ticket(world, worker->model, fate);
	if (ticket)
		lease(world, ticket, worker);
}

bool sim_on_recall(void *ctx, uint64_t worker_id)
{
	struct world *world = ctx;
	struct fake_worker *worker = asked_about(world, worker_id);

	sim_check(world, !worker->recalled, "worker %" PRIu64 " is recalled twice", worker_id);
	barge(world, worker);
	if (worker->leases > 0) {
		worker->wanted = true;
		world->coverage->recalls_refused++;
		return false;
	}
	sim_trace(world, "recall worker", worker_id, 0, 0);
	worker->recalled = true;
	world->coverage->recalls++;
	return true;
}

void sim_on_resume(void *ctx, uint64_t worker_id)
{
	struct world *world = ctx;
	struct fake_worker *worker = asked_about(world, worker_id);

	sim_trace(world, "resume worker", worker_id, 0, 0);
	sim_check(world, worker->recalled, "worker %" PRIu64 " was not recalled", worker_id);
	worker->recalled = false;
	world->coverage->resumes++;
}
