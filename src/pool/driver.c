/* SPDX-License-Identifier: MIT */
/*
 * driver.c - carries out what the brain orders, as far as it can be done under the lock: records,
 * and the seats of workers that go into the slot word and out of it. Threads are started by
 * turn_end. Runs inside turns only; never calls the brain back from an action.
 */
#include <assert.h>

#include "pool/inner.h"

#include "pool/futex.h"

struct worker *worker_find(const struct pc_pool *pool, uint64_t id)
{
	struct pc_link *link = pc__set_at_least(&pool->workers, id, 0);

	return link && link->key == id ? pc__container_of(link, struct worker, by_id) : NULL;
}

void worker_enter(struct turn *turn, struct worker *worker, uint64_t id, uint64_t reserved_bytes)
{
	worker->id = id;
	worker->reserved_bytes = reserved_bytes;
	worker->spawned_ns = turn->now_ns;
	if (!turn->pool->workers.first)
		governor_call(turn->pool); /* it beats from now on */
	pc__set_insert(&turn->pool->workers, &worker->by_id, id, 0);
}

/* ---- places: which bits of the slot word are a worker's ---- */

static bool take_place(struct worker *worker)
{
	struct station *station = worker->station;
	uint64_t all = (UINT64_C(1) << station->worker_places) - 1;
	uint64_t vacant = all & ~station->places;

	if (vacant == 0)
		return false;
	worker->place = (unsigned)__builtin_ctzll(vacant);
	worker->bits = seats_of_place(station, worker->place);
	station->places |= UINT64_C(1) << worker->place;
	for (uint32_t slot = 0; slot < station->slots; slot++)
		station->seats[slot * station->worker_places + worker->place] =
			&worker->seats[slot];
	return true;
}

/* Whoever waits for the place gets it. */
static void leave_place(struct turn *turn, struct worker *worker)
{
	struct station *station = worker->station;
	struct worker *heir = station->unplaced;

	if (worker->bits == 0)
		return;
	station->places &= ~(UINT64_C(1) << worker->place);
	worker->bits = 0;
	if (heir) {
		station->unplaced = heir->next;
		worker_open(turn, heir);
	}
}

static void leave_unplaced(struct worker *worker)
{
	struct worker **slot = &worker->station->unplaced;

	while (*slot && *slot != worker)
		slot = &(*slot)->next;
	if (*slot)
		*slot = worker->next;
}

void worker_open(struct turn *turn, struct worker *worker)
{
	struct station *station = worker->station;

	worker->stage = STAGE_OPEN;
	if (!take_place(worker)) {
		/* All places are taken by workers that drain; it gets the first that is left. */
		worker->next = station->unplaced;
		station->unplaced = worker;
		return;
	}
	/* acq_rel in word_set: publishes the seats. */
	if (!worker->recalled)
		word_set(&station->word, worker->bits);
	turn_touch(turn, station);
}

/* ---- closing ---- */

/* ATTENTION at once and not at the end of the turn: a seat that comes back from now on is seen. */
static void want(struct worker *worker, bool wanted)
{
	struct station *station = worker->station;

	if (worker->wanted == wanted)
		return;
	worker->wanted = wanted;
	station->wanted += wanted ? 1 : -1u;
	if (wanted)
		word_set(&station->word, WORD_ATTENTION | WORD_DRAINING); /* S2 */
	turn_touch(station->pool->turn, station);
}

/* Once nobody has a seat of it any more its threads may end. */
static void dismiss_if_left(struct turn *turn, struct worker *worker)
{
	if (worker->held || worker->examined)
		return;
	leave_place(turn, worker);
	for (uint32_t i = 0; i < worker->seat_count; i++) {
		struct seat *seat = &worker->seats[i];
		uint32_t before = atomic_fetch_or_explicit(&seat->bell, BELL_STOP,
							   memory_order_acq_rel);

		if (before & BELL_ASLEEP)
			turn_wake(turn, &seat->bell);
	}
}

static void hurry(const struct worker *worker)
{
	const struct pc_engine *engine = worker->station->engine;

	if (!PC_ENGINE_HAS(engine, cancel))
		return;
	for (uint32_t i = 0; i < worker->seat_count; i++) {
		if (worker->held & word_seat(i * worker->station->worker_places + worker->place))
			engine->cancel(worker->instance, worker->seats[i].slot);
	}
}

/* Its seats go out of the word; when none is leased any more its threads are told to end. */
static void worker_close(struct turn *turn, struct worker *worker, bool force)
{
	struct station *station = worker->station;

	if (force)
		atomic_store_explicit(&worker->give_up, true, memory_order_relaxed);
	if (worker->stage == STAGE_OPEN) {
		worker->stage = STAGE_CLOSED;
		leave_unplaced(worker);
		if (!worker->recalled)
			worker->held = worker->bits & ~word_drain(&station->word, worker->bits);
		want(worker, false);
		turn_touch(turn, station);
		station->draining += worker->held != 0;
		dismiss_if_left(turn, worker);
	} else if (worker->stage < STAGE_OPEN) {
		atomic_store_explicit(&worker->give_up, true, memory_order_relaxed);
	}
	if (force && worker->stage == STAGE_CLOSED && worker->held)
		hurry(worker);
}

