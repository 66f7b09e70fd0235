/* SPDX-License-Identifier: MIT */
/*
 * http.h - HTTP/1.1 for the programs (pool-managerd and pool-worker), on libuv and llhttp: a
 * server, a client with a keep-alive pool, and nothing of what the messages mean. The library in
 * src/ holds no HTTP.
 *
 * Threads: a server, a client and everything they call back belong to one event loop and its
 * thread.
 *
 * Messages are checked strictly before they are believed (see the smuggling note in head.c): a head
 * with a bare CR or LF, NUL, obsolete folding, white space before a colon, a missing or repeated
 * Host, both Content-Length and Transfer-Encoding, or an unknown transfer coding is answered with
 * 400 and the connection closed.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <poolcore/error.h>

#include <string.h>
#include <strings.h>
#include <uv.h>

/* ---- messages ---- */

/* Slices of the received head: not NUL-terminated, valid as long as the exchange or call. */
struct http_slice {
	const char *data;
	size_t length;
};

struct http_header {
	struct http_slice name;	 /* as it came; compare with http_slice_is_nocase */
	struct http_slice value; /* without surrounding white space */
};

#define HTTP_HEADERS_MAX 128

/* For building heads: NUL-terminated, valid during the call. {NULL, NULL} ends a list. */
struct http_field {
	const char *name;
	const char *value;
};

/* Whether it is this text, exactly. Here, so that the length of a literal costs nothing. */
static inline bool http_slice_is(struct http_slice slice, const char *text)
{
	return strlen(text) == slice.length && memcmp(slice.data, text, slice.length) == 0;
}

/* The same with ASCII case folded. */
static inline bool http_slice_is_nocase(struct http_slice slice, const char *text)
{
	return strlen(text) == slice.length && strncasecmp(slice.data, text, slice.length) == 0;
}

/*
 * Whether a header must not be passed on by a proxy: the hop-by-hop ones of RFC 9110 section 7.6.1
 * and whatever the message's own Connection header names.
 */
bool http_is_hop_by_hop(const struct http_header *headers, size_t count, struct http_slice name);

/* The usual phrase of a status ("Not Found"), "Unknown" for others. */
const char *http_status_phrase(int status);

/* ---- server ---- */

struct http_limits {
	size_t max_head_bytes;	     /* request line and headers; 64 KiB */
	uint64_t max_body_bytes;     /* a longer body is answered with 413 */
	size_t max_connections;	     /* beyond it an idle one gives way, or new ones wait */
	uint64_t idle_timeout_ms;    /* a kept-alive connection without a request */
	uint64_t receive_timeout_ms; /* a request whose head or body makes no progress: 408 */
	uint64_t send_timeout_ms;    /* a client that reads nothing while we have bytes for it */
	size_t high_water_bytes;     /* buffered for one client before write() says stop; 256 KiB */
};
void http_limits_init(struct http_limits *limits);

struct http_server;
struct http_exchange; /* one request and its response */

struct http_handlers {
	/*
	 * The head has come. The handler may respond at once (the rest of the body is read and
	 * dropped up to a bound, or the connection closed after the response) or set a user pointer
	 * and wait for the end. Expect: 100-continue is answered when the handler returns without
	 * having responded.
	 */
	void (*on_head)(void *ctx, struct http_exchange *exchange);
	/* A piece of the body, decoded. Not called after the response has ended. May be NULL. */
	void (*on_body)(void *ctx, struct http_exchange *exchange, const char *data, size_t length);
	/* The request is complete. Called once after on_head, unless
	 * responded to or closed before. */
	void (*on_end)(void *ctx, struct http_exchange *exchange);
	/* After http_write returned false: the client has read enough, go on. May be NULL. */
	void (*on_drained)(void *ctx, struct http_exchange *exchange);
	/*
	 * The last call for an exchange, exactly once: the response is sent or buffered whole
	 * (`complete`), or the client left or was cut off before. A client that closes its sending
	 * side counts as gone. Never called from inside http_respond and its kin, but when the
	 * handler that called them has returned. The exchange is gone after it returns.
	 */
	void (*on_close)(void *ctx, struct http_exchange *exchange, bool complete);
	/*
	 * The server refuses a request by itself (bad head, too large, timeout): writes the error
	 * body of the program's kind. Fill `body` (NUL-terminated JSON, at most size bytes). May be
	 * NULL: then the body is empty.
	 */
	void (*error_body)(void *ctx, const struct pc_error *err, const char *correlation_id,
			   char *body, size_t size);
};

/* Copies handlers and limits. Errors: OUT_OF_MEMORY. */
int http_server_create(uv_loop_t *loop, const struct http_handlers *handlers, void *ctx,
		       const struct http_limits *limits, struct http_server **ret_server,
		       struct pc_error *err);

/*
 * Opens a listening socket: "127.0.0.1:9200", "[::1]:9200", "unix:/path". Never SO_REUSEPORT: two
 * daemons must not share a port unnoticed. A Unix socket left behind by a dead server is removed,
 * one that answers is PORT_IN_USE; it is created with mode 0660. Port 0 lets the kernel choose; the
 * address in force is written to ret_address ("127.0.0.1:41023"). Errors: PORT_IN_USE,
 * INVALID_ARGUMENT, IO.
 */
int http_listen_open(const char *address, int *ret_fd, char ret_address[128], struct pc_error *err);

/*
 * Serves connections of a listening socket; the descriptor is duplicated, so that several loops can
 * serve one socket and each accepts when it has time.
 */
int http_server_listen(struct http_server *server, int fd, struct pc_error *err);

