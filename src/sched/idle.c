/* SPDX-License-Identifier: MIT */
/*
 * idle.c - what becomes of workers that nobody uses: cooldown (rule 8), and models that may not
 * idle at all. Who goes because others need the room is place.c's question. Runs inside event
 * functions only.
 *
 * The cooldown note. A model that may cool stands in sched->cooling by the time at which it will
 * have idled for long enough. Using it again moves nothing there, for that would cost every lease:
 * whoever is due is asked then, and goes to a later place, or out of the set, if it was used since.
 * So maintenance visits only models that lose a worker, and models that were used since it last
 * visited them.
 */
#include "sched/brain.h"

/* A model that may not idle at all: its workers go as soon as their last lease is over. */
void pc__stop_used(struct pc_sched_model *model)
{
	/* Those that were about to be leased when the body last said anything. */
	pc__ask_busy(model);
	while (pc__live_workers(model) > model->spec.min_workers) {
		/* Used, whether with an answer or not. */
		struct pc_link *link = pc__set_at_least(&model->resting, 1, 0);

		if (!link)
			return;
		/* One that cannot be recalled rests no more. */
		pc__retire(pc__container_of(link, struct pc_sched_worker, rest_place), PC_STOP_IDLE,
			   false);
	}
}

/* Self-service: leases are seen only by looking, and so is when the last one was. */
static bool is_any_in_use(struct pc_sched_model *model)
{
	struct pc_link *next;
	bool in_use = false;

	if (!model->spec.self_service)
		return false;
	for (struct pc_link *link = model->workers[WORKER_READY].first; link; link = next) {
		struct pc_sched_worker *worker = pc__container_of(link, struct pc_sched_worker,
								  by_state);

		next = pc__set_next(link);
		pc__worker_changed(worker, 0); /* it may be recycled */
		in_use |= worker->lent > 0;
		if (worker->last_used_ns > model->last_busy_ns)
			model->last_busy_ns = worker->last_used_ns;
	}
	return in_use;
}

static uint64_t cooldown_ns(const struct pc_sched_model *model)
{
	return model->spec.idle_ttl_ns == PC_IDLE_TTL_DEFAULT
		       ? model->sched->settings.cooldown_idle_ns
		       : model->spec.idle_ttl_ns;
}

/* Nobody uses it, as far as the brain can tell without asking, and it has workers to lose. */
static bool may_cool(const struct pc_sched_model *model)
{
	if (model->spec.pinned || cooldown_ns(model) == PC_TIME_NEVER)
		return false;
	if (pc__live_workers(model) <= model->spec.min_workers)
		return false;
	return model->leases == 0 && model->waiting == 0 && model->in_state[WORKER_SPAWNING] == 0;
}

void pc__review_cooling(struct pc_sched_model *model)
{
	if (!pc__linked(&model->by_rest) && may_cool(model))
		pc__set_insert(&model->sched->cooling, &model->by_rest,
			       pc_time_add(model->last_busy_ns, cooldown_ns(model)),
			       model->by_order.key);
}

void pc__set_cooldown(struct pc_sched *sched, uint64_t cooldown_idle_ns)
{
	struct pc__set cooling = sched->cooling;

	if (cooldown_idle_ns == sched->settings.cooldown_idle_ns)
		return;
	sched->settings.cooldown_idle_ns = cooldown_idle_ns;
	sched->cooling = (struct pc__set){ 0 };
	while (cooling.first) {
		struct pc_sched_model *model = pc__container_of(cooling.first,
								struct pc_sched_model, by_rest);

		pc__set_remove(&cooling, &model->by_rest);
		pc__review_cooling(model);
	}
}

/* Rule 8: one worker per interval, of models that have been idle as a whole. */
static void cool_down(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;
	uint64_t due_ns = pc_time_add(sched->now_ns, cooldown_ns(model) ? cooldown_ns(model) : 1);
	bool may = may_cool(model);

	if (may && !is_any_in_use(model))
		due_ns = pc_time_add(model->last_busy_ns, cooldown_ns(model));

	struct pc_sched_worker *worker = may && due_ns <= sched->now_ns
						 ? pc__least_recently_used(model)
						 : NULL;

	if (worker)
		pc__retire(worker, PC_STOP_IDLE, false);
	pc__set_place(&sched->cooling, &model->by_rest, may_cool(model), due_ns,
		      model->by_order.key);
}

void pc__maintain(struct pc_sched *sched)
{
	struct pc_link *next;

	if (!sched->workers.first || sched->now_ns < sched->maintenance_ns)
		return;
	sched->maintenance_ns = pc_time_add(sched->now_ns, sched->settings.maintenance_interval_ns);
	for (struct pc_link *link = sched->cooling.first; link && link->key <= sched->now_ns;
	     link = next) {
		next = pc__set_next(link);
		cool_down(pc__container_of(link, struct pc_sched_model, by_rest));
	}
	sched->room_changed = true; /* look again at whoever wants a worker */
}
