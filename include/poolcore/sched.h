/* SPDX-License-Identifier: MIT */
/*
 * sched.h - the brain: decides which models are loaded, on which device, in how many copies, and
 * which request gets the next free slot.
 *
 * It is a deterministic state machine. It has no thread, no clock, no lock, no I/O and no log: a
 * body tells it events with the time in them, and it answers by calling the actions of the driver
 * table. The same events in the same order give the same actions. Three bodies exist: the
 * in-process pool (workers are threads), pool-managerd (workers are processes) and the simulator of
 * the tests.
 *
 * Threads: none of its functions may run at the same time as another on the same scheduler; a body
 * with threads holds a lock around it. Actions are called from inside an event function and must
 * only note down what is to be done: calling an event function from an action is asserted against.
 *
 * Life of a ticket:   submit -> waiting -> granted -> release           (one lease)
 *                                       -> rejected                     (the reject action)
 *                                       -> cancel                       (no action)
 * Every ticket ends in exactly one of release, reject, cancel (invariant I2), and the brain
 * never looks at it again.
 *
 * Life of a worker:   spawn -> spawning -> ready -> stopping -> gone
 *                              failed (worker_failed) -> stopping -> gone
 * Its reservation is taken before the spawn action and given back when it is gone, never earlier
 * (rule 4).
 *
 * Every event function returns the absolute time at which the brain wants its next pc_sched_tick,
 * or PC_TIME_NEVER. A tick that comes early or late does no harm.
 */
#ifndef POOLCORE_SCHED_H
#define POOLCORE_SCHED_H

#include <poolcore/clock.h>
#include <poolcore/error.h>
#include <poolcore/types.h>

PC_BEGIN_DECLS

struct pc_ledger;
struct pc_sched;
struct pc_sched_model; /* the brain's record of a registered model; a stable handle */
struct pc_sched_worker;

/* ---- what the body provides ---- */

/* Why a worker is stopped, and how a log says it. */
/* clang-format off */
#define PC_STOP_REASON_LIST(X) \
	X(IDLE,      "idle")                 /* cooldown: nobody has asked for it */ \
	X(EVICTED,   "evicted to make room") /* another model needs the room */ \
	X(REQUESTED, "requested")            /* an operator asked */ \
	X(FAILED,    "failed")               /* it reported a failure */ \
	X(OVERDUE,   "not ready in time")    /* it took longer than its start timeout */ \
	X(PRESSURE,  "memory pressure")      /* the machine runs out of memory */ \
	X(RECYCLED,  "recycled")             /* it has served, or grown, as much as one shall */ \
	X(SHUTDOWN,  "shutdown") \
	X(REPLACED,  "replaced: its model's settings changed") \
	X(RETIRED,   "its model was removed")
/* clang-format on */

enum pc_stop_reason {
#define X(name, text) PC_STOP_##name,
	PC_STOP_REASON_LIST(X)
#undef X
};
PC_API const char *pc_stop_reason_text(enum pc_stop_reason why);

struct pc_spawn_order {
	uint64_t worker_id; /* never used before (invariant I8); counts from 1 */
	struct pc_sched_model *model;
	void *model_owner; /* what the model was registered with */
	const char *model_key;
	unsigned device; /* of the ledger */
	uint64_t reserved_bytes;
	uint32_t slots;
	uint64_t deadline_ns; /* when the brain gives it up (PC_STOP_OVERDUE); worker_launched sets
				 another one */
};

struct pc_ticket;

/* What the body knows of a worker whose slots it hands out itself. */
struct pc_worker_use {
	uint32_t leases;       /* held now */
	uint64_t served;       /* leases that ended with an answer */
	uint64_t last_used_ns; /* 0: never; may lag behind by as much as the body likes */
};