/*
 * Stops accepting; idle connections close, running exchanges finish with Connection: close. `empty`
 * (may be NULL) is called once, when the last connection has gone with everything that was written
 * to it; at once when there is none.
 */
void http_server_drain(struct http_server *server, void (*empty)(void *ctx), void *ctx);
size_t http_server_connection_count(const struct http_server *server);
/* Cuts off what is left and frees the server once its handles have closed; `done` may be NULL. */
void http_server_close(struct http_server *server, void (*done)(void *ctx), void *ctx);

/* The request. */
struct http_slice http_method(const struct http_exchange *exchange);
struct http_slice http_path(const struct http_exchange *exchange);  /* before '?', as sent */
struct http_slice http_query(const struct http_exchange *exchange); /* after '?', empty if none */
size_t http_headers(const struct http_exchange *exchange, const struct http_header **ret_headers);
/* The first header of that name; false when there is none. */
bool http_header_get(const struct http_exchange *exchange, const char *name,
		     struct http_slice *ret_value);
/* The id to report: the client's X-Correlation-Id if it matches ^[a-zA-Z0-9-]{1,64}$, a fresh
 * random one otherwise. */
const char *http_correlation_id(const struct http_exchange *exchange);
/* "127.0.0.1:51234" or "unix" for logs. */
const char *http_peer(const struct http_exchange *exchange);
void http_set_user(struct http_exchange *exchange, void *user);
void *http_user(const struct http_exchange *exchange);

/*
 * The response, either whole or in pieces. The server adds Content-Length or Transfer-Encoding,
 * Connection, Date and X-Correlation-Id; HEAD and 204/304 get no body; HTTP/1.0 clients get no
 * chunks. Calls after the end or after on_close began are our own bug. A whole response that cannot
 * be allocated closes the connection.
 */
void http_respond(struct http_exchange *exchange, int status, const struct http_field *fields,
		  const char *body, size_t length);
/* content_length: -1 when unknown. */
void http_respond_start(struct http_exchange *exchange, int status, const struct http_field *fields,
			int64_t content_length);
/* As above with headers from a proxied response; hop-by-hop ones, Content-Length, Date and
 * X-Correlation-Id are dropped. */
void http_respond_start_from(struct http_exchange *exchange, int status,
			     const struct http_header *headers, size_t count,
			     int64_t content_length);
/* The bytes are copied or sent before it returns. False: stop until on_drained. */
bool http_write(struct http_exchange *exchange, const char *data, size_t length);
void http_respond_end(struct http_exchange *exchange);
/* Breaks the response off so that the client can tell: the connection is closed without the last
 * chunk. */
void http_abort(struct http_exchange *exchange);
bool http_response_started(const struct http_exchange *exchange);

/* ---- client ---- */

/* Where a worker listens. */
struct http_target {
	char socket[108]; /* Unix socket path, or "" */
	uint16_t port;	  /* on 127.0.0.1 otherwise */
};

struct http_client;
struct http_call;

enum http_stage {
	HTTP_STAGE_CONNECT,  /* nothing reached the server: safe to try elsewhere */
	HTTP_STAGE_SENT,     /* it may have begun to work, no byte of a response came */
	HTTP_STAGE_RESPONSE, /* broke off inside the response */
};

struct http_call_handlers {
	void (*on_head)(void *ctx, struct http_call *call, int status,
			const struct http_header *headers, size_t count);
	void (*on_body)(void *ctx, struct http_call *call, const char *data, size_t length);
	/* Exactly one of the two ends a call that was not aborted; the call is gone after it
	 * returns. on_body may be NULL, and on_end where on_head aborts every call. */
	void (*on_end)(void *ctx, struct http_call *call);
	void (*on_error)(void *ctx, struct http_call *call, enum http_stage stage,
			 const struct pc_error *err);
};

struct http_call_request {
	const struct http_target *target;
	const char *method;
	struct http_slice path;		   /* with the query */
	const struct http_header *headers; /* of the proxied request; hop-by-hop, Host,
					      Content-Length, Expect are dropped */
	size_t header_count;
	const struct http_field *fields; /* further ones, which replace headers of the same name;
					    may be NULL */
	const char *body;		 /* kept valid by the caller until the call is over */
	size_t body_length;
	uint64_t timeout_ms; /* until the response's head has come; 0: none */
};

/*
 * Keeps at most `max_idle` connections open, each for at most idle_ms, and none to a server that
 * has once sent what nobody had asked for (see the stray note in upstream.c). Errors:
 * OUT_OF_MEMORY.
 */
int http_client_create(uv_loop_t *loop, size_t max_idle, uint64_t idle_ms,
		       struct http_client **ret_client, struct pc_error *err);
/*
 * Starts a call. A kept-alive connection that turns out to be closed before any response byte is
 * replaced by a fresh one once, for requests without a body or when nothing of it was read.
 * Handlers are never called before this returns. Errors: OUT_OF_MEMORY, SEND_FAILED (no
 * descriptor).
 */
int http_call_start(struct http_client *client, const struct http_call_request *request,
		    const struct http_call_handlers *handlers, void *ctx,
		    struct http_call **ret_call, struct pc_error *err);
/*
 * Backpressure: stops and restarts reading the response. What the last read has brought (at most
 * 64 KiB) is still delivered; a paused call does not notice that the server has gone.
 */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/* Closes the connection, which cancels the request upstream. No handler is called any more. */
void http_call_abort(struct http_call *call);
/* Closes idle connections to a target that is gone. */
void http_client_forget(struct http_client *client, const struct http_target *target);
/* No call may be running. */
void http_client_close(struct http_client *client, void (*done)(void *ctx), void *ctx);

#endif
