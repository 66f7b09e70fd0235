/* SPDX-License-Identifier: MIT */
/*
 * Tests of the in-process pool: moments between two threads' steps that chance alone would rarely
 * bring, made on one thread with the pool's own functions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

static struct pc_pool *pool;
static struct pc_model *model;
static struct station *station;
static struct pc_lease lease;

/* A worker of two slots, one of which is leased. */
static int setup(void **state)
{
	fixture_setup(state);
	pool = pool_make(1000, NULL);
	model = model_make(pool, "m", &(struct pc_model_spec){ .slots = 2, .max_workers = 1 });
	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	station = atomic_load(&model->station);
	return 0;
}

static int teardown(void **state)
{
	pc_pool_destroy(pool);
	return fixture_teardown(state);
}

#define RACE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static uint64_t flags(void)
{
	return atomic_load(&station->word) & (WORD_ATTENTION | WORD_DRAINING | WORD_WOKEN);
}

static uint64_t first_id(void)
{
	return pc__container_of(pool->workers.first, struct worker, by_id)->id;
}

/* ---- tokens ---- */

static void join(struct job *job, enum job_kind kind, const struct call *call)
{
	job_init(job, station, call, kind);
	pool_enter(pool);
	assert_true(cancel_join(call->cancel, &job->link, station->engine, job));
}

static void leave(struct job *job)
{
	cancel_leave(job->call.cancel, &job->link);
	pool_leave(pool);
}

/* The token knows the job, and the brain does not yet. */
static void a_fire_between_joining_and_queueing(void **state)
{
	(void)state;
	struct call call = { .run = work_run };
	struct pc_lease other;
	struct job job;

	assert_true(pc_lease_try_acquire(model, &other));
	assert_int_equal(pc_cancel_create(&call.cancel, NULL), 0);
	join(&job, JOB_CALLER, &call);
	pc_cancel_fire(call.cancel);
	job_enter(&job);
	assert_int_equal(job_wait(&job), CLAIM_REJECTED);
	assert_int_equal(job.err.code, PC_E_CANCELLED);
	leave(&job);
	pc_lease_release(&other);
	pc_lease_release(&lease);
	assert_true(is_quiet(model));
	assert_int_equal(metrics_of(pool).total_cancelled, 1);
	pc_cancel_destroy(call.cancel);
}

static void a_fire_between_joining_and_a_free_seat(void **state)
{
	(void)state;
	struct work work = { .order = RUN_WELL };
	struct call call = { .run = work_run, .ctx = &work };
	struct job job;

	assert_int_equal(pc_cancel_create(&call.cancel, NULL), 0);
	join(&job, JOB_SYNC, &call);
	pc_cancel_fire(call.cancel);
	job_enter(&job); /* to the seat's thread, which finds the token fired */
	assert_int_equal(job_wait(&job), CLAIM_DONE);
	assert_int_equal(job.err.code, PC_E_CANCELLED);
	assert_int_equal(work.runs, 0);
	leave(&job);
	pc_lease_release(&lease);
	AWAIT(is_quiet(model));
	pc_cancel_destroy(call.cancel);
}

static void a_fire_before_an_asynchronous_job_is_queued(void **state)
{
	(void)state;
	struct work work = { .order = RUN_WELL };
	struct call call = { .run = work_run, .ctx = &work };
	struct job *job = pc_malloc(sizeof(*job));
	struct pc_lease other;

	assert_non_null(job);
	assert_true(pc_lease_try_acquire(model, &other));
	assert_int_equal(pc_cancel_create(&call.cancel, NULL), 0);
	join(job, JOB_ASYNC, &call);
	job->done = work_done;
	pc_cancel_fire(call.cancel);
	assert_int_equal(work.dones, 0);
	job_enter(job);
	assert_int_equal(work.dones, 1); /* and the job is gone */
	assert_int_equal(work.err.code, PC_E_CANCELLED);
	assert_int_equal(atomic_load(&pool->inside), 0);
	pc_lease_release(&other);
	pc_lease_release(&lease);
	pc_cancel_destroy(call.cancel);
}

struct firing_done {
	struct pc_cancel *cancel;
	pthread_t thread;
	_Atomic bool called;
};

static void fire_again(void *ctx, const struct pc_error *err)
{
	struct firing_done *done = ctx;

	(void)err;
	done->thread = pthread_self();
	pc_cancel_fire(done->cancel);
	done->called = true;
}

