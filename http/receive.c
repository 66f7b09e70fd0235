/* SPDX-License-Identifier: MIT */
/*
 * receive.c - takes a request off a connection's input: its head, then its body, each piece by
 * piece as it comes, and tells the handlers. What does not fit HTTP or the limits is refused. When
 * a request begins and when the next one has its turn is connection.c's business, what a head may
 * look like is head.c's. One loop's thread.
 */
#include "http/server.h"

/* ---- heads ---- */

static void exchange_init(struct http__connection *connection, const struct http__head *head)
{
	struct http_exchange *exchange = &connection->exchange;
	struct http_slice id;

	memset(exchange, 0, sizeof(*exchange));
	exchange->head = *head;
	exchange->headers = connection->head.headers;
	if (http_header_get(exchange, "x-correlation-id", &id) && http__correlation_id_valid(id))
		memcpy(exchange->correlation_id, id.data, id.length);
	else
		http__server_random_id(connection->server, exchange->correlation_id);
}

static bool body_piece(void *ctx, const char *data, size_t length);

/* The request is read whole. */
static void request_complete(struct http__connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;

	connection->input = INPUT_COMPLETE;
	if (!exchange->open || http__connection_over(connection) ||
	    exchange->output == OUTPUT_ENDED)
		return;
	connection->busy++;
	server->handlers.on_end(server->ctx, exchange);
	connection->busy--;
}

/* A complete head lies in the buffer; `more` tells whether bytes follow it already. */
static void head_complete(struct http__connection *connection, bool more)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;
	struct pc_error err;
	struct http__head_buffer *buffer = &connection->head;
	struct http__head head;
	int code;

	pc_error_clear(&err);
	code = http__request_head_read(buffer->text, buffer->length, server->headers, &head, &err);
	if (!code && !http__head_buffer_keep(buffer, server->headers, &head))
		code = pc_error_oom(&err);
	if (code) {
		http__connection_refuse_head(connection, pc_error_http_status(code), &err);
		return;
	}
	exchange_init(connection, &head);
	code = http__decoder_start_request(&connection->decoder, &head, buffer->text,
					   buffer->length, body_piece, connection, &err);
	if (!code && head.content_length > server->limits.max_body_bytes) {
		code = pc_error_set(&err, PC_E_PAYLOAD_TOO_LARGE,
				    "the body has %llu bytes, the limit is %llu",
				    (unsigned long long)head.content_length,
				    (unsigned long long)server->limits.max_body_bytes);
		pc_error_detail(&err, "limit_bytes", "%llu",
				(unsigned long long)server->limits.max_body_bytes);
	}
	if (code) {
		http__connection_refuse(connection, pc_error_http_status(code), &err);
		return;
	}

	connection->input = INPUT_BODY;
	connection->close_after |= !head.keep_alive || server->draining;
	exchange->expects = head.expect_continue && head.minor == 1 && !more &&
			    !connection->decoder.complete;
	exchange->open = true;
	connection->progressed = true;
	connection->busy++;
	server->handlers.on_head(server->ctx, exchange);
	connection->busy--;
	if (connection->doomed)
		return;
	if (exchange->expects && exchange->output == OUTPUT_NONE) {
		exchange->expects = false;
		http__response_continue(connection);
	}
	if (connection->decoder.complete)
		request_complete(connection);
}

size_t http__receive_head(struct http__connection *connection, const char *data, size_t length)
{
	size_t limit = connection->server->limits.max_head_bytes;
	struct pc_error err;
	size_t used = length;

	pc_error_clear(&err);
	if (connection->head.length == 0) {
		/* RFC 9112 2.2: an empty line in front of a request is to be ignored. */
		if (connection->blank_bytes < 2 && data[0] == "\r\n"[connection->blank_bytes]) {
			connection->blank_bytes++;
			return 1;
		}
		/* Not worth waiting for a line end: TLS, half an empty line, or noise. */
		if (connection->blank_bytes == 1 || data[0] <= ' ' || data[0] >= 0x7f) {
			pc_error_set(&err, PC_E_INVALID_REQUEST, "the request is not HTTP/1.1");
			http__connection_refuse_head(connection, 400, &err);
			return length;
		}
	}
	switch (http__head_buffer_take(&connection->head, data, length, limit, &used)) {
	case HEAD_MORE:
		break;
	case HEAD_WHOLE:
		head_complete(connection, length > used);
		break;
	case HEAD_BARE_LF:
		pc_error_set(&err, PC_E_INVALID_REQUEST,
			     "a line of the head ends in LF without CR");
		http__connection_refuse_head(connection, 400, &err);
		break;
	case HEAD_TOO_LONG:
		pc_error_set(&err, PC_E_HEADERS_TOO_LARGE,
			     "the request's head is longer than %zu bytes", limit);
		http__connection_refuse_head(connection, 431, &err);
		break;
	case HEAD_NO_MEMORY:
		connection->doomed = true;
		break;
	}
	return used;
}

/* ---- bodies ---- */

static bool body_piece(void *ctx, const char *data, size_t length)
{
	struct http__connection *connection = ctx;
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;

	exchange->received_bytes += length;
	if (exchange->received_bytes > server->limits.max_body_bytes) {
		connection->too_large = true;
		return false;
	}
	if (!exchange->open || exchange->output == OUTPUT_ENDED) {
		exchange->dropped_bytes += length;
	} else if (server->handlers.on_body) {
		connection->busy++;
		server->handlers.on_body(server->ctx, exchange, data, length);
		connection->busy--;
	}
	return !connection->doomed;
}

size_t http__receive_body(struct http__connection *connection, const char *data, size_t length)
{
	struct pc_error err;
	size_t used;
	int code;

	pc_error_clear(&err);
	connection->progressed = true;
	connection->exchange.expects = false;
	connection->too_large = false;
	code = http__decoder_feed(&connection->decoder, data, length, &used, &err);
	if (connection->doomed)
		return length;
	if (connection->too_large) {
		pc_error_set(&err, PC_E_PAYLOAD_TOO_LARGE, "the body is longer than %llu bytes",
			     (unsigned long long)connection->server->limits.max_body_bytes);
		pc_error_detail(&err, "limit_bytes", "%llu",
				(unsigned long long)connection->server->limits.max_body_bytes);
		code = err.code;
	}
	if (code) {
		http__connection_refuse(connection, pc_error_http_status(code), &err);
		return length;
	}
	if (connection->decoder.complete)
		request_complete(connection);
	return used;
}
