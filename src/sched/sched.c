/* SPDX-License-Identifier: MIT */
/*
 * sched.c - the brain's events: what each of them changes, and what follows from it. See
 * poolcore/sched.h for the contract, and the other files of this room for the parts: queue.c
 * (tickets), worker.c and worker_sets.c (workers), failure.c (back-off), need.c (who wants a
 * worker), place.c (who gets one, and where), line.c, room.c (who makes room), idle.c (cooldown),
 * operator.c (what nobody but an operator asks), change.c (models that change), forecast.c (what
 * would be), explain.c (sentences), views.c.
 *
 * It has no thread, clock, lock, I/O or log. It allocates in create, add_model and when it spawns;
 * a spawn that cannot be recorded is not done, and tried again at a later tick.
 *
 * The life of a ticket (states in brain.h):
 *
 *                 admit: no slot free        dispatch: a slot is free
 *    OVER ──────────────► WAITING ───────────────► GRANTED ──────────► OVER
 *     ▲ │                    │                        ▲   return_lease
 *     │ └────────────────────┼────────────────────────┘
 *     │   admit: a slot is free
 *     └──────────────────────┘ reject (deadline, cause, shutdown) or withdraw (cancel, served)
 *
 * A ticket of a self-service model is never GRANTED: whoever hands out the slot says served.
 *
 * The life of a worker; `move` in worker.c makes every transition, and none leads back:
 *
 *                 worker_ready             retire with leases
 *    SPAWNING ───────────────► READY ───────────────────────► DRAINING
 *        │ retire, broke         │ retire, broke                 │ last lease ended, broke, forced
 *        └──────────────► STOPPING ◄─────────────────────────────┘
 *                            │ worker_gone (from every state; a failure unless STOPPING)
 *                            ▼
 *                           GONE   the record stays until its leases are returned
 *
 * A worker that is adopted loaded is SPAWNING and READY within one event, and one that is adopted
 * to go is STOPPING from the first. One of a self-service model has no leases here, so it is never
 * DRAINING: when it goes because it idles (cooldown, eviction, pressure) the body is asked to take
 * it back first, and where recall says no, it stays READY; for every other reason it is STOPPING at
 * once, and the body sees to it that its leases end. Its memory counts as leaving (brain.h) only if
 * none was held, or it is stopped by force.
 *
 * After each event the models it touched are served: free slots are handed out (rule 6), and if
 * more workers are called for, the model stands in line for room (rules 2, 3). Before the event
 * function returns, settle_room lets that line move (rules 4, 5).
 *
 * Invariants; assertions cite them, the simulator checks them from outside after every step:
 *  I1 Per device the sum of reservations never exceeds the budget, except by a lowered limit, a
 *     worker that measured more than was reserved, or one that was adopted to go; then idle workers
 *     go, and nothing is spawned.
 *  I2 Each ticket gets exactly one outcome.
 *  I3 Leases of a worker never exceed its slots; only ready workers get grants.
 *  I4 No ticket waits while a worker of its model has a free slot (self-service: the body's duty).
 *  I5 Order within a class is kept; batch is not starved (the order note in queue.c).
 *  I6 One cold start per model at a time.
 *  I7 A leased worker is never evicted, nor one that somebody who waits is about to lease.
 *  I8 Worker ids are never reused.
 *  I9 With no requests, every model reaches min_workers and every byte comes back.
 *  I10 Nothing waits, starts or drains without a deadline (next_deadline knows them all).
 */
#include <string.h>

#include "sched/brain.h"

/* ---- what follows from an event ---- */

/* Stops every worker that nobody needs any more. */
static void let_go(struct pc_sched_model *model, enum pc_stop_reason why)
{
	struct pc_sched_worker *worker;

	while ((worker = pc__first_live(model)))
		pc__retire(worker, why, false);
}

void pc__serve(struct pc_sched_model *model)
{
	pc__dispatch(model);
	if (model->waiting == 0 && pc__live_workers(model) > 0) {
		if (model->sched->draining)
			let_go(model, PC_STOP_SHUTDOWN);
		else if (model->retired)
			let_go(model, PC_STOP_RETIRED);
		else if (model->spec.idle_ttl_ns == 0 && !model->spec.pinned)
			pc__stop_used(model);
	}
	pc__review_cooling(model);
	pc__review_need(model);
}

