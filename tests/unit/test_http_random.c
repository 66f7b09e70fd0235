/* SPDX-License-Identifier: MIT */
/*
 * The server and the client of http/ on one loop, driven by chance: whenever either calls back,
 * and between events, some function of theirs is called that may be called then (respond, write,
 * abort, pause, close the server, start and abort other calls), while raw connections send good and
 * bad pieces and leave. What is asserted: each exchange closes once, each call ends once, nobody is
 * called back after the end, and all comes to rest. ASan watches the memory. HTTP_RANDOM_SEED=N
 * repeats one seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/http.h"

#include "http_peer.h"

#define SEEDS 150
#define STEPS 250
#define MANY 24

static uint64_t chance_state;

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint32_t chance(uint32_t below)
{
	uint64_t z = (chance_state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

struct served {
	struct http_exchange *exchange; /* NULL: the place is free */
	bool started;
	bool ended;
	int64_t left; /* of a response of known length; -1: unknown */
};

struct called {
	struct http_call *call;
	bool used;
};

static struct http_server *server;
static struct http_client *client;
static struct http_target target;
static struct served served[MANY];
static struct called calls[MANY];
static struct peer *peers[MANY];
static bool server_gone, client_gone;
static unsigned depth; /* of callbacks: chance calls from inside them, but not for ever */
static uint64_t closes, ends;

static char noise[70000];

static void closed(void *ctx)
{
	*(bool *)ctx = true;
}

/* ---- what may be done to an exchange ---- */

static void answer_somehow(struct served *one)
{
	static const int statuses[] = { 200, 204, 304, 404, 503 };
	static const struct http_field fields[] = { { "X-A", "b\r\nc: d" }, { NULL, NULL } };
	size_t length = chance(8) ? chance(300) : chance(sizeof(noise));

	if (one->ended)
		return;
	if (chance(12) == 0) {
		http_abort(one->exchange);
		return;
	}
	if (!one->started) {
		if (chance(2)) {
			one->ended = true;
			http_respond(one->exchange, statuses[chance(5)], fields, noise, length);
			return;
		}
		one->started = true;
		one->left = chance(2) ? -1 : (int64_t)length;
		http_respond_start(one->exchange, 200, fields, one->left);
		return;
	}
	if (one->left >= 0 && (int64_t)length > one->left)
		length = (size_t)one->left;
	if (one->left > 0)
		one->left -= (int64_t)length;
	http_write(one->exchange, noise, length);
	if (one->left <= 0 && chance(3) == 0) {
		one->ended = true;
		http_respond_end(one->exchange);
	}
}

static struct served *served_by(const struct http_exchange *exchange)
{
	for (size_t i = 0; i < MANY; i++) {
		if (served[i].exchange == exchange)
			return &served[i];
	}
	return NULL;
}

/* ---- what may be done at any time ---- */

static const struct http_call_handlers call_handlers;

static void start_call(void)
{
	static const char *const methods[] = { "GET", "POST", "HEAD", "PUT" };
	struct called *one = &calls[chance(MANY)];
	struct http_call_request request = {
		.target = &target,
		.method = methods[chance(4)],
		.path = { "/x", 2 },
		.body = noise,
		.body_length = chance(3) ? chance(200) : chance(sizeof(noise)),
		.timeout_ms = chance(4) ? 0 : 1 + chance(5),
	};

	if (one->used || !client)
		return;
	one->used = true;
	if (http_call_start(client, &request, &call_handlers, one, &one->call, NULL))
		one->used = false;
}

static void forget_call(struct called *one)
{
	one->used = false;
	one->call = NULL;
}

static void touch_call(struct called *one)
{
	if (!one->used || !one->call)
		return;
	switch (chance(6)) {
	case 0:
		http_call_abort(one->call);
		forget_call(one);
		break;
	case 1:
		http_call_pause(one->call);
		break;
	default:
		http_call_resume(one->call);
	}
}

