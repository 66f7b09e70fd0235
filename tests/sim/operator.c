/* SPDX-License-Identifier: MIT */
/* operator.c - what is done to the world from outside: by operators, and by the machine. */
#include <inttypes.h>

#include "sim.h"

static void limits(struct world *world, const struct line *line)
{
	sim_trace(world, "LIMIT device, MiB", line->device, line->bytes / MIB, 0);
	world->budgets[line->device] = line->bytes;
	world->over_allowed[line->device] = true;
	world->over_bytes[line->device] = world->reserved[line->device];
	world->coverage->limit_changes++;
	world->tick_ns = pc_sched_limit_changed(world->sched, sim_told_now(world), line->device,
						line->bytes);
}

/* A load on one device is refused where the model has, or its requests will get, another. */
static bool is_elsewhere(const struct world *world, unsigned m, uint32_t mask, int code)
{
	const struct fake_model *model = &world->models[m];

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if ((worker->state == W_LOADING || worker->state == W_READY) &&
		    worker->model == m && (mask >> worker->device & 1))
			return false;
	}
	return code == PC_E_ALREADY_EXISTS ? sim_live(model) > 0
					   : sim_live(model) == 0 && model->waiting > 0;
}

static void load_is_refused(struct world *world, unsigned m, uint32_t mask, bool asked_before,
			    const struct pc_error *err)
{
	struct fake_model *model = &world->models[m];
	bool elsewhere = err->code == PC_E_ALREADY_EXISTS || err->code == PC_E_CONFLICT;

	sim_check(world, err->message[0] && (model->retired || elsewhere || sim_live(model) == 0),
		  "a refused load spawned, or said nothing");
	sim_check(world, model->retired == (err->code == PC_E_MODEL_NOT_FOUND),
		  "a load of %s is refused with %s", model->spec.key, pc_error_name(err->code));
	sim_check(world, !elsewhere || is_elsewhere(world, m, mask, err->code),
		  "%s could be loaded where it was wanted", model->spec.key);
	world->coverage->loads_elsewhere += elsewhere;
	model->load_asked = elsewhere && asked_before;
	sim_check_nothing_is_kept(world);
}

static void operator_loads(struct world *world, const struct line *line)
{
	struct fake_model *model = &world->models[line->model];
	bool on_device = line->on_device && sim_allows(world, line->model, line->device);
	uint32_t mask = on_device ? UINT32_C(1) << line->device : UINT32_MAX;
	struct fake_model before = *model;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	sim_trace(world, "LOAD model, mask", line->model, mask, 0);
	model->load_asked = sim_live(model) == 0;
	model->load_mask = mask;
	if (pc_sched_load_on(world->sched, sim_told_now(world), model->handle, mask, &id, &err)) {
		if (err.code == PC_E_CONFLICT)
			model->load_mask = before.load_mask;
		load_is_refused(world, line->model, mask, before.load_asked, &err);
	} else if (id != 0) {
		sim_check(world, !model->retired, "retired %s was loaded", model->spec.key);
		sim_check(world,
			  sim_find_worker(world, id) &&
				  (mask >> sim_find_worker(world, id)->device & 1),
			  "load names no worker");
		world->coverage->loads++;
		world->coverage->loads_on += on_device;
	}
	world->tick_ns = pc_sched_next_deadline(world->sched);
}

static void operator_stops(struct world *world, const struct line *line)
{
	struct fake_worker *worker = NULL;
	struct pc_error err = PC_ERROR_INIT;
	unsigned alive = 0, nth;

	for (unsigned i = 0; i < WORKERS_MAX; i++)
		alive += world->workers[i].state != W_NONE && world->workers[i].state != W_DEAD;
	if (alive == 0)
		return;
	nth = (unsigned)(line->nth_worker % alive);
	for (unsigned i = 0; !worker; i++) {
		if (world->workers[i].state != W_NONE && world->workers[i].state != W_DEAD &&
		    nth-- == 0)
			worker = &world->workers[i];
	}
	sim_trace(world, "STOP worker, force", worker->id, line->force, 0);
	worker->asked_to_stop = true;
	world->models[worker->model].kept = false;
	if (worker->state == W_READY && worker->leases > 0 && !line->force &&
	    !sim_spec(world, worker->model)->self_service) {
		sim_leave_states(world, worker);
		worker->state = W_DRAINING;
	}
	world->coverage->stops++;
	sim_check(world,
		  pc_sched_stop_worker(world->sched, sim_told_now(world), worker->id, line->force,
				       &err) == 0,
		  "stop: %s", err.message);
	world->tick_ns = pc_sched_next_deadline(world->sched);
}

