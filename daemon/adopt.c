/* SPDX-License-Identifier: MIT */
/*
 * adopt.c - takes over from a daemon that died. Blocks, before any loop runs, so that nothing is
 * decided before the ledger holds the reservation of every worker that lives. See adopt.h, and the
 * protocol in tests/formal/worker_life.pml.
 *
 * A worker is adopted as it is: loaded, and then it serves at once; or loading, and then its
 * readiness is waited for. It is ended instead when pool.orphan_policy says so, when it was being
 * stopped, and when the configuration has no place for it any more: its model is gone, or would be
 * launched otherwise now, by the same definition as at a reload, or no memory is left for it.
 *
 * XXX A driver may count the memory of a worker that was ended here for a moment after it has gone,
 * and the first load on that GPU may come earlier.
 */
#include "daemon/adopt.h"

#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>
#include <poolcore/stub.h>

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/clerk.h"
#include "daemon/daemon.h"
#include "daemon/failpoint.h"
#include "daemon/process.h"

/* How long workers that are ended may take to leave before they are killed, and then to be gone.
 * A guess. */
#define ORPHAN_GRACE_MS 5000

enum fate {
	FATE_GONE,    /* it had ended, and is forgotten */
	FATE_ENDS,    /* it runs, and is to be ended */
	FATE_ADOPTED, /* it goes on; the stub is its process's */
};

struct orphan {
	const struct pc_worker_info *info;
	struct pc_stub stub;
	enum fate fate;
	bool over; /* FATE_ENDS: its stub has ended */
	struct worker
		*worker; /* FATE_ENDS: the brain's, when only the adoption's last step failed */
};

struct orphanage {
	struct daemon *daemon;
	struct orphan *list;
	size_t count;
};

/* ---- those that are gone ---- */

static int forget(struct daemon *daemon, const struct pc_worker_info *info,
		  const struct pc_worker_exit *exit, struct pc_error *err)
{
	struct pc_worker_info worker = *info;
	int rc;

	worker.last_exit = *exit;
	rc = clerk_forget(daemon->registry, daemon->life_dir, daemon->cgroup, &worker, err);
	if (!rc && info->socket[0])
		unlink(info->socket);
	return rc;
}

static int note_end(struct daemon *daemon, const struct pc_worker_info *info, enum pc_life life,
		    const struct pc_stub_end *end, struct pc_error *err)
{
	struct pc_worker_exit exit = end->exit;

	if (life == PC_LIFE_NEVER_SPAWNED) {
		exit = (struct pc_worker_exit){ .code = -1, .wall_ms = pc_clock_wall_ms() };
		snprintf(exit.reason, sizeof(exit.reason), "never started: its daemon died first");
	}
	pc_log(life == PC_LIFE_NEVER_SPAWNED ? PC_LOG_INFO : PC_LOG_WARN, "adopt",
	       PC_FIELDS({ "worker", info->worker_id }, { "model", info->model_id },
			 { "exit", exit.reason }),
	       "it ended while no daemon was there");
	return forget(daemon, info, &exit, err);
}

/* Looks at one record. What runs is left for later; nothing is decided before all were seen. */
static int look(struct daemon *daemon, struct orphan *orphan, struct pc_error *err)
{
	const struct pc_worker_info *info = orphan->info;
	struct pc_error why = PC_ERROR_INIT;
	struct pc_stub_end end;
	enum pc_life life;
	int rc = pc_stub_recover(daemon->life_dir, info->worker_id, info->spawn_token, &life,
				 &orphan->stub, &end, &why);

	if (rc) {
		pc_error_set(err, rc, "worker %s of an earlier daemon: %s", info->worker_id,
			     why.message);
		return rc;
	}
	if (life == PC_LIFE_RUNNING) {
		orphan->fate = FATE_ENDS;
		return 0;
	}
	return note_end(daemon, info, life, &end, err);
}

/* ---- those that go on ---- */

/* Why it cannot: NULL, or the end of a sentence. */
static const char *misfit(const struct generation *generation, const struct pc_worker_info *info,
			  struct model **ret_model)
{
	struct model *model = generation_find(generation, info->model_id);

