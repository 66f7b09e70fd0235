/* SPDX-License-Identifier: MIT */
/*
 * cancel.c - tokens that end calls from another thread. A token knows the calls that carry it, from
 * their first moment to their last. Any thread.
 *
 * Order of locks: a token's, then the pool's; never the other way round. The token's lock is held
 * while a call is told, so that the call cannot end meanwhile: cancel_leave waits.
 */
#include "pool/inner.h"

struct pc_cancel {
	pthread_mutex_t lock;
	_Atomic bool fired;	   /* [lock for writing; relaxed: it carries nothing] */
	struct cancel_link *calls; /* [lock] */
};

int pc_cancel_create(struct pc_cancel **ret_cancel, struct pc_error *err)
{
	struct pc_cancel *cancel = ret_cancel ? pc_calloc(1, sizeof(*cancel)) : NULL;

	if (!ret_cancel)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a token needs a place for itself");
	if (!cancel)
		return pc_error_oom(err);
	pthread_mutex_init(&cancel->lock, NULL);
	*ret_cancel = cancel;
	return 0;
}

void pc_cancel_destroy(struct pc_cancel *cancel)
{
	if (!cancel)
		return;
	pthread_mutex_destroy(&cancel->lock);
	pc_free(cancel);
}

bool pc_cancel_is_fired(const struct pc_cancel *cancel)
{
	return cancel && atomic_load_explicit(&cancel->fired, memory_order_relaxed);
}

void pc_cancel_fire(struct pc_cancel *cancel)
{
	if (!cancel)
		return;
	pthread_mutex_lock(&cancel->lock);
	turn_silence();
	if (!atomic_exchange_explicit(&cancel->fired, true, memory_order_relaxed)) {
		for (struct cancel_link *link = cancel->calls; link; link = link->next) {
			if (!link->running)
				job_cancel_waiting(link->job);
			else if (PC_ENGINE_HAS(link->engine, cancel))
				link->engine->cancel(link->running->instance, link->running->slot);
		}
	}
	turn_speak();
	pthread_mutex_unlock(&cancel->lock);
}

bool cancel_join(struct pc_cancel *cancel, struct cancel_link *link, const struct pc_engine *engine,
		 struct job *job)
{
	if (!cancel)
		return true;
	pthread_mutex_lock(&cancel->lock);

	bool joins = !atomic_load_explicit(&cancel->fired, memory_order_relaxed);

	if (joins) {
		*link = (struct cancel_link){ .next = cancel->calls, .engine = engine, .job = job };
		if (cancel->calls)
			cancel->calls->prev = link;
		cancel->calls = link;
	}
	pthread_mutex_unlock(&cancel->lock);
	return joins;
}

void cancel_set_running(struct pc_cancel *cancel, struct cancel_link *link, const struct seat *seat)
{
	if (!cancel)
		return;
	pthread_mutex_lock(&cancel->lock);
	link->running = seat;
	pthread_mutex_unlock(&cancel->lock);
}

void cancel_leave(struct pc_cancel *cancel, struct cancel_link *link)
{
	if (!cancel)
		return;
	pthread_mutex_lock(&cancel->lock);
	if (link->prev)
		link->prev->next = link->next;
	else
		cancel->calls = link->next;
	if (link->next)
		link->next->prev = link->prev;
	pthread_mutex_unlock(&cancel->lock);
}
