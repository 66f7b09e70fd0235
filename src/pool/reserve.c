/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - what the device "cpu" may hold, what of it is reserved, and memory that is reserved
 * for something else in the program. The ledger decides; here are the pool's books of its own
 * share. Any thread.
 */
#include "pool/inner.h"

#include "base/text.h"

static uint64_t to_mb(uint64_t bytes)
{
	return bytes / MIB + (bytes % MIB != 0);
}

uint64_t pc_pool_budget_mb(const struct pc_pool *pool)
{
	struct pc_device_account account;

	pc_ledger_account(pool->ledger, pool->device, &account);
	return account.budget_bytes / MIB;
}

uint64_t pc_pool_total_memory_mb(const struct pc_pool *pool)
{
	struct pc_device_account account;

	pc_ledger_account(pool->ledger, pool->device, &account);
	return to_mb(account.reserved_bytes);
}

int pc_pool_add_memory_mb(struct pc_pool *pool, uint64_t megabytes, struct pc_error *err)
{
	struct pc_device_account account;
	char needed[32], unreserved[32], budget[32];

	if (!pool)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "memory is added to a pool");
	if (megabytes <= UINT64_MAX / MIB &&
	    pc_ledger_reserve(pool->ledger, pool->device, megabytes * MIB)) {
		pthread_mutex_lock(&pool->lock);
		pool->added_mb += megabytes;
		pthread_mutex_unlock(&pool->lock);
		return 0;
	}
	pc_ledger_account(pool->ledger, pool->device, &account);

	uint64_t free_bytes = account.budget_bytes > account.reserved_bytes
				      ? account.budget_bytes - account.reserved_bytes
				      : 0;
	uint64_t needed_bytes = megabytes > UINT64_MAX / MIB ? UINT64_MAX : megabytes * MIB;

	pc_error_set(err, PC_E_INSUFFICIENT_MEMORY,
		     "%s are not to be had on %s: %s of %s budget free",
		     pc_format_size(needed_bytes, needed), account.name,
		     pc_format_size(free_bytes, unreserved),
		     pc_format_size(account.budget_bytes, budget));
	pc_error_detail(err, "needed_bytes", "%llu", (unsigned long long)needed_bytes);
	pc_error_detail(err, "free_bytes", "%llu", (unsigned long long)free_bytes);
	pc_error_detail(err, "budget_bytes", "%llu", (unsigned long long)account.budget_bytes);
	return PC_E_INSUFFICIENT_MEMORY;
}

/* Who waits for memory need not wait for the brain's next look. */
static void look_for_room(struct pc_pool *pool)
{
	struct pc_device_account account;
	struct turn turn;

	turn_begin(pool, &turn);
	pc_ledger_account(pool->ledger, pool->device, &account);
	turn_note(&turn, pc_sched_limit_changed(pool->sched, turn.now_ns, pool->device,
						account.budget_bytes));
	turn_end(&turn);
}

int pc_pool_remove_memory_mb(struct pc_pool *pool, uint64_t megabytes, struct pc_error *err)
{
	uint64_t added_mb;

	if (!pool)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "memory is removed from a pool");
	pthread_mutex_lock(&pool->lock);
	added_mb = pool->added_mb;
	if (megabytes <= added_mb)
		pool->added_mb -= megabytes;
	pthread_mutex_unlock(&pool->lock);
	if (megabytes > added_mb)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "%llu MiB are more than the %llu MiB that were added",
				    (unsigned long long)megabytes, (unsigned long long)added_mb);
	pc_ledger_release(pool->ledger, pool->device, megabytes * MIB);
	look_for_room(pool);
	return 0;
}
