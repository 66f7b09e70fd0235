/* SPDX-License-Identifier: MIT */
/*
 * connection.c - one connection of a server: it takes turns with pipelined requests, settles, and
 * ends. How a request is read is receive.c's business, what a response looks like is response.c's.
 * One loop's thread.
 *
 *                     head read                   body read
 *      INPUT_HEAD ───────────────► INPUT_BODY ───────────────► INPUT_COMPLETE
 *          ▲                            │                           │
 *          │        next turn: response ended and request read      │
 *          └────────────────────────────────────────────────────────┤
 *                                       │ refused, or too much      │ no keep-alive
 *                                       ▼ body left unread          ▼
 *                                  INPUT_DISCARD ◄───────────────────
 *
 * The settling note. Handlers respond, abort and close the server whenever they like, also from
 * inside a handler, also from another connection's event. So these functions only change the state
 * and call http__connection_touch. Whoever is on the stack for this connection (`busy`) settles it
 * at its end; when nobody is, it is put on the server's list, which is settled when all events of
 * this turn of the loop are handled (uv_check; uv_idle keeps the loop from sleeping before that).
 * Settling is the only place where handlers' on_close is called, where output is flushed, reading
 * is switched on and off, clocks are started and the connection is closed. It is also why a
 * response that is written in pieces within one turn leaves in one system call.
 *
 * Invariants:
 *   C1  exchange.open from before on_head until on_close is called, which happens exactly once.
 *   C2  no handler but on_close is called once `doomed` or `finishing` is set.
 *   C3  bytes of a later request are held, never parsed, while an exchange is open.
 *   C4  memory is bounded: the head by its limit, held bytes by HELD_MAX_BYTES and a read, output
 * by the high water and what a handler writes beyond it.
 *
 * A client that closes its sending side is taken to be gone, as nginx takes it: it cannot be told
 * from one that left, and one that left must not keep a model busy. Whatever is answered in full
 * by then is still sent.
 */
#include "http/server.h"

#include <unistd.h>

/* Bytes of later requests that are read while one is being answered; then reading stops, and with
 * it the notice of a client that leaves. A guess; change freely. */
#define HELD_MAX_BYTES 65536
/* How much is read and dropped so that a client gets to read why it was refused. A guess. */
#define LINGER_MAX_BYTES (64 << 20)

static void on_read(struct http__stream *stream, ssize_t length, const char *data);
static void on_written(struct http__stream *stream);
static void on_closed(struct http__stream *stream);

static const struct http__stream_ops stream_ops = { on_read, on_written, on_closed };

bool http__connection_over(const struct http__connection *connection)
{
	return connection->doomed || connection->finishing || connection->stream.closing;
}

void http__connection_touch(struct http__connection *connection)
{
	struct http_server *server = connection->server;

	if (connection->busy || connection->stream.closing ||
	    !http__link_alone(&connection->unsettled))
		return;
	http__link_append(&server->unsettled, &connection->unsettled);
	http__server_wake(server);
}

void http__connection_doom(struct http__connection *connection)
{
	connection->doomed = true;
	http__connection_touch(connection);
}

void http__connection_drain(struct http__connection *connection)
{
	connection->close_after = true;
	http__connection_touch(connection);
}

/* ---- the end of an exchange and of a connection ---- */

static void exchange_close(struct http__connection *connection, bool complete)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;

	if (!exchange->open)
		return;
	exchange->open = false;
	connection->busy++;
	server->handlers.on_close(server->ctx, exchange, complete);
	connection->busy--;
}

/* Nothing more will be answered: what is written is sent, then the connection closes. */
static void finish(struct http__connection *connection)
{
	connection->unread = connection->input != INPUT_COMPLETE || connection->held_length > 0 ||
			     !connection->stream.reading;
	connection->finishing = true;
	connection->input = INPUT_DISCARD;
	connection->held_length = 0;
}

void http__connection_refuse(struct http__connection *connection, int status,
			     const struct pc_error *err)
{
	enum http__output output = connection->exchange.output;

	exchange_close(connection, output == OUTPUT_ENDED);
	if (output == OUTPUT_STARTED)
		connection->doomed = true;
	if (connection->doomed)
		return;
	/* Where the response has ended, only the rest of the body was being dropped. */
	if (output == OUTPUT_NONE)
		http__response_refuse(connection, status, err);
	finish(connection);
}

void http__connection_refuse_head(struct http__connection *connection, int status,
				  const struct pc_error *err)
{
	connection->exchange.correlation_id[0] = '\0';
	http__connection_refuse(connection, status, err);
}

/* ---- turns ---- */

/* Whether what remains of a body whose response has ended is not worth reading. */
static bool too_much_left(const struct http__connection *connection)
{
	const struct http_exchange *exchange = &connection->exchange;
	uint64_t left = 0;

	if (exchange->head.has_length)
		left = exchange->head.content_length - exchange->received_bytes;
	return connection->close_after || exchange->expects || left > HTTP__DROP_MAX_BYTES ||
	       exchange->dropped_bytes > HTTP__DROP_MAX_BYTES;
}

