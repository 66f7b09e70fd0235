/* SPDX-License-Identifier: MIT */
/* adopt.h - the workers of an earlier daemon. */
#ifndef DAEMON_ADOPT_H
#define DAEMON_ADOPT_H

#include <poolcore/error.h>

struct daemon;

/*
 * Finds out what became of every worker in the registry: goes on with those that run and still fit
 * the configuration (pool.orphan_policy = "adopt"), takes in the others to be ended when loop 0
 * runs, and notes how those ended that are gone. On loop 0's thread before any loop runs; body and
 * supervisor are there. Waits for the disk only, and a moment for workers that are just dying.
 * Errors: IO, CONFLICT when one cannot be looked at: it may hold a GPU, and this is the last place
 * where it is known; SPAWN_FAILED when one cannot be watched; OUT_OF_MEMORY.
 */
int adopt_workers(struct daemon *daemon, struct pc_error *err);

#endif
