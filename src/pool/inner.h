/* SPDX-License-Identifier: MIT */
/*
 * inner.h - the in-process pool's state, for the files of this room only. Follow a request:
 *
 *   lease.c, call.c    the entries: a free seat, and nothing else is touched
 *   affinity.c         which of the free seats
 *   station.c          no free seat: the queue, waking, handing over, giving back
 *   cancel.c           tokens that end what waits and what runs
 *   driver.c           what the brain orders, noted down under the lock
 *   turn.c             the lock, and what is done after it is let go
 *   worker.c           a worker's threads: load, run, unload
 *   governor.c         the clock of the brain, the dead, and whoever must be told by others
 *   watch.c, measure.c the machine's memory, and the models'
 *   model.c, table.c   registration and lookup
 *   view.c, metrics.c, reserve.c, completions.c, error_kind.c stand beside this way
 *
 * One lock guards the brain and all that is marked [lock]. It is held for the length of one event;
 * nothing sleeps, logs, calls an engine or calls the user back under it, except engines' `cancel`,
 * whose contract allows it. What a free seat takes is outside of it: the slot word (word.h).
 */
#ifndef POOL_INNER_H
#define POOL_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include <poolcore/memory.h>
#include <poolcore/pool.h>
#include <poolcore/registry.h>
#include <poolcore/sched.h>

#include "pool/word.h"
#include "sched/set.h"

/* A cache line, and its neighbour that the prefetcher brings along (Intel's optimisation manual,
 * 3.7.3): what different threads write stands this far apart. */
#define POOL_LINE 128

#define MIB (UINT64_C(1) << 20)
/* The longest time that a setting may be: a year. */
#define SECONDS_MAX (UINT64_C(365) * 24 * 3600)

/* ---- workers and their seats ---- */

enum {
	BELL_JOB = 1,	 /* seat->job is set */
	BELL_STOP = 2,	 /* nobody will hand it a job any more */
	BELL_ASLEEP = 4, /* its thread sleeps */
};

/* One slot of one worker. */
struct seat {
	/* Written by who holds the seat, read by anybody who looks: relaxed, they are figures. */
	_Alignas(POOL_LINE / 2) _Atomic uint64_t served; /* requests that ended with an answer */
	_Atomic uint64_t errors;			 /* ... with an error */
	_Atomic uint64_t report_at;	     /* tell the brain when `served` gets here */
	_Atomic uint32_t last_used;	     /* pool->tick of the last lease; 0: never */
	uint32_t slot;			     /* [const] for the engine */
	struct worker *worker;		     /* [const] */
	struct pc_engine_instance *instance; /* [const while its worker is open] */

	/* The mailbox of its thread: only who holds the seat posts. */
	_Alignas(POOL_LINE / 2) _Atomic uint32_t bell;
	struct job *job; /* [release by the bell's BELL_JOB, acquire by its thread] */
	pthread_t thread;
	bool has_thread; /* [the worker's first thread] */
};

enum worker_stage {
	STAGE_LOADING, /* its thread has yet to be started, or the engine loads */
	STAGE_OPEN,    /* its seats are in the word, or leased */
	STAGE_CLOSED,  /* they are out of it for good; some may still be leased */
	STAGE_ENDED,   /* its first thread is about to end */
};

struct worker {
	struct pc_link by_id;	 /* [lock] pool->workers, until it has ended */
	struct worker *next;	 /* [lock] in a turn's or the pool's list */
	struct station *station; /* [const] */
	uint64_t id;		 /* [const] */
	unsigned place;		 /* [const while open] of its station's */
	uint64_t bits;		 /* [lock] its seats in the slot word; 0: it has no place */
	enum worker_stage stage; /* [lock] */
	uint64_t held;		 /* [lock] once closed: seats that are still leased */
	bool examined;		 /* [lock] the governor asks its engine: it stays loaded */
	bool recalled;		 /* [lock] the brain has taken the seats out */
	bool wanted;		 /* [lock] tell the brain when it is idle */
	bool handed_over;	 /* [const] registered by the program, already loaded */
	enum pc_stop_reason why; /* [lock] */
	_Atomic bool give_up;	 /* loading shall end, running calls too; relaxed */
	struct pc_engine_instance *instance; /* [its first thread, then const while open] */
	uint64_t reserved_bytes;	     /* [const] at the spawn */
	uint64_t measured_bytes;	     /* [lock] */
	uint64_t spawned_ns;		     /* [const] */
	bool loads, failed;		     /* [its first thread] */
	uint32_t measured_tick;		     /* [its one thread, if it is bound to that] */
	void *block;			     /* what was allocated */
	uint32_t seat_count;		     /* [const] */
	struct seat seats[];
};

