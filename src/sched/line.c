/* SPDX-License-Identifier: MIT */
/*
 * line.c - the line of models that want a worker: who stands where, what is promised to whom, and
 * who is the next that can be helped. What is then done for him is place.c's question. Decides
 * nothing and calls no action.
 *
 * The line note. A model stands in sched->wanting, and with the same place in the line of each
 * device that would do (device->line). It *bids* for a device with what it needs and what
 * is promised there to those before it, and can be helped if that is not more than the limit of
 * its kind of bid: what is free, what is coming when all who were told to stop have gone, or that
 * and what idle workers of one kind or another would free. The lines carry sums: of what is
 * promised, and the least bid of each kind. So the first that can be helped is found by a descent,
 * however many stand before it that cannot.
 *
 * Promises stay with their model until it is spawned, leaves the line, or cannot be kept: those of
 * one device are kept in the order of the line, so if one of them cannot be kept the last cannot.
 */
#include "sched/brain.h"

#define NO_BID UINT64_MAX

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- sums ---- */

static struct standing *standing_at(struct pc_link *link)
{
	return link ? pc__container_of(link, struct standing, place) : NULL;
}

static uint64_t promised_below(struct pc_link *link)
{
	return link ? standing_at(link)->promised : 0;
}

static uint64_t least_below(struct pc_link *link, enum bid bid)
{
	return link ? standing_at(link)->least[bid] : NO_BID;
}

static uint64_t promised_itself(const struct standing *standing)
{
	const struct pc_sched_model *model = standing->model;

	return model->promised_on == standing - model->standings ? model->promised_bytes : 0;
}

void pc__sum_standing(struct pc_link *link)
{
	struct standing *standing = standing_at(link);
	uint64_t left = promised_below(link->left), itself = promised_itself(standing);

	standing->promised = left + itself + promised_below(link->right);
	for (enum bid bid = 0; bid < BIDS; bid++) {
		uint64_t least = plus(least_below(link->right, bid), left + itself);

		if (least_below(link->left, bid) < least)
			least = least_below(link->left, bid);
		if (standing->model->bid == bid && plus(standing->model->need_bytes, left) < least)
			least = plus(standing->model->need_bytes, left);
		standing->least[bid] = least;
	}
}

static void sum_everywhere(struct pc_sched_model *model)
{
	for (unsigned d = 0; d < model->sched->device_count; d++)
		pc__set_sum(&model->sched->devices[d].line, &model->standings[d].place);
}

uint64_t pc__promised_before(const struct pc_sched *sched, unsigned device, uint64_t key,
			     uint64_t tie)
{
	uint64_t before = 0;

	for (struct pc_link *link = sched->devices[device].line.root; link;) {
		pc__step();
		if (link->key < key || (link->key == key && link->tie < tie)) {
			before += promised_below(link->left) + promised_itself(standing_at(link));
			link = link->right;
		} else {
			link = link->left;
		}
	}
	return before;
}

/* ---- searching ---- */

static bool can_any_be_helped(struct pc_link *link, uint64_t before, const uint64_t limits[BIDS])
{
	for (enum bid bid = 0; bid < BIDS; bid++) {
		uint64_t least = plus(least_below(link, bid), before);

		if (least != NO_BID && least <= limits[bid])
			return true;
	}
	return false;
}

static bool can_be_helped(const struct standing *standing, uint64_t before,
			  const uint64_t limits[BIDS])
{
	return standing->model->bid != BID_NONE &&
	       plus(standing->model->need_bytes, before) <= limits[standing->model->bid];
}

/* The first of a subtree in which somebody can be. */
static struct pc_link *first_below(struct pc_link *link, uint64_t before,
				   const uint64_t limits[BIDS])
{
	for (;;) {
		pc__step();
		if (can_any_be_helped(link->left, before, limits)) {
			link = link->left;
			continue;
		}
		before += promised_below(link->left);
		if (can_be_helped(standing_at(link), before, limits))
			return link;
		before += promised_itself(standing_at(link));
		link = link->right;
	}
}

