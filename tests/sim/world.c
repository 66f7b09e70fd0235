/* SPDX-License-Identifier: MIT */
/*
 * world.c - plays a script: the fake clock jumps to whatever comes first - a line of the script,
 * something a worker or a client does by itself, or the tick the brain asked for - and the brain is
 * told. After every such step the books are checked.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

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

uint64_t sim_told_now(struct world *world)
{
	uint64_t chance = sim_hash(world->step, world->traced);

	if (world->told_ns == world->now_ns && chance % 100 < world->script->stale) {
		world->coverage->stale_events++;
		return world->now_ns - chance / 100 % (5 * SEC);
	}
	world->told_ns = world->now_ns;
	return world->now_ns;
}

static void schedule_growth(struct world *world, struct fake_worker *worker)
{
	struct sim_random random = { .stream = sim_hash(world->script->seed,
							5000000 + worker->id * 8 + worker->grown) };

	worker->grow_ns = PC_TIME_NEVER;
	if (worker->grown < 4 && sim_chance(&random, world->script->grows))
		worker->grow_ns = world->now_ns + sim_between(&random, 0, 20 * SEC);
}

void sim_become_ready(struct world *world, struct fake_worker *worker)
{
	const struct script *script = world->script;
	struct sim_random random = { .stream = sim_hash(script->seed, 3000000 + worker->id) };
	struct fake_model *model = &world->models[worker->model];

	worker->state = W_READY;
	worker->ready_ns = world->now_ns;
	worker->last_use = ++world->uses;
	worker->next = sim_chance(&random, 50) ? DO_GO : DO_FAIL;
	worker->next_ns = sim_chance(&random, script->dies)
				  ? world->now_ns + sim_between(&random, 0, 60 * SEC)
				  : PC_TIME_NEVER;
	schedule_growth(world, worker);
	model->loading--;
	model->ready++;
	model->kept = true;
}

/* It takes more, or less, than it was reserved, and has it. */
static void measure(struct world *world, struct fake_worker *worker, uint64_t bytes)
{
	world->reserved[worker->device] += bytes - worker->reserved_bytes;
	world->over_allowed[worker->device] = true;
	world->over_bytes[worker->device] = world->reserved[worker->device];
	worker->reserved_bytes = bytes;
}

static void launched(struct world *world, struct fake_worker *worker)
{
	sim_trace(world, "LAUNCHED worker", worker->id, 0, 0);
	worker->deadline_ns = world->now_ns + sim_spec(world, worker->model)->start_timeout_ns;
	sim_decide_fate_of_loading(world, worker);
	world->coverage->launches++;
	world->tick_ns = pc_sched_worker_launched(world->sched, sim_told_now(world), worker->id);
}

static void loaded(struct world *world, struct fake_worker *worker)
{
	struct sim_random random = { .stream = sim_hash(world->script->seed,
							6000000 + worker->id) };
	struct fake_model *model = &world->models[worker->model];
	uint64_t measured = 0;

	if (sim_chance(&random, world->script->measures))
		measured = worker->reserved_bytes * sim_between(&random, 80, 110) / 100;
	sim_trace(world, "READY worker, MiB", worker->id, measured / MIB, 0);
	sim_become_ready(world, worker);
	if (measured) {
		measure(world, worker, measured);
		if (measured > model->need_bytes)
			model->need_bytes = measured;
		world->coverage->true_ups++;
	}
	world->tick_ns = pc_sched_worker_ready(world->sched, sim_told_now(world), worker->id,
					       measured);
	if (worker->id % 5 == 0)
		world->tick_ns = pc_sched_worker_launched(world->sched, sim_told_now(world),
							  worker->id);
}

void sim_note_recycling(struct world *world, struct fake_worker *worker)
{
	if (worker->state != W_READY || world->draining ||
	    !sim_is_due_for_recycling(world, worker) || sim_is_any_leaving(world, worker->model))
		return;
	worker->recycling = true;
	if (worker->leases > 0 && !sim_spec(world, worker->model)->self_service) {
		sim_leave_states(world, worker);
		worker->state = W_DRAINING;
	}
}

static void grows(struct world *world, struct fake_worker *worker)
{
	uint64_t bytes = worker->reserved_bytes * (101 + sim_hash(worker->id, worker->grown) % 20) /
			 100;

	worker->grown++;
	schedule_growth(world, worker);
	if (worker->state != W_READY || world->draining)
		return;
	sim_trace(world, "GROWN worker, MiB", worker->id, bytes / MIB, 0);
	measure(world, worker, bytes);
	worker->grown_bytes = bytes;
	world->coverage->growths_told++;
	sim_note_recycling(world, worker);
	world->tick_ns = pc_sched_worker_changed(world->sched, sim_told_now(world), worker->id,
						 bytes);
}

