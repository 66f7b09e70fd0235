/* SPDX-License-Identifier: MIT */
/*
 * books.c - what the world itself knows, and the state after each step held against it. Nothing
 * here asks the brain what it thinks, except where its view is what is checked.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "sim.h"

void sim_fail(struct world *world, const char *fmt, ...)
{
	va_list args;

	world->failed_check = fmt;
	va_start(args, fmt);
	vsnprintf(world->failure, sizeof(world->failure), fmt, args);
	va_end(args);
	longjmp(*world->on_failure, 1);
}

/* ---- small facts ---- */

const struct pc_sched_model_spec *sim_spec(const struct world *world, unsigned model)
{
	return &world->models[model].spec;
}

uint64_t sim_free_bytes(const struct world *world, unsigned device)
{
	return world->budgets[device] > world->reserved[device]
		       ? world->budgets[device] - world->reserved[device]
		       : 0;
}

bool sim_allows(const struct world *world, unsigned model, unsigned device)
{
	return device < world->script->device_count &&
	       (sim_spec(world, model)->device_mask >> device & 1);
}

uint32_t sim_live(const struct fake_model *model)
{
	return model->loading + model->ready;
}

bool sim_may_have_more(const struct world *world, unsigned model)
{
	uint32_t max = sim_spec(world, model)->max_workers;

	return max == 0 || sim_live(&world->models[model]) < max;
}

struct fake_worker *sim_find_worker(struct world *world, uint64_t id)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (world->workers[i].state != W_NONE && world->workers[i].id == id)
			return &world->workers[i];
	}
	return NULL;
}

void sim_note_failure(struct world *world, struct fake_model *model)
{
	uint64_t delay_ns = world->script->settings.backoff_min_ns;

	model->failures_in_row++;
	model->failed_ns = world->now_ns;
	for (uint32_t i = 1; i < model->failures_in_row; i++) {
		delay_ns *= 2;
		if (delay_ns > world->script->settings.backoff_max_ns)
			delay_ns = world->script->settings.backoff_max_ns;
	}
	model->no_spawn_before_ns = world->now_ns + delay_ns - delay_ns / 4;
	model->maybe_spawn_after_ns = world->now_ns + delay_ns;
	model->load_asked = false;
}

uint32_t sim_free_slots(const struct world *world, unsigned model)
{
	uint32_t slots = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->state == W_READY && worker->model == model)
			slots += sim_spec(world, model)->slots - worker->leases;
	}
	return slots;
}

/* What an operator chose binds his own wish only: a request takes any device. */
static bool is_chosen(const struct world *world, unsigned model, unsigned device)
{
	const struct fake_model *m = &world->models[model];
	bool by_operator = m->load_asked && m->waiting == 0;

	return sim_allows(world, model, device) && (!by_operator || m->load_mask >> device & 1);
}

bool sim_may_use(const struct world *world, unsigned model, unsigned device)
{
	const struct fake_model *m = &world->models[model];
	bool asked_for = sim_live(m) == 0 && (m->waiting > 0 || m->load_asked);

	return is_chosen(world, model, device) && (!world->tight[device] || asked_for);
}

bool sim_fits_somewhere(const struct world *world, unsigned model)
{
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (is_chosen(world, model, d) &&
		    world->models[model].need_bytes <= world->budgets[d])
			return true;
	}
	return false;
}

bool sim_is_due_for_recycling(const struct world *world, const struct fake_worker *worker)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

	return (spec->recycle_requests && worker->served >= spec->recycle_requests) ||
	       (spec->recycle_bytes && worker->grown_bytes > spec->recycle_bytes);
}

bool sim_is_any_leaving(const struct world *world, unsigned model)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->model == model &&
		    (worker->state == W_DRAINING || worker->state == W_STOPPING))
			return true;
	}
	return false;
}

/* ---- after every step ---- */

static void check_devices(struct world *world)
{
	for (unsigned d = 0; d < world->script->device_count; d++) {
		struct pc_device_account account;

		pc_ledger_account(world->ledger, d, &account);
		sim_check(world, account.reserved_bytes == world->reserved[d],
			  "rule 4: device %u: the ledger says %" PRIu64
			  " bytes, the workers %" PRIu64,
			  d, account.reserved_bytes, world->reserved[d]);
		sim_check(world,
			  world->reserved[d] <= world->budgets[d] ||
				  (world->over_allowed[d] &&
				   world->reserved[d] <= world->over_bytes[d]),
			  "I1: device %u is overcommitted", d);
		world->over_bytes[d] = world->reserved[d];
		world->over_allowed[d] &= world->reserved[d] > world->budgets[d];
	}
}

