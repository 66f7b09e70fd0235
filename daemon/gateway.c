/* SPDX-License-Identifier: MIT */
/*
 * gateway.c - an OpenAI request through the daemon. Runs on the request's loop.
 *
 *	body complete --> find the model --> submit --> waiting ----> rejected: error
 *	                                        ^          |
 *	                             lost, once |          v granted
 *	                                        +----- forwarding --> streaming --> end: release
 *
 * A slot is leased only when the whole body is here, so that a slow upload never holds one. The
 * worker's answer is passed on piece by piece; when the client reads slower than the worker writes,
 * the worker is read no further (on_drained).
 *
 * When a worker is lost: before any byte of an answer has come, the request goes back to the queue,
 * once, and again whenever it is certain that nothing reached the worker. After that the client has
 * seen part of an answer: an event stream ends with an error event, any other body is broken off so
 * that the client can tell.
 *
 * A client that leaves ends its request wherever it is: gateway_closed.
 */
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/log.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/loop.h"
#include "daemon/request.h"
#include "daemon/routes.h"
#include "http/api_error.h"

/* A request that meets only workers that are gone gives up after this many leases. */
#define ATTEMPTS_MAX 5

static void fail(struct request *request, const struct pc_error *err)
{
	pc_log(PC_LOG_WARN, "gateway",
	       PC_FIELDS({ "model", request->model ? request->model->entry->id : "" },
			 { "path", request->route->pattern }, { "code", pc_error_name(err->code) },
			 { "correlation_id", http_correlation_id(request->exchange) }),
	       "request failed: %s", err->message);
	api_respond_error(request->exchange, err);
}

/* ---- the answer ---- */

static bool has_header(const struct http_header *headers, size_t count, const char *name,
		       const char *value_prefix)
{
	size_t length = strlen(value_prefix);

	for (size_t i = 0; i < count; i++) {
		struct http_slice value = headers[i].value;

		if (!http_slice_is_nocase(headers[i].name, name) || value.length < length)
			continue;
		value.length = length;
		return http_slice_is_nocase(value, value_prefix);
	}
	return false;
}

/* Whether an event of ours can follow what the worker has sent: in an event stream of open length
 * that is not compressed. */
static bool takes_events(const struct http_header *headers, size_t count, int64_t content_length)
{
	return content_length < 0 &&
	       has_header(headers, count, "content-type", "text/event-stream") &&
	       !has_header(headers, count, "content-encoding", "");
}

static int64_t content_length_of(const struct http_header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t length = 0;

		if (!http_slice_is_nocase(headers[i].name, "content-length"))
			continue;
		/* The client has parsed it before us: digits only, and it fits. */
		for (size_t d = 0; d < headers[i].value.length; d++)
			length = length * 10 + (headers[i].value.data[d] - '0');
		return length;
	}
	return -1;
}

static void on_call_head(void *ctx, struct http_call *call, int status,
			 const struct http_header *headers, size_t count)
{
	struct request *request = ctx;
	int64_t length = content_length_of(headers, count);

	(void)call;

	request->takes_events = takes_events(headers, count, length);
	http_respond_start_from(request->exchange, status, headers, count, length);
}

static void on_call_body(void *ctx, struct http_call *call, const char *data, size_t length)
{
	struct request *request = ctx;

	if (length > 0) {
		request->last_bytes[0] = length > 1 ? data[length - 2] : request->last_bytes[1];
		request->last_bytes[1] = data[length - 1];
	}
	if (!http_write(request->exchange, data, length))
		http_call_pause(call);
}

static void end_lease(struct request *request, enum pc_outcome outcome)
{
	request->call = NULL;
	body_release(request->daemon, &request->lease, outcome);
}

static void on_call_end(void *ctx, struct http_call *call)
{
	struct request *request = ctx;
	struct loop *loop = request->loop;

	(void)call;
	end_lease(request, PC_OUTCOME_OK);
	http_respond_end(request->exchange); /* the request may be gone after this */
	loop_deliver(loop);
}

/* ---- when a worker is lost ---- */

