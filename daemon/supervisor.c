/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - all worker processes: takes the brain's orders to the process that each one is
 * for. What a process goes through is told in process.c. Loop 0's thread.
 */
#include "daemon/supervisor.h"

#include "daemon/body.h"
#include "daemon/clerk.h"
#include "daemon/daemon.h"
#include "daemon/loop.h"
#include "daemon/process.h"

struct supervisor {
	struct daemon *daemon;
	struct clerk *clerk;
	struct process *processes;
};

struct daemon *supervisor_daemon(const struct supervisor *supervisor)
{
	return supervisor->daemon;
}

struct clerk *supervisor_clerk(const struct supervisor *supervisor)
{
	return supervisor->clerk;
}

void supervisor_add(struct supervisor *supervisor, struct process *process)
{
	process->next = supervisor->processes;
	supervisor->processes = process;
}

void supervisor_remove(struct supervisor *supervisor, struct process *process)
{
	struct process **at = &supervisor->processes;

	while (*at != process)
		at = &(*at)->next;
	*at = process->next;
}

bool supervisor_promised_port(const struct supervisor *supervisor, uint16_t port)
{
	for (const struct process *at = supervisor->processes; at; at = at->next) {
		if (at->worker && at->worker->target.port == port)
			return true;
	}
	return false;
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
			process_begin(supervisor, worker);

		struct process *process = find_process(supervisor, worker);

		if (process && orders.ready)
			process_become_ready(process, orders.ready_bytes);
		if (process && orders.stop)
			process_stop(process, orders.reason, orders.force);
	}
}

bool supervisor_is_idle(const struct supervisor *supervisor)
{
	for (const struct process *at = supervisor->processes; at; at = at->next) {
		if (!at->stuck)
			return false;
	}
	return true;
}

unsigned supervisor_leave_behind(struct supervisor *supervisor)
{
	unsigned count = 0;

	for (struct process *process = supervisor->processes, *next; process; process = next) {
		next = process->next;
		if (!process->worker)
			continue; /* it is gone, or was left already */
		process_leave_behind(process);
		count++;
	}
	return count;
}

/* Each may be gone after it. */
static void for_each(struct supervisor *supervisor, void (*act)(struct process *process))
{
	for (struct process *process = supervisor->processes, *next; process; process = next) {
		next = process->next;
		act(process);
	}
}

void supervisor_leave(struct supervisor *supervisor)
{
	for_each(supervisor, process_leave);
}

void supervisor_abandon(struct supervisor *supervisor)
{
	for_each(supervisor, process_abandon);
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
	rc = clerk_create(&daemon->loops[0].uv, daemon->registry, daemon->life_dir, daemon->cgroup,
			  &supervisor->clerk, err);
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