static void check_tickets(struct world *world)
{
	uint64_t late_ns = world->script->tick_lag_ns;

	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		const struct fake_ticket *ticket = &world->tickets[i];

		sim_check(world,
			  ticket->state != T_WAITING ||
				  world->now_ns <= ticket->deadline_ns + late_ns,
			  "I10: submission %" PRIu64 " waits past its deadline", ticket->number);
	}
}

/* What a device's workers take beyond its budget, without those that are about to go. */
static uint64_t stays_over(const struct world *world, unsigned device)
{
	uint64_t stays = world->reserved[device];

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->device == device && worker->state == W_STOPPING && !worker->stuck &&
		    (worker->leases == 0 || worker->forced))
			stays -= worker->reserved_bytes;
	}
	return stays > world->budgets[device] ? stays - world->budgets[device] : 0;
}

static void check_ready(struct world *world, const struct fake_worker *worker)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

	sim_check(world,
		  spec->self_service || world->models[worker->model].waiting == 0 ||
			  worker->leases >= spec->slots,
		  "I4: a request waits while worker %" PRIu64 " has a free slot", worker->id);
	sim_check(world, !worker->outdated, "worker %" PRIu64 " should have been replaced",
		  worker->id);
	sim_check(world, !worker->recalled,
		  "worker %" PRIu64 " was recalled and neither stopped nor resumed", worker->id);
	sim_check(world,
		  world->draining || !sim_is_due_for_recycling(world, worker) ||
			  sim_is_any_leaving(world, worker->model),
		  "worker %" PRIu64 " should be recycled", worker->id);
	/* Whoever is over its budget wants every idle worker, and to hear of those that are not. */
	sim_check(world,
		  stays_over(world, worker->device) == 0 || spec->pinned || worker->leases > 0 ||
			  world->models[worker->model].waiting > 0,
		  "rule 11: worker %" PRIu64 " idles on device %u, which is over its budget",
		  worker->id, worker->device);
}

static void check_workers(struct world *world)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->state == W_READY) {
			check_ready(world, worker);
		} else if (worker->state == W_LOADING) {
			sim_check(world,
				  world->now_ns <= worker->deadline_ns + world->script->tick_lag_ns,
				  "I10: worker %" PRIu64 " loads past its deadline", worker->id);
			sim_check(world, !worker->outdated, "outdated worker %" PRIu64 " loads on",
				  worker->id);
		}
	}
}

/* Rule 11: every device it may live on is tight. */
static bool is_pressed(const struct world *world, unsigned m)
{
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (sim_allows(world, m, d) && !world->tight[d])
			return false;
	}
	return true;
}

/* Whether the model should be spawned now, if there were room and no back-off. */
static bool needs_a_worker(const struct world *world, unsigned m)
{
	const struct fake_model *model = &world->models[m];

	if (!sim_may_have_more(world, m))
		return false;
	if (sim_live(model) == 0 && model->waiting > 0)
		return true;
	if (world->draining || model->retired)
		return false;
	if (sim_live(model) == 0 && model->load_asked)
		return true;
	if (is_pressed(world, m))
		return false;
	if (model->loading > 0 &&
	    model->failures_in_row >= world->script->settings.breaker_failures)
		return false; /* one probe at a time */
	return (model->waiting > sim_free_slots(world, m) && model->loading == 0) ||
	       (model->kept && sim_live(model) < sim_spec(world, m)->min_workers);
}

/* The back-off's jitter is the brain's secret: it may be over from one
 * time on, it is from another. */
bool sim_may_lack_a_worker(const struct world *world, unsigned m)
{
	return world->now_ns >= world->models[m].no_spawn_before_ns && needs_a_worker(world, m);
}

static bool lacks_a_worker(const struct world *world, unsigned m)
{
	return world->now_ns >= world->models[m].maybe_spawn_after_ns && needs_a_worker(world, m);
}