/*
 * Ends the exchange once its response has ended, and begins the next turn once its request is read
 * as well.
 */
static void advance(struct http__connection *connection)
{
	struct http_exchange *exchange = &connection->exchange;

	if (http__connection_over(connection) || connection->input == INPUT_HEAD)
		return;
	if (exchange->output != OUTPUT_ENDED)
		return;
	exchange_close(connection, true);
	if (http__connection_over(connection))
		return;
	if (connection->input == INPUT_BODY) {
		if (too_much_left(connection))
			finish(connection);
		return;
	}
	if (connection->close_after) {
		finish(connection);
		return;
	}
	/* A client that asks faster than it reads waits. */
	if (http__stream_pending(&connection->stream) > connection->server->limits.high_water_bytes)
		return;
	exchange->output = OUTPUT_NONE;
	connection->input = INPUT_HEAD;
	connection->progressed = true;
	connection->blank_bytes = 0;
	http__head_buffer_reset(&connection->head);
}

static void hold(struct http__connection *connection, const char *data, size_t length)
{
	size_t need = connection->held_length + length;

	if (need > connection->held_capacity) {
		char *held = pc_realloc(connection->held, need);

		if (!held) {
			connection->doomed = true;
			return;
		}
		connection->held = held;
		connection->held_capacity = need;
	}
	memcpy(connection->held + connection->held_length, data, length);
	connection->held_length = need;
}

static void discard(struct http__connection *connection, size_t length)
{
	connection->discarded_bytes += length;
	if (connection->discarded_bytes > LINGER_MAX_BYTES)
		connection->doomed = true;
}

static void consume(struct http__connection *connection, const char *data, size_t length)
{
	size_t used;

	for (;;) {
		advance(connection);
		if (length == 0 || connection->doomed)
			return;
		switch (connection->input) {
		case INPUT_HEAD:
			used = http__receive_head(connection, data, length);
			break;
		case INPUT_BODY:
			used = http__receive_body(connection, data, length);
			break;
		case INPUT_COMPLETE:
			hold(connection, data, length);
			return;
		case INPUT_DISCARD:
		default:
			discard(connection, length);
			return;
		}
		data += used;
		length -= used;
	}
}

/* Goes on with the bytes that had to wait for their turn. */
static void consume_held(struct http__connection *connection)
{
	while (connection->held_length && connection->input == INPUT_HEAD &&
	       !http__connection_over(connection)) {
		size_t length = connection->held_length;
		char *held = pc_steal(&connection->held);

		connection->held_length = connection->held_capacity = 0;
		consume(connection, held, length);
		pc_free(held);
	}
}

/* ---- settling ---- */

static void update_reading(struct http__connection *connection)
{
	size_t high_water = connection->server->limits.high_water_bytes;
	bool enabled = true;

	if (connection->input == INPUT_BODY)
		enabled = http__stream_pending(&connection->stream) <= high_water;
	else if (connection->input == INPUT_COMPLETE)
		enabled = connection->held_length < HELD_MAX_BYTES;
	http__stream_read(&connection->stream, enabled);
}

static void update_deadline(struct http__connection *connection)
{
	bool progressed = connection->progressed;

	connection->progressed = false;
	if (connection->lingering)
		http__server_deadline(connection, DEADLINE_LINGER, false);
	else if (http__stream_pending(&connection->stream))
		http__server_deadline(connection, DEADLINE_SEND, false);
	else if (connection->input == INPUT_BODY)
		http__server_deadline(connection, DEADLINE_RECEIVE, progressed);
	else if (connection->input == INPUT_HEAD && connection->head.length)
		/* Not anew: a head that trickles in byte by byte makes no progress. */
		http__server_deadline(connection, DEADLINE_RECEIVE, progressed);
	else if (connection->input == INPUT_HEAD)
		http__server_deadline(connection, DEADLINE_IDLE, progressed);
	else
		http__server_deadline(connection, DEADLINE_NONE, false);
}

static void close_now(struct http__connection *connection)
{
	http__server_deadline(connection, DEADLINE_NONE, false);
	http__link_remove(&connection->unsettled);
	http__stream_close(&connection->stream, connection->reset);
}

/* After http_write said stop: tells the handler to go on when enough has been read. */
static void maybe_drained(struct http__connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;

	if (!exchange->wants_drain || !exchange->open || exchange->output != OUTPUT_STARTED ||
	    http__connection_over(connection))
		return;
	if (http__stream_pending(&connection->stream) > server->limits.high_water_bytes / 2)
		return;
	exchange->wants_drain = false;
	if (!server->handlers.on_drained)
		return;
	connection->busy++;
	server->handlers.on_drained(server->ctx, exchange);
	connection->busy--;
}

