/* SPDX-License-Identifier: MIT */
/*
 * text_stream.c - an answer that is read at the reader's pace while a worker makes it.
 *
 * Two threads share a stream: the worker's writes (take_chunk, then end_stream, both inside the
 * pool's call), the reader's reads. Each holds a reference, and so does a read or a cancel in
 * progress, so that the stream may be closed at any moment and whoever lets go last frees it.
 *
 *	open ──► flowing ──► ended		(the pool calls end_stream, exactly once)
 *	            │           │
 *	            └───────────┴──► cancelled	(cancel, close; not after all was read)
 *
 * `cancelled` decides what the reader gets, `ended` whether the worker is still there.
 *
 * Text passes through two buffers: the worker fills one while the reader looks at the other, and
 * the reader exchanges them when he has read his. The worker waits while `filling` holds
 * PC_STREAM_BUFFER_BYTES. What may end this wait without an event of ours (a deadline, a cancel
 * token, the end of the pool) has none that could be waited for; see RECHECK_MS.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "capability/text_call.h"

/*
 * How often a worker that waits for its reader asks whether the call should end. Only this rare
 * state pays for it: a guess between a shutdown's patience and the wake-ups of a machine that
 * idles.
 */
#define RECHECK_MS 100

#define UTF8_MAX 4u /* bytes of the longest character (RFC 3629) */

struct pc_text_stream {
	struct pc__text_call call; /* the worker's; `result` is const after `ended` */
	char *key;		   /* [const] the model's, which may be gone before the stream */
	struct pc_cancel *cancel;  /* [const] ours, or NULL when the caller has one */
	atomic_uint refs;

	pthread_mutex_t lock;
	pthread_cond_t readable; /* more text, ended or cancelled */
	pthread_cond_t writable; /* room, or cancelled */
	struct pc__buf filling;	 /* [lock] */
	bool out_of_memory;	 /* the worker's */
	bool cancelled;		 /* [lock] */
	bool ended;		 /* [lock] */
	struct pc_error err;	 /* how it ended [const after `ended`] */
	int fd;			 /* [lock] an eventfd, or -1 */
	bool fd_is_readable;	 /* [lock] */

	struct pc__buf reading; /* the reader's */
};

/* ---- life ---- */

static void stream_free(struct pc_text_stream *stream)
{
	pc__text_call_fini(&stream->call);
	pc__buf_fini(&stream->filling);
	pc__buf_fini(&stream->reading);
	pc_cancel_destroy(stream->cancel);
	if (stream->fd >= 0)
		close(stream->fd);
	pthread_cond_destroy(&stream->writable);
	pthread_cond_destroy(&stream->readable);
	pthread_mutex_destroy(&stream->lock);
	pc_free(stream->key);
	pc_free(stream);
}

static void hold(struct pc_text_stream *stream)
{
	atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
}

static void let_go(struct pc_text_stream *stream)
{
	/* Release what this thread did, acquire what the others did before it is freed. */
	if (atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel) == 1)
		stream_free(stream);
}

/* With one reference, and without a token. */
static struct pc_text_stream *stream_alloc(const struct pc_model *model)
{
	struct pc_text_stream *stream = pc_calloc(1, sizeof(*stream));
	pthread_condattr_t monotonic;

