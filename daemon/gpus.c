/* SPDX-License-Identifier: MIT */
/* gpus.c - the thread that waits for the drivers of GPUs. See gpus.h. */
#include "daemon/gpus.h"

#include <poolcore/clock.h>
#include <poolcore/gpu.h>
#include <poolcore/log.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/daemon.h"

/* How old a reading gets when nobody asks, and how close two of them may follow when somebody does.
 * Guesses; change freely. A reading takes a driver some ms per GPU. */
#define PERIOD_MS 10000
#define GAP_MS 250
/* How long the end of the daemon waits for a driver. A guess. */
#define PATIENCE_MS 2000

/* A process that a driver listed, and the session that it was in while it lived. */
struct holding {
	int gpu_id;
	int64_t pid;
	int64_t session;
};

/* More are not followed after their death. */
#define HOLDINGS_MAX ((size_t)4 * PC_GPU_PROCESS_MAX)

struct gpus {
	struct daemon *daemon;
	struct pc_gpu_inventory *inventory; /* the thread's, once there is one */
	pthread_t thread;
	bool running; /* there is one to wait for; the main thread's */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* one of the next three was set */
	bool asked;		/* [lock] */
	bool closing;		/* [lock] */
	bool done;		/* [lock] the thread touches nothing any more */
	char *text;		/* [lock] */
	uint64_t begun;		/* [lock] readings so far */
	uint64_t finished;	/* [lock] the number of the last one that is complete */
	struct holding holdings[HOLDINGS_MAX]; /* [lock to change or to read from other threads] */
	size_t holding_count;		       /* likewise */
	char uuids[PC_GPU_MAX][96];	       /* [lock] by index; an index keeps its GPU */
};

/* ---- what is told ---- */

/* Publishes the reading. Without memory the last one stays. */
static int publish(struct gpus *gpus, struct pc_error *err)
{
	const struct pc_gpu *list;
	size_t count = pc_gpu_inventory_list(gpus->inventory, &list);
	char *text, *old;
	int rc = pc_gpu_inventory_json(gpus->inventory, &text, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&gpus->lock);
	old = gpus->text;
	gpus->text = text;
	for (size_t i = 0; i < count; i++)
		memcpy(gpus->uuids[list[i].index], list[i].uuid, sizeof(gpus->uuids[0]));
	pthread_mutex_unlock(&gpus->lock);
	pc_free(old);
	return 0;
}

/* The session of a listed process, of a dead one as it was when it lived; 0 or less: never
 * known. */
static int64_t session_of(const struct gpus *gpus, int gpu_id, int64_t pid)
{
	int64_t session = getsid((pid_t)pid);

	for (size_t i = 0; session <= 0 && i < gpus->holding_count; i++) {
		if (gpus->holdings[i].gpu_id == gpu_id && gpus->holdings[i].pid == pid)
			session = gpus->holdings[i].session;
	}
	return session;
}

/* Notes who holds what. A number that a stranger has by now counts for the stranger's session. */
static void note_holdings(struct gpus *gpus, const struct pc_gpu *list, size_t count)
{
	struct holding now[HOLDINGS_MAX] = { { 0, 0, 0 } };
	size_t held = 0;

	for (size_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < list[i].process_count && held < HOLDINGS_MAX; k++) {
			int64_t pid = (int64_t)list[i].processes[k].pid;
			int64_t session = session_of(gpus, (int)list[i].index, pid);

			if (session > 0)
				now[held++] = (struct holding){ (int)list[i].index, pid, session };
		}
	}
	pthread_mutex_lock(&gpus->lock);
	memcpy(gpus->holdings, now, held * sizeof(now[0]));
	gpus->holding_count = held;
	gpus->finished = gpus->begun;
	pthread_mutex_unlock(&gpus->lock);
}

/* What a worker holds is held by it and by the processes that it has started: a worker leads a
 * session, and they are in it. */
static void tell_body(struct gpus *gpus, const struct pc_gpu *gpu)
{
	int64_t sessions[PC_GPU_PROCESS_MAX];
	uint64_t sums[PC_GPU_PROCESS_MAX];
	size_t count = 0;

	for (unsigned i = 0; i < gpu->process_count; i++) {
		const struct pc_gpu_process *process = &gpu->processes[i];
		int64_t session = getsid((pid_t)process->pid);
		size_t k = 0;

		if (session <= 0 || process->vram_bytes < 0)
			continue; /* gone by now, or in another namespace */
		while (k < count && sessions[k] != session)
			k++;
		if (k == count) {
			sessions[count] = session;
			sums[count++] = 0;
		}
		sums[k] += (uint64_t)process->vram_bytes;
	}
	for (size_t k = 0; k < count; k++)
		body_worker_holds(gpus->daemon, (int)gpu->index, (pid_t)sessions[k], sums[k]);
}

/* ---- the thread ---- */

static void deadline_in(struct timespec *at, uint64_t ms)
{
	uint64_t ns = pc_clock_now_ns() + ms * PC_NS_PER_MS;

	at->tv_sec = (time_t)(ns / PC_NS_PER_SEC);
	at->tv_nsec = (long)(ns % PC_NS_PER_SEC);
}

/* Whether there is something to read; false: it ends. */
static bool wait_for_turn(struct gpus *gpus)
{
	struct timespec gap, period;
	bool closing;

	deadline_in(&gap, GAP_MS);
	deadline_in(&period, PERIOD_MS);
	pthread_mutex_lock(&gpus->lock);
	while (!gpus->closing && pthread_cond_timedwait(&gpus->changed, &gpus->lock, &gap) == 0)
		;
	while (!gpus->closing && !gpus->asked &&
	       pthread_cond_timedwait(&gpus->changed, &gpus->lock, &period) == 0)
		;
	gpus->asked = false;
	gpus->begun++;
	closing = gpus->closing;
	pthread_mutex_unlock(&gpus->lock);
	return !closing;
}

