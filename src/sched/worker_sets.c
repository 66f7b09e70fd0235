/* SPDX-License-Identifier: MIT */
/*
 * worker_sets.c - the sets that a worker is in, which follow from its state and how it is used, and
 * who is first in them. It moves no worker from one state to another (worker.c does). Runs inside
 * event functions only.
 */
#include "sched/brain.h"

/* ---- filing ---- */

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
		pc__set_place(&model->due, &worker->due_place, pc__is_due_for_recycling(worker),
			      worker->id, 0);
	file_idle(worker, idle && !pinned);
	file_busy(worker, ready && !idle && !worker->wanted && !pinned);
}

void pc__enter_state(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;

	if (worker->state == WORKER_GONE)
		return;
	model->in_state[worker->state]++;
	pc__set_insert(&model->workers[worker->state], &worker->by_state, worker->device,
		       worker->id);
}

void pc__leave_state(struct pc_sched_worker *worker)
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

/* ---- finding ---- */

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
