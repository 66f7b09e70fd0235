/* SPDX-License-Identifier: MIT */
/*
 * body.c - the daemon as a body of the brain: its lock, the actions, its beginning and its end.
 * Requests are body_requests.c's, workers body_workers.c's.
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

/* uv_async_send may be called from any thread. */
void body_unlock_from(struct body *body, const struct loop *self)
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
	body_unlock_from(body, NULL);
}

/* ---- the brain's actions; all of them run under the lock and only note things down ---- */

void body_order_locked(struct body *body, struct worker *worker)
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
struct worker *body_new_worker(struct model *model, unsigned device)
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
	worker->device = device;
	if (model) {
		generation_ref(model->generation);
		worker->slots = model->entry->slots;
	}
	return worker;
}

static struct worker *make_worker(struct body *body, const struct pc_spawn_order *order)
{
	struct worker *worker = body_new_worker(order->model_owner, order->device);
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
	snprintf(info->definition, sizeof(info->definition), "%s", worker->model->definition);
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
	body_order_locked(body, worker);
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
	body_order_locked(body, worker);
}

void body_deliver_locked(struct lease *lease)
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
	body_deliver_locked(lease);
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
	body_deliver_locked(lease);
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

/* ---- time ---- */

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