/*
 * The beginning of a shutdown: whoever has workers is served, which lets go of those that nobody
 * waits for, and whoever wanted to grow does not any more. Both are visited once in the brain's
 * life: events after this one serve the models they touch.
 */
static void begin_drain(struct pc_sched *sched)
{
	struct pc_link *next;

	sched->draining = true;
	for (struct pc_link *link = sched->workers.first; link; link = pc__set_next(link)) {
		struct pc_sched_worker *worker = pc__container_of(link, struct pc_sched_worker,
								  by_id);

		if (worker->state == WORKER_SPAWNING || worker->state == WORKER_READY)
			pc__serve(worker->model);
	}
	for (struct pc_link *link = sched->wanting.first; link; link = next) {
		next = pc__set_next(link);
		pc__review_need(pc__container_of(link, struct pc_sched_model, by_want));
	}
}

/* ---- the frame of every event ---- */

void pc__enter(struct pc_sched *sched, uint64_t now_ns)
{
	assert(!sched->inside && "an action called an event function");
	sched->inside = true;
	sched->event++;
	if (now_ns > sched->now_ns)
		sched->now_ns = now_ns;
}

static uint64_t earlier(uint64_t a_ns, const struct pc__set *set)
{
	return set->first && set->first->key < a_ns ? set->first->key : a_ns;
}

/* I10: whatever lasts has its end in here. */
uint64_t pc_sched_next_deadline(const struct pc_sched *sched)
{
	uint64_t next_ns = sched->drain_ns;

	next_ns = earlier(next_ns, &sched->deadlines);
	next_ns = earlier(next_ns, &sched->starting);
	next_ns = earlier(next_ns, &sched->retries);
	if (sched->recheck_ns < next_ns)
		next_ns = sched->recheck_ns;
	if (sched->workers.first && sched->maintenance_ns < next_ns)
		next_ns = sched->maintenance_ns;
	return next_ns;
}

uint64_t pc__leave(struct pc_sched *sched)
{
	/* Whoever wants room may find it where a worker has become idle. */
	if (sched->newly_idle > 0 && (sched->wanting.first || sched->pressed))
		sched->room_changed = true;
	if (sched->room_changed)
		pc__settle_room(sched);
	sched->newly_idle = 0;
	sched->inside = false;
	return pc_sched_next_deadline(sched);
}

/* ---- requests ---- */

uint64_t pc_sched_submit(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket)
{
	pc__enter(sched, now_ns);
	assert(ticket->brain.state == TICKET_OVER); /* I2 */
	sched->counters.submitted++;
	if (!ticket->model) {
		struct pc_error err = PC_ERROR_INIT;

		pc_error_set(&err, PC_E_INVALID_ARGUMENT, "a request must name its model");
		pc__reject(sched, ticket, &err);
		return pc__leave(sched);
	}
	pc__admit(ticket->model, ticket);
	if (ticket->model->waiting > 0)
		pc__serve(ticket->model);
	return pc__leave(sched);
}

uint64_t pc_sched_cancel(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket)
{
	pc__enter(sched, now_ns);
	pc__withdraw(ticket);
	sched->counters.cancelled++;
	pc__serve(ticket->model);
	return pc__leave(sched);
}

uint64_t pc_sched_served(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket)
{
	pc__enter(sched, now_ns);
	assert(ticket->model->spec.self_service);
	pc__withdraw(ticket);
	sched->counters.granted++;
	pc__serve(ticket->model);
	return pc__leave(sched);
}

struct pc_ticket *pc_sched_first_waiting(const struct pc_sched_model *model)
{
	return pc__first_waiting(model);
}

uint64_t pc_sched_release(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket,
			  enum pc_outcome outcome)
{
	pc__enter(sched, now_ns);
	pc__return_lease(ticket, outcome);
	pc__serve(ticket->model);
	return pc__leave(sched);
}

/* ---- workers ---- */

uint64_t pc_sched_worker_launched(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id)
{
	pc__enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker)
		pc__worker_launched(worker);
	return pc__leave(sched);
}

