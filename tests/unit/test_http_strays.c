/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of what the client in http/ does with bytes that answer nothing: behind an answer, on
 * an idle connection, before the first request. None of them may become the answer of a later call.
 * The server is nothing but a socket, and the loop stands still while bytes are on their way, so
 * that each order of events is the one that is meant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <poolcore/log.h>

#include "http/http.h"
#include "http/pool.h"
#include "http/quiet.h"

#include "http_peer.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define FOREIGN "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"

struct server {
	int fd;
	struct http_target target;
};

static struct http_client *client;
static struct server server;
static unsigned warnings;

/* What came of the call that was started last. */
static struct {
	struct http_call *call;
	int status;
	char body[64 << 10];
	size_t length;
	bool ended;
	bool failed;
	enum http_stage stage;
	struct pc_error err;
	bool starts_another; /* from inside its end */
} outcome;

static void start_call(const char *method, const char *body);

static void on_head(void *ctx, struct http_call *call, int status,
		    const struct http_header *headers, size_t count)
{
	(void)ctx;
	(void)call;
	(void)headers;
	(void)count;
	outcome.status = status;
}

static void on_body(void *ctx, struct http_call *call, const char *data, size_t length)
{
	(void)ctx;
	(void)call;
	assert_true(outcome.length + length < sizeof(outcome.body));
	memcpy(outcome.body + outcome.length, data, length);
	outcome.length += length;
	outcome.body[outcome.length] = '\0';
}

static void on_end(void *ctx, struct http_call *call)
{
	(void)ctx;
	(void)call;
	outcome.ended = true;
	if (outcome.starts_another)
		start_call("GET", NULL);
}

static void on_error(void *ctx, struct http_call *call, enum http_stage stage,
		     const struct pc_error *err)
{
	(void)ctx;
	(void)call;
	outcome.failed = true;
	outcome.stage = stage;
	outcome.err = *err;
}

static void start_call_to(const struct http_target *target, const char *method, const char *body)
{
	static const struct http_call_handlers handlers = { on_head, on_body, on_end, on_error };
	const struct http_call_request request = {
		.target = target,
		.method = method,
		.path = { "/", 1 },
		.body = body,
		.body_length = body ? strlen(body) : 0,
	};
	struct pc_error err = PC_ERROR_INIT;

	memset(&outcome, 0, sizeof(outcome));
	if (http_call_start(client, &request, &handlers, NULL, &outcome.call, &err))
		fail_msg("%s", err.message);
}

static void start_call(const char *method, const char *body)
{
	start_call_to(&server.target, method, body);
}

static bool over(void)
{
	return outcome.ended || outcome.failed;
}

/* ---- the stage ---- */

static void count_warning(void *ctx, const struct pc_log_record *record)
{
	(void)ctx;
	assert_string_equal(record->subject, "http");
	warnings++;
}

static struct server listen_on(bool is_unix)
{
	char where[64] = "unix:/tmp/test_http_strays.XXXXXX", address[128];
	struct server at = { .fd = -1 };
	struct pc_error err = PC_ERROR_INIT;

	if (is_unix) {
		close(mkstemp(where + 5));
		unlink(where + 5);
		strcpy(at.target.socket, where + 5);
	}
	if (http_listen_open(is_unix ? where : "127.0.0.1:0", &at.fd, address, &err))
		fail_msg("%s", err.message);
	if (!is_unix)
		at.target.port = (uint16_t)atoi(strchr(address, ':') + 1);
	return at;
}

static void listen_end(struct server *at)
{
	close(at->fd);
	if (at->target.socket[0])
		unlink(at->target.socket);
}

static void start(bool is_unix)
{
	warnings = 0;
	pc_log_set(count_warning, NULL, PC_LOG_WARN);
	uv_loop_init(&loop);
	assert_int_equal(http_client_create(&loop, 8, 60000, &client, NULL), 0);
	server = listen_on(is_unix);
}

static void stop(void)
{
	http_client_close(client, NULL, NULL);
	listen_end(&server);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	pc_log_set(NULL, NULL, PC_LOG_WARN);
}

/* The connection that the running call opens. It must not end, nor be written to `kept`, before. */
static struct peer *accept_instead_of(struct peer *kept, const struct server *at)
{
	int fd;

