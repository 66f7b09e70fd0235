/* SPDX-License-Identifier: MIT */
/*
 * survivor.c - a worker whose stub was killed, or does not end though it should. It dies with its
 * stub, but not at the same moment: a large one takes seconds to free its memory, one that hangs in
 * a driver does not come back at all, and one that has cleared its parent-death signal lives on. Who
 * else came from it is killed by pc_stub_settle. Loop 0's thread; nothing here waits.
 */
#include <poolcore/lifecycle.h>

#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/failpoint.h"
#include "daemon/process.h"

void survivor_init(struct process *process)
{
	process->survivor_pidfd = -1;
}

void survivor_take(struct process *process, int pidfd)
{
	process->survivor_pidfd = pidfd;
	process->survivor_sought = true;
}

/* Kills it, should it still be there. In the usual case its stub has reaped it. */
static void seek(struct process *process)
{
	const struct pc_worker_info *info = &process->worker->info;
	int rc = pc_process_open(info->pid, info->start_ticks, info->boot_id,
				 &process->survivor_pidfd, NULL);

	if (!rc && FAILPOINT_KILLS())
		pidfd_send_signal(process->survivor_pidfd, SIGKILL, NULL, 0);
	/* Without a descriptor nobody knows. */
	process->survivor_sought = !rc || rc == PC_E_NOT_FOUND;
}

bool survivor_lives(struct process *process)
{
	struct pollfd over = { .events = POLLIN };

	if (!process->survivor_sought) {
		if (process->worker->info.pid <= 1)
			return false; /* its stub has not told of one, yet */
		seek(process);
	}
	over.fd = process->survivor_pidfd;
	if (over.fd < 0)
		return !process->survivor_sought;
	if (poll(&over, 1, 0) != 1)
		return true;
	survivor_close(process);
	return false;
}

void survivor_close(struct process *process)
{
	if (process->survivor_pidfd >= 0)
		close(process->survivor_pidfd);
	process->survivor_pidfd = -1;
}
