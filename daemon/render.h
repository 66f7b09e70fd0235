/* SPDX-License-Identifier: MIT */
/*
 * render.h - what the control API shows. The wire's own types come as texts, which are freed with
 * pc_free; the rest as jansson values, each a new reference, NULL when out of memory. Any loop's
 * thread; each takes its snapshot under the body's lock.
 */
#ifndef DAEMON_RENDER_H
#define DAEMON_RENDER_H

#include <poolcore/error.h>

#include <jansson.h>

struct daemon;
struct model;
struct worker_snapshot;

/* Errors: OUT_OF_MEMORY. */
int render_state(struct daemon *daemon, char **ret_text, struct pc_error *err);
int render_models(struct daemon *daemon, char **ret_text, struct pc_error *err);
int render_workers(struct daemon *daemon, char **ret_text, struct pc_error *err);
/* What of the snapshot is no UTF-8 is cut off. */
int render_worker(struct worker_snapshot *worker, char **ret_text, struct pc_error *err);

json_t *render_health(struct daemon *daemon);
json_t *render_v1_models(struct daemon *daemon);
json_t *render_v1_model(struct daemon *daemon, const struct model *model);
/* How the last workers ended, of one model or of all (NULL). */
json_t *render_departed(struct daemon *daemon, const char *model_id);
json_t *render_config(struct daemon *daemon);
/* Prometheus' text format 0.0.4; freed with pc_free. */
char *render_metrics(struct daemon *daemon);

#endif