/* ---- requests that wait ---- */

enum claim {
	CLAIM_WAITING,
	CLAIM_NUDGED,	/* a seat may be free: compete for it */
	CLAIM_GRANTED,	/* job->seat is leased to it, or runs it */
	CLAIM_REJECTED, /* job->err says why */
	CLAIM_DONE,	/* a worker's thread has run it */
	CLAIM_ENTERING, /* its token may know it already; nobody else does */
	CLAIM_ASLEEP = 16,
};

enum job_kind {
	JOB_CALLER, /* wants a seat, and runs on its own thread */
	JOB_SYNC,   /* a worker's thread runs it, its caller sleeps */
	JOB_ASYNC,  /* ... nobody sleeps, `done` is called */
};

struct call {
	pc_run_fn run;
	void *ctx;
	struct pc_cancel *cancel; /* or NULL */
	uint64_t wait_until_ns;	  /* 0: the pool's timeout */
	uint64_t run_until_ns;
	uint64_t affinity; /* 0: none */
	enum pc_priority priority;
};

/* A call in a token's list, from its first moment to its last. */
struct cancel_link {
	struct cancel_link *next, *prev; /* [token's lock] */
	struct job *job;		 /* [token's lock] while it may wait */
	const struct seat *running;	 /* [token's lock] while it runs */
	const struct pc_engine *engine;	 /* [const] */
};

/*
 * A request that found no free seat, or is not its caller's thread's to run. `claim` is decided
 * under the lock, once and for all when it is not WAITING or NUDGED; the memory is the sleeper's,
 * who leaves with it as soon as he sees that.
 */
struct job {
	struct pc_ticket ticket; /* [lock] first: the brain gives it back */
	struct station *station;
	struct call call;
	enum job_kind kind;
	_Atomic uint32_t claim; /* [lock for writing; release, acquire by the sleeper] */
	uint32_t seat;		/* [published by claim] */
	uint64_t submitted_ns;
	int cpu;	  /* where it fell asleep; see is_due */
	struct job *next; /* in a turn's list */
	pc_done_fn done;  /* JOB_ASYNC */
	struct cancel_link link;
	struct pc_error err; /* [published by claim] */
};

/* ---- a model that has been asked for ---- */

struct station {
	_Alignas(POOL_LINE) _Atomic uint64_t word;
	/* [const after it is published] */
	_Alignas(POOL_LINE) struct pc_model *model;
	struct pc_pool *pool;
	const struct pc_engine *engine;
	struct pc_sched_model *brain;
	bool thread_bound; /* every call runs on its worker's one thread */
	uint32_t slots;
	uint32_t worker_places;	       /* workers that it may have at once */
	void *block;		       /* what was allocated */
	struct seat *seats[SEATS_MAX]; /* [by who holds the seat; set before its bit is] */

	/*
	 * How long a run usually takes; 0: not known yet. It follows the samples in steps of an
	 * eighth, as a median does and not as a mean: a run that was preempted for milliseconds
	 * says nothing about the others. Relaxed.
	 */
	_Alignas(POOL_LINE) _Atomic uint64_t usual_run_ns;
	_Atomic uint64_t next_handoff_ns; /* relaxed: a hint */

	_Alignas(POOL_LINE) _Atomic uint64_t affinity[64]; /* relaxed: hints; affinity.c */