struct pc_sched_driver {
	/* Start a worker; answer with worker_launched if its model has a prepare_timeout_ns, then
	 * with worker_ready; or worker_failed and worker_gone. */
	void (*spawn)(void *ctx, const struct pc_spawn_order *order);
	/*
	 * Stop a worker; answer with worker_gone once it and its memory are gone. Without force
	 * no lease is held any more. With force leases may still be held: end it anyway. Sent at
	 * most twice per worker, the second time with force, to insist.
	 */
	void (*stop)(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force);
	/* The ticket is now a lease of one slot of this worker, until pc_sched_release. */
	void (*grant)(void *ctx, struct pc_ticket *ticket, uint64_t worker_id);
	/* The ticket is over. `err` is valid during the call. */
	void (*reject)(void *ctx, struct pc_ticket *ticket, const struct pc_error *err);

	/*
	 * Only for models with self_service (see there); otherwise they may be NULL. The ids are
	 * those of workers that are ready, and that of the one which worker_failed is about.
	 *
	 * look: how the worker is used. With `wanted`, and if it is leased: say worker_changed as
	 * soon as it is not. A later look without `wanted` does not take that back.
	 * recall: take the worker's slots back, so that nobody gets one any more; false, and
	 * nothing has changed, while one of them is leased (then as with `wanted` above).
	 * resume: the recalled worker is not stopped after all; hand its slots out again.
	 */
	void (*look)(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use);
	bool (*recall)(void *ctx, uint64_t worker_id);
	void (*resume)(void *ctx, uint64_t worker_id);
};

struct pc_sched_settings {
	uint64_t request_timeout_ns;	  /* for tickets without a deadline of their own; 30 s */
	uint64_t maintenance_interval_ns; /* 60 s */
	uint64_t cooldown_idle_ns;	  /* 60 s; models may override it */
	uint64_t min_residency_ns;	  /* a worker younger than this is not evicted; 5 s */
	uint64_t max_wait_ns;		  /* ...unless somebody has waited this long; 10 s */
	uint64_t batch_ageing_ns;	  /* a batch ticket this old counts as interactive; 60 s */
	uint64_t backoff_min_ns;	  /* 1 s, doubling */
	uint64_t backoff_max_ns;	  /* 60 s */
	uint32_t breaker_failures;	  /* failures in a row that open the breaker; 5 */
	uint64_t seed;			  /* of the back-off's jitter */
};
/* The defaults above. */
PC_API void pc_sched_settings_init(struct pc_sched_settings *settings);

/*
 * Creates a brain on a ledger that outlives it (more than one brain may share a ledger). `driver`
 * and `settings` are copied. Errors: OUT_OF_MEMORY, INVALID_ARGUMENT.
 */
PC_API int pc_sched_create(const struct pc_sched_settings *settings,
			   const struct pc_sched_driver *driver, void *driver_ctx,
			   struct pc_ledger *ledger, struct pc_sched **ret_sched,
			   struct pc_error *err);
/* Every ticket must be over. Workers that are not gone give their reservations back. NULL is
 * allowed. */
PC_API void pc_sched_destroy(struct pc_sched *sched);

/* ---- models ---- */

/* For idle_ttl_ns: what the settings say (cooldown_idle_ns). */
#define PC_IDLE_TTL_DEFAULT (PC_TIME_NEVER - 1)

struct pc_sched_model_spec {
	const char *key;       /* copied; unique, UTF-8, 1..255 bytes */
	void *owner;	       /* the body's own record, handed back in spawn orders and views */
	uint32_t device_mask;  /* ledger devices a worker may live on, bit per index; the emptiest
				  that fits is chosen */
	uint64_t memory_bytes; /* one worker's need; never 0, memory is not guessed */
	uint32_t slots;	       /* 1..64 concurrent requests per worker */
	uint32_t min_workers;  /* kept once loaded; nothing is loaded before the first request */
	uint32_t max_workers;  /* 0: as many as the budget holds */
	uint32_t cold_start_workers; /* at least 1 */
	uint32_t queue_capacity;     /* tickets that may wait, at least 1 */
	uint64_t idle_ttl_ns;	     /* how long a worker may idle; PC_TIME_NEVER: for ever; 0: it
					goes after its last lease; PC_IDLE_TTL_DEFAULT */
	uint64_t start_timeout_ns;   /* launch to ready */
	uint64_t prepare_timeout_ns; /* spawn to launch, for a body that has to prepare a worker and
					says worker_launched; 0: a spawn is a launch */
	uint64_t recycle_requests;   /* a worker goes after so many leases; 0: never */
	uint64_t recycle_bytes;	     /* ... when it has grown past this (see worker_changed), at
					least memory_bytes; 0: never */
	bool pinned;		     /* never evicted, never cooled down */
	/*
	 * The body hands out the slots of ready workers itself, faster than it could ask. Then a
	 * ticket is submitted only when no slot is free, waits in the brain's queue in the brain's
	 * order, and ends by pc_sched_served instead of a grant; leases are the body's affair, and
	 * the brain asks for them with look, recall and resume. A stop without force may come while
	 * leases are held: the worker goes when they are over. Such a model has at most
	 * PC_SELF_SERVICE_WORKERS_MAX workers, because some questions need a look at each.
	 */
	bool self_service;
};

