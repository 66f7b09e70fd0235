/* SPDX-License-Identifier: MIT */
/*
 * process_end.c - the end of a worker's process, from the moment when its stub is gone. Loop 0's
 * thread.
 *
 *	process_settle()     how it ended: its status file, the end of its log; the brain hears it.
 *	                     An earlier daemon's worker may begin with the next step
 *	wait_for_memory()    until the worker itself is gone (survivor.c), and its driver has freed
 *	                     what it held
 *	memory_is_back()     the clerk notes the end, deletes the record and removes the files
 *	ended()              the reservation goes back, and the process is forgotten
 *
 * The order is that of tests/formal/worker_life.pml.
 */
#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>
#include <poolcore/text.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/clerk.h"
#include "daemon/daemon.h"
#include "daemon/gpus.h"
#include "daemon/logbook.h"
#include "daemon/loop.h"
#include "daemon/process.h"
#include "daemon/tally.h"

/* How long a driver may list the memory of a process that is gone. A guess. */
#define MEMORY_WAIT_MS 10000
#define MEMORY_LOOK_MS 100
/* How soon a worker's files are looked at again that could not be opened. A guess. */
#define SETTLE_AGAIN_MS 100
/* How often it is looked whether a worker has followed its stub. A guess. */
#define SURVIVOR_LOOK_MS 10

/* Stops that the brain did not have to order because all was well. */
static bool stop_was_wanted(const struct process *process)
{
	return process->stop_ordered && process->stop_reason != PC_STOP_FAILED &&
	       process->stop_reason != PC_STOP_OVERDUE;
}

/* Why it is gone, for the requests that waited for it and for the log. */
static void death_cause(struct process *process, const struct pc_stub_end *end,
			struct pc_error *cause)
{
	const char *how = end->exit.reason;
	char last[PC_ERROR_MESSAGE_MAX / 2];

	logbook_last(process->worker->log, last, sizeof(last));
	if (process->fault.code) {
		*cause = process->fault;
	} else if (end->spawn_errno) {
		pc_error_set(cause, PC_E_SPAWN_FAILED, "cannot start a worker of '%s': %s",
			     process_model(process), how);
		cause->sys_errno = end->spawn_errno;
	} else if (process->stop_ordered && process->stop_reason != PC_STOP_FAILED) {
		/* One that failed was dying before it was told to stop: its own end says more. */
		pc_error_set(cause, PC_E_WORKER_FAILED, "worker %s of '%s' was stopped (%s)",
			     process_name(process), process_model(process),
			     pc_stop_reason_text(process->stop_reason));
	} else {
		pc_error_set(cause, process->was_loading ? PC_E_SPAWN_FAILED : PC_E_WORKER_FAILED,
			     "worker %s of '%s' %s%s%s%s%s", process_name(process),
			     process_model(process),
			     strncmp(how, "killed by", 9) == 0 ? "was " : "", how,
			     process->was_loading ? " before it was ready" : "",
			     last[0] ? ": " : "", last);
	}
	pc_error_detail(cause, "worker_id", "%s", process_name(process));
	pc_error_detail(cause, "exit", "%s", how);
}

/* The last step: nothing of it is left but what the body remembers. */
static void announce_gone(struct process *process, const struct pc_worker_exit *exit)
{
	const struct pc_error *cause = &process->death;
	bool wanted = stop_was_wanted(process);

	pc_log(wanted ? PC_LOG_INFO : PC_LOG_WARN, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "code", wanted ? "OK" : pc_error_name(cause->code) }),
	       "%s", cause->message);
	if (process->worker->target.socket[0])
		unlink(process->worker->target.socket);
	if (exit)
		tally_add(process_daemon(process)->tally, &process->worker->info, exit);
	body_worker_gone(process_daemon(process), process->worker, exit,
			 process->stop_ordered ? NULL : cause);
	process->worker = NULL;
	process_close_handles(process);
}

/*
 * The record is deleted, or could not be: then its files were left too, and the next daemon finds
 * out that it has ended.
 */
