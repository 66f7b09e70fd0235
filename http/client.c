/* SPDX-License-Identifier: MIT */
/*
 * client.c - calls to workers on this machine: TCP on loopback or Unix sockets, with kept-alive
 * connections. No redirects, no proxies, no names to resolve. One loop's thread.
 *
 * A connection is connecting or busy for one call, or idle and on two lists: those of its hash
 * bucket, the most recently used first, and those of all idle ones by age. A call owns its
 * request's head (it may have to be sent twice) and borrows the body from its caller.
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
 * The stray note. HTTP/1.1 tells which request an answer belongs to by nothing but its place, so one
 * byte too much makes each answer behind it somebody else's. What comes while no call runs is the
 * answer to nothing (RFC 9112 9.2), and its connection is closed. Three things see to it:
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
#include "http/http.h"

#include <poolcore/log.h>

#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "http/decoder.h"
#include "http/head_buffer.h"
#include "http/quiet.h"
#include "http/stream.h"
#include "http/tcp_acked.h"
#include "http/text.h"

/* As the server's own limit for requests. */
#define RESPONSE_HEAD_MAX_BYTES (64 << 10)
#define BUCKETS 64
/* Few workers are so broken; the oldest makes room, and is caught again. A guess. */
#define DISTRUSTED_MAX 16

enum state { CONNECTING, BUSY, IDLE };

struct connection {
	struct http__stream stream;
	struct http_client *client;
	struct http_target target;
	enum state state;
	struct http_call *call;
	uv_connect_t connecting;
	uv_write_t write; /* of the request's rest */
	bool writing;
	bool broken;	      /* the request could not be written whole */
	bool used;	      /* it has served a call before this one */
	uint64_t sent_before; /* bytes of earlier requests */
	uint64_t sent;	      /* with those of this one */
	struct http__link bucket;
	struct http__link age;
	uint64_t idle_until_ms;

	struct http__head_buffer buffer;
	struct http__head head;
	struct http__decoder decoder;
	bool in_body;
};

struct http_call {
	struct http_client *client;
	struct connection *connection;
	struct http_call_handlers handlers;
	void *ctx;
	struct http_target target;
	const char *body;
	size_t body_length;
	struct http__link timeout; /* alone: none is running */
	uint64_t deadline_ms;
	uint64_t timeout_ms;
	bool is_head;  /* the method */
	bool reached;  /* bytes of the request may have reached the server */
	bool answered; /* bytes of a response have come */
	bool repeated;
	bool paused;
	bool over; /* its last callback is running */
	size_t text_length;
	char text[];
};

struct http_client {
	struct http__stream_shared shared;
	size_t max_idle;
	uint64_t idle_ms;
	struct http__link buckets[BUCKETS];
	struct http__link ages;
	size_t idle_count;
	/* Who sent what nobody had asked for, a ring; see the stray note. */
	struct http_target distrusted[DISTRUSTED_MAX];
	size_t distrusted_count; /* ever */
	size_t call_count;
	size_t handles;		    /* connections and the timer */
	struct http__link timeouts; /* by deadline */
	uv_timer_t timer;
	uint64_t timer_ms;
	bool closing;
	void (*done)(void *ctx);
	void *done_ctx;
	struct http__text text;
	struct http_header headers[HTTP_HEADERS_MAX];
};

static void on_read(struct http__stream *stream, ssize_t length, const char *data);
static void on_written(struct http__stream *stream);
static void on_closed(struct http__stream *stream);

static const struct http__stream_ops stream_ops = { on_read, on_written, on_closed };

static const char *target_text(const struct http_target *target, char out[128])
{
	if (target->socket[0])
		snprintf(out, 128, "unix:%.107s", target->socket);
	else
		snprintf(out, 128, "127.0.0.1:%u", target->port);
	return out;
}

/* ---- clocks ---- */

static void timer_fired(uv_timer_t *timer);

static void timer_arm(struct http_client *client, uint64_t at_ms)
{
	uint64_t now = uv_now(client->shared.loop);

	if (client->closing || (client->timer_ms && client->timer_ms <= at_ms))
		return;
	client->timer_ms = at_ms;
	uv_timer_start(&client->timer, timer_fired, at_ms > now ? at_ms - now : 0, 0);
}

