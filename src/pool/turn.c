/* SPDX-License-Identifier: MIT */
/*
 * turn.c - one hold of the pool's lock, and what is done after it: nothing wakes, starts a thread,
 * logs or calls back while it is held. Any thread.
 */
#include "pool/inner.h"

#include "pool/futex.h"

void turn_begin(struct pc_pool *pool, struct turn *turn)
{
	*turn = (struct turn){ .pool = pool };
	pthread_mutex_lock(&pool->lock);
	/* Asked under the lock: the brain's time does not run backwards. */
	turn->now_ns = pc_clock_now_ns();
	pool->turn = turn;
}

void turn_wake(struct turn *turn, _Atomic uint32_t *word)
{
	/* So many at once only when a whole queue is rejected; then they are woken under the lock. */
	if (turn->wake_count == TURN_WAKES)
		futex_wake(turn->wakes[--turn->wake_count]);
	turn->wakes[turn->wake_count++] = word;
}

void turn_touch(struct turn *turn, struct station *station)
{
	if (station->touched)
		return;
	station->touched = true;
	station->next_touched = turn->touched;
	turn->touched = station;
}

void turn_note(struct turn *turn, uint64_t next_tick_ns)
{
	struct pc_pool *pool = turn->pool;

	pool->next_tick_ns = next_tick_ns;
	if (next_tick_ns < pool->governor_until_ns)
		governor_call(pool);
}

static void call_back(struct job *over)
{
	while (over) {
		struct job *job = over;

		over = job->next;
		job_finish(job);
	}
}

static void start(struct worker *spawns)
{
	while (spawns) {
		struct worker *worker = spawns;

		spawns = worker->next;
		worker_start(worker, NULL);
	}
}

void turn_end(struct turn *turn)
{
	struct pc_pool *pool = turn->pool;

	driver_bury_stillborn_locked(turn);
	while (turn->touched) {
		struct station *station = turn->touched;

		turn->touched = station->next_touched;
		station->touched = false;
		station_settle_locked(turn, station);
	}
	pool->turn = NULL;
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < turn->wake_count; i++)
		futex_wake(turn->wakes[i]);
	start(turn->spawns);
	call_back(turn->over);
}
