/* SPDX-License-Identifier: MIT */
/*
 * routes.c - from an HTTP exchange to a job and back. Everything runs on the loop; what takes time
 * runs in worker.c.
 *
 * A POST becomes a `struct call`. Two hold it, the exchange until on_close and the job until
 * on_done, in whatever order they end; a client that leaves cancels its job. A stream's head is
 * sent with its first text, so that what is wrong with the prompt still gets its own status; what
 * fails later becomes the stream's last event.
 */
#include "routes.h"

#include <poolcore/log.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "http/api_error.h"
#include "openai_request.h"
#include "openai_response.h"

/* Rows of embeddings are written until this much is ready, then handed to the server. */
#define ROWS_STEP_BYTES (64u << 10)

struct call {
	struct job job; /* first: a job is its call */
	struct routes *routes;
	struct http_exchange *exchange; /* NULL once the client has gone */
	unsigned holders;
	enum openai_route route;
	struct buffer body;
	struct openai_request request;
	struct openai_reply reply;
	bool head_sent;
	bool rows_pending; /* embeddings: rows_sent of them are written */
	size_t rows_sent;
	struct buffer out;
};

static const struct http_field json_fields[] = {
	{ "Content-Type", "application/json" },
	{ NULL, NULL },
};

static const struct http_field event_fields[] = {
	{ "Content-Type", "text/event-stream; charset=utf-8" },
	{ "Cache-Control", "no-cache" },
	{ NULL, NULL },
};

/* ---- calls ---- */

static void call_release(struct call *call)
{
	if (--call->holders > 0)
		return;
	job_fini(&call->job);
	openai_request_fini(&call->request);
	buffer_fini(&call->body);
	buffer_fini(&call->out);
	pc_free(call);
}

static void respond_oom(struct http_exchange *exchange)
{
	struct pc_error err = PC_ERROR_INIT;

	pc_error_oom(&err);
	api_respond_error(exchange, &err);
}

/* Sends what is in `out` and empties it; false when the client should be waited for. */
static bool flush_out(struct call *call)
{
	bool more = true;

	if (call->out.length > 0 && call->exchange)
		more = http_write(call->exchange, call->out.data, call->out.length);
	buffer_clear(&call->out);
	return more;
}

/* ---- text ---- */

static void send_head_once(struct call *call)
{
	if (call->head_sent)
		return;
	call->head_sent = true;
	http_respond_start(call->exchange, 200, event_fields, -1);
	openai_write_begin(&call->out, &call->reply);
}

static void on_text(struct job *job, const char *text, size_t length)
{
	struct call *call = (struct call *)job;

	if (!call->exchange)
		return;
	send_head_once(call);
	openai_write_text(&call->out, &call->reply, text, length);
	if (call->out.failed) {
		worker_cancel(call->routes->worker, job, PC_E_OUT_OF_MEMORY);
		buffer_clear(&call->out);
	} else if (!flush_out(call) && call->exchange) {
		worker_pause(call->routes->worker, job);
	}
}

/* The stream has begun, so its status stands: the error becomes its last event, without [DONE]. */
static void end_stream_with_error(struct call *call)
{
	char body[API_ERROR_BODY_MAX];
	size_t length = api_error_body(&call->job.err, http_correlation_id(call->exchange), NULL,
				       body, sizeof(body));

	http_write(call->exchange, "data: ", 6);
	if (call->exchange)
		http_write(call->exchange, body, length);
	if (call->exchange)
		http_write(call->exchange, "\n\n", 2);
	if (call->exchange)
		http_respond_end(call->exchange);
}

static void finish_stream(struct call *call)
{
	if (call->job.err.code) {
		end_stream_with_error(call);
		return;
	}
	send_head_once(call);
	openai_write_finish(&call->out, &call->reply, &call->job.result);
	if (call->out.failed) {
		http_abort(call->exchange);
		return;
	}
	flush_out(call);
	if (call->exchange)
		http_respond_end(call->exchange);
}

static void finish_answer(struct call *call)
{
	openai_write_answer(&call->out, &call->reply,
			    call->job.answer.data ? call->job.answer.data : "",
			    call->job.answer.length, &call->job.result);
	if (call->out.failed)
		respond_oom(call->exchange);
	else
		http_respond(call->exchange, 200, json_fields, call->out.data, call->out.length);
}