static void ended(struct clerk_job *job)
{
	process_log_failed_write(job);
	announce_gone(job->ctx, &job->worker.last_exit);
}

static void memory_is_back(struct process *process);

static void try_again(uv_timer_t *timer)
{
	memory_is_back(timer->data);
}

static void memory_is_back(struct process *process)
{
	struct clerk_job *job = process_new_job(process, CLERK_END, ended);

	/* Without memory for the job it is tried again; earlier jobs still point here. */
	if (job)
		clerk_give(supervisor_clerk(process->supervisor), job);
	if (job)
		uv_timer_stop(&process->timer);
	else
		uv_timer_start(&process->timer, try_again, MEMORY_LOOK_MS, 0);
}

void process_note_stuck(struct process *process)
{
	pc_log(PC_LOG_ERROR, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) }),
	       "it does not die even by SIGKILL; is a driver stuck? Its memory stays reserved");
	if (process->stuck)
		return;
	process->stuck = true;
	body_worker_stuck(process_daemon(process), process->worker);
	/* The end of the program may be waiting for it alone. */
	uv_async_send(&process_daemon(process)->loops[0].wake);
}

/* A driver frees what a process held some time after it has gone. */
static void look_at_memory(uv_timer_t *timer)
{
	struct process *process = timer->data;
	struct gpus *gpus = process_daemon(process)->gpus;
	bool overdue = pc_clock_now_ns() >= process->memory_deadline_ns;

	if (!overdue && gpus_holds(gpus, process->worker->info.gpu_id, process->stub.pid,
				   process->memory_reading))
		return;
	if (overdue)
		pc_log(PC_LOG_WARN, "worker",
		       PC_FIELDS({ "worker", process_name(process) },
				 { "device", process->worker->info.device }),
		       "it is gone, but its driver still counts its memory; waiting no longer");
	memory_is_back(process);
}

static void wait_for_driver(struct process *process)
{
	struct gpus *gpus = process_daemon(process)->gpus;

	/* Nothing that hangs any more is waited for. */
	process->stuck = false;
	/* What a process holds of RAM is free before its pidfd says that it has ended. */
	if (process->worker->info.gpu_id < 0) {
		memory_is_back(process);
		return;
	}
	process->memory_reading = gpus_look(gpus);
	process->memory_deadline_ns = pc_clock_now_ns() + MEMORY_WAIT_MS * PC_NS_PER_MS;
	uv_timer_start(&process->timer, look_at_memory, MEMORY_LOOK_MS, MEMORY_LOOK_MS);
}

static void look_at_survivor(uv_timer_t *timer)
{
	struct process *process = timer->data;
	uint64_t now = pc_clock_now_ns();

	if (!survivor_lives(process)) {
		uv_timer_stop(timer);
		wait_for_driver(process);
	} else if (now >= process->memory_deadline_ns) {
		process_note_stuck(process);
		process->memory_deadline_ns = now + KILL_PATIENCE_MS * PC_NS_PER_MS;
	}
}

static void wait_for_survivor(struct process *process)
{
	process->memory_deadline_ns = pc_clock_now_ns() + KILL_PATIENCE_MS * PC_NS_PER_MS;
	uv_timer_start(&process->timer, look_at_survivor, SURVIVOR_LOOK_MS, SURVIVOR_LOOK_MS);
}

/* First of the worker itself, should its stub have gone before it. */
static void wait_for_memory(struct process *process)
{
	if (survivor_lives(process))
		wait_for_survivor(process);
	else
		wait_for_driver(process);
}

/* Whether it ended as whoever gets a SIGTERM ends. */
static bool ended_by_order(const struct pc_worker_exit *exit)
{
	return exit->known && (exit->signal == SIGTERM || (exit->signal == 0 && exit->code == 0));
}

