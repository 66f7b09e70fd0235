/* SPDX-License-Identifier: MIT */
/*
 * upstream.c - a client's connection to a worker: connects, sends a call's request, hands on what
 * is answered, waits for the next call. One loop's thread.
 *
 * A connection is connecting or busy for one call, or idle and in the pool.
 *
 *            connect               response complete, keep-alive
 *   (none) ──────────► connecting ─► busy ──────────────────────► idle ──► (closed)
 *                                     ▲                             │
 *                                     └─────────────────────────────┘ next call to that target
 *
 * The stale note. A server may close a kept-alive connection while the next request is on its way.
 * Such a call is repeated once on a fresh connection if that cannot do the work twice: when the
 * request has no body (what has no body here is asked, not told; the interface says so), when not a
 * byte could be written, or when TCP tells that the peer's kernel has not acknowledged a byte of
 * it.
 *
 * The stray note. HTTP/1.1 tells which request an answer belongs to by nothing but its place, so
 * one byte too much makes each answer behind it somebody else's. What comes while no call runs is
 * the answer to nothing (RFC 9112 9.2), and its connection is closed. Three things see to it:
 *
 * - A call is complete only if nothing follows its answer in the same read; an idle connection is
 *   read, and any byte ends it.
 * - What the loop has not come to read yet would be taken for the next answer. So the kernel is
 *   asked just before a request is written, on a kept connection and on a fresh one. That also
 *   finds an end that has not been read, and, on a Unix socket, a request that was answered but
 *   not read whole, whose rest the worker may take for a request (RFC 9112 9.3: it must read it or
 *   close).
 * - A worker that has been caught once is kept no connection to: it would do it again.
 *
 * XXX What cannot be seen: bytes that the worker sent before it read a request, and that arrive
 * after we have asked the kernel. On the wire they look like the answer. Every proxy that keeps
 * HTTP/1.1 connections has this window. Here it opens with the request; in nginx and Go's net/http,
 * which close a kept connection that becomes readable, with the event loop's last look before it. A
 * worker that hits it is caught as soon as a true answer comes while no call runs, and by the third
 * rule hits it no more. With a max_idle of 0 nobody can get what was meant for another. On TCP,
 * moreover, a request that was not read whole is only seen by what comes of it.
 *
 * Handlers may do anything from inside a callback, so nothing is touched after one until it is seen
 * that the connection still serves the call (`connection->call`); memory of a connection is freed
 * only after its handle has closed, which is never on the stack of a callback.
 */
#include <poolcore/log.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "http/client.h"
#include "http/quiet.h"
#include "http/tcp_acked.h"

/* As the server's own limit for requests. */
#define RESPONSE_HEAD_MAX_BYTES (64 << 10)

static void on_read(struct http__stream *stream, ssize_t length, const char *data);
static void on_written(struct http__stream *stream);
static void on_closed(struct http__stream *stream);

static const struct http__stream_ops stream_ops = { on_read, on_written, on_closed };

/* ---- idle connections ---- */

void http__upstream_close(struct http__upstream *connection)
{
	if (connection->stream.closing)
		return;
	if (connection->state == IDLE)
		http__pool_remove(&connection->client->pool, &connection->pooled);
	http__stream_close(&connection->stream, false);
}

struct http__upstream *http__upstream_idle(struct http_client *client,
					   const struct http_target *target)
{
	struct http__pooled *pooled = http__pool_find(&client->pool, target);

	return pooled ? http__container(pooled, struct http__upstream, pooled) : NULL;
}

struct http__upstream *http__upstream_oldest(struct http_client *client)
{
	struct http__pooled *pooled = http__pool_oldest(&client->pool);

	return pooled ? http__container(pooled, struct http__upstream, pooled) : NULL;
}

/* The worker there has sent what is no answer; from now on no connection to it is kept. */
static void distrust(struct http_client *client, const struct http_target *target)
{
	char name[128];

	if (!http__pool_distrust(&client->pool, target))
		return;
	http_client_forget(client, target);
	pc_log(PC_LOG_WARN, "http", PC_FIELDS({ "worker", http__target_text(target, name) }),
	       "it sent bytes that nobody had asked for; from now on each request to it gets a "
	       "connection of its own");
}

