/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the threads of a worker. The first one loads the model, runs the calls of the first
 * seat, and unloads; each further seat has a thread of its own. A thread runs the jobs that are
 * handed to its seat and, when one ends, takes the next that waits; callers that got a free seat
 * use it on their own threads meanwhile.
 *
 *    LOADING ──worker_open──► OPEN ──worker_close──► CLOSED ──► ENDED
 *       └──── load failed, or it was stopped meanwhile ──▲   unloaded, memory given back
 *
 * The lost-thread note. An engine, or a run, may end the thread that it was called on
 * (pthread_exit). That counts as a broken worker, and nothing else is lost: cleanup handlers do
 * what the thread would have done, in its place and before it is gone (unloading too, which may
 * itself be where the thread ends). The requests that it ran or would have run get WORKER_FAILED,
 * the instance is unloaded if there is one, the memory comes back.
 */
#include <stdio.h>
#include <string.h>

#include "pool/inner.h"

#include "base/text.h"
#include "pool/futex.h"

struct worker *worker_new(struct station *station)
{
	size_t size = sizeof(struct worker) + station->slots * sizeof(struct seat);
	void *block;
	struct worker *worker = aligned_new(size, &block);

	if (!worker)
		return NULL;
	worker->block = block;
	worker->station = station;
	worker->seat_count = station->slots;
	for (uint32_t i = 0; i < station->slots; i++) {
		struct seat *seat = &worker->seats[i];

		seat->slot = i;
		seat->worker = worker;
		atomic_init(&seat->report_at, 1);
	}
	return worker;
}

/* ---- running ---- */

static uint32_t wait_for_bell(struct seat *seat)
{
	for (;;) {
		/* acquire: partner of the release in job_post. */
		uint32_t bell = atomic_exchange_explicit(&seat->bell, 0, memory_order_acq_rel);
		uint32_t silent = 0;

		if (bell & (BELL_JOB | BELL_STOP))
			return bell;
		if (atomic_compare_exchange_strong_explicit(&seat->bell, &silent, BELL_ASLEEP,
							    memory_order_acq_rel,
							    memory_order_relaxed))
			futex_wait(&seat->bell, BELL_ASLEEP, PC_TIME_NEVER);
	}
}

/* Its thread has been ended inside the run. See the lost-thread note. */
static void end_lost_run(void *arg)
{
	struct job *job = arg;
	struct station *station = job->station;
	struct seat *seat = station->seats[job->seat];

	cancel_set_running(job->call.cancel, &job->link, NULL);
	pc_error_clear(&job->err);
	pc_error_set(&job->err, PC_E_WORKER_FAILED, "the call to '%s' ended the worker's thread",
		     station->model->text);
	note_end(station, job->seat, PC_E_WORKER_FAILED, &job->err);
	/* Never into the word: the worker is closed by now. */
	seat_return(station, job->seat);
	job_finish(job);
	/* The first thread has the worker's end to see to. */
	while (seat->slot == 0 && !(wait_for_bell(seat) & BELL_STOP))
		;
}

/* Measuring belongs to it, because the engine may end the thread there too. */
static void run_one(struct station *station, struct job *job)
{
	pthread_cleanup_push(end_lost_run, job);
	run_on_seat(station, job->seat, &job->call, &job->link, &job->err);
	if (station->thread_bound)
		measured_by_thread(station->seats[job->seat]->worker);
	pthread_cleanup_pop(0);
}

/* Runs a job, and the ones that wait behind it. */
static void run_jobs(struct station *station, struct job *job)
{
	while (job) {
		unsigned seat = job->seat;
		struct job *next = NULL;

		run_one(station, job);
		if (!word_put(&station->word, seat))
			next = seat_next_job(station, seat);
		/* After the seat is free again: who hears of the end may ask at once. */
		job_finish(job);
		job = next;
	}
}

static void serve(struct seat *seat)
{
	struct station *station = seat->worker->station;
	uint32_t bell;

	do {
		bell = wait_for_bell(seat);
		if (bell & BELL_JOB)
			run_jobs(station, seat->job);
	} while (!(bell & BELL_STOP));
}

static void *seat_main(void *arg)
{
	serve(arg);
	return NULL;
}

/* ---- loading ---- */

static bool on_progress(void *ctx, float fraction)
{
	const struct worker *worker = ctx;

	(void)fraction;
	return !atomic_load_explicit(&worker->give_up, memory_order_relaxed);
}

