/* SPDX-License-Identifier: MIT */
/* orphans.h - what an earlier daemon left behind. */
#ifndef DAEMON_ORPHANS_H
#define DAEMON_ORPHANS_H

#include <poolcore/error.h>

struct daemon;

/*
 * Ends the workers in the registry whose processes are still the same, and forgets the others.
 * Blocks until they are gone; before the loops run. Errors: IO when one cannot be looked at or does
 * not die: it may hold a GPU, and this is the last place where it is known.
 */
int orphans_clear(struct daemon *daemon, struct pc_error *err);

#endif
