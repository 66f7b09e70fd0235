/* SPDX-License-Identifier: MIT */
/*
 * slot.c - how a call is cancelled from another thread. ONNX Runtime looks at a flag in the options
 * of a run between two of its nodes; the flag, and whether there is a call that it is meant for,
 * change under the slot's lock, so that a cancel that comes late meets no other call.
 */
#include "onnx_engine.h"

int slot_init(struct slot *slot, struct pc_error *err)
{
	int rc = ort_check(ort.CreateRunOptions(&slot->options), PC_E_OUT_OF_MEMORY,
			   "ONNX Runtime cannot make options for a run", err);

	if (!rc)
		pthread_mutex_init(&slot->lock, NULL);
	return rc;
}

void slot_fini(struct slot *slot)
{
	if (!slot->options)
		return;
	pthread_mutex_destroy(&slot->lock);
	ort.ReleaseRunOptions(slot->options);
	slot->options = NULL;
}

/* Setting a flag cannot fail but for arguments that are NULL. */
static void set_flag(struct slot *slot, bool terminate)
{
	struct ort_status *status = terminate ? ort.RunOptionsSetTerminate(slot->options)
					      : ort.RunOptionsUnsetTerminate(slot->options);

	ort_check(status, PC_E_INTERNAL, "the flag of a run", NULL);
}

int slot_begin(struct pc_engine_instance *instance, uint32_t number, struct slot **ret_slot,
	       struct pc_error *err)
{
	if (number >= instance->slot_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "slot %u of %u", number,
				    instance->slot_count);
	struct slot *slot = &instance->slots[number];

	pthread_mutex_lock(&slot->lock);
	if (slot->cancelled)
		set_flag(slot, false);
	slot->cancelled = false;
	slot->running = true;
	pthread_mutex_unlock(&slot->lock);
	*ret_slot = slot;
	return 0;
}

bool slot_is_cancelled(struct slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	bool cancelled = slot->cancelled;

	pthread_mutex_unlock(&slot->lock);
	return cancelled;
}

void slot_end(struct slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	slot->running = false;
	pthread_mutex_unlock(&slot->lock);
}

void cancel(struct pc_engine_instance *instance, uint32_t number)
{
	if (number >= instance->slot_count)
		return;
	struct slot *slot = &instance->slots[number];

	pthread_mutex_lock(&slot->lock);
	if (slot->running && !slot->cancelled) {
		slot->cancelled = true;
		set_flag(slot, true);
	}
	pthread_mutex_unlock(&slot->lock);
}