uint64_t pc_sched_worker_ready(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
			       uint64_t measured_bytes)
{
	pc__enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		pc__worker_ready(worker, measured_bytes);
		pc__serve(worker->model);
	}
	return pc__leave(sched);
}

uint64_t pc_sched_worker_failed(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				const struct pc_error *cause)
{
	pc__enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		pc__worker_broke(worker, PC_STOP_FAILED, cause);
		pc__serve(worker->model);
	}
	return pc__leave(sched);
}

uint64_t pc_sched_worker_gone(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
			      const struct pc_error *cause)
{
	pc__enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		struct pc_sched_model *model = worker->model;

		pc__worker_gone(worker, cause);
		pc__serve(model);
	}
	return pc__leave(sched);
}

uint64_t pc_sched_worker_stuck(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id)
{
	pc__enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker)
		pc__worker_stuck(worker);
	return pc__leave(sched);
}

uint64_t pc_sched_worker_changed(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				 uint64_t measured_bytes)
{
	pc__enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		worker->wanted = false; /* this may be what was wanted */
		pc__worker_changed(worker, measured_bytes);
		pc__serve(worker->model);
	}
	return pc__leave(sched);
}

uint64_t pc_sched_pressure(struct pc_sched *sched, uint64_t now_ns, unsigned device, bool tight)
{
	pc__enter(sched, now_ns);
	if (device < sched->device_count) {
		uint32_t bit = UINT32_C(1) << device;
		bool was_tight = sched->tight_mask & bit;

		sched->tight_mask = tight ? sched->tight_mask | bit : sched->tight_mask & ~bit;
		if (was_tight && !tight)
			sched->devices[device].relaxed_ns = sched->now_ns;
		sched->room_changed |= tight != was_tight;
		if (tight)
			pc__relieve_one(sched, device);
	}
	return pc__leave(sched);
}

uint64_t pc_sched_limit_changed(struct pc_sched *sched, uint64_t now_ns, unsigned device,
				uint64_t budget_bytes)
{
	pc__enter(sched, now_ns);
	if (device < sched->device_count) {
		pc_ledger_set_budget(sched->ledger, device, budget_bytes);
		sched->room_changed = true;
	}
	return pc__leave(sched);
}

/* ---- time ---- */

/* The end of a shutdown's patience. */
static void end_drain(struct pc_sched *sched)
{
	struct pc_error err = PC_ERROR_INIT;

	if (sched->now_ns < sched->drain_ns)
		return;
	sched->drain_ns = PC_TIME_NEVER;
	sched->drained = true;
	while (sched->deadlines.first) {
		struct pc_sched_model *model = pc__container_of(sched->deadlines.first,
								struct pc_sched_model, by_deadline);

		pc_error_clear(&err);
		pc__explain_shutdown(model, &err);
		pc__reject_waiting(model, &err);
	}
	for (struct pc_link *link = sched->workers.first; link; link = pc__set_next(link)) {
		pc__retire(pc__container_of(link, struct pc_sched_worker, by_id), PC_STOP_SHUTDOWN,
			   true);
	}
}

static void end_backoffs(struct pc_sched *sched)
{
	while (sched->retries.first && sched->retries.first->key <= sched->now_ns) {
		struct pc_sched_model *model = pc__container_of(sched->retries.first,
								struct pc_sched_model, by_retry);

		pc__set_remove(&sched->retries, &model->by_retry);
		pc__serve(model);
	}
}

static void expire_tickets(struct pc_sched *sched)
{
	while (sched->deadlines.first && sched->deadlines.first->key <= sched->now_ns) {
		struct pc_sched_model *model = pc__container_of(sched->deadlines.first,
								struct pc_sched_model, by_deadline);

		pc__expire_waiting(model);
		pc__serve(model); /* in a drain, whoever loads for them is not waited for */
	}
}

uint64_t pc_sched_tick(struct pc_sched *sched, uint64_t now_ns)
{
	pc__enter(sched, now_ns);
	expire_tickets(sched);
	pc__expire_starting(sched);
	end_backoffs(sched);
	end_drain(sched);
	pc__maintain(sched);
	if (sched->recheck_ns <= sched->now_ns)
		sched->room_changed = true;
	return pc__leave(sched);
}

