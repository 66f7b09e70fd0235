/* SPDX-License-Identifier: MIT */
/*
 * world.c - plays a script: the fake clock jumps to whatever comes first - a line of the script,
 * something a worker or a client does by itself, or the tick the brain asked for - and the brain is
 * told. After every such step the books are checked.
 */
#include <inttypes.h>
#include <string.h>

#include "sim.h"

/* ---- trace ---- */

static void print_entry(const struct trace_entry *entry, FILE *out)
{
	fprintf(out, "%6" PRIu64 " %10.3f s  %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", entry->step,
		(double)(entry->at_ns - 1000 * SEC) / 1e9, entry->what, entry->a, entry->b,
		entry->c);
}

void sim_trace(struct world *world, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	struct trace_entry *entry = &world->trace[world->traced++ % TRACE_MAX];

	*entry = (struct trace_entry){ world->now_ns, world->step, what, a, b, c };
	if (world->tell)
		print_entry(entry, world->tell);
}

void sim_print_trace(const struct world *world, FILE *out)
{
	uint64_t first = world->traced > TRACE_MAX ? world->traced - TRACE_MAX : 0;

	for (uint64_t i = first; i < world->traced; i++)
		print_entry(&world->trace[i % TRACE_MAX], out);
}

/* ---- workers ---- */

static void loaded(struct world *world, struct fake_worker *worker)
{
	const struct script *script = world->script;
	struct sim_random random = { .stream = sim_hash(script->seed, 3000000 + worker->id) };
	struct fake_model *model = &world->models[worker->model];
	uint64_t measured = 0;

	if (sim_chance(&random, script->measures))
		measured = worker->reserved_bytes * sim_between(&random, 80, 110) / 100;
	sim_trace(world, "READY worker, MiB", worker->id, measured / MIB, 0);
	worker->state = W_READY;
	worker->ready_ns = world->now_ns;
	worker->last_use = ++world->uses;
	worker->next = sim_chance(&random, 50) ? DO_GO : DO_FAIL;
	worker->next_ns = sim_chance(&random, script->dies)
				  ? world->now_ns + sim_between(&random, 0, 60 * SEC)
				  : PC_TIME_NEVER;
	model->loading--;
	model->ready++;
	model->kept = true;
	if (measured) {
		world->reserved[worker->device] += measured - worker->reserved_bytes;
		world->over_allowed[worker->device] = true;
		world->over_bytes[worker->device] = world->reserved[worker->device];
		worker->reserved_bytes = measured;
		if (measured > model->need_bytes)
			model->need_bytes = measured;
		world->coverage->true_ups++;
	}
	world->tick_ns = pc_sched_worker_ready(world->sched, world->now_ns, worker->id, measured);
}

static void leave_states(struct world *world, struct fake_worker *worker)
{
	struct fake_model *model = &world->models[worker->model];

	model->loading -= worker->state == W_LOADING;
	model->ready -= worker->state == W_READY;
}

static void breaks(struct world *world, struct fake_worker *worker)
{
	struct pc_error cause = PC_ERROR_INIT;

	sim_trace(world, "FAILED worker", worker->id, 0, 0);
	pc_error_set(&cause, PC_E_MODEL_FILE_MISSING, "the file is gone");
	worker->failed = true;
	worker->next_ns = PC_TIME_NEVER;
	if (worker->state != W_STOPPING)
		sim_note_failure(world, &world->models[worker->model]);
	world->tick_ns = pc_sched_worker_failed(world->sched, world->now_ns, worker->id, &cause);
}

