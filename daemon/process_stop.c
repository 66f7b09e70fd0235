/* SPDX-License-Identifier: MIT */
/*
 * process_stop.c - how a worker's process is stopped: told to end, killed after the grace, and what
 * is done about one that is there even then. Its end itself is process_end.c's. Loop 0's thread;
 * nothing here waits.
 *
 *	process_stop()       TERM, by the stub
 *	kill_now()           after the grace, or at once: KILL to everything below the stub
 *	on_kill_overdue()    KILL_PATIENCE_MS later: the worker is killed past its stub, or a stub that
 *	                     hangs is killed; and LAST_KILL_MS after that it is `stuck`
 */
#include <poolcore/log.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/failpoint.h"
#include "daemon/process.h"

/* Between the last two: the worker is killed past its stub, a stub that hangs is killed. A guess. */
#define LAST_KILL_MS 1000
/* How long an earlier daemon's worker that is not adopted may take to stop after TERM; what its
 * backend granted it is not known any more. A guess. */
#define ORPHAN_GRACE_MS 5000

/*
 * The stub should have ended by now. Either it hangs itself: it is killed, once the worker is, which
 * dies with it. Or the worker hangs: then the stub stays, to tell how that ends. Which of the two it
 * is shows when the worker is killed past the stub.
 */
static void on_kill_overdue(uv_timer_t *timer)
{
	struct process *process = timer->data;
	bool worker_lives = survivor_lives(process);
	bool *tried = worker_lives ? &process->worker_was_killed : &process->stub_was_killed;
	bool is_hopeless = *tried;

	if (!worker_lives && FAILPOINT_KILLS())
		pc_stub_destroy_forcibly(&process->stub, NULL);
	*tried = true;
	if (is_hopeless)
		process_note_stuck(process);
	uv_timer_start(timer, on_kill_overdue, is_hopeless ? KILL_PATIENCE_MS : LAST_KILL_MS, 0);
}

static void kill_now(struct process *process, const char *why)
{
	if (process->killed)
		return;
	process->killed = true;
	pc_log(PC_LOG_WARN, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "reason", why }),
	       "killing");
	if (FAILPOINT_KILLS())
		pc_stub_kill(&process->stub, NULL);
	uv_timer_start(&process->timer, on_kill_overdue, KILL_PATIENCE_MS, 0);
}

static void on_grace_over(uv_timer_t *timer)
{
	kill_now(timer->data, "the stop's grace is over");
}

static uint64_t grace_ms(const struct process *process)
{
	const struct model *model = process->worker->model;

	return model ? model->backend->stop_grace_secs * 1000 : ORPHAN_GRACE_MS;
}

static void begin_to_stop(struct process *process)
{
	if (process->state == LOADED && process->stop_reason == PC_STOP_OVERDUE)
		pc_log(PC_LOG_WARN, "model", PC_FIELDS({ "model", process_model(process) }),
		       "a worker has loaded it, but the disk of its file does not answer since");
	process->state = STOPPING;
	readiness_end(process);
	health_end(process);
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "reason", pc_stop_reason_text(process->stop_reason) }),
	       "stopping");
	body_worker_status(process_daemon(process), process->worker, PC_WORKER_STOPPING);
	process_write_record(process);
	FAILPOINT(stop_before_signal);
	/* The stub adds a SIGCONT, for a stopped process cannot act on SIGTERM. */
	pc_stub_terminate(&process->stub, NULL);
	uv_timer_start(&process->timer, on_grace_over, grace_ms(process), 0);
}

void process_stop(struct process *process, enum pc_stop_reason why, bool force)
{
	if (!process->stop_ordered)
		process->stop_reason = why;
	process->stop_ordered = true;
	filecheck_hurry(process);
	if (process->state == PREPARING || process->state == ENDING)
		return; /* the next step sees it; it is over anyway */
	if (process->state != STOPPING)
		begin_to_stop(process);
	if (force)
		kill_now(process, pc_stop_reason_text(process->stop_reason));
}

void process_give_up(struct process *process, const struct pc_error *cause)
{
	if (!process_is_running(process))
		return;
	process->fault = *cause;
	pc_error_detail(&process->fault, "worker_id", "%s", process_name(process));
	pc_log_error(PC_LOG_WARN, "worker", cause);
	body_worker_failed(process_daemon(process), process->worker, &process->fault);
	process_stop(process, PC_STOP_FAILED, true);
}
