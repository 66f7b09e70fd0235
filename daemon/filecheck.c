/* SPDX-License-Identifier: MIT */
/*
 * filecheck.c - a worker's model file, from the order to the end of the load: opened and verified
 * first, for a file of 40 GB takes its time to hash; looked at once more right before the spawn, and
 * again when the worker has loaded it. What was verified is what the worker gets
 * (docs/decisions/0017).
 *
 * All of it is done on a thread that each file has to itself, to the closing of the descriptor: a
 * file system may not answer, and loop 0 must not wait for it. What loop 0 knows of the file is what
 * the thread found last, and the number of its descriptor.
 *
 *	filecheck_begin ──► OPEN ──► idle ──► LOOK ──► idle ──► LOOK_AGAIN ──► closed, ended
 *	                      └────────┴── filecheck_leave ──┴────────┴──► closed, ended
 *
 * A thread cannot be called back from a file system. It is left: it hears that when the system call
 * returns, and frees what is the last one's to free; or it never does, and goes with the program.
 *
 * It is no work for libuv's pool: that has four threads, so that a fifth model waited for another
 * one's hash, and it ends the program when they cannot be started.
 */
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>
#include <poolcore/model_file.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/process.h"

/* What takes longer is worth a line of log. A guess; change freely. */
#define WORTH_TELLING_MS 1000

enum task { NOTHING, OPEN, LOOK, LOOK_AGAIN };

struct filecheck {
	_Atomic int references; /* the thread's and the loop's */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum task task; /* [lock] what the thread has to do; NOTHING: it waits */
	bool is_left;	/* [lock] nobody waits for an answer */
	uv_async_t finished;
	struct process *process; /* loop 0's */
	filecheck_done done;	 /* loop 0's */

	struct generation *generation; /* a reference: the worker may be gone first */
	const struct pc_model_entry *entry;
	const struct pc_backend_config *backend;
	char *record_dir;
	_Atomic bool is_unwanted; /* the worker is to stop, before it was started */

	/* The thread's while it has a task, loop 0's while it has none; the lock publishes them. */
	enum task finished_task;
	struct pc_model_file file;
	bool is_open;
	struct pc_hand_over hand_over;
	uint64_t took_ns;
	int result;
	struct pc_error error;
};

static void drop(struct filecheck *check)
{
	/* acq_rel: what the other one did happens before this one frees it. */
	if (atomic_fetch_sub_explicit(&check->references, 1, memory_order_acq_rel) > 1)
		return;
	generation_unref(check->generation);
	pthread_cond_destroy(&check->changed);
	pthread_mutex_destroy(&check->lock);
	pc_free(check->record_dir);
	pc_free(check);
}

/* ---- the thread ---- */

static bool go_on(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	struct filecheck *check = ctx;

	(void)done_bytes;
	(void)total_bytes;
	/* relaxed: a flag, which publishes nothing. */
	return !atomic_load_explicit(&check->is_unwanted, memory_order_relaxed);
}

static int open_and_verify(struct filecheck *check)
{
	const struct pc_verify_options options = {
		.record_dir = check->record_dir,
		.progress = go_on,
		.ctx = check,
	};
	uint64_t begun_ns = pc_clock_now_ns();
	int rc = pc_model_file_open(check->entry, &options, &check->file, &check->error);

	check->took_ns = pc_clock_now_ns() - begun_ns;
	check->is_open = !rc;
	if (!rc)
		rc = pc_model_hand_over(check->backend, &check->file, &check->hand_over,
					&check->error);
	return rc;
}

static int run(struct filecheck *check, enum task task)
{
	pc_error_clear(&check->error);
	switch (task) {
	case OPEN:
		return open_and_verify(check);
	case LOOK:
		return pc_model_hand_over(check->backend, &check->file, &check->hand_over,
					  &check->error);
	case LOOK_AGAIN:
		return pc_model_file_check(&check->file, &check->error);
	case NOTHING:
		break;
	}
	return 0;
}

/* NOTHING: it was left. */
static enum task next_task(struct filecheck *check)
{
	enum task task;

	pthread_mutex_lock(&check->lock);
	while (check->task == NOTHING && !check->is_left)
		pthread_cond_wait(&check->changed, &check->lock);
	task = check->is_left ? NOTHING : check->task;
	pthread_mutex_unlock(&check->lock);
	return task;
}

static void tell_loop(struct filecheck *check, enum task task)
{
	pthread_mutex_lock(&check->lock);
	check->finished_task = task;
	check->task = NOTHING;
	/* Once it was left, the handle is closed. The send is a write to an eventfd. */
	if (!check->is_left)
		uv_async_send(&check->finished);
	pthread_mutex_unlock(&check->lock);
}

static void *keep(void *ctx)
{
	struct filecheck *check = ctx;
	enum task task;

	while ((task = next_task(check)) != NOTHING) {
		check->result = run(check, task);
		tell_loop(check, task);
	}
	if (check->is_open)
		pc_model_file_close(&check->file);
	drop(check);
	return NULL;
}

/* ---- loop 0 ---- */

