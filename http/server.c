/* SPDX-License-Identifier: MIT */
/*
 * server.c - a server: its listening sockets, how many connections it accepts, the clocks that run
 * for them, and its end. What happens on a connection is in connection.c. One loop's thread.
 *
 * Accepting is done with accept4 and uv_poll instead of uv_listen, because several loops serve one
 * socket and a full one must leave its connections to the others and to the kernel's backlog;
 * libuv would take one more and keep it waiting.
 *
 * Where there is no room left, the connection that has been without a request for longest gives way
 * to the new one, as in nginx: clients that keep what they do not use would else lock out
 * everybody, the operator too, for as long as they like. A client has to expect that of a
 * kept-alive connection (RFC 9112 9.5). Loops do not know of each other: one may close an idle
 * connection although another loop has room. Only when every connection has a request are new ones
 * left in the backlog.
 */
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections accepted per wake-up, so that other loops get their share. A guess. */
#define ACCEPT_BATCH 16
#define SPARE_MAX 64
/* How long to wait when the process has no descriptor left. A guess; change freely. */
#define ACCEPT_RETRY_MS 250
/* How long a client may go on sending after its request was refused; nginx's lingering_timeout. */
#define LINGER_MS 5000

void http_limits_init(struct http_limits *limits)
{
	*limits = (struct http_limits){
		.max_head_bytes = 64 << 10,
		.max_body_bytes = 32 << 20,
		.max_connections = 4096,
		.idle_timeout_ms = 75000,
		.receive_timeout_ms = 30000,
		.send_timeout_ms = 30000,
		.high_water_bytes = 256 << 10,
	};
}

/* ---- deadlines ---- */

static void timer_fired(uv_timer_t *timer);
static void accepting_update(struct http_server *server);

static void timer_arm(struct http_server *server, uint64_t at_ms)
{
	uint64_t now = uv_now(server->loop);

	if (server->closing || (server->timer_ms && server->timer_ms <= at_ms))
		return;
	server->timer_ms = at_ms;
	uv_timer_start(&server->timer, timer_fired, at_ms > now ? at_ms - now : 0, 0);
}

void http__server_deadline(struct http__connection *connection, enum http__deadline kind, bool anew)
{
	struct http_server *server = connection->server;

	if (kind == connection->deadline_kind && (!anew || kind == DEADLINE_NONE))
		return;
	http__link_remove(&connection->deadline);
	connection->deadline_kind = kind;
	if (kind == DEADLINE_NONE || server->durations_ms[kind] == 0)
		return;
	connection->deadline_ms = uv_now(server->loop) + server->durations_ms[kind];
	connection->deadline_sent = http__stream_sent(&connection->stream);
	http__link_append(&server->deadlines[kind], &connection->deadline);
	timer_arm(server, connection->deadline_ms);
	if (kind == DEADLINE_IDLE && !server->accepting)
		accepting_update(server); /* it may give way */
}

static struct http__connection *first_due(struct http_server *server, enum http__deadline kind)
{
	struct http__link *list = &server->deadlines[kind];

	return http__link_alone(list)
		       ? NULL
		       : http__container(list->next, struct http__connection, deadline);
}

/*
 * One timer for all clocks: it is not moved when a connection's clock starts anew, which happens
 * with every request, but finds out when it fires that the first deadline is later than it thought.
 */
static void timer_fired(uv_timer_t *timer)
{
	struct http_server *server = timer->data;
	uint64_t now = uv_now(server->loop);

	server->timer_ms = 0;
	for (int kind = DEADLINE_NONE + 1; kind < DEADLINE_COUNT; kind++) {
		struct http__connection *connection;

		while ((connection = first_due(server, kind)) && connection->deadline_ms <= now) {
			http__link_remove(&connection->deadline);
			connection->deadline_kind = DEADLINE_NONE;
			http__connection_deadline_passed(connection);
		}
		if (connection)
			timer_arm(server, connection->deadline_ms);
	}
	if (server->accept_retry_ms > now) {
		timer_arm(server, server->accept_retry_ms);
	} else if (server->accept_retry_ms) {
		server->accept_retry_ms = 0;
		uv_unref((uv_handle_t *)&server->timer);
	}
	accepting_update(server);
}

/* ---- accepting ---- */

/* Of one more than there may be, the one that has been idle for longest closes. It does so at once,
 * so that there is never more than one descriptor too many. */
static void give_way(struct http_server *server)
{
	struct http__connection *idle = first_due(server, DEADLINE_IDLE);

	if (!idle || server->connection_count <= server->limits.max_connections)
		return;
	http__connection_doom(idle);
	http__connection_settle(idle);
}

