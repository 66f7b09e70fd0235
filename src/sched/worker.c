/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the life of a worker, from reservation to the return of its memory. The drawing is in
 * sched.c.
 *
 * Which model deserves a worker, and where, is place.c's question; the sets it stands in are filed
 * in worker_sets.c, and what its failure does to its model is failure.c's. Runs inside event
 * functions only.
 */
#include "sched/brain.h"

/* ---- states ---- */

/* The only function that changes a worker's state. */
static void move(struct pc_sched_worker *worker, enum worker_state state)
{
	assert(state > worker->state); /* no way leads back */
	pc__leave_state(worker);
	worker->state = state;
	pc__enter_state(worker);
	pc__review_floor(worker->model);
	pc__file_worker(worker);
}

/* ---- who holds what ---- */

/* Its model holds so many workers and bytes more on its device, or less: sums wrap to be right. */
static void hold(const struct pc_sched_worker *worker, uint32_t workers, uint64_t bytes)
{
	struct holding *holding = &worker->model->holdings[worker->device];

	if (holding->workers == 0)
		holding->since = worker->id;
	holding->workers += workers;
	holding->bytes += bytes;
	pc__set_place(&worker->model->sched->devices[worker->device].holders, &holding->by_size,
		      holding->workers > 0, ~holding->bytes, holding->since);
}

/* ---- spawn and ready ---- */

/* What a model needs once it has workers; false when there is no memory for it. */
static bool furnish(struct pc_sched_model *model)
{
	if (!model->failure)
		model->failure = pc_calloc(1, sizeof(*model->failure));
	if (model->holdings)
		return model->failure;
	model->holdings = pc_calloc(model->sched->device_count, sizeof(*model->holdings));
	for (unsigned d = 0; model->holdings && d < model->sched->device_count; d++)
		model->holdings[d].model = model;
	return model->failure && model->holdings;
}

/* For bytes that are reserved. */
static void init_worker(struct pc_sched_worker *worker, struct pc_sched_model *model,
			unsigned device, uint64_t bytes)
{
	struct pc_sched *sched = model->sched;

	worker->model = model;
	worker->id = ++sched->last_worker_id; /* I8 */
	worker->may_go = model->spec.min_workers == 0;
	worker->device = device;
	worker->slots = model->spec.slots;
	worker->reserved_bytes = bytes;
	worker->spawned_ns = sched->now_ns;
}

static struct pc_sched_worker *new_worker(struct pc_sched_model *model, unsigned device,
					  uint64_t bytes)
{
	struct pc_sched *sched = model->sched;
	struct pc_sched_worker *worker = furnish(model) ? pc_calloc(1, sizeof(*worker)) : NULL;

	if (!worker)
		return NULL;
	/* Rule 4: nothing is spawned that is not reserved (I1). */
	if (!pc_ledger_reserve(sched->ledger, device, bytes)) {
		pc_free(worker);
		return NULL;
	}
	init_worker(worker, model, device, bytes);
	return worker;
}

/* Puts a new worker on the books, in the state that it has. */
static void enlist(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;
	struct pc_sched *sched = model->sched;

	if (!sched->workers.first) {
		sched->maintenance_ns = pc_time_add(sched->now_ns,
						    sched->settings.maintenance_interval_ns);
	}
	pc__set_insert(&sched->workers, &worker->by_id, worker->id, 0);
	pc__enter_state(worker);
	hold(worker, 1, worker->reserved_bytes);
	pc__review_floor(model);
	pc__file_worker(worker);
}

/* Its start, or what comes before it, begins now and has a limit (I10). */
static void limit_start(struct pc_sched_worker *worker, bool launched)
{
	const struct pc_sched_model_spec *spec = &worker->model->spec;
	struct pc_sched *sched = worker->model->sched;

	worker->launched = launched;
	worker->start_deadline_ns = pc_time_add(sched->now_ns, launched ? spec->start_timeout_ns
									: spec->prepare_timeout_ns);
	pc__set_place(&sched->starting, &worker->start_place, true, worker->start_deadline_ns,
		      worker->id);
}

/* The same as spawning. */
static void enter_worker(struct pc_sched_worker *worker, bool launched)
{
	worker->model->load_asked = false;
	enlist(worker);
	limit_start(worker, launched);
}

bool pc__spawn(struct pc_sched_model *model, unsigned device)
{
	struct pc_sched *sched = model->sched;
	struct pc_sched_worker *worker = new_worker(model, device, model->need_bytes);

	if (!worker)
		return false;
	sched->counters.spawned++;
	if (pc__live_workers(model) == 0)
		sched->counters.cold_starts++;
	enter_worker(worker, model->spec.prepare_timeout_ns == 0);

	const struct pc_spawn_order order = {
		.worker_id = worker->id,
		.model = model,
		.model_owner = model->spec.owner,
		.model_key = model->spec.key,
		.device = device,
		.reserved_bytes = worker->reserved_bytes,
		.slots = model->spec.slots,
		.deadline_ns = worker->start_deadline_ns,
	};

	sched->driver.spawn(sched->driver_ctx, &order);
	return true;
}

