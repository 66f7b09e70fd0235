/* SPDX-License-Identifier: MIT */
/*
 * actions.c - the driver's actions, each held against the world's own books and then entered into
 * them. Nothing here asks the brain what it thinks.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "sim.h"

/* ---- spawn ---- */

static void check_spawn_is_called_for(struct world *world, unsigned m,
				      const struct fake_model *model)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, m);
	bool floor = model->kept && sim_live(model) < spec->min_workers;
	bool in_this_step = false, older_loading = false;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->model != m || worker->state != W_LOADING)
			continue;
		in_this_step |= worker->spawned_step == world->step;
		older_loading |= worker->spawned_step != world->step;
	}
	sim_check(world, model->waiting > 0 || model->load_asked || floor,
		  "rule 1: a worker of %s was spawned though nobody asked", spec->key);
	sim_check(world, sim_may_have_more(world, m), "%s got more than max_workers", spec->key);
	sim_check(world, world->now_ns >= model->no_spawn_before_ns,
		  "rule 9: %s was spawned during its back-off", spec->key);
	sim_check(world,
		  model->loading == 0 ||
			  model->failures_in_row < world->script->settings.breaker_failures,
		  "rule 9: %s got a second probe", spec->key);
	sim_check(world,
		  floor || model->ready == 0 || in_this_step ||
			  model->waiting > sim_free_slots(world, m),
		  "rule 3: %s grows though slots are free for all who wait", spec->key);
	sim_check(world, !older_loading || floor,
		  "I6: %s was spawned while another of its workers was loading", spec->key);
	sim_check(world, !in_this_step || floor || sim_live(model) < spec->cold_start_workers,
		  "I6: %s got more workers at once than cold_start_workers", spec->key);
	sim_check(world, !world->draining || (sim_live(model) == 0 && model->waiting > 0),
		  "rule 12: %s was spawned during a drain", spec->key);
	sim_check(world, !model->retired || (sim_live(model) == 0 && model->waiting > 0),
		  "retired %s was spawned", spec->key);
	if (sim_live(model) == 0)
		world->coverage->cold_starts++;
	else if (in_this_step)
		world->coverage->extra_warm++;
	else if (model->waiting > 0)
		world->coverage->growths++;
	else
		world->coverage->floors++;
}

unsigned sim_free_worker_slot(struct world *world)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (world->workers[i].state == W_NONE)
			return i;
	}
	sim_fail(world, "more than %d workers at once; enlarge WORKERS_MAX", WORKERS_MAX);
}

void sim_decide_fate_of_loading(struct world *world, struct fake_worker *worker)
{
	const struct script *script = world->script;
	struct sim_random random = { .stream = sim_hash(script->seed, 1000000 + worker->id) };

	worker->next_ns = world->now_ns + sim_between(&random, 0, script->load_max_ns);
	worker->next = DO_READY;
	if (sim_chance(&random, script->load_hangs))
		worker->next_ns = PC_TIME_NEVER;
	else if (sim_chance(&random, script->load_fails))
		worker->next = sim_chance(&random, 50) ? DO_FAIL : DO_GO;
}

/* Some take longer than they may. */
static void decide_fate_of_preparation(struct world *world, struct fake_worker *worker,
				       uint64_t timeout_ns)
{
	const struct script *script = world->script;
	struct sim_random random = { .stream = sim_hash(script->seed, 7000000 + worker->id) };

	worker->next_ns = world->now_ns + sim_between(&random, 0, timeout_ns + timeout_ns / 8);
	worker->next = DO_LAUNCH;
	if (sim_chance(&random, script->load_fails))
		worker->next = sim_chance(&random, 50) ? DO_FAIL : DO_GO;
}

