/* SPDX-License-Identifier: MIT */
/*
 * body_workers.c - what the supervisor tells the body of workers: the events of a worker's life,
 * with their public records; and the workers of an earlier daemon. Called on loop 0, except where a
 * function says otherwise. It decides nothing: the brain does.
 */
#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>
#include <poolcore/memory.h>

#include <stdio.h>
#include <string.h>

#include "daemon/body_inner.h"
#include "daemon/token.h"

int body_no_such_worker(const char *worker_id, struct pc_error *err)
{
	pc_error_set(err, PC_E_WORKER_NOT_FOUND, "there is no worker '%.64s'; see GET /v2/workers",
		     worker_id);
	pc_error_detail(err, "worker_id", "%.64s", worker_id);
	return PC_E_WORKER_NOT_FOUND;
}

struct worker *body_next_order(struct daemon *daemon, struct worker_orders *ret_orders)
{
	struct body *body = daemon->body;

	body_lock(body);

	struct worker *worker = body->orders;

	if (worker) {
		body->orders = worker->next_order;
		if (!body->orders)
			body->last_order = NULL;
		worker->has_orders = false;
		*ret_orders = worker->orders;
		worker->orders = (struct worker_orders){ .spawn = false };
	}
	body_unlock_quietly(body);
	return worker;
}

static void forget_orders_locked(struct body *body, struct worker *worker)
{
	struct worker *before = NULL;

	for (struct worker *at = body->orders; at; before = at, at = at->next_order) {
		if (at != worker)
			continue;
		if (before)
			before->next_order = worker->next_order;
		else
			body->orders = worker->next_order;
		if (body->last_order == worker)
			body->last_order = before;
		break;
	}
	worker->has_orders = false;
}

void body_worker_name(struct daemon *daemon, uint64_t id, char ret_name[PC_WORKER_ID_MAX])
{
	body_lock(daemon->body);

	const struct worker *worker = roster_find_any(&daemon->body->roster, id);

	snprintf(ret_name, PC_WORKER_ID_MAX, "%s", worker ? worker->info.worker_id : "");
	body_unlock_quietly(daemon->body);
}

void body_worker_copy(struct daemon *daemon, struct worker *worker, struct pc_worker_info *ret_info)
{
	body_lock(daemon->body);
	*ret_info = worker->info;
	body_unlock_quietly(daemon->body);
}

void body_worker_addressed(struct daemon *daemon, struct worker *worker,
			   const struct http_target *target, const char *token)
{
	struct pc_worker_info *info = &worker->info;

	body_lock(daemon->body);
	worker->target = *target;
	info->port = target->port;
	snprintf(info->socket, sizeof(info->socket), "%s", target->socket);
	snprintf(info->spawn_token, sizeof(info->spawn_token), "%s", token);
	snprintf(info->boot_id, sizeof(info->boot_id), "%s", pc_boot_id());
	body_unlock_quietly(daemon->body);
}

void body_worker_launched(struct daemon *daemon, struct worker *worker, pid_t stub_pid,
			  uint64_t pidfd_inode)
{
	body_lock(daemon->body);
	worker->info.stub_pid = stub_pid;
	worker->info.pidfd_inode = pidfd_inode;
	daemon->body->next_tick_ns = pc_sched_worker_launched(daemon->body->sched,
							      pc_clock_now_ns(), worker->id);
	body_unlock(daemon->body);
}

void body_worker_started(struct daemon *daemon, struct worker *worker, pid_t pid,
			 uint64_t start_ticks)
{
	body_lock(daemon->body);
	worker->info.pid = pid;
	worker->info.start_ticks = start_ticks;
	worker->info.updated_wall_ms = pc_clock_wall_ms();
	body_unlock_quietly(daemon->body);
}

static void set_status_locked(struct worker *worker, enum pc_worker_status status)
{
	if (pc_worker_status_may_become(worker->info.status, status))
		worker->info.status = status;
	worker->info.updated_wall_ms = pc_clock_wall_ms();
}

