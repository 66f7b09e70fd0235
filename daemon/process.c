/* SPDX-License-Identifier: MIT */
/*
 * process.c - a worker's process while it runs: what its stub tells, when it is ready, and the states
 * that it goes through. process_begin.c has how it comes to run, process_stop.c how it is stopped,
 * and process_end.c its end. Loop 0's thread.
 *
 *	order        state        left by
 *	spawn   -->  PREPARING    file_verified(), prepared(): record and claim,
 *	                          file_looked_at()                              --> launch()
 *	             STARTING     process_become_ready(): a probe or the worker said so
 *	             LOADED       file_looked_at_again()                        --> serve()
 *	             SERVING
 *	stop    -->  STOPPING     the stub passes SIGTERM on, after the grace SIGKILL
 *	             (any)        on_exit_readable(): the stub has ended              --> ENDING
 *	             ENDING       look_at_survivor(): the worker has ended as well
 *	                          memory_is_back(), then ended(): the record is gone  --> gone
 *
 * Every state is left in the end: PREPARING waits for disks only (and for a hash, which a stop cuts
 * short; the brain orders one after a day), STARTING and LOADED are bounded by the brain's start
 * timeout, which runs from the launch, STOPPING by the grace and what on_kill_overdue() does after
 * it, ENDING by MEMORY_WAIT_MS and the disk. But a worker that cannot be killed (it hangs in a
 * driver) keeps its process STOPPING, or ENDING where its stub has gone before it, and its
 * reservation: the memory is not back. That is `stuck`, known to the brain, and only then the
 * daemon may end without it (process_leave_behind()), or find it there when it starts.
 *
 * A worker of an earlier daemon begins as SERVING or STARTING, and one that is not to go on as
 * STARTING, with the order to stop it on its way, or as ENDING.
 *
 * The order of the steps is that of tests/formal/worker_life.pml, so that a daemon may be killed
 * between any two of them: record, claim, spawn; and in the end exit told and record deleted in one
 * transaction, reservation given back, files removed.
 *
 * What this file does not do: decide. Whether to spawn, stop or give up is the brain's; the reasons
 * are logged here, where they are carried out.
 */
#include "daemon/process.h"

#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/clerk.h"
#include "daemon/daemon.h"
#include "daemon/failpoint.h"
#include "daemon/gpus.h"
#include "daemon/logbook.h"
#include "daemon/loop.h"
#include "daemon/port_owner.h"

uv_loop_t *process_loop(const struct process *process)
{
	return &process_daemon(process)->loops[0].uv;
}

struct daemon *process_daemon(const struct process *process)
{
	return supervisor_daemon(process->supervisor);
}

const char *process_name(const struct process *process)
{
	return process->worker->info.worker_id;
}

const char *process_model(const struct process *process)
{
	return process->worker->info.model_id;
}

bool process_is_running(const struct process *process)
{
	return process->state >= STARTING && process->state <= SERVING;
}

/* ---- the registry ---- */

struct clerk_job *process_new_job(struct process *process, enum clerk_task task,
				  void (*done)(struct clerk_job *job))
{
	struct clerk_job *job = pc_calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->task = task;
	job->done = done;
	job->ctx = process;
	body_worker_copy(process_daemon(process), process->worker, &job->worker);
	return job;
}

/* Has the clerk write down what the record says now. */
static void write_record(struct process *process, void (*done)(struct clerk_job *job))
{
	struct clerk_job *job = process_new_job(process, CLERK_UPDATE, done);

	if (job)
		clerk_give(supervisor_clerk(process->supervisor), job);
	else
		pc_log(PC_LOG_ERROR, "registry", PC_FIELDS({ "worker", process_name(process) }),
		       "no memory to record a status; the registry lags behind");
}

void process_write_record(struct process *process)
{
	write_record(process, NULL);
}

void process_log_failed_write(const struct clerk_job *job)
{
	if (job->result)
		pc_log_error(PC_LOG_ERROR, "registry", &job->error);
}

/* ---- the end of a process ---- */

static void free_process(struct process *process)
{
	struct daemon *daemon = process_daemon(process);

	supervisor_remove(process->supervisor, process);
	launch_plan_free(process->plan);
	survivor_close(process);
	pc_free(process);
	/* The end of the program may be waiting for the last one to go. */
	uv_async_send(&daemon->loops[0].wake);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct process *process = handle->data;

	if (--process->handles > 0)
		return;
	pc_stub_close(&process->stub);
	free_process(process);
}

