/* SPDX-License-Identifier: MIT */
/*
 * body.h - the daemon as a body of the brain: holds the scheduler behind one lock, turns its
 * actions into deliveries to loops and orders to the supervisor, and keeps the public record of
 * every worker.
 */
#ifndef DAEMON_BODY_H
#define DAEMON_BODY_H

#include <poolcore/registry.h>
#include <poolcore/sched.h>

#include "http/http.h"

struct body;
struct daemon;
struct loop;
struct logbook;
struct pc_backend_config;
struct pc_model_entry;

/* A model as the daemon knows it. [const after start] */
struct model {
	const struct pc_model_entry *entry;
	const struct pc_backend_config *backend;
	struct pc_sched_model *sched;
	uint32_t device_mask; /* 0: its device is not there; requests are refused */
};

/* ---- requests ---- */

enum lease_state {
	LEASE_NONE, /* not submitted, or over */
	LEASE_WAITING,
	LEASE_GRANTED,
	LEASE_REJECTED,
};

/*
 * A request's ticket with the place its outcome goes to. The owner embeds it and keeps it in place
 * from body_submit until its outcome was delivered and, after a grant, body_release; or until
 * body_withdraw.
 */
struct lease {
	struct pc_ticket ticket; /* first member: the brain's pointer is ours */
	struct loop *loop;
	void (*on_outcome)(struct lease *lease); /* on the loop's thread */

	/* Written under the body's lock before the delivery, read by the loop after it. */
	enum lease_state state;
	uint64_t worker_id;
	struct http_target target;
	struct pc_error error; /* when rejected */

	/* [body lock] the inbox it waits in */
	struct lease *next;
};

/* Queues the request. The outcome is delivered by loop_deliver, which the caller runs next. Loop
 * thread. */
void body_submit(struct daemon *daemon, struct lease *lease, struct model *model);
/* Ends a granted lease. Loop thread. */
void body_release(struct daemon *daemon, struct lease *lease, enum pc_outcome outcome);
/* The client left while the request waited, or its outcome was on its way. Nothing is delivered any
 * more. */
void body_withdraw(struct daemon *daemon, struct lease *lease);

/* ---- workers ---- */

/* What the supervisor is to do about a worker; it takes all of it at once. */
struct worker_orders {
	bool spawn;
	uint16_t port; /* for spawn; 0: choose */
	bool ready;    /* it reported that it is loaded; its token was right */
	uint64_t ready_bytes;
	bool stop;
	bool force;
	enum pc_stop_reason reason;
};

/*
 * A worker's record, from the spawn action until long after it is gone (the last few departed ones
 * are kept so that their logs can be read).
 */
struct worker {
	uint64_t id; /* the brain's */
	struct model *model;
	struct pc_spawn_order order;
	struct worker *next; /* [lock] newest first */

	/* [lock] what the control API shows */
	struct pc_worker_info info;
	struct http_target target;
	bool departed;

	struct logbook *log; /* its own lock */

	struct worker_orders orders; /* [lock] */
	struct worker *next_order;   /* [lock] */
	bool has_orders;	     /* [lock] */

	void *process; /* the supervisor's own, loop 0 only */
};

/* Errors: OUT_OF_MEMORY, and what pc_sched_add_model refuses. */
int body_create(struct daemon *daemon, struct body **ret_body, struct pc_error *err);
void body_destroy(struct body *body);

struct model *body_model(struct daemon *daemon, const struct pc_model_entry *entry);

/* The supervisor takes the next order; NULL when there is none. Loop 0. */
struct worker *body_next_order(struct daemon *daemon, struct worker_orders *ret_orders);
/* Events of workers, from loop 0. The cause may be NULL. */
void body_worker_ready(struct daemon *daemon, struct worker *worker, uint64_t measured_bytes);
void body_worker_failed(struct daemon *daemon, uint64_t worker_id, const struct pc_error *cause);
void body_worker_gone(struct daemon *daemon, struct worker *worker, const struct pc_error *cause);
/* Changes the public record under the lock and returns a copy of it for the registry. */
void body_worker_publish(struct daemon *daemon, struct worker *worker,
			 void (*change)(struct worker *worker, void *ctx), void *ctx,
			 struct pc_worker_info *ret_info);
/* Time has passed. Returns when the next tick is due. Loop 0. */
uint64_t body_tick(struct daemon *daemon);
/* When the brain wants its next tick. Loop 0. */
uint64_t body_next_tick(struct daemon *daemon);

/* ---- the operator ---- */

/*
 * port 0: choose. ret_id has PC_WORKER_ID_MAX bytes; it is empty when room is being made first and
 * the worker follows. Errors: those of pc_sched_load, NO_WORKERS.
 */
int body_start_worker(struct daemon *daemon, struct model *model, uint16_t port, char *ret_id,
		      struct pc_error *err);
/* Errors: WORKER_NOT_FOUND. */
int body_stop_worker(struct daemon *daemon, const char *worker_id, bool force,
		     struct pc_error *err);
/* A worker says that it is ready. Errors: WORKER_NOT_FOUND, UNAUTHORIZED (wrong token). */
int body_report_ready(struct daemon *daemon, const char *worker_id, const char *token,
		      uint64_t measured_bytes, struct pc_error *err);
void body_drain(struct daemon *daemon, uint64_t deadline_ns);
bool body_is_drained(struct daemon *daemon);
/* Tells every loop to stop serving: first politely, then for good. */
void body_drain_loops(struct daemon *daemon);
void body_close_loops(struct daemon *daemon);
/* What was wished of a loop since it last asked. Loop thread. */
void body_loop_wishes(struct daemon *daemon, struct loop *loop, bool *ret_drain, bool *ret_close);

/* ---- views; `visit` runs under the lock and must only copy ---- */

struct worker_view {
	const struct worker *worker; /* info, model */
	struct pc_sched_worker_view sched;
	bool known_to_brain;
};

void body_each_worker(struct daemon *daemon, bool departed_too,
		      void (*visit)(void *ctx, const struct worker_view *view), void *ctx);
void body_each_model(struct daemon *daemon,
		     void (*visit)(void *ctx, const struct model *model,
				   const struct pc_sched_model_view *view),
		     void *ctx);
bool body_get_model_view(struct daemon *daemon, const struct model *model,
			 struct pc_sched_model_view *ret_view);
void body_counters(struct daemon *daemon, struct pc_sched_counters *ret_counters);
/* The log of a worker, living or departed, with a reference for the caller; NULL when unknown. */
struct logbook *body_worker_log(struct daemon *daemon, const char *worker_id);
/* Why the brain stops a worker, in words: "idle", "evicted". */
const char *stop_reason_text(enum pc_stop_reason why);

#endif
