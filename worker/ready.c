/* SPDX-License-Identifier: MIT */
/*
 * ready.c - the readiness callback. It does not know what the body says. Runs on the loop.
 */
#include "ready.h"

#include <poolcore/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

/* Guesses; change freely. The first is soon, because a daemon that restarts is back in a second. */
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 30000
#define ANSWER_TIMEOUT_MS 10000

struct ready {
	struct http_target target;
	char *path;
	char *body;
	size_t length;
	uv_timer_t timer;
	struct http_client *client;
	struct http_call *call; /* NULL between attempts */
	int status;
	uint64_t backoff_ms;
	int open_handles; /* the timer and the client */
};

/* ---- the address ---- */

static int refuse_url(const char *url, struct pc_error *err)
{
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "'%s' is not a callback address: expected "
			    "http://127.0.0.1:PORT/PATH or unix:/SOCKET:/PATH",
			    url);
}

/* unix:/SOCKET:/PATH; the socket's path ends at the last ":/". */
static const char *split_unix(const char *rest, struct http_target *target)
{
	const char *path = NULL;

	for (const char *p = rest; (p = strstr(p, ":/")) != NULL; p++)
		path = p + 1;
	if (rest[0] != '/' || !path || (size_t)(path - rest) > sizeof(target->socket))
		return NULL;
	snprintf(target->socket, sizeof(target->socket), "%.*s", (int)(path - rest - 1), rest);
	return path;
}

static const char *split_tcp(const char *rest, struct http_target *target)
{
	static const char *const hosts[] = { "127.0.0.1:", "localhost:" };

	for (size_t i = 0; i < PC_ARRAY_LEN(hosts); i++) {
		size_t length = strlen(hosts[i]);
		char *path;

		if (strncmp(rest, hosts[i], length) != 0)
			continue;
		if (rest[length] < '0' || rest[length] > '9')
			return NULL;

		unsigned long port = strtoul(rest + length, &path, 10);

		if (port < 1 || port > UINT16_MAX || path[0] != '/')
			return NULL;
		target->port = (uint16_t)port;
		return path;
	}
	return NULL;
}

/* Returns the path within the URL, or NULL. */
static const char *split_url(const char *url, struct http_target *target)
{
	*target = (struct http_target){ .port = 0 };
	/* A space or a line end would break the request line. */
	for (const char *p = url; *p; p++) {
		if (*p <= ' ' || *p == 0x7f)
			return NULL;
	}
	if (strncmp(url, "http://", 7) == 0)
		return split_tcp(url + 7, target);
	return strncmp(url, "unix:", 5) == 0 ? split_unix(url + 5, target) : NULL;
}

int ready_url_check(const char *url, struct pc_error *err)
{
	struct http_target target;

	return split_url(url, &target) ? 0 : refuse_url(url, err);
}

/* ---- attempts ---- */

static void attempt(uv_timer_t *timer);

static void retry(struct ready *ready, const char *reason)
{
	char seconds[32];

	ready->call = NULL;
	snprintf(seconds, sizeof(seconds), "%.2g", (double)ready->backoff_ms / 1000);
	pc_log(PC_LOG_WARN, "worker", PC_FIELDS({ "reason", reason }),
	       "readiness not delivered, retrying in %s s", seconds);
	uv_timer_start(&ready->timer, attempt, ready->backoff_ms, 0);
	ready->backoff_ms *= 2;
	if (ready->backoff_ms > BACKOFF_MAX_MS)
		ready->backoff_ms = BACKOFF_MAX_MS;
}

static void on_head(void *ctx, struct http_call *call, int status,
		    const struct http_header *headers, size_t count)
{
	struct ready *ready = ctx;

	(void)call;
	(void)headers;
	(void)count;
	ready->status = status;
}

static void on_end(void *ctx, struct http_call *call)
{
	struct ready *ready = ctx;
	char reason[64];

	(void)call;
	if (ready->status >= 200 && ready->status < 300) {
		ready->call = NULL;
		pc_log(PC_LOG_INFO, "worker", PC_NO_FIELDS, "readiness delivered");
		return;
	}
	snprintf(reason, sizeof(reason), "the daemon answered %d", ready->status);
	retry(ready, reason);
}

static void on_error(void *ctx, struct http_call *call, enum http_stage stage,
		     const struct pc_error *err)
{
	(void)call;
	(void)stage;
	retry(ctx, err->message);
}

static void attempt(uv_timer_t *timer)
{
	static const struct http_call_handlers handlers = {
		.on_head = on_head,
		.on_end = on_end,
		.on_error = on_error,
	};
	static const struct http_field fields[] = {
		{ "Content-Type", "application/json" },
		{ NULL, NULL },
	};
	struct ready *ready = timer->data;
	struct pc_error err = PC_ERROR_INIT;
	const struct http_call_request request = {
		.target = &ready->target,
		.method = "POST",
		.path = { ready->path, strlen(ready->path) },
		.fields = fields,
		.body = ready->body,
		.body_length = ready->length,
		.timeout_ms = ANSWER_TIMEOUT_MS,
	};

	if (http_call_start(ready->client, &request, &handlers, ready, &ready->call, &err) != 0)
		retry(ready, err.message);
}

void ready_send(struct ready *ready, char *body, size_t length)
{
	ready->body = body;
	ready->length = length;
	attempt(&ready->timer);
}

/* ---- life ---- */

int ready_create(uv_loop_t *loop, const char *url, struct ready **ret_ready, struct pc_error *err)
{
	struct ready *ready = pc_calloc(1, sizeof(*ready));
	struct http_target target;
	const char *path = split_url(url, &target);

	if (!path) {
		pc_free(ready);
		return refuse_url(url, err);
	}
	if (!ready || !(ready->path = pc_strdup(path))) {
		pc_free(ready);
		return pc_error_oom(err);
	}
	ready->target = target;
	ready->backoff_ms = BACKOFF_FIRST_MS;
	if (http_client_create(loop, 0, 0, &ready->client, err) != 0) {
		pc_free(ready->path);
		pc_free(ready);
		return pc_error_oom(err);
	}
	uv_timer_init(loop, &ready->timer);
	ready->timer.data = ready;
	ready->open_handles = 2;
	*ret_ready = ready;
	return 0;
}

static void release(struct ready *ready)
{
	if (--ready->open_handles > 0)
		return;
	pc_free(ready->path);
	pc_free(ready->body);
	pc_free(ready);
}

static void on_timer_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void on_client_closed(void *ctx)
{
	release(ctx);
}

void ready_close(struct ready *ready)
{
	if (!ready)
		return;
	if (ready->call)
		http_call_abort(ready->call);
	ready->call = NULL;
	http_client_close(ready->client, on_client_closed, ready);
	uv_close((uv_handle_t *)&ready->timer, on_timer_closed);
}
