/* SPDX-License-Identifier: MIT */
/*
 * install.c - puts a generation in force: tells the brain which models are new, which have changed,
 * which are no more, and what budgets and intervals there are now. The reload's thread, or the main
 * thread before any other.
 *
 * All or nothing. What can fail is done first and shows nowhere: what differs is found out without
 * the lock, then under it every new model is registered out of service. From there on nothing can
 * fail, and the rest is one hold of the lock, so that every request finds the one generation or the
 * other: each model gets its new spec or, where nothing of it concerns the brain, only its new
 * owner.
 *
 * Who owns an owner. The brain hands the owner of a model back in spawn orders, so the generation
 * that it lives in must be there as long as one can come. The models in service belong to the
 * generation in force. One that was removed while requests waited for it may still get a worker;
 * until none waits any more, `retiring` keeps its generation.
 */
#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/memory.h>

#include <assert.h>
#include <string.h>

#include "daemon/body_inner.h"
#include "daemon/generation.h"

/* How long a model's file may take to be verified: 400 GB at 5 MB/s. A guess. */
#define PREPARE_TIMEOUT_SECS 86400

/* ---- what a model is to the brain ---- */

static const char *device_of(const struct model *model)
{
	return model->entry->device[0] ? model->entry->device : model->backend->device;
}

uint32_t body_device_mask(const struct daemon *daemon, const struct model *model)
{
	const char *device = device_of(model);
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

static struct pc_sched_model_spec spec_of(const struct daemon *daemon, struct model *model)
{
	const struct pc_config *config = model->generation->config;
	const struct pc_model_entry *entry = model->entry;

	return (struct pc_sched_model_spec){
		.key = entry->id,
		.owner = model,
		.device_mask = body_device_mask(daemon, model),
		.memory_bytes = entry->memory_bytes,
		.slots = entry->slots,
		.min_workers = entry->min_workers,
		.max_workers = entry->max_workers,
		.cold_start_workers = entry->cold_start_workers,
		.queue_capacity = entry->queue_capacity ? entry->queue_capacity
							: (uint32_t)config->pool_queue_capacity,
		.idle_ttl_ns = idle_ttl_ns(entry, config),
		.start_timeout_ns = model->backend->start_timeout_secs * PC_NS_PER_SEC,
		.prepare_timeout_ns = PREPARE_TIMEOUT_SECS * PC_NS_PER_SEC,
		.pinned = entry->pinned,
	};
}

/* In what spec_of sets, but for key, owner and what is the same for all. */
static bool is_same_spec(const struct pc_sched_model_spec *a, const struct pc_sched_model_spec *b)
{
	return a->device_mask == b->device_mask && a->memory_bytes == b->memory_bytes &&
	       a->slots == b->slots && a->min_workers == b->min_workers &&
	       a->max_workers == b->max_workers && a->cold_start_workers == b->cold_start_workers &&
	       a->queue_capacity == b->queue_capacity && a->idle_ttl_ns == b->idle_ttl_ns &&
	       a->start_timeout_ns == b->start_timeout_ns && a->pinned == b->pinned;
}

/* ---- what is to be done, found out without the lock ---- */

struct step {
	struct model *model;
	struct pc_sched_model_spec spec;
	bool update; /* else the owner alone is new */
	bool relaunch;
};

struct plan {
	struct step *steps; /* of the models that have a device */
	size_t step_count;
	struct retiring *retiring; /* of those that are no more */
};

static void free_retiring(struct retiring *list)
{
	while (list) {
		struct retiring *next = list->next;

		generation_unref(list->generation);
		pc_free(list);
		list = next;
	}
}

static void plan_fini(struct plan *plan)
{
	free_retiring(plan->retiring);
	pc_free(plan->steps);
}

static struct step plan_step(const struct daemon *daemon, struct model *before, struct model *model)
{
	struct step step = { .model = model, .spec = spec_of(daemon, model), .update = true };
	struct pc_sched_model_spec old;

	if (!before || !before->sched) {
		/* One that comes back may have workers yet, of nobody knows what launch. */
		step.relaunch = true;
		return step;
	}
	old = spec_of(daemon, before);
	step.relaunch = strcmp(before->definition, model->definition) != 0;
	step.update = step.relaunch || !is_same_spec(&old, &step.spec);
	return step;
}

static int plan_removal(struct plan *plan, struct model *model, struct pc_error *err)
{
	struct retiring *retiring = pc_calloc(1, sizeof(*retiring));

	if (!retiring)
		return pc_error_oom(err);
	retiring->sched = model->sched;
	retiring->generation = generation_ref(model->generation);
	retiring->next = plan->retiring;
	plan->retiring = retiring;
	return 0;
}

/* `old` is NULL for the first one. */
static int make_plan(const struct daemon *daemon, const struct generation *old,
		     struct generation *next, struct plan *plan, struct pc_error *err)
{
	int rc = 0;

	plan->steps = pc_calloc(next->model_count, sizeof(*plan->steps));
	if (!plan->steps)
		return pc_error_oom(err);
	for (size_t i = 0; i < next->model_count; i++) {
		struct model *model = &next->models[i];
		struct model *before = old ? generation_find(old, model->entry->id) : NULL;

		if (body_device_mask(daemon, model))
			plan->steps[plan->step_count++] = plan_step(daemon, before, model);
		else
			pc_log(PC_LOG_WARN, "model",
			       PC_FIELDS({ "model", model->entry->id },
					 { "device", device_of(model) }),
			       "the model's device is not there; its requests are refused");
	}
	for (size_t i = 0; old && i < old->model_count && !rc; i++) {
		struct model *model = &old->models[i];
		const struct model *after = generation_find(next, model->entry->id);

		if (model->sched && !(after && body_device_mask(daemon, after)))
			rc = plan_removal(plan, model, err);
	}
	return rc;
}

/* ---- under the lock ---- */

/* Registers what is new, out of service. After an error some of it stays so, which nobody sees. */
static int register_new_locked(struct body *body, struct plan *plan, bool in_service,
			       struct pc_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < plan->step_count && !rc; i++) {
		struct step *step = &plan->steps[i];
		struct pc_sched_model *sched = pc_sched_find_model(body->sched, step->spec.key);

		rc = pc_sched_check_model(body->sched, &step->spec, err);
		if (!rc && !sched) {
			rc = pc_sched_add_model(body->sched, &step->spec, &sched, err);
			if (!rc && !in_service) {
				pc_sched_retire_model(body->sched, pc_clock_now_ns(), sched);
				pc_sched_set_owner(sched, NULL);
			}
		}
		step->model->sched = sched;
	}
	return rc;
}

