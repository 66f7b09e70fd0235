/* SPDX-License-Identifier: MIT */
/*
 * clerk.h - one thread for what may block on the disk: registry writes and the files of workers.
 * Jobs run in the order in which they were given, so that a worker's record is never written
 * backwards in time.
 */
#ifndef DAEMON_CLERK_H
#define DAEMON_CLERK_H

#include <poolcore/error.h>
#include <poolcore/registry.h>

#include <uv.h>

struct clerk;

enum clerk_task {
	CLERK_PREPARE, /* register the worker, make its claim */
	CLERK_UPDATE,  /* write the worker's record */
	CLERK_END,     /* note its last_exit and delete its record, then remove its files */
};

struct clerk_job {
	enum clerk_task task;
	struct pc_worker_info worker;
	/* On the loop's thread, once the job is done; NULL: a failure is logged. Frees nothing. */
	void (*done)(struct clerk_job *job);
	void *ctx;

	int result;
	struct pc_error error;
	struct clerk_job *next;
};

/* The completions are delivered on `loop`; `life_dir` (stub.h) and `cgroup` (pool.cgroup) are not
 * copied. Errors: OUT_OF_MEMORY. */
int clerk_create(uv_loop_t *loop, struct pc_registry *registry, const char *life_dir,
		 const char *cgroup, struct clerk **ret_clerk, struct pc_error *err);
/* Takes a job from pc_calloc; it is freed after `done`. Loop thread. */
void clerk_give(struct clerk *clerk, struct clerk_job *job);
/*
 * What CLERK_END does, for a caller that may block itself: notes how the worker ended (its
 * last_exit) and deletes its record in one transaction, then removes its files and its control
 * group. Without the record, nobody would look for the files; so they go last. Errors: those of
 * pc_registry_end, pc_stub_forget.
 */
int clerk_forget(struct pc_registry *registry, const char *life_dir, const char *cgroup,
		 const struct pc_worker_info *worker, struct pc_error *err);
/* Finishes every job that was given, delivers nothing any more, and ends the thread. */
void clerk_destroy(struct clerk *clerk);

#endif
