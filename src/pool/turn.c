/* SPDX-License-Identifier: MIT */
/*
 * turn.c - one hold of the pool's lock, and what is done after it: nothing wakes, starts a thread,
 * logs or calls back while it is held. Any thread.
 *
 * The silence note. Requests that are refused are told so at the end of the turn, by whoever had
 * it, except where that would go wrong; then the governor tells them. It would where the thread
 * holds a token's lock, which the callback may want; and inside a callback, which may have asked
 * again: request, refusal and callback would follow each other down the stack until it ends.
 * Silence is the thread's and not the turn's, because one turn may lead to others (a thread that
 * cannot be started).
 */
#include "pool/inner.h"

#include "pool/futex.h"

/*
 * [lock] The coarse clock that marks when seats were used: seconds, and never 0, which means "never
 * used". Every turn sets it, because the governor may have slept since long before the first
 * worker.
 */
static void keep_time_locked(const struct turn *turn)
{
	uint32_t tick = (uint32_t)(turn->now_ns / PC_NS_PER_SEC) + 1;

	if (atomic_load_explicit(&turn->pool->tick, memory_order_relaxed) != tick)
		atomic_store_explicit(&turn->pool->tick, tick, memory_order_relaxed);
}

void turn_begin(struct pc_pool *pool, struct turn *turn)
{
	*turn = (struct turn){ .pool = pool };
	pthread_mutex_lock(&pool->lock);
	/* Asked under the lock: the brain's time does not run backwards. */
	turn->now_ns = pc_clock_now_ns();
	pool->turn = turn;
	keep_time_locked(turn);
}

void turn_wake(struct turn *turn, _Atomic uint32_t *word)
{
	/* So many only when a whole queue is rejected; then they are woken under the lock. */
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

static _Thread_local unsigned silences;

void turn_silence(void)
{
	silences++;
}

void turn_speak(void)
{
	silences--;
}

static void call_back(struct job *over)
{
	turn_silence();
	jobs_finish(over);
	turn_speak();
}

static void start(struct worker *spawns)
{
	while (spawns) {
		struct worker *worker = spawns;

		spawns = worker->next;
		worker_start(worker, NULL);
	}
}

/* [lock] Settling may give rise to spawns, and a spawn that fails to something to settle. */
static void settle_all_locked(struct turn *turn)
{
	for (;;) {
		driver_bury_stillborn_locked(turn);

		struct station *station = turn->touched;

		if (!station)
			return;
		turn->touched = station->next_touched;
		station->touched = false;
		station_settle_locked(turn, station);
	}
}

/* [lock] */
static void leave_to_governor_locked(struct turn *turn)
{
	while (turn->over) {
		struct job *job = turn->over;

		turn->over = job->next;
		job->next = turn->pool->over;
		turn->pool->over = job;
		governor_call(turn->pool);
	}
}

void turn_end(struct turn *turn)
{
	struct pc_pool *pool = turn->pool;

	settle_all_locked(turn);
	if (turn->over && silences > 0)
		leave_to_governor_locked(turn);
	if (pool->shutdown_ns != PC_TIME_NEVER && pc_sched_is_drained(pool->sched))
		pthread_cond_broadcast(&pool->changed);
	pool->turn = NULL;
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < turn->wake_count; i++)
		futex_wake(turn->wakes[i]);
	start(turn->spawns);
	if (turn->over)
		call_back(turn->over);
}