void body_worker_status(struct daemon *daemon, struct worker *worker, enum pc_worker_status status)
{
	body_lock(daemon->body);
	set_status_locked(worker, status);
	body_unlock_quietly(daemon->body);
}

void body_worker_ready(struct daemon *daemon, struct worker *worker, uint64_t measured_bytes)
{
	struct body *body = daemon->body;
	struct pc_device_account account;

	/* The number may come from the worker itself; more than there is cannot be true. */
	pc_ledger_account(daemon->ledger, worker->device, &account);
	if (measured_bytes > account.total_bytes)
		measured_bytes = account.total_bytes;
	body_lock(body);
	set_status_locked(worker, PC_WORKER_READY);
	worker->info.measured_bytes = measured_bytes;
	if (measured_bytes > worker->info.reserved_bytes)
		worker->info.reserved_bytes = measured_bytes;
	/*
	 * What a worker holds when it has just loaded is a lower bound: mapped weights are not all
	 * there yet, and buffers for requests come with the requests. So a reservation grows to the
	 * measurement and never shrinks to it.
	 */
	if (measured_bytes < worker->info.reserved_bytes)
		measured_bytes = 0;
	body->next_tick_ns = pc_sched_worker_ready(body->sched, pc_clock_now_ns(), worker->id,
						   measured_bytes);
	body_unlock(body);
}

struct holder {
	int gpu_id;
	pid_t session;
	struct worker *worker;
};

static void match_holder(void *ctx, struct worker *worker)
{
	struct holder *holder = ctx;

	if (worker->info.stub_pid == holder->session && worker->info.gpu_id == holder->gpu_id)
		holder->worker = worker;
}

/* More than there is cannot be true; what it takes grows its reservation. Whether it did. */
static bool measured_locked(struct body *body, struct worker *worker, uint64_t bytes)
{
	struct pc_device_account account;
	bool grew;

	pc_ledger_account(body->daemon->ledger, worker->device, &account);
	if (bytes > account.total_bytes)
		bytes = account.total_bytes;
	if (bytes > worker->info.measured_bytes)
		worker->info.measured_bytes = bytes;
	grew = bytes > worker->info.reserved_bytes;
	if (grew)
		worker->info.reserved_bytes = bytes;
	body->next_tick_ns = pc_sched_worker_changed(body->sched, pc_clock_now_ns(), worker->id,
						     bytes);
	return grew;
}

bool body_worker_measured(struct daemon *daemon, struct worker *worker, uint64_t bytes)
{
	body_lock(daemon->body);

	bool grew = measured_locked(daemon->body, worker, bytes);

	body_unlock(daemon->body);
	return grew;
}

void body_worker_holds(struct daemon *daemon, int gpu_id, pid_t session, uint64_t bytes)
{
	struct holder holder = { .gpu_id = gpu_id, .session = session };
	struct body *body = daemon->body;

	body_lock(body);
	roster_each(&body->roster, match_holder, &holder);
	if (holder.worker)
		measured_locked(body, holder.worker, bytes);
	body_unlock(body);
}

uint32_t body_worker_leases(struct daemon *daemon, const struct worker *worker)
{
	struct pc_sched_worker_view view = { .leases = 0 };

	body_lock(daemon->body);
	pc_sched_get_worker(daemon->body->sched, worker->id, &view);
	body_unlock_quietly(daemon->body);
	return view.leases;
}

void body_worker_failed(struct daemon *daemon, struct worker *worker, const struct pc_error *cause)
{
	struct body *body = daemon->body;

	body_lock(body);
	body->next_tick_ns = pc_sched_worker_failed(body->sched, pc_clock_now_ns(), worker->id,
						    cause);
	body_unlock(body);
}

void body_worker_stuck(struct daemon *daemon, struct worker *worker)
{
	struct body *body = daemon->body;

	body_lock(body);
	body->next_tick_ns = pc_sched_worker_stuck(body->sched, pc_clock_now_ns(), worker->id);
	body_unlock(body);
}

