/* SPDX-License-Identifier: MIT */
/*
 * place.c - which model gets one more worker, and on which device. Who makes room for it is room.c's
 * question.
 *
 * Every spawn goes through settle_room, the one place where models compete for memory. It grants
 * nothing and talks to no ticket except those whose model can never fit. Runs at the end of event
 * functions, and only when something changed that may help somebody.
 *
 * The room note. Models that need a worker stand in one line (sched->wanting): first those without
 * any worker, then those that grow, then those below their min_workers, each in order of arrival.
 * Each in turn is spawned if it fits into what is free and not promised to those before it. If it
 * does not fit:
 *  - where stopping workers will leave enough, that room is promised to it;
 *  - else idle workers of other models are stopped for it (rule 5), and their room is promised;
 *  - else, if it has no worker at all and has waited max_wait, the emptiest device is promised to
 *    it, so that smaller models do not overtake it for ever. Before that they may, because memory
 *    that nobody uses helps nobody; and when that did not help for as long again, it goes to the
 *    end of the line.
 * Promises are made anew each time and bind only those further back in the line.
 * Who grows, and whose body has free slots for all who wait, just stands there.
 */
#include "sched/brain.h"

/*
 * Other brains may share the ledger, and allocations may fail: neither is followed by an event
 * here, so while somebody wants room it is looked for this often. A guess; change freely.
 */
#define RECHECK_NS (250 * PC_NS_PER_MS)

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

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
	if (model->retired)
		return false; /* one worker is enough for those who wait */
	if (model->sched->draining || pc__is_pressed(model))
		return model->load_asked && live == 0 && !model->sched->draining;
	if (model->waiting > 0 && model->in_state[WORKER_SPAWNING] == 0)
		return true; /* growth: somebody waits, so all slots are taken (I4) */
	if (model->load_asked && live == 0)
		return true;
	return is_below_floor(model);
}

static bool is_cold(const struct pc_sched_model *model)
{
	return pc__live_workers(model) == 0;
}

/* Its first worker is asked for, by a request or an operator. */
static bool is_asked_for(const struct pc_sched_model *model)
{
	return is_cold(model) && (model->waiting > 0 || model->load_asked);
}

enum urgency { COLD, GROWS, BELOW_FLOOR };

/* How long it has stood in line for somebody who waits; nobody waits for a floor. */
static uint64_t in_line_ns(const struct pc_sched_model *model)
{
	bool stands = pc__linked(&model->by_want) && model->by_want.key != BELOW_FLOOR;

	return stands ? model->sched->now_ns - model->want_since_ns : 0;
}

static bool has_waited_long(const struct pc_sched_model *model)
{
	return in_line_ns(model) >= model->sched->settings.max_wait_ns;
}

/*
 * A model that serves already unloads another only when its queue has stood still for long and no
 * worker is on its way: never for a floor.
 */
static bool may_evict(const struct pc_sched_model *model)
{
	if (is_cold(model))
		return is_asked_for(model);
	return model->waiting > 0 && model->in_state[WORKER_SPAWNING] == 0 &&
	       has_waited_long(model);
}

/* ---- devices ---- */

static bool is_allowed(const struct pc_sched_model *model, unsigned device)
{
	return device < model->sched->device_count && (model->spec.device_mask >> device & 1);
}

/* A request takes the first device with room; what an operator chose binds only his own wish. */
static bool is_chosen(const struct pc_sched_model *model, unsigned device)
{
	bool by_operator = model->load_asked && model->waiting == 0;

	return is_allowed(model, device) && (!by_operator || (model->load_mask >> device & 1));
}

static bool is_tight(const struct pc_sched *sched, unsigned device)
{
	return sched->tight_mask >> device & 1;
}

/* Rule 11: on a device whose memory is tight there is only what somebody waits for without any. */
static bool may_use(const struct pc_sched_model *model, unsigned device)
{
	return is_chosen(model, device) && (is_asked_for(model) || !is_tight(model->sched, device));
}

static uint64_t budget_of(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return account.budget_bytes;
}

static uint64_t free_bytes(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return less(account.budget_bytes, account.reserved_bytes);
}

/* What will be there for the next in line when everybody who was told to stop has gone. */
static uint64_t coming_bytes(const struct pc_sched *sched, unsigned device)
{
	const struct device *d = &sched->devices[device];
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return less(less(account.budget_bytes, less(account.reserved_bytes, d->leaving_bytes)),
		    d->promised_bytes);
}

bool pc__could_ever_fit(const struct pc_sched_model *model)
{
	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (is_allowed(model, d) && budget_of(model->sched, d) >= model->need_bytes)
			return true;
	}
	return false;
}

unsigned pc__best_device(const struct pc_sched_model *model)
{
	unsigned best = PC_DEVICE_MAX;

	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (is_chosen(model, d) &&
		    (best == PC_DEVICE_MAX ||
		     free_bytes(model->sched, d) > free_bytes(model->sched, best)))
			best = d;
	}
	return best;
}

