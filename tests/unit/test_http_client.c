/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of the client in http/ against a server that is nothing but a socket: the test reads
 * exact requests and sends exact responses, good and bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/http.h"

#include "http_peer.h"
#include "tests/unit/fail_alloc.h"

static struct http_client *client;
static struct http_target target;
static int listen_fd;
static bool client_closed;

/* What came of a call. */
struct outcome {
	struct http_call *call;
	int status;
	char body[64 << 10];
	size_t length;
	unsigned pieces;
	char header[128]; /* the value of X-Test */
	bool ended;
	bool failed;
	enum http_stage stage;
	struct pc_error err;
	enum { DO_NOTHING, ABORT_IN_HEAD, ABORT_IN_BODY, PAUSE_IN_BODY, START_IN_END } act;
};

static struct outcome outcome;

static void start_call(const char *method, const char *path, const char *body, uint64_t timeout_ms);

static void on_head(void *ctx, struct http_call *call, int status,
		    const struct http_header *headers, size_t count)
{
	struct outcome *o = ctx;

	assert_int_equal(o->status, 0);
	o->status = status;
	for (size_t i = 0; i < count; i++) {
		if (http_slice_is_nocase(headers[i].name, "x-test"))
			snprintf(o->header, sizeof(o->header), "%.*s", (int)headers[i].value.length,
				 headers[i].value.data);
	}
	if (o->act == ABORT_IN_HEAD)
		http_call_abort(call);
}

static void on_body(void *ctx, struct http_call *call, const char *data, size_t length)
{
	struct outcome *o = ctx;

	assert_true(o->length + length < sizeof(o->body));
	memcpy(o->body + o->length, data, length);
	o->length += length;
	o->body[o->length] = '\0';
	o->pieces++;
	if (o->act == ABORT_IN_BODY)
		http_call_abort(call);
	else if (o->act == PAUSE_IN_BODY)
		http_call_pause(call);
}

static void on_end(void *ctx, struct http_call *call)
{
	struct outcome *o = ctx;

	assert_false(o->ended || o->failed);
	/* Too late to do anything, and so it does nothing. */
	http_call_abort(call);
	http_call_pause(call);
	http_call_resume(call);
	o->ended = true;
	if (o->act == START_IN_END)
		start_call("GET", "/again", NULL, 0);
}

static void on_error(void *ctx, struct http_call *call, enum http_stage stage,
		     const struct pc_error *err)
{
	struct outcome *o = ctx;

	(void)call;
	assert_false(o->ended || o->failed);
	o->failed = true;
	o->stage = stage;
	o->err = *err;
}

static const struct http_call_handlers handlers = { on_head, on_body, on_end, on_error };

static void start_call(const char *method, const char *path, const char *body, uint64_t timeout_ms)
{
	struct http_call_request request = {
		.target = &target,
		.method = method,
		.path = { path, strlen(path) },
		.body = body,
		.body_length = body ? strlen(body) : 0,
		.timeout_ms = timeout_ms,
	};
	struct pc_error err = PC_ERROR_INIT;

	memset(&outcome, 0, sizeof(outcome));
	if (http_call_start(client, &request, &handlers, &outcome, &outcome.call, &err))
		fail_msg("%s", err.message);
}

/* ---- the stage ---- */

static void closed_client(void *ctx)
{
	(void)ctx;
	client_closed = true;
}

static void start_limited(size_t max_idle, uint64_t idle_ms)
{
	struct pc_error err = PC_ERROR_INIT;
	char address[128];

	memset(&target, 0, sizeof(target));
	client_closed = false;
	uv_loop_init(&loop);
	assert_int_equal(http_client_create(&loop, max_idle, idle_ms, &client, &err), 0);
	assert_int_equal(http_listen_open("127.0.0.1:0", &listen_fd, address, &err), 0);
	target.port = (uint16_t)atoi(strchr(address, ':') + 1);
}

static void start(void)
{
	start_limited(8, 60000);
}

