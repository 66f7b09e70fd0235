/* SPDX-License-Identifier: MIT */
/*
 * filecheck.c - opens and verifies a worker's model file on a thread of its own, because a file of
 * 40 GB takes its time to hash; and looks at it again when the worker has loaded it. What was
 * verified is what the worker gets (docs/decisions/0017). Begun and ended on loop 0.
 *
 * It is no work for libuv's pool: that has four threads, so that a fifth model waited for another
 * one's hash, and it ends the program when they cannot be started.
 */
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
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

/* Who has the check: its thread until that has ended or was abandoned, then loop 0 or nobody. */
enum holder { HELD_BY_THREAD, HELD_BY_LOOP, ABANDONED };

struct filecheck {
	pthread_t thread;
	_Atomic int holder;
	uv_async_t finished;
	struct process *process;
	struct generation *generation; /* a reference: the worker may be gone first */
	const struct pc_model_entry *entry;
	char *record_dir;
	_Atomic bool unwanted; /* the worker is to stop, before it was started */
	struct pc_model_file file;
	uint64_t took_ns;
	int result;
	struct pc_error error;
};

static bool go_on(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	struct filecheck *check = ctx;

	(void)done_bytes;
	(void)total_bytes;
	/* relaxed: a flag, which publishes nothing. */
	return !atomic_load_explicit(&check->unwanted, memory_order_relaxed);
}

/* From the thread; false: the other side was first. */
static bool hand_over(struct filecheck *check, enum holder to)
{
	int held = HELD_BY_THREAD;

	return atomic_compare_exchange_strong(&check->holder, &held, to);
}

static void *open_and_verify(void *ctx)
{
	struct filecheck *check = ctx;
	const struct pc_verify_options options = {
		.record_dir = check->record_dir,
		.progress = go_on,
		.ctx = check,
	};
	uint64_t begun_ns = pc_clock_now_ns();

	check->result = pc_model_file_open(check->entry, &options, &check->file, &check->error);
	check->took_ns = pc_clock_now_ns() - begun_ns;
	/* What was written is published by pthread_join. */
	if (hand_over(check, HELD_BY_LOOP))
		uv_async_send(&check->finished);
	return NULL;
}

static void tell(const struct filecheck *check)
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

static void free_check(uv_handle_t *handle)
{
	struct filecheck *check = handle->data;

	generation_unref(check->generation);
	pc_free(check->record_dir);
	pc_free(check);
}

static void on_finished(uv_async_t *finished)
{
	struct filecheck *check = finished->data;
	struct process *process = check->process;

	pthread_join(check->thread, NULL);
	process->filecheck = NULL;
	if (check->result == 0) {
		tell(check);
		process->file = check->file;
		process->file_is_open = true;
	}
	process_file_checked(process, check->result, &check->error);
	uv_close((uv_handle_t *)finished, free_check);
}

int filecheck_begin(struct process *process, struct pc_error *err)
{
	struct filecheck *check = pc_calloc(1, sizeof(*check));
	int rc;

	if (!check)
		return pc_error_oom(err);
	check->process = process;
	check->entry = process->worker->model->entry;
	check->record_dir = pc_strdup(process_daemon(process)->verified_dir);
	if (!check->record_dir) {
		pc_free(check);
		return pc_error_oom(err);
	}
	if (uv_async_init(process_loop(process), &check->finished, on_finished)) {
		pc_free(check->record_dir);
		pc_free(check);
		return pc_error_oom(err);
	}
	check->finished.data = check;
	check->generation = generation_ref(process->worker->model->generation);
	rc = pthread_create(&check->thread, NULL, open_and_verify, check);
	if (rc) {
		uv_close((uv_handle_t *)&check->finished, free_check);
		return pc_error_sys(err, PC_E_SPAWN_FAILED, rc,
				    "cannot start a thread that verifies the model's file");
	}
	process->filecheck = check;
	return 0;
}

void filecheck_hurry(struct process *process)
{
	if (process->filecheck)
		atomic_store_explicit(&process->filecheck->unwanted, true, memory_order_relaxed);
}

/* A thread that waits for a file system cannot be ended; what it has is never freed, and goes with
 * the program. */
bool filecheck_abandon(struct process *process)
{
	struct filecheck *check = process->filecheck;

	if (!check || !hand_over(check, ABANDONED))
		return false;
	process->filecheck = NULL;
	pthread_detach(check->thread);
	uv_close((uv_handle_t *)&check->finished, NULL);
	return true;
}

/*
 * Whoever was given the open file has loaded what was verified, whatever its path names by now; but
 * not so if it was written to.
 */
static bool is_harmless(const struct process *process, const struct pc_error *why)
{
	const char *change = pc_error_detail_get(why, "change");

	return process->file_was_handed_over && change &&
	       (strcmp(change, "deleted") == 0 || strcmp(change, "replaced") == 0);
}

int filecheck_again(struct process *process, struct pc_error *err)
{
	struct pc_error why = PC_ERROR_INIT;
	int rc = process->file_is_open ? pc_model_file_check(&process->file, &why) : 0;

	filecheck_close(process);
	if (!rc || is_harmless(process, &why))
		return 0;
	/* A disk that does not answer now says nothing of what was loaded. */
	if (rc != PC_E_MODEL_FILE_INVALID) {
		pc_log_error(PC_LOG_WARN, "model", &why);
		return 0;
	}
	pc_error_set(err, rc, "worker %s of '%s' may have loaded something else: %s",
		     process_name(process), process_model(process), why.message);
	return rc;
}

void filecheck_close(struct process *process)
{
	if (process->file_is_open)
		pc_model_file_close(&process->file);
	process->file_is_open = false;
}
