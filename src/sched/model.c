/* SPDX-License-Identifier: MIT */
/*
 * model.c - registering models and finding them by key. A model costs its record and its key; it
 * lives as long as the brain (change.c tells what it may go through).
 */
#include <string.h>

#include "base/text.h"
#include "sched/brain.h"

enum { KEY_MAX = 255, SLOTS_MAX = 64 };

struct pc_sched_model *pc_sched_find_model(const struct pc_sched *sched, const char *key)
{
	if (!key)
		return NULL;

	uint64_t hash = pc__hash_text(key);

	/* Equal hashes are told apart by the keys themselves. */
	for (struct pc_link *link = pc__set_at_least(&sched->models_by_hash, hash, 0);
	     link && link->key == hash; link = pc__set_next(link)) {
		struct pc_sched_model *model = pc__container_of(link, struct pc_sched_model,
								by_hash);

		if (strcmp(model->spec.key, key) == 0)
			return model;
	}
	return NULL;
}

static int check_key(const char *key, struct pc_error *err)
{
	size_t length = key ? strlen(key) : 0;

	if (length == 0 || length > KEY_MAX) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "key: a model's key has 1 to %d bytes, this one has %zu",
				    KEY_MAX, length);
	}
	if (pc__utf8_valid_prefix(key, length) != length) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "key: a model's key is UTF-8, byte %zu of this one is not",
				    pc__utf8_valid_prefix(key, length) + 1);
	}
	return 0;
}

/* A body that hands out the slots itself is asked about them, each worker of a model in turn. */
static int check_self_service(const struct pc_sched *sched, const struct pc_sched_model_spec *spec,
			      struct pc_error *err)
{
	if (!sched->driver.look || !sched->driver.recall || !sched->driver.resume) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "self_service of '%s': the driver lacks look, recall or resume",
				    spec->key);
	}
	if (spec->max_workers == 0 || spec->max_workers > PC_SELF_SERVICE_WORKERS_MAX) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "max_workers of '%s' must be 1 to %d, not %u, for self_service",
				    spec->key, PC_SELF_SERVICE_WORKERS_MAX, spec->max_workers);
	}
	return 0;
}

static int check_numbers(const struct pc_sched_model_spec *spec, struct pc_error *err)
{
	if (spec->slots < 1 || spec->slots > SLOTS_MAX) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "slots of '%s' must be 1 to %d, not %u", spec->key, SLOTS_MAX,
				    spec->slots);
	}
	if (spec->max_workers != 0 && spec->max_workers < spec->min_workers) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "max_workers of '%s' is %u, less than its min_workers of %u",
				    spec->key, spec->max_workers, spec->min_workers);
	}
	if (spec->cold_start_workers < 1) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "cold_start_workers of '%s' must be at least 1", spec->key);
	}
	if (spec->queue_capacity < 1) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "queue_capacity of '%s' must be at least 1", spec->key);
	}
	if (spec->recycle_bytes != 0 && spec->recycle_bytes < spec->memory_bytes) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "recycle_bytes of '%s' is %llu, less than the %llu of its "
				    "memory_bytes: no worker would last",
				    spec->key, (unsigned long long)spec->recycle_bytes,
				    (unsigned long long)spec->memory_bytes);
	}
	if (spec->start_timeout_ns == 0) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "start_timeout_ns of '%s' must be more than 0", spec->key);
	}
	return 0;
}

int pc__check_spec(const struct pc_sched *sched, const struct pc_sched_model_spec *spec,
		   struct pc_error *err)
{
	uint64_t known = (UINT64_C(1) << sched->device_count) - 1;

	if (check_key(spec->key, err))
		return PC_E_INVALID_ARGUMENT;
	if (spec->device_mask == 0 || (spec->device_mask & ~known)) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "device_mask of '%s': 0x%x must name some of the %u devices, "
				    "and no others",
				    spec->key, (unsigned)spec->device_mask, sched->device_count);
	}
	if (spec->memory_bytes == 0) {
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "memory_bytes of '%s' is 0: what a worker needs must be said, "
				    "it is not guessed",
				    spec->key);
	}
	if (spec->self_service && check_self_service(sched, spec, err))
		return PC_E_INVALID_ARGUMENT;
	return check_numbers(spec, err);
}

int pc_sched_add_model(struct pc_sched *sched, const struct pc_sched_model_spec *spec,
		       struct pc_sched_model **ret_model, struct pc_error *err)
{
	if (!spec || !ret_model)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a model needs a spec and a place for its handle");
	if (pc__check_spec(sched, spec, err))
		return PC_E_INVALID_ARGUMENT;
	if (pc_sched_find_model(sched, spec->key)) {
		return pc_error_set(err, PC_E_ALREADY_EXISTS,
				    "the model '%s' is registered already", spec->key);
	}

	char *key = pc_strdup(spec->key);
	struct pc_sched_model *model = key ? pc_calloc(1, sizeof(*model)) : NULL;

	if (model)
		model->standings = pc_calloc(sched->device_count, sizeof(*model->standings));
	if (!model || !model->standings) {
		pc_free(model);
		pc_free(key);
		return pc_error_oom(err);
	}
	for (unsigned d = 0; d < sched->device_count; d++)
		model->standings[d].model = model;
	model->bid = BID_NONE;
	model->promised_on = -1;
	model->relies_on = -1;
	model->sched = sched;
	model->spec = *spec;
	model->spec.key = key;
	model->need_bytes = spec->memory_bytes;

	sched->self_service_models += spec->self_service;

	uint64_t number = pc__set_count(&sched->models);

	pc__set_insert(&sched->models, &model->by_order, number, 0);
	pc__set_insert(&sched->models_by_hash, &model->by_hash, pc__hash_text(key), number);
	*ret_model = model;
	return 0;
}

void pc_sched_set_estimate(struct pc_sched_model *model, uint64_t memory_bytes)
{
	if (memory_bytes == 0)
		return;
	pc__set_need(model, memory_bytes); /* takes effect with the next event */
}

void pc_sched_set_owner(struct pc_sched_model *model, void *owner)
{
	model->spec.owner = owner;
}

void pc__free_models(struct pc_sched *sched)
{
	while (sched->models.first) {
		struct pc_sched_model *model = pc__container_of(sched->models.first,
								struct pc_sched_model, by_order);

		pc__set_remove(&sched->models, &model->by_order);
		pc_free(model->failure);
		pc_free(model->holdings);
		pc_free(model->standings);
		pc_free((char *)model->spec.key);
		pc_free(model);
	}
}
