/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - worker processes. Loop 0's thread.
 *
 *	order        state        left by
 *	spawn   -->  PREPARING    prepared(): file checked, record written      --> launch()
 *	             STARTING     become_ready(): probe or callback said so     --> SERVING
 *	             SERVING
 *	stop    -->  STOPPING     SIGTERM, after the grace SIGKILL
 *	             (any)        on_exit_readable(): the pidfd says so         --> gone
 *
 * Every state is left in the end: PREPARING waits for the disk only, STARTING is bounded by the
 * brain's start timeout (it orders a stop), STOPPING by the grace. A process is gone when it was
 * reaped, its group was killed, and what it wrote last was read.
 *
 * What this file does not do: decide. Whether to spawn, stop or give up is the brain's; the reasons
 * are logged here, where they are carried out.
 *
 * XXX A daemon that is killed between spawn and the write of the pid leaves a worker that the next
 * one does not find.
 */
#include "daemon/supervisor.h"

#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>
#include <poolcore/text.h>

#include <errno.h>
#include <poll.h>
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

/* Between two readiness probes: short at first, because small models load in a blink. Guesses;
 * change freely. */
#define PROBE_FIRST_MS 20
#define PROBE_MAX_MS 250
/* A worker that does not answer its probe is asked again. */
#define PROBE_TIMEOUT_MS 2000
/* Ports that the kernel offers and another worker was promised. */
#define PORT_TRIES 64

enum process_state { PREPARING, STARTING, SERVING, STOPPING };

struct process {
	struct supervisor *supervisor;
	struct worker *worker;
	struct process *next;
	enum process_state state;
	struct pc_process os;
	uint64_t launched_ns;

	bool stop_ordered;
	enum pc_stop_reason stop_reason;
	bool killed;	 /* the grace was over, or force */
	bool registered; /* the registry holds its record */

	uv_poll_t exit_watch;
	uv_poll_t log_watch;
	uv_timer_t timer; /* the next probe, or the grace's end */
	unsigned handles; /* not closed yet */
	uint64_t probe_delay_ms;
	struct http_call *probe;
};

struct supervisor {
	struct daemon *daemon;
	struct clerk *clerk;
	struct process *processes;
};

static uv_loop_t *loop_of(struct supervisor *supervisor)
{
	return &supervisor->daemon->loops[0].uv;
}

static const char *name_of(const struct process *process)
{
	return process->worker->info.worker_id;
}

static const char *model_of(const struct process *process)
{
	return process->worker->info.model_id;
}

/* ---- the registry ---- */

/* Publishes a new status and has the clerk write it down. */
static void record_status(struct process *process, enum pc_worker_status status)
{
	struct supervisor *supervisor = process->supervisor;
	struct clerk_job *job = pc_calloc(1, sizeof(*job));
	struct pc_worker_info info;

	body_worker_status(supervisor->daemon, process->worker, status, &info);
	if (!job) {
		pc_log(PC_LOG_ERROR, "registry", PC_FIELDS({ "worker", name_of(process) }),
		       "no memory to record a status; the registry lags behind");
		return;
	}
	job->task = CLERK_UPDATE;
	job->worker = info;
	clerk_give(supervisor->clerk, job);
}

static void record_gone(struct process *process)
{
	struct clerk_job *job = process->registered ? pc_calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return; /* out of memory: the next daemon finds that the process is gone */
	job->task = CLERK_UNREGISTER;
	memcpy(job->worker.worker_id, name_of(process), sizeof(job->worker.worker_id));
	clerk_give(process->supervisor->clerk, job);
}

/* ---- the end of a process ---- */

static void free_process(struct process *process)
{
	struct supervisor *supervisor = process->supervisor;

	for (struct process **at = &supervisor->processes; *at; at = &(*at)->next) {
		if (*at == process) {
			*at = process->next;
			break;
		}
	}
	pc_free(process);
	/* The end of the program may be waiting for the last one to go. */
	uv_async_send(&supervisor->daemon->loops[0].wake);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct process *process = handle->data;

	if (--process->handles > 0)
		return;
	pc_process_close(&process->os);
	free_process(process);
}

