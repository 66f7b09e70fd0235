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

#include "daemon/daemon.h"
#include "daemon/logbook.h"
#include "daemon/loop.h"

/* How many departed workers are remembered, for their logs and last exits. */
#define DEPARTED_MAX 32
/* Spawn actions that could not be recorded for want of memory, told to the brain after the event.
 */
#define STILLBORN_MAX 16

struct body {
	uv_mutex_t lock;
	struct daemon *daemon;
	struct pc_sched *sched;		   /* [lock] */
	uint64_t next_tick_ns;		   /* [lock] what the brain asked for last */
	uint64_t armed_tick_ns;		   /* [lock] what loop 0's timer is set to */
	struct worker *workers;		   /* [lock] newest first, departed ones too */
	struct worker *orders;		   /* [lock] first in, first out */
	struct worker *last_order;	   /* [lock] */
	uint64_t stillborn[STILLBORN_MAX]; /* [lock] */
	size_t stillborn_count;		   /* [lock] */
	struct model *models;		   /* [const after create] in the catalog's order */
	struct model **by_entry;	   /* [const after create] sorted, for body_model */
	size_t model_count;
};

/* ---- the lock, and what happens when it is dropped ---- */

static void lock(struct body *body)
{
	uv_mutex_lock(&body->lock);
}

static void wake_locked(struct loop *loop)
{
	loop->wake_wanted = true;
}

/* Tells the brain about workers that died before they had a record. */
static void bury_stillborn_locked(struct body *body)
{
	while (body->stillborn_count > 0) {
		uint64_t id = body->stillborn[--body->stillborn_count];
		struct pc_error cause = PC_ERROR_INIT;

		pc_error_oom(&cause);
		body->next_tick_ns = pc_sched_worker_gone(body->sched, pc_clock_now_ns(), id,
							  &cause);
	}
}

/*
 * Drops the lock and wakes the loops that have news, except the caller's own, which delivers when
 * its event is over and is spared the system call. uv_async_send may be called from any thread.
 */
static void unlock_from(struct body *body, const struct loop *self)
{
	struct daemon *daemon = body->daemon;

	bury_stillborn_locked(body);
	if (body->next_tick_ns < body->armed_tick_ns)
		wake_locked(&daemon->loops[0]);
	for (size_t i = 0; i < daemon->loop_count; i++) {
		struct loop *loop = &daemon->loops[i];

		if (!loop->deaf && (loop->wake_wanted || (loop->inbox_news && loop != self)))
			uv_async_send(&loop->wake);
		loop->wake_wanted = loop->inbox_news = false;
	}
	uv_mutex_unlock(&body->lock);
}

static void unlock(struct body *body)
{
	unlock_from(body, NULL);
}

static struct worker *find_worker_locked(struct body *body, uint64_t id)
{
	for (struct worker *worker = body->workers; worker; worker = worker->next) {
		if (worker->id == id)
			return worker;
	}
	return NULL;
}

static struct worker *find_worker_named_locked(struct body *body, const char *worker_id)
{
	for (struct worker *worker = body->workers; worker; worker = worker->next) {
		if (strcmp(worker->info.worker_id, worker_id) == 0)
			return worker;
	}
	return NULL;
}

static void free_worker(struct worker *worker)
{
	logbook_unref(worker->log);
	pc_free(worker);
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

static struct worker *make_worker(struct body *body, const struct pc_spawn_order *order)
{
	struct model *model = order->model_owner;
	struct worker *worker = pc_calloc(1, sizeof(*worker));
	struct pc_device_account account;

	if (!worker)
		return NULL;
	worker->log = logbook_create();
	if (!worker->log) {
		free_worker(worker);
		return NULL;
	}
	worker->id = order->worker_id;
	worker->model = model;
	worker->order = *order;

	struct pc_worker_info *info = &worker->info;

	pc_ledger_account(body->daemon->ledger, order->device, &account);
	snprintf(info->worker_id, sizeof(info->worker_id), "w-%s-%llu", body->daemon->instance,
		 (unsigned long long)order->worker_id);
	snprintf(info->backend, sizeof(info->backend), "%s", model->backend->name);
	snprintf(info->model_ref, sizeof(info->model_ref), "%s", model->entry->model_ref);
	snprintf(info->model_id, sizeof(info->model_id), "%s", model->entry->id);
	snprintf(info->device, sizeof(info->device), "%s", account.name);
	if (sscanf(account.name, "gpu%d", &info->gpu_id) != 1)
		info->gpu_id = -1;
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
		/* Past the array's end the brain's own start timeout finds out. */
		if (body->stillborn_count < STILLBORN_MAX)
			body->stillborn[body->stillborn_count++] = order->worker_id;
		return;
	}
	worker->next = body->workers;
	body->workers = worker;
	worker->orders.spawn = true;
	order_locked(body, worker);
}

