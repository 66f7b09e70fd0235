/* SPDX-License-Identifier: MIT */
/*
 * render.h - what the control API shows, as jansson values. Each returns a new reference, NULL when
 * out of memory. Any loop's thread; each takes its snapshot under the body's lock.
 */
#ifndef DAEMON_RENDER_H
#define DAEMON_RENDER_H

#include <jansson.h>

struct daemon;
struct pc_model_entry;
struct worker_snapshot;

json_t *render_health(struct daemon *daemon);
json_t *render_state(struct daemon *daemon);
json_t *render_models(struct daemon *daemon);
json_t *render_workers(struct daemon *daemon);
json_t *render_worker(const struct worker_snapshot *worker);
json_t *render_v1_models(struct daemon *daemon);
json_t *render_v1_model(struct daemon *daemon, const struct pc_model_entry *entry);
/* Prometheus' text format 0.0.4; freed with pc_free. */
char *render_metrics(struct daemon *daemon);

#endif
