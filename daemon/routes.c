/* SPDX-License-Identifier: MIT */
/*
 * routes.c - from a request's head to its handler: the gate (Host, token), the table, collecting
 * the body. Runs on the loop that accepted the connection.
 */
#include "daemon/routes.h"

#include <poolcore/api.h>
#include <poolcore/log.h>

#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/loop.h"
#include "daemon/reload.h"
#include "daemon/request.h"
#include "daemon/token.h"
#include "http/api_error.h"

/* clang-format off */
static const struct route table[] = {
	{ "GET",  "/",                          control_root,         ROUTE_OPEN, "this list" },
	{ "GET",  "/health",                    control_health,       ROUTE_OPEN, "whether the daemon serves" },
	{ "GET",  "/metrics",                   control_metrics,      0, "counters, in Prometheus' text format" },
	{ "GET",  "/v2/state",                  control_state,        0, "everything: devices, models, workers, counters" },
	{ "GET",  "/v2/config",                 control_config,       0, "the settings in force and where they come from" },
	{ "POST", "/v2/reload",                 reload_handle,        0, "read the configuration and the catalogs again" },
	{ "GET",  "/v2/gpus",                   control_gpus,         0, "the GPUs and why there are none" },
	{ "GET",  "/v2/models",                 control_models,       0, "the catalog with each model's state" },
	{ "GET",  "/v2/workers",                control_workers,      0, "the workers that exist" },
	{ "GET",  "/v2/workers/{}/logs",        control_worker_logs,  0, "its last lines; ?lines=N" },
	{ "GET",  "/v2/workers/{}",             control_worker,       0, "one worker, also a departed one" },
	{ "GET",  "/v2/departed",               control_departed,     0, "how the last workers ended; ?model=ID" },
	{ "POST", "/v2/workers/start",          control_worker_start, ROUTE_BODY, "start a worker: {\"model\", \"backend\"?, \"gpu_id\"?, \"port\"?}" },
	{ "POST", "/v2/workers/stop",           control_worker_stop,  ROUTE_BODY, "stop a worker: {\"worker_id\", \"force\"?}" },
	{ "POST", "/v2/internal/workers/ready", control_worker_ready, ROUTE_BODY | ROUTE_OPEN, "a worker reports that it is loaded" },
	{ "GET",  "/v1/models",                 control_v1_models,    0, "OpenAI: list models" },
	{ "GET",  "/v1/models/{*}",             control_v1_model,     0, "OpenAI: retrieve a model" },
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

/* ---- the gate ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* All of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3); names like 127.0.0.1.evil.example are
 * not. */
static bool is_loopback_v4(struct http_slice host)
{
	if (host.length < 4 || memcmp(host.data, "127.", 4) != 0)
		return false;
	for (size_t i = 4; i < host.length; i++) {
		if (!is_digit(host.data[i]) && host.data[i] != '.')
			return false;
	}
	return is_digit(host.data[host.length - 1]);
}

static bool host_is_local(struct http_slice host)
{
	size_t end = host.length;

	/* Cut the port off; an IPv6 literal has its colons inside brackets. */
	while (end > 0 && is_digit(host.data[end - 1]))
		end--;
	if (end > 0 && host.data[end - 1] == ':')
		host.length = end - 1;
	return http_slice_is_nocase(host, "localhost") || http_slice_is_nocase(host, "[::1]") ||
	       is_loopback_v4(host);
}

/*
 * A page in the user's browser can make a name of its own resolve to 127.0.0.1 and then talk to us
 * as its own origin (DNS rebinding). Its Host header still says the foreign name.
 */
static int check_host(const struct daemon *daemon, const struct http_exchange *exchange,
		      struct pc_error *err)
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

/*
 * Any page may send a simple POST to 127.0.0.1 without asking us first, and would stop our workers.
 * Browsers put their page's origin on it. Where a token is asked for, that is the guard.
 */
static int check_origin(const struct daemon *daemon, const struct http_exchange *exchange,
			struct pc_error *err)
{
	struct http_slice origin, host;
	const char *scheme_end;

	if (daemon->token || !http_header_get(exchange, "origin", &origin))
		return 0;
	host = origin;
	scheme_end = memmem(origin.data, origin.length, "://", 3);
	if (scheme_end) {
		host.data = scheme_end + 3;
		host.length = (size_t)(origin.data + origin.length - host.data);
	}
	if (host_is_local(host))
		return 0;
	pc_error_set(
		err, PC_E_FORBIDDEN,
		"a page of '%.*s' may not use this server; set http.token_file and give it the "
		"token",
		(int)(origin.length > 64 ? 64 : origin.length), origin.data);
	return PC_E_FORBIDDEN;
}

static int check_token(const struct daemon *daemon, const struct http_exchange *exchange,
		       struct pc_error *err)
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
		if (http_slice_is_nocase(word, scheme) &&
		    token_matches(daemon->token, value.data, value.length))
			return 0;
	}
	/* Anthropic's clients present their key in a header of their own. */
	if (http_header_get(exchange, "x-api-key", &value) &&
	    token_matches(daemon->token, value.data, value.length))
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