/* All is answered: closes once it is sent, at once or when the client has had time to read it. */
static void maybe_end(struct http__connection *connection)
{
	struct http__stream *stream = &connection->stream;

	if (connection->doomed || http__stream_pending(stream))
		return;
	if (connection->finishing && connection->unread && !connection->lingering) {
		/* Closing with unread bytes would reset the connection, and with it what the
		 * client has not read yet (RFC 9112 9.6). */
		connection->lingering = true;
		http__stream_shutdown(stream);
	} else if (connection->finishing && !connection->unread) {
		connection->doomed = true;
	} else if (connection->close_after && connection->input == INPUT_HEAD &&
		   connection->head.length == 0) {
		connection->doomed = true;
	}
}

void http__connection_settle(struct http__connection *connection)
{
	struct http__stream *stream = &connection->stream;

	if (connection->busy || stream->closing)
		return;
	connection->busy++;
	advance(connection);
	consume_held(connection);
	if (!http__stream_flush(stream))
		connection->doomed = true;
	maybe_drained(connection);
	if (!http__stream_flush(stream))
		connection->doomed = true;
	maybe_end(connection);
	if (connection->doomed)
		exchange_close(connection, false);
	connection->busy--;
	if (connection->doomed) {
		close_now(connection);
		return;
	}
	/* on_drained may have ended the response. */
	if (connection->exchange.open && connection->exchange.output == OUTPUT_ENDED)
		http__connection_touch(connection);
	update_reading(connection);
	update_deadline(connection);
}

void http__connection_deadline_passed(struct http__connection *connection)
{
	enum http__input input = connection->input;
	size_t pending = http__stream_pending(&connection->stream);
	struct pc_error err = PC_ERROR_INIT;

	if (pending && http__stream_sent(&connection->stream) > connection->deadline_sent) {
		/* The client is slow but reads. */
		http__server_deadline(connection, DEADLINE_SEND, true);
		return;
	}
	connection->busy++;
	if (pending || connection->finishing ||
	    (input == INPUT_HEAD && connection->head.length == 0)) {
		connection->doomed = true;
	} else {
		pc_error_set(&err, PC_E_TIMEOUT, "the request's %s did not come within %llu ms",
			     input == INPUT_HEAD ? "head" : "body",
			     (unsigned long long)connection->server->limits.receive_timeout_ms);
		if (input == INPUT_HEAD)
			http__connection_refuse_head(connection, 408, &err);
		else
			http__connection_refuse(connection, 408, &err);
	}
	connection->busy--;
	http__connection_settle(connection);
}

/* ---- events of the stream ---- */

/* Its end of the stream has come, see the top; or the connection is broken. */
static void client_left(struct http__connection *connection, bool orderly)
{
	advance(connection);
	if (!orderly || connection->exchange.open ||
	    http__stream_pending(&connection->stream) == 0) {
		connection->doomed = true;
		return;
	}
	if (!connection->finishing)
		finish(connection);
	connection->unread = false;
}

static void on_read(struct http__stream *stream, ssize_t length, const char *data)
{
	struct http__connection *connection = http__container(stream, struct http__connection,
							      stream);

	connection->busy++;
	if (length > 0)
		consume(connection, data, (size_t)length);
	else
		client_left(connection, length == UV_EOF);
	connection->busy--;
	http__connection_settle(connection);
}

static void on_written(struct http__stream *stream)
{
	struct http__connection *connection = http__container(stream, struct http__connection,
							      stream);

	if (stream->failed)
		connection->doomed = true;
	http__connection_settle(connection);
}

static void on_closed(struct http__stream *stream)
{
	struct http__connection *connection = http__container(stream, struct http__connection,
							      stream);

	pc_free(connection->held);
	connection->held = NULL;
	http__head_buffer_reset(&connection->head);
	http__server_connection_closed(connection);
}

/* ---- birth ---- */

void http__connection_free(struct http__connection *connection)
{
	http__head_buffer_fini(&connection->head);
	pc_free(connection);
}

void http__connection_open(struct http_server *server, int fd, bool is_unix,
			   const struct sockaddr_storage *peer)
{
	struct http__connection *connection;
	struct http__head_buffer head = { .text = NULL };

	if (!http__link_alone(&server->spare)) {
		connection = http__container(server->spare.next, struct http__connection, all);
		http__link_remove(&connection->all);
		server->spare_count--;
		head = connection->head;
	} else {
		connection = pc_malloc(sizeof(*connection));
		if (!connection) {
			close(fd);
			return;
		}
	}
	memset(connection, 0, sizeof(*connection));
	connection->server = server;
	connection->head = head;
	connection->is_unix = is_unix;
	connection->peer = *peer;
	http__link_init(&connection->unsettled);
	http__link_init(&connection->deadline);
	http__link_init(&connection->all);
	http__link_append(&server->connections, &connection->all);
	server->connection_count++;
	http__stream_init(&connection->stream, &server->shared, &stream_ops, is_unix);
	if (http__stream_open(&connection->stream, fd) < 0) {
		close(fd);
		close_now(connection);
		return;
	}
	http__connection_settle(connection);
}