static void close_handles(struct process *process)
{
	if (process->probe) {
		http_call_abort(process->probe);
		process->probe = NULL;
	}
	/* In the order in which watch() made them. */
	uv_handle_t *const handles[] = { (uv_handle_t *)&process->timer,
					 (uv_handle_t *)&process->exit_watch,
					 (uv_handle_t *)&process->log_watch };

	for (unsigned i = process->handles; i-- > 0;)
		uv_close(handles[i], on_handle_closed);
}

static void exit_sentence(const struct pc_worker_exit *exit, char *out, size_t size)
{
	if (!exit->known)
		snprintf(out, size, "ended");
	else if (exit->signal)
		snprintf(out, size, "was killed by SIG%s", sigabbrev_np(exit->signal));
	else
		snprintf(out, size, "exited with status %d", exit->code);
}

/* Why it is gone, for the requests that waited for it and for the log. */
static void death_cause(struct process *process, const struct pc_worker_exit *exit,
			struct pc_error *cause)
{
	char how[64], last[PC_ERROR_MESSAGE_MAX / 2];

	exit_sentence(exit, how, sizeof(how));
	logbook_last(process->worker->log, last, sizeof(last));
	/* One that failed was dying before it was told to stop, so its own end says more. */
	if (process->stop_ordered && process->stop_reason != PC_STOP_FAILED) {
		pc_error_set(cause, PC_E_WORKER_FAILED, "worker %s of '%s' was stopped (%s)",
			     name_of(process), model_of(process),
			     pc_stop_reason_text(process->stop_reason));
	} else if (process->state == STARTING) {
		pc_error_set(cause, PC_E_SPAWN_FAILED,
			     "worker %s of '%s' %s before it was ready%s%s", name_of(process),
			     model_of(process), how, last[0] ? ": " : "", last);
	} else {
		pc_error_set(cause, PC_E_WORKER_FAILED, "worker %s of '%s' %s%s%s",
			     name_of(process), model_of(process), how, last[0] ? ": " : "", last);
	}
	pc_error_detail(cause, "worker_id", "%s", name_of(process));
	pc_error_detail(cause, "exit", "%s", how);
}

/* Stops that the brain did not have to order because all was well. */
static bool stop_was_wanted(const struct process *process)
{
	return process->stop_ordered && process->stop_reason != PC_STOP_FAILED &&
	       process->stop_reason != PC_STOP_OVERDUE;
}

/* Announces that a worker is no more; `exit` is NULL when it never had a process. */
static void announce_gone(struct process *process, const struct pc_worker_exit *exit,
			  const struct pc_error *cause)
{
	bool wanted = stop_was_wanted(process);

	pc_log(wanted ? PC_LOG_INFO : PC_LOG_WARN, "supervisor",
	       PC_FIELDS({ "worker", name_of(process) }, { "model", model_of(process) },
			 { "code", wanted ? "OK" : pc_error_name(cause->code) }),
	       "%s", cause->message);
	record_gone(process);
	if (process->worker->target.socket[0])
		unlink(process->worker->target.socket);
	/* The record belongs to the departed now, which may forget it. */
	body_worker_gone(process->supervisor->daemon, process->worker, exit,
			 process->stop_ordered ? NULL : cause);
	process->worker = NULL;
}

static void read_log(struct process *process);

/* Cut where a character ends. */
static void cause_to_reason(const struct pc_error *cause, char *out, size_t size)
{
	snprintf(out, size, "%.*s", (int)size - 1, cause->message);
	out[pc_utf8_valid_prefix(out, strlen(out))] = '\0';
}

static void on_exit_readable(uv_poll_t *watch, int status, int events)
{
	struct process *process = watch->data;
	struct pc_worker_exit exit = { .known = false };
	struct pc_error cause = PC_ERROR_INIT;

	(void)status;
	(void)events;
	if (!pc_process_reap(&process->os, &exit))
		return;
	exit.wall_ms = pc_clock_wall_ms();
	read_log(process);
	logbook_finish(process->worker->log, NULL, NULL);
	death_cause(process, &exit, &cause);
	cause_to_reason(&cause, exit.reason, sizeof(exit.reason));
	announce_gone(process, &exit, &cause);
	close_handles(process);
}