/* What one machine word of slots can hold, if each worker has one. */
enum { PC_SELF_SERVICE_WORKERS_MAX = 64 };

/*
 * Registers a model; costs a few hundred bytes and loads nothing. Errors: INVALID_ARGUMENT (names
 * the field), ALREADY_EXISTS, OUT_OF_MEMORY. INSUFFICIENT_MEMORY is not among them: budgets change,
 * requests find out.
 */
PC_API int pc_sched_add_model(struct pc_sched *sched, const struct pc_sched_model_spec *spec,
			      struct pc_sched_model **ret_model, struct pc_error *err);
/*
 * What the next worker of the model will need, instead of what was registered: a measurement of
 * an earlier one. Workers that are there keep their reservations; 0 changes nothing.
 */
PC_API void pc_sched_set_estimate(struct pc_sched_model *model, uint64_t memory_bytes);
/*
 * Whether add_model, or update_model where the key is registered, would take this spec: 0, or the
 * INVALID_ARGUMENT that they would give. Changes nothing.
 */
PC_API int pc_sched_check_model(const struct pc_sched *sched,
				const struct pc_sched_model_spec *spec, struct pc_error *err);
/*
 * An event: a registered model has another spec from now on. The key and self_service must be the
 * same; `owner` may be another. Requests that wait stay in the queue, though it may be longer than
 * its new capacity. With `relaunch` the new spec would launch its workers differently: those that
 * are there are replaced, which means that they are granted nothing more and stop when their
 * leases are over (PC_STOP_REPLACED), that failures of earlier launches are forgotten, and that
 * memory_bytes counts instead of what was measured. Without it only those go that have another
 * number of slots or a device that is not allowed any more. Brings a retired model back into
 * service. Never allocates. Errors: INVALID_ARGUMENT, after which nothing has changed.
 */
PC_API int pc_sched_update_model(struct pc_sched *sched, uint64_t now_ns,
				 struct pc_sched_model *model,
				 const struct pc_sched_model_spec *spec, bool relaunch,
				 struct pc_error *err);
/* Only the owner is another: what later spawn orders and views hand back. */
PC_API void pc_sched_set_owner(struct pc_sched_model *model, void *owner);
/*
 * An event: the model is out of service. New requests are rejected with MODEL_NOT_FOUND; those that
 * wait or run are finished, and its workers go when nobody waits any more (PC_STOP_RETIRED),
 * whatever min_workers and pinned say. Its record stays until the brain ends; update_model brings
 * it back. While requests wait a worker may still be spawned for them, with the owner it has.
 */
PC_API uint64_t pc_sched_retire_model(struct pc_sched *sched, uint64_t now_ns,
				      struct pc_sched_model *model);
/* The model of a key, or NULL; also when the key is NULL. Retired ones too. */
PC_API struct pc_sched_model *pc_sched_find_model(const struct pc_sched *sched, const char *key);

/* ---- events ---- */

/* A place in one of the brain's ordered sets. It is here because tickets carry two of them, the
 * second for those whose deadline is later than the request timeout. */
struct pc_link {
	struct pc_link *up, *left, *right;
	uint64_t key, tie;
	uint32_t weight; /* 0: in no set */
	bool stale;	 /* sums of what hangs below it are to be made */
};

