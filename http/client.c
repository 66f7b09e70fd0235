/* SPDX-License-Identifier: MIT */
/*
 * client.c - calls to workers on this machine: TCP on loopback or Unix sockets, with kept-alive
 * connections (see upstream.c). No redirects, no proxies, no names to resolve. One loop's thread.
 *
 * A call owns its request's head, which may have to be sent twice, and borrows the body from its
 * caller.
 */
#include "http/client.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "http/request.h"

const char *http__target_text(const struct http_target *target, char out[128])
{
	if (target->socket[0])
		snprintf(out, 128, "unix:%.107s", target->socket);
	else
		snprintf(out, 128, "127.0.0.1:%u", target->port);
	return out;
}

/* ---- clocks ---- */

static void timer_fired(uv_timer_t *timer);

void http__client_timer_arm(struct http_client *client, uint64_t at_ms)
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
	http__client_timer_arm(call->client, call->deadline_ms);
}

static void timer_fired(uv_timer_t *timer)
{
	struct http_client *client = timer->data;
	uint64_t now = uv_now(client->shared.loop);
	struct http__upstream *oldest;

	client->timer_ms = 0;
	while (!http__link_alone(&client->timeouts)) {
		struct http_call *call = http__container(client->timeouts.next, struct http_call,
							 timeout);
		struct pc_error err = PC_ERROR_INIT;
		char name[128];

		if (call->deadline_ms > now) {
			http__client_timer_arm(client, call->deadline_ms);
			break;
		}
		pc_error_set(&err, PC_E_TIMEOUT, "the worker at %s did not answer within %llu ms",
			     http__target_text(&call->target, name),
			     (unsigned long long)call->timeout_ms);
		http__call_fail(call, &err);
	}
	while ((oldest = http__upstream_oldest(client))) {
		if (oldest->pooled.until_ms > now) {
			http__client_timer_arm(client, oldest->pooled.until_ms);
			break;
		}
		http__upstream_close(oldest);
	}
}

/* ---- requests ---- */

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
	http__request_write(&client->text, request);
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

	code = http__call_place(call, err);
	if (code) {
		pc_free(call);
		return code;
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
	struct http__upstream *connection = call->connection;

	if (call->over)
		return;
	http__call_detach(call);
	http__upstream_close(connection);
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
	http__pool_init(&client->pool, max_idle, idle_ms);
	http__link_init(&client->timeouts);
	uv_timer_init(loop, &client->timer);
	client->timer.data = client;
	/* Calls keep the loop alive by their connections; idle ones may not outlive their use. */
	uv_unref((uv_handle_t *)&client->timer);
	client->handles = 1;
	*ret_client = client;
	return 0;
}

static void client_free(struct http_client *client)
{
	http__stream_shared_fini(&client->shared);
	pc_free(client->text.data);
	pc_free(client);
}

void http__client_handle_closed(struct http_client *client)
{
	void (*done)(void *ctx) = client->done;
	void *done_ctx = client->done_ctx;

	if (--client->handles)
		return;
	client_free(client);
	if (done)
		done(done_ctx);
}

static void timer_closed(uv_handle_t *handle)
{
	http__client_handle_closed(handle->data);
}

void http_client_forget(struct http_client *client, const struct http_target *target)
{
	struct http__upstream *connection;

	while ((connection = http__upstream_idle(client, target)))
		http__upstream_close(connection);
}

void http_client_close(struct http_client *client, void (*done)(void *ctx), void *ctx)
{
	struct http__upstream *oldest;

	assert(client->call_count == 0);
	if (client->closing)
		return;
	client->closing = true;
	client->done = done;
	client->done_ctx = ctx;
	while ((oldest = http__upstream_oldest(client)))
		http__upstream_close(oldest);
	uv_close((uv_handle_t *)&client->timer, timer_closed);
}
