/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the life of a worker, from reservation to the return of its memory, and what a
 * model's failures do to it (back-off, breaker). The drawing is in sched.c.
 *
 * Which model deserves a worker, and where, is place.c's question. Runs inside event functions
 * only.
 */
#include "sched/brain.h"

/* ---- filing: the sets a worker is in follow from its state ---- */

static void file_idle(struct pc_sched_worker *worker, bool idle)
{
	struct pc_sched *sched = worker->model->sched;
	struct device *device = &sched->devices[worker->device];
	bool was_idle = pc__linked(&worker->idle_place);
	uint64_t since_ns = worker->last_used_ns > worker->ready_ns ? worker->last_used_ns
								    : worker->ready_ns;

	pc__set_place(&device->idle, &worker->idle_place, idle, since_ns, worker->id);
	sched->newly_idle += idle - was_idle;
	if (worker->model->spec.min_workers > 0)
		pc__file_above_floor(worker);
}

/* While its requests wait, nothing of a model is evicted. */
static void review_askable(struct pc_sched_model *model)
{
	pc__set_place(&model->sched->askable, &model->by_busy,
		      model->busy.first && model->waiting == 0, model->by_order.key, 0);
}

/* What the body hands out is busy or idle as far as it was said: see the look note in room.c. */
static void file_busy(struct pc_sched_worker *worker, bool busy)
{
	struct pc_sched_model *model = worker->model;

	if (!model->spec.self_service)
		return;
	pc__set_place(&model->busy, &worker->busy_place, busy, worker->id, 0);
	review_askable(model);
}

/*
 * Whether an idle worker's place in the order of use must be kept. Where the brain hands out the
 * slots the end of model->free is that order already, but for those that were never used, and but
 * for models whose used workers have to be told from the others (idle_ttl_ns of 0).
 */
static bool has_to_rest(const struct pc_sched_worker *worker)
{
	const struct pc_sched_model_spec *spec = &worker->model->spec;

	return spec->self_service || spec->idle_ttl_ns == 0 || worker->last_used_ns == 0;
}

static bool is_due_for_recycling(const struct pc_sched_worker *worker)
{
	const struct pc_sched_model_spec *spec = &worker->model->spec;
	bool served_enough = spec->recycle_requests && worker->served >= spec->recycle_requests;
	bool grown_enough = spec->recycle_bytes && worker->grown_bytes > spec->recycle_bytes;

	return worker->state == WORKER_READY && (served_enough || grown_enough);
}

void pc__file_worker(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;
	bool ready = worker->state == WORKER_READY;
	bool pinned = model->spec.pinned, self_service = model->spec.self_service;
	/* While requests wait, an idle worker is one that the body is about to lease (I7). */
	bool idle = ready && worker->leases == 0 && worker->lent == 0 &&
		    !(self_service && model->waiting > 0);

	/* Rule 7: fewest leases, then most recently used. */
	pc__set_place(&model->free, &worker->free_place,
		      ready && worker->leases < model->spec.slots && !self_service, worker->leases,
		      ~worker->last_use);
	pc__set_place(&model->resting, &worker->rest_place, idle && has_to_rest(worker),
		      worker->last_used_ns, worker->last_use);
	if (model->spec.recycle_requests || model->spec.recycle_bytes)
		pc__set_place(&model->due, &worker->due_place, is_due_for_recycling(worker),
			      worker->id, 0);
	file_idle(worker, idle && !pinned);
	file_busy(worker, ready && !idle && !worker->wanted && !pinned);
}

static void enter_state(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;

	if (worker->state == WORKER_GONE)
		return;
	model->in_state[worker->state]++;
	pc__set_insert(&model->workers[worker->state], &worker->by_state, worker->device,
		       worker->id);
}

static void leave_state(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;

	model->in_state[worker->state]--;
	pc__set_remove(&model->workers[worker->state], &worker->by_state);
	pc__set_remove(&model->sched->starting, &worker->start_place);
	pc__set_remove(&model->sched->young, &worker->young_place);
}

