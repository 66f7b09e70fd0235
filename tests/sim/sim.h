/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the third body of the brain: a world with a fake clock, fake devices, workers and
 * clients, in which everything that happens follows from a script, and a script from a seed.
 *
 *   script.c    seed -> script: how the world is made, and what is done to it from outside
 *   print.c     a script for people
 *   world.c     plays a script: workers load, grow, die, hang and stop, clients wait, leave, return
 *   body.c      hands out the slots of self-service models without asking the brain
 *   operator.c  what is done from outside: loads, stops, budgets, pressure, adoption
 *   actions.c   the driver's actions, each held against the world's own books
 *   books.c     the books, held against the brain after every step
 *   oracle.c    forecasts, held against what then happens
 *   heap.c      the memory of a play
 *   shrink.c    failing script -> the shortest script that still fails
 *   main.c      options, seeds, coverage
 *
 * How a worker or a client behaves is a function of the seed and its number, not of what was drawn
 * before, so that a script with lines removed still plays the same parts.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <setjmp.h>
#include <stdio.h>

#include <poolcore/memory.h>
#include <poolcore/sched.h>

#define MIB (UINT64_C(1) << 20)
#define SEC PC_NS_PER_SEC
#define MSEC PC_NS_PER_MS

enum {
	DEVICES_MAX = 3,
	MODELS_MAX = 6,
	TICKETS_MAX = 48,
	WORKERS_MAX = 64,
	LINES_MAX = 256,
	TRACE_MAX = 64,
};

/* ---- chance ---- */

/* A hash of both: the nth number of a stream. */
uint64_t sim_hash(uint64_t stream, uint64_t n);

struct sim_random {
	uint64_t stream, drawn;
};
uint64_t sim_draw(struct sim_random *random);
/* Both ends included. */
uint64_t sim_between(struct sim_random *random, uint64_t low, uint64_t high);
bool sim_chance(struct sim_random *random, unsigned percent);

/* ---- scripts ---- */

enum line_kind {
	LINE_SUBMIT,
	LINE_LIMIT,
	LINE_LOAD,
	LINE_STOP,
	LINE_TICK,
	LINE_PRESSURE,
	LINE_ADOPT,
	LINE_ESTIMATE,
	LINE_UPDATE,
	LINE_RETIRE,
	LINE_JUMP, /* the machine was asleep, its clock was not */
};

struct line {
	uint64_t at_ns;
	enum line_kind kind;
	unsigned model;	     /* submit, load, adopt, estimate, update, retire */
	unsigned device;     /* limit, pressure, adopt, load */
	uint64_t bytes;	     /* limit, adopt, estimate */
	uint64_t nth_worker; /* stop: of those alive, modulo */
	uint64_t jump_ns;
	bool force;	/* stop */
	bool tight;	/* pressure */
	bool relaunch;	/* update */
	bool on_device; /* load: on no other than `device` */
	enum pc_priority priority;
	uint64_t timeout_ns; /* 0: the default */
	uint64_t affinity;
	uint64_t fate; /* submit: stream of the client's behaviour; update: of the new spec */
};

struct script {
	uint64_t seed;
	struct pc_sched_settings settings;
	unsigned device_count;
	uint64_t budgets[DEVICES_MAX];
	unsigned model_count;
	struct pc_sched_model_spec models[MODELS_MAX];
	char keys[MODELS_MAX][16];
	/* Per cent of workers that ... */
	unsigned load_fails, load_hangs, dies, measures, grows, stop_hangs;
	unsigned self_service; /* per cent of models */
	unsigned stale;	       /* per cent of events that are told with a time that has passed */
	unsigned barges;       /* per cent of recalls that somebody is quicker than */
	uint64_t load_max_ns, stop_max_ns, lease_max_ns;
	uint64_t tick_lag_ns; /* how late the body ticks */
	bool drain_early;     /* the shutdown comes right after the last line */
	uint64_t drain_ns;
	unsigned line_count;
	struct line lines[LINES_MAX];
};