static int load(struct worker *worker, struct pc_error *err)
{
	const struct station *station = worker->station;
	const struct pc_model *model = station->model;
	const struct pc_engine_spec spec = {
		.size = sizeof(spec),
		.capability = (enum pc_capability)model->capability,
		.model_path = model->path,
		.slots = station->slots,
		.context_tokens = model->context_tokens,
		.threads = model->threads,
		.progress = on_progress,
		.progress_ctx = worker,
	};
	struct pc_engine_instance *instance = NULL;
	int rc = station->engine->load(&spec, &instance, err);

	if (rc == 0 && !instance)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "engine '%s' said that it had loaded, and gave no instance",
				    station->engine->name);
	if (rc)
		return pc_error_set(err, rc, "engine '%s' says no more than %s",
				    station->engine->name, pc_error_name(rc));
	worker->instance = instance;
	return 0;
}

/* The threads of the further seats. */
static int start_others(struct worker *worker, struct pc_error *err)
{
	for (uint32_t i = 0; i < worker->seat_count; i++) {
		struct seat *seat = &worker->seats[i];
		int failed = 0;

		seat->instance = worker->instance;
		if (i > 0)
			failed = thread_start(&seat->thread, seat_main, seat);
		if (failed)
			return pc_error_sys(err, PC_E_SPAWN_FAILED, failed,
					    "a thread for slot %u of %u", i, worker->seat_count);
		seat->has_thread = i > 0;
	}
	return 0;
}

static void join_others(struct worker *worker)
{
	for (uint32_t i = 1; i < worker->seat_count; i++) {
		struct seat *seat = &worker->seats[i];

		if (!seat->has_thread)
			continue;
		/* Again, for those that were never open. */
		atomic_fetch_or_explicit(&seat->bell, BELL_STOP, memory_order_acq_rel);
		futex_wake(&seat->bell);
		pthread_join(seat->thread, NULL);
	}
}

/* ---- telling the brain ---- */

static void log_worker(enum pc_log_level level, const struct worker *worker, const char *what,
		       const char *reason)
{
	char id[32];

	if (!pc_log_enabled(level))
		return;
	snprintf(id, sizeof(id), "%llu", (unsigned long long)worker->id);
	pc_log(level, "worker",
	       PC_FIELDS({ "worker", id }, { "model", worker->station->model->text },
			 { "reason", reason }),
	       "%s", what);
}

/* It is loaded, or not. True: its seats are out, and it serves. */
static bool report_loaded(struct worker *worker, int rc, const struct pc_error *err,
			  uint64_t measured_bytes)
{
	/* Less than was reserved is not believed yet: buffers come with the first request, mapped
	 * weights when they are touched (docs/decisions/0005). */
	uint64_t grown_bytes = measured_bytes > worker->reserved_bytes ? measured_bytes : 0;
	struct pc_pool *pool = worker->station->pool;
	struct turn turn;
	bool opens;

	turn_begin(pool, &turn);
	opens = rc == 0 && !atomic_load_explicit(&worker->give_up, memory_order_relaxed);
	if (opens) {
		histogram_add(&pool->figures.load_time, ns_since(worker->spawned_ns, turn.now_ns));
		worker->measured_bytes = measured_bytes;
		worker_open(&turn, worker);
		turn_note(&turn,
			  pc_sched_worker_ready(pool->sched, turn.now_ns, worker->id, grown_bytes));
	} else {
		worker->stage = STAGE_CLOSED;
		if (rc)
			turn_note(&turn, pc_sched_worker_failed(pool->sched, turn.now_ns,
								worker->id, err));
	}
	turn_end(&turn);
	return opens;
}

static void report_gone(struct worker *worker)
{
	struct station *station = worker->station;
	struct pc_pool *pool = station->pool;
	struct turn turn;

	turn_begin(pool, &turn);
	for (uint32_t i = 0; i < worker->seat_count; i++) {
		station->gone_served += atomic_load_explicit(&worker->seats[i].served,
							     memory_order_relaxed);
		station->gone_errors += atomic_load_explicit(&worker->seats[i].errors,
							     memory_order_relaxed);
	}
	turn_note(&turn, pc_sched_worker_gone(pool->sched, turn.now_ns, worker->id, NULL));
	pc__set_remove(&pool->workers, &worker->by_id);
	worker->stage = STAGE_ENDED;
	worker->next = pool->ended;
	pool->ended = worker;
	governor_call(pool);
	turn_end(&turn);
}

static void drop_gauge(void *pool)
{
	gauge_drop(pool);
}

