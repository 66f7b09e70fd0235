/* SPDX-License-Identifier: MIT */
/*
 * body.c - the daemon as a body of the brain.
 *
 * One mutex (`lock`) guards the scheduler, the workers' public records, the loops' inboxes and the
 * supervisor's orders. It is held for the length of one event, never across a system call, a log
 * line or a callback into the gateway.
 *
 * How an action travels: the brain calls grant, reject, spawn or stop while we hold the lock. Grant
 * and reject mark the lease and put it into its loop's inbox; spawn and stop note an order for the
 * supervisor, which is loop 0's. After the event the lock is dropped and every loop with something
 * new is woken; a loop that caused the event itself delivers at once.
 *
 * Lock order: the body's lock, then nothing. A logbook has its own lock and is never used with ours
 * held.
 */
#include "daemon/body.h"

#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/memory.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/lifecycle.h>

#include "daemon/body_inner.h"
#include "daemon/logbook.h"
#include "daemon/loop.h"
#include "daemon/token.h"

/* ---- the lock, and what happens when it is dropped ---- */

static void wake_locked(struct loop *loop)
{
	loop->wake_wanted = true;
}

/* One worker of the brain's that has no record here. */
struct stillborn {
	const struct roster *roster;
	uint64_t id;
};

static void find_stillborn(void *ctx, const struct pc_sched_worker_view *view)
{
	struct stillborn *stillborn = ctx;

	if (!stillborn->id && !roster_find(stillborn->roster, view->worker_id))
		stillborn->id = view->worker_id;
}

/* Tells the brain about workers for whose record there was no memory: they are gone before they
 * were. */
static void bury_stillborn_locked(struct body *body)
{
	while (body->stillbirth) {
		struct stillborn stillborn = { .roster = &body->roster };
		struct pc_error cause = PC_ERROR_INIT;

		pc_sched_each_worker(body->sched, find_stillborn, &stillborn);
		body->stillbirth = stillborn.id != 0;
		if (!stillborn.id)
			return;
		pc_error_oom(&cause);
		body->next_tick_ns = pc_sched_worker_gone(body->sched, pc_clock_now_ns(),
							  stillborn.id, &cause);
	}
}

/*
 * Drops the lock after an event and wakes the loops that have news; the caller's own delivers when
 * its event is over and is spared the system call. uv_async_send may be called from any thread.
 */
static void unlock_from(struct body *body, const struct loop *self)
{
	struct daemon *daemon = body->daemon;
	struct retiring *retired = NULL;

	bury_stillborn_locked(body);
	if (body->retiring)
		retired = body_take_retired_locked(body);
	if (body->next_tick_ns < body->armed_tick_ns)
		wake_locked(&daemon->loops[0]);
	if (body->draining && !body->told_drained && pc_sched_is_drained(body->sched)) {
		body->told_drained = true;
		wake_locked(&daemon->loops[0]);
	}
	for (size_t i = 0; i < daemon->loop_count; i++) {
		struct loop *loop = &daemon->loops[i];

		if (!loop->deaf && (loop->wake_wanted || (loop->inbox_news && loop != self)))
			uv_async_send(&loop->wake);
		loop->wake_wanted = loop->inbox_news = false;
	}
	uv_mutex_unlock(&body->lock);
	body_free_retired(retired);
}

void body_unlock(struct body *body)
{
	unlock_from(body, NULL);
}

/* ---- the brain's actions; all of them run under the lock and only note things down ---- */

static void order_locked(struct body *body, struct worker *worker)
{
	wake_locked(&body->daemon->loops[0]);
	if (worker->has_orders)
		return;
	worker->has_orders = true;
	worker->next_order = NULL;
	if (body->last_order)
		body->last_order->next_order = worker;
	else
		body->orders = worker;
	body->last_order = worker;
}

/* A record without a public part. */
static struct worker *new_worker(struct model *model, unsigned device)
{
	struct worker *worker = pc_calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->log = logbook_create();
	if (!worker->log) {
		worker_free(worker);
		return NULL;
	}
	worker->model = model;
	generation_ref(model->generation);
	worker->slots = model->entry->slots;
	worker->device = device;
	return worker;
}

static struct worker *make_worker(struct body *body, const struct pc_spawn_order *order)
{
	struct worker *worker = new_worker(order->model_owner, order->device);
	struct pc_device_account account;