static bool fits_now(const struct world *world, unsigned m)
{
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (sim_may_use(world, m, d) &&
		    sim_free_bytes(world, d) >= world->models[m].need_bytes)
			return true;
	}
	return false;
}

/* All of a model's workers that idle on a device could go at once. Otherwise some of them can. */
static bool are_all_spare(const struct world *world, unsigned m, unsigned device)
{
	uint32_t idle = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		idle += worker->state == W_READY && worker->leases == 0 && worker->model == m &&
			worker->device == device;
	}
	return idle + sim_spec(world, m)->min_workers <= sim_live(&world->models[m]);
}

/* What could be taken from others on a device for this model, by the letter of rule 5. */
static uint64_t evictable_bytes(const struct world *world, unsigned m, unsigned device)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];
		const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

		if (worker->state == W_READY && worker->leases == 0 && worker->device == device &&
		    worker->model != m && !spec->pinned &&
		    /* Which of them are above the floor is known as of the last look only. */
		    (spec->min_workers == 0 ||
		     (!spec->self_service && are_all_spare(world, worker->model, device))) &&
		    world->models[worker->model].waiting == 0 &&
		    world->now_ns - worker->ready_ns >= world->script->settings.min_residency_ns)
			bytes += worker->reserved_bytes;
	}
	return bytes;
}

static bool somebody_stops_on(const struct world *world, unsigned device)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		/* One that is leased goes on for as long as its clients like. */
		if (worker->state == W_STOPPING && worker->device == device && !worker->stuck &&
		    (worker->leases == 0 || worker->forced))
			return true;
	}
	return false;
}

/* While somebody stops, the brain may be waiting for that room. */
static bool is_room_coming(const struct world *world, unsigned m)
{
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (sim_allows(world, m, d) && somebody_stops_on(world, d))
			return true;
	}
	return false;
}

static bool room_could_be_made(const struct world *world, unsigned m)
{
	if (is_room_coming(world, m))
		return false;
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (sim_may_use(world, m, d) &&
		    sim_free_bytes(world, d) + evictable_bytes(world, m, d) >=
			    world->models[m].need_bytes)
			return true;
	}
	return false;
}

/* It could be stopped for somebody now, or when its last lease ends. */
static bool may_make_room(const struct world *world, const struct fake_worker *worker, unsigned m)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

	return worker->state == W_READY && worker->model != m && !spec->pinned &&
	       spec->min_workers == 0 && world->models[worker->model].waiting == 0;
}

/*
 * The brain looks only at workers that it takes for idle and would stop. So where all that could
 * be idle for all that it was told would make enough room, it has looked at some that are not, and
 * asked to be told when they are, in the 250 ms in which it looks again.
 */
static void check_is_wanted(struct world *world, unsigned m, unsigned device)
{
	uint64_t long_ago_ns = 300 * MSEC + world->script->tick_lag_ns;
	uint64_t long_resident_ns = world->script->settings.min_residency_ns + long_ago_ns;
	uint64_t bytes = sim_free_bytes(world, device);
	const struct fake_worker *busy = NULL;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->device != device || !may_make_room(world, worker, m) ||
		    worker->wanted || world->now_ns - worker->ready_ns < long_resident_ns)
			continue;
		if (worker->leases > 0 && (!sim_spec(world, worker->model)->self_service ||
					   world->now_ns - worker->busy_since_ns < long_ago_ns))
			continue;
		bytes += worker->reserved_bytes;
		if (worker->leases > 0)
			busy = worker;
	}
	sim_check(world, !busy || bytes < world->models[m].need_bytes,
		  "rule 5: nobody wants to hear when worker %" PRIu64 " idles", busy->id);
}

/*
 * Nobody waits for what is there: a model that alone wants a worker gets it if it fits, and has
 * room made for it within the time in which the brain looks again.
 */