/* Most calls have the same timeout, so that the place is at the end. */
static void timeout_start(struct http_call *call)
{
	struct http__link *at = call->client->timeouts.prev;

	if (!call->timeout_ms)
		return;
	call->deadline_ms = uv_now(call->client->shared.loop) + call->timeout_ms;
	while (at != &call->client->timeouts &&
	       http__container(at, struct http_call, timeout)->deadline_ms > call->deadline_ms)
		at = at->prev;
	http__link_before(at->next, &call->timeout);
	timer_arm(call->client, call->deadline_ms);
}

/* ---- the pool of idle connections ---- */

static struct http__link *bucket_of(struct http_client *client, const struct http_target *target)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *p = target->socket; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	hash = (hash ^ target->port) * 16777619u;
	return &client->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static bool same_target(const struct http_target *a, const struct http_target *b)
{
	if (a->socket[0] || b->socket[0])
		return strcmp(a->socket, b->socket) == 0;
	return a->port == b->port;
}

static void idle_leave(struct connection *connection)
{
	http__link_remove(&connection->bucket);
	http__link_remove(&connection->age);
	connection->client->idle_count--;
}

static void connection_close(struct connection *connection)
{
	if (connection->stream.closing)
		return;
	if (connection->state == IDLE)
		idle_leave(connection);
	http__stream_close(&connection->stream, false);
}

static struct connection *idle_find(struct http_client *client, const struct http_target *target)
{
	struct http__link *bucket = bucket_of(client, target);

	for (struct http__link *at = bucket->next; at != bucket; at = at->next) {
		struct connection *connection = http__container(at, struct connection, bucket);

		if (same_target(&connection->target, target))
			return connection;
	}
	return NULL;
}

static bool is_distrusted(const struct http_client *client, const struct http_target *target)
{
	for (size_t i = 0; i < client->distrusted_count && i < DISTRUSTED_MAX; i++) {
		if (same_target(&client->distrusted[i], target))
			return true;
	}
	return false;
}

/* The worker there has sent what is no answer; from now on no connection to it is kept. */
static void distrust(struct http_client *client, const struct http_target *target)
{
	char name[128];

	if (is_distrusted(client, target))
		return;
	client->distrusted[client->distrusted_count++ % DISTRUSTED_MAX] = *target;
	http_client_forget(client, target);
	pc_log(PC_LOG_WARN, "http", PC_FIELDS({ "worker", target_text(target, name) }),
	       "it sent bytes that nobody had asked for; from now on each request to it gets a "
	       "connection of its own");
}

static void idle_enter(struct connection *connection)
{
	struct http_client *client = connection->client;

	if (client->closing || client->max_idle == 0 ||
	    is_distrusted(client, &connection->target)) {
		connection_close(connection);
		return;
	}
	if (client->idle_count >= client->max_idle)
		connection_close(http__container(client->ages.next, struct connection, age));
	connection->state = IDLE;
	connection->used = true;
	connection->in_body = false;
	http__head_buffer_reset(&connection->buffer);
	connection->idle_until_ms = uv_now(client->shared.loop) + client->idle_ms;
	http__link_prepend(bucket_of(client, &connection->target), &connection->bucket);
	http__link_append(&client->ages, &connection->age);
	client->idle_count++;
	timer_arm(client, connection->idle_until_ms);
	/* So that a connection that the server closes, or speaks on, is not used again. */
	http__stream_read(&connection->stream, true);
}

static enum http__quiet connection_quiet(const struct connection *connection)
{
	uv_os_fd_t fd;

	return uv_fileno(&connection->stream.uv.handle, &fd) ? QUIET_ENDED : http__quiet(fd);
}

/* A kept connection to the target that is fit for a request, or NULL. */
static struct connection *idle_take(struct http_client *client, const struct http_target *target)
{
	struct connection *connection;

	while ((connection = idle_find(client, target))) {
		enum http__quiet quiet = connection_quiet(connection);

		if (quiet == QUIET) {
			idle_leave(connection);
			return connection;
		}
		connection_close(connection);
		if (quiet == QUIET_SPOKE)
			distrust(client, target);
	}
	return NULL;
}

/* ---- the end of a call ---- */

/* The connection serves the call no more, and no clock runs for it. */
static void call_detach(struct http_call *call)
{
	http__link_remove(&call->timeout);
	call->over = true;
	call->client->call_count--;
	if (call->connection)
		call->connection->call = NULL;
	call->connection = NULL;
}

