/* SPDX-License-Identifier: MIT */
/*
 * response.c - what a handler answers: heads, framing of bodies, and the responses that the server
 * makes itself. It writes into the connection's stream and marks what has happened; everything that
 * follows from that is done when the connection is settled (connection.c). The server's thread.
 */
#include "http/server.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include <poolcore/clock.h>

/* An error body of ours is a few hundred bytes; messages and details are bounded in pc_error. */
#define ERROR_BODY_MAX 8192
/* libuv counts the bytes of a vector in int; nobody has that much in one piece. */
#define PIECE_MAX_BYTES ((size_t)INT32_MAX / 4)

struct status_phrase {
	int status;
	const char *phrase;
};

/* RFC 9110 15, RFC 6585, and what nginx calls 499. */
static const struct status_phrase phrases[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 499, "Client Closed Request" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
};

const char *http_status_phrase(int status)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(phrases); i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "Unknown";
}

/* ---- heads ---- */

/* What the server says itself; a handler's word on it is dropped. */
static bool is_own(struct http_slice name)
{
	static const struct http_slice own[] = {
		HTTP__SLICE("content-length"),	 HTTP__SLICE("transfer-encoding"),
		HTTP__SLICE("connection"),	 HTTP__SLICE("date"),
		HTTP__SLICE("x-correlation-id"),
	};

	return http__slice_in(name, own, PC_ARRAY_LEN(own));
}

