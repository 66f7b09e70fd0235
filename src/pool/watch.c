/* SPDX-License-Identifier: MIT */
/*
 * watch.c - the machine's memory: the budget follows its limits, and when it runs short (a cgroup's
 * limit and PSI count, not only MemAvailable) the brain is told, and the program. Runs on the
 * governor's thread.
 */
#include <string.h>

#include "pool/inner.h"

/* How often to look; PSI averages over ten seconds. A guess; change freely. */
#define LOOK_NS PC_NS_PER_SEC
/* Tasks stand still for memory this share of the time: a fifth some, a twentieth all. Guesses. */
enum { SOME_AVG10_BP = 2000, FULL_AVG10_BP = 500 };
/* Without a wish of the program's: a twentieth of the memory stays free. A guess. */
enum { RESERVE_SHARE = 20 };

uint64_t watch_budget(const struct pc_pool_config *config, uint64_t total_bytes)
{
	if (config->budget_bytes)
		return config->budget_bytes < total_bytes ? config->budget_bytes : total_bytes;
	return total_bytes / 100 * config->budget_percent;
}

void watch_init(struct pc_pool *pool, const struct pc_memory_facts *facts)
{
	pool->watch = (struct memory_watch){ .root = "",
					     .total_bytes = facts->total_bytes,
					     .state = PC_MEMORY_CALM };
}

/* A cgroup's limit was raised or lowered. */
static void follow_limit(struct pc_pool *pool, const struct pc_memory_facts *facts)
{
	struct turn turn;

	if (!pool->owns_ledger || facts->total_bytes == pool->watch.total_bytes)
		return;
	pool->watch.total_bytes = facts->total_bytes;
	turn_begin(pool, &turn);
	turn_note(&turn, pc_sched_limit_changed(pool->sched, turn.now_ns, pool->device,
						watch_budget(&pool->config, facts->total_bytes)));
	turn_end(&turn);
}

static void tell(struct pc_pool *pool, enum pc_memory_state state, const char *why)
{
	bool tight = state == PC_MEMORY_TIGHT;
	struct turn turn;

	/* Each look while it is tight lets one more idle worker go (rule 11). */
	if (tight || pool->watch.state != state) {
		turn_begin(pool, &turn);
		turn_note(&turn, pc_sched_pressure(pool->sched, turn.now_ns, pool->device, tight));
		turn_end(&turn);
	}
	if (pool->watch.state == state)
		return;
	pool->watch.state = state;
	pc_log(tight ? PC_LOG_WARN : PC_LOG_INFO, "memory", PC_FIELDS({ "why", why }), "%s",
	       tight ? "tight: nothing grows, idle workers go" : "enough again");
	if (pool->config.on_pressure)
		pool->config.on_pressure(pool->config.on_pressure_ctx, tight, why);
}

static int read_memory(const char *root, struct pc_memory_facts *facts,
		       struct pc_memory_pressure *pressure, struct pc_error *err)
{
	int rc = pc_memory_facts_read(root, facts, err);

	return rc ? rc : pc_memory_pressure_read(root, pressure, err);
}

void watch_look(struct pc_pool *pool, uint64_t now_ns)
{
	struct memory_watch *watch = &pool->watch;
	struct pc_memory_facts facts;
	struct pc_memory_pressure pressure;
	struct pc_error err = PC_ERROR_INIT;
	char why[PC_MEMORY_WHY_MAX];

	if (now_ns < watch->next_ns)
		return;
	watch->next_ns = now_ns + LOOK_NS;
	if (read_memory(watch->root, &facts, &pressure, &err)) {
		if (!watch->complained)
			pc_log_error(PC_LOG_WARN, "memory", &err);
		watch->complained = true;
		return;
	}
	watch->complained = false;
	follow_limit(pool, &facts);

	const struct pc_memory_limits limits = {
		.reserve_bytes = pool->config.reserve_bytes ? pool->config.reserve_bytes
							    : facts.total_bytes / RESERVE_SHARE,
		.some_avg10_bp = SOME_AVG10_BP,
		.full_avg10_bp = FULL_AVG10_BP,
	};

	tell(pool, pc_memory_judge(&facts, &pressure, &limits, watch->state, why), why);
}
