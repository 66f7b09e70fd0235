/* SPDX-License-Identifier: MIT */
/*
 * shutdown.h - how the daemon ends: signals, the drain, its deadline, and the order in which things
 * go. Loop 0's thread.
 */
#ifndef DAEMON_SHUTDOWN_H
#define DAEMON_SHUTDOWN_H

#include <poolcore/error.h>

struct daemon;
struct shutdown;

/* Begins to watch SIGTERM and SIGINT on loop 0. Errors: OUT_OF_MEMORY. */
int shutdown_create(struct daemon *daemon, struct shutdown **ret_shutdown, struct pc_error *err);
/* Something may have come to its end: goes on as far as it can. NULL is allowed. */
void shutdown_step(struct shutdown *shutdown);
/* Ends at once, without a drain: the daemon could not start. */
void shutdown_now(struct shutdown *shutdown);
/* After loop 0 has ended. NULL is allowed. */
void shutdown_free(struct shutdown *shutdown);

#endif
