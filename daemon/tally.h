/* SPDX-License-Identifier: MIT */
/*
 * tally.h - how the last workers ended, whichever daemon they had: what tells a model that dies of
 * each request from one whose worker somebody stopped. The registry keeps it (pc_registry_end);
 * this is the copy that can be shown without waiting for the disk. Any thread.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <poolcore/error.h>
#include <poolcore/registry.h>

struct tally;

/* Begins with what the registry remembers. Blocks. Errors: those of pc_registry_list_departed. */
int tally_create(struct pc_registry *registry, struct tally **ret_tally, struct pc_error *err);
void tally_destroy(struct tally *tally); /* NULL is allowed */
/* One more; of more than PC_DEPARTED_MAX the first is forgotten. */
void tally_add(struct tally *tally, const struct pc_worker_info *worker,
	       const struct pc_worker_exit *exit);
/* Visits those of a model (NULL: all), the last first, under the tally's lock. */
void tally_each(struct tally *tally, const char *model_id,
		void (*visit)(void *ctx, const struct pc_departed_worker *departed), void *ctx);

#endif