	if (strcmp(generation->config->pool_orphan_policy, "kill") == 0)
		return "pool.orphan_policy is \"kill\"";
	if (info->status >= PC_WORKER_STOPPING)
		return "it was being stopped";
	if (!model)
		return "its model is not in the catalog any more";
	if (strcmp(model->entry->model_ref, info->model_ref) != 0)
		return "its model has another file now";
	if (strcmp(model->entry->backend, info->backend) != 0)
		return "its model has another backend now";
	if (model->entry->slots != info->slots)
		return "its model has another number of slots now";
	/* The record of an older version says no more than that, and has to do. */
	if (info->definition[0] && strcmp(model->definition, info->definition) != 0)
		return "its model or its backend is configured otherwise now";
	*ret_model = model;
	return NULL;
}

static void log_misfit(const struct pc_worker_info *info, const char *why)
{
	pc_log(PC_LOG_WARN, "adopt",
	       PC_FIELDS({ "worker", info->worker_id }, { "model", info->model_id },
			 { "reason", why }),
	       "an earlier daemon's worker is not adopted; stopping it");
}

static void adopt_one(struct daemon *daemon, struct orphan *orphan)
{
	const struct pc_worker_info *info = orphan->info;
	bool loaded = info->status != PC_WORKER_SPAWNING;
	struct pc_error err = PC_ERROR_INIT;
	struct model *model;
	struct worker *worker;
	const char *why = misfit(daemon->generation, info, &model);
	char pid[16];

	if (why || body_adopt(daemon, model, info, loaded, &worker, &err)) {
		log_misfit(info, why ? why : err.message);
		return;
	}
	if (process_adopt(daemon->supervisor, worker, &orphan->stub, loaded, &err)) {
		orphan->worker = worker;
		log_misfit(info, err.message);
		return;
	}
	orphan->fate = FATE_ADOPTED;
	FAILPOINT(recover_after_adopt);
	snprintf(pid, sizeof(pid), "%d", (int)info->pid);
	pc_log(PC_LOG_INFO, "adopt",
	       PC_FIELDS({ "worker", info->worker_id }, { "model", info->model_id }, { "pid", pid },
			 { "status", loaded ? "ready" : "spawning" }),
	       "adopted");
}

/* ---- those that end ---- */

static bool is_ending(const struct orphan *orphan)
{
	return orphan->fate == FATE_ENDS && !orphan->over;
}

/* Waits for all of them until the deadline; true when none is left. */
static bool wait_for_ends(struct orphanage *orphanage, uint64_t deadline_ns)
{
	bool all = true;

	for (size_t i = 0; i < orphanage->count; i++) {
		struct orphan *orphan = &orphanage->list[i];
		struct pollfd watch = { .fd = orphan->stub.pidfd, .events = POLLIN };
		uint64_t now = pc_clock_now_ns();
		int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / PC_NS_PER_MS) + 1 : 0;

		if (!is_ending(orphan))
			continue;
		while (poll(&watch, 1, left_ms) < 0 && errno == EINTR)
			;
		orphan->over = pc_stub_has_ended(&orphan->stub);
		all &= orphan->over;
	}
	return all;
}

static int signal_all(struct orphanage *orphanage,
		      int (*signal)(const struct pc_stub *stub, struct pc_error *err))
{
	const uint64_t grace_ns = ORPHAN_GRACE_MS * PC_NS_PER_MS;

	for (size_t i = 0; i < orphanage->count; i++) {
		if (is_ending(&orphanage->list[i]))
			signal(&orphanage->list[i].stub, NULL);
	}
	return wait_for_ends(orphanage, pc_clock_now_ns() + grace_ns);
}

