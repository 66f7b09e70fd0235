/* SPDX-License-Identifier: MIT */
/* body_inner.h - the body's insides, for body.c (the brain's actions), body_requests.c,
 * body_workers.c and body_operator.c (what happens to workers), install.c (what changes) and
 * snapshot.c (what is). Nobody else. */
#ifndef DAEMON_BODY_INNER_H
#define DAEMON_BODY_INNER_H

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/roster.h"

struct body {
	uv_mutex_t lock;
	struct daemon *daemon;
	struct pc_sched *sched;	   /* [lock] */
	uint64_t next_tick_ns;	   /* [lock] what the brain asked for last */
	uint64_t armed_tick_ns;	   /* [lock] what loop 0's timer is set to */
	struct roster roster;	   /* [lock] */
	struct worker *orders;	   /* [lock] first in, first out */
	struct worker *last_order; /* [lock] */
	bool stillbirth;	   /* [lock] the brain has a worker that has no record here */
	bool draining;		   /* [lock] */
	bool told_drained;	   /* [lock] loop 0 was woken for it */
	struct retiring *retiring; /* [lock] removed, and still waited for; see install.c */
};

/* A model that was removed, and the generation that its spawn orders name. */
struct retiring {
	struct retiring *next;
	struct pc_sched_model *sched;
	struct generation *generation;
};

static inline void body_lock(struct body *body)
{
	uv_mutex_lock(&body->lock);
}

/* Nothing has happened under the lock: nobody is woken. */
static inline void body_unlock_quietly(struct body *body)
{
	uv_mutex_unlock(&body->lock);
}

/* Drops the lock after an event and wakes the loops that have news. */
void body_unlock(struct body *body);
/* The same for a loop, which delivers when its event is over and is spared the system call. */
void body_unlock_from(struct body *body, const struct loop *self);

/* ---- body.c ---- */

/* Puts a lease that has its outcome into its loop's inbox. */
void body_deliver_locked(struct lease *lease);
/* The supervisor is to look at worker->orders. */
void body_order_locked(struct body *body, struct worker *worker);
/* A record without a public part, with a reference to the model's generation; the model may be
 * NULL. NULL: no memory. */
struct worker *body_new_worker(struct model *model, unsigned device);

/* ---- body_requests.c ---- */

int body_refuse_absent_device(const struct model *model, struct pc_error *err);

/* ---- body_workers.c ---- */

int body_no_such_worker(const char *worker_id, struct pc_error *err);

/* ---- install.c ---- */

/* Which ledger devices a model may use: its own word, else its backend's, else any GPU, else the
 * cpu. */
uint32_t body_device_mask(const struct daemon *daemon, const struct model *model);
/* Registers the models of the daemon's first generation. */
int body_install_first(struct body *body, struct pc_error *err);
/* Those for which nobody waits any more, to be freed without the lock. */
struct retiring *body_take_retired_locked(struct body *body);
void body_free_retired(struct retiring *retired);

#endif
