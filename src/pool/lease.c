/* SPDX-License-Identifier: MIT */
/*
 * lease.c - leases of a seat, for callers that call the engine themselves. A free seat costs one
 * compare-and-swap, and its return another. Any thread.
 */
#include "pool/inner.h"

static void fill(struct pc_lease *lease, struct station *station, unsigned number)
{
	struct seat *seat = station->seats[number];

	lease->instance = seat->instance;
	lease->engine = station->engine;
	lease->slot = seat->slot;
	lease->seat = number;
	lease->model = station->model;
	seat_mark_used(station->pool, seat);
}

static inline bool try_acquire(struct pc_model *model, struct pc_lease *ret_lease)
{
	struct station *station =
		model ? atomic_load_explicit(&model->station, memory_order_acquire) : NULL;
	int seat = station && ret_lease && !station->thread_bound ? word_take(&station->word) : -1;

	if (seat < 0)
		return false;
	fill(ret_lease, station, (unsigned)seat);
	return true;
}

bool pc_lease_try_acquire(struct pc_model *model, struct pc_lease *ret_lease)
{
	return try_acquire(model, ret_lease);
}

static int acquire_by_job(struct station *station, const struct pc_request_options *options,
			  struct pc_lease *ret_lease, struct pc_error *err)
{
	struct call call = { .run = NULL };
	struct job job;

	call_read_options(options, &call);
	job_init(&job, station, &call, JOB_CALLER);
	pool_enter(station->pool);
	if (!cancel_join(call.cancel, &job.link, station->engine, &job))
		return refuse_cancelled(station, err);
	job_enter(&job);

	bool granted = job_wait(&job) == CLAIM_GRANTED;

	if (granted)
		fill(ret_lease, station, job.seat);
	/* Whoever fires the token may be in the pool for this job. */
	cancel_leave(call.cancel, &job.link);
	pool_leave(station->pool);
	if (!granted && err)
		*err = job.err;
	return granted ? 0 : job.err.code;
}

/* Never inlined: a free seat shall not pay for this one's 3 KB of stack and its saved registers. */
__attribute__((noinline)) static int acquire_slowly(struct pc_model *model,
						    const struct pc_request_options *options,
						    struct pc_lease *ret_lease,
						    struct pc_error *err)
{
	struct station *station;

	if (!ret_lease || !model)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a lease needs a model and a place for itself");
	if (call_check_options(options, err))
		return PC_E_INVALID_ARGUMENT;

	int rc = station_for_request(model, &station, err);

	if (rc)
		return rc;
	if (station->thread_bound)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' of '%s' is bound to its own threads: call it "
				    "through pc_pool_call",
				    station->engine->name, model->text);
	return acquire_by_job(station, options, ret_lease, err);
}

int pc_lease_acquire(struct pc_model *model, const struct pc_request_options *options,
		     struct pc_lease *ret_lease, struct pc_error *err)
{
	if (ret_lease && !options && try_acquire(model, ret_lease))
		return 0;
	return acquire_slowly(model, options, ret_lease, err);
}

void pc_lease_release(struct pc_lease *lease)
{
	if (!lease)
		return;

	struct station *station = atomic_load_explicit(&lease->model->station,
						       memory_order_acquire);

	seat_note_answer(station, lease->seat);
	seat_give_back(station, lease->seat);
}

void pc_lease_release_broken(struct pc_lease *lease, const struct pc_error *cause)
{
	if (!lease)
		return;

	struct station *station = atomic_load_explicit(&lease->model->station,
						       memory_order_acquire);

	note_end(station, lease->seat, PC_E_WORKER_FAILED, cause);
	seat_give_back(station, lease->seat);
}
