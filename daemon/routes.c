/* SPDX-License-Identifier: MIT */
/*
 * routes.c - from a request's head to its handler: the gate (Host, token), the table, collecting
 * the body. Runs on the loop that accepted the connection.
 */
#include "daemon/routes.h"

#include <poolcore/log.h>

#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/loop.h"
#include "daemon/request.h"
#include "http/api_error.h"

/* The first row that fits wins: "{}" at the end of a pattern also takes what is after a slash. */
/* clang-format off */
static const struct route table[] = {
	{ "GET",  "/",                          control_root,         ROUTE_OPEN, "this list" },
	{ "GET",  "/health",                    control_health,       ROUTE_OPEN, "whether the daemon serves" },
	{ "GET",  "/metrics",                   control_metrics,      0, "counters, in Prometheus' text format" },
	{ "GET",  "/v2/state",                  control_state,        0, "everything: devices, models, workers, counters" },
	{ "GET",  "/v2/gpus",                   control_gpus,         0, "the GPUs and why there are none" },
	{ "GET",  "/v2/models",                 control_models,       0, "the catalog with each model's state" },
	{ "GET",  "/v2/workers",                control_workers,      0, "the workers that exist" },
	{ "GET",  "/v2/workers/{}/logs",        control_worker_logs,  0, "its last lines; ?lines=N" },
	{ "GET",  "/v2/workers/{}",             control_worker,       0, "one worker, also a departed one" },
	{ "POST", "/v2/workers/start",          control_worker_start, ROUTE_BODY, "start a worker: {\"model\", \"port\"?}" },
	{ "POST", "/v2/workers/stop",           control_worker_stop,  ROUTE_BODY, "stop a worker: {\"worker_id\", \"force\"?}" },
	{ "POST", "/v2/internal/workers/ready", control_worker_ready, ROUTE_BODY | ROUTE_OPEN, "a worker reports that it is loaded" },
	{ "GET",  "/v1/models",                 control_v1_models,    0, "OpenAI: list models" },
	{ "GET",  "/v1/models/{}",              control_v1_model,     0, "OpenAI: retrieve a model" },
	{ "POST", "/v1/chat/completions",       gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "OpenAI: chat completion" },
	{ "POST", "/v1/completions",            gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "OpenAI: completion" },
	{ "POST", "/v1/embeddings",             gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "OpenAI: embeddings" },
	{ "POST", "/v1/responses",              gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "OpenAI: response" },
	{ "POST", "/v1/images/generations",     gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "OpenAI: image generation" },
	{ "POST", "/v1/audio/speech",           gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "OpenAI: speech" },
	{ "POST", "/v1/rerank",                 gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "rerank documents" },
	{ "POST", "/v1/messages",               gateway_handle, ROUTE_BODY | ROUTE_GATEWAY, "Anthropic: message" },
};
/* clang-format on */

const struct route *routes(size_t *ret_count)
{
	*ret_count = PC_ARRAY_LEN(table);
	return table;
}

struct request *request_of(struct http_exchange *exchange)
{
	return http_user(exchange);
}

/* ---- the gate ---- */

static bool host_is_local(struct http_slice host)
{
	static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };

	/* Cut the port off; an IPv6 literal has its colons inside brackets. */
	for (size_t i = host.length; i > 0; i--) {
		char c = host.data[i - 1];

		if (c == ':') {
			host.length = i - 1;
			break;
		}
		if (c < '0' || c > '9')
			break;
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++) {
		if (http_slice_is_nocase(host, names[i]))
			return true;
	}
	return false;
}

/*
 * A page in the user's browser can make a name of its own resolve to 127.0.0.1 and then talk to us
 * as its own origin (DNS rebinding). Its Host header still says the foreign name.
 */
static int check_host(struct daemon *daemon, struct http_exchange *exchange, struct pc_error *err)
{
	struct http_slice host;

	if (!daemon->loopback_only || strcmp(http_peer(exchange), "unix") == 0)
		return 0;
	if (!http_header_get(exchange, "host", &host) || host.length == 0 || host_is_local(host))
		return 0;
	pc_error_set(err, PC_E_WRONG_HOST,
		     "this server answers for localhost, 127.0.0.1 and [::1], not for '%.*s'",
		     (int)(host.length > 64 ? 64 : host.length), host.data);
	return PC_E_WRONG_HOST;
}