struct pc_link *pc__first_helped(const struct pc_sched *sched, unsigned device, uint64_t key,
				 uint64_t tie, const uint64_t limits[BIDS])
{
	struct pc_link *link = pc__set_at_least(&sched->devices[device].line, key, tie);
	uint64_t before = pc__promised_before(sched, device, key, tie);

	while (link) {
		pc__step();
		if (can_be_helped(standing_at(link), before, limits))
			return link;
		before += promised_itself(standing_at(link));
		if (can_any_be_helped(link->right, before, limits))
			return first_below(link->right, before, limits);
		before += promised_below(link->right);
		/* Up to the next that all of this stands before. */
		while (link->up && link->up->right == link)
			link = link->up;
		link = link->up;
	}
	return NULL;
}

/* ---- bids and promises ---- */

void pc__set_bid(struct pc_sched_model *model, enum bid bid)
{
	bool evicts = bid == BID_EVICT || bid == BID_EVICT_ANY;

	if (bid == model->bid)
		return;
	model->bid = bid;
	sum_everywhere(model);
	pc__set_place(&model->sched->evictors, &model->by_evictor,
		      evicts && pc__linked(&model->by_want), model->by_want.key,
		      model->by_want.tie);
}

static void set_promise(struct pc_sched_model *model, int device, uint64_t bytes)
{
	int before = model->promised_on;

	model->promised_on = device;
	model->promised_bytes = bytes;
	if (before >= 0)
		pc__set_sum(&model->sched->devices[before].line, &model->standings[before].place);
	if (device >= 0)
		pc__set_sum(&model->sched->devices[device].line, &model->standings[device].place);
}

void pc__take_back_promise(struct pc_sched_model *model)
{
	if (model->room_is_coming)
		pc__set_remove(&model->sched->devices[model->promised_on].promises,
			       &model->by_promise);
	model->room_is_coming = false;
	set_promise(model, -1, 0);
}

void pc__promise(struct pc_sched_model *model, unsigned device, bool room_is_coming)
{
	pc__take_back_promise(model);
	set_promise(model, (int)device, model->need_bytes);
	model->room_is_coming = room_is_coming;
	if (room_is_coming)
		pc__set_insert(&model->sched->devices[device].promises, &model->by_promise,
			       model->by_want.key, model->by_want.tie);
}

struct pc_sched_model *pc__last_unkept(const struct pc_sched *sched, unsigned device,
				       uint64_t coming_bytes)
{
	const struct pc_link *link = pc__set_last(&sched->devices[device].promises);

	if (!link)
		return NULL;

	struct pc_sched_model *model = pc__container_of(link, struct pc_sched_model, by_promise);
	uint64_t before = pc__promised_before(sched, device, link->key, link->tie);

	return plus(before, model->promised_bytes) > coming_bytes ? model : NULL;
}

/* ---- coming and going ---- */

void pc__enter_line(struct pc_sched_model *model, uint32_t device_mask, uint64_t key, uint64_t tie)
{
	struct pc_sched *sched = model->sched;

	assert(!pc__linked(&model->by_want));
	pc__set_insert(&sched->wanting, &model->by_want, key, tie);
	model->line_mask = device_mask;
	for (unsigned d = 0; d < sched->device_count; d++) {
		if (device_mask >> d & 1)
			pc__set_insert(&sched->devices[d].line, &model->standings[d].place, key,
				       tie);
	}
}

void pc__leave_line(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;

	pc__take_back_promise(model);
	pc__rely_on(model, -1);
	model->bid = BID_NONE;
	pc__set_remove(&sched->wanting, &model->by_want);
	pc__set_remove(&sched->evictors, &model->by_evictor);
	pc__set_remove(&sched->impatient, &model->by_patience);
	pc__set_remove(&sched->doubtful, &model->by_doubt);
	for (unsigned d = 0; d < sched->device_count; d++)
		pc__set_remove(&sched->devices[d].line, &model->standings[d].place);
}

void pc__rely_on(struct pc_sched_model *model, int device)
{
	struct pc_sched *sched = model->sched;

	if (model->relies_on >= 0)
		pc__set_remove(&sched->devices[model->relies_on].relying, &model->by_need);
	model->relies_on = device;
	if (device >= 0)
		pc__set_insert(&sched->devices[device].relying, &model->by_need, ~model->need_bytes,
			       model->by_order.key);
}

void pc__resize_bid(struct pc_sched_model *model, uint64_t need_bytes)
{
	int relies_on = model->relies_on;

	pc__rely_on(model, -1);
	pc__take_back_promise(model); /* it is of another size */
	model->need_bytes = need_bytes;
	pc__rely_on(model, relies_on);
	sum_everywhere(model);
}