static void touch_anything(void)
{
	struct served *one = &served[chance(MANY)];

	if (depth > 3)
		return;
	depth++;
	switch (chance(10)) {
	case 0:
	case 1:
		start_call();
		break;
	case 2:
	case 3:
		touch_call(&calls[chance(MANY)]);
		break;
	case 4:
		if (client && chance(4) == 0)
			http_client_forget(client, &target);
		break;
	case 5:
		if (server && chance(150) == 0)
			http_server_close(pc_steal(&server), closed, &server_gone);
		break;
	case 6:
		if (server && chance(150) == 0)
			http_server_drain(server, NULL, NULL);
		break;
	default:
		if (one->exchange)
			answer_somehow(one);
	}
	depth--;
}

/* ---- callbacks of the server ---- */

static void on_head(void *ctx, struct http_exchange *exchange)
{
	struct served *one = served_by(NULL);

	(void)ctx;
	if (!one) {
		http_respond(exchange, 503, NULL, "", 0);
		return;
	}
	*one = (struct served){ .exchange = exchange };
	http_set_user(exchange, one);
	touch_anything();
	if (one->exchange == exchange && chance(4) == 0)
		answer_somehow(one);
}

static void on_progress(struct http_exchange *exchange)
{
	struct served *one = http_user(exchange);

	if (!one)
		return;
	assert_ptr_equal(one->exchange, exchange);
	assert_false(one->ended);
	touch_anything();
	if (one->exchange == exchange && chance(2))
		answer_somehow(one);
}

static void on_request_body(void *ctx, struct http_exchange *exchange, const char *data,
			    size_t length)
{
	(void)ctx;
	assert_true(length > 0 && data);
	on_progress(exchange);
}

static void on_request_end(void *ctx, struct http_exchange *exchange)
{
	(void)ctx;
	on_progress(exchange);
}

static void on_close(void *ctx, struct http_exchange *exchange, bool complete)
{
	struct served *one = http_user(exchange);

	(void)ctx;
	closes++;
	if (one) {
		assert_ptr_equal(one->exchange, exchange);
		assert_true(!complete || one->ended);
		one->exchange = NULL;
	}
	touch_anything();
}

static const struct http_handlers handlers = {
	.on_head = on_head,
	.on_body = on_request_body,
	.on_end = on_request_end,
	.on_drained = on_request_end,
	.on_close = on_close,
};

/* ---- callbacks of the client ---- */

static void check_call(struct called *one, struct http_call *call)
{
	assert_true(one->used);
	assert_ptr_equal(one->call, call);
}

static void on_answer_head(void *ctx, struct http_call *call, int status,
			   const struct http_header *headers, size_t count)
{
	check_call(ctx, call);
	assert_true(status >= 200 && count <= HTTP_HEADERS_MAX && headers);
	touch_anything();
	touch_call(ctx);
}

static void on_answer_body(void *ctx, struct http_call *call, const char *data, size_t length)
{
	check_call(ctx, call);
	assert_true(data && length > 0);
	touch_anything();
	touch_call(ctx);
}

static void on_answer_end(void *ctx, struct http_call *call)
{
	check_call(ctx, call);
	ends++;
	/* While the last callback runs, the call may still be named. */
	if (chance(2))
		http_call_abort(call);
	forget_call(ctx);
	touch_anything();
}

static void on_answer_error(void *ctx, struct http_call *call, enum http_stage stage,
			    const struct pc_error *err)
{
	assert_true(stage <= HTTP_STAGE_RESPONSE);
	assert_true(err->code < 0 && err->message[0]);
	on_answer_end(ctx, call);
}

static const struct http_call_handlers call_handlers = {
	.on_head = on_answer_head,
	.on_body = on_answer_body,
	.on_end = on_answer_end,
	.on_error = on_answer_error,
};

/* ---- raw connections ---- */

