/* SPDX-License-Identifier: MIT */
/* adopt.h - the workers of an earlier daemon. */
#ifndef DAEMON_ADOPT_H
#define DAEMON_ADOPT_H

#include <poolcore/error.h>

struct daemon;

/*
 * Finds out what became of every worker in the registry: goes on with those that run and still fit
 * the configuration (pool.orphan_policy = "adopt"), ends the others, and notes how those ended that
 * are gone. On loop 0's thread before any loop runs; body and supervisor are there. Blocks while
 * workers that are to go do so. Errors: IO, CONFLICT when one cannot be looked at or does not die:
 * it may hold a GPU, and this is the last place where it is known.
 */
int adopt_workers(struct daemon *daemon, struct pc_error *err);

#endif