/* Whoever fires holds the token's lock: it is not for him to call back. */
static void a_fire_calls_nobody_back(void **state)
{
	(void)state;
	struct firing_done done = { .cancel = NULL };
	struct pc_request_options options = { .timeout_ms = 0 };
	struct pc_lease other;

	assert_true(pc_lease_try_acquire(model, &other));
	assert_int_equal(pc_cancel_create(&done.cancel, NULL), 0);
	options.cancel = done.cancel;
	assert_int_equal(pc_pool_submit(model, &options, work_run, fire_again, &done, NULL), 0);
	pc_cancel_fire(done.cancel);
	AWAIT(done.called);
	assert_true(pthread_equal(done.thread, pool->governor));
	pc_lease_release(&other);
	pc_lease_release(&lease);
	pc_cancel_destroy(done.cancel);
}

/* ---- seats that come back while something is decided ---- */

static void a_seat_that_comes_back_while_its_worker_is_closed(void **state)
{
	(void)state;
	struct turn turn;

	turn_begin(pool, &turn);
	pc_sched_stop_worker(pool->sched, turn.now_ns, first_id(), false, NULL);
	/* The lock is held, but who returns a seat does not take it. */
	assert_false(word_put(&station->word, lease.seat));
	turn_end(&turn);
	seat_return(station, lease.seat);
	AWAIT(plans[0].unloads == 1);
}

static void a_seat_that_comes_back_for_a_woken_waiter_from_a_closed_worker(void **state)
{
	(void)state;
	struct turn turn;

	turn_begin(pool, &turn);
	word_set(&station->word, WORD_WOKEN);
	pc_sched_stop_worker(pool->sched, turn.now_ns, first_id(), false, NULL);
	assert_false(word_put_for_woken(&station->word, lease.seat));
	word_clear(&station->word, WORD_WOKEN);
	turn_end(&turn);
	seat_return(station, lease.seat);
	AWAIT(plans[0].unloads == 1);
}

/* The brain waits for this worker to idle: it must hear of it, waiter or not. */
static void a_seat_that_comes_back_for_a_woken_waiter_from_a_wanted_worker(void **state)
{
	(void)state;
	struct pc_worker_use use;
	struct turn turn;

	turn_begin(pool, &turn);
	pool_driver.look(pool, first_id(), true, &use);
	assert_int_equal(use.leases, 1);
	assert_int_equal(flags(), WORD_ATTENTION | WORD_DRAINING);
	turn_end(&turn);
	assert_int_equal(flags(), WORD_ATTENTION | WORD_DRAINING);
	word_set(&station->word, WORD_WOKEN);
	assert_false(word_put_for_woken(&station->word, lease.seat));
	word_clear(&station->word, WORD_WOKEN);
	seat_return(station, lease.seat);
	assert_int_equal(flags(), 0); /* it was told, and wants nothing any more */
	assert_true(is_quiet(model));
}

static void a_recalled_worker_gives_no_seat_and_may_be_resumed(void **state)
{
	(void)state;
	struct pc_lease other;
	struct turn turn;

	turn_begin(pool, &turn);
	assert_false(pool_driver.recall(pool, first_id())); /* one seat is leased */
	turn_end(&turn);
	assert_true(pc_lease_try_acquire(model, &other));
	pc_lease_release(&other);
	pc_lease_release(&lease);
	turn_begin(pool, &turn);
	assert_true(pool_driver.recall(pool, first_id()));
	assert_true(pool_driver.recall(pool, first_id()));
	turn_end(&turn);
	assert_false(pc_lease_try_acquire(model, &other));
	turn_begin(pool, &turn);
	pool_driver.resume(pool, first_id());
	pool_driver.resume(pool, first_id());
	turn_end(&turn);
	assert_int_equal(flags(), 0);
	assert_true(is_quiet(model));
	assert_true(pc_lease_try_acquire(model, &other));
	pc_lease_release(&other);
}

/* Who is woken may find the seat taken: he waits on, and the wake-up is not lost. */
static void a_woken_waiter_that_was_too_slow_waits_on(void **state)
{
	(void)state;
	struct call call = { .run = work_run };
	struct pc_lease other, faster;
	struct turn turn;
	struct job job;

	assert_true(pc_lease_try_acquire(model, &other));
	job_init(&job, station, &call, JOB_CALLER);
	pool_enter(pool);
	job_enter(&job);
	turn_begin(pool, &turn);
	/* Not yet due: the seat goes into the word, the waiter is nudged. */
	job.submitted_ns = turn.now_ns;
	seat_return_locked(&turn, station, other.seat);
	turn_end(&turn);
	assert_int_equal(atomic_load(&job.claim), CLAIM_NUDGED);
	assert_true(flags() & WORD_WOKEN);
	assert_true(pc_lease_try_acquire(model, &faster));
	/* He cannot say so before he runs; meanwhile another seat comes back, past the lock. */
	atomic_store(&station->next_handoff_ns, PC_TIME_NEVER);
	pc_lease_release(&lease);
	assert_int_equal(job_wait(&job), CLAIM_GRANTED);
	assert_int_equal(flags(), 0);
	pool_leave(pool);
	lease.seat = job.seat;
	pc_lease_release(&lease);
	pc_lease_release(&faster);
	assert_true(is_quiet(model));
}