/*
 * A request. The caller owns the memory, usually inside its own request structure, and keeps it in
 * place until the ticket is over; the brain allocates nothing for it. Zero it, fill the first part,
 * submit it. It may be submitted again after it is over.
 */
struct pc_ticket {
	struct pc_sched_model *model;
	enum pc_priority priority;
	uint64_t deadline_ns; /* absolute; 0: now + request_timeout_ns */
	uint64_t
		affinity; /* equal values prefer the same worker (a conversation's hash); 0: none */

	/* The brain's, from here on. */
	struct {
		struct pc_link queue_place;
		struct pc_link deadline_place;
		uint64_t submitted_ns;
		uint64_t deadline_ns; /* never 0 */
		uint64_t granted_ns;
		struct pc_sched_worker *worker;
		uint32_t state;
	} brain;
};

enum pc_outcome {
	PC_OUTCOME_OK,	      /* the worker answered (a model's own 4xx counts as an answer) */
	PC_OUTCOME_CANCELLED, /* the client left */
	PC_OUTCOME_ERROR,     /* the worker answered with a failure of its own */
	PC_OUTCOME_LOST,      /* the worker died or broke off */
};

/* Queues a ticket or grants or rejects it at once; the action is called before this returns. */
PC_API uint64_t pc_sched_submit(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket);
/* Takes back a waiting ticket. Not for a granted one: release that with PC_OUTCOME_CANCELLED. */
PC_API uint64_t pc_sched_cancel(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket);
/* Self-service: the body has given a slot to a waiting ticket, which is over with that. */
PC_API uint64_t pc_sched_served(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket);
/* The ticket whose turn it is, or NULL when none waits; it stays where it is. */
PC_API struct pc_ticket *pc_sched_first_waiting(const struct pc_sched_model *model);
/* Ends a lease. Also for leases of a worker that has failed or gone meanwhile. */
PC_API uint64_t pc_sched_release(struct pc_sched *sched, uint64_t now_ns, struct pc_ticket *ticket,
				 enum pc_outcome outcome);

/* Events of workers with an id the brain does not know (late, repeated) are ignored. */

/*
 * It is prepared, and begins to load: its start timeout runs from now on. For models with a
 * prepare_timeout_ns; of others, of adopted workers and the second time it changes nothing.
 */
PC_API uint64_t pc_sched_worker_launched(struct pc_sched *sched, uint64_t now_ns,
					 uint64_t worker_id);
/*
 * `measured_bytes`: what it really takes, trued up into its reservation; 0 when unknown. More than
 * the device has counts as all of it.
 */
PC_API uint64_t pc_sched_worker_ready(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				      uint64_t measured_bytes);
/*
 * It failed to load, or broke. The brain grants it nothing more and calls stop; `cause` is copied
 * and becomes the reason of the rejections that follow from it.
 */
PC_API uint64_t pc_sched_worker_failed(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				       const struct pc_error *cause);
/*
 * The worker and its memory are gone: the reservation goes back. Without a stop before it this is a
 * failure too, and `cause` (may be NULL) says of what kind. Leases on it stay the callers' to
 * release.
 */
PC_API uint64_t pc_sched_worker_gone(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				     const struct pc_error *cause);
/*
 * The body has done all it can to end a stopping worker, and it is there yet. Its memory stays
 * reserved until worker_gone, but nobody waits for that any more: room is made elsewhere.
 */
PC_API uint64_t pc_sched_worker_stuck(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id);
/*
 * Something about a ready worker is new. `measured_bytes`: what it takes by now, 0 when unknown; a
 * reservation that is smaller grows to it, while the next worker is still expected to begin small
 * (else say set_estimate). Self-service: it has answered for the first time, or is idle and was
 * wanted, or is idle though its model may not (idle_ttl_ns 0), or may be due for recycling.
 */
PC_API uint64_t pc_sched_worker_changed(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
					uint64_t measured_bytes);
/*
 * Memory of a device is tight, whatever the budget says (rule 11): one idle worker goes at each
 * call, the least recently used first, and nothing grows until a call says that it is not.
 */
