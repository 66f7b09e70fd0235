/* SPDX-License-Identifier: MIT */
/* script.c - draws a world and what is done to it from a seed. */
#include <inttypes.h>
#include <string.h>

#include "sim.h"

uint64_t sim_hash(uint64_t stream, uint64_t n)
{
	/* splitmix64's finalizer, over both. */
	uint64_t z = stream * UINT64_C(0xd1342543de82ef95) + n * UINT64_C(0x9e3779b97f4a7c15) + 1;

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t sim_draw(struct sim_random *random)
{
	return sim_hash(random->stream, ++random->drawn);
}

uint64_t sim_between(struct sim_random *random, uint64_t low, uint64_t high)
{
	return low + sim_draw(random) % (high - low + 1);
}

bool sim_chance(struct sim_random *random, unsigned percent)
{
	return sim_draw(random) % 100 < percent;
}

static uint64_t one_of(struct sim_random *random, const uint64_t *values, size_t count)
{
	return values[sim_draw(random) % count];
}
#define ONE_OF(random, ...) \
	one_of(random, (const uint64_t[]){ __VA_ARGS__ }, \
	       sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void draw_settings(struct sim_random *random, struct pc_sched_settings *settings)
{
	pc_sched_settings_init(settings);
	settings->request_timeout_ns = ONE_OF(random, 2 * SEC, 10 * SEC, 30 * SEC);
	settings->maintenance_interval_ns = ONE_OF(random, 5 * SEC, 20 * SEC, 60 * SEC);
	settings->cooldown_idle_ns = ONE_OF(random, 0, 5 * SEC, 60 * SEC);
	settings->min_residency_ns = ONE_OF(random, 0, 1 * SEC, 5 * SEC);
	settings->max_wait_ns = ONE_OF(random, 0, 2 * SEC, 10 * SEC);
	settings->batch_ageing_ns = ONE_OF(random, 10 * SEC, 30 * SEC, 60 * SEC);
	settings->breaker_failures = (uint32_t)sim_between(random, 1, 5);
	settings->seed = sim_draw(random);
}

static void draw_model(struct sim_random *random, struct script *script, unsigned number)
{
	struct pc_sched_model_spec *spec = &script->models[number];

	snprintf(script->keys[number], sizeof(script->keys[number]), "m%u", number);
	*spec = (struct pc_sched_model_spec){
		.key = script->keys[number],
		.device_mask = (uint32_t)sim_between(random, 1, (1u << script->device_count) - 1),
		.memory_bytes = sim_between(random, 1, 40) * 100 * MIB,
		.slots = (uint32_t)ONE_OF(random, 1, 1, 2, 4),
		.max_workers = (uint32_t)ONE_OF(random, 0, 1, 1, 2, 4),
		.cold_start_workers = (uint32_t)ONE_OF(random, 1, 1, 2, 3),
		.queue_capacity = (uint32_t)ONE_OF(random, 2, 8, 64),
		.idle_ttl_ns = ONE_OF(random, 0, 10 * SEC, PC_IDLE_TTL_DEFAULT, PC_IDLE_TTL_DEFAULT,
				      PC_IDLE_TTL_DEFAULT, PC_TIME_NEVER),
		.start_timeout_ns = sim_between(random, 2, 30) * SEC,
		.pinned = sim_chance(random, 8),
		.self_service = sim_chance(random, script->self_service),
		.recycle_requests = sim_chance(random, 20) ? sim_between(random, 1, 4) : 0,
	};
	if (sim_chance(random, 20))
		spec->recycle_bytes = spec->memory_bytes * sim_between(random, 100, 130) / 100;
	if (sim_chance(random, 20))
		spec->min_workers = 1 + (spec->max_workers != 1 && sim_chance(random, 30));
	if (spec->self_service && spec->max_workers == 0)
		spec->max_workers = PC_SELF_SERVICE_WORKERS_MAX;
	if (sim_chance(random, 5)) { /* larger than most worlds */
		spec->memory_bytes = 20000 * MIB;
		spec->recycle_bytes = 0;
	}
	if (sim_chance(random, 30))
		spec->prepare_timeout_ns = sim_between(random, 1, 40) * SEC;
}

/*
 * When a worker is recycled stays as it was: with the memory it is to be compared with, so that
 * does too where there is a bound.
 */
void sim_redraw_spec(uint64_t fate, const struct script *script, struct pc_sched_model_spec *spec)
{
	struct sim_random random = { .stream = fate };
	static struct script drawn;
	struct pc_sched_model_spec *other = &drawn.models[0];

	drawn.device_count = script->device_count;
	draw_model(&random, &drawn, 0);
	if (sim_chance(&random, 30))
		spec->device_mask = other->device_mask;
	if (spec->recycle_bytes == 0 && sim_chance(&random, 50))
		spec->memory_bytes = other->memory_bytes;
	if (sim_chance(&random, 30))
		spec->slots = other->slots;
	spec->min_workers = other->min_workers;
	spec->max_workers = other->max_workers;
	if (spec->self_service && spec->max_workers == 0)
		spec->max_workers = PC_SELF_SERVICE_WORKERS_MAX;
	spec->cold_start_workers = other->cold_start_workers;
	spec->queue_capacity = other->queue_capacity;
	spec->idle_ttl_ns = other->idle_ttl_ns;
	spec->start_timeout_ns = other->start_timeout_ns;
	spec->prepare_timeout_ns = other->prepare_timeout_ns;
	spec->pinned = other->pinned;
}

static void draw_line(struct sim_random *random, const struct script *script, uint64_t at_ns,
		      struct line *line)
{
	uint64_t dice = sim_between(random, 0, 99);

	*line = (struct line){ .at_ns = at_ns, .kind = LINE_SUBMIT };
	line->model = (unsigned)sim_between(random, 0, script->model_count - 1);
	line->device = (unsigned)sim_between(random, 0, script->device_count - 1);
	if (dice < 3) {
		line->kind = LINE_LIMIT;
		line->bytes = script->budgets[line->device] * sim_between(random, 2, 10) / 10;
	} else if (dice < 7) {
		line->kind = LINE_LOAD;
		line->on_device = sim_chance(random, 40);
	} else if (dice < 10) {
		line->kind = LINE_STOP;
		line->nth_worker = sim_draw(random);
		line->force = sim_chance(random, 30);
	} else if (dice < 12) {
		line->kind = LINE_TICK;
	} else if (dice < 15) {
		line->kind = LINE_PRESSURE;
		line->tight = sim_chance(random, 50);
	} else if (dice < 17) {
		line->kind = LINE_ADOPT;
		line->bytes = script->models[line->model].memory_bytes *
			      sim_between(random, 50, 120) / 100;
	} else if (dice < 18) {
		line->kind = LINE_ESTIMATE;
		line->bytes = script->models[line->model].memory_bytes *
			      sim_between(random, 50, 120) / 100;
	} else if (dice < 21) {
		line->kind = LINE_UPDATE;
		line->relaunch = sim_chance(random, 50);
		line->fate = sim_draw(random);
	} else if (dice < 22) {
		line->kind = LINE_RETIRE;
	} else if (dice < 23) {
		line->kind = LINE_JUMP;
		line->jump_ns = sim_between(random, 1, 100000) * MSEC;
	} else {
		line->priority = sim_chance(random, 30) ? PC_PRIORITY_BATCH
							: PC_PRIORITY_INTERACTIVE;
		line->timeout_ns = sim_chance(random, 50) ? 0
							  : sim_between(random, 1, 90000) * MSEC;
		line->affinity = sim_chance(random, 40) ? sim_between(random, 1, 7) : 0;
		line->fate = sim_draw(random);
	}
}

void sim_write_script(uint64_t seed, unsigned lines, struct script *script)
{
	struct sim_random random = { .stream = seed };
	uint64_t at_ns = 1000 * SEC, pause_ns;

	memset(script, 0, sizeof(*script));
	script->seed = seed;
	draw_settings(&random, &script->settings);
	script->device_count = (unsigned)sim_between(&random, 1, DEVICES_MAX);
	for (unsigned d = 0; d < script->device_count; d++)
		script->budgets[d] = sim_between(&random, 10, 80) * 100 * MIB;
	script->self_service = (unsigned)ONE_OF(&random, 0, 50, 100);
	script->model_count = (unsigned)sim_between(&random, 1, MODELS_MAX);
	for (unsigned m = 0; m < script->model_count; m++)
		draw_model(&random, script, m);
	script->load_fails = (unsigned)ONE_OF(&random, 0, 0, 10, 50);
	script->load_hangs = (unsigned)ONE_OF(&random, 0, 0, 10);
	script->dies = (unsigned)ONE_OF(&random, 0, 10, 40);
	script->measures = (unsigned)ONE_OF(&random, 0, 50);
	script->grows = (unsigned)ONE_OF(&random, 0, 0, 40);
	script->stop_hangs = (unsigned)ONE_OF(&random, 0, 0, 10);
	script->stale = (unsigned)ONE_OF(&random, 0, 20);
	script->barges = (unsigned)ONE_OF(&random, 0, 10, 50);
	script->load_max_ns = ONE_OF(&random, 100 * MSEC, 2 * SEC, 20 * SEC);
	script->stop_max_ns = ONE_OF(&random, 10 * MSEC, 1 * SEC, 10 * SEC);
	script->lease_max_ns = ONE_OF(&random, 50 * MSEC, 1 * SEC, 10 * SEC, 60 * SEC);
	script->tick_lag_ns = ONE_OF(&random, 0, 0, 0, 50 * MSEC);
	script->drain_early = sim_chance(&random, 40);
	script->drain_ns = sim_between(&random, 0, 10) * SEC;
	script->line_count = lines ? lines : (unsigned)sim_between(&random, 10, 120);
	if (script->line_count > LINES_MAX)
		script->line_count = LINES_MAX;
	pause_ns = ONE_OF(&random, 50 * MSEC, 1 * SEC, 10 * SEC);
	for (unsigned i = 0; i < script->line_count; i++) {
		if (!sim_chance(&random, 60)) /* else: a burst */
			at_ns += sim_between(&random, 0, pause_ns * 2);
		draw_line(&random, script, at_ns, &script->lines[i]);
	}
}
