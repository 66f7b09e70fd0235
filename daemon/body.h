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

#include "daemon/generation.h"
#include "http/http.h"

struct body;
struct daemon;
struct loop;
struct logbook;

/* With daemon->generation. Errors: OUT_OF_MEMORY, and what pc_sched_add_model refuses. */
int body_create(struct daemon *daemon, struct body **ret_body, struct pc_error *err);
void body_destroy(struct body *body);

/* ---- requests ---- */

enum lease_state {
	LEASE_NONE, /* not submitted, or over */
	LEASE_WAITING,
	LEASE_GRANTED,
	LEASE_REJECTED,
	LEASE_REPORTING, /* a worker's report waits for the registry; see body_report_ready */
	LEASE_HEARD,
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

/* Queues the request. The outcome is delivered by loop_deliver, which the caller runs next. */
void body_submit(struct daemon *daemon, struct lease *lease, struct model *model);
/* Ends a granted lease. Loop thread. */
void body_release(struct daemon *daemon, struct lease *lease, enum pc_outcome outcome);
/* The client left while the request waited, or its outcome was on its way. Nothing is delivered any
 * more. */
void body_withdraw(struct daemon *daemon, struct lease *lease);
/*
 * The worker of this granted lease broke off. When nobody listens any more or its process has begun
 * to end, the brain is told now and grants it nothing more; the supervisor will hear of its death
 * later.
 */
void body_worker_lost(struct daemon *daemon, const struct lease *lease, bool nobody_listens,
		      const struct pc_error *cause);

/* ---- workers ---- */

/* What the supervisor is to do about a worker; it takes all of it at once. */
struct worker_orders {
	bool spawn;
	bool ready; /* it reported that it is loaded; its token was right */
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
	/* [const] until it is gone, with its generation; then NULL. And NULL from the first of an
	 * earlier daemon's worker that is to go, for which there may be none any more. */
	struct model *model;
	uint32_t slots;	     /* [const] */
	unsigned device;     /* [const] */
	uint16_t port;	     /* [const] the one that was asked for; 0: any */
	struct logbook *log; /* [const] has a lock of its own */

