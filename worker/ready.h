/* SPDX-License-Identifier: MIT */
/*
 * ready.h - tells the daemon that the worker is ready, and keeps trying until it has heard.
 */
#ifndef WORKER_READY_H
#define WORKER_READY_H

#include <poolcore/error.h>

#include <uv.h>

struct ready;

/*
 * Checks a callback address: "http://127.0.0.1:9200/path" (or localhost) or
 * "unix:/run/pool.sock:/path". Errors: INVALID_ARGUMENT.
 */
int ready_url_check(const char *url, struct pc_error *err);

/* `url` was checked. Errors: OUT_OF_MEMORY. */
int ready_create(uv_loop_t *loop, const char *url, struct ready **ret_ready, struct pc_error *err);
/*
 * POSTs the JSON body, which it takes over (pc_free). A refusal or a failure is logged and tried
 * again, after 250 ms and then twice as long each time up to 30 s, for as long as the worker
 * serves: a daemon that comes back finds out. Call it once.
 */
void ready_send(struct ready *ready, char *body, size_t length);
/* Gives up and frees once its handles have closed. NULL is allowed. */
void ready_close(struct ready *ready);

#endif