static void check_progress(struct world *world)
{
	unsigned wanting = 0, last = 0;
	uint64_t patience_ns = 300 * MSEC + world->script->tick_lag_ns;

	for (unsigned m = 0; m < world->script->model_count; m++) {
		struct fake_model *model = &world->models[m];

		/* The operator is not kept waiting for what can never be. */
		model->load_asked &= sim_live(model) > 0 || sim_fits_somewhere(world, m);
		if (model->waiting == 0 && !model->load_asked)
			model->asked_since_ns = PC_TIME_NEVER;
		else if (model->asked_since_ns == PC_TIME_NEVER)
			model->asked_since_ns = world->now_ns;
		wanting += sim_may_lack_a_worker(world, m);
		world->coverage->tight_holds += model->waiting > 0 && model->loading == 0 &&
						model->ready > 0 && is_pressed(world, m) &&
						sim_may_have_more(world, m);
		if (!lacks_a_worker(world, m)) {
			model->want_since_ns = PC_TIME_NEVER;
			model->room_since_ns = PC_TIME_NEVER;
			continue;
		}
		if (model->want_since_ns == PC_TIME_NEVER)
			model->want_since_ns = world->now_ns;
		if (!room_could_be_made(world, m) || sim_live(model) > 0 || model->waiting == 0)
			model->room_since_ns = PC_TIME_NEVER;
		else if (model->room_since_ns == PC_TIME_NEVER)
			model->room_since_ns = world->now_ns;
		last = m;
		world->coverage->memory_waits += model->waiting > 0;
	}
	if (wanting != 1 || !lacks_a_worker(world, last))
		last = MODELS_MAX;
	if (last != world->alone)
		world->alone_since_ns = world->now_ns;
	world->alone = last;
	/* Others, whose slots the body hands out, may stand in line until the brain looks again. */
	if (last == MODELS_MAX ||
	    (world->any_self_service && world->now_ns - world->alone_since_ns < patience_ns))
		return;

	const struct fake_model *model = &world->models[last];

	sim_check(world,
		  !fits_now(world, last) ||
			  world->now_ns - model->maybe_spawn_after_ns <= patience_ns ||
			  world->now_ns - model->want_since_ns < patience_ns,
		  "rules 2, 3: %s waits for a worker that would fit", sim_spec(world, last)->key);
	sim_check(world,
		  model->room_since_ns == PC_TIME_NEVER ||
			  world->now_ns - model->room_since_ns < patience_ns,
		  "rule 5: %s waits though room could be made", sim_spec(world, last)->key);
	if (sim_live(model) > 0 || model->waiting == 0 || world->draining ||
	    world->now_ns - model->want_since_ns < patience_ns || is_room_coming(world, last))
		return;
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (sim_allows(world, last, d))
			check_is_wanted(world, last, d);
	}
}

static void check_views(struct world *world)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		const struct fake_model *model = &world->models[m];
		struct pc_sched_model_view view;

		pc_sched_get_model(model->handle, &view);
		sim_check(world, view.retired == model->retired, "the view of %s: retired or not",
			  sim_spec(world, m)->key);
		sim_check(world, view.waiting == model->waiting && view.spawning == model->loading,
			  "the view of %s: %u waiting, %u loading; in truth %u, %u",
			  sim_spec(world, m)->key, view.waiting, view.spawning, model->waiting,
			  model->loading);
	}
}

static void check_worker_views(struct world *world)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];
		struct pc_sched_worker_view view;

		if (worker->state == W_NONE || worker->state == W_DEAD)
			continue;
		sim_check(world, pc_sched_get_worker(world->sched, worker->id, &view),
			  "worker %" PRIu64 " has no view", worker->id);
		sim_check(world,
			  view.reserved_bytes == worker->reserved_bytes &&
				  view.device == worker->device,
			  "the view of worker %" PRIu64 " is wrong about its memory", worker->id);
		sim_check(world,
			  worker->state != W_READY ||
				  (view.leases == worker->leases && view.served == worker->served),
			  "the view of worker %" PRIu64 ": %u leases, %" PRIu64 " served",
			  worker->id, view.leases, view.served);
	}
}

void sim_check_world(struct world *world)
{
	check_devices(world);
	check_tickets(world);
	check_workers(world);
	check_progress(world);
	check_views(world);
	check_worker_views(world);
}

void sim_check_quiet(struct world *world)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		const struct pc_sched_model_spec *spec = sim_spec(world, m);

		sim_check(world,
			  sim_live(&world->models[m]) <= spec->min_workers || spec->pinned ||
				  spec->idle_ttl_ns == PC_TIME_NEVER,
			  "I9: %u workers of idle %s are left, %u are its minimum",
			  sim_live(&world->models[m]), spec->key, spec->min_workers);
	}
}