	while ((fd = accept(at->fd, NULL, NULL)) < 0) {
		if (over())
			fail_msg("the call is over without a connection of its own: \"%s\"",
				 outcome.failed ? outcome.err.message : outcome.body);
		if (kept && kept->in_length > 0)
			fail_msg("the request went out on the old connection: %s", kept->in);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	return peer_adopt(fd);
}

/* Waits until what was sent lies in the client's kernel, without turning the loop. On a Unix socket
 * it does so when send returns. */
static void arrive(int fd)
{
	int untaken = 1;

	while (!server.target.socket[0] && untaken > 0)
		assert_int_equal(ioctl(fd, SIOCOUTQ, &untaken), 0);
}

static void expect_request(struct peer *peer)
{
	UNTIL(strstr(peer->in, "\r\n\r\n"));
	peer_forget(peer);
}

static void answer(struct peer *peer, const char *text)
{
	expect_request(peer);
	peer_send(peer, text);
	UNTIL(over());
	assert_true(outcome.ended);
}

static void assert_body(const char *expected)
{
	assert_true(outcome.ended);
	assert_int_equal(outcome.status, 200);
	assert_string_equal(outcome.body, expected);
}

/* ---- behind an answer ---- */

static const struct stray {
	const char *method;
	const char *answer;
	const char *stray;
} strays[] = {
	{ "GET", OK, FOREIGN },
	{ "GET", OK, "x" },
	{ "GET", OK, "\r\n" },
	{ "GET", OK, "HTTP/1.1 100 Continue\r\n\r\n" },
	{ "GET", OK, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n" },
	{ "POST", "HTTP/1.1 100 Continue\r\n\r\n" OK, FOREIGN },
	{ "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
	  FOREIGN },
	{ "GET",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n\r\n",
	  FOREIGN },
	{ "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	  "0\r\n\r\n" },
	/* Answers that have no body, whatever they announce, and the body nevertheless. */
	{ "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "foreign" },
	{ "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n" },
	{ "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", FOREIGN },
	{ "GET", "HTTP/1.1 204 No Content\r\n\r\n", FOREIGN },
	{ "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "foreign" },
	{ "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", FOREIGN },
};

enum when { WITH_THE_ANSWER, BEFORE_THE_NEXT_REQUEST, WHILE_IDLE };

static void try_stray(const struct stray *row, enum when when)
{
	struct peer *first, *second, *third;
	char text[512];

	snprintf(text, sizeof(text), "%s%s", row->answer,
		 when == WITH_THE_ANSWER ? row->stray : "");
	start_call(row->method, NULL);
	first = accept_instead_of(NULL, &server);
	answer(first, text);
	if (when != WITH_THE_ANSWER) {
		peer_send(first, row->stray);
		arrive(first->fd);
	}
	if (when == WHILE_IDLE)
		UNTIL(first->eof);

	start_call("GET", NULL);
	second = accept_instead_of(first, &server);
	answer(second, OK);
	assert_body("ok");

	/* This one did nothing wrong, but its worker did. */
	start_call("GET", NULL);
	third = accept_instead_of(second, &server);
	answer(third, OK);
	assert_body("ok");
	assert_int_equal(warnings, 1);

	peer_close(first);
	peer_close(second);
	peer_close(third);
}

static void no_stray_is_an_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(strays); i++) {
		for (enum when when = WITH_THE_ANSWER; when <= WHILE_IDLE; when++) {
			for (int is_unix = 0; is_unix <= 1; is_unix++) {
				start(is_unix);
				try_stray(&strays[i], when);
				stop();
			}
		}
	}
}

/* The answer fills one read to its last byte; the stray is still in the kernel when the call's end
 * starts the next one. */
static void a_call_from_inside_an_end_gets_no_stray(void **state)
{
	enum { READ_BYTES = 64 << 10, HEAD_BYTES = 42 };
	static char text[READ_BYTES + sizeof(FOREIGN)];
	struct peer *first, *second;
	int head;

	(void)state;
	memset(text, 'b', READ_BYTES);
	head = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
		       READ_BYTES - HEAD_BYTES);
	assert_int_equal(head, HEAD_BYTES);
	text[head] = 'b';
	strcpy(text + READ_BYTES, FOREIGN);
	start(true);
	start_call("GET", NULL);
	outcome.starts_another = true;
	first = accept_instead_of(NULL, &server);
	expect_request(first);
	assert_int_equal(send(first->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	UNTIL(!outcome.starts_another);
	second = accept_instead_of(first, &server);
	answer(second, OK);
	assert_body("ok");
	peer_close(first);
	peer_close(second);
	stop();
}

static void an_aborted_call_leaves_nothing(void **state)
{
	struct peer *first, *second;

	(void)state;
	start(true);
	start_call("GET", NULL);
	first = accept_instead_of(NULL, &server);
	expect_request(first);
	http_call_abort(outcome.call);
	peer_send(first, FOREIGN);
	start_call("GET", NULL);
	second = accept_instead_of(first, &server);
	answer(second, OK);
	assert_body("ok");
	assert_int_equal(warnings, 0);
	peer_close(first);
	peer_close(second);
	stop();
}

/* ---- whom it tells about ---- */

/* One call on a connection of its own, with this answer. */
static struct peer *call_once(const struct server *at, const char *text)
{
	struct peer *peer;

	start_call_to(&at->target, "GET", NULL);
	peer = accept_instead_of(NULL, at);
	answer(peer, text);
	return peer;
}

static void only_who_did_it_is_distrusted(void **state)
{
	struct server others[HTTP__DISTRUSTED_MAX];
	struct peer *good, *kept;

	(void)state;
	start(false);
	for (size_t i = 0; i < HTTP__DISTRUSTED_MAX; i++)
		others[i] = listen_on(false);
	good = call_once(&others[0], OK);
	peer_close(call_once(&server, OK "x"));
	/* Another worker's connection is kept. */
	start_call_to(&others[0].target, "GET", NULL);
	answer(good, OK);
	assert_body("ok");
	/* It is spoken of once. */
	peer_close(call_once(&server, OK "x"));
	assert_int_equal(warnings, 1);
	/* Those who come last are remembered. */
	for (size_t i = 1; i < HTTP__DISTRUSTED_MAX; i++)
		peer_close(call_once(&others[i], OK "x"));
	kept = call_once(&server, OK);
	UNTIL(kept->eof);
	peer_close(kept);
	start_call_to(&others[0].target, "GET", NULL);
	answer(good, OK "x");
	assert_int_equal(warnings, 1 + HTTP__DISTRUSTED_MAX);
	kept = call_once(&server, OK);
	start_call("GET", NULL);
	answer(kept, OK);
	assert_body("ok");
	peer_close(kept);
	peer_close(good);
	for (size_t i = 0; i < HTTP__DISTRUSTED_MAX; i++)
		listen_end(&others[i]);
	stop();
}

/* ---- requests that were answered unread ---- */

static int unread_bytes(const struct peer *peer)
{
	int bytes = -1;

	assert_int_equal(ioctl(peer->fd, FIONREAD, &bytes), 0);
	return bytes;
}

static struct peer *answer_unread(void)
{
	struct peer *peer;

	start_call("POST", "the body of a request");
	peer = accept_instead_of(NULL, &server);
	peer_read(peer, false);
	while (unread_bytes(peer) == 0)
		uv_run(&loop, UV_RUN_NOWAIT);
	peer_send(peer, OK);
	UNTIL(over());
	assert_body("ok");
	return peer;
}

static void an_unread_request_ends_its_connection(void **state)
{
	struct peer *first, *second;
	char part[16];
	int rest;

	(void)state;
	start(true);
	first = answer_unread();
	assert_int_equal(recv(first->fd, part, sizeof(part), 0), sizeof(part));
	rest = unread_bytes(first);
	start_call("GET", NULL);
	assert_int_equal(unread_bytes(first), rest);
	second = accept_instead_of(first, &server);
	answer(second, OK);
	assert_body("ok");
	peer_close(first);
	/* It is a right of the server's, if it reads the rest later. */
	assert_int_equal(warnings, 0);
	start_call("GET", NULL);
	answer(second, OK);
	peer_close(second);
	turns(3);
	first = answer_unread();
	peer_read(first, true);
	expect_request(first);
	start_call("GET", NULL);
	answer(first, OK);
	assert_body("ok");
	peer_close(first);
	stop();
}

/* ---- before the first request ---- */

static void nobody_answers_before_being_asked(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		bool is_unix = i & 1, speaks = i & 2;
		struct peer *peer;
		char name[140], expected[256];
		int fd;

		start(is_unix);
		start_call("GET", NULL);
		while ((fd = accept(server.fd, NULL, NULL)) < 0)
			assert_int_equal(errno, EAGAIN);
		if (speaks)
			assert_true(send(fd, FOREIGN, strlen(FOREIGN), MSG_NOSIGNAL) > 0);
		else
			shutdown(fd, SHUT_WR);
		arrive(fd);
		UNTIL(over());
		assert_true(outcome.failed);
		/* Certainly nothing was sent: it may be tried elsewhere. */
		assert_int_equal(outcome.stage, HTTP_STAGE_CONNECT);
		assert_int_equal(outcome.err.code, PC_E_RECV_FAILED);
		if (is_unix)
			snprintf(name, sizeof(name), "unix:%s", server.target.socket);
		else
			snprintf(name, sizeof(name), "127.0.0.1:%u", server.target.port);
		snprintf(expected, sizeof(expected),
			 "the worker at %s spoke or hung up before it was asked", name);
		assert_string_equal(outcome.err.message, expected);
		peer = peer_adopt(fd);
		UNTIL(peer->eof);
		assert_int_equal(peer->in_length, 0);
		peer_close(peer);
		stop();
	}
}

/* ---- the question itself ---- */

static void quiet(void **state)
{
	char byte;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(http__quiet(fds[0]), QUIET);
	assert_int_equal(send(fds[0], "x", 1, 0), 1);
	assert_int_equal(http__quiet(fds[0]), QUIET_OWES);
	assert_int_equal(http__quiet(fds[1]), QUIET_SPOKE);
	assert_int_equal(recv(fds[1], &byte, 1, 0), 1);
	assert_int_equal(http__quiet(fds[0]), QUIET);
	assert_int_equal(http__quiet(fds[1]), QUIET);
	close(fds[1]);
	assert_int_equal(http__quiet(fds[0]), QUIET_ENDED);
	close(fds[0]);
	assert_int_equal(http__quiet(fds[0]), QUIET_ENDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_stray_is_an_answer),
		cmocka_unit_test(a_call_from_inside_an_end_gets_no_stray),
		cmocka_unit_test(an_aborted_call_leaves_nothing),
		cmocka_unit_test(only_who_did_it_is_distrusted),
		cmocka_unit_test(an_unread_request_ends_its_connection),
		cmocka_unit_test(nobody_answers_before_being_asked),
		cmocka_unit_test(quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
