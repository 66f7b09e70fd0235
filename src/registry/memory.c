/* SPDX-License-Identifier: MIT */
/*
 * memory.c - the registry that lives and dies with the process: an array of records sorted by id,
 * behind one mutex. A record is about 2 KiB and there are as many as workers, so that nothing
 * cleverer pays.
 */
#include "registry/backend.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "registry/departed.h"
#include "registry/measured.h"

struct memory_registry {
	struct pc_registry base;
	pthread_mutex_t lock;
	struct pc_worker_info **workers;    /* [lock] by worker_id; each is owned */
	size_t count;			    /* [lock] */
	size_t capacity;		    /* [lock] */
	struct pc__measured_table measured; /* [lock] */
	struct pc__departed_table departed; /* [lock] */
};

static struct memory_registry *memory_of(struct pc_registry *registry)
{
	return (struct memory_registry *)registry;
}

/* Where the id is, or where it would have to be. */
static size_t find_locked(const struct memory_registry *memory, const char *worker_id,
			  bool *ret_found)
{
	size_t low = 0, high = memory->count;

	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(memory->workers[middle]->worker_id, worker_id);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert_locked(struct memory_registry *memory, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	bool found;
	size_t at = find_locked(memory, worker->worker_id, &found);

	if (found)
		return pc__registry_exists(err, worker->worker_id);
	if (memory->count == memory->capacity) {
		size_t capacity = memory->capacity ? 2 * memory->capacity : 16;
		struct pc_worker_info **workers = pc_realloc(
			memory->workers, capacity * sizeof(struct pc_worker_info *));

		if (!workers)
			return pc_error_oom(err);
		memory->workers = workers;
		memory->capacity = capacity;
	}

	struct pc_worker_info *copy = pc_malloc(sizeof(*copy));

	if (!copy)
		return pc_error_oom(err);
	*copy = *worker;
	memmove(&memory->workers[at + 1], &memory->workers[at],
		(memory->count - at) * sizeof(struct pc_worker_info *));
	memory->workers[at] = copy;
	memory->count++;
	return 0;
}

static int memory_insert(struct pc_registry *registry, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);

	pthread_mutex_lock(&memory->lock);
	int rc = insert_locked(memory, worker, err);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static int memory_update(struct pc_registry *registry, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);
	bool found;
	int rc;

	pthread_mutex_lock(&memory->lock);

	size_t at = find_locked(memory, worker->worker_id, &found);

	if (!found)
		rc = pc__registry_not_found(err, worker->worker_id);
	else
		rc = pc__registry_check_change(err, memory->workers[at]->status, worker);
	if (!rc)
		*memory->workers[at] = *worker;
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static void remove_locked(struct memory_registry *memory, size_t at)
{
	pc_free(memory->workers[at]);
	memory->count--;
	memmove(&memory->workers[at], &memory->workers[at + 1],
		(memory->count - at) * sizeof(struct pc_worker_info *));
}

static int memory_remove(struct pc_registry *registry, const char *worker_id, struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);
	bool found;
	int rc = 0;

	pthread_mutex_lock(&memory->lock);

	size_t at = find_locked(memory, worker_id, &found);

	if (found)
		remove_locked(memory, at);
	else
		rc = pc__registry_not_found(err, worker_id);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static int end_locked(struct memory_registry *memory, const struct pc_departed_worker *departed,
		      struct pc_error *err)
{
	struct pc_departed_worker whole = *departed;
	bool found;
	size_t at = find_locked(memory, departed->worker_id, &found);

	if (!found)
		return pc__registry_not_found(err, departed->worker_id);
	memcpy(whole.backend, memory->workers[at]->backend, sizeof(whole.backend));
	memcpy(whole.model_id, memory->workers[at]->model_id, sizeof(whole.model_id));
	memcpy(whole.device, memory->workers[at]->device, sizeof(whole.device));

	int rc = pc__departed_table_add(&memory->departed, &whole, err);

	if (!rc)
		remove_locked(memory, at);
	return rc;
}

static int memory_end(struct pc_registry *registry, const struct pc_departed_worker *departed,
		      struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);

	pthread_mutex_lock(&memory->lock);
	int rc = end_locked(memory, departed, err);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static int memory_list_departed(struct pc_registry *registry, const char *model_id,
				struct pc_departed_worker **ret_departed, size_t *ret_count,
				struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);

	pthread_mutex_lock(&memory->lock);
	int rc = pc__departed_table_list(&memory->departed, model_id, ret_departed, ret_count, err);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static int memory_get(struct pc_registry *registry, const char *worker_id,
		      struct pc_worker_info *ret_worker, struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);
	bool found;
	int rc = 0;

	pthread_mutex_lock(&memory->lock);

	size_t at = find_locked(memory, worker_id, &found);

	if (found)
		*ret_worker = *memory->workers[at];
	else
		rc = pc__registry_not_found(err, worker_id);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static int by_spawn_time(const void *a, const void *b)
{
	const struct pc_worker_info *one = a, *other = b;

	if (one->spawned_wall_ms != other->spawned_wall_ms)
		return one->spawned_wall_ms < other->spawned_wall_ms ? -1 : 1;
	return strcmp(one->worker_id, other->worker_id);
}

static int memory_list(struct pc_registry *registry, struct pc_worker_info **ret_workers,
		       size_t *ret_count, struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);
	struct pc_worker_info *copies = NULL;
	size_t count;

	pthread_mutex_lock(&memory->lock);
	count = memory->count;
	if (count)
		copies = pc_calloc(count, sizeof(*copies));
	for (size_t i = 0; copies && i < count; i++)
		copies[i] = *memory->workers[i];
	pthread_mutex_unlock(&memory->lock);

	if (count && !copies)
		return pc_error_oom(err);
	if (count)
		qsort(copies, count, sizeof(*copies), by_spawn_time);
	*ret_workers = copies;
	*ret_count = count;
	return 0;
}