static void on_spawn(void *ctx, const struct pc_spawn_order *order)
{
	struct world *world = ctx;
	unsigned m = (unsigned)(uintptr_t)order->model_owner;
	struct fake_model *model = &world->models[m];
	struct fake_worker *worker = &world->workers[sim_free_worker_slot(world)];
	uint64_t prepare_ns = sim_spec(world, m)->prepare_timeout_ns;

	sim_trace(world, "spawn worker, model, device", order->worker_id, m, order->device);
	sim_check(world, order->worker_id > world->last_worker_id,
		  "I8: worker id %" PRIu64 " came again", order->worker_id);
	sim_check(world, order->model == model->handle, "the order names another model");
	sim_check(world, sim_allows(world, m, order->device), "%s was put on device %u",
		  order->model_key, order->device);
	sim_check(world, sim_may_use(world, m, order->device),
		  "%s grows on device %u, which is tight (rule 11) or not what was asked for",
		  order->model_key, order->device);
	world->coverage->tight_cold_starts += world->tight[order->device];
	world->spawns[m]++;
	sim_check(world, order->reserved_bytes == model->need_bytes,
		  "%s reserved %" PRIu64 " bytes, needs %" PRIu64, order->model_key,
		  order->reserved_bytes, model->need_bytes);
	check_spawn_is_called_for(world, m, model);
	world->last_worker_id = order->worker_id;
	world->reserved[order->device] += order->reserved_bytes;
	sim_check(world, world->reserved[order->device] <= world->budgets[order->device],
		  "I1: %s overcommits device %u", order->model_key, order->device);
	*worker = (struct fake_worker){
		.state = W_LOADING,
		.id = order->worker_id,
		.model = m,
		.device = order->device,
		.slots = order->slots,
		.reserved_bytes = order->reserved_bytes,
		.spawned_ns = world->now_ns,
		.spawned_step = world->step,
		.deadline_ns = order->deadline_ns,
		.busy_since_ns = PC_TIME_NEVER,
		.grow_ns = PC_TIME_NEVER,
	};
	sim_check(world,
		  order->deadline_ns ==
			  world->now_ns +
				  (prepare_ns ? prepare_ns : sim_spec(world, m)->start_timeout_ns),
		  "I10: the start deadline of %s is not its timeout", order->model_key);
	if (prepare_ns)
		decide_fate_of_preparation(world, worker, prepare_ns);
	else
		sim_decide_fate_of_loading(world, worker);
	model->loading++;
	model->load_asked = false;
}

/* ---- stop ---- */

/*
 * Whether somebody has waited as long as overrides the residency: a request, or a model whose
 * requests come and give up one after the other.
 */
static bool somebody_waited_long(const struct world *world)
{
	uint64_t max_wait_ns = world->script->settings.max_wait_ns;

	for (unsigned m = 0; m < world->script->model_count; m++) {
		uint64_t since_ns = world->models[m].asked_since_ns;

		if (since_ns != PC_TIME_NEVER && world->now_ns - since_ns >= max_wait_ns)
			return true;
	}
	return max_wait_ns == 0;
}

/* Somebody without any worker. */
static bool somebody_else_is_cold(const struct world *world, unsigned except)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		const struct fake_model *model = &world->models[m];

		if (m != except && sim_live(model) == 0 &&
		    (model->waiting > 0 || model->load_asked))
			return true;
	}
	return false;
}

static bool somebody_else_wants(const struct world *world, unsigned except)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		if (m != except && (world->models[m].waiting > 0 || world->models[m].load_asked))
			return true;
	}
	return false;
}

static void check_eviction(struct world *world, const struct fake_worker *worker)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);

	sim_check(world, somebody_else_wants(world, worker->model),
		  "rule 5: worker %" PRIu64 " was evicted for nobody", worker->id);
	sim_check(world, somebody_else_is_cold(world, worker->model) || somebody_waited_long(world),
		  "rule 5: worker %" PRIu64 " was evicted for growth that nobody waited for",
		  worker->id);
	sim_check(world, sim_live(&world->models[worker->model]) > spec->min_workers,
		  "rule 5: eviction took %s below min_workers", spec->key);
	sim_check(world,
		  world->now_ns - worker->ready_ns >= world->script->settings.min_residency_ns ||
			  somebody_waited_long(world),
		  "rule 5: worker %" PRIu64 " was evicted before its minimum residency",
		  worker->id);
	world->coverage->evictions++;
}

/* Rule 8. */
static void check_cooldown(struct world *world, const struct fake_worker *worker)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);
	uint64_t ttl_ns = spec->idle_ttl_ns == PC_IDLE_TTL_DEFAULT
				  ? world->script->settings.cooldown_idle_ns
				  : spec->idle_ttl_ns;
	uint64_t since_ns = worker->last_used_ns > worker->ready_ns ? worker->last_used_ns
								    : worker->ready_ns;

	sim_check(world, sim_live(&world->models[worker->model]) > spec->min_workers,
		  "rule 8: cooldown took %s below min_workers", spec->key);
	sim_check(world, world->now_ns - since_ns >= ttl_ns,
		  "rule 8: worker %" PRIu64 " has not idled for its cooldown", worker->id);
	world->coverage->cooldowns++;
	world->coverage->self_cooldowns += spec->self_service;
}

