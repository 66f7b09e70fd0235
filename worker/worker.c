/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the slots' threads, the queue in front of them and the mailbox behind them. It knows
 * neither HTTP nor JSON.
 *
 * Threads: slot 0's thread opens the engine, loads the model, runs slot 0 and unloads when all
 * others have ended. Slots 1.. run on threads of their own. An engine that is tied to one thread
 * gets slot 0 only. Everything said to the loop goes through one mailbox: a list of jobs with news,
 * and one uv_async_t that wakes the loop however many there are.
 *
 *     JOB_IDLE --submit--> JOB_QUEUED --take--> JOB_RUNNING --finish--> JOB_ENDED --deliver--> IDLE
 *                              \--cancel, stop---------------------------^
 *
 * Invariants, under `lock`:
 *  1. a job is in the queue if and only if it is QUEUED;
 *  2. a slot's thread touches a job only while it is RUNNING; after `finish` it is the loop's;
 *  3. on_done runs exactly once for each submitted job, on the loop, with the lock not held;
 *  4. `pending` of a streaming job is at most WORKER_PENDING_MAX_BYTES and one chunk.
 */
#include "worker.h"

#include <poolcore/clock.h>
#include <poolcore/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX 64

struct slot {
	struct worker *worker;
	uint32_t number;
	uv_thread_t thread;
};

struct worker {
	struct worker_options options; /* [const] */
	struct worker_handlers handlers;
	void *ctx;
	uv_async_t mail;

	uv_mutex_t lock;
	uv_cond_t work;			/* [lock] a job, a change of state, a thread that ended */
	enum worker_state state;	/* [lock] */
	uint32_t slots;			/* [lock] 1..options.slots, final once loaded */
	uint32_t live_threads;		/* [lock] */
	struct job *queue_head;		/* [lock] */
	struct job **queue_tail;	/* [lock] */
	struct job *running[SLOTS_MAX]; /* [lock] */
	struct job *mail_head;		/* [lock] newest first */
	struct worker_figures figures;	/* [lock] */
	struct pc_error load_error;	/* [lock] */

	atomic_bool give_up;	       /* stop was asked for: loading ends at its next progress */
	atomic_uint progress_permille; /* [set while loading, read by /health, relaxed] */

	/* Of slot 0's thread until READY, then const. */
	const struct pc_engine *engine;
	struct pc_engine_instance *instance;

	/* The loop's. */
	enum worker_state announced;
	bool stopped;
	struct buffer spare; /* what a job's pending text is swapped against */

	uint32_t thread_count;
	struct slot slot[SLOTS_MAX];
};

/* ---- mail: from the threads to the loop ---- */

static void post_locked(struct worker *worker, struct job *job)
{
	if (job->in_mail)
		return;
	job->in_mail = true;
	job->next_mail = worker->mail_head;
	worker->mail_head = job;
}

static void wake_loop(struct worker *worker)
{
	uv_async_send(&worker->mail);
}

/* ---- running a job, on a slot's thread ---- */

/*
 * The engine's text, and the place where it waits for a slow client: not before WORKER_PENDING_MAX
 * is reached, and not after the job was cancelled.
 */
static void on_chunk(void *ctx, const char *text, size_t length)
{
	struct job *job = ctx;
	struct worker *worker = job->worker;

	uv_mutex_lock(&worker->lock);
	while (job->streaming && job->pending.length >= WORKER_PENDING_MAX_BYTES &&
	       !atomic_load_explicit(&job->cancel_code, memory_order_relaxed))
		uv_cond_wait(&job->room, &worker->lock);
	buffer_put(&job->pending, text, length);
	job->starved |= job->pending.failed;

	bool tell = job->streaming && !job->paused && !job->in_mail;

	if (tell)
		post_locked(worker, job);
	uv_mutex_unlock(&worker->lock);
	if (tell)
		wake_loop(worker);
}

static bool on_stopped(void *ctx)
{
	struct job *job = ctx;

	return job->starved || atomic_load_explicit(&job->cancel_code, memory_order_relaxed) != 0;
}

/* An engine that fails without saying why still fails. */
static void check_status(struct job *job, int status)
{
	if (status != 0)
		pc_error_set(&job->err, status, "%s", pc_error_text(status));
}

static void run_text(struct worker *worker, uint32_t slot, struct job *job)
{
	if (pc_engine_check_text_request(worker->engine, job->text, &job->err) != 0)
		return;

	const struct pc_text_sink sink = {
		.size = sizeof(sink),
		.chunk = on_chunk,
		.stopped = on_stopped,
		.ctx = job,
	};

	job->result = (struct pc_text_result){ .size = sizeof(job->result) };
	check_status(job, worker->engine->generate(worker->instance, slot, job->text, &sink,
						   &job->result, &job->err));
}