/* A last event in OpenAI's form, so that a client that only sees events learns of it too. */
static void end_stream_with_error(struct request *request, const struct pc_error *err)
{
	char body[API_ERROR_BODY_MAX];
	size_t length = api_error_body(err, http_correlation_id(request->exchange), NULL, body,
				       sizeof(body));

	/* The stream may have broken off inside an event; a blank line ends that one. */
	if (memcmp(request->last_bytes, "\n\n", 2) != 0)
		http_write(request->exchange, "\n\n", 2);
	http_write(request->exchange, "data: ", 6);
	http_write(request->exchange, body, length);
	http_write(request->exchange, "\n\n", 2);
	http_respond_end(request->exchange);
}

static void submit(struct request *request)
{
	request->attempts++;
	request->queued = true;
	body_submit(request->daemon, &request->lease, request->model);
}

static bool may_retry(struct request *request, enum http_stage stage)
{
	if (stage == HTTP_STAGE_RESPONSE || request->attempts >= ATTEMPTS_MAX)
		return false;
	if (stage == HTTP_STAGE_CONNECT)
		return true;
	if (request->retried)
		return false;
	request->retried = true;
	return true;
}

/* Nobody listens where a ready worker should: it is broken, whatever its process does. */
static bool nobody_listens(enum http_stage stage, const struct pc_error *err)
{
	return stage == HTTP_STAGE_CONNECT &&
	       (err->sys_errno == ECONNREFUSED || err->sys_errno == ENOENT);
}

/* We have not even tried, for want of a descriptor or memory: that is not the worker's fault, and
 * trying again at once would fail again. */
static bool could_not_try(enum http_stage stage, const struct pc_error *err)
{
	return stage == HTTP_STAGE_CONNECT &&
	       (err->sys_errno == EMFILE || err->sys_errno == ENFILE || err->sys_errno == ENOBUFS ||
		err->sys_errno == ENOMEM);
}

static void on_call_error(void *ctx, struct http_call *call, enum http_stage stage,
			  const struct pc_error *err)
{
	struct request *request = ctx;
	struct loop *loop = request->loop;
	struct pc_error cause = PC_ERROR_INIT;
	char worker[PC_WORKER_ID_MAX];

	(void)call;
	if (could_not_try(stage, err)) {
		end_lease(request, PC_OUTCOME_ERROR);
		fail(request, err);
		loop_deliver(loop);
		return;
	}
	/* By its name one can ask how it ended and what it said last: GET /v2/workers/{id}. */
	body_worker_name(request->daemon, request->lease.worker_id, worker);
	pc_error_set(&cause, PC_E_WORKER_FAILED, "worker %s of '%s' broke off: %s", worker,
		     request->model->entry->id, err->message);
	pc_error_detail(&cause, "worker_id", "%s", worker);
	cause.sys_errno = err->sys_errno;
	body_worker_lost(request->daemon, &request->lease, nobody_listens(stage, err), &cause);
	end_lease(request, PC_OUTCOME_LOST);

	if (!http_response_started(request->exchange) && may_retry(request, stage)) {
		pc_log(PC_LOG_WARN, "gateway",
		       PC_FIELDS({ "model", request->model->entry->id },
				 { "correlation_id", http_correlation_id(request->exchange) }),
		       "%s; queueing the request again", cause.message);
		submit(request);
	} else if (!http_response_started(request->exchange)) {
		fail(request, &cause);
	} else {
		pc_log_error(PC_LOG_WARN, "gateway", &cause);
		if (request->takes_events)
			end_stream_with_error(request, &cause);
		else
			http_abort(request->exchange);
	}
	loop_deliver(loop);
}

static const struct http_call_handlers call_handlers = {
	.on_head = on_call_head,
	.on_body = on_call_body,
	.on_end = on_call_end,
	.on_error = on_call_error,
};

/* ---- forwarding ---- */

/* The pool's own credentials and ids are not the worker's business. */
static bool stays_here(const struct daemon *daemon, struct http_slice name)
{
	if (http_slice_is_nocase(name, "x-correlation-id"))
		return true;
	return daemon->token && (http_slice_is_nocase(name, "authorization") ||
				 http_slice_is_nocase(name, "x-api-key"));
}

