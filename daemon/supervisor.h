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

/*
 * Ends the workers that an earlier daemon left behind: those of the registry whose processes are
 * still the same. Blocks until they are gone; before the loops run.
 */
int supervisor_clear_orphans(struct daemon *daemon, struct pc_error *err);

/* Carries out what the brain ordered since the last call. */
void supervisor_run_orders(struct supervisor *supervisor);

/* Whether no process is left. */
bool supervisor_is_idle(const struct supervisor *supervisor);
/* SIGKILL for every worker, now. */
void supervisor_kill_all(struct supervisor *supervisor);

/* All processes are gone; ends the clerk. The loop must run once more after it. */
void supervisor_destroy(struct supervisor *supervisor);

#endif