void pc__worker_launched(struct pc_sched_worker *worker)
{
	if (worker->state == WORKER_SPAWNING && !worker->launched)
		limit_start(worker, true);
}

static void true_up(struct pc_sched_worker *worker, uint64_t measured_bytes)
{
	struct pc_sched *sched = worker->model->sched;
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, worker->device, &account);
	if (measured_bytes > account.total_bytes)
		measured_bytes = account.total_bytes; /* it counted something twice */
	if (measured_bytes == 0 || measured_bytes == worker->reserved_bytes)
		return;
	pc_ledger_true_up(sched->ledger, worker->device, worker->reserved_bytes, measured_bytes);
	hold(worker, 0, measured_bytes - worker->reserved_bytes);
	worker->reserved_bytes = measured_bytes;
	pc__set_sum(&sched->devices[worker->device].idle, &worker->idle_place);
	sched->room_changed = true;
}

void pc__worker_ready(struct pc_sched_worker *worker, uint64_t measured_bytes)
{
	struct pc_sched_model *model = worker->model;

	if (worker->state != WORKER_SPAWNING)
		return; /* it was told to stop meanwhile, or says it twice */
	true_up(worker, measured_bytes);
	/* The next one will need as much; less than the catalog says is not believed. */
	if (measured_bytes > 0 && worker->reserved_bytes > model->need_bytes)
		pc__set_need(model, worker->reserved_bytes);
	worker->ready_ns = model->sched->now_ns;
	worker->last_use = ++model->sched->uses;
	model->last_busy_ns = model->sched->now_ns;
	model->keep_floor = true;
	move(worker, WORKER_READY);
	pc__set_insert(&model->sched->young, &worker->young_place, worker->ready_ns, worker->id);
	pc__set_sum(&model->sched->devices[worker->device].idle, &worker->idle_place);
}

struct pc_sched_worker *pc__adopt(struct pc_sched_model *model, unsigned device, uint64_t bytes,
				  bool loaded)
{
	struct pc_sched_worker *worker = new_worker(model, device, bytes);

	if (!worker)
		return NULL;
	enter_worker(worker, true);
	if (loaded)
		pc__worker_ready(worker, 0);
	return worker;
}

/* ---- what the body knows of the workers whose slots it hands out ---- */

void pc__look(struct pc_sched_worker *worker, bool wanted)
{
	const struct pc_sched *sched = worker->model->sched;
	struct pc_worker_use use = { .leases = 0 };

	if (!worker->model->spec.self_service || worker->state != WORKER_READY)
		return;
	sched->driver.look(sched->driver_ctx, worker->id, wanted, &use);
	worker->looked = sched->event;
	worker->lent = use.leases;
	worker->wanted = use.leases > 0 && (wanted || worker->wanted);
	/* The body may have read its clock after the event's time was taken. */
	worker->last_used_ns = use.last_used_ns < sched->now_ns ? use.last_used_ns : sched->now_ns;
	if (use.served > worker->served)
		pc__note_answer(worker);
	worker->served = use.served;
	pc__file_worker(worker);
}

bool pc__recall(struct pc_sched_worker *worker)
{
	const struct pc_sched *sched = worker->model->sched;

	if (!worker->model->spec.self_service || worker->state != WORKER_READY)
		return true;
	/* If somebody has it, one slot at least. */
	worker->lent = !sched->driver.recall(sched->driver_ctx, worker->id);
	worker->wanted = worker->lent > 0; /* as the contract has it */
	pc__file_worker(worker);
	return worker->lent == 0;
}

void pc__resume(const struct pc_sched_worker *worker)
{
	const struct pc_sched *sched = worker->model->sched;

	if (worker->model->spec.self_service)
		sched->driver.resume(sched->driver_ctx, worker->id);
}

/* One worker of a model at a time, so that the others serve meanwhile. */
static bool is_any_leaving(const struct pc_sched_model *model)
{
	return model->in_state[WORKER_DRAINING] + model->in_state[WORKER_STOPPING] > 0;
}

static void recycle_if_due(struct pc_sched_worker *worker)
{
	struct pc_sched *sched = worker->model->sched;

	/* In a drain a fresh worker would not be worth its load. */
	if (!pc__is_due_for_recycling(worker) || is_any_leaving(worker->model) || sched->draining)
		return;
	sched->counters.recycled++;
	pc__retire(worker, PC_STOP_RECYCLED, false);
}

/* The turn of whoever was spared while another one was leaving. */
static void recycle_next(struct pc_sched_model *model)
{
	if (model->due.first)
		recycle_if_due(
			pc__container_of(model->due.first, struct pc_sched_worker, due_place));
}

void pc__worker_changed(struct pc_sched_worker *worker, uint64_t measured_bytes)
{
	if (worker->state != WORKER_READY)
		return;
	/* What a worker piles up with time is not what the next one needs to begin with. */
	if (measured_bytes > worker->reserved_bytes) {
		true_up(worker, measured_bytes);
		worker->grown_bytes = worker->reserved_bytes;
		pc__file_worker(worker);
	}
	pc__look(worker, false);
	recycle_if_due(worker);
}

/* ---- stop and gone ---- */

