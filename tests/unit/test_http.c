/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of the server in http/: exact bytes in, exact bytes out, over real sockets on one
 * loop. What the handlers were told is kept as a line of words and compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/http.h"

#include <sys/stat.h>

#include "http_peer.h"
#include "tests/unit/fail_alloc.h"

static struct http_server *server;
static struct http_limits limits;
static char address[128];
static int listen_fd;
static bool server_closed;

/* What the handlers saw, and the exchange that waits for the test to answer it. */
static char story[4096];
static struct http_exchange *waiting;
static size_t big_left;
static unsigned drains;

static void tell(const char *fmt, ...)
{
	size_t length = strlen(story);
	va_list args;

	va_start(args, fmt);
	vsnprintf(story + length, sizeof(story) - length, fmt, args);
	va_end(args);
}

static bool path_is(const struct http_exchange *exchange, const char *path)
{
	return http_slice_is(http_path(exchange), path);
}

static void closed_server(void *ctx)
{
	(void)ctx;
	server_closed = true;
}

static void write_big(struct http_exchange *exchange)
{
	static char piece[10000];

	memset(piece, 'b', sizeof(piece));
	while (big_left) {
		size_t length = big_left < sizeof(piece) ? big_left : sizeof(piece);

		big_left -= length;
		if (!http_write(exchange, piece, length) && big_left)
			return;
	}
	http_respond_end(exchange);
}

static void on_head(void *ctx, struct http_exchange *exchange)
{
	struct http_slice path = http_path(exchange);

	assert_ptr_equal(ctx, &server);
	http_set_user(exchange, &story);
	tell("head %.*s;", (int)path.length, path.data);
	if (path_is(exchange, "/now"))
		http_respond(exchange, 200, NULL, "now", 3);
	else if (path_is(exchange, "/echo"))
		http_respond_start(exchange, 200, NULL, -1);
	else if (path_is(exchange, "/abort-head"))
		http_abort(exchange);
	else if (path_is(exchange, "/close-head"))
		http_server_close(pc_steal(&server), closed_server, NULL);
}

static void on_body(void *ctx, struct http_exchange *exchange, const char *data, size_t length)
{
	(void)ctx;
	tell("body %.*s;", (int)(length < 20 ? length : 20), data);
	if (path_is(exchange, "/echo"))
		http_write(exchange, data, length);
	else if (path_is(exchange, "/abort-body"))
		http_abort(exchange);
	else if (path_is(exchange, "/respond-body"))
		http_respond(exchange, 200, NULL, "early", 5);
	else if (path_is(exchange, "/close-body"))
		http_server_close(pc_steal(&server), closed_server, NULL);
}

static void on_end(void *ctx, struct http_exchange *exchange)
{
	static const struct http_field fields[] = { { "Content-Type", "text/plain" },
						    { "X-Split", "a\r\nEvil: b" },
						    { "Connection", "nonsense" },
						    { NULL, NULL } };

	(void)ctx;
	tell("end;");
	assert_ptr_equal(http_user(exchange), &story);
	if (path_is(exchange, "/echo")) {
		http_respond_end(exchange);
	} else if (path_is(exchange, "/fields")) {
		http_respond(exchange, 404, fields, "gone", 4);
	} else if (path_is(exchange, "/204")) {
		http_respond(exchange, 204, NULL, NULL, 0);
	} else if (path_is(exchange, "/304")) {
		http_respond(exchange, 304, NULL, "body", 4);
	} else if (path_is(exchange, "/length")) {
		http_respond_start(exchange, 200, NULL, 4);
		http_write(exchange, "le", 2);
		http_write(exchange, "n!", 2);
		http_respond_end(exchange);
	} else if (path_is(exchange, "/pieces")) {
		http_respond_start(exchange, 200, NULL, -1);
		http_write(exchange, "one", 3);
		http_write(exchange, "", 0);
		http_write(exchange, "two", 3);
		http_respond_end(exchange);
	} else if (path_is(exchange, "/big")) {
		http_respond_start(exchange, 200, NULL, (int64_t)big_left);
		write_big(exchange);
	} else if (path_is(exchange, "/broken")) {
		http_respond_start(exchange, 200, NULL, -1);
		http_write(exchange, "part", 4);
		http_abort(exchange);
	} else if (path_is(exchange, "/close-end")) {
		http_server_close(pc_steal(&server), closed_server, NULL);
		http_respond(exchange, 200, NULL, "x", 1);
	} else if (path_is(exchange, "/wait")) {
		waiting = exchange;
	} else {
		http_respond(exchange, 200, NULL, "ok", 2);
	}
}

