/* SPDX-License-Identifier: MIT */
/*
 * readiness.c - asks a worker that loads whether it has loaded, for backends that do not say it by
 * themselves (readiness = "http:/health"). The first 200 is a yes. When it is asked is pace.c's;
 * here are the clock, the timer and the question. Loop 0's thread.
 */
#include <poolcore/clock.h>
#include <poolcore/config.h>

#include "daemon/body.h"
#include "daemon/process.h"

/* A worker that does not answer its probe is asked again. */
#define PROBE_TIMEOUT_MS 2000

static void ask_in_time(struct process *process);

/* Not an earlier daemon's that is to go: whatever its model is now, it is not its own. */
static bool is_asked(const struct process *process)
{
	return process->state == STARTING && !process->stop_ordered &&
	       process->worker->model->backend->readiness == PC_READINESS_HTTP;
}

static void on_answered(struct process *process, int status, const struct pc_error *why)
{
	if (status == 200) {
		process_become_ready(process, 0);
		return;
	}
	pace_answered(&process->pace, why ? PACE_DEAF : PACE_LOADING, pc_clock_now_ns());
	ask_in_time(process);
}

static void ask(uv_timer_t *timer)
{
	struct process *process = timer->data;

	/* A timer counts from when the loop last looked at its clock, and may be early by that. */
	if (pace_next_ns(&process->pace) > pc_clock_now_ns()) {
		ask_in_time(process);
		return;
	}
	pace_asked(&process->pace, pc_clock_now_ns());
	if (probe_begin(process, process->worker->model->backend->readiness_path, PROBE_TIMEOUT_MS,
			on_answered)) {
		pace_answered(&process->pace, PACE_UNASKED, pc_clock_now_ns());
		ask_in_time(process);
	}
}

static void ask_in_time(struct process *process)
{
	uint64_t next_ns = pace_next_ns(&process->pace), now_ns = pc_clock_now_ns();
	uint64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;

	if (is_asked(process) && next_ns != PC_TIME_NEVER)
		uv_timer_start(&process->timer, ask, (wait_ns + PC_NS_PER_MS - 1) / PC_NS_PER_MS,
			       0);
}

void readiness_begin(struct process *process)
{
	pace_begin(&process->pace, process->launched_ns);
	ask_in_time(process);
}

void readiness_heard(struct process *process, const char *line)
{
	if (!is_asked(process) ||
	    pace_is_own(line, process->worker->model->backend->readiness_path))
		return;
	pace_heard(&process->pace);
	ask_in_time(process);
}

void readiness_end(struct process *process)
{
	if (process->state == STARTING)
		uv_timer_stop(&process->timer);
	probe_end(process);
}
