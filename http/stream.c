/* SPDX-License-Identifier: MIT */
/*
 * stream.c - one connected socket, see stream.h. It knows nothing of HTTP, of deadlines and of
 * limits: whoever writes asks http__stream_pending.
 *
 * The write path. A system call costs more than everything else that a small response costs, so
 * pieces are copied into `gathering` (up to GATHER_MAX_BYTES) and leave together when the owner
 * flushes, at the end of the event that it handles. A flush tries to write at once; only what the
 * socket does not take becomes a request of libuv (`flight`). There is one flight at a time: what
 * is written meanwhile is gathered without bound and leaves in one piece when the flight has
 * landed.
 */
#include "http/stream.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* The size of libuv's own suggestion; one read empties a default socket buffer mostly. */
#define READ_BYTES 65536
/* A response head with a small body; larger pieces gain nothing from being copied. A guess. */
#define GATHER_MAX_BYTES 16384
/* Output buffers kept for the next writer: as many as connections are answered within one turn of
 * a busy loop. With fewer, the heap's top was given back to the kernel and taken anew in each. */
#define SPARE_MAX 64

struct http__out {
	uv_write_t request;
	struct http__stream *stream;
	struct http__out *next_spare;
	size_t length;
	size_t capacity;
	char data[];
};

int http__stream_shared_init(struct http__stream_shared *shared, uv_loop_t *loop,
			     struct pc_error *err)
{
	struct sigaction action;

	/* libuv writes with write(2), which raises it when the peer has gone. */
	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	*shared = (struct http__stream_shared){ .loop = loop };
	shared->read_buffer = pc_malloc(READ_BYTES);
	return shared->read_buffer ? 0 : pc_error_oom(err);
}

void http__stream_shared_fini(struct http__stream_shared *shared)
{
	while (shared->spare) {
		struct http__out *out = shared->spare;

		shared->spare = out->next_spare;
		pc_free(out);
	}
	pc_free(shared->read_buffer);
	*shared = (struct http__stream_shared){ .loop = NULL };
}

/* ---- output buffers ---- */

static struct http__out *out_create(struct http__stream *stream, size_t capacity)
{
	struct http__stream_shared *shared = stream->shared;
	struct http__out *out = shared->spare;

	if (out && capacity <= GATHER_MAX_BYTES) {
		shared->spare = out->next_spare;
		shared->spare_count--;
	} else {
		if (capacity < GATHER_MAX_BYTES)
			capacity = GATHER_MAX_BYTES;
		if (capacity > SIZE_MAX - sizeof(*out))
			return NULL;
		out = pc_malloc(sizeof(*out) + capacity);
		if (!out)
			return NULL;
		out->capacity = capacity;
	}
	out->stream = stream;
	out->length = 0;
	return out;
}

static void out_release(struct http__out *out)
{
	struct http__stream_shared *shared = out->stream->shared;

	if (out->capacity != GATHER_MAX_BYTES || shared->spare_count == SPARE_MAX) {
		pc_free(out);
		return;
	}
	out->next_spare = shared->spare;
	shared->spare = out;
	shared->spare_count++;
}

/* Makes room for `more` bytes in what is being gathered. */
static bool gather_reserve(struct http__stream *stream, size_t more)
{
	struct http__out *out = stream->gathering;
	size_t need;

	if (!out)
		return (stream->gathering = out_create(stream, more)) != NULL;
	if (__builtin_add_overflow(out->length, more, &need))
		return false;
	if (need <= out->capacity)
		return true;
	if (need < out->capacity * 2)
		need = out->capacity * 2;
	out = pc_realloc(out, sizeof(*out) + need);
	if (!out)
		return false;
	out->capacity = need;
	stream->gathering = out;
	return true;
}

/* Copies the pieces, without their first `skip` bytes. */
static bool gather(struct http__stream *stream, const uv_buf_t *bufs, unsigned count, size_t skip,
		   size_t total)
{
	if (total == skip)
		return true;
	if (!gather_reserve(stream, total - skip))
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct http__out *out = stream->gathering;
		size_t length = bufs[i].len;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		memcpy(out->data + out->length, bufs[i].base + skip, length - skip);
		out->length += length - skip;
		skip = 0;
	}
	return true;
}

/* ---- writing ---- */

static bool fail(struct http__stream *stream)
{
	stream->failed = true;
	if (stream->gathering)
		out_release(pc_steal(&stream->gathering));
	return false;
}

static void flight_landed(uv_write_t *request, int status)
{
	struct http__out *out = http__container(request, struct http__out, request);
	struct http__stream *stream = out->stream;

	stream->flight = NULL;
	out_release(out);
	if (stream->closing)
		return;
	if (status < 0)
		fail(stream);
	else
		http__stream_flush(stream);
	stream->ops->on_written(stream);
}

/* Leaves the gathered bytes, of which the kernel has taken `sent`, to libuv. */
static bool launch(struct http__stream *stream, size_t sent)
{
	struct http__out *out = pc_steal(&stream->gathering);
	uv_buf_t rest = uv_buf_init(out->data + sent, (unsigned)(out->length - sent));

	if (uv_write(&out->request, &stream->uv.stream, &rest, 1, flight_landed) < 0) {
		out_release(out);
		return fail(stream);
	}
	stream->flight = out;
	return true;
}

