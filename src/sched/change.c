/* SPDX-License-Identifier: MIT */
/*
 * change.c - models whose registration changes while they are served: another spec, out of service,
 * back again. The event functions that call this are in operator.c, where what follows from a
 * change (slots handed out, room looked for) is seen to.
 *
 *              retire                        its last waiting request is over
 *   SERVED ─────────────► RETIRED, waited for ─────────────► RETIRED, a husk
 *      ▲                        │                                 │
 *      └────────── update ──────┴─────────────────────────────────┘
 *
 * The replacement note. A worker is outdated when it was launched as the new spec would not launch
 * it: the body says so of all of them (relaunch), and the brain of those that have another number
 * of slots or live on a device that is not allowed any more. From the update on an outdated worker
 * is granted nothing: idle ones stop at once, those that load stop too, and leased ones when their
 * leases are over. So whoever is granted after an update gets what was asked for in it. The price
 * is one load; replacing one worker after the other would be smoother, and would answer some
 * requests in the old way and some in the new one for as long as the longest stream lasts.
 *
 * A retired model takes no new requests. Those it had taken are served, by a worker that is loaded
 * for them if there is none, and then its workers go; nothing keeps them, neither min_workers nor
 * pinned. The record stays, because tickets, affinity and the order of registration name it; the
 * same key brings it back into service. So there are never more records than keys were ever
 * registered.
 */
#include <string.h>

#include "sched/brain.h"

static bool is_outdated(const struct pc_sched_worker *worker, bool relaunch)
{
	const struct pc_sched_model_spec *spec = &worker->model->spec;

	return relaunch || worker->slots != spec->slots ||
	       !(spec->device_mask >> worker->device & 1);
}

static void replace_outdated(struct pc_sched_model *model, enum worker_state state, bool relaunch)
{
	struct pc_link *next;

	for (struct pc_link *link = model->workers[state].first; link; link = next) {
		struct pc_sched_worker *worker = pc__container_of(link, struct pc_sched_worker,
								  by_state);

		next = pc__set_next(link);
		if (is_outdated(worker, relaunch))
			pc__retire(worker, PC_STOP_REPLACED, false);
	}
}

/*
 * Where its workers stand follows from the spec, too: from pinned, slots, min_workers, idle_ttl_ns
 * and what ends in recycling. Comes before any of them goes, for a worker that goes leaves the sets
 * that the new spec knows of.
 */
static void refile_workers(struct pc_sched_model *model)
{
	for (enum worker_state state = WORKER_SPAWNING; state <= WORKER_READY; state++) {
		for (struct pc_link *link = model->workers[state].first; link;
		     link = pc__set_next(link)) {
			struct pc_sched_worker *worker = pc__container_of(
				link, struct pc_sched_worker, by_state);

			pc__set_remove(&model->due, &worker->due_place);
			pc__forget_floor(worker);
			pc__file_worker(worker);
		}
	}
	/* When it cools down, too: serve finds its place there. */
	pc__set_remove(&model->sched->cooling, &model->by_rest);
}

/* Whose time has come by the new spec. */
static void recycle_workers(struct pc_sched_model *model)
{
	struct pc_link *next;

	for (struct pc_link *link = model->workers[WORKER_READY].first; link; link = next) {
		next = pc__set_next(link);
		pc__worker_changed(pc__container_of(link, struct pc_sched_worker, by_state), 0);
	}
}

/* How earlier launches went says nothing about one that is different. */
static void forget_failures(struct pc_sched_model *model)
{
	model->failures_in_row = 0;
	model->retry_ns = 0;
	pc__set_remove(&model->sched->retries, &model->by_retry);
}

int pc__check_update(const struct pc_sched_model *model, const struct pc_sched_model_spec *spec,
		     struct pc_error *err)
{
	int rc = pc__check_spec(model->sched, spec, err);

	if (rc)
		return rc;
	if (strcmp(spec->key, model->spec.key) != 0)
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"key: '%s' cannot become '%s'; retire the one and add the other",
			model->spec.key, spec->key);
	if (spec->self_service != model->spec.self_service)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "self_service of '%s' cannot change: its tickets would end in "
				    "another way than they began",
				    spec->key);
	return 0;
}

void pc__update_model(struct pc_sched_model *model, const struct pc_sched_model_spec *spec,
		      bool relaunch)
{
	bool afresh = relaunch || model->retired;
	const char *key = model->spec.key;

	/* What was measured is worth more than what was said, unless something else is said. */
	if (afresh || spec->memory_bytes != model->spec.memory_bytes)
		pc__set_need(model, spec->memory_bytes);
	/* Where an operator wanted it, it may not be any more. */
	if (!(model->load_mask & spec->device_mask))
		model->load_asked = false;
	model->spec = *spec;
	model->spec.key = key;
	model->retired = false;
	if (afresh)
		forget_failures(model);
	refile_workers(model);
	replace_outdated(model, WORKER_SPAWNING, relaunch);
	replace_outdated(model, WORKER_READY, relaunch);
	recycle_workers(model);
	model->sched->room_changed = true;
}

void pc__retire_model(struct pc_sched_model *model)
{
	model->retired = true;
	model->load_asked = false;
	model->spec.min_workers = 0;
	model->spec.cold_start_workers = 1;
	model->spec.pinned = false;
	refile_workers(model);
	model->sched->room_changed = true;
}