void worker_collect(struct turn *turn, struct worker *worker, unsigned seat)
{
	struct station *station = worker->station;

	assert(worker->held & word_seat(seat)); /* S5 */
	worker->held &= ~word_seat(seat);
	if (worker->held)
		return;
	station->draining--;
	turn_touch(turn, station);
	dismiss_if_left(turn, worker);
}

void worker_examine(struct worker *worker)
{
	assert(worker->stage == STAGE_OPEN);
	worker->examined = true;
}

void worker_let_go(struct turn *turn, struct worker *worker)
{
	worker->examined = false;
	if (worker->stage == STAGE_CLOSED)
		dismiss_if_left(turn, worker);
}

/* ---- the actions ---- */

static void on_spawn(void *ctx, const struct pc_spawn_order *order)
{
	struct pc_pool *pool = ctx;
	struct turn *turn = pool->turn;
	/* Once there was no memory, the ids that follow are not tried either: one range. */
	struct worker *worker = turn->stillborn_first ? NULL : worker_new(order->model_owner);

	if (!worker) {
		if (!turn->stillborn_first)
			turn->stillborn_first = order->worker_id;
		turn->stillborn_last = order->worker_id;
		return;
	}
	worker_enter(turn, worker, order->worker_id, order->reserved_bytes);
	worker->next = turn->spawns;
	turn->spawns = worker;
}

void driver_bury_stillborn_locked(struct turn *turn)
{
	while (turn->stillborn_first) {
		uint64_t id = turn->stillborn_first, last = turn->stillborn_last;
		struct pc_error err = PC_ERROR_INIT;

		pc_error_oom(&err);
		turn->stillborn_first = 0;
		for (; id <= last; id++)
			turn_note(turn,
				  pc_sched_worker_gone(turn->pool->sched, turn->now_ns, id, &err));
	}
}

static bool is_told_to_end(const struct worker *worker)
{
	return atomic_load_explicit(&worker->give_up, memory_order_relaxed);
}

static void on_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	struct pc_pool *pool = ctx;
	struct worker *worker = worker_find(pool, worker_id);

	if (!worker)
		return; /* stillborn */
	/* Insisting does not change the reason, which its thread may be reading by now. */
	if (worker->stage < STAGE_CLOSED && !is_told_to_end(worker))
		worker->why = why;
	worker_close(pool->turn, worker, force);
}

/* Models of a pool are all self-service. */
static void on_grant(void *ctx, struct pc_ticket *ticket, uint64_t worker_id)
{
	(void)ctx, (void)ticket, (void)worker_id;
	assert(!"the brain grants nothing of a self-service model");
}

static void on_reject(void *ctx, struct pc_ticket *ticket, const struct pc_error *err)
{
	struct pc_pool *pool = ctx;

	job_reject_locked(pool->turn, (struct job *)ticket, err);
}

static uint64_t used_ns(const struct pc_pool *pool, uint32_t last_used)
{
	uint32_t now = atomic_load_explicit(&pool->tick, memory_order_relaxed);

	uint32_t ago_secs = now > last_used ? now - last_used : 0;

	/* Ticks are seconds; the turn's time is the same clock. */
	return last_used ? pool->turn->now_ns - ago_secs * PC_NS_PER_SEC : 0;
}

static uint32_t leases_of(const struct worker *worker)
{
	uint64_t word = atomic_load_explicit(&worker->station->word, memory_order_acquire);

	return worker->recalled ? 0 : (uint32_t)__builtin_popcountll(worker->bits & ~word);
}

static void on_look(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use)
{
	struct pc_pool *pool = ctx;
	struct worker *worker = worker_find(pool, worker_id);
	uint32_t last_used = 0;

	*ret_use = (struct pc_worker_use){ .leases = 0 };
	if (!worker || worker->stage != STAGE_OPEN)
		return;
	for (uint32_t i = 0; i < worker->seat_count; i++) {
		const struct seat *seat = &worker->seats[i];
		uint32_t used = atomic_load_explicit(&seat->last_used, memory_order_relaxed);

		ret_use->served += atomic_load_explicit(&seat->served, memory_order_relaxed);
		last_used = used > last_used ? used : last_used;
	}
	ret_use->last_used_ns = used_ns(pool, last_used);
	if (wanted)
		want(worker, true);
	ret_use->leases = leases_of(worker);
	if (ret_use->leases == 0)
		want(worker, false);
}

static bool on_recall(void *ctx, uint64_t worker_id)
{
	struct pc_pool *pool = ctx;
	struct worker *worker = worker_find(pool, worker_id);

	if (!worker || worker->stage != STAGE_OPEN || worker->recalled)
		return true; /* it has no seats out */
	want(worker, true);
	worker->recalled = word_take_all(&worker->station->word, worker->bits);
	if (worker->recalled)
		want(worker, false);
	return worker->recalled;
}

static void on_resume(void *ctx, uint64_t worker_id)
{
	struct pc_pool *pool = ctx;
	struct worker *worker = worker_find(pool, worker_id);

	if (!worker || !worker->recalled)
		return;
	worker->recalled = false;
	word_set(&worker->station->word, worker->bits);
	turn_touch(pool->turn, worker->station);
}

const struct pc_sched_driver pool_driver = {
	.spawn = on_spawn,
	.stop = on_stop,
	.grant = on_grant,
	.reject = on_reject,
	.look = on_look,
	.recall = on_recall,
	.resume = on_resume,
};
