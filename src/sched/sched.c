/* SPDX-License-Identifier: MIT */
/*
 * sched.c - the brain's events: what each of them changes, and what follows from it. See
 * poolcore/sched.h for the contract, and the other files of this room for the parts: queue.c
 * (tickets), worker.c (workers and failures), place.c (memory), idle.c (cooldown), change.c (models
 * that change), forecast.c (what would be), explain.c (sentences), views.c.
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
 * A worker that is adopted loaded is SPAWNING and READY within one event. One of a self-service model has
 * no leases here, so it is never DRAINING: when it goes because it idles (cooldown, eviction,
 * pressure) the body is asked to take it back first, and where recall says no, it stays READY; for
 * every other reason it is STOPPING at once, and the body sees to it that its leases end. Its
 * memory counts as leaving (brain.h) only if none was held, or it is stopped by force.
 *
 * After each event the models it touched are served: free slots are handed out (rule 6), and if
 * more workers are called for, the model stands in line for room (rules 2, 3). Before the event
 * function returns, settle_room lets that line move (rules 4, 5).
 *
 * Invariants; assertions cite them, the simulator checks them from outside after every step:
 *  I1 Per device the sum of reservations never exceeds the budget, except by a lowered limit or a
 *     worker that measured more than was reserved; then idle workers go, and nothing is spawned.
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

static void serve(struct pc_sched_model *model)
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
			serve(worker->model);
	}
	for (struct pc_link *link = sched->wanting.first; link; link = next) {
		next = pc__set_next(link);
		pc__review_need(pc__container_of(link, struct pc_sched_model, by_want));
	}
}

/* ---- the frame of every event ---- */

static void enter(struct pc_sched *sched, uint64_t now_ns)
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

static uint64_t leave(struct pc_sched *sched)
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
	enter(sched, now_ns);
	assert(ticket->brain.state == TICKET_OVER); /* I2 */
	sched->counters.submitted++;
	if (!ticket->model) {
		struct pc_error err = PC_ERROR_INIT;

		pc_error_set(&err, PC_E_INVALID_ARGUMENT, "a request must name its model");
		pc__reject(sched, ticket, &err);
		return leave(sched);
	}
	pc__admit(ticket->model, ticket);
	if (ticket->model->waiting > 0)
		serve(ticket->model);
	return leave(sched);
}

uint64_t pc_sched_cancel(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket)
{
	enter(sched, now_ns);
	pc__withdraw(ticket);
	sched->counters.cancelled++;
	serve(ticket->model);
	return leave(sched);
}

uint64_t pc_sched_served(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket)
{
	enter(sched, now_ns);
	assert(ticket->model->spec.self_service);
	pc__withdraw(ticket);
	sched->counters.granted++;
	serve(ticket->model);
	return leave(sched);
}

struct pc_ticket *pc_sched_first_waiting(const struct pc_sched_model *model)
{
	return pc__first_waiting(model);
}

uint64_t pc_sched_release(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket,
			  enum pc_outcome outcome)
{
	enter(sched, now_ns);
	pc__return_lease(ticket, outcome);
	serve(ticket->model);
	return leave(sched);
}

/* ---- workers ---- */

uint64_t pc_sched_worker_ready(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
			       uint64_t measured_bytes)
{
	enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		pc__worker_ready(worker, measured_bytes);
		serve(worker->model);
	}
	return leave(sched);
}

uint64_t pc_sched_worker_failed(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				const struct pc_error *cause)
{
	enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		pc__worker_broke(worker, PC_STOP_FAILED, cause);
		serve(worker->model);
	}
	return leave(sched);
}

uint64_t pc_sched_worker_gone(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
			      const struct pc_error *cause)
{
	enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		struct pc_sched_model *model = worker->model;

		pc__worker_gone(worker, cause);
		serve(model);
	}
	return leave(sched);
}

uint64_t pc_sched_worker_changed(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				 uint64_t measured_bytes)
{
	enter(sched, now_ns);

	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (worker) {
		worker->wanted = false; /* this may be what was wanted */
		pc__worker_changed(worker, measured_bytes);
		serve(worker->model);
	}
	return leave(sched);
}

uint64_t pc_sched_pressure(struct pc_sched *sched, uint64_t now_ns, unsigned device, bool tight)
{
	enter(sched, now_ns);
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
	return leave(sched);
}

uint64_t pc_sched_limit_changed(struct pc_sched *sched, uint64_t now_ns, unsigned device,
				uint64_t budget_bytes)
{
	enter(sched, now_ns);
	if (device < sched->device_count) {
		pc_ledger_set_budget(sched->ledger, device, budget_bytes);
		sched->room_changed = true;
	}
	return leave(sched);
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
		serve(model);
	}
}