bool http__stream_flush(struct http__stream *stream)
{
	struct http__out *out = stream->gathering;
	int sent;

	if (stream->failed || stream->closing)
		return false;
	if (!out || stream->flight)
		return true;

	uv_buf_t buf = uv_buf_init(out->data, (unsigned)out->length);

	sent = uv_try_write(&stream->uv.stream, &buf, 1);
	if (sent < 0 && sent != UV_EAGAIN)
		return fail(stream);
	if (sent < 0)
		sent = 0;
	if ((size_t)sent < out->length)
		return launch(stream, (size_t)sent);
	out_release(pc_steal(&stream->gathering));
	return true;
}

/* What has been gathered and the new pieces in one system call; the rest is left to libuv. */
static bool send_all(struct http__stream *stream, const uv_buf_t *pieces, unsigned count,
		     size_t total)
{
	size_t gathered = stream->gathering ? stream->gathering->length : 0;
	uv_buf_t bufs[8];
	unsigned used = 0;
	size_t sent;
	int result;

	if (gathered)
		bufs[used++] = uv_buf_init(stream->gathering->data, (unsigned)gathered);
	for (unsigned i = 0; i < count; i++)
		bufs[used++] = pieces[i];
	result = uv_try_write(&stream->uv.stream, bufs, used);
	if (result < 0 && result != UV_EAGAIN)
		return fail(stream);
	sent = result < 0 ? 0 : (size_t)result;
	if (sent == gathered + total) {
		if (stream->gathering)
			out_release(pc_steal(&stream->gathering));
		return true;
	}
	if (!gather(stream, pieces, count, sent > gathered ? sent - gathered : 0, total))
		return fail(stream);
	/* Where gathered bytes have been sent whole, they are still in front of the rest. */
	return launch(stream, sent < gathered ? sent : gathered);
}

bool http__stream_write(struct http__stream *stream, const uv_buf_t *bufs, unsigned count)
{
	size_t gathered = stream->gathering ? stream->gathering->length : 0;
	size_t total = 0;

	if (stream->failed || stream->closing)
		return false;
	for (unsigned i = 0; i < count; i++)
		total += bufs[i].len;
	/* libuv's vectors count in unsigned and int; nothing here comes near it. */
	if (total > INT32_MAX / 2 || gathered > INT32_MAX / 2)
		return fail(stream);
	stream->written_bytes += total;
	if (!stream->flight && gathered + total > GATHER_MAX_BYTES && count < 8)
		return send_all(stream, bufs, count, total);
	if (!gather(stream, bufs, count, 0, total))
		return fail(stream);
	return true;
}

size_t http__stream_pending(const struct http__stream *stream)
{
	size_t pending = stream->gathering ? stream->gathering->length : 0;

	if (stream->flight)
		pending += uv_stream_get_write_queue_size(&stream->uv.stream);
	return pending;
}

uint64_t http__stream_sent(const struct http__stream *stream)
{
	return stream->written_bytes - http__stream_pending(stream);
}

/* ---- reading ---- */

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct http__stream *stream = handle->data;

	(void)suggested;
	*buf = uv_buf_init(stream->shared->read_buffer, READ_BYTES);
}

static void read_done(uv_stream_t *handle, ssize_t length, const uv_buf_t *buf)
{
	struct http__stream *stream = handle->data;

	if (length == 0 || stream->closing)
		return;
	if (length < 0) {
		uv_read_stop(handle);
		stream->reading = false;
	}
	stream->ops->on_read(stream, length, buf->base);
}

void http__stream_read(struct http__stream *stream, bool enabled)
{
	if (stream->reading == enabled || stream->closing)
		return;
	if (!enabled)
		uv_read_stop(&stream->uv.stream);
	else if (uv_read_start(&stream->uv.stream, lend_buffer, read_done) < 0)
		return;
	stream->reading = enabled;
}

/* ---- opening and closing ---- */

int http__stream_init(struct http__stream *stream, struct http__stream_shared *shared,
		      const struct http__stream_ops *ops, bool is_unix)
{
	int result;

	memset(stream, 0, sizeof(*stream));
	stream->shared = shared;
	stream->ops = ops;
	result = is_unix ? uv_pipe_init(shared->loop, &stream->uv.pipe, 0)
			 : uv_tcp_init(shared->loop, &stream->uv.tcp);
	stream->uv.handle.data = stream;
	return result;
}

int http__stream_open(struct http__stream *stream, int fd)
{
	int result;

	if (stream->uv.handle.type == UV_NAMED_PIPE)
		return uv_pipe_open(&stream->uv.pipe, fd);
	result = uv_tcp_open(&stream->uv.tcp, fd);
	if (result == 0)
		uv_tcp_nodelay(&stream->uv.tcp, 1);
	return result;
}

void http__stream_shutdown(struct http__stream *stream)
{
	uv_os_fd_t fd;

	if (!stream->closing && uv_fileno(&stream->uv.handle, &fd) == 0)
		shutdown(fd, SHUT_WR);
}

static void closed(uv_handle_t *handle)
{
	struct http__stream *stream = handle->data;

	stream->ops->on_closed(stream);
}

void http__stream_close(struct http__stream *stream, bool reset)
{
	uv_handle_t *handle = &stream->uv.handle;

	if (stream->closing)
		return;
	stream->closing = true;
	stream->reading = false;
	if (stream->gathering)
		out_release(pc_steal(&stream->gathering));
	/* The flight, if any, is cancelled by libuv and released in flight_landed. */
	if (!reset || handle->type != UV_TCP || uv_tcp_close_reset(&stream->uv.tcp, closed) < 0)
		uv_close(handle, closed);
}