	struct worker *next;	     /* [lock] its bucket, or the departed ones */
	struct pc_worker_info info;  /* [lock] what the control API shows; its names never change */
	struct http_target target;   /* [lock] */
	bool departed;		     /* [lock] */
	struct worker_orders orders; /* [lock] */
	struct worker *next_order;   /* [lock] */
	bool has_orders;	     /* [lock] */
	struct lease *reports;	     /* [lock] of its readiness, not answered yet */
	bool ready_recorded;	     /* [lock] the registry knows that it is ready */
};

/* The name that the outside knows a worker by; "" when it was forgotten. Any thread. */
void body_worker_name(struct daemon *daemon, uint64_t id, char ret_name[PC_WORKER_ID_MAX]);

/* The supervisor takes the next order; NULL when there is none. Loop 0. */
struct worker *body_next_order(struct daemon *daemon, struct worker_orders *ret_orders);

/* The events of a worker's life, from loop 0. */

void body_worker_copy(struct daemon *daemon, struct worker *worker,
		      struct pc_worker_info *ret_info);
/* Where it will listen and what it will prove itself with; before its process exists. */
void body_worker_addressed(struct daemon *daemon, struct worker *worker,
			   const struct http_target *target, const char *token);
/* Its stub runs, and its start timeout with it. */
void body_worker_launched(struct daemon *daemon, struct worker *worker, pid_t stub_pid,
			  uint64_t pidfd_inode);
/* Its program runs. */
void body_worker_started(struct daemon *daemon, struct worker *worker, pid_t pid,
			 uint64_t start_ticks);
/* A status that may not follow the present one is not taken (see pc_worker_status_may_become). */
void body_worker_status(struct daemon *daemon, struct worker *worker, enum pc_worker_status status);
/* How many requests it works for. */
uint32_t body_worker_leases(struct daemon *daemon, const struct worker *worker);
void body_worker_ready(struct daemon *daemon, struct worker *worker, uint64_t measured_bytes);
/* What it takes by now; its reservation grows to it. Whether it did. */
bool body_worker_measured(struct daemon *daemon, struct worker *worker, uint64_t bytes);
/*
 * A driver says that the worker whose session this is (its stub leads it) holds so much of a GPU;
 * nothing happens when there is none. Its reservation grows to it. Any thread.
 */
void body_worker_holds(struct daemon *daemon, int gpu_id, pid_t session, uint64_t bytes);
/* It broke, or its process is gone while its memory may not be back: it is granted nothing more. */
void body_worker_failed(struct daemon *daemon, struct worker *worker, const struct pc_error *cause);
/* It was killed, and is there yet: nobody is to wait for its memory. */
void body_worker_stuck(struct daemon *daemon, struct worker *worker);
/* How its process ended, for its record. */
void body_worker_ended(struct daemon *daemon, struct worker *worker,
		       const struct pc_worker_exit *exit);
/* Its readiness stands in the registry, or could not be written: reports that wait are answered. */
void body_answer_reports(struct daemon *daemon, struct worker *worker, const struct pc_error *err);
/* `exit` may be NULL (there was no process), and so may the cause (it was stopped). */
void body_worker_gone(struct daemon *daemon, struct worker *worker,
		      const struct pc_worker_exit *exit, const struct pc_error *cause);

/*
 * A worker says that it is ready. It repeats that until it is answered, and is answered when the
 * registry knows: else it would be lost with this daemon. Returns 0 when it is known already, or 1:
 * the lease, which has a loop and a handler, is delivered as LEASE_HEARD or LEASE_REJECTED, unless
 * it is withdrawn. Errors: WORKER_NOT_FOUND, UNAUTHORIZED (wrong token).
 */
int body_report_ready(struct daemon *daemon, struct lease *lease, const char *worker_id,
		      const char *token, uint64_t measured_bytes, struct pc_error *err);

/* ---- an earlier daemon's workers ---- */

/*
 * A worker of an earlier daemon, by its record: the brain takes it in, and its public record is
 * made anew. Errors: those of pc_sched_adopt, NO_WORKERS (the model's device is not there).
 */
int body_adopt(struct daemon *daemon, struct model *model, const struct pc_worker_info *info,
	       bool loaded, struct worker **ret_worker, struct pc_error *err);
/*
 * One of them that is not to go on: the brain takes it in as stopping, whatever its model is now or
 * was, and its public record says so. `runs`: loop 0 is ordered to stop it. Errors: OUT_OF_MEMORY.
 */
int body_adopt_leaving(struct daemon *daemon, const struct pc_worker_info *info,
		       enum pc_stop_reason why, bool runs, struct worker **ret_worker,
		       struct pc_error *err);

/* ---- time ---- */

/* Time has passed. Returns when the next tick is due. Loop 0. */
uint64_t body_tick(struct daemon *daemon);
/* When the brain wants its next tick. Loop 0. */
uint64_t body_next_tick(struct daemon *daemon);

/* ---- the operator ---- */

/*
 * gpu_id -1 and port 0: choose. ret_id has PC_WORKER_ID_MAX bytes; it is empty when room is being
 * made first and the worker follows. Errors: those of pc_sched_load_on, NO_WORKERS, INVALID_REQUEST
 * (there is no such GPU, or the model may not use it: the sentence says what there is).
 */
int body_start_worker(struct daemon *daemon, struct model *model, int gpu_id, uint16_t port,
		      char *ret_id, struct pc_error *err);
/* Errors: WORKER_NOT_FOUND. */
int body_stop_worker(struct daemon *daemon, const char *worker_id, bool force,
		     struct pc_error *err);

/* ---- the configuration in force (install.c) ---- */

/* The one in force, with a reference for the caller. Any thread. */
struct generation *body_generation(struct daemon *daemon);
/*
 * Puts `next` in force, of which the caller keeps its reference: from now on every request finds
 * what it says. `budgets` has the bytes of each ledger device. One thread at a time. Errors:
 * SHUTTING_DOWN, OUT_OF_MEMORY; nothing has changed after one.
 */
int body_install(struct daemon *daemon, struct generation *next, const uint64_t *budgets,
		 struct pc_error *err);

/* ---- the end ---- */

/* What a loop is to do. They only ever go forward. */
enum loop_wish {
	LOOP_SERVE,
	LOOP_DRAIN, /* take no new connections, finish what runs */
	LOOP_CLOSE, /* cut off what is left */
};

/* No new requests; what waits and runs may go on until the deadline. Can be called again to shorten
 * it. */
void body_drain(struct daemon *daemon, uint64_t deadline_ns);
/* True when the brain has nothing left: no ticket, no worker. Loop 0 is woken when that comes true.
 */
bool body_is_drained(struct daemon *daemon);
void body_wish_loops(struct daemon *daemon, enum loop_wish wish);
/* Wakes every loop: another thread has something for some of them. Any thread. */
void body_wake_loops(struct daemon *daemon);
/* What is wished of this loop. A loop that was told to close is woken no more. Loop thread. */
enum loop_wish body_loop_wish(struct daemon *daemon, struct loop *loop);
/* A drained loop has sent its last byte. */
void body_loop_empty(struct daemon *daemon, struct loop *loop);
bool body_loops_are_empty(struct daemon *daemon);

/* ---- snapshots: copies, taken under the lock and read without it ---- */

struct worker_snapshot {
	struct pc_worker_info info;
	enum pc_worker_status status; /* as the brain has it, for a living worker */
	uint32_t slots;
	uint32_t leases;
	uint64_t served;
	uint64_t reserved_bytes;
	uint64_t idle_ns; /* since its last lease or its readiness; 0 while it works */
	bool draining;
};

struct model_snapshot {
	const struct model *model;
	struct pc_sched_model_view view;
};

/* The oldest first. *ret_list is freed with pc_free. Errors: OUT_OF_MEMORY. */
int body_snapshot_workers(struct daemon *daemon, struct worker_snapshot **ret_list,
			  size_t *ret_count, struct pc_error *err);
/* One worker, also a departed one. Errors: WORKER_NOT_FOUND. */
int body_snapshot_worker(struct daemon *daemon, const char *worker_id,
			 struct worker_snapshot *ret_snapshot, struct pc_error *err);
/* In the catalog's order; they point into the generation, which the caller has. */
int body_snapshot_models(struct daemon *daemon, const struct generation *generation,
			 struct model_snapshot **ret_list, struct pc_error *err);
void body_snapshot_model(struct daemon *daemon, const struct model *model,
			 struct model_snapshot *ret_snapshot);
void body_counters(struct daemon *daemon, struct pc_sched_counters *ret_counters);
/* The log of a worker, living or departed, with a reference for the caller. WORKER_NOT_FOUND. */
int body_worker_log(struct daemon *daemon, const char *worker_id, struct logbook **ret_log,
		    struct pc_error *err);

#endif