static void touch_peer(void)
{
	static const char *const pieces[] = {
		"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n",
		"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"0\r\n\r\n",
		"HEAD /d HTTP/1.1\r\nHost: x\r\n",
		"Expect: 100-continue\r\n",
		"\r\n",
		"Connection: close\r\n\r\n",
		"\n",
		"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
		"xyz",
	};
	struct peer **place = &peers[chance(MANY)];
	struct sockaddr_in ip = { .sin_family = AF_INET, .sin_port = htons(target.port) };

	if (!*place) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (connect(fd, (struct sockaddr *)&ip, sizeof(ip)))
			close(fd);
		else
			*place = peer_adopt(fd);
		return;
	}
	switch (chance(8)) {
	case 0:
		peer_close(pc_steal(place));
		break;
	case 1:
		shutdown((*place)->fd, SHUT_WR);
		break;
	case 2:
		peer_read(*place, false);
		break;
	case 3:
		if (!(*place)->eof)
			peer_read(*place, true);
		peer_forget(*place);
		break;
	case 4:
		/* As much as the socket takes; the server need not read it. */
		send((*place)->fd, noise, chance(sizeof(noise)), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	default:
		for (const char *piece = pieces[chance(PC_ARRAY_LEN(pieces))]; piece;) {
			send((*place)->fd, piece, strlen(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
			piece = chance(2) ? pieces[chance(PC_ARRAY_LEN(pieces))] : NULL;
		}
	}
}

/* ---- one seed ---- */

static void begin(uint64_t seed)
{
	struct http_limits limits;
	char address[128];
	int fd;

	chance_state = seed;
	memset(served, 0, sizeof(served));
	memset(calls, 0, sizeof(calls));
	memset(peers, 0, sizeof(peers));
	server_gone = client_gone = false;
	http_limits_init(&limits);
	limits.max_body_bytes = 500000;
	limits.max_head_bytes = 4096;
	limits.max_connections = 4 + chance(60);
	limits.high_water_bytes = 1 + chance(40000);
	limits.idle_timeout_ms = 1 + chance(20);
	limits.receive_timeout_ms = 1 + chance(20);
	limits.send_timeout_ms = 1 + chance(20);
	uv_loop_init(&loop);
	assert_int_equal(http_listen_open("127.0.0.1:0", &fd, address, NULL), 0);
	target = (struct http_target){ .port = (uint16_t)atoi(strchr(address, ':') + 1) };
	assert_int_equal(http_server_create(&loop, &handlers, NULL, &limits, &server, NULL), 0);
	assert_int_equal(http_server_listen(server, fd, NULL), 0);
	close(fd);
	assert_int_equal(http_client_create(&loop, chance(6), 1 + chance(20), &client, NULL), 0);
}

static void finish(void)
{
	if (server)
		http_server_close(pc_steal(&server), closed, &server_gone);
	for (size_t i = 0; i < MANY; i++) {
		if (calls[i].used) {
			http_call_abort(calls[i].call);
			forget_call(&calls[i]);
		}
		if (peers[i])
			peer_close(pc_steal(&peers[i]));
	}
	/* Closing exchanges must not start calls any more. */
	http_client_close(pc_steal(&client), closed, &client_gone);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(server_gone && client_gone);
	for (size_t i = 0; i < MANY; i++)
		assert_null(served[i].exchange);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void run_seed(uint64_t seed)
{
	begin(seed);
	for (unsigned step = 0; step < STEPS; step++) {
		if (chance(2))
			touch_peer();
		touch_anything();
		if (chance(2))
			uv_run(&loop, UV_RUN_NOWAIT);
	}
	finish();
}

static void whatever_happens_it_ends(void **state)
{
	const char *only = getenv("HTTP_RANDOM_SEED");

	(void)state;
	memset(noise, 'n', sizeof(noise));
	for (uint64_t seed = 1; !only && seed <= SEEDS; seed++)
		run_seed(seed);
	if (only)
		run_seed(strtoull(only, NULL, 10));
	/* It has not all been refused at the door. */
	print_message("%llu exchanges, %llu calls\n", (unsigned long long)closes,
		      (unsigned long long)ends);
	assert_true(only || (closes > SEEDS * 10 && ends > SEEDS * 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_happens_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