static void tell_verified(const struct filecheck *check)
{
	char ms[24];

	if (check->file.note[0])
		pc_log(PC_LOG_WARN, "model", PC_FIELDS({ "model", check->entry->id }), "%s",
		       check->file.note);
	if (check->took_ns < WORTH_TELLING_MS * PC_NS_PER_MS)
		return;
	snprintf(ms, sizeof(ms), "%" PRIu64, check->took_ns / PC_NS_PER_MS);
	pc_log(PC_LOG_INFO, "model", PC_FIELDS({ "model", check->entry->id }, { "ms", ms }),
	       "its file was verified");
}

/*
 * Whoever was given the open file has loaded what was verified, whatever its path names by now; but
 * not so if it was written to.
 */
static bool is_harmless(const struct filecheck *check)
{
	const char *change = pc_error_detail_get(&check->error, "change");

	return check->hand_over.fd >= 0 && change &&
	       (strcmp(change, "deleted") == 0 || strcmp(change, "replaced") == 0);
}

/* What a second look says of the worker that has loaded meanwhile. */
static int judge_loaded(struct filecheck *check)
{
	const struct pc_error why = check->error;

	if (!check->result || is_harmless(check))
		return 0;
	/* A disk that fails now says nothing of what was loaded. */
	if (check->result != PC_E_MODEL_FILE_INVALID) {
		pc_log_error(PC_LOG_WARN, "model", &why);
		return 0;
	}
	pc_error_clear(&check->error);
	return pc_error_set(&check->error, PC_E_MODEL_FILE_INVALID,
			    "worker %s of '%s' may have loaded something else: %s",
			    process_name(check->process), process_model(check->process),
			    why.message);
}

static void on_finished(uv_async_t *finished)
{
	struct filecheck *check = finished->data;
	struct process *process = check->process;
	struct pc_error err;
	int rc;

	/* The lock publishes what the thread wrote before it said that it is done. */
	pthread_mutex_lock(&check->lock);
	rc = check->result;
	pthread_mutex_unlock(&check->lock);
	if (check->finished_task == OPEN && check->is_open)
		tell_verified(check);
	if (check->finished_task == LOOK_AGAIN)
		rc = judge_loaded(check);
	err = check->error;
	if (check->finished_task == LOOK_AGAIN)
		filecheck_leave(process);
	check->done(process, rc, &err);
}

static void give(struct filecheck *check, enum task task, filecheck_done done)
{
	check->done = done;
	pthread_mutex_lock(&check->lock);
	check->task = task;
	pthread_cond_signal(&check->changed);
	pthread_mutex_unlock(&check->lock);
}

static void on_closed(uv_handle_t *handle)
{
	drop(handle->data);
}

/* With the loop's reference alone; its handle is open. */
static struct filecheck *new_check(struct process *process)
{
	struct filecheck *check = pc_calloc(1, sizeof(*check));

	if (!check)
		return NULL;
	atomic_init(&check->references, 1);
	pthread_mutex_init(&check->lock, NULL);
	pthread_cond_init(&check->changed, NULL);
	check->process = process;
	check->entry = process->worker->model->entry;
	check->backend = process->worker->model->backend;
	check->generation = generation_ref(process->worker->model->generation);
	check->record_dir = pc_strdup(process_daemon(process)->verified_dir);
	if (!check->record_dir ||
	    uv_async_init(process_loop(process), &check->finished, on_finished)) {
		drop(check);
		return NULL;
	}
	check->finished.data = check;
	return check;
}

int filecheck_begin(struct process *process, filecheck_done done, struct pc_error *err)
{
	struct filecheck *check = new_check(process);
	pthread_t thread;
	int rc;

	if (!check)
		return pc_error_oom(err);
	atomic_fetch_add_explicit(&check->references, 1, memory_order_relaxed);
	rc = pthread_create(&thread, NULL, keep, check);
	if (rc) {
		drop(check); /* the thread's */
		uv_close((uv_handle_t *)&check->finished, on_closed);
		return pc_error_sys(err, PC_E_SPAWN_FAILED, rc,
				    "cannot start a thread that verifies the model's file");
	}
	pthread_detach(thread);
	process->filecheck = check;
	give(check, OPEN, done);
	return 0;
}

const struct pc_hand_over *filecheck_hand_over(const struct process *process)
{
	return &process->filecheck->hand_over;
}

void filecheck_look(struct process *process, filecheck_done done)
{
	give(process->filecheck, LOOK, done);
}

bool filecheck_look_again(struct process *process, filecheck_done done)
{
	if (!process->filecheck)
		return false;
	give(process->filecheck, LOOK_AGAIN, done);
	return true;
}

void filecheck_hurry(struct process *process)
{
	if (process->filecheck)
		atomic_store_explicit(&process->filecheck->is_unwanted, true, memory_order_relaxed);
}

bool filecheck_is_busy(const struct process *process)
{
	bool is_busy;

	if (!process->filecheck)
		return false;
	pthread_mutex_lock(&process->filecheck->lock);
	is_busy = process->filecheck->task != NOTHING;
	pthread_mutex_unlock(&process->filecheck->lock);
	return is_busy;
}

void filecheck_leave(struct process *process)
{
	struct filecheck *check = process->filecheck;

	if (!check)
		return;
	filecheck_hurry(process);
	process->filecheck = NULL;
	pthread_mutex_lock(&check->lock);
	check->is_left = true;
	pthread_cond_signal(&check->changed);
	pthread_mutex_unlock(&check->lock);
	uv_close((uv_handle_t *)&check->finished, on_closed);
}