void process_close_handles(struct process *process)
{
	filecheck_leave(process);
	readiness_end(process);
	health_end(process);
	/* In the order in which watch() made them. */
	uv_handle_t *const handles[] = {
		(uv_handle_t *)&process->timer,
		(uv_handle_t *)&process->health_timer,
		(uv_handle_t *)&process->exit_watch,
		(uv_handle_t *)&process->report_watch,
	};

	if (process->handles == 0) {
		free_process(process);
		return;
	}
	for (unsigned i = process->handles; i-- > 0;)
		uv_close(handles[i], on_handle_closed);
}

static void read_reports(struct process *process);

/* The brain hears at once that it must grant it nothing more; the memory comes back later. */
static void on_exit_readable(uv_poll_t *watch, int status, int events)
{
	struct process *process = watch->data;

	(void)status;
	(void)events;
	if (!pc_stub_has_ended(&process->stub))
		return;
	FAILPOINT(exit_before_settle);
	process->was_loading = process->state == STARTING || process->state == LOADED;
	read_reports(process);
	uv_poll_stop(&process->exit_watch);
	uv_poll_stop(&process->report_watch);
	uv_timer_stop(&process->timer);
	readiness_end(process);
	health_end(process);
	process->state = ENDING;
	process_settle(process);
}

/* ---- readiness ---- */

/* Whoever reported it is answered now that the next daemon would know it too. */
static void ready_recorded(struct clerk_job *job)
{
	struct process *process = job->ctx;

	process_log_failed_write(job);
	FAILPOINT(ready_after_record);
	body_answer_reports(process_daemon(process), process->worker,
			    job->result ? &job->error : NULL);
}

/* Somebody else may have come first to the port that it was promised, or share it. */
static int check_listener(struct process *process, struct pc_error *err)
{
	struct pc_error why = PC_ERROR_INIT;
	uint16_t port = process->worker->target.port;
	int rc = port ? port_owner_check(port, process->stub.pid, &why) : 0;

	if (rc != PC_E_PORT_IN_USE) {
		if (rc)
			pc_log_error(PC_LOG_WARN, "worker", &why); /* the first request will tell */
		return 0;
	}
	return pc_error_set(err, PC_E_SPAWN_FAILED, "worker %s of '%s' shares its port: %s",
			    process_name(process), process_model(process), why.message);
}

static uint64_t measure(const struct process *process, uint64_t reported_bytes)
{
	/* What it holds in RAM says nothing about a GPU. */
	uint64_t measured = process->worker->info.gpu_id >= 0
				    ? 0
				    : pc_process_memory(process->stub.pid);

	return reported_bytes > measured ? reported_bytes : measured;
}

/* A small model may be loaded before its stub has said which process loads it, and a record of a
 * ready worker has a pid. */
static bool has_started(struct process *process, uint64_t reported_bytes)
{
	/* This news is as good as an earlier one, which note_started() must not go on with as well. */
	process->ready_early = false;
	if (process->worker->info.pid == 0)
		read_reports(process);
	if (process->worker->info.pid != 0)
		return true;
	process->ready_early = true;
	process->ready_bytes = reported_bytes;
	return false;
}

static void serve(struct process *process)
{
	struct daemon *daemon = process_daemon(process);
	struct pc_error cause = PC_ERROR_INIT;
	char load_ms[24];

	if (check_listener(process, &cause)) {
		process_give_up(process, &cause);
		return;
	}
	process->state = SERVING;
	snprintf(load_ms, sizeof(load_ms), "%" PRIu64,
		 (pc_clock_now_ns() - process->launched_ns) / PC_NS_PER_MS);
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "load_ms", load_ms }),
	       "ready");
	body_worker_ready(daemon, process->worker, measure(process, process->ready_bytes));
	FAILPOINT(ready_before_record);
	write_record(process, ready_recorded);
	health_begin(process);
	if (process->worker->info.gpu_id >= 0)
		gpus_look(daemon->gpus); /* what it holds there, its driver knows */
}

static void file_looked_at_again(struct process *process, int rc, struct pc_error *err)
{
	if (process->state != LOADED)
		return; /* it was told to stop meanwhile, or has ended */
	if (rc)
		process_give_up(process, err);
	else
		serve(process);
}

