/* SPDX-License-Identifier: MIT */
/*
 * routes.h - what pool-worker answers: /health, /v1/models and OpenAI's text and embedding routes.
 */
#ifndef WORKER_ROUTES_H
#define WORKER_ROUTES_H

#include "http/http.h"
#include "worker.h"

/* What the routes know; all of it outlives the server. */
struct routes {
	struct worker *worker; /* NULL until it is started */
	const char *model_id;
	enum pc_capability capability;
	int64_t started; /* Unix time, the model's "created" */
	bool draining;	 /* new work is refused */
};

/* Handlers for http_server_create, with a struct routes as their context. */
extern const struct http_handlers routes_handlers;

#endif