/* ---- embeddings ---- */

/* Rows until the client has enough, the rest after on_drained: 2,048 of them can be 100 MB. */
static void write_rows(struct call *call)
{
	struct worker_figures figures;
	bool more = true;

	worker_figures(call->routes->worker, &figures);

	const uint32_t dim = figures.model.embedding_dim;

	call->holders++;
	while (more && call->exchange && call->rows_pending) {
		while (call->out.length < ROWS_STEP_BYTES &&
		       call->rows_sent < call->job.input_count) {
			openai_write_row(&call->out, call->rows_sent,
					 call->job.vectors + call->rows_sent * dim, dim,
					 call->request.base64);
			call->rows_sent++;
		}
		call->rows_pending = call->rows_sent < call->job.input_count;
		if (!call->rows_pending)
			openai_write_list_tail(&call->out, &call->reply, call->job.tokens);
		if (call->out.failed) {
			http_abort(call->exchange);
			break;
		}
		more = flush_out(call);
		if (!call->rows_pending && call->exchange)
			http_respond_end(call->exchange);
	}
	call_release(call);
}

static bool all_finite(const float *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!isfinite(values[i]))
			return false;
	}
	return true;
}

static void finish_embedding(struct call *call)
{
	struct worker_figures figures;

	worker_figures(call->routes->worker, &figures);
	if (!all_finite(call->job.vectors, call->job.input_count * figures.model.embedding_dim)) {
		pc_error_set(&call->job.err, PC_E_MODEL_ERROR,
			     "the model made a vector that is not finite");
		api_respond_error(call->exchange, &call->job.err);
		return;
	}
	http_respond_start(call->exchange, 200, json_fields, -1);
	openai_write_list_head(&call->out);
	call->rows_pending = true;
	write_rows(call);
}

/* ---- from body to job ---- */

static void log_failure(const struct call *call)
{
	const struct pc_error *err = &call->job.err;

	/* What the client did wrong is the client's to read. */
	if (err->code && pc_error_http_status(err->code) >= 500)
		pc_log_error(PC_LOG_WARN, "worker", err);
}

static void on_done(struct job *job)
{
	struct call *call = (struct call *)job;

	log_failure(call);
	if (!call->exchange) {
		/* The client has gone; nobody is left to tell. */
	} else if (job->err.code && !call->head_sent) {
		if (job->err.code == PC_E_CONTEXT_EXCEEDED) {
			/* OpenAI's own word for it, which its clients look for. */
			pc_error_detail(&job->err, "openai_code", "context_length_exceeded");
			pc_error_detail(&job->err, "param", "%s",
					call->route == OPENAI_CHAT	   ? "messages"
					: call->route == OPENAI_COMPLETION ? "prompt"
									   : "input");
		}
		api_respond_error(call->exchange, &job->err);
	} else if (job->inputs) {
		finish_embedding(call);
	} else if (job->streaming) {
		finish_stream(call);
	} else {
		finish_answer(call);
	}
	call_release(call);
}

static int check_capability(const struct call *call, struct pc_error *err)
{
	enum pc_capability needed = call->route == OPENAI_EMBEDDING ? PC_CAPABILITY_TEXT_EMBEDDING
								    : PC_CAPABILITY_TEXT_TO_TEXT;

	if (call->routes->capability == needed)
		return 0;
	return pc_error_set(err, PC_E_INVALID_REQUEST,
			    "the model '%s' is loaded for %s; this request needs %s",
			    call->routes->model_id, pc_capability_name(call->routes->capability),
			    pc_capability_name(needed));
}

static int check_dimensions(const struct call *call, struct pc_error *err)
{
	struct worker_figures figures;

	worker_figures(call->routes->worker, &figures);
	if (!call->request.dimensions || call->request.dimensions == figures.model.embedding_dim)
		return 0;
	pc_error_set(err, PC_E_INVALID_REQUEST,
		     "'dimensions' is %u, but this model's vectors have %u and are not shortened",
		     call->request.dimensions, figures.model.embedding_dim);
	pc_error_detail(err, "param", "dimensions");
	return err->code;
}

