/* SPDX-License-Identifier: MIT */
/*
 * cancel.c - ends the call that runs on a slot, from any thread.
 *
 *     CALL_NONE --call_begin--> CALL_RUNNING --cancel--> CALL_CANCELLED
 *         ^------call_end------------'-------call_end-----------'
 *
 * cancel() changes RUNNING only, in one step, so that one which comes while nothing runs leaves
 * nothing behind, and one which comes between two calls cannot be half in both. begin and end are
 * the calling thread's alone.
 *
 * Every access is relaxed: the state is the whole message, nothing is published with it. The host
 * orders one call on a slot before the next, and load and unload around them all.
 */
#include "llama_engine.h"

void cancel(struct pc_engine_instance *instance, uint32_t slot)
{
	enum call_state running = CALL_RUNNING;

	if (slot < instance->slot_count)
		atomic_compare_exchange_strong_explicit(&instance->slots[slot].call, &running,
							CALL_CANCELLED, memory_order_relaxed,
							memory_order_relaxed);
}

void call_begin(struct slot *slot)
{
	atomic_store_explicit(&slot->call, CALL_RUNNING, memory_order_relaxed);
}

void call_end(struct slot *slot)
{
	atomic_store_explicit(&slot->call, CALL_NONE, memory_order_relaxed);
}

bool call_is_cancelled(const struct slot *slot)
{
	return atomic_load_explicit(&slot->call, memory_order_relaxed) == CALL_CANCELLED;
}
