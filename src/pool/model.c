/* SPDX-License-Identifier: MIT */
/*
 * model.c - registered models, and the stations of those that were asked for. A model is metadata
 * in one allocation; its station, which the brain knows, is made at its first call and
 * lives as long as the pool. Any thread.
 */
#include <stdio.h>
#include <string.h>

#include "pool/inner.h"

#include "base/text.h"

enum { KEY_MAX_BYTES = 255, SLOTS_MAX = 32, TASKS_MAX = 64 };

void *aligned_new(size_t size, void **ret_block)
{
	char *block = pc_calloc(1, size + POOL_LINE);

	if (!block)
		return NULL;
	*ret_block = block;
	return block + (POOL_LINE - (uintptr_t)block % POOL_LINE) % POOL_LINE;
}

/* ---- what a spec must be ---- */

static int check_key(const char *key, struct pc_error *err)
{
	size_t length = key ? strnlen(key, KEY_MAX_BYTES + 1) : 0;

	if (length == 0 || length > KEY_MAX_BYTES)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "key: a model's key has 1 to %d bytes, this one has %s",
				    KEY_MAX_BYTES, length ? "more" : "none");
	if (pc__utf8_valid_prefix(key, length) != length)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "key: a model's key is UTF-8, byte %zu of this one is not",
				    pc__utf8_valid_prefix(key, length) + 1);
	return 0;
}

static int check_range(const char *key, const char *member, uint64_t value, uint64_t low,
		       uint64_t high, struct pc_error *err)
{
	if (value >= low && value <= high)
		return 0;
	return pc_error_set(
		err, PC_E_INVALID_ARGUMENT, "%s of '%s' is %llu; it may be %llu to %llu", member,
		key, (unsigned long long)value, (unsigned long long)low, (unsigned long long)high);
}

static int check_numbers(const struct pc_model_spec *spec, struct pc_error *err)
{
	const char *key = spec->key;
	uint64_t max = spec->max_workers ? spec->max_workers : UINT32_MAX;
	const struct {
		const char *member;
		uint64_t value, low, high;
	} ranges[] = {
		{ "est_memory_allocation_mb", spec->est_memory_allocation_mb, 1, UINT64_MAX / MIB },
		{ "slots", spec->slots, 0, SLOTS_MAX },
		{ "min_workers", spec->min_workers, 0, max },
		{ "start_timeout_secs", spec->start_timeout_secs, 0, SECONDS_MAX },
		{ "recycle_mb", spec->recycle_mb, 0, UINT64_MAX / MIB },
		{ "task_count", spec->task_count, 0, TASKS_MAX },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(ranges); i++) {
		if (check_range(key, ranges[i].member, ranges[i].value, ranges[i].low,
				ranges[i].high, err))
			return PC_E_INVALID_ARGUMENT;
	}
	if (spec->keep_idle_secs < PC_KEEP_NOT || spec->keep_idle_secs > (int64_t)SECONDS_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "keep_idle_secs of '%s' is %lld; it may be 0, PC_KEEP_FOREVER, "
				    "PC_KEEP_NOT, or at most a year",
				    key, (long long)spec->keep_idle_secs);
	return 0;
}

/* The brain would say so too, but at the first request. */
static int check_recycling(const struct pc_model_spec *spec, struct pc_error *err)
{
	uint64_t least_mb = spec->est_memory_allocation_mb;

	if (spec->recycle_mb == 0 || spec->recycle_mb >= least_mb)
		return 0;
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "recycle_mb of '%s' is %llu; it may be 0 or %llu "
			    "(est_memory_allocation_mb) to %llu",
			    spec->key, (unsigned long long)spec->recycle_mb,
			    (unsigned long long)least_mb, (unsigned long long)(UINT64_MAX / MIB));
}

static int check_tasks(const struct pc_model_spec *spec, struct pc_error *err)
{
	if (spec->task_count > 0 && !spec->tasks)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "tasks of '%s' is NULL, and task_count %zu", spec->key,
				    spec->task_count);
	for (size_t i = 0; i < spec->task_count; i++) {
		const struct pc_task_prefix *task = &spec->tasks[i];

		if (!task->task || !task->task[0] || !task->prefix)
			return pc_error_set(err, PC_E_INVALID_ARGUMENT,
					    "tasks[%zu] of '%s' needs a task and a prefix", i,
					    spec->key);
	}
	return 0;
}

