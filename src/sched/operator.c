/* SPDX-License-Identifier: MIT */
/*
 * operator.c - the events that come from whoever runs the pool and not from its work: a worker is
 * loaded without a request, taken in, or stopped; a model changes or is taken out of service; so
 * does maintenance. Each is one event like those of sched.c, whose frame it uses.
 */
#include "sched/brain.h"

/* ---- load ---- */

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
	pc__enter(sched, now_ns);

	int rc = load(model, device_mask, &worker_id, err);

	pc__leave(sched);
	if (rc == 0)
		*ret_worker_id = worker_id;
	return rc;
}

/* ---- adoption ---- */

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
		pc__serve(model);
		return 0;
	}
	pc_ledger_account(model->sched->ledger, device, &account);
	if (account.reserved_bytes <= account.budget_bytes &&
	    account.budget_bytes - account.reserved_bytes >= memory_bytes)
		return pc_error_oom(err);
	pc__explain_device(model, device, memory_bytes, err);
	return PC_E_INSUFFICIENT_MEMORY;
}

/*
 * Whether room is wanted, and whose, is settled by the next event, which is due at once. Of several
 * workers that are there the first would otherwise be judged without the others: a min_workers of
 * two would be filled up with a fresh one, and the second refused.
 */
static void leave_unsettled(struct pc_sched *sched)
{
	sched->recheck_ns = sched->now_ns;
	sched->room_changed = true;
	sched->inside = false;
}

int pc_sched_adopt(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
		   unsigned device, uint64_t memory_bytes, bool loaded, uint64_t *ret_worker_id,
		   struct pc_error *err)
{
	if (!model || !ret_worker_id)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a worker needs a model and a place for its id");
	pc__enter(sched, now_ns);

	int rc = adopt(model, device, memory_bytes, loaded, ret_worker_id, err);

	leave_unsettled(sched);
	return rc;
}

int pc_sched_adopt_leaving(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
			   unsigned device, uint64_t memory_bytes, enum pc_stop_reason why,
			   uint64_t *ret_worker_id, struct pc_error *err)
{
	const struct pc_sched_worker *worker;

	if (!model || !ret_worker_id || device >= sched->device_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a worker needs a model, a device that there is, and a place "
				    "for its id");
	pc__enter(sched, now_ns);
	worker = pc__adopt_leaving(model, device, memory_bytes, why);
	leave_unsettled(sched);
	if (!worker)
		return pc_error_oom(err);
	*ret_worker_id = worker->id;
	return 0;
}

/* ---- stop ---- */

int pc_sched_stop_worker(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id, bool force,
			 struct pc_error *err)
{
	struct pc_sched_worker *worker = pc__find_worker(sched, worker_id);

	if (!worker) {
		return pc_error_set(err, PC_E_WORKER_NOT_FOUND, "there is no worker %llu",
				    (unsigned long long)worker_id);
	}
	pc__enter(sched, now_ns);
	worker->model->keep_floor = false; /* until the model is asked for again */
	pc__retire(worker, PC_STOP_REQUESTED, force);
	pc__serve(worker->model);
	pc__leave(sched);
	return 0;
}

/* ---- models and settings ---- */

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
	pc__enter(sched, now_ns);
	pc__update_model(model, spec, relaunch);
	pc__serve(model);
	pc__leave(sched);
	return 0;
}

uint64_t pc_sched_retire_model(struct pc_sched *sched, uint64_t now_ns,
			       struct pc_sched_model *model)
{
	pc__enter(sched, now_ns);
	pc__retire_model(model);
	pc__serve(model);
	return pc__leave(sched);
}

int pc_sched_set_maintenance(struct pc_sched *sched, uint64_t now_ns,
			     uint64_t maintenance_interval_ns, uint64_t cooldown_idle_ns,
			     struct pc_error *err)
{
	uint64_t next_ns;

	if (maintenance_interval_ns == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "maintenance_interval_ns must be more than 0");
	pc__enter(sched, now_ns);
	sched->settings.maintenance_interval_ns = maintenance_interval_ns;
	pc__set_cooldown(sched, cooldown_idle_ns);
	next_ns = pc_time_add(sched->now_ns, maintenance_interval_ns);
	if (next_ns < sched->maintenance_ns && sched->workers.first)
		sched->maintenance_ns = next_ns;
	pc__leave(sched);
	return 0;
}