void sim_write_script(uint64_t seed, unsigned lines, struct script *script);
/* Draws what an update may change of a spec; the rest stays. */
void sim_redraw_spec(uint64_t fate, const struct script *script, struct pc_sched_model_spec *spec);
void sim_print_script(const struct script *script, FILE *out);

/* ---- the world ---- */

enum fake_worker_state { W_NONE, W_LOADING, W_READY, W_DRAINING, W_STOPPING, W_DEAD };

struct fake_worker {
	enum fake_worker_state state;
	uint64_t id;
	unsigned model, device;
	uint32_t slots;
	uint64_t reserved_bytes;
	uint32_t leases;
	uint64_t served, seen_served; /* in truth; when the brain last looked */
	uint64_t grown_bytes;
	uint64_t spawned_ns, spawned_step, ready_ns, deadline_ns;
	uint64_t last_use, last_used_ns;
	uint64_t busy_since_ns; /* PC_TIME_NEVER while idle */
	bool forced, failed, asked_to_stop;
	bool recycling; /* it goes when its leases are over */
	bool outdated;	/* by an update */
	bool let_go;	/* its model was retired */
	bool stuck;	/* the brain knows that it cannot be ended */
	/* Self-service. */
	bool wanted, recalled;
	/* What it will do next. */
	uint64_t next_ns;
	enum { DO_LAUNCH, DO_READY, DO_FAIL, DO_GO, DO_HANG } next;
	uint64_t grow_ns; /* when it will have grown */
	unsigned grown;	  /* how often it has */
};

enum fake_ticket_state { T_NONE, T_WAITING, T_LEASED };

struct fake_ticket {
	struct pc_ticket ticket;
	enum fake_ticket_state state;
	unsigned model;
	unsigned worker; /* slot in workers */
	uint64_t number; /* of submission */
	uint64_t submitted_ns, deadline_ns, lease_ns;
	/* Cancels or releases then. */
	uint64_t next_ns;
	/* Self-service: looks for a free slot then; PC_TIME_NEVER: sleeps. */
	uint64_t wake_ns;
	int rejected_with; /* code, by the last step that rejected it */
	char message[PC_ERROR_MESSAGE_MAX];
};

struct fake_model {
	struct pc_sched_model *handle;
	struct pc_sched_model_spec spec;
	bool retired;
	uint64_t need_bytes;
	uint32_t waiting;
	uint32_t loading, ready; /* not draining, not stopping */
	uint32_t failures_in_row;
	uint64_t failed_ns;
	uint64_t no_spawn_before_ns, maybe_spawn_after_ns;
	bool load_asked, kept;
	uint32_t load_mask;	 /* ... on one of these devices, while nobody waits */
	uint64_t asked_since_ns; /* PC_TIME_NEVER: nobody waits for it */
	uint64_t want_since_ns;	 /* PC_TIME_NEVER: lacks nothing */
	uint64_t room_since_ns;	 /* PC_TIME_NEVER: nobody could be evicted for it */
};

struct trace_entry {
	uint64_t at_ns, step;
	const char *what;
	uint64_t a, b, c;
};