/* ---- stopping ---- */

static void kill_now(struct process *process, const char *why)
{
	if (process->killed)
		return;
	process->killed = true;
	pc_log(PC_LOG_WARN, "worker",
	       PC_FIELDS({ "worker", name_of(process) }, { "model", model_of(process) },
			 { "reason", why }),
	       "killing");
	pc_process_signal(&process->os, SIGKILL, NULL);
}

static void on_grace_over(uv_timer_t *timer)
{
	kill_now(timer->data, "the stop's grace is over");
}

static void stop(struct process *process, enum pc_stop_reason why, bool force)
{
	bool first = !process->stop_ordered;

	process->stop_ordered = true;
	if (first)
		process->stop_reason = why;
	if (process->state == PREPARING)
		return; /* prepared() sees it */
	if (process->state != STOPPING) {
		process->state = STOPPING;
		if (process->probe) {
			http_call_abort(process->probe);
			process->probe = NULL;
		}
		pc_log(PC_LOG_INFO, "worker",
		       PC_FIELDS({ "worker", name_of(process) }, { "model", model_of(process) },
				 { "reason", pc_stop_reason_text(why) }),
		       "stopping");
		record_status(process, PC_WORKER_STOPPING);
		pc_process_signal(&process->os, SIGTERM, NULL);
		/* A stopped process cannot act on SIGTERM. */
		pc_process_signal(&process->os, SIGCONT, NULL);
		uv_timer_start(&process->timer, on_grace_over,
			       process->worker->backend->stop_grace_secs * 1000, 0);
	}
	if (force)
		kill_now(process, pc_stop_reason_text(process->stop_reason));
}

/* ---- readiness ---- */

static void become_ready(struct process *process, uint64_t reported_bytes)
{
	struct daemon *daemon = process->supervisor->daemon;
	bool on_gpu = process->worker->info.gpu_id >= 0;
	uint64_t measured;
	char load_ms[24];

	if (process->state != STARTING)
		return; /* late or repeated */
	process->state = SERVING;
	uv_timer_stop(&process->timer);
	/* What the process holds in RAM says nothing about a GPU. */
	measured = on_gpu ? 0 : pc_process_memory(process->os.pid);
	if (reported_bytes > measured)
		measured = reported_bytes;
	snprintf(load_ms, sizeof(load_ms), "%llu",
		 (unsigned long long)((pc_clock_now_ns() - process->launched_ns) / PC_NS_PER_MS));
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "worker", name_of(process) }, { "model", model_of(process) },
			 { "load_ms", load_ms }),
	       "ready");
	record_status(process, PC_WORKER_READY);
	body_worker_ready(daemon, process->worker, measured);
	if (on_gpu)
		gpus_look(daemon->gpus); /* what it holds there, its driver knows */
}

static void schedule_probe(struct process *process);

static void on_probe_head(void *ctx, struct http_call *call, int status,
			  const struct http_header *headers, size_t count)
{
	struct process *process = ctx;

	(void)headers;
	(void)count;
	http_call_abort(call);
	process->probe = NULL;
	if (status == 200)
		become_ready(process, 0);
	else
		schedule_probe(process);
}

static void on_probe_body(void *ctx, struct http_call *call, const char *data, size_t length)
{
	(void)ctx;
	(void)call;
	(void)data;
	(void)length;
}

static void on_probe_end(void *ctx, struct http_call *call)
{
	(void)ctx;
	(void)call;
}

static void on_probe_error(void *ctx, struct http_call *call, enum http_stage stage,
			   const struct pc_error *err)
{
	struct process *process = ctx;

	(void)call;
	(void)stage;
	(void)err;
	process->probe = NULL;
	schedule_probe(process);
}

static const struct http_call_handlers probe_handlers = {
	.on_head = on_probe_head,
	.on_body = on_probe_body,
	.on_end = on_probe_end,
	.on_error = on_probe_error,
};

