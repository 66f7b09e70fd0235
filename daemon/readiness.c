/* SPDX-License-Identifier: MIT */
/*
 * readiness.c - asks a worker that loads whether it has loaded, for backends that do not say it by
 * themselves (readiness = "http:/health"). The first 200 is a yes. Loop 0's thread.
 *
 * A worker that does not listen yet costs a refused connection to ask, and is asked every
 * PROBE_MIN_MS. One that answers, but not with 200, may write a line of log for each question; it
 * is asked every PROBE_MIN_MS at first, and then so often that its readiness is noticed within a
 * hundredth of the time that it took to load. All figures are guesses; change freely.
 */
#include <poolcore/clock.h>
#include <poolcore/config.h>

#include "daemon/body.h"
#include "daemon/process.h"

#define PROBE_MIN_MS 5
#define PROBE_MAX_MS 250
/* A worker that does not answer its probe is asked again. */
#define PROBE_TIMEOUT_MS 2000

static void ask_again_in(struct process *process, uint64_t delay_ms);

static uint64_t hundredth_of_load_ms(const struct process *process)
{
	uint64_t ms = (pc_clock_now_ns() - process->launched_ns) / PC_NS_PER_MS / 100;

	return ms < PROBE_MIN_MS ? PROBE_MIN_MS : ms > PROBE_MAX_MS ? PROBE_MAX_MS : ms;
}

static void on_answered(struct process *process, int status, const struct pc_error *why)
{
	if (status == 200)
		process_become_ready(process, 0);
	else
		ask_again_in(process, why ? PROBE_MIN_MS : hundredth_of_load_ms(process));
}

static void ask(uv_timer_t *timer)
{
	struct process *process = timer->data;

	if (probe_begin(process, process->worker->model->backend->readiness_path, PROBE_TIMEOUT_MS,
			on_answered))
		ask_again_in(process, PROBE_MAX_MS); /* no memory, no descriptor */
}

static void ask_again_in(struct process *process, uint64_t delay_ms)
{
	if (process->state == STARTING)
		uv_timer_start(&process->timer, ask, delay_ms, 0);
}

void readiness_begin(struct process *process)
{
	if (process->worker->model->backend->readiness == PC_READINESS_HTTP)
		ask_again_in(process, PROBE_MIN_MS);
}

void readiness_end(struct process *process)
{
	if (process->state == STARTING || process->state == SERVING)
		uv_timer_stop(&process->timer);
	probe_end(process);
}