static void run_embedding(struct worker *worker, uint32_t slot, struct job *job)
{
	uint32_t dim = worker->figures.model.embedding_dim;

	/* Cancelled since it was taken from the queue: the engine's cancel() found nothing. */
	if (atomic_load_explicit(&job->cancel_code, memory_order_relaxed) != 0)
		return;
	job->vectors = pc_calloc(job->input_count, dim * sizeof(float));
	if (!job->vectors) {
		pc_error_oom(&job->err);
		return;
	}
	check_status(job, worker->engine->embed_text(worker->instance, slot, job->inputs,
						     job->input_count, job->vectors, &job->tokens,
						     &job->err));
}

/* What a job's end means: a cancellation wins over whatever the engine made of it. */
static void settle_locked(struct worker *worker, struct job *job)
{
	int cancel_code = atomic_load_explicit(&job->cancel_code, memory_order_relaxed);

	if (cancel_code) {
		pc_error_clear(&job->err);
		pc_error_set(&job->err, cancel_code, "%s", pc_error_text(cancel_code));
	} else if (!job->err.code && job->starved) {
		pc_error_oom(&job->err);
	} else if (!job->err.code && job->text &&
		   job->result.finish_reason == PC_FINISH_CANCELLED) {
		pc_error_set(&job->err, PC_E_MODEL_ERROR,
			     "the engine says that it was cancelled, but nobody asked it to");
	}
	if (cancel_code)
		worker->figures.cancelled++;
	else if (job->err.code)
		worker->figures.failed++;
	else
		worker->figures.completed++;
	job->stage = JOB_ENDED;
	post_locked(worker, job);
}

static struct job *take_locked(struct worker *worker)
{
	struct job *job = worker->queue_head;

	if (!job)
		return NULL;
	worker->queue_head = job->next;
	if (!worker->queue_head)
		worker->queue_tail = &worker->queue_head;
	worker->figures.queued--;
	job->stage = JOB_RUNNING;
	return job;
}

static void serve_slot_locked(struct worker *worker, uint32_t slot)
{
	while (worker->state == WORKER_READY) {
		struct job *job = take_locked(worker);

		if (!job) {
			uv_cond_wait(&worker->work, &worker->lock);
			continue;
		}
		worker->running[slot] = job;
		worker->figures.busy++;
		uv_mutex_unlock(&worker->lock);
		if (job->text)
			run_text(worker, slot, job);
		else
			run_embedding(worker, slot, job);
		uv_mutex_lock(&worker->lock);
		worker->running[slot] = NULL;
		worker->figures.busy--;
		settle_locked(worker, job);
		wake_loop(worker);
	}
}

/* ---- loading, on slot 0's thread ---- */

static bool on_progress(void *ctx, float fraction)
{
	struct worker *worker = ctx;

	if (fraction >= 0 && fraction <= 1)
		atomic_store_explicit(&worker->progress_permille, (unsigned)(fraction * 1000),
				      memory_order_relaxed);
	return !atomic_load_explicit(&worker->give_up, memory_order_relaxed);
}

/* RssAnon + VmSwap of this process; 0 when /proc does not say. */
static uint64_t anonymous_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib, sum = 0;
	char line[256];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssAnon: %llu", &kib) == 1 ||
		    sscanf(line, "VmSwap: %llu", &kib) == 1)
			sum += kib;
	}
	fclose(file);
	return sum * 1024;
}

/*
 * What the model costs. The engine knows what it mapped but not what its libraries took; the kernel
 * counts what was allocated, but pages of a mapped file are not in RssAnon. Their sum would count
 * the engine's own allocations twice, so it is what stood here before plus the larger of the two.
 */
static uint64_t memory_of(uint64_t before_bytes, uint64_t after_bytes, uint64_t engine_bytes)
{
	uint64_t grown = after_bytes > before_bytes ? after_bytes - before_bytes : 0;

	return before_bytes + (grown > engine_bytes ? grown : engine_bytes);
}

