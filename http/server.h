/* SPDX-License-Identifier: MIT */
/*
 * server.h - what the files of a server share. Inside http/ only.
 *
 *   server.c      listening sockets, accepting, deadlines, drain and close
 *   connection.c  one connection: its turns, its end
 *   receive.c     a request on its way in
 *   exchange.c    what handlers ask about a request
 *   response.c    what handlers say in return
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <netinet/in.h>

#include "http/decoder.h"
#include "http/head_buffer.h"
#include "http/stream.h"
#include "http/text.h"

/* How much of a body that nobody wants is read for the sake of the connection. A guess. */
#define HTTP__DROP_MAX_BYTES (256 << 10)

/* Which clock is running for a connection. Each has a constant duration, so that a list of its
 * connections in the order in which they joined is also in the order of their deadlines. */
enum http__deadline {
	DEADLINE_NONE,
	DEADLINE_IDLE,	  /* for a request to begin */
	DEADLINE_RECEIVE, /* for the whole head, or for more of the body */
	DEADLINE_SEND,	  /* for the client to read */
	DEADLINE_LINGER,  /* for the client to close */
	DEADLINE_COUNT,
};

enum http__input {
	INPUT_HEAD,	/* between requests or inside a head */
	INPUT_BODY,	/* inside a body */
	INPUT_COMPLETE, /* the request is read whole; further bytes belong to the next one */
	INPUT_DISCARD,	/* no further request will be read; bytes are dropped */
};

enum http__output {
	OUTPUT_NONE,
	OUTPUT_STARTED, /* the head is written */
	OUTPUT_ENDED,
};

struct http__listener {
	struct http__link link;
	uv_poll_t poll;
	struct http_server *server;
	int fd;
	bool is_unix;
};

struct http_server {
	uv_loop_t *loop;
	struct http_handlers handlers;
	void *ctx;
	struct http_limits limits;
	struct http__stream_shared shared;

	struct http__link listeners;
	bool accepting;		  /* the listeners are being polled */
	uint64_t accept_retry_ms; /* after descriptors ran out; 0: not waiting */

	struct http__link connections;
	size_t connection_count;
	struct http__link spare; /* connections to use again */
	size_t spare_count;

	/* Connections whose state changed outside of their own events; see connection.c. */
	struct http__link unsettled;
	uv_check_t check;
	uv_idle_t idle;

	uv_timer_t timer;
	uint64_t timer_ms; /* when it will fire; 0: not started */
	struct http__link deadlines[DEADLINE_COUNT];
	uint64_t durations_ms[DEADLINE_COUNT];

	bool draining;
	void (*empty)(void *ctx); /* NULL once it was told */
	void *empty_ctx;
	bool closing;
	unsigned handles; /* of the server itself that are not closed */
	void (*done)(void *ctx);
	void *done_ctx;

	struct http_header headers[HTTP_HEADERS_MAX]; /* while a head is read */
	struct http__text text;			      /* while a head is written */
	uint64_t date_second;
	char date[32]; /* the Date header's value for date_second */
	unsigned char random[2048];
	size_t random_left;
};

/* One request and its response; the connection's only one at a time. */
struct http_exchange {
	struct http__head head;
	const struct http_header *headers;
	void *user;
	char correlation_id[65];
	bool open;	    /* on_head was called, on_close not yet */
	bool expects;	    /* the client waits for 100 Continue */
	bool wants_drain;   /* http_write said stop */
	bool no_body;	    /* HEAD, 204, 304 */
	bool chunked;	    /* how the response is framed */
	bool until_close;   /* likewise */
	int64_t left_bytes; /* of a response of known length */
	enum http__output output;
	uint64_t received_bytes; /* of the body */
	uint64_t dropped_bytes;	 /* of it, after the response had ended */
};

struct http__connection {
	struct http__stream stream;
	struct http_server *server;
	struct http__link all; /* on server->connections or server->spare */
	struct http__link unsettled;
	struct http__link deadline;
	enum http__deadline deadline_kind;
	uint64_t deadline_ms;
	uint64_t deadline_sent; /* bytes sent when the clock was started */

	enum http__input input;
	unsigned busy;	  /* our frames on the stack that will settle the connection */
	bool close_after; /* no further request */
	bool finishing;	  /* everything has been answered; close once it is sent */
	bool unread;	  /* finishing, and the client may be sending still */
	bool lingering;	  /* finishing, and all is sent */
	bool doomed;	  /* close now */
	bool reset;	  /* and tell the client that it was cut off */
	bool too_large;
	bool progressed; /* the body's clock is to be started anew */
	bool is_unix;

	struct http__head_buffer head;
	struct http__decoder decoder;
	char *held; /* bytes of later requests */
	size_t held_length;
	size_t held_capacity;
	size_t discarded_bytes;
	unsigned blank_bytes; /* of an empty line in front of a request */

	struct http_exchange exchange;
	struct sockaddr_storage peer;
	char peer_text[64];
};

static inline struct http__connection *http__connection_of(const struct http_exchange *exchange)
{
	return http__container(exchange, struct http__connection, exchange);
}

/* ---- server.c ---- */

/* Starts the clock of `kind`, or none; an equal one goes on running unless `anew`. */
void http__server_deadline(struct http__connection *connection, enum http__deadline kind,
			   bool anew);
void http__server_connection_closed(struct http__connection *connection);
/* Has the unsettled connections settled in this turn of the loop. */
void http__server_wake(struct http_server *server);
void http__server_random_id(struct http_server *server, char out[65]);

/* ---- connection.c ---- */

/* Takes over an accepted descriptor; closes it when that fails. */
void http__connection_open(struct http_server *server, int fd, bool is_unix,
			   const struct sockaddr_storage *peer);
/* Has the connection settled after the event that is being handled now. */
void http__connection_touch(struct http__connection *connection);
/* Brings the connection to where its state says; may call handlers. */
void http__connection_settle(struct http__connection *connection);
void http__connection_deadline_passed(struct http__connection *connection);
/* Closes it as soon as it is settled, whatever it is doing. */
void http__connection_doom(struct http__connection *connection);
/* Lets it end after the exchange that is running, or now when none is. */
void http__connection_drain(struct http__connection *connection);
void http__connection_free(struct http__connection *connection);
/* Nothing is read or answered any more. */
bool http__connection_over(const struct http__connection *connection);
/* Ends the exchange, with a response of the server's own if there is none yet, and the
 * connection. */
void http__connection_refuse(struct http__connection *connection, int status,
			     const struct pc_error *err);
/* Refuses what was not read as a request, so that the one before lends it nothing. */
void http__connection_refuse_head(struct http__connection *connection, int status,
				  const struct pc_error *err);

/* ---- receive.c ---- */

/* Each takes what belongs to the head or to the body; returns how many bytes that were. */
size_t http__receive_head(struct http__connection *connection, const char *data, size_t length);
size_t http__receive_body(struct http__connection *connection, const char *data, size_t length);

/* ---- response.c ---- */

/* Writes a response of the server's own and marks the connection to be closed after it. */
void http__response_refuse(struct http__connection *connection, int status,
			   const struct pc_error *err);
void http__response_continue(struct http__connection *connection);

#endif