static struct http_slice path_and_query(const struct http_exchange *exchange)
{
	struct http_slice path = http_path(exchange), query = http_query(exchange);

	/* They stand side by side in the received head, with the '?' between them. */
	if (query.length > 0)
		path.length = (size_t)(query.data + query.length - path.data);
	return path;
}

static int forward(struct request *request, struct pc_error *err)
{
	struct http_header passed[HTTP_HEADERS_MAX];
	const struct http_header *headers;
	size_t count = http_headers(request->exchange, &headers), passed_count = 0;

	for (size_t i = 0; i < count; i++) {
		if (!stays_here(request->daemon, headers[i].name))
			passed[passed_count++] = headers[i];
	}

	const struct http_field fields[] = {
		{ "X-Correlation-Id", http_correlation_id(request->exchange) },
		{ NULL, NULL },
	};
	const struct http_call_request call = {
		.target = &request->lease.target,
		.method = "POST",
		.path = path_and_query(request->exchange),
		.headers = passed,
		.header_count = passed_count,
		.fields = fields,
		.body = request->body,
		.body_length = request->body_length,
	};

	return http_call_start(request->loop->client, &call, &call_handlers, request,
			       &request->call, err);
}

static void on_outcome(struct lease *lease)
{
	struct request *request = (struct request *)((char *)lease -
						     offsetof(struct request, lease));
	struct pc_error err;

	pc_error_clear(&err);
	request->queued = false;
	if (lease->state == LEASE_REJECTED) {
		lease->state = LEASE_NONE;
		fail(request, &lease->error);
		return;
	}
	if (forward(request, &err)) {
		end_lease(request, PC_OUTCOME_ERROR);
		fail(request, &err);
	}
}

/* ---- the request ---- */

static int find_model(struct request *request, struct pc_error *err)
{
	const struct json_scanner *scanner = &request->scanner;
	const struct pc_model_entry *entry;
	struct generation *generation;
	int rc;

	if (!scanner->has_model || !scanner->model_is_string) {
		pc_error_set(err, PC_E_INVALID_REQUEST,
			     scanner->has_model
				     ? "'model' must be a string; GET /v1/models lists the models"
				     : "the body has no 'model'; GET /v1/models lists the models");
		pc_error_detail(err, "param", "model");
		return PC_E_INVALID_REQUEST;
	}
	generation = body_generation(request->daemon);
	rc = pc_catalog_get(generation->catalog, scanner->model, &entry, err);
	if (rc) {
		pc_error_detail(err, "param", "model");
		generation_unref(generation);
		return rc;
	}
	/* The reference is the request's from now on: request_destroy gives it back. */
	request->model = generation_model(generation, entry);
	return 0;
}

void gateway_handle(struct request *request, const char *argument)
{
	struct pc_error err;
	struct loop *loop = request->loop;

	pc_error_clear(&err);
	(void)argument;
	if (find_model(request, &err)) {
		fail(request, &err);
		return;
	}
	request->lease.loop = loop;
	request->lease.on_outcome = on_outcome;
	/* Of the request, not of each attempt. */
	request->lease.ticket.deadline_ns = pc_time_add(
		pc_clock_now_ns(),
		request->model->generation->config->pool_request_timeout_secs * PC_NS_PER_SEC);
	submit(request);
	loop_deliver(loop);
}

void gateway_drained(struct request *request)
{
	if (request->call)
		http_call_resume(request->call);
}

void gateway_closed(struct request *request)
{
	struct loop *loop = request->loop;

	if (request->call) {
		http_call_abort(request->call);
		end_lease(request, PC_OUTCOME_CANCELLED);
	} else if (request->queued) { /* the lease's state is the body's until then */
		body_withdraw(request->daemon, &request->lease);
	} else {
		return;
	}
	pc_log(PC_LOG_INFO, "gateway",
	       PC_FIELDS({ "model", request->model->entry->id },
			 { "code", pc_error_name(PC_E_CANCELLED) },
			 { "correlation_id", http_correlation_id(request->exchange) }),
	       "the client left before its answer was complete");
	loop_deliver(loop);
}