	if (!worker)
		return NULL;
	worker->id = order->worker_id;
	worker->slots = order->slots;

	struct pc_worker_info *info = &worker->info;

	pc_ledger_account(body->daemon->ledger, order->device, &account);
	snprintf(info->worker_id, sizeof(info->worker_id), "w-%s-%llu", body->daemon->instance,
		 (unsigned long long)order->worker_id);
	snprintf(info->backend, sizeof(info->backend), "%s", worker->model->backend->name);
	snprintf(info->model_ref, sizeof(info->model_ref), "%s", worker->model->entry->model_ref);
	snprintf(info->model_id, sizeof(info->model_id), "%s", worker->model->entry->id);
	snprintf(info->device, sizeof(info->device), "%s", account.name);
	if (sscanf(account.name, "gpu%d", &info->gpu_id) != 1)
		info->gpu_id = -1;
	info->slots = order->slots;
	info->status = PC_WORKER_SPAWNING;
	info->reserved_bytes = order->reserved_bytes;
	info->spawned_wall_ms = info->updated_wall_ms = pc_clock_wall_ms();
	return worker;
}

static void action_spawn(void *ctx, const struct pc_spawn_order *order)
{
	struct body *body = ctx;
	struct worker *worker = make_worker(body, order);

	if (!worker) {
		body->stillbirth = true;
		return;
	}
	roster_add(&body->roster, worker);
	worker->orders.spawn = true;
	order_locked(body, worker);
}

static void action_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	struct body *body = ctx;
	struct worker *worker = roster_find(&body->roster, worker_id);

	if (!worker)
		return; /* a stillborn one, to be told after the event */
	if (!worker->orders.stop)
		worker->orders.reason = why;
	worker->orders.stop = true;
	worker->orders.force |= force;
	worker->info.status = PC_WORKER_STOPPING;
	order_locked(body, worker);
}

static void deliver_locked(struct lease *lease)
{
	struct loop *loop = lease->loop;

	lease->next = NULL;
	if (loop->inbox_tail)
		loop->inbox_tail->next = lease;
	else
		loop->inbox_head = lease;
	loop->inbox_tail = lease;
	loop->inbox_news = true;
}

static void action_grant(void *ctx, struct pc_ticket *ticket, uint64_t worker_id)
{
	struct body *body = ctx;
	struct lease *lease = (struct lease *)ticket;
	struct worker *worker = roster_find(&body->roster, worker_id);

	assert(worker); /* only ready workers get grants (I3), and those have a record */
	lease->state = LEASE_GRANTED;
	lease->worker_id = worker_id;
	lease->target = worker->target;
	deliver_locked(lease);
}

static void action_reject(void *ctx, struct pc_ticket *ticket, const struct pc_error *err)
{
	struct body *body = ctx;
	struct lease *lease = (struct lease *)ticket;
	const char *number = pc_error_detail_get(err, "worker_id");
	const struct worker *worker = NULL;

	lease->state = LEASE_REJECTED;
	lease->error = *err;
	/* The brain knows workers by their number; everybody else by their name. */
	if (number)
		worker = roster_find(&body->roster, strtoull(number, NULL, 10));
	if (worker)
		pc_error_detail(&lease->error, "worker_id", "%s", worker->info.worker_id);
	deliver_locked(lease);
}

static const struct pc_sched_driver driver = {
	.spawn = action_spawn,
	.stop = action_stop,
	.grant = action_grant,
	.reject = action_reject,
};

/* ---- creation ---- */

int body_create(struct daemon *daemon, struct body **ret_body, struct pc_error *err)
{
	const struct pc_config *config = daemon->generation->config;
	struct pc_sched_settings settings;
	struct body *body = pc_calloc(1, sizeof(*body));
	int rc;

	if (!body)
		return pc_error_oom(err);
	body->daemon = daemon;
	body->next_tick_ns = body->armed_tick_ns = PC_TIME_NEVER;
	if (uv_mutex_init(&body->lock)) {
		pc_free(body);
		return pc_error_oom(err);
	}
	pc_sched_settings_init(&settings);
	settings.request_timeout_ns = config->pool_request_timeout_secs * PC_NS_PER_SEC;
	settings.maintenance_interval_ns = config->pool_maintenance_interval_secs * PC_NS_PER_SEC;
	settings.cooldown_idle_ns = config->pool_cooldown_idle_minutes * 60 * PC_NS_PER_SEC;
	settings.seed = (uint64_t)pc_clock_wall_ms();
	rc = pc_sched_create(&settings, &driver, body, daemon->ledger, &body->sched, err);
	if (!rc)
		rc = body_install_first(body, err);
	if (rc) {
		body_destroy(body);
		return rc;
	}
	*ret_body = body;
	return 0;
}