static bool is_closing(struct gpus *gpus)
{
	pthread_mutex_lock(&gpus->lock);

	bool closing = gpus->closing;

	pthread_mutex_unlock(&gpus->lock);
	return closing;
}

/* One reading, and what follows from it. */
static void read_once(struct gpus *gpus)
{
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_gpu *list;
	char before[1024];
	size_t count;

	snprintf(before, sizeof(before), "%s", pc_gpu_inventory_note(gpus->inventory));
	pc_gpu_inventory_refresh(gpus->inventory, NULL); /* the note says what the error would */
	if (is_closing(gpus))
		return;
	if (strcmp(before, pc_gpu_inventory_note(gpus->inventory)) != 0)
		pc_log(PC_LOG_INFO, "gpu", PC_NO_FIELDS, "%s",
		       pc_gpu_inventory_note(gpus->inventory));
	if (publish(gpus, &err))
		pc_log_error(PC_LOG_WARN, "gpu", &err);
	count = pc_gpu_inventory_list(gpus->inventory, &list);
	note_holdings(gpus, list, count);
	for (size_t i = 0; i < count; i++)
		tell_body(gpus, &list[i]);
}

static void *gpus_main(void *ctx)
{
	struct gpus *gpus = ctx;

	while (wait_for_turn(gpus))
		read_once(gpus);
	pthread_mutex_lock(&gpus->lock);
	gpus->done = true;
	pthread_cond_broadcast(&gpus->changed);
	pthread_mutex_unlock(&gpus->lock);
	return NULL;
}

/* ---- the interface ---- */

int gpus_open(struct daemon *daemon, struct gpus **ret_gpus, struct pc_error *err)
{
	struct gpus *gpus = pc_calloc(1, sizeof(*gpus));
	pthread_condattr_t monotonic;

	if (!gpus)
		return pc_error_oom(err);
	gpus->daemon = daemon;
	pthread_mutex_init(&gpus->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&gpus->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);

	int rc = pc_gpu_inventory_open(NULL, NULL, &gpus->inventory, err);

	if (!rc)
		rc = publish(gpus, err);
	if (rc) {
		gpus_free(gpus);
		return rc;
	}
	*ret_gpus = gpus;
	return 0;
}

const struct pc_gpu_inventory *gpus_first(const struct gpus *gpus)
{
	return gpus->inventory;
}

int gpus_start(struct gpus *gpus, struct pc_error *err)
{
	int rc = pthread_create(&gpus->thread, NULL, gpus_main, gpus);

	if (rc)
		return pc_error_sys(err, PC_E_OUT_OF_MEMORY, rc, "cannot start the GPUs' thread");
	gpus->running = true;
	return 0;
}

void gpus_stop(struct gpus *gpus)
{
	struct timespec patience;

	if (!gpus || !gpus->running)
		return;
	deadline_in(&patience, PATIENCE_MS);
	pthread_mutex_lock(&gpus->lock);
	gpus->closing = true;
	pthread_cond_broadcast(&gpus->changed);
	while (!gpus->done && pthread_cond_timedwait(&gpus->changed, &gpus->lock, &patience) == 0)
		;
	gpus->running = !gpus->done;
	pthread_mutex_unlock(&gpus->lock);
	if (!gpus->running)
		pthread_join(gpus->thread, NULL);
	else
		pc_log(PC_LOG_WARN, "gpu", PC_NO_FIELDS,
		       "a driver does not answer; the daemon ends without waiting for it");
}

void gpus_free(struct gpus *gpus)
{
	if (!gpus || gpus->running)
		return; /* the thread still has it */
	pc_gpu_inventory_close(gpus->inventory);
	pthread_cond_destroy(&gpus->changed);
	pthread_mutex_destroy(&gpus->lock);
	pc_free(gpus->text);
	pc_free(gpus);
}

uint64_t gpus_look(struct gpus *gpus)
{
	pthread_mutex_lock(&gpus->lock);

	uint64_t number = gpus->begun + 1;

	gpus->asked = true;
	pthread_cond_broadcast(&gpus->changed);
	pthread_mutex_unlock(&gpus->lock);
	return number;
}

bool gpus_holds(struct gpus *gpus, int gpu_id, pid_t session, uint64_t reading)
{
	bool holds;

	pthread_mutex_lock(&gpus->lock);
	holds = gpus->finished < reading;
	for (size_t i = 0; !holds && i < gpus->holding_count; i++)
		holds = gpus->holdings[i].gpu_id == gpu_id && gpus->holdings[i].session == session;
	if (holds && gpus->finished >= reading) {
		gpus->asked = true; /* it is waited for */
		pthread_cond_broadcast(&gpus->changed);
	}
	pthread_mutex_unlock(&gpus->lock);
	return holds;
}

char *gpus_text(struct gpus *gpus)
{
	pthread_mutex_lock(&gpus->lock);

	char *text = pc_strdup(gpus->text);

	pthread_mutex_unlock(&gpus->lock);
	return text;
}

bool gpus_uuid(struct gpus *gpus, int gpu_id, char out[96])
{
	if (gpu_id < 0 || gpu_id >= PC_GPU_MAX)
		return false;
	pthread_mutex_lock(&gpus->lock);
	memcpy(out, gpus->uuids[gpu_id], sizeof(gpus->uuids[0]));
	pthread_mutex_unlock(&gpus->lock);
	return out[0] != '\0';
}