/* "killed by SIGKILL" says nothing of a worker that was given up or stopped; why it was does. */
static void tell_reason(const struct process *process, struct pc_worker_exit *exit)
{
	char reason[PC_ERROR_MESSAGE_MAX + sizeof(exit->reason) + 2];
	bool wanted = stop_was_wanted(process);
	size_t length;

	if (process->fault.code)
		snprintf(reason, sizeof(reason), "%s; %s", exit->reason, process->fault.message);
	else if (wanted && ended_by_order(exit))
		snprintf(reason, sizeof(reason), "stopped: %s",
			 pc_stop_reason_text(process->stop_reason));
	else if (wanted)
		snprintf(reason, sizeof(reason), "stopped: %s; %s",
			 pc_stop_reason_text(process->stop_reason), exit->reason);
	else
		return;
	length = strlen(reason) < sizeof(exit->reason) ? strlen(reason) : sizeof(exit->reason) - 1;
	reason[pc_utf8_valid_prefix(reason, length)] = '\0';
	memcpy(exit->reason, reason, strlen(reason) + 1);
}

static void settle_again(uv_timer_t *timer)
{
	process_settle(timer->data);
}

/* Its files cannot be looked at just now, and only they say how it ended. */
static bool is_passing(const struct pc_error *err)
{
	return err->sys_errno == EMFILE || err->sys_errno == ENFILE || err->sys_errno == ENOMEM;
}

static void end_unknown(struct process *process, struct pc_stub_end *ret_end)
{
	*ret_end = (struct pc_stub_end){
		.exit = { .code = -1, .wall_ms = pc_clock_wall_ms() },
		.worker_pid = process->worker->info.pid,
	};
	snprintf(ret_end->exit.reason, sizeof(ret_end->exit.reason), "ended");
}

/* Says why it is gone. The brain hears it once, the first time. */
static void announce_death(struct process *process, struct pc_stub_end *end)
{
	logbook_write_tail(process->worker->log, end->log_tail, process_log_line, process);
	logbook_finish(process->worker->log, NULL, NULL);
	death_cause(process, end, &process->death);
	tell_reason(process, &end->exit);
	body_worker_ended(process_daemon(process), process->worker, &end->exit);
	if (!process->stop_ordered && !process->death_told)
		body_worker_failed(process_daemon(process), process->worker, &process->death);
	process->death_told = true;
}

void process_settle(struct process *process)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_stub_end end;
	bool is_first = !process->death_told;
	int rc = pc_stub_settle(&process->stub, process_daemon(process)->life_dir,
				process_name(process), process->worker->info.spawn_token, &end,
				&err);

	if (rc && is_first)
		pc_log_error(PC_LOG_ERROR, "worker", &err);
	if (rc)
		end_unknown(process, &end);
	announce_death(process, &end);
	if (rc && is_passing(&err))
		uv_timer_start(&process->timer, settle_again, SETTLE_AGAIN_MS, 0);
	else
		wait_for_memory(process);
}

void process_await_survivor(struct process *process, const struct pc_stub_end *end)
{
	struct pc_stub_end told = *end;

	announce_death(process, &told);
	wait_for_survivor(process);
}

/* Its record is told like those of workers that ran. */
static void describe_stillborn(const struct pc_error *cause, struct pc_worker_exit *ret_exit)
{
	*ret_exit = (struct pc_worker_exit){ .code = -1, .wall_ms = pc_clock_wall_ms() };
	snprintf(ret_exit->reason, sizeof(ret_exit->reason), "never started: %s",
		 pc_error_name(cause->code));
}

/* There is no process (any more): only a record may have to go. */
void process_be_stillborn(struct process *process, const struct pc_error *cause)
{
	struct clerk_job *job = process->registered ? process_new_job(process, CLERK_END, ended)
						    : NULL;

	process->state = ENDING;
	process->death = *cause;
	if (job && !job->worker.last_exit.reason[0])
		describe_stillborn(cause, &job->worker.last_exit);
	if (job)
		clerk_give(supervisor_clerk(process->supervisor), job);
	else
		announce_gone(process, NULL);
}