static void idle_enter(struct http__upstream *connection)
{
	struct http_client *client = connection->client;

	if (client->closing || !http__pool_keeps(&client->pool, &connection->pooled.target)) {
		http__upstream_close(connection);
		return;
	}
	if (http__pool_is_full(&client->pool))
		http__upstream_close(http__upstream_oldest(client));
	connection->state = IDLE;
	connection->used = true;
	connection->in_body = false;
	http__head_buffer_reset(&connection->buffer);
	http__pool_add(&client->pool, &connection->pooled, uv_now(client->shared.loop));
	http__client_timer_arm(client, connection->pooled.until_ms);
	/* So that a connection that the server closes, or speaks on, is not used again. */
	http__stream_read(&connection->stream, true);
}

static enum http__quiet connection_quiet(const struct http__upstream *connection)
{
	uv_os_fd_t fd;

	return uv_fileno(&connection->stream.uv.handle, &fd) ? QUIET_ENDED : http__quiet(fd);
}

/* A kept connection to the target that is fit for a request, or NULL. */
static struct http__upstream *idle_take(struct http_client *client,
					const struct http_target *target)
{
	struct http__upstream *connection;

	while ((connection = http__upstream_idle(client, target))) {
		enum http__quiet quiet = connection_quiet(connection);

		if (quiet == QUIET) {
			http__pool_remove(&client->pool, &connection->pooled);
			connection->state = BUSY;
			return connection;
		}
		http__upstream_close(connection);
		if (quiet == QUIET_SPOKE)
			distrust(client, target);
	}
	return NULL;
}

/* ---- the end of a call ---- */

void http__call_detach(struct http_call *call)
{
	http__link_remove(&call->timeout);
	call->over = true;
	call->client->call_count--;
	if (call->connection)
		call->connection->call = NULL;
	call->connection = NULL;
}

void http__call_fail(struct http_call *call, const struct pc_error *err)
{
	struct http__upstream *connection = call->connection;
	enum http_stage stage = call->answered	? HTTP_STAGE_RESPONSE
				: call->reached ? HTTP_STAGE_SENT
						: HTTP_STAGE_CONNECT;

	http__call_detach(call);
	if (connection)
		http__upstream_close(connection);
	call->handlers.on_error(call->ctx, call, stage, err);
	pc_free(call);
}

static void call_complete(struct http_call *call, bool more)
{
	struct http__upstream *connection = call->connection;
	bool reusable = !more && !connection->writing && !connection->broken &&
			connection->head.keep_alive;

	http__call_detach(call);
	if (more)
		distrust(connection->client, &connection->pooled.target);
	if (reusable)
		idle_enter(connection);
	else
		http__upstream_close(connection);
	call->handlers.on_end(call->ctx, call);
	pc_free(call);
}

/* ---- sending ---- */

static void request_written(uv_write_t *write, int status)
{
	struct http__upstream *connection = http__container(write, struct http__upstream, write);

	connection->writing = false;
	/* A server may answer and close without reading everything; its answer comes first. What
	 * there is to say about the connection, reading will find out. */
	if (status < 0)
		connection->broken = true;
}

/*
 * Sends the call's request. False when not a byte could be written; a kept connection that takes
 * none now is not waited for, since what came meanwhile would be taken for the answer.
 */
static bool request_send(struct http__upstream *connection)
{
	struct http_call *call = connection->call;
	uv_buf_t bufs[2] = { uv_buf_init(call->text, (unsigned)call->text_length),
			     uv_buf_init((char *)(uintptr_t)call->body,
					 (unsigned)call->body_length) };
	unsigned count = call->body_length ? 2 : 1;
	uv_stream_t *stream = &connection->stream.uv.stream;
	size_t sent;
	int result = uv_try_write(stream, bufs, count);

	if (result < 0 && (result != UV_EAGAIN || connection->used))
		return false;
	sent = result < 0 ? 0 : (size_t)result;
	call->reached = true;
	connection->state = BUSY;
	connection->sent_before = connection->sent;
	connection->sent += call->text_length + call->body_length;
	if (sent < call->text_length + call->body_length) {
		uv_buf_t rest[2];
		unsigned used = 0;

		for (unsigned i = 0; i < count; i++) {
			size_t skip = sent < bufs[i].len ? sent : bufs[i].len;

			sent -= skip;
			if (skip < bufs[i].len)
				rest[used++] = uv_buf_init(bufs[i].base + skip,
							   (unsigned)(bufs[i].len - skip));
		}
		connection->writing = uv_write(&connection->write, stream, rest, used,
					       request_written) == 0;
		connection->broken = !connection->writing;
	}
	http__stream_read(&connection->stream, !call->paused);
	return true;
}