/* What the runs really saw; a run that never sees one of these proves nothing about it. */
/* clang-format off */
#define COVERAGE_LIST(X) \
	X(cold_starts) X(growths) X(extra_warm) X(floors) X(grants_at_once) \
	X(grants_from_queue) X(affinity_hits) X(timeouts) X(queue_full) X(never_fits) \
	X(backoff_rejections) X(load_failures) X(overdue) X(deaths) \
	X(deaths_with_leases) X(cancels) X(memory_waits) X(evictions) \
	X(pressure_stops) X(cooldowns) X(aged_batch_first) X(drained_tickets) \
	X(cut_off_tickets) X(forced_stops) X(limit_changes) X(true_ups) X(loads) \
	X(stops) X(drained_workers) X(shutdown_refusals) \
	X(barged) X(served) X(woken_in_vain) X(looks_wanted) X(wanted_told) \
	X(recalls) X(recalls_refused) X(resumes) X(self_cooldowns) X(self_evictions) \
	X(self_pressure) X(leased_stops) X(recycled_served) X(recycled_grown) \
	X(recycled_later) X(growths_told) X(tight_calls) X(tight_cold_starts) \
	X(tight_holds) X(adoptions) X(adoptions_full) X(adoptions_no_room) X(adoptions_to_go) X(estimates) \
	X(hung_stops) X(stale_events) X(jumps) X(foresaw_grant) X(foresaw_queue) \
	X(foresaw_load) X(foresaw_eviction) X(foresaw_coming) X(foresaw_wait) \
	X(foresaw_refusal) X(updates) X(relaunches) X(replaced_idle) X(replaced_leased) \
	X(replaced_loading) X(retired) X(retired_waited_for) X(retired_refusals) X(revived) \
	X(loads_on) X(loads_elsewhere) X(launches) X(never_launched)
/* clang-format on */

struct coverage {
#define X(name) uint64_t name;
	COVERAGE_LIST(X)
#undef X
};

struct world {
	const struct script *script;
	struct pc_ledger *ledger;
	struct pc_sched *sched;
	uint64_t now_ns, tick_ns, step, uses;
	uint64_t told_ns; /* the latest time that the brain knows of */
	uint64_t budgets[DEVICES_MAX], reserved[DEVICES_MAX];
	bool over_allowed[DEVICES_MAX]; /* a limit was lowered, or a worker measured more */
	uint64_t over_bytes[DEVICES_MAX];
	bool any_self_service;
	bool tight[DEVICES_MAX];
	int relieved; /* device that is being told to be tight, or -1 */
	bool draining, quiet, no_barging;
	uint64_t drain_end_ns;
	unsigned alone; /* the only model that lacks a worker; MODELS_MAX: there is none such */
	uint64_t alone_since_ns;
	uint64_t last_worker_id, submissions;
	/* In this step. */
	unsigned spawns[MODELS_MAX], evictions, pressure_stops;
	struct fake_model models[MODELS_MAX];
	struct fake_worker workers[WORKERS_MAX];
	struct fake_ticket tickets[TICKETS_MAX];
	uint64_t affinity_worker[MODELS_MAX][8]; /* the ids that last served a conversation */
	struct coverage *coverage;

	FILE *tell; /* every trace entry as it happens, or NULL */
	struct trace_entry trace[TRACE_MAX];
	uint64_t traced;
	jmp_buf *on_failure;
	const char *failed_check; /* its text before the numbers are filled in */
	char failure[512];
};

/* Plays a script to its end; false with world->failure when a check failed. */
bool sim_play(const struct script *script, struct coverage *coverage, FILE *tell,
	      struct world *world);
void sim_print_trace(const struct world *world, FILE *out);
/* failed_check of a play in which the brain does not return. */
extern const char sim_stuck[];
/* The world of the play that is going on. */
extern struct world *sim_playing;

/* The time that the next event is told with: now, or one that has passed if the brain knows now. */
uint64_t sim_told_now(struct world *world);
struct fake_ticket *sim_new_ticket(struct world *world, unsigned model, uint64_t fate);
void sim_submit(struct world *world, const struct line *line);
void sim_tick(struct world *world);
/* The worker counts no more as loading or ready. */
void sim_leave_states(struct world *world, const struct fake_worker *worker);
/* A worker that is launched: what becomes of its load. */
void sim_decide_fate_of_loading(struct world *world, struct fake_worker *worker);
/* A worker that is ready from now on. */
void sim_become_ready(struct world *world, struct fake_worker *worker);
/* By now it may have to be recycled: the books' side of it. */
void sim_note_recycling(struct world *world, struct fake_worker *worker);

/* ---- operator.c ---- */

void sim_line_happens(struct world *world, const struct line *line);

/* ---- body.c: self-service ---- */