static void goes(struct world *world, struct fake_worker *worker)
{
	uint64_t id = worker->id;

	sim_trace(world, "GONE worker", id, 0, 0);
	if (worker->state != W_STOPPING) {
		leave_states(world, worker);
		sim_note_failure(world, &world->models[worker->model]);
		world->coverage->deaths++;
		world->coverage->deaths_with_leases += worker->leases > 0;
	}
	world->reserved[worker->device] -= worker->reserved_bytes;
	worker->state = worker->leases ? W_DEAD : W_NONE;
	worker->next_ns = PC_TIME_NEVER;
	/* Its clients notice within a second. */
	for (unsigned i = 0; worker->leases && i < TICKETS_MAX; i++) {
		struct fake_ticket *ticket = &world->tickets[i];

		if (ticket->state == T_LEASED && &world->workers[ticket->worker] == worker &&
		    ticket->next_ns > world->now_ns + SEC)
			ticket->next_ns = world->now_ns + sim_hash(id, i) % SEC;
	}
	world->tick_ns = pc_sched_worker_gone(world->sched, world->now_ns, id, NULL);
	/* Reports that come late or twice change nothing. */
	if (id % 5 == 0)
		world->tick_ns = pc_sched_worker_gone(world->sched, world->now_ns, id, NULL);
	if (id % 7 == 0)
		world->tick_ns = pc_sched_worker_ready(world->sched, world->now_ns, id, MIB);
}

static void worker_acts(struct world *world, struct fake_worker *worker)
{
	switch (worker->next) {
	case DO_READY:
		loaded(world, worker);
		break;
	case DO_FAIL:
		breaks(world, worker);
		break;
	case DO_GO:
		goes(world, worker);
		break;
	}
}

/* ---- clients ---- */

static void cancels(struct world *world, struct fake_ticket *ticket)
{
	sim_trace(world, "CANCEL submission", ticket->number, 0, 0);
	ticket->state = T_NONE;
	ticket->next_ns = PC_TIME_NEVER;
	world->models[ticket->model].waiting--;
	world->coverage->cancels++;
	world->tick_ns = pc_sched_cancel(world->sched, world->now_ns, &ticket->ticket);
}

static void releases(struct world *world, struct fake_ticket *ticket)
{
	struct fake_worker *worker = &world->workers[ticket->worker];
	struct fake_model *model = &world->models[ticket->model];
	enum pc_outcome outcome = worker->state == W_DEAD    ? PC_OUTCOME_LOST
				  : ticket->number % 16 == 0 ? PC_OUTCOME_CANCELLED
							     : PC_OUTCOME_OK;

	sim_trace(world, "RELEASE submission, worker, outcome", ticket->number, worker->id,
		  outcome);
	ticket->state = T_NONE;
	ticket->next_ns = PC_TIME_NEVER;
	worker->leases--;
	worker->last_use = ++world->uses;
	if (outcome == PC_OUTCOME_OK && worker->ready_ns >= model->failed_ns)
		model->failures_in_row = 0;
	if (worker->state == W_DEAD && worker->leases == 0)
		worker->state = W_NONE;
	world->tick_ns = pc_sched_release(world->sched, world->now_ns, &ticket->ticket, outcome);
}

static void submits(struct world *world, const struct line *line)
{
	struct sim_random random = { .stream = line->fate };
	struct fake_ticket *ticket = NULL;

	for (unsigned i = 0; i < TICKETS_MAX && !ticket; i++) {
		if (world->tickets[i].state == T_NONE)
			ticket = &world->tickets[i];
	}
	if (!ticket)
		return; /* more clients than this world has */
	memset(ticket, 0, sizeof(*ticket));
	ticket->state = T_WAITING;
	ticket->model = line->model;
	ticket->number = ++world->submissions;
	ticket->submitted_ns = world->now_ns;
	ticket->deadline_ns = world->now_ns +
			      (line->timeout_ns ? line->timeout_ns
						: world->script->settings.request_timeout_ns);
	ticket->lease_ns = sim_between(&random, 0, world->script->lease_max_ns);
	ticket->next_ns = sim_chance(&random, 15)
				  ? world->now_ns + sim_between(&random, 0, 20 * SEC)
				  : PC_TIME_NEVER;
	ticket->ticket.model = world->models[line->model].handle;
	ticket->ticket.priority = line->priority;
	ticket->ticket.deadline_ns = line->timeout_ns ? ticket->deadline_ns : 0;
	ticket->ticket.affinity = line->affinity;
	world->models[line->model].waiting++;
	sim_trace(world, "SUBMIT submission, model", ticket->number, line->model, 0);
	world->tick_ns = pc_sched_submit(world->sched, world->now_ns, &ticket->ticket);
}

