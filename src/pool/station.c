/* SPDX-License-Identifier: MIT */
/*
 * station.c - the slow side of a model: what happens when no seat is free, and when a seat comes
 * back while somebody wants it. Who waits, and in which order, is the brain's queue; whose thread
 * runs is decided here. Any thread; functions that end in _locked inside a turn.
 *
 * The life of a job's claim:
 *
 *    queue_up             nudge (station_settle)         compete: a seat was free
 *   ─────────► WAITING ─────────────────────► NUDGED ───────────────────► GRANTED
 *                │ ▲                             │                           ▲
 *                │ └─────────────────────────────┘                           │
 *                │      compete: somebody was faster                         │
 *                ├───────────────────────────────────────────────────────────┘
 *                │      give: a seat is handed over
 *                └─► REJECTED (from WAITING and NUDGED: deadline, cause, cancel, shutdown)
 *   Before it is ENTERING, and goes to GRANTED at once if a seat is free (job_enter). A job that a
 *   worker's thread runs goes from GRANTED to DONE.
 *
 * The wake-up note. A seat that comes back is put into the word, where anybody may take it, and one
 * waiter is woken to compete for it (WOKEN: one at a time). He may lose it to a caller who never
 * slept; that keeps the seat busy while he wakes, which handing it to him would not, and costs a
 * third of the wake-ups. So that nobody is passed for ever, a seat is handed over directly when the
 * first in line has waited HANDOFF_NS, once per HANDOFF_NS. Figures of the choice: handing over
 * always makes convoys, waking at every return costs three times the throughput (measured on the
 * prototypes of 2026-11). Jobs that a worker's thread shall run are never woken: the seat is handed
 * to its thread with the job, and a thread that has ended a job takes the next one itself.
 *
 * Invariants. tests/formal/slot.pml verifies them, under these numbers, and says which of its steps
 * is which function here. When no turn runs:
 *  S1 ATTENTION is set exactly while anybody waits or DRAINING is set.
 *  S2 DRAINING is set exactly while a worker drains or is wanted, or the model's may not idle.
 *  S3 WOKEN is set exactly while one job is NUDGED; never two.
 *  S4 No wake-up is lost: a seat is free and somebody waits only while WOKEN is set.
 * And always:
 *  S5 A seat has one holder at most, and is not in the word while it has one.
 *  S6 A seat in the word, or taken from it, is of a worker that is open.
 *  S7 A job is decided once.
 *  S8 Nobody is left asleep, and a worker that drains comes to its end.
 *  S9 Nobody waits for ever: see the wake-up note.
 */
#include <assert.h>
#include <sched.h>
#include <string.h>

#include "pool/inner.h"

#include "pool/futex.h"

/*
 * See the wake-up note. Measured with 64 callers on two workers and 2 us of work, alternating,
 * medians of five (two cores, 2026-11): 100, 150 and 200 us give 0.76, 0.81 and 0.82 million calls
 * a second, and a longest wait of 9, 10 and 14 ms.
 */
#define HANDOFF_NS (200 * PC_NS_PER_US)

/* See may_be_due. A power of two. */
enum { RETURNS_PER_LOOK = 16 };

static struct job *first_waiting(const struct station *station)
{
	return (struct job *)pc_sched_first_waiting(station->brain);
}

/* ---- claims ---- */

static enum claim claim_of(const struct job *job)
{
	return atomic_load_explicit(&job->claim, memory_order_acquire) & ~(uint32_t)CLAIM_ASLEEP;
}

/* [lock] S7. The sleeper may be gone with the job as soon as this is said; touch it no more. */
static void decide_locked(struct turn *turn, struct job *job, enum claim claim)
{
	_Atomic uint32_t *word = &job->claim;
	uint32_t before = atomic_exchange_explicit(word, claim, memory_order_acq_rel);

	if (before & CLAIM_ASLEEP)
		turn_wake(turn, word);
}

