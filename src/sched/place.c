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
 * Promises bind only those further back in the line, and are taken back from the end of it when
 * they cannot be kept. Whoever cannot be helped is not visited (line.c); what may change for him
 * with time alone is seen to by sched->impatient. Under pressure (rule 11) and with nothing free
 * those who grow just stand there, and so does who has free slots for all who wait for it, which
 * its body hands out.
 */
#include <string.h>

#include "sched/brain.h"

/*
 * Other brains may share the ledger, and allocations may fail: neither is followed by an event
 * here, so while somebody wants room it is looked for this often. A guess; change freely.
 */
#define RECHECK_NS (250 * PC_NS_PER_MS)

/*
 * So many models whose body may have got free slots are asked each time. The others are next, at
 * the latest when room is looked for again. A guess; change freely.
 */
enum { DOUBTS_AT_A_TIME = 8 };

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

/* Since when it has stood in line for room that it might get: not while all was tight (rule 11). */
static uint64_t in_line_since_ns(const struct pc_sched_model *model)
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
static uint64_t in_line_ns(const struct pc_sched_model *model)
{
	bool stands = pc__linked(&model->by_want) && model->by_want.key != BELOW_FLOOR;

	return stands ? model->sched->now_ns - in_line_since_ns(model) : 0;
}

