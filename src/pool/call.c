/* SPDX-License-Identifier: MIT */
/*
 * call.c - runs a function on a worker, in one of three ways:
 *
 *   1. On the caller's thread. A free seat is taken with one compare-and-swap and the call is made
 *      right here. No lock, no system call, no allocation, no other thread.
 *   2. On the caller's thread, later. All seats are taken, and what runs is short (SHORT_RUN_NS):
 *      the caller sleeps, is woken to compete for a seat, and runs. Handing short work to another
 *      thread would cost more than the work.
 *   3. On a worker's thread. What runs is longer, or nobody waits (pc_pool_submit), or the engine
 *      is bound to its thread: the job goes into the brain's queue, and the worker's thread takes
 *      it when it has ended the one before. Long-lived threads spread over the cores; handing a
 *      seat to a sleeping caller puts both on one.
 *
 * Any thread.
 */
#include <string.h>

#include "pool/inner.h"

#include "pool/futex.h"

/* Two context switches cost 5 to 12 us; ten times that is where the hop no longer shows. */
#define SHORT_RUN_NS (50 * PC_NS_PER_US)

/* One run in so many is timed where nobody waits. A power of two. */
enum { SAMPLED_RUNS = 64 };

/* ---- a run ---- */

/* What a run on this seat is told about itself. */
static void run_init(struct pc_run *run, const struct station *station, unsigned number,
		     const struct call *call)
{
	const struct seat *seat = station->seats[number];

	*run = (struct pc_run){
		.lease = { .instance = seat->instance,
			   .engine = station->engine,
			   .slot = seat->slot,
			   .seat = number,
			   .model = station->model },
		.cancel = call->cancel,
		.deadline_ns = call->run_until_ns,
	};
}

static const struct seat *seat_of(const struct pc_run *run)
{
	const struct station *station = atomic_load_explicit(&run->lease.model->station,
							     memory_order_acquire);

	return station->seats[run->lease.seat];
}

bool pc_run_should_stop(const struct pc_run *run)
{
	return (run->cancel && pc_cancel_is_fired(run->cancel)) ||
	       atomic_load_explicit(&seat_of(run)->worker->give_up, memory_order_relaxed) ||
	       (run->deadline_ns != PC_TIME_NEVER && pc_clock_now_ns() >= run->deadline_ns);
}

int pc_run_stop_error(const struct pc_run *run, struct pc_error *err)
{
	const char *key = run->lease.model->text;
	int rc;

	if (run->cancel && pc_cancel_is_fired(run->cancel))
		rc = pc_error_set(err, PC_E_CANCELLED,
				  "the request for '%s' was cancelled while it ran", key);
	else if (run->deadline_ns != PC_TIME_NEVER && pc_clock_now_ns() >= run->deadline_ns)
		rc = pc_error_set(err, PC_E_TIMEOUT,
				  "the request for '%s' ran until its deadline and was stopped",
				  key);
	else
		rc = pc_error_set(err, PC_E_SHUTTING_DOWN,
				  "the worker of '%s' was stopped while the request ran", key);
	pc_error_detail(err, "model", "%s", key);
	return rc;
}