static void sleep_on(struct job *job, uint32_t claim, uint64_t deadline_ns)
{
	uint32_t expected = claim;

	if (atomic_compare_exchange_strong_explicit(&job->claim, &expected, claim | CLAIM_ASLEEP,
						    memory_order_acq_rel, memory_order_acquire) ||
	    expected == (claim | CLAIM_ASLEEP))
		futex_wait(&job->claim, claim | CLAIM_ASLEEP, deadline_ns);
}

/* ---- handing over ---- */

/* Hands a job to the thread of a seat that the caller holds. */
static void job_post(struct station *station, unsigned number, struct job *job)
{
	struct seat *seat = station->seats[number];

	job->seat = number;
	seat->job = job;
	/* release: publishes seat->job to its thread. */
	if (atomic_fetch_or_explicit(&seat->bell, BELL_JOB, memory_order_acq_rel) & BELL_ASLEEP)
		futex_wake(&seat->bell);
}

/* [lock] The job has this seat now, which its caller has taken out of the word. */
static void grant_locked(struct turn *turn, struct station *station, struct job *job, unsigned seat)
{
	job->seat = seat;
	histogram_add(&station->pool->figures.queue_wait,
		      ns_since(job->submitted_ns, turn->now_ns));
	turn_note(turn, pc_sched_served(station->pool->sched, turn->now_ns, &job->ticket));
}

/* [lock] */
static void give_locked(struct turn *turn, struct station *station, struct job *job,
			unsigned number)
{
	struct seat *seat = station->seats[number];

	if (claim_of(job) == CLAIM_NUDGED)
		word_clear(&station->word, WORD_WOKEN); /* S3 */
	grant_locked(turn, station, job, number);
	if (job->kind == JOB_CALLER) {
		decide_locked(turn, job, CLAIM_GRANTED);
		return;
	}
	/* From WAITING, which is 0; a sleeper sleeps on until it is DONE. */
	atomic_fetch_or_explicit(&job->claim, CLAIM_GRANTED, memory_order_release);
	seat->job = job;
	if (atomic_fetch_or_explicit(&seat->bell, BELL_JOB, memory_order_acq_rel) & BELL_ASLEEP)
		turn_wake(turn, &seat->bell);
}

static bool is_shutting_down(const struct station *station)
{
	return atomic_load_explicit(&station->pool->shutting_down, memory_order_relaxed);
}

/*
 * [lock] Whether the first in line gets a seat that comes back, instead of a chance. It is best
 * handed over on the core where he sleeps: whoever hands it over sleeps next, and leaves that core
 * to him. On another one he waits for a running thread while this core has nothing to do (5 to 8 %
 * of the calls of both); after a while that is better than waiting.
 */
static bool is_due(struct station *station, const struct job *first, uint64_t now_ns)
{
	/* In a shutdown no seat goes where somebody who comes now could take it. */
	if (first->kind != JOB_CALLER || is_shutting_down(station))
		return true;
	/* Not before both: it has waited so long, and so has the one before it. */
	uint64_t waited_ns = first->submitted_ns + HANDOFF_NS;
	uint64_t next_ns = atomic_load_explicit(&station->next_handoff_ns, memory_order_relaxed);
	bool due;

	next_ns = waited_ns > next_ns ? waited_ns : next_ns;
	due = now_ns >= next_ns &&
	      (first->cpu == sched_getcpu() || now_ns - next_ns >= 2 * HANDOFF_NS);
	atomic_store_explicit(&station->next_handoff_ns, due ? now_ns + HANDOFF_NS : next_ns,
			      memory_order_relaxed);
	return due;
}

void station_settle_locked(struct turn *turn, struct station *station)
{
	struct job *first;

	while ((first = first_waiting(station))) {
		if (first->kind == JOB_CALLER && !is_shutting_down(station)) {
			if (word_set_if_free(&station->word, WORD_WOKEN)) /* S3 */
				decide_locked(turn, first, CLAIM_NUDGED);
			break;
		}

		int seat = word_take(&station->word);

		if (seat < 0)
			break;
		give_locked(turn, station, first, (unsigned)seat);
	}

	/* S1, S2. Flags are set before others are cleared: none is missing for a moment. */
	bool follows = station->draining || station->wanted ||
		       station->model->keep_idle_secs == PC_KEEP_NOT;
	uint64_t flags = (first || follows ? WORD_ATTENTION : 0) | (follows ? WORD_DRAINING : 0);

	word_set(&station->word, flags);
	word_clear(&station->word, (WORD_ATTENTION | WORD_DRAINING) & ~flags);
}