/* Rule 11. One idle worker goes at each such call; the action's check counts them. */
static void presses(struct world *world, const struct line *line)
{
	bool idle = false;

	sim_trace(world, "PRESSURE device, tight", line->device, line->tight, 0);
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];
		const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

		idle |= worker->state == W_READY && worker->device == line->device &&
			worker->leases == 0 && !spec->pinned && !spec->self_service &&
			!world->draining;
	}
	world->tight[line->device] = line->tight;
	world->relieved = line->tight ? (int)line->device : -1;
	world->tick_ns = pc_sched_pressure(world->sched, sim_told_now(world), line->device,
					   line->tight);
	world->relieved = -1;
	sim_check(world, !line->tight || !idle || world->pressure_stops > 0,
		  "rule 11: device %u is tight and keeps its idle workers", line->device);
	world->coverage->tight_calls += line->tight;
}

/* Some load still; those of a body that hands out slots itself always do. */
static bool comes_loaded(const struct world *world, const struct line *line)
{
	return !sim_spec(world, line->model)->self_service && line->bytes / MIB % 3 != 0;
}

/* It is not to go on: so it is refused by nothing. */
static bool comes_to_go(const struct line *line)
{
	return line->bytes / MIB % 4 == 1;
}

static int expected_of_adoption(const struct world *world, const struct line *line)
{
	if (comes_to_go(line))
		return 0;
	if (!sim_allows(world, line->model, line->device))
		return PC_E_INVALID_ARGUMENT;
	if (world->models[line->model].retired)
		return PC_E_MODEL_NOT_FOUND;
	if (world->draining)
		return PC_E_SHUTTING_DOWN;
	if (!sim_may_have_more(world, line->model))
		return PC_E_NO_WORKERS;
	return line->bytes > sim_free_bytes(world, line->device) ? PC_E_INSUFFICIENT_MEMORY : 0;
}

/*
 * The worker is there already; the brain may lease it before it has said its number. A body that
 * hands out slots itself says when it does.
 */
static void enters(struct world *world, const struct line *line, uint64_t id)
{
	struct fake_worker *worker = &world->workers[sim_free_worker_slot(world)];
	const struct pc_sched_model_spec *spec = sim_spec(world, line->model);

	*worker = (struct fake_worker){
		.state = W_LOADING,
		.id = id,
		.model = line->model,
		.device = line->device,
		.slots = spec->slots,
		.reserved_bytes = line->bytes,
		.busy_since_ns = PC_TIME_NEVER,
		.spawned_ns = world->now_ns,
		.deadline_ns = world->now_ns + spec->start_timeout_ns,
		.next = DO_READY,
		.next_ns = world->now_ns + id % 3 * MSEC,
	};
	world->last_worker_id = id;
	world->reserved[line->device] += line->bytes;
	world->models[line->model].loading++;
	world->models[line->model].load_asked = false;
	if (comes_loaded(world, line))
		sim_become_ready(world, worker);
	world->coverage->adoptions++;
}

/* The body ends it of its own accord, and it is nobody's while it does. */
static void enters_to_go(struct world *world, const struct line *line, uint64_t id)
{
	struct fake_worker *worker = &world->workers[sim_free_worker_slot(world)];

	*worker = (struct fake_worker){
		.state = W_STOPPING,
		.id = id,
		.model = line->model,
		.device = line->device,
		.slots = sim_spec(world, line->model)->slots,
		.reserved_bytes = line->bytes,
		.busy_since_ns = PC_TIME_NEVER,
		.grow_ns = PC_TIME_NEVER,
		.spawned_ns = world->now_ns,
	};
	world->last_worker_id = id;
	world->reserved[line->device] += line->bytes;
	world->over_allowed[line->device] = true;
	world->over_bytes[line->device] = world->reserved[line->device];
	sim_decide_end_of_stopping(world, worker, false);
	world->coverage->adoptions_to_go++;
}

static int adopt(struct world *world, const struct line *line, uint64_t *ret_id,
		 struct pc_error *err)
{
	struct pc_sched_model *model = world->models[line->model].handle;

	if (comes_to_go(line))
		return pc_sched_adopt_leaving(world->sched, sim_told_now(world), model,
					      line->device, line->bytes, PC_STOP_REPLACED, ret_id,
					      err);
	return pc_sched_adopt(world->sched, sim_told_now(world), model, line->device, line->bytes,
			      comes_loaded(world, line), ret_id, err);
}

/* What follows from it follows from the next event, so there is one. */
static void adopts(struct world *world, const struct line *line)
{
	struct pc_error err = PC_ERROR_INIT;
	int expected = expected_of_adoption(world, line);
	uint64_t next_id = pc_sched_next_worker_id(world->sched), id = 0;

	sim_trace(world, "ADOPT model, device, MiB", line->model, line->device, line->bytes / MIB);
	if (comes_to_go(line))
		enters_to_go(world, line, next_id);
	else if (expected == 0)
		enters(world, line, next_id);
	world->coverage->adoptions_full += expected == PC_E_NO_WORKERS;
	world->coverage->adoptions_no_room += expected == PC_E_INSUFFICIENT_MEMORY;

	int rc = adopt(world, line, &id, &err);

	sim_check(world, rc == expected && err.code == rc, "an adoption said %s instead of %s",
		  pc_error_name(rc), pc_error_name(expected));
	sim_check(world, rc != 0 || id == next_id, "an adopted worker has another number");
	sim_check(world, rc == 0 || err.message[0], "an adoption is refused without a word");
	sim_check(world, pc_sched_next_deadline(world->sched) <= world->told_ns,
		  "what follows from an adoption is put off");
	sim_tick(world);
}