static void on_probe_due(uv_timer_t *timer)
{
	struct process *process = timer->data;
	const char *path = process->worker->backend->readiness_path;
	const struct http_call_request request = {
		.target = &process->worker->target,
		.method = "GET",
		.path = { path, strlen(path) },
		.timeout_ms = PROBE_TIMEOUT_MS,
	};

	if (http_call_start(process->supervisor->daemon->loops[0].client, &request, &probe_handlers,
			    process, &process->probe, NULL))
		schedule_probe(process);
}

static void schedule_probe(struct process *process)
{
	if (process->state != STARTING)
		return;
	uv_timer_start(&process->timer, on_probe_due, process->probe_delay_ms, 0);
	process->probe_delay_ms *= 2;
	if (process->probe_delay_ms > PROBE_MAX_MS)
		process->probe_delay_ms = PROBE_MAX_MS;
}

/* ---- logs ---- */

static void log_worker_line(void *ctx, const char *text)
{
	struct process *process = ctx;

	pc_log(PC_LOG_DEBUG, "worker.log", PC_FIELDS({ "worker", name_of(process) }), "%s", text);
}

/* Reads what is there, at most 256 KiB at a time so that a chatty worker does not hold up the loop.
 */
static void read_log(struct process *process)
{
	char buffer[8192];

	for (int i = 0; i < 32 && process->os.log_fd >= 0; i++) {
		ssize_t got = read(process->os.log_fd, buffer, sizeof(buffer));

		if (got > 0) {
			logbook_write(process->worker->log, buffer, (size_t)got, log_worker_line,
				      process);
			continue;
		}
		if (got == 0)
			uv_poll_stop(&process->log_watch); /* all its writers are gone */
		if (got < 0 && errno == EINTR)
			continue;
		return;
	}
}

static void on_log_readable(uv_poll_t *watch, int status, int events)
{
	(void)status;
	(void)events;
	read_log(watch->data);
}

/* ---- launching ---- */

/* The worker could not be started: there is no process, so it is gone at once. */
static void give_up(struct process *process, const struct pc_error *cause)
{
	announce_gone(process, NULL, cause);
	free_process(process);
}

struct launch_plan {
	struct http_target target;
	char token[33];
	struct pc_string_list argv;
	struct pc_string_list env;
	char *program;
};

static void plan_fini(struct launch_plan *plan)
{
	pc_string_list_free(&plan->argv);
	pc_string_list_free(&plan->env);
	pc_free(plan->program);
}

static bool port_is_ours(const struct supervisor *supervisor, uint16_t port)
{
	for (const struct process *at = supervisor->processes; at; at = at->next) {
		if (at->worker && at->worker->target.port == port)
			return true;
	}
	return false;
}

/*
 * The kernel gives out a port that is free now; one that we promised to a worker which does not
 * listen yet would be given out twice, and the second worker would be taken for the first.
 */
static int pick_port(struct process *process, uint16_t *ret_port, struct pc_error *err)
{
	for (int i = 0; i < PORT_TRIES; i++) {
		int rc = pc_port_pick(ret_port, err);

		if (rc)
			return rc;
		if (!port_is_ours(process->supervisor, *ret_port))
			return 0;
	}
	return pc_error_set(err, PC_E_PORT_IN_USE,
			    "no free port was found in %d tries; all were promised to workers",
			    PORT_TRIES);
}

static int plan_address(struct process *process, struct launch_plan *plan, struct pc_error *err)
{
	const struct pc_backend_config *backend = process->worker->backend;

	if (pc_command_uses(backend, "socket")) {
		int length = snprintf(plan->target.socket, sizeof(plan->target.socket),
				      "%s/%s.sock", process->supervisor->daemon->runtime_dir,
				      name_of(process));

		if (length < 0 || (size_t)length >= sizeof(plan->target.socket)) {
			return pc_error_set(
				err, PC_E_SPAWN_FAILED,
				"the path of the worker's socket is longer than %zu bytes; "
				"use a shorter pool.state_dir",
				sizeof(plan->target.socket) - 1);
		}
		return 0;
	}
	if (!process->worker->port)
		return pick_port(process, &plan->target.port, err);
	plan->target.port = process->worker->port;
	return pc_port_check(plan->target.port, err);
}