void sim_leave_states(struct world *world, const struct fake_worker *worker)
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
	if (worker->state == W_READY && sim_spec(world, worker->model)->self_service)
		sim_note_answers(world, worker); /* the brain looks first */
	if (worker->state != W_STOPPING)
		sim_note_failure(world, &world->models[worker->model]);
	world->tick_ns = pc_sched_worker_failed(world->sched, sim_told_now(world), worker->id,
						&cause);
}

/* Whoever was spared while another worker of its model was leaving. */
static void note_next_recycling(struct world *world, unsigned model)
{
	struct fake_worker *next = NULL;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct fake_worker *worker = &world->workers[i];

		if (worker->state == W_READY && worker->model == model &&
		    sim_is_due_for_recycling(world, worker) && (!next || worker->id < next->id))
			next = worker;
	}
	if (!next)
		return;
	sim_note_recycling(world, next);
	world->coverage->recycled_later += next->recycling;
}

static void goes(struct world *world, struct fake_worker *worker)
{
	uint64_t id = worker->id;

	sim_trace(world, "GONE worker", id, 0, 0);
	if (worker->state != W_STOPPING) {
		sim_leave_states(world, worker);
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
	note_next_recycling(world, worker->model);
	world->tick_ns = pc_sched_worker_gone(world->sched, sim_told_now(world), id, NULL);
	/* Reports that come late or twice change nothing. */
	if (id % 5 == 0)
		world->tick_ns = pc_sched_worker_gone(world->sched, sim_told_now(world), id, NULL);
	if (id % 3 == 0)
		world->tick_ns = pc_sched_worker_launched(world->sched, sim_told_now(world), id);
	if (id % 7 == 0)
		world->tick_ns = pc_sched_worker_ready(world->sched, sim_told_now(world), id, MIB);
	if (id % 11 == 0)
		world->tick_ns = pc_sched_worker_changed(world->sched, sim_told_now(world), id,
							 MIB);
}

/* It does not die; the body says so, and waits. */
static void hangs(struct world *world, struct fake_worker *worker)
{
	sim_trace(world, "STUCK worker", worker->id, 0, 0);
	worker->stuck = true;
	worker->next = DO_GO;
	worker->next_ns = world->now_ns + 200 * SEC;
	world->tick_ns = pc_sched_worker_stuck(world->sched, sim_told_now(world), worker->id);
}

static void worker_acts(struct world *world, struct fake_worker *worker)
{
	switch (worker->next) {
	case DO_LAUNCH:
		launched(world, worker);
		break;
	case DO_READY:
		loaded(world, worker);
		break;
	case DO_FAIL:
		breaks(world, worker);
		break;
	case DO_GO:
		goes(world, worker);
		break;
	case DO_HANG:
		hangs(world, worker);
		break;
	}
}

/* ---- clients ---- */

static void cancels(struct world *world, struct fake_ticket *ticket)
{
	sim_trace(world, "CANCEL submission", ticket->number, 0, 0);
	ticket->state = T_NONE;
	ticket->next_ns = PC_TIME_NEVER;
	ticket->wake_ns = PC_TIME_NEVER;
	world->models[ticket->model].waiting--;
	world->coverage->cancels++;
	world->tick_ns = pc_sched_cancel(world->sched, sim_told_now(world), &ticket->ticket);
}

static void releases(struct world *world, struct fake_ticket *ticket)
{
	struct fake_worker *worker = &world->workers[ticket->worker];
	struct fake_model *model = &world->models[ticket->model];
	enum pc_outcome outcome = worker->state == W_DEAD    ? PC_OUTCOME_LOST
				  : ticket->number % 16 == 0 ? PC_OUTCOME_CANCELLED
							     : PC_OUTCOME_OK;

	if (sim_spec(world, ticket->model)->self_service) {
		sim_return_slot(world, ticket);
		return;
	}
	sim_trace(world, "RELEASE submission, worker, outcome", ticket->number, worker->id,
		  outcome);
	ticket->state = T_NONE;
	ticket->next_ns = PC_TIME_NEVER;
	worker->leases--;
	worker->served++;
	worker->last_used_ns = world->now_ns;
	worker->last_use = ++world->uses;
	if (outcome == PC_OUTCOME_OK && worker->ready_ns >= model->failed_ns)
		model->failures_in_row = 0;
	if (worker->state == W_DEAD && worker->leases == 0)
		worker->state = W_NONE;
	sim_note_recycling(world, worker);
	world->tick_ns = pc_sched_release(world->sched, sim_told_now(world), &ticket->ticket,
					  outcome);
}

struct fake_ticket *sim_new_ticket(struct world *world, unsigned model, uint64_t fate)
{
	struct sim_random random = { .stream = fate };
	struct fake_ticket *ticket = NULL;

	for (unsigned i = 0; i < TICKETS_MAX && !ticket; i++) {
		if (world->tickets[i].state == T_NONE)
			ticket = &world->tickets[i];
	}
	if (!ticket)
		return NULL; /* more clients than this world has */
	*ticket = (struct fake_ticket){
		.model = model,
		.number = ++world->submissions,
		.submitted_ns = world->now_ns,
		.wake_ns = PC_TIME_NEVER,
	};
	ticket->lease_ns = sim_between(&random, 0, world->script->lease_max_ns);
	ticket->next_ns = sim_chance(&random, 15)
				  ? world->now_ns + sim_between(&random, 0, 20 * SEC)
				  : PC_TIME_NEVER;
	ticket->ticket.model = world->models[model].handle;
	return ticket;
}

void sim_submit(struct world *world, const struct line *line)
{
	struct fake_ticket *ticket = sim_new_ticket(world, line->model, line->fate);
	struct oracle oracle;

	if (!ticket)
		return;
	ticket->deadline_ns = world->now_ns +
			      (line->timeout_ns ? line->timeout_ns
						: world->script->settings.request_timeout_ns);
	ticket->ticket.priority = line->priority;
	ticket->ticket.deadline_ns = line->timeout_ns ? ticket->deadline_ns : 0;
	ticket->ticket.affinity = line->affinity;
	if (sim_spec(world, line->model)->self_service && !world->draining &&
	    !world->models[line->model].retired && sim_take_slot(world, ticket))
		return;
	sim_trace(world, "SUBMIT submission, model", ticket->number, line->model, 0);
	sim_foresee(world, ticket, &oracle);
	ticket->state = T_WAITING;
	world->models[line->model].waiting++;
	world->tick_ns = pc_sched_submit(world->sched, sim_told_now(world), &ticket->ticket);
	sim_check(world, !world->models[line->model].retired || ticket->state == T_NONE,
		  "retired %s takes submission %" PRIu64, sim_spec(world, line->model)->key,
		  ticket->number);
	sim_check_forecast(world, ticket, &oracle);
}

/* ---- time ---- */

static void drains(struct world *world)
{
	world->drain_end_ns = world->now_ns + world->script->drain_ns;
	sim_trace(world, "DRAIN, ms", world->script->drain_ns / MSEC, 0, 0);
	world->draining = true;
	world->told_ns = world->now_ns;
	world->tick_ns = pc_sched_drain(world->sched, world->now_ns, world->drain_end_ns);
}

void sim_tick(struct world *world)
{
	uint64_t asked_ns = world->tick_ns;

	sim_trace(world, "TICK", 0, 0, 0);
	world->told_ns = world->now_ns;
	world->tick_ns = pc_sched_tick(world->sched, world->now_ns);
	sim_check(world, world->tick_ns > world->now_ns,
		  "I10: the tick asked for at %" PRIu64 " asks for another at once", asked_ns);
}

/* Whoever acts first of all that act by themselves, with the brain's tick. */
struct actor {
	uint64_t at_ns;
	enum { A_TICK, A_WORKER, A_GROWTH, A_TICKET, A_WAKING } kind;
	unsigned nth;
};

static void offer(struct actor *first, uint64_t at_ns, int kind, unsigned nth)
{
	if (at_ns < first->at_ns)
		*first = (struct actor){ .at_ns = at_ns, .kind = kind, .nth = nth };
}

static struct actor next_actor(const struct world *world)
{
	struct actor first = { .at_ns = world->tick_ns, .kind = A_TICK };

	if (first.at_ns != PC_TIME_NEVER)
		first.at_ns += world->script->tick_lag_ns;
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct fake_worker *worker = &world->workers[i];

		if (worker->state == W_NONE)
			continue;
		offer(&first, worker->next_ns, A_WORKER, i);
		if (worker->state == W_READY)
			offer(&first, worker->grow_ns, A_GROWTH, i);
	}
	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		const struct fake_ticket *ticket = &world->tickets[i];

		if (ticket->state == T_NONE)
			continue;
		offer(&first, ticket->next_ns, A_TICKET, i);
		if (ticket->state == T_WAITING)
			offer(&first, ticket->wake_ns, A_WAKING, i);
	}
	return first;
}