	struct station *next;	      /* [lock] pool->stations */
	struct station *next_touched; /* [lock] in a turn's list */
	bool touched;		      /* [lock] */
	uint32_t draining;	      /* [lock] closed workers with leased seats */
	uint32_t wanted;	      /* [lock] workers that the brain waits for */
	uint64_t places;	      /* [lock] that are taken, a bit each */
	struct worker *unplaced;      /* [lock] loaded, and waiting for a place; through next */
	uint64_t gone_served, gone_errors; /* [lock] by workers that are no more */
};

/*
 * The bits of the worker in a place. Slot s of the worker in place p has bit s * places + p: the
 * first slots of all workers come before the second ones, so that the lowest free bit is on a
 * worker with the fewest leases (rule 7).
 */
static inline uint64_t seats_of_place(const struct station *station, unsigned place)
{
	uint64_t seats = 0;

	for (uint32_t slot = 0; slot < station->slots; slot++)
		seats |= word_seat(slot * station->worker_places + place);
	return seats;
}

/* A registered model: all there is until somebody asks for it. */
struct pc_model {
	_Atomic(struct station *) station; /* [release once, acquire by anybody] */
	struct pc_pool *pool;
	const struct pc_engine *engine; /* NULL: engine_name is opened when needed */
	uint64_t hash;			/* of the key */
	/* Into `text`. */
	const char *engine_name, *path;
	struct pc_task_prefix *tasks; /* or NULL; one allocation with their texts */
	uint64_t memory_mb, recycle_requests, recycle_mb;
	uint64_t start_timeout_secs;
	int64_t keep_idle_secs;
	uint32_t context_tokens, threads, min_workers, max_workers, cold_start_workers;
	uint32_t queue_capacity;
	uint16_t task_count;
	uint8_t capability, slots, device;
	uint8_t key_length; /* 1..255 */
	bool pinned;
	char text[]; /* key, engine's name, path, each with its NUL */
};

/* Zeroed memory on a line of its own, or NULL; *ret_block is what pc_free takes. */
void *aligned_new(size_t size, void **ret_block);

/* ---- figures ---- */