static void on_drained(void *ctx, struct http_exchange *exchange)
{
	(void)ctx;
	drains++;
	write_big(exchange);
}

static void on_close(void *ctx, struct http_exchange *exchange, bool complete)
{
	(void)ctx;
	tell("close %d;", complete);
	if (waiting == exchange)
		waiting = NULL;
}

static void error_body(void *ctx, const struct pc_error *err, const char *correlation_id,
		       char *body, size_t size)
{
	(void)ctx;
	assert_true(strlen(correlation_id) >= 1);
	snprintf(body, size, "{\"code\":\"%s\"}", pc_error_name(err->code));
}

static const struct http_handlers handlers = { on_head,	   on_body,  on_end,
					       on_drained, on_close, error_body };

/* ---- the stage ---- */

static void start_at(const char *where)
{
	struct pc_error err = PC_ERROR_INIT;

	story[0] = '\0';
	waiting = NULL;
	server_closed = false;
	drains = 0;
	uv_loop_init(&loop);
	assert_int_equal(http_server_create(&loop, &handlers, &server, &limits, &server, &err), 0);
	if (http_listen_open(where, &listen_fd, address, &err))
		fail_msg("%s", err.message);
	assert_int_equal(http_server_listen(server, listen_fd, &err), 0);
}

static int setup(void **state)
{
	(void)state;
	http_limits_init(&limits);
	return 0;
}

static void start(void)
{
	start_at("127.0.0.1:0");
}

/* Closes what is open; the loop must then be empty. */
static void stop(void)
{
	if (server)
		http_server_close(pc_steal(&server), closed_server, NULL);
	close(listen_fd);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(server_closed);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static struct peer *connect_peer(void)
{
	struct sockaddr_in ip = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	bool is_unix = strncmp(address, "unix:", 5) == 0;
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (is_unix)
		strcpy(un.sun_path, address + 5);
	else
		ip.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
	assert_int_equal(connect(fd, is_unix ? (struct sockaddr *)&un : (struct sockaddr *)&ip,
				 is_unix ? sizeof(un) : sizeof(ip)),
			 0);
	return peer_adopt(fd);
}

/* Cuts the values of Date and X-Correlation-Id out, which differ every time. */
static void normalize(struct peer *peer)
{
	static const char *const names[] = { "Date: ", "X-Correlation-Id: " };

	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++) {
		char *at = peer->in;

		while ((at = strstr(at, names[i]))) {
			char *value = at + strlen(names[i]), *end = strstr(value, "\r\n");

			if (!end)
				break;
			memmove(value, end, strlen(end) + 1);
			at = value;
		}
	}
	peer->in_length = strlen(peer->in);
}

#define COMMON "Date: \r\nX-Correlation-Id: \r\n"
#define OK_HEAD "HTTP/1.1 200 OK\r\n" COMMON
#define OK(length, body) OK_HEAD "Content-Length: " length "\r\n\r\n" body
#define HOST "Host: x\r\n"

/* One request on a connection of its own: what comes back, and whether the server closes. */
static void try(const char *request, const char *response, bool closes)
{
	struct peer *peer = connect_peer();
	size_t length = strlen(response);

	peer_send(peer, request);
	if (closes)
		UNTIL(peer->eof);
	else
		UNTIL((normalize(peer), peer->in_length >= length));
	normalize(peer);
	assert_string_equal(peer->in, response);
	if (!closes) {
		/* It must be good for another request. */
		peer_forget(peer);
		peer_send(peer, "GET /now HTTP/1.1\r\n" HOST "\r\n");
		UNTIL((normalize(peer), peer->in_length >= strlen(OK("3", "now"))));
		assert_string_equal(peer->in, OK("3", "now"));
	}
	peer_close(peer);
	turns(3);
}

/* ---- tests ---- */