static void expire_tickets(struct pc_sched *sched)
{
	while (sched->deadlines.first && sched->deadlines.first->key <= sched->now_ns) {
		struct pc_sched_model *model = pc__container_of(sched->deadlines.first,
								struct pc_sched_model, by_deadline);

		pc__expire_waiting(model);
		serve(model); /* in a drain, whoever loads for them is not waited for */
	}
}

uint64_t pc_sched_tick(struct pc_sched *sched, uint64_t now_ns)
{
	enter(sched, now_ns);
	expire_tickets(sched);
	pc__expire_starting(sched);
	end_backoffs(sched);
	end_drain(sched);
	pc__maintain(sched);
	if (sched->recheck_ns <= sched->now_ns)
		sched->room_changed = true;
	return leave(sched);
}

uint64_t pc_sched_drain(struct pc_sched *sched, uint64_t now_ns, uint64_t deadline_ns)
{
	enter(sched, now_ns);
	if (!sched->draining)
		begin_drain(sched);
	sched->room_changed = true; /* growth is over, what was promised to it is free */
	if (!sched->drained)
		sched->drain_ns = deadline_ns;
	end_drain(sched);
	return leave(sched);
}

/* ---- operator ---- */

/* The worker that a load can point at: a ready one, or else the first that is on its way. */
static struct pc_sched_worker *worker_at_hand(const struct pc_sched_model *model)
{
	struct pc_sched_worker *ready = pc__first_on(model, WORKER_READY, model->load_mask);

	return ready ? ready : pc__first_on(model, WORKER_SPAWNING, model->load_mask);
}

/* There is a worker, or will be one for requests, where the operator did not want one. */
static int refuse_elsewhere(const struct pc_sched_model *model, struct pc_error *err)
{
	if (pc__live_workers(model) > 0)
		return pc_error_set(err, PC_E_ALREADY_EXISTS,
				    "'%s' has a worker already, on another device",
				    model->spec.key);
	return pc_error_set(err, PC_E_CONFLICT,
			    "requests wait for '%s' already, and get a worker on the first device "
			    "with room",
			    model->spec.key);
}

static int load(struct pc_sched_model *model, uint32_t device_mask, uint64_t *ret_worker_id,
		struct pc_error *err)
{
	struct pc_sched *sched = model->sched;
	bool cold = pc__live_workers(model) == 0;
	bool any_device = (model->spec.device_mask & ~device_mask) == 0;
	const struct pc_sched_worker *worker;

	if (sched->draining) {
		return pc_error_set(err, PC_E_SHUTTING_DOWN,
				    "the pool is shutting down and does not load '%s'",
				    model->spec.key);
	}
	if (model->retired) {
		pc__explain_retired(model, err);
		return PC_E_MODEL_NOT_FOUND;
	}
	if (cold && pc__is_backing_off(model)) {
		pc__explain_backoff(model, err);
		return PC_E_MODEL_BACKOFF;
	}
	if (cold && model->waiting > 0 && !any_device)
		return refuse_elsewhere(model, err);
	model->load_mask = device_mask;
	if (cold) {
		model->load_asked = true;
		pc__review_need(model);
		pc__settle_room(sched);
	}
	worker = worker_at_hand(model);
	*ret_worker_id = worker ? worker->id : 0;
	if (!cold && !worker)
		return refuse_elsewhere(model, err);
	if (worker || model->room_is_coming)
		return 0;
	model->load_asked = true; /* also when it was given up: what stands in the way there? */
	pc__explain_memory(model, err);
	model->load_asked = false;
	pc__review_need(model); /* nothing is kept for it */
	return PC_E_INSUFFICIENT_MEMORY;
}

int pc_sched_load(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
		  uint64_t *ret_worker_id, struct pc_error *err)
{
	return pc_sched_load_on(sched, now_ns, model, UINT32_MAX, ret_worker_id, err);
}

int pc_sched_load_on(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
		     uint32_t device_mask, uint64_t *ret_worker_id, struct pc_error *err)
{
	uint64_t worker_id = 0;

	if (!model || !ret_worker_id)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a load needs a model and a place for the worker's id");
	if (!(device_mask & model->spec.device_mask))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "device_mask 0x%x names no device that '%s' may live on",
				    (unsigned)device_mask, model->spec.key);
	enter(sched, now_ns);

	int rc = load(model, device_mask, &worker_id, err);

	leave(sched);
	if (rc == 0)
		*ret_worker_id = worker_id;
	return rc;
}