static void call_fail(struct http_call *call, const struct pc_error *err)
{
	struct connection *connection = call->connection;
	enum http_stage stage = call->answered	? HTTP_STAGE_RESPONSE
				: call->reached ? HTTP_STAGE_SENT
						: HTTP_STAGE_CONNECT;

	call_detach(call);
	if (connection)
		connection_close(connection);
	call->handlers.on_error(call->ctx, call, stage, err);
	pc_free(call);
}

static void call_complete(struct http_call *call, bool more)
{
	struct connection *connection = call->connection;
	bool reusable = !more && !connection->writing && !connection->broken &&
			connection->head.keep_alive;

	call_detach(call);
	if (more)
		distrust(connection->client, &connection->target);
	if (reusable)
		idle_enter(connection);
	else
		connection_close(connection);
	call->handlers.on_end(call->ctx, call);
	pc_free(call);
}

/* ---- sending ---- */

static void request_written(uv_write_t *write, int status)
{
	struct connection *connection = http__container(write, struct connection, write);

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
static bool request_send(struct connection *connection)
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
	struct connection *connection = http__container(connecting, struct connection, connecting);
	struct http_call *call = connection->call;
	struct pc_error err = PC_ERROR_INIT;
	char name[128];

	if (!call || connection->stream.closing)
		return;
	target_text(&connection->target, name);
	if (status == 0 && connection_quiet(connection) != QUIET) {
		pc_error_set(&err, PC_E_RECV_FAILED,
			     "the worker at %s spoke or hung up before it was asked", name);
		call_fail(call, &err);
		return;
	}
	if (status == 0) {
		if (!connection->target.socket[0])
			uv_tcp_nodelay(&connection->stream.uv.tcp, 1);
		if (request_send(connection))
			return;
		status = UV_EPIPE;
	}
	pc_error_sys(&err, PC_E_SEND_FAILED, -status, "cannot reach the worker at %s", name);
	call_fail(call, &err);
}

/* Begins a fresh connection for the call. Errors: OUT_OF_MEMORY, SEND_FAILED. */
static int connect_fresh(struct http_call *call, struct pc_error *err)
{
	struct http_client *client = call->client;
	struct connection *connection = pc_calloc(1, sizeof(*connection));
	struct sockaddr_in address = { .sin_family = AF_INET };
	int result = 0;
	char name[128];

	if (!connection)
		return pc_error_oom(err);
	connection->client = client;
	connection->target = call->target;
	connection->call = call;
	http__link_init(&connection->bucket);
	http__link_init(&connection->age);
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
		connection_close(connection);
		return pc_error_sys(err, PC_E_SEND_FAILED, -result, "cannot connect to %s",
				    target_text(&call->target, name));
	}
	call->connection = connection;
	return 0;
}

/* ---- stale connections ---- */

/* Whether the peer's kernel has taken nothing of the request; Unix sockets cannot tell. */
static bool nothing_taken(const struct connection *connection)
{
	uv_os_fd_t fd;
	uint64_t acked;

	return !connection->target.socket[0] &&
	       uv_fileno(&connection->stream.uv.handle, &fd) == 0 && http__tcp_acked(fd, &acked) &&
	       acked <= connection->sent_before + 1;
}

static bool may_repeat(const struct http_call *call)
{
	const struct connection *connection = call->connection;

	return !call->repeated && !call->answered && connection->used &&
	       (call->body_length == 0 || nothing_taken(connection));
}

static void call_repeat(struct http_call *call)
{
	struct connection *connection = call->connection;
	struct pc_error err = PC_ERROR_INIT;

	call->repeated = true;
	if (nothing_taken(connection))
		call->reached = false;
	connection->call = NULL;
	call->connection = NULL;
	connection_close(connection);
	if (connect_fresh(call, &err))
		call_fail(call, &err);
}

/* ---- receiving ---- */

static bool body_piece(void *ctx, const char *data, size_t length)
{
	struct connection *connection = ctx;
	struct http_call *call = connection->call;

	if (call && call->handlers.on_body)
		call->handlers.on_body(call->ctx, call, data, length);
	return connection->call != NULL;
}

