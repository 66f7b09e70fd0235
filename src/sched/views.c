/* SPDX-License-Identifier: MIT */
/* views.c - copies of the brain's state for those who show it. Decides and changes nothing. */
#include "sched/brain.h"

const char *pc_stop_reason_text(enum pc_stop_reason why)
{
	static const char *const texts[] = {
#define X(name, text) [PC_STOP_##name] = text,
		PC_STOP_REASON_LIST(X)
#undef X
	};

	return (unsigned)why < PC_ARRAY_LEN(texts) ? texts[why] : "unknown";
}

static enum pc_worker_status status_of(const struct pc_sched_worker *worker,
				       const struct pc_worker_use *use)
{
	if (worker->state == WORKER_SPAWNING)
		return PC_WORKER_SPAWNING;
	if (worker->state == WORKER_STOPPING || worker->state == WORKER_GONE)
		return PC_WORKER_STOPPING;
	if (use->leases > 0)
		return PC_WORKER_BUSY;
	return use->served > 0 ? PC_WORKER_IDLE : PC_WORKER_READY;
}

/* Who hands out the slots knows best how they are used. */
static struct pc_worker_use use_of(const struct pc_sched_worker *worker)
{
	const struct pc_sched *sched = worker->model->sched;
	struct pc_worker_use use = { worker->leases, worker->served, worker->last_used_ns };

	if (worker->model->spec.self_service && worker->state == WORKER_READY)
		sched->driver.look(sched->driver_ctx, worker->id, false, &use);
	return use;
}

static struct pc_sched_worker_view view_worker(const struct pc_sched_worker *worker)
{
	struct pc_worker_use use = use_of(worker);

	return (struct pc_sched_worker_view){
		.worker_id = worker->id,
		.model = worker->model,
		.model_owner = worker->model->spec.owner,
		.model_key = worker->model->spec.key,
		.status = status_of(worker, &use),
		.draining = worker->state == WORKER_DRAINING,
		.device = worker->device,
		.reserved_bytes = worker->reserved_bytes,
		.slots = worker->slots,
		.leases = use.leases,
		.served = use.served,
		.spawned_ns = worker->spawned_ns,
		.ready_ns = worker->ready_ns,
		.last_used_ns = use.last_used_ns,
	};
}

void pc_sched_each_worker(const struct pc_sched *sched,
			  void (*visit)(void *ctx, const struct pc_sched_worker_view *view),
			  void *ctx)
{
	for (struct pc_link *link = sched->workers.first; link; link = pc__set_next(link)) {
		struct pc_sched_worker_view view = view_worker(
			pc__container_of(link, struct pc_sched_worker, by_id));

		visit(ctx, &view);
	}
}

bool pc_sched_get_worker(const struct pc_sched *sched, uint64_t worker_id,
			 struct pc_sched_worker_view *ret_view)
{
	const struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (!worker)
		return false;
	*ret_view = view_worker(worker);
	return true;
}

static uint32_t leases_of(const struct pc_sched_model *model)
{
	uint32_t leases = 0;

	if (!model->spec.self_service)
		return model->leases;
	for (struct pc_link *link = model->workers[WORKER_READY].first; link;
	     link = pc__set_next(link))
		leases += use_of(pc__container_of(link, struct pc_sched_worker, by_state)).leases;
	return leases;
}

void pc_sched_get_model(const struct pc_sched_model *model, struct pc_sched_model_view *ret_view)
{
	*ret_view = (struct pc_sched_model_view){
		.key = model->spec.key,
		.owner = model->spec.owner,
		.memory_bytes = model->need_bytes,
		.workers = pc__live_workers(model) + model->in_state[WORKER_DRAINING],
		.spawning = model->in_state[WORKER_SPAWNING],
		.stopping = model->in_state[WORKER_STOPPING],
		.leases = leases_of(model),
		.waiting = model->waiting,
		.backoff_until_ns = pc__is_backing_off(model) ? model->retry_ns : 0,
		.failures_in_row = model->failures_in_row,
		.retired = model->retired,
	};
}

void pc_sched_each_model(const struct pc_sched *sched,
			 void (*visit)(void *ctx, const struct pc_sched_model_view *view),
			 void *ctx)
{
	for (struct pc_link *link = sched->models.first; link; link = pc__set_next(link)) {
		struct pc_sched_model_view view;

		pc_sched_get_model(pc__container_of(link, struct pc_sched_model, by_order), &view);
		visit(ctx, &view);
	}
}

void pc_sched_get_counters(const struct pc_sched *sched, struct pc_sched_counters *ret_counters)
{
	*ret_counters = sched->counters;
}

uint64_t pc_sched_next_worker_id(const struct pc_sched *sched)
{
	return sched->last_worker_id + 1;
}

static bool are_all_stuck(const struct pc_sched *sched)
{
	for (struct pc_link *link = sched->workers.first; link; link = pc__set_next(link)) {
		if (!pc__container_of(link, struct pc_sched_worker, by_id)->stuck)
			return false;
	}
	return true;
}

bool pc_sched_is_drained(const struct pc_sched *sched)
{
	return sched->draining && !sched->deadlines.first && sched->leases == 0 &&
	       are_all_stuck(sched);
}