/* ---- spawning what fits ---- */

static bool spawn_if_it_fits(struct pc_sched_model *model)
{
	const struct pc_sched *sched = model->sched;
	uint64_t best_bytes = 0;
	int best = -1;

	for (unsigned d = 0; d < sched->device_count; d++) {
		uint64_t bytes = less(free_bytes(sched, d), sched->devices[d].promised_bytes);

		if (!may_use(model, d) || bytes < model->need_bytes)
			continue;
		/* The emptiest, and rather one whose memory is not tight. */
		bool better = best < 0 || is_tight(sched, (unsigned)best) > is_tight(sched, d) ||
			      (is_tight(sched, (unsigned)best) == is_tight(sched, d) &&
			       bytes > best_bytes);

		if (better) {
			best = (int)d;
			best_bytes = bytes;
		}
	}
	return best >= 0 && pc__spawn(model, (unsigned)best);
}

/* Spawns all that the model needs; false when something of it did not fit. */
static bool grow(struct pc_sched_model *model)
{
	bool extras = pc__needs_worker(model) && is_cold(model) && model->waiting > 0 &&
		      !pc__has_tripped(model) && !model->sched->draining;

	while (pc__needs_worker(model)) {
		if (!spawn_if_it_fits(model))
			return false;
	}
	/* Rule 2: further warm ones, which nobody has to make room for. */
	while (extras && pc__live_workers(model) < model->spec.cold_start_workers &&
	       (model->spec.max_workers == 0 || pc__live_workers(model) < model->spec.max_workers))
		extras = spawn_if_it_fits(model);
	return true;
}

/* ---- the line ---- */

static enum urgency urgency_of(const struct pc_sched_model *model)
{
	if (is_asked_for(model))
		return COLD;
	return model->waiting > 0 ? GROWS : BELOW_FLOOR;
}

/* At the end of those who are as urgent. */
static void join_line(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;

	model->want_since_ns = sched->now_ns;
	pc__set_place(&sched->wanting, &model->by_want, true, urgency_of(model),
		      ++sched->last_sequence);
	sched->room_changed = true;
}

/* Whoever stands behind it may have its room. */
static void leave_line(struct pc_sched_model *model)
{
	pc__set_remove(&model->sched->wanting, &model->by_want);
	model->sched->room_changed = true;
}

void pc__review_need(struct pc_sched_model *model)
{
	bool needs = pc__needs_worker(model), stands = pc__linked(&model->by_want);

	if (needs && (!stands || model->by_want.key != urgency_of(model)))
		join_line(model);
	else if (!needs && stands)
		leave_line(model);
}

/*
 * Self-service: requests wait and slots are free for them, which the body is about to hand out. It
 * may happen that somebody who came later is quicker; then the next look tells.
 */
static bool is_about_to_serve(const struct pc_sched_model *model)
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

/* ---- making room ---- */

/* The usable device, large enough, with the most room on its way; -1 when none is large enough. */
static int device_to_wait_for(const struct pc_sched_model *model)
{
	const struct pc_sched *sched = model->sched;
	int best = -1;

	for (unsigned d = 0; d < sched->device_count; d++) {
		if (may_use(model, d) && budget_of(sched, d) >= model->need_bytes &&
		    (best < 0 || coming_bytes(sched, d) > coming_bytes(sched, (unsigned)best)))
			best = (int)d;
	}
	return best;
}

/* What is lacking for the worker on each device that might hold it. */
static void list_lacking(const struct pc_sched_model *model, uint64_t lacking[PC_DEVICE_MAX])
{
	const struct pc_sched *sched = model->sched;

	for (unsigned d = 0; d < sched->device_count; d++) {
		lacking[d] = may_use(model, d) && budget_of(sched, d) >= model->need_bytes
				     ? less(model->need_bytes, coming_bytes(sched, d))
				     : 0;
	}
}

static enum victim_kind kind_of_victims(const struct pc_sched_model *model)
{
	return has_waited_long(model) ? VICTIM_ANY : VICTIM_RESIDENT;
}

/*
 * A device on which the worker will fit when all who were told to stop have gone, which may be
 * done right here; -1 when there is none.
 */
static int clear_device(const struct pc_sched_model *model, unsigned roomiest)
{
	uint64_t lacking[PC_DEVICE_MAX];

	if (coming_bytes(model->sched, roomiest) >= model->need_bytes)
		return (int)roomiest;
	if (!may_evict(model))
		return -1;
	list_lacking(model, lacking);
	return pc__evict_for(model->sched, kind_of_victims(model), lacking);
}