static void connected(uv_connect_t *connecting, int status)
{
	struct http__upstream *connection = http__container(connecting, struct http__upstream,
							    connecting);
	struct http_call *call = connection->call;
	struct pc_error err = PC_ERROR_INIT;
	char name[128];

	if (!call || connection->stream.closing)
		return;
	http__target_text(&connection->pooled.target, name);
	if (status == 0 && connection_quiet(connection) != QUIET) {
		pc_error_set(&err, PC_E_RECV_FAILED,
			     "the worker at %s spoke or hung up before it was asked", name);
		http__call_fail(call, &err);
		return;
	}
	if (status == 0) {
		if (!connection->pooled.target.socket[0])
			uv_tcp_nodelay(&connection->stream.uv.tcp, 1);
		if (request_send(connection))
			return;
		status = UV_EPIPE;
	}
	pc_error_sys(&err, PC_E_SEND_FAILED, -status, "cannot reach the worker at %s", name);
	http__call_fail(call, &err);
}

/* Begins a fresh connection for the call. Errors: OUT_OF_MEMORY, SEND_FAILED. */
static int connect_fresh(struct http_call *call, struct pc_error *err)
{
	struct http_client *client = call->client;
	struct http__upstream *connection = pc_calloc(1, sizeof(*connection));
	struct sockaddr_in address = { .sin_family = AF_INET };
	int result = 0;
	char name[128];

	if (!connection)
		return pc_error_oom(err);
	connection->client = client;
	connection->call = call;
	http__pooled_init(&connection->pooled, &call->target);
	http__stream_init(&connection->stream, &client->shared, &stream_ops,
			  call->target.socket[0] != '\0');
	client->handles++;
	if (call->target.socket[0]) {
		uv_pipe_connect(&connection->connecting, &connection->stream.uv.pipe,
				call->target.socket, connected);
	} else {
		address.sin_port = htons(call->target.port);
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		result = uv_tcp_connect(&connection->connecting, &connection->stream.uv.tcp,
					(struct sockaddr *)&address, connected);
	}
	if (result < 0) {
		connection->call = NULL;
		http__upstream_close(connection);
		return pc_error_sys(err, PC_E_SEND_FAILED, -result, "cannot connect to %s",
				    http__target_text(&call->target, name));
	}
	call->connection = connection;
	return 0;
}

/* ---- a call's connection ---- */

int http__call_place(struct http_call *call, struct pc_error *err)
{
	struct http__upstream *connection = idle_take(call->client, &call->target);

	if (connection) {
		connection->call = call;
		call->connection = connection;
		if (request_send(connection))
			return 0;
		connection->call = NULL;
		call->connection = NULL;
		http__upstream_close(connection);
		call->repeated = true;
	}
	return connect_fresh(call, err);
}

/* ---- stale connections ---- */

/* Whether the peer's kernel has taken nothing of the request; Unix sockets cannot tell. */
static bool nothing_taken(const struct http__upstream *connection)
{
	uv_os_fd_t fd;
	uint64_t acked;

	return !connection->pooled.target.socket[0] &&
	       uv_fileno(&connection->stream.uv.handle, &fd) == 0 && http__tcp_acked(fd, &acked) &&
	       acked <= connection->sent_before + 1;
}

static bool may_repeat(const struct http_call *call)
{
	const struct http__upstream *connection = call->connection;

	return !call->repeated && !call->answered && connection->used &&
	       (call->body_length == 0 || nothing_taken(connection));
}

static void call_repeat(struct http_call *call)
{
	struct http__upstream *connection = call->connection;
	struct pc_error err = PC_ERROR_INIT;

	call->repeated = true;
	if (nothing_taken(connection))
		call->reached = false;
	connection->call = NULL;
	call->connection = NULL;
	http__upstream_close(connection);
	if (connect_fresh(call, &err))
		http__call_fail(call, &err);
}

/* ---- receiving ---- */

static bool body_piece(void *ctx, const char *data, size_t length)
{
	struct http__upstream *connection = ctx;
	struct http_call *call = connection->call;

	if (call && call->handlers.on_body)
		call->handlers.on_body(call->ctx, call, data, length);
	return connection->call != NULL;
}