static void whole_responses(void **state)
{
	(void)state;
	start();
	try("GET /now HTTP/1.1\r\n" HOST "\r\n", OK("3", "now"), false);
	try("GET /ok?q HTTP/1.1\r\n" HOST "\r\n", OK("2", "ok"), false);
	try("\r\nGET /ok HTTP/1.1\r\n" HOST "\r\n", OK("2", "ok"), false);
	try("GET /fields HTTP/1.1\r\n" HOST "\r\n",
	    "HTTP/1.1 404 Not Found\r\n" COMMON "Content-Type: text/plain\r\n"
	    "X-Split: a  Evil: b\r\nContent-Length: 4\r\n\r\ngone",
	    false);
	try("GET /204 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 204 No Content\r\n" COMMON "\r\n",
	    false);
	try("GET /304 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 304 Not Modified\r\n" COMMON "\r\n",
	    false);
	try("HEAD /ok HTTP/1.1\r\n" HOST "\r\n", OK("2", ""), false);
	try("GET /ok HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
	    OK_HEAD "Content-Length: 2\r\nConnection: close\r\n\r\nok", true);
	stop();
}

static void responses_in_pieces(void **state)
{
	(void)state;
	start();
	try("GET /length HTTP/1.1\r\n" HOST "\r\n", OK("4", "len!"), false);
	try("GET /pieces HTTP/1.1\r\n" HOST "\r\n",
	    OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", false);
	try("HEAD /pieces HTTP/1.1\r\n" HOST "\r\n", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n",
	    false);
	try("GET /broken HTTP/1.1\r\n" HOST "\r\n",
	    OK_HEAD "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", true);
	assert_non_null(strstr(story, "head /broken;end;close 0;"));
	stop();
}

static void http_1_0(void **state)
{
	(void)state;
	start();
	try("GET /ok HTTP/1.0\r\n\r\n", OK_HEAD "Content-Length: 2\r\nConnection: close\r\n\r\nok",
	    true);
	try("GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    OK_HEAD "Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok", false);
	/* No chunks: the end of the connection ends the body, whatever was asked. */
	try("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    OK_HEAD "Connection: close\r\n\r\nonetwo", true);
	stop();
}

static void bodies(void **state)
{
	(void)state;
	start();
	try("POST /ok HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", OK("2", "ok"), false);
	assert_string_equal(story, "head /ok;body hello;end;close 1;head /now;close 1;");
	story[0] = '\0';
	try("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	    "5\r\nhello\r\n1;x\r\n!\r\n0\r\nTrailer: t\r\n\r\n",
	    OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", false);
	assert_string_equal(story, "head /echo;body hello;body !;end;close 1;head /now;close 1;");
	story[0] = '\0';
	/* Answered before the body came: the body is dropped, the connection lives. */
	try("POST /now HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", OK("3", "now"), false);
	assert_string_equal(story, "head /now;close 1;head /now;close 1;");
	try("POST /respond-body HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
	    OK("5", "early"), false);
	stop();
}

/* Every split of a request with a body says the same. */
static void every_split(void **state)
{
	static const char request[] = "POST /echo HTTP/1.1\r\n" HOST
				      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
				      "GET /now HTTP/1.1\r\n" HOST "\r\n";

	(void)state;
	start();
	for (size_t cut = 1; cut < sizeof(request) - 1; cut++) {
		struct peer *peer = connect_peer();

		story[0] = '\0';
		peer_send_bytes(peer, request, cut);
		turns(3);
		peer_send_bytes(peer, request + cut, sizeof(request) - 1 - cut);
		UNTIL(strstr(peer->in, "now"));
		assert_non_null(strstr(story, "head /echo;body "));
		assert_non_null(strstr(story, "end;close 1;head /now;close 1;"));
		peer_close(peer);
	}
	stop();
}

static void pipelining(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer, "GET /ok HTTP/1.1\r\n" HOST "\r\nGET /wait HTTP/1.1\r\n" HOST
			"\r\nPOST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
			"GET /now HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	turns(3);
	/* Nothing of the later ones is looked at before. */
	assert_string_equal(story, "head /ok;end;close 1;head /wait;end;");
	http_respond(waiting, 200, NULL, "waited", 6);
	UNTIL(strstr(peer->in, "now"));
	normalize(peer);
	assert_string_equal(
		peer->in, OK("2", "ok") OK("6", "waited") OK_HEAD
		"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" OK("3", "now"));
	peer_close(peer);
	stop();
}

static void expect_continue(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer,
		  "POST /ok HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
	UNTIL(strstr(peer->in, "\r\n\r\n"));
	assert_string_equal(peer->in, "HTTP/1.1 100 Continue\r\n\r\n");
	peer_send(peer, "hello");
	UNTIL(strstr(peer->in, "ok"));
	peer_close(peer);
	/* The body is there already: no 100. */
	try("POST /ok HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
	    OK("2", "ok"), false);
	/* Answered without the body: the client must not think that it is waited for. */
	peer = connect_peer();
	peer_send(peer, "POST /now HTTP/1.1\r\n" HOST
			"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
	UNTIL(strstr(peer->in, "now"));
	normalize(peer);
	assert_string_equal(peer->in, OK_HEAD "Content-Length: 3\r\nConnection: close\r\n\r\nnow");
	UNTIL(peer->eof);
	peer_close(peer);
	/* HTTP/1.0 does not know it. */
	try("POST /ok HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
	    OK_HEAD "Content-Length: 2\r\nConnection: close\r\n\r\nok", true);
	stop();
}

#define REFUSED(status, length, code) \
	"HTTP/1.1 " status "\r\n" COMMON "Content-Type: application/json\r\n" \
	"Content-Length: " length "\r\nConnection: close\r\n\r\n{\"code\":\"" code "\"}"

static void refusals(void **state)
{
	static const char bad_request[] = REFUSED("400 Bad Request", "26", "INVALID_REQUEST");

	(void)state;
	start();
	try("GET / HTTP/1.1\r\n\r\n", bad_request, true);
	try("GET / HTTP/1.1\n", bad_request, true);
	try("\x16\x03\x01", bad_request, true);
	try("\rGET", bad_request, true);
	try("GET / HTTP/1.1\r\n" HOST "A: b\rTransfer-Encoding: chunked\r\n\r\n", bad_request,
	    true);
	try("CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n",
	    REFUSED("501 Not Implemented", "22", "UNSUPPORTED"), true);
	try("BREW / HTTP/1.1\r\n" HOST "\r\n", REFUSED("501 Not Implemented", "22", "UNSUPPORTED"),
	    true);
	assert_string_equal(story, "");
	/* Faulty chunks, seen in the middle of a body. */
	try("POST /ok HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
	    bad_request, true);
	assert_string_equal(story, "head /ok;body hello;close 0;");
	/* An offer to upgrade is not taken up. */
	try("GET /ok HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	    OK("2", "ok"), false);
	stop();
}

static void head_limit(void **state)
{
	char request[512];
	struct peer *peer;

	(void)state;
	limits.max_head_bytes = 200;
	start();
	memset(request, 'a', sizeof(request));
	memcpy(request, "GET /ok HTTP/1.1\r\nHost: x\r\nA: ", 30);
	memcpy(request + 196, "\r\n\r\n", 5);
	try(request, OK("2", "ok"), false);
	request[196] = 'a';
	memcpy(request + 197, "\r\n\r\n", 5);
	try(request, REFUSED("431 Request Header Fields Too Large", "28", "HEADERS_TOO_LARGE"),
	    true);
	/* It is not waited for the end. */
	peer = connect_peer();
	peer_send_bytes(peer, request, 197);
	peer_send(peer, "aaaaa");
	UNTIL(strstr(peer->in, "HEADERS_TOO_LARGE"));
	peer_close(peer);
	stop();
}

static void body_limit(void **state)
{
	static const char too_large[] = REFUSED("413 Content Too Large", "28", "PAYLOAD_TOO_LARGE");
	static char body[600000];
	struct peer *peer;

	(void)state;
	limits.max_body_bytes = 10;
	start();
	try("POST /ok HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789", OK("2", "ok"),
	    false);
	story[0] = '\0';
	try("POST /ok HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n", too_large, true);
	assert_string_equal(story, "");
	try("POST /ok HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	    "6\r\n012345\r\n5\r\n67890\r\n",
	    too_large, true);
	assert_string_equal(story, "head /ok;body 012345;close 0;");
	/* A client that first sends everything gets to read the answer all the same. */
	peer = connect_peer();
	peer_send(peer, "POST /ok HTTP/1.1\r\n" HOST "Content-Length: 600000\r\n\r\n");
	memset(body, 'x', sizeof(body));
	peer_send_bytes(peer, body, sizeof(body));
	UNTIL(peer->eof);
	assert_false(peer->reset);
	normalize(peer);
	assert_string_equal(peer->in, too_large);
	peer_close(peer);
	stop();
}

/* The rest of a long body is not read for the connection's sake. */
static void long_body_dropped(void **state)
{
	static char body[600000];
	struct peer *peer;

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer, "POST /now HTTP/1.1\r\n" HOST "Content-Length: 600000\r\n\r\n");
	peer_send_bytes(peer, body, sizeof(body));
	UNTIL(peer->eof);
	assert_false(peer->reset);
	normalize(peer);
	assert_string_equal(peer->in, OK_HEAD "Content-Length: 3\r\nConnection: close\r\n\r\nnow");
	peer_close(peer);
	stop();
}

static void timeouts(void **state)
{
	static const char late[] = REFUSED("408 Request Timeout", "18", "TIMEOUT");
	struct peer *peer;

	(void)state;
	limits.receive_timeout_ms = 20;
	limits.idle_timeout_ms = 20;
	start();
	/* Between requests: without a word. */
	try("", "", true);
	peer = connect_peer();
	peer_send(peer, "GET /now HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(peer->eof);
	normalize(peer);
	assert_string_equal(peer->in, OK("3", "now"));
	peer_close(peer);
	/* Inside a head and inside a body. */
	try("GET /", late, true);
	story[0] = '\0';
	try("POST /ok HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel", late, true);
	assert_string_equal(story, "head /ok;body hel;close 0;");
	/* After the response began, there is nothing left to say. */
	try("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel",
	    OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", true);
	/* A handler may take as long as it likes: the peer's own timeout comes and goes. */
	peer = connect_peer();
	peer_send(peer, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);

	struct peer *other = connect_peer();

	UNTIL(other->eof);
	assert_non_null(waiting);
	http_respond(waiting, 200, NULL, "late", 4);
	UNTIL(strstr(peer->in, "late"));
	peer_close(peer);
	peer_close(other);
	stop();
}

/* A head that trickles in has no more time than one that does not come. */
static void slow_head(void **state)
{
	struct peer *peer;

	(void)state;
	limits.receive_timeout_ms = 30;
	start();
	peer = connect_peer();
	peer_send(peer, "GET / HTTP/1.1\r\nA: ");
	while (!peer->eof) {
		peer_send(peer, "a");
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_non_null(strstr(peer->in, "408 Request Timeout"));
	peer_close(peer);
	stop();
}

static void client_leaves(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	/* While the handler waits. */
	peer = connect_peer();
	peer_send(peer, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	peer_close(peer);
	UNTIL(!waiting);
	assert_string_equal(story, "head /wait;end;close 0;");
	/* With a pipelined request behind it, and by half. */
	story[0] = '\0';
	peer = connect_peer();
	peer_send(peer, "GET /wait HTTP/1.1\r\n" HOST "\r\nGET /now HTTP/1.1\r\n");
	UNTIL(waiting);
	shutdown(peer->fd, SHUT_WR);
	UNTIL(!waiting);
	assert_string_equal(story, "head /wait;end;close 0;");
	peer_close(peer);
	/* Inside a body. */
	story[0] = '\0';
	peer = connect_peer();
	peer_send(peer, "POST /ok HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe");
	UNTIL(strstr(story, "body"));
	peer_close(peer);
	UNTIL(strstr(story, "close"));
	assert_string_equal(story, "head /ok;body he;close 0;");
	/* A client that closes its side after its requests gets all that is answered at once. */
	peer = connect_peer();
	peer_send(peer, "GET /ok HTTP/1.1\r\n" HOST "\r\nGET /now HTTP/1.1\r\n" HOST "\r\n");
	shutdown(peer->fd, SHUT_WR);
	UNTIL(peer->eof);
	normalize(peer);
	assert_string_equal(peer->in, OK("2", "ok") OK("3", "now"));
	peer_close(peer);
	stop();
}

static void backpressure(void **state)
{
	struct peer *peer;
	size_t before;

	(void)state;
	limits.high_water_bytes = 64 << 10;
	start();
	peer = connect_peer();
	peer_read(peer, false);
	big_left = 30 << 20;
	peer_send(peer, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(strstr(story, "end"));
	turns(10);
	/* It stopped, far before the end: what lies between is in the kernel's buffers. */
	before = big_left;
	assert_true(before > 0);
	turns(10);
	assert_int_equal(big_left, before);
	peer_read(peer, true);
	while (!strstr(story, "close 1")) {
		peer_forget(peer);
		uv_run(&loop, UV_RUN_ONCE);
	}
	assert_true(drains > 0);
	peer_close(peer);
	/* And a client that leaves in the middle. */
	story[0] = '\0';
	peer = connect_peer();
	peer_read(peer, false);
	big_left = 30 << 20;
	peer_send(peer, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(strstr(story, "end"));
	turns(5);
	peer_close(peer);
	UNTIL(strstr(story, "close 0"));
	/* And one that never reads. */
	stop();
	limits.send_timeout_ms = 30;
	start();
	peer = connect_peer();
	peer_read(peer, false);
	big_left = 30 << 20;
	peer_send(peer, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(strstr(story, "close 0"));
	peer_close(peer);
	stop();
}

/* Handlers that abort, answer or close the server from inside themselves. */
static void reentrancy(void **state)
{
	static const char *const paths[] = { "/close-head", "/close-body", "/close-end" };

	(void)state;
	start();
	try("POST /abort-head HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "", true);
	assert_string_equal(story, "head /abort-head;close 0;");
	story[0] = '\0';
	try("POST /abort-body HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	    "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
	    "", true);
	assert_string_equal(story, "head /abort-body;body he;close 0;");
	stop();
	for (size_t i = 0; i < PC_ARRAY_LEN(paths); i++) {
		struct peer *peer, *other;
		char request[128];

		start();
		other = connect_peer();
		peer_send(other, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
		UNTIL(waiting);
		peer = connect_peer();
		snprintf(request, sizeof(request),
			 "POST %s HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", paths[i]);
		peer_send(peer, request);
		UNTIL(server_closed);
		assert_null(waiting);
		UNTIL(peer->eof && other->eof);
		peer_close(peer);
		peer_close(other);
		stop();
	}
}

/* A handler that is not told of the end yet goes on answering, and nobody hears it. */
static void answers_after_the_end(void **state)
{
	struct peer *peer;

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	http_server_close(pc_steal(&server), closed_server, NULL);
	http_respond_start(waiting, 200, NULL, -1);
	assert_false(http_write(waiting, "late", 4));
	http_respond_end(waiting);
	UNTIL(server_closed);
	assert_string_equal(story, "head /wait;end;close 0;");
	UNTIL(peer->eof);
	assert_string_equal(peer->in, "");
	peer_close(peer);
	stop();
}

static void told_empty(void *ctx)
{
	(*(int *)ctx)++;
}

static void drain(void **state)
{
	struct peer *idle, *busy;
	int empty = 0;

	(void)state;
	start();
	idle = connect_peer();
	busy = connect_peer();
	peer_send(busy, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting && http_server_connection_count(server) == 2);
	http_server_drain(server, told_empty, &empty);
	UNTIL(idle->eof);
	assert_non_null(waiting);
	assert_int_equal(empty, 0);
	http_respond(waiting, 200, NULL, "done", 4);
	UNTIL(busy->eof);
	normalize(busy);
	assert_string_equal(busy->in, OK_HEAD "Content-Length: 4\r\nConnection: close\r\n\r\ndone");
	UNTIL(http_server_connection_count(server) == 0);
	assert_int_equal(empty, 1);
	peer_close(idle);
	peer_close(busy);
	stop();
}

static void connection_limit(void **state)
{
	struct peer *first, *second;

	(void)state;
	limits.max_connections = 1;
	start();
	first = connect_peer();
	peer_send(first, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	second = connect_peer();
	peer_send(second, "GET /now HTTP/1.1\r\n" HOST "\r\n");
	turns(5);
	assert_int_equal(second->in_length, 0);
	peer_close(first);
	UNTIL(strstr(second->in, "now"));
	peer_close(second);
	stop();
}

/* Those with a request stay, and of the others the one that had its last longest ago goes. */
static void the_idle_give_way(void **state)
{
	struct peer *busy, *older, *newer, *latest;

	(void)state;
	limits.max_connections = 3;
	start();
	busy = connect_peer();
	peer_send(busy, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	newer = connect_peer();
	UNTIL(http_server_connection_count(server) == 2);
	older = connect_peer();
	UNTIL(http_server_connection_count(server) == 3);
	peer_send(newer, "GET /now HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(strstr(newer->in, "now"));
	latest = connect_peer();
	peer_send(latest, "GET /now HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(strstr(latest->in, "now") && older->eof);
	assert_int_equal(http_server_connection_count(server), 3);
	assert_false(newer->eof);

	/* One that waits for room gets it when somebody becomes idle. */
	peer_send(newer, "GET /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n");
	peer_send(latest, "GET /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n");
	UNTIL(strstr(newer->in, "chunked") && strstr(latest->in, "chunked"));
	peer_close(older);
	older = connect_peer();
	peer_send(older, "GET /now HTTP/1.1\r\n" HOST "\r\n");
	turns(5);
	assert_int_equal(older->in_length, 0);
	http_respond(waiting, 200, NULL, "done", 4);
	UNTIL(strstr(older->in, "now") && busy->eof);
	assert_non_null(strstr(busy->in, "done"));
	assert_false(newer->eof || latest->eof);
	peer_close(busy);
	peer_close(older);
	peer_close(newer);
	peer_close(latest);
	stop();
}

static void correlation_id(void **state)
{
	struct peer *peer;
	char request[256];

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer, "GET /ok HTTP/1.1\r\n" HOST "X-Correlation-Id: aZ-09\r\n\r\n");
	UNTIL(strstr(peer->in, "ok"));
	assert_non_null(strstr(peer->in, "\r\nX-Correlation-Id: aZ-09\r\n"));
	peer_forget(peer);
	snprintf(request, sizeof(request),
		 "GET /ok HTTP/1.1\r\n" HOST "X-Correlation-Id: %065d\r\n\r\n", 1);
	peer_send(peer, request);
	UNTIL(strstr(peer->in, "\r\n\r\nok"));
	assert_null(strstr(peer->in, "000000000000000001\r\n"));
	assert_int_equal(strcspn(strstr(peer->in, "-Id: ") + 5, "\r"), 32);
	peer_forget(peer);
	peer_send(peer, "GET /ok HTTP/1.1\r\n" HOST "X-Correlation-Id: a b\r\n\r\n");
	UNTIL(strstr(peer->in, "\r\n\r\nok"));
	assert_null(strstr(peer->in, "a b"));
	peer_close(peer);
	stop();
}

static void accessors(void **state)
{
	const struct http_header *list;
	struct http_slice value;
	struct peer *peer;

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer, "POST /wait?a=b HTTP/1.1\r\n" HOST "Accept:  */* \r\nContent-Length: 0"
			"\r\n\r\n");
	UNTIL(waiting);
	assert_true(http_slice_is(http_method(waiting), "POST"));
	assert_true(http_slice_is(http_path(waiting), "/wait"));
	assert_true(http_slice_is(http_query(waiting), "a=b"));
	assert_int_equal(http_headers(waiting, &list), 3);
	assert_true(http_slice_is(list[1].name, "Accept"));
	assert_true(http_header_get(waiting, "accept", &value));
	assert_true(http_slice_is(value, "*/*"));
	assert_false(http_header_get(waiting, "accep", &value));
	assert_memory_equal(http_peer(waiting), "127.0.0.1:", 10);
	assert_false(http_response_started(waiting));
	http_respond_start(waiting, 200, NULL, -1);
	assert_true(http_response_started(waiting));
	http_respond_end(waiting);
	peer_close(peer);
	stop();
	assert_string_equal(http_status_phrase(503), "Service Unavailable");
	assert_string_equal(http_status_phrase(299), "Unknown");
}

/* A proxied head: what belongs to another connection or to the server is dropped. */
static void start_from(void **state)
{
#define HEADER(name, value) \
	{ \
		{ name, sizeof(name) - 1 }, \
		{ \
			value, sizeof(value) - 1 \
		} \
	}
	static const struct http_header list[] = {
		HEADER("Content-Type", "text/event-stream"),
		HEADER("Connection", "close, X-Hop"),
		HEADER("X-Hop", "1"),
		HEADER("content-length", "3"),
		HEADER("Date", "yesterday"),
		HEADER("Transfer-Encoding", "chunked"),
		HEADER("x-correlation-id", "worker"),
		HEADER("X-Kept", "2"),
	};
	struct peer *peer;

	(void)state;
	start();
	peer = connect_peer();
	peer_send(peer, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	http_respond_start_from(waiting, 200, list, PC_ARRAY_LEN(list), 3);
	http_write(waiting, "abc", 3);
	http_respond_end(waiting);
	UNTIL(strstr(peer->in, "abc"));
	normalize(peer);
	assert_string_equal(peer->in, OK_HEAD "Content-Type: text/event-stream\r\nX-Kept: 2\r\n"
					      "Content-Length: 3\r\n\r\nabc");
	peer_close(peer);
	stop();
}

static void unix_socket(void **state)
{
	char where[64] = "unix:/tmp/test_http.XXXXXX";
	struct pc_error err = PC_ERROR_INIT;
	char again[128];
	struct stat found;
	struct peer *peer;
	int fd;

	(void)state;
	fd = mkstemp(where + 5);
	assert_true(fd >= 0);
	close(fd);
	/* A file that is no socket is left alone. */
	assert_int_equal(http_listen_open(where, &fd, again, &err), PC_E_PORT_IN_USE);
	unlink(where + 5);
	start_at(where);
	assert_int_equal(stat(where + 5, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0660);
	pc_error_clear(&err);
	assert_int_equal(http_listen_open(where, &fd, again, &err), PC_E_PORT_IN_USE);
	peer = connect_peer();
	peer_send(peer, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(waiting);
	assert_string_equal(http_peer(waiting), "unix");
	http_respond(waiting, 200, NULL, "unix", 4);
	UNTIL(strstr(peer->in, "unix"));
	peer_close(peer);
	stop();
	/* What the dead one left behind is in nobody's way. */
	start_at(where);
	try("GET /now HTTP/1.1\r\n" HOST "\r\n", OK("3", "now"), false);
	stop();
	unlink(where + 5);
}

static void listen_errors(void **state)
{
	static const char *const wrong[] = {
		"",
		"127.0.0.1",
		"127.0.0.1:",
		":9200",
		"localhost:80",
		"::1:9200",
		"[::1]",
		"[127.0.0.1]:1",
		"1.2.3:80",
		"127.0.0.1:65536",
		"127.0.0.1:80x",
		"127.0.0.1:-1",
		"unix:",
	};
	char where[128], again[128], path[256] = "unix:/";
	struct pc_error err = PC_ERROR_INIT;
	int fd, other;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(wrong); i++) {
		pc_error_clear(&err);
		assert_int_equal(http_listen_open(wrong[i], &fd, where, &err),
				 PC_E_INVALID_ARGUMENT);
		assert_non_null(strstr(err.message, "is no address to listen on"));
	}
	memset(path + 6, 'p', 200);
	assert_int_equal(http_listen_open(path, &fd, where, NULL), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(http_listen_open("unix:/nonexistent/x", &fd, where, &err), PC_E_IO);
	assert_int_equal(http_listen_open("127.0.0.1:0", &fd, where, NULL), 0);
	pc_error_clear(&err);
	assert_int_equal(http_listen_open(where, &other, again, &err), PC_E_PORT_IN_USE);
	assert_int_equal(err.sys_errno, EADDRINUSE);
	close(fd);
}

/* ---- memory ---- */

/* The nth allocation fails, and all after it: the connection may close, nothing else happens. */
static void out_of_memory(void **state)
{
	bool answered = false;

	(void)state;
	for (unsigned n = 1; !answered; n++) {
		struct peer *peer;

		start();
		peer = connect_peer();
		fail_alloc_begin(n);
		peer_send(peer, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
				"GET /now HTTP/1.1\r\n" HOST "\r\n");
		UNTIL(peer->eof || strstr(peer->in, "now"));
		answered = strstr(peer->in, "now") != NULL;
		/* Whatever began has ended. */
		fail_alloc_end();
		peer_close(peer);
		stop();
		if (strstr(story, "head"))
			assert_non_null(strstr(story, "close"));
		assert_true(n < 100);
	}
	pc_allocator_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(whole_responses, setup),
		cmocka_unit_test_setup(responses_in_pieces, setup),
		cmocka_unit_test_setup(http_1_0, setup),
		cmocka_unit_test_setup(bodies, setup),
		cmocka_unit_test_setup(every_split, setup),
		cmocka_unit_test_setup(pipelining, setup),
		cmocka_unit_test_setup(expect_continue, setup),
		cmocka_unit_test_setup(refusals, setup),
		cmocka_unit_test_setup(head_limit, setup),
		cmocka_unit_test_setup(body_limit, setup),
		cmocka_unit_test_setup(long_body_dropped, setup),
		cmocka_unit_test_setup(timeouts, setup),
		cmocka_unit_test_setup(slow_head, setup),
		cmocka_unit_test_setup(client_leaves, setup),
		cmocka_unit_test_setup(backpressure, setup),
		cmocka_unit_test_setup(reentrancy, setup),
		cmocka_unit_test_setup(answers_after_the_end, setup),
		cmocka_unit_test_setup(drain, setup),
		cmocka_unit_test_setup(connection_limit, setup),
		cmocka_unit_test_setup(the_idle_give_way, setup),
		cmocka_unit_test_setup(correlation_id, setup),
		cmocka_unit_test_setup(accessors, setup),
		cmocka_unit_test_setup(start_from, setup),
		cmocka_unit_test_setup(unix_socket, setup),
		cmocka_unit_test_setup(listen_errors, setup),
		cmocka_unit_test_setup(out_of_memory, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
