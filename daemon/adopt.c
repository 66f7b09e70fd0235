/* SPDX-License-Identifier: MIT */
/*
 * adopt.c - takes over from a daemon that died. Before any loop runs, and before the brain decides
 * anything, so that nothing is decided before the ledger holds the reservation of every worker that
 * lives. See adopt.h, and the protocol in tests/formal/worker_life.pml.
 *
 * A worker is adopted as it is: loaded, and then it serves at once; or loading, and then its
 * readiness is waited for. It is ended instead when pool.orphan_policy says so, when it was being
 * stopped, and when the configuration has no place for it any more: its model is gone, or would be
 * launched otherwise now, by the same definition as at a reload, or no memory is left for it.
 *
 * One that is to end is adopted, too: as stopping. It is told to when loop 0 runs, and ends like any
 * other worker, with its memory on the books until it is back; so nobody waits for it here, and one
 * that hangs in a driver keeps nobody else from being served.
 */
#include "daemon/adopt.h"

#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/log.h>
#include <poolcore/registry.h>
#include <poolcore/stub.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/clerk.h"
#include "daemon/daemon.h"
#include "daemon/failpoint.h"
#include "daemon/process.h"

enum fate {
	FATE_GONE,  /* it had ended, and is forgotten */
	FATE_DYING, /* it was killed with its stub, and is not gone yet */
	FATE_RUNS,
};

struct orphan {
	const struct pc_worker_info *info;
	enum fate fate;
	struct pc_stub stub; /* DYING, RUNS: until its process has it */
	bool has_process;
	struct pc_stub_end end;	 /* DYING: what is known of it */
	enum pc_stop_reason why; /* RUNS, and does not go on */
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
	enum pc_life life;
	int rc = pc_stub_recover(daemon->life_dir, info->worker_id, info->spawn_token, &life,
				 &orphan->stub, &orphan->end, &why);

	if (rc) {
		pc_error_set(err, rc, "worker %s of an earlier daemon: %s", info->worker_id,
			     why.message);
		return rc;
	}
	if (life == PC_LIFE_RUNNING)
		orphan->fate = FATE_RUNS;
	else if (life == PC_LIFE_DYING)
		orphan->fate = FATE_DYING;
	else
		rc = note_end(daemon, info, life, &orphan->end, err);
	return rc;
}

/* ---- those that go on ---- */

/* Why one does not: for the log, and for the brain. `text` NULL: it does. */
struct misfit {
	const char *text;
	enum pc_stop_reason reason;
};

static struct misfit judge(const struct generation *generation, const struct pc_worker_info *info,
			   struct model **ret_model)
{
	struct model *model = generation_find(generation, info->model_id);

	*ret_model = model;
	if (strcmp(generation->config->pool_orphan_policy, "kill") == 0)
		return (struct misfit){ "pool.orphan_policy is \"kill\"", PC_STOP_REQUESTED };
	if (info->status >= PC_WORKER_STOPPING)
		return (struct misfit){ "it was being stopped", PC_STOP_REQUESTED };
	if (!model)
		return (struct misfit){ "its model is not in the catalog any more",
					PC_STOP_RETIRED };
	/* A record has as much of it as fits. */
	if (strncmp(model->entry->model_ref, info->model_ref, sizeof(info->model_ref) - 1) != 0)
		return (struct misfit){ "its model has another file now", PC_STOP_REPLACED };
	if (strcmp(model->entry->backend, info->backend) != 0)
		return (struct misfit){ "its model has another backend now", PC_STOP_REPLACED };
	if (model->entry->slots != info->slots)
		return (struct misfit){ "its model has another number of slots now",
					PC_STOP_REPLACED };
	/* The record of an older version says no more than that, and has to do. */
	if (info->definition[0] && strcmp(model->definition, info->definition) != 0)
		return (struct misfit){ "its model or its backend is configured otherwise now",
					PC_STOP_REPLACED };
	return (struct misfit){ NULL };
}

static int take_over(struct daemon *daemon, struct orphan *orphan, struct worker *worker,
		     bool loaded, struct pc_error *err)
{
	const struct pc_worker_info *info = orphan->info;
	char pid[16];
	int rc = process_adopt(daemon->supervisor, worker, &orphan->stub, loaded, err);

	if (rc)
		return rc;
	orphan->has_process = true;
	FAILPOINT(recover_after_adopt);
	snprintf(pid, sizeof(pid), "%d", (int)info->pid);
	pc_log(PC_LOG_INFO, "adopt",
	       PC_FIELDS({ "worker", info->worker_id }, { "model", info->model_id }, { "pid", pid },
			 { "status", loaded ? "ready" : "spawning" }),
	       "adopted");
	return 0;
}