static void action_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	struct body *body = ctx;
	struct worker *worker = find_worker_locked(body, worker_id);

	if (!worker || worker->departed) {
		if (body->stillborn_count < STILLBORN_MAX)
			body->stillborn[body->stillborn_count++] = worker_id;
		return;
	}
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
	struct worker *worker = find_worker_locked(body, worker_id);

	assert(worker); /* only ready workers get grants (I3), and those have a record */
	lease->state = LEASE_GRANTED;
	lease->worker_id = worker_id;
	lease->target = worker->target;
	deliver_locked(lease);
}

static void action_reject(void *ctx, struct pc_ticket *ticket, const struct pc_error *err)
{
	struct lease *lease = (struct lease *)ticket;

	(void)ctx;
	lease->state = LEASE_REJECTED;
	lease->error = *err;
	deliver_locked(lease);
}

static const struct pc_sched_driver driver = {
	.spawn = action_spawn,
	.stop = action_stop,
	.grant = action_grant,
	.reject = action_reject,
};

/* ---- creation ---- */

/* Which ledger devices a model may use: its own word, else its backend's, else any GPU, else the
 * cpu. */
static uint32_t device_mask_of(const struct daemon *daemon, const struct model *model)
{
	const char *device = model->entry->device[0] ? model->entry->device
						     : model->backend->device;
	unsigned count = pc_ledger_device_count(daemon->ledger);
	int index;

	if (strcmp(device, "auto") != 0) {
		index = pc_ledger_find(daemon->ledger, device);
		return index < 0 ? 0 : 1u << index;
	}
	index = pc_ledger_find(daemon->ledger, "cpu");

	uint32_t all = count >= 32 ? UINT32_MAX : (1u << count) - 1;
	uint32_t cpu = index < 0 ? 0 : 1u << index;

	return (all & ~cpu) ? all & ~cpu : cpu;
}

static uint64_t idle_ttl_ns(const struct pc_model_entry *entry, const struct pc_config *config)
{
	if (entry->ttl_ms == PC_TTL_UNSET)
		return config->pool_cooldown_idle_minutes * 60 * PC_NS_PER_SEC;
	if (entry->ttl_ms < 0)
		return PC_TIME_NEVER;
	return (uint64_t)entry->ttl_ms * PC_NS_PER_MS;
}

static int add_model(struct daemon *daemon, struct body *body, struct model *model,
		     const struct pc_model_entry *entry, struct pc_error *err)
{
	const struct pc_config *config = daemon->config;

	model->entry = entry;
	model->backend = pc_config_backend(config, entry->backend);
	assert(model->backend); /* the catalog checked it */
	model->device_mask = device_mask_of(daemon, model);
	if (!model->device_mask) {
		pc_log(PC_LOG_WARN, "model",
		       PC_FIELDS({ "model", entry->id }, { "device", entry->device }),
		       "the model's device is not there; its requests are refused");
		return 0;
	}

	const struct pc_model_spec spec = {
		.key = entry->id,
		.owner = model,
		.device_mask = model->device_mask,
		.memory_bytes = entry->memory_bytes,
		.slots = entry->slots,
		.min_workers = entry->min_workers,
		.max_workers = entry->max_workers,
		.cold_start_workers = entry->cold_start_workers,
		.queue_capacity = entry->queue_capacity ? entry->queue_capacity
							: (uint32_t)config->pool_queue_capacity,
		.idle_ttl_ns = idle_ttl_ns(entry, config),
		.start_timeout_ns = model->backend->start_timeout_secs * PC_NS_PER_SEC,
		.pinned = entry->pinned,
	};

	return pc_sched_add_model(body->sched, &spec, &model->sched, err);
}

static int compare_entries(const void *a, const void *b)
{
	uintptr_t left = (uintptr_t)(*(struct model *const *)a)->entry;
	uintptr_t right = (uintptr_t)(*(struct model *const *)b)->entry;

	return (left > right) - (left < right);
}