/* ---- the operator and the machine ---- */

static void limits(struct world *world, const struct line *line)
{
	sim_trace(world, "LIMIT device, MiB", line->device, line->bytes / MIB, 0);
	world->budgets[line->device] = line->bytes;
	world->over_allowed[line->device] = true;
	world->over_bytes[line->device] = world->reserved[line->device];
	world->coverage->limit_changes++;
	world->tick_ns = pc_sched_limit_changed(world->sched, world->now_ns, line->device,
						line->bytes);
}

static void operator_loads(struct world *world, const struct line *line)
{
	struct fake_model *model = &world->models[line->model];
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	sim_trace(world, "LOAD model", line->model, 0, 0);
	model->load_asked = model->loading + model->ready == 0;
	if (pc_sched_load(world->sched, world->now_ns, model->handle, &id, &err)) {
		sim_check(world, err.message[0] && model->loading + model->ready == 0,
			  "a refused load spawned, or said nothing");
		model->load_asked = false;
	} else if (id != 0) {
		sim_check(world, sim_find_worker(world, id), "load names no worker");
		world->coverage->loads++;
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
	if (worker->state == W_READY && worker->leases > 0 && !line->force) {
		leave_states(world, worker);
		worker->state = W_DRAINING;
	}
	world->coverage->stops++;
	sim_check(world,
		  pc_sched_stop_worker(world->sched, world->now_ns, worker->id, line->force,
				       &err) == 0,
		  "stop: %s", err.message);
	world->tick_ns = pc_sched_next_deadline(world->sched);
}

static void drains(struct world *world)
{
	world->drain_end_ns = world->now_ns + world->script->drain_ns;
	sim_trace(world, "DRAIN, ms", world->script->drain_ns / MSEC, 0, 0);
	world->draining = true;
	world->tick_ns = pc_sched_drain(world->sched, world->now_ns, world->drain_end_ns);
}

static void ticks(struct world *world)
{
	uint64_t asked_ns = world->tick_ns;

	sim_trace(world, "TICK", 0, 0, 0);
	world->tick_ns = pc_sched_tick(world->sched, world->now_ns);
	sim_check(world, world->tick_ns > world->now_ns,
		  "I10: the tick asked for at %" PRIu64 " asks for another at once", asked_ns);
}

static void line_happens(struct world *world, const struct line *line)
{
	switch (line->kind) {
	case LINE_SUBMIT:
		submits(world, line);
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
		ticks(world);
		break;
	}
}

/* ---- time ---- */

/* Whoever acts first of all that act by themselves, with the brain's tick. */
struct actor {
	uint64_t at_ns;
	struct fake_worker *worker;
	struct fake_ticket *ticket;
};

static struct actor next_actor(struct world *world)
{
	struct actor next = { .at_ns = world->tick_ns };

	if (next.at_ns != PC_TIME_NEVER)
		next.at_ns += world->script->tick_lag_ns;
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct fake_worker *worker = &world->workers[i];

		if (worker->state != W_NONE && worker->next_ns < next.at_ns)
			next = (struct actor){ .at_ns = worker->next_ns, .worker = worker };
	}
	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		struct fake_ticket *ticket = &world->tickets[i];

		if (ticket->state != T_NONE && ticket->next_ns < next.at_ns)
			next = (struct actor){ .at_ns = ticket->next_ns, .ticket = ticket };
	}
	return next;
}

static void step(struct world *world, uint64_t at_ns)
{
	world->step++;
	if (at_ns > world->now_ns)
		world->now_ns = at_ns;
}