	if (!stream)
		return NULL;
	stream->key = pc_strdup(pc_model_key(model));
	if (!stream->key) {
		pc_free(stream);
		return NULL;
	}
	stream->fd = -1;
	atomic_init(&stream->refs, 1);
	/* With these arguments none of them can fail. */
	pthread_mutex_init(&stream->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&stream->readable, NULL);
	pthread_cond_init(&stream->writable, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return stream;
}

/* The descriptor says what a reader would find. An eventfd never blocks with these two values. */
static void update_fd_locked(struct pc_text_stream *stream)
{
	bool readable = stream->filling.length > 0 || stream->ended || stream->cancelled;
	eventfd_t drained;

	if (stream->fd < 0 || stream->fd_is_readable == readable)
		return;
	if (readable)
		eventfd_write(stream->fd, 1);
	else
		eventfd_read(stream->fd, &drained);
	stream->fd_is_readable = readable;
}

/* ---- the worker's side ---- */

/* Waits, without the lock, until a whole character fits. False: nobody wants the text any more. */
static bool wait_for_room_locked(struct pc_text_stream *stream)
{
	while (stream->filling.length > PC_STREAM_BUFFER_BYTES - UTF8_MAX && !stream->cancelled) {
		uint64_t until_ns = pc_clock_now_ns() + RECHECK_MS * PC_NS_PER_MS;
		struct timespec until = { .tv_sec = (time_t)(until_ns / PC_NS_PER_SEC),
					  .tv_nsec = (long)(until_ns % PC_NS_PER_SEC) };

		if (pthread_cond_timedwait(&stream->writable, &stream->lock, &until) != ETIMEDOUT)
			continue;
		/* The pool is asked without our lock. */
		pthread_mutex_unlock(&stream->lock);

		bool stop = pc_run_should_stop(stream->call.run);

		pthread_mutex_lock(&stream->lock);
		if (stop)
			return false;
	}
	return !stream->cancelled;
}

/* Puts in what fits, in whole characters; returns how much, at least one byte. */
static size_t put_part_locked(struct pc_text_stream *stream, const char *text, size_t length)
{
	size_t room = PC_STREAM_BUFFER_BYTES - stream->filling.length;

	if (length > room) {
		length = pc__utf8_cut(text, room);
		/* It was not UTF-8, which is the engine's mistake; it must not hold us here. */
		if (length == 0)
			length = room;
	}
	pc__buf_append(&stream->filling, text, length);
	stream->out_of_memory = stream->filling.failed;
	pthread_cond_signal(&stream->readable);
	update_fd_locked(stream);
	return length;
}

static bool take_chunk(void *ctx, const char *text, size_t length)
{
	struct pc_text_stream *stream = ctx;
	bool wanted = true;

	pthread_mutex_lock(&stream->lock);
	while (length > 0 && wanted && !stream->out_of_memory) {
		wanted = wait_for_room_locked(stream);
		if (!wanted)
			break;

		size_t part = put_part_locked(stream, text, length);

		text += part;
		length -= part;
	}
	pthread_mutex_unlock(&stream->lock);
	return wanted && !stream->out_of_memory;
}

static bool is_declined(struct pc_text_stream *stream)
{
	return atomic_load_explicit(&stream->call.declined, memory_order_relaxed);
}

static int run_stream(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	struct pc_text_stream *stream = ctx;
	int rc = 0;

	/* One that was cancelled while it waited costs the engine nothing. */
	if (!is_declined(stream))
		rc = pc__text_call_run(&stream->call, run, err);
	if (rc || !is_declined(stream))
		return rc;
	if (stream->out_of_memory)
		return pc__call_oom(stream->call.model, err);
	if (pc_run_should_stop(run))
		return pc_run_stop_error(run, err);
	return pc__call_refuse(stream->call.model, err, PC_E_CANCELLED, "the stream was cancelled");
}

static void end_stream(void *ctx, const struct pc_error *err)
{
	struct pc_text_stream *stream = ctx;

	/* The request can be large, and the reader slow. */
	pc__text_call_fini(&stream->call);
	pthread_mutex_lock(&stream->lock);
	stream->err = *err;
	stream->ended = true;
	pthread_cond_broadcast(&stream->readable);
	update_fd_locked(stream);
	pthread_mutex_unlock(&stream->lock);
	let_go(stream);
}

/* ---- the reader's side ---- */

/* What the reader gets now, in the order of precedence; PC_STREAM_WOULD_BLOCK: nothing yet. */
static int look_locked(struct pc_text_stream *stream, struct pc_error *err)
{
	if (stream->cancelled)
		return pc_error_set(err, PC_E_CANCELLED, "'%s': the stream was cancelled",
				    stream->key);
	if (stream->filling.length > 0)
		return PC_STREAM_CHUNK;
	if (!stream->ended)
		return PC_STREAM_WOULD_BLOCK;
	if (err && !err->code && stream->err.code)
		*err = stream->err;
	return stream->err.code ? stream->err.code : PC_STREAM_END;
}

/* Exchanges the buffers: the reader gets all there is, the worker an empty one. */
static void exchange_locked(struct pc_text_stream *stream)
{
	struct pc__buf read = stream->reading;

	stream->reading = stream->filling;
	stream->filling = read;
	stream->filling.length = 0;
	pthread_cond_signal(&stream->writable);
	update_fd_locked(stream);
}

static int read_stream(struct pc_text_stream *stream, bool wait, const char **ret_chunk,
		       size_t *ret_length, struct pc_error *err)
{
	int rc;

	if (!stream || !ret_chunk || !ret_length)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s was given (it is NULL)",
				    stream ? "no place for the chunk" : "no stream");
	hold(stream);
	pthread_mutex_lock(&stream->lock);
	while ((rc = look_locked(stream, err)) == PC_STREAM_WOULD_BLOCK && wait)
		pthread_cond_wait(&stream->readable, &stream->lock);
	if (rc == PC_STREAM_CHUNK)
		exchange_locked(stream);
	pthread_mutex_unlock(&stream->lock);
	if (rc == PC_STREAM_CHUNK) {
		*ret_chunk = stream->reading.data;
		*ret_length = stream->reading.length;
	}
	let_go(stream);
	return rc;
}