void body_destroy(struct body *body)
{
	if (!body)
		return;
	pc_sched_destroy(body->sched);
	roster_fini(&body->roster);
	body_free_retired(body->retiring);
	uv_mutex_destroy(&body->lock);
	pc_free(body);
}

/* ---- requests ---- */

static int refuse_absent_device(const struct model *model, struct pc_error *err)
{
	const char *device = model->entry->device[0] ? model->entry->device
						     : model->backend->device;

	pc_error_set(err, PC_E_NO_WORKERS,
		     "model '%s' is to run on '%s', and this machine has no such device",
		     model->entry->id, device);
	pc_error_detail(err, "device", "%s", device);
	return PC_E_NO_WORKERS;
}

void body_submit(struct daemon *daemon, struct lease *lease, struct model *model)
{
	struct body *body = daemon->body;

	lease->ticket.model = model->sched;
	lease->state = LEASE_WAITING;
	pc_error_clear(&lease->error);
	body_lock(body);
	if (model->sched) {
		body->next_tick_ns = pc_sched_submit(body->sched, pc_clock_now_ns(),
						     &lease->ticket);
	} else {
		lease->state = LEASE_REJECTED;
		refuse_absent_device(model, &lease->error);
		deliver_locked(lease);
	}
	unlock_from(body, lease->loop);
}

void body_release(struct daemon *daemon, struct lease *lease, enum pc_outcome outcome)
{
	struct body *body = daemon->body;

	assert(lease->state == LEASE_GRANTED);
	body_lock(body);
	lease->state = LEASE_NONE;
	body->next_tick_ns = pc_sched_release(body->sched, pc_clock_now_ns(), &lease->ticket,
					      outcome);
	unlock_from(body, lease->loop);
}

static void take_from_inbox_locked(struct lease *lease)
{
	struct loop *loop = lease->loop;
	struct lease *before = NULL;

	for (struct lease *at = loop->inbox_head; at; before = at, at = at->next) {
		if (at != lease)
			continue;
		if (before)
			before->next = lease->next;
		else
			loop->inbox_head = lease->next;
		if (loop->inbox_tail == lease)
			loop->inbox_tail = before;
		return;
	}
}

static void take_from_reports_locked(struct body *body, struct lease *lease)
{
	/* It lives: a worker that goes answers all of them. */
	struct lease **at = &roster_find(&body->roster, lease->worker_id)->reports;

	while (*at != lease)
		at = &(*at)->next;
	*at = lease->next;
}

void body_withdraw(struct daemon *daemon, struct lease *lease)
{
	struct body *body = daemon->body;
	uint64_t now = pc_clock_now_ns();

	body_lock(body);
	switch (lease->state) {
	case LEASE_WAITING:
		body->next_tick_ns = pc_sched_cancel(body->sched, now, &lease->ticket);
		break;
	case LEASE_GRANTED:
		take_from_inbox_locked(lease);
		body->next_tick_ns = pc_sched_release(body->sched, now, &lease->ticket,
						      PC_OUTCOME_CANCELLED);
		break;
	case LEASE_REPORTING:
		take_from_reports_locked(body, lease);
		break;
	case LEASE_REJECTED:
	case LEASE_HEARD:
		take_from_inbox_locked(lease);
		break;
	case LEASE_NONE:
		break;
	}
	lease->state = LEASE_NONE;
	unlock_from(body, lease->loop);
}

void body_worker_lost(struct daemon *daemon, const struct lease *lease, bool nobody_listens,
		      const struct pc_error *cause)
{
	struct body *body = daemon->body;
	pid_t pid;

	body_lock(body);

	const struct worker *worker = roster_find(&body->roster, lease->worker_id);

	pid = worker ? worker->info.pid : 0;
	body_unlock_quietly(body);
	if (pid == 0 || !(nobody_listens || pc_process_is_ending(pid)))
		return;
	body_lock(body);
	body->next_tick_ns = pc_sched_worker_failed(body->sched, pc_clock_now_ns(),
						    lease->worker_id, cause);
	unlock_from(body, lease->loop);
}