static void check_pressure(struct world *world, const struct fake_worker *worker)
{
	bool over = world->over_allowed[worker->device];

	sim_check(world, over || world->relieved == (int)worker->device,
		  "rule 11: device %u is within its budget", worker->device);
	world->pressure_stops++;
	sim_check(world, over || world->pressure_stops == 1,
		  "rule 11: one call takes more than one worker");
	world->coverage->pressure_stops++;
}

static void check_stop_reason(struct world *world, const struct fake_worker *worker,
			      enum pc_stop_reason why)
{
	const struct pc_sched_model_spec *spec = sim_spec(world, worker->model);
	bool unloads = why == PC_STOP_IDLE || why == PC_STOP_EVICTED || why == PC_STOP_PRESSURE;

	if (unloads) {
		sim_check(world, worker->leases == 0 && worker->state == W_READY,
			  "I7: worker %" PRIu64 " was unloaded while in use", worker->id);
		sim_check(world, worker->recalled || !spec->self_service,
			  "I7: worker %" PRIu64 " was unloaded without a recall", worker->id);
		sim_check(world, world->models[worker->model].waiting == 0,
			  "I7: worker %" PRIu64 " was unloaded while somebody is about to lease it",
			  worker->id);
		sim_check(world, !spec->pinned, "pinned %s was unloaded", spec->key);
	}
	switch (why) {
	case PC_STOP_IDLE:
		check_cooldown(world, worker);
		break;
	case PC_STOP_EVICTED:
		check_eviction(world, worker);
		world->evictions++;
		world->coverage->self_evictions += spec->self_service;
		break;
	case PC_STOP_PRESSURE:
		check_pressure(world, worker);
		world->coverage->self_pressure += spec->self_service;
		break;
	case PC_STOP_OVERDUE:
		sim_check(world, worker->state == W_LOADING && world->now_ns >= worker->deadline_ns,
			  "worker %" PRIu64 " was not overdue", worker->id);
		world->coverage->overdue++;
		world->coverage->never_launched += worker->next == DO_LAUNCH;
		break;
	case PC_STOP_FAILED:
		sim_check(world, worker->failed, "worker %" PRIu64 " had not failed", worker->id);
		break;
	case PC_STOP_REQUESTED:
		sim_check(world, worker->asked_to_stop, "nobody asked worker %" PRIu64 " to stop",
			  worker->id);
		break;
	case PC_STOP_RECYCLED:
		sim_check(world, worker->recycling,
			  "worker %" PRIu64 " was recycled before its time", worker->id);
		if (spec->recycle_requests && worker->served >= spec->recycle_requests)
			world->coverage->recycled_served++;
		else
			world->coverage->recycled_grown++;
		break;
	case PC_STOP_REPLACED:
		sim_check(world, worker->outdated,
			  "worker %" PRIu64 " was replaced though nothing changed", worker->id);
		break;
	case PC_STOP_RETIRED:
		sim_check(world,
			  worker->let_go || (world->models[worker->model].retired &&
					     world->models[worker->model].waiting == 0),
			  "worker %" PRIu64 " is in service", worker->id);
		break;
	case PC_STOP_SHUTDOWN:
		sim_check(world, world->draining, "worker %" PRIu64 " was shut down", worker->id);
		break;
	}
}

/* Reasons for which nobody's lease is cut short, unless an operator or a shutdown insists. */
static bool is_gentle(const struct fake_worker *worker, enum pc_stop_reason why)
{
	return worker->state != W_STOPPING &&
	       (why == PC_STOP_IDLE || why == PC_STOP_EVICTED || why == PC_STOP_PRESSURE ||
		why == PC_STOP_RECYCLED || why == PC_STOP_REPLACED || why == PC_STOP_RETIRED);
}

void sim_decide_end_of_stopping(struct world *world, struct fake_worker *worker, bool force)
{
	struct sim_random random = { .stream = sim_hash(world->script->seed,
							2000000 + worker->id + force) };

	worker->next = DO_GO;
	worker->next_ns = world->now_ns + sim_between(&random, 0, world->script->stop_max_ns);
	if (sim_chance(&random, world->script->stop_hangs)) {
		worker->next = DO_HANG;
		world->coverage->hung_stops++;
	}
	/* Self-service: the body lets its leases end first. */
	if (worker->leases > 0 && !force)
		worker->next_ns = PC_TIME_NEVER;
}