static void accept_ready(uv_poll_t *poll, int status, int events)
{
	struct http__listener *listener = poll->data;
	struct http_server *server = listener->server;

	(void)events;
	accepting_update(server); /* who was idle may have a request by now */
	for (int i = 0; status == 0 && i < ACCEPT_BATCH && server->accepting; i++) {
		struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
		socklen_t length = sizeof(peer);
		int fd = accept4(listener->fd, (struct sockaddr *)&peer, &length,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			http__connection_open(server, fd, listener->is_unix, &peer);
			give_way(server);
			accepting_update(server);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			/* Polling on would turn without end. */
			server->accept_retry_ms = uv_now(server->loop) + ACCEPT_RETRY_MS;
			uv_ref((uv_handle_t *)&server->timer);
			timer_arm(server, server->accept_retry_ms);
			accepting_update(server);
		} else if (errno == EAGAIN) {
			return;
		}
		/* Anything else is the fate of one connection; the next may be sound. */
	}
}

/* Whether there is room decides whether the listeners are polled. */
static void accepting_update(struct http_server *server)
{
	bool enabled = !server->draining && !server->closing && !server->accept_retry_ms &&
		       (server->connection_count < server->limits.max_connections ||
			first_due(server, DEADLINE_IDLE));

	if (enabled == server->accepting)
		return;
	server->accepting = enabled;
	for (struct http__link *at = server->listeners.next; at != &server->listeners;
	     at = at->next) {
		struct http__listener *listener = http__container(at, struct http__listener, link);

		if (enabled)
			uv_poll_start(&listener->poll, UV_READABLE, accept_ready);
		else
			uv_poll_stop(&listener->poll);
	}
}

static void server_free(struct http_server *server)
{
	http__stream_shared_fini(&server->shared);
	pc_free(server->text.data);
	pc_free(server);
}

static void handle_closed(uv_handle_t *handle, struct http_server *server)
{
	void (*done)(void *ctx) = server->done;
	void *done_ctx = server->done_ctx;

	(void)handle;
	if (--server->handles)
		return;
	server_free(server);
	if (done)
		done(done_ctx);
}

static void own_handle_closed(uv_handle_t *handle)
{
	handle_closed(handle, handle->data);
}

static void listener_closed(uv_handle_t *handle)
{
	struct http__listener *listener = handle->data;
	struct http_server *server = listener->server;

	close(listener->fd);
	pc_free(listener);
	handle_closed(handle, server);
}

static void listeners_close(struct http_server *server)
{
	accepting_update(server);
	while (!http__link_alone(&server->listeners)) {
		struct http__listener *listener = http__container(server->listeners.next,
								  struct http__listener, link);

		http__link_remove(&listener->link);
		uv_close((uv_handle_t *)&listener->poll, listener_closed);
	}
}

int http_server_listen(struct http_server *server, int fd, struct pc_error *err)
{
	struct http__listener *listener = pc_calloc(1, sizeof(*listener));
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t length = sizeof(address);
	int result;

	if (!listener)
		return pc_error_oom(err);
	listener->server = server;
	listener->poll.data = listener;
	listener->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (listener->fd < 0 || getsockname(listener->fd, (struct sockaddr *)&address, &length)) {
		pc_error_sys(err, PC_E_IO, errno, "cannot use descriptor %d as a listening socket",
			     fd);
		goto fail;
	}
	listener->is_unix = address.ss_family == AF_UNIX;
	result = uv_poll_init(server->loop, &listener->poll, listener->fd);
	if (result < 0) {
		pc_error_sys(err, PC_E_IO, -result, "cannot watch descriptor %d", fd);
		goto fail;
	}
	server->handles++;
	http__link_append(&server->listeners, &listener->link);
	if (server->accepting)
		uv_poll_start(&listener->poll, UV_READABLE, accept_ready);
	accepting_update(server);
	return 0;
fail:
	if (listener->fd >= 0)
		close(listener->fd);
	pc_free(listener);
	return PC_E_IO;
}

/* ---- settling ---- */

/*
 * Settles what the event handlers of this loop turn have touched. The batch is taken off first: who
 * is touched while it is settled waits for the next turn, which comes at once.
 */
static void settle_all(struct http_server *server)
{
	struct http__link batch;

	http__link_take_all(&batch, &server->unsettled);
	while (!http__link_alone(&batch)) {
		struct http__connection *connection = http__container(
			batch.next, struct http__connection, unsettled);

		http__link_remove(&connection->unsettled);
		http__connection_settle(connection);
	}
	if (http__link_alone(&server->unsettled))
		uv_idle_stop(&server->idle);
}

static void check_ran(uv_check_t *check)
{
	settle_all(check->data);
}

static void idle_ran(uv_idle_t *idle)
{
	settle_all(idle->data);
}

void http__server_wake(struct http_server *server)
{
	uv_idle_start(&server->idle, idle_ran);
}

/* ---- identifiers ---- */