static int add_models(struct daemon *daemon, struct body *body, struct pc_error *err)
{
	size_t count = pc_catalog_count(daemon->catalog);

	body->models = pc_calloc(count, sizeof(*body->models));
	body->by_entry = pc_calloc(count, sizeof(struct model *));
	if (!body->models || !body->by_entry)
		return pc_error_oom(err);
	for (body->model_count = 0; body->model_count < count; body->model_count++) {
		int rc = add_model(daemon, body, &body->models[body->model_count],
				   pc_catalog_at(daemon->catalog, body->model_count), err);

		if (rc)
			return rc;
		body->by_entry[body->model_count] = &body->models[body->model_count];
	}
	qsort(body->by_entry, count, sizeof(struct model *), compare_entries);
	return 0;
}

int body_create(struct daemon *daemon, struct body **ret_body, struct pc_error *err)
{
	const struct pc_config *config = daemon->config;
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
		rc = add_models(daemon, body, err);
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
	for (struct worker *worker = body->workers, *next; worker; worker = next) {
		next = worker->next;
		free_worker(worker);
	}
	uv_mutex_destroy(&body->lock);
	pc_free(body->by_entry);
	pc_free(body->models);
	pc_free(body);
}

struct model *body_model(struct daemon *daemon, const struct pc_model_entry *entry)
{
	struct body *body = daemon->body;
	const struct model wanted = { .entry = entry };
	const struct model *key = &wanted;
	struct model **found = bsearch(&key, body->by_entry, body->model_count,
				       sizeof(struct model *), compare_entries);

	return found ? *found : NULL;
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
	lock(body);
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
	lock(body);
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

void body_withdraw(struct daemon *daemon, struct lease *lease)
{
	struct body *body = daemon->body;
	uint64_t now = pc_clock_now_ns();

	lock(body);
	switch (lease->state) {
	case LEASE_WAITING:
		body->next_tick_ns = pc_sched_cancel(body->sched, now, &lease->ticket);
		break;
	case LEASE_GRANTED:
		take_from_inbox_locked(lease);
		body->next_tick_ns = pc_sched_release(body->sched, now, &lease->ticket,
						      PC_OUTCOME_CANCELLED);
		break;
	case LEASE_REJECTED:
		take_from_inbox_locked(lease);
		break;
	case LEASE_NONE:
		break;
	}
	lease->state = LEASE_NONE;
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
		lock(body);

		struct lease *lease = loop->inbox_head;

		if (lease) {
			loop->inbox_head = lease->next;
			if (!loop->inbox_head)
				loop->inbox_tail = NULL;
		}
		unlock(body);
		if (!lease)
			break;
		lease->on_outcome(lease);
	}
	loop->delivering = false;
}

/* ---- workers ---- */

struct worker *body_next_order(struct daemon *daemon, struct worker_orders *ret_orders)
{
	struct body *body = daemon->body;

	lock(body);

	struct worker *worker = body->orders;

	if (worker) {
		body->orders = worker->next_order;
		if (!body->orders)
			body->last_order = NULL;
		worker->has_orders = false;
		*ret_orders = worker->orders;
		worker->orders = (struct worker_orders){ .spawn = false };
	}
	unlock(body);
	return worker;
}

void body_worker_ready(struct daemon *daemon, struct worker *worker, uint64_t measured_bytes)
{
	struct body *body = daemon->body;
	struct pc_device_account account;

	/* The number may come from the worker itself; more than there is cannot be true. */
	pc_ledger_account(daemon->ledger, worker->order.device, &account);
	if (measured_bytes > account.total_bytes)
		measured_bytes = account.total_bytes;
	lock(body);
	worker->info.measured_bytes = measured_bytes;
	body->next_tick_ns = pc_sched_worker_ready(body->sched, pc_clock_now_ns(), worker->id,
						   measured_bytes);
	unlock(body);
}

void body_worker_failed(struct daemon *daemon, uint64_t worker_id, const struct pc_error *cause)
{
	struct body *body = daemon->body;

	lock(body);
	body->next_tick_ns = pc_sched_worker_failed(body->sched, pc_clock_now_ns(), worker_id,
						    cause);
	unlock(body);
}

/* Frees the oldest departed workers beyond DEPARTED_MAX, but not the one that the caller still
 * looks at. */