static void on_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	struct world *world = ctx;
	struct fake_worker *worker = sim_find_worker(world, worker_id);

	sim_trace(world, "stop worker, reason, force", worker_id, why, force);
	sim_check(world, worker && worker->state != W_DEAD, "worker %" PRIu64 " is not there",
		  worker_id);
	sim_check(world,
		  force || worker->leases == 0 || sim_spec(world, worker->model)->self_service,
		  "worker %" PRIu64 " has leases and is not forced", worker_id);
	world->coverage->leased_stops += !force && worker->leases > 0;
	sim_check(world, worker->state != W_STOPPING || (force && !worker->forced),
		  "worker %" PRIu64 " is told to stop once too often", worker_id);
	if (worker->state == W_DRAINING)
		world->coverage->drained_workers++;
	sim_check(world, !force || !is_gentle(worker, why),
		  "worker %" PRIu64 " is forced to stop for reason %d", worker_id, why);
	if (worker->state != W_STOPPING)
		check_stop_reason(world, worker, why);
	if (worker->state == W_LOADING)
		world->models[worker->model].loading--;
	else if (worker->state == W_READY)
		world->models[worker->model].ready--;
	if (why == PC_STOP_OVERDUE && worker->state != W_STOPPING)
		sim_note_failure(world, &world->models[worker->model]);
	world->coverage->forced_stops += force;
	worker->state = W_STOPPING;
	worker->forced |= force;
	sim_decide_end_of_stopping(world, worker, force);
}

/* ---- grant ---- */

void sim_check_order(struct world *world, const struct fake_ticket *granted)
{
	const struct pc_sched_settings *settings = &world->script->settings;
	uint64_t ageing_ns = settings->batch_ageing_ns, patience_ns = settings->request_timeout_ns;
	bool batch = granted->ticket.priority == PC_PRIORITY_BATCH;

	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		const struct fake_ticket *other = &world->tickets[i];

		if (other == granted || other->state != T_WAITING ||
		    other->model != granted->model || other->deadline_ns <= world->now_ns)
			continue;

		bool other_batch = other->ticket.priority == PC_PRIORITY_BATCH;

		if (batch == other_batch) {
			sim_check(world,
				  other->number > granted->number ||
					  other->deadline_ns > granted->deadline_ns,
				  "I5: submission %" PRIu64 " passed %" PRIu64, granted->number,
				  other->number);
		} else if (batch) {
			bool aged = world->now_ns - granted->submitted_ns >= ageing_ns;
			bool urgent = granted->deadline_ns - granted->submitted_ns < patience_ns &&
				      ageing_ns < patience_ns;

			sim_check(world, aged || urgent,
				  "I5: batch submission %" PRIu64 " passed interactive %" PRIu64,
				  granted->number, other->number);
			world->coverage->aged_batch_first += aged;
		} else {
			uint64_t turn_ns = other->submitted_ns + ageing_ns;

			sim_check(world,
				  granted->submitted_ns <= turn_ns ||
					  granted->deadline_ns < turn_ns + patience_ns,
				  "I5: batch submission %" PRIu64 " starves behind %" PRIu64,
				  other->number, granted->number);
		}
	}
}

static void check_choice(struct world *world, const struct fake_ticket *ticket,
			 const struct fake_worker *chosen)
{
	uint64_t affinity = ticket->ticket.affinity;

	if (affinity && world->affinity_worker[ticket->model][affinity] == chosen->id) {
		world->coverage->affinity_hits++;
		return;
	}
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *other = &world->workers[i];

		if (other == chosen || other->state != W_READY || other->model != chosen->model ||
		    other->leases >= sim_spec(world, other->model)->slots)
			continue;
		sim_check(world,
			  chosen->leases < other->leases || (chosen->leases == other->leases &&
							     chosen->last_use > other->last_use),
			  "rule 7: worker %" PRIu64 " was chosen, %" PRIu64 " was better",
			  chosen->id, other->id);
	}
}