uint64_t pc_sched_drain(struct pc_sched *sched, uint64_t now_ns, uint64_t deadline_ns)
{
	pc__enter(sched, now_ns);
	if (!sched->draining)
		begin_drain(sched);
	sched->room_changed = true; /* growth is over, what was promised to it is free */
	if (!sched->drained)
		sched->drain_ns = deadline_ns;
	end_drain(sched);
	return pc__leave(sched);
}

/* ---- birth and end ---- */

void pc_sched_settings_init(struct pc_sched_settings *settings)
{
	*settings = (struct pc_sched_settings){
		.request_timeout_ns = 30 * PC_NS_PER_SEC,
		.maintenance_interval_ns = 60 * PC_NS_PER_SEC,
		.cooldown_idle_ns = 60 * PC_NS_PER_SEC,
		.min_residency_ns = 5 * PC_NS_PER_SEC,
		.max_wait_ns = 10 * PC_NS_PER_SEC,
		.batch_ageing_ns = 60 * PC_NS_PER_SEC,
		.backoff_min_ns = 1 * PC_NS_PER_SEC,
		.backoff_max_ns = 60 * PC_NS_PER_SEC,
		.breaker_failures = 5,
		.seed = 1,
	};
}

static int check_arguments(const struct pc_sched_settings *settings,
			   const struct pc_sched_driver *driver, const struct pc_ledger *ledger,
			   struct pc_error *err)
{
	if (!ledger)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a brain needs a ledger");
	if (!driver || !driver->spawn || !driver->stop || !driver->grant || !driver->reject) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a brain needs a driver with all four actions");
	}
	if (settings->request_timeout_ns == 0 || settings->maintenance_interval_ns == 0 ||
	    settings->breaker_failures == 0) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "request_timeout_ns, maintenance_interval_ns and "
				    "breaker_failures must be more than 0");
	}
	if (settings->backoff_min_ns == 0 || settings->backoff_min_ns > settings->backoff_max_ns) {
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"backoff_min_ns must be more than 0 and at most backoff_max_ns");
	}
	return 0;
}

int pc_sched_create(const struct pc_sched_settings *settings, const struct pc_sched_driver *driver,
		    void *driver_ctx, struct pc_ledger *ledger, struct pc_sched **ret_sched,
		    struct pc_error *err)
{
	if (!settings || !ret_sched)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a brain needs settings and a place for the result");
	if (check_arguments(settings, driver, ledger, err))
		return PC_E_INVALID_ARGUMENT;

	struct pc_sched *sched = pc_calloc(1, sizeof(*sched));

	if (!sched)
		return pc_error_oom(err);
	sched->affinity = pc_calloc(AFFINITY_ENTRIES, sizeof(*sched->affinity));
	if (!sched->affinity) {
		pc_free(sched);
		return pc_error_oom(err);
	}
	sched->settings = *settings;
	sched->driver = *driver;
	sched->driver_ctx = driver_ctx;
	sched->ledger = ledger;
	sched->device_count = pc_ledger_device_count(ledger);
	for (unsigned d = 0; d < sched->device_count; d++) {
		sched->devices[d].idle.sum = pc__sum_evictable;
		sched->devices[d].idle.lazy = true;
		sched->devices[d].line.sum = pc__sum_standing;
	}
	sched->random = settings->seed;
	sched->recheck_ns = PC_TIME_NEVER;
	sched->maintenance_ns = PC_TIME_NEVER;
	sched->drain_ns = PC_TIME_NEVER;
	*ret_sched = sched;
	return 0;
}

void pc_sched_destroy(struct pc_sched *sched)
{
	if (!sched)
		return;
	assert(!sched->deadlines.first && sched->leases == 0); /* I2 */
	while (sched->workers.first) {
		struct pc_sched_worker *worker = pc__container_of(sched->workers.first,
								  struct pc_sched_worker, by_id);

		pc_ledger_release(sched->ledger, worker->device, worker->reserved_bytes);
		pc__set_remove(&sched->workers, &worker->by_id);
		pc_free(worker);
	}
	pc__free_models(sched);
	pc_free(sched->affinity);
	pc_free(sched);
}
