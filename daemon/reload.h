/* SPDX-License-Identifier: MIT */
/*
 * reload.h - reads the configuration and the catalogs again while the daemon serves, on SIGHUP and
 * on POST /v2/reload. Everything is read and checked on a thread of its own, never on a loop; what
 * is right is put in force whole, and what is wrong changes nothing.
 *
 * Reloads come one after the other. A request joins the next one that begins, so that its report is
 * about files as they were after it came; those that come while one is under way share the next.
 */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include <poolcore/error.h>

struct daemon;
struct loop;
struct reload;
struct request;

/* Watches SIGHUP on loop 0 and starts the thread. Errors: OUT_OF_MEMORY. */
int reload_create(struct daemon *daemon, struct reload **ret_reload, struct pc_error *err);
/* POST /v2/reload. Loop thread. */
void reload_handle(struct request *request, const char *argument);
/* Answers the requests of this loop whose reload has ended. Loop thread. */
void reload_deliver(struct reload *reload, struct loop *loop);
/* The client of a request that waits has left. Loop thread. */
void reload_forget(struct request *request);
/* Waits for a reload that is under way, and ends the thread. Loop 0. NULL is allowed. */
void reload_close(struct reload *reload);
/* After loop 0 has ended. NULL is allowed. */
void reload_free(struct reload *reload);

#endif