/* Takes a free slot for the ticket; false when there is none. */
bool sim_take_slot(struct world *world, struct fake_ticket *ticket);
void sim_return_slot(struct world *world, struct fake_ticket *ticket);
/* Somebody who was woken tries again. */
void sim_wakes(struct world *world, struct fake_ticket *ticket);
/* Wakes the next ones where slots are free. */
void sim_wake_waiting(struct world *world);
/* What the brain learns by looking. */
void sim_note_answers(struct world *world, struct fake_worker *worker);

void sim_on_look(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use);
bool sim_on_recall(void *ctx, uint64_t worker_id);
void sim_on_resume(void *ctx, uint64_t worker_id);

/* ---- oracle.c ---- */

struct oracle {
	bool asked;
	bool exact; /* nobody else's doings will mix with those that are foreseen */
	bool was_cold;
	uint32_t ahead; /* by the books */
	struct pc_sched_forecast forecast;
};
/* Asks, before a ticket is submitted. */
void sim_foresee(struct world *world, const struct fake_ticket *ticket, struct oracle *oracle);
/* Compares, when it has been. */
void sim_check_forecast(struct world *world, const struct fake_ticket *ticket,
			const struct oracle *oracle);

/* Nobody wants room: whoever fits is foreseen to be loaded into it. */
void sim_check_nothing_is_kept(struct world *world);

/* ---- facts from the books ---- */

const struct pc_sched_model_spec *sim_spec(const struct world *world, unsigned model);
uint64_t sim_free_bytes(const struct world *world, unsigned device);
bool sim_allows(const struct world *world, unsigned model, unsigned device);
uint32_t sim_live(const struct fake_model *model);
bool sim_may_have_more(const struct world *world, unsigned model);
/* Self-service: slots that nobody has. */
uint32_t sim_free_slots(const struct world *world, unsigned model);
/* Rule 11: allowed, and not tight unless its first worker is asked for. */
bool sim_may_use(const struct world *world, unsigned model, unsigned device);
bool sim_fits_somewhere(const struct world *world, unsigned model);
bool sim_is_due_for_recycling(const struct world *world, const struct fake_worker *worker);
bool sim_is_any_leaving(const struct world *world, unsigned model);
/* Whether the model should be spawned now if there were room, or perhaps: the end of a back-off is
 * the brain's secret. */
bool sim_may_lack_a_worker(const struct world *world, unsigned model);
struct fake_worker *sim_find_worker(struct world *world, uint64_t id);

/* ---- checks ---- */

extern const struct pc_sched_driver sim_driver;

/* Ends the run with a failure that cites what was broken. */
_Noreturn void sim_fail(struct world *world, const char *fmt, ...) PC_PRINTF(2, 3);
#define sim_check(world, condition, ...) \
	do { \
		if (!(condition)) \
			sim_fail(world, __VA_ARGS__); \
	} while (0)

void sim_trace(struct world *world, const char *what, uint64_t a, uint64_t b, uint64_t c);
/* Its model backs off: the books' side of rule 9. */
void sim_note_failure(struct world *world, struct fake_model *model);
/* Whether this one may go before everybody else who waits (I5). */
void sim_check_order(struct world *world, const struct fake_ticket *granted);
unsigned sim_free_worker_slot(struct world *world);
/* A worker was told to stop, or came to go: when it will be gone. */
void sim_decide_end_of_stopping(struct world *world, struct fake_worker *worker, bool force);
/* After every step. */
void sim_check_world(struct world *world);
/* When nothing was asked for long enough (I9). */
void sim_check_quiet(struct world *world);

/* ---- heap.c ---- */

/* Before anything is allocated. */
void sim_heap_open(void);
/* Frees whatever is left; returns how many blocks that were. */
unsigned sim_heap_clear(void);

/* ---- shrinking ---- */

/* Leaves out lines of a failing script, and what is odd about it, as long as it fails alike. */
void sim_shrink(struct script *script);

#endif