static int check_engine(struct worker *worker, struct pc_error *err)
{
	const struct worker_options *options = &worker->options;

	if (!(worker->engine->capabilities & 1u << options->capability))
		return pc_error_set(err, PC_E_UNSUPPORTED, "engine '%s' cannot do %s",
				    worker->engine->name, pc_capability_name(options->capability));
	if ((worker->engine->flags & PC_ENGINE_THREAD_BOUND) && options->slots > 1) {
		pc_log(PC_LOG_WARN, "worker", PC_NO_FIELDS,
		       "engine '%s' is tied to one thread; serving 1 slot instead of %u",
		       worker->engine->name, options->slots);
		uv_mutex_lock(&worker->lock);
		worker->slots = 1;
		uv_mutex_unlock(&worker->lock);
	}
	return 0;
}

static int load(struct worker *worker, struct pc_error *err)
{
	uint64_t before_bytes = anonymous_bytes(), begin_ns = pc_clock_now_ns();
	struct pc_engine_description model = { .size = sizeof(model) };

	if (pc_engine_open(worker->options.engine, &worker->engine, err) != 0 ||
	    check_engine(worker, err) != 0)
		return err->code;

	const struct pc_engine_spec spec = {
		.size = sizeof(spec),
		.capability = worker->options.capability,
		.model_path = worker->options.model_path,
		.slots = worker->slots,
		.context_tokens = worker->options.context_tokens,
		.threads = worker->options.threads,
		.progress = on_progress,
		.progress_ctx = worker,
	};
	int status = worker->engine->load(&spec, &worker->instance, err);

	if (status != 0)
		return pc_error_set(err, status, "engine '%s' could not load '%s'",
				    worker->engine->name, spec.model_path);
	worker->engine->describe(worker->instance, &model);
	if (spec.capability == PC_CAPABILITY_TEXT_EMBEDDING && model.embedding_dim == 0)
		return pc_error_set(err, PC_E_UNSUPPORTED, "the model '%s' makes no embeddings",
				    spec.model_path);
	uv_mutex_lock(&worker->lock);
	worker->figures.model = model;
	worker->figures.engine_memory_bytes = model.memory_bytes;
	worker->figures.memory_bytes = memory_of(before_bytes, anonymous_bytes(),
						 model.memory_bytes);
	worker->figures.load_ms = (pc_clock_now_ns() - begin_ns) / PC_NS_PER_MS;
	uv_mutex_unlock(&worker->lock);
	return 0;
}

static void load_and_tell(struct worker *worker)
{
	struct pc_error err = PC_ERROR_INIT;
	int status = load(worker, &err);

	uv_mutex_lock(&worker->lock);
	/* A stop that came meanwhile stands. */
	if (worker->state == WORKER_LOADING)
		worker->state = status ? WORKER_FAILED : WORKER_READY;
	worker->load_error = err;
	uv_cond_broadcast(&worker->work);
	uv_mutex_unlock(&worker->lock);
	wake_loop(worker);
}

/* ---- threads ---- */

static void slot_main(void *arg)
{
	struct slot *slot = arg;
	struct worker *worker = slot->worker;

	if (slot->number == 0)
		load_and_tell(worker);
	uv_mutex_lock(&worker->lock);
	while (worker->state == WORKER_LOADING)
		uv_cond_wait(&worker->work, &worker->lock);
	if (slot->number < worker->slots)
		serve_slot_locked(worker, slot->number);
	/* The model goes when nobody can be inside it any more. */
	while (slot->number == 0 && (worker->live_threads > 1 || worker->state == WORKER_READY))
		uv_cond_wait(&worker->work, &worker->lock);
	if (slot->number == 0 && worker->instance) {
		uv_mutex_unlock(&worker->lock);
		worker->engine->unload(worker->instance);
		uv_mutex_lock(&worker->lock);
		worker->instance = NULL;
	}
	worker->live_threads--;
	uv_cond_broadcast(&worker->work);
	/* Under the lock: once it is released with no thread alive, the loop may take all apart. */
	wake_loop(worker);
	uv_mutex_unlock(&worker->lock);
}

/* ---- the loop's side ---- */

/* Hands over a job's news. `job` may be gone afterwards. */
static void deliver(struct worker *worker, struct job *job)
{
	bool ended;

	uv_mutex_lock(&worker->lock);
	/* In one step with the look at the stage: an end that came later would be posted again. */
	job->in_mail = false;
	ended = job->stage == JOB_ENDED;
	if (ended && !job->streaming) {
		buffer_swap(&job->answer, &job->pending);
	} else if (!job->paused || ended) {
		/* What is said last is passed on even to a client that is slow: it is bounded. */
		buffer_swap(&worker->spare, &job->pending);
		uv_cond_signal(&job->room);
	}
	if (ended)
		job->stage = JOB_IDLE;
	uv_mutex_unlock(&worker->lock);

	if (worker->spare.length > 0 && job->on_text)
		job->on_text(job, worker->spare.data, worker->spare.length);
	buffer_clear(&worker->spare);
	if (ended) {
		uv_cond_destroy(&job->room);
		job->on_done(job);
	}
}