/* Looks at every byte of the expected token, whatever was presented. */
static bool token_matches(const char *expected, struct http_slice presented)
{
	size_t length = strlen(expected);
	unsigned char differs = presented.length != length;

	for (size_t i = 0; i < length; i++) {
		char c = i < presented.length ? presented.data[i] : '\0';

		differs |= (unsigned char)(expected[i] ^ c);
	}
	return !differs;
}

static int check_token(struct daemon *daemon, struct http_exchange *exchange, struct pc_error *err)
{
	static const char scheme[] = "Bearer ";
	struct http_slice value;

	if (!daemon->token)
		return 0;
	if (http_header_get(exchange, "authorization", &value) &&
	    value.length > sizeof(scheme) - 1) {
		struct http_slice word = { value.data, sizeof(scheme) - 1 };

		value.data += word.length;
		value.length -= word.length;
		if (http_slice_is_nocase(word, scheme) && token_matches(daemon->token, value))
			return 0;
	}
	/* Anthropic's clients present their key in a header of their own. */
	if (http_header_get(exchange, "x-api-key", &value) && token_matches(daemon->token, value))
		return 0;
	return pc_error_set(err, PC_E_UNAUTHORIZED,
			    "present the pool's token as 'Authorization: Bearer TOKEN'");
}

/* ---- the table ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Percent-decodes; false when it is malformed, holds a NUL or does not fit. */
static bool decode(struct http_slice text, char *out, size_t size)
{
	size_t length = 0;

	for (size_t i = 0; i < text.length; i++) {
		char c = text.data[i];

		if (c == '%') {
			int high = i + 2 < text.length ? hex_value(text.data[i + 1]) : -1;
			int low = i + 2 < text.length ? hex_value(text.data[i + 2]) : -1;

			if (i + 2 < text.length + 0 && high >= 0 && low >= 0) {
				c = (char)(high << 4 | low);
				i += 2;
			} else {
				return false;
			}
		}
		if (c == '\0' || length + 1 >= size)
			return false;
		out[length++] = c;
	}
	out[length] = '\0';
	return true;
}

/* Matches a path against a pattern with at most one "{}". */
static bool match(const char *pattern, struct http_slice path, char *argument, size_t size)
{
	const char *hole = strstr(pattern, "{}");

	argument[0] = '\0';
	if (!hole)
		return http_slice_is(path, pattern);

	size_t before = (size_t)(hole - pattern);
	const char *tail = hole + 2;
	size_t after = strlen(tail);

	if (path.length <= before + after || memcmp(path.data, pattern, before) != 0 ||
	    memcmp(path.data + path.length - after, tail, after) != 0)
		return false;

	struct http_slice middle = { path.data + before, path.length - before - after };

	/* Model ids hold a slash ("org/name"), which only the end of a pattern may. */
	if (after > 0 && memchr(middle.data, '/', middle.length))
		return false;
	return decode(middle, argument, size);
}

static int no_such_route(struct http_exchange *exchange, const char *allowed, struct pc_error *err)
{
	struct http_slice method = http_method(exchange), path = http_path(exchange);
	int method_length = (int)(method.length > 16 ? 16 : method.length);
	int path_length = (int)(path.length > 128 ? 128 : path.length);

	if (!allowed[0]) {
		return pc_error_set(err, PC_E_NOT_FOUND, "there is no %.*s here; see GET /",
				    path_length, path.data);
	}
	pc_error_set(err, PC_E_METHOD_NOT_ALLOWED, "%.*s does not take %.*s; use %s", path_length,
		     path.data, method_length, method.data, allowed);
	pc_error_detail(err, "allow", "%s", allowed);
	return PC_E_METHOD_NOT_ALLOWED;
}

static int find_route(struct http_exchange *exchange, const struct route **ret_route,
		      char *argument, size_t size, struct pc_error *err)
{
	struct http_slice method = http_method(exchange), path = http_path(exchange);
	const char *allowed = "";

	for (size_t i = 0; i < PC_ARRAY_LEN(table); i++) {
		if (!match(table[i].pattern, path, argument, size))
			continue;
		if (http_slice_is(method, table[i].method) ||
		    (http_slice_is(method, "HEAD") && strcmp(table[i].method, "GET") == 0)) {
			*ret_route = &table[i];
			return 0;
		}
		allowed = table[i].method;
	}
	return no_such_route(exchange, allowed, err);
}