static void prune_departed_locked(struct body *body, const struct worker *kept)
{
	size_t departed = 0;

	for (struct worker **at = &body->workers; *at;) {
		struct worker *worker = *at;

		if (!worker->departed || worker->has_orders || worker == kept ||
		    ++departed <= DEPARTED_MAX) {
			at = &worker->next;
			continue;
		}
		*at = worker->next;
		free_worker(worker);
	}
}

void body_worker_gone(struct daemon *daemon, struct worker *worker, const struct pc_error *cause)
{
	struct body *body = daemon->body;

	lock(body);
	worker->departed = true;
	worker->process = NULL;
	worker->info.status = PC_WORKER_STOPPED;
	body->next_tick_ns = pc_sched_worker_gone(body->sched, pc_clock_now_ns(), worker->id,
						  cause);
	prune_departed_locked(body, worker);
	unlock(body);
}

void body_worker_publish(struct daemon *daemon, struct worker *worker,
			 void (*change)(struct worker *worker, void *ctx), void *ctx,
			 struct pc_worker_info *ret_info)
{
	struct body *body = daemon->body;

	lock(body);
	change(worker, ctx);
	worker->info.updated_wall_ms = pc_clock_wall_ms();
	*ret_info = worker->info;
	unlock(body);
}

uint64_t body_tick(struct daemon *daemon)
{
	struct body *body = daemon->body;

	lock(body);

	uint64_t next = body->armed_tick_ns = body->next_tick_ns = pc_sched_tick(body->sched,
										 pc_clock_now_ns());

	unlock(body);
	return next;
}

uint64_t body_next_tick(struct daemon *daemon)
{
	struct body *body = daemon->body;

	lock(body);

	uint64_t next = body->armed_tick_ns = body->next_tick_ns;

	unlock(body);
	return next;
}

/* ---- the operator ---- */

int body_start_worker(struct daemon *daemon, struct model *model, uint16_t port, char *ret_id,
		      struct pc_error *err)
{
	struct body *body = daemon->body;
	uint64_t id;
	int rc;

	if (!model->sched)
		return refuse_absent_device(model, err);
	lock(body);
	rc = pc_sched_load(body->sched, pc_clock_now_ns(), model->sched, &id, err);
	body->next_tick_ns = pc_sched_next_deadline(body->sched);
	ret_id[0] = '\0';
	if (!rc && id) {
		struct worker *worker = find_worker_locked(body, id);

		if (!worker) {
			rc = pc_error_oom(err);
		} else {
			if (worker->orders.spawn)
				worker->orders.port = port;
			memcpy(ret_id, worker->info.worker_id, sizeof(worker->info.worker_id));
		}
	}
	unlock(body);
	return rc;
}

static int no_such_worker(const char *worker_id, struct pc_error *err)
{
	pc_error_set(err, PC_E_WORKER_NOT_FOUND, "there is no worker '%.48s'", worker_id);
	pc_error_detail(err, "worker_id", "%.48s", worker_id);
	return PC_E_WORKER_NOT_FOUND;
}

int body_stop_worker(struct daemon *daemon, const char *worker_id, bool force, struct pc_error *err)
{
	struct body *body = daemon->body;
	int rc;

	lock(body);

	struct worker *worker = find_worker_named_locked(body, worker_id);

	if (!worker || worker->departed) {
		rc = no_such_worker(worker_id, err);
	} else {
		rc = pc_sched_stop_worker(body->sched, pc_clock_now_ns(), worker->id, force, err);
		body->next_tick_ns = pc_sched_next_deadline(body->sched);
	}
	unlock(body);
	return rc;
}

/* Compares all of both, so that the time taken tells nothing about where they differ. */
static bool same_token(const char *a, const char *b)
{
	size_t length = strlen(a);
	unsigned char differs = strlen(b) != length;

	for (size_t i = 0; i < length; i++)
		differs |= (unsigned char)(a[i] ^ b[i % (strlen(b) + 1)]);
	return length > 0 && !differs;
}

