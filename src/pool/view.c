/* SPDX-License-Identifier: MIT */
/*
 * view.c - what an operator sees and does: workers, loading and unloading, and what would become of
 * a request. Any thread.
 */
#include <stdio.h>
#include <string.h>

#include "pool/inner.h"

/* ---- workers ---- */

bool pc_pool_has_workers(const struct pc_model *model)
{
	struct station *station =
		model ? atomic_load_explicit(&model->station, memory_order_acquire) : NULL;
	struct pc_sched_model_view view;
	struct turn turn;

	if (!station)
		return false;
	turn_begin(station->pool, &turn);
	pc_sched_get_model(station->brain, &view);
	turn_end(&turn);
	return view.workers > 0;
}

uint64_t pc_pool_next_worker_id(struct pc_pool *pool)
{
	uint64_t id;

	pthread_mutex_lock(&pool->lock);
	id = pc_sched_next_worker_id(pool->sched);
	pthread_mutex_unlock(&pool->lock);
	return id;
}

struct visitor {
	struct pc_pool *pool;
	void (*visit)(void *ctx, const struct pc_pool_worker *worker);
	void *ctx;
};

static void show_worker(void *ctx, const struct pc_sched_worker_view *view)
{
	struct visitor *visitor = ctx;
	const struct worker *worker = worker_find(visitor->pool, view->worker_id);
	struct pc_pool_worker shown = {
		.worker_id = view->worker_id,
		.model_key = view->model_key,
		.status = view->status,
		.slots = view->slots,
		.pending_requests = view->leases,
		.served = view->served,
		.last_used_ns = view->last_used_ns,
		.reserved_bytes = view->reserved_bytes,
	};

	if (worker) {
		shown.measured_bytes = worker->measured_bytes;
		if (worker->stage == STAGE_CLOSED)
			shown.pending_requests = (uint32_t)__builtin_popcountll(worker->held);
	}
	visitor->visit(visitor->ctx, &shown);
}

void pc_pool_each_worker(struct pc_pool *pool,
			 void (*visit)(void *ctx, const struct pc_pool_worker *worker), void *ctx)
{
	struct visitor visitor = { pool, visit, ctx };
	struct turn turn;

	turn_begin(pool, &turn);
	pc_sched_each_worker(pool->sched, show_worker, &visitor);
	turn_end(&turn);
}

int pc_pool_register_worker(struct pc_model *model, struct pc_engine_instance *instance,
			    uint64_t *ret_worker_id, struct pc_error *err)
{
	struct station *station;
	struct turn turn;
	uint64_t id;

	if (!model || !instance)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a worker needs a model and a loaded instance");

	int rc = station_of(model, &station, err);

	if (rc)
		return rc;
	if (station->thread_bound)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' of '%s' is bound to the thread that loads",
				    station->engine->name, model->text);

	struct worker *worker = worker_new(station);

	if (!worker)
		return pc_error_oom(err);
	worker->handed_over = true;
	worker->instance = instance;
	turn_begin(model->pool, &turn);
	rc = pc_sched_adopt(turn.pool->sched, turn.now_ns, station->brain, model->device,
			    model->memory_mb * MIB, false, &id, err);
	if (rc == 0)
		worker_enter(&turn, worker, id, model->memory_mb * MIB);
	turn_note(&turn, pc_sched_next_deadline(turn.pool->sched));
	turn_end(&turn);
	if (rc) {
		pc_free(worker->block);
		return rc;
	}
	rc = worker_start(worker, err);
	if (rc == 0 && ret_worker_id)
		*ret_worker_id = id;
	return rc;
}

int pc_pool_load(struct pc_model *model, struct pc_error *err)
{
	struct station *station;
	struct turn turn;
	uint64_t id;

	if (!model)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "which model is to be loaded?");

	int rc = station_of(model, &station, err);

	if (rc)
		return rc;
	turn_begin(model->pool, &turn);
	rc = pc_sched_load(turn.pool->sched, turn.now_ns, station->brain, &id, err);
	turn_note(&turn, pc_sched_next_deadline(turn.pool->sched));
	turn_end(&turn);
	return rc;
}

void pc_pool_unload(struct pc_model *model)
{
	struct station *station =
		model ? atomic_load_explicit(&model->station, memory_order_acquire) : NULL;
	struct turn turn;

	if (!station)
		return;
	turn_begin(station->pool, &turn);

	/* Not those that come meanwhile, for requests that wait. */
	uint64_t next_id = pc_sched_next_worker_id(turn.pool->sched);

	for (struct pc_link *link = turn.pool->workers.first; link; link = pc__set_next(link)) {
		const struct worker *worker = pc__container_of(link, struct worker, by_id);

		if (worker->id < next_id && worker->station == station)
			pc_sched_stop_worker(turn.pool->sched, turn.now_ns, worker->id, false,
					     NULL);
	}
	turn_note(&turn, pc_sched_next_deadline(turn.pool->sched));
	turn_end(&turn);
}

/* ---- what would happen ---- */

static enum pc_verdict verdict_of(enum pc_forecast_kind kind)
{
	static const enum pc_verdict verdicts[] = {
		[PC_FORECAST_GRANTED] = PC_VERDICT_GRANTED,
		[PC_FORECAST_QUEUED] = PC_VERDICT_QUEUED,
		[PC_FORECAST_LOADED] = PC_VERDICT_LOADED,
		[PC_FORECAST_WAITS] = PC_VERDICT_WAITS,
		[PC_FORECAST_REFUSED] = PC_VERDICT_REFUSED,
	};

	return verdicts[kind];
}

static void explain_locked(struct turn *turn, const struct station *station,
			   struct pc_explanation *explanation)
{
	const struct pc_ticket ticket = { .model = station->brain };
	struct pc_sched_forecast forecast;

	if (atomic_load_explicit(&station->word, memory_order_relaxed) & WORD_FREE) {
		explanation->verdict = PC_VERDICT_GRANTED;
		snprintf(explanation->text, sizeof(explanation->text),
			 "gets a free slot of '%s' at once", station->model->text);
		return;
	}
	pc_sched_explain(turn->pool->sched, turn->now_ns, &ticket, &forecast);
	explanation->verdict = verdict_of(forecast.kind);
	explanation->ahead = forecast.ahead;
	explanation->evicted = forecast.evicted;
	explanation->err = forecast.err;
	memcpy(explanation->text, forecast.text, sizeof(explanation->text));
}

void pc_pool_explain(struct pc_model *model, struct pc_explanation *ret_explanation)
{
	struct station *station;
	struct turn turn;

	*ret_explanation = (struct pc_explanation){ .verdict = PC_VERDICT_REFUSED };
	if (!model)
		pc_error_set(&ret_explanation->err, PC_E_INVALID_ARGUMENT,
			     "a request must name its model");
	if (!model || station_of(model, &station, &ret_explanation->err)) {
		snprintf(ret_explanation->text, sizeof(ret_explanation->text), "refused: %.600s",
			 ret_explanation->err.message);
		return;
	}
	turn_begin(station->pool, &turn);
	explain_locked(&turn, station, ret_explanation);
	turn_end(&turn);
}
