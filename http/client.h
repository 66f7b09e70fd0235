/* SPDX-License-Identifier: MIT */
/*
 * client.h - what client.c and upstream.c share: a client, its calls and their connections. Inside
 * http/ only; one loop's thread.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "http/decoder.h"
#include "http/head.h"
#include "http/head_buffer.h"
#include "http/http.h"
#include "http/pool.h"
#include "http/stream.h"
#include "http/text.h"

enum http__upstream_state { CONNECTING, BUSY, IDLE };

struct http__upstream {
	struct http__stream stream;
	struct http_client *client;
	struct http__pooled pooled;
	enum http__upstream_state state;
	struct http_call *call;
	uv_connect_t connecting;
	uv_write_t write; /* of the request's rest */
	bool writing;
	bool broken;	      /* the request could not be written whole */
	bool used;	      /* it has served a call before this one */
	uint64_t sent_before; /* bytes of earlier requests */
	uint64_t sent;	      /* with those of this one */

	struct http__head_buffer buffer;
	struct http__head head;
	struct http__decoder decoder;
	bool in_body;
};

struct http_call {
	struct http_client *client;
	struct http__upstream *connection;
	struct http_call_handlers handlers;
	void *ctx;
	struct http_target target;
	const char *body;
	size_t body_length;
	struct http__link timeout; /* alone: none is running */
	uint64_t deadline_ms;
	uint64_t timeout_ms;
	bool is_head;  /* the method */
	bool reached;  /* bytes of the request may have reached the server */
	bool answered; /* bytes of a response have come */
	bool repeated;
	bool paused;
	bool over; /* its last callback is running */
	size_t text_length;
	char text[];
};

struct http_client {
	struct http__stream_shared shared;
	struct http__pool pool; /* of idle connections */
	size_t call_count;
	size_t handles;		    /* connections and the timer */
	struct http__link timeouts; /* by deadline */
	uv_timer_t timer;
	uint64_t timer_ms;
	bool closing;
	void (*done)(void *ctx);
	void *done_ctx;
	struct http__text text;
	struct http_header headers[HTTP_HEADERS_MAX];
};

/* ---- client.c ---- */

void http__client_timer_arm(struct http_client *client, uint64_t at_ms);
/* One of the client's handles is closed; frees it with the last one. */
void http__client_handle_closed(struct http_client *client);
/* For messages. */
const char *http__target_text(const struct http_target *target, char out[128]);

/* ---- upstream.c ---- */

/* Gives the call a connection, a kept one or a fresh one; its request is on its way. Errors:
 * OUT_OF_MEMORY, SEND_FAILED. */
int http__call_place(struct http_call *call, struct pc_error *err);
/* The connection serves the call no more, and no clock runs for it. */
void http__call_detach(struct http_call *call);
/* Tells its caller, and frees it. */
void http__call_fail(struct http_call *call, const struct pc_error *err);
void http__upstream_close(struct http__upstream *connection);
/* Idle ones: the last one used that leads there, and the one that is given up first; or NULL. */
struct http__upstream *http__upstream_idle(struct http_client *client,
					   const struct http_target *target);
struct http__upstream *http__upstream_oldest(struct http_client *client);

#endif