static int plan_launch(struct process *process, struct launch_plan *plan, struct pc_error *err)
{
	const struct pc_model_entry *entry = process->worker->entry;
	int rc = plan_address(process, plan, err);

	if (!rc)
		rc = pc_token_make(plan->token, err);
	if (rc)
		return rc;

	int gpu_id = process->worker->info.gpu_id;
	char uuid[96] = "";
	bool has_uuid = gpu_id < 0 || gpus_uuid(process->supervisor->daemon->gpus, gpu_id, uuid);
	const struct pc_launch_values values = {
		.model_path = entry->path,
		.model_id = entry->id,
		.worker_id = name_of(process),
		.port = plan->target.port,
		.socket = plan->target.socket[0] ? plan->target.socket : NULL,
		.gpu_id = gpu_id,
		.gpu_uuid = has_uuid ? uuid : NULL,
		.slots = entry->slots,
		.context_tokens = entry->context_tokens,
		.capability = pc_capability_name(entry->capability),
		.spawn_token = plan->token,
		.ready_url = process->supervisor->daemon->ready_url,
	};

	rc = pc_command_build(process->worker->backend, &values, &plan->argv, &plan->env, err);
	if (!rc)
		rc = pc_program_find(plan->argv.items[0], &plan->program, err);
	return rc;
}

/*
 * The token and the address must stand in the record before the process exists: it may report that
 * it is ready before posix_spawn has even returned to us.
 */
static int launch(struct process *process, struct pc_error *err)
{
	struct daemon *daemon = process->supervisor->daemon;
	struct launch_plan plan = { .program = NULL };
	struct pc_worker_info info;
	char pid[16];
	int rc = plan_launch(process, &plan, err);

	if (!rc) {
		body_worker_addressed(daemon, process->worker, &plan.target, plan.token);
		process->launched_ns = pc_clock_now_ns();
		rc = pc_process_spawn(plan.program, plan.argv.items, plan.env.items, &process->os,
				      err);
	}
	plan_fini(&plan);
	if (rc)
		return rc;
	body_worker_launched(daemon, process->worker, process->os.pid, process->os.start_ticks,
			     &info);
	snprintf(pid, sizeof(pid), "%d", (int)process->os.pid);
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "worker", info.worker_id }, { "model", info.model_id },
			 { "backend", info.backend }, { "device", info.device }, { "pid", pid }),
	       "spawned");
	return 0;
}

/* epoll may refuse a descriptor (no memory, no watches left); a process that nobody watches must
 * not live. */
static int watch(struct process *process, struct pc_error *err)
{
	uv_loop_t *loop = loop_of(process->supervisor);
	int rc;

	uv_timer_init(loop, &process->timer);
	process->timer.data = process->exit_watch.data = process->log_watch.data = process;
	process->handles = 1;
	rc = uv_poll_init(loop, &process->exit_watch, process->os.pidfd);
	if (!rc) {
		process->handles++;
		rc = uv_poll_init(loop, &process->log_watch, process->os.log_fd);
	}
	if (!rc) {
		process->handles++;
		rc = uv_poll_start(&process->exit_watch, UV_READABLE, on_exit_readable);
	}
	if (!rc)
		rc = uv_poll_start(&process->log_watch, UV_READABLE, on_log_readable);
	if (rc)
		return pc_error_sys(err, PC_E_SPAWN_FAILED, -rc, "cannot watch worker %s",
				    name_of(process));
	return 0;
}

/* Kills a process that could not be watched, and waits for it: the one place where loop 0 does. */
static void end_unwatched(struct process *process, const struct pc_error *cause)
{
	struct pc_worker_exit exit = { .known = false };
	struct pollfd ended = { .fd = process->os.pidfd, .events = POLLIN };

	pc_process_signal(&process->os, SIGKILL, NULL);
	while (poll(&ended, 1, -1) < 0 && errno == EINTR)
		;
	pc_process_reap(&process->os, &exit);
	announce_gone(process, &exit, cause);
	close_handles(process);
}

/* Whoever waits for the worker wants to know that it did not start, and may try again; what the
 * disk or the kernel refused is the reason. */
static void name_io_failure(const struct process *process, struct pc_error *err)
{
	const struct pc_error reason = *err;

	if (reason.code != PC_E_IO)
		return;
	pc_error_clear(err);
	pc_error_set(err, PC_E_SPAWN_FAILED, "cannot start a worker of '%s': %s", model_of(process),
		     reason.message);
	err->sys_errno = reason.sys_errno;
}

