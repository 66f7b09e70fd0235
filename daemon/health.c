/* SPDX-License-Identifier: MIT */
/*
 * health.c - whether a loaded worker is still well. Loop 0's thread.
 *
 * Every health.interval_secs it is measured, so that its reservation grows with it, and asked.
 * Two things make a worker hung, and it is then killed and its requests hear why:
 *
 * - It answers no probe. It has until the next time to answer with 200; after health.misses without
 *   one it is given up. A server of one thread cannot answer while it works, so a worker that holds
 *   leases and has used the processor of late is not blamed for its silence.
 * - A signal stopped it (SIGSTOP, SIGTTIN ...). Its stub sees that at once, and health.stopped_secs
 *   later it is given up. Whoever debugs a worker stops it by ptrace, which is none of this.
 *
 * Backends without a path to ask (health = "none", or readiness by callback only) are not probed.
 */
#include <poolcore/clock.h>
#include <poolcore/config.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/process.h"

/* Used processor time that shows work, in percent of one core. A server that waits in its event
 * loop stays far below, one that computes (or drives a GPU, and polls it) far above. A guess. */
#define WORKING_PERCENT 5

/* [health], as it is in force now. */
struct health_settings {
	uint64_t interval_ms;
	uint64_t misses;
	uint64_t stopped_secs;
};

static struct health_settings settings_of(const struct process *process)
{
	struct generation *generation = body_generation(process_daemon(process));
	const struct pc_config *config = generation->config;
	const struct health_settings settings = {
		.interval_ms = config->health_interval_secs * 1000,
		.misses = config->health_misses,
		.stopped_secs = config->health_stopped_secs,
	};

	generation_unref(generation);
	return settings;
}

/* Where it is asked, or NULL. */
static const char *path_of(const struct process *process)
{
	const struct pc_backend_config *backend = process->worker->model->backend;

	if (strncmp(backend->health, "http:", 5) == 0)
		return backend->health + 5;
	if (strcmp(backend->health, "readiness") == 0 && backend->readiness == PC_READINESS_HTTP)
		return backend->readiness_path;
	return NULL;
}

/* ---- probes ---- */

static void be_well(struct process *process)
{
	if (process->misses > 0)
		pc_log(PC_LOG_INFO, "health", PC_FIELDS({ "worker", process_name(process) }),
		       "it answers again");
	process->misses = 0;
}

/*
 * Whether it has worked for somebody since the time before it was asked. Not since it was asked:
 * one that does not accept connections while it works has some waiting for it, those of earlier
 * probes too, until there is no room for another, and that one fails at once.
 */
static bool is_working(const struct process *process)
{
	uint64_t enough = settings_of(process).interval_ms * (uint64_t)sysconf(_SC_CLK_TCK) *
			  WORKING_PERCENT / 100 / 1000;

	return pc_process_cpu_ticks(process->stub.pid) >= process->cpu_before + enough &&
	       body_worker_leases(process_daemon(process), process->worker) > 0;
}

/* No answer, or not the right one; `what` says which. */
static void miss(struct process *process, const char *what)
{
	uint64_t misses_max = settings_of(process).misses;
	struct pc_error cause = PC_ERROR_INIT;
	char misses[24];

	if (is_working(process))
		return;
	process->misses++;
	snprintf(misses, sizeof(misses), "%u of %" PRIu64, process->misses, misses_max);
	pc_log(PC_LOG_WARN, "health",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "misses", misses }),
	       "%s", what);
	if (process->misses < misses_max)
		return;
	pc_error_set(&cause, PC_E_WORKER_FAILED,
		     "worker %s of '%s' hangs: %u health probes in a row failed, the last: %s",
		     process_name(process), process_model(process), process->misses, what);
	process_give_up(process, &cause);
}

static void on_answered(struct process *process, int status, const struct pc_error *why)
{
	char what[64];

	snprintf(what, sizeof(what), "it answered %d", status);
	if (status == 200)
		be_well(process);
	else
		miss(process, why ? why->message : what);
}

static void ask(struct process *process, const char *path)
{
	/* Over before it is asked again. */
	uint64_t timeout_ms = settings_of(process).interval_ms * 9 / 10;

	process->cpu_before = process->cpu_ticks;
	process->cpu_ticks = pc_process_cpu_ticks(process->stub.pid);
	/* No memory or no descriptor here says nothing about the worker. */
	probe_begin(process, path, timeout_ms, on_answered);
}

static void measure(struct process *process)
{
	uint64_t bytes = pc_process_memory(process->stub.pid);
	char mb[24];

	if (!body_worker_measured(process_daemon(process), process->worker, bytes))
		return;
	snprintf(mb, sizeof(mb), "%" PRIu64, bytes >> 20);
	pc_log(PC_LOG_WARN, "health",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) },
			 { "memory_mb", mb }),
	       "it has grown past its reservation, which grows with it");
	process_write_record(process);
}

static void on_interval(uv_timer_t *timer)
{
	struct process *process = timer->data;
	const char *path = path_of(process);

	if (process->worker->info.gpu_id < 0) /* what it holds of a GPU, the driver tells */
		measure(process);
	if (path && !process->probe)
		ask(process, path);
}

void health_begin(struct process *process)
{
	uint64_t interval_ms = settings_of(process).interval_ms;

	/* It was stopped after it had loaded, and before that was known: the timer runs already. */
	if (process->stands_still)
		return;
	process->cpu_ticks = pc_process_cpu_ticks(process->stub.pid);
	uv_timer_start(&process->health_timer, on_interval, interval_ms, interval_ms);
}

void health_end(struct process *process)
{
	if (process->handles > 0)
		uv_timer_stop(&process->health_timer);
	probe_end(process);
}

/* ---- stopped by a signal ---- */

static void on_stood_too_long(uv_timer_t *timer)
{
	struct process *process = timer->data;
	struct pc_error cause = PC_ERROR_INIT;

	pc_error_set(&cause, PC_E_WORKER_FAILED,
		     "worker %s of '%s' hangs: a signal stopped it %" PRIu64 " s ago",
		     process_name(process), process_model(process),
		     settings_of(process).stopped_secs);
	process_give_up(process, &cause);
}

void health_note_stopped(struct process *process, int signal)
{
	if (!process_is_running(process))
		return;
	pc_log(PC_LOG_WARN, "health",
	       PC_FIELDS({ "worker", process_name(process) }, { "model", process_model(process) }),
	       "SIG%s stopped it", sigabbrev_np(signal) ? sigabbrev_np(signal) : "?");
	if (process->state == SERVING)
		health_end(process);
	process->stands_still = true;
	uv_timer_start(&process->health_timer, on_stood_too_long,
		       settings_of(process).stopped_secs * 1000, 0);
}

void health_note_continued(struct process *process)
{
	if (!process->stands_still || !process_is_running(process))
		return;
	process->stands_still = false;
	uv_timer_stop(&process->health_timer);
	if (process->state == SERVING)
		health_begin(process);
}
