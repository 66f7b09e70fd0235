/* SPDX-License-Identifier: MIT */
/*
 * place.c - which model gets one more worker, and on which device. Who makes room for it is
 * room.c's question.
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
#include "sched/device.h"

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

/* ---- devices ---- */

/* Rule 11: on a device whose memory is tight there is only what somebody waits for without any. */
static bool may_use(const struct pc_sched_model *model, unsigned device)
{
	return pc__is_chosen(model, device) &&
	       (pc__is_asked_for(model) || !pc__is_tight(model->sched, device));
}

/* Some device that is large enough for it, though maybe not empty enough; -1 when none is. */
int pc__large_enough_device(const struct pc_sched_model *model)
{
	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (pc__is_chosen(model, d) && pc__budget_of(model->sched, d) >= model->need_bytes)
			return (int)d;
	}
	return -1;
}

bool pc__could_ever_fit(const struct pc_sched_model *model)
{
	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (pc__is_allowed(model, d) && pc__budget_of(model->sched, d) >= model->need_bytes)
			return true;
	}
	return false;
}

unsigned pc__best_device(const struct pc_sched_model *model)
{
	unsigned best = PC_DEVICE_MAX;

	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (pc__is_chosen(model, d) &&
		    (best == PC_DEVICE_MAX ||
		     pc__free_bytes(model->sched, d) > pc__free_bytes(model->sched, best)))
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
		uint64_t bytes = pc__free_for(sched, d, pc__place_of(model));

		if (!may_use(model, d) || bytes < model->need_bytes)
			continue;
		/* The emptiest, and rather one whose memory is not tight. */
		bool better = best < 0 ||
			      pc__is_tight(sched, (unsigned)best) > pc__is_tight(sched, d) ||
			      (pc__is_tight(sched, (unsigned)best) == pc__is_tight(sched, d) &&
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
	bool extras = pc__needs_worker(model) && pc__is_cold(model) && model->waiting > 0 &&
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

/* ---- making room ---- */

/* The usable device, large enough, with the most room on its way; -1 when none is large enough. */
static int device_to_wait_for(const struct pc_sched_model *model)
{
	struct place place = pc__place_of(model);
	const struct pc_sched *sched = model->sched;
	int best = -1;

	for (unsigned d = 0; d < sched->device_count; d++) {
		if (may_use(model, d) && pc__budget_of(sched, d) >= model->need_bytes &&
		    (best < 0 || pc__coming_for(sched, d, place) >
					 pc__coming_for(sched, (unsigned)best, place)))
			best = (int)d;
	}
	return best;
}

static enum victim_kind kind_of_victims(const struct pc_sched_model *model)
{
	return pc__has_waited_long(model) ? VICTIM_ANY : VICTIM_RESIDENT;
}

/*
 * A device on which the worker will fit when all who were told to stop have gone, which may be
 * done right here; -1 when there is none.
 */
static int clear_device(const struct pc_sched_model *model, unsigned roomiest)
{
	const struct pc_sched *sched = model->sched;
	uint64_t lacking[PC_DEVICE_MAX];

	if (pc__coming_for(sched, roomiest, pc__place_of(model)) >= model->need_bytes)
		return (int)roomiest;
	if (!pc__may_evict(model))
		return -1;
	for (unsigned d = 0; d < sched->device_count; d++) {
		lacking[d] = may_use(model, d) && pc__budget_of(sched, d) >= model->need_bytes
				     ? pc__less(model->need_bytes,
						pc__coming_for(sched, d, pc__place_of(model)))
				     : 0;
	}
	return pc__evict_for(model->sched, kind_of_victims(model), lacking);
}

static void promise(struct pc_sched_model *model, unsigned device, bool room_is_coming)
{
	pc__promise(model, device, room_is_coming);
	pc__review_bid(model);
	pc__review_patience(model, model->by_patience.key);
}

static void give_up(struct pc_sched_model *model)
{
	struct pc_error err = PC_ERROR_INIT;

	if (!pc__is_cold(model))
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
	model->about_to_serve = pc__is_about_to_serve(model);
	if (model->about_to_serve)
		pc__take_back_promise(model);
	pc__bid_anew(model);
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
	uint64_t long_ns = pc_time_add(pc__in_line_since_ns(model), settings->max_wait_ns);
	int roomiest;

	if (!pc__has_waited_long(model)) {
		pc__review_patience(
			model, long_ns > model->sched->now_ns ? long_ns : model->sched->now_ns + 1);
		return;
	}
	pc__set_remove(&model->sched->impatient, &model->by_patience);
	pc__review_bid(model);
	if (!pc__is_cold(model))
		return;
	if (pc__in_line_ns(model) / 2 > settings->max_wait_ns) {
		pc__join_line(model); /* anew */
		return;
	}
	roomiest = device_to_wait_for(model);
	if (roomiest >= 0)
		promise(model, (unsigned)roomiest, false);
	long_ns = pc_time_add(long_ns, pc_time_add(settings->max_wait_ns, 2));
	pc__review_patience(model,
			    long_ns > model->sched->now_ns ? long_ns : model->sched->now_ns + 1);
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
	       ~link->key > pc__budget_of(sched, device)) {
		struct pc_sched_model *model = pc__container_of(link, struct pc_sched_model,
								by_need);
		int other = pc__large_enough_device(model);

		pc__rely_on(model, other);
		if (other < 0)
			give_up(model);
	}
}

/* Less may be coming than was, or more is promised to those before. */
static void review_promises(struct pc_sched *sched, unsigned device)
{
	struct pc_sched_model *model;

	while ((model = pc__last_unkept(sched, device, pc__coming_bytes(sched, device)))) {
		pc__take_back_promise(model);
		pc__bid_anew(model);
	}
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
	coming = pc__coming_bytes(sched, device);
	sum_evictable(sched, device, evictable);

	const uint64_t limits[BIDS] = {
		[BID_SPAWN] = pc__free_bytes(sched, device),
		[BID_WAIT] = coming,
		[BID_EVICT] = coming + evictable[VICTIM_RESIDENT],
		[BID_EVICT_ANY] = coming + evictable[VICTIM_ANY],
	};
	struct pc_link *link = pc__first_helped(sched, device, place.key, place.tie, limits);

	/* Rule 11, as in may_use. */
	return link && pc__is_tight(sched, device) && link->key != COLD ? NULL : link;
}

/* The first in line, not before a place, for which something can be done; NULL when there is
 * none. */
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
		pc__quit_line(model);
	else if (model->by_want.key != pc__urgency_of(model))
		pc__join_line(
			model); /* it has got its first worker: others go first for the rest */
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
		place = pc__place_of(model);
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