/* RFC 9110 5.6.7, formatted once a second. */
static const char *date_now(struct http_server *server)
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	uint64_t second = uv_now(server->loop) / 1000 + 1;
	time_t now;
	struct tm tm;

	if (second == server->date_second)
		return server->date;
	server->date_second = second;
	now = (time_t)(pc_clock_wall_ms() / 1000);
	gmtime_r(&now, &tm);
	/* Not strftime, which speaks the locale's language. */
	snprintf(server->date, sizeof(server->date), "%s, %02u %s %04u %02u:%02u:%02u GMT",
		 days[tm.tm_wday % 7], (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
		 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
	return server->date;
}

/* "HTTP/1.1 200 OK" and the headers that every response has. */
static struct http__text *head_begin(struct http__connection *connection, int status)
{
	struct http_server *server = connection->server;
	struct http__text *text = &server->text;

	text->length = 0;
	text->failed = false;
	http__text_append(text, "HTTP/1.1 ", 9);
	http__text_number(text, (uint64_t)status);
	http__text_append(text, " ", 1);
	http__text_puts(text, http_status_phrase(status));
	http__text_append(text, "\r\nDate: ", 8);
	http__text_puts(text, date_now(server));
	http__text_append(text, "\r\nX-Correlation-Id: ", 20);
	http__text_puts(text, connection->exchange.correlation_id);
	http__text_append(text, "\r\n", 2);
	return text;
}

/* Decides how the body is framed and says so, ends the head. length: -1 when unknown. */
static void head_end(struct http__connection *connection, struct http__text *text, int status,
		     int64_t length)
{
	struct http_exchange *exchange = &connection->exchange;
	bool bodiless = status == 204 || status == 304;

	exchange->no_body = bodiless || http_slice_is(exchange->head.method, "HEAD");
	exchange->chunked = length < 0 && exchange->head.minor == 1;
	exchange->until_close = length < 0 && exchange->head.minor == 0 && !exchange->no_body;
	exchange->left_bytes = length;
	/* A client that was not told to go on may send its body or not: nobody can say where the
	 * next request would begin. */
	if (exchange->until_close || exchange->expects)
		connection->close_after = true;
	if (!bodiless && length >= 0) {
		http__text_append(text, "Content-Length: ", 16);
		http__text_number(text, (uint64_t)length);
		http__text_append(text, "\r\n", 2);
	} else if (!bodiless && exchange->chunked) {
		http__text_puts(text, "Transfer-Encoding: chunked\r\n");
	}
	if (connection->close_after)
		http__text_puts(text, "Connection: close\r\n");
	else if (exchange->head.minor == 0)
		http__text_puts(text, "Connection: keep-alive\r\n");
	http__text_append(text, "\r\n", 2);
}

static void fields_put(struct http__text *text, const struct http_field *fields)
{
	for (; fields && fields->name; fields++) {
		struct http_slice name = http__slice(fields->name);

		if (!is_own(name))
			http__text_header(text, name, http__slice(fields->value));
	}
}

/* Whether anything may still be written; that the response has not gone further is the caller's
 * duty. A doomed exchange is one whose on_close has not been called yet. */
static bool writable(const struct http_exchange *exchange, enum http__output expected)
{
	const struct http__connection *connection = http__connection_of(exchange);

	assert(exchange->open);
	/* Until on_close tells it, the handler cannot know; what it says meanwhile is dropped, so
	 * that the output does not go on to where the handler believes it to be. */
	if (connection->doomed || connection->finishing)
		return false;
	assert(exchange->output == expected);
	return exchange->open && exchange->output == expected;
}

static void put(struct http__connection *connection, const uv_buf_t *bufs, unsigned count)
{
	if (!http__stream_write(&connection->stream, bufs, count))
		connection->doomed = true;
	http__connection_touch(connection);
}

/* ---- whole responses ---- */

static void respond(struct http__connection *connection, struct http__text *text, int status,
		    const char *body, size_t length)
{
	struct http_exchange *exchange = &connection->exchange;

	if (length > PIECE_MAX_BYTES) {
		/* Nothing that belongs into one piece of memory; see http_respond_start. */
		http__connection_doom(connection);
		return;
	}
	/* The rest of a long body is not waited for; say so while there is a head to say it in. */
	if (connection->input == INPUT_BODY && exchange->head.has_length &&
	    exchange->head.content_length - exchange->received_bytes > HTTP__DROP_MAX_BYTES)
		connection->close_after = true;
	head_end(connection, text, status, (int64_t)length);
	exchange->output = OUTPUT_ENDED;
	if (text->failed) {
		http__connection_doom(connection);
		return;
	}

	uv_buf_t bufs[2] = { uv_buf_init(text->data, (unsigned)text->length),
			     uv_buf_init((char *)(uintptr_t)body, (unsigned)length) };

	put(connection, bufs, exchange->no_body || length == 0 ? 1 : 2);
}

void http_respond(struct http_exchange *exchange, int status, const struct http_field *fields,
		  const char *body, size_t length)
{
	struct http__connection *connection = http__connection_of(exchange);
	struct http__text *text;

	if (!writable(exchange, OUTPUT_NONE))
		return;
	text = head_begin(connection, status);
	fields_put(text, fields);
	respond(connection, text, status, body, length);
}

void http__response_refuse(struct http__connection *connection, int status,
			   const struct pc_error *err)
{
	static const struct http_field fields[] = { { "Content-Type", "application/json" },
						    { NULL, NULL } };
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;
	char body[ERROR_BODY_MAX] = "";
	struct http__text *text;

	if (!exchange->correlation_id[0]) {
		/* The head was not understood; what it left behind is of no use. */
		memset(exchange, 0, sizeof(*exchange));
		exchange->head.minor = 1;
		http__server_random_id(server, exchange->correlation_id);
	}
	if (server->handlers.error_body)
		server->handlers.error_body(server->ctx, err, exchange->correlation_id, body,
					    sizeof(body));
	connection->close_after = true;
	text = head_begin(connection, status);
	if (body[0])
		fields_put(text, fields);
	respond(connection, text, status, body, strnlen(body, sizeof(body)));
}

void http__response_continue(struct http__connection *connection)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)line, sizeof(line) - 1);

	put(connection, &buf, 1);
}

/* ---- responses in pieces ---- */