/* A request without a seed gets one that nobody can guess. */
static void choose_seed(struct openai_request *request)
{
	uint32_t seed;

	if (!request->has_seed && uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) == 0)
		request->text.seed = seed;
}

static int prepare(struct call *call, struct pc_error *err)
{
	struct job *job = &call->job;
	struct worker_figures figures;

	if (call->body.failed)
		return pc_error_oom(err);
	if (check_capability(call, err) != 0 ||
	    openai_request_decode(call->route, call->body.data ? call->body.data : "",
				  call->body.length, &call->request, err) != 0)
		return err->code;
	/* The tree holds what was said; the bytes are not needed while the job waits. */
	buffer_fini(&call->body);
	worker_figures(call->routes->worker, &figures);
	if (figures.state == WORKER_READY && check_dimensions(call, err) != 0)
		return err->code;
	openai_reply_init(&call->reply, &call->request, call->routes->model_id);
	choose_seed(&call->request);
	job->text = call->route == OPENAI_EMBEDDING ? NULL : &call->request.text;
	job->inputs = call->request.inputs;
	job->input_count = call->request.input_count;
	job->streaming = call->request.stream;
	job->on_text = on_text;
	job->on_done = on_done;
	return 0;
}

static void start_call(struct call *call)
{
	struct pc_error err = PC_ERROR_INIT;

	if (prepare(call, &err) != 0 ||
	    worker_submit(call->routes->worker, &call->job, &err) != 0) {
		api_respond_error(call->exchange, &err);
		return;
	}
	call->holders++;
}

/* ---- GET ---- */

static const char *health_status(const struct routes *routes, enum worker_state state)
{
	static const char *const names[] = {
		[WORKER_LOADING] = "loading",
		[WORKER_READY] = "ready",
		[WORKER_FAILED] = "failed",
		[WORKER_STOPPING] = "stopping",
	};

	return routes->draining ? "draining" : names[state];
}

static void get_health(struct routes *routes, struct http_exchange *exchange)
{
	struct worker_figures figures;
	struct buffer out = { .data = NULL };

	worker_figures(routes->worker, &figures);

	const char *status = health_status(routes, figures.state);

	buffer_printf(&out, "{\"status\":\"%s\",\"model\":", status);
	buffer_puts_json(&out, routes->model_id);
	buffer_printf(&out, ",\"capability\":\"%s\",\"progress\":%.3f",
		      pc_capability_name(routes->capability), (double)figures.progress);
	buffer_printf(&out, ",\"slots\":%u,\"busy\":%u,\"queued\":%u", figures.slots, figures.busy,
		      figures.queued);
	buffer_printf(&out, ",\"completed\":%llu,\"cancelled\":%llu,\"failed\":%llu",
		      (unsigned long long)figures.completed, (unsigned long long)figures.cancelled,
		      (unsigned long long)figures.failed);
	buffer_printf(&out, ",\"memory_bytes\":%llu,\"engine_memory_bytes\":%llu,\"load_ms\":%llu",
		      (unsigned long long)figures.memory_bytes,
		      (unsigned long long)figures.engine_memory_bytes,
		      (unsigned long long)figures.load_ms);
	buffer_printf(&out, ",\"context_tokens\":%u,\"embedding_dim\":%u,\"description\":",
		      figures.model.context_tokens, figures.model.embedding_dim);
	buffer_puts_json(&out, figures.model.text);
	buffer_puts(&out, "}");
	if (out.failed)
		respond_oom(exchange);
	else
		http_respond(exchange, strcmp(status, "ready") == 0 ? 200 : 503, json_fields,
			     out.data, out.length);
	buffer_fini(&out);
}

static void get_models(struct routes *routes, struct http_exchange *exchange)
{
	struct buffer out = { .data = NULL };

	buffer_puts(&out, "{\"object\":\"list\",\"data\":[{\"id\":");
	buffer_puts_json(&out, routes->model_id);
	buffer_printf(&out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"pool-core\"}]}",
		      (long long)routes->started);
	if (out.failed)
		respond_oom(exchange);
	else
		http_respond(exchange, 200, json_fields, out.data, out.length);
	buffer_fini(&out);
}