static bool has_waited_long(const struct pc_sched_model *model)
{
	/* The usual case first. */
	if (model->sched->now_ns - model->want_since_ns < model->sched->settings.max_wait_ns)
		return false;
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
static uint32_t chosen_mask(const struct pc_sched_model *model)
{
	bool by_operator = model->load_asked && model->waiting == 0;

	return model->spec.device_mask & (by_operator ? model->load_mask : UINT32_MAX);
}

static bool is_chosen(const struct pc_sched_model *model, unsigned device)
{
	return chosen_mask(model) >> device & 1;
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

/* What will be there when everybody who was told to stop has gone. */
static uint64_t coming_bytes(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return less(account.budget_bytes,
		    less(account.reserved_bytes, sched->devices[device].leaving_bytes));
}

/* A place in the line, for which some of that is promised to others. */
struct place {
	uint64_t key, tie;
};

static struct place place_of(const struct pc_sched_model *model)
{
	return (struct place){ model->by_want.key, model->by_want.tie };
}

static uint64_t free_for(const struct pc_sched *sched, unsigned device, struct place place)
{
	return less(free_bytes(sched, device),
		    pc__promised_before(sched, device, place.key, place.tie));
}

static uint64_t coming_for(const struct pc_sched *sched, unsigned device, struct place place)
{
	return less(coming_bytes(sched, device),
		    pc__promised_before(sched, device, place.key, place.tie));
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
		uint64_t bytes = free_for(sched, d, place_of(model));

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

/* What it asks of the devices follows from whether it has a promise, and how long it has waited. */
static void review_bid(struct pc_sched_model *model)
{
	enum bid bid = has_waited_long(model) ? BID_EVICT_ANY : BID_EVICT;

	if (model->about_to_serve)
		bid = BID_NONE;
	else if (model->room_is_coming)
		bid = BID_SPAWN;
	else if (!may_evict(model))
		bid = BID_WAIT;
	pc__set_bid(model, bid);
}

/* When it will have waited for long. That it may then evict others is of use without a promise. */
static void review_patience(struct pc_sched_model *model, uint64_t at_ns)
{
	bool counts = pc__linked(&model->by_want) && model->by_want.key != BELOW_FLOOR;

	pc__set_place(&model->sched->impatient, &model->by_patience,
		      counts && !model->room_is_coming, at_ns, model->by_order.key);
}

/* Some device that is large enough for it, though maybe not empty enough; -1 when none is. */
static int large_enough_device(const struct pc_sched_model *model)
{
	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (is_chosen(model, d) && budget_of(model->sched, d) >= model->need_bytes)
			return (int)d;
	}
	return -1;
}

static void leave_line(struct pc_sched_model *model)
{
	pc__leave_line(model);
	model->sched->room_changed = true; /* whoever stands behind it may have its room */
}

/* After a promise was taken back. */
static void bid_anew(struct pc_sched_model *model)
{
	review_bid(model);
	review_patience(model,
			pc_time_add(in_line_since_ns(model), model->sched->settings.max_wait_ns));
}

static void stand(struct pc_sched_model *model, enum urgency urgency, uint64_t sequence)
{
	struct pc_sched *sched = model->sched;

	leave_line(model);
	pc__enter_line(model, chosen_mask(model), urgency, sequence);
	if (urgency == COLD) {
		int device = large_enough_device(model);

		/* If there is none, settle_room will find that out. */
		pc__rely_on(model, device >= 0 ? device : (int)pc__best_device(model));
	}
	model->about_to_serve = false;
	if (urgency == GROWS && model->spec.self_service)
		pc__set_insert(&sched->doubtful, &model->by_doubt, ++sched->last_sequence, 0);
	bid_anew(model);
}

/* At the end of those who are as urgent. */
static void join_line(struct pc_sched_model *model)
{
	model->want_since_ns = model->sched->now_ns;
	stand(model, urgency_of(model), ++model->sched->last_sequence);
}

void pc__set_need(struct pc_sched_model *model, uint64_t bytes)
{
	if (bytes == model->need_bytes)
		return;
	pc__resize_bid(model, bytes);
	if (pc__linked(&model->by_want))
		bid_anew(model);
	model->sched->room_changed = true;
}

void pc__review_need(struct pc_sched_model *model)
{
	bool needs = pc__needs_worker(model), stands = pc__linked(&model->by_want);

	if (needs && (!stands || model->by_want.key != urgency_of(model)))
		join_line(model);
	else if (!needs && stands)
		leave_line(model);
	else if (stands && model->line_mask != chosen_mask(model))
		stand(model, (enum urgency)model->by_want.key, model->by_want.tie);
	else if (stands)
		review_bid(model);
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
	struct place place = place_of(model);
	const struct pc_sched *sched = model->sched;
	int best = -1;

	for (unsigned d = 0; d < sched->device_count; d++) {
		if (may_use(model, d) && budget_of(sched, d) >= model->need_bytes &&
		    (best < 0 ||
		     coming_for(sched, d, place) > coming_for(sched, (unsigned)best, place)))
			best = (int)d;
	}
	return best;
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
	const struct pc_sched *sched = model->sched;
	uint64_t lacking[PC_DEVICE_MAX];

	if (coming_for(sched, roomiest, place_of(model)) >= model->need_bytes)
		return (int)roomiest;
	if (!may_evict(model))
		return -1;
	for (unsigned d = 0; d < sched->device_count; d++) {
		lacking[d] = may_use(model, d) && budget_of(sched, d) >= model->need_bytes
				     ? less(model->need_bytes,
					    coming_for(sched, d, place_of(model)))
				     : 0;
	}
	return pc__evict_for(model->sched, kind_of_victims(model), lacking);
}

static void promise(struct pc_sched_model *model, unsigned device, bool room_is_coming)
{
	pc__promise(model, device, room_is_coming);
	review_bid(model);
	review_patience(model, model->by_patience.key);
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
	int roomiest = device_to_wait_for(model);
	int device = roomiest < 0 ? -1 : clear_device(model, (unsigned)roomiest);

	if (device >= 0)
		promise(model, (unsigned)device, true);
}

/* ---- whose body is about to serve ---- */

/*
 * Whether the model, which grows, would do so in vain. Then it has no promise, and makes no bid
 * until it is asked again.
 */
static bool is_in_doubt(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;

	if (!pc__linked(&model->by_doubt))
		return false;
	pc__set_place(&sched->doubtful, &model->by_doubt, true, ++sched->last_sequence, 0);
	model->about_to_serve = is_about_to_serve(model);
	if (model->about_to_serve)
		pc__take_back_promise(model);
	bid_anew(model);
	return model->about_to_serve;
}

/* Some at a time, in turn. */
static void review_doubts(struct pc_sched *sched)
{
	uint64_t last = sched->last_sequence;

	for (int i = 0;
	     i < DOUBTS_AT_A_TIME && sched->doubtful.first && sched->doubtful.first->key <= last;
	     i++)
		is_in_doubt(
			pc__container_of(sched->doubtful.first, struct pc_sched_model, by_doubt));
}

/* ---- who has waited for long ---- */

static void become_impatient(struct pc_sched_model *model)
{
	const struct pc_sched_settings *settings = &model->sched->settings;
	uint64_t long_ns = pc_time_add(in_line_since_ns(model), settings->max_wait_ns);
	int roomiest;

	if (!has_waited_long(model)) {
		review_patience(model, long_ns > model->sched->now_ns ? long_ns
								      : model->sched->now_ns + 1);
		return;
	}
	pc__set_remove(&model->sched->impatient, &model->by_patience);
	review_bid(model);
	if (!is_cold(model))
		return;
	if (in_line_ns(model) / 2 > settings->max_wait_ns) {
		join_line(model); /* anew */
		return;
	}
	roomiest = device_to_wait_for(model);
	if (roomiest >= 0)
		promise(model, (unsigned)roomiest, false);
	long_ns = pc_time_add(long_ns, pc_time_add(settings->max_wait_ns, 2));
	review_patience(model, long_ns > model->sched->now_ns ? long_ns : model->sched->now_ns + 1);
}

static void end_patience(struct pc_sched *sched)
{
	while (sched->impatient.first && sched->impatient.first->key <= sched->now_ns)
		become_impatient(pc__container_of(sched->impatient.first, struct pc_sched_model,
						  by_patience));
}

/* ---- what is no longer so ---- */

/* Some budgets may have become too small for some who stand in line for their first worker. */
static void review_reliance(struct pc_sched *sched, unsigned device)
{
	struct pc_link *link;

	while ((link = sched->devices[device].relying.first) &&
	       ~link->key > budget_of(sched, device)) {
		struct pc_sched_model *model = pc__container_of(link, struct pc_sched_model,
								by_need);
		int other = large_enough_device(model);

		pc__rely_on(model, other);
		if (other < 0)
			give_up(model);
	}
}

/* Less may be coming than was, or more is promised to those before. */
static void review_promises(struct pc_sched *sched, unsigned device)
{
	struct pc_sched_model *model;

	while ((model = pc__last_unkept(sched, device, coming_bytes(sched, device)))) {
		pc__take_back_promise(model);
		bid_anew(model);
	}
}

/* ---- what would be done ---- */

/* Behind all who wait for their first worker; what is promised to those who grow does not bind. */
static const struct place behind_cold = { COLD, UINT64_MAX };

static bool fits_somewhere(const struct pc_sched_model *model, struct place place)
{
	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (is_allowed(model, d) && free_for(model->sched, d, place) >= model->need_bytes)
			return true;
	}
	return false;
}

static void plan_eviction(struct pc_sched *sched, const uint64_t lacking[PC_DEVICE_MAX],
			  struct pc__plan *plan)
{
	enum victim_kind kind = sched->settings.max_wait_ns > 0 ? VICTIM_RESIDENT : VICTIM_ANY;
	struct pc__victims victims = pc__choose_victims(sched, kind, lacking);

	plan->victim_count = victims.count;
	for (const struct pc_sched_worker *worker = victims.list; worker;
	     worker = worker->next_victim) {
		victims.count--;
		if (victims.count < PC_ARRAY_LEN(plan->victim_keys))
			plan->victim_keys[victims.count] = worker->model->spec.key;
	}
}

struct pc__plan pc__plan_room(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;
	struct pc__plan plan = { .coming = model->room_is_coming };
	struct place place = behind_cold;
	uint64_t lacking[PC_DEVICE_MAX];

	if (pc__linked(&model->by_want) && is_asked_for(model)) {
		/* What could be done for it has been done. */
		if (model->line_mask == model->spec.device_mask)
			return plan;
		/* An operator has chosen among its devices, which binds no request: see stand. */
		place = place_of(model);
	}
	plan = (struct pc__plan){ .fits = fits_somewhere(model, place) };
	for (unsigned d = 0; d < sched->device_count; d++) {
		bool may = is_allowed(model, d) && budget_of(sched, d) >= model->need_bytes;

		lacking[d] = may ? less(model->need_bytes, coming_for(sched, d, place)) : 0;
		plan.coming |= may && lacking[d] == 0 && !plan.fits;
	}
	if (!plan.fits && !plan.coming)
		plan_eviction(sched, lacking, &plan);
	return plan;
}

/* ---- all of it ---- */

static bool is_before(const struct pc_link *link, const struct pc_link *other)
{
	return link->key < other->key || (link->key == other->key && link->tie < other->tie);
}

/* What idle workers of one kind or another would free if all went. */
static void sum_evictable(const struct pc_sched *sched, unsigned device,
			  uint64_t ret_bytes[VICTIM_KINDS])
{
	const struct pc__set *idle = &sched->devices[device].idle;

	memset(ret_bytes, 0, VICTIM_KINDS * sizeof(*ret_bytes));
	/* Nobody asks for it in most events. */
	if (!idle->root || !sched->evictors.first)
		return;
	pc__set_freshen(idle);
	memcpy(ret_bytes,
	       pc__container_of(idle->root, struct pc_sched_worker, idle_place)->evictable,
	       VICTIM_KINDS * sizeof(*ret_bytes));
}

/* On one device, not before a place. */
static struct pc_link *next_on(const struct pc_sched *sched, unsigned device, struct place place)
{
	uint64_t coming, evictable[VICTIM_KINDS];

	if (!sched->devices[device].line.root)
		return NULL;
	coming = coming_bytes(sched, device);
	sum_evictable(sched, device, evictable);

	const uint64_t limits[BIDS] = {
		[BID_SPAWN] = free_bytes(sched, device),
		[BID_WAIT] = coming,
		[BID_EVICT] = coming + evictable[VICTIM_RESIDENT],
		[BID_EVICT_ANY] = coming + evictable[VICTIM_ANY],
	};
	struct pc_link *link = pc__first_helped(sched, device, place.key, place.tie, limits);

	/* Rule 11, as in may_use. */
	return link && is_tight(sched, device) && link->key != COLD ? NULL : link;
}

/* The first in line, not before a place, for which something can be done; NULL when there is none. */
static struct pc_sched_model *next_in_line(const struct pc_sched *sched, struct place place)
{
	struct pc_link *first = NULL;

	for (unsigned d = 0; d < sched->device_count; d++) {
		struct pc_link *link = next_on(sched, d, place);

		if (link && (!first || is_before(link, first)))
			first = link;
	}
	return first ? (struct pc_sched_model *)pc__container_of(first, struct standing, place)
			       ->model
		     : NULL;
}

/* Somebody stands there who would evict others, and none of those that are known to idle help. */
static bool is_evictor_between(const struct pc_sched *sched, struct place place,
			       const struct pc_sched_model *next)
{
	const struct pc_link *link = pc__set_at_least(&sched->evictors, place.key, place.tie);

	return link && (!next || is_before(link, &next->by_want));
}

static void help(struct pc_sched_model *model)
{
	if (is_in_doubt(model))
		return;
	if (grow(model))
		leave_line(model);
	else if (model->by_want.key != urgency_of(model))
		join_line(model); /* it has got its first worker: others go first for the rest */
	else
		make_room(model);
}

static void move_line(struct pc_sched *sched)
{
	struct place place = { 0, 0 };

	for (;;) {
		struct pc_sched_model *model = next_in_line(sched, place);

		if (sched->askable.first && is_evictor_between(sched, place, model)) {
			pc__ask_all_busy(sched);
			continue;
		}
		if (!model)
			return;
		place = place_of(model);
		place.tie++;
		help(model);
	}
}

void pc__settle_room(struct pc_sched *sched)
{
	pc__let_settle(sched);
	pc__relieve_all(sched);
	for (unsigned d = 0; d < sched->device_count; d++)
		review_reliance(sched, d);
	review_doubts(sched);
	end_patience(sched);
	for (unsigned d = 0; d < sched->device_count; d++)
		review_promises(sched, d);
	move_line(sched);
	sched->room_changed = false;
	/* Nobody waits for a floor: maintenance looks at those. */
	sched->recheck_ns = sched->wanting.first && sched->wanting.first->key != BELOW_FLOOR
				    ? pc_time_add(sched->now_ns, RECHECK_NS)
				    : PC_TIME_NEVER;
}