int pc_text_stream_next(struct pc_text_stream *stream, const char **ret_chunk, size_t *ret_length,
			struct pc_error *err)
{
	return read_stream(stream, true, ret_chunk, ret_length, err);
}

int pc_text_stream_try_next(struct pc_text_stream *stream, const char **ret_chunk,
			    size_t *ret_length, struct pc_error *err)
{
	return read_stream(stream, false, ret_chunk, ret_length, err);
}

int pc_text_stream_fd(struct pc_text_stream *stream, struct pc_error *err)
{
	int fd, reason = 0;

	if (!stream)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "no stream was given (it is NULL)");
	pthread_mutex_lock(&stream->lock);
	if (stream->fd < 0) {
		stream->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		reason = errno;
		update_fd_locked(stream);
	}
	fd = stream->fd;
	pthread_mutex_unlock(&stream->lock);
	return fd >= 0 ? fd
		       : pc_error_sys(err, PC_E_IO, reason,
				      "'%s': cannot make a descriptor for the stream", stream->key);
}

int pc_text_stream_result(struct pc_text_stream *stream, struct pc_text_result *ret_result,
			  struct pc_error *err)
{
	if (!stream || !ret_result)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s was given (it is NULL)",
				    stream ? "no place for the result" : "no stream");
	pthread_mutex_lock(&stream->lock);

	int state = look_locked(stream, NULL);

	pthread_mutex_unlock(&stream->lock);
	if (state != PC_STREAM_END)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "'%s': the stream has not come to its end, so it has no result",
				    stream->key);
	*ret_result = stream->call.result;
	return 0;
}

void pc_text_stream_cancel(struct pc_text_stream *stream)
{
	bool running;

	if (!stream)
		return;
	hold(stream); /* another thread may close it as soon as we have the lock no more */
	pthread_mutex_lock(&stream->lock);
	running = !stream->ended;
	if (running || stream->filling.length > 0)
		stream->cancelled = true;
	/* For an engine that is busy and has not come back to take_chunk. */
	if (running)
		atomic_store_explicit(&stream->call.declined, true, memory_order_relaxed);
	pthread_cond_broadcast(&stream->readable);
	pthread_cond_broadcast(&stream->writable);
	update_fd_locked(stream);
	pthread_mutex_unlock(&stream->lock);
	/* Without our lock: the pool may end the request on this thread, and call end_stream. */
	if (running && stream->cancel)
		pc_cancel_fire(stream->cancel);
	let_go(stream);
}

void pc_text_stream_close(struct pc_text_stream *stream)
{
	if (!stream)
		return;
	pc_text_stream_cancel(stream);
	let_go(stream);
}

/* ---- opening ---- */

/* A token of our own, so that cancelling withdraws a request that still waits. A request carries
 * one token only, so the caller's own goes first. */
static int give_token(struct pc_text_stream *stream, struct pc_request_options *options,
		      struct pc_error *err)
{
	if (options->cancel)
		return 0;

	int rc = pc_cancel_create(&stream->cancel, err);

	options->cancel = stream->cancel;
	return rc;
}

int pc__text_call_stream(struct pc__text_call *call, const struct pc_request_options *options,
			 struct pc_text_stream **ret_stream, struct pc_error *err)
{
	struct pc_request_options with_token = { .timeout_ms = 0 };
	struct pc_text_stream *stream = NULL;
	int rc = pc__call_need(call->model, ret_stream != NULL, "place for the stream", err);

	if (!rc && !(stream = stream_alloc(call->model)))
		rc = pc__call_oom(call->model, err);
	if (rc) {
		pc__text_call_fini(call);
		return rc;
	}
	stream->call = *call;
	stream->call.on_chunk = take_chunk;
	stream->call.ctx = stream;
	if (options)
		with_token = *options;

	rc = give_token(stream, &with_token, err);
	if (!rc) {
		hold(stream); /* for the worker, until end_stream */
		rc = pc_pool_submit(stream->call.model, &with_token, run_stream, end_stream, stream,
				    err);
		if (rc)
			let_go(stream);
	}
	if (rc)
		let_go(stream);
	else
		*ret_stream = stream;
	return rc;
}
