/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the in-process model pool: worker threads that own a loaded model each, and the right to
 * use one, at the price of a compare-and-swap.
 *
 * Models are registered as metadata and cost a few hundred bytes. Nothing is loaded before the
 * first request; then the brain (poolcore/sched.h) decides what is loaded, in how many copies, and
 * who goes when memory is short. Every byte is reserved before a worker starts.
 *
 * Most programs want the typed calls of poolcore/capability.h (embed, generate, describe, paint)
 * and only the first two sections here. Below them: leases, for whoever calls an engine himself,
 * and the generic calls that the typed ones are made of.
 *
 * Threads: everything here may be called from any thread at any time, except where a function says
 * otherwise. Nothing may be called after pc_pool_destroy has begun, nor inside a signal handler.
 *
 * NULL: a function that returns an error refuses it with INVALID_ARGUMENT where something must be
 * given; those that return nothing do nothing. What only tells about a pool or a model needs one.
 * `err` may always be NULL. One that holds an error may keep it (the first wins, poolcore/error.h):
 * clear it before it is used again.
 */
#ifndef POOLCORE_POOL_H
#define POOLCORE_POOL_H

#include <poolcore/clock.h>
#include <poolcore/engine.h>
#include <poolcore/error.h>
#include <poolcore/types.h>

PC_BEGIN_DECLS

struct pc_ledger;
struct pc_registry;
struct pc_pool;
struct pc_model; /* a registered model; valid as long as its pool */

/* ---- a pool ---- */

struct pc_pool_config {
	/* The four of the specification, each up to a year. 0: the default. */
	uint64_t request_timeout_secs;	    /* 30; from a request to its first moment on a worker */
	uint64_t shutdown_timeout_secs;	    /* 5; how long what runs and waits may go on */
	uint64_t maintenance_interval_secs; /* 60 */
	uint64_t cooldown_idle_minutes; /* 1; a model idle this long loses a worker per interval */

	/* Against thrashing: a worker younger than this is not unloaded for another model, unless a
	 * request for that has waited max_wait_ms. */
	uint64_t min_residency_ms; /* 5000 */
	uint64_t max_wait_ms;	   /* 10000 */

	/* Memory. */
	uint32_t budget_percent; /* of what the machine and every cgroup above us allow; 80 */
	/* Replaces the percentage; more than there is counts as all of it. 0: by percentage. */
	uint64_t budget_bytes;
	/*
	 * Pools that share a ledger never promise the same byte twice. It outlives them and has a
	 * device "cpu", whose budget is its owner's affair: the two above say nothing then. NULL:
	 * the pool makes one of its own, whose budget follows the machine's limits. A pool unloads
	 * idle workers for requests of its own only: capabilities that compete for memory are
	 * better served by one pool for all of them than by five on a ledger.
	 */
	struct pc_ledger *ledger;
	/* Remembers what models really took, so that the next estimate is a measurement. It
	 * outlives the pool. NULL: what was registered is the estimate, or more as soon as a worker
	 * has taken more. */
	struct pc_registry *registry;
	uint64_t reserve_bytes; /* memory of the machine that is kept free; 0: a twentieth */
	/* Called when memory gets tight and when it is enough again, on a thread of the pool's,
	 * which waits for it: free what you can, call nothing of this pool. May be NULL. */
	void (*on_pressure)(void *ctx, bool tight, const char *why);
	void *on_pressure_ctx;

	/* Models of other capabilities are refused; bit 1u << enum pc_capability. 0: all five. */
	uint32_t capabilities;
};

/* The defaults, filled in. */
PC_API void pc_pool_config_init(struct pc_pool_config *config);

/*
 * Creates a pool. `config` is copied; NULL: the defaults. Errors: INVALID_ARGUMENT (names the
 * member and its range), IO (the machine's memory cannot be read), SPAWN_FAILED (no thread),
 * OUT_OF_MEMORY.
 */
PC_API int pc_pool_create(const struct pc_pool_config *config, struct pc_pool **ret_pool,
			  struct pc_error *err);