void pc__note_waiting(struct pc_sched_model *model)
{
	if (!model->spec.self_service)
		return;
	review_askable(model);
	/* Who submits has found no slot free: all of them have been leased since the last look. */
	while (model->waiting > 0 && model->resting.first)
		pc__file_worker(
			pc__container_of(model->resting.first, struct pc_sched_worker, rest_place));
}

void pc__let_settle(struct pc_sched *sched)
{
	while (sched->young.first &&
	       sched->now_ns - sched->young.first->key >= sched->settings.min_residency_ns) {
		struct pc_sched_worker *worker = pc__container_of(
			sched->young.first, struct pc_sched_worker, young_place);

		pc__set_remove(&sched->young, &worker->young_place);
		pc__set_sum(&sched->devices[worker->device].idle, &worker->idle_place);
	}
}

/* The only function that changes a worker's state. */
static void move(struct pc_sched_worker *worker, enum worker_state state)
{
	assert(state > worker->state); /* no way leads back */
	leave_state(worker);
	worker->state = state;
	enter_state(worker);
	pc__review_floor(worker->model);
	pc__file_worker(worker);
}

struct pc_sched_worker *pc__find_worker(const struct pc_sched *sched, uint64_t id)
{
	struct pc_link *link = pc__set_at_least(&sched->workers, id, 0);

	return link && link->key == id ? pc__container_of(link, struct pc_sched_worker, by_id)
				       : NULL;
}

struct pc_sched_worker *pc__first_on(const struct pc_sched_model *model, enum worker_state state,
				     uint32_t device_mask)
{
	struct pc_link *first = NULL;

	for (struct pc_link *link = model->workers[state].first; link;
	     link = pc__set_at_least(&model->workers[state], link->key + 1, 0)) {
		if ((device_mask >> link->key & 1) && (!first || link->tie < first->tie))
			first = link;
	}
	return first ? pc__container_of(first, struct pc_sched_worker, by_state) : NULL;
}

struct pc_sched_worker *pc__first_in_state(const struct pc_sched_model *model,
					   enum worker_state state)
{
	return pc__first_on(model, state, UINT32_MAX);
}

struct pc_sched_worker *pc__first_live(const struct pc_sched_model *model)
{
	struct pc_sched_worker *ready = pc__first_in_state(model, WORKER_READY);
	struct pc_sched_worker *spawning = pc__first_in_state(model, WORKER_SPAWNING);

	return !ready || (spawning && spawning->id < ready->id) ? spawning : ready;
}

struct pc_sched_worker *pc__least_recently_used(const struct pc_sched_model *model)
{
	const struct pc_link *rests = model->resting.first;

	if (rests)
		return pc__container_of(rests, struct pc_sched_worker, rest_place);

	/* The last of those that are free without a lease. */
	const struct pc_link *link = pc__set_before(&model->free, 1, 0);

	return link ? pc__container_of(link, struct pc_sched_worker, free_place) : NULL;
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
	worker->model = model;
	worker->id = ++sched->last_worker_id; /* I8 */
	worker->may_go = model->spec.min_workers == 0;
	worker->device = device;
	worker->slots = model->spec.slots;
	worker->reserved_bytes = bytes;
	worker->spawned_ns = sched->now_ns;
	worker->start_deadline_ns = pc_time_add(sched->now_ns, model->spec.start_timeout_ns);
	return worker;
}

/* Puts a new worker on the books, as spawning. */
static void enter_worker(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;
	struct pc_sched *sched = model->sched;

	if (!sched->workers.first) {
		sched->maintenance_ns = pc_time_add(sched->now_ns,
						    sched->settings.maintenance_interval_ns);
	}
	model->load_asked = false;
	pc__set_insert(&sched->workers, &worker->by_id, worker->id, 0);
	enter_state(worker);
	pc__set_insert(&sched->starting, &worker->start_place, worker->start_deadline_ns,
		       worker->id);
	hold(worker, 1, worker->reserved_bytes);
	pc__review_floor(model);
	pc__file_worker(worker);
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
	enter_worker(worker);

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
	enter_worker(worker);
	if (loaded)
		pc__worker_ready(worker, 0);
	return worker;
}