/* Takes effect with the next event, so there is one. */
static void estimates(struct world *world, const struct line *line)
{
	sim_trace(world, "ESTIMATE model, MiB", line->model, line->bytes / MIB, 0);
	world->models[line->model].need_bytes = line->bytes;
	pc_sched_set_estimate(world->models[line->model].handle, line->bytes);
	pc_sched_set_estimate(world->models[line->model].handle, 0);
	world->coverage->estimates++;
	sim_tick(world);
}

/* ---- models that change ---- */

/* From now on nothing is granted on it. */
static void outdate(struct world *world, struct fake_worker *worker)
{
	worker->outdated = true;
	world->coverage->replaced_loading += worker->state == W_LOADING;
	world->coverage->replaced_idle += worker->state == W_READY && worker->leases == 0;
	if (worker->state != W_READY || worker->leases == 0)
		return;
	world->coverage->replaced_leased++;
	if (sim_spec(world, worker->model)->self_service)
		return; /* it is told to stop, and lets its leases end */
	sim_leave_states(world, worker);
	worker->state = W_DRAINING;
}

static void updates(struct world *world, const struct line *line)
{
	struct fake_model *model = &world->models[line->model];
	struct pc_sched_model_spec spec = model->spec;
	bool afresh = line->relaunch || model->retired;
	struct pc_error err = PC_ERROR_INIT;

	sim_redraw_spec(line->fate, world->script, &spec);
	sim_trace(world, "UPDATE model, relaunch, MiB", line->model, line->relaunch,
		  spec.memory_bytes / MIB);
	world->coverage->updates++;
	world->coverage->relaunches += line->relaunch;
	world->coverage->revived += model->retired;
	if (afresh || spec.memory_bytes != model->spec.memory_bytes)
		model->need_bytes = spec.memory_bytes;
	if (afresh) {
		model->failures_in_row = 0;
		model->no_spawn_before_ns = 0;
		model->maybe_spawn_after_ns = 0;
	}
	/* Where the operator wanted it, it may not be any more. */
	model->load_asked &= (model->load_mask & spec.device_mask) != 0;
	model->spec = spec;
	model->retired = false;
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct fake_worker *worker = &world->workers[i];
		bool live = worker->state == W_LOADING || worker->state == W_READY;

		if (live && worker->model == line->model &&
		    (line->relaunch || worker->slots != spec.slots ||
		     !sim_allows(world, line->model, worker->device)))
			outdate(world, worker);
	}
	sim_check(world, pc_sched_check_model(world->sched, &spec, &err) == 0, "%s", err.message);
	sim_check(world,
		  pc_sched_update_model(world->sched, sim_told_now(world), model->handle, &spec,
					line->relaunch, &err) == 0,
		  "update: %s", err.message);
	world->tick_ns = pc_sched_next_deadline(world->sched);
}

static void retires(struct world *world, const struct line *line)
{
	struct fake_model *model = &world->models[line->model];

	sim_trace(world, "RETIRE model", line->model, 0, 0);
	world->coverage->retired++;
	world->coverage->retired_waited_for += model->waiting > 0;
	model->retired = true;
	model->load_asked = false;
	model->spec.min_workers = 0;
	model->spec.cold_start_workers = 1;
	model->spec.pinned = false;
	world->tick_ns = pc_sched_retire_model(world->sched, sim_told_now(world), model->handle);
}

static void jumps(struct world *world, const struct line *line)
{
	sim_trace(world, "JUMP, ms", line->jump_ns / MSEC, 0, 0);
	world->now_ns += line->jump_ns;
	world->coverage->jumps++;
	sim_tick(world);
}

void sim_line_happens(struct world *world, const struct line *line)
{
	switch (line->kind) {
	case LINE_SUBMIT:
		sim_submit(world, line);
		break;
	case LINE_LIMIT:
		limits(world, line);
		break;
	case LINE_LOAD:
		operator_loads(world, line);
		break;
	case LINE_STOP:
		operator_stops(world, line);
		break;
	case LINE_TICK:
		sim_tick(world);
		break;
	case LINE_PRESSURE:
		presses(world, line);
		break;
	case LINE_ADOPT:
		adopts(world, line);
		break;
	case LINE_ESTIMATE:
		estimates(world, line);
		break;
	case LINE_UPDATE:
		updates(world, line);
		break;
	case LINE_RETIRE:
		retires(world, line);
		break;
	case LINE_JUMP:
		jumps(world, line);
		break;
	}
}