static void announce(struct worker *worker, enum worker_state state, uint32_t live_threads)
{
	if (state != worker->announced) {
		worker->announced = state;
		if (state == WORKER_READY)
			worker->handlers.on_ready(worker->ctx);
		else if (state == WORKER_FAILED)
			worker->handlers.on_failed(worker->ctx, &worker->load_error);
	}
	if (live_threads > 0 || worker->stopped)
		return;
	worker->stopped = true;
	for (uint32_t i = 0; i < worker->thread_count; i++)
		uv_thread_join(&worker->slot[i].thread);
	uv_close((uv_handle_t *)&worker->mail, NULL);
	worker->handlers.on_stopped(worker->ctx);
}

static void on_mail(uv_async_t *mail)
{
	struct worker *worker = mail->data;
	struct job *list = NULL;

	uv_mutex_lock(&worker->lock);

	enum worker_state state = worker->state;
	uint32_t live_threads = worker->live_threads;

	/* Newest first becomes oldest first. */
	while (worker->mail_head) {
		struct job *job = worker->mail_head;

		worker->mail_head = job->next_mail;
		job->next_mail = list;
		list = job;
	}
	uv_mutex_unlock(&worker->lock);

	while (list) {
		struct job *job = list;

		list = job->next_mail;
		deliver(worker, job);
	}
	announce(worker, state, live_threads);
}

int worker_submit(struct worker *worker, struct job *job, struct pc_error *err)
{
	int status = 0;

	if (uv_cond_init(&job->room) != 0)
		return pc_error_oom(err);
	job->worker = worker;
	job->next = NULL;
	atomic_init(&job->cancel_code, 0);
	uv_mutex_lock(&worker->lock);
	if (worker->state == WORKER_LOADING) {
		status = pc_error_set(err, PC_E_NO_WORKERS, "the model is still loading");
	} else if (worker->state != WORKER_READY) {
		status = pc_error_set(err, PC_E_SHUTTING_DOWN, "this worker is stopping");
	} else if (worker->figures.queued >= WORKER_QUEUE_MAX) {
		status = pc_error_set(err, PC_E_QUEUE_FULL,
				      "%u slots are busy and %u requests wait already",
				      worker->figures.busy, worker->figures.queued);
	} else {
		job->stage = JOB_QUEUED;
		*worker->queue_tail = job;
		worker->queue_tail = &job->next;
		worker->figures.queued++;
		/* Slot 0's thread may also wait for others to end, so all have to look. */
		uv_cond_broadcast(&worker->work);
	}
	uv_mutex_unlock(&worker->lock);
	if (status != 0)
		uv_cond_destroy(&job->room);
	return status;
}

/*
 * Embeddings have no stopped() that would be asked. The lock keeps the slot from going on to
 * another job, and cancel() takes no time: it leaves a note. XXX one that comes before the engine
 * has begun with the job, or an engine without cancel(), lets it run to its end, unheard.
 */
static void cancel_embedding_locked(struct worker *worker, const struct job *job)
{
	if (!PC_ENGINE_HAS(worker->engine, cancel))
		return;
	for (uint32_t i = 0; i < worker->slots; i++) {
		if (worker->running[i] == job)
			worker->engine->cancel(worker->instance, i);
	}
}

static void cancel_locked(struct worker *worker, struct job *job, int code)
{
	atomic_store_explicit(&job->cancel_code, code, memory_order_relaxed);
	uv_cond_signal(&job->room);
	if (job->stage == JOB_RUNNING && job->inputs)
		cancel_embedding_locked(worker, job);
	if (job->stage != JOB_QUEUED)
		return;
	for (struct job **link = &worker->queue_head; *link; link = &(*link)->next) {
		if (*link != job)
			continue;
		*link = job->next;
		if (worker->queue_tail == &job->next)
			worker->queue_tail = link;
		worker->figures.queued--;
		break;
	}
	settle_locked(worker, job);
}

void worker_cancel(struct worker *worker, struct job *job, int code)
{
	uv_mutex_lock(&worker->lock);
	bool active = job->stage == JOB_QUEUED || job->stage == JOB_RUNNING;

	if (active)
		cancel_locked(worker, job, code);
	uv_mutex_unlock(&worker->lock);
	if (active)
		wake_loop(worker);
}