/* How a shutdown went. */
struct pc_shutdown_report {
	/* Requests that were running or waiting when it began, and came to an end of their own: an
	 * answer, or an error that the shutdown has no part in. A lease counts as one. */
	uint64_t finished;
	uint64_t dropped;	/* ... and those that were rejected, stopped, or still run */
	uint64_t stuck_workers; /* that an engine or a lease still held at the end */
};

/*
 * From now on requests, models and loads are refused with SHUTTING_DOWN; what waits and runs goes
 * on. Does not wait; may be called by callbacks too. Again: does nothing.
 */
PC_API void pc_pool_begin_shutdown(struct pc_pool *pool);
PC_API bool pc_pool_is_shutting_down(const struct pc_pool *pool);
/*
 * begin_shutdown, then waits until everything has ended, at most shutdown_timeout_secs; then
 * rejects what waits, asks running calls and loads to stop, and waits until the engines have let
 * go, at most as long again. `ret_report` may be NULL. Not from inside a call or a callback of this
 * pool: it would wait for itself.
 */
PC_API void pc_pool_shutdown(struct pc_pool *pool, struct pc_shutdown_report *ret_report);
/*
 * Shuts down if that was not done, then frees everything, models and handles too. Requests in
 * flight are refused or ended first, and every `done` has been called when it returns. The
 * exception: what an engine or an unreturned lease holds beyond twice the shutdown's timeout is not
 * freed, with an error in the log, because it would be used later. Not from inside a call or a
 * callback of this pool, as above. NULL is allowed.
 */
PC_API void pc_pool_destroy(struct pc_pool *pool);

/* The configuration in force, defaults filled in. Lives as long as the pool. */
PC_API const struct pc_pool_config *pc_pool_get_config(const struct pc_pool *pool);

/* ---- models ---- */

#define PC_KEEP_FOREVER INT64_C(-1) /* for keep_idle_secs: never cools down */
#define PC_KEEP_NOT INT64_C(-2)	    /* ... goes as soon as its last lease is over */

/* Text that is put in front of each text of an embedding task ("query" -> "search_query: "). */
struct pc_task_prefix {
	const char *task;
	const char *prefix;
};

/* Zero it, fill in what is not optional. Strings and arrays are copied. */
struct pc_model_spec {
	const char *key; /* "org/name" or a short id; unique, UTF-8, 1..255 bytes */
	enum pc_capability capability;
	uint64_t est_memory_allocation_mb; /* one worker, MiB; required, memory is never guessed */

	/* Who loads it: a plug-in by name or path, opened when it is first needed, or a table in
	 * this program (which outlives the pool; a name, load, unload and describe are the least).
	 * Exactly one of them. */
	const char *engine_name;
	const struct pc_engine *engine;
	const char *model_path; /* handed to the engine; NULL: "" */

	/* All optional; 0 is the default. */
	uint32_t slots;		 /* concurrent requests of one worker, 1..32; 1 */
	uint32_t context_tokens; /* for the engine; per slot */
	uint32_t threads;	 /* for the engine; per slot */
	uint32_t min_workers;	 /* kept once loaded */
	/* 0: as many as the budget holds. All workers of a model together have up to 60 slots:
	 * beyond 60 / slots of them none is loaded, whatever is written here. */
	uint32_t max_workers;
	uint32_t cold_start_workers; /* loaded at the first request if nobody has to go for it; 2 */
	uint32_t queue_capacity;     /* requests that may wait; 1024 */
	uint64_t start_timeout_secs; /* spawn to ready; 120 */
	int64_t keep_idle_secs;	     /* 0: the pool's cooldown; or one of PC_KEEP_... */
	uint64_t recycle_requests;   /* a worker that served so many is replaced; 0: never */
	uint64_t recycle_mb; /* ... that has grown past this, at least the estimate; 0: never */
	bool pinned;	     /* never evicted, never cooled down */
	const char *device;  /* of the ledger; NULL: "cpu" */
	const struct pc_task_prefix *tasks;
	size_t task_count; /* up to 64 */
};