int body_report_ready(struct daemon *daemon, const char *worker_id, const char *token,
		      uint64_t measured_bytes, struct pc_error *err)
{
	struct body *body = daemon->body;
	int rc = 0;

	lock(body);

	struct worker *worker = find_worker_named_locked(body, worker_id);

	if (!worker || worker->departed) {
		rc = no_such_worker(worker_id, err);
	} else if (!same_token(worker->info.spawn_token, token)) {
		rc = pc_error_set(err, PC_E_UNAUTHORIZED,
				  "the spawn token of worker '%.48s' differs", worker_id);
	} else if (worker->info.status == PC_WORKER_SPAWNING) {
		worker->orders.ready = true;
		worker->orders.ready_bytes = measured_bytes;
		order_locked(body, worker);
	}
	unlock(body);
	return rc;
}

void body_drain(struct daemon *daemon, uint64_t deadline_ns)
{
	struct body *body = daemon->body;

	lock(body);
	body->next_tick_ns = pc_sched_drain(body->sched, pc_clock_now_ns(), deadline_ns);
	unlock(body);
}

bool body_is_drained(struct daemon *daemon)
{
	struct body *body = daemon->body;

	lock(body);

	bool drained = pc_sched_is_drained(body->sched);

	unlock(body);
	return drained;
}

void body_drain_loops(struct daemon *daemon)
{
	lock(daemon->body);
	for (size_t i = 0; i < daemon->loop_count; i++) {
		daemon->loops[i].drain_wanted = true;
		wake_locked(&daemon->loops[i]);
	}
	unlock(daemon->body);
}

void body_close_loops(struct daemon *daemon)
{
	lock(daemon->body);
	for (size_t i = 0; i < daemon->loop_count; i++) {
		daemon->loops[i].close_wanted = true;
		wake_locked(&daemon->loops[i]);
	}
	unlock(daemon->body);
}

void body_loop_wishes(struct daemon *daemon, struct loop *loop, bool *ret_drain, bool *ret_close)
{
	lock(daemon->body);
	*ret_drain = loop->drain_wanted;
	*ret_close = loop->close_wanted;
	loop->deaf |= loop->close_wanted;
	loop->drain_wanted = loop->close_wanted = false;
	unlock(daemon->body);
}

/* ---- views ---- */

void body_each_worker(struct daemon *daemon, bool departed_too,
		      void (*visit)(void *ctx, const struct worker_view *view), void *ctx)
{
	struct body *body = daemon->body;

	lock(body);
	for (struct worker *worker = body->workers; worker; worker = worker->next) {
		struct worker_view view = { .worker = worker };

		if (worker->departed && !departed_too)
			continue;
		view.known_to_brain = pc_sched_get_worker(body->sched, worker->id, &view.sched);
		visit(ctx, &view);
	}
	unlock(body);
}

void body_each_model(struct daemon *daemon,
		     void (*visit)(void *ctx, const struct model *model,
				   const struct pc_sched_model_view *view),
		     void *ctx)
{
	struct body *body = daemon->body;

	lock(body);
	for (size_t i = 0; i < body->model_count; i++) {
		struct pc_sched_model_view view = { .key = body->models[i].entry->id };

		if (body->models[i].sched)
			pc_sched_get_model(body->models[i].sched, &view);
		visit(ctx, &body->models[i], &view);
	}
	unlock(body);
}

bool body_get_model_view(struct daemon *daemon, const struct model *model,
			 struct pc_sched_model_view *ret_view)
{
	struct body *body = daemon->body;

	if (!model->sched)
		return false;
	lock(body);
	pc_sched_get_model(model->sched, ret_view);
	unlock(body);
	return true;
}

void body_counters(struct daemon *daemon, struct pc_sched_counters *ret_counters)
{
	struct body *body = daemon->body;

	lock(body);
	pc_sched_get_counters(body->sched, ret_counters);
	unlock(body);
}

struct logbook *body_worker_log(struct daemon *daemon, const char *worker_id)
{
	struct body *body = daemon->body;

	lock(body);

	struct worker *worker = find_worker_named_locked(body, worker_id);
	struct logbook *log = worker ? logbook_ref(worker->log) : NULL;

	unlock(body);
	return log;
}

const char *stop_reason_text(enum pc_stop_reason why)
{
	static const char *const texts[] = {
		[PC_STOP_IDLE] = "idle",
		[PC_STOP_EVICTED] = "evicted to make room",
		[PC_STOP_REQUESTED] = "requested",
		[PC_STOP_FAILED] = "failed",
		[PC_STOP_OVERDUE] = "not ready in time",
		[PC_STOP_PRESSURE] = "memory pressure",
		[PC_STOP_SHUTDOWN] = "shutdown",
	};

	return texts[why];
}