/* Lets everything that acts by itself do so until then. */
static void pass_until(struct world *world, uint64_t until_ns)
{
	for (;;) {
		struct actor next = next_actor(world);

		if (next.at_ns > until_ns)
			break;
		step(world, next.at_ns);
		if (next.worker)
			worker_acts(world, next.worker);
		else if (!next.ticket)
			ticks(world);
		else if (next.ticket->state == T_WAITING)
			cancels(world, next.ticket);
		else
			releases(world, next.ticket);
		sim_check_world(world);
		sim_check(world, world->step < 200000, "the world does not come to rest");
	}
	if (until_ns != PC_TIME_NEVER)
		world->now_ns = until_ns;
}

/* ---- the play ---- */

static void set_the_stage(struct world *world)
{
	const struct script *script = world->script;
	struct pc_error err = PC_ERROR_INIT;

	world->now_ns = 1000 * SEC;
	world->tick_ns = PC_TIME_NEVER;
	sim_check(world, pc_ledger_create(&world->ledger, &err) == 0, "%s", err.message);
	for (unsigned d = 0; d < script->device_count; d++) {
		char name[8];

		snprintf(name, sizeof(name), d ? "gpu%u" : "cpu", d - 1);
		world->budgets[d] = script->budgets[d];
		sim_check(world,
			  pc_ledger_add_device(world->ledger, name, UINT64_C(1) << 40,
					       script->budgets[d], &err) >= 0,
			  "%s", err.message);
	}
	sim_check(world,
		  pc_sched_create(&script->settings, &sim_driver, world, world->ledger,
				  &world->sched, &err) == 0,
		  "%s", err.message);
	for (unsigned m = 0; m < script->model_count; m++) {
		struct pc_sched_model_spec spec = script->models[m];

		spec.key = script->keys[m];
		spec.owner = (void *)(uintptr_t)m;
		world->models[m].need_bytes = spec.memory_bytes;
		world->models[m].asked_since_ns = PC_TIME_NEVER;
		world->models[m].want_since_ns = PC_TIME_NEVER;
		world->models[m].room_since_ns = PC_TIME_NEVER;
		sim_check(world,
			  pc_sched_add_model(world->sched, &spec, &world->models[m].handle, &err) ==
				  0,
			  "%s", err.message);
	}
}

/* Long enough for every cooldown, one worker per interval. */
static uint64_t quiet_ns(const struct world *world)
{
	return 120 * SEC + world->script->settings.maintenance_interval_ns * WORKERS_MAX;
}

static void all_that_happens(struct world *world)
{
	const struct script *script = world->script;

	for (unsigned i = 0; i < script->line_count; i++) {
		pass_until(world, script->lines[i].at_ns);
		step(world, script->lines[i].at_ns);
		line_happens(world, &script->lines[i]);
		sim_check_world(world);
	}
	if (!script->drain_early) {
		pass_until(world, world->now_ns + 200 * SEC); /* every client has left */
		pass_until(world, world->now_ns + quiet_ns(world));
		sim_check_quiet(world);
	}
	step(world, world->now_ns);
	drains(world);
	sim_check_world(world);
	/* One that is refused. */
	step(world, world->now_ns);
	submits(world, &(struct line){ .kind = LINE_SUBMIT });
	sim_check_world(world);
	pass_until(world, PC_TIME_NEVER - 1);
	sim_check(world, pc_sched_is_drained(world->sched), "rule 12: the drain left something");
	for (unsigned d = 0; d < script->device_count; d++)
		sim_check(world, world->reserved[d] == 0, "I9: device %u has bytes reserved", d);
}

bool sim_play(const struct script *script, struct coverage *coverage, FILE *tell,
	      struct world *world)
{
	jmp_buf on_failure;

	memset(world, 0, sizeof(*world));
	world->script = script;
	world->coverage = coverage;
	world->tell = tell;
	world->on_failure = &on_failure;
	if (setjmp(on_failure))
		return false; /* what the brain holds is lost: it may be in any state */
	set_the_stage(world);
	all_that_happens(world);
	pc_sched_destroy(world->sched);
	pc_ledger_destroy(world->ledger);
	return true;
}