PC_API uint64_t pc_sched_pressure(struct pc_sched *sched, uint64_t now_ns, unsigned device,
				  bool tight);
/* A device's budget changed (the ledger is updated by this call). */
PC_API uint64_t pc_sched_limit_changed(struct pc_sched *sched, uint64_t now_ns, unsigned device,
				       uint64_t budget_bytes);
/* Time has passed: deadlines, maintenance. */
PC_API uint64_t pc_sched_tick(struct pc_sched *sched, uint64_t now_ns);
/*
 * Shutdown: from now on submit rejects with SHUTTING_DOWN; what is queued and running goes on until
 * `deadline_ns`, then the rest is rejected. Workers without leases are stopped as soon as no ticket
 * waits for their model. At the deadline every worker gets stop with force.
 */
PC_API uint64_t pc_sched_drain(struct pc_sched *sched, uint64_t now_ns, uint64_t deadline_ns);

/* ---- operator ---- */

/*
 * Asks for one worker as if a request had come, unless one is there or on its way. Errors:
 * INSUFFICIENT_MEMORY (with needed_bytes, free_bytes, holders), MODEL_BACKOFF, MODEL_NOT_FOUND (it
 * is retired), SHUTTING_DOWN, INVALID_ARGUMENT.
 * `ret_worker_id`: the new or the existing worker; 0 when idle workers of other models were
 * stopped for it and it follows as soon as they are gone.
 */
PC_API int pc_sched_load(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
			 uint64_t *ret_worker_id, struct pc_error *err);
/*
 * The same on one of these devices, of those that the model may live on. While room is made for it,
 * a request that comes takes any of them, and then there may be no worker where it was wanted.
 * Further errors: ALREADY_EXISTS when the model has workers, all on other devices; CONFLICT when
 * requests wait for its first one; INVALID_ARGUMENT when it may live on none of them.
 */
PC_API int pc_sched_load_on(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
			    uint32_t device_mask, uint64_t *ret_worker_id, struct pc_error *err);
/*
 * Takes in a worker that the body has already, on a device that the model may live on. The memory
 * is reserved here. `loaded`: it may be granted at once; else worker_ready or worker_failed follows
 * as after a spawn, within the model's start timeout. A self-service one is never `loaded`:
 * worker_ready says when the body hands its slots out.
 * Nobody is spawned or stopped for what follows from it before the next event, which next_deadline
 * wants at once: so a body that finds several workers has all of them on the books first.
 * Errors: INSUFFICIENT_MEMORY, NO_WORKERS (max_workers is reached), MODEL_NOT_FOUND, SHUTTING_DOWN,
 * INVALID_ARGUMENT, OUT_OF_MEMORY; nothing has changed after one.
 */
PC_API int pc_sched_adopt(struct pc_sched *sched, uint64_t now_ns, struct pc_sched_model *model,
			  unsigned device, uint64_t memory_bytes, bool loaded,
			  uint64_t *ret_worker_id, struct pc_error *err);
/*
 * The same for a worker that is not to go on: it is stopping from the first, and what it takes is
 * on the books until worker_gone, whatever the budget says, for it is taken. The model need not
 * be in service, nor have room for one more worker, nor be allowed on the device; memory_bytes may
 * be 0. The body ends it of its own accord, for the reason `why`; a stop is ordered only to use
 * force. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY; nothing has changed after one.
 */
PC_API int pc_sched_adopt_leaving(struct pc_sched *sched, uint64_t now_ns,
				  struct pc_sched_model *model, unsigned device,
				  uint64_t memory_bytes, enum pc_stop_reason why,
				  uint64_t *ret_worker_id, struct pc_error *err);
/*
 * Stops a worker: no new grants; it goes when its leases are over, or at once with `force`. Errors:
 * WORKER_NOT_FOUND.
 */
PC_API int pc_sched_stop_worker(struct pc_sched *sched, uint64_t now_ns, uint64_t worker_id,
				bool force, struct pc_error *err);
/*
 * Changes these two of the settings; an interval that has begun ends no later than a new one would.
 * The others say in which order requests wait and stay as they were. Errors: INVALID_ARGUMENT.
 */