/* A clock that goes back makes no figure of centuries. */
static inline uint64_t ns_since(uint64_t then_ns, uint64_t now_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

struct histogram {
	_Atomic uint64_t sum_us, max_us, buckets[PC_HISTOGRAM_BUCKETS]; /* relaxed */
};

struct figures {
	uint64_t timeouts, errors, cancelled; /* [lock] */
	uint64_t refused;		      /* [lock] requests that ended without a seat */
	uint64_t at_shutdown;		      /* [lock] requests that waited or ran when it began */
	uint64_t dropped;		      /* [lock] of these, those that got no answer */
	struct histogram queue_wait, load_time, run_time;
};

/* ---- the key table ---- */

struct table_slot {
	uint64_t hash;			  /* [before `model`] */
	_Atomic(struct pc_model *) model; /* [release after hash, acquire by readers] */
};

struct table_part {
	struct table_part *older; /* readers may still be in them */
	uint64_t mask;
	struct table_slot slots[];
};

struct table {
	_Atomic(struct table_part *) current; /* [release, acquire by readers] */
	size_t count;			      /* [pool->models_lock] */
};

/* ---- the machine's memory, watched by the governor ---- */

struct memory_watch {
	const char *root; /* in front of every path; for tests */
	uint64_t next_ns;
	uint64_t total_bytes; /* that the budget was made from */
	enum pc_memory_state state;
	bool complained; /* that it cannot be read; said once */
};

/* ---- the pool ---- */

#define INSIDE_ENDING (UINT32_C(1) << 31) /* in pool->inside: whoever leaves last wakes the end */

struct pc_pool {
	struct pc_pool_config config; /* [const] */
	struct table table;
	pthread_mutex_t models_lock; /* guards registration; never taken with `lock` held */

	pthread_mutex_t lock;
	struct turn *turn;	/* [lock] the holder's */
	uint64_t shutdown_ns;	/* [lock] when it began; PC_TIME_NEVER before */
	void *block;		/* what was allocated */
	struct pc_sched *sched; /* [lock] */
	struct pc_ledger *ledger;
	bool owns_ledger;
	unsigned device;	  /* "cpu", whose memory the governor watches */
	struct station *stations; /* [lock] */
	struct pc__set workers;	  /* [lock] by id */
	struct worker *ended;	  /* [lock] for the governor to join */
	struct job *over;	  /* [lock] JOB_ASYNC for the governor to finish */
	uint64_t added_mb;	  /* [lock] pc_pool_add_memory_mb */
	struct figures figures;

	_Alignas(POOL_LINE) _Atomic uint32_t tick; /* seconds, never 0; relaxed */
	_Atomic bool shutting_down;		   /* relaxed: a hint, the brain decides */

	/* The governor. */
	pthread_t governor;
	pthread_cond_t governor_wake; /* [lock] */
	uint64_t next_tick_ns;	      /* [lock] when the brain wants its next tick */
	uint64_t governor_until_ns;   /* [lock] when the governor wakes by itself */
	bool governor_called;	      /* [lock] */
	bool governor_ends;	      /* [lock] */
	_Atomic uint32_t inside;      /* callers on the slow side; the last thing that they touch */
	pthread_cond_t changed;	      /* [lock] a worker has gone; shutdown waits on it */
	struct memory_watch watch;    /* [the governor's] */
	uint64_t next_measure_ns;     /* [the governor's] */
	_Atomic uint64_t loads_begun; /* with loads_ended: whether a load was alone */
	_Atomic uint64_t loads_ended;
};

/* A seat is leased. The first use in a second is marked; the clock is every turn's, and the
 * governor's. */
static inline void seat_mark_used(const struct pc_pool *pool, struct seat *seat)
{
	uint32_t tick = atomic_load_explicit(&pool->tick, memory_order_relaxed);

	if (atomic_load_explicit(&seat->last_used, memory_order_relaxed) != tick)
		atomic_store_explicit(&seat->last_used, tick, memory_order_relaxed);
}

/* ---- thread.c ---- */

/* pthread_create, with every signal blocked in the new thread; 0 or an errno. */
int thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

/* ---- turn.c: one hold of the lock ---- */

enum { TURN_WAKES = 16 };

/* What came up under the lock and is done after it. */
struct turn {
	struct pc_pool *pool;
	uint64_t now_ns;
	_Atomic uint32_t *wakes[TURN_WAKES];
	unsigned wake_count;
	struct station *touched;
	struct job *over;			  /* JOB_ASYNC that were rejected */
	struct worker *spawns;			  /* threads to start */
	uint64_t stillborn_first, stillborn_last; /* ids that there was no memory for; 0: none */
};

void turn_begin(struct pc_pool *pool, struct turn *turn);
/* Settles what was touched, unlocks, then wakes, starts and calls back. */
void turn_end(struct turn *turn);
void turn_wake(struct turn *turn, _Atomic uint32_t *word);
/* The station's queue or seats have changed: turn_end looks at them. */
void turn_touch(struct turn *turn, struct station *station);
/* Between these two this thread calls nobody back, see the silence note. They nest. */
void turn_silence(void);
void turn_speak(void);
/* For events of the brain: takes note of when it wants its next tick. */
void turn_note(struct turn *turn, uint64_t next_tick_ns);

/* ---- affinity.c ---- */

/* Takes a free seat, near the one that the key had last; -1 when none is free. */
int seat_take(struct station *station, uint64_t affinity);

/* ---- station.c: the slow side of a model ---- */

/* Its station, made at the first call. The engine's errors, OUT_OF_MEMORY. */
int station_of(struct pc_model *model, struct station **ret_station, struct pc_error *err);
/* The same for a request, which is counted if it fails. */
int station_for_request(struct pc_model *model, struct station **ret_station, struct pc_error *err);
/* A request has ended with an error before it was a job. */
void note_refused(struct pc_pool *pool);

void job_init(struct job *job, struct station *station, const struct call *call,
	      enum job_kind kind);
/*
 * Gets a free seat, or a place in the brain's queue; a job for a worker's thread that gets a seat
 * is handed to it. A JOB_ASYNC may be over, and gone, when this returns.
 */
void job_enter(struct job *job);
/* Sleeps until the claim is decided: GRANTED or REJECTED for a caller, DONE or REJECTED for the
 * others. */
enum claim job_wait(struct job *job);
/* Takes back a job that waits, with CANCELLED; does nothing to one that does not. */
void job_cancel_waiting(struct job *job);
/* [lock] The brain rejects it. */
void job_reject_locked(struct turn *turn, struct job *job, const struct pc_error *err);
/* Says that it is over; job->err is set. The memory may be gone when this returns. */
void job_finish(struct job *job);
/* Each of a list. */
void jobs_finish(struct job *first);

/* Gives a seat back that word_put did not take. */
void seat_return(struct station *station, unsigned seat);
/* Gives a seat back, in the one way or the other. */
static inline void seat_give_back(struct station *station, unsigned seat)
{
	if (!word_put(&station->word, seat))
		seat_return(station, seat);
}
/* The same by the seat's own thread: a job that it shall run next, on the same seat, or NULL. */
struct job *seat_next_job(struct station *station, unsigned seat);
/* [lock] The same inside a turn. */
void seat_return_locked(struct turn *turn, struct station *station, unsigned seat);
/* [lock] Wakes and hands over as long as there are free seats, and sets the word's flags right. */
void station_settle_locked(struct turn *turn, struct station *station);
/* Its worker is broken: the brain is told; the seat is still to be returned. */
void seat_broke(struct station *station, unsigned seat, const struct pc_error *cause);
/* Tells the brain what seat->report_at was set for. */
void seat_report(struct station *station, unsigned seat);

/* A request that had this seat ended with an answer. Only who holds the seat writes its figures: no
 * read-modify-write is needed. */
static inline void seat_note_answer(struct station *station, unsigned number)
{
	struct seat *seat = station->seats[number];
	uint64_t served = atomic_load_explicit(&seat->served, memory_order_relaxed) + 1;

	atomic_store_explicit(&seat->served, served, memory_order_relaxed);
	if (served >= atomic_load_explicit(&seat->report_at, memory_order_relaxed))
		seat_report(station, number);
}

/* ---- driver.c: the brain's orders ---- */

extern const struct pc_sched_driver pool_driver;
struct worker *worker_find(const struct pc_pool *pool, uint64_t id);
/* [lock] Its seats come into the word. */
void worker_open(struct turn *turn, struct worker *worker);
/* [lock] A closed worker's seat comes back. */
void worker_collect(struct turn *turn, struct worker *worker, unsigned seat);
/* [lock] The open worker stays loaded until it is let go, closed or not. Its seats stay free. */
void worker_examine(struct worker *worker);
void worker_let_go(struct turn *turn, struct worker *worker);
/* [lock] Tells the brain of the spawns that could not be recorded. */
void driver_bury_stillborn_locked(struct turn *turn);
/* Makes the record of a worker; NULL when there is no memory. */
struct worker *worker_new(struct station *station);
/* [lock] The brain knows it by this id. */
void worker_enter(struct turn *turn, struct worker *worker, uint64_t id, uint64_t reserved_bytes);

/* ---- worker.c: threads ---- */

/* Starts its threads. When that fails the brain is told, and the record is gone. */
int worker_start(struct worker *worker, struct pc_error *err);
/* [the governor] Frees a worker whose first thread has ended. */
void worker_bury(struct worker *worker);

/* ---- call.c ---- */

/* Around what may wait: the pool is not freed before everybody has left. */
void pool_enter(struct pc_pool *pool);
void pool_leave(struct pc_pool *pool);
/* The end of a request whose token was fired before it came: counts it, and leaves. CANCELLED. */
int refuse_cancelled(struct station *station, struct pc_error *err);
/* INVALID_ARGUMENT for a priority that does not exist. NULL is allowed. */
int call_check_options(const struct pc_request_options *options, struct pc_error *err);
void call_read_options(const struct pc_request_options *options, struct call *call);
/* Keeps the books of a request that has had this seat; a WORKER_FAILED is told to the brain. */
void note_end(struct station *station, unsigned seat, int rc, const struct pc_error *err);
/* Runs a call on a seat that this thread holds, and keeps the books; the seat stays held. */
int run_on_seat(struct station *station, unsigned seat, const struct call *call,
		struct cancel_link *link, struct pc_error *err);

/* ---- cancel.c ---- */

/* Joins the token's list; false when it is fired already. Without a token: true. */
bool cancel_join(struct pc_cancel *cancel, struct cancel_link *link, const struct pc_engine *engine,
		 struct job *job);
/* From here on its call runs on this seat, and a fire goes to the engine; NULL: it does not. */
void cancel_set_running(struct pc_cancel *cancel, struct cancel_link *link,
			const struct seat *seat);
void cancel_leave(struct pc_cancel *cancel, struct cancel_link *link);

/* ---- model.c ---- */

void model_free(struct pc_model *model);

/* ---- table.c ---- */

uint64_t table_hash(const char *key, size_t length);
struct pc_model *table_find(const struct table *table, const char *key);
/* [models_lock] OUT_OF_MEMORY. The key must be new. */
int table_add(struct table *table, struct pc_model *model, struct pc_error *err);
void table_fini(struct table *table);
/* Calls `visit` for each; sees models that are added meanwhile, or not. */
void table_each(const struct table *table, void (*visit)(void *ctx, struct pc_model *model),
		void *ctx);

/* ---- metrics.c ---- */

void histogram_add(struct histogram *histogram, uint64_t ns);
/* A run took this long: the histogram, and what is usual. */
void figures_note_run(struct station *station, uint64_t ns);

/* ---- governor.c ---- */

int governor_start(struct pc_pool *pool, struct pc_error *err);
void governor_stop(struct pc_pool *pool);
/* [lock] It has something to do before the time it sleeps until. */
void governor_call(struct pc_pool *pool);
/* One round: ticks, the ended, memory. The governor's own, and for tests, which hold it up. */
void governor_beat(struct pc_pool *pool);

/* ---- watch.c ---- */

void watch_init(struct pc_pool *pool, const struct pc_memory_facts *facts);
/* Looks at the machine's memory if it is time. [the governor, without the lock] */
void watch_look(struct pc_pool *pool, uint64_t now_ns);
/* What the budget is of so much memory. */
uint64_t watch_budget(const struct pc_pool_config *config, uint64_t total_bytes);

/* ---- measure.c: what models really take ---- */

/* The most bytes that an earlier worker of the model took; 0: nothing is known. May wait for the
 * disk. */
uint64_t measured_recall(const struct pc_model *model, const struct pc_engine *engine);
void measured_remember(const struct station *station, uint64_t bytes);
/* Around a load: what the process holds, if nobody else loads meanwhile; see measure.c. */
struct load_gauge {
	uint64_t held_bytes; /* 0: cannot be told */
	uint64_t loads;
};
void gauge_begin(struct pc_pool *pool, struct load_gauge *gauge);
/* What the load took, as far as the process shows it; 0: not known. */
uint64_t gauge_end(struct pc_pool *pool, const struct load_gauge *gauge);
/* Instead of gauge_end, when the load will never return. */
void gauge_drop(struct pc_pool *pool);
/* What an engine says that an instance takes. The caller examines it, or loads or unloads; a worker
 * that is bound to its thread may be asked by that alone. */
uint64_t measured_now(const struct station *station, const struct pc_engine_instance *instance);
/* Measures every worker that is not bound to its thread, if it is time. [the governor, without the
 * lock] */
void measured_look(struct pc_pool *pool, uint64_t now_ns);
/* The same for one that is, by its own thread, which holds its seat. */
void measured_by_thread(struct worker *worker);

#endif