static void log_misfit(const struct pc_worker_info *info, const char *why)
{
	pc_log(PC_LOG_WARN, "adopt",
	       PC_FIELDS({ "worker", info->worker_id }, { "model", info->model_id },
			 { "reason", why }),
	       "an earlier daemon's worker is not adopted; stopping it");
}

/* Without a process it has not gone on, and `why` is the reason. */
static int let_go_on(struct daemon *daemon, struct orphan *orphan, struct pc_error *err)
{
	bool loaded = orphan->info->status != PC_WORKER_SPAWNING;
	struct pc_error refusal = PC_ERROR_INIT;
	struct model *model;
	struct worker *worker;
	struct misfit misfit = judge(daemon->generation, orphan->info, &model);

	if (!misfit.text && body_adopt(daemon, model, orphan->info, loaded, &worker, &refusal) == 0)
		return take_over(daemon, orphan, worker, loaded, err);
	/* That says nothing about the worker; whoever starts us again may have the memory. */
	if (refusal.code == PC_E_OUT_OF_MEMORY)
		return pc_error_oom(err);
	orphan->why = misfit.text ? misfit.reason : PC_STOP_EVICTED;
	log_misfit(orphan->info, misfit.text ? misfit.text : refusal.message);
	return 0;
}

/* ---- those that end ---- */

static int let_end(struct daemon *daemon, struct orphan *orphan, struct pc_error *err)
{
	struct worker *worker;
	int rc = body_adopt_leaving(daemon, orphan->info, orphan->why, true, &worker, err);

	if (!rc)
		rc = process_adopt_leaving(daemon->supervisor, worker, &orphan->stub, orphan->why,
					   err);
	orphan->has_process = !rc;
	return rc;
}

static int let_die(struct daemon *daemon, struct orphan *orphan, struct pc_error *err)
{
	struct pc_worker_info info = *orphan->info;
	struct worker *worker;
	int rc;

	/* Its record may have been written before that was known. */
	info.pid = orphan->end.worker_pid;
	rc = body_adopt_leaving(daemon, &info, PC_STOP_FAILED, false, &worker, err);

	pc_log(PC_LOG_WARN, "adopt",
	       PC_FIELDS({ "worker", orphan->info->worker_id }, { "model", orphan->info->model_id },
			 { "exit", orphan->end.exit.reason }),
	       "it was killed, and is not gone yet; waiting for its memory");
	if (!rc)
		rc = process_adopt_dying(daemon->supervisor, worker, &orphan->stub, &orphan->end,
					 err);
	orphan->has_process = !rc;
	return rc;
}

/* ---- all of them ---- */

static bool is_there(void *ctx, const char *worker_id)
{
	const struct orphanage *orphanage = ctx;

	for (size_t i = 0; i < orphanage->count; i++) {
		if (strcmp(orphanage->list[i].info->worker_id, worker_id) == 0)
			return orphanage->list[i].fate != FATE_GONE;
	}
	return false;
}

/*
 * The record of a worker has its socket only from the second time on that it is written, so that
 * `forget` may not know of one. Nobody listens in our folder now but those that are there. What
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
		if (!is_there(orphanage, worker_id))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* First those that go on: what is taken by one that ends is about to be free. */
static int take_in(struct orphanage *orphanage, struct pc_error *err)
{
	struct daemon *daemon = orphanage->daemon;
	int rc = 0;

	for (size_t i = 0; i < orphanage->count && !rc; i++) {
		if (orphanage->list[i].fate == FATE_RUNS)
			rc = let_go_on(daemon, &orphanage->list[i], err);
	}
	FAILPOINT(recover_after_reserve);
	for (size_t i = 0; i < orphanage->count && !rc; i++) {
		struct orphan *orphan = &orphanage->list[i];

		if (orphan->fate == FATE_DYING)
			rc = let_die(daemon, orphan, err);
		else if (orphan->fate == FATE_RUNS && !orphan->has_process)
			rc = let_end(daemon, orphan, err);
	}
	return rc;
}

static int run(struct orphanage *orphanage, struct pc_error *err)
{
	struct daemon *daemon = orphanage->daemon;
	int rc = 0;

	for (size_t i = 0; i < orphanage->count && !rc; i++)
		rc = look(daemon, &orphanage->list[i], err);
	if (!rc)
		rc = take_in(orphanage, err);
	FAILPOINT(recover_before_sweep);
	if (!rc)
		rc = pc_stub_sweep(daemon->life_dir, is_there, orphanage, err);
	if (!rc)
		sweep_sockets(orphanage);
	for (size_t i = 0; i < orphanage->count; i++) {
		if (orphanage->list[i].fate != FATE_GONE && !orphanage->list[i].has_process)
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