bool percent_decode(struct http_slice text, char *out, size_t size)
{
	size_t length = 0;

	for (size_t i = 0; i < text.length; i++) {
		char c = text.data[i];

		if (c == '%') {
			if (text.length - i < 3)
				return false;

			int high = hex_value(text.data[i + 1]), low = hex_value(text.data[i + 2]);

			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c == '\0' || length + 1 >= size)
			return false;
		out[length++] = c;
	}
	out[length] = '\0';
	return true;
}

/* Matches a path against a pattern with at most one hole; what the hole takes is written to
 * `argument`. */
static bool match(const char *pattern, struct http_slice path, char *argument, size_t size)
{
	size_t before = 0;

	argument[0] = '\0';
	while (before < path.length && pattern[before] != '{' &&
	       pattern[before] == path.data[before])
		before++;
	if (pattern[before] != '{')
		return pattern[before] == '\0' && before == path.length;

	const char *hole = pattern + before;
	const char *tail = strchr(hole, '}') + 1;
	size_t after = strlen(tail);

	if (path.length <= before + after ||
	    memcmp(path.data + path.length - after, tail, after) != 0)
		return false;

	struct http_slice middle = { path.data + before, path.length - before - after };

	if (hole[1] != '*' && memchr(middle.data, '/', middle.length))
		return false;
	return percent_decode(middle, argument, size);
}

static int no_such_route(const struct http_exchange *exchange, const char *allowed,
			 struct pc_error *err)
{
	struct http_slice method = http_method(exchange), path = http_path(exchange);
	int method_length = (int)(method.length > 16 ? 16 : method.length);
	int path_length = (int)(path.length > 128 ? 128 : path.length);

	if (!allowed[0])
		return pc_error_set(err, PC_E_NOT_FOUND, "there is no %.*s here; see GET /",
				    path_length, path.data);
	pc_error_set(err, PC_E_METHOD_NOT_ALLOWED, "%.*s does not take %.*s; use %s", path_length,
		     path.data, method_length, method.data, allowed);
	pc_error_detail(err, "allow", "%s", allowed);
	return PC_E_METHOD_NOT_ALLOWED;
}

static bool method_fits(const struct route *route, struct http_slice method)
{
	return http_slice_is(method, route->method) ||
	       (http_slice_is(method, "HEAD") && strcmp(route->method, "GET") == 0);
}

static int find_route(const struct http_exchange *exchange, const struct route **ret_route,
		      char *argument, size_t size, struct pc_error *err)
{
	struct http_slice method = http_method(exchange), path = http_path(exchange);
	char allowed[64] = "";

	for (size_t i = 0; i < PC_ARRAY_LEN(table); i++) {
		size_t length = strlen(allowed);

		if (!match(table[i].pattern, path, argument, size))
			continue;
		if (method_fits(&table[i], method)) {
			*ret_route = &table[i];
			return 0;
		}
		snprintf(allowed + length, sizeof(allowed) - length, "%s%s", length ? ", " : "",
			 table[i].method);
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

static int body_too_large(struct pc_error *err)
{
	pc_error_set(err, PC_E_PAYLOAD_TOO_LARGE, "a body of this route may have %d bytes",
		     PC_API_REQUEST_MAX);
	pc_error_detail(err, "limit_bytes", "%d", PC_API_REQUEST_MAX);
	return PC_E_PAYLOAD_TOO_LARGE;
}

static int reserve_body(struct request *request, size_t needed, struct pc_error *err)
{
	if (!(request->route->flags & ROUTE_GATEWAY) && needed > PC_API_REQUEST_MAX)
		return body_too_large(err);
	return request_reserve_body(request, needed, err);
}

static void on_head(void *ctx, struct http_exchange *exchange)
{
	struct loop *loop = ctx;
	struct pc_error err;
	struct request *request = request_create(loop, exchange);

	pc_error_clear(&err);
	if (!request) {
		pc_error_oom(&err);
		api_respond_error(exchange, &err);
		return;
	}
	if (check_host(loop->daemon, exchange, &err) ||
	    check_origin(loop->daemon, exchange, &err) ||
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
	struct pc_error err;
	int rc = 0;

	pc_error_clear(&err);
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
	struct pc_error err;

	pc_error_clear(&err);
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
	if (request->model)
		gateway_closed(request);
	else
		control_closed(request);
	reload_forget(request);
	request_destroy(request);
}

const struct http_handlers route_handlers = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_drained = on_drained,
	.on_close = on_close,
	.error_body = api_error_write,
};