void body_worker_ended(struct daemon *daemon, struct worker *worker,
		       const struct pc_worker_exit *exit)
{
	body_lock(daemon->body);
	worker->info.last_exit = *exit;
	body_unlock_quietly(daemon->body);
}

/* `err` NULL: they were heard. */
static void answer_reports_locked(struct worker *worker, const struct pc_error *err)
{
	for (struct lease *lease = worker->reports, *next; lease; lease = next) {
		next = lease->next;
		lease->state = err ? LEASE_REJECTED : LEASE_HEARD;
		if (err)
			lease->error = *err;
		body_deliver_locked(lease);
	}
	worker->reports = NULL;
}

void body_answer_reports(struct daemon *daemon, struct worker *worker, const struct pc_error *err)
{
	body_lock(daemon->body);
	worker->ready_recorded |= !err;
	answer_reports_locked(worker, err);
	body_unlock(daemon->body);
}

void body_worker_gone(struct daemon *daemon, struct worker *worker,
		      const struct pc_worker_exit *exit, const struct pc_error *cause)
{
	struct pc_error departed = PC_ERROR_INIT;
	struct generation *generation = worker->model ? worker->model->generation : NULL;
	struct body *body = daemon->body;
	uint64_t id = worker->id;

	body_no_such_worker(worker->info.worker_id, &departed);
	body_lock(body);
	answer_reports_locked(worker, &departed);
	worker->model = NULL;
	worker->info.status = PC_WORKER_STOPPED;
	worker->info.updated_wall_ms = pc_clock_wall_ms();
	if (exit)
		worker->info.last_exit = *exit;
	forget_orders_locked(body, worker);
	roster_depart(&body->roster, worker);
	body->next_tick_ns = pc_sched_worker_gone(body->sched, pc_clock_now_ns(), id, cause);
	body_unlock(body);
	generation_unref(generation);
}

/* ---- an earlier daemon's workers ---- */

static int adopt_locked(struct body *body, struct worker *worker, bool loaded, struct pc_error *err)
{
	struct pc_worker_info *info = &worker->info;
	uint64_t bytes = info->reserved_bytes > info->measured_bytes ? info->reserved_bytes
								     : info->measured_bytes;
	int rc = pc_sched_adopt(body->sched, pc_clock_now_ns(), worker->model->sched,
				worker->device, bytes, loaded, &worker->id, err);

	body->next_tick_ns = pc_sched_next_deadline(body->sched);
	if (rc)
		return rc;
	info->reserved_bytes = bytes;
	worker->ready_recorded = loaded;
	roster_add(&body->roster, worker);
	return 0;
}

/* With the address that its record has. */
static struct worker *new_adopted(struct model *model, unsigned device,
				  const struct pc_worker_info *info)
{
	struct worker *worker = body_new_worker(model, device);

	if (!worker)
		return NULL;
	worker->info = *info;
	if (!model)
		worker->slots = info->slots > 0 ? info->slots : 1;
	worker->target.port = info->port;
	snprintf(worker->target.socket, sizeof(worker->target.socket), "%.*s",
		 (int)sizeof(worker->target.socket) - 1, info->socket);
	return worker;
}

int body_adopt(struct daemon *daemon, struct model *model, const struct pc_worker_info *info,
	       bool loaded, struct worker **ret_worker, struct pc_error *err)
{
	int device = pc_ledger_find(daemon->ledger, info->device);
	struct worker *worker;
	int rc;

	if (!model->sched || device < 0)
		return body_refuse_absent_device(model, err);
	worker = new_adopted(model, (unsigned)device, info);
	if (!worker)
		return pc_error_oom(err);
	/* Ready and idle are the brain's to tell apart, from now on. */
	worker->info.status = loaded ? PC_WORKER_READY : PC_WORKER_SPAWNING;
	body_lock(daemon->body);
	rc = adopt_locked(daemon->body, worker, loaded, err);
	body_unlock(daemon->body);
	if (rc)
		worker_free(worker);
	else
		*ret_worker = worker;
	return rc;
}

