/* SPDX-License-Identifier: MIT */
/*
 * request.c - the memory of requests. A request and the first bytes of its body are too large for
 * malloc's quick lists, so a loop keeps some of them for the next one. Its loop's thread.
 */
#include "daemon/request.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "daemon/daemon.h"
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

/* ---- the body ---- */

/* What counts against http.max_buffered_bytes. Short bodies do not: the number of connections
 * bounds them, and what is short is to be served however many long ones there are. */
static uint64_t counted(size_t capacity)
{
	return capacity > SPARE_BODY_MAX_BYTES ? capacity : 0;
}

static void count_less(struct request *request, uint64_t bytes)
{
	if (bytes > 0)
		atomic_fetch_sub_explicit(&request->daemon->buffered_bytes, bytes,
					  memory_order_relaxed);
}

static int count_more(struct request *request, uint64_t bytes, struct pc_error *err)
{
	struct daemon *daemon = request->daemon;
	uint64_t before = atomic_fetch_add_explicit(&daemon->buffered_bytes, bytes,
						    memory_order_relaxed);

	if (before + bytes <= daemon->max_buffered_bytes)
		return 0;
	count_less(request, bytes);
	pc_error_set(err, PC_E_QUEUE_FULL,
		     "there is no room for this request's body now: those of all requests take "
		     "%" PRIu64 " bytes, and may take %" PRIu64 " (http.max_buffered_bytes)",
		     before, daemon->max_buffered_bytes);
	pc_error_detail(err, "limit_bytes", "%" PRIu64, daemon->max_buffered_bytes);
	pc_error_detail(err, "retry_after_secs", "1");
	return PC_E_QUEUE_FULL;
}

static void free_body(struct request *request)
{
	count_less(request, counted(request->body_capacity));
	pc_free(pc_steal(&request->body));
	request->body_capacity = 0;
}

int request_reserve_body(struct request *request, size_t needed, struct pc_error *err)
{
	size_t capacity = request->body_capacity ? request->body_capacity : 4096;
	const uint64_t longest = request->daemon->max_body_bytes;
	uint64_t more;

	if (needed <= request->body_capacity)
		return 0;
	while (capacity < needed)
		capacity *= 2;
	/* Doubled past the longest body, it would count for more than may ever be in it, and might
	 * find no room where the settings promise some. */
	if (capacity > longest && needed <= longest)
		capacity = longest;
	more = counted(capacity) - counted(request->body_capacity);
	if (more > 0 && count_more(request, more, err))
		return PC_E_QUEUE_FULL;

	char *body = pc_realloc(request->body, capacity);

	if (!body) {
		count_less(request, more);
		return pc_error_oom(err);
	}
	request->body = body;
	request->body_capacity = capacity;
	return 0;
}

/* ---- the request ---- */

static void free_request(struct request *request)
{
	free_body(request);
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
	if (request->body_capacity > SPARE_BODY_MAX_BYTES)
		free_body(request);
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
