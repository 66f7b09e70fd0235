/* SPDX-License-Identifier: MIT */
/*
 * room.c - who makes room: the choice of idle workers to stop, for a model that does not fit (rule
 * 5) or because a device is over its budget (rule 11). For whom, and when, is place.c's question.
 *
 * The choice note. Victims are the least recently used idle workers of a device that together free
 * enough, without those that turn out not to be needed when one goes back over them, the most
 * recently used first. device->idle carries sums, so this is not done by walking: the first worker
 * at which the sum from the front reaches what is lacking cannot be left out, for those before it
 * do not suffice; with what then is lacking still, the same holds for the next one. Each victim
 * costs one descent. Where several devices would do, the choices are made side by side, and the
 * first that is complete has the fewest.
 *
 * The floor note. Of a model with min_workers as many workers may go as it has more than that; on
 * each device these are the least recently used of its idle ones (holding->spare), the others
 * (holding->kept) count nothing in the sums. Whenever a worker starts or ends to idle, or there is
 * one more or less, at most one worker per device changes sides.
 *
 * The look note. What the brain knows of workers whose slots the body hands out is what was so when
 * it last looked: one that it takes for idle may be in use, or have been; one that it takes for
 * busy is so, or the body will say so (wanted), or it stands in model->busy. Before victims are
 * chosen, those in busy are asked about, which makes them idle or wanted. Then only the chosen are
 * looked at: if one was used meanwhile it takes its new place, and the choice is made again. What
 * the choice is made from can only have moved back in the order since, so those that are chosen and
 * found unused are the ones that would be chosen if all had been looked at. Each look but those
 * finds somebody who has been leased since the last look: the leases pay for them.
 */
#include "sched/brain.h"
#include "sched/device.h"

/* ---- sums ---- */

static struct pc_sched_worker *idle_worker(struct pc_link *link)
{
	return link ? pc__container_of(link, struct pc_sched_worker, idle_place) : NULL;
}

static uint64_t evictable_below(struct pc_link *link, enum victim_kind kind)
{
	return link ? idle_worker(link)->evictable[kind] : 0;
}

static uint64_t evictable_itself(const struct pc_sched_worker *worker, enum victim_kind kind)
{
	bool counts = worker->may_go && (kind == VICTIM_ANY || !pc__linked(&worker->young_place));

	return counts ? worker->reserved_bytes : 0;
}

void pc__sum_evictable(struct pc_link *link)
{
	struct pc_sched_worker *worker = idle_worker(link);

	for (enum victim_kind kind = 0; kind < VICTIM_KINDS; kind++) {
		worker->evictable[kind] = evictable_below(link->left, kind) +
					  evictable_itself(worker, kind) +
					  evictable_below(link->right, kind);
	}
}

/* The first at which the sum from the front reaches `bytes`, or NULL. */
static struct pc_sched_worker *reaching(const struct pc__set *idle, enum victim_kind kind,
					uint64_t bytes)
{
	struct pc_link *link = idle->root;

	if (evictable_below(link, kind) < bytes)
		return NULL;
	for (;;) {
		uint64_t before = evictable_below(link->left, kind);
		uint64_t itself = evictable_itself(idle_worker(link), kind);

		pc__step();
		if (bytes <= before) {
			link = link->left;
		} else if (bytes - before <= itself) {
			return idle_worker(link);
		} else {
			bytes -= before + itself;
			link = link->right;
		}
	}
}

/* ---- floors ---- */

static uint32_t spare_workers(const struct pc_sched_model *model)
{
	uint32_t live = pc__live_workers(model);

	return live > model->spec.min_workers ? live - model->spec.min_workers : 0;
}

static void set_may_go(struct pc_sched_worker *worker, bool may_go)
{
	const struct pc_sched_model *model = worker->model;
	struct holding *holding = &model->holdings[worker->device];
	struct pc_link *link = &worker->floor_place;
	uint64_t key = worker->idle_place.key;

	pc__set_remove(worker->may_go ? &holding->spare : &holding->kept, link);
	worker->may_go = may_go;
	pc__set_insert(may_go ? &holding->spare : &holding->kept, link, key, worker->id);
	pc__set_sum(&model->sched->devices[worker->device].idle, &worker->idle_place);
}

static void share_out(struct holding *holding, uint32_t spare)
{
	while (pc__set_count(&holding->spare) > spare) {
		set_may_go(pc__container_of(pc__set_last(&holding->spare), struct pc_sched_worker,
					    floor_place),
			   false);
	}
	while (pc__set_count(&holding->spare) < spare && holding->kept.first) {
		set_may_go(
			pc__container_of(holding->kept.first, struct pc_sched_worker, floor_place),
			true);
	}
}

void pc__review_floor(struct pc_sched_model *model)
{
	if (model->spec.min_workers == 0)
		return;
	for (unsigned d = 0; d < model->sched->device_count; d++)
		share_out(&model->holdings[d], spare_workers(model));
}

void pc__forget_floor(struct pc_sched_worker *worker)
{
	const struct pc_sched_model *model = worker->model;
	struct holding *holding = &model->holdings[worker->device];

	pc__set_remove(worker->may_go ? &holding->spare : &holding->kept, &worker->floor_place);
	worker->may_go = model->spec.min_workers == 0;
	pc__set_sum(&model->sched->devices[worker->device].idle, &worker->idle_place);
}