static void cancel_all_locked(struct worker *worker, int code)
{
	while (worker->queue_head)
		cancel_locked(worker, worker->queue_head, code);
	for (uint32_t i = 0; i < worker->slots; i++) {
		if (worker->running[i])
			cancel_locked(worker, worker->running[i], code);
	}
}

void worker_cancel_all(struct worker *worker, int code)
{
	uv_mutex_lock(&worker->lock);
	cancel_all_locked(worker, code);
	uv_mutex_unlock(&worker->lock);
	if (!worker->stopped)
		wake_loop(worker);
}

void worker_pause(struct worker *worker, struct job *job)
{
	uv_mutex_lock(&worker->lock);
	job->paused = true;
	uv_mutex_unlock(&worker->lock);
}

void worker_resume(struct worker *worker, struct job *job)
{
	bool tell;

	uv_mutex_lock(&worker->lock);
	tell = job->paused && job->pending.length > 0 && job->stage == JOB_RUNNING;
	job->paused = false;
	if (tell)
		post_locked(worker, job);
	uv_mutex_unlock(&worker->lock);
	if (tell)
		wake_loop(worker);
}

void worker_figures(struct worker *worker, struct worker_figures *figures)
{
	uv_mutex_lock(&worker->lock);
	*figures = worker->figures;
	figures->state = worker->state;
	figures->slots = worker->slots;
	uv_mutex_unlock(&worker->lock);
	figures->progress = (float)atomic_load_explicit(&worker->progress_permille,
							memory_order_relaxed) /
			    1000;
}

/* ---- life ---- */

/* Threads that could not be started count as ended. */
static int start_threads(struct worker *worker, struct pc_error *err)
{
	worker->live_threads = worker->options.slots;
	for (uint32_t i = 0; i < worker->options.slots; i++) {
		struct slot *slot = &worker->slot[i];
		int status;

		slot->worker = worker;
		slot->number = i;
		status = uv_thread_create(&slot->thread, slot_main, slot);
		if (status == 0) {
			worker->thread_count++;
			continue;
		}
		atomic_store_explicit(&worker->give_up, true, memory_order_relaxed);
		uv_mutex_lock(&worker->lock);
		worker->live_threads -= worker->options.slots - i;
		worker->state = WORKER_STOPPING;
		uv_cond_broadcast(&worker->work);
		uv_mutex_unlock(&worker->lock);
		for (uint32_t j = 0; j < i; j++)
			uv_thread_join(&worker->slot[j].thread);
		return pc_error_set(err, PC_E_INTERNAL, "cannot start a thread for slot %u: %s", i,
				    uv_strerror(status));
	}
	return 0;
}

int worker_start(uv_loop_t *loop, const struct worker_options *options,
		 const struct worker_handlers *handlers, void *ctx, struct worker **ret_worker,
		 struct pc_error *err)
{
	struct worker *worker = pc_calloc(1, sizeof(*worker));

	if (!worker)
		return pc_error_oom(err);
	worker->options = *options;
	worker->handlers = *handlers;
	worker->ctx = ctx;
	worker->slots = options->slots;
	worker->queue_tail = &worker->queue_head;
	if (uv_mutex_init(&worker->lock) != 0 || uv_cond_init(&worker->work) != 0 ||
	    uv_async_init(loop, &worker->mail, on_mail) != 0) {
		pc_free(worker);
		return pc_error_oom(err);
	}
	worker->mail.data = worker;
	/* On failure the worker is not freed: the loop still holds its handle, and the program
	 * ends. */
	*ret_worker = worker;
	return start_threads(worker, err);
}

void worker_stop(struct worker *worker)
{
	atomic_store_explicit(&worker->give_up, true, memory_order_relaxed);
	uv_mutex_lock(&worker->lock);
	if (worker->state != WORKER_FAILED)
		worker->state = WORKER_STOPPING;
	cancel_all_locked(worker, PC_E_SHUTTING_DOWN);
	uv_cond_broadcast(&worker->work);
	uv_mutex_unlock(&worker->lock);
	if (!worker->stopped)
		wake_loop(worker);
}

void worker_destroy(struct worker *worker)
{
	if (!worker)
		return;
	buffer_fini(&worker->spare);
	uv_cond_destroy(&worker->work);
	uv_mutex_destroy(&worker->lock);
	pc_free(worker);
}

void job_fini(struct job *job)
{
	buffer_fini(&job->answer);
	buffer_fini(&job->pending);
	pc_free(job->vectors);
	job->vectors = NULL;
}