/* `ret_shown_bytes`: what the process holds more by then; 0 when that cannot be told. */
static int load_under_gauge(struct worker *worker, uint64_t *ret_shown_bytes, struct pc_error *err)
{
	struct pc_pool *pool = worker->station->pool;
	struct load_gauge gauge;
	int rc;

	gauge_begin(pool, &gauge);
	pthread_cleanup_push(drop_gauge, pool);
	rc = load(worker, err);
	pthread_cleanup_pop(0);
	*ret_shown_bytes = gauge_end(pool, &gauge);
	return rc;
}

/* Loads and measures: the engine's figure, or what the process shows if that is more. */
static int load_and_measure(struct worker *worker, uint64_t *ret_measured_bytes,
			    struct pc_error *err)
{
	const struct station *station = worker->station;
	uint64_t shown_bytes = 0;
	int rc = worker->handed_over ? 0 : load_under_gauge(worker, &shown_bytes, err);

	if (rc)
		return rc;

	uint64_t said_bytes = measured_now(station, worker->instance);

	*ret_measured_bytes = shown_bytes > said_bytes ? shown_bytes : said_bytes;
	return start_others(worker, err);
}

static void unload(struct worker *worker)
{
	const struct station *station = worker->station;
	struct pc_engine_instance *instance = worker->instance;

	if (!instance)
		return;
	/* Buffers have come with the requests: this is the figure to remember. */
	measured_remember(station, measured_now(station, instance));
	worker->instance = NULL;
	station->engine->unload(instance);
}

/* Nothing of it is left but its first thread. */
static void take_leave(void *arg)
{
	struct worker *worker = arg;

	log_worker(PC_LOG_INFO, worker, "gone",
		   worker->failed ? "failed" : pc_stop_reason_text(worker->why));
	report_gone(worker);
}

/* What is still to be done, however far its first thread has come: all of it when the thread was
 * lost, see the note. */
static void end_worker(void *arg)
{
	struct worker *worker = arg;
	struct pc_error err = PC_ERROR_INIT;

	if (worker->loads) {
		worker->failed = true;
		pc_error_set(&err, PC_E_WORKER_FAILED, "engine '%s' ended the thread that loaded",
			     worker->station->engine->name);
		log_worker(PC_LOG_WARN, worker, "failed to load", err.message);
		report_loaded(worker, err.code, &err, 0);
	}
	join_others(worker);
	pthread_cleanup_push(take_leave, worker);
	unload(worker);
	pthread_cleanup_pop(1);
}

static void load_and_serve(struct worker *worker)
{
	struct pc_error err = PC_ERROR_INIT;
	uint64_t measured_bytes = 0;

	worker->loads = true;

	int rc = load_and_measure(worker, &measured_bytes, &err);

	worker->loads = false;
	worker->failed = rc != 0;
	if (rc)
		log_worker(PC_LOG_WARN, worker, "failed to load", err.message);
	else
		measured_remember(worker->station, measured_bytes);
	if (report_loaded(worker, rc, &err, measured_bytes)) {
		log_worker(PC_LOG_INFO, worker, "ready",
			   worker->handed_over ? "handed over" : "loaded");
		serve(&worker->seats[0]);
	}
}

static void *first_main(void *worker)
{
	pthread_cleanup_push(end_worker, worker);
	load_and_serve(worker);
	pthread_cleanup_pop(1);
	return NULL;
}

/* ---- birth and burial ---- */

int worker_start(struct worker *worker, struct pc_error *err)
{
	struct pc_pool *pool = worker->station->pool;
	struct pc_error cause = PC_ERROR_INIT;
	struct turn turn;

	int failed = thread_start(&worker->seats[0].thread, first_main, worker);

	if (!failed)
		return 0;
	pc_error_sys(&cause, PC_E_SPAWN_FAILED, failed, "a thread for a worker of '%s'",
		     worker->station->model->text);
	turn_begin(pool, &turn);
	if (worker->handed_over)
		pc_sched_stop_worker(pool->sched, turn.now_ns, worker->id, true, NULL);
	turn_note(&turn, pc_sched_worker_gone(pool->sched, turn.now_ns, worker->id, &cause));
	pc__set_remove(&pool->workers, &worker->by_id);
	turn_end(&turn);
	pc_free(worker->block);
	return pc_error_set(err, cause.code, "%s", cause.message);
}

void worker_bury(struct worker *worker)
{
	pthread_join(worker->seats[0].thread, NULL);
	pc_free(worker->block);
}