/*
 * Registers a model; loads nothing. `ret_model` may be NULL; the handle stays valid until the pool
 * is destroyed. Errors: INVALID_ARGUMENT (names the member), ALREADY_EXISTS, UNSUPPORTED (a
 * capability that this pool does not serve, an engine of another ABI), SHUTTING_DOWN,
 * OUT_OF_MEMORY. An engine that cannot be opened is found out by the first request.
 */
PC_API int pc_pool_add_model(struct pc_pool *pool, const struct pc_model_spec *spec,
			     struct pc_model **ret_model, struct pc_error *err);
/* The model of a key, or NULL. No lock, no allocation. */
PC_API struct pc_model *pc_pool_find_model(const struct pc_pool *pool, const char *key);
/* The same; MODEL_NOT_FOUND names the nearest key, INVALID_ARGUMENT says what is wrong with it. */
PC_API int pc_pool_get_model(const struct pc_pool *pool, const char *key,
			     struct pc_model **ret_model, struct pc_error *err);
PC_API const char *pc_model_key(const struct pc_model *model);
PC_API enum pc_capability pc_model_capability(const struct pc_model *model);
/* The prefix of one of its tasks; INVALID_ARGUMENT names those that it has. */
PC_API int pc_model_task_prefix(const struct pc_model *model, const char *task,
				const char **ret_prefix, struct pc_error *err);

/* ---- requests: what every kind of call may be told ---- */

/* A way to end calls from another thread. One may serve many calls, one after the other or at the
 * same time. */
struct pc_cancel;
PC_API int pc_cancel_create(struct pc_cancel **ret_cancel, struct pc_error *err);
/* Ends every call that carries it, now and later, with CANCELLED: waiting ones at once, running
 * ones when their engine next asks. Again: does nothing. Any thread, also from callbacks. */
PC_API void pc_cancel_fire(struct pc_cancel *cancel);
PC_API bool pc_cancel_is_fired(const struct pc_cancel *cancel);
/* No call may carry it any more: a call does until it returns, an asynchronous one until its `done`
 * is called, a stream until it was read to its end, or until its pool is gone. NULL is allowed. */
PC_API void pc_cancel_destroy(struct pc_cancel *cancel);

/* Zeroed: the pool's timeout, interactive, not cancellable. NULL wherever options are taken means
 * that. */
struct pc_request_options {
	/* From now to the end of the request, wait and run together. 0: request_timeout_secs for
	 * the wait, and the run takes as long as it takes. */
	uint64_t timeout_ms;
	enum pc_priority priority;
	/* Equal values prefer the same slot while it is free: a conversation's hash, so that what
	 * the engine keeps of its prefix is of use. 0: none. */
	uint64_t affinity;
	struct pc_cancel *cancel;
};

/* ---- leases: one slot of one worker is yours ---- */

struct pc_lease {
	struct pc_engine_instance *instance;
	const struct pc_engine *engine;
	uint32_t slot; /* for the engine's calls */
	uint32_t seat; /* the pool's */
	struct pc_model *model;
};

/*
 * Leases a slot, on the calling thread, which then calls the engine itself. A free one costs one
 * compare-and-swap; otherwise the caller sleeps until there is one (and a worker loads the model
 * first if need be). The options are about the wait: a lease that was got is held as long as its
 * holder likes, and neither their deadline nor their token ends it. It must be returned before the
 * pool is destroyed. Errors: TIMEOUT, CANCELLED, QUEUE_FULL, SHUTTING_DOWN, INSUFFICIENT_MEMORY,
 * MODEL_BACKOFF, NO_WORKERS, SPAWN_FAILED or what the engine's load said (each names the model and
 * the cause); what pc_engine_open says, INVALID_ARGUMENT, OUT_OF_MEMORY; UNSUPPORTED for an engine
 * that is bound to its own threads or does not serve the model's capability.
 */
PC_API int pc_lease_acquire(struct pc_model *model, const struct pc_request_options *options,
			    struct pc_lease *ret_lease, struct pc_error *err);