void http__server_random_id(struct http_server *server, char out[65])
{
	static const char digits[] = "0123456789abcdef";

	if (server->random_left < 16) {
		if (getrandom(server->random, sizeof(server->random), GRND_NONBLOCK) !=
		    (ssize_t)sizeof(server->random))
			uv_random(NULL, NULL, server->random, sizeof(server->random), 0, NULL);
		server->random_left = sizeof(server->random);
	}
	for (size_t i = 0; i < 16; i++) {
		unsigned char byte = server->random[--server->random_left];

		out[2 * i] = digits[byte >> 4];
		out[2 * i + 1] = digits[byte & 15];
	}
	out[32] = '\0';
}

/* ---- the server ---- */

int http_server_create(uv_loop_t *loop, const struct http_handlers *handlers, void *ctx,
		       const struct http_limits *limits, struct http_server **ret_server,
		       struct pc_error *err)
{
	struct http_server *server = pc_calloc(1, sizeof(*server));

	if (!server)
		return pc_error_oom(err);
	if (http__stream_shared_init(&server->shared, loop, err)) {
		pc_free(server);
		return PC_E_OUT_OF_MEMORY;
	}
	server->loop = loop;
	server->handlers = *handlers;
	server->ctx = ctx;
	server->limits = *limits;
	server->durations_ms[DEADLINE_IDLE] = limits->idle_timeout_ms;
	server->durations_ms[DEADLINE_RECEIVE] = limits->receive_timeout_ms;
	server->durations_ms[DEADLINE_SEND] = limits->send_timeout_ms;
	server->durations_ms[DEADLINE_LINGER] = LINGER_MS;
	http__link_init(&server->listeners);
	http__link_init(&server->connections);
	http__link_init(&server->spare);
	http__link_init(&server->unsettled);
	for (int kind = 0; kind < DEADLINE_COUNT; kind++)
		http__link_init(&server->deadlines[kind]);
	uv_check_init(loop, &server->check);
	uv_idle_init(loop, &server->idle);
	uv_timer_init(loop, &server->timer);
	server->check.data = server->idle.data = server->timer.data = server;
	server->handles = 3;
	uv_check_start(&server->check, check_ran);
	/* Neither may keep a loop alive that has no connection left. */
	uv_unref((uv_handle_t *)&server->check);
	uv_unref((uv_handle_t *)&server->timer);
	*ret_server = server;
	return 0;
}

size_t http_server_connection_count(const struct http_server *server)
{
	return server->connection_count;
}

static void each_connection(struct http_server *server,
			    void (*visit)(struct http__connection *connection))
{
	struct http__link *at = server->connections.next;

	while (at != &server->connections) {
		struct http__link *next = at->next;

		visit(http__container(at, struct http__connection, all));
		at = next;
	}
}

static void tell_when_empty(struct http_server *server)
{
	void (*empty)(void *ctx) = server->empty;

	if (!empty || server->connection_count)
		return;
	server->empty = NULL;
	empty(server->empty_ctx);
}

void http_server_drain(struct http_server *server, void (*empty)(void *ctx), void *ctx)
{
	if (server->draining || server->closing)
		return;
	server->draining = true;
	server->empty = empty;
	server->empty_ctx = ctx;
	listeners_close(server);
	each_connection(server, http__connection_drain);
	tell_when_empty(server);
}

static void maybe_close_handles(struct http_server *server)
{
	/* The one who is told that the server is empty may close it from there, and is here before
	 * us. */
	if (!server->closing || server->connection_count ||
	    uv_is_closing((uv_handle_t *)&server->check))
		return;
	while (!http__link_alone(&server->spare)) {
		struct http__connection *connection = http__container(server->spare.next,
								      struct http__connection, all);

		http__link_remove(&connection->all);
		http__connection_free(connection);
	}
	uv_close((uv_handle_t *)&server->check, own_handle_closed);
	uv_close((uv_handle_t *)&server->idle, own_handle_closed);
	uv_close((uv_handle_t *)&server->timer, own_handle_closed);
}

void http__server_connection_closed(struct http__connection *connection)
{
	struct http_server *server = connection->server;

	http__link_remove(&connection->all);
	server->connection_count--;
	if (server->spare_count < SPARE_MAX && !server->closing) {
		http__link_prepend(&server->spare, &connection->all);
		server->spare_count++;
	} else {
		http__connection_free(connection);
	}
	accepting_update(server);
	tell_when_empty(server);
	maybe_close_handles(server);
}

void http_server_close(struct http_server *server, void (*done)(void *ctx), void *ctx)
{
	if (server->closing)
		return;
	server->closing = true;
	server->done = done;
	server->done_ctx = ctx;
	listeners_close(server);
	each_connection(server, http__connection_doom);
	maybe_close_handles(server);
}
