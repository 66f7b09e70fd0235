/* SPDX-License-Identifier: MIT */
/* body_inner.h - the body's insides, for body.c (what happens) and snapshot.c (what is). Nobody
 * else. */
#ifndef DAEMON_BODY_INNER_H
#define DAEMON_BODY_INNER_H

#include "daemon/body.h"
#include "daemon/daemon.h"
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
	struct model *models;	   /* [const after create] in the catalog's order */
	struct model **by_entry;   /* [const after create] sorted, for body_model */
	size_t model_count;
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

#endif