static void on_grant(void *ctx, struct pc_ticket *pc_ticket, uint64_t worker_id)
{
	struct world *world = ctx;
	struct fake_ticket *ticket = (struct fake_ticket *)pc_ticket;
	struct fake_worker *worker = sim_find_worker(world, worker_id);

	sim_trace(world, "grant submission, worker", ticket->number, worker_id, 0);
	sim_check(world, ticket->state == T_WAITING, "I2: submission %" PRIu64 " is over",
		  ticket->number);
	sim_check(world, worker && worker->state == W_READY && !worker->failed,
		  "I3: worker %" PRIu64 " is not ready", worker_id);
	sim_check(world, worker->model == ticket->model, "worker %" PRIu64 " has another model",
		  worker_id);
	sim_check(world, !sim_spec(world, worker->model)->self_service,
		  "worker %" PRIu64 " is not the brain's to grant", worker_id);
	sim_check(world, worker->leases < worker->slots, "I3: worker %" PRIu64 " has no free slot",
		  worker_id);
	sim_check(world, !worker->outdated, "worker %" PRIu64 " is of an earlier launch",
		  worker_id);
	sim_check(world, world->now_ns < ticket->deadline_ns,
		  "rule 10: submission %" PRIu64 " is past its deadline", ticket->number);
	sim_check_order(world, ticket);
	check_choice(world, ticket, worker);
	if (ticket->ticket.affinity)
		world->affinity_worker[ticket->model][ticket->ticket.affinity] = worker_id;
	world->coverage->grants_at_once += ticket->submitted_ns == world->now_ns;
	world->coverage->grants_from_queue += ticket->submitted_ns != world->now_ns;
	world->coverage->drained_tickets += world->draining;
	world->models[ticket->model].waiting--;
	ticket->state = T_LEASED;
	ticket->worker = (unsigned)(worker - world->workers);
	ticket->next_ns = world->now_ns + ticket->lease_ns;
	ticket->wake_ns = PC_TIME_NEVER;
	worker->leases++;
	worker->last_used_ns = world->now_ns;
	worker->last_use = ++world->uses;
}

/* ---- reject ---- */

static void check_refusal(struct world *world, const struct fake_ticket *ticket,
			  const struct pc_error *err)
{
	const struct fake_model *model = &world->models[ticket->model];
	const struct pc_sched_model_spec *spec = sim_spec(world, ticket->model);

	switch (err->code) {
	case PC_E_TIMEOUT:
		sim_check(world, world->now_ns >= ticket->deadline_ns,
			  "rule 10: submission %" PRIu64 " had time left", ticket->number);
		world->coverage->timeouts++;
		break;
	case PC_E_QUEUE_FULL:
		sim_check(world, model->waiting >= spec->queue_capacity,
			  "rule 6: the queue of %s has room", spec->key);
		world->coverage->queue_full++;
		break;
	case PC_E_MODEL_NOT_FOUND:
		sim_check(world, model->retired && ticket->submitted_ns == world->now_ns,
			  "submission %" PRIu64 " had been accepted, or %s is in service",
			  ticket->number, spec->key);
		world->coverage->retired_refusals++;
		break;
	case PC_E_SHUTTING_DOWN:
		sim_check(world, world->draining, "rule 12: nobody shuts down");
		if (ticket->submitted_ns == world->now_ns)
			world->coverage->shutdown_refusals++;
		else
			world->coverage->cut_off_tickets++;
		break;
	case PC_E_INSUFFICIENT_MEMORY:
		sim_check(world, !sim_fits_somewhere(world, ticket->model) && sim_live(model) == 0,
			  "rule 5: %s could fit", spec->key);
		world->coverage->never_fits++;
		break;
	case PC_E_MODEL_BACKOFF:
		sim_check(world,
			  sim_live(model) == 0 &&
				  model->failures_in_row >=
					  world->script->settings.breaker_failures &&
				  world->now_ns < model->maybe_spawn_after_ns,
			  "rule 9: the breaker of %s is not open", spec->key);
		world->coverage->backoff_rejections++;
		break;
	case PC_E_SPAWN_FAILED:
	case PC_E_MODEL_FILE_MISSING:
		sim_check(world, sim_live(model) == 0 && model->failures_in_row > 0,
			  "rule 9: %s did not fail to load", spec->key);
		world->coverage->load_failures++;
		break;
	default:
		sim_fail(world, "submission %" PRIu64 " was rejected with %s", ticket->number,
			 pc_error_name(err->code));
	}
}

static void on_reject(void *ctx, struct pc_ticket *pc_ticket, const struct pc_error *err)
{
	struct world *world = ctx;
	struct fake_ticket *ticket = (struct fake_ticket *)pc_ticket;

	sim_trace(world, pc_error_name(err->code), ticket->number, 0, 0);
	sim_check(world, ticket->state == T_WAITING, "I2: submission %" PRIu64 " is over",
		  ticket->number);
	sim_check(world, err->message[0] != '\0', "a rejection without a word");
	world->models[ticket->model].waiting--;
	check_refusal(world, ticket, err);
	ticket->state = T_NONE;
	ticket->next_ns = PC_TIME_NEVER;
	ticket->wake_ns = PC_TIME_NEVER;
	ticket->rejected_with = err->code;
	memcpy(ticket->message, err->message, sizeof(ticket->message));
}

const struct pc_sched_driver sim_driver = {
	.spawn = on_spawn,
	.stop = on_stop,
	.grant = on_grant,
	.reject = on_reject,
	.look = sim_on_look,
	.recall = sim_on_recall,
	.resume = sim_on_resume,
};
