/* SPDX-License-Identifier: MIT */
/* orphans.c - ends the workers that an earlier daemon left behind. Blocks, before any loop runs. */
#include "daemon/orphans.h"

#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "daemon/daemon.h"

/* How long workers of a dead daemon may take to leave before they are killed, and then to be gone.
 * A guess. */
#define ORPHAN_GRACE_MS 5000

struct orphan {
	struct pc_process os;
	const struct pc_worker_info *info;
};

/* Waits for all of them until the deadline; true when none is left. */
static bool wait_for_orphans(struct orphan *orphans, size_t count, uint64_t deadline_ns)
{
	for (size_t i = 0; i < count; i++) {
		struct pollfd watch = { .fd = orphans[i].os.pidfd, .events = POLLIN };
		uint64_t now = pc_clock_now_ns();
		int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / PC_NS_PER_MS) + 1 : 0;

		while (poll(&watch, 1, left_ms) < 0 && errno == EINTR)
			;
		if (!(watch.revents & POLLIN))
			return false;
	}
	return true;
}

static int end_orphans(struct orphan *orphans, size_t count, struct pc_error *err)
{
	const uint64_t grace_ns = ORPHAN_GRACE_MS * PC_NS_PER_MS;

	for (size_t i = 0; i < count; i++) {
		pc_log(PC_LOG_WARN, "worker",
		       PC_FIELDS({ "worker", orphans[i].info->worker_id },
				 { "model", orphans[i].info->model_id }),
		       "an earlier daemon left it running; stopping it");
		pc_process_signal(&orphans[i].os, SIGTERM, NULL);
		pc_process_signal(&orphans[i].os, SIGCONT, NULL);
	}
	if (wait_for_orphans(orphans, count, pc_clock_now_ns() + grace_ns))
		return 0;
	for (size_t i = 0; i < count; i++)
		pc_process_signal(&orphans[i].os, SIGKILL, NULL);
	if (wait_for_orphans(orphans, count, pc_clock_now_ns() + grace_ns))
		return 0;
	return pc_error_set(
		err, PC_E_IO,
		"workers of an earlier daemon do not die even by SIGKILL; is a driver stuck?");
}

/*
 * Opens those that still run. One that cannot be opened for another reason than that it is gone
 * keeps its record and stops the start: it may hold a GPU, and nobody else knows of it.
 */
static int find_orphans(const struct pc_worker_info *workers, size_t count, struct orphan *orphans,
			size_t *ret_found, struct pc_error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct pc_error why = PC_ERROR_INIT;
		int rc = PC_E_NOT_FOUND;

		if (workers[i].pid > 0)
			rc = pc_process_open(workers[i].pid, workers[i].start_ticks,
					     workers[i].boot_id, &orphans[*ret_found].os, &why);
		if (rc == 0)
			orphans[(*ret_found)++].info = &workers[i];
		else if (rc != PC_E_NOT_FOUND && rc != PC_E_INVALID_ARGUMENT)
			return pc_error_set(err, rc, "worker %s of an earlier daemon: %s",
					    workers[i].worker_id, why.message);
	}
	return 0;
}

int orphans_clear(struct daemon *daemon, struct pc_error *err)
{
	pc_auto(pc_free) struct pc_worker_info *workers = NULL;
	pc_auto(pc_free) struct orphan *orphans = NULL;
	size_t count, found = 0;
	int rc = pc_registry_list(daemon->registry, &workers, &count, err);

	if (rc)
		return rc;
	orphans = pc_calloc(count, sizeof(*orphans));
	if (!orphans)
		return pc_error_oom(err);
	rc = find_orphans(workers, count, orphans, &found, err);
	if (!rc)
		rc = end_orphans(orphans, found, err);
	for (size_t i = 0; i < found; i++)
		pc_process_close(&orphans[i].os);
	for (size_t i = 0; i < count && !rc; i++) {
		if (workers[i].socket[0])
			unlink(workers[i].socket);
		rc = pc_registry_unregister(daemon->registry, workers[i].worker_id, err);
	}
	return rc;
}
