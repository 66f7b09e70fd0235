/* SPDX-License-Identifier: MIT */
/*
 * device.h - what a device has for a model: the budget, what is free of it, and what will be. For
 * the files of this room only; inline, as every event asks.
 */
#ifndef SCHED_DEVICE_H
#define SCHED_DEVICE_H

#include "sched/brain.h"

static inline uint64_t pc__less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static inline bool pc__is_allowed(const struct pc_sched_model *model, unsigned device)
{
	return device < model->sched->device_count && (model->spec.device_mask >> device & 1);
}

/* A request takes the first device with room; what an operator chose binds only his own wish. */
static inline uint32_t pc__chosen_mask(const struct pc_sched_model *model)
{
	bool by_operator = model->load_asked && model->waiting == 0;

	return model->spec.device_mask & (by_operator ? model->load_mask : UINT32_MAX);
}

static inline bool pc__is_chosen(const struct pc_sched_model *model, unsigned device)
{
	return pc__chosen_mask(model) >> device & 1;
}

static inline bool pc__is_tight(const struct pc_sched *sched, unsigned device)
{
	return sched->tight_mask >> device & 1;
}

static inline uint64_t pc__budget_of(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return account.budget_bytes;
}

static inline uint64_t pc__free_bytes(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return pc__less(account.budget_bytes, account.reserved_bytes);
}

/* What will be there when everybody who was told to stop has gone. */
static inline uint64_t pc__coming_bytes(const struct pc_sched *sched, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(sched->ledger, device, &account);
	return pc__less(account.budget_bytes,
			pc__less(account.reserved_bytes, sched->devices[device].leaving_bytes));
}

/* A place in the line, for which some of that is promised to others. */
struct place {
	uint64_t key, tie;
};

static inline struct place pc__place_of(const struct pc_sched_model *model)
{
	return (struct place){ model->by_want.key, model->by_want.tie };
}

static inline uint64_t pc__free_for(const struct pc_sched *sched, unsigned device,
				    struct place place)
{
	return pc__less(pc__free_bytes(sched, device),
			pc__promised_before(sched, device, place.key, place.tie));
}

static inline uint64_t pc__coming_for(const struct pc_sched *sched, unsigned device,
				      struct place place)
{
	return pc__less(pc__coming_bytes(sched, device),
			pc__promised_before(sched, device, place.key, place.tie));
}

#endif