static void respond_start(struct http__connection *connection, struct http__text *text, int status,
			  int64_t content_length)
{
	struct http_exchange *exchange = &connection->exchange;

	head_end(connection, text, status, content_length);
	exchange->output = OUTPUT_STARTED;
	if (text->failed) {
		http__connection_doom(connection);
		return;
	}

	uv_buf_t buf = uv_buf_init(text->data, (unsigned)text->length);

	put(connection, &buf, 1);
}

void http_respond_start(struct http_exchange *exchange, int status, const struct http_field *fields,
			int64_t content_length)
{
	struct http__connection *connection = http__connection_of(exchange);
	struct http__text *text;

	if (!writable(exchange, OUTPUT_NONE))
		return;
	text = head_begin(connection, status);
	fields_put(text, fields);
	respond_start(connection, text, status, content_length);
}

void http_respond_start_from(struct http_exchange *exchange, int status,
			     const struct http_header *headers, size_t count,
			     int64_t content_length)
{
	struct http__connection *connection = http__connection_of(exchange);
	struct http__text *text;

	if (!writable(exchange, OUTPUT_NONE))
		return;
	text = head_begin(connection, status);
	for (size_t i = 0; i < count; i++) {
		if (!is_own(headers[i].name) &&
		    !http_is_hop_by_hop(headers, count, headers[i].name))
			http__text_header(text, headers[i].name, headers[i].value);
	}
	respond_start(connection, text, status, content_length);
}

static void put_chunk(struct http__connection *connection, const char *data, size_t length)
{
	char size[20];
	int digits = snprintf(size, sizeof(size), "%zx\r\n", length);
	uv_buf_t bufs[3] = { uv_buf_init(size, (unsigned)digits),
			     uv_buf_init((char *)(uintptr_t)data, (unsigned)length),
			     uv_buf_init((char *)(uintptr_t) "\r\n", 2) };

	put(connection, bufs, 3);
}

static bool write_long(struct http_exchange *exchange, const char *data, size_t length)
{
	bool more = true;

	while (length) {
		size_t piece = length < PIECE_MAX_BYTES ? length : PIECE_MAX_BYTES;

		more = http_write(exchange, data, piece);
		data += piece;
		length -= piece;
	}
	return more;
}

bool http_write(struct http_exchange *exchange, const char *data, size_t length)
{
	struct http__connection *connection = http__connection_of(exchange);
	struct http__stream *stream = &connection->stream;
	size_t high_water = connection->server->limits.high_water_bytes;

	if (!writable(exchange, OUTPUT_STARTED))
		return false;
	if (length == 0 || exchange->no_body)
		return true;
	if (length > PIECE_MAX_BYTES)
		return write_long(exchange, data, length);
	if (exchange->left_bytes >= 0) {
		assert((uint64_t)exchange->left_bytes >= length);
		exchange->left_bytes -= (int64_t)length;
	}
	if (exchange->chunked) {
		put_chunk(connection, data, length);
	} else {
		uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)length);

		put(connection, &buf, 1);
	}
	if (http__stream_pending(stream) <= high_water)
		return true;
	if (!http__stream_flush(stream))
		http__connection_doom(connection);
	exchange->wants_drain = http__stream_pending(stream) > high_water;
	return !exchange->wants_drain && !connection->doomed;
}

void http_respond_end(struct http_exchange *exchange)
{
	struct http__connection *connection = http__connection_of(exchange);

	if (!writable(exchange, OUTPUT_STARTED))
		return;
	assert(exchange->no_body || exchange->left_bytes <= 0);
	exchange->output = OUTPUT_ENDED;
	if (exchange->chunked && !exchange->no_body) {
		uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "0\r\n\r\n", 5);

		put(connection, &buf, 1);
	}
	http__connection_touch(connection);
}

void http_abort(struct http_exchange *exchange)
{
	struct http__connection *connection = http__connection_of(exchange);

	assert(exchange->open);
	/* Where the end of the connection would end the body, only a reset tells the difference. */
	connection->reset = exchange->until_close && exchange->output == OUTPUT_STARTED;
	http__connection_doom(connection);
}