static void promise(const struct pc_sched_model *model, unsigned device)
{
	struct device *d = &model->sched->devices[device];

	d->promised_bytes += model->need_bytes;
	if (is_asked_for(model))
		d->promised_cold_bytes += model->need_bytes;
}

static void give_up(struct pc_sched_model *model)
{
	struct pc_error err = PC_ERROR_INIT;

	if (!is_cold(model))
		return;
	pc__explain_memory(model, &err);
	model->load_asked = false;
	pc__reject_waiting(model, &err);
}

/* It does not fit now. See the room note. */
static void make_room(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;
	int roomiest = device_to_wait_for(model);
	int device = roomiest < 0 ? -1 : clear_device(model, (unsigned)roomiest);

	model->room_is_coming = device >= 0;
	if (roomiest < 0)
		give_up(model);
	else if (device >= 0)
		promise(model, (unsigned)device);
	else if (!is_cold(model) || !may_evict(model) || !has_waited_long(model))
		return;
	else if (in_line_ns(model) / 2 > sched->settings.max_wait_ns)
		join_line(model); /* anew */
	else
		promise(model, (unsigned)roomiest);
}

/* ---- what would be done ---- */

static bool fits_somewhere(const struct pc_sched_model *model)
{
	const struct pc_sched *sched = model->sched;

	for (unsigned d = 0; d < sched->device_count; d++) {
		if (may_use(model, d) &&
		    less(free_bytes(sched, d), sched->devices[d].promised_bytes) >=
			    model->need_bytes)
			return true;
	}
	return false;
}

/* A cold model goes before those who grow: what is promised to them does not bind it. */
static void swap_promises(struct pc_sched *sched)
{
	for (unsigned d = 0; d < sched->device_count; d++) {
		struct device *device = &sched->devices[d];
		uint64_t bytes = device->promised_bytes;

		device->promised_bytes = device->promised_cold_bytes;
		device->promised_cold_bytes = bytes;
	}
}

static void plan_eviction(const struct pc_sched_model *model, struct pc__plan *plan)
{
	uint64_t lacking[PC_DEVICE_MAX];
	struct pc__victims victims;

	list_lacking(model, lacking);
	victims = pc__choose_victims(model->sched, kind_of_victims(model), lacking);
	plan->victim_count = victims.count;
	for (const struct pc_sched_worker *worker = victims.list; worker;
	     worker = worker->next_victim) {
		victims.count--;
		if (victims.count < PC_ARRAY_LEN(plan->victim_keys))
			plan->victim_keys[victims.count] = worker->model->spec.key;
	}
}

/* As if somebody asked for it now. */
static struct pc__plan plan_as_asked(const struct pc_sched_model *model)
{
	struct pc__plan plan = { .fits = fits_somewhere(model) };
	int roomiest = plan.fits ? -1 : device_to_wait_for(model);

	if (roomiest < 0)
		return plan;
	plan.coming = coming_bytes(model->sched, (unsigned)roomiest) >= model->need_bytes;
	if (!plan.coming)
		plan_eviction(model, &plan);
	return plan;
}

struct pc__plan pc__plan_room(struct pc_sched_model *model)
{
	struct pc__plan plan = { .coming = model->room_is_coming };
	bool load_asked = model->load_asked;
	uint32_t load_mask = model->load_mask;

	/* It stands in line for its first worker: what could be done for it has been done. */
	if (pc__linked(&model->by_want) && is_asked_for(model))
		return plan;
	swap_promises(model->sched);
	model->load_asked = true;
	model->load_mask = UINT32_MAX;
	plan = plan_as_asked(model);
	model->load_asked = load_asked;
	model->load_mask = load_mask;
	swap_promises(model->sched);
	return plan;
}

/* ---- all of it ---- */

void pc__settle_room(struct pc_sched *sched)
{
	struct pc_link *next;

	pc__let_settle(sched);
	for (unsigned d = 0; d < sched->device_count; d++) {
		sched->devices[d].promised_bytes = 0;
		sched->devices[d].promised_cold_bytes = 0;
	}
	pc__relieve_all(sched);
	for (struct pc_link *link = sched->wanting.first; link; link = next) {
		struct pc_sched_model *model = pc__container_of(link, struct pc_sched_model,
								by_want);

		next = pc__set_next(link);
		if (link->key == GROWS && is_about_to_serve(model))
			continue;
		if (grow(model)) {
			leave_line(model);
		} else if (link->key != urgency_of(model)) {
			/* It has got its first worker, and for what it still lacks others go first. */
			join_line(model);
			next = next ? next : link;
		} else {
			make_room(model);
		}
	}
	sched->room_changed = false;
	/* Nobody waits for a floor: maintenance looks at those. */
	sched->recheck_ns = sched->wanting.first && sched->wanting.first->key != BELOW_FLOOR
				    ? pc_time_add(sched->now_ns, RECHECK_NS)
				    : PC_TIME_NEVER;
}
