/* SPDX-License-Identifier: MIT */
/*
 * request.h - one request inside the daemon, from its head to its close. Belongs to its loop's
 * thread.
 */
#ifndef DAEMON_REQUEST_H
#define DAEMON_REQUEST_H

#include "daemon/body.h"
#include "http/http.h"
#include "http/json_member.h"

struct daemon;
struct loop;
struct reload_wait;
struct route;

struct request {
	struct request *next_spare;
	struct loop *loop;
	struct daemon *daemon;
	struct http_exchange *exchange;
	const struct route *route;
	char argument[256];

	char *body; /* grows while it comes in; the server bounds it */
	size_t body_length;
	size_t body_capacity;

	struct reload_wait *reload; /* its report is on the way; see reload.c */

	/* of the gateway a ticket, of the control plane a worker's report of readiness */
	struct lease lease;
	bool queued; /* the body has the lease, and its outcome has not been delivered */

	/* the gateway's */
	struct json_scanner scanner;
	struct model *model; /* with a reference on its generation */
	struct http_call *call;
	unsigned attempts;  /* leases so far */
	bool takes_events;  /* an error event can follow what was passed on */
	char last_bytes[2]; /* of what was passed on: is the stream between two events? */
	bool retried;	    /* once after a worker was lost */
};

/* The exchange's request from now on; NULL when memory is out. */
struct request *request_create(struct loop *loop, struct http_exchange *exchange);
/* Makes room for a body of `needed` bytes; what is there stays. Errors, after which nothing has
 * changed: QUEUE_FULL (http.max_buffered_bytes), OUT_OF_MEMORY. */
int request_reserve_body(struct request *request, size_t needed, struct pc_error *err);
/* Nothing may be under way for it. */
void request_destroy(struct request *request);
struct request *request_of(struct http_exchange *exchange);
/* Frees what request_destroy has kept for the next one. */
void request_free_spare(struct loop *loop);

/* The gateway's part in a request's life. */
void gateway_handle(struct request *request, const char *argument);
/* The client can take more. */
void gateway_drained(struct request *request);
/* The exchange closes; whatever is under way for it is cancelled. */
void gateway_closed(struct request *request);

/* The control plane's part in it: the exchange closes. */
void control_closed(struct request *request);
/* The control plane's routes. */
void control_root(struct request *request, const char *argument);
void control_health(struct request *request, const char *argument);
void control_metrics(struct request *request, const char *argument);
void control_config(struct request *request, const char *argument);
void control_state(struct request *request, const char *argument);
void control_gpus(struct request *request, const char *argument);
void control_models(struct request *request, const char *argument);
void control_v1_models(struct request *request, const char *argument);
void control_v1_model(struct request *request, const char *argument);
void control_workers(struct request *request, const char *argument);
void control_departed(struct request *request, const char *argument);
void control_worker(struct request *request, const char *argument);
void control_worker_logs(struct request *request, const char *argument);
void control_worker_start(struct request *request, const char *argument);
void control_worker_stop(struct request *request, const char *argument);
void control_worker_ready(struct request *request, const char *argument);

#endif
