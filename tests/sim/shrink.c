/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - makes a failing script short and plain: takes out ever smaller runs of its lines, then
 * whatever else is odd about it, and starts over until nothing more can go. The script must go on
 * failing in the same check, so that what is left shows the first bug and not another one. A brain
 * that never comes to rest makes long plays: then it ends with what it has got.
 */
#include <string.h>

#include "sim.h"

enum { STEPS_MAX = 2 * 1000 * 1000 };

static const char *wanted_failure;
static uint64_t steps; /* of all plays */

static const char *failure_of(const struct script *script)
{
	static struct world world;
	struct coverage ignored = { 0 };

	bool passed = sim_play(script, &ignored, NULL, &world);

	steps += world.step;
	if (world.failed_check == sim_stuck)
		steps += STEPS_MAX / 20; /* it has taken its time */
	return passed ? NULL : world.failed_check;
}

/* Takes `simpler` for the script if it still fails. */
static bool accept(struct script *script, const struct script *simpler)
{
	if (steps > STEPS_MAX || memcmp(script, simpler, sizeof(*script)) == 0 ||
	    failure_of(simpler) != wanted_failure)
		return false;
	*script = *simpler;
	return true;
}

/* ---- fewer lines ---- */

static void cut(struct script *script, unsigned first, unsigned count)
{
	memmove(&script->lines[first], &script->lines[first + count],
		(script->line_count - first - count) * sizeof(script->lines[0]));
	script->line_count -= count;
}

/* When it returns, no line can be left out. */
static bool drop_lines(struct script *script)
{
	static struct script shorter;
	bool helped_at_all = false;

	for (unsigned run = script->line_count; run > 0;) {
		bool helped = false;

		for (unsigned first = 0; first + run <= script->line_count;) {
			shorter = *script;
			cut(&shorter, first, run);
			if (accept(script, &shorter))
				helped = true;
			else
				first++;
		}
		helped_at_all |= helped;
		if (!helped || run > script->line_count)
			run /= 2;
	}
	return helped_at_all;
}

/* ---- fewer models and devices ---- */

static void drop_model(struct script *script, unsigned model)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < script->line_count; i++) {
		struct line line = script->lines[i];

		if (line.model == model && line.kind != LINE_TICK && line.kind != LINE_LIMIT &&
		    line.kind != LINE_STOP && line.kind != LINE_JUMP && line.kind != LINE_PRESSURE)
			continue;
		line.model -= line.model > model;
		script->lines[kept++] = line;
	}
	script->line_count = kept;
	script->model_count--;
	memmove(&script->models[model], &script->models[model + 1],
		(script->model_count - model) * sizeof(script->models[0]));
}

static void drop_last_device(struct script *script)
{
	unsigned device = --script->device_count;

	for (unsigned m = 0; m < script->model_count; m++) {
		script->models[m].device_mask &= (1u << device) - 1;
		if (script->models[m].device_mask == 0)
			script->models[m].device_mask = 1;
	}
	for (unsigned i = 0; i < script->line_count; i++) {
		if (script->lines[i].device >= device)
			script->lines[i].device = 0;
	}
}

static bool drop_parts(struct script *script)
{
	static struct script smaller;
	bool helped = false;

	for (unsigned m = script->model_count; m-- > 0 && script->model_count > 1;) {
		smaller = *script;
		drop_model(&smaller, m);
		helped |= accept(script, &smaller);
	}
	while (script->device_count > 1) {
		smaller = *script;
		drop_last_device(&smaller);
		if (!accept(script, &smaller))
			break;
		helped = true;
	}
	return helped;
}

/* ---- plainer values ---- */

/* Tries a plain value for one member of the script or of something in it. */
#define TRY(member, value) \
	do { \
		plainer = *script; \
		plainer.member = (value); \
		helped |= accept(script, &plainer); \
	} while (0)

static struct script plainer;

static bool plain_habits(struct script *script)
{
	struct pc_sched_settings usual;
	bool helped = false;

	pc_sched_settings_init(&usual);
	TRY(load_fails, 0);
	TRY(load_hangs, 0);
	TRY(dies, 0);
	TRY(measures, 0);
	TRY(grows, 0);
	TRY(stop_hangs, 0);
	TRY(stale, 0);
	TRY(barges, 0);
	TRY(tick_lag_ns, 0);
	TRY(drain_early, true);
	TRY(drain_ns, 0);
	TRY(load_max_ns, SEC);
	TRY(stop_max_ns, SEC);
	TRY(lease_max_ns, SEC);
	TRY(settings.request_timeout_ns, usual.request_timeout_ns);
	TRY(settings.maintenance_interval_ns, usual.maintenance_interval_ns);
	TRY(settings.cooldown_idle_ns, usual.cooldown_idle_ns);
	TRY(settings.min_residency_ns, usual.min_residency_ns);
	TRY(settings.max_wait_ns, usual.max_wait_ns);
	TRY(settings.batch_ageing_ns, usual.batch_ageing_ns);
	TRY(settings.breaker_failures, usual.breaker_failures);
	for (unsigned d = 0; d < script->device_count; d++)
		TRY(budgets[d], 8000 * MIB);
	return helped;
}

static bool plain_models(struct script *script)
{
	bool helped = false;

	for (unsigned m = 0; m < script->model_count; m++) {
		TRY(models[m].self_service, false);
		TRY(models[m].pinned, false);
		TRY(models[m].recycle_requests, 0);
		TRY(models[m].recycle_bytes, 0);
		TRY(models[m].idle_ttl_ns, PC_IDLE_TTL_DEFAULT);
		TRY(models[m].min_workers, 0);
		TRY(models[m].max_workers, 1);
		TRY(models[m].cold_start_workers, 1);
		TRY(models[m].slots, 1);
		TRY(models[m].queue_capacity, 64);
		TRY(models[m].start_timeout_ns, 30 * SEC);
		TRY(models[m].prepare_timeout_ns, 0);
		TRY(models[m].device_mask, 1);
		TRY(models[m].memory_bytes, 1000 * MIB);
	}
	return helped;
}

static bool plain_lines(struct script *script)
{
	bool helped = false;

	for (unsigned i = 0; i < script->line_count; i++) {
		uint64_t earliest_ns = i ? script->lines[i - 1].at_ns : 1000 * SEC;
		uint64_t whole_ns = script->lines[i].at_ns / SEC * SEC;

		TRY(lines[i].priority, PC_PRIORITY_INTERACTIVE);
		TRY(lines[i].affinity, 0);
		TRY(lines[i].timeout_ns, 0);
		TRY(lines[i].force, false);
		/* Never before the line above, or two of them would take turns for ever. */
		TRY(lines[i].at_ns, earliest_ns);
		TRY(lines[i].at_ns, whole_ns > earliest_ns ? whole_ns : earliest_ns);
	}
	return helped;
}

void sim_shrink(struct script *script)
{
	bool helped = true;

	wanted_failure = failure_of(script);
	while (helped) {
		helped = drop_lines(script);
		helped |= drop_parts(script);
		helped |= plain_habits(script);
		helped |= plain_models(script);
		helped |= plain_lines(script);
	}
}