/* A free slot now, or false; loads nothing and waits for nothing. */
PC_API bool pc_lease_try_acquire(struct pc_model *model, struct pc_lease *ret_lease);
/* Ends it, once; one compare-and-swap unless somebody waits. From any thread. */
PC_API void pc_lease_release(struct pc_lease *lease);
/* Ends it, and says that the worker is broken: it is stopped and the model backs off. `cause` is
 * copied and becomes the reason of rejections; NULL: none is known. */
PC_API void pc_lease_release_broken(struct pc_lease *lease, const struct pc_error *cause);

/* ---- generic calls: run a function on a worker ---- */

/* What a running call knows about itself. */
struct pc_run {
	struct pc_lease lease;
	/* The pool's. */
	struct pc_cancel *cancel;
	uint64_t deadline_ns;
};

/* True when the call should end: cancelled, past its deadline, or the pool shuts down for good.
 * Cheap enough to be asked per token. */
PC_API bool pc_run_should_stop(const struct pc_run *run);
/* The error that a call that stopped for this reason ends with: CANCELLED, TIMEOUT or
 * SHUTTING_DOWN; returns its code. */
PC_API int pc_run_stop_error(const struct pc_run *run, struct pc_error *err);

/*
 * The work of a call. Returns 0 or an error, which it describes in `err` (never NULL, and clear
 * before); WORKER_FAILED means that the worker is broken. The thread it runs on is the caller's or
 * a worker's. It may use leases and calls of other models, not of its own: it might wait for
 * itself.
 */
typedef int (*pc_run_fn)(void *ctx, const struct pc_run *run, struct pc_error *err);

/*
 * Runs `run` on a worker of the model and returns what it returned; see docs/ARCHITECTURE.md for
 * the three ways in which that is done. The caller sleeps until it is over. Errors: those of
 * pc_lease_acquire, and those of `run`.
 */
PC_API int pc_pool_call(struct pc_model *model, const struct pc_request_options *options,
			pc_run_fn run, void *ctx, struct pc_error *err);

/*
 * The end of an asynchronous call: exactly once for each that was accepted. `err` is valid during
 * the call, code 0: it went well. On a worker's thread, or on whichever found out that it cannot be
 * served: any that is inside a function of the pool, so that it must not take a lock which the
 * program holds around those. It must not block, make a call that waits, or end the thread; it may
 * submit more, fire tokens, release leases. Refusals do not pile up on a stack, however often it
 * submits again.
 */
typedef void (*pc_done_fn)(void *ctx, const struct pc_error *err);

/*
 * The same without waiting: `run` is called on a thread of the worker's, then `done`. 0: accepted,
 * `done` will come; otherwise it will not: INVALID_ARGUMENT, OUT_OF_MEMORY, CANCELLED (its token
 * was fired before), or the engine cannot be opened or does not serve the capability. Every other
 * refusal comes through `done`, SHUTTING_DOWN too, possibly before this returns.
 */
PC_API int pc_pool_submit(struct pc_model *model, const struct pc_request_options *options,
			  pc_run_fn run, pc_done_fn done, void *ctx, struct pc_error *err);

/* ---- completions: asynchronous calls for programs with a loop of their own ---- */

/*
 * A queue of ended calls with a descriptor that polls readable while it holds any. A completion is
 * the program's memory, one for each call that is under way: set `queue` and `user`, pass it as the
 * call's context with pc_completion_post as its `done`, and keep it until _next returns it.
 * pc_pool_submit gives it to `run` as well, which finds what it needs through `user`.
 */
struct pc_completions;
struct pc_completion {
	struct pc_completion *next;   /* the queue's */
	struct pc_completions *queue; /* set by you: where it goes */
	void *user;		      /* yours */
	struct pc_error err;	      /* how it went */
};
PC_API int pc_completions_create(struct pc_completions **ret_queue, struct pc_error *err);
/* An eventfd, for poll, epoll, libuv, ...; the queue's own, never read or closed by others. */
PC_API int pc_completions_fd(const struct pc_completions *queue);
/* The next one, or NULL; what is left keeps the descriptor readable. One thread at a time. */
PC_API struct pc_completion *pc_completions_next(struct pc_completions *queue);
/* For pc_pool_submit's `done`, with a completion as its context: puts it into its queue. */
PC_API void pc_completion_post(void *completion, const struct pc_error *err);
/* Every call that posts to it must have ended. NULL is allowed. */
PC_API void pc_completions_destroy(struct pc_completions *queue);

