/* SPDX-License-Identifier: MIT */
/*
 * measure.c - what models really take, remembered in the registry, so that the next estimate is a
 * measurement. Two sources: what the engine says, and what the process holds more after a load
 * than before it (docs/decisions/0009). Asking waits for the disk: never under a lock. Any thread.
 */
#include <stdio.h>

#include "pool/inner.h"

/* How often workers are measured again. A guess; change freely. */
enum { MEASURE_SECS = 10 };

/*
 * Slots and context make the memory; a measurement of other settings says nothing. False when the
 * name would be too long to be remembered by.
 */
static bool name_settings(const struct pc_model *model, char name[PC_MEASURED_KEY_MAX])
{
	int length = snprintf(name, PC_MEASURED_KEY_MAX, "%s slots=%u context=%u", model->text,
			      model->slots, model->context_tokens);

	return length > 0 && length < PC_MEASURED_KEY_MAX;
}

static const char *device_of(const struct pc_model *model, struct pc_device_account *account)
{
	pc_ledger_account(model->pool->ledger, model->device, account);
	return account->name;
}

uint64_t measured_recall(const struct pc_model *model, const struct pc_engine *engine)
{
	struct pc_registry *registry = model->pool->config.registry;
	struct pc_measured_memory measured;
	struct pc_device_account account;
	struct pc_error err = PC_ERROR_INIT;
	char name[PC_MEASURED_KEY_MAX];

	if (!registry || !name_settings(model, name))
		return 0;
	if (pc_registry_recall_memory(registry, name, engine->name, device_of(model, &account),
				      &measured, &err) == 0)
		return measured.highest_bytes;
	if (err.code != PC_E_NOT_FOUND)
		pc_log_error(PC_LOG_WARN, "memory", &err);
	return 0;
}

void measured_remember(const struct station *station, uint64_t bytes)
{
	const struct pc_model *model = station->model;
	struct pc_device_account account;
	struct pc_error err = PC_ERROR_INIT;
	char name[PC_MEASURED_KEY_MAX];

	if (!model->pool->config.registry || bytes == 0 || !name_settings(model, name))
		return;
	if (pc_registry_remember_memory(model->pool->config.registry, name, station->engine->name,
					device_of(model, &account), bytes, &err))
		pc_log_error(PC_LOG_WARN, "memory", &err);
}

/* ---- measuring ---- */

static uint64_t held_bytes(void)
{
	struct pc_memory_process process;

	if (pc_memory_process_read(NULL, 0, &process, NULL))
		return 0;
	return process.rss_anon_bytes + process.swap_bytes;
}

void gauge_begin(struct pc_pool *pool, struct load_gauge *gauge)
{
	gauge->loads = atomic_fetch_add_explicit(&pool->loads_begun, 1, memory_order_relaxed) + 1;
	/* Another load is under way: the difference would be both of them. */
	if (atomic_load_explicit(&pool->loads_ended, memory_order_relaxed) + 1 != gauge->loads)
		gauge->loads = 0;
	gauge->held_bytes = gauge->loads ? held_bytes() : 0;
}

uint64_t gauge_end(struct pc_pool *pool, const struct load_gauge *gauge)
{
	uint64_t after_bytes = gauge->held_bytes ? held_bytes() : 0;
	bool alone = atomic_load_explicit(&pool->loads_begun, memory_order_relaxed) == gauge->loads;

	atomic_fetch_add_explicit(&pool->loads_ended, 1, memory_order_relaxed);
	return alone && after_bytes > gauge->held_bytes ? after_bytes - gauge->held_bytes : 0;
}

void gauge_drop(struct pc_pool *pool)
{
	atomic_fetch_add_explicit(&pool->loads_ended, 1, memory_order_relaxed);
}

uint64_t measured_now(const struct station *station, const struct pc_engine_instance *instance)
{
	struct pc_engine_description description = { .size = sizeof(description) };

	station->engine->describe(instance, &description);
	return description.memory_bytes;
}

/* [lock] The first worker after `id` that may be asked on this thread, examined; NULL: there is
 * none. */
static struct worker *examine_after_locked(const struct pc_pool *pool, uint64_t id)
{
	struct pc_link *link = pc__set_at_least(&pool->workers, id + 1, 0);

	for (; link; link = pc__set_next(link)) {
		struct worker *worker = pc__container_of(link, struct worker, by_id);

		if (worker->stage == STAGE_OPEN && !worker->station->thread_bound) {
			worker_examine(worker);
			return worker;
		}
	}
	return NULL;
}

/* [lock] */
static void note_measured_locked(struct turn *turn, struct worker *worker, uint64_t bytes)
{
	if (bytes > worker->measured_bytes)
		worker->measured_bytes = bytes;
	turn_note(turn,
		  pc_sched_worker_changed(turn->pool->sched, turn->now_ns, worker->id, bytes));
}

void measured_by_thread(struct worker *worker)
{
	struct pc_pool *pool = worker->station->pool;
	uint32_t tick = atomic_load_explicit(&pool->tick, memory_order_relaxed);
	struct turn turn;

	if (tick - worker->measured_tick < MEASURE_SECS)
		return;
	worker->measured_tick = tick;

	uint64_t bytes = measured_now(worker->station, worker->instance);

	turn_begin(pool, &turn);
	note_measured_locked(&turn, worker, bytes);
	turn_end(&turn);
}

/*
 * No seat is taken for it: engines are described beside calls (poolcore/engine.h), and a seat that
 * is missing for a moment would look like a request, to the next one and to the brain.
 */
void measured_look(struct pc_pool *pool, uint64_t now_ns)
{
	struct worker *worker;
	struct turn turn;

	if (now_ns < pool->next_measure_ns)
		return;
	pool->next_measure_ns = now_ns + MEASURE_SECS * PC_NS_PER_SEC;
	turn_begin(pool, &turn);
	worker = examine_after_locked(pool, 0);
	turn_end(&turn);
	while (worker) {
		uint64_t bytes = measured_now(worker->station, worker->instance);
		uint64_t id = worker->id;

		turn_begin(pool, &turn);
		note_measured_locked(&turn, worker, bytes);
		worker_let_go(&turn, worker);
		worker = examine_after_locked(pool, id);
		turn_end(&turn);
	}
}
