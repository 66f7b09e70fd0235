/* SPDX-License-Identifier: MIT */
/*
 * pool.c - birth, shutdown and end of a pool. See inner.h for the parts.
 */
#include <errno.h>
#include <string.h>

#include "pool/inner.h"

#include "pool/futex.h"

#define CAPABILITIES_ALL ((1u << (PC_CAPABILITY_TEXT_TO_IMAGE + 1)) - 1)

/* ---- configuration ---- */

void pc_pool_config_init(struct pc_pool_config *config)
{
	*config = (struct pc_pool_config){
		.request_timeout_secs = 30,
		.shutdown_timeout_secs = 5,
		.maintenance_interval_secs = 60,
		.cooldown_idle_minutes = 1,
		.min_residency_ms = 5000,
		.max_wait_ms = 10000,
		.budget_percent = 80,
		.capabilities = CAPABILITIES_ALL,
	};
}

static void fill_defaults(struct pc_pool_config *config)
{
	struct pc_pool_config defaults;

	pc_pool_config_init(&defaults);
	if (!config->request_timeout_secs)
		config->request_timeout_secs = defaults.request_timeout_secs;
	if (!config->shutdown_timeout_secs)
		config->shutdown_timeout_secs = defaults.shutdown_timeout_secs;
	if (!config->maintenance_interval_secs)
		config->maintenance_interval_secs = defaults.maintenance_interval_secs;
	if (!config->cooldown_idle_minutes)
		config->cooldown_idle_minutes = defaults.cooldown_idle_minutes;
	if (!config->min_residency_ms)
		config->min_residency_ms = defaults.min_residency_ms;
	if (!config->max_wait_ms)
		config->max_wait_ms = defaults.max_wait_ms;
	if (!config->budget_percent)
		config->budget_percent = defaults.budget_percent;
	if (!config->capabilities)
		config->capabilities = defaults.capabilities;
}

static int check_config(const struct pc_pool_config *config, struct pc_error *err)
{
	const struct {
		const char *member;
		uint64_t value, max;
	} ranges[] = {
		{ "request_timeout_secs", config->request_timeout_secs, SECONDS_MAX },
		{ "shutdown_timeout_secs", config->shutdown_timeout_secs, SECONDS_MAX },
		{ "maintenance_interval_secs", config->maintenance_interval_secs, SECONDS_MAX },
		{ "cooldown_idle_minutes", config->cooldown_idle_minutes, SECONDS_MAX / 60 },
		{ "min_residency_ms", config->min_residency_ms, SECONDS_MAX * 1000 },
		{ "max_wait_ms", config->max_wait_ms, SECONDS_MAX * 1000 },
		{ "budget_percent", config->budget_percent, 100 },
		{ "capabilities", config->capabilities, CAPABILITIES_ALL },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(ranges); i++) {
		if (ranges[i].value > ranges[i].max)
			return pc_error_set(err, PC_E_INVALID_ARGUMENT,
					    "%s is %llu; it may be at most %llu", ranges[i].member,
					    (unsigned long long)ranges[i].value,
					    (unsigned long long)ranges[i].max);
	}
	if (config->ledger && pc_ledger_find(config->ledger, "cpu") < 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "ledger: it has no device 'cpu', which a pool needs");
	return 0;
}

const struct pc_pool_config *pc_pool_get_config(const struct pc_pool *pool)
{
	return &pool->config;
}

/* ---- birth ---- */

static int make_ledger(struct pc_pool *pool, const struct pc_memory_facts *facts,
		       struct pc_error *err)
{
	if (pool->config.ledger) {
		pool->ledger = pool->config.ledger;
		pool->device = (unsigned)pc_ledger_find(pool->ledger, "cpu");
		return 0;
	}

	int rc = pc_ledger_create(&pool->ledger, err);

	if (rc)
		return rc;
	pool->owns_ledger = true;
	rc = pc_ledger_add_device(pool->ledger, "cpu", facts->total_bytes,
				  watch_budget(&pool->config, facts->total_bytes), err);
	pool->device = 0;
	return rc < 0 ? rc : 0;
}