/* ---- workers ---- */

struct pc_pool_worker {
	uint64_t worker_id;    /* never used again */
	const char *model_key; /* lives as long as the pool */
	enum pc_worker_status status;
	uint32_t slots;
	uint32_t pending_requests; /* running on it now */
	uint64_t served;	   /* requests that ended */
	uint64_t last_used_ns;	   /* of the monotonic clock, exact to a second; 0: never */
	uint64_t reserved_bytes;
	uint64_t measured_bytes; /* 0: not known yet */
};

/* Whether a worker of the model is loaded or on its way. NULL model: false. */
PC_API bool pc_pool_has_workers(const struct pc_model *model);
/* The id that the next worker will get, if nobody else asks first. */
PC_API uint64_t pc_pool_next_worker_id(struct pc_pool *pool);
/*
 * Hands over an instance that the program has loaded itself, with the model's engine and as many
 * slots as the model has, as a worker of the model: est_memory_allocation_mb is reserved for it,
 * and the pool unloads it when its time has come. After an error it is still the caller's. Errors:
 * INSUFFICIENT_MEMORY, INVALID_ARGUMENT, NO_WORKERS (max_workers is reached), SHUTTING_DOWN,
 * SPAWN_FAILED, OUT_OF_MEMORY; UNSUPPORTED for engines that are bound to their threads.
 */
PC_API int pc_pool_register_worker(struct pc_model *model, struct pc_engine_instance *instance,
				   uint64_t *ret_worker_id, struct pc_error *err);
/* Calls `visit` for each worker, by id, with a lock held: it must not call the pool. */
PC_API void pc_pool_each_worker(struct pc_pool *pool,
				void (*visit)(void *ctx, const struct pc_pool_worker *worker),
				void *ctx);
/*
 * Loads one worker as if a request had come, unless there is one. Does not wait for it: 0 when it
 * is on its way, also behind others that are unloaded first; whether it gets there, requests find
 * out. Errors: INSUFFICIENT_MEMORY (needed, free, holders), MODEL_BACKOFF, SHUTTING_DOWN, and what
 * is wrong with the engine.
 */
PC_API int pc_pool_load(struct pc_model *model, struct pc_error *err);
/*
 * Stops every worker of the model as soon as its leases are over; those that load are asked to give
 * up. Does not wait. New ones come with the next request, and at once for requests that wait.
 */
PC_API void pc_pool_unload(struct pc_model *model);

/* ---- memory ---- */

/* What the device "cpu" may hold, MiB (rounded down), and what of it is reserved (rounded up): by
 * workers and pc_pool_add_memory_mb, and by other pools on the same ledger. */
PC_API uint64_t pc_pool_budget_mb(const struct pc_pool *pool);
PC_API uint64_t pc_pool_total_memory_mb(const struct pc_pool *pool);
/*
 * Reserves memory on the device "cpu" for something else in the program, in one step with the
 * check, and gives it back; nothing is unloaded for it. What was not given back ends with the pool.
 * add: INSUFFICIENT_MEMORY (details needed_bytes, free_bytes, budget_bytes). remove:
 * INVALID_ARGUMENT when more is given back than was added.
 */
PC_API int pc_pool_add_memory_mb(struct pc_pool *pool, uint64_t megabytes, struct pc_error *err);
PC_API int pc_pool_remove_memory_mb(struct pc_pool *pool, uint64_t megabytes, struct pc_error *err);

/* ---- what is going on ---- */

