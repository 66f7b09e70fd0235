/* SPDX-License-Identifier: MIT */
/* clerk.c - the thread that waits for the disk so that no loop has to. See clerk.h. */
#include "daemon/clerk.h"

#include <poolcore/log.h>
#include <poolcore/stub.h>

#include <pthread.h>

#include "daemon/cgroup.h"
#include "daemon/failpoint.h"

struct job_list {
	struct clerk_job *head;
	struct clerk_job *tail;
};

/* A worker that has ended, and whose record and files are still there: the disk was full. */
struct debt {
	struct debt *next;
	struct pc_worker_info worker;
};

struct clerk {
	struct pc_registry *registry;
	struct debt *debts; /* the clerk thread's */
	const char *life_dir;
	const char *cgroup;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t given;
	struct job_list waiting;  /* [lock] */
	struct job_list finished; /* [lock] */
	bool closing;		  /* [lock] */
	uv_async_t wake;
};

static void push(struct job_list *list, struct clerk_job *job)
{
	job->next = NULL;
	if (list->tail)
		list->tail->next = job;
	else
		list->head = job;
	list->tail = job;
}

static struct clerk_job *pop(struct job_list *list)
{
	struct clerk_job *job = list->head;

	if (job) {
		list->head = job->next;
		if (!list->head)
			list->tail = NULL;
	}
	return job;
}

/* Record, then claim: who has no claim is never spawned, and who has no record never had one. */
static int prepare(struct clerk *clerk, struct clerk_job *job)
{
	const char *worker_id = job->worker.worker_id;
	int rc;

	FAILPOINT(spawn_before_record);
	rc = pc_registry_register(clerk->registry, &job->worker, &job->error);
	if (rc)
		return rc;
	FAILPOINT(spawn_after_record);
	rc = cgroup_create(clerk->cgroup, worker_id, &job->error);
	if (!rc)
		rc = pc_stub_claim(clerk->life_dir, worker_id, &job->error);
	FAILPOINT(spawn_after_claim);
	if (rc) {
		cgroup_remove(clerk->cgroup, worker_id);
		pc_registry_unregister(clerk->registry, worker_id, NULL);
	}
	return rc;
}

int clerk_forget(struct pc_registry *registry, const char *life_dir, const char *cgroup,
		 const struct pc_worker_info *worker, struct pc_error *err)
{
	int rc = pc_registry_end(registry, worker->worker_id, &worker->last_exit, err);

	FAILPOINT(exit_after_unregister);
	if (!rc || rc == PC_E_WORKER_NOT_FOUND)
		rc = pc_stub_forget(life_dir, worker->worker_id, err);
	FAILPOINT(exit_after_files);
	cgroup_remove(cgroup, worker->worker_id);
	return rc;
}

static int end(struct clerk *clerk, const struct pc_worker_info *worker, struct pc_error *err)
{
	return clerk_forget(clerk->registry, clerk->life_dir, clerk->cgroup, worker, err);
}

/* Without memory for it, the next daemon finds out what is left. */
static void owe(struct clerk *clerk, const struct pc_worker_info *worker)
{
	struct debt *debt = pc_calloc(1, sizeof(*debt));

	if (!debt)
		return;
	debt->worker = *worker;
	debt->next = clerk->debts;
	clerk->debts = debt;
}

/* After something could be written: what could not be before may be now. */
static void pay_debts(struct clerk *clerk)
{
	while (clerk->debts) {
		struct debt *debt = clerk->debts;
		int rc = end(clerk, &debt->worker, NULL);

		if (rc)
			return;
		clerk->debts = debt->next;
		pc_free(debt);
	}
}

static void work(struct clerk *clerk, struct clerk_job *job)
{
	switch (job->task) {
	case CLERK_PREPARE:
		job->result = prepare(clerk, job);
		break;
	case CLERK_UPDATE:
		job->result = pc_registry_update(clerk->registry, &job->worker, &job->error);
		break;
	case CLERK_END:
		job->result = end(clerk, &job->worker, &job->error);
		if (job->result)
			owe(clerk, &job->worker);
		break;
	}
	if (!job->result)
		pay_debts(clerk);
	if (job->result && !job->done)
		pc_log_error(PC_LOG_ERROR, "registry", &job->error);
}

static void *clerk_main(void *ctx)
{
	struct clerk *clerk = ctx;

	pthread_mutex_lock(&clerk->lock);
	for (;;) {
		struct clerk_job *job = pop(&clerk->waiting);

		if (job) {
			pthread_mutex_unlock(&clerk->lock);
			work(clerk, job);
			pthread_mutex_lock(&clerk->lock);
			push(&clerk->finished, job);
			if (!clerk->closing)
				uv_async_send(&clerk->wake);
		} else if (clerk->closing) {
			break;
		} else {
			pthread_cond_wait(&clerk->given, &clerk->lock);
		}
	}
	pthread_mutex_unlock(&clerk->lock);
	return NULL;
}

static void deliver(uv_async_t *wake)
{
	struct clerk *clerk = wake->data;

	for (;;) {
		pthread_mutex_lock(&clerk->lock);

		struct clerk_job *job = pop(&clerk->finished);

		pthread_mutex_unlock(&clerk->lock);
		if (!job)
			return;
		if (job->done)
			job->done(job);
		pc_free(job);
	}
}

int clerk_create(uv_loop_t *loop, struct pc_registry *registry, const char *life_dir,
		 const char *cgroup, struct clerk **ret_clerk, struct pc_error *err)
{
	struct clerk *clerk = pc_calloc(1, sizeof(*clerk));

	if (!clerk)
		return pc_error_oom(err);
	clerk->registry = registry;
	clerk->life_dir = life_dir;
	clerk->cgroup = cgroup;
	pthread_mutex_init(&clerk->lock, NULL);
	pthread_cond_init(&clerk->given, NULL);
	if (uv_async_init(loop, &clerk->wake, deliver)) {
		pc_free(clerk);
		return pc_error_oom(err);
	}
	clerk->wake.data = clerk;

	int rc = pthread_create(&clerk->thread, NULL, clerk_main, clerk);

	if (rc) {
		/* The handle is embedded, and the loop would touch it when it closes: leave it, the
		 * program ends. */
		return pc_error_sys(err, PC_E_OUT_OF_MEMORY, rc,
				    "cannot start the registry's thread");
	}
	*ret_clerk = clerk;
	return 0;
}

void clerk_give(struct clerk *clerk, struct clerk_job *job)
{
	pthread_mutex_lock(&clerk->lock);
	push(&clerk->waiting, job);
	pthread_cond_signal(&clerk->given);
	pthread_mutex_unlock(&clerk->lock);
}

static void free_clerk(uv_handle_t *handle)
{
	struct clerk *clerk = handle->data;

	for (struct clerk_job *job; (job = pop(&clerk->finished));)
		pc_free(job);
	for (struct debt *debt; (debt = clerk->debts);) {
		clerk->debts = debt->next;
		pc_free(debt);
	}
	pthread_cond_destroy(&clerk->given);
	pthread_mutex_destroy(&clerk->lock);
	pc_free(clerk);
}

void clerk_destroy(struct clerk *clerk)
{
	if (!clerk)
		return;
	pthread_mutex_lock(&clerk->lock);
	clerk->closing = true;
	pthread_cond_signal(&clerk->given);
	pthread_mutex_unlock(&clerk->lock);
	pthread_join(clerk->thread, NULL);
	uv_close((uv_handle_t *)&clerk->wake, free_clerk);
}