static void acts(struct world *world, const struct actor *actor)
{
	struct fake_ticket *ticket = &world->tickets[actor->nth % TICKETS_MAX];

	switch (actor->kind) {
	case A_TICK:
		sim_tick(world);
		break;
	case A_WORKER:
		worker_acts(world, &world->workers[actor->nth]);
		break;
	case A_GROWTH:
		grows(world, &world->workers[actor->nth]);
		break;
	case A_TICKET:
		if (ticket->state == T_WAITING)
			cancels(world, ticket);
		else
			releases(world, ticket);
		break;
	case A_WAKING:
		sim_wakes(world, ticket);
		break;
	}
}

static void begin_step(struct world *world, uint64_t at_ns)
{
	world->step++;
	if (at_ns > world->now_ns)
		world->now_ns = at_ns;
	world->no_barging = false;
	world->evictions = 0;
	world->pressure_stops = 0;
	memset(world->spawns, 0, sizeof(world->spawns));
}

/* Who was retired and is waited for no more keeps nothing but what is leased. */
static void note_let_go(struct world *world)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct fake_worker *worker = &world->workers[i];
		const struct fake_model *model = &world->models[worker->model];

		if (worker->state == W_NONE || worker->state == W_DEAD || !model->retired ||
		    model->waiting > 0)
			continue;
		worker->let_go = true;
		if (worker->state == W_READY && worker->leases > 0 && !model->spec.self_service) {
			sim_leave_states(world, worker);
			worker->state = W_DRAINING;
		}
		sim_check(world, worker->state == W_DRAINING || worker->state == W_STOPPING,
			  "retired %s keeps worker %" PRIu64, model->spec.key, worker->id);
	}
}