void note_end(struct station *station, unsigned number, int rc, const struct pc_error *err)
{
	struct seat *seat = station->seats[number];
	struct pc_pool *pool = station->pool;

	if (rc == 0) {
		seat_note_answer(station, number);
		return;
	}
	atomic_store_explicit(&seat->errors,
			      atomic_load_explicit(&seat->errors, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	pthread_mutex_lock(&pool->lock);
	pool->figures.timeouts += rc == PC_E_TIMEOUT;
	pool->figures.cancelled += rc == PC_E_CANCELLED;
	pool->figures.dropped += rc == PC_E_SHUTTING_DOWN && pool->shutdown_ns != PC_TIME_NEVER;
	pool->figures.errors += rc != PC_E_TIMEOUT && rc != PC_E_CANCELLED;
	pthread_mutex_unlock(&pool->lock);
	if (rc == PC_E_WORKER_FAILED)
		seat_broke(station, number, err);
}

/* A run has returned: an error gets a sentence if it brought none, and the books are kept. */
static void settle_accounts(struct station *station, unsigned number, int rc, struct pc_error *err)
{
	if (rc && err->code == 0)
		pc_error_set(err, rc, "the call to '%s' ended with %s", station->model->text,
			     pc_error_name(rc));
	note_end(station, number, rc, err);
}

static int run_timed(struct station *station, const struct call *call, const struct pc_run *run,
		     struct pc_error *err)
{
	uint64_t start_ns = pc_clock_now_ns();
	int rc = call->run(call->ctx, run, err);

	figures_note_run(station, ns_since(start_ns, pc_clock_now_ns()));
	return rc;
}

int run_on_seat(struct station *station, unsigned number, const struct call *call,
		struct cancel_link *link, struct pc_error *err)
{
	struct seat *seat = station->seats[number];
	struct pc_run run;
	int rc;

	run_init(&run, station, number, call);
	seat_mark_used(station->pool, seat);
	cancel_set_running(call->cancel, link, seat);
	/* Fired between its wait and here: it ends like one that waited. */
	if (call->cancel && pc_cancel_is_fired(call->cancel))
		rc = pc_run_stop_error(&run, err);
	else
		rc = run_timed(station, call, &run, err);
	cancel_set_running(call->cancel, link, NULL);
	settle_accounts(station, number, rc, err);
	return rc;
}

/* The way of a call that has nothing but a free seat to say. */
static int run_here(struct station *station, unsigned number, const struct call *call,
		    struct pc_error *err)
{
	struct seat *seat = station->seats[number];
	uint64_t served = atomic_load_explicit(&seat->served, memory_order_relaxed);
	struct pc_run run;
	int rc;

	run_init(&run, station, number, call);
	seat_mark_used(station->pool, seat);
	if (served % SAMPLED_RUNS == 0)
		rc = run_timed(station, call, &run, err);
	else
		rc = call->run(call->ctx, &run, err);
	settle_accounts(station, number, rc, err);
	seat_give_back(station, number);
	return rc;
}

/* ---- who is inside ---- */

void pool_enter(struct pc_pool *pool)
{
	atomic_fetch_add_explicit(&pool->inside, 1, memory_order_relaxed);
}

void pool_leave(struct pc_pool *pool)
{
	_Atomic uint32_t *inside = &pool->inside;

	/* release: all that was done inside comes before the pool's end, which acquires it. */
	if (atomic_fetch_sub_explicit(inside, 1, memory_order_release) == (INSIDE_ENDING | 1))
		futex_wake(inside);
}

int refuse_cancelled(struct station *station, struct pc_error *err)
{
	struct pc_pool *pool = station->pool;

	pthread_mutex_lock(&pool->lock);
	pool->figures.cancelled++;
	pool->figures.refused++;
	pthread_mutex_unlock(&pool->lock);
	pc_error_set(err, PC_E_CANCELLED, "the request for '%s' was cancelled before it came",
		     station->model->text);
	pc_error_detail(err, "model", "%s", station->model->text);
	pool_leave(pool);
	return PC_E_CANCELLED;
}

/* ---- synchronous ---- */

/* Runs now or later; `job` is this frame's and nobody's when it returns. */
static int call_by_job(struct station *station, const struct call *call, enum job_kind kind,
		       struct pc_error *err)
{
	struct job job;

	job_init(&job, station, call, kind);
	pool_enter(station->pool);
	if (!cancel_join(call->cancel, &job.link, station->engine, &job))
		return refuse_cancelled(station, err);
	job_enter(&job);
	if (job_wait(&job) == CLAIM_GRANTED) {
		run_on_seat(station, job.seat, call, &job.link, &job.err);
		seat_give_back(station, job.seat);
	}
	/* Whoever fires the token may be in the pool for this job. */
	cancel_leave(call->cancel, &job.link);
	pool_leave(station->pool);
	if (job.err.code)
		*err = job.err;
	return job.err.code;
}

static bool runs_short(const struct station *station)
{
	return atomic_load_explicit(&station->usual_run_ns, memory_order_relaxed) < SHORT_RUN_NS;
}

void call_read_options(const struct pc_request_options *options, struct call *call)
{
	call->run_until_ns = PC_TIME_NEVER;
	if (!options)
		return;
	call->cancel = options->cancel;
	call->priority = options->priority;
	call->affinity = options->affinity;
	if (options->timeout_ms) {
		call->run_until_ns = pc_time_add(pc_clock_now_ns(),
						 options->timeout_ms > PC_TIME_NEVER / PC_NS_PER_MS
							 ? PC_TIME_NEVER
							 : options->timeout_ms * PC_NS_PER_MS);
		call->wait_until_ns = call->run_until_ns;
	}
}

int call_check_options(const struct pc_request_options *options, struct pc_error *err)
{
	if (options && options->priority != PC_PRIORITY_INTERACTIVE &&
	    options->priority != PC_PRIORITY_BATCH)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "priority %d: interactive (%d) and batch (%d) are known",
				    (int)options->priority, PC_PRIORITY_INTERACTIVE,
				    PC_PRIORITY_BATCH);
	return 0;
}

static int check_call(const struct pc_model *model, const struct pc_request_options *options,
		      pc_run_fn run, struct pc_error *err)
{
	if (!model || !run)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a call needs a model and a function to run");
	return call_check_options(options, err);
}

int pc_pool_call(struct pc_model *model, const struct pc_request_options *options, pc_run_fn run,
		 void *ctx, struct pc_error *err)
{
	struct call call = { .run = run, .ctx = ctx };
	struct station *station;
	struct pc_error own; /* not zeroed: every request comes by here */

	if (check_call(model, options, run, err))
		return PC_E_INVALID_ARGUMENT;
	/* A run is promised a place for its error, and one that is not set. */
	// cppcheck-suppress uninitvar
	err = err ? err : &own;
	pc_error_clear(err);

	int rc = station_for_request(model, &station, err);

	if (rc)
		return rc;
	call_read_options(options, &call);
	if (!call.cancel && !station->thread_bound) {
		int seat = seat_take(station, call.affinity);

		if (seat >= 0)
			return run_here(station, (unsigned)seat, &call, err);
	}
	return call_by_job(station, &call,
			   station->thread_bound || !runs_short(station) ? JOB_SYNC : JOB_CALLER,
			   err);
}

/* ---- asynchronous ---- */

int pc_pool_submit(struct pc_model *model, const struct pc_request_options *options, pc_run_fn run,
		   pc_done_fn done, void *ctx, struct pc_error *err)
{
	struct call call = { .run = run, .ctx = ctx };
	struct station *station;

	if (check_call(model, options, run, err))
		return PC_E_INVALID_ARGUMENT;
	if (!done)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a call that nobody waits for needs a function for its end");

	int rc = station_for_request(model, &station, err);

	if (rc)
		return rc;
	call_read_options(options, &call);

	struct job *job = pc_malloc(sizeof(*job));

	if (!job) {
		note_refused(station->pool);
		return pc_error_oom(err);
	}
	job_init(job, station, &call, JOB_ASYNC);
	job->done = done;
	pool_enter(station->pool); /* until `done` has been called */
	if (!cancel_join(call.cancel, &job->link, station->engine, job)) {
		pc_free(job);
		return refuse_cancelled(station, err);
	}
	job_enter(job);
	return 0;
}