/* ---- entering and waiting ---- */

void job_init(struct job *job, struct station *station, const struct call *call, enum job_kind kind)
{
	memset(&job->ticket, 0, sizeof(job->ticket));
	job->ticket.model = station->brain;
	job->ticket.priority = call->priority;
	job->ticket.deadline_ns = call->wait_until_ns;
	job->station = station;
	job->call = *call;
	job->kind = kind;
	atomic_init(&job->claim, CLAIM_ENTERING);
	job->seat = 0;
	job->next = NULL;
	job->done = NULL;
	memset(&job->link, 0, sizeof(job->link));
	pc_error_clear(&job->err);
}

/* [lock] A job ends without having had a seat. If it was nudged, the wake-up goes on to the next
 * (S3, S4). */
static void reject_locked(struct turn *turn, struct job *job)
{
	struct station *station = job->station;

	if (claim_of(job) == CLAIM_NUDGED)
		word_clear(&station->word, WORD_WOKEN);
	turn_touch(turn, station);
	if (job->kind == JOB_ASYNC) {
		job->next = turn->over;
		turn->over = job;
		atomic_store_explicit(&job->claim, CLAIM_REJECTED, memory_order_relaxed);
		return;
	}
	decide_locked(turn, job, CLAIM_REJECTED);
}

/* [lock] It does not stand in the brain's queue, or no more. */
static void cancel_locked(struct turn *turn, struct job *job)
{
	const char *key = job->station->model->text;

	pc_error_set(&job->err, PC_E_CANCELLED,
		     "the request for '%s' was cancelled while it waited", key);
	pc_error_detail(&job->err, "model", "%s", key);
	turn->pool->figures.cancelled++;
	turn->pool->figures.refused++;
	reject_locked(turn, job);
}

void job_cancel_waiting(struct job *job)
{
	struct pc_pool *pool = job->station->pool;
	struct turn turn;

	turn_begin(pool, &turn);

	enum claim claim = claim_of(job);

	if (claim == CLAIM_WAITING || claim == CLAIM_NUDGED) {
		turn_note(&turn, pc_sched_cancel(pool->sched, turn.now_ns, &job->ticket));
		cancel_locked(&turn, job);
	}
	turn_end(&turn);
}

/* [lock] A token that was fired before this has not found it waiting; one that is fired after it
 * will. */
static void queue_up_locked(struct turn *turn, struct job *job)
{
	atomic_store_explicit(&job->claim, CLAIM_WAITING, memory_order_relaxed);
	if (pc_cancel_is_fired(job->call.cancel))
		cancel_locked(turn, job);
	else
		turn_note(turn, pc_sched_submit(turn->pool->sched, turn->now_ns, &job->ticket));
}

void job_enter(struct job *job)
{
	struct station *station = job->station;
	struct pc_pool *pool = station->pool;
	struct turn turn;
	int seat = seat_take(station, job->call.affinity);

	if (seat < 0) {
		turn_begin(pool, &turn);
		job->submitted_ns = turn.now_ns;
		job->cpu = sched_getcpu();
		do {
			seat = word_take(&station->word);
		} while (seat < 0 &&
			 !word_set_unless_free(&station->word, WORD_ATTENTION)); /* S1, S4 */
		turn_touch(&turn, station);
		if (seat < 0)
			queue_up_locked(&turn, job);
		turn_end(&turn);
	}
	/* Without a seat the job may be somebody else's by now, and over. */
	if (seat < 0)
		return;
	job->seat = (unsigned)seat;
	atomic_store_explicit(&job->claim, CLAIM_GRANTED, memory_order_relaxed);
	if (job->kind != JOB_CALLER)
		job_post(station, (unsigned)seat, job);
}