/* A table of the program's own, which pc_engine_open has not looked at. */
static int check_table(const struct pc_model_spec *spec, struct pc_error *err)
{
	const struct pc_engine *engine = spec->engine;

	if (!engine)
		return 0;
	if (engine->abi != PC_ENGINE_ABI)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the engine of '%s' speaks ABI %u, this library speaks %d",
				    spec->key, engine->abi, PC_ENGINE_ABI);
	if (!PC_ENGINE_HAS(engine, name) || !PC_ENGINE_HAS(engine, load) ||
	    !PC_ENGINE_HAS(engine, unload) || !PC_ENGINE_HAS(engine, describe))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the engine of '%s' needs a name, load, unload and describe",
				    spec->key);
	return 0;
}

static int check_spec(const struct pc_pool *pool, const struct pc_model_spec *spec,
		      struct pc_error *err)
{
	if (check_key(spec->key, err))
		return PC_E_INVALID_ARGUMENT;
	if ((unsigned)spec->capability > PC_CAPABILITY_TEXT_TO_IMAGE)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "capability of '%s': there is no %d", spec->key,
				    (int)spec->capability);
	if (!(pool->config.capabilities >> spec->capability & 1))
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "'%s' is for %s, which this pool does not serve", spec->key,
				    pc_capability_name(spec->capability));
	if (spec->est_memory_allocation_mb == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "est_memory_allocation_mb of '%s' is missing: what a worker "
				    "takes must be said, it is not guessed",
				    spec->key);
	if (!spec->engine == !spec->engine_name)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "'%s' needs an engine: exactly one of engine and engine_name",
				    spec->key);
	if (spec->device && pc_ledger_find(pool->ledger, spec->device) < 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "device of '%s': there is no '%s' in the ledger", spec->key,
				    spec->device);
	if (check_numbers(spec, err) || check_recycling(spec, err) || check_tasks(spec, err))
		return PC_E_INVALID_ARGUMENT;
	return check_table(spec, err);
}

/* ---- registering ---- */

/* All tasks in one allocation: the array, then its strings. */
static struct pc_task_prefix *copy_tasks(const struct pc_task_prefix *tasks, size_t count)
{
	size_t size = count * sizeof(*tasks);

	for (size_t i = 0; i < count; i++)
		size += strlen(tasks[i].task) + strlen(tasks[i].prefix) + 2;

	struct pc_task_prefix *copies = pc_malloc(size);
	char *text = (char *)(copies + count);

	for (size_t i = 0; copies && i < count; i++) {
		copies[i].task = text;
		text = stpcpy(text, tasks[i].task) + 1;
		copies[i].prefix = text;
		text = stpcpy(text, tasks[i].prefix) + 1;
	}
	return copies;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

static struct pc_model *new_model(struct pc_pool *pool, const struct pc_model_spec *spec)
{
	const char *engine_name = spec->engine_name ? spec->engine_name : "";
	const char *path = spec->model_path ? spec->model_path : "";
	size_t size = sizeof(struct pc_model) + strlen(spec->key) + strlen(engine_name) +
		      strlen(path) + 3;
	struct pc_model *model = pc_malloc(size);
	struct pc_task_prefix *tasks = spec->task_count ? copy_tasks(spec->tasks, spec->task_count)
							: NULL;

	if (!model || (spec->task_count && !tasks)) {
		pc_free(model);
		pc_free(tasks);
		return NULL;
	}
	*model = (struct pc_model){
		.pool = pool,
		.engine = spec->engine,
		.hash = table_hash(spec->key, strlen(spec->key)),
		.key_length = (uint8_t)strlen(spec->key),
		.tasks = tasks,
		.task_count = (uint16_t)spec->task_count,
		.memory_mb = spec->est_memory_allocation_mb,
		.recycle_requests = spec->recycle_requests,
		.recycle_mb = spec->recycle_mb,
		.start_timeout_secs = spec->start_timeout_secs ? spec->start_timeout_secs : 120,
		.keep_idle_secs = spec->keep_idle_secs,
		.context_tokens = spec->context_tokens,
		.threads = spec->threads,
		.min_workers = spec->min_workers,
		.max_workers = spec->max_workers,
		.cold_start_workers = or_default(spec->cold_start_workers, 2),
		.queue_capacity = or_default(spec->queue_capacity, 1024),
		.capability = (uint8_t)spec->capability,
		.slots = (uint8_t)or_default(spec->slots, 1),
		.device = (uint8_t)pc_ledger_find(pool->ledger,
						  spec->device ? spec->device : "cpu"),
		.pinned = spec->pinned,
	};
	model->engine_name = stpcpy(model->text, spec->key) + 1;
	model->path = stpcpy((char *)model->engine_name, engine_name) + 1;
	stpcpy((char *)model->path, path);
	return model;
}

void model_free(struct pc_model *model)
{
	if (!model)
		return;
	pc_free(model->tasks);
	pc_free(model);
}

static int add_model_locked(struct pc_pool *pool, const struct pc_model_spec *spec,
			    struct pc_model **ret_model, struct pc_error *err)
{
	if (table_find(&pool->table, spec->key))
		return pc_error_set(err, PC_E_ALREADY_EXISTS,
				    "the model '%s' is registered already", spec->key);

