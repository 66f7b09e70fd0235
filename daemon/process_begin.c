/* SPDX-License-Identifier: MIT */
/*
 * process_begin.c - how a worker's process comes to run: from the brain's order to its launch, or
 * from the record of an earlier daemon. Loop 0's thread.
 *
 *	process_begin()      a thread verifies the model's file
 *	file_verified()      where it will listen, its command, and the clerk writes record and claim
 *	prepared()           the file is looked at once more
 *	file_looked_at()     launch(); from here on it is watched, and asked whether it has loaded
 *
 * The order of the steps is that of tests/formal/worker_life.pml.
 */
#include <poolcore/clock.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/clerk.h"
#include "daemon/daemon.h"
#include "daemon/failpoint.h"
#include "daemon/process.h"

/* Kills a process that could not be watched, and waits for it: the one place where loop 0 does. */
static void end_unwatched(struct process *process)
{
	struct pollfd over = { .fd = process->stub.pidfd, .events = POLLIN };
	struct pc_stub_end end;

	pc_stub_destroy_forcibly(&process->stub, NULL);
	while (poll(&over, 1, -1) < 0 && errno == EINTR)
		;
	if (pc_stub_settle(&process->stub, process_daemon(process)->life_dir, process_name(process),
			   process->worker->info.spawn_token, &end, NULL) == 0)
		body_worker_ended(process_daemon(process), process->worker, &end.exit);
}

/*
 * Those who wait have asked for a model. A program that is not found, a port that is taken or what
 * a disk refused is not their mistake, as 404 and 409 would say: the spawn failed, they may try
 * again, and the message tells why.
 */
static void blame_the_spawn(const struct process *process, struct pc_error *err)
{
	const struct pc_error reason = *err;

	if (reason.code == PC_E_OUT_OF_MEMORY || reason.code == PC_E_SPAWN_FAILED ||
	    reason.code == PC_E_MODEL_FILE_MISSING || reason.code == PC_E_MODEL_FILE_INVALID)
		return; /* they say it themselves */
	pc_error_clear(err);
	pc_error_set(err, PC_E_SPAWN_FAILED, "cannot start a worker of '%s': %s",
		     process_model(process), reason.message);
	err->sys_errno = reason.sys_errno;
}

/* Told to stop before it was started. */
static int refuse_stopped(const struct process *process, struct pc_error *err)
{
	if (!process->stop_ordered)
		return 0;
	pc_error_clear(err);
	return pc_error_set(err, PC_E_CANCELLED, "worker %s of '%s' was stopped (%s)",
			    process_name(process), process_model(process),
			    pc_stop_reason_text(process->stop_reason));
}

static int start(struct process *process, struct pc_error *err)
{
	int rc = refuse_stopped(process, err);

	if (rc)
		return rc;
	rc = launch(process, err);
	if (rc) {
		blame_the_spawn(process, err);
		return rc;
	}
	FAILPOINT(spawn_after_spawn);
	process->state = STARTING;
	rc = process_watch(process, err);
	if (rc)
		end_unwatched(process);
	return rc;
}

/* Last before the spawn: writing the record took its time. */
static void file_looked_at(struct process *process, int rc, struct pc_error *err)
{
	if (rc)
		blame_the_spawn(process, err);
	else
		rc = start(process, err);
	if (rc)
		process_be_stillborn(process, err);
	else
		readiness_begin(process);
}

static void prepared(struct clerk_job *job)
{
	struct process *process = job->ctx;

	process->registered = !job->result;
	if (job->result)
		blame_the_spawn(process, &job->error);
	/* Those that are stopped look no more: process_abandon() may have passed by already. */
	if (job->result || refuse_stopped(process, &job->error))
		process_be_stillborn(process, &job->error);
	else
		filecheck_look(process, file_looked_at);
}