enum pc_verdict {
	PC_VERDICT_GRANTED, /* a slot is free */
	PC_VERDICT_QUEUED,  /* behind `ahead` others, for a worker that is there or on its way */
	PC_VERDICT_LOADED,  /* a worker is started; `evicted` idle ones of others go for it */
	PC_VERDICT_WAITS,   /* for memory that others hold now */
	PC_VERDICT_REFUSED, /* `err` says why */
};

struct pc_explanation {
	enum pc_verdict verdict;
	uint32_t ahead;	     /* requests that go before it */
	uint32_t evicted;    /* workers that would be stopped */
	struct pc_error err; /* for REFUSED: what the request would get; otherwise code 0 */
	char text[PC_ERROR_MESSAGE_MAX]; /* all of it in a sentence, with the names of who goes */
};

/* What would happen to an interactive request that came now. Loads nothing and queues nothing;
 * opens the model's engine if that was not done. Without a model: REFUSED. */
PC_API void pc_pool_explain(struct pc_model *model, struct pc_explanation *ret_explanation);

#define PC_HISTOGRAM_BUCKETS 40

/* Counts by powers of two of microseconds: bucket 0 is under 1 us, bucket n from 2^(n-1) to under
 * 2^n us. */
struct pc_histogram {
	uint64_t count;
	uint64_t sum_us;
	uint64_t max_us;
	uint64_t buckets[PC_HISTOGRAM_BUCKETS];
};
/* The upper end, in us, of the bucket in which the given share (0..1, 0.99 for p99) is reached; 0
 * when empty. */
PC_API uint64_t pc_histogram_quantile_us(const struct pc_histogram *histogram, double share);

/* Since the pool was made, unless it says "now". */
struct pc_pool_metrics {
	uint64_t total_requests; /* that ended, in whatever way; returned leases too */
	uint64_t total_timeouts;
	uint64_t total_errors; /* of engines, loads and refusals; not timeouts, not cancels */
	uint64_t total_cancelled;
	uint64_t workers_spawned;
	uint64_t workers_evicted;
	uint64_t workers_failed;
	uint64_t workers_recycled;
	uint32_t workers;		/* now; that serve or load */
	uint32_t waiting;		/* now; requests without a slot */
	struct pc_histogram queue_wait; /* of requests that had to wait, until they got a slot */
	struct pc_histogram load_time;
	struct pc_histogram run_time; /* a sample: of calls that waited, and of one in 64 others */
};

PC_API void pc_pool_get_metrics(struct pc_pool *pool, struct pc_pool_metrics *ret_metrics);

/* ---- the specification's names of errors ---- */

/* PoolError's eight kinds, and the code of poolcore/error.h that is meant. */
/* clang-format off */
#define PC_POOL_ERROR_LIST(X) \
	X(NO_WORKERS,       NO_WORKERS,          "NoWorkers") \
	X(TIMEOUT,          TIMEOUT,             "Timeout") \
	X(SEND_ERROR,       SEND_FAILED,         "SendError") \
	X(RECV_ERROR,       RECV_FAILED,         "RecvError") \
	X(MODEL_ERROR,      MODEL_ERROR,         "ModelError") \
	X(SHUTTING_DOWN,    SHUTTING_DOWN,       "ShuttingDown") \
	X(MEMORY_EXHAUSTED, INSUFFICIENT_MEMORY, "MemoryExhausted") \
	X(SPAWN_FAILED,     SPAWN_FAILED,        "SpawnFailed")
/* clang-format on */

/*
 * "Timeout" for PC_E_TIMEOUT. Codes that are details of one of the eight have its name:
 * CONTEXT_EXCEEDED is a ModelError, MODEL_BACKOFF a SpawnFailed, and WORKER_FAILED (the worker
 * broke, or its thread ended, so that no answer will come) a RecvError. A SendError is left to
 * other bodies: here nothing is sent that could be lost on its way. QUEUE_FULL, CANCELLED and
 * INVALID_ARGUMENT are "QueueFull", "Cancelled" and "InvalidArgument"; all others keep the name of
 * poolcore/error.h.
 */
PC_API const char *pc_pool_error_kind(int code);

PC_END_DECLS

#endif