void pc__file_above_floor(struct pc_sched_worker *worker)
{
	struct pc_sched_model *model = worker->model;
	struct holding *holding = &model->holdings[worker->device];
	struct pc_link *link = &worker->floor_place;
	bool idle = pc__linked(&worker->idle_place);

	if (idle == pc__linked(link) && link->key == worker->idle_place.key)
		return;
	pc__set_remove(worker->may_go ? &holding->spare : &holding->kept, link);
	if (idle) {
		/* Among those that may go, unless it was used after all of them. */
		const struct pc_link *last = pc__set_last(&holding->spare);

		set_may_go(worker, last && (worker->idle_place.key < last->key ||
					    (worker->idle_place.key == last->key &&
					     worker->id < last->tie)));
	}
	share_out(holding, spare_workers(model));
}

/* ---- who is idle ---- */

void pc__ask_busy(struct pc_sched_model *model)
{
	/* Each is idle now, or wanted. */
	while (model->busy.first) {
		pc__look(pc__container_of(model->busy.first, struct pc_sched_worker, busy_place),
			 true);
	}
}

void pc__ask_all_busy(struct pc_sched *sched)
{
	while (sched->askable.first)
		pc__ask_busy(
			pc__container_of(sched->askable.first, struct pc_sched_model, by_busy));
}

/* Whether an idle worker is still where it stood in the order, as the body knows. */
static bool is_as_believed(struct pc_sched_worker *worker)
{
	uint64_t since_ns = worker->idle_place.key;

	if (!worker->model->spec.self_service || worker->looked == worker->model->sched->event)
		return true;
	pc__look(worker, true);
	return pc__linked(&worker->idle_place) && worker->idle_place.key == since_ns;
}

/* ---- choosing ---- */

struct choice {
	struct pc_sched_worker *list;
	struct pc_sched_worker **end;
	uint64_t lacking;
	uint32_t count;
};

/* One more victim; false when there is none. */
static bool choose_one(const struct pc__set *idle, enum victim_kind kind, struct choice *choice)
{
	struct pc_sched_worker *worker = reaching(idle, kind, choice->lacking);

	if (!worker)
		return false;
	worker->next_victim = NULL;
	*choice->end = worker;
	choice->end = &worker->next_victim;
	choice->lacking = pc__less(choice->lacking, worker->reserved_bytes);
	choice->count++;
	return true;
}

/* From what the brain knows. */
static struct pc__victims choose(struct pc_sched *sched, enum victim_kind kind,
				 const uint64_t lacking[PC_DEVICE_MAX])
{
	struct choice choices[PC_DEVICE_MAX];
	bool any = false;

	for (unsigned d = 0; d < sched->device_count; d++) {
		choices[d] = (struct choice){ .lacking = lacking[d], .end = &choices[d].list };
		pc__set_freshen(&sched->devices[d].idle);
		/* If all do not suffice, it is not among those that choose. */
		if (lacking[d] > evictable_below(sched->devices[d].idle.root, kind))
			choices[d].lacking = 0;
		any |= choices[d].lacking > 0;
	}
	while (any) {
		for (unsigned d = 0; d < sched->device_count; d++) {
			struct choice *choice = &choices[d];

			if (choice->lacking == 0)
				continue;
			any = choose_one(&sched->devices[d].idle, kind, choice);
			assert(any && "the sums of idle workers are wrong");
			if (choice->lacking == 0)
				return (struct pc__victims){ choice->list, choice->count, (int)d };
		}
	}
	return (struct pc__victims){ .device = -1 };
}

static bool are_as_believed(const struct pc__victims *victims)
{
	bool all = true;

	for (struct pc_sched_worker *worker = victims->list; worker; worker = worker->next_victim)
		all &= is_as_believed(worker);
	return all;
}

struct pc__victims pc__choose_victims(struct pc_sched *sched, enum victim_kind kind,
				      const uint64_t lacking[PC_DEVICE_MAX])
{
	struct pc__victims victims;

	pc__ask_all_busy(sched);
	do
		victims = choose(sched, kind, lacking);
	while (!are_as_believed(&victims));
	return victims;
}

/* ---- stopping ---- */

/* All of them or none: a worker that somebody got hold of meanwhile is no victim any more. */
static bool recall_all(const struct pc__victims *victims)
{
	for (struct pc_sched_worker *worker = victims->list; worker; worker = worker->next_victim) {
		if (pc__recall(worker))
			continue;
		for (struct pc_sched_worker *back = victims->list; back != worker;
		     back = back->next_victim)
			pc__resume(back);
		return false;
	}
	return true;
}

int pc__evict_for(struct pc_sched *sched, enum victim_kind kind,
		  const uint64_t lacking[PC_DEVICE_MAX])
{
	struct pc__victims victims;

	/* Each failure takes one worker out of the choice. */
	do
		victims = pc__choose_victims(sched, kind, lacking);
	while (!recall_all(&victims));
	for (struct pc_sched_worker *worker = victims.list; worker; worker = worker->next_victim)
		pc__retire_recalled(worker, PC_STOP_EVICTED);
	return victims.device;
}

/* ---- pressure: a budget was lowered, or somebody took more than was reserved ---- */

static bool is_over(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return pc__less(account.reserved_bytes, sched->devices[device].leaving_bytes) >
	       account.budget_bytes;
}

bool pc__relieve_one(struct pc_sched *sched, unsigned device)
{
	struct pc_link *link;

	pc__ask_all_busy(sched);
	/* Floors are no excuse here. One that cannot be recalled is idle no more. */
	while ((link = sched->devices[device].idle.first)) {
		struct pc_sched_worker *worker = idle_worker(link);

		if (is_as_believed(worker) && pc__retire(worker, PC_STOP_PRESSURE, false))
			return true;
	}
	return false;
}

void pc__relieve_all(struct pc_sched *sched)
{
	sched->pressed = false;
	/* Leased ones follow when they become idle. */
	for (unsigned d = 0; d < sched->device_count; d++) {
		while (is_over(sched, d)) {
			if (!pc__relieve_one(sched, d)) {
				sched->pressed = true;
				break;
			}
		}
	}
}