/* Its memory is about to be free, or it is not after all. */
static void count_upon(struct pc_sched_worker *worker, bool leaving)
{
	struct pc_sched *sched = worker->model->sched;
	uint64_t bytes = worker->reserved_bytes;

	if (worker->leaving == leaving)
		return;
	worker->leaving = leaving;
	/* Sums wrap to be right. */
	sched->devices[worker->device].leaving_bytes += leaving ? bytes : -bytes;
	sched->room_changed = true;
}

struct pc_sched_worker *pc__adopt_leaving(struct pc_sched_model *model, unsigned device,
					  uint64_t bytes, enum pc_stop_reason why)
{
	struct pc_sched_worker *worker = furnish(model) ? pc_calloc(1, sizeof(*worker)) : NULL;

	if (!worker)
		return NULL;
	/* It has them, whether that is within the budget or not. */
	pc_ledger_true_up(model->sched->ledger, device, 0, bytes);
	init_worker(worker, model, device, bytes);
	worker->state = WORKER_STOPPING;
	worker->stop_reason = why;
	enlist(worker);
	count_upon(worker, true);
	return worker;
}

void pc__worker_stuck(struct pc_sched_worker *worker)
{
	if (worker->state != WORKER_STOPPING)
		return;
	worker->stuck = true;
	count_upon(worker, false);
}

static void send_stop(struct pc_sched_worker *worker, bool force)
{
	struct pc_sched *sched = worker->model->sched;

	if (!worker->stuck && (force || worker->lent == 0))
		count_upon(worker, true);
	worker->forced = force;
	sched->driver.stop(sched->driver_ctx, worker->id, worker->stop_reason, force);
}

static void stop(struct pc_sched_worker *worker, enum pc_stop_reason why, bool force)
{
	struct pc_sched *sched = worker->model->sched;

	worker->stop_reason = why;
	if (why == PC_STOP_EVICTED || why == PC_STOP_PRESSURE) {
		assert(worker->leases == 0 && !worker->model->spec.pinned); /* I7 */
		sched->counters.evicted++;
	}
	move(worker, WORKER_STOPPING);
	send_stop(worker, force);
	pc__review_need(worker->model);
}

void pc__retire_recalled(struct pc_sched_worker *worker, enum pc_stop_reason why)
{
	stop(worker, why, false);
}

bool pc__retire(struct pc_sched_worker *worker, enum pc_stop_reason why, bool force)
{
	bool only_if_idle = why == PC_STOP_IDLE || why == PC_STOP_EVICTED ||
			    why == PC_STOP_PRESSURE;

	if (worker->state == WORKER_STOPPING) {
		if (force && !worker->forced)
			send_stop(worker, true);
		return true;
	}
	if (only_if_idle && !pc__recall(worker))
		return false;
	if (!only_if_idle)
		pc__look(worker, false); /* who is leased does not leave at once */
	if (worker->leases > 0 && !force) {
		worker->stop_reason = why;
		if (worker->state != WORKER_DRAINING)
			move(worker, WORKER_DRAINING);
		return true;
	}
	stop(worker, why, force);
	return true;
}

/* ---- failures ---- */

void pc__worker_broke(struct pc_sched_worker *worker, enum pc_stop_reason why,
		      const struct pc_error *cause)
{
	struct pc_sched_model *model = worker->model;
	bool while_loading = worker->state == WORKER_SPAWNING;

	if (worker->state == WORKER_STOPPING)
		return;
	pc__look(worker, false); /* answers until now count, and the leases must end */
	pc__back_off(model, cause);
	pc__retire(worker, why, worker->leases + worker->lent > 0);
	pc__tell_waiting(model, while_loading);
}

/* Takes it off the books; leases may be left, whose returns free the record. */
static void strike(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;
	struct pc_sched *sched = model->sched;

	if (worker->leaving)
		sched->devices[worker->device].leaving_bytes -= worker->reserved_bytes;
	hold(worker, -1u, -worker->reserved_bytes);
	pc_ledger_release(sched->ledger, worker->device, worker->reserved_bytes);
	sched->room_changed = true;
	pc__set_remove(&sched->workers, &worker->by_id);
	move(worker, WORKER_GONE);
	if (worker->leases == 0)
		pc_free(worker);
}

void pc__worker_gone(struct pc_sched_worker *worker, const struct pc_error *cause)
{
	struct pc_sched_model *model = worker->model;
	bool asked = worker->state == WORKER_STOPPING;
	bool while_loading = worker->state == WORKER_SPAWNING;

	strike(worker);
	if (!asked) {
		pc__back_off(model, cause);
		pc__tell_waiting(model, while_loading);
	}
	recycle_next(model);
}

void pc__expire_starting(struct pc_sched *sched)
{
	while (sched->starting.first && sched->starting.first->key <= sched->now_ns) {
		struct pc_sched_worker *worker = pc__container_of(
			sched->starting.first, struct pc_sched_worker, start_place);
		struct pc_error cause = PC_ERROR_INIT;

		pc__explain_overdue(worker, &cause);
		pc__worker_broke(worker, PC_STOP_OVERDUE, &cause);
	}
}
