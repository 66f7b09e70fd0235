/* SPDX-License-Identifier: MIT */
/*
 * launch.c - how a worker is started: where it will listen, its command and its environment, and
 * the spawn of its stub. Loop 0's thread; nothing here waits.
 *
 * The plan comes before the record, because the record has the address and the token that the next
 * daemon would need; and both stand there before the process exists, which may report that it is
 * loaded before posix_spawn has even returned to us.
 */
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>

#include <stdio.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/cgroup.h"
#include "daemon/daemon.h"
#include "daemon/gpus.h"
#include "daemon/process.h"

/* Ports that the kernel offers and another worker was promised. */
#define PORT_TRIES 64

struct launch_plan {
	struct http_target target;
	char token[33];
	struct pc_string_list argv;
	struct pc_string_list env;
	char *program;
};

void launch_plan_free(struct launch_plan *plan)
{
	if (!plan)
		return;
	pc_string_list_free(&plan->argv);
	pc_string_list_free(&plan->env);
	pc_free(plan->program);
	pc_free(plan);
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
		if (!supervisor_promised_port(process->supervisor, *ret_port))
			return 0;
	}
	return pc_error_set(err, PC_E_PORT_IN_USE,
			    "no free port was found in %d tries; all were promised to workers",
			    PORT_TRIES);
}

static int plan_address(struct process *process, struct http_target *target, struct pc_error *err)
{
	if (pc_command_uses(process->worker->model->backend, "socket")) {
		int length = snprintf(target->socket, sizeof(target->socket), "%s/%s.sock",
				      process_daemon(process)->runtime_dir, process_name(process));

		if (length < 0 || (size_t)length >= sizeof(target->socket)) {
			return pc_error_set(
				err, PC_E_SPAWN_FAILED,
				"the path of the worker's socket is longer than %zu bytes; "
				"use a shorter pool.state_dir",
				sizeof(target->socket) - 1);
		}
		return 0;
	}
	if (!process->worker->port)
		return pick_port(process, &target->port, err);
	target->port = process->worker->port;
	return pc_port_check(target->port, err);
}

static int plan_command(const struct process *process, struct launch_plan *plan,
			struct pc_error *err)
{
	const struct daemon *daemon = process_daemon(process);
	const struct pc_model_entry *entry = process->worker->model->entry;
	int gpu_id = process->worker->info.gpu_id;
	char uuid[96] = "";
	bool has_uuid = gpu_id < 0 || gpus_uuid(daemon->gpus, gpu_id, uuid);
	const struct pc_launch_values values = {
		.model_path = filecheck_hand_over(process)->model_path,
		.model_id = entry->id,
		.worker_id = process_name(process),
		.port = plan->target.port,
		.socket = plan->target.socket[0] ? plan->target.socket : NULL,
		.gpu_id = gpu_id,
		.gpu_uuid = has_uuid ? uuid : NULL,
		.slots = entry->slots,
		.context_tokens = entry->context_tokens,
		.capability = pc_capability_name(entry->capability),
		.spawn_token = plan->token,
		.ready_url = daemon->ready_url,
	};
	int rc = pc_command_build(process->worker->model->backend, &values, &plan->argv, &plan->env,
				  err);

	if (!rc)
		rc = pc_program_find(plan->argv.items[0], &plan->program, err);
	return rc;
}

int launch_plan(struct process *process, struct pc_error *err)
{
	struct launch_plan *plan = process->plan = pc_calloc(1, sizeof(*plan));
	int rc;

	if (!plan)
		return pc_error_oom(err);
	rc = plan_address(process, &plan->target, err);
	if (!rc)
		rc = pc_token_make(plan->token, err);
	if (!rc)
		rc = plan_command(process, plan, err);
	if (!rc)
		body_worker_addressed(process_daemon(process), process->worker, &plan->target,
				      plan->token);
	return rc;
}

static int spawn(struct process *process, const struct launch_plan *plan, struct pc_error *err)
{
	const struct daemon *daemon = process_daemon(process);
	char cgroup[PATH_MAX];

	cgroup_path(daemon->cgroup, process_name(process), cgroup);

	const struct pc_stub_spec spec = {
		.life_dir = daemon->life_dir,
		.worker_id = process_name(process),
		.spawn_token = plan->token,
		.stub_program = daemon->stub_program,
		.program = plan->program,
		.argv = plan->argv.items,
		.env = plan->env.items,
		.cgroup = cgroup[0] ? cgroup : NULL,
		.model_fd = filecheck_hand_over(process)->fd,
		.open_files = daemon->open_files,
	};

	process->launched_ns = pc_clock_now_ns();
	return pc_stub_spawn(&spec, &process->stub, err);
}

int launch(struct process *process, struct pc_error *err)
{
	int rc = spawn(process, process->plan, err);

	launch_plan_free(process->plan);
	process->plan = NULL;
	if (!rc)
		body_worker_launched(process_daemon(process), process->worker, process->stub.pid,
				     process->stub.pidfd_inode);
	return rc;
}
