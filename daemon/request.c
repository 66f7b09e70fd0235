/* SPDX-License-Identifier: MIT */
/*
 * request.c - the memory of requests. A request and the first bytes of its body are too large for
 * malloc's quick lists, so a loop keeps some of them for the next one. Its loop's thread.
 */
#include "daemon/request.h"

#include "daemon/generation.h"
#include "daemon/loop.h"

/* As many as are busy at once on a busy loop. A guess; change freely. */
#define SPARE_MAX 64
/* A body that was larger is given back. */
#define SPARE_BODY_MAX_BYTES 4096

struct request *request_of(struct http_exchange *exchange)
{
	return http_user(exchange);
}

struct request *request_create(struct loop *loop, struct http_exchange *exchange)
{
	struct request *request = loop->spare;
	char *body = NULL;
	size_t body_capacity = 0;

	if (request) {
		loop->spare = request->next_spare;
		loop->spare_count--;
		body = request->body;
		body_capacity = request->body_capacity;
	} else {
		request = pc_malloc(sizeof(*request));
		if (!request)
			return NULL;
	}
	*request = (struct request){
		.loop = loop,
		.daemon = loop->daemon,
		.exchange = exchange,
		.body = body,
		.body_capacity = body_capacity,
	};
	http_set_user(exchange, request);
	return request;
}

static void free_request(struct request *request)
{
	pc_free(request->body);
	pc_free(request);
}

void request_destroy(struct request *request)
{
	struct loop *loop = request->loop;

	if (request->model)
		generation_unref(request->model->generation);
	if (loop->spare_count == SPARE_MAX) {
		free_request(request);
		return;
	}
	if (request->body_capacity > SPARE_BODY_MAX_BYTES) {
		pc_free(pc_steal(&request->body));
		request->body_capacity = 0;
	}
	request->next_spare = loop->spare;
	loop->spare = request;
	loop->spare_count++;
}

void request_free_spare(struct loop *loop)
{
	while (loop->spare) {
		struct request *request = loop->spare;

		loop->spare = request->next_spare;
		free_request(request);
	}
	loop->spare_count = 0;
}