/* It has been nudged: competes for a seat, on its own thread. */
static void compete(struct job *job)
{
	struct station *station = job->station;
	struct turn turn;

	turn_begin(station->pool, &turn);
	if (claim_of(job) == CLAIM_NUDGED) {
		int seat = word_take_clearing(&station->word, WORD_WOKEN);

		if (seat >= 0) {
			grant_locked(&turn, station, job, (unsigned)seat);
			atomic_store_explicit(&job->claim, CLAIM_GRANTED, memory_order_relaxed);
		} else {
			atomic_store_explicit(&job->claim, CLAIM_WAITING, memory_order_relaxed);
			word_clear(&station->word, WORD_WOKEN);
		}
		turn_touch(&turn, station); /* passes the wake-up on (S4) */
	}
	turn_end(&turn);
}

/* Its deadline has come: the brain rejects it, with the reason it waited, unless it has just been
 * served. */
static void expire(struct job *job)
{
	struct turn turn;

	turn_begin(job->station->pool, &turn);
	turn_note(&turn, pc_sched_tick(turn.pool->sched, turn.now_ns));
	turn_end(&turn);
}

enum claim job_wait(struct job *job)
{
	/* What runs ends when its engine lets go; what waits has a deadline (rule 10). */
	uint64_t deadline_ns = job->ticket.brain.deadline_ns;

	for (;;) {
		enum claim claim = claim_of(job);

		switch (claim) {
		case CLAIM_WAITING:
			sleep_on(job, claim, deadline_ns);
			if (claim_of(job) == CLAIM_WAITING && pc_clock_now_ns() >= deadline_ns)
				expire(job);
			break;
		case CLAIM_NUDGED:
			compete(job);
			break;
		case CLAIM_GRANTED:
			if (job->kind == JOB_CALLER)
				return claim;
			sleep_on(job, claim, PC_TIME_NEVER);
			break;
		default:
			return claim;
		}
	}
}

/* The brain's reject action. */
void job_reject_locked(struct turn *turn, struct job *job, const struct pc_error *err)
{
	struct figures *figures = &turn->pool->figures;

	job->err = *err;
	figures->refused++;
	if (err->code == PC_E_TIMEOUT)
		figures->timeouts++;
	else
		figures->errors++;
	figures->dropped += err->code == PC_E_SHUTTING_DOWN &&
			    job->submitted_ns < turn->pool->shutdown_ns;
	reject_locked(turn, job);
}

void job_finish(struct job *job)
{
	if (job->kind == JOB_ASYNC) {
		struct pc_pool *pool = job->station->pool;

		cancel_leave(job->call.cancel, &job->link);
		job->done(job->call.ctx, &job->err);
		pc_free(job);
		pool_leave(pool); /* which it has entered when it was submitted */
		return;
	}

	_Atomic uint32_t *word = &job->claim;

	/* release: publishes err and what the run wrote. */
	if (atomic_exchange_explicit(word, CLAIM_DONE, memory_order_acq_rel) & CLAIM_ASLEEP)
		futex_wake(word);
}

void jobs_finish(struct job *first)
{
	while (first) {
		struct job *job = first;

		first = job->next;
		job_finish(job);
	}
}

/* ---- seats that come back ---- */

static bool is_whole(const struct station *station, const struct worker *worker)
{
	uint64_t word = atomic_load_explicit(&station->word, memory_order_relaxed);

	return (word & worker->bits) == worker->bits;
}

/* [lock] The brain has asked for this worker, or it may not idle at all. */
static void tell_idle_locked(struct turn *turn, struct station *station, struct worker *worker)
{
	if (worker->wanted) {
		worker->wanted = false;
		station->wanted--;
	}
	turn_note(turn, pc_sched_worker_changed(turn->pool->sched, turn->now_ns, worker->id, 0));
}

/* [lock] Into the word, and what follows from it. */
static void put_back_locked(struct turn *turn, struct station *station, unsigned number)
{
	struct worker *worker = station->seats[number]->worker;

	word_set(&station->word, word_seat(number));
	turn_touch(turn, station);
	if ((worker->wanted || station->model->keep_idle_secs == PC_KEEP_NOT) &&
	    is_whole(station, worker))
		tell_idle_locked(turn, station, worker);
}