static void end_step(struct world *world)
{
	note_let_go(world);
	sim_wake_waiting(world);
	sim_check_world(world);
	sim_check(world, world->step < 200000, "the world does not come to rest");
}

/* Lets everything that acts by itself do so until then. */
static void pass_until(struct world *world, uint64_t until_ns)
{
	for (;;) {
		struct actor next = next_actor(world);

		if (next.at_ns > until_ns)
			break;
		begin_step(world, next.at_ns);
		acts(world, &next);
		end_step(world);
	}
	if (until_ns != PC_TIME_NEVER && until_ns > world->now_ns)
		world->now_ns = until_ns;
}

/* ---- the play ---- */

static void set_the_stage(struct world *world)
{
	const struct script *script = world->script;
	struct pc_error err = PC_ERROR_INIT;

	world->now_ns = 1000 * SEC;
	world->relieved = -1;
	world->alone = MODELS_MAX;
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
		world->any_self_service |= spec.self_service;
		world->models[m].spec = spec;
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
	return 400 * SEC + world->script->settings.maintenance_interval_ns * WORKERS_MAX;
}

static void all_that_happens(struct world *world)
{
	const struct script *script = world->script;

	for (unsigned i = 0; i < script->line_count; i++) {
		pass_until(world, script->lines[i].at_ns);
		begin_step(world, script->lines[i].at_ns);
		sim_line_happens(world, &script->lines[i]);
		end_step(world);
	}
	if (!script->drain_early) {
		pass_until(world, world->now_ns + 200 * SEC); /* every client has left */
		world->quiet = true;
		pass_until(world, world->now_ns + quiet_ns(world));
		sim_check_quiet(world);
	}
	begin_step(world, world->now_ns);
	drains(world);
	end_step(world);
	/* One that is refused. */
	begin_step(world, world->now_ns);
	sim_submit(world, &(struct line){ .kind = LINE_SUBMIT });
	end_step(world);
	pass_until(world, PC_TIME_NEVER - 1);
	sim_check(world, pc_sched_is_drained(world->sched), "rule 12: the drain left something");
	for (unsigned d = 0; d < script->device_count; d++)
		sim_check(world, world->reserved[d] == 0, "I9: device %u has bytes reserved", d);
}

struct world *sim_playing;

/* Of the processor, for a play that takes milliseconds. A guess. */
#define STUCK_SECS 5

const char sim_stuck[] = "the brain does not come back";

/* The brain is in a loop without an end, so that nothing of the play is looked at any more. */
static void on_stuck(int signal)
{
	struct world *playing = sim_playing;

	(void)signal;
	playing->failed_check = sim_stuck;
	memcpy(playing->failure, sim_stuck, sizeof(sim_stuck));
	longjmp(*playing->on_failure, 1);
}

static void watch_for_stuck(time_t secs)
{
	/* It does not return, so the signal must not stay blocked. */
	const struct sigaction action = { .sa_handler = on_stuck, .sa_flags = SA_NODEFER };
	const struct itimerval timer = { .it_value = { .tv_sec = secs } };

	sigaction(SIGVTALRM, &action, NULL);
	setitimer(ITIMER_VIRTUAL, &timer, NULL);
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
	sim_playing = world;
	if (setjmp(on_failure)) {
		watch_for_stuck(0);
		sim_heap_clear();
		return false;
	}
	watch_for_stuck(STUCK_SECS);
	set_the_stage(world);
	all_that_happens(world);
	watch_for_stuck(0);
	pc_sched_destroy(world->sched);
	pc_ledger_destroy(world->ledger);
	sim_check(world, sim_heap_clear() == 0, "the brain lost memory");
	return true;
}