	struct pc_model *model = new_model(pool, spec);

	if (!model)
		return pc_error_oom(err);

	int rc = table_add(&pool->table, model, err);

	if (rc) {
		model_free(model);
		return rc;
	}
	*ret_model = model;
	return 0;
}

int pc_pool_add_model(struct pc_pool *pool, const struct pc_model_spec *spec,
		      struct pc_model **ret_model, struct pc_error *err)
{
	struct pc_model *model = NULL;

	if (!pool || !spec)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a model needs a pool and a spec");
	if (pc_pool_is_shutting_down(pool))
		return pc_error_set(err, PC_E_SHUTTING_DOWN,
				    "the pool is shutting down and takes no more models");

	int rc = check_spec(pool, spec, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&pool->models_lock);
	rc = add_model_locked(pool, spec, &model, err);
	pthread_mutex_unlock(&pool->models_lock);
	if (rc == 0 && ret_model)
		*ret_model = model;
	return rc;
}

/* ---- finding ---- */

struct pc_model *pc_pool_find_model(const struct pc_pool *pool, const char *key)
{
	return pool && key ? table_find(&pool->table, key) : NULL;
}

static void offer(void *ctx, struct pc_model *model)
{
	pc__nearest_offer(ctx, model->text);
}

int pc_pool_get_model(const struct pc_pool *pool, const char *key, struct pc_model **ret_model,
		      struct pc_error *err)
{
	struct pc_model *model = pc_pool_find_model(pool, key);
	struct pc__nearest nearest = PC__NEAREST_INIT(key);

	if (!pool || !ret_model)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a model is looked for in a pool, and needs a place");
	if (model) {
		*ret_model = model;
		return 0;
	}
	if (check_key(key, err))
		return PC_E_INVALID_ARGUMENT;
	table_each(&pool->table, offer, &nearest);
	pc_error_set(err, PC_E_MODEL_NOT_FOUND, "there is no model '%s'%s%s%s", key,
		     nearest.best ? "; did you mean '" : "", nearest.best ? nearest.best : "",
		     nearest.best ? "'?" : "");
	pc_error_detail(err, "model", "%.150s", key);
	return PC_E_MODEL_NOT_FOUND;
}

const char *pc_model_key(const struct pc_model *model)
{
	return model->text;
}

enum pc_capability pc_model_capability(const struct pc_model *model)
{
	return (enum pc_capability)model->capability;
}

static void name_tasks(const struct pc_model *model, char *out, size_t size)
{
	size_t length = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < model->task_count && length < size; i++)
		length += (size_t)snprintf(out + length, size - length, "%s'%s'", i ? ", " : "",
					   model->tasks[i].task);
}

int pc_model_task_prefix(const struct pc_model *model, const char *task, const char **ret_prefix,
			 struct pc_error *err)
{
	char known[300];

	if (!model || !ret_prefix)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a prefix is looked for in a model, and needs a place");
	for (unsigned i = 0; task && i < model->task_count; i++) {
		if (strcmp(model->tasks[i].task, task) == 0) {
			*ret_prefix = model->tasks[i].prefix;
			return 0;
		}
	}
	name_tasks(model, known, sizeof(known));
	return pc_error_set(err, PC_E_INVALID_ARGUMENT, "'%s' has no task '%.80s'; %s%s",
			    model->text, task ? task : "",
			    known[0] ? "known are " : "it was registered with none", known);
}

/* ---- stations ---- */

static uint64_t ttl_ns(int64_t keep_idle_secs)
{
	switch (keep_idle_secs) {
	case 0:
		return PC_IDLE_TTL_DEFAULT;
	case PC_KEEP_FOREVER:
		return PC_TIME_NEVER;
	case PC_KEEP_NOT:
		return 0;
	default:
		return (uint64_t)keep_idle_secs * PC_NS_PER_SEC;
	}
}

