/* SPDX-License-Identifier: MIT */
/*
 * worker.h - one model in one engine, and the threads that run it.
 *
 * The loop's thread submits jobs; a thread per slot runs them; what they have to say comes back to
 * the loop, where every handler is called. A job's memory is the submitter's: it is lent to the
 * worker from worker_submit until on_done.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <poolcore/engine.h>

#include <stdatomic.h>
#include <uv.h>

#include "buffer.h"

/* Jobs that may wait for a slot; the daemon never sends more than there are slots. */
#define WORKER_QUEUE_MAX 64
/* What a job may have said that the loop has not passed on, before its thread waits. */
#define WORKER_PENDING_MAX_BYTES (64u << 10)

struct worker;

enum worker_state { WORKER_LOADING, WORKER_READY, WORKER_FAILED, WORKER_STOPPING };

enum job_stage { JOB_IDLE, JOB_QUEUED, JOB_RUNNING, JOB_ENDED };

struct job {
	/* What to run: text, or inputs to embed. [const from submit to on_done] */
	const struct pc_text_request *text;
	const char *const *inputs;
	size_t input_count;
	bool streaming; /* on_text as it comes; otherwise `answer` holds it all in the end */
	void (*on_text)(struct job *job, const char *text, size_t length);
	/* The last word: the job is the submitter's again. */
	void (*on_done)(struct job *job);

	/* How it went, for on_done. */
	struct pc_error err; /* code 0: well */
	struct pc_text_result result;
	struct buffer answer;
	float *vectors; /* input_count rows; job_fini frees them */
	uint32_t tokens;

	/* The worker's own. */
	struct worker *worker;
	enum job_stage stage;	/* [lock] */
	struct job *next;	/* [lock] of the queue */
	struct job *next_mail;	/* [lock] of the mailbox */
	bool in_mail;		/* [lock] */
	struct buffer pending;	/* [lock] said and not yet taken by the loop */
	bool paused;		/* [lock] the loop does not take text now */
	bool starved;		/* [the slot's thread] no memory for the answer */
	uv_cond_t room;		/* [lock] pending has shrunk, or the job is cancelled */
	atomic_int cancel_code; /* 0, or the error that ends the job; [set by the loop, read by
				   the slot's thread at each token, relaxed: it carries nothing] */
};

struct worker_options {
	const char *engine;
	const char *model_path;
	enum pc_capability capability;
	uint32_t slots;
	uint32_t context_tokens;
	uint32_t threads;
};

/* All are called on the loop. */
struct worker_handlers {
	void (*on_ready)(void *ctx);
	/* Loading failed; on_stopped follows. */
	void (*on_failed)(void *ctx, const struct pc_error *err);
	/* Every thread has ended and the model is unloaded. */
	void (*on_stopped)(void *ctx);
};

struct worker_figures {
	enum worker_state state;
	float progress; /* 0..1 while loading */
	uint32_t slots;
	uint32_t busy;
	uint32_t queued;
	uint64_t completed; /* runs that ended well */
	uint64_t cancelled;
	uint64_t failed;
	uint64_t load_ms;
	uint64_t memory_bytes;	      /* what the model costs: see memory_of() */
	uint64_t engine_memory_bytes; /* the engine's own figure */
	struct pc_engine_description model;
};

/* Opens the engine and loads the model on a thread of its own. The options' strings must outlive
 * the worker. Errors: OUT_OF_MEMORY, INTERNAL (no thread). */
int worker_start(uv_loop_t *loop, const struct worker_options *options,
		 const struct worker_handlers *handlers, void *ctx, struct worker **ret_worker,
		 struct pc_error *err);
/* Errors: NO_WORKERS while loading, QUEUE_FULL, SHUTTING_DOWN, OUT_OF_MEMORY. */
int worker_submit(struct worker *worker, struct job *job, struct pc_error *err);
/* Ends a job with an error of that code at the engine's next token, or in the middle of a text that
 * it embeds; on_done still comes. Does nothing to a job that has ended. */
void worker_cancel(struct worker *worker, struct job *job, int code);
void worker_cancel_all(struct worker *worker, int code);
/* Backpressure: no on_text until resumed. The job's thread waits once enough is pending. */
void worker_pause(struct worker *worker, struct job *job);
void worker_resume(struct worker *worker, struct job *job);
void worker_figures(struct worker *worker, struct worker_figures *figures);

/* Cancels what runs and what loads, and ends the threads; on_stopped follows. */
void worker_stop(struct worker *worker);
/* After on_stopped, when the loop has run out. NULL is allowed. */
void worker_destroy(struct worker *worker);

/* Frees what a job holds after on_done. */
void job_fini(struct job *job);

#endif