/* ---- a request's life ---- */

static int refuse_scan(const struct json_scanner *scanner, struct pc_error *err)
{
	pc_error_set(err, PC_E_INVALID_JSON, "the body is not a JSON object: %s at byte %llu",
		     scanner->error, (unsigned long long)scanner->error_offset);
	pc_error_detail(err, "offset", "%llu", (unsigned long long)scanner->error_offset);
	return PC_E_INVALID_JSON;
}

/* Makes room for the whole body at once when its length is known, so that it is copied once. */
static int reserve_body(struct request *request, size_t needed, struct pc_error *err)
{
	size_t capacity = request->body_capacity ? request->body_capacity : 4096;

	if (needed <= request->body_capacity)
		return 0;
	while (capacity < needed)
		capacity *= 2;

	char *body = pc_realloc(request->body, capacity);

	if (!body)
		return pc_error_oom(err);
	request->body = body;
	request->body_capacity = capacity;
	return 0;
}

static void on_head(void *ctx, struct http_exchange *exchange)
{
	struct loop *loop = ctx;
	struct pc_error err = PC_ERROR_INIT;
	struct request *request = pc_calloc(1, sizeof(*request));

	if (!request) {
		pc_error_oom(&err);
		api_respond_error(exchange, &err);
		return;
	}
	request->loop = loop;
	request->daemon = loop->daemon;
	request->exchange = exchange;
	http_set_user(exchange, request);

	if (check_host(loop->daemon, exchange, &err) ||
	    find_route(exchange, &request->route, request->argument, sizeof(request->argument),
		       &err) ||
	    (!(request->route->flags & ROUTE_OPEN) && check_token(loop->daemon, exchange, &err))) {
		api_respond_error(exchange, &err);
		return;
	}
	if (request->route->flags & ROUTE_GATEWAY)
		json_scanner_init(&request->scanner);
}

static void on_body(void *ctx, struct http_exchange *exchange, const char *data, size_t length)
{
	struct request *request = request_of(exchange);
	struct pc_error err = PC_ERROR_INIT;
	int rc = 0;

	(void)ctx;
	if (!request || http_response_started(exchange))
		return;
	if (!(request->route->flags & ROUTE_BODY))
		return; /* a GET with a body: read and forgotten */
	if (request->route->flags & ROUTE_GATEWAY &&
	    json_scanner_feed(&request->scanner, data, length) == JSON_SCAN_INVALID)
		rc = refuse_scan(&request->scanner, &err);
	if (!rc)
		rc = reserve_body(request, request->body_length + length, &err);
	if (rc) {
		api_respond_error(exchange, &err);
		return;
	}
	memcpy(request->body + request->body_length, data, length);
	request->body_length += length;
}

static void on_end(void *ctx, struct http_exchange *exchange)
{
	struct request *request = request_of(exchange);
	struct pc_error err = PC_ERROR_INIT;

	(void)ctx;
	if (!request || http_response_started(exchange))
		return;
	if (request->route->flags & ROUTE_GATEWAY &&
	    json_scanner_end(&request->scanner) == JSON_SCAN_INVALID) {
		refuse_scan(&request->scanner, &err);
		api_respond_error(exchange, &err);
		return;
	}
	request->route->handle(request, request->argument);
}

static void on_drained(void *ctx, struct http_exchange *exchange)
{
	struct request *request = request_of(exchange);

	(void)ctx;
	if (request)
		gateway_drained(request);
}

static void on_close(void *ctx, struct http_exchange *exchange, bool complete)
{
	struct request *request = request_of(exchange);

	(void)ctx;
	(void)complete;
	if (!request)
		return;
	gateway_closed(request);
	pc_free(request->body);
	pc_free(request);
}

static void error_body(void *ctx, const struct pc_error *err, const char *correlation_id,
		       char *body, size_t size)
{
	(void)ctx;
	api_error_body(err, correlation_id, NULL, body, size);
}

const struct http_handlers route_handlers = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_drained = on_drained,
	.on_close = on_close,
	.error_body = error_body,
};