/* Why a worker cannot be taken in: 0, or the error that says so. */
static int refuse_adoption(const struct pc_sched_model *model, unsigned device,
			   uint64_t memory_bytes, bool loaded, struct pc_error *err)
{
	const struct pc_sched *sched = model->sched;

	if (device >= sched->device_count || !(model->spec.device_mask >> device & 1) ||
	    memory_bytes == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a worker of '%s' takes memory, and on a device that the model "
				    "may live on",
				    model->spec.key);
	if (loaded && model->spec.self_service)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a worker of '%s' is ready when its slots are handed out",
				    model->spec.key);
	if (model->retired) {
		pc__explain_retired(model, err);
		return PC_E_MODEL_NOT_FOUND;
	}
	if (sched->draining)
		return pc_error_set(err, PC_E_SHUTTING_DOWN,
				    "the pool is shutting down and takes in no worker of '%s'",
				    model->spec.key);
	if (model->spec.max_workers != 0 && pc__live_workers(model) >= model->spec.max_workers)
		return pc_error_set(err, PC_E_NO_WORKERS,
				    "'%s' has all of the %u workers that it may have",
				    model->spec.key, model->spec.max_workers);
	return 0;
}

static int adopt(struct pc_sched_model *model, unsigned device, uint64_t memory_bytes, bool loaded,
		 uint64_t *ret_worker_id, struct pc_error *err)
{
	int rc = refuse_adoption(model, device, memory_bytes, loaded, err);

	if (rc)
		return rc;

	struct pc_sched_worker *worker = pc__adopt(model, device, memory_bytes, loaded);
	struct pc_device_account account;

	if (worker) {
		*ret_worker_id = worker->id;
		serve(model);
		return 0;
	}
	pc_ledger_account(model->sched->ledger, device, &account);
	if (account.reserved_bytes <= account.budget_bytes &&
	    account.budget_bytes - account.reserved_bytes >= memory_bytes)
		return pc_error_oom(err);
	pc__explain_device(model, device, memory_bytes, err);
	return PC_E_INSUFFICIENT_MEMORY;
}

int pc_sched_adopt(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
		   unsigned device, uint64_t memory_bytes, bool loaded, uint64_t *ret_worker_id,
		   struct pc_error *err)
{
	if (!model || !ret_worker_id)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a worker needs a model and a place for its id");
	enter(sched, now_ns);

	int rc = adopt(model, device, memory_bytes, loaded, ret_worker_id, err);

	leave(sched);
	return rc;
}

int pc_sched_stop_worker(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id, bool force,
			 struct pc_error *err)
{
	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (!worker) {
		return pc_error_set(err, PC_E_WORKER_NOT_FOUND, "there is no worker %llu",
				    (unsigned long long)worker_id);
	}
	enter(sched, now_ns);
	worker->model->keep_floor = false; /* until the model is asked for again */
	pc__retire(worker, PC_STOP_REQUESTED, force);
	serve(worker->model);
	leave(sched);
	return 0;
}

int pc_sched_check_model(const struct pc_sched *sched, const struct pc_sched_model_spec *spec,
			 struct pc_error *err)
{
	const struct pc_sched_model *model;

	if (!spec)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "there is no spec to check");
	model = pc_sched_find_model(sched, spec->key);
	return model ? pc__check_update(model, spec, err) : pc__check_spec(sched, spec, err);
}

int pc_sched_update_model(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
			  const struct pc_sched_model_spec *spec, bool relaunch,
			  struct pc_error *err)
{
	int rc;

	if (!model || !spec)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an update needs a model and its new spec");
	rc = pc__check_update(model, spec, err);
	if (rc)
		return rc;
	enter(sched, now_ns);
	pc__update_model(model, spec, relaunch);
	serve(model);
	leave(sched);
	return 0;
}

uint64_t pc_sched_retire_model(struct pc_sched *sched, uint64_t now_ns,
			       struct pc_sched_model *model)
{
	enter(sched, now_ns);
	pc__retire_model(model);
	serve(model);
	return leave(sched);
}

int pc_sched_set_maintenance(struct pc_sched *sched, uint64_t now_ns,
			     uint64_t maintenance_interval_ns, uint64_t cooldown_idle_ns,
			     struct pc_error *err)
{
	uint64_t next_ns;

	if (maintenance_interval_ns == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "maintenance_interval_ns must be more than 0");
	enter(sched, now_ns);
	sched->settings.maintenance_interval_ns = maintenance_interval_ns;
	pc__set_cooldown(sched, cooldown_idle_ns);
	next_ns = pc_time_add(sched->now_ns, maintenance_interval_ns);
	if (next_ns < sched->maintenance_ns && sched->workers.first)
		sched->maintenance_ns = next_ns;
	leave(sched);
	return 0;
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