static int settle(struct daemon *daemon, struct orphan *orphan, struct pc_error *err)
{
	const struct pc_worker_info *info = orphan->info;
	struct pc_error cause = PC_ERROR_INIT;
	struct pc_stub_end end;
	int rc = pc_stub_settle(&orphan->stub, daemon->life_dir, info->worker_id, info->spawn_token,
				&end, err);

	if (!rc)
		rc = forget(daemon, info, &end.exit, err);
	if (orphan->worker) {
		pc_error_set(&cause, PC_E_WORKER_FAILED, "worker %s could not be adopted",
			     info->worker_id);
		body_worker_gone(daemon, orphan->worker, &end.exit, &cause);
	}
	return rc;
}

static int end_rest(struct orphanage *orphanage, struct pc_error *err)
{
	int rc = 0;

	if (!signal_all(orphanage, pc_stub_terminate) && !signal_all(orphanage, pc_stub_kill) &&
	    !signal_all(orphanage, pc_stub_destroy_forcibly))
		return pc_error_set(err, PC_E_IO,
				    "workers of an earlier daemon do not die even by SIGKILL; is a "
				    "driver stuck?");
	for (size_t i = 0; i < orphanage->count && !rc; i++) {
		if (orphanage->list[i].fate == FATE_ENDS)
			rc = settle(orphanage->daemon, &orphanage->list[i], err);
	}
	return rc;
}

/* ---- all of them ---- */

static bool is_adopted(void *ctx, const char *worker_id)
{
	const struct orphanage *orphanage = ctx;

	for (size_t i = 0; i < orphanage->count; i++) {
		if (strcmp(orphanage->list[i].info->worker_id, worker_id) == 0)
			return orphanage->list[i].fate == FATE_ADOPTED;
	}
	return false;
}

/*
 * The record of a worker has its socket only from the second time on that it is written, so that
 * `forget` may not know of one. Nobody listens in our folder now but those that were adopted. What
 * cannot be removed harms nobody: a worker's name, and so its socket's, is never used again.
 */
static void sweep_sockets(struct orphanage *orphanage)
{
	const char *folder = orphanage->daemon->runtime_dir;
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *end = strrchr(entry->d_name, '.');
		char worker_id[PC_WORKER_ID_MAX];

		if (!end || strcmp(end, ".sock") != 0)
			continue;
		snprintf(worker_id, sizeof(worker_id), "%.*s", (int)(end - entry->d_name),
			 entry->d_name);
		if (!is_adopted(orphanage, worker_id))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

static int run(struct orphanage *orphanage, struct pc_error *err)
{
	struct daemon *daemon = orphanage->daemon;
	int rc = 0;

	for (size_t i = 0; i < orphanage->count && !rc; i++)
		rc = look(daemon, &orphanage->list[i], err);
	for (size_t i = 0; i < orphanage->count && !rc; i++) {
		if (orphanage->list[i].fate == FATE_ENDS)
			adopt_one(daemon, &orphanage->list[i]);
	}
	FAILPOINT(recover_after_reserve);
	if (!rc)
		rc = end_rest(orphanage, err);
	FAILPOINT(recover_before_sweep);
	if (!rc)
		rc = pc_stub_sweep(daemon->life_dir, is_adopted, orphanage, err);
	if (!rc)
		sweep_sockets(orphanage);
	for (size_t i = 0; i < orphanage->count; i++) {
		if (orphanage->list[i].fate == FATE_ENDS)
			pc_stub_close(&orphanage->list[i].stub);
	}
	return rc;
}

int adopt_workers(struct daemon *daemon, struct pc_error *err)
{
	pc_auto(pc_free) struct pc_worker_info *workers = NULL;
	pc_auto(pc_free) struct orphan *list = NULL;
	size_t count;
	int rc;

	FAILPOINT(recover_before_list);
	rc = pc_registry_list(daemon->registry, &workers, &count, err);
	if (rc)
		return rc;
	list = pc_calloc(count, sizeof(*list));
	if (!list)
		return pc_error_oom(err);
	for (size_t i = 0; i < count; i++)
		list[i] = (struct orphan){ .info = &workers[i], .fate = FATE_GONE };

	struct orphanage orphanage = { .daemon = daemon, .list = list, .count = count };

	return run(&orphanage, err);
}