static void take_steps_locked(struct body *body, const struct plan *plan)
{
	uint64_t now = pc_clock_now_ns();
	int rc = 0;

	for (size_t i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->update)
			rc |= pc_sched_update_model(body->sched, now, step->model->sched,
						    &step->spec, step->relaunch, NULL);
		else
			pc_sched_set_owner(step->model->sched, step->model);
	}
	assert(rc == 0); /* they were checked */
	(void)rc;
}

/* Those that are still waited for move to the body; the others stay in the plan, which frees
 * them. */
static void retire_locked(struct body *body, struct plan *plan)
{
	struct retiring **at = &plan->retiring;

	while (*at) {
		struct retiring *retiring = *at;
		struct pc_sched_model_view view;

		pc_sched_retire_model(body->sched, pc_clock_now_ns(), retiring->sched);
		pc_sched_get_model(retiring->sched, &view);
		if (view.waiting == 0) {
			at = &retiring->next;
			continue;
		}
		*at = retiring->next;
		retiring->next = body->retiring;
		body->retiring = retiring;
	}
}

static void set_budgets_locked(struct body *body, const uint64_t *budgets)
{
	const struct pc_ledger *ledger = body->daemon->ledger;

	for (unsigned i = 0; i < pc_ledger_device_count(ledger); i++) {
		struct pc_device_account account;

		pc_ledger_account(ledger, i, &account);
		if (account.budget_bytes != budgets[i])
			pc_sched_limit_changed(body->sched, pc_clock_now_ns(), i, budgets[i]);
	}
}

static int switch_locked(struct body *body, struct generation *next, const uint64_t *budgets,
			 struct plan *plan, struct pc_error *err)
{
	const struct pc_config *config = next->config;
	int rc = 0;

	if (body->draining)
		return pc_error_set(err, PC_E_SHUTTING_DOWN,
				    "the pool is shutting down and reads no configuration");
	rc = register_new_locked(body, plan, false, err);
	if (rc)
		return rc;
	pc_sched_set_maintenance(body->sched, pc_clock_now_ns(),
				 config->pool_maintenance_interval_secs * PC_NS_PER_SEC,
				 config->pool_cooldown_idle_minutes * 60 * PC_NS_PER_SEC, NULL);
	take_steps_locked(body, plan);
	retire_locked(body, plan);
	set_budgets_locked(body, budgets);
	body->daemon->generation = generation_ref(next);
	body->next_tick_ns = pc_sched_next_deadline(body->sched);
	return 0;
}

/* ---- the interface ---- */

int body_install_first(struct body *body, struct pc_error *err)
{
	struct plan plan = { .steps = NULL };
	int rc = make_plan(body->daemon, NULL, body->daemon->generation, &plan, err);

	if (!rc)
		rc = register_new_locked(body, &plan, true, err); /* there is no other thread */
	plan_fini(&plan);
	return rc;
}

int body_install(struct daemon *daemon, struct generation *next, const uint64_t *budgets,
		 struct pc_error *err)
{
	struct generation *old = body_generation(daemon);
	struct body *body = daemon->body;
	struct plan plan = { .steps = NULL };
	int rc = make_plan(daemon, old, next, &plan, err);

	if (!rc) {
		body_lock(body);
		rc = switch_locked(body, next, budgets, &plan, err);
		body_unlock(body);
	}
	if (!rc)
		generation_unref(old); /* the body's */
	generation_unref(old);
	plan_fini(&plan);
	return rc;
}

struct generation *body_generation(struct daemon *daemon)
{
	body_lock(daemon->body);

	struct generation *generation = generation_ref(daemon->generation);

	body_unlock_quietly(daemon->body);
	return generation;
}

struct retiring *body_take_retired_locked(struct body *body)
{
	struct retiring *retired = NULL, **at = &body->retiring;

	while (*at) {
		struct retiring *retiring = *at;
		struct pc_sched_model_view view;

		pc_sched_get_model(retiring->sched, &view);
		if (view.waiting > 0) {
			at = &retiring->next;
			continue;
		}
		*at = retiring->next;
		retiring->next = retired;
		retired = retiring;
	}
	return retired;
}

void body_free_retired(struct retiring *retired)
{
	free_retiring(retired);
}
