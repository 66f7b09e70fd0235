/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - copies of what the body knows, taken under its lock in one go and read without it,
 * so that rendering thousands of models holds up no request. Any loop's thread.
 */
#include <poolcore/clock.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/body_inner.h"
#include "daemon/logbook.h"

static void copy_worker_locked(struct body *body, const struct worker *worker,
			       struct worker_snapshot *out)
{
	struct pc_sched_worker_view view;

	*out = (struct worker_snapshot){
		.info = worker->info,
		.status = worker->info.status,
		.slots = worker->slots,
	};
	if (worker->departed || !pc_sched_get_worker(body->sched, worker->id, &view))
		return;
	if (out->status != PC_WORKER_STOPPING)
		out->status = view.status;
	out->leases = view.leases;
	out->served = view.served;
	out->reserved_bytes = view.reserved_bytes;
	out->draining = view.draining;

	uint64_t since = view.last_used_ns ? view.last_used_ns : view.ready_ns;
	uint64_t now = pc_clock_now_ns();

	if (since && !view.leases && now > since)
		out->idle_ns = now - since;
}

struct gathering {
	struct body *body;
	struct worker_snapshot *list;
	size_t count;
};

static void gather(void *ctx, struct worker *worker)
{
	struct gathering *gathering = ctx;

	copy_worker_locked(gathering->body, worker, &gathering->list[gathering->count++]);
}

static int by_age(const void *a, const void *b)
{
	const struct worker_snapshot *left = a, *right = b;
	size_t left_length = strlen(left->info.worker_id);
	size_t right_length = strlen(right->info.worker_id);

	if (left->info.spawned_wall_ms != right->info.spawned_wall_ms)
		return left->info.spawned_wall_ms < right->info.spawned_wall_ms ? -1 : 1;
	/* Those of one daemon differ in their number only, which is written without leading zeros;
	 * those of an earlier one begin with another word. */
	if (left_length != right_length)
		return left_length < right_length ? -1 : 1;
	return strcmp(left->info.worker_id, right->info.worker_id);
}

int body_snapshot_workers(struct daemon *daemon, struct worker_snapshot **ret_list,
			  size_t *ret_count, struct pc_error *err)
{
	struct body *body = daemon->body;
	struct gathering gathering = { .body = body };

	body_lock(body);
	gathering.list = pc_calloc(roster_count(&body->roster), sizeof(*gathering.list));
	if (gathering.list)
		roster_each(&body->roster, gather, &gathering);
	body_unlock_quietly(body);
	if (!gathering.list)
		return pc_error_oom(err);
	qsort(gathering.list, gathering.count, sizeof(*gathering.list), by_age);
	*ret_list = gathering.list;
	*ret_count = gathering.count;
	return 0;
}

int body_snapshot_worker(struct daemon *daemon, const char *worker_id,
			 struct worker_snapshot *ret_snapshot, struct pc_error *err)
{
	struct body *body = daemon->body;

	body_lock(body);

	const struct worker *worker = roster_find_named(&body->roster, worker_id);

	if (worker)
		copy_worker_locked(body, worker, ret_snapshot);
	body_unlock_quietly(body);
	return worker ? 0 : body_no_such_worker(worker_id, err);
}

int body_worker_log(struct daemon *daemon, const char *worker_id, struct logbook **ret_log,
		    struct pc_error *err)
{
	struct body *body = daemon->body;

	body_lock(body);

	const struct worker *worker = roster_find_named(&body->roster, worker_id);

	if (worker)
		*ret_log = logbook_ref(worker->log);
	body_unlock_quietly(body);
	return worker ? 0 : body_no_such_worker(worker_id, err);
}

static void copy_model_locked(const struct model *model, struct model_snapshot *out)
{
	*out = (struct model_snapshot){ .model = model };
	if (model->sched)
		pc_sched_get_model(model->sched, &out->view);
}

int body_snapshot_models(struct daemon *daemon, const struct generation *generation,
			 struct model_snapshot **ret_list, struct pc_error *err)
{
	struct body *body = daemon->body;
	struct model_snapshot *list = pc_calloc(generation->model_count, sizeof(*list));

	if (!list)
		return pc_error_oom(err);
	body_lock(body);
	for (size_t i = 0; i < generation->model_count; i++)
		copy_model_locked(&generation->models[i], &list[i]);
	body_unlock_quietly(body);
	*ret_list = list;
	return 0;
}

void body_snapshot_model(struct daemon *daemon, const struct model *model,
			 struct model_snapshot *ret_snapshot)
{
	body_lock(daemon->body);
	copy_model_locked(model, ret_snapshot);
	body_unlock_quietly(daemon->body);
}

void body_counters(struct daemon *daemon, struct pc_sched_counters *ret_counters)
{
	body_lock(daemon->body);
	pc_sched_get_counters(daemon->body->sched, ret_counters);
	body_unlock_quietly(daemon->body);
}