void process_become_ready(struct process *process, uint64_t reported_bytes)
{
	if (process->state == SERVING)
		write_record(process, ready_recorded); /* the first time it could not be written */
	if (process->state != STARTING || !has_started(process, reported_bytes))
		return; /* late or repeated; or note_started() goes on */
	readiness_end(process);
	process->state = LOADED;
	process->ready_bytes = reported_bytes;
	if (!filecheck_look_again(process, file_looked_at_again))
		serve(process); /* an adopted one */
}

/* ---- what the stub tells ---- */

void process_log_line(void *ctx, const char *text)
{
	struct process *process = ctx;

	pc_log(PC_LOG_DEBUG, "worker.log", PC_FIELDS({ "worker", process_name(process) }), "%s",
	       text);
	readiness_heard(process, text);
}

static void note_lost(struct process *process, uint64_t bytes)
{
	char line[96];
	int length = snprintf(line, sizeof(line),
			      "\n[%" PRIu64 " bytes of the worker's output were lost]\n", bytes);

	logbook_write(process->worker->log, line, (size_t)length, process_log_line, process);
}

/* Its program runs. An adopted one says it again, which is no news. */
static void note_started(struct process *process, const struct pc_report *report)
{
	char pid[16];

	if (process->worker->info.pid == report->pid || process->state == ENDING)
		return;
	body_worker_started(process_daemon(process), process->worker, report->pid,
			    report->start_ticks);
	snprintf(pid, sizeof(pid), "%d", (int)report->pid);
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "backend", process->worker->info.backend },
			 { "device", process->worker->info.device }, { "pid", pid }),
	       "spawned");
	process_write_record(process);
	FAILPOINT(spawn_after_update);
	if (process->ready_early)
		process_become_ready(process, process->ready_bytes);
	process->ready_early = false;
}

static void on_report(void *ctx, const struct pc_report *report)
{
	struct process *process = ctx;

	switch (report->kind) {
	case PC_REPORT_STARTED:
		note_started(process, report);
		break;
	case PC_REPORT_LOG:
		logbook_write(process->worker->log, report->data, report->length, process_log_line,
			      process);
		break;
	case PC_REPORT_LOST:
		note_lost(process, report->lost_bytes);
		break;
	case PC_REPORT_STOPPED:
		health_note_stopped(process, report->signal);
		break;
	case PC_REPORT_CONTINUED:
		health_note_continued(process);
		break;
	}
}

static void read_reports(struct process *process)
{
	if (pc_stub_read(&process->stub, on_report, process))
		pc_log(PC_LOG_WARN, "worker", PC_FIELDS({ "worker", process_name(process) }),
		       "what its stub reports cannot be understood; its log ends here");
}

static void on_report_readable(uv_poll_t *watch, int status, int events)
{
	(void)status;
	(void)events;
	read_reports(watch->data);
}

/* ---- its handles ---- */

void process_make_timers(struct process *process)
{
	uv_loop_t *loop = process_loop(process);

	uv_timer_init(loop, &process->timer);
	uv_timer_init(loop, &process->health_timer);
	process->timer.data = process->health_timer.data = process;
	process->handles = 2;
}

/* epoll may refuse a descriptor: no memory, no watches left. */
int process_watch(struct process *process, struct pc_error *err)
{
	uv_loop_t *loop = process_loop(process);
	int rc;

	process_make_timers(process);
	process->exit_watch.data = process->report_watch.data = process;
	rc = uv_poll_init(loop, &process->exit_watch, process->stub.pidfd);
	if (!rc) {
		process->handles++;
		rc = uv_poll_init(loop, &process->report_watch, process->stub.report_fd);
	}
	if (!rc) {
		process->handles++;
		rc = uv_poll_start(&process->exit_watch, UV_READABLE, on_exit_readable);
	}
	if (!rc)
		rc = uv_poll_start(&process->report_watch, UV_READABLE, on_report_readable);
	if (rc)
		return pc_error_sys(err, PC_E_SPAWN_FAILED, -rc, "cannot watch worker %s",
				    process_name(process));
	return 0;
}

/* ---- letting go ---- */

void process_leave_behind(struct process *process)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)process->worker->info.pid);
	pc_log(PC_LOG_ERROR, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "pid", pid }),
	       "it does not die even by SIGKILL, and is left behind; its record stays, and the next "
	       "daemon waits for its memory");
	process_leave(process);
}

void process_leave(struct process *process)
{
	process->worker = NULL;
	process_close_handles(process);
}
