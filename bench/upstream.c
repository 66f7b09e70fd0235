/* SPDX-License-Identifier: MIT */
/*
 * upstream.c - the worker behind the gateway's benchmark: answers at once, always the same. One
 * thread, one loop.
 *
 *   upstream --port N
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

/* About what a short chat completion is long. */
static const char answer[] =
	"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"bench\","
	"\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A short "
	"answer.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
	"\"completion_tokens\":3,\"total_tokens\":12}}";

static const struct http_field fields[] = {
	{ "Content-Type", "application/json" },
	{ NULL, NULL },
};

static void on_head(void *ctx, struct http_exchange *exchange)
{
	(void)ctx;
	(void)exchange;
}

static void on_end(void *ctx, struct http_exchange *exchange)
{
	(void)ctx;
	http_respond(exchange, 200, fields, answer, sizeof(answer) - 1);
}

static void on_close(void *ctx, struct http_exchange *exchange, bool complete)
{
	(void)ctx;
	(void)exchange;
	(void)complete;
}

int main(int argc, char **argv)
{
	const struct http_handlers handlers = {
		.on_head = on_head,
		.on_end = on_end,
		.on_close = on_close,
	};
	struct pc_error err = PC_ERROR_INIT;
	struct http_server *server;
	struct http_limits limits;
	char address[128];
	int fd;

	if (argc != 3 || strcmp(argv[1], "--port") != 0) {
		fputs("usage: upstream --port N\n", stderr);
		return 2;
	}
	snprintf(address, sizeof(address), "127.0.0.1:%s", argv[2]);
	http_limits_init(&limits);
	if (http_listen_open(address, &fd, address, &err) ||
	    http_server_create(uv_default_loop(), &handlers, NULL, &limits, &server, &err) ||
	    http_server_listen(server, fd, &err)) {
		fprintf(stderr, "upstream: %s\n", err.message);
		return 1;
	}
	return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
