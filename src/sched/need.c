/* SPDX-License-Identifier: MIT */
/*
 * need.c - which models need one more worker, and how they stand in the line for it (the room note
 * in place.c): how urgent it is, since when, and what they bid. Whether they get it is place.c's
 * question; the line itself is line.c. Runs inside event functions only.
 */
#include "sched/brain.h"
#include "sched/device.h"

/* ---- the predicates ---- */

static bool is_below_floor(const struct pc_sched_model *model)
{
	return model->keep_floor && pc__live_workers(model) < model->spec.min_workers;
}

bool pc__needs_worker(const struct pc_sched_model *model)
{
	uint32_t live = pc__live_workers(model);
	bool may_have_more = model->spec.max_workers == 0 || live < model->spec.max_workers;

	if (pc__is_backing_off(model) || !may_have_more)
		return false;
	if (pc__has_tripped(model) && model->in_state[WORKER_SPAWNING] > 0)
		return false; /* one probe at a time (rule 9) */
	if (model->waiting > 0 && live == 0)
		return true; /* cold start */
	if (model->sched->draining)
		return false;
	if (model->retired)
		return false; /* one worker is enough for those who wait */
	if (model->waiting > 0 && model->in_state[WORKER_SPAWNING] == 0)
		return true; /* growth: somebody waits, so all slots are taken (I4) */
	if (model->load_asked && live == 0)
		return true;
	return is_below_floor(model);
}

/* Since when it has stood in line for room that it might get: not while all was tight (rule 11). */
uint64_t pc__in_line_since_ns(const struct pc_sched_model *model)
{
	const struct pc_sched *sched = model->sched;
	uint64_t relaxed_ns = sched->now_ns;

	if (model->by_want.key == COLD)
		return model->want_since_ns;
	for (unsigned d = 0; d < sched->device_count; d++) {
		if ((model->spec.device_mask & ~sched->tight_mask) >> d & 1 &&
		    sched->devices[d].relaxed_ns < relaxed_ns)
			relaxed_ns = sched->devices[d].relaxed_ns;
	}
	return relaxed_ns > model->want_since_ns ? relaxed_ns : model->want_since_ns;
}

/* How long it has stood in line for somebody who waits; nobody waits for a floor. */
uint64_t pc__in_line_ns(const struct pc_sched_model *model)
{
	bool stands = pc__linked(&model->by_want) && model->by_want.key != BELOW_FLOOR;

	return stands ? model->sched->now_ns - pc__in_line_since_ns(model) : 0;
}

bool pc__has_waited_long(const struct pc_sched_model *model)
{
	/* The usual case first. */
	if (model->sched->now_ns - model->want_since_ns < model->sched->settings.max_wait_ns)
		return false;
	return pc__in_line_ns(model) >= model->sched->settings.max_wait_ns;
}

/*
 * A model that serves already unloads another only when its queue has stood still for long and no
 * worker is on its way: never for a floor.
 */
bool pc__may_evict(const struct pc_sched_model *model)
{
	if (pc__is_cold(model))
		return pc__is_asked_for(model);
	return model->waiting > 0 && model->in_state[WORKER_SPAWNING] == 0 &&
	       pc__has_waited_long(model);
}

/* ---- the line ---- */

enum urgency pc__urgency_of(const struct pc_sched_model *model)
{
	if (pc__is_asked_for(model))
		return COLD;
	return model->waiting > 0 ? GROWS : BELOW_FLOOR;
}

/* What it asks of the devices follows from whether it has a promise, and how long it has waited. */
void pc__review_bid(struct pc_sched_model *model)
{
	enum bid bid = pc__has_waited_long(model) ? BID_EVICT_ANY : BID_EVICT;

	if (model->about_to_serve)
		bid = BID_NONE;
	else if (model->room_is_coming)
		bid = BID_SPAWN;
	else if (!pc__may_evict(model))
		bid = BID_WAIT;
	pc__set_bid(model, bid);
}

/* When it will have waited for long. That it may then evict others is of use without a promise. */
void pc__review_patience(struct pc_sched_model *model, uint64_t at_ns)
{
	bool counts = pc__linked(&model->by_want) && model->by_want.key != BELOW_FLOOR;

	pc__set_place(&model->sched->impatient, &model->by_patience,
		      counts && !model->room_is_coming, at_ns, model->by_order.key);
}

void pc__quit_line(struct pc_sched_model *model)
{
	pc__leave_line(model);
	model->sched->room_changed = true; /* whoever stands behind it may have its room */
}

/* After a promise was taken back. */
void pc__bid_anew(struct pc_sched_model *model)
{
	pc__review_bid(model);
	pc__review_patience(model, pc_time_add(pc__in_line_since_ns(model),
					       model->sched->settings.max_wait_ns));
}

static void stand(struct pc_sched_model *model, enum urgency urgency, uint64_t sequence)
{
	struct pc_sched *sched = model->sched;

	pc__quit_line(model);
	pc__enter_line(model, pc__chosen_mask(model), urgency, sequence);
	if (urgency == COLD) {
		int device = pc__large_enough_device(model);

		/* If there is none, settle_room will find that out. */
		pc__rely_on(model, device >= 0 ? device : (int)pc__best_device(model));
	}
	model->about_to_serve = false;
	if (urgency == GROWS && model->spec.self_service)
		pc__set_insert(&sched->doubtful, &model->by_doubt, ++sched->last_sequence, 0);
	pc__bid_anew(model);
}

/* At the end of those who are as urgent. */
void pc__join_line(struct pc_sched_model *model)
{
	model->want_since_ns = model->sched->now_ns;
	stand(model, pc__urgency_of(model), ++model->sched->last_sequence);
}

void pc__set_need(struct pc_sched_model *model, uint64_t bytes)
{
	if (bytes == model->need_bytes)
		return;
	pc__resize_bid(model, bytes);
	if (pc__linked(&model->by_want))
		pc__bid_anew(model);
	model->sched->room_changed = true;
}

void pc__review_need(struct pc_sched_model *model)
{
	bool needs = pc__needs_worker(model), stands = pc__linked(&model->by_want);

	if (needs && (!stands || model->by_want.key != pc__urgency_of(model)))
		pc__join_line(model);
	else if (!needs && stands)
		pc__quit_line(model);
	else if (stands && model->line_mask != pc__chosen_mask(model))
		stand(model, (enum urgency)model->by_want.key, model->by_want.tie);
	else if (stands)
		pc__review_bid(model);
}

/*
 * Self-service: requests wait and slots are free for them, which the body is about to hand out. It
 * may happen that somebody who came later is quicker; then the next look tells.
 */
bool pc__is_about_to_serve(const struct pc_sched_model *model)
{
	uint32_t free_slots = 0;

	if (!model->spec.self_service || is_below_floor(model))
		return false;
	for (struct pc_link *link = model->workers[WORKER_READY].first; link;
	     link = pc__set_next(link)) {
		struct pc_sched_worker *worker = pc__container_of(link, struct pc_sched_worker,
								  by_state);

		pc__look(worker, false);
		if (worker->lent < model->spec.slots)
			free_slots += model->spec.slots - worker->lent;
	}
	return free_slots >= model->waiting;
}