/*
 * Those who wait have asked for a model. A program that is not found or a port that is taken is not
 * their mistake, as 404 and 409 would say: the spawn failed, and the message tells why.
 */
static int blame_the_spawn(struct pc_error *err)
{
	if (err->code != PC_E_OUT_OF_MEMORY)
		err->code = PC_E_SPAWN_FAILED;
	return err->code;
}

static void prepared(struct clerk_job *job)
{
	struct process *process = job->ctx;

	process->registered = !job->result;
	if (!job->result && process->stop_ordered) {
		pc_error_set(&job->error, PC_E_CANCELLED, "worker %s of '%s' was stopped (%s)",
			     name_of(process), model_of(process),
			     pc_stop_reason_text(process->stop_reason));
		job->result = PC_E_CANCELLED;
	}
	if (!job->result && launch(process, &job->error))
		job->result = blame_the_spawn(&job->error);
	if (job->result) {
		name_io_failure(process, &job->error);
		give_up(process, &job->error);
		return;
	}
	process->state = STARTING;
	if (watch(process, &job->error)) {
		end_unwatched(process, &job->error);
		return;
	}
	record_status(process, PC_WORKER_SPAWNING);
	if (process->worker->backend->readiness == PC_READINESS_HTTP) {
		process->probe_delay_ms = PROBE_FIRST_MS;
		schedule_probe(process);
	}
}

static void begin(struct supervisor *supervisor, struct worker *worker)
{
	struct process *process = pc_calloc(1, sizeof(*process));
	struct clerk_job *job = pc_calloc(1, sizeof(*job));

	if (!process || !job) {
		struct pc_error cause = PC_ERROR_INIT;

		pc_free(process);
		pc_free(job);
		pc_error_oom(&cause);
		body_worker_gone(supervisor->daemon, worker, NULL, &cause);
		return;
	}
	process->supervisor = supervisor;
	process->worker = worker;
	process->os = (struct pc_process){ .pidfd = -1, .log_fd = -1 };
	process->next = supervisor->processes;
	supervisor->processes = process;

	job->task = CLERK_PREPARE;
	body_worker_copy(supervisor->daemon, worker, &job->worker);
	job->entry = worker->entry;
	job->done = prepared;
	job->ctx = process;
	clerk_give(supervisor->clerk, job);
}

/* NULL when it is gone, in which case the record may be too: only the pointer is compared. */
static struct process *find_process(struct supervisor *supervisor, const struct worker *worker)
{
	struct process *process = supervisor->processes;

	while (process && process->worker != worker)
		process = process->next;
	return process;
}

void supervisor_run_orders(struct supervisor *supervisor)
{
	struct worker_orders orders;
	struct worker *worker;

	while ((worker = body_next_order(supervisor->daemon, &orders))) {
		if (orders.spawn)
			begin(supervisor, worker);

		struct process *process = find_process(supervisor, worker);

		if (process && orders.ready)
			become_ready(process, orders.ready_bytes);
		if (process && orders.stop)
			stop(process, orders.reason, orders.force);
	}
}

bool supervisor_is_idle(const struct supervisor *supervisor)
{
	return !supervisor->processes;
}

/* ---- creation ---- */

int supervisor_create(struct daemon *daemon, struct supervisor **ret_supervisor,
		      struct pc_error *err)
{
	struct supervisor *supervisor = pc_calloc(1, sizeof(*supervisor));
	int rc;

	if (!supervisor)
		return pc_error_oom(err);
	supervisor->daemon = daemon;
	rc = clerk_create(loop_of(supervisor), daemon->registry, &supervisor->clerk, err);
	if (rc) {
		pc_free(supervisor);
		return rc;
	}
	*ret_supervisor = supervisor;
	return 0;
}

void supervisor_close(struct supervisor *supervisor)
{
	clerk_destroy(supervisor->clerk);
	supervisor->clerk = NULL;
}

void supervisor_free(struct supervisor *supervisor)
{
	pc_free(supervisor);
}