/* ---- what the body knows of the workers whose slots it hands out ---- */

/* A worker that was there before the failure says nothing about the next load. */
void pc__note_answer(const struct pc_sched_worker *worker)
{
	if (worker->ready_ns >= worker->model->failed_ns)
		worker->model->failures_in_row = 0;
}

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
	if (!is_due_for_recycling(worker) || is_any_leaving(worker->model) || sched->draining)
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

static void send_stop(struct pc_sched_worker *worker, bool force)
{
	struct pc_sched *sched = worker->model->sched;

	if (!worker->leaving && (force || worker->lent == 0)) {
		worker->leaving = true;
		sched->devices[worker->device].leaving_bytes += worker->reserved_bytes;
		sched->room_changed = true;
	}
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

/* splitmix64 (Steele, Lea, Flood 2014): the jitter needs a seed, not a cipher. */
static uint64_t next_random(struct pc_sched *sched)
{
	uint64_t z = sched->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Rule 9: doubling from the minimum to the maximum, up to a quarter shorter by chance. */
static uint64_t backoff_ns(struct pc_sched *sched, uint32_t failures)
{
	const struct pc_sched_settings *settings = &sched->settings;
	uint64_t delay_ns = settings->backoff_min_ns;

	for (uint32_t i = 1; i < failures && delay_ns < settings->backoff_max_ns; i++)
		delay_ns = pc_time_add(delay_ns, delay_ns);
	if (delay_ns > settings->backoff_max_ns)
		delay_ns = settings->backoff_max_ns;
	return delay_ns - next_random(sched) % (delay_ns / 4 + 1);
}

static void back_off(struct pc_sched_model *model, const struct pc_error *cause)
{
	struct pc_sched *sched = model->sched;

	sched->counters.failed_workers++;
	if (model->failures_in_row < UINT32_MAX)
		model->failures_in_row++;
	model->failed_ns = sched->now_ns;
	model->retry_ns = pc_time_add(sched->now_ns, backoff_ns(sched, model->failures_in_row));
	model->load_asked = false;
	pc__set_remove(&sched->retries, &model->by_retry);
	pc__set_insert(&sched->retries, &model->by_retry, model->retry_ns, model->by_order.key);
	if (cause && cause->code) {
		*model->failure = *cause;
	} else {
		pc_error_clear(model->failure);
		pc_error_set(model->failure, PC_E_WORKER_FAILED, "the worker ended without a word");
	}
}

/* What becomes of those who wait, when the last worker of their model has broken. */
static void tell_waiting(struct pc_sched_model *model, bool while_loading)
{
	struct pc_error err = PC_ERROR_INIT;

	if (model->waiting == 0 || pc__live_workers(model) > 0)
		return;
	if (while_loading)
		pc__explain_load_failure(model, &err);
	else if (pc__is_breaker_open(model))
		pc__explain_backoff(model, &err);
	else
		return; /* nothing of theirs was lost; the next worker serves them */
	pc__reject_waiting(model, &err);
}

void pc__worker_broke(struct pc_sched_worker *worker, enum pc_stop_reason why,
		      const struct pc_error *cause)
{
	struct pc_sched_model *model = worker->model;
	bool while_loading = worker->state == WORKER_SPAWNING;

	if (worker->state == WORKER_STOPPING)
		return;
	pc__look(worker, false); /* answers until now count, and the leases must end */
	back_off(model, cause);
	pc__retire(worker, why, worker->leases + worker->lent > 0);
	tell_waiting(model, while_loading);
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
		back_off(model, cause);
		tell_waiting(model, while_loading);
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