static void stop(void)
{
	http_client_close(client, closed_client, NULL);
	close(listen_fd);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(client_closed);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static struct peer *accept_peer(void)
{
	int fd;

	while ((fd = accept(listen_fd, NULL, NULL)) < 0) {
		assert_int_equal(errno, EAGAIN);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	return peer_adopt(fd);
}

/* Whether the client has opened a further connection. */
static bool another_came(void)
{
	int fd;

	turns(5);
	fd = accept(listen_fd, NULL, NULL);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Waits for a request that ends in `last`, and forgets it. */
static void expect_request(struct peer *peer, const char *last)
{
	UNTIL(strstr(peer->in, last));
	peer_forget(peer);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static bool over(void)
{
	return outcome.ended || outcome.failed;
}

/* One call on a connection of its own that is answered with `response`,
 * and then closed if asked. */
static void try(const char *method, const char *response, bool close_after)
{
	struct peer *peer;

	start_call(method, "/", NULL, 0);
	peer = accept_peer();
	expect_request(peer, "\r\n\r\n");
	peer_send(peer, response);
	if (close_after)
		peer_close(peer);
	UNTIL(over());
	if (!close_after)
		peer_close(peer);
	turns(3);
}

/* ---- tests ---- */

static void exact_request(void **state)
{
#define HEADER(name, value) \
	{ \
		{ name, sizeof(name) - 1 }, \
		{ \
			value, sizeof(value) - 1 \
		} \
	}
	static const struct http_header headers[] = {
		HEADER("Accept", "*/*"),	  HEADER("host", "evil"),
		HEADER("Connection", "X-Hop"),	  HEADER("x-hop", "1"),
		HEADER("Content-Length", "99"),	  HEADER("Expect", "100-continue"),
		HEADER("Transfer-Encoding", "x"), HEADER("X-Both", "theirs"),
		HEADER("TE", "trailers"),	  HEADER("Authorization", "secret"),
	};
	static const struct http_field fields[] = { { "X-Both", "ours" },
						    { "X-Split", "a\r\nb" },
						    { NULL, NULL } };
	struct http_call_request request = {
		.target = &target,
		.method = "POST",
		.path = { "/v1/x?y", 7 },
		.headers = headers,
		.header_count = PC_ARRAY_LEN(headers),
		.fields = fields,
		.body = "hello",
		.body_length = 5,
	};
	char expected[512];
	struct pc_error err = PC_ERROR_INIT;
	struct peer *peer;

	(void)state;
	start();
	memset(&outcome, 0, sizeof(outcome));
	assert_int_equal(
		http_call_start(client, &request, &handlers, &outcome, &outcome.call, &err), 0);
	peer = accept_peer();
	UNTIL(strstr(peer->in, "hello"));
	snprintf(expected, sizeof(expected),
		 "POST /v1/x?y HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: */*\r\n"
		 "Authorization: secret\r\nX-Both: ours\r\nX-Split: a  b\r\n"
		 "Content-Length: 5\r\n\r\nhello",
		 target.port);
	assert_string_equal(peer->in, expected);
	peer_send(peer, "HTTP/1.1 201 Created\r\nX-Test: yes\r\nContent-Length: 2\r\n\r\nok");
	UNTIL(over());
	assert_true(outcome.ended);
	assert_int_equal(outcome.status, 201);
	assert_string_equal(outcome.body, "ok");
	assert_string_equal(outcome.header, "yes");
	peer_close(peer);
	/* What cannot stand in a request line. */
	request.path = (struct http_slice){ "/a b", 4 };
	assert_int_equal(http_call_start(client, &request, &handlers, NULL, NULL, &err),
			 PC_E_INVALID_ARGUMENT);
	request.path = (struct http_slice){ "/\r\nX: y", 7 };
	assert_int_equal(http_call_start(client, &request, &handlers, NULL, NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	stop();
}

static void responses(void **state)
{
	static const struct {
		const char *method;
		const char *text;
		bool close;
		int status;
		const char *body; /* NULL: fails */
	} rows[] = {
		{ "GET", OK, false, 200, "ok" },
		{ "GET", OK, true, 200, "ok" },
		{ "GET",
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		  false, 200, "ok" },
		{ "GET", "HTTP/1.1 200 OK\r\n\r\nuntil close", true, 200, "until close" },
		{ "GET", "HTTP/1.0 200 OK\r\n\r\n", true, 200, "" },
		{ "GET", "HTTP/1.1 204 No Content\r\n\r\n", false, 204, "" },
		{ "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, 304, "" },
		{ "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 200, "" },
		{ "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200, "" },
		{ "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" OK,
		  false, 200, "ok" },
		{ "GET", "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		  false, 0, NULL },
		{ "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", true, 200, NULL },
		{ "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true,
		  200, NULL },
		{ "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", false, 200,
		  NULL },
		{ "GET", "HTTP/1.1 200 OK\r\nContent-Le", true, 0, NULL },
		{ "GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", false, 0, NULL },
		{ "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", false,
		  0, NULL },
		{ "GET", "SSH-2.0-OpenSSH\r\n\r\n", false, 0, NULL },
	};

	(void)state;
	start();
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		try(rows[i].method, rows[i].text, rows[i].close);
		if (outcome.ended != (rows[i].body != NULL))
			fail_msg("row %zu: %s", i, outcome.err.message);
		assert_int_equal(outcome.status, rows[i].status);
		if (rows[i].body) {
			assert_string_equal(outcome.body, rows[i].body);
		} else {
			assert_int_equal(outcome.stage, HTTP_STAGE_RESPONSE);
			assert_int_equal(outcome.err.code, PC_E_RECV_FAILED);
		}
	}
	stop();
}

/* Every cut of a response says the same. */
static void every_split(void **state)
{
	static const char text[] = "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nX-Test: t\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
	struct peer *peer = NULL;

	(void)state;
	start();
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		start_call("GET", "/", NULL, 0);
		if (!peer)
			peer = accept_peer();
		expect_request(peer, "\r\n\r\n");
		peer_send_bytes(peer, text, cut);
		turns(3);
		peer_send_bytes(peer, text + cut, sizeof(text) - 1 - cut);
		UNTIL(over());
		assert_true(outcome.ended);
		assert_string_equal(outcome.body, "ok");
		assert_string_equal(outcome.header, "t");
	}
	assert_false(another_came());
	peer_close(peer);
	stop();
}

static void keep_alive(void **state)
{
	static const char *const parting[] = {
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		OK "junk",
	};
	struct peer *peer;

	(void)state;
	start();
	start_call("GET", "/", NULL, 0);
	peer = accept_peer();
	for (int i = 0; i < 3; i++) {
		expect_request(peer, "\r\n\r\n");
		outcome.act = i == 0 ? START_IN_END : DO_NOTHING;
		peer_send(peer, OK);
		/* The second is started from inside the end of the first. */
		if (i == 0)
			UNTIL(outcome.act == DO_NOTHING);
		else
			UNTIL(over());
		if (i == 1)
			start_call("GET", "/", NULL, 0);
	}
	assert_false(another_came());
	for (size_t i = 0; i < PC_ARRAY_LEN(parting); i++) {
		start_call("GET", "/", NULL, 0);
		expect_request(peer, "\r\n\r\n");
		peer_send(peer, parting[i]);
		UNTIL(over() && peer->eof);
		assert_true(outcome.ended);
		peer_close(peer);
		start_call("GET", "/", NULL, 0);
		peer = accept_peer();
		expect_request(peer, "\r\n\r\n");
		peer_send(peer, OK);
		UNTIL(over());
	}
	/* Words that nobody asked for close an idle connection, and so does its target's end. */
	peer_send(peer, "HTTP/1.1 408 Request Timeout\r\n\r\n");
	UNTIL(peer->eof);
	peer_close(peer);
	start_call("GET", "/", NULL, 0);
	peer = accept_peer();
	expect_request(peer, "\r\n\r\n");
	peer_send(peer, OK);
	UNTIL(over());
	http_client_forget(client, &target);
	UNTIL(peer->eof);
	peer_close(peer);
	stop();
}

static void idle_limits(void **state)
{
	struct outcome *saved;
	struct peer *one, *two;

	(void)state;
	start_limited(1, 20);
	start_call("GET", "/1", NULL, 0);
	one = accept_peer();
	expect_request(one, "\r\n\r\n");
	saved = malloc(sizeof(*saved));
	assert_non_null(saved);
	/* A second call at the same time needs a connection of its own. */
	{
		struct http_call_request request = { .target = &target,
						     .method = "GET",
						     .path = { "/2", 2 } };

		memset(saved, 0, sizeof(*saved));
		assert_int_equal(
			http_call_start(client, &request, &handlers, saved, &saved->call, NULL), 0);
	}
	two = accept_peer();
	expect_request(two, "\r\n\r\n");
	peer_send(one, OK);
	UNTIL(outcome.ended);
	peer_send(two, OK);
	UNTIL(saved->ended);
	/* Only one may stay, the younger. */
	UNTIL(one->eof);
	assert_false(two->eof);
	/* And not for ever. */
	UNTIL(two->eof);
	peer_close(one);
	peer_close(two);
	free(saved);
	stop();
}

/* Makes a kept-alive connection. */
static struct peer *keep_one(void)
{
	struct peer *peer;

	start_call("GET", "/", NULL, 0);
	peer = accept_peer();
	expect_request(peer, "\r\n\r\n");
	peer_send(peer, OK);
	UNTIL(over());
	return peer;
}

static void stale(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	/* Without a body: repeated on a fresh connection, which then succeeds. */
	peer = keep_one();
	start_call("GET", "/", NULL, 0);
	peer_close(peer);
	peer = accept_peer();
	expect_request(peer, "GET / ");
	peer_send(peer, OK);
	UNTIL(over());
	assert_true(outcome.ended);
	/* Closed before the request was sent: TCP tells that nothing arrived, even of a body. */
	shutdown(peer->fd, SHUT_RDWR);
	peer_close(peer);
	start_call("POST", "/", "hello", 0);
	peer = accept_peer();
	expect_request(peer, "hello");
	peer_send(peer, OK);
	UNTIL(over());
	assert_true(outcome.ended);
	/* Read, and then closed: the work may have been done. */
	start_call("POST", "/", "hello", 0);
	expect_request(peer, "hello");
	peer_close(peer);
	UNTIL(over());
	assert_true(outcome.failed);
	assert_int_equal(outcome.stage, HTTP_STAGE_SENT);
	assert_int_equal(outcome.err.code, PC_E_RECV_FAILED);
	/* Once only: the second connection that closes is an error. */
	peer = keep_one();
	start_call("GET", "/", NULL, 0);
	peer_close(peer);
	peer = accept_peer();
	expect_request(peer, "GET / ");
	peer_close(peer);
	UNTIL(over());
	assert_true(outcome.failed);
	assert_int_equal(outcome.stage, HTTP_STAGE_SENT);
	/* A fresh connection is not repeated at all. */
	start_call("GET", "/", NULL, 0);
	peer = accept_peer();
	expect_request(peer, "GET / ");
	peer_close(peer);
	UNTIL(over());
	assert_true(outcome.failed);
	assert_false(another_came());
	/* A byte of a response forbids it as well. */
	peer = keep_one();
	start_call("GET", "/", NULL, 0);
	expect_request(peer, "GET / ");
	peer_send(peer, "H");
	peer_close(peer);
	UNTIL(over());
	assert_true(outcome.failed);
	assert_int_equal(outcome.stage, HTTP_STAGE_RESPONSE);
	stop();
}

static void nobody_there(void **state)
{
	(void)state;
	start();
	close(listen_fd);
	start_call("GET", "/", NULL, 0);
	assert_false(over());
	UNTIL(over());
	assert_true(outcome.failed);
	assert_int_equal(outcome.stage, HTTP_STAGE_CONNECT);
	assert_int_equal(outcome.err.code, PC_E_SEND_FAILED);
	assert_int_equal(outcome.err.sys_errno, ECONNREFUSED);
	strcpy(target.socket, "/nonexistent/socket");
	start_call("GET", "/", NULL, 0);
	UNTIL(over());
	assert_int_equal(outcome.stage, HTTP_STAGE_CONNECT);
	assert_string_equal(outcome.err.message,
			    "cannot reach the worker at unix:/nonexistent/socket: "
			    "No such file or directory");
	listen_fd = dup(0);
	stop();
}

static void timeouts(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	start_call("GET", "/", NULL, 20);
	peer = accept_peer();
	UNTIL(over());
	assert_true(outcome.failed);
	assert_int_equal(outcome.stage, HTTP_STAGE_SENT);
	assert_int_equal(outcome.err.code, PC_E_TIMEOUT);
	UNTIL(peer->eof);
	peer_close(peer);
	/* Inside the head. On a busy machine the time may pass before the server has spoken. */
	do {
		start_call("GET", "/", NULL, 20);
		peer = accept_peer();
		UNTIL(strstr(peer->in, "\r\n\r\n") || over());
		peer_send(peer, "HTTP/1.1 200 OK\r\n");
		UNTIL(over());
		peer_close(peer);
	} while (outcome.stage == HTTP_STAGE_SENT);
	assert_int_equal(outcome.stage, HTTP_STAGE_RESPONSE);
	assert_int_equal(outcome.err.code, PC_E_TIMEOUT);
	/* And not after it. */
	do {
		start_call("GET", "/", NULL, 20);
		peer = accept_peer();
		UNTIL(strstr(peer->in, "\r\n\r\n") || over());
		peer_send(peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
		UNTIL(outcome.status || over());
		if (over())
			peer_close(peer);
	} while (over());
	{
		/* Another call's timeout passes meanwhile; this one is not touched. */
		struct outcome *other = calloc(1, sizeof(*other));
		struct http_call_request request = {
			.target = &target, .method = "GET", .path = { "/", 1 }, .timeout_ms = 30
		};

		assert_non_null(other);
		assert_int_equal(
			http_call_start(client, &request, &handlers, other, &other->call, NULL), 0);
		UNTIL(other->failed);
		free(other);
	}
	assert_false(over());
	peer_send(peer, "ok");
	UNTIL(over());
	assert_true(outcome.ended);
	peer_close(peer);
	stop();
}

static void aborting(void **state)
{
	static const int acts[] = { ABORT_IN_HEAD, ABORT_IN_BODY };
	struct peer *peer;

	(void)state;
	start();
	/* Before it is connected, and after. */
	start_call("GET", "/", NULL, 1000);
	http_call_abort(outcome.call);
	start_call("GET", "/", NULL, 1000);
	turns(3);
	http_call_abort(outcome.call);
	for (int i = 0; i < 2; i++) {
		peer = accept_peer();
		UNTIL(peer->eof);
		peer_close(peer);
	}
	assert_false(over());
	for (size_t i = 0; i < PC_ARRAY_LEN(acts); i++) {
		start_call("GET", "/", NULL, 0);
		outcome.act = acts[i];
		peer = accept_peer();
		expect_request(peer, "\r\n\r\n");
		peer_send(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				"2\r\nok\r\n2\r\nok\r\n0\r\n\r\n");
		UNTIL(peer->eof);
		assert_false(over());
		assert_int_equal(outcome.pieces, i);
		peer_close(peer);
	}
	stop();
}

static void pausing(void **state)
{
	static char filler[32 << 10];
	size_t sent = 0, seen;
	struct peer *peer;

	(void)state;
	start();
	start_call("GET", "/", NULL, 0);
	outcome.act = PAUSE_IN_BODY;
	peer = accept_peer();
	expect_request(peer, "\r\n\r\n");
	peer_send(peer, "HTTP/1.1 200 OK\r\nContent-Length: 33000\r\n\r\nhello");
	UNTIL(outcome.length);
	seen = outcome.length;
	/* Nothing more is read, although it is there. */
	while (sent < 33000 - 5) {
		size_t piece = 33000 - 5 - sent < sizeof(filler) ? 33000 - 5 - sent
								 : sizeof(filler);

		peer_send_bytes(peer, filler, piece);
		sent += piece;
	}
	turns(5);
	assert_int_equal(outcome.length, seen);
	outcome.act = DO_NOTHING;
	http_call_resume(outcome.call);
	UNTIL(over());
	assert_true(outcome.ended);
	assert_int_equal(outcome.length, 33000);
	peer_close(peer);
	turns(3);
	/* Before it is connected. */
	start_call("GET", "/", NULL, 0);
	http_call_pause(outcome.call);
	peer = accept_peer();
	expect_request(peer, "\r\n\r\n");
	peer_send(peer, OK);
	turns(5);
	assert_int_equal(outcome.status, 0);
	http_call_resume(outcome.call);
	UNTIL(over());
	assert_true(outcome.ended);
	peer_close(peer);
	stop();
}

/* The server answers while the body is still on its way: the answer counts. */
static void early_response(void **state)
{
	char *body = malloc((16 << 20) + 1);
	struct peer *peer;

	(void)state;
	assert_non_null(body);
	memset(body, 'b', 16 << 20);
	body[16 << 20] = '\0';
	start();
	start_call("POST", "/", body, 0);
	peer = accept_peer();
	UNTIL(peer->in_length > 1000);
	peer_read(peer, false);
	peer_send(peer, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
	UNTIL(over());
	assert_true(outcome.ended);
	assert_int_equal(outcome.status, 413);
	assert_string_equal(outcome.body, "no");
	peer_close(peer);
	/* It is not used again. */
	start_call("GET", "/", NULL, 0);
	peer = accept_peer();
	http_call_abort(outcome.call);
	peer_close(peer);
	/* The same with a server that closes at once. */
	start_call("POST", "/", body, 0);
	peer = accept_peer();
	UNTIL(peer->in_length > 1000);
	peer_read(peer, false);
	peer_send(peer, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
	shutdown(peer->fd, SHUT_WR);
	UNTIL(over());
	assert_true(outcome.ended);
	assert_int_equal(outcome.status, 413);
	peer_close(peer);
	stop();
	free(body);
}

static void head_limit(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	start_call("GET", "/", NULL, 0);
	peer = accept_peer();
	expect_request(peer, "\r\n\r\n");
	peer_send(peer, "HTTP/1.1 200 OK\r\n");
	while (!over())
		peer_send(peer, "A: 0123456789012345678901234567890123456789\r\n"),
			uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(outcome.failed);
	assert_string_equal(outcome.err.message, "the response's head is longer than 65536 bytes");
	peer_close(peer);
	stop();
}

/* As start_limited, with a worker on a Unix socket; stop_unix() removes it. */
static void start_unix(size_t max_idle)
{
	char where[64] = "unix:/tmp/test_http_client.XXXXXX", address[128];
	int fd;

	start_limited(max_idle, 60000);
	fd = mkstemp(where + 5);
	close(fd);
	unlink(where + 5);
	close(listen_fd);
	assert_int_equal(http_listen_open(where, &listen_fd, address, NULL), 0);
	strcpy(target.socket, where + 5);
}

static void stop_unix(void)
{
	unlink(target.socket);
	stop();
}

static void unix_socket(void **state)
{
	struct peer *peer;

	(void)state;
	start_unix(8);
	start_call("POST", "/", "hello", 0);
	peer = accept_peer();
	UNTIL(strstr(peer->in, "hello"));
	assert_string_equal(peer->in, "POST / HTTP/1.1\r\nHost: localhost\r\n"
				      "Content-Length: 5\r\n\r\nhello");
	peer_send(peer, OK);
	UNTIL(over());
	assert_true(outcome.ended);
	/* A stale one: the write fails at once, so that even a body may be sent again. */
	peer_close(peer);
	start_call("POST", "/", "hello", 0);
	peer = accept_peer();
	expect_request(peer, "hello");
	peer_send(peer, OK);
	UNTIL(over());
	assert_true(outcome.ended);
	peer_close(peer);
	stop_unix();
}

/* Of a worker that reads no more, only the write of a request tells. With room for one idle
 * connection, it also shows whether the broken one is counted on. */
static void deaf(void **state)
{
	struct peer *peer, *fresh;

	(void)state;
	start_unix(1);
	peer = keep_one();
	shutdown(peer->fd, SHUT_RD);
	start_call("POST", "/", "hello", 0);
	fresh = accept_peer();
	for (int i = 0; i < 2; i++) {
		expect_request(fresh, "hello");
		peer_send(fresh, OK);
		UNTIL(over());
		assert_true(outcome.ended);
		if (i == 0)
			start_call("POST", "/", "hello", 0);
	}
	assert_false(another_came());
	peer_close(peer);
	peer_close(fresh);
	stop_unix();
}

/* ---- memory ---- */

static void out_of_memory(void **state)
{
	bool answered = false;

	(void)state;
	for (unsigned n = 1; !answered; n++) {
		struct http_call_request request = { .target = &target,
						     .method = "GET",
						     .path = { "/", 1 } };
		struct pc_error err = PC_ERROR_INIT;
		struct peer *peer;

		start();
		memset(&outcome, 0, sizeof(outcome));
		fail_alloc_begin(n);
		if (http_call_start(client, &request, &handlers, &outcome, &outcome.call, &err)) {
			assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		} else {
			peer = accept_peer();
			expect_request(peer, "\r\n\r\n");
			peer_send(peer, OK);
			UNTIL(over());
			answered = outcome.ended;
			if (!answered)
				assert_int_equal(outcome.err.code, PC_E_OUT_OF_MEMORY);
			peer_close(peer);
		}
		fail_alloc_end();
		stop();
		assert_true(n < 100);
	}
	pc_allocator_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_request),  cmocka_unit_test(responses),
		cmocka_unit_test(every_split),	  cmocka_unit_test(keep_alive),
		cmocka_unit_test(idle_limits),	  cmocka_unit_test(stale),
		cmocka_unit_test(nobody_there),	  cmocka_unit_test(timeouts),
		cmocka_unit_test(aborting),	  cmocka_unit_test(pausing),
		cmocka_unit_test(early_response), cmocka_unit_test(head_limit),
		cmocka_unit_test(unix_socket),	  cmocka_unit_test(deaf),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
