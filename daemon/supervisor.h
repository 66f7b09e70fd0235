/* SPDX-License-Identifier: MIT */
/*
 * supervisor.h - the workers' processes: spawns them when the brain orders it, sees them become
 * ready and die, and ends them. Everything here runs on loop 0.
 */
#ifndef DAEMON_SUPERVISOR_H
#define DAEMON_SUPERVISOR_H

#include <poolcore/error.h>

struct daemon;
struct supervisor;

/* Errors: OUT_OF_MEMORY. */
int supervisor_create(struct daemon *daemon, struct supervisor **ret_supervisor,
		      struct pc_error *err);

/* Carries out what the brain ordered since the last call. */
void supervisor_run_orders(struct supervisor *supervisor);

/* Whether no process is left but those that cannot be ended. */
bool supervisor_is_idle(const struct supervisor *supervisor);
/*
 * Lets go of those, once it is idle, as a daemon does that dies, and says so of each; the loop must
 * run once more after it. How many.
 */
unsigned supervisor_leave_behind(struct supervisor *supervisor);
/*
 * Lets go of all processes and leaves them to the next daemon, because this one cannot run; the
 * loop must run once more after it.
 */
void supervisor_leave(struct supervisor *supervisor);
/* The program ends: leaves those that wait for a disk only, which may never answer. */
void supervisor_abandon(struct supervisor *supervisor);
/* Ends the clerk when all processes are gone; the loop must run once more after it. */
void supervisor_close(struct supervisor *supervisor);
/* After the loop has ended. NULL is allowed. */
void supervisor_free(struct supervisor *supervisor);

#endif