PC_API int pc_sched_set_maintenance(struct pc_sched *sched, uint64_t now_ns,
				    uint64_t maintenance_interval_ns, uint64_t cooldown_idle_ns,
				    struct pc_error *err);
/* When the brain wants its next tick, for callers of the functions above. */
PC_API uint64_t pc_sched_next_deadline(const struct pc_sched *sched);

/* ---- views ---- */

struct pc_sched_worker_view {
	uint64_t worker_id;
	struct pc_sched_model *model;
	void *model_owner;
	const char *model_key;
	enum pc_worker_status status;
	bool draining; /* stopping was asked, leases are still held */
	unsigned device;
	uint64_t reserved_bytes;
	uint32_t slots;
	uint32_t leases;
	uint64_t served; /* leases that ended */
	uint64_t spawned_ns;
	uint64_t ready_ns;     /* 0 before */
	uint64_t last_used_ns; /* 0 before the first lease */
};

struct pc_sched_model_view {
	const char *key;
	void *owner;
	uint64_t memory_bytes;
	uint32_t workers; /* not counting stopping ones */
	uint32_t spawning;
	uint32_t stopping;
	uint32_t leases;
	uint32_t waiting;
	uint64_t backoff_until_ns; /* 0: none */
	uint32_t failures_in_row;
	bool retired;
};

struct pc_sched_counters {
	uint64_t submitted;
	uint64_t granted;
	uint64_t rejected;
	uint64_t cancelled;
	uint64_t timeouts;   /* part of rejected */
	uint64_t queue_full; /* part of rejected */
	uint64_t cold_starts;
	uint64_t spawned;
	uint64_t evicted;
	uint64_t recycled;
	uint64_t failed_workers;
};

/* Calls `visit` for each; it must not call event functions. Order: by
 * worker id; by registration. */
PC_API void pc_sched_each_worker(const struct pc_sched *sched,
				 void (*visit)(void *ctx, const struct pc_sched_worker_view *view),
				 void *ctx);
PC_API void pc_sched_each_model(const struct pc_sched *sched,
				void (*visit)(void *ctx, const struct pc_sched_model_view *view),
				void *ctx);
PC_API bool pc_sched_get_worker(const struct pc_sched *sched, uint64_t worker_id,
				struct pc_sched_worker_view *ret_view);
PC_API void pc_sched_get_model(const struct pc_sched_model *model,
			       struct pc_sched_model_view *ret_view);
PC_API void pc_sched_get_counters(const struct pc_sched *sched,
				  struct pc_sched_counters *ret_counters);
/* The id that the next worker will have. */
PC_API uint64_t pc_sched_next_worker_id(const struct pc_sched *sched);

/* What would become of a request. */
enum pc_forecast_kind {
	PC_FORECAST_GRANTED, /* a slot is free (not told for self-service: the body knows) */
	PC_FORECAST_QUEUED,  /* it waits for a worker that is there, or on its way */
	PC_FORECAST_LOADED,  /* a worker is spawned for it, at once or when `evicted` have gone */
	PC_FORECAST_WAITS,   /* for memory that is in use, or for the end of a back-off */
	PC_FORECAST_REFUSED,
};

struct pc_sched_forecast {
	enum pc_forecast_kind kind;
	uint32_t ahead;			 /* waiting tickets that would go before it */
	uint32_t evicted;		 /* idle workers that would be stopped for it */
	struct pc_error err;		 /* REFUSED: the rejection */
	char text[PC_ERROR_MESSAGE_MAX]; /* a sentence: what happens, and who goes or stands in
					    the way */
};

/*
 * What submit would do now with a ticket like this one, which is not touched. Changes nothing;
 * where others would have to go the body is asked how they are used (look, with `wanted`).
 */
PC_API void pc_sched_explain(struct pc_sched *sched, uint64_t now_ns,
			     const struct pc_ticket *ticket,
			     struct pc_sched_forecast *ret_forecast);

/* True when drain was called and no ticket is left, and no worker that could be ended. */
PC_API bool pc_sched_is_drained(const struct pc_sched *sched);

PC_END_DECLS

#endif