static int make_brain(struct pc_pool *pool, struct pc_error *err)
{
	struct pc_sched_settings settings;

	pc_sched_settings_init(&settings);
	settings.request_timeout_ns = pool->config.request_timeout_secs * PC_NS_PER_SEC;
	settings.maintenance_interval_ns = pool->config.maintenance_interval_secs * PC_NS_PER_SEC;
	settings.cooldown_idle_ns = pool->config.cooldown_idle_minutes * 60 * PC_NS_PER_SEC;
	settings.min_residency_ns = pool->config.min_residency_ms * PC_NS_PER_MS;
	settings.max_wait_ns = pool->config.max_wait_ms * PC_NS_PER_MS;
	/* Pools that start together shall not retry together. */
	settings.seed = pc_clock_now_ns() ^ (uintptr_t)pool;
	return pc_sched_create(&settings, &pool_driver, pool, pool->ledger, &pool->sched, err);
}

static void init_locks(struct pc_pool *pool)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_mutex_init(&pool->models_lock, NULL);
	pthread_cond_init(&pool->governor_wake, &monotonic);
	pthread_cond_init(&pool->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

static void free_model(void *ctx, struct pc_model *model)
{
	(void)ctx;
	model_free(model);
}

/* Everything but threads; half-made ones too. */
static void dispose(struct pc_pool *pool)
{
	pc_sched_destroy(pool->sched);
	while (pool->stations) {
		struct station *station = pool->stations;

		pool->stations = station->next;
		pc_free(station->block);
	}
	table_each(&pool->table, free_model, NULL);
	table_fini(&pool->table);
	if (pool->added_mb)
		pc_ledger_release(pool->ledger, pool->device, pool->added_mb * MIB);
	if (pool->owns_ledger)
		pc_ledger_destroy(pool->ledger);
	pthread_cond_destroy(&pool->changed);
	pthread_cond_destroy(&pool->governor_wake);
	pthread_mutex_destroy(&pool->models_lock);
	pthread_mutex_destroy(&pool->lock);
	pc_free(pool->block);
}

static int equip(struct pc_pool *pool, struct pc_error *err)
{
	struct pc_memory_facts facts;
	int rc = pc_memory_facts_read(NULL, &facts, err);

	if (rc == 0)
		rc = make_ledger(pool, &facts, err);
	if (rc == 0)
		rc = make_brain(pool, err);
	if (rc == 0) {
		watch_init(pool, &facts);
		rc = governor_start(pool, err);
	}
	return rc;
}

int pc_pool_create(const struct pc_pool_config *config, struct pc_pool **ret_pool,
		   struct pc_error *err)
{
	struct pc_pool_config filled = { .ledger = NULL };
	void *block;

	if (!ret_pool)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a pool needs a place for itself");
	if (config)
		filled = *config;
	fill_defaults(&filled);
	if (check_config(&filled, err))
		return PC_E_INVALID_ARGUMENT;

	struct pc_pool *pool = aligned_new(sizeof(*pool), &block);

	if (!pool)
		return pc_error_oom(err);
	pool->block = block;
	pool->config = filled;
	pool->next_tick_ns = PC_TIME_NEVER;
	pool->shutdown_ns = PC_TIME_NEVER;
	atomic_init(&pool->tick, 1);
	init_locks(pool);

	int rc = equip(pool, err);

	if (rc) {
		dispose(pool);
		return rc;
	}
	*ret_pool = pool;
	return 0;
}

/* ---- shutdown ---- */

bool pc_pool_is_shutting_down(const struct pc_pool *pool)
{
	return atomic_load_explicit(&pool->shutting_down, memory_order_relaxed);
}

/* [lock] Requests that wait, or hold a seat. */
static uint64_t count_unfinished(const struct pc_pool *pool)
{
	uint64_t count = 0;

	for (const struct station *station = pool->stations; station; station = station->next) {
		struct pc_sched_model_view view;

		pc_sched_get_model(station->brain, &view);
		count += view.waiting;
	}
	for (struct pc_link *link = pool->workers.first; link; link = pc__set_next(link)) {
		const struct worker *worker = pc__container_of(link, struct worker, by_id);
		uint64_t word = atomic_load_explicit(&worker->station->word, memory_order_relaxed);

		if (worker->stage == STAGE_CLOSED)
			count += (uint64_t)__builtin_popcountll(worker->held);
		else if (!worker->recalled)
			count += (uint64_t)__builtin_popcountll(worker->bits & ~word);
	}
	return count;
}

void pc_pool_begin_shutdown(struct pc_pool *pool)
{
	struct turn turn;

	if (!pool)
		return;
	turn_begin(pool, &turn);
	if (pool->shutdown_ns == PC_TIME_NEVER) {
		pool->shutdown_ns = turn.now_ns;
		pool->figures.at_shutdown = count_unfinished(pool);
		atomic_store_explicit(&pool->shutting_down, true, memory_order_relaxed);
		turn_note(&turn, pc_sched_drain(pool->sched, turn.now_ns,
						pc_time_add(turn.now_ns,
							    pool->config.shutdown_timeout_secs *
								    PC_NS_PER_SEC)));
	}
	turn_end(&turn);
}

/* [lock] Until nobody waits and every worker is buried, or the time is over. */
static void wait_for_end_locked(struct pc_pool *pool, uint64_t until_ns)
{
	struct timespec until = { .tv_sec = (time_t)(until_ns / PC_NS_PER_SEC),
				  .tv_nsec = (long)(until_ns % PC_NS_PER_SEC) };

	while (!pc_sched_is_drained(pool->sched) || pool->workers.first || pool->ended) {
		if (pthread_cond_timedwait(&pool->changed, &pool->lock, &until) == ETIMEDOUT)
			return;
	}
}

void pc_pool_shutdown(struct pc_pool *pool, struct pc_shutdown_report *ret_report)
{
	struct pc_shutdown_report report = { .finished = 0 };
	uint64_t patience_ns;

	if (ret_report)
		*ret_report = report;
	if (!pool)
		return;
	patience_ns = pool->config.shutdown_timeout_secs * PC_NS_PER_SEC;
	pc_pool_begin_shutdown(pool);
	pthread_mutex_lock(&pool->lock);
	/* At the deadline the governor's tick ends the drain: what waits is rejected, engines are
	 * asked to stop. They get as long again to do it. */
	wait_for_end_locked(pool, pc_time_add(pool->shutdown_ns, 2 * patience_ns));
	for (struct pc_link *link = pool->workers.first; link; link = pc__set_next(link)) {
		const struct worker *worker = pc__container_of(link, struct worker, by_id);

		report.stuck_workers++;
		report.dropped += (uint64_t)__builtin_popcountll(worker->held);
	}
	report.dropped += pool->figures.dropped;
	if (report.dropped > pool->figures.at_shutdown)
		report.dropped = pool->figures.at_shutdown;
	report.finished = pool->figures.at_shutdown - report.dropped;
	pthread_mutex_unlock(&pool->lock);
	if (ret_report)
		*ret_report = report;
}

/* ---- end ---- */

static void wait_for_callers(struct pc_pool *pool)
{
	/* acquire: partner of the release in pool_leave. */
	uint32_t inside = atomic_fetch_or_explicit(&pool->inside, INSIDE_ENDING,
						   memory_order_acquire) |
			  INSIDE_ENDING;

	while (inside != INSIDE_ENDING) {
		futex_wait(&pool->inside, inside, PC_TIME_NEVER);
		inside = atomic_load_explicit(&pool->inside, memory_order_acquire);
	}
}

void pc_pool_destroy(struct pc_pool *pool)
{
	struct pc_shutdown_report report;

	if (!pool)
		return;
	pc_pool_shutdown(pool, &report);
	if (report.stuck_workers > 0) {
		/* Their threads, or the holders of leases, will touch it when they come back. */
		pc_log(PC_LOG_ERROR, "pool", PC_NO_FIELDS,
		       "%llu workers are held by their engine or a lease: the pool's memory is not freed",
		       (unsigned long long)report.stuck_workers);
		return;
	}
	wait_for_callers(pool);
	governor_stop(pool);
	dispose(pool);
}