void seat_return_locked(struct turn *turn, struct station *station, unsigned number)
{
	struct worker *worker = station->seats[number]->worker;
	struct job *first = first_waiting(station);

	if (worker->stage == STAGE_CLOSED) {
		worker_collect(turn, worker, number);
	} else if (first && is_due(station, first, turn->now_ns)) {
		give_locked(turn, station, first, number);
		turn_touch(turn, station);
	} else {
		put_back_locked(turn, station, number);
	}
}

/*
 * Whether it may be time to hand over. A look at the clock costs as much as a very short run (20 to
 * 50 ns), so that short runs are not followed by one each: at every 16th return of a seat it is
 * still in time.
 */
static bool may_be_due(const struct station *station, unsigned number)
{
	const struct seat *seat = station->seats[number];
	uint64_t ended = atomic_load_explicit(&seat->served, memory_order_relaxed) +
			 atomic_load_explicit(&seat->errors, memory_order_relaxed);
	uint64_t run_ns = atomic_load_explicit(&station->usual_run_ns, memory_order_relaxed);

	if (ended % RETURNS_PER_LOOK && run_ns < HANDOFF_NS / RETURNS_PER_LOOK)
		return false;
	return pc_clock_now_ns() >=
	       atomic_load_explicit(&station->next_handoff_ns, memory_order_relaxed);
}

/* Nobody need look further: a waiter is on his way, and it is not yet time to hand over. */
static bool leave_to_woken(struct station *station, unsigned seat)
{
	return !is_shutting_down(station) && !may_be_due(station, seat) &&
	       word_put_for_woken(&station->word, seat);
}

void seat_return(struct station *station, unsigned seat)
{
	struct turn turn;

	if (leave_to_woken(station, seat))
		return;
	turn_begin(station->pool, &turn);
	seat_return_locked(&turn, station, seat);
	turn_end(&turn);
}

struct job *seat_next_job(struct station *station, unsigned seat)
{
	struct turn turn;

	turn_begin(station->pool, &turn);

	struct job *next = first_waiting(station);

	if (next && next->kind != JOB_CALLER &&
	    station->seats[seat]->worker->stage != STAGE_CLOSED) {
		grant_locked(&turn, station, next, seat);
		atomic_fetch_or_explicit(&next->claim, CLAIM_GRANTED, memory_order_release);
		turn_touch(&turn, station);
	} else {
		next = NULL;
		seat_return_locked(&turn, station, seat);
	}
	turn_end(&turn);
	return next;
}

void seat_broke(struct station *station, unsigned seat, const struct pc_error *cause)
{
	struct turn turn;

	turn_begin(station->pool, &turn);
	turn_note(&turn, pc_sched_worker_failed(turn.pool->sched, turn.now_ns,
						station->seats[seat]->worker->id, cause));
	turn_end(&turn);
}

/*
 * A worker's first answers end a row of failures (rule 9); after that only one that is to be
 * recycled has something to say, when its seats together may have served enough.
 */
static uint64_t next_report(const struct station *station, const struct seat *seat)
{
	uint64_t limit = station->model->recycle_requests, together = 0;
	uint32_t seats = seat->worker->seat_count;

	if (limit == 0)
		return UINT64_MAX;
	assert(seats > 0);
	for (uint32_t i = 0; i < seats; i++)
		together += atomic_load_explicit(&seat->worker->seats[i].served,
						 memory_order_relaxed);

	uint64_t share = together < limit ? (limit - together) / seats : 0;

	return atomic_load_explicit(&seat->served, memory_order_relaxed) + (share ? share : 1);
}

void seat_report(struct station *station, unsigned number)
{
	struct seat *seat = station->seats[number];
	struct turn turn;

	atomic_store_explicit(&seat->report_at, next_report(station, seat), memory_order_relaxed);
	turn_begin(station->pool, &turn);
	turn_note(&turn,
		  pc_sched_worker_changed(turn.pool->sched, turn.now_ns, seat->worker->id, 0));
	turn_end(&turn);
}