/* The brain's model of that name, if need be a new one, which has no owner and which no request can
 * name. Retiring it as well would be an event, and more may be to be adopted before any. */
static int find_or_add_locked(struct body *body, const char *key, struct pc_sched_model **ret_model,
			      struct pc_error *err)
{
	const struct pc_sched_model_spec spec = {
		.key = key,
		.device_mask = 1,
		.memory_bytes = 1,
		.slots = 1,
		.max_workers = 1,
		.cold_start_workers = 1,
		.queue_capacity = 1,
		.start_timeout_ns = PC_NS_PER_SEC,
	};
	struct pc_sched_model *model = pc_sched_find_model(body->sched, key);
	int rc = model ? 0 : pc_sched_add_model(body->sched, &spec, &model, err);

	if (!rc)
		*ret_model = model;
	return rc;
}

/* What it takes of a device that is not there any more is promised to nobody. */
static int adopt_leaving_locked(struct body *body, struct worker *worker, bool has_device,
				enum pc_stop_reason why, struct pc_error *err)
{
	struct pc_worker_info *info = &worker->info;
	uint64_t bytes = info->reserved_bytes > info->measured_bytes ? info->reserved_bytes
								     : info->measured_bytes;
	struct pc_sched_model *model;
	int rc = find_or_add_locked(body, info->model_id, &model, err);

	if (rc == PC_E_INVALID_ARGUMENT) /* somebody edited the record: no model has such a name */
		rc = find_or_add_locked(body, info->worker_id, &model, NULL);
	if (!rc)
		rc = pc_sched_adopt_leaving(body->sched, pc_clock_now_ns(), model, worker->device,
					    has_device ? bytes : 0, why, &worker->id, err);
	body->next_tick_ns = pc_sched_next_deadline(body->sched);
	if (rc)
		return rc;
	info->reserved_bytes = has_device ? bytes : 0;
	info->status = PC_WORKER_STOPPING;
	roster_add(&body->roster, worker);
	return 0;
}

int body_adopt_leaving(struct daemon *daemon, const struct pc_worker_info *info,
		       enum pc_stop_reason why, bool runs, struct worker **ret_worker,
		       struct pc_error *err)
{
	int device = pc_ledger_find(daemon->ledger, info->device);
	struct worker *worker = new_adopted(NULL, device < 0 ? 0 : (unsigned)device, info);
	int rc;

	if (!worker)
		return pc_error_oom(err);
	body_lock(daemon->body);
	rc = adopt_leaving_locked(daemon->body, worker, device >= 0, why, err);
	if (!rc && runs) {
		worker->orders.stop = true;
		worker->orders.reason = why;
		body_order_locked(daemon->body, worker);
	}
	body_unlock(daemon->body);
	if (rc)
		worker_free(worker);
	else
		*ret_worker = worker;
	return rc;
}

/* ---- reports of readiness ---- */

int body_report_ready(struct daemon *daemon, struct lease *lease, const char *worker_id,
		      const char *token, uint64_t measured_bytes, struct pc_error *err)
{
	struct body *body = daemon->body;
	int rc = 0;

	body_lock(body);

	struct worker *worker = roster_find_named(&body->roster, worker_id);

	if (!worker || worker->departed) {
		rc = body_no_such_worker(worker_id, err);
	} else if (!token_matches(worker->info.spawn_token, token, strlen(token))) {
		rc = pc_error_set(err, PC_E_UNAUTHORIZED,
				  "the spawn token of worker '%.48s' differs", worker_id);
	} else if (!worker->ready_recorded && worker->info.status <= PC_WORKER_READY) {
		lease->state = LEASE_REPORTING;
		lease->worker_id = worker->id;
		lease->next = worker->reports;
		worker->reports = lease;
		worker->orders.ready = true;
		worker->orders.ready_bytes = measured_bytes;
		body_order_locked(body, worker);
		rc = 1;
	}
	body_unlock(body);
	return rc;
}
