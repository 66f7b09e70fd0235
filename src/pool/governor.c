/* SPDX-License-Identifier: MIT */
/*
 * governor.c - the pool's own thread: it ticks the brain when the brain wants it, keeps the coarse
 * clock going, joins the threads of workers that have ended, calls back for those who must not,
 * and watches the machine's memory (watch.c). While nothing is loaded, nobody waits and memory is
 * not tight it sleeps.
 */
#include <errno.h>

#include "pool/inner.h"

/* How often it looks around while there is anything to look after: the grain of last_used, and how
 * fast pressure is noticed. A guess; change freely. */
#define BEAT_NS PC_NS_PER_SEC

void governor_call(struct pc_pool *pool)
{
	pool->governor_called = true;
	pthread_cond_signal(&pool->governor_wake);
}

static void bury(struct worker *ended)
{
	while (ended) {
		struct worker *worker = ended;

		ended = worker->next;
		worker_bury(worker);
	}
}

/*
 * [lock] There is something to look after. What was told to be tight is looked at until it is not.
 */
static bool is_watchful_locked(const struct pc_pool *pool)
{
	return pool->workers.first || pool->watch.state != PC_MEMORY_CALM;
}

void governor_beat(struct pc_pool *pool)
{
	struct turn turn;
	struct worker *ended;
	struct job *over;
	bool watchful;

	turn_begin(pool, &turn);
	pool->governor_called = false;
	if (pool->next_tick_ns <= turn.now_ns)
		turn_note(&turn, pc_sched_tick(pool->sched, turn.now_ns));
	ended = pool->ended;
	over = pool->over;
	pool->ended = NULL;
	pool->over = NULL;
	watchful = is_watchful_locked(pool);
	turn_end(&turn);
	bury(ended);
	jobs_finish(over);
	if (ended) {
		pthread_mutex_lock(&pool->lock);
		pthread_cond_broadcast(&pool->changed);
		pthread_mutex_unlock(&pool->lock);
	}
	if (watchful) {
		watch_look(pool, turn.now_ns);
		measured_look(pool, turn.now_ns);
	}
}

/* [lock] Until there is something to do; false when it is to end. */
static bool wait_locked(struct pc_pool *pool)
{
	while (!pool->governor_called && !pool->governor_ends) {
		uint64_t now_ns = pc_clock_now_ns();
		uint64_t beat_ns = is_watchful_locked(pool) ? pc_time_add(now_ns, BEAT_NS)
							    : PC_TIME_NEVER;
		uint64_t until_ns = pool->next_tick_ns < beat_ns ? pool->next_tick_ns : beat_ns;
		struct timespec until = { .tv_sec = (time_t)(until_ns / PC_NS_PER_SEC),
					  .tv_nsec = (long)(until_ns % PC_NS_PER_SEC) };

		if (until_ns <= now_ns)
			return true;
		pool->governor_until_ns = until_ns;
		if (until_ns == PC_TIME_NEVER)
			pthread_cond_wait(&pool->governor_wake, &pool->lock);
		else if (pthread_cond_timedwait(&pool->governor_wake, &pool->lock, &until) ==
			 ETIMEDOUT)
			return true;
	}
	return !pool->governor_ends;
}

static void *governor_main(void *arg)
{
	struct pc_pool *pool = arg;
	bool goes_on;

	do {
		pthread_mutex_lock(&pool->lock);
		goes_on = wait_locked(pool);
		/* Awake: whoever brings a deadline need not call. */
		pool->governor_until_ns = 0;
		pthread_mutex_unlock(&pool->lock);
		governor_beat(pool);
	} while (goes_on);
	return NULL;
}

int governor_start(struct pc_pool *pool, struct pc_error *err)
{
	int failed = thread_start(&pool->governor, governor_main, pool);

	return failed ? pc_error_sys(err, PC_E_SPAWN_FAILED, failed, "the pool's own thread") : 0;
}

void governor_stop(struct pc_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->governor_ends = true;
	governor_call(pool);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->governor, NULL);
}