static void file_verified(struct process *process, int rc, struct pc_error *err)
{
	struct clerk_job *job = NULL;

	if (refuse_stopped(process, err)) {
		process_be_stillborn(process, err);
		return;
	}
	if (!rc)
		rc = launch_plan(process, err);
	if (!rc) {
		job = process_new_job(process, CLERK_PREPARE, prepared);
		rc = job ? 0 : pc_error_oom(err);
	}
	if (rc) {
		blame_the_spawn(process, err);
		process_be_stillborn(process, err);
	} else {
		clerk_give(supervisor_clerk(process->supervisor), job);
	}
}

static struct process *new_process(struct supervisor *supervisor, struct worker *worker)
{
	struct process *process = pc_calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	process->supervisor = supervisor;
	process->worker = worker;
	process->stub.pidfd = process->stub.report_fd = -1;
	survivor_init(process);
	supervisor_add(supervisor, process);
	return process;
}

void process_begin(struct supervisor *supervisor, struct worker *worker)
{
	struct process *process = new_process(supervisor, worker);
	struct pc_error err = PC_ERROR_INIT;

	if (!process) {
		pc_error_oom(&err);
		body_worker_gone(supervisor_daemon(supervisor), worker, NULL, &err);
		return;
	}
	if (filecheck_begin(process, file_verified, &err)) {
		blame_the_spawn(process, &err);
		process_be_stillborn(process, &err);
	}
}

/* One that is on record; NULL: no memory. */
static struct process *new_adopted(struct supervisor *supervisor, struct worker *worker)
{
	struct process *process = new_process(supervisor, worker);

	if (!process)
		return NULL;
	process->registered = true;
	process->launched_ns = pc_clock_now_ns();
	return process;
}

/* Takes the stub over, and watches it. */
static int adopt_stub(struct process *process, const struct pc_stub *stub, struct pc_error *err)
{
	int rc;

	process->stub = *stub;
	rc = process_watch(process, err);
	if (rc) {
		process->stub.pidfd = process->stub.report_fd = -1; /* still the caller's */
		process_close_handles(process);
	}
	return rc;
}

int process_adopt(struct supervisor *supervisor, struct worker *worker, const struct pc_stub *stub,
		  bool loaded, struct pc_error *err)
{
	struct process *process = new_adopted(supervisor, worker);
	int rc = process ? adopt_stub(process, stub, err) : pc_error_oom(err);

	if (rc)
		return rc;
	process->state = loaded ? SERVING : STARTING;
	if (loaded)
		health_begin(process);
	else
		readiness_begin(process);
	return 0;
}

int process_adopt_leaving(struct supervisor *supervisor, struct worker *worker,
			  const struct pc_stub *stub, enum pc_stop_reason why, struct pc_error *err)
{
	struct process *process = new_adopted(supervisor, worker);
	int rc = process ? adopt_stub(process, stub, err) : pc_error_oom(err);

	if (rc)
		return rc;
	process->state = STARTING;
	process->stop_ordered = true;
	process->stop_reason = why;
	return 0;
}

int process_adopt_dying(struct supervisor *supervisor, struct worker *worker,
			const struct pc_stub *stub, const struct pc_stub_end *end,
			struct pc_error *err)
{
	struct process *process = new_adopted(supervisor, worker);

	if (!process)
		return pc_error_oom(err);
	process->stub.pid = stub->pid;
	survivor_take(process, stub->pidfd);
	process_make_timers(process);
	process->state = ENDING;
	process_await_survivor(process, end);
	return 0;
}

void process_abandon(struct process *process)
{
	struct pc_error err = PC_ERROR_INIT;

	if (process->state != PREPARING || !filecheck_is_busy(process))
		return;
	filecheck_leave(process);
	pc_error_set(&err, PC_E_SHUTTING_DOWN,
		     "worker %s of '%s' was not started: the disk of its model's file did not "
		     "answer until the end",
		     process_name(process), process_model(process));
	process_be_stillborn(process, &err);
}