/* A head lies in the buffer. 0, or the call is to fail with the error. */
static int head_complete(struct http__upstream *connection, struct pc_error *err)
{
	struct http_call *call = connection->call;
	struct http__head_buffer *buffer = &connection->buffer;
	struct http__head *head = &connection->head;
	int code = http__response_head_read(buffer->text, buffer->length,
					    connection->client->headers, head, err);

	if (code)
		return code;
	if (head->status == 101)
		return pc_error_set(err, PC_E_RECV_FAILED,
				    "the worker switches protocols, which nobody has asked for");
	if (head->status < 200) {
		http__head_buffer_reset(buffer);
		return 0;
	}
	if (!http__head_buffer_keep(buffer, connection->client->headers, head))
		return pc_error_oom(err);
	code = http__decoder_start_response(&connection->decoder, head, buffer->text,
					    buffer->length, call->is_head, body_piece, connection,
					    err);
	if (code)
		return code;
	connection->in_body = true;
	http__link_remove(&call->timeout);
	call->handlers.on_head(call->ctx, call, head->status, buffer->headers, head->header_count);
	return 0;
}

/* Takes bytes of a head; the number of them, or the call is to fail with the error. */
static int take_head(struct http__upstream *connection, const char *data, size_t length,
		     size_t *ret_used, struct pc_error *err)
{
	switch (http__head_buffer_take(&connection->buffer, data, length, RESPONSE_HEAD_MAX_BYTES,
				       ret_used)) {
	case HEAD_MORE:
		return 0;
	case HEAD_WHOLE:
		return head_complete(connection, err);
	case HEAD_BARE_LF:
		return pc_error_set(err, PC_E_RECV_FAILED,
				    "a line of the response's head ends in LF without CR");
	case HEAD_TOO_LONG:
		return pc_error_set(err, PC_E_RECV_FAILED,
				    "the response's head is longer than %d bytes",
				    RESPONSE_HEAD_MAX_BYTES);
	case HEAD_NO_MEMORY:
	default:
		return pc_error_oom(err);
	}
}

static void receive(struct http__upstream *connection, const char *data, size_t length)
{
	struct http_call *call = connection->call;
	struct pc_error err;
	size_t used = 0;
	int code = 0;

	pc_error_clear(&err);
	call->answered = true;
	while (length && !code) {
		if (connection->in_body)
			code = http__decoder_feed(&connection->decoder, data, length, &used, &err);
		else
			code = take_head(connection, data, length, &used, &err);
		if (!connection->call)
			return;
		if (code)
			break;
		data += used;
		length -= used;
		if (connection->in_body && connection->decoder.complete) {
			call_complete(call, length > 0);
			return;
		}
	}
	if (code)
		http__call_fail(call, &err);
}

/* The server has closed the connection, or it is broken. */
static void connection_ended(struct http__upstream *connection, int status)
{
	struct http_call *call = connection->call;
	struct pc_error err = PC_ERROR_INIT;
	char name[128];

	connection->head.keep_alive = false;
	if (status == UV_EOF && connection->in_body && http__decoder_eof(&connection->decoder)) {
		call_complete(call, false);
		return;
	}
	if (may_repeat(call)) {
		call_repeat(call);
		return;
	}
	http__target_text(&connection->pooled.target, name);
	if (status == UV_EOF)
		pc_error_set(&err, PC_E_RECV_FAILED, "the worker at %s closed the connection %s",
			     name, call->answered ? "inside its response" : "without a response");
	else
		pc_error_sys(&err, PC_E_RECV_FAILED, -status,
			     "the connection to the worker at %s broke", name);
	http__call_fail(call, &err);
}

static void on_read(struct http__stream *stream, ssize_t length, const char *data)
{
	struct http__upstream *connection = http__container(stream, struct http__upstream, stream);

	if (!connection->call) {
		/* Idle: closed by the server, or it says what nobody asked for. */
		http__upstream_close(connection);
		if (length > 0)
			distrust(connection->client, &connection->pooled.target);
	} else if (length > 0) {
		receive(connection, data, (size_t)length);
	} else {
		connection_ended(connection, (int)length);
	}
}

static void on_written(struct http__stream *stream)
{
	/* Requests are written without the stream's own buffers. */
	(void)stream;
}

static void on_closed(struct http__stream *stream)
{
	struct http__upstream *connection = http__container(stream, struct http__upstream, stream);
	struct http_client *client = connection->client;

	http__head_buffer_fini(&connection->buffer);
	pc_free(connection);
	http__client_handle_closed(client);
}