static int memory_remember(struct pc_registry *registry, const struct pc__measured_key *key,
			   uint64_t bytes, int64_t wall_ms, struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);

	pthread_mutex_lock(&memory->lock);
	int rc = pc__measured_table_remember(&memory->measured, key, bytes, wall_ms, err);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static int memory_recall(struct pc_registry *registry, const struct pc__measured_key *key,
			 struct pc_measured_memory *ret_measured, struct pc_error *err)
{
	struct memory_registry *memory = memory_of(registry);

	pthread_mutex_lock(&memory->lock);
	int rc = pc__measured_table_recall(&memory->measured, key, ret_measured, err);
	pthread_mutex_unlock(&memory->lock);
	return rc;
}

static void memory_close(struct pc_registry *registry)
{
	struct memory_registry *memory = memory_of(registry);

	for (size_t i = 0; i < memory->count; i++)
		pc_free(memory->workers[i]);
	pc_free(memory->workers);
	pc__measured_table_fini(&memory->measured);
	pc__departed_table_fini(&memory->departed);
	pthread_mutex_destroy(&memory->lock);
	pc_free(memory);
}

static const struct pc__registry_ops memory_ops = {
	.close = memory_close,
	.insert = memory_insert,
	.update = memory_update,
	.remove = memory_remove,
	.get = memory_get,
	.list = memory_list,
	.end = memory_end,
	.list_departed = memory_list_departed,
	.remember = memory_remember,
	.recall = memory_recall,
};

int pc_registry_open_memory(struct pc_registry **ret_registry, struct pc_error *err)
{
	struct memory_registry *memory = pc_calloc(1, sizeof(*memory));

	if (!memory)
		return pc_error_oom(err);
	memory->base.ops = &memory_ops;
	pthread_mutex_init(&memory->lock, NULL);
	*ret_registry = &memory->base;
	return 0;
}