static uint32_t at_most(uint32_t value, uint32_t limit)
{
	return value == 0 || value > limit ? limit : value;
}

/* [lock] */
static int introduce_locked(struct station *station, struct pc_error *err)
{
	const struct pc_model *model = station->model;
	const struct pc_sched_model_spec spec = {
		.key = model->text,
		.owner = station,
		.device_mask = UINT32_C(1) << model->device,
		.memory_bytes = model->memory_mb * MIB,
		.slots = station->slots,
		.min_workers = model->min_workers
				       ? at_most(model->min_workers, station->worker_places)
				       : 0,
		.max_workers = at_most(model->max_workers, station->worker_places),
		.cold_start_workers = model->cold_start_workers,
		.queue_capacity = model->queue_capacity,
		.idle_ttl_ns = ttl_ns(model->keep_idle_secs),
		.start_timeout_ns = model->start_timeout_secs * PC_NS_PER_SEC,
		.recycle_requests = model->recycle_requests,
		.recycle_bytes = model->recycle_mb * MIB,
		.pinned = model->pinned,
		.self_service = true,
	};

	return pc_sched_add_model(station->pool->sched, &spec, &station->brain, err);
}

static struct station *new_station(struct pc_model *model, const struct pc_engine *engine)
{
	void *block;
	struct station *station = aligned_new(sizeof(*station), &block);

	if (!station)
		return NULL;
	station->block = block;
	station->model = model;
	station->pool = model->pool;
	station->engine = engine;
	station->thread_bound = engine->flags & PC_ENGINE_THREAD_BOUND;
	station->slots = model->slots;
	station->worker_places = SEATS_MAX / model->slots;
	return station;
}

/* Publishes the station, unless somebody else was faster: his is as good. */
static int publish(struct station *station, uint64_t measured_bytes, struct pc_error *err)
{
	struct pc_model *model = station->model;
	struct pc_pool *pool = station->pool;
	struct turn turn;
	int rc = 0;

	turn_begin(pool, &turn);
	if (atomic_load_explicit(&model->station, memory_order_relaxed)) {
		turn_end(&turn);
		pc_free(station->block);
		return 0;
	}
	rc = introduce_locked(station, err);
	if (rc == 0) {
		pc_sched_set_estimate(station->brain, measured_bytes);
		station->next = pool->stations;
		pool->stations = station;
		turn_touch(&turn, station);
		atomic_store_explicit(&model->station, station, memory_order_release);
	}
	turn_end(&turn);
	if (rc)
		pc_free(station->block);
	return rc;
}

static int check_engine(const struct pc_model *model, const struct pc_engine *engine,
			struct pc_error *err)
{
	if (!(engine->capabilities >> model->capability & 1))
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "loading '%s': engine '%s' does not serve %s", model->text,
				    engine->name,
				    pc_capability_name((enum pc_capability)model->capability));
	if ((engine->flags & PC_ENGINE_THREAD_BOUND) && model->slots > 1)
		return pc_error_set(
			err, PC_E_UNSUPPORTED,
			"loading '%s': engine '%s' is bound to its thread, which has one "
			"slot, not %u",
			model->text, engine->name, model->slots);
	return 0;
}

static int make_station(struct pc_model *model, struct pc_error *err)
{
	const struct pc_engine *engine = model->engine;
	int rc = engine ? 0 : pc_engine_open(model->engine_name, &engine, err);

	if (rc) {
		pc_error_prefix(err, "loading '%s'", model->text);
		return rc;
	}
	rc = check_engine(model, engine, err);
	if (rc)
		return rc;

	struct station *station = new_station(model, engine);

	if (!station)
		return pc_error_oom(err);
	return publish(station, measured_recall(model, engine), err);
}

int station_of(struct pc_model *model, struct station **ret_station, struct pc_error *err)
{
	struct station *station = atomic_load_explicit(&model->station, memory_order_acquire);

	if (!station) {
		int rc = make_station(model, err);

		if (rc)
			return rc;
		station = atomic_load_explicit(&model->station, memory_order_acquire);
	}
	*ret_station = station;
	return 0;
}

void note_refused(struct pc_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->figures.errors++;
	pool->figures.refused++;
	pthread_mutex_unlock(&pool->lock);
}

int station_for_request(struct pc_model *model, struct station **ret_station, struct pc_error *err)
{
	int rc = station_of(model, ret_station, err);

	if (rc)
		note_refused(model->pool);
	return rc;
}
