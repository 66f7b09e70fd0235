/* SPDX-License-Identifier: MIT */
/*
 * loop.c - an event loop's life: what it serves, what wakes it, how it ends.
 *
 * Loop 0 runs on the main thread and does what only one may do: it carries out the brain's orders
 * to workers and keeps the brain's clock (the tick). The others only serve HTTP. loop_deliver
 * stands in body_requests.c, beside what puts into and takes from the inbox.
 */
#include "daemon/loop.h"

#include <poolcore/clock.h>
#include <poolcore/config.h>
#include <poolcore/log.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/reload.h"
#include "daemon/request.h"
#include "daemon/routes.h"
#include "daemon/shutdown.h"
#include "daemon/supervisor.h"
#include "http/http.h"

/* Kept-alive connections to workers, per loop, and how long one may idle. Guesses; change freely.
 */
#define UPSTREAM_IDLE_MAX 256
#define UPSTREAM_IDLE_MS 30000

/* ---- the brain's clock, loop 0 ---- */

static void on_tick(uv_timer_t *timer);

static void arm_tick(struct loop *loop, uint64_t at_ns)
{
	uint64_t now = pc_clock_now_ns();

	if (at_ns == PC_TIME_NEVER) {
		uv_timer_stop(&loop->tick);
		return;
	}
	/* Rounded up: a tick before its time does nothing and would come again at once. libuv's
	 * idea of now may be old. */
	uv_update_time(&loop->uv);
	uv_timer_start(&loop->tick, on_tick,
		       at_ns > now ? (at_ns - now + PC_NS_PER_MS - 1) / PC_NS_PER_MS : 0, 0);
}

static void on_tick(uv_timer_t *timer)
{
	struct loop *loop = timer->data;

	arm_tick(loop, body_tick(loop->daemon));
	supervisor_run_orders(loop->daemon->supervisor);
	loop_deliver(loop);
	shutdown_step(loop->daemon->shutdown);
}

/* ---- the end ---- */

static void on_client_closed(void *ctx)
{
	struct loop *loop = ctx;

	loop->client = NULL;
}

/* The server is gone and with it every exchange, so that no upstream call is left. */
static void on_server_closed(void *ctx)
{
	struct loop *loop = ctx;

	loop->server = NULL;
	http_client_close(loop->client, on_client_closed, loop);
	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_close((uv_handle_t *)&loop->tick, NULL);
}

static void on_empty(void *ctx)
{
	struct loop *loop = ctx;

	body_loop_empty(loop->daemon, loop);
}

static void follow_wish(struct loop *loop)
{
	enum loop_wish wish = body_loop_wish(loop->daemon, loop);

	if (wish == loop->doing)
		return;
	loop->doing = wish;
	if (wish == LOOP_DRAIN)
		http_server_drain(loop->server, on_empty, loop);
	else if (wish == LOOP_CLOSE)
		http_server_close(loop->server, on_server_closed, loop);
}

/* ---- being woken ---- */

static void on_wake(uv_async_t *wake)
{
	struct loop *loop = wake->data;
	struct daemon *daemon = loop->daemon;

	if (loop->index == 0) {
		supervisor_run_orders(daemon->supervisor);
		arm_tick(loop, body_next_tick(daemon));
	}
	loop_deliver(loop);
	reload_deliver(daemon->reload, loop);
	if (loop->index == 0)
		shutdown_step(daemon->shutdown);
	follow_wish(loop);
}

/* ---- creation ---- */

static int init_server(struct loop *loop, const int *fds, size_t fd_count, struct pc_error *err)
{
	const struct pc_config *config = loop->daemon->generation->config;
	struct http_limits limits;
	int rc;

	http_limits_init(&limits);
	limits.max_body_bytes = config->http_max_body_bytes;
	limits.idle_timeout_ms = config->http_idle_timeout_secs * 1000;
	limits.max_connections = loop->daemon->max_connections / loop->daemon->loop_count;
	if (limits.max_connections == 0)
		limits.max_connections = 1;
	rc = http_server_create(&loop->uv, &route_handlers, loop, &limits, &loop->server, err);
	for (size_t i = 0; i < fd_count && !rc; i++)
		rc = http_server_listen(loop->server, fds[i], err);
	if (!rc)
		rc = http_client_create(&loop->uv, UPSTREAM_IDLE_MAX, UPSTREAM_IDLE_MS,
					&loop->client, err);
	return rc;
}

int loop_init(struct loop *loop, struct daemon *daemon, unsigned index, const int *fds,
	      size_t fd_count, struct pc_error *err)
{
	int rc = uv_loop_init(&loop->uv);

	loop->daemon = daemon;
	loop->index = index;
	if (!rc)
		rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
	if (!rc)
		rc = uv_timer_init(&loop->uv, &loop->tick);
	if (rc)
		return pc_error_sys(err, PC_E_IO, -rc, "cannot set up event loop %u", index);
	loop->wake.data = loop->tick.data = loop;
	/*
	 * With a loop's first stream libuv opens a descriptor that it keeps. Here, and not with the
	 * first connection that this loop happens to get: how many are open depends on nothing else
	 * then, and a leak of one can be seen.
	 */
	uv_tcp_init(&loop->uv, &loop->first);
	uv_close((uv_handle_t *)&loop->first, NULL);
	return init_server(loop, fds, fd_count, err);
}

static void loop_main(void *ctx)
{
	struct loop *loop = ctx;

	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

int loop_start(struct loop *loop, struct pc_error *err)
{
	int rc = uv_thread_create(&loop->thread, loop_main, loop);

	if (rc)
		return pc_error_sys(err, PC_E_OUT_OF_MEMORY, -rc,
				    "cannot start the thread of loop %u", loop->index);
	loop->thread_started = true;
	return 0;
}

void loop_fini(struct loop *loop)
{
	if (loop->thread_started)
		uv_thread_join(&loop->thread);
	else if (loop->index > 0)
		uv_run(&loop->uv, UV_RUN_DEFAULT); /* it was told to close and never ran */
	uv_loop_close(&loop->uv);
	request_free_spare(loop);
}