/* Who was passed for long is handed the seat: it never stands in the word. */
static void a_waiter_that_is_due_is_handed_the_seat(void **state)
{
	(void)state;
	struct call call = { .run = work_run };
	struct pc_lease other;
	struct turn turn;
	struct job job;

	assert_true(pc_lease_try_acquire(model, &other));
	job_init(&job, station, &call, JOB_CALLER);
	pool_enter(pool);
	job_enter(&job);
	turn_begin(pool, &turn);
	job.submitted_ns = turn.now_ns - PC_NS_PER_MS;
	seat_return_locked(&turn, station, other.seat);
	assert_int_equal(atomic_load(&station->word) & WORD_FREE, 0);
	turn_end(&turn);
	assert_int_equal(atomic_load(&job.claim), CLAIM_GRANTED);
	assert_int_equal(job.seat, other.seat);
	assert_int_equal(job_wait(&job), CLAIM_GRANTED);
	pool_leave(pool);
	pc_lease_release(&other);
	pc_lease_release(&lease);
	assert_true(is_quiet(model));
}

/* ---- places ---- */

static bool is_any_unplaced(struct pc_model *wide)
{
	pthread_mutex_lock(&pool->lock);

	bool unplaced = atomic_load(&wide->station)->unplaced != NULL;

	pthread_mutex_unlock(&pool->lock);
	return unplaced;
}

/* All places of the word are taken by workers that drain: a new one waits for the first that
 * goes. */
static void a_worker_waits_for_a_place(void **state)
{
	(void)state;
	struct pc_model *wide = model_make(
		pool, "wide",
		&(struct pc_model_spec){ .slots = 32, .max_workers = 1, .model_path = "1" });
	struct work work = { .order = RUN_WELL };
	struct pc_lease held;

	assert_int_equal(pc_lease_acquire(wide, NULL, &held, NULL), 0);
	pc_pool_unload(wide);
	assert_int_equal(pc_pool_submit(wide, NULL, work_run, work_done, &work, NULL), 0);
	AWAIT(plans[1].loads == 2);
	AWAIT(is_any_unplaced(wide));
	assert_int_equal(work.dones, 0);
	pc_lease_release(&held);
	AWAIT(work.dones == 1);
	assert_int_equal(work.err.code, 0);
	AWAIT(plans[1].unloads == 1);
	assert_true(is_quiet(wide));

	/* And one that is to go before it ever had a place goes. */
	assert_int_equal(pc_lease_acquire(wide, NULL, &held, NULL), 0);
	pc_pool_unload(wide);
	assert_int_equal(pc_pool_load(wide, NULL), 0);
	AWAIT(is_any_unplaced(wide));
	pc_pool_unload(wide);
	AWAIT(plans[1].unloads == 2);
	pc_lease_release(&held);
	AWAIT(plans[1].unloads == 3);
	pc_lease_release(&lease);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RACE_TEST(a_fire_between_joining_and_queueing),
		RACE_TEST(a_fire_between_joining_and_a_free_seat),
		RACE_TEST(a_fire_before_an_asynchronous_job_is_queued),
		RACE_TEST(a_fire_calls_nobody_back),
		RACE_TEST(a_seat_that_comes_back_while_its_worker_is_closed),
		RACE_TEST(a_seat_that_comes_back_for_a_woken_waiter_from_a_closed_worker),
		RACE_TEST(a_seat_that_comes_back_for_a_woken_waiter_from_a_wanted_worker),
		RACE_TEST(a_recalled_worker_gives_no_seat_and_may_be_resumed),
		RACE_TEST(a_woken_waiter_that_was_too_slow_waits_on),
		RACE_TEST(a_waiter_that_is_due_is_handed_the_seat),
		RACE_TEST(a_worker_waits_for_a_place),
	};

	return cmocka_run_group_tests_name("pool_races", tests, NULL, NULL);
}