/* Belongs to loop.h, and stands here because the inbox is under the body's lock. */
void loop_deliver(struct loop *loop)
{
	struct body *body = loop->daemon->body;

	if (loop->delivering)
		return; /* an outcome's handler caused this; the loop below goes on */
	loop->delivering = true;
	for (;;) {
		body_lock(body);

		struct lease *lease = loop->inbox_head;

		if (lease) {
			loop->inbox_head = lease->next;
			if (!loop->inbox_head)
				loop->inbox_tail = NULL;
		}
		body_unlock_quietly(body);
		if (!lease)
			break;
		lease->on_outcome(lease);
	}
	loop->delivering = false;
}

/* ---- workers ---- */

static int no_such_worker(const char *worker_id, struct pc_error *err)
{
	pc_error_set(err, PC_E_WORKER_NOT_FOUND, "there is no worker '%.48s'", worker_id);
	pc_error_detail(err, "worker_id", "%.48s", worker_id);
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
	body_unlock_quietly(daemon->body);
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
		deliver_locked(lease);
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
	struct generation *generation = worker->model->generation;
	struct body *body = daemon->body;
	uint64_t id = worker->id;

	no_such_worker(worker->info.worker_id, &departed);
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

uint64_t body_tick(struct daemon *daemon)
{
	struct body *body = daemon->body;

	body_lock(body);

	uint64_t next = body->armed_tick_ns = body->next_tick_ns = pc_sched_tick(body->sched,
										 pc_clock_now_ns());

	body_unlock(body);
	return next;
}

uint64_t body_next_tick(struct daemon *daemon)
{
	struct body *body = daemon->body;

	body_lock(body);

	uint64_t next = body->armed_tick_ns = body->next_tick_ns;

	body_unlock_quietly(body);
	return next;
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

int body_adopt(struct daemon *daemon, struct model *model, const struct pc_worker_info *info,
	       bool loaded, struct worker **ret_worker, struct pc_error *err)
{
	int device = pc_ledger_find(daemon->ledger, info->device);
	struct worker *worker;
	int rc;

	if (!model->sched || device < 0)
		return refuse_absent_device(model, err);
	worker = new_worker(model, (unsigned)device);
	if (!worker)
		return pc_error_oom(err);
	worker->info = *info;
	worker->target.port = info->port;
	snprintf(worker->target.socket, sizeof(worker->target.socket), "%.*s",
		 (int)sizeof(worker->target.socket) - 1, info->socket);
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

/* ---- the operator ---- */

static int start_worker_locked(struct body *body, struct model *model, uint32_t device_mask,
			       uint16_t port, char *ret_id, struct pc_error *err)
{
	uint64_t id;
	int rc = pc_sched_load_on(body->sched, pc_clock_now_ns(), model->sched, device_mask, &id,
				  err);
	struct worker *worker = rc || !id ? NULL : roster_find(&body->roster, id);

	body->next_tick_ns = pc_sched_next_deadline(body->sched);
	ret_id[0] = '\0';
	if (rc)
		return rc;
	if (!worker)
		return id ? pc_error_oom(err) : 0;
	memcpy(ret_id, worker->info.worker_id, sizeof(worker->info.worker_id));
	if (!port)
		return 0;
	if (!worker->orders.spawn) {
		pc_error_set(err, PC_E_ALREADY_EXISTS,
			     "worker %s of '%s' is there already, on a port of its own", ret_id,
			     model->entry->id);
		pc_error_detail(err, "worker_id", "%s", ret_id);
		return PC_E_ALREADY_EXISTS;
	}
	worker->port = port;
	return 0;
}

/* "cpu, gpu0": the names of these devices. */
static void name_devices(const struct daemon *daemon, uint32_t mask, char *out, size_t size)
{
	struct pc_device_account account;

	out[0] = '\0';
	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger); i++) {
		size_t length = strlen(out);

		if (!(mask >> i & 1))
			continue;
		pc_ledger_account(daemon->ledger, i, &account);
		snprintf(out + length, size - length, "%s%s", length ? ", " : "", account.name);
	}
}

/* The device of a GPU that was asked for; all of the model's when none was. */
static int choose_device(const struct daemon *daemon, const struct model *model, int gpu_id,
			 uint32_t *ret_mask, struct pc_error *err)
{
	uint32_t allowed = body_device_mask(daemon, model);
	char name[24], names[256];
	int index;

	*ret_mask = allowed;
	if (gpu_id < 0)
		return 0;
	snprintf(name, sizeof(name), "gpu%d", gpu_id);
	index = pc_ledger_find(daemon->ledger, name);
	*ret_mask = index < 0 ? 0 : allowed & 1u << index;
	if (*ret_mask)
		return 0;
	name_devices(daemon, index < 0 ? UINT32_MAX : allowed, names, sizeof(names));
	if (index < 0)
		pc_error_set(err, PC_E_INVALID_REQUEST, "there is no %s; this machine has %s", name,
			     names);
	else
		pc_error_set(err, PC_E_INVALID_REQUEST, "model '%s' may run on %s, not on %s",
			     model->entry->id, names, name);
	pc_error_detail(err, "param", "gpu_id");
	return PC_E_INVALID_REQUEST;
}

int body_start_worker(struct daemon *daemon, struct model *model, int gpu_id, uint16_t port,
		      char *ret_id, struct pc_error *err)
{
	struct body *body = daemon->body;
	uint32_t device_mask;
	int rc;

	if (!model->sched)
		return refuse_absent_device(model, err);
	rc = choose_device(daemon, model, gpu_id, &device_mask, err);
	if (rc)
		return rc;
	body_lock(body);
	rc = start_worker_locked(body, model, device_mask, port, ret_id, err);
	body_unlock(body);
	return rc;
}

int body_stop_worker(struct daemon *daemon, const char *worker_id, bool force, struct pc_error *err)
{
	struct body *body = daemon->body;
	int rc;

	body_lock(body);

	struct worker *worker = roster_find_named(&body->roster, worker_id);

	if (!worker || worker->departed) {
		rc = no_such_worker(worker_id, err);
	} else {
		rc = pc_sched_stop_worker(body->sched, pc_clock_now_ns(), worker->id, force, err);
		body->next_tick_ns = pc_sched_next_deadline(body->sched);
	}
	body_unlock(body);
	return rc;
}

int body_report_ready(struct daemon *daemon, struct lease *lease, const char *worker_id,
		      const char *token, uint64_t measured_bytes, struct pc_error *err)
{
	struct body *body = daemon->body;
	int rc = 0;

	body_lock(body);

	struct worker *worker = roster_find_named(&body->roster, worker_id);

	if (!worker || worker->departed) {
		rc = no_such_worker(worker_id, err);
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
		order_locked(body, worker);
		rc = 1;
	}
	body_unlock(body);
	return rc;
}

/* ---- the end ---- */

void body_drain(struct daemon *daemon, uint64_t deadline_ns)
{
	struct body *body = daemon->body;

	body_lock(body);
	body->draining = true;
	body->next_tick_ns = pc_sched_drain(body->sched, pc_clock_now_ns(), deadline_ns);
	body_unlock(body);
}

bool body_is_drained(struct daemon *daemon)
{
	struct body *body = daemon->body;

	body_lock(body);

	bool drained = body->draining && pc_sched_is_drained(body->sched);

	body_unlock_quietly(body);
	return drained;
}

void body_wish_loops(struct daemon *daemon, enum loop_wish wish)
{
	body_lock(daemon->body);
	for (size_t i = 0; i < daemon->loop_count; i++) {
		daemon->loops[i].wish = wish;
		wake_locked(&daemon->loops[i]);
	}
	body_unlock(daemon->body);
}

void body_wake_loops(struct daemon *daemon)
{
	body_lock(daemon->body);
	for (size_t i = 0; i < daemon->loop_count; i++)
		wake_locked(&daemon->loops[i]);
	body_unlock(daemon->body);
}

enum loop_wish body_loop_wish(struct daemon *daemon, struct loop *loop)
{
	body_lock(daemon->body);

	enum loop_wish wish = loop->wish;

	loop->deaf |= wish == LOOP_CLOSE;
	body_unlock_quietly(daemon->body);
	return wish;
}

void body_loop_empty(struct daemon *daemon, struct loop *loop)
{
	body_lock(daemon->body);
	loop->empty = true;
	wake_locked(&daemon->loops[0]);
	body_unlock(daemon->body);
}

bool body_loops_are_empty(struct daemon *daemon)
{
	bool empty = true;

	body_lock(daemon->body);
	for (size_t i = 0; i < daemon->loop_count; i++)
		empty &= daemon->loops[i].empty;
	body_unlock_quietly(daemon->body);
	return empty;
}
