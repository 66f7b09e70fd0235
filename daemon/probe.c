/* SPDX-License-Identifier: MIT */
/*
 * probe.c - one GET to a worker, of which only the status of the answer matters: is it loaded, is
 * it well? At most one at a time. Loop 0's thread.
 */
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/loop.h"
#include "daemon/process.h"

static void on_head(void *ctx, struct http_call *call, int status,
		    const struct http_header *headers, size_t count)
{
	struct process *process = ctx;

	(void)headers;
	(void)count;
	http_call_abort(call);
	process->probe = NULL;
	process->on_probed(process, status, NULL);
}

static void on_error(void *ctx, struct http_call *call, enum http_stage stage,
		     const struct pc_error *err)
{
	struct process *process = ctx;
	const struct pc_error why = *err;

	(void)call;
	(void)stage;
	process->probe = NULL;
	process->on_probed(process, 0, &why);
}

/* The call is given up at its head: nothing else of an answer comes. */
static const struct http_call_handlers handlers = {
	.on_head = on_head,
	.on_error = on_error,
};

int probe_begin(struct process *process, const char *path, uint64_t timeout_ms,
		probe_answered answered)
{
	const struct http_call_request request = {
		.target = &process->worker->target,
		.method = "GET",
		.path = { path, strlen(path) },
		.timeout_ms = timeout_ms,
	};

	process->on_probed = answered;
	return http_call_start(process_daemon(process)->loops[0].client, &request, &handlers,
			       process, &process->probe, NULL);
}

void probe_end(struct process *process)
{
	if (process->probe)
		http_call_abort(process->probe);
	process->probe = NULL;
}