/* ---- the table of routes ---- */

struct route {
	const char *path;
	void (*get)(struct routes *routes, struct http_exchange *exchange);
	enum openai_route post; /* when get is NULL */
};

static const struct route table[] = {
	{ "/health", get_health, 0 },
	{ "/v1/models", get_models, 0 },
	{ "/v1/chat/completions", NULL, OPENAI_CHAT },
	{ "/v1/completions", NULL, OPENAI_COMPLETION },
	{ "/v1/embeddings", NULL, OPENAI_EMBEDDING },
};

static int refuse_path(struct http_slice path, struct pc_error *err)
{
	char known[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < PC_ARRAY_LEN(table) && length < sizeof(known); i++)
		length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s",
					   i ? ", " : "", table[i].path);
	return pc_error_set(err, PC_E_NOT_FOUND, "nothing is at '%.*s'; there is %s",
			    (int)(path.length < 128 ? path.length : 128), path.data, known);
}

static int refuse_method(const struct route *route, struct http_slice method, struct pc_error *err)
{
	const char *allow = route->get ? "GET, HEAD" : "POST";

	pc_error_set(err, PC_E_METHOD_NOT_ALLOWED, "%s takes %s, not %.*s", route->path, allow,
		     (int)(method.length < 32 ? method.length : 32), method.data);
	pc_error_detail(err, "allow", "%s", allow);
	return err->code;
}

static int find_route(struct http_exchange *exchange, const struct route **ret_route,
		      struct pc_error *err)
{
	struct http_slice path = http_path(exchange), method = http_method(exchange);

	for (size_t i = 0; i < PC_ARRAY_LEN(table); i++) {
		const struct route *route = &table[i];

		if (!http_slice_is(path, route->path))
			continue;
		*ret_route = route;
		if (route->get ? http_slice_is(method, "GET") || http_slice_is(method, "HEAD")
			       : http_slice_is(method, "POST"))
			return 0;
		return refuse_method(route, method, err);
	}
	return refuse_path(path, err);
}

static int begin_call(struct routes *routes, struct http_exchange *exchange,
		      const struct route *route, struct pc_error *err)
{
	struct call *call;

	if (routes->draining)
		return pc_error_set(err, PC_E_SHUTTING_DOWN, "this worker is stopping");
	call = pc_calloc(1, sizeof(*call));
	if (!call)
		return pc_error_oom(err);
	call->routes = routes;
	call->exchange = exchange;
	call->holders = 1;
	call->route = route->post;
	http_set_user(exchange, call);
	return 0;
}

static void on_head(void *ctx, struct http_exchange *exchange)
{
	struct routes *routes = ctx;
	struct pc_error err = PC_ERROR_INIT;
	const struct route *route = NULL;

	if (find_route(exchange, &route, &err) != 0)
		api_respond_error(exchange, &err);
	else if (route->get)
		route->get(routes, exchange);
	else if (begin_call(routes, exchange, route, &err) != 0)
		api_respond_error(exchange, &err);
}

/* The server bounds the length. */
static void on_body(void *ctx, struct http_exchange *exchange, const char *data, size_t length)
{
	struct call *call = http_user(exchange);

	(void)ctx;
	if (call)
		buffer_put(&call->body, data, length);
}

static void on_end(void *ctx, struct http_exchange *exchange)
{
	struct call *call = http_user(exchange);

	(void)ctx;
	if (call)
		start_call(call);
}

static void on_drained(void *ctx, struct http_exchange *exchange)
{
	struct call *call = http_user(exchange);

	(void)ctx;
	if (!call)
		return;
	if (call->rows_pending)
		write_rows(call);
	else if (call->job.worker)
		worker_resume(call->job.worker, &call->job);
}

static void on_close(void *ctx, struct http_exchange *exchange, bool complete)
{
	struct call *call = http_user(exchange);

	(void)ctx;
	(void)complete;
	if (!call)
		return;
	call->exchange = NULL;
	if (call->job.worker)
		worker_cancel(call->job.worker, &call->job, PC_E_CANCELLED);
	call_release(call);
}

const struct http_handlers routes_handlers = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_drained = on_drained,
	.on_close = on_close,
	.error_body = api_error_write,
};