/* A head lies in the buffer. 0, or the call is to fail with the error. */
static int head_complete(struct connection *connection, struct pc_error *err)
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
static int take_head(struct connection *connection, const char *data, size_t length,
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

static void receive(struct connection *connection, const char *data, size_t length)
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
		call_fail(call, &err);
}

/* The server has closed the connection, or it is broken. */
static void connection_ended(struct connection *connection, int status)
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
	target_text(&connection->target, name);
	if (status == UV_EOF)
		pc_error_set(&err, PC_E_RECV_FAILED, "the worker at %s closed the connection %s",
			     name, call->answered ? "inside its response" : "without a response");
	else
		pc_error_sys(&err, PC_E_RECV_FAILED, -status,
			     "the connection to the worker at %s broke", name);
	call_fail(call, &err);
}

static void on_read(struct http__stream *stream, ssize_t length, const char *data)
{
	struct connection *connection = http__container(stream, struct connection, stream);

	if (!connection->call) {
		/* Idle: closed by the server, or it says what nobody asked for. */
		connection_close(connection);
		if (length > 0)
			distrust(connection->client, &connection->target);
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

static void client_free(struct http_client *client)
{
	http__stream_shared_fini(&client->shared);
	pc_free(client->text.data);
	pc_free(client);
}

static void handle_closed(struct http_client *client)
{
	void (*done)(void *ctx) = client->done;
	void *done_ctx = client->done_ctx;

	if (--client->handles)
		return;
	client_free(client);
	if (done)
		done(done_ctx);
}

static void on_closed(struct http__stream *stream)
{
	struct connection *connection = http__container(stream, struct connection, stream);
	struct http_client *client = connection->client;

	http__head_buffer_fini(&connection->buffer);
	pc_free(connection);
	handle_closed(client);
}

static void timer_fired(uv_timer_t *timer)
{
	struct http_client *client = timer->data;
	uint64_t now = uv_now(client->shared.loop);

	client->timer_ms = 0;
	while (!http__link_alone(&client->timeouts)) {
		struct http_call *call = http__container(client->timeouts.next, struct http_call,
							 timeout);
		struct pc_error err = PC_ERROR_INIT;
		char name[128];

		if (call->deadline_ms > now) {
			timer_arm(client, call->deadline_ms);
			break;
		}
		pc_error_set(&err, PC_E_TIMEOUT, "the worker at %s did not answer within %llu ms",
			     target_text(&call->target, name),
			     (unsigned long long)call->timeout_ms);
		call_fail(call, &err);
	}
	while (!http__link_alone(&client->ages)) {
		struct connection *connection = http__container(client->ages.next,
								struct connection, age);

		if (connection->idle_until_ms > now) {
			timer_arm(client, connection->idle_until_ms);
			break;
		}
		connection_close(connection);
	}
}

/* ---- requests ---- */

/* What the client says itself, or what belongs to the connection it came on. */
static bool is_dropped(const struct http_call_request *request, struct http_slice name)
{
	if (http_slice_is_nocase(name, "host") || http_slice_is_nocase(name, "content-length") ||
	    http_slice_is_nocase(name, "expect"))
		return true;
	/* A field of the caller's own replaces the header that came. */
	for (const struct http_field *field = request->fields; field && field->name; field++) {
		if (http_slice_is_nocase(name, field->name))
			return true;
	}
	return http_is_hop_by_hop(request->headers, request->header_count, name);
}

static void request_write(struct http__text *text, const struct http_call_request *request)
{
	bool bodiless = strcmp(request->method, "GET") == 0 ||
			strcmp(request->method, "HEAD") == 0 ||
			strcmp(request->method, "DELETE") == 0 ||
			strcmp(request->method, "OPTIONS") == 0;

	text->length = 0;
	text->failed = false;
	http__text_puts(text, request->method);
	http__text_append(text, " ", 1);
	http__text_append(text, request->path.data, request->path.length);
	http__text_puts(text, " HTTP/1.1\r\nHost: ");
	if (request->target->socket[0]) {
		http__text_puts(text, "localhost");
	} else {
		http__text_puts(text, "127.0.0.1:");
		http__text_number(text, request->target->port);
	}
	http__text_append(text, "\r\n", 2);
	for (size_t i = 0; i < request->header_count; i++) {
		if (!is_dropped(request, request->headers[i].name))
			http__text_header(text, request->headers[i].name,
					  request->headers[i].value);
	}
	for (const struct http_field *field = request->fields; field && field->name; field++)
		http__text_header(text, http__slice(field->name), http__slice(field->value));
	if (request->body_length || !bodiless) {
		http__text_puts(text, "Content-Length: ");
		http__text_number(text, request->body_length);
		http__text_append(text, "\r\n", 2);
	}
	http__text_append(text, "\r\n", 2);
}

int http_call_start(struct http_client *client, const struct http_call_request *request,
		    const struct http_call_handlers *handlers, void *ctx,
		    struct http_call **ret_call, struct pc_error *err)
{
	struct http_call *call;
	int code;

	assert(!client->closing);
	if (!http__target_valid(request->path) || !http__target_valid(http__slice(request->method)))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the method or path cannot stand in a request line");
	if (request->body_length > INT32_MAX / 2)
		return pc_error_set(err, PC_E_PAYLOAD_TOO_LARGE,
				    "a body of %zu bytes is too large to be sent",
				    request->body_length);
	request_write(&client->text, request);
	call = client->text.failed ? NULL : pc_malloc(sizeof(*call) + client->text.length);
	if (!call)
		return pc_error_oom(err);
	*call = (struct http_call){
		.client = client,
		.handlers = *handlers,
		.ctx = ctx,
		.target = *request->target,
		.body = request->body,
		.body_length = request->body_length,
		.timeout_ms = request->timeout_ms,
		.is_head = strcmp(request->method, "HEAD") == 0,
		.text_length = client->text.length,
	};
	memcpy(call->text, client->text.data, client->text.length);
	http__link_init(&call->timeout);

	struct connection *connection = idle_take(client, request->target);

	if (connection) {
		connection->state = BUSY;
		connection->call = call;
		call->connection = connection;
		if (!request_send(connection)) {
			connection->call = NULL;
			call->connection = NULL;
			connection_close(connection);
			call->repeated = true;
		}
	}
	if (!call->connection) {
		code = connect_fresh(call, err);
		if (code) {
			pc_free(call);
			return code;
		}
	}
	client->call_count++;
	timeout_start(call);
	*ret_call = call;
	return 0;
}

void http_call_pause(struct http_call *call)
{
	call->paused = true;
	if (!call->over && call->connection->state == BUSY)
		http__stream_read(&call->connection->stream, false);
}

void http_call_resume(struct http_call *call)
{
	call->paused = false;
	if (!call->over && call->connection->state == BUSY)
		http__stream_read(&call->connection->stream, true);
}

void http_call_abort(struct http_call *call)
{
	struct connection *connection = call->connection;

	if (call->over)
		return;
	call_detach(call);
	connection_close(connection);
	pc_free(call);
}

/* ---- the client ---- */

int http_client_create(uv_loop_t *loop, size_t max_idle, uint64_t idle_ms,
		       struct http_client **ret_client, struct pc_error *err)
{
	struct http_client *client = pc_calloc(1, sizeof(*client));

	if (!client)
		return pc_error_oom(err);
	if (http__stream_shared_init(&client->shared, loop, err)) {
		pc_free(client);
		return PC_E_OUT_OF_MEMORY;
	}
	client->max_idle = max_idle;
	client->idle_ms = idle_ms;
	for (int i = 0; i < BUCKETS; i++)
		http__link_init(&client->buckets[i]);
	http__link_init(&client->ages);
	http__link_init(&client->timeouts);
	uv_timer_init(loop, &client->timer);
	client->timer.data = client;
	/* Calls keep the loop alive by their connections; idle ones may not outlive their use. */
	uv_unref((uv_handle_t *)&client->timer);
	client->handles = 1;
	*ret_client = client;
	return 0;
}

static void timer_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

void http_client_forget(struct http_client *client, const struct http_target *target)
{
	struct connection *connection;

	while ((connection = idle_find(client, target)))
		connection_close(connection);
}

void http_client_close(struct http_client *client, void (*done)(void *ctx), void *ctx)
{
	assert(client->call_count == 0);
	if (client->closing)
		return;
	client->closing = true;
	client->done = done;
	client->done_ctx = ctx;
	while (!http__link_alone(&client->ages))
		connection_close(http__container(client->ages.next, struct connection, age));
	uv_close((uv_handle_t *)&client->timer, timer_closed);
}
